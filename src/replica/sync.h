/* State sync: how a replica that is too far behind for blocks gets a state from its peers, in
 * ranges that are checked against a certified root (docs/decisions/0010-state-sync.md). Its
 * messages are taken here, before the engine sees any; who asks is sync.c, who answers serve.c.
 * Nothing is believed on a peer's word, and nothing here signs. */
#ifndef REPLICA_SYNC_H
#define REPLICA_SYNC_H

#include "chain/epoch.h"
#include "ledger/range.h"
#include "ledger/stage.h"
#include "replica/replica.h"

/* First byte on the wire, beside the engines' types: never reuse a number. */
enum sync_type {
	SYNC_ASK = 24,	      /* which state do you have? SYNC_HEADER_ONLY: which block? */
	SYNC_OFFER = 25,      /* this one, which this certificate proves */
	SYNC_GET = 26,	      /* leaves of it between these bounds */
	SYNC_RANGE = 27,      /* here */
	SYNC_GET_BLOCKS = 28, /* blocks from this one down */
	SYNC_BLOCKS = 29,     /* here */
	SYNC_GONE = 30,	      /* what you asked for I do not have */
	SYNC_HANDOVERS = 31,  /* that epoch is over: these lead on */
};

/* The certified header at this height is all that is wanted: no state is kept for it. */
#define SYNC_HEADER_ONLY   UINT64_MAX
#define SYNC_HEADERS_MAX   256 /* from an offered state's block up to its certificate */
#define SYNC_BLOCKS_MAX	   64  /* in one answer */
#define SYNC_BLOCKS_BYTES  (512u << 10) /* soft: at least one block */
#define SYNC_HANDOVERS_MAX 64		/* in one answer, of the same soft size */

struct sync_msg {
	enum sync_type type;
	uint64_t height;      /* ASK: 0 for any; BLOCKS: of the first block; HANDOVERS: the
			       * epoch that the first of them begins */
	uint64_t above;	      /* ASK: of any, one that is higher; or SYNC_HEADER_ONLY */
	struct hash from, to; /* GET, RANGE, GONE; GET_BLOCKS, BLOCKS: from, its hash */
	uint64_t blocks_from; /* OFFER: lowest block kept; proves nothing */
	struct certified_header header; /* OFFER: of the state's block; owned */
	bool has_stable;		/* OFFER: its newest stable checkpoint */
	struct cert stable;
	struct slice range;		       /* RANGE; lent */
	uint32_t count;			       /* BLOCKS */
	struct block *blocks[SYNC_BLOCKS_MAX]; /* descending by height; one reference each */
	uint32_t handover_count;	       /* HANDOVERS */
	struct handover *handovers;	       /* ascending; owned */
};
bool sync_is_message(struct slice bytes);
void sync_encode(struct writer *w, const struct sync_msg *m);
/* Form only. sync_msg_free() it in any case. */
int sync_decode(struct sync_msg *out, struct slice bytes);
void sync_msg_free(struct sync_msg *m);

/* ---- answering (serve.c) ----------------------------------------------------------------- */

#define SERVE_PINS_MAX	      2	     /* states that are kept for others at a time */
#define SERVE_QUEUE	      8	     /* questions of one peer that wait */
#define SERVE_SPACING_US      4000   /* between two answers to one peer, for each 64 KiB */
#define SERVE_ASKS_US	      200000 /* between two offers to one peer, */
#define SERVE_HEADERS_AT_ONCE 4	     /* and as long again for each so many headers */
#define SERVE_PIN_BUSY_US     (10 * UINT64_C(1000000)) /* then another one may take its place */
#define SERVE_PIN_IDLE_US     (60 * UINT64_C(1000000))
#define SERVE_PIN_LIFE_US     (7200 * UINT64_C(1000000))

struct serve {
	struct serve_pin {
		uint64_t height; /* 0: free */
		uint64_t begun, used;
	} pin[SERVE_PINS_MAX];
	struct serve_peer {
		struct serve_request {
			bool blocks;
			uint64_t height;
			struct hash from, to;
		} queue[SERVE_QUEUE];
		unsigned count;
		uint64_t next_at, offer_at, handed_at;
	} peer[VALIDATORS_MAX];
	unsigned waiting; /* in all queues: mostly none, and each would be a look far away */
	uint64_t ranges, blocks, bytes, refused;
};
void serve_message(struct replica *r, unsigned from, const struct sync_msg *m);
/* To one who asks for a state of an epoch that is over. */
void serve_handovers(struct replica *r, unsigned to, uint64_t epoch);
void serve_tick(struct replica *r);
uint64_t serve_wake_at(const struct replica *r);
bool serve_stable(struct replica *r, struct cert *out); /* its own stable checkpoint */

/* ---- asking (sync.c, sync_state.c) ------------------------------------------------------- */

#define SYNC_ITEMS	 256 /* parts of the key space: by the first byte of the key hash */
#define SYNC_PEER_WINDOW 3   /* questions on the way to one peer */
#define SYNC_SLOTS	 24  /* to all */
#define SYNC_LOOK_US	 500000
#define SYNC_STUCK_US	 5000000  /* behind, and no block came: blocks do not bridge it */
#define SYNC_ASK_US	 1000000  /* offers are waited for */
#define SYNC_AGAIN_US	 5000000  /* between two tries */
#define SYNC_ANSWER_US	 3000000  /* an answer is waited for; then another peer is asked */
#define SYNC_QUIET_US	 10000000 /* nothing came: blocks are fetched again meanwhile */
#define SYNC_LOST_US	 30000000 /* nobody has this state any more: a newer one */
#define SYNC_BUILD_STEP	 1024	  /* records */
#define SYNC_SWEEP_STEP	 1024

enum sync_phase { SYNC_IDLE, SYNC_ASKING, SYNC_FETCHING, SYNC_BUILDING };

struct sync {
	enum sync_phase phase;
	uint64_t look_at, ask_until, again_at;
	uint64_t last_final, moved_at; /* the final height, as of the last look; since when */
	uint64_t struck;	       /* peers that lied */
	bool epoch_noted;	       /* in this epoch: SYNC_NOTE_EPOCH */
	struct sync_peer {
		bool asked, offered; /* in this round */
		bool pruned;	     /* says that it lacks the block that we need next */
		bool has;	     /* the state that is fetched */
		bool no_blocks;	     /* lacks the block that is due */
		unsigned in_flight;
		uint64_t slow_until;
	} peer[VALIDATORS_MAX];

	/* Epochs after this replica's, which handovers have proved: a state is asked for, and
	 * fetched, in the last of them. In memory only until the state is there. */
	struct chain_ctx *ahead;
	struct handover *handovers;
	uint32_t ahead_count;

	struct certified_header target; /* count 0: none */
	bool has_stable;		/* a stable checkpoint, to show positions from */
	struct cert stable;
	uint64_t height;   /* of the state; 0: nothing is staged */
	uint64_t low, top; /* blocks that go with it */
	struct hash cursor[SYNC_ITEMS];
	bool done[SYNC_ITEMS], busy[SYNC_ITEMS];
	unsigned left, next_item, next_peer;
	struct hash *hashes; /* of the blocks, from low on */
	uint64_t next_block; /* below low: all are here */
	uint64_t block_at;   /* when the newest of them came */
	bool blocks_busy;
	struct sync_slot {
		bool used, blocks;
		unsigned peer, item;
		struct hash from, to; /* blocks: hash of the first */
		uint64_t height, sent_at;
	} slot[SYNC_SLOTS];
	struct stage_build *build;
	struct tree scratch;
	uint64_t progress_at;

	/* of states that are of no use any more */
	bool sweeping;
	struct stage_sweep sweep;
	unsigned sweep_part; /* of what is not the ledger's */

	struct replica_sync_status status;
};

/* At a start, before replica_recover(): goes on with what was staged. */
int sync_open(struct replica *r, struct errmsg *m);
void sync_close(struct replica *r);
bool sync_is_on(const struct replica *r); /* configured, and possible with this protocol */
/* Of the epoch that a state is fetched in: r->ctx, or a later one. */
const struct chain_ctx *sync_ctx(const struct replica *r);
bool sync_is_answer(struct slice bytes);
void sync_message(struct replica *r, unsigned from, struct slice bytes);
void sync_tick(struct replica *r);
uint64_t sync_wake_at(const struct replica *r);
/* Blocks would come twice over: those of the engine wait meanwhile. */
bool sync_holds_back(struct replica *r, uint8_t type);
/* The epoch has ended: what was fetched, or served, was in the sight of its validators. */
void sync_end_epoch(struct replica *r);
/* Before a block at this height becomes the ledger's: nothing staged may be in its way. */
void sync_before_final(struct replica *r, uint64_t height);

/* sync_state.c: what of it is on disk */
#define SYNC_KEY       "sync"
#define SYNC_RANGE_KEY "sync_range"
#define SYNC_SWEEP_KEY "sync_sweep"
/* For audits: what in a store is not the ledger's yet, or any more (struct audit_host). */
void sync_apart(struct store *s, uint64_t *staged, uint64_t *swept_below);
int sync_state_read(struct replica *r);
bool sync_state_begin(struct replica *r);  /* s->target is to be fetched */
bool sync_state_stable(struct replica *r); /* s->stable is another one */
bool sync_state_range(struct replica *r, unsigned item, const struct range *range);
bool sync_state_block(struct replica *r, struct block *b); /* the one that is due */
void sync_state_resume_blocks(struct replica *r);
bool sync_state_install(struct replica *r, const struct hash *root, uint64_t keys);
/* Nothing of the staged state is left; now, or some at a time. */
bool sync_state_abandon(struct replica *r, bool now);
bool sync_state_sweep(struct replica *r);
void sync_state_forget(struct sync *s); /* in memory */

/* Everything above the store anew, after another state was installed. epoch: before that. */
void replica_reopen(struct replica *r, uint64_t epoch);

#endif
