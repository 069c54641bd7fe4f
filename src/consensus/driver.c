#include "consensus/driver.h"

#include "base/mem.h"
#include "consensus/driver_queue.h"

struct driver {
	struct engine *engine;
	struct driver_host host;
	struct input_queue inputs; /* arrived during a step */
	struct held_queue held;	   /* waits for the disk */
	uint64_t handed_over;	   /* highest write_seq whose durability somebody waits for */
	uint64_t durable;	   /* all writes up to this one are */
	uint64_t wake_at;
	uint64_t now, wall_ms; /* of the input in work */
	bool busy, halted;
};

struct driver *driver_new(struct engine *engine, const struct driver_host *host)
{
	struct driver *d = mem_zalloc(sizeof *d);
	d->engine = engine;
	d->host = *host;
	return d;
}

void driver_free(struct driver *d)
{
	if (!d)
		return;
	invariant(!d->busy);
	input_queue_free(&d->inputs);
	held_queue_free(&d->held);
	engine_free(d->engine);
	mem_free(d);
}

void driver_halt(struct driver *d, const char *why)
{
	if (d->halted)
		return;
	d->halted = true;
	d->wake_at = UINT64_MAX;
	d->host.halted(d->host.ctx, why);
}

/* Messages and finals in the engine's order, as far as a callback does not halt us. */
static void send_messages(struct driver *d, const struct message *m, uint32_t count)
{
	for (uint32_t i = 0; i < count && !d->halted; i++)
		d->host.send(d->host.ctx, &m[i]);
}

static void apply_finals(struct driver *d, const struct final_block *f, uint32_t count)
{
	for (uint32_t i = 0; i < count && !d->halted; i++)
		d->host.final(d->host.ctx, &f[i]);
}

static void release_held(struct driver *d)
{
	struct held_output *h;
	while (!d->halted && (h = held_queue_pop(&d->held, d->durable))) {
		send_messages(d, h->messages, h->message_count);
		apply_finals(d, h->finals, h->final_count);
		held_queue_release(&d->held, h);
	}
}

/* [I1] 1: writes. What the host made durable at once goes back to the engine behind whatever
 * else is waiting. The engine is told of synced writes only: an unsynced one promises nothing,
 * and saying "all up to here" of it could be false. */
static void persist_writes(struct driver *d, const struct output *out)
{
	if (out->write_count == 0)
		return;
	if (out->sync) {
		invariant(out->write_seq > d->handed_over);
		d->handed_over = out->write_seq;
	}
	bool now = d->host.persist(d->host.ctx, out->writes, out->write_count, out->write_seq,
				   out->sync);
	if (now && out->sync)
		driver_durable(d, out->write_seq, d->now, d->wall_ms);
}

/* Finals wait only if the engine says so, or if earlier ones do.
 *
 * A message without this output's writes waits all the same while an earlier one does: its
 * content may rest on what is not durable yet. before_durable is the engine's word that it
 * does not (a fast leader's block, [I1]). */
static void release_effects(struct driver *d, const struct output *out)
{
	if (d->durable < d->handed_over) {
		struct output rest = *out;
		uint32_t waiting = 0;
		for (uint32_t i = 0; i < out->message_count; i++)
			if (out->messages[i].before_durable)
				send_messages(d, &out->messages[i], 1);
			else
				waiting++;
		if (!out->finals_wait &&
		    !d->held.finals) { /* else they would overtake others */
			apply_finals(d, out->finals, out->final_count);
			rest.final_count = 0;
		}
		if (waiting || rest.final_count)
			held_queue_push(&d->held, d->handed_over, &rest);
		return;
	}
	release_held(d);
	send_messages(d, out->messages, out->message_count);
	apply_finals(d, out->finals, out->final_count);
}

/* 4: work, and word of what left the pool. Neither waits for the disk: building and executing
 * happen on overlays in memory that a crash forgets together with the engine that asked (a
 * block whose finality is held keeps its overlay until then), checking and reading change
 * nothing, and nobody hears of a result but through a later output, which waits. */
static void start_work(struct driver *d, const struct output *out)
{
	for (uint32_t i = 0; i < out->work_count && !d->halted; i++)
		d->host.work(d->host.ctx, &out->works[i]);
	for (uint32_t i = 0; i < out->rejected_count && !d->halted; i++)
		d->host.rejected(d->host.ctx, &out->rejected[i]);
}

static void step(struct driver *d, const struct input *in)
{
	struct output out = {.wake_at = UINT64_MAX};
	d->now = in->now;
	d->wall_ms = in->wall_ms;
	if (in->kind == INPUT_DURABLE)
		release_held(d);
	if (d->halted)
		return;
	engine_step(d->engine, in, &out);
	d->wake_at = out.wake_at;
	if (out.recall)
		held_queue_recall(&d->held);
	persist_writes(d, &out);
	if (out.halt)
		driver_halt(d, out.halt);
	if (d->halted)
		return;
	release_effects(d, &out);
	start_work(d, &out);
}

void driver_input(struct driver *d, const struct input *in)
{
	if (d->halted)
		return;
	if (d->busy) {
		input_queue_push(&d->inputs, in);
		return;
	}
	d->busy = true;
	step(d, in);
	struct queued_input *e;
	while ((e = input_queue_pop(&d->inputs))) {
		if (!d->halted)
			step(d, &e->in);
		input_queue_release(&d->inputs, e);
	}
	d->busy = false;
}

void driver_durable(struct driver *d, uint64_t seq, uint64_t now, uint64_t wall_ms)
{
	if (d->halted || seq <= d->durable)
		return;
	invariant(seq <= d->handed_over);
	d->durable = seq;
	struct input in; /* not cleared: most of it is of other kinds */
	in.kind = INPUT_DURABLE;
	in.more = false;
	in.now = now;
	in.wall_ms = wall_ms;
	in.durable = seq;
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
