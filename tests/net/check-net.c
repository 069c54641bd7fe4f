/* Links over real sockets on 127.0.0.1, several nodes in one process. */
#include <stdlib.h>

#include "harness.h"
#include "suites.h"

int main(void)
{
	harness_init();
	SRunner *r = srunner_create(loopback_suite());
	srunner_add_suite(r, hostile_suite());
	srunner_set_fork_status(r, CK_NOFORK); /* NNG panics after fork */
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
