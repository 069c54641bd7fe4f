/* Votes and the certificates that they make.
 *
 * A vote signs, under its kind's tag, (term, height, hash); a checkpoint statement also the
 * state root. Durable before sent: docs/consensus.md. */
#ifndef CHAIN_VOTE_H
#define CHAIN_VOTE_H

#include "chain/block.h"

enum vote_kind {
	VOTE_PREPARE_FAST = 1,
	VOTE_PREPARE_PBFT = 2,
	VOTE_COMMIT = 3,
	VOTE_CHECKPOINT = 4,
};

struct vote {
	enum vote_kind kind;
	struct block_ref ref;
	struct hash state_root; /* checkpoint only; else zero and not encoded */
	uint16_t signer;
	struct signature sig;
};
/* Everything but its signature; no checkpoint. */
void vote_begin(struct vote *out, enum vote_kind kind, const struct block_ref *ref,
		unsigned signer);
void vote_encode(struct writer *w, const struct vote *v);
void vote_decode(struct reader *r, struct vote *out);
void vote_sign(struct vote *v, const struct chain_ctx *ctx, const struct keypair *key);
int vote_check(const struct vote *v, const struct chain_ctx *ctx);

/* What a certificate claims; fixes the votes' kind and the number needed. */
enum cert_kind {
	CERT_QC_FAST = 1,    /* q prepare-fast */
	CERT_QC_PBFT = 2,    /* q prepare-pbft */
	CERT_ONE_ROUND = 3,  /* qf prepare-fast: final */
	CERT_TWO_ROUND = 4,  /* q commit: final */
	CERT_CHECKPOINT = 5, /* q checkpoint statements: stable, serves as a QC */
	/* No certificate at all: what a replica of a crash-fault protocol notes for itself when
	 * it commits. Nobody signs it, it convinces nobody, cert_check() refuses it, no message
	 * carries it (docs/decisions/0006-baselines.md). */
	CERT_CRASH = 6,
};
enum vote_kind cert_vote_kind(enum cert_kind kind);
unsigned cert_quorum(enum cert_kind kind, const struct quorum *q);
/* Finalises its block and all ancestors. */
bool cert_is_final(enum cert_kind kind);
const char *cert_kind_name(enum cert_kind kind); /* "one_round", ... */

struct cert {
	enum cert_kind kind;
	struct block_ref ref;
	struct hash state_root; /* checkpoint only */
	uint64_t in_term;	/* crash only: term or ballot in which it was committed */
	uint64_t signers;	/* bit i: validator i */
	unsigned count;		/* = popcount(signers) */
	struct signature sig[VALIDATORS_MAX]; /* count, in ascending order of signer */
};
/* Only the signatures that there are: most of the struct is room. */
void cert_copy(struct cert *out, const struct cert *c);
/* {kind u8, ref, [state_root], signers u64, signatures}; decoding refuses a bit >= n of the
 * widest set and a count of zero. */
void cert_encode(struct writer *w, const struct cert *c);
void cert_decode(struct reader *r, struct cert *out);
/* From our own disk: a CERT_CRASH too, {kind u8, ref, in_term u64}. */
void cert_decode_stored(struct reader *r, struct cert *out);
/* Verifies every signature and that there are at least the quorum of them. */
int cert_check(const struct cert *c, const struct chain_ctx *ctx);

/* Collects votes for one reference and kind. Votes must have been checked already. */
struct tally {
	enum vote_kind kind;
	struct block_ref ref;
	struct hash state_root;
	uint64_t signers;
	unsigned count;
	struct signature sig[VALIDATORS_MAX]; /* by signer index */
};
void tally_init(struct tally *t, enum vote_kind kind, const struct block_ref *ref,
		const struct hash *state_root);
/* True if the vote was new. invariant: same kind and ref. */
bool tally_add(struct tally *t, const struct vote *v);
/* invariant: enough votes. */
void tally_cert(const struct tally *t, enum cert_kind kind, struct cert *out);

#endif
