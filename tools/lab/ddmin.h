/* The minimising delta debugging algorithm: Zeller and Hildebrandt, "Simplifying and Isolating
 * Failure-Inducing Input", IEEE Transactions on Software Engineering 28(2), 2002, section 3.2.
 */
#ifndef TOOLS_LAB_DDMIN_H
#define TOOLS_LAB_DDMIN_H

#include <stdbool.h>
#include <stdint.h>

/* Does it still fail with these items only? count is never 0. */
typedef bool (*ddmin_test)(void *ctx, const uint32_t *items, uint32_t count);
/* Removes items while it still fails; all of them together fail. Returns how many are left;
 * 1-minimal: none of these can be left out alone. Whatever the test says, at most about count^2
 * tests. stop (may be NULL) is asked before each: what is left so far is the result. */
uint32_t ddmin(uint32_t *items, uint32_t count, ddmin_test fails, bool (*stop)(void *ctx),
	       void *ctx);

#endif
