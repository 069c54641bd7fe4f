/* Scenarios as text, runs as files, parts of runs, and delta debugging. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "tools/lab/ddmin.h"
#include "tools/lab/run_file.h"

static struct scenario s, again;
static struct errmsg m;

/* ---- ddmin ------------------------------------------------------------------------------- */

struct needed {
	uint32_t item[4];
	unsigned count, tests, most; /* most: stop after so many; 0: never */
};

static bool has_needed(void *ctx, const uint32_t *items, uint32_t count)
{
	struct needed *x = ctx;
	x->tests++;
	ck_assert_uint_gt(count, 0);
	for (uint32_t i = 1; i < count; i++)
		ck_assert_uint_lt(items[i - 1], items[i]);
	for (unsigned k = 0; k < x->count; k++) {
		bool found = false;
		for (uint32_t i = 0; i < count; i++)
			found |= items[i] == x->item[k];
		if (!found)
			return false;
	}
	return true;
}

static bool enough(void *ctx)
{
	const struct needed *x = ctx;
	return x->most && x->tests >= x->most;
}

static uint32_t minimise(struct needed *x, uint32_t *items, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		items[i] = i;
	x->tests = 0;
	return ddmin(items, count, has_needed, enough, x);
}

START_TEST(test_ddmin_finds_what_is_needed)
{
	uint32_t items[1000];
	struct needed x = {.item = {3, 500, 998}, .count = 3};
	ck_assert_uint_eq(minimise(&x, items, 1000), 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(items[i], x.item[i]);
	ck_assert_uint_lt(x.tests, 300);
	/* the example of the paper's figure 2: 1, 7 and 8 of 8 */
	x = (struct needed){.item = {0, 6, 7}, .count = 3};
	ck_assert_uint_eq(minimise(&x, items, 8), 3);
	x = (struct needed){.count = 0}; /* any one item */
	ck_assert_uint_eq(minimise(&x, items, 77), 1);
	x = (struct needed){.item = {0}, .count = 1};
	ck_assert_uint_eq(minimise(&x, items, 1), 1);
	ck_assert_uint_eq(minimise(&x, items, 0), 0);
	x = (struct needed){.item = {0, 1, 2, 3}, .count = 4}; /* nothing can go */
	ck_assert_uint_eq(minimise(&x, items, 4), 4);
}
END_TEST

/* Stopped anywhere, what is left still fails. */
START_TEST(test_ddmin_keeps_the_best)
{
	uint32_t items[200];
	for (unsigned most = 1; most < 60; most++) {
		struct needed x = {.item = {11, 150}, .count = 2, .most = most};
		uint32_t left = minimise(&x, items, 200);
		ck_assert_uint_ge(left, 2);
		ck_assert_uint_le(x.tests, most);
		ck_assert(has_needed(&x, items, left));
	}
}
END_TEST

/* ---- scenarios as text ------------------------------------------------------------------- */

static int parse(const char *text)
{
	m.text[0] = 0;
	return scenario_parse(&s, "x.scenario", text, &m);
}

static void refused(const char *text, const char *says)
{
	ck_assert_msg(parse(text) != ERR_NONE, "accepted: %s", text);
	ck_assert_msg(strstr(m.text, says) != NULL, "\"%s\" is not in: %s", says, m.text);
	ck_assert_msg(strncmp(m.text, "x.scenario:3: ", 14) == 0, "no line: %s", m.text);
}

/* s as text reads as s. */
static void round_trip(const char *what)
{
	char *text = scenario_text(&s);
	ck_assert_msg(scenario_parse(&again, "again", text, &m) == ERR_NONE, "%s: %s\n%s", what,
		      m.text, text);
	for (unsigned i = 0; i < s.script.count; i++)
		s.script.action[i].line = again.script.action[i].line;
	memset(s.name, 0, sizeof s.name);
	memset(s.path, 0, sizeof s.path);
	ck_assert_msg(memcmp(&s, &again, sizeof s) == 0, "%s has become:\n%s", what, text);
	char *twice = scenario_text(&again);
	ck_assert_str_eq(text, twice);
	mem_free(text);
	mem_free(twice);
}

START_TEST(test_the_library_prints)
{
	static char names[SCENARIO_FILES_MAX][SCENARIO_NAME_MAX];
	setenv("OSTRAKON_SCENARIOS", SCENARIOS, 1);
	unsigned count = scenario_list(names);
	ck_assert_uint_ge(count, 30);
	for (unsigned i = 0; i < count; i++) {
		ck_assert_msg(scenario_read(&s, names[i], &m) == ERR_NONE, "%s", m.text);
		round_trip(names[i]);
	}
}
END_TEST

#define HEAD "summary a\nexpect progress\n"

START_TEST(test_all_words_print)
{
	ck_assert_int_eq(
		parse(HEAD
		      "describe One.\ndescribe Two.\nnodes 9\nprotocol raft\n"
		      "seed 9223372036854775807\nprobation 3\ncorrupt f+1\nattacks drip\n"
		      "who moods\ntargets one\nfaults storm only 2,5-7,8,100\n"
		      "strikes optional\nstrikes only 1,3-4\nstrikes only 5,4294967294\n"
		      "lose node2 to node1 7-9,20\nlose node1 to node9 1\n"
		      "network delay 0ms..1500us loss 0.3%\nclients 0 think 250us\n"
		      "decisions 1\nduration 1001us\nonly sim\n"
		      "at 1ms crash node1,node9 for 2s\nat 0s restart node1\n"
		      "after 7 pause malicious for 10ms\nwhen leader tear half\n"
		      "at 1s partition minority\nat 1s partition "
		      "node1,node2|node2,node3|node4\n"
		      "at 1s isolate leader\nat 2s deafen followers for 1us\nat 2s mute "
		      "honest\n"
		      "at 3s heal\nat 3s delay 5ms\nat 3s delay 5ms..50ms for 1s\n"
		      "at 3s loss 10%\nat 4s duplicate 0.1%\nat 4s reorder\n"
		      "at 5s disk all 200ms\nat 5s clock node3 ahead 20s\n"
		      "at 5s clock node3 behind 1ms\nat 5s attack silent drip for 1s\n"
		      "at 6s slow node2 1ms..2ms for 1s\nat 6s throttle leader 1.5kB for 1s\n"
		      "at 6s reset all\nat 6s fill all for 1s\n"
		      "at 6s wipe malicious for 1s\nat 6s attack all\nat 6s peace\nat 6s quiet "
		      "for 2s\nat "
		      "9s load\n"
		      "expect   progress  within   2s  \nexpect no-conflict\nexpect conflict\n"
		      "expect innocent\nexpect convicted 2\nexpect culprits f+1\n"
		      "expect mode-change slow\nexpect return-to-fast\nexpect one-term\n"
		      "expect availability 50%\nexpect failover within 2s\n"
		      "expect evidence votes\nexpect counts lone\n"),
		ERR_NONE);
	ck_assert_str_eq(s.expect[1].text, "progress within 2s");
	ck_assert_uint_eq(s.strikes.count, 3); /* 4 and 5 are neighbours */
	ck_assert_uint_eq(s.losses.count, 5);
	ck_assert(losses_have(&s.losses, 0, 8, 1) && losses_have(&s.losses, 1, 0, 8));
	ck_assert(!losses_have(&s.losses, 0, 8, 2) && !losses_have(&s.losses, 1, 0, 10));
	ck_assert(occurs(&s.faults, 5) && occurs(&s.faults, 8) && !occurs(&s.faults, 9));
	ck_assert_ptr_null(scenario_expects(&s, EXPECT_STRUCK));
	round_trip("every word");
}
END_TEST

START_TEST(test_lists_of_numbers)
{
	refused(HEAD "strikes only\n", "which ones");
	refused(HEAD "strikes sometimes\n", "optional");
	refused(HEAD "strikes only 0\n", "from 1 on");
	refused(HEAD "strikes only 3,\n", "from 1 on");
	refused(HEAD "strikes only ,3\n", "from 1 on");
	refused(HEAD "strikes only 3,x\n", "from 1 on");
	refused(HEAD "strikes only 3-\n", "from 1 on");
	refused(HEAD "strikes only 7-3\n", "from 1 on");
	refused(HEAD "strikes only -3\n", "from 1 on");
	refused(HEAD "strikes only 4294967295\n", "from 1 on");
	refused(HEAD "strikes only 99999999999999999999\n", "from 1 on");
	refused(HEAD "strikes only 3,3\n", "not above");
	refused(HEAD "strikes only 5,3\n", "not above");
	refused(HEAD "strikes only 5 6\n", "one word too many");
	refused(HEAD "faults none only 5\n", "one word too many");
	refused(HEAD "lose node1 node2 3\n", "lose node1 to node2");
	refused(HEAD "lose node0 to node2 3\n", "lose node1 to node2");
	refused(HEAD "lose node1 to node65 3\n", "lose node1 to node2");
	refused(HEAD "lose node1 to node2\n", "which of its messages");
	refused(HEAD "lose node1 to node2 3,3\n", "twice");
	refused(HEAD "lose node1 to node2 1-4000000000\n", "lost messages");
	refused(HEAD "seed 9223372036854775808\n", "a number from");
	refused(HEAD "probation 0\n", "a number from");
	refused(HEAD "describe \033[2J\n", "control character");
}
END_TEST

/* ---- parts of runs ----------------------------------------------------------------------- */

static struct sim_result whole, part;
static struct sim_record record;
static struct sim_options so;

static void run(struct sim_result *r)
{
	scenario_options(&so, &s, s.protocol, s.nodes, 7);
	sim_run(&so, r);
}

/* All of a run's parts are the run, and the numbers do not depend on being counted. */
START_TEST(test_all_parts_are_the_whole)
{
	ck_assert_int_eq(parse(HEAD "corrupt f\nattacks equivocate slow replay double-vote\n"
				    "who moods\nfaults storm\ndecisions 60\n"),
			 ERR_NONE);
	run(&whole);
	memset(&record, 0, sizeof record);
	scenario_options(&so, &s, s.protocol, s.nodes, 7);
	so.record = &record;
	sim_run(&so, &part);
	ck_assert(hash_equal(&whole.trace_hash, &part.trace_hash));
	ck_assert_uint_gt(record.faults.count, 0);
	ck_assert_uint_gt(record.strikes.count, 0);
	s.part_of_storm = s.part_of_strikes = true;
	s.faults = record.faults;
	s.strikes = (struct occurrences){.count = 1, .range = {{1, record.moments}}};
	run(&part);
	ck_assert(hash_equal(&whole.trace_hash, &part.trace_hash));
	/* far beyond: this run may well have more moments than the other */
	s.strikes.range[0] =
		(struct occurrence_range){100 * record.moments, 100 * record.moments};
	run(&part);
	ck_assert(!hash_equal(&whole.trace_hash, &part.trace_hash));
	for (unsigned a = 0; a < ATTACKS; a++)
		ck_assert_uint_eq(part.strikes[a], 0);
	s.faults = (struct occurrences){.count = 1, .range = {{1000000, 1000000}}};
	run(&part);
	ck_assert_uint_eq(part.crashes + part.partitions, 0);
	ck_assert_uint_gt(whole.crashes + whole.partitions, 0);
}
END_TEST

static int by_link(const void *a, const void *b)
{
	return loss_compare(a, b);
}

/* The same messages lost by name as by chance: the same run. */
START_TEST(test_losses_by_number)
{
	ck_assert_int_eq(parse(HEAD "network loss 3%\ndecisions 60\n"), ERR_NONE);
	memset(&record, 0, sizeof record);
	scenario_options(&so, &s, s.protocol, s.nodes, 7);
	so.record = &record;
	sim_run(&so, &whole);
	ck_assert(record.losses.count > 5 && !record.losses.more);
	s.losses = record.losses;
	qsort(s.losses.loss, s.losses.count, sizeof s.losses.loss[0], by_link);
	s.loss_per_mille = 0;
	/* chance took some after the faults' end too, when there is no loss any more */
	run(&part);
	ck_assert(hash_equal(&whole.trace_hash, &part.trace_hash));
	s.losses.count--;
	run(&part);
	ck_assert(!hash_equal(&whole.trace_hash, &part.trace_hash));
}
END_TEST

/* ---- run files --------------------------------------------------------------------------- */

static struct run_file file, other;

static char *made(void)
{
	ck_assert_int_eq(parse(HEAD "describe Two\ndescribe lines.\nexpect conflict\n"
				    "nodes 5\nat 1s crash leader for 1s\ndecisions 20\n"),
			 ERR_NONE);
	snprintf(s.name, sizeof s.name, "made");
	run(&whole);
	run_file_of(&file, &s, &so, &whole);
	return run_file_text(&file);
}

static void run_refused(const char *text, const char *says)
{
	m.text[0] = 0;
	ck_assert_msg(run_file_parse(&other, "x.run", text, &m) != ERR_NONE, "accepted: %s",
		      text);
	ck_assert_msg(strstr(m.text, says) != NULL, "\"%s\" is not in: %s", says, m.text);
	ck_assert_msg(strncmp(m.text, "x.run:", 6) == 0 && m.text[6] >= '1' && m.text[6] <= '9',
		      "no line: %s", m.text);
}

START_TEST(test_run_file_round_trip)
{
	char *text = made();
	ck_assert(run_file_is(text) && !run_file_is(text + 1));
	ck_assert_msg(run_file_parse(&other, "x.run", text, &m) == ERR_NONE, "%s", m.text);
	ck_assert_str_eq(other.scenario.name, "made");
	ck_assert_uint_eq(other.scenario.seed, 7);
	ck_assert_uint_eq(other.scenario.nodes, 5);
	ck_assert(hash_equal(&other.trace, &whole.trace_hash));
	ck_assert_uint_eq(other.broken, 2); /* there was no conflict */
	ck_assert_uint_eq(other.decisions, whole.decisions);
	char *twice = run_file_text(&other);
	ck_assert_str_eq(text, twice);
	mem_free(twice);
	/* its run is the run */
	s = other.scenario;
	run(&part);
	ck_assert(hash_equal(&part.trace_hash, &whole.trace_hash));
	mem_free(text);
}
END_TEST

/* A violation's words come back, and control characters in them do not. */
START_TEST(test_run_file_violation)
{
	mem_free(made());
	whole.verdict = SIM_SAFETY;
	snprintf(whole.text, sizeof whole.text, "at 1.000 s: [S4]\n\033[31mfork");
	run_file_of(&file, &s, &so, &whole);
	file.mutant = 2;
	char *text = run_file_text(&file);
	ck_assert_msg(run_file_parse(&other, "x.run", text, &m) == ERR_NONE, "%s", m.text);
	ck_assert_str_eq(other.says, "at 1.000 s: [S4]  [31mfork");
	ck_assert_int_eq(other.verdict, SIM_SAFETY);
	ck_assert_uint_eq(other.mutant, 2);
	mem_free(text);
	/* real processes: no trace */
	so.live = true;
	run_file_of(&file, &s, &so, &whole);
	text = run_file_text(&file);
	ck_assert_ptr_null(strstr(text, "trace"));
	ck_assert_msg(run_file_parse(&other, "x.run", text, &m) == ERR_NONE, "%s", m.text);
	ck_assert(other.live);
	mem_free(text);
}
END_TEST

START_TEST(test_run_file_truncated_or_changed)
{
	char *text = made();
	size_t len = strlen(text);
	for (size_t i = 0; i < len; i++) {
		char *cut = mem_strdup(text);
		cut[i] = 0;
		run_refused(cut, i < strlen("ostrakon-lab run 1\n") ? "no run file" : "");
		mem_free(cut);
	}
	for (size_t i = 0; i < len; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			text[i] ^= (char)(1 << bit);
			run_refused(text, "");
			text[i] ^= (char)(1 << bit);
		}
	char *more = mem_printf("%sat 1s heal\n", text);
	run_refused(more, "cut off or added");
	mem_free(more);
	more = mem_printf("%s%s", text, text);
	run_refused(more, "");
	mem_free(more);
	mem_free(text);
}
END_TEST

/* text with `old` replaced by `new`, and a hash that fits: somebody who means it. */
static char *sealed(const char *text, const char *old, const char *new)
{
	const char *at = strstr(text, old), *end = strstr(text, "\nend ") + 1;
	struct hash h;
	char hex[HASH_HEX_SIZE];
	ck_assert(at && at < end);
	char *body = mem_printf("%.*s%s%.*s", (int)(at - text), text, new,
				(int)(end - at - (ptrdiff_t)strlen(old)), at + strlen(old));
	sha256(&h, body, strlen(body));
	char *out = mem_printf("%send %s\n", body, hash_hex(hex, &h));
	mem_free(body);
	return out;
}

START_TEST(test_run_file_hostile)
{
	static const struct {
		const char *old, *new, *says;
	} cases[] = {
		{"nodes 5\nseed", "nodes 65\nseed", "x.run:6: a number from 1 to 64"},
		{"nodes 5\nseed", "nodes 6\nseed", "not those of the scenario"},
		{"seed 7\n", "seed 8\n", "not those of the scenario"},
		{"seed 7\n", "seed 9223372036854775808\n", "x.run:7: a number"},
		{"seed 7\n", "", "\"seed\" is missing"},
		{"seed 7\n", "seed 7\nseed 7\n", "x.run:8: \"seed\" for the second time"},
		{"seed 7\n", "sead 7\n", "did you mean \"seed\""},
		{"seed 7\n", "seed 7 8\n", "one word too many"},
		{"seed 7\n", "seed\n", "x.run:7: a number"},
		{"version ", "version ../", "not made of letters"},
		{"scenario made", "scenario ../../etc/passwd", "not made of letters"},
		{"scenario made", "scenario", "a word of at most"},
		{"world sim", "world moon", "there is no world"},
		{"protocol hybrid\n", "protocol paxos\n", "the name of a protocol"},
		{"protocol hybrid\nnodes 5\ns", "protocol pbft\nnodes 5\ns",
		 "not those of the"},
		{"trace ", "trace 00", "64 hex digits"},
		{"verdict ok", "verdict fine", "there is no verdict"},
		{"broken conflict", "broken peace", "\"peace\" is not expected"},
		{"decisions ", "decisions -", "a number from"},
		{"\n\nsummary", "\nsummary", "there is no key of run files \"summary\""},
		{"nodes     5", "nodes     5\nseed      7\nnodes     4", "not those of the"},
		{"at        1s crash", "at        1s crush", "did you mean \"crash\""},
		{"corrupt   0", "corrupt   6", "more malicious replicas than nodes"},
		{"Two", "\033[2J", "a byte 27"},
	};
	char *text = made();
	for (unsigned i = 0; i < MEM_COUNT(cases); i++) {
		char *bad = sealed(text, cases[i].old, cases[i].new);
		run_refused(bad, cases[i].says);
		mem_free(bad);
	}
	/* the line is that of the file */
	char *bad = sealed(text, "describe  lines.\n", "describe  lines.\nfoo\n");
	run_refused(bad, "x.run:17: ");
	mem_free(bad);
	char *long_line = mem_alloc(70000);
	memset(long_line, 'x', 69999);
	long_line[69999] = 0;
	bad = sealed(text, "version ", long_line);
	run_refused(bad, "too long");
	mem_free(bad);
	mem_free(long_line);
	/* nothing was wrong but that */
	char *good = sealed(text, "seed 7", "seed 7");
	ck_assert_str_eq(good, text);
	mem_free(good);
	mem_free(text);
}
END_TEST

START_TEST(test_saving)
{
	char dir[] = "/tmp/ostrakon-check-run.XXXXXX", a[256], b[256], c[256];
	ck_assert_ptr_nonnull(mkdtemp(dir));
	char *text = made();
	ck_assert_int_eq(run_file_save(&file, dir, a, sizeof a, &m), ERR_NONE);
	ck_assert_ptr_nonnull(strstr(a, "/made-hybrid-n5-s7.run"));
	ck_assert_int_eq(run_file_save(&file, dir, b, sizeof b, &m), ERR_NONE);
	ck_assert_str_eq(a, b); /* the same run */
	file.decisions++;
	ck_assert_int_eq(run_file_save(&file, dir, c, sizeof c, &m), ERR_NONE);
	ck_assert_ptr_nonnull(strstr(c, "/made-hybrid-n5-s7-2.run"));
	ck_assert_int_eq(file_create(a, "x", &m), ERR_EXISTS);
	ck_assert_int_eq(run_file_read(&other, a, &m), ERR_NONE);
	ck_assert_uint_eq(other.decisions + 1, file.decisions);
	ck_assert_int_eq(scenario_read(&again, a, &m), ERR_NONE); /* as a scenario */
	ck_assert_str_eq(again.name, "made");
	ck_assert_uint_eq(again.seed, 7);
	ck_assert_int_eq(run_file_save(&file, "/nonexistent", b, sizeof b, &m), ERR_IO);
	ck_assert_int_ne(run_file_read(&other, dir, &m), ERR_NONE);
	unlink(a);
	unlink(c);
	rmdir(dir);
	mem_free(text);
}
END_TEST

int main(void)
{
	crypto_init();
	Suite *suite = suite_create("runs");
	TCase *t = tcase_create("runs");
	tcase_set_timeout(t, 300);
	tcase_add_test(t, test_ddmin_finds_what_is_needed);
	tcase_add_test(t, test_ddmin_keeps_the_best);
	tcase_add_test(t, test_the_library_prints);
	tcase_add_test(t, test_all_words_print);
	tcase_add_test(t, test_lists_of_numbers);
	tcase_add_test(t, test_all_parts_are_the_whole);
	tcase_add_test(t, test_losses_by_number);
	tcase_add_test(t, test_run_file_round_trip);
	tcase_add_test(t, test_run_file_violation);
	tcase_add_test(t, test_run_file_truncated_or_changed);
	tcase_add_test(t, test_run_file_hostile);
	tcase_add_test(t, test_saving);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
