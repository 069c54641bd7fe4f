/* Many runs side by side: protocols by nodes by faults or networks, each with several seeds.
 * `compare` and `sweep` are made of it. */
#ifndef TOOLS_LAB_GRID_H
#define TOOLS_LAB_GRID_H

#include "tools/lab/lab.h"
#include "tools/lab/result.h"

#define GRID_ROWS_MAX  4096
#define GRID_SEEDS_MAX 10000
#define GRID_NO_ROW    SIZE_MAX
#define GRID_LOSS      1u /* what was varied besides protocol, nodes and fault */
#define GRID_DELAY     2u
#define GRID_CLIENTS   4u

struct grid_record { /* of one run; travels through a pipe */
	struct sim_result r;
	struct sim_measures m;
	double wall;
};
struct grid_row {
	struct scenario *scenario;     /* owned */
	struct sim_options so;	       /* of the first seed */
	char fault[SCENARIO_NAME_MAX]; /* "none", or the scenario of the library */
	unsigned varied;	       /* GRID_* */
	bool hidden;		       /* shown as the `lone` of another one */
	size_t lone; /* whose counts of lone blocks it shows; GRID_NO_ROW: none */
	char repeat[SCENARIO_PATH_MAX + 256]; /* the command line */
	/* results, added in the order of seeds */
	unsigned added;
	struct grid_record **early; /* by seed: those that came before their turn; owned */
	struct lab_total total;
	struct json *runs; /* the row of each seed; owned */
	struct json *live; /* of live runs: the first, instead; owned */
};
struct grid {
	struct grid_row *row; /* owned */
	size_t count, cap;
	unsigned seeds, jobs;
	uint64_t seed;
	bool progress;
	unsigned seconds; /* live: how long at most what is expected may take */
};
/* Takes the scenario. NULL: there are too many. */
struct grid_row *grid_add(struct grid *g, struct scenario *s, const struct sim_options *so,
			  const char *fault);
/* An enum lab_exit: OK, FAILED (an expectation, or a job died), INTERRUPTED. */
int grid_run(struct grid *g);
/* The same with real processes, one network after the other; also UNREACHABLE. */
int grid_run_live(struct grid *g);
/* Rows of which anything is known, each with what was varied, medians and their spread. Owned
 * by the caller. */
struct json *grid_json(struct grid *g);
void grid_free(struct grid *g);

/* grid_print.c: rows as grid_json() makes them. */
enum grid_format { GRID_TABLE, GRID_CSV };
void grid_print(const struct json *rows, enum grid_format format);

#endif
