/* What writing verbs share: nonces, expiry, signing. */
#ifndef TOOLS_CLI_WRITE_H
#define TOOLS_CLI_WRITE_H

#include "tools/cli/client.h"

uint64_t choose_expiry(const struct target *t, uint64_t expiry_max);
/* Whether the chain takes keys and values of these sizes: ERR_RANGE for an empty key,
 * ERR_LIMIT, and m says how many bytes there are and how many there may be. What else is wrong
 * with an operation is build_transaction()'s to find. */
int op_fits(const struct op *op, const struct genesis_limits *l, struct errmsg *m);
/* Prints that; exit code. */
int op_fail(struct cli *c, int err, const struct errmsg *m);
/* Signs into w (reset first) and checks the result against the chain's limits. ERR_*. */
int build_transaction(struct target *t, struct writer *w, const struct keypair *key,
		      uint64_t nonce, uint64_t expiry, const struct op *ops, uint32_t count,
		      struct hash *id);
/* Prints a receipt of c->tx, or its failure; exit code. */
int report_receipt(struct cli *c, struct target *t, const struct receipt *r);

/* Prints that the time was over before there was anything to send; exit code. */
int fail_unsent(struct cli *c);

#endif
