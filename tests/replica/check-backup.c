/* Backups: made, verified, restored; and whatever is altered in one is found, by the hashes if
 * it was an accident, by signatures, certificates and execution if it was somebody. */
#include "tests/replica/backup.h"

int main(void)
{
	Suite *s = suite_create("backup");
	suite_add_tcase(s, backup_chain_case());
	suite_add_tcase(s, backup_epochs_case());
	suite_add_tcase(s, backup_forged_case());
	suite_add_tcase(s, backup_ends_case());
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
