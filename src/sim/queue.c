/* What is to happen, in its order: a binary heap. */
#include "sim/world.h"

static bool earlier(const struct event_time *a, const struct event_time *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void queue_grow(struct event_queue *q)
{
	size_t cap = q->cap ? 2 * q->cap : 64;
	q->heap = mem_realloc(q->heap, cap * sizeof *q->heap);
	q->events = mem_realloc(q->events, cap * sizeof *q->events);
	q->free = mem_realloc(q->free, cap * sizeof *q->free);
	for (size_t i = q->cap; i < cap; i++)
		q->free[cap - 1 - i] = (uint32_t)i; /* the lowest goes first */
	q->cap = cap;
}

void sim_push(struct sim *s, const struct event *e)
{
	struct event_queue *q = &s->queue;
	if (q->len == q->cap)
		queue_grow(q);
	struct event_time *heap = q->heap;
	const struct event_time t = {
		.at = e->at, .order = ++s->order, .event = q->free[q->cap - q->len - 1]};
	/* By parts: as a whole it would wait for those that the caller has just written. */
	struct event *to = &q->events[t.event];
	to->at = t.at;
	to->order = t.order;
	to->kind = e->kind;
	to->node = e->node;
	to->from = e->from;
	to->number = e->number;
	to->life = e->life;
	to->packet = e->packet;
	size_t i = q->len++;
	while (i > 0 && earlier(&t, &heap[(i - 1) / 2])) {
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = t;
	if (s->options.bare)
		bare_push(s->options.bare, to, s->now);
}

struct event sim_pop(struct sim *s)
{
	struct event_queue *q = &s->queue;
	struct event_time *heap = q->heap;
	const uint32_t top = heap[0].event;
	const struct event_time last = heap[--q->len];
	size_t i = 0, len = q->len;
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= len)
			break;
		if (child + 1 < len && earlier(&heap[child + 1], &heap[child]))
			child++;
		if (!earlier(&heap[child], &last))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	q->free[q->cap - len - 1] = top;
	return q->events[top];
}

void sim_drop_events(struct sim *s)
{
	while (s->queue.len)
		packet_drop(s, sim_pop(s).packet);
	mem_free(s->queue.heap);
	mem_free(s->queue.events);
	mem_free(s->queue.free);
}
