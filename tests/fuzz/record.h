/* Runs of the simulator as seeds: real objects, of every kind that such runs make. */
#ifndef TESTS_FUZZ_RECORD_H
#define TESTS_FUZZ_RECORD_H

#include "tests/fuzz/forge.h"

struct recording {
	struct sim_options options;
	/* Each message that is sent, in order. */
	void (*message)(void *ctx, struct sim *s, unsigned from, const struct message *m);
	void *ctx;
};
#define RECORDINGS 14
/* One of a few runs: calm, with faults, with malicious replicas; hybrid and pbft. */
void record(unsigned which, struct recording *r);

#endif
