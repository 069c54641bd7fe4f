/* Blocks that one certificate has made final, shared between the loop and the API threads, and
 * the receipts that come from them. */
#ifndef NODE_FINALITY_H
#define NODE_FINALITY_H

#include "ledger/proof.h"

/* Immutable but for its lazily made Merkle levels; counted atomically. */
struct finality;

/* Holds the blocks; they ascend, each the child of the one before, and the certificate is of
 * the last one. One reference. */
struct finality *finality_new(struct block *const *blocks, uint32_t count,
			      const struct cert *cert);
/* The same of one block, whose headers up to its certificate's are ch's. */
struct finality *finality_of(struct block *b, const struct certified_header *ch);
struct finality *finality_hold(struct finality *f); /* returns f */
void finality_drop(struct finality *f);		    /* NULL is fine */

/* invariant: block is 0 if it comes from finality_of(). */
const struct block *finality_block(const struct finality *f, uint32_t block);
const struct cert *finality_cert(const struct finality *f);
/* The complete proof document of a transaction. Thread-safe: the levels of a block's tree are
 * made once, so that a block of a thousand answers costs one tree and not a thousand. */
void finality_prove(struct finality *f, uint32_t block, uint32_t index,
		    struct proof_document *out);
/* Its parts: the headers from the block's to the certificate's, encoded with the certificate
 * (ledger/receipts.h), and the transaction's path. */
void finality_encode_chain(const struct finality *f, uint32_t block, struct writer *w);
void finality_path(struct finality *f, uint32_t block, uint32_t index, struct merkle_path *out);

#endif
