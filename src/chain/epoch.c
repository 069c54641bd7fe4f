#include "chain/epoch.h"

#include "base/mutant.h"
#include "chain/private.h"

int epoch_next(struct chain_ctx *out, const struct chain_ctx *ctx,
	       const struct member_change *m, const struct block_ref *end)
{
	struct chain_ctx next = *ctx;
	struct pubkey keys[VALIDATORS_MAX];
	if (m->place >= ctx->vals.n)
		return ERR_RANGE;
	memcpy(keys, ctx->vals.key, ctx->vals.n * sizeof keys[0]);
	keys[m->place] = m->key;
	int err = valset_init(&next.vals, keys, ctx->vals.n);
	if (err)
		return err;
	next.epoch = ctx->epoch + 1;
	next.start_term = end->term;
	next.start_height = end->height;
	uint8_t buf[HASH_SIZE + 8 + HASH_SIZE];
	struct writer w = writer_fixed(buf, sizeof buf);
	writer_hash(&w, &ctx->id);
	writer_u64(&w, next.epoch);
	writer_hash(&w, &next.vals.hash);
	invariant(!w.err && w.len == sizeof buf);
	if (!MUTANT(MUTANT_ONE_DOMAIN))
		hash_tagged(&next.domain, HASH_EPOCH, writer_slice(&w));
	*out = next;
	return ERR_NONE;
}

bool epoch_end_of(const struct block *b, const struct chain_ctx *ctx, struct member_change *out)
{
	struct system_tx tx;
	if (b->tx_count != 1 || !system_tx_is(block_tx_bytes(b, 0)) ||
	    system_tx_of_block(&tx, b, 0, ctx) || tx.kind != SYSTEM_MEMBER)
		return false;
	*out = tx.member;
	return true;
}

bool epoch_is_filler(const struct header *h, const struct header *parent)
{
	return h->tx_count == 0 && h->term > parent->term && !header_has_state(h);
}

void handover_free(struct handover *h)
{
	block_drop(h->end);
	mem_free(h->fillers);
	*h = (struct handover){0};
}

void handover_encode(struct writer *w, const struct handover *h)
{
	size_t at = w->len;
	writer_u32(w, 0);
	block_encode(w, h->end);
	if (!w->err)
		writer_patch_u32(w, at, (uint32_t)(w->len - at - 4));
	writer_u32(w, h->filler_count);
	for (uint32_t i = 0; i < h->filler_count; i++)
		signed_header_encode(w, &h->fillers[i]);
	cert_encode(w, &h->cert);
}

int handover_decode(struct reader *r, struct handover *out)
{
	struct reader inner;
	*out = (struct handover){0};
	reader_init(&inner, reader_var(r, SIGNED_HEADER_SIZE + 4 + BLOCK_BODY_MAX));
	if (r->err)
		return r->err;
	int err = block_decode(&inner, &out->end);
	if (!err)
		err = reader_finish(&inner);
	if (err)
		reader_fail(r, err);
	uint32_t count = reader_count(r, HANDOVER_FILLERS_MAX, SIGNED_HEADER_SIZE);
	if (r->err)
		return r->err;
	out->fillers = count ? mem_array(count, sizeof *out->fillers) : NULL;
	for (uint32_t i = 0; i < count && !r->err; i++)
		signed_header_decode(r, &out->fillers[i]);
	out->filler_count = r->err ? 0 : count;
	cert_decode(r, &out->cert);
	return r->err;
}

/* Links and signatures of the fillers; *last: what the certificate must be for. */
static int check_fillers(const struct handover *h, const struct chain_ctx *ctx,
			 struct block_ref *last)
{
	const struct header *parent = &h->end->sh.h;
	*last = block_ref_of(h->end);
	for (uint32_t i = 0; i < h->filler_count; i++) {
		const struct signed_header *f = &h->fillers[i];
		int err = block_check_link(&f->h, parent, &last->hash);
		if (!err && !epoch_is_filler(&f->h, parent))
			err = ERR_BAD_LINK;
		if (!err)
			err = signed_header_check(f, ctx);
		if (err)
			return err;
		parent = &f->h;
		last->term = f->h.term;
		last->height = f->h.height;
		header_hash(&last->hash, &f->h);
	}
	return ERR_NONE;
}

int handover_check(const struct handover *h, const struct chain_ctx *ctx,
		   struct chain_ctx *next)
{
	struct member_change m;
	struct block_ref last, end = block_ref_of(h->end);
	if (!epoch_end_of(h->end, ctx, &m))
		return ERR_BAD_PROOF;
	int err = signed_header_check(&h->end->sh, ctx);
	if (!err)
		err = member_change_check(&m, ctx);
	if (!err)
		err = check_fillers(h, ctx, &last);
	if (err)
		return err;
	if (!cert_is_final(h->cert.kind))
		return ERR_NO_QUORUM;
	if (!block_ref_equal(&h->cert.ref, &last))
		return ERR_BAD_LINK;
	err = cert_check(&h->cert, ctx);
	return err ? err : epoch_next(next, ctx, &m, &end);
}
