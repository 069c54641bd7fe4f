/* One test case for each file of src/base. */
#ifndef TESTS_BASE_SUITES_H
#define TESTS_BASE_SUITES_H

#include <check.h>

#define CASE_TIMEOUT 120

/* For loops of many rounds: Check's own assertions write to a file even when they hold. */
#define expect(expr) ((expr) ? (void)0 : ck_abort_msg("does not hold: %s", #expr))

TCase *bytes_case(void);
TCase *edit_distance_case(void);
TCase *err_case(void); /* and mem */
TCase *json_case(void);
TCase *log_case(void);
TCase *map_case(void);
TCase *freelist_case(void);
TCase *random_case(void);

#endif
