/* Open-addressing hash map from 32-byte keys (hashes, public keys) to pointers.
 * Keys are copied. Iteration order is by insertion history only, hence deterministic for the
 * same sequence of calls; it must still never reach the wire. Not thread-safe.
 *
 * Keys may be chosen by a peer: probing starts from a seeded mix of all key bytes. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
	uint8_t key[32];
	uint64_t mix; /* of the key */
	void *value;  /* NULL: empty */
};
struct map {
	struct map_slot *slots;
	size_t cap; /* 0 or a power of two */
	size_t len;
	uint64_t seed;
};

void map_init(struct map *m, uint64_t seed);
void map_free(struct map *m); /* values are the caller's */
void *map_get(const struct map *m, const void *key32);
/* value is not NULL. Returns the value replaced, or NULL. */
void *map_put(struct map *m, const void *key32, void *value);
void *map_remove(struct map *m, const void *key32); /* returns the value removed or NULL */
static inline size_t map_len(const struct map *m)
{
	return m->len;
}
/* Iterate: for (size_t i = 0; (v = map_next(&m, &i, NULL)) != NULL;) ...
 * No put or remove during iteration. key (may be NULL) gets a pointer to the slot's key. */
void *map_next(const struct map *m, size_t *cursor, const uint8_t **key);

#endif
