/* Evidence out of signed statements, in canonical order. */
#include "chain/private.h"
#include "chain/system.h"

struct made { /* one statement being put together */
	enum statement_kind kind;
	size_t from, to; /* in the shared writer */
};

static struct statement lend(const struct writer *w, const struct made *m)
{
	struct slice all = writer_slice(w);
	return (struct statement){m->kind, slice_of(all.ptr + m->from, m->to - m->from)};
}

static bool fits(const struct evidence *e)
{
	/* kind, culprit, two statements, links */
	size_t size = 1 + 2 + 2 * (1 + 4) + 4 + e->first.bytes.len + e->second.bytes.len +
		      e->links.len;
	return size <= EVIDENCE_SIZE_MAX;
}

/* Orders the two; false if they are the same, or too large. */
static bool pair(struct evidence *out, enum evidence_kind kind, unsigned culprit,
		 const struct writer *w, const struct made *a, const struct made *b)
{
	struct statement x = lend(w, a), y = lend(w, b);
	int order = slice_compare(x.bytes, y.bytes);
	*out = (struct evidence){.kind = kind,
				 .culprit = (uint16_t)culprit,
				 .first = order < 0 ? x : y,
				 .second = order < 0 ? y : x};
	return order != 0 && fits(out);
}

#define MADE(name, w, statement, encode)                                                       \
	struct made name = {statement, (w)->len, 0};                                           \
	encode;                                                                                \
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
	return pair(out, same_term ? EVIDENCE_HEADERS : EVIDENCE_TERM_HEADERS, a->h.leader, w,
		    &x, &y);
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

bool evidence_of_view_changes(struct evidence *out, struct writer *w,
			      const struct view_change *a, const struct view_change *b)
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
	if (t->signer != v->signer ||
	    !(v->kind == VOTE_PREPARE_FAST || v->kind == VOTE_PREPARE_PBFT) ||
	    v->ref.term >= t->term || t->base.term >= v->ref.term)
		return false;
	MADE(x, w, STATEMENT_TERM_VOTE, term_vote_encode(w, t));
	MADE(y, w, STATEMENT_VOTE, vote_encode(w, v));
	return pair(out, EVIDENCE_LOW_BASE, t->signer, w, &x, &y);
}

bool evidence_of_hidden_vote(struct evidence *out, struct writer *w,
			     const struct view_change *vc, const struct vote *v)
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
	return fits(out);
}

/* The first transaction that is enough by itself, with its path. */
static bool of_block_tx(struct evidence *out, struct writer *w, const struct block *b,
			const struct chain_ctx *ctx, evidence_tx_invalid tx_invalid)
{
	uint32_t at = 0;
	while (at < b->tx_count) {
		struct slice tx = block_tx_bytes(b, at);
		struct system_tx s;
		bool misfit = system_tx_is(tx) && system_tx_of_block(&s, b, at, ctx);
		if (misfit || (tx_invalid && tx_invalid(ctx, tx)))
			break;
		at++;
	}
	if (at == b->tx_count)
		return false;
	struct hash *leaves = mem_array(b->tx_count, sizeof *leaves);
	struct merkle_path path;
	block_leaves(leaves, b);
	merkle_prove(&path, leaves, b->tx_count, at);
	mem_free(leaves);
	struct made m = {STATEMENT_BLOCK_TX, w->len, 0};
	signed_header_encode(w, &b->sh);
	writer_u8(w, (uint8_t)b->tx[at].result);
	writer_var(w, block_tx_bytes(b, at));
	merkle_path_encode(w, &path);
	m.to = w->len;
	return single(out, EVIDENCE_INVALID_BLOCK, b->sh.h.leader, w, &m);
}

bool evidence_of_block(struct evidence *out, struct writer *w, const struct block *b,
		       const struct chain_ctx *ctx, evidence_tx_invalid tx_invalid)
{
	if (of_block_tx(out, w, b, ctx, tx_invalid))
		return true;
	if (b->body_size > EVIDENCE_SIZE_MAX)
		return false;
	MADE(x, w, STATEMENT_BLOCK, block_encode(w, b));
	return single(out, EVIDENCE_INVALID_BLOCK, b->sh.h.leader, w, &x);
}

static struct slice encode_links(struct writer *w, const struct header *links, uint32_t count,
				 size_t *from)
{
	*from = w->len;
	writer_u32(w, count);
	for (uint32_t i = 0; i < count; i++)
		header_encode(w, &links[i]);
	return slice_of(NULL, w->len - *from);
}

bool evidence_of_ancestor(struct evidence *out, struct writer *w,
			  const struct signed_header *high, const struct header *links,
			  uint32_t count, const struct signed_header *low)
{
	if (count == 0 || high->h.leader != low->h.leader)
		return false;
	MADE(x, w, STATEMENT_HEADER, signed_header_encode(w, high));
	MADE(y, w, STATEMENT_HEADER, signed_header_encode(w, low));
	size_t from;
	struct slice encoded = encode_links(w, links, count, &from);
	bool made = pair(out, EVIDENCE_HEADERS, high->h.leader, w, &x, &y);
	out->links = slice_of(writer_slice(w).ptr + from, encoded.len);
	return made && fits(out);
}

bool evidence_of_header(struct evidence *out, struct writer *w, const struct signed_header *sh,
			const struct header *links, uint32_t count)
{
	MADE(x, w, STATEMENT_HEADER, signed_header_encode(w, sh));
	size_t from = w->len;
	struct slice encoded = {0};
	if (count)
		encoded = encode_links(w, links, count, &from);
	bool made = single(out, EVIDENCE_INVALID_BLOCK, sh->h.leader, w, &x);
	if (count)
		out->links = slice_of(writer_slice(w).ptr + from, encoded.len);
	return made && fits(out);
}

bool evidence_of_view_change(struct evidence *out, struct writer *w,
			     const struct view_change *vc)
{
	MADE(x, w, STATEMENT_VIEW_CHANGE, view_change_encode(w, vc));
	return single(out, EVIDENCE_INVALID_STATEMENT, vc->signer, w, &x);
}

bool evidence_of_new_view(struct evidence *out, struct writer *w, const struct new_view *nv)
{
	MADE(x, w, STATEMENT_WHOLE_NEW_VIEW, new_view_encode(w, nv));
	return single(out, EVIDENCE_INVALID_STATEMENT, nv->signer, w, &x);
}
