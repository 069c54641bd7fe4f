/* Multi-Paxos's messages by hand, for the tests of its paper. */
#ifndef TESTS_CONSENSUS_PAXOS_HAND_H
#define TESTS_CONSENSUS_PAXOS_HAND_H

#include <check.h>

#include "consensus/multipaxos/message.h"
#include "paper.h"

extern struct paper p;

/* Blocks for slots 1 to n in these ballots, on each other; [0] is block 0. */
struct values {
	struct block *slot[16];
	unsigned length;
};

void hand_begin(unsigned n);
void hand_end(void);
void give_prepare(unsigned to, unsigned from, uint64_t ballot, uint64_t slot);
void give_accept(unsigned to, unsigned from, uint64_t ballot, uint64_t commit,
		 struct block *value);
void give_promise(unsigned to, unsigned from, uint64_t ballot, uint64_t final,
		  struct block **values, const uint64_t *ballots, uint32_t count);
void give_accepted(unsigned to, unsigned from, uint64_t ballot, uint64_t slot);
void give_news(unsigned to, unsigned from, uint8_t type, uint64_t ballot, uint64_t commit);
/* The first message of this type that i has sent. */
bool first_sent(unsigned i, uint8_t type, struct paxos_message *out);
/* The same for a promise; all that i has sent is dropped. */
bool promises(unsigned i, struct paxos_message *out);
bool accepts(unsigned i, uint64_t ballot, uint64_t slot);
/* The value for a slot that i proposes; the caller's reference. NULL: none. */
struct block *proposed(unsigned i, uint64_t slot);
bool same(const struct block *a, const struct block *b);
/* ballots end with 0. */
void make_values(struct values *v, const unsigned *ballots);
void free_values(struct values *v);
/* Node i is out to lead, with this ballot. */
uint64_t preparing(unsigned i);

TCase *paxos_slots_case(void); /* check-multipaxos-slots.c: section 3 */

#endif
