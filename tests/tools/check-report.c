/* The report: hostile files are refused with their name, hostile text is escaped, what was not
 * measured is left out, and every figure that is there is drawn. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/tools/balanced.h"
#include "tools/lab/report.h"

static struct report r;
static struct errmsg m;
static char *page; /* of the last draw() */

/* What every result says of itself; the first of its members. */
#define OF "\"scenario\":\"x\",\"protocol\":\"raft\""

static int read_text(const char *text)
{
	m.text[0] = 0;
	return report_read_text(&r, "some/dir/x.json", slice_str(text), &m);
}

static void end(void)
{
	report_free(&r);
	mem_free(page);
	page = NULL;
}

static void draw(void)
{
	struct writer w = {0};
	size_t len, offset;
	report_html(&w, &r, "Made by a test");
	writer_u8(&w, 0);
	mem_free(page);
	page = (char *)writer_take(&w, &len);
	ck_assert_uint_eq(strlen(page), len - 1);
	const char *fault = balanced_fault(page, &offset);
	ck_assert_msg(!fault, "byte %zu: %s: %.80s", offset, fault,
		      page + (offset > 40 ? offset - 40 : 0));
}

static void accepted(const char *text)
{
	ck_assert_msg(read_text(text) == ERR_NONE, "refused: %s: %.200s", m.text, text);
}

static void refused(const char *text, const char *says)
{
	size_t before = r.count;
	ck_assert_msg(read_text(text) != ERR_NONE, "accepted: %.200s", text);
	ck_assert_msg(strstr(m.text, "x.json") != NULL, "no file name in: %s", m.text);
	ck_assert_msg(strstr(m.text, says) != NULL, "\"%s\" is not in: %s", says, m.text);
	ck_assert_uint_eq(r.count, before);
}

static unsigned count(const char *from, const char *to, const char *what)
{
	unsigned n = 0;
	for (const char *at = from; (at = strstr(at, what)) != NULL && (!to || at < to);
	     at += strlen(what))
		n++;
	return n;
}

/* How often it is in the figure of this id; the figure must be there. */
static unsigned in_figure(const char *id, const char *what)
{
	char *head = mem_printf("<figure id=\"%s\">", id);
	const char *from = strstr(page, head);
	mem_free(head);
	ck_assert_msg(from != NULL, "no figure %s", id);
	const char *to = strstr(from, "</figure>");
	ck_assert_ptr_nonnull(to);
	return count(from, to, what);
}

static bool has_figure(const char *id)
{
	char *head = mem_printf("<figure id=\"%s\">", id);
	bool there = strstr(page, head) != NULL;
	mem_free(head);
	return there;
}

/* ---- numbers and axes -------------------------------------------------------------------- */

START_TEST(test_numbers)
{
	static const struct {
		double v;
		const char *text;
	} cases[] = {{0, "0"},
		     {6, "6"},
		     {0.0004, "0.000"},
		     {0.1234, "0.123"},
		     {1.005, "1.00"},
		     {9.996, "10.0"},
		     {99.96, "100"},
		     {999.4, "999"},
		     {999.6, "1000"},
		     {12345, "12,345"},
		     {1e6, "1,000,000"},
		     {9999, "9999"},
		     {1e14, "100,000,000,000,000"},
		     {NAN, "not measured"},
		     {INFINITY, "not measured"},
		     {1e300, "1e+300"}};
	char out[HTML_NUMBER_MAX];
	for (size_t i = 0; i < MEM_COUNT(cases); i++)
		ck_assert_str_eq(html_number(out, cases[i].v), cases[i].text);
	ck_assert_str_eq(html_duration(out, 4.833), "4.83 ms");
	ck_assert_str_eq(html_duration(out, 1352), "1.35 s");
	ck_assert_str_eq(html_duration(out, NAN), "not measured");
}
END_TEST

static void check_axis(const struct axis *a, double lo, double hi)
{
	ck_assert_uint_ge(a->ticks, 1);
	ck_assert_uint_le(a->ticks, AXIS_TICKS_MAX);
	for (unsigned i = 1; i < a->ticks; i++)
		ck_assert(a->tick[i] > a->tick[i - 1]);
	ck_assert(axis_at(a, lo) >= a->begin - 0.01 && axis_at(a, hi) <= a->end + 0.01);
	ck_assert(axis_at(a, lo) <= axis_at(a, hi));
}

START_TEST(test_axes)
{
	static const double values[] = {1e-9, 0.001, 0.3,     1,   2,	7,
					99,   1000,  12345.6, 1e9, 1e15};
	struct axis a;
	for (size_t i = 0; i < MEM_COUNT(values); i++)
		for (size_t k = i; k < MEM_COUNT(values); k++) {
			axis_linear(&a, 0, values[k], 0, 700);
			check_axis(&a, 0, values[k]);
			axis_log(&a, values[i], values[k], 0, 700);
			check_axis(&a, values[i], values[k]);
			axis_fit(&a, values[i], values[k], 0, 700);
			check_axis(&a, values[i], values[k]);
		}
	axis_linear(&a, 0, 0, 0, 700);
	check_axis(&a, 0, 0);
	axis_linear(&a, 5, 5, 0, 700);
	check_axis(&a, 5, 5);
}
END_TEST

/* ---- refusals ---------------------------------------------------------------------------- */

START_TEST(test_refuses_what_is_wrong)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"", "empty"},
		{" \n\t", "x.json"},
		{"[]", "no runs"},
		{"7", "an object is needed"},
		{"\"text\"", "an object is needed"},
		{"null", "an object is needed"},
		{"[{" OF "},3]", "run 2"},
		{"{\"a\":1}", "scenario and protocol are missing"},
		{"{\"scenario\":\"x\",\"nodes\":4}", "scenario and protocol are missing"},
		{"{\"protocol\":\"raft\",\"scenario\":\"\"}",
		 "scenario and protocol are missing"},
		{"[{" OF "},{\"nodes\":4}]", "run 2: result: scenario"},
		{"{}", "empty"},
		{"{\"nodes\":4", "line 1"},
		{"{\"nodes\":4,\"nodes\":4}", "duplicate"},
		{"{\"nodes\":0}", "nodes"},
		{"{\"nodes\":65}", "nodes"},
		{"{\"nodes\":4.5}", "nodes"},
		{"{\"nodes\":\"4\"}", "nodes"},
		{"{\"decisions\":-1}", "decisions"},
		{"{\"decisions\":1e16}", "decisions"},
		{"{\"decisions\":1e999}", "x.json"},
		{"{\"decisions\":true}", "decisions"},
		{"{\"throughput_per_s\":\"many\"}", "throughput_per_s"},
		{"{\"consensus_time_ms\":{\"p50\":[]}}", "consensus_time_ms.p50"},
		{"{\"scenario\":7}", "scenario"},
		{"{\"by_type\":[1]}", "by_type"},
		{"{\"by_type\":{\"a\":{}}}", "by_type"},
		{"{\"transitions\":{\"a->b\":-3}}", "transitions"},
		{"{\"windows\":{}}", "windows"},
		{"{\"windows\":[{\"at_ms\":0}]}", "windows"},
		{"{\"windows\":[{\"at_ms\":5,\"decisions\":1},{\"at_ms\":5,\"decisions\":1}]}",
		 "windows"},
		{"{\"malicious\":[64]}", "malicious"},
		{"{\"malicious\":[1.5]}", "malicious"},
		{"{\"fork\":[]}", "fork"},
		{"{\"fork\":{\"hashes\":[1,2]}}", "fork.hashes"},
		{"{\"fork\":{\"hashes\":[\"a\",\"b\",\"c\"]}}", "fork.hashes"},
		{"{\"expectations\":[{\"a\":[]}]}", "expectations"},
		{"{\"space_time\":{\"from_ms\":1,\"to_ms\":0,\"nodes\":4}}", "space_time"},
		{"{\"space_time\":{\"from_ms\":0,\"to_ms\":1}}", "space_time"},
		{"{\"space_time\":{\"from_ms\":0,\"to_ms\":1,\"nodes\":4,\"events\":[{\"sent_"
		 "ms\":0,"
		 "\"received_ms\":1,\"from\":0,\"to\":4}]}}",
		 "to"},
		{"{\"space_time\":{\"from_ms\":0,\"to_ms\":1,\"nodes\":4,\"events\":[{\"sent_"
		 "ms\":2,"
		 "\"received_ms\":1,\"from\":0,\"to\":3}]}}",
		 "received before"},
		{"{\"space_time\":{\"from_ms\":0,\"to_ms\":1,\"nodes\":4,\"marks\":[{\"at_ms\":"
		 "0,"
		 "\"node\":-1}]}}",
		 "marks"},
		{"{" OF "}\n{\"nodes\":99}\n", "x.json:2"},
		{"{" OF "}\n{\"nodes\":9", "x.json:2"},
		{"{\"scenario\":\"\\u0000\"}", "x.json"},
		{"{\"scenario\":\"\xff\xfe\"}", "x.json"},
	};
	for (size_t i = 0; i < MEM_COUNT(cases); i++)
		refused(cases[i].text, cases[i].says);
	end();
}
END_TEST

/* {"KEY":[ITEM,ITEM,...]} */
static char *list_of(const char *head, const char *item, unsigned n, const char *tail)
{
	struct writer w = {0};
	size_t len;
	html_raw(&w, head);
	for (unsigned i = 0; i < n; i++) {
		char text[200];
		snprintf(text, sizeof text, item, i);
		html_raw(&w, i ? "," : "");
		html_raw(&w, text);
	}
	html_raw(&w, tail);
	writer_u8(&w, 0);
	return (char *)writer_take(&w, &len);
}

static void limit(const char *head, const char *item, unsigned most, const char *tail)
{
	char *text = list_of(head, item, most, tail);
	accepted(text);
	draw();
	mem_free(text);
	text = list_of(head, item, most + 1, tail);
	refused(text, "too many");
	mem_free(text);
	end();
}

START_TEST(test_limits)
{
	limit("{" OF ",\"windows\":[", "{\"at_ms\":%u,\"decisions\":1}", REPORT_WINDOWS_MAX,
	      "]}");
	limit("{" OF ",\"space_time\":{\"from_ms\":0,\"to_ms\":9,\"nodes\":2,\"events\":[",
	      "{\"sent_ms\":%u,\"received_ms\":null,\"from\":0,\"to\":1,\"type\":\"append\"}",
	      REPORT_EVENTS_MAX, "]}}");
	limit("{" OF
	      ",\"space_time\":{\"from_ms\":0,\"to_ms\":9,\"nodes\":2,\"events\":[{\"sent_ms\":"
	      "0,"
	      "\"from\":0,\"to\":1}],\"marks\":[",
	      "{\"at_ms\":%u}", REPORT_MARKS_MAX, "]}}");
	limit("{" OF ",\"malicious\":[", "%u", REPORT_NODES_MAX, "]}");
	limit("{" OF ",\"by_type\":{", "\"t%u\":1", REPORT_LIST_MAX, "}}");
	char *text = list_of("[", "{" OF ",\"seed\":%u}", REPORT_RUNS_MAX + 1, "]");
	refused(text, "runs");
	mem_free(text);
	char *name = mem_alloc(REPORT_NAME_MAX + 2);
	memset(name, 'x', REPORT_NAME_MAX + 1);
	name[REPORT_NAME_MAX + 1] = 0;
	text = mem_printf("{\"scenario\":\"%s\"}", name);
	refused(text, "too long");
	mem_free(text);
	text = mem_printf("{\"scenario\":\"%s\",\"protocol\":\"%s\"}", name + 1, name + 1);
	accepted(text);
	draw();
	mem_free(text);
	mem_free(name);
	end();
}
END_TEST

START_TEST(test_a_huge_file)
{
	size_t len = REPORT_FILE_MAX + 1;
	char *text = mem_alloc(len + 1);
	memset(text, ' ', len);
	memcpy(text, "{" OF "}", strlen("{" OF "}"));
	text[len] = 0;
	refused(text, "MiB");
	text[len - 1] = 0; /* just as large as it may be */
	accepted(text);
	accepted(text);
	refused(text, "MiB"); /* together they are too large */
	mem_free(text);
	end();
}
END_TEST

/* ---- a run with everything --------------------------------------------------------------- */

static const char run[] =
	"{\"scenario\":\"crash-leader\",\"protocol\":\"hybrid\",\"nodes\":4,\"live\":false,"
	"\"seed\":9007199254740993,\"runs\":3,\"decisions\":842,\"transactions\":845,"
	"\"safety\":{\"conflicts\":2},\"liveness\":{\"longest_gap_ms\":950.5},"
	"\"consensus_time_ms\":{\"p50\":4.894,\"p95\":7.1,\"p99\":7.8,\"max\":null},"
	"\"client_ms\":{\"p50\":8.6,\"p99\":3006.3},\"messages_per_decision\":5.996,"
	"\"theory_messages_per_decision\":6,\"bytes_per_decision\":3813.4,"
	"\"by_phase\":{\"normal\":6,\"heartbeat\":11.9},\"throughput_per_s\":12.5,"
	"\"vary\":{\"protocol\":\"hybrid\",\"nodes\":4,\"fault\":\"crash-leader\"},"
	"\"spread\":{\"throughput_per_s\":{\"min\":10,\"max\":20}},"
	"\"malicious\":[2],\"convicted\":[2],\"accused_innocent\":0,"
	"\"strikes\":{\"equivocate\":3},\"availability\":0.67,\"failover_ms\":438.8,"
	"\"failover\":{\"detection_ms\":400,\"election_ms\":8,\"first_commit_ms\":30,"
	"\"backlog_ms\":null,\"total_ms\":450,\"messages\":16},\"theory\":{\"leader_change\":"
	"10},"
	"\"progress_after_healing_ms\":2.9,\"proof_to_pbft_commit_ms\":18,"
	"\"conviction_to_fast_ms\":127.7,\"window_ms\":100,"
	"\"windows\":[{\"at_ms\":0,\"decisions\":0},{\"at_ms\":100,\"decisions\":7},"
	"{\"at_ms\":200,\"decisions\":0},{\"at_ms\":300,\"decisions\":9}],"
	"\"transitions\":{\"fast->pbft:E1\":3,\"fast->pbft:E4\":1,\"pbft->fast\":4,"
	"\"follower->candidate\":10,\"candidate->leader\":7,\"odd->state\":1,\"nonsense\":2},"
	"\"fork\":{\"height\":30,\"at_ms\":3919,\"hashes\":[\"aa11\",\"bb22\"],\"culprits\":[2]"
	","
	"\"proven\":[],\"certificates\":[{\"kind\":\"crash\",\"term\":5,\"height\":30},"
	"{\"kind\":\"two_round\",\"term\":5,\"height\":31}],\"provable\":\"nothing\"},"
	"\"space_time\":{\"from_ms\":10,\"to_ms\":30,\"why\":\"fork\",\"nodes\":4,\"events\":["
	"{\"sent_ms\":10,\"received_ms\":12,\"from\":0,\"to\":1,\"type\":\"append\",\"height\":"
	"3},"
	"{\"sent_ms\":12,\"received_ms\":null,\"from\":1,\"to\":0,\"type\":\"appended\"},"
	"{\"sent_ms\":13,\"received_ms\":29,\"from\":2,\"to\":2,\"type\":\"heartbeat\"}],"
	"\"marks\":[{\"at_ms\":12,\"node\":1,\"text\":\"fork\"},{\"at_ms\":13,\"text\":"
	"\"here\"}]},"
	"\"calibration\":{\"verify_per_s\":20000},\"expectations\":[{\"expect\":\"progress\","
	"\"holds\":true},{\"expect\":\"conflict\",\"holds\":false}],\"passed\":false,"
	"\"repeat\":\"ostrakon-lab sim crash-leader --seed 1\"}";

static const char base_run[] = "{\"scenario\":\"baseline\",\"protocol\":\"hybrid\",\"nodes\":4,"
			       "\"throughput_per_s\":50}";

START_TEST(test_draws_each_figure)
{
	accepted(run);
	accepted(base_run);
	report_sort(&r);
	draw();
	ck_assert_uint_eq(in_figure("plot-time", "mark point"), 1);
	ck_assert_uint_eq(in_figure("plot-messages", "mark point"), 1);
	ck_assert_uint_eq(in_figure("plot-throughput", "bar forked point"), 1);
	ck_assert_uint_eq(in_figure("plot-throughput", "25 %"), 2); /* title and label */
	ck_assert_uint_eq(in_figure("plot-recovery", "mark point"), 3 + 3); /* and a legend */
	ck_assert_uint_eq(in_figure("plot-failover", "detection: 400 ms"), 1);
	ck_assert_uint_eq(in_figure("plot-failover", "not split: 12 ms"), 1);
	ck_assert_uint_eq(in_figure("plot-failover", "backlog drained: "), 0);
	ck_assert_uint_eq(in_figure("plot-states", "count point"), 5);
	ck_assert_uint_eq(in_figure("plot-states", ">E1 3<"), 1);
	ck_assert_uint_eq(in_figure("plot-states", ">E4 1<"), 1);
	ck_assert_uint_eq(in_figure("space-time-1", "message point"), 3);
	ck_assert_uint_eq(in_figure("space-time-1", ", not received<"), 1);
	ck_assert_uint_eq(in_figure("space-time-1", "\"lost\""), 2);
	ck_assert_uint_eq(in_figure("space-time-1", "event-mark"), 2);
	ck_assert_uint_eq(in_figure("fork-1", "aa11"), 1);
	ck_assert_uint_eq(in_figure("fork-1", "bb22"), 1);
	const char *windows = strstr(page, "p3 windows"), *gap = strstr(page, "class=\"gap\"");
	ck_assert_ptr_nonnull(windows);
	ck_assert_ptr_nonnull(gap);
	ck_assert_uint_eq(count(windows, strstr(windows, "/>"), "v-"), 2);
	ck_assert_uint_eq(count(gap, strstr(gap, "/>"), "h"), 2);
	ck_assert_ptr_nonnull(strstr(page, "nonsense"));   /* in the table at least */
	ck_assert_ptr_nonnull(strstr(page, "10\u201320")); /* the spread */
	ck_assert_ptr_nonnull(strstr(page, "the hybrid <em>forked</em> in 1 of 1 results"));
	ck_assert_ptr_nonnull(strstr(page, "9007199254740993"));
	ck_assert_ptr_nonnull(strstr(page, "ostrakon-lab sim crash-leader --seed 1"));
	end();
}
END_TEST

START_TEST(test_leaves_out_what_was_not_measured)
{
	static const char *const figures[] = {
		"plot-time",	 "plot-messages", "plot-throughput",	"plot-availability",
		"plot-failover", "plot-recovery", "plot-states",	"space-time-1",
		"fork-1",	 "plot-bytes",	  "plot-authenticators"};
	accepted("{" OF ",\"consensus_time_ms\":{\"p50\":null},\"fork\":null,"
		 "\"failover\":{\"total_ms\":null},\"space_time\":null,\"windows\":null}");
	draw();
	for (size_t i = 0; i < MEM_COUNT(figures); i++)
		ck_assert_msg(!has_figure(figures[i]), "%s", figures[i]);
	ck_assert_uint_ge(count(page, NULL, "Not measured"), 8);
	ck_assert_ptr_null(strstr(page, "nan"));
	ck_assert_ptr_null(strstr(page, ">0<")); /* nothing becomes a nought */
	end();
}
END_TEST

START_TEST(test_one_point_a_run)
{
	static const char *const protocols[] = {"multipaxos", "raft", "pbft", "hybrid",
						"fifth"};
	unsigned runs = 0;
	for (unsigned p = 0; p < MEM_COUNT(protocols); p++)
		for (unsigned n = 4; n <= 16; n += 3, runs++) {
			char *text = mem_printf(
				"{\"scenario\":\"steady-state\",\"protocol\":\"%s\",\"nodes\":%"
				"u,"
				"\"messages_per_decision\":%u,\"bytes_per_decision\":%u,"
				"\"consensus_time_ms\":{\"p50\":%u,\"p99\":%u}}",
				protocols[p], n, 2 * (n - 1), 1000 * n, p + 1, p + 9);
			accepted(text);
			mem_free(text);
		}
	draw();
	ck_assert_uint_eq(in_figure("plot-time", "mark point"), runs);
	ck_assert_uint_eq(in_figure("plot-messages", "mark point"), runs);
	ck_assert_uint_eq(in_figure("plot-bytes", "mark point"), runs);
	end();
}
END_TEST

START_TEST(test_live_and_varied)
{
	accepted("[{" OF ",\"nodes\":4,\"live\":true,\"vary\":{\"fault\":"
		 "\"none\"},"
		 "\"throughput_per_s\":322,\"client_ms\":{\"p50\":8.5},"
		 "\"calibration\":{\"load\":0.5}},"
		 "{" OF ",\"nodes\":4,\"vary\":{\"fault\":\"baseline\","
		 "\"loss_percent\":5,\"delay_ms\":[1,2]},\"consensus_time_ms\":{\"p50\":6,"
		 "\"p99\":30},"
		 "\"throughput_per_s\":100},"
		 "{\"protocol\":\"raft\",\"nodes\":4,\"scenario\":\"baseline\","
		 "\"throughput_per_s\":50},"
		 "{\"protocol\":\"hybrid\",\"nodes\":4,\"scenario\":\"beyond-f\","
		 "\"safety\":{\"conflicts\":3},\"expectations\":[{\"expect\":\"conflict\","
		 "\"holds\":true}],\"malicious\":[2,3]}]");
	draw();
	ck_assert_ptr_nonnull(strstr(page, "Raft, n=4: 322 transactions a second, clients wait "
					   "8.50 ms"));
	ck_assert_uint_eq(in_figure("plot-networks", "mark point"), 1);
	ck_assert_uint_eq(in_figure("plot-networks", "baseline, loss 5 %, delay 1 to 2 ms"), 1);
	ck_assert(!has_figure("plot-throughput")); /* another network is no fault */
	ck_assert_ptr_nonnull(
		strstr(page, "Of 1 control beyond what the protocol tolerates 1 forked"));
	ck_assert_ptr_null(
		strstr(page, "<em>1 of")); /* nothing that should not have happened */
	end();
}
END_TEST

/* ---- hostile text ------------------------------------------------------------------------ */

START_TEST(test_escapes)
{
	static const char evil[] =
		"</title><script>alert(1)</script>&\\\"'<!--]]>\\u0001\\uffff";
	char *text = mem_printf(
		"{\"scenario\":\"%s\",\"protocol\":\"%s\",\"repeat\":\"%s\",\"nodes\":4,"
		"\"consensus_time_ms\":{\"p50\":1},\"messages_per_decision\":1,"
		"\"transitions\":{\"%s->b\":1},\"calibration\":{\"%s\":1},"
		"\"safety\":{\"conflicts\":1},\"failover_ms\":3,\"progress_after_healing_ms\":"
		"1,"
		"\"windows\":[{\"at_ms\":0,\"decisions\":1},{\"at_ms\":1,\"decisions\":1}],"
		"\"fork\":{\"height\":1,\"hashes\":[\"%s\"],\"provable\":\"%s\","
		"\"certificates\":[{\"kind\":\"%s\",\"term\":1,\"height\":1}]},"
		"\"space_time\":{\"from_ms\":0,\"to_ms\":1,\"nodes\":1,\"why\":\"%s\","
		"\"events\":"
		"[{\"sent_ms\":0,\"received_ms\":1,\"from\":0,\"to\":0,\"type\":\"%s\"}],"
		"\"marks\":[{\"at_ms\":0,\"node\":0,\"text\":\"%s\"}]}}",
		evil, evil, evil, evil, evil, evil, evil, evil, evil, evil, evil);
	m.text[0] = 0;
	ck_assert_int_eq(report_read_text(&r, "d/<b>&\".json", slice_str(text), &m), ERR_NONE);
	draw();
	ck_assert_uint_eq(count(page, NULL, "<script>"), 1); /* ours */
	ck_assert_uint_ge(count(page, NULL, "&lt;script&gt;"), 8);
	ck_assert_ptr_null(strstr(page, "<b>"));
	mem_free(text);
	end();
}
END_TEST

START_TEST(test_csv)
{
	accepted(run);
	accepted("{\"scenario\":\"=cmd()\",\"protocol\":\"a,b\\\"c\\nd\"}");
	struct writer w = {0};
	report_csv(&w, &r);
	writer_u8(&w, 0);
	char *csv = (char *)w.buf, *line = strchr(csv, '\n');
	ck_assert_ptr_nonnull(line);
	unsigned columns = count(csv, line, ","), at = 0;
	ck_assert_uint_eq(columns + 1, 10 + 3 * REPORT_FIELDS + 1);
	char *end_of_row = strchr(line + 1, '\n');
	ck_assert_uint_eq(count(line, end_of_row, ","), columns);
	/* the column of a name holds its figure */
	for (char *name = csv; strncmp(name, "messages_per_decision,", 22) != 0; at++)
		name = strchr(name, ',') + 1;
	char *cell = line + 1;
	for (; at; at--)
		cell = strchr(cell, ',') + 1;
	ck_assert(strncmp(cell, "5.996,", 6) == 0);
	ck_assert_ptr_nonnull(strstr(end_of_row, "\"'=cmd()\""));
	ck_assert_ptr_nonnull(strstr(end_of_row, "\"a,b\"\"c\nd\""));
	writer_free(&w);
	end();
}
END_TEST

START_TEST(test_json_again)
{
	struct writer w = {0};
	accepted(run);
	accepted(base_run);
	report_json(&w, &r);
	struct report other = {0};
	ck_assert_int_eq(report_read_text(&other, "y.json", writer_slice(&w), &m), ERR_NONE);
	ck_assert_uint_eq(other.count, 2);
	for (unsigned f = 0; f < REPORT_FIELDS; f++)
		ck_assert(other.run[0].value[f] == r.run[0].value[f] ||
			  (isnan(other.run[0].value[f]) && isnan(r.run[0].value[f])));
	ck_assert_uint_eq(other.run[0].seed, r.run[0].seed);
	report_free(&other);
	writer_free(&w);
	end();
}
END_TEST

START_TEST(test_jsonl)
{
	char *text = mem_printf("%s\n\n%s\r\n", base_run, run);
	accepted(text);
	ck_assert_uint_eq(r.count, 2);
	ck_assert_str_eq(r.run[1].source, "x.json");
	mem_free(text);
	end();
}
END_TEST

/* Each truncation is refused; each flipped bit is refused or drawn, never worse. */
START_TEST(test_truncated_and_flipped)
{
	size_t len = strlen(run);
	struct errmsg error;
	char *copy = mem_strdup(run);
	for (size_t i = 0; i < len; i++) {
		ck_assert_int_ne(report_read_text(&r, "x.json", slice_of(run, i), &error), 0);
		ck_assert_ptr_nonnull(strstr(error.text, "x.json"));
	}
	end();
	for (size_t i = 0; i < len; i++)
		for (unsigned bit = 0; bit < 8; bit += 1 + i % 3) {
			copy[i] = (char)(run[i] ^ 1 << bit);
			if (!report_read_text(&r, "x.json", slice_of(copy, len), &error) &&
			    (i * 8 + bit) % 11 == 0)
				draw();
			copy[i] = run[i];
			end();
		}
	mem_free(copy);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("report");
	TCase *t = tcase_create("report");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_numbers);
	tcase_add_test(t, test_axes);
	tcase_add_test(t, test_refuses_what_is_wrong);
	tcase_add_test(t, test_limits);
	tcase_add_test(t, test_a_huge_file);
	tcase_add_test(t, test_draws_each_figure);
	tcase_add_test(t, test_leaves_out_what_was_not_measured);
	tcase_add_test(t, test_one_point_a_run);
	tcase_add_test(t, test_live_and_varied);
	tcase_add_test(t, test_escapes);
	tcase_add_test(t, test_csv);
	tcase_add_test(t, test_json_again);
	tcase_add_test(t, test_jsonl);
	tcase_add_test(t, test_truncated_and_flipped);
	suite_add_tcase(s, t);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
