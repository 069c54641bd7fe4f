/* View changes and new views. Positions inside name certificates of pbft terms by hash, so that
 * nothing nests. */
#include "base/mem.h"
#include "base/mutant.h"
#include "chain/private.h"
#include "chain/select.h"

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
	v->term = 0;
	v->reason = REASON_NONE;
	position_init(&v->position);
	v->has_stable = false;
	v->last_mode_change = 0;
	v->signer = 0;
	v->sig = (struct signature){0};
}

void view_change_free(struct view_change *v)
{
	position_free(&v->position);
}

/* ---- claims ------------------------------------------------------------------------------ */

#define CLAIM_BODY_SIZE (8 + 1 + 8 + HASH_SIZE + 2)

static void claim_body(struct writer *w, const struct view_claim *c)
{
	writer_u64(w, c->term);
	writer_u8(w, (uint8_t)c->reason);
	writer_u64(w, c->last_mode_change);
	writer_hash(w, &c->digest);
	writer_u16(w, c->signer);
}

void view_claim_encode(struct writer *w, const struct view_claim *c)
{
	claim_body(w, c);
	writer_signature(w, &c->sig);
}

void view_claim_decode(struct reader *r, struct view_claim *out)
{
	out->term = reader_u64(r);
	uint8_t reason = reader_u8(r);
	if (reason > REASON_JOIN)
		reader_fail(r, ERR_RANGE);
	out->reason = r->err ? REASON_NONE : reason;
	out->last_mode_change = reader_u64(r);
	reader_hash(r, &out->digest);
	out->signer = reader_signer(r);
	reader_signature(r, &out->sig);
}

int view_claim_check(const struct view_claim *c, const struct chain_ctx *ctx)
{
	uint8_t buf[CLAIM_BODY_SIZE];
	struct writer w = writer_fixed(buf, sizeof buf);
	claim_body(&w, c);
	ctx = chain_ctx_of_term(ctx, c->term);
	return chain_check_sig(ctx, c->signer, SIG_TAG_VIEW_CHANGE, writer_slice(&w), &c->sig);
}

static void shown_encode(struct writer *w, const struct view_change *v)
{
	position_encode(w, &v->position);
	writer_u8(w, v->has_stable);
	if (v->has_stable)
		cert_encode(w, &v->stable);
}

void view_change_claim(struct view_claim *out, const struct view_change *v)
{
	*out = (struct view_claim){.term = v->term,
				   .reason = v->reason,
				   .last_mode_change = v->last_mode_change,
				   .signer = v->signer,
				   .sig = v->sig};
	struct writer w = {0};
	shown_encode(&w, v);
	hash_tagged(&out->digest, HASH_VIEW_CHANGE, writer_slice(&w));
	writer_free(&w);
}

/* ---- view changes ------------------------------------------------------------------------ */

void view_change_encode(struct writer *w, const struct view_change *v)
{
	writer_u64(w, v->term);
	writer_u8(w, (uint8_t)v->reason);
	writer_u64(w, v->last_mode_change);
	shown_encode(w, v);
	writer_u16(w, v->signer);
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
	out->last_mode_change = reader_u64(r);
	position_decode(r, &out->position);
	out->has_stable = reader_bool(r);
	if (out->has_stable)
		cert_decode(r, &out->stable);
	out->signer = reader_signer(r);
	reader_signature(r, &out->sig);
}

static void position_copy(struct position *out, const struct position *p)
{
	out->tip = p->tip;
	term_cert_copy(&out->tc, &p->tc);
	out->has_checkpoint = p->has_checkpoint;
	if (p->has_checkpoint)
		cert_copy(&out->checkpoint, &p->checkpoint);
	out->has_qc = p->has_qc;
	if (p->has_qc)
		cert_copy(&out->qc, &p->qc);
	out->header_count = p->header_count;
	out->headers = mem_dup(p->headers, p->header_count * sizeof *p->headers);
}

void view_change_copy(struct view_change *out, const struct view_change *v)
{
	out->term = v->term;
	out->reason = v->reason;
	position_copy(&out->position, &v->position);
	out->has_stable = v->has_stable;
	if (v->has_stable)
		cert_copy(&out->stable, &v->stable);
	out->last_mode_change = v->last_mode_change;
	out->signer = v->signer;
	out->sig = v->sig;
}

void view_change_sign(struct view_change *v, const struct chain_ctx *ctx,
		      const struct keypair *key)
{
	struct view_claim c;
	uint8_t buf[CLAIM_BODY_SIZE];
	struct writer w = writer_fixed(buf, sizeof buf);
	view_change_claim(&c, v);
	claim_body(&w, &c);
	sig_make(ctx->scheme, &v->sig, key, SIG_TAG_VIEW_CHANGE, &ctx->domain, writer_slice(&w));
}

int view_change_check_sig(const struct view_change *v, const struct chain_ctx *ctx)
{
	struct view_claim c;
	view_change_claim(&c, v);
	return view_claim_check(&c, ctx);
}

int view_change_check(struct view_change *v, const struct chain_ctx *ctx,
		      const struct hash *genesis, const struct view_lookup *look,
		      struct missing *missing)
{
	int err = view_change_check_sig(v, ctx);
	if (!err && v->has_stable)
		err = v->stable.kind == CERT_CHECKPOINT ? cert_check(&v->stable, ctx)
							: ERR_RANGE;
	return err ? err : position_check(&v->position, v->term, ctx, genesis, look, missing);
}

/* ---- new views --------------------------------------------------------------------------- */

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

#define VIEW_CHANGE_SIZE_MIN (8 + 1 + 8 + BLOCK_REF_SIZE + 9 + 1 + 4 + 1 + 2 + SIGNATURE_SIZE)

void new_view_decode(struct reader *r, struct new_view *out)
{
	*out = (struct new_view){0};
	out->term = reader_u64(r);
	uint16_t count = reader_u16(r);
	if (count < 1 || count > VALIDATORS_MAX || r->left / VIEW_CHANGE_SIZE_MIN < count)
		reader_fail(r, ERR_LIMIT);
	if (r->err)
		return;
	out->vc = mem_alloc(count * sizeof *out->vc);
	while (out->count < count && !r->err) {
		struct view_change *v = &out->vc[out->count++];
		view_change_decode(r, v);
		if (!r->err && out->count > 1 && v->signer <= v[-1].signer)
			reader_fail(r, ERR_NONCANONICAL);
	}
	out->signer = reader_signer(r);
	reader_signature(r, &out->sig);
	if (r->err)
		new_view_free(out);
}

void new_view_copy(struct new_view *out, const struct new_view *nv)
{
	*out = *nv;
	out->vc = mem_alloc(nv->count * sizeof *out->vc);
	for (unsigned i = 0; i < nv->count; i++)
		view_change_copy(&out->vc[i], &nv->vc[i]);
}

void new_view_hash(struct hash *out, const struct new_view *nv)
{
	struct writer w = {0};
	new_view_encode(&w, nv);
	hash_tagged(out, HASH_NEW_VIEW, writer_slice(&w));
	writer_free(&w);
}

void new_view_claim(struct new_view_claim *out, const struct new_view *nv)
{
	struct writer w = {0};
	new_view_body(&w, nv);
	out->term = nv->term;
	out->signer = nv->signer;
	out->sig = nv->sig;
	hash_tagged(&out->digest, HASH_VIEW_CHANGE, writer_slice(&w));
	writer_free(&w);
}

#define NEW_VIEW_CLAIM_BODY_SIZE (8 + 2 + HASH_SIZE)

static void new_view_claim_body(struct writer *w, const struct new_view_claim *c)
{
	writer_u64(w, c->term);
	writer_u16(w, c->signer);
	writer_hash(w, &c->digest);
}

void new_view_claim_encode(struct writer *w, const struct new_view_claim *c)
{
	new_view_claim_body(w, c);
	writer_signature(w, &c->sig);
}

void new_view_claim_decode(struct reader *r, struct new_view_claim *out)
{
	out->term = reader_u64(r);
	out->signer = reader_signer(r);
	reader_hash(r, &out->digest);
	reader_signature(r, &out->sig);
}

int new_view_claim_check(const struct new_view_claim *c, const struct chain_ctx *ctx)
{
	uint8_t buf[NEW_VIEW_CLAIM_BODY_SIZE];
	struct writer w = writer_fixed(buf, sizeof buf);
	new_view_claim_body(&w, c);
	ctx = chain_ctx_of_term(ctx, c->term);
	return chain_check_sig(ctx, c->signer, SIG_TAG_NEW_VIEW, writer_slice(&w), &c->sig);
}

void new_view_sign(struct new_view *nv, const struct chain_ctx *ctx, const struct keypair *key)
{
	struct new_view_claim c;
	uint8_t buf[NEW_VIEW_CLAIM_BODY_SIZE];
	struct writer w = writer_fixed(buf, sizeof buf);
	new_view_claim(&c, nv);
	new_view_claim_body(&w, &c);
	sig_make(ctx->scheme, &nv->sig, key, SIG_TAG_NEW_VIEW, &ctx->domain, writer_slice(&w));
}

int new_view_check_sig(const struct new_view *nv, const struct chain_ctx *ctx)
{
	struct new_view_claim c;
	new_view_claim(&c, nv);
	return new_view_claim_check(&c, ctx);
}

int new_view_check(struct new_view *nv, const struct chain_ctx *ctx, const struct hash *genesis,
		   const struct view_lookup *look, struct selection *out,
		   struct missing *missing)
{
	if (ctx->quorum.f == 0 || nv->signer != primary_of(nv->term, ctx->vals.n))
		return ERR_UNKNOWN_SIGNER;
	if (nv->count != ctx->quorum.qv - MUTANT(MUTANT_SMALL_VIEW))
		return ERR_NO_QUORUM;
	int err = new_view_check_sig(nv, ctx);
	if (err)
		return err;
	const struct view_change *set[VALIDATORS_MAX];
	for (unsigned i = 0; i < nv->count; i++) { /* cheap things first */
		struct view_change *v = &nv->vc[i];
		if (v->term != nv->term)
			return ERR_RANGE;
		if (i > 0 && v->signer <= nv->vc[i - 1].signer)
			return ERR_DUPLICATE_SIGNER;
		err = view_change_check_sig(v, ctx);
		if (err)
			return err;
	}
	for (unsigned i = 0; i < nv->count; i++) {
		struct view_change *v = &nv->vc[i];
		err = view_change_check(v, ctx, genesis, look, missing);
		if (err)
			return err;
		set[i] = v;
	}
	return select_base(out, set, nv->count, ctx, look, missing);
}
