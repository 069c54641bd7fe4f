/* What run files and shrink share. */
#ifndef TOOLS_LAB_REPLAY_H
#define TOOLS_LAB_REPLAY_H

#include "tools/lab/lab.h"
#include "tools/lab/run_file.h"

/* Selects the planted bug that the run had; false with m: this build has none. */
bool run_file_plant(const struct run_file *r, struct errmsg *m);

#endif
