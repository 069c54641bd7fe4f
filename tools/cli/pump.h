/* Many HTTP/1.1 connections in one thread, for load: one request under way on each, no thread
 * and no copy more than it takes. Plain http:// only; http.h has the rest. */
#ifndef TOOLS_CLI_PUMP_H
#define TOOLS_CLI_PUMP_H

#include "base/bytes.h"
#include "base/err.h"

#define PUMP_CONNECTIONS_MAX 512

struct pump; /* opaque */

struct pump_event {
	enum { PUMP_REPLY, PUMP_BROKEN } kind;
	unsigned connection;
	unsigned status;   /* REPLY */
	struct slice body; /* REPLY: lent until the next call */
	bool maybe_sent;   /* BROKEN: the request may have been delivered */
};

/* wake_fd (-1: none): pump_next() returns when it is readable, too. */
struct pump *pump_new(unsigned connections, int wake_fd);
void pump_free(struct pump *p);
/* Begins a connection, closing the one that was there. ERR_SYNTAX: not an http:// URL;
 * ERR_UNREACHABLE: no such host. Whether anybody answers shows as PUMP_BROKEN. */
int pump_connect(struct pump *p, unsigned connection, const char *url);
/* Neither closed nor with a request under way. */
bool pump_idle(const struct pump *p, unsigned connection);
bool pump_closed(const struct pump *p, unsigned connection);
/* POSTs on an idle connection. path with its query; headers: lines that end in CRLF. */
void pump_post(struct pump *p, unsigned connection, const char *path, const char *headers,
	       struct slice body);
/* Gives up a request, and the connection with it; no event comes of it. */
void pump_close(struct pump *p, unsigned connection);
/* False: timeout_us have passed, or wake_fd is readable. */
bool pump_next(struct pump *p, uint64_t timeout_us, struct pump_event *out);

#endif
