/* Checkers of mode changes and expulsions: what the ledger says of them, and the reasons that
 * correct replicas give when they leave a leader. */
#include "sim/world.h"

static bool is_pinned(const struct sim *s)
{
	return s->genesis.protocol == PROTOCOL_PBFT;
}

void check_modes_view(struct sim *s, const struct term_cert *tc)
{
	const struct new_view *nv = tc->new_view;
	if (tc->mode != MODE_PBFT || !nv || map_get(&s->views, tc->new_view_hash.b))
		return;
	struct known_view *v = mem_zalloc(sizeof *v);
	v->count = nv->count;
	for (unsigned i = 0; i < nv->count; i++)
		v->named[i] = nv->vc[i].last_mode_change;
	map_put(&s->views, tc->new_view_hash.b, v);
}

/* A pbft term on top of a fast ledger: an escalation if f+1 of its view changes have the newest
 * mode entry as final, which some correct replica has then seen; else mode fast once more. */
static void check_first_entry(struct sim *s, const struct block *b,
			      const struct system_tx *entry)
{
	const struct mode_state *m = &s->modes.state;
	const struct known_view *v = map_get(&s->views, b->sh.h.new_view.b);
	bool escalates = entry->kind == SYSTEM_ESCALATED;
	if (m->mode != MODE_FAST || !v || is_pinned(s) ||
	    (!escalates && entry->kind != SYSTEM_MODE_FAST))
		return;
	unsigned count = 0;
	for (unsigned i = 0; i < v->count; i++)
		count += v->named[i] == m->changed;
	if (escalates != (count >= s->ctx.quorum.f + 1))
		sim_violation(
			s, SIM_SAFETY,
			"[I19] block %llu holds %s, but %u view changes of its term %llu have "
			"the mode entry before it as final",
			(unsigned long long)b->sh.h.height,
			escalates ? "an escalation" : "mode fast once more", count,
			(unsigned long long)b->sh.h.term);
}

/* Follows the entries of a final block; the ones below it have been followed. */
void check_modes_final(struct sim *s, const struct block *b)
{
	struct modes_seen *m = &s->modes;
	if (s->options.measure_conflicts)
		return;
	if (m->state.jailed >> b->sh.h.leader & 1)
		sim_violation(
			s, SIM_SAFETY,
			"[I10] block %llu is final, but %u who made it had been convicted",
			(unsigned long long)b->sh.h.height, b->sh.h.leader);
	if (m->last_of_term && m->last_of_term == b->sh.h.term && !is_pinned(s))
		sim_violation(s, SIM_SAFETY,
			      "[I10] block %llu extends the mode fast of its own term %llu",
			      (unsigned long long)b->sh.h.height,
			      (unsigned long long)b->sh.h.term);
	m->last_of_term = 0;
	for (uint32_t i = 0; i < b->tx_count; i++) {
		struct slice bytes = block_tx_bytes(b, i);
		struct system_tx entry;
		if (!system_tx_is(bytes) || system_tx_decode(&entry, bytes, &s->ctx))
			break;
		check_first_entry(s, b, &entry);
		if (mode_state_apply(&m->state, &entry, b->sh.h.height, &s->genesis))
			break;
		if (entry.kind == SYSTEM_MODE_FAST)
			m->last_of_term = b->sh.h.term;
	}
}

static bool rose(uint64_t *was, uint64_t now)
{
	bool more = now > *was;
	*was = now;
	return more;
}

static struct heard_node *heard_by(struct sim *s, unsigned node)
{
	struct heard_node *h = &s->node[node].heard;
	if (h->life != s->node[node].life)
		*h = (struct heard_node){.life = s->node[node].life};
	return h;
}

/* Before the step that it leads to. */
void check_modes_delivery(struct sim *s, unsigned node, unsigned from)
{
	heard_by(s, node)->of[from] = s->now;
}

/* Who is cut off suspects itself. */
static void check_timeout(struct sim *s, unsigned node)
{
	struct heard_node *h = heard_by(s, node);
	unsigned heard = 1;
	for (unsigned i = 0; i < s->n; i++)
		heard += i != node && h->of[i] && h->of[i] >= h->timeout_at;
	if (heard < s->ctx.quorum.qv)
		sim_violation(
			s, SIM_SAFETY,
			"[I16] replica %u counts a timeout toward an escalation, of %u heard "
			"since the one before",
			node, heard);
	if (h->timeout_at && s->now < h->timeout_at + TIMEOUT_MIN_DEFAULT_US)
		sim_violation(
			s, SIM_SAFETY,
			"[I16] replica %u counts a timeout toward an escalation, %llu us after "
			"the one before",
			node, (unsigned long long)(s->now - h->timeout_at));
	h->timeout_at = s->now;
}

/* [I12], told from what can be seen from outside: none of the time that the replica holds
 * against its leader lies beyond a timeout after a final block or the leader's acceptance. */
static void check_fair(struct sim *s, unsigned node, const struct engine_status *status)
{
	struct fair_node *f = &s->node[node].fair;
	const struct term_cert *tc = engine_term_cert(replica_engine(s->node[node].replica));
	if (f->life != s->node[node].life)
		*f = (struct fair_node){.life = s->node[node].life,
					.seen_at = s->now,
					.opened_at = s->now,
					.final = status->final.height,
					.tc_term = tc->term,
					.tc_leader = tc->leader,
					.tc_mode = tc->mode};
	if (status->timeout_us > f->timeout) { /* some of what was too late is not any more */
		uint64_t more = status->timeout_us - f->timeout;
		more = more < f->late ? more : f->late;
		f->allowed += more;
		f->late -= more;
		f->timeout = status->timeout_us;
	}
	uint64_t until = f->opened_at + f->timeout;
	if (until > s->now)
		until = s->now;
	if (f->seen_at != s->now)
		f->left = 0;
	uint64_t fair = until > f->seen_at ? until - f->seen_at : 0;
	f->allowed += fair;
	f->late += s->now - f->seen_at - fair;
	f->seen_at = s->now;
	uint64_t held = status->counters[COUNT_FAIR_US] - f->held;
	if (held > f->allowed + f->left)
		sim_violation(s, SIM_SAFETY,
			      "[I12] replica %u holds %llu us against the leader of term %llu, "
			      "who could have ordered in %llu of them",
			      node, (unsigned long long)held, (unsigned long long)tc->term,
			      (unsigned long long)f->allowed);
	if (held) { /* the rest of it may be counted in another step of this instant */
		f->left += f->allowed;
		f->left -= held < f->left ? held : f->left;
		f->allowed = f->late = 0;
		f->timeout = status->timeout_us;
	}
	f->held += held;
	bool led = f->tc_term > replica_ctx(s->node[node].replica)->start_term;
	bool same = led && f->tc_leader == tc->leader && f->tc_mode == tc->mode;
	if (f->final != status->final.height || (f->tc_term != tc->term && !same)) {
		f->opened_at = s->now;
		f->late = 0;
		f->timeout = status->timeout_us;
	}
	f->final = status->final.height;
	f->tc_term = tc->term;
	f->tc_leader = tc->leader;
	f->tc_mode = tc->mode;
}

/* After each step of a correct replica: it escalates for reasons that are there. Nobody correct
 * suspects the leader, and yet suspicions were enough; or no proof but such whose culprits were
 * expelled for them long ago. */
void check_modes_step(struct sim *s, unsigned node, const struct engine_status *status)
{
	struct modes_node *m = &s->node[node].modes;
	const uint64_t *c = status->counters;
	if (m->life != s->node[node].life) /* counts begin again with each life */
		*m = (struct modes_node){.life = s->node[node].life,
					 .suspected_term = m->suspected_term,
					 .jailed = status->modes.jailed};
	check_fair(s, node, status);
	if (rose(&m->timeouts, c[COUNT_TIMEOUTS_COUNTED]))
		check_timeout(s, node);
	if (rose(&m->suspicions, c[COUNT_SUSPICIONS_SIGNATURE] +
					 c[COUNT_SUSPICIONS_CENSORSHIP] +
					 c[COUNT_SUSPICIONS_SLOW]))
		m->suspected_term = status->tc_term;
	if (rose(&m->e2, c[COUNT_ESCALATED_E2])) {
		bool meant = false;
		for (unsigned i = 0; i < s->n; i++)
			meant |= !sim_is_corrupt(s, i) &&
				 s->node[i].modes.suspected_term >= status->tc_term;
		if (!meant)
			sim_violation(
				s, SIM_SAFETY,
				"[I11] replica %u escalates as the leader of term %llu is "
				"suspected, by no correct replica",
				node, (unsigned long long)status->tc_term);
	}
	/* One step may bring the proof and, later in the same message, the conviction. */
	bool convicts = m->jailed != status->modes.jailed;
	m->jailed = status->modes.jailed;
	if (rose(&m->e1, c[COUNT_ESCALATED_E1]) && !convicts &&
	    !(status->accused & ~status->modes.jailed))
		sim_violation(
			s, SIM_SAFETY,
			"[I11] replica %u escalates in term %llu for a proof whose culprit "
			"has been convicted",
			node, (unsigned long long)status->term);
	bool escalates =
		rose(&m->escalations, c[COUNT_ESCALATED_E1] + c[COUNT_ESCALATED_E2] +
					      c[COUNT_ESCALATED_E3] + c[COUNT_ESCALATED_E4]);
	if (m->ledger == MODE_PBFT && status->modes.mode == MODE_FAST && status->escalated &&
	    !escalates && !is_pinned(s))
		sim_violation(
			s, SIM_SAFETY,
			"[I13] replica %u stays escalated when its ledger returns to fast "
			"mode at block %llu",
			node, (unsigned long long)status->modes.changed);
	m->ledger = status->modes.mode;
}
