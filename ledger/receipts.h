/* Answers to many submissions as bytes, for clients that send much: what a proof document says
 * in JSON, at a tenth of the cost, each block's header and certificate once (docs/api.md).
 *
 *	u8 version = 1
 *	u32 count of chains, each: u32 length, {u32 count, signed headers, certificate}
 *	u32 count of receipts, each: u8 status, id, and
 *	    committed        u32 chain, u8 result, Merkle path; or chain NO_CHAIN, u64 height,
 *	                     u8 result, without a proof
 *	    refused, busy    u32-prefixed texts: code, detail, hint
 *
 * headers[0] of a chain is the block that holds the transaction. */
#ifndef LEDGER_RECEIPTS_H
#define LEDGER_RECEIPTS_H

#include "ledger/proof.h"

#define RECEIPTS_VERSION   1
#define RECEIPTS_MAX	   4096 /* of one answer */
#define RECEIPTS_NO_CHAIN  UINT32_MAX
#define RECEIPTS_CHAIN_MAX (4u << 20)
#define RECEIPTS_TEXT_MAX  1024

enum receipt_status { /* never reuse a number */
		      RECEIPT_COMMITTED = 1,
		      RECEIPT_ACCEPTED = 2,
		      RECEIPT_PENDING = 3,
		      RECEIPT_REFUSED = 4,
		      RECEIPT_BUSY = 5,
};

struct receipt_entry {
	enum receipt_status status;
	struct hash id;
	uint32_t chain;	 /* COMMITTED: index, or RECEIPTS_NO_CHAIN */
	uint64_t height; /* only without a chain, which tells it otherwise */
	enum tx_result result;
	struct merkle_path path;
	struct slice code, detail, hint; /* REFUSED, BUSY; lent */
};

void certified_header_encode(struct writer *w, const struct certified_header *c);
/* The whole of bytes; certified_header_free() only after ERR_NONE. Checks form, no signature;
 * a crash protocol's certificate passes. */
int certified_header_decode(struct slice bytes, struct certified_header *out);

/* After the chains, which the caller has written as u32 count and u32-prefixed bytes. */
void receipt_entry_encode(struct writer *w, const struct receipt_entry *e);

/* A walk through an answer, whose bytes are lent. */
struct receipts {
	struct reader r;
	uint32_t chain_count, left;
	struct slice *chains; /* owned: the array, not the bytes */
};
/* receipts_close() only after ERR_NONE. */
int receipts_open(struct receipts *a, struct slice bytes);
void receipts_close(struct receipts *a);
/* The next one. ERR_NOT_FOUND: that was all, and nothing is left over. */
int receipts_next(struct receipts *a, struct receipt_entry *out);

#endif
