/* Opening, crashing, replaying, pruning: what is in the store, and what it is worth. */
#include <dirent.h>
#include <unistd.h>

#include "ledger/private.h"
#include "tests/ledger/check-ledger.h"
#include "tests/share.h"

static int open_on(struct world *w, struct store *s, struct ledger **out, struct errmsg *m)
{
	*m = (struct errmsg){{0}};
	return ledger_open(out, s, &w->genesis, &w->ctx, w->block0, m);
}

START_TEST(reopen)
{
	struct world w;
	world_init(&w, 1000);
	for (unsigned i = 1; i <= 20; i++) {
		struct slice tx = world_put(&w, i % WORLD_CLIENTS, i, "key", "value");
		world_commit(&w, &tx, 1);
		mem_free((void *)tx.ptr);
	}
	struct ledger_stats before, after;
	struct hash root = *ledger_root(w.ledger);
	ledger_stats(w.ledger, &before);
	ledger_close(w.ledger);
	world_open(&w, w.store);
	ledger_stats(w.ledger, &after);
	ck_assert_uint_eq(ledger_height(w.ledger), 20);
	ck_assert(hash_equal(ledger_root(w.ledger), &root));
	ck_assert(hash_equal(ledger_hash(w.ledger), &w.tip->hash));
	ck_assert_uint_eq(after.keys, before.keys);
	ck_assert_uint_eq(after.senders, before.senders);
	ck_assert_uint_eq(after.senders, WORLD_CLIENTS);
	struct slice tx = world_put(&w, 0, 50, "key", "again");
	ck_assert_uint_eq(world_commit(&w, &tx, 1)->tx_count, 1);
	mem_free((void *)tx.ptr);
	char *got = world_get(&w, "key", UINT64_MAX);
	ck_assert_str_eq(got, "again");
	mem_free(got);
	world_free(&w);
}
END_TEST

/* A directory and the files in it. */
static void remove_files(const char *path)
{
	char name[512];
	DIR *d = opendir(path);
	ck_assert_ptr_nonnull(d);
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		unlink(name);
	}
	closedir(d);
	ck_assert_int_eq(rmdir(path), 0);
}

static void put_meta(struct store *s, struct slice record)
{
	struct store_batch *batch = store_batch_new();
	store_batch_put(batch, STORE_META, slice_str("ledger"), record);
	ck_assert_int_eq(store_write(s, batch, false), ERR_NONE);
	store_batch_free(batch);
}

START_TEST(foreign_stores)
{
	struct world w, other;
	struct ledger *l;
	struct errmsg m;
	struct writer record = {0};
	world_init(&w, 1000);
	world_genesis(&other, 1001);
	world_seal(&other);
	ck_assert_int_eq(open_on(&other, w.store, &l, &m), ERR_WRONG_CHAIN);
	ck_assert_ptr_nonnull(strstr(m.text, "chain"));
	ck_assert_ptr_null(l);

	ck_assert_int_eq(store_get(w.store, STORE_META, slice_str("ledger"), &record),
			 ERR_NONE);
	record.buf[9]++; /* the version */
	put_meta(w.store, writer_slice(&record));
	ck_assert_int_eq(open_on(&w, w.store, &l, &m), ERR_VERSION);
	ck_assert_ptr_nonnull(strstr(m.text, "newer"));
	record.buf[9]--;
	for (size_t len = 0; len < record.len; len++) {
		put_meta(w.store, slice_of(record.buf, len));
		ck_assert_int_eq(open_on(&w, w.store, &l, &m), ERR_CORRUPT);
		ck_assert_str_ne(m.text, "");
	}
	/* Every bit flipped: refused, but for what nothing else tells (block, keys, oldest). */
	for (size_t bit = 0; bit < 8 * record.len; bit++) {
		record.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		put_meta(w.store, writer_slice(&record));
		int err = open_on(&w, w.store, &l, &m);
		record.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		bool telling = bit / 8 < 8 + 2 + 32 + 8 || (bit / 8 >= 8 + 2 + 32 + 8 + 32 &&
							    bit / 8 < 8 + 2 + 32 + 8 + 64);
		telling &= bit != 8 * 9 + 0; /* version 2, which is read as well */
		if (telling)
			ck_assert_int_ne(err, ERR_NONE);
		if (!err)
			ledger_close(l);
	}
	writer_free(&record);
	block_drop(other.tip);
	block_drop(other.block0);
	genesis_free(&other.genesis);
	world_free(&w);
}
END_TEST

START_TEST(false_genesis)
{
	struct world w;
	struct ledger *l;
	struct errmsg m;
	struct store *s = store_open_memory();
	world_genesis(&w, 1000);
	world_seal(&w);
	w.genesis.balances[0].amount++;
	ck_assert_int_eq(open_on(&w, s, &l, &m), ERR_BAD_STATE_ROOT);
	w.genesis.balances[0].amount--;
	store_memory_fail_write(s, 1);
	ck_assert_int_eq(open_on(&w, s, &l, &m), ERR_IO);
	store_close(s);

	/* State that nothing says whose it is. */
	s = store_open_memory();
	struct store_batch *batch = store_batch_new();
	store_batch_put(batch, STORE_STATE, slice_str("k"), slice_str("v"));
	ck_assert_int_eq(store_write(s, batch, false), ERR_NONE);
	ck_assert_int_eq(open_on(&w, s, &l, &m), ERR_CORRUPT);
	store_batch_free(batch);
	store_close(s);
	block_drop(w.tip);
	block_drop(w.block0);
	genesis_free(&w.genesis);
}
END_TEST

/* Missing tree records show when they are needed, as damage and not as absence. */
START_TEST(lost_records)
{
	struct world w;
	struct slice k, v;
	world_init(&w, 1000);
	struct slice txs[200];
	char key[16];
	for (unsigned i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		txs[i] = world_put(&w, 0, i + 1, key, "value");
	}
	world_commit(&w, txs, 200);
	ledger_close(w.ledger);
	struct hash senders;
	tree_key(&senders, state_key_senders());
	struct store_batch *batch = store_batch_new();
	struct store_iter *it = store_iter_new(w.store, STORE_TREE, slice_of(NULL, 0),
					       slice_of(NULL, 0), false);
	while (store_iter_next(it, &k, &v))
		/* all of depth 2, but for the one that opening needs */
		if (k.ptr[8] == 2 && k.ptr[9] != senders.b[0])
			store_batch_delete(batch, STORE_TREE, k);
	store_iter_free(it);
	ck_assert_uint_ge(store_batch_count(batch), 16);
	ck_assert_int_eq(store_write(w.store, batch, false), ERR_NONE);
	store_batch_free(batch);
	world_open(&w, w.store);
	struct writer out = {0};
	unsigned lost = 0, hurt = 200;
	for (unsigned i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		struct writer sk = world_key(STATE_NS_USER, key, strlen(key));
		int err = ledger_get(w.ledger, writer_slice(&sk), UINT64_MAX, &out, NULL);
		ck_assert(err == ERR_NONE || err == ERR_CORRUPT);
		lost += err == ERR_CORRUPT;
		hurt = err ? i : hurt;
		writer_free(&sk);
	}
	ck_assert_uint_gt(lost, 20);
	ck_assert_uint_lt(lost, 200);
	world_free_txs(txs, 200);
	snprintf(key, sizeof(key), "key-%u", hurt);
	txs[0] = world_put(&w, 0, 300, key, "other");
	struct block *b = world_raw_block(&w, w.tip, txs, NULL, 1, ledger_root(w.ledger));
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_CORRUPT);
	struct ledger_candidate c = {.tx = txs[0]};
	struct ledger_built built;
	ck_assert_int_eq(ledger_build(w.ledger, &w.tip->hash, 2, 0, &c, 1, &built),
			 ERR_CORRUPT);
	/* not the block's fault */
	ck_assert(ledger_error_is_of_store(ERR_CORRUPT) && ledger_error_is_of_store(ERR_IO));
	ck_assert(!ledger_error_is_by_bytes(ERR_CORRUPT) && !ledger_error_is_by_bytes(ERR_IO));
	ck_assert_ptr_null(built.body);
	ck_assert_int_ne(c.fate, CANDIDATE_REFUSED);
	block_drop(b);
	writer_free(&out);
	world_free_txs(txs, 1);
	world_free(&w);
}
END_TEST

/* ---- crashes ----------------------------------------------------------------------------- */

#define BLOCKS 40

/* Blocks of a busy chain, made once in a ledger that never crashes. */
static void make_chain(struct block *blocks[BLOCKS], struct hash roots[BLOCKS + 1],
		       uint64_t seed)
{
	struct world w;
	struct random r;
	char key[16], value[16];
	world_init(&w, 1000);
	random_seed(&r, seed);
	roots[0] = *ledger_root(w.ledger);
	for (unsigned b = 0; b < BLOCKS; b++) {
		struct slice txs[12];
		uint32_t count = (uint32_t)random_below(&r, 13);
		for (uint32_t i = 0; i < count; i++) {
			snprintf(key, sizeof(key), "k%u", (unsigned)random_below(&r, 60));
			snprintf(value, sizeof(value), "%u", (unsigned)random_below(&r, 3));
			struct op ops[] = {random_chance(&r, 1, 4) ? op_delete(key)
								   : op_put(key, value),
					   op_transfer(&w.client[1].pub, 1)};
			txs[i] = world_tx(&w, &w.client[i % WORLD_CLIENTS], b * 2 + 1 + i / 8,
					  b + 1, ops, 2);
		}
		blocks[b] = block_hold(world_commit(&w, txs, count));
		roots[b + 1] = *ledger_root(w.ledger);
		world_free_txs(txs, count);
	}
	world_free(&w);
}

static void replay_one(struct world *w, struct block *b)
{
	ck_assert_int_eq(ledger_execute(w->ledger, b, false), ERR_NONE);
	world_finalize(w, b);
}

static void crash_run(struct block *blocks[BLOCKS], const struct hash roots[BLOCKS + 1],
		      uint64_t seed, uint64_t history)
{
	struct world w;
	struct random r;
	uint64_t synced = 0, crashes = 0;
	random_seed(&r, seed);
	world_init(&w, 1000);
	ledger_set_history(w.ledger, history);
	while (ledger_height(w.ledger) < BLOCKS) {
		replay_one(&w, blocks[ledger_height(w.ledger)]);
		if (random_chance(&r, 1, 5)) {
			ck_assert_int_eq(store_sync(w.store), ERR_NONE);
			synced = ledger_height(w.ledger);
		}
		if (crashes > 30 || !random_chance(&r, 1, 6))
			continue;
		crashes++;
		uint64_t reached = ledger_height(w.ledger);
		ledger_close(w.ledger);
		store_memory_crash(w.store, &r);
		world_open(&w, w.store);
		ledger_set_history(w.ledger, history);
		uint64_t height = ledger_height(w.ledger);
		ck_assert_uint_ge(height, synced);
		ck_assert_uint_le(height, reached);
		ck_assert(hash_equal(ledger_root(w.ledger), &roots[height]));
	}
	ck_assert(hash_equal(ledger_root(w.ledger), &roots[BLOCKS]));

	/* Not only the root: the whole state is there, from the store alone. */
	ledger_close(w.ledger);
	world_open(&w, w.store);
	struct world fresh;
	char key[16];
	world_init(&fresh, 1000);
	for (unsigned b = 0; b < BLOCKS; b++)
		replay_one(&fresh, blocks[b]);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		char *a = world_get(&w, key, UINT64_MAX),
		     *b = world_get(&fresh, key, UINT64_MAX);
		ck_assert(!a == !b);
		if (a)
			ck_assert_str_eq(a, b);
		mem_free(a);
		mem_free(b);
	}
	ck_assert_uint_eq(w.ledger->final->keys, fresh.ledger->final->keys);
	world_free(&fresh);
	world_free(&w);
}

START_TEST(crashes)
{
	struct block *blocks[BLOCKS];
	struct hash roots[BLOCKS + 1];
	for (uint64_t seed = 0; seed < share(25); seed++) {
		make_chain(blocks, roots, seed);
		crash_run(blocks, roots, seed * 2, LEDGER_HISTORY_ALL);
		crash_run(blocks, roots, seed * 2 + 1, 0);
		for (unsigned b = 0; b < BLOCKS; b++)
			block_drop(blocks[b]);
	}
}
END_TEST

/* The same chain on disk: as in memory, closed and opened on the way, with old states read. */
START_TEST(on_rocksdb)
{
	struct store_options options = {.create = true};
	struct block *blocks[BLOCKS];
	struct hash roots[BLOCKS + 1];
	struct errmsg m = {{0}};
	struct world w;
	struct store *s;
	char dir[] = "/tmp/check-ledger-XXXXXX", path[64];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/db", dir);
	make_chain(blocks, roots, 99);
	world_genesis(&w, 1000);
	world_seal(&w);
	for (unsigned b = 0; b < BLOCKS; b++) {
		if (b % 13 == 0) {
			if (b > 0) {
				ledger_close(w.ledger);
				store_close(w.store);
			}
			ck_assert_msg(store_open_rocksdb(&s, path, &options, &m) == ERR_NONE,
				      "%s", m.text);
			world_open(&w, s);
			ck_assert_uint_eq(ledger_height(w.ledger), b);
		}
		replay_one(&w, blocks[b]);
		ck_assert(hash_equal(ledger_root(w.ledger), &roots[b + 1]));
	}
	struct writer key = world_key(STATE_NS_USER, "k7", 2), out = {0}, proof = {0};
	for (unsigned h = 0; h <= BLOCKS; h++) {
		int err = ledger_get(w.ledger, writer_slice(&key), h, &out, &proof);
		struct slice value = writer_slice(&out);
		ck_assert(err == ERR_NONE || err == ERR_NOT_FOUND);
		ck_assert_int_eq(state_proof_check(writer_slice(&proof), &roots[h],
						   writer_slice(&key), err ? NULL : &value),
				 ERR_NONE);
	}
	writer_free(&key);
	writer_free(&out);
	writer_free(&proof);
	world_free(&w);
	for (unsigned b = 0; b < BLOCKS; b++)
		block_drop(blocks[b]);
	remove_files(path);
	remove_files(dir);
}
END_TEST

/* ---- pruning ----------------------------------------------------------------------------- */

/* Their records, and those on which they rest. */
static size_t count_nodes(const struct tree_node *n)
{
	size_t count = n->age ? 2 : 1;
	const struct tree_slot *s = n->slot;
	for (unsigned i = 0; i < 16; i++) {
		if (!(n->present >> i & 1))
			continue;
		if (!(n->leaves >> i & 1)) {
			ck_assert_ptr_nonnull(
				s->node); /* all in the cache: nothing was trimmed */
			count += count_nodes(s->node);
		}
		s++;
	}
	return count;
}

static void busy_block(struct world *w, struct random *r, uint64_t nonce)
{
	struct slice txs[8];
	char key[16];
	for (unsigned i = 0; i < 8; i++) {
		snprintf(key, sizeof(key), "k%u", (unsigned)random_below(r, 400));
		struct op op = random_chance(r, 2, 5) ? op_delete(key) : op_put(key, "v");
		txs[i] = world_tx(w, &w->client[i], nonce, w->tip->sh.h.height + 1, &op, 1);
	}
	ck_assert_uint_eq(world_commit(w, txs, 8)->tx_count, 8);
	world_free_txs(txs, 8);
}

/* Without history the store holds exactly the newest state, record for record. */
START_TEST(no_history)
{
	struct world w;
	struct random r;
	struct writer key = world_key(STATE_NS_USER, "k1", 2), out = {0};
	random_seed(&r, 41);
	world_init(&w, 1000);
	ledger_set_history(w.ledger, 0);
	for (unsigned i = 1; i <= 300; i++) {
		if (i % 10 == 0)
			world_commit(&w, NULL, 0);
		busy_block(&w, &r, i);
		ck_assert_uint_eq(count_records(w.store, STORE_TREE),
				  count_nodes(w.ledger->final->root));
		ck_assert_uint_eq(count_records(w.store, STORE_STATE), w.ledger->final->keys);
	}
	uint64_t height = ledger_height(w.ledger);
	ck_assert_int_eq(ledger_get(w.ledger, writer_slice(&key), height - 1, &out, NULL),
			 ERR_STALE);
	ck_assert_int_ne(ledger_get(w.ledger, writer_slice(&key), height, &out, NULL),
			 ERR_STALE);
	writer_free(&key);
	writer_free(&out);
	world_free(&w);
}
END_TEST

/* A store of format 2, which has whole records only, is read as it is; the next block makes it
 * format 3, and its nodes rest on those. */
START_TEST(earlier_format)
{
	struct world w;
	struct random r;
	struct writer record = {0};
	struct slice key, value;
	unsigned rest = 0;
	random_seed(&r, 43);
	world_init(&w, 1000);
	ledger_set_history(w.ledger, 0);
	w.ledger->tree.bases_from = UINT64_MAX;
	for (unsigned i = 1; i <= 100; i++)
		busy_block(&w, &r, i);
	ck_assert_uint_eq(count_records(w.store, STORE_TREE),
			  count_nodes(w.ledger->final->root));
	ck_assert_int_eq(store_get(w.store, STORE_META, slice_str("ledger"), &record),
			 ERR_NONE);
	ck_assert_uint_eq(record.buf[9], 3);
	record.buf[9] = 2;
	put_meta(w.store, writer_slice(&record));
	ledger_close(w.ledger);
	world_open(&w, w.store);
	ledger_set_history(w.ledger, 0);
	for (unsigned i = 101; i <= 120; i++)
		busy_block(&w, &r, i);
	ck_assert_int_eq(store_get(w.store, STORE_META, slice_str("ledger"), &record),
			 ERR_NONE);
	ck_assert_uint_eq(record.buf[9], 3);
	struct store_iter *it = store_iter_new(w.store, STORE_TREE, slice_of(NULL, 0),
					       slice_of(NULL, 0), false);
	while (store_iter_next(it, &key, &value))
		rest += value.len > 4 && value.ptr[0] == 0 && value.ptr[1] == 0;
	store_iter_free(it);
	ck_assert_uint_gt(rest, 3);
	ledger_close(w.ledger);
	world_open(&w, w.store);
	writer_free(&record);
	world_free(&w);
}
END_TEST

static char *value_of(unsigned height, char buf[16])
{
	snprintf(buf, 16, "%u", height);
	return buf;
}

START_TEST(some_history)
{
	enum { HEIGHTS = LEDGER_HISTORY_MIN + 300 };
	struct world w;
	char buf[16];
	world_init(&w, 1000);
	for (unsigned h = 1; h <= HEIGHTS; h++) {
		if (h == 100) { /* it takes a while to catch up with what was kept so far */
			ledger_close(w.ledger);
			world_open(&w, w.store);
			ledger_set_history(w.ledger, 1);
		}
		struct slice tx = world_put(&w, 0, h, "k", value_of(h, buf));
		world_commit(&w, &tx, 1);
		mem_free((void *)tx.ptr);
	}
	struct writer key = world_key(STATE_NS_USER, "k", 1), out = {0};
	for (unsigned h = 1; h <= HEIGHTS; h++) {
		int err = ledger_get(w.ledger, writer_slice(&key), h, &out, NULL);
		if (h < HEIGHTS - LEDGER_HISTORY_MIN) {
			ck_assert_int_eq(err, ERR_STALE);
			continue;
		}
		ck_assert_int_eq(err, ERR_NONE);
		ck_assert(slice_equal(writer_slice(&out), slice_str(value_of(h, buf))));
	}
	/* No list is left behind, and of the old states only what was kept before height 100.
	 */
	size_t records = count_records(w.store, STORE_STATE);
	ck_assert_uint_le(records, 3 * (LEDGER_HISTORY_MIN + 100) + 20);
	writer_free(&key);
	writer_free(&out);
	world_free(&w);
}
END_TEST

Suite *recovery_suite(void)
{
	Suite *s = suite_create("recovery");
	TCase *t = tcase_create("recovery");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, reopen);
	tcase_add_test(t, foreign_stores);
	tcase_add_test(t, false_genesis);
	tcase_add_test(t, lost_records);
	tcase_add_test(t, crashes);
	tcase_add_test(t, on_rocksdb);
	tcase_add_test(t, no_history);
	tcase_add_test(t, earlier_format);
	tcase_add_test(t, some_history);
	suite_add_tcase(s, t);
	return s;
}
