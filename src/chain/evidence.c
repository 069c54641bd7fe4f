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
	if (kind < STATEMENT_HEADER || kind > STATEMENT_BLOCK)
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
	if (kind < EVIDENCE_HEADERS || kind > EVIDENCE_HIDDEN_VOTE)
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

/* ---- kinds ------------------------------------------------------------------------------- */

static int check_headers(const struct evidence *e, const struct chain_ctx *ctx)
{
	struct signed_header a, b;
	int err = culprit_header(&e->first, e->culprit, ctx, &a);
	if (!err)
		err = culprit_header(&e->second, e->culprit, ctx, &b);
	if (err)
		return err;
	struct hash ha, hb;
	header_hash(&ha, &a.h);
	header_hash(&hb, &b.h);
	if (hash_equal(&ha, &hb) || a.h.term != b.h.term)
		return ERR_BAD_PROOF;
	if (e->kind == EVIDENCE_HEADERS)
		return a.h.height == b.h.height ? ERR_NONE : ERR_BAD_PROOF;
	bool same_term = a.h.mode == b.h.mode && a.h.base_height == b.h.base_height &&
			 hash_equal(&a.h.base, &b.h.base);
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

static int check_term_votes(const struct evidence *e, const struct chain_ctx *ctx)
{
	struct term_vote a, b;
	int err = culprit_term_vote(&e->first, e->culprit, ctx, &a);
	if (!err)
		err = culprit_term_vote(&e->second, e->culprit, ctx, &b);
	if (err)
		return err;
	bool same = a.leader == b.leader && block_ref_equal(&a.base, &b.base);
	return a.term == b.term && !same ? ERR_NONE : ERR_BAD_PROOF;
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

int evidence_check(const struct evidence *e, const struct chain_ctx *ctx,
		   evidence_tx_invalid tx_invalid)
{
	if (e->culprit >= ctx->vals.n)
		return ERR_UNKNOWN_SIGNER;
	if (e->kind != EVIDENCE_INVALID_BLOCK &&
	    slice_compare(e->first.bytes, e->second.bytes) >= 0)
		return ERR_NONCANONICAL;
	if (e->links.len)
		return ERR_UNSUPPORTED;
	switch (e->kind) {
	case EVIDENCE_HEADERS:
	case EVIDENCE_TERM_HEADERS:
		return check_headers(e, ctx);
	case EVIDENCE_VOTES:
		return check_votes(e, ctx);
	case EVIDENCE_TERM_STATEMENTS:
		return check_term_votes(e, ctx);
	case EVIDENCE_LOW_BASE:
		return check_low_base(e, ctx);
	case EVIDENCE_INVALID_BLOCK:
		return check_invalid_block(e, ctx, tx_invalid);
	case EVIDENCE_NEW_VIEWS:
	case EVIDENCE_HIDDEN_VOTE:
		return ERR_UNSUPPORTED; /* need pbft mode's view changes */
	}
	return ERR_RANGE;
}
