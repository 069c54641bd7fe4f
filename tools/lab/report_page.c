/* The page round the plots: style, contents, tables, commands. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/report.h"
#include "tools/lab/report_style.h"

/* ---- tables ------------------------------------------------------------------------------ */

static void cell_number(struct writer *w, const struct report_run *run, enum report_field f,
			double scale)
{
	char text[HTML_NUMBER_MAX];
	double v = run->value[f] * scale;
	if (!measured(v)) {
		html_raw(w, "<td class=\"n none\" title=\"not measured\">\u2013</td>");
		return;
	}
	html_fmt(w, "<td class=\"n\" data-v=\"%.6g\">%s", v, html_number(text, v));
	if (measured(run->lo[f]) && run->hi[f] > run->lo[f]) {
		html_fmt(w, "<span class=\"spread\">%s", html_number(text, run->lo[f] * scale));
		html_fmt(w, "\u2013%s</span>", html_number(text, run->hi[f] * scale));
	}
	html_raw(w, "</td>");
}

static void row_head(struct writer *w, const struct report_run *run)
{
	html_raw(w, "<tr><th scope=\"row\">");
	html_short(w, *run->fault ? run->fault : "unknown", 60);
	html_fmt(w, "</th><td class=\"protocol\"><span class=\"key k%u\"></span>",
		 report_protocol(run));
	html_short(w, *run->protocol ? run->protocol : "unknown", 30);
	html_fmt(w, "</td><td class=\"n\">%u</td>", run->nodes);
}

struct column {
	enum report_field field;
	const char *name, *unit;
	double scale;
};

/* Only runs and columns of which something was measured. */
static bool table(struct writer *w, const struct report *r, const char *caption,
		  const struct column *columns, unsigned count)
{
	unsigned used = 0;
	for (size_t i = 0; i < r->count; i++)
		for (unsigned c = 0; c < count; c++)
			if (measured(r->run[i].value[columns[c].field]))
				used |= 1u << c;
	if (!used)
		return false;
	html_fmt(
		w,
		"<div class=\"scroll\"><table class=\"sortable\"><caption>%s</caption>\n<thead>"
		"<tr><th scope=\"col\">fault or scenario</th><th scope=\"col\">protocol</th>"
		"<th scope=\"col\" class=\"n\">n</th>",
		caption);
	for (unsigned c = 0; c < count; c++)
		if (used >> c & 1)
			html_fmt(w, "<th scope=\"col\" class=\"n\">%s%s%s%s</th>",
				 columns[c].name,
				 *columns[c].unit ? "<span class=\"unit\">" : "",
				 columns[c].unit, *columns[c].unit ? "</span>" : "");
	html_raw(w, "</tr></thead>\n<tbody>\n");
	for (size_t i = 0; i < r->count; i++) {
		bool any = false;
		for (unsigned c = 0; c < count; c++)
			any |= measured(r->run[i].value[columns[c].field]);
		if (!any)
			continue;
		row_head(w, &r->run[i]);
		for (unsigned c = 0; c < count; c++)
			if (used >> c & 1)
				cell_number(w, &r->run[i], columns[c].field, columns[c].scale);
		html_raw(w, "</tr>\n");
	}
	html_raw(w, "</tbody></table></div>\n");
	return true;
}

static void safety_cell(struct writer *w, const struct report_run *run)
{
	double conflicts = run->value[F_CONFLICTS];
	char text[HTML_NUMBER_MAX];
	if (!measured(conflicts))
		html_raw(w, "<td class=\"none\">\u2013</td>");
	else if (conflicts > 0)
		html_fmt(w, "<td class=\"bad\">\u2717 %s forked</td>",
			 html_number(text, conflicts));
	else
		html_raw(w, "<td>\u2713 safe</td>");
}

static void expected_cell(struct writer *w, const struct report_run *run)
{
	const struct json *list = json_get(run->v, "expectations");
	size_t n = json_len(list), held = 0;
	for (size_t i = 0; i < n; i++) {
		bool holds = false;
		json_read_bool(json_at(list, i), "holds", &holds);
		held += holds;
	}
	if (n)
		html_fmt(w, "<td class=\"%s\">%s %zu of %zu</td>", held == n ? "" : "bad",
			 held == n ? "\u2713" : "\u2717", held, n);
	else if (run->has_passed)
		html_raw(w, run->passed ? "<td>\u2713</td>" : "<td class=\"bad\">\u2717</td>");
	else
		html_raw(w, "<td class=\"none\">\u2013</td>");
}

/* What each run did, in one row. */
static void overview(struct writer *w, const struct report *r)
{
	html_raw(w,
		 "<div class=\"scroll\"><table class=\"sortable\"><caption>Every run. Small "
		 "figures: least and greatest of several seeds, beside the median."
		 "</caption>\n<thead><tr><th scope=\"col\">fault or scenario</th>"
		 "<th scope=\"col\">protocol</th><th scope=\"col\" class=\"n\">n</th>"
		 "<th scope=\"col\">run</th><th scope=\"col\">safety</th>"
		 "<th scope=\"col\">expected</th><th scope=\"col\" class=\"n\">convicted</th>"
		 "<th scope=\"col\" class=\"n\">decisions</th>"
		 "<th scope=\"col\" class=\"n\">throughput<span class=\"unit\">/s</span></th>"
		 "<th scope=\"col\" class=\"n\">available<span class=\"unit\">%</span></th>"
		 "<th scope=\"col\" class=\"n\">longest gap<span class=\"unit\">ms</span></th>"
		 "</tr></thead>\n<tbody>\n");
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *run = &r->run[i];
		row_head(w, run);
		if (run->live)
			html_raw(w, "<td>live</td>");
		else if (run->has_seed && run->value[F_RUNS] > 1)
			html_fmt(w, "<td>%.0f seeds</td>", run->value[F_RUNS]);
		else if (run->has_seed)
			html_fmt(w, "<td>seed %llu</td>", (unsigned long long)run->seed);
		else
			html_raw(w, "<td>sim</td>");
		safety_cell(w, run);
		expected_cell(w, run);
		html_fmt(w, "<td class=\"n\">%u</td>", run->convicted);
		cell_number(w, run, F_DECISIONS, 1);
		cell_number(w, run, F_THROUGHPUT, 1);
		cell_number(w, run, F_AVAILABILITY, 100);
		cell_number(w, run, F_GAP, 1);
		html_raw(w, "</tr>\n");
	}
	html_raw(w, "</tbody></table></div>\n");
}

static const struct column time_columns[] = {
	{F_TIME_P50, "p50", "ms", 1},	       {F_TIME_P95, "p95", "ms", 1},
	{F_TIME_P99, "p99", "ms", 1},	       {F_TIME_MAX, "max", "ms", 1},
	{F_CLIENT_P50, "client p50", "ms", 1}, {F_CLIENT_P99, "client p99", "ms", 1},
};
static const struct column failover_columns[] = {
	{F_DETECTION, "detection", "ms", 1},	   {F_ELECTION, "election", "ms", 1},
	{F_FIRST_COMMIT, "first commit", "ms", 1}, {F_BACKLOG, "backlog", "ms", 1},
	{F_FAILOVER_TOTAL, "total", "ms", 1},	   {F_FAILOVER, "failover", "ms", 1},
};
static const struct column recovery_columns[] = {
	{F_PROGRESS, "healed to final block", "ms", 1},
	{F_PROOF_TO_PBFT, "proof to pbft block", "ms", 1},
	{F_CONVICTION_TO_FAST, "conviction to fast block", "ms", 1},
};

static void message_table(struct writer *w, const struct report *r)
{
	char text[HTML_NUMBER_MAX];
	html_raw(w,
		 "<div class=\"scroll\"><table class=\"sortable\"><caption>Per decision: "
		 "messages of the normal case and what theory says; bytes and authenticators "
		 "of everything.</caption>\n<thead><tr><th scope=\"col\">fault or scenario</th>"
		 "<th scope=\"col\">protocol</th><th scope=\"col\" class=\"n\">n</th>"
		 "<th scope=\"col\" class=\"n\">messages</th>"
		 "<th scope=\"col\" class=\"n\">theory</th>"
		 "<th scope=\"col\" class=\"n\">deviation<span class=\"unit\">%</span></th>"
		 "<th scope=\"col\" class=\"n\">bytes</th>"
		 "<th scope=\"col\" class=\"n\">authenticators</th>"
		 "<th scope=\"col\" class=\"n\">signed</th>"
		 "<th scope=\"col\" class=\"n\">verified</th></tr></thead>\n<tbody>\n");
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *run = &r->run[i];
		if (!measured(run->value[F_MESSAGES]) && !measured(run->value[F_BYTES]))
			continue;
		row_head(w, run);
		cell_number(w, run, F_MESSAGES, 1);
		cell_number(w, run, F_THEORY, 1);
		double off = 100 * report_deviation(run);
		if (measured(off))
			html_fmt(w, "<td class=\"n\" data-v=\"%.6g\">%s%s</td>", off,
				 off > 0   ? "+"
				 : off < 0 ? "\u2212"
					   : "",
				 html_number(text, fabs(off)));
		else
			html_raw(w, "<td class=\"n none\">\u2013</td>");
		cell_number(w, run, F_BYTES, 1);
		cell_number(w, run, F_AUTHENTICATORS, 1);
		cell_number(w, run, F_SIGNED, 1);
		cell_number(w, run, F_VERIFIED, 1);
		html_raw(w, "</tr>\n");
	}
	html_raw(w, "</tbody></table></div>\n");
}

static bool phase_table(struct writer *w, const struct report *r)
{
	static const char *const phases[] = {"normal",	  "certificate", "leader_change",
					     "heartbeat", "checkpoint",	 "escalation",
					     "repair",	  "client"};
	bool any = false;
	for (size_t i = 0; i < r->count; i++)
		any |= json_len(json_get(r->run[i].v, "by_phase")) > 0;
	if (!any)
		return false;
	html_raw(w, "<div class=\"scroll\"><table class=\"sortable\"><caption>Messages per "
		    "decision "
		    "by what they are for.</caption>\n<thead><tr><th scope=\"col\">fault or "
		    "scenario</th><th scope=\"col\">protocol</th>"
		    "<th scope=\"col\" class=\"n\">n</th>");
	for (unsigned k = 0; k < MEM_COUNT(phases); k++)
		html_fmt(w, "<th scope=\"col\" class=\"n\">%s</th>",
			 strcmp(phases[k], "leader_change") == 0 ? "leader change" : phases[k]);
	html_raw(w, "</tr></thead>\n<tbody>\n");
	for (size_t i = 0; i < r->count; i++) {
		const struct json *by = json_get(r->run[i].v, "by_phase");
		char text[HTML_NUMBER_MAX];
		if (!json_len(by))
			continue;
		row_head(w, &r->run[i]);
		for (unsigned k = 0; k < MEM_COUNT(phases); k++) {
			double v = report_number(by, phases[k]);
			if (measured(v))
				html_fmt(w, "<td class=\"n\" data-v=\"%.6g\">%s</td>", v,
					 html_number(text, v));
			else
				html_raw(w, "<td class=\"n none\">\u2013</td>");
		}
		html_raw(w, "</tr>\n");
	}
	html_raw(w, "</tbody></table></div>\n");
	return true;
}

/* ---- commands ---------------------------------------------------------------------------- */

static void commands(struct writer *w, const struct report *r)
{
	size_t missing = 0;
	html_raw(w,
		 "<p>A simulated run is decided by its seed: the same command gives the same "
		 "figures. Live runs differ from one another.</p>\n<pre class=\"commands\">");
	for (size_t i = 0; i < r->count; i++) {
		bool again = false;
		if (!*r->run[i].repeat) {
			missing++;
			continue;
		}
		for (size_t k = 0; k < i && !again; k++)
			again = strcmp(r->run[k].repeat, r->run[i].repeat) == 0;
		if (again)
			continue;
		html_text(w, r->run[i].repeat);
		html_raw(w, "\n");
	}
	html_raw(w, "</pre>\n");
	if (missing)
		html_fmt(w, "<p>%zu of %zu results do not record their command.</p>\n", missing,
			 r->count);
}

static void calibration(struct writer *w, const struct report *r)
{
	bool any = false;
	for (size_t i = 0; i < r->count; i++) {
		const struct json *c = json_get(r->run[i].v, "calibration");
		char text[HTML_NUMBER_MAX], name[2 * REPORT_NAME_MAX + 40];
		if (!json_len(c))
			continue;
		if (!any)
			html_raw(w, "<h3>Machine of the live runs</h3>\n<ul>\n");
		any = true;
		report_name(name, sizeof name, &r->run[i]);
		html_raw(w, "<li>");
		html_text(w, name);
		html_raw(w, ": ");
		bool first = true;
		for (const char *key = json_key_next(c, NULL); key;
		     key = json_key_next(c, key)) {
			double v = NAN;
			json_as_real(json_get(c, key), &v);
			html_raw(w, first ? "" : ", ");
			html_text(w, key);
			html_fmt(w, " %s", html_number(text, v));
			first = false;
		}
		html_raw(w, "</li>\n");
	}
	if (any)
		html_raw(w, "</ul>\n");
}

/* ---- page -------------------------------------------------------------------------------- */

static const struct {
	const char *id, *title;
} sections[] = {
	{"summary", "Summary"},
	{"runs", "Runs"},
	{"time", "Consensus time"},
	{"messages", "Messages"},
	{"throughput", "Throughput under fault and attack"},
	{"availability", "Availability over time"},
	{"failover", "Failover"},
	{"recovery", "Recovery"},
	{"forks", "Forks"},
	{"states", "State transitions of the hybrid"},
	{"space-time", "Space-time diagrams"},
	{"repeat", "Commands that repeat it"},
	{"terms", "How to read this"},
};

static void head(struct writer *w, const struct report *r, const char *made)
{
	html_raw(w,
		 "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
		 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
		 "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
		 "<title>Ostrakon: what the lab measured</title>\n<style>\n");
	html_raw(w, report_style);
	html_raw(w, "</style>\n</head>\n<body>\n<header>\n<h1>What the lab measured</h1>\n"
		    "<p class=\"meta\">");
	html_text(w, made);
	html_raw(w, "; from ");
	for (size_t i = 0; i < r->source_count; i++) {
		if (i == 12) {
			html_fmt(w, " and %zu more files", r->source_count - i);
			break;
		}
		html_raw(w, i ? ", " : "");
		html_short(w, r->source[i], 60);
	}
	html_raw(w, "</p>\n</header>\n<nav aria-label=\"Contents\"><ol>\n");
	for (unsigned i = 0; i < MEM_COUNT(sections); i++)
		html_fmt(w, "<li><a href=\"#%s\">%s</a></li>\n", sections[i].id,
			 sections[i].title);
	html_raw(w, "</ol></nav>\n<main>\n");
}

static void section(struct writer *w, unsigned i)
{
	html_fmt(w, "%s<section id=\"%s\">\n<h2>%s</h2>\n", i ? "</section>\n" : "",
		 sections[i].id, sections[i].title);
}

static void unless(struct writer *w, bool drawn, const char *why)
{
	if (!drawn)
		html_fmt(w, "<p class=\"none\">Not measured: %s</p>\n", why);
}

static const char terms[] =
	"<dl><dt>Decision</dt><dd>A block that is final: no later failure may undo it.</dd>\n"
	"<dt>Consensus time</dt><dd>From the first sight of a block to its first finality."
	"</dd>\n<dt>Messages of the normal case</dt><dd>Those that order blocks and make them "
	"final, counted at the transport, one for each receiver; heartbeats, elections, "
	"checkpoints and client traffic are counted apart.</dd>\n"
	"<dt>Authenticators</dt><dd>Signatures made and checked by all replicas. Linear "
	"messages "
	"still mean quadratic authenticators where a certificate carries a quorum of "
	"signatures."
	"</dd>\n<dt>Availability</dt><dd>Share of windows of time with a final block.</dd>\n"
	"<dt>Failover</dt><dd>From the loss of a leader to the first final block of another."
	"</dd>\n<dt>Forked, conflict</dt><dd>Correct replicas hold different blocks of one "
	"height "
	"for final.</dd>\n<dt>Virtual time</dt><dd>The simulator\u2019s clock: it measures "
	"delays "
	"of messages and disks as the scenario sets them, and no computing.</dd></dl>\n";

static void body(struct writer *w, const struct report *r)
{
	unsigned at = 0;
	section(w, at++);
	report_summary(w, r);
	section(w, at++);
	overview(w, r);
	section(w, at++);
	unless(w, report_plot_time(w, r), "no run has consensus times.");
	table(w, r, "Consensus time, and what clients waited", time_columns,
	      MEM_COUNT(time_columns));
	section(w, at++);
	unless(w, report_plot_messages(w, r), "no run counted messages.");
	message_table(w, r);
	phase_table(w, r);
	section(w, at++);
	unless(w, report_plot_throughput(w, r),
	       "this needs runs under a fault, and one without of the same protocol and size.");
	section(w, at++);
	unless(w, report_plot_availability(w, r), "no run under a fault has windows of time.");
	section(w, at++);
	unless(w, report_plot_failover(w, r), "no leader was lost in these runs.");
	table(w, r, "Failover by part", failover_columns, MEM_COUNT(failover_columns));
	section(w, at++);
	unless(w, report_plot_recovery(w, r),
	       "nothing had to be recovered from in these runs.");
	table(w, r, "Recovery", recovery_columns, MEM_COUNT(recovery_columns));
	section(w, at++);
	if (!report_forks(w, r))
		html_raw(w, "<p>No fork was seen in these runs.</p>\n");
	section(w, at++);
	unless(w, report_transitions(w, r), "no run of the hybrid counted its transitions.");
	section(w, at++);
	unless(w, report_space_times(w, r), "no run recorded a window of messages.");
	section(w, at++);
	commands(w, r);
	calibration(w, r);
	section(w, at++);
	html_raw(w, terms);
	html_raw(w, "</section>\n");
	invariant(at == MEM_COUNT(sections));
}

void report_html(struct writer *w, const struct report *r, const char *made)
{
	head(w, r, made);
	body(w, r);
	html_raw(w, "</main>\n<script>\n");
	html_raw(w, report_script);
	html_raw(w, "</script>\n</body>\n</html>\n");
}
