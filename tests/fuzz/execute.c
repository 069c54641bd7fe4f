/* Transactions and blocks of hostile clients and leaders, executed by two ledgers: one that
 * builds blocks, one that only executes them. They must agree on every block; money is neither
 * made nor lost; every read has a proof. */
#include "chain/system.h"
#include "tests/fuzz/targets.h"
#include "tests/ledger/world.h"

enum {
	DO_TX,	    /* u8 client, u8 nonce, u8 expiry, then operations: see make_ops() */
	DO_RAW,	    /* u8 client, u8 flags, bytes: a transaction, signed anew or not */
	DO_COMMIT,  /* the transactions so far, built and made final */
	DO_HOSTILE, /* u8 flags, results: a block of them as a malicious leader would make it */
	DO_SYSTEM,  /* bytes: to come first */
	DO_REOPEN,  /* the second ledger, from its store */
	DO_READ,    /* u8 height below the tip, key */
	DO_FORK,    /* built and executed beside the tip, never final */
	DO_KINDS
};

#define TXS_MAX	     32
#define BALANCE	     1000000
#define OPS_MAX	     8
#define BLOCKS_MAX   24
#define ACCOUNTS_MAX (WORLD_CLIENTS + BLOCKS_MAX * TXS_MAX * 4)

struct ledgers {
	struct world w;		   /* builds */
	struct store *store;	   /* of the other */
	struct ledger *other;	   /* executes */
	struct slice txs[TXS_MAX]; /* owned */
	uint32_t tx_count;
	uint32_t blocks;
	struct pubkey accounts[ACCOUNTS_MAX]; /* that may hold money */
	uint32_t account_count;
};

static void add_tx(struct ledgers *a, struct slice tx)
{
	if (a->tx_count < TXS_MAX)
		a->txs[a->tx_count++] = tx;
	else
		mem_free((void *)tx.ptr);
}

static void drop_txs(struct ledgers *a)
{
	world_free_txs(a->txs, a->tx_count);
	a->tx_count = 0;
}

static struct slice small(struct reader *r)
{
	size_t len = reader_u8(r) % 80;
	return reader_take(r, len < r->left ? len : r->left);
}

static uint32_t make_ops(struct ledgers *a, struct reader *r, struct op *ops)
{
	uint32_t count = 0;
	while (r->left && count < OPS_MAX) {
		uint8_t kind = reader_u8(r);
		struct op *op = &ops[count++];
		*op = (struct op){.kind = 1 + kind % 4, .expect_present = kind & 0x40};
		if (op->kind == OP_TRANSFER) {
			op->to = a->w.client[reader_u8(r) % WORLD_CLIENTS].pub;
			op->amount = kind & 0x80 ? reader_u64(r) : reader_u16(r);
			op->amount += op->amount == 0;
			continue;
		}
		op->key = small(r);
		if (op->key.len == 0)
			op->key = slice_str("k");
		if (op->kind != OP_DELETE)
			op->value = small(r);
		if (op->kind == OP_CAS && op->expect_present)
			op->expected = small(r);
	}
	return count;
}

static void do_tx(struct ledgers *a, struct reader *r)
{
	struct op ops[OPS_MAX];
	unsigned client = reader_u8(r) % WORLD_CLIENTS;
	uint64_t nonce = reader_u8(r), expiry = a->w.tip->sh.h.height + reader_u8(r);
	uint32_t count = make_ops(a, r, ops);
	if (count)
		add_tx(a, world_tx(&a->w, &a->w.client[client], nonce, expiry + 1, ops, count));
}

static void do_raw(struct ledgers *a, struct reader *r)
{
	const struct keypair *key = &a->w.client[reader_u8(r) % WORLD_CLIENTS];
	uint8_t flags = reader_u8(r);
	struct tx tx;
	size_t head = 2 + HASH_SIZE, len = r->left;
	if (len == 0)
		return;
	uint8_t *bytes = mem_dup(r->ptr, len);
	if (flags & 1 && len > head + PUBKEY_SIZE + SIGNATURE_SIZE) {
		struct signature sig;
		memcpy(bytes + 2, a->w.ctx.id.b, HASH_SIZE);
		memcpy(bytes + head, key->pub.b, PUBKEY_SIZE);
		sig_make(SIG_SYMBOLIC, &sig, key, SIG_TAG_TX, &a->w.ctx.id,
			 slice_of(bytes, len - SIGNATURE_SIZE));
		memcpy(bytes + len - SIGNATURE_SIZE, sig.b, SIGNATURE_SIZE);
	}
	struct slice s = slice_of(bytes, len);
	bool never = tx_never_valid(&a->w.ctx, s);
	if (!tx_decode(&tx, s, &a->w.ctx, &a->w.genesis.limits)) {
		struct reader ops;
		struct op op;
		uint32_t count = 0;
		reader_init(&ops, tx.ops);
		while (tx_op_next(&ops, &op))
			count++;
		invariant(count == tx.op_count);
		invariant(never == (tx_check_signature(&tx, &a->w.ctx) != ERR_NONE));
	}
	add_tx(a, s);
}

/* ---- blocks ------------------------------------------------------------------------------ */

static void same_execution(struct ledgers *a, const struct block *b, int *err)
{
	int first = ledger_execute(a->w.ledger, b, true);
	int second = ledger_execute(a->other, b, true);
	invariant(first == second);
	*err = first;
}

static void note_account(struct ledgers *a, const struct pubkey *account)
{
	for (uint32_t i = 0; i < a->account_count; i++)
		if (pubkey_equal(&a->accounts[i], account))
			return;
	if (a->account_count < ACCOUNTS_MAX)
		a->accounts[a->account_count++] = *account;
}

static void note_receivers(struct ledgers *a, const struct block *b)
{
	for (uint32_t i = 0; i < b->tx_count; i++) {
		struct tx tx;
		struct reader ops;
		struct op op;
		if (tx_decode(&tx, block_tx_bytes(b, i), &a->w.ctx, &a->w.genesis.limits))
			continue; /* a SYSTEM transaction */
		reader_init(&ops, tx.ops);
		while (tx_op_next(&ops, &op))
			if (op.kind == OP_TRANSFER)
				note_account(a, &op.to);
	}
}

static void make_final(struct ledgers *a, struct block *b)
{
	struct store_batch *batch = store_batch_new();
	ledger_finalize(a->other, b, batch);
	invariant(store_write(a->store, batch, false) == ERR_NONE);
	store_batch_free(batch);
	world_finalize(&a->w, b);
	invariant(hash_equal(ledger_root(a->other), ledger_root(a->w.ledger)));
	invariant(hash_equal(ledger_root(a->other), &b->sh.h.state_root));
	uint64_t sum = 0;
	note_receivers(a, b);
	for (uint32_t i = 0; i < a->account_count; i++)
		sum += world_balance(&a->w, &a->accounts[i]);
	invariant(a->account_count == ACCOUNTS_MAX || sum == (uint64_t)WORLD_CLIENTS * BALANCE);
}

static void do_commit(struct ledgers *a, bool final)
{
	int err;
	uint32_t count = 0;
	struct ledger_candidate fate[TXS_MAX];
	struct slice good[TXS_MAX];
	if (a->blocks++ >= BLOCKS_MAX)
		return;
	/* the builder is promised checked signatures */
	for (uint32_t i = 0; i < a->tx_count; i++) {
		struct tx tx;
		if (!tx_decode(&tx, a->txs[i], &a->w.ctx, &a->w.genesis.limits) &&
		    !tx_check_signature(&tx, &a->w.ctx))
			good[count++] = a->txs[i];
	}
	struct block *b = world_build(&a->w, a->w.tip, 1, good, count, fate);
	same_execution(a, b, &err);
	invariant(err == ERR_NONE);
	if (final) {
		make_final(a, b);
		for (uint32_t i = 0; i < b->tx_count; i++) {
			uint64_t height;
			uint32_t index;
			invariant(ledger_find_tx(a->other, &b->tx[i].id, &height, &index) ==
				  ERR_NONE);
			invariant(height == b->sh.h.height && index == i);
		}
		drop_txs(a);
	}
	block_drop(b);
}

static void do_hostile(struct ledgers *a, struct reader *r)
{
	enum tx_result results[TXS_MAX];
	uint8_t flags = reader_u8(r);
	int err;
	if (a->blocks++ >= BLOCKS_MAX)
		return;
	for (uint32_t i = 0; i < a->tx_count; i++)
		results[i] = r->left ? reader_u8(r) % 5 : TX_OK;
	struct hash root = a->w.tip->sh.h.state_root;
	root.b[0] ^= flags & 1;
	struct block *b = world_raw_block(&a->w, a->w.tip, a->txs, results, a->tx_count, &root);
	same_execution(a, b, &err);
	for (uint32_t i = 0; i < a->tx_count && !err; i++) /* what is accepted is in order */
		invariant(!tx_never_valid(&a->w.ctx, a->txs[i]));
	if (!err && flags & 2)
		make_final(a, b);
	block_drop(b);
	if (flags & 4)
		drop_txs(a);
}

static void open_other(struct ledgers *a)
{
	struct errmsg m;
	invariant(ledger_open(&a->other, a->store, &a->w.genesis, &a->w.ctx, a->w.block0, &m) ==
		  ERR_NONE);
	invariant(ledger_height(a->other) == a->w.tip->sh.h.height);
}

static void do_read(struct ledgers *a, struct reader *r)
{
	uint64_t below = reader_u8(r), height = a->w.tip->sh.h.height;
	struct writer key = {0}, value = {0}, proof = {0};
	if (below > height || height == 0 || r->left > STATE_KEY_MAX - 1)
		return;
	writer_u8(&key, STATE_NS_USER);
	writer_raw(&key, r->ptr, r->left);
	int err = ledger_get(a->other, writer_slice(&key), height - below, &value, &proof);
	invariant(err == ERR_NONE || err == ERR_NOT_FOUND);
	if (below == 0) {
		struct slice v = writer_slice(&value);
		invariant(state_proof_check(writer_slice(&proof), ledger_root(a->other),
					    writer_slice(&key), err ? NULL : &v) == ERR_NONE);
		invariant(state_proof_check(writer_slice(&proof), ledger_root(a->other),
					    writer_slice(&key), err ? &v : NULL) != ERR_NONE);
	}
	writer_free(&key);
	writer_free(&value);
	writer_free(&proof);
}

static void run_op(struct ledgers *a, uint8_t op, struct slice payload)
{
	struct reader r;
	reader_init(&r, payload);
	switch (op % DO_KINDS) {
	case DO_TX:
		do_tx(a, &r);
		break;
	case DO_RAW:
		do_raw(a, &r);
		break;
	case DO_COMMIT:
		do_commit(a, true);
		break;
	case DO_FORK:
		do_commit(a, false);
		break;
	case DO_HOSTILE:
		do_hostile(a, &r);
		break;
	case DO_SYSTEM:
		if (payload.len && a->tx_count < TXS_MAX) {
			memmove(a->txs + 1, a->txs, a->tx_count++ * sizeof *a->txs);
			a->txs[0] = slice_of(mem_dup(payload.ptr, payload.len), payload.len);
		}
		break;
	case DO_REOPEN:
		ledger_close(a->other);
		open_other(a);
		break;
	case DO_READ:
		do_read(a, &r);
		break;
	}
}

static void one(struct slice in)
{
	static struct ledgers a;
	struct reader r;
	struct slice payload;
	uint8_t op;
	memset(&a, 0, sizeof a);
	world_genesis(&a.w, BALANCE);
	for (unsigned i = 0; i < WORLD_CLIENTS; i++)
		note_account(&a, &a.w.client[i].pub);
	a.w.genesis.open = true;
	a.w.genesis.limits.nonce_window = 64;
	a.w.genesis.limits.senders_max = 6;
	world_seal(&a.w);
	world_open(&a.w, NULL);
	a.store = store_open_memory();
	open_other(&a);
	reader_init(&r, in);
	while (fuzz_next_op(&r, &op, &payload))
		run_op(&a, op, payload);
	drop_txs(&a);
	ledger_close(a.other);
	store_close(a.store);
	world_free(&a.w);
}

static void seeds(struct fuzz_seeds *out)
{
	struct writer w = {0};
	struct world world;
	/* client, nonce, expiry, put k=v, put kk=vv, transfer, cas, delete */
	static const char txs[][40] = {
		"\0\1\40\0\1k\1v\0\2kk\2vv",
		"\1\1\40\3\2\0\11\0\2kz\1x",
		"\2\1\40\102\1k\1w\1v",
		"\3\1\40\1\1k",
		"\4\5\40\203\1\0\0\0\0\0\0\1\0",
		"\5\100\40\0\3abc\3def\0\3abd\3def\0\3abe\3def",
	};
	static const size_t sizes[] = {14, 12, 10, 6, 13, 27};
	for (unsigned i = 0; i < MEM_COUNT(txs); i++) {
		fuzz_op(&w, DO_TX, slice_of(txs[i], sizes[i]));
		if (i % 2)
			fuzz_op(&w, DO_COMMIT, slice_of(NULL, 0));
		fuzz_op(&w, DO_READ, slice_str("\1k"));
		if (i % 3 == 2)
			fuzz_op(&w, DO_REOPEN, slice_of(NULL, 0));
		fuzz_seed(out, writer_slice(&w));
	}
	fuzz_op(&w, DO_TX, slice_of(txs[0], sizes[0]));
	fuzz_op(&w, DO_FORK, slice_of(NULL, 0));
	fuzz_op(&w, DO_HOSTILE, slice_of("\3\0\1\2", 4));
	fuzz_op(&w, DO_COMMIT, slice_of(NULL, 0));
	fuzz_op(&w, DO_HOSTILE, slice_of("\2", 1));
	fuzz_seed(out, writer_slice(&w));
	world_genesis(&world, BALANCE);
	world_seal(&world);
	struct op ops[] = {op_put("key", "value"), op_cas("key", "value", "other"),
			   op_transfer(&world.client[1].pub, 5), op_delete("key")};
	for (uint32_t i = 1; i <= MEM_COUNT(ops); i++) {
		struct slice tx = world_tx(&world, &world.client[i], i, 50, ops, i);
		struct writer raw = {0};
		writer_u8(&raw, (uint8_t)i);
		writer_u8(&raw, 1);
		writer_raw(&raw, tx.ptr, tx.len);
		writer_reset(&w);
		fuzz_op(&w, DO_RAW, writer_slice(&raw));
		fuzz_op(&w, DO_HOSTILE, slice_of("\0", 1));
		fuzz_op(&w, DO_COMMIT, slice_of(NULL, 0));
		fuzz_seed(out, writer_slice(&w));
		writer_free(&raw);
		mem_free((void *)tx.ptr);
	}
	struct system_tx system = {
		.kind = SYSTEM_ESCALATED, .height = 1, .term = 1, .reason = REASON_TIMEOUTS};
	struct writer bytes = {0};
	system_tx_encode(&bytes, &system, &world.ctx);
	writer_reset(&w);
	fuzz_op(&w, DO_SYSTEM, writer_slice(&bytes));
	fuzz_op(&w, DO_HOSTILE, slice_of("\2", 1));
	fuzz_seed(out, writer_slice(&w));
	writer_free(&bytes);
	block_drop(world.tip);
	block_drop(world.block0);
	genesis_free(&world.genesis);
	writer_free(&w);
}

const struct fuzz_target fuzz_execute = {.name = "execute",
					 .shape = FUZZ_OPS,
					 .size_max = 4096,
					 .runs = 3000,
					 .one = one,
					 .seeds = seeds};
