/* The network of a live run: homes whose links go through the relay, and what the script and
 * the scenario want of it at the moment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/live.h"

#define CONFIG_BYTES_MAX (64u << 10)
#define LOSS_MOST	 999 /* per mille; what is always lost is a cut */

static char *read_config(const struct live *w, unsigned i, char path[640])
{
	snprintf(path, 640, "%s/node%u/ostrakond.conf", w->dir, i + 1);
	FILE *f = fopen(path, "r");
	if (!f)
		return NULL;
	char *text = mem_zalloc(CONFIG_BYTES_MAX);
	size_t len = fread(text, 1, CONFIG_BYTES_MAX - 1, f);
	text[len] = 0;
	fclose(f);
	return text;
}

/* "nodeK = 127.0.0.1:PORT" */
static bool is_peer(const char *line, unsigned *k, unsigned *port)
{
	return sscanf(line, "node%u = 127.0.0.1:%u", k, port) == 2 && *k >= 1 && *port < 65536;
}

/* A link has one dialer, the lower index; only its address of the other matters. */
static bool rewrite(struct live *w, unsigned i, struct errmsg *m)
{
	char path[640];
	char *text = read_config(w, i, path);
	FILE *f = text ? fopen(path, "w") : NULL;
	bool good = f != NULL;
	w->config[i] = text ? mem_strdup(text) : NULL;
	char *save = text;
	for (char *line; good && (line = strsep(&save, "\n")) != NULL;) {
		unsigned k, target;
		uint16_t port = 0;
		if (!save && !*line)
			break;
		if (!is_peer(line, &k, &target) || k - 1 <= i || k > w->n) {
			fprintf(f, "%s\n", line);
			continue;
		}
		good = relay_link(w->relay, i, k - 1, (uint16_t)target, &port, m) == ERR_NONE;
		if (good)
			fprintf(f, "node%u = 127.0.0.1:%u\n", k, port);
	}
	if (f && fclose(f) != 0)
		good = false;
	mem_free(text);
	return good;
}

bool live_net_begin(struct live *w, struct errmsg *m)
{
	if (w->o->direct)
		return true;
	if (relay_open(&w->relay, w->o->seed, m))
		return false;
	for (unsigned i = 0; i < w->n; i++)
		if (!rewrite(w, i, m)) {
			err_set(m, ERR_IO, "the configuration of node%u cannot be rewritten",
				i + 1);
			return false;
		}
	live_net_apply(w);
	return true;
}

/* What one of the script's actions adds to the way from one node to another. */
static void add(struct relay_way *way, const struct live *w, unsigned i, unsigned from,
		unsigned to)
{
	const struct script_action *a = &w->s->script.action[i];
	bool one_of_them = (w->mask[i] >> from | w->mask[i] >> to) & 1;
	switch (a->kind) {
	case SCRIPT_PARTITION:
	case SCRIPT_ISOLATE:
	case SCRIPT_DEAFEN:
	case SCRIPT_MUTE:
		way->cut |= script_cuts(a, w->n, w->mask[i], from, to);
		break;
	case SCRIPT_DELAY:
		way->delay_min_us = a->low;
		way->delay_max_us = a->high;
		break;
	case SCRIPT_SLOW:
		way->delay_min_us += one_of_them ? a->low : 0;
		way->delay_max_us += one_of_them ? a->high : 0;
		break;
	case SCRIPT_THROTTLE:
		if (one_of_them && (!way->bytes_per_s || a->low < way->bytes_per_s))
			way->bytes_per_s = a->low;
		break;
	case SCRIPT_LOSS:
		way->loss_per_mille = (uint32_t)a->low;
		break;
	default:
		break;
	}
}

static void way_of(const struct live *w, unsigned from, unsigned to, struct relay_way *way)
{
	*way = (struct relay_way){.delay_min_us = w->s->delay_min_us,
				  .delay_max_us = w->s->delay_max_us};
	if (w->healed_at_us)
		return;
	way->loss_per_mille = w->s->loss_per_mille;
	for (unsigned i = 0; i < w->s->script.count; i++)
		if (w->fired[i] && !w->undone[i])
			add(way, w, i, from, to);
	storm_add(w, way, from, to);
	if (way->loss_per_mille > LOSS_MOST)
		way->loss_per_mille = LOSS_MOST;
}

void live_net_apply(struct live *w)
{
	for (unsigned from = 0; w->relay && from < w->n; from++)
		for (unsigned to = 0; to < w->n; to++) {
			struct relay_way way;
			if (from == to)
				continue;
			way_of(w, from, to, &way);
			relay_set(w->relay, from, to, &way);
		}
}

void live_net_heal(struct live *w)
{
	for (unsigned i = 0; i < w->s->script.count; i++) {
		enum script_kind kind = w->s->script.action[i].kind;
		if (kind == SCRIPT_PARTITION || kind == SCRIPT_ISOLATE ||
		    kind == SCRIPT_DEAFEN || kind == SCRIPT_MUTE)
			w->undone[i] |= w->fired[i];
	}
}

void live_net_reset(struct live *w, uint64_t mask)
{
	for (unsigned a = 0; a < w->n; a++)
		for (unsigned b = a + 1; b < w->n; b++)
			if ((mask >> a | mask >> b) & 1)
				relay_reset(w->relay, a, b);
}

/* The home's configuration as `net init` made it; false: it is not. */
static bool restore(struct live *w, unsigned i)
{
	char path[640];
	snprintf(path, sizeof path, "%s/node%u/ostrakond.conf", w->dir, i + 1);
	FILE *f = fopen(path, "w");
	bool good = f && fputs(w->config[i], f) >= 0;
	return f && fclose(f) == 0 && good;
}

bool live_net_end(struct live *w, bool keep)
{
	bool good = true;
	relay_close(w->relay); /* NULL if the run was direct */
	w->relay = NULL;
	for (unsigned i = 0; i < w->n; i++) {
		if (keep && w->config[i])
			good &= restore(w, i);
		mem_free(w->config[i]);
		w->config[i] = NULL;
	}
	return good;
}

/* ---- clocks and disks -------------------------------------------------------------------- */

void live_node_faults(struct live *w, unsigned i)
{
	long long clock_ms = 0, sync_us = 0;
	char path[640], fresh[660];
	for (unsigned k = 0; k < w->s->script.count && !w->healed_at_us; k++) {
		const struct script_action *a = &w->s->script.action[k];
		if (!w->fired[k] || w->undone[k] || !(w->mask[k] >> i & 1))
			continue;
		if (a->kind == SCRIPT_SKEW)
			clock_ms = (long long)(a->low / 1000) - (long long)(a->high / 1000);
		if (a->kind == SCRIPT_SLOW_DISK)
			sync_us = (long long)a->low;
	}
	snprintf(path, sizeof path, "%s/node%u/" LIVE_FAULTS_FILE, w->dir, i + 1);
	snprintf(fresh, sizeof fresh, "%s.new", path);
	FILE *f = fopen(fresh, "w");
	if (!f)
		return;
	fprintf(f, "clock_ms %lld\nsync_us %lld\n", clock_ms, sync_us);
	if (fclose(f) == 0)
		rename(fresh, path);
}
