/* Shared by net.c, peer.c, link.c, accept.c and keeper.c only.
 *
 * Threads: NNG's (callbacks of aios), the caller's, and one keeper thread for each struct net,
 * which does what the clock asks for (dialing, acknowledgements, keepalives, deadlines) and is
 * the only one that frees links, so that it may wait for callbacks without holding up NNG.
 *
 * Locks: peer->lock, then net->lock; neither is held during I/O, encryption or nng_aio_stop().
 *
 * A link is owned by turns: the receiving side by the one receive that is under way (or, while
 * stalled, by nobody), the sending side by whoever set tx_busy. The receiving side may use the
 * channel to open while the sending side uses it to seal. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/random.h"
#include "net/frame.h"
#include "net/net.h"
#include "net/session.h"

#define BATCH_BYTES  (128u << 10) /* sealed into one write, if so much waits */
#define DIRECT_BYTES (16u << 10)  /* longer messages are sealed by NNG's threads */
#define DIRECT_BURST 4		  /* messages that the caller seals itself ... */
#define DIRECT_US    200	  /* ... in so much time, before NNG's threads take over */
#define RX_BYTES     (64u << 10)  /* receive buffer of an open link */
#define KEEP_BYTES   (1u << 20)	  /* larger buffers are given back after use */
#define TAKE_NODES   64		  /* events that net_next() takes from a peer in turn ... */
#define TAKE_BYTES   (256u << 10) /* ... or so much, if that is less */
#define TICK_US	     20000	  /* a pure acknowledgement waits as long at most */

/* A received frame, then an event. */
struct event_node {
	struct event_node *next;
	struct frame frame;
	enum net_event_kind kind;
	uint8_t data[];
};
struct event_list {
	struct event_node *head, *tail;
};
void event_push(struct event_list *l, struct event_node *n);
struct event_node *event_pop(struct event_list *l);
void event_clear(struct event_list *l);

#define REFUSED_MARK 0xff /* first byte of a handshake message that only says why */
#define REFUSED_SIZE 3

enum link_state { LINK_HANDSHAKE, LINK_OPEN };

struct link {
	struct link *next; /* in net->links, under net->lock */
	struct net *net;
	struct peer *peer; /* dialed: from the start; accepted: once it has proved its key */
	bool dialed;
	nng_stream *stream;
	nng_aio *recv_aio, *send_aio;
	nng_aio *try_aio; /* without callback, for sends that finish at once */
	atomic_bool dead; /* the keeper will free it */
	atomic_int users; /* threads other than callbacks that hold a pointer */
	atomic_ullong last_rx_us;
	char address[64];

	/* under net->lock */
	bool unproved;
	uint64_t born_us;
	uint32_t source[4]; /* address without port, IPv6 cut to its /64 */
	bool spoke;	    /* something has come */
	bool turn;	    /* may do the arithmetic of a handshake */
	bool waiting;	    /* in net->turns */
	struct link *turn_next;

	/* receiving side */
	enum link_state state;
	struct channel *channel;
	uint8_t *rx;
	size_t rx_len, rx_cap;
	size_t rx_want;		  /* the buffer has to grow to this */
	int told_err;		  /* what the other side says is wrong with us */
	int rx_err;		  /* to be refused once the frames before are applied */
	struct event_list frames; /* decrypted, not yet applied */

	/* under peer->lock, once peer->link points here */
	bool up;	/* the peer's GREET has come */
	uint64_t up_us; /* then */
	bool stalled;
	bool tx_busy;
	bool greet_due, ping_due, ack_due;
	struct frame greet;
	uint64_t pong_due; /* number to answer; 0: none */
	uint64_t ping_number, ping_us, ponged;
	uint64_t tended_us, heard_us; /* last keepalive; last_rx_us then */
	unsigned silent;	      /* keepalives since then without a byte from the peer */
	uint64_t burst_us;
	unsigned burst;

	/* sending side */
	struct writer plain, sealed;
	size_t sealed_sent;
};

struct peer {
	struct net *net;
	unsigned index;
	struct pubkey key;
	bool self; /* our own entry: no link to it */
	bool dial;
	nng_stream_dialer *dialer;
	nng_aio *dial_aio;

	pthread_mutex_t lock;
	struct session session;
	struct link *link; /* the one that counts; NULL: none */
	bool blocked;
	bool dialing; /* until the dialed link is gone */
	uint64_t dial_us;
	uint32_t backoff_ms;
	struct event_list inbox;
	size_t inbox_bytes;
	uint64_t connects, refused_frames, rtt_us;
	uint64_t changed_us; /* came up, went down, or began */
	uint64_t heard_us;   /* last byte of links that are gone; 0: never */
	uint64_t failures;
	char error[NET_ERROR_SIZE];
	uint64_t error_us;
	bool clock_known;
	int64_t clock_offset_ms;
	struct random random; /* jitter */
};

struct net {
	struct keypair identity;
	struct hash chain;
	uint32_t reconnect_min_ms, reconnect_max_ms, keepalive_ms;
	uint16_t port;
	unsigned peer_count;
	struct peer *peers;
	nng_stream_listener *listener;
	nng_aio *accept_aio;
	atomic_ullong handshakes_refused;

	/* events: bit i of ready says that peer i's inbox may have some */
	int event_fd;
	atomic_ullong ready;
	atomic_bool signalled;
	/* the caller's thread only */
	struct event_list taken;
	unsigned taken_peer;
	struct event_node *current;
	bool held;
	uint64_t held_peers; /* bit i: something was queued for peer i since then */
	size_t held_bytes[NET_PEERS_MAX];

	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool awake, closing;
	struct net_refusal refusal[NET_REFUSALS_MAX]; /* ago_us: when, here */
	unsigned refusal_count;
	bool accept_paused;
	struct link *links;
	unsigned unproved; /* accepted links among them that hold a handshake slot */
	unsigned dying;	   /* dead ones, not yet freed */
	bool turn_taken;
	struct link *turns; /* waiting for it, first come first */
	pthread_t keeper;
};

uint64_t clock_us(void);
uint64_t wall_clock_ms(void);

/* link.c: one connection */
struct link *link_new(struct net *net, nng_stream *stream, struct peer *dialed_to);
int link_start(struct link *l); /* begins the handshake; a failed link is dead, no more */
void link_kill(struct link *l); /* from any thread, any number of times */
void link_unuse(struct link *l);
bool link_resume(struct link *l);	 /* reads on; false: the keeper has stopped it */
void link_wait_receiver(struct link *l); /* keeper only: no receive callback any more */
void link_free(struct link *l);		 /* keeper only */

/* send.c: the sending side. l == peer->link and tx_busy just set by the caller, who holds
 * peer->lock; both return with it released. */
void send_now(struct peer *p, struct link *l);	 /* in this thread */
void send_later(struct peer *p, struct link *l); /* in one of NNG's */
void on_sent(void *arg);
bool send_plainly(struct link *l, struct slice bytes); /* handshake only; false: broken */

/* peer.c */
int peer_adopt(struct peer *p, struct link *l); /* the newest proved link counts */
void peer_detach(struct peer *p, struct link *l);
/* Applies l's decrypted frames: 1 done, 0 stalled, an error: the link is to be killed. */
int peer_apply(struct peer *p, struct link *l);
/* Remembers why; p->lock is held. */
void peer_failed(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* accept.c: connections that have proved nothing */
void on_accept(void *arg);
void accept_next(struct net *net);
void slot_release(struct link *l);
bool turn_take(struct link *l); /* false: link_resume() comes when it is l's turn */
void turn_pass(struct link *l);
void turn_forget(struct link *l); /* keeper only */
void handshake_refused(struct net *net, struct link *l, int err);

/* keeper.c */
void *keeper_main(void *arg);
void keeper_wake(struct net *net);
void on_dialed(void *arg);

#endif
