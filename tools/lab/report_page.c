/* The page round the plots: style, contents, tables, commands. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/report.h"
#include "tools/lab/report_style.h"

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
		char text[HTML_NUMBER_MAX], name[REPORT_LABEL_MAX];
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
		if (i == 5 && r->source_count > 6) {
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
	report_table_runs(w, r);
	section(w, at++);
	unless(w, report_plot_time(w, r), "no run has consensus times.");
	report_plot_networks(w, r);
	report_table_time(w, r);
	section(w, at++);
	unless(w, report_plot_messages(w, r), "no run counted messages.");
	report_plot_cost(w, r);
	report_table_messages(w, r);
	report_table_lone(w, r);
	report_table_changes(w, r);
	report_table_phases(w, r);
	section(w, at++);
	unless(w, report_plot_throughput(w, r),
	       "this needs runs under faults, and of the scenario baseline for the same "
	       "protocol and size.");
	section(w, at++);
	unless(w, report_plot_availability(w, r), "no run under a fault has windows of time.");
	section(w, at++);
	unless(w, report_plot_failover(w, r), "no leader was lost in these runs.");
	report_table_failover(w, r);
	section(w, at++);
	unless(w, report_plot_recovery(w, r),
	       "nothing had to be recovered from in these runs.");
	report_table_recovery(w, r);
	section(w, at++);
	if (!report_forks(w, r))
		html_raw(w, "<p>No run forked.</p>\n");
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
