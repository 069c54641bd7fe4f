/* The event loop alone: the yardstick of `ostrakon-lab sim bench`. */
#include "sim/world.h"

#define RECORDS_FIRST 4096

enum record_kind {
	RECORD_POP,
	RECORD_PUSH,   /* without a packet */
	RECORD_PACKET, /* with a new one */
	RECORD_SHARED  /* with the one of the record before */
};
struct record {
	uint32_t delay; /* us from now on */
	uint32_t len;	/* of the packet */
	uint8_t kind, event, node, from;
};
struct sim_bare {
	struct record *records;
	size_t count, cap;
	size_t len_max; /* of packets */
	const struct packet *last;
	bool full;
};

struct sim_bare *sim_bare_new(void)
{
	return mem_zalloc(sizeof(struct sim_bare));
}

void sim_bare_free(struct sim_bare *b)
{
	if (b)
		mem_free(b->records);
	mem_free(b);
}

static void add(struct sim_bare *b, struct record r)
{
	if (b->count == SIM_BARE_MAX)
		b->full = true;
	if (b->full)
		return;
	if (b->count == b->cap) {
		b->cap = b->cap ? 2 * b->cap : RECORDS_FIRST;
		b->records = mem_realloc(b->records, b->cap * sizeof *b->records);
	}
	b->records[b->count++] = r;
}

void bare_push(struct sim_bare *b, const struct event *e, uint64_t now)
{
	struct record r = {.kind = RECORD_PUSH,
			   .delay = (uint32_t)(e->at - now),
			   .event = (uint8_t)e->kind,
			   .node = (uint8_t)e->node,
			   .from = (uint8_t)e->from};
	if (e->packet) {
		r.kind = e->packet == b->last ? RECORD_SHARED : RECORD_PACKET;
		r.len = (uint32_t)e->packet->len;
		if (e->packet->len > b->len_max)
			b->len_max = e->packet->len;
	}
	b->last = e->packet;
	add(b, r);
}

void bare_pop(struct sim_bare *b)
{
	b->last = NULL;
	add(b, (struct record){.kind = RECORD_POP});
}

uint64_t sim_bare_replay(const struct sim_bare *b)
{
	struct sim *s = mem_zalloc(sizeof *s);
	uint8_t *bytes = mem_zalloc(b->len_max + 1);
	struct packet *p = NULL; /* of the sender */
	uint64_t events = 0;
	for (size_t i = 0; i < b->count; i++) {
		const struct record *r = &b->records[i];
		if (r->kind == RECORD_POP) {
			struct event e = sim_pop(s);
			s->now = e.at;
			packet_drop(s, e.packet);
			events++;
			continue;
		}
		if (r->kind != RECORD_SHARED) {
			packet_drop(s, p);
			p = r->kind == RECORD_PACKET ? packet_new(s, 0, slice_of(bytes, r->len))
						     : NULL;
		}
		if (p)
			p->refs++;
		sim_push(s, &(struct event){.at = s->now + r->delay,
					    .kind = (enum event_kind)r->event,
					    .node = r->node,
					    .from = r->from,
					    .packet = p});
	}
	packet_drop(s, p);
	sim_drop_events(s);
	freelist_drain(&s->packets);
	mem_free(s);
	mem_free(bytes);
	return events;
}
