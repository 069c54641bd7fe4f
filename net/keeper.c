/* The thread that does what the clock asks for, and that frees links. */
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "net/internal.h"

#define RETRY_US 1000	 /* a link that somebody still uses */
#define IDLE_US	 1000000 /* nothing to look after */
#define PATIENCE 3	 /* keepalive intervals of silence */

void keeper_wake(struct net *net)
{
	pthread_mutex_lock(&net->lock);
	net->awake = true;
	pthread_cond_signal(&net->wake);
	pthread_mutex_unlock(&net->lock);
}

/* p->lock is held; l is the link that ended, NULL if there was none. The delay is uniform in
 * [backoff / 2, backoff], so that nodes that lost one peer at one time do not come back in
 * step. Only a link that has lasted as long as the longest delay makes it short again: a peer
 * that shakes hands and hangs up, again and again, costs no more than one that is away. */
static void dial_failed(struct peer *p, const struct link *l)
{
	struct net *net = p->net;
	uint64_t lasting_us = (uint64_t)net->reconnect_max_ms * 1000, half_us;

	if (l != NULL && l->up && clock_us() >= l->up_us + lasting_us)
		p->backoff_ms = net->reconnect_min_ms;
	half_us = (uint64_t)p->backoff_ms * 500;
	p->dialing = false;
	p->failures++;
	p->dial_us = clock_us() + half_us + random_below(&p->random, half_us + 1);
	p->backoff_ms = p->backoff_ms * 2 < net->reconnect_max_ms ? p->backoff_ms * 2
								  : net->reconnect_max_ms;
}

void on_dialed(void *arg)
{
	struct peer *p = arg;

	if (nng_aio_result(p->dial_aio) != 0) {
		pthread_mutex_lock(&p->lock);
		peer_failed(p, "cannot connect: %s", nng_strerror(nng_aio_result(p->dial_aio)));
		dial_failed(p, NULL);
		pthread_mutex_unlock(&p->lock);
		keeper_wake(p->net);
		return;
	}
	struct link *l = link_new(p->net, nng_aio_get_output(p->dial_aio, 0), p);
	link_start(l);
	link_unuse(l);
}

/* True: freed. */
static bool bury(struct link *l)
{
	struct peer *p;

	link_wait_receiver(l);
	turn_forget(l);
	p = l->peer; /* no callback sets it any more */
	if (p != NULL) {
		pthread_mutex_lock(&p->lock);
		peer_detach(p, l);
		pthread_mutex_unlock(&p->lock);
	}
	if (atomic_load(&l->users) > 0)
		return false;
	if (l->dialed) {
		pthread_mutex_lock(&p->lock);
		dial_failed(p, l);
		pthread_mutex_unlock(&p->lock);
	}
	link_free(l);
	return true;
}

static struct link *take_dead(struct net *net)
{
	struct link *dead = NULL;

	for (struct link **at = &net->links; *at != NULL;) {
		struct link *l = *at;

		if (atomic_load(&l->dead)) {
			*at = l->next;
			l->next = dead;
			dead = l;
		} else {
			at = &l->next;
		}
	}
	return dead;
}

/* Returns when to come again. */
static uint64_t bury_dead(struct net *net, uint64_t now)
{
	uint64_t again = now + IDLE_US;
	unsigned buried = 0;

	pthread_mutex_lock(&net->lock);
	struct link *dead = take_dead(net);
	pthread_mutex_unlock(&net->lock);
	while (dead != NULL) {
		struct link *l = dead;

		dead = l->next;
		if (bury(l)) {
			buried++;
			continue;
		}
		again = now + RETRY_US;
		pthread_mutex_lock(&net->lock);
		l->next = net->links;
		net->links = l;
		pthread_mutex_unlock(&net->lock);
	}
	pthread_mutex_lock(&net->lock);
	net->dying -= buried;
	pthread_mutex_unlock(&net->lock);
	return again;
}

static struct link *find_late(struct net *net, uint64_t now, bool all)
{
	for (struct link *l = net->links; l != NULL; l = l->next) {
		if (atomic_load(&l->dead))
			continue;
		if (all || (l->unproved &&
			    now > l->born_us + (uint64_t)NET_HANDSHAKE_TIMEOUT_MS * 1000))
			return l;
	}
	return NULL;
}

static void handshake_late(struct net *net, struct link *l)
{
	handshake_refused(net, l, ERR_TIMEOUT);
	if (!l->dialed)
		return;
	pthread_mutex_lock(&l->peer->lock);
	peer_failed(l->peer, "no answer within %d ms of the handshake",
		    NET_HANDSHAKE_TIMEOUT_MS);
	pthread_mutex_unlock(&l->peer->lock);
}

/* Closes the handshakes that take too long, or every link. */
static void kill_late(struct net *net, uint64_t now, bool all)
{
	for (;;) {
		pthread_mutex_lock(&net->lock);
		struct link *l = find_late(net, now, all);
		bool late = l != NULL && l->unproved;
		pthread_mutex_unlock(&net->lock);
		if (l == NULL)
			return;
		if (late && !all)
			handshake_late(net, l);
		link_kill(l); /* only this thread frees, so l is still there */
	}
}

/* Once a keepalive interval. Counting intervals, not time, spares the links when it is this
 * process that was stopped for a while. False: the peer is gone. */
static bool keepalive(struct link *l, uint64_t now)
{
	uint64_t rx = atomic_load(&l->last_rx_us);

	l->tended_us = now;
	/* While stalled we do not listen, so there is nothing to hear. */
	if (rx != l->heard_us || l->stalled)
		l->silent = 0;
	else if (++l->silent >= PATIENCE)
		return false;
	l->heard_us = rx;
	l->ping_due = l->up;
	return true;
}

/* p->lock is held; it is released when true is returned. */
static bool tend_link(struct peer *p, struct link *l, uint64_t now)
{
	if (now >= l->tended_us + (uint64_t)p->net->keepalive_ms * 1000 && !keepalive(l, now)) {
		peer_failed(p, "silent for %u keepalives of %u ms", PATIENCE,
			    p->net->keepalive_ms);
		peer_detach(p, l);
		link_kill(l);
		return false;
	}
	if (l->up && session_untold(&p->session))
		l->ack_due = true;
	if (l->tx_busy || !(l->ping_due || l->ack_due))
		return false;
	l->tx_busy = true;
	send_now(p, l);
	return true;
}

/* Returns when to come again. */
static uint64_t tend_peer(struct peer *p, uint64_t now)
{
	uint64_t again = now + IDLE_US;

	pthread_mutex_lock(&p->lock);
	if (p->link != NULL) {
		again = now + TICK_US;
		if (tend_link(p, p->link, now))
			return again;
	} else if (p->dial && !p->dialing && !p->blocked) {
		if (now >= p->dial_us) {
			p->dialing = true;
			pthread_mutex_unlock(&p->lock);
			nng_stream_dialer_dial(p->dialer, p->dial_aio);
			return again;
		}
		again = p->dial_us;
	}
	pthread_mutex_unlock(&p->lock);
	return again;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void retry_accept(struct net *net)
{
	pthread_mutex_lock(&net->lock);
	bool retry = net->accept_paused && !net->closing;
	pthread_mutex_unlock(&net->lock);
	if (retry)
		accept_next(net);
}

/* net->lock is held. */
static void sleep_until(struct net *net, uint64_t when)
{
	struct timespec t = {.tv_sec = (time_t)(when / 1000000),
			     .tv_nsec = (long)(when % 1000000) * 1000};

	while (!net->awake && pthread_cond_timedwait(&net->wake, &net->lock, &t) == 0)
		;
	net->awake = false;
}

void *keeper_main(void *arg)
{
	struct net *net = arg;
	bool closing, left;

	do {
		uint64_t now = clock_us();
		uint64_t again = now + IDLE_US;

		pthread_mutex_lock(&net->lock);
		closing = net->closing;
		if (net->unproved > 0 || net->accept_paused)
			again = now + TICK_US;
		pthread_mutex_unlock(&net->lock);
		kill_late(net, now, closing);
		again = earlier(again, bury_dead(net, now));
		retry_accept(net);
		for (unsigned i = 0; i < net->peer_count && !closing; i++)
			again = earlier(again, tend_peer(&net->peers[i], now));
		pthread_mutex_lock(&net->lock);
		left = net->links != NULL;
		if (!closing || left)
			sleep_until(net, again);
		pthread_mutex_unlock(&net->lock);
	} while (!closing || left);
	return NULL;
}
