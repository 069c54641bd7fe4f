/* View changes and new views. Their encodings are fixed; decoding refuses them until pbft mode
 * is built, because a certificate of a pbft term nests view changes that carry certificates,
 * and only the code that needs them can bound that soundly. */
#include "chain/private.h"
#include "chain/term.h"

const char *escalation_reason_name(enum escalation_reason r)
{
	switch (r) {
	case REASON_NONE:
		return "none";
	case REASON_PROOF:
		return "proof";
	case REASON_SIGNATURE:
		return "signature";
	case REASON_CENSORSHIP:
		return "censorship";
	case REASON_SLOW:
		return "slow";
	case REASON_TIMEOUTS:
		return "timeouts";
	case REASON_JOIN:
		return "join";
	}
	return "unknown";
}

void view_change_init(struct view_change *v)
{
	memset(v, 0, sizeof *v);
	position_init(&v->position);
}

void view_change_free(struct view_change *v)
{
	position_free(&v->position);
}

static void view_change_body(struct writer *w, const struct view_change *v)
{
	writer_u64(w, v->term);
	writer_u8(w, (uint8_t)v->reason);
	position_encode(w, &v->position);
	writer_u8(w, v->has_stable);
	if (v->has_stable)
		cert_encode(w, &v->stable);
	block_ref_encode(w, &v->last_mode_change);
	writer_u16(w, v->signer);
}

void view_change_encode(struct writer *w, const struct view_change *v)
{
	view_change_body(w, v);
	writer_signature(w, &v->sig);
}

void view_change_decode(struct reader *r, struct view_change *out)
{
	view_change_init(out);
	out->term = reader_u64(r);
	uint8_t reason = reader_u8(r);
	if (reason > REASON_JOIN)
		reader_fail(r, ERR_RANGE);
	out->reason = r->err ? REASON_NONE : reason;
	position_decode(r, &out->position);
	out->has_stable = reader_bool(r);
	if (out->has_stable)
		cert_decode(r, &out->stable);
	block_ref_decode(r, &out->last_mode_change);
	out->signer = reader_signer(r);
	reader_signature(r, &out->sig);
}

void view_change_sign(struct view_change *v, const struct chain_ctx *ctx,
		      const struct keypair *key)
{
	struct writer w = {0};
	view_change_body(&w, v);
	sig_make(ctx->scheme, &v->sig, key, SIG_TAG_VIEW_CHANGE, &ctx->id, writer_slice(&w));
	writer_free(&w);
}

int view_change_check_sig(const struct view_change *v, const struct chain_ctx *ctx)
{
	struct writer w = {0};
	view_change_body(&w, v);
	int err = chain_check_sig(ctx, v->signer, SIG_TAG_VIEW_CHANGE, writer_slice(&w), &v->sig);
	writer_free(&w);
	return err;
}

void new_view_free(struct new_view *nv)
{
	for (unsigned i = 0; i < nv->count; i++)
		view_change_free(&nv->vc[i]);
	mem_free(nv->vc);
	*nv = (struct new_view){0};
}

static void new_view_body(struct writer *w, const struct new_view *nv)
{
	writer_u64(w, nv->term);
	writer_u16(w, (uint16_t)nv->count);
	for (unsigned i = 0; i < nv->count; i++)
		view_change_encode(w, &nv->vc[i]);
	writer_u16(w, nv->signer);
}

void new_view_encode(struct writer *w, const struct new_view *nv)
{
	new_view_body(w, nv);
	writer_signature(w, &nv->sig);
}

void new_view_decode(struct reader *r, struct new_view *out)
{
	*out = (struct new_view){0};
	reader_fail(r, ERR_UNSUPPORTED);
}

void new_view_hash(struct hash *out, const struct new_view *nv)
{
	struct writer w = {0};
	new_view_encode(&w, nv);
	hash_tagged(out, HASH_NEW_VIEW, writer_slice(&w));
	writer_free(&w);
}

void new_view_sign(struct new_view *nv, const struct chain_ctx *ctx, const struct keypair *key)
{
	struct writer w = {0};
	new_view_body(&w, nv);
	sig_make(ctx->scheme, &nv->sig, key, SIG_TAG_NEW_VIEW, &ctx->id, writer_slice(&w));
	writer_free(&w);
}

int new_view_check_sig(const struct new_view *nv, const struct chain_ctx *ctx)
{
	struct writer w = {0};
	new_view_body(&w, nv);
	int err = chain_check_sig(ctx, nv->signer, SIG_TAG_NEW_VIEW, writer_slice(&w), &nv->sig);
	writer_free(&w);
	return err;
}
