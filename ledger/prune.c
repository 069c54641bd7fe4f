/* Pruning: every final block leaves a list of the records that states from it on have no use
 * for; the list is carried out once no older state is wanted. */
#include "ledger/private.h"

/* Lists carried out with one block at most: more than one, so that a shorter history is reached
 * in time, and few, so that no block pays for all of it. */
#define LISTS_PER_BLOCK 4

/* Beside the nodes of a version, whose third part is a depth of at most TREE_DEPTH_MAX. */
#define LIST_MARK     0xff
#define LIST_KEY_SIZE 9

static struct slice list_key(uint8_t buf[LIST_KEY_SIZE], uint64_t height)
{
	store_be64(buf, height);
	buf[8] = LIST_MARK;
	return slice_of(buf, LIST_KEY_SIZE);
}

bool ledger_list_reads(struct slice list)
{
	struct reader r;
	for (reader_init(&r, list); r.left > 0 && !r.err;) {
		uint8_t family = reader_u8(&r);
		reader_var(&r, STATE_KEY_MAX + 8);
		if (family != STORE_TREE && family != STORE_STATE)
			return false;
	}
	return r.err == ERR_NONE;
}

/* Deletes what the list names. What does not parse is left: rubbish costs room, not safety. */
static void carry_out(struct slice list, struct store_batch *batch)
{
	struct reader r;
	reader_init(&r, list);
	while (r.left > 0) {
		uint8_t family = reader_u8(&r);
		struct slice key = reader_var(&r, STATE_KEY_MAX + 8);
		if (r.err || (family != STORE_TREE && family != STORE_STATE))
			return;
		store_batch_delete(batch, (enum store_family)family, key);
	}
}

static void carry_out_stored(struct ledger *l, uint64_t height, struct store_batch *batch)
{
	uint8_t buf[LIST_KEY_SIZE];
	struct slice key = list_key(buf, height);
	if (store_get(l->store, STORE_TREE, key, &l->scratch))
		return; /* none was kept at that height */
	carry_out(writer_slice(&l->scratch), batch);
	store_batch_delete(batch, STORE_TREE, key);
}

void prune(struct ledger *l, struct overlay *before, struct overlay *o,
	   struct store_batch *batch)
{
	uint8_t buf[LIST_KEY_SIZE];
	if (l->history == LEDGER_HISTORY_ALL)
		return;
	writer_reset(&l->scratch);
	if (l->history == 0 && l->oldest == before->height && l->pinned > before->height) {
		tree_stale_root(&l->scratch, before->height);
		carry_out(slice_of(o->stale, o->stale_len), batch);
		carry_out(writer_slice(&l->scratch), batch);
		l->oldest = o->height;
	} else {
		writer_raw(&l->scratch, o->stale, o->stale_len);
		tree_stale_root(&l->scratch, before->height);
		store_batch_put(batch, STORE_TREE, list_key(buf, o->height),
				writer_slice(&l->scratch));
	}
	/* The list of height h is of records that states below h need. */
	uint64_t keep = l->history ? l->history : 1;
	for (unsigned i = 0;
	     i < LISTS_PER_BLOCK && o->height - l->oldest > keep && l->oldest < l->pinned; i++)
		carry_out_stored(l, ++l->oldest, batch);
	o->stale_len = 0;
}
