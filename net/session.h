/* What outlives a connection between two peers: numbering, acknowledgement, resend, dedup and
 * the bounded queues. Pure: no I/O, no clock, no locks; the caller serialises.
 *
 * Each class is numbered from 1. A numbering holds between one instance (process life) of
 * ours and one of the peer's; both tell theirs in GREET, the first frame each way on every
 * connection. If each knows the other's, both go on where the peer says it stands; if not,
 * both start anew. Then a message that went out to an instance now gone is dropped (it may
 * have arrived: at most once), one that never left is kept. */
#ifndef NET_SESSION_H
#define NET_SESSION_H

#include "net/frame.h"

/* Without a pure acknowledgement the peer may leave as much unacknowledged. */
#define SESSION_ACK_MESSAGES 64
#define SESSION_ACK_BYTES    (256u << 10)

struct message; /* a queued copy */

struct session_class {
	struct message *head, *tail; /* acked + 1 is the head's number */
	struct message *next;	     /* first not yet sent on this connection; NULL: none */
	uint64_t acked;		     /* the peer has all up to here */
	uint64_t cursor;	     /* last sent on this connection */
	uint64_t sent;		     /* last sent ever in this numbering */
	uint64_t delivered;	     /* received in order up to here */
	uint64_t told;		     /* the last acknowledgement we sent */
	size_t count, bytes;	     /* queued, unacknowledged included */
	uint64_t dropped;	     /* the queue was full */
};

struct session {
	uint64_t instance; /* ours */
	uint64_t peer;	   /* the peer's instance; 0: never met */
	bool greeted;	   /* on this connection */
	struct session_class class[NET_CLASSES];
	size_t untold_messages, untold_bytes; /* delivered since the last acknowledgement */
	/* counters */
	uint64_t sent_messages, sent_bytes, resent_messages, dropped_messages;
	uint64_t received_messages, received_bytes;
};

void session_init(struct session *s, uint64_t instance); /* instance != 0 */
void session_free(struct session *s);

/* Makes the copy that session_queue() takes: outside of the caller's lock. */
struct message *message_new(struct slice msg);
/* Takes m in any case. ERR_BUSY: the queue is full, m is freed and counted. */
int session_queue(struct session *s, enum net_class class, struct message *m);

/* A new connection: rewinds to what is not acknowledged and fills in our GREET. */
void session_greet(struct session *s, struct frame *out);
/* The peer's GREET; ERR_RANGE if it claims what cannot be. Nothing is picked before. */
int session_greeted(struct session *s, const struct frame *f);

/* The next DATA frame to send, lowest class first; false: none. The payload lies in the queue
 * and stays until the next call that changes the session. */
bool session_pick(struct session *s, struct frame *out);
bool session_pending(const struct session *s); /* would pick find one */

/* A received DATA frame: 1 to deliver it, 0 a repeat, ERR_RANGE for a gap or an impossible
 * acknowledgement (the connection is then broken). */
int session_receive(struct session *s, const struct frame *f);
int session_ack(struct session *s, const struct frame *f); /* ACK; ERR_RANGE as above */

bool session_untold(const struct session *s);  /* something delivered is not acknowledged */
bool session_ack_due(const struct session *s); /* so much that it should be at once */
void session_make_ack(struct session *s, struct frame *out);

size_t session_queued(const struct session *s, size_t *bytes);

#endif
