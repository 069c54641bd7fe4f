/* Measures and expectations of runs. */
#ifndef TOOLS_LAB_RESULT_H
#define TOOLS_LAB_RESULT_H

#include "base/json.h"
#include "tools/lab/scenario.h"

/* Sums and extremes of several runs, as if they were one; a violation of any is one of all. */
struct lab_total {
	struct sim_result r;
	uint64_t *times;
	size_t time_count, time_cap;
	uint64_t failed; /* bit i: expectation i, in some run */
	unsigned runs, bad_runs;
	uint64_t first_bad_seed;
	double wall;
};

bool result_holds(const struct sim_result *r, const struct expectation *e, unsigned nodes);
/* so says which protocol, how many nodes and which seed it was. */
void result_add(struct lab_total *t, const struct scenario *s, const struct sim_options *so,
		const struct sim_result *r, double wall);
struct json *result_json(const struct scenario *s, const struct sim_options *so,
			 struct lab_total *t); /* owned by the caller; sorts t's times */
void result_print(const struct scenario *s, const struct sim_options *so,
		  const struct lab_total *t);

#endif
