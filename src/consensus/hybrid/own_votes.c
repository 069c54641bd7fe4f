/* Against the operator who puts an old copy of the data directory back: a replica that begins
 * asks the others for the newest of its own votes, and takes no part before a quorum, itself
 * one of them, has answered [I20]. What others can show has its own signature; what its disk
 * does not know of was signed after the copy was made, and it never votes with this key again.
 *
 * Until then it is an observer, which follows, serves and forwards, and signs nothing [I15].
 * What is above the tip that its disk had when it began, or of a term above those that it has
 * signed for, is all that matters; what it has followed meanwhile makes an old copy no newer.
 */
#include "consensus/hybrid/hybrid.h"

static uint64_t answers_wanted(const struct hybrid *h)
{
	return h->quorum.q - 1;
}

void own_votes_begin(struct hybrid *h)
{
	if (answers_wanted(h) == 0 || h->observer)
		return;
	h->asks = h->asking = h->observer = true;
	h->knew_tip = h->tip;
	h->knew_qc = h->tip.height <= h->log.final->sh.h.height ||
		     (h->has_qc && position_compare(&h->qc.ref, &h->tip) >= 0);
	h->ask_nonce = random_u64(&h->random);
	h->ask_began = h->now;
	observer_begins(h);
}

/* Where no leader is heard the time that it has asked for is time that it has waited for one:
 * else who waits for the last answer would be late for the election, too. */
static void takes_part(struct hybrid *h)
{
	uint64_t waited = h->now - h->ask_began;
	h->asking = h->observer = false;
	h->out.withheld = 0;
	timer_restart(h);
	if (!leader_is_heard(h))
		timer_set(h, h->timer_at - (waited < h->timing.timeout_min
						    ? waited
						    : h->timing.timeout_min));
	pbft_resume_leading(h);
	try_vote(h);
}

unsigned own_votes_missing(const struct hybrid *h)
{
	unsigned wanted = (unsigned)answers_wanted(h);
	unsigned got = (unsigned)__builtin_popcountll(h->answered);
	return h->asking && got < wanted ? wanted - got : 0;
}

/* In fast mode the leader alone has all votes: whoever still answers is waited for a little
 * longer than for the quorum. */
void own_votes_tick(struct hybrid *h)
{
	if (!h->asking)
		return;
	if (!own_votes_missing(h) && h->now >= h->answers_by) {
		takes_part(h);
		return;
	}
	if (h->now < h->ask_at)
		return;
	h->ask_at = h->now + h->timing.heartbeat;
	msg_ask_votes_encode(emit_message(&h->out, mask_all(h) & ~h->answered, CLASS_CONSENSUS,
					  MSG_ASK_VOTES),
			     h->ask_nonce);
}

/* ---- the others ---------------------------------------------------------------------------
 */

/* Of one place a COMMIT says more. */
void newer_vote(struct vote *newest, const struct vote *v)
{
	int order = newest->kind ? position_compare(&newest->ref, &v->ref) : -1;
	if (order < 0 || (order == 0 && v->kind == VOTE_COMMIT))
		*newest = *v;
}

/* Its place among the signatures of a certificate, which has those of its signers only. */
static const struct signature *signature_of(const struct signature *sig, uint64_t signers,
					    unsigned who)
{
	uint64_t below = who ? signers & (UINT64_MAX >> (64 - who)) : 0;
	return signers >> who & 1 ? &sig[__builtin_popcountll(below)] : NULL;
}

static void vote_in_cert(const struct cert *c, unsigned of, struct vote *newest)
{
	const struct signature *sig = signature_of(c->sig, c->signers, of);
	if (!c->kind || c->kind == CERT_CHECKPOINT || !sig)
		return;
	struct vote v;
	vote_begin(&v, cert_vote_kind(c->kind), &c->ref, of);
	v.sig = *sig;
	newer_vote(newest, &v);
}

void keep_votes_of_cert(struct hybrid *h, const struct cert *c, uint64_t but)
{
	for (uint64_t who = c->signers & ~but; who; who &= who - 1) {
		unsigned i = (unsigned)__builtin_ctzll(who);
		if (i < h->n)
			vote_in_cert(c, i, &h->seen[i].vote);
	}
}

void keep_votes_of_tally(struct hybrid *h, const struct tally *t)
{
	for (uint64_t who = t->signers; who; who &= who - 1) {
		unsigned i = (unsigned)__builtin_ctzll(who);
		struct vote v;
		vote_begin(&v, t->kind, &t->ref, i);
		v.sig = t->sig[i];
		newer_vote(&h->seen[i].vote, &v);
	}
}

/* What is final, or of an older term, needs no more votes, so this one's signature is checked
 * when it is asked for, not before. The slowest of all may have no vote in any certificate.
 * Above our tip anything could be said, and what is true would not replace it. */
void keep_late_vote(struct hybrid *h, unsigned from, const struct vote *v)
{
	if (v->signer == from && position_compare(&v->ref, &h->tip) <= 0 &&
	    !MUTANT(MUTANT_LATE_VOTES_LOST))
		newer_vote(&h->seen[from].late, v);
}

void keep_late_term_vote(struct hybrid *h, unsigned from, const struct term_vote *v)
{
	if (v->signer != from || v->leader != h->self || v->term > h->term ||
	    v->term <= h->seen[from].term_vote.term)
		return; /* nothing new: a check only for what may be */
	if (term_vote_check(v, h->ctx))
		h->counters[COUNT_BAD_SIGNATURES]++;
	else
		keep_term_vote(h, v);
}

void keep_late_claim(struct hybrid *h, unsigned from, const struct view_claim *checked)
{
	if (checked->term > h->seen[from].claim.term)
		h->seen[from].claim = *checked;
}

static void check_late_vote(struct hybrid *h, struct seen *seen)
{
	if (!seen->late.kind)
		return;
	if (vote_check(&seen->late, h->ctx))
		h->counters[COUNT_BAD_SIGNATURES]++;
	else
		newer_vote(&seen->vote, &seen->late);
	seen->late.kind = 0;
}

static void newest_vote(const struct hybrid *h, unsigned of, struct vote *newest)
{
	*newest = h->seen[of].vote;
	lead_newest_vote(h, of, newest);
	pbft_newest_vote(h, of, newest);
	vote_in_cert(&h->final_cert, of, newest);
	if (h->has_qc)
		vote_in_cert(&h->qc, of, newest);
	if (h->has_pending_final)
		vote_in_cert(&h->pending_final, of, newest);
	if (h->has_pending_qc)
		vote_in_cert(&h->pending_qc, of, newest);
}

static void newer_term_vote(struct term_vote *newest, uint64_t term, unsigned leader,
			    const struct block_ref *base, unsigned signer,
			    const struct signature *sig)
{
	if (sig && term > newest->term)
		*newest = (struct term_vote){.term = term,
					     .leader = (uint16_t)leader,
					     .base = *base,
					     .signer = (uint16_t)signer,
					     .sig = *sig};
}

static void term_vote_in(const struct term_cert *tc, unsigned of, struct term_vote *newest)
{
	if (tc->mode == MODE_FAST)
		newer_term_vote(newest, tc->term, tc->leader, &tc->base, of,
				signature_of(tc->sig, tc->signers, of));
}

void keep_term_vote(struct hybrid *h, const struct term_vote *v)
{
	newer_term_vote(&h->seen[v->signer].term_vote, v->term, v->leader, &v->base, v->signer,
			&v->sig);
}

/* What a view change shows is large, and is hashed for a claim: once only. */
static void keep_claims_of(struct hybrid *h, const struct new_view *nv, uint64_t signers)
{
	for (unsigned k = 0; k < nv->count; k++) {
		unsigned i = nv->vc[k].signer;
		if (i < h->n && signers >> i & 1 && nv->term > h->seen[i].claim.term &&
		    (h->view[i].state == VIEW_NONE || nv->term > h->view[i].claim.term))
			view_change_claim(&h->seen[i].claim, &nv->vc[k]);
	}
}

void keep_votes_of_term(struct hybrid *h, const struct term_cert *tc)
{
	for (unsigned i = 0; i < h->n; i++)
		term_vote_in(tc, i, &h->seen[i].term_vote);
	if (tc->mode == MODE_PBFT && tc->new_view)
		keep_claims_of(h, tc->new_view, UINT64_MAX);
}

static void newest_term_vote(const struct hybrid *h, unsigned of, struct term_vote *newest)
{
	const struct term_cert *held[] = {&h->tc, &h->tip_tc, &h->spare_tc};
	const struct election *e = &h->election;
	*newest = h->seen[of].term_vote;
	for (unsigned i = 0; i < MEM_COUNT(held); i++)
		term_vote_in(held[i], of, newest);
	if (e->phase == ELECTION_VOTE && e->signers >> of & 1)
		newer_term_vote(newest, e->term, h->self, &e->base, of, &e->sig[of]);
}

static void newest_claim(struct hybrid *h, unsigned of, struct view_claim *newest)
{
	if (h->tc.mode == MODE_PBFT && h->tc.new_view)
		keep_claims_of(h, h->tc.new_view, UINT64_C(1) << of);
	*newest = h->seen[of].claim;
	if (h->view[of].state != VIEW_NONE && h->view[of].claim.term > newest->term)
		*newest = h->view[of].claim;
}

void on_ask_votes(struct hybrid *h, unsigned from, uint64_t nonce)
{
	if (h->now < h->votes_told_until[from]) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	h->votes_told_until[from] = h->now + h->timing.heartbeat / 2;
	struct msg_votes m = {.nonce = nonce, .final_height = final_ref(h).height};
	check_late_vote(h, &h->seen[from]);
	newest_vote(h, from, &m.vote);
	newest_term_vote(h, from, &m.term_vote);
	newest_claim(h, from, &m.claim);
	msg_votes_encode(emit_message(&h->out, UINT64_C(1) << from, CLASS_CONSENSUS, MSG_VOTES),
			 &m);
}

/* ---- the answers --------------------------------------------------------------------------
 */

/* [I17] What the keys before a recovery have signed is somebody else's. */
static bool is_ours(const struct hybrid *h, uint64_t term, unsigned signer)
{
	return signer == h->self && term > h->ctx->start_term &&
	       chain_ctx_of_term(h->ctx, term) == h->ctx;
}

/* [I1] What we have signed was on our disk before it left: when we began to ask, for until we
 * take part we sign nothing. What we have followed since makes an old copy no newer. A COMMIT
 * needs its QC there, too. */
static bool vote_is_news(struct hybrid *h, const struct vote *v)
{
	const struct block_ref *known = h->asking ? &h->knew_tip : &h->tip;
	if (!v->kind || !is_ours(h, v->ref.term, v->signer))
		return false;
	int order = position_compare(&v->ref, known);
	if (order < 0 || (order == 0 && (v->kind != VOTE_COMMIT || !h->asking || h->knew_qc)))
		return false;
	bool holds = vote_check(v, h->ctx) == ERR_NONE;
	h->counters[COUNT_BAD_SIGNATURES] += !holds;
	return holds;
}

static bool term_vote_is_news(struct hybrid *h, const struct term_vote *v)
{
	if (!is_ours(h, v->term, v->signer) || v->term <= h->signed_term)
		return false;
	bool holds = term_vote_check(v, h->ctx) == ERR_NONE;
	h->counters[COUNT_BAD_SIGNATURES] += !holds;
	return holds;
}

static bool claim_is_news(struct hybrid *h, const struct view_claim *c)
{
	if (!is_ours(h, c->term, c->signer) || c->term <= h->signed_term)
		return false;
	bool holds = view_claim_check(c, h->ctx) == ERR_NONE;
	h->counters[COUNT_BAD_SIGNATURES] += !holds;
	return holds;
}

/* For good: the mark is on disk before anything leaves, and no later start takes it off. */
void own_votes_outdated(struct hybrid *h)
{
	if (!h->asks || h->outdated)
		return;
	if (h->role == ROLE_LEADER)
		lead_stop(h);
	election_stop(h);
	h->role = ROLE_FOLLOWER;
	h->outdated = h->observer = true;
	h->asking = false;
	observer_begins(h);
	crypto_wipe(&h->key, sizeof h->key);
	h->counters[COUNT_OUTDATED]++;
	emit_outdated(&h->out);
	emit_sync(&h->out);
}

void own_votes_in_cert(struct hybrid *h, const struct cert *c)
{
	const struct block_ref *known = h->asking ? &h->knew_tip : &h->tip;
	if (c->signers >> h->self & 1 && is_ours(h, c->ref.term, h->self) &&
	    position_compare(&c->ref, known) > 0 && !MUTANT(MUTANT_OLD_COPY_VOTES))
		own_votes_outdated(h);
}

void own_votes_in_term(struct hybrid *h, const struct term_cert *tc)
{
	if (tc->mode == MODE_FAST && tc->signers >> h->self & 1 &&
	    is_ours(h, tc->term, h->self) && tc->term > h->signed_term &&
	    !MUTANT(MUTANT_OLD_COPY_VOTES))
		own_votes_outdated(h);
}

/* Who answers when we take part already is heard, too: better late than never. */
void on_votes(struct hybrid *h, unsigned from, const struct msg_votes *m)
{
	if (!h->asks || h->outdated || m->nonce != h->ask_nonce || h->answered >> from & 1) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	h->answered |= UINT64_C(1) << from;
	h->peer_final[from] = m->final_height;
	if (h->asking && !own_votes_missing(h) && !h->answers_by)
		h->answers_by = h->now + h->timing.timeout_min;
	bool news = vote_is_news(h, &m->vote) || term_vote_is_news(h, &m->term_vote) ||
		    claim_is_news(h, &m->claim);
	if (news && !MUTANT(MUTANT_OLD_COPY_VOTES))
		own_votes_outdated(h);
	else if (h->asking && h->answered == mask_all(h))
		takes_part(h);
}
