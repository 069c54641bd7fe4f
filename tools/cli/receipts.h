/* Checking answers in bytes (ledger/receipts.h) at the rate of a load generator: a block's
 * certificate is verified when the block is first met, a transaction's place in its block for
 * each transaction. */
#ifndef TOOLS_CLI_RECEIPTS_H
#define TOOLS_CLI_RECEIPTS_H

#include "ledger/receipts.h"
#include "tools/cli/client.h"

struct receipt_checker; /* opaque; one thread's */

struct receipt_checker *receipt_checker_new(struct target *t);
void receipt_checker_free(struct receipt_checker *k);
/* e, of answer a, says that tx is committed: fills in *out as submit() would, but for times.
 * ERR_NONE, or why it is not proven. */
int receipt_check(struct receipt_checker *k, const struct receipts *a,
		  const struct receipt_entry *e, struct slice tx, struct receipt *out,
		  struct errmsg *m);
uint64_t receipt_checker_certificates(const struct receipt_checker *k); /* verified */

#endif
