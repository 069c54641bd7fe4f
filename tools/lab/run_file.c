#include "tools/lab/run_file.h"

#include <config.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "tools/lab/result.h"
#include "tools/lab/scenario_private.h"

#define MAGIC "ostrakon-lab run 1\n"

static const char *const verdicts[] = {
	[SIM_OK] = "ok", [SIM_SAFETY] = "safety", [SIM_LIVENESS] = "liveness"};

const char *verdict_name(enum sim_verdict v)
{
	return verdicts[v];
}

void run_file_of(struct run_file *out, const struct scenario *s, const struct sim_options *so,
		 const struct sim_result *r)
{
	*out = (struct run_file){.scenario = *s,
				 .version = PACKAGE_VERSION,
				 .live = so->live,
				 .trace = r->trace_hash,
				 .verdict = r->verdict,
				 .broken = result_broken(s, so, r),
				 .decisions = r->decisions,
				 .virtual_us = r->virtual_us};
	struct scenario *c = &out->scenario;
	c->nodes = so->nodes;
	c->protocol = so->protocol;
	c->seed = so->seed;
	c->seeded = true;
#ifdef ENABLE_MUTANTS
	out->mutant = (unsigned)mutant_selected;
#endif
	if (r->verdict != SIM_OK)
		snprintf(out->says, sizeof out->says, "%s", r->text);
	for (char *p = out->says; *p; p++)
		if (iscntrl((unsigned char)*p))
			*p = ' ';
	for (char *p = c->name; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '-')
			*p = '_';
}

/* ---- writing ----------------------------------------------------------------------------- */

static void digest(char out[HASH_HEX_SIZE], const char *text, size_t len)
{
	struct hash h;
	sha256(&h, text, len);
	hash_hex(out, &h);
}

char *run_file_text(const struct run_file *r)
{
	const struct scenario *s = &r->scenario;
	char *body = scenario_text(s), *text = NULL, hex[HASH_HEX_SIZE];
	size_t len;
	FILE *f = open_memstream(&text, &len);
	invariant(f);
	fprintf(f,
		MAGIC "scenario %s\nversion %s\nworld %s\nprotocol %s\nnodes %u\nseed %llu\n",
		s->name, r->version, r->live ? "live" : "sim", protocol_name(s->protocol),
		s->nodes, (unsigned long long)s->seed);
	if (r->mutant)
		fprintf(f, "mutant %u\n", r->mutant);
	if (!r->live)
		fprintf(f, "trace %s\n", hash_hex(hex, &r->trace));
	fprintf(f, "verdict %s\n", verdicts[r->verdict]);
	if (r->says[0])
		fprintf(f, "says %s\n", r->says);
	for (unsigned i = 0; i < s->expect_count; i++)
		if (r->broken >> i & 1)
			fprintf(f, "broken %s\n", s->expect[i].text);
	fprintf(f, "decisions %llu\nvirtual-us %llu\n\n%s", (unsigned long long)r->decisions,
		(unsigned long long)r->virtual_us, body);
	fflush(f);
	digest(hex, text, len);
	fprintf(f, "end %s\n", hex);
	fclose(f);
	mem_free(body);
	return text;
}

int file_create(const char *path, const char *text, struct errmsg *m)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_set(m, errno == EEXIST ? ERR_EXISTS : ERR_IO, "%s: %s", path,
			       errno == EEXIST ? "exists, and is not overwritten"
					       : strerror(errno));
	FILE *f = fdopen(fd, "w");
	invariant(f);
	bool good = fputs(text, f) >= 0;
	good = fclose(f) == 0 && good;
	if (good)
		return ERR_NONE;
	int err = err_set(m, ERR_IO, "%s: %s", path, strerror(errno));
	unlink(path);
	return err;
}

static bool has_text(const char *path, const char *text)
{
	char *there;
	if (scenario_load(&there, path, NULL))
		return false;
	bool same = strcmp(there, text) == 0;
	mem_free(there);
	return same;
}

#define SAME_NAME_MAX 1000

int run_file_save(const struct run_file *r, const char *dir, char *out, size_t size,
		  struct errmsg *m)
{
	const struct scenario *s = &r->scenario;
	char *text = run_file_text(r);
	int err = ERR_EXISTS;
	for (unsigned i = 1; err == ERR_EXISTS && i < SAME_NAME_MAX; i++) {
		char number[16] = "";
		if (i > 1)
			snprintf(number, sizeof number, "-%u", i);
		int len = snprintf(out, size, "%s/%s-%s-n%u-s%llu%s%s" RUN_FILE_SUFFIX, dir,
				   s->name, protocol_name(s->protocol), s->nodes,
				   (unsigned long long)s->seed, r->live ? "-live" : "", number);
		if (len < 0 || (size_t)len >= size) {
			err = err_set(m, ERR_LIMIT, "the path in %s is too long", dir);
			break;
		}
		err = has_text(out, text) ? ERR_NONE : file_create(out, text, m);
	}
	mem_free(text);
	return err;
}

/* ---- reading ----------------------------------------------------------------------------- */

enum key {
	SCENARIO,
	VERSION,
	WORLD,
	PROTOCOL,
	NODES,
	SEED,
	MUTANT_KEY,
	TRACE,
	VERDICT,
	SAYS,
	BROKEN,
	DECISIONS,
	VIRTUAL,
	KEYS
};
static const char *const keys[KEYS] = {
	"scenario", "version", "world", "protocol", "nodes",	 "seed",      "mutant",
	"trace",    "verdict", "says",	"broken",   "decisions", "virtual-us"};
struct run_header {
	unsigned seen; /* bits of keys */
	enum protocol protocol;
	uint64_t nodes, seed;
	char broken[SCENARIO_EXPECT_MAX][SCENARIO_PHRASE_MAX];
	unsigned broken_count;
};

bool run_file_is(const char *text)
{
	return strncmp(text, MAGIC, strlen(MAGIC)) == 0;
}

/* A word of letters, digits and a few signs: it becomes part of file names and messages. */
static int read_word(struct words *w, char *out, size_t size)
{
	const char *word = words_next(w);
	if (!word || strlen(word) >= size)
		return words_fail(w, "a word of at most %zu letters is needed", size - 1);
	for (const char *p = word; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.+~", *p))
			return words_fail(w, "\"%s\" is not made of letters and digits", word);
	snprintf(out, size, "%s", word);
	return ERR_NONE;
}

static int read_rest(struct words *w, char *out, size_t size)
{
	const char *rest = w->save ? w->save + strspn(w->save, " ") : "";
	if (!*rest || strlen(rest) >= size)
		return words_fail(w, "a text of at most %zu bytes is needed", size - 1);
	snprintf(out, size, "%s", rest);
	w->save += strlen(w->save);
	return ERR_NONE;
}

static int read_value(struct run_file *r, struct run_header *h, struct words *w, enum key key)
{
	static const char *const worlds[] = {"sim", "live"};
	uint64_t v = 0;
	int which = 0, err;
	const char *word;
	switch (key) {
	case SCENARIO:
		return read_word(w, r->scenario.name, sizeof r->scenario.name);
	case VERSION:
		return read_word(w, r->version, sizeof r->version);
	case WORLD:
		err = words_choose(w, "world", words_next(w), worlds, 2, &which);
		r->live = which == 1;
		return err;
	case PROTOCOL:
		word = words_next(w);
		return word && protocol_by_name(&h->protocol, word)
			       ? ERR_NONE
			       : words_fail(w, "the name of a protocol is needed");
	case NODES:
		return words_number(w, words_next(w), 1, VALIDATORS_MAX, &h->nodes);
	case SEED:
		return words_number(w, words_next(w), 0, INT64_MAX, &h->seed);
	case MUTANT_KEY:
		err = words_number(w, words_next(w), 1, 10000, &v);
		r->mutant = (unsigned)v;
		return err;
	case TRACE:
		word = words_next(w);
		return word && hex_decode(r->trace.b, HASH_SIZE, word) == ERR_NONE
			       ? ERR_NONE
			       : words_fail(w, "a hash of %u hex digits is needed",
					    2 * HASH_SIZE);
	case VERDICT:
		err = words_choose(w, "verdict", words_next(w), verdicts, MEM_COUNT(verdicts),
				   &which);
		r->verdict = (enum sim_verdict)which;
		return err;
	case SAYS:
		return read_rest(w, r->says, sizeof r->says);
	case BROKEN:
		if (h->broken_count == SCENARIO_EXPECT_MAX)
			return words_fail(w, "more than %u expectations", SCENARIO_EXPECT_MAX);
		return read_rest(w, h->broken[h->broken_count++], SCENARIO_PHRASE_MAX);
	case DECISIONS:
		return words_number(w, words_next(w), 0, INT64_MAX, &r->decisions);
	case VIRTUAL:
		return words_number(w, words_next(w), 0, INT64_MAX, &r->virtual_us);
	case KEYS:
		break;
	}
	return ERR_NONE;
}

static int read_key(struct run_file *r, struct run_header *h, struct words *w, char *line)
{
	int which, err;
	char *word = strtok_r(line, " ", &w->save);
	err = words_choose(w, "key of run files", word, keys, KEYS, &which);
	if (err)
		return err;
	if (h->seen >> which & 1 && which != BROKEN)
		return words_fail(w, "\"%s\" for the second time", keys[which]);
	h->seen |= 1u << which;
	err = read_value(r, h, w, (enum key)which);
	return err ? err : words_end(w);
}

/* The header's lines, up to an empty one; then all of it, and the last line of the file, is
 * made blank: what is left reads as a scenario, with the line numbers of the file. */
static int read_header(struct run_file *r, struct run_header *h, struct words *w, char *text)
{
	char *at = text + strlen(MAGIC);
	w->line = 1;
	memset(text, ' ', strlen(MAGIC) - 1);
	for (;;) {
		char line[SIM_TEXT_MAX + 32];
		size_t len = strcspn(at, "\n");
		w->line++;
		if (!len || !at[len])
			break;
		if (len >= sizeof line)
			return words_fail(w, "the line is too long");
		memcpy(line, at, len);
		line[len] = 0;
		int err = read_key(r, h, w, line);
		if (err)
			return err;
		memset(at, ' ', len);
		at += len + 1;
	}
	for (unsigned k = 0; k < KEYS; k++) {
		bool optional =
			k == MUTANT_KEY || k == SAYS || k == BROKEN || (k == TRACE && r->live);
		if (!optional && !(h->seen >> k & 1))
			return words_fail(w, "\"%s\" is missing above", keys[k]);
	}
	return ERR_NONE;
}

/* Nothing but text, and the last line is the hash of what is above. */
static int check_whole(struct words *w, char *text)
{
	size_t len = strlen(text);
	char hex[HASH_HEX_SIZE], *end = text;
	for (const char *p = text; *p; p++) {
		w->line += p == text || p[-1] == '\n';
		if (iscntrl((unsigned char)*p) && *p != '\n' && *p != '\t')
			return words_fail(w, "a byte %u, which is no text", (uint8_t)*p);
	}
	for (char *p = text; (p = strstr(p, "\nend ")) != NULL; p++)
		end = p + 1;
	if (end == text || strlen(end) != 4 + 2 * HASH_SIZE + 1 || text[len - 1] != '\n')
		return words_fail(w,
				  "the last line is not \"end\" with a hash: something is cut "
				  "off or added");
	digest(hex, text, (size_t)(end - text));
	if (strncmp(end + 4, hex, 2 * HASH_SIZE) != 0)
		return words_fail(
			w, "the hash is not that of what is above: changed, or damaged (a "
			   "scenario file is what can be edited)");
	*end = 0;
	return ERR_NONE;
}

/* What header and scenario both say is the same, and what is broken is expected. */
static int check_agreement(struct run_file *r, const struct run_header *h, struct words *w)
{
	const struct scenario *s = &r->scenario;
	w->line = 1;
	if (h->nodes != s->nodes || h->protocol != s->protocol || !s->seeded ||
	    h->seed != s->seed)
		return words_fail(w, "nodes, protocol or seed are not those of the scenario");
	if (scenario_corrupt(s, s->nodes) > s->nodes)
		return words_fail(w, "more malicious replicas than nodes");
	for (unsigned b = 0; b < h->broken_count; b++) {
		unsigned i = 0;
		while (i < s->expect_count && strcmp(h->broken[b], s->expect[i].text) != 0)
			i++;
		if (i == s->expect_count)
			return words_fail(w, "\"%s\" is not expected by the scenario",
					  h->broken[b]);
		r->broken |= UINT64_C(1) << i;
	}
	return ERR_NONE;
}

int run_file_parse(struct run_file *out, const char *file, const char *text, struct errmsg *m)
{
	struct words w = {.file = file, .m = m};
	char *copy = mem_strdup(text), name[SCENARIO_NAME_MAX];
	struct run_header *h = mem_zalloc(sizeof *h);
	*out = (struct run_file){0};
	w.line = 1;
	int err = run_file_is(text) ? ERR_NONE : words_fail(&w, "this is no run file");
	w.line = 0;
	if (!err)
		err = check_whole(&w, copy);
	if (!err)
		err = read_header(out, h, &w, copy);
	snprintf(name, sizeof name, "%s", out->scenario.name);
	if (!err)
		err = scenario_parse(&out->scenario, file, copy, m);
	scenario_name(&out->scenario, file);
	snprintf(out->scenario.name, sizeof out->scenario.name, "%s", name);
	if (!err)
		err = check_agreement(out, h, &w);
	mem_free(h);
	mem_free(copy);
	return err;
}

int run_file_read(struct run_file *out, const char *path, struct errmsg *m)
{
	char *text;
	int err = scenario_load(&text, path, m);
	if (err)
		return err;
	err = run_file_parse(out, path, text, m);
	mem_free(text);
	return err;
}
