/* The order of effects [I1]. Outputs take effect in the order in which the engine made them:
 * what an output sends or finalises waits until its writes, and those of all outputs before it,
 * are durable. Work (building, executing, reading) has no effect that others can see and starts
 * at once; so do messages marked before_durable. */
#include "consensus/driver.h"

#include "base/mem.h"

/* Messages and final blocks that wait for a write. */
struct pending {
	struct pending *next;
	uint64_t seq; /* of the newest synced write that must be durable first */
	uint32_t message_count, final_count;
	struct message *messages; /* with owned bytes */
	struct final_block *finals;
	struct cert *certs; /* copies, one a final block */
};

struct queued {
	struct queued *next;
	struct input in;
	uint8_t *bytes;		/* owned copy of what in borrows */
	struct hash *hashes;
	int *errs;
	struct block **blocks;
	struct cert cert;
	struct term_cert tc;
};

struct driver {
	struct engine *engine;
	struct driver_host host;
	struct pending *head, **tail;
	struct queued *queue, **queue_tail;
	uint64_t due_seq;     /* newest write that somebody still has to make durable */
	uint64_t durable_seq;
	uint64_t wake_at;
	bool stepping, halted;
};

struct driver *driver_new(struct engine *engine, const struct driver_host *host)
{
	struct driver *d = mem_zalloc(sizeof *d);
	d->engine = engine;
	d->host = *host;
	d->tail = &d->head;
	d->queue_tail = &d->queue;
	return d;
}

static void free_pending(struct pending *p)
{
	for (uint32_t i = 0; i < p->message_count; i++)
		mem_free((void *)p->messages[i].bytes.ptr);
	for (uint32_t i = 0; i < p->final_count; i++)
		block_drop(p->finals[i].block);
	mem_free(p->messages);
	mem_free(p->finals);
	mem_free(p->certs);
	mem_free(p);
}

static void free_queued(struct queued *q)
{
	if (q->in.kind == INPUT_BLOCKS_READ) {
		for (uint32_t i = 0; i < q->in.blocks_read.count; i++)
			block_drop(q->blocks[i]);
		if (q->in.blocks_read.tc)
			term_cert_free(&q->tc);
	}
	mem_free(q->blocks);
	mem_free(q->bytes);
	mem_free(q->hashes);
	mem_free(q->errs);
	mem_free(q);
}

void driver_free(struct driver *d)
{
	if (!d)
		return;
	while (d->head) {
		struct pending *next = d->head->next;
		free_pending(d->head);
		d->head = next;
	}
	while (d->queue) {
		struct queued *next = d->queue->next;
		free_queued(d->queue);
		d->queue = next;
	}
	engine_free(d->engine);
	mem_free(d);
}

/* ---- inputs that arrive while the engine steps ------------------------------------------- */

static void own_bytes(struct queued *q, struct slice *s)
{
	q->bytes = mem_dup(s->ptr, s->len);
	s->ptr = q->bytes;
}

static void own_blocks_read(struct queued *q)
{
	uint32_t count = q->in.blocks_read.count;
	q->blocks = mem_array(count + 1, sizeof(struct block *));
	for (uint32_t i = 0; i < count; i++)
		q->blocks[i] = block_hold(q->in.blocks_read.blocks[i]);
	q->in.blocks_read.blocks = q->blocks;
	if (q->in.blocks_read.cert) {
		q->cert = *q->in.blocks_read.cert;
		q->in.blocks_read.cert = &q->cert;
	}
	if (q->in.blocks_read.tc) {
		term_cert_copy(&q->tc, q->in.blocks_read.tc);
		q->in.blocks_read.tc = &q->tc;
	}
}

static void enqueue(struct driver *d, const struct input *in)
{
	struct queued *q = mem_zalloc(sizeof *q);
	q->in = *in;
	switch (in->kind) {
	case INPUT_MESSAGE:
		own_bytes(q, &q->in.message.bytes);
		break;
	case INPUT_SUBMIT:
		own_bytes(q, &q->in.submit.bytes);
		break;
	case INPUT_BUILT:
		own_bytes(q, &q->in.built.body);
		q->hashes = mem_dup(in->built.refused,
				    in->built.refused_count * sizeof(struct hash));
		q->errs = mem_dup(in->built.refused_err, in->built.refused_count * sizeof(int));
		q->in.built.refused = q->hashes;
		q->in.built.refused_err = q->errs;
		break;
	case INPUT_TXS_CHECKED:
		q->errs = mem_dup(in->txs_checked.err, in->txs_checked.count * sizeof(int));
		q->in.txs_checked.err = q->errs;
		break;
	case INPUT_BLOCKS_READ:
		own_blocks_read(q);
		break;
	case INPUT_TICK:
	case INPUT_DURABLE:
	case INPUT_EXECUTED:
		break;
	}
	*d->queue_tail = q;
	d->queue_tail = &q->next;
}

/* ---- effects ----------------------------------------------------------------------------- */

static void keep_for_later(struct driver *d, const struct output *out)
{
	struct pending *p = mem_zalloc(sizeof *p);
	p->seq = d->due_seq;
	p->messages = mem_array(out->message_count + 1, sizeof *p->messages);
	for (uint32_t i = 0; i < out->message_count; i++) {
		if (out->messages[i].before_durable)
			continue;
		struct message *m = &p->messages[p->message_count++];
		*m = out->messages[i];
		m->bytes.ptr = mem_dup(m->bytes.ptr, m->bytes.len);
	}
	p->finals = mem_array(out->final_count + 1, sizeof *p->finals);
	p->certs = mem_array(out->final_count + 1, sizeof *p->certs);
	for (uint32_t i = 0; i < out->final_count; i++) {
		p->certs[i] = *out->finals[i].cert;
		p->finals[i].block = block_hold(out->finals[i].block);
		p->finals[i].cert = &p->certs[i];
	}
	p->final_count = out->final_count;
	*d->tail = p;
	d->tail = &p->next;
}

static void release_durable(struct driver *d)
{
	while (d->head && d->head->seq <= d->durable_seq && !d->halted) {
		struct pending *p = d->head;
		d->head = p->next;
		if (!d->head)
			d->tail = &d->head;
		for (uint32_t i = 0; i < p->message_count; i++)
			d->host.send(d->host.ctx, &p->messages[i]);
		for (uint32_t i = 0; i < p->final_count; i++)
			d->host.final(d->host.ctx, &p->finals[i]);
		free_pending(p);
	}
}

/* Nothing to wait for: the common case of a host that syncs inline, without copies. */
static void effect_at_once(struct driver *d, const struct output *out)
{
	for (uint32_t i = 0; i < out->message_count; i++)
		if (!out->messages[i].before_durable)
			d->host.send(d->host.ctx, &out->messages[i]);
	for (uint32_t i = 0; i < out->final_count; i++)
		d->host.final(d->host.ctx, &out->finals[i]);
}

static void take_effect(struct driver *d, const struct output *out, const struct input *in)
{
	for (uint32_t i = 0; i < out->message_count; i++)
		if (out->messages[i].before_durable)
			d->host.send(d->host.ctx, &out->messages[i]);
	bool durable_now = false;
	if (out->write_count) {
		durable_now = d->host.persist(d->host.ctx, out->writes, out->write_count,
					      out->write_seq, out->sync);
		if (out->sync)
			d->due_seq = out->write_seq;
	}
	if (out->sync && durable_now)
		d->durable_seq = out->write_seq;
	if (!d->head && d->due_seq <= d->durable_seq)
		effect_at_once(d, out);
	else if (out->message_count || out->final_count)
		keep_for_later(d, out);
	for (uint32_t i = 0; i < out->rejected_count; i++)
		d->host.rejected(d->host.ctx, &out->rejected[i]);
	for (uint32_t i = 0; i < out->work_count; i++)
		d->host.work(d->host.ctx, &out->works[i]);
	if (out->sync && durable_now) {
		struct input done = {.kind = INPUT_DURABLE,
				     .now = in->now,
				     .wall_ms = in->wall_ms,
				     .durable = out->write_seq};
		enqueue(d, &done);
	}
	release_durable(d);
	d->wake_at = out->wake_at;
	if (out->halt) {
		d->halted = true;
		d->host.halted(d->host.ctx, out->halt);
	}
}

static void step(struct driver *d, const struct input *in)
{
	struct output out;
	engine_step(d->engine, in, &out);
	take_effect(d, &out, in);
}

static void drain(struct driver *d)
{
	while (d->queue && !d->halted) {
		struct queued *q = d->queue;
		d->queue = q->next;
		if (!d->queue)
			d->queue_tail = &d->queue;
		step(d, &q->in);
		free_queued(q);
	}
}

void driver_input(struct driver *d, const struct input *in)
{
	if (d->halted)
		return;
	if (d->stepping) {
		enqueue(d, in);
		return;
	}
	d->stepping = true;
	step(d, in);
	drain(d);
	d->stepping = false;
}

void driver_durable(struct driver *d, uint64_t seq, uint64_t now, uint64_t wall_ms)
{
	if (seq <= d->durable_seq || d->halted)
		return;
	invariant(seq <= d->due_seq);
	d->durable_seq = seq;
	bool outer = !d->stepping;
	d->stepping = true;
	release_durable(d);
	if (outer)
		d->stepping = false;
	struct input in = {.kind = INPUT_DURABLE, .now = now, .wall_ms = wall_ms, .durable = seq};
	driver_input(d, &in);
}

uint64_t driver_wake_at(const struct driver *d)
{
	return d->halted ? UINT64_MAX : d->wake_at;
}

bool driver_halted(const struct driver *d)
{
	return d->halted;
}

struct engine *driver_engine(struct driver *d)
{
	return d->engine;
}
