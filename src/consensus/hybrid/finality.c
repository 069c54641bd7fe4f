/* Final certificates and checkpoints. */
#include "consensus/hybrid/hybrid.h"

/* The block that c makes final, if it is here and is the one: a quorum can sign any height and
 * term beside a hash, and must not get a record under a height that there is no block of. */
static struct log_entry *block_of(const struct hybrid *h, const struct cert *c)
{
	struct log_entry *e = log_find(&h->log, &c->ref.hash);
	struct block_ref ref;
	if (!e)
		return NULL;
	ref = block_ref_of(e->block);
	return block_ref_equal(&ref, &c->ref) ? e : NULL;
}

/* The highest is waited for; but one whose block is here goes before any whose block is not.
 * Who is far behind hears of the newest certificate at once: if it stood in the way of those
 * that come with the blocks, and the fetches begin at the final height, nothing would ever be
 * final again. */
static bool brings_us_on(const struct hybrid *h, const struct cert *c)
{
	if (h->ended || c->ref.height <= h->log.final->sh.h.height)
		return false;
	if (!h->has_pending_final)
		return true;
	bool here = block_of(h, c) != NULL;
	bool pending_here = block_of(h, &h->pending_final) != NULL;
	return here != pending_here ? here : c->ref.height > h->pending_final.ref.height;
}

int take_cert(struct hybrid *h, const struct cert *c)
{
	if (cert_is_final(c->kind)) {
		if (!brings_us_on(h, c))
			return ERR_STALE;
	} else if (c->kind != (h->tc.mode == MODE_FAST ? CERT_QC_FAST : CERT_QC_PBFT) ||
		   c->ref.term != h->tc.term ||
		   (h->has_qc && position_compare(&c->ref, &h->qc.ref) <= 0)) {
		return ERR_STALE;
	}
	int err = cert_check(c, h->ctx);
	if (err && !(err == ERR_NO_QUORUM && MUTANT(MUTANT_MAJORITY_QUORUM)) &&
	    !(err == ERR_NO_QUORUM && MUTANT(MUTANT_Q_FOR_QF))) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return err;
	}
	own_votes_in_cert(h, c);
	if (cert_is_final(c->kind))
		take_final_cert(h, c);
	else
		take_qc(h, c);
	return ERR_NONE;
}

/* Under load the votes for one checkpoint come when others are final already: several are
 * counted at a time. */
static struct tally *tally_of(struct hybrid *h, uint64_t height)
{
	return &h->checkpoint_tally[height / h->checkpoint_spacing % CHECKPOINT_TALLIES];
}

/* The newest multiple of the spacing that became final gets our statement: we hold its
 * certificate. */
static void make_checkpoint_vote(struct hybrid *h, struct block *const *blocks, uint32_t count)
{
	if (h->observer || h->ended)
		return; /* stable ones come with heartbeats */
	for (uint32_t i = count; i-- > 0;) {
		const struct block *b = blocks[i];
		if (b->sh.h.height % h->checkpoint_spacing)
			continue;
		h->has_checkpoint_vote = true;
		h->checkpoint_vote = (struct vote){.kind = VOTE_CHECKPOINT,
						   .ref = block_ref_of(b),
						   .state_root = b->sh.h.state_root,
						   .signer = (uint16_t)h->self};
		vote_sign(&h->checkpoint_vote, h->ctx, &h->key);
		struct tally *t = tally_of(h, b->sh.h.height);
		tally_init(t, VOTE_CHECKPOINT, &h->checkpoint_vote.ref,
			   &h->checkpoint_vote.state_root);
		tally_add(t, &h->checkpoint_vote);
		if (certificate_quorum(h) == 1)
			take_checkpoint_vote(h, h->self, &h->checkpoint_vote);
		return;
	}
}

/* A final block above the tip becomes the tip, if the certificate of its term is held (tc_of());
 * else that is fetched, and tip_catches_up() does it. A tip that it cuts off keeps its position:
 * keep_cut_tip(). */
static void tip_follows_finality(struct hybrid *h, struct log_entry *e, const struct cert *c)
{
	struct block_ref ref = block_ref_of(e->block);
	h->tip_tc_wanted = false;
	if (log_contains(&h->log, &h->tip, &ref) != 1) {
		if (log_contains(&h->log, &ref, &h->tip) != 1)
			keep_cut_tip(h);
		if (position_compare(&ref, &h->tip) <= 0)
			return;
		if (!tc_of(h, &e->block->sh.h)) {
			h->tip_tc_wanted = true;
			keep_cut_tip(h); /* checkpoints will drop the headers below */
			return;
		}
		store_chain(h, e);
		set_tip(h, e, false);
		h->counters[COUNT_QC_ADOPTED]++;
	}
	/* its votes are at least as good as a QC, which we may never have seen */
	if (c->ref.term == ref.term && block_ref_equal(&c->ref, &ref) &&
	    ref.term == h->tip.term && (!h->has_qc || position_compare(&h->qc.ref, &ref) < 0))
		set_qc(h, c);
}

void tip_catches_up(struct hybrid *h)
{
	struct block_ref ref = final_ref(h);
	if (!h->tip_tc_wanted || !tc_fits(&h->spare_tc, &h->log.final->sh.h))
		return;
	if (ref.term > h->term)
		return; /* take_tc() enters it, and asks again */
	h->tip_tc_wanted = false;
	if (position_compare(&ref, &h->tip) <= 0)
		return;
	drop_qc(h);
	term_cert_free(&h->tip_tc);
	term_cert_copy(&h->tip_tc, &h->spare_tc);
	h->dirty[SLOT_TC] = true;
	h->tip = ref;
	h->tip_voted = false;
	h->dirty[SLOT_TIP] = true;
	if (h->final_cert.kind && block_ref_equal(&h->final_cert.ref, &ref))
		set_qc(h, &h->final_cert);
	h->counters[COUNT_QC_ADOPTED]++;
	pool_follow_chain(h);
}

static bool settle_transactions(struct hybrid *h, const struct block *b)
{
	bool held = false;
	for (uint32_t i = 0; i < b->tx_count; i++)
		held |= pool_remove(&h->pool, &b->tx[i].id);
	return held;
}

#define FEW_BLOCKS 16 /* final at a time, as there are but after long halts */

/* e is executed, *c its certificate. */
static void finalize(struct hybrid *h, struct log_entry *e, const struct cert *c)
{
	struct log_entry *end = end_of_epoch(h, e);
	/* The block of the certificate: an end may be final by that of a filler. */
	const struct log_entry *certified = end && MUTANT(MUTANT_END_ON_OWN_WORD) ? end : e;
	bool by_pbft = certified->block->sh.h.mode == MODE_PBFT;
	if (end) { /* what is behind it is nobody's history, but on disk with its certificate */
		store_chain(h, e);
		h->counters[COUNT_ENDS_BY_FILLER] += e != end;
		h->ended = true;
		e = end;
	}
	tip_follows_finality(h, e, c);
	if (h->role == ROLE_LEADER && c->ref.term == h->term) {
		h->counters[c->kind == CERT_ONE_ROUND ? COUNT_ONE_ROUND : COUNT_TWO_ROUND]++;
		h->cert_news = true;
		h->cert_news_at = h->now;
	}
	store_chain(h, e);
	bool was_pbft = in_pbft_mode(h);
	uint32_t count = log_depth(e);
	struct block *few[FEW_BLOCKS], **blocks = few;
	if (count > FEW_BLOCKS)
		blocks = mem_array(count, sizeof *blocks);
	struct mode_state modes = e->modes;
	bool refused = e->invalid;
	log_finalize(&h->log, e, blocks);
	keep_votes_of_cert(h, &h->final_cert, c->signers);
	cert_copy(&h->final_cert, c);
	fair_time_banks(h);
	h->final_at = h->now;
	emit_cert(&h->out, &h->final_cert);
	bool held = false;
	uint32_t answered = 0;
	for (uint32_t i = 0; i < count; i++) {
		answered += blocks[i]->tx_count;
		emit_final(&h->out, blocks[i], &h->final_cert);
		held |= settle_transactions(h, blocks[i]);
		modes_on_final(h, blocks[i], i + 1 == count && !refused ? &modes : NULL);
	}
	/* In pbft mode own votes count at once (pbft.c), in fast mode once they are durable. */
	if (by_pbft && c->signers >> h->self & 1 && !MUTANT(MUTANT_FINAL_ON_OWN_WORD))
		emit_finals_wait(&h->out);
	make_checkpoint_vote(h, blocks, count);
	for (uint32_t i = 0; i < count; i++)
		block_drop(blocks[i]);
	if (blocks != few)
		mem_free(blocks);
	resume_execution(h);
	pool_follow_chain(h);
	if (h->role == ROLE_LEADER)
		lead_answered(h, answered);
	bool mode_changed = was_pbft && !in_pbft_mode(h) && h->tc.mode == MODE_PBFT;
	if (held)
		h->counted_timeouts = 0;
	if (!mode_changed) /* else an election is due at once */
		timer_on_commit(h, held);
}

void try_finalize(struct hybrid *h)
{
	if (!h->has_pending_final || h->ended)
		return;
	struct log_entry *e = block_of(h, &h->pending_final);
	if (!e) {
		if (h->pending_final.ref.height <= h->log.final->sh.h.height) {
			keep_votes_of_cert(h, &h->pending_final, 0);
			h->has_pending_final = false;
		} else {
			fetch_from_anybody(h);
		}
		return;
	}
	for (const struct log_entry *x = e; x && !e->executed; x = x->parent)
		if (x->invalid) {
			halt_diverged(h, x->block, ERR_BAD_STATE_ROOT);
			return;
		}
	if (!e->executed)
		return;
	struct cert c;
	cert_copy(&c, &h->pending_final);
	h->has_pending_final = false;
	finalize(h, e, &c);
}

void take_final_cert(struct hybrid *h, const struct cert *c)
{
	if (!brings_us_on(h, c))
		return;
	if (h->has_pending_final)
		keep_votes_of_cert(h, &h->pending_final, 0);
	h->has_pending_final = true;
	cert_copy(&h->pending_final, c);
	try_finalize(h);
}

/* ---- checkpoints ------------------------------------------------------------------------- */

bool checkpoint_vote_due(const struct hybrid *h)
{
	return h->has_checkpoint_vote &&
	       (!h->has_stable || h->stable.ref.height < h->checkpoint_vote.ref.height);
}

static void set_stable(struct hybrid *h, const struct cert *c)
{
	h->has_stable = true;
	cert_copy(&h->stable, c);
	h->dirty[SLOT_STABLE] = true;
	h->counters[COUNT_CHECKPOINTS]++;
	trim_headers(h);
}

void take_checkpoint_vote(struct hybrid *h, unsigned from, const struct vote *v)
{
	struct tally *t = tally_of(h, v->ref.height);
	if (v->ref.height == 0 || t->kind != VOTE_CHECKPOINT)
		return; /* we have none for that place */
	if (v->signer != from || !checkpoint_vote_due(h) ||
	    (h->has_stable && v->ref.height <= h->stable.ref.height) ||
	    !block_ref_equal(&v->ref, &t->ref) || !hash_equal(&v->state_root, &t->state_root))
		return;
	if (!(t->signers >> from & 1)) {
		if (vote_check(v, h->ctx)) {
			h->counters[COUNT_BAD_SIGNATURES]++;
			return;
		}
		tally_add(t, v);
	}
	if (t->count < h->quorum.q)
		return;
	struct cert c;
	tally_cert(t, CERT_CHECKPOINT, &c);
	set_stable(h, &c);
}

void take_stable(struct hybrid *h, const struct cert *c)
{
	if (c->kind != CERT_CHECKPOINT || c->ref.height > h->log.final->sh.h.height ||
	    (h->has_stable && c->ref.height <= h->stable.ref.height))
		return;
	int known = log_is_final(&h->log, &c->ref);
	if (known == -1)
		return;
	if (cert_check(c, h->ctx)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return;
	}
	const struct log_header *mine = log_final_header(&h->log, c->ref.height);
	if (known == 0 || !hash_equal(&mine->sh.h.state_root, &c->state_root)) {
		emit_halt(
			&h->out,
			"a quorum has signed a checkpoint at height %llu that differs from the "
			"block here. This replica's state has diverged; nothing was changed. "
			"Restore its data from a backup or a peer before starting it again",
			(unsigned long long)c->ref.height);
		return;
	}
	set_stable(h, c);
}
