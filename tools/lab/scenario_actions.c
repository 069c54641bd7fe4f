/* "at 2s crash leader for 1s", "after 50 attack equivocate", "when leader partition half". */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/scenario_private.h"

static const char *const kinds[SCRIPT_KINDS] = {
	[SCRIPT_CRASH] = "crash",	  [SCRIPT_RESTART] = "restart",
	[SCRIPT_PAUSE] = "pause",	  [SCRIPT_PARTITION] = "partition",
	[SCRIPT_ISOLATE] = "isolate",	  [SCRIPT_DEAFEN] = "deafen",
	[SCRIPT_MUTE] = "mute",		  [SCRIPT_HEAL] = "heal",
	[SCRIPT_DELAY] = "delay",	  [SCRIPT_LOSS] = "loss",
	[SCRIPT_DUPLICATE] = "duplicate", [SCRIPT_REORDER] = "reorder",
	[SCRIPT_SLOW] = "slow",		  [SCRIPT_THROTTLE] = "throttle",
	[SCRIPT_RESET] = "reset",	  [SCRIPT_SKEW] = "clock",
	[SCRIPT_TEAR] = "tear",		  [SCRIPT_SLOW_DISK] = "disk",
	[SCRIPT_FILL] = "fill",		  [SCRIPT_WIPE] = "wipe",
	[SCRIPT_REWIND] = "rewind",
	[SCRIPT_ATTACK] = "attack",	  [SCRIPT_PEACE] = "peace",
	[SCRIPT_QUIET] = "quiet",	  [SCRIPT_LOAD] = "load",
	[SCRIPT_REPLACE] = "replace",
};
static const char *const people[] = {"leader", "followers", "malicious", "honest",
				     "all",    "minority",  "half"};
static const enum script_who who_of[] = {SCRIPT_LEADER, SCRIPT_FOLLOWERS, SCRIPT_MALICIOUS,
					 SCRIPT_HONEST, SCRIPT_ALL,	  SCRIPT_MINORITY,
					 SCRIPT_HALF};

/* "node1" or "node1,node3". False: it is no list of nodes. */
static bool read_nodes(const char *word, uint64_t *mask)
{
	*mask = 0;
	while (*word) {
		unsigned v = 0;
		int used = 0;
		if (sscanf(word, "node%u%n", &v, &used) != 1 || v < 1 || v > VALIDATORS_MAX)
			return false;
		*mask |= UINT64_C(1) << (v - 1);
		word += used;
		if (*word == ',' && word[1])
			word++;
		else if (*word)
			return false;
	}
	return *mask != 0;
}

static int read_who(struct words *w, struct script_action *a)
{
	char *word = words_next(w);
	int which;
	if (word && read_nodes(word, &a->mask)) {
		a->who = SCRIPT_NODES;
		return ERR_NONE;
	}
	if (word && strncmp(word, "node", 4) == 0)
		return words_fail(w, "\"%s\" is no list of nodes such as node1,node3", word);
	int err = words_choose(w, "node or group of nodes", word, people, MEM_COUNT(people),
			       &which);
	if (!err)
		a->who = who_of[which];
	return err;
}

/* "partition node1,node2|node3,node4", or who against the rest. */
static int read_partition(struct words *w, struct script_action *a)
{
	const char *next = words_peek(w);
	if (!next || !strchr(next, '|'))
		return read_who(w, a);
	char *save, *word = words_next(w);
	for (char *part = strtok_r(word, "|", &save); part; part = strtok_r(NULL, "|", &save)) {
		if (a->groups == SCRIPT_GROUPS_MAX || !read_nodes(part, &a->group[a->groups]))
			return words_fail(w,
					  "a partition is up to %u groups such as "
					  "node1,node2|node3,node4",
					  SCRIPT_GROUPS_MAX);
		a->groups++;
	}
	a->who = SCRIPT_ALL;
	return ERR_NONE;
}

/* "20ms" or "1ms..20ms" */
int scenario_range(struct words *w, uint64_t *low, uint64_t *high)
{
	char *word = words_next(w);
	char *dots = word ? strstr(word, "..") : NULL;
	if (!dots) {
		int err = words_duration(w, word, high);
		*low = *high;
		return err;
	}
	*dots = 0;
	int err = words_duration(w, word, low);
	if (!err)
		err = words_duration(w, dots + 2, high);
	if (!err && *low > *high)
		err = words_fail(w, "the lower end of a range is above its upper end");
	return err;
}

int scenario_attacks(struct words *w, uint64_t *mask)
{
	const char *known[ATTACKS];
	int which = 0, err = ERR_NONE;
	for (unsigned a = 0; a < ATTACKS; a++)
		known[a] = attack_name((enum attack)a);
	*mask = 0;
	do {
		if (words_take(w, "all")) {
			*mask = ATTACK_BIT(ATTACKS) - 1;
			continue;
		}
		err = words_choose(w, "attack", words_next(w), known, ATTACKS, &which);
		if (!err)
			*mask |= ATTACK_BIT(which);
	} while (!err && words_peek(w) && strcmp(words_peek(w), "for") != 0);
	return err;
}

/* "clock node1 ahead 20s" */
static int read_skew(struct words *w, struct script_action *a)
{
	int err = read_who(w, a);
	if (err)
		return err;
	if (words_take(w, "ahead"))
		return words_duration(w, words_next(w), &a->low);
	if (words_take(w, "behind"))
		return words_duration(w, words_next(w), &a->high);
	return words_fail(w, "clock node1 ahead 20s, or behind 20s");
}

static int read_details(struct words *w, struct script_action *a)
{
	uint32_t loss;
	int err;
	switch (a->kind) {
	case SCRIPT_CRASH:
	case SCRIPT_RESTART:
	case SCRIPT_PAUSE:
	case SCRIPT_ISOLATE:
	case SCRIPT_DEAFEN:
	case SCRIPT_MUTE:
	case SCRIPT_RESET:
		return read_who(w, a);
	case SCRIPT_SLOW:
		err = read_who(w, a);
		return err ? err : scenario_range(w, &a->low, &a->high);
	case SCRIPT_THROTTLE:
		err = read_who(w, a);
		return err ? err : words_rate(w, words_next(w), &a->low);
	case SCRIPT_PARTITION:
		return read_partition(w, a);
	case SCRIPT_DELAY:
		return scenario_range(w, &a->low, &a->high);
	case SCRIPT_TEAR:
	case SCRIPT_FILL:
	case SCRIPT_WIPE:
	case SCRIPT_REWIND:
	case SCRIPT_REPLACE:
		return read_who(w, a);
	case SCRIPT_SKEW:
		return read_skew(w, a);
	case SCRIPT_DUPLICATE:
	case SCRIPT_LOSS:
		err = words_percent(w, words_next(w), &loss);
		a->low = err ? 0 : loss;
		return err;
	case SCRIPT_SLOW_DISK:
		err = read_who(w, a);
		return err ? err : words_duration(w, words_next(w), &a->low);
	case SCRIPT_ATTACK:
		return scenario_attacks(w, &a->attacks);
	case SCRIPT_REORDER:
	case SCRIPT_HEAL:
	case SCRIPT_PEACE:
	case SCRIPT_QUIET:
	case SCRIPT_LOAD:
	case SCRIPT_KINDS:
		break;
	}
	return ERR_NONE;
}

int scenario_action(struct scenario *s, struct words *w, enum script_trigger trigger)
{
	struct script_action a = {.trigger = trigger, .line = w->line};
	int which, err = ERR_NONE;
	if (s->script.count == SCRIPT_MAX)
		return words_fail(w, "more than %u actions", SCRIPT_MAX);
	if (trigger == TRIGGER_TIME)
		err = words_duration(w, words_next(w), &a.at);
	if (trigger == TRIGGER_HEIGHT) {
		words_take(w, "height");
		err = words_number(w, words_next(w), 1, 1000000, &a.at);
	}
	if (trigger == TRIGGER_LEADS && !words_take(w, "leader"))
		return words_fail(w, "\"when leader ...\": when a malicious replica leads");
	if (!err)
		err = words_choose(w, "action", words_next(w), kinds, SCRIPT_KINDS, &which);
	if (err)
		return err;
	a.kind = (enum script_kind)which;
	err = read_details(w, &a);
	if (!err && words_take(w, "for")) {
		if (!script_can_end(a.kind))
			return words_fail(w, "\"%s\" does not last for a time", kinds[a.kind]);
		err = words_duration(w, words_next(w), &a.for_us);
	}
	bool endless = a.kind == SCRIPT_PAUSE || a.kind == SCRIPT_FILL ||
		       a.kind == SCRIPT_WIPE || a.kind == SCRIPT_REWIND;
	if (!err && endless && !a.for_us)
		return words_fail(w, "a %s needs an end: %s ... for 2s", kinds[a.kind],
				  kinds[a.kind]);
	if (!err)
		err = words_end(w);
	if (!err)
		s->script.action[s->script.count++] = a;
	return err;
}

/* NULL: it is; else why it is not. */
static const char *not_live(enum script_kind kind)
{
	switch (kind) {
	case SCRIPT_DUPLICATE:
	case SCRIPT_REORDER:
		return "links are TCP, which delivers once and in order whatever the network "
		       "does";
	case SCRIPT_TEAR:
		return "the kernel keeps what a killed process has written; only a power "
		       "failure "
		       "tears it";
	case SCRIPT_FILL:
	case SCRIPT_WIPE:
	case SCRIPT_REWIND:
		return "the lab does not touch the disks of real processes";
	case SCRIPT_REPLACE:
		return "the lab's networks have no governance keys; tests/cluster/member.sh "
		       "does "
		       "it live";
	default:
		return NULL;
	}
}

bool scenario_is_live(const struct scenario *s, struct errmsg *m)
{
	if (s->sim_only) {
		err_set(m, ERR_UNSUPPORTED, "%s is for the simulator only, as it says",
			s->name);
		return false;
	}
	if (s->part_of_strikes || s->losses.count) {
		err_set(m, ERR_UNSUPPORTED,
			"%s is for the simulator only: it numbers messages and strikes",
			s->name);
		return false;
	}
	for (unsigned i = 0; i < s->script.count; i++) {
		const struct script_action *a = &s->script.action[i];
		const char *why = not_live(a->kind);
		if (!why)
			continue;
		err_set(m, ERR_UNSUPPORTED, "%s:%u: \"%s\" is for the simulator only: %s",
			s->path, a->line, kinds[a->kind], why);
		return false;
	}
	return true;
}

bool scenario_needs_relay(const struct scenario *s)
{
	bool needs = s->storm || s->delay_max_us || s->loss_per_mille;
	for (unsigned i = 0; i < s->script.count; i++)
		switch (s->script.action[i].kind) {
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
		case SCRIPT_RESET:
			needs = true;
			break;
		default:
			break;
		}
	return needs;
}

const char *script_kind_name(enum script_kind kind)
{
	return kind < SCRIPT_KINDS ? kinds[kind] : "unknown";
}

const char *script_who_name(enum script_who who)
{
	for (unsigned i = 0; i < MEM_COUNT(who_of); i++)
		if (who_of[i] == who)
			return people[i];
	return "nobody";
}
