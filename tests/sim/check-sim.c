/* Properties of the simulator itself, and exact message counts. */
#include <check.h>
#include <stdlib.h>

#include "check-sim.h"
#include "consensus/hybrid/message.h"
#include "sim/world.h"
#include "tests/share.h"

static struct sim_options calm(unsigned nodes)
{
	return (struct sim_options){.nodes = nodes,
				    .seed = 7,
				    .decisions = 1200,
				    .clients = 40,
				    .scheme = SIG_SYMBOLIC,
				    .calm = true};
}

START_TEST(same_seed_same_run)
{
	struct sim_options o = {.nodes = 5,
				.seed = (uint64_t)_i,
				.decisions = 100,
				.clients = 4,
				.scheme = SIG_SYMBOLIC};
	struct sim_result a, b;
	sim_run(&o, &a);
	sim_run(&o, &b);
	ck_assert_int_eq(a.verdict, SIM_OK);
	ck_assert(hash_equal(&a.trace_hash, &b.trace_hash));
	ck_assert(hash_equal(&a.log_hash, &b.log_hash));
	o.seed += 1000;
	sim_run(&o, &b);
	ck_assert(!hash_equal(&a.trace_hash, &b.trace_hash));
}
END_TEST

/* Attacks, faults, crashes: what replicas share changes nothing. */
START_TEST(shared_or_not_same_run)
{
	struct sim_options o = {.nodes = 4 + 3 * (unsigned)(_i & 1),
				.seed = (uint64_t)_i,
				.decisions = 60,
				.clients = 4,
				.corrupt = 1,
				.scheme = SIG_SYMBOLIC};
	struct sim_result a, b;
	sim_run(&o, &a);
	o.unshared = true;
	sim_run(&o, &b);
	ck_assert_msg(a.verdict == SIM_OK, "%s", a.text);
	ck_assert_int_eq(a.verdict, b.verdict);
	ck_assert(hash_equal(&a.trace_hash, &b.trace_hash));
	ck_assert(hash_equal(&a.log_hash, &b.log_hash));
	ck_assert_uint_eq(a.signatures.checked, b.signatures.checked);
}
END_TEST

START_TEST(real_signatures_same_log)
{
	struct sim_options o = {.nodes = 4,
				.seed = (uint64_t)_i,
				.decisions = 60,
				.clients = 4,
				.scheme = SIG_SYMBOLIC};
	struct sim_result a, b;
	sim_run(&o, &a);
	o.scheme = SIG_ED25519;
	sim_run(&o, &b);
	ck_assert_msg(a.verdict == SIM_OK && b.verdict == SIM_OK, "%s / %s", a.text, b.text);
	ck_assert(hash_equal(&a.log_hash, &b.log_hash));
}
END_TEST

/* With seed 9 all replicas gather, with seed 7 none. */
START_TEST(hosts_gather_and_are_asked_again)
{
	static const enum protocol protocols[] = {PROTOCOL_HYBRID, PROTOCOL_PBFT, PROTOCOL_RAFT,
						  PROTOCOL_MULTIPAXOS};
	struct sim_options o = {.nodes = 4,
				.seed = 9,
				.decisions = 60,
				.clients = 4,
				.protocol = protocols[_i],
				.scheme = SIG_SYMBOLIC};
	struct sim_result a, b;
	sim_run(&o, &a);
	sim_run(&o, &b);
	ck_assert_msg(a.verdict == SIM_OK, "%s", a.text);
	ck_assert(hash_equal(&a.trace_hash, &b.trace_hash));
	ck_assert_uint_ge(a.builds_refused_busy, 60 / 2);
	ck_assert_uint_eq(a.builds_refused_busy, b.builds_refused_busy);
	o.seed = 7;
	sim_run(&o, &b);
	ck_assert_uint_eq(b.builds_refused_busy, 0);
	o.seed = 9;
	o.gentle = true;
	sim_run(&o, &b);
	ck_assert_uint_eq(b.builds_refused_busy, 0);
}
END_TEST

/* Whoever a block answers comes back before the next one leaves: there are no two halves that
 * wait for each other's blocks. */
START_TEST(all_clients_are_in_one_block)
{
	static const unsigned nodes[] = {4, 5, 6, 7, 8, 10};
	const struct sim_options o = {.nodes = nodes[_i],
				      .seed = 1,
				      .decisions = 200,
				      .clients = 16,
				      .calm = true,
				      .to_leader = true,
				      .delay_min_us = 1000,
				      .delay_max_us = 1000,
				      .scheme = SIG_SYMBOLIC};
	struct sim_result r;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_ge(r.transactions, 15 * r.decisions);
}
END_TEST

/* Counted at the transport; certificates that went alone because the leader was idle,
 * heartbeats, elections and client traffic are under their own names. */
static bool counts_are_exact(unsigned n, const struct sim_result *r)
{
	uint64_t appends = r->messages[MSG_APPEND] - r->lone_certificates;
	return appends == r->decisions * (n - 1) &&
	       r->messages[MSG_APPENDED] == r->decisions * (n - 1);
}

/* Pipelined, fault-free: one APPEND out and one APPENDED back for each follower and block. */
static const unsigned sizes[] = {4, 5, 6, 7, 10};

START_TEST(two_messages_a_follower_and_block)
{
	unsigned n = sizes[_i];
	struct sim_options o = calm(n);
	struct sim_result r;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_ge(r.decisions, 1000);
	ck_assert_msg(
		counts_are_exact(n, &r), "%llu blocks, %llu appends, %llu alone, %llu answers",
		(unsigned long long)r.decisions, (unsigned long long)r.messages[MSG_APPEND],
		(unsigned long long)r.lone_certificates,
		(unsigned long long)r.messages[MSG_APPENDED]);
}
END_TEST

/* The check above can fail: one needless message breaks it. */
START_TEST(one_extra_message_is_noticed)
{
	struct sim_options o = calm(4);
	struct sim_result r;
	o.inject = 1;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert(!counts_are_exact(4, &r));
}
END_TEST

START_TEST(dead_one_of_four_is_still_one_round)
{
	struct sim_options o = calm(4);
	struct sim_result r;
	o.dead = 1;
	o.decisions = 200;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_ge(r.counters[COUNT_ONE_ROUND], 200);
	ck_assert_uint_eq(r.counters[COUNT_TWO_ROUND], 0);
}
END_TEST

/* Handing over takes round trips, no timeout but that of the first election: not even where the
 * one that goes has to vote for its successor. */
static const struct {
	unsigned nodes, dead;
} handovers[] = {{3, 0}, {4, 0}, {4, 1}, {7, 2}, {10, 0}};

START_TEST(who_resigns_is_succeeded_at_once)
{
	struct sim_options o = calm(handovers[_i].nodes);
	struct sim_result r, nobody_does;
	o.dead = handovers[_i].dead;
	o.decisions = 100;
	o.clients = 8;
	o.delay_max_us = 10000; /* else 50,000 decisions, and nothing more is learnt */
	o.duration_us = 20000000;
	sim_run(&o, &nobody_does);
	o.resigns = true;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_ge(r.counters[COUNT_RESIGNED], 6);
	ck_assert_uint_eq(r.counters[COUNT_ELECTIONS_WON], r.counters[COUNT_RESIGNED] + 1);
	ck_assert_uint_eq(r.counters[COUNT_TIMEOUTS_COUNTED],
			  nobody_does.counters[COUNT_TIMEOUTS_COUNTED]);
	if (!o.dead) /* the dead ones' clients wait in any case */
		ck_assert_uint_eq(r.longest_gap_us, nobody_does.longest_gap_us);
}
END_TEST

/* Who comes back with an old copy of its disk, its votes in it or none yet, is told by the
 * others what it has signed since, and signs nothing more; who merely restarts is not. With
 * delays like these the votes of the slow come when their blocks are final without them. [I20]
 */
static const struct {
	unsigned nodes;
	bool leads, again; /* after a restart: the copy has votes in it */
} old_copies[] = {{2, false, false}, {3, true, false},	{3, false, true}, {4, false, false},
		  {4, true, false},  {4, false, true},	{4, true, true},  {5, false, true},
		  {6, true, true},   {7, false, false}, {8, false, true}, {10, true, true}};

START_TEST(who_comes_back_with_an_old_copy_is_told)
{
	struct sim_options o = calm(old_copies[_i].nodes);
	struct sim_result r;
	struct script script = {0};
	unsigned who =
		o.nodes > 2 ? 1 : 0; /* two are a quorum, and none of them may be missing */
	uint64_t second = 1000000;
	if (old_copies[_i].again)
		script.action[script.count++] = (struct script_action){
			.at = second,
			.kind = SCRIPT_CRASH,
			.who = old_copies[_i].leads ? SCRIPT_LEADER : SCRIPT_NODES,
			.mask = 1u << who,
			.for_us = second / 4};
	script.action[script.count++] = (struct script_action){
		.at = 4 * second,
		.kind = SCRIPT_REWIND,
		.who = old_copies[_i].leads ? SCRIPT_LEADER : SCRIPT_NODES,
		.mask = 1u << who,
		.for_us = second / 2};
	o.script = &script;
	o.decisions = 100;
	o.think_us = 20000;
	o.delay_max_us = 10000;
	o.no_healing = o.nodes < 4; /* nothing more is decided there */
	o.duration_us = 8 * second;
	sim_run(&o, &r);
	if (o.nodes > 3)
		ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_msg(r.verdict != SIM_SAFETY, "%s", r.text);
	ck_assert_uint_eq(r.rewound, 1);
	ck_assert_uint_eq(r.outdated, 1);
	ck_assert_uint_eq(r.accused_mask, 0);
}
END_TEST

/* Every replica checks every transaction: so many a second are more than there are. And what
 * waits for a processor is done in time, or gone with its replica. */
START_TEST(a_processor_takes_its_time)
{
	struct sim_options o = calm(4);
	struct sim_result r;
	o.decisions = 300;
	o.clients = 64;
	o.cpu = (struct sim_cpu){.verify_us = 1000, .sign_us = 10, .step_us = 10, .tx_us = 10};
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	double per_s = (double)r.transactions * 1e6 / (double)r.virtual_us;
	ck_assert_double_lt(per_s, 1000);
	ck_assert_double_gt(per_s, 500);
	for (uint64_t seed = 1; seed <= 20; seed++) {
		o = (struct sim_options){.nodes = 4 + (unsigned)seed % 4,
					 .seed = seed,
					 .decisions = 40,
					 .clients = 8,
					 .corrupt = seed % 2,
					 .scheme = SIG_SYMBOLIC,
					 .cpu = {41, 14, 25, 40}};
		sim_run(&o, &r);
		ck_assert_msg(r.verdict == SIM_OK, "seed %d: %s", (int)seed, r.text);
		struct hash first = r.trace_hash; /* what was signed before is not its cost */
		sim_run(&o, &r);
		ck_assert(hash_equal(&first, &r.trace_hash));
	}
}
END_TEST

START_TEST(dead_two_of_seven_is_two_rounds)
{
	struct sim_options o = calm(7);
	struct sim_result r;
	o.dead = 2;
	o.decisions = 200;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_gt(r.counters[COUNT_TWO_ROUND], 0);
	ck_assert_uint_eq(r.counters[COUNT_ONE_ROUND], 0);
}
END_TEST

/* Everything from one replica lost by an interceptor: the others go on without it. */
static bool swallow(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	unsigned *swallowed = ctx;
	(void)s;
	(void)m;
	*swallowed += from == 2;
	return from == 2;
}

START_TEST(an_interceptor_rules_what_is_sent)
{
	struct sim_options o = calm(4);
	struct sim_result r;
	unsigned swallowed = 0;
	o.decisions = 50;
	o.intercept = swallow;
	o.intercept_ctx = &swallowed;
	sim_run(&o, &r);
	ck_assert_uint_gt(swallowed, 0);
	/* Who is never heard cannot forward what its clients give it; safe it is. */
	ck_assert_int_ne(r.verdict, SIM_SAFETY);
	ck_assert_uint_gt(r.decisions, 0);
}
END_TEST

/* The last replica hears nothing until the others are far ahead of what one fetch brings; then
 * the certificates of newer blocks reach it before the blocks do. It must still get there,
 * under load. */
static bool keep_from_last(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	const uint64_t *until = ctx;
	s->cut[from][s->n - 1] = s->log_len < *until;
	return false;
}

START_TEST(who_is_far_behind_catches_up)
{
	static const uint64_t ahead[] = {60, 300, 900};
	struct sim_options o = calm(4);
	struct sim_result r;
	o.seed = 1 + (uint64_t)_i / 3;
	o.intercept = keep_from_last;
	o.intercept_ctx = (void *)&ahead[_i % 3];
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
}
END_TEST

static const unsigned small_sizes[] = {1, 2, 3, 4, 5, 7};

START_TEST(every_size_elects_and_commits)
{
	struct sim_options o = calm(small_sizes[_i]);
	struct sim_result r;
	o.decisions = 50;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_ge(r.decisions, 50);
	ck_assert_uint_eq(r.counters[COUNT_ELECTIONS_WON], 1);
}
END_TEST

/* Seeds that once failed; what they found is in the commit that added them. */
static const struct {
	unsigned nodes;
	uint64_t seed;
} kept[] = {
	{4, 6},	  /* a tip that finality cut off was taken for damage at a restart */
	{4, 82},  /* stale pre-votes: docs/decisions/0003-stale-grants.md */
	{4, 84},  /* a certificate on disk that was never reported before the crash */
	{4, 199}, /* a block of an older term, final through a descendant only */
	{5, 13},  {7, 98},
};

/* Seeds with f malicious replicas that once failed. */
static const struct {
	unsigned nodes;
	uint64_t seed;
} kept_malicious[] = {
	{4, 21077},  /* a minority vote that finality cut off: no view change could be shown */
	{5, 23011},  /* the same, after a restart */
	{6, 20215},  /* a tip that checkpoints left behind */
	{5, 20603},  /* headers that recovery did not load */
	{7, 31339},  /* bodies under the other NEW-VIEW of a malicious primary */
	{4, 23083},  /* a block that was durable and never sent */
	{4, 502715}, /* a commit that one replica alone knows hid the one that its peers could
			give */
};

START_TEST(kept_malicious_seed)
{
	struct sim_options o = {.nodes = kept_malicious[_i].nodes,
				.seed = kept_malicious[_i].seed,
				.decisions = 50,
				.clients = 4,
				.scheme = SIG_SYMBOLIC,
				.corrupt = quorum_of(kept_malicious[_i].nodes).f};
	struct sim_result r;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
}
END_TEST

START_TEST(kept_seed)
{
	struct sim_options o = {.nodes = kept[_i].nodes,
				.seed = kept[_i].seed,
				.decisions = 200,
				.clients = 4,
				.scheme = SIG_SYMBOLIC};
	struct sim_result r;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
}
END_TEST

int main(void)
{
	crypto_init();
	Suite *s = suite_create("sim");
	TCase *t = tcase_create("world");
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, same_seed_same_run, 1, 1 + (int)share(5));
	tcase_add_loop_test(t, shared_or_not_same_run, 1, 1 + (int)share(6));
	tcase_add_loop_test(t, real_signatures_same_log, 1, 4);
	tcase_add_loop_test(t, hosts_gather_and_are_asked_again, 0, 4);
	tcase_add_loop_test(t, all_clients_are_in_one_block, 0, 6);
	tcase_add_loop_test(t, two_messages_a_follower_and_block, 0, 5);
	tcase_add_test(t, one_extra_message_is_noticed);
	tcase_add_test(t, an_interceptor_rules_what_is_sent);
	tcase_add_loop_test(t, who_is_far_behind_catches_up, 0, (int)share(9));
	tcase_add_test(t, dead_one_of_four_is_still_one_round);
	tcase_add_loop_test(t, who_comes_back_with_an_old_copy_is_told, 0,
			    (int)MEM_COUNT(old_copies));
	tcase_add_loop_test(t, who_resigns_is_succeeded_at_once, 0,
			    (int)(sizeof handovers / sizeof *handovers));
	tcase_add_test(t, a_processor_takes_its_time);
	tcase_add_test(t, dead_two_of_seven_is_two_rounds);
	tcase_add_loop_test(t, every_size_elects_and_commits, 0, 6);
	tcase_add_loop_test(t, kept_seed, 0, sizeof kept / sizeof *kept);
	tcase_add_loop_test(t, kept_malicious_seed, 0,
			    (int)(sizeof kept_malicious / sizeof *kept_malicious));
	suite_add_tcase(s, t);
	suite_add_tcase(s, checkers_case());
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
