/* The thread that looks after the data: it reads all of it again and again, slowly, so that
 * damage is found while other nodes can still mend it. The loop mends, for the ledger is its
 * own; while it does nothing is read, and when it has mended anything all is read once more.
 * And it has the store give the room of what was pruned back to the disk. */
#ifndef NODE_UPKEEP_H
#define NODE_UPKEEP_H

#include "node/node.h"

struct upkeep; /* opaque */
struct upkeep *upkeep_start(struct node *n);
void upkeep_stop(struct upkeep *u); /* at once; NULL is fine */
/* For the loop: what the newest scrub found, its own to free; NULL: nothing new. */
struct damage *upkeep_take(struct upkeep *u, uint32_t *count);
void upkeep_mended(struct upkeep *u, bool any); /* it is through with that */
/* NULL: zeros. */
void upkeep_stats(struct upkeep *u, struct scrub_stats *out);

#endif
