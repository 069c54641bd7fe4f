/* The checkers are fed what must never happen, and say so. */
#include <check.h>

#include "check-sim.h"
#include "sim/world.h"

static struct sim *s;
static struct sim_result result;

static void begin(void)
{
	struct sim_options o = {.nodes = 4, .seed = 1, .scheme = SIG_SYMBOLIC, .calm = true};
	s = mem_zalloc(sizeof *s);
	sim_world_begin(s, &o, &result);
	s->clients = mem_array(1, sizeof *s->clients);
}

static void end(void)
{
	sim_world_end(s);
}

static void expect_violation(const char *what)
{
	ck_assert_int_eq(result.verdict, SIM_SAFETY);
	ck_assert_msg(strstr(result.text, what) != NULL, "%s", result.text);
}

/* A block of this term on prev; salt makes others of the same place. */
static struct block *make_block(uint64_t term, uint64_t height, const struct hash *prev,
				uint64_t salt, struct slice tx)
{
	struct writer body = {0};
	struct hash leaf;
	struct block *b = NULL;
	body_begin(&body);
	if (tx.len) {
		body_add(&body, TX_OK, tx);
		body_leaf(&leaf, TX_OK, tx);
	}
	body_end(&body, tx.len ? 1 : 0);
	struct signed_header sh = {.h = {.chain = s->ctx.id,
					 .term = term,
					 .mode = MODE_FAST,
					 .height = height,
					 .prev = *prev,
					 .time_ms = salt,
					 .leader = (uint16_t)(term % 4),
					 .valset = s->ctx.vals.hash,
					 .tx_count = tx.len ? 1 : 0,
					 .body_size = (uint32_t)body.len}};
	merkle_root(&sh.h.tx_root, &leaf, tx.len ? 1 : 0);
	signed_header_sign(&sh, &s->ctx, &s->node[term % 4].key);
	ck_assert_int_eq(block_new(&b, &sh, writer_slice(&body)), ERR_NONE);
	writer_free(&body);
	return b;
}

static void certify(struct cert *out, const struct block *b, unsigned votes)
{
	struct tally t;
	struct block_ref ref = block_ref_of(b);
	tally_init(&t, VOTE_PREPARE_FAST, &ref, NULL);
	for (unsigned i = 0; i < votes; i++) {
		struct vote v = {.kind = VOTE_PREPARE_FAST, .ref = ref, .signer = (uint16_t)i};
		vote_sign(&v, &s->ctx, &s->node[i].key);
		tally_add(&t, &v);
	}
	*out = (struct cert){
		.kind = CERT_ONE_ROUND, .ref = ref, .signers = t.signers, .count = t.count};
	for (unsigned i = 0; i < votes; i++)
		out->sig[i] = t.sig[i];
}

static void report_final(unsigned node, const struct block *b)
{
	struct cert c;
	certify(&c, b, 3);
	check_final(s, node, b, &c);
	s->node[node].final = b->sh.h.height;
}

static struct hash genesis_of(void)
{
	return s->log[0].hash;
}

static const struct slice no_tx;

START_TEST(a_good_chain_is_fine)
{
	begin();
	struct hash g = genesis_of();
	struct block *a = make_block(1, 1, &g, 0, no_tx),
		     *b = make_block(1, 2, &a->hash, 0, no_tx);
	for (unsigned node = 0; node < 4; node++) {
		report_final(node, a);
		report_final(node, b);
	}
	struct term_cert tc;
	term_cert_init(&tc);
	tc.term = 2;
	tc.base = block_ref_of(b);
	check_base(s, 0, &tc);
	check_base(s, 0, &tc);
	ck_assert_msg(result.verdict == SIM_OK, "%s", result.text);
	block_drop(a);
	block_drop(b);
	end();
}
END_TEST

START_TEST(a_fork_is_seen)
{
	begin();
	struct hash g = genesis_of();
	struct block *a = make_block(1, 1, &g, 0, no_tx), *b = make_block(2, 1, &g, 0, no_tx);
	report_final(0, a);
	ck_assert_int_eq(result.verdict, SIM_OK);
	report_final(1, b);
	expect_violation("[S4] fork");
	block_drop(a);
	block_drop(b);
	end();
}
END_TEST

START_TEST(a_short_certificate_is_seen)
{
	begin();
	struct hash g = genesis_of();
	struct block *a = make_block(1, 1, &g, 0, no_tx);
	struct cert c;
	certify(&c, a, 2);
	check_final(s, 0, a, &c);
	expect_violation("bad certificate");
	block_drop(a);
	end();
}
END_TEST

START_TEST(a_forged_signature_is_seen)
{
	begin();
	struct hash g = genesis_of();
	struct block *a = make_block(1, 1, &g, 0, no_tx);
	struct cert c;
	certify(&c, a, 3);
	c.sig[1].b[5] ^= 1;
	check_final(s, 0, a, &c);
	expect_violation("bad certificate");
	block_drop(a);
	end();
}
END_TEST

START_TEST(a_gap_or_a_repeat_is_seen)
{
	begin();
	struct hash g = genesis_of();
	struct block *a = make_block(1, 1, &g, 0, no_tx);
	report_final(0, a);
	if (_i == 0)
		report_final(0, a);
	else
		s->node[1].final = 1, report_final(1, a);
	expect_violation("reports block 1 final after 1");
	block_drop(a);
	end();
}
END_TEST

START_TEST(a_nonce_used_twice_is_seen)
{
	begin();
	struct hash g = genesis_of();
	struct keypair key;
	uint8_t seed[32] = {9};
	keypair_from_seed(&key, seed);
	struct writer one = {0}, two = {0};
	struct op op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("1")};
	tx_build(&one, &s->ctx, &key, 5, 100, &op, 1);
	op.value = slice_str("2");
	tx_build(&two, &s->ctx, &key, 5, 100, &op, 1);
	struct block *a = make_block(1, 1, &g, 0, writer_slice(&one));
	struct block *b = make_block(1, 2, &a->hash, 0, writer_slice(&two));
	report_final(0, a);
	ck_assert_msg(result.verdict == SIM_OK, "%s", result.text);
	report_final(0, b);
	expect_violation("nonce 5 took effect twice");
	writer_free(&one);
	writer_free(&two);
	block_drop(a);
	block_drop(b);
	end();
}
END_TEST

START_TEST(an_equivocating_leader_is_seen)
{
	begin();
	struct hash g = genesis_of();
	struct block *a = make_block(1, 1, &g, 0, no_tx), *b = make_block(1, 1, &g, 1, no_tx);
	check_header(s, &a->sh.h, &a->hash);
	check_header(s, &a->sh.h, &a->hash);
	ck_assert_int_eq(result.verdict, SIM_OK);
	check_header(s, &b->sh.h, &b->hash);
	expect_violation("equivocates");
	block_drop(a);
	block_drop(b);
	end();
}
END_TEST

START_TEST(two_certificates_of_a_term_are_seen)
{
	begin();
	struct term_cert tc;
	term_cert_init(&tc);
	tc.term = 3;
	tc.base.hash = genesis_of();
	check_base(s, 0, &tc);
	ck_assert_int_eq(result.verdict, SIM_OK);
	if (_i == 0)
		tc.leader ^= 1;
	else
		tc.base.height ^= 1;
	check_base(s, 0, &tc);
	expect_violation("[S2]");
	end();
}
END_TEST

START_TEST(a_base_without_a_final_block_is_seen)
{
	begin();
	struct hash g = genesis_of();
	struct block *a = make_block(1, 1, &g, 0, no_tx);
	struct term_cert tc;
	term_cert_init(&tc);
	tc.term = _i == 2 ? 1 : 2; /* of the block's own term: no business of it */
	tc.base.hash = g;
	if (_i == 0)
		check_base(s, 0,
			   &tc); /* the certificate first, then the block; or the other way */
	report_final(0, a);
	if (_i > 0)
		check_base(s, 0, &tc);
	if (_i == 2)
		ck_assert_msg(result.verdict == SIM_OK, "%s", result.text);
	else
		expect_violation("[S3]");
	block_drop(a);
	end();
}
END_TEST

START_TEST(votes_off_one_chain_are_seen)
{
	begin();
	struct hash g = genesis_of();
	struct block *a = make_block(1, 1, &g, 0, no_tx),
		     *b = make_block(1, 2, &a->hash, 0, no_tx);
	struct block *other = make_block(2, 1, &g, 0, no_tx);
	check_header(s, &a->sh.h, &a->hash);
	check_header(s, &b->sh.h, &b->hash);
	check_header(s, &other->sh.h, &other->hash);
	struct vote v = {.kind = VOTE_PREPARE_FAST, .ref = block_ref_of(a)};
	check_vote(s, 0, &v);
	v.ref = block_ref_of(b);
	check_vote(s, 0, &v);
	v.ref = block_ref_of(a); /* sent again */
	check_vote(s, 0, &v);
	ck_assert_msg(result.verdict == SIM_OK, "%s", result.text);
	v.ref = block_ref_of(other);
	v.ref.term = 1;
	check_vote(s, 0, &v);
	expect_violation("[S1]");
	block_drop(a);
	block_drop(b);
	block_drop(other);
	end();
}
END_TEST

START_TEST(a_lost_acknowledgement_is_seen)
{
	begin();
	struct hash id = {.b = {7}};
	check_acknowledged(s, &id);
	s->options.dead = 4; /* no replica runs here */
	check_end(s);
	expect_violation("acknowledged transactions are lost");
	end();
}
END_TEST

/* Before it is final, or after. */
START_TEST(a_false_refusal_is_seen)
{
	begin();
	struct hash g = genesis_of();
	struct keypair key;
	uint8_t seed[32] = {9};
	keypair_from_seed(&key, seed);
	struct writer tx = {0};
	struct op op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("1")};
	tx_build(&tx, &s->ctx, &key, 5, 100, &op, 1);
	struct block *a = make_block(1, 1, &g, 0, writer_slice(&tx));
	check_refused(s, 1, &a->tx[0].id, ERR_BUSY);
	if (_i == 0)
		check_refused(s, 1, &a->tx[0].id, ERR_TX_NONCE_USED);
	report_final(0, a);
	if (_i == 0) {
		expect_violation("refused for good has taken effect");
	} else {
		ck_assert_msg(result.verdict == SIM_OK, "%s", result.text);
		check_refused(s, 1, &a->tx[0].id, ERR_BUSY);
		ck_assert_int_eq(result.verdict, SIM_OK);
		check_refused(s, 1, &a->tx[0].id, ERR_TX_NONCE_USED);
		expect_violation("refuses a final transaction");
	}
	writer_free(&tx);
	block_drop(a);
	end();
}
END_TEST

START_TEST(an_accusation_among_the_honest_is_seen)
{
	begin();
	struct engine_status status = {0};
	check_counters(s, 2, &status);
	ck_assert_int_eq(result.verdict, SIM_OK);
	status.counters[COUNT_EQUIVOCATIONS] = 1;
	check_counters(s, 2, &status);
	expect_violation("replica 2 counts 1 equivocations");
	end();
}
END_TEST

TCase *checkers_case(void)
{
	TCase *t = tcase_create("checkers");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_good_chain_is_fine);
	tcase_add_test(t, a_fork_is_seen);
	tcase_add_test(t, a_short_certificate_is_seen);
	tcase_add_test(t, a_forged_signature_is_seen);
	tcase_add_loop_test(t, a_gap_or_a_repeat_is_seen, 0, 2);
	tcase_add_test(t, a_nonce_used_twice_is_seen);
	tcase_add_test(t, an_equivocating_leader_is_seen);
	tcase_add_loop_test(t, two_certificates_of_a_term_are_seen, 0, 2);
	tcase_add_loop_test(t, a_base_without_a_final_block_is_seen, 0, 3);
	tcase_add_test(t, votes_off_one_chain_are_seen);
	tcase_add_test(t, a_lost_acknowledgement_is_seen);
	tcase_add_loop_test(t, a_false_refusal_is_seen, 0, 2);
	tcase_add_test(t, an_accusation_among_the_honest_is_seen);
	return t;
}
