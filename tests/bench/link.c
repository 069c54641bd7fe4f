/* A message there and back over a link, beside the same over a plain TCP connection. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/net.h"
#include "tests/bench/bench.h"

#define TRIPS 2000
#define BYTES 200

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void all_bytes(int fd, uint8_t *buf, bool out)
{
	for (size_t at = 0; at < BYTES;) {
		ssize_t n = out ? send(fd, buf + at, BYTES - at, MSG_NOSIGNAL)
				: recv(fd, buf + at, BYTES - at, 0);
		invariant(n > 0);
		at += (size_t)n;
	}
}

static void *tcp_echo(void *arg)
{
	uint8_t buf[BYTES];
	int fd = accept(*(int *)arg, NULL, NULL), one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	for (int i = 0; i < TRIPS; i++) {
		all_bytes(fd, buf, false);
		all_bytes(fd, buf, true);
	}
	close(fd);
	return NULL;
}

static double tcp_round_trip(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0),
	    one = 1;
	static double us[TRIPS];
	uint8_t buf[BYTES] = {0};
	pthread_t thread;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	invariant(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 &&
		  listen(listener, 1) == 0 &&
		  getsockname(listener, (struct sockaddr *)&at, &len) == 0);
	invariant(pthread_create(&thread, NULL, tcp_echo, &listener) == 0);
	invariant(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	for (int i = 0; i < TRIPS; i++) {
		double begin = wall_us();
		all_bytes(fd, buf, true);
		all_bytes(fd, buf, false);
		us[i] = wall_us() - begin;
	}
	pthread_join(thread, NULL);
	close(fd);
	close(listener);
	qsort(us, TRIPS, sizeof us[0], by_value);
	return us[TRIPS / 2];
}

/* Waits for a message; false: the link fell. */
static bool take(struct net *n)
{
	struct net_event e;

	for (;;) {
		while (net_next(n, &e))
			if (e.kind == NET_EVENT_MESSAGE)
				return e.message.len == BYTES;
		struct pollfd p = {.fd = net_fd(n), .events = POLLIN};
		poll(&p, 1, 10000);
	}
}

static void *link_echo(void *arg)
{
	uint8_t buf[BYTES] = {0};

	for (int i = 0; i < TRIPS; i++) {
		invariant(take(arg));
		net_send(arg, 0, NET_CONSENSUS, slice_of(buf, BYTES));
	}
	return NULL;
}

void bench_link(void)
{
	struct keypair key[2];
	struct net_peer_config peer = {.host = "127.0.0.1"};
	struct net_config config = {
		.listen_host = "127.0.0.1", .peer_count = 1, .peers = &peer};
	struct net *net[2];
	struct errmsg m;
	static double us[TRIPS];
	uint8_t buf[BYTES] = {0};
	pthread_t thread;
	double limit = tcp_round_trip();

	keypair_generate(&key[0]);
	keypair_generate(&key[1]);
	config.identity = &key[1];
	peer.key = key[0].pub;
	invariant(net_open(&net[1], &config, &m) == ERR_NONE);
	config.identity = &key[0];
	peer = (struct net_peer_config){
		.key = key[1].pub, .host = "127.0.0.1", .port = net_port(net[1]), .dial = true};
	invariant(net_open(&net[0], &config, &m) == ERR_NONE);
	invariant(pthread_create(&thread, NULL, link_echo, net[1]) == 0);
	for (int i = 0; i < TRIPS; i++) {
		double begin = wall_us();
		net_send(net[0], 0, NET_CONSENSUS, slice_of(buf, BYTES));
		invariant(take(net[0]));
		us[i] = wall_us() - begin;
	}
	pthread_join(thread, NULL);
	net_close(net[0]);
	net_close(net[1]);
	qsort(us, TRIPS, sizeof us[0], by_value);
	report("link, there and back, 200 bytes", us[TRIPS / 2], limit,
	       "a plain TCP connection (wall clock)");
}
