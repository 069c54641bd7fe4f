/* The storage thread: makes what was written durable while the loop goes on. */
#ifndef NODE_SYNCER_H
#define NODE_SYNCER_H

#include "ledger/store.h"
#include "node/metrics.h"

struct syncer; /* opaque */

struct syncer *syncer_start(struct store *store, struct histogram *latency);
/* Finishes what was asked for, then ends the thread. */
void syncer_stop(struct syncer *s);
/* All writes up to seq, and so everything before, are to be synced. Requests that come while a
 * sync runs share the next one. */
void syncer_request(struct syncer *s, uint64_t seq);
int syncer_fd(const struct syncer *s); /* eventfd: something was completed */
/* The newest seq that is durable; drains the eventfd. err (ERR_NONE while all is well) is what
 * stopped it for good. */
uint64_t syncer_done(struct syncer *s, int *err);

#endif
