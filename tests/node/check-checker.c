/* The threads that check signatures: nothing lost, nothing doubled, nothing called good that is
 * not; blocks come when all of theirs are checked. For ThreadSanitizer too. */
#include <check.h>
#include <poll.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/random.h"
#include "node/checker.h"
#include "tests/ledger/world.h"

#define TXS	 512
#define MESSAGES 200

static struct world w;
static struct slice tx[TXS];
static struct hash id[TXS];
static bool is_false[TXS];
static unsigned good[TXS], messages, spoiled, blocks, good_at_block, first_from;
static size_t message_bytes;
static struct checker *checker;

/* Every seventh has a false signature. */
static void setup(void)
{
	world_genesis(&w, 0);
	w.genesis.scheme = SIG_ED25519;
	w.genesis.limits.nonce_window = 1024;
	world_seal(&w);
	for (unsigned i = 0; i < TXS; i++) {
		tx[i] = world_put(&w, i % WORLD_CLIENTS, 1 + i / WORLD_CLIENTS, "key", "value");
		is_false[i] = i % 7 == 6;
		if (is_false[i])
			((uint8_t *)tx[i].ptr)[tx[i].len - 1] ^= 1;
		tx_id(&id[i], tx[i]);
	}
	memset(good, 0, sizeof good);
	messages = spoiled = blocks = 0;
	message_bytes = 0;
	checker = checker_start(3, &w.ctx, &w.genesis.limits);
}

static void teardown(void)
{
	checker_stop(checker);
	world_free_txs(tx, TXS);
	world_free(&w);
}

static void on_good(void *ctx, const struct hash *h)
{
	for (unsigned i = 0; i < TXS; i++)
		if (hash_equal(&id[i], h))
			good[i]++;
}
static unsigned good_ones(unsigned first, unsigned count)
{
	unsigned sum = 0;
	for (unsigned i = first; i < first + count; i++)
		sum += good[i];
	return sum;
}
static void on_message(void *ctx, unsigned from, struct slice message, bool is_spoiled)
{
	if (messages++ == 0)
		first_from = from;
	spoiled += is_spoiled;
	message_bytes += message.len;
	ck_assert_uint_eq(message.ptr[0], from);
}
static void on_block(void *ctx, struct block *b)
{
	blocks++;
	good_at_block = good_ones(0, TXS);
	for (uint32_t i = 0; i < b->tx_count; i++)
		for (unsigned k = 0; k < TXS; k++)
			if (hash_equal(&id[k], &b->tx[i].id))
				ck_assert_uint_eq(good[k] > 0, !is_false[k]);
}
static const struct checker_host host = {
	.good = on_good, .message = on_message, .block = on_block};

static void take(uint64_t now)
{
	struct pollfd p = {.fd = checker_fd(checker), .events = POLLIN};
	ck_assert_int_eq(poll(&p, 1, 60000), 1);
	checker_take(checker, now, &host);
}

/* A message of some of them: its sender, then their bytes. */
static bool give(uint64_t now, unsigned from, unsigned first, unsigned count, size_t *size)
{
	struct writer m = {0};
	struct pool_tx txs[TXS];
	size_t at[TXS];
	writer_u8(&m, (uint8_t)from);
	for (unsigned i = 0; i < count; i++) {
		at[i] = m.len;
		writer_raw(&m, tx[first + i].ptr, tx[first + i].len);
	}
	for (unsigned i = 0; i < count; i++)
		txs[i] = (struct pool_tx){.id = id[first + i],
					  .bytes = slice_of(m.buf + at[i], tx[first + i].len)};
	bool given = checker_message(checker, now, from, writer_slice(&m), txs, count);
	*size = m.len;
	writer_free(&m); /* it has been copied */
	return given;
}

static struct block *block_with(unsigned first, unsigned count)
{
	enum tx_result results[TXS] = {0};
	static const struct hash root;
	return world_raw_block(&w, w.block0, &tx[first], results, count, &root);
}

static bool give_block(struct block *b)
{
	struct pool_tx *txs = mem_array(b->tx_count, sizeof *txs);
	for (uint32_t i = 0; i < b->tx_count; i++)
		txs[i] = (struct pool_tx){.id = b->tx[i].id, .bytes = block_tx_bytes(b, i)};
	bool given = checker_block(checker, b, txs, b->tx_count);
	mem_free(txs);
	return given;
}

START_TEST(messages_come_back_once)
{
	struct random r;
	random_seed(&r, 1);
	uint64_t now = 1;
	unsigned given = 0;
	size_t size, sum = 0;
	for (unsigned n = 0; n < MESSAGES; n++, now += 1000000000) {
		unsigned count = 1 + (unsigned)random_below(&r, 60);
		unsigned first = (unsigned)random_below(&r, TXS - count);
		if (give(now, n % 4, first, count, &size)) {
			given++;
			sum += size;
		}
		if (random_chance(&r, 1, 3) && messages < given)
			take(now);
	}
	while (messages < given)
		take(now);
	ck_assert_uint_eq(messages, given);
	ck_assert_uint_eq(message_bytes, sum);
	ck_assert_uint_ge(given, MESSAGES / 4); /* else all were in work already */
	unsigned seen = 0;
	for (unsigned i = 0; i < TXS; i++) {
		ck_assert(!is_false[i] || good[i] == 0);
		seen += good[i] > 0;
	}
	ck_assert_uint_ge(seen, TXS / 2);
}
END_TEST

START_TEST(a_block_waits_for_what_is_in_work)
{
	size_t size;
	for (unsigned run = 0; run < 50; run++) {
		memset(good, 0, sizeof good);
		messages = blocks = 0;
		uint64_t now = (uint64_t)(run + 1) * 1000000000;
		ck_assert(give(now, 1, 0, 100, &size));
		ck_assert(give(now, 2, 100, 100, &size));
		struct block *b = block_with(50, 200), *c = block_with(60, 20);
		ck_assert(give_block(b)); /* on_block() looks at what is good by then */
		ck_assert(give_block(c));
		while (blocks < 2 || messages < 2)
			take(now);
		for (unsigned i = 0; i < 250; i++) /* each once, whoever wanted it */
			ck_assert(good[i] == !is_false[i] || (i < 48 && !good[i]));
		block_drop(b);
		block_drop(c);
	}
}
END_TEST

START_TEST(false_ones_cost_their_sender)
{
	size_t size;
	ck_assert(checker_hears(checker, 1, 1));
	ck_assert(give(1, 1, 0, 7, &size)); /* one of them is false */
	while (messages < 1)
		take(1);
	ck_assert_uint_eq(spoiled, 1);
	ck_assert(!checker_hears(checker, 2, 1));
	ck_assert(checker_hears(checker, 2, 2));
	ck_assert_uint_eq(good[0], 1);
	ck_assert_uint_eq(good[6], 0);
	ck_assert(give(2, 2, 7, 6, &size)); /* another has not */
	while (messages < 2)
		take(2);
	ck_assert(give(1000000, 1, 14, 6, &size)); /* worked off */
	while (messages < 3)
		take(1000000);
	ck_assert_uint_eq(spoiled, 1);
	/* The same for few, on the spot. */
	struct pool_tx few[2] = {{id[27], tx[27]}, {id[28], tx[28]}}; /* 27 is false */
	ck_assert(!checker_now(checker, 2000000, 3, few, 2, &host));
	ck_assert_uint_eq(good[27] + good[28], 0); /* nobody listens any more */
	ck_assert(checker_now(checker, 3000000, 3, few + 1, 1, &host));
	ck_assert_uint_eq(good[28], 1);
}
END_TEST

/* What another one has brought already is waited for: its receiver would check it all again. */
/* What can never be ordered is paid for by who brings it, but for a few. */
START_TEST(worthless_ones_cost_their_sender)
{
	uint32_t few = CHECKER_CREDIT_US / CHECKER_WORTHLESS_US;
	checker_charge(checker, 1000000, 1, few);
	ck_assert(checker_hears(checker, 1000000, 1));
	checker_charge(checker, 1000000, 1, 1);
	ck_assert(!checker_hears(checker, 1000000, 1));
	ck_assert(checker_hears(checker, 1000000, 2));
	ck_assert(checker_hears(checker, 1000000 + CHECKER_WORTHLESS_US, 1));
	for (uint64_t at = 2000000; at < 3000000; at += 10 * CHECKER_WORTHLESS_US) {
		checker_charge(checker, at, 1, 5); /* half of what may be */
		ck_assert(checker_hears(checker, at, 1));
	}
}
END_TEST

START_TEST(who_brings_the_same_waits_for_it)
{
	size_t size;
	struct pool_tx some[2] = {{id[0], tx[0]}, {id[300], tx[300]}};
	ck_assert(!checker_has_some(checker, some, 2));
	ck_assert(give(1, 1, 0, 6, &size));
	ck_assert(checker_has_some(checker, some, 2));
	ck_assert(!checker_has_some(checker, some + 1, 1));
	ck_assert(give(1, 2, 0, 6, &size));
	ck_assert(give(1, 3, 3, 3, &size));
	struct block *b = block_with(1, 4);
	ck_assert(give_block(b));
	while (messages < 3 || blocks < 1)
		take(1);
	for (unsigned i = 0; i < 6; i++)
		ck_assert_uint_eq(good[i], 1);
	ck_assert_uint_eq(spoiled, 0);
	ck_assert(!checker_has_some(checker, some, 2));
	block_drop(b);
}
END_TEST

/* However much else is in the message that brought it. Who is fast has checked all of it by
 * then; not each time. */
START_TEST(a_block_waits_for_no_more_than_its_own)
{
	size_t size;
	unsigned before = 0;
	uint64_t now = 1;
	for (unsigned run = 0; run < 40; run++, now += 100000000000) {
		memset(good, 0, sizeof good);
		messages = blocks = 0;
		ck_assert(give(now, 1, 0, TXS, &size));
		struct block *b = block_with(TXS - 3, 3);
		ck_assert(give_block(b));
		while (messages < 1 || blocks < 1)
			take(now);
		before += good_at_block < TXS / 2;
		block_drop(b);
	}
	ck_assert_uint_gt(before, 0);
}
END_TEST

/* After the first false one the rest of what this peer has brought is not checked, unless
 * somebody else has brought it, too. */
START_TEST(a_flood_of_false_ones_ends_with_the_first)
{
	size_t size;
	unsigned least = TXS;
	uint64_t now = 1;
	for (unsigned run = 0; run < 40; run++, now += 100000000000) {
		memset(good, 0, sizeof good);
		messages = spoiled = 0;
		for (unsigned i = 0; i < 4; i++)
			ck_assert(give(now, 1, 100 * i, 100, &size));
		ck_assert(give(now, 2, 396, 4, &size));
		ck_assert(give(now, 2, 398, 8, &size));
		while (messages < 6)
			take(now);
		ck_assert_uint_ge(spoiled, 4);
		for (unsigned i = 396; i < 400; i++)
			ck_assert_uint_eq(good[i], !is_false[i]);
		unsigned all = good_ones(0, 384);
		least = all < least ? all : least;
	}
	ck_assert_uint_lt(least, 320);
}
END_TEST

/* Good ones as well: whoever brings many does not hold up who brings few. Not each time, as
 * above. */
START_TEST(a_flood_does_not_hold_up_others)
{
	size_t size;
	unsigned before = 0;
	uint64_t now = 1;
	checker_stop(checker);
	checker = checker_start(1, &w.ctx, &w.genesis.limits);
	for (unsigned run = 0; run < 40; run++, now += 100000000000) {
		messages = 0;
		ck_assert(give(now, 1, 0, TXS - 16, &size));
		ck_assert(give(now, 2, TXS - 16, 16, &size));
		while (messages < 2)
			take(now);
		before += first_from == 2;
	}
	ck_assert_uint_gt(before, 0);
}
END_TEST

START_TEST(there_is_an_end_to_what_waits)
{
	size_t size, sum = 0;
	unsigned given = 0;
	struct block *b[CHECKER_BLOCKS_MAX + 1];
	for (unsigned i = 0; i <= CHECKER_BLOCKS_MAX; i++) {
		b[i] = block_with(10 * i, 10);
		ck_assert_int_eq(give_block(b[i]), i < CHECKER_BLOCKS_MAX);
	}
	while (blocks < CHECKER_BLOCKS_MAX)
		take(1);
	ck_assert(give_block(b[CHECKER_BLOCKS_MAX]));
	while (blocks <= CHECKER_BLOCKS_MAX)
		take(1);
	for (unsigned i = 0; i <= CHECKER_BLOCKS_MAX; i++)
		block_drop(b[i]);
	/* Nothing is taken, so nothing leaves the account of the peer. */
	struct pool_tx one = {.id = id[0]};
	uint8_t *huge = mem_zalloc(1u << 20);
	for (unsigned i = 0; i < 8; i++) {
		one.id.b[0] = (uint8_t)i;
		memcpy(huge, tx[0].ptr, tx[0].len);
		huge[0] = 1;
		one.bytes = slice_of(huge + 1, tx[0].len);
		bool taken = checker_message(checker, 1, 1, slice_of(huge, 1u << 20), &one, 1);
		given += i < CHECKER_BYTES_MAX >> 20;
		/* One more is the caller's, others are dropped. */
		ck_assert_int_eq(taken, i != CHECKER_BYTES_MAX >> 20);
	}
	one.id.b[0] = 9;
	ck_assert(!checker_message(checker, 2000, 1, slice_of(huge, 1u << 20), &one, 1));
	ck_assert(checker_message(checker, 2000, 1, slice_of(huge, 1u << 20), &one, 1));
	mem_free(huge);
	ck_assert(give(1, 2, 200, 3, &sum)); /* another peer's is its own */
	while (messages < given + 1)
		take(1);
	ck_assert(give(1000000000, 1, 203, 3, &size)); /* and then there is room again */
	while (messages < given + 2)
		take(1000000000);
}
END_TEST

START_TEST(it_stops_in_the_middle)
{
	size_t size;
	for (unsigned run = 0; run < 20; run++) {
		struct block *b = block_with(0, 300);
		give(1, 0, 100, 300, &size);
		give(1, 1, 400, 100, &size);
		give(1, 2, 150, 100, &size);
		give_block(b);
		if (run % 2)
			take(1);
		checker_stop(checker);
		block_drop(b);
		checker = checker_start(1 + run % 4, &w.ctx, &w.genesis.limits);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("checker");
	TCase *t = tcase_create("checker");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 300);
	tcase_add_test(t, messages_come_back_once);
	tcase_add_test(t, a_block_waits_for_what_is_in_work);
	tcase_add_test(t, false_ones_cost_their_sender);
	tcase_add_test(t, worthless_ones_cost_their_sender);
	tcase_add_test(t, who_brings_the_same_waits_for_it);
	tcase_add_test(t, a_block_waits_for_no_more_than_its_own);
	tcase_add_test(t, a_flood_of_false_ones_ends_with_the_first);
	tcase_add_test(t, a_flood_does_not_hold_up_others);
	tcase_add_test(t, there_is_an_end_to_what_waits);
	tcase_add_test(t, it_stops_in_the_middle);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
