/* Server-sent events as nodes send them: a parser for the stream, and a subscription that goes
 * on where it was after a lost connection, with another node if need be. */
#ifndef TOOLS_CLI_EVENTS_H
#define TOOLS_CLI_EVENTS_H

#include "tools/cli/client.h"

#define SSE_EVENT_MAX  (16u << 20) /* bytes of one event */
#define SSE_CURSOR_MAX 64

/* One event; strings are zero-terminated and lent for the call. id: the newest one seen. */
struct sse_event {
	const char *type; /* "message" if the stream does not say */
	const char *id;
	const char *data;
};
struct sse_parser {
	struct writer line, data, type;
	char id[SSE_CURSOR_MAX], next_id[SSE_CURSOR_MAX];
	bool has_data, after_cr, started;
	uint64_t retry_ms; /* 0: not said */
	/* false ends the stream */
	bool (*on_event)(void *arg, const struct sse_event *e);
	void *arg;
};
void sse_init(struct sse_parser *p, bool (*on_event)(void *arg, const struct sse_event *e),
	      void *arg);
void sse_free(struct sse_parser *p);
void sse_reset(struct sse_parser *p); /* a new connection; keeps the id */
/* ERR_LIMIT: an event is too long. ERR_CLOSED: on_event() has had enough. */
int sse_feed(struct sse_parser *p, struct slice bytes);

/* Follows types ("blocks,txs") from cursor on (NULL: from now), until on_event() says no more
 * or no node could be reached for patience_ms. Prints errors; exit code, EXIT_DONE if
 * on_event() ended it. */
struct subscription {
	struct target *t;
	const char *types, *from;
	uint64_t patience_ms;
	bool (*on_event)(void *arg, const struct sse_event *e);
	/* A connection stands again after one was lost; may be NULL. */
	void (*on_resume)(void *arg, const char *url, const char *cursor);
	void *arg;
};
int subscribe(struct cli *c, const struct subscription *s);

#endif
