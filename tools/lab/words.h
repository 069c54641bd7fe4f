/* Words of scenario files: the grammar below the directives. */
#ifndef TOOLS_LAB_WORDS_H
#define TOOLS_LAB_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Where we are, for messages; and the words of the line that are left. */
struct words {
	const char *file;
	unsigned line;
	struct errmsg *m;
	char *save;
};
/* The next word, or NULL. */
char *words_next(struct words *w);
/* The next word without taking it; NULL at the end. Valid until the next call. */
const char *words_peek(struct words *w);
/* Takes the next word if it is this one. */
bool words_take(struct words *w, const char *word);
int words_fail(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Which of the known words was probably meant by one that is none of them; NULL: none is near.
 */
const char *words_meant(const char *word, const char *const *known, size_t count);
/* word must be one of the known ones; *out its index. NULL word: an error too. */
int words_choose(struct words *w, const char *what, const char *word, const char *const *known,
		 size_t count, int *out);
int words_number(struct words *w, const char *word, uint64_t lo, uint64_t hi, uint64_t *out);
/* "200us", "20ms", "1.5s", "2m"; microseconds. */
int words_duration(struct words *w, const char *word, uint64_t *out);
/* "2%", "0.5%": per mille. */
int words_percent(struct words *w, const char *word, uint32_t *per_mille);
/* "64kB", "1.5MB": bytes a second. */
int words_rate(struct words *w, const char *word, uint64_t *bytes_per_s);
/* The line must end here. */
int words_end(struct words *w);

#endif
