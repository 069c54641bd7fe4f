#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "suites.h"

/* The log goes to a memory stream; text() is what it has got since clear(). */
static FILE *stream;
static char *buf;
static size_t len, cleared;

static void start(enum log_format format, enum log_level level)
{
	cleared = 0;
	stream = open_memstream(&buf, &len);
	ck_assert_ptr_nonnull(stream);
	log_init(stream, format, level);
}

static void stop(void)
{
	log_init(stderr, LOG_FORMAT_TEXT, LOG_ERROR);
	fclose(stream);
	free(buf);
}

static void clear(void)
{
	fflush(stream);
	cleared = len;
}

static const char *text(void)
{
	fflush(stream);
	return buf + cleared;
}

#define TIME_LEN 24 /* 2026-01-02T03:04:05.678Z */

static void check_time(const char *p)
{
	static const char form[] = "0000-00-00T00:00:00.000Z";
	for (size_t i = 0; i < TIME_LEN; i++)
		expect(form[i] == '0' ? p[i] >= '0' && p[i] <= '9' : p[i] == form[i]);
}

START_TEST(nothing_before_init)
{
	ck_assert(!log_enabled(LOG_NODE, LOG_ERROR));
	log_write(LOG_NODE, LOG_ERROR, "%s", "lost");
	ck_assert_int_eq(log_configure("debug"), ERR_NONE);
	ck_assert(!log_enabled(LOG_NODE, LOG_ERROR));
}
END_TEST

START_TEST(text_lines)
{
	start(LOG_FORMAT_TEXT, LOG_INFO);
	log_write(LOG_CONSENSUS, LOG_INFO, "term %d", 7);
	check_time(text());
	ck_assert_str_eq(text() + TIME_LEN, " info consensus term 7\n");
	clear();
	log_write(LOG_NET, LOG_DEBUG, "hidden");
	ck_assert_str_eq(text(), "");
	log_write(LOG_NET, LOG_ERROR, "x");
	ck_assert_str_eq(text() + TIME_LEN, " error net x\n");
	stop();
}
END_TEST

START_TEST(json_lines)
{
	struct json *v;
	const char *s;
	start(LOG_FORMAT_JSON, LOG_DEBUG);
	log_write(LOG_API, LOG_WARN, "said \"%s\" \\ \n\t", "hi\x01\xff");
	ck_assert_int_eq(json_parse(&v, slice_str(text()), NULL), ERR_NONE);
	ck_assert_int_eq(json_read_string(v, "time", &s), ERR_NONE);
	check_time(s);
	ck_assert_uint_eq(strlen(s), TIME_LEN);
	ck_assert_int_eq(json_read_string(v, "level", &s), ERR_NONE);
	ck_assert_str_eq(s, "warn");
	ck_assert_int_eq(json_read_string(v, "module", &s), ERR_NONE);
	ck_assert_str_eq(s, "api");
	ck_assert_int_eq(json_read_string(v, "message", &s), ERR_NONE);
	ck_assert_str_eq(s, "said \"hi\\x01\\xff\" \\ \n\t");
	ck_assert_uint_eq(json_len(v), 4);
	json_free(v);
	stop();
}
END_TEST

START_TEST(named_values)
{
	static const struct log_field fields[] = {{"count", "12", true},
						  {"who", "node2,node3", false},
						  {"why", "a \"b\"\n", false},
						  {"one", "word", false},
						  {"none", "", false}};
	struct json *v;
	const char *s;
	uint64_t n;
	start(LOG_FORMAT_TEXT, LOG_INFO);
	log_fields(LOG_NET, LOG_WARN, "m \"q\"", fields, 5);
	ck_assert_str_eq(text() + TIME_LEN, " warn net m \"q\" count=12 who=\"node2,node3\" "
					    "why=\"a \\\"b\\\"\\n\" one=word none=\"\"\n");
	stop();
	start(LOG_FORMAT_LOGFMT, LOG_INFO);
	log_fields(LOG_NET, LOG_WARN, "m \"q\"", fields, 1);
	ck_assert(strncmp(text(), "time=", 5) == 0);
	ck_assert_str_eq(text() + 5 + TIME_LEN,
			 " level=warn module=net msg=\"m \\\"q\\\"\" count=12\n");
	clear();
	log_fields(LOG_NET, LOG_DEBUG, "hidden", fields, 5);
	ck_assert_str_eq(text(), "");
	stop();
	start(LOG_FORMAT_JSON, LOG_INFO);
	log_fields(LOG_NET, LOG_WARN, "m", fields, 5);
	ck_assert_int_eq(json_parse(&v, slice_str(text()), NULL), ERR_NONE);
	ck_assert_int_eq(json_read_u64(v, "count", &n), ERR_NONE);
	ck_assert_uint_eq(n, 12);
	ck_assert_int_eq(json_read_string(v, "why", &s), ERR_NONE);
	ck_assert_str_eq(s, "a \"b\"\n");
	ck_assert_uint_eq(json_len(v), 9);
	json_free(v);
	stop();
	/* too much of everything is still one line, and whole JSON */
	char *big = mem_alloc(100001);
	memset(big, '"', 100000);
	big[100000] = 0;
	const struct log_field long_one = {"x", big, false};
	for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_LOGFMT; format++) {
		start((enum log_format)format, LOG_INFO);
		log_fields(LOG_NET, LOG_WARN, big, &long_one, 1);
		ck_assert_uint_lt(strlen(text()), 4096);
		ck_assert_ptr_eq(strchr(text(), '\n'), text() + strlen(text()) - 1);
		if (format == LOG_FORMAT_JSON) {
			ck_assert_int_eq(json_parse(&v, slice_str(text()), NULL), ERR_NONE);
			json_free(v);
		}
		stop();
	}
	mem_free(big);
}
END_TEST

/* Every byte value, in both formats: one line, printable ASCII only. */
START_TEST(hostile_bytes_are_escaped)
{
	char hostile[256];
	for (int i = 0; i < 255; i++)
		hostile[i] = (char)(i + 1);
	hostile[255] = '\0';
	for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
		start((enum log_format)format, LOG_INFO);
		log_write(LOG_NODE, LOG_INFO, "%s", hostile);
		const char *line = text();
		for (size_t i = 0; i + 1 < len; i++)
			expect(line[i] >= 0x20 && line[i] < 0x7f);
		expect(line[len - 1] == '\n');
		expect(strstr(line, "\\x1b") != NULL);
		expect(strstr(line, "\\xff") != NULL);
		expect(strstr(line, "\\t\\n") != NULL);
		if (format == LOG_FORMAT_JSON) {
			struct json *v;
			expect(json_parse(&v, slice_str(line), NULL) == ERR_NONE);
			json_free(v);
		}
		stop();
	}
	start(LOG_FORMAT_TEXT, LOG_INFO);
	log_write(LOG_NODE, LOG_INFO, "a\\nb");
	ck_assert_str_eq(text() + TIME_LEN, " info node a\\\\nb\n"); /* unlike a newline */
	stop();
}
END_TEST

START_TEST(long_messages_are_cut)
{
	char big[20000];
	for (int fill = 0; fill < 2; fill++) {
		memset(big, fill ? '\x80' : 'a', sizeof(big) - 1);
		big[sizeof(big) - 1] = '\0';
		for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
			start((enum log_format)format, LOG_INFO);
			log_write(LOG_NODE, LOG_INFO, "%s", big);
			ck_assert_ptr_nonnull(text());
			ck_assert_uint_lt(len, 4096);
			ck_assert_uint_gt(len, 1000);
			ck_assert_ptr_eq(strchr(buf, '\n'), buf + len - 1);
			if (format == LOG_FORMAT_JSON) {
				struct json *v;
				ck_assert_int_eq(json_parse(&v, slice_str(buf), NULL),
						 ERR_NONE);
				json_free(v);
			}
			stop();
		}
	}
}
END_TEST

static void check_levels(const char *spec, const char *levels)
{
	static const char letters[] = "EWID";
	ck_assert_int_eq(log_configure(spec), ERR_NONE);
	for (int m = 0; m < LOG_MODULES; m++)
		for (int l = LOG_ERROR; l <= LOG_DEBUG; l++)
			ck_assert_int_eq(log_enabled((enum log_module)m, (enum log_level)l),
					 l <= strchr(letters, levels[m]) - letters);
}

START_TEST(level_specs)
{
	start(LOG_FORMAT_TEXT, LOG_WARN);
	/* node consensus ledger net api sim */
	check_levels("info", "IIIIII");
	check_levels("info,consensus=debug,net=warn", "IDIWII");
	check_levels("sim=error", "IDIWIE");
	check_levels("node=debug,node=error", "EDIWIE"); /* the last one counts */
	check_levels("error,api=debug,ledger=info", "EEIEDE");
	static const char *const bad[] = {"",
					  ",",
					  "info,",
					  ",info",
					  "INFO",
					  "verbose",
					  "net",
					  "net=",
					  "=info",
					  "foo=info",
					  "net=info=debug",
					  "net=info,",
					  "net=info,debug",
					  "info,net=debug,warn",
					  " info",
					  "info ",
					  "net:info",
					  "inf",
					  "infos",
					  "net=in",
					  "neti=info"};
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		ck_assert_msg(log_configure(bad[i]) == ERR_SYNTAX, "accepted: %s", bad[i]);
	check_levels("api=debug", "EEIEDE"); /* refused specs changed nothing */
	stop();
}
END_TEST

/* Whether a second has passed is the clock's business; that nothing is lost is ours. */
START_TEST(limited_lines_are_counted)
{
	enum { CALLS = 1000 };
	start(LOG_FORMAT_TEXT, LOG_INFO);
	struct log_limit limit = {0};
	unsigned long long passed = 0, reported = 0;
	for (int i = 0; i < CALLS; i++) {
		clear();
		if (!log_limit_pass(&limit))
			continue;
		passed++;
		log_write(LOG_NET, LOG_INFO, "noise");
		const char *tail = strstr(text(), " left_out=");
		expect(passed > 1 || !tail);
		if (tail)
			reported += strtoull(tail + 10, NULL, 10);
	}
	ck_assert_uint_ge(passed, 1);
	expect(passed + reported + limit.skipped == CALLS);

	/* The next second has come. */
	unsigned long long pending = limit.skipped + 3;
	limit.skipped = pending;
	limit.second = 1;
	clear();
	expect(log_limit_pass(&limit));
	log_write(LOG_NET, LOG_INFO, "noise");
	char want[64];
	snprintf(want, sizeof(want), " info net noise left_out=%llu\n", pending);
	ck_assert_str_eq(text() + TIME_LEN, want);
	clear();
	log_write(LOG_NET, LOG_INFO, "calm"); /* the count belongs to one line */
	ck_assert_str_eq(text() + TIME_LEN, " info net calm\n");
	stop();
}
END_TEST

START_TEST(limited_macro)
{
	start(LOG_FORMAT_JSON, LOG_INFO);
	unsigned lines = 0;
	for (int i = 0; i < 100; i++)
		log_limited(LOG_NET, LOG_INFO, "noise %d", i);
	for (const char *p = text(); (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	ck_assert_uint_ge(lines, 1);
	ck_assert_uint_le(lines, 100);
	stop();
}
END_TEST

#define WRITERS	     4
#define LINES_EACH   2000
#define LINE_PATTERN "abcdefghijklmnopqrstuvwxyz"

static void *write_lines(void *arg)
{
	for (int i = 0; i < LINES_EACH; i++)
		log_write(LOG_LEDGER, LOG_INFO, "%s %d %d " LINE_PATTERN, (char *)arg, i, i);
	return NULL;
}

/* Each thread's lines arrive whole and in its order. */
START_TEST(threads_do_not_mix_lines)
{
	char path[] = "/tmp/check-log-XXXXXX";
	static char *names[WRITERS] = {"w0", "w1", "w2", "w3"};
	pthread_t threads[WRITERS];
	int next[WRITERS] = {0};
	int fd = mkstemp(path);
	FILE *out = fdopen(fd, "w+");
	expect(out != NULL);
	log_init(out, LOG_FORMAT_TEXT, LOG_INFO);
	for (int i = 0; i < WRITERS; i++)
		expect(pthread_create(&threads[i], NULL, write_lines, names[i]) == 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	log_init(stderr, LOG_FORMAT_TEXT, LOG_ERROR);
	rewind(out);
	char line[200];
	int total = 0;
	while (fgets(line, sizeof(line), out)) {
		int writer, a, b, end = 0;
		check_time(line);
		expect(sscanf(line + TIME_LEN, " info ledger w%d %d %d " LINE_PATTERN "%n",
			      &writer, &a, &b, &end) == 3);
		ck_assert_str_eq(line + TIME_LEN + end, "\n");
		expect(a == b && a == next[writer]++);
		total++;
	}
	expect(total == WRITERS * LINES_EACH);
	fclose(out);
	unlink(path);
}
END_TEST

TCase *log_case(void)
{
	TCase *tc = tcase_create("log");
	tcase_add_test(tc, nothing_before_init);
	tcase_add_test(tc, text_lines);
	tcase_add_test(tc, json_lines);
	tcase_add_test(tc, named_values);
	tcase_add_test(tc, hostile_bytes_are_escaped);
	tcase_add_test(tc, long_messages_are_cut);
	tcase_add_test(tc, level_specs);
	tcase_add_test(tc, limited_lines_are_counted);
	tcase_add_test(tc, limited_macro);
	tcase_add_test(tc, threads_do_not_mix_lines);
	return tc;
}
