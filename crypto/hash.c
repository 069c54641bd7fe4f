/* OpenSSL 3 calls these functions deprecated, for they know no providers. EVP_Digest*() makes
 * and wipes a context for each message, which costs as much as hashing 64 bytes; both end in
 * the same code for this processor. */
#define OPENSSL_API_COMPAT 0x10101000L

#include "crypto/hash.h"

#include <openssl/sha.h>

#include "crypto/sha256.h"

_Static_assert(HASH_SIZE == SHA256_DIGEST_LENGTH, "SHA-256");

void sha256(struct hash *out, const void *ptr, size_t len)
{
	SHA256_CTX ctx;
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, ptr, len);
	SHA256_Final(out->b, &ctx);
}

#define LENGTH_SIZE 8

/* FIPS 180-4, 5.1.1. In whole blocks the message goes to the compression function as it stands;
 * SHA256_Final() would copy its end, and wipe that, which for short messages takes a third of
 * the time. */
static size_t pad(uint8_t *buf, size_t len)
{
	size_t size = (len + 1 + LENGTH_SIZE + SHA256_BLOCK - 1) & ~(size_t)(SHA256_BLOCK - 1);
	memset(buf + len, 0,
	       HASH_ROOM); /* at least to the end; of known length it is no call */
	buf[len] = 0x80;
	store_be64(buf + size - LENGTH_SIZE, (uint64_t)len * 8);
	return size;
}

static struct sha256_rest begin(struct hash *out, uint8_t *buf, size_t len)
{
	return (struct sha256_rest){.digest = out->b,
				    .from = sha256_begin,
				    .blocks = buf,
				    .count = pad(buf, len) / SHA256_BLOCK};
}

void hash_in_place(struct hash *out, uint8_t *buf, size_t len)
{
	struct sha256_rest r = begin(out, buf, len);
	sha256_digest(&r);
}

void hash_in_place2(struct hash *out, uint8_t *buf, size_t len, struct hash *other,
		    uint8_t *other_buf, size_t other_len)
{
	struct sha256_rest a = begin(out, buf, len), b = begin(other, other_buf, other_len);
	sha256_digest(&a);
	sha256_digest(&b);
}

#define BEGINNINGS 256 /* a power of two */

/* As begin(), but beyond the first block. from gets what it comes to. */
static struct sha256_rest begin_alike(struct hash *out, uint8_t *buf, size_t len,
				      uint32_t from[SHA256_WORDS])
{
	static _Thread_local struct beginning {
		uint8_t block[SHA256_BLOCK];
		uint32_t h[SHA256_WORDS];
		bool known;
	} beginnings[BEGINNINGS];
	struct sha256_rest r = begin(out, buf, len);
	uint64_t key = 0;
	for (size_t i = 0; i < SHA256_BLOCK; i += 16)
		key = (key ^ load_be64(buf + i + 4)) * UINT64_C(0x9e3779b97f4a7c15);
	struct beginning *b = &beginnings[key >> 32 & (BEGINNINGS - 1)];
	if (!b->known || memcmp(b->block, buf, SHA256_BLOCK) != 0) {
		memcpy(b->h, sha256_begin, sizeof b->h);
		sha256_compress(b->h, buf, 1);
		memcpy(b->block, buf, SHA256_BLOCK);
		b->known = true;
	}
	r.from = memcpy(from, b->h, sizeof b->h); /* another one may take that place */
	r.blocks += SHA256_BLOCK;
	r.count--;
	return r;
}

void hash_in_place_alike(struct hash *out, uint8_t *buf, size_t len)
{
	uint32_t from[SHA256_WORDS];
	struct sha256_rest r = begin_alike(out, buf, len, from);
	sha256_digest(&r);
}

void hash_in_place_alike2(struct hash *out, uint8_t *buf, size_t len, struct hash *other,
			  uint8_t *other_buf, size_t other_len)
{
	uint32_t from[2][SHA256_WORDS];
	struct sha256_rest a = begin_alike(out, buf, len, from[0]),
			   b = begin_alike(other, other_buf, other_len, from[1]);
	sha256_digest(&a);
	sha256_digest(&b);
}

#define SHORT_MAX 1024

static void put(uint8_t *to, struct slice s)
{
	if (s.len)
		memcpy(to, s.ptr, s.len);
}

static bool is_short(struct slice a, struct slice b)
{
	return a.len < SHORT_MAX && b.len < SHORT_MAX - a.len;
}

#define SHORT_BUF (SHORT_MAX + HASH_ROOM)

static size_t put_tagged(uint8_t buf[SHORT_BUF], enum hash_tag tag, struct slice a,
			 struct slice b)
{
	buf[0] = (uint8_t)tag;
	put(buf + 1, a);
	put(buf + 1 + a.len, b);
	return 1 + a.len + b.len;
}

void hash_tagged(struct hash *out, enum hash_tag tag, struct slice data)
{
	hash_tagged2(out, tag, data, slice_of(NULL, 0));
}

void hash_tagged2(struct hash *out, enum hash_tag tag, struct slice a, struct slice b)
{
	uint8_t first = (uint8_t)tag;
	if (is_short(a, b)) {
		uint8_t buf[SHORT_BUF];
		hash_in_place(out, buf, put_tagged(buf, tag, a, b));
		return;
	}
	SHA256_CTX ctx;
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, &first, 1);
	SHA256_Update(&ctx, a.ptr, a.len);
	SHA256_Update(&ctx, b.ptr, b.len);
	SHA256_Final(out->b, &ctx);
}

void hash_tagged_pair(struct hash *out, const struct tagged *x, struct hash *other,
		      const struct tagged *y)
{
	if (!is_short(x->a, x->b) || !is_short(y->a, y->b)) {
		hash_tagged2(out, x->tag, x->a, x->b);
		hash_tagged2(other, y->tag, y->a, y->b);
		return;
	}
	uint8_t buf[SHORT_BUF], other_buf[SHORT_BUF];
	size_t len = put_tagged(buf, x->tag, x->a, x->b);
	hash_in_place2(out, buf, len, other, other_buf,
		       put_tagged(other_buf, y->tag, y->a, y->b));
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
