/* What of the API is plain text and bytes: problem documents, percent-encoding, the framing of
 * submissions. No MHD here. docs/api.md is the contract. */
#ifndef NODE_HTTP_H
#define NODE_HTTP_H

#include "base/json.h"
#include "crypto/hash.h"

#define HTTP_BODY_MAX		(8u << 20)
#define HTTP_JSON_BODY_MAX	(512u << 10) /* one transaction in hex, with room to spare */
#define HTTP_SUBMISSIONS_MAX	4096	     /* transactions of one request */
#define HTTP_TIMEOUT_DEFAULT_MS 10000
#define HTTP_TIMEOUT_MAX_MS	120000

/* RFC 9457. status 0: no problem. */
struct problem {
	unsigned status;
	const char *code;     /* static */
	const char *title;    /* static */
	const char *hint;     /* static or NULL */
	char detail[512];     /* may be empty */
	unsigned retry_after; /* seconds; 0: no such header */
	bool has_tx;
	struct hash tx;
};
/* Fills p for an error of the node's own making or of a client's bytes. detail (may be NULL)
 * replaces the phrase of err. */
void problem_of(struct problem *p, int err, const char *detail);
/* For what has no enum err: status, code and title are the caller's. */
void problem_set(struct problem *p, unsigned status, const char *code, const char *title,
		 const char *detail, const char *hint);
struct json *problem_json(const struct problem *p);

/* Decodes %XX in place semantics: out has room for strlen(text) bytes. "+" stays "+".
 * ERR_SYNTAX for a % that two hex digits do not follow. */
int percent_decode(uint8_t *out, size_t *len, const char *text);

/* {u32 length, bytes} repeated: slices into body, mem_free(*txs). ERR_TRUNCATED, ERR_LIMIT
 * (over max of them, or one longer than size_max), ERR_RANGE (none, or an empty one). */
int submission_split(struct slice **txs, uint32_t *count, struct slice body, uint32_t max,
		     uint32_t size_max, struct errmsg *m);
/* {"tx": hex}: *bytes is mem_free'd by the caller. */
int submission_json(uint8_t **bytes, size_t *len, struct slice body, struct errmsg *m);

/* Exact parameter values: digits only; "1", "true" or nothing for true, "0" or "false". */
int http_u64(const char *text, uint64_t *out);
int http_flag(const char *text, bool *out);

#endif
