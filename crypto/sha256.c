/* OpenSSL 3 calls these functions deprecated, for they know no providers. EVP_Digest*() makes
 * and wipes a context for each message, which costs as much as hashing 64 bytes; both end in
 * the same code for this processor. */
#define OPENSSL_API_COMPAT 0x10101000L

#include "crypto/sha256.h"

#include <endian.h>
#include <openssl/sha.h>
#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>
#define HAVE_INSTRUCTIONS 1
#else
#define HAVE_INSTRUCTIONS 0
#endif

const uint32_t sha256_begin[SHA256_WORDS] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static void put_word(uint8_t *to, uint32_t word)
{
	word = htobe32(word);
	memcpy(to, &word, sizeof(word));
}

static void by_libcrypto(uint32_t h[SHA256_WORDS], const uint8_t *blocks, size_t count)
{
	SHA256_CTX ctx;
	SHA256_Init(&ctx);
	for (unsigned i = 0; i < SHA256_WORDS; i++)
		ctx.h[i] = h[i];
	SHA256_Update(&ctx, blocks, count * SHA256_BLOCK);
	for (unsigned i = 0; i < SHA256_WORDS; i++)
		h[i] = (uint32_t)ctx.h[i];
}

static void digest_by_libcrypto(const struct sha256_rest *r)
{
	uint32_t h[SHA256_WORDS];
	memcpy(h, r->from, sizeof(h));
	if (r->count > 0)
		by_libcrypto(h, r->blocks, r->count);
	for (unsigned i = 0; i < SHA256_WORDS; i++)
		put_word(r->digest + 4 * i, h[i]);
}

#if HAVE_INSTRUCTIONS

/* FIPS 180-4, 4.2.2. */
static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2};

#define INSTRUCTIONS __attribute__((target("sha,sse4.1")))
#define INSIDE	     static inline __attribute__((always_inline, target("sha,sse4.1")))

/* A message on its way. The instructions want the eight words as a, b, e, f and c, d, g, h. */
struct lane {
	__m128i abef, cdgh, abef_before, cdgh_before;
	__m128i w[4]; /* the newest sixteen words of the schedule */
};

INSIDE struct lane lane_load(const uint32_t h[SHA256_WORDS])
{
	struct lane l;
	__m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xb1);
	__m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h + 1), 0x1b);
	l.abef = _mm_alignr_epi8(cdab, efgh, 8);
	l.cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
	return l;
}

INSIDE __m128i big_endian(__m128i words)
{
	return _mm_shuffle_epi8(words, _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
}

/* Into words of this processor, or the bytes of a digest. */
INSIDE void lane_store(const struct lane *l, void *to, bool digest)
{
	__m128i feba = _mm_shuffle_epi32(l->abef, 0x1b);
	__m128i dchg = _mm_shuffle_epi32(l->cdgh, 0xb1);
	__m128i first = _mm_blend_epi16(feba, dchg, 0xf0);
	__m128i second = _mm_alignr_epi8(dchg, feba, 8);
	_mm_storeu_si128((__m128i *)to, digest ? big_endian(first) : first);
	_mm_storeu_si128((__m128i *)to + 1, digest ? big_endian(second) : second);
}

INSIDE void begin_block(struct lane *l, const uint8_t *block)
{
	l->abef_before = l->abef;
	l->cdgh_before = l->cdgh;
	for (unsigned i = 0; i < 4; i++)
		l->w[i] = big_endian(_mm_loadu_si128((const __m128i *)block + i));
}

INSIDE void end_block(struct lane *l)
{
	l->abef = _mm_add_epi32(l->abef, l->abef_before);
	l->cdgh = _mm_add_epi32(l->cdgh, l->cdgh_before);
}

/* Four rounds with the words that stand in w[i]. */
INSIDE void rounds(struct lane *l, unsigned i, __m128i k)
{
	__m128i sum = _mm_add_epi32(l->w[i], k);
	l->cdgh = _mm_sha256rnds2_epu32(l->cdgh, l->abef, sum);
	l->abef = _mm_sha256rnds2_epu32(l->abef, l->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

/* The words of sixteen rounds later take the place of those in w[i]. */
INSIDE void schedule(struct lane *l, unsigned i)
{
	__m128i last = l->w[(i + 3) & 3];
	__m128i next = _mm_sha256msg1_epu32(l->w[i], l->w[(i + 1) & 3]);
	next = _mm_add_epi32(next, _mm_alignr_epi8(last, l->w[(i + 2) & 3], 4));
	l->w[i] = _mm_sha256msg2_epu32(next, last);
}

/* Sixteen rounds; written out, so that every lane stays in registers. */
INSIDE void pass(struct lane *l, const __m128i k[4])
{
	rounds(l, 0, k[0]);
	schedule(l, 0);
	rounds(l, 1, k[1]);
	schedule(l, 1);
	rounds(l, 2, k[2]);
	schedule(l, 2);
	rounds(l, 3, k[3]);
	schedule(l, 3);
}

INSIDE void pass2(struct lane *l, struct lane *m, const __m128i k[4])
{
	rounds(l, 0, k[0]);
	rounds(m, 0, k[0]);
	schedule(l, 0);
	schedule(m, 0);
	rounds(l, 1, k[1]);
	rounds(m, 1, k[1]);
	schedule(l, 1);
	schedule(m, 1);
	rounds(l, 2, k[2]);
	rounds(m, 2, k[2]);
	schedule(l, 2);
	schedule(m, 2);
	rounds(l, 3, k[3]);
	rounds(m, 3, k[3]);
	schedule(l, 3);
	schedule(m, 3);
}

#define SCHEDULED 12 /* fours of rounds, of 16; the last words need no others behind them */

INSIDE void one_block(struct lane *l, const uint8_t *block)
{
	const __m128i *k = (const __m128i *)round_constants;
	begin_block(l, block);
	for (unsigned i = 0; i < SCHEDULED; i += 4)
		pass(l, k + i);
	rounds(l, 0, k[12]);
	rounds(l, 1, k[13]);
	rounds(l, 2, k[14]);
	rounds(l, 3, k[15]);
	end_block(l);
}

INSIDE void two_blocks(struct lane *l, const uint8_t *block, struct lane *m,
		       const uint8_t *other)
{
	const __m128i *k = (const __m128i *)round_constants;
	begin_block(l, block);
	begin_block(m, other);
	for (unsigned i = 0; i < SCHEDULED; i += 4)
		pass2(l, m, k + i);
	rounds(l, 0, k[12]);
	rounds(m, 0, k[12]);
	rounds(l, 1, k[13]);
	rounds(m, 1, k[13]);
	rounds(l, 2, k[14]);
	rounds(m, 2, k[14]);
	rounds(l, 3, k[15]);
	rounds(m, 3, k[15]);
	end_block(l);
	end_block(m);
}

INSTRUCTIONS static void own_compress(uint32_t h[SHA256_WORDS], const uint8_t *blocks,
				      size_t count)
{
	struct lane l = lane_load(h);
	for (; count > 0; count--, blocks += SHA256_BLOCK)
		one_block(&l, blocks);
	lane_store(&l, h, false);
}

INSTRUCTIONS static void own_digest(const struct sha256_rest *r)
{
	struct lane l = lane_load(r->from);
	const uint8_t *block = r->blocks;
	for (size_t left = r->count; left > 0; left--, block += SHA256_BLOCK)
		one_block(&l, block);
	lane_store(&l, r->digest, true);
}

INSTRUCTIONS static void own_digest2(const struct sha256_rest *r,
				     const struct sha256_rest *other)
{
	const struct sha256_rest *longer = r->count >= other->count ? r : other;
	const struct sha256_rest *shorter = longer == r ? other : r;
	struct lane l = lane_load(longer->from), m = lane_load(shorter->from);
	const uint8_t *block = longer->blocks, *of_shorter = shorter->blocks;
	size_t both = shorter->count, left = longer->count - both;
	for (; both > 0; both--, block += SHA256_BLOCK, of_shorter += SHA256_BLOCK)
		two_blocks(&l, block, &m, of_shorter);
	lane_store(&m, shorter->digest, true);
	for (; left > 0; left--, block += SHA256_BLOCK)
		one_block(&l, block);
	lane_store(&l, longer->digest, true);
}

#define LEAF_1_ECX_SSSE3  (1u << 9)
#define LEAF_1_ECX_SSE4_1 (1u << 19)
#define LEAF_7_EBX_SHA	  (1u << 29)

static bool has_instructions(void)
{
	unsigned a, b, c, d;
	const unsigned sse = LEAF_1_ECX_SSSE3 | LEAF_1_ECX_SSE4_1;
	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & sse) != sse)
		return false;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & LEAF_7_EBX_SHA);
}

#else

static bool has_instructions(void)
{
	return false;
}

#endif

enum { UNKNOWN, LIBCRYPTO, OWN };
static _Atomic int chosen; /* any thread finds out the same */

bool sha256_own(void)
{
	int c = atomic_load_explicit(&chosen, memory_order_relaxed);
	if (c == UNKNOWN) {
		c = has_instructions() ? OWN : LIBCRYPTO;
		atomic_store_explicit(&chosen, c, memory_order_relaxed);
	}
	return c == OWN;
}

void sha256_use_own(bool use)
{
	atomic_store(&chosen, use && has_instructions() ? OWN : LIBCRYPTO);
}

void sha256_compress(uint32_t h[SHA256_WORDS], const uint8_t *blocks, size_t count)
{
#if HAVE_INSTRUCTIONS
	if (sha256_own()) {
		own_compress(h, blocks, count);
		return;
	}
#endif
	by_libcrypto(h, blocks, count);
}

void sha256_digest(const struct sha256_rest *r)
{
#if HAVE_INSTRUCTIONS
	if (sha256_own()) {
		own_digest(r);
		return;
	}
#endif
	digest_by_libcrypto(r);
}

void sha256_digest2(const struct sha256_rest *r, const struct sha256_rest *other)
{
#if HAVE_INSTRUCTIONS
	if (sha256_own()) {
		own_digest2(r, other);
		return;
	}
#endif
	digest_by_libcrypto(r);
	digest_by_libcrypto(other);
}
