#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/lab/run_file.h"
#include "tools/lab/scenario_private.h"

#define FILE_MAX (64u << 10)
#define SUFFIX	 ".scenario"

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
		snprintf(names[count++], SCENARIO_NAME_MAX, "%.*s", (int)(len - suffix),
			 e->d_name);
	}
	closedir(d);
	qsort(names, count, SCENARIO_NAME_MAX, by_name);
	return count;
}

/* ---- expectations ------------------------------------------------------------------------ */

static int expected_reason(struct words *w, uint64_t *out)
{
	static const char *const reasons[] = {"any",	    "proof", "signature",
					      "censorship", "slow",  "timeouts"};
	int which = 0, err = ERR_NONE;
	if (words_peek(w))
		err = words_choose(w, "reason", words_next(w), reasons, MEM_COUNT(reasons),
				   &which);
	*out = (uint64_t)which; /* in the order of enum escalation_reason */
	return err;
}

static int expected_evidence(struct words *w, uint64_t *out)
{
	const char *known[EVIDENCE_INVALID_STATEMENT];
	int which;
	for (int k = EVIDENCE_HEADERS; k <= EVIDENCE_INVALID_STATEMENT; k++)
		known[k - 1] = evidence_kind_name((enum evidence_kind)k);
	int err = words_choose(w, "kind of evidence", words_next(w), known, MEM_COUNT(known),
			       &which);
	*out = err ? 0 : (uint64_t)which + EVIDENCE_HEADERS;
	return err;
}

static int within(struct words *w, bool needed, uint64_t *out)
{
	if (!words_take(w, "within"))
		return needed ? words_fail(w, "within what time? failover within 2s")
			      : ERR_NONE;
	return words_duration(w, words_next(w), out);
}

/* The rest of the line with single blanks. */
static void phrase(char out[SCENARIO_PHRASE_MAX], const char *rest)
{
	size_t len = 0;
	for (const char *p = rest + strspn(rest, " \t"); *p && len + 1 < SCENARIO_PHRASE_MAX;
	     p++)
		if (*p != ' ' && *p != '\t')
			out[len++] = *p;
		else if (p[1] && p[1] != ' ' && p[1] != '\t')
			out[len++] = ' ';
	out[len] = 0;
}

static int read_expect(struct scenario *s, struct words *w)
{
	static const char *const known[EXPECT_KINDS] = {[EXPECT_NO_CONFLICT] = "no-conflict",
							[EXPECT_CONFLICT] = "conflict",
							[EXPECT_PROGRESS] = "progress",
							[EXPECT_INNOCENT] = "innocent",
							[EXPECT_CONVICTED] = "convicted",
							[EXPECT_NO_MODE_CHANGE] =
								"no-mode-change",
							[EXPECT_MODE_CHANGE] = "mode-change",
							[EXPECT_RETURN] = "return-to-fast",
							[EXPECT_EVIDENCE] = "evidence",
							[EXPECT_CULPRITS] = "culprits",
							[EXPECT_AVAILABILITY] = "availability",
							[EXPECT_FAILOVER] = "failover",
							[EXPECT_ONE_TERM] = "one-term",
							[EXPECT_STRUCK] = "strikes",
							[EXPECT_COUNTS] = "counts"};
	int which, err;
	uint32_t share;
	if (s->expect_count == SCENARIO_EXPECT_MAX)
		return words_fail(w, "more than %u expectations", SCENARIO_EXPECT_MAX);
	struct expectation *e = &s->expect[s->expect_count];
	*e = (struct expectation){0};
	phrase(e->text, w->save);
	err = words_choose(w, "expectation", words_next(w), known, EXPECT_KINDS, &which);
	if (err)
		return err;
	e->kind = (enum expectation_kind)which;
	switch (e->kind) {
	case EXPECT_PROGRESS:
		err = within(w, false, &e->value);
		break;
	case EXPECT_FAILOVER:
		err = within(w, true, &e->value);
		break;
	case EXPECT_CONVICTED:
	case EXPECT_CULPRITS:
		e->value = 1;
		if (words_take(w, "f+1"))
			e->value = EXPECT_MORE_THAN_F;
		else if (words_peek(w))
			err = words_number(w, words_next(w), 1, VALIDATORS_MAX, &e->value);
		break;
	case EXPECT_MODE_CHANGE:
		err = expected_reason(w, &e->value);
		break;
	case EXPECT_EVIDENCE:
		err = expected_evidence(w, &e->value);
		break;
	case EXPECT_COUNTS:
		e->value = words_take(w, "lone");
		break;
	case EXPECT_AVAILABILITY:
		err = words_percent(w, words_next(w), &share);
		e->value = err ? 0 : share / 10;
		break;
	case EXPECT_NO_CONFLICT:
	case EXPECT_CONFLICT:
	case EXPECT_INNOCENT:
	case EXPECT_NO_MODE_CHANGE:
	case EXPECT_RETURN:
	case EXPECT_ONE_TERM:
	case EXPECT_STRUCK:
	case EXPECT_KINDS:
		break;
	}
	if (!err)
		err = words_end(w);
	s->expect_count += !err;
	return err;
}

const struct expectation *scenario_expects(const struct scenario *s, enum expectation_kind kind)
{
	for (unsigned i = 0; i < s->expect_count; i++)
		if (s->expect[i].kind == kind)
			return &s->expect[i];
	return NULL;
}

/* ---- directives -------------------------------------------------------------------------- */

enum directive {
	SUMMARY,
	DESCRIBE,
	NODES,
	PROTOCOL,
	CORRUPT,
	ATTACK_NAMES,
	WHO,
	TARGETS,
	FAULTS,
	NETWORK,
	CLIENTS,
	DECISIONS,
	DURATION,
	SILENT,
	WARM_UP,
	SEED,
	PROBATION,
	STRIKES,
	LOSE,
	ONLY,
	AT,
	AFTER,
	WHEN,
	EXPECT,
	DIRECTIVES
};
static const char *const directives[DIRECTIVES] = {
	[SUMMARY] = "summary",	 [DESCRIBE] = "describe",   [NODES] = "nodes",
	[PROTOCOL] = "protocol", [CORRUPT] = "corrupt",	    [ATTACK_NAMES] = "attacks",
	[WHO] = "who",		 [TARGETS] = "targets",	    [FAULTS] = "faults",
	[NETWORK] = "network",	 [CLIENTS] = "clients",	    [DECISIONS] = "decisions",
	[DURATION] = "duration", [SILENT] = "silent",	    [WARM_UP] = "warm-up",
	[SEED] = "seed",	 [PROBATION] = "probation", [STRIKES] = "strikes",
	[LOSE] = "lose",	 [ONLY] = "only",	    [AT] = "at",
	[AFTER] = "after",	 [WHEN] = "when",	    [EXPECT] = "expect"};

static int read_corrupt(struct scenario *s, struct words *w)
{
	uint64_t v = 0;
	if (words_take(w, "f")) {
		s->corrupt = SCENARIO_CORRUPT_F;
		return ERR_NONE;
	}
	if (words_take(w, "f+1")) {
		s->corrupt = SCENARIO_CORRUPT_MORE;
		return ERR_NONE;
	}
	int err = words_number(w, words_next(w), 0, VALIDATORS_MAX, &v);
	s->corrupt = (int)v;
	return err;
}

static int read_network(struct scenario *s, struct words *w)
{
	int err = ERR_NONE;
	while (!err && words_peek(w)) {
		if (words_take(w, "delay"))
			err = scenario_range(w, &s->delay_min_us, &s->delay_max_us);
		else if (words_take(w, "loss"))
			err = words_percent(w, words_next(w), &s->loss_per_mille);
		else
			err = words_fail(w, "network delay 1ms..20ms, or network loss 1%%");
	}
	return err;
}

static int read_clients(struct scenario *s, struct words *w)
{
	uint64_t v = 0;
	int err = words_number(w, words_next(w), 0, 10000, &v);
	s->clients = (uint32_t)v;
	if (!err && words_take(w, "think"))
		err = words_duration(w, words_next(w), &s->think_us);
	return err;
}

static void append_text(struct scenario *s, const char *rest)
{
	size_t len = strlen(s->text);
	snprintf(s->text + len, sizeof s->text - len, "%s%s", len ? "\n" : "", rest);
}

static int read_choice(struct words *w, const char *what, const char *const *known,
		       size_t count, int *out)
{
	return words_choose(w, what, words_next(w), known, count, out);
}

/* "optional", or "only 3,17". */
static int read_strikes(struct scenario *s, struct words *w)
{
	static const char *const how[] = {"optional", "only"};
	int which = 0, err = read_choice(w, "kind of strikes", how, MEM_COUNT(how), &which);
	if (err)
		return err;
	if (which == 0) {
		s->strikes_optional = true;
		return ERR_NONE;
	}
	s->part_of_strikes = true;
	return scenario_only(w, &s->strikes);
}

/* "none", "calm", "storm" or "storm only 3,17" */
static int read_faults(struct scenario *s, struct words *w)
{
	static const char *const faults[] = {"none", "storm", "calm"};
	int which = 0,
	    err = read_choice(w, "kind of faults", faults, MEM_COUNT(faults), &which);
	s->storm = which == 1;
	s->calm = which == 2;
	if (err || !s->storm || !words_take(w, "only"))
		return err;
	s->part_of_storm = true;
	return scenario_only(w, &s->faults);
}

const char *const scenario_who_names[4] = {"any", "leader", "moods", "follower"};
const char *const scenario_target_names[4] = {"chance", "half", "all", "one"};

static int read_directive(struct scenario *s, struct words *w, enum directive d)
{
	static const char *const protocols[] = {"hybrid", "pbft", "raft", "multipaxos"};
	static const char *const places[] = {"sim"};
	uint64_t v = 0;
	int which = 0, err;
	switch (d) {
	case NODES:
		err = words_number(w, words_next(w), 1, VALIDATORS_MAX, &v);
		s->nodes = (unsigned)v;
		break;
	case PROTOCOL:
		err = read_choice(w, "protocol", protocols, MEM_COUNT(protocols), &which);
		if (!err)
			protocol_by_name(&s->protocol, protocols[which]);
		break;
	case CORRUPT:
		err = read_corrupt(s, w);
		break;
	case ATTACK_NAMES:
		err = scenario_attacks(w, &s->attacks);
		break;
	case WHO:
		err = read_choice(w, "kind of member", scenario_who_names, 4, &which);
		s->who = (enum scenario_who)which;
		break;
	case TARGETS:
		err = read_choice(w, "choice of targets", scenario_target_names, 4, &which);
		s->targets = (enum scenario_targets)which;
		break;
	case FAULTS:
		err = read_faults(s, w);
		break;
	case SEED:
		err = words_number(w, words_next(w), 0, INT64_MAX, &s->seed);
		s->seeded = !err;
		break;
	case PROBATION:
		err = words_number(w, words_next(w), 1, 1000, &v);
		s->probation = (uint32_t)v;
		break;
	case STRIKES:
		err = read_strikes(s, w);
		break;
	case LOSE:
		err = scenario_lose(w, &s->losses);
		break;
	case NETWORK:
		err = read_network(s, w);
		break;
	case CLIENTS:
		err = read_clients(s, w);
		break;
	case DECISIONS:
		err = words_number(w, words_next(w), 1, 1000000, &v);
		s->decisions = (uint32_t)v;
		break;
	case DURATION:
		err = words_duration(w, words_next(w), &s->duration_us);
		break;
	case SILENT:
		err = words_number(w, words_next(w), 0, VALIDATORS_MAX, &v);
		s->silent = (unsigned)v;
		break;
	case WARM_UP:
		err = words_number(w, words_next(w), 1, 100000, &v);
		s->warm_up = (uint32_t)v;
		break;
	case ONLY:
		err = read_choice(w, "place", places, MEM_COUNT(places), &which);
		s->sim_only = !err;
		break;
	case AT:
		return scenario_action(s, w, TRIGGER_TIME);
	case AFTER:
		return scenario_action(s, w, TRIGGER_HEIGHT);
	case WHEN:
		return scenario_action(s, w, TRIGGER_LEADS);
	default:
		return read_expect(s, w);
	}
	return err ? err : words_end(w);
}

static int read_line(struct scenario *s, struct words *w, char *line)
{
	char *comment = strstr(line, " #");
	int which;
	if (comment)
		*comment = 0;
	char *word = strtok_r(line, " \t\r", &w->save);
	if (!word || *word == '#')
		return ERR_NONE;
	int err = words_choose(w, "directive", word, directives, DIRECTIVES, &which);
	const char *rest = w->save + strspn(w->save, " \t");
	if (err)
		return err;
	if (which == SUMMARY)
		snprintf(s->summary, sizeof s->summary, "%s", rest);
	else if (which == DESCRIBE)
		append_text(s, rest);
	else
		return read_directive(s, w, (enum directive)which);
	return ERR_NONE;
}

/* What no attack has touched proves nothing. */
static void add_strikes(struct scenario *s)
{
	bool attacks = s->attacks != 0;
	for (unsigned i = 0; i < s->script.count; i++)
		attacks |= s->script.action[i].kind == SCRIPT_ATTACK;
	if (!attacks || s->strikes_optional || !s->expect_count ||
	    scenario_expects(s, EXPECT_STRUCK) || s->expect_count == SCENARIO_EXPECT_MAX)
		return;
	s->expect[s->expect_count++] =
		(struct expectation){.kind = EXPECT_STRUCK, .text = "strikes"};
}

/* What is printed to a terminal later has nothing in it that moves the cursor. */
static bool is_text(const char *line)
{
	for (; *line; line++)
		if (iscntrl((unsigned char)*line) && *line != '\t')
			return false;
	return true;
}

int scenario_parse(struct scenario *s, const char *file, const char *text, struct errmsg *m)
{
	struct words w = {.file = file, .m = m};
	char *copy = mem_strdup(text), *save = copy;
	int err = ERR_NONE;
	*s = (struct scenario){
		.nodes = 4, .decisions = 100, .clients = 4, .protocol = PROTOCOL_HYBRID};
	while (!err && save) {
		char *line = strsep(&save, "\n");
		w.line++;
		line[strcspn(line, "\r")] = 0;
		err = is_text(line) ? read_line(s, &w, line)
				    : words_fail(&w, "a control character");
	}
	mem_free(copy);
	add_strikes(s);
	if (!err && !s->summary[0])
		err = err_set(m, ERR_SYNTAX, "%s: a summary is needed", file);
	if (!err && !s->expect_count)
		err = err_set(m, ERR_SYNTAX, "%s: nothing is expected", file);
	return err;
}

static int read_text(const char *path, char text[FILE_MAX])
{
	FILE *f = fopen(path, "r");
	if (!f)
		return ERR_NOT_FOUND;
	size_t len = fread(text, 1, FILE_MAX - 1, f);
	text[len] = 0;
	bool whole = feof(f) && strlen(text) == len;
	fclose(f);
	return whole ? ERR_NONE : ERR_LIMIT;
}

int scenario_load(char **text, const char *path, struct errmsg *m)
{
	*text = mem_alloc(FILE_MAX);
	int err = read_text(path, *text);
	if (err == ERR_NOT_FOUND)
		err_set(m, err, "%s: %s", path, strerror(errno));
	else if (err)
		err_set(m, err, "%s is no text, or longer than %u bytes", path, FILE_MAX);
	if (err) {
		mem_free(*text);
		*text = NULL;
	}
	return err;
}

void scenario_name(struct scenario *s, const char *path)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	snprintf(s->name, sizeof s->name, "%.*s", (int)strcspn(base, "."), base);
	snprintf(s->path, sizeof s->path, "%s", path);
}

static void library_path(char *out, size_t size, const char *name)
{
	snprintf(out, size, "%s/%s%s", library(), name, SUFFIX);
}

/* `name` cannot be read, and why; what may have been meant. */
static int no_scenario(const char *name, const char *path, bool is_file, struct errmsg *m)
{
	const char *why = strerror(errno), *known[SCENARIO_FILES_MAX] = {NULL};
	char names[SCENARIO_FILES_MAX][SCENARIO_NAME_MAX];
	unsigned count = is_file ? 0 : scenario_list(names);
	for (unsigned i = 0; i < count; i++)
		known[i] = names[i];
	const char *near = words_meant(name, known, count);
	if (near)
		return err_set(m, ERR_NOT_FOUND,
			       "there is no scenario \"%s\"; did you mean \"%s\"?", name, near);
	if (!is_file && access(name, R_OK) == 0)
		return err_set(m, ERR_NOT_FOUND,
			       "there is no scenario \"%s\"; of the file of that name the path "
			       "is ./%s",
			       name, name);
	return err_set(m, ERR_NOT_FOUND,
		       "there is no scenario \"%s\" (%s: %s); `ostrakon-lab list` shows those "
		       "that there are",
		       name, path, why);
}

const char *scenario_argument(const struct scenario *s)
{
	char path[SCENARIO_PATH_MAX];
	library_path(path, sizeof path, s->name);
	return strcmp(path, s->path) == 0 ? s->name : s->path;
}

int scenario_read(struct scenario *out, const char *name, struct errmsg *m)
{
	char path[SCENARIO_PATH_MAX], *text;
	bool is_file =
		strchr(name, '/') || strstr(name, SUFFIX) || strstr(name, RUN_FILE_SUFFIX);
	if (is_file)
		snprintf(path, sizeof path, "%s", name);
	else
		library_path(path, sizeof path, name);
	int err = scenario_load(&text, path, m);
	if (err == ERR_NOT_FOUND)
		return no_scenario(name, path, is_file, m);
	if (err)
		return err;
	if (run_file_is(text)) {
		struct run_file *r = mem_alloc(sizeof *r);
		err = run_file_parse(r, path, text, m);
		*out = r->scenario;
		mem_free(r);
	} else {
		err = scenario_parse(out, path, text, m);
		scenario_name(out, path);
	}
	mem_free(text);
	return err;
}

unsigned scenario_corrupt(const struct scenario *s, unsigned nodes)
{
	unsigned f = quorum_of(nodes).f;
	if (s->corrupt >= 0)
		return (unsigned)s->corrupt;
	return s->corrupt == SCENARIO_CORRUPT_F ? f : f + 1;
}

uint64_t scenario_targets(const struct scenario *s, unsigned nodes)
{
	switch (s->targets) {
	case TARGETS_CHANCE:
		break;
	case TARGETS_EVERY_SECOND:
		return TARGETS_HALF;
	case TARGETS_EVERYBODY:
		return UINT64_MAX >> (64 - nodes);
	case TARGETS_ONE:
		return TARGETS_ONE_HONEST;
	}
	return 0;
}
