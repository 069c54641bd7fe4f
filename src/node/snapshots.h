/* Snapshots of the running node's store, for tools on this machine that read it: backup, check.
 * HOME/snapshots/N, of hard links. Whoever reads one opens it as a store, which locks it, marks
 * it as taken (files_take()), and removes it in the end; what one leaves who was killed goes with
 * the next that is asked for, or the next start. */
#ifndef NODE_SNAPSHOTS_H
#define NODE_SNAPSHOTS_H

#include "node/node.h"

/* From any thread. ERR_BUSY: as many as there may be are being read; ERR_IO. */
int snapshots_make(struct store *s, const char *home, char *path, size_t size,
		   struct errmsg *m);
void snapshots_forget(struct node *n); /* at a start */

#endif
