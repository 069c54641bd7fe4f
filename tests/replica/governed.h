/* A chain of several epochs: governance, ends, fillers, handovers, by hand. */
#ifndef TESTS_REPLICA_GOVERNED_H
#define TESTS_REPLICA_GOVERNED_H

#include "chain/epoch.h"
#include "replica/epoch.h"
#include "tests/ledger/world.h"

#define GOVERNORS 3

/* Made anew for each use: a test may stand in several files. */
static inline struct keypair governed_governor(uint8_t number)
{
	struct keypair key;
	uint8_t seed[32] = {77, number};
	keypair_from_seed(&key, seed);
	return key;
}

/* Between world_genesis() and world_seal(): epochs may end at multiples of interval. */
static inline void governed_genesis(struct world *w, uint32_t interval)
{
	w->genesis.checkpoint_interval = interval;
	w->genesis.governance = (struct genesis_keys){.k = 2, .m = GOVERNORS};
	for (uint8_t i = 0; i < GOVERNORS; i++)
		w->genesis.governance.key[i] = governed_governor(i).pub;
}

static inline struct keypair governed_key(uint8_t number)
{
	struct keypair key;
	uint8_t seed[32] = {78, number};
	keypair_from_seed(&key, seed);
	return key;
}

/* Final, a child of the tip; lent. */
static inline struct block *governed_commit(struct world *w, uint64_t term,
					    const struct slice *txs, uint32_t count)
{
	struct block *b = world_build(w, w->tip, term, txs, count, NULL);
	int err = ledger_execute(w->ledger, b, false);
	invariant(!err);
	world_finalize(w, b);
	block_drop(b);
	return w->tip;
}

/* The end of w's epoch, by the first two governors: final, lent. */
static inline struct block *governed_end(struct world *w, uint64_t term, unsigned place,
					 const struct pubkey *key)
{
	struct system_tx tx = {.kind = SYSTEM_MEMBER, .height = w->tip->sh.h.height + 1};
	struct writer bytes = {0};
	member_change_init(&tx.member, &w->ctx, place, key);
	for (uint8_t i = 0; i < 2; i++) {
		const struct keypair governor = governed_governor(i);
		int err = member_change_sign(&tx.member, &w->ctx, &governor);
		invariant(!err);
	}
	system_tx_encode(&bytes, &tx, &w->ctx);
	const struct slice one = writer_slice(&bytes);
	struct block *b = governed_commit(w, term, &one, 1);
	writer_free(&bytes);
	return b;
}

static inline struct block *governed_filler(struct world *w, const struct block *parent,
					    uint64_t term)
{
	struct writer body = {0};
	struct hash root, none = {0};
	body_begin(&body);
	body_end(&body, 0);
	merkle_root(&root, NULL, 0);
	struct block *b =
		world_seal_block(w, parent, term, writer_slice(&body), &root, &none, 0);
	writer_free(&body);
	return b;
}

/* For the tip, which is an end, by so many fillers in the terms behind its own; and its blocks
 * (block_drop() each), if wanted. handover_free(). */
static inline void governed_handover(struct world *w, uint32_t fillers, struct block **block,
				     struct handover *out)
{
	struct block *at = block_hold(w->tip);
	*out = (struct handover){.end = block_hold(w->tip), .filler_count = fillers};
	out->fillers = fillers ? mem_array(fillers, sizeof *out->fillers) : NULL;
	for (uint32_t i = 0; i < fillers; i++) {
		struct block *b = governed_filler(w, at, at->sh.h.term + 1);
		out->fillers[i] = b->sh;
		block_drop(at);
		at = b;
		if (block)
			block[i] = block_hold(b);
	}
	world_cert(w, at, CERT_TWO_ROUND, 3, &out->cert);
	block_drop(at);
}

/* w is in the next epoch; key is that of the place which the end names. */
static inline void governed_step(struct world *w, const struct handover *h, unsigned place,
				 const struct keypair *key)
{
	struct chain_ctx next;
	struct errmsg m;
	int err = handover_check(h, &w->ctx, &next);
	invariant(!err);
	w->ctx = next;
	w->validator[place] = *key;
	ledger_close(w->ledger);
	err = ledger_open(&w->ledger, w->store, &w->genesis, &w->ctx, w->block0, &m);
	invariant(!err);
}

/* The record of the epoch that h begins. */
static inline void governed_record(struct store *s, uint64_t epoch, const struct handover *h)
{
	struct epoch_key k;
	struct writer bytes = {0};
	struct store_batch *batch = store_batch_new();
	writer_u16(&bytes, 1);
	handover_encode(&bytes, h);
	store_batch_put(batch, STORE_META, key_epoch(&k, epoch), writer_slice(&bytes));
	int err = store_write(s, batch, true);
	invariant(!err);
	store_batch_free(batch);
	writer_free(&bytes);
}

#endif
