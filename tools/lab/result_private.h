/* Shared by result*.c only. */
#ifndef TOOLS_LAB_RESULT_PRIVATE_H
#define TOOLS_LAB_RESULT_PRIVATE_H

#include "tools/lab/result.h"

double result_availability(const struct sim_result *r);
unsigned result_innocent_accused(const struct sim_result *r);
/* m may be NULL, here and below: nothing was measured. */
uint64_t result_counted(const struct sim_result *r, const struct sim_measures *m,
			unsigned type);
double result_normal_case(const struct sim_result *r, const struct sim_measures *m);
/* What the two certificates of the first fork prove by themselves, and what would be needed. */
const char *result_fork_text(const struct sim_result *r);

/* result_measures.c */
struct json *result_ms(uint64_t us);
struct json *result_validators(uint64_t mask);
void result_set_traffic(struct json *x, const struct sim_options *so, struct lab_total *t);
void result_set_course(struct json *x, const struct sim_options *so, const struct lab_total *t);

#endif
