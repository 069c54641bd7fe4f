/* Kill points: one replica after another dies at a write or sync of its store, in the middle of
 * what it does; of what was not synced a random prefix of the batches is left. (What a torn end
 * of a log looks like, and that it is a prefix, is the disk's store's business:
 * ledger/store_wal.c.) Nothing that the replica does after that moment leaves it. Some die
 * while they start. All choices come from a generator of their own, so that runs without kill
 * points stay as they are. */
#include <stdio.h>

#include "sim/world.h"

#define SECOND	   UINT64_C(1000000)
#define COUNT_BITS 9 /* writes and syncs until it dies: 1 to 2^9, small ones as often */
#define START_BITS 3
#define LOOK_US	   UINT64_C(20000)

static uint64_t some_count(struct sim *s, unsigned bits)
{
	return 1 + random_below(&s->kill_random,
				UINT64_C(1) << (1 + random_below(&s->kill_random, bits)));
}

static void killed(void *ctx)
{
	struct sim_node *node = ctx;
	node->dying = true;
	node->sim->dying = true;
}

static void look_later(struct sim *s)
{
	sim_push(s, &(struct event){.at = s->now + 1 + random_below(&s->kill_random, LOOK_US),
				    .kind = EVENT_KILL});
}

void kill_begin(struct sim *s)
{
	s->armed = s->n;
	random_seed(&s->kill_random, s->options.seed ^ 0x6b696c6c);
	if (s->options.kill_points)
		look_later(s);
}

static unsigned down_count(const struct sim *s)
{
	unsigned down = 0;
	for (unsigned i = 0; i < s->n; i++)
		down += !s->node[i].replica;
	return down;
}

static void arm(struct sim *s, unsigned i, unsigned bits)
{
	s->armed = i;
	store_memory_kill(s->node[i].store, some_count(s, bits), killed, &s->node[i]);
}

/* One at a time, in half the cases the leader. */
void kill_next(struct sim *s)
{
	if (s->healed_at || s->result->kills >= s->options.kill_points)
		return;
	look_later(s);
	if (s->armed < s->n || down_count(s) >= s->profile.down_max)
		return;
	unsigned i = sim_leader(s);
	if (i >= s->n || random_chance(&s->kill_random, 1, 2))
		i = (unsigned)random_below(&s->kill_random, s->n);
	if (s->node[i].replica && !sim_is_corrupt(s, i) && !s->node[i].disk_full)
		arm(s, i, COUNT_BITS);
}

/* Another crash has come first, or the faults are over. */
void kill_disarm(struct sim *s, unsigned i)
{
	store_memory_kill(s->node[i].store, 0, NULL, NULL);
	if (s->armed == i)
		s->armed = s->n;
}

/* Before a replica is started. */
void kill_at_start(struct sim *s, unsigned i)
{
	if (s->options.kill_points && !s->healed_at && s->armed >= s->n &&
	    s->result->kills < s->options.kill_points && !sim_is_corrupt(s, i) &&
	    random_chance(&s->kill_random, 1, 3))
		arm(s, i, START_BITS);
}

void kill_reap(struct sim *s)
{
	s->dying = false;
	for (unsigned i = 0; i < s->n; i++) {
		struct sim_node *node = &s->node[i];
		if (!node->dying)
			continue;
		s->result->kills++;
		s->result->kills_starting += !node->replica;
		if (s->options.trace)
			printf("%10.6f %u dies at a write or sync%s\n", (double)s->now / 1e6, i,
			       node->replica ? "" : ", starting");
		if (node->replica) {
			sim_crash_node(s, i);
		} else {
			store_memory_crash(node->store, &s->random);
			kill_disarm(s, i);
		}
		node->dying = false;
		sim_push(s, &(struct event){.at = s->now +
						  random_between(&s->kill_random, 1000, SECOND),
					    .kind = EVENT_RESTART,
					    .node = i});
	}
}
