/* Raft and Multi-Paxos in the simulator: exact message counts, faults, and the controls that
 * must break. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "consensus/crash/wire.h"
#include "ledger/proof.h"
#include "sim/sim.h"
#include "tests/share.h"

static const enum protocol baselines[] = {PROTOCOL_RAFT, PROTOCOL_MULTIPAXOS};

/* ---- messages ---------------------------------------------------------------------------- */

static struct sim_options calm(enum protocol protocol, unsigned nodes)
{
	return (struct sim_options){.protocol = protocol,
				    .nodes = nodes,
				    .seed = 7,
				    .decisions = 1200,
				    .clients = 40,
				    .scheme = SIG_SYMBOLIC,
				    .calm = true};
}

/* Counted at the transport. News of a commit that went alone because the leader was idle, like
 * heartbeats, elections and clients' traffic, are not of the normal case. */
static bool counts_are_exact(const struct sim_options *o, const struct sim_result *r)
{
	uint64_t each = r->decisions * (o->nodes - 1);
	if (o->protocol == PROTOCOL_RAFT)
		return r->messages[RAFT_APPEND] - r->lone_certificates == each &&
		       r->messages[RAFT_APPENDED] == each;
	return r->messages[PAXOS_ACCEPT] == each && r->messages[PAXOS_ACCEPTED] == each;
}

static const unsigned sizes[] = {2, 3, 4, 5, 7, 10, 16};
#define SIZES ((int)(sizeof sizes / sizeof *sizes))

START_TEST(two_messages_a_follower_and_block)
{
	struct sim_options o = calm(baselines[_i % 2], sizes[_i / 2]);
	struct sim_result r;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_ge(r.decisions, 1000);
	ck_assert_msg(
		counts_are_exact(&o, &r), "%s, n=%u: %llu blocks, %llu, %llu, %llu alone",
		protocol_name(o.protocol), o.nodes, (unsigned long long)r.decisions,
		(unsigned long long)(r.messages[RAFT_APPEND] + r.messages[PAXOS_ACCEPT]),
		(unsigned long long)(r.messages[RAFT_APPENDED] + r.messages[PAXOS_ACCEPTED]),
		(unsigned long long)r.lone_certificates);
	ck_assert_uint_eq(r.counters[COUNT_ELECTIONS_WON], 1);
}
END_TEST

/* The check above can fail. */
START_TEST(one_extra_message_is_noticed)
{
	struct sim_options o = calm(baselines[_i], 4);
	struct sim_result r;
	o.inject = 1;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert(!counts_are_exact(&o, &r));
}
END_TEST

/* A block that nothing follows: its commit is told by n-1 messages more. */
START_TEST(a_lone_block_takes_three_messages_a_follower)
{
	struct sim_options o = calm(baselines[_i], 4);
	struct sim_result r;
	o.clients = 1;
	o.decisions = 100;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert(counts_are_exact(&o, &r));
	uint64_t alone = r.lone_certificates + r.messages[PAXOS_COMMIT];
	ck_assert_uint_ge(alone, r.decisions * 3 * 9 / 10);
	ck_assert_uint_le(alone, r.decisions * 3);
}
END_TEST

static const unsigned small_sizes[] = {1, 2, 3, 4, 5, 7};

START_TEST(every_size_elects_and_commits)
{
	struct sim_options o = calm(baselines[_i % 2], small_sizes[_i / 2]);
	struct sim_result r;
	o.decisions = 50;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_uint_ge(r.decisions, 50);
}
END_TEST

/* A minority may be dead from the start: 2 of 5, where the hybrid tolerates 1. */
START_TEST(a_minority_may_be_dead)
{
	struct sim_options o = calm(baselines[_i], 5);
	struct sim_result r;
	o.dead = 2;
	o.decisions = 200;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
}
END_TEST

/* ---- faults ------------------------------------------------------------------------------ */

#define FAULT_SEEDS 60

START_TEST(safe_through_faults_and_live_afterwards)
{
	static const unsigned nodes[] = {3, 4, 5, 7};
	struct sim_options o = {.protocol = baselines[_i % 2],
				.nodes = nodes[_i / 2 % 4],
				.decisions = 100,
				.clients = 4,
				.scheme = SIG_SYMBOLIC};
	/* of a thousand; fewer for sanitizer builds */
	const char *wanted = getenv("OSTRAKON_SEEDS");
	uint64_t seeds = wanted ? strtoull(wanted, NULL, 10) : 1000;
	for (uint64_t seed = 1; seed <= FAULT_SEEDS && 1000 * (seed - 1) < FAULT_SEEDS * seeds;
	     seed++) {
		struct sim_result r;
		o.seed = 5000 + seed;
		sim_run(&o, &r);
		ck_assert_msg(r.verdict == SIM_OK, "%s, n=%u, seed %llu: %s",
			      protocol_name(o.protocol), o.nodes, (unsigned long long)o.seed,
			      r.text);
	}
}
END_TEST

START_TEST(same_seed_same_run)
{
	struct sim_options o = {.protocol = baselines[_i],
				.nodes = 5,
				.seed = 3,
				.decisions = 100,
				.clients = 4,
				.scheme = SIG_SYMBOLIC};
	struct sim_result a, b;
	sim_run(&o, &a);
	sim_run(&o, &b);
	ck_assert(hash_equal(&a.trace_hash, &b.trace_hash));
	ck_assert(hash_equal(&a.log_hash, &b.log_hash));
}
END_TEST

/* ---- controls ---------------------------------------------------------------------------- */

static struct sim_options equivocator(enum protocol protocol, unsigned nodes, uint64_t seed)
{
	return (struct sim_options){.protocol = protocol,
				    .nodes = nodes,
				    .seed = seed,
				    .decisions = 1000,
				    .clients = 4,
				    .scheme = SIG_SYMBOLIC,
				    .probation = 1,
				    .corrupt = 1,
				    .attacks = ATTACK_BIT(ATTACK_EQUIVOCATE),
				    .when_leading = true,
				    .targets = TARGETS_HALF,
				    .gentle = true};
}

#define CONTROL_SEEDS  12
#define LEADS_AT_LEAST 6 /* of these seeds, it comes to lead and strikes */

/* One leader that tells two stories forks what assumes that nobody does. */
START_TEST(an_equivocating_leader_forks_the_baselines)
{
	unsigned nodes = _i / 2 ? 7 : 4, struck = 0;
	for (uint64_t seed = 1; seed <= share(CONTROL_SEEDS); seed++) {
		struct sim_options o = equivocator(baselines[_i % 2], nodes, seed);
		struct sim_result r;
		sim_run(&o, &r);
		if (!r.strikes[ATTACK_EQUIVOCATE])
			continue;
		struck++;
		ck_assert_msg(r.verdict == SIM_SAFETY && strstr(r.text, "fork"),
			      "n=%u, seed %llu: %s", nodes, (unsigned long long)seed, r.text);
		o.measure_conflicts = true; /* the lab's way: it is counted */
		sim_run(&o, &r);
		ck_assert_uint_gt(r.conflicts, 0);
	}
	ck_assert_uint_ge(struck, share(LEADS_AT_LEAST));
}
END_TEST

/* The same leader, the same network. */
START_TEST(an_equivocating_leader_forks_neither_pbft_nor_hybrid)
{
	static const enum protocol protocols[] = {PROTOCOL_PBFT, PROTOCOL_HYBRID};
	unsigned nodes = _i / 2 ? 7 : 4, struck = 0;
	for (uint64_t seed = 1; seed <= share(CONTROL_SEEDS); seed++) {
		struct sim_options o = equivocator(protocols[_i % 2], nodes, seed);
		struct sim_result r;
		sim_run(&o, &r);
		struck += r.strikes[ATTACK_EQUIVOCATE] > 0;
		ck_assert_msg(r.verdict == SIM_OK, "n=%u, seed %llu: %s", nodes,
			      (unsigned long long)seed, r.text);
		ck_assert_uint_eq(r.conflicts, 0);
	}
	ck_assert_uint_ge(struck, share(LEADS_AT_LEAST));
}
END_TEST

/* ---- commits without proof ----------------------------------------------------------------
 */

static void make_genesis(struct genesis *g, enum protocol protocol)
{
	genesis_defaults(g);
	snprintf(g->name, sizeof g->name, "test");
	g->protocol = protocol;
	g->scheme = SIG_SYMBOLIC;
	g->n = 4;
	for (unsigned i = 0; i < 4; i++) {
		struct keypair key;
		uint8_t seed[32] = {1, (uint8_t)i};
		keypair_from_seed(&key, seed);
		g->validator[i].key = key.pub;
		snprintf(g->validator[i].name, sizeof g->validator[i].name, "node%u", i + 1);
	}
}

/* What a replica of a baseline notes when it commits passes nowhere for a certificate. */
START_TEST(a_commit_is_no_certificate)
{
	struct genesis g;
	struct chain_ctx ctx;
	struct reader r;
	struct writer w = {0};
	struct cert c = {.kind = CERT_CRASH, .ref = {3, 7, {{1}}}, .in_term = 4}, back;
	make_genesis(&g, baselines[_i]);
	genesis_ctx(&ctx, &g);
	ck_assert(!cert_is_final(CERT_CRASH));
	ck_assert_int_eq(cert_check(&c, &ctx), ERR_NO_QUORUM);
	cert_encode(&w, &c);
	reader_init(&r, writer_slice(&w));
	cert_decode(&r, &back); /* what others send */
	ck_assert_int_ne(r.err, ERR_NONE);
	reader_init(&r, writer_slice(&w));
	cert_decode_stored(&r, &back); /* our own disk */
	ck_assert_int_eq(reader_finish(&r), ERR_NONE);
	ck_assert(back.kind == CERT_CRASH && back.in_term == 4 && back.count == 0 &&
		  block_ref_equal(&back.ref, &c.ref));
	for (size_t len = 0; len < w.len; len++) {
		reader_init(&r, slice_of(w.buf, len));
		cert_decode_stored(&r, &back);
		ck_assert_int_ne(reader_finish(&r), ERR_NONE);
	}
	/* with signatures of everybody it is still none */
	c.count = 4;
	c.signers = 15;
	ck_assert_int_eq(cert_check(&c, &ctx), ERR_NO_QUORUM);
	writer_free(&w);
	genesis_free(&g);
}
END_TEST

/* A document of such a chain is refused, whatever it shows: nothing, a note, or real votes of a
 * majority of its validators' keys. */
START_TEST(documents_of_baselines_prove_nothing)
{
	struct genesis g;
	struct chain_ctx ctx;
	struct errmsg m;
	struct hash none = {0};
	struct proof_document d;
	make_genesis(&g, baselines[_i]);
	genesis_ctx(&ctx, &g);
	struct block *block0 = genesis_block(&g, &ctx);
	struct signed_header sh = {.h = block0->sh.h};
	sh.h.height = sh.h.term = 1;
	sh.h.prev = sh.h.base = block0->hash;
	struct block_ref ref = {1, 1, {{0}}};
	header_hash(&ref.hash, &sh.h);
	for (unsigned kind = 0; kind < 3; kind++) {
		proof_document_init(&d);
		d.ch.count = 1;
		d.ch.headers = mem_dup(&sh, sizeof sh);
		if (kind == 1)
			d.ch.cert = (struct cert){.kind = CERT_CRASH, .ref = ref, .in_term = 1};
		if (kind == 2) {
			struct tally t;
			tally_init(&t, VOTE_COMMIT, &ref, &none);
			for (unsigned i = 0; i < 3; i++) {
				struct keypair key;
				uint8_t seed[32] = {1, (uint8_t)i};
				keypair_from_seed(&key, seed);
				struct vote v = {
					.kind = VOTE_COMMIT, .ref = ref, .signer = (uint16_t)i};
				vote_sign(&v, &ctx, &key);
				tally_add(&t, &v);
			}
			tally_cert(&t, CERT_TWO_ROUND, &d.ch.cert);
		}
		ck_assert_int_ne(certified_header_check(&d.ch, &ctx, &block0->hash), ERR_NONE);
		ck_assert_int_eq(proof_document_check(&d, &g, &m), ERR_UNSUPPORTED);
		/* form and links alone; a certificate has no place there */
		ck_assert_int_eq(unproven_header_check(&d.ch, &ctx, &block0->hash) == ERR_NONE,
				 d.ch.cert.count == 0);
		d.ch.headers[0].sig.b[5] = 1;
		ck_assert_int_ne(unproven_header_check(&d.ch, &ctx, &block0->hash), ERR_NONE);
		proof_document_free(&d);
	}
	block_drop(block0);
	genesis_free(&g);
}
END_TEST

/* Majorities, for the baselines only. */
START_TEST(quorums_follow_the_protocol)
{
	for (unsigned n = 1; n <= VALIDATORS_MAX; n++) {
		struct quorum k = quorum_crash(n), b = quorum_of(n);
		ck_assert_uint_eq(k.f, 0);
		ck_assert_uint_gt(2 * k.q, n);
		ck_assert_uint_le(2 * (k.q - 1), n);
		ck_assert_uint_eq(quorum_silent_max(&k), (n - 1) / 2);
		ck_assert_uint_eq(quorum_silent_max(&b), quorum_faults_tolerated(n));
	}
	struct genesis g;
	struct chain_ctx ctx;
	make_genesis(&g, PROTOCOL_HYBRID);
	genesis_ctx(&ctx, &g);
	ck_assert_uint_eq(ctx.quorum.f, 1);
	g.protocol = PROTOCOL_RAFT;
	genesis_ctx(&ctx, &g);
	ck_assert_uint_eq(ctx.quorum.f, 0);
	ck_assert_uint_eq(ctx.quorum.q, 3);
	genesis_free(&g);
}
END_TEST

int main(void)
{
	crypto_init();
	Suite *s = suite_create("baselines");
	TCase *t = tcase_create("simulated");
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, two_messages_a_follower_and_block, 0, 2 * SIZES);
	tcase_add_loop_test(t, one_extra_message_is_noticed, 0, 2);
	tcase_add_loop_test(t, a_lone_block_takes_three_messages_a_follower, 0, 2);
	tcase_add_loop_test(t, every_size_elects_and_commits, 0, 12);
	tcase_add_loop_test(t, a_minority_may_be_dead, 0, 2);
	tcase_add_loop_test(t, safe_through_faults_and_live_afterwards, 0, 8);
	tcase_add_loop_test(t, same_seed_same_run, 0, 2);
	tcase_add_loop_test(t, an_equivocating_leader_forks_the_baselines, 0, 4);
	tcase_add_loop_test(t, an_equivocating_leader_forks_neither_pbft_nor_hybrid, 0, 4);
	suite_add_tcase(s, t);
	t = tcase_create("proof");
	tcase_add_loop_test(t, a_commit_is_no_certificate, 0, 2);
	tcase_add_loop_test(t, documents_of_baselines_prove_nothing, 0, 2);
	tcase_add_test(t, quorums_follow_the_protocol);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
