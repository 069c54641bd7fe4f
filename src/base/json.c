#include <jansson.h>

/* base/json.h gives these five names to functions of its own, under other symbols. */
static json_t *jansson_object(void)
{
	return json_object();
}
static json_t *jansson_array(void)
{
	return json_array();
}
static json_t *jansson_real(double v)
{
	return json_real(v);
}
static json_t *jansson_null(void)
{
	return json_null();
}
#undef json_is_object
#undef json_is_array
#undef json_is_string
#undef json_is_null

#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/* struct json is never defined: a pointer to it is a json_t pointer. */
static json_t *inner(const struct json *v)
{
	return (json_t *)v;
}

/* jansson reports no other failure from a constructor than lack of memory. */
static struct json *outer(json_t *v)
{
	invariant(v != NULL);
	return (struct json *)v;
}

static const json_t *typed(const struct json *v, json_type type)
{
	const json_t *j = inner(v);
	return j && json_typeof(j) == type ? j : NULL;
}

struct json *json_object(void)
{
	return outer(jansson_object());
}

struct json *json_array(void)
{
	return outer(jansson_array());
}

/* Length of the well-formed UTF-8 sequence at p (Unicode table 3-7), or 0. NUL is not
 * accepted: as \u0000 it would cut C strings short behind the reader's back. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
	if (p[0] < 0x80)
		return p[0] != 0;
	size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || len > left)
		return 0;
	uint8_t lo = 0x80, hi = 0xbf;
	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

/* A zero-terminated copy with U+FFFD for each byte that is no UTF-8, in w. */
static void clean_utf8(struct writer *w, const char *bytes, size_t len)
{
	writer_init(w, 0);
	for (size_t i = 0; i < len;) {
		const uint8_t *p = (const uint8_t *)bytes + i;
		size_t n = utf8_sequence(p, len - i);
		if (n)
			writer_raw(w, p, n);
		else
			writer_raw(w, "\xef\xbf\xbd", 3);
		i += n ? n : 1;
	}
	writer_u8(w, 0);
}

struct json *json_string(const char *utf8)
{
	return json_string_n(utf8, strlen(utf8));
}

struct json *json_string_n(const char *bytes, size_t len)
{
	struct writer w;
	clean_utf8(&w, bytes, len);
	struct json *v = outer(json_stringn_nocheck((const char *)w.buf, w.len - 1));
	writer_free(&w);
	return v;
}

struct json *json_int(int64_t v)
{
	return outer(json_integer(v));
}

struct json *json_u64(uint64_t v)
{
	return v <= INT64_MAX ? json_int((int64_t)v) : json_u64_string(v);
}

struct json *json_u64_string(uint64_t v)
{
	char text[24];
	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	return json_string(text);
}

struct json *json_real(double v)
{
	return isfinite(v) ? outer(jansson_real(v)) : json_null(); /* JSON has no others */
}

struct json *json_bool(bool v)
{
	return outer(json_boolean(v));
}

struct json *json_null(void)
{
	return outer(jansson_null());
}

struct json *json_hex(const void *ptr, size_t len)
{
	char *text = mem_alloc(2 * len + 1);
	hex_encode(text, ptr, len);
	struct json *v = outer(json_stringn_nocheck(text, 2 * len));
	mem_free(text);
	return v;
}

void json_free(struct json *v)
{
	json_decref(inner(v));
}

void json_set(struct json *object, const char *key, struct json *value)
{
	struct writer w;
	invariant(json_is_object(object) && value != NULL);
	clean_utf8(&w, key, strlen(key));
	int rc = json_object_set_new_nocheck(inner(object), (const char *)w.buf, inner(value));
	writer_free(&w);
	invariant(rc == 0);
}

void json_append(struct json *array, struct json *value)
{
	invariant(json_is_array(array) && value != NULL);
	int rc = json_array_append_new(inner(array), inner(value));
	invariant(rc == 0);
}

struct json *json_get(const struct json *v, const char *key)
{
	return (struct json *)json_object_get(inner(v), key);
}

struct json *json_at(const struct json *array, size_t index)
{
	return (struct json *)json_array_get(inner(array), index);
}

size_t json_len(const struct json *v)
{
	if (json_is_array(v))
		return json_array_size(inner(v));
	return json_object_size(inner(v));
}

bool json_is_object(const struct json *v)
{
	return typed(v, JSON_OBJECT);
}

bool json_is_array(const struct json *v)
{
	return typed(v, JSON_ARRAY);
}

bool json_is_string(const struct json *v)
{
	return typed(v, JSON_STRING);
}

bool json_is_null(const struct json *v)
{
	return typed(v, JSON_NULL);
}

const char *json_key_at(const struct json *object, size_t i)
{
	json_t *o = inner(object);
	void *it = json_object_iter(o);
	while (it && i-- > 0)
		it = json_object_iter_next(o, it);
	return it ? json_object_iter_key(it) : NULL;
}

const char *json_key_next(const struct json *object, const char *key)
{
	json_t *o = inner(object);
	void *it = key ? json_object_iter_next(o, json_object_key_to_iter(key))
		       : json_object_iter(o);
	return it ? json_object_iter_key(it) : NULL;
}

int json_as_string(const struct json *v, const char **out)
{
	if (!v)
		return ERR_NOT_FOUND;
	if (!json_is_string(v))
		return ERR_SYNTAX;
	*out = json_string_value(inner(v));
	return ERR_NONE;
}

/* Decimal digits without sign, space or leading zeros. */
static int parse_u64(const char *text, uint64_t *out)
{
	uint64_t v = 0;
	if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
		return ERR_SYNTAX;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return ERR_SYNTAX;
		unsigned digit = (unsigned)(*text - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return ERR_SYNTAX;
		v = v * 10 + digit;
	}
	*out = v;
	return ERR_NONE;
}

int json_as_u64(const struct json *v, uint64_t *out)
{
	if (!v)
		return ERR_NOT_FOUND;
	if (json_is_string(v))
		return parse_u64(json_string_value(inner(v)), out);
	if (!typed(v, JSON_INTEGER) || json_integer_value(inner(v)) < 0)
		return ERR_SYNTAX;
	*out = (uint64_t)json_integer_value(inner(v));
	return ERR_NONE;
}

int json_as_real(const struct json *v, double *out)
{
	uint64_t whole;
	if (!v)
		return ERR_NOT_FOUND;
	if (json_is_string(v)) {
		if (parse_u64(json_string_value(inner(v)), &whole))
			return ERR_SYNTAX;
		*out = (double)whole;
		return ERR_NONE;
	}
	if (!typed(v, JSON_INTEGER) && !typed(v, JSON_REAL))
		return ERR_SYNTAX;
	*out = json_number_value(inner(v));
	return ERR_NONE;
}

int json_as_bool(const struct json *v, bool *out)
{
	if (!v)
		return ERR_NOT_FOUND;
	if (!typed(v, JSON_TRUE) && !typed(v, JSON_FALSE))
		return ERR_SYNTAX;
	*out = typed(v, JSON_TRUE) != NULL;
	return ERR_NONE;
}

int json_as_hex(const struct json *v, void *out, size_t len)
{
	const char *text;
	int err = json_as_string(v, &text);
	return err ? err : hex_decode(out, len, text);
}

int json_read_string(const struct json *object, const char *key, const char **out)
{
	return json_as_string(json_get(object, key), out);
}

int json_read_u64(const struct json *object, const char *key, uint64_t *out)
{
	return json_as_u64(json_get(object, key), out);
}

int json_read_bool(const struct json *object, const char *key, bool *out)
{
	return json_as_bool(json_get(object, key), out);
}

int json_read_hex(const struct json *object, const char *key, void *out, size_t len)
{
	return json_as_hex(json_get(object, key), out, len);
}

/* jansson's own limit of depth is a compile-time 2048 and it stops at a zero byte. */
static int prescan(struct slice text, struct errmsg *m)
{
	bool quoted = false;
	int depth = 0, line = 1;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (c == 0)
			return err_set(m, ERR_SYNTAX, "line %d: zero byte", line);
		if (c == '\n')
			line++;
		if (quoted) {
			if (c == '\\')
				i++; /* a zero byte here is no escape: jansson refuses it */
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JSON_DEPTH_MAX)
				return err_set(m, ERR_LIMIT, "line %d: nested deeper than %d",
					       line, JSON_DEPTH_MAX);
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return ERR_NONE;
}

int json_parse(struct json **out, struct slice text, struct errmsg *m)
{
	json_error_t error;
	*out = NULL;
	int err = prescan(text, m);
	if (err)
		return err;
	json_t *v = json_loadb(text.len ? (const char *)text.ptr : "", text.len,
			       JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (v) {
		*out = outer(v);
		return ERR_NONE;
	}
	for (char *p = error.text; *p; p++) /* it quotes the input */
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	return err_set(m, ERR_SYNTAX, "line %d, column %d: %s", error.line, error.column,
		       error.text);
}

static int read_file(struct writer *w, const char *path, size_t max_size, struct errmsg *m)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		int code = errno == ENOENT   ? ERR_NOT_FOUND
			   : errno == EACCES ? ERR_PERMISSION
					     : ERR_IO;
		return err_set(m, code, "cannot open %s: %s", path, strerror(errno));
	}
	int err = ERR_NONE;
	uint8_t chunk[16384];
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = err_set(m, ERR_IO, "cannot read %s: %s", path, strerror(errno));
		if (n <= 0)
			break;
		writer_raw(w, chunk, (size_t)n);
		if (w->len > max_size) {
			err = err_set(m, ERR_LIMIT, "%s is larger than %zu bytes", path,
				      max_size);
			break;
		}
	}
	close(fd);
	return err;
}

int json_parse_file(struct json **out, const char *path, size_t max_size, struct errmsg *m)
{
	struct writer w;
	struct errmsg inner_msg = {""};
	*out = NULL;
	writer_init(&w, 0);
	int err = read_file(&w, path, max_size, m);
	if (!err) {
		err = json_parse(out, writer_slice(&w), &inner_msg);
		if (err)
			err_set(m, err, "%s: %s", path, inner_msg.text);
	}
	writer_free(&w);
	return err;
}

static int dump_chunk(const char *buffer, size_t size, void *data)
{
	writer_raw(data, buffer, size);
	return 0;
}

char *json_dump(const struct json *v, bool pretty)
{
	/* 15 digits: every decimal figure that short survives, and 0.1 stays 0.1. */
	size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(15) |
		       (pretty ? JSON_INDENT(2) : JSON_COMPACT);
	struct writer w;
	size_t len;
	writer_init(&w, 0);
	int rc = json_dump_callback(inner(v), dump_chunk, &w, flags);
	invariant(rc == 0);
	writer_u8(&w, 0);
	return (char *)writer_take(&w, &len);
}
