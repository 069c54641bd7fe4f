#include "tools/lab/ddmin.h"

#include <string.h>

#include "base/mem.h"

/* The i-th of n parts of count items. */
static void part(uint32_t count, uint32_t n, uint32_t i, uint32_t *from, uint32_t *to)
{
	*from = (uint32_t)((uint64_t)count * i / n);
	*to = (uint32_t)((uint64_t)count * (i + 1) / n);
}

static uint32_t keep(uint32_t *items, const uint32_t *other, uint32_t count)
{
	memcpy(items, other, count * sizeof *items);
	return count;
}

uint32_t ddmin(uint32_t *items, uint32_t count, ddmin_test fails, bool (*stop)(void *ctx),
	       void *ctx)
{
	uint32_t n = 2, from, to;
	uint32_t *some = mem_array(count ? count : 1, sizeof *some);
	while (count >= 2) {
		bool reduced = false;
		/* "reduce to subset"; for n = 2 the complements are the subsets */
		for (uint32_t i = 0; !reduced && i < n; i++) {
			part(count, n, i, &from, &to);
			if (stop && stop(ctx))
				goto out;
			memcpy(some, items + from, (to - from) * sizeof *some);
			if (!fails(ctx, some, to - from))
				continue;
			count = keep(items, some, to - from);
			n = 2;
			reduced = true;
		}
		/* "reduce to complement" */
		for (uint32_t i = 0; !reduced && n > 2 && i < n; i++) {
			part(count, n, i, &from, &to);
			if (stop && stop(ctx))
				goto out;
			memcpy(some, items, from * sizeof *some);
			memcpy(some + from, items + to, (count - to) * sizeof *some);
			if (!fails(ctx, some, count - (to - from)))
				continue;
			count = keep(items, some, count - (to - from));
			n = n - 1 > 2 ? n - 1 : 2;
			reduced = true;
		}
		if (reduced)
			continue;
		if (n >= count)
			break; /* "increase granularity", as far as it goes */
		n = 2 * n < count ? 2 * n : count;
	}
out:
	mem_free(some);
	return count;
}
