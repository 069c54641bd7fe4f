#include "chain/recovery.h"

#include "chain/private.h"

#define MAGIC "ostrrcvr"

static void body_encode(struct writer *w, const struct recovery *v)
{
	writer_raw(w, MAGIC, sizeof(MAGIC) - 1);
	writer_u16(w, RECOVERY_VERSION);
	writer_hash(w, &v->chain);
	writer_u16(w, v->number);
	writer_hash(w, &v->before);
	block_ref_encode(w, &v->kept);
	writer_hash(w, &v->state_root);
	writer_u16(w, (uint16_t)v->n);
	for (unsigned i = 0; i < v->n; i++)
		writer_pubkey(w, &v->key[i]);
}

void recovery_encode(struct writer *w, const struct recovery *v)
{
	body_encode(w, v);
	writer_u32(w, v->signers);
	for (unsigned i = 0; i < GENESIS_KEYS_MAX; i++)
		if (v->signers >> i & 1)
			writer_signature(w, &v->sig[i]);
}

void recovery_decode(struct reader *r, struct recovery *out)
{
	*out = (struct recovery){0};
	struct slice magic = reader_take(r, sizeof(MAGIC) - 1);
	uint16_t version = reader_u16(r);
	if (!r->err && !slice_equal(magic, slice_str(MAGIC)))
		reader_fail(r, ERR_NONCANONICAL);
	if (!r->err && version != RECOVERY_VERSION)
		reader_fail(r, version > RECOVERY_VERSION ? ERR_VERSION : ERR_RANGE);
	reader_hash(r, &out->chain);
	out->number = reader_u16(r);
	reader_hash(r, &out->before);
	block_ref_decode(r, &out->kept);
	reader_hash(r, &out->state_root);
	unsigned n = reader_u16(r);
	if (!r->err && (n < 1 || n > VALIDATORS_MAX))
		reader_fail(r, ERR_RANGE);
	for (unsigned i = 0; i < n && !r->err; i++)
		reader_pubkey(r, &out->key[i]);
	out->n = r->err ? 0 : n;
	uint32_t signers = reader_u32(r);
	if (!r->err && signers >> GENESIS_KEYS_MAX)
		reader_fail(r, ERR_RANGE);
	for (unsigned i = 0; i < GENESIS_KEYS_MAX && !r->err; i++)
		if (signers >> i & 1)
			reader_signature(r, &out->sig[i]);
	out->signers = r->err ? 0 : signers;
}

void recovery_hash(struct hash *out, const struct recovery *v)
{
	struct writer w = {0};
	body_encode(&w, v);
	hash_tagged(out, HASH_RECOVERY, writer_slice(&w));
	writer_free(&w);
}

int recovery_sign(struct recovery *v, const struct genesis *g, const struct keypair *key)
{
	unsigned i = 0;
	while (i < g->recovery.m && !pubkey_equal(&g->recovery.key[i], &key->pub))
		i++;
	if (i == g->recovery.m)
		return ERR_UNKNOWN_SIGNER;
	struct writer w = {0};
	body_encode(&w, v);
	sig_make(g->scheme, &v->sig[i], key, SIG_TAG_RECOVERY, &v->chain, writer_slice(&w));
	v->signers |= UINT32_C(1) << i;
	writer_free(&w);
	return ERR_NONE;
}

static int check_keys_are_new(const struct recovery *v, const struct chain_ctx *newest,
			      struct errmsg *m)
{
	for (unsigned i = 0; i < v->n; i++) {
		for (unsigned j = 0; j < i; j++)
			if (pubkey_equal(&v->key[i], &v->key[j]))
				return err_set(m, ERR_DUPLICATE_SIGNER,
					       "validators %u and %u have one key", j + 1,
					       i + 1);
		for (const struct chain_ctx *c = newest; c; c = c->before)
			if (valset_index(&c->vals, &v->key[i]) >= 0)
				return err_set(
					m, ERR_DUPLICATE_SIGNER,
					"the key of validator %u was one before: nobody knows "
					"what it has signed above the block that is kept",
					i + 1);
	}
	return ERR_NONE;
}

int recovery_check_form(const struct recovery *v, const struct genesis *g, struct errmsg *m)
{
	struct chain_ctx ctx;
	struct hash before = {0};
	if (!protocol_is_byzantine(g->protocol))
		return err_set(m, ERR_UNSUPPORTED,
			       "a chain of protocol %s has no certificates to recover from",
			       protocol_name(g->protocol));
	if (g->recovery.m == 0)
		return err_set(m, ERR_PERMISSION, "the genesis file names no recovery keys");
	genesis_ctx(&ctx, g);
	if (!hash_equal(&v->chain, &ctx.id))
		return err_set(m, ERR_WRONG_CHAIN,
			       "the recovery is of another chain than the genesis file");
	if (g->recovery_count >= GENESIS_RECOVERIES_MAX)
		return err_set(m, ERR_LIMIT, "there are %d recoveries already",
			       GENESIS_RECOVERIES_MAX);
	if (g->recovery_count)
		recovery_hash(&before, &g->recoveries[g->recovery_count - 1]);
	if (v->number != g->recovery_count + 1 || !hash_equal(&v->before, &before))
		return err_set(m, ERR_BAD_LINK,
			       "it is recovery %u, and does not follow the %u that the genesis "
			       "file has",
			       v->number, g->recovery_count);
	if (v->n != g->n)
		return err_set(m, ERR_RANGE, "it names %u validators, and the chain has %u",
			       v->n, g->n);
	if (v->kept.term == 0 || v->kept.height == 0)
		return err_set(m, ERR_RANGE, "a chain without blocks is begun anew instead");
	if (v->kept.height < ctx.before_height || v->kept.term < ctx.before_term)
		return err_set(m, ERR_RANGE,
			       "it keeps less than the recovery before it, which goes up to "
			       "height %llu",
			       (unsigned long long)ctx.before_height);
	return check_keys_are_new(v, &ctx, m);
}

int recovery_check(const struct recovery *v, const struct genesis *g, struct errmsg *m)
{
	int err = recovery_check_form(v, g, m);
	if (err)
		return err;
	if (v->signers >> g->recovery.m)
		return err_set(m, ERR_UNKNOWN_SIGNER, "a signature is of no recovery key");
	struct writer w = {0};
	body_encode(&w, v);
	for (unsigned i = 0; i < g->recovery.m && !err; i++)
		if (v->signers >> i & 1)
			err = sig_check(g->scheme, &v->sig[i], &g->recovery.key[i],
					SIG_TAG_RECOVERY, &v->chain, writer_slice(&w));
	writer_free(&w);
	if (err)
		return err_set(m, err, "a signature of it is false");
	unsigned count = (unsigned)__builtin_popcount(v->signers);
	if (count < g->recovery.k)
		return err_set(m, ERR_NO_QUORUM,
			       "%u of the %u recovery keys have signed it: %u must", count,
			       g->recovery.m, g->recovery.k);
	return ERR_NONE;
}

int genesis_add_recovery(struct genesis *g, const struct recovery *v, struct errmsg *m)
{
	int err = recovery_check(v, g, m);
	if (err)
		return err;
	unsigned at = g->recovery_count;
	if (!g->recoveries) {
		g->recoveries = mem_zalloc(GENESIS_RECOVERIES_MAX * sizeof *g->recoveries);
		g->sets = mem_zalloc(GENESIS_RECOVERIES_MAX * sizeof *g->sets);
	}
	genesis_ctx(&g->sets[at], g); /* of those that it takes the place of */
	g->recoveries[at] = *v;
	g->recovery_count++;
	return ERR_NONE;
}

void genesis_hide_recovery(struct genesis *g)
{
	invariant(g->recovery_count > 0);
	g->recovery_count--;
}

void genesis_show_recovery(struct genesis *g)
{
	invariant(g->recoveries && g->recovery_count < GENESIS_RECOVERIES_MAX);
	g->recovery_count++;
}
