/* State sync between whole replicas, message by message: what is fetched, from whom it is
 * taken, what a liar and a crash can do, what a hostile asker gets. */
#include "tests/replica/state-sync.h"

int main(void)
{
	Suite *s = suite_create("state-sync");
	suite_add_tcase(s, sync_fetch_case());
	suite_add_tcase(s, sync_askers_case());
	suite_add_tcase(s, sync_epochs_case());
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
