/* A state that comes from elsewhere, leaf by leaf, beside the one that the ledger has. Its
 * records are of one version, the height of the state, which is above all that the ledger has
 * written: nothing leads to them before stage_install(), which makes them the ledger's state in
 * one batch. Nodes are built here, from the leaves, so that the root is computed and not
 * believed. */
#ifndef LEDGER_STAGE_H
#define LEDGER_STAGE_H

#include "ledger/range.h"

/* A leaf whose range was checked. */
void stage_put(struct tree *t, struct store_batch *batch, const struct range_leaf *leaf,
	       uint64_t height);

/* Whether this leaf holds the state of modes, and which: *err if it does not decode. */
bool stage_leaf_modes(const struct range_leaf *leaf, struct mode_state *out, int *err);

/* Builds the nodes over all staged leaves, some at a time. Writes are not synced; what is there
 * already is written over by the same. */
struct stage_build; /* opaque */
struct stage_build *stage_build_new(struct store *s, uint64_t height);
void stage_build_free(struct stage_build *b);
/* Looks at up to so many records. *done: all nodes are written, and root and number of keys are
 * known. */
int stage_build_step(struct stage_build *b, uint32_t records, bool *done);
const struct hash *stage_build_root(const struct stage_build *b);
uint64_t stage_build_keys(const struct stage_build *b);

/* The staged state is the ledger's from this batch on: for ledger_open() after it. */
void stage_install(struct store_batch *batch, const struct chain_ctx *ctx, uint64_t height,
		   const struct hash *block, const struct hash *root, uint64_t keys);

/* Deletes, some at a time, what nothing leads to: after stage_install() all records of states
 * below the height, and of the transaction index below index_from; after a stage was given up
 * the records of its very height, and of the index above index_from, which is the ledger's
 * height. May begin anew at any time. */
struct stage_sweep {
	uint64_t height, index_from;
	bool exact;
	unsigned family; /* where it is: 0 at first */
	uint8_t from[STATE_KEY_MAX];
	size_t from_len;
};
int stage_sweep_step(struct store *s, struct stage_sweep *w, uint32_t records, bool *done);

#endif
