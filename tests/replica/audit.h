/* A small store with all kinds of records, what `db check` says of it, and another node that
 * `db repair` may ask. */
#ifndef TESTS_REPLICA_AUDIT_H
#define TESTS_REPLICA_AUDIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica/audit.h"
#include "replica/files.h"
#include "replica/private.h"
#include "replica/repair.h"
#include "tests/ledger/world.h"
#include "tests/replica/governed.h"

#define BLOCKS 6

/* Another node: a copy of the store as it was. */
struct other {
	struct store *store;
	unsigned asked;
	bool lies;
	unsigned asked_handovers;
};
extern struct world w;
extern struct store *store;
extern char home[64];
extern struct keypair recoverer; /* of setup()'s genesis */
extern struct finding last;	 /* of audit() */

/* One epoch of BLOCKS blocks, one more that is not final, votes; and a home. */
void setup(void);
/* A home whose data is an empty store, which repair() replaces. */
void setup_home(void);
void teardown(void);
/* value.ptr NULL: it is deleted. */
void put(enum store_family f, struct slice key, struct slice value);
void put_block(const struct block *b);
/* Of three. */
void put_cert(const struct block *b);
/* steps: stopped after so many, if not NULL. */
int audit(struct audit_result *r, int *steps);
/* Deletes, alters and cuts each record: all is found that can be. How often. */
unsigned try_each(void);
void copy_store(struct other *o);
/* With the help of o, if not NULL. */
int repair(struct other *o, struct repair_result *r, struct errmsg *m);
/* The block of that height is altered; index: its place in the index is lost instead. */
void damage(uint64_t height, bool index);
/* The home is as it was before a repair that was refused. */
void is_untouched(void);

/* The tests. */
TCase *audit_damage_case(void);
TCase *audit_repair_case(void);
TCase *audit_epochs_case(void);
TCase *audit_end_case(void);
/* One of them, without its tests. */
TCase *audit_case(const char *name, void (*begin)(void), void (*end)(void));

#endif
