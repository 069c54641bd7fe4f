/* A processor for each replica: what it does takes time, one thing after the other. Without
 * that a replica of the simulator answers at once, however many signatures it has checked, and
 * nothing but the network limits what a network carries. Costs are given: those of signatures
 * are counted where they are made and checked, all else is so much an input and a transaction.
 *
 * An input that comes while the processor is busy waits; inputs that wait are one turn, as in
 * the node's event loop (gather.c). What a step sends leaves when all that the step has done
 * before is paid for. */
#include "sim/world.h"

struct cpu_line { /* what waits, in its order: a ring */
	struct event *event;
	size_t first, len, cap;
};

void cpu_world(struct sim *s)
{
	const struct sim_cpu *c = &s->options.cpu;
	s->cpu_counts = c->verify_us || c->sign_us || c->step_us || c->tx_us;
	if (s->cpu_counts)
		s->cpu_line = mem_array(s->n, sizeof *s->cpu_line);
}

/* Nobody is there any more to take it. */
void cpu_forget(struct sim *s, unsigned i)
{
	if (!s->cpu_counts)
		return;
	struct cpu_line *l = &s->cpu_line[i];
	for (; l->len; l->len--, l->first++)
		packet_drop(s, l->event[l->first % l->cap].packet);
	s->node[i].busy_until = 0;
}

void cpu_world_end(struct sim *s)
{
	for (unsigned i = 0; i < s->n && s->cpu_counts; i++) {
		cpu_forget(s, i);
		mem_free(s->cpu_line[i].event);
	}
	mem_free(s->cpu_line);
}

/* As long as something waits there is one such event. */
static void call_next(struct sim *s, unsigned i)
{
	uint64_t at = s->node[i].busy_until;
	sim_push(s, &(struct event){.at = at > s->now ? at : s->now,
				    .kind = EVENT_CPU,
				    .node = i,
				    .life = s->node[i].life});
}

bool cpu_queues(struct sim *s, const struct event *e)
{
	struct cpu_line *l = &s->cpu_line[e->node];
	if (!l->len && s->now >= s->node[e->node].busy_until)
		return false;
	if (l->len == l->cap) {
		struct event *wider = mem_array(2 * l->cap + 16, sizeof *wider);
		for (size_t k = 0; k < l->len; k++)
			wider[k] = l->event[(l->first + k) % l->cap];
		mem_free(l->event);
		l->event = wider;
		l->cap = 2 * l->cap + 16;
		l->first = 0;
	}
	if (!l->len)
		call_next(s, e->node);
	l->event[(l->first + l->len++) % l->cap] = *e;
	return true;
}

bool cpu_next(struct sim *s, struct event *e)
{
	struct cpu_line *l = &s->cpu_line[e->node];
	if (!l->len || e->life != s->node[e->node].life)
		return false;
	*e = l->event[l->first++ % l->cap];
	l->len--;
	return true;
}

void cpu_goes_on(struct sim *s, unsigned i)
{
	if (s->cpu_line[i].len)
		call_next(s, i);
}

static struct sig_counts paid(const struct sim *s)
{
	struct sig_counts c = sig_counts();
	c.made -= s->unpaid.made;
	c.checked -= s->unpaid.checked;
	return c;
}

void cpu_begin(struct sim *s, bool input)
{
	s->step_txs = 0;
	s->step_us = input ? s->options.cpu.step_us : 0;
	s->step_began = paid(s);
}

uint64_t cpu_spent_counted(const struct sim *s)
{
	const struct sim_cpu *c = &s->options.cpu;
	struct sig_counts now = paid(s);
	return s->step_us + c->verify_us * (now.checked - s->step_began.checked) +
	       c->sign_us * (now.made - s->step_began.made) + c->tx_us * s->step_txs;
}

void cpu_end(struct sim *s, unsigned i)
{
	uint64_t *until = &s->node[i].busy_until; /* who is asked to resign may be at work */
	*until = (*until > s->now ? *until : s->now) + cpu_spent(s);
}
