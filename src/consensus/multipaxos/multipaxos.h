/* Multi-Paxos: Lamport, "Paxos Made Simple", 2001, whose section 3 it follows ("section n"
 *cites it). A distinguished proposer, the leader, does phase 1 once for all slots above what it
 *knows to be chosen, proposes again what it learns there, fills gaps with no-ops, and from then
 *on needs phase 2 only, one slot after the other, several in flight.
 *
 * A slot is a height of the ledger. A value is a block as its proposer made it, on what it took
 * for the end of the chain: the commands of the slot. Slots are chosen independently and
 *executed in order. Where a chosen value was made on another block than the one chosen before
 *it (after a change of leader), every replica executes its commands on that one and makes the
 *block anew, the same everywhere ("rebase": learner.c). A no-op is a value without commands.
 *
 * Leaders are elected by nothing but time: who hears none prepares a higher ballot. There is no
 * lease. An acceptor "can ignore any request without compromising safety" (section 2.2): it
 *does so with phase 1 of others while it hears a leader, and with slots far ahead.
 *
 *	multipaxos.c	creation, dispatch, timers
 *	acceptor.c	promises, acceptances, and their durable state
 *	proposer.c	ballots, phase 1, phase 2
 *	learner.c	what is chosen, executing it in order, catching up */
#ifndef CONSENSUS_MULTIPAXOS_MULTIPAXOS_H
#define CONSENSUS_MULTIPAXOS_MULTIPAXOS_H

#include "consensus/crash/core.h"
#include "consensus/multipaxos/message.h"

#define PAXOS_WINDOW 64	 /* slots above the final one that an acceptor accepts in */
#define PAXOS_RING   256 /* places for slots; those in use lie within 2 * PAXOS_WINDOW */

enum paxos_slot { PAXOS_SLOT_BALLOTS = 0, PAXOS_SLOT_ACCEPTED = 1 }; /* of the vote state */
enum paxos_phase { PAXOS_IDLE, PAXOS_PREPARING, PAXOS_PROMISING_SELF, PAXOS_LEADING };

struct paxos_accepted_value {
	uint64_t slot; /* 0: unused */
	uint64_t ballot;
	struct block *value; /* held */
	bool chosen;	     /* a leader has said so */
};
struct paxos_proposal {	     /* phase 2 of one slot, in our ballot */
	uint64_t slot;	     /* 0: unused */
	struct block *value; /* held */
	uint64_t accepted;   /* bit mask */
	bool chosen;
	uint64_t sent_at, own_seq; /* our own acceptance counts after this write */
};

struct multipaxos {
	struct core c; /* first */

	/* acceptor; durable before any answer */
	uint64_t promised; /* highest ballot promised or accepted in */
	struct paxos_accepted_value accepted[PAXOS_RING]; /* by slot */
	bool ballots_dirty, accepted_dirty;

	/* proposer */
	uint64_t tried; /* highest ballot ever used by us: durable */
	uint64_t seen;	/* highest heard of, in refusals */
	enum paxos_phase phase;
	uint64_t ballot;   /* ours, unless idle */
	uint64_t promises; /* complete ones, bit mask */
	uint32_t received[VALIDATORS_MAX];
	uint64_t promise_seq; /* of the write that holds our own */
	uint64_t known_final; /* highest that a promise of the majority names */
	unsigned known_by;
	struct paxos_accepted_value
		adopted[PAXOS_RING]; /* highest ballot's value of each slot */
	uint64_t adopted_to;	     /* highest slot of these */
	bool recovering;	     /* these are still to be proposed, or chosen */
	bool proposed_again;
	struct paxos_proposal proposal[PAXOS_RING]; /* by slot */
	uint64_t chosen_to;			    /* all slots up to here are chosen */
	uint64_t proposed_to;
	bool commit_news, accept_sent;
	uint64_t answered[VALIDATORS_MAX]; /* last answer to our ballot */
	uint64_t match[VALIDATORS_MAX];	   /* highest slot that each accepted in our ballot */
	uint64_t heartbeat_at, prepared_at;
	uint64_t timer_at;

	/* learner */
	bool rebasing;
	struct block *rebase_value; /* held while rebasing */
	bool fetching;
	uint64_t fetch_at;
	bool fetch_more; /* the answer was not all */
	unsigned fetch_peer;

	struct paxos_message *in;
};

uint64_t paxos_owner(const struct multipaxos *p, uint64_t ballot);
void paxos_timer_restart(struct multipaxos *p);

/* acceptor.c */
void paxos_on_prepare(struct multipaxos *p, unsigned from, const struct paxos_prepare *m);
void paxos_on_accept(struct multipaxos *p, unsigned from, const struct paxos_accept *m);
void paxos_on_news(struct multipaxos *p, unsigned from, uint8_t type,
		   const struct paxos_news *m);
bool paxos_promise(struct multipaxos *p, uint64_t ballot); /* false: a higher one was */
void paxos_store(struct multipaxos *p, uint64_t ballot, struct block *value);
struct paxos_accepted_value *paxos_accepted_at(struct multipaxos *p, uint64_t slot);
void paxos_flush(struct multipaxos *p);
int paxos_recover(struct multipaxos *p, const struct engine_recovery *rec, struct errmsg *m);

/* proposer.c */
void paxos_prepare(struct multipaxos *p);
void paxos_step_down(struct multipaxos *p); /* no proposer any more */
void paxos_on_promise(struct multipaxos *p, unsigned from, const struct paxos_promise *m);
void paxos_on_accepted(struct multipaxos *p, unsigned from, const struct paxos_accepted *m);
void paxos_on_nack(struct multipaxos *p, unsigned from, const struct paxos_nack *m);
void paxos_on_heartbeat_reply(struct multipaxos *p, unsigned from, const struct paxos_news *m);
void paxos_on_built(struct multipaxos *p, const struct input *in);
void paxos_proposer_durable(struct multipaxos *p);
void paxos_proposer_tick(struct multipaxos *p);
void paxos_proposer_end_of_step(struct multipaxos *p);

/* learner.c */
/* The leader of this ballot says that slots up to commit are chosen. */
void paxos_note_chosen(struct multipaxos *p, unsigned from, uint64_t ballot, uint64_t commit);
void paxos_learn(struct multipaxos *p); /* executes what is chosen, in order */
void paxos_rebased(struct multipaxos *p, const struct input *in);
void paxos_fetch(struct multipaxos *p, unsigned peer);
void paxos_on_fetch(struct multipaxos *p, unsigned from, uint64_t first);
void paxos_on_blocks_read(struct multipaxos *p, const struct input *in);
void paxos_on_chosen(struct multipaxos *p, unsigned from, const struct paxos_chosen *m);

#endif
