/* Positions: what a candidate or a view change shows of its log. */
#include "base/mutant.h"
#include "chain/private.h"
#include "chain/term.h"

void position_init(struct position *p)
{
	p->tip = (struct block_ref){0};
	term_cert_init(&p->tc);
	p->has_checkpoint = false;
	p->has_qc = false;
	p->header_count = 0;
	p->headers = NULL;
}

void position_free(struct position *p)
{
	term_cert_free(&p->tc);
	mem_free(p->headers);
	position_init(p);
}

void position_encode(struct writer *w, const struct position *p)
{
	block_ref_encode(w, &p->tip);
	term_cert_encode_ref(w, &p->tc);
	writer_u8(w, (uint8_t)(p->has_checkpoint | p->has_qc << 1));
	if (p->has_checkpoint)
		cert_encode(w, &p->checkpoint);
	if (p->has_qc)
		cert_encode(w, &p->qc);
	writer_u32(w, p->header_count);
	for (uint32_t i = 0; i < p->header_count; i++)
		signed_header_encode(w, &p->headers[i]);
}

void position_decode(struct reader *r, struct position *out)
{
	position_init(out);
	block_ref_decode(r, &out->tip);
	term_cert_decode_ref(r, &out->tc);
	uint8_t flags = reader_u8(r);
	if (flags > 3)
		reader_fail(r, ERR_NONCANONICAL);
	if (!r->err && (flags & 1)) {
		out->has_checkpoint = true;
		cert_decode(r, &out->checkpoint);
	}
	if (!r->err && (flags & 2)) {
		out->has_qc = true;
		cert_decode(r, &out->qc);
	}
	uint32_t count = reader_count(r, POSITION_HEADERS_MAX, SIGNED_HEADER_SIZE);
	if (r->err || !count)
		return;
	out->headers = mem_array(count, sizeof *out->headers);
	for (uint32_t i = 0; i < count && !r->err; i++)
		signed_header_decode(r, &out->headers[i]);
	out->header_count = r->err ? 0 : count;
}

/* The lowest block that the headers lead to. */
static const struct block_ref *position_floor(const struct position *p)
{
	return p->has_checkpoint ? &p->checkpoint.ref : &p->tc.base;
}

static bool header_fits_term(const struct header *h, const struct position *p)
{
	return h->term == p->tip.term && h->leader == p->tc.leader && h->mode == p->tc.mode &&
	       h->base_height == p->tc.base.height && hash_equal(&h->base, &p->tc.base.hash) &&
	       hash_equal(&h->new_view, &p->tc.new_view_hash);
}

static bool signature_known(const struct view_lookup *look, const struct signed_header *sh,
			    const struct hash *hash)
{
	return look && look->is_checked && look->is_checked(look->arg, sh, hash);
}

/* Headers link the tip down to the floor, each signed, of tip.term, its leader, mode, base. */
static int check_headers(const struct position *p, const struct chain_ctx *ctx,
			 const struct view_lookup *look)
{
	const struct block_ref *floor = position_floor(p);
	struct hash want = p->tip.hash;
	uint64_t height = p->tip.height;
	for (uint32_t i = 0; i < p->header_count; i++, height--) {
		const struct signed_header *sh = &p->headers[i];
		struct hash hash;
		header_hash(&hash, &sh->h);
		if (sh->h.height != height || height <= floor->height ||
		    !hash_equal(&hash, &want) || !header_fits_term(&sh->h, p))
			return ERR_BAD_LINK;
		int err = signature_known(look, sh, &hash) ? ERR_NONE
							   : signed_header_check(sh, ctx);
		if (err)
			return err;
		want = sh->h.prev;
	}
	return height == floor->height && hash_equal(&want, &floor->hash) ? ERR_NONE
									  : ERR_BAD_LINK;
}

/* ref is the tip, the floor, or the block of one of the headers. */
static bool on_shown_chain(const struct position *p, const struct block_ref *ref)
{
	if (block_ref_equal(ref, &p->tip) || block_ref_equal(ref, position_floor(p)))
		return true;
	if (ref->term != p->tip.term || ref->height >= p->tip.height ||
	    p->tip.height - ref->height >= p->header_count)
		return false;
	/* the header above names it as its parent */
	const struct header *child = &p->headers[p->tip.height - ref->height - 1].h;
	return hash_equal(&child->prev, &ref->hash);
}

static int check_checkpoint(const struct position *p, const struct chain_ctx *ctx)
{
	if (!p->has_checkpoint)
		return ERR_NONE;
	if (p->checkpoint.kind != CERT_CHECKPOINT || p->checkpoint.ref.term != p->tip.term)
		return ERR_BAD_LINK;
	return cert_check(&p->checkpoint, ctx);
}

const struct cert *position_qc(const struct position *p)
{
	if (!p->has_qc || p->qc.ref.term != p->tip.term || p->tip.term == 0)
		return NULL;
	/* Below a checkpoint that is shown, the checkpoint counts for more. */
	if (p->has_checkpoint && p->qc.ref.height <= p->checkpoint.ref.height)
		return NULL;
	return &p->qc;
}

static int check_qc(const struct position *p, const struct chain_ctx *ctx)
{
	if (!p->has_qc)
		return ERR_NONE;
	/* No honest one shows a QC of another term. Were it let pass unchecked, whoever takes
	 * such a view change into a NEW-VIEW would vouch for what is false by its bytes. */
	if (p->qc.ref.term != p->tip.term)
		return ERR_BAD_LINK;
	/* q COMMITs vouch for at least what a QC does: who signed one held the QC. */
	enum cert_kind qc_kind = p->tc.mode == MODE_FAST ? CERT_QC_FAST : CERT_QC_PBFT;
	if (p->qc.kind != qc_kind && p->qc.kind != CERT_TWO_ROUND)
		return ERR_RANGE;
	int err = cert_check(&p->qc, ctx);
	if (err)
		return err;
	const struct cert *qc = position_qc(p);
	return !qc || on_shown_chain(p, &qc->ref) ? ERR_NONE : ERR_BAD_LINK;
}

/* The base of a pbft tip: as its headers say, if q replicas have vouched for a block of that
 * base by a QC or checkpoint; else as its NEW-VIEW says. */
static int find_base(struct position *p, const struct chain_ctx *ctx,
		     const struct view_lookup *look, struct missing *missing)
{
	p->tc.leader = (uint16_t)primary_of(p->tip.term, ctx->vals.n);
	if (p->header_count) {
		const struct header *h = &p->headers[0].h;
		p->tc.base.height = h->base_height;
		p->tc.base.hash = h->base;
		p->tc.base.term = 0; /* not in the header; nobody compares it */
	} else {
		p->tc.base = p->checkpoint.ref; /* nothing lower is shown */
		return p->has_checkpoint ? ERR_NONE : ERR_BAD_LINK;
	}
	struct block_ref base;
	if (look && look->base_of &&
	    look->base_of(look->arg, p->tc.term, &p->tc.new_view_hash, &base)) {
		bool same = base.height == p->tc.base.height &&
			    hash_equal(&base.hash, &p->tc.base.hash);
		p->tc.base = base;
		return same ? ERR_NONE : ERR_BAD_LINK;
	}
	if (p->has_checkpoint || position_qc(p))
		return ERR_NONE;
	if (missing) {
		missing->kind = MISSING_NEW_VIEW;
		missing->term = p->tc.term;
		missing->hash = p->tc.new_view_hash;
	}
	return ERR_NOT_FOUND;
}

/* The block that the epoch begins with. */
static int check_genesis_tip(const struct position *p, const struct chain_ctx *ctx,
			     const struct hash *genesis)
{
	bool is_genesis = p->tip.height == ctx->start_height &&
			  hash_equal(&p->tip.hash, genesis) &&
			  block_ref_equal(&p->tc.base, &p->tip);
	bool bare = !p->has_checkpoint && !p->has_qc && !p->header_count;
	return is_genesis && bare ? ERR_NONE : ERR_BAD_LINK;
}

int position_check(struct position *p, uint64_t for_term, const struct chain_ctx *ctx,
		   const struct hash *genesis, const struct view_lookup *look,
		   struct missing *missing)
{
	if (p->tip.term >= for_term || p->tc.term != p->tip.term)
		return ERR_RANGE;
	if (MUTANT(MUTANT_TRUST_HEADERS) && p->tc.mode == MODE_FAST)
		return ERR_NONE;
	if (p->tc.mode == MODE_FAST) {
		int err = fast_cert_check(&p->tc, ctx);
		if (err)
			return err;
	}
	if (p->tip.term == ctx->start_term)
		return p->tc.mode == MODE_FAST ? check_genesis_tip(p, ctx, genesis)
					       : ERR_BAD_LINK;
	if (p->tc.mode == MODE_PBFT) {
		int base_err = find_base(p, ctx, look, missing);
		if (base_err) /* also if it is not known: nothing dear is done before */
			return base_err;
	}
	if (p->has_checkpoint && p->header_count &&
	    p->checkpoint.ref.height <= p->tc.base.height)
		return ERR_BAD_LINK;
	int err = check_checkpoint(p, ctx);
	if (!err)
		err = check_headers(p, ctx, look);
	if (!err)
		err = check_qc(p, ctx);
	return err;
}

bool position_extends(const struct position *p, const struct block_ref *ref)
{
	return on_shown_chain(p, ref) || block_ref_equal(ref, &p->tc.base);
}
