/* SYSTEM transactions and the state of modes: encodings from both sides, the probation's
 * doubling, its cap and its end. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/random.h"
#include "chain/system.h"

#define N 4
static struct genesis genesis;
static struct chain_ctx ctx;
static struct keypair keys[N];

static void setup(void)
{
	crypto_init();
	genesis_defaults(&genesis);
	genesis.scheme = SIG_SYMBOLIC;
	genesis.checkpoint_interval = 10;
	genesis.probation = 2; /* 20 heights */
	genesis.n = N;
	for (unsigned i = 0; i < N; i++) {
		uint8_t seed[32] = {(uint8_t)(i + 1)};
		keypair_from_seed(&keys[i], seed);
		genesis.validator[i].key = keys[i].pub;
		genesis.validator[i].name[0] = (char)('a' + i);
	}
	genesis_ctx(&ctx, &genesis);
}

static void teardown(void)
{
	genesis_free(&genesis);
}

/* Decodes as evidence; whether it proves anything is for evidence_check(). */
static struct slice evidence_bytes(struct writer *w, unsigned culprit, const char *one)
{
	const struct evidence e = {.kind = EVIDENCE_VOTES,
				   .culprit = (uint16_t)culprit,
				   .first = {.kind = STATEMENT_VOTE, .bytes = slice_str(one)},
				   .second = {.kind = STATEMENT_VOTE, .bytes = slice_str("z")}};
	writer_reset(w);
	evidence_encode(w, &e);
	return writer_slice(w);
}

static const struct system_tx escalated = {
	.kind = SYSTEM_ESCALATED, .height = 7, .term = 3, .reason = REASON_PROOF};
static const struct system_tx mode_fast = {.kind = SYSTEM_MODE_FAST, .height = 9, .term = 5};

static void check_equal(const struct system_tx *a, const struct system_tx *b)
{
	ck_assert_int_eq(a->kind, b->kind);
	ck_assert_uint_eq(a->height, b->height);
	ck_assert_uint_eq(a->term, b->term);
	ck_assert_int_eq(a->reason, b->reason);
	ck_assert(slice_equal(a->evidence, b->evidence));
}

/* Every truncation, every byte set to each of 256 values: refused, or another transaction that
 * encodes to exactly these bytes. */
static void torture(const struct system_tx *tx)
{
	struct writer good = {0}, again = {0};
	struct system_tx out;
	system_tx_encode(&good, tx, &ctx);
	ck_assert(system_tx_is(writer_slice(&good)));
	ck_assert_int_eq(system_tx_decode(&out, writer_slice(&good), &ctx), ERR_NONE);
	check_equal(&out, tx);
	for (size_t len = 0; len < good.len; len++)
		ck_assert_int_ne(system_tx_decode(&out, slice_of(good.buf, len), &ctx),
				 ERR_NONE);
	for (size_t at = 0; at < good.len; at++) {
		uint8_t was = good.buf[at];
		for (unsigned v = 0; v < 256; v++) {
			good.buf[at] = (uint8_t)v;
			if (system_tx_decode(&out, writer_slice(&good), &ctx))
				continue;
			writer_reset(&again);
			system_tx_encode(&again, &out, &ctx);
			ck_assert(slice_equal(writer_slice(&again), writer_slice(&good)));
		}
		good.buf[at] = was;
	}
	writer_u8(&good, 0);
	ck_assert_int_ne(system_tx_decode(&out, writer_slice(&good), &ctx), ERR_NONE);
	writer_free(&good);
	writer_free(&again);
}

START_TEST(encodings_are_canonical)
{
	struct writer w = {0};
	torture(&escalated);
	torture(&mode_fast);
	const struct system_tx conviction = {
		.kind = SYSTEM_CONVICTION, .height = 8, .evidence = evidence_bytes(&w, 2, "a")};
	torture(&conviction);
	writer_free(&w);
}
END_TEST

/* The bytes on disk and on the wire: a change here is another format. */
START_TEST(vectors)
{
	struct writer w = {0};
	char hex[512], want[512], chain[HASH_HEX_SIZE];
	hash_hex(chain, &ctx.id);
	system_tx_encode(&w, &escalated, &ctx);
	hex_encode(hex, w.buf, w.len);
	snprintf(want, sizeof want, "ffff01%s0000000000000007000000000000000301", chain);
	ck_assert_str_eq(hex, want);
	writer_reset(&w);
	system_tx_encode(&w, &mode_fast, &ctx);
	hex_encode(hex, w.buf, w.len);
	snprintf(want, sizeof want, "ffff02%s00000000000000090000000000000005", chain);
	ck_assert_str_eq(hex, want);
	struct writer ev = {0};
	const struct system_tx conviction = {.kind = SYSTEM_CONVICTION,
					     .height = 8,
					     .evidence = evidence_bytes(&ev, 2, "a")};
	writer_reset(&w);
	system_tx_encode(&w, &conviction, &ctx);
	hex_encode(hex, w.buf, w.len);
	snprintf(want, sizeof want,
		 "ffff03%s000000000000000800000013"
		 "03000202000000016102000000017a00000000",
		 chain);
	ck_assert_str_eq(hex, want);
	const struct mode_state m = {.mode = MODE_PBFT,
				     .changed = 0x0102,
				     .escalated = 0x0102,
				     .escalations = 5,
				     .doublings = 3,
				     .jailed = 9};
	writer_reset(&w);
	mode_state_encode(&w, &m);
	hex_encode(hex, w.buf, w.len);
	ck_assert_str_eq(hex, "02000000000000010200000000000001020000000000000005"
			      "000000030000000000000009");
	writer_free(&w);
	writer_free(&ev);
}
END_TEST

static int decode_altered(const struct system_tx *tx, size_t at, uint8_t value)
{
	struct writer w = {0};
	struct system_tx out;
	system_tx_encode(&w, tx, &ctx);
	w.buf[at] = value;
	int err = system_tx_decode(&out, writer_slice(&w), &ctx);
	writer_free(&w);
	return err;
}

START_TEST(what_is_malformed_is_named)
{
	struct system_tx tx;
	struct writer w = {0};
	ck_assert(!system_tx_is(slice_of(NULL, 0)));
	ck_assert(!system_tx_is(slice_of("\xff", 1)));
	ck_assert(!system_tx_is(slice_of("\x00\x01", 2)));
	ck_assert_int_eq(system_tx_decode(&tx, slice_of("\xff\xff", 2), &ctx), ERR_TRUNCATED);
	ck_assert_int_eq(decode_altered(&escalated, 0, 0), ERR_RANGE); /* no mark */
	ck_assert_int_eq(decode_altered(&escalated, 2, 0), ERR_RANGE); /* no such kind */
	ck_assert_int_eq(decode_altered(&escalated, 2, 5), ERR_RANGE);
	ck_assert_int_eq(decode_altered(&escalated, 2, SYSTEM_MODE_FAST), ERR_TRAILING);
	ck_assert_int_eq(decode_altered(&mode_fast, 2, SYSTEM_ESCALATED), ERR_TRUNCATED);
	ck_assert_int_eq(decode_altered(&escalated, 3, (uint8_t)(ctx.id.b[0] + 1)),
			 ERR_WRONG_CHAIN);
	tx = escalated;
	tx.height = 0;
	system_tx_encode(&w, &tx, &ctx);
	ck_assert_int_eq(system_tx_decode(&tx, writer_slice(&w), &ctx), ERR_RANGE);
	tx = mode_fast;
	tx.term = 0;
	writer_reset(&w);
	system_tx_encode(&w, &tx, &ctx);
	ck_assert_int_eq(system_tx_decode(&tx, writer_slice(&w), &ctx), ERR_RANGE);
	ck_assert_int_eq(decode_altered(&escalated, 51, REASON_JOIN), ERR_NONE);
	ck_assert_int_eq(decode_altered(&escalated, 51, REASON_JOIN + 1), ERR_RANGE);
	/* evidence of no kind; evidence and one byte more inside its length */
	struct writer ev = {0};
	tx = (struct system_tx){.kind = SYSTEM_CONVICTION,
				.height = 1,
				.evidence = evidence_bytes(&ev, 2, "a")};
	ck_assert_int_eq(decode_altered(&tx, 47, 0), ERR_RANGE);
	ck_assert_int_eq(decode_altered(&tx, 49, VALIDATORS_MAX), ERR_UNKNOWN_SIGNER);
	writer_u8(&ev, 0);
	tx.evidence = writer_slice(&ev);
	writer_reset(&w);
	system_tx_encode(&w, &tx, &ctx);
	ck_assert_int_eq(system_tx_decode(&tx, writer_slice(&w), &ctx), ERR_TRAILING);
	writer_free(&ev);
	writer_free(&w);
}
END_TEST

START_TEST(size_is_bounded)
{
	struct writer ev = {0}, w = {0};
	struct system_tx tx = {.kind = SYSTEM_CONVICTION, .height = 1}, out;
	size_t room = EVIDENCE_SIZE_MAX - (1 + 2 + 5 + 6 + 4);
	uint8_t *big = mem_zalloc(room + 1);
	for (unsigned over = 0; over < 2; over++) {
		struct evidence e = {.kind = EVIDENCE_VOTES,
				     .first = {STATEMENT_VOTE, slice_of(big, room + over)},
				     .second = {STATEMENT_VOTE, slice_str("z")}};
		writer_reset(&ev);
		evidence_encode(&ev, &e);
		tx.evidence = writer_slice(&ev);
		writer_reset(&w);
		system_tx_encode(&w, &tx, &ctx);
		ck_assert_uint_eq(ev.len, EVIDENCE_SIZE_MAX + over);
		ck_assert_uint_le(w.len, SYSTEM_TX_SIZE_MAX);
		ck_assert_int_eq(system_tx_decode(&out, writer_slice(&w), &ctx),
				 over ? ERR_LIMIT : ERR_NONE);
	}
	mem_free(big);
	writer_free(&ev);
	writer_free(&w);
}
END_TEST

START_TEST(random_bytes_do_no_harm)
{
	struct random r;
	random_seed(&r, 4);
	struct writer w = {0}, again = {0};
	for (unsigned i = 0; i < 20000; i++) {
		struct system_tx tx;
		writer_reset(&w);
		writer_u16(&w, SYSTEM_TX_MARK);
		writer_u8(&w, (uint8_t)random_between(&r, 1, 4));
		writer_hash(&w, &ctx.id);
		for (uint64_t n = random_below(&r, 60); n; n--)
			writer_u8(&w, random_chance(&r, 3, 4) ? 0 : (uint8_t)random_u64(&r));
		if (system_tx_decode(&tx, writer_slice(&w), &ctx))
			continue;
		writer_reset(&again);
		system_tx_encode(&again, &tx, &ctx);
		ck_assert(slice_equal(writer_slice(&w), writer_slice(&again)));
	}
	writer_free(&w);
	writer_free(&again);
}
END_TEST

/* ---- mode_state -------------------------------------------------------------------------- */

static int escalate(struct mode_state *m, uint64_t height)
{
	const struct system_tx tx = {.kind = SYSTEM_ESCALATED,
				     .height = height,
				     .term = 1,
				     .reason = REASON_TIMEOUTS};
	return mode_state_apply(m, &tx, height, &genesis);
}

static int go_fast(struct mode_state *m, uint64_t height)
{
	const struct system_tx tx = {.kind = SYSTEM_MODE_FAST, .height = height, .term = 1};
	return mode_state_apply(m, &tx, height, &genesis);
}

static int convict(struct mode_state *m, uint64_t height, unsigned culprit)
{
	struct writer w = {0};
	const struct system_tx tx = {.kind = SYSTEM_CONVICTION,
				     .height = height,
				     .evidence = evidence_bytes(&w, culprit, "a")};
	int err = mode_state_apply(m, &tx, height, &genesis);
	writer_free(&w);
	return err;
}

static void recode(const struct mode_state *m)
{
	struct writer w = {0}, again = {0};
	struct reader r;
	struct mode_state out;
	mode_state_encode(&w, m);
	reader_init(&r, writer_slice(&w));
	mode_state_decode(&r, &out);
	ck_assert_int_eq(reader_finish(&r), ERR_NONE);
	mode_state_encode(&again, &out);
	ck_assert(slice_equal(writer_slice(&w), writer_slice(&again)));
	for (size_t len = 0; len < w.len; len++) {
		reader_init(&r, slice_of(w.buf, len));
		mode_state_decode(&r, &out);
		ck_assert_int_ne(reader_finish(&r), ERR_NONE);
	}
	writer_free(&w);
	writer_free(&again);
}

START_TEST(from_fast_to_pbft_and_back)
{
	struct mode_state m;
	mode_state_init(&m);
	ck_assert_int_eq(m.mode, MODE_FAST);
	ck_assert_uint_eq(mode_fast_due(&m, &genesis), UINT64_MAX);
	recode(&m);
	ck_assert_int_eq(escalate(&m, 100), ERR_NONE);
	ck_assert_int_eq(m.mode, MODE_PBFT);
	ck_assert_uint_eq(m.escalated, 100);
	ck_assert_uint_eq(m.changed, 100);
	ck_assert_uint_eq(m.escalations, 1);
	ck_assert_uint_eq(mode_fast_due(&m, &genesis), 120);
	recode(&m);
	struct mode_state before = m;
	ck_assert_int_eq(escalate(&m, 101), ERR_MODE);
	ck_assert_int_eq(go_fast(&m, 119), ERR_MODE);
	ck_assert(memcmp(&before, &m, sizeof m) == 0);
	ck_assert_int_eq(go_fast(&m, 120), ERR_NONE);
	ck_assert_int_eq(m.mode, MODE_FAST);
	ck_assert_uint_eq(m.changed, 120);
	ck_assert_uint_eq(m.escalated, 100);
	ck_assert_uint_eq(mode_fast_due(&m, &genesis), UINT64_MAX);
	recode(&m);
	/* repeated in the next pbft term: only the height moves */
	ck_assert_int_eq(go_fast(&m, 121), ERR_NONE);
	ck_assert_uint_eq(m.changed, 121);
	ck_assert_uint_eq(m.escalations, 1);
	/* one mode entry a height */
	ck_assert_int_eq(go_fast(&m, 121), ERR_RANGE);
	ck_assert_int_eq(escalate(&m, 121), ERR_RANGE);
	ck_assert_int_eq(escalate(&m, 122), ERR_NONE);
}
END_TEST

START_TEST(height_is_the_blocks)
{
	struct mode_state m;
	mode_state_init(&m);
	const struct system_tx tx = {.kind = SYSTEM_ESCALATED, .height = 5, .term = 1};
	ck_assert_int_eq(mode_state_apply(&m, &tx, 4, &genesis), ERR_RANGE);
	ck_assert_int_eq(mode_state_apply(&m, &tx, 6, &genesis), ERR_RANGE);
	ck_assert_int_eq(mode_state_apply(&m, &tx, 5, &genesis), ERR_NONE);
}
END_TEST

START_TEST(one_conviction_a_culprit)
{
	struct mode_state m;
	mode_state_init(&m);
	ck_assert_int_eq(convict(&m, 4, 2), ERR_NONE);
	ck_assert_uint_eq(m.jailed, 4);
	ck_assert_int_eq(convict(&m, 5, 2), ERR_EXISTS);
	ck_assert_int_eq(convict(&m, 5, 63), ERR_NONE);
	ck_assert_uint_eq(m.jailed, 4 | UINT64_C(1) << 63);
	ck_assert_uint_eq(m.changed, 0);
	ck_assert_int_eq(m.mode, MODE_FAST);
	recode(&m);
}
END_TEST

/* Each escalation at the first height after the return: 20, 40, ... 20 x 64, and no further. */
START_TEST(probation_doubles_up_to_its_cap)
{
	struct mode_state m;
	uint64_t height = 50;
	mode_state_init(&m);
	for (unsigned i = 0; i < PROBATION_DOUBLINGS_MAX + 4; i++) {
		unsigned doublings = i < PROBATION_DOUBLINGS_MAX ? i : PROBATION_DOUBLINGS_MAX;
		ck_assert_int_eq(escalate(&m, height), ERR_NONE);
		ck_assert_uint_eq(m.doublings, doublings);
		uint64_t due = height + (UINT64_C(20) << doublings);
		ck_assert_uint_eq(mode_fast_due(&m, &genesis), due);
		ck_assert_int_eq(go_fast(&m, due - 1), ERR_MODE);
		ck_assert_int_eq(go_fast(&m, due), ERR_NONE);
		recode(&m);
		height = due + 1;
	}
	ck_assert_uint_eq(m.escalations, PROBATION_DOUBLINGS_MAX + 4);
}
END_TEST

START_TEST(probation_is_plain_again_after_a_long_calm)
{
	const uint64_t memory = PROBATION_MEMORY * 20;
	struct mode_state m, other;
	mode_state_init(&m);
	ck_assert_int_eq(escalate(&m, 1000), ERR_NONE);
	ck_assert_int_eq(go_fast(&m, 1020), ERR_NONE);
	other = m;
	ck_assert_int_eq(escalate(&m, 1020 + memory),
			 ERR_NONE); /* the last height remembered */
	ck_assert_uint_eq(m.doublings, 1);
	ck_assert_int_eq(escalate(&other, 1020 + memory + 1), ERR_NONE);
	ck_assert_uint_eq(other.doublings, 0);
	/* counted from the end of the doubled probation */
	ck_assert_int_eq(go_fast(&m, 1020 + memory + 40), ERR_NONE);
	other = m;
	ck_assert_int_eq(escalate(&m, 1020 + memory + 40 + memory), ERR_NONE);
	ck_assert_uint_eq(m.doublings, 2);
	ck_assert_int_eq(escalate(&other, 1020 + memory + 40 + memory + 1), ERR_NONE);
	ck_assert_uint_eq(other.doublings, 0);
}
END_TEST

START_TEST(heights_do_not_wrap)
{
	struct mode_state m;
	mode_state_init(&m);
	genesis.probation = UINT32_MAX;
	genesis.checkpoint_interval = UINT32_MAX;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t height = UINT64_MAX - 10 + 2 * i;
		ck_assert_int_eq(escalate(&m, height), ERR_NONE);
		ck_assert_uint_eq(mode_fast_due(&m, &genesis), UINT64_MAX);
		m.mode = MODE_FAST;
	}
	ck_assert_uint_eq(m.doublings, 3);
	/* at the very end of all heights the return is due */
	m.mode = MODE_PBFT;
	ck_assert_int_eq(go_fast(&m, UINT64_MAX), ERR_NONE);
}
END_TEST

START_TEST(impossible_states_are_refused)
{
	static const struct mode_state bad[] = {
		{.mode = 0},
		{.mode = 3},
		{.mode = MODE_PBFT},
		{.mode = MODE_PBFT, .changed = 5, .escalated = 5},
		{.mode = MODE_PBFT, .changed = 6, .escalated = 5, .escalations = 1},
		{.mode = MODE_FAST, .changed = 5, .escalated = 5, .escalations = 1},
		{.mode = MODE_FAST, .changed = 4, .escalated = 5, .escalations = 1},
		{.mode = MODE_FAST, .changed = 6, .escalated = 5, .escalations = 6},
		{.mode = MODE_FAST, .doublings = 1},
		{.mode = MODE_PBFT,
		 .changed = 5,
		 .escalated = 5,
		 .escalations = 1,
		 .doublings = 1},
		{.mode = MODE_PBFT,
		 .changed = 50,
		 .escalated = 50,
		 .escalations = 20,
		 .doublings = PROBATION_DOUBLINGS_MAX + 1},
	};
	for (size_t i = 0; i < MEM_COUNT(bad); i++) {
		struct writer w = {0};
		struct reader r;
		struct mode_state out;
		mode_state_encode(&w, &bad[i]);
		reader_init(&r, writer_slice(&w));
		mode_state_decode(&r, &out);
		ck_assert_int_ne(reader_finish(&r), ERR_NONE);
		ck_assert_int_eq(out.mode, MODE_FAST); /* nothing half read */
		ck_assert_uint_eq(out.changed, 0);
		writer_free(&w);
	}
}
END_TEST

/* ---- in blocks --------------------------------------------------------------------------- */

struct entry {
	const struct system_tx *tx; /* NULL: a client's */
	enum tx_result result;
};

static struct block *block_of(uint64_t term, uint64_t height, const struct entry *entries,
			      uint32_t count)
{
	struct writer body = {0}, tx = {0};
	struct hash leaves[8];
	body_begin(&body);
	for (uint32_t i = 0; i < count; i++) {
		writer_reset(&tx);
		if (entries[i].tx)
			system_tx_encode(&tx, entries[i].tx, &ctx);
		else
			writer_u32(&tx, i);
		body_add(&body, entries[i].result, writer_slice(&tx));
		body_leaf(&leaves[i], entries[i].result, writer_slice(&tx));
	}
	body_end(&body, count);
	struct signed_header sh = {.h = {.chain = ctx.id,
					 .term = term,
					 .mode = MODE_FAST,
					 .height = height,
					 .valset = ctx.vals.hash,
					 .tx_count = count,
					 .body_size = (uint32_t)body.len}};
	merkle_root(&sh.h.tx_root, leaves, count);
	struct block *b;
	ck_assert_int_eq(block_new(&b, &sh, writer_slice(&body)), ERR_NONE);
	writer_free(&body);
	writer_free(&tx);
	return b;
}

static int apply(struct mode_state *m, const struct entry *entries, uint32_t count)
{
	struct block *b = block_of(3, 7, entries, count);
	int err = mode_state_apply_block(m, b, &ctx, &genesis);
	block_drop(b);
	return err;
}

START_TEST(a_blocks_prefix_is_applied)
{
	struct writer w1 = {0}, w2 = {0};
	const struct system_tx c1 = {.kind = SYSTEM_CONVICTION,
				     .height = 7,
				     .evidence = evidence_bytes(&w1, 1, "a")},
			       c2 = {.kind = SYSTEM_CONVICTION,
				     .height = 7,
				     .evidence = evidence_bytes(&w2, 2, "a")};
	struct system_tx late = escalated, other_term = escalated;
	late.height = 8;
	other_term.term = 4;
	struct mode_state m, zero;
	mode_state_init(&zero);

	m = zero;
	ck_assert_int_eq(apply(&m, NULL, 0), ERR_NONE);
	ck_assert_int_eq(apply(&m, (struct entry[]){{NULL, TX_OK}}, 1), ERR_NONE);
	ck_assert(memcmp(&m, &zero, sizeof m) == 0);
	const struct entry good[] = {
		{&escalated, TX_OK}, {&c1, TX_OK}, {&c2, TX_OK}, {NULL, TX_OK}};
	ck_assert_int_eq(apply(&m, good, 4), ERR_NONE);
	ck_assert_int_eq(m.mode, MODE_PBFT);
	ck_assert_uint_eq(m.jailed, 6);
	struct block *b = block_of(3, 7, good, 4);
	ck_assert_uint_eq(system_tx_prefix(b), 3);
	block_drop(b);

	static const struct entry two[] = {{&escalated, TX_OK}, {&escalated, TX_OK}};
	const struct {
		struct entry entry[2];
		uint32_t count;
		int err;
	} bad[] = {
		{{{&c1, TX_OK}, {&escalated, TX_OK}}, 2, ERR_RANGE}, /* order */
		{{{two[0].tx, TX_OK}, {two[1].tx, TX_OK}}, 2, ERR_RANGE},
		{{{&late, TX_OK}}, 1, ERR_RANGE},
		{{{&other_term, TX_OK}}, 1, ERR_RANGE},
		{{{&escalated, TX_FAILED_CAS}}, 1, ERR_RANGE},
		{{{&c1, TX_OK}, {&c1, TX_OK}}, 2, ERR_EXISTS},
	};
	for (size_t i = 0; i < MEM_COUNT(bad); i++) {
		m = zero;
		ck_assert_int_eq(apply(&m, bad[i].entry, bad[i].count), bad[i].err);
		ck_assert(memcmp(&m, &zero, sizeof m) == 0);
	}
	writer_free(&w1);
	writer_free(&w2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("system");
	TCase *t = tcase_create("transactions");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, encodings_are_canonical);
	tcase_add_test(t, vectors);
	tcase_add_test(t, what_is_malformed_is_named);
	tcase_add_test(t, size_is_bounded);
	tcase_add_test(t, random_bytes_do_no_harm);
	suite_add_tcase(s, t);
	t = tcase_create("modes");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, from_fast_to_pbft_and_back);
	tcase_add_test(t, height_is_the_blocks);
	tcase_add_test(t, one_conviction_a_culprit);
	tcase_add_test(t, probation_doubles_up_to_its_cap);
	tcase_add_test(t, probation_is_plain_again_after_a_long_calm);
	tcase_add_test(t, heights_do_not_wrap);
	tcase_add_test(t, impossible_states_are_refused);
	tcase_add_test(t, a_blocks_prefix_is_applied);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
