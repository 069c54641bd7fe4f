/* What the two stores share with their front (store.c) and with nobody else. */
#ifndef LEDGER_STORE_PRIVATE_H
#define LEDGER_STORE_PRIVATE_H

#include <stdatomic.h>
#include <string.h>

#include "ledger/store.h"

struct store_ops {
	void (*close)(struct store *s);
	/* ERR_NONE or ERR_IO; the front takes care of all that follows from an error. */
	int (*write)(struct store *s, const struct store_batch *b, bool sync);
	int (*get)(struct store *s, enum store_family f, struct slice key, struct writer *out);
	/* The range is not empty: `to` is empty (no bound) or above `from`. */
	struct store_iter *(*iter_new)(struct store *s, enum store_family f, struct slice from,
				       struct slice to, bool reverse);
	bool (*iter_next)(struct store_iter *it, struct slice *key, struct slice *value);
	void (*iter_free)(struct store_iter *it);
	/* may be NULL, all of these */
	int (*snapshot)(struct store *s, const char *path, struct errmsg *m);
	void (*compact)(struct store *s, enum store_family f, struct slice from,
			struct slice to);
	void (*compact_stop)(struct store *s);
	int (*table_keys)(struct store *s, enum store_family f, uint64_t file,
			  struct writer *first, struct writer *last);
	int (*table_drop)(struct store *s, enum store_family f, uint64_t file);
};

/* First member of both stores. Readers may be in other threads than the one writer (RocksDB
 * only), hence the atomics. */
struct store {
	const struct store_ops *ops;
	atomic_bool failed; /* a write failed: what is on the disk is unknown until reopened */
	_Atomic(enum store_failure) failure;
	atomic_size_t iters;
	_Atomic uint64_t writes, syncs, bytes_written, keys_written;
};

/* First member of both iterators. */
struct store_iter {
	struct store *store;
	int err;
	uint64_t file; /* that cannot be read; 0: not known */
	bool done;
	bool empty; /* the front made it: nothing in range, no implementation behind it */
};

/* Operations in order, flat in one buffer, so that a batch knows no store. */
struct store_batch {
	struct writer ops;
	size_t count;
};

struct store_op {
	enum store_family family;
	bool is_delete;
	struct slice key, value;
};

/* What precedes key and value: u8 family, u8 whether it is a delete, u32 length of the key, of
 * the value. In host byte order: a batch never leaves the process. Written and read by parts; a
 * struct put together first and then copied would wait for its parts to be written. */
#define OP_HEAD_SIZE (1 + 1 + 4 + 4)

/* offset counts from 0; false at the end. Slices are borrowed from the batch. */
static inline bool store_batch_next(const struct store_batch *b, size_t *offset,
				    struct store_op *op)
{
	uint32_t key_len, value_len;

	if (*offset == b->ops.len)
		return false;
	const uint8_t *at = b->ops.buf + *offset;
	op->family = (enum store_family)at[0];
	op->is_delete = at[1] != 0;
	memcpy(&key_len, at + 2, 4);
	memcpy(&value_len, at + 6, 4);
	at += OP_HEAD_SIZE;
	op->key = slice_of(at, key_len);
	op->value = slice_of(at + key_len, value_len);
	*offset += OP_HEAD_SIZE + key_len + value_len;
	return true;
}

/* Checks the write-ahead logs (NNNNNN.log) and the manifest in the directory before RocksDB
 * replays them, and cuts a torn tail. Damage to what a later mark says was synced is not a torn
 * tail, and ERR_CORRUPT. mark: what a mark starts with; empty if unknown, then any later record
 * counts. read_only: a torn tail is found and left as it is, *torn says so. */
int store_wal_check(int dir, const char *path, struct slice mark, bool read_only, bool *torn,
		    struct errmsg *m);

/* ERR_CORRUPT if a table file in the directory is damaged where RocksDB would end the process
 * over it, rather than say so. */
int store_table_check(int dir, const char *path, struct errmsg *m);

#endif
