/* A live run for other verbs of the lab. */
#ifndef TOOLS_LAB_LIVE_RUN_H
#define TOOLS_LAB_LIVE_RUN_H

#include "tools/lab/lab.h"

/* Runs the scenario o->name with real processes and returns its result as docs/lab.md has it
 * (owned by the caller), whether what was expected held ("passed") or not. NULL with m: there
 * is no such scenario, it is not for live runs, or the network did not come up. Prints
 * nothing but the directory that is kept when something failed, to stderr. SIGINT and SIGTERM
 * are caught meanwhile: the run ends at once, with NULL. */
struct json *lab_live_run(const struct lab_options *o, struct errmsg *m);
/* Did SIGINT or SIGTERM end the latest run? It has cleaned up, and there is no result. */
bool live_interrupted(void);

#endif
