/* Counts against theory, and what else a measured run says of itself. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/hybrid/message.h"
#include "tests/share.h"
#include "tools/lab/result.h"
#include "tools/lab/theory.h"

static const enum protocol protocols[] = {PROTOCOL_MULTIPAXOS, PROTOCOL_RAFT, PROTOCOL_PBFT,
					  PROTOCOL_HYBRID};
static const unsigned sizes[] = {4, 7, 10, 16};

static struct sim_result r;
static struct sim_measures m;
static struct scenario s;

static struct sim_options steady(enum protocol p, unsigned n)
{
	return (struct sim_options){.nodes = n,
				    .seed = 3,
				    .decisions = 1000,
				    .clients = 40,
				    .scheme = SIG_SYMBOLIC,
				    .protocol = p,
				    .calm = true,
				    .measure = &m,
				    .warm_up = 100};
}

static struct sim_options lone(enum protocol p, unsigned n)
{
	struct sim_options o = steady(p, n);
	o.clients = 1;
	o.decisions = 200;
	o.warm_up = 20;
	return o;
}

static void run(const struct sim_options *o)
{
	sim_run(o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
}

/* ---- theory ------------------------------------------------------------------------------ */

START_TEST(test_the_table_of_the_documents)
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned n = sizes[i];
		double star = 2.0 * (n - 1);
		ck_assert_double_eq(theory_pipelined(PROTOCOL_MULTIPAXOS, n, 0), star);
		ck_assert_double_eq(theory_pipelined(PROTOCOL_RAFT, n, 0), star);
		ck_assert_double_eq(theory_pipelined(PROTOCOL_HYBRID, n, 0), star);
		ck_assert_double_eq(theory_pipelined(PROTOCOL_PBFT, n, 0), 2.0 * n * (n - 1));
		ck_assert_double_eq(theory_pipelined(PROTOCOL_PBFT, n, 1),
				    2.0 * (n - 1) * (n - 1));
		ck_assert_double_eq(theory_lone(PROTOCOL_RAFT, n, 0), 3.0 * (n - 1));
		ck_assert_double_eq(theory_lone(PROTOCOL_HYBRID, n, 0), 3.0 * (n - 1));
		ck_assert_double_eq(theory_lone(PROTOCOL_PBFT, n, 0), 2.0 * n * (n - 1));
		ck_assert_double_eq(theory_leader_change(PROTOCOL_RAFT, n, 0), 4.0 * (n - 1));
		ck_assert_double_eq(theory_leader_change(PROTOCOL_MULTIPAXOS, n, 0), star);
		ck_assert_double_eq(theory_leader_change(PROTOCOL_PBFT, n, 1), (n - 1.0) * n);
	}
	/* n=7, two silent: no one-round quorum of 6 */
	ck_assert_double_eq(theory_lone(PROTOCOL_HYBRID, 7, 2), 5.0 * 6 - 2 * 2);
	ck_assert_double_eq(theory_lone(PROTOCOL_HYBRID, 7, 1), 3.0 * 6 - 1);
}
END_TEST

/* ---- counts ------------------------------------------------------------------------------ */

START_TEST(test_steady_state)
{
	struct sim_options o = steady(protocols[_i % 4], sizes[_i / 4]);
	run(&o);
	ck_assert_uint_ge(r.decisions, 1000);
	ck_assert_msg(result_counts_hold(&o, &r, false), "%s, n=%u: %llu normal, %llu blocks",
		      protocol_name(o.protocol), o.nodes,
		      (unsigned long long)m.phase[PHASE_NORMAL],
		      (unsigned long long)r.decisions);
	ck_assert_uint_eq(m.phase[PHASE_LEADER_CHANGE], 0);
	ck_assert_uint_eq(m.phase[PHASE_ESCALATION], 0);
	ck_assert_uint_eq(m.phase[PHASE_REPAIR], 0);
}
END_TEST

START_TEST(test_lone_blocks)
{
	struct sim_options o = lone(protocols[_i % 4], sizes[_i / 4]);
	run(&o);
	ck_assert_msg(result_counts_hold(&o, &r, true), "%s, n=%u: %llu and %llu, %llu blocks",
		      protocol_name(o.protocol), o.nodes,
		      (unsigned long long)m.phase[PHASE_NORMAL],
		      (unsigned long long)m.phase[PHASE_CERTIFICATE],
		      (unsigned long long)r.decisions);
	if (o.protocol != PROTOCOL_PBFT)
		ck_assert(!result_counts_hold(&o, &r, false) || m.phase[PHASE_CERTIFICATE] > 0);
}
END_TEST

START_TEST(test_silent_replicas)
{
	struct sim_options o = steady(protocols[_i], 7);
	o.dead = 1;
	o.decisions = 200;
	run(&o);
	ck_assert(result_counts_hold(&o, &r, false));
	o = lone(protocols[_i], 7);
	o.dead = 2; /* hybrid: two rounds */
	o.decisions = 60;
	run(&o);
	ck_assert_msg(result_counts_hold(&o, &r, true), "%s: %llu and %llu, %llu blocks",
		      protocol_name(o.protocol), (unsigned long long)m.phase[PHASE_NORMAL],
		      (unsigned long long)m.phase[PHASE_CERTIFICATE],
		      (unsigned long long)r.decisions);
}
END_TEST

START_TEST(test_one_needless_message_fails)
{
	struct sim_options o = steady(protocols[_i], 4);
	struct errmsg e;
	struct lab_total *t = calloc(1, sizeof *t);
	ck_assert_int_eq(scenario_parse(&s, "x", "summary a\nexpect counts\n", &e), ERR_NONE);
	o.warm_up = 10;
	o.decisions = 300;
	run(&o);
	result_add(t, &s, &o, &r, 0);
	ck_assert_uint_eq(t->bad_runs, 0);
	o.inject = 1;
	run(&o);
	ck_assert(!result_counts_hold(&o, &r, false));
	result_add(t, &s, &o, &r, 0);
	ck_assert_uint_eq(t->bad_runs, 1);
	result_free(t);
	free(t);
}
END_TEST

/* ---- what is measured agrees with itself ------------------------------------------------- */

static uint64_t sum(const uint64_t *v, size_t n)
{
	uint64_t total = 0;
	while (n-- > 0)
		total += v[n];
	return total;
}

/* Those that go on when the leader crashes. */
static struct sim_options crash(enum protocol p, struct script *script)
{
	*script = (struct script){.count = 1,
				  .action = {{.trigger = TRIGGER_TIME,
					      .at = 2000000,
					      .kind = SCRIPT_CRASH,
					      .who = SCRIPT_LEADER,
					      .for_us = 2000000}}};
	return (struct sim_options){.nodes = 4,
				    .seed = 5,
				    .decisions = 100,
				    .duration_us = 6000000,
				    .clients = 4,
				    .scheme = SIG_SYMBOLIC,
				    .protocol = p,
				    .gentle = true,
				    .script = script,
				    .measure = &m};
}

static void check_sums(void)
{
	ck_assert_uint_eq(sum(m.phase, PHASES), sum(r.messages, ENGINE_MESSAGE_TYPES));
	ck_assert_uint_eq(sum(m.bytes_by_type, ENGINE_MESSAGE_TYPES), r.bytes);
}

START_TEST(test_sums)
{
	struct sim_options o = steady(protocols[_i], 4);
	struct script script;
	o.decisions = 200;
	run(&o);
	check_sums();
	ck_assert_uint_eq(m.leader.count, r.decisions);
	ck_assert_uint_eq(m.all.count, r.decisions);
	ck_assert_uint_eq(m.client.count, r.acknowledged);
	o = crash(protocols[_i], &script);
	run(&o);
	check_sums();
	uint64_t in_windows = 0;
	for (uint32_t i = 0; i < m.windows; i++)
		in_windows += m.window[i];
	ck_assert_uint_eq(in_windows, r.decisions);
}
END_TEST

START_TEST(test_measuring_changes_nothing)
{
	struct script script;
	struct sim_options o = crash(protocols[_i], &script);
	run(&o);
	struct hash log = r.log_hash, trace = r.trace_hash;
	o.measure = NULL;
	run(&o);
	ck_assert(hash_equal(&log, &r.log_hash));
	ck_assert(hash_equal(&trace, &r.trace_hash));
}
END_TEST

static uint64_t transitions(const char *name)
{
	for (uint32_t i = 0; i < m.transition_count; i++)
		if (strcmp(m.transition[i].name, name) == 0)
			return m.transition[i].count;
	return 0;
}

START_TEST(test_failover_is_split)
{
	struct script script;
	struct sim_options o = crash(protocols[_i], &script);
	run(&o);
	const struct measure_failover *f = &m.failover;
	ck_assert_uint_ne(f->detection, MEASURE_NEVER);
	ck_assert_uint_ne(f->backlog, MEASURE_NEVER);
	ck_assert_uint_eq(f->detection + f->election + f->first_commit, r.failover_us);
	/* nobody asks before the shortest timeout has passed since the last heartbeat */
	ck_assert_uint_gt(f->detection, 200000);
	ck_assert_uint_eq(transitions("leader->down"), 1);
	/* the primary of a pbft term is that by its number */
	ck_assert_uint_eq(transitions("down->follower") + transitions("down->leader"), 1);
	/* at least what a change that succeeds at once needs */
	ck_assert(m.failover_messages >= theory_leader_change(o.protocol, o.nodes, 1));
}
END_TEST

START_TEST(test_a_window_for_a_diagram)
{
	struct script script;
	struct sim_options o = crash(protocols[_i], &script);
	run(&o);
	ck_assert_int_eq(m.moment, MOMENT_LEADER_LOST);
	ck_assert_uint_le(m.event_count, MEASURE_EVENTS_MAX);
	ck_assert_uint_gt(m.event_count, 100);
	unsigned received = 0, marked = 0;
	for (uint32_t i = 0; i < m.event_count; i++) {
		const struct measure_event *e = &m.event[i];
		ck_assert(i == 0 || e->sent >= m.event[i - 1].sent);
		ck_assert(e->from < o.nodes && e->to < o.nodes && e->from != e->to);
		ck_assert_str_ne(engine_message_name(e->type), "unknown");
		received += e->received != MEASURE_NEVER;
		ck_assert(e->received > e->sent);
	}
	ck_assert_uint_gt(received, m.event_count / 2);
	ck_assert_uint_lt(received, m.event_count); /* some went to the dead */
	for (uint32_t i = 0; i < m.mark_count; i++)
		marked += strcmp(m.mark[i].text, "leader lost") == 0;
	ck_assert_uint_eq(marked, 1);
}
END_TEST

/* Windows widen when there are too many of them; no decision is lost. */
START_TEST(test_long_runs_have_wider_windows)
{
	struct sim_options o = lone(PROTOCOL_RAFT, 4);
	o.warm_up = 0;
	o.calm = false;
	o.gentle = true;
	o.duration_us = 150000000;
	o.think_us = 2000000;
	o.decisions = 10;
	run(&o);
	uint64_t decisions = 0;
	ck_assert_uint_gt(m.window_us, 100000);
	ck_assert_uint_le(m.windows, MEASURE_WINDOWS_MAX);
	for (uint32_t i = 0; i < m.windows; i++)
		decisions += m.window[i];
	ck_assert_uint_eq(decisions, r.decisions);
}
END_TEST

/* ---- scenarios --------------------------------------------------------------------------- */

START_TEST(test_words_of_scenarios)
{
	struct errmsg e;
	ck_assert_int_eq(scenario_parse(&s, "x",
					"summary a\nfaults calm\nsilent 2\nwarm-up 30\n"
					"expect counts\nexpect counts lone\n",
					&e),
			 ERR_NONE);
	ck_assert(s.calm && !s.storm);
	ck_assert_uint_eq(s.silent, 2);
	ck_assert_uint_eq(s.warm_up, 30);
	ck_assert_uint_eq(s.expect_count, 2);
	ck_assert(!s.expect[0].value && s.expect[1].value);
	static const char *const wrong[] = {"silent 65", "silent", "warm-up 0", "faults quiet",
					    "expect counts alone"};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		char text[128];
		snprintf(text, sizeof text, "summary a\nexpect counts\n%s\n", wrong[i]);
		ck_assert_msg(scenario_parse(&s, "x", text, &e) != ERR_NONE, "%s", wrong[i]);
		ck_assert_ptr_nonnull(strstr(e.text, "x:3:"));
	}
}
END_TEST

/* ---- JSON -------------------------------------------------------------------------------- */

static double number_at(const struct json *x, const char *name)
{
	double v = -1;
	ck_assert_msg(json_as_real(json_get(x, name), &v) == ERR_NONE, "%s is no number", name);
	return v;
}

static double sum_of(const struct json *object)
{
	double total = 0;
	for (size_t i = 0; i < json_len(object); i++)
		total += number_at(object, json_key_at(object, i));
	return total;
}

static struct json *json_of(const struct sim_options *o, unsigned runs)
{
	struct errmsg e;
	struct lab_total *t = calloc(1, sizeof *t);
	struct sim_options so = *o;
	ck_assert_int_eq(scenario_parse(&s, "x", "summary a\nexpect no-conflict\n", &e),
			 ERR_NONE);
	for (; runs > 0; runs--, so.seed++) {
		run(&so);
		result_add(t, &s, &so, &r, 0);
	}
	struct json *x = result_json(&s, o, t);
	result_free(t);
	free(t);
	return x;
}

START_TEST(test_fields)
{
	static const char *const present[] = {"scenario",
					      "protocol",
					      "nodes",
					      "seed",
					      "decisions",
					      "safety",
					      "liveness",
					      "consensus_time_ms",
					      "messages_per_decision",
					      "bytes_per_decision",
					      "theory_messages_per_decision",
					      "authenticators_per_decision",
					      "by_type",
					      "mode_changes",
					      "evidence",
					      "convicted",
					      "accused_innocent",
					      "availability",
					      "failover_ms",
					      "wall_s",
					      "virtual_s",
					      "by_phase",
					      "bytes_by_type",
					      "authenticators",
					      "throughput_per_s",
					      "windows",
					      "window_ms",
					      "client_ms",
					      "failover",
					      "transitions",
					      "fork",
					      "space_time",
					      "live",
					      "repeat"};
	struct script script;
	struct sim_options o = crash(protocols[_i], &script);
	struct json *x = json_of(&o, 1);
	for (size_t i = 0; i < sizeof present / sizeof *present; i++)
		ck_assert_msg(json_get(x, present[i]) != NULL, "%s is missing", present[i]);
	const struct json *authenticators = json_get(x, "authenticators"),
			  *failover = json_get(x, "failover"),
			  *diagram = json_get(x, "space_time");
	ck_assert_double_eq_tol(number_at(authenticators, "signed") +
					number_at(authenticators, "verified"),
				number_at(x, "authenticators_per_decision"), 1e-9);
	ck_assert_double_eq_tol(number_at(failover, "detection_ms") +
					number_at(failover, "election_ms") +
					number_at(failover, "first_commit_ms"),
				number_at(x, "failover_ms"), 1e-6);
	ck_assert(json_is_null(json_get(x, "fork")));
	ck_assert_uint_gt(json_len(json_get(diagram, "events")), 0);
	ck_assert_double_ge(number_at(diagram, "to_ms"), number_at(diagram, "from_ms"));
	json_free(x);
}
END_TEST

/* sum(by_type)/decisions is messages_per_decision, of one run and of several. */
START_TEST(test_types_add_up)
{
	struct sim_options o = steady(protocols[_i], 4);
	o.decisions = 150;
	for (unsigned runs = 1; runs <= 2; runs++) {
		struct json *x = json_of(&o, runs);
		double decisions = number_at(x, "decisions"),
		       count = number_at(x, "messages_per_decision");
		ck_assert_double_eq_tol(sum_of(json_get(x, "by_type")) / decisions, count,
					1e-9);
		ck_assert_double_eq(count, theory_pipelined(o.protocol, 4, 0));
		ck_assert_double_eq_tol(sum_of(json_get(x, "by_phase")) * decisions,
					sum_of(json_get(x, "by_type")) +
						sum_of(json_get(x, "other_by_type")),
					1e-3);
		ck_assert_double_eq_tol(sum_of(json_get(x, "bytes_by_type")) / decisions,
					number_at(x, "bytes_per_decision"), 1e-6);
		json_free(x);
	}
}
END_TEST

int main(void)
{
	crypto_init();
	Suite *suite = suite_create("compare");
	TCase *t = tcase_create("measures");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_the_table_of_the_documents);
	tcase_add_loop_test(t, test_steady_state, 0, (int)share(16));
	tcase_add_loop_test(t, test_lone_blocks, 0, (int)share(16));
	tcase_add_loop_test(t, test_silent_replicas, 0, 4);
	tcase_add_loop_test(t, test_one_needless_message_fails, 0, 4);
	tcase_add_loop_test(t, test_sums, 0, 4);
	tcase_add_loop_test(t, test_measuring_changes_nothing, 0, 4);
	tcase_add_loop_test(t, test_failover_is_split, 0, 4);
	tcase_add_loop_test(t, test_a_window_for_a_diagram, 0, 4);
	tcase_add_test(t, test_long_runs_have_wider_windows);
	tcase_add_test(t, test_words_of_scenarios);
	tcase_add_loop_test(t, test_fields, 0, 4);
	tcase_add_loop_test(t, test_types_add_up, 0, 4);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
