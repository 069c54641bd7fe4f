#ifndef LEDGER_TREE_PRIVATE_H
#define LEDGER_TREE_PRIVATE_H

#include "ledger/tree.h"

static inline size_t node_size(uint16_t present)
{
	return sizeof(struct tree_node) + tree_bits(present) * sizeof(struct tree_slot);
}
/* What is known of a node that is here is only where it is: as many lines as most have. */
static inline void node_prefetch(const struct tree_node *n)
{
	if (n)
		mem_prefetch(n, sizeof(*n) + 4 * sizeof(n->slot[0]));
}
/* Behind the slots of a node in a common heap there is its hash, if it came of an update. */
static inline struct hash *node_kept_hash(struct tree_node *n)
{
	return (struct hash *)((uint8_t *)n + node_size(n->present));
}
static inline size_t node_room(const struct tree *t, uint16_t present)
{
	return node_size(present) + (t->heap->common ? sizeof(struct hash) : 0);
}
/* One reference; the slots are the caller's to fill. */
struct tree_node *node_new(struct tree *t, uint16_t present, uint16_t leaves);
/* Bytes of a child in a record. */
#define LEAF_SLOT_SIZE (2 * HASH_SIZE + 8)
#define NODE_SLOT_SIZE (HASH_SIZE + 8)
static inline size_t slots_size(uint16_t slots, uint16_t leaves)
{
	return tree_bits(slots & leaves) * LEAF_SLOT_SIZE +
	       tree_bits((uint16_t)(slots & ~leaves)) * NODE_SLOT_SIZE;
}
void slot_hold(const struct tree_slot *s, bool is_leaf);
void slot_drop(struct tree *t, struct tree_slot *s, bool is_leaf);
/* n is a copy of original, and has the slots in mask, as they are, from it. */
void node_borrow(struct tree_node *n, struct tree_node *original, uint16_t mask);
/* The child in n's slot i, which had not been loaded. */
void node_set_child(struct tree_node *n, unsigned i, struct tree_node *child);
/* The first child of a bitmap that is not empty. */
static inline unsigned tree_lowest(unsigned bitmap)
{
	return (unsigned)__builtin_ctz(bitmap);
}
static inline bool slot_is_leaf(const struct tree_node *n, unsigned nibble)
{
	return n->leaves >> nibble & 1;
}
static inline bool slot_present(const struct tree_node *n, unsigned nibble)
{
	return n->present >> nibble & 1;
}
struct tree_leaf *leaf_new(struct tree *t, const struct hash *key,
			   const struct hash *value_hash);

/* (version, path): writes ascend, which suits the log-structured store; a node is one exact get
 * because its parent names its version; and a version's nodes lie together. */
#define NODE_KEY_MAX (8 + 1 + HASH_SIZE)
struct slice node_key(uint8_t buf[NODE_KEY_MAX], uint64_t version, const struct hash *path,
		      unsigned depth);

/* No record is made that rests on an older one than by so many versions. */
#define TREE_BASE_AGE_MAX 256
/* Reads a node's record, and the base that it may rest on; what it says of its children's
 * versions is not above its own. ERR_CORRUPT: of one of them; ERR_IO. */
int node_read(struct tree *t, struct slice record, uint64_t version, const struct hash *path,
	      unsigned depth, struct tree_node **out);
/* Its record, if that were whole; in the tree's scratch. */
struct slice node_whole(struct tree *t, const struct tree_node *n, uint64_t version);
/* ERR_NOT_FOUND: there is no such record; else as above. */
int node_load(struct tree *t, uint64_t version, const struct hash *path, unsigned depth,
	      struct tree_node **out);

/* Fetches the child in n's slot i, a node at the given depth on the path of key. */
int node_child(struct tree *t, struct tree_node *n, unsigned i, const struct hash *key,
	       unsigned depth, struct tree_node **out);

#endif
