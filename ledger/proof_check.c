/* Checking a proof document against a genesis file, saying what is wrong and where. */
#include "base/mem.h"
#include "chain/epoch.h"
#include "ledger/proof.h"

static bool set_is_known(const struct signed_header *sh, const struct chain_ctx *ctx)
{
	for (; ctx; ctx = ctx->before)
		if (hash_equal(&sh->h.valset, &ctx->vals.hash))
			return true;
	return false;
}

static int check_headers(const struct certified_header *ch, const struct chain_ctx *ctx,
			 struct errmsg *m)
{
	char theirs[HASH_HEX_SIZE], ours[HASH_HEX_SIZE];
	struct hash h = {0};

	if (!header_has_state(&ch->headers[0].h))
		return err_set(m, ERR_BAD_PROOF,
			       "headers[0], height %llu: it is a filler behind the end of an "
			       "epoch, and no part of the chain",
			       (unsigned long long)ch->headers[0].h.height);
	for (uint32_t i = 0; i < ch->count; i++) {
		const struct signed_header *sh = &ch->headers[i];
		unsigned long long height = sh->h.height;
		if (!hash_equal(&sh->h.chain, &ctx->id))
			return err_set(m, ERR_WRONG_CHAIN,
				       "the proof is of chain %s, the genesis file is of "
				       "chain %s",
				       hash_hex(theirs, &sh->h.chain),
				       hash_hex(ours, &ctx->id));
		int err = i ? block_check_link(&sh->h, &ch->headers[i - 1].h, &h) : ERR_NONE;
		if (err)
			return err_set(m, err, "headers[%u], height %llu: %s", i, height,
				       err_text(err));
		err = signed_header_check(sh, ctx);
		if (err && !set_is_known(sh, ctx))
			return err_set(m, err,
				       "headers[%u], height %llu: it is of other validators "
				       "than the genesis file's. After a recovery there is a "
				       "genesis file with it, after a new key (`member "
				       "replace`) there are handovers beside the proof",
				       i, height);
		if (err)
			return err_set(m, err, "headers[%u], height %llu: leader's %s", i,
				       height, err_text(err));
		header_hash(&h, &sh->h);
	}
	return ERR_NONE;
}

/* Which signature is false; the certificate has one. */
static int name_signer(const struct cert *c, const struct chain_ctx *ctx, struct errmsg *m)
{
	unsigned at = 0;
	for (unsigned i = 0; i < VALIDATORS_MAX && at < c->count; i++) {
		if (!(c->signers >> i & 1))
			continue;
		const struct vote v = {.kind = cert_vote_kind(c->kind),
				       .ref = c->ref,
				       .signer = (uint16_t)i,
				       .sig = c->sig[at++]};
		int err = vote_check(&v, ctx);
		if (err)
			return err_set(m, err, "certificate, validator %u: %s", i,
				       err_text(err));
	}
	return err_set(m, ERR_BAD_SIGNATURE, "certificate: %s", err_text(ERR_BAD_SIGNATURE));
}

static int check_cert(const struct certified_header *ch, const struct chain_ctx *ctx,
		      struct errmsg *m)
{
	const struct cert *c = &ch->cert;
	const struct header *last = &ch->headers[ch->count - 1].h;
	struct block_ref ref = {.term = last->term, .height = last->height};

	if (c->count == 0)
		return err_set(m, ERR_NO_QUORUM, "certificate: there is none");
	if (!cert_is_final(c->kind))
		return err_set(m, ERR_NO_QUORUM, "certificate: this kind makes nothing final");
	header_hash(&ref.hash, last);
	if (!block_ref_equal(&c->ref, &ref))
		return err_set(m, ERR_BAD_LINK,
			       "certificate: term, height and hash are not those of the last "
			       "header");
	int err = cert_check(c, ctx);
	if (err == ERR_NO_QUORUM)
		return err_set(m, err, "certificate: %u signers, %s needs %u", c->count,
			       cert_kind_name(c->kind), cert_quorum(c->kind, &ctx->quorum));
	if (err == ERR_BAD_SIGNATURE)
		return name_signer(c, ctx, m);
	return err ? err_set(m, err, "certificate: %s", err_text(err)) : ERR_NONE;
}

static int check_certified(const struct certified_header *ch, const struct chain_ctx *ctx,
			   const struct hash *genesis_hash, struct errmsg *m)
{
	if (ch->count == 0 || ch->count > CERTIFIED_HEADERS_MAX)
		return err_set(m, ERR_LIMIT, "headers: there must be 1 to %u",
			       CERTIFIED_HEADERS_MAX);
	if (ch->headers[0].h.height != 0) {
		int err = check_headers(ch, ctx, m);
		if (!err)
			err = check_cert(ch, ctx, m);
		if (err)
			return err;
	}
	int err = certified_header_check(ch, ctx, genesis_hash);
	return err ? err_set(m, err, "headers[0], height 0: not this chain's genesis: %s",
			     err_text(err))
		   : ERR_NONE;
}

static int check_state(const struct proof_document *d, struct errmsg *m)
{
	const struct header *h = &d->ch.headers[0].h;
	unsigned long long height = h->height;
	const struct slice *value = d->present ? &d->value : NULL;
	int err = state_proof_check(d->proof, &h->state_root, d->state_key, value);
	if (!err)
		return ERR_NONE;
	if (err == ERR_BAD_PROOF && !d->present && state_proof_claims_value(d->proof))
		return err_set(m, err,
			       "absence is claimed, but the state proof is one of presence");
	if (err == ERR_BAD_PROOF && d->present && !state_proof_claims_value(d->proof))
		return err_set(m, err,
			       "a value is claimed, but the state proof is one of absence");
	return err_set(m, err,
		       "the state proof does not lead from this key and value to the state "
		       "root at height %llu: %s",
		       height, err_text(err));
}

/* It is in a certified block, so that it was valid there; still a document is judged by what it
 * holds, and evidence can be. */
static int check_system_tx(const struct proof_document *d, const struct chain_ctx *ctx,
			   struct errmsg *m)
{
	struct system_tx tx;
	int err = system_tx_decode(&tx, d->tx, ctx);
	if (err)
		return err_set(m, err, "the SYSTEM transaction does not decode: %s",
			       err_text(err));
	if (tx.height != d->ch.headers[0].h.height || d->result != TX_OK)
		return err_set(
			m, ERR_RANGE,
			"the SYSTEM transaction is of height %llu with result %s: it must "
			"be the header's height, and ok",
			(unsigned long long)tx.height, tx_result_name(d->result));
	err = system_evidence_check(&tx, ctx, tx_never_valid);
	return err ? err_set(m, err,
			     tx.kind == SYSTEM_MEMBER
				     ? "governance has not signed that new key"
				     : "the conviction's evidence proves nothing")
		   : ERR_NONE;
}

static int check_tx(const struct proof_document *d, const struct genesis *g,
		    const struct chain_ctx *ctx, struct errmsg *m)
{
	const struct header *h = &d->ch.headers[0].h;
	struct hash leaf;
	struct tx tx;

	if (d->path.count != h->tx_count)
		return err_set(m, ERR_BAD_PROOF,
			       "count says %llu transactions, the header says %u",
			       (unsigned long long)d->path.count, h->tx_count);
	body_leaf(&leaf, d->result, d->tx);
	int err = merkle_verify(&d->path, &leaf, &h->tx_root);
	if (err)
		return err_set(m, err,
			       "the path does not lead from this transaction, result and index "
			       "to the transaction root at height %llu",
			       (unsigned long long)h->height);
	if (system_tx_is(d->tx))
		return check_system_tx(d, ctx, m);
	err = tx_decode(&tx, d->tx, ctx, &g->limits);
	return err ? err_set(m, err, "the transaction does not decode: %s", err_text(err))
		   : ERR_NONE;
}

int proof_document_check(const struct proof_document *d, const struct genesis *g,
			 struct errmsg *m)
{
	struct chain_ctx ctx;
	genesis_ctx(&ctx, g);
	return proof_document_check_in(d, g, &ctx, m);
}

int proof_document_check_in(const struct proof_document *d, const struct genesis *g,
			    const struct chain_ctx *ctx, struct errmsg *m)
{
	if (!protocol_is_byzantine(g->protocol))
		return err_set(
			m, ERR_UNSUPPORTED,
			"the chain's protocol is %s, which tolerates crashes only: nobody "
			"signs its blocks, and that one is final is a node's word. There "
			"is nothing to verify",
			protocol_name(g->protocol));
	struct chain_ctx first;
	genesis_ctx(&first, g);
	struct block *block0 = genesis_block(g, &first);
	int err = check_certified(&d->ch, ctx, &block0->hash, m);
	block_drop(block0);
	if (err)
		return err;
	switch (d->kind) {
	case PROOF_STATE:
		return check_state(d, m);
	case PROOF_TX:
		return check_tx(d, g, ctx, m);
	}
	return err_set(m, ERR_RANGE, "not a proof of a known kind");
}

int proof_handover_check(const struct proof_document *d, const struct genesis *g,
			 struct chain_ctx *ctx, struct errmsg *m)
{
	struct system_tx tx;
	int err = proof_document_check_in(d, g, ctx, m);
	if (err)
		return err;
	const struct header *h = &d->ch.headers[0].h;
	if (d->kind != PROOF_TX || system_tx_decode(&tx, d->tx, ctx) ||
	    tx.kind != SYSTEM_MEMBER || !system_tx_fits(&tx, h, d->path.index, d->result))
		return err_set(m, ERR_BAD_PROOF, "it is not the end of an epoch");
	for (uint32_t i = 1; i < d->ch.count; i++)
		if (!epoch_is_filler(&d->ch.headers[i].h, &d->ch.headers[i - 1].h))
			return err_set(m, ERR_BAD_LINK, "headers[%u] goes on behind the end",
				       i);
	struct block_ref end = {.term = h->term, .height = h->height};
	header_hash(&end.hash, h);
	return epoch_next(ctx, ctx, &tx.member, &end);
}
