/* A request of the API, on its way to the loop thread and back.
 *
 * An API thread fills it in, suspends its connection and puts it into the inbox; the loop
 * thread answers into it and calls done() exactly once, after which it never touches it again.
 */
#ifndef NODE_REQUEST_H
#define NODE_REQUEST_H

#include <sys/queue.h>

#include "consensus/engine.h"
#include "node/finality.h"
#include "node/http.h"

enum request_kind {
	REQUEST_SUBMIT,
	REQUEST_TX,	 /* id */
	REQUEST_STATE,	 /* key, height */
	REQUEST_ACCOUNT, /* account, height */
	REQUEST_STATUS,
	REQUEST_BLOCKS, /* height: from; limit */
	REQUEST_BLOCK,	/* height */
	REQUEST_PEERS,
	REQUEST_EVIDENCE,
	REQUEST_MODES, /* height: from; limit */
	REQUEST_CONSENSUS,
	REQUEST_MEMBERS,       /* height: the first epoch; limit */
	REQUEST_MEMBER_CHANGE, /* key: the change, encoded */
};

#define BLOCKS_PER_REQUEST	   100
#define BLOCKS_DEFAULT		   20
#define MODES_PER_REQUEST	   1000
#define EVIDENCE_PER_REQUEST	   1000
#define EVIDENCE_BYTES_PER_REQUEST (16u << 20)

enum outcome_status {
	OUTCOME_NEW, /* to be submitted */
	OUTCOME_WAITING,
	OUTCOME_COMMITTED,
	OUTCOME_ACCEPTED,
	OUTCOME_PENDING,
	OUTCOME_REFUSED,
	OUTCOME_BUSY,
};

/* What became of one transaction of a request. */
struct outcome {
	enum outcome_status status;
	bool has_id;
	struct hash id;
	struct slice bytes; /* into the request's body */
	int err;	    /* refused, busy */
	char detail[160];   /* of err; may be empty */
	/* committed: one of these two */
	struct finality *finality;
	uint32_t block, index;	    /* in finality */
	struct proof_document *doc; /* owned */
	uint64_t since;		    /* submitted */
	/* loop thread: others that wait for the same transaction, and whose this is */
	struct outcome *prev, *next;
	struct request *request;
	bool sought; /* final already: its proof is to be looked up, in n->sought */
	TAILQ_ENTRY(outcome) seek;
};

TAILQ_HEAD(outcome_list, outcome);

struct block_view {	     /* a final block with what makes it final */
	struct block *block; /* held; NULL: none */
	bool certified;
	enum cert_kind grade;
	uint64_t signers;
	uint64_t certified_height;
};

struct request {
	enum request_kind kind;
	/* in */
	bool prove, full, wait_committed;
	bool has_height;
	uint64_t height;
	uint32_t limit;
	struct hash id;
	struct pubkey account;
	struct slice key;	  /* owned: state key with its namespace byte */
	uint64_t deadline;	  /* microseconds; then the answer is what is known */
	struct outcome *outcomes; /* owned */
	uint32_t outcome_count;
	size_t bytes; /* of the body, for the inbox's limit */
	void (*done)(struct request *r);
	/* out */
	struct problem problem;	   /* status != 0: this is the answer */
	struct json *json;	   /* owned; whole answer of the kinds that are small */
	struct block_view *blocks; /* owned */
	uint32_t block_count;
	uint64_t next_height; /* BLOCKS: 0: no more */
	bool present;
	struct writer value;
	uint64_t at_height, age_ms;
	struct proof_document *doc; /* owned */
	uint64_t balance, nonce_highest, nonce_suggested, expiry_max;
	struct slice *evidence; /* owned copies */
	uint32_t evidence_count;
	/* loop thread */
	bool listed;
	uint32_t submitted; /* so many of the outcomes have been */
	uint32_t waiting;   /* outcomes that are WAITING; and one more while they are submitted */
	TAILQ_ENTRY(request) link;
};
TAILQ_HEAD(request_list, request);

void request_init(struct request *r, enum request_kind kind);
void request_free(struct request *r); /* contents only */

/* The bounded queue from API threads to the loop thread. */
struct inbox; /* opaque */
#define INBOX_REQUESTS_MAX 8192
#define INBOX_BYTES_MAX	   (64u << 20)

struct inbox *inbox_new(void);
void inbox_free(struct inbox *q);    /* invariant: empty */
int inbox_fd(const struct inbox *q); /* an eventfd, readable when something waits */
/* False: full or closed; nothing happened. Any thread. */
bool inbox_push(struct inbox *q, struct request *r);
/* A hint for those who would first spend work on a request. Any thread. */
bool inbox_full(struct inbox *q);
bool inbox_closed(struct inbox *q);
/* Moves everything into list (initialised), in order; drains the eventfd. Loop thread. */
void inbox_take(struct inbox *q, struct request_list *list);
void inbox_close(struct inbox *q); /* later pushes are refused */

#endif
