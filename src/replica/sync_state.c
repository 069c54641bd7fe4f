/* What state sync has on disk. Until sync_state_install() nothing that the ledger or the engine
 * reads leads to any of it; whatever a crash leaves is either gone on with or swept away. */
#include "replica/epoch.h"

#define SYNC_VERSION	   1
#define SYNC_VERSION_AHEAD 2 /* of a target in a later epoch: a start gives it up */
#define BLOCKS_SWEPT	   64

static bool write_batch(struct replica *r, bool sync)
{
	if (store_write(r->store, r->batch, sync) == ERR_NONE)
		return true;
	replica_halt(r,
		     "writing a state that is fetched from peers failed. Check the disk (full? "
		     "read-only?) and start this node again");
	return false;
}

static struct slice range_key(uint8_t buf[sizeof(SYNC_RANGE_KEY)], unsigned item)
{
	memcpy(buf, SYNC_RANGE_KEY, sizeof(SYNC_RANGE_KEY) - 1);
	buf[sizeof(SYNC_RANGE_KEY) - 1] = (uint8_t)item;
	return slice_of(buf, sizeof(SYNC_RANGE_KEY));
}

void sync_state_forget(struct sync *s)
{
	certified_header_free(&s->target);
	s->has_stable = false;
	while (s->ahead_count)
		handover_free(&s->handovers[--s->ahead_count]);
	mem_free(s->ahead);
	mem_free(s->handovers);
	s->ahead = NULL;
	s->handovers = NULL;
	mem_free(s->hashes);
	s->hashes = NULL;
	stage_build_free(s->build);
	s->build = NULL;
	s->height = s->low = s->top = s->next_block = 0;
	s->blocks_busy = false;
	memset(s->slot, 0, sizeof s->slot);
	memset(s->peer, 0, sizeof s->peer);
	memset(s->done, 0, sizeof s->done);
	memset(s->busy, 0, sizeof s->busy);
	s->left = SYNC_ITEMS;
	s->status.per_mille = 0;
	for (unsigned i = 0; i < SYNC_ITEMS; i++) {
		s->cursor[i] = (struct hash){0};
		s->cursor[i].b[0] = (uint8_t)i;
	}
}

/* From s->target: which blocks of this epoch, and the hashes of those that its headers name. */
static void plan_blocks(struct replica *r)
{
	struct sync *s = &r->sync;
	const struct certified_header *c = &s->target;
	uint64_t below = replica_start_blocks(r);
	s->height = c->headers[0].h.height;
	s->top = s->next_block = s->height + c->count - 1;
	uint64_t start = sync_ctx(r)->start_height;
	s->low = s->height > start + below ? s->height - below : start + 1;
	s->hashes = mem_array(s->top - s->low + 1, sizeof *s->hashes);
	for (uint32_t i = 0; i < c->count; i++)
		header_hash(&s->hashes[s->height + i - s->low], &c->headers[i].h);
}

static void target_encode(struct writer *w, const struct sync *s)
{
	const struct certified_header *c = &s->target;
	writer_u16(w, s->ahead_count ? SYNC_VERSION_AHEAD : SYNC_VERSION);
	writer_u64(w, c->headers[0].h.height);
	writer_u32(w, c->count);
	for (uint32_t i = 0; i < c->count; i++)
		signed_header_encode(w, &c->headers[i]);
	cert_encode(w, &c->cert);
	writer_u8(w, s->has_stable);
	if (s->has_stable)
		cert_encode(w, &s->stable);
}

static int target_decode(struct slice bytes, struct sync *s, bool *ahead)
{
	struct certified_header *c = &s->target;
	struct reader rd;
	reader_init(&rd, bytes);
	uint16_t version = reader_u16(&rd);
	*ahead = version == SYNC_VERSION_AHEAD;
	if (version != SYNC_VERSION && !*ahead)
		return ERR_VERSION;
	uint64_t height = reader_u64(&rd);
	uint32_t count = reader_count(&rd, SYNC_HEADERS_MAX, SIGNED_HEADER_SIZE);
	if (rd.err || count == 0)
		return ERR_CORRUPT;
	c->headers = mem_array(count, sizeof *c->headers);
	c->count = count;
	for (uint32_t i = 0; i < count; i++)
		signed_header_decode(&rd, &c->headers[i]);
	cert_decode(&rd, &c->cert);
	s->has_stable = reader_bool(&rd);
	if (s->has_stable)
		cert_decode(&rd, &s->stable);
	return reader_finish(&rd) || c->headers[0].h.height != height ? ERR_CORRUPT : ERR_NONE;
}

bool sync_state_begin(struct replica *r)
{
	struct sync *s = &r->sync;
	bool has[VALIDATORS_MAX];
	struct certified_header target = s->target;
	struct chain_ctx *ahead = s->ahead;
	struct handover *handovers = s->handovers;
	uint32_t ahead_count = s->ahead_count;
	bool has_stable = s->has_stable;
	s->ahead = NULL;
	s->handovers = NULL;
	s->ahead_count = 0;
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		has[i] = s->peer[i].has;
	s->target = (struct certified_header){0};
	sync_state_forget(s);
	s->target = target;
	s->ahead = ahead;
	s->handovers = handovers;
	s->ahead_count = ahead_count;
	s->has_stable = has_stable;
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		s->peer[i].has = has[i];
	plan_blocks(r);
	return sync_state_stable(r);
}

bool sync_state_stable(struct replica *r)
{
	writer_reset(&r->scratch);
	target_encode(&r->scratch, &r->sync);
	store_batch_clear(r->batch);
	store_batch_put(r->batch, STORE_META, slice_str(SYNC_KEY), writer_slice(&r->scratch));
	return write_batch(r, false);
}

/* Leaves and how far they go, in one batch. */
bool sync_state_range(struct replica *r, unsigned item, const struct range *range)
{
	struct sync *s = &r->sync;
	uint8_t key[sizeof(SYNC_RANGE_KEY)];
	struct hash next = range->end;
	store_batch_clear(r->batch);
	for (uint32_t i = 0; i < range->count; i++)
		stage_put(&s->scratch, r->batch, &range->leaf[i], s->height);
	if (range->whole || !range_next(&next)) {
		s->done[item] = true;
		s->left--;
		store_batch_put(r->batch, STORE_META, range_key(key, item), (struct slice){0});
	} else {
		s->cursor[item] = next;
		store_batch_put(r->batch, STORE_META, range_key(key, item), hash_slice(&next));
	}
	return write_batch(r, false);
}

/* With its transactions' places; the index of final blocks waits until they are. */
bool sync_state_block(struct replica *r, struct block *b)
{
	struct sync *s = &r->sync;
	struct record_key k;
	uint8_t place[12] = {0};
	writer_reset(&r->scratch);
	block_encode(&r->scratch, b);
	store_batch_clear(r->batch);
	store_batch_put(r->batch, STORE_BLOCKS, key_block(&k, b->sh.h.height, &b->hash),
			writer_slice(&r->scratch));
	store_be64(place, b->sh.h.height);
	for (uint32_t i = 0; i < b->tx_count && b->sh.h.height <= s->height; i++) {
		uint32_t index = htobe32(i);
		memcpy(place + 8, &index, 4);
		store_batch_put(r->batch, STORE_TXINDEX, hash_slice(&b->tx[i].id),
				slice_of(place, sizeof place));
	}
	if (!write_batch(r, false))
		return false;
	if (s->next_block > s->low)
		s->hashes[s->next_block - 1 - s->low] = b->sh.h.prev;
	s->next_block--;
	return true;
}

/* Those that are here already, from the top down. */
void sync_state_resume_blocks(struct replica *r)
{
	struct sync *s = &r->sync;
	struct block *b;
	while (s->next_block >= s->low && s->next_block > 0 &&
	       records_block(r, s->next_block, &s->hashes[s->next_block - s->low], &b) ==
		       ERR_NONE) {
		if (s->next_block > s->low)
			s->hashes[s->next_block - 1 - s->low] = b->sh.h.prev;
		s->next_block--;
		block_drop(b);
	}
}

static int read_ranges(struct replica *r)
{
	struct sync *s = &r->sync;
	uint8_t key[sizeof(SYNC_RANGE_KEY)];
	for (unsigned i = 0; i < SYNC_ITEMS; i++) {
		int err = store_get(r->store, STORE_META, range_key(key, i), &r->scratch);
		if (err == ERR_NOT_FOUND)
			continue;
		if (err)
			return err;
		if (r->scratch.len == 0) {
			s->done[i] = true;
			s->left--;
		} else if (r->scratch.len == HASH_SIZE && r->scratch.buf[0] == i) {
			memcpy(s->cursor[i].b, r->scratch.buf, HASH_SIZE);
		} else {
			return ERR_CORRUPT;
		}
	}
	return ERR_NONE;
}

void sync_apart(struct store *s, uint64_t *staged, uint64_t *swept_below)
{
	struct writer w = {0};
	*staged = *swept_below = 0;
	if (store_get(s, STORE_META, slice_str(SYNC_SWEEP_KEY), &w) == ERR_NONE &&
	    w.len >= 2 + 8 + 8 + 1)
		*(w.buf[2 + 8 + 8] ? staged : swept_below) = load_be64(w.buf + 2);
	if (store_get(s, STORE_META, slice_str(SYNC_KEY), &w) == ERR_NONE && w.len >= 2 + 8)
		*staged = load_be64(w.buf + 2);
	writer_free(&w);
}

static int read_sweep(struct replica *r)
{
	struct sync *s = &r->sync;
	struct reader rd;
	int err = store_get(r->store, STORE_META, slice_str(SYNC_SWEEP_KEY), &r->scratch);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_NONE : err;
	reader_init(&rd, writer_slice(&r->scratch));
	if (reader_u16(&rd) != SYNC_VERSION)
		return ERR_VERSION;
	s->sweep = (struct stage_sweep){.height = reader_u64(&rd)};
	s->sweep.index_from = reader_u64(&rd);
	s->sweep.exact = reader_bool(&rd);
	s->sweeping = true;
	return reader_finish(&rd) ? ERR_CORRUPT : ERR_NONE;
}

/* Blocks of a later epoch that were fetched with a state: the engine of this one must not find
 * them. What it stored itself fits its epoch. */
static bool drop_foreign_blocks(struct replica *r)
{
	struct record_key k;
	struct slice key, value;
	uint8_t end = 'b' + 1;
	store_batch_clear(r->batch);
	struct store_iter *it = store_iter_new(
		r->store, STORE_BLOCKS, key_block(&k, ledger_height(r->ledger) + 1, NULL),
		slice_of(&end, 1), false);
	while (store_iter_next(it, &key, &value)) {
		struct reader rd;
		struct signed_header sh;
		reader_init(&rd, value);
		signed_header_decode(&rd, &sh);
		if (!rd.err && signed_header_check(&sh, &r->ctx))
			store_batch_delete(r->batch, STORE_BLOCKS, key);
	}
	store_iter_free(it);
	return write_batch(r, false);
}

int sync_state_read(struct replica *r)
{
	struct sync *s = &r->sync;
	struct cert newest;
	bool ahead = false;
	sync_state_forget(s);
	int err = read_sweep(r);
	if (err)
		return err;
	/* What was staged in vain goes before blocks are executed again, which may be of its
	 * very height. */
	while (s->sweeping && s->sweep.exact && !r->halted)
		sync_state_sweep(r);
	err = r->halted ? ERR_IO
			: store_get(r->store, STORE_META, slice_str(SYNC_KEY), &r->scratch);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_NONE : err;
	err = target_decode(writer_slice(&r->scratch), s, &ahead);
	if (!err && ahead && !drop_foreign_blocks(r))
		return ERR_IO;
	/* What a crash at the step from one epoch to the next has left of the old one's; or one
	 * of a later epoch, for what proved that is gone. */
	if (!err && (ahead || (r->ctx.epoch > 0 && !hash_equal(&s->target.headers[0].h.valset,
							       &r->ctx.vals.hash)))) {
		s->height = s->target.headers[0].h.height;
		return s->height == 0		      ? ERR_CORRUPT
		       : sync_state_abandon(r, false) ? ERR_NONE
						      : ERR_IO;
	}
	if (!err && (s->target.headers[0].h.height <= r->ctx.start_height ||
		     certified_header_check(&s->target, &r->ctx, &r->genesis_block->hash)))
		err = ERR_CORRUPT; /* heights below are taken from it */
	if (!err)
		err = read_ranges(r);
	if (err)
		return err;
	plan_blocks(r);
	sync_state_resume_blocks(r);
	/* Blocks have come as far by themselves: their states must find their places empty. */
	if (records_newest_cert(r, &newest) == ERR_NONE && newest.ref.height >= s->height &&
	    !sync_state_abandon(r, true))
		return ERR_IO;
	return ERR_NONE;
}

/* ---- the switch -------------------------------------------------------------------------- */

static void forget_progress(struct replica *r)
{
	uint8_t key[sizeof(SYNC_RANGE_KEY)];
	store_batch_delete(r->batch, STORE_META, slice_str(SYNC_KEY));
	for (unsigned i = 0; i < SYNC_ITEMS; i++)
		store_batch_delete(r->batch, STORE_META, range_key(key, i));
}

static void put_sweep(struct replica *r)
{
	const struct sync *s = &r->sync;
	writer_reset(&r->scratch);
	writer_u16(&r->scratch, SYNC_VERSION);
	writer_u64(&r->scratch, s->sweep.height);
	writer_u64(&r->scratch, s->sweep.index_from);
	writer_u8(&r->scratch, s->sweep.exact);
	store_batch_put(r->batch, STORE_META, slice_str(SYNC_SWEEP_KEY),
			writer_slice(&r->scratch));
}

/* A position is shown from a checkpoint or from the base of its term, which may lie far below
 * the blocks that were fetched. A validator that can show none cannot ask for a term, nor for
 * another view, and it may be the one that the others wait for [I7]. */
static void put_stable(struct replica *r)
{
	struct sync *s = &r->sync;
	uint8_t slot = 3;
	uint64_t height = s->stable.ref.height;
	struct cert own;
	if (serve_stable(r, &own) && own.ref.height >= height)
		return;
	if (!s->has_stable || r->observes || height < s->low || height > s->top ||
	    !hash_equal(&s->stable.ref.hash, &s->hashes[height - s->low]))
		return;
	writer_reset(&r->scratch);
	writer_u8(&r->scratch, 1);
	writer_u8(&r->scratch, 1);
	cert_encode(&r->scratch, &s->stable);
	store_batch_put(r->batch, STORE_VOTES, slice_of(&slot, 1), writer_slice(&r->scratch));
}

/* Fillers of the epoch that is left, above the state: into the batch. */
static void delete_strangers(struct replica *r)
{
	const struct sync *s = &r->sync;
	struct record_key k;
	struct slice key, value;
	uint8_t end = 'b' + 1;
	struct store_iter *it =
		store_iter_new(r->store, STORE_BLOCKS, key_block(&k, s->height + 1, NULL),
			       slice_of(&end, 1), false);
	while (store_iter_next(it, &key, &value)) {
		uint64_t height = key.len == 9 + HASH_SIZE ? load_be64(key.ptr + 1) : 0;
		if (height <= s->height || height > s->top ||
		    memcmp(key.ptr + 9, s->hashes[height - s->low].b, HASH_SIZE) != 0)
			store_batch_delete(r->batch, STORE_BLOCKS, key);
	}
	store_iter_free(it);
}

/* One synced batch: the state is the ledger's, its blocks are the final ones, its certificate
 * is the newest. What an observer has written into vote slots as it followed says nothing [I15]
 * and goes; the vote state of a validator, or of a key that this one is to follow, stays as it
 * is: its tip is overtaken by finality, which is nothing new to it. */
bool sync_state_install(struct replica *r, const struct hash *root, uint64_t keys)
{
	struct sync *s = &r->sync;
	struct record_key k;
	uint8_t number[8];
	store_batch_clear(r->batch);
	if (s->ahead_count) {
		delete_strangers(r);
		epoch_jump(r, s->ahead, s->handovers, s->ahead_count);
	}
	for (uint64_t h = s->low; h <= s->height; h++) {
		const struct hash *hash = &s->hashes[h - s->low];
		struct block *b;
		store_batch_put(r->batch, STORE_BLOCKS, key_final(&k, h), hash_slice(hash));
		if (records_block(r, h, hash, &b) == ERR_NONE) {
			records_index_system(r, b);
			block_drop(b);
		}
	}
	stage_install(r->batch, &r->ctx, s->height, &s->hashes[s->height - s->low], root, keys);
	writer_reset(&r->scratch);
	cert_encode(&r->scratch, &s->target.cert);
	store_batch_put(r->batch, STORE_CERTS, key_cert(&k, s->top), writer_slice(&r->scratch));
	store_be64(number, s->low);
	store_batch_put(r->batch, STORE_META, slice_str(BLOCKS_FROM_KEY), slice_of(number, 8));
	for (uint8_t slot = 0; slot < VOTE_SLOTS && r->observes && !observer_is_unplaced(r);
	     slot++)
		store_batch_delete(r->batch, STORE_VOTES, slice_of(&slot, 1));
	put_stable(r);
	forget_progress(r);
	s->sweep = (struct stage_sweep){.height = s->height, .index_from = s->low};
	put_sweep(r);
	if (!write_batch(r, true))
		return false;
	s->sweeping = true;
	s->sweep_part = 0;
	sync_state_forget(s);
	return true;
}

/* ---- sweeping ---------------------------------------------------------------------------- */

static bool sweep_done(struct replica *r)
{
	store_batch_clear(r->batch);
	store_batch_delete(r->batch, STORE_META, slice_str(SYNC_SWEEP_KEY));
	r->sync.sweeping = false;
	return write_batch(r, false);
}

/* All keys of one kind below a height. True: there are no more. */
static bool sweep_kind(struct replica *r, enum store_family f, struct slice from,
		       struct slice to)
{
	struct slice key, value;
	unsigned count = 0;
	store_batch_clear(r->batch);
	struct store_iter *it = store_iter_new(r->store, f, from, to, false);
	while (count < BLOCKS_SWEPT && store_iter_next(it, &key, &value)) {
		store_batch_delete(r->batch, f, key);
		count++;
	}
	store_iter_free(it);
	if (count)
		write_batch(r, false);
	return count < BLOCKS_SWEPT;
}

/* Blocks that were never final, at heights that are now. */
static void sweep_rivals(struct replica *r)
{
	struct sync *s = &r->sync;
	struct record_key low, high, k;
	struct slice key, value;
	store_batch_clear(r->batch);
	struct store_iter *it = store_iter_new(
		r->store, STORE_BLOCKS, key_block(&low, s->sweep.index_from, NULL),
		key_block(&high, s->sweep.height + 1, NULL), false);
	while (store_iter_next(it, &key, &value)) {
		if (key.len != 9 + HASH_SIZE ||
		    store_get(r->store, STORE_BLOCKS, key_final(&k, load_be64(key.ptr + 1)),
			      &r->scratch) ||
		    slice_equal(writer_slice(&r->scratch), slice_of(key.ptr + 9, HASH_SIZE)))
			continue;
		store_batch_delete(r->batch, STORE_BLOCKS, key);
	}
	store_iter_free(it);
	if (store_batch_count(r->batch))
		write_batch(r, false);
}

static bool sweep_blocks(struct replica *r)
{
	struct sync *s = &r->sync;
	struct record_key low, high;
	uint64_t from = s->sweep.index_from;
	bool ended = true;
	switch (s->sweep_part) {
	case 0:
		ended = sweep_kind(r, STORE_BLOCKS, key_block(&low, 0, NULL),
				   key_block(&high, from, NULL));
		break;
	case 1:
		ended = sweep_kind(r, STORE_BLOCKS, key_final(&low, 0), key_final(&high, from));
		break;
	case 2:
		ended = sweep_kind(r, STORE_BLOCKS, key_system(&low, 0),
				   key_system(&high, from));
		break;
	case 3:
		ended = sweep_kind(r, STORE_CERTS, key_cert(&low, 0), key_cert(&high, from));
		break;
	case 4:
		sweep_rivals(r);
		break;
	default:
		return true;
	}
	s->sweep_part += ended;
	return false;
}

/* True: there is nothing left to sweep. */
bool sync_state_sweep(struct replica *r)
{
	struct sync *s = &r->sync;
	bool done;
	if (s->sweep.exact && ledger_height(r->ledger) >= s->sweep.height)
		return sweep_done(r); /* these are its own: it never comes to that */
	if (s->sweep.exact)	      /* it may have gone on meanwhile, by blocks */
		s->sweep.index_from = ledger_height(r->ledger);
	int err = stage_sweep_step(r->store, &s->sweep, SYNC_SWEEP_STEP, &done);
	if (err) {
		replica_halt(r, "clearing away an old state failed. Check the disk (full? "
				"read-only?) and start this node again");
		return false;
	}
	if (!done || (!s->sweep.exact && !sweep_blocks(r)))
		return false;
	return sweep_done(r);
}

bool sync_state_abandon(struct replica *r, bool now)
{
	struct sync *s = &r->sync;
	if (!s->height)
		return true;
	s->sweep = (struct stage_sweep){
		.height = s->height, .exact = true, .index_from = ledger_height(r->ledger)};
	store_batch_clear(r->batch);
	for (uint64_t h = s->top; h > s->next_block && s->ahead_count; h--) {
		struct record_key k; /* the engine of this epoch must not find them */
		store_batch_delete(r->batch, STORE_BLOCKS,
				   key_block(&k, h, &s->hashes[h - s->low]));
	}
	sync_state_forget(s);
	forget_progress(r);
	put_sweep(r);
	s->sweeping = true;
	if (!write_batch(r, false))
		return false;
	while (now && s->sweeping && !r->halted)
		sync_state_sweep(r);
	return !r->halted;
}
