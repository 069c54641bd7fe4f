/* The public functions: opening and closing, the caller's side of sending and of events. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/internal.h"

static char *make_url(const char *host, uint16_t port)
{
	bool v6 = strchr(host, ':') != NULL && host[0] != '[';

	return mem_printf("tcp://%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

static int open_listener(struct net *net, const char *host, uint16_t port, struct errmsg *m)
{
	char *url = make_url(host, port);
	int bound = 0;
	int rv = nng_stream_listener_alloc(&net->listener, url);

	if (rv == 0)
		nng_stream_listener_set_bool(net->listener, NNG_OPT_TCP_NODELAY, true);
	if (rv == 0)
		rv = nng_stream_listener_listen(net->listener);
	if (rv == 0)
		rv = nng_stream_listener_get_int(net->listener, NNG_OPT_TCP_BOUND_PORT, &bound);
	net->port = (uint16_t)bound;
	mem_free(url);
	if (rv == 0)
		return ERR_NONE;
	return err_set(m, rv == NNG_EADDRINUSE ? ERR_EXISTS : ERR_IO,
		       "cannot listen for peers on %s port %u: %s", host, port,
		       nng_strerror(rv));
}

static int open_peer(struct net *net, unsigned i, const struct net_peer_config *c,
		     struct errmsg *m)
{
	struct peer *p = &net->peers[i];
	uint64_t instance, seed;

	p->net = net;
	p->index = i;
	p->key = c->key;
	p->self = pubkey_equal(&c->key, &net->identity.pub);
	p->dial = c->dial && !p->self;
	p->backoff_ms = net->reconnect_min_ms;
	p->changed_us = clock_us();
	pthread_mutex_init(&p->lock, NULL);
	do
		crypto_random(&instance, sizeof(instance));
	while (instance == 0);
	session_init(&p->session, instance);
	crypto_random(&seed, sizeof(seed));
	random_seed(&p->random, seed);
	for (unsigned k = 0; k < i; k++)
		if (pubkey_equal(&c->key, &net->peers[k].key))
			return err_set(m, ERR_CONFIG, "peers %u and %u have the same key", k,
				       i);
	if (!p->dial)
		return ERR_NONE;
	if (c->host == NULL || c->host[0] == '\0' || c->port == 0)
		return err_set(m, ERR_CONFIG, "peer %u is to be dialed but has no address", i);
	char *url = make_url(c->host, c->port);
	int rv = nng_stream_dialer_alloc(&p->dialer, url);
	mem_free(url);
	if (rv != 0)
		return err_set(m, ERR_CONFIG, "address %s port %u of peer %u: %s", c->host,
			       c->port, i, nng_strerror(rv));
	nng_stream_dialer_set_bool(p->dialer, NNG_OPT_TCP_NODELAY, true);
	invariant(nng_aio_alloc(&p->dial_aio, on_dialed, p) == 0);
	nng_aio_set_timeout(p->dial_aio, NET_HANDSHAKE_TIMEOUT_MS);
	return ERR_NONE;
}

static void init_locks(struct net *net)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&net->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&net->wake, &attr);
	pthread_condattr_destroy(&attr);
}

static void close_peer(struct peer *p)
{
	if (p->dialer != NULL)
		nng_stream_dialer_free(p->dialer);
	if (p->dial_aio != NULL)
		nng_aio_free(p->dial_aio);
	session_free(&p->session);
	event_clear(&p->inbox);
	pthread_mutex_destroy(&p->lock);
}

/* Everything but links and threads. */
static void release(struct net *net)
{
	for (unsigned i = 0; i < net->peer_count; i++)
		close_peer(&net->peers[i]);
	if (net->listener != NULL)
		nng_stream_listener_free(net->listener);
	if (net->accept_aio != NULL)
		nng_aio_free(net->accept_aio);
	event_clear(&net->taken);
	mem_free(net->current);
	if (net->event_fd >= 0)
		close(net->event_fd);
	pthread_cond_destroy(&net->wake);
	pthread_mutex_destroy(&net->lock);
	crypto_wipe(&net->identity, sizeof(net->identity));
	mem_free(net->peers);
	mem_free(net);
}

int net_open(struct net **out, const struct net_config *config, struct errmsg *m)
{
	int rc = ERR_NONE;

	*out = NULL;
	if (config->peer_count > NET_PEERS_MAX)
		return err_set(m, ERR_LIMIT, "%u peers are more than %d", config->peer_count,
			       NET_PEERS_MAX);
	crypto_init();
	struct net *net = mem_zalloc(sizeof(*net));
	init_locks(net);
	net->identity = *config->identity;
	net->chain = config->chain;
	net->reconnect_min_ms = config->reconnect_min_ms ? config->reconnect_min_ms : 20;
	net->reconnect_max_ms = config->reconnect_max_ms ? config->reconnect_max_ms : 250;
	net->keepalive_ms = config->keepalive_ms ? config->keepalive_ms : 1000;
	if (net->reconnect_max_ms < net->reconnect_min_ms)
		net->reconnect_max_ms = net->reconnect_min_ms;
	net->peers =
		mem_array(config->peer_count ? config->peer_count : 1, sizeof(*net->peers));
	net->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (net->event_fd < 0)
		rc = err_set(m, ERR_IO, "no eventfd: %s", strerror(errno));
	for (unsigned i = 0; i < config->peer_count && rc == ERR_NONE; i++) {
		net->peer_count++;
		rc = open_peer(net, i, &config->peers[i], m);
	}
	if (rc == ERR_NONE && config->listen_host != NULL)
		rc = open_listener(net, config->listen_host, config->listen_port, m);
	if (rc == ERR_NONE && net->listener != NULL)
		invariant(nng_aio_alloc(&net->accept_aio, on_accept, net) == 0);
	if (rc == ERR_NONE && pthread_create(&net->keeper, NULL, keeper_main, net) != 0)
		rc = err_set(m, ERR_IO, "cannot start a thread");
	if (rc != ERR_NONE) {
		release(net);
		return rc;
	}
	if (net->listener != NULL)
		accept_next(net);
	*out = net;
	return ERR_NONE;
}

void net_close(struct net *net)
{
	if (net == NULL)
		return;
	/* First no new links; then the keeper ends those there are, and itself. */
	if (net->listener != NULL) {
		nng_stream_listener_close(net->listener);
		nng_aio_stop(net->accept_aio);
	}
	for (unsigned i = 0; i < net->peer_count; i++) {
		if (net->peers[i].dialer == NULL)
			continue;
		nng_stream_dialer_close(net->peers[i].dialer);
		nng_aio_stop(net->peers[i].dial_aio);
	}
	pthread_mutex_lock(&net->lock);
	net->closing = true;
	net->awake = true;
	pthread_cond_signal(&net->wake);
	pthread_mutex_unlock(&net->lock);
	pthread_join(net->keeper, NULL);
	release(net);
}

uint16_t net_port(const struct net *net)
{
	return net->port;
}

/* A lone short message is sealed and sent in the caller's thread; a wake-up would cost more
 * than that. In a burst NNG's threads take over, and the messages share writes. */
static bool send_direct(struct link *l, size_t len)
{
	uint64_t now = clock_us();

	if (len > DIRECT_BYTES)
		return false;
	if (now - l->burst_us > DIRECT_US) {
		l->burst_us = now;
		l->burst = 0;
	}
	return l->burst++ < DIRECT_BURST;
}

/* p->lock is held; released here. */
static void start_sending(struct peer *p, size_t bytes)
{
	struct link *l = p->link;

	if (l == NULL || !l->up || l->tx_busy) {
		pthread_mutex_unlock(&p->lock);
		return;
	}
	l->tx_busy = true;
	atomic_fetch_add(&l->users, 1);
	if (send_direct(l, bytes))
		send_now(p, l);
	else
		send_later(p, l);
	link_unuse(l);
}

int net_send(struct net *net, unsigned peer, enum net_class class, struct slice msg)
{
	invariant(peer < net->peer_count && class < NET_CLASSES);
	struct peer *p = &net->peers[peer];

	if (msg.len > NET_MESSAGE_MAX)
		return ERR_LIMIT;
	if (p->self)
		return ERR_UNREACHABLE;
	struct message *copy = message_new(msg);
	pthread_mutex_lock(&p->lock);
	int rc = session_queue(&p->session, class, copy);
	if (rc == ERR_NONE && !net->held) {
		start_sending(p, msg.len);
		return ERR_NONE;
	}
	pthread_mutex_unlock(&p->lock);
	if (rc == ERR_NONE) {
		net->held_peers |= 1ull << peer;
		net->held_bytes[peer] += msg.len;
	}
	return rc;
}

void net_hold(struct net *net)
{
	net->held = true;
}

void net_flush(struct net *net)
{
	for (; net->held_peers; net->held_peers &= net->held_peers - 1) {
		unsigned i = (unsigned)__builtin_ctzll(net->held_peers);

		pthread_mutex_lock(&net->peers[i].lock);
		start_sending(&net->peers[i], net->held_bytes[i]);
		net->held_bytes[i] = 0;
	}
}

void net_release(struct net *net)
{
	net->held = false;
	net_flush(net);
}

int net_fd(const struct net *net)
{
	return net->event_fd;
}

/* Takes a turn's worth of p's inbox; room in it lets a stalled link read on. */
static void take_events(struct net *net, struct peer *p)
{
	struct link *resume = NULL;
	size_t bytes = 0;

	pthread_mutex_lock(&p->lock);
	for (unsigned n = 0; n < TAKE_NODES && bytes < TAKE_BYTES; n++) {
		struct event_node *node = event_pop(&p->inbox);

		if (node == NULL)
			break;
		if (node->kind == NET_EVENT_MESSAGE)
			bytes += sizeof(*node) + node->frame.payload.len;
		event_push(&net->taken, node);
	}
	p->inbox_bytes -= bytes;
	net->taken_peer = p->index;
	if (p->link != NULL && p->link->stalled && p->inbox_bytes <= NET_INBOX_BYTES_MAX / 2) {
		resume = p->link;
		resume->stalled = false;
		atomic_store(&resume->last_rx_us, clock_us());
		atomic_fetch_add(&resume->users, 1);
	}
	if (p->inbox.head != NULL)
		atomic_fetch_or(&net->ready, 1ull << p->index);
	pthread_mutex_unlock(&p->lock);
	if (resume != NULL) {
		link_resume(resume);
		link_unuse(resume);
	}
}

/* The peers' turns go round, so that one who floods does not silence the others. */
static struct peer *next_ready(struct net *net)
{
	unsigned long long bits = atomic_load(&net->ready);

	if (bits == 0) {
		uint64_t count;

		if (read(net->event_fd, &count, sizeof(count)) < 0)
			count = 0; /* was not readable */
		atomic_store(&net->signalled, false);
		bits = atomic_load(&net->ready);
		if (bits == 0)
			return NULL;
		if (!atomic_exchange(&net->signalled, true)) {
			count = 1; /* stays readable until we say that nothing waits */
			if (write(net->event_fd, &count, sizeof(count)) < 0)
				count = 0;
		}
	}
	unsigned i = net->taken_peer;
	do
		i = (i + 1) % NET_PEERS_MAX;
	while ((bits & 1ull << i) == 0);
	atomic_fetch_and(&net->ready, ~(1ull << i));
	return &net->peers[i];
}

bool net_next(struct net *net, struct net_event *out)
{
	mem_free(net->current);
	while ((net->current = event_pop(&net->taken)) == NULL) {
		struct peer *p = next_ready(net);

		if (p == NULL)
			return false;
		take_events(net, p);
	}
	*out = (struct net_event){.kind = net->current->kind,
				  .peer = net->taken_peer,
				  .message = net->current->frame.payload};
	return true;
}

int net_set_key(struct net *net, unsigned peer, const struct pubkey *key)
{
	invariant(peer < net->peer_count);
	struct peer *p = &net->peers[peer];
	for (unsigned i = 0; i < net->peer_count; i++)
		if (i != peer && pubkey_equal(&net->peers[i].key, key))
			return ERR_EXISTS;
	pthread_mutex_lock(&p->lock);
	if (!pubkey_equal(&p->key, key) && !p->self) {
		p->key = *key;
		if (p->link != NULL) {
			struct link *l = p->link;

			peer_detach(p, l);
			link_kill(l);
		}
		p->dial_us = 0;
		p->backoff_ms = net->reconnect_min_ms;
	}
	pthread_mutex_unlock(&p->lock);
	keeper_wake(net);
	return ERR_NONE;
}

void net_block(struct net *net, unsigned peer, bool blocked)
{
	invariant(peer < net->peer_count);
	struct peer *p = &net->peers[peer];

	pthread_mutex_lock(&p->lock);
	p->blocked = blocked;
	if (blocked && p->link != NULL) {
		struct link *l = p->link;

		peer_detach(p, l);
		link_kill(l);
	}
	if (!blocked) {
		p->dial_us = 0;
		p->backoff_ms = net->reconnect_min_ms;
	}
	pthread_mutex_unlock(&p->lock);
	keeper_wake(net);
}

/* p->lock is held. */
static void state_stats(const struct peer *p, uint64_t now, struct net_peer_stats *out)
{
	uint64_t heard = p->link != NULL ? atomic_load(&p->link->last_rx_us) : p->heard_us;

	out->state_us = now > p->changed_us ? now - p->changed_us : 0;
	out->heard = heard != 0;
	out->heard_us = out->heard && now > heard ? now - heard : 0;
	memcpy(out->error, p->error, sizeof(out->error));
	out->error_us = p->error[0] != '\0' && now > p->error_us ? now - p->error_us : 0;
	out->dials = p->dial;
	out->dialing = p->dialing && p->link == NULL;
	out->retry_us = p->dial && !p->dialing && p->link == NULL && p->dial_us > now
				? p->dial_us - now
				: 0;
	out->failures = p->failures;
	out->clock_known = p->clock_known;
	out->clock_offset_ms = p->clock_offset_ms;
	for (int c = 0; c < NET_CLASSES; c++) {
		out->class[c].queued_messages = p->session.class[c].count;
		out->class[c].queued_bytes = p->session.class[c].bytes;
		out->class[c].dropped_messages = p->session.class[c].dropped;
	}
}

void net_peer_stats(const struct net *net, unsigned peer, struct net_peer_stats *out)
{
	invariant(peer < net->peer_count);
	struct peer *p = &net->peers[peer];
	size_t bytes;

	*out = (struct net_peer_stats){0};
	pthread_mutex_lock(&p->lock);
	out->up = p->link != NULL && p->link->up;
	out->connects = p->connects;
	out->sent_messages = p->session.sent_messages;
	out->sent_bytes = p->session.sent_bytes;
	out->received_messages = p->session.received_messages;
	out->received_bytes = p->session.received_bytes;
	out->resent_messages = p->session.resent_messages;
	out->dropped_messages = p->session.dropped_messages;
	out->refused_frames = p->refused_frames;
	out->queued_messages = session_queued(&p->session, &bytes);
	out->queued_bytes = bytes;
	out->rtt_us = p->rtt_us;
	if (p->link != NULL)
		snprintf(out->address, sizeof(out->address), "%s", p->link->address);
	state_stats(p, clock_us(), out);
	pthread_mutex_unlock(&p->lock);
}

void net_stats(const struct net *net, struct net_stats *out)
{
	struct net *locked = (struct net *)net; /* its lock is no part of what it says */
	uint64_t now = clock_us();

	*out = (struct net_stats){.handshakes_refused = atomic_load(&net->handshakes_refused)};
	pthread_mutex_lock(&locked->lock);
	out->refusal_count = net->refusal_count;
	for (unsigned i = 0; i < net->refusal_count; i++) {
		out->refusal[i] = net->refusal[i];
		out->refusal[i].ago_us = now - net->refusal[i].ago_us;
	}
	pthread_mutex_unlock(&locked->lock);
}
