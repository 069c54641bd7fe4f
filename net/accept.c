/* Connections that have proved nothing: they hold one of NET_HANDSHAKES_MAX slots, for
 * NET_HANDSHAKE_TIMEOUT_MS at most. When all are taken, a newcomer displaces one of the
 * source address that holds most of them, first one that has sent nothing, then the oldest:
 * whoever floods us from one address displaces himself. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/internal.h"

/* net->lock is held. The newest is in front. */
static void note_refusal(struct net *net, const struct link *l, int err)
{
	struct net_refusal r = {.err = err, .count = 1, .ago_us = clock_us()};
	unsigned at = 0;

	snprintf(r.address, sizeof(r.address), "%s", l->address);
	char *colon = strrchr(r.address, ':');
	if (colon != NULL)
		*colon = '\0';
	while (at < net->refusal_count && (net->refusal[at].err != err ||
					   strcmp(net->refusal[at].address, r.address) != 0))
		at++;
	if (at < net->refusal_count)
		r.count += net->refusal[at].count;
	else if (net->refusal_count < NET_REFUSALS_MAX)
		net->refusal_count++;
	else
		at--;
	memmove(&net->refusal[1], &net->refusal[0], at * sizeof(r));
	net->refusal[0] = r;
}

void handshake_refused(struct net *net, struct link *l, int err)
{
	atomic_fetch_add(&net->handshakes_refused, 1);
	pthread_mutex_lock(&net->lock);
	note_refusal(net, l, err);
	pthread_mutex_unlock(&net->lock);
	log_limited(LOG_NET, LOG_DEBUG, "handshake with %s refused: %s", l->address,
		    err_text(err));
}

static bool holds_slot(const struct link *l)
{
	return l->unproved && !l->dialed;
}

/* Idempotent; the link has proved its key, or dies. */
void slot_release(struct link *l)
{
	struct net *net = l->net;

	pthread_mutex_lock(&net->lock);
	if (holds_slot(l))
		net->unproved--;
	l->unproved = false;
	pthread_mutex_unlock(&net->lock);
}

static unsigned slots_of(const struct net *net, const uint32_t source[4])
{
	unsigned n = 0;

	for (const struct link *l = net->links; l != NULL; l = l->next)
		if (holds_slot(l) && memcmp(l->source, source, sizeof(l->source)) == 0)
			n++;
	return n;
}

static struct link *choose_victim(struct net *net, const struct link *newcomer)
{
	struct link *victim = NULL;
	unsigned most = 0;

	for (struct link *l = net->links; l != NULL; l = l->next) {
		if (!holds_slot(l) || l == newcomer)
			continue;
		unsigned n = slots_of(net, l->source);
		if (victim == NULL || n > most || (n == most && victim->spoke && !l->spoke) ||
		    (n == most && victim->spoke == l->spoke && l->born_us < victim->born_us)) {
			victim = l;
			most = n;
		}
	}
	return victim;
}

static void slot_take(struct net *net, struct link *newcomer)
{
	struct link *victim = NULL;

	pthread_mutex_lock(&net->lock);
	net->unproved++;
	if (net->unproved > NET_HANDSHAKES_MAX) {
		victim = choose_victim(net, newcomer);
		invariant(victim != NULL);
		atomic_fetch_add(&victim->users, 1);
	}
	pthread_mutex_unlock(&net->lock);
	if (victim != NULL) {
		handshake_refused(net, victim, ERR_BUSY);
		link_kill(victim);
		link_unuse(victim);
	}
}

/* Strangers do the arithmetic of their handshakes one after the other, so that a flood of
 * them keeps one core busy and not all of NNG's threads. */
bool turn_take(struct link *l)
{
	struct net *net = l->net;

	pthread_mutex_lock(&net->lock);
	if (!l->turn && !net->turn_taken) {
		net->turn_taken = true;
		l->turn = true;
	}
	if (!l->turn) {
		struct link **at = &net->turns;

		while (*at != NULL)
			at = &(*at)->turn_next;
		*at = l;
		l->turn_next = NULL;
		l->waiting = true;
	}
	bool mine = l->turn;
	pthread_mutex_unlock(&net->lock);
	return mine;
}

void turn_pass(struct link *l)
{
	struct net *net = l->net;
	struct link *next;
	bool taken;

	pthread_mutex_lock(&net->lock);
	l->turn = false;
	do {
		next = net->turns;
		if (next == NULL) {
			net->turn_taken = false;
			break;
		}
		net->turns = next->turn_next;
		next->waiting = false;
		next->turn = true;
		atomic_fetch_add(&next->users, 1);
		pthread_mutex_unlock(&net->lock);
		taken = link_resume(next);
		link_unuse(next);
		pthread_mutex_lock(&net->lock);
	} while (!taken); /* else that link may be gone by now */
	pthread_mutex_unlock(&net->lock);
}

void turn_forget(struct link *l)
{
	struct net *net = l->net;

	pthread_mutex_lock(&net->lock);
	for (struct link **at = &net->turns; l->waiting; at = &(*at)->turn_next) {
		if (*at == l) {
			*at = l->turn_next;
			l->waiting = false;
			break;
		}
	}
	pthread_mutex_unlock(&net->lock);
}

void accept_next(struct net *net)
{
	pthread_mutex_lock(&net->lock);
	/* Faster than the keeper frees them, connections are not taken on. */
	net->accept_paused = net->dying > NET_HANDSHAKES_MAX;
	bool paused = net->accept_paused;
	pthread_mutex_unlock(&net->lock);
	if (!paused)
		nng_stream_listener_accept(net->listener, net->accept_aio);
}

void on_accept(void *arg)
{
	struct net *net = arg;
	int rv = nng_aio_result(net->accept_aio);

	if (rv == NNG_ECLOSED || rv == NNG_ECANCELED)
		return;
	if (rv != 0) { /* no descriptor left, for instance: the keeper tries again */
		log_limited(LOG_NET, LOG_WARN, "cannot accept connections: %s",
			    nng_strerror(rv));
		pthread_mutex_lock(&net->lock);
		net->accept_paused = true;
		pthread_mutex_unlock(&net->lock);
		return;
	}
	struct link *l = link_new(net, nng_aio_get_output(net->accept_aio, 0), NULL);
	slot_take(net, l);
	link_start(l);
	link_unuse(l);
	accept_next(net);
}
