#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "node/finality.h"

/* All levels of the tree of RFC 6962, leaves first. Splitting at the largest power of two gives
 * the same tree as joining neighbours level by level and promoting the one left over. */
struct levels {
	unsigned count;
	size_t len[MERKLE_PATH_MAX + 1];
	struct hash *level[MERKLE_PATH_MAX + 1]; /* into nodes */
	struct hash *nodes;			 /* owned; NULL: not made yet */
};

struct finality {
	atomic_uint refs;
	uint32_t count;
	struct cert cert;
	pthread_mutex_t lock; /* of levels while they are made */
	struct levels *levels;
	struct signed_header *headers; /* owned; NULL: those of the blocks */
	struct block *blocks[];	       /* with headers only the first is held, all else NULL */
};

static struct finality *new_of(uint32_t count, const struct cert *cert)
{
	struct finality *f = mem_zalloc(sizeof *f + count * sizeof f->blocks[0]);
	atomic_init(&f->refs, 1);
	f->count = count;
	f->cert = *cert;
	f->levels = mem_array(count, sizeof *f->levels);
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

struct finality *finality_new(struct block *const *blocks, uint32_t count,
			      const struct cert *cert)
{
	invariant(count >= 1);
	invariant(hash_equal(&blocks[count - 1]->hash, &cert->ref.hash));
	struct finality *f = new_of(count, cert);
	for (uint32_t i = 0; i < count; i++)
		f->blocks[i] = block_hold(blocks[i]);
	return f;
}

struct finality *finality_of(struct block *b, const struct certified_header *ch)
{
	invariant(ch->count >= 1);
	struct finality *f = new_of(ch->count, &ch->cert);
	f->headers = mem_dup(ch->headers, ch->count * sizeof *ch->headers);
	f->blocks[0] = block_hold(b);
	return f;
}

static const struct signed_header *header_of(const struct finality *f, uint32_t block)
{
	return f->headers ? &f->headers[block] : &f->blocks[block]->sh;
}

struct finality *finality_hold(struct finality *f)
{
	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

void finality_drop(struct finality *f)
{
	if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < f->count; i++) {
		if (f->blocks[i])
			block_drop(f->blocks[i]);
		mem_free(f->levels[i].nodes);
	}
	pthread_mutex_destroy(&f->lock);
	mem_free(f->headers);
	mem_free(f->levels);
	mem_free(f);
}

const struct block *finality_block(const struct finality *f, uint32_t block)
{
	invariant(block < f->count && f->blocks[block]);
	return f->blocks[block];
}

const struct cert *finality_cert(const struct finality *f)
{
	return &f->cert;
}

static void levels_make(struct levels *l, const struct block *b)
{
	size_t total = 0, n = b->tx_count;
	for (size_t k = n; k > 1; k = (k + 1) / 2)
		total += k;
	l->nodes = mem_array(total + 1, sizeof *l->nodes);
	l->level[0] = l->nodes;
	l->len[0] = n;
	block_leaves(l->nodes, b);
	for (l->count = 1; n > 1; l->count++) {
		const struct hash *from = l->level[l->count - 1];
		struct hash *to = l->level[l->count - 1] + n;
		for (size_t i = 0; i + 1 < n; i += 2)
			hash_tagged2(&to[i / 2], HASH_MERKLE_NODE, hash_slice(&from[i]),
				     hash_slice(&from[i + 1]));
		if (n % 2)
			to[n / 2] = from[n - 1];
		n = (n + 1) / 2;
		l->level[l->count] = to;
		l->len[l->count] = n;
	}
}

static void levels_path(struct merkle_path *out, const struct levels *l, uint32_t index)
{
	*out = (struct merkle_path){.index = index, .count = l->len[0]};
	size_t at = index;
	for (unsigned k = 0; k + 1 < l->count; k++, at /= 2) {
		size_t sibling = at ^ 1;
		if (sibling < l->len[k])
			out->sibling[out->len++] = l->level[k][sibling];
	}
}

void finality_path(struct finality *f, uint32_t block, uint32_t index, struct merkle_path *out)
{
	invariant(index < finality_block(f, block)->tx_count);
	struct levels *l = &f->levels[block];
	pthread_mutex_lock(&f->lock);
	if (!l->nodes)
		levels_make(l, f->blocks[block]);
	pthread_mutex_unlock(&f->lock);
	levels_path(out, l, index);
}

void finality_encode_chain(const struct finality *f, uint32_t block, struct writer *w)
{
	invariant(block < f->count);
	writer_u32(w, f->count - block);
	for (uint32_t i = block; i < f->count; i++)
		signed_header_encode(w, header_of(f, i));
	cert_encode(w, &f->cert);
}

void finality_prove(struct finality *f, uint32_t block, uint32_t index,
		    struct proof_document *out)
{
	const struct block *b = finality_block(f, block);
	invariant(index < b->tx_count);
	proof_document_init(out);
	out->kind = PROOF_TX;
	out->ch.count = f->count - block;
	out->ch.headers = mem_array(out->ch.count, sizeof *out->ch.headers);
	for (uint32_t i = 0; i < out->ch.count; i++)
		out->ch.headers[i] = *header_of(f, block + i);
	out->ch.cert = f->cert;
	struct slice bytes = block_tx_bytes(b, index);
	out->tx = slice_of(mem_dup(bytes.ptr, bytes.len), bytes.len);
	out->result = b->tx[index].result;
	finality_path(f, block, index, &out->path);
}
