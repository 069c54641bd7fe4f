/* Slices, and the sticky-error cursors that every wire and disk encoding goes through.
 * Integers are big-endian and of fixed width; variable byte strings carry a u32 length. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

/* Borrowed bytes; ptr may be NULL only when len is 0. */
struct slice {
	const uint8_t *ptr;
	size_t len;
};

static inline struct slice slice_of(const void *ptr, size_t len)
{
	return (struct slice){.ptr = ptr, .len = len};
}
struct slice slice_str(const char *text); /* without the terminating zero */
bool slice_equal(struct slice a, struct slice b);
int slice_compare(struct slice a, struct slice b); /* lexicographic, shorter first */

/* An owned, growing byte buffer. A zeroed struct is an empty writer without a limit.
 * The first failure (only ERR_LIMIT is possible) sticks in err and later writes do nothing. */
struct writer {
	uint8_t *buf;
	size_t len;
	size_t cap;
	size_t limit; /* 0: none */
	int err;
};

void writer_init(struct writer *w, size_t limit);
void writer_free(struct writer *w);
void writer_reset(struct writer *w); /* keeps the memory */
/* Room for len more bytes to fill in now, or NULL with the error set. */
bool writer_grow(struct writer *w, size_t len) __attribute__((cold)); /* its slow path */
static inline uint8_t *writer_extend(struct writer *w, size_t len)
{
	if (w->err)
		return NULL;
	bool fits = len <= w->cap - w->len && (!w->limit || len <= w->limit - w->len);
	if (!fits && !writer_grow(w, len))
		return NULL;
	uint8_t *p = w->buf + w->len;
	w->len += len;
	return p;
}
static inline void writer_u8(struct writer *w, uint8_t v)
{
	uint8_t *p = writer_extend(w, sizeof(v));
	if (p)
		*p = v;
}
static inline void writer_u16(struct writer *w, uint16_t v)
{
	uint8_t *p = writer_extend(w, sizeof(v));
	v = htobe16(v);
	if (p)
		memcpy(p, &v, sizeof(v));
}
static inline void writer_u32(struct writer *w, uint32_t v)
{
	uint8_t *p = writer_extend(w, sizeof(v));
	v = htobe32(v);
	if (p)
		memcpy(p, &v, sizeof(v));
}
static inline void writer_u64(struct writer *w, uint64_t v)
{
	uint8_t *p = writer_extend(w, sizeof(v));
	v = htobe64(v);
	if (p)
		memcpy(p, &v, sizeof(v));
}
void writer_raw(struct writer *w, const void *ptr, size_t len);
void writer_var(struct writer *w, struct slice s); /* u32 length, then the bytes */
/* Reserves len bytes to fill in later; returns their offset. */
size_t writer_skip(struct writer *w, size_t len);
void writer_patch_u32(struct writer *w, size_t offset, uint32_t v);
static inline struct slice writer_slice(const struct writer *w)
{
	return slice_of(w->buf, w->len);
}
/* Hands the buffer to the caller (mem_free) and leaves w empty. */
uint8_t *writer_take(struct writer *w, size_t *len);

/* A cursor over borrowed bytes. Once err is set all reads return zeros. */
struct reader {
	const uint8_t *ptr;
	size_t left;
	int err;
};

static inline void reader_init(struct reader *r, struct slice s)
{
	*r = (struct reader){.ptr = s.ptr, .left = s.len};
}
void reader_fail(struct reader *r, int err) __attribute__((cold)); /* keeps an earlier error */
/* The next len bytes, borrowed, or NULL with the error set. */
static inline const uint8_t *reader_advance(struct reader *r, size_t len)
{
	if (r->err)
		return NULL;
	if (len > r->left) {
		r->err = ERR_TRUNCATED;
		return NULL;
	}
	const uint8_t *p = r->ptr;
	if (len)
		r->ptr += len;
	r->left -= len;
	return p;
}
static inline uint8_t reader_u8(struct reader *r)
{
	const uint8_t *p = reader_advance(r, 1);
	return p ? *p : 0;
}
static inline uint16_t reader_u16(struct reader *r)
{
	uint16_t v = 0;
	const uint8_t *p = reader_advance(r, sizeof(v));
	if (p)
		memcpy(&v, p, sizeof(v));
	return be16toh(v);
}
static inline uint32_t reader_u32(struct reader *r)
{
	uint32_t v = 0;
	const uint8_t *p = reader_advance(r, sizeof(v));
	if (p)
		memcpy(&v, p, sizeof(v));
	return be32toh(v);
}
static inline uint64_t reader_u64(struct reader *r)
{
	uint64_t v = 0;
	const uint8_t *p = reader_advance(r, sizeof(v));
	if (p)
		memcpy(&v, p, sizeof(v));
	return be64toh(v);
}
/* Any byte but 0 and 1 is ERR_NONCANONICAL. */
static inline bool reader_bool(struct reader *r)
{
	uint8_t v = reader_u8(r);
	if (v > 1)
		reader_fail(r, ERR_NONCANONICAL);
	return v == 1;
}
void reader_raw(struct reader *r, void *dst, size_t len); /* zeroes dst on error */
/* Borrowed from the input. */
static inline struct slice reader_take(struct reader *r, size_t len)
{
	const uint8_t *p = reader_advance(r, len);
	return r->err ? slice_of(NULL, 0) : slice_of(p, len);
}
/* u32 length, then the bytes; a length over max is ERR_LIMIT. */
static inline struct slice reader_var(struct reader *r, size_t max)
{
	uint32_t len = reader_u32(r);
	if (len > max)
		reader_fail(r, ERR_LIMIT);
	return reader_take(r, len);
}
/* A u32 count of items of at least item_min (>= 1) bytes each: ERR_LIMIT above max,
 * ERR_TRUNCATED if so many cannot follow. Safe to allocate by. */
uint32_t reader_count(struct reader *r, uint32_t max, size_t item_min);
/* The sticky error, or ERR_TRAILING if bytes are left, or ERR_NONE. */
int reader_finish(struct reader *r);

/* out gets 2*len+1 chars. */
void hex_encode(char *out, const void *ptr, size_t len);
/* Exactly 2*len lower- or upper-case digits; ERR_SYNTAX otherwise. */
int hex_decode(void *out, size_t len, const char *text);

static inline uint64_t load_be64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}
static inline void store_be64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

#endif
