#ifndef TESTS_TOOLS_SUITES_H
#define TESTS_TOOLS_SUITES_H

#include <check.h>

Suite *doctor_suite(void);
Suite *events_suite(void);
Suite *hdr_suite(void);
Suite *linear_suite(void);
Suite *monitor_suite(void);
Suite *pump_suite(void);

#endif
