/* Random faults: crashes, partitions, one-way cuts, loss, slow networks and disks. What begins
 * ends by itself after a random while; faults_end() ends everything at once. */
#include <stdio.h>

#include "sim/world.h"

enum fault {
	FAULT_CRASH,
	FAULT_CRASH_LEADER,
	FAULT_PARTITION,
	FAULT_ISOLATE,
	FAULT_ONE_WAY,
	FAULT_LOSS,
	FAULT_SLOW_NET,
	FAULT_SLOW_DISK,
	FAULT_MANY_CRASH,
	FAULT_SLOW_DISKS,
	FAULT_CRASH_AT_SYNC,
	FAULT_PAUSE,
	FAULTS
};

#define SECOND UINT64_C(1000000)

/* Returns after how long. */
static uint64_t heal_later(struct sim *s, enum fault fault, uint64_t max)
{
	uint64_t after = random_between(&s->random, max / 10, max);
	sim_push(s, &(struct event){.at = s->now + after, .kind = EVENT_HEAL, .number = fault});
	return after;
}

/* For the record: what a script would have to say. The caller fills in details. */
static struct script_action *note(struct sim *s, enum script_kind kind, uint64_t mask,
				  uint64_t for_us)
{
	static struct script_action nobody_looks;
	struct sim_record *record = s->options.record;
	struct script_action *a = &nobody_looks;
	if (record && record->script.count < SCRIPT_MAX)
		a = &record->script.action[record->script.count++];
	else if (record)
		record->script_more = true;
	*a = (struct script_action){.trigger = TRIGGER_TIME,
				    .at = s->now,
				    .kind = kind,
				    .who = mask ? SCRIPT_NODES : SCRIPT_NOBODY,
				    .mask = mask,
				    .for_us = for_us};
	return a;
}

static uint64_t bit(unsigned i)
{
	return UINT64_C(1) << i;
}

/* A correct replica may lose its disk, again and again; no more of them than there may be. */
static bool loses_disk(struct sim *s, unsigned i)
{
	unsigned wiped = 0;
	if (!s->options.wiped || sim_is_corrupt(s, i))
		return false;
	for (unsigned k = 0; k < s->n; k++)
		wiped += s->node[k].wiped || s->node[k].observed ||
			 (s->member.active && s->member.place == k);
	return (s->node[i].wiped || wiped < s->options.wiped) &&
	       random_chance(&s->random, 1, 2);
}

/* Likewise, an old copy of it. */
static bool takes_old_copy(struct sim *s, unsigned i)
{
	unsigned rewound = 0;
	if (!s->options.rewound || sim_is_corrupt(s, i))
		return false;
	for (unsigned k = 0; k < s->n; k++)
		rewound += s->node[k].rewound;
	return (s->node[i].rewound || rewound < s->options.rewound) &&
	       random_chance(&s->random, 1, 2);
}

uint64_t faults_crash(struct sim *s, unsigned i)
{
	unsigned down = 0;
	for (unsigned k = 0; k < s->n; k++)
		down += !s->node[k].replica;
	if (!s->node[i].replica || down >= s->profile.down_max)
		return 0;
	if (loses_disk(s, i))
		sim_wipe_disk(s, i);
	else if (takes_old_copy(s, i))
		sim_rewind_disk(s, i);
	else
		sim_crash_node(s, i);
	uint64_t after = random_between(&s->random, 1000, 3 * SECOND);
	sim_push(s, &(struct event){.at = s->now + after, .kind = EVENT_RESTART, .node = i});
	return after;
}

static void crash(struct sim *s, unsigned i)
{
	uint64_t after = faults_crash(s, i);
	if (after)
		note(s, SCRIPT_CRASH, bit(i), after);
}

unsigned sim_leader(struct sim *s)
{
	unsigned leader = s->n;
	uint64_t term = 0;
	for (unsigned i = 0; i < s->n; i++) {
		struct engine_status status;
		if (!s->node[i].replica)
			continue;
		replica_status(s->node[i].replica, &status);
		if (status.role == ROLE_LEADER && status.term > term) {
			leader = i;
			term = status.term;
		}
	}
	return leader;
}

static unsigned leader_of(struct sim *s)
{
	unsigned leader = sim_leader(s);
	return leader < s->n ? leader : (unsigned)random_below(&s->random, s->n);
}

/* Ends with the first final block of a term above every one there is now. */
void failover_begins(struct sim *s)
{
	if (s->leader_lost_at)
		return;
	s->leader_lost_at = s->now;
	s->leader_lost_term = 0;
	for (unsigned i = 0; i < s->n; i++) {
		struct engine_status status;
		if (!s->node[i].replica)
			continue;
		replica_status(s->node[i].replica, &status);
		if (status.tc_term > s->leader_lost_term)
			s->leader_lost_term = status.tc_term;
	}
}

static void partition(struct sim *s)
{
	bool side[VALIDATORS_MAX];
	uint64_t group[2] = {0};
	for (unsigned i = 0; i < s->n; i++) {
		side[i] = random_chance(&s->random, 1, 2);
		group[side[i]] |= bit(i);
	}
	for (unsigned a = 0; a < s->n; a++)
		for (unsigned b = 0; b < s->n; b++)
			s->cut[a][b] = side[a] != side[b];
	s->result->partitions++;
	uint64_t after = heal_later(s, FAULT_PARTITION, 2 * SECOND);
	if (group[0] && group[1])
		note(s, SCRIPT_PARTITION, group[0], after);
}

static void isolate(struct sim *s, unsigned victim, bool one_way)
{
	bool in = random_chance(&s->random, 1, 2);
	for (unsigned i = 0; i < s->n; i++) {
		if (i == victim)
			continue;
		if (!one_way || in)
			s->cut[i][victim] = true;
		if (!one_way || !in)
			s->cut[victim][i] = true;
	}
	s->result->partitions++;
	uint64_t after = heal_later(s, one_way ? FAULT_ONE_WAY : FAULT_ISOLATE, 2 * SECOND);
	note(s,
	     !one_way ? SCRIPT_ISOLATE
	     : in     ? SCRIPT_DEAFEN
		      : SCRIPT_MUTE,
	     bit(victim), after);
}

static void lose(struct sim *s)
{
	s->loss_per_mille = (uint32_t)random_between(&s->random, 10, 400);
	s->reorder = true;
	uint64_t after = heal_later(s, FAULT_LOSS, 2 * SECOND);
	note(s, SCRIPT_LOSS, 0, after)->low = s->loss_per_mille;
	note(s, SCRIPT_REORDER, 0, 0);
}

static void slow_net(struct sim *s)
{
	s->delay_max = random_between(&s->random, 2000, 200000);
	struct script_action *a =
		note(s, SCRIPT_DELAY, 0, heal_later(s, FAULT_SLOW_NET, 2 * SECOND));
	a->low = s->delay_min;
	a->high = s->delay_max;
}

static void slow_disks(struct sim *s, unsigned victim, bool all)
{
	for (unsigned i = 0; i < s->n; i++)
		if (all || i == victim)
			s->node[i].sync_us =
				random_between(&s->random, all ? 10000 : 1000, 300000);
	uint64_t after = heal_later(s, FAULT_SLOW_DISK, 2 * SECOND);
	for (unsigned i = 0; i < s->n; i++)
		if (all || i == victim)
			note(s, SCRIPT_SLOW_DISK, bit(i), after)->low = s->node[i].sync_us;
}

/* One or several, each in the middle of its next sync. */
static void crash_at_sync(struct sim *s, unsigned victim)
{
	for (unsigned i = 0; i < s->n; i++)
		if (i == victim || random_chance(&s->random, 1, 2)) {
			s->node[i].crash_at_sync = true;
			note(s, SCRIPT_TEAR, bit(i), 0);
		}
}

static void stand_still(struct sim *s, unsigned victim)
{
	if (random_chance(&s->random, 1, 2))
		victim = leader_of(s);
	uint64_t after = random_between(&s->random, 1000, 2 * SECOND);
	s->node[victim].paused_until = s->now + after;
	note(s, SCRIPT_PAUSE, bit(victim), after);
}

bool faults_have_struck(const struct sim *s)
{
	bool role = s->options.when_leading || s->options.when_following;
	if ((!role && !s->options.await_strikes) || !s->team)
		return true;
	if (role && s->options.await_change)
		return s->result->mode_count > 0;
	for (unsigned a = 0; a < ATTACKS; a++)
		if (team_strikes(s->team)[a])
			return true;
	return false;
}

/* A leader stands still for a second, until one of those that shall lead does. */
void faults_make_way(struct sim *s)
{
	if (faults_have_struck(s))
		return;
	unsigned leader = leader_of(s);
	if (sim_is_corrupt(s, leader) != s->options.when_leading && s->now > SECOND)
		s->node[leader].paused_until = s->now + SECOND;
	sim_push(s, &(struct event){.at = s->now + 3 * SECOND, .kind = EVENT_FAULT});
}

static void next_fault(struct sim *s)
{
	sim_push(s, &(struct event){.at = s->now + random_between(&s->random, 5000,
								  s->profile.fault_gap),
				    .kind = EVENT_FAULT});
}

void faults_next(struct sim *s)
{
	if (!s->faults_on && (s->options.when_leading || s->options.when_following) &&
	    s->options.gentle)
		faults_make_way(s);
	if (!s->faults_on)
		return;
	unsigned victim = (unsigned)random_below(&s->random, s->n);
	enum fault fault = (enum fault)random_below(&s->random, FAULTS);
	uint32_t number = ++s->fault_number;
	if (s->options.only_faults && !occurs(s->options.only_faults, number)) {
		next_fault(s);
		return;
	}
	if (s->options.record)
		occurrences_add(&s->options.record->faults, number);
	if (s->options.trace)
		printf("%10.6f fault %u of kind %u, node %u\n", (double)s->now / 1e6, number,
		       fault, victim);
	switch (fault) {
	case FAULT_CRASH:
		crash(s, victim);
		break;
	case FAULT_CRASH_LEADER:
		crash(s, leader_of(s));
		break;
	case FAULT_MANY_CRASH: /* more than f at once: safe, and live again afterwards */
		for (unsigned i = 0; i < s->n; i++)
			if (random_chance(&s->random, 1, 2))
				crash(s, i);
		break;
	case FAULT_PARTITION:
		partition(s);
		break;
	case FAULT_ISOLATE:
		isolate(s, random_chance(&s->random, 1, 2) ? leader_of(s) : victim, false);
		break;
	case FAULT_ONE_WAY:
		isolate(s, random_chance(&s->random, 1, 2) ? leader_of(s) : victim, true);
		break;
	case FAULT_LOSS:
		lose(s);
		break;
	case FAULT_SLOW_NET:
		slow_net(s);
		break;
	case FAULT_SLOW_DISK:
	case FAULT_SLOW_DISKS:
		slow_disks(s, victim, fault == FAULT_SLOW_DISKS);
		break;
	case FAULT_CRASH_AT_SYNC:
		crash_at_sync(s, victim);
		break;
	case FAULT_PAUSE:
		stand_still(s, victim);
		break;
	case FAULTS:
		break;
	}
	next_fault(s);
}

void faults_heal_event(struct sim *s, const struct event *e)
{
	switch ((enum fault)e->number) {
	case FAULT_PARTITION:
	case FAULT_ISOLATE:
	case FAULT_ONE_WAY:
		memset(s->cut, 0, sizeof s->cut);
		break;
	case FAULT_LOSS:
		s->loss_per_mille = 2;
		s->reorder = false;
		break;
	case FAULT_SLOW_NET:
		s->delay_max = s->profile.delay_max;
		break;
	case FAULT_SLOW_DISK:
		for (unsigned i = 0; i < s->n; i++)
			s->node[i].sync_us = s->profile.sync_us;
		break;
	case FAULT_CRASH:
	case FAULT_CRASH_LEADER:
	case FAULT_MANY_CRASH:
	case FAULT_SLOW_DISKS:
	case FAULT_CRASH_AT_SYNC:
	case FAULT_PAUSE:
	case FAULTS:
		break;
	}
	if (!s->faults_on)
		s->loss_per_mille = 0;
}

void faults_begin(struct sim *s)
{
	s->faults_on = true;
	s->loss_per_mille = 2;
	sim_push(s, &(struct event){.at = s->now + SECOND / 20, .kind = EVENT_FAULT});
}

void faults_end(struct sim *s)
{
	s->faults_on = false;
	s->loss_per_mille = 0;
	s->duplicate_per_mille = 0;
	s->reorder = false;
	for (unsigned i = 0; i < s->n; i++)
		s->node[i].slow_min = s->node[i].slow_max = s->node[i].bytes_per_s = 0;
	s->delay_min = s->profile.delay_min;
	s->delay_max = s->profile.delay_max;
	s->healed_at = s->now;
	clients_resume(s);
	memset(s->cut, 0, sizeof s->cut);
	for (unsigned i = s->options.dead; i < s->n; i++) {
		s->node[i].crash_at_sync = false;
		kill_disarm(s, i);
		s->node[i].skew_ms = 0;
		s->node[i].paused_until = 0;
		s->node[i].sync_us = s->profile.sync_us;
		sim_make_room(s, i);
		if (!s->node[i].replica) {
			s->result->restarts++;
			sim_start_node(s, i);
		}
	}
}
