/* What replicas go through: roles and modes, and the parts of a failover. */
#include <stdio.h>

#include "sim/measure_private.h"

/* ---- transitions ------------------------------------------------------------------------- */

static void count_transition(struct sim *s, unsigned node, const char *from, const char *to)
{
	struct sim_measures *o = s->measure->out;
	char name[MEASURE_TEXT_MAX];
	snprintf(name, sizeof name, "%s->%s", from, to);
	window_mark(s, node, name);
	uint32_t i = 0;
	while (i < o->transition_count && strcmp(o->transition[i].name, name) != 0)
		i++;
	if (i == MEASURE_TRANSITIONS_MAX)
		return;
	if (i == o->transition_count) {
		memcpy(o->transition[i].name, name, sizeof name);
		o->transition_count++;
	}
	o->transition[i].count++;
}

static void note_causes(struct seen_node *x, const struct engine_status *status)
{
	for (unsigned e = 0; e < 4; e++) {
		uint64_t count = status->counters[COUNT_ESCALATED_E1 + e];
		if (count > x->escalated[e])
			x->cause = e + 1;
		x->escalated[e] = count;
	}
}

static void note_mode(struct sim *s, unsigned node, struct seen_node *x, bool pbft)
{
	static const char *const to[] = {"pbft:new-view", "pbft:E1", "pbft:E2", "pbft:E3",
					 "pbft:E4"};
	if (pbft == x->in_pbft)
		return;
	x->in_pbft = pbft;
	if (pbft)
		count_transition(s, node, "fast", to[x->cause]);
	else
		count_transition(s, node, "pbft", "fast");
	x->cause = 0;
}

static bool pinned(const struct sim *s)
{
	return s->genesis.protocol != PROTOCOL_HYBRID;
}

static void look_at(struct sim *s, unsigned node)
{
	struct seen_node *x = &s->measure->node[node];
	struct engine_status status;
	replica_status(s->node[node].replica, &status);
	if (!x->up || x->life != s->node[node].life) {
		if (x->life)
			count_transition(s, node, "down", engine_role_name(status.role));
		*x = (struct seen_node){.up = true,
					.prepare = x->prepare,
					.commit = x->commit,
					.life = s->node[node].life,
					.in_pbft = status.mode == MODE_PBFT,
					.role = status.role};
	}
	note_causes(x, &status);
	if (!pinned(s))
		note_mode(s, node, x, status.mode == MODE_PBFT);
	if (status.role != x->role)
		count_transition(s, node, engine_role_name(x->role),
				 engine_role_name(status.role));
	x->role = status.role;
	struct failing *f = &s->measure->failing;
	if (f->on && !f->elected_at && status.role == ROLE_LEADER &&
	    status.term > f->lost_term) {
		f->elected_at = s->now;
		window_mark(s, node, "leads");
	}
}

void measure_down(struct sim *s, unsigned node)
{
	struct seen_node *x = &s->measure->node[node];
	if (sim_is_corrupt(s, node) || !x->up)
		return;
	count_transition(s, node, engine_role_name(x->role), "down");
	x->up = false;
}

/* ---- failover ---------------------------------------------------------------------------- */

static uint64_t between(uint64_t from, uint64_t to)
{
	return from && to && to >= from ? to - from : MEASURE_NEVER;
}

/* What is known of it is kept if no other one took as long. */
void measure_failover_end(struct sim *s)
{
	struct measure *m = s->measure;
	struct failing *f = &m->failing;
	if (!f->on)
		return;
	uint64_t took = (f->committed_at ? f->committed_at : s->now) - f->lost_at;
	f->on = false;
	if (took < m->longest)
		return;
	m->longest = took;
	m->out->failover_messages = f->messages;
	/* Who asked only after it was elected did not detect anything. */
	bool asked = f->asked_at && (!f->elected_at || f->asked_at <= f->elected_at);
	m->out->failover = (struct measure_failover){
		.detection = asked ? between(f->lost_at, f->asked_at) : MEASURE_NEVER,
		.election = between(asked ? f->asked_at : f->lost_at, f->elected_at),
		.first_commit = between(f->elected_at, f->committed_at),
		.backlog = f->split.backlog};
}

static void look_for_loss(struct sim *s)
{
	struct failing *f = &s->measure->failing;
	if (!s->leader_lost_at || (f->on && f->lost_at == s->leader_lost_at))
		return;
	measure_failover_end(s);
	*f = (struct failing){.on = true,
			      .lost_at = s->leader_lost_at,
			      .lost_term = s->leader_lost_term,
			      .split = {.backlog = MEASURE_NEVER}};
	window_moment(s, MOMENT_LEADER_LOST);
}

void measure_asked(struct sim *s)
{
	struct failing *f = &s->measure->failing;
	look_for_loss(s);
	if (f->on && !f->asked_at)
		f->asked_at = s->now;
	f->messages += f->on && !f->committed_at;
}

void measure_committed(struct sim *s, const struct block *b)
{
	struct failing *f = &s->measure->failing;
	look_for_loss(s);
	if (!f->on || f->committed_at || b->sh.h.term <= f->lost_term)
		return;
	f->committed_at = s->now;
	if (!f->elected_at)
		f->elected_at = s->now;
	for (uint32_t i = 0; i < s->options.clients; i++)
		f->backlog += s->clients[i].waiting;
	if (!f->backlog)
		f->split.backlog = 0;
}

void measure_backlog(struct sim *s, uint64_t submitted_us)
{
	struct failing *f = &s->measure->failing;
	if (!f->on || !f->committed_at || submitted_us > f->committed_at || !f->backlog)
		return;
	if (--f->backlog == 0)
		f->split.backlog = s->now - f->committed_at;
}

/* ---- after each step --------------------------------------------------------------------- */

void measure_step(struct sim *s, unsigned node)
{
	look_for_loss(s);
	if (s->node[node].replica && !sim_is_corrupt(s, node))
		look_at(s, node);
	if (s->result->first_proof_us && s->measure->moment < MOMENT_PROOF)
		window_moment(s, MOMENT_PROOF);
	if (s->result->conflicts && s->measure->moment < MOMENT_FORK)
		window_moment(s, MOMENT_FORK);
}
