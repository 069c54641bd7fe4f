/* Nodes on 127.0.0.1, a TCP proxy and raw sockets for the tests of net/. */
#ifndef TESTS_NET_HARNESS_H
#define TESTS_NET_HARNESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "net/net.h"

#define NODES_MAX 8

/* What a node has taken from net_next(). Messages carry their class and number. */
struct node {
	struct net *net;
	unsigned count; /* of nodes */
	unsigned self;
	uint64_t next_in[NODES_MAX][NET_CLASSES]; /* number expected next */
	uint64_t next_out[NODES_MAX][NET_CLASSES];
	uint64_t messages, ups, downs, disorder;
	bool up[NODES_MAX];
};

extern struct keypair keys[NODES_MAX + 2]; /* two more for strangers */
extern struct hash chain;
void harness_init(void);

/* Node i of count: node j > i is dialed by i, as in the real thing. ports[j] are listening
 * ports, 0 where not known yet: so start from the last node. Peer numbers are node numbers. */
void node_open(struct node *n, unsigned i, unsigned count, uint16_t *ports,
	       const struct net_config *like);
void node_close(struct node *n);
void cluster_open(struct node *nodes, unsigned count, uint16_t *ports,
		  const struct net_config *like);
void cluster_close(struct node *nodes, unsigned count);

/* Numbered messages; len >= 9. False if the queue is full. */
bool node_send(struct node *n, unsigned to, enum net_class class, size_t len);
/* Takes what waits; true if there was something. Waits up to wait_ms for it. */
bool node_take(struct node *n, int wait_ms);

/* Runs all nodes until done(arg); false when it takes absurdly long (a hang, not a verdict). */
bool run_until(struct node *nodes, unsigned count, bool (*done)(void *), void *arg);
struct all_nodes {
	struct node *nodes;
	unsigned count;
};
bool all_up(struct node *nodes, unsigned count);

/* Raw sockets */
int raw_connect(uint16_t port);
void raw_send(int fd, const void *ptr, size_t len);
bool raw_recv(int fd, void *ptr, size_t len); /* false: closed first */
bool raw_closed(int fd);		      /* waits until the other end has closed */
bool raw_is_open(int fd);
uint64_t refused(const struct node *n);
struct net_peer_stats stats_of(const struct node *n, unsigned peer);

/* A TCP proxy: everything that passes from the dialing side is kept. */
struct proxy {
	int listen_fd;
	uint16_t port;
	uint16_t target;
	pthread_t thread;
	atomic_bool stop;
	atomic_bool mute;	 /* swallows what both sides send, closing included */
	atomic_bool cut;	 /* closes all connections once */
	atomic_llong flip_after; /* flips a bit in this many bytes from now; -1: none */
	atomic_uint connections;
	pthread_mutex_t lock;
	uint8_t *record;
	size_t record_len;
};
void proxy_start(struct proxy *p, uint16_t target);
void proxy_stop(struct proxy *p);

#endif
