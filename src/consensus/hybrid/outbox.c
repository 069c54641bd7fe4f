/* One step's output. Buffers are kept from step to step. */
#include <stdarg.h>
#include <stdio.h>

#include "consensus/hybrid/hybrid.h"

static void *grow(void *array, uint32_t count, uint32_t *cap, size_t size)
{
	if (count < *cap)
		return array;
	uint32_t more = *cap ? 2 * *cap : 8;
	array = mem_realloc(array, more * size);
	memset((uint8_t *)array + *cap * size, 0, (more - *cap) * size);
	*cap = more;
	return array;
}

void outbox_begin(struct hybrid *h)
{
	struct outbox *o = &h->out;
	for (uint32_t i = 0; i < o->held_count; i++)
		block_drop(o->held[i]);
	o->write_count = o->slot_count = o->message_count = o->final_count = 0;
	o->work_count = o->rejected_count = o->held_count = 0;
	o->sync = false;
}

void outbox_free(struct hybrid *h)
{
	struct outbox *o = &h->out;
	outbox_begin(h);
	for (uint32_t i = 0; i < o->slot_cap; i++)
		writer_free(&o->slots[i]);
	for (uint32_t i = 0; i < o->body_cap; i++)
		writer_free(&o->bodies[i]);
	mem_free(o->writes);
	mem_free(o->slots);
	mem_free(o->messages);
	mem_free(o->bodies);
	mem_free(o->finals);
	mem_free(o->works);
	mem_free(o->rejected);
	mem_free(o->held);
}

static struct write *new_write(struct hybrid *h, enum write_kind kind)
{
	struct outbox *o = &h->out;
	o->writes = grow(o->writes, o->write_count, &o->write_cap, sizeof *o->writes);
	struct write *w = &o->writes[o->write_count++];
	*w = (struct write){.kind = kind};
	return w;
}

/* Its bytes are bound to the write by index in outbox_finish(), as the array may move. */
static struct writer *new_slot(struct hybrid *h, struct write *w)
{
	struct outbox *o = &h->out;
	o->slots = grow(o->slots, o->slot_count, &o->slot_cap, sizeof *o->slots);
	struct writer *bytes = &o->slots[o->slot_count];
	w->bytes.len = o->slot_count++;
	writer_reset(bytes);
	return bytes;
}

void out_block(struct hybrid *h, struct block *b)
{
	out_hold(h, b);
	new_write(h, WRITE_BLOCK)->block = b;
}

void out_cert(struct hybrid *h, const struct cert *c)
{
	new_write(h, WRITE_CERT)->cert = c;
}

struct writer *out_votes(struct hybrid *h, unsigned slot)
{
	struct write *w = new_write(h, WRITE_VOTES);
	w->slot = slot;
	return new_slot(h, w);
}

struct writer *out_tc(struct hybrid *h, uint64_t term)
{
	struct write *w = new_write(h, WRITE_TC);
	w->term = term;
	return new_slot(h, w);
}

struct writer *out_evidence(struct hybrid *h, const struct hash *id)
{
	struct write *w = new_write(h, WRITE_EVIDENCE);
	w->id = *id;
	return new_slot(h, w);
}

struct writer *out_message(struct hybrid *h, uint64_t mask, enum message_class class,
			   enum message_type type)
{
	struct outbox *o = &h->out;
	o->messages = grow(o->messages, o->message_count, &o->message_cap, sizeof *o->messages);
	o->bodies = grow(o->bodies, o->message_count, &o->body_cap, sizeof *o->bodies);
	struct writer *w = &o->bodies[o->message_count];
	writer_reset(w);
	o->messages[o->message_count++] =
		(struct message){.to = mask & mask_all(h), .class = class, .type = type};
	return w;
}

struct message *out_last_message(struct hybrid *h)
{
	return &h->out.messages[h->out.message_count - 1];
}

void out_final(struct hybrid *h, struct block *b, const struct cert *c)
{
	struct outbox *o = &h->out;
	o->finals = grow(o->finals, o->final_count, &o->final_cap, sizeof *o->finals);
	o->finals[o->final_count++] = (struct final_block){.block = b, .cert = c};
	out_hold(h, b);
}

struct work *out_work(struct hybrid *h, enum work_kind kind)
{
	struct outbox *o = &h->out;
	o->works = grow(o->works, o->work_count, &o->work_cap, sizeof *o->works);
	struct work *w = &o->works[o->work_count++];
	*w = (struct work){.kind = kind};
	return w;
}

void out_hold(struct hybrid *h, struct block *b)
{
	struct outbox *o = &h->out;
	o->held = grow(o->held, o->held_count, &o->held_cap, sizeof(struct block *));
	o->held[o->held_count++] = block_hold(b);
}

void out_rejected(struct hybrid *h, const struct hash *id, int err)
{
	struct outbox *o = &h->out;
	o->rejected =
		grow(o->rejected, o->rejected_count, &o->rejected_cap, sizeof *o->rejected);
	o->rejected[o->rejected_count++] = (struct rejected_tx){.id = *id, .err = err};
}

void out_halt(struct hybrid *h, const char *fmt, ...)
{
	struct outbox *o = &h->out;
	if (o->halt)
		return;
	va_list args;
	va_start(args, fmt);
	vsnprintf(o->halt_text, sizeof o->halt_text, fmt, args);
	va_end(args);
	o->halt = o->halt_text;
}

void outbox_finish(struct hybrid *h, struct output *out)
{
	struct outbox *o = &h->out;
	for (uint32_t i = 0; i < o->write_count; i++) {
		enum write_kind k = o->writes[i].kind;
		if (k == WRITE_VOTES || k == WRITE_TC || k == WRITE_EVIDENCE)
			o->writes[i].bytes = writer_slice(&o->slots[o->writes[i].bytes.len]);
	}
	uint32_t kept = 0; /* messages to nobody are left out; order stays */
	for (uint32_t i = 0; i < o->message_count; i++) {
		if (!o->messages[i].to)
			continue;
		o->messages[i].bytes = writer_slice(&o->bodies[i]);
		o->messages[kept++] = o->messages[i];
	}
	if (o->write_count)
		h->write_seq++;
	*out = (struct output){
		.writes = o->writes,
		.write_count = o->write_count,
		.write_seq = h->write_seq,
		.sync = o->sync,
		.messages = o->messages,
		.message_count = kept,
		.finals = o->finals,
		.final_count = o->final_count,
		.works = o->works,
		.work_count = o->work_count,
		.rejected = o->rejected,
		.rejected_count = o->rejected_count,
		.halt = o->halt,
	};
}
