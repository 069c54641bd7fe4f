#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/keyfile.h"
#include "homes.h"
#include "ledger/ledger.h"
#include "replica/replica.h"

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "homes: %s\n", what);
	abort();
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	need(f && fputs(text, f) >= 0 && fclose(f) == 0, path);
}

/* Below those that the system gives to connections, which come and go. */
#define PORTS_FROM  10000
#define PORTS_COUNT 20000

/* The first of n free ports in a row. Tests that run side by side have numbers near each other.
 */
static unsigned free_ports(unsigned n)
{
	for (unsigned at = (unsigned)getpid() * VALIDATORS_MAX;; at += n) {
		unsigned first = PORTS_FROM + at % PORTS_COUNT, i = 0;
		for (bool free = true; free && i < n; i += free) {
			struct sockaddr_in a = {.sin_family = AF_INET,
						.sin_port = htons((uint16_t)(first + i)),
						.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
			int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
			free = bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
			close(fd);
		}
		if (i == n)
			return first;
	}
}

static void make_home(const char *dir, unsigned i, unsigned port, const char *limits,
		      const struct genesis *g, const struct keypair *key,
		      const char *genesis_text)
{
	char path[512], conf[8192];
	struct errmsg m = {.text = ""};
	snprintf(path, sizeof path, "%s/node%u", dir, i + 1);
	need(mkdir(path, 0700) == 0, path);
	snprintf(path, sizeof path, "%s/node%u/genesis.json", dir, i + 1);
	write_text(path, genesis_text);
	snprintf(path, sizeof path, "%s/node%u/data", dir, i + 1);
	need(replica_first_data(path, NULL, &m) == ERR_NONE, m.text);
	snprintf(path, sizeof path, "%s/node%u/validator.key", dir, i + 1);
	need(keyfile_write(path, key, g->validator[i].name, NULL, &m) == ERR_NONE, m.text);
	int at = snprintf(conf, sizeof conf,
			  "[node]\nname = node%u\n[api]\nlisten = 127.0.0.1:0\n%s[peers]\n"
			  "listen = 127.0.0.1:%u\n",
			  i + 1, limits, port + i);
	for (unsigned p = 0; p < g->n; p++)
		if (p != i)
			at += snprintf(conf + at, sizeof conf - (size_t)at,
				       "node%u = 127.0.0.1:%u\n", p + 1, port + p);
	snprintf(path, sizeof path, "%s/node%u/ostrakond.conf", dir, i + 1);
	write_text(path, conf);
}

void homes_governance(struct keypair out[2])
{
	for (uint8_t i = 0; i < 2; i++) {
		uint8_t seed[32] = {'g', i};
		keypair_from_seed(&out[i], seed);
	}
}

void homes_make(const char *dir, unsigned n, const char *limits, struct genesis *g,
		struct keypair *client)
{
	unsigned port = free_ports(n);
	struct keypair keys[VALIDATORS_MAX];
	struct errmsg m = {.text = ""};
	genesis_defaults(g);
	strcpy(g->name, "test");
	g->time_ms = (uint64_t)time(NULL) * 1000;
	g->n = n;
	for (unsigned i = 0; i < n; i++) {
		keypair_generate(&keys[i]);
		snprintf(g->validator[i].name, sizeof g->validator[i].name, "node%u", i + 1);
		g->validator[i].key = keys[i].pub;
	}
	struct keypair governance[2];
	homes_governance(governance);
	g->governance.k = g->governance.m = 2;
	for (unsigned i = 0; i < 2; i++)
		g->governance.key[i] = governance[i].pub;
	keypair_generate(client);
	g->balance_count = 1;
	g->balances = mem_array(1, sizeof *g->balances);
	g->balances[0] = (struct genesis_balance){.account = client->pub, .amount = 1000000};
	g->open = true;
	ledger_genesis_root(g, &g->state_root);
	need(genesis_check(g, false, &m) == ERR_NONE, m.text);
	char *text = genesis_json(g);
	for (unsigned i = 0; i < n; i++)
		make_home(dir, i, port, limits, g, &keys[i], text);
	mem_free(text);
}
