#include "consensus/raft/raft.h"

#include <stdlib.h>

/* ---- durable state (figure 2, "Persistent state on all servers") ---------------------------
 */

static void flush(struct raft *r)
{
	if (r->term_dirty && !MUTANT(MUTANT_RAFT_FORGET_VOTE)) {
		struct writer *w = core_votes(&r->c, RAFT_SLOT_TERM);
		writer_u64(w, r->term);
		writer_u16(w, r->voted_for);
	}
	if (r->tip_dirty)
		block_ref_encode(core_votes(&r->c, RAFT_SLOT_TIP), &r->c.tip);
	r->term_dirty = r->tip_dirty = false;
}

void raft_set_tip(struct raft *r, const struct block_ref *tip)
{
	r->c.tip = *tip;
	r->tip_dirty = true;
	core_pool_follow(&r->c);
}

static int read_slots(struct raft *r, const struct engine_recovery *rec)
{
	struct reader rd;
	if (rec->votes[RAFT_SLOT_TERM].len) {
		reader_init(&rd, rec->votes[RAFT_SLOT_TERM]);
		r->term = reader_u64(&rd);
		r->voted_for = reader_u16(&rd);
		if (reader_finish(&rd) ||
		    (r->voted_for >= r->c.n && r->voted_for != NO_VALIDATOR))
			return ERR_CORRUPT;
	}
	if (rec->votes[RAFT_SLOT_TIP].len) {
		reader_init(&rd, rec->votes[RAFT_SLOT_TIP]);
		block_ref_decode(&rd, &r->c.tip);
		if (reader_finish(&rd))
			return ERR_CORRUPT;
	}
	return r->c.tip.term <= r->term || r->c.tip.height == 0 ? ERR_NONE : ERR_CORRUPT;
}

static int by_height(const void *a, const void *b)
{
	uint64_t x = (*(struct block *const *)a)->sh.h.height;
	uint64_t y = (*(struct block *const *)b)->sh.h.height;
	return x < y ? -1 : x > y;
}

static int recover(struct raft *r, const struct engine_recovery *rec, struct errmsg *m)
{
	struct core *c = &r->c;
	int err = read_slots(r, rec);
	if (err)
		return err_set(m, err,
			       "the vote state on disk cannot be read: this replica could vote "
			       "twice in a term; restore the disk or replace its key");
	struct block **sorted = mem_array(rec->block_count + 1, sizeof *sorted);
	for (uint32_t i = 0; i < rec->block_count; i++)
		sorted[i] = rec->blocks[i];
	qsort(sorted, rec->block_count, sizeof *sorted, by_height);
	for (uint32_t i = 0; i < rec->block_count; i++) {
		struct log_entry *e;
		if (log_add(&c->log, sorted[i], &e) == ERR_NONE)
			e->stored = true; /* the rest was cut off by log repair */
	}
	mem_free(sorted);
	if (c->tip.height <= core_final_height(c)) {
		c->tip = core_final_ref(c);
	} else if (!core_tip(c)) {
		char hex[HASH_HEX_SIZE];
		return err_set(m, ERR_CORRUPT,
			       "block %s at height %llu, which this replica has acknowledged, "
			       "is missing on disk: restore the disk or replace its key",
			       hash_hex(hex, &c->tip.hash), (unsigned long long)c->tip.height);
	}
	r->commit = core_final_height(c);
	core_pool_follow(c);
	return ERR_NONE;
}

uint64_t raft_term_at(const struct raft *r, uint64_t index)
{
	const struct core *c = &r->c;
	if (index <= core_final_height(c)) {
		const struct log_header *h = log_final_header(&c->log, index);
		return h ? h->sh.h.term : 0;
	}
	const struct log_entry *e = log_ancestor(core_tip(c), index);
	return e ? e->block->sh.h.term : 0;
}

/* ---- dispatch ---------------------------------------------------------------------------- */

static void on_message(struct raft *r, unsigned from, struct slice bytes)
{
	struct raft_message *m = r->in;
	if (from >= r->c.n || from == r->c.self)
		return;
	if (raft_message_decode(m, bytes)) {
		r->c.counters[COUNT_BAD_MESSAGES]++;
		return;
	}
	r->c.heard[from] = r->c.now;
	switch (m->type) {
	case RAFT_APPEND:
	case RAFT_HEARTBEAT:
		raft_on_append(r, from, m->type, &m->append);
		break;
	case RAFT_APPENDED:
	case RAFT_HEARTBEAT_REPLY:
		raft_on_appended(r, from, &m->appended);
		break;
	case RAFT_PRE_VOTE_REQUEST:
		raft_on_pre_vote_request(r, from, &m->vote_request);
		break;
	case RAFT_PRE_VOTE:
		raft_on_pre_vote(r, from, &m->vote);
		break;
	case RAFT_VOTE_REQUEST:
		raft_on_vote_request(r, from, &m->vote_request);
		break;
	case RAFT_VOTE:
		raft_on_vote(r, from, &m->vote);
		break;
	case CRASH_FORWARD:
		core_on_forward(&r->c, &m->txs);
		break;
	}
	raft_message_free(m);
}

static void dispatch(struct raft *r, const struct input *in)
{
	switch (in->kind) {
	case INPUT_TICK:
		break;
	case INPUT_MESSAGE:
		on_message(r, in->message.from, in->message.bytes);
		break;
	case INPUT_SUBMIT:
		core_submit(&r->c, &in->submit);
		break;
	case INPUT_DURABLE:
		raft_election_durable(r);
		raft_lead_durable(r);
		break;
	case INPUT_BUILT:
		raft_on_built(r, in);
		break;
	case INPUT_EXECUTED:
		core_on_executed(&r->c, in);
		break;
	case INPUT_TXS_CHECKED:
		core_txs_checked(&r->c, in);
		break;
	case INPUT_BLOCKS_READ:
		raft_on_blocks_read(r, in);
		break;
	case INPUT_MEMBER: /* its validators are the genesis file's for good */
	case INPUT_RESIGN: /* its followers time out, as in the paper */
		break;
	}
}

static uint64_t wake_at(const struct raft *r)
{
	uint64_t at = r->timer_at, forward = core_forward_wake(&r->c);
	if (r->c.role == ROLE_LEADER && r->heartbeat_at < at)
		at = r->heartbeat_at;
	if (forward < at)
		at = forward;
	return at > r->c.now ? at : r->c.now + 1;
}

static void step(struct engine *e, const struct input *in, struct output *out)
{
	struct raft *r = (struct raft *)e;
	core_step_begin(&r->c, in);
	r->append_sent = false;
	dispatch(r, in);
	if (r->c.now >= r->timer_at)
		raft_on_timeout(r);
	raft_lead_tick(r);
	core_forward_tick(&r->c);
	core_try_finalize(&r->c);
	raft_lead_end_of_step(r);
	core_forward_end(&r->c);
	flush(r);
	emit_finish(&r->c.out, out);
	out->wake_at = wake_at(r);
}

/* ---- life -------------------------------------------------------------------------------- */

static void engine_free_raft(struct engine *e)
{
	struct raft *r = (struct raft *)e;
	core_free(&r->c);
	mem_free(r->in);
	mem_free(r);
}

static void status(const struct engine *e, struct engine_status *out)
{
	const struct raft *r = (const struct raft *)e;
	core_status(&r->c, out);
	out->term = r->term;
	if (r->c.role == ROLE_LEADER)
		memcpy(out->match, r->match, sizeof out->match);
}

static const struct term_cert *term_cert(const struct engine *e)
{
	return &((const struct raft *)e)->c.tc;
}

static const struct engine_ops raft_ops = {step, engine_free_raft, status, term_cert, NULL,
					   NULL};

int engine_new_raft(struct engine **out, const struct engine_config *config,
		    const struct engine_recovery *recovery, struct errmsg *m)
{
	struct raft *r = mem_zalloc(sizeof *r);
	core_init(&r->c, &raft_ops, config, recovery);
	r->voted_for = NO_VALIDATOR;
	r->in = mem_zalloc(sizeof *r->in);
	int err = recover(r, recovery, m);
	if (err) {
		engine_free_raft(&r->c.base);
		return err;
	}
	raft_timer_restart(r);
	*out = &r->c.base;
	return ERR_NONE;
}
