/* Keys and values of consensus in the store. Heights are big-endian, so that the store keeps
 * them in order. */
#include "replica/epoch.h"

static struct slice make_key(struct record_key *k, char kind, uint64_t number,
			     const struct hash *hash)
{
	k->bytes[0] = (uint8_t)kind;
	store_be64(k->bytes + 1, number);
	k->len = 9;
	if (hash) {
		memcpy(k->bytes + 9, hash->b, HASH_SIZE);
		k->len += HASH_SIZE;
	}
	return slice_of(k->bytes, k->len);
}

struct slice key_block(struct record_key *k, uint64_t height, const struct hash *hash)
{
	return make_key(k, 'b', height, hash);
}

struct slice key_final(struct record_key *k, uint64_t height)
{
	return make_key(k, 'h', height, NULL);
}

struct slice key_cert(struct record_key *k, uint64_t height)
{
	return make_key(k, 'c', height, NULL);
}

struct slice key_tc(struct record_key *k, uint64_t term)
{
	return make_key(k, 't', term, NULL);
}

struct slice key_system(struct record_key *k, uint64_t height)
{
	return make_key(k, 's', height, NULL);
}

void records_view(struct replica *r, struct store *s, const struct genesis *g)
{
	*r = (struct replica){.store = s, .config = {.genesis = g, .store = s}};
	genesis_ctx(&r->ctx, g);
	r->genesis_block = genesis_block(g, &r->ctx);
	epochs_open(r, NULL); /* as far as they prove anything */
	r->batch = store_batch_new();
}

void records_view_free(struct replica *r)
{
	epochs_free(r);
	block_drop(r->genesis_block);
	store_batch_free(r->batch);
	writer_free(&r->scratch);
	*r = (struct replica){0};
}

static void note_unfinal(struct replica *r, const struct block *b)
{
	if (r->unfinal_count == r->unfinal_cap) {
		r->unfinal_cap = r->unfinal_cap ? 2 * r->unfinal_cap : 64;
		r->unfinal = mem_realloc(r->unfinal, r->unfinal_cap * sizeof *r->unfinal);
	}
	r->unfinal[r->unfinal_count++] = block_ref_of(b);
}

/* Encoded where the batch has it. */
static void put_block(struct replica *r, const struct block *b)
{
	struct record_key k;
	size_t size = SIGNED_HEADER_SIZE + 4 + b->body_size;
	struct writer w = {.cap = size, .limit = size};
	w.buf = store_batch_put_room(r->batch, STORE_BLOCKS,
				     key_block(&k, b->sh.h.height, &b->hash), size);
	block_encode(&w, b);
	invariant(!w.err && w.len == size);
}

void records_put_write(struct replica *r, const struct write *w)
{
	struct record_key k;
	uint8_t slot = (uint8_t)w->slot;
	writer_reset(&r->scratch);
	switch (w->kind) {
	case WRITE_BLOCK:
		put_block(r, w->block);
		note_unfinal(r, w->block);
		break;
	case WRITE_VOTES:
		if (observer_is_unplaced(r))
			break;
		store_batch_put(r->batch, STORE_VOTES, slice_of(&slot, 1), w->bytes);
		break;
	case WRITE_CERT:
		cert_encode(&r->scratch, w->cert);
		store_batch_put(r->batch, STORE_CERTS, key_cert(&k, w->cert->ref.height),
				writer_slice(&r->scratch));
		break;
	case WRITE_TC:
		store_batch_put(r->batch, STORE_CERTS, key_tc(&k, w->term), w->bytes);
		break;
	case WRITE_EVIDENCE:
		store_batch_put(r->batch, STORE_EVIDENCE, hash_slice(&w->id), w->bytes);
		if (r->config.host.evidence)
			r->config.host.evidence(r->config.host.ctx, w->bytes);
		break;
	case WRITE_OUTDATED:
		observer_outdated(r);
		break;
	}
}

int records_block(struct replica *r, uint64_t height, const struct hash *hash,
		  struct block **out)
{
	struct record_key k;
	int err = store_get(r->store, STORE_BLOCKS, key_block(&k, height, hash), &r->scratch);
	if (err)
		return err;
	struct reader rd;
	reader_init(&rd, writer_slice(&r->scratch));
	err = block_decode(&rd, out);
	if (err)
		return ERR_CORRUPT;
	if (reader_finish(&rd) || !hash_equal(&(*out)->hash, hash)) {
		block_drop(*out);
		*out = NULL;
		return ERR_CORRUPT;
	}
	return ERR_NONE;
}

int replica_block(struct replica *r, uint64_t height, struct block **out)
{
	if (height == 0) {
		*out = block_hold(r->genesis_block);
		return ERR_NONE;
	}
	struct record_key k;
	struct hash hash;
	if (height < r->blocks_from)
		return ERR_STALE;
	int err = store_get(r->store, STORE_BLOCKS, key_final(&k, height), &r->scratch);
	if (err)
		return err;
	if (r->scratch.len != HASH_SIZE)
		return ERR_CORRUPT;
	memcpy(hash.b, r->scratch.buf, HASH_SIZE);
	return records_block(r, height, &hash, out);
}

static int decode_cert(struct slice bytes, struct cert *out)
{
	struct reader rd;
	reader_init(&rd, bytes);
	cert_decode_stored(&rd, out);
	return reader_finish(&rd) ? ERR_CORRUPT : ERR_NONE;
}

int records_cert(struct replica *r, uint64_t height, struct cert *out)
{
	struct record_key k;
	int err = store_get(r->store, STORE_CERTS, key_cert(&k, height), &r->scratch);
	return err ? err : decode_cert(writer_slice(&r->scratch), out);
}

int records_cert_from(struct replica *r, uint64_t height, struct cert *out)
{
	int err = records_cert(r, height, out);
	if (err != ERR_NOT_FOUND)
		return err;
	struct record_key k;
	struct slice key, value;
	uint8_t end = 'c' + 1;
	struct store_iter *it = store_iter_new(r->store, STORE_CERTS, key_cert(&k, height),
					       slice_of(&end, 1), false);
	if (store_iter_next(it, &key, &value))
		err = decode_cert(value, out);
	else if (store_iter_error(it))
		err = store_iter_error(it);
	store_iter_free(it);
	return err;
}

int records_newest_cert(struct replica *r, struct cert *out)
{
	struct slice key, value;
	uint8_t from = 'c', to = 'c' + 1;
	struct store_iter *it = store_iter_new(r->store, STORE_CERTS, slice_of(&from, 1),
					       slice_of(&to, 1), true);
	int err = ERR_NOT_FOUND;
	if (store_iter_next(it, &key, &value)) {
		err = decode_cert(value, out);
	} else if (store_iter_error(it)) {
		err = store_iter_error(it);
	}
	store_iter_free(it);
	return err;
}

int records_tc(struct replica *r, uint64_t term, struct term_cert *out)
{
	struct record_key k;
	struct reader rd;
	int err = store_get(r->store, STORE_CERTS, key_tc(&k, term), &r->scratch);
	if (err)
		return err;
	reader_init(&rd, writer_slice(&r->scratch));
	term_cert_decode(&rd, out);
	if (!reader_finish(&rd))
		return ERR_NONE;
	term_cert_free(out);
	return ERR_CORRUPT;
}

/* So that they are found again without reading the chain: the height of b, the evidence of its
 * convictions. */
void records_index_system(struct replica *r, const struct block *b)
{
	struct record_key k;
	uint32_t count = system_tx_prefix(b);
	if (count == 0)
		return;
	store_batch_put(r->batch, STORE_BLOCKS, key_system(&k, b->sh.h.height),
			hash_slice(&b->hash));
	for (uint32_t i = 0; i < count; i++) {
		struct system_tx tx;
		struct hash id;
		int err = system_tx_of_block(&tx, b, i, &r->ctx);
		invariant(!err); /* executed */
		if (tx.kind != SYSTEM_CONVICTION)
			continue;
		hash_tagged(&id, HASH_EVIDENCE, tx.evidence);
		store_batch_put(r->batch, STORE_EVIDENCE, hash_slice(&id), tx.evidence);
	}
}

/* Indexes b by height and deletes what was stored at its height or below on other branches. */
void records_settle(struct replica *r, const struct block *b)
{
	struct record_key k;
	store_batch_put(r->batch, STORE_BLOCKS, key_final(&k, b->sh.h.height),
			hash_slice(&b->hash));
	records_index_system(r, b);
	uint32_t kept = 0;
	for (uint32_t i = 0; i < r->unfinal_count; i++) {
		const struct block_ref *u = &r->unfinal[i];
		if (u->height > b->sh.h.height) {
			r->unfinal[kept++] = *u;
			continue;
		}
		if (u->height == b->sh.h.height && !hash_equal(&u->hash, &b->hash))
			store_batch_delete(r->batch, STORE_BLOCKS,
					   key_block(&k, u->height, &u->hash));
	}
	r->unfinal_count = kept;
}

/* ---- WORK_READ --------------------------------------------------------------------------- */

struct read_range {
	struct block *blocks[256];
	uint32_t count, certified; /* certified: blocks up to the newest certificate met */
	size_t bytes;
	struct cert cert;
};

static void read_blocks(struct replica *r, const struct work *w, struct read_range *range)
{
	for (uint64_t height = w->height; range->count < MEM_COUNT(range->blocks); height++) {
		bool full = range->count >= w->max_blocks || range->bytes >= w->max_bytes;
		struct cert cert;
		struct block *b;
		/* Of blocks that came with a state only the last has a certificate: who asked
		 * climbs up to it. */
		bool too_much = range->bytes >= 2 * (size_t)w->max_bytes;
		if ((full && range->certified) || too_much || replica_block(r, height, &b))
			return;
		range->blocks[range->count++] = b;
		range->bytes += b->body_size + SIGNED_HEADER_SIZE;
		if (records_cert(r, height, &cert) == ERR_NONE) {
			range->cert = cert;
			range->certified = range->count;
		}
	}
}

void records_read(struct replica *r, const struct work *w)
{
	struct read_range *range = mem_zalloc(sizeof *range);
	read_blocks(r, w, range);
	uint32_t count = range->certified ? range->certified : range->count;
	struct term_cert tc;
	bool has_tc =
		count && records_tc(r, range->blocks[count - 1]->sh.h.term, &tc) == ERR_NONE;
	struct input in = {.kind = INPUT_BLOCKS_READ,
			   .now = r->now,
			   .wall_ms = r->config.host.wall_ms(r->config.host.ctx),
			   .blocks_read = {.id = w->id,
					   .blocks = range->blocks,
					   .count = count,
					   .cert = range->certified ? &range->cert : NULL,
					   .tc = has_tc ? &tc : NULL}};
	driver_input(r->driver, &in);
	if (has_tc)
		term_cert_free(&tc);
	for (uint32_t i = 0; i < range->count; i++)
		block_drop(range->blocks[i]);
	mem_free(range);
}
