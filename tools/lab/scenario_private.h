/* Shared by the files that read scenarios. */
#ifndef TOOLS_LAB_SCENARIO_PRIVATE_H
#define TOOLS_LAB_SCENARIO_PRIVATE_H

#include <stdio.h>

#include "tools/lab/scenario.h"
#include "tools/lab/words.h"

int scenario_action(struct scenario *s, struct words *w, enum script_trigger trigger);
int scenario_attacks(struct words *w, uint64_t *mask);
int scenario_range(struct words *w, uint64_t *low, uint64_t *high);
const char *script_kind_name(enum script_kind kind);
const char *script_who_name(enum script_who who);
extern const char *const scenario_who_names[4], *const scenario_target_names[4];

/* scenario_parts.c: "only 3,17-20"; "node1 to node2 17,20" */
int scenario_only(struct words *w, struct occurrences *o);
int scenario_lose(struct words *w, struct losses *l);
void scenario_print_parts(FILE *f, const struct scenario *s);

#endif
