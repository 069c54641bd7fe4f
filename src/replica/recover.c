/* From a store, whatever a kill -9 left of it, to a running replica. */
#include "replica/epoch.h"

struct recovered {
	struct engine_recovery engine;
	struct writer votes[VOTE_SLOTS];
	struct writer proofs; /* encoded evidence, one behind the other */
	struct slice *evidence;
	struct cert final_cert;
	bool has_final_cert;
};

/* Executes and finalises, in memory and store, one block that is final by its certificate. */
static int apply_final_block(struct replica *r, struct block *b, struct errmsg *m)
{
	int err = ledger_execute(r->ledger, b, false);
	if (ledger_error_is_of_store(err))
		return err_set(
			m, err,
			"reading the state on disk to replay block %llu gives: %s. Check "
			"the disk; if it is sound, restore the data directory from a "
			"backup or a peer",
			(unsigned long long)b->sh.h.height, err_text(err));
	if (err)
		return err_set(
			m, err,
			"block %llu is final by its certificate, but replaying it on the "
			"state on disk gives: %s. The data directory is damaged or was "
			"changed; restore it from a backup or a peer",
			(unsigned long long)b->sh.h.height, err_text(err));
	store_batch_clear(r->batch);
	ledger_finalize(r->ledger, b, r->batch);
	records_settle(r, b);
	return store_write(r->store, r->batch, false);
}

/* Brings the ledger from its applied height up to the block of cert. */
static int replay(struct replica *r, const struct cert *cert, struct errmsg *m)
{
	uint64_t applied = ledger_height(r->ledger);
	if (cert->ref.height <= applied)
		return ERR_NONE;
	/* What the certificate says of its height is only as good as the disk: memory grows
	 * with the blocks that are really there. */
	uint64_t count = 0, cap = 0;
	struct block **chain = NULL; /* newest first */
	struct hash want = cert->ref.hash;
	int err = ERR_NONE;
	for (uint64_t height = cert->ref.height; height > applied && !err; height--) {
		if (count == cap) {
			cap = cap ? 2 * cap : 64;
			chain = mem_realloc(chain, cap * sizeof *chain);
		}
		err = records_block(r, height, &want, &chain[count]);
		if (err)
			err_set(m, err,
				"block %llu is final, but reading it gives: %s. Restore the "
				"data "
				"directory from a backup or a peer",
				(unsigned long long)height, err_text(err));
		else
			want = chain[count++]->sh.h.prev;
	}
	if (!err && !hash_equal(&want, ledger_hash(r->ledger)))
		err = err_set(m, ERR_CORRUPT,
			      "the final blocks on disk do not extend the state at height %llu",
			      (unsigned long long)applied);
	for (uint64_t i = count; i-- > 0 && !err && !epoch_is_over(r);)
		err = apply_final_block(r, chain[i], m);
	for (uint64_t i = 0; i < count; i++)
		block_drop(chain[i]);
	mem_free(chain);
	return err;
}

static bool header_at(void *arg, uint64_t height, struct signed_header *out)
{
	struct block *b;
	if (replica_block(arg, height, &b))
		return false;
	*out = b->sh;
	block_drop(b);
	return true;
}

uint64_t replica_start_blocks(const struct replica *r)
{
	return 2 * (uint64_t)r->config.genesis->checkpoint_interval +
	       2 * (uint64_t)r->config.genesis->limits.window + 2;
}

static void load_headers(struct replica *r, struct engine_recovery *rec)
{
	uint64_t final = rec->final->sh.h.height;
	uint64_t count = final + 1 < POSITION_HEADERS_MAX ? final + 1 : POSITION_HEADERS_MAX;
	if (count > replica_start_blocks(r))
		count = replica_start_blocks(r);
	rec->headers = mem_array(count, sizeof *rec->headers);
	uint64_t at = count;
	for (uint64_t i = 0; i < count; i++) {
		struct block *b;
		if (replica_block(r, final - i, &b))
			break;
		rec->headers[--at] = b->sh;
		block_drop(b);
	}
	rec->header_at = header_at;
	rec->header_arg = r;
	rec->header_count = (uint32_t)(count - at);
	memmove(rec->headers, rec->headers + at, rec->header_count * sizeof *rec->headers);
}

static bool block_at(void *arg, uint64_t height, const struct hash *hash, struct block **out)
{
	return records_block(arg, height, hash, out) == ERR_NONE;
}

static void load_unfinal(struct replica *r, struct engine_recovery *rec)
{
	struct record_key k;
	struct slice key, value;
	uint8_t end = 'b' + 1;
	struct hash low = {0};
	rec->block_at = block_at;
	rec->block_arg = r;
	rec->blocks = mem_array(UNFINAL_BLOCKS_MAX, sizeof(struct block *));
	struct store_iter *it = store_iter_new(r->store, STORE_BLOCKS,
					       key_block(&k, rec->final->sh.h.height + 1, &low),
					       slice_of(&end, 1), false);
	while (rec->block_count < UNFINAL_BLOCKS_MAX && store_iter_next(it, &key, &value)) {
		struct reader rd;
		reader_init(&rd, value);
		struct block *b;
		if (block_decode(&rd, &b))
			continue; /* the engine says what it misses */
		rec->blocks[rec->block_count++] = b;
	}
	store_iter_free(it);
}

static int load_votes(struct replica *r, struct recovered *rec)
{
	for (unsigned slot = 0; slot < MEM_COUNT(rec->votes); slot++) {
		uint8_t key = (uint8_t)slot;
		int err =
			store_get(r->store, STORE_VOTES, slice_of(&key, 1), &rec->votes[slot]);
		if (err == ERR_NOT_FOUND)
			continue;
		if (err)
			return err;
		rec->engine.votes[slot] = writer_slice(&rec->votes[slot]);
	}
	return ERR_NONE;
}

/* A proof for each culprit who is not jailed yet. */
static int load_evidence(struct replica *r, struct recovered *rec)
{
	struct slice none = {0}, key, value;
	uint32_t count = 0;
	size_t at[VALIDATORS_MAX + 1] = {0};
	uint64_t done = rec->engine.modes.jailed;
	struct store_iter *it = store_iter_new(r->store, STORE_EVIDENCE, none, none, false);
	while (count < VALIDATORS_MAX && store_iter_next(it, &key, &value)) {
		struct reader rd;
		struct evidence ev;
		reader_init(&rd, value);
		evidence_decode(&rd, &ev);
		if (reader_finish(&rd) || done >> ev.culprit & 1)
			continue;
		if (r->ctx.epoch > 0 && evidence_check(&ev, &r->ctx, tx_never_valid))
			continue; /* of an epoch that is over: it must not stand for a new one
				   */
		done |= UINT64_C(1) << ev.culprit;
		writer_raw(&rec->proofs, value.ptr, value.len);
		at[++count] = rec->proofs.len;
	}
	int err = store_iter_error(it);
	store_iter_free(it);
	rec->evidence = mem_array(count ? count : 1, sizeof *rec->evidence);
	for (uint32_t i = 0; i < count; i++)
		rec->evidence[i] = slice_of(rec->proofs.buf + at[i], at[i + 1] - at[i]);
	rec->engine.evidence = rec->evidence;
	rec->engine.evidence_count = count;
	return err;
}

static int load_final(struct replica *r, struct recovered *rec, struct errmsg *m)
{
	int err = records_newest_cert(r, &rec->final_cert);
	if (err && err != ERR_NOT_FOUND)
		return err_set(m, err, "reading the newest certificate: %s", err_text(err));
	rec->has_final_cert = err == ERR_NONE;
	if (rec->has_final_cert) {
		err = replay(r, &rec->final_cert, m);
		if (err)
			return err;
		if (epoch_is_over(r)) /* stopped right before it began the next one */
			err = epoch_begin(r, &rec->final_cert, m);
		if (err)
			return err;
		/* what an epoch begins with needs no certificate, and the old set's is none
		 * here */
		if (r->ctx.epoch == 0 || rec->final_cert.ref.height > r->ctx.start_height)
			rec->engine.final_cert = &rec->final_cert;
	}
	err = replica_block(r, ledger_height(r->ledger), &rec->engine.final);
	if (!err) /* after the replay: of that very block */
		err = ledger_mode_state(r->ledger, &rec->engine.modes);
	return err ? err_set(m, err, "reading the newest final block: %s", err_text(err))
		   : ERR_NONE;
}

static void recovered_free(struct recovered *rec)
{
	for (uint32_t i = 0; i < rec->engine.block_count; i++)
		block_drop(rec->engine.blocks[i]);
	mem_free(rec->engine.blocks);
	mem_free(rec->engine.headers);
	for (unsigned slot = 0; slot < MEM_COUNT(rec->votes); slot++)
		writer_free(&rec->votes[slot]);
	writer_free(&rec->proofs);
	mem_free(rec->evidence);
	block_drop(rec->engine.final);
	mem_free(rec);
}

int replica_recover(struct replica *r, struct errmsg *m)
{
	struct recovered *rec = mem_zalloc(sizeof *rec);
	struct engine *engine = NULL;
	int err = load_final(r, rec, m);
	if (!err) {
		load_headers(r, &rec->engine);
		load_unfinal(r, &rec->engine);
		for (uint32_t i = 0; i < rec->engine.block_count; i++) {
			struct write w = {.kind = WRITE_BLOCK, .block = rec->engine.blocks[i]};
			store_batch_clear(r->batch);
			records_put_write(r, &w); /* only to note it; nothing is written */
		}
		store_batch_clear(r->batch);
		err = load_votes(r, rec);
	}
	if (!err)
		err = load_evidence(r, rec);
	if (!err) {
		bool byzantine = protocol_is_byzantine(r->config.genesis->protocol);
		struct engine_config config = {.ctx = &r->ctx,
					       .genesis = r->config.genesis,
					       .genesis_block = r->start,
					       .self = r->config.self,
					       .observer = r->observes && byzantine,
					       .asks_own_votes = r->config.asks_own_votes,
					       .timing = r->config.timing,
					       .pipeline = r->config.pipeline,
					       .seed = r->config.seed,
					       .now = r->config.now,
					       .tx_invalid = tx_never_valid};
		if (!config.observer)
			config.key = r->config.key;
		err = engine_new(&engine, &config, &rec->engine, m);
	}
	if (!err && r->config.wrap)
		engine = r->config.wrap(r->config.wrap_ctx, engine);
	if (!err) {
		struct driver_host host = replica_driver_host;
		host.ctx = r;
		r->driver = driver_new(engine, &host);
	}
	recovered_free(rec);
	return err;
}
