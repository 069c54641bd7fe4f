/* OpenSSL 3 calls these functions deprecated, for they know no providers. EVP_Digest*() makes
 * and wipes a context for each message, which costs as much as hashing 64 bytes; both end in
 * the same code for this processor. */
#define OPENSSL_API_COMPAT 0x10101000L

#include "crypto/sha256.h"

#include <endian.h>
#include <openssl/sha.h>
#include <string.h>

const uint32_t sha256_begin[SHA256_WORDS] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static void put_word(uint8_t *to, uint32_t word)
{
	word = htobe32(word);
	memcpy(to, &word, sizeof(word));
}

void sha256_compress(uint32_t h[SHA256_WORDS], const uint8_t *blocks, size_t count)
{
	SHA256_CTX ctx;
	SHA256_Init(&ctx);
	for (unsigned i = 0; i < SHA256_WORDS; i++)
		ctx.h[i] = h[i];
	SHA256_Update(&ctx, blocks, count * SHA256_BLOCK);
	for (unsigned i = 0; i < SHA256_WORDS; i++)
		h[i] = (uint32_t)ctx.h[i];
}

void sha256_digest(const struct sha256_rest *r)
{
	uint32_t h[SHA256_WORDS];
	memcpy(h, r->from, sizeof(h));
	if (r->count > 0)
		sha256_compress(h, r->blocks, r->count);
	for (unsigned i = 0; i < SHA256_WORDS; i++)
		put_word(r->digest + 4 * i, h[i]);
}
