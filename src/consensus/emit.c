#include "consensus/emit.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

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

void emit_begin(struct emit *o)
{
	for (uint32_t i = 0; i < o->held_count; i++)
		block_drop(o->held[i]);
	o->write_count = o->slot_count = o->message_count = o->final_count = 0;
	o->work_count = o->rejected_count = o->held_count = 0;
	o->sync = o->finals_wait = o->recall = false;
}

void emit_free(struct emit *o)
{
	emit_begin(o);
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

uint64_t emit_to_all(const struct emit *o)
{
	return mask_others(o->n, o->self);
}

static struct write *new_write(struct emit *o, enum write_kind kind)
{
	o->writes = grow(o->writes, o->write_count, &o->write_cap, sizeof *o->writes);
	struct write *w = &o->writes[o->write_count++];
	w->kind = kind; /* by parts, here and below: clearing all first takes longer */
	w->block = NULL;
	w->slot = 0;
	w->bytes = slice_of(NULL, 0);
	w->cert = NULL;
	w->term = 0;
	w->id = (struct hash){0};
	return w;
}

void emit_block(struct emit *o, struct block *b)
{
	emit_hold(o, b);
	new_write(o, WRITE_BLOCK)->block = b;
}

void emit_cert(struct emit *o, const struct cert *c)
{
	new_write(o, WRITE_CERT)->cert = c;
}

/* Its bytes are bound to the write by index in emit_finish(), as the array may move. */
static struct writer *new_slot(struct emit *o, struct write *w)
{
	o->slots = grow(o->slots, o->slot_count, &o->slot_cap, sizeof *o->slots);
	struct writer *bytes = &o->slots[o->slot_count];
	w->bytes.len = o->slot_count++;
	writer_reset(bytes);
	return bytes;
}

struct writer *emit_votes(struct emit *o, unsigned slot)
{
	struct write *w = new_write(o, WRITE_VOTES);
	w->slot = slot;
	return new_slot(o, w);
}

struct writer *emit_tc(struct emit *o, uint64_t term)
{
	struct write *w = new_write(o, WRITE_TC);
	w->term = term;
	return new_slot(o, w);
}

struct writer *emit_evidence(struct emit *o, const struct hash *id)
{
	struct write *w = new_write(o, WRITE_EVIDENCE);
	w->id = *id;
	return new_slot(o, w);
}

void emit_outdated(struct emit *o)
{
	new_write(o, WRITE_OUTDATED);
	o->recall = true;
}

void emit_sync(struct emit *o)
{
	o->sync = true;
}

struct writer *emit_message(struct emit *o, uint64_t mask, enum message_class class,
			    uint8_t type)
{
	o->messages = grow(o->messages, o->message_count, &o->message_cap, sizeof *o->messages);
	o->bodies = grow(o->bodies, o->message_count, &o->body_cap, sizeof *o->bodies);
	struct writer *w = &o->bodies[o->message_count];
	writer_reset(w);
	if (o->withheld >> type & 1)
		mask = 0;
	o->messages[o->message_count++] =
		(struct message){.to = mask & emit_to_all(o), .class = class, .type = type};
	return w;
}

void emit_at_once(struct emit *o)
{
	o->messages[o->message_count - 1].before_durable = true;
}

void emit_final(struct emit *o, struct block *b, const struct cert *c)
{
	o->finals = grow(o->finals, o->final_count, &o->final_cap, sizeof *o->finals);
	o->finals[o->final_count++] = (struct final_block){.block = b, .cert = c};
	emit_hold(o, b);
}

bool emit_waits(const struct emit *o)
{
	for (uint32_t i = 0; i < o->message_count; i++)
		if (!o->messages[i].before_durable)
			return true;
	return false;
}

void emit_finals_wait(struct emit *o)
{
	o->finals_wait = true;
}

struct work *emit_work(struct emit *o, enum work_kind kind)
{
	o->works = grow(o->works, o->work_count, &o->work_cap, sizeof *o->works);
	struct work *w = &o->works[o->work_count++];
	*w = (struct work){.kind = kind};
	return w;
}

void emit_hold(struct emit *o, struct block *b)
{
	o->held = grow(o->held, o->held_count, &o->held_cap, sizeof(struct block *));
	o->held[o->held_count++] = block_hold(b);
}

void emit_rejected(struct emit *o, const struct hash *id, int err)
{
	o->rejected =
		grow(o->rejected, o->rejected_count, &o->rejected_cap, sizeof *o->rejected);
	o->rejected[o->rejected_count++] = (struct rejected_tx){.id = *id, .err = err};
}

void emit_halt(struct emit *o, const char *fmt, ...)
{
	if (o->halt[0])
		return;
	va_list args;
	va_start(args, fmt);
	vsnprintf(o->halt, sizeof o->halt, fmt, args);
	va_end(args);
}

void emit_finish(struct emit *o, struct output *out)
{
	for (uint32_t i = 0; i < o->write_count; i++) {
		enum write_kind k = o->writes[i].kind;
		if (k == WRITE_VOTES || k == WRITE_TC || k == WRITE_EVIDENCE)
			o->writes[i].bytes = writer_slice(&o->slots[o->writes[i].bytes.len]);
	}
	uint32_t kept = 0; /* messages to nobody are left out; order stays */
	for (uint32_t i = 0; i < o->message_count; i++) {
		if (!o->messages[i].to || o->withheld >> o->messages[i].type & 1)
			continue; /* held back since, perhaps */
		o->messages[i].bytes = writer_slice(&o->bodies[i]);
		if (kept != i)
			o->messages[kept] = o->messages[i];
		kept++;
	}
	if (o->write_count)
		o->write_seq++;
	out->writes = o->writes;
	out->write_count = o->write_count;
	out->write_seq = o->write_seq;
	out->sync = o->sync;
	out->recall = o->recall;
	out->messages = o->messages;
	out->message_count = kept;
	out->finals = o->finals;
	out->final_count = o->final_count;
	out->finals_wait = o->finals_wait;
	out->works = o->works;
	out->work_count = o->work_count;
	out->rejected = o->rejected;
	out->rejected_count = o->rejected_count;
	out->wake_at = 0; /* the engine's to say */
	out->halt = o->halt[0] ? o->halt : NULL;
}
