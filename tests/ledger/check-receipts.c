/* Answers in bytes: what is written is read again, and nothing else is. */
#include "ledger/receipts.h"
#include "tests/ledger/check-ledger.h"

static struct world w;
static struct block *block;
static struct hash leaves[5];

static void setup(void)
{
	struct slice txs[5];
	char key[8];
	world_init(&w, 1000);
	for (unsigned i = 0; i < 5; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		txs[i] = world_put(&w, i, 1, key, "v");
	}
	block = world_commit(&w, txs, 5);
	ck_assert_uint_eq(block->tx_count, 5);
	block_leaves(leaves, block);
	world_free_txs(txs, 5);
}

static void teardown(void)
{
	world_free(&w);
}

static void write_chain(struct writer *out)
{
	struct certified_header ch = {.count = 1, .headers = &block->sh};
	world_cert(&w, block, CERT_ONE_ROUND, 3, &ch.cert);
	certified_header_encode(out, &ch);
}

/* One chain; a receipt of every status, the committed one with and without a proof. */
static void write_answer(struct writer *out)
{
	struct writer chain = {0};
	writer_u8(out, RECEIPTS_VERSION);
	writer_u32(out, 1);
	write_chain(&chain);
	writer_var(out, writer_slice(&chain));
	writer_free(&chain);
	writer_u32(out, 6);
	struct receipt_entry e = {.status = RECEIPT_COMMITTED, .id = block->tx[3].id};
	merkle_prove(&e.path, leaves, 5, 3);
	receipt_entry_encode(out, &e);
	e = (struct receipt_entry){.status = RECEIPT_COMMITTED,
				   .id = block->tx[1].id,
				   .chain = RECEIPTS_NO_CHAIN,
				   .height = 1,
				   .result = TX_FAILED_CAS};
	receipt_entry_encode(out, &e);
	e = (struct receipt_entry){.status = RECEIPT_ACCEPTED};
	receipt_entry_encode(out, &e);
	e.status = RECEIPT_PENDING;
	receipt_entry_encode(out, &e);
	e = (struct receipt_entry){.status = RECEIPT_REFUSED,
				   .code = slice_str("tx_expired"),
				   .detail = slice_str("too late"),
				   .hint = slice_str("sign again")};
	receipt_entry_encode(out, &e);
	e = (struct receipt_entry){.status = RECEIPT_BUSY, .code = slice_str("busy")};
	receipt_entry_encode(out, &e);
}

START_TEST(round_trip)
{
	struct writer out = {0};
	struct receipts a;
	struct receipt_entry e;
	struct certified_header ch;
	write_answer(&out);
	ck_assert_int_eq(receipts_open(&a, writer_slice(&out)), ERR_NONE);
	ck_assert_uint_eq(a.chain_count, 1);
	ck_assert_int_eq(certified_header_decode(a.chains[0], &ch), ERR_NONE);
	ck_assert_int_eq(certified_header_check(&ch, &w.ctx, &w.block0->hash), ERR_NONE);
	ck_assert_int_eq(receipts_next(&a, &e), ERR_NONE);
	ck_assert_int_eq(e.status, RECEIPT_COMMITTED);
	ck_assert(hash_equal(&e.id, &block->tx[3].id));
	ck_assert_uint_eq(e.chain, 0);
	ck_assert_int_eq(merkle_verify(&e.path, &leaves[3], &ch.headers[0].h.tx_root),
			 ERR_NONE);
	ck_assert_int_ne(merkle_verify(&e.path, &leaves[2], &ch.headers[0].h.tx_root),
			 ERR_NONE);
	ck_assert_int_eq(receipts_next(&a, &e), ERR_NONE);
	ck_assert_uint_eq(e.chain, RECEIPTS_NO_CHAIN);
	ck_assert_uint_eq(e.height, 1);
	ck_assert_int_eq(e.result, TX_FAILED_CAS);
	ck_assert_int_eq(receipts_next(&a, &e), ERR_NONE);
	ck_assert_int_eq(e.status, RECEIPT_ACCEPTED);
	ck_assert_int_eq(receipts_next(&a, &e), ERR_NONE);
	ck_assert_int_eq(e.status, RECEIPT_PENDING);
	ck_assert_int_eq(receipts_next(&a, &e), ERR_NONE);
	ck_assert_int_eq(e.status, RECEIPT_REFUSED);
	ck_assert(slice_equal(e.code, slice_str("tx_expired")));
	ck_assert(slice_equal(e.detail, slice_str("too late")));
	ck_assert(slice_equal(e.hint, slice_str("sign again")));
	ck_assert_int_eq(receipts_next(&a, &e), ERR_NONE);
	ck_assert_int_eq(e.status, RECEIPT_BUSY);
	ck_assert_int_eq(receipts_next(&a, &e), ERR_NOT_FOUND);
	certified_header_free(&ch);
	receipts_close(&a);
	writer_free(&out);
}
END_TEST

/* Reads as much as can be read; true if all of it could. What was read is written again. */
static bool read_all(struct slice bytes, struct writer *again)
{
	struct receipts a;
	struct receipt_entry e;
	uint32_t count = 0;
	int err = receipts_open(&a, bytes);
	if (err)
		return false;
	writer_u8(again, RECEIPTS_VERSION);
	writer_u32(again, a.chain_count);
	for (uint32_t i = 0; i < a.chain_count; i++)
		writer_var(again, a.chains[i]);
	size_t at = writer_skip(again, 4);
	while ((err = receipts_next(&a, &e)) == ERR_NONE) {
		receipt_entry_encode(again, &e);
		count++;
	}
	writer_patch_u32(again, at, count);
	receipts_close(&a);
	return err == ERR_NOT_FOUND;
}

START_TEST(truncated)
{
	struct writer out = {0};
	write_answer(&out);
	for (size_t len = 0; len < out.len; len++) {
		struct writer again = {0};
		uint8_t *copy = mem_dup(out.buf, len); /* so that a sanitizer sees its end */
		ck_assert_msg(!read_all(slice_of(copy, len), &again), "%zu bytes", len);
		mem_free(copy);
		writer_free(&again);
	}
	writer_u8(&out, 0);
	struct writer again = {0};
	ck_assert(!read_all(writer_slice(&out), &again));
	writer_free(&again);
	writer_free(&out);
}
END_TEST

/* Whatever a changed bit makes of it is refused, or is what would be written so. */
START_TEST(every_bit)
{
	struct writer out = {0};
	write_answer(&out);
	for (size_t i = 0; i < out.len * 8; i++) {
		struct writer again = {0};
		out.buf[i / 8] ^= (uint8_t)(1 << i % 8);
		if (read_all(writer_slice(&out), &again))
			ck_assert_msg(slice_equal(writer_slice(&again), writer_slice(&out)),
				      "bit %zu", i);
		out.buf[i / 8] ^= (uint8_t)(1 << i % 8);
		writer_free(&again);
	}
	writer_free(&out);
}
END_TEST

START_TEST(chains)
{
	struct writer out = {0}, again = {0};
	struct certified_header ch;
	write_chain(&out);
	for (size_t len = 0; len < out.len; len++)
		ck_assert_int_ne(certified_header_decode(slice_of(out.buf, len), &ch),
				 ERR_NONE);
	for (size_t i = 0; i < out.len * 8; i++) {
		out.buf[i / 8] ^= (uint8_t)(1 << i % 8);
		if (certified_header_decode(writer_slice(&out), &ch) == ERR_NONE) {
			ck_assert_int_ne(certified_header_check(&ch, &w.ctx, &w.block0->hash),
					 ERR_NONE);
			writer_reset(&again);
			certified_header_encode(&again, &ch);
			ck_assert(slice_equal(writer_slice(&again), writer_slice(&out)));
			certified_header_free(&ch);
		}
		out.buf[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	uint8_t none[4] = {0};
	ck_assert_int_eq(certified_header_decode(slice_of(none, 4), &ch), ERR_RANGE);
	uint8_t many[4] = {0xff, 0xff, 0xff, 0xff};
	ck_assert_int_ne(certified_header_decode(slice_of(many, 4), &ch), ERR_NONE);
	writer_free(&out);
	writer_free(&again);
}
END_TEST

Suite *receipts_suite(void)
{
	Suite *s = suite_create("receipts");
	TCase *t = tcase_create("bytes");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, round_trip);
	tcase_add_test(t, truncated);
	tcase_add_test(t, every_bit);
	tcase_add_test(t, chains);
	suite_add_tcase(s, t);
	return s;
}
