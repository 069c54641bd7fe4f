/* Snapshots of the running node's store, for tools on this machine that read it: backup, check.
 * HOME/snapshots/N, of hard links. Whoever reads one has it locked, and removes it; what was
 * forgotten goes with the next one that is asked for, or the next start. */
#ifndef NODE_SNAPSHOTS_H
#define NODE_SNAPSHOTS_H

#include "node/node.h"

/* From any thread. ERR_BUSY: as many as there may be are in use; ERR_IO. */
int snapshots_make(struct node *n, char *path, size_t size, struct errmsg *m);
void snapshots_forget(struct node *n); /* at a start */

#endif
