#ifndef TESTS_SIM_CHECK_SIM_H
#define TESTS_SIM_CHECK_SIM_H

#include <check.h>

TCase *checkers_case(void);

#endif
