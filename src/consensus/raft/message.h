/* Messages between Raft replicas: {type u8, fields}; the RPCs of the paper's figure 2, requests
 * and answers as messages of their own. The leader and the candidate are the link's peer. */
#ifndef CONSENSUS_RAFT_MESSAGE_H
#define CONSENSUS_RAFT_MESSAGE_H

#include "consensus/crash/wire.h"

/* AppendEntries. RAFT_APPEND without blocks tells of commits and is not answered, except when
 * the consistency check fails; RAFT_HEARTBEAT has no blocks and is answered. */
struct raft_append {
	uint64_t term, prev_index, prev_term, commit;
	struct crash_blocks blocks;
};
/* success: index is the last entry known to agree with the leader's log; else the entry to try
 * next (section 5.3, "the protocol can be optimized"). */
struct raft_appended {
	uint64_t term;
	bool success;
	uint64_t index;
};
struct raft_vote_request { /* a pre-vote's term is the one that would follow */
	uint64_t term, last_index, last_term;
};
struct raft_vote { /* a granted pre-vote repeats the request's term */
	uint64_t term;
	bool granted;
};
struct raft_message {
	uint8_t type;
	union {
		struct raft_append append;     /* RAFT_APPEND, RAFT_HEARTBEAT */
		struct raft_appended appended; /* their answers */
		struct raft_vote_request vote_request;
		struct raft_vote vote;
		struct crash_txs txs; /* CRASH_FORWARD */
	};
};
/* Form only. ERR_UNSUPPORTED: not a type of Raft's. */
int raft_message_decode(struct raft_message *out, struct slice bytes);
void raft_message_free(struct raft_message *m);
void raft_append_encode(struct writer *w, uint8_t type, const struct raft_append *m);
void raft_appended_encode(struct writer *w, uint8_t type, const struct raft_appended *m);
void raft_vote_request_encode(struct writer *w, uint8_t type,
			      const struct raft_vote_request *m);
void raft_vote_encode(struct writer *w, uint8_t type, const struct raft_vote *m);

#endif
