/* Which final blocks are kept. What goes with a block: its body, its place in the index, its
 * certificate, its transactions' places in theirs. Certificates of terms and evidence stay:
 * they are few, and others may ask for them. */
#include "replica/private.h"

/* Each final block gives up so many old ones at most: more than one, so that a shorter
 * retention is reached in time. */
#define PRUNED_PER_BLOCK 4

int retention_open(struct replica *r)
{
	r->blocks_from = 1;
	int err = store_get(r->store, STORE_META, slice_str(BLOCKS_FROM_KEY), &r->scratch);
	if (err == ERR_NOT_FOUND)
		return ERR_NONE;
	if (!err && r->scratch.len != 8)
		err = ERR_CORRUPT;
	if (!err)
		r->blocks_from = load_be64(r->scratch.buf);
	return err;
}

uint64_t replica_blocks_from(const struct replica *r)
{
	return r->blocks_from;
}

/* Whatever it is that cannot be read. */
static void give_up_unread(struct replica *r, uint64_t height)
{
	struct record_key from, to;
	struct slice key, value;
	struct store_iter *it =
		store_iter_new(r->store, STORE_BLOCKS, key_block(&from, height, NULL),
			       key_block(&to, height + 1, NULL), false);
	while (store_iter_next(it, &key, &value))
		store_batch_delete(r->batch, STORE_BLOCKS, key);
	store_iter_free(it);
}

static void give_up(struct replica *r, uint64_t height)
{
	struct record_key k;
	struct block *b;
	/* One that cannot be read leaves entries of its transactions: rubbish, which the next
	 * scrub finds (mend_index.c). */
	if (replica_block(r, height, &b) == ERR_NONE) {
		for (uint32_t i = 0; i < b->tx_count; i++)
			store_batch_delete(r->batch, STORE_TXINDEX, hash_slice(&b->tx[i].id));
		store_batch_delete(r->batch, STORE_BLOCKS, key_block(&k, height, &b->hash));
		block_drop(b);
	} else {
		give_up_unread(r, height);
	}
	store_batch_delete(r->batch, STORE_BLOCKS, key_final(&k, height));
	store_batch_delete(r->batch, STORE_BLOCKS, key_system(&k, height));
	store_batch_delete(r->batch, STORE_CERTS, key_cert(&k, height));
}

void replica_compact(struct store *s, uint64_t final)
{
	struct record_key low, high;
	uint8_t version[8];
	const struct slice none = {0};
	store_be64(version, final);
	store_compact(s, STORE_BLOCKS, key_block(&low, 0, NULL), key_block(&high, final, NULL));
	store_compact(s, STORE_BLOCKS, key_final(&low, 0), key_final(&high, final));
	store_compact(s, STORE_CERTS, key_cert(&low, 0), key_cert(&high, final));
	store_compact(s, STORE_TREE, none, slice_of(version, sizeof version));
	store_compact(s, STORE_STATE, none, none);
	store_compact(s, STORE_TXINDEX, none, none);
}

/* What a start looks at, and as much again for those who fetch a state and its blocks from
 * here. */
static uint64_t blocks_min(const struct replica *r)
{
	return 2 * replica_start_blocks(r);
}

void retention_prune(struct replica *r, uint64_t final)
{
	uint64_t keep = r->config.blocks, from = r->blocks_from;
	if (keep == 0)
		return;
	if (keep < blocks_min(r))
		keep = blocks_min(r);
	for (unsigned i = 0; i < PRUNED_PER_BLOCK && from + keep <= final; i++)
		give_up(r, from++);
	if (from == r->blocks_from)
		return;
	uint8_t number[8];
	store_be64(number, from);
	store_batch_put(r->batch, STORE_META, slice_str(BLOCKS_FROM_KEY), slice_of(number, 8));
	r->blocks_from = from;
}
