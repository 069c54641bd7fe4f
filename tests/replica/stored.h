/* What a driver writes of a block before it votes, and at finality; blocks for that. */
#ifndef TESTS_REPLICA_STORED_H
#define TESTS_REPLICA_STORED_H

#include <stdio.h>

#include "chain/system.h"
#include "replica/private.h"
#include "tests/ledger/world.h"

/* b with the certificate of three of the world's validators, durable. */
static inline void stored_block(struct store *s, struct world *w, struct block *b)
{
	struct record_key k;
	struct writer bytes = {0};
	struct cert cert;
	struct store_batch *batch = store_batch_new();
	block_encode(&bytes, b);
	store_batch_put(batch, STORE_BLOCKS, key_block(&k, b->sh.h.height, &b->hash),
			writer_slice(&bytes));
	world_cert(w, b, CERT_TWO_ROUND, 3, &cert);
	writer_reset(&bytes);
	cert_encode(&bytes, &cert);
	store_batch_put(batch, STORE_CERTS, key_cert(&k, b->sh.h.height), writer_slice(&bytes));
	ck_assert_int_eq(store_write(s, batch, true), ERR_NONE);
	store_batch_free(batch);
	writer_free(&bytes);
}

/* What block h of a varied chain holds: a mode entry in the second one, and a put of each client,
 * on 150 keys. Release with world_free_txs(). */
static inline uint32_t varied_txs(struct world *w, uint64_t h, struct slice txs[1 + WORLD_CLIENTS])
{
	uint32_t count = 0;
	if (h == 2) {
		const struct system_tx tx = {.kind = SYSTEM_ESCALATED,
					     .height = h,
					     .term = 1,
					     .reason = REASON_PROOF};
		struct writer entry = {0};
		system_tx_encode(&entry, &tx, &w->ctx);
		size_t len;
		uint8_t *bytes = writer_take(&entry, &len);
		txs[count++] = slice_of(bytes, len);
	}
	for (unsigned i = 0; i < WORLD_CLIENTS; i++) {
		char key[24];
		snprintf(key, sizeof key, "key-%u", (unsigned)(h * 7 + i * 31) % 150);
		txs[count++] = world_put(w, i, h, key, key);
	}
	return count;
}

#endif
