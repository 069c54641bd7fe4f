/* A strict look at HTML that should be well-formed XML too, for tests. */
#ifndef TESTS_TOOLS_BALANCED_H
#define TESTS_TOOLS_BALANCED_H

#include <stddef.h>

/* NULL, or what is wrong, with the offset of it: elements that are not closed in order,
 * attributes without quotes, bare < & > or control characters, ids that are there twice,
 * references to anything outside the page, links to ids that are not there. */
const char *balanced_fault(const char *html, size_t *offset);

#endif
