/* The index of transactions has entries too many. A block that could not be read when it was
 * given up has left its own (retention.c); those of blocks that are not kept go, some at a
 * time. */
#include "replica/epoch.h"

#define ENTRIES_LOOKED 4096 /* in one tick */

void mend_index(struct replica *r, enum mend_step *step)
{
	struct mend_sweep *w = &r->mend.sweep;
	struct slice key, value;
	unsigned left = ENTRIES_LOOKED;
	store_batch_clear(r->batch);
	struct store_iter *it = store_iter_new(r->store, STORE_TXINDEX, writer_slice(&w->at),
					       (struct slice){0}, false);
	while (left > 0 && store_iter_next(it, &key, &value)) {
		left--;
		if (value.len >= 8 && load_be64(value.ptr) < r->blocks_from)
			store_batch_delete(r->batch, STORE_TXINDEX, key);
		writer_reset(&w->at);
		writer_raw(&w->at, key.ptr, key.len);
		writer_u8(&w->at, 0); /* the next one that can be */
	}
	store_iter_free(it);
	w->any |= store_batch_count(r->batch) > 0;
	*step = MEND_STEP_MORE;
	if (store_batch_count(r->batch) && store_write(r->store, r->batch, false)) {
		*step = MEND_STEP_FAILED;
	} else if (left > 0 && w->any) {
		*step = MEND_STEP_MENDED;
	} else if (left > 0) {
		r->mend.why = "which of its entries are too many is not known";
		*step = MEND_STEP_LEFT;
	}
	if (*step == MEND_STEP_MORE)
		return;
	writer_free(&w->at);
	w->any = false;
}
