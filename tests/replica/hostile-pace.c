/* Pace: a leader is slow when it orders less than before while something waits for it. */
#include "tests/replica/hostile.h"

static struct block *chain_tip;
static uint64_t nonce[8];

static void begin(void)
{
	struct term_cert tc;
	memset(nonce, 0, sizeof nonce);
	chain_tip = first_block(&tc);
	ck_assert_int_eq(ledger_execute(w.ledger, chain_tip, false), ERR_NONE);
	world_finalize(&w, chain_tip);
}

/* The leader orders these: a block, the victim's vote, its certificate. */
static void order(const struct slice *txs, unsigned count)
{
	struct block *b = world_build(&w, chain_tip, LEADER, txs, count, NULL);
	struct cert c;
	ck_assert_uint_eq(b->tx_count, count);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	world_finalize(&w, b);
	append(LEADER, LEADER, NULL, b, NULL);
	world_cert(&w, b, CERT_ONE_ROUND, 3, &c);
	append(LEADER, LEADER, NULL, NULL, &c);
	ck_assert_uint_eq(final_height(), b->sh.h.height);
	block_drop(chain_tip);
	chain_tip = b;
	heartbeat(LEADER, LEADER, NULL, b, b->sh.h.height);
}

/* A put to key k: of the client's next nonce, or of its newest again. */
static struct slice put(unsigned client, const char *value, bool again)
{
	struct op op = op_put("k", value);
	return world_tx(&w, &w.client[client], again ? nonce[client] : ++nonce[client],
			chain_tip->sh.h.height + 500, &op, 1);
}

static void relay_to_victim(unsigned from, struct slice tx)
{
	struct writer out = {0};
	msg_txs_encode(&out, MSG_RELAY, &tx, 1);
	deliver(from, &out);
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
			heartbeat(LEADER, LEADER, NULL, chain_tip, chain_tip->sh.h.height);
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

void hostile_pace(Suite *s)
{
	TCase *t = hostile_case(s, "pace", setup, 120);
	tcase_add_loop_test(t, void_transactions_do_not_wait, 0, 2);
	tcase_add_test(t, a_leader_may_not_slow_down_by_and_by);
}
