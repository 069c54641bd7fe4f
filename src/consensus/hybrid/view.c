/* View changes: signing them, following the claims of others, timers
 * (docs/consensus.md, "PBFT mode"). */
#include "consensus/hybrid/hybrid.h"

#define RESEND_HEARTBEATS 2 /* between two sendings of our unanswered view change */

void view_free(struct hybrid *h)
{
	for (unsigned i = 0; i < h->n; i++)
		view_change_free(&h->view[i].vc);
	for (unsigned i = 0; i < h->views_made; i++)
		term_cert_free(&h->views[i]);
	view_change_free(&h->signed_vc);
	term_cert_free(&h->spare_tc);
	position_free(&h->cut);
	mem_free(h->view);
	mem_free(h->views);
}

/* ---- claims ------------------------------------------------------------------------------ */

void note_claim(struct hybrid *h, unsigned from, uint64_t term)
{
	if (term > h->view[from].claimed)
		h->view[from].claimed = term;
}

/* Replicas, ourselves included, that are known to have signed in this term or above. */
static unsigned claims_from(const struct hybrid *h, uint64_t term)
{
	unsigned count = 0;
	for (unsigned i = 0; i < h->n; i++)
		count += i == h->self ? h->signed_term >= term : h->view[i].claimed >= term;
	return count;
}

/* The k-th highest term of view changes held, of others only or of all; 0 if there are not so
 * many. fast_only: counting just those that name our last mode entry, above our newest TC (E4).
 */
static uint64_t kth_highest(const struct hybrid *h, unsigned k, bool with_self, bool fast_only)
{
	uint64_t term[VALIDATORS_MAX];
	unsigned count = 0;
	for (unsigned i = 0; i < h->n; i++) {
		const struct view_slot *v = &h->view[i];
		if (v->state == VIEW_NONE || (i == h->self && !with_self))
			continue;
		if (fast_only &&
		    (v->vc.term <= h->tc.term || v->vc.last_mode_change != h->modes.changed))
			continue;
		unsigned at = count++;
		while (at > 0 && term[at - 1] < v->vc.term) {
			term[at] = term[at - 1];
			at--;
		}
		term[at] = v->vc.term;
	}
	return count >= k ? term[k - 1] : 0;
}

static void claims_entitlement(const struct hybrid *h, uint64_t term, struct entitlement *out)
{
	entitlement_init(out);
	out->kind = ENTITLED_CLAIMS;
	out->term = term;
	for (unsigned i = 0; i < h->n; i++)
		if (h->view[i].state != VIEW_NONE && h->view[i].vc.term >= term &&
		    out->claim_count < h->quorum.f + 1)
			out->claim[out->claim_count++] = h->view[i].claim;
}

void own_entitlement(const struct hybrid *h, struct entitlement *out)
{
	uint64_t by_claims = h->quorum.f ? kth_highest(h, h->quorum.f + 1, true, false) : 0;
	if (by_claims > h->term)
		by_claims = h->term;
	if (h->tc.term > h->ctx->start_term && h->tc.term >= h->entitlement.term &&
	    h->tc.term >= by_claims) {
		entitlement_init(out);
		out->kind = ENTITLED_TC;
		out->term = h->tc.term;
		term_cert_copy_ref(&out->tc, &h->tc);
	} else if (by_claims > h->entitlement.term) {
		claims_entitlement(h, by_claims, out);
	} else {
		entitlement_copy(out, &h->entitlement);
	}
}

/* What somebody shows to be entitled to a term above ours. */
void learn_entitlement(struct hybrid *h, unsigned from, const struct entitlement *e)
{
	if (e->term <= h->term)
		return;
	if (e->kind == ENTITLED_TC) {
		learn_tc(h, from, &e->tc);
		return;
	}
	if (h->observer || (leader_is_alive(h) && !h->timed_out_on_work))
		return;
	/* Grants can be hoarded, to end one view with each. */
	bool hoarded = e->kind == ENTITLED_GRANTS && in_pbft_mode(h) && h->grants_followed_at;
	if (hoarded && h->now < h->grants_followed_at + h->timing.timeout_min)
		return;
	if (entitlement_check(e, h->ctx, 0)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return;
	}
	if (e->kind == ENTITLED_GRANTS)
		h->grants_followed_at = h->now;
	election_stop(h);
	enter_term(h, e->term, e);
}

/* ---- signing ----------------------------------------------------------------------------- */

uint64_t next_pbft_term(struct hybrid *h, uint64_t term)
{
	for (unsigned i = 0; i < h->n; i++, term++) {
		if (!is_jailed(h, primary_of(term, h->n)) || MUTANT(MUTANT_JAILED_LEADS))
			return term;
		h->counters[COUNT_JAILED_SKIPPED]++;
	}
	return term;
}

/* Whether who is entitled to a term may be in, or ask for, the other: the same or the next one,
 * where view changes leave out those whose primaries are jailed. */
bool term_follows(struct hybrid *h, uint64_t entitled, uint64_t term)
{
	if (entitled < h->ctx->start_term && !MUTANT(MUTANT_EPOCH_UNENTITLED))
		entitled = h->ctx->start_term; /* given: who shows nothing is in it */
	return term == entitled || term == entitled + 1 ||
	       (term > entitled && term == next_pbft_term(h, entitled + 1) &&
		!MUTANT(MUTANT_LOST_BEYOND_JAIL));
}

static void broadcast_view_change(struct hybrid *h, uint64_t mask)
{
	struct msg_view_change m;
	m.vc = h->signed_vc; /* lent */
	own_entitlement(h, &m.entitlement);
	msg_view_change_encode(emit_message(&h->out, mask, CLASS_URGENT, MSG_VIEW_CHANGE), &m);
	entitlement_free(&m.entitlement);
	h->view_sent_at = h->now;
}

/* Our own is one of those that a NEW-VIEW may hold. */
static void hold_own(struct hybrid *h)
{
	struct view_slot *own = &h->view[h->self];
	view_change_free(&own->vc);
	view_change_copy(&own->vc, &h->signed_vc);
	view_change_claim(&own->claim, &own->vc);
	own->claimed = h->signed_term;
	own->state = VIEW_WAITING;
	h->new_view_tried = false;
}

bool send_view_change(struct hybrid *h, uint64_t term, enum escalation_reason reason)
{
	invariant(term >= h->term);
	if (h->observer)
		return false;
	if (h->signed_term >= term && !MUTANT(MUTANT_TWO_VOTES_A_TERM))
		return false;
	struct position p;
	if (!make_position(h, &p)) { /* finality has overtaken our tip: catch up first */
		h->position_missing_until = h->now + h->timing.heartbeat;
		fetch_from_anybody(h);
		return false;
	}
	struct entitlement why;
	own_entitlement(h, &why);
	election_stop(h);
	enter_term(h, term, NULL);
	if (why.term > h->entitlement.term && why.kind != ENTITLED_TC) {
		entitlement_free(&h->entitlement);
		entitlement_copy(&h->entitlement, &why);
	}
	entitlement_free(&why);
	h->signed_term = term;
	h->signed_is_vc = true;
	view_change_free(&h->signed_vc);
	h->signed_vc = (struct view_change){.term = term,
					    .reason = reason,
					    .position = p,
					    .has_stable = h->has_stable,
					    .last_mode_change = h->modes.changed,
					    .signer = (uint16_t)h->self};
	if (h->has_stable)
		h->signed_vc.stable = h->stable;
	view_change_sign(&h->signed_vc, h->ctx, &h->key);
	h->dirty[SLOT_TERM] = h->dirty[SLOT_VIEW] = true;
	h->counters[COUNT_VIEW_CHANGES]++;
	hold_own(h);
	broadcast_view_change(h, mask_all(h));
	h->view_timer = false;
	return true;
}

void view_recover(struct hybrid *h)
{
	if (h->signed_is_vc && h->signed_term == h->term && h->tc.term < h->term)
		hold_own(h);
}

/* ---- following others -------------------------------------------------------------------- */

/* f+1 replicas are ahead: at least one of them is correct. */
static void follow_claims(struct hybrid *h)
{
	if (h->observer)
		return;
	if (in_pbft_mode(h)) {
		uint64_t t = kth_highest(h, h->quorum.f + 1, false, false);
		if (t > h->term && !MUTANT(MUTANT_NO_CATCH_UP)) {
			struct entitlement why;
			claims_entitlement(h, t, &why);
			election_stop(h);
			enter_term(h, t, &why);
			entitlement_free(&why);
		}
		return;
	}
	uint64_t t = kth_highest(h, h->quorum.f + 1, false, true);
	if (t > h->tc.term) { /* E4 */
		h->counters[COUNT_ESCALATED_E4]++;
		escalate(h, REASON_JOIN, t > h->term ? t : h->term);
	}
}

/* One replica, two view changes for one term; or a vote that its view change hides. */
static void accuse(struct hybrid *h, const struct view_change *vc,
		   const struct view_claim *claim)
{
	const struct view_slot *held = &h->view[vc->signer];
	bool other = !hash_equal(&held->claim.digest, &claim->digest) ||
		     held->claim.reason != claim->reason ||
		     held->claim.last_mode_change != claim->last_mode_change;
	struct writer bytes = {0};
	struct evidence ev;
	if (held->state != VIEW_NONE && held->vc.term == vc->term && other &&
	    evidence_of_view_changes(&ev, &bytes, &held->vc, vc))
		take_proof(h, &ev);
	const struct vote *last = &h->last_prepare[vc->signer];
	writer_reset(&bytes);
	if (last->kind && last->ref.term < vc->term &&
	    position_compare(&vc->position.tip, &last->ref) <= 0 &&
	    !block_ref_equal(&vc->position.tip, &last->ref) &&
	    evidence_of_hidden_vote(&ev, &bytes, vc, last))
		take_proof(h, &ev);
	writer_free(&bytes);
}

static bool may_answer(struct hybrid *h, unsigned to)
{
	if (h->view_answered_at[to] &&
	    h->now < h->view_answered_at[to] + h->timing.heartbeat / 2)
		return false;
	h->view_answered_at[to] = h->now;
	return true;
}

/* What we have signed for our term, as a claim to it. */
static void show_claim(struct hybrid *h, uint64_t mask)
{
	if (h->signed_is_vc)
		broadcast_view_change(h, mask);
	else
		msg_term_vote_encode(emit_message(&h->out, mask, CLASS_URGENT, MSG_TERM_VOTE),
				     &h->signed_vote);
	h->view_sent_at = h->now;
}

/* A claim to a term that we are in, or past, without a TC: shows where we are. */
static void answer_claim(struct hybrid *h, unsigned to)
{
	if (h->signed_term && !h->observer && may_answer(h, to))
		show_claim(h, UINT64_C(1) << to);
}

void on_view_change(struct hybrid *h, unsigned from, struct msg_view_change *m)
{
	struct view_change *vc = &m->vc;
	if (h->quorum.f == 0 || vc->signer != from)
		return;
	struct view_claim claim;
	view_change_claim(&claim, vc);
	if (view_claim_check(&claim, h->ctx)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return;
	}
	accuse(h, vc, &claim);
	if (vc->has_stable)
		take_stable(h, &vc->stable); /* a leader may have kept it from us */
	if (vc->term <= h->tc.term) {	     /* stale */
		h->counters[COUNT_STALE_MESSAGES]++;
		keep_late_claim(h, from, &claim);
		if (may_answer(h, from))
			answer_with_tc(h, from);
		return;
	}
	note_claim(h, from, vc->term);
	learn_entitlement(h, from, &m->entitlement);
	struct view_slot *slot = &h->view[from];
	bool again = slot->state != VIEW_NONE && slot->vc.term >= vc->term;
	if (again && vc->term <= h->term)
		answer_claim(h, from);
	if (vc->last_mode_change < h->modes.changed && !in_pbft_mode(h) && may_answer(h, from))
		answer_with_tc(h, from); /* it does not know that mode is fast again */
	if (!again) {
		view_change_free(&slot->vc);
		slot->vc = *vc;
		slot->claim = claim;
		view_change_init(vc); /* moved */
		slot->state = VIEW_WAITING;
		h->new_view_tried = false;
	}
	if (!in_pbft_mode(h) && h->role == ROLE_LEADER && slot->vc.term > h->term)
		note_stray_claim(h, from, slot->vc.term);
	follow_claims(h);
}

/* ---- timers ------------------------------------------------------------------------------ */

bool view_waits(const struct hybrid *h)
{
	return in_pbft_mode(h) && !in_accepted_term(h) && !h->view_timer &&
	       !MUTANT(MUTANT_UNCAPPED_TIMER);
}

void view_timeout(struct hybrid *h)
{
	if (in_accepted_term(h) && h->tc.mode == MODE_FAST) {
		/* escalated in a fast term that stalls: k timeouts again */
		if (h->timeouts % E3_TIMEOUTS)
			return;
	}
	if (!in_accepted_term(h) && h->signed_term < h->term)
		return; /* signs for this term first: view_end_of_step() */
	send_view_change(h, next_pbft_term(h, h->term + 1),
			 h->escalated ? h->reason : REASON_NONE);
}

/* Once qv replicas have signed in our term or above, its primary's time runs. */
static void start_view_timer(struct hybrid *h)
{
	if (h->view_timer || in_accepted_term(h) || claims_from(h, h->term) < h->quorum.qv)
		return;
	h->view_timer = true;
	timer_restart(h);
}

uint64_t view_resend_at(const struct hybrid *h)
{
	bool shows = h->signed_is_vc || (in_pbft_mode(h) && !MUTANT(MUTANT_MUTE_VOTERS));
	if (!shows || h->observer || h->signed_term != h->term || h->tc.term >= h->term ||
	    MUTANT(MUTANT_VIEW_CHANGE_ONCE))
		return UINT64_MAX;
	return h->view_sent_at + RESEND_HEARTBEATS * h->timing.heartbeat;
}

/* Resent until answered: to those that have not claimed our term, and to its primary. The vote
 * of one that has escalated since is, too: it cannot sign a view change for its term any more,
 * and the term's time runs for nobody before qv have claimed it. [I14] */
static void resend(struct hybrid *h)
{
	if (h->now < view_resend_at(h))
		return;
	uint64_t mask = UINT64_C(1) << primary_of(h->term, h->n);
	for (unsigned i = 0; i < h->n; i++)
		if (h->view[i].claimed < h->term)
			mask |= UINT64_C(1) << i;
	mask &= mask_all(h);
	h->view_sent_at = h->now;
	if (mask)
		show_claim(h, mask);
}

void view_tick(struct hybrid *h)
{
	if (h->quorum.f == 0)
		return;
	resend(h);
}

void view_end_of_step(struct hybrid *h)
{
	if (h->quorum.f == 0)
		return;
	/* Who is escalated or in pbft mode and has entered a term by anything but a TC signs
	 * its view change for it at once. */
	if (in_pbft_mode(h) && h->term > h->tc.term && h->signed_term < h->term &&
	    h->now >= h->position_missing_until) {
		uint64_t t = next_pbft_term(h, h->term);
		send_view_change(h, t, h->escalated ? h->reason : REASON_NONE);
	}
	if (in_pbft_mode(h)) {
		validate_views(h);
		try_new_view(h);
		start_view_timer(h);
	}
}
