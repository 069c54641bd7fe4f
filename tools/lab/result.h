/* Measures and expectations of runs. */
#ifndef TOOLS_LAB_RESULT_H
#define TOOLS_LAB_RESULT_H

#include "base/json.h"
#include "sim/measure.h"
#include "tools/lab/scenario.h"

struct lab_times { /* microseconds */
	uint64_t *us;
	size_t count, cap;
};
/* Sums and extremes of several runs, as if they were one; a violation of any is one of all. */
struct lab_total {
	struct sim_result r;
	uint64_t *times;
	size_t time_count, time_cap;
	bool measured;
	/* Sums; windows and transitions' order are those of the first run, the failover is the
	 * longest, the window for a diagram the most interesting. Times are below. */
	struct sim_measures m;
	struct lab_times leader, all, client;
	uint64_t failed; /* bit i: expectation i, in some run */
	unsigned runs, bad_runs;
	uint64_t first_bad_seed;
	double wall;
};

/* EXPECT_COUNTS is judged by result_counts_hold(). */
bool result_holds(const struct sim_result *r, const struct expectation *e, unsigned nodes);
/* The messages of a fault-free run are those of theory; lone: of blocks that come alone. */
bool result_counts_hold(const struct sim_options *so, const struct sim_result *r, bool lone);
/* so says which protocol, how many nodes and which seed it was, and points to its measures. */
void result_add(struct lab_total *t, const struct scenario *s, const struct sim_options *so,
		const struct sim_result *r, double wall);
struct json *result_json(const struct scenario *s, const struct sim_options *so,
			 struct lab_total *t); /* owned by the caller; sorts t's times */
void result_print(const struct scenario *s, const struct sim_options *so,
		  const struct lab_total *t);
void result_free(struct lab_total *t); /* what it owns, not t itself */

#endif
