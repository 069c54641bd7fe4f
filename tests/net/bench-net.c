/* Figures for links on 127.0.0.1 between two processes: round trip of a short message beside
 * the same over a plain blocking TCP socket, and messages a second one way.
 *
 *	bench-net [ROUNDS [MESSAGES]] */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/net.h"

#define PING_BYTES 200
#define FLOW_BYTES 300

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(const char *what, double *us, size_t n, double cpu)
{
	qsort(us, n, sizeof(*us), by_value);
	printf("%-34s median %7.1f us   p99 %7.1f us   cpu %6.1f us a round (this side)\n",
	       what, us[n / 2], us[n * 99 / 100], cpu / (double)n);
	fflush(stdout);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* --- plain TCP --- */

static void all_bytes(int fd, uint8_t *buf, size_t len, bool out)
{
	while (len > 0) {
		ssize_t n = out ? send(fd, buf, len, MSG_NOSIGNAL) : recv(fd, buf, len, 0);

		if (n <= 0)
			die("tcp");
		buf += n;
		len -= (size_t)n;
	}
}

static void bench_tcp(size_t rounds)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t len = sizeof(sa);
	uint8_t buf[PING_BYTES] = {0};
	int one = 1, l = socket(AF_INET, SOCK_STREAM, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(l, (struct sockaddr *)&sa, len) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&sa, &len))
		die("listen");
	pid_t child = fork();
	if (child == 0) {
		int fd = accept(l, NULL, NULL);

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		for (size_t i = 0; i < rounds; i++) {
			all_bytes(fd, buf, sizeof(buf), false);
			all_bytes(fd, buf, sizeof(buf), true);
		}
		_exit(0);
	}
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&sa, len))
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	double *us = mem_array(rounds, sizeof(*us)), cpu = cpu_us();
	for (size_t i = 0; i < rounds; i++) {
		double start = now_us();

		all_bytes(fd, buf, sizeof(buf), true);
		all_bytes(fd, buf, sizeof(buf), false);
		us[i] = now_us() - start;
	}
	report("plain blocking TCP, 200 bytes", us, rounds, cpu_us() - cpu);
	mem_free(us);
	close(fd);
	close(l);
	waitpid(child, NULL, 0);
}

/* --- links --- */

static struct net *open_side(bool dial, uint16_t *port)
{
	struct keypair keys[2];
	struct net_peer_config peer = {.host = "127.0.0.1", .port = *port, .dial = dial};
	struct net_config config = {.identity = &keys[dial], .peer_count = 1, .peers = &peer};
	struct errmsg m;
	struct net *net;

	crypto_init();
	for (int i = 0; i < 2; i++)
		keypair_from_seed(&keys[i], (uint8_t[32]){(uint8_t)(i + 1)});
	peer.key = keys[!dial].pub;
	if (!dial)
		config.listen_host = "127.0.0.1";
	if (net_open(&net, &config, &m) != ERR_NONE) {
		fprintf(stderr, "%s\n", m.text);
		exit(1);
	}
	*port = net_port(net);
	return net;
}

/* The next message's length; spin: without sleeping. */
static size_t next_message(struct net *net, bool spin, bool *up)
{
	struct net_event e;

	for (;;) {
		if (!net_next(net, &e)) {
			struct pollfd p = {.fd = net_fd(net), .events = POLLIN};

			if (!spin)
				poll(&p, 1, -1);
			continue;
		}
		if (e.kind == NET_EVENT_MESSAGE)
			return e.message.len;
		if (e.kind == NET_EVENT_UP && up != NULL) {
			*up = true;
			return 0;
		}
	}
}

static void queue(struct net *net, size_t len)
{
	static const uint8_t zeros[FLOW_BYTES];

	while (net_send(net, 0, NET_CONSENSUS, slice_of(zeros, len)) == ERR_BUSY)
		usleep(100);
}

/* Answers pings; swallows the flow and answers its last message. */
static void serve(struct net *net, size_t rounds, size_t messages)
{
	for (size_t i = 0; i < 2 * rounds; i++) {
		next_message(net, i >= rounds, NULL);
		queue(net, PING_BYTES);
	}
	for (size_t i = 0; i < messages; i++)
		next_message(net, false, NULL);
	queue(net, 1);
	struct net_event e;
	while (!net_next(net, &e) || e.kind != NET_EVENT_DOWN)
		usleep(1000);
	net_close(net);
}

static void bench_links(size_t rounds, size_t messages)
{
	int fds[2];
	uint16_t port = 0;

	if (pipe(fds) != 0)
		die("pipe");
	pid_t child = fork(); /* before NNG has any thread */
	if (child == 0) {
		struct net *net = open_side(false, &port);

		if (write(fds[1], &port, sizeof(port)) != sizeof(port))
			die("pipe");
		serve(net, rounds, messages);
		_exit(0);
	}
	if (read(fds[0], &port, sizeof(port)) != sizeof(port))
		die("pipe");
	struct net *net = open_side(true, &port);
	bool up = false;
	next_message(net, false, &up);
	double *us = mem_array(rounds, sizeof(*us));
	for (int spin = 0; spin < 2; spin++) {
		double cpu = cpu_us();

		for (size_t i = 0; i < rounds; i++) {
			double start = now_us();

			queue(net, PING_BYTES);
			next_message(net, spin, NULL);
			us[i] = now_us() - start;
		}
		report(spin ? "link, 200 bytes, caller spins" : "link, 200 bytes", us, rounds,
		       cpu_us() - cpu);
	}
	mem_free(us);
	double start = now_us(), cpu = cpu_us();
	for (size_t i = 0; i < messages; i++)
		queue(net, FLOW_BYTES);
	next_message(net, false, NULL);
	double took = now_us() - start;
	printf("link, %zu messages of %d bytes one way: %.0f messages/s, %.1f MB/s, "
	       "cpu %.2f us a message (sender)\n",
	       messages, FLOW_BYTES, (double)messages / took * 1e6,
	       (double)messages * FLOW_BYTES / took, (cpu_us() - cpu) / (double)messages);
	net_close(net);
	waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
	size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
	size_t messages = argc > 2 ? strtoul(argv[2], NULL, 10) : 500000;

	bench_tcp(rounds);
	bench_links(rounds, messages);
	return 0;
}
