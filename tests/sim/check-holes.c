/* Directed scenarios, each of which shows a hole: it fails as long as the hole is there. The
 * world is calm but for what the interceptor does. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "consensus/hybrid/message.h"
#include "sim/world.h"
#include "tests/share.h"

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
 * One replica is cut off while the others make 400 blocks; then it hears everybody again, and
 * the load goes on. */

struct lag {
	unsigned victim;
	size_t from, to; /* heights between which it hears nothing */
	size_t caught_up_at;
	uint64_t healed_at;
	uint64_t victim_final;
};

static bool cut_off(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct lag *l = ctx;
	uint64_t bit = UINT64_C(1) << l->victim;
	l->victim_final = s->node[l->victim].final;
	if (s->log_len > l->to && !l->healed_at)
		l->healed_at = sim_now(s);
	s->stopped |= l->caught_up_at || (l->healed_at && sim_now(s) > l->healed_at + 20000000);
	if (s->log_len > l->to && !l->caught_up_at &&
	    s->node[l->victim].final + 20 > s->log_len)
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
	struct sim_options o = calm(4, 1000000);
	struct sim_result r;
	o.intercept = cut_off;
	o.intercept_ctx = &l;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict == SIM_OK, "%s", r.text);
	ck_assert_msg(l.caught_up_at, "20 s later %llu blocks are final, replica 3 has %llu",
		      (unsigned long long)r.decisions, (unsigned long long)l.victim_final);
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

/* Nobody hides anything, but checkpoints come faster than their votes: K = 1, 2, 4, 8. */
static bool just_silent(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct hider *h = ctx;
	if (h->evil == NOBODY && m->type == MSG_HEARTBEAT)
		h->evil = from;
	return from == h->evil && s->log_len > h->silent_from;
}

START_TEST(frequent_checkpoints_become_stable)
{
	struct hider h = {.evil = NOBODY, .silent_from = 4300};
	struct sim_options o = calm(4, 4400);
	struct sim_result r;
	o.intercept = just_silent;
	o.intercept_ctx = &h;
	o.clients = 60;
	o.checkpoint = 1u << _i;
	sim_run(&o, &r);
	ck_assert_uint_ne(r.verdict, SIM_SAFETY);
	ck_assert_msg(r.decisions > 4400,
		      "K = %u: %llu stable checkpoints seen, %llu blocks: %s", o.checkpoint,
		      (unsigned long long)r.counters[COUNT_CHECKPOINTS],
		      (unsigned long long)r.decisions, r.text);
}
END_TEST

/* Much sooner if the others have restarted once, one after the other: they read back only the
 * newest 2K + 2W + 2 headers, here 194. */

struct restarts {
	unsigned evil;
	uint64_t begun_at, silent_at;
	bool behind; /* somebody has not caught up by then: another hole [H4] */
};

static bool hide_and_restart(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct restarts *r = ctx;
	struct hider h = {.evil = r->evil, .silent_from = SIZE_MAX};
	if (r->evil == NOBODY && m->type == MSG_HEARTBEAT)
		r->evil = from;
	if (!r->begun_at && s->log_len > 600) {
		r->begun_at = sim_now(s);
		s->faults_on = true;
		for (unsigned i = 0, k = 0; i < 4; i++)
			if (i != r->evil)
				sim_push(s,
					 &(struct event){.at = sim_now(s) + 4000000 * k++ + 1,
							 .kind = EVENT_CRASH,
							 .node = i,
							 .life = s->node[i].life});
	}
	if (r->begun_at && !r->silent_at && sim_now(s) > r->begun_at + 14000000) {
		r->silent_at = s->log_len;
		s->faults_on = false;
		for (unsigned i = 0; i < 4; i++)
			r->behind |= s->node[i].final + 100 < s->log_len;
	}
	s->stopped |= r->silent_at && sim_now(s) > r->begun_at + 60000000;
	if (r->silent_at && from == r->evil)
		return true;
	return hide_checkpoints(&h, s, from, m);
}

START_TEST(checkpoints_cannot_be_hidden_from_those_who_restart)
{
	struct restarts h = {.evil = NOBODY};
	struct sim_options o = calm(4, 1000000);
	struct sim_result r;
	o.intercept = hide_and_restart;
	o.intercept_ctx = &h;
	o.clients = 1;
	sim_run(&o, &r);
	ck_assert_uint_ne(r.verdict, SIM_SAFETY);
	ck_assert_uint_gt(h.silent_at, 0);
	ck_assert(!h.behind);
	ck_assert_msg(r.decisions > h.silent_at + 50, "%llu blocks, %llu when it fell silent",
		      (unsigned long long)r.decisions, (unsigned long long)h.silent_at);
}
END_TEST

/* ---- [H3] ---------------------------------------------------------------------------------
 * Nobody is malicious. The leader's blocks reach one replica only, which votes for them; more
 * than 2 MiB later the leader crashes for good. */

struct torn {
	unsigned leader, only;
	size_t from;
	uint64_t torn_at, dead_at;
	unsigned lost, answers; /* every so many of them is lost; 0: none */
};

static bool tear(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct torn *t = ctx;
	s->stopped |= t->dead_at && sim_now(s) > t->dead_at + 30000000;
	if (t->leader == NOBODY && m->type == MSG_APPEND) {
		t->leader = from;
		t->only = (from + 1) % 4;
	}
	if (t->dead_at && t->lost && m->type == MSG_BLOCKS && ++t->answers % t->lost == 0)
		return true;
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
	t.lost = _i == 3 ? 2 : _i == 4 ? 3 : 0;
	sim_run(&o, &r);
	ck_assert_uint_ne(r.verdict, SIM_SAFETY);
	ck_assert_msg(r.decisions > 100, "%llu blocks in the 30 s after the leader died",
		      (unsigned long long)r.decisions);
}
END_TEST

/* ---- [H13] --------------------------------------------------------------------------------
 * The first leader signs one block from the far future, for which nobody votes, and brings
 * everybody into pbft mode by a proof against itself. Then it says nothing any more but its
 * view changes, which show that block, and its body. */

struct prophet {
	unsigned evil;
	uint64_t ahead_ms; /* 0: by ages */
	struct block *block;
	struct position position;
	bool has_position;
	uint64_t begun_at;
	size_t begun;
};

static struct block *from_the_future(struct sim *s, const struct block *b, uint64_t ahead_ms)
{
	struct signed_header sh = b->sh;
	struct block *out;
	sh.h.time_ms = ahead_ms ? sh.h.time_ms + ahead_ms : UINT64_C(1) << 62;
	signed_header_sign(&sh, &s->ctx, &s->node[sh.h.leader].key);
	ck_assert_int_eq(block_new(&out, &sh, slice_of(b->body, b->body_size)), ERR_NONE);
	return out;
}

static void send_encoded(struct sim *s, unsigned from, const struct message *like,
			 struct writer *w)
{
	struct message m = *like;
	m.bytes = writer_slice(w);
	sim_send_as(s, from, &m);
	writer_free(w);
}

static void show_the_future(struct prophet *p, struct sim *s, const struct message *m)
{
	struct writer w = {0};
	ck_assert_int_eq(message_decode(&in, m->bytes), ERR_NONE);
	struct position *shown = &in.view_change.vc.position;
	if (!p->has_position && shown->tip.term == p->block->sh.h.term && shown->header_count) {
		p->has_position = true;
		p->position = *shown;
		position_init(shown); /* moved */
		while (p->position.header_count > 1 &&
		       p->position.headers[0].h.height > p->block->sh.h.height) {
			p->position.header_count--;
			memmove(p->position.headers, p->position.headers + 1,
				p->position.header_count * sizeof p->position.headers[0]);
		}
		ck_assert_uint_eq(p->position.headers[0].h.height, p->block->sh.h.height);
		p->position.headers[0] = p->block->sh;
		p->position.tip = block_ref_of(p->block);
	}
	if (p->has_position) {
		struct position was = *shown;
		*shown = p->position;
		view_change_sign(&in.view_change.vc, &s->ctx, &s->node[p->evil].key);
		msg_view_change_encode(&w, &in.view_change);
		*shown = was;
		send_encoded(s, p->evil, m, &w);
	}
	message_free(&in);
}

/* A proof against itself: everybody goes over to pbft mode at once. */
static void confess(struct prophet *p, struct sim *s)
{
	struct vote v[2];
	struct writer bytes = {0}, w = {0}, encoded = {0};
	struct evidence ev;
	for (unsigned i = 0; i < 2; i++) {
		v[i] = (struct vote){.kind = VOTE_COMMIT,
				     .ref = {.term = 1, .height = 1, .hash = {{(uint8_t)i}}},
				     .signer = (uint16_t)p->evil};
		vote_sign(&v[i], &s->ctx, &s->node[p->evil].key);
	}
	ck_assert(evidence_of_votes(&ev, &bytes, &v[0], &v[1]));
	evidence_encode(&encoded, &ev);
	msg_evidence_encode(&w, writer_slice(&encoded));
	struct message m = {.to = 15 & ~(UINT64_C(1) << p->evil), .type = MSG_EVIDENCE};
	send_encoded(s, p->evil, &m, &w);
	writer_free(&bytes);
	writer_free(&encoded);
}

static bool prophesy(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct prophet *p = ctx;
	struct writer w = {0};
	if (p->evil == NOBODY && m->type == MSG_APPEND)
		p->evil = from;
	s->stopped |= p->begun_at && sim_now(s) > p->begun_at + 120000000;
	if (from != p->evil || (!p->block && s->log_len < 40))
		return false;
	if (!p->block) {
		if (m->type != MSG_APPEND)
			return false;
		ck_assert_int_eq(message_decode(&in, m->bytes), ERR_NONE);
		if (in.append.count == 1) {
			p->block = from_the_future(s, in.append.blocks[0], p->ahead_ms);
			p->begun_at = sim_now(s);
			p->begun = s->log_len;
			s->corrupt |= UINT64_C(1) << p->evil; /* for the checkers */
			block_drop(in.append.blocks[0]);
			in.append.blocks[0] = block_hold(p->block);
			msg_append_encode(&w, &in.append);
			send_encoded(s, from, m, &w);
			confess(p, s);
		}
		message_free(&in);
		return true;
	}
	if (m->type == MSG_VIEW_CHANGE)
		show_the_future(p, s, m);
	if (m->type == MSG_BLOCKS) {
		static struct msg_blocks answer;
		answer = (struct msg_blocks){.count = 1,
					     .final_height = p->block->sh.h.height - 1};
		answer.blocks[0] = p->block;
		msg_blocks_encode(&w, &answer);
		send_encoded(s, from, m, &w);
	}
	return true;
}

START_TEST(a_block_from_the_future_does_not_stop_the_clock)
{
	struct prophet p = {.evil = NOBODY};
	struct sim_options o = calm(4, 1000000);
	struct sim_result r;
	o.intercept = prophesy;
	o.intercept_ctx = &p;
	o.clients = 4;
	o.seed = (uint64_t)_i / 3;
	p.ahead_ms = _i % 3 == 1 ? 300000 : _i % 3 == 2 ? 70000 : 0;
	sim_run(&o, &r);
	ck_assert_msg(r.verdict != SIM_SAFETY, "%s", r.text);
	ck_assert_ptr_nonnull(p.block);
	ck_assert_msg(r.decisions > p.begun + 50,
		      "%llu blocks 120 s after block %zu; %llu NEW-VIEWs, %llu blocks refused",
		      (unsigned long long)r.decisions, p.begun,
		      (unsigned long long)r.counters[COUNT_NEW_VIEWS],
		      (unsigned long long)r.counters[COUNT_BLOCKS_REFUSED]);
	position_free(&p.position);
	block_drop(p.block);
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
	if (!getenv("HOLE") || strstr("H13", getenv("HOLE")))
		tcase_add_loop_test(t, a_block_from_the_future_does_not_stop_the_clock, 1,
				    (int)share(36));
	if (!getenv("HOLE") || strstr("H2c", getenv("HOLE")))
		tcase_add_loop_test(t, frequent_checkpoints_become_stable, 0, 4);
	if (!getenv("HOLE") || strstr("H2b", getenv("HOLE")))
		tcase_add_test(t, checkpoints_cannot_be_hidden_from_those_who_restart);
	if (!getenv("HOLE") || strstr("H3", getenv("HOLE")))
		tcase_add_loop_test(t, long_unfinal_chains_can_be_fetched, 0, 5);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
