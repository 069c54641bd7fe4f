/* Private to this folder: the compression function of SHA-256 (FIPS 180-4, 6.2.2) over whole
 * blocks, by libcrypto. */
#ifndef CRYPTO_SHA256_H
#define CRYPTO_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BLOCK 64
#define SHA256_WORDS 8

extern const uint32_t sha256_begin[SHA256_WORDS]; /* FIPS 180-4, 5.3.3 */

void sha256_compress(uint32_t h[SHA256_WORDS], const uint8_t *blocks, size_t count);

/* A padded message, or what is left of it: from these words on, over these blocks. */
struct sha256_rest {
	uint8_t *digest; /* out: 32 bytes */
	const uint32_t *from;
	const uint8_t *blocks;
	size_t count;
};
void sha256_digest(const struct sha256_rest *r);

#endif
