/* The ledger: accounts and key-value state, executed block by block.
 *
 * Blocks are executed speculatively, each on top of its parent's overlay, before anybody votes
 * for them; finalising writes the overlay of a block into the store and drops every overlay
 * that does not descend from it. The state root after a block is in its header.
 *
 * Deterministic: the same blocks give the same roots and results everywhere. Single-threaded,
 * except where said. No clock. */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include "ledger/proof.h"
#include "ledger/store.h"
#include "ledger/tx.h"

#define LEDGER_OVERLAYS_MAX 1024 /* executed blocks that are not final yet */

struct ledger; /* opaque */

/* State root of the genesis balances: what genesis.state_root must be. */
void ledger_genesis_root(const struct genesis *g, struct hash *out);

/* Opens the state in s; an empty store gets the genesis state. ERR_WRONG_CHAIN if the store
 * belongs to another chain, ERR_VERSION if newer than this
 * program, or of format 1. g, ctx and s outlive the ledger. */
int ledger_open(struct ledger **out, struct store *s, const struct genesis *g,
		const struct chain_ctx *ctx, const struct block *genesis_block, struct errmsg *m);
void ledger_close(struct ledger *l);

/* How many heights below the newest final one stay readable: 0, LEDGER_HISTORY_ALL (until this is
 * called), or a number of at least LEDGER_HISTORY_MIN. What older states alone need is deleted
 * from now on, a few blocks' worth with each block. Right after opening. */
#define LEDGER_HISTORY_ALL UINT64_MAX
#define LEDGER_HISTORY_MIN 1024
void ledger_set_history(struct ledger *l, uint64_t heights);
/* Bytes of the state tree that are kept in memory; 0: TREE_CACHE_BYTES, as before the call. */
void ledger_set_cache(struct ledger *l, size_t bytes);

/* Newest finalised height whose state is in the store (may lag the final block on disk after a
 * crash: the caller then executes and finalises the blocks above it again), its hash, root. */
uint64_t ledger_height(const struct ledger *l);
const struct hash *ledger_hash(const struct ledger *l);
const struct hash *ledger_root(const struct ledger *l);

/* Executes b on its parent's state and keeps the overlay under b's hash (again: no effect).
 * verify: also check every transaction's signature that is not marked verified (below).
 * ERR_NOT_FOUND: the parent was not executed. ERR_BUSY: LEDGER_OVERLAYS_MAX.
 *
 * SYSTEM transactions lead the body, a mode entry before convictions; their proofs are checked
 * whatever verify says. Whether a mode entry is due in this term is for consensus to judge.
 *
 * Invalid by its bytes alone (ledger_error_is_by_bytes()): ERR_BAD_SIGNATURE, ERR_BAD_PROOF of a
 * conviction, or a decoding error. Invalid in this state: ERR_TX_*, ERR_MODE, ERR_EXISTS (jailed
 * already), ERR_BAD_STATE_ROOT (results or root differ from the header's). Not the block's fault
 * (ledger_error_is_of_store()): ERR_IO, ERR_CORRUPT: nothing is known about b; halt. */
int ledger_execute(struct ledger *l, const struct block *b, bool verify);
/* Forgets the execution of a block that is not final, and of all that was executed on top of it.
 * No effect if it is not known, or final. */
void ledger_drop(struct ledger *l, const struct hash *block);
bool ledger_executed(const struct ledger *l, const struct hash *block);
/* Whether an error of ledger_execute() shows from the block's bytes alone, on any state. */
bool ledger_error_is_by_bytes(int err);
/* Whether an error of ledger_execute() or ledger_build() is the store's: the state on disk could
 * not be read. The replica must stop, and call no block invalid for it. */
bool ledger_error_is_of_store(int err);

/* Makes the body of a child of parent out of candidates, in order, as far as the limits go. */
struct ledger_candidate {
	struct slice tx;
	struct hash id;
	/* out */
	enum { CANDIDATE_LEFT, CANDIDATE_INCLUDED, CANDIDATE_REFUSED } fate;
	int err; /* REFUSED: why it can never, or not now, be included on this chain */
};
struct ledger_built {
	uint8_t *body; /* owned by the caller: mem_free */
	size_t body_size;
	uint32_t tx_count;
	struct hash tx_root, state_root;
};
/* Candidates have verified signatures. SYSTEM transactions come first and must all go in, else
 * nothing is built and the error is theirs (that candidate is REFUSED). The overlay is kept for the coming ledger_execute(). */
int ledger_build(struct ledger *l, const struct hash *parent, uint64_t height, uint64_t time_ms,
		 struct ledger_candidate *candidates, uint32_t count, struct ledger_built *out);

/* b, executed, child of the newest finalised block, is final: puts state, tree, transaction
 * index and applied height into batch (not written here) and drops competing overlays. */
void ledger_finalize(struct ledger *l, const struct block *b, struct store_batch *batch);

/* The state of modes after the newest finalised block. */
int ledger_mode_state(struct ledger *l, struct mode_state *out);

/* Could tx enter a block on top of the final state? For admission: form and signature are
 * checked by the caller. ERR_TX_*; ERR_EXISTS if this very transaction is final already. */
int ledger_admit(struct ledger *l, const struct tx *tx, const struct hash *id);
/* Signature of the transaction with this id was verified by the caller (bounded cache). */
void ledger_mark_verified(struct ledger *l, const struct hash *id);
bool ledger_verified(const struct ledger *l, const struct hash *id); /* still known to be */

/* Reads of final state; height <= ledger_height(), UINT64_MAX for the newest. Value goes to out
 * (reset first); ERR_NOT_FOUND if absent, ERR_RANGE for a height above, ERR_STALE for a pruned
 * one. proof (may be NULL) gets a proof of presence or absence under that height's root. */
int ledger_get(struct ledger *l, struct slice state_key, uint64_t height, struct writer *out,
	       struct writer *proof);
/* Where a transaction, SYSTEM ones too, is final. ERR_NOT_FOUND. */
int ledger_find_tx(struct ledger *l, const struct hash *id, uint64_t *height, uint32_t *index);
/* The sender's nonce window: highest used nonce (0 if none) and a bitmap of used ones below it;
 * *suggested is a nonce that is free in the final state. */
int ledger_nonce(struct ledger *l, const struct pubkey *sender, uint64_t *highest,
		 uint64_t *suggested);

/* The lowest height whose state can be read. */
uint64_t ledger_oldest(const struct ledger *l);
/* States from this height on stay readable, whatever the history; UINT64_MAX: no longer. For a
 * bounded time only, for what is pruned otherwise is kept meanwhile. */
void ledger_pin(struct ledger *l, uint64_t height);
/* Whether a list of what is to be pruned is one. */
bool ledger_list_reads(struct slice list);
/* Nodes that are here may rest on records that are damaged, or were written anew: those of the
 * next blocks rest on none of up to now. */
void ledger_rebase(struct ledger *l);
/* A range of the state at a height (ledger/range.h), appended to out. ERR_RANGE for a height
 * above the newest, or bounds that cross, ERR_STALE for a pruned one. */
int ledger_range(struct ledger *l, uint64_t height, const struct hash *from,
		 const struct hash *to, struct writer *out);

struct ledger_stats {
	uint64_t overlays, keys, senders, executed, tree_reads, tree_writes;
	uint64_t tree_bytes; /* of nodes, leaves and values in memory */
};
void ledger_stats(const struct ledger *l, struct ledger_stats *out);

#endif
