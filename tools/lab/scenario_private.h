/* Shared by the files that read scenarios. */
#ifndef TOOLS_LAB_SCENARIO_PRIVATE_H
#define TOOLS_LAB_SCENARIO_PRIVATE_H

#include "tools/lab/scenario.h"
#include "tools/lab/words.h"

int scenario_action(struct scenario *s, struct words *w, enum script_trigger trigger);
int scenario_attacks(struct words *w, uint64_t *mask);
int scenario_range(struct words *w, uint64_t *low, uint64_t *high);
const char *script_kind_name(enum script_kind kind);

#endif
