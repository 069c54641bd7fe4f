#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/random.h"
#include "suites.h"

static struct json *parse(const char *text)
{
	struct json *v;
	struct errmsg m = {""};
	int err = json_parse(&v, slice_str(text), &m);
	ck_assert_msg(err == ERR_NONE, "%s: %s", text, m.text);
	ck_assert_ptr_nonnull(v);
	return v;
}

static int parse_bytes(const char *text, size_t len)
{
	struct json *v;
	int err = json_parse(&v, slice_of(text, len), NULL);
	expect(err ? v == NULL : v != NULL);
	json_free(v);
	return err;
}

static int parse_error(const char *text)
{
	return parse_bytes(text, strlen(text));
}

START_TEST(dump_keeps_order_and_digits)
{
	struct json *v = json_object(), *list = json_array();
	json_set(v, "z", json_int(INT64_MIN));
	json_set(v, "a", json_u64(INT64_MAX));
	json_set(v, "m", json_u64_string(UINT64_MAX));
	json_append(list, json_bool(true));
	json_append(list, json_bool(false));
	json_append(list, json_null());
	json_append(list, json_real(0.1));
	json_append(list, json_hex("\xab\x01", 2));
	json_append(list, json_hex(NULL, 0));
	json_set(v, "list", list);
	json_set(v, "empty", json_object());
	char *compact = json_dump(v, false), *pretty = json_dump(v, true);
	ck_assert_str_eq(
		compact,
		"{\"z\":-9223372036854775808,\"a\":9223372036854775807,"
		"\"m\":\"18446744073709551615\",\"list\":[true,false,null,0.1,\"ab01\","
		"\"\"],\"empty\":{}}");
	ck_assert_ptr_nonnull(strstr(pretty, "{\n  \"z\": -9223372036854775808,\n  \"a\""));
	ck_assert_ptr_nonnull(strstr(pretty, "\"list\": [\n    true,\n    false"));
	mem_free(compact);
	mem_free(pretty);
	json_free(v);
	json_free(NULL);
}
END_TEST

START_TEST(setting_a_key_again_replaces)
{
	struct json *v = json_object();
	json_set(v, "k", json_int(1));
	json_set(v, "k", json_int(2));
	char *text = json_dump(v, false);
	ck_assert_str_eq(text, "{\"k\":2}");
	mem_free(text);
	json_free(v);
}
END_TEST

START_TEST(reads_are_typed)
{
	struct json *v = parse("{\"s\":\"text\",\"n\":7,\"d\":\"8\",\"neg\":-1,\"r\":1.5,"
			       "\"b\":true,\"f\":false,\"x\":null,\"h\":\"AbcD\",\"o\":{},"
			       "\"l\":[1,2]}");
	const char *s = NULL;
	uint64_t n = 99;
	double r = 0;
	bool b = false;
	uint8_t h[2];
	ck_assert_int_eq(json_read_string(v, "s", &s), ERR_NONE);
	ck_assert_str_eq(s, "text");
	ck_assert_int_eq(json_read_string(v, "n", &s), ERR_SYNTAX);
	ck_assert_int_eq(json_read_string(v, "none", &s), ERR_NOT_FOUND);
	ck_assert_int_eq(json_read_u64(v, "n", &n), ERR_NONE);
	ck_assert_uint_eq(n, 7);
	ck_assert_int_eq(json_read_u64(v, "d", &n), ERR_NONE);
	ck_assert_uint_eq(n, 8);
	static const char *const no_numbers[] = {"s", "neg", "r", "b", "x", "o", "l", "h"};
	for (size_t i = 0; i < MEM_COUNT(no_numbers); i++)
		ck_assert_int_eq(json_read_u64(v, no_numbers[i], &n), ERR_SYNTAX);
	ck_assert_int_eq(json_read_u64(v, "none", &n), ERR_NOT_FOUND);
	ck_assert_uint_eq(n, 8); /* untouched by failures */
	ck_assert_int_eq(json_read_bool(v, "b", &b), ERR_NONE);
	ck_assert(b);
	ck_assert_int_eq(json_read_bool(v, "f", &b), ERR_NONE);
	ck_assert(!b);
	ck_assert_int_eq(json_read_bool(v, "n", &b), ERR_SYNTAX);
	ck_assert_int_eq(json_read_bool(v, "none", &b), ERR_NOT_FOUND);
	ck_assert_int_eq(json_read_hex(v, "h", h, 2), ERR_NONE);
	ck_assert_mem_eq(h, "\xab\xcd", 2);
	ck_assert_int_eq(json_read_hex(v, "h", h, 1), ERR_SYNTAX);
	ck_assert_int_eq(json_read_hex(v, "n", h, 1), ERR_SYNTAX);
	ck_assert_int_eq(json_read_hex(v, "none", h, 1), ERR_NOT_FOUND);
	ck_assert_int_eq(json_as_real(json_get(v, "r"), &r), ERR_NONE);
	ck_assert(r == 1.5);
	ck_assert_int_eq(json_as_real(json_get(v, "neg"), &r), ERR_NONE);
	ck_assert(r == -1);
	ck_assert_int_eq(json_as_real(json_get(v, "d"), &r), ERR_NONE);
	ck_assert(r == 8);
	ck_assert_int_eq(json_as_real(json_get(v, "s"), &r), ERR_SYNTAX);
	ck_assert_int_eq(json_as_real(json_get(v, "b"), &r), ERR_SYNTAX);
	ck_assert_int_eq(json_as_real(NULL, &r), ERR_NOT_FOUND);
	ck_assert_int_eq(json_as_string(NULL, &s), ERR_NOT_FOUND);
	ck_assert_int_eq(json_as_bool(NULL, &b), ERR_NOT_FOUND);
	ck_assert_int_eq(json_as_u64(NULL, &n), ERR_NOT_FOUND);
	ck_assert_int_eq(json_as_hex(NULL, h, 2), ERR_NOT_FOUND);
	/* of something that is no object */
	ck_assert_int_eq(json_read_u64(NULL, "n", &n), ERR_NOT_FOUND);
	ck_assert_int_eq(json_read_u64(json_get(v, "l"), "n", &n), ERR_NOT_FOUND);
	json_free(v);
}
END_TEST

START_TEST(walks_containers)
{
	struct json *v = parse("{\"one\":1,\"two\":[4,5],\"three\":null}");
	ck_assert_uint_eq(json_len(v), 3);
	ck_assert_str_eq(json_key_at(v, 0), "one");
	ck_assert_str_eq(json_key_at(v, 1), "two");
	ck_assert_str_eq(json_key_at(v, 2), "three");
	ck_assert_ptr_null(json_key_at(v, 3));
	const char *key = json_key_next(v, NULL);
	for (size_t i = 0; i < 3; i++, key = json_key_next(v, key))
		ck_assert_str_eq(key, json_key_at(v, i));
	ck_assert_ptr_null(key);

	struct json *list = json_get(v, "two");
	uint64_t n;
	ck_assert(json_is_array(list) && !json_is_object(list) && !json_is_null(list));
	ck_assert(json_is_object(v) && !json_is_array(v) && !json_is_string(v));
	ck_assert(json_is_null(json_get(v, "three")) && !json_is_null(NULL));
	ck_assert_uint_eq(json_len(list), 2);
	ck_assert_int_eq(json_as_u64(json_at(list, 1), &n), ERR_NONE);
	ck_assert_uint_eq(n, 5);
	ck_assert_ptr_null(json_at(list, 2));
	ck_assert_ptr_null(json_at(v, 0));
	ck_assert_ptr_null(json_at(NULL, 0));
	ck_assert_ptr_null(json_get(list, "one"));
	ck_assert_ptr_null(json_get(NULL, "one"));
	ck_assert_ptr_null(json_key_at(list, 0));
	ck_assert_ptr_null(json_key_next(list, NULL));
	ck_assert_uint_eq(json_len(json_get(v, "one")), 0);
	ck_assert_uint_eq(json_len(NULL), 0);
	json_free(v);
}
END_TEST

START_TEST(integers_are_exact)
{
	uint64_t n;
	struct json *v = parse("[9223372036854775807,\"18446744073709551615\","
			       "\"18446744073709551616\",\"99999999999999999999\",\"\",\"-1\","
			       "\"+1\",\"01\",\" 1\",\"1 \",\"0x1\",\"1e3\",\"0\",0,"
			       "\"18446744073709551609\"]");
	expect(json_as_u64(json_at(v, 0), &n) == ERR_NONE);
	expect(n == INT64_MAX);
	expect(json_as_u64(json_at(v, 1), &n) == ERR_NONE);
	expect(n == UINT64_MAX);
	for (size_t i = 2; i < 12; i++)
		expect(json_as_u64(json_at(v, i), &n) == ERR_SYNTAX);
	expect(json_as_u64(json_at(v, 12), &n) == ERR_NONE);
	expect(n == 0);
	expect(json_as_u64(json_at(v, 13), &n) == ERR_NONE);
	expect(json_as_u64(json_at(v, 14), &n) == ERR_NONE);
	expect(n == UINT64_MAX - 6);
	json_free(v);
	expect(parse_error("[9223372036854775808]") == ERR_SYNTAX); /* not rounded */
	expect(parse_error("[18446744073709551616]") == ERR_SYNTAX);

	struct random r;
	random_seed(&r, 3);
	for (int i = 0; i < 1000; i++) {
		uint64_t want = random_u64(&r) >> random_below(&r, 64), number = want >> 1;
		struct json *o = json_object();
		json_set(o, "s", json_u64_string(want));
		json_set(o, "n", json_u64(number));
		char *text = json_dump(o, i & 1);
		struct json *back = parse(text);
		expect(json_read_u64(back, "s", &n) == ERR_NONE);
		expect(n == want);
		expect(json_read_u64(back, "n", &n) == ERR_NONE);
		expect(n == number);
		json_free(o);
		json_free(back);
		mem_free(text);
	}
}
END_TEST

START_TEST(parse_is_strict)
{
	static const char *const good[] = {
		"{}",
		"[]",
		" [ 1 , 2 ]\n",
		"true",
		"\"x\"",
		"12",
		"null",
		"[-0,1E2,-1.5e-3]",
		"\"\\u00e9\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
		"\"\xc3\xa9\""};
	static const char *const bad[] = {"",
					  " ",
					  "{",
					  "}",
					  "[1,]",
					  "{\"a\":1,}",
					  "[1 2]",
					  "{a:1}",
					  "{'a':1}",
					  "{\"a\":1,\"a\":2}",
					  "{\"o\":{\"a\":1,\"b\":2,\"a\":1}}",
					  "[1]x",
					  "[1][2]",
					  "{}{}",
					  "[01]",
					  "[+1]",
					  "[.5]",
					  "[1.]",
					  "[1e]",
					  "[0x10]",
					  "[NaN]",
					  "[Infinity]",
					  "[1e400]",
					  "nul",
					  "True",
					  "\"\n\"",
					  "\"\t\"",
					  "\"\\x\"",
					  "\"\\u12\"",
					  "\"\\ud83d\"",
					  "\"\\ude00\"",
					  "\"\\u0000\"",
					  "{\"\\u0000\":1}",
					  "{\"a\\u0000b\":1}",
					  "\"\xff\"",
					  "\"\xc0\xaf\"",
					  "\"\xed\xa0\x80\"",
					  "\"\xf4\x90\x80\x80\"",
					  "\"\xc3\"",
					  "\"abc",
					  "// c\n{}",
					  "/* c */{}",
					  "\xef\xbb\xbf{}",
					  "{\"a\"}",
					  "{\"a\":}",
					  "{1:2}",
					  "[,]"};
	for (size_t i = 0; i < MEM_COUNT(good); i++)
		json_free(parse(good[i]));
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		ck_assert_msg(parse_error(bad[i]) == ERR_SYNTAX, "accepted: %s", bad[i]);
}
END_TEST

START_TEST(zero_bytes_are_refused_everywhere)
{
	static const char text[] = "{\"key\": [\"va\\nlue\", 12], \"b\": true} ";
	for (size_t i = 0; i <= sizeof(text) - 1; i++) {
		char copy[sizeof(text) + 1];
		memcpy(copy, text, i);
		copy[i] = '\0';
		memcpy(copy + i + 1, text + i, sizeof(text) - 1 - i);
		ck_assert_int_eq(parse_bytes(copy, sizeof(text)), ERR_SYNTAX);
		if (i < sizeof(text) - 2) /* a truncation; the last space may go */
			ck_assert_int_eq(parse_bytes(text, i), ERR_SYNTAX);
	}
	ck_assert_int_eq(parse_bytes(NULL, 0), ERR_SYNTAX);
}
END_TEST

static int nested(size_t depth, char open, char shut, const char *inside)
{
	struct writer w = {0};
	for (size_t i = 0; i < depth; i++) {
		writer_u8(&w, (uint8_t)open);
		if (open == '{')
			writer_raw(&w, "\"]}\\\"\":", 7); /* brackets in strings do not count */
	}
	writer_raw(&w, inside, strlen(inside));
	for (size_t i = 0; i < depth; i++)
		writer_u8(&w, (uint8_t)shut);
	int err = parse_bytes((char *)w.buf, w.len);
	writer_free(&w);
	return err;
}

START_TEST(depth_is_bounded)
{
	ck_assert_int_eq(nested(JSON_DEPTH_MAX, '[', ']', "1"), ERR_NONE);
	ck_assert_int_eq(nested(JSON_DEPTH_MAX, '{', '}', "\"[[[[\""), ERR_NONE);
	ck_assert_int_eq(nested(JSON_DEPTH_MAX + 1, '[', ']', "1"), ERR_LIMIT);
	ck_assert_int_eq(nested(JSON_DEPTH_MAX + 1, '{', '}', "1"), ERR_LIMIT);
	ck_assert_int_eq(nested(1000000, '[', ']', ""), ERR_LIMIT);
	ck_assert_int_eq(nested(JSON_DEPTH_MAX, '[', ']', "[],[],{}"), ERR_LIMIT);
	ck_assert_int_eq(nested(JSON_DEPTH_MAX - 1, '[', ']', "[],[],{}"), ERR_NONE);
}
END_TEST

START_TEST(errors_name_the_place_and_escape)
{
	struct json *v;
	struct errmsg m;
	ck_assert_int_eq(json_parse(&v, slice_str("{\n \"a\": \x1b[31m}"), &m), ERR_SYNTAX);
	ck_assert_msg(strncmp(m.text, "line 2, column ", 15) == 0, "%s", m.text);
	for (const char *p = m.text; *p; p++)
		ck_assert(*p >= 0x20 && *p < 0x7f);
}
END_TEST

START_TEST(strings_become_utf8)
{
	static const struct {
		const char *in;
		size_t len;
		const char *out;
	} cases[] = {
		{"plain", 5, "plain"},
		{"", 0, ""},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9,
		 "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"a\xff"
		 "b",
		 3,
		 "a\xef\xbf\xbd"
		 "b"},
		{"a\0b", 3,
		 "a\xef\xbf\xbd"
		 "b"},
		{"\xc3", 1, "\xef\xbf\xbd"},
		{"\xc3x", 2, "\xef\xbf\xbdx"},
		{"\xc0\x80", 2, "\xef\xbf\xbd\xef\xbf\xbd"},		     /* overlong */
		{"\xe0\x80\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* overlong */
		{"\xf0\x8f\xbf\xbf", 4, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* surrogate */
		{"\xf4\x90\x80\x80", 4, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xf4\x8f\xbf\xbf\xed\x9f\xbf", 7, "\xf4\x8f\xbf\xbf\xed\x9f\xbf"},
		{"\xf0\x9f\x98", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	};
	for (size_t i = 0; i < MEM_COUNT(cases); i++) {
		const char *s;
		struct json *v = json_string_n(cases[i].in, cases[i].len);
		ck_assert_int_eq(json_as_string(v, &s), ERR_NONE);
		ck_assert_str_eq(s, cases[i].out);
		json_free(v);
	}
}
END_TEST

/* Whatever bytes go in, the text that comes out parses and gives them back cleaned. */
START_TEST(random_bytes_survive_a_round_trip)
{
	struct random r;
	random_seed(&r, 11);
	for (int round = 0; round < 5000; round++) {
		char bytes[24];
		const char *s1, *s2;
		size_t len = random_below(&r, sizeof(bytes));
		for (size_t i = 0; i < len; i++)
			bytes[i] = (char)random_u64(&r);
		bytes[len] = '\0';
		struct json *v = json_object();
		json_set(v, bytes, json_string_n(bytes, len)); /* a hostile key, too */
		char *text = json_dump(v, false);
		struct json *back = parse(text);
		json_as_string(json_get(v, json_key_at(v, 0)), &s1);
		ck_assert_int_eq(json_read_string(back, json_key_at(back, 0), &s2), ERR_NONE);
		ck_assert_str_eq(s1, s2);
		mem_free(text);
		json_free(v);
		json_free(back);
	}
}
END_TEST

START_TEST(random_edits_never_crash_the_parser)
{
	static const char text[] = "{\"a\":[1,2.5e3,\"x\\u00e9\\n\",{\"b\":null}],\"c\":true}";
	struct random r;
	random_seed(&r, 12);
	int accepted = 0;
	for (int round = 0; round < 20000; round++) {
		char copy[sizeof(text)];
		memcpy(copy, text, sizeof(text));
		for (uint64_t n = random_between(&r, 1, 3); n > 0; n--)
			copy[random_below(&r, sizeof(text) - 1)] = (char)random_u64(&r);
		accepted += parse_bytes(copy, sizeof(text) - 1) == ERR_NONE;
	}
	ck_assert_int_gt(accepted, 0);
	ck_assert_int_lt(accepted, 10000);
}
END_TEST

START_TEST(reals_that_json_lacks_become_null)
{
	struct json *v = json_array();
	volatile double zero = 0;
	json_append(v, json_real(1 / zero));
	json_append(v, json_real(zero / zero));
	json_append(v, json_real(2));
	char *text = json_dump(v, false);
	ck_assert_str_eq(text, "[null,null,2.0]");
	mem_free(text);
	json_free(v);
}
END_TEST

START_TEST(files_are_bounded)
{
	char path[] = "/tmp/check-json-XXXXXX";
	struct json *v;
	struct errmsg m;
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "[1,2,3]", 7), 7);
	close(fd);
	ck_assert_int_eq(json_parse_file(&v, path, 7, &m), ERR_NONE);
	ck_assert_uint_eq(json_len(v), 3);
	json_free(v);
	ck_assert_int_eq(json_parse_file(&v, path, 6, &m), ERR_LIMIT);
	ck_assert_ptr_null(v);
	ck_assert_ptr_nonnull(strstr(m.text, path));
	fd = truncate(path, 6);
	ck_assert_int_eq(json_parse_file(&v, path, 7, &m), ERR_SYNTAX);
	ck_assert_ptr_nonnull(strstr(m.text, path));
	ck_assert_ptr_nonnull(strstr(m.text, "line 1"));
	unlink(path);
	ck_assert_int_eq(json_parse_file(&v, path, 7, &m), ERR_NOT_FOUND);
	ck_assert_int_eq(json_parse_file(&v, "/tmp", 7, &m), ERR_IO);
	ck_assert_int_eq(json_parse_file(&v, path, 7, NULL), ERR_NOT_FOUND);
}
END_TEST

START_TEST(json_u64_beyond_int64_is_a_string)
{
	const char *text;
	struct json *o = json_object();
	json_set(o, "v", json_u64((uint64_t)INT64_MAX + 1));
	ck_assert_int_eq(json_read_string(o, "v", &text), ERR_NONE);
	ck_assert_str_eq(text, "9223372036854775808");
	json_free(o);
}
END_TEST

TCase *json_case(void)
{
	TCase *tc = tcase_create("json");
	tcase_add_test(tc, dump_keeps_order_and_digits);
	tcase_add_test(tc, setting_a_key_again_replaces);
	tcase_add_test(tc, reads_are_typed);
	tcase_add_test(tc, walks_containers);
	tcase_add_test(tc, integers_are_exact);
	tcase_add_test(tc, parse_is_strict);
	tcase_add_test(tc, zero_bytes_are_refused_everywhere);
	tcase_add_test(tc, depth_is_bounded);
	tcase_add_test(tc, errors_name_the_place_and_escape);
	tcase_add_test(tc, strings_become_utf8);
	tcase_add_test(tc, random_bytes_survive_a_round_trip);
	tcase_add_test(tc, random_edits_never_crash_the_parser);
	tcase_add_test(tc, reals_that_json_lacks_become_null);
	tcase_add_test(tc, files_are_bounded);
	tcase_add_test(tc, json_u64_beyond_int64_is_a_string);
	return tc;
}
