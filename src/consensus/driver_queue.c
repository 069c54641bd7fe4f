#include "consensus/driver_queue.h"

#include "base/mem.h"

/* With all its room, so that whoever gets it may copy the struct. */
static struct cert *cert_dup(const struct cert *c)
{
	if (!c)
		return NULL;
	struct cert *copy = mem_alloc(sizeof *copy);
	cert_copy(copy, c);
	return copy;
}

/* Room for one more of `size` bytes. */
static void *grow(void *array, uint32_t count, uint32_t *cap, size_t size)
{
	if (count < *cap)
		return array;
	*cap = *cap ? 2 * *cap : 4;
	return mem_realloc(array, *cap * size);
}

/* ---- inputs ------------------------------------------------------------------------------ */

/* The variable parts are written one behind the other, each aligned for what it holds; pointers
 * are set once all is written, because the buffer moves as it grows. */
static size_t put(struct writer *w, const void *ptr, size_t len)
{
	static const uint8_t zeros[8];
	writer_raw(w, zeros, -w->len & 7);
	size_t at = w->len;
	writer_raw(w, ptr, len);
	return at;
}

static void copy_built(struct queued_input *e)
{
	size_t n = e->in.built.refused_count;
	size_t body = put(&e->bytes, e->in.built.body.ptr, e->in.built.body.len);
	size_t refused = put(&e->bytes, e->in.built.refused, n * sizeof(struct hash));
	size_t err = put(&e->bytes, e->in.built.refused_err, n * sizeof(int));
	e->in.built.body.ptr = e->bytes.buf + body;
	e->in.built.refused = (const struct hash *)(e->bytes.buf + refused);
	e->in.built.refused_err = (const int *)(void *)(e->bytes.buf + err);
}

static void copy_blocks_read(struct queued_input *e)
{
	e->block_count = e->in.blocks_read.count;
	e->blocks = mem_array(e->block_count, sizeof(struct block *));
	for (uint32_t i = 0; i < e->block_count; i++)
		e->blocks[i] = block_hold(e->in.blocks_read.blocks[i]);
	e->in.blocks_read.blocks = e->blocks;
	e->in.blocks_read.cert = e->cert = cert_dup(e->in.blocks_read.cert);
	if (e->in.blocks_read.tc) {
		e->tc = mem_alloc(sizeof *e->tc);
		term_cert_copy(e->tc, e->in.blocks_read.tc);
		e->in.blocks_read.tc = e->tc;
	}
}

void input_queue_push(struct input_queue *q, const struct input *in)
{
	struct queued_input *e = q->spare;
	if (e)
		q->spare = e->next;
	else
		e = mem_zalloc(sizeof *e);
	e->next = NULL;
	e->in = *in;
	switch (in->kind) {
	case INPUT_TICK:
	case INPUT_DURABLE:
	case INPUT_EXECUTED:
	case INPUT_RESIGN:
		break;
	case INPUT_MESSAGE:
		put(&e->bytes, in->message.bytes.ptr, in->message.bytes.len);
		e->in.message.bytes = writer_slice(&e->bytes);
		break;
	case INPUT_SUBMIT:
		put(&e->bytes, in->submit.bytes.ptr, in->submit.bytes.len);
		e->in.submit.bytes = writer_slice(&e->bytes);
		break;
	case INPUT_MEMBER:
		put(&e->bytes, in->member.ptr, in->member.len);
		e->in.member = writer_slice(&e->bytes);
		break;
	case INPUT_BUILT:
		copy_built(e);
		break;
	case INPUT_TXS_CHECKED:
		put(&e->bytes, in->txs_checked.err, in->txs_checked.count * sizeof(int));
		e->in.txs_checked.err = (const int *)(void *)e->bytes.buf;
		break;
	case INPUT_BLOCKS_READ:
		copy_blocks_read(e);
		break;
	}
	if (q->last)
		q->last->next = e;
	else
		q->first = e;
	q->last = e;
}

struct queued_input *input_queue_pop(struct input_queue *q)
{
	struct queued_input *e = q->first;
	if (!e)
		return NULL;
	q->first = e->next;
	if (!q->first)
		q->last = NULL;
	return e;
}

void input_queue_release(struct input_queue *q, struct queued_input *e)
{
	for (uint32_t i = 0; i < e->block_count; i++)
		block_drop(e->blocks[i]);
	mem_free(e->blocks);
	mem_free(e->cert);
	if (e->tc)
		term_cert_free(e->tc);
	mem_free(e->tc);
	e->blocks = NULL;
	e->block_count = 0;
	e->cert = NULL;
	e->tc = NULL;
	writer_reset(&e->bytes);
	e->next = q->spare;
	q->spare = e;
}

void input_queue_free(struct input_queue *q)
{
	struct queued_input *e;
	while ((e = input_queue_pop(q)))
		input_queue_release(q, e);
	while ((e = q->spare)) {
		q->spare = e->next;
		writer_free(&e->bytes);
		mem_free(e);
	}
}

/* ---- effects ----------------------------------------------------------------------------- */

static void hold_message(struct held_output *h, const struct message *m)
{
	h->messages = grow(h->messages, h->message_count, &h->message_cap, sizeof *m);
	h->messages[h->message_count++] = *m;
	writer_raw(&h->bytes, m->bytes.ptr, m->bytes.len);
}

static void hold_final(struct held_output *h, const struct final_block *f,
		       const struct final_block *before)
{
	if (!before || before->cert != f->cert) {
		if (h->cert_count == h->certs_made) {
			h->certs = grow(h->certs, h->certs_made, &h->cert_cap,
					sizeof(struct cert *));
			h->certs[h->certs_made++] = mem_alloc(sizeof(struct cert));
		}
		cert_copy(h->certs[h->cert_count++], f->cert);
	}
	h->finals = grow(h->finals, h->final_count, &h->final_cap, sizeof *f);
	h->finals[h->final_count++] = (struct final_block){
		.block = block_hold(f->block),
		.cert = h->certs[h->cert_count - 1],
	};
}

void held_queue_push(struct held_queue *q, uint64_t seq, const struct output *out)
{
	struct held_output *h = q->spare;
	if (h)
		q->spare = h->next;
	else
		h = mem_zalloc(sizeof *h);
	h->next = NULL;
	h->seq = seq;
	for (uint32_t i = 0; i < out->message_count; i++)
		if (!out->messages[i].before_durable)
			hold_message(h, &out->messages[i]);
	for (uint32_t i = 0; i < out->final_count; i++)
		hold_final(h, &out->finals[i], i ? &out->finals[i - 1] : NULL);
	q->finals += out->final_count;
	/* Only now does the buffer stand still. */
	size_t at = 0;
	for (uint32_t i = 0; i < h->message_count; i++) {
		h->messages[i].bytes.ptr = h->bytes.buf + at;
		at += h->messages[i].bytes.len;
	}
	if (q->last)
		q->last->next = h;
	else
		q->first = h;
	q->last = h;
}

struct held_output *held_queue_pop(struct held_queue *q, uint64_t durable)
{
	struct held_output *h = q->first;
	if (!h || h->seq > durable)
		return NULL;
	q->first = h->next;
	if (!q->first)
		q->last = NULL;
	q->finals -= h->final_count;
	return h;
}

void held_queue_recall(struct held_queue *q)
{
	for (struct held_output *h = q->first; h; h = h->next)
		h->message_count = 0;
}

void held_queue_release(struct held_queue *q, struct held_output *h)
{
	for (uint32_t i = 0; i < h->final_count; i++)
		block_drop(h->finals[i].block);
	h->message_count = h->final_count = h->cert_count = 0;
	writer_reset(&h->bytes);
	h->next = q->spare;
	q->spare = h;
}

void held_queue_free(struct held_queue *q)
{
	struct held_output *h;
	while ((h = held_queue_pop(q, UINT64_MAX)))
		held_queue_release(q, h);
	while ((h = q->spare)) {
		q->spare = h->next;
		mem_free(h->messages);
		mem_free(h->finals);
		for (uint32_t i = 0; i < h->certs_made; i++)
			mem_free(h->certs[i]);
		mem_free(h->certs);
		writer_free(&h->bytes);
		mem_free(h);
	}
}
