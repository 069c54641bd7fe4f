/* What the lab's verbs share. */
#ifndef TOOLS_LAB_LAB_H
#define TOOLS_LAB_LAB_H

#include "base/json.h"
#include "tools/lab/scenario.h"

struct option; /* <getopt.h> */

enum lab_exit {
	LAB_EXIT_OK = 0,
	LAB_EXIT_FAILED = 1, /* an expectation does not hold */
	LAB_EXIT_USAGE = 2,
	LAB_EXIT_UNREACHABLE = 3,
	LAB_EXIT_CONFIG = 78,
	LAB_EXIT_INTERRUPTED = 130,
};
#define LAB_SECONDS 30 /* --seconds of live runs, if it is not given */
enum lab_format { LAB_TABLE, LAB_JSON, LAB_JSONL };
struct lab_options {
	const char *name;
	enum protocol protocol; /* 0: the scenario's */
	unsigned nodes;		/* 0: the scenario's */
	uint64_t seed;
	bool seeded; /* by the command line */
	unsigned runs, seconds;
	const char *save, *save_dir; /* NULL: failed runs only; here */
	bool keep, help, trace, idle, untimed, progress, direct;
	enum lab_format format;
};

/* For a command line that repeats a live run: " --seconds T", or nothing if that is the
 * default. */
#define LAB_SECONDS_TEXT 24
const char *lab_seconds_text(char out[LAB_SECONDS_TEXT], unsigned seconds);

/* A number in decimal digits from low to high, and nothing behind it. */
bool lab_number(const char *text, uint64_t low, uint64_t high, uint64_t *out);
/* command_line.c. All print one line to stderr, and are false. */
/* wanted: "--nodes is a number from 1 to 64"; word: what was given instead. */
bool lab_refuse(const char *wanted, const char *word);
/* word is none of the known ones: names the nearest of them, or if none is near, says the hint.
 */
bool lab_unknown(const char *what, const char *word, const char *const *known, size_t count,
		 const char *hint);
/* After getopt_long() with opterr 0 has returned '?', of these options. */
bool lab_bad_option(char *const *argv, const struct option *known);

int lab_sim(const struct lab_options *o);
/* What a scenario is in the simulator; so->script points into s. */
void lab_sim_options(struct sim_options *so, const struct scenario *s,
		     const struct lab_options *o);
#define LAB_PATH_MAX 640
/* Path of a program of this package; prints what is wrong. */
bool lab_find_program(char out[LAB_PATH_MAX], const char *name);

/* replay.c. False, and says why: --save names a file that is there. */
bool lab_may_save(const struct lab_options *o);
/* Writes the run where the options say, and says where. */
bool lab_save(const struct lab_options *o, const struct scenario *s,
	      const struct sim_options *so, const struct sim_result *r, bool failed);
int lab_replay(const struct lab_options *o);
int lab_shrink(int argc, char **argv);
int lab_twins(int argc, char **argv); /* argv[0]: the verb; as the next */
int lab_report(int argc, char **argv);
#define LAB_SHOW_USAGE (-1)
int lab_compare(int argc, char **argv); /* and sweep; LAB_SHOW_USAGE: help is wanted */
int lab_forged(int argc, char **argv);	/* becomes a forged node */
int lab_bench(int argc, char **argv);
int lab_live(const struct lab_options *o);
void lab_print(const struct json *v, enum lab_format format);
struct json *lab_describe(const struct scenario *s); /* owned by the caller */

#endif
