/* Epochs: the runs of one set of validators. An epoch ends with a block that holds nothing but
 * a `member` entry; the next one begins with that block as its genesis.
 * docs/decisions/0012-new-keys-for-validators.md
 *
 * Only fillers extend an end: blocks without transactions, each the first of its term. They are
 * nobody's history, but a certificate of one makes the end final. So that it proves nothing
 * else, their state root is zero. */
#ifndef CHAIN_EPOCH_H
#define CHAIN_EPOCH_H

#include "chain/system.h"
#include "chain/vote.h"

/* ctx of the epoch that begins with `end`, whose entry m changes the set. ERR_DUPLICATE_SIGNER
 * if two places would have one key (member_change_check() lets none through). */
int epoch_next(struct chain_ctx *out, const struct chain_ctx *ctx,
	       const struct member_change *m, const struct block_ref *end);
/* Does the chain whose mode state is m have an end in ctx's epoch? */
static inline bool epoch_ended(const struct chain_ctx *ctx, const struct mode_state *m)
{
	return m->epoch > ctx->epoch;
}
/* The entry of b, if b has the form of an end. What else makes it one, it takes a state to
 * judge: mode_state_apply(). */
bool epoch_end_of(const struct block *b, const struct chain_ctx *ctx,
		  struct member_change *out);
/* May h extend an end, or another filler, whose header is parent? */
bool epoch_is_filler(const struct header *h, const struct header *parent);

/* What proves an epoch's end to whoever knows its set: the block, the fillers between it and
 * the block of the certificate, and that certificate. */
#define HANDOVER_FILLERS_MAX 4096
struct handover {
	struct block *end; /* one reference */
	uint32_t filler_count;
	struct signed_header *fillers; /* owned; ascending */
	struct cert cert;	       /* final, of the last of them */
};
void handover_free(struct handover *h); /* contents only */
/* {var block, u32 count, signed headers, certificate} */
void handover_encode(struct writer *w, const struct handover *h);
int handover_decode(struct reader *r, struct handover *out); /* free it in any case */
/* Everything, by ctx's set alone; *next: the ctx of the epoch that begins with it. */
int handover_check(const struct handover *h, const struct chain_ctx *ctx,
		   struct chain_ctx *next);

#endif
