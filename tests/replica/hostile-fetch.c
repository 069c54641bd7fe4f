/* What is asked of peers, answered to them, and taken from them. */
#include "tests/replica/hostile.h"

/* ---- [H5] ---------------------------------------------------------------------------------
 * Block 2 was lost, block 3 is here: the leader has it, and says so with every heartbeat.
 * Replica 3 keeps the victim's one fetch to itself: a heartbeat of a higher term draws it, an
 * answer without blocks just before the time limit ends it, the next heartbeat draws the next.
 */

START_TEST(one_peer_does_not_keep_all_fetches)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct block *b2 = empty_block(b1, LEADER), *b3 = empty_block(b2, LEADER);
	heartbeat(MALICE, 1000000, NULL, b1, 1);
	ck_assert_ptr_nonnull(newest(MSG_FETCH, MALICE));
	forget_sent();
	append(LEADER, LEADER, NULL, b3, NULL);
	bool asked = false;
	for (unsigned ms = 1; ms < 10000 && !asked; ms++) {
		if (ms % 90 == 0) {
			struct block *fake = empty_block(b1, 4003 + 4 * ms); /* of no term */
			if (_i == 1)
				send_blocks(MALICE, NULL, 0, NULL, 1);
			if (_i == 2)
				send_blocks(MALICE, &fake, 1, NULL, 1);
			block_drop(fake);
			heartbeat(MALICE, 1000000, NULL, b1, 1);
		}
		if (ms % 50 == 0)
			heartbeat(LEADER, LEADER, NULL, b3, 1);
		pass(1000);
		asked = newest(MSG_FETCH, LEADER) != NULL || newest(MSG_FETCH, 0) != NULL;
	}
	ck_assert_msg(asked, "nobody but the liar is asked for block 2 in 10 s");
	block_drop(b3);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* Blocks of another's final chain come without a certificate, which did not fit: the rest is
 * asked for from there on, not the same again. */
START_TEST(a_long_final_chain_is_fetched_to_its_certificate)
{
	struct term_cert tc;
	struct block *chain[8] = {first_block(&tc)};
	static struct message_in in;
	for (unsigned i = 1; i < 8; i++)
		chain[i] = empty_block(chain[i - 1], LEADER);
	heartbeat(LEADER, LEADER, NULL, chain[7], 8);
	const struct sent *s = newest(MSG_FETCH, LEADER);
	ck_assert_ptr_nonnull(s);
	forget_sent();
	send_blocks(LEADER, chain + 1, 4, NULL, 8);
	pass(20000);
	s = newest(MSG_FETCH, LEADER);
	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	ck_assert_uint_eq(in.fetch.from_height, 6);
	message_free(&in);
	for (unsigned i = 0; i < 8; i++)
		block_drop(chain[i]);
}
END_TEST

/* The leader of pbft term 5 (1) and replica 0 name its NEW-VIEW by hash; so does replica 3,
 * sooner, and never answers. */
START_TEST(one_peer_does_not_keep_a_new_view_away)
{
	struct term_cert tc, ref;
	struct block *b1 = first_block(&tc);
	term_cert_init(&ref);
	ref.mode = MODE_PBFT;
	ref.term = 5;
	ref.new_view_hash = (struct hash){{7}};
	bool asked = false;
	for (unsigned ms = 1; ms < 10000 && !asked; ms++) {
		heartbeat(MALICE, 5, &ref, b1, 1);
		if (ms % 50 == 0) {
			heartbeat(LEADER, 5, &ref, b1, 1);
			heartbeat(0, 5, &ref, b1, 1);
		}
		pass(1000);
		asked = newest(MSG_FETCH_VIEW, LEADER) || newest(MSG_FETCH_VIEW, 0);
		if (sent_count > 1000 && !asked)
			forget_sent();
	}
	ck_assert_msg(asked, "nobody but the liar is asked for the NEW-VIEW in 10 s");
	block_drop(b1);
}
END_TEST

/* ---- [H5c] --------------------------------------------------------------------------------
 * The victim is primary of term 6 and misses the bodies behind two view changes. Replica 0,
 * which led term 4, answers no fetch; replica 1 would. */

START_TEST(bodies_are_asked_of_everybody_who_shows_some)
{
	struct term_cert tc, tc4;
	struct block *b1 = first_block(&tc);
	struct block *b2 = empty_block(b1, 4), *b3 = empty_block(b2, 4);
	struct view_change v;
	make_tc(&tc4, 4, b1);
	view_change_at(&v, 6, 1, &tc4, b2);
	view_change_sign(&v, &w.ctx, &w.validator[1]);
	struct view_change of_holder = v;
	view_change_at(&v, 6, 0, &tc4, b3);
	mem_free(v.position.headers);
	v.position.headers = mem_array(2, sizeof *v.position.headers);
	v.position.headers[0] = b3->sh;
	v.position.headers[1] = b2->sh;
	v.position.header_count = 2;
	view_change_sign(&v, &w.ctx, &w.validator[0]);
	send_view_change_of(&v);
	send_view_change_of(&of_holder);
	bool asked = false;
	for (unsigned i = 0; i < 200 && !asked; i++) {
		pass(HEARTBEAT);
		asked = newest(MSG_FETCH, 1) != NULL;
	}
	ck_assert_ptr_nonnull(newest(MSG_FETCH, 0));
	ck_assert_msg(asked, "replica 1 is not asked for what it shows in 10 s");
	block_drop(b3);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [H15] --------------------------------------------------------------------------------
 * FETCH has 17 bytes, its answer up to 2 MiB and 9 ms of the only thread. Fifty in one instant.
 */

START_TEST(fetches_of_one_peer_are_limited)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	unsigned answers = 0;
	forget_sent();
	for (unsigned i = 0; i < 50; i++) {
		struct writer out = {0};
		struct msg_fetch m = {.from_height = (uint64_t)_i + 1, .newest_tc = 0};
		msg_fetch_encode(&out, &m);
		deliver(MALICE, &out);
	}
	for (unsigned i = 0; i < sent_count; i++)
		answers += sent[i].type == MSG_BLOCKS;
	ck_assert_msg(answers >= 1 && answers <= 4, "%u answers", answers);
	block_drop(b1);
}
END_TEST

/* ---- [H18] --------------------------------------------------------------------------------
 * The log is bounded by 1024 blocks, of up to 4 MB each: replica 3 sends blocks of terms that
 * do not exist, wrong in this state (so: no proof), and all of them are kept, 300 here of 1 MB.
 */

START_TEST(what_a_peer_sends_is_bounded_in_bytes)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	static char big[60000];
	struct writer body = {0};
	struct hash leaves[16], root, wrong = {{1}};
	memset(big, 'x', sizeof big - 1);
	body_begin(&body);
	for (unsigned i = 0; i < 16; i++) {
		struct op op = op_put("a", big);
		struct slice tx = world_tx(&w, &w.client[0], i + 1, 5000, &op, 1);
		body_add(&body, TX_OK, tx);
		body_leaf(&leaves[i], TX_OK, tx);
		mem_free((void *)tx.ptr);
	}
	body_end(&body, 16);
	merkle_root(&root, leaves, 16);
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
	uint64_t term = 4003;
	for (unsigned i = 0; i < 300; i++, term += 4) {
		struct block *fake =
			world_seal_block(&w, b1, term, writer_slice(&body), &root, &wrong, 16);
		heartbeat(MALICE, 1000000, NULL, b1, 1);
		send_blocks(MALICE, &fake, 1, NULL, 1);
		block_drop(fake);
		if (i % 10 == 0)
			heartbeat(LEADER, LEADER, NULL, b1, 1);
		pass(1000);
		forget_sent();
	}
	size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
	ck_assert_msg(after < before + (UINT64_C(160) << 20), "%zu MB kept",
		      (after - before) >> 20);
	writer_free(&body);
	block_drop(b1);
}
END_TEST

/* ---- [N3] ---------------------------------------------------------------------------------
 * A second of FETCH for a block of 2 MB, as fast as they are answered: each costs 9 ms of the
 * only thread. Small answers are cheap: 1. */

START_TEST(large_answers_are_rationed)
{
	struct term_cert tc;
	uint64_t nonce = 0;
	struct block *b1 = first_block(&tc), *b2;
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	b2 = _i == 0 ? big_block(b1, LEADER, &nonce) : empty_block(b1, LEADER);
	append(LEADER, LEADER, NULL, b2, NULL);
	ck_assert(has_prepared(b2));
	unsigned answers = 0;
	for (unsigned i = 0; i < 1000; i++) {
		struct writer out = {0};
		struct msg_fetch m = {.from_height = 2};
		forget_sent();
		msg_fetch_encode(&out, &m);
		deliver(MALICE, &out);
		answers += newest(MSG_BLOCKS, MALICE) != NULL;
		pass(1000);
	}
	if (_i == 0)
		ck_assert_msg(answers <= 24 && answers >= 5, "%u answers of 3.6 MB", answers);
	else
		ck_assert_msg(answers > 60, "%u answers of 1 KB", answers);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

START_TEST(new_views_are_rationed)
{
	struct term_cert tc, pbft;
	struct block *b1 = first_block(&tc);
	unsigned answers = 0;
	make_new_view(&pbft, 3, &tc, b1, 0);
	send_new_view(MALICE, &pbft);
	for (unsigned i = 0; i < 1000; i++) {
		struct writer out = {0};
		struct msg_fetch_view m = {.term = 3, .hash = pbft.new_view_hash};
		forget_sent();
		msg_fetch_view_encode(&out, &m);
		deliver(0, &out);
		answers += newest(MSG_NEW_VIEW, 0) != NULL;
	}
	ck_assert_msg(answers >= 4 && answers <= 40, "%u NEW-VIEWs in no time", answers);
	term_cert_free(&pbft);
	block_drop(b1);
}
END_TEST

/* ---- [N7] ---------------------------------------------------------------------------------
 * Relayed transactions with false signatures: each message costs 60 ms of the only thread. What
 * others pass on meanwhile comes through. */

static void relay_one(unsigned from, struct slice tx)
{
	struct writer out = {0};
	msg_txs_encode(&out, MSG_RELAY, &tx, 1);
	deliver(from, &out);
}

START_TEST(false_transactions_are_rationed)
{
	struct term_cert tc;
	struct engine_status s;
	verify_txs = true;
	replica_close(replica);
	open_replica();
	verify_txs = false;
	struct block *b1 = first_block(&tc);
	struct slice bad[100], good;
	struct op op = op_put("a", "1");
	for (unsigned i = 0; i < 100; i++) {
		bad[i] = world_tx(&w, &w.client[0], i + 1, 5000, &op, 1);
		((uint8_t *)bad[i].ptr)[bad[i].len - 1] ^= 1;
	}
	good = world_tx(&w, &w.client[1], 1, 5000, &op, 1);
	replica_status(replica, &s);
	uint64_t before = s.counters[COUNT_STALE_MESSAGES];
	struct writer out = {0};
	msg_txs_encode(&out, MSG_RELAY, bad, 50);
	deliver(MALICE, &out);
	for (unsigned i = 50; i < 100; i++)
		relay_one(MALICE, bad[i]);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.counters[COUNT_STALE_MESSAGES] - before, 50);
	ck_assert_uint_eq(s.pool_count, 0);
	relay_one(0, good);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.pool_count, 1);
	pass(300000); /* not for ever */
	world_free_txs(&good, 1);
	good = world_tx(&w, &w.client[2], 1, 5000, &op, 1);
	relay_one(MALICE, good);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.pool_count, 2);
	world_free_txs(&good, 1);
	world_free_txs(bad, 100);
	block_drop(b1);
}
END_TEST

/* ---- seed 700067 at n=4 -------------------------------------------------------------------
 * Finality moves the tip of an escalated replica, which has nothing to send for it. Were the
 * tip not written with the certificate, a restart would find one that finality has left behind:
 * nothing that could be shown, no view change, and at n=4 no progress without it. */

START_TEST(a_tip_that_finality_moved_survives_a_restart)
{
	struct term_cert tc, next;
	struct engine_status status;
	struct cert c;
	struct block *b1 = first_block(&tc);
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	make_tc(&next, 5, b1);
	struct block *b2 = empty_block(b1, 5);
	heartbeat(LEADER, 5, &next, b1, 1);
	others_move_on(7, &next, b1);
	replica_status(replica, &status);
	ck_assert(status.escalated && status.tc_term == 5 && status.tip.height == 1);
	world_cert(&w, b2, CERT_ONE_ROUND, 3, &c);
	heartbeat(0, 1000000, NULL, b2, 2);
	ck_assert_ptr_nonnull(newest(MSG_FETCH, 0));
	send_blocks(0, &b2, 1, &c, 2);
	ck_assert_uint_eq(final_height(), 2);
	replica_close(replica);
	forget_sent();
	open_replica();
	replica_status(replica, &status);
	ck_assert_uint_eq(status.final.height, 2);
	ck_assert_uint_eq(status.tip.term, 5);
	ck_assert_uint_eq(status.tip.height, 2);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [R8] ---------------------------------------------------------------------------------
 * Finality comes without the certificate of its term, that later and with a new term. */

START_TEST(the_certificate_that_was_missing_moves_the_tip)
{
	struct term_cert tc, next;
	struct cert c;
	struct block *b1 = first_block(&tc);
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	make_tc(&next, 5, b1);
	struct block *b2 = empty_block(b1, 5);
	world_cert(&w, b2, CERT_ONE_ROUND, 3, &c);
	heartbeat(0, 1000000, NULL, b2, 2);
	ck_assert_ptr_nonnull(newest(MSG_FETCH, 0));
	send_blocks(0, &b2, 1, &c, 2);
	ck_assert_uint_eq(final_height(), 2);
	ck_assert_uint_eq(tip_of_victim().height, 1);
	heartbeat(LEADER, 5, &next, b2, 2);
	ck_assert_uint_eq(tip_of_victim().height, 2);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

void hostile_fetch(Suite *s)
{
	TCase *t = hostile_case(s, "fetch", setup, 120);
	tcase_add_test(t, a_tip_that_finality_moved_survives_a_restart);
	tcase_add_test(t, the_certificate_that_was_missing_moves_the_tip);
	tcase_add_loop_test(t, one_peer_does_not_keep_all_fetches, 0, 3);
	tcase_add_test(t, a_long_final_chain_is_fetched_to_its_certificate);
	tcase_add_test(t, one_peer_does_not_keep_a_new_view_away);
	tcase_add_test(t, bodies_are_asked_of_everybody_who_shows_some);
	tcase_add_loop_test(t, fetches_of_one_peer_are_limited, 0, 2);
	tcase_add_test(t, what_a_peer_sends_is_bounded_in_bytes);
	tcase_add_test(t, false_transactions_are_rationed);
	tcase_add_test(t, new_views_are_rationed);
	TCase *large = hostile_case(s, "fetch, large blocks", setup_large, 300);
	tcase_add_loop_test(large, large_answers_are_rationed, 0, 2);
}
