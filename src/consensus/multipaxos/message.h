/* Messages between Multi-Paxos replicas: {type u8, fields}. A ballot is the proposal number of
 * the paper; ballot mod n is the only replica that may use it. A value is a block made for its
 * slot, which is its height. */
#ifndef CONSENSUS_MULTIPAXOS_MESSAGE_H
#define CONSENSUS_MULTIPAXOS_MESSAGE_H

#include "consensus/crash/wire.h"

#define BALLOT_MAX (UINT64_C(1) << 62)

struct paxos_prepare { /* phase 1a, for all slots from `from` on */
	uint64_t ballot, from;
};
/* Phase 1b. Slots up to final are chosen, and known to the sender; value[i] was accepted in
 * ballot_of[i]. Many values take several messages: these are number `first` to
 * first + count - 1 of total. */
struct paxos_promise {
	uint64_t ballot, final;
	uint32_t total, first;
	uint64_t ballot_of[CRASH_BLOCKS_MAX];
	struct crash_blocks values;
};
struct paxos_accept { /* phase 2a; slots up to commit are chosen */
	uint64_t ballot, commit;
	struct crash_blocks value; /* one */
};
struct paxos_accepted { /* phase 2b */
	uint64_t ballot, slot;
};
struct paxos_news { /* PAXOS_COMMIT, PAXOS_HEARTBEAT, PAXOS_HEARTBEAT_REPLY */
	uint64_t ballot, commit;
};
struct paxos_nack { /* the request's ballot, and the higher one that was promised */
	uint64_t ballot, promised;
};
struct paxos_chosen { /* blocks as they were executed */
	uint64_t final;
	struct crash_blocks blocks;
};
struct paxos_message {
	uint8_t type;
	union {
		struct paxos_prepare prepare;
		struct paxos_promise promise;
		struct paxos_accept accept;
		struct paxos_accepted accepted;
		struct paxos_news news;
		struct paxos_nack nack;
		uint64_t fetch; /* first slot wanted */
		struct paxos_chosen chosen;
		struct crash_txs txs; /* CRASH_FORWARD */
	};
};
/* Form only. ERR_UNSUPPORTED: not a type of Multi-Paxos. */
int paxos_message_decode(struct paxos_message *out, struct slice bytes);
void paxos_message_free(struct paxos_message *m);
void paxos_prepare_encode(struct writer *w, const struct paxos_prepare *m);
void paxos_promise_encode(struct writer *w, const struct paxos_promise *m);
void paxos_accept_encode(struct writer *w, const struct paxos_accept *m);
void paxos_accepted_encode(struct writer *w, const struct paxos_accepted *m);
void paxos_news_encode(struct writer *w, uint8_t type, const struct paxos_news *m);
void paxos_nack_encode(struct writer *w, const struct paxos_nack *m);
void paxos_fetch_encode(struct writer *w, uint64_t from);
void paxos_chosen_encode(struct writer *w, const struct paxos_chosen *m);

#endif
