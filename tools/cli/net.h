/* A local network of processes, for the verbs net up, down, status and the rest. */
#ifndef TOOLS_CLI_NET_H
#define TOOLS_CLI_NET_H

#include "tools/cli/client.h"

/* The nodes that a verb is about, and what is known of each. */
struct net {
	struct cli *c;
	struct network n;
	struct quorum quorum;
	bool chosen[VALIDATORS_MAX];
	bool all; /* no single node was named */
	struct process process[VALIDATORS_MAX];
	pid_t started[VALIDATORS_MAX]; /* our child, 0: not started by us */
};

enum net_default { NET_NEEDS_NODE, NET_ALL, NET_MAKES_ONE };

/* From [DIR] [NODE|leader|all]. Prints errors; exit code. net_close() in any case. */
int net_open(struct cli *c, struct net *net, enum net_default by_default);
void net_close(struct net *net);
void net_refresh(struct net *net); /* net->process */

/* What a node says of itself: NULL if it does not answer. json_free. */
struct json *net_ask(struct net *net, struct http *http, unsigned i, const char *path,
		     unsigned *status);
/* Starts the chosen nodes that do not run, waits until the network can commit. */
int net_start(struct net *net);
/* TERM, and KILL after a grace, to the chosen ones. */
int net_stop(struct net *net);
void net_show(struct net *net);

#endif
