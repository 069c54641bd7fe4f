/* A validator of a recovered chain (docs/decisions/0011-disaster-recovery.md). */
#include <inttypes.h>

#include "chain/recovery.h"
#include "consensus/begin_anew.h"
#include "replica/private.h"

#define MARK_VERSION 1

struct beginning {
	struct replica view;
	const struct recovery *recovery;
	struct block *kept;
	struct cert final;
	struct term_cert tc;
	const struct cert *stable;
	struct errmsg *m;
};

static int find_kept(struct beginning *b)
{
	char hex[HASH_HEX_SIZE];
	const struct block_ref *kept = &b->recovery->kept;
	int err = records_newest_cert(&b->view, &b->final);
	if (!err && !block_ref_equal(&b->final.ref, kept))
		return err_set(b->m, ERR_RANGE,
			       "the backup ends at height %" PRIu64
			       ", and the recovery keeps what is up to height %" PRIu64
			       ", block %s: take the backup that it was drafted from",
			       b->final.ref.height, kept->height, hash_hex(hex, &kept->hash));
	if (!err)
		err = records_block(&b->view, kept->height, &kept->hash, &b->kept);
	if (!err && !hash_equal(&b->kept->sh.h.state_root, &b->recovery->state_root))
		err = ERR_BAD_STATE_ROOT;
	return err ? err_set(b->m, err, "the block that is kept: %s", err_text(err)) : ERR_NONE;
}

/* Of a NEW-VIEW, its base is not encoded: the certified block says it. */
static int find_term(struct beginning *b)
{
	const struct header *h = &b->kept->sh.h;
	int err = records_tc(&b->view, h->term, &b->tc);
	if (!err && b->tc.mode == MODE_PBFT) {
		b->tc.leader = h->leader;
		b->tc.base = (struct block_ref){.height = h->base_height, .hash = h->base};
	}
	return err ? err_set(b->m, err,
			     "the certificate of term %" PRIu64
			     ", that of the block that is kept, is not in the backup: %s",
			     h->term, err_text(err))
		   : ERR_NONE;
}

/* Headers from the block that is kept down to its term's base, or to a checkpoint of that term,
 * are what the new validators show each other. */
static int check_span(struct beginning *b)
{
	uint64_t floor = b->kept->sh.h.base_height;
	struct block *at;
	if (b->stable) {
		int err = records_block(&b->view, b->stable->ref.height, &b->stable->ref.hash,
					&at);
		if (err)
			return err_set(b->m, err, "the stable checkpoint is of another chain");
		block_drop(at);
		floor = b->stable->ref.height;
	}
	if (b->kept->sh.h.height - floor <= POSITION_HEADERS_MAX / 2)
		return ERR_NONE;
	return err_set(b->m, ERR_LIMIT,
		       "there are %" PRIu64
		       " blocks between the last stable checkpoint in the backup and its end: "
		       "take a backup of a validator's data, which has a newer one",
		       b->kept->sh.h.height - floor);
}

/* In one batch: before it the home is one that never votes. */
static int write_state(struct beginning *b)
{
	struct writer slots[VOTE_SLOTS] = {{0}}, mark = {0};
	struct slice key, value, none = {0};
	struct store *s = b->view.store;
	struct hash id;
	hybrid_begin_anew(slots, &b->final, &b->tc, b->stable);
	store_batch_clear(b->view.batch);
	for (uint8_t slot = 0; slot < VOTE_SLOTS; slot++)
		if (slots[slot].len)
			store_batch_put(b->view.batch, STORE_VOTES, slice_of(&slot, 1),
					writer_slice(&slots[slot]));
	/* Proofs against those who had the validators' numbers before. */
	struct store_iter *it = store_iter_new(s, STORE_EVIDENCE, none, none, false);
	while (store_iter_next(it, &key, &value))
		store_batch_delete(b->view.batch, STORE_EVIDENCE, key);
	int err = store_iter_error(it);
	store_iter_free(it);
	writer_u16(&mark, MARK_VERSION);
	store_batch_put(b->view.batch, STORE_META, slice_str(FIRST_VOTES_KEY),
			writer_slice(&mark));
	recovery_hash(&id, b->recovery);
	store_batch_put(b->view.batch, STORE_META, slice_str(RECOVERY_KEY), hash_slice(&id));
	store_batch_delete(b->view.batch, STORE_META, slice_str(RESTORED_KEY));
	if (!err)
		err = store_write(s, b->view.batch, true);
	for (unsigned slot = 0; slot < VOTE_SLOTS; slot++)
		writer_free(&slots[slot]);
	writer_free(&mark);
	return err ? err_set(b->m, err, "writing the first vote state: %s", err_text(err))
		   : ERR_NONE;
}

int replica_begin_anew(struct store *s, const struct genesis *g, const struct cert *stable,
		       struct errmsg *m)
{
	if (!g->recovery_count)
		return err_set(m, ERR_PERMISSION, "the genesis file has no recovery");
	struct beginning *b = mem_zalloc(sizeof *b);
	b->recovery = &g->recoveries[g->recovery_count - 1];
	b->stable = stable;
	b->m = m;
	term_cert_init(&b->tc);
	records_view(&b->view, s, g);
	int err = find_kept(b);
	if (!err)
		err = find_term(b);
	if (!err)
		err = check_span(b);
	if (!err)
		err = write_state(b);
	block_drop(b->kept);
	term_cert_free(&b->tc);
	records_view_free(&b->view);
	mem_free(b);
	return err;
}

/* ---- at each start ----------------------------------------------------------------------- */

/* What it has as final may have been cut off, by others or by its own operator's recovery. */
static int check_chain(struct replica *r, struct errmsg *m)
{
	const struct genesis *g = r->config.genesis;
	struct cert *newest = mem_alloc(sizeof *newest);
	struct block *b;
	int err = records_newest_cert(r, newest);
	bool cut = !err && cert_check(newest, &r->ctx);
	if (err == ERR_NOT_FOUND)
		err = ERR_NONE;
	mem_free(newest);
	for (unsigned i = 0; i < g->recovery_count && !cut && !err; i++) {
		const struct block_ref *kept = &g->recoveries[i].kept;
		if (replica_block(r, kept->height, &b) != ERR_NONE)
			continue; /* not that far yet, or given up */
		cut = !hash_equal(&b->hash, &kept->hash);
		block_drop(b);
	}
	if (err)
		return err_set(m, err, "reading the newest certificate: %s", err_text(err));
	return cut ? err_set(m, ERR_CONFIG,
			     "this data has blocks that recovery %u cut off. Keep it, as it "
			     "shows "
			     "that they were final; `ostrakon recovery start` makes a home for "
			     "the "
			     "recovered chain",
			     g->recovery_count)
		   : ERR_NONE;
}

static int check_votes(struct replica *r, struct errmsg *m)
{
	struct writer mark = {0};
	struct hash id;
	bool votes = false;
	recovery_hash(&id,
		      &r->config.genesis->recoveries[r->config.genesis->recovery_count - 1]);
	for (uint8_t slot = 0; slot < VOTE_SLOTS && !votes; slot++)
		votes = store_get(r->store, STORE_VOTES, slice_of(&slot, 1), &mark) == ERR_NONE;
	writer_reset(&mark);
	int err = store_get(r->store, STORE_META, slice_str(RECOVERY_KEY), &mark);
	bool same = !err && slice_equal(writer_slice(&mark), hash_slice(&id));
	writer_free(&mark);
	if (err == ERR_NOT_FOUND)
		err = ERR_NONE;
	if (err || same || observer_is_marked(r->store))
		return err ? err_set(m, err, "reading whose votes these are: %s", err_text(err))
			   : ERR_NONE;
	if (votes)
		return err_set(m, ERR_CONFIG,
			       "the vote state in this home is of the keys before recovery %u: "
			       "`ostrakon recovery start` makes a home for a new one",
			       r->config.genesis->recovery_count);
	/* A new validator that begins with nothing: what it will write is of today's key. */
	store_batch_clear(r->batch);
	store_batch_put(r->batch, STORE_META, slice_str(RECOVERY_KEY), hash_slice(&id));
	err = store_write(r->store, r->batch, true);
	store_batch_clear(r->batch);
	return err ? err_set(m, err, "writing whose votes these are: %s", err_text(err))
		   : ERR_NONE;
}

int recovered_check(struct replica *r, struct errmsg *m)
{
	int err = check_chain(r, m);
	return err ? err : check_votes(r, m);
}
