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
};
const char *evidence_kind_name(enum evidence_kind kind);

/* One signed statement, in its own encoding. */
enum statement_kind {
	STATEMENT_HEADER = 1,	/* signed_header */
	STATEMENT_VOTE = 2,	/* vote */
	STATEMENT_TERM_VOTE = 3,
	STATEMENT_VIEW_CHANGE = 4,
	STATEMENT_NEW_VIEW = 5,
	STATEMENT_BLOCK = 6,	/* block */
};
#define EVIDENCE_SIZE_MAX (4u << 20)
struct statement {
	enum statement_kind kind;
	struct slice bytes; /* lent */
};
struct evidence {
	enum evidence_kind kind;
	uint16_t culprit;
	struct statement first, second; /* second empty (len 0) for INVALID_BLOCK */
	/* HEADERS only: hash-linked ancestors that `second` vouches for may be needed; headers
	 * from second's parent down to the conflicting height, u32 count + signed headers */
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
void evidence_hash(struct hash *out, const struct evidence *e);

#endif
