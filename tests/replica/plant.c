/* Damages records of a stopped node's store through the store itself, so that every checksum of
 * the files is right: what a scrub of the running node has to find, and to mend. Only what a
 * start and the next blocks do not need: final blocks with their places, entries and
 *certificates below the newest KEEP, and records of the state that the newest state has no use
 *for. Prints how many of each; exit code 2 if there were none.
 *
 *	plant HOME KEEP PERCENT SEED */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "replica/audit.h"
#include "replica/private.h"

#define LIST_MARK 0xff /* ledger/prune.c */

static struct store *store;
static struct store_batch *batch;
static struct random rnd;
static uint64_t percent, limit; /* heights from this one on stay as they are */
static unsigned planted[STORE_FAMILIES];

static void need(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "plant: %s\n", what);
	exit(2);
}

/* may_go: its absence would be noticed. */
static void damage(enum store_family f, struct slice key, struct slice value, bool may_go)
{
	struct writer bad = {0};
	if (random_below(&rnd, 100) >= percent)
		return;
	unsigned how = (unsigned)random_below(&rnd, 3);
	planted[f]++;
	if (how == 0 && may_go) {
		store_batch_delete(batch, f, key);
		return;
	}
	writer_raw(&bad, value.ptr, how == 1 ? value.len - 1 : value.len);
	if (how != 1)
		bad.buf[bad.len / 2] ^= 0x10;
	store_batch_put(batch, f, key, writer_slice(&bad));
	writer_free(&bad);
}

static void each(enum store_family f, void (*fn)(struct slice key, struct slice value))
{
	const struct slice none = {0};
	struct slice key, value;
	struct store_iter *it = store_iter_new(store, f, none, none, false);
	while (store_iter_next(it, &key, &value))
		fn(key, value);
	need(store_iter_error(it) == ERR_NONE, "the store cannot be read");
	store_iter_free(it);
}

static void block(struct slice key, struct slice value)
{
	if (key.len >= 9 && (key.ptr[0] == 'b' || key.ptr[0] == 'h') &&
	    load_be64(key.ptr + 1) < limit)
		damage(STORE_BLOCKS, key, value, true);
}

static void cert(struct slice key, struct slice value)
{
	if (key.len == 9 && key.ptr[0] == 'c' && load_be64(key.ptr + 1) < limit)
		damage(STORE_CERTS, key, value, false);
}

static void entry(struct slice key, struct slice value)
{
	if (value.len == 12 && load_be64(value.ptr) < limit)
		damage(STORE_TXINDEX, key, value, true);
}

static void unneeded(struct slice key, struct slice value)
{
	struct reader r;
	struct writer record = {0};
	if (key.len != 9 || key.ptr[8] != LIST_MARK || load_be64(key.ptr) >= limit)
		return;
	reader_init(&r, value);
	while (r.left > 0) {
		enum store_family f = (enum store_family)reader_u8(&r);
		struct slice name = reader_var(&r, STATE_KEY_MAX + 8);
		need(!r.err, "a list cannot be read");
		writer_reset(&record);
		if (store_get(store, f, name, &record) == ERR_NONE)
			damage(f, name, writer_slice(&record), true);
	}
	writer_free(&record);
}

int main(int argc, char **argv)
{
	struct genesis genesis;
	struct audit_result head;
	struct store_options options = {.create = false};
	struct errmsg m = {.text = ""};
	char path[4096];
	need(argc == 5, "usage: plant HOME KEEP PERCENT SEED");
	snprintf(path, sizeof path, "%s/genesis.json", argv[1]);
	need(genesis_read(&genesis, path, &m) == ERR_NONE, m.text);
	snprintf(path, sizeof path, "%s/data", argv[1]);
	need(store_open_rocksdb(&store, path, &options, &m) == ERR_NONE, m.text);
	need(replica_audit_head(store, &genesis, &head, &m) == ERR_NONE, m.text);
	uint64_t keep = strtoull(argv[2], NULL, 10);
	need(head.ledger.height > keep + 1, "there are not enough blocks");
	limit = head.ledger.height - keep;
	percent = strtoull(argv[3], NULL, 10);
	random_seed(&rnd, strtoull(argv[4], NULL, 10));
	batch = store_batch_new();
	each(STORE_BLOCKS, block);
	each(STORE_CERTS, cert);
	each(STORE_TXINDEX, entry);
	each(STORE_TREE, unneeded);
	unsigned all = 0;
	for (int f = 0; f < STORE_FAMILIES; f++) {
		all += planted[f];
		if (planted[f])
			printf("%s %u ", store_family_name((enum store_family)f), planted[f]);
	}
	printf("\n");
	need(store_write(store, batch, true) == ERR_NONE, "the store cannot be written to");
	store_batch_free(batch);
	store_close(store);
	genesis_free(&genesis);
	return all ? 0 : 2;
}
