/* What Raft and Multi-Paxos share that is neither's: the log of blocks and what of it is final,
 * executing, building, transactions between replicas, timers' settings, the step's output. How
 * a block gets committed is each one's own.
 *
 * Both are crash-fault protocols: what an authenticated peer says is believed. What it sends is
 * decoded with the same care as everywhere, and what does not fit is counted and dropped. */
#ifndef CONSENSUS_CRASH_CORE_H
#define CONSENSUS_CRASH_CORE_H

#include "base/mem.h"
#include "base/mutant.h"
#include "base/random.h"
#include "consensus/crash/wire.h"
#include "consensus/emit.h"
#include "consensus/engine_private.h"
#include "consensus/log.h"
#include "consensus/pool.h"

#define CORE_CHECKS_MAX	   64 /* WORK_CHECK_TXS under way */
#define CORE_RECHECK_TXS   16
#define CORE_REFORWARD_TXS 64

struct core_check {
	uint64_t id; /* 0: free */
	uint32_t count;
	struct hash *ids;
	struct slice *txs; /* into bytes */
	uint8_t *bytes;
	bool recheck; /* of pool entries: drop what has become invalid */
};

struct core {
	struct engine base; /* ops first */
	const struct chain_ctx *ctx;
	const struct genesis *genesis;
	unsigned self, n, majority;
	struct engine_timing timing;
	uint32_t pipeline;
	struct random random;
	uint64_t now, wall_ms;
	struct emit out;
	uint64_t durable_seq;
	uint64_t next_work_id;

	enum engine_role role;
	uint16_t leader;       /* NO_VALIDATOR: unknown */
	uint64_t leader_heard; /* 0: not in this term */
	uint64_t heard[VALIDATORS_MAX];
	uint64_t peer_final; /* of our leader, as it says */
	struct term_cert tc; /* newest term whose first block's parent is known here */

	/* ---- chain ---- */
	struct block_log log;
	struct block_ref tip; /* of our log; Paxos: of our own proposals */
	struct cert mark;     /* of the newest final block; kind 0: genesis */
	bool has_goal;	      /* committed, not final yet: to be executed */
	struct hash goal;
	uint64_t goal_term;
	struct mode_state modes;

	/* ---- building ---- */
	bool building;
	uint64_t build_id, build_time;
	struct block *build_parent; /* held */
	bool build_empty;	    /* may be empty */
	struct pool_tx *candidates; /* block_txs_max of them */

	/* ---- transactions ---- */
	struct pool pool;
	struct hash marked; /* newest block whose transactions the pool has marked */
	struct core_check checks[CORE_CHECKS_MAX];
	struct pool_tx *check_request;
	bool forward_fresh; /* new transactions to forward at the end of this step */
	uint64_t reforward_at;

	bool reading[VALIDATORS_MAX]; /* a WORK_READ for this peer is out */
	uint64_t counters[COUNTERS];
};

/* core.c */
void core_init(struct core *c, const struct engine_ops *ops, const struct engine_config *config,
	       const struct engine_recovery *recovery);
void core_free(struct core *c); /* contents only */
void core_step_begin(struct core *c, const struct input *in);
void core_status(const struct core *c, struct engine_status *out);
/* Random in [timeout_min, timeout_max]. */
uint64_t core_timeout(struct core *c);
bool core_leader_alive(const struct core *c);
/* Peers heard in `since` (times) within timeout_max, ourselves included, are a majority. */
bool core_majority_heard(const struct core *c, const uint64_t *since);
uint64_t core_final_height(const struct core *c);
struct block_ref core_final_ref(const struct core *c);
void core_set_term_cert(struct core *c, uint64_t term, uint16_t leader,
			const struct block_ref *base);

/* chain.c */
struct log_entry *core_tip(const struct core *c); /* NULL: the tip is final */
/* log_add(), after a prune if the log is full. */
int core_log_add(struct core *c, struct block *b, struct log_entry **out);
/* True if everything up to e (NULL: final) is executed; else the next one is under way. */
bool core_execute_to(struct core *c, struct log_entry *e);
void core_on_executed(struct core *c, const struct input *in);
/* e, in our log, and so all before it, is committed in this term. */
void core_commit(struct core *c, struct log_entry *e, uint64_t term);
/* The goal and what leads to it becomes final once it is executed. True: something did. */
bool core_try_finalize(struct core *c);
/* The writer for the slot's bytes; the step's writes are synced. */
static inline struct writer *core_votes(struct core *c, unsigned slot)
{
	emit_sync(&c->out);
	return emit_votes(&c->out, slot);
}

/* Asks for a body on top of parent, which is executed: out of the pool (false: nothing to do),
 * or with exactly those transactions of `again` that can be included. */
bool core_build(struct core *c, struct block *parent, bool empty);
void core_rebuild(struct core *c, struct block *parent, const struct block *again);
/* The answer to either: the block, in term of leader; or NULL. One reference. */
struct block *core_built(struct core *c, const struct input *in, uint64_t term,
			 uint16_t leader);
void core_build_stop(struct core *c);
void core_read(struct core *c, unsigned peer, uint64_t from);

/* txs.c */
void core_submit(struct core *c, const struct pool_tx *tx);
void core_on_forward(struct core *c, const struct crash_txs *m);
void core_txs_checked(struct core *c, const struct input *in);
void core_forward_all_later(struct core *c); /* the leader changed */
void core_forward_tick(struct core *c);
void core_forward_end(struct core *c);
uint64_t core_forward_wake(const struct core *c);
void core_pool_follow(struct core *c); /* the tip moved */
void core_txs_free(struct core *c);

#endif
