/* Escalation (docs/consensus.md): E1 transferable proof, E2 f+1 suspicions, E3 timeouts in a row, E4
 * view changes of f+1 others (in view.c). One voice alone changes nothing but its owner. */
#include "consensus/hybrid/hybrid.h"

void escalate(struct hybrid *h, enum escalation_reason reason, uint64_t term)
{
	if (h->quorum.f == 0 || in_pbft_mode(h) || h->observer)
		return;
	h->escalated = true;
	h->reason = reason;
	h->escalated_final = h->log.final->sh.h.height;
	h->escalated_term = next_pbft_term(h, term);
	h->counted_timeouts = 0;
	h->dirty[SLOT_TERM] = true;
	h->counters[COUNT_ESCALATED_E1] += reason == REASON_PROOF;
	h->counters[COUNT_ESCALATED_E2] += reason == REASON_SIGNATURE ||
					   reason == REASON_CENSORSHIP || reason == REASON_SLOW;
	h->counters[COUNT_ESCALATED_E3] += reason == REASON_TIMEOUTS;
	send_view_change(h, h->escalated_term, reason);
}

/* The leader of the accepted term must go: over to pbft mode, or to its next term. */
static void depose(struct hybrid *h, unsigned leader, enum escalation_reason reason)
{
	if (!in_pbft_mode(h))
		escalate(h, reason, h->term + 1);
	else if (in_accepted_term(h) && h->tc.leader == leader)
		send_view_change(h, next_pbft_term(h, h->term + 1), reason);
}

/* ---- E1: proofs -------------------------------------------------------------------------- */

void proofs_free(struct hybrid *h)
{
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		mem_free(h->proof[i].bytes);
}

static void count_kind(struct hybrid *h, enum evidence_kind kind)
{
	unsigned c = COUNT_EVIDENCE_HEADERS + (unsigned)kind - EVIDENCE_HEADERS;
	if (c <= COUNT_EVIDENCE_INVALID_STATEMENT)
		h->counters[c]++;
}

/* Keeps it until its culprit is jailed by a final block. */
static void keep_proof(struct hybrid *h, const struct evidence *ev)
{
	struct writer w = {0};
	evidence_encode(&w, ev);
	struct slice s = writer_slice(&w);
	struct pending_proof *p = &h->proof[ev->culprit];
	p->bytes = mem_alloc(s.len);
	memcpy(p->bytes, s.ptr, s.len);
	p->size = s.len;
	writer_free(&w);
}

bool take_proof(struct hybrid *h, const struct evidence *ev)
{
	if (ev->culprit >= h->n)
		return false;
	if (is_jailed(h, ev->culprit) && !MUTANT(MUTANT_REPLAYED_PROOF))
		return false; /* no further effect */
	if (evidence_check(ev, h->ctx, h->tx_invalid))
		return false; /* it proves nothing to others */
	count_kind(h, ev->kind);
	h->counters[COUNT_EQUIVOCATIONS]++;
	if (!h->proof[ev->culprit].bytes)
		keep_proof(h, ev);
	h->proof_told_at = h->now;
	struct hash id;
	evidence_hash(&id, ev);
	evidence_encode(emit_evidence(&h->out, &id), ev);
	h->want_sync = true;
	struct slice bytes = slice_of(h->proof[ev->culprit].bytes, h->proof[ev->culprit].size);
	msg_evidence_encode(emit_message(&h->out, mask_all(h), CLASS_URGENT, MSG_EVIDENCE),
			    bytes);
	if (h->quorum.f == 0)
		return true;
	/* An escalated replica that waits for the culprit's own term goes on to the next. */
	if (in_pbft_mode(h) && !in_accepted_term(h) &&
	    primary_of(h->term, h->n) == ev->culprit && h->signed_term == h->term)
		send_view_change(h, next_pbft_term(h, h->term + 1), REASON_PROOF);
	else
		depose(h, ev->culprit, REASON_PROOF);
	return true;
}

/* Checking it can cost a third of a second. What proves nothing has its sender wait, as long as
 * a correct one waits before it tells its own again. */
void on_evidence(struct hybrid *h, unsigned from, struct slice bytes)
{
	if (h->evidence_paid[from] > h->now) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	struct reader r;
	struct evidence ev;
	reader_init(&r, bytes);
	evidence_decode(&r, &ev);
	if (reader_finish(&r)) {
		h->counters[COUNT_BAD_MESSAGES]++;
		return;
	}
	bool news = ev.culprit < h->n && !is_jailed(h, ev.culprit);
	if (!take_proof(h, &ev) && news)
		h->evidence_paid[from] =
			h->now + h->timing.timeout_cap * bytes.len / EVIDENCE_SIZE_MAX;
}

/* Pending proofs are durable; they escalate nobody a second time. */
void proofs_recover(struct hybrid *h, const struct engine_recovery *rec)
{
	for (uint32_t i = 0; i < rec->evidence_count; i++) {
		struct reader r;
		struct evidence ev;
		reader_init(&r, rec->evidence[i]);
		evidence_decode(&r, &ev);
		if (reader_finish(&r) || ev.culprit >= h->n || is_jailed(h, ev.culprit))
			continue;
		if (evidence_check(&ev, h->ctx, h->tx_invalid) == ERR_NONE)
			keep_proof(h, &ev);
	}
}

/* ---- E2: suspicions ---------------------------------------------------------------------- */

/* A bad signature is a fact that stays one; what else a replica suspects it says again each
 * timeout, for as long as it lasts. Old ones of long terms must not add up. */
#define SUSPICION_TIMEOUTS 4

static bool suspects(const struct hybrid *h, unsigned who)
{
	const struct suspected *s = &h->suspected[who];
	bool lasts = s->reason == REASON_SIGNATURE ||
		     h->now <= s->at + SUSPICION_TIMEOUTS * h->timing.timeout_min ||
		     MUTANT(MUTANT_OLD_SUSPICIONS);
	return s->term == h->term && s->reason && lasts;
}

/* Who suspects the leader of our term; the reason that most give, the lowest of equals. */
static unsigned suspicions(const struct hybrid *h, enum escalation_reason *reason)
{
	unsigned given[REASON_JOIN + 1] = {0}, count = 0;
	for (unsigned i = 0; i < h->n; i++)
		if (suspects(h, i)) {
			given[h->suspected[i].reason]++;
			count++;
		}
	*reason = REASON_SIGNATURE;
	for (unsigned r = REASON_SIGNATURE; r <= REASON_SLOW; r++)
		if (given[r] > given[*reason])
			*reason = (enum escalation_reason)r;
	return count;
}

static void judge_suspicions(struct hybrid *h)
{
	enum escalation_reason reason;
	unsigned count = suspicions(h, &reason);
	if (count >= h->quorum.f + 1 || (MUTANT(MUTANT_LONE_SUSPICION) && count))
		depose(h, h->tc.leader, reason);
}

void suspect(struct hybrid *h, enum escalation_reason reason)
{
	if (h->quorum.f == 0 || !in_accepted_term(h) || h->tc.leader == h->self || h->observer)
		return;
	if (h->suspected[h->self].term == h->term &&
	    h->now < h->suspicion_sent_at + h->timing.timeout_min)
		return;
	h->suspicion_sent_at = h->now;
	h->suspected[h->self].term = h->term;
	h->suspected[h->self].reason = reason;
	h->suspected[h->self].at = h->now;
	h->counters[COUNT_SUSPICIONS_SIGNATURE] += reason == REASON_SIGNATURE;
	h->counters[COUNT_SUSPICIONS_CENSORSHIP] += reason == REASON_CENSORSHIP;
	h->counters[COUNT_SUSPICIONS_SLOW] += reason == REASON_SLOW;
	struct suspicion s = {.term = h->term,
			      .leader = h->tc.leader,
			      .reason = reason,
			      .signer = (uint16_t)h->self};
	suspicion_sign(&s, h->ctx, &h->key);
	msg_suspicion_encode(emit_message(&h->out, mask_all(h), CLASS_URGENT, MSG_SUSPICION),
			     &s);
	judge_suspicions(h);
}

void on_suspicion(struct hybrid *h, unsigned from, const struct suspicion *s)
{
	if (s->signer != from || !in_accepted_term(h) || s->term != h->term ||
	    s->leader != h->tc.leader) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	if (suspicion_check(s, h->ctx)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return;
	}
	h->suspected[from].term = s->term;
	h->suspected[from].reason = s->reason;
	h->suspected[from].at = h->now;
	judge_suspicions(h);
}

/* Time since the last look in which the leader could have ordered what it does not. None counts
 * beyond a timeout after the newest final block: a quorum that is missing is no leader's fault,
 * and who stands still with one is left to the timers. [I12] */
static uint64_t fair_time(struct hybrid *h)
{
	uint64_t from = h->fair_since, until = h->final_at + h->timing.timeout_min;
	uint64_t fair = h->fair_banked;
	h->fair_banked = 0;
	h->fair_since = h->now;
	if (until > h->now || MUTANT(MUTANT_BLAME_FOR_QUORUM))
		until = h->now;
	return fair + (until > from ? until - from : 0);
}

/* Before a block is final: what went before is fair by the final block that it follows. Else a
 * pause of our own would be the leader's time. */
void fair_time_banks(struct hybrid *h)
{
	if (!MUTANT(MUTANT_BLAME_FOR_PAUSE))
		h->fair_banked = fair_time(h);
}

static void fair_time_restarts(struct hybrid *h)
{
	h->fair_since = h->now;
	h->fair_banked = 0;
}

/* When what waits longest is looked at again in our state; what is void in it is dropped then.
 */
static uint64_t recheck_due(const struct hybrid *h, const struct pool_entry *e)
{
	uint64_t since = e->arrived > h->tc_accepted_at ? e->arrived : h->tc_accepted_at;
	return since + h->timing.timeout_min * 3 / 2;
}

/* Before anybody is blamed for it: has it been found valid since, and within a timeout? If not
 * it is looked at now. */
static bool still_valid(struct hybrid *h, const struct pool_entry *e)
{
	uint64_t since = recheck_due(h, e);
	if (h->now > since + h->timing.timeout_min)
		since = h->now - h->timing.timeout_min;
	if (e->rechecked >= since || MUTANT(MUTANT_VOID_WAITS))
		return true;
	recheck_oldest(h);
	return false;
}

/* The oldest transaction that the leader knows of, and has left unordered while it ordered
 * others. */
static void watch_for_censorship(struct hybrid *h, uint64_t fair)
{
	const struct pool_entry *e = h->pool.free.head;
	if (!e || !(e->forwarded || e->relayed))
		return;
	if (!hash_equal(&h->passed_over, &e->id)) {
		h->passed_over = e->id;
		h->passed_over_for = 0;
	} else {
		h->passed_over_for += fair;
	}
	uint64_t relay_at = recheck_due(h, e);
	uint64_t patience = 3 * h->timing.timeout_min;
	if (h->tc.mode == MODE_PBFT) {
		uint64_t twice =
			2 * (h->timing.timeout_min << (h->timeouts < 4 ? h->timeouts : 4));
		if (twice > patience)
			patience = twice;
	}
	if (h->now < relay_at)
		return;
	/* Of each one by one: relays what is still valid in our state, drops the rest. */
	if (e->rechecked < relay_at)
		recheck_oldest(h);
	else if (h->passed_over_for >= patience && e->relayed && still_valid(h, e))
		suspect(h, REASON_CENSORSHIP);
}

void pace_note_block(struct hybrid *h, const struct block *b)
{
	h->pace_ordered += b->tx_count;
}

/* What can never be ordered does not wait: the rival of an ordered transaction, which any
 * client can send to some of us, is no reason to leave a leader. */
static bool something_waits(const struct hybrid *h)
{
	const struct pool_entry *e = pool_oldest(&h->pool);
	if (MUTANT(MUTANT_VOID_WAITS))
		return e && h->now > e->arrived + h->timing.timeout_min;
	return e && e->rechecked >= recheck_due(h, e);
}

/* Transactions in 1024 heartbeats with work pending. */
static uint64_t pace(const struct hybrid *h)
{
	return h->pace_ordered * 1024 / (h->pace_work / h->timing.heartbeat + 1);
}

/* A new term of the same leader and mode is no pardon: it has what waited in the old one. */
void watch_new_leader(struct hybrid *h)
{
	h->tc_accepted_at = h->now;
	h->passed_over_for = 0;
	if (h->pace_work >= SLOW_WINDOW * h->timing.timeout_min)
		h->last_pace = pace(h);
	h->pace_ordered = h->pace_work = 0;
	h->final_at = h->now;
	fair_time_restarts(h);
}

/* A leader that orders fewer than half of what was ordered before, over SLOW_WINDOW timeouts,
 * while something waits that is still valid after a timeout and a half, is slow (Aardvark's
 * regular view changes, Prime's bounded delay: a leader must not be just fast enough). Not
 * blocks, which are few and large under load; and where nothing waits, there was less to
 * order. */
static void watch_pace(struct hybrid *h, uint64_t fair)
{
	if (holds_work(h))
		h->pace_work += fair;
	if (h->pace_work < SLOW_WINDOW * h->timing.timeout_min)
		return;
	if (pace(h) * 2 < h->last_pace && something_waits(h)) {
		if (still_valid(h, pool_oldest(&h->pool)))
			suspect(h, REASON_SLOW);
	} else if (h->pace_work >= 2 * SLOW_WINDOW * h->timing.timeout_min) {
		/* A new window, held against this one; but with work waiting, against the best:
		 * or it could become slower by a little each time. */
		if (pace(h) > h->last_pace || !something_waits(h) || MUTANT(MUTANT_PACE_ERODES))
			h->last_pace = pace(h);
		h->pace_ordered = h->pace_work = 0;
	}
}

/* What a partition or a full queue has lost is told again, one culprit at a time. */
static void tell_proofs_again(struct hybrid *h)
{
	if (h->now < h->proof_told_at + h->timing.timeout_cap)
		return;
	for (unsigned i = 1; i <= h->n; i++) {
		unsigned culprit = (h->proof_told + i) % h->n;
		const struct pending_proof *p = &h->proof[culprit];
		if (!p->bytes)
			continue;
		h->proof_told_at = h->now;
		h->proof_told = culprit;
		msg_evidence_encode(
			emit_message(&h->out, mask_all(h), CLASS_BULK, MSG_EVIDENCE),
			slice_of(p->bytes, p->size));
		return;
	}
}

void suspect_tick(struct hybrid *h)
{
	tell_proofs_again(h);
	if (h->quorum.f == 0 || !in_accepted_term(h) || h->tc.leader == h->self ||
	    h->role == ROLE_LEADER || !leader_is_heard(h)) {
		fair_time_restarts(h);
		return;
	}
	uint64_t fair = fair_time(h);
	h->counters[COUNT_FAIR_US] += fair;
	watch_for_censorship(h, fair);
	watch_pace(h, fair);
}

/* ---- E3: timeouts in a row ----------------------------------------------------------------*/

/* Counts only those in which we heard messages from qv replicas: who is cut off suspects
 * itself; and only whole ones. [I16] */
void count_timeout(struct hybrid *h)
{
	if (!holds_work(h)) {
		h->counted_timeouts = 0;
		return;
	}
	unsigned heard = 1;
	for (unsigned i = 0; i < h->n; i++)
		heard += i != h->self && h->heard[i] && h->heard[i] >= h->counted_at;
	if (heard < h->quorum.qv && !MUTANT(MUTANT_E3_ALONE))
		return;
	/* Who was refused asks again soon (on_refusal()): that is no timeout. */
	if (h->counted_at && h->now < h->counted_at + h->timing.timeout_min &&
	    !MUTANT(MUTANT_RETRIES_COUNT))
		return;
	h->counted_at = h->now;
	h->counters[COUNT_TIMEOUTS_COUNTED]++;
	if (++h->counted_timeouts >= E3_TIMEOUTS)
		escalate(h, REASON_TIMEOUTS, h->term + 1);
}
