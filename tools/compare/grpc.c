/* As much of HTTP/2 (RFC 9113) and gRPC as a client needs that wants to cost little: requests
 * whose header block is the same bytes each time (HPACK literals, no table), answers whose
 * headers are not read. A call that fails has no DATA in its answer. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "tools/cli/cli.h"
#include "tools/compare/compare.h"

#define FRAME_HEAD     9
#define STREAMS_MAX    1024 /* of one connection under way */
#define WINDOW_START   65535
#define WINDOW_OURS    (1u << 30)
#define WINDOW_RENEWED (1u << 20)
#define READ_BYTES     (64u << 10)
#define DRAIN_US       5000000

enum {
	DATA = 0,
	HEADERS = 1,
	RST_STREAM = 3,
	SETTINGS = 4,
	PING = 6,
	GOAWAY = 7,
	WINDOW_UPDATE = 8
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

struct stream {
	uint32_t id; /* 0: free */
	uint64_t from;
	bool answered;
};
struct connection {
	int fd;
	struct writer head; /* HPACK block of a call */
	struct writer out;
	size_t out_sent;
	uint8_t in[READ_BYTES];
	size_t in_len;
	uint32_t next_id;
	int64_t window; /* bytes that we may send */
	uint32_t consumed;
	unsigned under_way;
	struct stream stream[STREAMS_MAX];
	struct writer *answer; /* of a single call: the message */
	bool writable_wanted, broken;
};

static void u24(struct writer *w, uint32_t v)
{
	writer_u8(w, (uint8_t)(v >> 16));
	writer_u16(w, (uint16_t)v);
}

static void frame(struct writer *w, size_t len, uint8_t type, uint8_t flags, uint32_t stream)
{
	u24(w, (uint32_t)len);
	writer_u8(w, type);
	writer_u8(w, flags);
	writer_u32(w, stream);
}

static void text(struct writer *w, const char *s)
{
	writer_u8(w, (uint8_t)strlen(s)); /* under 127, no Huffman code */
	writer_raw(w, s, strlen(s));
}

/* RFC 7541: indices of the static table, literals without indexing. */
static void make_head(struct writer *w, const char *path, unsigned port)
{
	char authority[32];

	snprintf(authority, sizeof authority, "127.0.0.1:%u", port);
	writer_u8(w, 0x83); /* :method POST */
	writer_u8(w, 0x86); /* :scheme http */
	writer_u8(w, 0x04); /* :path */
	text(w, path);
	writer_u8(w, 0x01); /* :authority */
	text(w, authority);
	writer_u8(w, 0x0f); /* content-type: 31 */
	writer_u8(w, 0x10);
	text(w, "application/grpc");
	writer_u8(w, 0x00);
	text(w, "te");
	text(w, "trailers");
}

static struct connection *open_connection(unsigned port, const char *path)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct connection *c = mem_zalloc(sizeof *c);
	int one = 1;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&at, sizeof at) != 0) {
		if (c->fd >= 0)
			close(c->fd);
		mem_free(c);
		return NULL;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->next_id = 1;
	c->window = WINDOW_START;
	make_head(&c->head, path, port);
	writer_raw(&c->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	frame(&c->out, 0, SETTINGS, 0, 0);
	frame(&c->out, 4, WINDOW_UPDATE, 0, 0);
	writer_u32(&c->out, WINDOW_OURS);
	return c;
}

static void close_connection(struct connection *c)
{
	if (c == NULL)
		return;
	close(c->fd);
	writer_free(&c->head);
	writer_free(&c->out);
	mem_free(c);
}

static struct stream *stream_of(struct connection *c, uint32_t id)
{
	struct stream *s = &c->stream[id / 2 % STREAMS_MAX];

	return id != 0 && s->id == id ? s : NULL;
}

static bool may_call(struct connection *c, size_t message)
{
	return !c->broken && c->window >= (int64_t)(5 + message) && c->next_id < 1u << 30 &&
	       c->stream[c->next_id / 2 % STREAMS_MAX].id == 0;
}

static void call(struct connection *c, struct slice message, uint64_t from)
{
	uint32_t id = c->next_id;

	c->next_id += 2;
	c->stream[id / 2 % STREAMS_MAX] = (struct stream){.id = id, .from = from};
	c->under_way++;
	c->window -= (int64_t)(5 + message.len);
	frame(&c->out, c->head.len, HEADERS, END_HEADERS, id);
	writer_raw(&c->out, c->head.buf, c->head.len);
	frame(&c->out, 5 + message.len, DATA, END_STREAM, id);
	writer_u8(&c->out, 0); /* not compressed */
	writer_u32(&c->out, (uint32_t)message.len);
	writer_raw(&c->out, message.ptr, message.len);
}

static void flush(struct connection *c)
{
	while (c->out_sent < c->out.len && !c->broken) {
		ssize_t n = send(c->fd, c->out.buf + c->out_sent, c->out.len - c->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			c->out_sent += (size_t)n;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		else if (errno != EINTR)
			c->broken = true;
	}
	writer_reset(&c->out);
	c->out_sent = 0;
}

/* What ends streams calls this. */
typedef void (*on_end)(void *arg, struct connection *c, struct stream *s);

static void end_stream(struct connection *c, struct stream *s, on_end end, void *arg)
{
	struct stream ended = *s;

	s->id = 0;
	c->under_way--;
	end(arg, c, &ended);
}

static void take_data(struct connection *c, struct stream *s, struct slice body)
{
	c->consumed += (uint32_t)body.len;
	if (c->consumed >= WINDOW_RENEWED) {
		frame(&c->out, 4, WINDOW_UPDATE, 0, 0);
		writer_u32(&c->out, c->consumed);
		c->consumed = 0;
	}
	if (s != NULL && body.len > 0)
		s->answered = true;
	if (s != NULL && c->answer != NULL)
		writer_raw(c->answer, body.ptr, body.len);
}

static void take_frame(struct connection *c, uint8_t type, uint8_t flags, uint32_t id,
		       struct slice body, on_end end, void *arg)
{
	struct stream *s = stream_of(c, id);

	switch (type) {
	case DATA:
		take_data(c, s, body);
		break;
	case SETTINGS:
		if (!(flags & ACK))
			frame(&c->out, 0, SETTINGS, ACK, 0);
		return;
	case PING:
		if (flags & ACK || body.len != 8)
			return;
		frame(&c->out, 8, PING, ACK, 0);
		writer_raw(&c->out, body.ptr, 8);
		return;
	case WINDOW_UPDATE:
		if (id == 0 && body.len == 4)
			c->window += (int64_t)(body.ptr[0] & 0x7f) << 24 | body.ptr[1] << 16 |
				     body.ptr[2] << 8 | body.ptr[3];
		return;
	case GOAWAY:
		c->broken = true;
		return;
	case RST_STREAM:
		if (s != NULL) {
			s->answered = false;
			end_stream(c, s, end, arg);
		}
		return;
	default:
		break;
	}
	if (s != NULL && (type == DATA || type == HEADERS) && flags & END_STREAM)
		end_stream(c, s, end, arg);
}

static void take_input(struct connection *c, on_end end, void *arg)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, MSG_DONTWAIT);
	size_t at = 0;

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR && errno != EWOULDBLOCK))
		c->broken = true;
	if (n <= 0)
		return;
	c->in_len += (size_t)n;
	while (c->in_len - at >= FRAME_HEAD && !c->broken) {
		const uint8_t *h = c->in + at;
		size_t len = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
		uint32_t id = (uint32_t)(h[5] & 0x7f) << 24 | (uint32_t)h[6] << 16 |
			      (uint32_t)h[7] << 8 | h[8];
		if (len > sizeof c->in - FRAME_HEAD) { /* more than we said we take */
			c->broken = true;
			return;
		}
		if (c->in_len - at < FRAME_HEAD + len)
			break;
		take_frame(c, h[3], h[4], id, slice_of(h + FRAME_HEAD, len), end, arg);
		at += FRAME_HEAD + len;
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
}

/* ---- one call -------------------------------------------------------------------------- */

static void on_single(void *arg, struct connection *c, struct stream *s)
{
	(void)c;
	*(int *)arg = s->answered ? 1 : -1;
}

bool grpc_call(unsigned port, const char *path, struct slice message, struct writer *out)
{
	struct connection *c = port == 0 ? NULL : open_connection(port, path);
	struct writer framed = {0};
	uint64_t until = now_ms() + 2000;
	int ended = 0;

	if (c == NULL)
		return false;
	c->answer = &framed;
	call(c, message, 0);
	while (ended == 0 && !c->broken && now_ms() < until) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};
		flush(c);
		poll(&p, 1, 50);
		take_input(c, on_single, &ended);
	}
	close_connection(c);
	if (ended == 1 && framed.len >= 5)
		writer_raw(out, framed.buf + 5, framed.len - 5);
	writer_free(&framed);
	return ended == 1;
}

static bool proto_find(struct slice m, unsigned field, unsigned type, uint64_t *number,
		       struct slice *bytes)
{
	struct reader r;

	reader_init(&r, m);
	while (r.left > 0 && r.err == ERR_NONE) {
		uint64_t v[2] = {0, 0};
		unsigned wire = 0;
		for (int k = 0; k < 2; k++) { /* the key, then a number or a length */
			uint8_t b = 0x80;
			for (unsigned shift = 0; b & 0x80 && shift < 64 && !r.err; shift += 7) {
				b = reader_u8(&r);
				v[k] |= (uint64_t)(b & 0x7f) << shift;
			}
			wire = v[0] & 7;
			if (wire != 0 && wire != 2)
				return false;
		}
		struct slice s = wire == 2 ? reader_take(&r, (size_t)v[1]) : slice_of(NULL, 0);
		if (r.err == ERR_NONE && v[0] >> 3 == field && wire == type) {
			*number = v[1];
			*bytes = s;
			return true;
		}
	}
	return false;
}

bool proto_varint(struct slice message, unsigned field, uint64_t *out)
{
	struct slice bytes;

	return proto_find(message, field, 0, out, &bytes);
}

bool proto_bytes(struct slice message, unsigned field, struct slice *out)
{
	uint64_t number;

	return proto_find(message, field, 2, &number, out);
}

/* ---- load ------------------------------------------------------------------------------ */

struct put_load {
	struct grpc_load *l;
	struct connection *c[STREAMS_MAX];
	unsigned connections, share; /* share: clients of a connection */
	uint64_t sent, begin, measured, end;
	uint8_t *value;
	struct writer message;
};

static void varint(struct writer *w, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		writer_u8(w, (uint8_t)(v | 0x80));
	writer_u8(w, (uint8_t)v);
}

static struct slice put_request(struct put_load *p)
{
	char key[64];
	int n = snprintf(key, sizeof key, "%s%08llu", p->l->prefix,
			 (unsigned long long)p->sent++);

	writer_reset(&p->message);
	writer_u8(&p->message, 0x0a);
	varint(&p->message, (uint64_t)n);
	writer_raw(&p->message, key, (size_t)n);
	writer_u8(&p->message, 0x12);
	varint(&p->message, p->l->value_size);
	p->value[p->sent % p->l->value_size] = (uint8_t)('a' + p->sent % 26);
	writer_raw(&p->message, p->value, p->l->value_size);
	return writer_slice(&p->message);
}

static void on_put(void *arg, struct connection *c, struct stream *s)
{
	struct put_load *p = arg;
	uint64_t now = now_us();

	(void)c;
	if (!s->answered) {
		p->l->errors++;
		return;
	}
	p->l->done++;
	if (s->from < p->measured)
		return;
	hdr_add(&p->l->latency, now - s->from);
	p->l->in_time += now <= p->end;
}

static void refill(struct put_load *p, struct connection *c)
{
	uint64_t now = now_us();

	while (now < p->end && c->under_way < p->share && may_call(c, p->l->value_size + 64))
		call(c, put_request(p), now);
	flush(c);
}

static unsigned under_way(const struct put_load *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->connections; i++)
		n += p->c[i]->broken ? 0 : p->c[i]->under_way;
	return n;
}

static void watch(int epoll, struct connection *c, unsigned i, int op)
{
	bool wanted = c->out_sent < c->out.len;
	struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.u32 = i};

	if (op == EPOLL_CTL_ADD || wanted != c->writable_wanted)
		epoll_ctl(epoll, op, c->fd, &e);
	c->writable_wanted = wanted;
}

static void run(struct put_load *p)
{
	struct epoll_event events[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC), n;

	for (unsigned i = 0; i < p->connections; i++) {
		refill(p, p->c[i]);
		watch(epoll, p->c[i], i, EPOLL_CTL_ADD);
	}
	while ((now_us() < p->end || under_way(p) > 0) && now_us() < p->end + DRAIN_US &&
	       !interrupted()) {
		n = epoll_wait(epoll, events, 64, 20);
		for (int k = 0; k < n; k++) {
			struct connection *c = p->c[events[k].data.u32];
			take_input(c, on_put, p);
			refill(p, c);
			watch(epoll, c, events[k].data.u32, EPOLL_CTL_MOD);
			if (c->broken)
				epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
		}
	}
	close(epoll);
}

static double thread_cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

bool grpc_put_load(struct grpc_load *l)
{
	struct put_load *p = mem_zalloc(sizeof *p);
	struct random r;
	bool ok = true;

	hdr_init(&l->latency);
	p->l = l;
	p->share = (l->clients + l->connections - 1) / l->connections;
	p->value = mem_alloc(l->value_size);
	random_seed(&r, 1);
	for (unsigned i = 0; i < l->value_size; i++)
		p->value[i] = (uint8_t)('a' + random_below(&r, 26));
	for (; ok && p->connections < l->connections; p->connections++) {
		p->c[p->connections] = open_connection(l->port, "/etcdserverpb.KV/Put");
		ok = p->c[p->connections] != NULL;
	}
	l->cpu_s = thread_cpu_s();
	p->begin = now_us();
	p->measured = p->begin + (uint64_t)l->warmup_s * 1000000;
	p->end = p->measured + (uint64_t)l->seconds * 1000000;
	if (ok)
		run(p);
	l->cpu_s = thread_cpu_s() - l->cpu_s;
	for (unsigned i = 0; i < p->connections; i++)
		close_connection(p->c[i]);
	writer_free(&p->message);
	mem_free(p->value);
	mem_free(p);
	return ok;
}
