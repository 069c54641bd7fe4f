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

int chain_check_sig(const struct chain_ctx *ctx, unsigned signer, enum sig_tag tag,
		    struct slice msg, const struct signature *sig)
{
	if (signer >= ctx->vals.n)
		return ERR_UNKNOWN_SIGNER;
	return sig_check(ctx->scheme, sig, &ctx->vals.key[signer], tag, &ctx->domain, msg);
}
