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
void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_u64(struct writer *w, uint64_t v);
void writer_raw(struct writer *w, const void *ptr, size_t len);
void writer_var(struct writer *w, struct slice s); /* u32 length, then the bytes */
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

void reader_init(struct reader *r, struct slice s);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
bool reader_bool(struct reader *r); /* any byte but 0 and 1 is ERR_NONCANONICAL */
void reader_raw(struct reader *r, void *dst, size_t len); /* zeroes dst on error */
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
struct slice reader_take(struct reader *r, size_t len); /* borrowed from the input */
/* u32 length, then the bytes; a length over max is ERR_LIMIT. */
struct slice reader_var(struct reader *r, size_t max);
/* A u32 count of items of at least item_min (>= 1) bytes each: ERR_LIMIT above max,
 * ERR_TRUNCATED if so many cannot follow. Safe to allocate by. */
uint32_t reader_count(struct reader *r, uint32_t max, size_t item_min);
void reader_fail(struct reader *r, int err) __attribute__((cold)); /* keeps an earlier error */
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
