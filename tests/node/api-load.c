/* A load of keep-alive connections on one node, each sending one put after the other and
 *waiting for its commit; counts answers by status. Also makes homes, for runs by hand.
 *
 *	api-load homes DIR N
 *	api-load run DIR URL-PORT CONNECTIONS SECONDS PER_REQUEST [prove] */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/keyfile.h"
#include "homes.h"
#include "ledger/tx.h"

#define CONNECTIONS_MAX 4096

struct connection {
	int fd;
	char *in;
	size_t len, cap;
	double since;
	struct keypair sender; /* one each: the nonce window is per sender */
	uint64_t nonce;
};

static struct chain_ctx ctx;
static struct keypair client;
static uint64_t nonce;

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void send_put(struct connection *c, unsigned per_request, bool prove)
{
	struct writer body, tx;
	writer_init(&body, 0);
	for (unsigned i = 0; i < per_request; i++) {
		char key[32], value[32];
		nonce++;
		snprintf(key, sizeof key, "key-%llu", (unsigned long long)(nonce % 100000));
		snprintf(value, sizeof value, "value-%llu", (unsigned long long)nonce);
		struct op op = {
			.kind = OP_PUT, .key = slice_str(key), .value = slice_str(value)};
		writer_init(&tx, 0);
		tx_build(&tx, &ctx, &c->sender, ++c->nonce, 50000, &op, 1);
		writer_var(&body, writer_slice(&tx));
		writer_free(&tx);
	}
	char head[256];
	int n = snprintf(head, sizeof head,
			 "POST /v1/transactions?timeout=20000%s HTTP/1.1\r\nHost: "
			 "localhost\r\nContent-Type: "
			 "application/octet-stream\r\nContent-Length: %zu\r\n\r\n",
			 prove ? "&prove=1" : "", body.len);
	struct writer all;
	writer_init(&all, 0);
	writer_raw(&all, head, (size_t)n);
	writer_raw(&all, body.buf, body.len);
	if (write(c->fd, all.buf, all.len) != (ssize_t)all.len)
		perror("write");
	writer_free(&all);
	writer_free(&body);
	c->since = now_s();
	c->len = 0;
}

/* Status of a whole answer, or 0. */
static int answer_status(struct connection *c)
{
	c->in[c->len] = 0;
	char *end = strstr(c->in, "\r\n\r\n"), *length = strcasestr(c->in, "content-length:");
	if (!end || !length || length > end)
		return 0;
	size_t want = (size_t)(end + 4 - c->in) + strtoul(length + 15, NULL, 10);
	return c->len >= want ? atoi(c->in + 9) : 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static int run(const char *dir, unsigned port, unsigned count, double seconds,
	       unsigned per_request, bool prove)
{
	static struct connection c[CONNECTIONS_MAX];
	static struct pollfd fds[CONNECTIONS_MAX];
	static double *latency;
	size_t answers = 0, cap = 1 << 22;
	unsigned long by_status[600] = {0}, pending = 0;
	char path[512];
	struct errmsg m;
	struct genesis g;
	snprintf(path, sizeof path, "%s/node1/genesis.json", dir);
	if (genesis_read(&g, path, &m) != ERR_NONE)
		return fprintf(stderr, "%s\n", m.text), 1;
	genesis_ctx(&ctx, &g);
	latency = mem_array(cap, sizeof *latency);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (unsigned i = 0; i < count; i++) {
		c[i].fd = socket(AF_INET, SOCK_STREAM, 0);
		int on = 1;
		setsockopt(c[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		if (connect(c[i].fd, (struct sockaddr *)&to, sizeof to) != 0)
			return perror("connect"), 1;
		keypair_generate(&c[i].sender);
		c[i].cap = 1 << 20;
		c[i].in = mem_alloc(c[i].cap + 1);
		fds[i] = (struct pollfd){.fd = c[i].fd, .events = POLLIN};
	}
	double begin = now_s();
	for (unsigned i = 0; i < count; i++)
		send_put(&c[i], per_request, prove);
	unsigned open = count;
	while (open > 0 && now_s() < begin + seconds + 30) {
		if (poll(fds, count, 1000) < 0)
			return perror("poll"), 1;
		for (unsigned i = 0; i < count; i++) {
			if (!(fds[i].revents & (POLLIN | POLLHUP | POLLERR)))
				continue;
			ssize_t n = read(c[i].fd, c[i].in + c[i].len, c[i].cap - c[i].len);
			if (n <= 0) {
				fprintf(stderr, "connection %u closed\n", i);
				fds[i].fd = -1;
				open--;
				continue;
			}
			c[i].len += (size_t)n;
			int status = answer_status(&c[i]);
			if (!status)
				continue;
			by_status[status % 600]++;
			pending += strstr(c[i].in, "\"pending\"") != NULL;
			if (answers < cap)
				latency[answers++] = now_s() - c[i].since;
			if (now_s() < begin + seconds) {
				send_put(&c[i], per_request, prove);
			} else {
				fds[i].fd = -1;
				open--;
			}
		}
	}
	double took = now_s() - begin;
	qsort(latency, answers, sizeof *latency, compare);
	printf("connections %u, per request %u: %.0f tx/s, answers %zu, unanswered %u, pending "
	       "%lu\n",
	       count, per_request, (double)by_status[200] * per_request / took, answers, open,
	       pending);
	for (int s = 0; s < 600; s++)
		if (by_status[s])
			printf("  status %d: %lu\n", s, by_status[s]);
	if (answers)
		printf("  latency ms p50 %.2f p95 %.2f p99 %.2f max %.2f\n",
		       latency[answers / 2] * 1e3, latency[answers * 95 / 100] * 1e3,
		       latency[answers * 99 / 100] * 1e3, latency[answers - 1] * 1e3);
	genesis_free(&g);
	return open > 0;
}

int main(int argc, char **argv)
{
	crypto_init();
	if (argc == 4 && strcmp(argv[1], "homes") == 0) {
		struct genesis g;
		homes_make(argv[2], (unsigned)atoi(argv[3]), "", &g, &client);
		genesis_free(&g);
		return 0;
	}
	if (argc >= 7 && strcmp(argv[1], "run") == 0)
		return run(argv[2], (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]),
			   atof(argv[5]), (unsigned)atoi(argv[6]), argc > 7);
	fprintf(stderr, "usage: see the source\n");
	return 2;
}
