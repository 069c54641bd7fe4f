/* What came of a run, simulated or live: measures, and whether what the scenario expects holds.
 */
#include "tools/lab/result.h"

#include <string.h>

#include "base/mem.h"
#include "consensus/hybrid/message.h"
#include "tools/lab/result_private.h"
#include "tools/lab/theory.h"

/* ---- expectations ------------------------------------------------------------------------ */

static bool mode_changed(const struct sim_result *r, enum escalation_reason reason)
{
	for (uint32_t i = 0; i < r->mode_count; i++)
		if (r->modes[i].kind == SYSTEM_ESCALATED &&
		    (reason == REASON_NONE || r->modes[i].reason == reason))
			return true;
	return false;
}

static bool evidence_shown(const struct sim_result *r, enum evidence_kind kind)
{
	for (uint32_t i = 0; i < r->mode_count; i++)
		if (r->modes[i].kind == SYSTEM_CONVICTION && r->modes[i].proof == kind)
			return true;
	return false;
}

double result_availability(const struct sim_result *r)
{
	return r->windows ? (double)r->windows_with_commit / (double)r->windows : 0;
}

unsigned result_innocent_accused(const struct sim_result *r)
{
	return (unsigned)__builtin_popcountll((r->jailed_mask | r->accused_mask) &
					      ~r->corrupt_mask);
}

static bool enough(uint64_t mask, uint64_t wanted, unsigned nodes)
{
	unsigned least =
		wanted == EXPECT_MORE_THAN_F ? quorum_of(nodes).f + 1 : (unsigned)wanted;
	return (unsigned)__builtin_popcountll(mask) >= least;
}

bool result_holds(const struct sim_result *r, const struct expectation *e, unsigned nodes)
{
	switch (e->kind) {
	case EXPECT_NO_CONFLICT:
		return r->conflicts == 0 && r->verdict != SIM_SAFETY;
	case EXPECT_CONFLICT:
		return r->conflicts > 0;
	case EXPECT_PROGRESS:
		return r->verdict != SIM_LIVENESS &&
		       (!e->value || (r->progress_us && r->progress_us <= e->value));
	case EXPECT_INNOCENT:
		return result_innocent_accused(r) == 0;
	case EXPECT_CONVICTED:
		return enough(r->jailed_mask, e->value, nodes);
	case EXPECT_NO_MODE_CHANGE:
		return r->mode_count == 0;
	case EXPECT_MODE_CHANGE:
		return mode_changed(r, (enum escalation_reason)e->value);
	case EXPECT_RETURN:
		return !r->in_pbft;
	case EXPECT_EVIDENCE:
		return evidence_shown(r, (enum evidence_kind)e->value);
	case EXPECT_CULPRITS:
		return enough(r->proven, e->value, nodes);
	case EXPECT_AVAILABILITY:
		return 100 * result_availability(r) >= (double)e->value;
	case EXPECT_FAILOVER:
		return r->failover_us <= e->value;
	case EXPECT_ONE_TERM: /* awaited */
		return r->verdict != SIM_LIVENESS;
	case EXPECT_STRUCK:
		for (unsigned a = 0; a < ATTACKS; a++)
			if (r->strikes[a])
				return true;
		break;
	case EXPECT_COUNTS:
	case EXPECT_KINDS:
		break;
	}
	return false;
}

/* ---- counts ------------------------------------------------------------------------------ */

/* Types of the normal case, which theory counts: what orders blocks and makes them final. A
 * certificate that went alone, because its leader was idle, is no part of it. */
uint64_t result_counted(const struct sim_result *r, const struct sim_measures *m, unsigned type)
{
	uint64_t alone = m ? m->lone[type] : type == MSG_APPEND ? r->lone_certificates : 0;
	return r->messages[type] - (alone < r->messages[type] ? alone : r->messages[type]);
}

static uint64_t normal_sum(const struct sim_result *r, const struct sim_measures *m)
{
	uint64_t sum = 0;
	for (unsigned t = 0; t < ENGINE_MESSAGE_TYPES; t++)
		if (measure_phase_of((uint8_t)t) == PHASE_NORMAL)
			sum += result_counted(r, m, t);
	return sum;
}

double result_normal_case(const struct sim_result *r, const struct sim_measures *m)
{
	return r->decisions ? (double)normal_sum(r, m) / (double)r->decisions : 0;
}

/* Counts and formulas are whole numbers. A PREPARE of PBFT may be missing: who has the QC
 * before having voted itself adopts it. That happens to blocks that come
 * alone. */
bool result_counts_hold(const struct sim_options *so, const struct sim_result *r, bool lone)
{
	const struct sim_measures *m = so->measure;
	double theory = lone ? theory_lone(so->protocol, so->nodes, so->dead)
			     : theory_pipelined(so->protocol, so->nodes, so->dead);
	if (!m || !r->decisions)
		return false;
	uint64_t sum = normal_sum(r, m) + (lone ? m->phase[PHASE_CERTIFICATE] : 0);
	double expected = theory * (double)r->decisions;
	if (lone && so->protocol == PROTOCOL_PBFT)
		return (double)sum <= expected && (double)sum >= 0.98 * expected;
	return (double)sum == expected;
}

uint64_t result_broken(const struct scenario *s, const struct sim_options *so,
		       const struct sim_result *r)
{
	uint64_t bits = 0;
	for (unsigned i = 0; i < s->expect_count; i++) {
		const struct expectation *e = &s->expect[i];
		bool holds = e->kind == EXPECT_COUNTS ? result_counts_hold(so, r, e->value)
						      : result_holds(r, e, so->nodes);
		bits |= holds ? 0 : UINT64_C(1) << i;
	}
	return bits;
}

/* ---- several runs ------------------------------------------------------------------------ */

static void keep_times(struct lab_total *t, const struct sim_result *r)
{
	size_t n = r->times < SIM_TIMES_MAX ? r->times : SIM_TIMES_MAX;
	if (t->time_count + n > t->time_cap) {
		t->time_cap = 2 * (t->time_count + n);
		t->times = mem_realloc(t->times, t->time_cap * sizeof *t->times);
	}
	if (n)
		memcpy(t->times + t->time_count, r->propose_to_final, n * sizeof *t->times);
	t->time_count += n;
}

static void keep_measured(struct lab_times *t, const struct measure_times *from)
{
	size_t n = from->count < MEASURE_TIMES_MAX ? (size_t)from->count : MEASURE_TIMES_MAX;
	if (t->count + n > t->cap) {
		t->cap = 2 * (t->count + n);
		t->us = mem_realloc(t->us, t->cap * sizeof *t->us);
	}
	for (size_t i = 0; i < n; i++)
		t->us[t->count++] = from->us[i];
}

static void add_transition(struct sim_measures *sum, const struct measure_transition *x)
{
	for (uint32_t i = 0; i < sum->transition_count; i++)
		if (strcmp(sum->transition[i].name, x->name) == 0) {
			sum->transition[i].count += x->count;
			return;
		}
	if (sum->transition_count < MEASURE_TRANSITIONS_MAX)
		sum->transition[sum->transition_count++] = *x;
}

static uint64_t known(uint64_t us)
{
	return us == MEASURE_NEVER ? 0 : us;
}

static uint64_t failover_length(const struct measure_failover *f)
{
	return known(f->detection) + known(f->election) + known(f->first_commit);
}

static void add_measures(struct lab_total *t, const struct sim_measures *m)
{
	struct sim_measures *sum = &t->m;
	keep_measured(&t->leader, &m->leader);
	keep_measured(&t->all, &m->all);
	keep_measured(&t->client, &m->client);
	if (!t->measured) {
		*sum = *m;
		t->measured = true;
		return;
	}
	sum->counted_us += m->counted_us;
	for (unsigned i = 0; i < PHASES; i++)
		sum->phase[i] += m->phase[i];
	for (unsigned i = 0; i < ENGINE_MESSAGE_TYPES; i++) {
		sum->bytes_by_type[i] += m->bytes_by_type[i];
		sum->lone[i] += m->lone[i];
	}
	for (uint32_t i = 0; i < m->transition_count; i++)
		add_transition(sum, &m->transition[i]);
	if (failover_length(&m->failover) > failover_length(&sum->failover)) {
		sum->failover = m->failover;
		sum->failover_messages = m->failover_messages;
	}
	if (m->moment > sum->moment) {
		sum->moment = m->moment;
		sum->event_count = m->event_count;
		sum->mark_count = m->mark_count;
		memcpy(sum->event, m->event, sizeof sum->event);
		memcpy(sum->mark, m->mark, sizeof sum->mark);
	}
}

void result_free(struct lab_total *t)
{
	mem_free(t->times);
	mem_free(t->leader.us);
	mem_free(t->all.us);
	mem_free(t->client.us);
}

void result_add(struct lab_total *t, const struct scenario *s, const struct sim_options *so,
		const struct sim_result *r, double wall)
{
	struct sim_result *sum = &t->r;
	uint64_t bits = result_broken(s, so, r);
	keep_times(t, r);
	if (so->measure)
		add_measures(t, so->measure);
	t->wall += wall;
	t->failed |= bits;
	if (bits && !t->bad_runs++)
		t->first_bad_seed = so->seed;
	if (t->runs++ == 0) {
		*sum = *r;
		return;
	}
	if (sum->verdict == SIM_OK && r->verdict != SIM_OK) {
		sum->verdict = r->verdict;
		memcpy(sum->text, r->text, sizeof sum->text);
	}
	sum->decisions += r->decisions;
	sum->transactions += r->transactions;
	sum->acknowledged += r->acknowledged;
	sum->virtual_us += r->virtual_us;
	for (unsigned i = 0; i < ENGINE_MESSAGE_TYPES; i++)
		sum->messages[i] += r->messages[i];
	for (unsigned i = 0; i < ATTACKS; i++)
		sum->strikes[i] += r->strikes[i];
	sum->bytes += r->bytes;
	sum->lone_certificates += r->lone_certificates;
	sum->signatures.made += r->signatures.made;
	sum->signatures.checked += r->signatures.checked;
	if (!sum->conflicts && r->conflicts) {
		sum->fork = r->fork;
		sum->culprits = r->culprits;
		sum->proven = r->proven;
	}
	sum->conflicts += r->conflicts;
	sum->windows += r->windows;
	sum->windows_with_commit += r->windows_with_commit;
	sum->corrupt_mask |= r->corrupt_mask;
	sum->jailed_mask |= r->jailed_mask;
	sum->accused_mask |= r->accused_mask & ~r->corrupt_mask ? r->accused_mask : 0;
	if (r->longest_gap_us > sum->longest_gap_us)
		sum->longest_gap_us = r->longest_gap_us;
	if (r->failover_us > sum->failover_us)
		sum->failover_us = r->failover_us;
	if (r->progress_us > sum->progress_us)
		sum->progress_us = r->progress_us;
}
