#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define HANG_S 90

struct keypair keys[NODES_MAX + 2];
struct hash chain;

void harness_init(void)
{
	crypto_init();
	for (unsigned i = 0; i < MEM_COUNT(keys); i++) {
		uint8_t seed[32] = {(uint8_t)(i + 1)};

		keypair_from_seed(&keys[i], seed);
	}
	memset(&chain, 0xc1, sizeof(chain));
}

void node_open(struct node *n, unsigned i, unsigned count, uint16_t *ports,
	       const struct net_config *like)
{
	struct net_peer_config peers[NODES_MAX] = {0};
	struct net_config config = like ? *like : (struct net_config){0};
	struct errmsg m;

	for (unsigned j = 0; j < count; j++) {
		peers[j].key = keys[j].pub;
		peers[j].host = "127.0.0.1";
		peers[j].port = ports[j] ? ports[j] : 1; /* nobody listens there */
		peers[j].dial = j > i;
	}
	if (config.identity == NULL)
		config.identity = &keys[i];
	if (hash_is_zero(&config.chain))
		config.chain = chain;
	config.listen_host = "127.0.0.1";
	config.listen_port = ports[i];
	config.peer_count = count;
	config.peers = peers;
	*n = (struct node){.count = count, .self = i};
	if (net_open(&n->net, &config, &m) != ERR_NONE) {
		fprintf(stderr, "%s\n", m.text);
		abort();
	}
	ports[i] = net_port(n->net);
}

void node_close(struct node *n)
{
	net_close(n->net);
	n->net = NULL;
}

void cluster_open(struct node *nodes, unsigned count, uint16_t *ports,
		  const struct net_config *like)
{
	for (unsigned i = count; i-- > 0;)
		node_open(&nodes[i], i, count, ports, like);
}

void cluster_close(struct node *nodes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		node_close(&nodes[i]);
}

bool node_send(struct node *n, unsigned to, enum net_class class, size_t len)
{
	uint8_t *msg = mem_zalloc(len);
	uint64_t number = n->next_out[to][class] + 1;

	msg[0] = (uint8_t) class;
	store_be64(msg + 1, number);
	for (size_t i = 9; i < len; i++)
		msg[i] = (uint8_t)(number + i);
	int rc = net_send(n->net, to, class, slice_of(msg, len));
	mem_free(msg);
	if (rc == ERR_NONE)
		n->next_out[to][class] = number;
	else if (rc != ERR_BUSY)
		abort();
	return rc == ERR_NONE;
}

static void take_message(struct node *n, const struct net_event *e)
{
	const uint8_t *msg = e->message.ptr;
	size_t len = e->message.len;

	n->messages++;
	if (len < 9 || msg[0] >= NET_CLASSES) {
		n->disorder++;
		return;
	}
	uint64_t number = load_be64(msg + 1);
	if (number != ++n->next_in[e->peer][msg[0]])
		n->disorder++;
	for (size_t i = 9; i < len; i++) {
		if (msg[i] != (uint8_t)(number + i)) {
			n->disorder++;
			break;
		}
	}
}

bool node_take(struct node *n, int wait_ms)
{
	struct pollfd p = {.fd = net_fd(n->net), .events = POLLIN};
	struct net_event e;
	bool any = false;

	if (poll(&p, 1, wait_ms) <= 0)
		return false;
	while (net_next(n->net, &e)) {
		any = true;
		switch (e.kind) {
		case NET_EVENT_MESSAGE:
			take_message(n, &e);
			break;
		case NET_EVENT_UP:
			n->ups++;
			n->up[e.peer] = true;
			break;
		case NET_EVENT_DOWN:
			n->downs++;
			n->up[e.peer] = false;
			break;
		}
	}
	return any;
}

bool run_until(struct node *nodes, unsigned count, bool (*done)(void *), void *arg)
{
	time_t start = time(NULL);

	while (!done(arg)) {
		bool any = false;

		for (unsigned i = 0; i < count; i++)
			if (nodes[i].net != NULL)
				any = node_take(&nodes[i], 0) || any;
		if (!any) {
			if (time(NULL) - start > HANG_S)
				return false;
			poll(NULL, 0, 1);
		}
	}
	return true;
}

static bool are_up(void *arg)
{
	struct all_nodes *a = arg;

	for (unsigned i = 0; i < a->count; i++)
		for (unsigned j = 0; j < a->count; j++)
			if (i != j && !stats_of(&a->nodes[i], j).up)
				return false;
	return true;
}

bool all_up(struct node *nodes, unsigned count)
{
	struct all_nodes a = {nodes, count};

	return run_until(nodes, count, are_up, &a);
}

int raw_connect(uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		perror("connect");
		abort();
	}
	return fd;
}

void raw_send(int fd, const void *ptr, size_t len)
{
	const uint8_t *p = ptr;

	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return; /* the other end may have had enough */
		p += n;
		len -= (size_t)n;
	}
}

bool raw_recv(int fd, void *ptr, size_t len)
{
	uint8_t *p = ptr;

	while (len > 0) {
		struct pollfd poller = {.fd = fd, .events = POLLIN};

		if (poll(&poller, 1, HANG_S * 1000) <= 0)
			abort();
		ssize_t n = recv(fd, p, len, 0);
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

bool raw_is_open(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

bool raw_closed(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char buf[4096];

	while (poll(&p, 1, HANG_S * 1000) > 0)
		if (recv(fd, buf, sizeof(buf), 0) <= 0)
			return true;
	return false;
}

uint64_t refused(const struct node *n)
{
	struct net_stats s;

	net_stats(n->net, &s);
	return s.handshakes_refused;
}

struct net_peer_stats stats_of(const struct node *n, unsigned peer)
{
	struct net_peer_stats s;

	net_peer_stats(n->net, peer, &s);
	return s;
}

/* --- proxy --- */

#define PAIRS_MAX 16

struct pair {
	int fd[2]; /* the dialing side, the target */
};

static void keep(struct proxy *p, const uint8_t *buf, size_t len)
{
	pthread_mutex_lock(&p->lock);
	p->record = mem_realloc(p->record, p->record_len + len);
	memcpy(p->record + p->record_len, buf, len);
	p->record_len += len;
	pthread_mutex_unlock(&p->lock);
}

/* False: the pair is to be closed. */
static bool pass(struct proxy *p, struct pair *pair, int from)
{
	uint8_t buf[16384];
	ssize_t n = recv(pair->fd[from], buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return true;
	if (atomic_load(&p->mute) && n <= 0) { /* half of it is left */
		close(pair->fd[from]);
		pair->fd[from] = -1;
		return true;
	}
	if (n <= 0)
		return false;
	if (atomic_load(&p->mute) || pair->fd[1 - from] < 0)
		return true;
	if (from == 0)
		keep(p, buf, (size_t)n);
	long long flip = atomic_load(&p->flip_after);
	if (flip >= 0) {
		if (flip < n) {
			buf[flip] ^= 0x10;
			atomic_store(&p->flip_after, -1);
		} else {
			atomic_store(&p->flip_after, flip - n);
		}
	}
	raw_send(pair->fd[1 - from], buf, (size_t)n);
	return true;
}

static void close_pair(struct pair *pair)
{
	if (pair->fd[0] >= 0)
		close(pair->fd[0]);
	if (pair->fd[1] >= 0)
		close(pair->fd[1]);
	pair->fd[0] = pair->fd[1] = -1;
}

static void take_connection(struct proxy *p, struct pair *pairs)
{
	int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	int one = 1;

	if (fd < 0)
		return;
	for (int i = 0; i < PAIRS_MAX; i++) {
		if (pairs[i].fd[0] >= 0 || pairs[i].fd[1] >= 0)
			continue;
		pairs[i].fd[0] = fd;
		pairs[i].fd[1] = raw_connect(p->target);
		setsockopt(pairs[i].fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		atomic_fetch_add(&p->connections, 1);
		return;
	}
	close(fd);
}

static void *proxy_main(void *arg)
{
	struct proxy *p = arg;
	struct pair pairs[PAIRS_MAX];

	for (int i = 0; i < PAIRS_MAX; i++)
		pairs[i].fd[0] = pairs[i].fd[1] = -1;
	while (!atomic_load(&p->stop)) {
		struct pollfd fds[1 + 2 * PAIRS_MAX];

		fds[0] = (struct pollfd){.fd = p->listen_fd, .events = POLLIN};
		for (int i = 0; i < 2 * PAIRS_MAX; i++)
			fds[1 + i] =
				(struct pollfd){.fd = pairs[i / 2].fd[i % 2], .events = POLLIN};
		poll(fds, MEM_COUNT(fds), 5);
		bool cut = atomic_exchange(&p->cut, false);
		for (int i = 0; i < 2 * PAIRS_MAX; i++) {
			struct pair *pair = &pairs[i / 2];

			if (cut || (pair->fd[i % 2] >= 0 && fds[1 + i].revents &&
				    !pass(p, pair, i % 2)))
				close_pair(pair);
		}
		if (fds[0].revents)
			take_connection(p, pairs);
	}
	for (int i = 0; i < PAIRS_MAX; i++)
		close_pair(&pairs[i]);
	return NULL;
}

void proxy_start(struct proxy *p, uint16_t target)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t len = sizeof(sa);

	memset(p, 0, sizeof(*p));
	p->target = target;
	atomic_init(&p->flip_after, -1);
	pthread_mutex_init(&p->lock, NULL);
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->listen_fd < 0 || bind(p->listen_fd, (struct sockaddr *)&sa, len) != 0 ||
	    listen(p->listen_fd, 64) != 0 ||
	    getsockname(p->listen_fd, (struct sockaddr *)&sa, &len) != 0) {
		perror("proxy");
		abort();
	}
	p->port = ntohs(sa.sin_port);
	if (pthread_create(&p->thread, NULL, proxy_main, p) != 0)
		abort();
}

void proxy_stop(struct proxy *p)
{
	atomic_store(&p->stop, true);
	pthread_join(p->thread, NULL);
	close(p->listen_fd);
	mem_free(p->record);
	pthread_mutex_destroy(&p->lock);
}
