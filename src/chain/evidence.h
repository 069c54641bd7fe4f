/* Transferable proofs of misbehaviour, the exact list of E1 (docs/consensus.md). A proof holds
 * two (or one) signed statements and is rechecked offline from the genesis file alone. */
#ifndef CHAIN_EVIDENCE_H
#define CHAIN_EVIDENCE_H

#include "chain/term.h"

enum evidence_kind { /* on the wire and in the ledger: never reuse a number */
		     EVIDENCE_HEADERS = 1, /* two headers, one leader, one (term, height) */
		     EVIDENCE_TERM_HEADERS =
			     2, /* one leader and term, different modes, bases, NEW-VIEWs */
		     EVIDENCE_VOTES = 3, /* two PREPAREs or COMMITs at one (term, height) */
		     EVIDENCE_TERM_STATEMENTS =
			     4, /* two term votes / view changes / one of each, one term */
		     EVIDENCE_NEW_VIEWS = 5,
		     EVIDENCE_LOW_BASE =
			     6, /* term vote on a base of lower term than its own PREPARE */
		     EVIDENCE_INVALID_BLOCK =
			     7, /* signed header over a body invalid by its bytes alone */
		     EVIDENCE_HIDDEN_VOTE = 8, /* view change that hides a vote */
		     /* view change with a certificate or header invalid by its bytes alone;
		      * NEW-VIEW with such a view change, or with signer, count, order or terms
		      * that are wrong */
		     EVIDENCE_INVALID_STATEMENT = 9,
};
const char *evidence_kind_name(enum evidence_kind kind);

/* One signed statement, in its own encoding. */
enum statement_kind {
	STATEMENT_HEADER = 1, /* signed_header */
	STATEMENT_VOTE = 2,   /* vote */
	STATEMENT_TERM_VOTE = 3,
	STATEMENT_VIEW_CHANGE = 4,
	STATEMENT_NEW_VIEW = 5,	      /* new_view_claim */
	STATEMENT_BLOCK = 6,	      /* block */
	STATEMENT_VIEW_CLAIM = 7,     /* view_claim */
	STATEMENT_WHOLE_NEW_VIEW = 8, /* new_view; INVALID_STATEMENT */
	/* {signed header, u8 result, var transaction, Merkle path}; INVALID_BLOCK */
	STATEMENT_BLOCK_TX = 9,
};
/* Of a whole piece of evidence, encoded. It becomes a transaction: what is larger (a block over
 * it) is refused and suspected only. */
#define EVIDENCE_SIZE_MAX (448u << 10)
struct statement {
	enum statement_kind kind;
	struct slice bytes; /* lent */
};
struct evidence {
	enum evidence_kind kind;
	uint16_t culprit;
	/* The INVALID kinds have one statement: second is empty (len 0) and of first's kind. */
	struct statement first, second;
	/* u32 count (>= 1), then headers without signatures, each the parent of the one before,
	 * the first of them of the statement with the higher header: who signs a header vouches
	 * for its hash-linked ancestors. HEADERS: down to the one that conflicts with the other
	 * statement's, all of its term. INVALID_BLOCK with STATEMENT_HEADER: down to the one
	 * that its child does not fit. Otherwise, and where the statements do without, empty.
	 */
	struct slice links;
};
void evidence_encode(struct writer *w, const struct evidence *e);
void evidence_decode(struct reader *r, struct evidence *out); /* borrows from r's input */
/* Is tx, a transaction's bytes inside a block, invalid by its bytes alone? The ledger answers
 * for EVIDENCE_INVALID_BLOCK; chain knows only form, root, links, counts, and where SYSTEM
 * transactions may stand. May be NULL. */
typedef bool (*evidence_tx_invalid)(const struct chain_ctx *ctx, struct slice tx);
/* ERR_NONE: it proves what it says about culprit. Anything else: it proves nothing. Canonical
 * order: first < second by encoded bytes, so that one offence has one hash. */
int evidence_check(const struct evidence *e, const struct chain_ctx *ctx,
		   evidence_tx_invalid tx_invalid);
/* The same of whoever had that number before a recovery, too: for what is kept, and convicts
 * nobody any more. */
int evidence_check_any(const struct evidence *e, const struct chain_ctx *ctx,
		       evidence_tx_invalid tx_invalid);

/* These make evidence out of signed statements, in canonical order. *out borrows from bytes,
 * which the caller owns, gives empty, and keeps for as long as *out (writer_free() it in any
 * case). False if they cannot prove anything, or would take more than EVIDENCE_SIZE_MAX.
 * Signatures and the finer points are left to evidence_check(). */
bool evidence_of_headers(struct evidence *out, struct writer *bytes,
			 const struct signed_header *a, const struct signed_header *b);
bool evidence_of_votes(struct evidence *out, struct writer *bytes, const struct vote *a,
		       const struct vote *b);
bool evidence_of_term_votes(struct evidence *out, struct writer *bytes,
			    const struct term_vote *a, const struct term_vote *b);
bool evidence_of_view_changes(struct evidence *out, struct writer *bytes,
			      const struct view_change *a, const struct view_change *b);
bool evidence_of_both(struct evidence *out, struct writer *bytes, const struct term_vote *a,
		      const struct view_change *b);
bool evidence_of_new_views(struct evidence *out, struct writer *bytes, const struct new_view *a,
			   const struct new_view *b);
bool evidence_of_low_base(struct evidence *out, struct writer *bytes, const struct term_vote *t,
			  const struct vote *v);
/* The first transaction that convicts, with its path; only if there is none, the whole block.
 */
bool evidence_of_block(struct evidence *out, struct writer *bytes, const struct block *b,
		       const struct chain_ctx *ctx, evidence_tx_invalid tx_invalid);
/* A header of wrong form (count 0); or ancestors of sh, parent first, the last of which does
 * not fit its child. */
bool evidence_of_header(struct evidence *out, struct writer *bytes,
			const struct signed_header *sh, const struct header *links,
			uint32_t count);
/* HEADERS: the last of links, which are the ancestors of high, is not low but stands at its
 * place. */
bool evidence_of_ancestor(struct evidence *out, struct writer *bytes,
			  const struct signed_header *high, const struct header *links,
			  uint32_t count, const struct signed_header *low);
bool evidence_of_hidden_vote(struct evidence *out, struct writer *bytes,
			     const struct view_change *vc, const struct vote *v);
bool evidence_of_view_change(struct evidence *out, struct writer *bytes,
			     const struct view_change *vc); /* INVALID_STATEMENT */
bool evidence_of_new_view(struct evidence *out, struct writer *bytes,
			  const struct new_view *nv); /* INVALID_STATEMENT */
void evidence_hash(struct hash *out, const struct evidence *e);

/* One line: who, what, where. Bytes that are no evidence at all get a line too; nothing is
 * verified. Returns out. */
#define EVIDENCE_TEXT_SIZE 384
const char *evidence_describe(char out[EVIDENCE_TEXT_SIZE], const struct evidence *e);

#endif
