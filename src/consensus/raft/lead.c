/* The leader: log replication (5.3), commitment (5.3, 5.4.2). Steady state: AppendEntries out,
 * its answer back, the commit index on the next one: 2(n-1) messages a block. */
#include "consensus/raft/raft.h"

void raft_lead(struct raft *r)
{
	struct core *c = &r->c;
	c->role = ROLE_LEADER;
	c->leader = (uint16_t)c->self;
	c->counters[COUNT_ELECTIONS_WON]++;
	r->phase = RAFT_IDLE;
	r->syncing_count = 0;
	for (unsigned i = 0; i < c->n; i++) {
		r->next[i] = c->tip.height + 1; /* figure 2, reinitialized after election */
		r->match[i] = 0;
		r->probing[i] = false;
		r->answered[i] = r->votes >> i & 1 ? c->now : 0;
	}
	/* Our request for votes left after everything before it was durable. */
	r->match[c->self] = c->tip.height;
	core_set_term_cert(c, r->term, c->leader, &c->tip);
	r->first_due = true;
	r->commit_news = false;
	r->heartbeat_at = c->now;
	raft_timer_restart(r);
	core_forward_all_later(c);
}

/* ---- sending ----------------------------------------------------------------------------- */

/* Heartbeats too go in the class of entries: ahead of one they would ask for what is on its
 * way. */
static void send_append(struct raft *r, uint64_t mask, uint8_t type, struct raft_append *m)
{
	m->term = r->term;
	m->commit = r->commit;
	raft_append_encode(emit_message(&r->c.out, mask, CLASS_CONSENSUS, type), type, m);
	/* thesis 10.2.1: the leader writes its disk while the followers write theirs; its own
	 * copy counts when it is durable. A heartbeat has nothing to wait for either. */
	emit_at_once(&r->c.out);
	r->append_sent |= type == RAFT_APPEND;
}

/* Entries from next[peer] on: out of memory, or, long committed, from disk. */
static void send_entries(struct raft *r, unsigned peer)
{
	struct core *c = &r->c;
	uint64_t next = r->next[peer];
	if (next > c->tip.height || c->reading[peer])
		return;
	r->probe_at[peer] = c->now + 2 * c->timing.heartbeat;
	r->probe_prev[peer] = next - 1;
	if (next <= core_final_height(c)) {
		core_read(c, peer, next - 1);
		return;
	}
	struct raft_append *m = mem_zalloc(sizeof *m);
	m->prev_index = next - 1;
	m->prev_term = raft_term_at(r, next - 1);
	size_t bytes = 0;
	for (uint64_t i = next; i <= c->tip.height && m->blocks.count < CRASH_BLOCKS_MAX; i++) {
		struct block *b = log_ancestor(core_tip(c), i)->block;
		bytes += b->body_size + SIGNED_HEADER_SIZE;
		if (bytes > CRASH_BLOCKS_BYTES && m->blocks.count)
			break;
		m->blocks.block[m->blocks.count++] = b;
	}
	r->next[peer] += m->blocks.count;
	send_append(r, emit_to(peer), RAFT_APPEND, m);
	mem_free(m);
}

void raft_on_blocks_read(struct raft *r, const struct input *in)
{
	struct core *c = &r->c;
	uint64_t peer = in->blocks_read.id;
	if (peer >= c->n || !c->reading[peer])
		return;
	c->reading[peer] = false;
	if (c->role != ROLE_LEADER || in->blocks_read.count < 2 ||
	    in->blocks_read.blocks[0]->sh.h.height + 1 != r->next[peer])
		return;
	struct raft_append *m = mem_zalloc(sizeof *m);
	m->prev_index = in->blocks_read.blocks[0]->sh.h.height;
	m->prev_term = in->blocks_read.blocks[0]->sh.h.term;
	size_t bytes = 0;
	for (uint32_t i = 1; i < in->blocks_read.count && m->blocks.count < CRASH_BLOCKS_MAX;
	     i++) {
		struct block *b = in->blocks_read.blocks[i];
		bytes += b->body_size + SIGNED_HEADER_SIZE;
		if (bytes > CRASH_BLOCKS_BYTES && m->blocks.count)
			break;
		m->blocks.block[m->blocks.count++] = b;
	}
	r->next[peer] += m->blocks.count;
	send_append(r, emit_to((unsigned)peer), RAFT_APPEND, m);
	mem_free(m);
}

/* 5.2: to all, and at once when an election is won. It names our last entry, so that whoever
 * misses one says so. */
static void send_heartbeat(struct raft *r)
{
	struct raft_append m = {.prev_index = r->c.tip.height, .prev_term = r->c.tip.term};
	send_append(r, emit_to_all(&r->c.out), RAFT_HEARTBEAT, &m);
}

void raft_lead_tick(struct raft *r)
{
	if (r->c.role != ROLE_LEADER || r->c.now < r->heartbeat_at)
		return;
	r->heartbeat_at = r->c.now + r->c.timing.heartbeat;
	send_heartbeat(r);
}

/* ---- new entries ------------------------------------------------------------------------- */

static void append_own(struct raft *r, struct block *b)
{
	struct core *c = &r->c;
	struct log_entry *e;
	if (core_log_add(c, b, &e))
		return;
	struct raft_append m = {.prev_index = c->tip.height, .prev_term = c->tip.term};
	e->stored = true;
	emit_block(&c->out, b);
	struct block_ref ref = block_ref_of(b);
	raft_set_tip(r, &ref);
	core_execute_to(c, e);
	r->first_due = false;
	if (r->syncing_count == RAFT_SYNCING_MAX)
		r->syncing_count--; /* the newer one covers it */
	r->syncing[r->syncing_count].seq = emit_seq(&c->out);
	r->syncing[r->syncing_count++].index = ref.height;

	uint64_t ready = 0;
	for (unsigned i = 0; i < c->n; i++)
		if (i != c->self && !r->probing[i] && r->next[i] == ref.height) {
			r->next[i]++;
			ready |= UINT64_C(1) << i;
		}
	m.blocks.count = 1;
	m.blocks.block[0] = b;
	if (ready)
		send_append(r, ready, RAFT_APPEND, &m);
	r->commit_news = false; /* whoever is not ready learns it from the heartbeat */
}

void raft_on_built(struct raft *r, const struct input *in)
{
	struct core *c = &r->c;
	struct block *b = core_built(c, in, r->term, (uint16_t)c->self);
	if (b && c->role == ROLE_LEADER && hash_equal(&b->sh.h.prev, &c->tip.hash))
		append_own(r, b);
	block_drop(b);
}

static void maybe_build(struct raft *r)
{
	struct core *c = &r->c;
	if (c->building ||
	    (!r->first_due && c->tip.height >= core_final_height(c) + c->pipeline))
		return;
	struct log_entry *tip = core_tip(c);
	if (core_execute_to(c, tip))
		core_build(c, tip ? tip->block : c->log.final, r->first_due);
}

void raft_lead_end_of_step(struct raft *r)
{
	if (r->c.role != ROLE_LEADER)
		return;
	maybe_build(r);
	/* An idle leader says at once what is committed; else the next entry does. */
	if (!r->commit_news || r->append_sent || r->c.building || r->commit < r->c.tip.height)
		return;
	struct raft_append m = {.prev_index = r->c.tip.height, .prev_term = r->c.tip.term};
	r->commit_news = false;
	send_append(r, emit_to_all(&r->c.out), RAFT_APPEND, &m);
}

/* ---- answers and commitment -------------------------------------------------------------- */

/* Figure 2: "If there exists an N such that N > commitIndex, a majority of matchIndex[i] >= N,
 * and log[N].term == currentTerm". 5.4.2: entries of older terms only through one of this. */
static void advance_commit(struct raft *r)
{
	struct core *c = &r->c;
	uint64_t best = r->commit;
	for (unsigned i = 0; i < c->n; i++) {
		unsigned have = 0;
		for (unsigned k = 0; k < c->n; k++)
			have += r->match[k] >= r->match[i];
		if (have >= c->majority && r->match[i] > best)
			best = r->match[i];
	}
	if (best == r->commit ||
	    (raft_term_at(r, best) != r->term && !MUTANT(MUTANT_RAFT_OLD_TERM_COMMIT)))
		return;
	r->commit = best;
	r->commit_news = true;
	core_commit(c, log_ancestor(core_tip(c), best), r->term);
}

void raft_lead_durable(struct raft *r)
{
	unsigned done = 0;
	if (r->c.role != ROLE_LEADER)
		return;
	while (done < r->syncing_count && r->syncing[done].seq <= r->c.durable_seq)
		r->match[r->c.self] = r->syncing[done++].index;
	r->syncing_count -= done;
	memmove(r->syncing, r->syncing + done, r->syncing_count * sizeof r->syncing[0]);
	advance_commit(r);
}

void raft_on_appended(struct raft *r, unsigned from, const struct raft_appended *m)
{
	struct core *c = &r->c;
	if (m->term > r->term) {
		raft_follow(r, m->term, NO_VALIDATOR);
		return;
	}
	if (c->role != ROLE_LEADER || m->term < r->term || m->index > c->tip.height + 1 ||
	    (m->success && m->index > c->tip.height)) {
		c->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	r->answered[from] = c->now;
	if (m->success) {
		if (m->index > r->match[from])
			r->match[from] = m->index;
		if (r->next[from] <= r->match[from])
			r->next[from] = r->match[from] + 1;
		r->probing[from] = false;
		advance_commit(r);
		send_entries(r, from);
		return;
	}
	/* 5.3: go back and try again, one message at a time */
	if (r->probing[from] && c->now < r->probe_at[from] &&
	    (c->reading[from] || m->index > r->probe_prev[from]))
		return; /* the answer to another message than the one under way */
	r->next[from] = m->index > r->match[from] ? m->index : r->match[from] + 1;
	r->probing[from] = true;
	send_entries(r, from);
}
