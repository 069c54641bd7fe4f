/* A leader whose node is to stop hands over first, so that the others need not time out: Raft's
 * leadership transfer (Ongaro, "Consensus: bridging theory and practice", 2014, 3.10). It names
 * whom it would have, tells all that they need not wait for it any longer, and proposes nothing
 * more in its term; the rest is an election like any other. All that this bears on is liveness
 * [I4]: a leader may fall silent at any time, and by resigning does no more than that. */
#include "consensus/hybrid/hybrid.h"

/* Who has voted for most of what we proposed, among those who answer. Self: nobody. */
static unsigned successor(const struct hybrid *h)
{
	unsigned best = h->self;
	for (unsigned k = 1; k < h->n; k++) {
		unsigned i = (h->self + k) % h->n;
		bool answers = h->heard_in_term[i] &&
			       h->now - h->heard_in_term[i] < 3 * h->timing.heartbeat;
		if (answers && !is_jailed(h, i) &&
		    (best == h->self || h->match[i] > h->match[best]))
			best = i;
	}
	return best;
}

bool has_resigned(const struct hybrid *h)
{
	return h->resigned && h->resigned == h->term && !MUTANT(MUTANT_RESIGNED_REIGNS);
}

/* In pbft mode the next primary is the next one's number: a view change needs suspicions or
 * timeouts of others, and there is no way to ask for one. */
void resign(struct hybrid *h)
{
	if (h->role != ROLE_LEADER || h->tc.mode != MODE_FAST || h->n == 1)
		return;
	h->resigning = true;
	h->resign_by = h->now + 2 * h->timing.heartbeat;
}

/* Once the successor has voted for the last block: we could not vote for it before. */
void resign_end_of_step(struct hybrid *h)
{
	if (!h->resigning || h->resigned == h->term)
		return;
	unsigned to = successor(h);
	if (to == h->self || (h->match[to] < h->tip.height && h->now < h->resign_by))
		return;
	h->resigned = h->term;
	h->counters[COUNT_RESIGNED]++;
	struct msg_resign m = {.term = h->term, .successor = (uint16_t)to};
	msg_resign_encode(emit_message(&h->out, mask_all(h), CLASS_CONSENSUS, MSG_RESIGN), &m);
	timer_restart(h);
}

/* Who is not named waits for its timer, as ever: the one that is may be down, or worse. */
void on_resign(struct hybrid *h, unsigned from, const struct msg_resign *m)
{
	if (m->term != h->term || !in_accepted_term(h) || h->tc.mode != MODE_FAST ||
	    h->tc.leader != from || h->resigned == h->term) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	h->resigned = h->term;
	timer_restart(h);
	if (m->successor == h->self && !in_pbft_mode(h))
		h->succeed_at = h->now;
}

/* Our request may overtake the leader's word, and be refused for a leader that is alive: it is
 * made again, until our timer has it that nothing came of it. */
void resign_tick(struct hybrid *h)
{
	if (!h->succeed_at || h->now < h->succeed_at)
		return;
	h->succeed_at = 0;
	if (!has_resigned(h) || in_pbft_mode(h))
		return;
	h->succeed_at = h->now + h->timing.heartbeat / 5;
	campaign(h);
}
