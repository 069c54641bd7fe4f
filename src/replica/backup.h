/* Backups: the final chain of a node, from genesis to its newest certificate, as a stream of
 * records chained by hashes in files of bounded size. docs/formats/backup.md has the format.
 *
 * There is neither key nor vote state in a backup: whoever restores one does not know what he
 * has signed since, and must not vote (replica_open() sees to that). State, tree and indices
 * are not in it either; they come from executing the blocks, which is what checks them.
 *
 * No globals; a store that is read must not be written meanwhile (give it a snapshot). */
#ifndef REPLICA_BACKUP_H
#define REPLICA_BACKUP_H

#include "chain/genesis.h"
#include "ledger/store.h"

#define BACKUP_PART_BYTES (64u << 20) /* a file ends with the record that reaches it */
#define BACKUP_PARTS_MAX  65536

struct backup_summary {
	struct hash chain;
	uint64_t made_ms; /* by the clock of who made it; proved by nothing */
	uint64_t height;
	struct hash block, state_root; /* at height */
	uint64_t records, bytes;       /* bytes: of all parts */
	uint32_t parts;
	/* of backup_verify() and backup_restore() */
	uint64_t transactions, certificates;
	uint64_t term;	/* of the last block */
	uint64_t epoch; /* that the end is in: how often a validator got a new key */
	bool proven;	/* false: a crash-fault chain, whose commits are proved by nothing */
};

struct backup_progress {
	void *arg;
	/* height of height_max, bytes of bytes_max so far (of a creation: bytes_max is 0).
	 * False: stop, ERR_CLOSED. */
	bool (*step)(void *arg, uint64_t height, uint64_t height_max, uint64_t bytes,
		     uint64_t bytes_max);
};

struct backup_options {
	const struct genesis *genesis;
	uint64_t made_ms;
	uint64_t part_bytes;			/* 0: BACKUP_PART_BYTES */
	const struct backup_progress *progress; /* NULL: none */
};
/* DEST is made whole or not at all. ERR_EXISTS, ERR_LOCKED; ERR_CORRUPT: the store is damaged;
 * ERR_STALE: it does not hold the oldest blocks any more; ERR_VERSION, ERR_WRONG_CHAIN: a newer
 * program, or one of another chain, made it; ERR_IO; ERR_CLOSED. */
int backup_create(struct store *s, const char *dest, const struct backup_options *o,
		  struct backup_summary *out, struct errmsg *m);

/* The manifest alone: quick, and proves nothing. ERR_NOT_FOUND: no backup is there. */
int backup_inspect(const char *dest, struct backup_summary *out, struct errmsg *m);

struct backup_check {
	const struct genesis *genesis; /* what it must be of; NULL: what it says itself */
	const char *scratch;	       /* a directory to make, for the state; NULL: in memory */
	uint64_t history;	       /* of backup_restore(): heights that stay readable */
	/* Of backup_restore(): the home of a validator with this key file, which has signed
	 * nothing yet, from the block on at which the newest recovery of `genesis` begins; the
	 * backup ends with it. NULL: a home that never votes. */
	const char *key_file;
	const struct backup_progress *progress;
};
/* Reads all of it: hash chain, genesis, every block's hash, link, signatures, every certificate
 * against the validators, every state root by execution. backup_altered() tells errors that say
 * something about the backup from those of this machine. */
int backup_verify(const char *dest, const struct backup_check *o, struct backup_summary *out,
		  struct errmsg *m);
bool backup_altered(int err);
/* Verifies and makes a new home of it, whole or not at all: genesis.json, ostrakond.conf, data;
 * no key, no vote state, and a record in the store by which no node will vote on it (but for
 * key_file). */
int backup_restore(const char *dest, const char *home, const struct backup_check *o,
		   struct backup_summary *out, struct errmsg *m);

#endif
