/* The store: ordered byte keys to byte values in column families, atomic batches.
 * Two implementations pass one conformance suite: RocksDB on disk, and a model in memory that
 * can crash, losing and tearing whatever was not synced.
 *
 * Durability contract (RocksDB's write-ahead log has it, the model imitates it): batches become
 * durable in the order of the store_write() calls; a synced write makes itself and all earlier
 * ones durable; a crash keeps a prefix of the batches, each whole or not at all. A write that
 * failed may turn out to be in that prefix all the same.
 *
 * One thread writes. With RocksDB other threads may read meanwhile; the memory model is for one
 * thread. Iterators are freed before the store is closed or crashes. */
#ifndef LEDGER_STORE_H
#define LEDGER_STORE_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/random.h"

/* Their numbers are in lists of stale records, their names on disk: never reuse one. */
enum store_family {
	STORE_META = 0,	  /* format version, chain id, applied height */
	STORE_BLOCKS = 1, /* 'b', height, hash -> block; 'h' -> final hash; 's' -> SYSTEM mark */
	STORE_VOTES = 2,  /* the engine's vote state */
	STORE_CERTS = 3,  /* 'c', height; 't', term */
	STORE_EVIDENCE = 4,
	STORE_STATE = 5,    /* key's hash, version -> state key, value */
	STORE_TREE = 6,	    /* (version, path) -> node */
	STORE_TXINDEX = 7,  /* transaction id -> (height, index) */
	STORE_FAMILIES = 8, /* count */
};

#define STORE_OPEN_FILES_MAX                                                                   \
	256 /* tables; a store that finds no descriptor takes no more writes */

struct store;	    /* opaque */
struct store_batch; /* opaque; ordered puts and deletes */
struct store_iter;

struct store_options {
	bool create;		  /* make it if absent; otherwise ERR_NOT_FOUND */
	bool read_only;		  /* change nothing on the disk; writes are refused */
	size_t write_buffer_size; /* 0: default for a small node */
	size_t cache_size;	  /* 0: likewise */
	unsigned turn; /* stores of different turns that get the same batches flush at
			* different times (docs/decisions/0018-busy-in-turn.md) */
};
/* ERR_NOT_FOUND, ERR_IO; ERR_LOCKED if it is open already; ERR_VERSION if it has column
 * families that are not known here; ERR_CORRUPT if more is damaged than a torn tail of what was
 * not synced: nothing has been changed then. m says what to do. */
int store_open_rocksdb(struct store **out, const char *path,
		       const struct store_options *options, struct errmsg *m);
struct store *store_open_memory(void);
/* A second one, as empty, for the same thread: what is put into both with little between, equal
 * in key and value byte for byte, is kept once. They are closed in any order. */
struct store *store_open_memory_beside(struct store *other);
void store_close(struct store *s); /* flushes nothing that was not asked for */

struct store_batch *store_batch_new(void);
void store_batch_free(struct store_batch *b);
void store_batch_clear(struct store_batch *b);
void store_batch_put(struct store_batch *b, enum store_family f, struct slice key,
		     struct slice value);
/* The value is value_len bytes that the caller fills in now. */
uint8_t *store_batch_put_room(struct store_batch *b, enum store_family f, struct slice key,
			      size_t value_len);
void store_batch_delete(struct store_batch *b, enum store_family f, struct slice key);
size_t store_batch_count(const struct store_batch *b);
size_t store_batch_bytes(const struct store_batch *b);

/* Atomic. sync: durable when it returns. ERR_IO leaves the store refusing all later writes. */
int store_write(struct store *s, struct store_batch *b, bool sync);
/* Makes everything written so far durable. */
int store_sync(struct store *s);
/* Why writes fail, for whoever decides what to do about it; from any thread. */
enum store_failure {
	STORE_WORKS,
	STORE_FAILS,	  /* it cannot be written to, and that will not pass by itself */
	STORE_NO_ROOM,	  /* the disk, or a quota, is full */
	STORE_PROTECTED,  /* the file system is read-only */
	STORE_SYNC_FAILED /* what was written may read back from memory and not be on the disk:
			   * nobody can tell, and syncing again would not say so any more */
};
enum store_failure store_failure(const struct store *s);
/* RocksDB only, else ERR_UNSUPPORTED; from any thread. The store as it is now, complete and
 * openable, as a new directory: tables are hard links, so it takes next to no time and room,
 * and has to be on the same file system. ERR_EXISTS, ERR_IO. */
int store_snapshot(struct store *s, const char *path, struct errmsg *m);
/* Gives the room of what was deleted in keys [from, to) back to the file system; an empty `to`
 * means to the end. Takes its time; from any thread. Nothing to do in memory. */
void store_compact(struct store *s, enum store_family f, struct slice from, struct slice to);
/* Ends a store_compact() in another thread soon, and all later ones at once. */
void store_compact_stop(struct store *s);

/* Appends the value to out (which is reset first). ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT. */
int store_get(struct store *s, enum store_family f, struct slice key, struct writer *out);

/* Iterates keys in [from, to) in ascending order, or descending if reverse; an empty `to` means
 * to the end. Sees the store as of this call. Slices are lent until the next call. */
struct store_iter *store_iter_new(struct store *s, enum store_family f, struct slice from,
				  struct slice to, bool reverse);
bool store_iter_next(struct store_iter *it, struct slice *key, struct slice *value);
int store_iter_error(const struct store_iter *it);
/* After ERR_CORRUPT: the number of the table file that cannot be read; 0: it is not known. */
uint64_t store_iter_file(const struct store_iter *it);
void store_iter_free(struct store_iter *it);

/* RocksDB only, else ERR_UNSUPPORTED. For a table file with pages that cannot be read: the first
 * and the last key in it, and that it goes with all that is in it, after the caller has written
 * anew what can be read of it and made that durable. ERR_NOT_FOUND: there is no such file (any
 * more). ERR_BUSY: it cannot go, or not now: what was deleted would come back, other files would
 * go along, or it is being compacted. */
int store_table_keys(struct store *s, enum store_family f, uint64_t file, struct writer *first,
		     struct writer *last);
int store_table_drop(struct store *s, enum store_family f, uint64_t file);

struct store_stats {
	uint64_t writes, syncs, bytes_written, keys_written;
};
void store_stats(const struct store *s, struct store_stats *out);

/* Memory model only: the process dies here. Unsynced batches survive as a random prefix. The
 * store is usable again afterwards, as after a restart. */
void store_memory_crash(struct store *s, struct random *r);
/* Memory model only: the next n-th write fails with ERR_IO (0: none). */
void store_memory_fail_write(struct store *s, uint64_t nth);
/* Memory model only: at the next n-th write or sync (0: none) the process dies; killed() is
 * told, and nothing more reaches the disk until store_memory_crash(). */
void store_memory_kill(struct store *s, uint64_t nth, void (*killed)(void *ctx), void *ctx);

#endif
