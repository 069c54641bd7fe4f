/* Inside the ledger: overlays and the execution of transactions on them. */
#ifndef LEDGER_PRIVATE_H
#define LEDGER_PRIVATE_H

#include "base/map.h"
#include "base/mem.h"
#include "ledger/ledger.h"
#include "ledger/tree.h"

/* A state after a block that is executed and not final; or the final one. */
struct overlay {
	struct hash block; /* zero while only built */
	uint64_t height;
	struct overlay *parent;		    /* not to be used in the final one */
	struct overlay *children, *sibling; /* executed on top of this one */
	struct overlay *chained;	    /* in its bucket */
	struct tree_node *root;
	struct hash root_hash;
	uint64_t keys, senders;
	struct mode_state modes;
	/* what finalising writes, or has written: values (leaf) and nothing for deletes */
	struct change {
		struct tree_leaf *leaf;
		uint32_t key_offset, key_len; /* state key, in key_bytes */
	} * changes;
	uint32_t change_count;
	uint8_t *key_bytes;
	uint8_t *stale; /* list of the records that the state after this block has no use for */
	size_t stale_len;
	size_t size; /* of the overlay with the three arrays behind it */
};
struct overlay *overlay_new(struct tree *t, uint32_t changes, size_t key_bytes, size_t stale);
void overlay_free(struct tree *t, struct overlay *o);

/* Short-lived memory of one block's execution; pointers into it stay put. */
struct arena_chunk;
struct arena {
	struct arena_chunk *chunks; /* newest first */
	size_t used;		    /* of the newest */
};
void *arena_alloc(struct arena *a, size_t size);
void arena_reset(struct arena *a); /* keeps one chunk */
void arena_free(struct arena *a);

/* A key that the block touches, as the transactions so far leave it. */
struct entry {
	struct entry *next;    /* in order of first touch */
	struct entry *chained; /* in its bucket */
	struct hash key;
	struct slice state_key;
	bool loaded; /* base is known */
	bool dirty;
	bool present;
	bool has_value; /* value is known; else it is base's */
	struct slice value;
	struct tree_leaf *base; /* in the state before the block; NULL: absent */
	uint64_t base_version;
};

/* What a failed transaction takes back. */
struct undo {
	struct entry *entry;
	bool dirty, present, has_value;
	struct slice value;
};

/* Executes the transactions of one block on a state. */
struct execution {
	struct tree *tree;
	const struct genesis *genesis;
	const struct overlay *parent;
	uint64_t height;
	uint64_t ops;	  /* of transactions included so far */
	uint64_t senders; /* that have a nonce window */
	struct mode_state modes;
	bool prune; /* keep lists of stale records */
	struct writer stale;
	struct entry **buckets; /* by tree key; a power of two */
	size_t bucket_count;
	uint64_t seed;
	struct entry *first, **last;
	uint32_t entry_count;
	struct arena arena;
	struct undo *undo;
	size_t undo_len, undo_cap;
};
void execution_init(struct execution *x, struct tree *t, const struct genesis *g);
void execution_free(struct execution *x);
void execution_begin(struct execution *x, const struct overlay *parent, uint64_t height);
/* May tx be in the block at all? ERR_TX_*, or ERR_IO, ERR_CORRUPT. Changes nothing. sender gets
 * the entry of its nonce window. */
int execution_check(struct execution *x, const struct tx *tx, struct entry **sender);
/* Runs a transaction that may be included. Its bytes stay put until execution_end(). */
int execution_run(struct execution *x, const struct tx *tx, struct entry *sender,
		  enum tx_result *result);
/* Applies a SYSTEM transaction whose evidence was checked. ERR_RANGE, ERR_MODE, ERR_EXISTS. */
int execution_system(struct execution *x, const struct system_tx *tx);
/* The state after all of them. */
int execution_end(struct execution *x, struct overlay **out);

/* Nonce windows: state value {u64 highest, bitmap of the window, bit nonce mod window}. */
#define NONCE_WINDOW_HEAD 8
size_t nonce_window_size(const struct genesis_limits *limits);
/* Is nonce usable in this window? value: empty if the sender has none yet. */
int nonce_check(struct slice value, uint64_t nonce, uint32_t window);
/* Uses it; value has nonce_window_size() bytes, zeros if the sender had none. */
void nonce_use(uint8_t *value, uint64_t nonce, uint32_t window);
/* A usable nonce; the next one if there is a next one. */
uint64_t nonce_suggest(struct slice value, uint32_t window);
bool sender_allowed(const struct genesis *g, const struct pubkey *sender);
/* ERR_TX_EXPIRED, ERR_TX_HORIZON. */
int expiry_check(uint64_t expiry, uint64_t height, const struct genesis_limits *limits);

#define STATE_ACCOUNT_KEY_SIZE (1 + PUBKEY_SIZE)
void state_key_of(uint8_t out[STATE_ACCOUNT_KEY_SIZE], char ns, const struct pubkey *key);
struct slice state_key_senders(void);

/* system.c */
/* The SYSTEM transactions of b lead it, and are right by b's bytes alone; how many there are.
 */
int system_decode(struct ledger *l, const struct block *b, uint32_t *count);
size_t system_bytes(const struct block *b, uint32_t count); /* of b's body */

/* Smallest body, and what body_add() adds to a transaction. */
#define BODY_HEAD_SIZE 4
#define BODY_TX_SIZE   (1 + 4)

#define LEDGER_VERIFIED_MAX (128u << 10) /* ids of transactions with checked signatures */
#define LEDGER_BUILT_MAX    8		 /* built blocks that wait for their execution */

#define LEDGER_BUCKETS 512 /* a power of two */

struct verified {
	struct map ids;
	struct hash *ring;
	size_t cap, next; /* grows up to LEDGER_VERIFIED_MAX, then goes round */
	bool full;
};

struct built {
	struct overlay *overlay; /* NULL: free */
	struct hash parent, tx_root;
};

struct ledger {
	struct store *store;
	const struct genesis *genesis;
	const struct chain_ctx *ctx;
	struct tree tree;
	struct overlay *final;
	/* by block hash; the final one too. Hashes are random enough for so few. */
	struct overlay *overlays[LEDGER_BUCKETS];
	uint32_t overlay_count;
	struct built built[LEDGER_BUILT_MAX];
	unsigned built_next;
	struct execution execution;
	struct verified verified;
	struct tx *txs; /* decoded transactions of one block */
	size_t txs_cap;
	struct writer scratch;
	uint64_t executed;
	uint64_t history; /* heights below the final one that stay readable */
	uint64_t oldest;  /* readable height */
	uint64_t pinned;  /* height from which on states stay readable; UINT64_MAX: none */
};

void verified_add(struct verified *v, const struct hash *id);
bool verified_has(const struct verified *v, const struct hash *id);
void verified_free(struct verified *v);

/* meta.c: the ledger's record in STORE_META. */
struct ledger_meta {
	uint64_t height;
	struct hash block, root;
	uint64_t keys;
	uint64_t oldest; /* height whose state is complete */
};
void meta_put(struct writer *scratch, struct store_batch *batch, const struct chain_ctx *ctx,
	      const struct ledger_meta *meta);
/* ERR_NOT_FOUND: an empty store. */
int meta_get(struct store *s, const struct chain_ctx *ctx, struct ledger_meta *out,
	     struct errmsg *m);
/* prune.c: lists of stale records, made when a block is final, carried out when the states
 * that need them are no longer wanted. */
void prune(struct ledger *l, struct overlay *before, struct overlay *o,
	   struct store_batch *batch);

/* The genesis state's tree changes made; nodes and leaves of version 0. */
int genesis_state(struct execution *x, const struct genesis *g, struct overlay **out);

#endif
