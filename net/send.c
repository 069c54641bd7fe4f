/* The sending side of a link. Whoever sets tx_busy owns it until all that waits is sent: a
 * lone message leaves in the thread that sends it, and what comes while a write is under way
 * leaves together in the next. */
#include "base/mem.h"
#include "net/internal.h"

#define BATCHES_IN_TURN 4 /* then another of NNG's threads goes on: this one has other work */

static void put(struct link *l, const struct frame *f)
{
	size_t prefix = writer_skip(&l->plain, FRAME_PREFIX_SIZE);
	size_t start = l->plain.len;

	frame_encode(&l->plain, f);
	writer_patch_u32(&l->plain, prefix, (uint32_t)(l->plain.len - start));
}

/* Copies what should leave next, in the order in which it should. */
static bool fill(struct peer *p, struct link *l)
{
	struct frame f;

	writer_reset(&l->plain);
	if (l->greet_due) {
		put(l, &l->greet);
		l->greet_due = false;
	}
	if (l->pong_due != 0) {
		put(l, &(struct frame){.kind = FRAME_PONG,
				       .number = l->pong_due,
				       .wall_ms = wall_clock_ms()});
		l->pong_due = 0;
	}
	if (l->ping_due) {
		l->ping_us = clock_us();
		put(l, &(struct frame){.kind = FRAME_PING, .number = ++l->ping_number});
		l->ping_due = false;
	}
	while (l->plain.len < BATCH_BYTES && session_pick(&p->session, &f))
		put(l, &f);
	if (l->ack_due && session_untold(&p->session)) {
		session_make_ack(&p->session, &f);
		put(l, &f);
	}
	l->ack_due = false;
	return l->plain.len > 0;
}

static void seal(struct link *l)
{
	struct reader r;

	writer_reset(&l->sealed);
	l->sealed_sent = 0;
	reader_init(&r, writer_slice(&l->plain));
	while (r.left > 0) {
		struct slice frame = reader_var(&r, FRAME_MAX);

		invariant(r.err == ERR_NONE);
		writer_u32(&l->sealed, (uint32_t)(frame.len + CHANNEL_OVERHEAD));
		channel_seal(l->channel, frame, &l->sealed);
	}
}

/* A large message came by: its buffers are not kept for ever. */
static void shrink(struct writer *w)
{
	if (w->cap > KEEP_BYTES) {
		writer_free(w);
		writer_init(w, 0);
	}
}

/* Sends without waiting and without a thread of NNG's: an operation that does not finish
 * inside nng_stream_send(), in this thread, is taken back. Returns the bytes sent; 0 when the
 * socket is full or broken. */
static size_t try_send(struct link *l, const uint8_t *ptr, size_t len)
{
	nng_iov iov = {.iov_buf = (void *)ptr, .iov_len = len};

	nng_aio_set_iov(l->try_aio, 1, &iov);
	nng_stream_send(l->stream, l->try_aio);
	nng_aio_abort(l->try_aio, NNG_EAGAIN);
	nng_aio_wait(l->try_aio);
	return nng_aio_result(l->try_aio) == 0 ? nng_aio_count(l->try_aio) : 0;
}

bool send_plainly(struct link *l, struct slice bytes)
{
	while (bytes.len > 0) {
		size_t n = try_send(l, bytes.ptr, bytes.len);

		if (n == 0) /* a few bytes into a fresh socket */
			return false;
		bytes = slice_of(bytes.ptr + n, bytes.len - n);
	}
	return true;
}

static void send_rest(struct link *l)
{
	nng_iov iov = {.iov_buf = l->sealed.buf + l->sealed_sent,
		       .iov_len = l->sealed.len - l->sealed_sent};

	nng_aio_set_iov(l->send_aio, 1, &iov);
	nng_stream_send(l->stream, l->send_aio);
}

/* False: an operation is under way and on_sent() goes on. */
static bool send_sealed(struct link *l)
{
	while (l->sealed_sent < l->sealed.len) {
		size_t n = try_send(l, l->sealed.buf + l->sealed_sent,
				    l->sealed.len - l->sealed_sent);

		if (n == 0) {
			send_rest(l);
			return false;
		}
		l->sealed_sent += n;
	}
	shrink(&l->plain);
	shrink(&l->sealed);
	return true;
}

void send_later(struct peer *p, struct link *l)
{
	pthread_mutex_unlock(&p->lock);
	writer_reset(&l->sealed);
	l->sealed_sent = 0;
	if (nng_aio_begin(l->send_aio))
		nng_aio_finish(l->send_aio, 0);
}

void send_now(struct peer *p, struct link *l)
{
	for (int n = 0; !atomic_load(&l->dead) && p->link == l && fill(p, l); n++) {
		pthread_mutex_unlock(&p->lock);
		seal(l);
		if (!send_sealed(l))
			return;
		pthread_mutex_lock(&p->lock);
		if (n == BATCHES_IN_TURN - 1) {
			send_later(p, l);
			return;
		}
	}
	l->tx_busy = false;
	pthread_mutex_unlock(&p->lock);
}

void on_sent(void *arg)
{
	struct link *l = arg;

	if (nng_aio_result(l->send_aio) != 0) {
		link_kill(l); /* the receiving side tells the peer */
		return;
	}
	l->sealed_sent += nng_aio_count(l->send_aio);
	if (l->sealed_sent < l->sealed.len) {
		send_rest(l);
		return;
	}
	pthread_mutex_lock(&l->peer->lock);
	send_now(l->peer, l);
}
