/* SYSTEM transactions: what the ledger records about consensus itself. They are made by
 * leaders, never by clients, carry no signature (the block's certificate and the proof inside
 * speak for them), and come first in a body, a mode entry before convictions.
 *
 * Encoding: {u16 SYSTEM_TX_MARK, u8 kind, chain id, u64 height, fields}. height is that of the
 * block that holds it, so that no two have the same id. Whether a mode entry is due is a matter
 * of the term (docs/consensus.md, "Mode entries") and checked by consensus; here is what
 * depends on the chain alone. */
#ifndef CHAIN_SYSTEM_H
#define CHAIN_SYSTEM_H

#include "chain/evidence.h"
#include "chain/genesis.h"
#include "chain/member.h"

#define SYSTEM_TX_MARK	   0xffffu /* where a client's transaction has its version */
#define SYSTEM_TX_SIZE_MAX (EVIDENCE_SIZE_MAX + 64u)
/* In one block. They are not bound by what the genesis says of clients' transactions, and so
 * many always fit into a body. */
#define SYSTEM_TXS_MAX 8

enum system_kind { /* never reuse a number */
		   SYSTEM_ESCALATED =
			   1, /* {u64 term, u8 reason}: the ledger is in pbft mode from here */
		   SYSTEM_MODE_FAST = 2, /* {u64 term}: back to fast mode; nothing extends it in
					    its term */
		   SYSTEM_CONVICTION =
			   3, /* {var encoded evidence}: its culprit is jailed from here */
		   SYSTEM_MEMBER = 4, /* {member change}: alone in its block, the epoch's last */
};
struct system_tx {
	enum system_kind kind;
	uint64_t height;
	uint64_t term;		       /* ESCALATED, MODE_FAST: of the block's term */
	enum escalation_reason reason; /* ESCALATED */
	struct slice evidence;	       /* CONVICTION; lent */
	struct member_change member;   /* MEMBER */
};
/* Cheap: the mark only. */
bool system_tx_is(struct slice bytes);
void system_tx_encode(struct writer *w, const struct system_tx *tx,
		      const struct chain_ctx *ctx);
/* Form and chain id; for a conviction also that evidence decodes. Borrows from bytes. */
int system_tx_decode(struct system_tx *out, struct slice bytes, const struct chain_ctx *ctx);

/* What the mode entries and convictions of a chain add up to, from genesis to some block. */
#define PROBATION_DOUBLINGS_MAX 6
#define PROBATION_MEMORY	64 /* undoubled probations */
struct mode_state {
	enum mode mode;	      /* fast at genesis */
	uint64_t changed;     /* height of the newest mode entry; 0: none */
	uint64_t escalated;   /* height of the newest recorded escalation; 0: none */
	uint64_t escalations; /* recorded so far */
	uint32_t doublings; /* of the probation: escalations within a long window of each other
			     */
	uint64_t jailed;    /* bit i: validator i is convicted */
	uint64_t epoch;	    /* member entries so far; encoded only if there was one */
};
void mode_state_init(struct mode_state *m);
void mode_state_encode(struct writer *w, const struct mode_state *m);
void mode_state_decode(struct reader *r, struct mode_state *out);
/* First height at which "mode fast" is valid, and mandatory: escalated + probation x K x
 * 2^doublings. UINT64_MAX in fast mode. */
uint64_t mode_fast_due(const struct mode_state *m, const struct genesis *g);
/* What tx, in the block at this height, does to m. ERR_NONE and m changed; or m as it was and:
 * ERR_RANGE: wrong height; ERR_MODE: ESCALATED in pbft mode, or MODE_FAST in pbft mode before
 * mode_fast_due(); ERR_EXISTS: the culprit is jailed already. MODE_FAST in fast mode is a
 * repeat: it moves `changed` only; whether the term asks for one is not judged here. MEMBER:
 * ERR_MODE unless in fast mode, at a multiple of the checkpoint interval, and of this very
 * epoch; a new key is not in jail. Evidence and what governance has signed are not checked
 * here. An escalation at most PROBATION_MEMORY undoubled probations after the
 * end of the last one's probation doubles it, up to PROBATION_DOUBLINGS_MAX times; a later one
 * starts from the plain one. (Counted from the last escalation itself, a probation doubled six
 * times would outlast the memory of it.) */
int mode_state_apply(struct mode_state *m, const struct system_tx *tx, uint64_t height,
		     const struct genesis *g);
/* How many transactions of b lead it with the mark. */
uint32_t system_tx_prefix(const struct block *b);
/* May it be at this place of a block with this header? Height and result TX_OK; a mode entry is
 * the first transaction and names the block's term; a member entry is the only one, and of a
 * fast term. */
bool system_tx_fits(const struct system_tx *tx, const struct header *h, uint64_t index,
		    enum tx_result result);
/* Decodes the one at index of b, inside the prefix, and checks what shows from b's bytes: form,
 * chain, and that it fits. */
int system_tx_of_block(struct system_tx *out, const struct block *b, uint32_t index,
		       const struct chain_ctx *ctx);
/* Applies the leading SYSTEM transactions of b; stops at the first that is none. An error: b is
 * invalid on this chain, and m is as it was. Evidence is not checked here, nor that no SYSTEM
 * transaction comes later: ledger_execute() does both. */
int mode_state_apply_block(struct mode_state *m, const struct block *b,
			   const struct chain_ctx *ctx, const struct genesis *g);

#endif
