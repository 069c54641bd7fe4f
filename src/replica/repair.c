#include "replica/repair.h"
#include "chain/recovery.h"
#include "replica/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "replica/audit.h"
#include "replica/epoch.h"
#include "replica/files.h"
#include "replica/replay.h"

#define STEP_HEIGHTS 64

struct repair {
	struct replica old;
	struct replay replay;
	const struct repair_options *o;
	struct repair_result *out;
	struct store *store;	       /* the new one */
	uint64_t top;		       /* the old store's newest certificate that can be read */
	uint64_t indexed;	       /* its newest final block */
	uint64_t begun;		       /* its newest epoch */
	uint64_t term;		       /* of the last block */
	struct writer block, cert, tc; /* of one height, from the source */
	bool fetched;		       /* they are of this height */
	struct writer scratch;
	struct errmsg *m;
};

int replica_stored_block(struct store *s, uint64_t height, struct writer *block,
			 struct writer *cert, struct writer *term)
{
	struct record_key k;
	struct hash hash;
	struct block *b;
	struct reader r;
	writer_reset(cert);
	writer_reset(term);
	int err = store_get(s, STORE_BLOCKS, key_final(&k, height), block);
	if (!err && block->len != HASH_SIZE)
		err = ERR_CORRUPT;
	if (err)
		return err;
	memcpy(hash.b, block->buf, HASH_SIZE);
	err = store_get(s, STORE_BLOCKS, key_block(&k, height, &hash), block);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	reader_init(&r, writer_slice(block));
	if (block_decode(&r, &b))
		return ERR_CORRUPT;
	uint64_t number = b->sh.h.term;
	err = hash_equal(&b->hash, &hash) && !reader_finish(&r) ? ERR_NONE : ERR_CORRUPT;
	block_drop(b);
	if (!err && store_get(s, STORE_CERTS, key_cert(&k, height), cert))
		writer_reset(cert);
	if (!err && store_get(s, STORE_CERTS, key_tc(&k, number), term))
		writer_reset(term);
	return err;
}

/* ---- what must be carried over whole ------------------------------------------------------
 */

static int lost(struct repair *p, const char *what)
{
	return err_set(
		p->m, ERR_STALE,
		"%s. What this validator has signed is not known for certain any more, so "
		"it must never vote again with this key: nothing was changed. Keep the "
		"data as it is; `ostrakon backup restore` makes a home that reads",
		what);
}

static int copy_family(struct repair *p, enum store_family f, struct slice from,
		       struct slice to, uint64_t *count)
{
	struct slice key, value;
	int err = ERR_NONE;
	struct store_iter *it = store_iter_new(p->old.store, f, from, to, false);
	while (!err && store_iter_next(it, &key, &value)) {
		store_batch_clear(p->old.batch);
		store_batch_put(p->old.batch, f, key, value);
		err = store_write(p->store, p->old.batch, false);
		++*count;
	}
	if (!err)
		err = store_iter_error(it);
	store_iter_free(it);
	return err;
}

static int copy_votes(struct repair *p)
{
	const struct slice none = {0};
	struct record_key k;
	uint64_t slots = 0;
	struct slice key, value;
	if (copy_family(p, STORE_VOTES, none, none, &slots))
		return lost(p, "the vote state cannot be read");
	static const char *const marks[] = {RESTORED_KEY,    OBSERVER_KEY, FIRST_VOTES_KEY,
					    VOTES_EPOCH_KEY, RECOVERY_KEY, VOTED_KEYS_KEY};
	bool votes_nothing = false;
	for (size_t i = 0; i < MEM_COUNT(marks); i++) {
		struct slice mark = slice_str(marks[i]);
		int err = store_get(p->old.store, STORE_META, mark, &p->scratch);
		if (err == ERR_NOT_FOUND)
			continue;
		if (err)
			return lost(p, "whether this home may vote cannot be read");
		votes_nothing |= i < 2;
		store_batch_clear(p->old.batch);
		store_batch_put(p->old.batch, STORE_META, mark, writer_slice(&p->scratch));
		err = store_write(p->store, p->old.batch, true);
		if (err)
			return err_set(p->m, err, "writing the new store failed");
	}
	if (votes_nothing)
		return ERR_NONE;
	if (slots > 0)
		return ERR_NONE;
	/* A home that has never voted has none; but then there is no block either. */
	struct store_iter *it =
		store_iter_new(p->old.store, STORE_BLOCKS, key_final(&k, 0), none, false);
	bool any = store_iter_next(it, &key, &value) || store_iter_error(it);
	store_iter_free(it);
	return any ? lost(p, "there are blocks, and no vote state") : ERR_NONE;
}

/* Blocks above the newest final one: this validator may have voted for each. */
static int copy_unfinal(struct repair *p)
{
	struct record_key k;
	static const struct hash low;
	uint8_t end = 'b' + 1;
	struct slice key, value;
	int err = ERR_NONE;
	uint64_t from = p->replay.last->sh.h.height + 1;
	struct store_iter *it =
		store_iter_new(p->old.store, STORE_BLOCKS, key_block(&k, from, &low),
			       slice_of(&end, 1), false);
	while (!err && store_iter_next(it, &key, &value)) {
		struct reader r;
		struct block *b = NULL;
		reader_init(&r, value);
		err = block_decode(&r, &b);
		if (!err && (key.len != 9 + HASH_SIZE ||
			     memcmp(key.ptr + 9, b->hash.b, HASH_SIZE) != 0))
			err = ERR_BAD_HASH;
		if (!err) {
			store_batch_clear(p->old.batch);
			store_batch_put(p->old.batch, STORE_BLOCKS, key, value);
			err = store_write(p->store, p->old.batch, false);
			p->out->unfinal++;
		}
		block_drop(b);
	}
	if (!err)
		err = store_iter_error(it);
	store_iter_free(it);
	return err ? lost(p,
			  "a block that is not final, and that this validator may have voted "
			  "for, cannot be read")
		   : ERR_NONE;
}

/* Of use, but nobody depends on it: what cannot be read is left out, and counted. */
static void copy_evidence(struct repair *p)
{
	const struct slice none = {0};
	struct slice key, value;
	struct store_iter *it = store_iter_new(p->old.store, STORE_EVIDENCE, none, none, false);
	while (store_iter_next(it, &key, &value))
		if (replay_evidence(&p->replay, value))
			p->out->dropped++;
	if (store_iter_error(it))
		p->out->dropped++;
	store_iter_free(it);
}

/* ---- the final chain ----------------------------------------------------------------------
 */

static int fetch(struct repair *p, uint64_t height)
{
	if (p->fetched)
		return ERR_NONE;
	if (!p->o->source)
		return err_set(p->m, ERR_NOT_FOUND,
			       "block %" PRIu64 " is damaged here, and there is no node to "
			       "fetch it from",
			       height);
	int err =
		p->o->source->get(p->o->source->arg, height, &p->block, &p->cert, &p->tc, p->m);
	p->fetched = !err;
	return err;
}

/* The old store's block at this height, if it can be read and is the child of the last one. */
static bool own_block(struct repair *p, uint64_t height)
{
	struct record_key k;
	struct hash hash;
	struct block *b;
	if (store_get(p->old.store, STORE_BLOCKS, key_final(&k, height), &p->scratch) ||
	    p->scratch.len != HASH_SIZE)
		return false;
	memcpy(hash.b, p->scratch.buf, HASH_SIZE);
	if (records_block(&p->old, height, &hash, &b))
		return false;
	bool fits = hash_equal(&b->sh.h.prev, &p->replay.last->hash);
	writer_reset(&p->scratch);
	block_encode(&p->scratch, b);
	block_drop(b);
	return fits;
}

/* Of use to others; this validator's own is in its vote state. */
static void put_term(struct repair *p, uint64_t term)
{
	struct record_key k;
	struct writer own = {0};
	int err = store_get(p->old.store, STORE_CERTS, key_tc(&k, term), &own);
	bool is_there = err != ERR_NOT_FOUND;
	if (!err)
		err = replay_term(&p->replay, term, writer_slice(&own));
	if (err && p->fetched && p->tc.len)
		err = replay_term(&p->replay, term, writer_slice(&p->tc));
	p->out->dropped += err && is_there;
	writer_free(&own);
}

static bool own_cert(struct repair *p, uint64_t height, bool *is_there)
{
	struct record_key k;
	int err = store_get(p->old.store, STORE_CERTS, key_cert(&k, height), &p->scratch);
	*is_there = err != ERR_NOT_FOUND;
	return !err && replay_cert(&p->replay, writer_slice(&p->scratch)) == ERR_NONE;
}

static int put_cert(struct repair *p, uint64_t height)
{
	bool is_there;
	if (own_cert(p, height, &is_there))
		return ERR_NONE;
	if ((is_there || height == p->top) && fetch(p, height) == ERR_NONE && p->cert.len &&
	    replay_cert(&p->replay, writer_slice(&p->cert)) == ERR_NONE)
		return ERR_NONE;
	if (p->fetched && p->cert.len && !is_there)
		return replay_cert(&p->replay, writer_slice(&p->cert));
	p->out->dropped += is_there;
	return ERR_NONE; /* a later one covers its block, or replay_end() says what lacks */
}

static uint64_t term_of(struct slice block)
{
	struct reader r;
	struct signed_header sh;
	reader_init(&r, block);
	signed_header_decode(&r, &sh);
	return r.err ? 0 : sh.h.term;
}

static int put_block(struct repair *p, uint64_t height)
{
	struct writer *bytes = &p->scratch, copy = {0};
	p->fetched = false;
	bool own = own_block(p, height);
	if (!own) {
		int err = fetch(p, height);
		if (err)
			return err;
		bytes = &p->block;
		if (p->out->fetched++ == 0)
			p->out->first_fetched = height;
	}
	writer_raw(&copy, bytes->buf, bytes->len);
	uint64_t term = term_of(writer_slice(&copy));
	if (term != p->term)
		put_term(p, term);
	p->term = term;
	int err = replay_block(&p->replay, writer_slice(&copy));
	writer_free(&copy);
	return err ? err : put_cert(p, height);
}

/* ---- from one epoch to the next -------------------------------------------------------------
 */

/* By its records, and by whose votes it has: either may be damaged. */
static uint64_t epochs_begun(struct repair *p)
{
	uint64_t newest = 0;
	struct epoch_key k;
	struct slice key, value, from = key_epoch(&k, 0);
	struct store_iter *it =
		store_iter_new(p->old.store, STORE_META, from, (struct slice){0}, false);
	while (store_iter_next(it, &key, &value) && key.len >= sizeof EPOCH_KEY - 1 &&
	       memcmp(key.ptr, EPOCH_KEY, sizeof EPOCH_KEY - 1) == 0) {
		struct reader r;
		reader_init(&r, slice_of(key.ptr + sizeof EPOCH_KEY - 1,
					 key.len - (sizeof EPOCH_KEY - 1)));
		uint64_t epoch = reader_u64(&r);
		if (!reader_finish(&r))
			newest = epoch;
	}
	store_iter_free(it);
	struct reader r;
	uint64_t votes = 0;
	if (store_get(p->old.store, STORE_META, slice_str(VOTES_EPOCH_KEY), &p->scratch) ==
	    ERR_NONE) {
		reader_init(&r, writer_slice(&p->scratch));
		reader_u16(&r);
		votes = reader_u64(&r);
		if (reader_finish(&r))
			votes = 0;
	}
	return votes > newest ? votes : newest;
}

/* The old store had come to this end and was in the epoch still: so is the new one. The next
 * start finds what proves the end, and steps over it. */
static int put_fillers(struct repair *p, const struct handover *h)
{
	static const uint8_t empty[4];
	struct record_key k;
	struct block *b;
	int err = ERR_NONE;
	store_batch_clear(p->old.batch);
	for (uint32_t i = 0; i < h->filler_count && !err; i++) {
		err = block_new(&b, &h->fillers[i], slice_of(empty, sizeof empty));
		if (err)
			break;
		writer_reset(&p->scratch);
		block_encode(&p->scratch, b);
		store_batch_put(p->old.batch, STORE_BLOCKS,
				key_block(&k, b->sh.h.height, &b->hash),
				writer_slice(&p->scratch));
		block_drop(b);
	}
	writer_reset(&p->scratch);
	cert_encode(&p->scratch, &h->cert);
	store_batch_put(p->old.batch, STORE_CERTS, key_cert(&k, h->cert.ref.height),
			writer_slice(&p->scratch));
	if (!err)
		err = store_write(p->store, p->old.batch, false);
	if (err)
		return err_set(p->m, err, "writing the new store failed");
	p->replay.certified = p->replay.last->sh.h.height;
	return ERR_NONE;
}

static int handover_fits(const struct repair *p, const struct handover *h)
{
	struct chain_ctx next;
	return hash_equal(&h->end->hash, &p->replay.last->hash)
		       ? handover_check(h, &p->replay.view.ctx, &next)
		       : ERR_BAD_LINK;
}

static int fetch_handover(struct repair *p, uint64_t epoch, struct handover *out)
{
	struct proof_document d;
	proof_document_init(&d);
	int err = ERR_NOT_FOUND;
	if (p->o->source)
		err = p->o->source->handover(p->o->source->arg, epoch, &d, p->m);
	else
		err_set(p->m, err,
			"what proves the beginning of epoch %" PRIu64
			" is damaged here, and there is no node to fetch it from",
			epoch);
	if (!err && (err = epoch_of_proof(&d, out)))
		err_set(p->m, err, "what a node says of the beginning of epoch %" PRIu64 ": %s",
			epoch, err_text(err));
	proof_document_free(&d);
	return err;
}

/* begun: it has the record; else what the record would be made of. */
static int own_handover(struct repair *p, uint64_t epoch, bool begun, struct handover *out)
{
	if (begun)
		return epoch_handover(&p->old, epoch, out);
	struct cert *cert = mem_alloc(sizeof *cert);
	int err = records_newest_cert(&p->old, cert);
	if (!err)
		err = epoch_prove(&p->old, p->replay.last, cert, out);
	mem_free(cert);
	return err;
}

/* The last block ends its epoch. */
static int put_epoch(struct repair *p)
{
	uint64_t epoch = p->replay.view.ctx.epoch + 1, height = p->replay.last->sh.h.height;
	bool begun = epoch <= p->begun || p->indexed > height;
	struct handover h = {0};
	if (!begun && p->replay.certified == height)
		return ERR_NONE;
	int err = own_handover(p, epoch, begun, &h);
	if (!err)
		err = handover_fits(p, &h);
	if (err) {
		handover_free(&h);
		err = fetch_handover(p, epoch, &h);
		if (!err && (err = handover_fits(p, &h)))
			err_set(p->m, err,
				"what a node says of the beginning of epoch %" PRIu64 ": %s",
				epoch, err_text(err));
		p->out->fetched_handovers += !err;
	}
	if (!err)
		err = begun ? replay_handover(&p->replay, &h) : put_fillers(p, &h);
	handover_free(&h);
	return err;
}

/* ---- all of it ------------------------------------------------------------------------------
 */

/* What the index says, what the certificates say: the higher, for either may be damaged. */
static uint64_t old_top(struct repair *p)
{
	struct slice key, value;
	uint8_t from = 'c', to = 'c' + 1;
	uint64_t top = 0;
	p->indexed = 0;
	for (int family = 0; family < 2; family++) {
		struct store_iter *it =
			store_iter_new(p->old.store, family ? STORE_BLOCKS : STORE_CERTS,
				       slice_of(&from, 1), slice_of(&to, 1), true);
		uint64_t height = 0;
		if (store_iter_next(it, &key, &value) && key.len == 9)
			height = load_be64(key.ptr + 1);
		store_iter_free(it);
		if (height > top)
			top = height;
		if (family)
			p->indexed = height;
		from = 'h';
		to = 'h' + 1;
	}
	return top;
}

/* All that the old store had, up to a block that is certified; or an end that it stood at. */
static bool is_whole(const struct repair *p)
{
	const struct replay *n = &p->replay;
	uint64_t height = n->last->sh.h.height;
	return n->over ||
	       (height >= p->top && n->certified == height && n->view.ctx.epoch >= p->begun);
}

static int put_chain(struct repair *p)
{
	const struct backup_progress *g = p->o->progress;
	if (store_get(p->old.store, STORE_META, slice_str(BLOCKS_FROM_KEY), &p->scratch) ==
	    ERR_NONE)
		return err_set(
			p->m, ERR_UNSUPPORTED,
			"this node does not keep its oldest blocks ([limits] blocks), and "
			"a repair executes the chain from genesis. Nothing was changed");
	p->top = old_top(p);
	p->begun = epochs_begun(p);
	int err = ERR_NONE;
	while (!err && !is_whole(p)) {
		uint64_t h = p->replay.last->sh.h.height + 1;
		err = put_block(p, h);
		if (!err && p->replay.over)
			err = put_epoch(p);
		if (!err && g && (h % STEP_HEIGHTS == 0 || h == p->top) &&
		    !g->step(g->arg, h, p->top, 0, 0))
			err = err_set(p->m, ERR_CLOSED, "interrupted at height %" PRIu64, h);
	}
	return err;
}

static int build(struct repair *p, const char *path)
{
	struct store_options options = {.create = true};
	struct genesis *g = mem_zalloc(sizeof *g);
	struct writer w = {0};
	struct reader r;
	genesis_encode(&w, p->o->genesis);
	reader_init(&r, writer_slice(&w));
	int err = genesis_decode(&r, g);
	invariant(!err);
	writer_free(&w);
	for (unsigned i = 0; i < p->o->genesis->recovery_count; i++) {
		err = genesis_add_recovery(g, &p->o->genesis->recoveries[i], p->m);
		invariant(!err); /* they were checked when they became part of it */
	}
	err = store_open_rocksdb(&p->store, path, &options, p->m);
	if (err) {
		genesis_free(g);
		mem_free(g);
		return err;
	}
	err = replay_begin(&p->replay, p->store, g, p->o->history, p->m);
	if (!err)
		err = copy_votes(p);
	if (!err)
		err = put_chain(p);
	if (!err)
		err = copy_unfinal(p);
	if (!err)
		copy_evidence(p);
	if (!err)
		err = replay_end(&p->replay);
	if (err)
		return err;
	p->out->height = p->replay.last->sh.h.height;
	p->out->epoch = p->replay.view.ctx.epoch;
	p->out->block = p->replay.last->hash;
	p->out->state_root = p->replay.last->sh.h.state_root;
	return ERR_NONE;
}

/* In one step: at no time is there no data, which a node would take for a first start. */
static int exchange(struct repair *p, const char *home, const char *made)
{
	char data[FILES_PATH_MAX + 32], aside[FILES_PATH_MAX + 64];
	snprintf(data, sizeof data, "%s/data", home);
	int err = files_sync_dir(made, p->m);
	if (err)
		return err;
	if (renameat2(AT_FDCWD, made, AT_FDCWD, data, RENAME_EXCHANGE) != 0)
		return err_set(
			p->m, ERR_IO,
			"%s and %s cannot be exchanged: %s. The repaired data was removed "
			"again; copy the home to a file system that can, such as ext4",
			made, data, strerror(errno));
	for (unsigned i = 1; i < 1000; i++) {
		snprintf(p->out->aside, sizeof p->out->aside, "data.damaged.%u", i);
		snprintf(aside, sizeof aside, "%s/%s", home, p->out->aside);
		if (!files_exist(aside) && rename(made, aside) == 0)
			break;
	}
	return files_sync_dir(home, p->m);
}

int replica_repair(struct store *old, const char *home, const struct repair_options *o,
		   struct repair_result *out, struct errmsg *m)
{
	struct repair *p = mem_zalloc(sizeof *p);
	struct files_new_dir dir = {.lock = -1};
	struct audit_result head;
	char path[FILES_PATH_MAX + 32];
	*out = (struct repair_result){0};
	/* What a newer program has written, or for another chain, is not damaged. */
	int refused = replica_audit_head(old, o->genesis, &head, m);
	if (refused == ERR_VERSION || refused == ERR_WRONG_CHAIN) {
		mem_free(p);
		return refused;
	}
	p->o = o;
	p->out = out;
	p->m = m;
	records_view(&p->old, old, o->genesis);
	snprintf(path, sizeof path, "%s/data.repaired", home);
	int err = files_begin_dir(&dir, path, m);
	snprintf(path, sizeof path, "%s/data", dir.partial);
	if (!err)
		err = build(p, path);
	replay_free(&p->replay);
	if (p->store)
		store_close(p->store);
	if (!err)
		err = exchange(p, home, path);
	files_abandon_dir(&dir);
	records_view_free(&p->old);
	writer_free(&p->block);
	writer_free(&p->cert);
	writer_free(&p->tc);
	writer_free(&p->scratch);
	mem_free(p);
	return err;
}
