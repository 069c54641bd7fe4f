/* OpenSSL 3 calls these functions deprecated, for they know no providers. EVP_Digest*() makes
 * and wipes a context for each message, which costs as much as hashing 64 bytes; both end in
 * the same code for this processor. */
#define OPENSSL_API_COMPAT 0x10101000L

#include "crypto/hash.h"

#include <openssl/sha.h>

#include "crypto/memo.h"

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
static size_t pad(uint8_t *buf, size_t len)
{
	size_t size = (len + 1 + LENGTH_SIZE + BLOCK_SIZE - 1) & ~(size_t)(BLOCK_SIZE - 1);
	memset(buf + len, 0,
	       HASH_ROOM); /* at least to the end; of known length it is no call */
	buf[len] = 0x80;
	store_be64(buf + size - LENGTH_SIZE, (uint64_t)len * 8);
	return size;
}

static void digest(struct hash *out, const SHA256_CTX *ctx)
{
	/* Two words at a time, as hashes are compared: what is written in smaller pieces than
	 * it is read in has to reach the cache first. */
	for (unsigned i = 0; i < HASH_SIZE / 4; i += 2)
		store_be64(out->b + 4 * i, (uint64_t)ctx->h[i] << 32 | ctx->h[i + 1]);
}

static void compute(struct hash *out, uint8_t *buf, size_t len)
{
	SHA256_CTX ctx;
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, buf, pad(buf, len));
	digest(out, &ctx);
}

#define BEGINNINGS 256 /* a power of two */

static void compute_alike(struct hash *out, uint8_t *buf, size_t len)
{
	static _Thread_local struct beginning {
		uint8_t block[BLOCK_SIZE];
		SHA_LONG h[8];
		bool known;
	} beginnings[BEGINNINGS];
	SHA256_CTX ctx;
	size_t size = pad(buf, len);
	uint64_t key = 0;
	SHA256_Init(&ctx);
	for (size_t i = 0; i < BLOCK_SIZE; i += 16)
		key = (key ^ load_be64(buf + i + 4)) * UINT64_C(0x9e3779b97f4a7c15);
	struct beginning *b = &beginnings[key >> 32 & (BEGINNINGS - 1)];
	if (b->known && memcmp(b->block, buf, BLOCK_SIZE) == 0) {
		memcpy(ctx.h, b->h, sizeof ctx.h);
	} else {
		SHA256_Update(&ctx, buf, BLOCK_SIZE);
		memcpy(b->block, buf, BLOCK_SIZE);
		memcpy(b->h, ctx.h, sizeof b->h);
		b->known = true;
	}
	if (size > BLOCK_SIZE)
		SHA256_Update(&ctx, buf + BLOCK_SIZE, size - BLOCK_SIZE);
	digest(out, &ctx);
}

/* Behind the message there is padding only. */
static void remembered(struct hash *out, uint8_t *buf, size_t len,
		       void (*anew)(struct hash *out, uint8_t *buf, size_t len))
{
	struct memo_place place;
	if (len > MEMO_MESSAGE_MAX) {
		anew(out, buf, len);
		return;
	}
	if (memo_get(hash_memo, out, &place, buf, len))
		return;
	anew(out, buf, len);
	memo_put(hash_memo, &place, out, buf, len);
}

void hash_in_place(struct hash *out, uint8_t *buf, size_t len)
{
	if (hash_memo)
		remembered(out, buf, len, compute);
	else
		compute(out, buf, len);
}

void hash_in_place_alike(struct hash *out, uint8_t *buf, size_t len)
{
	if (hash_memo)
		remembered(out, buf, len, compute_alike);
	else
		compute_alike(out, buf, len);
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
