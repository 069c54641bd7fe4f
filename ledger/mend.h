/* Records of readable states, looked at past every cache, and written anew: exactly as they
 * were, but those of nodes whole, and lists of what is to be pruned without the records on
 * which others may rest, which then keep their room. Behind each stands the state root in the
 * header of a final block, which the caller knows: nothing here believes a record that it does
 * not lead to. Nothing is written but into batches.
 *
 * docs/ledger-format.md, "Damage". */
#ifndef LEDGER_MEND_H
#define LEDGER_MEND_H

#include "chain/block.h"
#include "chain/genesis.h"
#include "ledger/tree.h"

struct mend_record {
	enum store_family family; /* STORE_STATE or STORE_TREE */
	uint64_t version;
	struct hash key;  /* key hash of a value, path of a node */
	unsigned depth;	  /* of a node */
	bool list;	  /* of what is to be pruned, at this version */
	struct hash want; /* out: of the value, or of the node; unless MEND_UNUSED */
	/* out: the node that says so, and of which version it is; it may be wrong, for versions
	 * are in no hash */
	uint64_t holder;
	unsigned holder_depth;
};
/* False: no record has such a key. */
bool mend_record_of(enum store_family f, struct slice key, struct mend_record *out);

/* So many nibbles of a key hash, and then zeros: where a node lies. */
struct hash mend_path(const struct hash *key, unsigned depth);
/* Its key, of at most MEND_KEY_MAX bytes. */
#define MEND_KEY_MAX (HASH_SIZE + 9)
struct slice mend_key(const struct mend_record *rec, uint8_t buf[MEND_KEY_MAX]);

enum mend_look {
	MEND_SOUND,
	MEND_UNUSED, /* the state has no such record */
	MEND_DAMAGED,
};
/* What this record is to the state at a height, whose root is known. An error: the way there
 * cannot be read. Not for lists. */
int mend_look(struct store *s, struct mend_record *rec, uint64_t at, const struct hash *root,
	      enum mend_look *out);

/* A value that hashes to rec->want: else ERR_BAD_HASH, and nothing is put. */
int mend_value(struct store *s, const struct mend_record *rec, struct slice state_key,
	       struct slice value, struct store_batch *batch);
/* Everything that b, which is final, has written into the state: by executing it once more on
 * the state below, whose root is `before`. list: and the list of what is to be pruned.
 * ERR_BAD_STATE_ROOT, ERR_CORRUPT, ERR_IO: nothing is put. */
int mend_execute(struct store *s, const struct genesis *g, const struct chain_ctx *ctx,
		 const struct block *b, const struct hash *before, bool list,
		 struct store_batch *batch);
/* The same of the genesis state. */
int mend_genesis(const struct genesis *g, struct store_batch *batch);

/* One node, out of the values that lie under it on disk (version <= rec->version), and nodes
 * below it that are damaged as well. They are put only if they hash to rec->want.
 * ERR_NOT_FOUND: the values do not add up to it; ERR_LIMIT: there are too many. Right where no
 * state below rec->version is readable: else values that went may lie among them. */
#define MEND_LEAVES_MAX 16384
int mend_node(struct store *s, const struct mend_record *rec, struct store_batch *batch);
/* The record of a node that no readable state has, and that cannot be made sense of: it is
 * deleted, and what reads of newer ones that rest on it, for they use a part of it, is put whole.
 * False: it does read, or cannot be read now: nothing is put. batch: empty. */
bool mend_base(struct store *s, const struct mend_record *rec, struct store_batch *batch);
/* Whether the batch changes anything, of nodes what they are; whether it puts this record. */
bool mend_differs(struct store *s, const struct store_batch *batch);
bool mend_puts(const struct store_batch *batch, enum store_family f, struct slice key);
/* The newest version of a value on disk, at this height or below. ERR_NOT_FOUND: none. */
int mend_newest(struct store *s, const struct hash *key, uint64_t at, uint64_t *version);

#endif
