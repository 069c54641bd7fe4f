/* Digests that a thread remembers; what hash.c has of it. hash.h has what others need. */
#ifndef CRYPTO_MEMO_H
#define CRYPTO_MEMO_H

#include "crypto/hash.h"

/* Longer messages are hashed each time. */
#define MEMO_MESSAGE_MAX 1024

/* A message that was looked for, and where its digest belongs. */
struct memo_place {
	uint64_t *set;
	uint64_t mix;
};

extern _Thread_local struct hash_memo *hash_memo; /* NULL: none */

/* True: out is the digest of these very bytes. False: it is wanted of memo_put(), while the
 * message still stands as it did; len is at most MEMO_MESSAGE_MAX. */
bool memo_get(struct hash_memo *m, struct hash *out, struct memo_place *place,
	      const uint8_t *buf, size_t len);
void memo_put(struct hash_memo *m, const struct memo_place *place, const struct hash *digest,
	      const uint8_t *buf, size_t len);

#endif
