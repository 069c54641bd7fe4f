/* Transactions that wait to be ordered, oldest first. Bounded by POOL_TXS_MAX and
 * POOL_BYTES_MAX. An entry is either free or proposed (in a block on the replica's chain). */
#ifndef CONSENSUS_POOL_H
#define CONSENSUS_POOL_H

#include "base/map.h"
#include "consensus/engine.h"

struct pool_entry {
	struct hash id;
	uint8_t *bytes;
	size_t size;
	uint64_t arrived;
	uint64_t forwarded; /* when last sent to a leader; 0: never */
	uint64_t rechecked; /* when last found valid while it waited; 0: never */
	bool proposed;
	bool relayed; /* sent to all, or seen relayed: counts for everybody's timers */
	struct pool_entry *prev, *next;
};
struct pool_list {
	struct pool_entry *head, *tail;
	uint32_t count;
};
struct pool {
	struct map by_id;
	struct pool_list free, proposed;
	uint64_t bytes;
};

void pool_init(struct pool *p, uint64_t seed);
void pool_free(struct pool *p);
/* Copies bytes. ERR_EXISTS, ERR_BUSY. */
int pool_add(struct pool *p, const struct pool_tx *tx, uint64_t now);
struct pool_entry *pool_find(const struct pool *p, const struct hash *id);
/* True if it was there. */
bool pool_remove(struct pool *p, const struct hash *id);
void pool_propose(struct pool *p, struct pool_entry *e); /* free -> proposed */
/* All proposed entries are free again, in front, in their order. */
void pool_unpropose_all(struct pool *p);
static inline uint32_t pool_count(const struct pool *p)
{
	return p->free.count + p->proposed.count;
}
/* Oldest entry of either list, NULL if empty. */
struct pool_entry *pool_oldest(const struct pool *p);

#endif
