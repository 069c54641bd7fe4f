/* The learner: what is chosen is executed in the order of slots, each on the block before it.
 */
#include "consensus/multipaxos/multipaxos.h"

/* In its ballot a leader proposes one value a slot, so that what we accepted in it is what was
 * chosen. Anything else must be fetched. */
void paxos_note_chosen(struct multipaxos *p, unsigned from, uint64_t ballot, uint64_t commit)
{
	uint64_t final = core_final_height(&p->c), slot = final + 1;
	bool missing = commit > final + PAXOS_WINDOW;
	for (; slot <= commit && slot <= final + PAXOS_WINDOW; slot++) {
		struct paxos_accepted_value *a = paxos_accepted_at(p, slot);
		if (a && (a->ballot == ballot || MUTANT(MUTANT_PAXOS_OTHER_BALLOT)))
			a->chosen = true;
		missing |= !a || !a->chosen;
	}
	if (missing)
		paxos_fetch(p, from);
}

/* The value chosen for the slot, as far as we know. */
static struct block *chosen_value(struct multipaxos *p, uint64_t slot)
{
	const struct paxos_accepted_value *a = paxos_accepted_at(p, slot);
	return a && a->chosen ? a->value : NULL;
}

/* The term in which the newest final block was chosen, as far as we can tell. */
static uint64_t in_term(const struct multipaxos *p, const struct block *b)
{
	return b->sh.h.term > p->promised ? b->sh.h.term : p->promised;
}

/* Takes up the value of the slot after the final one. False: there is nothing to do now. */
static bool learn_next(struct multipaxos *p)
{
	struct core *c = &p->c;
	uint64_t slot = core_final_height(c) + 1;
	struct block *v = c->has_goal ? NULL : chosen_value(p, slot);
	struct log_entry *e;
	if (c->has_goal)
		return true;
	if (!v || p->rebasing)
		return false;
	if (hash_equal(&v->sh.h.prev, &c->log.final->hash) &&
	    core_log_add(c, v, &e) == ERR_NONE) {
		e->stored = true; /* since it was accepted */
		core_commit(c, e, in_term(p, v));
		return true;
	}
	if (c->building) /* of a leader that was: a new one does not build before this is done
			  */
		core_build_stop(c);
	p->rebasing = true;
	block_drop(p->rebase_value);
	p->rebase_value = block_hold(v);
	core_rebuild(c, c->log.final, v);
	return false;
}

/* Its commands on the block that was chosen before it. What they are, when, in which term and
 * by whom is the value's, so that all replicas make the same block; what can no longer be
 * included, because an earlier slot holds it too, is left out. */
void paxos_rebased(struct multipaxos *p, const struct input *in)
{
	struct core *c = &p->c;
	const struct block *v = p->rebase_value;
	uint64_t parent_term = c->log.final->sh.h.term, term = v->sh.h.term;
	struct log_entry *e;
	if (!c->building || in->built.id != c->build_id)
		return;
	struct block *b =
		core_built(c, in, term > parent_term ? term : parent_term, v->sh.h.leader);
	p->rebasing = false;
	if (b && hash_equal(&b->sh.h.prev, &c->log.final->hash) &&
	    core_log_add(c, b, &e) == ERR_NONE) {
		c->counters[COUNT_REBASED]++;
		core_commit(c, e, in_term(p, b));
	} else if (in->built.err && in->built.err != ERR_BUSY) { /* asked again at once */
		emit_halt(&c->out, "executing the value chosen for slot %llu gives: %s",
			  (unsigned long long)v->sh.h.height, err_text(in->built.err));
	}
	block_drop(b);
}

void paxos_learn(struct multipaxos *p)
{
	while (learn_next(p) && core_try_finalize(&p->c))
		;
	if (p->fetch_more && !p->c.has_goal) {
		p->fetch_more = false;
		paxos_fetch(p, p->fetch_peer);
	}
}

/* ---- catching up ------------------------------------------------------------------------- */

void paxos_fetch(struct multipaxos *p, unsigned peer)
{
	struct core *c = &p->c;
	if (p->fetching || peer == c->self || c->has_goal)
		return;
	p->fetching = true;
	p->fetch_at = c->now + 2 * c->timing.heartbeat;
	c->counters[COUNT_FETCHES]++;
	paxos_fetch_encode(emit_message(&c->out, emit_to(peer), CLASS_BULK, PAXOS_FETCH),
			   core_final_height(c) + 1);
}

void paxos_on_fetch(struct multipaxos *p, unsigned from, uint64_t first)
{
	if (!p->c.reading[from] && first && first <= core_final_height(&p->c))
		core_read(&p->c, from, first);
}

void paxos_on_blocks_read(struct multipaxos *p, const struct input *in)
{
	uint64_t to = in->blocks_read.id;
	if (to >= p->c.n || !p->c.reading[to])
		return;
	p->c.reading[to] = false;
	struct paxos_chosen *m = mem_zalloc(sizeof *m);
	size_t bytes = 0;
	m->final = core_final_height(&p->c);
	for (uint32_t i = 0; i < in->blocks_read.count && i < CRASH_BLOCKS_MAX; i++) {
		struct block *b = in->blocks_read.blocks[i];
		bytes += b->body_size + SIGNED_HEADER_SIZE;
		if (bytes > CRASH_BLOCKS_BYTES && i)
			break;
		m->blocks.block[m->blocks.count++] = b;
	}
	paxos_chosen_encode(
		emit_message(&p->c.out, emit_to((unsigned)to), CLASS_BULK, PAXOS_CHOSEN), m);
	mem_free(m);
}

void paxos_on_chosen(struct multipaxos *p, unsigned from, const struct paxos_chosen *m)
{
	struct core *c = &p->c;
	struct log_entry *last = NULL;
	p->fetching = false;
	for (uint32_t i = 0; i < m->blocks.count; i++) {
		struct block *b = m->blocks.block[i];
		struct log_entry *e;
		if (b->sh.h.height <= core_final_height(c))
			continue;
		if (!crash_block_fits(b, c->ctx) || core_log_add(c, b, &e)) {
			c->counters[COUNT_BAD_MESSAGES]++;
			return;
		}
		last = e;
	}
	if (!last || c->has_goal)
		return;
	core_commit(c, last, in_term(p, last->block));
	if (p->rebasing) { /* overtaken */
		p->rebasing = false;
		core_build_stop(c);
	}
	p->fetch_more = m->final > last->block->sh.h.height;
	p->fetch_peer = from;
}
