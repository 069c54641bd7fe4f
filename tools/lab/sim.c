/* Scenarios in the simulator. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/lab/lab.h"
#include "tools/lab/result.h"

struct json *lab_describe(const struct scenario *s)
{
	struct json *o = json_object(), *attacks = json_array(), *expect = json_array();
	struct errmsg m;
	json_set(o, "name", json_string(s->name));
	json_set(o, "summary", json_string(s->summary));
	json_set(o, "description", json_string(s->text));
	json_set(o, "file", json_string(s->path));
	json_set(o, "nodes", json_int(s->nodes));
	json_set(o, "corrupt", json_int(scenario_corrupt(s, s->nodes)));
	json_set(o, "live", json_bool(scenario_is_live(s, &m)));
	for (unsigned a = 0; a < ATTACKS; a++)
		if (s->attacks >> a & 1)
			json_append(attacks, json_string(attack_name((enum attack)a)));
	for (unsigned i = 0; i < s->expect_count; i++)
		json_append(expect, json_string(s->expect[i].text));
	json_set(o, "attacks", attacks);
	json_set(o, "actions", json_int(s->script.count));
	json_set(o, "expect", expect);
	return o;
}

void lab_print(const struct json *v, enum lab_format format)
{
	if (format == LAB_JSONL && json_is_array(v)) {
		for (size_t i = 0; i < json_len(v); i++) {
			char *text = json_dump(json_at(v, i), false);
			printf("%s\n", text);
			mem_free(text);
		}
		return;
	}
	char *text = json_dump(v, format == LAB_JSON);
	printf("%s\n", text);
	mem_free(text);
}

void lab_sim_options(struct sim_options *so, const struct scenario *s,
		     const struct lab_options *o)
{
	scenario_options(so, s, o->protocol ? o->protocol : s->protocol,
			 o->nodes ? o->nodes : s->nodes,
			 o->seeded || !s->seeded ? o->seed : s->seed);
	so->trace = o->trace;
}

static double seconds_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

static void show_progress(const struct lab_options *o, const struct lab_total *t)
{
	bool terminal = isatty(2), last = t->runs == o->runs || interrupted;
	if (o->runs == 1 || (!terminal && !o->progress))
		return;
	double rate = t->wall > 0 ? t->runs / t->wall : 0;
	fprintf(stderr, "%s%u of %u runs, %.1f/s, %.0f s left, %u failed   %s",
		terminal ? "\r" : "", t->runs, o->runs, rate,
		rate > 0 ? (o->runs - t->runs) / rate : 0.0, t->bad_runs,
		terminal && !last ? "" : "\n");
}

/* An interrupt ends it after the run that is under way. The first run that fails is saved, or,
 * if that is asked for, the last. */
static void run_all(const struct lab_options *o, const struct scenario *s,
		    const struct sim_options *first, struct lab_total *t)
{
	struct sim_options so = *first;
	struct sim_result *r = mem_zalloc(sizeof *r);
	struct sigaction now = {.sa_handler = on_interrupt}, was;
	double shown = 0;
	bool saved = false;
	so.measure = mem_zalloc(sizeof *so.measure);
	sigaction(SIGINT, &now, &was);
	for (unsigned i = 0; i < o->runs && !interrupted; i++) {
		double begin = seconds_now();
		unsigned bad = t->bad_runs;
		so.seed = first->seed + i;
		sim_run(&so, r);
		result_add(t, s, &so, r, seconds_now() - begin);
		bool last = i + 1 == o->runs || interrupted, failed = t->bad_runs > bad;
		if (isatty(2) || last || t->wall > shown + 10) {
			shown = t->wall;
			show_progress(o, t);
		}
		if (!saved && (failed || (o->save && last)))
			saved = lab_save(o, s, &so, r, failed);
	}
	sigaction(SIGINT, &was, NULL);
	mem_free(so.measure);
	mem_free(r);
}

static int run_and_print(const struct lab_options *o, const struct scenario *s,
			 const struct sim_options *so)
{
	struct lab_total *t = mem_zalloc(sizeof *t);
	run_all(o, s, so, t);
	if (!t->runs) {
		/* interrupted before anything was done */
	} else if (o->format == LAB_TABLE) {
		result_print(s, so, t);
	} else {
		struct json *x = result_json(s, so, t);
		lab_print(x, o->format);
		json_free(x);
	}
	int code = interrupted ? LAB_EXIT_INTERRUPTED
		   : t->failed ? LAB_EXIT_FAILED
			       : LAB_EXIT_OK;
	result_free(t);
	mem_free(t);
	return code;
}

int lab_sim(const struct lab_options *o)
{
	struct scenario *s = mem_zalloc(sizeof *s);
	struct sim_options so;
	struct errmsg m;
	int code = LAB_EXIT_USAGE;
	if (scenario_read(s, o->name, &m)) {
		fprintf(stderr, "ostrakon-lab: %s\n", m.text);
		mem_free(s);
		return LAB_EXIT_CONFIG;
	}
	lab_sim_options(&so, s, o);
	if (so.corrupt > so.nodes || so.dead >= so.nodes)
		fprintf(stderr, "ostrakon-lab: %u malicious, %u silent of %u nodes\n",
			so.corrupt, so.dead, so.nodes);
	else if (lab_may_save(o))
		code = run_and_print(o, s, &so);
	mem_free(s);
	return code;
}
