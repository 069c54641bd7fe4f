/* Clients of a live run: `ostrakon put --from`, whose every certificate the CLI verifies. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/keyfile.h"
#include "tools/lab/live.h"

static void value_of(char out[96], const char *key)
{
	snprintf(out, 96, "value-of-%.64s", key);
}

/* Keys and values of what was acknowledged, for reading them again. */
static void acknowledge(struct live *w, const char *key)
{
	char path[600], value[96];
	snprintf(path, sizeof path, "%s/acknowledged", w->dir);
	value_of(value, key);
	FILE *f = fopen(path, "a");
	if (!f)
		return;
	fprintf(f, "%s %s\n", key, value);
	fclose(f);
	w->acknowledged++;
}

static void keep_latency(struct live *w, const struct json *doc)
{
	double ms;
	if (!w->windowed || json_as_real(json_get(doc, "latency_ms"), &ms) || !(ms >= 0))
		return;
	if (w->latencies == w->latency_cap) {
		w->latency_cap = 2 * w->latency_cap + 256;
		w->latency = mem_realloc(w->latency, w->latency_cap * sizeof *w->latency);
	}
	w->latency[w->latencies++] = (uint64_t)(ms * 1000);
}

static void on_line(struct live *w, struct child *c, char *line)
{
	struct json *doc;
	const char *status = "", *key = NULL;
	if (json_parse(&doc, slice_str(line), NULL))
		return;
	w->client[c->who].heard_at = live_us(w);
	json_read_string(doc, "status", &status);
	if (strcmp(status, "committed") == 0 &&
	    json_read_string(doc, "key", &key) == ERR_NONE) {
		acknowledge(w, key);
		keep_latency(w, doc);
	}
	json_free(doc);
}

static void key_path(const struct live *w, unsigned client, char path[640])
{
	snprintf(path, 640, "%s/client-%u.key", w->dir, client);
}

bool live_keys(struct live *w, struct errmsg *m)
{
	char path[640];
	for (unsigned i = 0; i < LIVE_CLIENTS_MAX; i++) {
		struct keypair key;
		keypair_generate(&key);
		key_path(w, i, path);
		if (keyfile_write(path, &key, "lab", NULL, m))
			return false;
	}
	return true;
}

/* A correct node that runs, another one each time; not one that somebody waits for in vain. */
static unsigned node_for(const struct live *w, uint64_t turn)
{
	uint64_t now = live_us(w);
	for (unsigned tries = 0; tries < w->n; tries++) {
		unsigned i = (unsigned)((turn + tries) % w->n);
		if (w->node[i] && !((w->malicious | w->paused) >> i & 1) &&
		    now >= w->avoid_until[i])
			return i;
	}
	for (unsigned tries = 0; tries < w->n; tries++) {
		unsigned i = (unsigned)((turn + tries) % w->n);
		if (w->node[i] && !((w->malicious | w->paused) >> i & 1))
			return i;
	}
	return 0;
}

void live_put(struct live *w, unsigned client, unsigned count)
{
	struct live_client *c = &w->client[client];
	char path[600], own[640], key[64], value[96];
	if (c->put.pid > 0 && !c->put.ended)
		return;
	child_end(&c->put);
	snprintf(path, sizeof path, "%s/batch-%u", w->dir, client);
	FILE *f = fopen(path, "w");
	if (!f)
		return;
	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof key, "lab-%u-%llu", client, (unsigned long long)c->sent++);
		value_of(value, key);
		fprintf(f, "%s %s\n", key, value);
	}
	fclose(f);
	unsigned node = node_for(w, client + c->sent / LIVE_BATCH);
	c->node = node;
	c->heard_at = live_us(w);
	key_path(w, client, own);
	const char *const args[] = {"put",    "--from", path,	 "--node", w->url[node],
				    "--home", w->dir,	"--key", own,	   "--timeout",
				    "10s",    "-o",	"jsonl", NULL};
	c->put.line = on_line;
	c->put.who = client;
	child_cli(w, &c->put, args);
}

bool live_putting(const struct live *w)
{
	for (unsigned i = 0; i < LIVE_CLIENTS_MAX; i++)
		if (w->client[i].put.pid > 0 && !w->client[i].put.ended)
			return true;
	return false;
}

/* What it had not heard of by then may come to be final or not: nobody counts on it. */
void live_patience(struct live *w)
{
	uint64_t now = live_us(w);
	for (unsigned i = 0; i < LIVE_CLIENTS_MAX; i++) {
		struct live_client *c = &w->client[i];
		if (c->put.pid <= 0 || c->put.ended || now < c->heard_at + LIVE_PATIENCE_US)
			continue;
		child_end(&c->put);
		w->gave_up += w->windowed;
		w->avoid_until[c->node] = now + LIVE_AVOID_US;
	}
}

void live_load(struct live *w)
{
	uint64_t now = live_us(w);
	unsigned clients = w->s->clients < LIVE_CLIENTS_MAX ? w->s->clients : LIVE_CLIENTS_MAX;
	for (unsigned i = 0; i < clients && !w->quiet; i++) {
		struct live_client *c = &w->client[i];
		if (c->put.pid > 0 && !c->put.ended) {
			c->idle_until = now + w->s->think_us;
			continue;
		}
		if (now >= c->idle_until)
			live_put(w, i, LIVE_BATCH);
	}
}

bool live_all_there(struct live *w, unsigned node)
{
	char path[600];
	snprintf(path, sizeof path, "%s/acknowledged", w->dir);
	const char *const args[] = {"get",    "--from", path,	     "--node", w->url[node],
				    "--home", w->dir,	"--timeout", "60s",    NULL};
	return w->acknowledged == 0 || live_cli(w, NULL, args) == 0;
}
