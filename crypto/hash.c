/* OpenSSL 3 calls these functions deprecated, for they know no providers. EVP_Digest*() makes
 * and wipes a context for each message, which costs as much as hashing 64 bytes; both end in
 * the same code for this processor. */
#define OPENSSL_API_COMPAT 0x10101000L

#include "crypto/hash.h"

#include <openssl/sha.h>

_Static_assert(HASH_SIZE == SHA256_DIGEST_LENGTH, "SHA-256");

void sha256(struct hash *out, const void *ptr, size_t len)
{
	SHA256_CTX ctx;
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, ptr, len);
	SHA256_Final(out->b, &ctx);
}

void hash_tagged(struct hash *out, enum hash_tag tag, struct slice data)
{
	hash_tagged2(out, tag, data, slice_of(NULL, 0));
}

void hash_tagged2(struct hash *out, enum hash_tag tag, struct slice a, struct slice b)
{
	uint8_t first = (uint8_t)tag;
	SHA256_CTX ctx;
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, &first, 1);
	SHA256_Update(&ctx, a.ptr, a.len);
	SHA256_Update(&ctx, b.ptr, b.len);
	SHA256_Final(out->b, &ctx);
}

void writer_hash(struct writer *w, const struct hash *h)
{
	uint8_t *p = writer_extend(w, HASH_SIZE);
	if (p)
		memcpy(p, h->b, HASH_SIZE);
}

void reader_hash(struct reader *r, struct hash *out)
{
	const uint8_t *p = reader_advance(r, HASH_SIZE);
	if (p)
		memcpy(out->b, p, HASH_SIZE);
	else
		memset(out->b, 0, HASH_SIZE);
}

const char *hash_hex(char out[HASH_HEX_SIZE], const struct hash *h)
{
	hex_encode(out, h->b, HASH_SIZE);
	return out;
}

const char *hash_short(char out[HASH_SHORT_SIZE], const struct hash *h)
{
	hex_encode(out, h->b, (HASH_SHORT_SIZE - 1) / 2);
	return out;
}
