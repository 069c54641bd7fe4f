/* Curves over the number of replicas: consensus time, and messages against theory. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/report_plot.h"

/* The runs of one condition: fault-free ones, or if there are none those of the fault that most
 * runs have. At most one of each protocol and size is drawn: the first. */
struct curves {
	const struct report_run *at[REPORT_PROTOCOLS][REPORT_NODES_MAX + 1];
	const char *fault; /* NULL: fault-free */
	unsigned protocols, sizes, points;
	unsigned size[REPORT_NODES_MAX];
	double lo, hi; /* of what is drawn */
};

static bool usable(const struct report_run *run, enum report_field f)
{
	return run->nodes && measured(run->value[f]) && run->value[f] > 0;
}

static const char *commonest_fault(const struct report *r, enum report_field f)
{
	const char *best = NULL;
	unsigned most = 0;
	for (size_t i = 0; i < r->count; i++) {
		unsigned n = 0;
		if (!usable(&r->run[i], f))
			continue;
		for (size_t k = i; k < r->count; k++)
			n += usable(&r->run[k], f) && !r->run[k].live &&
			     strcmp(r->run[i].fault, r->run[k].fault) == 0;
		if (n > most) {
			most = n;
			best = r->run[i].fault;
		}
	}
	return best;
}

static bool select_curves(struct curves *c, const struct report *r, enum report_field f,
			  bool live)
{
	bool any_free = false;
	*c = (struct curves){.lo = INFINITY};
	for (size_t i = 0; i < r->count; i++)
		any_free |=
			r->run[i].fault_free && r->run[i].live == live && usable(&r->run[i], f);
	if (!any_free) {
		c->fault = live ? NULL : commonest_fault(r, f);
		if (!c->fault)
			return false;
	}
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *run = &r->run[i];
		bool wanted = any_free ? run->fault_free : strcmp(run->fault, c->fault) == 0;
		const struct report_run **at = &c->at[report_protocol(run)][run->nodes];
		if (!wanted || run->live != live || !usable(run, f) || *at)
			continue;
		*at = run;
		c->points++;
		c->protocols |= 1u << report_protocol(run);
		c->lo = fmin(c->lo, run->value[f]);
		c->hi = fmax(c->hi, run->value[f]);
	}
	for (unsigned n = 1; n <= REPORT_NODES_MAX; n++)
		for (unsigned p = 0; p < REPORT_PROTOCOLS; p++)
			if (c->at[p][n]) {
				c->size[c->sizes++] = n;
				break;
			}
	return c->points > 0;
}

/* Logarithmic, with a tick at each size that was measured. */
static void size_axis(struct axis *x, const struct curves *c, double begin, double end)
{
	double lo = c->size[0], hi = c->size[c->sizes - 1];
	*x = (struct axis){
		.lo = lo / 1.15, .hi = hi * 1.15, .begin = begin, .end = end, .log = true};
	double last = -1e9;
	for (unsigned i = 0; i < c->sizes && x->ticks < AXIS_TICKS_MAX; i++) {
		double px = axis_at(x, c->size[i]);
		if (px - last < 22)
			continue;
		x->tick[x->ticks++] = c->size[i];
		last = px;
	}
}

/* Points of one size stand side by side, or equal ones would hide one another. */
static double beside(const struct curves *c, unsigned protocol)
{
	unsigned rank = 0, all = 0;
	for (unsigned p = 0; p < REPORT_PROTOCOLS; p++)
		if (c->protocols >> p & 1) {
			rank += p < protocol;
			all++;
		}
	return 9 * (rank - (all - 1) / 2.0);
}

static void say_condition(struct writer *w, const struct curves *c)
{
	if (!c->fault) {
		html_raw(w, "without faults");
		return;
	}
	html_raw(w, "under \u201c");
	html_text(w, *c->fault ? c->fault : "unknown");
	html_raw(w, "\u201d, as no fault-free runs were given");
}

static void draw_curve(struct svg *s, const struct curves *c, unsigned p, const struct axis *x,
		       const struct axis *y, enum report_field f)
{
	bool pen = false;
	svg_path_begin(s, plot_class(p, "line"));
	for (unsigned i = 0; i < c->sizes; i++) {
		const struct report_run *run = c->at[p][c->size[i]];
		if (!run)
			continue;
		html_fmt(s->w, "%c%.1f %.1f", pen ? 'L' : 'M',
			 axis_at(x, c->size[i]) + beside(c, p), axis_at(y, run->value[f]));
		pen = true;
	}
	svg_path_end(s, NULL);
}

static void draw_time_point(struct svg *s, const struct curves *c, unsigned p,
			    const struct report_run *run, const struct axis *x,
			    const struct axis *y)
{
	char text[240], p50[HTML_NUMBER_MAX], p99[HTML_NUMBER_MAX];
	double px = axis_at(x, run->nodes) + beside(c, p), top = run->value[F_TIME_P99];
	if (measured(top)) {
		svg_line(s, px, axis_at(y, run->value[F_TIME_P50]), px, axis_at(y, top),
			 plot_class(p, "whisker"));
		svg_line(s, px - 4, axis_at(y, top), px + 4, axis_at(y, top),
			 plot_class(p, "whisker"));
	}
	snprintf(text, sizeof text, "%s, n=%u: p50 %s, p99 %s", report_protocol_name(p),
		 run->nodes, html_duration(p50, run->value[F_TIME_P50]),
		 html_duration(p99, top));
	svg_mark(s, (enum svg_shape)(p % SVG_SHAPES), px, axis_at(y, run->value[F_TIME_P50]),
		 plot_class(p, "mark point"), text);
}

static void plot_time(struct writer *w, struct curves *c, bool live)
{
	struct svg s;
	struct axis x, y;
	const double left = 58, right = PLOT_WIDTH - 14, top = 46, bottom = 300;
	for (unsigned p = 0; p < REPORT_PROTOCOLS; p++)
		for (unsigned i = 0; i < c->sizes; i++) {
			const struct report_run *run = c->at[p][c->size[i]];
			if (run && measured(run->value[F_TIME_P99]))
				c->hi = fmax(c->hi, run->value[F_TIME_P99]);
		}
	size_axis(&x, c, left, right);
	axis_fit(&y, c->lo, c->hi, bottom, top);
	figure_begin(w, live ? "plot-time-live" : "plot-time");
	svg_begin(
		&s, w, live ? "svg-time-live" : "svg-time", PLOT_WIDTH, 346,
		live ? "Consensus time, live" : "Consensus time",
		"Median and 99th percentile of the time from proposal to finality, by protocol "
		"and number of replicas. The table beside it has the figures.");
	svg_axis_y(&s, &y, left, right, y.log ? "ms (logarithmic)" : "ms");
	svg_axis_x(&s, &x, bottom, top, "replicas n (logarithmic)");
	plot_legend(&s, 16, c->protocols);
	for (unsigned p = 0; p < REPORT_PROTOCOLS; p++) {
		if (!(c->protocols >> p & 1))
			continue;
		draw_curve(&s, c, p, &x, &y, F_TIME_P50);
		for (unsigned i = 0; i < c->sizes; i++)
			if (c->at[p][c->size[i]])
				draw_time_point(&s, c, p, c->at[p][c->size[i]], &x, &y);
	}
	svg_end(&s);
	figure_caption(w);
	html_fmt(w, "From the first sight of a block to its first finality, %s, ",
		 live ? "live" : "in virtual time");
	say_condition(w, c);
	html_raw(w, ": marks are medians, whiskers reach to the 99th percentile. Points of one "
		    "size stand side by side.");
	figure_end(w);
}

bool report_plot_time(struct writer *w, const struct report *r)
{
	struct curves *c = mem_zalloc(sizeof *c);
	bool any = select_curves(c, r, F_TIME_P50, false);
	if (any)
		plot_time(w, c, false);
	if (select_curves(c, r, F_TIME_P50, true)) {
		plot_time(w, c, true);
		any = true;
	}
	mem_free(c);
	return any;
}

/* ---- messages ---------------------------------------------------------------------------- */

static double quadratic(double n)
{
	return 2 * n * (n - 1);
}

static double linear(double n)
{
	return 2 * (n - 1);
}

static void draw_theory(struct svg *s, const struct axis *x, const struct axis *y,
			double (*f)(double), const char *name)
{
	bool pen = false;
	double end_x = 0, end_y = 0;
	svg_path_begin(s, "theory");
	for (unsigned i = 0; i <= 60; i++) {
		double n = x->lo * pow(x->hi / x->lo, i / 60.0), v = f(n);
		if (v < y->lo || v > y->hi)
			continue;
		end_x = axis_at(x, n);
		end_y = axis_at(y, v);
		html_fmt(s->w, "%c%.1f %.1f", pen ? 'L' : 'M', end_x, end_y);
		pen = true;
	}
	svg_path_end(s, name);
	if (pen)
		svg_text(s, end_x + 4, end_y + 4, "tick", name);
}

static void draw_message_point(struct svg *s, const struct curves *c, unsigned p,
			       const struct report_run *run, const struct axis *x,
			       const struct axis *y)
{
	char text[240], own[HTML_NUMBER_MAX], theory[HTML_NUMBER_MAX];
	double px = axis_at(x, run->nodes) + beside(c, p);
	snprintf(text, sizeof text, "%s, n=%u: %s messages a decision, theory %s",
		 report_protocol_name(p), run->nodes, html_number(own, run->value[F_MESSAGES]),
		 html_number(theory, run->value[F_THEORY]));
	svg_mark(s, (enum svg_shape)(p % SVG_SHAPES), px, axis_at(y, run->value[F_MESSAGES]),
		 plot_class(p, "mark point"), text);
}

bool report_plot_messages(struct writer *w, const struct report *r)
{
	struct svg s;
	struct axis x, y;
	struct curves *c = mem_zalloc(sizeof *c);
	if (!select_curves(c, r, F_MESSAGES, false)) {
		mem_free(c);
		return false;
	}
	const double left = 58, right = PLOT_WIDTH - 70, top = 46, bottom = 340;
	double least = c->size[0] > 1 ? linear(c->size[0]) : c->lo,
	       most = linear(c->size[c->sizes - 1]);
	size_axis(&x, c, left, right);
	axis_log(&y, fmin(c->lo, least), 1.2 * fmax(c->hi, most), bottom, top);
	figure_begin(w, "plot-messages");
	svg_begin(
		&s, w, "svg-messages", PLOT_WIDTH, 386, "Messages per decision against theory",
		"Measured messages between replicas per decision on logarithmic axes, with the "
		"curves 2(n-1) and 2n(n-1). The table has the figures.");
	svg_axis_y(&s, &y, left, right, "messages per decision (logarithmic)");
	svg_axis_x(&s, &x, bottom, top, "replicas n (logarithmic)");
	plot_legend(&s, 16, c->protocols);
	draw_theory(&s, &x, &y, linear, "2(n\u22121)");
	draw_theory(&s, &x, &y, quadratic, "2n(n\u22121)");
	for (unsigned p = 0; p < REPORT_PROTOCOLS; p++)
		for (unsigned i = 0; i < c->sizes; i++)
			if (c->at[p][c->size[i]])
				draw_message_point(&s, c, p, c->at[p][c->size[i]], &x, &y);
	svg_end(&s);
	figure_caption(w);
	html_raw(w, "Messages of the normal case per decision, counted at the transport, ");
	say_condition(w, c);
	html_raw(
		w,
		". Dashed: what theory asks for, 2(n\u22121) for Multi-Paxos, Raft and the "
		"hybrid\u2019s fast mode, 2n(n\u22121) for PBFT. Points of one size stand side "
		"by side, because they would hide one another.");
	figure_end(w);
	mem_free(c);
	return true;
}

/* ---- cost -------------------------------------------------------------------------------- */

struct cost {
	enum report_field field;
	const char *id, *svg_id, *title, *unit, *caption;
};

static void draw_cost(struct svg *s, const struct curves *c, unsigned p, const struct axis *x,
		      const struct axis *y, const struct cost *cost)
{
	char text[240], number[HTML_NUMBER_MAX];
	draw_curve(s, c, p, x, y, cost->field);
	for (unsigned i = 0; i < c->sizes; i++) {
		const struct report_run *run = c->at[p][c->size[i]];
		if (!run)
			continue;
		double v = run->value[cost->field];
		snprintf(text, sizeof text, "%s, n=%u: %s", report_protocol_name(p), run->nodes,
			 html_number(number, v));
		svg_mark(s, (enum svg_shape)(p % SVG_SHAPES),
			 axis_at(x, run->nodes) + beside(c, p), axis_at(y, v),
			 plot_class(p, "mark point"), text);
	}
}

static bool plot_cost(struct writer *w, const struct report *r, const struct cost *cost)
{
	struct svg s;
	struct axis x, y;
	struct curves *c = mem_zalloc(sizeof *c);
	if (!select_curves(c, r, cost->field, false) || c->sizes < 2) {
		mem_free(c);
		return false;
	}
	const double left = 58, right = PLOT_WIDTH - 14, top = 46, bottom = 300;
	size_axis(&x, c, left, right);
	axis_log(&y, c->lo, 1.1 * c->hi, bottom, top);
	figure_begin(w, cost->id);
	svg_begin(&s, w, cost->svg_id, PLOT_WIDTH, 346, cost->title,
		  "By protocol and number of replicas, on logarithmic axes. The table has the "
		  "figures.");
	svg_axis_y(&s, &y, left, right, cost->unit);
	svg_axis_x(&s, &x, bottom, top, "replicas n (logarithmic)");
	plot_legend(&s, 16, c->protocols);
	for (unsigned p = 0; p < REPORT_PROTOCOLS; p++)
		if (c->protocols >> p & 1)
			draw_cost(&s, c, p, &x, &y, cost);
	svg_end(&s);
	figure_caption(w);
	html_fmt(w, "%s, ", cost->title);
	say_condition(w, c);
	html_fmt(w, ". %s", cost->caption);
	figure_end(w);
	mem_free(c);
	return true;
}

bool report_plot_cost(struct writer *w, const struct report *r)
{
	static const struct cost costs[] = {
		{F_AUTHENTICATORS, "plot-authenticators", "svg-authenticators",
		 "Signatures made and checked per decision",
		 "signatures per decision (logarithmic)",
		 "Protocols that sign nothing between replicas have no point."},
		{F_BYTES, "plot-bytes", "svg-bytes", "Bytes per decision",
		 "bytes per decision (logarithmic)",
		 "Everything that replicas send one another, certificates included."},
	};
	bool any = false;
	for (unsigned i = 0; i < MEM_COUNT(costs); i++)
		any |= plot_cost(w, r, &costs[i]);
	return any;
}
