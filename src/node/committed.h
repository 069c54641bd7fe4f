/* Proofs of transactions that are final already, for those who send or ask for one again. Loop
 * thread.
 *
 * What costs time is reading a block and hashing what is in it. Who sends a large batch again asks
 * for many transactions of few blocks, one behind the other: the newest blocks that were read are
 * kept. */
#ifndef NODE_COMMITTED_H
#define NODE_COMMITTED_H

#include "node/finality.h"
#include "replica/replica.h"

#define COMMITTED_BLOCKS 2 /* kept, of at most BLOCK_BODY_MAX each */

struct committed {
	struct {
		uint64_t height; /* 0: none; nobody asks for block 0's */
		struct finality *finality;
	} block[COMMITTED_BLOCKS]; /* the one used last is first */
};

/* As replica_prove_tx(): its document and its errors. */
int committed_prove(struct committed *c, struct replica *r, const struct hash *id,
		    struct proof_document *out);
/* Forgets the blocks. */
void committed_free(struct committed *c);

#endif
