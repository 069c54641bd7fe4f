/* Raft, as its paper has it: Ongaro, Ousterhout, "In Search of an Understandable Consensus
 * Algorithm (Extended Version)", 2014; "section n" cites it, "thesis n" Ongaro's dissertation.
 *
 * An entry of the log is a block of the ledger, its index the block's height, its term the
 * block's. The state machine is the ledger; a committed block is executed and becomes final.
 * Beyond the paper: the follower says where to go on after a failed consistency check (5.3
 *names that), the leader sends the next entry before it has the answer to the last
 *(thesis 10.2.1), and writes to its own disk meanwhile (same place), a leader that no majority
 *answers steps down (thesis 6.2), a candidate asks first whether it could win (pre-vote,
 *thesis 9.6). No log compaction (section 7), no membership changes (section 6).
 *
 *	raft.c		creation, durable state, dispatch, timers
 *	election.c	terms, votes (5.2, 5.4.1)
 *	replicate.c	the follower's side of AppendEntries (5.3)
 *	lead.c		the leader's side, commitment (5.3, 5.4.2) */
#ifndef CONSENSUS_RAFT_RAFT_H
#define CONSENSUS_RAFT_RAFT_H

#include "consensus/crash/core.h"
#include "consensus/raft/message.h"

#define RAFT_SYNCING_MAX 64

enum raft_slot { RAFT_SLOT_TERM = 0, RAFT_SLOT_TIP = 1 }; /* of the vote state */
enum raft_phase { RAFT_IDLE, RAFT_ASKS_PRE_VOTES, RAFT_ASKS_VOTES };

struct raft {
	struct core c; /* first */

	/* durable: currentTerm, votedFor; log[] is the chain that ends in c.tip */
	uint64_t term;
	uint16_t voted_for; /* NO_VALIDATOR: nobody */
	bool term_dirty, tip_dirty;

	uint64_t commit; /* commitIndex; lastApplied is the final height */
	uint64_t timer_at;

	/* candidate */
	enum raft_phase phase;
	uint64_t votes;	       /* bit mask */
	uint64_t own_vote_seq; /* of the write that holds our own; it counts after that */

	/* leader */
	uint64_t next[VALIDATORS_MAX];	   /* nextIndex */
	uint64_t match[VALIDATORS_MAX];	   /* matchIndex; our own: what is durable here */
	uint64_t answered[VALIDATORS_MAX]; /* last answer in this term */
	bool probing[VALIDATORS_MAX]; /* the log is being repaired: one message at a time */
	uint64_t probe_at[VALIDATORS_MAX];   /* it is sent again after that */
	uint64_t probe_prev[VALIDATORS_MAX]; /* prevLogIndex of that message */
	struct {
		uint64_t seq, index;
	} syncing[RAFT_SYNCING_MAX]; /* our own entries on their way to the disk */
	unsigned syncing_count;
	bool first_due; /* the blank entry of the term's start (section 8) */
	bool commit_news, append_sent;
	uint64_t heartbeat_at;

	struct raft_message *in;
};

/* Term of our log's entry at index; 0 if it is not known any more, or beyond the log. */
uint64_t raft_term_at(const struct raft *r, uint64_t index);
void raft_set_tip(struct raft *r, const struct block_ref *tip);

/* election.c */
void raft_timer_restart(struct raft *r);
void raft_on_timeout(struct raft *r);
/* Follower in term >= own; of leader, or of nobody yet. */
void raft_follow(struct raft *r, uint64_t term, uint16_t leader);
void raft_on_pre_vote_request(struct raft *r, unsigned from, const struct raft_vote_request *m);
void raft_on_pre_vote(struct raft *r, unsigned from, const struct raft_vote *m);
void raft_on_vote_request(struct raft *r, unsigned from, const struct raft_vote_request *m);
void raft_on_vote(struct raft *r, unsigned from, const struct raft_vote *m);
void raft_election_durable(struct raft *r);

/* replicate.c */
void raft_on_append(struct raft *r, unsigned from, uint8_t type, const struct raft_append *m);

/* lead.c */
void raft_lead(struct raft *r); /* an election is won */
void raft_on_appended(struct raft *r, unsigned from, const struct raft_appended *m);
void raft_on_built(struct raft *r, const struct input *in);
void raft_on_blocks_read(struct raft *r, const struct input *in);
void raft_lead_durable(struct raft *r);
void raft_lead_tick(struct raft *r);
void raft_lead_end_of_step(struct raft *r);

#endif
