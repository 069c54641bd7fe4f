#include <limits.h>
#include <string.h>

#include "base/edit_distance.h"
#include "base/mem.h"
#include "base/random.h"
#include "suites.h"

START_TEST(distances)
{
	ck_assert_uint_eq(edit_distance("", ""), 0);
	ck_assert_uint_eq(edit_distance("status", "status"), 0);
	ck_assert_uint_eq(edit_distance("statsu", "status"), 2);
	ck_assert_uint_eq(edit_distance("", "put"), 3);
	ck_assert_uint_eq(edit_distance("put", ""), 3);
	ck_assert_uint_eq(edit_distance("kitten", "sitting"), 3);
	ck_assert_uint_eq(edit_distance("sunday", "saturday"), 3);
}
END_TEST

START_TEST(long_words_are_far)
{
	char text[4 * EDIT_WORD_MAX], known[EDIT_WORD_MAX + 2];
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = 0;
	memset(known, 'x', sizeof known);
	known[EDIT_WORD_MAX] = 0;
	ck_assert_uint_eq(edit_distance(text, known), sizeof text - 1 - EDIT_WORD_MAX);
	known[EDIT_WORD_MAX] = 'x';
	known[EDIT_WORD_MAX + 1] = 0;
	ck_assert_uint_eq(edit_distance(known, known), UINT_MAX);
	ck_assert_ptr_null(nearest_word(known, (const char *[]){known}, 1, UINT_MAX));
}
END_TEST

/* So many edits are at most so far, and both ways are equally long. */
START_TEST(edits_at_random)
{
	struct random r;
	random_seed(&r, 7);
	for (unsigned round = 0; round < 2000; round++) {
		char a[24] = {0}, b[24] = {0};
		size_t len = 1 + random_below(&r, 10);
		for (size_t i = 0; i < len; i++)
			a[i] = b[i] = (char)('a' + random_below(&r, 3));
		unsigned edits = (unsigned)random_below(&r, 5);
		for (unsigned e = 0; e < edits; e++) {
			size_t at = random_below(&r, len + 1);
			if (at < len && random_chance(&r, 1, 2)) {
				memmove(b + at, b + at + 1, len - at);
				len--;
			} else {
				memmove(b + at + 1, b + at, len - at + 1);
				b[at] = 'b';
				len++;
			}
		}
		expect(edit_distance(a, b) <= edits);
		expect(edit_distance(a, b) == edit_distance(b, a));
		expect((edit_distance(a, b) == 0) == (strcmp(a, b) == 0));
	}
}
END_TEST

START_TEST(the_nearest)
{
	const char *const words[] = {"get", "put", "status", "stats"};
	ck_assert_str_eq(nearest_word("statsu", words, MEM_COUNT(words), 3), "stats");
	ck_assert_str_eq(nearest_word("pet", words, MEM_COUNT(words), 2), "get"); /* first */
	ck_assert_ptr_null(nearest_word("pet", words, MEM_COUNT(words), 1));
	ck_assert_str_eq(nearest_word("put", words, MEM_COUNT(words), 1), "put");
	ck_assert_ptr_null(nearest_word("put", words, MEM_COUNT(words), 0));
	ck_assert_ptr_null(nearest_word("put", words, 0, 3));
}
END_TEST

TCase *edit_distance_case(void)
{
	TCase *t = tcase_create("edit_distance");
	tcase_add_test(t, distances);
	tcase_add_test(t, long_words_are_far);
	tcase_add_test(t, edits_at_random);
	tcase_add_test(t, the_nearest);
	return t;
}
