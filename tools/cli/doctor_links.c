/* The links between the nodes that live. */
#include <string.h>

#include "tools/cli/doctor_report.h"

/* Does i hear j? Silence counts only where something must be heard: from or by a leader. */
static bool hears(const struct doctor_view *v, unsigned i, unsigned j)
{
	const struct node_view *a = &v->node[i], *b = &v->node[j];
	const struct peer_view *p = &a->peer[j];
	bool led = strcmp(a->leader, b->name) == 0 ||
		   (strcmp(a->role, "leader") == 0 && strcmp(b->leader, a->name) == 0);

	if (!p->known)
		return true;
	return p->connected && !(led && p->has_heard && p->heard_ms > PATIENCE_MS);
}

bool can_speak(const struct node_view *node)
{
	return node->reach == REACH_ANSWERED &&
	       (node->cause == NULL || strcmp(node->cause, "clock_off") == 0);
}

/* A connection that is made and then brings nothing loses what one side sends. */
static bool gets_no_answer(const struct peer_view *p)
{
	return text_contains(p->error, "timed out") || text_contains(p->error, "timeout") ||
	       text_contains(p->error, "no answer") || text_contains(p->error, "in time") ||
	       text_contains(p->error, "silent");
}

enum link_state { LINK_UP, LINK_ONE_WAY, LINK_DOWN };

static enum link_state link_between(const struct doctor_view *v, unsigned i, unsigned j)
{
	bool ij = hears(v, i, j), ji = hears(v, j, i);

	if (ij && ji)
		return LINK_UP;
	if (ij != ji)
		return LINK_ONE_WAY;
	return gets_no_answer(&v->node[i].peer[j]) || gets_no_answer(&v->node[j].peer[i])
		       ? LINK_ONE_WAY
		       : LINK_DOWN;
}

static void say_direction(struct writer *w, const struct doctor_view *v, unsigned i, unsigned j)
{
	bool ij = hears(v, i, j), ji = hears(v, j, i);
	const char *one = v->node[i].name, *two = v->node[j].name;

	if (ij != ji)
		say(w, " %s does not hear %s, while %s has the link for up.", ij ? two : one,
		    ij ? one : two, ij ? one : two);
	for (unsigned side = 0; side < 2; side++) {
		const struct peer_view *p = side ? &v->node[j].peer[i] : &v->node[i].peer[j];
		if (p->error[0] != '\0')
			say(w, " %s says of %s: %s.", side ? two : one, side ? one : two,
			    p->error);
	}
}

static void report_link(struct analysis *a, unsigned i, unsigned j, enum link_state state)
{
	struct finding f = {.cause = state == LINK_ONE_WAY ? "one_way_partition" : "link_down",
			    .error = !a->whole,
			    .nodes = bit(i) | bit(j)};
	const struct peer_view *ij = &a->v.node[i].peer[j], *ji = &a->v.node[j].peer[i];

	if (!hears(&a->v, i, j))
		since(&f, ij->has_link_heard, ij->link_heard_ms);
	if (!hears(&a->v, j, i))
		since(&f, ji->has_link_heard, ji->link_heard_ms);
	say(&f.text, "%s and %s both run, but the link between them %s.", a->v.node[i].name,
	    a->v.node[j].name,
	    state == LINK_ONE_WAY ? "loses bytes in one direction" : "is down");
	say_direction(&f.text, &a->v, i, j);
	say(&f.advice, "Look at what lies between the two: firewall rules (in both "
		       "directions), routes, and "
		       "the addresses in their [peers] sections. The link mends itself.");
	report(a, &f);
}

static void report_cut_off(struct analysis *a, unsigned i, bool one_way)
{
	struct finding f = {.cause = one_way ? "one_way_partition" : "node_isolated",
			    .error = !a->whole || !a->quorum,
			    .nodes = bit(i)};

	since_silent(a, &f, i);
	say(&f.text, "%s runs, but has no working link to any other node%s.", a->v.node[i].name,
	    one_way ? ": what is sent in one direction gets lost" : "");
	for (unsigned j = 0; j < a->v.count; j++)
		if (j != i && can_speak(&a->v.node[j]))
			say_direction(&f.text, &a->v, i, j);
	say(&f.advice,
	    "Look at the network of that machine: firewall rules (in both directions), routes, "
	    "and the addresses in [peers]. The links mend themselves.");
	report(a, &f);
}

/* What each node reaches over links that work, itself included. */
static void reach_sets(const struct analysis *a, uint64_t set[VALIDATORS_MAX])
{
	bool grew = true;

	for (unsigned i = 0; i < a->v.count; i++)
		set[i] = bit(i);
	while (grew) {
		grew = false;
		for (unsigned i = 0; i < a->v.count; i++) {
			for (unsigned j = 0; j < a->v.count; j++) {
				bool up = i != j && can_speak(&a->v.node[i]) &&
					  can_speak(&a->v.node[j]) &&
					  link_between(&a->v, i, j) == LINK_UP;
				if (up && (set[i] | set[j]) != set[i]) {
					set[i] |= set[j];
					grew = true;
				}
			}
		}
	}
}

static void report_partition(struct analysis *a, const uint64_t set[VALIDATORS_MAX])
{
	struct finding f = {.cause = "partition", .error = true};

	say(&f.text, "The network is split: ");
	for (unsigned i = 0; i < a->v.count; i++) {
		if (!can_speak(&a->v.node[i]) || (f.nodes >> i & 1))
			continue;
		say(&f.text, "%s", f.nodes ? "; " : "");
		say_names(&f.text, a, set[i]);
		f.nodes |= set[i];
	}
	say(&f.text, ". No part has the %u validators that a commit takes.", a->v.q);
	say(&f.advice, "Mend the links named here; the parts join by themselves.");
	report(a, &f);
}

void judge_links(struct analysis *a)
{
	uint64_t set[VALIDATORS_MAX], told = 0, voters;
	unsigned speakers = 0, speaking_voters = 0, largest = 0;

	reach_sets(a, set);
	for (unsigned i = 0; i < a->v.count; i++) {
		if (!can_speak(&a->v.node[i]))
			continue;
		speakers++;
		speaking_voters += a->v.node[i].cause == NULL;
		voters = 0;
		for (unsigned k = 0; k < a->v.count; k++)
			if ((set[i] >> k & 1) && a->v.node[k].cause == NULL)
				voters++;
		largest = voters > largest ? (unsigned)voters : largest;
	}
	/* Of nodes that were not asked nothing is known, so they count for connected. */
	a->whole = largest + (a->voters - speaking_voters) >= a->v.q;
	if (a->quorum && !a->whole)
		report_partition(a, set);
	for (unsigned i = 0; i < a->v.count && speakers > 2; i++) {
		bool one_way = true;
		if (!can_speak(&a->v.node[i]) || !single(set[i]))
			continue;
		for (unsigned j = 0; j < a->v.count; j++)
			if (j != i && can_speak(&a->v.node[j]) &&
			    link_between(&a->v, i, j) == LINK_DOWN)
				one_way = false;
		report_cut_off(a, i, one_way);
		told |= bit(i);
	}
	for (unsigned i = 0; i < a->v.count; i++)
		for (unsigned j = i + 1; j < a->v.count; j++) {
			enum link_state state;
			if (!can_speak(&a->v.node[i]) || !can_speak(&a->v.node[j]) ||
			    ((told >> i | told >> j) & 1))
				continue;
			state = link_between(&a->v, i, j);
			if (state != LINK_UP)
				report_link(a, i, j, state);
		}
}
