/* Scenario files are checked on load, with file and line; each expectation can fail. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/sign.h"
#include "tools/lab/calibrate.h"
#include "tools/lab/result.h"

static struct scenario s;
static struct errmsg m;

static int parse(const char *text)
{
	m.text[0] = 0;
	return scenario_parse(&s, "x.scenario", text, &m);
}

#define HEAD "summary a\nexpect progress\n"

static void refused(const char *text, const char *says)
{
	ck_assert_msg(parse(text) != ERR_NONE, "accepted: %s", text);
	ck_assert_msg(strstr(m.text, says) != NULL, "\"%s\" is not in: %s", says, m.text);
}

START_TEST(test_reads_what_it_says)
{
	ck_assert_int_eq(parse("summary  Two words  # and a comment\n"
			       "describe One.\ndescribe Two.\n"
			       "nodes 7\ncorrupt f\nattacks equivocate silent\nwho follower\n"
			       "targets one\nnetwork delay 2ms..30ms loss 1.5%\n"
			       "clients 3 think 10ms\ndecisions 77\nduration 1.5s\n"
			       "at 2s partition node1,node2|node2,node3 for 500ms\n"
			       "after 40 crash leader\nwhen leader clock node4 behind 3s\n"
			       "expect failover within 2s\nexpect convicted f+1\n"
			       "expect mode-change signature\n"),
			 ERR_NONE);
	ck_assert_str_eq(s.summary, "Two words ");
	ck_assert_str_eq(s.text, "One.\nTwo.");
	ck_assert_uint_eq(s.nodes, 7);
	ck_assert_uint_eq(scenario_corrupt(&s, 7), 2);
	ck_assert_uint_eq(s.attacks, ATTACK_BIT(ATTACK_EQUIVOCATE) | ATTACK_BIT(ATTACK_SILENT));
	ck_assert_int_eq(s.who, WHO_FOLLOWER);
	ck_assert_uint_eq(s.delay_min_us, 2000);
	ck_assert_uint_eq(s.delay_max_us, 30000);
	ck_assert_uint_eq(s.loss_per_mille, 15);
	ck_assert_uint_eq(s.clients, 3);
	ck_assert_uint_eq(s.think_us, 10000);
	ck_assert_uint_eq(s.decisions, 77);
	ck_assert_uint_eq(s.duration_us, 1500000);
	ck_assert_uint_eq(s.script.count, 3);
	const struct script_action *a = s.script.action;
	ck_assert_uint_eq(a[0].groups, 2);
	ck_assert_uint_eq(a[0].for_us, 500000);
	ck_assert(script_cuts(&a[0], 7, 0, 0, 2) && script_cuts(&a[0], 7, 0, 5, 6));
	ck_assert(!script_cuts(&a[0], 7, 0, 0, 1) && !script_cuts(&a[0], 7, 0, 1, 2));
	ck_assert_int_eq(a[1].trigger, TRIGGER_HEIGHT);
	ck_assert_uint_eq(a[1].at, 40);
	ck_assert_int_eq(a[2].trigger, TRIGGER_LEADS);
	ck_assert_uint_eq(a[2].high, 3000000);
	ck_assert_uint_eq(a[2].mask, 8);
	ck_assert_ptr_nonnull(scenario_expects(&s, EXPECT_STRUCK)); /* it has attacks */
	ck_assert(scenario_is_live(&s, &m));
	ck_assert(scenario_needs_relay(&s));
}
END_TEST

START_TEST(test_what_is_not_live_says_why)
{
	ck_assert_int_eq(parse(HEAD "at 1s tear node1\n"), ERR_NONE);
	ck_assert(!scenario_is_live(&s, &m));
	ck_assert_ptr_nonnull(strstr(m.text, "power failure"));
	ck_assert(!scenario_needs_relay(&s));
	ck_assert_int_eq(parse(HEAD "at 1s crash node1\nat 1s duplicate 1%\n"), ERR_NONE);
	ck_assert(!scenario_is_live(&s, &m));
	ck_assert_ptr_nonnull(strstr(m.text, "TCP"));
	ck_assert_int_eq(parse(HEAD "only sim\n"), ERR_NONE);
	ck_assert(!scenario_is_live(&s, &m));
}
END_TEST

START_TEST(test_links)
{
	ck_assert_int_eq(parse(HEAD "at 1s slow node2 5ms..9ms for 1s\n"
				    "at 2s throttle leader 1.5MB\nat 3s reset all\n"),
			 ERR_NONE);
	const struct script_action *a = s.script.action;
	ck_assert_int_eq(a[0].kind, SCRIPT_SLOW);
	ck_assert_uint_eq(a[0].low, 5000);
	ck_assert_uint_eq(a[0].high, 9000);
	ck_assert_uint_eq(a[0].for_us, 1000000);
	ck_assert_uint_eq(a[1].low, 1500000);
	ck_assert_int_eq(a[2].who, SCRIPT_ALL);
	ck_assert(scenario_is_live(&s, &m) && scenario_needs_relay(&s));
	refused(HEAD "at 2s throttle leader 1\n", "such as 64kB");
	refused(HEAD "at 2s throttle leader 0.1kB\n", "such as 64kB");
	refused(HEAD "at 2s throttle leader 1e300MB\n", "such as 64kB");
	refused(HEAD "at 2s slow 5ms\n", "node");
	refused(HEAD "at 2s reset all for 1s\n", "does not last");
}
END_TEST

START_TEST(test_mistakes_have_a_line)
{
	refused(HEAD "nodez 4\n", "x.scenario:3:");
	refused(HEAD "nodez 4\n", "nodes");
	refused(HEAD "nodes 65\n", "x.scenario:3:");
	refused(HEAD "nodes 4 5\n", "one word too many");
	refused(HEAD "\n# c\nattacks equivocat\n", "x.scenario:5:");
	refused(HEAD "attacks equivocat\n", "equivocate");
	refused(HEAD "corrupt g\n", "x.scenario:3:");
	refused(HEAD "who nobody\n", "x.scenario:3:");
	refused(HEAD "at 2 crash leader\n", "a time such as");
	refused(HEAD "at 2s crush leader\n", "crash");
	refused(HEAD "at 2s crash node0\n", "node0");
	refused(HEAD "at 2s crash node65\n", "node65");
	refused(HEAD "at 2s crash node1,\n", "node1,");
	refused(HEAD "at 2s pause leader\n", "needs an end");
	refused(HEAD "at 2s fill leader\n", "needs an end");
	refused(HEAD "at 2s wipe malicious\n", "needs an end");
	refused(HEAD "at 2s heal for 1s\n", "does not last");
	refused(HEAD "at 2s partition node1|x\n", "x.scenario:3:");
	refused(HEAD "at 2s clock node1 20s\n", "ahead");
	refused(HEAD "at 1s loss 101%\n", "a share such as");
	refused(HEAD "network delay 9ms..1ms\n", "lower end");
	refused(HEAD "expect\n", "x.scenario:3:");
	refused(HEAD "expect failover\n", "within what time");
	refused(HEAD "expect mode-change becuase\n", "x.scenario:3:");
	refused(HEAD "expect availability 50\n", "a share such as");
	refused("expect progress\n", "a summary is needed");
	refused("summary a\n", "nothing is expected");
}
END_TEST

static void many(char *text, const char *line, unsigned count)
{
	strcpy(text, HEAD);
	for (unsigned i = 0; i < count; i++)
		strcat(text, line);
}

START_TEST(test_limits)
{
	char *text = malloc(1 << 16);
	many(text, "at 1s heal\n", SCRIPT_MAX);
	ck_assert_int_eq(parse(text), ERR_NONE);
	many(text, "at 1s heal\n", SCRIPT_MAX + 1);
	refused(text, "actions");
	many(text, "expect innocent\n", SCENARIO_EXPECT_MAX - 1);
	ck_assert_int_eq(parse(text), ERR_NONE);
	many(text, "expect innocent\n", SCENARIO_EXPECT_MAX);
	refused(text, "expectations");
	free(text);
}
END_TEST

static bool holds(const struct sim_result *r, const char *expectation)
{
	char text[256];
	snprintf(text, sizeof text, "summary a\nexpect %s\n", expectation);
	ck_assert_msg(parse(text) == ERR_NONE, "%s", m.text);
	return result_holds(r, &s.expect[0], 4);
}

START_TEST(test_each_expectation_can_fail)
{
	static struct sim_result good, bad;
	good = (struct sim_result){.windows = 10, .windows_with_commit = 6, .progress_us = 900};
	good.strikes[ATTACK_SHOUT] = 1;
	bad = (struct sim_result){.windows = 10,
				  .windows_with_commit = 4,
				  .conflicts = 1,
				  .verdict = SIM_LIVENESS,
				  .corrupt_mask = 2,
				  .jailed_mask = 1,
				  .in_pbft = true,
				  .mode_count = 1,
				  .failover_us = 3000000};
	bad.modes[0] = (struct sim_mode){.kind = SYSTEM_ESCALATED, .reason = REASON_SLOW};
	static const char *const fine[] = {
		"no-conflict",	  "progress",	    "progress within 1ms", "innocent",
		"no-mode-change", "return-to-fast", "availability 60%",	   "failover within 2s",
		"one-term",	  "strikes"};
	for (unsigned i = 0; i < sizeof fine / sizeof *fine; i++) {
		ck_assert_msg(holds(&good, fine[i]), "%s", fine[i]);
		ck_assert_msg(!holds(&bad, fine[i]), "%s", fine[i]);
	}
	ck_assert(!holds(&good, "progress within 800us"));
	ck_assert(holds(&bad, "conflict") && !holds(&good, "conflict"));
	ck_assert(holds(&bad, "convicted") && !holds(&good, "convicted"));
	ck_assert(!holds(&bad, "convicted 2") && !holds(&bad, "convicted f+1"));
	ck_assert(holds(&bad, "mode-change") && holds(&bad, "mode-change slow"));
	ck_assert(!holds(&bad, "mode-change proof") && !holds(&good, "mode-change"));
	bad.modes[0] = (struct sim_mode){.kind = SYSTEM_CONVICTION, .proof = EVIDENCE_VOTES};
	ck_assert(holds(&bad, "evidence votes") && !holds(&bad, "evidence headers"));
	ck_assert(!holds(&bad, "culprits"));
	bad.proven = 6;
	ck_assert(holds(&bad, "culprits f+1") && !holds(&bad, "culprits 3"));
}
END_TEST

/* Every file of the library reads, says what it is about in a paragraph, and has expectations.
 */
START_TEST(test_the_library)
{
	static char names[SCENARIO_FILES_MAX][SCENARIO_NAME_MAX];
	setenv("OSTRAKON_SCENARIOS", SCENARIOS, 1);
	unsigned count = scenario_list(names), live = 0;
	uint64_t attacks = 0, actions = 0;
	ck_assert_uint_ge(count, 30);
	for (unsigned i = 0; i < count; i++) {
		ck_assert_msg(scenario_read(&s, names[i], &m) == ERR_NONE, "%s", m.text);
		ck_assert_msg(strlen(s.text) > 60, "%s is not described", names[i]);
		ck_assert_uint_ge(s.expect_count, 2);
		live += scenario_is_live(&s, &m);
		if (strcmp(names[i], "random-adversary") != 0)
			attacks |= s.attacks;
		for (unsigned k = 0; k < s.script.count; k++)
			actions |= UINT64_C(1) << s.script.action[k].kind;
	}
	ck_assert_uint_ge(live, 50);
	for (unsigned a = 0; a < ATTACKS; a++)
		ck_assert_msg(attacks >> a & 1, "no scenario shows %s",
			      attack_name((enum attack)a));
	for (unsigned k = 0; k < SCRIPT_KINDS; k++)
		ck_assert_msg(actions >> k & 1, "no scenario has action %u of enum script_kind", k);
}
END_TEST

/* What cannot be measured is null, not a figure. */
START_TEST(test_calibration)
{
	struct calibration c;
	double v;
	crypto_init();
	calibrate("/tmp", &c);
	ck_assert(c.sign_per_s > 0 && c.verify_per_s > 0);
	ck_assert(c.fdatasync_ms > 0 && c.loopback_rtt_ms > 0);
	calibrate("/there/is/no/such/directory", &c);
	struct json *o = calibration_json(&c);
	ck_assert(json_is_null(json_get(o, "fdatasync_ms")));
	ck_assert_int_eq(json_as_real(json_get(o, "verify_per_s"), &v), ERR_NONE);
	ck_assert_int_eq(json_as_real(json_get(o, "load"), &v), ERR_NONE);
	json_free(o);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lab");
	TCase *t = tcase_create("scenarios");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_reads_what_it_says);
	tcase_add_test(t, test_what_is_not_live_says_why);
	tcase_add_test(t, test_links);
	tcase_add_test(t, test_calibration);
	tcase_add_test(t, test_mistakes_have_a_line);
	tcase_add_test(t, test_limits);
	tcase_add_test(t, test_each_expectation_can_fail);
	tcase_add_test(t, test_the_library);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
