/* The store of a node on this machine: of one that is stopped directly, of one that runs
 * through a snapshot that it makes. */
#ifndef TOOLS_CLI_LOCAL_H
#define TOOLS_CLI_LOCAL_H

#include "ledger/store.h"
#include "tools/cli/network.h"

struct local {
	char home[PATH_SIZE];
	struct genesis genesis;
	bool has_genesis;
	struct store *store;			 /* read only */
	char snapshot[PATH_SIZE];		 /* empty: the node is stopped */
	char unauthorized[CONFIG_TEXT_MAX + 32]; /* URL of the node that refused us, or empty */
};
/* HOME from --home: a node's home; or in a network directory the home of --node NAME, or else
 * of the first node that runs, or else of the first that has data. Prints errors; exit code.
 * local_close() in any case. */
int local_find(struct cli *c, struct local *l);
/* local_find(), and opens the store. */
int local_open(struct cli *c, struct local *l);
void local_close(struct local *l);

#endif
