#include "tests/ledger/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_balances(const void *a, const void *b)
{
	const struct genesis_balance *x = a, *y = b;
	return memcmp(x->account.b, y->account.b, PUBKEY_SIZE);
}

void world_genesis(struct world *w, uint64_t balance)
{
	uint8_t seed[32] = {0};
	*w = (struct world){0};
	crypto_init();
	genesis_defaults(&w->genesis);
	strcpy(w->genesis.name, "test");
	w->genesis.scheme = SIG_SYMBOLIC;
	w->genesis.n = WORLD_VALIDATORS;
	for (unsigned i = 0; i < WORLD_VALIDATORS; i++) {
		seed[0] = (uint8_t)(i + 1);
		seed[1] = 1;
		keypair_from_seed(&w->validator[i], seed);
		w->genesis.validator[i].name[0] = (char)('a' + i);
		w->genesis.validator[i].key = w->validator[i].pub;
	}
	for (unsigned i = 0; i < WORLD_CLIENTS; i++) {
		seed[0] = (uint8_t)(i + 1);
		seed[1] = 2;
		keypair_from_seed(&w->client[i], seed);
	}
	if (balance == 0)
		return;
	w->genesis.balance_count = WORLD_CLIENTS;
	w->genesis.balances = mem_array(WORLD_CLIENTS, sizeof(*w->genesis.balances));
	for (unsigned i = 0; i < WORLD_CLIENTS; i++)
		w->genesis.balances[i] = (struct genesis_balance){.account = w->client[i].pub,
								  .amount = balance};
	qsort(w->genesis.balances, WORLD_CLIENTS, sizeof(*w->genesis.balances),
	      compare_balances);
}

void world_seal(struct world *w)
{
	ledger_genesis_root(&w->genesis, &w->genesis.state_root);
	genesis_ctx(&w->ctx, &w->genesis);
	w->block0 = genesis_block(&w->genesis, &w->ctx);
	w->tip = block_hold(w->block0);
}

void world_open(struct world *w, struct store *s)
{
	struct errmsg m = {{0}};
	w->store = s ? s : store_open_memory();
	int err = ledger_open(&w->ledger, w->store, &w->genesis, &w->ctx, w->block0, &m);
	if (err)
		fprintf(stderr, "ledger_open: %s: %s\n", err_text(err), m.text);
	invariant(!err);
}

void world_init(struct world *w, uint64_t balance)
{
	world_genesis(w, balance);
	world_seal(w);
	world_open(w, NULL);
}

void world_free(struct world *w)
{
	ledger_close(w->ledger);
	store_close(w->store);
	block_drop(w->tip);
	block_drop(w->block0);
	genesis_free(&w->genesis);
}

struct slice world_tx(const struct world *w, const struct keypair *sender, uint64_t nonce,
		      uint64_t expiry, const struct op *ops, uint32_t count)
{
	struct writer out = {0};
	size_t len;
	tx_build(&out, &w->ctx, sender, nonce, expiry, ops, count);
	uint8_t *bytes = writer_take(&out, &len);
	return slice_of(bytes, len);
}

struct op op_put(const char *key, const char *value)
{
	return (struct op){.kind = OP_PUT, .key = slice_str(key), .value = slice_str(value)};
}

struct op op_delete(const char *key)
{
	return (struct op){.kind = OP_DELETE, .key = slice_str(key)};
}

struct op op_cas(const char *key, const char *expected, const char *value)
{
	return (struct op){.kind = OP_CAS,
			   .key = slice_str(key),
			   .expect_present = expected != NULL,
			   .expected = expected ? slice_str(expected) : slice_of(NULL, 0),
			   .value = slice_str(value)};
}

struct op op_transfer(const struct pubkey *to, uint64_t amount)
{
	return (struct op){.kind = OP_TRANSFER, .to = *to, .amount = amount};
}

struct slice world_put(const struct world *w, unsigned client, uint64_t nonce, const char *key,
		       const char *value)
{
	struct op op = op_put(key, value);
	return world_tx(w, &w->client[client], nonce, w->tip->sh.h.height + 100, &op, 1);
}

struct block *world_seal_block(const struct world *w, const struct block *parent, uint64_t term,
			       struct slice body, const struct hash *tx_root,
			       const struct hash *state_root, uint32_t tx_count)
{
	const struct header *p = &parent->sh.h;
	struct signed_header sh = {.h = {.chain = w->ctx.id,
					 .term = term,
					 .mode = MODE_FAST,
					 .height = p->height + 1,
					 .prev = parent->hash,
					 .base_height = p->base_height,
					 .base = p->base,
					 .tx_root = *tx_root,
					 .state_root = *state_root,
					 .time_ms = p->time_ms + 1,
					 .leader = (uint16_t)(term % WORLD_VALIDATORS),
					 .valset = w->ctx.vals.hash,
					 .tx_count = tx_count,
					 .body_size = (uint32_t)body.len}};
	struct block *b;
	if (term > p->term) {
		sh.h.base = parent->hash;
		sh.h.base_height = p->height;
	}
	signed_header_sign(&sh, &w->ctx, &w->validator[sh.h.leader]);
	int err = block_new(&b, &sh, body);
	invariant(!err);
	return b;
}

struct block *world_raw_block(const struct world *w, const struct block *parent,
			      const struct slice *txs, const enum tx_result *results,
			      uint32_t count, const struct hash *state_root)
{
	struct hash *leaves = mem_array(count, sizeof(*leaves)), tx_root;
	struct writer body = {0};
	body_begin(&body);
	for (uint32_t i = 0; i < count; i++) {
		enum tx_result result = results ? results[i] : TX_OK;
		body_add(&body, result, txs[i]);
		body_leaf(&leaves[i], result, txs[i]);
	}
	body_end(&body, count);
	merkle_root(&tx_root, leaves, count);
	struct block *b = world_seal_block(w, parent, 1, writer_slice(&body), &tx_root,
					   state_root, count);
	writer_free(&body);
	mem_free(leaves);
	return b;
}

void world_free_txs(const struct slice *txs, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		mem_free((void *)txs[i].ptr);
}

struct block *world_build(struct world *w, const struct block *parent, uint64_t term,
			  const struct slice *txs, uint32_t count,
			  struct ledger_candidate *candidates)
{
	struct ledger_candidate *own = mem_array(count, sizeof(*own));
	struct ledger_built built;
	for (uint32_t i = 0; i < count; i++) {
		own[i].tx = txs[i];
		tx_id(&own[i].id, txs[i]);
	}
	int err = ledger_build(w->ledger, &parent->hash, parent->sh.h.height + 1,
			       parent->sh.h.time_ms + 1, own, count, &built);
	invariant(!err);
	struct block *b =
		world_seal_block(w, parent, term, slice_of(built.body, built.body_size),
				 &built.tx_root, &built.state_root, built.tx_count);
	mem_free(built.body);
	if (candidates)
		memcpy(candidates, own, count * sizeof(*own));
	mem_free(own);
	return b;
}

void world_finalize(struct world *w, struct block *b)
{
	struct store_batch *batch = store_batch_new();
	ledger_finalize(w->ledger, b, batch);
	int err = store_write(w->store, batch, false);
	invariant(!err);
	store_batch_free(batch);
	block_hold(b);
	block_drop(w->tip);
	w->tip = b;
}

struct block *world_commit(struct world *w, const struct slice *txs, uint32_t count)
{
	struct block *b = world_build(w, w->tip, 1, txs, count, NULL);
	int err = ledger_execute(w->ledger, b, false);
	invariant(!err);
	world_finalize(w, b);
	block_drop(b);
	return w->tip;
}

struct writer world_key(char ns, const void *key, size_t len)
{
	struct writer out = {0};
	writer_u8(&out, (uint8_t)ns);
	writer_raw(&out, key, len);
	return out;
}

char *world_get(struct world *w, const char *key, uint64_t height)
{
	struct writer k = world_key(STATE_NS_USER, key, strlen(key)), value = {0};
	int err = ledger_get(w->ledger, writer_slice(&k), height, &value, NULL);
	writer_free(&k);
	invariant(err == ERR_NONE || err == ERR_NOT_FOUND);
	if (!err)
		writer_u8(&value, 0);
	size_t len;
	char *text = err ? NULL : (char *)writer_take(&value, &len);
	writer_free(&value);
	return text;
}

uint64_t world_balance(struct world *w, const struct pubkey *account)
{
	struct writer k = world_key(STATE_NS_ACCOUNT, account->b, PUBKEY_SIZE), value = {0};
	int err = ledger_get(w->ledger, writer_slice(&k), UINT64_MAX, &value, NULL);
	invariant(err == ERR_NOT_FOUND || (err == ERR_NONE && value.len == 8));
	uint64_t amount = err ? 0 : load_be64(value.buf);
	writer_free(&k);
	writer_free(&value);
	return amount;
}

void world_cert(const struct world *w, const struct block *b, enum cert_kind kind,
		unsigned signers, struct cert *out)
{
	*out = (struct cert){.kind = kind, .ref = block_ref_of(b)};
	for (unsigned i = 0; i < signers; i++) {
		struct vote v = {
			.kind = cert_vote_kind(kind), .ref = out->ref, .signer = (uint16_t)i};
		vote_sign(&v, &w->ctx, &w->validator[i]);
		out->signers |= UINT64_C(1) << i;
		out->sig[out->count++] = v.sig;
	}
}
