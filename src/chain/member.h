/* What governance signs to give a validator's place a new key. It names the epoch and the set
 * that it changes, so it has an effect once at most. Not signed by the key that it replaces:
 * that one may be lost, or its holder convicted. docs/decisions/0012-new-keys-for-validators.md
 */
#ifndef CHAIN_MEMBER_H
#define CHAIN_MEMBER_H

#include "base/err.h"
#include "chain/valset.h"

struct member_change {
	uint64_t epoch;	    /* that it ends */
	struct hash valset; /* of that epoch */
	uint16_t place;
	struct pubkey key;
	uint16_t signers;			/* bit i: governance key i */
	struct signature sig[GENESIS_KEYS_MAX]; /* of those, ascending */
};
#define MEMBER_CHANGE_SIZE_MAX                                                                 \
	(8 + HASH_SIZE + 2 + PUBKEY_SIZE + 2 + GENESIS_KEYS_MAX * SIGNATURE_SIZE)

/* {u64 epoch, hash set, u16 place, key, u16 signers, signatures}. Decoding refuses no signer,
 * and more than there can be. */
void member_change_encode(struct writer *w, const struct member_change *m);
void member_change_decode(struct reader *r, struct member_change *out);
/* Of ctx's epoch and set, nobody's signature yet. */
void member_change_init(struct member_change *m, const struct chain_ctx *ctx, unsigned place,
			const struct pubkey *key);
/* Adds that of one governance key. ERR_UNKNOWN_SIGNER: it is none. Again: no effect. */
int member_change_sign(struct member_change *m, const struct chain_ctx *ctx,
		       const struct keypair *key);
/* ERR_UNSUPPORTED: the chain has no governance keys. ERR_STALE: of another epoch or set.
 * ERR_RANGE: no such place. ERR_EXISTS: the key is a validator's already, or governance's.
 * ERR_UNKNOWN_SIGNER, ERR_NO_QUORUM: not k of the m. ERR_BAD_SIGNATURE. */
int member_change_check(const struct member_change *m, const struct chain_ctx *ctx);

#endif
