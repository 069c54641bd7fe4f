/* Terms, elections, votes: sections 5.1, 5.2, 5.4.1. */
#include "consensus/raft/raft.h"

void raft_timer_restart(struct raft *r)
{
	r->timer_at = r->c.now + core_timeout(&r->c); /* randomized: 5.2 */
}

void raft_follow(struct raft *r, uint64_t term, uint16_t leader)
{
	struct core *c = &r->c;
	if (term > r->term) { /* 5.1: whoever sees a later term adopts it */
		r->term = term;
		r->voted_for = NO_VALIDATOR;
		r->term_dirty = true;
		c->leader_heard = 0;
	}
	if (c->role == ROLE_LEADER)
		core_build_stop(c);
	c->role = ROLE_FOLLOWER;
	r->phase = RAFT_IDLE;
	if (leader != c->leader && leader != NO_VALIDATOR)
		core_forward_all_later(c);
	c->leader = leader;
}

/* 6, thesis 4.2.3: requests for votes are disregarded while a current leader exists. */
static bool leader_exists(const struct raft *r)
{
	return r->c.role == ROLE_LEADER ? core_majority_heard(&r->c, r->answered)
					: core_leader_alive(&r->c);
}

/* 5.4.1: the later term wins; with equal terms the longer log. */
static bool up_to_date(const struct raft *r, const struct raft_vote_request *m)
{
	const struct block_ref *tip = &r->c.tip;
	if (MUTANT(MUTANT_RAFT_ANY_LOG))
		return true;
	return m->last_term > tip->term ||
	       (m->last_term == tip->term && m->last_index >= tip->height);
}

static void send_request(struct raft *r, uint8_t type, uint64_t term)
{
	struct raft_vote_request m = {
		.term = term, .last_index = r->c.tip.height, .last_term = r->c.tip.term};
	raft_vote_request_encode(
		emit_message(&r->c.out, emit_to_all(&r->c.out), CLASS_URGENT, type), type, &m);
}

static void send_vote(struct raft *r, unsigned to, uint8_t type, uint64_t term, bool granted)
{
	struct raft_vote m = {.term = term, .granted = granted};
	raft_vote_encode(emit_message(&r->c.out, emit_to(to), CLASS_URGENT, type), type, &m);
}

static void add_vote(struct raft *r, unsigned from);

/* 5.2: increments its term, votes for itself, asks all others. */
static void ask_for_votes(struct raft *r)
{
	raft_follow(r, r->term + 1, NO_VALIDATOR);
	r->c.role = ROLE_CANDIDATE;
	r->voted_for = (uint16_t)r->c.self;
	r->term_dirty = true;
	r->phase = RAFT_ASKS_VOTES;
	r->votes = 0;
	r->own_vote_seq = emit_seq(&r->c.out);
	send_request(r, RAFT_VOTE_REQUEST, r->term);
}

void raft_election_durable(struct raft *r)
{
	if (r->phase == RAFT_ASKS_VOTES && r->c.durable_seq >= r->own_vote_seq)
		add_vote(r, r->c.self);
}

static void add_vote(struct raft *r, unsigned from)
{
	r->votes |= UINT64_C(1) << from;
	if ((unsigned)__builtin_popcountll(r->votes) < r->c.majority)
		return;
	if (r->phase == RAFT_ASKS_PRE_VOTES)
		ask_for_votes(r);
	else
		raft_lead(r);
}

void raft_on_timeout(struct raft *r)
{
	struct core *c = &r->c;
	raft_timer_restart(r);
	if (c->role == ROLE_LEADER) {
		if (!core_majority_heard(c, r->answered)) /* thesis 6.2 */
			raft_follow(r, r->term, NO_VALIDATOR);
		return;
	}
	c->role = ROLE_CANDIDATE;
	c->leader = NO_VALIDATOR;
	c->counters[COUNT_ELECTIONS_STARTED]++;
	r->phase = RAFT_ASKS_PRE_VOTES;
	r->votes = 0;
	send_request(r, RAFT_PRE_VOTE_REQUEST, r->term + 1);
	add_vote(r, c->self);
}

void raft_on_pre_vote_request(struct raft *r, unsigned from, const struct raft_vote_request *m)
{
	bool grant = m->term > r->term && up_to_date(r, m);
	if (grant && leader_exists(r)) {
		r->c.counters[COUNT_PRE_VOTE_IGNORED]++;
		return;
	}
	r->c.counters[COUNT_PRE_VOTE_REFUSED] += !grant;
	send_vote(r, from, RAFT_PRE_VOTE, grant ? m->term : r->term, grant);
}

void raft_on_pre_vote(struct raft *r, unsigned from, const struct raft_vote *m)
{
	if (!m->granted && m->term > r->term)
		raft_follow(r, m->term, NO_VALIDATOR);
	else if (m->granted && r->phase == RAFT_ASKS_PRE_VOTES && m->term == r->term + 1)
		add_vote(r, from);
	else
		r->c.counters[COUNT_STALE_MESSAGES]++;
}

void raft_on_vote_request(struct raft *r, unsigned from, const struct raft_vote_request *m)
{
	if (m->term > r->term) {
		if (leader_exists(r)) {
			r->c.counters[COUNT_PRE_VOTE_IGNORED]++;
			return;
		}
		raft_follow(r, m->term, NO_VALIDATOR);
	}
	bool grant = m->term == r->term && r->c.role != ROLE_LEADER &&
		     (r->voted_for == NO_VALIDATOR || r->voted_for == from) && up_to_date(r, m);
	if (grant && r->voted_for != from) {
		r->voted_for = (uint16_t)from;
		r->term_dirty = true;
	}
	if (grant)
		raft_timer_restart(r);
	send_vote(r, from, RAFT_VOTE, r->term, grant);
}

void raft_on_vote(struct raft *r, unsigned from, const struct raft_vote *m)
{
	if (m->term > r->term)
		raft_follow(r, m->term, NO_VALIDATOR);
	else if (m->granted && r->phase == RAFT_ASKS_VOTES && m->term == r->term)
		add_vote(r, from);
	else
		r->c.counters[COUNT_STALE_MESSAGES]++;
}
