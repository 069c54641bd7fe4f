#include "net/session.h"

#include <string.h>

#include "base/mem.h"

struct message {
	struct message *next;
	bool went; /* sent at least once */
	size_t len;
	uint8_t data[];
};

struct message *message_new(struct slice msg)
{
	struct message *m = mem_alloc(sizeof(*m) + msg.len);

	m->next = NULL;
	m->went = false;
	m->len = msg.len;
	if (msg.len > 0)
		memcpy(m->data, msg.ptr, msg.len);
	return m;
}

void session_init(struct session *s, uint64_t instance)
{
	invariant(instance != 0);
	*s = (struct session){.instance = instance};
}

static void pop(struct session_class *c)
{
	struct message *m = c->head;

	c->head = m->next;
	if (c->head == NULL)
		c->tail = NULL;
	if (c->next == m)
		c->next = m->next;
	c->count--;
	c->bytes -= m->len;
	mem_free(m);
}

void session_free(struct session *s)
{
	for (int i = 0; i < NET_CLASSES; i++)
		while (s->class[i].head != NULL)
			pop(&s->class[i]);
}

int session_queue(struct session *s, enum net_class class, struct message *m)
{
	struct session_class *c = &s->class[class];

	invariant(m->len <= NET_MESSAGE_MAX);
	if (c->count >= NET_QUEUE_MESSAGES_MAX || c->bytes + m->len > NET_QUEUE_BYTES_MAX) {
		s->dropped_messages++;
		c->dropped++;
		mem_free(m);
		return ERR_BUSY;
	}
	if (c->tail != NULL)
		c->tail->next = m;
	else
		c->head = m;
	c->tail = m;
	if (c->next == NULL)
		c->next = m;
	c->count++;
	c->bytes += m->len;
	return ERR_NONE;
}

static void told_all(struct session *s)
{
	for (int i = 0; i < NET_CLASSES; i++)
		s->class[i].told = s->class[i].delivered;
	s->untold_messages = 0;
	s->untold_bytes = 0;
}

void session_greet(struct session *s, struct frame *out)
{
	*out = (struct frame){.kind = FRAME_GREET, .instance = s->instance, .knows = s->peer};
	for (int i = 0; i < NET_CLASSES; i++) {
		struct session_class *c = &s->class[i];

		c->next = c->head;
		c->cursor = c->acked;
		out->acks[i] = c->delivered;
	}
	s->greeted = false;
	told_all(s);
}

/* Both sides count from 1 again. */
static void renumber(struct session *s, bool drop_sent)
{
	for (int i = 0; i < NET_CLASSES; i++) {
		struct session_class *c = &s->class[i];

		while (drop_sent && c->head != NULL && c->head->went)
			pop(c);
		c->acked = c->cursor = c->sent = c->delivered = c->told = 0;
		c->next = c->head;
	}
	told_all(s);
}

static void acknowledge(struct session_class *c, uint64_t ack)
{
	while (c->acked < ack) {
		pop(c);
		c->acked++;
	}
	if (c->cursor < c->acked)
		c->cursor = c->acked;
}

/* Only what was sent can be acknowledged, and never less than before. */
static bool ack_possible(const struct session_class *c, uint64_t ack)
{
	return ack >= c->acked && ack <= c->sent;
}

int session_greeted(struct session *s, const struct frame *f)
{
	if (s->greeted)
		return ERR_RANGE;
	if (f->instance != s->peer || f->knows != s->instance) {
		/* The same process that does not know us has not had our GREET, so nothing
		 * else of ours either: all is sent again. Another one is a restart. */
		renumber(s, f->instance != s->peer);
		s->peer = f->instance;
		s->greeted = true;
		return ERR_NONE;
	}
	for (int i = 0; i < NET_CLASSES; i++)
		if (!ack_possible(&s->class[i], f -> acks[i]))
			return ERR_RANGE;
	for (int i = 0; i < NET_CLASSES; i++)
		acknowledge(&s->class[i], f -> acks[i]);
	s->greeted = true;
	return ERR_NONE;
}

bool session_pending(const struct session *s)
{
	if (!s->greeted)
		return false;
	for (int i = 0; i < NET_CLASSES; i++)
		if (s->class[i].next != NULL)
			return true;
	return false;
}

static void update_untold(struct session *s)
{
	for (int i = 0; i < NET_CLASSES; i++)
		if (s->class[i].told != s->class[i].delivered)
			return;
	s->untold_messages = 0;
	s->untold_bytes = 0;
}

bool session_pick(struct session *s, struct frame *out)
{
	if (!s->greeted)
		return false;
	for (int i = 0; i < NET_CLASSES; i++) {
		struct session_class *c = &s->class[i];
		struct message *m = c->next;

		if (m == NULL)
			continue;
		c->next = m->next;
		c->cursor++;
		if (c->cursor > c->sent)
			c->sent = c->cursor;
		if (m->went) {
			s->resent_messages++;
		} else {
			m->went = true;
			s->sent_messages++;
			s->sent_bytes += m->len;
		}
		*out = (struct frame){.kind = FRAME_DATA,
				      .class = (enum net_class)i,
				      .seq = c->cursor,
				      .ack = c->delivered,
				      .payload = slice_of(m->data, m->len)};
		if (c->told != c->delivered) {
			c->told = c->delivered;
			update_untold(s);
		}
		return true;
	}
	return false;
}

int session_receive(struct session *s, const struct frame *f)
{
	struct session_class *c = &s->class[f->class];

	if (!s->greeted || !ack_possible(c, f->ack) || f->seq > c->delivered + 1)
		return ERR_RANGE;
	acknowledge(c, f->ack);
	if (f->seq <= c->delivered)
		return 0;
	c->delivered = f->seq;
	s->untold_messages++;
	s->untold_bytes += f->payload.len;
	s->received_messages++;
	s->received_bytes += f->payload.len;
	return 1;
}

int session_ack(struct session *s, const struct frame *f)
{
	if (!s->greeted)
		return ERR_RANGE;
	for (int i = 0; i < NET_CLASSES; i++)
		if (!ack_possible(&s->class[i], f -> acks[i]))
			return ERR_RANGE;
	for (int i = 0; i < NET_CLASSES; i++)
		acknowledge(&s->class[i], f -> acks[i]);
	return ERR_NONE;
}

bool session_untold(const struct session *s)
{
	return s->untold_messages > 0;
}

bool session_ack_due(const struct session *s)
{
	return s->untold_messages >= SESSION_ACK_MESSAGES ||
	       s->untold_bytes >= SESSION_ACK_BYTES;
}

void session_make_ack(struct session *s, struct frame *out)
{
	*out = (struct frame){.kind = FRAME_ACK};
	for (int i = 0; i < NET_CLASSES; i++)
		out->acks[i] = s->class[i].delivered;
	told_all(s);
}

size_t session_queued(const struct session *s, size_t *bytes)
{
	size_t count = 0;

	*bytes = 0;
	for (int i = 0; i < NET_CLASSES; i++) {
		count += s->class[i].count;
		*bytes += s->class[i].bytes;
	}
	return count;
}
