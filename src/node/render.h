/* Answers as JSON text. API threads; reads the request and what never changes. */
#ifndef NODE_RENDER_H
#define NODE_RENDER_H

#include "node/request.h"

struct render { /* immutable while the API runs */
	const struct genesis *genesis;
	const struct chain_ctx *ctx;
	unsigned self;
};

/* The answer to r, which has no problem: text (mem_free) and status. For a submission the
 * status says what docs/api.md has for its outcomes, and *is_problem that it is a problem. */
char *render_answer(const struct render *c, struct request *r, bool one, unsigned *status,
		    bool *is_problem);
/* The HTTP status of a submission's answer. */
unsigned submission_status(const struct request *r);
/* The same for a submission, as bytes (ledger/receipts.h), into an empty writer. */
void render_receipts(struct writer *w, struct request *r, unsigned *status);
/* r has a problem. */
char *render_problem(const struct render *c, struct request *r);
/* What a stream shows; docs/api.md has the members. */
struct json *render_block(const struct render *c, const struct block_view *v);
struct json *render_block_tx(const struct render *c, const struct block *b, uint32_t index,
			     bool full);
/* NULL if it cannot be decoded. */
struct json *render_evidence(const struct render *c, struct slice bytes, bool full);
/* Those of the epoch of now. */
struct json *render_validators(const struct render *c, const struct chain_ctx *now,
			       unsigned leader);

#endif
