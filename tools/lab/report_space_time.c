/* Space-time diagrams: replicas as lines downwards, messages as arrows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/report_plot.h"

#define DIAGRAMS_MAX 6
#define TOP	     78.0
#define LEFT	     62.0
#define HEIGHT_MAX   1150.0
#define PAUSE_HEIGHT 26.0 /* an instant without events is drawn no longer */
#define BEFORE_MAX   70u  /* messages before the moment that the window was chosen for */
#define AFTER_MAX    50u

struct message {
	double sent, received; /* ms; NaN: lost */
	double from, to, height;
	const char *type;
};

struct diagram {
	struct svg s;
	const struct json *v;
	unsigned nodes;
	uint64_t malicious;
	struct message message[REPORT_EVENTS_MAX];
	size_t messages, all, beats;
	size_t marks;
	double focus; /* ms; NaN: none */
	/* instants at which something happens, rising, and where they are drawn */
	double at[2 * REPORT_EVENTS_MAX + REPORT_MARKS_MAX + 2];
	double y[2 * REPORT_EVENTS_MAX + REPORT_MARKS_MAX + 2];
	size_t instants;
	double right; /* of the last line; marks' texts stand beyond it */
};

/* What a message is for, by its name: its colour. */
static const struct {
	const char *part, *class;
} classes[] = {
	{"heartbeat", "m-beat"},   {"view", "m-change"},     {"vote", "m-change"},
	{"promise", "m-change"},   {"refusal", "m-change"},  {"evidence", "m-blame"},
	{"suspi", "m-blame"},	   {"commit", "m-commit"},   {"paxos_prepare", "m-change"},
	{"prepare", "m-prepare"},  {"appended", "m-answer"}, {"reply", "m-answer"},
	{"accepted", "m-answer"},  {"append", "m-order"},    {"accept", "m-order"},
	{"certificate", "m-cert"},
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

/* ---- which messages ---------------------------------------------------------------------- */

static int by_sent(const void *a, const void *b)
{
	const struct message *x = a, *y = b;
	return x->sent < y->sent ? -1 : x->sent > y->sent;
}

/* The mark that says what the window was chosen for. */
static double moment(const struct json *v)
{
	const char *why = report_string(v, "why");
	const struct json *marks = json_get(v, "marks");
	for (size_t i = 0; *why && i < json_len(marks); i++)
		if (strcmp(report_string(json_at(marks, i), "text"), why) == 0)
			return report_number(json_at(marks, i), "at_ms");
	return NAN;
}

/* All of a small window; of a large one what is nearest to its moment, and no heartbeats, which
 * would hide it. */
static void take_messages(struct diagram *d)
{
	const struct json *events = json_get(d->v, "events");
	d->all = json_len(events);
	bool large = d->all > BEFORE_MAX + AFTER_MAX;
	for (size_t i = 0; i < d->all; i++) {
		const struct json *e = json_at(events, i);
		const char *type = report_string(e, "type");
		if (large && strcmp(class_of(type), "m-beat") == 0) {
			d->beats++;
			continue;
		}
		d->message[d->messages++] =
			(struct message){.sent = report_number(e, "sent_ms"),
					 .received = report_number(e, "received_ms"),
					 .from = report_number(e, "from"),
					 .to = report_number(e, "to"),
					 .height = report_number(e, "height"),
					 .type = type};
	}
	qsort(d->message, d->messages, sizeof d->message[0], by_sent);
	if (!large || !d->messages)
		return;
	size_t at = 0;
	double focus = measured(d->focus) ? d->focus : d->message[d->messages / 2].sent;
	while (at < d->messages && d->message[at].sent <= focus)
		at++;
	size_t from = at > BEFORE_MAX ? at - BEFORE_MAX : 0;
	size_t to = at + AFTER_MAX < d->messages ? at + AFTER_MAX : d->messages;
	d->messages = to - from;
	memmove(d->message, d->message + from, d->messages * sizeof d->message[0]);
}

/* ---- time -------------------------------------------------------------------------------- */

static int rising(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static bool shows(const struct diagram *d, double ms)
{
	return ms >= d->at[0] && ms <= d->at[d->instants - 1];
}

static double height_at(const struct diagram *d, double scale)
{
	double sum = 0;
	for (size_t i = 1; i < d->instants; i++)
		sum += fmin(PAUSE_HEIGHT, scale * (d->at[i] - d->at[i - 1]));
	return sum;
}

/* Time is to scale but for pauses, which are cut short: the greatest scale that fits. */
static void lay_out_time(struct diagram *d)
{
	for (size_t i = 0; i < d->messages; i++) {
		d->at[d->instants++] = d->message[i].sent;
		if (measured(d->message[i].received))
			d->at[d->instants++] = d->message[i].received;
	}
	if (measured(d->focus))
		d->at[d->instants++] = d->focus;
	qsort(d->at, d->instants, sizeof d->at[0], rising);
	const struct json *marks = json_get(d->v, "marks");
	size_t edges = d->instants;
	for (size_t i = 0; i < d->marks; i++) {
		double ms = report_number(json_at(marks, i), "at_ms");
		if (ms >= d->at[0] && ms <= d->at[edges - 1])
			d->at[d->instants++] = ms;
	}
	qsort(d->at, d->instants, sizeof d->at[0], rising);
	double most = fmin(HEIGHT_MAX, fmax(300, 11.0 * (double)d->messages)), lo = 0, hi = 1e4;
	for (unsigned i = 0; i < 60; i++) {
		double middle = (lo + hi) / 2;
		if (height_at(d, middle) > most)
			hi = middle;
		else
			lo = middle;
	}
	d->y[0] = TOP + 8;
	for (size_t i = 1; i < d->instants; i++)
		d->y[i] = d->y[i - 1] + fmin(PAUSE_HEIGHT, lo * (d->at[i] - d->at[i - 1]));
}

static double y_of(const struct diagram *d, double ms)
{
	size_t i = 0;
	while (i + 1 < d->instants && d->at[i] < ms)
		i++;
	return d->y[i];
}

static double column(const struct diagram *d, double node)
{
	return d->nodes < 2 ? LEFT + 100 : LEFT + node * (d->right - LEFT) / (d->nodes - 1);
}

/* ---- drawing ----------------------------------------------------------------------------- */

static void draw_cross(struct svg *s, double x, double y)
{
	svg_line(s, x - 4, y - 4, x + 4, y + 4, "lost");
	svg_line(s, x - 4, y + 4, x + 4, y - 4, "lost");
}

static void draw_message(struct diagram *d, const struct message *m)
{
	const char *class = class_of(m->type);
	char height[HTML_NUMBER_MAX], received[60] = "not received";
	if (measured(m->received))
		snprintf(received, sizeof received, "received at %.3f ms", m->received);
	char *text = mem_printf("%s from node%.0f to node%.0f, sent at %.3f ms, %s%s%s",
				*m->type ? m->type : "message", m->from + 1, m->to + 1, m->sent,
				received, m->height > 0 ? ", height " : "",
				m->height > 0 ? html_number(height, m->height) : "");
	double x1 = column(d, m->from), y1 = y_of(d, m->sent), x2 = column(d, m->to), y2;
	if (measured(m->received)) {
		y2 = y_of(d, m->received);
	} else { /* half the way; nobody knows how long it would have taken */
		x2 = (x1 + x2) / 2;
		y2 = y1 + 12;
	}
	html_fmt(d->s.w, "<g class=\"message point %s\"><title>", class);
	html_text(d->s.w, text);
	html_raw(d->s.w, "</title>");
	svg_line(&d->s, x1, y1, x2, y2, class);
	if (measured(m->received))
		svg_arrow_head(&d->s, x2, y2, x2 - x1, y2 - y1, class);
	else
		draw_cross(&d->s, x2, y2);
	html_raw(d->s.w, "</g>\n");
	mem_free(text);
}

/* Texts stand in a column of their own, pushed down where they would overlap. */
static double draw_marks(struct diagram *d)
{
	const struct json *marks = json_get(d->v, "marks");
	const char *why = report_string(d->v, "why");
	double free_y = TOP;
	char number[HTML_NUMBER_MAX];
	for (size_t i = 0; i < d->marks; i++) {
		const struct json *mark = json_at(marks, i);
		double at = report_number(mark, "at_ms"), node = report_number(mark, "node");
		if (!shows(d, at))
			continue;
		double y = y_of(d, at), x = measured(node) ? column(d, node) : LEFT - 30;
		double text_y = fmax(y + 4, free_y);
		free_y = text_y + 15;
		svg_line(&d->s, x, y, d->right + 14, y, "leader-line");
		svg_line(&d->s, d->right + 14, y, d->right + 26, text_y - 4, "leader-line");
		html_number(number, at);
		char *text = measured(node) ? mem_printf("node%.0f: %s, %s ms", node + 1,
							 report_string(mark, "text"), number)
					    : mem_printf("%s, %s ms",
							 report_string(mark, "text"), number);
		svg_mark(&d->s, SVG_DIAMOND, x, y, "event-mark", text);
		svg_label(&d->s, d->right + 30, text_y,
			  strcmp(report_string(mark, "text"), why) == 0 ? "head" : "tick", text,
			  42);
		mem_free(text);
	}
	return free_y;
}

static void draw_legend(struct diagram *d)
{
	double x = 8, y = 14;
	for (unsigned i = 0; i < MEM_COUNT(legend); i++) {
		bool used = false;
		for (size_t k = 0; k < d->messages && !used; k++)
			used = strcmp(class_of(d->message[k].type), legend[i].class) == 0;
		if (!used)
			continue;
		svg_line(&d->s, x, y - 4, x + 22, y - 4, legend[i].class);
		svg_arrow_head(&d->s, x + 24, y - 4, 1, 0, legend[i].class);
		svg_text(&d->s, x + 30, y, "tick", legend[i].name);
		x += 48 + 6.4 * (double)strlen(legend[i].name);
	}
}

/* Lifelines, and the time at instants that are far enough from one another. */
static void draw_lines(struct diagram *d)
{
	char name[32], number[HTML_NUMBER_MAX];
	double bottom = d->y[d->instants - 1] + 10, last = -1e9;
	for (size_t i = 0; i < d->instants; i++) {
		if (d->y[i] - last < 44)
			continue;
		last = d->y[i];
		svg_line(&d->s, LEFT - 8, last, d->right, last, "grid");
		svg_text(&d->s, LEFT - 12, last + 4, "tick end", html_number(number, d->at[i]));
	}
	for (size_t i = 1; i < d->instants; i++) {
		double ms = d->at[i] - d->at[i - 1], y = (d->y[i] + d->y[i - 1]) / 2;
		if (d->y[i] - d->y[i - 1] < PAUSE_HEIGHT * 0.999)
			continue;
		svg_rect(&d->s, LEFT - 6, y - 4, d->right - LEFT + 12, 8, "pause", NULL);
		snprintf(name, sizeof name, "%s later", html_duration(number, ms));
		svg_text(&d->s, (LEFT + d->right) / 2 - (d->nodes % 2 ? 60 : 0), y + 4,
			 "tick middle halo", name);
	}
	svg_text(&d->s, 4, TOP - 24, "name", "ms");
	for (unsigned i = 0; i < d->nodes; i++) {
		snprintf(name, sizeof name, d->nodes > 12 ? "%u" : "node%u", i + 1);
		bool lies = d->malicious >> i & 1;
		svg_text(&d->s, column(d, i), TOP - 12,
			 lies ? "head middle malicious" : "head middle", name);
		if (lies && d->nodes <= 7)
			svg_text(&d->s, column(d, i), TOP - 26, "tick middle malicious",
				 "malicious");
		svg_line(&d->s, column(d, i), TOP, column(d, i), bottom,
			 lies ? "life malicious" : "life");
	}
}

static void caption(struct writer *w, const struct diagram *d)
{
	figure_caption(w);
	if (d->messages < d->all)
		html_fmt(w, "%zu of the %zu messages of the window, without its %zu heartbeats",
			 d->messages, d->all, d->beats);
	else
		html_fmt(w, "%zu messages", d->all);
	html_raw(w,
		 "; time goes down, to scale but for pauses (grey bars), which are cut short. "
		 "A cross ends a message that was not received.");
	if (d->malicious)
		html_raw(w, " Malicious replicas are red.");
	const char *why = report_string(d->v, "why");
	if (*why) {
		html_raw(w, " The window was chosen for: ");
		html_text(w, why);
		html_raw(w, ".");
	}
	figure_end(w);
}

static uint64_t malicious_nodes(const struct report_run *run)
{
	const struct json *list = json_get(run->v, "malicious");
	uint64_t mask = 0, node;
	if (run->value[F_RUNS] > 1)
		return 0; /* those of all seeds; nobody says whose the window is */
	for (size_t i = 0; i < json_len(list); i++)
		if (!json_as_u64(json_at(list, i), &node) && node < REPORT_NODES_MAX)
			mask |= UINT64_C(1) << node;
	return mask;
}

static void draw_diagram(struct writer *w, const struct report_run *run, unsigned number)
{
	struct diagram *d = mem_zalloc(sizeof *d);
	char id[32], name[REPORT_LABEL_MAX];
	d->v = json_get(run->v, "space_time");
	d->nodes = (unsigned)report_number(d->v, "nodes");
	d->focus = moment(d->v);
	d->malicious = malicious_nodes(run);
	d->marks = json_len(json_get(d->v, "marks"));
	d->right = d->marks ? PLOT_WIDTH - 285 : PLOT_WIDTH - 40;
	take_messages(d);
	if (!d->messages) {
		mem_free(d);
		return;
	}
	lay_out_time(d);
	report_name(name, sizeof name, run);
	html_raw(w, "<h3>");
	html_text(w, name);
	html_raw(w, "</h3>\n");
	snprintf(id, sizeof id, "space-time-%u", number);
	figure_begin(w, id);
	snprintf(id, sizeof id, "svg-space-time-%u", number);
	/* The texts of marks may need more room than the messages. */
	struct writer nowhere = {0};
	d->s = (struct svg){.w = &nowhere};
	double height = fmax(d->y[d->instants - 1] + 24, draw_marks(d));
	writer_free(&nowhere);
	char *title = mem_printf("Space-time diagram of %s", name);
	svg_begin(&d->s, w, id, PLOT_WIDTH, height, title,
		  "Replicas are vertical lines, time goes down, messages are arrows from "
		  "sender to "
		  "receiver. Pointing at one says what it is.");
	mem_free(title);
	draw_legend(d);
	draw_lines(d);
	for (size_t i = 0; i < d->messages; i++)
		draw_message(d, &d->message[i]);
	draw_marks(d);
	svg_end(&d->s);
	caption(w, d);
	mem_free(d);
}

/* ---- which runs -------------------------------------------------------------------------- */

/* Of one seed it is known who is malicious; small networks are read more easily. */
static bool is_better(const struct report_run *a, const struct report_run *b)
{
	bool many = a->value[F_RUNS] > 1, other_many = b->value[F_RUNS] > 1;
	if (many != other_many)
		return other_many;
	return a->nodes != b->nodes ? a->nodes < b->nodes : a < b;
}

/* One diagram for each protocol and moment. */
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
		if (!is_better(run, other))
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
