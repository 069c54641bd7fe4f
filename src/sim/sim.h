/* The deterministic world: n replicas (engine, driver, ledger, memory store: what ships), a
 * virtual clock, a network and disks that fail, clients, and checkers. One seed decides
 * everything. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "sim/adversary.h"
#include "sim/script.h"

struct sim;
struct sim_measures; /* sim/measure.h */

#define SIM_TEXT_MAX  512
#define SIM_TIMES_MAX 4096
#define SIM_MODES_MAX 64

struct sim_options {
	unsigned nodes;
	uint64_t seed;
	uint32_t decisions;	/* blocks to make final while faults go on */
	uint32_t clients;	/* closed loop, one transaction each at a time */
	enum sig_scheme scheme; /* symbolic by default */
	enum protocol protocol; /* 0: hybrid */
	uint32_t probation;	/* in checkpoint intervals; 0: 2 */
	bool calm;		/* no faults, no loss */
	bool resigns;		/* leaders are asked to, now and then, in whatever run */
	unsigned dead;		/* calm: so many replicas never start */
	unsigned wiped;		/* so many correct ones may lose their disks when they crash */
	unsigned rewound;	/* so many come back with old copies of their disks */
	unsigned members;	/* so many validators get a new key, one after the other */
	bool late;		/* the last replica starts only once the decisions are made */
	uint32_t pipeline;	/* 0: default */
	uint32_t checkpoint;	/* interval; 0: 32 if calm, else 8 */
	uint32_t value_size;	/* bytes that each transaction writes; 0: 8 */
	/* Malicious replicas, the first of a seed's shuffle; at most f, or it is a control that
	 * must break. attacks 0: every one there is. */
	unsigned corrupt;
	uint64_t attacks;
	bool peaceful;	     /* none until the script says so */
	bool steady;	     /* all of them, always; else moods that come and go */
	bool when_following; /* they attack only while they do not lead */
	bool when_leading;   /* they attack only while they lead; honest leaders are held up
			      * until one of them does */
	uint64_t targets;    /* of two-sided attacks; 0: by chance */
	bool gentle;	     /* no other faults but small delays */
	const struct script *script; /* NULL: none; else what else happens, and when */
	/* Parts of a run: of the storm's faults and of the attacks only these take place; NULL:
	 * all. And these messages are lost. */
	const struct occurrences *only_faults, *only_strikes;
	const struct losses *losses;
	struct sim_record *record; /* NULL, or told what took place */
	/* State sync: replica_config. A history of the states is needed for it. */
	uint64_t sync_gap, history, blocks;
	uint32_t kill_points; /* so many deaths at a write or sync, besides all else */
	uint64_t duration_us; /* acts at least so long, whatever has been decided */
	/* The network and the clients when nothing is wrong; 0: drawn from the seed. */
	uint64_t delay_min_us, delay_max_us, think_us;
	uint32_t loss_per_mille;
	bool measure_conflicts; /* a fork is counted; the run ends a while after the first */
	bool await_strikes;	/* nor before an attack has struck */
	bool await_one_term;	/* nor before all correct replicas follow one leader */
	bool await_change;	/* nor before there has been a mode change */
	bool await_fast;	/* the run is not over while the ledger says pbft */
	bool live;		/* not simulated: for reports only */
	bool trace;		/* every message and fault to stdout */
	struct sim_measures *measure; /* filled if not NULL */
	uint32_t warm_up; /* with measure: so many blocks, and the network at rest, before what
			   * is counted */
	/* What things take of a replica's one processor, in us; all 0: nothing takes time. Every
	 * transaction's signature is checked then. (src/sim/cpu.c) */
	struct sim_cpu {
		uint32_t verify_us, sign_us; /* a signature */
		uint32_t step_us;	     /* an input: a message, a timer, a sync */
		uint32_t tx_us;		     /* a transaction, until it is final */
	} cpu;
	/* For measurements of speed (ostrakon-lab sim bench): */
	uint32_t keys;	       /* that clients write to; 0: 200 */
	uint32_t block_txs;    /* in a block, at most; 0: default */
	bool to_leader;	       /* calm: clients ask the leader, who stays */
	bool no_healing;       /* calm: it is over with the last decision */
	bool unchecked;	       /* messages, certificates and transactions are not looked into;
				* equal blocks and state roots are still wanted of all */
	bool unshared;	       /* replicas hash and keep for themselves what is equal */
	struct sim_bare *bare; /* NULL, or records what goes through the event loop */
	unsigned inject;       /* calm: so many needless messages, for the counter's own test */
	/* Sees every message that replica `from` sends before the network does; true: it is not
	 * sent. May call sim_send_as() instead. NULL: nobody looks. */
	bool (*intercept)(void *ctx, struct sim *s, unsigned from, const struct message *m);
	void *intercept_ctx;
};

enum sim_verdict { SIM_OK, SIM_SAFETY, SIM_LIVENESS };

struct sim_result {
	enum sim_verdict verdict;
	char text[SIM_TEXT_MAX]; /* what was violated, at what virtual time */
	uint64_t decisions, transactions, acknowledged; /* without the warm-up */
	uint64_t virtual_us;
	uint64_t counters[COUNTERS];
	uint64_t messages[ENGINE_MESSAGE_TYPES]; /* at the transport, by type, one a receiver */
	uint64_t bytes;
	uint64_t events;	    /* of the loop */
	uint64_t lone_certificates; /* of these, APPENDs without a block */
	uint64_t epochs;	    /* that ended */
	uint64_t replays;	    /* of messages of one epoch as if of a later one */
	uint64_t crashes, partitions, restarts, halted;
	/* Old copies put back; that were noticed; that vote on though they lack votes. */
	uint64_t rewound, outdated, unnoticed;
	uint64_t syncs, sync_strikes, sync_retries, sync_bytes; /* at correct replicas */
	uint64_t epoch_syncs;		/* of syncs, in later epochs than the first */
	uint64_t jumps;			/* of syncs, over the end of an epoch, or several */
	uint64_t kills, kills_starting; /* at kill points; of these, while starting */
	uint64_t builds_refused_busy;	/* by hosts that gather; each is asked for again */
	uint64_t strikes[ATTACKS];
	uint64_t corrupt_mask, jailed_mask, accused_mask;
	uint64_t conflicts; /* heights at which correct replicas finalised different blocks */
	uint64_t longest_gap_us;		  /* between two new final blocks, anywhere */
	uint64_t windows, windows_with_commit;	  /* of 100 ms */
	uint64_t propose_to_final[SIM_TIMES_MAX]; /* us, of the newest blocks; unordered */
	uint32_t times;
	struct sim_mode {
		uint64_t at_us, height, term;
		enum system_kind kind;
		enum escalation_reason reason;
		unsigned culprit; /* MEMBER: whose key it is */
		enum evidence_kind proof;
	} modes[SIM_MODES_MAX];
	uint32_t mode_count;
	uint64_t first_proof_us; /* a correct replica held one; 0: never */
	uint64_t first_pbft_us;	 /* first block of pbft mode final after that */
	uint64_t first_conviction_us, fast_again_us; /* first fast block final after it */
	/* From the loss of a leader (crash, cut, pause, proof) to the first final block of
	 * another; the longest. 0: no leader was lost. */
	uint64_t failover_us;
	uint64_t progress_us; /* from the end of all faults to the next final block */
	bool in_pbft;	      /* by the final blocks, at the end */
	/* made and checked by all replicas; not by clients and checkers */
	struct sig_counts signatures;
	/* of a fork: who signed both certificates, and against how many of them that is
	 * evidence that anybody can check */
	uint64_t culprits, proven;
	struct sim_fork { /* the first */
		uint64_t at_us, height;
		struct hash hash[2];	 /* of the two blocks */
		struct block_ref ref[2]; /* of the certificates */
		enum cert_kind kind[2];
	} fork;
	struct hash log_hash;	/* of the commit log: terms, senders, nonces, results, roots */
	struct hash trace_hash; /* of every delivery */
};
/* Runs to the end or to the first violation. */
void sim_run(const struct sim_options *options, struct sim_result *result);

/* What the event loop does in a run, to be done again without anything else: events are pushed,
 * popped in the order of the run, packets of the run's sizes are made, shared and dropped.
 * Bounded by SIM_BARE_MAX entries; what comes after is not kept. */
#define SIM_BARE_MAX (1u << 22)
struct sim_bare *sim_bare_new(void);
void sim_bare_free(struct sim_bare *b);
uint64_t sim_bare_replay(const struct sim_bare *b); /* returns the number of events */

/* For interceptors: m travels as if replica `from` had sent it; checkers and the interceptor do
 * not see it. */
void sim_send_as(struct sim *s, unsigned from, const struct message *m);
uint64_t sim_now(const struct sim *s);

#endif
