#include "ledger/tx.h"

#include "base/mem.h"

/* The smallest operation: a delete of a one-byte key. */
#define OP_SIZE_MIN   (1 + 4 + 1)
#define TX_WIDEST_KEY 4096
#define TX_WIDEST_OPS 4096

static void op_encode(struct writer *w, const struct op *op)
{
	writer_u8(w, (uint8_t)op->kind);
	switch (op->kind) {
	case OP_PUT:
		writer_var(w, op->key);
		writer_var(w, op->value);
		return;
	case OP_DELETE:
		writer_var(w, op->key);
		return;
	case OP_CAS:
		writer_var(w, op->key);
		writer_u8(w, op->expect_present);
		if (op->expect_present)
			writer_var(w, op->expected);
		writer_var(w, op->value);
		return;
	case OP_TRANSFER:
		writer_pubkey(w, &op->to);
		writer_u64(w, op->amount);
		return;
	}
	invariant(!"operation kind");
}

static struct slice read_key(struct reader *r, size_t max)
{
	struct slice key = reader_var(r, max);
	if (key.len == 0)
		reader_fail(r, ERR_RANGE);
	return key;
}

static void op_decode(struct reader *r, struct op *out, size_t key_max, size_t value_max)
{
	*out = (struct op){0};
	uint8_t kind = reader_u8(r);
	switch (kind) {
	case OP_PUT:
		out->key = read_key(r, key_max);
		out->value = reader_var(r, value_max);
		break;
	case OP_DELETE:
		out->key = read_key(r, key_max);
		break;
	case OP_CAS:
		out->key = read_key(r, key_max);
		out->expect_present = reader_bool(r);
		if (out->expect_present)
			out->expected = reader_var(r, value_max);
		out->value = reader_var(r, value_max);
		break;
	case OP_TRANSFER:
		reader_pubkey(r, &out->to);
		out->amount = reader_u64(r);
		if (out->amount == 0)
			reader_fail(r, ERR_RANGE);
		break;
	default: /* a byte from outside, not one of our enum */
		reader_fail(r, ERR_RANGE);
	}
	out->kind = (enum op_kind)kind;
}

static void decode_head(struct reader *r, struct tx *out, const struct chain_ctx *ctx)
{
	struct hash chain;
	uint16_t version = reader_u16(r);
	if (version != TX_VERSION)
		reader_fail(r, version > TX_VERSION ? ERR_VERSION : ERR_RANGE);
	reader_hash(r, &chain);
	if (!hash_equal(&chain, &ctx->id))
		reader_fail(r, ERR_WRONG_CHAIN);
	reader_pubkey(r, &out->sender);
	out->nonce = reader_u64(r);
	out->expiry = reader_u64(r);
	if (out->expiry == 0)
		reader_fail(r, ERR_RANGE);
}

int tx_decode(struct tx *out, struct slice bytes, const struct chain_ctx *ctx,
	      const struct genesis_limits *limits)
{
	struct reader r;
	struct op op;

	*out = (struct tx){.bytes = bytes};
	if (system_tx_is(bytes))
		return ERR_PERMISSION;
	if (bytes.len > limits->tx_size_max)
		return ERR_LIMIT;
	reader_init(&r, bytes);
	decode_head(&r, out, ctx);
	out->op_count = reader_count(&r, limits->tx_ops_max, OP_SIZE_MIN);
	if (!r.err && out->op_count == 0)
		return ERR_TX_EMPTY;
	out->ops.ptr = r.ptr;
	for (uint32_t i = 0; i < out->op_count && !r.err; i++)
		op_decode(&r, &op, limits->key_size_max, limits->value_size_max);
	if (r.err)
		return r.err;
	out->ops.len = (size_t)(r.ptr - out->ops.ptr);
	out->body = slice_of(bytes.ptr, (size_t)(r.ptr - bytes.ptr));
	reader_signature(&r, &out->sig);
	return reader_finish(&r);
}

int tx_check_signature(const struct tx *tx, const struct chain_ctx *ctx)
{
	return sig_check(ctx->scheme, &tx->sig, &tx->sender, SIG_TAG_TX, &ctx->id, tx->body);
}

bool tx_op_next(struct reader *ops, struct op *out)
{
	if (ops->err || ops->left == 0)
		return false;
	op_decode(ops, out, ops->left, ops->left);
	return !ops->err;
}

bool tx_never_valid(const struct chain_ctx *ctx, struct slice bytes)
{
	static const struct genesis_limits widest = {
		.tx_size_max = TX_SIZE_MAX,
		.key_size_max = TX_WIDEST_KEY,
		.value_size_max = TX_SIZE_MAX,
		.tx_ops_max = TX_WIDEST_OPS,
	};
	struct tx tx;
	if (system_tx_is(bytes))
		return system_tx_never_valid(ctx, bytes);
	return tx_decode(&tx, bytes, ctx, &widest) || tx_check_signature(&tx, ctx);
}

void tx_build(struct writer *w, const struct chain_ctx *ctx, const struct keypair *sender,
	      uint64_t nonce, uint64_t expiry, const struct op *ops, uint32_t count)
{
	struct signature sig;
	size_t start = w->len;

	invariant(count >= 1);
	writer_u16(w, TX_VERSION);
	writer_hash(w, &ctx->id);
	writer_pubkey(w, &sender->pub);
	writer_u64(w, nonce);
	writer_u64(w, expiry);
	writer_u32(w, count);
	for (uint32_t i = 0; i < count; i++)
		op_encode(w, &ops[i]);
	if (w->err)
		return;
	sig_make(ctx->scheme, &sig, sender, SIG_TAG_TX, &ctx->id,
		 slice_of(w->buf + start, w->len - start));
	writer_signature(w, &sig);
}
