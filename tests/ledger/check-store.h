/* Shared by the parts of check-store: fixtures, random keys, and the naive reference. */
#ifndef TESTS_LEDGER_CHECK_STORE_H
#define TESTS_LEDGER_CHECK_STORE_H

#include <check.h>

#include "base/random.h"
#include "ledger/store.h"

enum store_kind { KIND_MEMORY, KIND_ROCKSDB, KINDS };

struct fixture {
	enum store_kind kind;
	struct store *store;
	char dir[256]; /* RocksDB: a temporary directory, the store is in dir/db */
	char path[300];
};

void fixture_dir(struct fixture *x); /* only the directory */
void fixture_open(struct fixture *x, enum store_kind kind);
void fixture_reopen(struct fixture *x); /* does nothing to a store in memory */
void fixture_end(struct fixture *x);
struct store *open_path(const char *path);	    /* must succeed */
int try_open(const char *path, struct store **out); /* prints the message of a failure */
void remove_tree(const char *path);

struct slice text(const char *s);
void put_text(struct store *s, enum store_family f, const char *key, const char *value,
	      bool sync);
/* value NULL: absent */
void expect_text(struct store *s, enum store_family f, const char *key, const char *value);

/* Keys that collide often, share prefixes, and hold 0x00 and 0xff. */
struct bytes {
	uint8_t data[64];
	size_t len;
};
struct bytes random_key(struct random *r);
struct bytes random_value(struct random *r);
struct slice slice_bytes(const struct bytes *b);

/* The reference: an unsorted list. */
#define MODEL_MAX 8192
struct model_item {
	enum store_family family;
	struct bytes key, value;
};
struct model {
	size_t len;
	struct model_item items[]; /* MODEL_MAX, or just those that are there */
};
struct model *model_new(void); /* mem_free */
void model_copy(struct model *to, const struct model *from);
void model_put(struct model *m, enum store_family f, struct bytes key, struct bytes value);
void model_delete(struct model *m, enum store_family f, struct bytes key);
/* A random batch of up to max_ops operations, recorded in both. */
void random_batch(struct random *r, struct store_batch *b, struct model *m, int max_ops);
bool model_matches(const struct model *m, struct store *s);

Suite *memory_suite(void);
Suite *rocksdb_suite(void);
Suite *damage_suite(void);
/* The program run again as another process: argv[1] says what to be. */
int helper_main(int argc, char **argv);

#endif
