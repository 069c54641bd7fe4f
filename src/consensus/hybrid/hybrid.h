/* The hybrid engine, private. One struct, one file for each phase:
 *
 *	hybrid.c	creation, dispatch of inputs, timers
 *	state.c		what is durable: vote state slots, entering terms, the tip and the high
 *QC recover.c	from disk to a running replica
 *	election.c	pre-votes, term votes, rules 1-3, refusals, strays
 *	lead.c		the fast leader: proposing, counting votes, certificates
 *	follow.c	the fast follower: accepting blocks, voting, QC adoption
 *	finality.c	final certificates, checkpoints
 *	fetch.c		catching up, serving blocks
 *	forward.c	transactions between replicas
 *	outbox.c	one step's output
 *
 * [Sn], [In] cite invariants of docs/consensus.md; "section n" cites its protocol text. */
#ifndef CONSENSUS_HYBRID_HYBRID_H
#define CONSENSUS_HYBRID_HYBRID_H

#include "base/mem.h"
#include "base/random.h"
#include "consensus/engine_private.h"
#include "consensus/hybrid/message.h"
#include "consensus/log.h"
#include "consensus/pool.h"

/* A planted bug: false unless --enable-mutants and selected (docs/testing.md). */
#ifdef ENABLE_MUTANTS
extern int mutant_selected;
#define MUTANT(id) (mutant_selected == (id))
#else
#define MUTANT(id) false
#endif
enum mutant_id {
	MUTANT_NONE = 0,
	MUTANT_LONGER_LOG = 1,		  /* Raft's rule: longer wins, need not extend */
	MUTANT_MAJORITY_QUORUM = 2,	  /* n/2+1 instead of q and qf */
	MUTANT_VOTE_BEFORE_SYNC = 3,	  /* PREPARE leaves before it is durable */
	MUTANT_VOTE_OFF_TIP = 4,	  /* a vote need not extend the tip */
	MUTANT_Q_FOR_QF = 5,		  /* one round with q votes */
	MUTANT_TWO_VOTES_A_TERM = 6,	  /* a second term vote in one term */
	MUTANT_LATE_COMMIT = 7,		  /* COMMIT after having left the term */
	MUTANT_FORGET_VOTE = 8,		  /* the vote state is not written */
	MUTANT_OLD_TERM_COMMIT = 9,	  /* votes of another term count */
	MUTANT_RELEAD_AFTER_RESTART = 10, /* proposes in a term it led before a restart */
};

#define BLOCK_TIME_AHEAD_MS   60000 /* a block from further in the future gets no vote */
#define PENDING_CHECKS_MAX    64    /* WORK_CHECK_TXS under way */
#define REFORWARD_TXS_MAX     64    /* oldest transactions sent again every two heartbeats */
#define STALE_ANSWERS_SPACING 1	    /* heartbeats between refusals to one peer */
#define CERT_WAIT_DIVISOR     4	    /* a lone QC waits a heartbeat/4 for one-round votes */

enum vote_slot { SLOT_TERM = 0, SLOT_TC = 1, SLOT_TIP = 2, SLOT_STABLE = 3 };

/* Votes for one of our blocks (leader). */
struct vote_slot_tally {
	struct block_ref ref; /* term 0: unused */
	uint64_t own_seq;     /* write that holds the block; our PREPARE counts after it */
	struct tally prepare, commit;
};

struct outbox {
	struct write *writes;
	uint32_t write_count, write_cap;
	struct writer *slots; /* bytes of WRITE_VOTES, WRITE_EVIDENCE */
	uint32_t slot_count, slot_cap;
	bool sync;
	struct message *messages;
	struct writer *bodies; /* of messages, by index */
	uint32_t message_count, message_cap, body_cap;
	struct final_block *finals;
	uint32_t final_count, final_cap;
	struct work *works;
	uint32_t work_count, work_cap;
	struct rejected_tx *rejected;
	uint32_t rejected_count, rejected_cap;
	struct block **held; /* released at the next step */
	uint32_t held_count, held_cap;
	const char *halt;
	char halt_text[256];
};

enum election_phase { ELECTION_NONE, ELECTION_PRE_VOTE, ELECTION_VOTE };

struct election {
	enum election_phase phase;
	uint64_t term;		   /* the one asked for */
	struct entitlement grants; /* collected pre-votes, sorted by signer */
	struct term_cert votes;	   /* collected term votes */
	struct signature sig[VALIDATORS_MAX];
	uint64_t signers;
	unsigned vote_count;
	struct block_ref base; /* our tip when we asked */
	uint64_t own_seq;      /* write that holds our own vote; 0: counted */
	bool rescue;	       /* we lead, and ask because of a stray's refusal */
};

struct pending_check {
	uint64_t id; /* 0: free */
	uint32_t count;
	struct hash *ids;
	struct slice *txs; /* into bytes */
	uint8_t *bytes;
	bool relayed;
	bool recheck; /* of pool entries: drop what has become invalid */
};

struct hybrid {
	struct engine base; /* ops first */
	const struct chain_ctx *ctx;
	const struct genesis *genesis;
	struct quorum quorum;
	unsigned self, n;
	struct keypair key;
	struct engine_timing timing;
	uint32_t pipeline, window, checkpoint_interval;
	struct hash genesis_hash;
	struct random random;
	uint64_t now, wall_ms;

	/* ---- durable (state.c) ---- */
	uint64_t term;			/* own term */
	uint64_t signed_term;		/* newest term in which we signed a term vote */
	struct term_vote signed_vote;	/* that vote; resent byte for byte */
	struct entitlement entitlement; /* to `term` when TC(term) is not held */
	struct term_cert tc;		/* accepted: the newest; term 0 at the start */
	struct term_cert tip_tc;	/* TC(tip.term), which positions show */
	struct block_ref tip;		/* highest block voted for or adopted */
	bool tip_voted;			/* by a PREPARE of ours, else adopted */
	bool has_qc;
	struct cert qc; /* high QC, on the tip's chain */
	bool has_stable;
	struct cert stable; /* newest stable checkpoint */
	bool dirty[4];	    /* slots that changed since they were written */
	uint64_t write_seq; /* of the newest output with writes */
	uint64_t durable_seq;

	/* ---- chain ---- */
	struct block_log log;
	struct cert final_cert; /* newest; kind 0: genesis */
	bool has_pending_final;
	struct cert pending_final; /* verified, above the final height, not yet executed */
	bool has_pending_qc;
	struct cert pending_qc;	  /* verified QC of the own term that we cannot apply yet */
	uint64_t distrusted_term; /* its leader was caught or proposed an invalid block */
	struct hash append_tip;	  /* newest block of the own term taken from its leader */
	bool has_append_tip;
	bool answer_leader;	 /* an APPENDED is due at the end of this step */
	uint64_t final_at_heartbeat;
	struct hash commit_sent; /* block of our newest COMMIT */
	struct hash marked;	 /* newest block whose transactions the pool has marked */
	bool resumed;
	bool want_sync; /* write the dirty slots in this step though nothing is sent */

	/* ---- role ---- */
	enum engine_role role;
	uint64_t led_before_restart; /* term */
	struct election election;
	uint64_t heard[VALIDATORS_MAX];		/* last message of any kind */
	uint64_t heard_in_term[VALIDATORS_MAX]; /* leader: last answer in our term */
	uint64_t leader_heard;			/* last heartbeat or block of our leader */
	uint64_t peer_final[VALIDATORS_MAX];	/* as claimed */
	uint64_t match[VALIDATORS_MAX];
	uint64_t tc_acked; /* leader: validators that have our TC, bit mask */

	/* leader */
	struct vote_slot_tally *tallies; /* ring by height */
	uint32_t tally_cap;
	bool building;
	uint64_t build_id, build_time;
	struct pool_tx *candidates; /* block_txs_max of them */
	struct hash build_parent;
	bool lead_first; /* the term's first block is still to be made */
	uint64_t heartbeat_at, heartbeat_counter;
	bool cert_news;	       /* certificate that no APPEND has carried yet */
	bool append_sent;      /* an APPEND left in this step */
	uint64_t cert_news_at; /* when a lone QC is sent although more votes may come */
	struct {
		uint64_t since; /* when the refusal came; 0: none */
		struct refusal_proof proof;
		struct entitlement entitlement;
		uint64_t spacing, next;
	} stray[VALIDATORS_MAX];

	/* checkpoints */
	bool has_checkpoint_vote;
	struct vote checkpoint_vote; /* own newest */
	struct tally checkpoint_tally;

	/* timers */
	uint64_t timer_at; /* election */
	uint32_t timeouts; /* since the last commit of a held transaction or idle heartbeat */
	bool timed_out_on_work;
	uint64_t reforward_at;
	uint64_t refused_at[VALIDATORS_MAX]; /* when we last sent each a refusal */
	uint64_t rescue_accepted_height;
	uint64_t rescue_accepted_term; /* 0: never */

	/* fetching */
	bool fetching;
	unsigned fetch_peer;
	uint64_t fetch_from, fetch_at;
	bool fetch_wanted; /* once more when this one is answered */
	unsigned fetch_wanted_peer;
	bool reading[VALIDATORS_MAX]; /* a WORK_READ for this peer is out */

	/* transactions */
	struct pool pool;
	struct pending_check checks[PENDING_CHECKS_MAX];
	struct pool_tx *check_request; /* FORWARD_TXS_MAX, of the WORK_CHECK_TXS of this step */
	uint64_t next_work_id;
	bool forward_fresh; /* new transactions to forward at the end of this step */

	struct outbox out;
	struct message_in *in; /* decoding scratch */
	struct msg_append *append_scratch;
	struct msg_blocks *blocks_scratch;
	uint64_t counters[COUNTERS];
};

/* outbox.c */
void outbox_begin(struct hybrid *h);
void outbox_free(struct hybrid *h);
void outbox_finish(struct hybrid *h, struct output *out);
void out_block(struct hybrid *h, struct block *b);
void out_cert(struct hybrid *h, const struct cert *c); /* c lives until the next step */
struct writer *out_votes(struct hybrid *h, unsigned slot);
struct writer *out_tc(struct hybrid *h, uint64_t term);
struct writer *out_evidence(struct hybrid *h, const struct hash *id);
/* The writer to encode the message into. mask excludes self; an empty mask is fine. */
struct writer *out_message(struct hybrid *h, uint64_t mask, enum message_class class,
			   enum message_type type);
struct message *out_last_message(struct hybrid *h);
void out_final(struct hybrid *h, struct block *b, const struct cert *c);
struct work *out_work(struct hybrid *h, enum work_kind kind);
void out_hold(struct hybrid *h, struct block *b);
void out_rejected(struct hybrid *h, const struct hash *id, int err);
void out_halt(struct hybrid *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* state.c */
uint64_t mask_all(const struct hybrid *h); /* everybody but us */
unsigned certificate_quorum(const struct hybrid *h);
unsigned one_round_quorum(const struct hybrid *h);
struct block_ref final_ref(const struct hybrid *h);
uint16_t current_leader(const struct hybrid *h); /* of the own term, or NO_VALIDATOR */
bool in_accepted_term(const struct hybrid *h);	 /* own term = accepted TC's */
/* [I2] Enters t >= own term; why entitles to it (copied). */
void enter_term(struct hybrid *h, uint64_t t, const struct entitlement *why);
/* A checked fast TC of a term not below our own: enters it as its leader's follower, or, if we
 * are its leader, as leader. False if it is not newer than the accepted one. */
bool accept_tc(struct hybrid *h, const struct term_cert *tc);
/* Checks tc unless it is useless, then accept_tc(). A TC below the own term, but newer than the
 * accepted one, is accepted without entering its term (a stray keeps its log fresh). */
bool learn_tc(struct hybrid *h, const struct term_cert *tc);
bool tip_extends(const struct hybrid *h,
		 const struct log_entry *e); /* e strictly extends tip */
void set_tip(struct hybrid *h, const struct block_ref *ref, bool voted);
void set_qc(struct hybrid *h, const struct cert *qc);
void drop_qc(struct hybrid *h);
void flush_state(struct hybrid *h); /* writes the dirty slots; messages of this step follow */
void state_write_slot(struct hybrid *h, struct writer *w, unsigned slot);
int state_read_slot(struct hybrid *h, unsigned slot, struct slice bytes);
void own_entitlement(const struct hybrid *h, struct entitlement *out); /* deep copy */

/* recover.c */
int hybrid_recover(struct hybrid *h, const struct engine_recovery *recovery, struct errmsg *m);
void hybrid_resume(struct hybrid *h); /* first step: asks for execution of recovered blocks */

/* election.c */
void campaign(struct hybrid *h);
void on_vote_request(struct hybrid *h, unsigned from, struct msg_vote_request *m, bool pre);
void on_pre_vote(struct hybrid *h, unsigned from, const struct grant *g);
void on_term_vote(struct hybrid *h, unsigned from, const struct term_vote *v);
void on_refusal(struct hybrid *h, unsigned from, const struct msg_refusal *m);
void send_refusal(struct hybrid *h, unsigned to, uint64_t for_term);
void rescue_strays(struct hybrid *h);
void election_durable(struct hybrid *h);
void election_stop(struct hybrid *h);
bool make_position(struct hybrid *h, struct position *out);

/* lead.c */
void lead_begin(struct hybrid *h);
void lead_stop(struct hybrid *h);
void maybe_build(struct hybrid *h);
void on_built(struct hybrid *h, const struct input *in);
void on_appended(struct hybrid *h, unsigned from, const struct msg_appended *m);
void on_heartbeat_ack(struct hybrid *h, unsigned from, const struct msg_heartbeat_ack *m);
void lead_durable(struct hybrid *h);
void lead_tick(struct hybrid *h);
void lead_end_of_step(struct hybrid *h);
bool quorum_heard(const struct hybrid *h);
void send_heartbeat(struct hybrid *h);

/* follow.c */
void on_append(struct hybrid *h, unsigned from, struct msg_append *m);
void on_heartbeat(struct hybrid *h, unsigned from, const struct msg_heartbeat *m);
void on_executed(struct hybrid *h, const struct input *in);
/* Takes a block into the log; requests its execution. The entry, or NULL. *gap: its parent is
 * not known. */
struct log_entry *take_block(struct hybrid *h, struct block *b, bool *gap);
void request_execution(struct hybrid *h, struct log_entry *e);
/* A checked QC (or one-round certificate): applies it, or keeps it until it can be. */
void take_qc(struct hybrid *h, const struct cert *qc);
void try_vote(struct hybrid *h);
void store_chain(struct hybrid *h, struct log_entry *e);
void follow_end_of_step(struct hybrid *h);
bool commit_due(const struct hybrid *h, struct vote *out);
bool tip_vote(const struct hybrid *h, struct vote *out);
void record_evidence(struct hybrid *h, const struct evidence *ev);
void distrust_leader(struct hybrid *h);

/* finality.c */
void take_final_cert(struct hybrid *h, const struct cert *c); /* checked */
void try_finalize(struct hybrid *h);
int take_cert(struct hybrid *h,
	      const struct cert *c); /* unchecked, of any kind but checkpoint */
void take_checkpoint_vote(struct hybrid *h, unsigned from, const struct vote *v);
void take_stable(struct hybrid *h, const struct cert *c); /* unchecked */
bool checkpoint_vote_due(const struct hybrid *h);

/* fetch.c */
void fetch_from(struct hybrid *h, unsigned peer);
void fetch_from_anybody(struct hybrid *h);
void fetch_tick(struct hybrid *h);
void on_fetch(struct hybrid *h, unsigned from, const struct msg_fetch *m);
void on_blocks_read(struct hybrid *h, const struct input *in);
void on_blocks(struct hybrid *h, unsigned from, struct msg_blocks *m);

/* forward.c */
void on_submit(struct hybrid *h, const struct pool_tx *tx);
void on_txs(struct hybrid *h, unsigned from, const struct msg_txs *m, bool relay);
void on_txs_checked(struct hybrid *h, const struct input *in);
void forward_end_of_step(struct hybrid *h);
void forward_tick(struct hybrid *h);
void recheck_oldest(struct hybrid *h);
void forward_all_later(struct hybrid *h);
void pool_follow_chain(struct hybrid *h); /* marks what blocks of the tip's chain contain */
void forward_free(struct hybrid *h);

/* hybrid.c: timers (section 3, "Timers") */
bool holds_work(const struct hybrid *h);
void timer_restart(struct hybrid *h);
void timer_on_heartbeat(struct hybrid *h);
void timer_on_commit(struct hybrid *h, bool of_held);
void timer_on_work(struct hybrid *h);
bool leader_is_alive(const struct hybrid *h);

#endif
