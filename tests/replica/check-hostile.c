/* One correct replica against a hand-written world (hostile.h). */
#include "tests/replica/hostile.h"

int main(void)
{
	crypto_init();
	Suite *s = suite_create("hostile");
	hostile_terms(s);
	hostile_views(s);
	hostile_fetch(s);
	hostile_room(s);
	hostile_suspicion(s);
	hostile_observer(s);
	hostile_epoch(s);
	hostile_resign(s);
	hostile_own_votes(s);
	hostile_round_trip(s);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
