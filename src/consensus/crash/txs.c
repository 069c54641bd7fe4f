/* Transactions on their way to the leader. */
#include "consensus/crash/core.h"

void core_submit(struct core *c, const struct pool_tx *tx)
{
	int err = pool_add(&c->pool, tx, c->now);
	if (err == ERR_BUSY) {
		c->counters[COUNT_POOL_FULL]++;
		emit_rejected(&c->out, &tx->id, ERR_BUSY);
	}
	if (!err)
		c->forward_fresh = true;
}

/* ---- checks ------------------------------------------------------------------------------ */

static void check_release(struct core_check *k)
{
	mem_free(k->ids);
	mem_free(k->txs);
	mem_free(k->bytes);
	*k = (struct core_check){0};
}

static struct core_check *check_slot(struct core *c)
{
	for (unsigned i = 0; i < CORE_CHECKS_MAX; i++)
		if (!c->checks[i].id)
			return &c->checks[i];
	return NULL;
}

/* Copies the transactions and asks the host to check them. */
static void request_check(struct core *c, struct core_check *k, const struct slice *tx,
			  const struct hash *ids, uint32_t count)
{
	size_t total = 0, at = 0;
	for (uint32_t i = 0; i < count; i++)
		total += tx[i].len;
	k->id = ++c->next_work_id;
	k->count = count;
	k->ids = mem_array(count, sizeof *k->ids);
	k->txs = mem_array(count, sizeof *k->txs);
	k->bytes = mem_alloc(total ? total : 1);
	for (uint32_t i = 0; i < count; i++) {
		if (tx[i].len)
			memcpy(k->bytes + at, tx[i].ptr, tx[i].len);
		k->txs[i] = slice_of(k->bytes + at, tx[i].len);
		k->ids[i] = ids[i];
		at += tx[i].len;
		c->check_request[i] = (struct pool_tx){.id = ids[i], .bytes = k->txs[i]};
	}
	struct work *w = emit_work(&c->out, WORK_CHECK_TXS);
	w->id = k->id;
	w->txs = c->check_request;
	w->tx_count = count;
}

void core_on_forward(struct core *c, const struct crash_txs *m)
{
	if (c->role != ROLE_LEADER)
		return; /* the sender forwards again when it knows the leader */
	struct core_check *slot = check_slot(c);
	struct slice fresh[CRASH_FORWARD_TXS_MAX];
	struct hash ids[CRASH_FORWARD_TXS_MAX];
	uint32_t count = 0;
	for (uint32_t i = 0; i < m->count; i++) {
		tx_id(&ids[count], m->tx[i]);
		if (!pool_find(&c->pool, &ids[count]))
			fresh[count++] = m->tx[i];
	}
	if (!count)
		return;
	if (!slot || pool_count(&c->pool) + count > POOL_TXS_MAX) {
		c->counters[COUNT_POOL_FULL] += count;
		return;
	}
	request_check(c, slot, fresh, ids, count);
}

void core_txs_checked(struct core *c, const struct input *in)
{
	struct core_check *k = NULL;
	for (unsigned i = 0; i < CORE_CHECKS_MAX; i++)
		if (c->checks[i].id == in->txs_checked.id)
			k = &c->checks[i];
	if (!in->txs_checked.id || !k || k->count != in->txs_checked.count)
		return;
	for (uint32_t i = 0; i < k->count; i++) {
		int err = in->txs_checked.err[i];
		if (k->recheck) {
			if (err && pool_remove(&c->pool, &k->ids[i]))
				emit_rejected(&c->out, &k->ids[i], err);
		} else if (!err) {
			struct pool_tx tx = {.id = k->ids[i], .bytes = k->txs[i]};
			if (pool_add(&c->pool, &tx, c->now) == ERR_NONE)
				c->forward_fresh = true;
		}
	}
	check_release(k);
}

/* What waits for long may have been ordered by way of another replica. */
static void recheck_oldest(struct core *c)
{
	struct core_check *slot = check_slot(c);
	struct slice txs[CORE_RECHECK_TXS];
	struct hash ids[CORE_RECHECK_TXS];
	uint32_t count = 0;
	for (struct pool_entry *e = c->pool.free.head; e && slot && count < CORE_RECHECK_TXS;
	     e = e->next) {
		if (c->now < e->arrived + 2 * c->timing.timeout_min)
			break;
		txs[count] = slice_of(e->bytes, e->size);
		ids[count++] = e->id;
	}
	if (!count)
		return;
	slot->recheck = true;
	request_check(c, slot, txs, ids, count);
}

/* ---- forwarding -------------------------------------------------------------------------- */

void core_forward_all_later(struct core *c)
{
	for (struct pool_entry *e = c->pool.free.head; e; e = e->next)
		e->forwarded = 0;
	c->forward_fresh = true;
}

static bool forwards(const struct core *c)
{
	return c->leader != NO_VALIDATOR && c->leader != c->self && c->role == ROLE_FOLLOWER;
}

/* Entries from e on, as far as `fresh` says: never sent, or sent two heartbeats ago. */
static void forward_entries(struct core *c, struct pool_entry *e, bool fresh, uint32_t max)
{
	struct slice txs[CRASH_FORWARD_TXS_MAX];
	uint32_t count = 0, seen = 0;
	size_t bytes = 0;
	for (; e && count < max && seen < 4 * max; e = e->next, seen++) {
		if (fresh ? e->forwarded != 0 : c->now < e->forwarded + 2 * c->timing.heartbeat)
			continue;
		if (bytes + e->size > CRASH_FORWARD_BYTES && count > 0)
			break;
		bytes += e->size;
		e->forwarded = c->now ? c->now : 1;
		txs[count++] = slice_of(e->bytes, e->size);
	}
	if (!count)
		return;
	struct writer *w = emit_message(&c->out, emit_to(c->leader), CLASS_BULK, CRASH_FORWARD);
	writer_u8(w, CRASH_FORWARD);
	crash_txs_encode(w, txs, count);
}

void core_forward_end(struct core *c)
{
	if (!c->forward_fresh || !forwards(c))
		return;
	c->forward_fresh = false;
	struct pool_entry *first = NULL; /* new ones are at the end of the list */
	uint32_t fresh = 0;
	for (struct pool_entry *e = c->pool.free.tail;
	     e && !e->forwarded && fresh < CRASH_FORWARD_TXS_MAX; e = e->prev, fresh++)
		first = e;
	if (first)
		forward_entries(c, first, true, CRASH_FORWARD_TXS_MAX);
}

void core_forward_tick(struct core *c)
{
	if (c->now < c->reforward_at)
		return;
	c->reforward_at = c->now + 2 * c->timing.heartbeat;
	if (!forwards(c))
		return;
	recheck_oldest(c);
	forward_entries(c, c->pool.free.head, false, CORE_REFORWARD_TXS);
}

uint64_t core_forward_wake(const struct core *c)
{
	return pool_count(&c->pool) && forwards(c) ? c->reforward_at : UINT64_MAX;
}

/* ---- what the chain contains ------------------------------------------------------------- */

void core_pool_follow(struct core *c)
{
	const struct log_entry *tip = core_tip(c);
	const struct log_entry *marked = log_find(&c->log, &c->marked);
	uint64_t above = core_final_height(c);
	if (tip && marked && log_ancestor(tip, marked->block->sh.h.height) == marked)
		above = marked->block->sh.h.height;
	else if (!tip || marked || !hash_equal(&c->marked, &c->log.final->hash))
		pool_unpropose_all(&c->pool);
	for (const struct log_entry *e = tip; e && e->block->sh.h.height > above; e = e->parent)
		for (uint32_t i = 0; i < e->block->tx_count; i++) {
			struct pool_entry *x = pool_find(&c->pool, &e->block->tx[i].id);
			if (x)
				pool_propose(&c->pool, x);
		}
	c->marked = tip ? tip->block->hash : c->log.final->hash;
}

void core_txs_free(struct core *c)
{
	for (unsigned i = 0; i < CORE_CHECKS_MAX; i++)
		check_release(&c->checks[i]);
	pool_free(&c->pool);
}
