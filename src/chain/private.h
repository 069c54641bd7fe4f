/* What the files of this folder share with each other and with nobody else. */
#ifndef CHAIN_PRIVATE_H
#define CHAIN_PRIVATE_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "chain/block.h"

/* A writer over memory of the caller that never grows: small encodings that are only hashed
 * or signed need no allocation. Not to be freed. */
static inline struct writer writer_fixed(void *buf, size_t cap)
{
	return (struct writer){.buf = buf, .cap = cap, .limit = cap};
}

/* A validator's index as it stands on the wire; whether it is below n is for the checks. */
static inline uint16_t reader_signer(struct reader *r)
{
	uint16_t signer = reader_u16(r);
	if (signer >= VALIDATORS_MAX)
		reader_fail(r, ERR_UNKNOWN_SIGNER);
	return r->err ? 0 : signer;
}

/* The signers of a certificate of any kind: bits below n, their count, and the number needed.
 */
int signers_check(uint64_t signers, unsigned count, unsigned needed, unsigned n);

/* Is r one of enum tx_result? */
bool tx_result_known(uint8_t r);

/* signed_header_check() without header_check_form(): the signature alone. */
int signed_header_check_sig(const struct signed_header *sh, const struct chain_ctx *ctx);

#endif
