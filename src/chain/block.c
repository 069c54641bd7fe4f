#include "chain/block.h"

#if defined(__has_include) && !defined(__SANITIZE_THREAD__)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h> /* glibc 2.32 */
#define HAVE_SINGLE_THREADED
#endif
#endif

#include "chain/private.h"
#include "chain/system.h"

/* Least bytes of one transaction in a body: result and length. */
#define BODY_TX_MIN 5

const char *mode_name(enum mode mode)
{
	switch (mode) {
	case MODE_FAST:
		return "fast";
	case MODE_PBFT:
		return "pbft";
	}
	return "unknown";
}

const char *tx_result_name(enum tx_result r)
{
	switch (r) {
	case TX_OK:
		return "ok";
	case TX_FAILED_CAS:
		return "failed_cas";
	case TX_FAILED_FUNDS:
		return "failed_funds";
	case TX_FAILED_OVERFLOW:
		return "failed_overflow";
	case TX_FAILED_NOT_FOUND:
		return "failed_not_found";
	}
	return "unknown";
}

bool tx_result_known(uint8_t r)
{
	return r <= TX_FAILED_NOT_FOUND;
}

/* ---- positions --------------------------------------------------------------------------- */

int position_compare(const struct block_ref *a, const struct block_ref *b)
{
	if (a->term != b->term)
		return a->term < b->term ? -1 : 1;
	if (a->height != b->height)
		return a->height < b->height ? -1 : 1;
	return 0;
}

bool block_ref_equal(const struct block_ref *a, const struct block_ref *b)
{
	return a->term == b->term && a->height == b->height && hash_equal(&a->hash, &b->hash);
}

/* The hottest encodings take their room at once: `put` writes and returns what is behind. */
static uint8_t *put_u16(uint8_t *p, uint16_t v)
{
	v = htobe16(v);
	return (uint8_t *)memcpy(p, &v, sizeof(v)) + sizeof(v);
}

static uint8_t *put_u32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	return (uint8_t *)memcpy(p, &v, sizeof(v)) + sizeof(v);
}

static uint8_t *put_u64(uint8_t *p, uint64_t v)
{
	store_be64(p, v);
	return p + sizeof(v);
}

static uint8_t *put_hash(uint8_t *p, const struct hash *h)
{
	return (uint8_t *)memcpy(p, h->b, HASH_SIZE) + HASH_SIZE;
}

void block_ref_encode(struct writer *w, const struct block_ref *r)
{
	uint8_t *p = writer_extend(w, BLOCK_REF_SIZE);
	if (p)
		put_hash(put_u64(put_u64(p, r->term), r->height), &r->hash);
}

void block_ref_decode(struct reader *r, struct block_ref *out)
{
	out->term = reader_u64(r);
	out->height = reader_u64(r);
	reader_hash(r, &out->hash);
}

unsigned primary_of(uint64_t term, unsigned n)
{
	invariant(n >= 1);
	return (unsigned)(term % n);
}

/* ---- headers ----------------------------------------------------------------------------- */

void header_encode(struct writer *w, const struct header *h)
{
	uint8_t *begin = writer_extend(w, HEADER_SIZE), *p = begin;
	if (!p)
		return;
	p = put_u16(p, HEADER_VERSION);
	p = put_hash(p, &h->chain);
	p = put_u64(p, h->term);
	*p++ = (uint8_t)h->mode;
	p = put_u64(p, h->height);
	p = put_hash(p, &h->prev);
	p = put_u64(p, h->base_height);
	p = put_hash(p, &h->base);
	p = put_hash(p, &h->tx_root);
	p = put_hash(p, &h->state_root);
	p = put_u64(p, h->time_ms);
	p = put_u16(p, h->leader);
	p = put_hash(p, &h->valset);
	p = put_hash(p, &h->new_view);
	p = put_u32(p, h->tx_count);
	p = put_u32(p, h->body_size);
	invariant(p == begin + HEADER_SIZE);
}

void header_decode(struct reader *r, struct header *out)
{
	uint16_t version = reader_u16(r);
	if (version != HEADER_VERSION)
		reader_fail(r, ERR_VERSION);
	reader_hash(r, &out->chain);
	out->term = reader_u64(r);
	uint8_t mode = reader_u8(r);
	if (mode != MODE_FAST && mode != MODE_PBFT)
		reader_fail(r, ERR_RANGE);
	out->mode = mode == MODE_PBFT ? MODE_PBFT : MODE_FAST;
	out->height = reader_u64(r);
	reader_hash(r, &out->prev);
	out->base_height = reader_u64(r);
	reader_hash(r, &out->base);
	reader_hash(r, &out->tx_root);
	reader_hash(r, &out->state_root);
	out->time_ms = reader_u64(r);
	out->leader = reader_signer(r);
	reader_hash(r, &out->valset);
	reader_hash(r, &out->new_view);
	out->tx_count = reader_u32(r);
	out->body_size = reader_u32(r);
}

static struct slice header_bytes(uint8_t buf[HEADER_SIZE], const struct header *h)
{
	struct writer w = writer_fixed(buf, HEADER_SIZE);
	header_encode(&w, h);
	invariant(!w.err && w.len == HEADER_SIZE);
	return writer_slice(&w);
}

void header_hash(struct hash *out, const struct header *h)
{
	uint8_t buf[HEADER_SIZE];
	hash_tagged(out, HASH_HEADER, header_bytes(buf, h));
}

void signed_header_encode(struct writer *w, const struct signed_header *sh)
{
	header_encode(w, &sh->h);
	writer_signature(w, &sh->sig);
}

bool header_has_state(const struct header *h)
{
	return !hash_is_zero(&h->state_root);
}

void signed_header_decode(struct reader *r, struct signed_header *out)
{
	header_decode(r, &out->h);
	reader_signature(r, &out->sig);
}

void signed_header_sign(struct signed_header *sh, const struct chain_ctx *ctx,
			const struct keypair *key)
{
	uint8_t buf[HEADER_SIZE];
	sig_make(ctx->scheme, &sh->sig, key, SIG_TAG_HEADER, &ctx->domain,
		 header_bytes(buf, &sh->h));
}

int signed_header_check_sig(const struct signed_header *sh, const struct chain_ctx *ctx)
{
	uint8_t buf[HEADER_SIZE];
	ctx = chain_ctx_of_term(ctx, sh->h.term);
	return chain_check_sig(ctx, sh->h.leader, SIG_TAG_HEADER, header_bytes(buf, &sh->h),
			       &sh->sig);
}

int header_check_form(const struct header *h, const struct chain_ctx *ctx)
{
	if (!hash_equal(&h->chain, &ctx->id))
		return ERR_WRONG_CHAIN;
	ctx = chain_ctx_at(ctx, h->term, h->height);
	if (!ctx)
		return ERR_BAD_LINK;
	if (h->leader >= ctx->vals.n)
		return ERR_UNKNOWN_SIGNER;
	if (!hash_equal(&h->valset, &ctx->vals.hash))
		return ERR_BAD_HASH;
	/* What the epoch begins with, genesis or another's end, is known by its hash. */
	if (h->term <= ctx->start_term || h->height <= ctx->start_height ||
	    h->base_height >= h->height || h->base_height < ctx->start_height)
		return ERR_RANGE;
	switch (h->mode) {
	case MODE_FAST:
		return hash_is_zero(&h->new_view) ? ERR_NONE : ERR_RANGE;
	case MODE_PBFT:
		/* Three validators or fewer tolerate no Byzantine one: no pbft mode. */
		if (ctx->quorum.f == 0 || hash_is_zero(&h->new_view))
			return ERR_RANGE;
		return h->leader == primary_of(h->term, ctx->vals.n) ? ERR_NONE
								     : ERR_UNKNOWN_SIGNER;
	}
	return ERR_RANGE;
}

int signed_header_check(const struct signed_header *sh, const struct chain_ctx *ctx)
{
	int err = header_check_form(&sh->h, ctx);
	return err ? err : signed_header_check_sig(sh, ctx);
}

int block_check_link(const struct header *child, const struct header *parent,
		     const struct hash *parent_hash)
{
	if (child->height == 0 || child->height - 1 != parent->height ||
	    !hash_equal(&child->prev, parent_hash) || child->term == 0 ||
	    child->term < parent->term || child->time_ms < parent->time_ms)
		return ERR_BAD_LINK;
	if (child->term > parent->term)
		return hash_equal(&child->base, parent_hash) &&
				       child->base_height == parent->height
			       ? ERR_NONE
			       : ERR_BAD_LINK;
	return child->mode == parent->mode && child->leader == parent->leader &&
			       child->base_height == parent->base_height &&
			       hash_equal(&child->base, &parent->base) &&
			       hash_equal(&child->new_view, &parent->new_view)
		       ? ERR_NONE
		       : ERR_BAD_LINK;
}

/* ---- bodies ------------------------------------------------------------------------------ */

void body_begin(struct writer *w)
{
	writer_u32(w, 0);
}

void body_add(struct writer *w, enum tx_result result, struct slice tx)
{
	writer_u8(w, (uint8_t)result);
	writer_var(w, tx);
}

/* The writer holds the body and nothing before it. */
void body_end(struct writer *w, uint32_t count)
{
	writer_patch_u32(w, 0, count);
}

void body_leaf(struct hash *out, enum tx_result result, struct slice tx)
{
	uint8_t r = (uint8_t)result;
	hash_tagged2(out, HASH_MERKLE_LEAF, slice_of(&r, 1), tx);
}

struct slice block_tx_bytes(const struct block *b, uint32_t index)
{
	invariant(index < b->tx_count);
	return slice_of(b->body + b->tx[index].offset, b->tx[index].size);
}

void block_leaves(struct hash *out, const struct block *b)
{
	for (uint32_t i = 0; i < b->tx_count; i++)
		body_leaf(&out[i], b->tx[i].result, block_tx_bytes(b, i));
}

/* One pass over the body: places, ids and leaves of all transactions. */
static int read_body(struct block *b, struct hash *leaves)
{
	struct reader r;
	reader_init(&r, slice_of(b->body, b->body_size));
	reader_u32(&r);
	for (uint32_t i = 0; i < b->tx_count; i++) {
		uint8_t result = reader_u8(&r);
		struct slice tx = reader_var(&r, SYSTEM_TX_SIZE_MAX);
		if (r.err)
			return r.err;
		if (tx.len > TX_SIZE_MAX && !system_tx_is(tx))
			return ERR_LIMIT;
		if (!tx_result_known(result))
			return ERR_RANGE;
		b->tx[i].result = (enum tx_result)result;
		b->tx[i].offset = (uint32_t)(tx.ptr - b->body);
		b->tx[i].size = (uint32_t)tx.len;
		tx_id(&b->tx[i].id, tx);
		body_leaf(&leaves[i], b->tx[i].result, tx);
	}
	return reader_finish(&r);
}

#define FEW_TXS 16 /* whose leaves need no memory of their own */

static int check_body(struct block *b)
{
	struct hash few[FEW_TXS], *leaves = few;
	if (b->tx_count > FEW_TXS)
		leaves = mem_alloc(b->tx_count * sizeof(*leaves));
	int err = read_body(b, leaves);
	if (!err) {
		struct hash root;
		merkle_root(&root, leaves, b->tx_count);
		if (!hash_equal(&root, &b->sh.h.tx_root))
			err = ERR_BAD_HASH;
	}
	if (leaves != few)
		mem_free(leaves);
	return err;
}

int block_new(struct block **out, const struct signed_header *sh, struct slice body)
{
	struct reader r;
	*out = NULL;
	if (body.len > BLOCK_BODY_MAX)
		return ERR_LIMIT;
	reader_init(&r, body);
	uint32_t count = reader_count(&r, BLOCK_TXS_MAX, BODY_TX_MIN);
	if (r.err)
		return r.err;
	if (sh->h.body_size != body.len || sh->h.tx_count != count)
		return ERR_RANGE;

	/* In one piece: the transactions' places behind the block, the body behind these. */
	size_t places = count * sizeof(struct block_tx);
	struct block *b = mem_alloc(sizeof(*b) + places + body.len);
	b->sh = *sh;
	b->refs = 1;
	b->tx_count = count;
	b->body = (uint8_t *)(b + 1) + places;
	b->body_size = body.len;
	b->tx = (struct block_tx *)(b + 1);
	memcpy(b->body, body.ptr, body.len);
	int err = check_body(b);
	if (err) {
		block_drop(b);
		return err;
	}
	header_hash(&b->hash, &sh->h);
	*out = b;
	return ERR_NONE;
}

/* A program without threads, as the simulator is, need not lock the bus for each block that it
 * passes on. */
static bool single_threaded(void)
{
#ifdef HAVE_SINGLE_THREADED
	return __libc_single_threaded;
#else
	return false;
#endif
}

struct block *block_hold(struct block *b)
{
	uint32_t before = single_threaded() ? b->refs++
					    : __atomic_fetch_add(&b->refs, 1, __ATOMIC_RELAXED);
	invariant(before > 0 && before < UINT32_MAX);
	return b;
}

void block_drop(struct block *b)
{
	if (!b)
		return;
	/* Release what this thread wrote, acquire what the others wrote, before freeing. */
	uint32_t before = single_threaded() ? b->refs--
					    : __atomic_fetch_sub(&b->refs, 1, __ATOMIC_ACQ_REL);
	invariant(before > 0);
	if (before > 1)
		return;
	mem_free(b);
}

struct block_ref block_ref_of(const struct block *b)
{
	return (struct block_ref){
		.term = b->sh.h.term, .height = b->sh.h.height, .hash = b->hash};
}

void block_encode(struct writer *w, const struct block *b)
{
	signed_header_encode(w, &b->sh);
	writer_var(w, slice_of(b->body, b->body_size));
}

int block_decode(struct reader *r, struct block **out)
{
	struct signed_header sh;
	*out = NULL;
	signed_header_decode(r, &sh);
	struct slice body = reader_var(r, BLOCK_BODY_MAX);
	if (r->err)
		return r->err;
	int err = block_new(out, &sh, body);
	if (err)
		reader_fail(r, err);
	return err;
}
