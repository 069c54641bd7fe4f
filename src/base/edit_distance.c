#include "base/edit_distance.h"

#include <limits.h>
#include <string.h>

/* Wagner and Fischer's, a row at a time. */
unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[EDIT_WORD_MAX + 1];
	size_t n = strlen(b);
	if (n > EDIT_WORD_MAX)
		return UINT_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			unsigned best = diagonal + (a[i - 1] != b[j - 1]);
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[n];
}

const char *nearest_word(const char *text, const char *const *words, size_t count,
			 unsigned limit)
{
	const char *nearest = NULL;
	for (size_t i = 0; i < count; i++) {
		unsigned d = edit_distance(text, words[i]);
		if (d < limit) {
			limit = d;
			nearest = words[i];
		}
	}
	return nearest;
}
