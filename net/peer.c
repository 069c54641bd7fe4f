/* Between links and the caller: which link counts, what its frames do, the inbox. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/internal.h"

/* Wakes the caller's thread. */
static void peer_ready(struct peer *p)
{
	struct net *net = p->net;
	unsigned long long bit = 1ull << p->index;

	if (atomic_load(&net->ready) & bit)
		return; /* net_next() clears the bit before it looks into the inbox */
	atomic_fetch_or(&net->ready, bit);
	if (!atomic_exchange(&net->signalled, true)) {
		const uint64_t one = 1;

		/* fails only if the counter is full, which is as good */
		if (write(net->event_fd, &one, sizeof(one)) < 0)
			return;
	}
}

/* Events about links are not more than two in a row, however often a link comes and goes. */
static void push_link_event(struct peer *p, enum net_event_kind kind)
{
	struct event_node *last = p->inbox.tail;

	if (kind == NET_EVENT_DOWN && last != NULL && last->kind == NET_EVENT_UP) {
		struct event_list kept = {0};

		for (struct event_node *n; (n = event_pop(&p->inbox)) != last;)
			event_push(&kept, n);
		mem_free(last);
		p->inbox = kept;
		last = kept.tail;
		if (last != NULL && last->kind == NET_EVENT_DOWN)
			return;
		/* the caller may not know of any link: it sees DOWN without UP, no harm */
	}
	struct event_node *n = mem_zalloc(sizeof(*n));
	n->kind = kind;
	event_push(&p->inbox, n);
	peer_ready(p);
}

void peer_failed(struct peer *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->error, sizeof(p->error), fmt, ap);
	va_end(ap);
	p->error_us = clock_us();
}

void peer_detach(struct peer *p, struct link *l)
{
	if (p->link != l)
		return;
	p->link = NULL;
	p->heard_us = atomic_load(&l->last_rx_us);
	if (l->up) {
		p->changed_us = clock_us();
		push_link_event(p, NET_EVENT_DOWN);
	}
}

int peer_adopt(struct peer *p, struct link *l)
{
	pthread_mutex_lock(&p->lock);
	if (p->blocked || atomic_load(&l->dead) ||
	    !pubkey_equal(&p->key, channel_peer(l->channel))) { /* it has a new one since */
		pthread_mutex_unlock(&p->lock);
		return ERR_CLOSED;
	}
	struct link *old = p->link;
	if (old != NULL) {
		/* Only the holder of the key can be here, so the older one is a leftover. */
		peer_detach(p, old);
		link_kill(old);
	}
	p->link = l;
	session_greet(&p->session, &l->greet);
	l->greet_due = true;
	l->tx_busy = true;
	send_now(p, l);
	keeper_wake(p->net); /* there is a link to look after */
	return ERR_NONE;
}

static int apply_pong(struct peer *p, struct link *l, uint64_t number, uint64_t wall_ms)
{
	if (number <= l->ponged || number > l->ping_number)
		return ERR_RANGE;
	l->ponged = number;
	if (number == l->ping_number) {
		uint64_t us = clock_us() - l->ping_us;

		p->rtt_us = us > 0 ? us : 1;
		p->clock_known = true;
		p->clock_offset_ms = (int64_t)wall_ms - (int64_t)(wall_clock_ms() - us / 2000);
	}
	return ERR_NONE;
}

static size_t node_cost(const struct event_node *n)
{
	return sizeof(*n) + n->frame.payload.len;
}

/* 1 done, 0 no room, an error. Frees n or keeps it in the inbox if done. */
static int apply_frame(struct peer *p, struct link *l, struct event_node *n)
{
	const struct frame *f = &n->frame;
	int rc = ERR_NONE;

	if (!l->up && f->kind != FRAME_GREET)
		return ERR_RANGE;
	switch (f->kind) {
	case FRAME_GREET:
		rc = session_greeted(&p->session, f);
		if (rc == ERR_NONE) {
			l->up = true;
			p->connects++;
			p->failures = 0;
			p->changed_us = l->up_us = clock_us();
			push_link_event(p, NET_EVENT_UP);
		}
		break;
	case FRAME_DATA:
		if (p->inbox_bytes > 0 && p->inbox_bytes + node_cost(n) > NET_INBOX_BYTES_MAX)
			return 0;
		rc = session_receive(&p->session, f);
		if (rc == 1) {
			p->inbox_bytes += node_cost(n);
			event_push(&p->inbox, n);
			return 1;
		}
		break;
	case FRAME_ACK:
		rc = session_ack(&p->session, f);
		break;
	case FRAME_PING:
		l->pong_due = f->number;
		break;
	case FRAME_PONG:
		rc = apply_pong(p, l, f->number, f->wall_ms);
		break;
	}
	if (rc < 0)
		return rc;
	mem_free(n);
	return 1;
}

int peer_apply(struct peer *p, struct link *l)
{
	bool delivered = false;
	int rc = 1;

	pthread_mutex_lock(&p->lock);
	if (p->link != l) {
		pthread_mutex_unlock(&p->lock);
		return ERR_CLOSED;
	}
	while (l->frames.head != NULL) {
		struct event_node *n = l->frames.head;
		struct event_node *next = n->next;
		bool data = n->frame.kind == FRAME_DATA;

		rc = apply_frame(p, l, n);
		if (rc <= 0)
			break;
		delivered = delivered || data;
		l->frames.head = next;
		if (next == NULL)
			l->frames.tail = NULL;
	}
	if (rc == 0)
		l->stalled = true;
	if (delivered)
		peer_ready(p);
	if (session_ack_due(&p->session))
		l->ack_due = true;
	bool pending = session_pending(&p->session);
	if (rc < 0 || l->tx_busy || !(pending || l->ack_due || l->pong_due != 0)) {
		pthread_mutex_unlock(&p->lock);
		return rc;
	}
	/* Once stalled and unlocked, another thread may resume and even lose the link. */
	atomic_fetch_add(&l->users, 1);
	l->tx_busy = true;
	if (pending) /* as much as there is: not in the thread that should be reading */
		send_later(p, l);
	else
		send_now(p, l);
	link_unuse(l);
	return rc;
}
