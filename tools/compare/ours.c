#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tools/compare/compare.h"

static pid_t pids[NODES_MAX];
static unsigned count;

static void home(const struct settings *s, char out[600])
{
	snprintf(out, 600, "%s/ostrakon", s->dir);
}

static int run(const char *const argv[], struct json **doc)
{
	char *text = NULL;
	int rc = child_run(argv, &text);

	*doc = NULL;
	if (rc >= 0 && json_parse(doc, slice_str(text), NULL) != ERR_NONE)
		*doc = NULL;
	mem_free(text);
	return rc;
}

bool ours_start(const struct settings *s)
{
	char dir[600], nodes[16];
	struct json *doc;
	const struct json *list;
	uint64_t pid;

	home(s, dir);
	remove_tree(dir);
	snprintf(nodes, sizeof nodes, "%u", s->nodes);
	const char *const init[] = {s->ostrakon, "net", "init", dir, "--nodes",
				    nodes,	 "-o",	"json", NULL};
	const char *const up[] = {s->ostrakon, "net", "up", dir, "-o", "json", NULL};
	int rc = run(init, &doc);
	json_free(doc);
	if (rc != 0)
		return false;
	rc = run(up, &doc);
	list = json_get(doc, "nodes");
	count = 0;
	for (size_t i = 0; list != NULL && i < json_len(list) && count < NODES_MAX; i++)
		if (json_read_u64(json_at(list, i), "pid", &pid) == ERR_NONE)
			pids[count++] = (pid_t)pid;
	json_free(doc);
	return rc == 0 && count == s->nodes;
}

static double real_of(const struct json *o, const char *key)
{
	double v = 0;

	json_as_real(json_get(o, key), &v);
	return v;
}

void ours_measure(const struct settings *s, unsigned clients, double rate, struct sample *out)
{
	char dir[600], text[6][16];
	struct json *doc;
	struct meter m;

	*out = (struct sample){0};
	home(s, dir);
	snprintf(text[0], 16, "%u", clients);
	snprintf(text[1], 16, "%u", s->connections < clients ? s->connections : clients);
	snprintf(text[2], 16, "%u", s->value_size);
	snprintf(text[3], 16, "%u", s->seconds);
	snprintf(text[4], 16, "%us", s->warmup_s);
	snprintf(text[5], 16, "%.0f", rate);
	const char *const argv[] = {s->ostrakon,
				    "bench",
				    "run",
				    "--home",
				    dir,
				    "--clients",
				    text[0],
				    "--connections",
				    text[1],
				    "--value-size",
				    text[2],
				    "--seconds",
				    text[3],
				    "--warmup",
				    text[4],
				    "-o",
				    "json",
				    "--leader",
				    rate > 0 ? "--rate" : NULL,
				    text[5],
				    NULL};
	meter_start(&m, pids, count);
	int rc = run(argv, &doc);
	if (rc < 0 || doc == NULL) {
		json_free(doc);
		return;
	}
	const struct json *latency = json_get(doc, "latency_ms");
	double found = real_of(doc, "acknowledged_found"),
	       lost = real_of(doc, "acknowledged_missing") +
		      real_of(doc, "acknowledged_unchecked");
	meter_stop(&m, real_of(doc, "loader_cpu_s"), found + lost, out);
	out->tx_per_s = real_of(doc, "tx_per_s");
	out->p50 = real_of(latency, "p50");
	out->p90 = real_of(latency, "p90");
	out->p99 = real_of(latency, "p99");
	out->p999 = real_of(latency, "p999");
	out->max = real_of(latency, "max");
	out->errors =
		real_of(doc, "refused") + real_of(doc, "unknown") + real_of(doc, "unverified");
	out->blocks = real_of(doc, "blocks");
	out->found = found + lost > 0 ? found / (found + lost) : 0;
	out->valid = out->tx_per_s > 0;
	json_free(doc);
}

void ours_stop(const struct settings *s)
{
	char dir[600];
	struct json *doc;

	home(s, dir);
	const char *const down[] = {s->ostrakon, "net", "down", dir, "-o", "json", NULL};
	run(down, &doc);
	json_free(doc);
	remove_tree(dir);
}
