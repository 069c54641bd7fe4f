/* Against the operator who puts an old copy of the data directory back: a replica that begins
 * asks the others for the newest of its own votes, and takes no part before a quorum, itself
 * one of them, has answered [I20]. What others can show has its own signature; what its disk
 * does not know of was signed after the copy was made, and it never votes with this key again.
 *
 * Until then it is an observer, which follows, serves and forwards, and signs nothing [I15].
 * What is above its tip, or of a term above those that it has signed for, is all that matters:
 * it votes above its tip and its terms only, wherever it has them from. */
#include "consensus/hybrid/hybrid.h"

static uint64_t answers_wanted(const struct hybrid *h)
{
	return h->quorum.q - 1;
}

void own_votes_begin(struct hybrid *h)
{
	if (answers_wanted(h) == 0 || h->observer)
		return;
	h->asking = h->observer = true;
	h->ask_nonce = random_u64(&h->random);
	observer_begins(h);
}

static void takes_part(struct hybrid *h)
{
	h->asking = h->observer = false;
	h->out.withheld = 0;
	timer_restart(h);
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

void newer_vote(struct vote *newest, const struct vote *v)
{
	if (!newest->kind || position_compare(&newest->ref, &v->ref) < 0)
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

void keep_votes_of_term(struct hybrid *h, const struct term_cert *tc)
{
	for (unsigned i = 0; i < h->n; i++)
		term_vote_in(tc, i, &h->seen[i].term_vote);
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

static void newest_claim(const struct hybrid *h, unsigned of, struct view_claim *newest)
{
	*newest = (struct view_claim){0};
	if (h->view[of].state != VIEW_NONE)
		*newest = h->view[of].claim;
	const struct new_view *nv = h->tc.mode == MODE_PBFT ? h->tc.new_view : NULL;
	for (unsigned i = 0; nv && nv->term > newest->term && i < nv->count; i++)
		if (nv->vc[i].signer == of)
			view_change_claim(newest, &nv->vc[i]);
}

void on_ask_votes(struct hybrid *h, unsigned from, uint64_t nonce)
{
	if (h->now < h->votes_told_until[from]) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	h->votes_told_until[from] = h->now + h->timing.heartbeat / 2;
	struct msg_votes m = {.nonce = nonce, .final_height = final_ref(h).height};
	newest_vote(h, from, &m.vote);
	newest_term_vote(h, from, &m.term_vote);
	newest_claim(h, from, &m.claim);
	msg_votes_encode(emit_message(&h->out, UINT64_C(1) << from, CLASS_CONSENSUS, MSG_VOTES),
			 &m);
}

/* ---- the answers --------------------------------------------------------------------------
 */

static bool is_ours(const struct hybrid *h, uint64_t term, unsigned signer)
{
	return signer == h->self && term > h->ctx->start_term;
}

/* [I1] What we have signed was on our disk before it left. */
static bool vote_is_news(struct hybrid *h, const struct vote *v)
{
	if (!v->kind || !is_ours(h, v->ref.term, v->signer) ||
	    position_compare(&v->ref, &h->tip) <= 0)
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
static void becomes_observer(struct hybrid *h)
{
	h->outdated = true;
	h->asking = false;
	crypto_wipe(&h->key, sizeof h->key);
	h->counters[COUNT_OUTDATED]++;
	emit_outdated(&h->out);
	emit_sync(&h->out);
}

void on_votes(struct hybrid *h, unsigned from, const struct msg_votes *m)
{
	if (!h->asking || m->nonce != h->ask_nonce || h->answered >> from & 1) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	h->answered |= UINT64_C(1) << from;
	h->peer_final[from] = m->final_height;
	if (!own_votes_missing(h) && !h->answers_by)
		h->answers_by = h->now + h->timing.timeout_min;
	bool news = vote_is_news(h, &m->vote) || term_vote_is_news(h, &m->term_vote) ||
		    claim_is_news(h, &m->claim);
	if (news && !MUTANT(MUTANT_OLD_COPY_VOTES))
		becomes_observer(h);
	else if (h->answered == mask_all(h))
		takes_part(h);
}
