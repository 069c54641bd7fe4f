/* The disk under the data directory. When less than the reserve is free, the node stops taking
 * part before RocksDB fails half way: it still answers reads, and goes on by itself when there
 * is room again. What happens when a write or sync fails all the same: node.h. */
#ifndef NODE_DISK_H
#define NODE_DISK_H

#include "node/config.h"

#define DISK_CHECK_US	   1000000
#define DISK_CHECK_NEAR_US 100000 /* near the end, which comes fast */
#define DISK_LOW	   4	  /* times the reserve: time to do something */

struct disk {
	char path[CONFIG_PATH_MAX + 32];
	char pretend[2 * CONFIG_PATH_MAX + 2]; /* [debug] disk_free_file; empty: none */
	uint64_t reserve, free_bytes;
	bool known; /* free_bytes is */
	bool full;  /* less than the reserve is free */
	bool low;   /* less than DISK_LOW times the reserve is */
	uint64_t full_since;
	uint64_t checked;
	uint64_t synced; /* when the last sync ended; 0: none yet */
	char error[160]; /* the write or sync that failed; empty: none has */
};

void disk_init(struct disk *d, const struct node_config *c);
/* Looks, if it is time to. True: `full` or `low` has changed. */
bool disk_check(struct disk *d, uint64_t now);
/* Can the data directory be written to? Tries. */
bool disk_try(const struct disk *d);

#endif
