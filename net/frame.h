/* Frames: what an encrypted record carries. Pure: no I/O, no clock (docs/net.md has the bytes).
 *
 * On the connection each handshake message and each record has a u32 length before it. A
 * record is one sealed frame, CHANNEL_OVERHEAD bytes longer than the frame. */
#ifndef NET_FRAME_H
#define NET_FRAME_H

#include "base/bytes.h"
#include "crypto/channel.h"
#include "net/net.h"

#define FRAME_VERSION	  2  /* 1 had no wall clock in PONG */
#define FRAME_PREFIX_SIZE 4  /* the length before each handshake message and record */
#define FRAME_DATA_HEADER 18 /* kind, class, seq, ack */
#define FRAME_MAX	  (FRAME_DATA_HEADER + NET_MESSAGE_MAX)
#define FRAME_RECORD_MAX  (FRAME_MAX + CHANNEL_OVERHEAD)

/* On the wire: a number is never reused. */
enum frame_kind {
	FRAME_GREET = 1, /* first in each direction, once: who I am, what I have of yours */
	FRAME_DATA = 2,
	FRAME_ACK = 3,
	FRAME_PING = 4,
	FRAME_PONG = 5,
};

struct frame {
	enum frame_kind kind;
	enum net_class class;	    /* DATA */
	uint64_t seq;		    /* DATA: from 1, for each class its own */
	uint64_t ack;		    /* DATA: the sender has this class up to here */
	uint64_t acks[NET_CLASSES]; /* GREET, ACK: the sender has each class up to here */
	uint64_t instance;	    /* GREET: random, not 0, new at each start of the process */
	uint64_t knows;	      /* GREET: the instance whose messages acks[] counts; 0: none */
	uint64_t number;      /* PING: from 1, rising; PONG: the PING's */
	uint64_t wall_ms;     /* PONG: the sender's clock, Unix milliseconds */
	struct slice payload; /* DATA; decoded: borrowed from the input */
};

void frame_encode(struct writer *w, const struct frame *f);
/* ERR_TRUNCATED, ERR_TRAILING, ERR_RANGE, ERR_VERSION, ERR_LIMIT. Hostile input is fine. */
int frame_decode(struct frame *out, struct slice in);

/* The length prefix at the start of in: 1 and *len when it is there, 0 when bytes are
 * missing, ERR_LIMIT when it says 0 or more than max. */
int frame_prefix(struct slice in, size_t max, size_t *len);

#endif
