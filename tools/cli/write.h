/* What writing verbs share: nonces, expiry, signing. */
#ifndef TOOLS_CLI_WRITE_H
#define TOOLS_CLI_WRITE_H

#include "tools/cli/client.h"

uint64_t choose_expiry(const struct target *t, uint64_t expiry_max);
/* Signs into w (reset first) and checks the result against the chain's limits. ERR_*. */
int build_transaction(struct target *t, struct writer *w, const struct keypair *key,
		      uint64_t nonce, uint64_t expiry, const struct op *ops, uint32_t count,
		      struct hash *id);
/* Prints a receipt of c->tx, or its failure; exit code. */
int report_receipt(struct cli *c, struct target *t, const struct receipt *r);

/* Prints that the time was over before there was anything to send; exit code. */
int fail_unsent(struct cli *c);

#endif
