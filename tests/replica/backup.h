/* A small chain in a store, of one epoch or of three, a backup of it, and the records of that,
 * for who writes them anew with right hashes. */
#ifndef TESTS_REPLICA_BACKUP_H
#define TESTS_REPLICA_BACKUP_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica/backup_private.h"
#include "replica/private.h"
#include "tests/ledger/world.h"
#include "tests/replica/governed.h"

#define INTERVAL 3 /* of setup_governed(): epochs end at multiples */

/* How write_records() treats one of them. */
enum forgery { FORGE_FLIP, FORGE_DROP, FORGE_TWICE, FORGE_SWAP };

struct records {
	uint64_t count;
	uint16_t version;
	enum backup_record type[64];
	struct writer payload[64];
};
extern struct world w;
extern struct store *store;
extern char dest[96], copy[96], home[96]; /* of the backup, another one, what is restored */
extern struct backup_summary made;	  /* by the last create() */
extern unsigned sent;			  /* by replicas of config_of() */
/* Height 3 ends epoch 0 by a certificate of the second filler, height 6 epoch 1 by its own;
 * each gives a place a new key. */
extern struct handover ends[2];
extern struct keypair first_key;
extern struct writer old_term; /* 4, by those of epoch 0 */

/* The paths and the genesis: what comes before world_seal(). */
void setup_paths(void);
/* Two blocks of epoch 0, which may end with the next one; no backup yet. */
void setup_governed(void);
/* Eight blocks, the last two of epoch 2, and a backup of them at dest. */
void setup_epochs(void);
void teardown(void);
void teardown_epochs(void);
/* Into the batch; value is empty then. */
void put(struct store_batch *batch, enum store_family f, struct slice key,
	 struct writer *value);
/* What a replica leaves of a final block; certified: with a certificate of its own. */
void store_block(struct block *b, bool certified);
/* A block of two puts in that term, final and in the store. */
void commit_in(uint64_t term, uint64_t nonce, bool certified);
/* A backup of the store, to that path; p may be NULL. */
int create(const char *path, const struct backup_progress *p, struct errmsg *m);
/* The whole backup; g NULL: of any chain. */
int verify(const char *path, const struct genesis *g);
/* Those of dest; free_records(). */
void read_records(struct records *a);
/* To copy, with right hashes; victim: the one that is forged. */
void write_records(const struct records *a, uint64_t victim, enum forgery how);
void free_records(struct records *a);
/* Of dest, each record in turn; how many were of that kind. */
unsigned forge_each(enum backup_record counted);
/* Of a replica that must send nothing signed. */
struct replica_config config_of(struct store *s, unsigned self, const struct keypair *key);

/* The tests. */
TCase *backup_chain_case(void);
TCase *backup_epochs_case(void);
TCase *backup_ends_case(void);
TCase *backup_forged_case(void);
/* One of them, without its tests. */
TCase *backup_case(const char *name, void (*begin)(void), void (*end)(void));

#endif
