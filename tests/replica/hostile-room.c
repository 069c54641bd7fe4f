/* Room for blocks, whatever others make us keep. */
#include "tests/replica/hostile.h"

/* ---- [H20] --------------------------------------------------------------------------------
 * The log is full of made-up blocks. One answer holds one of them and its child: making room
 * for the child throws the parent out, to which on_blocks() still points. */

START_TEST(a_full_log_forgets_nothing_in_use)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct block *fake[1024], *two[2];
	mallopt(M_PERTURB, 0x5a); /* what is freed is not what it was */
	for (unsigned i = 0; i < 1024; i++)
		fake[i] = empty_block(b1, 4003 + 4 * i);
	for (unsigned i = 0; i < 1024; i += 128) {
		heartbeat(MALICE, 1000000, NULL, b1, 1);
		send_blocks(MALICE, fake + i, 128, NULL, 1);
		pass(2000);
		heartbeat(LEADER, LEADER, NULL, b1, 1);
	}
	two[0] = fake[_i];
	two[1] = empty_block(fake[_i], 4003 + 4 * (unsigned)_i);
	heartbeat(MALICE, 1000000, NULL, b1, 1);
	send_blocks(MALICE, two, 2, NULL, 1);
	pass(2000);
	ck_assert_uint_eq(final_height(), 1);
	block_drop(two[1]);
	for (unsigned i = 0; i < 1024; i++)
		block_drop(fake[i]);
	block_drop(b1);
}
END_TEST

/* A storm of made-up trees while the leader goes on; nothing is to be lost, read after it is
 * gone, or refused. */
START_TEST(storm_of_made_up_trees)
{
	struct term_cert tc;
	struct block *tip = first_block(&tc);
	struct block **pool = mem_array(12000, sizeof *pool), *sent_now[200];
	unsigned made = 1, base = 0;
	struct random rnd;
	uint64_t term = 4003;
	pool[0] = tip;
	random_seed(&rnd, (uint64_t)_i);
	mallopt(M_PERTURB, 0x5a);
	for (unsigned round = 0; round < 150; round++) {
		unsigned count = 1 + (unsigned)random_below(&rnd, 60);
		for (unsigned i = 0; i < count; i++) {
			unsigned old = base + (unsigned)random_below(&rnd, made - base);
			if (random_chance(&rnd, 3, 4))
				pool[made++] = empty_block(pool[old], term += 4);
			else
				old = base + (unsigned)random_below(&rnd, made - base);
			sent_now[i] = random_chance(&rnd, 1, 3) ? pool[old] : pool[made - 1];
		}
		heartbeat(MALICE, 1000000, NULL, tip, 1);
		send_blocks(MALICE, sent_now, count, NULL, random_below(&rnd, 3));
		pass(1000 + random_below(&rnd, 120000));
		heartbeat(LEADER, LEADER, NULL, tip, tip->sh.h.height);
		if (random_chance(&rnd, 1, 15)) {
			struct block *next = empty_block(tip, LEADER);
			struct cert c;
			append(LEADER, LEADER, NULL, next, NULL);
			ck_assert(has_prepared(next));
			world_cert(&w, next, CERT_ONE_ROUND, 3, &c);
			append(LEADER, LEADER, NULL, NULL, &c);
			ck_assert_uint_eq(final_height(), next->sh.h.height);
			pool[made++] = next;
			tip = next;
			if (random_chance(&rnd, 1, 2))
				base = made - 1;
		}
		forget_sent();
	}
	ck_assert_msg(halted == NULL, "%s", halted);
	for (unsigned i = 0; i < made; i++)
		block_drop(pool[i]);
	mem_free(pool);
}
END_TEST

/* ---- [H24] --------------------------------------------------------------------------------
 * The leader's blocks fill the log to the last byte; the victim has voted for all of them,
 * nobody else has seen them. The next leader's first block holds nothing, and would make them
 * final. */

START_TEST(what_we_voted_for_leaves_room_for_more)
{
	struct term_cert tc, tc4;
	struct block *b = first_block(&tc);
	static uint8_t big[65536];
	uint64_t nonce = 0, left = LOG_BYTES_MAX - (uint64_t)_i; /* so much stays free */
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	while (left > 0) {
		struct slice tx[65];
		uint32_t count = 0;
		uint64_t room = left < 8000000 ? left / (left > 4000000 ? 2 : 1) : 3900000;
		room -= 4;
		while (room > 0) {
			size_t size = room > 130000 ? 60000 : room > 64000 ? room / 2 : room;
			struct op op = {.kind = OP_PUT,
					.key = slice_str("a"),
					.value = slice_of(big, 1)};
			struct slice small =
				world_tx(&w, &w.client[0], nonce + 1, 5000, &op, 1);
			op.value.len = size - 5 - (small.len - 1);
			mem_free((void *)small.ptr);
			tx[count] = world_tx(&w, &w.client[0], ++nonce, 5000, &op, 1);
			room -= tx[count++].len + 5;
		}
		struct block *next = world_build(&w, b, LEADER, tx, count, NULL);
		ck_assert_uint_eq(next->tx_count, count);
		left -= next->body_size;
		ck_assert_int_eq(ledger_execute(w.ledger, next, false), ERR_NONE);
		append(LEADER, LEADER, NULL, next, NULL);
		world_free_txs(tx, count);
		bool voted = has_prepared(next);
		forget_sent();
		if (!voted) { /* enough is enough */
			block_drop(next);
			break;
		}
		block_drop(b);
		b = next;
	}
	ck_assert_uint_gt(b->sh.h.height, 3);
	make_tc(&tc4, 4, b);
	struct block *first = empty_block(b, 4);
	heartbeat(0, 4, &tc4, b, 1);
	append(0, 4, NULL, first, NULL);
	ck_assert_msg(has_prepared(first), "no room for 4 bytes above what we voted for");
	block_drop(first);
	block_drop(b);
}
END_TEST

/* ---- [H26] --------------------------------------------------------------------------------
 * Two forks above the final block, both voted for in their terms, are on disk, together more
 * than the log holds. After a restart the newer one, which is the tip's, is the one that
 * counts. */

START_TEST(the_tip_comes_first_at_a_restart)
{
	struct term_cert tc, tc5;
	struct block *b1 = first_block(&tc), *b = block_hold(b1);
	uint64_t nonce = 0;
	unsigned length = _i == 0 ? 5 : 25; /* 5: all is well */
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	for (unsigned fork = 0; fork < 2; fork++) {
		uint64_t term = fork ? 5 : LEADER;
		if (fork) {
			make_tc(&tc5, 5, b1);
			heartbeat(LEADER, 5, &tc5, b1, 1);
			block_drop(b);
			b = block_hold(b1);
			nonce = 0;
		}
		for (unsigned i = 0; i < length; i++) {
			struct block *next = big_block(b, term, &nonce);
			append(LEADER, term, NULL, next, NULL);
			bool voted = has_prepared(next);
			forget_sent();
			ck_assert(voted || i >= 4);
			block_drop(voted ? b : next);
			b = voted ? next : b;
			if (!voted)
				break;
		}
	}
	length = (unsigned)b->sh.h.height - 1;
	replica_close(replica);
	open_replica();
	forget_sent();
	others_move_on(8, &tc, b1);
	static struct message_in in;
	const struct sent *s = newest(MSG_VIEW_CHANGE, 1);
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	ck_assert_uint_eq(in.view_change.vc.position.tip.height, 1 + length);
	ck_assert_int_eq(position_check(&in.view_change.vc.position, 8, &w.ctx, &w.block0->hash,
					NULL, NULL),
			 ERR_NONE);
	message_free(&in);
	block_drop(b);
	block_drop(b1);
}
END_TEST

/* ---- [H27] --------------------------------------------------------------------------------
 * The leader shows QCs, but no final certificate: without work to wait for, nobody minds. Each
 * block is voted for and executed, until the ledger has no room for one more, in whatever term.
 * 1: and with a restart in between, after which the whole chain is judged at once. */

static void append_with_qc(struct block *b, const struct cert *qc)
{
	static struct msg_append m;
	struct writer out = {0};
	m = (struct msg_append){.term = LEADER, .has_qc = qc != NULL, .count = 1};
	if (qc)
		m.qc = *qc;
	m.blocks[0] = b;
	msg_append_encode(&out, &m);
	deliver(LEADER, &out);
}

START_TEST(hidden_finality_leaves_room_for_more)
{
	enum { LENGTH = 1200 };
	struct term_cert tc, tc4;
	struct block *chain[LENGTH + 1];
	chain[0] = first_block(&tc);
	struct cert qc;
	for (unsigned i = 1; i <= LENGTH; i++) {
		chain[i] = empty_block(chain[i - 1], LEADER);
		append_with_qc(chain[i], i > 1 ? &qc : NULL);
		world_cert(&w, chain[i], CERT_QC_FAST, 3, &qc);
		forget_sent();
	}
	ck_assert_uint_eq(final_height(), 1);
	struct block_ref tip = tip_of_victim();
	struct block *top = chain[tip.height - 1];
	ck_assert(hash_equal(&top->hash, &tip.hash));
	if (_i == 1) {
		replica_close(replica);
		open_replica();
		pass(2000);
	}
	make_tc(&tc4, 4, top);
	struct block *first = empty_block(top, 4);
	heartbeat(0, 4, &tc4, top, 1);
	append(0, 4, NULL, first, NULL);
	ck_assert_msg(has_prepared(first), "no room above %llu blocks that are not final",
		      (unsigned long long)tip.height - 1);
	struct cert c;
	world_cert(&w, first, CERT_ONE_ROUND, 3, &c);
	append(0, 4, NULL, NULL, &c);
	ck_assert_uint_eq(final_height(), first->sh.h.height);
	ck_assert_ptr_null(halted);
	block_drop(first);
	for (unsigned i = 0; i <= LENGTH; i++)
		block_drop(chain[i]);
}
END_TEST

/* ---- [H29] --------------------------------------------------------------------------------
 * The leader of term 1 has shown each of the others a chain of its own, as long as got their
 * votes. The victim is primary of term 2, and has to hold what the other two show. The leader
 * is silent. */


/* What got a vote of `signer`, as far as the victim would have voted for as much. */
static void show_chain(unsigned signer, const struct term_cert *tc, const struct block *b1,
		       struct block *const *chain, unsigned length)
{
	struct view_change v;
	view_change_at(&v, 2, signer, tc, chain[length - 1]);
	mem_free(v.position.headers);
	v.position.headers = mem_array(length + 1, sizeof *v.position.headers);
	v.position.header_count = length + 1;
	for (unsigned i = 0; i < length; i++)
		v.position.headers[i] = chain[length - 1 - i]->sh;
	v.position.headers[length] = b1->sh;
	view_change_sign(&v, &w.ctx, &w.validator[signer]);
	send_view_change_of(&v);
}

static void answer_fetch(unsigned peer, struct block *const *chain, unsigned length)
{
	static struct message_in in;
	const struct sent *s = newest(MSG_FETCH, peer);
	if (!s)
		return;
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	uint64_t from = in.fetch.from_height;
	message_free(&in);
	forget_sent();
	unsigned at =
		from > chain[0]->sh.h.height ? (unsigned)(from - chain[0]->sh.h.height) : 0;
	send_blocks(peer, chain + at, at < length ? 1 : 0, NULL, 1);
}

START_TEST(what_all_have_voted_for_has_room)
{
	struct term_cert tc;
	uint64_t nonce = 0;
	struct block *b1 = first_block(&tc), *chain[2][WIDE];
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	struct block *b = block_hold(b1);
	for (unsigned k = 0; k < 2; k++) {
		const struct block *on = b1;
		nonce = 0;
		for (unsigned i = 0; i < WIDE; i++)
			on = chain[k][i] = big_block_of(on, LEADER, 1 + k, &nonce);
	}
	nonce = 0;
	for (unsigned i = 0; i < (_i == 0 ? 5 : WIDE); i++) { /* 5: all is well */
		struct block *next = big_block_of(b, LEADER, 3, &nonce);
		append(LEADER, LEADER, NULL, next, NULL);
		forget_sent();
		block_drop(b);
		b = next;
	}
	unsigned voted = (unsigned)tip_of_victim().height - 1;
	ck_assert_uint_ge(voted, 1);
	show_chain(0, &tc, b1, chain[0], voted);
	show_chain(MALICE, &tc, b1, chain[1],
		   voted); /* here it is correct: the leader is not */
	bool made = false;
	for (unsigned i = 0; i < 400 && !made; i++) {
		answer_fetch(i % 2 ? MALICE : 0, chain[i % 2], voted);
		pass(HEARTBEAT / 5);
		made = newest(MSG_NEW_VIEW, 0) != NULL;
	}
	ck_assert_msg(made, "no NEW-VIEW: 3 chains of %u blocks", voted);
	for (unsigned k = 0; k < 2; k++)
		for (unsigned i = 0; i < WIDE; i++)
			block_drop(chain[k][i]);
	block_drop(b);
	block_drop(b1);
}
END_TEST

void hostile_room(Suite *s)
{
	TCase *t = hostile_case(s, "room", setup, 120);
	tcase_add_loop_test(t, a_full_log_forgets_nothing_in_use, 0, 4);
	tcase_add_loop_test(t, storm_of_made_up_trees, 0, 12);
	tcase_add_loop_test(t, hidden_finality_leaves_room_for_more, 0, 2);
	TCase *large = hostile_case(s, "room, large blocks", setup_large, 300);
	tcase_add_loop_test(large, what_we_voted_for_leaves_room_for_more, 0, 1);
	tcase_add_loop_test(large, what_we_voted_for_leaves_room_for_more, 1000, 1001);
	tcase_add_loop_test(large, the_tip_comes_first_at_a_restart, 0, 2);
	TCase *wide = hostile_case(s, "room, wide forks", setup_wide, 300);
	tcase_add_loop_test(wide, what_all_have_voted_for_has_room, 0, 2);
}
