/* [debug] faults_file: a clock that is wrong and a disk that is slow, for tests and the lab.
 *The file is read again when it has changed, each line a word and a number:
 *
 *	clock_ms 20000	  the wall clock is so far ahead; may be negative
 *	sync_us 200000	  each sync takes so much longer
 *
 * Of the whole process; other lines, or no file: nothing is wrong. */
#ifndef NODE_DEBUG_H
#define NODE_DEBUG_H

#include "node/config.h"

void debug_watch(const struct node_config *c); /* before threads */
void debug_poll(uint64_t now);		       /* the loop's turn; looks when it is time to */
int64_t debug_clock_ms(void);		       /* any thread */
void debug_before_sync(void);		       /* any thread; sleeps */

#endif
