/* The store on disk: RocksDB, one column family for each enum store_family. */
#include <errno.h>
#include <fcntl.h>
#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "ledger/store_private.h"

#define MIB ((size_t)1 << 20)

/* A small node: with the tables' index blocks and four threads' stacks these sum up to less
 * than 80 MiB resident. The family that is full first is flushed, whoever filled it. */
#define WRITE_BUFFER_DEFAULT (8 * MIB) /* a family's memtable */
#define WRITE_BUFFER_MIN     (128 << 10)
#define ARENA_BLOCK_MAX	     (MIB / 4)
#define WRITE_BUFFER_TOTAL   (32 * MIB) /* all families' memtables */
#define CACHE_DEFAULT	     (16 * MIB)
#define CACHE_SHARD_BITS     1
#define TABLE_SIZE	     (8 * MIB)	 /* bounds a filter to some 100 KiB */
#define TABLE_SYNC_BYTES     (MIB / 4)
#define LEVEL_BASE	     (64 * MIB)
#define WAL_TOTAL_MAX	     (40 * MIB) /* then the family that pins the oldest log is flushed */
#define OPEN_FILES_FEW	     20 /* RocksDB's least: then it opens next to no table before it must */
#define OPEN_ROOM	     (1 * MIB)
#define BATCH_KEPT	     (4 * MIB) /* a larger one was out of the ordinary */
#define LOG_FILES	     1
#define LOG_LEVEL_FATAL	     4 /* rocksdb::FATAL_LEVEL; c.h has no name for it */
#define BLOOM_BITS	     10.0
#define BUCKET_BYTES	     512 /* of a hashed memtable, for each bucket */
#define IDENTITY_MAX	     64
#define TURNS		     8
#define TURN_SHARE	     32 /* buffers and logs of neighbouring turns differ by that part */

/* On disk: never renamed. RocksDB insists on a family called "default". */
static const char *const family_names[STORE_FAMILIES] = {
	[STORE_META] = "default", [STORE_BLOCKS] = "blocks",	 [STORE_VOTES] = "votes",
	[STORE_CERTS] = "certs",  [STORE_EVIDENCE] = "evidence", [STORE_STATE] = "state",
	[STORE_TREE] = "tree",	  [STORE_TXINDEX] = "txindex",
};

struct rocksdb_store {
	struct store base;
	int dir; /* held open and locked: one process, and one store in it */
	rocksdb_t *db;
	rocksdb_column_family_handle_t *families[STORE_FAMILIES];
	rocksdb_options_t *options[STORE_FAMILIES];
	rocksdb_writeoptions_t *write_synced, *write_unsynced;
	rocksdb_readoptions_t *read;
	/* Of the write before, for its memory: to grow a new one costs twice its bytes in
	 * copies and fresh pages. */
	_Atomic(rocksdb_writebatch_t *) spare;
	/* What a mark starts with in the log, see store_wal.c. It is this store's identity, so
	 * that no client can know it and put it into a value. */
	char mark[IDENTITY_MAX];
	size_t mark_len;
	_Atomic uint64_t marked; /* the newest mark says that all up to this is on the disk */
};

struct rocksdb_iter {
	struct store_iter base;
	rocksdb_iterator_t *it;
	rocksdb_readoptions_t *read;
	bool started, reverse;
	struct writer from, to; /* RocksDB borrows the bounds */
};

static const struct store_ops rocksdb_ops;

static struct rocksdb_store *rocksdb_of(struct store *s)
{
	invariant(s->ops == &rocksdb_ops);
	return (struct rocksdb_store *)s;
}

/* RocksDB reports errors as text: "Corruption: ...", "IO error: ...". */
static int map_error(const char *text)
{
	if (strncmp(text, "Corruption", strlen("Corruption")) == 0)
		return ERR_CORRUPT;
	return ERR_IO;
}

/* Takes the text over. */
static int take_error(char *text, const char *doing)
{
	int err = map_error(text);

	log_write(LOG_LEDGER, LOG_DEBUG, "store: %s: %s", doing, text);
	rocksdb_free(text);
	return err;
}

/* "... block checksum mismatch: ... in /some/where/000123.sst offset 4096 size 4000" */
static uint64_t file_of(const char *text)
{
	const char *end = strstr(text, ".sst"), *digit = end;

	while (digit != NULL && digit > text && digit[-1] >= '0' && digit[-1] <= '9')
		digit--;
	return digit == end ? 0 : strtoull(digit, NULL, 10);
}

/* Writing */

/* RocksDB has one code for all of them: "IO error: No space left on device: While appending to
 * file: PATH: ..."; the path may hold anything. */
static enum store_failure failure_of(const char *text)
{
	static const char *const syncs[] = {"While fdatasync", "While fsync", "while fsync",
					    "While sync", "While file sync"};
	for (size_t i = 0; i < MEM_COUNT(syncs); i++)
		if (strstr(text, syncs[i]) != NULL)
			return STORE_SYNC_FAILED;
	if (strstr(text, strerror(ENOSPC)) != NULL || strstr(text, strerror(EDQUOT)) != NULL)
		return STORE_NO_ROOM;
	return strstr(text, strerror(EROFS)) != NULL ? STORE_PROTECTED : STORE_FAILS;
}

/* Takes the text over. A failed sync is what counts, whatever else has failed. First of all
 * nobody may sync or write any more: Debian's RocksDB aborts if its log is synced after a
 * failed write. */
static int fail(struct rocksdb_store *r, char *text, enum store_failure why)
{
	enum store_failure was = STORE_WORKS;
	bool first = !atomic_exchange(&r->base.failed, true);

	if (!atomic_compare_exchange_strong(&r->base.failure, &was, why) &&
	    why == STORE_SYNC_FAILED)
		atomic_store(&r->base.failure, why);
	if (first) {
		log_write(LOG_LEDGER, LOG_ERROR, "store: %s", text);
		/* It would try to mend itself when there is room again, with files of whose
		 * state it is not sure; a store that has failed is opened anew. Reads go on. */
		rocksdb_cancel_all_background_work(r->db, 0);
	}
	take_error(text, "write");
	return ERR_IO;
}

/* Says in the log that all up to this sequence number is on the disk. Not synced itself: it is
 * so with the next one. If it cannot be written, that was the last sync, and a good one. */
static void write_mark(struct rocksdb_store *r, uint64_t synced)
{
	char mark[IDENTITY_MAX + sizeof(synced)];
	rocksdb_writebatch_t *wb;
	char *error = NULL;

	if (synced <= atomic_load(&r->marked))
		return;
	atomic_store(&r->marked, synced);
	memcpy(mark, r->mark, r->mark_len);
	for (size_t i = 0; i < sizeof(synced); i++)
		mark[r->mark_len + i] = (char)(synced >> 8 * i & 0xff);
	wb = rocksdb_writebatch_create();
	rocksdb_writebatch_put_log_data(wb, mark, r->mark_len + sizeof(synced));
	rocksdb_write(r->db, r->write_unsynced, wb, &error);
	rocksdb_writebatch_destroy(wb);
	if (error != NULL)
		fail(r, error, failure_of(error));
}

/* A synced write holds RocksDB's writer queue while the disk works, so that a sync on another
 * thread would stop every write; syncing the log alone holds nothing. */
static int sync_log(struct rocksdb_store *r)
{
	uint64_t written = rocksdb_get_latest_sequence_number(r->db);
	char *error = NULL;

	rocksdb_flush_wal(r->db, 1, &error);
	if (error != NULL) /* of a write before it: not of the sync */
		return fail(r, error,
			    strstr(error, "previous error") != NULL ? STORE_FAILS
								    : STORE_SYNC_FAILED);
	write_mark(r, written);
	return ERR_NONE;
}

static rocksdb_writebatch_t *take_writebatch(struct rocksdb_store *r)
{
	rocksdb_writebatch_t *wb = atomic_exchange(&r->spare, NULL);

	return wb != NULL ? wb : rocksdb_writebatch_create();
}

static void give_writebatch(struct rocksdb_store *r, rocksdb_writebatch_t *wb, size_t bytes)
{
	if (bytes <= BATCH_KEPT) {
		rocksdb_writebatch_clear(wb);
		wb = atomic_exchange(&r->spare, wb);
	}
	if (wb != NULL)
		rocksdb_writebatch_destroy(wb);
}

static int rocksdb_store_write(struct store *s, const struct store_batch *b, bool sync)
{
	struct rocksdb_store *r = rocksdb_of(s);
	rocksdb_writebatch_t *wb;
	struct store_op op;
	size_t offset = 0;
	char *error = NULL;

	if (b->count == 0)
		return sync ? sync_log(r) : ERR_NONE;
	wb = take_writebatch(r);
	while (store_batch_next(b, &offset, &op)) {
		if (op.is_delete)
			rocksdb_writebatch_delete_cf(wb, r->families[op.family],
						     (const char *)op.key.ptr, op.key.len);
		else
			rocksdb_writebatch_put_cf(wb, r->families[op.family],
						  (const char *)op.key.ptr, op.key.len,
						  (const char *)op.value.ptr, op.value.len);
	}
	rocksdb_write(r->db, sync ? r->write_synced : r->write_unsynced, wb, &error);
	give_writebatch(r, wb, store_batch_bytes(b));
	if (error != NULL)
		return fail(r, error, failure_of(error));
	if (sync)
		write_mark(r, rocksdb_get_latest_sequence_number(r->db));
	return ERR_NONE;
}

/* Reading */

static int rocksdb_store_get(struct store *s, enum store_family f, struct slice key,
			     struct writer *out)
{
	struct rocksdb_store *r = rocksdb_of(s);
	char *error = NULL;
	rocksdb_pinnableslice_t *pinned = rocksdb_get_pinned_cf(
		r->db, r->read, r->families[f], (const char *)key.ptr, key.len, &error);
	const char *value;
	size_t len = 0;

	if (error != NULL) {
		rocksdb_pinnableslice_destroy(pinned);
		return take_error(error, "get");
	}
	if (pinned == NULL)
		return ERR_NOT_FOUND;
	value = rocksdb_pinnableslice_value(pinned, &len);
	writer_raw(out, value, len);
	rocksdb_pinnableslice_destroy(pinned);
	return ERR_NONE;
}

static struct store_iter *rocksdb_iter_new(struct store *s, enum store_family f,
					   struct slice from, struct slice to, bool reverse)
{
	struct rocksdb_store *r = rocksdb_of(s);
	struct rocksdb_iter *it = mem_zalloc(sizeof(*it));

	it->reverse = reverse;
	writer_raw(&it->from, from.ptr, from.len);
	writer_raw(&it->to, to.ptr, to.len);
	it->read = rocksdb_readoptions_create();
	rocksdb_readoptions_set_verify_checksums(it->read, 1);
	/* or it would find nothing in a hashed memtable but the first key's bucket */
	rocksdb_readoptions_set_total_order_seek(it->read, 1);
	if (from.len > 0)
		rocksdb_readoptions_set_iterate_lower_bound(
			it->read, (const char *)it->from.buf, it->from.len);
	if (to.len > 0)
		rocksdb_readoptions_set_iterate_upper_bound(it->read, (const char *)it->to.buf,
							    it->to.len);
	it->it = rocksdb_create_iterator_cf(r->db, it->read, r->families[f]);
	return &it->base;
}

static bool rocksdb_iter_step(struct store_iter *base, struct slice *key, struct slice *value)
{
	struct rocksdb_iter *it = (struct rocksdb_iter *)base;
	char *error = NULL;

	if (!it->started && it->reverse)
		rocksdb_iter_seek_to_last(it->it);
	else if (!it->started)
		rocksdb_iter_seek_to_first(it->it);
	else if (it->reverse)
		rocksdb_iter_prev(it->it);
	else
		rocksdb_iter_next(it->it);
	it->started = true;
	if (!rocksdb_iter_valid(it->it)) {
		rocksdb_iter_get_error(it->it, &error);
		if (error != NULL) {
			base->file = file_of(error);
			base->err = take_error(error, "iterate");
		}
		return false;
	}
	key->ptr = (const uint8_t *)rocksdb_iter_key(it->it, &key->len);
	value->ptr = (const uint8_t *)rocksdb_iter_value(it->it, &value->len);
	return true;
}

static void rocksdb_iter_free(struct store_iter *base)
{
	struct rocksdb_iter *it = (struct rocksdb_iter *)base;

	rocksdb_iter_destroy(it->it);
	rocksdb_readoptions_destroy(it->read);
	writer_free(&it->from);
	writer_free(&it->to);
	mem_free(it);
}

/* Snapshots and compaction */

static int rocksdb_store_snapshot(struct store *s, const char *path, struct errmsg *m)
{
	struct rocksdb_store *r = rocksdb_of(s);
	char *error = NULL;
	rocksdb_checkpoint_t *checkpoint;
	int err;

	if (access(path, F_OK) == 0)
		return err_set(m, ERR_EXISTS, "%s exists", path);
	checkpoint = rocksdb_checkpoint_object_create(r->db, &error);
	if (error == NULL) {
		/* 0: memtables are flushed first, so that there is no log to copy */
		rocksdb_checkpoint_create(checkpoint, path, 0, &error);
		rocksdb_checkpoint_object_destroy(checkpoint);
	}
	if (error == NULL)
		return ERR_NONE;
	err = err_set(m, ERR_IO, "cannot make the snapshot %s: %s", path, error);
	rocksdb_free(error);
	return err;
}

static void rocksdb_store_compact(struct store *s, enum store_family f, struct slice from,
				  struct slice to)
{
	struct rocksdb_store *r = rocksdb_of(s);

	rocksdb_compact_range_cf(r->db, r->families[f], (const char *)from.ptr, from.len,
				 to.len > 0 ? (const char *)to.ptr : NULL, to.len);
}

static void rocksdb_store_compact_stop(struct store *s)
{
	rocksdb_disable_manual_compaction(rocksdb_of(s)->db);
}

/* Tables */

static struct slice first_key(const rocksdb_livefiles_t *all, int i)
{
	struct slice key;
	key.ptr = (const uint8_t *)rocksdb_livefiles_smallestkey(all, i, &key.len);
	return key;
}

static struct slice last_key(const rocksdb_livefiles_t *all, int i)
{
	struct slice key;
	key.ptr = (const uint8_t *)rocksdb_livefiles_largestkey(all, i, &key.len);
	return key;
}

static bool is_of_family(const rocksdb_livefiles_t *all, int i, enum store_family f)
{
	return strcmp(rocksdb_livefiles_column_family_name(all, i), family_names[f]) == 0;
}

static int find_table(const rocksdb_livefiles_t *all, enum store_family f, uint64_t file)
{
	for (int i = 0; i < rocksdb_livefiles_count(all); i++)
		if (is_of_family(all, i, f) && file_of(rocksdb_livefiles_name(all, i)) == file)
			return i;
	return -1;
}

/* It is of the last level in use, so that nothing below it comes to light; and no other one
 * that lies within its keys would go along. Of level 0, whose files overlap, it is RocksDB that
 * says whether it is the oldest one. */
static bool can_go(const rocksdb_livefiles_t *all, enum store_family f, int table)
{
	int level = rocksdb_livefiles_level(all, table);

	for (int i = 0; i < rocksdb_livefiles_count(all); i++) {
		int other = rocksdb_livefiles_level(all, i);
		if (i == table || !is_of_family(all, i, f))
			continue;
		if (other > level ||
		    (level == 0 && file_of(rocksdb_livefiles_name(all, i)) <
					   file_of(rocksdb_livefiles_name(all, table))))
			return false;
		if (other > 0 && slice_compare(first_key(all, i), first_key(all, table)) >= 0 &&
		    slice_compare(last_key(all, i), last_key(all, table)) <= 0)
			return false;
	}
	return true;
}

/* The file of the oldest level, if nothing is below it, by its name. */
static void delete_by_name(struct rocksdb_store *r, enum store_family f, uint64_t file)
{
	const rocksdb_livefiles_t *all = rocksdb_livefiles(r->db);
	int table = find_table(all, f, file);
	if (table >= 0 && rocksdb_livefiles_level(all, table) == 0)
		rocksdb_delete_file(r->db, rocksdb_livefiles_name(all, table));
	rocksdb_livefiles_destroy(all);
}

static int rocksdb_table_keys(struct store *s, enum store_family f, uint64_t file,
			      struct writer *first, struct writer *last)
{
	struct rocksdb_store *r = rocksdb_of(s);
	const rocksdb_livefiles_t *all = rocksdb_livefiles(r->db);
	int table = find_table(all, f, file);
	int err = table < 0 ? ERR_NOT_FOUND : can_go(all, f, table) ? ERR_NONE : ERR_BUSY;

	if (table >= 0) {
		struct slice low = first_key(all, table), high = last_key(all, table);
		writer_reset(first);
		writer_reset(last);
		writer_raw(first, low.ptr, low.len);
		writer_raw(last, high.ptr, high.len);
	}
	rocksdb_livefiles_destroy(all);
	return err;
}

static int rocksdb_table_drop(struct store *s, enum store_family f, uint64_t file)
{
	struct rocksdb_store *r = rocksdb_of(s);
	struct writer first = {0}, last = {0};
	char *error = NULL;
	int err = rocksdb_table_keys(s, f, file, &first, &last);

	if (err == ERR_NONE)
		rocksdb_delete_file_in_range_cf(r->db, r->families[f], (const char *)first.buf,
						first.len, (const char *)last.buf, last.len,
						&error);
	if (error != NULL)
		err = take_error(error, "drop a table");
	if (err == ERR_NONE)
		delete_by_name(r, f, file);
	if (err == ERR_NONE) /* it stays while it is compacted */
		err = rocksdb_table_keys(s, f, file, &first, &last) == ERR_NOT_FOUND ? ERR_NONE
										     : ERR_BUSY;
	writer_free(&first);
	writer_free(&last);
	return err;
}

/* Opening and closing */

/* Replicas write the same batches: with buffers of the same size all of them would flush, and
 * then compact, at the same moment. The first two turns, and the first four, are as far apart
 * as they can be. */
static size_t in_turn(size_t size, const struct store_options *o)
{
	static const uint8_t place[TURNS] = {0, 4, 2, 6, 1, 5, 3, 7};
	return size - size / TURN_SHARE * place[o->turn % TURNS];
}

/* Before the turn is reckoned with. */
static size_t nominal_size(const struct store_options *o)
{
	size_t size = o->write_buffer_size > 0 ? o->write_buffer_size : WRITE_BUFFER_DEFAULT;
	return size < WRITE_BUFFER_MIN ? WRITE_BUFFER_MIN : size;
}

static size_t buffer_size(const struct store_options *o)
{
	size_t size = in_turn(nominal_size(o), o);
	return size < WRITE_BUFFER_MIN ? WRITE_BUFFER_MIN : size;
}

/* What a memtable grows by: 4 KiB at least; Debian's RocksDB aborts if that comes near the
 * buffer's size. In every turn 256 KiB, which malloc() maps, and unmaps with the memtable:
 * smaller ones are left behind in the heap, 6 MiB of them. */
static size_t arena_block(const struct store_options *o)
{
	size_t size = nominal_size(o) / 32;
	return size < ARENA_BLOCK_MAX ? size : ARENA_BLOCK_MAX;
}

/* Options for the whole database; they are also what each family starts from. */
static rocksdb_options_t *options_new(const struct store_options *o)
{
	rocksdb_options_t *opt = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(opt, o->create);
	/* always: a crash may come between creating the database and its families */
	rocksdb_options_set_create_missing_column_families(opt, 1);
	rocksdb_options_set_paranoid_checks(opt, 1);
	/* store_wal.c has cut a torn tail and refused anything worse; what RocksDB still finds
	 * wrong is therefore an error and not to be cut in silence. */
	rocksdb_options_set_wal_recovery_mode(opt, rocksdb_absolute_consistency_recovery);
	rocksdb_options_set_max_total_wal_size(opt, in_turn(WAL_TOTAL_MAX, o));
	rocksdb_options_set_db_write_buffer_size(opt, WRITE_BUFFER_TOTAL);
	rocksdb_options_set_write_buffer_size(opt, buffer_size(o));
	rocksdb_options_set_arena_block_size(opt, arena_block(o));
	rocksdb_options_set_max_open_files(opt, STORE_OPEN_FILES_MAX);
	rocksdb_options_set_max_background_jobs(opt, 2);
	rocksdb_options_set_target_file_size_base(opt, TABLE_SIZE);
	rocksdb_options_set_max_bytes_for_level_base(opt, LEVEL_BASE);
	rocksdb_options_set_level_compaction_dynamic_level_bytes(opt, 1);
	rocksdb_options_set_compression(opt, rocksdb_lz4_compression);
	/* A vote's sync waits for what a flush or a compaction has given the disk before it: that
	 * is little at a time. No rate limiter: before 8.6 a flush may wait in it for ever, and all
	 * writes with it (facebook/rocksdb#11742). */
	rocksdb_options_set_bytes_per_sync(opt, TABLE_SYNC_BYTES);
	/* which hashed memtables cannot do; one thread writes anyway */
	rocksdb_options_set_allow_concurrent_memtable_write(opt, 0);
	/* RocksDB's own log, for Debian's aborts at the next line after one that found no room:
	 * no lines but those at the start, for which check_room() looks. What matters is in our
	 * log (fail()). */
	rocksdb_options_set_info_log_level(opt, LOG_LEVEL_FATAL);
	rocksdb_options_set_keep_log_file_num(opt, LOG_FILES);
	rocksdb_options_set_stats_dump_period_sec(opt, 0);
	rocksdb_options_set_stats_persist_period_sec(opt, 0);
	return opt;
}

/* Keys in no order, so that tables overlap: filters tell which one a key is in. Those of the
 * tree ascend with the versions, and a table's bounds tell as much. */
static bool needs_filters(int f)
{
	return f == STORE_BLOCKS || f == STORE_STATE || f == STORE_TXINDEX;
}

/* Of each transaction one or more, at places all over the family. In a skip list of some ten
 * thousands the way to each place leads through records that are in no cache. */
static bool is_scattered(int f)
{
	return f == STORE_STATE || f == STORE_TXINDEX;
}

/* And little else, in which there is nothing to compress. */
static bool holds_hashes(int f)
{
	return f == STORE_TREE || f == STORE_TXINDEX;
}

/* Records found by a hash of the whole key, not in order. A flush, and an iterator, puts them
 * into order first: nobody iterates often. A bucket that somebody fills on purpose becomes a
 * skip list at 256 records. */
static void hash_memtables(rocksdb_options_t *opt, const struct store_options *o)
{
	rocksdb_options_set_prefix_extractor(opt, rocksdb_slicetransform_create_noop());
	rocksdb_options_set_hash_link_list_rep(opt, buffer_size(o) / BUCKET_BYTES);
}

static void options_for_families(struct rocksdb_store *r, rocksdb_options_t *base,
				 const struct store_options *o)
{
	rocksdb_lru_cache_options_t *lru = rocksdb_lru_cache_options_create();
	rocksdb_cache_t *cache;

	rocksdb_lru_cache_options_set_capacity(lru, o->cache_size > 0 ? o->cache_size
								      : CACHE_DEFAULT);
	/* few: a filter must fit into a shard, or it is read from the disk for every get */
	rocksdb_lru_cache_options_set_num_shard_bits(lru, CACHE_SHARD_BITS);
	cache = rocksdb_cache_create_lru_opts(lru);
	rocksdb_lru_cache_options_destroy(lru);
	for (int f = 0; f < STORE_FAMILIES; f++) {
		rocksdb_block_based_table_options_t *table =
			rocksdb_block_based_options_create();
		rocksdb_block_based_options_set_block_cache(table, cache);
		/* index and filters within the cache's bound, not beside it */
		rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
		rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table,
											1);
		if (needs_filters(f))
			rocksdb_block_based_options_set_filter_policy(
				table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
		r->options[f] = rocksdb_options_create_copy(base);
		if (holds_hashes(f))
			rocksdb_options_set_compression(r->options[f], rocksdb_no_compression);
		if (is_scattered(f))
			hash_memtables(r->options[f], o);
		rocksdb_options_set_block_based_table_factory(r->options[f], table);
		rocksdb_block_based_options_destroy(table);
	}
	rocksdb_cache_destroy(cache); /* the options share it */
}

/* Our own lock, on the directory: RocksDB's belongs to the process, and would be lifted by
 * closing its file anywhere in the process. Other programs know only RocksDB's, so that one is
 * asked about as well. */
static int lock_directory(struct rocksdb_store *r, const char *path, struct errmsg *m)
{
	struct flock held = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd;

	if (flock(r->dir, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK)
			return err_set(m, ERR_IO, "cannot lock %s: %s", path, strerror(errno));
		return err_set(m, ERR_LOCKED,
			       "store %s is in use by a running node or tool; stop that first "
			       "('fuser -v %s/LOCK' names it)",
			       path, path);
	}
	fd = openat(r->dir, "LOCK", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return ERR_NONE;
	if (fcntl(fd, F_GETLK, &held) != 0)
		held.l_type = F_UNLCK;
	close(fd);
	if (held.l_type != F_UNLCK)
		return err_set(m, ERR_LOCKED,
			       "store %s is in use by process %ld; stop that first", path,
			       (long)held.l_pid);
	return ERR_NONE;
}

/* A new directory that a crash takes away again would take the votes in it along. */
static bool sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *parent = slash == NULL   ? mem_strdup(".")
		       : slash == path ? mem_strdup("/")
				       : mem_strdup(path);
	int fd, ok;

	if (slash != NULL && slash != path)
		parent[slash - path] = '\0';
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mem_free(parent);
	ok = fd >= 0 && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

static int open_directory(struct rocksdb_store *r, const char *path, bool create,
			  struct errmsg *m)
{
	struct stat st;

	if (create && (mkdir(path, 0700) == 0 ? !sync_parent(path) : errno != EEXIST))
		return err_set(m, ERR_IO, "cannot create %s: %s", path, strerror(errno));
	r->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dir < 0)
		return err_set(m, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
			       "cannot open the store directory %s: %s", path, strerror(errno));
	if (!create && fstatat(r->dir, "CURRENT", &st, 0) != 0 && errno == ENOENT)
		return err_set(m, ERR_NOT_FOUND, "there is no store in %s", path);
	return lock_directory(r, path, m);
}

/* RocksDB aborts, or fails half way, if it has not even room to open. */
static int check_room(const struct rocksdb_store *r, const char *path, struct errmsg *m)
{
	struct statvfs st;

	if (fstatvfs(r->dir, &st) == 0 && (uint64_t)st.f_bavail * st.f_frsize < OPEN_ROOM)
		return err_set(m, ERR_IO,
			       "the disk of %s is full: there is no room to open the store. "
			       "Make room and start again",
			       path);
	return ERR_NONE;
}

/* What RocksDB keeps in the file IDENTITY; empty before the store exists. */
static void read_identity(struct rocksdb_store *r)
{
	int fd = openat(r->dir, "IDENTITY", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = 0;

	if (fd >= 0) {
		n = read(fd, r->mark, sizeof(r->mark));
		close(fd);
	}
	r->mark_len = n > 0 ? (size_t)n : 0;
}

/* Takes error over. */
static int refuse_open(char *error, const char *path, struct errmsg *m)
{
	int err = map_error(error);

	if (strstr(error, "While lock file") != NULL || strstr(error, "lock hold by") != NULL)
		err = err_set(m, ERR_LOCKED, "store %s is in use by another process: %s", path,
			      error);
	else if (strstr(error, "Column families not opened") != NULL)
		err = err_set(m, ERR_VERSION, "store %s was made by a newer version: %s", path,
			      error);
	else if (err == ERR_CORRUPT)
		err = err_set(m, err,
			      "store %s is damaged: %s. Check the disk, then restore a backup",
			      path, error);
	else
		err = err_set(m, err, "cannot open store %s: %s", path, error);
	rocksdb_free(error);
	return err;
}

/* few: see open_database() */
static int open_once(struct rocksdb_store *r, const char *path, const struct store_options *o,
		     bool torn, bool few, struct errmsg *m)
{
	rocksdb_options_t *opt = options_new(o);
	char *error = NULL;

	/* Seen by store_wal.c and left there, for nothing may be changed: read up to it. */
	if (torn)
		rocksdb_options_set_wal_recovery_mode(opt, rocksdb_point_in_time_recovery);
	if (few) {
		rocksdb_options_set_max_open_files(opt, OPEN_FILES_FEW);
		rocksdb_options_set_paranoid_checks(opt, 0);
	}
	options_for_families(r, opt, o);
	if (o->read_only)
		r->db = rocksdb_open_for_read_only_column_families(
			opt, path, STORE_FAMILIES, family_names,
			(const rocksdb_options_t *const *)r->options, r->families, 0, &error);
	else
		r->db = rocksdb_open_column_families(
			opt, path, STORE_FAMILIES, family_names,
			(const rocksdb_options_t *const *)r->options, r->families, &error);
	rocksdb_options_destroy(opt);
	return error != NULL ? refuse_open(error, path, m) : ERR_NONE;
}

/* RocksDB opens the first tables with the store, and not at all if one of them is damaged. Who
 * only reads, to check or to repair, gets it all the same, then with tables opened as they are
 * needed: what is in the damaged one cannot be read, and all else can, such as the vote state
 * that a repair must have. */
static int open_database(struct rocksdb_store *r, const char *path,
			 const struct store_options *o, bool torn, struct errmsg *m)
{
	struct errmsg first;
	int err = open_once(r, path, o, torn, false, &first);

	if (err == ERR_CORRUPT && o->read_only) {
		for (int f = 0; f < STORE_FAMILIES; f++)
			rocksdb_options_destroy(r->options[f]);
		memset(r->options, 0, sizeof(r->options));
		err = open_once(r, path, o, torn, true, &first);
	}
	return err == ERR_NONE ? ERR_NONE : err_set(m, err, "%s", first.text);
}

static void rocksdb_store_close(struct store *s)
{
	struct rocksdb_store *r = rocksdb_of(s);

	for (int f = 0; f < STORE_FAMILIES && r->db != NULL; f++)
		rocksdb_column_family_handle_destroy(r->families[f]);
	if (r->db != NULL)
		rocksdb_close(r->db);
	for (int f = 0; f < STORE_FAMILIES && r->options[f] != NULL; f++)
		rocksdb_options_destroy(r->options[f]);
	rocksdb_writeoptions_destroy(r->write_synced);
	rocksdb_writeoptions_destroy(r->write_unsynced);
	rocksdb_readoptions_destroy(r->read);
	rocksdb_writebatch_t *spare = atomic_exchange(&r->spare, NULL);
	if (spare != NULL)
		rocksdb_writebatch_destroy(spare);
	if (r->dir >= 0)
		close(r->dir); /* and unlock */
	mem_free(r);
}

static const struct store_ops rocksdb_ops = {
	.close = rocksdb_store_close,
	.write = rocksdb_store_write,
	.get = rocksdb_store_get,
	.iter_new = rocksdb_iter_new,
	.iter_next = rocksdb_iter_step,
	.iter_free = rocksdb_iter_free,
	.snapshot = rocksdb_store_snapshot,
	.compact = rocksdb_store_compact,
	.compact_stop = rocksdb_store_compact_stop,
	.table_keys = rocksdb_table_keys,
	.table_drop = rocksdb_table_drop,
};

int store_open_rocksdb(struct store **out, const char *path,
		       const struct store_options *options, struct errmsg *m)
{
	struct rocksdb_store *r = mem_zalloc(sizeof(*r));
	bool torn = false;
	int err;

	invariant(!(options->create && options->read_only));

	*out = NULL;
	r->base.ops = &rocksdb_ops;
	r->dir = -1;
	r->write_synced = rocksdb_writeoptions_create();
	r->write_unsynced = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(r->write_synced, 1);
	r->read = rocksdb_readoptions_create();
	rocksdb_readoptions_set_verify_checksums(r->read, 1);

	err = open_directory(r, path, options->create, m);
	if (err != ERR_NONE)
		goto fail;
	err = options->read_only ? ERR_NONE : check_room(r, path, m);
	if (err != ERR_NONE)
		goto fail;
	read_identity(r);
	err = store_wal_check(r->dir, path, slice_of(r->mark, r->mark_len), options->read_only,
			      &torn, m);
	if (err == ERR_NONE)
		err = store_table_check(r->dir, path, m);
	if (err != ERR_NONE)
		goto fail;
	err = open_database(r, path, options, torn, m);
	if (err != ERR_NONE)
		goto fail;
	read_identity(r); /* of a store just made */
	atomic_store(&r->base.failed, options->read_only);
	*out = &r->base;
	return ERR_NONE;
fail:
	rocksdb_store_close(&r->base);
	return err;
}
