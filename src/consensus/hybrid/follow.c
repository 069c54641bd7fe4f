/* The follower of either mode: takes blocks, votes, follows QCs. */
#include "consensus/hybrid/hybrid.h"

/* ---- evidence ---------------------------------------------------------------------------- */

void distrust_leader(struct hybrid *h)
{
	h->distrusted_term = h->term;
}

/* Two headers of one leader at one (term, height). */
static void equivocation_found(struct hybrid *h, const struct block *a, const struct block *b)
{
	struct writer bytes = {0};
	struct evidence ev;
	if (a->sh.h.term == h->term && a->sh.h.leader == current_leader(h))
		distrust_leader(h);
	if (evidence_of_headers(&ev, &bytes, &a->sh, &b->sh))
		take_proof(h, &ev); /* what proves nothing to others is suspected, not accused */
	writer_free(&bytes);
}

/* ---- taking blocks ----------------------------------------------------------------------- */

/* A block of the accepted term must be what its TC says: leader, mode, base. */
static bool fits_tc(const struct hybrid *h, const struct header *b)
{
	return b->term != h->tc.term || tc_fits(&h->tc, b);
}

/* A signed header of our term with another mode or base than one that we hold. */
static void misfit_found(struct hybrid *h, const struct block *b)
{
	const struct log_entry *tip = log_find(&h->log, &h->tip.hash);
	if (!tip || tip->block->sh.h.term != b->sh.h.term ||
	    tip->block->sh.h.leader != b->sh.h.leader || signed_header_check(&b->sh, h->ctx))
		return;
	equivocation_found(h, tip->block, b);
}

/* Under another NEW-VIEW of a malicious primary: never voted for here, but a view change may
 * show it, and then its body is needed. */
static bool of_another_view(const struct hybrid *h, const struct header *b)
{
	const struct term_cert *tc =
		b->mode == MODE_PBFT ? views_find(h, b->term, &b->new_view) : NULL;
	return tc && tc->leader == b->leader && tc->base.height == b->base_height &&
	       hash_equal(&tc->base.hash, &b->base);
}

static void drop_execution(void *arg, const struct block *b)
{
	struct hybrid *h = arg;
	emit_work(&h->out, WORK_DROP)->hash = b->hash;
}

/* Peers may fill the log with forks; what we need ourselves stays. */
void prune_log(struct hybrid *h)
{
	struct log_entry *keep[5 + VALIDATORS_MAX];
	unsigned count = 0;
	keep[count++] = log_find(&h->log, &h->tip.hash);
	keep[count++] =
		h->has_pending_final ? log_find(&h->log, &h->pending_final.ref.hash) : NULL;
	keep[count++] = log_find(&h->log, &h->tc.base.hash);
	keep[count++] = h->has_append_tip ? log_find(&h->log, &h->append_tip) : NULL;
	keep[count++] = h->has_pending_qc ? log_find(&h->log, &h->pending_qc.ref.hash) : NULL;
	for (unsigned i = 0; i < h->n; i++)
		if (h->view[i].state != VIEW_NONE)
			keep[count++] = log_find(&h->log, &h->view[i].vc.position.tip.hash);
	log_prune(&h->log, keep, count, drop_execution, h);
	resume_execution(h);
}

/* What we have voted for may fill the log alone; what could get our next votes still has room.
 */
int add_to_full_log(struct hybrid *h, struct block *b, struct log_entry **out)
{
	const struct header *x = &b->sh.h;
	const struct log_entry *parent = log_find(&h->log, &x->prev);
	bool on_tip = hash_equal(&x->prev, &h->tip.hash);
	if (parent && !on_tip) {
		struct block_ref ref = block_ref_of(parent->block);
		on_tip = log_contains(&h->log, &ref, &h->tip) == 1;
	}
	if (on_tip && x->height <= h->tip.height + h->window)
		return log_add_needed(&h->log, b, out);
	return log_add(&h->log, b, out);
}

struct log_entry *take_block(struct hybrid *h, unsigned from, struct block *b, bool is_final,
			     bool *gap)
{
	struct log_entry *e = log_find(&h->log, &b->hash);
	if (e || b->sh.h.height <= h->log.final->sh.h.height)
		return e;
	bool fits = fits_tc(h, &b->sh.h);
	if (!fits)
		misfit_found(h, b);
	if (signed_header_check(&b->sh, h->ctx)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		h->bad_from_peer = true;
		return NULL;
	}
	if (!fits && !is_final && !of_another_view(h, &b->sh.h)) {
		/* perhaps its primary has signed two NEW-VIEWs: then both are wanted */
		if (b->sh.h.mode == MODE_PBFT && views_of_term(h, b->sh.h.term) < 2)
			fetch_view(h, from, b->sh.h.term, &b->sh.h.new_view);
		h->counters[COUNT_BAD_MESSAGES]++;
		return NULL;
	}
	struct log_entry *rival = log_rival(&h->log, b);
	if (rival && rival->block->sh.h.leader == b->sh.h.leader &&
	    !MUTANT(MUTANT_VOTE_OFF_TIP))
		equivocation_found(h, rival->block, b);
	int err = log_add(&h->log, b, &e);
	if (err == ERR_BUSY) {
		prune_log(h);
		err = add_to_full_log(h, b, &e);
	}
	if (err == ERR_NOT_FOUND)
		*gap = true;
	else if (err)
		h->counters[COUNT_BAD_MESSAGES]++;
	if (err)
		return NULL;
	modes_enter(h, e);
	request_execution(h, e);
	return e;
}

void request_execution(struct hybrid *h, struct log_entry *e)
{
	if (e->executed || e->executing || e->invalid || (e->parent && !e->parent->executed))
		return;
	e->executing = true;
	struct work *w = emit_work(&h->out, WORK_EXECUTE);
	w->block = e->block;
	emit_hold(&h->out, e->block);
}

void resume_execution(struct hybrid *h)
{
	struct log_entry *e;
	if (!h->starved)
		return;
	h->starved = false;
	for (size_t i = 0; (e = map_next(&h->log.by_hash, &i, NULL)) != NULL;)
		request_execution(h, e);
}

void halt_diverged(struct hybrid *h, const struct block *b, int err)
{
	emit_halt(
		&h->out,
		"block %llu is final by its certificate, but executing it here gives: %s. This "
		"replica's state has diverged; both are kept. Restore its data from a backup "
		"or "
		"a peer before starting it again",
		(unsigned long long)b->sh.h.height, err_text(err));
}

static void block_is_invalid(struct hybrid *h, struct log_entry *e, const struct input *in)
{
	e->invalid = true;
	h->counters[COUNT_BLOCKS_REFUSED]++;
	const struct header *b = &e->block->sh.h;
	if (h->has_pending_final &&
	    log_contains(&h->log, &h->pending_final.ref,
			 &(struct block_ref){b->term, b->height, e->block->hash}) == 1) {
		halt_diverged(h, e->block, in->executed.err);
		return;
	}
	if (b->term == h->term && b->leader == current_leader(h))
		distrust_leader(h);
	struct writer bytes = {0};
	struct evidence ev;
	if (in->executed.by_bytes &&
	    evidence_of_block(&ev, &bytes, e->block, h->ctx, h->tx_invalid))
		take_proof(h, &ev);
	writer_free(&bytes);
}

void on_executed(struct hybrid *h, const struct input *in)
{
	struct log_entry *e = log_find(&h->log, &in->executed.block);
	if (!e || !e->executing)
		return;
	e->executing = false;
	if (in->executed.err == ERR_BUSY || in->executed.err == ERR_NOT_FOUND) {
		h->starved = true; /* not the block's fault: once there is room again */
		return;
	}
	if (in->executed.err) {
		block_is_invalid(h, e, in);
		return;
	}
	e->executed = true;
	for (struct log_entry *c = e->first_child; c; c = c->next_sibling)
		request_execution(h, c);
	try_finalize(h);
	if (h->has_pending_qc) {
		struct cert qc;
		cert_copy(&qc, &h->pending_qc);
		take_qc(h, &qc);
	}
	try_vote(h);
}

/* ---- voting ------------------------------------------------------------------------------ */

/* Everything on e's chain that is not on disk yet, parents first. */
void store_chain(struct hybrid *h, struct log_entry *e)
{
	if (e->stored)
		return;
	if (e->parent)
		store_chain(h, e->parent);
	e->stored = true;
	emit_block(&h->out, e->block);
}

uint64_t unfinal_max(const struct hybrid *h)
{
	uint64_t max = h->log.final->sh.h.height + UNFINAL_VOTES_MAX;
	return max > h->tc.base.height ? max : h->tc.base.height + 1;
}

bool carries_too_much(const struct hybrid *h, const struct log_entry *parent)
{
	uint64_t bytes = 0;
	if (!parent || parent->height <= h->tc.base.height)
		return false;
	for (; parent; parent = parent->parent)
		bytes += parent->body_size;
	return bytes > h->log.bytes_max / (2 * h->n);
}

/* The highest block that could get our vote now, or NULL. */
static struct log_entry *vote_target(struct hybrid *h)
{
	struct log_entry *e = h->has_append_tip ? log_find(&h->log, &h->append_tip) : NULL;
	if (e && !fits_tc(h, &e->block->sh.h))
		return NULL;
	while (e && !e->executed)
		e = e->parent;
	/* It has been voted for, or adopted, and nothing above it can be. */
	if (e && e->rules == RULES_HOLD && h->tip.term == h->term &&
	    hash_equal(&e->hash, &h->tip.hash) && !MUTANT(MUTANT_VOTE_OFF_TIP))
		return NULL;
	/* No PREPARE more than W above the base or the newest QC of the term held. */
	uint64_t anchor = h->tc.base.height;
	if (h->has_qc && h->qc.ref.term == h->term && h->qc.ref.height > anchor)
		anchor = h->qc.ref.height;
	if (h->log.final->sh.h.term == h->term && h->log.final->sh.h.height > anchor)
		anchor = h->log.final->sh.h.height;
	while (e && e->block->sh.h.height > anchor + h->window)
		e = e->parent;
	/* nor so far above what its position starts from that it could show no position any
	 * more */
	uint64_t shown_max = shown_from(h) + POSITION_HEADERS_MAX - h->window;
	if (h->tip.term != h->term)
		shown_max = h->tc.base.height + POSITION_HEADERS_MAX - h->window;
	if (shown_max > unfinal_max(h))
		shown_max = unfinal_max(h);
	while (e && (e->block->sh.h.height > shown_max || carries_too_much(h, e->parent)))
		e = e->parent;
	/* every block on the way holds the mode entries that its term asks for */
	struct log_entry *broken;
	if (mode_rules(h, e, h->term, &broken) != RULES_HOLD) {
		distrust_leader(h);
		e = broken->parent;
	}
	return e && e->block->sh.h.term == h->term ? e : NULL;
}

/* Times rise along a chain. What it stands on may be ahead of our clock by as much as a primary
 * lets pass (is_from_the_future(); a minute more for clocks that differ): then a child is no
 * younger. A base further ahead gets no votes, or one liar would set the ledger's clock. */
static uint64_t time_limit(const struct hybrid *h)
{
	uint64_t limit = h->wall_ms + BLOCK_TIME_AHEAD_MS, anchor = 0;
	const struct block_ref *on = h->tip.term == h->term ? &h->tip : &h->tc.base;
	const struct log_entry *e = log_find(&h->log, &on->hash);
	if (e)
		anchor = e->block->sh.h.time_ms;
	else if (hash_equal(&on->hash, &h->log.final->hash))
		anchor = h->log.final->sh.h.time_ms;
	bool passes = anchor <= h->wall_ms + (SHOWN_TIME_AHEAD + 1) * BLOCK_TIME_AHEAD_MS;
	return anchor > limit && passes ? anchor : limit;
}

void try_vote(struct hybrid *h)
{
	if (h->observer || h->role == ROLE_LEADER || !in_accepted_term(h) ||
	    h->distrusted_term == h->term || h->led_before_restart == h->term ||
	    h->tc.leader == h->self)
		return;
	struct log_entry *e = vote_target(h);
	if (!e)
		return;
	/* [S1] Votes of one term form a chain: strictly extend the tip if it is of this term.
	 */
	if (h->tip.term == h->term && !tip_extends(h, e) && !MUTANT(MUTANT_VOTE_OFF_TIP))
		return;
	if (h->tip.term == h->term && e->block->sh.h.height <= h->tip.height)
		return;
	if (e->block->sh.h.time_ms > time_limit(h)) {
		h->counters[COUNT_BLOCKS_REFUSED]++;
		return;
	}
	store_chain(h, e);
	set_tip(h, e, true);
	h->answer_leader = true;
	h->prepare_news = true;
	pace_note_block(h, e->block);
}

bool tip_vote(const struct hybrid *h, struct vote *out)
{
	if (h->observer || !in_accepted_term(h) || h->tip.term != h->term || !h->tip_voted ||
	    h->led_before_restart == h->term)
		return false;
	vote_begin(out, h->tc.mode == MODE_FAST ? VOTE_PREPARE_FAST : VOTE_PREPARE_PBFT,
		   &h->tip, h->self);
	return true;
}

/* COMMIT only in the block's own term, for the high QC's block, which is on our chain and on
 * disk; not for what is final anyway. */
bool commit_due(const struct hybrid *h, struct vote *out)
{
	if (h->observer || !h->has_qc || h->qc.ref.height <= h->log.final->sh.h.height)
		return false;
	if ((!in_accepted_term(h) || h->qc.ref.term != h->term) && !MUTANT(MUTANT_LATE_COMMIT))
		return false;
	vote_begin(out, VOTE_COMMIT, &h->qc.ref, h->self);
	return true;
}

/* ---- QCs --------------------------------------------------------------------------------- */

static void adopt_qc(struct hybrid *h, const struct cert *qc, struct log_entry *e)
{
	store_chain(h, e);
	set_tip(h, e, false);
	set_qc(h, qc);
	h->counters[COUNT_QC_ADOPTED]++;
}

void drop_pending_qc(struct hybrid *h)
{
	if (h->has_pending_qc)
		keep_votes_of_cert(h, &h->pending_qc, 0);
	h->has_pending_qc = false;
}

void take_qc(struct hybrid *h, const struct cert *qc)
{
	drop_pending_qc(h);
	if (qc->ref.term != h->tc.term || qc->ref.term > h->term ||
	    (h->has_qc && position_compare(&qc->ref, &h->qc.ref) <= 0))
		return;
	int on_chain = log_contains(&h->log, &h->tip, &qc->ref);
	if (on_chain == 1) {
		set_qc(h, qc);
		h->answer_leader = true;
		return;
	}
	if (MUTANT(MUTANT_COMMIT_OFF_CHAIN) && log_find(&h->log, &qc->ref.hash)) {
		set_qc(h, qc);
		h->answer_leader = true;
		return;
	}
	if (position_compare(&qc->ref, &h->tip) <= 0)
		return; /* off our chain and not above: ignored */
	struct log_entry *e = log_find(&h->log, &qc->ref.hash);
	if (e && e->block->sh.h.height != qc->ref.height)
		return; /* votes of a quorum for a place where this block is not */
	if (e && e->executed && tc_of(h, &e->block->sh.h)) {
		adopt_qc(h, qc, e);
		h->answer_leader = true;
		return;
	}
	h->has_pending_qc = true;
	cert_copy(&h->pending_qc, qc);
	if (!e && h->tc.leader != h->self)
		fetch_from(h, h->tc.leader);
}

/* ---- messages from the leader ------------------------------------------------------------ */

/* True if it comes from the leader of the term that we are in. */
static bool from_our_leader(struct hybrid *h, unsigned from, uint64_t term)
{
	if (term < h->term) {
		h->counters[COUNT_STALE_MESSAGES]++;
		send_refusal(h, from, term);
		return false;
	}
	if (term > h->term || !in_accepted_term(h)) {
		fetch_from(h, from); /* for its term certificate */
		return false;
	}
	if (from != h->tc.leader) {
		h->counters[COUNT_BAD_MESSAGES]++;
		return false;
	}
	h->leader_heard = h->now;
	/* a pbft term that has brought us back to fast mode has no leader any more */
	if (h->distrusted_term != h->term && (h->tc.mode == MODE_FAST || in_pbft_mode(h)))
		timer_on_heartbeat(h);
	return true;
}

void on_append(struct hybrid *h, unsigned from, struct msg_append *m)
{
	if (m->has_tc)
		learn_tc(h, from, &m->tc);
	if (m->has_final)
		take_cert(h, &m->final);
	if (!from_our_leader(h, from, m->term))
		return;
	bool gap = false;
	h->bad_from_peer = false;
	for (uint32_t i = 0; i < m->count && !gap; i++) {
		struct log_entry *e = take_block(h, from, m->blocks[i], false, &gap);
		if (e && e->block->sh.h.term == h->term) {
			h->append_tip = e->block->hash;
			h->has_append_tip = true;
		}
		if (e && block_ref_equal(&h->tip, &(struct block_ref){e->block->sh.h.term,
								      e->block->sh.h.height,
								      e->block->hash}))
			h->answer_leader = true; /* asked again: the same vote again */
	}
	if (h->bad_from_peer)
		suspect(h, REASON_SIGNATURE);
	if (gap)
		fetch_from(h, from);
	if (m->has_qc && take_cert(h, &m->qc) == ERR_BAD_SIGNATURE)
		suspect(h, REASON_SIGNATURE);
	if (m->has_prepare)
		on_prepare(h, from, &m->prepare);
	try_vote(h);
}

void on_heartbeat(struct hybrid *h, unsigned from, const struct msg_heartbeat *m)
{
	if (m->has_tc)
		learn_tc(h, from, &m->tc);
	h->peer_final[from] = m->final_height;
	if (!from_our_leader(h, from, m->term))
		return;
	if (m->has_stable)
		take_stable(h, &m->stable);
	/* A certificate may be on its way with the next block: behind is who has not moved
	 * since the last heartbeat, nor for a round, or misses blocks. */
	uint64_t final = h->log.final->sh.h.height;
	bool stuck = m->final_height > final && h->final_at_heartbeat == final &&
		     h->now >= h->final_at + h->round_us;
	h->final_at_heartbeat = final;
	if (stuck || (m->tip_height > h->tip.height && !log_find(&h->log, &m->tip)))
		fetch_from(h, from);
	if (h->observer)
		return; /* a leader counts who answers: those who can vote for it */
	struct msg_heartbeat_ack ack = {.term = h->term,
					.counter = m->counter,
					.final_height = h->log.final->sh.h.height};
	bool fast = h->tc.mode == MODE_FAST;
	if (!fast)
		pbft_on_heartbeat(h);
	ack.has_prepare = fast && h->tip.height > h->log.final->sh.h.height &&
			  h->distrusted_term != h->term && tip_vote(h, &ack.prepare);
	if (ack.has_prepare)
		vote_sign(&ack.prepare, h->ctx, &h->key);
	ack.has_commit = fast && commit_due(h, &ack.commit);
	if (ack.has_commit)
		vote_sign(&ack.commit, h->ctx, &h->key);
	ack.has_checkpoint = checkpoint_vote_due(h);
	if (ack.has_checkpoint)
		ack.checkpoint = h->checkpoint_vote;
	msg_heartbeat_ack_encode(
		emit_message(&h->out, UINT64_C(1) << from, CLASS_URGENT, MSG_HEARTBEAT_ACK),
		&ack);
}

/* The one answer of a step to the leader: PREPARE, COMMIT and checkpoint as due. */
void follow_end_of_step(struct hybrid *h)
{
	if (!h->answer_leader)
		return;
	/* The PREPARE for what is being executed and a COMMIT share one message. */
	const struct log_entry *newest =
		h->has_append_tip ? log_find(&h->log, &h->append_tip) : NULL;
	if (newest && newest->executing)
		return;
	h->answer_leader = false;
	if (h->tc.mode == MODE_PBFT || h->observer)
		return; /* votes go to all: pbft_end_of_step() */
	uint16_t leader = current_leader(h);
	if (leader == NO_VALIDATOR || leader == h->self || h->distrusted_term == h->term)
		return;
	struct msg_appended m; /* votes that it does not have are not set */
	m.term = h->term;
	m.has_prepare = tip_vote(h, &m.prepare);
	if (m.has_prepare)
		vote_sign(&m.prepare, h->ctx, &h->key);
	m.has_commit =
		commit_due(h, &m.commit) && !hash_equal(&m.commit.ref.hash, &h->commit_sent);
	if (m.has_commit) {
		h->commit_sent = m.commit.ref.hash;
		vote_sign(&m.commit, h->ctx, &h->key);
	}
	m.has_checkpoint = checkpoint_vote_due(h);
	if (m.has_checkpoint)
		m.checkpoint = h->checkpoint_vote;
	if (!m.has_prepare && !m.has_commit)
		return;
	msg_appended_encode(
		emit_message(&h->out, UINT64_C(1) << leader, CLASS_CONSENSUS, MSG_APPENDED),
		&m);
	if (MUTANT(MUTANT_VOTE_BEFORE_SYNC))
		emit_at_once(&h->out);
}
