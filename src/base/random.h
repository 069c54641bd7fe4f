/* Seeded pseudo-random numbers (xoshiro256**): deterministic, not for secrets. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
	uint64_t s[4];
};

void random_seed(struct random *r, uint64_t seed); /* splitmix64 expansion; any seed is fine */
uint64_t random_u64(struct random *r);
uint64_t random_below(struct random *r, uint64_t bound);		/* bound >= 1; unbiased */
uint64_t random_between(struct random *r, uint64_t lo, uint64_t hi); /* inclusive */
bool random_chance(struct random *r, uint32_t num, uint32_t den);	/* true with num/den */

#endif
