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

#define BLOCK_SIZE  64
#define LENGTH_SIZE 8

/* FIPS 180-4, 5.1.1. In whole blocks the message goes to the compression function as it stands;
 * SHA256_Final() would copy its end, and wipe that, which for short messages takes a third of
 * the time. */
void hash_in_place(struct hash *out, uint8_t *buf, size_t len)
{
	size_t size = (len + 1 + LENGTH_SIZE + BLOCK_SIZE - 1) & ~(size_t)(BLOCK_SIZE - 1);
	SHA256_CTX ctx;
	memset(buf + len, 0, size - len);
	buf[len] = 0x80;
	store_be64(buf + size - LENGTH_SIZE, (uint64_t)len * 8);
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, buf, size);
	for (unsigned i = 0; i < HASH_SIZE / 4; i++) {
		uint32_t word = htobe32((uint32_t)ctx.h[i]);
		memcpy(out->b + 4 * i, &word, 4);
	}
}

#define SHORT_MAX 1024

static void put(uint8_t *to, struct slice s)
{
	if (s.len)
		memcpy(to, s.ptr, s.len);
}

void hash_tagged(struct hash *out, enum hash_tag tag, struct slice data)
{
	hash_tagged2(out, tag, data, slice_of(NULL, 0));
}

void hash_tagged2(struct hash *out, enum hash_tag tag, struct slice a, struct slice b)
{
	uint8_t first = (uint8_t)tag;
	if (a.len < SHORT_MAX && b.len < SHORT_MAX - a.len) {
		uint8_t buf[SHORT_MAX + HASH_ROOM];
		buf[0] = first;
		put(buf + 1, a);
		put(buf + 1 + a.len, b);
		hash_in_place(out, buf, 1 + a.len + b.len);
		return;
	}
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
