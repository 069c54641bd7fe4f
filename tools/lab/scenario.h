/* Scenario files: lines of a directive and its words; '#' begins a comment (docs/lab.md). */
#ifndef TOOLS_LAB_SCENARIO_H
#define TOOLS_LAB_SCENARIO_H

#include "base/err.h"
#include "sim/sim.h"

#define SCENARIO_NAME_MAX  64
#define SCENARIO_TEXT_MAX  2048
#define SCENARIO_FILES_MAX 128

enum scenario_who { WHO_ANY, WHO_LEADER, WHO_MOODS };
enum expectation {
	EXPECT_NO_CONFLICT = 1,
	EXPECT_CONFLICT = 2,
	EXPECT_PROGRESS = 4,
	EXPECT_INNOCENT = 8,
	EXPECT_CONVICTED = 16,
	EXPECT_NO_MODE_CHANGE = 32,
	EXPECT_MODE_CHANGE = 64,
	EXPECT_RETURN = 128,
};
struct scenario {
	char name[SCENARIO_NAME_MAX];
	char summary[256], text[SCENARIO_TEXT_MAX];
	unsigned nodes; /* default 4 */
	int corrupt;	/* >= 0: so many; -1: f; -2: f+1 */
	uint64_t attacks;
	enum scenario_who who;
	int targets; /* 0: by chance; 1: half; 2: all; 3: one */
	bool storm;
	uint32_t decisions;
	unsigned expect;			/* bits of enum expectation */
	enum escalation_reason expected_reason; /* of MODE_CHANGE; NONE: any */
};

/* name: a file, or the name of one of the library's. m names file and line. */
int scenario_read(struct scenario *out, const char *name, struct errmsg *m);
/* Names in the library, sorted; returns how many. */
unsigned scenario_list(char names[SCENARIO_FILES_MAX][SCENARIO_NAME_MAX]);
unsigned scenario_corrupt(const struct scenario *s, unsigned nodes);
uint64_t scenario_targets(const struct scenario *s, unsigned nodes);

#endif
