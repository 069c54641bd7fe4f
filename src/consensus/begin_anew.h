/* What a recovery (chain/recovery.h) needs of the hybrid engine's vote state. */
#ifndef CONSENSUS_BEGIN_ANEW_H
#define CONSENSUS_BEGIN_ANEW_H

#include "consensus/engine.h"

/* Into slots, each empty: the first vote state of a new key. final: of the block that is kept;
 * tc: of its term, in full form; stable: a checkpoint of that term, or NULL. */
void hybrid_begin_anew(struct writer slots[VOTE_SLOTS], const struct cert *final,
		       const struct term_cert *tc, const struct cert *stable);
/* The newest stable checkpoint in a vote state as stored; false: it has none. */
bool hybrid_stable_checkpoint(struct cert *out, struct writer *slots);

#endif
