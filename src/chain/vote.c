#include "chain/vote.h"

#include "chain/private.h"

#define VOTE_MESSAGE_MAX (BLOCK_REF_SIZE + HASH_SIZE)

/* ---- votes ------------------------------------------------------------------------------- */

static enum sig_tag vote_tag(enum vote_kind kind)
{
	switch (kind) {
	case VOTE_PREPARE_FAST:
		return SIG_TAG_PREPARE_FAST;
	case VOTE_PREPARE_PBFT:
		return SIG_TAG_PREPARE_PBFT;
	case VOTE_COMMIT:
		return SIG_TAG_COMMIT;
	case VOTE_CHECKPOINT:
		return SIG_TAG_CHECKPOINT;
	}
	invariant(!"a vote of no kind");
}

/* What a vote signs under its tag; the same for the votes inside a certificate. */
static struct slice vote_message(uint8_t buf[VOTE_MESSAGE_MAX], enum vote_kind kind,
				 const struct block_ref *ref, const struct hash *state_root)
{
	struct writer w = writer_fixed(buf, VOTE_MESSAGE_MAX);
	block_ref_encode(&w, ref);
	if (kind == VOTE_CHECKPOINT)
		writer_hash(&w, state_root);
	invariant(!w.err);
	return writer_slice(&w);
}

void vote_begin(struct vote *out, enum vote_kind kind, const struct block_ref *ref,
		unsigned signer)
{
	out->kind = kind;
	out->ref = *ref;
	out->state_root = (struct hash){0};
	out->signer = (uint16_t)signer;
}

void vote_encode(struct writer *w, const struct vote *v)
{
	writer_u8(w, (uint8_t)v->kind);
	block_ref_encode(w, &v->ref);
	if (v->kind == VOTE_CHECKPOINT)
		writer_hash(w, &v->state_root);
	writer_u16(w, v->signer);
	writer_signature(w, &v->sig);
}

void vote_decode(struct reader *r, struct vote *out)
{
	uint8_t kind = reader_u8(r);
	if (kind < VOTE_PREPARE_FAST || kind > VOTE_CHECKPOINT) {
		reader_fail(r, ERR_RANGE);
		kind = VOTE_PREPARE_FAST;
	}
	out->kind = (enum vote_kind)kind;
	block_ref_decode(r, &out->ref);
	out->state_root = (struct hash){0};
	if (out->kind == VOTE_CHECKPOINT)
		reader_hash(r, &out->state_root);
	out->signer = reader_signer(r);
	reader_signature(r, &out->sig);
}

void vote_sign(struct vote *v, const struct chain_ctx *ctx, const struct keypair *key)
{
	uint8_t buf[VOTE_MESSAGE_MAX];
	sig_make(ctx->scheme, &v->sig, key, vote_tag(v->kind), &ctx->domain,
		 vote_message(buf, v->kind, &v->ref, &v->state_root));
}

int vote_check(const struct vote *v, const struct chain_ctx *ctx)
{
	uint8_t buf[VOTE_MESSAGE_MAX];
	ctx = chain_ctx_at(ctx, v->ref.term, v->ref.height);
	if (!ctx)
		return ERR_BAD_LINK;
	return chain_check_sig(ctx, v->signer, vote_tag(v->kind),
			       vote_message(buf, v->kind, &v->ref, &v->state_root), &v->sig);
}

/* ---- certificates ------------------------------------------------------------------------ */

enum vote_kind cert_vote_kind(enum cert_kind kind)
{
	switch (kind) {
	case CERT_QC_FAST:
	case CERT_ONE_ROUND:
		return VOTE_PREPARE_FAST;
	case CERT_QC_PBFT:
		return VOTE_PREPARE_PBFT;
	case CERT_TWO_ROUND:
		return VOTE_COMMIT;
	case CERT_CHECKPOINT:
		return VOTE_CHECKPOINT;
	case CERT_CRASH:
		break;
	}
	invariant(!"a certificate without votes");
}

unsigned cert_quorum(enum cert_kind kind, const struct quorum *q)
{
	return kind == CERT_ONE_ROUND ? q->qf : q->q;
}

bool cert_is_final(enum cert_kind kind)
{
	return kind == CERT_ONE_ROUND || kind == CERT_TWO_ROUND;
}

const char *cert_kind_name(enum cert_kind kind)
{
	switch (kind) {
	case CERT_QC_FAST:
		return "qc_fast";
	case CERT_QC_PBFT:
		return "qc_pbft";
	case CERT_ONE_ROUND:
		return "one_round";
	case CERT_TWO_ROUND:
		return "two_round";
	case CERT_CHECKPOINT:
		return "checkpoint";
	case CERT_CRASH:
		return "crash";
	}
	return "unknown";
}

void cert_copy(struct cert *out, const struct cert *c)
{
	invariant(c->count <= VALIDATORS_MAX);
	if (out == c)
		return;
	memcpy(out, c, offsetof(struct cert, sig));
	for (unsigned i = 0; i < c->count; i++)
		out->sig[i] = c->sig[i];
}

static void cert_init(struct cert *c, enum cert_kind kind)
{
	memset(c, 0, offsetof(struct cert, sig));
	c->kind = kind;
}

void cert_encode(struct writer *w, const struct cert *c)
{
	invariant(c->count <= VALIDATORS_MAX);
	writer_u8(w, (uint8_t)c->kind);
	block_ref_encode(w, &c->ref);
	if (c->kind == CERT_CRASH) {
		writer_u64(w, c->in_term);
		return;
	}
	if (c->kind == CERT_CHECKPOINT)
		writer_hash(w, &c->state_root);
	writer_u64(w, c->signers);
	/* one behind the other, as they are in memory */
	writer_raw(w, c->sig, c->count * sizeof(c->sig[0]));
}

void cert_decode(struct reader *r, struct cert *out)
{
	uint8_t kind = reader_u8(r);
	if (kind < CERT_QC_FAST || kind > CERT_CHECKPOINT) {
		reader_fail(r, ERR_RANGE);
		kind = CERT_QC_FAST;
	}
	cert_init(out, (enum cert_kind)kind);
	block_ref_decode(r, &out->ref);
	if (out->kind == CERT_CHECKPOINT)
		reader_hash(r, &out->state_root);
	out->signers = reader_u64(r);
	if (out->signers == 0)
		reader_fail(r, ERR_NO_QUORUM);
	out->count = (unsigned)__builtin_popcountll(out->signers);
	for (unsigned i = 0; i < out->count; i++)
		reader_signature(r, &out->sig[i]);
}

void cert_decode_stored(struct reader *r, struct cert *out)
{
	if (r->err || !r->left || r->ptr[0] != CERT_CRASH) {
		cert_decode(r, out);
		return;
	}
	reader_u8(r);
	cert_init(out, CERT_CRASH);
	block_ref_decode(r, &out->ref);
	out->in_term = reader_u64(r);
}

int signers_check(uint64_t signers, unsigned count, unsigned needed, unsigned n)
{
	if (n < VALIDATORS_MAX && signers >> n)
		return ERR_UNKNOWN_SIGNER;
	if (count != (unsigned)__builtin_popcountll(signers))
		return ERR_NONCANONICAL;
	return count < needed ? ERR_NO_QUORUM : ERR_NONE;
}

int cert_check(const struct cert *c, const struct chain_ctx *ctx)
{
	if (c->kind == CERT_CRASH)
		return ERR_NO_QUORUM;
	ctx = chain_ctx_at(ctx, c->ref.term, c->ref.height);
	if (!ctx)
		return ERR_BAD_LINK;
	enum vote_kind kind = cert_vote_kind(c->kind);
	int err = signers_check(c->signers, c->count, cert_quorum(c->kind, &ctx->quorum),
				ctx->vals.n);
	if (err)
		return err;
	uint8_t buf[VOTE_MESSAGE_MAX];
	return sig_check_all(ctx->scheme, c->sig, ctx->vals.key, c->signers, vote_tag(kind),
			     &ctx->domain, vote_message(buf, kind, &c->ref, &c->state_root));
}

/* ---- tallies ----------------------------------------------------------------------------- */

void tally_init(struct tally *t, enum vote_kind kind, const struct block_ref *ref,
		const struct hash *state_root)
{
	/* sig[] is read only where signers has a bit: it need not be cleared. */
	t->kind = kind;
	t->ref = *ref;
	t->state_root = kind == VOTE_CHECKPOINT ? *state_root : (struct hash){0};
	t->signers = 0;
	t->count = 0;
}

bool tally_add(struct tally *t, const struct vote *v)
{
	invariant(v->kind == t->kind && block_ref_equal(&v->ref, &t->ref));
	invariant(v->signer < VALIDATORS_MAX);
	invariant(t->kind != VOTE_CHECKPOINT || hash_equal(&v->state_root, &t->state_root));
	uint64_t bit = UINT64_C(1) << v->signer;
	if (t->signers & bit)
		return false;
	t->signers |= bit;
	t->sig[v->signer] = v->sig;
	t->count++;
	return true;
}

void tally_cert(const struct tally *t, enum cert_kind kind, struct cert *out)
{
	invariant(cert_vote_kind(kind) == t->kind && t->count > 0);
	cert_init(out, kind);
	out->ref = t->ref;
	out->state_root = t->state_root;
	out->signers = t->signers;
	for (uint64_t left = t->signers; left; left &= left - 1)
		out->sig[out->count++] = t->sig[__builtin_ctzll(left)];
}
