/* The follower's side of AppendEntries: figure 2, "Receiver implementation"; section 5.3. */
#include "consensus/raft/raft.h"

static void answer(struct raft *r, unsigned to, uint8_t type, bool success, uint64_t index)
{
	struct raft_appended m = {.term = r->term, .success = success, .index = index};
	uint8_t reply = type == RAFT_HEARTBEAT ? RAFT_HEARTBEAT_REPLY : RAFT_APPENDED;
	raft_appended_encode(emit_message(&r->c.out, emit_to(to), CLASS_CONSENSUS, reply),
			     reply, &m);
}

/* Step 2: do we hold the entry before the new ones? If not, *retry is where to go on: after our
 * last entry, or at the first one of the term that conflicts. What is committed agrees. */
static bool consistent(const struct raft *r, const struct raft_append *m, uint64_t *retry)
{
	const struct core *c = &r->c;
	uint64_t final = core_final_height(c);
	if (m->prev_index <= final)
		return true;
	const struct log_entry *e = log_ancestor(core_tip(c), m->prev_index);
	if (!e) {
		*retry = c->tip.height + 1;
		return false;
	}
	uint64_t term = e->block->sh.h.term;
	if (term == m->prev_term || MUTANT(MUTANT_RAFT_NO_CHECK))
		return true;
	while (e->parent && e->parent->block->sh.h.term == term)
		e = e->parent;
	*retry = e->block->sh.h.height;
	return false;
}

/* Steps 3 and 4 for one entry. False: it does not fit, which no Raft leader's does. */
static bool take_entry(struct raft *r, struct block *b)
{
	struct core *c = &r->c;
	uint64_t index = b->sh.h.height;
	if (index <= core_final_height(c))
		return true; /* committed here */
	const struct log_entry *have = log_ancestor(core_tip(c), index);
	if (have && have->block->sh.h.term == b->sh.h.term)
		return true;		  /* Log Matching: the same */
	if (have && index <= r->commit) { /* State Machine Safety: no Raft leader asks for it */
		c->counters[COUNT_BAD_MESSAGES]++;
		return false;
	}
	if (have) { /* step 3: ours and all that follow it go */
		struct block_ref parent =
			have->parent ? block_ref_of(have->parent->block) : core_final_ref(c);
		raft_set_tip(r, &parent);
		c->counters[COUNT_LOG_REPAIR]++;
	}
	struct log_entry *e;
	if (!crash_block_fits(b, c->ctx) || !hash_equal(&b->sh.h.prev, &c->tip.hash) ||
	    core_log_add(c, b, &e)) {
		c->counters[COUNT_BAD_MESSAGES]++;
		return false;
	}
	if (b->sh.h.term > c->tip.term)
		core_set_term_cert(c, b->sh.h.term, b->sh.h.leader, &c->tip);
	if (!e->stored)
		emit_block(&c->out, b);
	e->stored = true;
	struct block_ref ref = block_ref_of(b);
	raft_set_tip(r, &ref);
	return true;
}

void raft_on_append(struct raft *r, unsigned from, uint8_t type, const struct raft_append *m)
{
	struct core *c = &r->c;
	uint64_t retry = c->tip.height + 1;
	if (m->term < r->term) { /* step 1 */
		c->counters[COUNT_STALE_MESSAGES]++;
		answer(r, from, type, false, retry);
		return;
	}
	if (m->term == r->term &&
	    (c->role == ROLE_LEADER || (c->leader != NO_VALIDATOR && c->leader != from))) {
		c->counters[COUNT_BAD_MESSAGES]++; /* 5.2: a term has one leader at most */
		return;
	}
	raft_follow(r, m->term, (uint16_t)from);
	c->leader_heard = c->now ? c->now : 1;
	c->peer_final = m->commit;
	raft_timer_restart(r);
	if (!consistent(r, m, &retry)) {
		answer(r, from, type, false, retry);
		return;
	}
	uint64_t last = m->prev_index;
	for (uint32_t i = 0; i < m->blocks.count; i++, last++)
		if (!take_entry(r, m->blocks.block[i])) {
			answer(r, from, type, false, c->tip.height + 1);
			return;
		}
	/* step 5: min(leaderCommit, index of last new entry) */
	if (MUTANT(MUTANT_RAFT_FAR_COMMIT))
		last = c->tip.height;
	uint64_t commit = m->commit < last ? m->commit : last;
	if (commit > r->commit)
		r->commit = commit;
	if (r->commit > core_final_height(c))
		core_commit(c, log_ancestor(core_tip(c), r->commit), r->term);
	if (type == RAFT_HEARTBEAT || m->blocks.count)
		answer(r, from, type, true, last);
}
