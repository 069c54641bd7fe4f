/* The network between the nodes of a live run: every link goes through here, in this process,
 * as any user. A thread of its own forwards bytes on 127.0.0.1 and, on the way, holds back,
 * delays, throttles or cuts them.
 *
 * The links are encrypted, authenticated and numbered (docs/net.md), and TCP carries them:
 * bytes that were dropped, doubled or swapped here would be no fault of a network, since TCP
 * mends those, but a forgery, which ends the connection. So faults are what TCP makes of them:
 *
 * - cut, one way or both: what is sent that way is held back and goes on when the cut ends; a
 *   connection that was silent for too long has been given up by its ends by then. No new
 *   connection is made while either way is cut, as no handshake of TCP would come through.
 * - delay: each piece read waits for a time drawn from the range; order is kept, so a late one
 *   holds up those behind it (jitter).
 * - loss: a piece that is lost is sent again after RELAY_RTO_US, that again after twice as
 * long; what is behind it waits.
 * - throttle: bytes a second, with a queue of RELAY_QUEUE_US before the sender is held up.
 * - reset: connections end at once, at both ends. */
#ifndef TOOLS_LAB_RELAY_H
#define TOOLS_LAB_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define RELAY_NODES_MAX	      64
#define RELAY_CONNECTIONS_MAX 16	  /* of a link; more wait to be accepted */
#define RELAY_HOLD_MAX	      (1u << 20)  /* bytes held of one way of one connection ... */
#define RELAY_PIECE	      (16u << 10) /* ... but for one piece of this at most */
#define RELAY_QUEUE_US	      250000
#define RELAY_RTO_US	      200000 /* Linux' least retransmission timeout */
#define RELAY_RTO_MAX_US      3200000

struct relay; /* opaque */

struct relay_way { /* from one node to another; zero: nothing is wrong */
	bool cut;
	uint64_t delay_min_us, delay_max_us;
	uint32_t loss_per_mille; /* below 1000 */
	uint64_t bytes_per_s;	 /* 0: no limit */
};
struct relay_stats {
	uint64_t bytes;		      /* passed on */
	uint64_t pieces, lost;	      /* read; of these, lost at least once */
	uint64_t connections, resets; /* made; ended by relay_reset() */
	uint64_t held, held_max;      /* bytes that wait, now and at most, of one connection */
};

/* ERR_IO in m. The seed decides delays and losses. */
int relay_open(struct relay **out, uint64_t seed, struct errmsg *m);
void relay_close(struct relay *r); /* ends all connections; NULL is fine */
/* A link: dialer will connect to *port here instead of to target, where acceptor listens.
 * ERR_IO in m. Before anybody connects, from one thread. */
int relay_link(struct relay *r, unsigned dialer, unsigned acceptor, uint16_t target,
	       uint16_t *port, struct errmsg *m);
/* From now on, for what is not yet on its way; the end of a cut lets go what it held. */
void relay_set(struct relay *r, unsigned from, unsigned to, const struct relay_way *way);
/* Ends the connections between the two. */
void relay_reset(struct relay *r, unsigned a, unsigned b);
void relay_stats(struct relay *r, struct relay_stats *out);

#endif
