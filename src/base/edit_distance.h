/* Which known word somebody may have meant. */
#ifndef BASE_EDIT_DISTANCE_H
#define BASE_EDIT_DISTANCE_H

#include <stddef.h>

#define EDIT_WORD_MAX 63

/* Levenshtein's: letters to insert, delete or replace. UINT_MAX if b has more than
 * EDIT_WORD_MAX. */
unsigned edit_distance(const char *a, const char *b);
/* The first of those nearest to text, fewer than `limit` typing errors away; NULL: none. */
const char *nearest_word(const char *text, const char *const *words, size_t count,
			 unsigned limit);

#endif
