/* One connection through the relay: two sockets, two ways, and what is held of each. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/lab/relay_private.h"

#include <string.h>

static const struct relay_way *way_of(const struct connection *c, unsigned side)
{
	const struct relay_link *l = c->link;
	return &l->relay->way[l->node[side]][l->node[1 - side]];
}

static bool is_cut(const struct connection *c)
{
	return way_of(c, 0)->cut || way_of(c, 1)->cut;
}

static size_t hold_max(const struct connection *c, unsigned side)
{
	uint64_t rate = way_of(c, side)->bytes_per_s;
	if (!rate || rate > UINT64_C(1000000) * RELAY_HOLD_MAX / RELAY_QUEUE_US)
		return RELAY_HOLD_MAX;
	uint64_t queue = rate * RELAY_QUEUE_US / 1000000;
	return queue > RELAY_PIECE ? (size_t)queue : RELAY_PIECE;
}

static void watch_side(struct connection *c, unsigned side, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = &c->watch[side]};
	int epoll = c->link->relay->epoll;
	if (c->fd[side] < 0 || c->events[side] == events)
		return;
	if (!events)
		epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd[side], NULL);
	else
		epoll_ctl(epoll, c->events[side] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd[side],
			  &e);
	c->events[side] = events;
}

static void forget_pieces(struct connection *c, unsigned side)
{
	struct stream *s = &c->from[side];
	while (s->head) {
		struct piece *p = s->head;
		s->head = p->next;
		mem_free(p);
	}
	c->link->relay->stats.held -= s->held;
	s->tail = NULL;
	s->held = 0;
}

static void end_connection(struct connection *c)
{
	for (unsigned side = 0; side < 2; side++) {
		watch_side(c, side, 0);
		if (c->fd[side] >= 0)
			close(c->fd[side]);
		c->fd[side] = -1;
		forget_pieces(c, side);
	}
	c->dead = true;
}

void connection_reset(struct connection *c)
{
	struct linger at_once = {.l_onoff = 1};
	for (unsigned side = 0; side < 2; side++)
		if (c->fd[side] >= 0)
			setsockopt(c->fd[side], SOL_SOCKET, SO_LINGER, &at_once,
				   sizeof at_once);
	end_connection(c);
	c->link->relay->stats.resets++;
}

void connection_free(struct connection *c)
{
	if (!c->dead)
		end_connection(c);
	mem_free(c);
}

void connection_accepted(struct relay_link *l, int fd)
{
	struct connection *c = mem_zalloc(sizeof *c);
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	c->link = l;
	c->fd[0] = fd;
	c->fd[1] = -1;
	for (unsigned side = 0; side < 2; side++)
		c->watch[side] = (struct watch){WATCH_SIDE, side, c};
	c->next = l->connections;
	l->connections = c;
	l->count++;
}

/* To the target, once nothing is cut. */
static void join(struct connection *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(c->link->target),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (fd < 0 ||
	    (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)) {
		if (fd >= 0)
			close(fd);
		end_connection(c);
		return;
	}
	c->fd[1] = fd;
	c->connecting = true;
}

static void joined(struct connection *c)
{
	int why = 0;
	socklen_t size = sizeof why;
	c->connecting = false;
	if (getsockopt(c->fd[1], SOL_SOCKET, SO_ERROR, &why, &size) || why)
		end_connection(c);
	else
		c->link->relay->stats.connections++;
}

/* ---- what is read ------------------------------------------------------------------------ */

/* When a piece of this length, read now, arrives. */
static uint64_t due_of(struct connection *c, unsigned side, size_t len, uint64_t now)
{
	struct relay *r = c->link->relay;
	const struct relay_way *w = way_of(c, side);
	struct stream *s = &c->from[side];
	uint64_t due = now, again = RELAY_RTO_US;
	if (w->bytes_per_s) {
		due = (s->free_at > now ? s->free_at : now) +
		      (uint64_t)len * 1000000 / w->bytes_per_s;
		s->free_at = due;
	}
	if (w->delay_max_us)
		due += random_between(&r->random, w->delay_min_us, w->delay_max_us);
	for (unsigned times = 0;
	     w->loss_per_mille && random_below(&r->random, 1000) < w->loss_per_mille; times++) {
		r->stats.lost += times == 0;
		due += again;
		again = 2 * again > RELAY_RTO_MAX_US ? RELAY_RTO_MAX_US : 2 * again;
	}
	if (due < s->due)
		due = s->due;
	s->due = due;
	return due;
}

static void hold(struct connection *c, unsigned side, const uint8_t *bytes, size_t len,
		 uint64_t due)
{
	struct relay_stats *stats = &c->link->relay->stats;
	struct stream *s = &c->from[side];
	struct piece *p = mem_alloc(sizeof *p + len);
	*p = (struct piece){.due = due, .len = len};
	memcpy(p->bytes, bytes, len);
	if (s->tail)
		s->tail->next = p;
	else
		s->head = p;
	s->tail = p;
	/* Small pieces cost more than their bytes. */
	s->held += sizeof *p + len;
	stats->held += sizeof *p + len;
	if (s->held > stats->held_max)
		stats->held_max = s->held;
}

/* The other side is gone: so is this connection, once this side may know. */
static void gone(struct connection *c, unsigned side)
{
	c->from[side].ended = true;
	c->from[1 - side].deaf = true;
	forget_pieces(c, 1 - side);
}

/* How much went at once; the rest waits. */
static size_t pass(struct connection *c, unsigned side, const uint8_t *bytes, size_t len)
{
	ssize_t n = send(c->fd[1 - side], bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0) {
		c->link->relay->stats.bytes += (uint64_t)n;
		return (size_t)n;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		c->from[side].stuck = true;
	else
		gone(c, 1 - side);
	return 0;
}

static void take(struct connection *c, unsigned side, size_t len, uint64_t now)
{
	struct relay *r = c->link->relay;
	struct stream *s = &c->from[side];
	uint64_t due = due_of(c, side, len, now);
	size_t done = 0;
	r->stats.pieces++;
	if (s->deaf)
		return;
	if (due <= now && !s->head && !way_of(c, side)->cut)
		done = pass(c, side, r->buffer, len);
	if (done < len && !s->deaf)
		hold(c, side, r->buffer + done, len - done, due);
}

static void read_side(struct connection *c, unsigned side)
{
	struct stream *s = &c->from[side];
	while (!s->ended && s->held < hold_max(c, side)) {
		ssize_t n =
			recv(c->fd[side], c->link->relay->buffer, RELAY_PIECE, MSG_DONTWAIT);
		if (n > 0) {
			take(c, side, (size_t)n, relay_now_us());
			if (n == RELAY_PIECE)
				continue;
			return;
		}
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
			return;
		s->ended = true;
	}
}

void connection_event(struct connection *c, unsigned side, uint32_t events)
{
	if (c->dead)
		return;
	if (c->connecting && side == 1) {
		if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
			joined(c);
		return;
	}
	if (c->fd[1] < 0 || c->connecting) { /* who dialed has given up while we waited */
		end_connection(c);
		return;
	}
	if (events & EPOLLOUT)
		c->from[1 - side].stuck = false;
	if (events & EPOLLIN)
		read_side(c, side);
	else if (events & (EPOLLHUP | EPOLLERR))
		gone(c, side);
}

/* ---- what goes on ------------------------------------------------------------------------ */

static void send_on(struct connection *c, unsigned side, uint64_t now)
{
	struct stream *s = &c->from[side];
	while (s->head && !s->stuck && s->head->due <= now && !way_of(c, side)->cut) {
		struct piece *p = s->head;
		p->done += pass(c, side, p->bytes + p->done, p->len - p->done);
		if (s->deaf || p->done < p->len)
			return; /* stuck, or there is nobody */
		s->head = p->next;
		if (!s->head)
			s->tail = NULL;
		s->held -= sizeof *p + p->len;
		c->link->relay->stats.held -= sizeof *p + p->len;
		mem_free(p);
	}
	/* The end of a stream comes behind its last byte. */
	if (s->ended && !s->head && s->due <= now && !way_of(c, side)->cut)
		end_connection(c);
}

static uint64_t next_due(const struct connection *c, unsigned side)
{
	const struct stream *s = &c->from[side];
	if (way_of(c, side)->cut || s->stuck)
		return UINT64_MAX;
	return s->head ? s->head->due : s->ended ? s->due : UINT64_MAX;
}

uint64_t connection_tend(struct connection *c, uint64_t now)
{
	uint64_t again = UINT64_MAX;
	if (!c->dead && c->fd[1] < 0 && !is_cut(c))
		join(c);
	if (c->dead)
		return again;
	if (c->fd[1] < 0 || c->connecting) {
		watch_side(c, 0, EPOLLRDHUP);
		watch_side(c, 1, EPOLLOUT);
		return again;
	}
	for (unsigned side = 0; side < 2 && !c->dead; side++)
		send_on(c, side, now);
	if (!c->dead && c->from[0].ended && c->from[1].ended)
		end_connection(c); /* nobody is left to be told */
	for (unsigned side = 0; side < 2 && !c->dead; side++) {
		const struct stream *s = &c->from[side];
		uint32_t events = 0;
		if (!s->ended && s->held < hold_max(c, side))
			events |= EPOLLIN;
		if (c->from[1 - side].stuck && !s->ended)
			events |= EPOLLOUT;
		watch_side(c, side, s->ended ? 0 : events ? events : EPOLLERR);
		uint64_t due = next_due(c, side);
		again = due < again ? due : again;
	}
	return again;
}
