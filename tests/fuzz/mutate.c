/* Mutations that keep as much of an input's structure as its target's shape tells. */
#include <string.h>

#include "tests/fuzz/fuzz.h"

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(uint8_t *p, uint32_t v)
{
	for (int i = 3; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

/* Puts len bytes in place of old ones at offset. The new size, or `size` if they do not fit. */
static size_t replace(uint8_t *data, size_t size, size_t max, size_t offset, size_t old,
		      const uint8_t *with, size_t len)
{
	if (size - old + len > max)
		return size;
	memmove(data + offset + len, data + offset + old, size - offset - old);
	if (len)
		memcpy(data + offset, with, len);
	return size - old + len;
}

/* ---- without structure ------------------------------------------------------------------- */

static const uint64_t edges[] = {
	0,	1,	    2,	  0x7f,	      0x80,	    0xff,	0x100,	    0x7fff,
	0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, UINT64_MAX / 2,
	UINT64_MAX / 2 + 1, UINT64_MAX - 1, UINT64_MAX};

static void overwrite_number(struct random *random, uint8_t *data, size_t size)
{
	size_t width = (size_t)1 << random_below(random, 4);
	if (width > size)
		width = 1;
	uint8_t *p = data + random_below(random, size - width + 1);
	uint64_t v = 0;
	for (size_t i = 0; i < width; i++)
		v = v << 8 | p[i];
	if (random_chance(random, 1, 2))
		v += random_below(random, 33) - 16;
	else
		v = edges[random_below(random, MEM_COUNT(edges))];
	for (size_t i = width; i-- > 0; v >>= 8)
		p[i] = (uint8_t)v;
}

size_t fuzz_plain_leaf(struct random *random, uint8_t *data, size_t size, size_t max)
{
	uint8_t bytes[32];
	if (size == 0 || random_below(random, 8) == 0) { /* insert */
		size_t len = 1 + random_below(random, sizeof bytes);
		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)random_u64(random);
		return replace(data, size, max, random_below(random, size + 1), 0, bytes, len);
	}
	size_t at = random_below(random, size);
	size_t len = 1 + random_below(random, size - at < 64 ? size - at : 64);
	switch (random_below(random, 6)) {
	case 0:
		data[at] ^= (uint8_t)(1u << random_below(random, 8));
		return size;
	case 1:
		data[at] = (uint8_t)random_u64(random);
		return size;
	case 2:
		return replace(data, size, max, at, len, NULL, 0);
	case 3: { /* a copy of a stretch, elsewhere */
		uint8_t copy[64];
		memcpy(copy, data + at, len);
		size_t to = random_below(random, size + 1);
		size_t over = random_chance(random, 1, 2) && size - to >= len ? len : 0;
		return replace(data, size, max, to, over, copy, len);
	}
	default:
		overwrite_number(random, data, size);
		return size;
	}
}

/* ---- nested length prefixes -------------------------------------------------------------- */

/* A place whose four bytes can be the length of what follows: chosen evenly. */
static bool find_span(const uint8_t *data, size_t size, struct random *random, size_t *at)
{
	uint32_t found = 0;
	for (size_t i = 0; i + 5 <= size; i++) {
		uint32_t len = be32(data + i);
		if (len == 0 || len > size - i - 4)
			continue;
		if (random_below(random, ++found) == 0)
			*at = i;
	}
	return found > 0;
}

/* Changes what a length counts, the length, and most of the lengths around it. */
static size_t mutate_span(uint8_t *data, size_t size, size_t max, struct random *random,
			  fuzz_leaf *leaf)
{
	size_t at = 0;
	if (!find_span(data, size, random, &at))
		return leaf(data, size, max);
	size_t old = be32(data + at), room = old + 256;
	size_t end = at + 4 + old;
	uint8_t *inner = mem_alloc(room);
	memcpy(inner, data + at + 4, old);
	size_t len = old;
	if (random_below(random, 16) == 0)
		len = 0;
	else if (random_below(random, 16) == 0 && old <= 128) { /* twice */
		memcpy(inner + old, inner, old);
		len = 2 * old;
	} else
		len = leaf(inner, old, room);
	if (size - old + len <= max) {
		for (size_t i = 0; i + 4 <= at; i++) {
			uint32_t around = be32(data + i);
			if (around > size || i + 4 + around < end || i + 4 + around > size)
				continue;
			if (random_below(random, 4) != 0)
				put_be32(data + i, (uint32_t)(around + len - old));
		}
		size = replace(data, size, max, at + 4, old, inner, len);
		put_be32(data + at, (uint32_t)len);
	}
	mem_free(inner);
	return size;
}

static size_t mutate_nested(uint8_t *data, size_t size, size_t max, struct random *random,
			    fuzz_leaf *leaf)
{
	return random_chance(random, 1, 2) ? leaf(data, size, max)
					   : mutate_span(data, size, max, random, leaf);
}

/* ---- ops --------------------------------------------------------------------------------- */

#define OP_HEAD 3

void fuzz_op(struct writer *w, uint8_t op, struct slice payload)
{
	invariant(payload.len <= UINT16_MAX);
	writer_u8(w, op);
	writer_u16(w, (uint16_t)payload.len);
	writer_raw(w, payload.ptr, payload.len);
}

bool fuzz_next_op(struct reader *r, uint8_t *op, struct slice *payload)
{
	if (r->err || r->left < OP_HEAD)
		return false;
	*op = reader_u8(r);
	size_t len = reader_u16(r);
	*payload = reader_take(r, len < r->left ? len : r->left);
	return true;
}

struct place { /* of an op, head included */
	size_t at, len;
};

static size_t count_ops(const uint8_t *data, size_t size)
{
	size_t count = 0;
	for (size_t at = 0; at + OP_HEAD <= size; count++)
		at += OP_HEAD + ((size_t)data[at + 1] << 8 | data[at + 2]);
	return count;
}

static struct place find_op(const uint8_t *data, size_t size, size_t index)
{
	size_t at = 0;
	for (;;) {
		size_t len = OP_HEAD + ((size_t)data[at + 1] << 8 | data[at + 2]);
		if (len > size - at)
			len = size - at;
		if (index-- == 0)
			return (struct place){at, len};
		at += len;
	}
}

static size_t mutate_payload(uint8_t *data, size_t size, size_t max, struct place p,
			     struct random *random, fuzz_leaf *leaf)
{
	if (p.len < OP_HEAD)
		return leaf(data, size, max);
	size_t old = p.len - OP_HEAD, room = old + 256 < UINT16_MAX ? old + 256 : UINT16_MAX;
	if (room < old)
		return size;
	uint8_t *payload = mem_alloc(room ? room : 1);
	memcpy(payload, data + p.at + OP_HEAD, old);
	size_t len = mutate_nested(payload, old, room, random, leaf);
	if (size - old + len <= max) {
		size = replace(data, size, max, p.at + OP_HEAD, old, payload, len);
		data[p.at + 1] = (uint8_t)(len >> 8);
		data[p.at + 2] = (uint8_t)len;
	}
	mem_free(payload);
	return size;
}

static size_t mutate_ops(uint8_t *data, size_t size, size_t max, struct random *random,
			 fuzz_leaf *leaf)
{
	size_t count = count_ops(data, size);
	if (count == 0)
		return leaf(data, size, max);
	struct place p = find_op(data, size, random_below(random, count));
	struct place q = find_op(data, size, random_below(random, count));
	switch (random_below(random, 10)) {
	case 0:
		return replace(data, size, max, p.at, p.len, NULL, 0);
	case 1:
	case 2: { /* a copy of one before another */
		uint8_t *copy = mem_dup(data + q.at, q.len);
		size = replace(data, size, max, p.at, 0, copy, q.len);
		mem_free(copy);
		return size;
	}
	case 3: { /* move to the front of another */
		uint8_t *copy = mem_dup(data + p.at, p.len);
		size = replace(data, size, max, p.at, p.len, NULL, 0);
		count = count_ops(data, size);
		size_t to = count ? find_op(data, size, random_below(random, count)).at : 0;
		size = replace(data, size, max, to, 0, copy, p.len);
		mem_free(copy);
		return size;
	}
	case 4: { /* a new small one */
		uint8_t op[OP_HEAD + 8] = {(uint8_t)random_below(random, 16), 0, 8};
		store_be64(op + OP_HEAD, random_u64(random));
		return replace(data, size, max, p.at, 0, op, sizeof op);
	}
	case 5:
		data[p.at] = (uint8_t)random_below(random, 16);
		return size;
	default:
		return mutate_payload(data, size, max, p, random, leaf);
	}
}

/* ---- text -------------------------------------------------------------------------------- */

static size_t mutate_text(const struct fuzz_target *t, uint8_t *data, size_t size, size_t max,
			  struct random *random, fuzz_leaf *leaf)
{
	size_t words = 0;
	while (t->words && t->words[words])
		words++;
	if (!words || random_chance(random, 1, 2))
		return leaf(data, size, max);
	const char *word = t->words[random_below(random, words)];
	size_t at = random_below(random, size + 1), old = 0;
	if (random_chance(random, 1, 2)) /* in place of a word or number that is there */
		while (at + old < size && old < 80 &&
		       strchr("abcdefghijklmnopqrstuvwxyz_0123456789", data[at + old]) &&
		       data[at + old])
			old++;
	return replace(data, size, max, at, old, (const uint8_t *)word, strlen(word));
}

/* ---- all --------------------------------------------------------------------------------- */

size_t fuzz_mutate(const struct fuzz_target *t, uint8_t *data, size_t size, size_t max,
		   struct random *random, fuzz_leaf *leaf)
{
	switch (t->shape) {
	case FUZZ_BYTES:
		return leaf(data, size, max);
	case FUZZ_NESTED:
		return mutate_nested(data, size, max, random, leaf);
	case FUZZ_OPS:
		return mutate_ops(data, size, max, random, leaf);
	case FUZZ_TEXT:
		return mutate_text(t, data, size, max, random, leaf);
	}
	return size;
}

/* The first part of one, the second part of the other; ops are not torn. */
size_t fuzz_cross(const struct fuzz_target *t, struct slice a, struct slice b, uint8_t *out,
		  size_t max, struct random *random)
{
	size_t cut_a = random_below(random, a.len + 1), cut_b = random_below(random, b.len + 1);
	if (t->shape == FUZZ_OPS) {
		size_t count_a = count_ops(a.ptr, a.len), count_b = count_ops(b.ptr, b.len);
		if (count_a)
			cut_a = find_op(a.ptr, a.len, random_below(random, count_a)).at;
		if (count_b)
			cut_b = find_op(b.ptr, b.len, random_below(random, count_b)).at;
	}
	size_t first = cut_a < max ? cut_a : max;
	size_t second = b.len - cut_b < max - first ? b.len - cut_b : max - first;
	if (first)
		memcpy(out, a.ptr, first);
	if (second)
		memcpy(out + first, b.ptr + cut_b, second);
	return first + second;
}
