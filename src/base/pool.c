#include "base/pool.h"

void pool_keep(struct pool *p, void *piece, size_t c)
{
	p->free[c] = mem_array(POOL_KEPT, sizeof(piece));
	p->free[c][p->kept[c]++] = piece;
}

void pool_drain(struct pool *p)
{
	for (size_t c = 0; c < POOL_CLASSES; c++) {
		while (p->kept[c] > 0)
			mem_free(p->free[c][--p->kept[c]]);
		mem_free(p->free[c]);
		p->free[c] = NULL;
	}
}
