#include "tests/ledger/check-ledger.h"

size_t count_records(struct store *s, enum store_family f)
{
	struct slice k, v;
	size_t count = 0;
	struct store_iter *it =
		store_iter_new(s, f, slice_of(NULL, 0), slice_of(NULL, 0), false);
	while (store_iter_next(it, &k, &v))
		count++;
	store_iter_free(it);
	return count;
}

int main(void)
{
	SRunner *r = srunner_create(tx_suite());
	srunner_add_suite(r, tree_suite());
	srunner_add_suite(r, tree_stale_suite());
	srunner_add_suite(r, tree_shared_suite());
	srunner_add_suite(r, nonce_suite());
	srunner_add_suite(r, state_suite());
	srunner_add_suite(r, block_suite());
	srunner_add_suite(r, recovery_suite());
	srunner_add_suite(r, proof_suite());
	srunner_add_suite(r, document_suite());
	srunner_add_suite(r, modes_suite());
	srunner_add_suite(r, receipts_suite());
	srunner_add_suite(r, range_suite());
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
