/* What was hashed lately, and its digests. Messages lie one behind the other in a ring, from
 * which the oldest go; a table without chains says where. Both are small, for they compete with
 * all else for the caches. */
#include "crypto/memo.h"

#include "base/mem.h"

#define SETS	  1024 /* a power of two */
#define WAYS	  2
#define RING_SIZE (64u << 10)

struct memo_entry {
	_Alignas(MEM_LINE) uint64_t mix;
	uint64_t at; /* in all that was ever put into the ring */
	size_t len;
	struct hash digest;
};

struct hash_memo {
	struct memo_entry (*sets)[WAYS];
	void *room;   /* of the sets, which begin with a line of the cache */
	uint64_t end; /* of what was ever put into the ring */
	struct hash_memo_counts counts;
	uint8_t ring[RING_SIZE];
};

_Thread_local struct hash_memo *hash_memo;

struct hash_memo *hash_memo_new(void)
{
	struct hash_memo *m = mem_alloc(sizeof(*m));
	m->room = mem_zalloc(SETS * sizeof(m->sets[0]) + MEM_LINE);
	m->sets = (void *)((char *)m->room + (-(uintptr_t)m->room & (MEM_LINE - 1)));
	m->end = 2 * RING_SIZE; /* where no empty entry is */
	m->counts = (struct hash_memo_counts){0};
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

#define ODD1 UINT64_C(0xa0761d6478bd642f)
#define ODD2 UINT64_C(0xe7037ed1a0b428db)
#define ODD3 UINT64_C(0x8ebc6af09c88c6e3)

/* Where to look, no more: that messages are equal is decided by their bytes. Whoever makes
 * messages that mix alike makes nothing but misses. */
static uint64_t mix_of(const uint8_t *p, size_t len)
{
	uint64_t a = len * ODD3, b = a, first = 0, last = 0;
	size_t left = len;
	for (; left > 32; p += 32, left -= 32) {
		a = fold(word_at(p) ^ ODD1, word_at(p + 8) ^ a);
		b = fold(word_at(p + 16) ^ ODD2, word_at(p + 24) ^ b);
	}
	if (left > 16) {
		a = fold(word_at(p) ^ ODD1, word_at(p + 8) ^ a);
		first = word_at(p + left - 16);
		last = word_at(p + left - 8);
	} else if (left >= 8) { /* the two overlap */
		first = word_at(p);
		last = word_at(p + left - 8);
	} else {
		for (size_t i = 0; i < left; i++)
			first = first << 8 | p[i];
	}
	b = fold(first ^ ODD2, last ^ b);
	return fold(a ^ ODD3, b ^ ODD1);
}

static bool holds(const struct hash_memo *m, const struct memo_entry *e, const uint8_t *buf,
		  size_t len)
{
	return e->len == len && m->end - e->at <= RING_SIZE &&
	       memcmp(m->ring + e->at % RING_SIZE, buf, len) == 0;
}

bool memo_get(struct hash_memo *m, struct hash *out, struct memo_place *place,
	      const uint8_t *buf, size_t len)
{
	uint64_t mix = mix_of(buf, len);
	struct memo_entry *set = m->sets[mix & (SETS - 1)];
	m->counts.asked++;
	for (unsigned i = 0; i < WAYS; i++)
		if (set[i].mix == mix && holds(m, &set[i], buf, len)) {
			m->counts.known++;
			*out = set[i].digest;
			return true;
		}
	place->mix = mix;
	place->entry = set[0].at <= set[1].at ? &set[0] : &set[1];
	return false;
}

void memo_put(struct hash_memo *m, const struct memo_place *place, const struct hash *digest,
	      const uint8_t *buf, size_t len)
{
	struct memo_entry *e = place->entry;
	size_t to_end = RING_SIZE - m->end % RING_SIZE;
	if (len > to_end) /* it does not go over the end */
		m->end += to_end;
	memcpy(m->ring + m->end % RING_SIZE, buf, len);
	e->mix = place->mix;
	e->at = m->end;
	e->len = len;
	e->digest = *digest;
	m->end += len;
}
