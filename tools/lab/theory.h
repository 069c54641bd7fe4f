/* Messages between replicas that theory expects, none to oneself, `silent` of n never answering
 * (docs/lab.md, "Theory"). What is sent to the silent counts: it leaves. */
#ifndef TOOLS_LAB_THEORY_H
#define TOOLS_LAB_THEORY_H

#include "chain/genesis.h"

/* Each decision of a pipelined steady state, one block each. */
double theory_pipelined(enum protocol p, unsigned n, unsigned silent);
/* A block with nothing before or behind it: what makes it final travels alone. */
double theory_lone(enum protocol p, unsigned n, unsigned silent);
/* One change of leader that succeeds at once, without the new leader's first block. */
double theory_leader_change(enum protocol p, unsigned n, unsigned silent);

#endif
