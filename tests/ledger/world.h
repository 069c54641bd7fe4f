/* A chain of one's own for tests of the ledger: genesis, keys, and blocks made by
 * ledger_build(). */
#ifndef TESTS_LEDGER_WORLD_H
#define TESTS_LEDGER_WORLD_H

#include "base/mem.h"
#include "base/random.h"
#include "ledger/ledger.h"

#define WORLD_VALIDATORS 4
#define WORLD_CLIENTS	 8

struct world {
	struct genesis genesis;
	struct chain_ctx ctx;
	struct block *block0;
	struct keypair validator[WORLD_VALIDATORS];
	struct keypair client[WORLD_CLIENTS];
	struct store *store;
	struct ledger *ledger;
	struct block *tip; /* newest final block */
};

/* Everything but store and ledger; scheme symbolic; clients have balance each (0: none). */
void world_genesis(struct world *w, uint64_t balance);
/* After the caller has changed limits and the like: state root, chain id, block 0. */
void world_seal(struct world *w);
/* A memory store (or s) and the ledger on it. */
void world_open(struct world *w, struct store *s);
void world_init(struct world *w, uint64_t balance); /* all three */
void world_free(struct world *w);

/* An owned transaction: mem_free(ptr). */
struct slice world_tx(const struct world *w, const struct keypair *sender, uint64_t nonce,
		      uint64_t expiry, const struct op *ops, uint32_t count);
struct slice world_put(const struct world *w, unsigned client, uint64_t nonce, const char *key,
		       const char *value);
struct op op_put(const char *key, const char *value);
struct op op_delete(const char *key);
struct op op_cas(const char *key, const char *expected, const char *value); /* NULL: absent */
struct op op_transfer(const struct pubkey *to, uint64_t amount);

/* A signed block on parent around a body. One reference. */
struct block *world_seal_block(const struct world *w, const struct block *parent, uint64_t term,
			       struct slice body, const struct hash *tx_root,
			       const struct hash *state_root, uint32_t tx_count);
/* A block of txs with these results and root, whatever they do. */
struct block *world_raw_block(const struct world *w, const struct block *parent,
			      const struct slice *txs, const enum tx_result *results,
			      uint32_t count, const struct hash *state_root);
/* Builds a block of txs on parent. err and fate of each go to candidates, if not NULL. */
struct block *world_build(struct world *w, const struct block *parent, uint64_t term,
			  const struct slice *txs, uint32_t count,
			  struct ledger_candidate *candidates);
/* Frees transactions. */
void world_free_txs(const struct slice *txs, uint32_t count);
/* Finalises an executed child of the tip and writes it. */
void world_finalize(struct world *w, struct block *b);
/* Builds on the tip, executes, finalises. Returns the new tip, lent. */
struct block *world_commit(struct world *w, const struct slice *txs, uint32_t count);

struct writer world_key(char ns, const void *key, size_t len); /* writer_free */
/* The final value of a user key as a string, or NULL; mem_free. */
char *world_get(struct world *w, const char *key, uint64_t height);
uint64_t world_balance(struct world *w, const struct pubkey *account);

/* A certificate of kind on b by the first `signers` validators. */
void world_cert(const struct world *w, const struct block *b, enum cert_kind kind,
		unsigned signers, struct cert *out);

#endif
