/* The genesis file fixes everything that all must agree on; the hash of its canonical encoding
 * is the chain id. The file itself is JSON, whose layout does not matter. */
#ifndef CHAIN_GENESIS_H
#define CHAIN_GENESIS_H

#include "chain/block.h"

enum protocol {
	PROTOCOL_HYBRID = 1,
	PROTOCOL_PBFT = 2,
	PROTOCOL_RAFT = 3,
	PROTOCOL_MULTIPAXOS = 4
};
const char *protocol_name(enum protocol p); /* "hybrid", ... */
bool protocol_by_name(enum protocol *out, const char *name);
/* Raft and Multi-Paxos are not: their blocks are unsigned, their quorums majorities, and what
 * they commit is proved by nothing (docs/decisions/0006-baselines.md). */
bool protocol_is_byzantine(enum protocol p);

#define GENESIS_VERSION	       1
#define GENESIS_NAME_MAX       31
#define GENESIS_BALANCES_MAX   4096
#define GENESIS_SENDERS_MAX    4096
#define GENESIS_RECOVERIES_MAX 16
#define GENESIS_FILE_MAX       (4u << 20)

struct genesis_balance {
	struct pubkey account;
	uint64_t amount;
};
struct genesis_limits {
	uint32_t tx_size_max;	 /* bytes; <= TX_SIZE_MAX */
	uint32_t block_txs_max;	 /* <= BLOCK_TXS_MAX */
	uint32_t block_body_max; /* bytes; <= BLOCK_BODY_MAX */
	uint32_t key_size_max;	 /* bytes of a user key */
	uint32_t value_size_max;
	uint32_t tx_ops_max;
	uint32_t nonce_window;	 /* bits per sender; multiple of 64, 64..4096 */
	uint32_t expiry_horizon; /* a transaction may expire at most so many heights ahead */
	uint32_t senders_max;	 /* senders that may ever hold a nonce window (open policy) */
	uint32_t window;	 /* W: PREPAREs above the newest QC or base */
};
struct genesis {
	char name[GENESIS_NAME_MAX + 1]; /* printable ASCII, for people */
	uint64_t time_ms;
	enum protocol protocol;
	enum sig_scheme scheme; /* symbolic only with allow_symbolic */
	unsigned n;
	struct {
		char name[GENESIS_NAME_MAX + 1];
		struct pubkey key;
	} validator[VALIDATORS_MAX];
	struct genesis_keys governance, recovery; /* m may be 0 */
	uint32_t balance_count;
	struct genesis_balance *balances; /* owned; ascending by account */
	bool open; /* anybody may submit, up to limits.senders_max; else only senders[] */
	uint32_t sender_count;
	struct pubkey *senders;	      /* owned; ascending */
	uint32_t checkpoint_interval; /* K, heights */
	uint32_t probation;	      /* in units of K */
	struct genesis_limits limits;
	struct hash state_root; /* of the initial state; computed by the ledger, in the file so
				 * that it can be checked without one */
	/* Not of the encoding, and so not of the chain id: what k of the recovery keys have
	 * signed since (chain/recovery.h), in the file as "recovered". Owned. */
	unsigned recovery_count;
	struct recovery *recoveries;
	struct chain_ctx *sets; /* the validators that each took the place of */
};
struct recovery; /* chain/recovery.h */

void genesis_defaults(struct genesis *g); /* zero validators, default limits */
void genesis_free(struct genesis *g);	  /* contents only */
void genesis_encode(struct writer *w, const struct genesis *g);
int genesis_decode(struct reader *r, struct genesis *g);
/* Every rule on the fields; m says which one and what would be right. */
int genesis_check(const struct genesis *g, bool allow_symbolic, struct errmsg *m);
int genesis_read(struct genesis *g, const char *path, struct errmsg *m); /* parse + check */
int genesis_parse(struct genesis *g, struct slice json, struct errmsg *m);
char *genesis_json(const struct genesis *g); /* mem_free */

/* Chain id, validator set, quorums, scheme: of epoch 0. Of the validators of today; those of
 * before a recovery are g's, which outlives *out. */
void genesis_ctx(struct chain_ctx *out, const struct genesis *g);
/* Of validator i today. */
const struct pubkey *genesis_validator_key(const struct genesis *g, unsigned i);
/* Block 0: term 0, fast, no transactions, unsigned, prev and base zero, leader 0, the genesis
 * state root. One reference. */
struct block *genesis_block(const struct genesis *g, const struct chain_ctx *ctx);

#endif
