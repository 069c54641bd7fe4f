/* What of the command-line program can be tested without a network. */
#include <stdlib.h>

#include "suites.h"

int main(void)
{
	SRunner *r = srunner_create(doctor_suite());
	int failed;

	srunner_add_suite(r, events_suite());
	srunner_add_suite(r, hdr_suite());
	srunner_add_suite(r, linear_suite());
	srunner_add_suite(r, monitor_suite());
	srunner_add_suite(r, pump_suite());
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
