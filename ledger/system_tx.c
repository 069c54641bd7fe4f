/* Convictions and member entries, as far as their bytes go: no state, no store. */
#include "ledger/tx.h"

static int evidence_of(struct evidence *out, const struct system_tx *tx)
{
	struct reader r;
	reader_init(&r, tx->evidence);
	evidence_decode(&r, out);
	return reader_finish(&r);
}

int system_evidence_check(const struct system_tx *tx, const struct chain_ctx *ctx,
			  evidence_tx_invalid tx_invalid)
{
	struct evidence e;
	if (tx->kind == SYSTEM_MEMBER)
		return member_change_check(&tx->member, ctx) ? ERR_BAD_PROOF : ERR_NONE;
	if (tx->kind != SYSTEM_CONVICTION)
		return ERR_NONE;
	int err = evidence_of(&e, tx);
	/* By the validators of its block: after a recovery those of before have other keys. */
	ctx = chain_ctx_of_height(ctx, tx->height);
	if (!err && evidence_check(&e, ctx, tx_invalid))
		err = ERR_BAD_PROOF;
	return err;
}

bool system_tx_never_valid(const struct chain_ctx *ctx, struct slice bytes)
{
	struct system_tx tx;
	struct evidence e;
	if (system_tx_decode(&tx, bytes, ctx))
		return true;
	if (tx.kind == SYSTEM_MEMBER)
		return member_change_check(&tx.member, ctx) != ERR_NONE;
	if (tx.kind != SYSTEM_CONVICTION)
		return false;
	/* Proofs about blocks that hold proofs about blocks would nest as deep as their author
	 * likes: this one is left unjudged, here and by everybody. */
	if (evidence_of(&e, &tx) || e.kind == EVIDENCE_INVALID_BLOCK)
		return false;
	return evidence_check(&e, chain_ctx_of_height(ctx, tx.height), NULL) != ERR_NONE;
}
