/* Transferable proofs: canonical form, and what each kind must show.
 *
 * For every kind the question is not only whether a liar is caught, but whether an honest
 * replica can ever have signed the like: after a restart, after a QC moved its tip, with
 * messages that arrive late, under a primary with several NEW-VIEWs (docs/wire-format.md,
 * "Evidence"). */
#include "chain/evidence.h"

#include "chain/private.h"
#include "chain/system.h"

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
	if (kind < STATEMENT_HEADER || kind > STATEMENT_BLOCK_TX)
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
	size_t before = r->left;
	uint8_t kind = reader_u8(r);
	if (kind < EVIDENCE_HEADERS || kind > EVIDENCE_INVALID_STATEMENT)
		reader_fail(r, ERR_RANGE);
	out->kind = r->err ? EVIDENCE_HEADERS : kind;
	out->culprit = reader_signer(r);
	statement_decode(r, &out->first);
	statement_decode(r, &out->second);
	out->links = reader_var(r, EVIDENCE_SIZE_MAX);
	if (!r->err && before - r->left > EVIDENCE_SIZE_MAX)
		reader_fail(r, ERR_LIMIT);
	if (r->err)
		*out = (struct evidence){.kind = EVIDENCE_HEADERS,
					 .first.kind = STATEMENT_HEADER,
					 .second.kind = STATEMENT_HEADER};
}

void evidence_hash(struct hash *out, const struct evidence *e)
{
	struct writer w = {0};
	evidence_encode(&w, e);
	hash_tagged(out, HASH_EVIDENCE, writer_slice(&w));
	writer_free(&w);
}

/* A culprit is a number, and who has that number now did not sign what was signed before a
 * recovery. What his statement shows of others may be from then. */
static struct chain_ctx own_only(const struct chain_ctx *ctx)
{
	struct chain_ctx own = *ctx;
	own.before = NULL;
	return own;
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

/* ---- pairs ------------------------------------------------------------------------------- */

/* From `from` down along links, which are its ancestors by their hashes and of its term: who
 * signed it vouches for them. */
static int follow_links(struct header *from, struct slice links)
{
	struct reader r;
	reader_init(&r, links);
	uint32_t count = reader_count(&r, POSITION_HEADERS_MAX, HEADER_SIZE);
	if (!r.err && count == 0)
		return ERR_NONCANONICAL;
	for (uint32_t i = 0; i < count && !r.err; i++) {
		struct header next;
		struct hash hash;
		header_decode(&r, &next);
		header_hash(&hash, &next);
		if (!r.err &&
		    (!hash_equal(&hash, &from->prev) || next.height + 1 != from->height ||
		     next.term != from->term || next.leader != from->leader))
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
	if (hash_equal(&ha, &hb) || a.h.term != b.h.term || a.h.height != b.h.height)
		return ERR_BAD_PROOF;
	return ERR_NONE;
}

/* A leader has one term certificate a term, and so one mode, base and NEW-VIEW. */
static int check_term_headers(const struct evidence *e, const struct chain_ctx *ctx)
{
	struct signed_header a, b;
	int err = culprit_header(&e->first, e->culprit, ctx, &a);
	if (!err)
		err = culprit_header(&e->second, e->culprit, ctx, &b);
	if (err)
		return err;
	bool same = a.h.mode == b.h.mode && a.h.base_height == b.h.base_height &&
		    hash_equal(&a.h.base, &b.h.base) &&
		    hash_equal(&a.h.new_view, &b.h.new_view);
	return a.h.term == b.h.term && !same ? ERR_NONE : ERR_BAD_PROOF;
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

/* In a term a replica signs one term vote, or one VIEW-CHANGE, and resends it as it is. */
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
		err = culprit_term_vote(vote_first ? &e->second : &e->first, e->culprit, ctx,
					&t);
	if (err)
		return err;
	return is_prepare(v.kind) && v.ref.term < t.term && t.base.term < v.ref.term
		       ? ERR_NONE
		       : ERR_BAD_PROOF;
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
		if (p->headers[i].h.height != height || !hash_equal(&hash, &want) ||
		    height == 0)
			return ERR_BAD_LINK;
		want = p->headers[i].h.prev;
		height--;
		*on_chain |= height == ref->height && hash_equal(&want, &ref->hash);
	}
	return ERR_NONE;
}

static bool at_or_above(const struct cert *c, const struct block_ref *v)
{
	return c->ref.term == v->term && c->ref.height >= v->height;
}

/* Whoever adopted such a certificate may have left the chain that it voted for. Whether it
 * holds is not asked: a false one is an offence of its own. */
static bool certified_above(const struct view_change *vc, const struct block_ref *v)
{
	const struct position *p = &vc->position;
	return (p->has_qc && at_or_above(&p->qc, v)) ||
	       (p->has_checkpoint && at_or_above(&p->checkpoint, v)) ||
	       (vc->has_stable && at_or_above(&vc->stable, v));
}

static int hides(const struct view_change *vc, const struct vote *v, bool *hidden)
{
	const struct position *p = &vc->position;
	bool on_chain = false;
	*hidden = false;
	if (v->ref.term >= vc->term)
		return ERR_NONE;
	if (position_compare(&v->ref, &p->tip) > 0) {
		*hidden = true;
		return ERR_NONE;
	}
	if (v->ref.term != p->tip.term || certified_above(vc, &v->ref))
		return ERR_NONE;
	int err = shows(p, &v->ref, &on_chain);
	*hidden = !err && !on_chain;
	return err;
}

/* A VIEW-CHANGE for t that hides a vote V of its signer: V.term < t and (V above its tip; or V
 * of the tip's term, not on its chain, and no QC or checkpoint of that term at or above V
 * shown). */
static int check_hidden_vote(const struct evidence *e, const struct chain_ctx *ctx)
{
	bool vote_first = e->first.kind == STATEMENT_VOTE;
	struct vote v;
	struct view_change vc;
	bool hidden = false;
	int err = culprit_vote(vote_first ? &e->first : &e->second, e->culprit, ctx, &v);
	if (err)
		return err;
	if (!is_prepare(v.kind) && v.kind != VOTE_COMMIT)
		return ERR_BAD_PROOF;
	err = culprit_view_change(vote_first ? &e->second : &e->first, e->culprit, ctx, &vc);
	if (!err)
		err = hides(&vc, &v, &hidden);
	view_change_free(&vc);
	return err ? err : hidden ? ERR_NONE : ERR_BAD_PROOF;
}

/* ---- blocks ------------------------------------------------------------------------------ */

/* Can this transaction, with this result, be at this place of no block with this header? */
static bool tx_offends(const struct header *h, uint64_t index, uint8_t result, struct slice tx,
		       const struct chain_ctx *ctx, evidence_tx_invalid tx_invalid)
{
	struct system_tx s;
	if (!tx_result_known(result))
		return true;
	if (system_tx_is(tx) && (system_tx_decode(&s, tx, ctx) ||
				 !system_tx_fits(&s, h, index, (enum tx_result)result)))
		return true;
	if (!system_tx_is(tx) && tx.len > TX_SIZE_MAX)
		return true;
	return tx_invalid && tx_invalid(ctx, tx);
}

/* A header that nobody may sign: its form; or, with links, the last of them is an ancestor that
 * its child does not fit, while all above fit. */
static int check_invalid_header(const struct evidence *e, const struct chain_ctx *ctx)
{
	const struct chain_ctx own = own_only(ctx);
	struct signed_header sh;
	struct reader r;
	reader_init(&r, e->first.bytes);
	signed_header_decode(&r, &sh);
	int err = reader_finish(&r);
	if (err)
		return err;
	if (sh.h.leader != e->culprit)
		return ERR_UNKNOWN_SIGNER;
	err = signed_header_check_sig(&sh, &own);
	if (err)
		return err;
	if (!e->links.len)
		return header_check_form(&sh.h, ctx) ? ERR_NONE : ERR_BAD_PROOF;

	struct header child = sh.h;
	bool broken = false;
	reader_init(&r, e->links);
	uint32_t count = reader_count(&r, POSITION_HEADERS_MAX, HEADER_SIZE);
	for (uint32_t i = 0; i < count && !r.err; i++) {
		struct header parent;
		struct hash hash;
		header_decode(&r, &parent);
		header_hash(&hash, &parent);
		if (r.err || broken || !hash_equal(&hash, &child.prev))
			return r.err ? r.err : ERR_BAD_LINK;
		broken = block_check_link(&child, &parent, &hash) != ERR_NONE;
		child = parent;
	}
	err = reader_finish(&r);
	return err ? err : broken ? ERR_NONE : ERR_BAD_PROOF;
}

struct body_check {
	const struct chain_ctx *ctx;
	const struct header *h;
	evidence_tx_invalid tx_invalid;
	uint32_t systems;
	bool client_seen, invalid;
};

static void body_tx(struct body_check *c, uint32_t index, uint8_t result, struct slice tx)
{
	bool system = system_tx_is(tx);
	c->systems += system;
	c->invalid |= (system && c->client_seen) || c->systems > SYSTEM_TXS_MAX;
	c->client_seen |= !system;
	if (!c->invalid)
		c->invalid = tx_offends(c->h, index, result, tx, c->ctx, c->tx_invalid);
}

/* The body that the header commits to, by its root, and no other. */
static int check_body(struct body_check *c, struct slice body)
{
	struct reader r;
	struct hash root;
	reader_init(&r, body);
	uint32_t count = reader_count(&r, EVIDENCE_SIZE_MAX, 5);
	if (r.err)
		return r.err;
	struct hash *leaves = mem_array(count ? count : 1, sizeof *leaves);
	for (uint32_t i = 0; i < count && !r.err; i++) {
		uint8_t result = reader_u8(&r);
		struct slice tx = reader_var(&r, EVIDENCE_SIZE_MAX);
		if (r.err)
			break;
		body_leaf(&leaves[i], (enum tx_result)result, tx);
	}
	int err = reader_finish(&r);
	if (!err) {
		merkle_root(&root, leaves, count);
		err = hash_equal(&root, &c->h->tx_root) ? ERR_NONE : ERR_BAD_HASH;
	}
	mem_free(leaves);
	if (err)
		return err;
	c->invalid =
		c->h->tx_count != count || c->h->body_size != body.len || count > BLOCK_TXS_MAX;
	reader_init(&r, body);
	reader_u32(&r);
	for (uint32_t i = 0; i < count && !c->invalid; i++) {
		uint8_t result = reader_u8(&r);
		body_tx(c, i, result, reader_var(&r, EVIDENCE_SIZE_MAX));
	}
	return ERR_NONE;
}

/* All of a block, or one transaction of it with its Merkle path. */
static int check_invalid_body(const struct evidence *e, const struct chain_ctx *ctx,
			      evidence_tx_invalid tx_invalid)
{
	struct reader r;
	struct signed_header sh;
	struct slice body = {0}, tx = {0};
	struct merkle_path path = {0};
	uint8_t result = 0;
	reader_init(&r, e->first.bytes);
	signed_header_decode(&r, &sh);
	if (e->first.kind == STATEMENT_BLOCK) {
		body = reader_var(&r, EVIDENCE_SIZE_MAX);
	} else {
		result = reader_u8(&r);
		tx = reader_var(&r, EVIDENCE_SIZE_MAX);
		merkle_path_decode(&r, &path);
	}
	const struct chain_ctx own = own_only(ctx);
	int err = reader_finish(&r);
	if (!err)
		err = signed_header_check(&sh, &own);
	if (!err && sh.h.leader != e->culprit)
		err = ERR_UNKNOWN_SIGNER;
	if (err)
		return err;
	bool invalid;
	if (e->first.kind == STATEMENT_BLOCK) {
		struct body_check c = {.ctx = ctx, .h = &sh.h, .tx_invalid = tx_invalid};
		err = check_body(&c, body);
		invalid = c.invalid;
	} else {
		struct hash leaf;
		body_leaf(&leaf, (enum tx_result)result, tx);
		if (path.count != sh.h.tx_count)
			return ERR_BAD_PROOF; /* the place would be anywhere */
		err = merkle_verify(&path, &leaf, &sh.h.tx_root);
		invalid = !err && tx_offends(&sh.h, path.index, result, tx, ctx, tx_invalid);
	}
	return err ? err : invalid ? ERR_NONE : ERR_BAD_PROOF;
}

static int check_invalid_block(const struct evidence *e, const struct chain_ctx *ctx,
			       evidence_tx_invalid tx_invalid)
{
	if (e->first.kind == STATEMENT_HEADER)
		return check_invalid_header(e, ctx);
	if (e->links.len ||
	    (e->first.kind != STATEMENT_BLOCK && e->first.kind != STATEMENT_BLOCK_TX))
		return ERR_RANGE;
	return check_invalid_body(e, ctx, tx_invalid);
}

/* ---- statements with false contents ------------------------------------------------------ */

/* Does it carry a certificate or header that is false by its bytes alone? What needs more than
 * the bytes (a NEW-VIEW not held, another replica's chain) is no offence. */
static bool shows_false(const struct view_change *v, const struct chain_ctx *ctx)
{
	const struct position *p = &v->position;
	if (v->has_stable && (v->stable.kind != CERT_CHECKPOINT || cert_check(&v->stable, ctx)))
		return true;
	if (p->has_checkpoint &&
	    (p->checkpoint.kind != CERT_CHECKPOINT || cert_check(&p->checkpoint, ctx)))
		return true;
	if ((p->has_qc && cert_check(&p->qc, ctx)) ||
	    (p->tc.mode == MODE_FAST && fast_cert_check(&p->tc, ctx)))
		return true;
	for (uint32_t i = 0; i < p->header_count; i++)
		if (signed_header_check(&p->headers[i], ctx))
			return true;
	return false;
}

/* A whole NEW-VIEW, read as it stands: also what new_view_decode() refuses. */
static int check_false_new_view(const struct evidence *e, const struct chain_ctx *ctx)
{
	struct slice all = e->first.bytes;
	if (all.len < 8 + 2 + 2 + SIGNATURE_SIZE)
		return ERR_TRUNCATED;
	struct slice body = slice_of(all.ptr, all.len - SIGNATURE_SIZE);
	struct new_view_claim claim;
	struct reader r;
	reader_init(&r, slice_of(body.ptr + body.len - 2, 2 + SIGNATURE_SIZE));
	claim.signer = reader_signer(&r);
	reader_signature(&r, &claim.sig);
	if (r.err || claim.signer != e->culprit)
		return ERR_UNKNOWN_SIGNER;
	hash_tagged(&claim.digest, HASH_VIEW_CHANGE, body);
	reader_init(&r, body);
	claim.term = reader_u64(&r);
	const struct chain_ctx own = own_only(ctx);
	int err = new_view_claim_check(&claim, &own);
	if (err)
		return err;

	uint16_t count = reader_u16(&r);
	bool invalid = claim.signer != primary_of(claim.term, ctx->vals.n) ||
		       count != ctx->quorum.qv || ctx->quorum.f == 0;
	int last = -1;
	for (unsigned i = 0; i < count && !r.err; i++) {
		struct view_change v;
		view_change_decode(&r, &v);
		if (!r.err && !invalid)
			invalid = v.term != claim.term || v.signer <= last ||
				  view_change_check_sig(&v, ctx) || shows_false(&v, ctx);
		last = v.signer;
		view_change_free(&v);
	}
	reader_u16(&r);
	err = reader_finish(&r);
	return err ? err : invalid ? ERR_NONE : ERR_BAD_PROOF;
}

static int check_invalid_statement(const struct evidence *e, const struct chain_ctx *ctx)
{
	struct view_change vc;
	if (e->first.kind == STATEMENT_WHOLE_NEW_VIEW)
		return check_false_new_view(e, ctx);
	const struct chain_ctx own = own_only(ctx);
	int err = culprit_view_change(&e->first, e->culprit, &own, &vc);
	if (!err)
		err = shows_false(&vc, ctx) ? ERR_NONE : ERR_BAD_PROOF;
	view_change_free(&vc);
	return err;
}

/* ---- all kinds --------------------------------------------------------------------------- */

/* One offence, shown by the same statements, has one encoding. */
static int check_canonical(const struct evidence *e)
{
	bool linked = e->kind == EVIDENCE_HEADERS || e->kind == EVIDENCE_INVALID_BLOCK;
	if (e->links.len && !linked)
		return ERR_NONCANONICAL;
	if (e->kind == EVIDENCE_INVALID_BLOCK || e->kind == EVIDENCE_INVALID_STATEMENT)
		return e->second.bytes.len == 0 && e->second.kind == e->first.kind
			       ? ERR_NONE
			       : ERR_NONCANONICAL;
	return slice_compare(e->first.bytes, e->second.bytes) < 0 ? ERR_NONE : ERR_NONCANONICAL;
}

int evidence_check(const struct evidence *e, const struct chain_ctx *ctx,
		   evidence_tx_invalid tx_invalid)
{
	if (e->culprit >= ctx->vals.n)
		return ERR_UNKNOWN_SIGNER;
	int err = check_canonical(e);
	if (err)
		return err;
	const struct chain_ctx own = own_only(ctx);
	switch (e->kind) {
	case EVIDENCE_HEADERS:
		return check_headers(e, &own);
	case EVIDENCE_TERM_HEADERS:
		return check_term_headers(e, &own);
	case EVIDENCE_VOTES:
		return check_votes(e, &own);
	case EVIDENCE_TERM_STATEMENTS:
		return check_term_statements(e, &own);
	case EVIDENCE_NEW_VIEWS:
		return check_new_views(e, &own);
	case EVIDENCE_LOW_BASE:
		return check_low_base(e, &own);
	case EVIDENCE_INVALID_BLOCK:
		return check_invalid_block(e, ctx, tx_invalid);
	case EVIDENCE_HIDDEN_VOTE:
		return check_hidden_vote(e, &own);
	case EVIDENCE_INVALID_STATEMENT:
		return check_invalid_statement(e, ctx);
	}
	return ERR_RANGE;
}

int evidence_check_any(const struct evidence *e, const struct chain_ctx *ctx,
		       evidence_tx_invalid tx_invalid)
{
	int err = evidence_check(e, ctx, tx_invalid);
	for (ctx = ctx->before; ctx && err; ctx = ctx->before)
		if (evidence_check(e, ctx, tx_invalid) == ERR_NONE)
			err = ERR_NONE;
	return err;
}
