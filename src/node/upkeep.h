/* The thread that looks after the data: it reads all of it again and again, slowly, so that
 * damage is found while other nodes can still mend it; and it has the store give the room of
 * what was pruned back to the disk. */
#ifndef NODE_UPKEEP_H
#define NODE_UPKEEP_H

#include "node/node.h"

struct upkeep; /* opaque */
struct upkeep *upkeep_start(struct node *n);
void upkeep_stop(struct upkeep *u); /* at once; NULL is fine */
/* NULL: zeros. */
void upkeep_stats(struct upkeep *u, struct scrub_stats *out);

#endif
