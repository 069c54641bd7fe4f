/* The HTTP server. MHD's threads parse, check signatures and print; what needs the replica goes
 * through the inbox while its connection is suspended, so that thousands may wait for finality
 * without a thread each. */
#ifndef NODE_API_H
#define NODE_API_H

#include "node/node.h"

#define API_IDLE_S		  75
#define API_MEMORY_PER_CONNECTION (16u << 10)
#define API_NEVER_REACHED	  (1u << 20) /* MHD's own limit: acceptor.h says why */
#define API_FILES_RESERVE	  64 /* descriptors: log, homes, NNG, whatever else */
#define API_FILES_OF_THREAD	  3
#define API_SOCKETS_MIN		  64 /* with fewer left for connections it does not start */
#define API_BODY_BYTES_MAX	  (64u << 20) /* of all connections together; those of up to */
#define API_ANSWER_BYTES_MAX	  (64u << 20) /* CONNECTION_FREE_BYTES come on top */
#define API_SNAPSHOT_US		  1000000     /* one may be made, */
#define API_SNAPSHOTS_BURST	  8	      /* so many in a row after a pause, */
#define API_SNAPSHOTS_ASKING	  4	      /* for so many who ask at the same time */
#define API_READ_DEADLINE_US	  5000000
#define API_DEAD_LOOP_US	  10000000
#define API_DRAIN_US		  1000000 /* for answers on their way out when the node stops */

struct api; /* opaque */

/* Listens; *url gets "http://HOST:PORT". n outlives the API. ERR_LOCKED: the port is in use. */
int api_start(struct api **out, struct node *n, char url[300], struct errmsg *m);
/* The inbox is closed and drained already: nobody is suspended. */
void api_stop(struct api *a);
/* Path i of the API as docs/openapi.json has it, but for the name in {}: "/v1/blocks/{}"; false:
 * there are no more. For tests. */
bool api_path(unsigned i, char out[64]);

/* listen.c: a socket for [api] listen, and the port that it got. */
int api_listen(const struct node_peer_address *address, int *fd, uint16_t *port,
	       struct errmsg *m);

#endif
