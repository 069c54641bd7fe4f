/* Twins (Bano, Sonnino, Chursin, Perelman, Malkhi: "Twins: BFT Systems Made Robust", OPODIS
 * 2021): a validator's key is given to two honest copies, each with a life of its own. To the
 * others the pair is one Byzantine validator, which equivocates, votes twice and forgets,
 * without a line of attack code. Partitions and leaders are directed round by round.
 *
 * A test is a word: one letter a round, a letter is a leader and a cut of the copies into at
 * most two sides. In a round the leader's copies (both of a twin) time out and stand for
 * election, then propose a transaction each; what crosses the cut is lost. Copies in pbft mode
 * time out at the beginning of each round. Words that differ only in the names of honest
 * validators, or of the two copies, are the same word: the least of them is canonical. (The
 * engine does know names: primary(t) is t mod n. Names rotate with terms, so nothing is lost
 * but symmetry.)
 *
 * Everything is the shipped engine and driver; the ledger is a stand-in that accepts any bytes,
 * because transactions are not what is tested here. */
#ifndef SIM_TWINS_H
#define SIM_TWINS_H

#include "consensus/engine.h"

#define TWINS_ROUNDS_MAX 6
#define TWINS_TEXT_MAX	 256

struct twins_options {
	unsigned nodes;	 /* 4 to 7 */
	unsigned twins;	 /* validators 0 .. twins-1 have two copies */
	unsigned rounds; /* 1 to TWINS_ROUNDS_MAX */
	bool heal;	 /* then all hear all and time runs: everybody must make progress */
	bool trace;	 /* what happens, to stdout */
};

/* The language: letters, words, and the group of renamings. */
struct twins_language {
	struct twins_options options;
	unsigned copies, letters, cuts;
	uint64_t words; /* letters^rounds, canonical or not */
	unsigned renamings;
	uint16_t *renamed; /* [renaming * letters + letter]; owned */
};
int twins_language_init(struct twins_language *out, const struct twins_options *options,
			struct errmsg *m);
void twins_language_free(struct twins_language *l);
/* word < l->words. */
bool twins_is_canonical(const struct twins_language *l, uint64_t word);
/* "1|034.2 ..." : leader, then the sides; copies of twins have a prime. buf: TWINS_TEXT_MAX. */
const char *twins_word_text(const struct twins_language *l, uint64_t word, char *buf);

enum twins_verdict { TWINS_OK, TWINS_SAFETY, TWINS_LIVENESS };
struct twins_result {
	enum twins_verdict verdict;
	char text[TWINS_TEXT_MAX];
	uint64_t finals; /* heights final at some honest replica when the rounds were over */
	uint64_t deliveries; /* messages */
	uint64_t healed_us;  /* virtual, until everybody had progressed */
	bool two_blocks;     /* two different blocks of one leader, term and height were made */
	bool pbft;	     /* an honest replica was in pbft mode */
	uint64_t accused, convicted; /* masks, over honest replicas */
	/* of a fork: who signed for both sides, and against how many of them the two
	 * certificates yield evidence that anybody can check */
	uint64_t culprits, proven;
	uint64_t counters[COUNTERS]; /* of honest replicas */
};
void twins_run(const struct twins_language *l, uint64_t word, struct twins_result *out);

#endif
