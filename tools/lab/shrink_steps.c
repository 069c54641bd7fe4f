/* What can be made smaller, in this order: expectations, the size of the network, who is
 * malicious and how, the script, the load, the weather; and when all that is as small as it
 * gets, single faults, strikes and lost messages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/ddmin.h"
#include "tools/lab/shrink.h"

static struct scenario *begin(struct shrink *k, const char *step)
{
	k->step = step;
	*k->next = k->best;
	return k->next;
}

static bool has_attacks(const struct scenario *s)
{
	bool attacks = s->attacks != 0;
	for (unsigned i = 0; i < s->script.count; i++)
		attacks |= s->script.action[i].kind == SCRIPT_ATTACK;
	return attacks && scenario_corrupt(s, s->nodes) > 0;
}

static bool beyond_f(const struct scenario *s)
{
	return scenario_corrupt(s, s->nodes) > quorum_of(s->nodes).f;
}

static bool has_parts(const struct scenario *s)
{
	return s->part_of_storm || s->part_of_strikes || s->losses.count;
}

/* What means nothing without attacks, or without the nodes that are gone, goes with them. */
static void tidy_attacks(struct scenario *s)
{
	if (has_attacks(s)) {
		s->strikes_optional = !scenario_expects(s, EXPECT_STRUCK);
		return;
	}
	unsigned kept = 0;
	for (unsigned i = 0; i < s->expect_count; i++)
		if (s->expect[i].kind != EXPECT_STRUCK)
			s->expect[kept++] = s->expect[i];
	s->expect_count = kept;
	s->attacks = 0;
	s->corrupt = 0;
	s->who = WHO_ANY;
	s->targets = TARGETS_CHANCE;
	s->strikes_optional = s->part_of_strikes = false;
	s->strikes.count = 0;
	kept = 0;
	for (unsigned i = 0; i < s->script.count; i++)
		if (s->script.action[i].kind != SCRIPT_ATTACK &&
		    s->script.action[i].kind != SCRIPT_PEACE)
			s->script.action[kept++] = s->script.action[i];
	s->script.count = kept;
}

/* Nodes beyond the last one. False: nothing is left of it. */
static bool tidy_action(struct script_action *a, unsigned nodes)
{
	uint64_t all = UINT64_MAX >> (64 - nodes);
	unsigned groups = 0;
	for (unsigned g = 0; g < a->groups; g++)
		if (a->group[g] & all)
			a->group[groups++] = a->group[g] & all;
	if (a->groups && groups < 2)
		return false;
	a->groups = groups;
	a->mask &= all;
	return a->who != SCRIPT_NODES || a->mask;
}

static void tidy(struct scenario *s)
{
	unsigned kept = 0;
	tidy_attacks(s);
	for (unsigned i = 0; i < s->script.count; i++)
		if (tidy_action(&s->script.action[i], s->nodes))
			s->script.action[kept++] = s->script.action[i];
	s->script.count = kept;
	kept = 0;
	for (uint32_t i = 0; i < s->losses.count; i++)
		if (s->losses.loss[i].from < s->nodes && s->losses.loss[i].to < s->nodes)
			s->losses.loss[kept++] = s->losses.loss[i];
	s->losses.count = kept;
	if (!s->storm) {
		s->part_of_storm = false;
		s->faults.count = 0;
	}
}

/* Is there still what should have brought about what did not happen? */
static bool has_cause(const struct scenario *best, const struct scenario *s)
{
	if (beyond_f(best) != beyond_f(s))
		return false;
	if (has_attacks(best))
		return has_attacks(s);
	return best->storm ? s->storm : !best->script.count || s->script.count;
}

/* k->next, with other seeds too as long as nothing in it is counted by number. What fails
 * because something does not happen would fail of nothing at all: hence the cause. */
static bool attempt(struct shrink *k, unsigned seeds)
{
	struct scenario *s = k->next;
	tidy(s);
	if (k->failure.vacuous && !has_cause(&k->best, s))
		return false;
	return shrink_try(k, has_parts(s) ? 0 : seeds);
}

/* ---- values ------------------------------------------------------------------------------ */

enum value { NODES, CORRUPT, DECISIONS, DURATION, CLIENTS, THINK, LOSS, VALUES };
static const struct {
	const char *name;
	uint64_t unit;
	bool other_seeds;
} values[VALUES] = {
	[NODES] = {"nodes", 1, true},
	[CORRUPT] = {"malicious", 1, true},
	[DECISIONS] = {"decisions", 1, false},
	[DURATION] = {"duration", 100000, false},
	[CLIENTS] = {"clients", 1, true},
	[THINK] = {"think", 1000, true},
	[LOSS] = {"loss", 1, true},
};

static uint64_t value(const struct scenario *s, enum value v)
{
	switch (v) {
	case NODES:
		return s->nodes;
	case CORRUPT:
		return scenario_corrupt(s, s->nodes);
	case DECISIONS:
		return s->decisions;
	case DURATION:
		return s->duration_us;
	case CLIENTS:
		return s->clients;
	case THINK:
		return s->think_us;
	case LOSS:
		return s->loss_per_mille;
	case VALUES:
		break;
	}
	return 0;
}

/* As many malicious ones as before, but at most f; those beyond f are f+1 again. */
static void set_nodes(struct scenario *s, unsigned nodes)
{
	int corrupt = (int)scenario_corrupt(s, s->nodes), f = (int)quorum_of(nodes).f;
	bool beyond = beyond_f(s);
	s->nodes = nodes;
	if (s->corrupt >= 0)
		s->corrupt = beyond ? f + 1 : corrupt < f ? corrupt : f;
}

static void set_value(struct scenario *s, enum value v, uint64_t to)
{
	switch (v) {
	case NODES:
		set_nodes(s, (unsigned)to);
		break;
	case CORRUPT:
		s->corrupt = (int)to;
		break;
	case DECISIONS:
		s->decisions = (uint32_t)to;
		break;
	case DURATION:
		s->duration_us = to;
		break;
	case CLIENTS:
		s->clients = (uint32_t)to;
		break;
	case THINK:
		s->think_us = to;
		break;
	case LOSS:
		s->loss_per_mille = (uint32_t)to;
		break;
	case VALUES:
		break;
	}
}

/* 1, 2, 5, 10, 20, ... */
static uint64_t rounder(uint64_t x)
{
	uint64_t ten = 1;
	while (x >= 10 * ten)
		ten *= 10;
	return x < 2 * ten ? 2 * ten : x < 5 * ten ? 5 * ten : 10 * ten;
}

static bool try_value(struct shrink *k, enum value v, uint64_t to)
{
	set_value(begin(k, values[v].name), v, to);
	return attempt(k, values[v].other_seeds ? k->tries : 0);
}

/* The least that still fails: each number from lowest on, or round ones. */
static void least(struct shrink *k, enum value v, uint64_t lowest, bool each)
{
	uint64_t now = value(&k->best, v), unit = values[v].unit;
	if (now <= lowest || try_value(k, v, lowest))
		return;
	for (uint64_t x = each ? lowest + 1 : 1; x * unit < now && !shrink_stopped(k);
	     x = each ? x + 1 : rounder(x))
		if (x * unit > lowest && try_value(k, v, x * unit))
			return;
}

/* ---- lists ------------------------------------------------------------------------------- */

/* Makes k->next of some items of a list. */
struct list {
	struct shrink *k;
	const char *step;
	void (*choose)(struct scenario *s, const struct list *l, const uint32_t *items,
		       uint32_t count);
	struct scenario from; /* which the items are of */
	unsigned action;      /* whose list it is */
	unsigned seeds;
};

static bool list_fails(void *ctx, const uint32_t *items, uint32_t count)
{
	struct list *l = ctx;
	struct scenario *s = begin(l->k, l->step);
	l->choose(s, l, items, count);
	return attempt(l->k, l->seeds);
}

static bool list_stopped(void *ctx)
{
	return shrink_stopped(((struct list *)ctx)->k);
}

/* items: of k->best. */
static void reduce(struct shrink *k, const char *step, uint32_t *items, uint32_t count,
		   void (*choose)(struct scenario *, const struct list *, const uint32_t *,
				  uint32_t),
		   unsigned action, unsigned seeds)
{
	struct list *l = mem_alloc(sizeof *l);
	*l = (struct list){k, step, choose, k->best, action, seeds};
	ddmin(items, count, list_fails, list_stopped, l);
	mem_free(l);
}

static void choose_actions(struct scenario *s, const struct list *l, const uint32_t *items,
			   uint32_t count)
{
	s->script.count = count;
	for (uint32_t i = 0; i < count; i++)
		s->script.action[i] = l->from.script.action[items[i]];
}

static void fewer_actions(struct shrink *k)
{
	uint32_t items[SCRIPT_MAX], count = k->best.script.count;
	for (uint32_t i = 0; i < count; i++)
		items[i] = i;
	if (!count)
		return;
	begin(k, "actions")->script.count = 0;
	if (!attempt(k, k->tries))
		reduce(k, "actions", items, count, choose_actions, 0, k->tries);
}

static uint64_t bits(const uint32_t *items, uint32_t count)
{
	uint64_t mask = 0;
	for (uint32_t i = 0; i < count; i++)
		mask |= UINT64_C(1) << items[i];
	return mask;
}

static uint32_t bits_of(uint32_t items[64], uint64_t mask)
{
	uint32_t count = 0;
	for (; mask; mask &= mask - 1)
		items[count++] = (uint32_t)__builtin_ctzll(mask);
	return count;
}

static void choose_attacks(struct scenario *s, const struct list *l, const uint32_t *items,
			   uint32_t count)
{
	(void)l;
	s->attacks = bits(items, count);
}

static void choose_ordered(struct scenario *s, const struct list *l, const uint32_t *items,
			   uint32_t count)
{
	s->script.action[l->action].attacks = bits(items, count);
}

static void choose_nodes(struct scenario *s, const struct list *l, const uint32_t *items,
			 uint32_t count)
{
	s->script.action[l->action].mask = bits(items, count);
}

static void fewer_attacks(struct shrink *k)
{
	uint32_t items[64], count;
	if (k->best.attacks) {
		begin(k, "attacks")->attacks = 0;
		if (attempt(k, k->tries))
			return;
		count = bits_of(items, k->best.attacks);
		reduce(k, "attacks", items, count, choose_attacks, 0, k->tries);
	}
	for (unsigned i = 0; i < k->best.script.count; i++) {
		const struct script_action *a = &k->best.script.action[i];
		if (a->kind == SCRIPT_ATTACK) {
			count = bits_of(items, a->attacks);
			reduce(k, "attacks", items, count, choose_ordered, i, k->tries);
		} else if (a->who == SCRIPT_NODES && !a->groups) {
			count = bits_of(items, a->mask);
			reduce(k, "whom it hits", items, count, choose_nodes, i, k->tries);
		}
	}
}

/* A violation ends the run: what else was expected does not matter then, but for the strikes.
 */
static void choose_expected(struct scenario *s, const struct list *l, const uint32_t *items,
			    uint32_t count)
{
	const struct expectation *struck = scenario_expects(&l->from, EXPECT_STRUCK);
	s->expect_count = 0;
	for (uint32_t i = 0; i < count; i++)
		s->expect[s->expect_count++] = l->from.expect[items[i]];
	if (struck)
		s->expect[s->expect_count++] = *struck;
}

static void fewer_expectations(struct shrink *k)
{
	uint32_t items[SCENARIO_EXPECT_MAX], count = 0;
	for (unsigned i = 0; i < k->best.expect_count; i++)
		if (k->best.expect[i].kind != EXPECT_STRUCK)
			items[count++] = i;
	if (k->failure.verdict != SIM_OK && count > 1)
		reduce(k, "expectations", items, count, choose_expected, 0, 0);
}

/* ---- simple values of the rest ----------------------------------------------------------- */

static bool try_time(struct shrink *k, unsigned i, bool at, uint64_t to)
{
	struct script_action *a = &begin(k, at ? "when" : "how long")->script.action[i];
	*(at ? &a->at : &a->for_us) = to;
	return attempt(k, 0);
}

/* Early, short, or at least round. */
static void simple_time(struct shrink *k, unsigned i, bool at, uint64_t unit)
{
	const struct script_action *a = &k->best.script.action[i];
	uint64_t now = at ? a->at : a->for_us;
	for (uint64_t x = 1; x * unit < now && !shrink_stopped(k); x = rounder(x))
		if (try_time(k, i, at, x * unit))
			return;
	for (uint64_t grain = 1000000; grain >= 1000; grain /= 10)
		if (now > grain && now % grain &&
		    (try_time(k, i, at, now / grain * grain) ||
		     try_time(k, i, at, (now / grain + 1) * grain)))
			return;
}

static void simple_actions(struct shrink *k)
{
	for (unsigned i = 0; i < k->best.script.count && !shrink_stopped(k); i++) {
		const struct script_action *a = &k->best.script.action[i];
		if (a->trigger != TRIGGER_LEADS)
			simple_time(k, i, true, a->trigger == TRIGGER_TIME ? 100000 : 1);
		if (a->for_us)
			simple_time(k, i, false, 100000);
		if (a->kind == SCRIPT_DELAY && a->low != a->high) {
			struct script_action *b = &begin(k, "delay")->script.action[i];
			b->low = b->high;
			attempt(k, k->tries);
		}
		if (a->kind == SCRIPT_LOSS || a->kind == SCRIPT_DUPLICATE)
			for (uint64_t x = 10; x < a->low && !shrink_stopped(k); x *= 2) {
				begin(k, "loss")->script.action[i].low = x;
				if (attempt(k, k->tries))
					break;
			}
	}
}

static void simple_rest(struct shrink *k)
{
	struct scenario *s;
	const struct scenario *best = &k->best;
	if (best->delay_max_us) {
		s = begin(k, "network");
		s->delay_min_us = s->delay_max_us = 0;
		if (!attempt(k, k->tries) && best->delay_min_us != best->delay_max_us) {
			s = begin(k, "network");
			s->delay_min_us = s->delay_max_us;
			attempt(k, k->tries);
		}
	}
	if (best->who != WHO_ANY) {
		begin(k, "who")->who = WHO_ANY;
		attempt(k, k->tries);
	}
	if (best->targets != TARGETS_CHANCE) {
		begin(k, "targets")->targets = TARGETS_CHANCE;
		attempt(k, k->tries);
	}
	if (best->storm) {
		begin(k, "storm")->storm = false;
		attempt(k, k->tries);
	}
}

/* ---- by number --------------------------------------------------------------------------- */

/* Where there is no room for so many ranges, the last ones are left out; then it is tried as
 * any other choice. */
static void fill(struct occurrences *o, const uint32_t *items, uint32_t count)
{
	*o = (struct occurrences){0};
	for (uint32_t i = 0; i < count; i++)
		occurrences_add(o, items[i]);
}

static void choose_faults(struct scenario *s, const struct list *l, const uint32_t *items,
			  uint32_t count)
{
	(void)l;
	fill(&s->faults, items, count);
}

static void choose_strikes(struct scenario *s, const struct list *l, const uint32_t *items,
			   uint32_t count)
{
	(void)l;
	fill(&s->strikes, items, count);
}

static void choose_losses(struct scenario *s, const struct list *l, const uint32_t *items,
			  uint32_t count)
{
	s->losses.count = count;
	for (uint32_t i = 0; i < count; i++)
		s->losses.loss[i] = l->from.losses.loss[items[i]];
}

#define NUMBERS_MAX 100000

/* mem_free(); NULL: too many. */
static uint32_t *numbers(const struct occurrences *o, uint32_t *count)
{
	uint64_t all = 0;
	for (uint32_t i = 0; i < o->count; i++)
		all += o->range[i].last - o->range[i].first + UINT64_C(1);
	if (o->more || all > NUMBERS_MAX)
		return NULL;
	uint32_t *items = mem_array(all + 1, sizeof *items);
	*count = 0;
	for (uint32_t i = 0; i < o->count; i++)
		for (uint32_t x = o->range[i].first; x <= o->range[i].last; x++)
			items[(*count)++] = x;
	return items;
}

static void reduce_numbers(struct shrink *k, const char *step, const struct occurrences *o,
			   void (*choose)(struct scenario *, const struct list *,
					  const uint32_t *, uint32_t))
{
	uint32_t count, *items = numbers(o, &count);
	if (items)
		reduce(k, step, items, count, choose, 0, 0);
	mem_free(items);
}

static void single_faults(struct shrink *k)
{
	if (!k->best.storm)
		return;
	if (!k->best.part_of_storm) {
		if (!shrink_fails(k, &k->best, k->best.seed) || k->run->record.faults.more)
			return;
		struct scenario *s = begin(k, "faults");
		s->part_of_storm = true;
		s->faults = k->run->record.faults;
		if (!s->faults.count || !attempt(k, 0))
			return;
	}
	reduce_numbers(k, "faults", &k->best.faults, choose_faults);
}

/* A storm's faults by name instead of by chance: not the same run, as chance had other parts in
 * it, but often the same failure. */
static void name_faults(struct shrink *k)
{
	const struct sim_record *r = &k->run->record;
	if (!k->best.storm || !shrink_fails(k, &k->best, k->best.seed) || r->script_more ||
	    r->script.count + k->best.script.count > SCRIPT_MAX)
		return;
	struct script script = r->script; /* the next run overwrites it */
	for (unsigned loss = 0; loss <= 2;
	     loss += 2) { /* a storm takes 2 messages in 1000 too */
		struct scenario *s = begin(k, "faults");
		s->storm = false;
		s->loss_per_mille = loss > s->loss_per_mille ? loss : s->loss_per_mille;
		for (unsigned i = 0; i < script.count; i++)
			s->script.action[s->script.count++] = script.action[i];
		if (attempt(k, k->tries))
			return;
	}
}

/* Those moments at which something is counted as a strike, or, if what is not counted matters
 * too, all. */
static void single_strikes(struct shrink *k)
{
	if (!has_attacks(&k->best))
		return;
	if (!k->best.part_of_strikes) {
		if (!shrink_fails(k, &k->best, k->best.seed) || !k->run->record.moments)
			return;
		const struct sim_record *r = &k->run->record;
		uint32_t moments = r->moments;
		struct scenario *s = begin(k, "strikes");
		s->part_of_strikes = true;
		s->strikes = r->strikes;
		if (!s->strikes.count || s->strikes.more || !attempt(k, 0)) {
			s = begin(k, "strikes");
			s->part_of_strikes = true;
			s->strikes = (struct occurrences){.count = 1, .range = {{1, moments}}};
			if (!attempt(k, 0))
				return;
		}
	}
	reduce_numbers(k, "strikes", &k->best.strikes, choose_strikes);
}

static int by_link(const void *a, const void *b)
{
	return loss_compare(a, b);
}

/* Chance is replaced by the messages that it took. A storm has some loss of its own. */
static void single_losses(struct shrink *k)
{
	bool loss = k->best.loss_per_mille > 0;
	for (unsigned i = 0; i < k->best.script.count; i++)
		loss |= k->best.script.action[i].kind == SCRIPT_LOSS;
	if (loss && !k->best.storm && !k->best.losses.count) {
		if (!shrink_fails(k, &k->best, k->best.seed) || k->run->record.losses.more)
			return;
		struct scenario *s = begin(k, "losses");
		unsigned kept = 0;
		s->loss_per_mille = 0;
		for (unsigned i = 0; i < s->script.count; i++)
			if (s->script.action[i].kind != SCRIPT_LOSS)
				s->script.action[kept++] = s->script.action[i];
		s->script.count = kept;
		s->losses = k->run->record.losses;
		qsort(s->losses.loss, s->losses.count, sizeof s->losses.loss[0], by_link);
		if (!attempt(k, 0))
			return;
	}
	uint32_t count = k->best.losses.count, items[LOSSES_MAX];
	for (uint32_t i = 0; i < count; i++)
		items[i] = i;
	if (!count)
		return;
	begin(k, "losses")->losses.count = 0;
	if (!attempt(k, 0))
		reduce(k, "losses", items, count, choose_losses, 0, 0);
}

bool shrink_pass(struct shrink *k)
{
	uint64_t before = k->smaller;
	bool byzantine = protocol_is_byzantine(k->best.protocol);
	fewer_expectations(k);
	least(k, DECISIONS, 1, false);
	least(k, DURATION, 0, false);
	least(k, NODES, byzantine ? 4 : 3, true);
	least(k, CORRUPT, 0, true);
	fewer_attacks(k);
	fewer_actions(k);
	simple_rest(k);
	least(k, LOSS, 0, false);
	least(k, CLIENTS, 0, true);
	least(k, THINK, 0, false);
	simple_actions(k);
	least(k, DECISIONS, 1, false);
	least(k, DURATION, 0, false);
	if (k->smaller == before)
		name_faults(k);
	if (k->smaller == before) {
		single_faults(k);
		name_faults(k);
	}
	if (k->smaller == before) {
		single_strikes(k);
		single_losses(k);
	}
	return k->smaller > before;
}
