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

static void heal_later(struct sim *s, enum fault fault, uint64_t max)
{
	sim_push(s, (struct event){.at = s->now + random_between(&s->random, max / 10, max),
				   .kind = EVENT_HEAL,
				   .number = fault});
}

void faults_crash(struct sim *s, unsigned i)
{
	unsigned down = 0;
	for (unsigned k = 0; k < s->n; k++)
		down += !s->node[k].replica;
	if (!s->node[i].replica || down >= s->profile.down_max)
		return;
	sim_crash_node(s, i);
	sim_push(s, (struct event){.at = s->now + random_between(&s->random, 1000, 3 * SECOND),
				   .kind = EVENT_RESTART,
				   .node = i});
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
	for (unsigned i = 0; i < s->n; i++)
		side[i] = random_chance(&s->random, 1, 2);
	for (unsigned a = 0; a < s->n; a++)
		for (unsigned b = 0; b < s->n; b++)
			s->cut[a][b] = side[a] != side[b];
	s->result->partitions++;
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
	sim_push(s, (struct event){.at = s->now + 3 * SECOND, .kind = EVENT_FAULT});
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
	if (s->options.trace)
		printf("%10.6f fault %u, node %u\n", (double)s->now / 1e6, fault, victim);
	switch (fault) {
	case FAULT_CRASH:
		faults_crash(s, victim);
		break;
	case FAULT_CRASH_LEADER:
		faults_crash(s, leader_of(s));
		break;
	case FAULT_MANY_CRASH: /* more than f at once: safe, and live again afterwards */
		for (unsigned i = 0; i < s->n; i++)
			if (random_chance(&s->random, 1, 2))
				faults_crash(s, i);
		break;
	case FAULT_PARTITION:
		partition(s);
		heal_later(s, fault, 2 * SECOND);
		break;
	case FAULT_ISOLATE:
		isolate(s, random_chance(&s->random, 1, 2) ? leader_of(s) : victim, false);
		heal_later(s, fault, 2 * SECOND);
		break;
	case FAULT_ONE_WAY:
		isolate(s, random_chance(&s->random, 1, 2) ? leader_of(s) : victim, true);
		heal_later(s, fault, 2 * SECOND);
		break;
	case FAULT_LOSS:
		s->loss_per_mille = (uint32_t)random_between(&s->random, 10, 400);
		s->reorder = true;
		heal_later(s, fault, 2 * SECOND);
		break;
	case FAULT_SLOW_NET:
		s->delay_max = random_between(&s->random, 2000, 200000);
		heal_later(s, fault, 2 * SECOND);
		break;
	case FAULT_SLOW_DISK:
		s->node[victim].sync_us = random_between(&s->random, 1000, 300000);
		heal_later(s, fault, 2 * SECOND);
		break;
	case FAULT_SLOW_DISKS:
		for (unsigned i = 0; i < s->n; i++)
			s->node[i].sync_us = random_between(&s->random, 10000, 300000);
		heal_later(s, FAULT_SLOW_DISK, 2 * SECOND);
		break;
	case FAULT_CRASH_AT_SYNC: /* one or several, each in the middle of its next sync */
		for (unsigned i = 0; i < s->n; i++)
			if (i == victim || random_chance(&s->random, 1, 2))
				s->node[i].crash_at_sync = true;
		break;
	case FAULT_PAUSE:
		if (random_chance(&s->random, 1, 2))
			victim = leader_of(s);
		s->node[victim].paused_until =
			s->now + random_between(&s->random, 1000, 2 * SECOND);
		break;
	case FAULTS:
		break;
	}
	sim_push(s, (struct event){.at = s->now +
					 random_between(&s->random, 5000, s->profile.fault_gap),
				   .kind = EVENT_FAULT});
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
	sim_push(s, (struct event){.at = s->now + SECOND / 20, .kind = EVENT_FAULT});
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
		s->node[i].skew_ms = 0;
		s->node[i].paused_until = 0;
		s->node[i].sync_us = s->profile.sync_us;
		if (!s->node[i].replica) {
			s->result->restarts++;
			sim_start_node(s, i);
		}
	}
}
