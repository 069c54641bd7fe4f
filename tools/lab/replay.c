/* Runs as files: writing them, and running them again. */
#include "tools/lab/replay.h"

#include <config.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "tools/lab/result.h"
#include "tools/lab/shell.h"

bool lab_may_save(const struct lab_options *o)
{
	if (!o->save || access(o->save, F_OK) != 0)
		return true;
	fprintf(stderr, "ostrakon-lab: %s exists, and is not overwritten\n", o->save);
	return false;
}

bool lab_save(const struct lab_options *o, const struct scenario *s,
	      const struct sim_options *so, const struct sim_result *r, bool failed)
{
	struct run_file *run = mem_alloc(sizeof *run);
	struct errmsg m;
	char path[1024], seconds[LAB_SECONDS_TEXT];
	int err;
	run_file_of(run, s, so, r);
	if (o->idle) /* no load, whatever the scenario says */
		run->scenario.clients = 0;
	if (o->save) {
		char *text = run_file_text(run);
		snprintf(path, sizeof path, "%s", o->save);
		err = file_create(o->save, text, &m);
		mem_free(text);
	} else {
		err = run_file_save(run, o->save_dir ? o->save_dir : ".", path, sizeof path,
				    &m);
	}
	mem_free(run);
	char *word = shell_word(path);
	if (err)
		fprintf(stderr, "ostrakon-lab: this run is not written: %s\n", m.text);
	else
		fprintf(stderr, "%s: %s; again: ostrakon-lab replay %s%s%s\n",
			failed ? "failed run" : "run", path, word,
			/* what the file does not hold */
			lab_seconds_text(seconds, so->live ? o->seconds : LAB_SECONDS),
			so->live && o->direct ? " --direct" : "");
	mem_free(word);
	return !err;
}

bool run_file_plant(const struct run_file *r, struct errmsg *m)
{
#ifdef ENABLE_MUTANTS
	if (r->mutant)
		mutant_selected = (int)r->mutant;
	(void)m;
	return true;
#else
	if (r->mutant)
		err_set(m, ERR_UNSUPPORTED,
			"the run had planted bug %u, and this program has none: it is built "
			"with "
			"--enable-mutants",
			r->mutant);
	return !r->mutant;
#endif
}

/* ---- replay ------------------------------------------------------------------------------ */

#define WHY_MAX 700

static bool same_version(const struct run_file *r)
{
	return strcmp(r->version, PACKAGE_VERSION) == 0;
}

/* out: "" if the second run is the first one over again. */
static void compare(char out[WHY_MAX], const struct run_file *was, const struct run_file *is)
{
	bool trace = hash_equal(&was->trace, &is->trace);
	bool verdict = was->verdict == is->verdict && was->broken == is->broken &&
		       strcmp(was->says, is->says) == 0;
	out[0] = 0;
	if (trace && verdict)
		return;
	const char *what = !verdict ? !trace ? "messages and verdict differ"
					     : "the verdict differs, of the same messages"
				    : "the messages differ; the verdict is the same";
	if (same_version(was))
		snprintf(out, WHY_MAX,
			 "%s: the program has changed since, though its version has not, or a "
			 "run is not decided by its seed alone, which would be a bug",
			 what);
	else
		snprintf(out, WHY_MAX, "%s: the run is of version %s, this is %s", what,
			 was->version, PACKAGE_VERSION);
}

static struct json *broken_json(const struct run_file *r)
{
	struct json *a = json_array();
	for (unsigned i = 0; i < r->scenario.expect_count; i++)
		if (r->broken >> i & 1)
			json_append(a, json_string(r->scenario.expect[i].text));
	return a;
}

static struct json *outcome_json(const struct run_file *r)
{
	struct json *o = json_object();
	char hex[HASH_HEX_SIZE];
	json_set(o, "version", json_string(r->version));
	json_set(o, "trace_hash", json_string(hash_hex(hex, &r->trace)));
	json_set(o, "verdict", json_string(verdict_name(r->verdict)));
	json_set(o, "violation", r->says[0] ? json_string(r->says) : json_null());
	json_set(o, "broken", broken_json(r));
	json_set(o, "decisions", json_u64(r->decisions));
	json_set(o, "virtual_s", json_real((double)r->virtual_us / 1e6));
	return o;
}

/* For people: a run in which nothing was violated, but not all came as expected, has failed. */
static const char *outcome_name(const struct run_file *r)
{
	return r->verdict == SIM_OK && r->broken ? "failed" : verdict_name(r->verdict);
}

static void print_outcome(const char *title, const struct run_file *r)
{
	char hex[HASH_HEX_SIZE];
	printf("  %s: version %s, %llu blocks in %.3f virtual s, verdict %s, trace %s\n", title,
	       r->version, (unsigned long long)r->decisions, (double)r->virtual_us / 1e6,
	       outcome_name(r), hash_hex(hex, &r->trace));
	if (r->says[0])
		printf("    %s\n", r->says);
	for (unsigned i = 0; i < r->scenario.expect_count; i++)
		if (r->broken >> i & 1)
			printf("    expected %s: NO\n", r->scenario.expect[i].text);
}

static void report(const struct lab_options *o, const struct run_file *was,
		   const struct run_file *is, const char *why)
{
	const struct scenario *s = &was->scenario;
	if (o->format == LAB_TABLE) {
		printf("%s, %s, n=%u, seed %llu: %s\n", s->name, protocol_name(s->protocol),
		       s->nodes, (unsigned long long)s->seed,
		       *why ? "NOT the same run" : "the same run");
		print_outcome("then", was);
		print_outcome("now ", is);
		if (*why)
			printf("  %s\n", why);
		return;
	}
	struct json *x = json_object();
	json_set(x, "file", json_string(o->name));
	json_set(x, "scenario", json_string(s->name));
	json_set(x, "protocol", json_string(protocol_name(s->protocol)));
	json_set(x, "nodes", json_int(s->nodes));
	json_set(x, "seed", json_u64(s->seed));
	json_set(x, "live", json_bool(false));
	json_set(x, "same", json_bool(!*why));
	json_set(x, "why", *why ? json_string(why) : json_null());
	json_set(x, "then", outcome_json(was));
	json_set(x, "now", outcome_json(is));
	lab_print(x, o->format);
	json_free(x);
}

static int replay_sim(const struct lab_options *o, const struct run_file *was)
{
	struct run_file *is = mem_alloc(sizeof *is);
	struct sim_result *r = mem_alloc(sizeof *r);
	struct sim_options so;
	char why[WHY_MAX];
	scenario_options(&so, &was->scenario, was->scenario.protocol, was->scenario.nodes,
			 was->scenario.seed);
	so.measure = mem_zalloc(sizeof *so.measure);
	so.trace = o->trace;
	sim_run(&so, r);
	run_file_of(is, &was->scenario, &so, r);
	compare(why, was, is);
	report(o, was, is, why);
	mem_free(so.measure);
	mem_free(r);
	mem_free(is);
	return *why ? LAB_EXIT_FAILED : LAB_EXIT_OK;
}

/* The scenario again; its expectations are what can be compared. The name is that of a file,
 * whatever it looks like: without a slash a scenario of the library would be looked for. */
static int replay_live(const struct lab_options *o, const struct run_file *was)
{
	struct lab_options again = *o;
	char *path = strchr(o->name, '/') ? NULL : mem_printf("./%s", o->name);
	if (path)
		again.name = path;
	again.nodes = was->scenario.nodes;
	again.protocol = was->scenario.protocol;
	fprintf(stderr,
		"a live run: time and chance are not in the file, and no two are the same. "
		"Then %s;"
		" the scenario runs once more\n",
		was->broken ? "an expectation was broken" : "every expectation held");
	int code = lab_live(&again);
	mem_free(path);
	return code;
}

int lab_replay(const struct lab_options *o)
{
	struct run_file *was = mem_alloc(sizeof *was);
	struct errmsg m;
	int code;
	if (run_file_read(was, o->name, &m) || !run_file_plant(was, &m)) {
		fprintf(stderr, "ostrakon-lab: %s\n", m.text);
		code = LAB_EXIT_CONFIG;
	} else {
		if (!same_version(was))
			fprintf(stderr, "the run is of version %s, this is %s\n", was->version,
				PACKAGE_VERSION);
		code = was->live ? replay_live(o, was) : replay_sim(o, was);
	}
	mem_free(was);
	return code;
}
