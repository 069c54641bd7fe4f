/* What is durable, and the rules for changing it (docs/consensus.md, [I1]).
 *
 * Changes mark their slot dirty. A step that sends any message writes the dirty slots first, in
 * one synced batch: nobody ever learns of a state that a crash could undo [I1]. */
#include "consensus/hybrid/hybrid.h"

#define SLOT_VERSION 1

uint64_t mask_all(const struct hybrid *h)
{
	return mask_others(h->n, h->self);
}

unsigned certificate_quorum(const struct hybrid *h)
{
	return MUTANT(MUTANT_MAJORITY_QUORUM) ? h->n / 2 + 1 : h->quorum.q;
}

unsigned one_round_quorum(const struct hybrid *h)
{
	if (MUTANT(MUTANT_MAJORITY_QUORUM))
		return h->n / 2 + 1;
	return MUTANT(MUTANT_Q_FOR_QF) ? h->quorum.q : h->quorum.qf;
}

struct block_ref final_ref(const struct hybrid *h)
{
	return block_ref_of(h->log.final);
}

bool in_accepted_term(const struct hybrid *h)
{
	return h->term > h->ctx->start_term && h->term == h->tc.term;
}

uint16_t current_leader(const struct hybrid *h)
{
	return in_accepted_term(h) ? h->tc.leader : NO_VALIDATOR;
}

void enter_term(struct hybrid *h, uint64_t t, const struct entitlement *why)
{
	invariant(t >= h->term);
	if (h->role == ROLE_LEADER && t > h->term)
		lead_stop(h);
	if (t > h->term) {
		h->has_append_tip = false;
		drop_pending_qc(h);
		h->role = ROLE_FOLLOWER;
		h->view_timer = false;
		h->new_view_tried = false;
	}
	h->term = t;
	if (why && (why->kind == ENTITLED_GRANTS || why->kind == ENTITLED_CLAIMS)) {
		struct entitlement copy;
		entitlement_copy(&copy, why);
		entitlement_free(&h->entitlement);
		h->entitlement = copy;
	}
	h->dirty[SLOT_TERM] = true;
}

static void replace_tc(struct hybrid *h, const struct term_cert *tc)
{
	struct term_cert copy;
	/* Signed by us, and neither made in this life nor on our disk. */
	if (tc->mode == MODE_PBFT && tc->leader == h->self && tc->term != h->new_view_made &&
	    chain_ctx_of_term(h->ctx, tc->term) == h->ctx)
		own_votes_outdated(h);
	keep_votes_of_term(h, &h->tc);
	pbft_keep_votes(h);
	term_cert_copy(&copy, tc);
	term_cert_free(&h->tc);
	h->tc = copy;
	h->dirty[SLOT_TC] = true;
	term_cert_encode(emit_tc(&h->out, tc->term), tc);
	views_keep(h, tc);
	views_mark(h);
	pbft_reset_votes(h);
	h->prepare_news = h->commit_news = false;
}

bool accept_tc(struct hybrid *h, const struct term_cert *tc)
{
	if (tc->term <= h->tc.term || tc->term < h->term)
		return false;
	invariant(tc->mode == MODE_FAST || tc->new_view);
	enter_term(h, tc->term, NULL);
	bool same = h->tc.term > h->ctx->start_term && tc->leader == h->tc.leader &&
		    tc->mode == h->tc.mode;
	if (!same || MUTANT(MUTANT_TERM_PARDONS))
		watch_new_leader(h);
	replace_tc(h, tc);
	election_stop(h);
	h->has_append_tip = false;
	drop_pending_qc(h);
	h->role = ROLE_FOLLOWER;
	h->leader_heard = h->now;
	if (tc->leader == h->self) {
		/* Unless we have just made it (become_leader(), lead_new_view()), we led that
		 * term in an earlier life: it may have blocks of ours that we lost ([I1], the
		 * one exception), or that were made after this disk was copied. */
		h->led_before_restart = tc->term;
		h->counters[COUNT_RESTARTED_LEADER]++;
	}
	forward_all_later(h);
	if (tc->mode == MODE_PBFT) {
		h->counters[COUNT_NEW_VIEW_ACCEPTED]++;
		timer_restart(h);
	}
	return true;
}

bool take_tc(struct hybrid *h, const struct term_cert *tc)
{
	/* Finality has moved on without the tip: then this is the certificate that was missing.
	 */
	if (h->tip_tc_wanted && tc_fits(tc, &h->log.final->sh.h)) {
		term_cert_free(&h->spare_tc);
		term_cert_copy(&h->spare_tc, tc);
	}
	bool newer = tc->term > h->tc.term;
	bool accepted = newer && tc->term >= h->term && accept_tc(h, tc);
	if (newer && !accepted)
		replace_tc(h, tc);
	tip_catches_up(h); /* in the term that it needs */
	return accepted;
}

bool learn_tc(struct hybrid *h, unsigned from, const struct term_cert *tc)
{
	bool wanted = h->tip_tc_wanted && tc_fits(tc, &h->log.final->sh.h);
	if (tc->term <= h->tc.term && !wanted)
		return false;
	if (tc->mode == MODE_PBFT && !tc->new_view) {
		const struct term_cert *known = views_find(h, tc->term, &tc->new_view_hash);
		if (known) {
			struct term_cert copy;
			term_cert_copy(&copy, known);
			bool accepted = take_tc(h, &copy);
			term_cert_free(&copy);
			return accepted;
		}
		if (h->quorum.f && from != h->self)
			fetch_view(h, from, tc->term, &tc->new_view_hash);
		return false;
	}
	if (fast_cert_check(tc, h->ctx)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return false;
	}
	own_votes_in_term(h, tc);
	return take_tc(h, tc);
}

bool tip_extends(const struct hybrid *h, const struct log_entry *e)
{
	struct block_ref ref = block_ref_of(e->block);
	return ref.height > h->tip.height && log_contains(&h->log, &ref, &h->tip) == 1;
}

bool tc_fits(const struct term_cert *tc, const struct header *b)
{
	if (tc->term != b->term || tc->mode != b->mode ||
	    !hash_equal(&tc->new_view_hash, &b->new_view))
		return false;
	if (tc->mode == MODE_PBFT && !tc->new_view)
		return true;
	return tc->leader == b->leader && tc->base.height == b->base_height &&
	       hash_equal(&tc->base.hash, &b->base);
}

const struct term_cert *tc_of(const struct hybrid *h, const struct header *b)
{
	const struct term_cert *held[] = {&h->tc, &h->tip_tc, &h->spare_tc};
	for (unsigned i = 0; i < MEM_COUNT(held); i++)
		if (tc_fits(held[i], b) && (b->mode == MODE_FAST || held[i]->new_view))
			return held[i];
	const struct term_cert *kept =
		b->mode == MODE_PBFT ? views_find(h, b->term, &b->new_view) : NULL;
	return kept && tc_fits(kept, b) ? kept : NULL;
}

void set_tip(struct hybrid *h, const struct log_entry *e, bool voted)
{
	const struct block_ref own = block_ref_of(e->block), *ref = &own;
	const struct term_cert *tc = tc_of(h, &e->block->sh.h);
	invariant(ref->term <= h->term && tc);
	if (log_contains(&h->log, ref, &h->tip) != 1)
		h->counters[COUNT_LOG_REPAIR]++;
	if (h->has_qc && log_contains(&h->log, ref, &h->qc.ref) == 0) {
		h->counters[COUNT_QC_DROPPED]++;
		drop_qc(h);
	}
	if (ref->term != h->tip.term || !tc_fits(&h->tip_tc, &e->block->sh.h)) {
		struct term_cert copy;
		term_cert_copy(&copy, tc);
		term_cert_free(&h->tip_tc);
		h->tip_tc = copy;
		h->dirty[SLOT_TC] = true;
		views_keep(h, &h->tip_tc);
		views_mark(h);
	}
	h->tip = *ref;
	h->tip_voted = voted;
	h->dirty[SLOT_TIP] = true;
	pool_follow_chain(h);
}

void set_qc(struct hybrid *h, const struct cert *qc)
{
	if (h->has_qc)
		keep_votes_of_cert(h, &h->qc, qc->signers);
	h->has_qc = true;
	cert_copy(&h->qc, qc);
	if (qc->kind == CERT_ONE_ROUND) /* the same votes, and at least as many */
		h->qc.kind = CERT_QC_FAST;
	h->commit_news = true;
	h->dirty[SLOT_TIP] = true;
}

void drop_qc(struct hybrid *h)
{
	if (h->has_qc)
		keep_votes_of_cert(h, &h->qc, 0);
	h->has_qc = false;
	h->dirty[SLOT_TIP] = true;
}

/* ---- slots ------------------------------------------------------------------------------- */

/* The base of a pbft term is what checking its NEW-VIEW gave: kept, not computed again. */
static void tc_write(struct writer *w, const struct term_cert *tc)
{
	term_cert_encode(w, tc);
	block_ref_encode(w, &tc->base);
}

static void tc_read(struct reader *r, struct term_cert *out)
{
	struct block_ref base;
	term_cert_free(out);
	term_cert_decode(r, out);
	block_ref_decode(r, &base);
	if (!r->err)
		out->base = base;
}

void state_write_slot(struct hybrid *h, struct writer *w, unsigned slot)
{
	writer_u8(w, SLOT_VERSION);
	switch ((enum vote_slot)slot) {
	case SLOT_TERM:
		writer_u64(w, h->term);
		entitlement_encode(w, &h->entitlement);
		writer_u64(w, h->signed_term);
		writer_u8(w, h->signed_is_vc);
		if (h->signed_term && !h->signed_is_vc)
			term_vote_encode(w, &h->signed_vote);
		writer_u8(w, h->escalated);
		writer_u8(w, (uint8_t)h->reason);
		writer_u64(w, h->escalated_term);
		writer_u64(w, h->escalated_final);
		break;
	case SLOT_TC:
		tc_write(w, &h->tc);
		tc_write(w, &h->tip_tc);
		break;
	case SLOT_VIEW:
		writer_u8(w, h->signed_is_vc);
		if (h->signed_is_vc)
			view_change_encode(w, &h->signed_vc);
		break;
	case SLOT_VIEWS: {
		uint32_t count = 0;
		for (unsigned i = 0; i < h->views_made; i++)
			count += h->view_needed[i];
		writer_u32(w, count);
		for (unsigned i = 0; i < h->views_made; i++)
			if (h->view_needed[i])
				tc_write(w, &h->views[i]);
		break;
	}
	case SLOT_CUT:
		writer_u8(w, h->has_cut);
		if (h->has_cut)
			position_encode(w, &h->cut);
		break;
	case SLOT_TIP:
		block_ref_encode(w, &h->tip);
		writer_u8(w, h->tip_voted);
		writer_u8(w, h->has_qc);
		if (h->has_qc)
			cert_encode(w, &h->qc);
		break;
	case SLOT_STABLE:
		writer_u8(w, h->has_stable);
		if (h->has_stable)
			cert_encode(w, &h->stable);
		break;
	}
}

int state_read_slot(struct hybrid *h, unsigned slot, struct slice bytes)
{
	struct reader r;
	reader_init(&r, bytes);
	if (reader_u8(&r) != SLOT_VERSION)
		return ERR_VERSION;
	switch ((enum vote_slot)slot) {
	case SLOT_TERM:
		h->term = reader_u64(&r);
		entitlement_decode(&r, &h->entitlement);
		h->signed_term = reader_u64(&r);
		h->signed_is_vc = reader_bool(&r);
		if (h->signed_term && !h->signed_is_vc)
			term_vote_decode(&r, &h->signed_vote);
		h->escalated = reader_bool(&r);
		h->reason = reader_u8(&r);
		h->escalated_term = reader_u64(&r);
		h->escalated_final = reader_u64(&r);
		break;
	case SLOT_TC:
		tc_read(&r, &h->tc);
		tc_read(&r, &h->tip_tc);
		break;
	case SLOT_VIEW:
		if (reader_bool(&r))
			view_change_decode(&r, &h->signed_vc);
		break;
	case SLOT_VIEWS: {
		uint32_t count = reader_u32(&r);
		for (uint32_t i = 0; i < count && i < VIEWS_KEPT && !r.err; i++) {
			term_cert_init(&h->views[i]);
			h->views_made = i + 1;
			tc_read(&r, &h->views[i]);
			h->view_needed[i] = true;
		}
		break;
	}
	case SLOT_CUT:
		h->has_cut = reader_bool(&r);
		if (h->has_cut)
			position_decode(&r, &h->cut);
		break;
	case SLOT_TIP:
		block_ref_decode(&r, &h->tip);
		h->tip_voted = reader_bool(&r);
		h->has_qc = reader_bool(&r);
		if (h->has_qc)
			cert_decode(&r, &h->qc);
		break;
	case SLOT_STABLE:
		h->has_stable = reader_bool(&r);
		if (h->has_stable)
			cert_decode(&r, &h->stable);
		break;
	}
	return reader_finish(&r);
}

bool write_slots(struct hybrid *h)
{
	bool any = false;
	for (unsigned slot = 0; slot < MEM_COUNT(h->dirty); slot++) {
		if (!h->dirty[slot])
			continue;
		any = true;
		if (!MUTANT(MUTANT_FORGET_VOTE))
			state_write_slot(h, emit_votes(&h->out, slot), slot);
	}
	return any;
}

void flush_state(struct hybrid *h)
{
	if (!write_slots(h))
		return;
	if (!MUTANT(MUTANT_FORGET_VOTE))
		memset(h->dirty, 0, sizeof h->dirty);
	emit_sync(&h->out);
}
