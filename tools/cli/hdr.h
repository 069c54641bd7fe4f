/* A histogram of times with bounded memory and bounded relative error: each octave is divided
 * into HDR_STEPS equal parts, so that a quantile is off by less than 1/HDR_STEPS of itself.
 * After Gil Tene's HdrHistogram. */
#ifndef TOOLS_CLI_HDR_H
#define TOOLS_CLI_HDR_H

#include <stdint.h>

#include "base/json.h"

#define HDR_STEP_BITS 7
#define HDR_STEPS     (1u << HDR_STEP_BITS)
#define HDR_OCTAVES   33 /* up to 2^40 - 1: twelve days in microseconds */
#define HDR_MAX	      ((UINT64_C(1) << (HDR_STEP_BITS + HDR_OCTAVES)) - 1)

struct hdr {
	uint64_t count[(HDR_OCTAVES + 1) * HDR_STEPS];
	uint64_t total, min, max;
	double sum;
};
void hdr_init(struct hdr *h);
void hdr_add(struct hdr *h, uint64_t value); /* what is above HDR_MAX counts as that */
/* The value that a share q of all does not exceed: the upper end of its part, but never above
 * the greatest value seen. 0 if there is none. */
uint64_t hdr_quantile(const struct hdr *h, double q);
/* Rows {le_ms, count} by powers of two of a millisecond, for values in microseconds. */
struct json *hdr_rows(const struct hdr *h);

#endif
