/* From disk to a running replica (after a restart: resend, never decide again). */
#include <stdlib.h>

#include "consensus/hybrid/hybrid.h"

static int by_height(const void *a, const void *b)
{
	uint64_t x = (*(struct block *const *)a)->sh.h.height;
	uint64_t y = (*(struct block *const *)b)->sh.h.height;
	return x < y ? -1 : x > y;
}

static int recover_slots(struct hybrid *h, const struct engine_recovery *rec, struct errmsg *m)
{
	for (unsigned slot = 0; slot < MEM_COUNT(rec->votes); slot++) {
		if (!rec->votes[slot].len)
			continue;
		int err = state_read_slot(h, slot, rec->votes[slot]);
		if (err)
			return err_set(
				m, ERR_CORRUPT,
				"the vote state (slot %u) on disk cannot be read: %s; this "
				"validator must not vote with it: restore the disk or "
				"replace its key",
				slot, err_text(err));
	}
	if (h->tip.term > h->term || h->tc.term > h->term || h->signed_term > h->term ||
	    h->tip_tc.term != h->tip.term)
		return err_set(m, ERR_CORRUPT,
			       "the vote state on disk contradicts itself (term %llu, tip of "
			       "term %llu, certificate of term %llu); this validator must not "
			       "vote with it: restore the disk or replace its key",
			       (unsigned long long)h->term, (unsigned long long)h->tip.term,
			       (unsigned long long)h->tc.term);
	return ERR_NONE;
}

static void recover_block(struct hybrid *h, struct block *b, bool needed)
{
	struct log_entry *e;
	int err = needed ? log_add_needed(&h->log, b, &e) : log_add(&h->log, b, &e);
	if (err == ERR_NONE && !e->stored) {
		modes_enter(h, e);
		e->stored = true; /* the rest belongs to forks that finality cut off */
	}
}

/* The tip's chain first, whatever else there is: without it we could show no position. */
static void recover_tip_chain(struct hybrid *h, const struct engine_recovery *rec)
{
	uint64_t final = rec->final->sh.h.height;
	if (h->tip.height <= final)
		return;
	struct map by_hash;
	map_init(&by_hash, h->random.s[0]);
	for (uint32_t i = 0; i < rec->block_count; i++)
		map_put(&by_hash, rec->blocks[i]->hash.b, rec->blocks[i]);
	size_t depth = 0, cap = 0;
	struct block **chain = NULL;
	struct hash at = h->tip.hash;
	for (uint64_t height = h->tip.height; height > final; height--) {
		struct block *b = map_get(&by_hash, at.b);
		if (b)
			block_hold(b);
		else if (!rec->block_at || !rec->block_at(rec->block_arg, height, &at, &b))
			break;
		if (depth == cap) {
			cap = cap ? 2 * cap : 64;
			chain = mem_realloc(chain, cap * sizeof *chain);
		}
		chain[depth++] = b;
		at = b->sh.h.prev;
	}
	while (depth > 0) {
		recover_block(h, chain[--depth], true);
		block_drop(chain[depth]);
	}
	mem_free(chain);
	map_free(&by_hash);
}

static void recover_blocks(struct hybrid *h, const struct engine_recovery *rec)
{
	recover_tip_chain(h, rec);
	struct block **sorted = mem_array(rec->block_count + 1, sizeof *sorted);
	for (uint32_t i = 0; i < rec->block_count; i++)
		sorted[i] = rec->blocks[i];
	qsort(sorted, rec->block_count, sizeof *sorted, by_height);
	for (uint32_t i = 0; i < rec->block_count; i++)
		recover_block(h, sorted[i], false);
	mem_free(sorted);
}

/* The tip's block is on disk: in the log, or on a branch that finality has cut off since. */
static bool tip_is_stored(const struct hybrid *h, const struct engine_recovery *rec)
{
	if (h->tip.height <= rec->final->sh.h.height)
		return true;
	for (uint32_t i = 0; i < rec->block_count; i++)
		if (hash_equal(&rec->blocks[i]->hash, &h->tip.hash))
			return true;
	return log_find(&h->log, &h->tip.hash) != NULL;
}

/* All that our position shows: in a long term whose checkpoints we were not told of, more than
 * what is usual. */
static void recover_headers(struct hybrid *h, const struct engine_recovery *rec)
{
	uint64_t oldest = h->log.final->sh.h.height + 1 - h->log.header_count;
	uint64_t floor = shown_from(h);
	struct signed_header sh;
	while (rec->header_at && oldest > floor && oldest > 0 &&
	       rec->header_at(rec->header_arg, oldest - 1, &sh) && log_add_older(&h->log, &sh))
		oldest--;
}

int hybrid_recover(struct hybrid *h, const struct engine_recovery *rec, struct errmsg *m)
{
	uint32_t below =
		rec->header_count ? rec->header_count - 1 : 0; /* the last is final's */
	block_log_init(&h->log, rec->final, rec->headers, below, h->random.s[0]);
	uint64_t windows = 2 * (uint64_t)h->window * h->genesis->limits.block_body_max;
	if (windows > h->log.bytes_max)
		h->log.bytes_max = windows;
	if (rec->final_cert)
		h->final_cert = *rec->final_cert;
	int err = recover_slots(h, rec, m);
	if (err)
		return err;
	recover_headers(h, rec);
	h->modes = rec->modes;
	modes_recovered(h);
	if (MUTANT(MUTANT_FORGET_VIEW_CHANGE) && h->signed_is_vc)
		h->signed_term = 0;
	recover_blocks(h, rec);
	views_keep(h, &h->tc);
	views_keep(h, &h->tip_tc);
	proofs_recover(h, rec);
	view_recover(h);
	if (!tip_is_stored(h, rec)) {
		char hex[HASH_HEX_SIZE];
		return err_set(m, ERR_CORRUPT,
			       "block %s at height %llu, for which this validator voted, is "
			       "missing on disk: it must not vote again before the disk is "
			       "restored or its key replaced",
			       hash_hex(hex, &h->tip.hash), (unsigned long long)h->tip.height);
	}
	if (h->has_stable)
		trim_headers(h);
	/* Finality has overtaken the tip: this replica stopped before the certificate of the
	 * final block's term came, or got its state from others. It must not wait for the next
	 * final block, which may take its vote. */
	struct block_ref final = final_ref(h);
	h->tip_tc_wanted =
		final.height > h->tip.height && position_compare(&final, &h->tip) > 0;
	/* In a term that we may have led, blocks of ours may be lost on this disk and known to
	 * others: propose and PREPARE nothing more in it. */
	if (h->signed_term == h->term && h->signed_term && !h->signed_is_vc &&
	    h->signed_vote.leader == h->self) {
		h->led_before_restart = h->term;
		h->counters[COUNT_RESTARTED_LEADER]++;
	}
	return ERR_NONE;
}

void hybrid_resume(struct hybrid *h)
{
	h->resumed = true;
	struct log_entry *e;
	for (size_t i = 0; (e = map_next(&h->log.by_hash, &i, NULL)) != NULL;)
		if (!e->parent)
			request_execution(h, e);
	pool_follow_chain(h);
	if (!h->asking)
		pbft_resume_leading(h);
	if (MUTANT(MUTANT_RELEAD_AFTER_RESTART) && h->led_before_restart == h->term &&
	    current_leader(h) == h->self)
		lead_begin(h);
}
