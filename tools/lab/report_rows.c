/* Plots of runs one below the other: throughput under attack, availability, failover, recovery.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/report_plot.h"

#define LEFT  ROWS_LABEL
#define RIGHT (PLOT_WIDTH - 92)
#define TOP   40.0
#define ROW   20.0

static double hi_of(const struct rows *rows, const struct report *r,
		    double (*value)(const struct report *, const struct report_run *))
{
	double hi = 0;
	for (unsigned i = 0; i < rows->count; i++)
		if (measured(value(r, rows->run[i])))
			hi = fmax(hi, value(r, rows->run[i]));
	return hi;
}

/* ---- throughput -------------------------------------------------------------------------- */

static bool has_share(const struct report *r, const struct report_run *run)
{
	return run->faulty && measured(report_throughput_share(r, run));
}

bool report_plot_throughput(struct writer *w, const struct report *r)
{
	struct rows rows;
	struct svg s;
	struct axis x;
	if (!rows_select(&rows, r, has_share))
		return false;
	double height = rows_height(&rows, ROW), y = TOP;
	axis_linear(&x, 0, fmax(100, 100 * hi_of(&rows, r, report_throughput_share)), LEFT,
		    RIGHT);
	figure_begin(w, "plot-throughput");
	svg_begin(
		&s, w, "svg-throughput", PLOT_WIDTH, TOP + height + 50,
		"Throughput under fault and attack",
		"Throughput of each run as a share of the fault-free run of the same protocol "
		"and size.");
	svg_axis_x(&s, &x, TOP + height + 4, TOP, "% of the fault-free throughput");
	for (unsigned i = 0; i < rows.count; i++) {
		const struct report_run *run = rows.run[i];
		char text[120], number[HTML_NUMBER_MAX], rate[HTML_NUMBER_MAX];
		double share = 100 * report_throughput_share(r, run);
		bool forked = run->value[F_CONFLICTS] > 0;
		rows_label(&s, &rows, i, ROW, &y);
		snprintf(text, sizeof text, "%s %%: %s transactions a second",
			 html_number(number, share),
			 html_number(rate, run->value[F_THROUGHPUT]));
		svg_rect(&s, LEFT, y - 6, axis_at(&x, share) - LEFT, 12,
			 plot_class(report_protocol(run),
				    forked ? "bar forked point" : "bar point"),
			 text);
		snprintf(text, sizeof text, "%s %%%s", html_number(number, share),
			 forked ? ", forked" : "");
		svg_text(&s, axis_at(&x, share) + 6, y + 4, "tick", text);
	}
	svg_line(&s, axis_at(&x, 100), TOP, axis_at(&x, 100), TOP + height + 4, "reference");
	svg_end(&s);
	figure_caption(w);
	html_raw(w, "Final transactions a second under each fault, as a share of the same "
		    "protocol, "
		    "size, load and seeds without one (scenario baseline; dotted line: 100 %). "
		    "A run "
		    "marked <em>forked</em> was not safe: its figure is no achievement. In "
		    "scenarios "
		    "of a malicious leader honest leaders are held up until one of the "
		    "malicious leads: "
		    "such shares compare protocols, and say little of the attack by itself.");
	rows_say_left_out(w, &rows);
	figure_end(w);
	return true;
}

/* ---- availability ------------------------------------------------------------------------ */

static bool has_windows(const struct report *r, const struct report_run *run)
{
	(void)r;
	return run->faulty && json_len(json_get(run->v, "windows")) > 1;
}

static double window_width(const struct report_run *run)
{
	const struct json *windows = json_get(run->v, "windows");
	double said = report_number(run->v, "window_ms");
	if (measured(said) && said > 0)
		return said;
	return report_number(json_at(windows, 1), "at_ms") -
	       report_number(json_at(windows, 0), "at_ms");
}

static double run_end(const struct report *r, const struct report_run *run)
{
	(void)r;
	const struct json *windows = json_get(run->v, "windows");
	return report_number(json_at(windows, json_len(windows) - 1), "at_ms") +
	       window_width(run);
}

/* One path: a stroke for each window with decisions, as wide as the window. */
static void draw_commits(struct svg *s, const struct report_run *run, const struct axis *x,
			 double base, double height)
{
	const struct json *windows = json_get(run->v, "windows");
	size_t n = json_len(windows);
	double most = 1, half = window_width(run) / 2000;
	for (size_t i = 0; i < n; i++)
		most = fmax(most, report_number(json_at(windows, i), "decisions"));
	html_fmt(s->w, "<path class=\"%s\" style=\"stroke-width:%.2f\" d=\"",
		 plot_class(report_protocol(run), "windows"),
		 axis_at(x, 2 * half) - axis_at(x, 0) + 0.2);
	for (size_t i = 0; i < n; i++) {
		const struct json *at = json_at(windows, i);
		double decisions = report_number(at, "decisions"),
		       middle = report_number(at, "at_ms") / 1000 + half;
		if (decisions > 0)
			html_fmt(s->w, "M%.1f %.0fv-%.1f", axis_at(x, middle), base,
				 2 + (height - 2) * decisions / most);
	}
	svg_path_end(s, NULL);
}

/* One path: a line for each stretch of windows without decisions. */
static void draw_gaps(struct svg *s, const struct report_run *run, const struct axis *x,
		      double base)
{
	const struct json *windows = json_get(run->v, "windows");
	double width = window_width(run), from = NAN, end = NAN;
	svg_path_begin(s, "gap");
	for (size_t i = 0; i <= json_len(windows); i++) {
		const struct json *at = json_at(windows, i); /* NULL at the end */
		double ms = report_number(at, "at_ms");
		bool empty = report_number(at, "decisions") == 0;
		if (empty && !measured(from))
			from = ms;
		if (empty)
			end = ms + width;
		if (empty || !measured(from))
			continue;
		html_fmt(s->w, "M%.1f %.1fh%.1f", axis_at(x, from / 1000), base,
			 axis_at(x, end / 1000) - axis_at(x, from / 1000));
		from = NAN;
	}
	svg_path_end(s, NULL);
}

bool report_plot_availability(struct writer *w, const struct report *r)
{
	const double row = 34;
	struct rows rows;
	struct svg s;
	struct axis x;
	if (!rows_select(&rows, r, has_windows))
		return false;
	double height = rows_height(&rows, row), y = TOP - 16;
	axis_linear(&x, 0, hi_of(&rows, r, run_end) / 1000, LEFT, RIGHT);
	figure_begin(w, "plot-availability");
	svg_begin(&s, w, "svg-availability", PLOT_WIDTH, TOP + height + 34,
		  "Availability over time",
		  "Final blocks in each window of time of each run; windows without any are "
		  "marked below the line.");
	svg_axis_x(&s, &x, TOP + height - 12, TOP - 16, "time since the start, s");
	for (unsigned i = 0; i < rows.count; i++) {
		char text[60], number[HTML_NUMBER_MAX];
		rows_label(&s, &rows, i, row, &y);
		draw_commits(&s, rows.run[i], &x, floor(y + 11), 24);
		draw_gaps(&s, rows.run[i], &x, y + 10);
		svg_line(&s, LEFT, y + 11, RIGHT, y + 11, "axis");
		double share = rows.run[i]->value[F_AVAILABILITY];
		if (!measured(share))
			continue;
		snprintf(text, sizeof text, "%s %%", html_number(number, 100 * share));
		svg_text(&s, RIGHT + 8, y + 8, "tick", text);
	}
	svg_end(&s);
	figure_caption(w);
	html_raw(
		w,
		"Bars: blocks made final in each window, each row to its own scale. "
		"<span class=\"gapkey\">Low marks</span>: windows in which nothing became "
		"final. On the right the share of windows with a final block. Of several seeds "
		"the first is drawn; what comes after a run\u2019s end is empty.");
	rows_say_left_out(w, &rows);
	figure_end(w);
	return true;
}

/* ---- failover ---------------------------------------------------------------------------- */

static const struct {
	enum report_field field;
	const char *name, *class;
} parts[] = {{F_DETECTION, "detection", "s0"},
	     {F_ELECTION, "election or view change", "s1"},
	     {F_FIRST_COMMIT, "first commit", "s2"},
	     {F_BACKLOG, "backlog drained", "s3"}};

static double parts_sum(const struct report_run *run)
{
	double sum = NAN;
	for (unsigned i = 0; i < MEM_COUNT(parts); i++)
		if (measured(run->value[parts[i].field]))
			sum = (measured(sum) ? sum : 0) + run->value[parts[i].field];
	return sum;
}

/* The sum, if each part was measured: medians of parts do not add up to a median of totals.
 * Else the total, of which a part is then not split. */
static double failover_length(const struct report *r, const struct report_run *run)
{
	double sum = parts_sum(run);
	bool whole = true;
	(void)r;
	for (unsigned i = 0; i < MEM_COUNT(parts); i++)
		whole &= measured(run->value[parts[i].field]);
	if (whole)
		return sum;
	/* fmax passes over a NaN */
	return fmax(sum, fmax(run->value[F_FAILOVER], run->value[F_FAILOVER_TOTAL]));
}

static bool has_failover(const struct report *r, const struct report_run *run)
{
	return failover_length(r, run) > 0;
}

static void draw_failover(struct svg *s, const struct report_run *run, const struct axis *x,
			  double y)
{
	char text[120], number[HTML_NUMBER_MAX];
	double at = 0, total = failover_length(NULL, run);
	for (unsigned i = 0; i < MEM_COUNT(parts); i++) {
		double ms = run->value[parts[i].field];
		if (!measured(ms))
			continue;
		snprintf(text, sizeof text, "%s: %s", parts[i].name, html_duration(number, ms));
		char class[24];
		snprintf(class, sizeof class, "stack %s", parts[i].class);
		svg_rect(s, axis_at(x, at), y - 6, axis_at(x, at + ms) - axis_at(x, at), 12,
			 class, text);
		at += ms;
	}
	if (total > at * 1.0001) {
		snprintf(text, sizeof text, "not split: %s", html_duration(number, total - at));
		svg_rect(s, axis_at(x, at), y - 6, axis_at(x, total) - axis_at(x, at), 12,
			 "stack s4", text);
	}
	svg_text(s, axis_at(x, total) + 6, y + 4, "tick", html_duration(number, total));
}

static void failover_legend(struct svg *s, const struct rows *rows)
{
	double x = LEFT;
	bool unsplit = false;
	for (unsigned i = 0; i < rows->count; i++)
		unsplit |= failover_length(NULL, rows->run[i]) >
			   1.0001 * (measured(parts_sum(rows->run[i])) ? parts_sum(rows->run[i])
								       : 0);
	for (unsigned i = 0; i < MEM_COUNT(parts) + unsplit; i++) {
		const char *name = i < MEM_COUNT(parts) ? parts[i].name : "not split";
		char class[24];
		snprintf(class, sizeof class, "stack s%u", i);
		svg_rect(s, x, 8, 12, 12, class, NULL);
		svg_text(s, x + 17, 18, "tick", name);
		x += 34 + 6.6 * (double)strlen(name);
	}
}

bool report_plot_failover(struct writer *w, const struct report *r)
{
	struct rows rows;
	struct svg s;
	struct axis x;
	if (!rows_select(&rows, r, has_failover))
		return false;
	double height = rows_height(&rows, ROW), y = TOP;
	axis_linear(&x, 0, hi_of(&rows, r, failover_length), LEFT, RIGHT);
	figure_begin(w, "plot-failover");
	svg_begin(&s, w, "svg-failover", PLOT_WIDTH, TOP + height + 50, "Failover",
		  "Time from the loss of a leader to service by another, split into detection, "
		  "election, first commit and backlog.");
	failover_legend(&s, &rows);
	svg_axis_x(&s, &x, TOP + height + 4, TOP, "ms since the leader was lost");
	for (unsigned i = 0; i < rows.count; i++) {
		rows_label(&s, &rows, i, ROW, &y);
		draw_failover(&s, rows.run[i], &x, y);
	}
	svg_end(&s);
	figure_caption(w);
	html_raw(w, "From the loss of a leader (crash, cut, pause or proof) until another has "
		    "made a block final, and its backlog is drained: of several failovers in a "
		    "run the longest, of several seeds the median of each part. A part that is "
		    "not drawn was not measured.");
	rows_say_left_out(w, &rows);
	figure_end(w);
	return true;
}

/* ---- recovery ---------------------------------------------------------------------------- */

static const struct {
	enum report_field field;
	const char *name;
	enum svg_shape shape;
	const char *class;
} recoveries[] = {
	{F_PROGRESS, "healed \u2192 final block", SVG_CIRCLE, "r0 mark point"},
	{F_PROOF_TO_PBFT, "proof \u2192 pbft block", SVG_DIAMOND, "r1 mark point"},
	{F_CONVICTION_TO_FAST, "conviction \u2192 fast block", SVG_TRIANGLE, "r2 mark point"},
};

static double slowest_recovery(const struct report *r, const struct report_run *run)
{
	double hi = NAN;
	(void)r;
	for (unsigned i = 0; i < MEM_COUNT(recoveries); i++)
		hi = fmax(hi, run->value[recoveries[i].field]);
	return hi;
}

static bool has_recovery(const struct report *r, const struct report_run *run)
{
	return run->faulty && slowest_recovery(r, run) > 0;
}

static double least_recovery(const struct rows *rows)
{
	double lo = INFINITY;
	for (unsigned i = 0; i < rows->count; i++)
		for (unsigned k = 0; k < MEM_COUNT(recoveries); k++)
			if (rows->run[i]->value[recoveries[k].field] > 0)
				lo = fmin(lo, rows->run[i]->value[recoveries[k].field]);
	return lo;
}

static void recovery_legend(struct svg *s)
{
	double x = LEFT + 6;
	for (unsigned k = 0; k < MEM_COUNT(recoveries); k++) {
		svg_mark(s, recoveries[k].shape, x, 14, recoveries[k].class, NULL);
		svg_text(s, x + 12, 18, "tick", recoveries[k].name);
		x += 36 + 6.6 * html_length(recoveries[k].name);
	}
}

bool report_plot_recovery(struct writer *w, const struct report *r)
{
	struct rows rows;
	struct svg s;
	struct axis x;
	if (!rows_select(&rows, r, has_recovery))
		return false;
	double height = rows_height(&rows, ROW), y = TOP;
	axis_fit(&x, least_recovery(&rows), hi_of(&rows, r, slowest_recovery), LEFT, RIGHT);
	figure_begin(w, "plot-recovery");
	svg_begin(&s, w, "svg-recovery", PLOT_WIDTH, TOP + height + 50, "Recovery",
		  "Times from healing, proof and conviction to the next block of each kind.");
	recovery_legend(&s);
	svg_axis_x(&s, &x, TOP + height + 4, TOP, x.log ? "ms (logarithmic)" : "ms");
	for (unsigned i = 0; i < rows.count; i++) {
		char text[120], number[HTML_NUMBER_MAX];
		rows_label(&s, &rows, i, ROW, &y);
		svg_line(&s, LEFT, y, RIGHT, y, "grid");
		for (unsigned k = 0; k < MEM_COUNT(recoveries); k++) {
			double ms = rows.run[i]->value[recoveries[k].field];
			if (!measured(ms))
				continue;
			snprintf(text, sizeof text, "%s: %s", recoveries[k].name,
				 html_duration(number, ms));
			svg_mark(&s, recoveries[k].shape, axis_at(&x, ms), y,
				 recoveries[k].class, text);
		}
	}
	svg_end(&s);
	figure_caption(w);
	html_raw(
		w,
		"From the end of all faults to the next final block; from the first proof at a "
		"correct replica to the first final block of pbft mode; from the conviction to "
		"the first final block of fast mode, which includes probation.");
	rows_say_left_out(w, &rows);
	figure_end(w);
	return true;
}

/* ---- networks ---------------------------------------------------------------------------- */

static bool is_varied(const struct report *r, const struct report_run *run)
{
	(void)r;
	return run->varied && run->value[F_TIME_P50] > 0;
}

static double slow_block(const struct report *r, const struct report_run *run)
{
	(void)r;
	return fmax(run->value[F_TIME_P50], run->value[F_TIME_P99]);
}

bool report_plot_networks(struct writer *w, const struct report *r)
{
	struct rows rows;
	struct svg s;
	struct axis x;
	double lo = INFINITY;
	if (!rows_select(&rows, r, is_varied))
		return false;
	for (unsigned i = 0; i < rows.count; i++)
		lo = fmin(lo, rows.run[i]->value[F_TIME_P50]);
	double height = rows_height(&rows, ROW), y = TOP - 16;
	axis_fit(&x, lo, hi_of(&rows, r, slow_block), LEFT, RIGHT);
	figure_begin(w, "plot-networks");
	svg_begin(&s, w, "svg-networks", PLOT_WIDTH, TOP + height + 34,
		  "Consensus time in networks that lose and delay",
		  "Median and 99th percentile of the time from proposal to finality in each "
		  "network.");
	svg_axis_x(&s, &x, TOP + height - 12, TOP - 16, x.log ? "ms (logarithmic)" : "ms");
	for (unsigned i = 0; i < rows.count; i++) {
		const struct report_run *run = rows.run[i];
		char text[120], p50[HTML_NUMBER_MAX], p99[HTML_NUMBER_MAX];
		unsigned p = report_protocol(run);
		rows_label(&s, &rows, i, ROW, &y);
		svg_line(&s, axis_at(&x, run->value[F_TIME_P50]), y,
			 axis_at(&x, slow_block(r, run)), y, plot_class(p, "whisker"));
		snprintf(text, sizeof text, "p50 %s, p99 %s",
			 html_duration(p50, run->value[F_TIME_P50]),
			 html_duration(p99, run->value[F_TIME_P99]));
		svg_mark(&s, (enum svg_shape)(p % SVG_SHAPES),
			 axis_at(&x, run->value[F_TIME_P50]), y, plot_class(p, "mark point"),
			 text);
	}
	svg_end(&s);
	figure_caption(w);
	html_raw(w, "Consensus time in networks that lose and delay: marks are medians, lines "
		    "reach to "
		    "the 99th percentile. What is lost is sent again.");
	rows_say_left_out(w, &rows);
	figure_end(w);
	return true;
}
