/* Run by hand: bench-ledger [DIRECTORY]. Microseconds of execution and finality per single-put
 * transaction, on the memory store and, in DIRECTORY, on RocksDB. Signatures are symbolic and
 * not checked; making transactions and blocks is not counted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/ledger/world.h"

#define FILL_BLOCK 1000

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

struct times {
	double build, execute, finalize, write;
};

static struct slice make_tx(struct world *w, uint64_t nonce, uint64_t key)
{
	char name[32], value[64];
	snprintf(name, sizeof(name), "key-%llu", (unsigned long long)key);
	snprintf(value, sizeof(value), "value %llu of this key, some bytes",
		 (unsigned long long)nonce);
	return world_put(w, (unsigned)(nonce % WORLD_CLIENTS), nonce / WORLD_CLIENTS + 1, name,
			 value);
}

/* One block: built in one ledger, executed in another, as leader and follower would. */
static void one_block(struct world *leader, struct world *w, bool model, struct slice *txs,
		      uint32_t count, struct store_batch *batch, struct times *t)
{
	store_batch_clear(batch);
	double t0 = now_us();
	struct block *b = world_build(leader, leader->tip, 1, txs, count, NULL);
	double t1 = now_us();
	invariant(ledger_execute(leader->ledger, b, false) == ERR_NONE);
	world_finalize(leader, b);
	invariant(store_sync(leader->store) == ERR_NONE);
	double t2 = now_us();
	invariant(b->tx_count == count);
	invariant(ledger_execute(w->ledger, b, false) == ERR_NONE);
	double t3 = now_us();
	ledger_finalize(w->ledger, b, batch);
	double t4 = now_us();
	/* The model in memory keeps what a crash takes back until the next sync. */
	invariant(store_write(w->store, batch, model) == ERR_NONE);
	double t5 = now_us();
	block_hold(b);
	block_drop(w->tip);
	w->tip = b;
	block_drop(b);
	t->build += t1 - t0;
	t->execute += t3 - t2;
	t->finalize += t4 - t3;
	t->write += t5 - t4;
}

static void bench(struct store *s, const char *store_name, uint64_t keys, uint64_t history,
		  uint32_t per_block, uint32_t blocks)
{
	struct world leader, w;
	struct random rnd;
	struct times t = {0}, fill = {0};
	struct store_stats before, after;
	struct slice *txs = mem_array(FILL_BLOCK, sizeof(*txs));
	struct store_batch *batch = store_batch_new(); /* reused, as a replica does */
	uint64_t nonce = 0;

	random_seed(&rnd, keys);
	world_init(&leader, 1000);
	world_genesis(&w, 1000);
	world_seal(&w);
	world_open(&w, s);
	ledger_set_history(leader.ledger, 0);
	ledger_set_history(w.ledger, history);
	for (uint64_t k = 0; k < keys;) {
		uint32_t n = 0;
		for (; n < FILL_BLOCK && k < keys; n++, k++)
			txs[n] = make_tx(&w, nonce++, k);
		one_block(&leader, &w, s == NULL, txs, n, batch, &fill);
		while (n > 0)
			mem_free((void *)txs[--n].ptr);
	}
	store_stats(w.store, &before);
	for (uint32_t i = 0; i < blocks; i++) {
		for (uint32_t n = 0; n < per_block; n++)
			txs[n] = make_tx(&w, nonce++, random_below(&rnd, keys));
		one_block(&leader, &w, s == NULL, txs, per_block, batch, &t);
		for (uint32_t n = 0; n < per_block; n++)
			mem_free((void *)txs[n].ptr);
	}
	double txs_total = (double)blocks * per_block;
	store_stats(w.store, &after);
	printf("%-8s %7llu keys, %s history, %3u txs a block: execute %6.2f  finalize %6.2f  "
	       "write %6.2f  "
	       "sum %6.2f us/tx  (build and seal %.2f)  %.0f bytes/tx\n",
	       store_name, (unsigned long long)keys, history ? "all" : "no ", per_block,
	       t.execute / txs_total, t.finalize / txs_total, t.write / txs_total,
	       (t.execute + t.finalize + t.write) / txs_total, t.build / txs_total,
	       (double)(after.bytes_written - before.bytes_written) / txs_total);
	fflush(stdout);
	store_batch_free(batch);
	mem_free(txs);
	world_free(&w);
	world_free(&leader);
}

static struct store *rocksdb(const char *dir, const char *name)
{
	struct store_options options = {.create = true};
	struct errmsg m;
	struct store *s;
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (store_open_rocksdb(&s, path, &options, &m)) {
		fprintf(stderr, "bench-ledger: %s\n", m.text);
		exit(1);
	}
	return s;
}

int main(int argc, char **argv)
{
	bench(NULL, "memory", 1000, 0, 1, 20000);
	bench(NULL, "memory", 1000, LEDGER_HISTORY_ALL, 1, 20000);
	bench(NULL, "memory", 1000, LEDGER_HISTORY_ALL, 500, 200);
	bench(NULL, "memory", 200000, LEDGER_HISTORY_ALL, 1, 10000);
	bench(NULL, "memory", 200000, LEDGER_HISTORY_ALL, 500, 100);
	if (argc < 2)
		return 0;
	bench(rocksdb(argv[1], "1"), "rocksdb", 1000, LEDGER_HISTORY_ALL, 1, 20000);
	bench(rocksdb(argv[1], "2"), "rocksdb", 1000, LEDGER_HISTORY_ALL, 500, 200);
	bench(rocksdb(argv[1], "3"), "rocksdb", 200000, LEDGER_HISTORY_ALL, 1, 10000);
	bench(rocksdb(argv[1], "4"), "rocksdb", 200000, LEDGER_HISTORY_ALL, 500, 100);
	return 0;
}
