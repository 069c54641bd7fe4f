#include "base/freelist.h"
#include "base/random.h"
#include "suites.h"

START_TEST(same_piece_again)
{
	struct freelist l = {0};
	void *a = freelist_alloc(&l, 100), *b = freelist_alloc(&l, 100);
	ck_assert_ptr_ne(a, b);
	freelist_free(&l, a, 100);
	void *c = freelist_alloc(&l, 97); /* of the same size in steps */
	if (!FREELIST_PLAIN)
		ck_assert_ptr_eq(c, a);
	freelist_free(&l, b, 100);
	freelist_free(&l, c, 97);
	freelist_drain(&l);
}
END_TEST

/* Every byte of every piece is its owner's, whatever sizes come and go. */
START_TEST(pieces_do_not_overlap)
{
	struct piece {
		uint8_t *bytes;
		size_t size;
	} pieces[200] = {{0}};
	struct freelist l = {0};
	struct random r;
	random_seed(&r, 5);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned i = (unsigned)random_below(&r, MEM_COUNT(pieces));
		struct piece *x = &pieces[i];
		for (size_t j = 0; x->bytes && j < x->size; j++)
			expect(x->bytes[j] == i);
		if (x->bytes)
			freelist_free(&l, x->bytes, x->size);
		x->bytes = NULL;
		if (random_below(&r, 4) == 0)
			continue;
		x->size = (size_t)random_below(&r, 1100);
		x->bytes = freelist_alloc(&l, x->size);
		memset(x->bytes, (int)i, x->size);
	}
	for (size_t i = 0; i < MEM_COUNT(pieces); i++)
		if (pieces[i].bytes)
			freelist_free(&l, pieces[i].bytes, pieces[i].size);
	freelist_drain(&l);
}
END_TEST

START_TEST(keeps_no_more_than_it_says)
{
	enum { MANY = 3 * FREELIST_KEPT };
	struct freelist l = {0};
	void *pieces[MANY];
	for (size_t i = 0; i < MANY; i++)
		pieces[i] = freelist_alloc(&l, 64);
	for (size_t i = 0; i < MANY; i++)
		freelist_free(&l, pieces[i], 64);
	ck_assert_uint_eq(l.kept[freelist_class(64)], FREELIST_PLAIN ? 0 : FREELIST_KEPT);
	size_t kept = 0;
	for (size_t c = 0; c < FREELIST_CLASSES; c++)
		kept += l.kept[c];
	ck_assert_uint_eq(kept, l.kept[freelist_class(64)]);
	freelist_drain(&l);
	ck_assert_uint_eq(l.kept[freelist_class(64)], 0);
}
END_TEST

TCase *freelist_case(void)
{
	TCase *t = tcase_create("freelist");
	tcase_add_test(t, same_piece_again);
	tcase_add_test(t, pieces_do_not_overlap);
	tcase_add_test(t, keeps_no_more_than_it_says);
	return t;
}
