/* What transactions do to the state: operations, all or nothing, nonces, balances. */
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

static uint64_t next_nonce(unsigned client)
{
	uint64_t highest, suggested;
	ck_assert_int_eq(ledger_nonce(w.ledger, &w.client[client].pub, &highest, &suggested),
			 ERR_NONE);
	return suggested;
}

/* Commits one transaction in a block of its own; its result. */
static enum tx_result run(unsigned client, const struct op *ops, uint32_t count)
{
	struct slice tx = world_tx(&w, &w.client[client], next_nonce(client),
				   w.tip->sh.h.height + 1, ops, count);
	struct block *b = world_commit(&w, &tx, 1);
	ck_assert_uint_eq(b->tx_count, 1);
	mem_free((void *)tx.ptr);
	return b->tx[0].result;
}

static enum tx_result run1(unsigned client, struct op op)
{
	return run(client, &op, 1);
}

static void expect(const char *key, const char *want)
{
	char *got = world_get(&w, key, UINT64_MAX);
	if (want)
		ck_assert_str_eq(got ? got : "(absent)", want);
	else
		ck_assert_ptr_null(got);
	mem_free(got);
}

START_TEST(operations)
{
	expect("a", NULL);
	ck_assert_int_eq(run1(0, op_put("a", "1")), TX_OK);
	expect("a", "1");
	ck_assert_int_eq(run1(1, op_put("a", "2")), TX_OK);
	expect("a", "2");
	ck_assert_int_eq(run1(0, op_put("a", "")), TX_OK);
	expect("a", "");
	ck_assert_int_eq(run1(0, op_delete("a")), TX_OK);
	expect("a", NULL);
	ck_assert_int_eq(run1(0, op_delete("a")), TX_FAILED_NOT_FOUND);

	ck_assert_int_eq(run1(0, op_cas("c", "1", "2")), TX_FAILED_CAS);
	ck_assert_int_eq(run1(0, op_cas("c", NULL, "1")), TX_OK);
	ck_assert_int_eq(run1(0, op_cas("c", NULL, "9")), TX_FAILED_CAS);
	ck_assert_int_eq(run1(0, op_cas("c", "", "9")), TX_FAILED_CAS);
	ck_assert_int_eq(run1(0, op_cas("c", "1", "2")), TX_OK);
	expect("c", "2");
}
END_TEST

START_TEST(transfers)
{
	struct keypair poor;
	uint8_t seed[32] = {9, 9};
	keypair_from_seed(&poor, seed);
	const struct pubkey *c = &w.client[1].pub;

	ck_assert_int_eq(run1(0, op_transfer(c, 1001)), TX_FAILED_FUNDS);
	ck_assert_int_eq(run1(0, op_transfer(c, 400)), TX_OK);
	ck_assert_uint_eq(world_balance(&w, &w.client[0].pub), 600);
	ck_assert_uint_eq(world_balance(&w, c), 1400);
	ck_assert_int_eq(run1(0, op_transfer(&w.client[0].pub, 600)), TX_OK);
	ck_assert_int_eq(run1(0, op_transfer(&w.client[0].pub, 601)), TX_FAILED_FUNDS);
	ck_assert_uint_eq(world_balance(&w, &w.client[0].pub), 600);
	ck_assert_int_eq(run1(0, op_transfer(&poor.pub, 600)), TX_OK);
	ck_assert_uint_eq(world_balance(&w, &w.client[0].pub), 0);
	ck_assert_uint_eq(world_balance(&w, &poor.pub), 600);
	ck_assert_int_eq(run1(0, op_transfer(&poor.pub, 1)), TX_FAILED_FUNDS);

	/* An emptied account leaves no entry behind. */
	struct writer key = world_key(STATE_NS_ACCOUNT, &w.client[0].pub, PUBKEY_SIZE);
	struct writer value = {0};
	ck_assert_int_eq(ledger_get(w.ledger, writer_slice(&key), UINT64_MAX, &value, NULL),
			 ERR_NOT_FOUND);
	writer_free(&key);
	writer_free(&value);
}
END_TEST

START_TEST(overflow)
{
	teardown();
	world_genesis(&w, 1);
	w.genesis.balances[0].amount = UINT64_MAX;
	world_seal(&w);
	world_open(&w, NULL);
	for (unsigned i = 0; i < WORLD_CLIENTS; i++) {
		if (pubkey_equal(&w.client[i].pub, &w.genesis.balances[0].account))
			continue;
		ck_assert_int_eq(run1(i, op_transfer(&w.genesis.balances[0].account, 1)),
				 TX_FAILED_OVERFLOW);
		ck_assert_uint_eq(world_balance(&w, &w.client[i].pub), 1);
	}
}
END_TEST

/* Operations see those before them; a failure takes all of them back and keeps the nonce. */
START_TEST(all_or_nothing)
{
	struct op good[] = {op_put("x", "1"), op_cas("x", "1", "2"),
			    op_delete("x"),   op_cas("x", NULL, "3"),
			    op_put("y", "4"), op_transfer(&w.client[1].pub, 10),
			    op_put("x", "5")};
	struct op bad[] = {op_put("x", "6"), op_delete("y"), op_put("z", "7"),
			   op_transfer(&w.client[1].pub, 10), op_cas("x", "5", "8")};
	ck_assert_int_eq(run(0, good, MEM_COUNT(good)), TX_OK);
	expect("x", "5");
	expect("y", "4");
	ck_assert_uint_eq(world_balance(&w, &w.client[1].pub), 1010);

	uint64_t nonce = next_nonce(0);
	ck_assert_int_eq(run(0, bad, MEM_COUNT(bad)), TX_FAILED_CAS);
	ck_assert_uint_gt(next_nonce(0), nonce);
	expect("x", "5");
	expect("y", "4");
	expect("z", NULL);
	ck_assert_uint_eq(world_balance(&w, &w.client[1].pub), 1010);
	ck_assert_uint_eq(world_balance(&w, &w.client[0].pub), 990);
}
END_TEST

/* A failed transaction between others of its block leaves no trace in what they see. */
START_TEST(failure_inside_a_block)
{
	struct op a = op_put("k", "1"), c = op_cas("k", "1", "3");
	struct op b[] = {op_put("k", "2"), op_delete("none")};
	struct slice txs[] = {world_tx(&w, &w.client[0], 1, 5, &a, 1),
			      world_tx(&w, &w.client[0], 2, 5, b, 2),
			      world_tx(&w, &w.client[0], 3, 5, &c, 1)};
	struct block *block = world_commit(&w, txs, 3);
	ck_assert_uint_eq(block->tx_count, 3);
	ck_assert_int_eq(block->tx[0].result, TX_OK);
	ck_assert_int_eq(block->tx[1].result, TX_FAILED_NOT_FOUND);
	ck_assert_int_eq(block->tx[2].result, TX_OK);
	expect("k", "3");
	world_free_txs(txs, 3);
}
END_TEST

/* User keys cannot reach the ledger's own entries, whatever their bytes. */
START_TEST(namespaces)
{
	uint8_t name[1 + PUBKEY_SIZE] = {STATE_NS_ACCOUNT};
	struct op op = op_put("", "12345678");
	memcpy(name + 1, w.client[0].pub.b, PUBKEY_SIZE);
	op.key = slice_of(name, sizeof(name));
	ck_assert_int_eq(run1(0, op), TX_OK);
	op.key = slice_of(name + 1, PUBKEY_SIZE);
	ck_assert_int_eq(run1(0, op), TX_OK);
	ck_assert_uint_eq(world_balance(&w, &w.client[0].pub), 1000);
}
END_TEST

START_TEST(balances_are_conserved)
{
	struct random r;
	struct slice txs[40];
	random_seed(&r, 21);
	for (unsigned round = 0; round < 60; round++) {
		uint64_t base[WORLD_CLIENTS], used[WORLD_CLIENTS] = {0};
		uint32_t count = 0;
		for (unsigned i = 0; i < WORLD_CLIENTS; i++)
			base[i] = next_nonce(i);
		for (; count < MEM_COUNT(txs); count++) {
			unsigned from = (unsigned)random_below(&r, WORLD_CLIENTS);
			struct op ops[3];
			for (unsigned i = 0; i < 3; i++)
				ops[i] = op_transfer(
					&w.client[random_below(&r, WORLD_CLIENTS)].pub,
					random_between(&r, 1, 900));
			txs[count] = world_tx(&w, &w.client[from], base[from] + used[from]++,
					      w.tip->sh.h.height + 1, ops,
					      (uint32_t)random_between(&r, 1, 3));
		}
		struct block *b = world_commit(&w, txs, count);
		ck_assert_uint_eq(b->tx_count, count);
		world_free_txs(txs, count);
		uint64_t sum = 0;
		for (unsigned i = 0; i < WORLD_CLIENTS; i++)
			sum += world_balance(&w, &w.client[i].pub);
		ck_assert_uint_eq(sum, 1000 * WORLD_CLIENTS);
	}
}
END_TEST

/* Random operations against a plain table, with several transactions in flight per block. */
START_TEST(against_a_table)
{
	enum { NAMES = 12 };
	char table[NAMES][16] = {{0}}, name[NAMES][8], values[4][4] = {"a", "b", "c", "d"};
	bool present[NAMES] = {false};
	struct random r;
	random_seed(&r, 22);
	for (unsigned i = 0; i < NAMES; i++)
		snprintf(name[i], sizeof(name[i]), "n%u", i);
	for (unsigned round = 0; round < 150; round++) {
		struct slice txs[20];
		enum tx_result want[20];
		uint64_t nonce = next_nonce(round % WORLD_CLIENTS);
		uint32_t count = (uint32_t)random_below(&r, 21);
		for (uint32_t t = 0; t < count; t++) {
			struct op ops[4];
			char after[NAMES][16];
			bool there[NAMES];
			uint32_t n = (uint32_t)random_between(&r, 1, 4);
			memcpy(after, table, sizeof(after));
			memcpy(there, present, sizeof(there));
			want[t] = TX_OK;
			for (uint32_t i = 0; i < n; i++) {
				size_t k = random_below(&r, NAMES);
				const char *v = values[random_below(&r, 4)];
				const char *e = values[random_below(&r, 4)];
				bool expect_there = random_chance(&r, 1, 2);
				switch (random_below(&r, 3)) {
				case 0:
					ops[i] = op_put(name[k], v);
					break;
				case 1:
					ops[i] = op_delete(name[k]);
					if (!there[k] && want[t] == TX_OK)
						want[t] = TX_FAILED_NOT_FOUND;
					break;
				default:
					ops[i] = op_cas(name[k], expect_there ? e : NULL, v);
					if (want[t] == TX_OK &&
					    (there[k] != expect_there ||
					     (expect_there && strcmp(after[k], e) != 0)))
						want[t] = TX_FAILED_CAS;
				}
				there[k] = ops[i].kind != OP_DELETE;
				strcpy(after[k], v);
			}
			if (want[t] == TX_OK) {
				memcpy(table, after, sizeof(after));
				memcpy(present, there, sizeof(there));
			}
			txs[t] = world_tx(&w, &w.client[round % WORLD_CLIENTS], nonce + t,
					  w.tip->sh.h.height + 1, ops, n);
		}
		struct block *b = world_commit(&w, txs, count);
		ck_assert_uint_eq(b->tx_count, count);
		for (uint32_t t = 0; t < count; t++)
			ck_assert_int_eq(b->tx[t].result, want[t]);
		for (unsigned k = 0; k < NAMES; k++)
			expect(name[k], present[k] ? table[k] : NULL);
		world_free_txs(txs, count);
	}
}
END_TEST

START_TEST(history)
{
	char value[16];
	for (unsigned i = 1; i <= 30; i++) {
		snprintf(value, sizeof(value), "%u", i);
		if (i % 7 == 0)
			ck_assert_int_eq(run1(0, op_delete("k")), TX_OK);
		else
			ck_assert_int_eq(run1(0, op_put("k", value)), TX_OK);
		world_commit(&w, NULL, 0); /* an empty block: the same state, one higher */
	}
	for (uint64_t height = 0; height <= 60; height++) {
		uint64_t i = (height + 1) / 2;
		char *got = world_get(&w, "k", height);
		snprintf(value, sizeof(value), "%u", (unsigned)i);
		if (i == 0 || i % 7 == 0)
			ck_assert_ptr_null(got);
		else
			ck_assert_str_eq(got, value);
		mem_free(got);
	}
	struct writer key = world_key(STATE_NS_USER, "k", 1), out = {0};
	ck_assert_int_eq(ledger_get(w.ledger, writer_slice(&key), 61, &out, NULL), ERR_RANGE);
	ck_assert_int_eq(ledger_get(w.ledger, writer_slice(&key), UINT64_MAX - 1, &out, NULL),
			 ERR_RANGE);
	writer_free(&key);
	writer_free(&out);
}
END_TEST

enum { LARGE = 1000, LARGE_KEYS = 200 };

static char *large_value(unsigned i)
{
	return mem_printf("%0*u", LARGE, i);
}

static uint64_t state_bytes(void)
{
	struct ledger_stats stats;
	ledger_stats(w.ledger, &stats);
	return stats.tree_bytes;
}

/* They are forgotten once a later block is final, and read, compared, replaced and deleted all
 * the same. */
START_TEST(large_values_are_in_the_store)
{
	char key[16];
	for (unsigned i = 0; i < LARGE_KEYS; i++) {
		char *value = large_value(i);
		snprintf(key, sizeof key, "k%u", i);
		ck_assert_int_eq(run1(0, op_put(key, value)), TX_OK);
		mem_free(value);
	}
	ck_assert_uint_lt(state_bytes(), LARGE_KEYS * LARGE / 2);
	for (unsigned i = 0; i < LARGE_KEYS; i += 3) {
		char *value = large_value(i), *other = large_value(i + 1);
		uint64_t before = w.tip->sh.h.height;
		snprintf(key, sizeof key, "k%u", i);
		ck_assert_int_eq(run1(1, op_cas(key, other, "wrong")), TX_FAILED_CAS);
		ck_assert_int_eq(run1(1, op_cas(key, value, other)), TX_OK);
		expect(key, other);
		char *old = world_get(&w, key, before);
		ck_assert_str_eq(old, value);
		ck_assert_int_eq(run1(2, op_put(key, value)), TX_OK);
		expect(key, value);
		ck_assert_int_eq(run1(2, op_delete(key)), TX_OK);
		expect(key, NULL);
		mem_free(old);
		mem_free(value);
		mem_free(other);
	}
	char *value = large_value(1);
	expect("k1", value);
	mem_free(value);
}
END_TEST

/* Two blocks are final before the store has either: what the first wrote is not forgotten. */
START_TEST(values_stay_until_they_are_written)
{
	char *value = large_value(7);
	struct store_batch *batch = store_batch_new();
	struct block *b[2];
	for (unsigned i = 0; i < 2; i++) {
		struct op op = i ? op_put("other", "x") : op_put("key", value);
		struct slice tx = world_tx(&w, &w.client[i], 1, 10, &op, 1);
		b[i] = world_build(&w, i ? b[0] : w.tip, 1, &tx, 1, NULL);
		ck_assert_int_eq(ledger_execute(w.ledger, b[i], false), ERR_NONE);
		mem_free((void *)tx.ptr);
	}
	for (unsigned i = 0; i < 2; i++)
		ledger_finalize(w.ledger, b[i], batch);
	expect("key", value);
	ck_assert_uint_gt(state_bytes(), LARGE);
	ck_assert_int_eq(store_write(w.store, batch, false), ERR_NONE);
	expect("key", value);
	store_batch_free(batch);
	mem_free(value);
	for (unsigned i = 0; i < 2; i++)
		block_drop(b[i]);
}
END_TEST

Suite *state_suite(void)
{
	Suite *s = suite_create("state");
	TCase *t = tcase_create("state");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, operations);
	tcase_add_test(t, transfers);
	tcase_add_test(t, overflow);
	tcase_add_test(t, all_or_nothing);
	tcase_add_test(t, failure_inside_a_block);
	tcase_add_test(t, namespaces);
	tcase_add_test(t, balances_are_conserved);
	tcase_add_test(t, against_a_table);
	tcase_add_test(t, history);
	tcase_add_test(t, large_values_are_in_the_store);
	tcase_add_test(t, values_stay_until_they_are_written);
	suite_add_tcase(s, t);
	return s;
}
