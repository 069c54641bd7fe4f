/* Reads that are at least as new as anything acknowledged before them. */
#ifndef TOOLS_CLI_LINEAR_H
#define TOOLS_CLI_LINEAR_H

#include "tools/cli/client.h"

/* A height that no block acknowledged before the call is above; needs all validators'
 * addresses.
 *
 * A commit has at least q votes, each by a replica whose newest block (its "height") is from
 * then on not below. Of `answers` replicas asked now, at least q + answers - n of those have
 * answered, f of them perhaps with a lie. So the (q + answers - n - f)-th highest answer is
 * high enough: no single liar can make it too low, nor, when all answer, too high. qv answers
 * are needed. Prints errors; exit code. */
int linear_height(struct link *l, uint64_t *out);

/* The arithmetic alone: height[] of those that answered, in any order. False: too few. */
bool linear_bound(const struct quorum *q, uint64_t *height, unsigned answers, uint64_t *out);

#endif
