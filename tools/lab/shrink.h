/* Looking for the smallest scenario that fails in the same way: shared by shrink.c, which tries
 * one, and shrink_steps.c, which knows what can be made smaller. */
#ifndef TOOLS_LAB_SHRINK_H
#define TOOLS_LAB_SHRINK_H

#include "sim/measure.h"
#include "tools/lab/replay.h"

/* What makes two failures the same: the invariant or the words of a violation without its
 * numbers; without a violation, the expectations that are broken. */
struct failure {
	enum sim_verdict verdict;
	char violation[SIM_TEXT_MAX];
	char broken[SCENARIO_EXPECT_MAX][SCENARIO_PHRASE_MAX];
	unsigned broken_count;
	bool vacuous; /* something did not happen: without attacks it would never */
};
/* What a run leaves: it is made by a process of its own, as a failed invariant ends that. */
struct shrink_run {
	struct sim_result result;
	struct sim_record record;
	struct sim_measures measures;
	uint64_t broken;
};
struct shrink {
	struct scenario best; /* fails with its seed */
	struct failure failure;
	struct shrink_run *run; /* the newest; shared with that process */
	struct scenario *next;	/* scratch: what is tried */
	unsigned tries, seconds;
	unsigned pass;
	const char *step; /* what is being made smaller */
	uint64_t runs, candidates, smaller;
	double began;
	uint64_t *seen; /* hashes of candidates that did not fail */
	size_t seen_count, seen_cap;
};

bool shrink_stopped(void *shrink); /* interrupted, or out of time */
/* Does it fail in the same way? k->run then says what took place. */
bool shrink_fails(struct shrink *k, const struct scenario *s, uint64_t seed);
/* k->next, with the seed that k->best has and then with up to `seeds` others: if it fails, it
 * is the best one. */
bool shrink_try(struct shrink *k, unsigned seeds);
/* One time everything: did it get smaller? */
bool shrink_pass(struct shrink *k);

#endif
