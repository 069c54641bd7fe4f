/* Takes connections from the API's listening socket and hands them to libmicrohttpd's threads
 * one after the other. Those threads would take up to ten in a row themselves, so that what a
 * client opens at the same moment is served by one or two of them; and each checks the
 * signatures of what its connections bring. */
#ifndef NODE_ACCEPTOR_H
#define NODE_ACCEPTOR_H

#include <stdbool.h>

struct MHD_Daemon;
struct acceptor; /* opaque */

/* libmicrohttpd must never come to its own limit of connections: in 0.9.75 a thread that is handed
 * one too many waits for ever for a lock that it holds itself. So whoever counts them says before
 * each whether there is room; who has to wait stays in the kernel's queue. */
struct acceptor_host {
	void *ctx;
	bool (*room)(void *ctx);    /* true: one more is expected */
	void (*refused)(void *ctx); /* it does not come */
};

/* fd listens and does not block; it is the acceptor's from here on. The daemon has no listening
 * socket of its own (MHD_USE_NO_LISTEN_SOCKET). NULL: there is no thread to be had, and fd is
 * still the caller's. */
struct acceptor *acceptor_start(struct MHD_Daemon *daemon, int fd,
				const struct acceptor_host *host);
/* Before the daemon is stopped. Who is still in the kernel's queue is refused. */
void acceptor_stop(struct acceptor *a);

#endif
