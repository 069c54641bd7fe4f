/* Term votes and term certificates. */
#include "chain/term.h"

#include "base/mem.h"
#include "chain/private.h"
#include "chain/select.h"

#define TERM_VOTE_BODY_SIZE (8 + 2 + BLOCK_REF_SIZE)

static void term_vote_body(struct writer *w, uint64_t term, uint16_t leader,
			   const struct block_ref *base)
{
	writer_u64(w, term);
	writer_u16(w, leader);
	block_ref_encode(w, base);
}

void term_vote_encode(struct writer *w, const struct term_vote *v)
{
	term_vote_body(w, v->term, v->leader, &v->base);
	writer_u16(w, v->signer);
	writer_signature(w, &v->sig);
}

void term_vote_decode(struct reader *r, struct term_vote *out)
{
	out->term = reader_u64(r);
	out->leader = reader_signer(r);
	block_ref_decode(r, &out->base);
	out->signer = reader_signer(r);
	reader_signature(r, &out->sig);
}

void term_vote_sign(struct term_vote *v, const struct chain_ctx *ctx, const struct keypair *key)
{
	uint8_t buf[TERM_VOTE_BODY_SIZE];
	struct writer w = writer_fixed(buf, sizeof buf);
	term_vote_body(&w, v->term, v->leader, &v->base);
	sig_make(ctx->scheme, &v->sig, key, SIG_TAG_TERM_VOTE, &ctx->domain, writer_slice(&w));
}

/* A base is of a lower term than the term that is built on it. */
static int term_statement_check(uint64_t term, uint16_t leader, const struct block_ref *base,
				const struct chain_ctx *ctx)
{
	if (leader >= ctx->vals.n)
		return ERR_UNKNOWN_SIGNER;
	return term > base->term && base->term >= ctx->start_term &&
			       base->height >= ctx->start_height
		       ? ERR_NONE
		       : ERR_RANGE;
}

int term_vote_check(const struct term_vote *v, const struct chain_ctx *ctx)
{
	ctx = chain_ctx_of_term(ctx, v->term);
	int err = term_statement_check(v->term, v->leader, &v->base, ctx);
	if (err)
		return err;
	uint8_t buf[TERM_VOTE_BODY_SIZE];
	struct writer w = writer_fixed(buf, sizeof buf);
	term_vote_body(&w, v->term, v->leader, &v->base);
	return chain_check_sig(ctx, v->signer, SIG_TAG_TERM_VOTE, writer_slice(&w), &v->sig);
}

void term_cert_init(struct term_cert *tc)
{
	memset(tc, 0, offsetof(struct term_cert, sig));
	tc->mode = MODE_FAST;
	tc->new_view_hash = (struct hash){0};
	tc->new_view = NULL;
}

void term_cert_copy_ref(struct term_cert *out, const struct term_cert *tc)
{
	memcpy(out, tc, offsetof(struct term_cert, sig));
	memcpy(out->sig, tc->sig, tc->count * sizeof tc->sig[0]);
	out->new_view_hash = tc->new_view_hash;
	out->new_view = NULL;
}

void term_cert_free(struct term_cert *tc)
{
	if (tc->new_view) {
		new_view_free(tc->new_view);
		mem_free(tc->new_view);
	}
	term_cert_init(tc);
}

void term_cert_copy(struct term_cert *out, const struct term_cert *tc)
{
	term_cert_copy_ref(out, tc);
	if (!tc->new_view)
		return;
	out->new_view = mem_zalloc(sizeof *out->new_view);
	new_view_copy(out->new_view, tc->new_view);
}

static void fast_cert_encode(struct writer *w, const struct term_cert *tc)
{
	writer_u16(w, tc->leader);
	block_ref_encode(w, &tc->base);
	writer_u64(w, tc->signers);
	for (unsigned i = 0; i < tc->count; i++)
		writer_signature(w, &tc->sig[i]);
}

void term_cert_encode(struct writer *w, const struct term_cert *tc)
{
	writer_u8(w, (uint8_t)tc->mode);
	writer_u64(w, tc->term);
	if (tc->mode == MODE_PBFT)
		new_view_encode(w, tc->new_view);
	else
		fast_cert_encode(w, tc);
}

void term_cert_encode_ref(struct writer *w, const struct term_cert *tc)
{
	writer_u8(w, (uint8_t)tc->mode);
	writer_u64(w, tc->term);
	if (tc->mode == MODE_PBFT)
		writer_hash(w, &tc->new_view_hash);
	else
		fast_cert_encode(w, tc);
}

static void fast_cert_decode(struct reader *r, struct term_cert *out)
{
	out->leader = reader_signer(r);
	block_ref_decode(r, &out->base);
	out->signers = reader_u64(r);
	/* Term 0, like the one that any epoch begins in, is given, not voted for. */
	if (!r->err && out->term == 0 && out->signers != 0)
		reader_fail(r, ERR_NONCANONICAL);
	for (uint64_t left = out->signers; left && !r->err; left &= left - 1)
		reader_signature(r, &out->sig[out->count++]);
	if (r->err)
		out->count = 0;
}

static void decode(struct reader *r, struct term_cert *out, bool full)
{
	term_cert_init(out);
	uint8_t mode = reader_u8(r);
	out->term = reader_u64(r);
	if (mode == MODE_FAST) {
		fast_cert_decode(r, out);
	} else if (mode == MODE_PBFT && out->term > 0) {
		out->mode = MODE_PBFT;
		if (!full) {
			reader_hash(r, &out->new_view_hash);
		} else {
			out->new_view = mem_zalloc(sizeof *out->new_view);
			new_view_decode(r, out->new_view);
			if (!r->err && out->new_view->term != out->term)
				reader_fail(r, ERR_NONCANONICAL);
			out->leader = out->new_view->signer;
			if (!r->err)
				new_view_hash(&out->new_view_hash, out->new_view);
		}
	} else {
		reader_fail(r, ERR_RANGE);
	}
	if (r->err)
		term_cert_free(out);
}

void term_cert_decode(struct reader *r, struct term_cert *out)
{
	decode(r, out, true);
}

void term_cert_decode_ref(struct reader *r, struct term_cert *out)
{
	decode(r, out, false);
}

int fast_cert_check(const struct term_cert *tc, const struct chain_ctx *ctx)
{
	if (tc->mode != MODE_FAST)
		return ERR_RANGE;
	if (tc->term == ctx->start_term)
		return tc->base.term == ctx->start_term &&
				       tc->base.height == ctx->start_height &&
				       tc->leader == 0 && tc->signers == 0
			       ? ERR_NONE
			       : ERR_RANGE;
	ctx = chain_ctx_of_term(ctx, tc->term);
	int err = term_statement_check(tc->term, tc->leader, &tc->base, ctx);
	if (!err)
		err = signers_check(tc->signers, tc->count, ctx->quorum.q, ctx->vals.n);
	if (err)
		return err;
	uint8_t buf[TERM_VOTE_BODY_SIZE];
	struct writer w = writer_fixed(buf, sizeof buf);
	term_vote_body(&w, tc->term, tc->leader, &tc->base);
	return sig_check_all(ctx->scheme, tc->sig, ctx->vals.key, tc->signers,
			     SIG_TAG_TERM_VOTE, &ctx->domain, writer_slice(&w));
}

int term_cert_check(struct term_cert *tc, const struct chain_ctx *ctx,
		    const struct hash *genesis, const struct view_lookup *look,
		    struct missing *missing)
{
	if (tc->mode == MODE_FAST)
		return fast_cert_check(tc, ctx);
	if (!tc->new_view)
		return ERR_RANGE;
	struct selection s;
	int err = new_view_check(tc->new_view, ctx, genesis, look, &s, missing);
	if (err)
		return err;
	tc->leader = tc->new_view->signer;
	tc->base = s.base;
	return ERR_NONE;
}
