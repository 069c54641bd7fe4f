/* Diagrams of states and forks. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/report_plot.h"

/* ---- transitions of the hybrid ----------------------------------------------------------- */

#define STATES_MAX 16
#define EDGES_MAX  64
#define STATE_MAX  24 /* bytes of a name that is drawn; longer ones stand in the table only */

struct transitions {
	struct state {
		char name[STATE_MAX];
		double x, y;
	} state[STATES_MAX];
	unsigned states, strangers;
	struct edge {
		unsigned from, to;
		double count;
		char causes[100]; /* "E1 3, E4 1" */
	} edge[EDGES_MAX];
	unsigned edges, runs, undrawn;
	double most;
};

static const struct state known_states[] = {
	{"fast", 150, 70},	{"pbft", 150, 270},   {"follower", 350, 170},
	{"candidate", 515, 60}, {"leader", 680, 170}, {"down", 515, 290},
};

static int state_of(struct transitions *t, const char *name)
{
	for (unsigned i = 0; i < t->states; i++)
		if (strcmp(t->state[i].name, name) == 0)
			return (int)i;
	if (t->states == STATES_MAX || strlen(name) >= STATE_MAX || !*name)
		return -1;
	struct state *s = &t->state[t->states];
	for (unsigned i = 0; i < MEM_COUNT(known_states); i++)
		if (strcmp(known_states[i].name, name) == 0) {
			*s = known_states[i];
			return (int)t->states++;
		}
	snprintf(s->name, sizeof s->name, "%s", name);
	s->x = 80 + 150.0 * (t->strangers % 5);
	s->y = 400 + 100.0 * (t->strangers / 5);
	t->strangers++;
	return (int)t->states++;
}

static struct edge *edge_of(struct transitions *t, unsigned from, unsigned to)
{
	for (unsigned i = 0; i < t->edges; i++)
		if (t->edge[i].from == from && t->edge[i].to == to)
			return &t->edge[i];
	if (t->edges == EDGES_MAX)
		return NULL;
	t->edge[t->edges] = (struct edge){.from = from, .to = to};
	return &t->edge[t->edges++];
}

/* FROM->TO or FROM->TO:CAUSE */
static void add_transition(struct transitions *t, const char *name, double count)
{
	char from[REPORT_NAME_MAX + 1], to[REPORT_NAME_MAX + 1];
	const char *arrow = strstr(name, "->");
	if (!arrow || !(count > 0)) {
		t->undrawn += count > 0;
		return;
	}
	const char *colon = strchr(arrow, ':');
	snprintf(from, sizeof from, "%.*s", (int)(arrow - name), name);
	if (colon)
		snprintf(to, sizeof to, "%.*s", (int)(colon - arrow - 2), arrow + 2);
	else
		snprintf(to, sizeof to, "%s", arrow + 2);
	int a = state_of(t, from), b = state_of(t, to);
	struct edge *e =
		a >= 0 && b >= 0 && a != b ? edge_of(t, (unsigned)a, (unsigned)b) : NULL;
	if (!e) {
		t->undrawn++;
		return;
	}
	e->count += count;
	t->most = fmax(t->most, e->count);
	size_t used = strlen(e->causes);
	char number[HTML_NUMBER_MAX];
	if (colon && used + strlen(colon) + HTML_NUMBER_MAX < sizeof e->causes)
		snprintf(e->causes + used, sizeof e->causes - used, "%s%s %s", used ? ", " : "",
			 colon + 1, html_number(number, count));
}

/* Names of all hybrid runs' transitions with their sums. */
static struct json *sum_transitions(const struct report *r, unsigned *runs)
{
	struct json *sum = json_object();
	for (size_t i = 0; i < r->count; i++) {
		const struct json *t = json_get(r->run[i].v, "transitions");
		if (strcmp(r->run[i].protocol, "hybrid") != 0 || !json_len(t))
			continue;
		++*runs;
		for (const char *key = json_key_next(t, NULL); key;
		     key = json_key_next(t, key)) {
			double old = 0, count = 0;
			json_as_real(json_get(t, key), &count);
			json_as_real(json_get(sum, key), &old);
			json_set(sum, key, json_real(old + count));
		}
	}
	return sum;
}

static void draw_edge(struct svg *s, const struct transitions *t, struct edge *e)
{
	const struct state *a = &t->state[e->from], *b = &t->state[e->to];
	double dx = b->x - a->x, dy = b->y - a->y, len = sqrt(dx * dx + dy * dy);
	double nx = -dy / len, ny = dx / len; /* to the right of who walks along */
	double mx = (a->x + b->x) / 2 + 34 * nx, my = (a->y + b->y) / 2 + 34 * ny;
	double ax = mx - a->x, ay = my - a->y, al = sqrt(ax * ax + ay * ay);
	double bx = mx - b->x, by = my - b->y, bl = sqrt(bx * bx + by * by);
	const double radius = 42;
	double x1 = a->x + radius * ax / al, y1 = a->y + radius * ay / al,
	       x2 = b->x + (radius + 3) * bx / bl, y2 = b->y + (radius + 3) * by / bl;
	char number[HTML_NUMBER_MAX];
	html_fmt(s->w,
		 "<path class=\"edge\" style=\"stroke-width:%.1f\" d=\"M%.1f %.1fQ%.1f %.1f "
		 "%.1f "
		 "%.1f\"/>\n",
		 1 + 3 * log1p(e->count) / log1p(t->most), x1, y1, mx, my, x2 + 4 * bx / bl,
		 y2 + 4 * by / bl);
	svg_arrow_head(s, x2, y2, -bx, -by, "head");
	double lx = (x1 + 2 * mx + x2) / 4 + 12 * nx, ly = (y1 + 2 * my + y2) / 4 + 10 * ny;
	const char *anchor = nx > 0.5 ? "start" : nx < -0.5 ? "end" : "middle";
	char class[32];
	snprintf(class, sizeof class, "count point %s", anchor);
	svg_text(s, lx, ly + 4, class, html_number(number, e->count));
	snprintf(class, sizeof class, "tick halo %s", anchor);
	for (char *save = NULL, *cause = strtok_r(e->causes, ",", &save); cause;
	     cause = strtok_r(NULL, ",", &save)) {
		ly += 15;
		svg_label(s, lx, ly + 4, class, cause + (*cause == ' '), 16);
	}
}

static void draw_states(struct writer *w, struct transitions *t)
{
	struct svg s;
	double height = 350 + 100.0 * ((t->strangers + 4) / 5);
	figure_begin(w, "plot-states");
	svg_begin(&s, w, "svg-states", PLOT_WIDTH, height, "State transitions of the hybrid",
		  "Modes on the left, roles on the right; the numbers on the arrows count the "
		  "transitions taken. The table below it has the same figures.");
	for (unsigned i = 0; i < t->edges; i++)
		draw_edge(&s, t, &t->edge[i]);
	for (unsigned i = 0; i < t->states; i++) {
		const struct state *at = &t->state[i];
		html_fmt(w, "<circle class=\"state\" cx=\"%.0f\" cy=\"%.0f\" r=\"40\"/>\n",
			 at->x, at->y);
		svg_label(&s, at->x, at->y + 5, "state-name middle", at->name, 11);
	}
	svg_end(&s);
	figure_caption(w);
	html_fmt(w,
		 "Modes and roles of correct replicas, with how often each transition was "
		 "taken in "
		 "%u run%s of the hybrid. E1 to E4 are the rules of escalation "
		 "(docs/consensus.md).",
		 t->runs, t->runs == 1 ? "" : "s");
	figure_end(w);
}

bool report_transitions(struct writer *w, const struct report *r)
{
	char number[HTML_NUMBER_MAX];
	struct transitions *t = mem_zalloc(sizeof *t);
	struct json *sum = sum_transitions(r, &t->runs);
	bool any = json_len(sum) > 0;
	for (const char *key = json_key_next(sum, NULL); key; key = json_key_next(sum, key)) {
		double count = 0;
		json_as_real(json_get(sum, key), &count);
		add_transition(t, key, count);
	}
	if (t->edges)
		draw_states(w, t);
	if (any) {
		html_raw(w,
			 "<table class=\"narrow\"><caption>Transitions, all runs of the hybrid "
			 "together</caption>\n<thead><tr><th scope=\"col\">from \u2192 to</th>"
			 "<th scope=\"col\" class=\"n\">times</th></tr></thead><tbody>\n");
		for (const char *key = json_key_next(sum, NULL); key;
		     key = json_key_next(sum, key)) {
			double count = 0;
			json_as_real(json_get(sum, key), &count);
			html_raw(w, "<tr><th scope=\"row\">");
			html_text(w, key);
			html_fmt(w, "</th><td class=\"n\">%s</td></tr>\n",
				 html_number(number, count));
		}
		html_raw(w, "</tbody></table>\n");
	}
	json_free(sum);
	mem_free(t);
	return any;
}

/* ---- forks ------------------------------------------------------------------------------- */

static void say_nodes(struct writer *w, const struct json *nodes, const char *none)
{
	size_t n = json_len(nodes);
	double index;
	if (!n)
		html_raw(w, none);
	for (size_t i = 0; i < n; i++) {
		json_as_real(json_at(nodes, i), &index);
		html_fmt(w, "%snode%.0f", i ? ", " : "", index + 1);
	}
}

static void draw_block(struct svg *s, double x, double y, const char *class, const char *line1,
		       const char *line2)
{
	svg_rect(s, x, y, 190, 46, class, NULL);
	svg_text(s, x + 12, y + 19, "block-name", line1);
	svg_label(s, x + 12, y + 37, "tick", line2, 22);
}

static void draw_fork(struct writer *w, const struct report_run *run, unsigned number)
{
	const struct json *fork = json_get(run->v, "fork"), *hashes = json_get(fork, "hashes"),
			  *certs = json_get(fork, "certificates");
	double height = report_number(fork, "height");
	char id[32], text[120], name[HTML_NUMBER_MAX];
	struct svg s;
	if (!measured(height))
		return;
	snprintf(id, sizeof id, "fork-%u", number);
	figure_begin(w, id);
	snprintf(id, sizeof id, "svg-fork-%u", number);
	snprintf(text, sizeof text, "Fork at height %s", html_number(name, height));
	svg_begin(
		&s, w, id, PLOT_WIDTH, 150, text,
		"Two blocks of one height, each final at correct replicas, on one block before "
		"them.");
	if (height >= 1) {
		snprintf(text, sizeof text, "height %s", html_number(name, height - 1));
		draw_block(&s, 10, 52, "block", text, "the same everywhere");
	}
	for (unsigned i = 0; i < 2; i++) {
		double y = i ? 96 : 8;
		const char *h = "hash not recorded";
		json_as_string(json_at(hashes, i), &h);
		snprintf(text, sizeof text, "height %s, %s", html_number(name, height),
			 i ? "other block" : "one block");
		draw_block(&s, 290, y, "block forked", text, h);
		if (height >= 1) {
			svg_line(&s, 200, 75, 284, y + 23, "edge");
			svg_arrow_head(&s, 288, y + 23, 88, y + 23 - 75, "head");
		}
		const struct json *c = json_at(certs, i);
		double term = report_number(c, "term"), at = report_number(c, "height");
		if (measured(term) && measured(at)) {
			const char *kind = report_string(c, "kind");
			bool crash = strcmp(kind, "crash") == 0;
			char *by = crash ? mem_printf("taken for final in term %.0f", term)
					 : mem_printf("certificate of term %.0f, height %.0f",
						      term, at);
			svg_text(&s, 494, y + 19, "tick", by);
			if (!crash)
				svg_label(&s, 494, y + 35, "tick", kind, 36);
			mem_free(by);
		}
	}
	svg_end(&s);
	figure_caption(w);
	html_raw(w, "What correct replicas took for final at the first height of the fork.");
	figure_end(w);
}

static void say_fork(struct writer *w, const struct report_run *run)
{
	const struct json *fork = json_get(run->v, "fork"),
			  *culprits = json_get(fork, "culprits"),
			  *proven = json_get(fork, "proven");
	char number[HTML_NUMBER_MAX], name[REPORT_LABEL_MAX];
	if (!culprits)
		culprits = json_get(run->v, "culprits");
	if (!proven)
		proven = json_get(run->v, "culprits_proven");
	report_name(name, sizeof name, run);
	html_raw(w, "<h3>");
	html_text(w, name);
	html_fmt(w, "</h3>\n<p>%s height%s with different final blocks",
		 html_number(number, run->value[F_CONFLICTS]),
		 run->value[F_CONFLICTS] == 1 ? "" : "s");
	double at = report_number(fork, "at_ms");
	if (measured(at))
		html_fmt(w, "; the first after %s", html_duration(number, at));
	html_raw(w, ". Signed both sides: ");
	say_nodes(w, culprits, "nobody");
	html_raw(w, "; proven by evidence: ");
	say_nodes(w, proven, "nobody");
	html_raw(w, ".</p>\n");
	const char *why = report_string(fork, "provable");
	if (*why) {
		html_raw(w, "<p>What can be proven: ");
		html_text(w, why);
		html_raw(w, ".</p>\n");
	}
}

#define FORKS_MAX 8

bool report_forks(struct writer *w, const struct report *r)
{
	unsigned drawn = 0, all = 0;
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *run = &r->run[i];
		bool again = false;
		if (!(run->value[F_CONFLICTS] > 0))
			continue;
		all++;
		for (size_t k = 0; k < i; k++)
			again |= r->run[k].value[F_CONFLICTS] > 0 &&
				 strcmp(r->run[k].protocol, run->protocol) == 0;
		if (again || drawn == FORKS_MAX)
			continue;
		say_fork(w, run);
		draw_fork(w, run, ++drawn);
	}
	if (all > drawn)
		html_fmt(w, "<p>%u runs forked; the first of each protocol is shown.</p>\n",
			 all);
	return all > 0;
}
