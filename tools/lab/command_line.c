/* What is wrong with a command line, in one form for all verbs: the word as it was typed, and
 * what may have been meant. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/lab/lab.h"
#include "tools/lab/words.h"

#define OPTIONS_MAX 32

bool lab_refuse(const char *wanted, const char *word)
{
	fprintf(stderr, "ostrakon-lab: %s, not \"%s\"\n", wanted, word);
	return false;
}

bool lab_number(const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
	char *end;
	if (*text < '0' || *text > '9')
		return false;
	*out = strtoull(text, &end, 10);
	return !*end && *out >= low && *out <= high && strlen(text) < 20;
}

bool lab_unknown(const char *what, const char *word, const char *const *known, size_t count,
		 const char *hint)
{
	const char *near = words_meant(word, known, count);
	if (near)
		fprintf(stderr, "ostrakon-lab: there is no %s \"%s\"; did you mean \"%s\"?\n",
			what, word, near);
	else
		fprintf(stderr, "ostrakon-lab: there is no %s \"%s\"; %s\n", what, word, hint);
	return false;
}

/* `word` begins with two dashes and is none of these. */
static void unknown_option(const char *word, const struct option *known)
{
	const char *names[OPTIONS_MAX];
	char name[64], several[400] = "";
	size_t count = 0;
	snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
	for (; known[count].name && count < OPTIONS_MAX; count++) {
		names[count] = known[count].name;
		size_t len = strlen(several);
		if (strncmp(names[count], name, strlen(name)) == 0)
			snprintf(several + len, sizeof several - len, "%s--%s", len ? ", " : "",
				 names[count]);
	}
	const char *near = words_meant(name, names, count);
	if (*several)
		fprintf(stderr, "ostrakon-lab: --%s is the beginning of several options: %s\n",
			name, several);
	else
		fprintf(stderr, "ostrakon-lab: unknown option --%s%s%s%s\n", name,
			near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
}

bool lab_bad_option(char *const *argv, const struct option *known)
{
	const char *word = argv[optind - 1]; /* of a long option, or one that lacks its word */
	const struct option *o = known;
	if (!optopt) {
		unknown_option(word, known);
		return false;
	}
	while (o->name && o->val != optopt)
		o++;
	if (!o->name)
		fprintf(stderr, "ostrakon-lab: unknown option -%c\n", optopt);
	else
		fprintf(stderr, "ostrakon-lab: --%s %s\n", o->name,
			o->has_arg ? "needs a word after it" : "takes no word");
	return false;
}
