/* Who and what a script's action means, and carrying it out in the simulator. */
#include <stdio.h>

#include "sim/world.h"

#define RECONNECT_US 20000 /* what net/ waits before it dials again */

bool script_can_end(enum script_kind kind)
{
	switch (kind) {
	case SCRIPT_CRASH:
	case SCRIPT_PAUSE:
	case SCRIPT_PARTITION:
	case SCRIPT_ISOLATE:
	case SCRIPT_DEAFEN:
	case SCRIPT_MUTE:
	case SCRIPT_DELAY:
	case SCRIPT_LOSS:
	case SCRIPT_DUPLICATE:
	case SCRIPT_REORDER:
	case SCRIPT_SLOW:
	case SCRIPT_THROTTLE:
	case SCRIPT_SKEW:
	case SCRIPT_SLOW_DISK:
	case SCRIPT_FILL:
	case SCRIPT_WIPE:
	case SCRIPT_REWIND:
	case SCRIPT_ATTACK:
	case SCRIPT_QUIET:
		return true;
	case SCRIPT_RESET:
	case SCRIPT_TEAR:
	case SCRIPT_RESTART:
	case SCRIPT_HEAL:
	case SCRIPT_PEACE:
	case SCRIPT_LOAD:
	case SCRIPT_REPLACE:
	case SCRIPT_KINDS:
		break;
	}
	return false;
}

static uint64_t all_of(unsigned n)
{
	return UINT64_MAX >> (64 - n);
}

static uint64_t last(unsigned count, unsigned n)
{
	return all_of(n) & ~(count < n ? all_of(n - count) : 0);
}

uint64_t script_mask(const struct script_action *a, unsigned n, unsigned leader,
		     uint64_t malicious)
{
	uint64_t all = all_of(n), leads = leader < n ? UINT64_C(1) << leader : 0;
	switch (a->who) {
	case SCRIPT_NOBODY:
		break;
	case SCRIPT_NODES:
		return a->mask & all;
	case SCRIPT_LEADER:
		return leads;
	case SCRIPT_FOLLOWERS:
		return all & ~leads;
	case SCRIPT_MALICIOUS:
		return malicious;
	case SCRIPT_HONEST:
		return all & ~malicious;
	case SCRIPT_ALL:
		return all;
	case SCRIPT_MINORITY:
		return last(quorum_faults_tolerated(n), n);
	case SCRIPT_HALF:
		return last(n / 2, n);
	}
	return 0;
}

static bool share_a_group(const struct script_action *a, unsigned x, unsigned y)
{
	for (unsigned g = 0; g < a->groups; g++)
		if (a->group[g] >> x & 1 && a->group[g] >> y & 1)
			return true;
	return false;
}

bool script_cuts(const struct script_action *a, unsigned n, uint64_t mask, unsigned from,
		 unsigned to)
{
	bool from_in = mask >> from & 1, to_in = mask >> to & 1;
	(void)n;
	switch (a->kind) {
	case SCRIPT_PARTITION:
		return a->groups ? !share_a_group(a, from, to) : from_in != to_in;
	case SCRIPT_ISOLATE:
		return from_in || to_in;
	case SCRIPT_DEAFEN:
		return to_in;
	case SCRIPT_MUTE:
		return from_in;
	default:
		return false;
	}
}

bool script_hits_leader(const struct script_action *a, uint64_t mask, unsigned leader)
{
	bool hurts = a->kind == SCRIPT_CRASH || a->kind == SCRIPT_PAUSE ||
		     a->kind == SCRIPT_ISOLATE || a->kind == SCRIPT_MUTE ||
		     a->kind == SCRIPT_DEAFEN || a->kind == SCRIPT_FILL ||
		     a->kind == SCRIPT_WIPE || a->kind == SCRIPT_REWIND;
	return hurts && leader < VALIDATORS_MAX && mask >> leader & 1;
}

/* ---- parts of a run ---------------------------------------------------------------------- */

void occurrences_add(struct occurrences *o, uint32_t number)
{
	struct occurrence_range *last = o->count ? &o->range[o->count - 1] : NULL;
	if (last && number <= last->last)
		return;
	if (last && number == last->last + 1)
		last->last = number;
	else if (o->count < OCCURRENCES_MAX)
		o->range[o->count++] = (struct occurrence_range){number, number};
	else
		o->more = true;
}

bool occurs(const struct occurrences *o, uint32_t number)
{
	uint32_t low = 0, high = o->count;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (number > o->range[middle].last)
			low = middle + 1;
		else
			high = middle;
	}
	return low < o->count && number >= o->range[low].first;
}

int loss_compare(const struct loss *a, const struct loss *b)
{
	if (a->from != b->from)
		return a->from < b->from ? -1 : 1;
	if (a->to != b->to)
		return a->to < b->to ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

bool losses_have(const struct losses *l, unsigned from, unsigned to, uint32_t number)
{
	struct loss wanted = {(uint8_t)from, (uint8_t)to, number};
	uint32_t low = 0, high = l->count;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (loss_compare(&l->loss[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < l->count && loss_compare(&l->loss[low], &wanted) == 0;
}

/* ---- in the simulator -------------------------------------------------------------------- */

static void cut(struct sim *s, const struct script_action *a, uint64_t mask)
{
	for (unsigned from = 0; from < s->n; from++)
		for (unsigned to = 0; to < s->n; to++)
			if (from != to && script_cuts(a, s->n, mask, from, to))
				s->cut[from][to] = true;
	s->result->partitions++;
}

static void restart(struct sim *s, unsigned i)
{
	if (s->node[i].replica)
		return;
	s->result->restarts++;
	sim_start_node(s, i);
}

static void perform(struct sim *s, const struct script_action *a, uint64_t mask)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (!(mask >> i & 1))
			continue;
		struct sim_node *node = &s->node[i];
		if (a->kind == SCRIPT_CRASH && node->replica)
			sim_crash_node(s, i);
		if (a->kind == SCRIPT_RESTART)
			restart(s, i);
		if (a->kind == SCRIPT_PAUSE)
			node->paused_until = s->now + a->for_us;
		if (a->kind == SCRIPT_SLOW_DISK)
			node->sync_us = a->low;
		if (a->kind == SCRIPT_TEAR)
			node->crash_at_sync = true;
		if (a->kind == SCRIPT_FILL)
			sim_fill_disk(s, i);
		if (a->kind == SCRIPT_WIPE)
			sim_wipe_disk(s, i);
		if (a->kind == SCRIPT_REWIND)
			sim_rewind_disk(s, i);
		if (a->kind == SCRIPT_REPLACE)
			member_wanted(s, i);
		if (a->kind == SCRIPT_SLOW) {
			node->slow_min = a->low;
			node->slow_max = a->high;
		}
		if (a->kind == SCRIPT_THROTTLE)
			node->bytes_per_s = a->low;
		if (a->kind == SCRIPT_RESET)
			node->reset_until = s->now + RECONNECT_US;
		if (a->kind == SCRIPT_SKEW)
			node->skew_ms = (int64_t)(a->low / 1000) - (int64_t)(a->high / 1000);
	}
	switch (a->kind) {
	case SCRIPT_PARTITION:
	case SCRIPT_ISOLATE:
	case SCRIPT_DEAFEN:
	case SCRIPT_MUTE:
		cut(s, a, mask);
		break;
	case SCRIPT_HEAL:
		memset(s->cut, 0, sizeof s->cut);
		break;
	case SCRIPT_DELAY:
		s->delay_min = a->low;
		s->delay_max = a->high;
		break;
	case SCRIPT_LOSS:
		s->loss_per_mille = (uint32_t)a->low;
		break;
	case SCRIPT_DUPLICATE:
		s->duplicate_per_mille = (uint32_t)a->low;
		break;
	case SCRIPT_REORDER:
		s->reorder = true;
		break;
	case SCRIPT_ATTACK:
		if (s->team)
			team_set_attacks(s->team, a->attacks);
		break;
	case SCRIPT_PEACE:
		if (s->team)
			team_set_attacks(s->team, 0);
		break;
	case SCRIPT_QUIET:
		s->quiet = true;
		break;
	case SCRIPT_LOAD:
		clients_resume(s);
		break;
	default:
		break;
	}
}

static void undo(struct sim *s, const struct script_action *a, uint64_t mask)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (!(mask >> i & 1))
			continue;
		if (a->kind == SCRIPT_CRASH || a->kind == SCRIPT_WIPE ||
		    a->kind == SCRIPT_REWIND)
			restart(s, i);
		if (a->kind == SCRIPT_FILL)
			sim_make_room(s, i);
		if (a->kind == SCRIPT_SLOW_DISK)
			s->node[i].sync_us = s->profile.sync_us;
		if (a->kind == SCRIPT_SKEW)
			s->node[i].skew_ms = 0;
		if (a->kind == SCRIPT_SLOW)
			s->node[i].slow_min = s->node[i].slow_max = 0;
		if (a->kind == SCRIPT_THROTTLE)
			s->node[i].bytes_per_s = 0;
	}
	switch (a->kind) {
	case SCRIPT_PARTITION:
	case SCRIPT_ISOLATE:
	case SCRIPT_DEAFEN:
	case SCRIPT_MUTE:
		memset(s->cut, 0, sizeof s->cut);
		break;
	case SCRIPT_DELAY:
		s->delay_min = s->profile.delay_min;
		s->delay_max = s->profile.delay_max;
		break;
	case SCRIPT_LOSS:
		s->loss_per_mille = s->options.loss_per_mille;
		break;
	case SCRIPT_DUPLICATE:
		s->duplicate_per_mille = 0;
		break;
	case SCRIPT_REORDER:
		s->reorder = false;
		break;
	case SCRIPT_ATTACK:
		if (s->team)
			team_set_attacks(s->team, 0);
		break;
	case SCRIPT_QUIET:
		clients_resume(s);
		break;
	default:
		break;
	}
}

static void fire(struct sim *s, unsigned i)
{
	const struct script_action *a = &s->options.script->action[i];
	unsigned leader = sim_leader(s);
	s->script_fired[i] = true;
	s->script_mask[i] = script_mask(a, s->n, leader, s->corrupt);
	if (s->options.trace)
		printf("%10.6f line %u of the scenario, nodes %llx\n", (double)s->now / 1e6,
		       a->line, (unsigned long long)s->script_mask[i]);
	if (script_hits_leader(a, s->script_mask[i], leader))
		failover_begins(s);
	perform(s, a, s->script_mask[i]);
	if (a->for_us)
		sim_push(s, &(struct event){.at = s->now + a->for_us,
					    .kind = EVENT_SCRIPT,
					    .number = SCRIPT_MAX + i});
}

void script_begin(struct sim *s)
{
	const struct script *script = s->options.script;
	for (unsigned i = 0; script && i < script->count; i++)
		if (script->action[i].trigger == TRIGGER_TIME)
			sim_push(s, &(struct event){.at = script->action[i].at,
						    .kind = EVENT_SCRIPT,
						    .number = i});
}

void script_event(struct sim *s, uint64_t number)
{
	if (s->healed_at)
		return; /* all is well by now, and stays so */
	if (number < SCRIPT_MAX)
		fire(s, (unsigned)number);
	else
		undo(s, &s->options.script->action[number - SCRIPT_MAX],
		     s->script_mask[number - SCRIPT_MAX]);
}

/* After each event: what waits for a height or a leader. */
void script_poll(struct sim *s)
{
	const struct script *script = s->options.script;
	if (!script || s->healed_at)
		return;
	for (unsigned i = 0; i < script->count; i++) {
		const struct script_action *a = &script->action[i];
		if (s->script_fired[i] || a->trigger == TRIGGER_TIME)
			continue;
		if (a->trigger == TRIGGER_HEIGHT && s->log_len <= a->at)
			continue;
		if (a->trigger == TRIGGER_LEADS) {
			unsigned leader = sim_leader(s);
			if (leader >= s->n || !sim_is_corrupt(s, leader))
				continue;
		}
		fire(s, i);
	}
}

/* Is there anything yet to come by time? What waits for a state may never happen. */
bool script_is_over(const struct sim *s)
{
	const struct script *script = s->options.script;
	for (unsigned i = 0; script && i < script->count; i++) {
		const struct script_action *a = &script->action[i];
		if (a->trigger == TRIGGER_TIME && s->now < a->at + a->for_us)
			return false;
	}
	return true;
}
