/* etcd as its users run it: data on disk and synced, defaults but for addresses and logs. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/cli/cli.h"
#include "tools/compare/compare.h"

#define START_MS 20000

static pid_t pids[NODES_MAX];
static unsigned client_port[NODES_MAX], count, runs;

static void start_one(const struct settings *s, unsigned i, unsigned peer, const char *cluster)
{
	char name[16], data[600], log[600], client[64], peers[64];

	snprintf(name, sizeof name, "e%u", i + 1);
	snprintf(data, sizeof data, "%s/etcd/%s", s->dir, name);
	snprintf(log, sizeof log, "%s/etcd/%s.log", s->dir, name);
	snprintf(client, sizeof client, "http://127.0.0.1:%u", client_port[i]);
	snprintf(peers, sizeof peers, "http://127.0.0.1:%u", peer);
	const char *const argv[] = {s->etcd,  "--name",
				    name,     "--data-dir",
				    data,     "--listen-client-urls",
				    client,   "--advertise-client-urls",
				    client,   "--listen-peer-urls",
				    peers,    "--initial-advertise-peer-urls",
				    peers,    "--initial-cluster",
				    cluster,  "--initial-cluster-state",
				    "new",    "--logger",
				    "zap",    "--log-level",
				    "error",  "--log-outputs",
				    "stdout", NULL};
	pids[i] = child_start(argv, log);
}

/* The port of the leader: who asks another pays for the way. 0: there is none. */
static unsigned leader_port(void)
{
	for (unsigned i = 0; i < count; i++) {
		struct writer w = {0};
		struct slice header;
		uint64_t leader, self;
		bool is = grpc_call(client_port[i], "/etcdserverpb.Maintenance/Status",
				    slice_of(NULL, 0), &w) &&
			  proto_bytes(writer_slice(&w), 1, &header) &&
			  proto_varint(header, 2, &self) &&
			  proto_varint(writer_slice(&w), 4, &leader) && leader == self;
		writer_free(&w);
		if (is)
			return client_port[i];
	}
	return 0;
}

bool etcd_start(const struct settings *s)
{
	unsigned peer[NODES_MAX];
	struct writer cluster = {0};
	uint64_t until = now_ms() + START_MS;
	char path[600];
	bool up = false;

	snprintf(path, sizeof path, "%s/etcd", s->dir);
	remove_tree(path);
	if (mkdir(path, 0700) != 0)
		return false;
	count = s->nodes;
	for (unsigned i = 0; i < count; i++) {
		client_port[i] = free_port();
		peer[i] = free_port();
		char *one =
			mem_printf("%se%u=http://127.0.0.1:%u", i ? "," : "", i + 1, peer[i]);
		writer_raw(&cluster, one, strlen(one));
		mem_free(one);
	}
	writer_u8(&cluster, 0);
	for (unsigned i = 0; i < count; i++)
		start_one(s, i, peer[i], (const char *)cluster.buf);
	writer_free(&cluster);
	while (!up && now_ms() < until && !interrupted()) {
		sleep_ms(100);
		up = true;
		for (unsigned i = 0; i < count; i++)
			up = up && child_runs(pids[i]);
		if (!up)
			return false; /* one has ended */
		up = leader_port() != 0;
	}
	return up;
}

/* How many keys with this prefix there are. */
static uint64_t count_keys(const char *prefix)
{
	struct writer q = {0}, answer = {0};
	size_t len = strlen(prefix);
	uint64_t n = 0;

	writer_u8(&q, 0x0a); /* key */
	writer_u8(&q, (uint8_t)len);
	writer_raw(&q, prefix, len);
	writer_u8(&q, 0x12); /* range_end: the prefix plus one */
	writer_u8(&q, (uint8_t)len);
	writer_raw(&q, prefix, len - 1);
	writer_u8(&q, (uint8_t)(prefix[len - 1] + 1));
	writer_u8(&q, 0x48); /* count_only */
	writer_u8(&q, 1);
	if (!grpc_call(leader_port(), "/etcdserverpb.KV/Range", writer_slice(&q), &answer) ||
	    !proto_varint(writer_slice(&answer), 4, &n))
		n = 0;
	writer_free(&q);
	writer_free(&answer);
	return n;
}

void etcd_measure(const struct settings *s, unsigned clients, struct sample *out)
{
	struct grpc_load *l = mem_zalloc(sizeof *l);
	struct meter m;

	*out = (struct sample){0};
	l->port = leader_port();
	l->clients = clients;
	l->connections = s->connections < clients ? s->connections : clients;
	l->warmup_s = s->warmup_s;
	l->seconds = s->seconds;
	l->value_size = s->value_size;
	snprintf(l->prefix, sizeof l->prefix, "bench/%016x/", ++runs);
	meter_start(&m, pids, count);
	if (l->port != 0 && grpc_put_load(l) && l->latency.total > 0) {
		meter_stop(&m, l->cpu_s, (double)l->done, out);
		out->tx_per_s = (double)l->in_time / l->seconds;
		out->p50 = (double)hdr_quantile(&l->latency, 0.5) / 1e3;
		out->p90 = (double)hdr_quantile(&l->latency, 0.9) / 1e3;
		out->p99 = (double)hdr_quantile(&l->latency, 0.99) / 1e3;
		out->p999 = (double)hdr_quantile(&l->latency, 0.999) / 1e3;
		out->max = (double)hdr_quantile(&l->latency, 1) / 1e3;
		out->errors = (double)l->errors;
		out->found = (double)count_keys(l->prefix) / (double)l->done;
		out->valid = true;
	}
	mem_free(l);
}

void etcd_stop(const struct settings *s)
{
	char path[600];

	for (unsigned i = 0; i < count; i++)
		child_stop(pids[i]);
	count = 0;
	snprintf(path, sizeof path, "%s/etcd", s->dir);
	remove_tree(path);
}
