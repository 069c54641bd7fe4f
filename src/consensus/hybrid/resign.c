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
		if (answers && !is_jailed(h, i) && !h->proof[i].bytes &&
		    (best == h->self || h->match[i] > h->match[best]))
			best = i;
	}
	return best;
}

/* A resignation lets anybody have an election. So that nobody makes one each round trip, and
 * colluders do not hand over to and fro before any of them has been watched for long enough
 * (escalate.c), some are heard in a row, as when one node after the other is stopped, and then
 * one in so many timeouts, whoever resigns. */
#define RESIGN_SPACING 8
#define RESIGN_BURST   3

/* The same for all, whatever each has measured: who resigns counts on being heard. */
static uint64_t spacing(const struct hybrid *h)
{
	return RESIGN_SPACING * h->configured.timeout_min;
}

static bool is_heard(const struct hybrid *h, uint64_t at)
{
	return h->resign_paid <= at + (RESIGN_BURST - 1) * spacing(h) ||
	       MUTANT(MUTANT_RESIGNS_AT_WILL);
}

static void note_resigned(struct hybrid *h)
{
	h->resigned = h->term;
	h->resigned_at = h->now;
	h->resign_paid = (h->resign_paid > h->now ? h->resign_paid : h->now) + spacing(h);
}

/* It lapses: who is still heard when an election has had its time leads as before. */
bool has_resigned(const struct hybrid *h)
{
	return h->resigned && h->resigned == h->term &&
	       h->now < h->resigned_at + h->timing.timeout_max &&
	       !MUTANT(MUTANT_RESIGNED_REIGNS);
}

/* In pbft mode the next primary is the next one's number: a view change needs suspicions or
 * timeouts of others, and there is no way to ask for one. Nor if the others might not hear of
 * it yet: they have heard of those before a little later than we. */
void resign(struct hybrid *h)
{
	if (h->role != ROLE_LEADER || h->tc.mode != MODE_FAST || h->n == 1 || h->resigning ||
	    h->now < h->timing.timeout_min || !is_heard(h, h->now - h->timing.timeout_min))
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
	note_resigned(h);
	h->counters[COUNT_RESIGNED]++;
	struct msg_resign m = {.term = h->term, .successor = (uint16_t)to};
	msg_resign_encode(emit_message(&h->out, mask_all(h), CLASS_CONSENSUS, MSG_RESIGN), &m);
	timer_restart(h);
}

/* Who is not named waits for its timer, as ever: the one that is may be down, or worse. And to
 * resign is no progress: the timer of who holds work goes on. */
void on_resign(struct hybrid *h, unsigned from, const struct msg_resign *m)
{
	if (m->term != h->term || !in_accepted_term(h) || h->tc.mode != MODE_FAST ||
	    h->tc.leader != from || h->resigned == h->term || !is_heard(h, h->now)) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	note_resigned(h);
	if (!holds_work(h) || MUTANT(MUTANT_RESIGNS_AT_WILL))
		timer_restart(h);
	if (m->successor == h->self && !in_pbft_mode(h) && !h->observer &&
	    !is_jailed(h, h->self)) {
		h->succeed_at = h->now;
	}
}

/* Our request may overtake the leader's word: it is made again (election_tick()). */
void resign_tick(struct hybrid *h)
{
	if (!h->succeed_at || h->now < h->succeed_at)
		return;
	h->succeed_at = 0;
	if (!has_resigned(h) || in_pbft_mode(h))
		return;
	campaign_now(h);
}
