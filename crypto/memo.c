/* What was hashed lately, and its digests: records one behind the other in a ring, from which
 * the oldest go, and an index of where they begin. Both are small, for they compete with all
 * else for the caches, and what is asked for is waited for. */
#include "crypto/memo.h"

#include "base/mem.h"

#define SETS	  256 /* a power of two */
#define WAYS	  4
#define RING_SIZE (64u << 10)

/* They begin where a line of the cache does, and are not broken at the end of the ring. */
struct record {
	uint64_t len;
	struct hash digest;
	uint8_t message[];
};

struct hash_memo {
	/* Where a record begins, in lines of all that was ever put into the ring, and 16 bits
	 * of its message's mix. The lowest of a set is the oldest. */
	uint64_t index[SETS][WAYS];
	uint64_t end;  /* of the newest record, in bytes of all */
	uint64_t next; /* the record behind the one found last, if there is one */
	struct hash_memo_counts counts;
	uint8_t *ring, *room; /* room: that it was cut from */
};

_Thread_local struct hash_memo *hash_memo;

struct hash_memo *hash_memo_new(void)
{
	struct hash_memo *m = mem_zalloc(sizeof(*m));
	m->room = mem_alloc(RING_SIZE + MEM_LINE);
	m->ring = m->room + (-(uintptr_t)m->room & (MEM_LINE - 1));
	m->end = 2 * RING_SIZE; /* an empty place in the index is none in the ring */
	return m;
}

void hash_memo_free(struct hash_memo *m)
{
	if (!m)
		return;
	invariant(m != hash_memo);
	mem_free(m->room);
	mem_free(m);
}

struct hash_memo *hash_memo_use(struct hash_memo *m)
{
	struct hash_memo *before = hash_memo;
	hash_memo = m;
	return before;
}

struct hash_memo_counts hash_memo_counts(const struct hash_memo *m)
{
	return m->counts;
}

static uint64_t word_at(const uint8_t *p)
{
	uint64_t word;
	memcpy(&word, p, sizeof(word));
	return word;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#define ODD1   UINT64_C(0xa0761d6478bd642f)
#define ODD2   UINT64_C(0xe7037ed1a0b428db)
#define STRIDE 32 /* of which 8 bytes are taken: hashes, of which most messages consist */

/* Where to look, no more: that messages are equal is decided by all of their bytes. Whoever
 * makes messages that mix alike makes nothing but misses. */
static uint64_t mix_of(const uint8_t *p, size_t len)
{
	uint64_t sum = len, odd = ODD1, first = 0, last = 0;
	if (len < 8) {
		for (size_t i = 0; i < len; i++)
			first = first << 8 | p[i];
	} else {
		first = word_at(p);
		last = word_at(p + len - 8);
		for (size_t i = 8; i + 8 <= len; i += STRIDE, odd += 2 * ODD2)
			sum += word_at(p + i) * odd;
	}
	return fold(sum ^ first ^ ODD2, last ^ sum >> 32 ^ ODD1);
}

#define TAG_BITS 16
#define TAG_MASK ((1u << TAG_BITS) - 1)

static uint64_t place_of(uint64_t at, uint64_t mix)
{
	return at / MEM_LINE << TAG_BITS | (mix >> 32 & TAG_MASK);
}

/* The one that begins there, or NULL: the ring has gone over it. */
static const struct record *record_at(const struct hash_memo *m, uint64_t at)
{
	return m->end - at <= RING_SIZE ? (const struct record *)(m->ring + at % RING_SIZE)
					: NULL;
}

static size_t record_size(size_t len)
{
	return (sizeof(struct record) + len + MEM_LINE - 1) & ~(size_t)(MEM_LINE - 1);
}

static bool is_of(const struct record *r, const uint8_t *buf, size_t len)
{
	return r && r->len == len && memcmp(r->message, buf, len) == 0;
}

static const struct record *find(struct hash_memo *m, struct memo_place *place,
				 const uint8_t *buf, size_t len)
{
	uint64_t mix = mix_of(buf, len);
	uint64_t *set = m->index[mix & (SETS - 1)];
	place->mix = mix;
	place->set = set;
	for (unsigned i = 0; i < WAYS; i++) {
		if ((set[i] & TAG_MASK) != (mix >> 32 & TAG_MASK))
			continue;
		uint64_t at = (set[i] >> TAG_BITS) * MEM_LINE;
		const struct record *r = record_at(m, at);
		if (!is_of(r, buf, len))
			continue;
		m->next = at + record_size(len);
		return r;
	}
	return NULL;
}

/* Whoever does what another one has done hashes the same messages in the same order. */
static const struct record *guess(struct hash_memo *m, const uint8_t *buf, size_t len)
{
	const struct record *r = m->next < m->end ? record_at(m, m->next) : NULL;
	if (!is_of(r, buf, len))
		return NULL;
	m->next += record_size(len);
	return r;
}

bool memo_get(struct hash_memo *m, struct hash *out, struct memo_place *place,
	      const uint8_t *buf, size_t len)
{
	const struct record *r = guess(m, buf, len);
	if (!r)
		r = find(m, place, buf, len);
	m->counts.asked++;
	if (!r)
		return false;
	m->counts.known++;
	*out = r->digest;
	return true;
}

#define NO_LENGTH UINT64_MAX

static struct record *take_room(struct hash_memo *m, size_t size)
{
	size_t to_end = RING_SIZE - m->end % RING_SIZE;
	if (size > to_end) { /* who comes to the end of the ring finds no record there */
		((struct record *)(m->ring + m->end % RING_SIZE))->len = NO_LENGTH;
		m->end += to_end;
	}
	return (struct record *)(m->ring + m->end % RING_SIZE);
}

void memo_put(struct hash_memo *m, const struct memo_place *place, const struct hash *digest,
	      const uint8_t *buf, size_t len)
{
	size_t size = record_size(len);
	struct record *r = take_room(m, size);
	uint64_t *oldest = place->set;
	r->len = len;
	r->digest = *digest;
	memcpy(r->message, buf, len);
	for (unsigned i = 1; i < WAYS; i++)
		if (place->set[i] < *oldest)
			oldest = &place->set[i];
	*oldest = place_of(m->end, place->mix);
	m->end += size;
}
