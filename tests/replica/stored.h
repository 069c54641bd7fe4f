/* What a driver writes of a block before it votes, and at finality. */
#ifndef TESTS_REPLICA_STORED_H
#define TESTS_REPLICA_STORED_H

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

#endif
