/* Private to api.c and api_read.c: an API and one exchange with a client. */
#ifndef NODE_API_PRIVATE_H
#define NODE_API_PRIVATE_H

#include <microhttpd.h>
#include <pthread.h>

#include "node/acceptor.h"
#include "node/api.h"
#include "node/connections.h"
#include "node/gate.h"
#include "node/render.h"
#include "node/stream.h"

/* Who may have made what is dear to make: see turn_take(). */
struct turns {
	pthread_mutex_t lock;
	unsigned asking;  /* it is being made for them, or they wait */
	unsigned left;	  /* that may be made now */
	uint64_t counted; /* when `left` last grew */
};

struct api {
	struct node *node;
	struct MHD_Daemon *daemon;
	struct acceptor *acceptor;
	struct render render;
	struct chain_ctx ctx;
	char *genesis; /* JSON text */
	struct gate gate;
	struct connections *connections;
	atomic_uint exchanges;
	atomic_uint raw_blocks; /* being read */
	struct turns snapshots;
};

enum route_kind {
	ROUTE_SUBMIT,
	ROUTE_TX,
	ROUTE_STATE,
	ROUTE_ACCOUNT,
	ROUTE_STATUS,
	ROUTE_BLOCKS,
	ROUTE_BLOCK,
	ROUTE_VALIDATORS,
	ROUTE_PEERS,
	ROUTE_EVIDENCE,
	ROUTE_MODES,
	ROUTE_CONSENSUS,
	ROUTE_GENESIS,
	ROUTE_LIVE,
	ROUTE_READY,
	ROUTE_METRICS,
	ROUTE_EVENTS,
	ROUTE_SNAPSHOT,
	ROUTE_RAW_BLOCK,
	ROUTE_MEMBERS,
	ROUTE_MEMBER_CHANGE,
};
enum parameter {
	PARAM_PROVE,
	PARAM_FULL,
	PARAM_HEIGHT,
	PARAM_FROM,
	PARAM_LIMIT,
	PARAM_WAIT,
	PARAM_TIMEOUT,
	PARAM_TYPES
};
struct route {
	const char *path; /* with a / at its end: one more segment follows */
	enum route_kind kind;
	enum request_kind request; /* if it goes to the loop */
	unsigned parameters;
};

/* One request and its answer. */
struct exchange {
	struct request r;
	struct api *api;
	struct MHD_Connection *connection;
	const struct route *route; /* NULL: r has a problem */
	const char *rest;	   /* of the path, into MHD's memory */
	const char *allow;	   /* of a 405 */
	struct writer body;
	size_t swallowed;
	uint8_t *tx;   /* of a JSON submission */
	bool one;      /* a JSON submission */
	bool receipts; /* a submission that wants its answer as bytes */
	bool promised; /* the answer is given, however large */
	bool pushed;   /* the loop has it, or has answered it */
	struct connection *tcp;
	struct stream *stream;
	unsigned event_types;
	struct cursor event_from;
	bool event_resumes;
};

/* api_read.c: what a request asks for. What is wrong with it becomes the exchange's problem. */
void exchange_bad(struct exchange *x, int err, const char *detail);
const char *exchange_header_of(struct exchange *x, const char *name);
void exchange_check_gate(struct exchange *x, const char *url);
void exchange_find_route(struct exchange *x, const char *url);
void exchange_check_method(struct exchange *x, const char *method);
void exchange_read_parameters(struct exchange *x);
void exchange_read_state_key(struct exchange *x);
void exchange_read_change(struct exchange *x);
void exchange_read_account(struct exchange *x);
void exchange_read_tx_id(struct exchange *x);
void exchange_read_height(struct exchange *x);
bool exchange_content_type_is(struct exchange *x, const char *type);
void exchange_too_large(struct exchange *x);
bool exchange_read_submission(struct exchange *x);
bool exchange_read_busy(struct exchange *x);

#endif
