/* The frame of `monitor`, from answers that live networks gave and from such as none would
 * give, and what becomes of it on a screen. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "suites.h"
#include "tools/cli/monitor.h"

static struct json *answers_of(const char *name)
{
	struct json *doc = NULL;
	char path[512];
	struct errmsg m;

	snprintf(path, sizeof path, ANSWERS "/%s.json", name);
	ck_assert_msg(json_parse_file(&doc, path, 4 << 20, &m) == ERR_NONE, "%s: %s", path,
		      m.text);
	return doc;
}

static struct json *frame_of(const char *name)
{
	struct json *answers = answers_of(name), *frame = monitor_frame(answers);

	json_free(answers);
	return frame;
}

static const char *text_of(const struct json *o, const char *key)
{
	const char *text = NULL;

	ck_assert_msg(json_read_string(o, key, &text) == ERR_NONE, "no text \"%s\"", key);
	return text;
}

static uint64_t number_of(const struct json *o, const char *key)
{
	uint64_t v = 0;

	ck_assert_msg(json_read_u64(o, key, &v) == ERR_NONE, "no number \"%s\"", key);
	return v;
}

static double real_of(const struct json *o, const char *key)
{
	double v = 0;

	ck_assert_msg(json_as_real(json_get(o, key), &v) == ERR_NONE, "no \"%s\"", key);
	return v;
}

static const struct json *node(const struct json *frame, const char *name)
{
	const struct json *nodes = json_get(frame, "nodes");

	for (size_t i = 0; i < json_len(nodes); i++)
		if (strcmp(text_of(json_at(nodes, i), "name"), name) == 0)
			return json_at(nodes, i);
	ck_abort_msg("no %s", name);
	return NULL;
}

/* What monitor_print() writes. mem of malloc. */
static char *printed(const struct json *frame, bool color)
{
	struct cli c = {.format = FORMAT_JSON, .color = color};
	char *text = NULL;
	size_t len;

	c.out = open_memstream(&text, &len);
	ck_assert_ptr_nonnull(c.out);
	monitor_print(&c, frame);
	ck_assert_int_eq(c.format, FORMAT_JSON);
	fclose(c.out);
	return text;
}

static void has(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in\n%s", part, text);
}

START_TEST(healthy)
{
	struct json *f = frame_of("healthy");
	char *text = printed(f, false);

	ck_assert_uint_eq(number_of(f, "reached"), 4);
	ck_assert_str_eq(text_of(f, "mode"), "fast");
	ck_assert_str_eq(text_of(f, "leader"), "node3");
	ck_assert_uint_eq(number_of(f, "term"), 1);
	ck_assert_uint_eq(json_len(json_get(f, "nodes")), 4);
	ck_assert_uint_eq(json_len(json_get(f, "behind")), 0);
	ck_assert_uint_eq(json_len(json_get(f, "findings")), 0);
	ck_assert(json_is_null(json_get(f, "tx_per_s"))); /* no blocks were asked for */
	has(text, "leader node3");
	has(text, "tx/s -");
	ck_assert_ptr_null(strstr(text, "Behind"));
	ck_assert_ptr_null(strchr(text, '\033'));
	free(text);
	json_free(f);
}
END_TEST

START_TEST(two_dead)
{
	struct json *f = frame_of("two-dead");
	char *text = printed(f, false);

	ck_assert_uint_eq(number_of(f, "reached"), 2);
	ck_assert_str_eq(text_of(node(f, "node3"), "state"), "down");
	ck_assert(json_is_null(json_get(node(f, "node3"), "tip")));
	ck_assert_uint_eq(json_len(json_get(f, "behind")), 2);
	has(text, "Behind: node3 (down), node4 (down)");
	has(text, "error quorum_lost: ");
	free(text);
	json_free(f);
}
END_TEST

START_TEST(stopped_leader)
{
	struct json *f = frame_of("stopped-leader");
	char *text = printed(f, true);

	ck_assert_str_eq(text_of(node(f, "node2"), "state"), "paused");
	ck_assert_str_eq(text_of(f, "leader"), "node2"); /* as the others still believe */
	has(text, "\033[31merror\033[0m node_stopped");
	free(text);
	json_free(f);
}
END_TEST

/* Load, a node that has been away, and a history of both modes. */
START_TEST(busy)
{
	struct json *f = frame_of("busy");
	const struct json *changes = json_get(f, "mode_changes");
	char *text = printed(f, false);
	uint64_t before = UINT64_MAX;

	ck_assert(real_of(f, "tx_per_s") > 0);
	ck_assert(real_of(f, "blocks_per_s") > 0);
	ck_assert_uint_ge(json_len(changes), 3);
	ck_assert_uint_le(json_len(changes), 5);
	for (size_t i = 0; i < json_len(changes); i++) {
		uint64_t height = number_of(json_at(changes, i), "height");
		ck_assert_uint_le(height, before); /* the newest first */
		before = height;
	}
	ck_assert_str_eq(text_of(json_at(changes, 0), "kind"), "fast");
	has(text, "Last changes of mode:");
	has(text, "conviction");
	free(text);
	json_free(f);
}
END_TEST

/* ---- made by hand -------------------------------------------------------------------------
 */

static struct json *parse(const char *text)
{
	struct json *v = NULL;
	struct errmsg m;

	ck_assert_msg(json_parse(&v, slice_str(text), &m) == ERR_NONE, "%s", m.text);
	return v;
}

#define NODE(name, final, age)                                                                 \
	"{\"name\":\"" name "\",\"reach\":\"answered\",\"status\":{\"role\":\"follower\","     \
	"\"term\":\"1\",\"ready\":true,\"height\":\"" final "\",\"final_height\":\"" final     \
	"\",\"time_ms\":\"20000\"},\"consensus\":{\"last_commit_age_ms\":\"" age "\"}}"

START_TEST(who_is_behind)
{
	struct json *answers =
		parse("{\"nodes\":[" NODE("a", "100", "10") "," NODE("b", "99", "900") "," NODE(
			"c", "40", "5000") "," NODE("d", "100", "9000") "]}");
	struct json *f = monitor_frame(answers), *list = json_get(f, "behind");

	ck_assert_uint_eq(json_len(list), 1); /* b is a moment late, d's clock is ahead */
	ck_assert_str_eq(text_of(json_at(list, 0), "node"), "c");
	ck_assert_uint_eq(number_of(json_at(list, 0), "blocks"), 60);
	ck_assert_uint_eq(number_of(f, "final_height"), 100);
	ck_assert_uint_eq(number_of(f, "age_ms"), 10);
	json_free(answers);
	json_free(f);
}
END_TEST

static double rate_of(const char *blocks)
{
	char *text =
		mem_printf("{\"nodes\":[" NODE("a", "9", "0") "],\"asked\":\"a\","
							      "\"blocks\":{\"blocks\":%s}}",
			   blocks);
	struct json *answers = parse(text), *f = monitor_frame(answers);
	double v = -1;

	json_as_real(json_get(f, "tx_per_s"), &v);
	json_free(f);
	json_free(answers);
	mem_free(text);
	return v;
}

#define BLOCK(height, time, count)                                                             \
	"{\"height\":\"" height "\",\"time_ms\":\"" time "\",\"tx_count\":" count "}"

START_TEST(rate_of_blocks)
{
	/* the list reaches further back than ten seconds: those count */
	ck_assert_double_eq_tol(rate_of("[" BLOCK("7", "9000", "500") "," BLOCK(
					"8", "12000", "30") "," BLOCK("9", "19000", "70") "]"),
				10, 1e-9);
	/* it begins in the middle: since its first block, without that one */
	ck_assert_double_eq_tol(
		rate_of("[" BLOCK("8", "18000", "5000") "," BLOCK("9", "19000", "70") "]"), 35,
		1e-9);
	/* the whole chain: all of it */
	ck_assert_double_eq_tol(rate_of("[" BLOCK("1", "18000", "30") "]"), 3, 1e-9);
	ck_assert_double_eq_tol(rate_of("[" BLOCK("9", "3000", "30") "]"), 0, 1e-9);
	/* newer than the clock that was asked before */
	ck_assert_double_eq_tol(
		rate_of("[" BLOCK("8", "20000", "1") "," BLOCK("9", "21000", "70") "]"), 70,
		1e-9);
	ck_assert_double_eq(rate_of("[]"), -1);
	ck_assert_double_eq(rate_of("7"), -1);
	ck_assert_double_eq(rate_of("[{\"time_ms\":\"x\"}]"), -1);
	ck_assert_double_eq(rate_of("[" BLOCK("9", "20000", "1") "]"), -1); /* of no time */
}
END_TEST

/* A lying node's text is text. */
START_TEST(hostile_text)
{
	struct json *answers = parse(
		"{\"nodes\":[{\"name\":\"a\\u001b[2J\\u009b5n\",\"reach\":\"answered\","
		"\"status\":{\"role\":\"\\u001b]0;x\\u0007\",\"mode\":\"\\u0085\"}}],"
		"\"modes\":{\"entries\":[7,{\"kind\":\"\\u001bc\",\"height\":\"1\"},[]]}}");
	struct json *f = monitor_frame(answers);
	char *text = printed(f, false);

	for (const char *p = text; *p; p++) {
		ck_assert_msg((unsigned char)*p >= 0x20 || *p == '\n', "%02x", *p);
		ck_assert(!((unsigned char)p[0] == 0xc2 && (unsigned char)p[1] < 0xa0));
	}
	ck_assert_uint_eq(json_len(json_get(f, "mode_changes")), 1);
	free(text);
	json_free(f);
	json_free(answers);
}
END_TEST

/* Any member of real answers gone, or of another type: a frame comes of it all the same. */
static void damage(struct json *v, struct random *r, unsigned depth)
{
	size_t n = 0, pick;
	const char *k = NULL;

	if (json_is_array(v) && json_len(v) > 0) {
		damage(json_at(v, random_below(r, json_len(v))), r, depth + 1);
		return;
	}
	while ((k = json_key_next(v, k)) != NULL)
		n++;
	if (n == 0)
		return;
	pick = random_below(r, n);
	for (k = json_key_next(v, NULL); pick > 0; pick--)
		k = json_key_next(v, k);
	if (depth < 6 && random_below(r, 4) != 0 &&
	    (json_is_object(json_get(v, k)) || json_is_array(json_get(v, k)))) {
		damage(json_get(v, k), r, depth + 1);
		return;
	}
	switch (random_below(r, 5)) {
	case 0:
		json_set(v, k, json_null());
		break;
	case 1:
		json_set(v, k, json_string("18446744073709551615"));
		break;
	case 2:
		json_set(v, k, json_array());
		break;
	case 3:
		json_set(v, k, json_int(-1));
		break;
	case 4:
		json_set(v, k, json_object());
		break;
	}
}

START_TEST(damaged_answers)
{
	static const char *const names[] = {"busy", "healthy", "two-dead"};
	struct random r;

	random_seed(&r, 7);
	for (unsigned run = 0; run < 600; run++) {
		struct json *answers = answers_of(names[run % MEM_COUNT(names)]), *f;
		char *text;
		for (unsigned i = 0; i <= run % 8; i++)
			damage(answers, &r, 0);
		f = monitor_frame(answers);
		text = printed(f, run % 2);
		ck_assert(json_is_array(json_get(f, "nodes")));
		free(text);
		json_free(f);
		json_free(answers);
	}
}
END_TEST

/* ---- the screen ----------------------------------------------------------------------------
 */

static char *painted(const char *text, unsigned rows, unsigned columns)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	ck_assert_ptr_nonnull(f);
	monitor_paint(f, text, rows, columns);
	fclose(f);
	return out;
}

START_TEST(screen)
{
	static const struct {
		const char *text;
		unsigned rows, columns;
		const char *want;
	} cases[] = {
		{"", 2, 4, ""},
		{"abcdef\ngh\n", 2, 4, "abcd\033[0m\033[K\r\ngh\033[0m\033[K"},
		{"a\nb\nc\n", 2, 4, "a\033[0m\033[K\r\nb\033[0m\033[K"},
		{"\033[31mabc\033[0mdef\n", 1, 4, "\033[31mabc\033[0md\033[0m\033[K"},
		{"\303\251\303\251\303\251\n", 1, 2, "\303\251\303\251\033[0m\033[K"},
		{"abc\033[31", 1, 9, "abc\033[31\033[0m\033[K"},
	};
	for (size_t i = 0; i < MEM_COUNT(cases); i++) {
		char *out = painted(cases[i].text, cases[i].rows, cases[i].columns);
		char *want = mem_printf("\033[H%s\033[J", cases[i].want);
		ck_assert_str_eq(out, want);
		mem_free(want);
		free(out);
	}
}
END_TEST

Suite *monitor_suite(void)
{
	Suite *s = suite_create("monitor");
	TCase *tc = tcase_create("monitor");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, healthy);
	tcase_add_test(tc, two_dead);
	tcase_add_test(tc, stopped_leader);
	tcase_add_test(tc, busy);
	tcase_add_test(tc, who_is_behind);
	tcase_add_test(tc, rate_of_blocks);
	tcase_add_test(tc, hostile_text);
	tcase_add_test(tc, damaged_answers);
	tcase_add_test(tc, screen);
	suite_add_tcase(s, tc);
	return s;
}
