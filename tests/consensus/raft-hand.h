/* Raft's messages by hand, for the tests of its paper. */
#ifndef TESTS_CONSENSUS_RAFT_HAND_H
#define TESTS_CONSENSUS_RAFT_HAND_H

#include <check.h>

#include "consensus/raft/message.h"
#include "paper.h"

extern struct paper p;

/* Blocks 1..n of these terms on block 0; terms end with 0. chain[0] is block 0. */
struct chain {
	struct block *block[32];
	unsigned length;
};

void hand_begin(unsigned n);
void hand_end(void);
void give_vote_request(unsigned to, unsigned from, uint64_t term, uint64_t last_index,
		       uint64_t last_term);
void give_vote(unsigned to, unsigned from, uint8_t type, uint64_t term, bool granted);
void give_append(unsigned to, unsigned from, uint64_t term, const struct block *prev,
		 uint64_t commit, struct block **blocks, uint32_t count);
void give_appended(unsigned to, unsigned from, uint64_t term, bool success, uint64_t index);
/* The newest message of this type that i has sent, decoded; all it sent is dropped. */
bool last_sent(unsigned i, uint8_t type, struct raft_message *out);
bool voted(unsigned i);
/* Its answer to AppendEntries: success; *index is what it names. */
bool took(unsigned i, uint64_t *index);
void make_chain(struct chain *c, const unsigned *terms);
void free_chain(struct chain *c);
/* Follower i holds the chain, given by `from` in this term, nothing committed. */
void give_chain(unsigned i, unsigned from, uint64_t term, struct chain *c);

TCase *raft_log_case(void); /* check-raft-log.c: 5.3, 5.4 */

#endif
