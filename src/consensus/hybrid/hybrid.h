/* The hybrid engine, private. One struct, one file for each phase:
 *
 *	hybrid.c	creation, dispatch of inputs, timers
 *	state.c		what is durable: vote state slots, entering terms, the tip, the high QC
 *	recover.c	from disk to a running replica
 *	own_votes.c	what others know of our votes, before we cast any
 *	election.c	pre-votes, term votes, rules 1-3, refusals, strays
 *	lead.c		the leader of either mode: proposing; the fast one: counting votes
 *	follow.c	accepting blocks, voting, QC adoption
 *	pbft.c		pbft mode's normal case: PREPARE and COMMIT all to all
 *	view.c		view changes: claims, signing, joining, timers
 *	new_view.c	new views: collecting, making, checking, keeping
 *	resign.c	a leader that is to stop hands over
 *	epoch.c		new keys for validators: requests, the end of the log
 *	escalate.c	E1 to E4: proofs, suspicions, timeouts
 *	modes.c		mode entries of the ledger: which are due, what they do
 *	finality.c	final certificates, checkpoints
 *	fetch.c		catching up, serving blocks
 *	forward.c	transactions between replicas
 *	round_trip.c	how far away the others are: timeouts that fit
 *	message.c	the formats
 *	begin_anew.c	vote state of who begins with a state, or after a recovery
 *
 * [Sn], [In] cite invariants of docs/consensus.md. */
#ifndef CONSENSUS_HYBRID_HYBRID_H
#define CONSENSUS_HYBRID_HYBRID_H

#include "base/mem.h"
#include "base/mutant.h"
#include "base/random.h"
#include "consensus/emit.h"
#include "consensus/engine_private.h"
#include "consensus/hybrid/message.h"
#include "consensus/log.h"
#include "consensus/pool.h"

/* No votes further above the final block than this, but for a term's first one: a leader that
 * shows QCs and hides finality must leave later terms room, in the log and in the ledger. */
#define UNFINAL_VOTES_MAX     (LOG_BLOCKS_MAX / 4)
#define BLOCK_TIME_AHEAD_MS   60000 /* a block from further in the future gets no vote */
#define SHOWN_TIME_AHEAD      10    /* times that: of a block that a view change shows */
#define PENDING_CHECKS_MAX    64    /* WORK_CHECK_TXS under way */
#define REFORWARD_TXS_MAX     64    /* oldest transactions sent again every two heartbeats */
#define CERT_WAIT_DIVISOR     4	    /* a lone QC waits a heartbeat/4 for one-round votes */

enum vote_slot {
	SLOT_TERM = 0,
	SLOT_TC = 1,
	SLOT_TIP = 2,
	SLOT_STABLE = 3,
	SLOT_VIEW = 4,	/* the VIEW-CHANGE that we signed */
	SLOT_CUT = 5,	/* headers of a tip that finality cut off */
	SLOT_VIEWS = 6, /* NEW-VIEWs that others need to check those of SLOT_TC */
};

#define VIEWS_KEPT	       256	   /* checked NEW-VIEWs, for those who miss them */
#define VIEWS_BYTES_MAX	       (64u << 20) /* of those kept but not needed */
#define VIEWS_WANTED	       4	   /* fetches of NEW-VIEWs under way, from each peer */
#define CHECKPOINT_TALLIES     8
#define CHECKPOINT_SPACING_MIN 8
#define CONVICTIONS_MAX	       4  /* in one block */
#define E3_TIMEOUTS	       3  /* k of E3 */
#define SLOW_WINDOW	       10 /* timeouts that a leader has to show its pace */

/* Votes of pbft mode at one height of the accepted term, the first of each replica. */
struct cast_vote {
	struct hash hash;
	struct signature sig;
};
struct height_votes {
	uint64_t height;		    /* 0: unused */
	uint64_t prepared, committed;	    /* bit masks */
	struct cast_vote *prepare, *commit; /* n each */
};

/* The newest view change of each replica, and the highest term that it is known to have signed
 * a view change or term vote in. */
enum view_state {
	VIEW_NONE,
	VIEW_WAITING,
	VIEW_CHECKED /* but bodies miss */,
	VIEW_VALID,
	VIEW_INVALID
};
struct view_slot {
	uint64_t claimed;
	enum view_state state;
	struct view_change vc;	 /* unless VIEW_NONE */
	struct view_claim claim; /* of vc: it hashes all that vc shows */
	uint64_t checked_at;
};

/* The newest signatures of a validator that are in nothing else here, or not any more. All were
 * checked but that of `late`: a vote that came when it was no longer needed. */
struct seen {
	struct vote vote, late;	    /* kind 0: none */
	struct term_vote term_vote; /* term 0: none */
	struct view_claim claim;    /* likewise */
};

/* A proof whose culprit is not jailed by a final block yet. */
struct pending_proof {
	uint8_t *bytes; /* encoded evidence; NULL: none against this validator */
	size_t size;
};

/* Votes for one of our blocks (leader). */
struct block_tally {
	struct block_ref ref; /* term 0: unused */
	uint64_t own_seq;     /* write that holds the block; our PREPARE counts after it */
	struct tally prepare, commit;
};

struct suspected { /* the leader of that term */
	uint64_t term, at;
	enum escalation_reason reason;
};

enum election_phase { ELECTION_NONE, ELECTION_PRE_VOTE, ELECTION_VOTE };

struct election {
	enum election_phase phase;
	uint64_t began;		   /* when its pre-votes were asked for */
	uint64_t again_at, again_wait; /* when they are asked for again, and how long after that */
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
	unsigned from;
	bool recheck; /* of pool entries: drop what has become invalid */
};

struct hybrid {
	struct engine base; /* ops first */
	const struct chain_ctx *ctx;
	const struct genesis *genesis;
	struct quorum quorum;
	unsigned self, n;
	struct keypair key;
	bool observer; /* [I15] signs nothing */
	bool outdated; /* because others hold votes of ours that the disk does not know */
	struct engine_timing timing; /* its timeouts fit the measured rounds (round_trip.c) */
	struct engine_timing configured;
	uint32_t pipeline, window, checkpoint_interval;
	uint32_t checkpoint_spacing; /* a multiple of it, CHECKPOINT_SPACING_MIN or more */
	evidence_tx_invalid tx_invalid;
	struct hash genesis_hash;
	struct random random;
	uint64_t now, wall_ms;

	/* ---- durable (state.c) ---- */
	uint64_t term;	      /* own term */
	uint64_t signed_term; /* newest term in which we signed either of: */
	bool signed_is_vc;
	struct term_vote signed_vote; /* a term vote, or */
	struct view_change signed_vc; /* a VIEW-CHANGE; resent byte for byte */
	bool escalated;
	enum escalation_reason reason;
	uint64_t escalated_term;	/* of the VIEW-CHANGE */
	uint64_t escalated_final;	/* final height when we escalated */
	struct entitlement entitlement; /* to `term` when TC(term) is not held */
	struct term_cert tc;		/* accepted: the newest; term 0 at the start */
	struct term_cert tip_tc;	/* TC(tip.term), which positions show */
	struct block_ref tip;		/* highest block voted for or adopted */
	bool tip_voted;			/* by a PREPARE of ours, else adopted */
	bool has_qc;
	struct cert qc; /* high QC, on the tip's chain */
	bool has_stable;
	struct cert stable; /* newest stable checkpoint */
	/* Our position when finality cut our tip's chain off: view changes must still show it.
	 */
	bool has_cut;
	struct position cut;
	bool dirty[VOTE_SLOTS]; /* slots that changed since they were written */
	uint64_t durable_seq;

	/* ---- chain ---- */
	struct block_log log;
	struct cert final_cert; /* newest; kind 0: genesis */
	bool has_pending_final;
	struct cert pending_final; /* verified, above the final height, not yet executed */
	bool starved;		   /* the ledger had no room for an execution */
	bool has_pending_qc;
	struct cert pending_qc;	 /* verified QC of the own term that we cannot apply yet */
	struct mode_state modes; /* after the final block */
	uint64_t fast_term; /* term of the newest final block with a mode fast, 0: none known */
	bool pinned;	    /* the protocol is pbft: never fast */
	uint64_t tip_tc_asked;
	bool tip_tc_wanted; /* finality cut our tip off: the TC of the final block's term is
			       wanted */
	struct term_cert
		spare_tc; /* checked, of a term between tip and accepted; term 0: none */
	uint64_t distrusted_term; /* its leader was caught or proposed an invalid block */
	struct hash append_tip;	  /* newest block of the own term taken from its leader */
	bool has_append_tip;
	bool answer_leader; /* an APPENDED is due at the end of this step */
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
	struct block_tally **tallies; /* ring by height; each is made when it is needed */
	uint32_t tally_cap;
	bool building;
	uint64_t build_id, build_time, build_height;
	bool resend_all; /* a restarted pbft primary: its blocks once more, before new ones */
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
	} * stray; /* n */

	uint64_t block_at; /* when we made the newest */
	uint64_t block_took; /* until it was final */
	uint32_t returning;  /* transactions for the next, if whoever was answered comes back */
	bool build_empty;  /* the block under way may be empty */
	uint16_t system_culprit[1 + CONVICTIONS_MAX]; /* whom each convicts, or NO_VALIDATOR */
	struct writer
		system[1 + CONVICTIONS_MAX]; /* SYSTEM transactions of the block under way */

	/* pbft mode: votes of the accepted term */
	struct height_votes *votes; /* ring by height */
	uint32_t votes_cap;
	bool bad_from_peer;		/* take_block() met a false signature */
	bool prepare_news, commit_news; /* own votes to send at the end of this step */
	struct block_ref prepare_sent;
	struct block_ref seen_tip, seen_qc;   /* at the last heartbeat */
	struct vote odd_vote[VALIDATORS_MAX]; /* fast, at the leader: for a block not its own */
	struct vote last_prepare[VALIDATORS_MAX]; /* highest seen; kind 0: none */

	/* view changes */
	struct view_slot *view;			   /* n */
	/* Checked pbft certificates, room for VIEWS_KEPT; no new_view: free. Large, and in fast
	 * mode there are none: the first views_made of them are initialised. */
	struct term_cert *views;
	unsigned views_made;
	bool view_needed[VIEWS_KEPT]; /* for checking the accepted or the tip's: durable */
	struct view_wanted {
		uint64_t term, asked_at;
		struct hash hash;
	} wanted[VALIDATORS_MAX][VIEWS_WANTED]; /* by whom was asked */
	uint64_t position_missing_until;
	uint64_t view_sent_at;
	bool view_timer; /* qv replicas claim our term or more: its timer runs */
	uint64_t view_answered_at[VALIDATORS_MAX];
	bool new_view_tried;	/* nothing changed since makings failed */
	uint64_t new_view_made; /* the newest, in this life; 0: none */

	/* escalation */
	struct pending_proof proof[VALIDATORS_MAX];
	uint64_t proof_told_at;
	unsigned proof_told; /* against whom */
	uint64_t grants_followed_at;
	uint64_t pre_vote_at[VALIDATORS_MAX]; /* the last one above own term + 1, to each */
	struct suspected suspected[VALIDATORS_MAX]; /* by each */
	uint64_t suspicion_sent_at;
	uint64_t tc_accepted_at;
	uint32_t counted_timeouts; /* E3 */
	uint64_t counted_at;
	uint64_t final_at;   /* newest final block, or newest term's acceptance */
	uint64_t fair_since; /* last look at the leader */
	uint64_t fair_banked;
	struct hash passed_over; /* the transaction it leaves out; how long */
	uint64_t passed_over_for;
	uint64_t pace_work, pace_ordered; /* this leader, with work pending */
	uint64_t last_pace; /* transactions in 1024 heartbeats of the leader before */

	/* checkpoints */
	bool has_checkpoint_vote;
	struct vote checkpoint_vote;			   /* own newest */
	struct tally checkpoint_tally[CHECKPOINT_TALLIES]; /* by (height / spacing) */

	/* own_votes.c */
	bool asks;		   /* as configured, and there are others to ask */
	bool asking;		   /* takes no part yet */
	struct block_ref knew_tip; /* when it began to: what it has signed is not above */
	bool knew_qc;		   /* of that block, or it was final */
	uint64_t answered;	   /* by whom; bit mask */
	uint64_t ask_nonce, ask_at, ask_began;
	uint64_t answers_by; /* more than a quorum's are waited for; 0: not even those are here
			      */
	uint64_t votes_told_until[VALIDATORS_MAX]; /* each gets no other answer before */
	struct seen *seen;			   /* n */

	/* round_trip.c */
	struct quickest {
		uint32_t now, before;	    /* of this span of time and of the last; 0: none */
	} round_trip[VALIDATORS_MAX], own_sync; /* to each and back, its sync added */
	uint64_t round_us; /* with the quickest quorum that answered; 0: none has yet */
	uint64_t echo_at, span_until, questions;
	uint64_t echoed_until[VALIDATORS_MAX]; /* each gets no other answer before */
	uint64_t sync_seq, sync_since;	       /* the write that is waited for; 0: none */
	uint64_t wakes_at, stood_until; /* as the newest step wanted; the process was paused */
	/* when the running timer was set, to what, and the timeout_min of that moment */
	uint64_t timer_from, timer_wait, timer_fits;

	/* resign.c */
	bool resigning;	    /* we lead, propose no more, and wait for our successor's vote */
	uint64_t resign_by; /* but no longer */
	uint64_t resigned;  /* the term whose leader did; 0: none */
	uint64_t resigned_at;
	uint64_t
		resign_paid; /* what resignations, anybody's, have cost is worked off by then */
	uint64_t succeed_at; /* we are named, and ask then; 0: we are not */

	/* new keys (epoch.c) */
	struct member_change member; /* checked; waits for its block */
	uint8_t *member_bytes;	     /* its encoding; NULL: none waits */
	size_t member_size;
	uint64_t member_told_at, member_paid[VALIDATORS_MAX];
	bool ended; /* the end of the epoch is final: the next one is another engine's */

	/* timers */
	uint64_t timer_at; /* election */
	uint32_t timeouts; /* since the last commit of a held transaction or idle heartbeat */
	bool timed_out_on_work;
	bool timeout_pending; /* until the oldest transactions are checked again */
	uint64_t reforward_at;
	uint64_t refused_at[VALIDATORS_MAX]; /* when we last sent each a refusal */
	uint64_t rescue_accepted_height;
	uint64_t build_after; /* no block before: the last one that was built came to nothing */
	uint64_t voted_at;    /* signed the newest term vote, in this life; 0: never */
	uint64_t rescue_accepted_at;
	uint64_t rescue_accepted_term; /* 0: never */

	/* fetching */
	bool fetching; /* from fetch_peer: others wait, but not for longer than fetch_at */
	unsigned fetch_peer;
	uint64_t fetch_at;
	uint64_t fetch_wanted; /* bit i: validator i is to be asked too, in turn */
	struct {
		struct hash block; /* for this block's chain; zero: its tip's */
		struct hash asked; /* the one that it was asked for */
		uint64_t next;	   /* its unfinal chain was taken up to below this height */
		uint64_t from;	   /* the height it was asked for */
		uint64_t asked_at; /* 0: it owes no answer */
	} fetch[VALIDATORS_MAX];
	uint64_t serve_next[VALIDATORS_MAX]; /* when each may be served again; GCRA */
	/* what each has cost us is worked off by then */
	uint64_t serve_paid[VALIDATORS_MAX], view_paid[VALIDATORS_MAX];
	uint64_t evidence_paid[VALIDATORS_MAX];
	uint64_t position_paid[2][VALIDATORS_MAX]; /* vote requests, pre-vote requests */
	uint64_t txs_paid[VALIDATORS_MAX];
	uint64_t header_checks;	      /* signatures of headers that we did not know */
	bool reading[VALIDATORS_MAX]; /* a WORK_READ for this peer is out */

	/* transactions */
	struct pool pool;
	struct pending_check checks[PENDING_CHECKS_MAX];
	struct pool_tx *check_request; /* FORWARD_TXS_MAX, of the WORK_CHECK_TXS of this step */
	uint64_t next_work_id;
	bool forward_fresh; /* new transactions to forward at the end of this step */
	uint32_t fresh_txs; /* of these, submitted here; and their bytes */
	uint64_t fresh_bytes;

	struct emit out;
	struct message_in *in; /* decoding scratch */
	struct msg_append *append_scratch;
	struct msg_blocks *blocks_scratch;
	uint64_t counters[COUNTERS];
};

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
/* A TC that `from` shows: checks it unless it is useless, then accept_tc(). A TC below the own
 * term, but newer than the accepted one, is accepted without entering its term (a stray keeps
 * its log fresh). One of a pbft term in reference form is fetched if it is not known. */
bool learn_tc(struct hybrid *h, unsigned from, const struct term_cert *tc);
/* As learn_tc(), for one that is checked and in full form. */
bool take_tc(struct hybrid *h, const struct term_cert *tc);
/* The final block is above our tip, and the TC of its term is in hand now: it is the tip. */
void tip_catches_up(struct hybrid *h);
bool tip_extends(const struct hybrid *h,
		 const struct log_entry *e); /* e strictly extends tip */
/* What tc says of its term's blocks: leader, mode, base, NEW-VIEW. A pbft certificate in
 * reference form says no base. */
bool tc_fits(const struct term_cert *tc, const struct header *b);
/* The certificate that this block is of, if it is held: of two NEW-VIEWs of a term, the one
 * that its header names. */
const struct term_cert *tc_of(const struct hybrid *h, const struct header *b);
/* The tip is e, voted for or adopted. invariant: tc_of(e) is held. */
void set_tip(struct hybrid *h, const struct log_entry *e, bool voted);
void set_qc(struct hybrid *h, const struct cert *qc);
void drop_qc(struct hybrid *h);
void flush_state(struct hybrid *h); /* writes the dirty slots; messages of this step follow */
/* The same, for the batch of this step alone: they stay dirty, nothing waits for a sync. Are
 * there any? */
bool write_slots(struct hybrid *h);
void state_write_slot(struct hybrid *h, struct writer *w, unsigned slot);
int state_read_slot(struct hybrid *h, unsigned slot, struct slice bytes);
void own_entitlement(const struct hybrid *h, struct entitlement *out); /* deep copy */

/* recover.c */
int hybrid_recover(struct hybrid *h, const struct engine_recovery *recovery, struct errmsg *m);
void hybrid_resume(struct hybrid *h); /* first step: asks for execution of recovered blocks */

/* own_votes.c */
void own_votes_begin(struct hybrid *h);
void own_votes_tick(struct hybrid *h);
unsigned own_votes_missing(const struct hybrid *h); /* answers, before it takes part */
void on_ask_votes(struct hybrid *h, unsigned from, uint64_t nonce);
void on_votes(struct hybrid *h, unsigned from, const struct msg_votes *m);
/* *newest is the higher of the two; kind 0: none yet. */
void newer_vote(struct vote *newest, const struct vote *v);
/* It has been shown a signature of its own that its disk did not know of: an observer for good,
 * if it asks at all. */
void own_votes_outdated(struct hybrid *h);
/* A checked certificate that somebody else has made: if it has a vote of ours that we have not
 * cast, likewise. */
void own_votes_in_cert(struct hybrid *h, const struct cert *c);
void own_votes_in_term(struct hybrid *h, const struct term_cert *tc);
/* These are about to be given up: whoever has no newer ones elsewhere may ask for them. */
void keep_votes_of_cert(struct hybrid *h, const struct cert *c,
			uint64_t but); /* not of these */
void keep_votes_of_tally(struct hybrid *h, const struct tally *t);
/* A vote that comes too late to count: kept as it is, if it is its sender's. */
void keep_late_vote(struct hybrid *h, unsigned from, const struct vote *v);
/* Likewise, for a term that somebody leads already. */
void keep_late_term_vote(struct hybrid *h, unsigned from, const struct term_vote *v);
void keep_late_claim(struct hybrid *h, unsigned from, const struct view_claim *checked);
void keep_votes_of_term(struct hybrid *h, const struct term_cert *tc);
void keep_term_vote(struct hybrid *h, const struct term_vote *v); /* checked */

/* election.c */
void campaign(struct hybrid *h);
void campaign_now(struct hybrid *h); /* keeps the pre-votes that are in */
void election_tick(struct hybrid *h);
uint64_t election_wake_at(const struct hybrid *h);
void on_vote_request(struct hybrid *h, unsigned from, struct msg_vote_request *m, bool pre);
void on_pre_vote(struct hybrid *h, unsigned from, const struct grant *g);
void on_term_vote(struct hybrid *h, unsigned from, const struct term_vote *v);
void on_refusal(struct hybrid *h, unsigned from, const struct msg_refusal *m);
void send_refusal(struct hybrid *h, unsigned to, uint64_t for_term);
void rescue_strays(struct hybrid *h);
void note_stray_claim(struct hybrid *h, unsigned from, uint64_t term);
void election_durable(struct hybrid *h);
void election_stop(struct hybrid *h);
void election_end_of_step(struct hybrid *h);
bool make_position(struct hybrid *h, struct position *out);
uint64_t
shown_from(const struct hybrid *h);  /* the height that our position's headers start above */
void trim_headers(struct hybrid *h); /* after the stable checkpoint has moved */
void keep_cut_tip(struct hybrid *h); /* before finality cuts the tip's chain off */

/* lead.c */
void lead_free(struct hybrid *h);
void lead_begin(struct hybrid *h);
void lead_stop(struct hybrid *h);
void maybe_build(struct hybrid *h);
uint64_t lead_wake_at(const struct hybrid *h); /* to propose what gathers */
void on_built(struct hybrid *h, const struct input *in);
void on_appended(struct hybrid *h, unsigned from, const struct msg_appended *m);
void on_heartbeat_ack(struct hybrid *h, unsigned from, const struct msg_heartbeat_ack *m);
void lead_durable(struct hybrid *h);
void lead_answered(struct hybrid *h, uint32_t txs); /* so many have just become final */
void lead_tick(struct hybrid *h);
void lead_end_of_step(struct hybrid *h);
bool quorum_heard(const struct hybrid *h);
void send_heartbeat(struct hybrid *h);
void lead_newest_vote(const struct hybrid *h, unsigned of,
		      struct vote *newest); /* counted here */

/* follow.c */
void on_append(struct hybrid *h, unsigned from, struct msg_append *m);
void on_heartbeat(struct hybrid *h, unsigned from, const struct msg_heartbeat *m);
void on_executed(struct hybrid *h, const struct input *in);
/* Takes a block into the log; requests its execution. The entry, or NULL. *gap: its parent is
 * not known. */
struct log_entry *take_block(struct hybrid *h, unsigned from, struct block *b, bool is_final,
			     bool *gap);
void request_execution(struct hybrid *h, struct log_entry *e);
void halt_diverged(struct hybrid *h, const struct block *b, int err);
void resume_execution(struct hybrid *h); /* what the ledger had no room for */
int add_to_full_log(struct hybrid *h, struct block *b, struct log_entry **out);
void prune_log(struct hybrid *h); /* it is full */
/* A checked QC (or one-round certificate): applies it, or keeps it until it can be. */
void take_qc(struct hybrid *h, const struct cert *qc);
void drop_pending_qc(struct hybrid *h);
void try_vote(struct hybrid *h);
uint64_t unfinal_max(const struct hybrid *h); /* the highest block that may get votes now */
/* No votes on top of so many bytes that are not final, but for a term's first block: a primary
 * must have room for what every other replica has voted for, each on a fork of its own. */
bool carries_too_much(const struct hybrid *h, const struct log_entry *parent);
void store_chain(struct hybrid *h, struct log_entry *e);
void follow_end_of_step(struct hybrid *h);
bool commit_due(const struct hybrid *h, struct vote *out);
bool tip_vote(const struct hybrid *h, struct vote *out);
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
void fetch_chain_from(struct hybrid *h, unsigned peer, const struct hash *block);
void fetch_from_anybody(struct hybrid *h);
void fetch_tick(struct hybrid *h);
void on_fetch(struct hybrid *h, unsigned from, const struct msg_fetch *m);
void pay_for_bytes(struct hybrid *h, uint64_t *paid, size_t bytes); /* of an answer */
void on_blocks_read(struct hybrid *h, const struct input *in);
void on_blocks(struct hybrid *h, unsigned from, struct msg_blocks *m);

/* forward.c */
void on_submit(struct hybrid *h, const struct pool_tx *tx);
void on_txs(struct hybrid *h, unsigned from, const struct msg_txs *m, bool relay);
void on_txs_checked(struct hybrid *h, const struct input *in);
void forward_end_of_step(struct hybrid *h, bool more);
void forward_tick(struct hybrid *h);
bool recheck_oldest(struct hybrid *h); /* false: there is nothing to ask, or no room */
void forward_all_later(struct hybrid *h);
void pool_follow_chain(struct hybrid *h); /* marks what blocks of the tip's chain contain */
void forward_free(struct hybrid *h);

/* modes.c */
bool in_pbft_mode(const struct hybrid *h);
bool is_jailed(const struct hybrid *h, unsigned validator); /* or will be: a proof is pending */
/* State after the entry's block, NULL: after the final block. */
const struct mode_state *modes_after(const struct hybrid *h, const struct log_entry *e);
void modes_enter(struct hybrid *h, struct log_entry *e); /* right after log_add() */
/* The blocks of e's chain above the final one have the mode entries that their terms ask for,
 * and leaders whom no ancestor jails. BROKEN: *at does not. UNKNOWN: *at is of strict_term and
 * needs its NEW-VIEW; in other terms what is not known is let pass: a quorum may be past
 * asking. */
enum rules mode_rules(struct hybrid *h, struct log_entry *e, uint64_t strict_term,
		      struct log_entry **at);
/* The SYSTEM transactions of a child of parent that we lead, into candidates[0..]. False: no
 * block may extend this parent in our term. */
bool system_candidates(struct hybrid *h, const struct log_entry *parent, uint64_t height,
		       uint32_t *count, bool *alone); /* *alone: and nothing else */
/* The ledger refuses this SYSTEM transaction of ours: without it, or nothing could be built. */
void system_refused(struct hybrid *h, const struct hash *id);
bool conviction_is_due(const struct hybrid *h, const struct log_entry *parent);
void modes_on_final(struct hybrid *h, const struct block *b, const struct mode_state *after);
void modes_recovered(struct hybrid *h);

/* round_trip.c */
void timer_set(struct hybrid *h, uint64_t at);
uint64_t own_sync_us(const struct hybrid *h);
void round_trip_begin_of_step(struct hybrid *h, uint64_t wake_at);
void round_trip_tick(struct hybrid *h);
void on_echo(struct hybrid *h, unsigned from, const struct msg_echo *m);
void round_trip_synced(struct hybrid *h); /* durable_seq has risen */
void round_trip_end_of_step(struct hybrid *h, const struct output *out);

/* resign.c */
void resign(struct hybrid *h); /* if we lead in fast mode */
void resign_tick(struct hybrid *h);
void resign_end_of_step(struct hybrid *h);
void on_resign(struct hybrid *h, unsigned from, const struct msg_resign *m);
bool has_resigned(const struct hybrid *h); /* the leader of our term */

/* epoch.c; parent NULL: the final block */
void on_member(struct hybrid *h, unsigned from, struct slice bytes);
void member_tick(struct hybrid *h);
void member_free(struct hybrid *h);
/* A request is here, and a block on this parent, or on its descendants, may hold it. */
bool member_waits(const struct hybrid *h, const struct log_entry *parent);
/* The entry that this child of parent is to hold, and nothing else with it. */
bool member_entry(const struct hybrid *h, const struct log_entry *parent, uint64_t height,
		  struct system_tx *out);
/* The parent's chain has come to the end of the epoch: only fillers extend it. */
bool after_end(const struct hybrid *h, const struct log_entry *parent);
bool filler_is_due(const struct hybrid *h, const struct log_entry *parent); /* of our term */
bool follows_end(const struct hybrid *h, const struct log_entry *e); /* it may, after an end */
struct log_entry *end_of_epoch(const struct hybrid *h, struct log_entry *e); /* or NULL */
void on_final(struct hybrid *h, unsigned from, const struct cert *c);

/* pbft.c */
void pbft_keep_votes(struct hybrid *h); /* before the accepted term changes */
void pbft_reset_votes(struct hybrid *h);
void pbft_free(struct hybrid *h);
void on_prepare(struct hybrid *h, unsigned from, const struct vote *v);
void on_commit(struct hybrid *h, unsigned from, const struct msg_commit *m);
void pbft_end_of_step(struct hybrid *h);
void pbft_on_heartbeat(struct hybrid *h); /* repeats votes that brought nothing */
void pbft_resume_leading(struct hybrid *h);
void pbft_newest_vote(const struct hybrid *h, unsigned of,
		      struct vote *newest); /* counted here */
void note_prepare(struct hybrid *h, const struct vote *v);
/* Two checked votes of another replica that exclude each other: proof. */
void double_vote(struct hybrid *h, const struct vote *a, const struct vote *b);

/* view.c */
bool send_view_change(struct hybrid *h, uint64_t term, enum escalation_reason reason);
void on_view_change(struct hybrid *h, unsigned from, struct msg_view_change *m);
void note_claim(struct hybrid *h, unsigned from, uint64_t term);
uint64_t next_pbft_term(struct hybrid *h, uint64_t term);
bool term_follows(struct hybrid *h, uint64_t entitled, uint64_t term);
void view_timeout(struct hybrid *h);
void view_tick(struct hybrid *h);
uint64_t view_resend_at(const struct hybrid *h); /* UINT64_MAX: nothing to resend */
void view_end_of_step(struct hybrid *h);
bool view_waits(const struct hybrid *h); /* for claims: its timer does not run */
void learn_entitlement(struct hybrid *h, unsigned from, const struct entitlement *e);
void view_free(struct hybrid *h);
void view_recover(struct hybrid *h);

/* new_view.c */
const struct view_lookup *view_lookup_of(struct hybrid *h, struct view_lookup *out);
void views_keep(struct hybrid *h, const struct term_cert *tc);
unsigned views_of_term(const struct hybrid *h, uint64_t term); /* kept */
void views_mark(struct hybrid *h); /* after the accepted or the tip's certificate changed */
const struct term_cert *views_find(const struct hybrid *h, uint64_t term,
				   const struct hash *hash);
void fetch_view(struct hybrid *h, unsigned peer, uint64_t term, const struct hash *hash);
void need_missing(struct hybrid *h, unsigned peer, const struct missing *missing);
void on_fetch_view(struct hybrid *h, unsigned from, const struct msg_fetch_view *m);
void on_new_view(struct hybrid *h, unsigned from, struct msg_new_view *m);
void answer_with_tc(struct hybrid *h, unsigned to);
void validate_views(struct hybrid *h);
void try_new_view(struct hybrid *h);

/* escalate.c */
void escalate(struct hybrid *h, enum escalation_reason reason, uint64_t term);
bool take_proof(struct hybrid *h, const struct evidence *ev);
void on_evidence(struct hybrid *h, unsigned from, struct slice bytes);
void on_suspicion(struct hybrid *h, unsigned from, const struct suspicion *s);
void suspect(struct hybrid *h, enum escalation_reason reason);
void suspect_tick(struct hybrid *h);
void count_timeout(struct hybrid *h);
void pace_note_block(struct hybrid *h, const struct block *b);
void watch_new_leader(struct hybrid *h);
void fair_time_banks(struct hybrid *h);
void proofs_recover(struct hybrid *h, const struct engine_recovery *rec);
void proofs_free(struct hybrid *h);

/* hybrid.c */
void observer_begins(struct hybrid *h);
/* timers (docs/consensus.md, "Timers") */
bool holds_work(const struct hybrid *h);
void timer_restart(struct hybrid *h);
void timer_on_heartbeat(struct hybrid *h);
void timer_on_commit(struct hybrid *h, bool of_held);
void timeout_counts(struct hybrid *h);
bool leader_is_heard(const struct hybrid *h); /* of the own term, lately */
bool leader_is_alive(const struct hybrid *h); /* and it has not resigned */

#endif
