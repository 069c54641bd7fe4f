#include "chain/member.h"

#include "chain/private.h"

/* What a governance key signs for. A number is never reused. */
#define PURPOSE_MEMBER 1
#define STATEMENT_SIZE (1 + 8 + HASH_SIZE + 2 + PUBKEY_SIZE)

static void fields(struct writer *w, const struct member_change *m)
{
	writer_u64(w, m->epoch);
	writer_hash(w, &m->valset);
	writer_u16(w, m->place);
	writer_pubkey(w, &m->key);
}

static struct slice statement(uint8_t buf[STATEMENT_SIZE], const struct member_change *m)
{
	struct writer w = writer_fixed(buf, STATEMENT_SIZE);
	writer_u8(&w, PURPOSE_MEMBER);
	fields(&w, m);
	invariant(!w.err && w.len == STATEMENT_SIZE);
	return writer_slice(&w);
}

static unsigned count_of(uint16_t signers)
{
	return (unsigned)__builtin_popcount(signers);
}

void member_change_encode(struct writer *w, const struct member_change *m)
{
	fields(w, m);
	writer_u16(w, m->signers);
	for (unsigned i = 0; i < count_of(m->signers); i++)
		writer_signature(w, &m->sig[i]);
}

void member_change_decode(struct reader *r, struct member_change *out)
{
	*out = (struct member_change){.epoch = reader_u64(r)};
	reader_hash(r, &out->valset);
	out->place = reader_signer(r);
	reader_pubkey(r, &out->key);
	out->signers = reader_u16(r);
	if (!r->err && !out->signers)
		reader_fail(r, ERR_NO_QUORUM);
	if (r->err)
		out->signers = 0;
	for (unsigned i = 0; i < count_of(out->signers); i++)
		reader_signature(r, &out->sig[i]);
}

void member_change_init(struct member_change *m, const struct chain_ctx *ctx, unsigned place,
			const struct pubkey *key)
{
	*m = (struct member_change){.epoch = ctx->epoch,
				    .valset = ctx->vals.hash,
				    .place = (uint16_t)place,
				    .key = *key};
}

static int governor(const struct chain_ctx *ctx, const struct pubkey *key)
{
	for (unsigned i = 0; i < ctx->governance.m; i++)
		if (pubkey_equal(&ctx->governance.key[i], key))
			return (int)i;
	return -1;
}

int member_change_sign(struct member_change *m, const struct chain_ctx *ctx,
		       const struct keypair *key)
{
	uint8_t buf[STATEMENT_SIZE];
	int who = governor(ctx, &key->pub);
	if (who < 0)
		return ERR_UNKNOWN_SIGNER;
	uint16_t bit = (uint16_t)(1u << who);
	if (m->signers & bit)
		return ERR_NONE;
	unsigned at = count_of(m->signers & (uint16_t)(bit - 1)), count = count_of(m->signers);
	memmove(&m->sig[at + 1], &m->sig[at], (count - at) * sizeof m->sig[0]);
	sig_make(ctx->scheme, &m->sig[at], key, SIG_TAG_GOVERNANCE, &ctx->id,
		 statement(buf, m));
	m->signers |= bit;
	return ERR_NONE;
}

int member_change_check(const struct member_change *m, const struct chain_ctx *ctx)
{
	const struct genesis_keys *g = &ctx->governance;
	/* With recoveries (chain/recovery.h) epochs are not combined. */
	if (g->m == 0 || g->k == 0 || ctx->before)
		return ERR_UNSUPPORTED;
	if (m->epoch != ctx->epoch || !hash_equal(&m->valset, &ctx->vals.hash))
		return ERR_STALE;
	if (m->place >= ctx->vals.n)
		return ERR_RANGE;
	if (valset_index(&ctx->vals, &m->key) >= 0 || governor(ctx, &m->key) >= 0)
		return ERR_EXISTS;
	if (m->signers >> g->m)
		return ERR_UNKNOWN_SIGNER;
	if (count_of(m->signers) < g->k)
		return ERR_NO_QUORUM;
	uint8_t buf[STATEMENT_SIZE];
	struct slice msg = statement(buf, m);
	for (unsigned i = 0, at = 0; i < g->m; i++)
		if (m->signers >> i & 1 && sig_check(ctx->scheme, &m->sig[at++], &g->key[i],
						     SIG_TAG_GOVERNANCE, &ctx->id, msg))
			return ERR_BAD_SIGNATURE;
	return ERR_NONE;
}
