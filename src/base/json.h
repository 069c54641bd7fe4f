/* JSON over jansson, whose types stay inside json.c. A value is reference counted by its
 * container: the *_set and *_append functions take ownership of the value they are given,
 * json_get and json_at lend. 64-bit integers are exact. Duplicate object keys are refused. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/bytes.h"
#include "base/err.h"

struct json; /* opaque */

/* jansson exports functions of these names, and a program that defines them too would
 * take the calls inside libjansson.so. Hence other symbols behind the same names. */
#define json_object base_json_object
#define json_array  base_json_array
#define json_string base_json_string
#define json_real   base_json_real
#define json_null   base_json_null

#define JSON_DEPTH_MAX 32

struct json *json_object(void);
struct json *json_array(void);
struct json *json_string(const char *utf8); /* invalid UTF-8 becomes "\ufffd" characters */
struct json *json_string_n(const char *bytes, size_t len);
struct json *json_int(int64_t v);
struct json *json_u64(uint64_t v);	  /* a number; a string above INT64_MAX, which no
					   * honest one is, but a corrupt disk's may be */
struct json *json_u64_string(uint64_t v); /* decimal digits in a string */
struct json *json_real(double v);
struct json *json_bool(bool v);
struct json *json_null(void);
struct json *json_hex(const void *ptr, size_t len);
void json_free(struct json *v); /* NULL is fine */

void json_set(struct json *object, const char *key, struct json *value);
void json_append(struct json *array, struct json *value);

/* Lent; NULL if absent or v is not an object. */
struct json *json_get(const struct json *v, const char *key);
struct json *json_at(const struct json *array, size_t index); /* lent; NULL out of range */
size_t json_len(const struct json *v); /* members of an array or object, else 0 */
bool json_is_object(const struct json *v);
bool json_is_array(const struct json *v);
bool json_is_string(const struct json *v);
bool json_is_null(const struct json *v); /* JSON null, not the C NULL */
/* Iterates an object's keys in document order; lent strings. i counts from 0; NULL at end. */
const char *json_key_at(const struct json *object, size_t i); /* walks i members */
/* The same without the walk: key NULL asks for the first, else it is a key lent by this
 * object. For objects whose size others decide. */
const char *json_key_next(const struct json *object, const char *key);

/* Typed reads of object members: ERR_NOT_FOUND if absent, ERR_SYNTAX if of another type.
 * Numbers are accepted as JSON integers or as strings of decimal digits. */
int json_read_string(const struct json *object, const char *key, const char **out);
int json_read_u64(const struct json *object, const char *key, uint64_t *out);
int json_read_bool(const struct json *object, const char *key, bool *out);
int json_read_hex(const struct json *object, const char *key, void *out, size_t len);
/* Value reads of v itself, same rules; NULL v is ERR_NOT_FOUND. */
int json_as_string(const struct json *v, const char **out);
int json_as_u64(const struct json *v, uint64_t *out);
int json_as_real(const struct json *v, double *out);
int json_as_bool(const struct json *v, bool *out);
int json_as_hex(const struct json *v, void *out, size_t len);

/* m (may be NULL) names line and column. */
int json_parse(struct json **out, struct slice text, struct errmsg *m);
int json_parse_file(struct json **out, const char *path, size_t max_size, struct errmsg *m);
/* mem_free the result. Keys keep insertion order. */
char *json_dump(const struct json *v, bool pretty);

#endif
