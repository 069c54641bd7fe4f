/* The histogram against sorted values. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/random.h"
#include "suites.h"
#include "tools/cli/hdr.h"

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

START_TEST(quantiles)
{
	static const double qs[] = {0, 0.001, 0.5, 0.9, 0.99, 0.999, 1};
	struct hdr *h = mem_zalloc(sizeof *h);
	uint64_t value[5000], rows = 0, count;
	size_t n = _i == 0 ? 1 : 5000;
	struct random r;
	struct json *list;

	random_seed(&r, (uint64_t)_i);
	hdr_init(h);
	for (size_t i = 0; i < n; i++) {
		value[i] = random_u64(&r) >> (24 + random_below(&r, 40));
		hdr_add(h, value[i]);
	}
	qsort(value, n, sizeof value[0], compare);
	for (size_t k = 0; k < MEM_COUNT(qs); k++) {
		double exact = qs[k] * (double)n;
		size_t rank = (size_t)exact + ((double)(size_t)exact < exact);
		uint64_t want = value[rank > 0 ? rank - 1 : 0], got = hdr_quantile(h, qs[k]);
		ck_assert_uint_ge(got, want);
		ck_assert_uint_le(got - want, want / HDR_STEPS + 1);
	}
	ck_assert_uint_eq(h->min, value[0]);
	ck_assert_uint_eq(h->max, value[n - 1]);
	ck_assert_uint_eq(hdr_quantile(h, 1), value[n - 1]);
	list = hdr_rows(h);
	for (size_t i = 0; i < json_len(list); i++) {
		ck_assert_int_eq(json_read_u64(json_at(list, i), "count", &count), 0);
		rows += count;
	}
	ck_assert_uint_eq(rows, n); /* none is lost */
	json_free(list);
	mem_free(h);
}
END_TEST

START_TEST(ends)
{
	struct hdr *h = mem_zalloc(sizeof *h);

	hdr_init(h);
	ck_assert_uint_eq(hdr_quantile(h, 0.5), 0);
	hdr_add(h, 0);
	ck_assert_uint_eq(hdr_quantile(h, 1), 0);
	hdr_add(h, UINT64_MAX);
	ck_assert_uint_eq(h->max, HDR_MAX);
	ck_assert_uint_eq(hdr_quantile(h, 1), HDR_MAX);
	for (uint64_t v = 1; v < HDR_MAX; v *= 2) { /* each power of two and its neighbours */
		struct hdr *one = mem_zalloc(sizeof *one);
		hdr_init(one);
		hdr_add(one, v - 1);
		hdr_add(one, v);
		hdr_add(one, v + 1);
		ck_assert_uint_le(hdr_quantile(one, 0.3), v - 1 + v / HDR_STEPS + 1);
		ck_assert_uint_eq(hdr_quantile(one, 1), v + 1);
		mem_free(one);
	}
	mem_free(h);
}
END_TEST

Suite *hdr_suite(void)
{
	Suite *s = suite_create("hdr");
	TCase *t = tcase_create("histogram");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, quantiles, 0, 20);
	tcase_add_test(t, ends);
	suite_add_tcase(s, t);
	return s;
}
