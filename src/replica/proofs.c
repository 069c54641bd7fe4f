/* What a replica shows of its final chain: blocks, certified headers, proof documents. */
#include "replica/epoch.h"

/* Of the block's own epoch: if none of its blocks from height on has one, that of the fillers
 * behind its end. */
static int certificate_of(struct replica *r, uint64_t height, struct cert *cert,
			  struct handover *fillers)
{
	uint64_t epoch = replica_ctx_at(r, height)->epoch;
	int err = records_cert_from(r, height, cert);
	bool last = epoch + 1 == r->epoch_count;
	if (err && err != ERR_NOT_FOUND)
		return err;
	if (last || (!err && cert->ref.height <= r->epochs[epoch + 1].start_height))
		return err;
	err = epoch_handover(r, epoch + 1, fillers);
	if (!err)
		cert_copy(cert, &fillers->cert);
	return err;
}

int replica_certified_header(struct replica *r, uint64_t height, struct certified_header *out)
{
	return certified_header_within(r, height, CERTIFIED_HEADERS_MAX, out);
}

int certified_header_within(struct replica *r, uint64_t height, uint64_t max,
			    struct certified_header *out)
{
	struct handover fillers = {0};
	*out = (struct certified_header){0};
	uint64_t top = height;
	if (height > 0) {
		int err = certificate_of(r, height, &out->cert, &fillers);
		if (err)
			return err;
		top = out->cert.ref.height - fillers.filler_count;
	}
	if (top - height + fillers.filler_count >= max) {
		handover_free(&fillers);
		return ERR_LIMIT;
	}
	out->headers = mem_array(top - height + 1 + fillers.filler_count, sizeof *out->headers);
	for (uint64_t h = height; h <= top; h++) {
		struct block *b;
		int err = replica_block(r, h, &b);
		if (err) {
			certified_header_free(out);
			handover_free(&fillers);
			return err;
		}
		out->headers[out->count++] = b->sh;
		block_drop(b);
	}
	for (uint32_t i = 0; i < fillers.filler_count; i++)
		out->headers[out->count++] = fillers.fillers[i];
	handover_free(&fillers);
	return ERR_NONE;
}

static struct slice slice_dup(struct slice s)
{
	return slice_of(mem_dup(s.ptr, s.len), s.len);
}

int replica_prove_state(struct replica *r, struct slice state_key, uint64_t height,
			struct proof_document *out)
{
	proof_document_init(out);
	out->kind = PROOF_STATE;
	if (height == UINT64_MAX)
		height = ledger_height(r->ledger);
	struct writer value = {0}, proof = {0};
	int err = ledger_get(r->ledger, state_key, height, &value, &proof);
	if (!err || err == ERR_NOT_FOUND) {
		out->present = !err;
		err = replica_certified_header(r, height, &out->ch);
	}
	if (!err) {
		out->state_key = slice_dup(state_key);
		if (out->present)
			out->value = slice_dup(writer_slice(&value));
		out->proof = slice_dup(writer_slice(&proof));
	}
	writer_free(&value);
	writer_free(&proof);
	if (err)
		proof_document_free(out);
	return err;
}

int replica_prove_tx(struct replica *r, const struct hash *id, struct proof_document *out)
{
	proof_document_init(out);
	out->kind = PROOF_TX;
	uint64_t height;
	uint32_t index;
	struct block *b;
	int err = ledger_find_tx(r->ledger, id, &height, &index);
	if (!err)
		err = replica_block(r, height, &b);
	if (err)
		return err;
	if (index >= b->tx_count)
		err = ERR_CORRUPT;
	if (!err)
		err = replica_certified_header(r, height, &out->ch);
	if (!err) {
		struct hash *leaves = mem_array(b->tx_count, sizeof *leaves);
		block_leaves(leaves, b);
		merkle_prove(&out->path, leaves, b->tx_count, index);
		mem_free(leaves);
		out->result = b->tx[index].result;
		out->tx = slice_dup(block_tx_bytes(b, index));
	}
	block_drop(b);
	if (err)
		proof_document_free(out);
	return err;
}

int replica_term_cert(struct replica *r, uint64_t term, struct term_cert *out)
{
	return records_tc(r, term, out);
}

/* ---- evidence and modes ------------------------------------------------------------------ */

int replica_evidence_next(struct replica *r, const struct hash *after, struct hash *id,
			  struct writer *bytes)
{
	uint8_t from[HASH_SIZE + 1] = {0}; /* the key right after *after */
	struct slice key, value, none = {0};
	writer_reset(bytes);
	if (after)
		memcpy(from, after->b, HASH_SIZE);
	struct store_iter *it = store_iter_new(
		r->store, STORE_EVIDENCE, slice_of(from, after ? sizeof from : 0), none, false);
	int err = ERR_NOT_FOUND;
	if (store_iter_next(it, &key, &value)) {
		err = key.len == HASH_SIZE ? ERR_NONE : ERR_CORRUPT;
		if (!err)
			memcpy(id->b, key.ptr, HASH_SIZE);
		writer_raw(bytes, value.ptr, value.len);
	} else if (store_iter_error(it)) {
		err = store_iter_error(it);
	}
	store_iter_free(it);
	return err;
}

static int mode_record_of(struct replica *r, const struct block *b, uint32_t index,
			  struct mode_record *out)
{
	struct system_tx tx;
	struct evidence e;
	struct reader rd;
	int err = system_tx_of_block(&tx, b, index, &r->ctx);
	*out = (struct mode_record){.height = b->sh.h.height,
				    .index = index,
				    .time_ms = b->sh.h.time_ms,
				    .id = b->tx[index].id,
				    .kind = tx.kind,
				    .term = b->sh.h.term,
				    .reason = tx.reason};
	if (err || tx.kind != SYSTEM_CONVICTION)
		return err;
	reader_init(&rd, tx.evidence);
	evidence_decode(&rd, &e);
	hash_tagged(&out->evidence, HASH_EVIDENCE, tx.evidence);
	out->evidence_kind = e.kind;
	out->culprit = e.culprit;
	return reader_finish(&rd);
}

/* Those of one block, from index on, as many as there is room for. */
static int modes_of_block(struct replica *r, uint64_t height, uint32_t index,
			  struct mode_record *out, uint32_t max, uint32_t *count)
{
	struct block *b;
	int err = replica_block(r, height, &b);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	uint32_t end = system_tx_prefix(b);
	for (; index < end && *count < max && !err; index++)
		err = mode_record_of(r, b, index, &out[(*count)++]);
	block_drop(b);
	return err ? ERR_CORRUPT : ERR_NONE;
}

int replica_modes(struct replica *r, uint64_t height, uint32_t index, struct mode_record *out,
		  uint32_t max, uint32_t *count)
{
	struct record_key k;
	struct slice key, value;
	uint8_t end = 's' + 1;
	int err = ERR_NONE;
	*count = 0;
	struct store_iter *it = store_iter_new(r->store, STORE_BLOCKS, key_system(&k, height),
					       slice_of(&end, 1), false);
	while (!err && *count < max && store_iter_next(it, &key, &value)) {
		if (key.len != k.len) {
			err = ERR_CORRUPT;
			break;
		}
		uint64_t at = load_be64(key.ptr + 1);
		err = modes_of_block(r, at, at == height ? index : 0, out, max, count);
	}
	if (!err)
		err = store_iter_error(it);
	store_iter_free(it);
	return err;
}

void replica_each_evidence(struct replica *r, void (*fn)(void *ctx, struct slice bytes),
			   void *ctx)
{
	struct slice key, value, none = {0};
	struct store_iter *it = store_iter_new(r->store, STORE_EVIDENCE, none, none, false);
	while (store_iter_next(it, &key, &value))
		fn(ctx, value);
	store_iter_free(it);
}
