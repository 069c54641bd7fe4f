#include "base/map.h"

#include <endian.h>
#include <string.h>

#include "base/mem.h"

#define MAP_FIRST_CAP 16

static uint64_t rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

/* The same order on every machine. */
static uint64_t load_le64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void sip_round(uint64_t *a, uint64_t *b, uint64_t *c, uint64_t *d)
{
	*a += *b;
	*b = rotl(*b, 13) ^ *a;
	*a = rotl(*a, 32);
	*c += *d;
	*d = rotl(*d, 16) ^ *c;
	*a += *d;
	*d = rotl(*d, 21) ^ *a;
	*c += *b;
	*b = rotl(*b, 17) ^ *c;
	*c = rotl(*c, 32);
}

/* SipHash-1-3 over exactly four words: who does not know the seed cannot aim at a slot. */
static uint64_t mix(uint64_t seed, const uint8_t *key)
{
	uint64_t k1 = seed * 0x9e3779b97f4a7c15 ^ seed >> 32;
	uint64_t a = seed ^ 0x736f6d6570736575, b = k1 ^ 0x646f72616e646f6d;
	uint64_t c = seed ^ 0x6c7967656e657261, d = k1 ^ 0x7465646279746573;
	for (int i = 0; i < 4; i++) {
		uint64_t word = load_le64(key + 8 * i);
		d ^= word;
		sip_round(&a, &b, &c, &d);
		a ^= word;
	}
	c ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&a, &b, &c, &d);
	return a ^ b ^ c ^ d;
}

/* The key's slot, or the empty slot where it belongs. There always is an empty one. */
static struct map_slot *find(const struct map *m, const void *key32, uint64_t mixed)
{
	size_t i = (size_t)mixed & (m->cap - 1);
	while (m->slots[i].value &&
	       (m->slots[i].mix != mixed || memcmp(m->slots[i].key, key32, 32) != 0))
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

void map_init(struct map *m, uint64_t seed)
{
	*m = (struct map){.seed = seed};
}

void map_free(struct map *m)
{
	mem_free(m->slots);
	map_init(m, m->seed);
}

void *map_get(const struct map *m, const void *key32)
{
	return m->len ? find(m, key32, mix(m->seed, key32))->value : NULL;
}

static void grow(struct map *m)
{
	struct map_slot *old = m->slots;
	size_t old_cap = m->cap;
	m->cap = old_cap ? old_cap * 2 : MAP_FIRST_CAP;
	m->slots = mem_array(m->cap, sizeof(*m->slots));
	for (size_t i = 0; i < old_cap; i++)
		if (old[i].value)
			*find(m, old[i].key, old[i].mix) = old[i];
	mem_free(old);
}

void *map_put(struct map *m, const void *key32, void *value)
{
	invariant(value != NULL);
	uint64_t mixed = mix(m->seed, key32);
	struct map_slot *slot = m->cap ? find(m, key32, mixed) : NULL;
	if (slot && slot->value) {
		void *old = slot->value;
		slot->value = value;
		return old;
	}
	if (!slot || m->len + 1 > m->cap / 3 * 2) {
		uint8_t copy[32]; /* key32 may lie in our own slots */
		memcpy(copy, key32, 32);
		grow(m);
		slot = find(m, copy, mixed);
		memcpy(slot->key, copy, 32);
	} else {
		memcpy(slot->key, key32, 32);
	}
	slot->mix = mixed;
	slot->value = value;
	m->len++;
	return NULL;
}

void *map_remove(struct map *m, const void *key32)
{
	if (m->len == 0)
		return NULL;
	struct map_slot *slot = find(m, key32, mix(m->seed, key32));
	void *value = slot->value;
	if (!value)
		return NULL;
	/* Move later members of the run back, so that no probe meets a hole (Knuth 6.4 R). */
	size_t mask = m->cap - 1;
	size_t hole = (size_t)(slot - m->slots);
	for (size_t i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
		size_t from_home = (i - (size_t)m->slots[i].mix) & mask;
		if (from_home >= ((i - hole) & mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	memset(&m->slots[hole], 0, sizeof(m->slots[hole]));
	m->len--;
	return value;
}

void *map_next(const struct map *m, size_t *cursor, const uint8_t **key)
{
	while (*cursor < m->cap) {
		const struct map_slot *slot = &m->slots[(*cursor)++];
		if (!slot->value)
			continue;
		if (key)
			*key = slot->key;
		return slot->value;
	}
	return NULL;
}
