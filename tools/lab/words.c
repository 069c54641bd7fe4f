#include "tools/lab/words.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/edit_distance.h"

#define BLANKS " \t"

char *words_next(struct words *w)
{
	return strtok_r(NULL, BLANKS, &w->save);
}

const char *words_peek(struct words *w)
{
	static char word[64];
	if (!w->save)
		return NULL;
	const char *at = w->save + strspn(w->save, BLANKS);
	size_t len = strcspn(at, BLANKS);
	if (!len)
		return NULL;
	snprintf(word, sizeof word, "%.*s", (int)len, at);
	return word;
}

bool words_take(struct words *w, const char *word)
{
	const char *next = words_peek(w);
	if (!next || strcmp(next, word) != 0)
		return false;
	words_next(w);
	return true;
}

int words_fail(struct words *w, const char *fmt, ...)
{
	char text[400];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	return err_set(w->m, ERR_SYNTAX, "%s:%u: %s", w->file, w->line, text);
}

const char *words_meant(const char *word, const char *const *known, size_t count)
{
	return nearest_word(word, known, count, strlen(word) < 5 ? 3 : 4);
}

/* `word` is none of the known ones: an error with the nearest of them. */
static int unknown(struct words *w, const char *what, const char *word,
		   const char *const *known, size_t count)
{
	const char *near = words_meant(word, known, count);
	if (near)
		return words_fail(w, "there is no %s \"%s\"; did you mean \"%s\"?", what, word,
				  near);
	char list[300] = "";
	for (size_t i = 0; i < count && strlen(list) + strlen(known[i]) + 4 < sizeof list; i++)
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s",
			 *list ? ", " : "", known[i]);
	return words_fail(w, "there is no %s \"%s\"; there are %s", what, word, list);
}

int words_choose(struct words *w, const char *what, const char *word, const char *const *known,
		 size_t count, int *out)
{
	if (!word)
		return words_fail(w, "a %s is missing", what);
	for (size_t i = 0; i < count; i++)
		if (strcmp(word, known[i]) == 0) {
			*out = (int)i;
			return ERR_NONE;
		}
	return unknown(w, what, word, known, count);
}

int words_number(struct words *w, const char *word, uint64_t lo, uint64_t hi, uint64_t *out)
{
	char *end = NULL;
	uint64_t v = word && *word != '-' ? strtoull(word, &end, 10) : 0;
	if (!end || end == word || *end || v < lo || v > hi)
		return words_fail(w, "a number from %llu to %llu is needed%s%s%s",
				  (unsigned long long)lo, (unsigned long long)hi,
				  word ? ", not \"" : "", word ? word : "", word ? "\"" : "");
	*out = v;
	return ERR_NONE;
}

int words_duration(struct words *w, const char *word, uint64_t *out)
{
	static const struct {
		const char *unit;
		double us;
	} units[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 6e7}};
	char *end = NULL;
	double v = word && *word >= '0' && *word <= '9' ? strtod(word, &end) : -1;
	for (size_t i = 0; v >= 0 && i < sizeof units / sizeof *units; i++)
		if (strcmp(end, units[i].unit) == 0 && v * units[i].us <= 3.6e9) {
			*out = (uint64_t)(v * units[i].us + 0.5);
			return ERR_NONE;
		}
	return words_fail(w, "a time such as 20ms or 1.5s is needed%s%s%s",
			  word ? ", not \"" : "", word ? word : "", word ? "\"" : "");
}

int words_percent(struct words *w, const char *word, uint32_t *per_mille)
{
	char *end = NULL;
	double v = word && *word >= '0' && *word <= '9' ? strtod(word, &end) : -1;
	if (v < 0 || v > 100 || strcmp(end, "%") != 0)
		return words_fail(w, "a share such as 2%% is needed");
	*per_mille = (uint32_t)(v * 10 + 0.5);
	return ERR_NONE;
}

int words_rate(struct words *w, const char *word, uint64_t *bytes_per_s)
{
	char *end = NULL;
	double v = word && *word >= '0' && *word <= '9' ? strtod(word, &end) : -1;
	double unit = v < 0		       ? 0
		      : strcmp(end, "B") == 0  ? 1
		      : strcmp(end, "kB") == 0 ? 1e3
		      : strcmp(end, "MB") == 0 ? 1e6
					       : 0;
	if (v * unit < 1000 || v * unit > 1e10)
		return words_fail(w, "bytes a second, such as 64kB or 1.5MB, are needed");
	*bytes_per_s = (uint64_t)(v * unit);
	return ERR_NONE;
}

int words_end(struct words *w)
{
	const char *more = words_peek(w);
	return more ? words_fail(w, "\"%s\" is one word too many", more) : ERR_NONE;
}
