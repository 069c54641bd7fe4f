/* HTTP requests over libcurl, whose types stay inside http.c. One struct http a thread; it
 * keeps connections open between calls. */
#ifndef TOOLS_CLI_HTTP_H
#define TOOLS_CLI_HTTP_H

#include "base/bytes.h"
#include "base/err.h"

#define HTTP_REPLY_MAX (64u << 20)

struct http;
struct http_reply {
	unsigned status;	 /* HTTP's, such as 200 */
	uint32_t retry_after_ms; /* 0: not said */
	struct writer body;	 /* zero-terminated one byte past its len */
};

void http_start(void); /* once, before threads */
struct http *http_new(void);
void http_free(struct http *h);
void http_reply_free(struct http_reply *r);

/* body.ptr NULL: no body. reply must be zeroed or used before. A reply of any status is
 * ERR_NONE. ERR_UNREACHABLE: nothing can have been delivered. ERR_CLOSED, ERR_TIMEOUT: the
 * request may have been. ERR_LIMIT: the reply is too long. ERR_SYNTAX: no such URL. */
int http_call(struct http *h, const char *method, const char *url, const char *content_type,
	      struct slice body, uint64_t timeout_ms, struct http_reply *reply,
	      struct errmsg *m);

/* GET of a stream without an end. last_event_id "" sends no such header. A body of status 200
 * goes to on_bytes (false ends it, ERR_CLOSED), any other into reply. Ends too when nothing at
 * all came for first_ms, or nothing more for silence_ms (ERR_TIMEOUT), and with ERR_NONE when the
 * other side ends it. */
int http_stream(struct http *h, const char *url, const char *last_event_id, uint64_t first_ms,
		uint64_t silence_ms, bool (*on_bytes)(void *arg, struct slice bytes), void *arg,
		struct http_reply *reply, struct errmsg *m);
/* The access token that requests to the node at url (such as http://127.0.0.1:7100) bear from
 * then on; url NULL: all requests, whatever was said of one node. */
void http_set_token(const char *url, const char *token);
/* The header's line for a request to url, without its end; "" for none. Never freed. */
const char *http_token_header(const char *url);

/* Appends text to a path or query with everything but A-Z a-z 0-9 - _ . ~ escaped. */
void http_escape(struct writer *w, struct slice text);

#endif
