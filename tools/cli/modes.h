/* The ledger's list of changes of mode, which a node gives in pages. */
#ifndef TOOLS_CLI_MODES_H
#define TOOLS_CLI_MODES_H

#include "base/json.h"

/* How many of the entries of an answer to /v1/modes?from=*next to take, and in *next where to
 * go on; 0: there are no more, or the answer is malformed. */
size_t modes_page(const struct json *entries, uint64_t *next);

#endif
