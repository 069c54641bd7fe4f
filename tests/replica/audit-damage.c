/* What `db check` finds: each record of a store deleted, altered, cut. */
#include "chain/recovery.h"
#include "tests/replica/audit.h"

START_TEST(sound)
{
	struct audit_result r;
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_msg(r.findings == 0, "%s: %s", store_family_name(last.family), last.what);
	ck_assert_uint_eq(r.blocks, BLOCKS);
	ck_assert_uint_eq(r.certificates, BLOCKS);
	ck_assert_uint_eq(r.transactions, 2 * BLOCKS + 1);
	ck_assert_uint_eq(r.ledger.index_entries, r.transactions);
	ck_assert_uint_eq(r.unfinal, 1);
	ck_assert_uint_eq(r.vote_slots, 2);
	ck_assert_uint_gt(r.ledger.nodes, BLOCKS);
	int steps = 20;
	ck_assert_int_eq(audit(&r, &steps), ERR_CLOSED);
}
END_TEST

/* Against one of the validators of before a recovery it still proves what it did. */
START_TEST(evidence_of_before_a_recovery)
{
	struct audit_result r;
	struct errmsg m;
	struct hash id;
	struct writer half[2] = {{0}}, bytes = {0};
	struct recovery v = {.chain = w.ctx.id,
			     .number = 1,
			     .kept = block_ref_of(w.tip),
			     .state_root = w.tip->sh.h.state_root,
			     .n = WORLD_VALIDATORS};
	for (unsigned i = 0; i < 2; i++) {
		struct signed_header sh = w.tip->sh;
		sh.h.time_ms += i;
		signed_header_sign(&sh, &w.ctx, &w.validator[sh.h.leader]);
		signed_header_encode(&half[i], &sh);
	}
	bool swap = slice_compare(writer_slice(&half[0]), writer_slice(&half[1])) > 0;
	const struct evidence e = {.kind = EVIDENCE_HEADERS,
				   .culprit = w.tip->sh.h.leader,
				   .first = {STATEMENT_HEADER, writer_slice(&half[swap])},
				   .second = {STATEMENT_HEADER, writer_slice(&half[!swap])}};
	evidence_encode(&bytes, &e);
	evidence_hash(&id, &e);
	put(STORE_EVIDENCE, hash_slice(&id), writer_slice(&bytes));
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_uint_eq(r.findings, 0);
	for (unsigned i = 0; i < v.n; i++) {
		struct keypair key;
		keypair_generate(&key);
		v.key[i] = key.pub;
	}
	ck_assert_int_eq(recovery_sign(&v, &w.genesis, &recoverer), ERR_NONE);
	ck_assert_msg(genesis_add_recovery(&w.genesis, &v, &m) == ERR_NONE, "%s", m.text);
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_uint_eq(r.evidence, 1);
	ck_assert_msg(r.findings == 0, "%s: %s", store_family_name(last.family), last.what);
	writer_free(&half[0]);
	writer_free(&half[1]);
	writer_free(&bytes);
}
END_TEST

START_TEST(each_record)
{
	ck_assert_uint_gt(try_each(), 300);
}
END_TEST

/* The block is named by its height. */
START_TEST(damage_has_a_place)
{
	struct record_key k;
	struct audit_result r;
	struct block *b = w.tip;
	put(STORE_BLOCKS, key_block(&k, BLOCKS, &b->hash), slice_str("rubbish"));
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_uint_ge(r.findings, 1);
	ck_assert_int_eq(last.family, STORE_BLOCKS);
	ck_assert_uint_eq(last.height, BLOCKS);
	ck_assert_int_eq(last.err, ERR_CORRUPT);
}
END_TEST

TCase *audit_damage_case(void)
{
	TCase *t = audit_case("audit", setup, teardown);
	tcase_add_test(t, sound);
	tcase_add_test(t, evidence_of_before_a_recovery);
	tcase_add_test(t, each_record);
	tcase_add_test(t, damage_has_a_place);
	return t;
}
