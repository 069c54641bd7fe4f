#include "chain/valset.h"

#include "chain/private.h"

int valset_init(struct valset *out, const struct pubkey *keys, unsigned n)
{
	*out = (struct valset){0};
	if (n < 1 || n > VALIDATORS_MAX)
		return ERR_RANGE;
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < i; j++)
			if (pubkey_equal(&keys[i], &keys[j]))
				return ERR_DUPLICATE_SIGNER;
	out->n = n;
	memcpy(out->key, keys, n * sizeof(keys[0]));

	uint8_t buf[2 + VALIDATORS_MAX * PUBKEY_SIZE];
	struct writer w = writer_fixed(buf, sizeof(buf));
	writer_u16(&w, (uint16_t)n);
	for (unsigned i = 0; i < n; i++)
		writer_pubkey(&w, &keys[i]);
	invariant(!w.err);
	hash_tagged(&out->hash, HASH_VALSET, writer_slice(&w));
	return ERR_NONE;
}

int valset_index(const struct valset *v, const struct pubkey *key)
{
	for (unsigned i = 0; i < v->n; i++)
		if (pubkey_equal(&v->key[i], key))
			return (int)i;
	return -1;
}

const struct chain_ctx *chain_ctx_of_term(const struct chain_ctx *ctx, uint64_t term)
{
	while (ctx->before && term <= ctx->before_term)
		ctx = ctx->before;
	return ctx;
}

const struct chain_ctx *chain_ctx_of_height(const struct chain_ctx *ctx, uint64_t height)
{
	while (ctx->before && height <= ctx->before_height)
		ctx = ctx->before;
	return ctx;
}

const struct chain_ctx *chain_ctx_at(const struct chain_ctx *ctx, uint64_t term,
				     uint64_t height)
{
	while (ctx->before && term <= ctx->before_term) {
		if (height > ctx->before_height)
			return NULL; /* cut off by the recovery */
		ctx = ctx->before;
	}
	return ctx->before && height <= ctx->before_height ? NULL : ctx;
}

const struct chain_ctx *chain_ctx_first(const struct chain_ctx *ctx)
{
	while (ctx->before)
		ctx = ctx->before;
	return ctx;
}

int chain_check_sig(const struct chain_ctx *ctx, unsigned signer, enum sig_tag tag,
		    struct slice msg, const struct signature *sig)
{
	if (signer >= ctx->vals.n)
		return ERR_UNKNOWN_SIGNER;
	return sig_check(ctx->scheme, sig, &ctx->vals.key[signer], tag, &ctx->domain, msg);
}
