/* Free lists over mem_alloc(), by size: what its owner frees comes back, while it is still in
 * the caches, without a walk through the heap. At most FREELIST_KEPT pieces of a size are kept,
 * so that a list holds little more than its owner uses, whatever sizes come by. A zeroed struct
 * is an empty one. Not thread-safe: each owner has its own. With the address sanitizer each
 * piece is malloc()'s, so that it sees every one of them. */
#ifndef BASE_FREELIST_H
#define BASE_FREELIST_H

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

#define FREELIST_STEP	 16
#define FREELIST_CLASSES 65 /* pieces of up to 1,024 bytes; larger ones are not kept */
#define FREELIST_KEPT	 128

#if defined(__SANITIZE_ADDRESS__)
#define FREELIST_PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define FREELIST_PLAIN 1
#endif
#endif
#ifndef FREELIST_PLAIN
#define FREELIST_PLAIN 0
#endif

/* Lists are arrays: to follow pointers through free pieces would wait for each of them. */
struct freelist {
	void **free[FREELIST_CLASSES]; /* NULL: none was ever kept */
	uint16_t kept[FREELIST_CLASSES];
};
void freelist_keep(struct freelist *l, void *piece, size_t c); /* its slow path */

static inline size_t freelist_class(size_t size)
{
	return (size + FREELIST_STEP - 1) / FREELIST_STEP;
}

/* A piece of this size will be wanted soon. */
static inline void freelist_prefetch(const struct freelist *l, size_t size)
{
	size_t c = freelist_class(size);
	if (!FREELIST_PLAIN && c < FREELIST_CLASSES && l->kept[c] > 0)
		mem_prefetch(l->free[c][l->kept[c] - 1], size);
}

static inline void *freelist_alloc(struct freelist *l, size_t size)
{
	size_t c = freelist_class(size);
	if (FREELIST_PLAIN || c >= FREELIST_CLASSES)
		return mem_alloc(size);
	return l->kept[c] > 0 ? l->free[c][--l->kept[c]] : mem_alloc(c * FREELIST_STEP);
}

/* size is what it was allocated with. */
static inline void freelist_free(struct freelist *l, void *piece, size_t size)
{
	size_t c = freelist_class(size);
	if (FREELIST_PLAIN || c >= FREELIST_CLASSES || c == 0 || l->kept[c] == FREELIST_KEPT)
		mem_free(piece);
	else if (l->free[c])
		l->free[c][l->kept[c]++] = piece;
	else
		freelist_keep(l, piece, c);
}

/* Gives back what is kept. */
void freelist_drain(struct freelist *l);

#endif
