/* A scenario as a file: the inverse of scenario.c and scenario_actions.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/scenario_private.h"

static void print_time(FILE *f, uint64_t us)
{
	if (us % 1000000 == 0)
		fprintf(f, "%llus", (unsigned long long)us / 1000000);
	else if (us % 1000 == 0)
		fprintf(f, "%llums", (unsigned long long)us / 1000);
	else
		fprintf(f, "%lluus", (unsigned long long)us);
}

static void print_range(FILE *f, uint64_t low, uint64_t high)
{
	if (low != high) {
		print_time(f, low);
		fprintf(f, "..");
	}
	print_time(f, high);
}

static void print_rate(FILE *f, uint64_t bytes_per_s)
{
	if (bytes_per_s % 1000)
		fprintf(f, "%lluB", (unsigned long long)bytes_per_s);
	else
		fprintf(f, "%llukB", (unsigned long long)bytes_per_s / 1000);
}

static void print_share(FILE *f, uint64_t per_mille)
{
	fprintf(f, "%llu", (unsigned long long)per_mille / 10);
	if (per_mille % 10)
		fprintf(f, ".%llu", (unsigned long long)per_mille % 10);
	fprintf(f, "%%");
}

static void print_attacks(FILE *f, uint64_t attacks)
{
	if (attacks == ATTACK_BIT(ATTACKS) - 1) {
		fprintf(f, " all");
		return;
	}
	for (unsigned a = 0; a < ATTACKS; a++)
		if (attacks >> a & 1)
			fprintf(f, " %s", attack_name((enum attack)a));
}

static void print_nodes(FILE *f, uint64_t mask)
{
	const char *before = "";
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		if (mask >> i & 1) {
			fprintf(f, "%snode%u", before, i + 1);
			before = ",";
		}
}

static void print_who(FILE *f, const struct script_action *a)
{
	fprintf(f, " ");
	if (a->groups) {
		for (unsigned g = 0; g < a->groups; g++) {
			fprintf(f, "%s", g ? "|" : "");
			print_nodes(f, a->group[g]);
		}
	} else if (a->who == SCRIPT_NODES) {
		print_nodes(f, a->mask);
	} else {
		fprintf(f, "%s", script_who_name(a->who));
	}
}

static void print_details(FILE *f, const struct script_action *a)
{
	switch (a->kind) {
	case SCRIPT_CRASH:
	case SCRIPT_RESTART:
	case SCRIPT_PAUSE:
	case SCRIPT_PARTITION:
	case SCRIPT_ISOLATE:
	case SCRIPT_DEAFEN:
	case SCRIPT_MUTE:
	case SCRIPT_TEAR:
	case SCRIPT_RESET:
	case SCRIPT_FILL:
	case SCRIPT_WIPE:
	case SCRIPT_REWIND:
	case SCRIPT_REPLACE:
		print_who(f, a);
		break;
	case SCRIPT_SLOW:
		print_who(f, a);
		fprintf(f, " ");
		print_range(f, a->low, a->high);
		break;
	case SCRIPT_THROTTLE:
		print_who(f, a);
		fprintf(f, " ");
		print_rate(f, a->low);
		break;
	case SCRIPT_DELAY:
		fprintf(f, " ");
		print_range(f, a->low, a->high);
		break;
	case SCRIPT_LOSS:
	case SCRIPT_DUPLICATE:
		fprintf(f, " ");
		print_share(f, a->low);
		break;
	case SCRIPT_SKEW:
		print_who(f, a);
		fprintf(f, a->high ? " behind " : " ahead ");
		print_time(f, a->high ? a->high : a->low);
		break;
	case SCRIPT_SLOW_DISK:
		print_who(f, a);
		fprintf(f, " ");
		print_time(f, a->low);
		break;
	case SCRIPT_ATTACK:
		print_attacks(f, a->attacks);
		break;
	case SCRIPT_REORDER:
	case SCRIPT_HEAL:
	case SCRIPT_PEACE:
	case SCRIPT_QUIET:
	case SCRIPT_LOAD:
	case SCRIPT_KINDS:
		break;
	}
}

static void print_action(FILE *f, const struct script_action *a)
{
	switch (a->trigger) {
	case TRIGGER_TIME:
		fprintf(f, "at        ");
		print_time(f, a->at);
		break;
	case TRIGGER_HEIGHT:
		fprintf(f, "after     %llu", (unsigned long long)a->at);
		break;
	case TRIGGER_LEADS:
		fprintf(f, "when      leader");
		break;
	}
	fprintf(f, " %s", script_kind_name(a->kind));
	print_details(f, a);
	if (a->for_us) {
		fprintf(f, " for ");
		print_time(f, a->for_us);
	}
	fprintf(f, "\n");
}

static void print_description(FILE *f, const char *text)
{
	while (*text) {
		int len = (int)strcspn(text, "\n");
		fprintf(f, "describe  %.*s\n", len, text);
		text += len + (text[len] == '\n');
	}
}

static void print_malice(FILE *f, const struct scenario *s)
{
	if (s->corrupt >= 0)
		fprintf(f, "corrupt   %d\n", s->corrupt);
	else
		fprintf(f, "corrupt   %s\n", s->corrupt == SCENARIO_CORRUPT_F ? "f" : "f+1");
	if (s->attacks) {
		fprintf(f, "attacks  ");
		print_attacks(f, s->attacks);
		fprintf(f, "\n");
	}
	if (s->who != WHO_ANY)
		fprintf(f, "who       %s\n", scenario_who_names[s->who]);
	if (s->targets != TARGETS_CHANCE)
		fprintf(f, "targets   %s\n", scenario_target_names[s->targets]);
}

static void print_weather(FILE *f, const struct scenario *s)
{
	if (s->delay_max_us) {
		fprintf(f, "network   delay ");
		print_range(f, s->delay_min_us, s->delay_max_us);
		fprintf(f, "\n");
	}
	if (s->loss_per_mille) {
		fprintf(f, "network   loss ");
		print_share(f, s->loss_per_mille);
		fprintf(f, "\n");
	}
	fprintf(f, "clients   %u", s->clients);
	if (s->think_us) {
		fprintf(f, " think ");
		print_time(f, s->think_us);
	}
	fprintf(f, "\ndecisions %u\n", s->decisions);
	if (s->duration_us) {
		fprintf(f, "duration  ");
		print_time(f, s->duration_us);
		fprintf(f, "\n");
	}
}

char *scenario_text(const struct scenario *s)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	invariant(f);
	fprintf(f, "summary   %s\n", s->summary);
	print_description(f, s->text);
	fprintf(f, "nodes     %u\nprotocol  %s\n", s->nodes, protocol_name(s->protocol));
	if (s->seeded)
		fprintf(f, "seed      %llu\n", (unsigned long long)s->seed);
	if (s->silent)
		fprintf(f, "silent    %u\n", s->silent);
	if (s->warm_up)
		fprintf(f, "warm-up   %u\n", s->warm_up);
	if (s->probation)
		fprintf(f, "probation %u\n", s->probation);
	print_malice(f, s);
	scenario_print_parts(f, s);
	print_weather(f, s);
	if (s->sim_only)
		fprintf(f, "only      sim\n");
	for (unsigned i = 0; i < s->script.count; i++)
		print_action(f, &s->script.action[i]);
	for (unsigned i = 0; i < s->expect_count; i++)
		fprintf(f, "expect    %s\n", s->expect[i].text);
	fclose(f);
	return text; /* mem_free() is free() */
}
