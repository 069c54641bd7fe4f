#include <stdlib.h>

#include "suites.h"

int main(void)
{
	TCase *cases[] = {bytes_case(),	   edit_distance_case(), err_case(),
			  freelist_case(), json_case(),		 log_case(),
			  map_case(),	   random_case()};
	Suite *suite = suite_create("base");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tcase_set_timeout(cases[i], CASE_TIMEOUT);
		suite_add_tcase(suite, cases[i]);
	}
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
