/* Shared by relay.c and relay_connection.c only. All of it is under relay->lock. */
#ifndef TOOLS_LAB_RELAY_PRIVATE_H
#define TOOLS_LAB_RELAY_PRIVATE_H

#include <pthread.h>

#include "base/random.h"
#include "tools/lab/relay.h"

enum watch_kind { WATCH_WAKE, WATCH_TIMER, WATCH_LISTENER, WATCH_SIDE };
struct watch { /* what epoll gives back */
	enum watch_kind kind;
	unsigned side;
	void *owner; /* link or connection */
};
struct piece {
	struct piece *next;
	uint64_t due;
	size_t len, done;
	uint8_t bytes[];
};
struct stream { /* one way of a connection: what side s has sent */
	struct piece *head, *tail;
	size_t held;
	uint64_t due;	  /* of the newest piece */
	uint64_t free_at; /* throttled: when the line is free again */
	bool ended;	  /* side s has closed, or cannot be written to */
	bool deaf;	  /* the other side has gone: what comes is thrown away */
	bool stuck;	  /* the other side's buffer is full */
};
struct connection {
	struct connection *next;
	struct relay_link *link;
	int fd[2]; /* 0: who dialed; 1: the target, -1 until it is connected to */
	bool connecting, dead;
	struct watch watch[2];
	uint32_t events[2]; /* as epoll knows them; 0: not watched */
	struct stream from[2];
};
struct relay_link {
	struct relay *relay;
	unsigned node[2]; /* by side: dialer, acceptor */
	uint16_t target;
	int listener;
	bool listening; /* watched */
	struct watch watch;
	struct connection *connections;
	unsigned count;
};
struct relay {
	pthread_mutex_t lock;
	pthread_t thread;
	bool stopping;
	int epoll, timer, wake;
	struct watch timer_watch, wake_watch;
	struct random random;
	struct relay_way way[RELAY_NODES_MAX][RELAY_NODES_MAX];
	struct relay_link **links;
	unsigned link_count;
	struct relay_stats stats;
	uint8_t buffer[RELAY_PIECE];
};

uint64_t relay_now_us(void);
/* relay_connection.c */
void connection_accepted(struct relay_link *l, int fd);
void connection_event(struct connection *c, unsigned side, uint32_t events);
/* Sends on what is due, joins what waits for the end of a cut, watches what is to be watched.
 * Returns when to come again, UINT64_MAX: when something happens. */
uint64_t connection_tend(struct connection *c, uint64_t now);
void connection_reset(struct connection *c);
void connection_free(struct connection *c);

#endif
