#include "base/random.h"

#include "base/mem.h"

static uint64_t rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

/* Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. */
static uint64_t splitmix64(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

void random_seed(struct random *r, uint64_t seed)
{
	/* Four consecutive outputs of a bijection: never all zero. */
	for (int i = 0; i < 4; i++)
		r->s[i] = splitmix64(&seed);
}

/* xoshiro256**: Blackman, Vigna, "Scrambled linear pseudorandom number generators", 2021. */
uint64_t random_u64(struct random *r)
{
	uint64_t *s = r->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t random_below(struct random *r, uint64_t bound)
{
	invariant(bound >= 1);
	if (bound == 1)
		return 0;
	/* Rejection under the next power of two: no division and no bias. */
	int shift = __builtin_clzll(bound - 1);
	uint64_t v;
	do {
		v = random_u64(r) >> shift;
	} while (v >= bound);
	return v;
}

uint64_t random_between(struct random *r, uint64_t lo, uint64_t hi)
{
	invariant(lo <= hi);
	if (hi - lo == UINT64_MAX)
		return random_u64(r);
	return lo + random_below(r, hi - lo + 1);
}

bool random_chance(struct random *r, uint32_t num, uint32_t den)
{
	invariant(den >= 1);
	return random_below(r, den) < num;
}
