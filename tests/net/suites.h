#ifndef TESTS_NET_SUITES_H
#define TESTS_NET_SUITES_H

#include <check.h>

Suite *loopback_suite(void); /* check-loopback.c */
Suite *hostile_suite(void);  /* check-hostile.c */

#endif
