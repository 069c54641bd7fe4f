/* The API's TCP connections: how many, whose, and how long each may take. libmicrohttpd knows
 * only silence; whoever sends a byte a minute is not silent. Here each phase of a connection
 * has an end, and when all places are taken a newcomer displaces one of the address that holds
 * most of them: first one that has not yet sent a whole request, then one that idles, the
 * oldest first. One that waits for an answer, or streams, is never displaced.
 *
 * Here is counted, too, what is held for them all: bodies that come in, answers that go out.
 * Each may hold a little (CONNECTION_FREE_BYTES) whatever the others hold, so that no crowd
 * shuts out small requests. When little room is left for the rest, those go that have been
 * sending or reading theirs for long. */
#ifndef NODE_CONNECTIONS_H
#define NODE_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define CONNECTION_IDLE_MS   75000 /* between requests */
#define CONNECTION_STREAM_MS 60000 /* for the reader of a stream to read anything */
#define CONNECTION_SPARE     512 /* on top, while the displaced are being closed */
#define CONNECTION_EXPECTED_MAX	 32  /* on their way from the acceptor to connections_add() */
#define CONNECTION_EXPECTED_MS	 500 /* what has not come by then will not */
#define CONNECTION_FREE_BYTES (64u << 10) /* of each holding of each, not counted */
#define CONNECTION_GRACE_MS   2000 /* to send a body or read an answer, whatever others want */

enum connection_phase {
	CONNECTION_READING, /* a request that is not here whole */
	CONNECTION_IDLE,
	CONNECTION_WRITING,
	CONNECTION_WORKING, /* the node has the request, and its deadline */
	CONNECTION_STREAMING,
	CONNECTION_PHASES
};
const char *connection_phase_name(enum connection_phase p);

/* What the node keeps in memory for a connection. */
enum holding {
	HOLDING_BODY,	/* what has come of it */
	HOLDING_ANSWER, /* until all of it is sent */
	HOLDINGS
};

struct connections_config {
	unsigned max;
	unsigned spare;	      /* besides, that are being closed, or are on their way */
	unsigned per_address; /* of one address other than loopback; 0: max */
	uint32_t request_ms;  /* to send a request; twice that to read its answer; 0: default */
	uint32_t grace_ms;    /* 0: CONNECTION_GRACE_MS */
	size_t held_max[HOLDINGS]; /* of all together; 0: no limit */
};
struct connections; /* opaque; any thread */
struct connection;  /* opaque */

struct connections *connections_new(const struct connections_config *config);
void connections_free(struct connections *c); /* all are removed */
/* Before it is accepted: false if its address has too many. */
bool connections_admit(struct connections *c, const struct sockaddr *from);
/* True: there is room, and one more is on its way to connections_add(). */
bool connections_expect(struct connections *c);
void connections_expect_less(struct connections *c); /* it does not come */
struct connection *connections_add(struct connections *c, int fd, const struct sockaddr *from);
void connections_remove(struct connection *x); /* before its fd is closed */
void connection_enter(struct connection *x, enum connection_phase p);
void connection_progress(struct connection *x); /* of a stream */
/* x holds so many bytes now, and no longer what it held. False: it would be more, and that is
 * too much together; it holds what it held. One alone may hold anything. */
bool connection_hold(struct connection *x, enum holding what, size_t bytes);
/* The same for what is there already and cannot be refused any more. */
void connection_must_hold(struct connection *x, enum holding what, size_t bytes);
/* Ends those whose request is not here whole, and those between two: nothing was begun. */
void connections_cut_idle(struct connections *c);

struct connections_stats {
	unsigned open, phase[CONNECTION_PHASES];
	uint64_t accepted, refused, displaced, late;
	size_t held[HOLDINGS];
};
void connections_stats(struct connections *c, struct connections_stats *out);

#endif
