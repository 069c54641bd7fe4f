#include "base/pool.h"
#include "base/random.h"
#include "suites.h"

START_TEST(same_piece_again)
{
	struct pool p = {0};
	void *a = pool_alloc(&p, 100), *b = pool_alloc(&p, 100);
	ck_assert_ptr_ne(a, b);
	pool_free(&p, a, 100);
	void *c = pool_alloc(&p, 97); /* of the same size in steps */
	if (!POOL_PLAIN)
		ck_assert_ptr_eq(c, a);
	pool_free(&p, b, 100);
	pool_free(&p, c, 97);
	pool_drain(&p);
}
END_TEST

/* Every byte of every piece is its owner's, whatever sizes come and go. */
START_TEST(pieces_do_not_overlap)
{
	struct piece {
		uint8_t *bytes;
		size_t size;
	} pieces[200] = {{0}};
	struct pool p = {0};
	struct random r;
	random_seed(&r, 5);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned i = (unsigned)random_below(&r, MEM_COUNT(pieces));
		struct piece *x = &pieces[i];
		for (size_t j = 0; x->bytes && j < x->size; j++)
			expect(x->bytes[j] == i);
		if (x->bytes)
			pool_free(&p, x->bytes, x->size);
		x->bytes = NULL;
		if (random_below(&r, 4) == 0)
			continue;
		x->size = (size_t)random_below(&r, 1100);
		x->bytes = pool_alloc(&p, x->size);
		memset(x->bytes, (int)i, x->size);
	}
	for (size_t i = 0; i < MEM_COUNT(pieces); i++)
		if (pieces[i].bytes)
			pool_free(&p, pieces[i].bytes, pieces[i].size);
	pool_drain(&p);
}
END_TEST

START_TEST(keeps_no_more_than_it_says)
{
	enum { MANY = 3 * POOL_KEPT };
	struct pool p = {0};
	void *pieces[MANY];
	for (size_t i = 0; i < MANY; i++)
		pieces[i] = pool_alloc(&p, 64);
	for (size_t i = 0; i < MANY; i++)
		pool_free(&p, pieces[i], 64);
	ck_assert_uint_eq(p.kept[pool_class(64)], POOL_PLAIN ? 0 : POOL_KEPT);
	size_t kept = 0;
	for (size_t c = 0; c < POOL_CLASSES; c++)
		kept += p.kept[c];
	ck_assert_uint_eq(kept, p.kept[pool_class(64)]);
	pool_drain(&p);
	ck_assert_uint_eq(p.kept[pool_class(64)], 0);
}
END_TEST

TCase *pool_case(void)
{
	TCase *t = tcase_create("pool");
	tcase_add_test(t, same_piece_again);
	tcase_add_test(t, pieces_do_not_overlap);
	tcase_add_test(t, keeps_no_more_than_it_says);
	return t;
}
