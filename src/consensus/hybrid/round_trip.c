/* How long a round takes, and timeouts that fit it. What is configured suits links of a few
 * milliseconds; where a round takes half a second, a leader that does all it can would be left
 * before its blocks could be final.
 *
 * Each asks all others now and then and measures how long the answer takes, the answerer's own
 * sync added; of a few answers the quickest counts, for that one did not wait for a busy
 * processor, here or there. A leader needs q - 1 others, so a round takes as long as the
 * (q-1)-th quickest of them: f liars, who can seem slower or quicker than they are, cannot make
 * that longer than an honest one's while q - 1 honest ones answer [I21]. (Quicker they can:
 * then timeouts are rather as configured.) Who does not answer any more is not counted, nor is
 * who is convicted. While no quorum answers all stays as it was.
 *
 * Timeouts only ever become longer than configured by it, the shortest not longer than half the
 * cap of their doubling, and none longer than the cap. Nothing is less safe, and who is attacked
 * while the links are slow waits as long as it would after a few elections in vain. */
#include "consensus/hybrid/hybrid.h"

#define ECHO_HEARTBEATS 20 /* between questions, once they have been; a quarter of the cap at most */
#define ECHO_OFTEN	8  /* so many asked one each heartbeat, and a quorum has answered */
#define ECHO_SPAN	4  /* such times; the quickest answers of one span or two count */
#define ROUNDS		4  /* in a timeout: to be told, to order, and two to spare */

/* True: that is news. */
static bool quickest_take(struct quickest *q, uint64_t us, uint64_t most)
{
	if (us > most)
		us = most;
	if (us == 0)
		us = 1;
	if (q->now && us >= q->now)
		return false;
	q->now = (uint32_t)us;
	return true;
}

/* 0: not known. */
static uint32_t quickest_of(const struct quickest *q)
{
	return !q->now || (q->before && q->before < q->now) ? q->before : q->now;
}

static void quickest_turn(struct quickest *q)
{
	q->before = q->now;
	q->now = 0;
}

/* The longest that timeout_min becomes, and all that is measured is thought to be. */
static uint64_t longest(const struct hybrid *h)
{
	uint64_t half = h->configured.timeout_cap / 2;
	if (half > UINT32_MAX)
		half = UINT32_MAX;
	return half > h->configured.timeout_min ? half : h->configured.timeout_min;
}

/* 0: fewer than a quorum have answered lately. */
static uint64_t round_us(const struct hybrid *h)
{
	uint32_t others[VALIDATORS_MAX];
	unsigned count = 0, wanted = h->quorum.q - 1;
	for (unsigned i = 0; i < h->n; i++) {
		uint32_t us = quickest_of(&h->round_trip[i]);
		unsigned at = count;
		if (i == h->self || !us || is_jailed(h, i))
			continue;
		for (; at > 0 && others[at - 1] > us; at--)
			others[at] = others[at - 1];
		others[at] = us;
		count++;
	}
	if (count < wanted)
		return 0;
	if (MUTANT(MUTANT_ROUND_OF_SLOWEST))
		wanted = count;
	return quickest_of(&h->own_sync) + (wanted ? others[wanted - 1] : 0);
}

uint64_t own_sync_us(const struct hybrid *h)
{
	return quickest_of(&h->own_sync);
}

void timer_set(struct hybrid *h, uint64_t at)
{
	h->timer_at = at;
	h->timer_from = h->now;
	h->timer_wait = at > h->now ? at - h->now : 0;
	h->timer_fits = h->timing.timeout_min;
}

/* The timer that runs, in proportion to what it was set to: shifted alike those of all would
 * come together. Both ways, or a measure that swings would push it out for ever; but it is not
 * over because of the measure, or a liar could have the timers of all end at once. */
static void fit_timer(struct hybrid *h, uint64_t min)
{
	uint64_t wait = h->timer_wait * min / h->timer_fits, cap = h->timing.timeout_cap;
	if (wait > cap)
		wait = cap - h->timer_wait % min;
	uint64_t at = h->timer_from + wait;
	if (at <= h->now && h->timer_at > h->now) {
		uint64_t soon = h->now + 1 + random_below(&h->random, min / 2 + 1);
		at = soon < h->timer_at ? soon : h->timer_at;
	}
	h->timer_at = at;
}

static void adapt(struct hybrid *h)
{
	uint64_t round = round_us(h), min = h->configured.timeout_min, most = longest(h);
	if (!round || MUTANT(MUTANT_TIMEOUTS_STAY))
		return;
	h->round_us = round < most ? round : most;
	if (ROUNDS * round > min)
		min = ROUNDS * round < most ? ROUNDS * round : most;
	if (MUTANT(MUTANT_TIMER_PUSHED_OUT))
		h->timer_at += min > h->timing.timeout_min ? min - h->timing.timeout_min : 0;
	else if (min != h->timing.timeout_min)
		fit_timer(h, min);
	uint64_t max = h->configured.timeout_max * min / h->configured.timeout_min;
	h->timing.timeout_min = min;
	h->timing.timeout_max = max < h->timing.timeout_cap ? max : h->timing.timeout_cap;
}

/* In whatever step comes then: nobody is woken for it, and each question wakes the others. */
void round_trip_tick(struct hybrid *h)
{
	if (h->n == 1 || h->now < h->echo_at)
		return;
	bool often = h->questions < ECHO_OFTEN || !round_us(h);
	uint64_t every = ECHO_HEARTBEATS * h->timing.heartbeat, most = h->timing.timeout_cap / 4;
	every = every < most ? every : most;
	h->echo_at = h->now + (often ? h->timing.heartbeat : every);
	if (!often && h->now >= h->span_until) {
		h->span_until = h->now + ECHO_SPAN * every;
		for (unsigned i = 0; i < h->n; i++)
			quickest_turn(&h->round_trip[i]);
		quickest_turn(&h->own_sync);
		adapt(h);
	}
	h->questions++;
	const struct msg_echo question = {.asked = h->now};
	msg_echo_encode(emit_message(&h->out, mask_all(h), CLASS_CONSENSUS, MSG_ECHO), &question);
	emit_at_once(&h->out);
}

static void answer(struct hybrid *h, unsigned from, uint64_t asked)
{
	if (h->now < h->echoed_until[from]) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	h->echoed_until[from] = h->now + h->timing.heartbeat / 2;
	const struct msg_echo m = {
		.is_answer = true, .asked = asked, .sync_us = quickest_of(&h->own_sync)};
	msg_echo_encode(emit_message(&h->out, emit_to(from), CLASS_CONSENSUS, MSG_ECHO), &m);
	emit_at_once(&h->out);
}

void on_echo(struct hybrid *h, unsigned from, const struct msg_echo *m)
{
	if (!m->is_answer) {
		answer(h, from, m->asked);
		return;
	}
	/* Of what was asked before we stood still we know only how long that was. */
	uint64_t cap = h->configured.timeout_cap;
	if (m->asked > h->now || h->now - m->asked > cap || m->sync_us > cap ||
	    m->asked < h->stood_until) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	if (quickest_take(&h->round_trip[from], h->now - m->asked + m->sync_us, longest(h)))
		adapt(h);
}

/* A step that comes long after the one before wanted it, whatever has come meanwhile. */
void round_trip_begin_of_step(struct hybrid *h, uint64_t wake_at)
{
	if (wake_at && h->now > wake_at + h->timing.heartbeat)
		h->stood_until = h->now;
}

/* Of the first step that waits for the disk, until that is durable; then of the next one. */
void round_trip_synced(struct hybrid *h)
{
	if (!h->sync_seq || h->durable_seq < h->sync_seq)
		return;
	h->sync_seq = 0;
	if (h->sync_since < h->stood_until)
		return;
	if (quickest_take(&h->own_sync, h->now - h->sync_since, longest(h)))
		adapt(h);
}

void round_trip_end_of_step(struct hybrid *h, const struct output *out)
{
	if (!out->sync || h->sync_seq)
		return;
	h->sync_seq = h->out.write_seq;
	h->sync_since = h->now;
}
