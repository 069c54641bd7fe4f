/* The one interface of all consensus engines. Sans-I/O: no thread, clock, socket or disk.
 *
 *	engine_step(engine, &input, &output)
 *
 * One input in, one output out. The output's parts take effect in this order, which the driver
 * (driver.h) enforces for node, simulator and lab alike:
 *	1 writes to make durable   2 messages to send after that   3 blocks now final
 *	4 work to do and report back   5 when to wake the engine
 *
 * Inputs are borrowed for the call; outputs live until the next call. Blocks in outputs are
 * lent: hold what is kept. A step cannot fail: bytes from a peer that make no sense are counted
 * and dropped. Times are microseconds of a monotonic clock, except wall_ms. */
#ifndef CONSENSUS_ENGINE_H
#define CONSENSUS_ENGINE_H

#include "chain/evidence.h"
#include "chain/select.h"
#include "chain/system.h"

struct engine; /* opaque; begins with struct engine_ops * */

#define NO_VALIDATOR UINT16_MAX

/* ---- configuration ---------------------------------------------------------------------- */

#define TIMEOUT_MIN_DEFAULT_US UINT64_C(300000)
struct engine_timing {	      /* microseconds */
	uint64_t heartbeat;   /* default 50,000 */
	uint64_t timeout_min; /* election timeout, lower end: default TIMEOUT_MIN_DEFAULT_US */
	uint64_t timeout_max; /* upper end: default 600,000 */
	uint64_t timeout_cap; /* of doubling: default 4,000,000 */
};
struct engine_config {
	const struct chain_ctx *ctx;   /* outlives the engine */
	const struct genesis *genesis; /* outlives the engine */
	struct block *genesis_block; /* that the epoch of ctx begins with; lent for the call */
	unsigned self;		     /* validator index */
	struct keypair key;
	struct engine_timing timing;
	uint32_t pipeline; /* unfinal own blocks in flight: default 8, <= window */
	uint64_t seed;	   /* of its randomised timers */
	uint64_t now;
	evidence_tx_invalid tx_invalid; /* the ledger's tx_never_valid */
	/* [I15] Its vote state is lost: it follows, serves and forwards, and signs nothing. The
	 * key is not needed. The baselines have no observers: ERR_UNSUPPORTED. */
	bool observer;
	/* [I20] Before it takes part it asks the others for the newest of its own votes. The
	 * baselines do not. */
	bool asks_own_votes;
};

/* What was on disk. All empty at the first start. */
#define VOTE_SLOTS 7
struct engine_recovery {
	struct slice votes[VOTE_SLOTS]; /* as last written; empty if never */
	struct block *final; /* newest final block known on disk (genesis if none); lent */
	const struct cert *final_cert; /* of it; NULL for genesis */
	/* Headers of final blocks, from final.height - count + 1 up to final, ascending, as
	 * many as exist back to the newest stable checkpoint or POSITION_HEADERS_MAX. Lent. */
	struct signed_header *headers;
	uint32_t header_count;
	/* Reads the final header at a height, for positions that begin further down; NULL:
	 * there are none but these. */
	bool (*header_at)(void *arg, uint64_t height, struct signed_header *out);
	void *header_arg;
	/* Every stored block above the final height, in any order. Lent. */
	struct block **blocks;
	uint32_t block_count;
	/* Reads a stored block that is not among them: there may be more than are lent. A new
	 * reference; NULL: those are all. */
	bool (*block_at)(void *arg, uint64_t height, const struct hash *hash,
			 struct block **out);
	void *block_arg;
	struct mode_state modes; /* after the final block */
	/* Encoded evidence as written, of any age: what is convicted already is left out. Lent.
	 */
	const struct slice *evidence;
	uint32_t evidence_count;
};

/* ---- inputs ------------------------------------------------------------------------------ */

enum input_kind {
	INPUT_TICK,	   /* time has passed; also after wake_at */
	INPUT_MESSAGE,	   /* from an authenticated peer */
	INPUT_SUBMIT,	   /* a client's transaction, form, signature and admission checked */
	INPUT_DURABLE,	   /* all writes up to write_seq are durable */
	INPUT_BUILT,	   /* answer to WORK_BUILD */
	INPUT_EXECUTED,	   /* answer to WORK_EXECUTE */
	INPUT_TXS_CHECKED, /* answer to WORK_CHECK_TXS */
	INPUT_BLOCKS_READ, /* answer to WORK_READ */
	INPUT_MEMBER,	   /* a member change that a client brings (chain/member.h) */
	INPUT_RESIGN,	   /* this replica is to stop: if it leads, another one should */
};

struct pool_tx { /* a transaction with its id; bytes lent */
	struct hash id;
	struct slice bytes;
};

struct input {
	enum input_kind kind;
	bool more; /* others follow at once: what leaves in batches may wait for the last one */
	uint64_t now;
	uint64_t wall_ms;
	union {
		struct {
			unsigned from;
			struct slice bytes;
		} message;
		struct pool_tx submit;
		struct slice member; /* encoded; checked by the engine */
		uint64_t durable;    /* write_seq */
		struct {
			uint64_t id;
			int err; /* other than ERR_NONE: nothing was built */
			struct slice body;
			uint32_t tx_count;
			struct hash tx_root, state_root;
			/* ids of candidates that can never be included on this chain */
			const struct hash *refused;
			const int *refused_err;
			uint32_t refused_count;
		} built;
		struct {
			struct hash block;
			int err;       /* ERR_NONE: valid, state root as in the header */
			bool by_bytes; /* err shows from the block's bytes alone */
		} executed;
		struct {
			uint64_t id;
			const int *err; /* for each transaction of the request, same order */
			uint32_t count;
		} txs_checked;
		struct {
			uint64_t id;
			struct block **blocks; /* ascending, consecutive; lent */
			uint32_t count;
			const struct cert *cert;    /* final, of the last block; NULL if none */
			const struct term_cert *tc; /* of the last block's term; NULL if none */
		} blocks_read;
	};
};

/* ---- outputs ----------------------------------------------------------------------------- */

enum write_kind {
	WRITE_BLOCK,	/* block */
	WRITE_VOTES,	/* bytes into slot 0..VOTE_SLOTS-1 of the vote state */
	WRITE_CERT,	/* final certificate of cert->ref.height */
	WRITE_TC,	/* term certificate, kept by term */
	WRITE_EVIDENCE, /* bytes, keyed by id */
	WRITE_OUTDATED, /* others hold votes that this disk does not know: an observer for good
			 */
};
struct write {
	enum write_kind kind;
	struct block *block;
	unsigned slot;
	struct slice bytes;
	const struct cert *cert;
	uint64_t term; /* WRITE_TC */
	struct hash id;
};

enum message_class { CLASS_URGENT, CLASS_CONSENSUS, CLASS_BULK }; /* = enum net_class */
struct message {
	uint64_t to; /* bit i: validator i; never the sender itself */
	enum message_class class;
	uint8_t type;	     /* first byte of bytes, for counting */
	bool before_durable; /* need not wait for this output's writes: [I1], the exception */
	struct slice bytes;
};

struct final_block {
	struct block *block;
	const struct cert *cert; /* makes it final, itself or through a descendant */
};

enum work_kind {
	WORK_BUILD,	/* make a body on top of parent from candidates */
	WORK_EXECUTE,	/* check signatures, execute; the parent is executed or final */
	WORK_CHECK_TXS, /* form, signature, admission */
	WORK_READ,	/* read final blocks from disk, for a peer */
	WORK_DROP,	/* forget the execution of a block, which is final nowhere; no answer */
};
#define BUILD_SYSTEM_MAX                                                                       \
	SYSTEM_TXS_MAX /* a build has up to block_txs_max candidates and so many SYSTEM ones   \
			*/
struct work {
	enum work_kind kind;
	uint64_t id;
	struct block *block;	   /* EXECUTE; BUILD: the parent */
	uint64_t time_ms;	   /* BUILD */
	const struct pool_tx *txs; /* BUILD: candidates; CHECK_TXS */
	uint32_t tx_count;
	struct hash hash;      /* DROP */
	uint64_t height;       /* READ: first one wanted */
	uint32_t max_blocks;   /* READ */
	uint32_t max_bytes;    /* READ: soft; at least one block, up to the next certificate */
	uint32_t system_count; /* BUILD: so many leading candidates are SYSTEM transactions, all
				* must go in */
};

struct rejected_tx {
	struct hash id;
	int err;
};

struct output {
	const struct write *writes;
	uint32_t write_count;
	uint64_t write_seq; /* of these writes; report INPUT_DURABLE with it. Rising. */
	bool sync;	    /* false: these writes may become durable with any later sync */
	bool recall; /* messages of earlier steps that still wait for the disk must not leave */
	const struct message *messages;
	uint32_t message_count;
	const struct final_block *finals; /* ascending heights, no gap to the last final one */
	uint32_t final_count;
	/* A vote of our own that may not be durable yet counts in the certificate: the finals
	 * wait like messages. Else they need not: whatever a crash undoes here, the certificate
	 * stands. */
	bool finals_wait;
	const struct work *works;
	uint32_t work_count;
	const struct rejected_tx *rejected; /* transactions dropped from the pool */
	uint32_t rejected_count;
	uint64_t wake_at; /* UINT64_MAX: only on input */
	const char *halt; /* not NULL: this replica must stop (diverged state); says why */
};

/* ---- calls ------------------------------------------------------------------------------- */

void engine_step(struct engine *e, const struct input *in, struct output *out);
void engine_free(struct engine *e);
/* The transactions that wait in its pool, oldest first, lent; for who takes its place. */
void engine_each_waiting(const struct engine *e,
			 void (*fn)(void *arg, const struct pool_tx *tx), void *arg);

/* ERR_CORRUPT if the recovered state contradicts itself. */
int engine_new_hybrid(struct engine **out, const struct engine_config *config,
		      const struct engine_recovery *recovery, struct errmsg *m);
int engine_new_raft(struct engine **out, const struct engine_config *config,
		    const struct engine_recovery *recovery, struct errmsg *m);
int engine_new_multipaxos(struct engine **out, const struct engine_config *config,
			  const struct engine_recovery *recovery, struct errmsg *m);
/* The one that the genesis file names. */
int engine_new(struct engine **out, const struct engine_config *config,
	       const struct engine_recovery *recovery, struct errmsg *m);
/* Of any engine's message; "unknown". Types are below this: */
#define ENGINE_MESSAGE_TYPES 64
const char *engine_message_name(uint8_t type);
/* Of state sync, which the replica takes before an engine does. */
bool engine_message_is_sync(uint8_t type);

enum engine_role { ROLE_FOLLOWER, ROLE_CANDIDATE, ROLE_LEADER };
const char *engine_role_name(enum engine_role r);

/* Counters of one engine since it started; the coverage table of the simulator is made of
 * them. Add at the end. */
enum engine_counter {
	COUNT_ELECTIONS_STARTED, /* pre-vote rounds */
	COUNT_ELECTIONS_WON,
	COUNT_RULE_1, /* term votes granted by rule 1, 2, 3 of elections */
	COUNT_RULE_2,
	COUNT_RULE_3,
	COUNT_RULE_REFUSED, /* a valid position that none of the rules admits */
	COUNT_PRE_VOTE_REFUSED,
	COUNT_PRE_VOTE_IGNORED, /* the leader is alive */
	COUNT_POSITION_INVALID,
	COUNT_ONE_ROUND, /* certificates that made blocks final, by grade, at the leader */
	COUNT_TWO_ROUND,
	COUNT_QC_FORMED,
	COUNT_QC_ADOPTED, /* a QC above the tip moved it, or finality did */
	COUNT_QC_DROPPED, /* a vote in a new term dropped a QC off the new chain */
	COUNT_LOG_REPAIR, /* blocks of an older term given up for another chain */
	COUNT_FETCHES,
	COUNT_STRAY_RESCUED, /* leader asked for a new term because of a refusal */
	COUNT_CHECKPOINTS,   /* stable ones seen */
	COUNT_EQUIVOCATIONS, /* new proofs, of any kind, made here or shown */
	COUNT_BAD_MESSAGES,  /* malformed */
	COUNT_BAD_SIGNATURES,
	COUNT_STALE_MESSAGES,
	COUNT_BLOCKS_REFUSED, /* invalid in our state or by time */
	COUNT_POOL_FULL,
	COUNT_RELAYS,
	COUNT_RESTARTED_LEADER, /* came back into a term that it had led */
	COUNT_ESCALATED_E1,	/* went over to pbft mode: transferable proof */
	COUNT_ESCALATED_E2,	/* f+1 suspicions */
	COUNT_ESCALATED_E3,	/* timeouts in a row */
	COUNT_ESCALATED_E4,	/* f+1 others did */
	COUNT_VIEW_CHANGES,	/* view changes signed */
	COUNT_VIEW_CHANGE_INVALID,
	COUNT_NEW_VIEWS, /* made as primary */
	COUNT_NEW_VIEW_ACCEPTED,
	COUNT_NEW_VIEW_INVALID,
	COUNT_SELECT_QC, /* ways through select_base(), of accepted NEW-VIEWs */
	COUNT_SELECT_CHECKPOINT,
	COUNT_SELECT_TC,
	COUNT_SELECT_ANCESTOR,
	COUNT_SELECT_CONFLICT,	    /* of these: tips in conflict */
	COUNT_SELECT_WALKED,	    /* and support led above the base */
	COUNT_SELECT_CULPRIT,	    /* sets refused because the culprit was in it */
	COUNT_MODE_ESCALATED,	    /* final mode entries: escalation recorded */
	COUNT_MODE_FAST,	    /* return to fast */
	COUNT_MODE_FAST_REPEATED,   /* repeated in the next pbft term */
	COUNT_CONVICTIONS,	    /* final */
	COUNT_SUSPICIONS_SIGNATURE, /* sent */
	COUNT_SUSPICIONS_CENSORSHIP,
	COUNT_SUSPICIONS_SLOW,
	COUNT_PBFT_FINAL,	/* blocks made final in pbft terms */
	COUNT_JAILED_SKIPPED,	/* pbft terms skipped because their primary is jailed */
	COUNT_EVIDENCE_HEADERS, /* proofs found or received that hold, by kind */
	COUNT_EVIDENCE_TERM_HEADERS,
	COUNT_EVIDENCE_VOTES,
	COUNT_EVIDENCE_TERM_STATEMENTS,
	COUNT_EVIDENCE_NEW_VIEWS,
	COUNT_EVIDENCE_LOW_BASE,
	COUNT_EVIDENCE_INVALID_BLOCK,
	COUNT_EVIDENCE_HIDDEN_VOTE,
	COUNT_EVIDENCE_INVALID_STATEMENT,
	COUNT_MODE_RULES_REFUSED, /* blocks whose mode entries are not what their term asks for
				   */
	COUNT_VALUES_ADOPTED,	  /* Multi-Paxos: values of older ballots proposed again */
	COUNT_GAPS_FILLED,	  /* slots that got a no-op */
	COUNT_REBASED, /* chosen values executed on another block than they were made on */
	COUNT_NACKS,   /* told of a higher ballot */
	COUNT_TIMEOUTS_COUNTED, /* toward E3 */
	COUNT_FAIR_US,	/* in which the leader could have ordered, had it wanted to [I12] */
	COUNT_FILLERS,	/* made: blocks behind an epoch's end that was not final yet */
	COUNT_RESIGNED, /* from leading, to stop */
	COUNT_ENDS_BY_FILLER, /* ends made final by a certificate of such a block */
	COUNT_OUTDATED,	      /* others held newer votes of this replica than its disk */
	COUNTERS
};
const char *engine_counter_name(enum engine_counter c);

struct engine_status {
	enum engine_role role;
	enum mode mode;
	uint64_t term;
	uint16_t leader; /* NO_VALIDATOR: unknown */
	struct block_ref tip, final, stable;
	struct block_ref base; /* of the accepted term certificate */
	uint64_t tc_term;
	uint32_t pool_count;
	uint64_t pool_bytes;
	uint64_t pool_oldest; /* when the transaction that waits longest came; 0: none */
	uint64_t heard[VALIDATORS_MAX]; /* when each peer was last heard, 0 never */
	uint64_t match[VALIDATORS_MAX]; /* leader: newest height each is known to have voted */
	/* This replica has not heard its leader yet, or is far behind it: what it finds wrong
	 * with a transaction may be its own fault. */
	bool catching_up;
	bool observer; /* as configured, or since it is outdated: */
	bool outdated; /* others held votes of its key that its disk did not know */
	bool asks;     /* for its own votes: it takes no part yet */
	unsigned
		asks_peers; /* so many more are to tell of its own votes before it takes part */
	bool resigning;	    /* it leads, and waits for its successor to do so */
	bool ended;	    /* the end of its epoch is final: nothing more comes of it */
	bool member_waits;  /* a member change waits for its block */
	bool escalated;
	enum escalation_reason reason; /* of the newest escalation of this replica */
	struct mode_state modes;       /* after the final block */
	uint64_t accused;	       /* bit i: a proof against i waits for its conviction */
	uint64_t timeouts;	       /* in a row without progress */
	uint64_t round_us;   /* a round with the quickest quorum, syncs in it; 0: not known */
	uint64_t sync_us;    /* its own, of these */
	uint64_t timeout_us; /* the election timeout's lower end, which fits it */
	uint64_t counters[COUNTERS];
	/* The highest final height that a peer has spoken of, or a certificate is of: a hint.
	 */
	uint64_t known_final;
};
void engine_status(const struct engine *e, struct engine_status *out);
/* The part of it that every transaction of a client asks for. */
struct engine_pool {
	uint32_t count;
	uint64_t bytes;
};
struct engine_pool engine_pool(const struct engine *e);
/* "observer", or the name of its role. */
const char *engine_status_role(const struct engine_status *s);

/* Observed by the simulator's checkers: the accepted term certificate (lent). */
const struct term_cert *engine_term_cert(const struct engine *e);

#define POOL_TXS_MAX   65536
#define POOL_BYTES_MAX (64u << 20)

#endif
