/* State sync in the simulator: replicas that come late, lose their disks or sleep for long,
 * among others that keep few blocks, lie, and die at writes. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "consensus/hybrid/message.h"
#include "sim/world.h"
#include "tests/share.h"

#define SECOND UINT64_C(1000000)

/* By hand: OSTRAKON_SYNC_RUNS=20 runs twenty times as many. */
static uint64_t runs(unsigned usual)
{
	const char *text = getenv("OSTRAKON_SYNC_RUNS");
	uint64_t times = text ? strtoull(text, NULL, 10) : 1;
	return share(usual) * (times ? times : 1);
}

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
	/* Which sync_holds_back() knows by number. */
	ck_assert(MSG_FETCH == 10 && MSG_BLOCKS == 11);
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
	struct script script = away(kinds[_i % 2], 5 * SECOND);
	struct sim_options o = small((uint64_t)_i / 2);
	struct sim_result r;
	o.script = &script;
	o.duration_us = 10 * SECOND;
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
	for (uint64_t seed = 0; seed < runs(12); seed++) {
		struct script script = away(seed & 1 ? SCRIPT_CRASH : SCRIPT_WIPE, 5 * SECOND);
		struct sim_options o = small(seed);
		struct sim_result r;
		o.script = &script;
		o.duration_us = 10 * SECOND;
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
	ck_assert_uint_ge(syncs, runs(6));
	ck_assert_uint_ge(strikes, runs(3));
}
END_TEST

/* As if it had pruned them: final blocks for who is further behind than a few. */
static bool no_old_blocks(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct message_in *in = ctx;
	(void)s, (void)from;
	if (m->type != MSG_BLOCKS || message_decode(in, m->bytes))
		return false;
	bool old = in->blocks.has_cert && in->blocks.count &&
		   in->blocks.blocks[0]->sh.h.height + 8 < in->blocks.final_height;
	message_free(in);
	return old;
}

/* It dies at writes and syncs, of the state it fetches too, and goes on where it was. */
START_TEST(dying_at_writes)
{
	struct message_in *in = mem_zalloc(sizeof *in);
	uint64_t syncs = 0, kills = 0;
	for (uint64_t seed = 0; seed < runs(24); seed++) {
		struct script script = away(seed & 1 ? SCRIPT_CRASH : SCRIPT_WIPE, 3 * SECOND);
		struct sim_options o = small(seed);
		struct sim_result r;
		o.script = &script;
		o.sync_gap = 5; /* so that every death is followed by one */
		o.intercept = no_old_blocks;
		o.intercept_ctx = in;
		o.duration_us = 10 * SECOND;
		o.kill_points = 8 + (uint32_t)seed % 24;
		sim_run(&o, &r);
		ck_assert_msg(r.verdict == SIM_OK, "seed %llu: %s", (unsigned long long)seed,
			      r.text);
		syncs += r.syncs;
		kills += r.kills;
	}
	mem_free(in);
	printf("dying: %llu syncs, %llu kills\n", (unsigned long long)syncs,
	       (unsigned long long)kills);
	ck_assert_uint_ge(syncs, runs(48));
	ck_assert_uint_ge(kills, runs(150));
}
END_TEST

/* Storms, disks lost, random malice, a storm a seed; what is wanted of each is in o. */
struct sums {
	uint64_t syncs, later, jumps, epochs, strikes;
};

static struct sums storms(struct sim_options o, const char *what, uint64_t count)
{
	static const unsigned sizes[] = {4, 5, 7};
	struct sums sums = {0};
	o.decisions = 200;
	o.clients = 8;
	o.sync_gap = 5;
	o.calm = false;
	for (uint64_t seed = 0; seed < count; seed++) {
		struct sim_result r;
		o.seed = seed;
		o.nodes = sizes[seed % 3];
		o.corrupt = seed % 2 ? (o.nodes - 1) / 3 : 0;
		o.wiped = o.corrupt ? 0 : 1;
		o.kill_points = seed % 4 == 0 ? 10 : 0;
		sim_run(&o, &r);
		ck_assert_msg(r.verdict == SIM_OK, "%s, seed %llu: %s", what,
			      (unsigned long long)seed, r.text);
		sums.syncs += r.syncs;
		sums.later += r.epoch_syncs;
		sums.jumps += r.jumps;
		sums.epochs += r.epochs;
		sums.strikes += r.sync_strikes;
	}
	printf("%s: %llu epochs ended, %llu syncs, %llu of them in later epochs, %llu across "
	       "ends; %llu strikes\n",
	       what, (unsigned long long)sums.epochs, (unsigned long long)sums.syncs,
	       (unsigned long long)sums.later, (unsigned long long)sums.jumps,
	       (unsigned long long)sums.strikes);
	return sums;
}

/* Everything at once, votes and views too. The rules of safety are held against those who have
 * jumped as against all others. */
START_TEST(in_storms)
{
	struct message_in *in = mem_zalloc(sizeof *in);
	struct sim_options o = small(0);
	o.intercept = no_old_blocks;
	o.intercept_ctx = in;
	ck_assert_uint_ge(storms(o, "storms", runs(48)).syncs, runs(40));
	mem_free(in);
}
END_TEST

/* Validators get new keys meanwhile: a state is fetched within an epoch, blocks lead across its
 * end, of which nobody here has given any up. */
START_TEST(with_new_keys)
{
	struct sim_options o = small(0);
	o.blocks = 0;
	o.members = 2;
	struct sums sums = storms(o, "new keys", runs(36));
	ck_assert_uint_ge(sums.epochs, runs(36));
	ck_assert_uint_ge(sums.later, runs(12));
}
END_TEST

/* The same where nobody keeps old blocks: who was away while an epoch ended has no way but a
 * state of a later one. */
START_TEST(across_ends)
{
	struct sim_options o = small(0);
	o.members = 3;
	ck_assert_uint_ge(storms(o, "across ends", runs(36)).jumps, runs(12));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sync");
	TCase *t = tcase_create("sync");
	tcase_set_timeout(t, 600);
	tcase_add_loop_test(t, who_comes_late, 0, (int)share(5));
	tcase_add_loop_test(t, who_is_not_far_behind, 0, (int)share(3));
	tcase_add_loop_test(t, blocks_are_pruned, 0, (int)share(3));
	tcase_add_loop_test(t, while_load_goes_on, 0, (int)share(10));
	tcase_add_test(t, among_liars);
	tcase_add_test(t, dying_at_writes);
	tcase_add_test(t, in_storms);
	suite_add_tcase(s, t);
	t = tcase_create("epochs");
	tcase_set_timeout(t, 600);
	tcase_add_test(t, with_new_keys);
	tcase_add_test(t, across_ends);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
