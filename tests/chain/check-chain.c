/* Quorums, encodings, certificates, positions and evidence, from both sides: what is right is
 * accepted, what is altered is refused. */
#include <check.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/random.h"
#include "chain/evidence.h"
#include "chain/genesis.h"

#define N 4
static struct genesis genesis;
static struct chain_ctx ctx;
static struct keypair keys[N];
static struct block *zero;

static void setup(void)
{
	crypto_init();
	genesis_defaults(&genesis);
	strcpy(genesis.name, "test");
	genesis.time_ms = 1000;
	genesis.protocol = PROTOCOL_HYBRID;
	genesis.scheme = SIG_SYMBOLIC;
	genesis.open = true;
	genesis.n = N;
	for (unsigned i = 0; i < N; i++) {
		uint8_t seed[32] = {(uint8_t)(i + 1)};
		keypair_from_seed(&keys[i], seed);
		genesis.validator[i].key = keys[i].pub;
		genesis.validator[i].name[0] = (char)('a' + i);
	}
	genesis_ctx(&ctx, &genesis);
	zero = genesis_block(&genesis, &ctx);
}

static void teardown(void)
{
	block_drop(zero);
	genesis_free(&genesis);
}

/* ---- quorums ----------------------------------------------------------------------------- */

START_TEST(quorum_table_of_the_protocol)
{
	static const struct quorum want[] = {
		{4, 1, 1, 3, 3, 3, 2}, {5, 1, 1, 4, 4, 4, 3}, {6, 1, 2, 4, 4, 5, 3},
		{7, 2, 1, 5, 6, 5, 3}, {8, 2, 1, 6, 7, 6, 4}, {10, 3, 1, 7, 9, 7, 4},
	};
	for (size_t i = 0; i < MEM_COUNT(want); i++) {
		struct quorum q = quorum_of(want[i].n);
		ck_assert_uint_eq(q.f, want[i].f);
		ck_assert_uint_eq(q.t, want[i].t);
		ck_assert_uint_eq(q.q, want[i].q);
		ck_assert_uint_eq(q.qf, want[i].qf);
		ck_assert_uint_eq(q.qv, want[i].qv);
		ck_assert_uint_eq(q.s, want[i].s);
	}
}
END_TEST

/* The intersections that safety rests on, for every n that can be configured. */
START_TEST(quorums_intersect)
{
	for (unsigned n = 1; n <= VALIDATORS_MAX; n++) {
		struct quorum q = quorum_of(n);
		ck_assert_uint_gt(2 * q.q, n + q.f); /* two certificates share an honest one */
		ck_assert_uint_ge(q.qf, q.q);
		ck_assert_uint_le(q.q, n - q.f);
		if (q.f) {
			ck_assert_uint_gt(q.q + q.qv, n + q.f); /* one mode a term */
			ck_assert_uint_ge(n, 3 * q.f + 2 * q.t - 1);
		}
	}
}
END_TEST

/* ---- making things ----------------------------------------------------------------------- */

static struct block *make_block(const struct block *parent, uint64_t term, unsigned leader,
				const struct block_ref *base, const char *text)
{
	struct writer w = {0};
	struct hash leaf;
	body_begin(&w);
	body_add(&w, TX_OK, slice_str(text));
	body_end(&w, 1);
	struct signed_header sh = {.h = {.chain = ctx.id,
					 .term = term,
					 .mode = MODE_FAST,
					 .height = parent->sh.h.height + 1,
					 .prev = parent->hash,
					 .base_height = base->height,
					 .base = base->hash,
					 .time_ms = parent->sh.h.time_ms + 1,
					 .leader = (uint16_t)leader,
					 .valset = ctx.vals.hash,
					 .tx_count = 1,
					 .body_size = (uint32_t)w.len}};
	body_leaf(&leaf, TX_OK, slice_str(text));
	merkle_root(&sh.h.tx_root, &leaf, 1);
	signed_header_sign(&sh, &ctx, &keys[leader]);
	struct block *b;
	ck_assert_int_eq(block_new(&b, &sh, writer_slice(&w)), ERR_NONE);
	writer_free(&w);
	return b;
}

static struct cert make_cert(const struct block_ref *ref, enum cert_kind kind, unsigned count)
{
	struct tally t;
	struct hash none = {0};
	struct cert c;
	tally_init(&t, cert_vote_kind(kind), ref, &none);
	for (unsigned i = 0; i < count; i++) {
		struct vote v = {.kind = cert_vote_kind(kind), .ref = *ref, .signer = (uint16_t)i};
		vote_sign(&v, &ctx, &keys[i]);
		ck_assert_int_eq(vote_check(&v, &ctx), ERR_NONE);
		ck_assert(tally_add(&t, &v));
		ck_assert(!tally_add(&t, &v));
	}
	memset(&c, 0, sizeof c);
	c.kind = kind;
	c.ref = *ref;
	c.signers = t.signers;
	for (unsigned i = 0; i < count; i++)
		c.sig[c.count++] = t.sig[i];
	return c;
}

static struct term_cert make_tc(uint64_t term, unsigned leader, const struct block_ref *base)
{
	struct term_cert tc;
	term_cert_init(&tc);
	tc.term = term;
	tc.leader = (uint16_t)leader;
	tc.base = *base;
	for (unsigned i = 0; i < 3; i++) {
		struct term_vote v = {.term = term, .leader = (uint16_t)leader, .base = *base,
				      .signer = (uint16_t)i};
		term_vote_sign(&v, &ctx, &keys[i]);
		tc.signers |= UINT64_C(1) << i;
		tc.sig[tc.count++] = v.sig;
	}
	return tc;
}

/* ---- encodings --------------------------------------------------------------------------- */

typedef int (*recode)(struct slice in, struct writer *out);

static int recode_block(struct slice in, struct writer *out)
{
	struct reader r;
	struct block *b;
	reader_init(&r, in);
	int err = block_decode(&r, &b);
	if (err)
		return err;
	err = reader_finish(&r);
	block_encode(out, b);
	block_drop(b);
	return err;
}

static int recode_cert(struct slice in, struct writer *out)
{
	struct reader r;
	struct cert c;
	reader_init(&r, in);
	cert_decode(&r, &c);
	int err = reader_finish(&r);
	if (!err)
		cert_encode(out, &c);
	return err;
}

static int recode_tc(struct slice in, struct writer *out)
{
	struct reader r;
	struct term_cert tc;
	reader_init(&r, in);
	term_cert_decode(&r, &tc);
	int err = reader_finish(&r);
	if (!err)
		term_cert_encode(out, &tc);
	term_cert_free(&tc);
	return err;
}

static int recode_position(struct slice in, struct writer *out)
{
	struct reader r;
	struct position p;
	reader_init(&r, in);
	position_decode(&r, &p);
	int err = reader_finish(&r);
	if (!err)
		position_encode(out, &p);
	position_free(&p);
	return err;
}

/* Accepted bytes re-encode to themselves; every truncation is refused. */
static void torture(struct slice good, recode fn)
{
	struct writer out = {0};
	struct random random;
	random_seed(&random, good.len);
	ck_assert_int_eq(fn(good, &out), ERR_NONE);
	ck_assert(slice_equal(good, writer_slice(&out)));
	for (size_t len = 0; len < good.len; len++) {
		writer_reset(&out);
		ck_assert_int_ne(fn(slice_of(good.ptr, len), &out), ERR_NONE);
	}
	uint8_t *bytes = mem_alloc(good.len + 8);
	for (int round = 0; round < 20000; round++) {
		memcpy(bytes, good.ptr, good.len);
		size_t len = good.len + (random_chance(&random, 1, 20) ? random_below(&random, 8) : 0);
		memset(bytes + good.len, 0, len - good.len);
		for (uint64_t k = 1 + random_below(&random, 3); k > 0; k--)
			bytes[random_below(&random, len)] ^= (uint8_t)(1u << random_below(&random, 8));
		writer_reset(&out);
		if (fn(slice_of(bytes, len), &out) == ERR_NONE)
			ck_assert(slice_equal(slice_of(bytes, len), writer_slice(&out)));
	}
	mem_free(bytes);
	writer_free(&out);
}

START_TEST(encodings_are_canonical)
{
	struct block_ref g = block_ref_of(zero);
	struct block *b = make_block(zero, 1, 2, &g, "one");
	struct block_ref ref = block_ref_of(b);
	struct writer w = {0};
	block_encode(&w, b);
	torture(writer_slice(&w), recode_block);
	struct cert c = make_cert(&ref, CERT_ONE_ROUND, 3);
	writer_reset(&w);
	cert_encode(&w, &c);
	torture(writer_slice(&w), recode_cert);
	struct term_cert tc = make_tc(1, 2, &g);
	writer_reset(&w);
	term_cert_encode(&w, &tc);
	torture(writer_slice(&w), recode_tc);
	struct position p;
	position_init(&p);
	p.tip = ref;
	p.tc = tc;
	p.has_qc = true;
	p.qc = make_cert(&ref, CERT_QC_FAST, 3);
	p.header_count = 1;
	p.headers = mem_dup(&b->sh, sizeof b->sh);
	writer_reset(&w);
	position_encode(&w, &p);
	torture(writer_slice(&w), recode_position);
	position_free(&p);
	writer_free(&w);
	block_drop(b);
}
END_TEST

/* ---- certificates ------------------------------------------------------------------------ */

START_TEST(certificates_need_their_quorum_of_valid_signatures)
{
	struct block_ref g = block_ref_of(zero);
	struct block *b = make_block(zero, 1, 2, &g, "one");
	struct block_ref ref = block_ref_of(b);
	struct cert c = make_cert(&ref, CERT_ONE_ROUND, 3);
	ck_assert_int_eq(cert_check(&c, &ctx), ERR_NONE);
	struct cert bad = make_cert(&ref, CERT_ONE_ROUND, 2);
	ck_assert_int_eq(cert_check(&bad, &ctx), ERR_NO_QUORUM);
	bad = c;
	bad.sig[1].b[0] ^= 1;
	ck_assert_int_eq(cert_check(&bad, &ctx), ERR_BAD_SIGNATURE);
	bad = c; /* prepare votes are no commit votes */
	bad.kind = CERT_TWO_ROUND;
	ck_assert_int_ne(cert_check(&bad, &ctx), ERR_NONE);
	bad = c;
	bad.ref.height++;
	ck_assert_int_ne(cert_check(&bad, &ctx), ERR_NONE);
	bad = c; /* the signature of 2 claimed for 3 */
	bad.signers = 0xb;
	ck_assert_int_ne(cert_check(&bad, &ctx), ERR_NONE);
	bad = c;
	bad.signers = UINT64_C(1) << 60 | 3;
	ck_assert_int_ne(cert_check(&bad, &ctx), ERR_NONE);
	struct chain_ctx other = ctx;
	other.domain.b[0] ^= 1;
	ck_assert_int_ne(cert_check(&c, &other), ERR_NONE);
	block_drop(b);
}
END_TEST

START_TEST(term_certificates)
{
	struct block_ref g = block_ref_of(zero);
	struct term_cert tc = make_tc(3, 1, &g), bad;
	ck_assert_int_eq(term_cert_check(&tc, &ctx, NULL, NULL, NULL), ERR_NONE);
	bad = tc;
	bad.leader = 2;
	ck_assert_int_ne(term_cert_check(&bad, &ctx, NULL, NULL, NULL), ERR_NONE);
	bad = tc;
	bad.term = 4;
	ck_assert_int_ne(term_cert_check(&bad, &ctx, NULL, NULL, NULL), ERR_NONE);
	bad = tc;
	bad.base.hash.b[5] ^= 1;
	ck_assert_int_ne(term_cert_check(&bad, &ctx, NULL, NULL, NULL), ERR_NONE);
	bad = tc;
	bad.count = 2;
	bad.signers = 3;
	ck_assert_int_eq(term_cert_check(&bad, &ctx, NULL, NULL, NULL), ERR_NO_QUORUM);
}
END_TEST

/* ---- positions --------------------------------------------------------------------------- */

static struct block *chain[4]; /* three blocks of term 1 on genesis */
static struct position good;

static void position_setup(void)
{
	setup();
	struct block_ref g = block_ref_of(zero);
	const struct block *parent = zero;
	for (int i = 0; i < 3; i++) {
		chain[i] = make_block(parent, 1, 2, &g, "x");
		parent = chain[i];
	}
	position_init(&good);
	good.tip = block_ref_of(chain[2]);
	good.tc = make_tc(1, 2, &g);
	good.header_count = 3;
	good.headers = mem_array(3, sizeof *good.headers);
	for (int i = 0; i < 3; i++)
		good.headers[i] = chain[2 - i]->sh;
	struct block_ref middle = block_ref_of(chain[1]);
	good.has_qc = true;
	good.qc = make_cert(&middle, CERT_QC_FAST, 3);
}

static void position_teardown(void)
{
	position_free(&good);
	for (int i = 0; i < 3; i++)
		block_drop(chain[i]);
	teardown();
}

static int check(void)
{
	return position_check(&good, 2, &ctx, &zero->hash, NULL, NULL);
}

START_TEST(positions_show_their_whole_chain)
{
	ck_assert_int_eq(check(), ERR_NONE);
	for (int i = 0; i < 3; i++) {
		struct block_ref ref = block_ref_of(chain[i]);
		ck_assert(position_extends(&good, &ref));
		ref.hash.b[0] ^= 1;
		ck_assert(!position_extends(&good, &ref));
	}
	struct block_ref g = block_ref_of(zero);
	ck_assert(position_extends(&good, &g));
	ck_assert_int_ne(position_check(&good, 1, &ctx, &zero->hash, NULL, NULL), ERR_NONE);
}
END_TEST

START_TEST(altered_positions_are_refused)
{
	switch (_i) {
	case 0: /* a header left out */
		good.header_count = 2;
		break;
	case 1:
		good.headers[1].sig.b[0] ^= 1;
		break;
	case 2:
		good.tip.height++;
		break;
	case 3:
		good.tip.hash.b[0] ^= 1;
		break;
	case 4:
		good.tip.term = 0;
		break;
	case 5: /* of another leader */
		good.headers[0].h.leader = 1;
		signed_header_sign(&good.headers[0], &ctx, &keys[1]);
		header_hash(&good.tip.hash, &good.headers[0].h);
		break;
	case 6: { /* certificate of the term for another base */
		struct block_ref base = block_ref_of(chain[0]);
		base.term = 0;
		good.tc = make_tc(1, 2, &base);
		break;
	}
	case 7: /* a QC of this term off the chain */
		good.qc.ref.hash.b[0] ^= 1;
		good.qc = make_cert(&good.qc.ref, CERT_QC_FAST, 3);
		break;
	case 8:
		good.qc.sig[0].b[0] ^= 1;
		break;
	case 9: /* a checkpoint that is not of the tip's term */
		good.has_checkpoint = true;
		good.checkpoint = make_cert(&good.qc.ref, CERT_CHECKPOINT, 3);
		good.checkpoint.ref.term = 0;
		break;
	}
	ck_assert_int_ne(check(), ERR_NONE);
}
END_TEST

/* else whoever takes it into a NEW-VIEW would be convicted of what it does not check */
START_TEST(qc_of_another_term_is_refused)
{
	struct block_ref g = {.term = 0, .height = 0, .hash = zero->hash};
	good.qc = make_cert(&g, CERT_QC_FAST, 3);
	ck_assert_int_eq(check(), ERR_BAD_LINK);
	ck_assert_ptr_null(position_qc(&good));
}
END_TEST

START_TEST(genesis_position)
{
	struct position p;
	position_init(&p);
	p.tip = block_ref_of(zero);
	p.tc.base = p.tip;
	ck_assert_int_eq(position_check(&p, 1, &ctx, &zero->hash, NULL, NULL), ERR_NONE);
	p.tip.hash.b[0] ^= 1;
	ck_assert_int_ne(position_check(&p, 1, &ctx, &zero->hash, NULL, NULL), ERR_NONE);
	position_free(&p);
}
END_TEST

/* ---- evidence ---------------------------------------------------------------------------- */

static int judge(struct writer *a, struct writer *b, enum evidence_kind kind,
		 enum statement_kind statement, unsigned culprit)
{
	struct slice x = writer_slice(a), y = writer_slice(b);
	bool order = slice_compare(x, y) < 0;
	struct evidence e = {.kind = kind,
			     .culprit = (uint16_t)culprit,
			     .first = {statement, order ? x : y},
			     .second = {statement, order ? y : x}};
	struct writer w = {0};
	struct reader r;
	struct evidence again;
	evidence_encode(&w, &e);
	reader_init(&r, writer_slice(&w));
	evidence_decode(&r, &again);
	ck_assert_int_eq(reader_finish(&r), ERR_NONE);
	int err = evidence_check(&again, &ctx, NULL);
	writer_free(&w);
	return err;
}

START_TEST(equivocation_is_proved_and_honesty_is_not)
{
	struct block_ref g = block_ref_of(zero);
	struct block *a = make_block(zero, 1, 2, &g, "a"), *b = make_block(zero, 1, 2, &g, "b");
	struct block *later = make_block(zero, 2, 2, &g, "b"), *next = make_block(a, 1, 2, &g, "c");
	struct writer wa = {0}, wb = {0}, wl = {0}, wn = {0};
	signed_header_encode(&wa, &a->sh);
	signed_header_encode(&wb, &b->sh);
	signed_header_encode(&wl, &later->sh);
	signed_header_encode(&wn, &next->sh);
	ck_assert_int_eq(judge(&wa, &wb, EVIDENCE_HEADERS, STATEMENT_HEADER, 2), ERR_NONE);
	ck_assert_int_ne(judge(&wa, &wb, EVIDENCE_HEADERS, STATEMENT_HEADER, 1), ERR_NONE);
	ck_assert_int_ne(judge(&wa, &wa, EVIDENCE_HEADERS, STATEMENT_HEADER, 2), ERR_NONE);
	ck_assert_int_ne(judge(&wa, &wl, EVIDENCE_HEADERS, STATEMENT_HEADER, 2), ERR_NONE);
	ck_assert_int_ne(judge(&wa, &wn, EVIDENCE_HEADERS, STATEMENT_HEADER, 2), ERR_NONE);
	ck_assert_int_ne(judge(&wa, &wn, EVIDENCE_TERM_HEADERS, STATEMENT_HEADER, 2), ERR_NONE);
	writer_free(&wa);
	writer_free(&wb);
	writer_free(&wl);
	writer_free(&wn);
	block_drop(a);
	block_drop(b);
	block_drop(later);
	block_drop(next);
}
END_TEST

START_TEST(double_votes)
{
	struct vote v[4] = {
		{.kind = VOTE_PREPARE_FAST, .ref = {1, 5, {{1}}}, .signer = 3},
		{.kind = VOTE_PREPARE_FAST, .ref = {1, 5, {{2}}}, .signer = 3},
		{.kind = VOTE_COMMIT, .ref = {1, 5, {{2}}}, .signer = 3},
		{.kind = VOTE_PREPARE_FAST, .ref = {1, 6, {{3}}}, .signer = 3},
	};
	struct writer w[4] = {0};
	for (int i = 0; i < 4; i++) {
		vote_sign(&v[i], &ctx, &keys[3]);
		vote_encode(&w[i], &v[i]);
	}
	ck_assert_int_eq(judge(&w[0], &w[1], EVIDENCE_VOTES, STATEMENT_VOTE, 3), ERR_NONE);
	ck_assert_int_ne(judge(&w[0], &w[2], EVIDENCE_VOTES, STATEMENT_VOTE, 3), ERR_NONE);
	ck_assert_int_ne(judge(&w[0], &w[3], EVIDENCE_VOTES, STATEMENT_VOTE, 3), ERR_NONE);
	ck_assert_int_ne(judge(&w[0], &w[0], EVIDENCE_VOTES, STATEMENT_VOTE, 3), ERR_NONE);
	for (int i = 0; i < 4; i++)
		writer_free(&w[i]);
}
END_TEST

START_TEST(genesis_file_round_trip)
{
	struct genesis g2;
	struct errmsg m;
	char *json = genesis_json(&genesis);
	genesis.scheme = SIG_ED25519;
	mem_free(json);
	json = genesis_json(&genesis);
	ck_assert_msg(genesis_parse(&g2, slice_str(json), &m) == ERR_NONE, "%s", m.text);
	struct chain_ctx a, b;
	genesis_ctx(&a, &genesis);
	genesis_ctx(&b, &g2);
	ck_assert(hash_equal(&a.id, &b.id));
	g2.time_ms++;
	genesis_ctx(&b, &g2);
	ck_assert(!hash_equal(&a.id, &b.id));
	genesis_free(&g2);
	json[0] = ' ';
	ck_assert_int_ne(genesis_parse(&g2, slice_str(json), &m), ERR_NONE);
	mem_free(json);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("chain");
	TCase *t = tcase_create("objects");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, quorum_table_of_the_protocol);
	tcase_add_test(t, quorums_intersect);
	tcase_add_test(t, encodings_are_canonical);
	tcase_add_test(t, certificates_need_their_quorum_of_valid_signatures);
	tcase_add_test(t, term_certificates);
	tcase_add_test(t, equivocation_is_proved_and_honesty_is_not);
	tcase_add_test(t, double_votes);
	tcase_add_test(t, genesis_position);
	tcase_add_test(t, genesis_file_round_trip);
	suite_add_tcase(s, t);
	t = tcase_create("positions");
	tcase_add_checked_fixture(t, position_setup, position_teardown);
	tcase_add_test(t, positions_show_their_whole_chain);
	tcase_add_loop_test(t, altered_positions_are_refused, 0, 10);
	tcase_add_test(t, qc_of_another_term_is_refused);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
