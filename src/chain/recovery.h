/* Disaster recovery (docs/decisions/0011-disaster-recovery.md): more validators are lost for
 * good than the protocol tolerates. k of the genesis file's m recovery keys sign a document
 * that names the last block that is kept and new keys for all validators. The chain, its id and
 * its rules stay; what is above that block, or of a later term than its, counts only with the
 * new keys. */
#ifndef CHAIN_RECOVERY_H
#define CHAIN_RECOVERY_H

#include "chain/genesis.h"

#define RECOVERY_VERSION 1

struct recovery {
	struct hash chain;
	uint16_t number;	/* 1, 2, ... */
	struct hash before;	/* recovery_hash() of the one before; zero if number is 1 */
	struct block_ref kept;	/* the last block that is kept; never genesis */
	struct hash state_root; /* after it */
	unsigned n;		/* the genesis file's */
	struct pubkey key[VALIDATORS_MAX];	/* none that was ever a validator's */
	uint32_t signers;			/* bit i: recovery key i of the genesis file */
	struct signature sig[GENESIS_KEYS_MAX]; /* by number of the key */
};
#define RECOVERY_SIZE_MAX                                                                      \
	(8 + 2 + HASH_SIZE + 2 + HASH_SIZE + BLOCK_REF_SIZE + HASH_SIZE + 2 +                  \
	 VALIDATORS_MAX * PUBKEY_SIZE + 4 + GENESIS_KEYS_MAX * SIGNATURE_SIZE)

/* "ostrrcvr", u16 version, fields, u32 signers, their signatures ascending. */
void recovery_encode(struct writer *w, const struct recovery *v);
void recovery_decode(struct reader *r, struct recovery *out);
/* Of all but the signatures, which others may add: HASH_RECOVERY. */
void recovery_hash(struct hash *out, const struct recovery *v);
/* ERR_UNKNOWN_SIGNER: not one of the recovery keys. */
int recovery_sign(struct recovery *v, const struct genesis *g, const struct keypair *key);
/* Follows those that g has already, and names what it may: without the number of signatures. m
 * says what is wrong. */
int recovery_check_form(const struct recovery *v, const struct genesis *g, struct errmsg *m);
/* ... and every signature verifies, and there are k. ERR_NO_QUORUM: too few. */
int recovery_check(const struct recovery *v, const struct genesis *g, struct errmsg *m);
/* Checks, copies, and makes it part of g: genesis_ctx() and genesis_json() have it from then
 * on. */
int genesis_add_recovery(struct genesis *g, const struct recovery *v, struct errmsg *m);
/* g without its newest recovery: what a client thought before it heard of it. For the time of a
 * check; *hidden is given back to genesis_show_recovery(). */
void genesis_hide_recovery(struct genesis *g);
void genesis_show_recovery(struct genesis *g);

#endif
