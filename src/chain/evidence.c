/* Transferable proofs: canonical form, and what each kind must show. */
#include "chain/evidence.h"

#include "chain/private.h"

const char *evidence_kind_name(enum evidence_kind kind)
{
	switch (kind) {
	case EVIDENCE_HEADERS:
		return "headers";
	case EVIDENCE_TERM_HEADERS:
		return "term_headers";
	case EVIDENCE_VOTES:
		return "votes";
	case EVIDENCE_TERM_STATEMENTS:
		return "term_statements";
	case EVIDENCE_NEW_VIEWS:
		return "new_views";
	case EVIDENCE_LOW_BASE:
		return "low_base";
	case EVIDENCE_INVALID_BLOCK:
		return "invalid_block";
	case EVIDENCE_HIDDEN_VOTE:
		return "hidden_vote";
	case EVIDENCE_INVALID_STATEMENT:
		return "invalid_statement";
	}
	return "unknown";
}

static void statement_encode(struct writer *w, const struct statement *s)
{
	writer_u8(w, (uint8_t)s->kind);
	writer_var(w, s->bytes);
}

static void statement_decode(struct reader *r, struct statement *out)
{
	uint8_t kind = reader_u8(r);
	if (kind < STATEMENT_HEADER || kind > STATEMENT_VIEW_CLAIM)
		reader_fail(r, ERR_RANGE);
	out->kind = r->err ? STATEMENT_HEADER : kind;
	out->bytes = reader_var(r, EVIDENCE_SIZE_MAX);
}

void evidence_encode(struct writer *w, const struct evidence *e)
{
	writer_u8(w, (uint8_t)e->kind);
	writer_u16(w, e->culprit);
	statement_encode(w, &e->first);
	statement_encode(w, &e->second);
	writer_var(w, e->links);
}

void evidence_decode(struct reader *r, struct evidence *out)
{
	uint8_t kind = reader_u8(r);
	if (kind < EVIDENCE_HEADERS || kind > EVIDENCE_INVALID_STATEMENT)
		reader_fail(r, ERR_RANGE);
	out->kind = r->err ? EVIDENCE_HEADERS : kind;
	out->culprit = reader_signer(r);
	statement_decode(r, &out->first);
	statement_decode(r, &out->second);
	out->links = reader_var(r, EVIDENCE_SIZE_MAX);
}

void evidence_hash(struct hash *out, const struct evidence *e)
{
	struct writer w = {0};
	evidence_encode(&w, e);
	hash_tagged(out, HASH_EVIDENCE, writer_slice(&w));
	writer_free(&w);
}

/* ---- statements, decoded whole and with a valid signature of the culprit ----------------- */

static int culprit_header(const struct statement *s, unsigned culprit,
			  const struct chain_ctx *ctx, struct signed_header *out)
{
	struct reader r;
	reader_init(&r, s->bytes);
	if (s->kind != STATEMENT_HEADER)
		return ERR_RANGE;
	signed_header_decode(&r, out);
	int err = reader_finish(&r);
	if (!err)
		err = signed_header_check(out, ctx);
	return err ? err : out->h.leader == culprit ? ERR_NONE : ERR_UNKNOWN_SIGNER;
}

static int culprit_vote(const struct statement *s, unsigned culprit,
			const struct chain_ctx *ctx, struct vote *out)
{
	struct reader r;
	reader_init(&r, s->bytes);
	if (s->kind != STATEMENT_VOTE)
		return ERR_RANGE;
	vote_decode(&r, out);
	int err = reader_finish(&r);
	if (!err)
		err = vote_check(out, ctx);
	return err ? err : out->signer == culprit ? ERR_NONE : ERR_UNKNOWN_SIGNER;
}

static int culprit_term_vote(const struct statement *s, unsigned culprit,
			     const struct chain_ctx *ctx, struct term_vote *out)
{
	struct reader r;
	reader_init(&r, s->bytes);
	if (s->kind != STATEMENT_TERM_VOTE)
		return ERR_RANGE;
	term_vote_decode(&r, out);
	int err = reader_finish(&r);
	if (!err)
		err = term_vote_check(out, ctx);
	return err ? err : out->signer == culprit ? ERR_NONE : ERR_UNKNOWN_SIGNER;
}

static bool is_prepare(enum vote_kind kind)
{
	return kind == VOTE_PREPARE_FAST || kind == VOTE_PREPARE_PBFT;
}

/* What a replica signed in a term: a term vote, or a claim to a pbft term. */
struct term_statement {
	uint64_t term;
	struct hash digest; /* of what it says */
};
static int culprit_term_statement(const struct statement *s, unsigned culprit,
				  const struct chain_ctx *ctx, struct term_statement *out)
{
	struct reader r;
	struct writer w = {0};
	int err;
	if (s->kind == STATEMENT_TERM_VOTE) {
		struct term_vote v;
		err = culprit_term_vote(s, culprit, ctx, &v);
		if (err)
			return err;
		out->term = v.term;
		writer_u16(&w, v.leader);
		block_ref_encode(&w, &v.base);
	} else if (s->kind == STATEMENT_VIEW_CLAIM) {
		struct view_claim c;
		reader_init(&r, s->bytes);
		view_claim_decode(&r, &c);
		err = reader_finish(&r);
		if (!err)
			err = view_claim_check(&c, ctx);
		if (!err && c.signer != culprit)
			err = ERR_UNKNOWN_SIGNER;
		if (err)
			return err;
		out->term = c.term;
		writer_u8(&w, (uint8_t)c.reason);
		writer_u64(&w, c.last_mode_change);
		writer_hash(&w, &c.digest);
	} else {
		return ERR_RANGE;
	}
	hash_tagged(&out->digest, HASH_EVIDENCE, writer_slice(&w));
	writer_free(&w);
	return ERR_NONE;
}

static int culprit_view_change(const struct statement *s, unsigned culprit,
			       const struct chain_ctx *ctx, struct view_change *out)
{
	struct reader r;
	reader_init(&r, s->bytes);
	view_change_init(out);
	if (s->kind != STATEMENT_VIEW_CHANGE)
		return ERR_RANGE;
	view_change_decode(&r, out);
	int err = reader_finish(&r);
	if (!err)
		err = view_change_check_sig(out, ctx);
	return err ? err : out->signer == culprit ? ERR_NONE : ERR_UNKNOWN_SIGNER;
}

/* ---- kinds ------------------------------------------------------------------------------- */

/* From `from` down along links, which are its ancestors by their hashes, to the last of them. */
static int follow_links(struct header *from, struct slice links)
{
	struct reader r;
	reader_init(&r, links);
	uint32_t count = reader_count(&r, POSITION_HEADERS_MAX, HEADER_SIZE);
	for (uint32_t i = 0; i < count && !r.err; i++) {
		struct header next;
		struct hash hash;
		header_decode(&r, &next);
		header_hash(&hash, &next);
		if (!r.err && (!hash_equal(&hash, &from->prev) || next.height + 1 != from->height))
			return ERR_BAD_LINK;
		*from = next;
	}
	return reader_finish(&r);
}

static int check_headers(const struct evidence *e, const struct chain_ctx *ctx)
{
	struct signed_header a, b;
	int err = culprit_header(&e->first, e->culprit, ctx, &a);
	if (!err)
		err = culprit_header(&e->second, e->culprit, ctx, &b);
	if (!err && e->links.len)
		err = follow_links(a.h.height > b.h.height ? &a.h : &b.h, e->links);
	if (err)
		return err;
	struct hash ha, hb;
	header_hash(&ha, &a.h);
	header_hash(&hb, &b.h);
	if (hash_equal(&ha, &hb) || a.h.term != b.h.term || a.h.leader != b.h.leader)
		return ERR_BAD_PROOF;
	if (e->kind == EVIDENCE_HEADERS)
		return a.h.height == b.h.height ? ERR_NONE : ERR_BAD_PROOF;
	if (a.h.mode != b.h.mode)
		return ERR_NONE;
	/* A pbft primary may, after a crash, not sign another NEW-VIEW: one base a term. */
	bool same_term = a.h.base_height == b.h.base_height && hash_equal(&a.h.base, &b.h.base) &&
			 hash_equal(&a.h.new_view, &b.h.new_view);
	return same_term ? ERR_BAD_PROOF : ERR_NONE;
}

static int check_votes(const struct evidence *e, const struct chain_ctx *ctx)
{
	struct vote a, b;
	int err = culprit_vote(&e->first, e->culprit, ctx, &a);
	if (!err)
		err = culprit_vote(&e->second, e->culprit, ctx, &b);
	if (err)
		return err;
	bool same_kind = (is_prepare(a.kind) && is_prepare(b.kind)) ||
			 (a.kind == VOTE_COMMIT && b.kind == VOTE_COMMIT);
	bool same_place = a.ref.term == b.ref.term && a.ref.height == b.ref.height;
	return same_kind && same_place && !hash_equal(&a.ref.hash, &b.ref.hash) ? ERR_NONE
										: ERR_BAD_PROOF;
}

static int check_term_statements(const struct evidence *e, const struct chain_ctx *ctx)
{
	struct term_statement a, b;
	int err = culprit_term_statement(&e->first, e->culprit, ctx, &a);
	if (!err)
		err = culprit_term_statement(&e->second, e->culprit, ctx, &b);
	if (err)
		return err;
	bool same = e->first.kind == e->second.kind && hash_equal(&a.digest, &b.digest);
	return a.term == b.term && !same ? ERR_NONE : ERR_BAD_PROOF;
}

static int culprit_new_view(const struct statement *s, unsigned culprit,
			    const struct chain_ctx *ctx, struct new_view_claim *out)
{
	struct reader r;
	reader_init(&r, s->bytes);
	if (s->kind != STATEMENT_NEW_VIEW)
		return ERR_RANGE;
	new_view_claim_decode(&r, out);
	int err = reader_finish(&r);
	if (!err)
		err = new_view_claim_check(out, ctx);
	return err ? err : out->signer == culprit ? ERR_NONE : ERR_UNKNOWN_SIGNER;
}

static int check_new_views(const struct evidence *e, const struct chain_ctx *ctx)
{
	struct new_view_claim a, b;
	int err = culprit_new_view(&e->first, e->culprit, ctx, &a);
	if (!err)
		err = culprit_new_view(&e->second, e->culprit, ctx, &b);
	if (err)
		return err;
	return a.term == b.term && !hash_equal(&a.digest, &b.digest) ? ERR_NONE : ERR_BAD_PROOF;
}

/* A term vote for t on a base of lower term than a PREPARE of its signer below t. */
static int check_low_base(const struct evidence *e, const struct chain_ctx *ctx)
{
	bool vote_first = e->first.kind == STATEMENT_VOTE;
	struct vote v;
	struct term_vote t;
	int err = culprit_vote(vote_first ? &e->first : &e->second, e->culprit, ctx, &v);
	if (!err)
		err = culprit_term_vote(vote_first ? &e->second : &e->first, e->culprit, ctx, &t);
	if (err)
		return err;
	return is_prepare(v.kind) && v.ref.term < t.term && t.base.term < v.ref.term
		       ? ERR_NONE
		       : ERR_BAD_PROOF;
}

/* The header is signed, and the body that it commits to has a transaction that no state admits;
 * or the bytes are the committed body (same size and root) but its count is another. */
static int check_invalid_block(const struct evidence *e, const struct chain_ctx *ctx,
			       evidence_tx_invalid tx_invalid)
{
	if (e->first.kind != STATEMENT_BLOCK || e->second.bytes.len)
		return ERR_RANGE;
	struct reader r;
	struct block *b;
	reader_init(&r, e->first.bytes);
	int err = block_decode(&r, &b);
	if (err)
		return err;
	err = reader_finish(&r);
	if (!err)
		err = signed_header_check(&b->sh, ctx);
	if (!err && b->sh.h.leader != e->culprit)
		err = ERR_UNKNOWN_SIGNER;
	bool invalid = false;
	for (uint32_t i = 0; !err && tx_invalid && i < b->tx_count && !invalid; i++)
		invalid = tx_invalid(ctx, block_tx_bytes(b, i));
	block_drop(b);
	return err ? err : invalid ? ERR_NONE : ERR_BAD_PROOF;
}

/* Is ref on the chain that the position shows? Headers that do not link show nothing. */
static int shows(const struct position *p, const struct block_ref *ref, bool *on_chain)
{
	struct hash want = p->tip.hash;
	uint64_t height = p->tip.height;
	*on_chain = height == ref->height && hash_equal(&want, &ref->hash);
	for (uint32_t i = 0; i < p->header_count; i++) {
		struct hash hash;
		header_hash(&hash, &p->headers[i].h);
		if (p->headers[i].h.height != height || !hash_equal(&hash, &want) || height == 0)
			return ERR_BAD_LINK;
		want = p->headers[i].h.prev;
		height--;
		*on_chain |= height == ref->height && hash_equal(&want, &ref->hash);
	}
	/* Below what is shown nothing can be said. */
	return height <= ref->height || *on_chain ? ERR_NONE : ERR_NOT_FOUND;
}

static bool certified_above(const struct position *p, const struct block_ref *v)
{
	bool qc = p->has_qc && p->qc.ref.term == v->term && p->qc.ref.height >= v->height;
	bool checkpoint = p->has_checkpoint && p->checkpoint.ref.term == v->term &&
			  p->checkpoint.ref.height >= v->height;
	return qc || checkpoint;
}

/* A VIEW-CHANGE for t that hides a vote V of its signer: V.term < t and (V above its tip; or V of
 * the tip's term, not on its chain, and no QC or checkpoint of that term at or above V shown). */
static int check_hidden_vote(const struct evidence *e, const struct chain_ctx *ctx)
{
	bool vote_first = e->first.kind == STATEMENT_VOTE;
	struct vote v;
	struct view_change vc;
	int err = culprit_vote(vote_first ? &e->first : &e->second, e->culprit, ctx, &v);
	if (err)
		return err;
	if (!is_prepare(v.kind) && v.kind != VOTE_COMMIT)
		return ERR_RANGE;
	err = culprit_view_change(vote_first ? &e->second : &e->first, e->culprit, ctx, &vc);
	bool hidden = false;
	if (!err && v.ref.term < vc.term) {
		const struct position *p = &vc.position;
		if (position_compare(&v.ref, &p->tip) > 0) {
			hidden = true;
		} else if (v.ref.term == p->tip.term && !certified_above(p, &v.ref)) {
			bool on_chain = false;
			err = shows(p, &v.ref, &on_chain);
			hidden = !err && !on_chain;
		}
	}
	view_change_free(&vc);
	return err ? err : hidden ? ERR_NONE : ERR_BAD_PROOF;
}

/* Signed although one of its certificates or headers is false by its bytes alone. What needs
 * more than the bytes (a NEW-VIEW not held) is no offence. */
static int check_invalid_statement(const struct evidence *e, const struct chain_ctx *ctx)
{
	if (e->second.bytes.len)
		return ERR_RANGE;
	struct view_change vc;
	int err = culprit_view_change(&e->first, e->culprit, ctx, &vc);
	if (!err) {
		const struct position *p = &vc.position;
		bool invalid = (vc.has_stable && cert_check(&vc.stable, ctx)) ||
			       (p->has_qc && cert_check(&p->qc, ctx)) ||
			       (p->has_checkpoint && cert_check(&p->checkpoint, ctx)) ||
			       (p->tc.mode == MODE_FAST && fast_cert_check(&p->tc, ctx));
		for (uint32_t i = 0; i < p->header_count && !invalid; i++)
			invalid = signed_header_check(&p->headers[i], ctx) != ERR_NONE;
		err = invalid ? ERR_NONE : ERR_BAD_PROOF;
	}
	view_change_free(&vc);
	return err;
}

static bool has_one_statement(enum evidence_kind kind)
{
	return kind == EVIDENCE_INVALID_BLOCK || kind == EVIDENCE_INVALID_STATEMENT;
}

int evidence_check(const struct evidence *e, const struct chain_ctx *ctx,
		   evidence_tx_invalid tx_invalid)
{
	if (e->culprit >= ctx->vals.n)
		return ERR_UNKNOWN_SIGNER;
	if (!has_one_statement(e->kind) &&
	    slice_compare(e->first.bytes, e->second.bytes) >= 0)
		return ERR_NONCANONICAL;
	if (e->links.len && e->kind != EVIDENCE_HEADERS && e->kind != EVIDENCE_TERM_HEADERS)
		return ERR_RANGE;
	switch (e->kind) {
	case EVIDENCE_HEADERS:
	case EVIDENCE_TERM_HEADERS:
		return check_headers(e, ctx);
	case EVIDENCE_VOTES:
		return check_votes(e, ctx);
	case EVIDENCE_TERM_STATEMENTS:
		return check_term_statements(e, ctx);
	case EVIDENCE_NEW_VIEWS:
		return check_new_views(e, ctx);
	case EVIDENCE_LOW_BASE:
		return check_low_base(e, ctx);
	case EVIDENCE_INVALID_BLOCK:
		return check_invalid_block(e, ctx, tx_invalid);
	case EVIDENCE_HIDDEN_VOTE:
		return check_hidden_vote(e, ctx);
	case EVIDENCE_INVALID_STATEMENT:
		return check_invalid_statement(e, ctx);
	}
	return ERR_RANGE;
}

/* ---- making ------------------------------------------------------------------------------ */

struct made { /* one statement being put together */
	enum statement_kind kind;
	size_t from, to; /* in the shared writer */
};

static struct statement lend(const struct writer *w, const struct made *m)
{
	struct slice all = writer_slice(w);
	return (struct statement){m->kind, slice_of(all.ptr + m->from, m->to - m->from)};
}

/* Orders the two; false if they are the same. */
static bool pair(struct evidence *out, enum evidence_kind kind, unsigned culprit,
		 const struct writer *w, const struct made *a, const struct made *b)
{
	struct statement x = lend(w, a), y = lend(w, b);
	int order = slice_compare(x.bytes, y.bytes);
	*out = (struct evidence){.kind = kind,
				 .culprit = (uint16_t)culprit,
				 .first = order < 0 ? x : y,
				 .second = order < 0 ? y : x};
	return order != 0;
}

#define MADE(name, w, statement, encode)                                                           \
	struct made name = {statement, (w)->len, 0};                                                \
	encode;                                                                                    \
	name.to = (w)->len

bool evidence_of_headers(struct evidence *out, struct writer *w, const struct signed_header *a,
			 const struct signed_header *b)
{
	if (a->h.leader != b->h.leader || a->h.term != b->h.term)
		return false;
	bool same_term = a->h.mode == b->h.mode && a->h.base_height == b->h.base_height &&
			 hash_equal(&a->h.base, &b->h.base) &&
			 hash_equal(&a->h.new_view, &b->h.new_view);
	if (same_term && a->h.height != b->h.height)
		return false;
	struct hash ha, hb;
	header_hash(&ha, &a->h);
	header_hash(&hb, &b->h);
	if (hash_equal(&ha, &hb))
		return false;
	MADE(x, w, STATEMENT_HEADER, signed_header_encode(w, a));
	MADE(y, w, STATEMENT_HEADER, signed_header_encode(w, b));
	return pair(out, same_term ? EVIDENCE_HEADERS : EVIDENCE_TERM_HEADERS, a->h.leader, w, &x,
		    &y);
}

bool evidence_of_votes(struct evidence *out, struct writer *w, const struct vote *a,
		       const struct vote *b)
{
	MADE(x, w, STATEMENT_VOTE, vote_encode(w, a));
	MADE(y, w, STATEMENT_VOTE, vote_encode(w, b));
	return a->signer == b->signer && a->ref.term == b->ref.term &&
	       a->ref.height == b->ref.height && !hash_equal(&a->ref.hash, &b->ref.hash) &&
	       (a->kind == VOTE_COMMIT) == (b->kind == VOTE_COMMIT) &&
	       pair(out, EVIDENCE_VOTES, a->signer, w, &x, &y);
}

bool evidence_of_term_votes(struct evidence *out, struct writer *w, const struct term_vote *a,
			    const struct term_vote *b)
{
	MADE(x, w, STATEMENT_TERM_VOTE, term_vote_encode(w, a));
	MADE(y, w, STATEMENT_TERM_VOTE, term_vote_encode(w, b));
	return a->signer == b->signer && a->term == b->term &&
	       !(a->leader == b->leader && block_ref_equal(&a->base, &b->base)) &&
	       pair(out, EVIDENCE_TERM_STATEMENTS, a->signer, w, &x, &y);
}

static void claim_encode(struct writer *w, const struct view_change *v)
{
	struct view_claim c;
	view_change_claim(&c, v);
	view_claim_encode(w, &c);
}

bool evidence_of_view_changes(struct evidence *out, struct writer *w, const struct view_change *a,
			      const struct view_change *b)
{
	struct view_claim ca, cb;
	view_change_claim(&ca, a);
	view_change_claim(&cb, b);
	bool same = ca.reason == cb.reason && ca.last_mode_change == cb.last_mode_change &&
		    hash_equal(&ca.digest, &cb.digest);
	if (a->signer != b->signer || a->term != b->term || same)
		return false;
	MADE(x, w, STATEMENT_VIEW_CLAIM, claim_encode(w, a));
	MADE(y, w, STATEMENT_VIEW_CLAIM, claim_encode(w, b));
	return pair(out, EVIDENCE_TERM_STATEMENTS, a->signer, w, &x, &y);
}

bool evidence_of_both(struct evidence *out, struct writer *w, const struct term_vote *a,
		      const struct view_change *b)
{
	if (a->signer != b->signer || a->term != b->term)
		return false;
	MADE(x, w, STATEMENT_TERM_VOTE, term_vote_encode(w, a));
	MADE(y, w, STATEMENT_VIEW_CLAIM, claim_encode(w, b));
	return pair(out, EVIDENCE_TERM_STATEMENTS, a->signer, w, &x, &y);
}

static void new_view_claim_of(struct writer *w, const struct new_view *nv)
{
	struct new_view_claim c;
	new_view_claim(&c, nv);
	new_view_claim_encode(w, &c);
}

bool evidence_of_new_views(struct evidence *out, struct writer *w, const struct new_view *a,
			   const struct new_view *b)
{
	struct new_view_claim ca, cb;
	new_view_claim(&ca, a);
	new_view_claim(&cb, b);
	if (a->signer != b->signer || a->term != b->term || hash_equal(&ca.digest, &cb.digest))
		return false;
	MADE(x, w, STATEMENT_NEW_VIEW, new_view_claim_of(w, a));
	MADE(y, w, STATEMENT_NEW_VIEW, new_view_claim_of(w, b));
	return pair(out, EVIDENCE_NEW_VIEWS, a->signer, w, &x, &y);
}

bool evidence_of_low_base(struct evidence *out, struct writer *w, const struct term_vote *t,
			  const struct vote *v)
{
	if (t->signer != v->signer || !is_prepare(v->kind) || v->ref.term >= t->term ||
	    t->base.term >= v->ref.term)
		return false;
	MADE(x, w, STATEMENT_TERM_VOTE, term_vote_encode(w, t));
	MADE(y, w, STATEMENT_VOTE, vote_encode(w, v));
	return pair(out, EVIDENCE_LOW_BASE, t->signer, w, &x, &y);
}

bool evidence_of_hidden_vote(struct evidence *out, struct writer *w, const struct view_change *vc,
			     const struct vote *v)
{
	MADE(x, w, STATEMENT_VIEW_CHANGE, view_change_encode(w, vc));
	MADE(y, w, STATEMENT_VOTE, vote_encode(w, v));
	return vc->signer == v->signer && v->ref.term < vc->term &&
	       pair(out, EVIDENCE_HIDDEN_VOTE, vc->signer, w, &x, &y);
}

static bool single(struct evidence *out, enum evidence_kind kind, unsigned culprit,
		   const struct writer *w, const struct made *m)
{
	*out = (struct evidence){.kind = kind,
				 .culprit = (uint16_t)culprit,
				 .first = lend(w, m),
				 .second = {.kind = m->kind}};
	return m->to - m->from < EVIDENCE_SIZE_MAX / 2;
}

bool evidence_of_block(struct evidence *out, struct writer *w, const struct block *b)
{
	MADE(x, w, STATEMENT_BLOCK, block_encode(w, b));
	return single(out, EVIDENCE_INVALID_BLOCK, b->sh.h.leader, w, &x);
}

bool evidence_of_view_change(struct evidence *out, struct writer *w, const struct view_change *vc)
{
	MADE(x, w, STATEMENT_VIEW_CHANGE, view_change_encode(w, vc));
	return single(out, EVIDENCE_INVALID_STATEMENT, vc->signer, w, &x);
}
