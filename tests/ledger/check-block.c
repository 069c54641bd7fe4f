/* Which blocks are valid, how they are built, forked, made final and admitted. */
#include "ledger/private.h"
#include "tests/ledger/check-ledger.h"

static struct world w;

static void setup(void)
{
	world_init(&w, 1000);
}

static void teardown(void)
{
	world_free(&w);
}

static struct slice put(unsigned client, uint64_t nonce)
{
	return world_put(&w, client, nonce, "key", "value");
}

static struct slice put_expiring(uint64_t nonce, uint64_t expiry)
{
	struct op op = op_put("key", "value");
	return world_tx(&w, &w.client[0], nonce, expiry, &op, 1);
}

/* Executes a block of txs that claims the results TX_OK and the parent's state root. */
static int execute_raw(const struct slice *txs, uint32_t count, bool verify)
{
	struct block *b = world_raw_block(&w, w.tip, txs, NULL, count, ledger_root(w.ledger));
	int err = ledger_execute(w.ledger, b, verify);
	ck_assert(ledger_executed(w.ledger, &b->hash) == !err);
	block_drop(b);
	return err;
}

/* The one transaction is refused by the builder and makes a block invalid, for one reason. */
static void expect_refused(struct slice tx, int want)
{
	struct ledger_candidate c[1];
	struct block *b = world_build(&w, w.tip, 1, &tx, 1, c);
	ck_assert_int_eq(c[0].fate, CANDIDATE_REFUSED);
	ck_assert_int_eq(c[0].err, want);
	ck_assert_uint_eq(b->tx_count, 0);
	block_drop(b);
	ck_assert_int_eq(execute_raw(&tx, 1, false), want);
	ck_assert(!ledger_error_is_by_bytes(want) || want == ERR_LIMIT || want == ERR_RANGE ||
		  want == ERR_WRONG_CHAIN || want == ERR_TRUNCATED);
	mem_free((void *)tx.ptr);
}

static int admit(struct slice bytes)
{
	struct tx tx;
	struct hash id;
	ck_assert_int_eq(tx_decode(&tx, bytes, &w.ctx, &w.genesis.limits), ERR_NONE);
	tx_id(&id, bytes);
	return ledger_admit(w.ledger, &tx, &id);
}

START_TEST(not_includable)
{
	struct slice tx = put(0, 5);
	world_commit(&w, &tx, 1);
	ck_assert_int_eq(admit(tx), ERR_EXISTS);
	expect_refused(tx, ERR_TX_NONCE_USED);

	uint64_t window = w.genesis.limits.nonce_window;
	expect_refused(put(0, 5 + window + 1), ERR_TX_NONCE_WINDOW);
	expect_refused(put_expiring(6, 1), ERR_TX_EXPIRED);
	expect_refused(put_expiring(6, 2 + w.genesis.limits.expiry_horizon + 1),
		       ERR_TX_HORIZON);

	tx = put(0, 5 + window);
	ck_assert_int_eq(admit(tx), ERR_NONE);
	world_commit(&w, &tx, 1);
	mem_free((void *)tx.ptr);
	expect_refused(put(0, 5), ERR_TX_NONCE_WINDOW);
	tx = put(0, 6);
	ck_assert_int_eq(admit(tx), ERR_NONE);
	mem_free((void *)tx.ptr);
}
END_TEST

START_TEST(admission)
{
	struct slice tx = put_expiring(7, 1);
	ck_assert_int_eq(admit(tx), ERR_NONE);
	world_commit(&w, NULL, 0);
	ck_assert_int_eq(admit(tx), ERR_TX_EXPIRED);
	mem_free((void *)tx.ptr);
	tx = put_expiring(7, w.genesis.limits.expiry_horizon + 2);
	ck_assert_int_eq(admit(tx), ERR_NONE);
	mem_free((void *)tx.ptr);
	tx = put_expiring(7, w.genesis.limits.expiry_horizon + 3);
	ck_assert_int_eq(admit(tx), ERR_TX_HORIZON);
	mem_free((void *)tx.ptr);
	tx = put(3, 9);
	struct slice other = world_put(&w, 3, 9, "key", "other");
	world_commit(&w, &tx, 1);
	ck_assert_int_eq(admit(tx), ERR_EXISTS);
	ck_assert_int_eq(admit(other), ERR_TX_NONCE_USED);
	mem_free((void *)tx.ptr);
	mem_free((void *)other.ptr);
}
END_TEST

START_TEST(twice_in_one_block)
{
	struct slice tx = put(0, 1), other = world_put(&w, 0, 1, "other", "value");
	struct slice same[] = {tx, tx}, one_nonce[] = {tx, other};
	struct ledger_candidate c[2];

	ck_assert_int_eq(execute_raw(same, 2, false), ERR_TX_NONCE_USED);
	ck_assert_int_eq(execute_raw(one_nonce, 2, false), ERR_TX_NONCE_USED);
	struct block *b = world_build(&w, w.tip, 1, one_nonce, 2, c);
	ck_assert_int_eq(c[0].fate, CANDIDATE_INCLUDED);
	ck_assert_int_eq(c[1].fate, CANDIDATE_REFUSED);
	ck_assert_int_eq(c[1].err, ERR_TX_NONCE_USED);
	block_drop(b);
	mem_free((void *)tx.ptr);
	mem_free((void *)other.ptr);
}
END_TEST

START_TEST(malformed)
{
	struct slice tx = put(0, 1);
	uint8_t *p = (uint8_t *)tx.ptr;
	struct slice half = slice_of(mem_dup(p, tx.len / 2), tx.len / 2);
	expect_refused(half, ERR_TRUNCATED);
	p[2] ^= 1;
	expect_refused(tx, ERR_WRONG_CHAIN);
}
END_TEST

START_TEST(open_policy)
{
	teardown();
	world_genesis(&w, 0);
	w.genesis.limits.senders_max = 3;
	world_seal(&w);
	world_open(&w, NULL);
	struct slice txs[5];
	struct ledger_candidate c[5];
	for (unsigned i = 0; i < 5; i++)
		txs[i] = put(i, 1);
	struct block *b = world_build(&w, w.tip, 1, txs, 5, c);
	ck_assert_uint_eq(b->tx_count, 3);
	ck_assert_int_eq(c[3].err, ERR_TX_SENDER);
	ck_assert_int_eq(c[4].err, ERR_TX_SENDER);
	block_drop(b);
	ck_assert_int_eq(execute_raw(txs, 4, false), ERR_TX_SENDER);
	ck_assert_int_eq(admit(txs[4]), ERR_NONE);
	world_commit(&w, txs, 3);
	struct ledger_stats stats;
	ledger_stats(w.ledger, &stats);
	ck_assert_uint_eq(stats.senders, 3);
	ck_assert_uint_eq(stats.keys, 1 + 3 + 1); /* the key, windows, the count of senders */
	ck_assert_int_eq(admit(txs[4]), ERR_TX_SENDER);
	world_free_txs(txs, 5);
	for (unsigned i = 0; i < 3; i++) {
		txs[i] = put(i, 2);
		ck_assert_int_eq(admit(txs[i]), ERR_NONE);
	}
	ck_assert_uint_eq(world_commit(&w, txs, 3)->tx_count, 3);
	world_free_txs(txs, 3);
}
END_TEST

START_TEST(closed_policy)
{
	teardown();
	world_genesis(&w, 0);
	w.genesis.open = false;
	w.genesis.sender_count = 1;
	w.genesis.senders = mem_dup(&w.client[2].pub, sizeof(struct pubkey));
	world_seal(&w);
	world_open(&w, NULL);
	struct slice tx = put(2, 1), other = put(0, 1);
	ck_assert_int_eq(admit(tx), ERR_NONE);
	ck_assert_int_eq(admit(other), ERR_TX_SENDER);
	ck_assert_uint_eq(world_commit(&w, &tx, 1)->tx_count, 1);
	expect_refused(other, ERR_TX_SENDER);
	mem_free((void *)tx.ptr);
}
END_TEST

START_TEST(false_results_and_roots)
{
	static const enum tx_result claims[] = {TX_FAILED_CAS, TX_FAILED_NOT_FOUND};
	struct slice tx = put(0, 1);
	struct hash wrong = *ledger_root(w.ledger);
	struct block *good = world_build(&w, w.tip, 1, &tx, 1, NULL);
	for (unsigned i = 0; i < 2; i++) {
		struct block *b =
			world_raw_block(&w, w.tip, &tx, &claims[i], 1, &good->sh.h.state_root);
		ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_BAD_STATE_ROOT);
		block_drop(b);
	}
	struct block *b = world_raw_block(&w, w.tip, &tx, NULL, 1, &wrong);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_BAD_STATE_ROOT);
	block_drop(b);
	b = world_raw_block(&w, w.tip, &tx, NULL, 1, &good->sh.h.state_root);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	block_drop(b);
	block_drop(good);
	ck_assert(!ledger_error_is_by_bytes(ERR_BAD_STATE_ROOT));
	mem_free((void *)tx.ptr);
}
END_TEST

/* What shows from the bytes is said first, wherever in the block it is. */
START_TEST(bytes_before_state)
{
	struct slice expired = put_expiring(1, 0x7fffffff), forged = put(1, 1),
		     fine = put(2, 1);
	((uint8_t *)forged.ptr)[forged.len - 1] ^= 1;
	struct slice txs[] = {fine, expired, forged};
	ck_assert_int_eq(execute_raw(txs, 3, true), ERR_BAD_SIGNATURE);
	ck_assert(ledger_error_is_by_bytes(ERR_BAD_SIGNATURE));
	ck_assert(tx_never_valid(&w.ctx, forged));
	ck_assert_int_eq(execute_raw(txs, 2, true), ERR_TX_HORIZON);
	world_free_txs(txs, 3);
}
END_TEST

START_TEST(signatures)
{
	struct slice tx = put(0, 1), forged = put(1, 1);
	((uint8_t *)forged.ptr)[forged.len - 1] ^= 1;
	struct slice txs[] = {tx, forged};
	struct hash id;

	ck_assert_int_eq(execute_raw(txs, 2, true), ERR_BAD_SIGNATURE);
	/* Found good the first time: not checked again. The other one is, unless marked. */
	uint64_t checked = sig_counts().checked;
	ck_assert_int_eq(execute_raw(txs, 2, true), ERR_BAD_SIGNATURE);
	ck_assert_uint_eq(sig_counts().checked - checked, 1);
	tx_id(&id, forged);
	ledger_mark_verified(w.ledger, &id);
	checked = sig_counts().checked;
	ck_assert_int_eq(execute_raw(txs, 2, true), ERR_BAD_STATE_ROOT);
	ck_assert_uint_eq(sig_counts().checked, checked);
	world_free_txs(txs, 2);
}
END_TEST

START_TEST(verified_is_bounded)
{
	struct verified v = {0};
	struct hash id = {{0}};
	map_init(&v.ids, 1);
	for (uint64_t i = 0; i < 3 * LEDGER_VERIFIED_MAX; i++) {
		store_be64(id.b, i);
		verified_add(&v, &id);
		verified_add(&v, &id);
		ck_assert(verified_has(&v, &id));
	}
	ck_assert_uint_eq(map_len(&v.ids), LEDGER_VERIFIED_MAX);
	store_be64(id.b, 2 * LEDGER_VERIFIED_MAX);
	ck_assert(verified_has(&v, &id));
	store_be64(id.b, 2 * LEDGER_VERIFIED_MAX - 1);
	ck_assert(!verified_has(&v, &id));
	verified_free(&v);
}
END_TEST

START_TEST(links)
{
	struct hash nowhere = {{1}};
	struct block stranger = *w.tip;
	stranger.hash = nowhere;
	struct block *b = world_raw_block(&w, &stranger, NULL, NULL, 0, ledger_root(w.ledger));
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NOT_FOUND);
	block_drop(b);
	stranger = *w.tip;
	stranger.sh.h.height = 4;
	b = world_raw_block(&w, &stranger, NULL, NULL, 0, ledger_root(w.ledger));
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_BAD_LINK);
	block_drop(b);
	struct ledger_built built;
	ck_assert_int_eq(ledger_build(w.ledger, &nowhere, 1, 0, NULL, 0, &built),
			 ERR_NOT_FOUND);
	ck_assert_int_eq(ledger_execute(w.ledger, w.tip, false), ERR_NONE);
}
END_TEST

/* ---- limits ------------------------------------------------------------------------------ */

START_TEST(block_limits)
{
	struct slice txs[6];
	struct ledger_candidate c[6];
	for (unsigned i = 0; i < 6; i++)
		txs[i] = put(i, 1);
	w.genesis.limits.block_txs_max = 4;
	struct block *b = world_build(&w, w.tip, 1, txs, 6, c);
	ck_assert_uint_eq(b->tx_count, 4);
	ck_assert_int_eq(c[3].fate, CANDIDATE_INCLUDED);
	ck_assert_int_eq(c[4].fate, CANDIDATE_LEFT);
	ck_assert_int_eq(c[5].fate, CANDIDATE_LEFT);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	block_drop(b);
	ck_assert_int_eq(execute_raw(txs, 5, false), ERR_LIMIT);

	w.genesis.limits.block_txs_max = 100;
	w.genesis.limits.block_body_max = (uint32_t)(4 + 2 * (5 + txs[0].len));
	b = world_build(&w, w.tip, 1, txs, 6, c);
	ck_assert_uint_eq(b->tx_count, 2);
	ck_assert_uint_eq(b->body_size, w.genesis.limits.block_body_max);
	ck_assert_int_eq(c[2].fate, CANDIDATE_LEFT);
	block_drop(b);
	ck_assert_int_eq(execute_raw(txs, 3, false), ERR_LIMIT);

	/* What fits into no block is refused, or it would block those behind it for ever. */
	w.genesis.limits.block_body_max = (uint32_t)(4 + 5 + txs[0].len - 1);
	b = world_build(&w, w.tip, 1, txs, 1, c);
	ck_assert_int_eq(c[0].fate, CANDIDATE_REFUSED);
	ck_assert_int_eq(c[0].err, ERR_LIMIT);
	block_drop(b);
	world_free_txs(txs, 6);
}
END_TEST

START_TEST(operations_limit)
{
	enum { OPS = 4096, TXS = 17 };
	struct op *ops = mem_array(OPS, sizeof(*ops));
	struct slice txs[TXS];
	struct ledger_candidate c[TXS];
	w.genesis.limits.tx_ops_max = OPS;
	w.genesis.limits.block_body_max = BLOCK_BODY_MAX;
	for (unsigned i = 0; i < OPS; i++)
		ops[i] = op_put("k", "v");
	for (unsigned i = 0; i < TXS; i++)
		txs[i] = world_tx(&w, &w.client[0], i + 1, 5, ops, OPS);
	struct block *b = world_build(&w, w.tip, 1, txs, TXS, c);
	ck_assert_uint_eq(b->tx_count, 16); /* 65536 operations */
	ck_assert_int_eq(c[16].fate, CANDIDATE_LEFT);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	block_drop(b);
	ck_assert_int_eq(execute_raw(txs, TXS, false), ERR_LIMIT);
	world_free_txs(txs, TXS);
	mem_free(ops);
}
END_TEST

START_TEST(overlays_limit)
{
	struct block *b;
	struct hash last = {{0}};
	for (uint64_t i = 0; i < LEDGER_OVERLAYS_MAX; i++) {
		/* siblings that differ by their time */
		struct block parent = *w.tip;
		parent.sh.h.time_ms += i;
		b = world_raw_block(&w, &parent, NULL, NULL, 0, ledger_root(w.ledger));
		ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
		last = b->hash;
		block_drop(b);
	}
	struct ledger_stats stats;
	ledger_stats(w.ledger, &stats);
	ck_assert_uint_eq(stats.overlays, LEDGER_OVERLAYS_MAX);
	struct block parent = *w.tip;
	parent.sh.h.time_ms += LEDGER_OVERLAYS_MAX;
	b = world_raw_block(&w, &parent, NULL, NULL, 0, ledger_root(w.ledger));
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_BUSY);
	ck_assert(ledger_executed(w.ledger, &last));
	block_drop(b);
}
END_TEST

/* ---- building and forks ------------------------------------------------------------------ */

static uint64_t executed(void)
{
	struct ledger_stats stats;
	ledger_stats(w.ledger, &stats);
	return stats.executed;
}

START_TEST(built_is_not_executed_again)
{
	struct slice a = put(0, 1), b = put(1, 1);
	struct block *first = world_build(&w, w.tip, 1, &a, 1, NULL);
	struct block *second = world_build(&w, w.tip, 1, &b, 1, NULL);
	ck_assert_uint_eq(executed(), 2);
	ck_assert_int_eq(ledger_execute(w.ledger, second, true), ERR_NONE);
	ck_assert_int_eq(ledger_execute(w.ledger, first, true), ERR_NONE);
	ck_assert_uint_eq(executed(), 2);
	/* The same body in another block is executed anew. */
	struct block *third = world_raw_block(&w, w.tip, &a, NULL, 1, &first->sh.h.state_root);
	struct block other = *w.tip;
	other.sh.h.time_ms++;
	block_drop(third);
	third = world_raw_block(&w, &other, &a, NULL, 1, &first->sh.h.state_root);
	ck_assert_int_eq(ledger_execute(w.ledger, third, false), ERR_NONE);
	ck_assert_uint_eq(executed(), 3);
	world_finalize(&w, first);
	block_drop(first);
	block_drop(second);
	block_drop(third);
	mem_free((void *)a.ptr);
	mem_free((void *)b.ptr);
}
END_TEST

/* More is built than is ever executed. */
START_TEST(built_is_bounded)
{
	struct block *blocks[3 * LEDGER_BUILT_MAX];
	struct slice txs[3 * LEDGER_BUILT_MAX];
	for (unsigned i = 0; i < MEM_COUNT(blocks); i++) {
		txs[i] = put(0, i + 1);
		blocks[i] = world_build(&w, w.tip, 1, &txs[i], 1, NULL);
	}
	uint64_t before = executed();
	for (unsigned i = 0; i < MEM_COUNT(blocks); i++)
		ck_assert_int_eq(ledger_execute(w.ledger, blocks[i], false), ERR_NONE);
	ck_assert_uint_eq(executed() - before, 2 * LEDGER_BUILT_MAX);
	world_finalize(&w, blocks[4]);
	for (unsigned i = 0; i < MEM_COUNT(blocks); i++)
		block_drop(blocks[i]);
	world_free_txs(txs, MEM_COUNT(txs));
}
END_TEST

/* A tree of executed blocks: one path becomes final, the rest goes. */
START_TEST(forks)
{
	enum { WIDTH = 3, DEPTH = 4 };
	struct block *level[DEPTH][WIDTH], *parent[WIDTH] = {w.tip, w.tip, w.tip};
	char name[8], value[16];
	struct ledger_stats stats;

	for (unsigned d = 0; d < DEPTH; d++) {
		for (unsigned i = 0; i < WIDTH; i++) {
			snprintf(value, sizeof(value), "%u-%u", d, i);
			snprintf(name, sizeof(name), "d%u", d);
			struct op ops[] = {op_put(name, value), op_put("newest", value)};
			struct slice tx = world_tx(&w, &w.client[0], d + 1, 50, ops, 2);
			level[d][i] = world_build(&w, parent[i], 1, &tx, 1, NULL);
			ck_assert_uint_eq(level[d][i]->tx_count, 1);
			ck_assert_int_eq(ledger_execute(w.ledger, level[d][i], false),
					 ERR_NONE);
			mem_free((void *)tx.ptr);
		}
		/* cross over: children of the first one's siblings as well */
		for (unsigned i = 0; i < WIDTH; i++)
			parent[i] = level[d][(i + d) % WIDTH];
	}
	ledger_stats(w.ledger, &stats);
	ck_assert_uint_eq(stats.overlays, WIDTH * DEPTH);

	struct block *path[DEPTH];
	path[DEPTH - 1] = level[DEPTH - 1][1];
	for (unsigned d = DEPTH - 1; d > 0; d--)
		for (unsigned i = 0; i < WIDTH; i++)
			if (hash_equal(&level[d - 1][i]->hash, &path[d]->sh.h.prev))
				path[d - 1] = level[d - 1][i];
	for (unsigned d = 0; d < DEPTH; d++) {
		world_finalize(&w, path[d]);
		for (unsigned i = 0; i < WIDTH; i++)
			ck_assert(ledger_executed(w.ledger, &level[d][i]->hash) ==
				  (level[d][i] == path[d]));
		ck_assert(hash_equal(ledger_root(w.ledger), &path[d]->sh.h.state_root));
		ck_assert(hash_equal(ledger_hash(w.ledger), &path[d]->hash));
		ck_assert_uint_eq(ledger_height(w.ledger), d + 1);
	}
	ledger_stats(w.ledger, &stats);
	ck_assert_uint_eq(stats.overlays, 0);
	char *got = world_get(&w, "newest", UINT64_MAX);
	ck_assert_str_eq(got, "3-1");
	mem_free(got);
	for (unsigned d = 0; d < DEPTH; d++)
		for (unsigned i = 0; i < WIDTH; i++)
			block_drop(level[d][i]);
}
END_TEST

/* Two ledgers, one building, one executing; with another cache, other forks: one result. */
START_TEST(deterministic)
{
	struct world other;
	struct random r;
	world_init(&other, 1000);
	other.ledger->tree.limit = 0;
	random_seed(&r, 31);
	for (unsigned round = 0; round < 60; round++) {
		struct slice txs[10];
		char key[16];
		for (unsigned i = 0; i < 10; i++) {
			snprintf(key, sizeof(key), "%u", (unsigned)random_below(&r, 300));
			txs[i] = world_put(&w, i % WORLD_CLIENTS,
					   round * 10 + random_between(&r, 1, 20), key, "x");
		}
		struct block *b = world_build(&w, w.tip, 1, txs, 10, NULL);
		ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
		ck_assert_int_eq(ledger_execute(other.ledger, b, true), ERR_NONE);
		world_finalize(&w, b);
		world_finalize(&other, b);
		ck_assert(hash_equal(ledger_root(w.ledger), ledger_root(other.ledger)));
		block_drop(b);
		world_free_txs(txs, 10);
	}
	world_free(&other);
}
END_TEST

START_TEST(tx_index)
{
	struct slice txs[] = {put(0, 1), put(1, 1)};
	uint64_t height;
	uint32_t index;
	struct hash id;
	world_commit(&w, NULL, 0);
	world_commit(&w, txs, 2);
	for (uint32_t i = 0; i < 2; i++) {
		tx_id(&id, txs[i]);
		ck_assert_int_eq(ledger_find_tx(w.ledger, &id, &height, &index), ERR_NONE);
		ck_assert_uint_eq(height, 2);
		ck_assert_uint_eq(index, i);
	}
	id.b[0] ^= 1;
	ck_assert_int_eq(ledger_find_tx(w.ledger, &id, &height, &index), ERR_NOT_FOUND);
	world_free_txs(txs, 2);
}
END_TEST

Suite *block_suite(void)
{
	Suite *s = suite_create("block");
	TCase *t = tcase_create("block");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, not_includable);
	tcase_add_test(t, admission);
	tcase_add_test(t, twice_in_one_block);
	tcase_add_test(t, malformed);
	tcase_add_test(t, open_policy);
	tcase_add_test(t, closed_policy);
	tcase_add_test(t, false_results_and_roots);
	tcase_add_test(t, bytes_before_state);
	tcase_add_test(t, signatures);
	tcase_add_test(t, verified_is_bounded);
	tcase_add_test(t, links);
	tcase_add_test(t, block_limits);
	tcase_add_test(t, operations_limit);
	tcase_add_test(t, overlays_limit);
	tcase_add_test(t, built_is_not_executed_again);
	tcase_add_test(t, built_is_bounded);
	tcase_add_test(t, forks);
	tcase_add_test(t, deterministic);
	tcase_add_test(t, tx_index);
	suite_add_tcase(s, t);
	return s;
}
