/* From a store to the stream. */
#include <inttypes.h>
#include <stdio.h>

#include "chain/recovery.h"
#include "consensus/begin_anew.h"
#include "replica/audit.h"
#include "replica/backup_private.h"
#include "replica/epoch.h"

#define STEP_HEIGHTS 64 /* between two looks at the progress */

struct creation {
	struct replica view;
	struct backup_writer w;
	const struct backup_options *o;
	struct cert tip;
	struct handover ended; /* the tip ends an epoch, and the store has no record of that */
	/* Hashes of heights above those that are indexed: final by the certificate, and not
	 * executed before a crash. ascending[0] is of height indexed + 1. */
	uint64_t indexed;
	struct hash *above;
	uint64_t term; /* of the last block written */
	struct writer scratch;
	struct errmsg *m;
};

static int damaged(struct creation *c, uint64_t height, const char *what, int err)
{
	return err_set(c->m, err,
		       "%s at height %" PRIu64
		       ": %s. `ostrakon db check` says what is damaged, "
		       "`ostrakon db repair` what can be done",
		       what, height, err_text(err));
}

static bool indexed_hash(struct creation *c, uint64_t height, struct hash *out)
{
	struct record_key k;
	if (store_get(c->view.store, STORE_BLOCKS, key_final(&k, height), &c->scratch) ||
	    c->scratch.len != HASH_SIZE)
		return false;
	memcpy(out->b, c->scratch.buf, HASH_SIZE);
	return true;
}

/* Walks down from the newest certificate until the index takes over. */
static int find_tip(struct creation *c)
{
	int err = records_newest_cert(&c->view, &c->tip);
	uint64_t start = c->view.start->sh.h.height;
	if (err == ERR_NOT_FOUND || (!err && start && c->tip.ref.height <= start)) {
		/* nothing but genesis; nothing of this epoch yet */
		c->tip = (struct cert){.ref = block_ref_of(c->view.start)};
		err = ERR_NONE;
	}
	if (err)
		return damaged(c, 0, "the newest certificate", err);
	struct hash at = c->tip.ref.hash, have;
	uint64_t height = c->tip.ref.height, cap = 0, count = 0;
	struct hash *down = NULL;
	while (height > 0 && !indexed_hash(c, height, &have) && !err) {
		struct block *b;
		if (count == cap) {
			cap = cap ? 2 * cap : 64;
			down = mem_realloc(down, cap * sizeof *down);
		}
		down[count++] = at;
		err = records_block(&c->view, height, &at, &b);
		if (err) {
			err = damaged(c, height, "the final block", err);
			break;
		}
		at = b->sh.h.prev;
		block_drop(b);
		height--;
	}
	if (!err && height > 0 && !hash_equal(&at, &have))
		err = damaged(c, height, "the index of final blocks", ERR_BAD_LINK);
	c->indexed = height;
	c->above = mem_array(count ? count : 1, sizeof *c->above);
	for (uint64_t i = 0; i < count; i++)
		c->above[i] = down[count - 1 - i];
	mem_free(down);
	return err;
}

static bool final_hash(struct creation *c, uint64_t height, struct hash *out)
{
	if (height <= c->indexed)
		return indexed_hash(c, height, out);
	*out = c->above[height - c->indexed - 1];
	return true;
}

/* Stopped, or looked at, right before it began the next epoch: what is above the end are
 * fillers, nobody's history. */
static int find_end(struct creation *c)
{
	uint64_t h = c->indexed;
	int err = ERR_NONE;
	if (h <= c->view.ctx.start_height)
		h = c->view.ctx.start_height + 1;
	for (; h <= c->tip.ref.height && !err && !c->ended.end; h++) {
		struct member_change change;
		struct chain_ctx next;
		struct hash hash;
		struct block *b;
		err = final_hash(c, h, &hash) ? records_block(&c->view, h, &hash, &b)
					      : ERR_CORRUPT;
		if (err)
			return damaged(c, h, "the final block", err);
		if (epoch_end_of(b, &c->view.ctx, &change)) {
			err = epoch_prove(&c->view, b, &c->tip, &c->ended);
			if (!err)
				err = handover_check(&c->ended, &c->view.ctx, &next);
			if (err)
				damaged(c, h, "what proves the end of the epoch",
					err == ERR_IO ? err : ERR_CORRUPT);
			c->tip.ref = block_ref_of(b);
		}
		block_drop(b);
	}
	return err;
}

static int put(struct creation *c, enum backup_record type)
{
	return backup_write(&c->w, type, writer_slice(&c->scratch), c->m);
}

static int put_genesis(struct creation *c)
{
	writer_reset(&c->scratch);
	genesis_encode(&c->scratch, c->o->genesis);
	return put(c, RECORD_GENESIS);
}

/* The certificate of each term that the chain has blocks of; by what the block says, it is
 * checked with them. */
static int put_term(struct creation *c, uint64_t term)
{
	struct record_key k;
	struct writer bytes = {0};
	int err = store_get(c->view.store, STORE_CERTS, key_tc(&k, term), &bytes);
	if (!err) {
		writer_reset(&c->scratch);
		writer_u64(&c->scratch, term);
		writer_raw(&c->scratch, bytes.buf, bytes.len);
		err = put(c, RECORD_TC);
	} else if (err == ERR_NOT_FOUND) {
		err = ERR_NONE; /* final blocks need none */
	} else {
		err = err_set(c->m, err, "the certificate of term %" PRIu64 ": %s", term,
			      err_text(err));
	}
	writer_free(&bytes);
	return err;
}

/* One of its own the tip has, and an end may have, for that of a filler may prove it. */
static int put_cert(struct creation *c, uint64_t height, const struct hash *hash, bool is_end)
{
	struct cert cert;
	int err = records_cert(&c->view, height, &cert);
	if (err == ERR_NOT_FOUND && (height != c->tip.ref.height || is_end))
		return ERR_NONE;
	if (!err && !hash_equal(&cert.ref.hash, hash))
		err = ERR_BAD_HASH;
	if (err)
		return damaged(c, height, "the certificate", err);
	writer_reset(&c->scratch);
	cert_encode(&c->scratch, &cert);
	return put(c, RECORD_CERT);
}

/* Of the end b of the epoch of ctx. */
static int put_epoch(struct creation *c, const struct block *b, const struct chain_ctx *ctx)
{
	struct handover h = {0};
	struct chain_ctx next;
	const struct handover *use = &h;
	int err = ERR_NONE;
	if (c->ended.end && hash_equal(&c->ended.end->hash, &b->hash))
		use = &c->ended;
	else
		err = epoch_handover(&c->view, ctx->epoch + 1, &h);
	if (!err)
		err = hash_equal(&use->end->hash, &b->hash) ? handover_check(use, ctx, &next)
							    : ERR_BAD_LINK;
	if (err)
		err = damaged(c, b->sh.h.height, "what proves the end of the epoch",
			      err == ERR_IO ? err : ERR_CORRUPT);
	writer_reset(&c->scratch);
	if (!err) {
		handover_encode(&c->scratch, use);
		err = put(c, RECORD_EPOCH);
	}
	handover_free(&h);
	return err;
}

static int put_block(struct creation *c, uint64_t height)
{
	const struct chain_ctx *ctx = replica_ctx_at(&c->view, height);
	struct member_change change;
	struct hash hash;
	struct block *b;
	int err = ERR_NONE;
	if (!final_hash(c, height, &hash))
		return damaged(c, height, "the index of final blocks", ERR_CORRUPT);
	err = records_block(&c->view, height, &hash, &b);
	if (err)
		return damaged(c, height, "the final block",
			       err == ERR_NOT_FOUND ? ERR_CORRUPT : err);
	if (b->sh.h.term != c->term)
		err = put_term(c, b->sh.h.term);
	c->term = b->sh.h.term;
	writer_reset(&c->scratch);
	block_encode(&c->scratch, b);
	if (!err)
		err = put(c, RECORD_BLOCK);
	bool is_end = epoch_end_of(b, ctx, &change);
	if (!err)
		err = put_cert(c, height, &hash, is_end);
	if (!err && is_end)
		err = put_epoch(c, b, ctx);
	if (height == c->tip.ref.height)
		c->w.manifest.s.state_root = b->sh.h.state_root;
	block_drop(b);
	return err;
}

static int put_evidence(struct creation *c)
{
	struct slice key, value, none = {0};
	int err = ERR_NONE;
	struct store_iter *it =
		store_iter_new(c->view.store, STORE_EVIDENCE, none, none, false);
	while (!err && store_iter_next(it, &key, &value))
		err = backup_write(&c->w, RECORD_EVIDENCE, value, c->m);
	if (!err && store_iter_error(it))
		err = err_set(c->m, store_iter_error(it),
			      "the evidence in the store cannot be read");
	store_iter_free(it);
	return err;
}

/* What took the place of the genesis file's validators. */
static int put_recoveries(struct creation *c)
{
	int err = ERR_NONE;
	for (unsigned i = 0; i < c->o->genesis->recovery_count && !err; i++) {
		writer_reset(&c->scratch);
		recovery_encode(&c->scratch, &c->o->genesis->recoveries[i]);
		err = put(c, RECORD_RECOVERY);
	}
	return err;
}

/* The newest stable checkpoint, if it is of the last block's term. Whoever begins anew from
 * that block needs it to show its position, if the term is long. It is the only thing that is
 * taken from the vote state, and no vote. */
static int put_checkpoint(struct creation *c)
{
	struct writer slots[VOTE_SLOTS] = {{0}};
	struct hash hash;
	struct cert *stable = mem_alloc(sizeof *stable);
	bool there = protocol_is_byzantine(c->o->genesis->protocol);
	for (uint8_t slot = 0; there && slot < VOTE_SLOTS; slot++)
		store_get(c->view.store, STORE_VOTES, slice_of(&slot, 1), &slots[slot]);
	there = there && hybrid_stable_checkpoint(stable, slots) && !c->ended.end &&
		stable->ref.height > c->view.ctx.start_height &&
		stable->ref.term == c->tip.ref.term && stable->ref.height <= c->indexed &&
		indexed_hash(c, stable->ref.height, &hash) &&
		hash_equal(&hash, &stable->ref.hash);
	if (there) {
		writer_reset(&c->scratch);
		cert_encode(&c->scratch, stable);
	}
	for (unsigned slot = 0; slot < VOTE_SLOTS; slot++)
		writer_free(&slots[slot]);
	mem_free(stable);
	return there ? put(c, RECORD_CHECKPOINT) : ERR_NONE;
}

static int put_end(struct creation *c)
{
	writer_reset(&c->scratch);
	writer_u64(&c->scratch, c->tip.ref.height);
	writer_hash(&c->scratch, &c->tip.ref.hash);
	writer_hash(&c->scratch, &c->w.manifest.s.state_root);
	return put(c, RECORD_END);
}

/* The oldest blocks may have been given up (ledger/ledger.h, history). */
static int check_begin(struct creation *c)
{
	struct hash hash;
	if (c->indexed == 0 || indexed_hash(c, 1, &hash))
		return ERR_NONE;
	struct record_key k;
	struct slice key, value;
	uint8_t end = 'h' + 1;
	uint64_t oldest = 0;
	struct store_iter *it = store_iter_new(c->view.store, STORE_BLOCKS, key_final(&k, 1),
					       slice_of(&end, 1), false);
	if (store_iter_next(it, &key, &value) && key.len == 9)
		oldest = load_be64(key.ptr + 1);
	store_iter_free(it);
	return err_set(c->m, ERR_STALE,
		       "this node has no blocks below height %" PRIu64
		       " any more: a backup begins at genesis. Take it from a node that keeps "
		       "all blocks",
		       oldest);
}

static int write_all(struct creation *c)
{
	const struct backup_progress *p = c->o->progress;
	uint64_t tip = c->tip.ref.height;
	int err = put_genesis(c);
	if (!err)
		err = put_recoveries(c);
	for (uint64_t h = 1; h <= tip && !err; h++) {
		err = put_block(c, h);
		if (!err && p && (h % STEP_HEIGHTS == 0 || h == tip) &&
		    !p->step(p->arg, h, tip, c->w.manifest.s.bytes, 0))
			err = err_set(c->m, ERR_CLOSED, "interrupted at height %" PRIu64, h);
	}
	if (!err)
		err = put_evidence(c);
	if (!err)
		err = put_checkpoint(c);
	return err ? err : put_end(c);
}

int backup_create(struct store *s, const char *dest, const struct backup_options *o,
		  struct backup_summary *out, struct errmsg *m)
{
	struct audit_result head;
	int refused = replica_audit_head(s, o->genesis, &head, m);
	if (refused == ERR_VERSION || refused == ERR_WRONG_CHAIN) {
		*out = (struct backup_summary){0};
		return refused;
	}
	struct creation *c = mem_zalloc(sizeof *c);
	struct files_new_dir dir;
	c->o = o;
	c->m = m;
	records_view(&c->view, s, o->genesis);
	backup_writer_init(&c->w, dir.partial, &c->view.ctx.id,
			   o->part_bytes ? o->part_bytes : BACKUP_PART_BYTES);
	int err = files_begin_dir(&dir, dest, m);
	if (!err)
		err = find_tip(c);
	if (!err)
		err = check_begin(c);
	if (!err)
		err = find_end(c);
	if (c->view.epoch_count > 1 || c->ended.end)
		c->w.manifest.version = BACKUP_EPOCHS;
	c->w.manifest.s.made_ms = o->made_ms;
	c->w.manifest.s.height = c->tip.ref.height;
	c->w.manifest.s.block = c->tip.ref.hash;
	c->w.manifest.s.state_root = o->genesis->state_root;
	if (!err)
		err = write_all(c);
	if (!err)
		err = backup_writer_finish(&c->w, m);
	if (!err)
		err = files_finish_dir(&dir, m);
	files_abandon_dir(&dir);
	*out = c->w.manifest.s;
	backup_writer_free(&c->w);
	records_view_free(&c->view);
	handover_free(&c->ended);
	mem_free(c->above);
	writer_free(&c->scratch);
	mem_free(c);
	return err;
}
