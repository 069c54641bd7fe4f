/* Shared by the parts of bench-micro. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include "tests/ledger/world.h"

double cpu_us(void);  /* of this thread */
double wall_us(void); /* monotonic */

/* Prints or keeps a row. us: of one; limit_us: what it could not be faster than, < 0: nothing
 * is known that limits it; what: which limit that is. */
void report(const char *name, double us, double limit_us, const char *what);

void bench_engine(void); /* engine.c */
void bench_link(void);	 /* link.c */

/* Median over ROUNDS of the CPU time of one call of fn(ctx). */
#define ROUNDS 9
double measure(void (*fn)(void *ctx), void *ctx, unsigned calls);

#endif
