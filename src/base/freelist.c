#include "base/freelist.h"

void freelist_keep(struct freelist *l, void *piece, size_t c)
{
	l->free[c] = mem_array(FREELIST_KEPT, sizeof(piece));
	l->free[c][l->kept[c]++] = piece;
}

void freelist_drain(struct freelist *l)
{
	for (size_t c = 0; c < FREELIST_CLASSES; c++) {
		while (l->kept[c] > 0)
			mem_free(l->free[c][--l->kept[c]]);
		mem_free(l->free[c]);
		l->free[c] = NULL;
	}
}
