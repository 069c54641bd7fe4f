/* State proofs: a value, or its absence, under a state root. Verified offline.
 *
 * The state is a map from state keys (one namespace byte, then the key) to values. Its tree is
 * sixteen-way, path-compressed, over HASH_TREE_KEY of the state key (docs/ledger-format.md). */
#ifndef LEDGER_PROOF_H
#define LEDGER_PROOF_H

#include "chain/genesis.h"
#include "chain/system.h"
#include "chain/vote.h"
#include "ledger/tx.h"

#define STATE_NS_USER	 'k' /* user keys */
#define STATE_NS_ACCOUNT 'a' /* public key -> balance, u64 */
#define STATE_NS_NONCE	 'n' /* public key -> nonce window */
#define STATE_NS_SYSTEM	 's' /* the ledger's own */
#define STATE_KEY_MAX	 (1 + 4096)
#define STATE_VALUE_MAX	 TX_SIZE_MAX

/* Where the state has what the mode entries and convictions add up to; its value, of no bytes
 * as at genesis. */
struct slice state_key_modes(void);
int modes_decode(struct slice value, struct mode_state *out);

#define STATE_PROOF_LEVELS_MAX 64
#define STATE_PROOF_SIZE_MAX   (64u << 10)

/* Canonical bytes; made by ledger_get(). Decoded and checked in one go: ERR_NONE if under
 * root the state key has exactly this value, or (value == NULL) is absent. ERR_BAD_PROOF or a
 * decoding error otherwise. */
int state_proof_check(struct slice proof, const struct hash *root, struct slice state_key,
		      const struct slice *value);
/* What the proof is about, true or false: a value (else its absence). For messages. */
bool state_proof_claims_value(struct slice proof);

/* A header that a certificate makes final, directly or through descendants: headers[0] is the
 * one of interest, each next one its child, the last one the certificate's. */
#define CERTIFIED_HEADERS_MAX 4096
struct certified_header {
	uint32_t count;		       /* >= 1 */
	struct signed_header *headers; /* owned */
	struct cert cert;
};
void certified_header_free(struct certified_header *c);
/* Chain id, links, certificate of a final kind with a full quorum. Genesis (height 0, no other
 * header) needs none: its hash must be that of the chain's genesis block. */
int certified_header_check(const struct certified_header *c, const struct chain_ctx *ctx,
			   const struct hash *genesis_hash);
/* Of a chain whose protocol tolerates crashes only: its headers are unsigned and no certificate
 * stands behind them. Form and links; whether the block is final is the node's word. */
int unproven_header_check(const struct certified_header *c, const struct chain_ctx *ctx,
			  const struct hash *genesis_hash);

/* What `get --prove` and `tx status --prove` give and `verify` checks: one JSON document.
 * kind "state": key, value or null, height, header(s), certificate, state proof;
 * kind "transaction": transaction bytes, result, Merkle path, header(s), certificate. */
struct proof_document {
	enum { PROOF_STATE, PROOF_TX } kind;
	struct certified_header ch;
	/* state */
	struct slice state_key; /* owned copies: mem_free(ptr) by proof_document_free */
	bool present;
	struct slice value;
	struct slice proof;
	/* transaction */
	struct slice tx;
	enum tx_result result;
	struct merkle_path path;
};
void proof_document_init(struct proof_document *d);
void proof_document_free(struct proof_document *d);
char *proof_document_json(const struct proof_document *d, const struct chain_ctx *ctx);
int proof_document_parse(struct proof_document *d, struct slice json, struct errmsg *m);
/* Everything, against a genesis file alone. m says what failed and where. ERR_UNSUPPORTED for
 * a chain of Raft or Multi-Paxos, where nothing can be proved. */
int proof_document_check(const struct proof_document *d, const struct genesis *g,
			 struct errmsg *m);
/* The same under the validators of a later epoch. */
int proof_document_check_in(const struct proof_document *d, const struct genesis *g,
			    const struct chain_ctx *ctx, struct errmsg *m);
/* d is of the `member` entry that ends the epoch of *ctx, which is then the next one's. */
int proof_handover_check(const struct proof_document *d, const struct genesis *g,
			 struct chain_ctx *ctx, struct errmsg *m);

#endif
