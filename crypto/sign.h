/* Signatures: Ed25519 (RFC 8032) by libsodium, whose strict verification is the one rule for
 * edge cases: S < L; small-order or non-canonical R and A are refused; cofactorless equation.
 *
 * SIG_SYMBOLIC is a keyed hash that anyone could compute from the public key. It is for the
 * simulator only, where signatures are unforgeable by convention; genesis_check() refuses it
 * elsewhere. Both schemes use the same keys, so both give the same commit log. */
#ifndef CRYPTO_SIGN_H
#define CRYPTO_SIGN_H

#include "base/bytes.h"
#include "crypto/hash.h"

#define PUBKEY_SIZE    32
#define SIGNATURE_SIZE 64

struct pubkey {
	uint8_t b[PUBKEY_SIZE];
};
struct signature {
	uint8_t b[SIGNATURE_SIZE];
};
struct keypair {
	struct pubkey pub;
	uint8_t secret[64]; /* libsodium's form: seed, then public key */
};

enum sig_scheme { SIG_ED25519 = 1, SIG_SYMBOLIC = 2 };

/* The domain of a signature. A number is never reused. */
enum sig_tag {
	SIG_TAG_HEADER = 1,
	SIG_TAG_PREPARE_FAST = 2,
	SIG_TAG_PREPARE_PBFT = 3,
	SIG_TAG_COMMIT = 4,
	SIG_TAG_TERM_VOTE = 5,
	SIG_TAG_VIEW_CHANGE = 6,
	SIG_TAG_NEW_VIEW = 7,
	SIG_TAG_CHECKPOINT = 8,
	SIG_TAG_HEARTBEAT = 9,
	SIG_TAG_PRE_VOTE = 10,
	SIG_TAG_REFUSAL = 11,
	SIG_TAG_SUSPICION = 12,
	SIG_TAG_TX = 13,
	SIG_TAG_HANDSHAKE = 14,
	SIG_TAG_VOTE_REQUEST = 15,
	SIG_TAG_GOVERNANCE = 16,
	SIG_TAG_RECOVERY = 17,
};

/* Call once before anything else in crypto/; thread-safe, idempotent. Aborts without entropy.
 */
void crypto_init(void);
void crypto_random(void *out, size_t len);
void crypto_wipe(void *ptr, size_t len);

void keypair_generate(struct keypair *out);
void keypair_from_seed(struct keypair *out, const uint8_t seed[32]);
bool pubkey_equal(const struct pubkey *a, const struct pubkey *b);

/* Signs "ostrakon" || tag (u8) || chain (32) || msg. Deterministic. */
void sig_make(enum sig_scheme scheme, struct signature *out, const struct keypair *key,
	      enum sig_tag tag, const struct hash *chain, struct slice msg);
/* ERR_NONE or ERR_BAD_SIGNATURE. Thread-safe. */
int sig_check(enum sig_scheme scheme, const struct signature *sig, const struct pubkey *key,
	      enum sig_tag tag, const struct hash *chain, struct slice msg);
/* The same for all signatures of a certificate: sigs[i] is by the i-th of the keys whose bits
 * are set in signers. */
int sig_check_all(enum sig_scheme scheme, const struct signature *sigs,
		  const struct pubkey *keys, uint64_t signers, enum sig_tag tag,
		  const struct hash *chain, struct slice msg);

void writer_pubkey(struct writer *w, const struct pubkey *k);
void reader_pubkey(struct reader *r, struct pubkey *out);
void writer_signature(struct writer *w, const struct signature *s);
void reader_signature(struct reader *r, struct signature *out);
#define PUBKEY_HEX_SIZE (2 * PUBKEY_SIZE + 1)
const char *pubkey_hex(char out[PUBKEY_HEX_SIZE], const struct pubkey *k);

/* Signatures made and checked by this thread since it started (lab metric "authenticators"). */
struct sig_counts {
	uint64_t made, checked;
};
struct sig_counts sig_counts(void);

#endif
