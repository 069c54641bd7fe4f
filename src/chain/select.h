/* select_base(): which chain a new pbft term continues (docs/consensus.md, "View change"). Pure: all
 * replicas and every offline verifier compute the same from the same view changes.
 *
 *	tau   = the highest tip term in S; tips: those of term tau only
 *	base  = the highest QC (or stable checkpoint) of term tau in S; only otherwise the base
 *		of TC(tau), or the highest common ancestor of the bases that the tips name
 *	conflict: two tips, or a tip and base, not on one chain; or tips that name different bases
 *	conflict and leader(tau) in S: S is invalid, leave leader(tau) out
 *	conflict: walk up from base, at each height to the child on whose branch at least s of S
 *		have their tip; stop where there is none
 *	else: the longest tip
 *
 * A tip below the highest stable checkpoint of tau in S is no part of a conflict: the checkpoint
 * is final, and what it cuts off cannot be selected anyway. */
#ifndef CHAIN_SELECT_H
#define CHAIN_SELECT_H

#include "chain/term.h"

enum select_base_kind {
	SELECT_GENESIS = 1,    /* nobody has a tip: tau is the epoch's first term */
	SELECT_FROM_QC,	       /* a QC of tau */
	SELECT_FROM_CHECKPOINT, /* a stable checkpoint of tau, above every QC of tau */
	SELECT_FROM_TC,	       /* the base of TC(tau) */
	SELECT_FROM_ANCESTOR,  /* the common ancestor of several bases of tau */
};
struct selection {
	struct block_ref base; /* the result: what the primary's first block extends */
	uint64_t tau;
	uint16_t leader; /* of tau */
	enum select_base_kind from;
	bool conflict;
	uint32_t walked; /* heights climbed by support, if conflict */
};

/* vc[0..count): valid view changes for one term, of distinct signers, count = qv, positions
 * checked (tc.base filled in). ERR_CULPRIT: conflict, and leader(tau) (out->leader, set) is among
 * the signers. ERR_NOT_FOUND: *missing says which block's parent must be known first (only with
 * several bases of tau). */
int select_base(struct selection *out, const struct view_change *const *vc, unsigned count,
		const struct chain_ctx *ctx, const struct view_lookup *look,
		struct missing *missing);

#endif
