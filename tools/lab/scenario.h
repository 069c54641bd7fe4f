/* Scenario files: one directive a line, '#' begins a comment (docs/lab.md). */
#ifndef TOOLS_LAB_SCENARIO_H
#define TOOLS_LAB_SCENARIO_H

#include "base/err.h"
#include "sim/sim.h"

#define SCENARIO_NAME_MAX     64
#define SCENARIO_PATH_MAX     1024
#define SCENARIO_TEXT_MAX     2048
#define SCENARIO_FILES_MAX    128
#define SCENARIO_EXPECT_MAX   16
#define SCENARIO_PHRASE_MAX   64
#define SCENARIO_CORRUPT_F    (-1)
#define SCENARIO_CORRUPT_MORE (-2) /* f+1 */

enum scenario_who { WHO_ANY, WHO_LEADER, WHO_MOODS, WHO_FOLLOWER };
enum scenario_targets { TARGETS_CHANCE, TARGETS_EVERY_SECOND, TARGETS_EVERYBODY, TARGETS_ONE };
enum expectation_kind {
	EXPECT_NO_CONFLICT,
	EXPECT_CONFLICT,
	EXPECT_PROGRESS, /* value: within microseconds after healing; 0: at all */
	EXPECT_INNOCENT,
	EXPECT_CONVICTED, /* value: so many at least */
	EXPECT_NO_MODE_CHANGE,
	EXPECT_MODE_CHANGE, /* value: enum escalation_reason; NONE: any */
	EXPECT_RETURN,
	EXPECT_EVIDENCE,     /* value: enum evidence_kind */
	EXPECT_CULPRITS,     /* value: so many of a fork are named by evidence at least */
	EXPECT_AVAILABILITY, /* value: per cent at least */
	EXPECT_FAILOVER,     /* value: within microseconds */
	EXPECT_ONE_TERM,     /* in the end no correct replica is in a term of its own */
	EXPECT_STRUCK,	     /* attacks took place; always expected where there are any */
	EXPECT_COUNTS, /* messages per decision are those of theory; value 1: of lone blocks */
	EXPECT_KINDS
};
#define EXPECT_MORE_THAN_F 0 /* of CONVICTED and CULPRITS: f+1 at least */
struct expectation {
	enum expectation_kind kind;
	uint64_t value;
	char text[SCENARIO_PHRASE_MAX]; /* as in the file */
};
struct scenario {
	char name[SCENARIO_NAME_MAX];
	char path[SCENARIO_PATH_MAX];
	char summary[256], text[SCENARIO_TEXT_MAX];
	unsigned nodes; /* default 4 */
	enum protocol protocol;
	int corrupt; /* >= 0: so many, or one of SCENARIO_CORRUPT_* */
	uint64_t attacks;
	enum scenario_who who;
	enum scenario_targets targets;
	bool storm, calm;
	unsigned silent;  /* calm: so many replicas never start */
	uint32_t warm_up; /* blocks before what is counted */
	uint32_t decisions, clients;
	uint64_t duration_us, think_us, delay_min_us, delay_max_us;
	uint32_t loss_per_mille;
	bool seeded; /* its own seed, unless another is asked for */
	uint64_t seed;
	uint32_t probation; /* checkpoint intervals; 0: 1 */
	/* Of the storm's faults and of the moments at which malicious replicas may attack only
	 * these, if so; and messages that are lost. */
	bool part_of_storm, part_of_strikes;
	struct occurrences faults, strikes;
	struct losses losses;
	bool strikes_optional; /* it is no failure if no attack takes place */
	struct script script;
	struct expectation expect[SCENARIO_EXPECT_MAX];
	unsigned expect_count;
	bool sim_only; /* needs what no live network can do */
};

/* name: a file, or the name of one of the library's. m names file and line. */
int scenario_read(struct scenario *out, const char *name, struct errmsg *m);
/* From text; file is what m calls it. */
int scenario_parse(struct scenario *out, const char *file, const char *text, struct errmsg *m);
/* As a file, in the one way in which each scenario is printed; mem_free(). Reading it gives the
 * same scenario. */
char *scenario_text(const struct scenario *s);
/* The text of a scenario or run file, mem_free(); *text NULL on errors. */
int scenario_load(char **text, const char *path, struct errmsg *m);
/* Name and path of a scenario that was read from here. */
void scenario_name(struct scenario *s, const char *path);
/* What a command line calls it by: its name in the library, or the path of its file as it was
 * given. Borrowed from s. */
const char *scenario_argument(const struct scenario *s);
/* Names in the library, sorted; returns how many. */
unsigned scenario_list(char names[SCENARIO_FILES_MAX][SCENARIO_NAME_MAX]);
unsigned scenario_corrupt(const struct scenario *s, unsigned nodes);
uint64_t scenario_targets(const struct scenario *s, unsigned nodes);
/* False: it needs what only the simulator can do; m says what. */
bool scenario_is_live(const struct scenario *s, struct errmsg *m);
/* so borrows s. */
void scenario_options(struct sim_options *so, const struct scenario *s, enum protocol protocol,
		      unsigned nodes, uint64_t seed);
/* Does it do anything to the network between nodes? */
bool scenario_needs_relay(const struct scenario *s);
/* NULL: not expected. */
const struct expectation *scenario_expects(const struct scenario *s,
					   enum expectation_kind kind);

#endif
