/* Elections: pre-votes, term votes by rules 1-3, refusals, and strays. */
#include "consensus/hybrid/hybrid.h"

/* Pre-votes are asked for again after this part of a heartbeat, and a round. */
#define ASK_AGAIN_DIVISOR 5

/* ---- what a candidate shows -------------------------------------------------------------- */

/* The newest header of the shown chain that needs no ancestors: the base of the tip's term, or
 * the stable checkpoint of that term if it is higher and on the chain. */
static uint64_t position_floor(const struct hybrid *h, bool *use_checkpoint)
{
	*use_checkpoint = h->has_stable && h->stable.ref.term == h->tip.term &&
			  h->stable.ref.height > h->tip_tc.base.height &&
			  log_contains(&h->log, &h->tip, &h->stable.ref) == 1;
	return *use_checkpoint ? h->stable.ref.height : h->tip_tc.base.height;
}

uint64_t shown_from(const struct hybrid *h)
{
	bool use_checkpoint;
	return position_floor(h, &use_checkpoint);
}

/* Drops final headers that no position of ours needs: below the stable checkpoint, unless our
 * tip must be shown from further below. */
void trim_headers(struct hybrid *h)
{
	bool from_checkpoint;
	uint64_t floor = position_floor(h, &from_checkpoint);
	log_trim_headers(&h->log, floor < h->stable.ref.height ? floor : h->stable.ref.height);
}

static bool collect_headers(const struct hybrid *h, struct position *p, uint64_t floor)
{
	uint64_t count = h->tip.height - floor;
	if (count > POSITION_HEADERS_MAX)
		return false;
	p->headers = mem_array(count ? count : 1, sizeof *p->headers);
	struct hash want = h->tip.hash;
	for (uint64_t height = h->tip.height; height > floor; height--) {
		const struct log_entry *e = log_find(&h->log, &want);
		const struct log_header *f = e ? NULL : log_final_header(&h->log, height);
		if (!e && (!f || !hash_equal(&f->hash, &want)))
			return false; /* our tip was cut off by finality */
		const struct signed_header *sh = e ? &e->block->sh : &f->sh;
		p->headers[p->header_count++] = *sh;
		want = sh->h.prev;
	}
	return true;
}

/* The mutant that shows less than it voted for: only its newest QC's block. */
static bool hide_tip(struct hybrid *h, struct position *out)
{
	struct block_ref tip = h->tip;
	if (!h->has_qc || h->qc.ref.term != tip.term || block_ref_equal(&h->qc.ref, &tip) ||
	    log_contains(&h->log, &tip, &h->qc.ref) != 1)
		return false;
	out->tip = h->tip = h->qc.ref;
	out->has_qc = true;
	out->qc = h->qc;
	term_cert_copy_ref(&out->tc, &h->tip_tc);
	uint64_t floor = position_floor(h, &out->has_checkpoint);
	if (out->has_checkpoint)
		out->checkpoint = h->stable;
	bool shown = out->tip.height >= floor && collect_headers(h, out, floor);
	h->tip = tip;
	return shown;
}

static void position_copy(struct position *out, const struct position *p)
{
	*out = *p;
	term_cert_copy_ref(&out->tc, &p->tc);
	out->headers = mem_dup(p->headers, p->header_count * sizeof *p->headers);
}

/* An honest replica may have voted for what an equivocating leader's other blocks then made
 * void, or lag behind by a term. Its view changes must go on to show that vote, or it would be
 * taken for a liar; and without a position it could send none at all. */
void keep_cut_tip(struct hybrid *h)
{
	struct position p;
	if (MUTANT(MUTANT_CUT_TIP_LOST))
		return;
	if ((h->has_cut && block_ref_equal(&h->cut.tip, &h->tip)) || !make_position(h, &p))
		return;
	position_free(&h->cut);
	h->cut = p;
	h->has_cut = true;
	h->dirty[SLOT_CUT] = true;
	h->want_sync = true; /* in one batch with the certificate that cuts it off */
}

bool make_position(struct hybrid *h, struct position *out)
{
	position_init(out);
	if (MUTANT(MUTANT_HIDE_TIP) && hide_tip(h, out))
		return true;
	position_init(out);
	out->tip = h->tip;
	term_cert_copy_ref(&out->tc, &h->tip_tc);
	if (h->tip.term == h->ctx->start_term)
		return true;
	if (h->has_qc && h->qc.ref.term == h->tip.term) {
		out->has_qc = true;
		out->qc = h->qc;
	}
	uint64_t floor = position_floor(h, &out->has_checkpoint);
	if (out->has_checkpoint)
		out->checkpoint = h->stable;
	if (h->tip.height >= floor && collect_headers(h, out, floor))
		return true;
	position_free(out);
	if (!h->has_cut || !block_ref_equal(&h->cut.tip, &h->tip))
		return false;
	position_copy(out, &h->cut);
	return true;
}

/* ---- the candidate's side ---------------------------------------------------------------- */

void election_stop(struct hybrid *h)
{
	h->election.phase = ELECTION_NONE;
	entitlement_free(&h->election.grants);
}

/* Whoever hears its leader, or as leader its quorum, and holds nothing against it, has no reason
 * to ask for pre-votes any more: those that are late, or were held back, would depose it. A
 * leader's rescue of a stray is another matter. And in pbft mode there are no elections: who
 * entered a term by one could not sign its view change there. */
void election_end_of_step(struct hybrid *h)
{
	struct election *e = &h->election;
	if (e->phase != ELECTION_PRE_VOTE)
		return;
	bool escalated = in_pbft_mode(h) && !MUTANT(MUTANT_PRE_VOTE_IN_PBFT);
	if (!escalated && (e->rescue || h->timed_out_on_work || !leader_is_alive(h) ||
			   MUTANT(MUTANT_PRE_VOTE_STAYS)))
		return;
	election_stop(h);
	if (h->role == ROLE_CANDIDATE)
		h->role = ROLE_FOLLOWER;
}

static void send_request(struct hybrid *h, bool pre, const struct entitlement *why,
			 const struct refusal_proof *refusal)
{
	struct msg_vote_request m = {.term = h->election.term, .entitlement = *why};
	if (!make_position(h, &m.position)) {
		election_stop(h);
		fetch_from_anybody(h);
		return;
	}
	m.has_refusal = refusal != NULL;
	if (refusal)
		m.refusal = *refusal;
	m.has_final = h->final_cert.kind != 0;
	if (m.has_final)
		m.final = h->final_cert;
	enum message_type type = pre ? MSG_PRE_VOTE_REQUEST : MSG_VOTE_REQUEST;
	msg_vote_request_encode(emit_message(&h->out, mask_all(h), CLASS_URGENT, type), type,
				&m);
	position_free(&m.position);
}

static bool add_grant(struct entitlement *set, const struct grant *g)
{
	uint32_t at = 0;
	while (at < set->grant_count && set->grant[at].signer < g->signer)
		at++;
	if (at < set->grant_count && set->grant[at].signer == g->signer)
		return false;
	memmove(&set->grant[at + 1], &set->grant[at],
		(set->grant_count - at) * sizeof set->grant[0]);
	set->grant[at] = *g;
	set->grant_count++;
	return true;
}

static void add_term_vote(struct hybrid *h, const struct term_vote *v);

static void sign_own_vote(struct hybrid *h, uint16_t leader, const struct block_ref *base)
{
	invariant(h->signed_term < h->term || MUTANT(MUTANT_TWO_VOTES_A_TERM));
	h->signed_term = h->term;
	h->signed_is_vc = false;
	h->signed_vote = (struct term_vote){
		.term = h->term, .leader = leader, .base = *base, .signer = (uint16_t)h->self};
	term_vote_sign(&h->signed_vote, h->ctx, &h->key);
	h->voted_at = h->now;
	h->dirty[SLOT_TERM] = true;
}

/* Whom we have just voted for, or are asking for ourselves, may lead already: a pre-vote for
 * another would depose it before it has said a word. */
static bool awaits_elected(const struct hybrid *h, unsigned from)
{
	return h->voted_at && h->now < h->voted_at + h->timing.timeout_min / 2 &&
	       h->signed_term == h->term && !h->signed_is_vc && h->tc.term < h->term &&
	       h->signed_vote.leader != from;
}

/* q pre-votes are in: enter the term that they entitle to, and ask for real votes. */
static void ask_for_votes(struct hybrid *h)
{
	struct election *e = &h->election;
	bool rescue = e->rescue;
	uint64_t stray_term = e->term - 1;
	struct refusal_proof refusal = {0};
	if (rescue)
		for (unsigned i = 0; i < h->n; i++)
			if (h->stray[i].since && (h->stray[i].proof.term == stray_term ||
						  h->stray[i].proof.term == e->term))
				refusal = h->stray[i].proof;
	struct entitlement grants;
	entitlement_copy(&grants, &e->grants);
	enter_term(h, e->term, &grants);
	h->role = ROLE_CANDIDATE;
	e->phase = ELECTION_VOTE;
	e->base = h->tip;
	e->signers = 0;
	e->vote_count = 0;
	sign_own_vote(h, (uint16_t)h->self, &h->tip);
	send_request(h, false, &grants, rescue ? &refusal : NULL);
	entitlement_free(&grants);
	e->own_seq = emit_seq(&h->out); /* this step's writes hold our own vote */
	flush_state(h);
}

static uint64_t first_wait(const struct hybrid *h)
{
	return h->timing.heartbeat / ASK_AGAIN_DIVISOR + h->round_us + 1;
}

static void ask_again_after(struct hybrid *h, uint64_t wait)
{
	h->election.again_at = h->now + wait;
	h->election.again_wait = first_wait(h);
}

static void start_pre_vote(struct hybrid *h, uint64_t term, const struct entitlement *why,
			   const struct refusal_proof *refusal)
{
	struct election *e = &h->election;
	election_stop(h);
	e->phase = ELECTION_PRE_VOTE;
	e->began = h->now;
	ask_again_after(h, first_wait(h));
	e->term = term;
	e->rescue = refusal != NULL;
	e->grants.kind = ENTITLED_GRANTS;
	e->grants.term = term;
	e->grants.candidate = (uint16_t)h->self;
	if (h->role == ROLE_FOLLOWER)
		h->role = ROLE_CANDIDATE;
	h->counters[COUNT_ELECTIONS_STARTED]++;
	struct grant own = {.term = term,
			    .candidate = (uint16_t)h->self,
			    .newest_tc = h->tc.term,
			    .signer = (uint16_t)h->self};
	grant_sign(&own, h->ctx, &h->key);
	add_grant(&e->grants, &own);
	send_request(h, true, why, refusal);
	if (e->phase == ELECTION_PRE_VOTE && e->grants.grant_count >= certificate_quorum(h))
		ask_for_votes(h);
}

void campaign(struct hybrid *h)
{
	struct entitlement why;
	if (h->observer)
		return;
	own_entitlement(h, &why);
	start_pre_vote(h, h->term + 1, &why, NULL);
	entitlement_free(&why);
}

void campaign_now(struct hybrid *h)
{
	const struct election *e = &h->election;
	if (e->phase == ELECTION_PRE_VOTE && !e->rescue && e->term == h->term + 1)
		ask_again_after(h, 0);
	else
		campaign(h);
}

uint64_t election_wake_at(const struct hybrid *h)
{
	const struct election *e = &h->election;
	if (e->phase != ELECTION_PRE_VOTE || e->rescue || MUTANT(MUTANT_ASKS_ONCE))
		return UINT64_MAX;
	return e->again_at;
}

/* Who has heard the leader a moment later than we, or of its resignation, says nothing to our
 * request and would grant the next one. It is made again, a few times only, as all others check
 * what it shows: for about as long as a heartbeat may be late. Then it is our timer's turn. */
void election_tick(struct hybrid *h)
{
	struct election *e = &h->election;
	if (h->now < election_wake_at(h))
		return;
	e->again_wait *= 2;
	bool enough = e->again_wait > h->timing.heartbeat + 2 * h->round_us;
	e->again_at = enough ? UINT64_MAX : h->now + e->again_wait;
	struct entitlement why;
	own_entitlement(h, &why);
	send_request(h, true, &why, NULL);
	entitlement_free(&why);
}

/* Grants that name an older TC than this do not count. The rule keeps hoarded
 * pre-votes from disturbing a leader; who has no live leader takes any, or replicas that
 * entered terms by grants older than the newest TC could never be followed
 * (docs/decisions/0003-stale-grants.md). */
static uint64_t oldest_grant(const struct hybrid *h)
{
	return leader_is_alive(h) && !h->timed_out_on_work ? h->tc.term : 0;
}

void on_pre_vote(struct hybrid *h, unsigned from, const struct grant *g)
{
	struct election *e = &h->election;
	if (e->phase != ELECTION_PRE_VOTE || g->term != e->term || g->candidate != h->self ||
	    g->signer != from || g->newest_tc < oldest_grant(h)) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	if (grant_check(g, h->ctx)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return;
	}
	if (add_grant(&e->grants, g) && e->grants.grant_count >= certificate_quorum(h))
		ask_for_votes(h);
}

static void become_leader(struct hybrid *h)
{
	struct election *e = &h->election;
	struct term_cert tc;
	term_cert_init(&tc);
	tc.mode = MODE_FAST;
	tc.term = e->term;
	tc.leader = (uint16_t)h->self;
	tc.base = e->base;
	tc.signers = e->signers;
	for (unsigned i = 0; i < h->n; i++)
		if (e->signers >> i & 1)
			tc.sig[tc.count++] = e->sig[i];
	uint64_t led_before = h->led_before_restart;
	bool accepted = accept_tc(h, &tc);
	invariant(accepted);
	h->counters[COUNT_RESTARTED_LEADER]--; /* accept_tc() took it for an old one of ours */
	h->led_before_restart = led_before;
	h->counters[COUNT_ELECTIONS_WON]++;
	uint64_t voters = tc.signers;
	term_cert_free(&tc);
	for (unsigned i = 0; i < h->n; i++)
		h->heard_in_term[i] = voters >> i & 1 ? h->now : 0;
	lead_begin(h);
}

static void add_term_vote(struct hybrid *h, const struct term_vote *v)
{
	struct election *e = &h->election;
	if (e->signers >> v->signer & 1)
		return;
	keep_term_vote(h, v);
	e->signers |= UINT64_C(1) << v->signer;
	e->sig[v->signer] = v->sig;
	if (++e->vote_count >= certificate_quorum(h))
		become_leader(h);
}

/* A term vote that its signer's other statements forbid; and a claim to its term. */
static void accuse_term_voter(struct hybrid *h, unsigned from, const struct term_vote *v)
{
	const struct view_slot *view = &h->view[from];
	const struct vote *last = &h->last_prepare[from];
	bool both = view->state != VIEW_NONE && view->vc.term == v->term;
	bool low = last->kind && last->ref.term < v->term && v->base.term < last->ref.term;
	bool claim = h->quorum.f && v->term > view->claimed && v->term > h->tc.term;
	if (v->signer != from || (!both && !low && !claim) || term_vote_check(v, h->ctx))
		return;
	note_claim(h, from, v->term);
	keep_term_vote(h, v);
	struct writer bytes = {0};
	struct evidence ev;
	if (both && evidence_of_both(&ev, &bytes, v, &view->vc))
		take_proof(h, &ev);
	writer_reset(&bytes);
	if (low && evidence_of_low_base(&ev, &bytes, v, last))
		take_proof(h, &ev);
	writer_free(&bytes);
}

void on_term_vote(struct hybrid *h, unsigned from, const struct term_vote *v)
{
	struct election *e = &h->election;
	accuse_term_voter(h, from, v);
	if (e->phase != ELECTION_VOTE || v->term != e->term || v->term != h->term ||
	    v->leader != h->self || v->signer != from || !block_ref_equal(&v->base, &e->base)) {
		h->counters[COUNT_STALE_MESSAGES]++;
		keep_late_term_vote(h, from, v);
		return;
	}
	if (term_vote_check(v, h->ctx)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return;
	}
	add_term_vote(h, v);
}

void election_durable(struct hybrid *h)
{
	struct election *e = &h->election;
	if (e->phase != ELECTION_VOTE || !e->own_seq || h->durable_seq < e->own_seq)
		return;
	e->own_seq = 0;
	if (h->signed_term == e->term && !h->signed_is_vc && h->signed_vote.leader == h->self)
		add_term_vote(h, &h->signed_vote);
}

/* ---- the voter's side -------------------------------------------------------------------- */

/* Which of rules 1-3 admits the candidate's (valid) position; 0: none.
 * [S3] Raft's up-to-date rule with "longer" replaced by "extends". */
static int rule_admits(const struct hybrid *h, const struct position *c)
{
	if (c->tip.term > h->tip.term)
		return 1;
	if (c->tip.term < h->tip.term)
		return 0;
	if (MUTANT(MUTANT_LONGER_LOG))
		return c->tip.height >= h->tip.height ? 2 : 0;
	if (position_extends(c, &h->tip))
		return 2;
	/* A stable checkpoint serves as a QC. What cannot be told any more counts as ancestor.
	 */
	if (c->has_qc && c->qc.ref.term == h->tip.term &&
	    log_contains(&h->log, &h->tip, &c->qc.ref) == 0)
		return 3;
	if (c->has_checkpoint && c->checkpoint.ref.term == h->tip.term &&
	    log_contains(&h->log, &h->tip, &c->checkpoint.ref) == 0)
		return 3;
	return 0;
}

void send_refusal(struct hybrid *h, unsigned to, uint64_t for_term)
{
	if (h->observer)
		return;
	if (h->refused_at[to] && h->now < h->refused_at[to] + h->timing.heartbeat / 2)
		return;
	h->refused_at[to] = h->now;
	struct msg_refusal m = {
		.proof = {.term = h->term, .for_term = for_term, .signer = (uint16_t)h->self},
		.final_height = h->log.final->sh.h.height};
	refusal_sign(&m.proof, h->ctx, &h->key);
	own_entitlement(h, &m.entitlement);
	msg_refusal_encode(emit_message(&h->out, UINT64_C(1) << to, CLASS_URGENT, MSG_REFUSAL),
			   &m);
	entitlement_free(&m.entitlement);
}

/* Each rescue costs an election: a stray that comes and goes is rescued ever more rarely, but
 * not never. In timeouts. */
#define STRAY_SPACING_MAX 64

/* Our own leader asks for a new term because a stray refused it: heard once per K blocks, or,
 * as an idle network makes none, as often as a leader may ask for the same stray. It is
 * nobody's stray itself: its patience with us would begin anew with each term that it so gave
 * itself. */
static bool rescue_is_due(struct hybrid *h, unsigned from, const struct msg_vote_request *m)
{
	bool own = m->refusal.signer == from && !MUTANT(MUTANT_RESCUE_ONESELF);
	if (!m->has_refusal || from != current_leader(h) || own || m->refusal.signer >= h->n ||
	    is_jailed(h, m->refusal.signer) ||
	    (m->term != m->refusal.term + 1 && m->term != m->refusal.term) ||
	    m->refusal.term <= h->term || refusal_check(&m->refusal, h->ctx))
		return false;
	if (m->term == h->rescue_accepted_term)
		return true; /* the vote that follows the pre-vote */
	uint64_t height = h->log.final->sh.h.height;
	if (h->rescue_accepted_term &&
	    height < h->rescue_accepted_height + h->checkpoint_interval &&
	    h->now < h->rescue_accepted_at + STRAY_SPACING_MAX * h->timing.timeout_min)
		return false;
	h->rescue_accepted_at = h->now;
	h->rescue_accepted_term = m->term;
	h->rescue_accepted_height = height;
	return true;
}

/* Everything but the position: may a statement for this request be signed at all? */
static bool may_consider(struct hybrid *h, unsigned from, const struct msg_vote_request *m,
			 bool pre)
{
	if (in_pbft_mode(h)) { /* who knows that mode is fast again shows it */
		if (m->has_final && m->final.ref.height > h->log.final->sh.h.height) {
			take_cert(h, &m->final);
			fetch_from(h, from);
		}
		h->counters[COUNT_PRE_VOTE_REFUSED]++;
		send_refusal(h, from, m->term);
		return false;
	}
	if (is_jailed(h, from) && !MUTANT(MUTANT_JAILED_LEADS)) {
		h->counters[COUNT_PRE_VOTE_REFUSED]++;
		return false;
	}
	if (pre && awaits_elected(h, from)) {
		h->counters[COUNT_PRE_VOTE_IGNORED]++;
		return false;
	}
	if (leader_is_alive(h) && !h->timed_out_on_work && !rescue_is_due(h, from, m)) {
		h->counters[COUNT_PRE_VOTE_IGNORED]++;
		return false;
	}
	bool signed_other = h->signed_term == m->term &&
			    (h->signed_is_vc || h->signed_vote.leader != from) &&
			    !MUTANT(MUTANT_TWO_VOTES_A_TERM);
	if (m->term < h->term || m->term <= h->tc.term ||
	    (m->term == h->term && signed_other)) {
		h->counters[COUNT_PRE_VOTE_REFUSED]++;
		send_refusal(h, from, m->term);
		return false;
	}
	const struct entitlement *why = &m->entitlement;
	if (pre) {
		if (m->term - 1 <= h->term)
			return true;
		if (why->term != m->term - 1 &&
		    !(m->has_refusal && term_follows(h, why->term, m->term)))
			return false;
	} else if (why->kind != ENTITLED_GRANTS || why->term != m->term ||
		   why->candidate != from) {
		return false;
	}
	if (pre && why->kind == ENTITLED_TC) {
		learn_tc(h, from, &why->tc);
		return h->tc.term >= why->term || why->tc.mode == MODE_FAST;
	}
	/* of any age: with a live leader only its own rescue of a stray comes so far */
	if (entitlement_check(why, h->ctx, 0)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return false;
	}
	return true;
}

/* The candidate's log is behind ours and no leader is alive: we are the better candidate. */
static void hasten_own_campaign(struct hybrid *h)
{
	if (leader_is_alive(h) || h->role != ROLE_FOLLOWER)
		return;
	uint64_t soon = h->now + random_below(&h->random, h->timing.timeout_min / 4 + 1);
	if (soon < h->timer_at)
		timer_set(h, soon);
}

static void grant_pre_vote(struct hybrid *h, unsigned to, uint64_t term)
{
	struct grant g = {.term = term,
			  .candidate = (uint16_t)to,
			  .newest_tc = h->tc.term,
			  .signer = (uint16_t)h->self};
	grant_sign(&g, h->ctx, &h->key);
	msg_pre_vote_encode(
		emit_message(&h->out, UINT64_C(1) << to, CLASS_URGENT, MSG_PRE_VOTE), &g);
}

static void grant_vote(struct hybrid *h, unsigned to, const struct msg_vote_request *m,
		       int rule)
{
	invariant(!(h->signed_term == h->term && h->signed_is_vc));
	if (h->signed_term < h->term || MUTANT(MUTANT_TWO_VOTES_A_TERM)) {
		sign_own_vote(h, (uint16_t)to, &m->position.tip);
		h->counters[rule == 1	? COUNT_RULE_1
			    : rule == 2 ? COUNT_RULE_2
					: COUNT_RULE_3]++;
	}
	/* Asked again: resent byte for byte. */
	msg_term_vote_encode(
		emit_message(&h->out, UINT64_C(1) << to, CLASS_URGENT, MSG_TERM_VOTE),
		&h->signed_vote);
}

/* A request may show thousands of headers, and certificates of many signatures each: its sender
 * waits some times longer than checking those that we did not know has taken us. */
#define HEADER_CHECK_PAID 400

static uint64_t certificate_checks(const struct hybrid *h, const struct position *p)
{
	unsigned certs = (p->tc.mode == MODE_FAST) + p->has_qc + p->has_checkpoint;
	return (uint64_t)certs * certificate_quorum(h);
}

void on_vote_request(struct hybrid *h, unsigned from, struct msg_vote_request *m, bool pre)
{
	if (h->observer) { /* no vote; but what it shows to be final is news */
		if (m->has_final && m->final.ref.height > h->log.final->sh.h.height) {
			take_cert(h, &m->final);
			fetch_from(h, from);
		}
		return;
	}
	if (m->term == 0 || !may_consider(h, from, m, pre))
		return;
	bool leaps =
		pre && m->term > h->term + 1; /* a term each round trip, were there no limit */
	if (leaps && h->pre_vote_at[from] &&
	    h->now < h->pre_vote_at[from] + h->timing.heartbeat)
		return;
	if (!pre && m->term > h->term) {
		election_stop(h);
		enter_term(h, m->term, &m->entitlement);
	}
	uint64_t *paid = &h->position_paid[pre][from]; /* a vote follows a pre-vote at once */
	if (*paid > h->now + h->timing.timeout_min) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	struct view_lookup look;
	struct missing missing = {0};
	uint64_t checks = h->header_checks;
	int err = position_check(&m->position, m->term, h->ctx, &h->genesis_hash,
				 view_lookup_of(h, &look), &missing);
	*paid = (*paid > h->now ? *paid : h->now) +
		(h->header_checks - checks + certificate_checks(h, &m->position)) *
			HEADER_CHECK_PAID;
	if (err == ERR_NOT_FOUND) {
		need_missing(h, from, &missing);
		return;
	}
	if (err) {
		h->counters[COUNT_POSITION_INVALID]++;
		return;
	}
	if (m->position.has_checkpoint)
		take_stable(h, &m->position.checkpoint);
	if (m->position.tc.term < m->term)
		learn_tc(h, from,
			 &m->position.tc); /* else our grants would name an older one */
	int rule = rule_admits(h, &m->position);
	if (!rule) {
		h->counters[COUNT_RULE_REFUSED]++;
		h->counters[COUNT_PRE_VOTE_REFUSED] += pre;
		send_refusal(h, from, m->term);
		hasten_own_campaign(h);
		return;
	}
	if (leaps)
		h->pre_vote_at[from] = h->now;
	if (pre)
		grant_pre_vote(h, from, m->term);
	else
		grant_vote(h, from, m, rule);
}

/* ---- refusals and strays ----------------------------------------------------------------- */

static void note_stray(struct hybrid *h, unsigned from, const struct msg_refusal *m)
{
	if (!h->stray[from].since)
		h->stray[from].since = h->now;
	if (m->proof.term >= h->stray[from].proof.term) {
		entitlement_free(&h->stray[from].entitlement);
		entitlement_copy(&h->stray[from].entitlement, &m->entitlement);
		h->stray[from].proof = m->proof;
	}
}

/* A view change above our term starts the clock; the refusal that our next heartbeat brings has
 * what followers want to see. */
void note_stray_claim(struct hybrid *h, unsigned from, uint64_t term)
{
	if (h->stray[from].since || term <= h->term)
		return;
	h->stray[from].since = h->now;
	h->stray[from].proof.term = 0;
}

void on_refusal(struct hybrid *h, unsigned from, const struct msg_refusal *m)
{
	if (m->proof.signer != from || refusal_check(&m->proof, h->ctx)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return;
	}
	if (m->final_height > h->log.final->sh.h.height)
		fetch_from(h, from);
	const struct entitlement *why = &m->entitlement;
	bool stray_of_ours = h->role == ROLE_LEADER && m->proof.term > h->term;
	if (m->proof.term <= h->term || (why->term <= h->term && !stray_of_ours) ||
	    !term_follows(h, why->term, m->proof.term))
		return;
	if (why->kind == ENTITLED_TC) {
		if (h->role == ROLE_LEADER && quorum_heard(h) && why->term <= h->term)
			note_stray(h, from, m);
		else
			learn_tc(h, from, &why->tc);
		return;
	}
	if (h->observer)
		return; /* terms are entered with their certificates only */
	/* A stray may have entered its term by grants older than the newest certificate, which
	 * it had not seen: its leader must be able to rescue it all the same. */
	bool leads = h->role == ROLE_LEADER && quorum_heard(h);
	if (entitlement_check(why, h->ctx, leads ? 0 : oldest_grant(h))) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	if (leads) {
		note_stray(h, from, m);
		return;
	}
	if (why->term < h->term || (leader_is_alive(h) && !h->timed_out_on_work))
		return;
	election_stop(h);
	enter_term(h, why->term, why);
	/* The next request will be for a term that can be granted: do not wait a whole timeout.
	 */
	uint64_t soon = h->now + random_below(&h->random, h->timing.timeout_min / 2 + 1);
	if (soon < h->timer_at && !in_accepted_term(h))
		timer_set(h, soon);
}

void rescue_strays(struct hybrid *h)
{
	/* Nothing else ends a leader's pre-vote that came to nothing, its request lost or
	 * refused: followers that hear it keep it from timing out. */
	if (h->election.phase != ELECTION_NONE &&
	    (h->now < h->election.began + h->timing.timeout_min || MUTANT(MUTANT_RESCUE_ONCE)))
		return;
	for (unsigned i = 0; i < h->n; i++) {
		if (!h->stray[i].since)
			continue;
		if (!h->stray[i].proof.term)
			continue;
		if (h->stray[i].proof.term <= h->term) {
			h->stray[i].since = 0;
			continue;
		}
		uint64_t due = h->stray[i].since + 2 * h->timing.timeout_min;
		if (h->now < due || h->now < h->stray[i].next || is_jailed(h, i) ||
		    !term_follows(h, h->stray[i].entitlement.term, h->stray[i].proof.term))
			continue;
		uint64_t spacing = h->stray[i].spacing ? 2 * h->stray[i].spacing
						       : 4 * h->timing.timeout_min;
		if (spacing > STRAY_SPACING_MAX * h->timing.timeout_min)
			spacing = STRAY_SPACING_MAX * h->timing.timeout_min;
		h->stray[i].spacing = spacing;
		h->stray[i].next = h->now + spacing;
		h->counters[COUNT_STRAY_RESCUED]++;
		/* It votes in the term that it has only asked for, or shown a view change for.
		 */
		uint64_t term = h->stray[i].proof.term;
		term += h->stray[i].entitlement.term == term;
		start_pre_vote(h, term, &h->stray[i].entitlement, &h->stray[i].proof);
		return;
	}
}
