/* A plain list of keys with the root that it should have, computed from nothing but the list,
 * and a tree that is made to follow it. */
#ifndef TESTS_LEDGER_TREE_MODEL_H
#define TESTS_LEDGER_TREE_MODEL_H

#include "base/random.h"
#include "ledger/tree.h"

#define TREE_KEYS 600

struct tree_model {
	struct tree_item {
		struct hash key;
		bool present;
		uint32_t value;
	} items[TREE_KEYS]; /* ascending by key */
	size_t count;
};

/* count random keys, none of them present. */
void tree_model_init(struct tree_model *m, size_t count, struct random *r);
void tree_model_sort(struct tree_model *m); /* after keys have changed */
/* Changes at most so many of them, and marks those. */
void tree_model_mutate(struct tree_model *m, struct random *r, bool *touched, uint64_t most);
/* The hash of the place at this depth under which all these items lie: the root's at 0. */
void naive_root(struct hash *out, const struct tree_item *items, size_t count, unsigned depth);

struct tree_fixture {
	struct store *store;
	struct tree tree;
	struct tree_node *root;
	struct hash hash;
	uint64_t version;
	int64_t leaves;
	struct writer *stale; /* NULL: nobody asks */
};

void tree_fixture_init(struct tree_fixture *f, size_t limit); /* an empty tree, in memory */
void tree_fixture_free(struct tree_fixture *f);		      /* nothing is left in it */
/* Makes the changes that turn the tree into the model for the items marked, as the next
 * version. Values are written under the key hash as state key. */
void tree_fixture_apply(struct tree_fixture *f, struct tree_model *m, const bool *touched,
			bool write);
void assert_tree_is(struct tree_fixture *f, struct tree_node *root, const struct tree_model *m);
void assert_root_is(const struct tree_fixture *f, const struct tree_model *m);

#endif
