/* Faults by chance, as the simulator's (src/sim/faults.c) but slower, since real processes take
 * their time: crashes, pauses, partitions, one-way cuts, loss and slow networks. At most f
 * nodes are down or standing still, malicious ones included. */
#include "tools/lab/live.h"

#define SECOND UINT64_C(1000000)

enum storm_fault { CRASH, PAUSE, PARTITION, ONE_WAY, LOSS, SLOW, RESET, FAULTS };

static uint64_t until(struct live *w, uint64_t least, uint64_t most)
{
	return live_us(w) + random_between(&w->storm.random, least, most);
}

static uint64_t one_of(struct live *w)
{
	return UINT64_C(1) << random_below(&w->storm.random, w->n);
}

static void down(struct live *w, uint64_t node, bool pause)
{
	struct live_storm *s = &w->storm;
	unsigned i = (unsigned)__builtin_ctzll(node);
	uint64_t gone = s->down | s->paused | w->malicious | node;
	if ((unsigned)__builtin_popcountll(gone) > quorum_faults_tolerated(w->n) ||
	    (pause ? s->paused : s->down) || !w->node[i] || w->paused >> i & 1)
		return;
	if (i == w->leader)
		live_leader_lost(w);
	if (pause) {
		s->paused = node;
		s->paused_until = until(w, SECOND / 2, 2 * SECOND);
		live_pause_node(w, i, true);
	} else {
		s->down = node;
		s->down_until = until(w, SECOND / 10, 2 * SECOND);
		live_kill_node(w, i);
	}
}

static void begin_one(struct live *w)
{
	struct live_storm *s = &w->storm;
	uint64_t node = one_of(w);
	switch ((enum storm_fault)random_below(&s->random, FAULTS)) {
	case CRASH:
		down(w, node, false);
		break;
	case PAUSE:
		down(w, node, true);
		break;
	case PARTITION:
		s->side = random_u64(&s->random);
		s->cut_until = until(w, SECOND / 5, 2 * SECOND);
		w->r.partitions++;
		break;
	case ONE_WAY:
		s->deaf = random_chance(&s->random, 1, 2) ? node : 0;
		s->mute = s->deaf ? 0 : node;
		s->one_way_until = until(w, SECOND / 5, 2 * SECOND);
		break;
	case LOSS:
		s->loss_per_mille = (uint32_t)random_between(&s->random, 10, 300);
		s->loss_until = until(w, SECOND / 5, 2 * SECOND);
		break;
	case SLOW:
		s->slow_us = random_between(&s->random, 5000, 100000);
		s->slow_until = until(w, SECOND / 2, 3 * SECOND);
		break;
	case RESET:
		live_net_reset(w, node);
		break;
	case FAULTS:
		break;
	}
}

static bool is_over(uint64_t *end, bool all, uint64_t now)
{
	if (!*end || (!all && now < *end))
		return false;
	*end = 0;
	return true;
}

/* True: the network has changed. */
static bool end_some(struct live *w, bool all)
{
	struct live_storm *s = &w->storm;
	uint64_t now = live_us(w);
	bool changed = is_over(&s->cut_until, all, now);
	changed |= is_over(&s->one_way_until, all, now);
	changed |= is_over(&s->loss_until, all, now);
	changed |= is_over(&s->slow_until, all, now);
	if (is_over(&s->paused_until, all, now)) {
		live_pause_node(w, (unsigned)__builtin_ctzll(s->paused), false);
		s->paused = 0;
	}
	if (is_over(&s->down_until, all, now)) {
		unsigned i = (unsigned)__builtin_ctzll(s->down);
		s->down = 0;
		if (!w->node[i]) {
			w->r.restarts++;
			live_start_node(w, i);
		}
	}
	return changed;
}

void live_storm(struct live *w, uint64_t since)
{
	struct live_storm *s = &w->storm;
	bool changed = end_some(w, false);
	if (!s->next_at)
		random_seed(&s->random, w->o->seed);
	if (since >= s->next_at) {
		if (s->next_at) {
			begin_one(w);
			changed = true;
		}
		s->next_at = since + random_between(&s->random, SECOND / 10, SECOND);
	}
	if (changed)
		live_net_apply(w);
}

void live_storm_end(struct live *w)
{
	end_some(w, true);
}

void storm_add(const struct live *w, struct relay_way *way, unsigned from, unsigned to)
{
	const struct live_storm *s = &w->storm;
	if (s->cut_until)
		way->cut |= ((s->side >> from ^ s->side >> to) & 1) != 0;
	if (s->one_way_until)
		way->cut |= (s->mute >> from & 1) != 0 || (s->deaf >> to & 1) != 0;
	if (s->loss_until)
		way->loss_per_mille = s->loss_per_mille;
	if (s->slow_until)
		way->delay_max_us += s->slow_us;
}
