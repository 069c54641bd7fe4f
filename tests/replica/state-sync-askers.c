/* What a hostile asker of states gets, and what its questions cost. */
#include "consensus/hybrid/message.h"
#include "tests/replica/state-sync.h"

START_TEST(who_asks_too_much)
{
	struct sync_msg m = {.type = SYNC_GET, .height = HEIGHTS};
	struct writer bytes = {0};
	memset(m.to.b, 0xff, HASH_SIZE);
	sync_encode(&bytes, &m);
	asked_of = 0;
	for (unsigned i = 0; i < 10000; i++) { /* in a second */
		now += 100;
		replica_message(server, now, 1, writer_slice(&bytes));
		while (queued > 0)
			writer_free(&queue[--queued].bytes);
	}
	ck_assert_uint_le(answers, 1000000 / SERVE_SPACING_US + 1);
	ck_assert_uint_gt(answers, 20);
	ck_assert_uint_gt(server->serve.refused, 9000);
	writer_free(&bytes);
}
END_TEST

START_TEST(who_asks_for_every_state)
{
	struct writer bytes = {0};
	asked_of = 0;
	for (uint64_t h = 1; h <= HEIGHTS + 3; h++) {
		const struct sync_msg m = {.type = SYNC_ASK, .height = h};
		writer_reset(&bytes);
		sync_encode(&bytes, &m);
		now += SERVE_ASKS_US;
		replica_message(server, now, 1, writer_slice(&bytes));
	}
	unsigned pins = 0;
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		pins += server->serve.pin[i].height > 0;
	ck_assert_uint_eq(pins, 1);
	/* Still there is an offer for who comes with good intentions. */
	begin();
	run_home();
	ck_assert_uint_gt(ledger_height(late->ledger), 0);
	now += SERVE_PIN_LIFE_US;
	replica_tick(server, now);
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		ck_assert_uint_eq(server->serve.pin[i].height, 0);
	writer_free(&bytes);
}
END_TEST

/* One peer has old states kept, without a pause: another one is offered the newest all the
 * same. */
START_TEST(who_keeps_all_states_busy)
{
	struct sync_msg m = {.type = SYNC_ASK};
	struct writer bytes = {0};
	asked_of = 0;
	for (unsigned round = 0; round < 20; round++) {
		m.height = 2 + round % 2;
		writer_reset(&bytes);
		sync_encode(&bytes, &m);
		now += 2000000;
		replica_message(server, now, 1, writer_slice(&bytes));
		while (queued > 0)
			writer_free(&queue[--queued].bytes);
	}
	m = (struct sync_msg){.type = SYNC_ASK, .above = 30};
	writer_reset(&bytes);
	sync_encode(&bytes, &m);
	replica_message(server, now, LATE, writer_slice(&bytes));
	ck_assert_uint_eq(queued, 1);
	ck_assert_int_eq(sync_decode(&m, writer_slice(&queue[0].bytes)), ERR_NONE);
	ck_assert_int_eq(m.type, SYNC_OFFER);
	ck_assert_uint_eq(m.height, HEIGHTS);
	sync_msg_free(&m);
	writer_free(&bytes);
}
END_TEST

/* Blocks become final at the server. */
static void go_on(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct cert cert;
		struct slice tx = world_put(&w, 0, w.tip->sh.h.height + 1, "same", "other");
		struct block *b = world_commit(&w, &tx, 1);
		stored_block(served, &w, b);
		world_cert(&w, b, CERT_TWO_ROUND, 3, &cert);
		const struct final_block f = {.block = b, .cert = &cert};
		ck_assert_int_eq(ledger_execute(server->ledger, b, false), ERR_NONE);
		replica_driver_host.final(server, &f);
		world_free_txs(&tx, 1);
	}
}

/* Asked for without a pause, by one and by another, an old state is kept as long as it may be,
 * and not again and again: all that changes meanwhile is kept with it. */
START_TEST(who_asks_for_one_state_for_ever)
{
	const struct sync_msg m = {.type = SYNC_ASK, .height = HEIGHTS};
	struct writer bytes = {0};
	sync_encode(&bytes, &m);
	asked_of = 0;
	history = 0;
	replica_close(server);
	server = open_one(served, 0, 0);
	history = LEDGER_HISTORY_MIN;
	for (unsigned round = 0; round < 15000; round++) {
		now += SERVE_PIN_LIFE_US / 5000;
		replica_message(server, now, 1 + round / 7 % 2, writer_slice(&bytes));
		while (queued > 0)
			writer_free(&queue[--queued].bytes);
		if (round % 200 == 0)
			go_on(1);
		if (round == 4500)
			ck_assert_uint_eq(ledger_oldest(server->ledger), HEIGHTS);
	}
	ck_assert_uint_gt(ledger_height(server->ledger), HEIGHTS + 70);
	ck_assert_uint_ge(ledger_oldest(server->ledger) + 2, ledger_height(server->ledger));
	writer_free(&bytes);
}
END_TEST

START_TEST(questions_that_make_no_sense)
{
	struct sync_msg m = {.type = SYNC_GET, .height = HEIGHTS};
	struct writer bytes = {0};
	asked_of = 0;
	memset(m.from.b, 0xff, HASH_SIZE); /* bounds that cross */
	const uint64_t heights[] = {0, 1, HEIGHTS, HEIGHTS + 1, UINT64_MAX};
	const enum sync_type types[] = {SYNC_GET, SYNC_GET_BLOCKS, SYNC_ASK};
	for (unsigned t = 0; t < MEM_COUNT(types); t++)
		for (unsigned i = 0; i < MEM_COUNT(heights); i++) {
			m.type = types[t];
			m.height = heights[i];
			writer_reset(&bytes);
			sync_encode(&bytes, &m);
			for (size_t len = 0; len <= bytes.len; len++) {
				now += SERVE_ASKS_US;
				replica_message(server, now, 1, slice_of(bytes.buf, len));
				while (queued > 0)
					writer_free(&queue[--queued].bytes);
			}
		}
	ck_assert(!replica_halted(server));
	ck_assert_uint_eq(server->serve.ranges, 0);
	writer_free(&bytes);
}
END_TEST

/* What is read of blocks: the linker leads calls of store_get() here (Makefile.inc). */
int __real_store_get(struct store *s, enum store_family f, struct slice key,
		     struct writer *out);
int __wrap_store_get(struct store *s, enum store_family f, struct slice key,
		     struct writer *out);
static uint64_t blocks_read;

int __wrap_store_get(struct store *s, enum store_family f, struct slice key, struct writer *out)
{
	blocks_read += f == STORE_BLOCKS && key.ptr[0] == 'b';
	return __real_store_get(s, f, key, out);
}

static void ask_for_a_minute(struct replica *r, unsigned every_us, const struct sync_msg *m)
{
	struct writer bytes = {0};
	asked_of = 0;
	sync_encode(&bytes, m);
	for (uint64_t until = now + 60000000; now < until;) {
		now += every_us;
		replica_message(r, now, 1, writer_slice(&bytes));
		while (queued > 0)
			writer_free(&queue[--queued].bytes);
	}
	writer_free(&bytes);
}

/* A block is read for who knows its hash; and who reads much has to wait for it. */
START_TEST(questions_that_cost_much)
{
	struct sync_msg m = {.type = SYNC_GET_BLOCKS, .height = HEIGHTS};
	blocks_read = 0;
	ask_for_a_minute(server, 1000, &m);
	ck_assert_uint_eq(blocks_read, 0);
	/* Of blocks that came with a state only the last has a certificate. */
	begin();
	run_home();
	blocks_read = 0;
	m = (struct sync_msg){.type = SYNC_ASK,
			      .height = replica_blocks_from(late) + 1,
			      .above = SYNC_HEADER_ONLY};
	ask_for_a_minute(late, SERVE_ASKS_US, &m);
	ck_assert_uint_gt(blocks_read, 13);
	ck_assert_uint_lt(blocks_read, 60 * 5 * 13 / 3);
}
END_TEST

/* Who has fetched a state has no certificates of the blocks that came with it. They are handed
 * on all the same, in messages that can be sent. */
START_TEST(large_blocks_without_certificates)
{
	static char large[60001];
	struct writer bytes = {0};
	teardown();
	setup_world();
	check = check_home;
	memset(large, 'x', sizeof large - 1);
	for (uint64_t h = 1; h <= HEIGHTS; h++) {
		struct slice txs[WORLD_CLIENTS];
		for (unsigned i = 0; i < WORLD_CLIENTS; i++)
			txs[i] = world_put(&w, i, h, "large", h > 20 ? large : "small");
		stored_block(served, &w, world_commit(&w, txs, WORLD_CLIENTS));
		world_free_txs(txs, WORLD_CLIENTS);
	}
	server = open_one(served, 0, 0);
	late = open_one(own, LATE, 1);
	begin();
	run_home();
	ck_assert_uint_eq(ledger_height(late->ledger), HEIGHTS);
	block_answers = largest_answer = 0;
	const struct msg_fetch m = {.from_height = replica_blocks_from(late)};
	msg_fetch_encode(&bytes, &m);
	now += 1000000;
	replica_message(late, now, 1, writer_slice(&bytes));
	ck_assert_uint_eq(block_answers, 1);
	ck_assert_uint_gt(largest_answer, 1u << 20);
	ck_assert_uint_lt(largest_answer, 5u << 20);
	writer_free(&bytes);
}
END_TEST

TCase *sync_askers_case(void)
{
	TCase *t = sync_case("askers", setup);
	tcase_add_test(t, who_asks_too_much);
	tcase_add_test(t, who_asks_for_every_state);
	tcase_add_test(t, who_keeps_all_states_busy);
	tcase_add_test(t, who_asks_for_one_state_for_ever);
	tcase_add_test(t, questions_that_make_no_sense);
	tcase_add_test(t, questions_that_cost_much);
	tcase_add_test(t, large_blocks_without_certificates);
	return t;
}
