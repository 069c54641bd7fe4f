/* Transferable proofs of misbehaviour, the exact list E1 of protocol section 4. A proof holds
 * two (or one) signed statements and is rechecked offline from the genesis file alone. */
#ifndef CHAIN_EVIDENCE_H
#define CHAIN_EVIDENCE_H

#include "chain/term.h"

enum evidence_kind { /* on the wire and in the ledger: never reuse a number */
	EVIDENCE_HEADERS = 1,	     /* two headers, one leader, one (term, height) */
	EVIDENCE_TERM_HEADERS = 2,   /* one leader and term, different modes or bases */
	EVIDENCE_VOTES = 3,	     /* two PREPAREs or COMMITs at one (term, height) */
	EVIDENCE_TERM_STATEMENTS = 4, /* two term votes / view changes / one of each, one term */
	EVIDENCE_NEW_VIEWS = 5,
	EVIDENCE_LOW_BASE = 6,	     /* term vote on a base of lower term than its own PREPARE */
	EVIDENCE_INVALID_BLOCK = 7,  /* signed header over a body invalid by its bytes alone */
	EVIDENCE_HIDDEN_VOTE = 8,    /* view change that hides a vote */
	EVIDENCE_INVALID_STATEMENT = 9, /* view change with an invalid certificate or header */
};
const char *evidence_kind_name(enum evidence_kind kind);

/* One signed statement, in its own encoding. */
enum statement_kind {
	STATEMENT_HEADER = 1,	/* signed_header */
	STATEMENT_VOTE = 2,	/* vote */
	STATEMENT_TERM_VOTE = 3,
	STATEMENT_VIEW_CHANGE = 4,
	STATEMENT_NEW_VIEW = 5, /* new_view_claim */
	STATEMENT_BLOCK = 6,	/* block */
	STATEMENT_VIEW_CLAIM = 7, /* view_claim */
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
	struct statement first, second; /* second empty (len 0) for the INVALID kinds */
	/* HEADERS and TERM_HEADERS: signed headers vouch for their hash-linked ancestors. Headers
	 * (encoded, without signatures) from the parent of the statement with the higher header
	 * down to the one that conflicts with the other statement's; empty if it does so itself. */
	struct slice links;
};
void evidence_encode(struct writer *w, const struct evidence *e);
void evidence_decode(struct reader *r, struct evidence *out); /* borrows from r's input */
/* Is tx, a transaction's bytes inside a block, invalid by its bytes alone? The ledger answers
 * for EVIDENCE_INVALID_BLOCK; chain knows only form, root, links and counts. May be NULL. */
typedef bool (*evidence_tx_invalid)(const struct chain_ctx *ctx, struct slice tx);
/* ERR_NONE: it proves what it says about culprit. Anything else: it proves nothing. Canonical
 * order: first < second by encoded bytes, so that one offence has one hash. */
int evidence_check(const struct evidence *e, const struct chain_ctx *ctx,
		   evidence_tx_invalid tx_invalid);
/* These make evidence out of two signed statements, in canonical order, with bytes (kept by the
 * caller for as long as *out) as its memory. False if the two prove nothing. Signatures are not
 * checked here. */
bool evidence_of_headers(struct evidence *out, struct writer *bytes, const struct signed_header *a,
			 const struct signed_header *b);
bool evidence_of_votes(struct evidence *out, struct writer *bytes, const struct vote *a,
		       const struct vote *b);
bool evidence_of_term_votes(struct evidence *out, struct writer *bytes, const struct term_vote *a,
			    const struct term_vote *b);
bool evidence_of_view_changes(struct evidence *out, struct writer *bytes,
			      const struct view_change *a, const struct view_change *b);
bool evidence_of_both(struct evidence *out, struct writer *bytes, const struct term_vote *a,
		      const struct view_change *b);
bool evidence_of_new_views(struct evidence *out, struct writer *bytes, const struct new_view *a,
			   const struct new_view *b);
bool evidence_of_low_base(struct evidence *out, struct writer *bytes, const struct term_vote *t,
			  const struct vote *v);
bool evidence_of_block(struct evidence *out, struct writer *bytes, const struct block *b);
bool evidence_of_hidden_vote(struct evidence *out, struct writer *bytes,
			     const struct view_change *vc, const struct vote *v);
bool evidence_of_view_change(struct evidence *out, struct writer *bytes,
			     const struct view_change *vc); /* INVALID_STATEMENT */
void evidence_hash(struct hash *out, const struct evidence *e);

#endif
