/* What `db repair` mends, and what it refuses. */
#include "tests/replica/audit.h"

START_TEST(repairs)
{
	struct other o;
	struct repair_result r;
	struct audit_result a;
	struct errmsg m = {{0}};
	struct store_options options = {.create = false};
	struct store *repaired, *old = store;
	struct record_key k;
	char data[96];
	copy_store(&o);
	damage(2, false);
	damage(4, true);
	put(STORE_CERTS, key_cert(&k, BLOCKS), slice_str("x"));
	ck_assert_msg(repair(&o, &r, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(r.height, BLOCKS);
	ck_assert(hash_equal(&r.state_root, ledger_root(w.ledger)));
	ck_assert_uint_eq(r.fetched, 2);
	ck_assert_uint_eq(r.first_fetched, 2);
	ck_assert_uint_eq(r.unfinal, 1);
	ck_assert_str_eq(r.aside, "data.damaged.1");
	snprintf(data, sizeof data, "%s/data", home);
	ck_assert_int_eq(store_open_rocksdb(&repaired, data, &options, &m), ERR_NONE);
	store = repaired;
	ck_assert_int_eq(audit(&a, NULL), ERR_NONE);
	ck_assert_msg(a.findings == 0, "%s: %s", store_family_name(last.family), last.what);
	ck_assert_uint_eq(a.vote_slots, 2);
	ck_assert_uint_eq(a.unfinal, 1);
	ck_assert_uint_eq(a.blocks, BLOCKS);
	ck_assert(hash_equal(&a.ledger.root, ledger_root(w.ledger)));
	store_close(repaired);
	store = old;
	store_close(o.store);
}
END_TEST

START_TEST(refuses_without_votes)
{
	struct repair_result r;
	struct errmsg m = {{0}};
	for (uint8_t slot = 0; slot < 2; slot++)
		put(STORE_VOTES, slice_of(&slot, 1), (struct slice){0});
	ck_assert_int_eq(repair(NULL, &r, &m), ERR_STALE);
	ck_assert_ptr_nonnull(strstr(m.text, "never vote"));
	is_untouched();
	/* A restored home has none and never votes: it may be repaired, and stays what it is.
	 */
	put(STORE_META, slice_str(RESTORED_KEY), slice_str("x"));
	ck_assert_msg(repair(NULL, &r, &m) == ERR_NONE, "%s", m.text);
	struct audit_result a;
	struct store *repaired;
	struct store_options options = {.create = false};
	char data[96];
	snprintf(data, sizeof data, "%s/data", home);
	ck_assert_int_eq(store_open_rocksdb(&repaired, data, &options, &m), ERR_NONE);
	ck_assert_int_eq(replica_audit_head(repaired, &w.genesis, &a, &m), ERR_NONE);
	ck_assert(a.restored);
	store_close(repaired);
}
END_TEST

START_TEST(refuses_without_what_it_voted_for)
{
	static const struct hash low;
	static const struct slice none = {0};
	struct record_key k;
	struct slice key, value;
	struct repair_result r;
	struct errmsg m = {{0}};
	struct writer found = {0};
	struct store_iter *it = store_iter_new(store, STORE_BLOCKS,
					       key_block(&k, BLOCKS + 1, &low), none, false);
	ck_assert(store_iter_next(it, &key, &value));
	writer_raw(&found, key.ptr, key.len);
	store_iter_free(it);
	put(STORE_BLOCKS, writer_slice(&found), slice_str("x"));
	writer_free(&found);
	ck_assert_int_eq(repair(NULL, &r, &m), ERR_STALE);
	is_untouched();
}
END_TEST

START_TEST(refuses_without_a_source_or_from_a_liar)
{
	struct other o;
	struct repair_result r;
	struct errmsg m = {{0}};
	copy_store(&o);
	damage(3, false);
	ck_assert_int_eq(repair(NULL, &r, &m), ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(m.text, "block 3"));
	is_untouched();
	o.lies = true;
	ck_assert_int_ne(repair(&o, &r, &m), ERR_NONE);
	is_untouched();
	o.lies = false;
	ck_assert_int_eq(repair(&o, &r, &m), ERR_NONE);
	store_close(o.store);
}
END_TEST

TCase *audit_repair_case(void)
{
	TCase *t = audit_case("repair", setup, teardown);
	tcase_add_test(t, repairs);
	tcase_add_test(t, refuses_without_votes);
	tcase_add_test(t, refuses_without_what_it_voted_for);
	tcase_add_test(t, refuses_without_a_source_or_from_a_liar);
	return t;
}
