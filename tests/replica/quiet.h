/* The parts of a replica's host that a test does not look at. */
#ifndef TESTS_REPLICA_QUIET_H
#define TESTS_REPLICA_QUIET_H

#include "replica/replica.h"

static inline bool quiet_sync(void *ctx, uint64_t seq)
{
	(void)ctx, (void)seq;
	return true;
}
static inline void quiet_final(void *ctx, struct block *b, const struct cert *cert)
{
	(void)ctx, (void)b, (void)cert;
}
static inline void quiet_rejected(void *ctx, const struct hash *id, int err)
{
	(void)ctx, (void)id, (void)err;
}
static inline uint64_t quiet_wall(void *ctx)
{
	(void)ctx;
	return 1;
}

#endif
