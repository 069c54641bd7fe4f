#include "base/bytes.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define WRITER_FIRST_CAP 64

struct slice slice_str(const char *text)
{
	return slice_of(text, strlen(text));
}

bool slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

int slice_compare(struct slice a, struct slice b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int c = len ? memcmp(a.ptr, b.ptr, len) : 0;
	return c ? c : (a.len > b.len) - (a.len < b.len);
}

void writer_init(struct writer *w, size_t limit)
{
	*w = (struct writer){.limit = limit};
}

void writer_free(struct writer *w)
{
	mem_free(w->buf);
	writer_init(w, w->limit);
}

void writer_reset(struct writer *w)
{
	w->len = 0;
	w->err = ERR_NONE;
}

bool writer_grow(struct writer *w, size_t len)
{
	if (len > SIZE_MAX / 2 - w->len || (w->limit && w->len + len > w->limit)) {
		w->err = ERR_LIMIT;
		return false;
	}
	if (w->len + len > w->cap) {
		size_t cap = w->cap ? w->cap * 2 : WRITER_FIRST_CAP;
		if (cap < w->len + len)
			cap = w->len + len;
		w->buf = mem_realloc(w->buf, cap);
		w->cap = cap;
	}
	return true;
}

void writer_raw(struct writer *w, const void *ptr, size_t len)
{
	uint8_t *p = len ? writer_extend(w, len) : NULL;
	if (p)
		memcpy(p, ptr, len);
}

void writer_var(struct writer *w, struct slice s)
{
	if (s.len > UINT32_MAX) {
		if (!w->err)
			w->err = ERR_LIMIT;
		return;
	}
	writer_u32(w, (uint32_t)s.len);
	writer_raw(w, s.ptr, s.len);
}

size_t writer_skip(struct writer *w, size_t len)
{
	size_t offset = w->len;
	if (len == 0)
		return offset;
	uint8_t *p = writer_extend(w, len);
	if (p)
		memset(p, 0, len);
	return offset;
}

void writer_patch_u32(struct writer *w, size_t offset, uint32_t v)
{
	if (w->err)
		return;
	invariant(w->len >= 4 && offset <= w->len - 4);
	for (size_t i = 4; i-- > 0; v >>= 8)
		w->buf[offset + i] = (uint8_t)v;
}

uint8_t *writer_take(struct writer *w, size_t *len)
{
	/* Half an encoding must not pass for a whole one. */
	if (w->err) {
		mem_free(w->buf);
		*w = (struct writer){.limit = w->limit, .err = w->err};
	}
	uint8_t *buf = w->buf;
	*len = w->len;
	w->buf = NULL;
	w->len = w->cap = 0;
	return buf;
}

void reader_fail(struct reader *r, int err)
{
	invariant(err < 0);
	if (!r->err)
		r->err = err;
}

void reader_raw(struct reader *r, void *dst, size_t len)
{
	if (len == 0)
		return;
	const uint8_t *p = reader_advance(r, len);
	if (p)
		memcpy(dst, p, len);
	else
		memset(dst, 0, len);
}

uint32_t reader_count(struct reader *r, uint32_t max, size_t item_min)
{
	invariant(item_min >= 1);
	uint32_t count = reader_u32(r);
	if (count > max)
		reader_fail(r, ERR_LIMIT);
	else if (count > r->left / item_min)
		reader_fail(r, ERR_TRUNCATED);
	return r->err ? 0 : count;
}

int reader_finish(struct reader *r)
{
	if (!r->err && r->left)
		r->err = ERR_TRAILING;
	return r->err;
}

void hex_encode(char *out, const void *ptr, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = ptr;
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * len] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_decode(void *out, size_t len, const char *text)
{
	if (strnlen(text, 2 * len + 1) != 2 * len)
		return ERR_SYNTAX;
	for (size_t i = 0; i < 2 * len; i++)
		if (hex_digit(text[i]) < 0)
			return ERR_SYNTAX;
	uint8_t *p = out;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
	return ERR_NONE;
}
