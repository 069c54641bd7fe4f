/* One running node: what the loop thread owns, and what it shows to the API threads. */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include <pthread.h>

#include "base/log.h"
#include "base/map.h"
#include "net/net.h"
#include "node/committed.h"
#include "node/config.h"
#include "node/disk.h"
#include "node/events.h"
#include "node/metrics.h"
#include "node/render.h"
#include "node/request.h"
#include "node/syncer.h"
#include "replica/replica.h"

/* What this node waits for. */
enum wait_kind {
	WAIT_DISK,   /* room on the disk, or a sync under way */
	WAIT_QUORUM, /* enough validators to be heard from */
	WAIT_LEADER, /* one to be elected, or it to commit what waits */
	WAIT_VOTES,  /* for the blocks proposed here */
	WAIT_SYNC,   /* blocks of others: this node is behind */
	WAIT_KINDS
};
const char *wait_name(enum wait_kind k);
struct wait {
	uint64_t since; /* microseconds; 0: it does not wait for this */
	uint64_t who;	/* bit i: validator i */
};

/* What API threads read without asking the loop; copied whole under a lock. */
struct scrub_stats {
	uint64_t runs, bytes; /* since the start */
	uint64_t damaged;     /* records, by the newest run */
	uint64_t finished_ms; /* Unix time; 0: none has yet */
	bool failed;	      /* the newest run could not read all */
	char what[256];	      /* the first thing found, or why it failed */
};
/* What became of what the newest scrub found. */
struct mend_lot {
	uint64_t mended, fetched, left;
	char first_left[320];
};
struct snapshot {
	uint64_t now; /* when it was taken; the loop's sign of life */
	struct engine_status status;
	bool halted;
	char halted_why[256];
	char not_ready[256];  /* empty: ready */
	const char *observes; /* replica_observes() */
	struct chain_ctx ctx; /* of its epoch */
	char stall[256];      /* empty: nothing waits in vain */
	struct disk disk;
	struct scrub_stats scrub;
	struct replica_mend_status mend;
	struct replica_sync_status sync;
	uint64_t stale_messages; /* replica_stale_messages() */
	uint64_t final_time_ms;
	unsigned peer_count;
	unsigned peer_validator[NET_PEERS_MAX];
	struct net_peer_stats peer[NET_PEERS_MAX];
	struct net_stats net;
	struct store_stats store;
	uint64_t waiting_requests;
};

#define FORWARDED_MAX 1024 /* transactions of a message that are looked at */
#define NODE_REOPEN (1ull << 32)

/* A write that fails stops the replica: it votes no more, reads are answered. With a full or
 * read-only disk that is until the disk can be written to again; then the node is opened anew,
 * from what is on the disk, as after a kill. A failed sync ends the process: the kernel may
 * have dropped what it could not write and call it clean, so that it reads back from memory and
 * is not on the disk. */
enum node_end {
	NODE_RUNS,
	NODE_STOPPED,  /* as asked */
	NODE_HAS_ROOM, /* open it anew */
	NODE_SYNC_FAILED
};

struct node {
	struct node_config config;
	struct genesis genesis;
	struct keypair key;
	unsigned self;
	struct pubkey link_key[VALIDATORS_MAX]; /* whom net/ takes for each validator */
	uint64_t links_due; /* when it takes those of the epoch that has begun; 0: it does */
	uint64_t started; /* microseconds */
	struct store *store;
	struct replica *replica;
	struct net *net;
	struct inbox *inbox;
	struct syncer *syncer;
	struct checker *checker;
	struct pool_tx *forwarded; /* FORWARDED_MAX, of one message */
	struct upkeep *upkeep;
	struct mend_lot mend_lot;
	struct events *events;
	struct disk disk;
	struct wait waits[WAIT_KINDS];
	uint64_t votes_height; /* final height when WAIT_VOTES was last looked at */
	struct chain_ctx ctx;
	struct render render; /* of events */
	struct api *api;
	/* Forged nodes of the lab only (tools/lab/forged.c). */
	struct engine *(*wrap)(void *ctx, struct engine *e);
	void *wrap_ctx;
	void (*lie)(void *ctx, uint8_t type, struct writer *bytes);
	struct metrics metrics;
	int stop_fd; /* eventfd, written by the signal handler: 1 stop, NODE_REOPEN the log */
	void (*reopen_log)(void);
	uint64_t notify_due;
	unsigned peer_count;
	unsigned validator_of[NET_PEERS_MAX]; /* peer -> validator */
	int peer_of[VALIDATORS_MAX];	      /* validator -> peer, -1 for self */
	/* Syncs: the engine's newest wish, what the thread was told, what is durable. */
	uint64_t sync_wanted, sync_asked, sync_done;
	uint64_t sync_since; /* the thread works since then */
	/* waiting for finality (submit.c) */
	struct map waiters; /* transaction id -> chain of outcomes */
	struct request_list waiting;
	struct request_list submissions; /* of one turn what the next ones submit; the first
					  * may have begun */
	struct outcome_list sought;
	struct request_list reads; /* of one turn what the next ones answer */
	struct committed committed;
	uint32_t waiting_count;
	uint64_t next_expiry_scan;
	/* final blocks whose certificate's own block is still to come */
	struct block *batch[CERTIFIED_HEADERS_MAX];
	uint32_t batch_count;
	struct cert batch_cert;
	/* newest final block */
	atomic_ullong final_height; /* any thread may read it: it is in the store by then */
	uint64_t final_time_ms;
	uint64_t final_since; /* when final_height or an empty pool was last seen to change */
	uint64_t last_stall_line, last_clock_line, sync_line_at;
	bool stalled; /* as last told to those who watch */
	bool halted;
	bool awaits_disk; /* halted until the disk can be written to */
	uint64_t disk_try_at;
	enum node_end end;
	char halted_why[256];
	uint64_t snapshot_due;
	pthread_mutex_t snapshot_lock;
	struct snapshot snapshot;
	/* The newest final block that clients have been told of: it may be above final_height,
	 * which is in the store, for as long as the write takes. */
	pthread_mutex_t told_lock;
	pthread_cond_t told_is_written;
	uint64_t told_height;
	bool told_over; /* this node has halted: nothing more will be written */
};
/* What clients had been told when this was called is in the store. For who reads it beside the
 * loop, from any thread. False: it has taken longer than NODE_TOLD_WAIT_MS. */
#define NODE_TOLD_WAIT_MS 2000
bool node_await_told(struct node *n);
/* For those: final_height is what it is now, or nothing is to come. */
void node_wake_told(struct node *n, bool over);

uint64_t node_clock_us(void); /* monotonic */
uint64_t node_wall_ms(void);

/* node.c: opens store, replica and links. name of the code in m. */
int node_open(struct node *n, struct errmsg *m);
/* Ends the links, so that the peers see at once that it has gone. The loop has ended. */
void node_leave(struct node *n);
void node_close(struct node *n);
const char *node_validator_name(const struct node *n, unsigned validator);
void node_log_observer(const char *why);
void node_set_links(struct node *n); /* when links_due is over */
/* Stops taking part: votes and proposes nothing more, but still answers reads. */
void node_halt(struct node *n, const char *why);

/* Takes no part for now: too little room on the disk. */
static inline bool node_is_paused(const struct node *n)
{
	return n->disk.full;
}

/* loop.c: runs until stop_fd is written, or the disk asks for an end. */
enum node_end node_run(struct node *n);
void node_take_snapshot(struct node *n, uint64_t now);
void snapshot_copy(struct node *n, struct snapshot *out);

/* submit.c: the loop thread's side of submissions. */
void submit_take(struct node *n, struct request *r);
/* As much of what was taken as a turn has time for. True: something is left. */
bool submit_some(struct node *n);
void submit_final(struct node *n, struct block *b, const struct cert *cert, uint64_t now);
void submit_flush(struct node *n, uint64_t now); /* at the end of a turn */
void submit_rejected(struct node *n, const struct hash *id, int err);
void submit_expire(struct node *n, uint64_t now);
/* Fills in the problem with which a write is refused; false: it is taken. */
bool submit_refused(const struct node *n, struct problem *p, uint64_t now);
void submit_stop(struct node *n); /* everybody who waits is told what is known */

/* answer.c: reads. */
/* report.c: what this node knows of itself and its peers, for /v1/status, consensus, peers. */
void report_status(struct node *n, struct request *r, uint64_t now);
void report_consensus(struct node *n, struct request *r, uint64_t now);
void report_peers(struct node *n, struct request *r, uint64_t now);
/* A consensus event: `change` says which members follow. */
struct json *report_change(const struct node *n, const char *change,
			   const struct engine_status *s);

/* mend.c: what the scrub has found goes to the replica; for the replica's host. */
void mend_begin(struct node *n);
void mend_note(void *ctx, enum replica_mend_note note, const struct damage *d, unsigned peer,
	       const char *why);

/* state_sync.c: for the replica's host; once a snapshot; for /v1/status, null: there was none.
 */
void state_sync_note(void *ctx, enum replica_sync_note note, unsigned peer,
		     const struct replica_sync_status *s);
void state_sync_reopened(void *ctx, uint64_t height);
void state_sync_progress(struct node *n, uint64_t now);
struct json *state_sync_json(const struct node *n, uint64_t now);

uint64_t age_of(uint64_t time_ms); /* how old it is, by this node's clock */
/* False: a long read is not done; call again. Else it is not ours any more. */
/* members.c */
void answer_members(struct node *n, struct request *r);
void answer_member_change(struct node *n, struct request *r, uint64_t now);
bool answer_request(struct node *n, struct request *r, uint64_t now);

/* health.c: why this node is not ready, why nothing commits. Empty: it is, it does. */
void health_not_ready(const struct node *n, const struct engine_status *s, uint64_t now,
		      char *out, size_t size);
/* Brings n->waits up to date. */
void health_waits(struct node *n, const struct engine_status *s, uint64_t now);
/* Validators whose clock is more than CLOCK_OFFSET_MS away, as bits. */
#define CLOCK_OFFSET_MS 3000
uint64_t health_clocks(const struct node *n);
/* This node has been without a leader or a quorum for so long that a write would only wait:
 * says so in out; empty: writes are taken. */
#define READ_ONLY_AFTER_US 10000000
void health_read_only(const struct node *n, uint64_t now, char *out, size_t size);
/* The line that says why nothing commits. */
void health_log_stall(const struct node *n, const struct engine_status *s, uint64_t now);
void health_stall(const struct node *n, const struct engine_status *s, uint64_t now, char *out,
		  size_t size);

#endif
