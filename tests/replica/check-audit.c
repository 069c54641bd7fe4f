/* What `db check` finds and `db repair` mends (audit.h). */
#include "tests/replica/audit.h"

int main(void)
{
	Suite *s = suite_create("audit");
	suite_add_tcase(s, audit_damage_case());
	suite_add_tcase(s, audit_repair_case());
	suite_add_tcase(s, audit_epochs_case());
	suite_add_tcase(s, audit_end_case());
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
