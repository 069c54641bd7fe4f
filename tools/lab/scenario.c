#include "tools/lab/scenario.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define LINE_MAX_CHARS 512
#define SUFFIX	       ".scenario"

/* ---- where they are ---------------------------------------------------------------------- */

/* The environment, then beside the program in a build tree, then where they are installed. */
static const char *library(void)
{
	static char beside[600];
	const char *set = getenv("OSTRAKON_SCENARIOS");
	if (set && *set)
		return set;
	char self[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n > 0) {
		self[n] = 0;
		char *slash = strrchr(self, '/');
		*slash = 0;
		snprintf(beside, sizeof beside, "%s/%s", self, SCENARIO_BESIDE);
		if (access(beside, R_OK) == 0)
			return beside;
	}
	return SCENARIO_DIR;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

unsigned scenario_list(char names[SCENARIO_FILES_MAX][SCENARIO_NAME_MAX])
{
	unsigned count = 0;
	DIR *d = opendir(library());
	if (!d)
		return 0;
	for (const struct dirent *e; count < SCENARIO_FILES_MAX && (e = readdir(d)) != NULL;) {
		size_t len = strlen(e->d_name), suffix = strlen(SUFFIX);
		if (len <= suffix || len - suffix >= SCENARIO_NAME_MAX ||
		    strcmp(e->d_name + len - suffix, SUFFIX) != 0)
			continue;
		snprintf(names[count++], SCENARIO_NAME_MAX, "%.*s", (int)(len - suffix), e->d_name);
	}
	closedir(d);
	qsort(names, count, SCENARIO_NAME_MAX, by_name);
	return count;
}

/* ---- words ------------------------------------------------------------------------------- */

/* Letters that differ, roughly: for "did you mean". */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[64];
	size_t la = strlen(a), lb = strlen(b);
	if (la > 60 || lb > 60)
		return 99;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned corner = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = corner + (a[i - 1] != b[j - 1]);
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			corner = row[j];
			row[j] = best;
		}
	}
	return row[lb];
}

struct place {
	const char *file;
	unsigned line;
	struct errmsg *m;
};

static int unknown(const struct place *p, const char *what, const char *word,
		   const char *const *known, size_t count)
{
	const char *near = NULL;
	unsigned best = 4;
	for (size_t i = 0; i < count; i++)
		if (distance(word, known[i]) < best) {
			best = distance(word, known[i]);
			near = known[i];
		}
	return err_set(p->m, ERR_SYNTAX, "%s:%u: there is no %s \"%s\"%s%s%s", p->file, p->line,
		       what, word, near ? "; did you mean \"" : "", near ? near : "",
		       near ? "\"?" : "");
}

static int number(const struct place *p, const char *word, unsigned lo, unsigned hi, unsigned *out)
{
	char *end;
	unsigned long v = word ? strtoul(word, &end, 10) : 0;
	if (!word || *end || v < lo || v > hi)
		return err_set(p->m, ERR_SYNTAX, "%s:%u: a number from %u to %u is needed", p->file,
			       p->line, lo, hi);
	*out = (unsigned)v;
	return ERR_NONE;
}

/* ---- directives -------------------------------------------------------------------------- */

static int read_corrupt(struct scenario *s, const struct place *p, const char *word)
{
	unsigned v;
	if (word && strcmp(word, "f") == 0) {
		s->corrupt = -1;
	} else if (word && strcmp(word, "f+1") == 0) {
		s->corrupt = -2;
	} else {
		int err = number(p, word, 0, VALIDATORS_MAX, &v);
		if (err)
			return err;
		s->corrupt = (int)v;
	}
	return ERR_NONE;
}

static int read_attacks(struct scenario *s, const struct place *p, char *save)
{
	const char *known[ATTACKS];
	for (unsigned a = 0; a < ATTACKS; a++)
		known[a] = attack_name((enum attack)a);
	for (char *word; (word = strtok_r(NULL, " \t", &save)) != NULL;) {
		int a = attack_by_name(word);
		if (strcmp(word, "all") == 0)
			s->attacks = ATTACK_BIT(ATTACKS) - 1;
		else if (a < 0)
			return unknown(p, "attack", word, known, ATTACKS);
		else
			s->attacks |= ATTACK_BIT(a);
	}
	return ERR_NONE;
}

static int choose(const struct place *p, const char *what, const char *word,
		  const char *const *known, size_t count, int *out)
{
	for (size_t i = 0; word && i < count; i++)
		if (strcmp(word, known[i]) == 0) {
			*out = (int)i;
			return ERR_NONE;
		}
	return unknown(p, what, word ? word : "", known, count);
}

static int read_expect(struct scenario *s, const struct place *p, const char *word, char *save)
{
	static const char *const known[] = {"no-conflict", "conflict",	     "progress",
					    "innocent",	   "convicted",	     "no-mode-change",
					    "mode-change", "return-to-fast"};
	static const char *const reasons[] = {"any",	    "proof", "signature",
					      "censorship", "slow",  "timeouts"};
	int which, reason = 0;
	int err = choose(p, "expectation", word, known, MEM_COUNT(known), &which);
	const char *more = strtok_r(NULL, " \t", &save);
	if (!err && more)
		err = choose(p, "reason", more, reasons, MEM_COUNT(reasons), &reason);
	if (err)
		return err;
	s->expect |= 1u << which;
	if (1 << which == EXPECT_MODE_CHANGE)
		s->expected_reason = (enum escalation_reason)reason;
	return ERR_NONE;
}

static void append_text(struct scenario *s, const char *rest)
{
	size_t len = strlen(s->text);
	snprintf(s->text + len, sizeof s->text - len, "%s%s", len ? "\n" : "", rest);
}

static int read_line(struct scenario *s, const struct place *p, char *line)
{
	static const char *const directives[] = {"summary", "describe", "nodes",  "corrupt",
						 "attacks", "who",	"targets", "faults",
						 "decisions", "expect"};
	static const char *const who[] = {"any", "leader", "moods"};
	static const char *const targets[] = {"chance", "half", "all", "one"};
	static const char *const faults[] = {"none", "storm"};
	char *save;
	char *word = strtok_r(line, " \t", &save);
	int which, v;
	unsigned n;
	if (!word || *word == '#')
		return ERR_NONE;
	int err = choose(p, "directive", word, directives, MEM_COUNT(directives), &which);
	if (err)
		return err;
	const char *rest = save + strspn(save, " \t");
	if (which == 0) {
		snprintf(s->summary, sizeof s->summary, "%s", rest);
		return ERR_NONE;
	}
	if (which == 1) {
		append_text(s, rest);
		return ERR_NONE;
	}
	if (which == 4)
		return read_attacks(s, p, save);
	word = strtok_r(NULL, " \t", &save);
	switch (which) {
	case 2:
		err = number(p, word, 1, VALIDATORS_MAX, &s->nodes);
		break;
	case 3:
		err = read_corrupt(s, p, word);
		break;
	case 5:
		err = choose(p, "kind of member", word, who, MEM_COUNT(who), &v);
		s->who = err ? WHO_ANY : (enum scenario_who)v;
		break;
	case 6:
		err = choose(p, "choice of targets", word, targets, MEM_COUNT(targets), &v);
		s->targets = err ? 0 : v;
		break;
	case 7:
		err = choose(p, "kind of faults", word, faults, MEM_COUNT(faults), &v);
		s->storm = !err && v == 1;
		break;
	case 8:
		err = number(p, word, 1, 1000000, &n);
		s->decisions = err ? 0 : n;
		break;
	default:
		err = read_expect(s, p, word, save);
	}
	return err;
}

int scenario_read(struct scenario *out, const char *name, struct errmsg *m)
{
	char path[1024], line[LINE_MAX_CHARS];
	*out = (struct scenario){.nodes = 4, .decisions = 100};
	bool is_file = strchr(name, '/') || strstr(name, SUFFIX);
	if (is_file)
		snprintf(path, sizeof path, "%s", name);
	else
		snprintf(path, sizeof path, "%s/%s%s", library(), name, SUFFIX);
	FILE *f = fopen(path, "r");
	if (!f)
		return err_set(m, ERR_NOT_FOUND,
			       "there is no scenario \"%s\" (%s: %s); `ostrakon-lab list` shows "
			       "those that there are",
			       name, path, strerror(errno));
	struct place p = {.file = path, .m = m};
	int err = ERR_NONE;
	while (!err && fgets(line, sizeof line, f)) {
		p.line++;
		line[strcspn(line, "\r\n")] = 0;
		err = read_line(out, &p, line);
	}
	fclose(f);
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	snprintf(out->name, sizeof out->name, "%.*s", (int)strcspn(base, "."), base);
	if (!err && !out->summary[0])
		err = err_set(m, ERR_SYNTAX, "%s: a summary is needed", path);
	return err;
}

unsigned scenario_corrupt(const struct scenario *s, unsigned nodes)
{
	unsigned f = quorum_of(nodes).f;
	return s->corrupt == -1 ? f : s->corrupt == -2 ? f + 1 : (unsigned)s->corrupt;
}

uint64_t scenario_targets(const struct scenario *s, unsigned nodes)
{
	uint64_t all = nodes == 64 ? UINT64_MAX : (UINT64_C(1) << nodes) - 1;
	switch (s->targets) {
	case 1:
		return TARGETS_HALF;
	case 2:
		return all;
	case 3:
		return 1;
	default:
		return 0;
	}
}
