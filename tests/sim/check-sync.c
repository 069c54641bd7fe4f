/* State sync in the simulator: replicas that come late, lose their disks or sleep for long,
 * among others that keep few blocks, lie, and die at writes. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/world.h"

#define SECOND UINT64_C(1000000)

static struct sim_options small(uint64_t seed)
{
	return (struct sim_options){.nodes = 4,
				    .seed = seed,
				    .decisions = 600,
				    .clients = 60,
				    .scheme = SIG_SYMBOLIC,
				    .calm = true,
				    .checkpoint = 8,
				    .history = LEDGER_HISTORY_MIN,
				    .blocks = 1,
				    .sync_gap = 100,
				    .trace = getenv("OSTRAKON_TRACE") != NULL};
}

static void show(const char *what, uint64_t seed, const struct sim_result *r)
{
	printf("%s, seed %llu: %llu decisions, %llu syncs, %llu bytes, %llu strikes, %llu "
	       "retries, %llu kills\n",
	       what, (unsigned long long)seed, (unsigned long long)r->decisions,
	       (unsigned long long)r->syncs, (unsigned long long)r->sync_bytes,
	       (unsigned long long)r->sync_strikes, (unsigned long long)r->sync_retries,
	       (unsigned long long)r->kills);
}

START_TEST(who_comes_late)
{
	struct sim_options o = small((uint64_t)_i);
	struct sim_result r;
	o.late = true;
	sim_run(&o, &r);
	show("late", o.seed, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_eq(r.syncs, 1);
	ck_assert_uint_eq(r.sync_strikes, 0);
}
END_TEST

/* Short gaps are repaired by blocks alone. */
START_TEST(who_is_not_far_behind)
{
	struct sim_options o = small((uint64_t)_i);
	struct sim_result r;
	o.late = true;
	o.decisions = 80;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_eq(r.syncs, 0);
	for (unsigned t = 24; t <= 30; t++)
		ck_assert_uint_eq(r.messages[t], 0);
}
END_TEST

/* The gap is not too wide for blocks, but nobody has them any more. */
START_TEST(blocks_are_pruned)
{
	struct sim_options o = small((uint64_t)_i);
	struct sim_result r;
	o.late = true;
	o.sync_gap = 100000;
	sim_run(&o, &r);
	show("pruned", o.seed, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_eq(r.syncs, 1);
}
END_TEST

static struct script away(enum script_kind kind, uint64_t for_us)
{
	return (struct script){.count = 1,
			       .action = {{.trigger = TRIGGER_TIME,
					   .at = SECOND,
					   .kind = kind,
					   .who = SCRIPT_NODES,
					   .mask = 8,
					   .for_us = for_us}}};
}

/* Under load, which goes on; a wiped one, and one that has voted and keeps its votes. */
START_TEST(while_load_goes_on)
{
	static const enum script_kind kinds[] = {SCRIPT_WIPE, SCRIPT_CRASH};
	struct script script = away(kinds[_i % 2], 14 * SECOND);
	struct sim_options o = small((uint64_t)_i / 2);
	struct sim_result r;
	o.script = &script;
	o.duration_us = 19 * SECOND;
	o.delay_max_us = 4000;
	o.await_one_term = true;
	sim_run(&o, &r);
	show(_i % 2 ? "away" : "wiped", o.seed, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_ge(r.syncs, 1);
}
END_TEST

/* One of the three that can be asked lies: it is struck off, nothing false is believed. */
START_TEST(among_liars)
{
	uint64_t syncs = 0, strikes = 0;
	for (uint64_t seed = 0; seed < 30; seed++) {
		struct script script = away(seed & 1 ? SCRIPT_CRASH : SCRIPT_WIPE, 14 * SECOND);
		struct sim_options o = small(seed);
		struct sim_result r;
		o.script = &script;
		o.duration_us = 19 * SECOND;
		o.corrupt = 1;
		o.steady = true;
		o.attacks = ATTACK_BIT(ATTACK_LIE_FETCH);
		sim_run(&o, &r);
		ck_assert_msg(r.verdict == SIM_OK, "seed %llu: %s", (unsigned long long)seed,
			      r.text);
		syncs += r.syncs;
		strikes += r.sync_strikes;
	}
	printf("among liars: %llu syncs, %llu strikes\n", (unsigned long long)syncs,
	       (unsigned long long)strikes);
	ck_assert_uint_ge(syncs, 15);
	ck_assert_uint_ge(strikes, 8);
}
END_TEST

/* It dies at writes and syncs, of the state it fetches too, and goes on where it was. */
START_TEST(dying_at_writes)
{
	uint64_t syncs = 0, kills = 0;
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct script script = away(seed & 1 ? SCRIPT_CRASH : SCRIPT_WIPE, 12 * SECOND);
		struct sim_options o = small(seed);
		struct sim_result r;
		o.script = &script;
		o.duration_us = 19 * SECOND;
		o.kill_points = 8 + (uint32_t)seed % 24;
		sim_run(&o, &r);
		ck_assert_msg(r.verdict == SIM_OK, "seed %llu: %s", (unsigned long long)seed,
			      r.text);
		syncs += r.syncs;
		kills += r.kills;
	}
	printf("dying: %llu syncs, %llu kills\n", (unsigned long long)syncs,
	       (unsigned long long)kills);
	ck_assert_uint_ge(syncs, 30);
	ck_assert_uint_ge(kills, 300);
}
END_TEST

/* Everything at once, votes and views too: storms, disks lost, random malice. The rules of
 * safety are held against those who have jumped as against all others. */
START_TEST(in_storms)
{
	static const unsigned sizes[] = {4, 5, 7};
	uint64_t syncs = 0, strikes = 0;
	for (uint64_t seed = 0; seed < 90; seed++) {
		struct sim_options o = small(seed);
		struct sim_result r;
		o.nodes = sizes[seed % 3];
		o.decisions = 200;
		o.clients = 8;
		o.sync_gap = 5;
		o.calm = false;
		o.corrupt = seed % 2 ? (o.nodes - 1) / 3 : 0;
		o.wiped = o.corrupt ? 0 : 1;
		o.kill_points = seed % 4 == 0 ? 10 : 0;
		sim_run(&o, &r);
		ck_assert_msg(r.verdict == SIM_OK, "seed %llu: %s", (unsigned long long)seed,
			      r.text);
		syncs += r.syncs;
		strikes += r.sync_strikes;
	}
	printf("storms: %llu syncs, %llu strikes\n", (unsigned long long)syncs,
	       (unsigned long long)strikes);
	ck_assert_uint_ge(syncs, 20);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sync");
	TCase *t = tcase_create("sync");
	tcase_set_timeout(t, 600);
	tcase_add_loop_test(t, who_comes_late, 0, 5);
	tcase_add_loop_test(t, who_is_not_far_behind, 0, 3);
	tcase_add_loop_test(t, blocks_are_pruned, 0, 3);
	tcase_add_loop_test(t, while_load_goes_on, 0, 10);
	tcase_add_test(t, among_liars);
	tcase_add_test(t, dying_at_writes);
	tcase_add_test(t, in_storms);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
