/* Transactions: signed lists of operations that take effect together or not at all.
 *
 * Encoding: {u16 version, chain id, sender, u64 nonce, u64 expiry, u32 count, operations,
 * signature}; the signature (SIG_TAG_TX) covers everything before it. The transaction id is
 * tx_id() of all bytes, signature included. */
#ifndef LEDGER_TX_H
#define LEDGER_TX_H

#include "chain/system.h"

#define TX_VERSION 1

enum op_kind { /* never reuse a number */
	OP_PUT = 1,	 /* key, value */
	OP_DELETE = 2,	 /* key; fails the transaction if absent */
	OP_CAS = 3,	 /* key, expected value or absence, new value */
	OP_TRANSFER = 4, /* to, amount; from the sender's account */
};

struct op {
	enum op_kind kind;
	struct slice key, value;
	bool expect_present;   /* CAS: expected holds a value; else the key must be absent */
	struct slice expected; /* CAS */
	struct pubkey to;      /* TRANSFER */
	uint64_t amount;       /* TRANSFER; >= 1 */
};

/* A decoded view; borrows from the bytes given to tx_decode(). */
struct tx {
	struct pubkey sender;
	uint64_t nonce;
	uint64_t expiry; /* last height at which it may be included; >= 1 */
	uint32_t op_count;
	struct slice ops; /* encoded; iterate with tx_op_next() */
	struct signature sig;
	struct slice bytes; /* all of it */
	struct slice body;  /* what is signed */
};

/* Form, chain, limits (sizes, counts, key and value sizes, canonical). No signature check.
 * ERR_PERMISSION: a SYSTEM transaction (chain/system.h), which only leaders make. */
int tx_decode(struct tx *out, struct slice bytes, const struct chain_ctx *ctx,
	      const struct genesis_limits *limits);
int tx_check_signature(const struct tx *tx, const struct chain_ctx *ctx);
/* Does not decode, or its signature is false, whatever limits a genesis may set: for
 * evidence_check(), which must not depend on them. A SYSTEM transaction: it does not decode, or
 * its evidence proves nothing; evidence that is itself about a block is not judged (false). */
bool tx_never_valid(const struct chain_ctx *ctx, struct slice bytes);
bool system_tx_never_valid(const struct chain_ctx *ctx, struct slice bytes); /* of SYSTEM ones */
/* A conviction's evidence proves what it says, else ERR_BAD_PROOF. Mode entries pass. */
int system_evidence_check(const struct system_tx *tx, const struct chain_ctx *ctx,
			  evidence_tx_invalid tx_invalid);
/* Iterates: start with a reader over tx->ops; false at the end. Decoded transactions only. */
bool tx_op_next(struct reader *ops, struct op *out);

/* Appends a signed transaction to w. invariant: count >= 1. */
void tx_build(struct writer *w, const struct chain_ctx *ctx, const struct keypair *sender,
	      uint64_t nonce, uint64_t expiry, const struct op *ops, uint32_t count);

#endif
