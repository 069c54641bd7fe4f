/* The ledger's mode entries: which ones a term's blocks must hold, and what they do when they
 * are final (docs/consensus.md, "PBFT mode"). Effects on mode apply at finality, in
 * chain order; validity is judged along the block's own chain. */
#include "consensus/hybrid/hybrid.h"

bool in_pbft_mode(const struct hybrid *h)
{
	if (h->quorum.f == 0)
		return false;
	return h->pinned || h->escalated ||
	       (h->tc.mode == MODE_PBFT && h->fast_term != h->tc.term);
}

bool is_jailed(const struct hybrid *h, unsigned validator)
{
	return (h->modes.jailed >> validator & 1) || h->proof[validator].bytes;
}

const struct mode_state *modes_after(const struct hybrid *h, const struct log_entry *e)
{
	return e ? &e->modes : &h->modes;
}

void modes_enter(struct hybrid *h, struct log_entry *e)
{
	e->modes = *modes_after(h, e->parent);
	if (mode_state_apply_block(&e->modes, e->block, h->ctx, h->genesis) ||
	    (e->parent && e->parent->invalid))
		e->invalid = true;
}

/* ---- what a term asks for ---------------------------------------------------------------- */

/* Recorded is the reason that most view changes of the NEW-VIEW name, the lowest of equals;
 * "join" and none only if nobody names another. */
static enum escalation_reason recorded_reason(const struct new_view *nv)
{
	unsigned named[REASON_JOIN + 1] = {0};
	for (unsigned i = 0; i < nv->count; i++)
		named[nv->vc[i].reason]++;
	enum escalation_reason best = REASON_NONE;
	unsigned most = 0;
	for (unsigned r = REASON_PROOF; r < REASON_JOIN; r++)
		if (named[r] > most) {
			most = named[r];
			best = (enum escalation_reason)r;
		}
	if (!most && named[REASON_JOIN])
		return REASON_JOIN;
	return best;
}

static unsigned name_as_final(const struct new_view *nv, uint64_t mode_entry)
{
	unsigned count = 0;
	for (unsigned i = 0; i < nv->count; i++)
		count += nv->vc[i].last_mode_change == mode_entry;
	return count;
}

/* The mode entry that the block at this height of tc's term must hold, on top of m. */
static bool entry_is_due(const struct hybrid *h, const struct term_cert *tc,
			 const struct mode_state *m, uint64_t height, struct system_tx *out)
{
	if (tc->mode != MODE_PBFT || h->pinned)
		return false;
	*out = (struct system_tx){.height = height, .term = tc->term};
	if (m->mode == MODE_PBFT) {
		out->kind = SYSTEM_MODE_FAST;
		return height >= mode_fast_due(m, h->genesis);
	}
	/* Fast so far. What f+1 name as final some correct replica has seen final: then this is
	 * a new escalation. Otherwise the mode fast may not be known to all yet: repeat it. */
	if (name_as_final(tc->new_view, m->changed) >= h->quorum.f + 1 ||
	    MUTANT(MUTANT_ALWAYS_ESCALATE)) {
		out->kind = SYSTEM_ESCALATED;
		out->reason = recorded_reason(tc->new_view);
	} else {
		out->kind = SYSTEM_MODE_FAST;
	}
	return true;
}

/* A mode fast of this very term: nothing extends it in its term. */
static bool ends_term(const struct hybrid *h, enum mode mode, uint64_t base_height,
		      const struct log_entry *parent, uint64_t height)
{
	return mode == MODE_PBFT && !h->pinned && height > base_height + 1 &&
	       modes_after(h, parent)->mode == MODE_FAST;
}

static bool same_entry(const struct system_tx *a, const struct system_tx *b)
{
	return a->kind == b->kind && a->term == b->term && a->reason == b->reason;
}

/* What the chain alone tells, and, for the first block of a pbft term, its NEW-VIEW. */
static enum rules judge_rules(const struct hybrid *h, const struct log_entry *e)
{
	const struct header *b = &e->block->sh.h;
	const struct mode_state *before = modes_after(h, e->parent);
	if (before->jailed >> b->leader & 1 && !MUTANT(MUTANT_JAILED_LEADS))
		return RULES_BROKEN;
	if (after_end(h, e->parent))
		return follows_end(h, e) ? RULES_HOLD : RULES_BROKEN;
	if (ends_term(h, b->mode, b->base_height, e->parent, b->height) &&
	    !MUTANT(MUTANT_EXTEND_MODE_FAST))
		return RULES_BROKEN;
	struct system_tx due, first;
	memset(&first, 0, offsetof(struct system_tx, member));
	if (e->block->tx_count) {
		struct slice tx = block_tx_bytes(e->block, 0);
		if (system_tx_is(tx) && system_tx_decode(&first, tx, h->ctx))
			return RULES_BROKEN;
	}
	bool has = first.kind == SYSTEM_ESCALATED || first.kind == SYSTEM_MODE_FAST;
	if (b->mode == MODE_FAST)
		return has ? RULES_BROKEN : RULES_HOLD;
	const struct term_cert *tc = views_find(h, b->term, &b->new_view);
	if (!tc && before->mode == MODE_FAST && !h->pinned)
		return RULES_UNKNOWN;
	const struct term_cert known = {.mode = MODE_PBFT, .term = b->term};
	bool wanted = entry_is_due(h, tc ? tc : &known, before, b->height, &due);
	return has == wanted && (!wanted || same_entry(&first, &due)) ? RULES_HOLD
								      : RULES_BROKEN;
}

#define FEW_UNJUDGED 16 /* blocks on a chain, as there are but after long halts */

/* Ancestors first: what is said to hold stands on what holds. */
enum rules mode_rules(struct hybrid *h, struct log_entry *e, uint64_t strict_term,
		      struct log_entry **at)
{
	struct log_entry *few[FEW_UNJUDGED], **path = few;
	size_t count = 0;
	for (struct log_entry *x = e; x && x->rules != RULES_HOLD; x = x->parent)
		count++;
	if (count > FEW_UNJUDGED)
		path = mem_array(count, sizeof *path);
	for (size_t i = 0; i < count; i++, e = e->parent)
		path[i] = e;
	bool all = true;
	enum rules found = RULES_HOLD;
	while (count && found == RULES_HOLD) {
		struct log_entry *x = path[--count];
		enum rules r = x->rules ? x->rules : judge_rules(h, x);
		if (r == RULES_BROKEN && !x->rules)
			h->counters[COUNT_MODE_RULES_REFUSED]++;
		all &= r == RULES_HOLD;
		if (r == RULES_BROKEN || all)
			x->rules = r;
		if (r == RULES_BROKEN ||
		    (r == RULES_UNKNOWN && x->block->sh.h.term == strict_term)) {
			*at = x;
			found = r;
		}
	}
	if (path != few)
		mem_free(path);
	return found;
}

/* ---- building ---------------------------------------------------------------------------- */

static void add_candidate(struct hybrid *h, uint32_t *count, const struct system_tx *tx,
			  uint16_t culprit)
{
	struct writer *w = &h->system[*count];
	writer_reset(w);
	system_tx_encode(w, tx, h->ctx);
	h->system_culprit[*count] = culprit;
	h->candidates[*count].bytes = writer_slice(w);
	tx_id(&h->candidates[*count].id, h->candidates[*count].bytes);
	++*count;
}

bool conviction_is_due(const struct hybrid *h, const struct log_entry *parent)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->proof[i].bytes && !(modes_after(h, parent)->jailed >> i & 1))
			return true;
	return false;
}

bool system_candidates(struct hybrid *h, const struct log_entry *parent, uint64_t height,
		       uint32_t *count, bool *alone)
{
	*count = 0;
	*alone = after_end(h, parent);
	if (*alone)
		return filler_is_due(h, parent);
	if (ends_term(h, h->tc.mode, h->tc.base.height, parent, height))
		return false;
	const struct mode_state *before = modes_after(h, parent);
	struct system_tx due;
	*alone = member_entry(h, parent, height, &due);
	if (*alone) {
		add_candidate(h, count, &due, NO_VALIDATOR);
		return true;
	}
	if (entry_is_due(h, &h->tc, before, height, &due))
		add_candidate(h, count, &due, NO_VALIDATOR);
	for (unsigned i = 0; i < h->n && *count < 1 + CONVICTIONS_MAX; i++) {
		if (!h->proof[i].bytes || before->jailed >> i & 1)
			continue;
		struct system_tx tx = {.kind = SYSTEM_CONVICTION,
				       .height = height,
				       .evidence =
					       slice_of(h->proof[i].bytes, h->proof[i].size)};
		add_candidate(h, count, &tx, (uint16_t)i);
	}
	return true;
}

/* ---- effects, at finality ---------------------------------------------------------------- */

static void back_to_fast(struct hybrid *h, const struct block *b)
{
	h->fast_term = b->sh.h.term;
	if (h->escalated && b->sh.h.height > h->escalated_final &&
	    !MUTANT(MUTANT_STICKY_ESCALATION)) {
		h->escalated = false;
		h->dirty[SLOT_TERM] = true;
	}
	h->counted_timeouts = 0;
	if (in_pbft_mode(h))
		return;
	if (h->role == ROLE_LEADER && h->tc.mode == MODE_PBFT) {
		lead_stop(h);
		h->role = ROLE_FOLLOWER;
	}
	h->timeouts = 0;
	timer_set(h, h->now + random_below(&h->random, h->timing.timeout_min + 1));
}

static void forget_proof(struct hybrid *h, unsigned culprit)
{
	mem_free(h->proof[culprit].bytes);
	h->proof[culprit] = (struct pending_proof){0};
}

void system_refused(struct hybrid *h, const struct hash *id)
{
	for (unsigned i = 0; i < MEM_COUNT(h->system); i++) {
		struct hash mine;
		if (!h->system[i].len || h->system_culprit[i] >= h->n)
			continue;
		tx_id(&mine, writer_slice(&h->system[i]));
		if (hash_equal(&mine, id) && h->proof[h->system_culprit[i]].bytes)
			forget_proof(h, h->system_culprit[i]);
	}
}

void modes_on_final(struct hybrid *h, const struct block *b, const struct mode_state *after)
{
	uint64_t jailed = h->modes.jailed;
	bool was_fast = h->modes.mode == MODE_FAST;
	for (uint32_t i = 0; i < b->tx_count; i++) {
		struct slice bytes = block_tx_bytes(b, i);
		struct system_tx tx;
		if (!system_tx_is(bytes) || system_tx_decode(&tx, bytes, h->ctx))
			break;
		if (mode_state_apply(&h->modes, &tx, b->sh.h.height, h->genesis))
			break; /* the ledger refused to execute it: this is not reached */
		if (tx.kind == SYSTEM_ESCALATED) {
			h->counters[COUNT_MODE_ESCALATED]++;
		} else if (tx.kind == SYSTEM_MODE_FAST) {
			h->counters[was_fast ? COUNT_MODE_FAST_REPEATED : COUNT_MODE_FAST]++;
			back_to_fast(h, b);
		}
	}
	if (after)
		h->modes = *after;
	for (unsigned i = 0; i < h->n; i++)
		if ((h->modes.jailed & ~jailed) >> i & 1) {
			h->counters[COUNT_CONVICTIONS]++;
			forget_proof(h, i);
		}
	h->counters[COUNT_PBFT_FINAL] += b->sh.h.mode == MODE_PBFT;
	if (h->escalated && b->sh.h.mode == MODE_FAST && b->sh.h.term >= h->escalated_term &&
	    !MUTANT(MUTANT_STICKY_ESCALATION)) {
		h->escalated = false;
		h->dirty[SLOT_TERM] = true;
	}
}

/* Whether the newest mode fast is of the accepted term: its block is the last of its term, so
 * it is known, or older than every block of the terms that matter. */
void modes_recovered(struct hybrid *h)
{
	if (h->modes.mode != MODE_FAST || !h->modes.changed)
		return;
	const struct log_header *at = log_final_header(&h->log, h->modes.changed);
	if (at)
		h->fast_term = at->sh.h.term;
}
