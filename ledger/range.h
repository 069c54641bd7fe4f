/* Ranges of a state: all leaves whose key hashes lie between two bounds, with what proves them,
 * and that there are no others, against a state root. What state sync is made of.
 *
 * A range is a part of the tree, from the root down: of a child outside the bounds the hash, of
 * the others all there is. docs/ledger-format.md has the bytes. Checking takes no tree. */
#ifndef LEDGER_RANGE_H
#define LEDGER_RANGE_H

#include "ledger/proof.h"
#include "ledger/tree.h"

/* What a range is cut at: the leaf that reaches it is the last one. */
#define RANGE_LEAF_BYTES (64u << 10)
/* With the largest leaf on top, and nodes. */
#define RANGE_BYTES_MAX (512u << 10)

struct range_leaf {
	struct hash key;
	struct slice state_key, value; /* lent, of the checked bytes */
};
struct range {
	struct range_leaf *leaf; /* owned; ascending by key */
	uint32_t count;
	struct hash end; /* what is proved goes up to here, inclusive */
	bool whole;	 /* that is the bound asked for; else the last leaf's key */
};

/* The leaves of the tree below root, as of a store, from `from` on up to `to`, both inclusive,
 * as many as fit into leaf_bytes, at least one if there is one. Appended to out. ERR_RANGE:
 * from is above to. ERR_LIMIT: it would be more than RANGE_BYTES_MAX; ERR_CORRUPT, ERR_IO. */
int range_make(struct tree *t, struct tree_node *root, const struct hash *from,
	       const struct hash *to, size_t leaf_bytes, struct writer *out);
/* Whether these bytes are such a range, under this state root, for the same bounds. Nothing of
 * out is to be used unless ERR_NONE; range_free() it in any case. */
int range_check(struct slice bytes, const struct hash *root, const struct hash *from,
		const struct hash *to, struct range *out);
void range_free(struct range *r);

/* The key hash right above; false: there is none. */
bool range_next(struct hash *key);

#endif
