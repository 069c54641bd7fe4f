/* Directed scenarios, each of which shows a hole: it fails as long as the hole is there. The world
 * is calm but for what the interceptor does. Not among TESTS; by hand: tests/sim/check-holes. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/world.h"
#include "consensus/hybrid/message.h"

static struct message_in in;

static struct sim_options calm(unsigned nodes, uint32_t decisions)
{
	return (struct sim_options){.nodes = nodes,
				    .seed = 7,
				    .decisions = decisions,
				    .clients = 8,
				    .scheme = SIG_SYMBOLIC,
				    .calm = true};
}

#define NOBODY 99u

/* m, but to fewer. True: none of it is to be sent by the world itself. */
static bool only_to(struct sim *s, unsigned from, const struct message *m, uint64_t mask)
{
	struct message less = *m;
	check_sent(s, from, m);
	less.to &= mask;
	if (less.to)
		sim_send_as(s, from, &less);
	return true;
}

/* ---- [H4] ---------------------------------------------------------------------------------
 * One replica is cut off while the others make 400 blocks; then it hears everybody again, and the
 * load goes on. */

struct lag {
	unsigned victim;
	size_t from, to; /* heights between which it hears nothing */
	size_t caught_up_at;
	uint64_t victim_final;
};

static bool cut_off(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct lag *l = ctx;
	uint64_t bit = UINT64_C(1) << l->victim;
	l->victim_final = s->node[l->victim].final;
	if (s->log_len > l->to && !l->caught_up_at && s->node[l->victim].final + 20 > s->log_len)
		l->caught_up_at = s->log_len;
	if (s->log_len < l->from || s->log_len > l->to)
		return false;
	if (from == l->victim)
		return true;
	return m->to & bit ? only_to(s, from, m, ~bit) : false;
}

START_TEST(a_laggard_catches_up_under_load)
{
	struct lag l = {.victim = 3, .from = 50, .to = 450};
	struct sim_options o = calm(4, 800);
	struct sim_result r;
	o.intercept = cut_off;
	o.intercept_ctx = &l;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s; replica 3 has %llu", r.text,
		      (unsigned long long)l.victim_final);
	ck_assert_msg(l.caught_up_at, "replica 3 is still behind after 350 more blocks");
}
END_TEST

/* ---- [H2] ---------------------------------------------------------------------------------
 * The first leader does its work, but its heartbeats never show a stable checkpoint. When more
 * blocks are final than a position may show headers, it falls silent. */

struct hider {
	unsigned evil;
	size_t silent_from;
};

static bool hide_checkpoints(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct hider *h = ctx;
	if (h->evil == NOBODY && m->type == MSG_HEARTBEAT)
		h->evil = from;
	if (from != h->evil)
		return false;
	if (s->log_len > h->silent_from)
		return true;
	if (m->type != MSG_HEARTBEAT || message_decode(&in, m->bytes))
		return false;
	struct writer w = {0};
	in.heartbeat.has_stable = false;
	msg_heartbeat_encode(&w, &in.heartbeat);
	message_free(&in);
	struct message less = *m;
	less.bytes = writer_slice(&w);
	sim_send_as(s, from, &less);
	writer_free(&w);
	return true;
}

START_TEST(checkpoints_cannot_be_hidden)
{
	struct hider h = {.evil = NOBODY, .silent_from = _i == 0 ? 300 : 4300};
	struct sim_options o = calm(4, (uint32_t)h.silent_from + 200);
	struct sim_result r;
	o.intercept = hide_checkpoints;
	o.intercept_ctx = &h;
	o.clients = 4;
	sim_run(&o, &r);
	/* not "level": the silent one does not ask for what it misses either */
	ck_assert_uint_ne(r.verdict, SIM_SAFETY);
	ck_assert_msg(r.decisions > h.silent_from + 200, "%llu blocks: %s",
		      (unsigned long long)r.decisions, r.text);
}
END_TEST

/* ---- [H3] ---------------------------------------------------------------------------------
 * Nobody is malicious. The leader's blocks reach one replica only, which votes for them; more than
 * 2 MiB later the leader crashes for good. */

struct torn {
	unsigned leader, only;
	size_t from;
	uint64_t torn_at, dead_at;
};

static bool tear(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct torn *t = ctx;
	s->stopped |= t->dead_at && sim_now(s) > t->dead_at + 30000000;
	if (t->leader == NOBODY && m->type == MSG_APPEND) {
		t->leader = from;
		t->only = (from + 1) % 4;
	}
	if (from != t->leader || s->log_len < t->from)
		return false;
	if (!t->torn_at)
		t->torn_at = sim_now(s);
	if (sim_now(s) > t->torn_at + 250000) {
		if (!t->dead_at)
			t->dead_at = sim_now(s);
		return true;
	}
	if (m->type == MSG_APPEND || m->type == MSG_BLOCKS)
		return only_to(s, from, m, UINT64_C(1) << t->only);
	return false;
}

START_TEST(long_unfinal_chains_can_be_fetched)
{
	struct torn t = {.leader = NOBODY, .from = 20};
	struct sim_options o = calm(4, 100);
	struct sim_result r;
	o.intercept = tear;
	o.intercept_ctx = &t;
	o.clients = 150;
	o.value_size = _i == 0 ? 8 : _i == 1 ? 2000 : 60000; /* 8: all is well */
	sim_run(&o, &r);
	ck_assert_msg(r.decisions > 100, "%llu blocks in the 30 s after the leader died",
		      (unsigned long long)r.decisions);
}
END_TEST

int main(void)
{
	crypto_init();
	Suite *s = suite_create("holes");
	TCase *t = tcase_create("holes");
	tcase_set_timeout(t, 600);
	if (!getenv("HOLE") || strstr("H4", getenv("HOLE")))
		tcase_add_test(t, a_laggard_catches_up_under_load);
	if (!getenv("HOLE") || strstr("H2", getenv("HOLE")))
		tcase_add_loop_test(t, checkpoints_cannot_be_hidden, 0, 2);
	if (!getenv("HOLE") || strstr("H3", getenv("HOLE")))
		tcase_add_loop_test(t, long_unfinal_chains_can_be_fetched, 0, 3);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
