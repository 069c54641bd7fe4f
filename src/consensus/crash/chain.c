/* The log of blocks: executing, finalising, building. */
#include "consensus/crash/core.h"

struct log_entry *core_tip(const struct core *c)
{
	return log_find(&c->log, &c->tip.hash);
}

static void drop_execution(void *arg, const struct block *b)
{
	struct core *c = arg;
	emit_work(&c->out, WORK_DROP)->hash = b->hash;
}

int core_log_add(struct core *c, struct block *b, struct log_entry **out)
{
	int err = log_add(&c->log, b, out);
	if (err == ERR_BUSY) {
		struct log_entry *keep = core_tip(c);
		log_prune(&c->log, &keep, 1, drop_execution, c);
		err = log_add(&c->log, b, out);
	}
	return err;
}

bool core_execute_to(struct core *c, struct log_entry *e)
{
	struct log_entry *next = NULL;
	for (; e && !e->executed; e = e->parent)
		next = e;
	if (!next)
		return true;
	if (!next->executing && !next->invalid) {
		next->executing = true;
		emit_work(&c->out, WORK_EXECUTE)->block = next->block;
		emit_hold(&c->out, next->block);
	}
	return false;
}

void core_on_executed(struct core *c, const struct input *in)
{
	struct log_entry *e = log_find(&c->log, &in->executed.block);
	if (!e || !e->executing)
		return;
	e->executing = false;
	e->executed = !in->executed.err;
	if (e->executed)
		return;
	e->invalid = true;
	c->counters[COUNT_BLOCKS_REFUSED]++;
	emit_halt(&c->out,
		  "executing block %llu, which the leader has proposed, gives here: %s. Either "
		  "this replica's state has diverged, or a replica is malicious, which %s does "
		  "not tolerate. Nothing was changed; compare with a peer before starting it "
		  "again",
		  (unsigned long long)e->block->sh.h.height, err_text(in->executed.err),
		  protocol_name(c->genesis->protocol));
}

void core_commit(struct core *c, struct log_entry *e, uint64_t term)
{
	const struct log_entry *goal = c->has_goal ? log_find(&c->log, &c->goal) : NULL;
	if (goal && goal->block->sh.h.height >= e->block->sh.h.height)
		return;
	c->has_goal = true;
	c->goal = e->block->hash;
	c->goal_term = term;
}

bool core_try_finalize(struct core *c)
{
	struct log_entry *e = c->has_goal ? log_find(&c->log, &c->goal) : NULL;
	if (!e) {
		c->has_goal = false; /* pruned: it is learnt again */
		return false;
	}
	if (!core_execute_to(c, e))
		return false;
	uint32_t count = log_depth(e);
	struct block **blocks = mem_array(count, sizeof *blocks);
	bool on_chain = log_contains(&c->log, &c->tip,
				     &(struct block_ref){.height = e->block->sh.h.height,
							 .hash = e->block->hash}) == 1;
	for (struct log_entry *x = e; x; x = x->parent) {
		if (!x->stored) /* needs no sync: the votes that committed it are durable */
			emit_block(&c->out, x->block);
		x->stored = true;
	}
	log_finalize(&c->log, e, blocks);
	c->has_goal = false;
	if (!on_chain)
		c->tip = core_final_ref(c);
	c->mark = (struct cert){
		.kind = CERT_CRASH, .ref = core_final_ref(c), .in_term = c->goal_term};
	emit_cert(&c->out, &c->mark);
	for (uint32_t i = 0; i < count; i++) {
		emit_final(&c->out, blocks[i], &c->mark);
		for (uint32_t t = 0; t < blocks[i]->tx_count; t++)
			pool_remove(&c->pool, &blocks[i]->tx[t].id);
		if (c->role == ROLE_LEADER)
			c->counters[COUNT_ONE_ROUND]++;
		block_drop(blocks[i]);
	}
	mem_free(blocks);
	if (core_final_height(c) >
	    2 * c->genesis->limits.window) /* terms of what followers miss */
		log_trim_headers(&c->log, core_final_height(c) - 2 * c->genesis->limits.window);
	core_pool_follow(c);
	return true;
}

/* ---- building ---------------------------------------------------------------------------- */

/* A child of parent, its body and roots to be filled in. */
static struct header child_of(const struct core *c, const struct block *parent, uint64_t term,
			      uint16_t leader)
{
	const struct header *p = &parent->sh.h;
	bool same = p->term == term;
	return (struct header){.chain = c->ctx->id,
			       .term = term,
			       .mode = MODE_FAST,
			       .height = p->height + 1,
			       .prev = parent->hash,
			       .base_height = same ? p->base_height : p->height,
			       .base = same ? p->base : parent->hash,
			       .leader = same ? p->leader : leader,
			       .valset = c->ctx->vals.hash};
}

static struct work *start_build(struct core *c, struct block *parent, uint64_t time_ms)
{
	c->building = true;
	c->build_id = ++c->next_work_id;
	block_drop(c->build_parent);
	c->build_parent = block_hold(parent);
	c->build_time = time_ms > parent->sh.h.time_ms ? time_ms : parent->sh.h.time_ms;
	struct work *w = emit_work(&c->out, WORK_BUILD);
	w->id = c->build_id;
	w->block = parent;
	w->time_ms = c->build_time;
	w->txs = c->candidates;
	emit_hold(&c->out, parent);
	return w;
}

bool core_build(struct core *c, struct block *parent, bool empty)
{
	uint32_t max = c->genesis->limits.block_txs_max, count = 0;
	uint64_t bytes = 0;
	if (!empty && !c->pool.free.count)
		return false;
	for (struct pool_entry *e = c->pool.free.head; e && count < max; e = e->next) {
		bytes += e->size + 5;
		if (bytes > c->genesis->limits.block_body_max - 4 && count > 0)
			break;
		c->candidates[count].id = e->id;
		c->candidates[count].bytes = slice_of(e->bytes, e->size);
		count++;
	}
	c->build_empty = empty;
	start_build(c, parent, c->wall_ms)->tx_count = count;
	return true;
}

void core_rebuild(struct core *c, struct block *parent, const struct block *again)
{
	uint32_t count = again->tx_count;
	if (count > c->genesis->limits.block_txs_max) /* a peer's block */
		count = c->genesis->limits.block_txs_max;
	for (uint32_t i = 0; i < count; i++)
		c->candidates[i] = (struct pool_tx){.id = again->tx[i].id,
						    .bytes = block_tx_bytes(again, i)};
	c->build_empty = true;
	start_build(c, parent, again->sh.h.time_ms)->tx_count = count;
}

struct block *core_built(struct core *c, const struct input *in, uint64_t term, uint16_t leader)
{
	if (!c->building || in->built.id != c->build_id)
		return NULL;
	c->building = false;
	/* Not for good: on blocks that are not final its nonce may be used by the transaction
	 * itself, or by one that will never be final. Who sends it again is answered from the
	 * final state. */
	for (uint32_t i = 0; i < in->built.refused_count; i++)
		if (pool_remove(&c->pool, &in->built.refused[i]))
			emit_rejected(&c->out, &in->built.refused[i], ERR_BUSY);
	if (in->built.err || (!in->built.tx_count && !c->build_empty))
		return NULL;
	struct signed_header sh = {.h = child_of(c, c->build_parent, term, leader)};
	sh.h.tx_root = in->built.tx_root;
	sh.h.state_root = in->built.state_root;
	sh.h.time_ms = c->build_time;
	sh.h.tx_count = in->built.tx_count;
	sh.h.body_size = (uint32_t)in->built.body.len;
	struct block *b;
	int err = block_new(&b, &sh, in->built.body);
	invariant(err == ERR_NONE); /* our own ledger built it */
	return b;
}

void core_build_stop(struct core *c)
{
	c->building = false;
	block_drop(c->build_parent);
	c->build_parent = NULL;
}

void core_read(struct core *c, unsigned peer, uint64_t from)
{
	c->reading[peer] = true;
	struct work *w = emit_work(&c->out, WORK_READ);
	w->id = peer;
	w->height = from;
	w->max_blocks = CRASH_BLOCKS_MAX / 2;
	w->max_bytes = CRASH_BLOCKS_BYTES;
}
