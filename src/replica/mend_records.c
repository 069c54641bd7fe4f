/* What each damaged record ought to be. Nothing is written that is not proven: a block by the
 * hash that a certified header or the newest state names, a certificate by its signatures, a
 * value and a node by the state root in a final block's header. */
#include <stdlib.h>

#include "replica/epoch.h"

/* Blocks that are read to come to a hash from the newest one, where no certificate is near. */
#define WALK_MAX 512
/* Peers are a little behind. */
#define BEHIND 16

static int leave(struct replica *r, enum mend_step *step, const char *why)
{
	r->mend.why = why;
	*step = MEND_STEP_LEFT;
	return ERR_NONE;
}

static void write_batch(struct replica *r, enum mend_step *step)
{
	if (!mend_differs(r->store, r->batch)) {
		*step = MEND_STEP_SOUND;
	} else if (store_write(r->store, r->batch, false)) {
		*step = MEND_STEP_FAILED;
	} else {
		ledger_rebase(r->ledger);
		*step = MEND_STEP_MENDED;
	}
}

static void ask(struct replica *r, enum mend_step *step, enum sync_type type, uint64_t height,
		const struct hash *from, const struct hash *to)
{
	const struct hash zero = {0};
	r->mend.asked = (struct mend_question){.type = type,
					       .height = height,
					       .from = from ? *from : zero,
					       .to = to ? *to : zero};
	*step = MEND_STEP_ASK;
}

static bool is_proven(const struct replica *r)
{
	return protocol_is_byzantine(r->config.genesis->protocol);
}

/* ---- final blocks, their places, marks and entries ----------------------------------------
 */

static bool hash_by_certificate(struct replica *r, uint64_t height, struct hash *out)
{
	struct certified_header c;
	if (!is_proven(r) || certified_header_within(r, height + 1, SYNC_HEADERS_MAX, &c))
		return false;
	bool good = certified_header_check(&c, replica_ctx_at(r, height + 1),
					   &r->genesis_block->hash) == ERR_NONE;
	if (good)
		*out = c.headers[0].h.prev;
	certified_header_free(&c);
	return good;
}

/* From the newest final block down, each naming its parent. */
static bool hash_by_walking(struct replica *r, uint64_t height, struct hash *out)
{
	uint64_t top = ledger_height(r->ledger);
	struct block *b;
	if (top - height > WALK_MAX)
		return false;
	*out = *ledger_hash(r->ledger);
	for (uint64_t h = top; h > height; h--) {
		if (records_block(r, h, out, &b))
			return false;
		*out = b->sh.h.prev;
		block_drop(b);
	}
	return true;
}

/* Without certificates there is nothing better than the place of the next block. */
static bool hash_by_index(struct replica *r, uint64_t height, struct hash *out)
{
	struct block *b;
	if (is_proven(r) || replica_block(r, height + 1, &b))
		return false;
	*out = b->sh.h.prev;
	block_drop(b);
	return true;
}

static bool final_hash(struct replica *r, uint64_t height, struct hash *out)
{
	return hash_by_certificate(r, height, out) || hash_by_walking(r, height, out) ||
	       hash_by_index(r, height, out);
}

static int own_block(struct replica *r, uint64_t height, const struct hash *hash,
		     struct block **out)
{
	int err = records_block(r, height, hash, out);
	if (!err && is_proven(r)) {
		err = signed_header_check(&(*out)->sh, replica_ctx_at(r, height));
		if (err)
			block_drop(*out);
	}
	return err;
}

/* One that came with an earlier answer. */
static struct block *kept_block(struct mend *m, const struct hash *hash)
{
	for (uint32_t i = 0; i < m->block_count; i++)
		if (hash_equal(&m->blocks[i]->hash, hash))
			return block_hold(m->blocks[i]);
	return NULL;
}

static bool is_right_block(const struct replica *r, const struct block *b, uint64_t height,
			   const struct hash *hash)
{
	return b->sh.h.height == height && hash_equal(&b->hash, hash) &&
	       signed_header_check(&b->sh, replica_ctx_at(r, height)) == ERR_NONE;
}

static void put_unless(struct replica *r, enum store_family f, struct slice key,
		       struct slice want)
{
	if (store_get(r->store, f, key, &r->scratch) ||
	    !slice_equal(writer_slice(&r->scratch), want))
		store_batch_put(r->batch, f, key, want);
}

static void put_entries(struct replica *r, const struct block *b)
{
	struct record_key k;
	uint64_t height = b->sh.h.height;
	uint8_t place[12];
	put_unless(r, STORE_BLOCKS, key_final(&k, height), hash_slice(&b->hash));
	if (system_tx_prefix(b) > 0)
		put_unless(r, STORE_BLOCKS, key_system(&k, height), hash_slice(&b->hash));
	else if (store_get(r->store, STORE_BLOCKS, key_system(&k, height), &r->scratch) !=
		 ERR_NOT_FOUND)
		store_batch_delete(r->batch, STORE_BLOCKS, key_system(&k, height));
	store_be64(place, height);
	for (uint32_t i = 0; i < b->tx_count; i++) {
		uint32_t index = htobe32(i);
		memcpy(place + 8, &index, sizeof index);
		put_unless(r, STORE_TXINDEX, hash_slice(&b->tx[i].id),
			   slice_of(place, sizeof place));
	}
}

static void put_body(struct replica *r, const struct block *b)
{
	struct record_key k;
	struct writer w = {0};
	block_encode(&w, b);
	store_batch_put(r->batch, STORE_BLOCKS, key_block(&k, b->sh.h.height, &b->hash),
			writer_slice(&w));
	writer_free(&w);
}

/* The block, from here, or from an answer (its body is in the batch then); NULL: not to be had
 * yet, and the step says what is next. */
static struct block *find_block(struct replica *r, uint64_t height, const struct hash *hash,
				const struct sync_msg *in, enum mend_step *step, int *err)
{
	struct block *b;
	if (own_block(r, height, hash, &b) == ERR_NONE) {
		r->mend.source = NO_VALIDATOR;
		return b;
	}
	if (!is_proven(r)) {
		leave(r, step, "with this protocol no block proves itself");
		return NULL;
	}
	b = kept_block(&r->mend, hash);
	if (b) {
		r->mend.source = r->mend.blocks_of;
	} else if (!in || in->type != SYNC_BLOCKS || in->height != height ||
		   !hash_equal(&in->from, hash)) {
		ask(r, step, SYNC_GET_BLOCKS, height, hash, NULL);
		return NULL;
	} else {
		b = block_hold(in->blocks[0]);
	}
	if (is_right_block(r, b, height, hash)) {
		put_body(r, b);
		return b;
	}
	block_drop(b);
	if (in)
		*err = ERR_BAD_HASH;
	else /* of those that came along: the others may be as false */
		while (r->mend.block_count)
			block_drop(r->mend.blocks[--r->mend.block_count]);
	ask(r, step, SYNC_GET_BLOCKS, height, hash, NULL);
	return NULL;
}

static bool is_sound_unfinal(struct replica *r, const struct damage *d)
{
	struct hash hash;
	struct block *b;
	if (d->key_len != 9 + HASH_SIZE || d->key[0] != 'b')
		return false;
	memcpy(hash.b, d->key + 9, HASH_SIZE);
	int err = records_block(r, d->height, &hash, &b);
	if (!err)
		block_drop(b);
	return !err || err == ERR_NOT_FOUND; /* it was not the one that became final */
}

static int mend_block(struct replica *r, const struct damage *d, const struct sync_msg *in,
		      enum mend_step *step)
{
	struct hash hash;
	int err = ERR_NONE;
	if (d->height == UINT64_MAX || d->height == 0)
		return leave(r, step, "it is not known of which block it is");
	if (d->height < r->blocks_from) {
		*step = MEND_STEP_SOUND; /* given up meanwhile */
		return ERR_NONE;
	}
	if (d->height > ledger_height(r->ledger)) {
		if (!is_sound_unfinal(r, d))
			return leave(r, step,
				     "the block is not final yet: the next scrub sees to it");
		*step = MEND_STEP_SOUND;
		return ERR_NONE;
	}
	if (!final_hash(r, d->height, &hash))
		return leave(r, step, "nothing here says which block is the final one");
	store_batch_clear(r->batch);
	struct block *b = find_block(r, d->height, &hash, in, step, &err);
	if (!b)
		return err;
	put_entries(r, b);
	block_drop(b);
	write_batch(r, step);
	return ERR_NONE;
}

/* An entry that no final block has: those of their transactions were seen to before. */
static int mend_entry(struct replica *r, const struct damage *d, enum mend_step *step)
{
	struct slice key = slice_of(d->key, d->key_len);
	if (d->key_len == 0) {
		mend_index(r, step);
		return ERR_NONE;
	}
	int err = store_get(r->store, STORE_TXINDEX, key, &r->scratch);
	*step = MEND_STEP_SOUND;
	if (err == ERR_NOT_FOUND)
		return ERR_NONE;
	if (!err && d->key_len == HASH_SIZE && r->scratch.len == 12 &&
	    load_be64(r->scratch.buf) <= ledger_height(r->ledger))
		return ERR_NONE;
	if (r->mend.block_left)
		return leave(r, step, "a block, which may be the entry's, is damaged still");
	store_batch_clear(r->batch);
	store_batch_delete(r->batch, STORE_TXINDEX, key);
	write_batch(r, step);
	return ERR_NONE;
}

/* ---- certificates -------------------------------------------------------------------------
 */

static bool is_sound_cert(struct replica *r, uint64_t height, int *err)
{
	struct cert cert;
	struct hash hash;
	struct record_key k;
	*err = records_cert(r, height, &cert);
	if (*err || cert.ref.height != height)
		return false;
	if (is_proven(r) &&
	    (!cert_is_final(cert.kind) || cert_check(&cert, replica_ctx_at(r, height))))
		return false;
	if (store_get(r->store, STORE_BLOCKS, key_final(&k, height), &r->scratch) ||
	    r->scratch.len != HASH_SIZE)
		return true;
	memcpy(hash.b, r->scratch.buf, HASH_SIZE);
	return hash_equal(&hash, &cert.ref.hash);
}

/* Fillers behind the end of an epoch are certified, and are no blocks of the chain. */
static bool is_final_here(struct replica *r, uint64_t height, const struct hash *hash)
{
	struct record_key k;
	return height <= ledger_height(r->ledger) &&
	       store_get(r->store, STORE_BLOCKS, key_final(&k, height), &r->scratch) ==
		       ERR_NONE &&
	       slice_equal(writer_slice(&r->scratch), hash_slice(hash));
}

/* That is the one which the record of the next epoch has. */
static bool is_of_filler(const struct replica *r, uint64_t height, uint64_t top)
{
	uint64_t next = replica_ctx_at(r, height)->epoch + 1;
	return next < r->epoch_count && top > r->epochs[next].start_height;
}

/* Who has just begun is a few blocks behind those whom it asks: they are asked again. */
static int await_certified(struct replica *r, uint64_t top, enum mend_step *step)
{
	struct mend *m = &r->mend;
	if (top <= ledger_height(r->ledger))
		return leave(r, step, "the others' certificate is of a block that is not here");
	if (m->ahead++ >= MEND_AHEAD_MAX)
		return leave(r, step,
			     "the others' certificate is of a block that is not final here "
			     "yet: the next scrub sees to it");
	m->tried &= ~(UINT64_C(1) << m->source);
	*step = MEND_STEP_ASK;
	return ERR_NONE;
}

/* A header that a quorum has made final: no other one can be at its height. */
static int take_certificate(struct replica *r, uint64_t height, const struct sync_msg *in,
			    enum mend_step *step)
{
	const struct certified_header *c = &in->header;
	struct record_key k;
	struct hash hash;
	int err = certified_header_check(c, replica_ctx_at(r, height), &r->genesis_block->hash);
	if (err || c->headers[0].h.height != height)
		return err ? err : ERR_RANGE;
	header_hash(&hash, &c->headers[0].h);
	if (store_get(r->store, STORE_BLOCKS, key_final(&k, height), &r->scratch) == ERR_NONE &&
	    r->scratch.len == HASH_SIZE && memcmp(r->scratch.buf, hash.b, HASH_SIZE) != 0) {
		struct block *b; /* of that place the block says the same: then who is right? */
		if (replica_block(r, height, &b) == ERR_NONE) {
			block_drop(b);
			return leave(r, step, "the others' certificate is of another block");
		}
	}
	uint64_t top = c->cert.ref.height;
	bool of_filler = is_of_filler(r, height, top);
	if (top != height && !of_filler && !is_final_here(r, top, &c->cert.ref.hash))
		return await_certified(r, top, step);
	store_batch_clear(r->batch);
	if (top != height) /* no block has to have its own */
		store_batch_delete(r->batch, STORE_CERTS, key_cert(&k, height));
	if (top == height || (!of_filler && store_get(r->store, STORE_CERTS, key_cert(&k, top),
						      &r->scratch) == ERR_NOT_FOUND)) {
		writer_reset(&r->scratch);
		cert_encode(&r->scratch, &c->cert);
		store_batch_put(r->batch, STORE_CERTS, key_cert(&k, top),
				writer_slice(&r->scratch));
	}
	write_batch(r, step);
	return ERR_NONE;
}

static int mend_cert(struct replica *r, const struct damage *d, const struct sync_msg *in,
		     enum mend_step *step)
{
	int err;
	uint64_t height = d->key_len == 9 ? load_be64(d->key + 1) : 0;
	if (d->key_len != 9 || d->key[0] != 'c')
		return leave(r, step, "certificates of terms are not fetched");
	*step = MEND_STEP_SOUND;
	if (height < r->blocks_from || is_sound_cert(r, height, &err) || err == ERR_NOT_FOUND)
		return ERR_NONE;
	if (!is_proven(r))
		return leave(r, step, "with this protocol no certificate proves itself");
	if (height > ledger_height(r->ledger))
		return leave(r, step,
			     "its block is not final here yet: the next scrub sees to it");
	if (in && in->type == SYNC_OFFER && in->height == height)
		return take_certificate(r, height, in, step);
	ask(r, step, SYNC_ASK, height, NULL, NULL);
	return ERR_NONE;
}

/* ---- evidence -----------------------------------------------------------------------------
 */

/* What convicted somebody is in the chain, behind its mark. */
static bool find_conviction(struct replica *r, const struct damage *d, struct mode_record *out)
{
	uint64_t height = 1;
	uint32_t index = 0, count = 1;
	while (count > 0 && replica_modes(r, height, index, out, 1, &count) == ERR_NONE &&
	       count > 0) {
		if (out->kind == SYSTEM_CONVICTION &&
		    slice_equal(hash_slice(&out->evidence), slice_of(d->key, d->key_len)))
			return true;
		height = out->height;
		index = out->index + 1;
	}
	return false;
}

/* Or gone: whose it was, nobody can tell. */
static bool is_sound_evidence(struct replica *r, const struct damage *d)
{
	struct reader rd;
	struct evidence e;
	struct hash id;
	struct slice key = slice_of(d->key, d->key_len);
	int err = store_get(r->store, STORE_EVIDENCE, key, &r->scratch);
	if (err)
		return err == ERR_NOT_FOUND;
	reader_init(&rd, writer_slice(&r->scratch));
	evidence_decode(&rd, &e);
	hash_tagged(&id, HASH_EVIDENCE, writer_slice(&r->scratch));
	return !reader_finish(&rd) && slice_equal(key, hash_slice(&id));
}

static int mend_evidence(struct replica *r, const struct damage *d, enum mend_step *step)
{
	struct mode_record found;
	struct system_tx tx;
	struct block *b;
	*step = MEND_STEP_SOUND;
	if (is_sound_evidence(r, d))
		return ERR_NONE;
	if (!find_conviction(r, d, &found) || replica_block(r, found.height, &b))
		return leave(r, step, "no conviction in the chain has this evidence");
	store_batch_clear(r->batch);
	if (system_tx_of_block(&tx, b, found.index, replica_ctx_at(r, found.height)) ==
	    ERR_NONE)
		put_unless(r, STORE_EVIDENCE, hash_slice(&found.evidence), tx.evidence);
	block_drop(b);
	write_batch(r, step);
	return ERR_NONE;
}

/* ---- states -------------------------------------------------------------------------------
 */

static bool root_at(struct replica *r, uint64_t height, struct hash *out)
{
	struct block *b;
	if (height == ledger_height(r->ledger)) {
		*out = *ledger_root(r->ledger);
		return true;
	}
	if (replica_block(r, height, &b))
		return false;
	*out = b->sh.h.state_root;
	block_drop(b);
	return true;
}

/* Everything that the block at this height has written into the state, into the batch. */
static bool batch_block(struct replica *r, uint64_t height, bool list)
{
	uint64_t oldest = ledger_oldest(r->ledger);
	struct hash before;
	struct block *b;
	store_batch_clear(r->batch);
	if (height == 0)
		return oldest == 0 && mend_genesis(r->config.genesis, r->batch) == ERR_NONE;
	if (height <= oldest || height > ledger_height(r->ledger) ||
	    !root_at(r, height - 1, &before) || replica_block(r, height, &b))
		return false;
	int err = mend_execute(r->store, r->config.genesis, replica_ctx_at(r, height), b,
			       &before, list, r->batch);
	block_drop(b);
	return err == ERR_NONE;
}

/* False: it cannot be executed, or that changes nothing. */
static bool rewrite(struct replica *r, uint64_t height, enum mend_step *step)
{
	if (!batch_block(r, height, false))
		return false;
	write_batch(r, step);
	if (*step == MEND_STEP_SOUND)
		return false;
	r->mend.source = NO_VALIDATOR;
	r->mend.any_rewritten = true;
	r->mend.rewritten = height;
	return true;
}

static void drop_record(struct replica *r, const struct damage *d, enum mend_step *step)
{
	store_batch_clear(r->batch);
	if (store_get(r->store, d->family, slice_of(d->key, d->key_len), &r->scratch) !=
	    ERR_NOT_FOUND)
		store_batch_delete(r->batch, d->family, slice_of(d->key, d->key_len));
	write_batch(r, step);
}

/* A height at which the value is what it is here, and that peers are likely to have. */
static uint64_t height_to_ask(struct replica *r, const struct mend_record *rec, uint64_t at)
{
	uint64_t final = ledger_height(r->ledger);
	struct mend_record now = *rec;
	enum mend_look look;
	struct hash root;
	if (!root_at(r, final, &root) || mend_look(r->store, &now, final, &root, &look) ||
	    look == MEND_UNUSED || final <= at + BEHIND)
		return at;
	return final - BEHIND;
}

/* known: rec->want is what it must hash to. If the way to it is damaged, the range alone says
 * what the value is, and it is this version's if there is none that is newer. */
static int take_value(struct replica *r, struct mend_record *rec, uint64_t at, bool known,
		      const struct sync_msg *in, enum mend_step *step)
{
	struct range range;
	struct hash root;
	uint64_t newest;
	if (!root_at(r, at, &root))
		return leave(r, step, "the block of its state is damaged");
	int err = range_check(in->range, &root, &rec->key, &rec->key, &range);
	if (!err && range.count == 0)
		err = known ? ERR_NOT_FOUND : ERR_NONE;
	if (err) {
		range_free(&range);
		return err;
	}
	if (!known) {
		if (range.count == 0 || mend_newest(r->store, &rec->key, at, &newest) ||
		    newest != rec->version) {
			range_free(&range);
			return leave(r, step, "the nodes that lead to it are damaged as well");
		}
		tree_value_hash(&rec->want, range.leaf[0].value);
	}
	store_batch_clear(r->batch);
	err = mend_value(r->store, rec, range.leaf[0].state_key, range.leaf[0].value, r->batch);
	range_free(&range);
	if (err)
		return err;
	write_batch(r, step);
	return ERR_NONE;
}

static int mend_state_value(struct replica *r, struct mend_record *rec, uint64_t at, bool known,
			    const struct sync_msg *in, enum mend_step *step)
{
	if (!is_proven(r))
		return leave(r, step, "with this protocol no value proves itself");
	if (in && in->type == SYNC_RANGE && hash_equal(&in->from, &rec->key))
		return take_value(r, rec, in->height, known, in, step);
	ask(r, step, SYNC_GET, known ? height_to_ask(r, rec, at) : at, &rec->key, &rec->key);
	return ERR_NONE;
}

static int mend_list(struct replica *r, const struct damage *d, const struct mend_record *rec,
		     enum mend_step *step)
{
	if (rec->version <= ledger_oldest(r->ledger))
		drop_record(r, d, step); /* it was carried out */
	else if (!store_get(r->store, d->family, slice_of(d->key, d->key_len), &r->scratch) &&
		 ledger_list_reads(writer_slice(&r->scratch)))
		*step = MEND_STEP_SOUND;
	else if (batch_block(r, rec->version, true))
		write_batch(r, step);
	else
		return leave(r, step, "its block cannot be executed again");
	return ERR_NONE;
}

/* The block of its version has not written it: then it is nobody's. */
static bool drop_unwritten(struct replica *r, const struct mend_record *rec,
			   enum mend_step *step)
{
	uint8_t buf[MEND_KEY_MAX];
	struct slice key = mend_key(rec, buf);
	if (!batch_block(r, rec->version, false))
		return false;
	if (!mend_puts(r->batch, rec->family, key))
		store_batch_delete(r->batch, rec->family, key);
	write_batch(r, step);
	return *step != MEND_STEP_SOUND;
}

/* A node that leads to what there is not: of this version, right above. */
static bool drop_what_led(struct replica *r, const struct damage *d,
			  const struct mend_record *rec, enum mend_step *step)
{
	struct mend_record above = *rec;
	if (d->family != STORE_TREE || rec->depth == 0)
		return false;
	above.version = d->height;
	above.depth--;
	return drop_unwritten(r, &above, step);
}

/* No state has such a record, if all versions that nodes give are right, which no hash says.
 * The block of its version knows, and so does the one of the node that gave another version. */
static int mend_unused(struct replica *r, const struct damage *d, const struct mend_record *rec,
		       enum mend_step *step)
{
	struct slice key = slice_of(d->key, d->key_len);
	struct mend_record holder = {.family = STORE_TREE,
				     .version = rec->holder,
				     .depth = rec->holder_depth,
				     .key = mend_path(&rec->key, rec->holder_depth)};
	struct hash root;
	enum mend_look look;
	uint64_t oldest = ledger_oldest(r->ledger);
	if (rewrite(r, rec->holder, step) ||
	    (d->height <= ledger_height(r->ledger) && rewrite(r, d->height, step)))
		return ERR_NONE;
	store_batch_clear(r->batch);
	if (rec->holder <= oldest && root_at(r, oldest, &root) &&
	    !mend_look(r->store, &holder, oldest, &root, &look) && look == MEND_SOUND &&
	    !mend_node(r->store, &holder, r->batch) && mend_differs(r->store, r->batch)) {
		write_batch(r, step);
		return ERR_NONE;
	}
	bool is_there = store_get(r->store, d->family, key, &r->scratch) != ERR_NOT_FOUND;
	if (is_there ? drop_unwritten(r, rec, step) : drop_what_led(r, d, rec, step))
		return ERR_NONE;
	store_batch_clear(r->batch);
	if (is_there && d->family == STORE_TREE && rec->version < oldest &&
	    mend_base(r->store, rec, r->batch)) {
		write_batch(r, step);
		return ERR_NONE;
	}
	if (is_there)
		return leave(r, step, "no state seems to need it, which cannot be proven");
	*step = MEND_STEP_SOUND;
	return ERR_NONE;
}

static int mend_state(struct replica *r, const struct damage *d, const struct sync_msg *in,
		      enum mend_step *step)
{
	uint64_t oldest = ledger_oldest(r->ledger);
	struct mend_record rec;
	enum mend_look look = MEND_DAMAGED;
	struct hash root;
	if (!mend_record_of(d->family, slice_of(d->key, d->key_len), &rec)) {
		drop_record(r, d, step); /* nothing can lead to it */
		return ERR_NONE;
	}
	if (rec.version > ledger_height(r->ledger))
		return leave(r, step, "it is of no state yet");
	if (rec.list)
		return mend_list(r, d, &rec, step);
	uint64_t at = rec.version < oldest ? oldest : rec.version;
	if (!root_at(r, at, &root))
		return leave(r, step, "the block of its state is damaged");
	int err = mend_look(r->store, &rec, at, &root, &look);
	if (!err && look == MEND_SOUND) {
		/* The record that it rests on may have been mended since: while that was
		 * damaged, nobody could know which values of its version are missing. */
		if (d->family == STORE_TREE && rewrite(r, rec.version, step))
			return ERR_NONE;
		*step = r->mend.any_rewritten && r->mend.rewritten == rec.version
				? MEND_STEP_MENDED /* with another one of its block */
				: MEND_STEP_SOUND;
		return ERR_NONE;
	}
	if (!err && look == MEND_UNUSED)
		return mend_unused(r, d, &rec, step);
	if (!in && rewrite(r, rec.version, step))
		return ERR_NONE;
	if (d->family == STORE_STATE)
		return mend_state_value(r, &rec, at, !err, in, step);
	store_batch_clear(r->batch);
	if (err || mend_node(r->store, &rec, r->batch))
		return leave(r, step,
			     "the values under it, or nodes beside it, are damaged as well");
	write_batch(r, step);
	return ERR_NONE;
}

/* ---- all of them --------------------------------------------------------------------------
 */

int mend_record(struct replica *r, const struct damage *d, const struct sync_msg *in,
		enum mend_step *step)
{
	struct slice key = slice_of(d->key, d->key_len), start = key;
	if (start.len > sizeof EPOCH_KEY - 1)
		start.len = sizeof EPOCH_KEY - 1;
	if (d->unreadable) {
		mend_table(r, d, step);
		return ERR_NONE;
	}
	switch (d->family) {
	case STORE_BLOCKS:
		return mend_block(r, d, in, step);
	case STORE_TXINDEX:
		return d->height == UINT64_MAX ? mend_entry(r, d, step)
					       : mend_block(r, d, in, step);
	case STORE_CERTS:
		return mend_cert(r, d, in, step);
	case STORE_EVIDENCE:
		return mend_evidence(r, d, step);
	case STORE_STATE:
	case STORE_TREE:
		return mend_state(r, d, in, step);
	case STORE_VOTES:
		return leave(r, step, "votes are nobody else's to know");
	case STORE_META:
	case STORE_FAMILIES:
		break;
	}
	/* Its counts are held against what could be read, and an epoch's beginning against the
	 * block that it begins with: all is read once more now. */
	if (r->mend.any_mended && (slice_equal(key, slice_str("ledger")) ||
				   slice_equal(start, slice_str(EPOCH_KEY)))) {
		*step = MEND_STEP_SOUND;
		return ERR_NONE;
	}
	return leave(r, step, "it is one of the store's own records");
}

/* Certificates say which blocks are right, blocks what the entries are, values what the nodes
 * above them are. */
static unsigned class_of(const struct damage *d)
{
	if (d->unreadable)
		return 4; /* what is known by its key has been written anew by then */
	switch (d->family) {
	case STORE_CERTS:
		return 0;
	case STORE_BLOCKS:
		return 1;
	case STORE_TXINDEX:
		return d->height == UINT64_MAX ? 2 : 1;
	case STORE_STATE:
	case STORE_TREE:
		return 3;
	default:
		return 5;
	}
}

/* Records of the states below are needed to execute blocks above: those first, and of them
 * values before nodes, which are made of them, and high nodes before deep ones, to which they
 * lead. */
static uint64_t rank_in_state(const struct damage *d, uint64_t oldest)
{
	struct mend_record rec;
	if (!mend_record_of(d->family, slice_of(d->key, d->key_len), &rec))
		return UINT64_MAX;
	if (rec.version > oldest)
		return TREE_DEPTH_MAX + 2 + rec.version;
	return d->family == STORE_STATE ? 0 : 1 + rec.depth % TREE_DEPTH_MAX;
}

struct ranked {
	unsigned class;
	uint64_t rank;
	struct damage d;
};

static int compare_keys(const struct damage *a, const struct damage *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (a->unreadable != b->unreadable || a->key_len != b->key_len)
		return a->unreadable != b->unreadable ? (int)a->unreadable - b->unreadable
						      : (int)a->key_len - b->key_len;
	return memcmp(a->key, b->key, a->key_len);
}

static int compare(const void *pa, const void *pb)
{
	const struct ranked *a = pa, *b = pb;
	if (a->class != b->class)
		return a->class < b->class ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return compare_keys(&a->d, &b->d);
}

uint32_t mend_sort(struct damage *d, uint32_t count, uint64_t oldest)
{
	struct ranked *all = mem_array(count, sizeof *all);
	for (uint32_t i = 0; i < count; i++) {
		all[i].d = d[i];
		all[i].class = class_of(&d[i]);
		/* of blocks the newest first */
		all[i].rank = all[i].class == 3 ? rank_in_state(&d[i], oldest)
						: UINT64_MAX - d[i].height;
	}
	qsort(all, count, sizeof *all, compare);
	uint32_t kept = 0; /* each node that leads to a damaged one has named it */
	for (uint32_t i = 0; i < count; i++)
		if (kept == 0 || d[kept - 1].key_len == 0 ||
		    compare_keys(&d[kept - 1], &all[i].d) != 0)
			d[kept++] = all[i].d;
	mem_free(all);
	return kept;
}
