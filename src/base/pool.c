#include "base/pool.h"

void pool_drain(struct pool *p)
{
	for (size_t c = 0; c < POOL_CLASSES; c++)
		for (void *piece = p->first[c], *next; piece; piece = next) {
			memcpy(&next, piece, sizeof(next));
			mem_free(piece);
		}
	*p = (struct pool){0};
}
