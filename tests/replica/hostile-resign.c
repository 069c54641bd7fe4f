/* Leaders that resign, and go on all the same. */
#include "tests/replica/hostile.h"

static struct block *chain_tip;
static uint64_t term;
static uint64_t nonce[3];

static struct slice put(unsigned client)
{
	struct op op = op_put("k", "x");
	return world_tx(&w, &w.client[client], ++nonce[client], chain_tip->sh.h.height + 500,
			&op, 1);
}

static void begin(void)
{
	struct term_cert tc;
	memset(nonce, 0, sizeof nonce);
	term = LEADER;
	chain_tip = first_block(&tc);
	ck_assert_int_eq(ledger_execute(w.ledger, chain_tip, false), ERR_NONE);
	world_finalize(&w, chain_tip);
	forget_sent();
}

static void beat(void)
{
	heartbeat(LEADER, term, NULL, chain_tip, chain_tip->sh.h.height);
}

static void resigns(unsigned successor)
{
	struct writer out = {0};
	struct msg_resign m = {.term = term, .successor = (uint16_t)successor};
	msg_resign_encode(&out, &m);
	deliver(LEADER, &out);
}

/* The next term of the same leader. */
static void elected_again(void)
{
	struct term_cert tc;
	term += 4;
	make_tc(&tc, term, chain_tip);
	heartbeat(LEADER, term, &tc, chain_tip, chain_tip->sh.h.height);
}

static bool is_granted(unsigned candidate)
{
	static struct msg_vote_request m;
	struct term_cert tc;
	struct writer out = {0};
	make_tc(&tc, LEADER, w.block0);
	m = (struct msg_vote_request){.term = term + 1};
	entitlement_init(&m.entitlement);
	position_init(&m.position);
	m.position.tip = block_ref_of(chain_tip);
	term_cert_copy_ref(&m.position.tc, &tc);
	m.position.headers = mem_array(1, sizeof *m.position.headers);
	m.position.headers[m.position.header_count++] = chain_tip->sh;
	msg_vote_request_encode(&out, MSG_PRE_VOTE_REQUEST, &m);
	position_free(&m.position);
	forget_sent();
	deliver(candidate, &out);
	return newest(MSG_PRE_VOTE, candidate) != NULL;
}

static struct engine_status status(void)
{
	struct engine_status s;
	replica_status(replica, &s);
	return s;
}

/* The leader orders nothing; it resigns and is elected again, sooner than anybody's timer. */
START_TEST(who_resigns_again_and_again_is_timed_out)
{
	struct hash id;
	begin();
	struct slice mine = put(1);
	ck_assert_int_eq(replica_submit(replica, now, mine, false, &id), ERR_NONE);
	for (unsigned round = 0; round < 200 && !status().escalated; round++) {
		resigns(LEADER);
		pass(HEARTBEAT);
		elected_again();
		heartbeat(0, 0, NULL, chain_tip, 1); /* it is there [I16] */
		pass(HEARTBEAT);
		forget_sent();
	}
	ck_assert_msg(status().escalated, "%u timeouts in 20 s",
		      (unsigned)status().counters[COUNT_TIMEOUTS_COUNTED]);
	world_free_txs(&mine, 1);
	block_drop(chain_tip);
}
END_TEST

/* An orderly one for who is told nothing of it, but that it leaves one transaction out; it may
 * resign in each of many terms. */
START_TEST(who_resigns_is_watched_if_it_goes_on)
{
	struct hash id;
	begin();
	struct slice mine = put(1);
	ck_assert_int_eq(replica_submit(replica, now, mine, false, &id), ERR_NONE);
	for (unsigned round = 0; round < 200 && !status().counters[COUNT_SUSPICIONS_CENSORSHIP];
	     round++) {
		struct slice tx = put(2);
		struct cert c;
		if (_i && round % 2 == 0)
			elected_again();
		if (_i || !round)
			resigns(LEADER);
		struct block *b = world_build(&w, chain_tip, term, &tx, 1, NULL);
		struct writer out = {0};
		msg_txs_encode(&out, MSG_RELAY, &tx, 1);
		deliver(0, &out);
		ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
		world_finalize(&w, b);
		append(LEADER, term, NULL, b, NULL);
		world_cert(&w, b, CERT_ONE_ROUND, 3, &c);
		append(LEADER, term, NULL, NULL, &c);
		ck_assert_uint_eq(final_height(), b->sh.h.height);
		block_drop(chain_tip);
		chain_tip = b;
		beat();
		world_free_txs(&tx, 1);
		pass(HEARTBEAT);
		forget_sent();
	}
	ck_assert_msg(status().counters[COUNT_SUSPICIONS_CENSORSHIP] != 0,
		      "10 s of censorship, and no suspicion");
	world_free_txs(&mine, 1);
	block_drop(chain_tip);
}
END_TEST

/* Each request is checked by all others. */
START_TEST(who_is_named_asks_a_few_times)
{
	unsigned asked = 0;
	begin();
	resigns(VICTIM);
	for (unsigned round = 0; round < 100; round++) {
		beat();
		pass(HEARTBEAT);
		for (unsigned i = 0; i < sent_count; i++)
			asked += sent[i].type == MSG_PRE_VOTE_REQUEST;
		forget_sent();
	}
	ck_assert_uint_ge(asked, 3);
	ck_assert_msg(asked <= 10, "%u requests in 5 s", asked);
	block_drop(chain_tip);
}
END_TEST

/* It stood already when the leader resigned, and one has granted. */
START_TEST(who_is_named_keeps_what_it_has_been_granted)
{
	begin();
	beat();
	forget_sent();
	while (!newest(MSG_PRE_VOTE_REQUEST, 0))
		pass(1000);
	grant(MALICE, term + 1, term);
	forget_sent();
	resigns(VICTIM);
	ck_assert_ptr_null(newest(MSG_VOTE_REQUEST, 0));
	grant(0, term + 1, term);
	ck_assert_ptr_nonnull(newest(MSG_VOTE_REQUEST, 0));
	block_drop(chain_tip);
}
END_TEST

/* Who is still heard after the time that an election may take leads as before. */
START_TEST(a_resignation_lapses)
{
	begin();
	beat();
	ck_assert(!is_granted(MALICE));
	resigns(0);
	ck_assert(is_granted(MALICE));
	for (unsigned round = 0; round < 20; round++) {
		beat();
		pass(HEARTBEAT);
	}
	ck_assert(!is_granted(MALICE));
	resigns(0); /* once a term */
	ck_assert(!is_granted(MALICE));
	block_drop(chain_tip);
}
END_TEST

/* A few in a row, as when one node after the other is stopped; not one each round trip. */
START_TEST(resignations_are_rationed)
{
	unsigned heard = 0, later = 0;
	begin();
	for (unsigned round = 0; round < 20; round++) {
		resigns(LEADER);
		heard += is_granted(MALICE);
		elected_again();
		pass(HEARTBEAT);
	}
	ck_assert_uint_eq(heard, 3);
	for (unsigned round = 0; round < 1200; round++) { /* 60 s */
		resigns(LEADER);
		later += is_granted(MALICE);
		elected_again();
		pass(HEARTBEAT);
		forget_sent();
	}
	ck_assert_uint_ge(later, 20);
	ck_assert_uint_le(later, 26);
	block_drop(chain_tip);
}
END_TEST

/* While no leader is alive anybody may ask, and have certificates checked: not for all our
 * time. */
START_TEST(pre_votes_are_rationed_meanwhile)
{
	unsigned granted = 0;
	begin();
	beat();
	resigns(0);
	struct sig_counts before = sig_counts();
	for (unsigned i = 0; i < 5000; i++)
		granted += is_granted(MALICE);
	ck_assert_uint_ge(granted, 20);
	ck_assert_uint_le(sig_counts().checked - before.checked, 1000);
	ck_assert(is_granted(0)); /* each has its own */
	block_drop(chain_tip);
}
END_TEST

/* Not by whom does not lead, nor in another term. */
START_TEST(only_the_leader_resigns)
{
	struct writer out = {0};
	begin();
	beat();
	struct msg_resign m = {.term = term, .successor = MALICE};
	msg_resign_encode(&out, &m);
	deliver(MALICE, &out);
	ck_assert(!is_granted(MALICE));
	m.term = term + 4;
	msg_resign_encode(&out, &m);
	deliver(LEADER, &out);
	ck_assert(!is_granted(MALICE));
	resigns(60000);
	ck_assert(is_granted(MALICE));
	block_drop(chain_tip);
}
END_TEST

/* 0 and LEADER elect the victim; its term. */
static uint64_t elect_victim(void)
{
	static struct message_in in;
	struct writer out = {0};
	for (unsigned i = 0; i < 100 && !newest(MSG_PRE_VOTE_REQUEST, 0); i++)
		pass(HEARTBEAT / 5);
	const struct sent *s = newest(MSG_PRE_VOTE_REQUEST, 0);
	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	uint64_t t = in.vote_request.term;
	message_free(&in);
	for (unsigned i = 0; i < 2; i++)
		grant(i, t, LEADER);
	for (unsigned i = 0; i < 2; i++) {
		struct term_vote v = {.term = t,
				      .leader = VICTIM,
				      .base = block_ref_of(chain_tip),
				      .signer = (uint16_t)i};
		term_vote_sign(&v, &w.ctx, &w.validator[i]);
		msg_term_vote_encode(&out, &v);
		deliver(i, &out);
	}
	ck_assert_int_eq(status().role, ROLE_LEADER);
	return t;
}

static void answer(unsigned from, uint64_t t)
{
	struct writer out = {0};
	struct msg_heartbeat_ack a = {.term = t, .final_height = 1};
	msg_heartbeat_ack_encode(&out, &a);
	deliver(from, &out);
}

static unsigned count_sent(uint8_t type)
{
	unsigned count = 0;
	for (unsigned i = 0; i < sent_count; i++)
		count += sent[i].type == type;
	return count;
}

/* Asked twice: it says so once, to all, and of somebody who answers; then it is silent, asleep
 * until its timer, and proposes nothing. */
START_TEST(who_has_resigned_is_silent_and_asleep)
{
	static struct message_in in;
	struct hash id;
	begin();
	uint64_t t = elect_victim();
	pass(HEARTBEAT);
	forget_sent();
	replica_resign(replica, now);
	ck_assert(status().resigning);
	for (unsigned i = 0; i < 8; i++) { /* nobody has answered for long enough */
		pass(HEARTBEAT);
		replica_resign(replica, now);
	}
	ck_assert_uint_eq(count_sent(MSG_RESIGN), 0);
	answer(0, t);
	ck_assert_uint_eq(count_sent(MSG_RESIGN), 1);
	const struct sent *s = newest(MSG_RESIGN, MALICE);
	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	ck_assert_uint_eq(in.resign.term, t);
	ck_assert_uint_eq(in.resign.successor, 0);
	message_free(&in);
	uint64_t until = now + 4 * HEARTBEAT;
	for (unsigned wakes = 0; replica_wake_at(replica) < until; wakes++) {
		ck_assert_uint_lt(wakes, 3); /* of state sync */
		now = replica_wake_at(replica);
		replica_tick(replica, now);
	}
	forget_sent();
	struct slice mine = put(1);
	ck_assert_int_eq(replica_submit(replica, now, mine, false, &id), ERR_NONE);
	replica_resign(replica, now);
	answer(0, t);
	pass(HEARTBEAT);
	ck_assert_uint_eq(count_sent(MSG_RESIGN), 0);
	ck_assert_uint_eq(count_sent(MSG_HEARTBEAT), 0);
	ck_assert_uint_eq(count_sent(MSG_APPEND), 0);
	/* and stands for election itself when nothing comes of it */
	for (unsigned i = 0; i < 40 && !count_sent(MSG_PRE_VOTE_REQUEST); i++)
		pass(HEARTBEAT);
	ck_assert_uint_ge(count_sent(MSG_PRE_VOTE_REQUEST), 1);
	world_free_txs(&mine, 1);
	block_drop(chain_tip);
}
END_TEST

void hostile_resign(Suite *s)
{
	TCase *t = hostile_case(s, "resign", setup, 120);
	tcase_add_test(t, who_resigns_again_and_again_is_timed_out);
	tcase_add_loop_test(t, who_resigns_is_watched_if_it_goes_on, 0, 2);
	tcase_add_test(t, who_is_named_asks_a_few_times);
	tcase_add_test(t, who_is_named_keeps_what_it_has_been_granted);
	tcase_add_test(t, a_resignation_lapses);
	tcase_add_test(t, resignations_are_rationed);
	tcase_add_test(t, pre_votes_are_rationed_meanwhile);
	tcase_add_test(t, only_the_leader_resigns);
	tcase_add_test(t, who_has_resigned_is_silent_and_asleep);
}
