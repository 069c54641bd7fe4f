/* The encoding of transactions, and what tx_decode() lets through. */
#include "tests/ledger/check-ledger.h"

static struct world w;

static void setup(void)
{
	world_genesis(&w, 0);
	world_seal(&w);
}

static void teardown(void)
{
	block_drop(w.tip);
	block_drop(w.block0);
	genesis_free(&w.genesis);
}

static int decode(struct tx *out, struct slice bytes)
{
	return tx_decode(out, bytes, &w.ctx, &w.genesis.limits);
}

/* One of each kind. */
static uint32_t some_ops(struct op ops[5])
{
	ops[0] = op_put("key", "value");
	ops[1] = op_delete("gone");
	ops[2] = op_cas("counter", "1", "2");
	ops[3] = op_cas("fresh", NULL, "");
	ops[4] = op_transfer(&w.client[1].pub, 7);
	return 5;
}

static void assert_op_equal(const struct op *a, const struct op *b)
{
	ck_assert_int_eq(a->kind, b->kind);
	ck_assert(slice_equal(a->key, b->key));
	ck_assert(slice_equal(a->value, b->value));
	ck_assert(a->expect_present == b->expect_present);
	ck_assert(slice_equal(a->expected, b->expected));
	ck_assert(pubkey_equal(&a->to, &b->to));
	ck_assert_uint_eq(a->amount, b->amount);
}

START_TEST(round_trip)
{
	struct op ops[5], op;
	struct tx tx;
	struct reader r;
	uint32_t count = some_ops(ops);
	struct slice bytes = world_tx(&w, &w.client[0], 42, 1000, ops, count);

	ck_assert_int_eq(decode(&tx, bytes), ERR_NONE);
	ck_assert_int_eq(tx_check_signature(&tx, &w.ctx), ERR_NONE);
	ck_assert(pubkey_equal(&tx.sender, &w.client[0].pub));
	ck_assert_uint_eq(tx.nonce, 42);
	ck_assert_uint_eq(tx.expiry, 1000);
	ck_assert_uint_eq(tx.op_count, count);
	ck_assert(slice_equal(tx.bytes, bytes));
	reader_init(&r, tx.ops);
	for (uint32_t i = 0; i < count; i++) {
		ck_assert(tx_op_next(&r, &op));
		assert_op_equal(&op, &ops[i]);
	}
	ck_assert(!tx_op_next(&r, &op));
	mem_free((void *)bytes.ptr);
}
END_TEST

START_TEST(truncated_or_longer)
{
	struct op ops[5];
	struct tx tx;
	struct slice bytes = world_tx(&w, &w.client[0], 42, 1000, ops, some_ops(ops));
	uint8_t *longer = mem_alloc(bytes.len + 1);

	for (size_t len = 0; len < bytes.len; len++) {
		uint8_t *part = mem_dup(bytes.ptr, len); /* its own end, for the sanitizer */
		ck_assert_int_eq(decode(&tx, slice_of(part, len)), ERR_TRUNCATED);
		mem_free(part);
	}
	memcpy(longer, bytes.ptr, bytes.len);
	longer[bytes.len] = 0;
	ck_assert_int_eq(decode(&tx, slice_of(longer, bytes.len + 1)), ERR_TRAILING);
	mem_free(longer);
	mem_free((void *)bytes.ptr);
}
END_TEST

/* Re-encodes what was decoded: equal bytes, or the decoder let something through. */
static void assert_canonical(const struct tx *tx)
{
	struct op ops[64], op;
	struct reader r;
	uint32_t count = 0;
	struct keypair sender = {.pub = tx->sender};
	struct writer out = {0};

	reader_init(&r, tx->ops);
	while (tx_op_next(&r, &op))
		ops[count++] = op;
	ck_assert_uint_eq(count, tx->op_count);
	/* Its signature is another one: compare what is signed. */
	tx_build(&out, &w.ctx, &sender, tx->nonce, tx->expiry, ops, count);
	ck_assert_uint_eq(out.len, tx->bytes.len);
	ck_assert(slice_equal(slice_of(out.buf, tx->body.len), tx->body));
	writer_free(&out);
}

START_TEST(flipped_bits)
{
	struct op ops[5];
	struct tx tx;
	struct slice bytes = world_tx(&w, &w.client[0], 42, 1000, ops, some_ops(ops));
	uint8_t *copy = mem_dup(bytes.ptr, bytes.len);

	for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (!decode(&tx, slice_of(copy, bytes.len))) {
			ck_assert_int_eq(tx_check_signature(&tx, &w.ctx), ERR_BAD_SIGNATURE);
			ck_assert(tx_never_valid(&w.ctx, slice_of(copy, bytes.len)));
			assert_canonical(&tx);
		}
		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ck_assert(!tx_never_valid(&w.ctx, bytes));
	mem_free(copy);
	mem_free((void *)bytes.ptr);
}
END_TEST

START_TEST(random_mutations)
{
	struct op ops[5];
	struct tx tx;
	struct random rnd;
	struct slice bytes = world_tx(&w, &w.client[0], 42, 1000, ops, some_ops(ops));
	unsigned decoded = 0;

	random_seed(&rnd, 7);
	for (unsigned round = 0; round < 60000; round++) {
		size_t len = bytes.len + random_below(&rnd, 8);
		uint8_t *copy = mem_zalloc(len);
		memcpy(copy, bytes.ptr, bytes.len);
		for (uint64_t n = random_between(&rnd, 1, 6); n > 0; n--) {
			/* Lengths and counts sit behind the fixed head. */
			size_t at = random_chance(&rnd, 1, 2)
					    ? random_below(&rnd, len)
					    : 82 + random_below(&rnd, len - 82 - 64);
			copy[at] = random_chance(&rnd, 1, 2) ? (uint8_t)random_below(&rnd, 8)
							     : (uint8_t)random_u64(&rnd);
		}
		if (!decode(&tx, slice_of(copy, len))) {
			decoded++;
			assert_canonical(&tx);
		}
		mem_free(copy);
	}
	ck_assert_uint_gt(decoded, 1000);
	mem_free((void *)bytes.ptr);
}
END_TEST

static int decode_op(struct op op)
{
	struct tx tx;
	struct slice bytes = world_tx(&w, &w.client[0], 1, 1, &op, 1);
	int err = decode(&tx, bytes);
	mem_free((void *)bytes.ptr);
	return err;
}

START_TEST(limits)
{
	struct genesis_limits *l = &w.genesis.limits;
	static uint8_t bytes[200];
	struct op op = op_put("k", "v");

	l->key_size_max = 10;
	l->value_size_max = 20;
	op.key = slice_of(bytes, 10);
	op.value = slice_of(bytes, 20);
	ck_assert_int_eq(decode_op(op), ERR_NONE);
	op.key.len = 11;
	ck_assert_int_eq(decode_op(op), ERR_LIMIT);
	op.key.len = 0;
	ck_assert_int_eq(decode_op(op), ERR_RANGE);
	op.key.len = 1;
	op.value.len = 21;
	ck_assert_int_eq(decode_op(op), ERR_LIMIT);
	op.value.len = 0;
	ck_assert_int_eq(decode_op(op), ERR_NONE);
	op = op_cas("k", "x", "y");
	op.expected = slice_of(bytes, 21);
	ck_assert_int_eq(decode_op(op), ERR_LIMIT);
	op.expected.len = 20;
	ck_assert_int_eq(decode_op(op), ERR_NONE);
	op = op_delete("");
	ck_assert_int_eq(decode_op(op), ERR_RANGE);
	ck_assert_int_eq(decode_op(op_transfer(&w.client[1].pub, 0)), ERR_RANGE);
	ck_assert_int_eq(decode_op(op_transfer(&w.client[1].pub, UINT64_MAX)), ERR_NONE);
}
END_TEST

START_TEST(counts_and_size)
{
	struct op ops[4] = {op_put("a", "1"), op_put("b", "2"), op_put("c", "3"),
			    op_put("d", "4")};
	struct tx tx;

	w.genesis.limits.tx_ops_max = 3;
	struct slice bytes = world_tx(&w, &w.client[0], 1, 1, ops, 3);
	ck_assert_int_eq(decode(&tx, bytes), ERR_NONE);
	w.genesis.limits.tx_size_max = (uint32_t)bytes.len;
	ck_assert_int_eq(decode(&tx, bytes), ERR_NONE);
	w.genesis.limits.tx_size_max--;
	ck_assert_int_eq(decode(&tx, bytes), ERR_LIMIT);
	w.genesis.limits.tx_size_max = 10000;
	mem_free((void *)bytes.ptr);

	bytes = world_tx(&w, &w.client[0], 1, 1, ops, 4);
	ck_assert_int_eq(decode(&tx, bytes), ERR_LIMIT);
	ck_assert(!tx_never_valid(&w.ctx, bytes)); /* under other limits it would be valid */
	mem_free((void *)bytes.ptr);
}
END_TEST

START_TEST(fields)
{
	struct op op = op_put("a", "1");
	struct tx tx;
	struct slice bytes = world_tx(&w, &w.client[0], 1, 0, &op, 1);
	ck_assert_int_eq(decode(&tx, bytes), ERR_RANGE); /* expiry */
	mem_free((void *)bytes.ptr);

	bytes = world_tx(&w, &w.client[0], UINT64_MAX, UINT64_MAX, &op, 1);
	ck_assert_int_eq(decode(&tx, bytes), ERR_NONE);
	uint8_t *p = (uint8_t *)bytes.ptr;
	p[1] = TX_VERSION + 1;
	ck_assert_int_eq(decode(&tx, bytes), ERR_VERSION);
	p[1] = 0;
	ck_assert_int_eq(decode(&tx, bytes), ERR_RANGE);
	p[1] = TX_VERSION;
	p[2] ^= 1;
	ck_assert_int_eq(decode(&tx, bytes), ERR_WRONG_CHAIN);
	p[2] ^= 1;
	memset(p + 82, 0, 4);
	ck_assert_int_eq(decode(&tx, bytes), ERR_TX_EMPTY);
	mem_free(p);
}
END_TEST

/* Real signatures cover every byte before them, the chain and the tag. */
START_TEST(ed25519)
{
	struct op op = op_put("a", "1");
	struct tx tx;
	w.ctx.scheme = SIG_ED25519;
	struct slice bytes = world_tx(&w, &w.client[0], 1, 5, &op, 1);
	ck_assert_int_eq(decode(&tx, bytes), ERR_NONE);
	ck_assert_int_eq(tx_check_signature(&tx, &w.ctx), ERR_NONE);
	for (size_t i = 0; i < bytes.len; i++) {
		((uint8_t *)bytes.ptr)[i] ^= 0x10;
		ck_assert(tx_never_valid(&w.ctx, bytes));
		((uint8_t *)bytes.ptr)[i] ^= 0x10;
	}
	mem_free((void *)bytes.ptr);
}
END_TEST

Suite *tx_suite(void)
{
	Suite *s = suite_create("tx");
	TCase *t = tcase_create("tx");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, round_trip);
	tcase_add_test(t, truncated_or_longer);
	tcase_add_test(t, flipped_bits);
	tcase_add_test(t, random_mutations);
	tcase_add_test(t, limits);
	tcase_add_test(t, counts_and_size);
	tcase_add_test(t, fields);
	tcase_add_test(t, ed25519);
	suite_add_tcase(s, t);
	return s;
}
