/* One connection: its life, its receiving side and its handshake. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/internal.h"

#define HANDSHAKE_RX_BYTES 1024

uint64_t clock_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t wall_clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void event_push(struct event_list *l, struct event_node *n)
{
	n->next = NULL;
	if (l->tail != NULL)
		l->tail->next = n;
	else
		l->head = n;
	l->tail = n;
}

struct event_node *event_pop(struct event_list *l)
{
	struct event_node *n = l->head;

	if (n == NULL)
		return NULL;
	l->head = n->next;
	if (l->head == NULL)
		l->tail = NULL;
	return n;
}

void event_clear(struct event_list *l)
{
	for (struct event_node *n; (n = event_pop(l)) != NULL;)
		mem_free(n);
}

static void on_received(void *arg);

/* The sender's address: as text, and as the unit by which handshake slots are shared out. */
static void read_address(struct link *l)
{
	nng_sockaddr sa;
	char host[INET6_ADDRSTRLEN] = "?";
	uint16_t port = 0;

	if (nng_stream_get_addr(l->stream, NNG_OPT_REMADDR, &sa) != 0)
		sa.s_family = NNG_AF_UNSPEC;
	if (sa.s_family == NNG_AF_INET) {
		inet_ntop(AF_INET, &sa.s_in.sa_addr, host, sizeof(host));
		port = ntohs(sa.s_in.sa_port);
		l->source[0] = 4;
		l->source[1] = sa.s_in.sa_addr;
		snprintf(l->address, sizeof(l->address), "%s:%u", host, port);
	} else if (sa.s_family == NNG_AF_INET6) {
		inet_ntop(AF_INET6, sa.s_in6.sa_addr, host, sizeof(host));
		port = ntohs(sa.s_in6.sa_port);
		l->source[0] = 6;
		memcpy(&l->source[1], sa.s_in6.sa_addr, 8);
		snprintf(l->address, sizeof(l->address), "[%s]:%u", host, port);
	} else {
		snprintf(l->address, sizeof(l->address), "?");
	}
}

/* Owns the stream from here on. The caller is a user until link_unuse(). */
struct link *link_new(struct net *net, nng_stream *stream, struct peer *dialed_to)
{
	struct link *l = mem_zalloc(sizeof(*l));

	l->net = net;
	l->peer = dialed_to;
	l->dialed = dialed_to != NULL;
	l->stream = stream;
	l->born_us = clock_us();
	l->rx_cap = HANDSHAKE_RX_BYTES;
	l->rx = mem_alloc(l->rx_cap);
	atomic_init(&l->dead, false);
	atomic_init(&l->users, 1);
	atomic_init(&l->last_rx_us, l->born_us);
	writer_init(&l->plain, 0);
	writer_init(&l->sealed, 0);
	/* As mem_alloc(): without memory there is no going on. */
	invariant(nng_aio_alloc(&l->recv_aio, on_received, l) == 0);
	invariant(nng_aio_alloc(&l->send_aio, on_sent, l) == 0);
	invariant(nng_aio_alloc(&l->try_aio, NULL, NULL) == 0);
	/* NNG's plain streams do not have it by default, in spite of the manual. */
	nng_stream_set_bool(stream, NNG_OPT_TCP_NODELAY, true);
	read_address(l);

	pthread_mutex_lock(&net->lock);
	l->unproved = true;
	l->next = net->links;
	net->links = l;
	pthread_mutex_unlock(&net->lock);
	return l;
}

void link_kill(struct link *l)
{
	struct net *net = l->net;

	if (atomic_exchange(&l->dead, true))
		return;
	nng_stream_close(l->stream);
	slot_release(l);
	pthread_mutex_lock(&net->lock);
	net->dying++;
	net->awake = true;
	pthread_cond_signal(&net->wake);
	pthread_mutex_unlock(&net->lock);
}

void link_unuse(struct link *l)
{
	atomic_fetch_sub(&l->users, 1);
}

void link_wait_receiver(struct link *l)
{
	nng_aio_stop(l->recv_aio);
}

void link_free(struct link *l)
{
	nng_aio_stop(l->send_aio);
	nng_aio_stop(l->try_aio);
	nng_aio_free(l->recv_aio);
	nng_aio_free(l->send_aio);
	nng_aio_free(l->try_aio);
	nng_stream_free(l->stream);
	if (l->channel != NULL)
		channel_free(l->channel);
	event_clear(&l->frames);
	writer_free(&l->plain);
	writer_free(&l->sealed);
	mem_free(l->rx);
	mem_free(l);
}

/* Kills with the peer told at once, not when the keeper comes by. */
static void break_link(struct link *l, int err)
{
	struct peer *p = l->peer;

	if (p != NULL) {
		pthread_mutex_lock(&p->lock);
		if (atomic_load(&l->dead))
			; /* we closed it, and said why */
		else if (l->told_err == ERR_VERSION)
			peer_failed(p, "it refuses us: it does not speak our version of the "
				       "links' protocol; run the same release on both");
		else if (l->told_err != 0)
			peer_failed(p, "it refuses us: %s", err_text(l->told_err));
		else if (err == ERR_VERSION)
			peer_failed(p, "it speaks another version of the links' protocol; run "
				       "the same release on both");
		else if (err != ERR_CLOSED && err != ERR_IO)
			peer_failed(p, "%s refused: %s",
				    l->state == LINK_OPEN ? "frame" : "handshake",
				    err_text(err));
		else if (l->state == LINK_HANDSHAKE || p->link == l)
			peer_failed(p, "the other side closed the connection%s",
				    l->state == LINK_OPEN ? "" : " during the handshake");
		if (l->state == LINK_OPEN)
			peer_detach(p, l);
		pthread_mutex_unlock(&p->lock);
	}
	link_kill(l);
}

/* A word to whoever dialed in vain; it is not authenticated and only a hint for people. */
static void say_refused(struct link *l, int err)
{
	struct writer w;

	if (err != ERR_WRONG_CHAIN && err != ERR_VERSION && err != ERR_UNKNOWN_SIGNER &&
	    err != ERR_PERMISSION)
		return;
	writer_init(&w, 0);
	writer_u32(&w, REFUSED_SIZE);
	writer_u8(&w, REFUSED_MARK);
	writer_u8(&w, (uint8_t)(-err >> 8));
	writer_u8(&w, (uint8_t)-err);
	send_plainly(l, writer_slice(&w));
	writer_free(&w);
}

/* True: in is such a word, and l->told_err what it says. */
static bool was_refused(struct link *l, struct slice in)
{
	if (!l->dialed || in.len != REFUSED_SIZE || in.ptr[0] != REFUSED_MARK)
		return false;
	l->told_err = -(in.ptr[1] << 8 | in.ptr[2]);
	return true;
}

static void refuse(struct link *l, int err)
{
	if (atomic_load(&l->dead) || err == ERR_CLOSED || err == ERR_IO) {
		break_link(l, err); /* nobody's fault */
		return;
	}
	if (l->state == LINK_HANDSHAKE) {
		handshake_refused(l->net, l, err);
		if (!l->dialed)
			say_refused(l, err);
	} else {
		log_limited(LOG_NET, LOG_DEBUG, "peer %u at %s: frame refused: %s",
			    l->peer->index, l->address, err_text(err));
		pthread_mutex_lock(&l->peer->lock);
		l->peer->refused_frames++;
		pthread_mutex_unlock(&l->peer->lock);
	}
	break_link(l, err);
}

static void read_more(struct link *l)
{
	size_t want = l->state == LINK_OPEN ? RX_BYTES : HANDSHAKE_RX_BYTES;

	if (l->rx_want > want)
		want = l->rx_want;
	if (l->rx_cap < want || (l->rx_cap > KEEP_BYTES && want == RX_BYTES)) {
		l->rx = mem_realloc(l->rx, want);
		l->rx_cap = want;
	}
	invariant(l->rx_len < l->rx_cap);
	nng_iov iov = {.iov_buf = l->rx + l->rx_len, .iov_len = l->rx_cap - l->rx_len};
	nng_aio_set_iov(l->recv_aio, 1, &iov);
	nng_stream_recv(l->stream, l->recv_aio);
}

/* Who has proved a key: is it one that may be at the other end here? */
static int find_peer(struct link *l)
{
	struct net *net = l->net;
	const struct pubkey *key = channel_peer(l->channel);

	if (l->dialed) /* the channel has checked that it is the expected one */
		return ERR_NONE;
	for (unsigned i = 0; i < net->peer_count; i++) {
		struct peer *p = &net->peers[i];

		pthread_mutex_lock(&p->lock); /* net_set_key() */
		bool its = pubkey_equal(&p->key, key);
		pthread_mutex_unlock(&p->lock);
		if (!its)
			continue;
		if (p->self || p->dial) /* a reflection, or the wrong end dials */
			return ERR_PERMISSION;
		l->peer = p;
		return ERR_NONE;
	}
	return ERR_UNKNOWN_SIGNER;
}

static int handshake_step(struct link *l, struct slice in)
{
	struct writer out;

	if (was_refused(l, in))
		return ERR_CLOSED;
	writer_init(&out, FRAME_PREFIX_SIZE + CHANNEL_HANDSHAKE_MAX);
	size_t prefix = writer_skip(&out, FRAME_PREFIX_SIZE);
	int rc = channel_handshake(l->channel, in, &out);
	if (rc >= 0 && out.len > FRAME_PREFIX_SIZE) {
		invariant(out.err == ERR_NONE);
		writer_patch_u32(&out, prefix, (uint32_t)(out.len - FRAME_PREFIX_SIZE));
		if (!send_plainly(l, writer_slice(&out)))
			rc = ERR_IO;
	}
	writer_free(&out);
	if (rc != 1)
		return rc;
	rc = find_peer(l);
	if (rc < 0)
		return rc;
	slot_release(l);
	l->state = LINK_OPEN;
	return peer_adopt(l->peer, l);
}

static int open_record(struct link *l, uint8_t *buf, size_t len)
{
	struct slice plain;
	struct frame f;

	if (len < CHANNEL_OVERHEAD)
		return ERR_TRUNCATED;
	int rc = channel_open(l->channel, buf, len, &plain);
	if (rc == ERR_NONE)
		rc = frame_decode(&f, plain);
	if (rc != ERR_NONE)
		return rc;
	struct event_node *n = mem_alloc(sizeof(*n) + f.payload.len);
	n->frame = f;
	n->kind = NET_EVENT_MESSAGE;
	if (f.payload.len > 0)
		memcpy(n->data, f.payload.ptr, f.payload.len);
	n->frame.payload.ptr = n->data;
	event_push(&l->frames, n);
	return ERR_NONE;
}

/* Consumes the whole handshake messages and records in the buffer. */
static int decode(struct link *l)
{
	size_t pos = 0, len;
	int rc = ERR_NONE;

	l->rx_want = 0;
	while (rc == ERR_NONE) {
		bool open = l->state == LINK_OPEN;
		int have = frame_prefix(slice_of(l->rx + pos, l->rx_len - pos),
					open ? FRAME_RECORD_MAX : CHANNEL_HANDSHAKE_MAX, &len);

		if (have < 0)
			rc = have;
		if (have <= 0)
			break;
		if (l->rx_len - pos - FRAME_PREFIX_SIZE < len) {
			l->rx_want = FRAME_PREFIX_SIZE + len;
			break;
		}
		uint8_t *body = l->rx + pos + FRAME_PREFIX_SIZE;
		rc = open ? open_record(l, body, len) : handshake_step(l, slice_of(body, len));
		pos += FRAME_PREFIX_SIZE + len;
	}
	if (pos > 0) {
		memmove(l->rx, l->rx + pos, l->rx_len - pos);
		l->rx_len -= pos;
	}
	return rc;
}

static bool decode_in_turn(struct link *l)
{
	bool stranger = l->state == LINK_HANDSHAKE && !l->dialed;

	if (stranger && !turn_take(l))
		return false;
	l->rx_err = decode(l);
	if (stranger)
		turn_pass(l);
	return true;
}

static void on_received(void *arg)
{
	struct link *l = arg;
	size_t count = nng_aio_count(l->recv_aio);

	if (nng_aio_result(l->recv_aio) != 0) {
		break_link(l, ERR_CLOSED);
		return;
	}
	if (count > 0) { /* 0: resumed */
		l->rx_len += count;
		atomic_store(&l->last_rx_us, clock_us());
		if (l->state == LINK_HANDSHAKE) {
			pthread_mutex_lock(&l->net->lock);
			l->spoke = true;
			pthread_mutex_unlock(&l->net->lock);
		}
	}
	if (l->rx_err == ERR_NONE && !decode_in_turn(l))
		return; /* link_resume() comes when it is our turn */
	if (l->state == LINK_OPEN) {
		/* What came whole before an offence counts. */
		int applied = peer_apply(l->peer, l);

		if (applied == 0)
			return; /* stalled: link_resume() goes on, perhaps already has */
		if (applied < 0)
			l->rx_err = applied;
	}
	if (l->rx_err != ERR_NONE)
		refuse(l, l->rx_err);
	else
		read_more(l);
}

bool link_resume(struct link *l)
{
	if (!nng_aio_begin(l->recv_aio))
		return false;
	nng_aio_finish(l->recv_aio, 0);
	return true;
}

int link_start(struct link *l)
{
	struct net *net = l->net;
	struct pubkey expected;

	if (l->dialed) {
		pthread_mutex_lock(&l->peer->lock); /* net_set_key() */
		expected = l->peer->key;
		pthread_mutex_unlock(&l->peer->lock);
	}
	l->channel = channel_new(l->dialed ? CHANNEL_INITIATOR : CHANNEL_RESPONDER,
				 &net->identity, &net->chain, l->dialed ? &expected : NULL);
	if (l->dialed) {
		int rc = handshake_step(l, slice_of(NULL, 0));

		if (rc < 0) {
			refuse(l, rc);
			return rc;
		}
	}
	read_more(l);
	return ERR_NONE;
}
