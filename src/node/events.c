#include "node/events.h"
#include "node/config.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct entry {
	enum event_type type; /* BLOCKS: a block and its transactions */
	struct cursor first, last;
	struct block_view view;
	char *text;
	size_t bytes;
};

struct events {
	pthread_mutex_t lock;
	struct entry ring[EVENTS_RING_MAX];
	unsigned start, count;
	size_t bytes;
	struct cursor floor; /* of the last event that has left the ring */
	struct cursor head;  /* of the newest event */
	bool news, closed;
	unsigned beat;
	uint64_t next_beat;
	unsigned subscribers, max;
	TAILQ_HEAD(, subscriber) list;
};

static const char *const type_names[EVENT_TYPES] = {"blocks", "txs", "consensus", "evidence"};

const char *event_type_name(enum event_type t)
{
	return type_names[t];
}

int event_types_parse(unsigned *out, const char *text)
{
	*out = 0;
	for (const char *at = text ? text : ""; *at; at++) {
		size_t len = strcspn(at, ","), t = 0;
		while (t < EVENT_TYPES &&
		       (strlen(type_names[t]) != len || memcmp(type_names[t], at, len) != 0))
			t++;
		if (t == EVENT_TYPES)
			return ERR_SYNTAX;
		*out |= 1u << t;
		at += len;
		if (!*at)
			return ERR_NONE;
	}
	return ERR_SYNTAX; /* empty, or a comma at the end */
}

const char *cursor_text(char out[CURSOR_TEXT_SIZE], struct cursor c)
{
	snprintf(out, CURSOR_TEXT_SIZE, "%llu.%llu", (unsigned long long)c.height,
		 (unsigned long long)c.index);
	return out;
}

int cursor_parse(struct cursor *out, const char *text)
{
	char height[24];
	const char *dot = text ? strchr(text, '.') : NULL;
	size_t len = text ? dot ? (size_t)(dot - text) : strlen(text) : 0;
	if (len == 0 || len >= sizeof height)
		return ERR_SYNTAX;
	memcpy(height, text, len);
	height[len] = 0;
	int err = http_u64(height, &out->height);
	if (err == ERR_NONE && dot)
		return http_u64(dot + 1, &out->index);
	if (err == ERR_NONE) {
		out->index = out->height > 0 ? UINT64_MAX : 0;
		out->height -= out->height > 0;
	}
	return err;
}

struct events *events_new(unsigned streams_max)
{
	struct events *e = mem_zalloc(sizeof *e);
	pthread_mutex_init(&e->lock, NULL);
	TAILQ_INIT(&e->list);
	e->max = streams_max ? streams_max : CONFIG_EVENT_STREAMS;
	return e;
}

static void entry_clear(struct entry *x)
{
	block_drop(x->view.block);
	mem_free(x->text);
}

/* The lock is held. */
static void drop_oldest(struct events *e)
{
	struct entry *x = &e->ring[e->start];
	e->floor = x->last;
	e->bytes -= x->bytes;
	entry_clear(x);
	e->start = (e->start + 1) % EVENTS_RING_MAX;
	e->count--;
}

void events_free(struct events *e)
{
	if (!e)
		return;
	invariant(e->subscribers == 0);
	while (e->count > 0)
		drop_oldest(e);
	pthread_mutex_destroy(&e->lock);
	mem_free(e);
}

void events_begin(struct events *e, uint64_t height, uint32_t tx_count)
{
	pthread_mutex_lock(&e->lock);
	invariant(e->count == 0);
	e->floor = e->head = (struct cursor){.height = height, .index = tx_count};
	pthread_mutex_unlock(&e->lock);
}

void events_jump(struct events *e, uint64_t height, uint32_t tx_count)
{
	pthread_mutex_lock(&e->lock);
	while (e->count > 0)
		drop_oldest(e);
	e->floor = e->head = (struct cursor){.height = height, .index = tx_count};
	e->news = true;
	pthread_mutex_unlock(&e->lock);
}

/* The lock is held. The newest event stays, however long it is. */
static void push(struct events *e, const struct entry *x)
{
	while (e->count > 0 &&
	       (e->count == EVENTS_RING_MAX || e->bytes + x->bytes > EVENTS_BYTES_MAX))
		drop_oldest(e);
	e->ring[(e->start + e->count++) % EVENTS_RING_MAX] = *x;
	e->bytes += x->bytes;
	e->head = x->last;
	e->news = true;
}

void events_block(struct events *e, const struct block_view *v)
{
	const struct block *b = v->block;
	uint64_t height = b->sh.h.height;
	struct entry x = {.type = EVENT_BLOCKS,
			  .first = {.height = height, .index = 0},
			  .last = {.height = height, .index = b->tx_count},
			  .view = *v,
			  .bytes = sizeof x + sizeof *b + b->body_size +
				   b->tx_count * sizeof *b->tx};
	pthread_mutex_lock(&e->lock);
	if (cursor_before(e->head, x.last)) {
		block_hold(v->block);
		push(e, &x);
	}
	pthread_mutex_unlock(&e->lock);
}

void events_json(struct events *e, enum event_type t, struct json *json)
{
	struct entry x = {.type = t, .text = json_dump(json, false)};
	json_free(json);
	x.bytes = sizeof x + strlen(x.text);
	pthread_mutex_lock(&e->lock);
	x.first = x.last =
		(struct cursor){.height = e->head.height, .index = e->head.index + 1};
	push(e, &x);
	pthread_mutex_unlock(&e->lock);
}

/* The lock is held. */
static void wake_all(struct events *e)
{
	struct subscriber *s;
	TAILQ_FOREACH(s, &e->list, link)
	if (s->waiting) {
		s->waiting = false;
		s->resume(s);
	}
}

void events_flush(struct events *e, uint64_t now)
{
	pthread_mutex_lock(&e->lock);
	bool beat = now >= e->next_beat;
	if (beat) {
		e->beat++;
		e->next_beat = now + EVENTS_BEAT_US;
	}
	if (beat || e->news)
		wake_all(e);
	e->news = false;
	pthread_mutex_unlock(&e->lock);
}

void events_close(struct events *e)
{
	pthread_mutex_lock(&e->lock);
	e->closed = true;
	wake_all(e);
	pthread_mutex_unlock(&e->lock);
}

unsigned events_subscribers(struct events *e)
{
	pthread_mutex_lock(&e->lock);
	unsigned count = e->subscribers;
	pthread_mutex_unlock(&e->lock);
	return count;
}

bool events_subscribe(struct events *e, struct subscriber *s, struct cursor *head)
{
	pthread_mutex_lock(&e->lock);
	bool taken = !e->closed && e->subscribers < e->max;
	if (taken) {
		s->events = e;
		s->waiting = false;
		s->beat = e->beat;
		TAILQ_INSERT_TAIL(&e->list, s, link);
		e->subscribers++;
	}
	*head = e->head;
	pthread_mutex_unlock(&e->lock);
	return taken;
}

void events_unsubscribe(struct subscriber *s)
{
	struct events *e = s->events;
	pthread_mutex_lock(&e->lock);
	TAILQ_REMOVE(&e->list, s, link);
	e->subscribers--;
	pthread_mutex_unlock(&e->lock);
}

static struct entry *entry_at(struct events *e, unsigned i)
{
	return &e->ring[(e->start + i) % EVENTS_RING_MAX];
}

/* The first entry with something after `at`; count: none. The lock is held. */
static unsigned find(struct events *e, struct cursor at)
{
	unsigned lo = 0, hi = e->count;
	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;
		if (cursor_before(at, entry_at(e, mid)->last))
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static bool wanted(const struct entry *x, unsigned types)
{
	return types & (x->type == EVENT_BLOCKS ? EVENTS_CHAIN : 1u << x->type);
}

/* The lock is held. */
static enum event_step take(struct subscriber *s, struct cursor *at, unsigned types,
			    struct event_taken *out)
{
	struct events *e = s->events;
	if (e->closed)
		return EVENT_STEP_END;
	if (cursor_before(*at, e->floor)) {
		out->last = e->floor;
		out->middle = e->count > 1 ? entry_at(e, e->count / 2 - 1)->last : e->floor;
		return EVENT_STEP_LOST;
	}
	for (unsigned i = find(e, *at); i < e->count; i++) {
		struct entry *x = entry_at(e, i);
		if (!wanted(x, types)) {
			*at = x->last;
			continue;
		}
		out->type = x->type;
		out->first = x->first;
		out->last = x->last;
		out->view = x->view;
		if (x->view.block)
			block_hold(x->view.block);
		out->text = x->text ? mem_strdup(x->text) : NULL;
		return x->view.block ? EVENT_STEP_BLOCK : EVENT_STEP_JSON;
	}
	if (s->beat != e->beat) {
		s->beat = e->beat;
		return EVENT_STEP_BEAT;
	}
	s->waiting = true;
	s->suspend(s);
	return EVENT_STEP_WAIT;
}

enum event_step events_take(struct subscriber *s, struct cursor *at, unsigned types,
			    struct event_taken *out)
{
	*out = (struct event_taken){0};
	pthread_mutex_lock(&s->events->lock);
	enum event_step step = take(s, at, types, out);
	pthread_mutex_unlock(&s->events->lock);
	return step;
}
