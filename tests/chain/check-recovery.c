/* Recoveries: the document from both sides, and whose signatures count at which height and
 * term. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "chain/evidence.h"
#include "chain/recovery.h"
#include "chain/term.h"

enum { N = 4, KEYS = 5, NEEDED = 3, TERM = 7, HEIGHT = 90 };

static struct genesis genesis;
static struct chain_ctx before;
static struct keypair keys[3][N], recovery_keys[KEYS], stranger;
static struct recovery doc;

static void make_key(struct keypair *out, unsigned kind, unsigned i)
{
	uint8_t seed[32] = {(uint8_t)(kind + 1), (uint8_t)(i + 1)};
	keypair_from_seed(out, seed);
}

static void draft(struct recovery *v, unsigned number)
{
	*v = (struct recovery){.chain = before.id, .number = (uint16_t)number, .n = N};
	v->kept = (struct block_ref){TERM * number, HEIGHT * number, {{9, 8, 7}}};
	v->state_root.b[3] = 1;
	for (unsigned i = 0; i < N; i++)
		v->key[i] = keys[number][i].pub;
	if (number > 1)
		recovery_hash(&v->before, &genesis.recoveries[number - 2]);
}

static void sign(struct recovery *v, unsigned count)
{
	v->signers = 0;
	for (unsigned i = 0; i < count; i++) /* the last ones, in any order */
		ck_assert_int_eq(recovery_sign(v, &genesis, &recovery_keys[KEYS - 1 - i]),
				 ERR_NONE);
}

static void setup(void)
{
	crypto_init();
	genesis_defaults(&genesis);
	strcpy(genesis.name, "test");
	genesis.time_ms = 1000;
	genesis.scheme = SIG_SYMBOLIC;
	genesis.n = N;
	for (unsigned k = 0; k < 3; k++)
		for (unsigned i = 0; i < N; i++)
			make_key(&keys[k][i], k, i);
	for (unsigned i = 0; i < N; i++) {
		genesis.validator[i].key = keys[0][i].pub;
		genesis.validator[i].name[0] = (char)('a' + i);
	}
	genesis.recovery.k = NEEDED;
	genesis.recovery.m = KEYS;
	for (unsigned i = 0; i < KEYS; i++) {
		make_key(&recovery_keys[i], 10, i);
		genesis.recovery.key[i] = recovery_keys[i].pub;
	}
	make_key(&stranger, 20, 0);
	genesis_ctx(&before, &genesis);
	draft(&doc, 1);
	sign(&doc, NEEDED);
}

static void teardown(void)
{
	genesis_free(&genesis);
}

/* ---- the document ------------------------------------------------------------------------ */

static int decode(struct recovery *out, const uint8_t *bytes, size_t len)
{
	struct reader r;
	reader_init(&r, slice_of(bytes, len));
	recovery_decode(&r, out);
	return reader_finish(&r);
}

START_TEST(document)
{
	struct errmsg m;
	struct recovery again;
	struct writer w = {0}, w2 = {0};
	ck_assert_msg(recovery_check(&doc, &genesis, &m) == ERR_NONE, "%s", m.text);
	recovery_encode(&w, &doc);
	ck_assert_uint_le(w.len, RECOVERY_SIZE_MAX);
	ck_assert_int_eq(decode(&again, w.buf, w.len), ERR_NONE);
	recovery_encode(&w2, &again);
	ck_assert(slice_equal(writer_slice(&w), writer_slice(&w2)));
	for (size_t len = 0; len < w.len; len++)
		ck_assert_int_ne(decode(&again, w.buf, len), ERR_NONE);
	writer_u8(&w, 0);
	ck_assert_int_eq(decode(&again, w.buf, w.len), ERR_TRAILING);
	w.len--;
	for (size_t bit = 0; bit < 8 * w.len; bit++) {
		w.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (decode(&again, w.buf, w.len) == ERR_NONE) {
			writer_reset(&w2);
			recovery_encode(&w2, &again);
			ck_assert(slice_equal(writer_slice(&w), writer_slice(&w2)));
			ck_assert_int_ne(recovery_check(&again, &genesis, &m), ERR_NONE);
		}
		w.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	w.buf[9] = 2; /* the version, behind "ostrrcvr" */
	ck_assert_int_eq(decode(&again, w.buf, w.len), ERR_VERSION);
	writer_free(&w);
	writer_free(&w2);
}
END_TEST

START_TEST(signatures)
{
	struct errmsg m;
	struct hash unsigned_id, id;
	for (unsigned count = 0; count <= KEYS; count++) {
		sign(&doc, count);
		ck_assert_int_eq(recovery_check(&doc, &genesis, &m),
				 count < NEEDED ? ERR_NO_QUORUM : ERR_NONE);
		recovery_hash(&id, &doc);
		if (count == 0)
			unsigned_id = id;
		ck_assert(hash_equal(&id, &unsigned_id)); /* whoever signs */
	}
	sign(&doc, NEEDED);
	ck_assert_int_eq(recovery_sign(&doc, &genesis, &stranger), ERR_UNKNOWN_SIGNER);
	ck_assert_int_eq(recovery_sign(&doc, &genesis, &keys[0][0]), ERR_UNKNOWN_SIGNER);
	ck_assert_int_eq(recovery_check(&doc, &genesis, &m), ERR_NONE);
	doc.signers |= UINT32_C(1) << KEYS; /* a key that is not there */
	ck_assert_int_eq(recovery_check(&doc, &genesis, &m), ERR_UNKNOWN_SIGNER);
	sign(&doc, NEEDED);
	doc.sig[0] = (struct signature){{0}};
	doc.signers |= 1; /* one that did not sign */
	ck_assert_int_eq(recovery_check(&doc, &genesis, &m), ERR_BAD_SIGNATURE);
}
END_TEST

static void refused(const struct recovery *v, int want, const char *word)
{
	struct errmsg m = {.text = ""};
	int err = recovery_check(v, &genesis, &m);
	ck_assert_msg(err == want && strstr(m.text, word), "%d: %s", err, m.text);
	ck_assert_int_eq(genesis_add_recovery(&genesis, v, &m), want);
	ck_assert_uint_eq(genesis.recovery_count, 0);
}

START_TEST(rules)
{
	struct recovery v = doc;
	v.chain.b[0] ^= 1;
	sign(&v, NEEDED);
	refused(&v, ERR_WRONG_CHAIN, "another chain");
	v = doc;
	v.number = 2;
	sign(&v, NEEDED);
	refused(&v, ERR_BAD_LINK, "does not follow");
	v = doc;
	v.before.b[5] = 1;
	sign(&v, NEEDED);
	refused(&v, ERR_BAD_LINK, "does not follow");
	v = doc;
	v.n = N - 1;
	sign(&v, NEEDED);
	refused(&v, ERR_RANGE, "validators");
	v = doc;
	v.key[2] = v.key[0];
	sign(&v, NEEDED);
	refused(&v, ERR_DUPLICATE_SIGNER, "one key");
	v = doc;
	v.key[2] = keys[0][3].pub; /* a survivor's, with another number */
	sign(&v, NEEDED);
	refused(&v, ERR_DUPLICATE_SIGNER, "was one before");
	v = doc;
	v.kept.height = 0;
	sign(&v, NEEDED);
	refused(&v, ERR_RANGE, "anew");
	v = doc;
	v.kept.term = 0;
	sign(&v, NEEDED);
	refused(&v, ERR_RANGE, "anew");
	genesis.protocol = PROTOCOL_RAFT;
	refused(&doc, ERR_UNSUPPORTED, "raft");
	genesis.protocol = PROTOCOL_HYBRID;
	genesis.recovery.m = genesis.recovery.k = 0;
	refused(&doc, ERR_PERMISSION, "no recovery keys");
}
END_TEST

START_TEST(one_after_the_other)
{
	struct errmsg m = {.text = ""};
	struct chain_ctx ctx;
	struct recovery second;
	ck_assert_int_eq(genesis_add_recovery(&genesis, &doc, &m), ERR_NONE);
	ck_assert_int_eq(genesis_add_recovery(&genesis, &doc, &m), ERR_BAD_LINK); /* again */
	draft(&second, 2);
	second.kept.height = HEIGHT - 1;
	sign(&second, NEEDED);
	ck_assert_int_eq(recovery_check(&second, &genesis, &m), ERR_RANGE);
	draft(&second, 2);
	second.key[1] = keys[0][1].pub;
	sign(&second, NEEDED);
	ck_assert_int_eq(recovery_check(&second, &genesis, &m), ERR_DUPLICATE_SIGNER);
	draft(&second, 2);
	sign(&second, NEEDED);
	ck_assert_msg(genesis_add_recovery(&genesis, &second, &m) == ERR_NONE, "%s", m.text);
	genesis_ctx(&ctx, &genesis);
	ck_assert(hash_equal(&ctx.id, &before.id));
	ck_assert(pubkey_equal(&ctx.vals.key[1], &keys[2][1].pub));
	ck_assert(pubkey_equal(&ctx.before->vals.key[1], &keys[1][1].pub));
	ck_assert(pubkey_equal(&ctx.before->before->vals.key[1], &keys[0][1].pub));
	ck_assert_ptr_eq(chain_ctx_first(&ctx), ctx.before->before);
	/* block 0 is what it was */
	struct block *was = genesis_block(&genesis, &before),
		     *is = genesis_block(&genesis, &ctx);
	ck_assert(hash_equal(&was->hash, &is->hash));
	block_drop(was);
	block_drop(is);
	/* the file carries them */
	struct genesis copy;
	char *text = genesis_json(&genesis);
	ck_assert_msg(genesis_parse(&copy, slice_str(text), &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(copy.recovery_count, 2);
	char *again = genesis_json(&copy);
	ck_assert_str_eq(text, again);
	genesis_free(&copy);
	/* and one that was altered in it is refused */
	char *at = strstr(text, "recovered");
	ck_assert_ptr_nonnull(at);
	at = strstr(at, "6f737472") + 40;
	*at = *at == '0' ? '1' : '0';
	ck_assert_int_eq(genesis_parse(&copy, slice_str(text), &m), ERR_CONFIG);
	mem_free(text);
	mem_free(again);
	genesis_hide_recovery(&genesis);
	genesis_ctx(&ctx, &genesis);
	ck_assert(pubkey_equal(&ctx.vals.key[0], &keys[1][0].pub));
	genesis_show_recovery(&genesis);
}
END_TEST

/* ---- whose signatures count -------------------------------------------------------------- */

static struct chain_ctx now;

static void recover(void)
{
	ck_assert_int_eq(genesis_add_recovery(&genesis, &doc, NULL), ERR_NONE);
	genesis_ctx(&now, &genesis);
}

/* At (term, height), by the keys of that set: 0 the genesis file's, 1 the recovery's. */
static struct signed_header header_by(unsigned set, uint64_t term, uint64_t height,
				      unsigned mark)
{
	struct signed_header sh = {.h = {.chain = now.id,
					 .term = term,
					 .mode = MODE_FAST,
					 .height = height,
					 .base_height = height - 1,
					 .state_root = {{(uint8_t)mark}},
					 .time_ms = 1000 * height,
					 .leader = 2,
					 .valset = set ? now.vals.hash : before.vals.hash}};
	signed_header_sign(&sh, &now, &keys[set][2]);
	return sh;
}

static void cert_by(struct cert *out, unsigned set, enum cert_kind kind, uint64_t term,
		    uint64_t height)
{
	struct tally t;
	struct block_ref ref = {term, height, {{5}}};
	tally_init(&t, cert_vote_kind(kind), &ref, NULL);
	for (unsigned i = 0; i < 3; i++) {
		struct vote v = {
			.kind = cert_vote_kind(kind), .ref = ref, .signer = (uint16_t)i};
		vote_sign(&v, &now, &keys[set][i]);
		tally_add(&t, &v);
	}
	tally_cert(&t, kind, out);
}

START_TEST(by_term_and_height)
{
	static const struct {
		uint64_t term, height;
		int whose; /* -1: nobody's */
	} places[] = {
		{1, 1, 0},
		{TERM, HEIGHT, 0},
		{TERM - 1, HEIGHT - 1, 0},
		{TERM, HEIGHT + 1, -1},
		{TERM - 1, HEIGHT + 5, -1},
		{TERM + 1, HEIGHT, -1},
		{TERM + 9, HEIGHT - 3, -1},
		{TERM + 1, HEIGHT + 1, 1},
		{TERM + 50, HEIGHT + 99, 1},
		{UINT64_MAX, UINT64_MAX, 1},
	};
	recover();
	for (size_t i = 0; i < MEM_COUNT(places); i++)
		for (int set = 0; set < 2; set++) {
			struct cert c;
			bool good = places[i].whose == set;
			struct signed_header sh =
				header_by((unsigned)set, places[i].term, places[i].height, 0);
			ck_assert_int_eq(signed_header_check(&sh, &now) == ERR_NONE, good);
			for (enum cert_kind k = CERT_QC_FAST; k <= CERT_TWO_ROUND; k++) {
				cert_by(&c, (unsigned)set, k, places[i].term, places[i].height);
				ck_assert_int_eq(cert_check(&c, &now) == ERR_NONE, good);
				/* as one sees it who has not heard of the recovery */
				ck_assert_int_eq(cert_check(&c, &before) == ERR_NONE, set == 0);
			}
		}
}
END_TEST

START_TEST(terms)
{
	recover();
	for (uint64_t term = TERM - 1; term <= TERM + 2; term++)
		for (unsigned set = 0; set < 2; set++) {
			struct term_vote v = {.term = term, .leader = 1, .signer = 3};
			term_vote_sign(&v, &now, &keys[set][3]);
			ck_assert_int_eq(term_vote_check(&v, &now) == ERR_NONE,
					 set == (term > TERM));
		}
}
END_TEST

/* The number is the same, the holder is not. */
START_TEST(old_evidence_convicts_nobody)
{
	recover();
	for (unsigned set = 0; set < 2; set++) {
		uint64_t term = set ? TERM + 1 : TERM, height = set ? HEIGHT + 1 : HEIGHT;
		struct signed_header a = header_by(set, term, height, 1),
				     b = header_by(set, term, height, 2);
		struct writer wa = {0}, wb = {0};
		signed_header_encode(&wa, &a);
		signed_header_encode(&wb, &b);
		bool swap = slice_compare(writer_slice(&wa), writer_slice(&wb)) > 0;
		struct evidence e = {
			.kind = EVIDENCE_HEADERS,
			.culprit = 2,
			.first = {STATEMENT_HEADER, writer_slice(swap ? &wb : &wa)},
			.second = {STATEMENT_HEADER, writer_slice(swap ? &wa : &wb)}};
		ck_assert_int_eq(evidence_check(&e, &now, NULL) == ERR_NONE, set == 1);
		ck_assert_int_eq(evidence_check(&e, &before, NULL) == ERR_NONE, set == 0);
		ck_assert_int_eq(evidence_check_any(&e, &now, NULL), ERR_NONE);
		/* of the block that would convict him, by its height */
		ck_assert_int_eq(evidence_check(&e, chain_ctx_of_height(&now, height), NULL),
				 ERR_NONE);
		writer_free(&wa);
		writer_free(&wb);
	}
}
END_TEST

/* An honest new validator's view change shows what was certified before. */
START_TEST(new_positions_show_old_certificates)
{
	recover();
	struct signed_header kept = header_by(0, TERM, HEIGHT, 3);
	struct view_change vc;
	view_change_init(&vc);
	vc.term = TERM + 2;
	vc.signer = 1;
	struct position *p = &vc.position;
	p->tip = (struct block_ref){.term = TERM, .height = HEIGHT};
	header_hash(&p->tip.hash, &kept.h);
	p->tc.term = TERM;
	p->tc.leader = 2;
	p->tc.base = (struct block_ref){.term = TERM - 1, .height = HEIGHT - 1};
	for (unsigned i = 0; i < 3; i++) {
		struct term_vote v = {
			.term = TERM, .leader = 2, .base = p->tc.base, .signer = (uint16_t)i};
		term_vote_sign(&v, &now, &keys[0][i]);
		p->tc.signers |= UINT64_C(1) << i;
		p->tc.sig[p->tc.count++] = v.sig;
	}
	struct tally t;
	tally_init(&t, VOTE_PREPARE_FAST, &p->tip, NULL);
	for (unsigned i = 0; i < 3; i++) {
		struct vote v = {
			.kind = VOTE_PREPARE_FAST, .ref = p->tip, .signer = (uint16_t)i};
		vote_sign(&v, &now, &keys[0][i]);
		tally_add(&t, &v);
	}
	tally_cert(&t, CERT_QC_FAST, &p->qc);
	p->has_qc = true;
	p->headers = mem_dup(&kept, sizeof kept);
	p->header_count = 1;
	view_change_sign(&vc, &now, &keys[1][1]);
	struct hash zero = {0};
	ck_assert_int_eq(view_change_check(&vc, &now, &zero, NULL, NULL), ERR_NONE);
	struct writer w = {0};
	view_change_encode(&w, &vc);
	struct evidence e = {.kind = EVIDENCE_INVALID_STATEMENT,
			     .culprit = 1,
			     .first = {STATEMENT_VIEW_CHANGE, writer_slice(&w)},
			     .second = {STATEMENT_VIEW_CHANGE, {0}}};
	ck_assert_int_ne(evidence_check(&e, &now, NULL), ERR_NONE); /* nothing in it is false */
	/* while a new key's certificate for an old block is */
	for (unsigned i = 0; i < 3; i++) {
		struct vote v = {
			.kind = VOTE_PREPARE_FAST, .ref = p->tip, .signer = (uint16_t)i};
		vote_sign(&v, &now, &keys[1][i]);
		p->qc.sig[i] = v.sig;
	}
	view_change_sign(&vc, &now, &keys[1][1]);
	ck_assert_int_ne(view_change_check(&vc, &now, &zero, NULL, NULL), ERR_NONE);
	writer_reset(&w);
	view_change_encode(&w, &vc);
	e.first.bytes = writer_slice(&w);
	ck_assert_int_eq(evidence_check(&e, &now, NULL), ERR_NONE);
	writer_free(&w);
	view_change_free(&vc);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("recovery");
	TCase *t = tcase_create("recovery");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, document);
	tcase_add_test(t, signatures);
	tcase_add_test(t, rules);
	tcase_add_test(t, one_after_the_other);
	tcase_add_test(t, by_term_and_height);
	tcase_add_test(t, terms);
	tcase_add_test(t, old_evidence_convicts_nobody);
	tcase_add_test(t, new_positions_show_old_certificates);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
