/* Epochs of a replica: which sets of validators there were, and the step from one to the next.
 * docs/decisions/0012-new-keys-for-validators.md; formats: docs/wire-format.md. */
#ifndef REPLICA_EPOCH_H
#define REPLICA_EPOCH_H

#include "chain/epoch.h"
#include "replica/private.h"

/* In STORE_META: followed by the u64 epoch that it begins, {u16 version, handover}. */
#define EPOCH_KEY "epoch"
/* In STORE_META, {u16 version, u64 epoch}: the vote state is of that epoch. Absent: of epoch 0.
 */
#define VOTES_EPOCH_KEY "votes_epoch"

/* Messages of epochs above 0 begin with this type and the u64 epoch. Engines' types are below.
 */
#define EPOCH_ENVELOPE 63
#define EPOCH_HEAD     (1 + 8)

/* From the genesis file on, each handover on disk checked by the epoch before. r->ctx is then
 * that of the newest epoch, r->start the block that it begins with. */
int epochs_open(struct replica *r, struct errmsg *m);
void epochs_free(struct replica *r);
int epoch_handover(struct replica *r, uint64_t epoch,
		   struct handover *out); /* that begins it */
struct epoch_key {
	uint8_t bytes[sizeof EPOCH_KEY - 1 + 8];
};
struct slice key_epoch(struct epoch_key *k, uint64_t epoch); /* where it is */
int epoch_decode(struct slice record, struct handover *out);
/* The one for this end, from its certificate and the fillers that are on disk: not checked. */
int epoch_prove(struct replica *r, struct block *end, const struct cert *cert,
		struct handover *out);
/* The one that a node answers with, as replica_handover() gives it: not checked. */
int epoch_of_proof(const struct proof_document *d, struct handover *out);

/* The ledger has come to the end of the epoch. */
bool epoch_is_over(struct replica *r);
/* That, and cert makes it final: the next epoch is on disk and in memory, of this replica only
 * its engine and driver are still to be made. Nothing is left of the old ones. */
int epoch_begin(struct replica *r, const struct cert *cert, struct errmsg *m);
/* The same where a chain is executed again into a store that nobody votes from meanwhile: by a
 * handover that something else had, and vote state and marks are left alone. */
int epoch_step(struct replica *r, const struct handover *h, struct errmsg *m);
/* Over so many ends at once, into the batch: a state of the last of these epochs becomes the
 * ledger's with it. In memory the replica is there at once. */
void epoch_jump(struct replica *r, const struct chain_ctx *ctx, const struct handover *h,
		uint32_t count);
/* ctx is that of the epoch which begins with start: in memory alone. */
void epoch_enter(struct replica *r, const struct chain_ctx *ctx, struct block *start);
/* After each input: if it brought the end, the step to the next epoch. */
void epoch_advance(struct replica *r);

/* Peers: *m gets its envelope. */
void epoch_wrap(struct replica *r, uint64_t epoch, struct message *m);
/* What is of this epoch, without its envelope; false: it is not, and dealt with. */
bool epoch_unwrap(struct replica *r, unsigned from, struct slice *bytes);

/* observer.c: whether r may vote in the epoch of r->ctx, and what the store must say from then
 * on, into the batch. was_voter: in the epoch before. */
void observer_next_epoch(struct replica *r, bool was_voter, struct store_batch *batch);

#endif
