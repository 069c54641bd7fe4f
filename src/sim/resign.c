/* Leaders that are asked to resign, as nodes that are stopped gracefully do (node/loop.c). Here
 * they need not stop afterwards, and whom they name may be gone. All choices come from a
 * generator of their own, so that runs in which nobody resigns stay as they are. */
#include "sim/world.h"

static void again(struct sim *s)
{
	sim_push(s, &(struct event){.at = s->now +
					  random_between(&s->resign_random, 100000, 3000000),
				    .kind = EVENT_RESIGN});
}

/* A quarter of the seeds, those in which hosts gather (gather.c). */
bool resigns_happen(const struct sim *s)
{
	bool storm = !s->options.calm && !s->options.gentle;
	return s->options.resigns || (storm && 0x5600 >> s->options.seed % 16 & 1);
}

void resigns_begin(struct sim *s)
{
	random_seed(&s->resign_random, s->options.seed ^ 0x72657369676e);
	if (resigns_happen(s))
		again(s);
}

unsigned resigns_next(struct sim *s)
{
	unsigned leader = sim_leader(s);
	if (s->healed_at)
		return s->n;
	again(s);
	if (leader == s->n || s->now < s->node[leader].paused_until)
		return s->n;
	gather_input(s, leader);
	replica_resign(s->node[leader].replica, s->now);
	return leader;
}
