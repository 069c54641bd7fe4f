/* The relay's thread, its listeners, and what the lab's own thread asks of it. */
#include "tools/lab/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/lab/relay_private.h"

#define EVENTS_AT_ONCE 64

uint64_t relay_now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- the thread -------------------------------------------------------------------------- */

static void accept_one(struct relay_link *l)
{
	int fd = accept4(l->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		connection_accepted(l, fd);
}

static void watch_listener(struct relay_link *l)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = &l->watch};
	bool wanted = l->count < RELAY_CONNECTIONS_MAX;
	if (wanted == l->listening)
		return;
	epoll_ctl(l->relay->epoll, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, l->listener, &e);
	l->listening = wanted;
}

static void handle(struct relay *r, const struct epoll_event *e)
{
	struct watch *w = e->data.ptr;
	uint64_t count;
	ssize_t n;
	switch (w->kind) {
	case WATCH_WAKE:
		n = read(r->wake, &count, sizeof count);
		break;
	case WATCH_TIMER:
		n = read(r->timer, &count, sizeof count);
		break;
	case WATCH_LISTENER:
		accept_one(w->owner);
		return;
	case WATCH_SIDE:
		connection_event(w->owner, w->side, e->events);
		return;
	}
	(void)n; /* nothing to read: another wake-up has taken it */
}

static void bury(struct relay_link *l)
{
	for (struct connection **at = &l->connections; *at;) {
		struct connection *c = *at;
		if (!c->dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		l->count--;
		connection_free(c);
	}
}

/* Tends all connections, and sets the timer for the next that is due. */
static void tend(struct relay *r)
{
	uint64_t now = relay_now_us(), next = UINT64_MAX;
	for (unsigned i = 0; i < r->link_count; i++) {
		struct relay_link *l = r->links[i];
		for (struct connection *c = l->connections; c; c = c->next) {
			uint64_t again = connection_tend(c, now);
			next = again < next ? again : next;
		}
		bury(l);
		watch_listener(l);
	}
	struct itimerspec t = {0};
	if (next != UINT64_MAX) {
		next = next > now ? next : now + 1;
		t.it_value.tv_sec = (time_t)(next / 1000000);
		t.it_value.tv_nsec = (long)(next % 1000000) * 1000;
	}
	timerfd_settime(r->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void *relay_main(void *arg)
{
	struct relay *r = arg;
	struct epoll_event events[EVENTS_AT_ONCE];
	bool stopping = false;
	while (!stopping) {
		int n = epoll_wait(r->epoll, events, EVENTS_AT_ONCE, -1);
		pthread_mutex_lock(&r->lock);
		for (int i = 0; i < n; i++)
			handle(r, &events[i]);
		tend(r);
		stopping = r->stopping;
		pthread_mutex_unlock(&r->lock);
	}
	return NULL;
}

static void wake(struct relay *r)
{
	const uint64_t one = 1;
	ssize_t n = write(r->wake, &one, sizeof one);
	(void)n; /* full: it is awake */
}

/* ---- from the lab's thread --------------------------------------------------------------- */

static void release(struct relay *r)
{
	for (unsigned i = 0; i < r->link_count; i++) {
		struct relay_link *l = r->links[i];
		for (struct connection *c; (c = l->connections) != NULL;) {
			l->connections = c->next;
			connection_free(c);
		}
		close(l->listener);
		mem_free(l);
	}
	mem_free(r->links);
	if (r->wake >= 0)
		close(r->wake);
	if (r->timer >= 0)
		close(r->timer);
	if (r->epoll >= 0)
		close(r->epoll);
	pthread_mutex_destroy(&r->lock);
	mem_free(r);
}

static bool watch(struct relay *r, int fd, struct watch *w)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = w};
	return fd >= 0 && epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

int relay_open(struct relay **out, uint64_t seed, struct errmsg *m)
{
	struct relay *r = mem_zalloc(sizeof *r);
	*out = NULL;
	pthread_mutex_init(&r->lock, NULL);
	random_seed(&r->random, seed);
	r->timer_watch.kind = WATCH_TIMER;
	r->wake_watch.kind = WATCH_WAKE;
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	r->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	r->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (r->epoll < 0 || !watch(r, r->timer, &r->timer_watch) ||
	    !watch(r, r->wake, &r->wake_watch) ||
	    pthread_create(&r->thread, NULL, relay_main, r) != 0) {
		err_set(m, ERR_IO, "no relay: %s", strerror(errno));
		release(r);
		return ERR_IO;
	}
	*out = r;
	return ERR_NONE;
}

void relay_close(struct relay *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stopping = true;
	pthread_mutex_unlock(&r->lock);
	wake(r);
	pthread_join(r->thread, NULL);
	release(r);
}

static int open_listener(uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
	    listen(fd, RELAY_CONNECTIONS_MAX) == 0 &&
	    getsockname(fd, (struct sockaddr *)&a, &size) == 0) {
		*port = ntohs(a.sin_port);
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

int relay_link(struct relay *r, unsigned dialer, unsigned acceptor, uint16_t target,
	       uint16_t *port, struct errmsg *m)
{
	invariant(dialer < RELAY_NODES_MAX && acceptor < RELAY_NODES_MAX && dialer != acceptor);
	int fd = open_listener(port);
	if (fd < 0)
		return err_set(m, ERR_IO, "no port for a link: %s", strerror(errno));
	struct relay_link *l = mem_zalloc(sizeof *l);
	*l = (struct relay_link){
		.relay = r, .node = {dialer, acceptor}, .target = target, .listener = fd};
	l->watch = (struct watch){WATCH_LISTENER, 0, l};
	pthread_mutex_lock(&r->lock);
	r->links = mem_realloc(r->links, (r->link_count + 1) * sizeof *r->links);
	r->links[r->link_count++] = l;
	pthread_mutex_unlock(&r->lock);
	wake(r);
	return ERR_NONE;
}

void relay_set(struct relay *r, unsigned from, unsigned to, const struct relay_way *way)
{
	invariant(from < RELAY_NODES_MAX && to < RELAY_NODES_MAX);
	invariant(way->delay_min_us <= way->delay_max_us && way->loss_per_mille < 1000);
	pthread_mutex_lock(&r->lock);
	r->way[from][to] = *way;
	pthread_mutex_unlock(&r->lock);
	wake(r);
}

void relay_reset(struct relay *r, unsigned a, unsigned b)
{
	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < r->link_count; i++) {
		struct relay_link *l = r->links[i];
		bool theirs = (l->node[0] == a && l->node[1] == b) ||
			      (l->node[0] == b && l->node[1] == a);
		for (struct connection *c = l->connections; theirs && c; c = c->next)
			if (!c->dead)
				connection_reset(c);
	}
	pthread_mutex_unlock(&r->lock);
	wake(r);
}

void relay_stats(struct relay *r, struct relay_stats *out)
{
	pthread_mutex_lock(&r->lock);
	*out = r->stats;
	pthread_mutex_unlock(&r->lock);
}
