/* A run as a file: what ran and what came of it, in words; the scenario in full; and a line
 * that shows whether anything was changed or is missing (docs/lab.md). */
#ifndef TOOLS_LAB_RUN_FILE_H
#define TOOLS_LAB_RUN_FILE_H

#include "tools/lab/scenario.h"

#define RUN_FILE_SUFFIX ".run"

struct run_file {
	struct scenario scenario; /* with the protocol, nodes and seed that ran */
	char version[32];	  /* of the program */
	unsigned mutant;	  /* a planted bug (src/base/mutant.h); 0: none */
	bool live;		  /* real processes: no trace, and no two runs are the same */
	struct hash trace;	  /* of all deliveries */
	enum sim_verdict verdict;
	char says[SIM_TEXT_MAX]; /* what was violated; "": nothing */
	uint64_t broken;	 /* bit i: the scenario's expectation i does not hold */
	uint64_t decisions, virtual_us;
};

/* s: protocol, nodes and seed are taken from so. */
void run_file_of(struct run_file *out, const struct scenario *s, const struct sim_options *so,
		 const struct sim_result *r);
const char *verdict_name(enum sim_verdict v);
char *run_file_text(const struct run_file *r); /* mem_free() */
/* Does it begin as run files do? */
bool run_file_is(const char *text);
/* Whatever was changed, cut off or added is an error; m names file and line. */
int run_file_parse(struct run_file *out, const char *file, const char *text, struct errmsg *m);
int run_file_read(struct run_file *out, const char *path, struct errmsg *m);
/* A new file; ERR_EXISTS if there is one. */
int file_create(const char *path, const char *text, struct errmsg *m);
/* In dir, under a name made of scenario, protocol, nodes and seed; out is its path. The same
 * run is not written twice; another one of that name gets a number. */
int run_file_save(const struct run_file *r, const char *dir, char *out, size_t size,
		  struct errmsg *m);

#endif
