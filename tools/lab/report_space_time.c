/* Space-time diagrams: replicas as lines downwards, messages as arrows. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/report_plot.h"

#define DIAGRAMS_MAX 6
#define TOP	     70.0
#define LEFT	     62.0

struct diagram {
	struct svg s;
	const struct json *v;
	unsigned nodes;
	size_t events, marks;
	struct axis t;
	double right; /* of the last line; marks' texts stand beyond it */
};

/* What a message is for, by its name: its colour. */
static const struct {
	const char *part, *class;
} classes[] = {
	{"heartbeat", "m-beat"},  {"view", "m-change"},	   {"vote", "m-change"},
	{"promise", "m-change"},  {"refusal", "m-change"}, {"evidence", "m-blame"},
	{"suspi", "m-blame"},	  {"commit", "m-commit"},  {"prepare", "m-prepare"},
	{"appended", "m-answer"}, {"reply", "m-answer"},   {"accepted", "m-answer"},
	{"append", "m-order"},	  {"accept", "m-order"},   {"certificate", "m-cert"},
};
static const struct {
	const char *class, *name;
} legend[] = {
	{"m-order", "blocks"},	  {"m-answer", "answers"},  {"m-cert", "certificates"},
	{"m-prepare", "prepare"}, {"m-commit", "commit"},   {"m-change", "votes, view changes"},
	{"m-blame", "evidence"},  {"m-beat", "heartbeats"}, {"m-other", "other"},
};

static const char *class_of(const char *type)
{
	for (unsigned i = 0; i < MEM_COUNT(classes); i++)
		if (strstr(type, classes[i].part))
			return classes[i].class;
	return "m-other";
}

static double column(const struct diagram *d, double node)
{
	return d->nodes < 2 ? LEFT + 100 : LEFT + node * (d->right - LEFT) / (d->nodes - 1);
}

static void draw_cross(struct svg *s, double x, double y, const char *class)
{
	char both[40];
	snprintf(both, sizeof both, "%s lost", class);
	svg_line(s, x - 4, y - 4, x + 4, y + 4, both);
	svg_line(s, x - 4, y + 4, x + 4, y - 4, both);
}

static void draw_event(struct diagram *d, const struct json *e)
{
	const char *type = report_string(e, "type"), *class = class_of(type);
	double sent = report_number(e, "sent_ms"), received = report_number(e, "received_ms"),
	       from = report_number(e, "from"), to = report_number(e, "to"),
	       height = report_number(e, "height");
	char text[REPORT_NAME_MAX + 160], a[HTML_NUMBER_MAX];
	int used = snprintf(text, sizeof text, "%s, node%.0f to node%.0f, %.3f ms",
			    *type ? type : "message", from + 1, to + 1, sent);
	if (measured(received))
		used += snprintf(text + used, sizeof text - (size_t)used, " to %.3f ms",
				 received);
	else
		used += snprintf(text + used, sizeof text - (size_t)used, ", not received");
	if (height > 0)
		snprintf(text + used, sizeof text - (size_t)used, ", height %s",
			 html_number(a, height));
	double x1 = column(d, from), y1 = axis_at(&d->t, sent), x2 = column(d, to), y2;
	if (measured(received)) {
		y2 = axis_at(&d->t, received);
	} else { /* half the way; nobody knows how long it would have taken */
		x2 = (x1 + x2) / 2;
		y2 = y1 + 12;
	}
	html_fmt(d->s.w, "<g class=\"message point %s\"><title>", class);
	html_text(d->s.w, text);
	html_raw(d->s.w, "</title>");
	svg_line(&d->s, x1, y1, x2, y2, class);
	if (measured(received))
		svg_arrow_head(&d->s, x2, y2, x2 - x1, y2 - y1, class);
	else
		draw_cross(&d->s, x2, y2, class);
	html_raw(d->s.w, "</g>\n");
}

/* Texts stand in a column of their own, pushed down where they would overlap. */
static void draw_marks(struct diagram *d)
{
	const struct json *marks = json_get(d->v, "marks");
	double free_y = TOP - 6;
	char number[HTML_NUMBER_MAX];
	for (size_t i = 0; i < d->marks; i++) {
		const struct json *mark = json_at(marks, i);
		double at = report_number(mark, "at_ms"), node = report_number(mark, "node");
		double y = axis_at(&d->t, at), x = measured(node) ? column(d, node) : LEFT - 30;
		double text_y = fmax(y + 4, free_y);
		if (at < d->t.lo || at > d->t.hi)
			continue;
		free_y = text_y + 14;
		svg_line(&d->s, x, y, d->right + 14, y, "leader-line");
		svg_line(&d->s, d->right + 14, y, d->right + 24, text_y - 4, "leader-line");
		char *text = measured(node)
				     ? mem_printf("node%.0f: %s, %s ms", node + 1,
						  report_string(mark, "text"),
						  html_number(number, at))
				     : mem_printf("%s, %s ms", report_string(mark, "text"),
						  html_number(number, at));
		svg_mark(&d->s, SVG_DIAMOND, x, y, "event-mark", text);
		svg_label(&d->s, d->right + 28, text_y, "tick", text, 32);
		mem_free(text);
	}
}

static void draw_legend(struct diagram *d)
{
	const struct json *events = json_get(d->v, "events");
	double x = 8, y = 14;
	for (unsigned i = 0; i < MEM_COUNT(legend); i++) {
		bool used = false;
		for (size_t k = 0; k < d->events && !used; k++)
			used = strcmp(class_of(report_string(json_at(events, k), "type")),
				      legend[i].class) == 0;
		if (!used)
			continue;
		svg_line(&d->s, x, y - 4, x + 22, y - 4, legend[i].class);
		svg_arrow_head(&d->s, x + 24, y - 4, 1, 0, legend[i].class);
		svg_text(&d->s, x + 30, y, "tick", legend[i].name);
		x += 48 + 6.4 * (double)strlen(legend[i].name);
	}
}

static void draw_lines(struct diagram *d)
{
	char name[32], number[HTML_NUMBER_MAX];
	const struct axis *t = &d->t;
	for (unsigned i = 0; i < t->ticks; i++) {
		double y = axis_at(t, t->tick[i]);
		svg_line(&d->s, LEFT - 8, y, d->right, y, "grid");
		svg_text(&d->s, LEFT - 12, y + 4, "tick end", html_number(number, t->tick[i]));
	}
	svg_text(&d->s, 4, TOP - 24, "name", "ms");
	for (unsigned i = 0; i < d->nodes; i++) {
		snprintf(name, sizeof name, d->nodes > 12 ? "%u" : "node%u", i + 1);
		svg_text(&d->s, column(d, i), TOP - 12, "head middle", name);
		svg_line(&d->s, column(d, i), t->begin, column(d, i), t->end, "life");
	}
}

/* From the first to the last thing that is drawn; ticks need not be at the ends. */
static void time_axis(struct diagram *d, double bottom)
{
	const struct json *events = json_get(d->v, "events");
	double lo = report_number(d->v, "from_ms"), hi = report_number(d->v, "to_ms");
	for (size_t i = 0; i < d->events; i++) {
		const struct json *e = json_at(events, i);
		lo = fmin(lo, report_number(e, "sent_ms"));
		hi = fmax(hi, report_number(e, "sent_ms"));
		hi = fmax(hi, report_number(e, "received_ms")); /* fmax passes over a NaN */
	}
	if (!(hi > lo))
		hi = lo + 1;
	axis_linear(&d->t, lo, hi, TOP, bottom);
	struct axis *t = &d->t;
	unsigned kept = 0;
	for (unsigned i = 0; i < t->ticks; i++)
		if (t->tick[i] >= lo && t->tick[i] <= hi)
			t->tick[kept++] = t->tick[i];
	t->ticks = kept;
	t->lo = lo;
	t->hi = hi;
}

static void draw_diagram(struct writer *w, const struct report_run *run, unsigned number)
{
	struct diagram d = {.v = json_get(run->v, "space_time")};
	const struct json *events = json_get(d.v, "events");
	char id[32], name[2 * REPORT_NAME_MAX + 40], text[2 * REPORT_NAME_MAX + 80];
	d.nodes = (unsigned)report_number(d.v, "nodes");
	d.events = json_len(events);
	d.marks = json_len(json_get(d.v, "marks"));
	d.right = d.marks ? PLOT_WIDTH - 230 : PLOT_WIDTH - 40;
	double height = fmin(1300, fmax(320, 5.0 * (double)d.events));
	height = fmax(height, fmin(1300, 15.0 * (double)d.marks));
	time_axis(&d, TOP + height);
	report_name(name, sizeof name, run);
	html_raw(w, "<h3>");
	html_text(w, name);
	html_raw(w, "</h3>\n");
	snprintf(id, sizeof id, "space-time-%u", number);
	figure_begin(w, id);
	snprintf(id, sizeof id, "svg-space-time-%u", number);
	snprintf(text, sizeof text, "Space-time diagram of %s", name);
	svg_begin(&d.s, w, id, PLOT_WIDTH, TOP + height + 24, text,
		  "Replicas are vertical lines, time goes down, messages are arrows from "
		  "sender to "
		  "receiver. Pointing at one says what it is.");
	draw_legend(&d);
	draw_lines(&d);
	for (size_t i = 0; i < d.events; i++)
		draw_event(&d, json_at(events, i));
	draw_marks(&d);
	svg_end(&d.s);
	figure_caption(w);
	html_fmt(w,
		 "%zu messages; time goes down. A cross ends a message that was not received.",
		 d.events);
	const char *why = report_string(d.v, "why");
	if (*why) {
		html_raw(w, " The window was chosen for: ");
		html_text(w, why);
		html_raw(w, ".");
	}
	figure_end(w);
}

/* Small networks are read more easily; one diagram for each protocol and moment. */
static bool shown_before(const struct report *r, const struct report_run *run)
{
	const char *why = report_string(json_get(run->v, "space_time"), "why");
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *other = &r->run[i];
		const struct json *v = json_get(other->v, "space_time");
		if (other == run || !json_len(json_get(v, "events")) ||
		    strcmp(other->protocol, run->protocol) != 0 ||
		    strcmp(report_string(v, "why"), why) != 0)
			continue;
		if (other->nodes < run->nodes || (other->nodes == run->nodes && other < run))
			return true;
	}
	return false;
}

/* Forks before proofs before lost leaders before the rest. */
static unsigned interest(const struct report_run *run)
{
	const char *why = report_string(json_get(run->v, "space_time"), "why");
	return run->value[F_CONFLICTS] > 0 ? 3
	       : strstr(why, "proof")	   ? 2
	       : strstr(why, "lost")	   ? 1
					   : 0;
}

bool report_space_times(struct writer *w, const struct report *r)
{
	unsigned drawn = 0, left = 0;
	for (unsigned level = 4; level-- > 0;)
		for (size_t i = 0; i < r->count; i++) {
			const struct report_run *run = &r->run[i];
			const struct json *v = json_get(run->v, "space_time");
			if (!json_len(json_get(v, "events")) || interest(run) != level)
				continue;
			if (shown_before(r, run) || drawn == DIAGRAMS_MAX)
				left++;
			else
				draw_diagram(w, run, ++drawn);
		}
	if (left)
		html_fmt(w,
			 "<p>The windows of %u more runs are in their result files; shown is "
			 "the "
			 "smallest network of each protocol and moment.</p>\n",
			 left);
	return drawn > 0;
}
