/* Free lists over mem_alloc(), by size: what its owner frees comes back, while it is still in
 * the caches, without a walk through the heap. At most POOL_KEPT pieces of a size are kept, so
 * that a pool holds little more than its owner uses, whatever sizes come by. A zeroed struct is
 * an empty pool. Not thread-safe: each owner has its own. With the address sanitizer each piece
 * is malloc()'s, so that it sees every one of them. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

#define POOL_STEP    16
#define POOL_CLASSES 65 /* pieces of up to 1,024 bytes; larger ones are not kept */
#define POOL_KEPT    128

#if defined(__SANITIZE_ADDRESS__)
#define POOL_PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define POOL_PLAIN 1
#endif
#endif
#ifndef POOL_PLAIN
#define POOL_PLAIN 0
#endif

/* Lists are arrays: to follow pointers through free pieces would wait for each of them. */
struct pool {
	void **free[POOL_CLASSES]; /* NULL: none was ever kept */
	uint16_t kept[POOL_CLASSES];
};
void pool_keep(struct pool *p, void *piece, size_t c); /* its slow path */

static inline size_t pool_class(size_t size)
{
	return (size + POOL_STEP - 1) / POOL_STEP;
}

/* A piece of this size will be wanted soon. */
static inline void pool_prefetch(const struct pool *p, size_t size)
{
	size_t c = pool_class(size);
	if (!POOL_PLAIN && c < POOL_CLASSES && p->kept[c] > 0)
		mem_prefetch(p->free[c][p->kept[c] - 1], size);
}

static inline void *pool_alloc(struct pool *p, size_t size)
{
	size_t c = pool_class(size);
	if (POOL_PLAIN || c >= POOL_CLASSES)
		return mem_alloc(size);
	return p->kept[c] > 0 ? p->free[c][--p->kept[c]] : mem_alloc(c * POOL_STEP);
}

/* size is what it was allocated with. */
static inline void pool_free(struct pool *p, void *piece, size_t size)
{
	size_t c = pool_class(size);
	if (POOL_PLAIN || c >= POOL_CLASSES || c == 0 || p->kept[c] == POOL_KEPT)
		mem_free(piece);
	else if (p->free[c])
		p->free[c][p->kept[c]++] = piece;
	else
		pool_keep(p, piece, c);
}

/* Gives back what is kept. */
void pool_drain(struct pool *p);

#endif
