/* The state tree: sixteen-way, path-compressed, versioned (Jellyfish-like).
 *
 * A leaf sits as high as it can: below the root every node has at least two leaves under it.
 * The root is always a node, if need be without children. So the shape, and with it the root
 * hash, follow from the set of (key, value) alone, whatever the order and history of changes.
 *
 *	key hash   = HASH_TREE_KEY over the state key; its nibbles, high one first, are the path
 *	leaf hash  = HASH_TREE_LEAF over key hash || HASH_TREE_VALUE over the value
 *	node hash  = HASH_TREE_NODE over u16 bitmap of children || their hashes, ascending
 *
 * Nodes never change and are shared by reference count: a new state copies the paths it changes
 * and keeps the rest, so that forks cost what differs and a read never walks a chain of states.
 * Pointers to children are a cache: NULL is fetched from the store at (version, path), which
 *the parent knows. docs/ledger-format.md has the records. Single-threaded. */
#ifndef LEDGER_TREE_H
#define LEDGER_TREE_H

#include "base/freelist.h"
#include "crypto/hash.h"
#include "ledger/store.h"

#define TREE_DEPTH_MAX	 64 /* nibbles of a key hash */
#define TREE_CACHE_BYTES (64u << 20)

struct tree_leaf {
	uint32_t refs;
	bool loaded; /* value is here */
	struct hash key, value_hash;
	uint8_t *value; /* inline_value, or owned */
	uint32_t value_len;
	uint32_t inline_len;
	uint8_t inline_value[];
};

struct tree_slot {
	struct hash hash;
	uint64_t version; /* of the node's record; of the leaf's value */
	union {
		struct tree_node *node; /* NULL: not loaded */
		struct tree_leaf *leaf; /* never NULL */
	};
};

/* A copy does not count the references of the children that it has from its original, which
 * are many and in no cache: it borrows them. When the original goes, as it does when its
 * version does, the copy inherits them; if anything else happens, the copy counts them after
 * all. A slot that is borrowed points where the original's does. */
struct tree_node {
	uint32_t refs;
	uint16_t present, leaves;   /* bit i: child i; leaves is part of present */
	uint16_t borrowed;	    /* part of present */
	uint32_t age;		    /* of its record: versions since its base; 0: it is whole */
	struct tree_node *original; /* NULL: borrows nothing */
	struct tree_node *copies,
		*sibling;	 /* that borrow from this one; and the next of them */
	struct tree_slot slot[]; /* the present ones, ascending */
};

/* What nodes, leaves and values are made of. Usually each tree has its own. Trees of one thread
 * that come to the same states, as the simulator's replicas do, may have one in common: a node
 * that would be like one that another of them has made is that one, hash and all, so that n
 * states are hardly larger than one. Each still finds and changes what its blocks change; and
 * forgets nothing, for what one has written another may not have. */
#define TREE_RECENT 8 /* versions that are kept for those that are behind */
struct tree_heap {
	size_t bytes;	      /* of all that is in use */
	struct freelist free; /* of nodes and leaves */
	bool common;
	struct tree_node *empty, *recent[TREE_RECENT]; /* roots; only of a common one */
	unsigned next;
};
struct tree_heap *tree_heap_new(void);
void tree_heap_free(struct tree_heap *h); /* NULL is fine; after the last of its trees */
/* For this thread's trees from now on; NULL: each has its own. Returns what was in use. */
struct tree_heap *tree_heap_use(struct tree_heap *h);

struct tree {
	struct store *store; /* NULL: everything is in memory */
	struct tree_heap *heap, own;
	size_t limit;	 /* of the heap's bytes */
	unsigned cursor; /* where trimming goes on */
	uint64_t reads, writes;
	/* Records may rest on whole ones of this version or a newer one; of an older one whole
	 * records are not believed any more. */
	uint64_t bases_from;
	/* Every record is written whole; and stale gets none on which others may rest. */
	bool whole;
	struct writer scratch, base;
};

/* It stays where it is from now on. */
void tree_init(struct tree *t, struct store *s, size_t limit);
void tree_close(struct tree *t); /* after the last node was dropped */

struct tree_node *tree_empty(struct tree *t); /* a root without children */
/* Root record of a version; hash gets the root hash. ERR_NOT_FOUND. */
int tree_load_root(struct tree *t, uint64_t version, struct tree_node **out, struct hash *hash);
struct tree_node *tree_hold(struct tree_node *n);
void tree_drop(struct tree *t, struct tree_node *n);
void tree_hash(struct hash *out, const struct tree_node *n);

void tree_key(struct hash *out, struct slice state_key);
void tree_value_hash(struct hash *out, struct slice value);
void tree_leaf_hash(struct hash *out, const struct hash *key, const struct hash *value_hash);
/* Hash of a node whose children's hashes are given, as many as bitmap has bits. */
void tree_node_hash(struct hash *out, uint16_t bitmap, const struct hash *children);
static inline unsigned tree_nibble(const struct hash *key, unsigned depth)
{
	return depth & 1 ? key->b[depth / 2] & 15 : key->b[depth / 2] >> 4;
}
/* Bits set. Inline, for without -mpopcnt the builtin is a call. */
static inline unsigned tree_bits(uint16_t bitmap)
{
	unsigned v = bitmap;
	v -= v >> 1 & 0x5555;
	v = (v & 0x3333) + (v >> 2 & 0x3333);
	v = (v + (v >> 4)) & 0x0f0f;
	return (v + (v >> 8)) & 0x1f;
}
static inline unsigned tree_index(uint16_t bitmap, unsigned nibble)
{
	return tree_bits((uint16_t)(bitmap & ((1u << nibble) - 1)));
}

/* The leaf of key, lent, or NULL in *leaf; version is that of its value. */
int tree_find(struct tree *t, struct tree_node *root, const struct hash *key,
	      struct tree_leaf **leaf, uint64_t *version);
/* Of key's path, that much which is known without waiting for it will be used soon: called
 * again later it gets further. */
void tree_prefetch(const struct tree_node *root, const struct hash *key, unsigned depth);
/* Its value, lent until the next tree_trim() or tree_forget_value(). */
int tree_value(struct tree *t, struct tree_leaf *leaf, uint64_t version, struct slice state_key,
	       struct slice *out);
/* The record of the value with this key hash: its state key and value, which lie in the tree's
 * scratch. Not held against any leaf's hash. */
int tree_record(struct tree *t, const struct hash *key, uint64_t version,
		struct slice *state_key, struct slice *value);
/* What a value's record consists of; false: it is damaged. */
bool tree_record_read(struct slice record, struct slice *state_key, struct slice *value);

/* A leaf with this value, one reference. */
struct tree_leaf *tree_leaf_new(struct tree *t, const struct hash *key, struct slice value);
void tree_leaf_drop(struct tree *t, struct tree_leaf *leaf);
/* Its value is in the store, and if it is large it is no longer here: tree_value() fetches it.
 * Who writes a key anew needs only its hash. Not in a common heap, which forgets nothing. */
bool tree_forgets(const struct tree *t);
void tree_forget_value(struct tree *t, struct tree_leaf *leaf);

struct tree_change {
	struct hash key;
	struct tree_leaf *leaf; /* the caller's; NULL: delete */
	bool effective;		/* out: it made a difference */
	bool replaces;		/* out: there was a value, of old_version */
	uint64_t old_version;
	void *tag; /* the caller's */
};
/* A new root with the changes (ascending by key, distinct) made; added gets the difference in
 * the number of leaves; hash, the old root's on entry, gets the new one's. Nodes and leaves
 * changed are of `version`. stale (may be NULL) gets the records of nodes, the root apart, that
 * the new tree has no use for: {u8 family, u32 length, key} each. A record that says only what
 * has changed since an older one has use for that one. */
int tree_update(struct tree *t, struct tree_node *root, uint64_t version,
		struct tree_change *changes, size_t count, struct tree_node **out,
		struct hash *hash, int64_t *added, struct writer *stale);
/* Puts the root, whatever its version, and every node of `version` into batch. */
void tree_write(struct tree *t, const struct tree_node *root, uint64_t version,
		struct store_batch *batch);
/* Store keys, for stale lists. */
void tree_stale_root(struct writer *stale, uint64_t version);
void tree_stale_value(struct writer *stale, const struct hash *key, uint64_t version);
/* Value record, by (key hash, version), so that values lie in the order of the tree and a leaf
 * leads to its state key: {u32 length, state key}, then the value. */
#define TREE_VALUE_KEY_SIZE (HASH_SIZE + 8)
void tree_value_key(uint8_t out[TREE_VALUE_KEY_SIZE], const struct hash *key, uint64_t version);
void tree_write_value(struct tree *t, const struct hash *key, struct slice state_key,
		      uint64_t version, struct slice value, struct store_batch *batch);

bool tree_over_limit(const struct tree *t);
/* Forgets cached parts, not newer than version `written`, until memory is below the limit. */
void tree_trim(struct tree *t, struct tree_node *root, uint64_t written);

/* Appends a proof of presence or absence (ledger/proof.h). */
int tree_prove(struct tree *t, struct tree_node *root, const struct hash *key,
	       struct writer *out);

#endif
