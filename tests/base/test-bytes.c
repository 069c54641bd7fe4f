#include <signal.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/random.h"
#include "suites.h"

START_TEST(slices_compare_lexicographically)
{
	ck_assert(slice_equal(slice_of(NULL, 0), slice_str("")));
	ck_assert(slice_equal(slice_str("ab"), slice_str("ab")));
	ck_assert(!slice_equal(slice_str("ab"), slice_str("aB")));
	ck_assert(!slice_equal(slice_str("ab"), slice_str("abc")));
	ck_assert_int_eq(slice_compare(slice_str("ab"), slice_str("ab")), 0);
	ck_assert_int_lt(slice_compare(slice_str("ab"), slice_str("abc")), 0);
	ck_assert_int_gt(slice_compare(slice_str("b"), slice_str("abc")), 0);
	ck_assert_int_lt(slice_compare(slice_of(NULL, 0), slice_str("a")), 0);
	ck_assert_int_eq(slice_compare(slice_of(NULL, 0), slice_of(NULL, 0)), 0);
	ck_assert_int_lt(slice_compare(slice_str("a"), slice_str("\xff")), 0); /* unsigned */
}
END_TEST

START_TEST(writer_is_big_endian)
{
	static const uint8_t want[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09,
				       0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0,	 0,    0,
				       2,    'x',  'y',	 0,    0,    0,	   0,	 'z'};
	struct writer w = {0};
	writer_u8(&w, 0x01);
	writer_u16(&w, 0x0203);
	writer_u32(&w, 0x04050607);
	writer_u64(&w, 0x08090a0b0c0d0e0f);
	writer_var(&w, slice_str("xy"));
	writer_var(&w, slice_of(NULL, 0));
	writer_raw(&w, "z", 1);
	writer_raw(&w, NULL, 0);
	ck_assert_int_eq(w.err, ERR_NONE);
	ck_assert_uint_eq(w.len, sizeof(want));
	ck_assert_mem_eq(w.buf, want, sizeof(want));
	writer_free(&w);
	ck_assert_ptr_null(w.buf);
}
END_TEST

START_TEST(writer_skip_and_patch)
{
	struct writer w;
	writer_init(&w, 0);
	writer_u8(&w, 9);
	size_t at = writer_skip(&w, 4);
	ck_assert_uint_eq(at, 1);
	ck_assert_mem_eq(w.buf, "\x09\0\0\0\0", 5);
	writer_raw(&w, "abc", 3);
	writer_patch_u32(&w, at, 0xa1b2c3d4);
	ck_assert_mem_eq(w.buf,
			 "\x09\xa1\xb2\xc3\xd4"
			 "abc",
			 8);
	writer_free(&w);
}
END_TEST

START_TEST(writer_patch_outside_is_a_bug)
{
	struct writer w = {0};
	writer_u32(&w, 0);
	writer_patch_u32(&w, 1, 0);
}
END_TEST

START_TEST(writer_limit_sticks)
{
	struct writer w;
	size_t len;
	writer_init(&w, 5);
	writer_u32(&w, 1);
	writer_u8(&w, 2); /* exactly the limit */
	ck_assert_int_eq(w.err, ERR_NONE);
	writer_u8(&w, 3);
	ck_assert_int_eq(w.err, ERR_LIMIT);
	ck_assert_uint_eq(w.len, 5);
	writer_raw(&w, NULL, 0);
	writer_skip(&w, 0);
	writer_patch_u32(&w, 4000, 1); /* after an error offsets mean nothing */
	ck_assert_uint_eq(w.len, 5);

	writer_reset(&w);
	ck_assert_int_eq(w.err, ERR_NONE);
	writer_skip(&w, 6);
	ck_assert_int_eq(w.err, ERR_LIMIT);
	writer_u8(&w, 1); /* would fit, but the encoding has a hole already */
	ck_assert_uint_eq(w.len, 0);
	ck_assert_ptr_null(writer_take(&w, &len));
	ck_assert_uint_eq(len, 0);
	ck_assert_int_eq(w.err, ERR_LIMIT);

	writer_reset(&w);
	writer_raw(&w, "x", SIZE_MAX); /* no overflow of the sum */
	ck_assert_int_eq(w.err, ERR_LIMIT);
	writer_free(&w);
	writer_init(&w, 0);
	writer_u8(&w, 1);
	writer_raw(&w, "x", SIZE_MAX);
	ck_assert_int_eq(w.err, ERR_LIMIT);
	writer_reset(&w);
	writer_var(&w, slice_of("x", (size_t)UINT32_MAX + 1));
	ck_assert_int_eq(w.err, ERR_LIMIT);
	writer_free(&w);
}
END_TEST

START_TEST(writer_take_hands_over)
{
	struct writer w;
	size_t len;
	writer_init(&w, 100);
	writer_raw(&w, "abc", 3);
	uint8_t *buf = writer_take(&w, &len);
	ck_assert_uint_eq(len, 3);
	ck_assert_mem_eq(buf, "abc", 3);
	ck_assert_ptr_null(w.buf);
	writer_raw(&w, "de", 2);
	ck_assert_uint_eq(writer_slice(&w).len, 2);
	ck_assert_mem_eq(buf, "abc", 3);
	mem_free(buf);
	writer_free(&w);
}
END_TEST

START_TEST(reader_inverts_writer)
{
	struct random rng;
	random_seed(&rng, 1);
	for (int round = 0; round < 2000; round++) {
		struct writer w = {0};
		uint8_t blob[64];
		uint64_t v = random_u64(&rng);
		size_t blob_len = random_below(&rng, sizeof(blob) + 1);
		for (size_t i = 0; i < blob_len; i++)
			blob[i] = (uint8_t)random_u64(&rng);
		writer_u8(&w, (uint8_t)v);
		writer_u16(&w, (uint16_t)v);
		writer_u32(&w, (uint32_t)v);
		writer_u64(&w, v);
		writer_var(&w, slice_of(blob, blob_len));
		writer_u8(&w, v & 1);
		writer_raw(&w, blob, blob_len);

		/* whole, then each truncation */
		for (size_t cut = 0; cut <= w.len; cut++) {
			struct reader r;
			uint8_t copy[64];
			reader_init(&r, slice_of(w.buf, w.len - cut));
			uint8_t a = reader_u8(&r);
			uint16_t b = reader_u16(&r);
			uint32_t c = reader_u32(&r);
			uint64_t d = reader_u64(&r);
			struct slice s = reader_var(&r, sizeof(blob));
			bool e = reader_bool(&r);
			reader_raw(&r, copy, blob_len);
			if (cut) {
				expect(reader_finish(&r) == ERR_TRUNCATED);
				continue;
			}
			expect(reader_finish(&r) == ERR_NONE);
			expect(a == (uint8_t)v && b == (uint16_t)v && c == (uint32_t)v);
			expect(d == v && e == (v & 1));
			expect(slice_equal(s, slice_of(blob, blob_len)));
			expect(blob_len == 0 || memcmp(copy, blob, blob_len) == 0);
			if (round % 100)
				break;
		}
		writer_free(&w);
	}
}
END_TEST

START_TEST(reader_errors_stick_and_read_as_zero)
{
	static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t raw[3] = {9, 9, 9};
	struct reader r;
	reader_init(&r, slice_of(bytes, 3));
	ck_assert_uint_eq(reader_u32(&r), 0);
	ck_assert_int_eq(r.err, ERR_TRUNCATED);
	ck_assert_uint_eq(reader_u8(&r), 0); /* one byte is there, but the error is sticky */
	ck_assert_uint_eq(reader_u16(&r), 0);
	ck_assert_uint_eq(reader_u64(&r), 0);
	ck_assert(!reader_bool(&r));
	ck_assert_uint_eq(reader_count(&r, 10, 1), 0);
	ck_assert_uint_eq(reader_take(&r, 1).len, 0);
	ck_assert_ptr_null(reader_take(&r, 0).ptr);
	ck_assert_uint_eq(reader_var(&r, 10).len, 0);
	reader_raw(&r, raw, sizeof(raw));
	ck_assert_mem_eq(raw, "\0\0\0", 3);
	reader_fail(&r, ERR_RANGE);
	ck_assert_int_eq(reader_finish(&r), ERR_TRUNCATED); /* the first one counts */

	reader_init(&r, slice_of(bytes, sizeof(bytes)));
	ck_assert_uint_eq(reader_u64(&r), 0x0102030405060708);
	ck_assert_int_eq(reader_finish(&r), ERR_NONE);
	reader_init(&r, slice_of(bytes, 2));
	reader_u8(&r);
	ck_assert_int_eq(reader_finish(&r), ERR_TRAILING);
	reader_init(&r, slice_of(bytes, 1));
	reader_fail(&r, ERR_RANGE);
	ck_assert_int_eq(reader_finish(&r), ERR_RANGE);
	reader_init(&r, slice_of(NULL, 0));
	ck_assert_uint_eq(reader_take(&r, 0).len, 0);
	reader_raw(&r, NULL, 0);
	ck_assert_int_eq(reader_finish(&r), ERR_NONE);
}
END_TEST

START_TEST(reader_bool_is_canonical)
{
	for (int v = 0; v < 256; v++) {
		uint8_t byte = (uint8_t)v;
		struct reader r;
		reader_init(&r, slice_of(&byte, 1));
		ck_assert_int_eq(reader_bool(&r), v == 1);
		ck_assert_int_eq(reader_finish(&r), v > 1 ? ERR_NONCANONICAL : ERR_NONE);
	}
}
END_TEST

static int var_of(uint32_t len, size_t follow, size_t max)
{
	struct writer w = {0};
	struct reader r;
	writer_u32(&w, len);
	writer_skip(&w, follow);
	reader_init(&r, writer_slice(&w));
	reader_var(&r, max);
	int err = reader_finish(&r);
	writer_free(&w);
	return err;
}

static int count_of(uint32_t count, size_t follow, uint32_t max, size_t item_min)
{
	struct writer w = {0};
	struct reader r;
	writer_u32(&w, count);
	writer_skip(&w, follow);
	reader_init(&r, writer_slice(&w));
	uint32_t got = reader_count(&r, max, item_min);
	ck_assert_uint_eq(got, r.err ? 0 : count);
	int err = r.err;
	writer_free(&w);
	return err;
}

START_TEST(reader_bounds_lengths_and_counts)
{
	ck_assert_int_eq(var_of(4, 4, 4), ERR_NONE);
	ck_assert_int_eq(var_of(0, 0, 0), ERR_NONE);
	ck_assert_int_eq(var_of(5, 5, 4), ERR_LIMIT);
	ck_assert_int_eq(var_of(5, 4, 5), ERR_TRUNCATED);
	ck_assert_int_eq(var_of(4, 5, 5), ERR_TRAILING);
	ck_assert_int_eq(var_of(UINT32_MAX, 4, SIZE_MAX), ERR_TRUNCATED);
	ck_assert_int_eq(var_of(UINT32_MAX, 4, 100), ERR_LIMIT);

	ck_assert_int_eq(count_of(3, 30, 3, 10), ERR_NONE);
	ck_assert_int_eq(count_of(0, 0, 0, 10), ERR_NONE);
	ck_assert_int_eq(count_of(3, 29, 3, 10), ERR_TRUNCATED);
	ck_assert_int_eq(count_of(4, 40, 3, 10), ERR_LIMIT);
	ck_assert_int_eq(count_of(UINT32_MAX, 1000, UINT32_MAX, 1), ERR_TRUNCATED);
	ck_assert_int_eq(count_of(UINT32_MAX, 1000, UINT32_MAX, SIZE_MAX), ERR_TRUNCATED);
}
END_TEST

START_TEST(hex_both_ways)
{
	static const uint8_t bytes[] = {0x00, 0x9a, 0xff};
	char text[2 * sizeof(bytes) + 1];
	uint8_t back[3];
	hex_encode(text, bytes, sizeof(bytes));
	ck_assert_str_eq(text, "009aff");
	ck_assert_int_eq(hex_decode(back, 3, text), ERR_NONE);
	ck_assert_mem_eq(back, bytes, 3);
	ck_assert_int_eq(hex_decode(back, 3, "009AfF"), ERR_NONE);
	ck_assert_mem_eq(back, bytes, 3);
	hex_encode(text, NULL, 0);
	ck_assert_str_eq(text, "");
	ck_assert_int_eq(hex_decode(NULL, 0, ""), ERR_NONE);
	static const char *const bad[] = {"",
					  "009af",
					  "009aff0",
					  "009aff00",
					  "0x9aff",
					  "00 9aff",
					  "009afg",
					  "009af\n",
					  "-09aff",
					  "009a/f",
					  "009a:f",
					  "009a@f",
					  "009a`f",
					  "\xff\x39"
					  "9aff"};
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		ck_assert_msg(hex_decode(back, 3, bad[i]) == ERR_SYNTAX, "%s", bad[i]);
	ck_assert_mem_eq(back, bytes, 3); /* untouched */
}
END_TEST

START_TEST(be64_both_ways)
{
	uint8_t p[8];
	store_be64(p, 0x0102030405060708);
	ck_assert_mem_eq(p, "\1\2\3\4\5\6\7\10", 8);
	ck_assert_uint_eq(load_be64(p), 0x0102030405060708);
}
END_TEST

TCase *bytes_case(void)
{
	TCase *tc = tcase_create("bytes");
	tcase_add_test(tc, slices_compare_lexicographically);
	tcase_add_test(tc, writer_is_big_endian);
	tcase_add_test(tc, writer_skip_and_patch);
	tcase_add_test_raise_signal(tc, writer_patch_outside_is_a_bug, SIGABRT);
	tcase_add_test(tc, writer_limit_sticks);
	tcase_add_test(tc, writer_take_hands_over);
	tcase_add_test(tc, reader_inverts_writer);
	tcase_add_test(tc, reader_errors_stick_and_read_as_zero);
	tcase_add_test(tc, reader_bool_is_canonical);
	tcase_add_test(tc, reader_bounds_lengths_and_counts);
	tcase_add_test(tc, hex_both_ways);
	tcase_add_test(tc, be64_both_ways);
	return tc;
}
