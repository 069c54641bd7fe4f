/* Peer links: authenticated, encrypted, sequenced, resent; over NNG byte streams.
 *
 * One struct net serves one node. NNG's threads do the reading, writing and encryption; the
 * caller's thread (one at a time) calls net_send() and takes events from net_next(), woken by
 * net_fd() becoming readable.
 *
 * A link belongs to a validator's key, not to an address. Between two peers one session counts:
 * the side with the lower validator index dials, the other accepts. Frames carry a sequence
 * number and an acknowledgement; what was sent but not acknowledged is sent again after a
 * reconnect, so a message is lost only if this process or the peer's restarts, or its queue
 * overflows. Each message arrives at most once and in order within its class.
 *
 * A peer that has not proved a validator's key owns nothing here but a bounded handshake slot
 * with a deadline. When all slots are taken, a newcomer displaces one of the source address
 * (IPv6: /64) that holds most of them: first one that has sent nothing, then the oldest. So an
 * attacker displaces his own connections, unless he has as many addresses as there are slots,
 * or shares the validator's and opens 64 connections in the time of one handshake.
 *
 * Refused, besides unknown keys: our own key, and the key of a peer that we are to dial (it
 * should not dial us). Of two connections of one peer the newest counts.
 *
 * NNG does not survive fork(): a process forks before its first net_open(), or only to exec. */
#ifndef NET_NET_H
#define NET_NET_H

#include "base/err.h"
#include "crypto/sign.h"

#define NET_PEERS_MAX		 64
#define NET_MESSAGE_MAX		 (8u << 20)  /* bytes of one message */
#define NET_QUEUE_BYTES_MAX	 (32u << 20) /* per peer and class, unacknowledged included */
#define NET_QUEUE_MESSAGES_MAX	 8192	     /* per peer and class */
#define NET_INBOX_BYTES_MAX	 (32u << 20) /* per peer: received, not yet taken by the caller */
#define NET_HANDSHAKES_MAX	 64	     /* connections that have not proved a key */
#define NET_HANDSHAKE_TIMEOUT_MS 3000

struct net; /* opaque */

/* Classes are bulkheads: each has its own bounded queue; lower numbers leave first. */
enum net_class { NET_URGENT, NET_CONSENSUS, NET_BULK, NET_CLASSES };

struct net_peer_config {
	struct pubkey key;
	const char *host; /* numeric address or name */
	uint16_t port;
	bool dial; /* we dial; false: we wait for the peer to dial */
};
struct net_config {
	const struct keypair *identity;
	struct hash chain;
	const char *listen_host; /* numeric address or name; NULL: does not listen */
	uint16_t listen_port;	 /* 0: any free port, see net_port() */
	unsigned peer_count;
	/* Copied; index = peer number in all calls. One may be ourselves: it is never
	 * connected, and net_send() to it is ERR_UNREACHABLE. */
	const struct net_peer_config *peers;
	uint32_t reconnect_min_ms, reconnect_max_ms; /* backoff with jitter; 0: 20 and 250 */
	uint32_t keepalive_ms; /* a link silent for three of these is closed; 0: 1000 */
};

/* ERR_CONFIG, ERR_LIMIT, ERR_EXISTS (the port is taken), ERR_IO; m says more. */
int net_open(struct net **out, const struct net_config *config, struct errmsg *m);
void net_close(struct net *net); /* waits until no callback runs; queued messages are dropped */
uint16_t net_port(const struct net *net);

/* Queues a copy of msg. ERR_BUSY if the class's queue to that peer is full (the message is
 * dropped and counted), ERR_LIMIT if it is too long. Works while the peer is away. */
int net_send(struct net *net, unsigned peer, enum net_class class, struct slice msg);

/* While held, net_send() only queues (what else is sent to the peer may take it along);
 * net_flush() sends what is queued, each peer's in as few writes as it takes, and goes on
 * holding. For a caller who handles much in a turn. The caller's thread only. */
void net_hold(struct net *net);
void net_flush(struct net *net);
void net_release(struct net *net); /* flushes, and holds no more */

enum net_event_kind { NET_EVENT_MESSAGE, NET_EVENT_UP, NET_EVENT_DOWN };
/* Of a link that was up too shortly to be noticed only DOWN is seen. */
struct net_event {
	enum net_event_kind kind;
	unsigned peer;
	struct slice message; /* MESSAGE: valid until the next net_next() or net_close() */
};
int net_fd(const struct net *net); /* poll for POLLIN; an eventfd that net_next() drains */
bool net_next(struct net *net, struct net_event *out); /* false: nothing waiting */

/* From now on the peer is whoever proves this key; a link with another one is closed. ERR_EXISTS:
 * another peer has it. The caller's thread only. */
int net_set_key(struct net *net, unsigned peer, const struct pubkey *key);

/* Test and lab hook: while set, the link is closed and not reopened. */
void net_block(struct net *net, unsigned peer, bool blocked);

#define NET_ERROR_SIZE 96
struct net_peer_stats {
	bool up;
	uint64_t state_us; /* so long has it been up, or not up */
	bool heard;	   /* ever */
	uint64_t
		heard_us; /* since the last byte of a link whose other end has proved its key */
	/* Why the last link or attempt failed, in words; empty: none has. */
	char error[NET_ERROR_SIZE];
	uint64_t error_us;   /* so long ago */
	bool dials, dialing; /* we dial it; we do so now */
	uint64_t retry_us;   /* until we dial again */
	uint64_t failures;   /* attempts that failed since it was last up */
	bool clock_known;
	int64_t clock_offset_ms; /* its wall clock less ours, half a round trip exact */
	uint64_t connects;
	uint64_t sent_messages, sent_bytes;	    /* first transmissions; payload bytes */
	uint64_t received_messages, received_bytes; /* delivered once */
	uint64_t resent_messages;
	uint64_t dropped_messages; /* queue full */
	uint64_t refused_frames;   /* malformed, oversized, tampered with */
	uint64_t queued_messages, queued_bytes;
	struct {
		uint64_t queued_messages, queued_bytes, dropped_messages;
	} class[NET_CLASSES];
	uint64_t rtt_us; /* of the latest acknowledged keepalive; 0: unknown */
	char address[64];
};
void net_peer_stats(const struct net *net, unsigned peer, struct net_peer_stats *out);
#define NET_REFUSALS_MAX 8
struct net_stats {
	uint64_t handshakes_refused; /* wrong key, wrong chain, malformed, too slow, too many */
	/* The latest of them, newest first, one for each address (without port) and reason. */
	unsigned refusal_count;
	struct net_refusal {
		char address[64];
		int err;
		uint64_t count, ago_us;
	} refusal[NET_REFUSALS_MAX];
};
void net_stats(const struct net *net, struct net_stats *out);

#endif
