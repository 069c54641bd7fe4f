/* The parser of server-sent events. */
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "suites.h"
#include "tools/cli/events.h"

struct log {
	char text[4096];
	unsigned count, stop_at;
};

static bool on_event(void *arg, const struct sse_event *e)
{
	struct log *l = arg;
	size_t at = strlen(l->text);

	snprintf(l->text + at, sizeof l->text - at, "[%s|%s|%s]", e->type, e->id, e->data);
	return ++l->count != l->stop_at;
}

static void feed(const char *text, const char *want)
{
	struct sse_parser p;

	/* whole, and byte by byte, and in two parts */
	for (size_t cut = 0; cut <= strlen(text) + 1; cut++) {
		struct log l = {0};
		sse_init(&p, on_event, &l);
		for (size_t i = 0; cut == 0 && i < strlen(text); i++)
			ck_assert_int_eq(sse_feed(&p, slice_of(text + i, 1)), ERR_NONE);
		if (cut > 0 && cut <= strlen(text)) {
			ck_assert_int_eq(sse_feed(&p, slice_of(text, cut)), ERR_NONE);
			ck_assert_int_eq(sse_feed(&p, slice_of(text + cut, strlen(text) - cut)),
					 ERR_NONE);
		} else if (cut > 0) {
			ck_assert_int_eq(sse_feed(&p, slice_str(text)), ERR_NONE);
		}
		ck_assert_str_eq(l.text, want);
		sse_free(&p);
	}
}

START_TEST(format)
{
	feed("", "");
	feed("data: a\n\n", "[message||a]");
	feed("data:a\n\n", "[message||a]");
	feed("data:  a\n\n", "[message|| a]");
	feed("data: a\r\n\r\ndata: b\r\rdata: c\n\n", "[message||a][message||b][message||c]");
	feed("event: txs\nid: 3.1\ndata: {\"a\": 1}\n\n", "[txs|3.1|{\"a\": 1}]");
	feed("data: a\ndata: b\ndata\n\n", "[message||a\nb\n]");
	feed("data\n\n", "[message||]");
	feed(":\n\n: comment\n\n", "");
	feed("event: x\n\n", ""); /* without data it is none */
	feed("id: 7.0\n\ndata: a\n\n", "[message|7.0|a]");
	feed("id: 7.0\ndata: a\n\ndata: b\n\n", "[message|7.0|a][message|7.0|b]");
	feed("id: 7\ndata: a\n\nid\ndata: b\n\n", "[message|7|a][message||b]");
	feed("event: x\ndata: a\n\ndata: b\n\n", "[x||a][message||b]");
	feed("\xef\xbb\xbf"
	     "data: a\n\n",
	     "[message||a]");
	feed("unknown: 1\ndata: a\nretry: 5\nretry: x\n\n", "[message||a]");
	feed("data: unfinished\n", "");
}
END_TEST

/* An id counts when its event is whole: a cut between the two must not lose the event. */
START_TEST(cursor)
{
	struct log l = {0};
	struct sse_parser p;

	sse_init(&p, on_event, &l);
	ck_assert_int_eq(sse_feed(&p, slice_str("id: 1\ndata: a\n\nid: 2\ndata: b\n")),
			 ERR_NONE);
	ck_assert_str_eq(p.id, "1");
	sse_reset(&p);
	ck_assert_str_eq(p.id, "1");
	ck_assert_int_eq(sse_feed(&p, slice_str("data: c\n\n")), ERR_NONE);
	ck_assert_str_eq(l.text, "[message|1|a][message|1|c]");
	sse_free(&p);
}
END_TEST

START_TEST(limits)
{
	struct log l = {.stop_at = 2};
	struct sse_parser p;
	uint8_t *much = mem_zalloc(1 << 20);
	int err = ERR_NONE;

	sse_init(&p, on_event, &l);
	ck_assert_int_eq(sse_feed(&p, slice_str("data: a\n\ndata: b\n\ndata: c\n\n")),
			 ERR_CLOSED);
	ck_assert_str_eq(l.text, "[message||a][message||b]");
	/* a line, and an event, without an end */
	sse_reset(&p);
	memset(much, 'x', 1 << 20);
	for (unsigned i = 0; i < 20 && err == ERR_NONE; i++)
		err = sse_feed(&p, slice_of(much, 1 << 20));
	ck_assert_int_eq(err, ERR_LIMIT);
	sse_reset(&p);
	memcpy(much, "data:", 5);
	much[(1 << 20) - 1] = '\n';
	err = ERR_NONE;
	for (unsigned i = 0; i < 20 && err == ERR_NONE; i++)
		err = sse_feed(&p, slice_of(much, 1 << 20));
	ck_assert_int_eq(err, ERR_LIMIT);
	mem_free(much);
	sse_reset(&p);
	ck_assert_int_eq(sse_feed(&p, slice_str("id: 1\n\nid: ")), ERR_NONE);
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(sse_feed(&p, slice_str("9")), ERR_NONE);
	ck_assert_int_eq(sse_feed(&p, slice_str("\n\n")), ERR_NONE);
	ck_assert_str_eq(p.id, "1"); /* too long an id is none */
	sse_free(&p);
}
END_TEST

static bool swallow(void *arg, const struct sse_event *e)
{
	ck_assert_uint_lt(strlen(e->id), SSE_CURSOR_MAX);
	return strlen(e->type) + strlen(e->data) < SIZE_MAX;
}

START_TEST(noise)
{
	static const char *const words[] = {"data", "id",	    "event", "retry", ":",
					    " ",    "\n",	    "\r",    "\n\n",  "\r\n",
					    "1.2",  "\xef\xbb\xbf", "x"};
	struct sse_parser p;
	struct random r;

	random_seed(&r, (uint64_t)_i);
	sse_init(&p, swallow, NULL);
	for (unsigned k = 0; k < 20000; k++) {
		const char *word = words[random_below(&r, MEM_COUNT(words))];
		uint8_t byte = (uint8_t)random_u64(&r);
		bool one = random_below(&r, 8) == 0;
		ck_assert_int_eq(sse_feed(&p, one ? slice_of(&byte, 1) : slice_str(word)),
				 ERR_NONE);
		if (random_below(&r, 1000) == 0)
			sse_reset(&p);
	}
	sse_free(&p);
}
END_TEST

Suite *events_suite(void)
{
	Suite *s = suite_create("events");
	TCase *t = tcase_create("parser");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, format);
	tcase_add_test(t, cursor);
	tcase_add_test(t, limits);
	tcase_add_loop_test(t, noise, 0, 20);
	suite_add_tcase(s, t);
	return s;
}
