#include "tools/lab/grid.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/lab/live_run.h"
#include "tools/lab/pool.h"

struct grid_row *grid_add(struct grid *g, struct scenario *s, const struct sim_options *so,
			  const char *fault)
{
	if (g->count == GRID_ROWS_MAX)
		return NULL;
	if (g->count == g->cap) {
		g->cap = g->cap ? 2 * g->cap : 32;
		g->row = mem_realloc(g->row, g->cap * sizeof *g->row);
	}
	struct grid_row *row = &g->row[g->count++];
	memset(row, 0, sizeof *row);
	row->scenario = s;
	row->so = *so;
	row->so.script = &s->script;
	row->so.seed = g->seed;
	row->lone = GRID_NO_ROW;
	row->early = mem_array(g->seeds, sizeof *row->early);
	row->runs = json_array();
	snprintf(row->fault, sizeof row->fault, "%s", fault);
	return row;
}

void grid_free(struct grid *g)
{
	for (size_t i = 0; i < g->count; i++) {
		struct grid_row *row = &g->row[i];
		for (unsigned k = 0; k < g->seeds; k++)
			mem_free(row->early[k]);
		mem_free(row->early);
		mem_free(row->scenario);
		result_free(&row->total);
		json_free(row->runs);
		json_free(row->live);
	}
	mem_free(g->row);
}

/* ---- runs -------------------------------------------------------------------------------- */

static double seconds_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A task is a seed of a row; all rows' first seeds come first, so that who interrupts has
 * something of everything. */
static void work(void *ctx, size_t task, void *result)
{
	const struct grid *g = ctx;
	struct grid_record *x = result;
	struct sim_options so = g->row[task % g->count].so;
	double began = seconds_now();
	so.seed += task / g->count;
	so.measure = &x->m;
	sim_run(&so, &x->r);
	x->wall = seconds_now() - began;
}

static void add_one(struct grid_row *row, struct grid_record *x)
{
	struct sim_options so = row->so;
	so.seed += row->added++;
	so.measure = &x->m;
	result_add(&row->total, row->scenario, &so, &x->r, x->wall);
	struct lab_total *alone = mem_zalloc(sizeof *alone);
	result_add(alone, row->scenario, &so, &x->r, x->wall);
	json_append(row->runs, result_json(row->scenario, &so, alone));
	result_free(alone);
	mem_free(alone);
}

static void done(void *ctx, size_t task, const void *result)
{
	struct grid *g = ctx;
	struct grid_row *row = &g->row[task % g->count];
	row->early[task / g->count] = mem_dup(result, sizeof(struct grid_record));
	while (row->added < g->seeds && row->early[row->added]) {
		struct grid_record *x = row->early[row->added];
		row->early[row->added] = NULL;
		add_one(row, x);
		mem_free(x);
	}
}

int grid_run(struct grid *g)
{
	struct pool p = {.jobs = g->jobs,
			 .tasks = g->count * g->seeds,
			 .size = sizeof(struct grid_record),
			 .ctx = g,
			 .work = work,
			 .done = done,
			 .progress = g->progress,
			 .what = "runs"};
	enum pool_end end = pool_run(&p);
	if (end == POOL_INTERRUPTED)
		return LAB_EXIT_INTERRUPTED;
	if (end == POOL_DIED)
		fputs("a job died: not all runs are there\n", stderr);
	bool good = end == POOL_DONE;
	for (size_t i = 0; i < g->count; i++)
		good &= g->row[i].total.failed == 0;
	return good ? LAB_EXIT_OK : LAB_EXIT_FAILED;
}

/* ---- live -------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

static bool is_asked(const struct scenario *s, const char *expectation)
{
	for (unsigned i = 0; i < s->expect_count; i++)
		if (strcmp(s->expect[i].text, expectation) == 0)
			return true;
	return false;
}

/* A live run judges all that the scenario's file expects; here only what its protocol can be
 * asked for counts. */
static bool judge(struct json *x, const struct scenario *s)
{
	struct json *asked = json_array();
	const struct json *all = json_get(x, "expectations");
	bool good = json_get(x, "violation") == NULL;
	for (size_t i = 0; i < json_len(all); i++) {
		const char *text = "";
		bool holds = false;
		json_as_string(json_get(json_at(all, i), "expect"), &text);
		json_as_bool(json_get(json_at(all, i), "holds"), &holds);
		if (!is_asked(s, text))
			continue;
		struct json *o = json_object();
		json_set(o, "expect", json_string(text));
		json_set(o, "holds", json_bool(holds));
		json_append(asked, o);
		good &= holds;
	}
	json_set(x, "expectations", asked);
	json_set(x, "passed", json_bool(good));
	return good;
}

static struct json *copy_of(const struct json *v)
{
	struct json *copy = NULL;
	char *text = json_dump(v, false);
	if (json_parse(&copy, slice_str(text), NULL))
		copy = json_null();
	mem_free(text);
	return copy;
}

static int run_live(struct grid *g, struct grid_row *row)
{
	struct errmsg m;
	struct lab_options o = {.name = scenario_argument(row->scenario),
				.protocol = row->so.protocol,
				.nodes = row->so.nodes,
				.seed = g->seed + row->added,
				.runs = 1,
				.seconds = g->seconds,
				.format = LAB_JSON};
	struct json *x = lab_live_run(&o, &m);
	if (interrupted || live_interrupted()) {
		json_free(x);
		return LAB_EXIT_INTERRUPTED;
	}
	if (!x) {
		fprintf(stderr, "ostrakon-lab: %s\n", m.text);
		return LAB_EXIT_UNREACHABLE;
	}
	bool good = judge(x, row->scenario);
	if (row->added++ == 0)
		row->live = copy_of(x);
	else if (!good)
		json_set(row->live, "passed", json_bool(false));
	json_append(row->runs, x);
	return good ? LAB_EXIT_OK : LAB_EXIT_FAILED;
}

int grid_run_live(struct grid *g)
{
	struct sigaction now = {.sa_handler = on_interrupt}, was;
	size_t runs = g->count * g->seeds;
	double began = seconds_now();
	int worst = LAB_EXIT_OK;
	sigaction(SIGINT, &now, &was);
	for (size_t i = 0; i < runs && worst != LAB_EXIT_INTERRUPTED; i++) {
		int code = run_live(g, &g->row[i % g->count]);
		double took = seconds_now() - began;
		if (code > worst)
			worst = code;
		if (isatty(2) || g->progress)
			fprintf(stderr, "%zu of %zu networks, %.1f s each, %.0f s left\n",
				i + 1, runs, took / (double)(i + 1),
				took / (double)(i + 1) * (double)(runs - i - 1));
	}
	sigaction(SIGINT, &was, NULL);
	return worst;
}

/* ---- rows -------------------------------------------------------------------------------- */

/* Counts are sums over the seeds, and what is per decision is a share of these sums; of times,
 * rates and shares of time the median is shown. */
static const struct {
	const char *path; /* member, or object.member */
	bool pooled;	  /* its value stays, only its spread is shown */
} fields[] = {
	{"messages_per_decision", true},
	{"lone_messages_per_decision", true},
	{"bytes_per_decision", true},
	{"authenticators_per_decision", true},
	{"throughput_per_s", false},
	{"decisions_per_s", false},
	{"availability", false},
	{"failover_ms", false},
	{"progress_after_healing_ms", false},
	{"proof_to_pbft_commit_ms", false},
	{"conviction_to_fast_ms", false},
	{"liveness.longest_gap_ms", false},
	{"consensus_time_ms.p50", false},
	{"consensus_time_ms.p95", false},
	{"consensus_time_ms.p99", false},
	{"consensus_time_ms.max", false},
	{"consensus_time_leader_ms.p50", false},
	{"consensus_time_leader_ms.p95", false},
	{"consensus_time_leader_ms.p99", false},
	{"consensus_time_leader_ms.max", false},
	{"consensus_time_all_ms.p50", false},
	{"consensus_time_all_ms.p95", false},
	{"consensus_time_all_ms.p99", false},
	{"consensus_time_all_ms.max", false},
	{"client_ms.p50", false},
	{"client_ms.p95", false},
	{"client_ms.p99", false},
	{"client_ms.max", false},
	{"failover.detection_ms", false},
	{"failover.election_ms", false},
	{"failover.first_commit_ms", false},
	{"failover.backlog_ms", false},
	{"failover.total_ms", false},
	{"failover.messages", false},
};

/* The object that holds the field, and the field's own name. */
static struct json *holder(const struct json *row, const char *path, const char **name)
{
	const char *dot = strchr(path, '.');
	char first[64];
	*name = dot ? dot + 1 : path;
	if (!dot)
		return (struct json *)row;
	snprintf(first, sizeof first, "%.*s", (int)(dot - path), path);
	return json_get(row, first);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* Those runs in which it happened. */
static size_t collect(const struct json *runs, const char *path, double *out)
{
	size_t n = 0;
	for (size_t i = 0; i < json_len(runs); i++) {
		const char *name;
		struct json *in = holder(json_at(runs, i), path, &name);
		n += json_as_real(json_get(in, name), &out[n]) == ERR_NONE;
	}
	qsort(out, n, sizeof *out, by_size);
	return n;
}

static void set_medians(struct json *row, const struct json *runs)
{
	struct json *spread = json_object();
	double *v = mem_array(json_len(runs), sizeof *v);
	for (size_t f = 0; f < MEM_COUNT(fields); f++) {
		const char *name;
		size_t n = collect(runs, fields[f].path, v);
		struct json *in = holder(row, fields[f].path, &name), *x = json_object();
		if (!n || !in) {
			json_free(x);
			continue;
		}
		double median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
		if (!fields[f].pooled)
			json_set(in, name, json_real(median));
		json_set(x, "min", json_real(v[0]));
		json_set(x, "max", json_real(v[n - 1]));
		json_set(x, "runs", json_u64(n));
		json_set(spread, fields[f].path, x);
	}
	mem_free(v);
	json_set(row, "spread", spread);
}

static struct json *vary_json(const struct grid_row *row)
{
	struct json *o = json_object();
	json_set(o, "protocol", json_string(protocol_name(row->so.protocol)));
	json_set(o, "nodes", json_int(row->so.nodes));
	json_set(o, "fault", json_string(row->fault));
	json_set(o, "seeds", json_int(row->added));
	if (row->varied & GRID_LOSS)
		json_set(o, "loss_percent", json_real((double)row->so.loss_per_mille / 10));
	if (row->varied & GRID_DELAY) {
		struct json *delay = json_array();
		json_append(delay, json_real((double)row->so.delay_min_us / 1000));
		json_append(delay, json_real((double)row->so.delay_max_us / 1000));
		json_set(o, "delay_ms", delay);
	}
	if (row->varied & GRID_CLIENTS)
		json_set(o, "clients", json_int(row->so.clients));
	return o;
}

static struct json *lone_json(struct grid_row *row)
{
	static const char *const copied[] = {"decisions",      "consensus_time_ms",
					     "client_ms",      "bytes_per_decision",
					     "authenticators", "passed"};
	struct json *x = result_json(row->scenario, &row->so, &row->total), *o = json_object();
	double count = 0, theory = 0;
	if (json_len(row->runs) > 1)
		set_medians(x, row->runs);
	json_as_real(json_get(x, "lone_messages_per_decision"), &count);
	json_as_real(json_get(json_get(x, "theory"), "lone"), &theory);
	json_set(o, "messages_per_decision", json_real(count));
	json_set(o, "theory_messages_per_decision", json_real(theory));
	for (size_t i = 0; i < MEM_COUNT(copied); i++) {
		json_set(o, copied[i], copy_of(json_get(x, copied[i])));
	}
	json_free(x);
	return o;
}

struct json *grid_json(struct grid *g)
{
	struct json *rows = json_array();
	for (size_t i = 0; i < g->count; i++) {
		struct grid_row *row = &g->row[i];
		struct json *x;
		if (row->hidden || (!row->added && !row->live))
			continue;
		if (row->live) {
			x = row->live;
			row->live = NULL;
		} else {
			x = result_json(row->scenario, &row->so, &row->total);
		}
		if (row->added > 1)
			set_medians(x, row->runs);
		json_set(x, "vary", vary_json(row));
		json_set(x, "repeat", json_string(row->repeat));
		if (row->lone != GRID_NO_ROW && g->row[row->lone].added)
			json_set(x, "lone", lone_json(&g->row[row->lone]));
		json_append(rows, x);
	}
	return rows;
}
