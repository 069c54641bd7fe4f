/* Headers and blocks.
 *
 * A block is at a position (term, height). Its hash covers the header's encoding and not the
 * signature. Blocks of one term extend that term's base; the first has the base as its parent.
 *
 * Body: u32 count, then for each transaction {u8 result, u32 length, bytes}. The leaf of
 * transaction i is merkle_leaf(result || bytes), tx_root the RFC 6962 root of the leaves: one
 * certificate proves that a transaction is in the chain and what came of it. Transactions are
 * opaque here; the ledger gives them meaning. */
#ifndef CHAIN_BLOCK_H
#define CHAIN_BLOCK_H

#include "base/err.h"
#include "chain/valset.h"

enum mode { MODE_FAST = 1, MODE_PBFT = 2 };
const char *mode_name(enum mode mode); /* "fast", "pbft" */

/* Ordered by (term, height). */
struct block_ref {
	uint64_t term, height;
	struct hash hash;
};
/* -1, 0, 1 by (term, height) only. */
int position_compare(const struct block_ref *a, const struct block_ref *b);
bool block_ref_equal(const struct block_ref *a, const struct block_ref *b);
void block_ref_encode(struct writer *w, const struct block_ref *r);
void block_ref_decode(struct reader *r, struct block_ref *out);
#define BLOCK_REF_SIZE (8 + 8 + HASH_SIZE)

#define HEADER_VERSION 1
struct header {
	/* u16 version = HEADER_VERSION leads the encoding */
	struct hash chain;
	uint64_t term;
	enum mode mode; /* u8 */
	uint64_t height;
	struct hash prev;
	uint64_t base_height; /* of its term's base */
	struct hash base;
	struct hash tx_root;
	struct hash state_root; /* after this block's transactions */
	uint64_t time_ms;	/* Unix time; judged only when voting */
	uint16_t leader;
	struct hash valset;
	struct hash new_view; /* pbft: hash of the NEW-VIEW; fast: zero */
	uint32_t tx_count;
	uint32_t body_size; /* bytes of the body's encoding */
};
#define HEADER_SIZE (2 + 32 + 8 + 1 + 8 + 32 + 8 + 32 + 32 + 32 + 8 + 2 + 32 + 32 + 4 + 4)

void header_encode(struct writer *w, const struct header *h); /* exactly HEADER_SIZE bytes */
void header_decode(struct reader *r, struct header *out);
void header_hash(struct hash *out, const struct header *h);
/* False: of a filler (chain/epoch.h), which is nobody's history. No other block is valid with a
 * state root of zero, which is that of no state. */
bool header_has_state(const struct header *h);

struct signed_header {
	struct header h;
	struct signature sig; /* by h.leader, SIG_TAG_HEADER; zero for genesis only */
};
#define SIGNED_HEADER_SIZE (HEADER_SIZE + SIGNATURE_SIZE)
void signed_header_encode(struct writer *w, const struct signed_header *sh);
void signed_header_decode(struct reader *r, struct signed_header *out);
void signed_header_sign(struct signed_header *sh, const struct chain_ctx *ctx,
			const struct keypair *key);
/* What a header shows by itself: chain, version, mode, leader < n, valset, leader's signature,
 * a pbft header's leader is primary(term), fast headers have no new_view. */
int signed_header_check(const struct signed_header *sh, const struct chain_ctx *ctx);
/* The same without the signature. */
int header_check_form(const struct header *h, const struct chain_ctx *ctx);

/* Validator that is primary of a pbft term: term mod n. */
unsigned primary_of(uint64_t term, unsigned n);

#define BLOCK_TXS_MAX  8192
#define BLOCK_BODY_MAX (4u << 20)
#define TX_SIZE_MAX    (128u << 10) /* a client's; of SYSTEM ones: chain/system.h */

/* What became of an included transaction (the body's result byte). Never reuse a number. */
enum tx_result {
	TX_OK = 0,
	TX_FAILED_CAS = 1,	 /* a compare-and-set found another value */
	TX_FAILED_FUNDS = 2,	 /* a transfer exceeds the balance */
	TX_FAILED_OVERFLOW = 3,	 /* the receiver's balance would overflow */
	TX_FAILED_NOT_FOUND = 4, /* delete of an absent key */
};
const char *tx_result_name(enum tx_result r);

/* An immutable block, shared by reference count (atomic: threads of node/checker.c hold some). */
struct block {
	struct signed_header sh;
	struct hash hash;
	uint32_t refs;	    /* private */
	uint32_t tx_count;
	uint8_t *body;	    /* body_size bytes, of the block's memory */
	size_t body_size;
	struct block_tx {
		enum tx_result result;
		uint32_t offset, size; /* of the transaction's bytes inside body */
		struct hash id;	       /* tx_id() of them */
	} *tx;		    /* tx_count entries, likewise */
};

/* The transaction id: HASH_TX over all its bytes. */
static inline void tx_id(struct hash *out, struct slice tx)
{
	hash_tagged(out, HASH_TX, tx);
}

/* Checks form only: count, limits, no trailing bytes, tx_root, tx_count, body_size. No
 * signature is checked. *out has one reference. */
int block_new(struct block **out, const struct signed_header *sh, struct slice body);
struct block *block_hold(struct block *b); /* returns b */
void block_drop(struct block *b);	   /* NULL is fine */
struct slice block_tx_bytes(const struct block *b, uint32_t index);
struct block_ref block_ref_of(const struct block *b);

/* Wire and disk: signed header, then u32-prefixed body. */
void block_encode(struct writer *w, const struct block *b);
int block_decode(struct reader *r, struct block **out); /* also block_new()'s checks */

/* Bodies are built with these. leaves gets the Merkle leaf of each transaction. */
void body_begin(struct writer *w);
void body_add(struct writer *w, enum tx_result result, struct slice tx);
void body_end(struct writer *w, uint32_t count);
void body_leaf(struct hash *out, enum tx_result result, struct slice tx);
/* Leaves of all transactions of b; tx_count of them into out. */
void block_leaves(struct hash *out, const struct block *b);

/* The child's place is right after the parent: height + 1, prev, term not lower, time not
 * lower; same term: same mode, base, leader, new_view; higher term: the parent is its base. */
int block_check_link(const struct header *child, const struct header *parent,
		     const struct hash *parent_hash);

#endif
