/* A damaged store made whole. A new one is built beside it: the vote state copied, the final
 * chain executed from genesis, each block from the old store if it is good there and from a
 * source (other nodes) if not. State, tree and indices come from executing. Everything is
 * checked, whatever the source says.
 *
 * It is safe because the vote state is carried over whole, with every block that is not final
 * yet: afterwards the validator knows all that it signed. Where that cannot be had nothing is
 * done: a validator that has forgotten a vote must never vote with its key again. */
#ifndef REPLICA_REPAIR_H
#define REPLICA_REPAIR_H

#include "ledger/proof.h"
#include "replica/backup.h"

struct repair_source {
	void *arg;
	/* The final block at this height as it is stored, its certificate, its term's; the last
	 * two empty if the source has none. ERR_NOT_FOUND: it has not got that far. */
	int (*get)(void *arg, uint64_t height, struct writer *block, struct writer *cert,
		   struct writer *term, struct errmsg *m);
	/* What proves the beginning of this epoch: replica_handover(). ERR_NOT_FOUND: it has
	 * not got that far. */
	int (*handover)(void *arg, uint64_t epoch, struct proof_document *out,
			struct errmsg *m);
};
struct repair_options {
	const struct genesis *genesis;
	const struct repair_source *source; /* NULL: only what is here */
	uint64_t history;
	const struct backup_progress *progress;
};
struct repair_result {
	uint64_t height; /* of the repaired chain */
	uint64_t epoch;	 /* that it is in */
	struct hash block, state_root;
	uint64_t fetched, first_fetched; /* blocks; height of the first */
	uint64_t fetched_handovers;
	uint64_t unfinal;
	uint64_t dropped; /* evidence and certificates that could not be read and are not needed
			   */
	char aside[256];  /* where the damaged data is now, in the home */
};
/* old: HOME/data, read only; it is in its new place when this returns, and still open.
 * ERR_STALE: the vote state is not whole, or blocks that this validator may have voted for are
 * lost; m says so, nothing was changed. ERR_NOT_FOUND: a block is damaged and no source has it.
 * ERR_VERSION, ERR_WRONG_CHAIN: a newer program, or one of another chain, made it. */
int replica_repair(struct store *old, const char *home, const struct repair_options *o,
		   struct repair_result *out, struct errmsg *m);
/* What a source answers: from a store that is in use, from any thread. */
int replica_stored_block(struct store *s, uint64_t height, struct writer *block,
			 struct writer *cert, struct writer *term);

#endif
