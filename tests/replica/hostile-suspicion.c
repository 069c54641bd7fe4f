/* Suspicion: a leader is slow when it orders less than before while something waits for it, and
 * a censor when it passes over what is valid and known to all. */
#include "tests/replica/hostile.h"

static struct block *chain_tip;
static uint64_t term; /* of LEADER */
static uint64_t nonce[8];

static void begin(void)
{
	struct term_cert tc;
	memset(nonce, 0, sizeof nonce);
	term = LEADER;
	chain_tip = first_block(&tc);
	ck_assert_int_eq(ledger_execute(w.ledger, chain_tip, false), ERR_NONE);
	world_finalize(&w, chain_tip);
}

/* The leader orders these: a block, the victim's vote, its certificate. */
static void order(const struct slice *txs, unsigned count)
{
	struct block *b = world_build(&w, chain_tip, term, txs, count, NULL);
	struct cert c;
	ck_assert_uint_eq(b->tx_count, count);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	world_finalize(&w, b);
	append(LEADER, term, NULL, b, NULL);
	world_cert(&w, b, CERT_ONE_ROUND, 3, &c);
	append(LEADER, term, NULL, NULL, &c);
	ck_assert_uint_eq(final_height(), b->sh.h.height);
	block_drop(chain_tip);
	chain_tip = b;
	heartbeat(LEADER, term, NULL, b, b->sh.h.height);
}

/* A put to key k: of the client's next nonce, or of its newest again. */
static struct slice put(unsigned client, const char *value, bool again)
{
	struct op op = op_put("k", value);
	return world_tx(&w, &w.client[client], again ? nonce[client] : ++nonce[client],
			chain_tip->sh.h.height + 500, &op, 1);
}

static void relay_many(unsigned from, const struct slice *txs, unsigned count)
{
	struct writer out = {0};
	msg_txs_encode(&out, MSG_RELAY, txs, count);
	deliver(from, &out);
}

static void relay_to_victim(unsigned from, struct slice tx)
{
	relay_many(from, &tx, 1);
}

/* The next heartbeat: the leader orders a new transaction of client 2, and these. */
static void order_with(const struct slice *also, unsigned count)
{
	struct slice txs[2] = {put(2, "y", false)};
	relay_to_victim(0, txs[0]);
	pass(HEARTBEAT / 10);
	if (count)
		txs[1] = *also;
	order(txs, 1 + count);
	world_free_txs(txs, 1);
	pass(HEARTBEAT - HEARTBEAT / 10);
}

static uint64_t suspicions(void)
{
	struct engine_status s;
	replica_status(replica, &s);
	return s.counters[COUNT_SUSPICIONS_SLOW] + s.counters[COUNT_SUSPICIONS_CENSORSHIP];
}

/* An honest leader orders at once whatever is valid. Then there is less to order; and somebody
 * passes on to the victim rivals, of the same nonce, of what it gives to the leader. */
START_TEST(void_transactions_do_not_wait)
{
	begin();
	for (unsigned round = 0; round < 600; round++) {
		unsigned count = round < 200 ? 20 : 1;
		struct slice txs[20], rival = {0};
		for (unsigned i = 0; i < count; i++)
			txs[i] = put(1, "good", false);
		relay_to_victim(0, txs[0]); /* followers hold what their leader orders */
		if (_i == 1 && round % 3 == 0) {
			rival = put(1, "rival", true);
			relay_to_victim(MALICE, rival);
		}
		pass(HEARTBEAT / 10);
		order(txs, count);
		world_free_txs(txs, count);
		if (rival.ptr)
			world_free_txs(&rival, 1);
		pass(HEARTBEAT - HEARTBEAT / 10);
		forget_sent();
		ck_assert_msg(!suspicions(), "round %u", round);
	}
	block_drop(chain_tip);
}
END_TEST

#define QUEUE	    15600
#define CLIENTS_MAX 8

/* The leader orders a little less in each window, while hundreds wait at the victim. */
START_TEST(a_leader_may_not_slow_down_by_and_by)
{
	begin();
	struct slice *queue = mem_array(QUEUE, sizeof *queue);
	unsigned head = 0, tail = 0, client = 0;
	double rate = 40, due = 0; /* transactions in a heartbeat */
	for (unsigned round = 1; round < 2400 && !suspicions(); round++) {
		for (; tail < QUEUE && tail - head < 400; tail++) {
			queue[tail] = put(client++ % CLIENTS_MAX, "x", false);
			relay_to_victim(0, queue[tail]);
		}
		unsigned count = 0;
		for (due += rate; due >= 1 && head + count < tail; due--)
			count++;
		if (count)
			order(queue + head, count);
		else
			heartbeat(LEADER, term, NULL, chain_tip, chain_tip->sh.h.height);
		head += count;
		pass(HEARTBEAT);
		forget_sent();
		if (round % 130 == 0)
			rate = rate * 0.6 > 0.25 ? rate * 0.6 : 0.25;
	}
	ck_assert_msg(suspicions(), "%.2f a heartbeat, %u wait", rate, tail - head);
	world_free_txs(queue, tail);
	mem_free(queue);
	block_drop(chain_tip);
}
END_TEST

/* MALICE shows the victim transactions whose rivals its client gives to the leader, who orders
 * at once what is valid. More of them than are looked at again in one go, or fewer. */
START_TEST(void_transactions_are_no_censorship)
{
	unsigned count = _i ? 40 : 10;
	struct slice good[40], bad[40];
	begin();
	for (unsigned i = 0; i < count; i++) {
		good[i] = put(1, "good", false);
		bad[i] = put(1, "rival", true);
	}
	relay_many(MALICE, bad, count);
	order(good, count);
	for (unsigned round = 0; round < 100; round++) {
		order_with(NULL, 0);
		forget_sent();
		ck_assert_msg(!suspicions(), "round %u", round);
	}
	world_free_txs(good, count);
	world_free_txs(bad, count);
	block_drop(chain_tip);
}
END_TEST

static unsigned relays_of(struct slice tx)
{
	static struct message_in in;
	unsigned relays = 0;
	for (unsigned i = 0; i < sent_count; i++) {
		if (sent[i].type != MSG_RELAY)
			continue;
		ck_assert_int_eq(message_decode(&in, writer_slice(&sent[i].bytes)), ERR_NONE);
		for (uint32_t k = 0; k < in.txs.count; k++)
			relays += slice_equal(in.txs.tx[k], tx);
		message_free(&in);
	}
	return relays;
}

/* Forty wait at the victim; the leader leaves out one of them, among the oldest or not, and
 * orders the others and all that comes. */
START_TEST(each_that_waits_is_watched)
{
	struct slice mine[40];
	unsigned left_out = _i ? 20 : 3, relays = 0, round;
	begin();
	for (unsigned i = 0; i < 40; i++) {
		struct hash id;
		mine[i] = put(1, "mine", false);
		ck_assert_int_eq(replica_submit(replica, now, mine[i], false, &id), ERR_NONE);
	}
	for (round = 0; round < 400 && !suspicions(); round++) {
		bool one = round >= 10 && round < 50 && round - 10 != left_out;
		order_with(one ? &mine[round - 10] : NULL, one);
		relays += relays_of(mine[left_out]);
		forget_sent();
	}
	ck_assert_uint_ge(relays, 1);
	ck_assert_uint_lt(round, 400);
	world_free_txs(mine, 40);
	block_drop(chain_tip);
}
END_TEST

/* A leader that leaves one out is elected again and again, before it is suspected of it. */
START_TEST(a_new_term_of_its_own_is_no_pardon)
{
	struct hash id;
	struct term_cert tc;
	begin();
	struct slice mine = put(1, "mine", false);
	ck_assert_int_eq(replica_submit(replica, now, mine, false, &id), ERR_NONE);
	for (unsigned round = 1; round < 200 && !suspicions(); round++) {
		order_with(NULL, 0);
		forget_sent();
		if (round % 8 == 0) { /* 400 ms; three timeouts are 900 */
			term += 4;
			make_tc(&tc, term, chain_tip);
			heartbeat(LEADER, term, &tc, chain_tip, chain_tip->sh.h.height);
		}
	}
	ck_assert(suspicions());
	world_free_txs(&mine, 1);
	block_drop(chain_tip);
}
END_TEST

/* What the others were told may have been lost on the way: it is told again. */
START_TEST(what_is_left_out_is_told_again)
{
	struct hash id;
	unsigned relays = 0;
	begin();
	struct slice mine = put(1, "mine", false);
	ck_assert_int_eq(replica_submit(replica, now, mine, false, &id), ERR_NONE);
	for (unsigned round = 0; round < 400; round++) {
		order_with(NULL, 0);
		relays += relays_of(mine);
		forget_sent();
	}
	ck_assert_uint_ge(relays, 10);
	world_free_txs(&mine, 1);
	block_drop(chain_tip);
}
END_TEST

/* The leader has no quorum for a while, then our own machine stands still for 3 s, and what it
 * reads first makes a block final that was under way. */
START_TEST(a_pause_of_ours_is_no_censorship)
{
	struct hash id;
	struct cert c;
	begin();
	struct slice mine = put(1, "mine", false), other = put(2, "z", false);
	ck_assert_int_eq(replica_submit(replica, now, mine, false, &id), ERR_NONE);
	for (unsigned i = 0; i < 10; i++) {
		pass(HEARTBEAT);
		heartbeat(LEADER, term, NULL, chain_tip, chain_tip->sh.h.height);
		if (i == 3)
			order_with(NULL, 0);
	}
	struct block *b = world_build(&w, chain_tip, term, &other, 1, NULL);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	world_cert(&w, b, CERT_ONE_ROUND, 3, &c);
	append(LEADER, term, NULL, b, NULL);
	ck_assert(has_prepared(b));
	if (_i)
		now += 3000000;
	append(LEADER, term, NULL, NULL, &c);
	ck_assert_uint_eq(final_height(), b->sh.h.height);
	ck_assert(!suspicions());
	world_free_txs(&mine, 1);
	world_free_txs(&other, 1);
	block_drop(b);
	block_drop(chain_tip);
}
END_TEST

static void suspect(unsigned from, enum escalation_reason reason)
{
	struct writer out = {0};
	struct suspicion s = {
		.term = LEADER, .leader = LEADER, .reason = reason, .signer = (uint16_t)from};
	suspicion_sign(&s, &w.ctx, &w.validator[from]);
	msg_suspicion_encode(&out, &s);
	deliver(from, &out);
}

static bool escalated(void)
{
	struct engine_status s;
	replica_status(replica, &s);
	return s.escalated;
}

/* What replica 0 suspected for a while, in this long term, is no help to MALICE for ever. Said
 * again it is; and a bad signature that 0 has seen stays one. */
START_TEST(old_suspicions_do_not_add_up)
{
	static const struct {
		enum escalation_reason reason;
		bool again, left;
	} cases[] = {{REASON_SLOW, false, false},
		     {REASON_CENSORSHIP, false, false},
		     {REASON_SLOW, true, true},
		     {REASON_SIGNATURE, false, true}};
	begin();
	suspect(0, cases[_i].reason);
	for (unsigned round = 0; round < 100; round++) {
		heartbeat(LEADER, term, NULL, chain_tip, chain_tip->sh.h.height);
		pass(HEARTBEAT);
		forget_sent();
		if (cases[_i].again)
			suspect(0, cases[_i].reason);
	}
	ck_assert(!escalated());
	suspect(MALICE, REASON_SLOW);
	ck_assert_int_eq(escalated(), cases[_i].left);
	block_drop(chain_tip);
}
END_TEST

void hostile_suspicion(Suite *s)
{
	TCase *t = hostile_case(s, "suspicion", setup, 120);
	tcase_add_loop_test(t, void_transactions_do_not_wait, 0, 2);
	tcase_add_test(t, a_leader_may_not_slow_down_by_and_by);
	tcase_add_loop_test(t, void_transactions_are_no_censorship, 0, 2);
	tcase_add_loop_test(t, each_that_waits_is_watched, 0, 2);
	tcase_add_test(t, a_new_term_of_its_own_is_no_pardon);
	tcase_add_test(t, what_is_left_out_is_told_again);
	tcase_add_loop_test(t, a_pause_of_ours_is_no_censorship, 0, 2);
	tcase_add_loop_test(t, old_suspicions_do_not_add_up, 0, 4);
}
