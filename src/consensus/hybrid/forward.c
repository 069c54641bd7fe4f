/* Transactions between replicas: forwarded to the leader, relayed to all on each timeout
 * (docs/consensus.md, "Timers"), checked before they enter the pool. */
#include "consensus/hybrid/hybrid.h"

#define RELAY_TXS_MAX 16

void on_submit(struct hybrid *h, const struct pool_tx *tx)
{
	bool idle = pool_count(&h->pool) == 0;
	int err = pool_add(&h->pool, tx, h->now);
	if (err == ERR_BUSY) {
		h->counters[COUNT_POOL_FULL]++;
		emit_rejected(&h->out, &tx->id, ERR_BUSY);
	}
	if (err)
		return;
	h->forward_fresh = true;
	h->fresh_txs++;
	h->fresh_bytes += tx->bytes.len;
	if (idle)
		timer_restart(h);
}

/* ---- checks ------------------------------------------------------------------------------ */

static void check_release(struct pending_check *c)
{
	mem_free(c->ids);
	mem_free(c->txs);
	mem_free(c->bytes);
	*c = (struct pending_check){0};
}

static struct pending_check *check_slot(struct hybrid *h)
{
	for (unsigned i = 0; i < PENDING_CHECKS_MAX; i++)
		if (!h->checks[i].id)
			return &h->checks[i];
	return NULL;
}

/* Copies the transactions and asks the host to check them. */
static void request_check(struct hybrid *h, struct pending_check *c, const struct slice *tx,
			  const struct hash *ids, uint32_t count)
{
	size_t total = 0;
	for (uint32_t i = 0; i < count; i++)
		total += tx[i].len;
	c->id = ++h->next_work_id;
	c->count = count;
	c->ids = mem_array(count, sizeof *c->ids);
	c->txs = mem_array(count, sizeof *c->txs);
	c->bytes = mem_alloc(total ? total : 1);
	struct pool_tx *request = h->check_request;
	size_t at = 0;
	for (uint32_t i = 0; i < count; i++) {
		memcpy(c->bytes + at, tx[i].ptr, tx[i].len);
		c->txs[i] = slice_of(c->bytes + at, tx[i].len);
		c->ids[i] = ids[i];
		request[i] = (struct pool_tx){.id = ids[i], .bytes = c->txs[i]};
		at += tx[i].len;
	}
	struct work *w = emit_work(&h->out, WORK_CHECK_TXS);
	w->id = c->id;
	w->txs = request;
	w->tx_count = count;
}

/* Whoever is correct has checked what it passes on. A false signature costs us time, and its
 * sender a hundred times as much. */
#define FALSE_TX_PAID 5000

void on_txs(struct hybrid *h, unsigned from, const struct msg_txs *m, bool relay)
{
	if (!relay && h->role != ROLE_LEADER)
		return; /* the sender forwards again when it knows the leader */
	if (h->txs_paid[from] > h->now) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	struct pending_check *slot = check_slot(h);
	struct slice fresh[FORWARD_TXS_MAX];
	struct hash ids[FORWARD_TXS_MAX];
	uint32_t count = 0;
	for (uint32_t i = 0; i < m->count; i++) {
		struct hash id;
		tx_id(&id, m->tx[i]);
		struct pool_entry *e = pool_find(&h->pool, &id);
		if (e) {
			e->relayed |= relay;
			continue;
		}
		ids[count] = id;
		fresh[count++] = m->tx[i];
	}
	if (!count)
		return;
	if (!slot || pool_count(&h->pool) + count > POOL_TXS_MAX) {
		h->counters[COUNT_POOL_FULL] += count;
		return;
	}
	slot->relayed = relay;
	slot->from = from;
	request_check(h, slot, fresh, ids, count);
}

static void relay(struct hybrid *h, const struct hash *ids, uint32_t count)
{
	struct slice txs[RELAY_TXS_MAX];
	uint32_t n = 0;
	for (uint32_t i = 0; i < count && n < RELAY_TXS_MAX; i++) {
		struct pool_entry *e = pool_find(&h->pool, &ids[i]);
		if (!e)
			continue;
		e->relayed = true;
		txs[n++] = slice_of(e->bytes, e->size);
	}
	if (!n)
		return;
	h->counters[COUNT_RELAYS]++;
	msg_txs_encode(emit_message(&h->out, mask_all(h), CLASS_BULK, MSG_RELAY), MSG_RELAY,
		       txs, n);
}

/* A timeout is about what is still valid and has waited so long: what a client made void
 * itself, by other transactions of the same nonces, is no reason to leave a leader. */
static void recheck_ends(struct hybrid *h, bool removed)
{
	const struct pool_entry *oldest = pool_oldest(&h->pool);
	if (!holds_work(h))
		h->timed_out_on_work = false;
	if (!h->timeout_pending)
		return;
	if (!removed)
		timeout_counts(h);
	else if (!oldest || h->now < oldest->arrived + h->timing.timeout_min)
		h->timeout_pending = false;
	else if (!recheck_oldest(h)) /* those next in age may be void too */
		timeout_counts(h);
}

/* True if it is void, and gone. */
static bool recheck_one(struct hybrid *h, const struct hash *id, int err)
{
	struct pool_entry *e = pool_find(&h->pool, id);
	if (!e)
		return false;
	if (!err) {
		e->rechecked = h->now;
		return false;
	}
	pool_remove(&h->pool, id);
	emit_rejected(&h->out, id, err);
	return true;
}

void on_txs_checked(struct hybrid *h, const struct input *in)
{
	struct pending_check *c = NULL;
	for (unsigned i = 0; i < PENDING_CHECKS_MAX; i++)
		if (h->checks[i].id == in->txs_checked.id)
			c = &h->checks[i];
	if (!c || !in->txs_checked.id || c->count != in->txs_checked.count)
		return;
	bool idle = pool_count(&h->pool) == 0;
	uint32_t removed = 0;
	uint64_t *paid = c->recheck ? NULL : &h->txs_paid[c->from];
	for (uint32_t i = 0; i < c->count; i++) {
		int err = in->txs_checked.err[i];
		if (c->recheck) {
			removed += recheck_one(h, &c->ids[i], err);
		} else if (err == ERR_BAD_SIGNATURE) {
			*paid = (*paid > h->now ? *paid : h->now) + FALSE_TX_PAID;
		} else if (!err) {
			struct pool_tx tx = {.id = c->ids[i], .bytes = c->txs[i]};
			if (pool_add(&h->pool, &tx, h->now) == ERR_NONE) {
				/* others have it already, or its first holder forwards it */
				struct pool_entry *e = pool_find(&h->pool, &tx.id);
				e->relayed = c->relayed;
				h->forward_fresh = true;
			}
		}
	}
	if (c->recheck) {
		if (MUTANT(MUTANT_RECHECK_FEW))
			for (struct pool_entry *e = h->pool.free.head; e; e = e->next)
				e->rechecked = h->now;
		relay(h, c->ids, c->count);
		check_release(c);
		recheck_ends(h, removed > 0);
		return;
	} else if (idle && pool_count(&h->pool)) {
		timer_restart(h);
	}
	check_release(c);
}

/* On a timeout: are the oldest transactions still valid? What is, is relayed to all. */
bool recheck_oldest(struct hybrid *h)
{
	struct pending_check *slot = check_slot(h);
	if (!slot)
		return false;
	struct slice txs[RELAY_TXS_MAX];
	struct hash ids[RELAY_TXS_MAX];
	uint32_t count = 0;
	for (struct pool_entry *e = h->pool.proposed.head; e && count < RELAY_TXS_MAX / 2;
	     e = e->next, count++) {
		txs[count] = slice_of(e->bytes, e->size);
		ids[count] = e->id;
	}
	for (struct pool_entry *e = h->pool.free.head; e && count < RELAY_TXS_MAX;
	     e = e->next, count++) {
		txs[count] = slice_of(e->bytes, e->size);
		ids[count] = e->id;
	}
	if (!count)
		return false;
	slot->recheck = true;
	request_check(h, slot, txs, ids, count);
	return true;
}

/* ---- forwarding -------------------------------------------------------------------------- */

void forward_all_later(struct hybrid *h)
{
	for (struct pool_entry *e = h->pool.free.head; e; e = e->next)
		e->forwarded = 0;
	h->forward_fresh = true;
}

static bool forwards(const struct hybrid *h)
{
	uint16_t leader = current_leader(h);
	return leader != NO_VALIDATOR && leader != h->self && h->role != ROLE_LEADER;
}

/* Sends entries from e on, up to max of them, as far as `fresh` says: never sent, or sent more
 * than two heartbeats ago. */
static void forward_entries(struct hybrid *h, struct pool_entry *e, bool fresh, uint32_t max)
{
	struct slice txs[FORWARD_TXS_MAX];
	uint32_t count = 0, seen = 0;
	size_t bytes = 0;
	for (; e && count < max && seen < 4 * max; e = e->next, seen++) {
		if (fresh ? e->forwarded != 0 : h->now < e->forwarded + 2 * h->timing.heartbeat)
			continue;
		if (bytes + e->size > FORWARD_BYTES_MAX && count > 0)
			break;
		bytes += e->size;
		e->forwarded = h->now ? h->now : 1;
		txs[count++] = slice_of(e->bytes, e->size);
	}
	if (!count)
		return;
	msg_txs_encode(emit_message(&h->out, UINT64_C(1) << current_leader(h), CLASS_BULK,
				    MSG_FORWARD),
		       MSG_FORWARD, txs, count);
	/* [I1] What clients have signed says nothing of us, so it need not wait for our disk.
	 */
	emit_at_once(&h->out);
}

/* With more to come they leave together, as long as they fit into one message. */
void forward_end_of_step(struct hybrid *h, bool more)
{
	if (!h->forward_fresh || !forwards(h) ||
	    (more && h->fresh_txs < FORWARD_TXS_MAX / 4 &&
	     h->fresh_bytes < FORWARD_BYTES_MAX / 2))
		return;
	h->forward_fresh = false;
	h->fresh_txs = 0;
	h->fresh_bytes = 0;
	/* New ones are at the end of the list. */
	struct pool_entry *first = NULL;
	uint32_t fresh = 0;
	for (struct pool_entry *e = h->pool.free.tail;
	     e && !e->forwarded && fresh < FORWARD_TXS_MAX; e = e->prev, fresh++)
		first = e;
	if (!first)
		return;
	forward_entries(h, first, true, FORWARD_TXS_MAX);
}

void forward_tick(struct hybrid *h)
{
	if (h->now < h->reforward_at)
		return;
	h->reforward_at = h->now + 2 * h->timing.heartbeat;
	if (forwards(h))
		forward_entries(h, h->pool.free.head, false, REFORWARD_TXS_MAX);
}

/* ---- what the chain contains ------------------------------------------------------------- */

static void mark_block(struct hybrid *h, const struct block *b)
{
	for (uint32_t i = 0; i < b->tx_count; i++) {
		struct pool_entry *e = pool_find(&h->pool, &b->tx[i].id);
		if (e)
			pool_propose(&h->pool, e);
	}
}

static void mark_chain(struct hybrid *h, const struct log_entry *e, uint64_t above)
{
	for (; e && e->block->sh.h.height > above; e = e->parent)
		mark_block(h, e->block);
}

void pool_follow_chain(struct hybrid *h)
{
	const struct log_entry *tip = log_find(&h->log, &h->tip.hash);
	const struct log_entry *marked = log_find(&h->log, &h->marked);
	uint64_t above = h->log.final->sh.h.height;
	if (tip && marked && log_ancestor(tip, marked->block->sh.h.height) == marked)
		above = marked->block->sh.h.height;
	else if (!tip || marked || !hash_equal(&h->marked, &h->log.final->hash))
		pool_unpropose_all(&h->pool);
	mark_chain(h, tip, above);
	h->marked = tip ? tip->block->hash : h->log.final->hash;
}

void forward_free(struct hybrid *h)
{
	for (unsigned i = 0; i < PENDING_CHECKS_MAX; i++)
		check_release(&h->checks[i]);
	pool_free(&h->pool);
}
