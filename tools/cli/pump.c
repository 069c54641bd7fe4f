#include "tools/cli/pump.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/cli/http.h"

#define EVENTS	 128
#define READ_MIN (16u << 10)
#define HEAD_MAX (16u << 10)
#define HOST_MAX 256

struct connection {
	int fd; /* -1: closed */
	char authority[HOST_MAX + 8];
	struct writer out;
	size_t out_sent;
	char *in; /* what has come of the answer; always with room for a zero after it */
	size_t in_len, in_cap;
	bool busy, maybe_sent, writable_wanted;
};

struct pump {
	int epoll, wake_fd;
	unsigned count;
	struct connection *c;
	struct epoll_event events[EVENTS];
	int event_count, event_next;
};

struct pump *pump_new(unsigned connections, int wake_fd)
{
	struct pump *p = mem_zalloc(sizeof *p);

	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	invariant(p->epoll >= 0);
	p->wake_fd = wake_fd;
	p->count = connections;
	p->c = mem_array(connections, sizeof *p->c);
	for (unsigned i = 0; i < connections; i++)
		p->c[i] = (struct connection){.fd = -1};
	if (wake_fd >= 0) {
		struct epoll_event e = {.events = EPOLLIN, .data.u32 = connections};
		invariant(epoll_ctl(p->epoll, EPOLL_CTL_ADD, wake_fd, &e) == 0);
	}
	return p;
}

void pump_close(struct pump *p, unsigned i)
{
	struct connection *c = &p->c[i];

	if (c->fd >= 0)
		close(c->fd); /* leaves the epoll set with it */
	c->fd = -1;
	c->busy = false;
	/* readiness that was fetched before is of the old connection */
	for (int k = p->event_next; k < p->event_count; k++)
		if (p->events[k].data.u32 == i)
			p->events[k].events = 0;
}

void pump_free(struct pump *p)
{
	if (p == NULL)
		return;
	for (unsigned i = 0; i < p->count; i++) {
		pump_close(p, i);
		writer_free(&p->c[i].out);
		mem_free(p->c[i].in);
	}
	close(p->epoll);
	mem_free(p->c);
	mem_free(p);
}

/* http://HOST[:PORT], nothing after it. */
static int split_url(const char *url, char host[HOST_MAX], char port[8], char *authority,
		     size_t size)
{
	const char *at, *end, *colon;

	if (strncmp(url, "http://", 7) != 0)
		return ERR_SYNTAX;
	at = url + 7;
	snprintf(authority, size, "%s", at);
	end = at + strlen(at);
	colon = strrchr(at, ':');
	if (strpbrk(at, "/?#@ ") != NULL || end == at || strlen(at) >= HOST_MAX)
		return ERR_SYNTAX;
	if (colon != NULL && strchr(colon, ']') != NULL)
		colon = NULL;
	snprintf(port, 8, "%s", colon != NULL ? colon + 1 : "80");
	if (colon != NULL)
		end = colon;
	if (*at == '[' && end > at + 2 && end[-1] == ']') {
		at++;
		end--;
	}
	snprintf(host, HOST_MAX, "%.*s", (int)(end - at), at);
	return ERR_NONE;
}

int pump_connect(struct pump *p, unsigned i, const char *url)
{
	struct connection *c = &p->c[i];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.u32 = i};
	char host[HOST_MAX], port[8];
	int one = 1, err = split_url(url, host, port, c->authority, sizeof c->authority);

	pump_close(p, i);
	if (err != ERR_NONE)
		return err;
	if (getaddrinfo(host, port, &hints, &list) != 0)
		return ERR_UNREACHABLE;
	c->fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd >= 0) {
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (connect(c->fd, list->ai_addr, list->ai_addrlen) != 0 &&
		    errno != EINPROGRESS) {
			close(c->fd);
			c->fd = -1;
		}
	}
	freeaddrinfo(list);
	if (c->fd < 0 || epoll_ctl(p->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0) {
		pump_close(p, i);
		return ERR_UNREACHABLE;
	}
	c->writable_wanted = true;
	c->in_len = c->out_sent = 0;
	writer_reset(&c->out);
	return ERR_NONE;
}

bool pump_idle(const struct pump *p, unsigned i)
{
	return p->c[i].fd >= 0 && !p->c[i].busy;
}

bool pump_closed(const struct pump *p, unsigned i)
{
	return p->c[i].fd < 0;
}

static void want_writable(struct pump *p, unsigned i, bool wanted)
{
	struct connection *c = &p->c[i];
	struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.u32 = i};

	if (c->writable_wanted == wanted)
		return;
	c->writable_wanted = wanted;
	invariant(epoll_ctl(p->epoll, EPOLL_CTL_MOD, c->fd, &e) == 0);
}

/* False: the connection is broken. */
static bool flush(struct pump *p, unsigned i)
{
	struct connection *c = &p->c[i];

	while (c->out_sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.buf + c->out_sent, c->out.len - c->out_sent,
				 MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN ||
			      errno == EINPROGRESS))
			break;
		if (n < 0)
			return false;
		c->out_sent += (size_t)n;
		c->maybe_sent = true;
	}
	want_writable(p, i, c->out_sent < c->out.len);
	return true;
}

void pump_post(struct pump *p, unsigned i, const char *path, const char *headers,
	       struct slice body)
{
	struct connection *c = &p->c[i];
	char head[1024];
	int n;

	invariant(pump_idle(p, i));
	n = snprintf(head, sizeof head,
		     "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n", path,
		     c->authority, body.len);
	invariant(n > 0 && (size_t)n < sizeof head);
	writer_reset(&c->out);
	c->in_len = c->out_sent = 0;
	writer_raw(&c->out, head, (size_t)n);
	writer_raw(&c->out, headers, strlen(headers));
	writer_raw(&c->out, "\r\n", 2);
	writer_raw(&c->out, body.ptr, body.len);
	c->busy = true;
	c->maybe_sent = false;
	flush(p, i); /* a broken one shows as such in pump_next() */
}

/* What follows "\r\nNAME:" in the head, which a zero ends; NULL: there is none. */
static const char *header_value(const char *head, const char *name)
{
	size_t len = strlen(name);

	while ((head = strstr(head, "\r\n")) != NULL) {
		head += 2;
		if (strncasecmp(head, name, len) == 0 && head[len] == ':')
			return head + len + 1 + strspn(head + len + 1, " ");
	}
	return NULL;
}

/* ERR_TRUNCATED: more must come. */
static int parse(struct connection *c, unsigned *status, struct slice *body, bool *last)
{
	char *end = c->in_len >= 4 ? memmem(c->in, c->in_len, "\r\n\r\n", 4) : NULL;
	const char *value;
	size_t head, length;

	if (end == NULL)
		return c->in_len > HEAD_MAX ? ERR_LIMIT : ERR_TRUNCATED;
	end[2] = '\0';
	head = (size_t)(end - c->in) + 4;
	value = header_value(c->in, "content-length");
	if (strncmp(c->in, "HTTP/1.1 ", 9) != 0 || value == NULL)
		return ERR_SYNTAX;
	*status = (unsigned)strtoul(c->in + 9, NULL, 10);
	length = strtoul(value, NULL, 10);
	value = header_value(c->in, "connection");
	*last = value != NULL && strncasecmp(value, "close", 5) == 0;
	end[2] = '\r';
	if (length > HTTP_REPLY_MAX)
		return ERR_LIMIT;
	if (c->in_len < head + length)
		return ERR_TRUNCATED;
	if (c->in_len > head + length) /* an answer to what nobody asked */
		return ERR_TRAILING;
	*body = slice_of(c->in + head, length);
	return ERR_NONE;
}

/* ERR_TRUNCATED: there is nothing more for now. */
static int receive(struct connection *c)
{
	ssize_t n;

	if (c->in_cap - c->in_len < READ_MIN) {
		c->in_cap = 2 * c->in_cap + READ_MIN;
		c->in = mem_realloc(c->in, c->in_cap);
	}
	do
		n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return ERR_CLOSED;
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? ERR_TRUNCATED : ERR_IO;
	c->in_len += (size_t)n;
	c->in[c->in_len] = '\0';
	return ERR_NONE;
}

/* True: *out is an event. */
static bool on_ready(struct pump *p, unsigned i, uint32_t events, struct pump_event *out)
{
	struct connection *c = &p->c[i];
	bool broken = false, last = false;
	int err;

	*out = (struct pump_event){.connection = i};
	if (c->fd < 0 || events == 0)
		return false;
	if (events & EPOLLOUT)
		broken = !flush(p, i);
	if (!broken && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		err = receive(c);
		broken = err != ERR_NONE && err != ERR_TRUNCATED;
		if (err == ERR_NONE && c->busy) {
			err = parse(c, &out->status, &out->body, &last);
			broken = err != ERR_NONE && err != ERR_TRUNCATED;
			if (err == ERR_NONE) {
				c->busy = false;
				if (last) { /* the answer stays, the connection goes */
					close(c->fd);
					c->fd = -1;
				}
				return true;
			}
		} else if (err == ERR_NONE) {
			broken = true; /* nobody asked for it */
		}
	}
	if (!broken)
		return false;
	out->kind = PUMP_BROKEN;
	out->maybe_sent = c->busy && c->maybe_sent;
	pump_close(p, i);
	return true;
}

/* The whole milliseconds of epoll_wait() are too coarse for a rate. */
static int wait_events(struct pump *p, uint64_t timeout_us)
{
	struct timespec t = {.tv_sec = (time_t)(timeout_us / 1000000),
			     .tv_nsec = (long)(timeout_us % 1000000) * 1000};

	return epoll_pwait2(p->epoll, p->events, EVENTS, &t, NULL);
}

bool pump_next(struct pump *p, uint64_t timeout_us, struct pump_event *out)
{
	if (p->event_next == p->event_count) {
		p->event_next = 0;
		p->event_count = wait_events(p, timeout_us);
		if (p->event_count < 0)
			p->event_count = 0;
	}
	while (p->event_next < p->event_count) {
		const struct epoll_event *e = &p->events[p->event_next++];
		if (e->data.u32 >= p->count)
			return false;
		if (on_ready(p, e->data.u32, e->events, out))
			return true;
	}
	return false;
}
