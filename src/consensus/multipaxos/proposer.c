/* The proposer: section 2.2's phases, section 3's leader. */
#include "consensus/multipaxos/multipaxos.h"

static void clear_adopted(struct multipaxos *p)
{
	for (unsigned i = 0; i < PAXOS_RING; i++) {
		block_drop(p->adopted[i].value);
		block_drop(p->proposal[i].value);
		p->adopted[i] = (struct paxos_accepted_value){0};
		p->proposal[i] = (struct paxos_proposal){0};
	}
	p->adopted_to = 0;
}

void paxos_step_down(struct multipaxos *p)
{
	struct core *c = &p->c;
	c->leader = NO_VALIDATOR;
	c->role = ROLE_FOLLOWER;
	if (p->phase == PAXOS_IDLE)
		return;
	p->phase = PAXOS_IDLE;
	clear_adopted(p);
	if (!p->rebasing)
		core_build_stop(c);
	c->tip = core_final_ref(c);
	core_pool_follow(c);
}

/* ---- phase 1 ----------------------------------------------------------------------------- */

static void send_prepare(struct multipaxos *p)
{
	struct paxos_prepare m = {.ballot = p->ballot, .from = core_final_height(&p->c) + 1};
	paxos_prepare_encode(emit_message(&p->c.out, emit_to_all(&p->c.out) & ~p->promises,
					  CLASS_URGENT, PAXOS_PREPARE),
			     &m);
}

static void adopt(struct multipaxos *p, uint64_t ballot, struct block *value)
{
	uint64_t slot = value->sh.h.height;
	struct paxos_accepted_value *a = &p->adopted[slot % PAXOS_RING];
	/* P2c: of a slot the value of the highest-numbered proposal. An older slot at this
	 * place is chosen: it is more than PAXOS_WINDOW below another's. */
	if (slot < a->slot ||
	    (slot == a->slot && ballot <= a->ballot && !MUTANT(MUTANT_PAXOS_ANY_VALUE)))
		return;
	block_drop(a->value);
	*a = (struct paxos_accepted_value){
		.slot = slot, .ballot = ballot, .value = block_hold(value)};
	if (slot > p->adopted_to)
		p->adopted_to = slot;
}

/* A majority but for ourselves has promised; ours comes last, so that a proposer whom nobody
 * hears does not keep itself from following others. */
static void promise_self(struct multipaxos *p)
{
	if (!paxos_promise(p, p->ballot)) {
		paxos_step_down(p);
		return;
	}
	for (unsigned i = 0; i < PAXOS_RING; i++)
		if (p->accepted[i].slot > core_final_height(&p->c))
			adopt(p, p->accepted[i].ballot, p->accepted[i].value);
	p->phase = PAXOS_PROMISING_SELF;
	p->ballots_dirty = true;
	p->promise_seq = emit_seq(&p->c.out);
}

static void count_promises(struct multipaxos *p)
{
	if (p->phase == PAXOS_PREPARING &&
	    (unsigned)__builtin_popcountll(p->promises) + 1 >= p->c.majority)
		promise_self(p);
}

void paxos_prepare(struct multipaxos *p)
{
	struct core *c = &p->c;
	uint64_t highest = p->promised > p->seen ? p->promised : p->seen;
	if (p->tried > highest)
		highest = p->tried;
	if (highest > BALLOT_MAX - 2 * VALIDATORS_MAX)
		return; /* 2^62 ballots: somebody lies */
	paxos_step_down(p);
	c->role = ROLE_CANDIDATE;
	c->counters[COUNT_ELECTIONS_STARTED]++;
	p->phase = PAXOS_PREPARING;
	p->ballot = p->tried = (highest / c->n + 1) * c->n + c->self;
	p->ballots_dirty = true;
	p->promises = 0;
	memset(p->received, 0, sizeof p->received);
	p->known_final = core_final_height(c);
	p->known_by = c->self;
	p->prepared_at = c->now;
	p->heartbeat_at = c->now + c->timing.heartbeat;
	send_prepare(p);
	count_promises(p);
}

void paxos_on_promise(struct multipaxos *p, unsigned from, const struct paxos_promise *m)
{
	if (p->phase != PAXOS_PREPARING || m->ballot != p->ballot || p->promises >> from & 1 ||
	    m->first != p->received[from]) {
		p->c.counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	for (uint32_t i = 0; i < m->values.count; i++) {
		struct block *v = m->values.block[i];
		if (!crash_block_fits(v, p->c.ctx) || m->ballot_of[i] >= p->ballot ||
		    v->sh.h.height <= m->final || v->sh.h.height - m->final > PAXOS_WINDOW) {
			p->c.counters[COUNT_BAD_MESSAGES]++;
			return;
		}
		adopt(p, m->ballot_of[i], v);
	}
	p->received[from] += m->values.count;
	if (p->received[from] < m->total)
		return;
	if (m->final > p->known_final) {
		p->known_final = m->final;
		p->known_by = from;
	}
	p->promises |= UINT64_C(1) << from;
	p->answered[from] = p->c.now;
	count_promises(p);
}

static void lead(struct multipaxos *p)
{
	struct core *c = &p->c;
	c->role = ROLE_LEADER;
	c->leader = (uint16_t)c->self;
	c->counters[COUNT_ELECTIONS_WON]++;
	p->phase = PAXOS_LEADING;
	p->recovering = true;
	p->proposed_again = false;
	p->commit_news = false;
	p->chosen_to = p->proposed_to = core_final_height(c);
	memset(p->match, 0, sizeof p->match);
	for (unsigned i = 0; i < c->n; i++)
		if (!(p->promises >> i & 1))
			p->answered[i] = 0;
	p->heartbeat_at = c->now; /* everybody learns at once who leads */
	paxos_timer_restart(p);
	core_forward_all_later(c);
}

/* ---- phase 2 ----------------------------------------------------------------------------- */

static struct paxos_proposal *proposal_at(struct multipaxos *p, uint64_t slot)
{
	struct paxos_proposal *x = &p->proposal[slot % PAXOS_RING];
	return x->slot == slot && slot ? x : NULL;
}

static void send_accept(struct multipaxos *p, struct paxos_proposal *x)
{
	struct paxos_accept *m = mem_zalloc(sizeof *m);
	m->ballot = p->ballot;
	m->commit = p->chosen_to;
	m->value.count = 1;
	m->value.block[0] = x->value;
	paxos_accept_encode(emit_message(&p->c.out, emit_to_all(&p->c.out) & ~x->accepted,
					 CLASS_CONSENSUS, PAXOS_ACCEPT),
			    m);
	/* Our own acceptance counts when it is durable; the request rests on nothing that is
	 * not. */
	emit_at_once(&p->c.out);
	mem_free(m);
	x->sent_at = p->c.now;
	p->accept_sent = true;
	p->commit_news = false;
}

static void propose(struct multipaxos *p, struct block *value)
{
	uint64_t slot = value->sh.h.height;
	struct paxos_proposal *x = &p->proposal[slot % PAXOS_RING];
	block_drop(x->value);
	*x = (struct paxos_proposal){
		.slot = slot, .value = block_hold(value), .own_seq = emit_seq(&p->c.out)};
	paxos_store(p, p->ballot, value);
	if (slot > p->proposed_to)
		p->proposed_to = slot;
	send_accept(p, x);
}

/* Section 3: "a special no-op command that leaves the state unchanged". It is made on no block,
 * so that every learner makes it anew on the right one. */
static struct block *no_op(const struct multipaxos *p, uint64_t slot)
{
	uint8_t body[4] = {0};
	struct signed_header sh = {.h = {.chain = p->c.ctx->id,
					 .term = p->ballot,
					 .mode = MODE_FAST,
					 .height = slot,
					 .base_height = slot - 1,
					 .time_ms = p->c.wall_ms,
					 .leader = (uint16_t)p->c.self,
					 .valset = p->c.ctx->vals.hash,
					 .body_size = sizeof body}};
	struct block *b;
	merkle_root(&sh.h.tx_root, NULL, 0);
	int err = block_new(&b, &sh, slice_of(body, sizeof body));
	invariant(err == ERR_NONE);
	return b;
}

/* Section 3: the new leader knows what is chosen up to known_final; it proposes again what
 * others have accepted above that, and no-ops in the gaps. Then it may propose values of its
 * own. */
static void recover_slots(struct multipaxos *p)
{
	struct core *c = &p->c;
	uint64_t final = core_final_height(c);
	if (final < p->known_final && !MUTANT(MUTANT_PAXOS_LEARN_LATER)) {
		unsigned peer = (unsigned)random_below(&c->random, c->n);
		paxos_fetch(p, random_chance(&c->random, 1, 2) ? p->known_by : peer);
		return;
	}
	if (!p->proposed_again) {
		p->proposed_again = true;
		p->chosen_to = p->proposed_to = final;
		/* nobody accepts further ahead of what it knows, and that is no more than we do
		 */
		if (p->adopted_to > final + PAXOS_WINDOW)
			p->adopted_to = final + PAXOS_WINDOW;
		for (uint64_t slot = final + 1; slot <= p->adopted_to; slot++) {
			const struct paxos_accepted_value *a = &p->adopted[slot % PAXOS_RING];
			bool gap = a->slot != slot;
			struct block *v = gap ? no_op(p, slot) : block_hold(a->value);
			c->counters[gap ? COUNT_GAPS_FILLED : COUNT_VALUES_ADOPTED]++;
			propose(p, v);
			block_drop(v);
		}
	}
	if (final < p->adopted_to)
		return;
	p->recovering = false;
	c->tip = core_final_ref(c);
	core_pool_follow(c);
	core_set_term_cert(c, p->ballot, (uint16_t)c->self, &c->tip);
}

static void advance_chosen(struct multipaxos *p)
{
	struct paxos_proposal *x;
	uint64_t before = p->chosen_to;
	while ((x = proposal_at(p, p->chosen_to + 1)) && x->chosen)
		p->chosen_to++;
	p->commit_news |= p->chosen_to > before;
}

static void count_accepted(struct multipaxos *p, struct paxos_proposal *x, unsigned from)
{
	x->accepted |= UINT64_C(1) << from;
	if (x->chosen || (unsigned)__builtin_popcountll(x->accepted) < p->c.majority)
		return;
	x->chosen = true;
	struct paxos_accepted_value *a = paxos_accepted_at(p, x->slot);
	if (a && a->ballot == p->ballot)
		a->chosen = true;
	advance_chosen(p);
}

void paxos_on_accepted(struct multipaxos *p, unsigned from, const struct paxos_accepted *m)
{
	struct paxos_proposal *x = proposal_at(p, m->slot);
	if (p->phase != PAXOS_LEADING || m->ballot != p->ballot) {
		p->c.counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	p->answered[from] = p->c.now;
	if (!x)
		return;
	if (m->slot > p->match[from])
		p->match[from] = m->slot;
	count_accepted(p, x, from);
}

void paxos_proposer_durable(struct multipaxos *p)
{
	uint64_t durable = p->c.durable_seq;
	if (p->phase == PAXOS_PROMISING_SELF && durable >= p->promise_seq) {
		/* something higher may have been promised meanwhile: then we are not here */
		lead(p);
		return;
	}
	if (p->phase != PAXOS_LEADING)
		return;
	for (uint64_t slot = p->chosen_to + 1; slot <= p->proposed_to; slot++) {
		struct paxos_proposal *x = proposal_at(p, slot);
		if (x && !(x->accepted >> p->c.self & 1) && durable >= x->own_seq)
			count_accepted(p, x, p->c.self);
	}
}

/* Who was promised a higher ballot than ours is not lost to us: phase 1 again, above it. */
void paxos_on_nack(struct multipaxos *p, unsigned from, const struct paxos_nack *m)
{
	if (p->phase == PAXOS_IDLE || m->ballot != p->ballot || m->promised <= p->ballot) {
		p->c.counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	p->c.counters[COUNT_NACKS]++;
	p->answered[from] = p->c.now;
	if (m->promised > p->seen)
		p->seen = m->promised;
	if (p->phase == PAXOS_LEADING && core_majority_heard(&p->c, p->answered) &&
	    p->c.now >= p->prepared_at + 2 * p->c.timing.heartbeat)
		paxos_prepare(p);
}

/* ---- new values -------------------------------------------------------------------------- */

void paxos_on_built(struct multipaxos *p, const struct input *in)
{
	struct core *c = &p->c;
	struct log_entry *e;
	struct block *b = core_built(c, in, p->ballot, (uint16_t)c->self);
	bool fits = b && p->phase == PAXOS_LEADING && !p->recovering &&
		    hash_equal(&b->sh.h.prev, &c->tip.hash);
	if (fits && c->tip.term > p->ballot) { /* it was fetched: somebody leads a higher one */
		if (c->tip.term > p->seen)
			p->seen = c->tip.term;
		paxos_prepare(p);
	} else if (fits && core_log_add(c, b, &e) == ERR_NONE) {
		c->tip = block_ref_of(b);
		core_pool_follow(c);
		core_execute_to(c, e);
		propose(p, b);
	}
	block_drop(b);
}

static void maybe_build(struct multipaxos *p)
{
	struct core *c = &p->c;
	if (c->building || p->recovering || c->tip.height >= core_final_height(c) + c->pipeline)
		return;
	struct log_entry *tip = core_tip(c);
	if (core_execute_to(c, tip))
		core_build(c, tip ? tip->block : c->log.final, false);
}

static void send_news(struct multipaxos *p, uint8_t type)
{
	struct paxos_news m = {.ballot = p->ballot, .commit = p->chosen_to};
	/* in the class of ACCEPT: ahead of one, it would tell of values that are on their way
	 */
	paxos_news_encode(
		emit_message(&p->c.out, emit_to_all(&p->c.out), CLASS_CONSENSUS, type), type,
		&m);
	emit_at_once(&p->c.out);
}

void paxos_proposer_end_of_step(struct multipaxos *p)
{
	if (p->phase != PAXOS_LEADING)
		return;
	if (p->recovering)
		recover_slots(p);
	maybe_build(p);
	/* An idle leader says at once what is chosen; else the next ACCEPT does. */
	if (!p->commit_news || p->accept_sent || p->c.building || p->chosen_to < p->proposed_to)
		return;
	p->commit_news = false;
	send_news(p, PAXOS_COMMIT);
}

/* ---- time -------------------------------------------------------------------------------- */

void paxos_on_heartbeat_reply(struct multipaxos *p, unsigned from, const struct paxos_news *m)
{
	if (p->phase == PAXOS_LEADING && m->ballot == p->ballot)
		p->answered[from] = p->c.now;
}

/* Heartbeats; and what may have been lost, again. */
void paxos_proposer_tick(struct multipaxos *p)
{
	struct core *c = &p->c;
	if (p->phase == PAXOS_IDLE || c->now < p->heartbeat_at)
		return;
	p->heartbeat_at = c->now + c->timing.heartbeat;
	if (p->phase == PAXOS_PREPARING)
		send_prepare(p);
	if (p->phase != PAXOS_LEADING)
		return;
	/* Whoever knows what we miss may be gone: promises of others, then. */
	if (p->recovering && !p->proposed_again &&
	    c->now >= p->prepared_at + 2 * c->timing.timeout_max) {
		paxos_prepare(p);
		return;
	}
	send_news(p, PAXOS_HEARTBEAT);
	for (uint64_t slot = p->chosen_to + 1; slot <= p->proposed_to; slot++) {
		struct paxos_proposal *x = proposal_at(p, slot);
		if (x && !x->chosen && c->now >= x->sent_at + c->timing.heartbeat)
			send_accept(p, x);
	}
}
