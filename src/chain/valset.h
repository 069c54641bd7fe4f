/* The validators: who may sign votes, by index. Certificates, term certificates and view
 * changes are judged by these keys alone; a jailed validator's votes still verify. */
#ifndef CHAIN_VALSET_H
#define CHAIN_VALSET_H

#include "chain/quorum.h"
#include "crypto/sign.h"

struct valset {
	unsigned n;
	struct pubkey key[VALIDATORS_MAX];
	struct hash hash; /* HASH_VALSET over n and the keys; in every header */
};

/* Fills hash. ERR_RANGE for n outside 1..VALIDATORS_MAX, ERR_DUPLICATE_SIGNER for equal keys.
 */
int valset_init(struct valset *out, const struct pubkey *keys, unsigned n);
/* Index of key, or -1. */
int valset_index(const struct valset *v, const struct pubkey *key);

#define GENESIS_KEYS_MAX 16
struct genesis_keys { /* k of m */
	unsigned k, m;
	struct pubkey key[GENESIS_KEYS_MAX];
};

/* What every signature check needs: the chain, its validators, the scheme. Those of one epoch
 * (chain/epoch.h): the chain's, scheme and quorums are the same in all.
 *
 * After a recovery (chain/recovery.h) there are several sets of validators, one after the
 * other. A context is that of the newest; `before` leads to the one before it (owned by the
 * genesis that both come from), which signed all up to before_height, and in all terms up to
 * before_term. No chain has both, epochs and a recovery. */
struct chain_ctx {
	struct hash id;
	struct valset vals;
	struct quorum quorum;
	enum sig_scheme scheme;
	struct genesis_keys governance; /* who may replace a validator's key; m = 0: nobody */
	uint64_t epoch;
	/* What the validators' signatures cover: the chain's id in epoch 0, so that no statement
	 * counts in two epochs. Transactions, and what governance signs, are the chain's. */
	struct hash domain;
	uint64_t start_term, start_height; /* of the block that the epoch begins with */
	const struct chain_ctx *before; /* NULL: this set is the genesis file's */
	uint64_t before_height, before_term;
};
/* Whose term, whose height it is. */
const struct chain_ctx *chain_ctx_of_term(const struct chain_ctx *ctx, uint64_t term);
const struct chain_ctx *chain_ctx_of_height(const struct chain_ctx *ctx, uint64_t height);
/* Whose block it is, if there can be one at (term, height): NULL if the height belongs to other
 * validators than the term. */
const struct chain_ctx *chain_ctx_at(const struct chain_ctx *ctx, uint64_t term,
				     uint64_t height);
/* The genesis file's. */
const struct chain_ctx *chain_ctx_first(const struct chain_ctx *ctx);
/* Checks sig of validator `signer` under tag; ERR_UNKNOWN_SIGNER if there is no such index. */
int chain_check_sig(const struct chain_ctx *ctx, unsigned signer, enum sig_tag tag,
		    struct slice msg, const struct signature *sig);

#endif
