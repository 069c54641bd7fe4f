/* What the files of this folder share. */
#ifndef REPLICA_PRIVATE_H
#define REPLICA_PRIVATE_H

#include "base/map.h"
#include "base/mem.h"
#include "replica/mend.h"
#include "replica/replica.h"
#include "replica/sync.h"

#define UNFINAL_BLOCKS_MAX 4096 /* read back at a start */
#define CHECKS_GIVEN_MAX   64

/* In STORE_META, each {u16 version}. A new validator has the first one from the moment at which
 * its home is made, until it has voted it is all the vote state that there is; of version 2 it
 * names a key, {u16 version, key}, that has signed nothing in any epoch. Who comes up
 * without any writes the second one, and never votes. */
#define FIRST_VOTES_KEY "first_votes"
#define OBSERVER_KEY	"observer"

/* In STORE_META, {u16 version, u32 count, keys}: each was new once and has voted from this
 * store, so that it is never taken for a new one again. */
#define VOTED_KEYS_KEY "voted_keys"

/* In STORE_META: this store was made from a backup, {u16 version, u64 height, block hash, u64
 * time of the backup}. Whoever has it never votes. */
#define RESTORED_KEY	 "restored"
#define RESTORED_VERSION 1

struct replica {
	struct replica_config config;
	struct chain_ctx ctx;
	struct block *genesis_block;
	struct chain_ctx *epochs; /* of all epochs so far; the last is ctx */
	uint32_t epoch_count, epoch_cap;
	struct block *start; /* that the newest epoch begins with */
	bool epoch_over;     /* its end is final, by end_cert */
	struct cert end_cert;
	struct writer envelope;
	struct msg_blocks *old_blocks;				     /* scratch */
	uint64_t old_paid[VALIDATORS_MAX], old_told[VALIDATORS_MAX]; /* peers of old epochs */
	uint64_t stale_messages;
	uint64_t newer_epoch; /* peers that speak of one */
	char why_halted[512];
	struct store *store;
	struct ledger *ledger;
	struct driver *driver;
	struct store_batch *batch;
	struct writer scratch;
	uint64_t now;
	bool halted;
	const char *observes; /* why it signs nothing; NULL: it votes */
	bool gathering;	      /* replica_gather() */
	bool more_told;	      /* since then the engine was told that more would come */
	uint64_t
		held_build; /* id of the WORK_BUILD that waits for replica_propose(); 0: none */
	struct map pending; /* ids of transactions that wait here; value: itself */

	/* blocks stored above the final height: competing ones are deleted at finality */
	struct block_ref *unfinal;
	uint32_t unfinal_count, unfinal_cap;
	uint64_t blocks_from; /* lowest final block that is kept; 0: not looked up yet */

	uint64_t seq_base; /* writes handed over before this engine: each counts from 1 */
	uint64_t seq_last; /* newest that was handed over, of all engines */
	struct sync sync;
	struct serve serve;
	struct writer sync_out, sync_range;
	struct mend mend;

	struct writer unshared; /* submitted in this turn, one behind the other */
	uint32_t unshared_count;
	bool brought;		   /* clients have, in this turn */
	bool told;		   /* in this turn the engine has forwarded, to all */
	struct message_in *peeked; /* scratch of replica_transactions(); or NULL */
	struct pool_tx *unchecked; /* of one block */
	uint32_t unchecked_cap;
	struct hash given[CHECKS_GIVEN_MAX]; /* blocks that host.check() has taken over */
	uint32_t given_count;

	struct ledger_candidate *candidates; /* candidates_cap, like the next two */
	struct hash *refused;
	int *refused_err;
	uint32_t candidates_cap;
};

/* In STORE_META: recovery_hash() of the recovery whose keys the vote state is of; absent: of
 * the genesis file's. */
#define RECOVERY_KEY "recovery"

/* In STORE_META, u64: lowest height whose final block is kept; absent: all are. */
#define BLOCKS_FROM_KEY "blocks_from"

/* The state in the store, as configured: ledger_open()'s errors. */
int replica_open_ledger(struct replica *r, struct ledger **out, struct errmsg *m);
/* recover.c: so many of the newest final blocks a start looks at: back to the newest stable
 * checkpoint, and to the base of a tip that it does not cover, in all but long outages. */
uint64_t replica_start_blocks(const struct replica *r);

/* records.c: keys and values of the store, see docs/wire-format.md */
struct record_key {
	uint8_t bytes[1 + 8 + HASH_SIZE];
	size_t len;
};
struct slice key_block(struct record_key *k, uint64_t height, const struct hash *hash);
struct slice key_final(struct record_key *k, uint64_t height);
struct slice key_cert(struct record_key *k, uint64_t height);
struct slice key_system(struct record_key *k, uint64_t height);
struct slice key_tc(struct record_key *k, uint64_t term);
void records_put_write(struct replica *r, const struct write *w);
int records_block(struct replica *r, uint64_t height, const struct hash *hash,
		  struct block **out);
int records_cert(struct replica *r, uint64_t height, struct cert *out);
int records_tc(struct replica *r, uint64_t term, struct term_cert *out); /* free it */
/* The lowest stored certificate at or above height. */
int records_cert_from(struct replica *r, uint64_t height, struct cert *out);
void records_settle(struct replica *r, const struct block *b); /* b is final: into the batch */
/* Height of a final block with SYSTEM transactions, and their evidence: into the batch. */
void records_index_system(struct replica *r, const struct block *b);
void records_read(struct replica *r, const struct work *w); /* WORK_READ */

/* retention.c: gives up final blocks below the newest `config.blocks`, a few at a time, into
 * the batch. */
void retention_prune(struct replica *r, uint64_t final);
int retention_open(struct replica *r); /* what was given up before */

/* observer.c: before replica_recover() */
int observer_open(struct replica *r, struct errmsg *m);
/* It has no place with its key: vote slots in its store are of another key, which may come
 * back, and stay what that one has made them. */
bool observer_is_unplaced(const struct replica *r);
bool observer_is_marked(struct store *s);
/* What others hold of its votes is newer than the vote state: marks it, with r->batch. */
void observer_outdated(struct replica *r);

/* begin_anew.c: of a store that was just restored and never votes, the first vote state of a
 * key that has signed nothing. Its newest final block is the one that g's newest recovery
 * keeps. */
int replica_begin_anew(struct store *s, const struct genesis *g, const struct cert *stable,
		       struct errmsg *m);

/* Before observer_open(): the store is of the chain as the newest recovery has it, and its vote
 * state of the keys of today. */
int recovered_check(struct replica *r, struct errmsg *m);

/* proofs.c: replica_certified_header(); ERR_LIMIT, before any block is read, if it takes more
 * headers than max. */
int certified_header_within(struct replica *r, uint64_t height, uint64_t max,
			    struct certified_header *out);

/* checks.c */
void checks_execute(struct replica *r, struct block *b);	 /* WORK_EXECUTE */
void checks_forget(struct replica *r, const struct hash *block); /* WORK_DROP; NULL: all */
void checks_share(struct replica *r, struct message *m);	 /* before it is sent */
void checks_submitted(struct replica *r, struct slice tx);
void checks_built(struct replica *r); /* a block with what was submitted */
void checks_end_of_turn(struct replica *r);
void checks_free(struct replica *r);
bool replica_store_failed(struct replica *r, int err); /* replica.c: then it has halted */
uint64_t replica_wall_ms(struct replica *r);

/* recover.c */
int replica_recover(struct replica *r, struct errmsg *m); /* ledger, then engine and driver */
void replica_halt(struct replica *r, const char *why);
void replica_feed(struct replica *r, uint64_t now, struct input *in);
/* Enough of a replica to read and write the records of a store; it has no engine. */
void records_view(struct replica *r, struct store *s, const struct genesis *g);
void records_view_free(struct replica *r);
/* The newest final certificate on disk. ERR_NOT_FOUND: none yet. */
int records_newest_cert(struct replica *r, struct cert *out);

extern const struct driver_host replica_driver_host; /* replica.c */

#endif
