/* Hosts that gather, as the node's event loop does (node/loop.c): a turn begins with an input
 * and lasts a short while. What comes in meanwhile goes to the engine; a block that it wants is
 * refused as "busy" at the turn's end, upon which it asks again at once. All inputs fall into
 * turns, so that who asks again any later is told "busy" for ever. All choices come from a
 * generator of their own, so that runs in which nobody gathers stay as they are. */
#include <stdio.h>

#include "sim/world.h"

static const uint64_t turns[] = {200, 2000, 20000};

/* A quarter of the seeds: 9, 10, 12 and 14 mod 16. Those that had been kept for what they once
 * found, before there was this, are all among the others. */
static bool somebody_gathers(const struct sim *s)
{
	return !s->options.calm && !s->options.gentle && 0x5600 >> s->options.seed % 16 & 1;
}

/* All replicas, as in a live network, or some. */
void gather_begin(struct sim *s)
{
	random_seed(&s->gather_random, s->options.seed ^ 0x676174686572);
	for (unsigned i = 0; i < s->n && s->cpu_counts; i++)
		s->node[i].turn_us = 1; /* whatever waits for the processor */
	if (!somebody_gathers(s))
		return;
	uint64_t turn_us = turns[random_below(&s->gather_random, MEM_COUNT(turns))];
	bool all = random_chance(&s->gather_random, 1, 2);
	for (unsigned i = 0; i < s->n; i++)
		if (all || random_chance(&s->gather_random, 1, 2))
			s->node[i].turn_us = turn_us;
}

/* Before each input. */
void gather_input(struct sim *s, unsigned i)
{
	struct sim_node *node = &s->node[i];
	if (!node->turn_us || node->in_turn)
		return;
	node->in_turn = true;
	replica_gather(node->replica);
	sim_push(s, &(struct event){.at = s->now + 1 +
					  random_below(&s->gather_random, node->turn_us),
				    .kind = EVENT_TURN_ENDS,
				    .node = i,
				    .life = node->life});
}

void gather_end(struct sim *s, unsigned i)
{
	struct sim_node *node = &s->node[i];
	node->in_turn = false;
	if (!replica_propose(node->replica, s->now))
		return;
	s->result->builds_refused_busy++;
	if (s->options.trace)
		printf("%10.6f %u has gathered, and is asked again for a block\n",
		       (double)s->now / 1e6, i);
}
