/* Many at once: put --from, get --from, tx status --from. Each is as certain as one alone: a
 * transaction counts only when its proof was verified, a value too. */
#ifndef TOOLS_CLI_BULK_H
#define TOOLS_CLI_BULK_H

#include "tools/cli/cli.h"

int bulk_put(struct cli *c);
int bulk_get(struct cli *c);
int bulk_tx_status(struct cli *c);

#endif
