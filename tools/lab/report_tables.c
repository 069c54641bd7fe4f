/* Tables of the report: one row a run, columns of which something was measured. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/report.h"

/* Longer tables open on demand; paper shows them all. */
#define ROWS_SHOWN 30

static void table_begin(struct writer *w, size_t rows, const char *caption)
{
	if (rows > ROWS_SHOWN)
		html_fmt(w, "<details><summary>%s (%zu rows)</summary>\n", caption, rows);
	html_fmt(
		w,
		"<div class=\"scroll\"><table class=\"sortable\"><caption>%s</caption>\n<thead>"
		"<tr><th scope=\"col\">fault or scenario</th><th scope=\"col\">protocol</th>"
		"<th scope=\"col\" class=\"n\">n</th>",
		caption);
}

static void table_column(struct writer *w, const char *name, const char *unit)
{
	html_fmt(w, "<th scope=\"col\" class=\"n\">%s", name);
	if (*unit)
		html_fmt(w, "<span class=\"unit\">%s</span>", unit);
	html_raw(w, "</th>");
}

static void table_body(struct writer *w)
{
	html_raw(w, "</tr></thead>\n<tbody>\n");
}

static void table_end(struct writer *w, size_t rows)
{
	html_raw(w, "</tbody></table></div>\n");
	if (rows > ROWS_SHOWN)
		html_raw(w, "</details>\n");
}

static void cell(struct writer *w, double v, const char *sign)
{
	char text[HTML_NUMBER_MAX];
	if (measured(v))
		html_fmt(w, "<td class=\"n\" data-v=\"%.6g\">%s%s", v, sign,
			 html_number(text, fabs(v)));
	else
		html_raw(w, "<td class=\"n none\" title=\"not measured\">\u2013");
}

static void cell_plain(struct writer *w, double v)
{
	cell(w, v, "");
	html_raw(w, "</td>");
}

static void cell_of(struct writer *w, const struct report_run *run, enum report_field f,
		    double scale)
{
	char text[HTML_NUMBER_MAX];
	cell(w, run->value[f] * scale, "");
	if (measured(run->value[f]) && run->hi[f] > run->lo[f]) {
		html_fmt(w, "<span class=\"spread\">%s", html_number(text, run->lo[f] * scale));
		html_fmt(w, "\u2013%s</span>", html_number(text, run->hi[f] * scale));
	}
	html_raw(w, "</td>");
}

static void row_begin(struct writer *w, const struct report_run *run)
{
	html_raw(w, "<tr><th scope=\"row\">");
	html_short(w, *run->fault ? run->fault : "unknown", 40);
	html_fmt(w, "</th><td class=\"protocol\"><span class=\"key k%u\"></span>",
		 report_protocol(run));
	html_short(w, *run->protocol ? run->protocol : "unknown", 20);
	html_fmt(w, run->live ? " live</td>" : "</td>");
	cell_plain(w, run->nodes ? run->nodes : NAN);
}

static void row_end(struct writer *w)
{
	html_raw(w, "</tr>\n");
}

/* ---- fields ------------------------------------------------------------------------------ */

struct column {
	enum report_field field;
	const char *name, *unit;
};

static bool has_any(const struct report_run *run, const struct column *columns, unsigned count)
{
	for (unsigned c = 0; c < count; c++)
		if (measured(run->value[columns[c].field]))
			return true;
	return false;
}

static void table(struct writer *w, const struct report *r, const char *caption,
		  const struct column *columns, unsigned count)
{
	unsigned used = 0, rows = 0;
	for (size_t i = 0; i < r->count; i++) {
		rows += has_any(&r->run[i], columns, count);
		for (unsigned c = 0; c < count; c++)
			if (has_any(&r->run[i], &columns[c], 1))
				used |= 1u << c;
	}
	if (!rows)
		return;
	table_begin(w, rows, caption);
	for (unsigned c = 0; c < count; c++)
		if (used >> c & 1)
			table_column(w, columns[c].name, columns[c].unit);
	table_body(w);
	for (size_t i = 0; i < r->count; i++) {
		if (!has_any(&r->run[i], columns, count))
			continue;
		row_begin(w, &r->run[i]);
		for (unsigned c = 0; c < count; c++)
			if (used >> c & 1)
				cell_of(w, &r->run[i], columns[c].field, 1);
		row_end(w);
	}
	table_end(w, rows);
}

void report_table_time(struct writer *w, const struct report *r)
{
	static const struct column columns[] = {
		{F_TIME_P50, "first p50", "ms"},    {F_TIME_P95, "p95", "ms"},
		{F_TIME_P99, "p99", "ms"},	    {F_TIME_MAX, "max", "ms"},
		{F_LEADER_P50, "leader p50", "ms"}, {F_ALL_P50, "all p50", "ms"},
		{F_CLIENT_P50, "client p50", "ms"}, {F_CLIENT_P99, "client p99", "ms"},
	};
	table(w, r,
	      "Consensus time: until final at the first replica, at the leader, at all correct "
	      "ones; and what clients waited",
	      columns, MEM_COUNT(columns));
}

void report_table_failover(struct writer *w, const struct report *r)
{
	static const struct column columns[] = {
		{F_DETECTION, "detection", "ms"},	{F_ELECTION, "election", "ms"},
		{F_FIRST_COMMIT, "first commit", "ms"}, {F_BACKLOG, "backlog", "ms"},
		{F_FAILOVER_TOTAL, "total", "ms"},	{F_FAILOVER, "failover", "ms"},
	};
	table(w, r, "Failover by part", columns, MEM_COUNT(columns));
}

/* Of runs that have the first of the columns: theory alone is no row. */
static void counted_table(struct writer *w, const struct report *r, const char *caption,
			  const struct column *columns, unsigned count)
{
	struct report some = *r;
	some.run = mem_array(r->count + 1, sizeof *r->run);
	some.count = 0;
	for (size_t i = 0; i < r->count; i++)
		if (has_any(&r->run[i], columns, 1))
			some.run[some.count++] = r->run[i];
	table(w, &some, caption, columns, count);
	mem_free(some.run);
}

void report_table_lone(struct writer *w, const struct report *r)
{
	static const struct column columns[] = {{F_LONE, "messages", ""},
						{F_LONE_THEORY, "theory", ""}};
	counted_table(w, r, "Messages of a block that is proposed alone", columns,
		      MEM_COUNT(columns));
}

void report_table_changes(struct writer *w, const struct report *r)
{
	static const struct column columns[] = {{F_CHANGE_MESSAGES, "messages", ""},
						{F_CHANGE_THEORY, "theory", ""}};
	counted_table(
		w, r,
		"Messages of a change of leader, and what theory says of one that succeeds "
		"at once",
		columns, MEM_COUNT(columns));
}

void report_table_recovery(struct writer *w, const struct report *r)
{
	static const struct column columns[] = {
		{F_PROGRESS, "healed to final block", "ms"},
		{F_PROOF_TO_PBFT, "proof to pbft block", "ms"},
		{F_CONVICTION_TO_FAST, "conviction to fast block", "ms"},
	};
	table(w, r, "Recovery", columns, MEM_COUNT(columns));
}

/* ---- every run --------------------------------------------------------------------------- */

static void safety_cell(struct writer *w, const struct report_run *run)
{
	double conflicts = run->value[F_CONFLICTS];
	char text[HTML_NUMBER_MAX];
	if (!measured(conflicts))
		html_raw(w, "<td class=\"none\">\u2013</td>");
	else if (conflicts > 0)
		html_fmt(w, "<td class=\"bad\">\u2717 forked (%s)</td>",
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
		if (!json_read_bool(json_at(list, i), "holds", &holds))
			held += holds;
	}
	if (n)
		html_fmt(w, "<td%s>%s %zu of %zu</td>", held == n ? "" : " class=\"bad\"",
			 held == n ? "\u2713" : "\u2717", held, n);
	else if (run->has_passed)
		html_raw(w, run->passed ? "<td>\u2713</td>" : "<td class=\"bad\">\u2717</td>");
	else
		html_raw(w, "<td class=\"none\">\u2013</td>");
}

static void seed_cell(struct writer *w, const struct report_run *run)
{
	if (run->live || !run->has_seed)
		html_raw(w, "<td class=\"none\">\u2013</td>");
	else if (run->value[F_RUNS] > 1)
		html_fmt(w, "<td>%llu and %.0f more</td>", (unsigned long long)run->seed,
			 run->value[F_RUNS] - 1);
	else
		html_fmt(w, "<td>%llu</td>", (unsigned long long)run->seed);
}

/* Of several seeds both are those of all together. */
static void convicted_cell(struct writer *w, const struct report_run *run)
{
	if (run->convicted < 0)
		cell_plain(w, NAN);
	else if (run->malicious > 0)
		html_fmt(w, "<td class=\"n\" data-v=\"%d\">%d of %d</td>", run->convicted,
			 run->convicted, run->malicious);
	else
		cell_plain(w, run->convicted);
}

void report_table_runs(struct writer *w, const struct report *r)
{
	table_begin(w, r->count,
		    "Every run; small figures are the least and greatest of its seeds");
	html_raw(w, "<th scope=\"col\">seed</th><th scope=\"col\">safety</th>"
		    "<th scope=\"col\">expected</th>");
	table_column(w, "convicted", "of liars");
	table_column(w, "decisions", "");
	table_column(w, "transactions", "/s");
	table_column(w, "available", "%");
	table_column(w, "longest gap", "ms");
	table_body(w);
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *run = &r->run[i];
		row_begin(w, run);
		seed_cell(w, run);
		safety_cell(w, run);
		expected_cell(w, run);
		convicted_cell(w, run);
		cell_of(w, run, F_DECISIONS, 1);
		cell_of(w, run, F_THROUGHPUT, 1);
		cell_of(w, run, F_AVAILABILITY, 100);
		cell_of(w, run, F_GAP, 1);
		row_end(w);
	}
	table_end(w, r->count);
}

/* ---- messages ---------------------------------------------------------------------------- */

static bool has_traffic(const struct report_run *run)
{
	return measured(run->value[F_MESSAGES]) || measured(run->value[F_BYTES]);
}

void report_table_messages(struct writer *w, const struct report *r)
{
	size_t rows = 0;
	for (size_t i = 0; i < r->count; i++)
		rows += has_traffic(&r->run[i]);
	if (!rows)
		return;
	table_begin(w, rows,
		    "Per decision: messages of the normal case and what theory says of the "
		    "fault-free "
		    "one; bytes and authenticators of everything");
	table_column(w, "messages", "");
	table_column(w, "theory", "");
	table_column(w, "deviation", "%");
	table_column(w, "bytes", "");
	table_column(w, "authenticators", "");
	table_column(w, "signed", "");
	table_column(w, "verified", "");
	table_body(w);
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *run = &r->run[i];
		if (!has_traffic(run))
			continue;
		double off = 100 * report_deviation(run);
		row_begin(w, run);
		cell_of(w, run, F_MESSAGES, 1);
		cell_of(w, run, F_THEORY, 1);
		cell(w, off, off > 0 ? "+" : off < 0 ? "\u2212" : "");
		html_raw(w, "</td>");
		cell_of(w, run, F_BYTES, 1);
		cell_of(w, run, F_AUTHENTICATORS, 1);
		cell_of(w, run, F_SIGNED, 1);
		cell_of(w, run, F_VERIFIED, 1);
		row_end(w);
	}
	table_end(w, rows);
}

void report_table_phases(struct writer *w, const struct report *r)
{
	static const struct {
		const char *key, *name;
	} phases[] = {{"normal", "normal"},
		      {"certificate", "certificate"},
		      {"leader_change", "leader change"},
		      {"heartbeat", "heartbeat"},
		      {"checkpoint", "checkpoint"},
		      {"escalation", "escalation"},
		      {"repair", "repair"},
		      {"client", "client"}};
	size_t rows = 0;
	for (size_t i = 0; i < r->count; i++)
		rows += json_len(json_get(r->run[i].v, "by_phase")) > 0;
	if (!rows)
		return;
	table_begin(w, rows, "Messages per decision by what they are for");
	for (unsigned k = 0; k < MEM_COUNT(phases); k++)
		table_column(w, phases[k].name, "");
	table_body(w);
	for (size_t i = 0; i < r->count; i++) {
		const struct json *by = json_get(r->run[i].v, "by_phase");
		if (!json_len(by))
			continue;
		row_begin(w, &r->run[i]);
		for (unsigned k = 0; k < MEM_COUNT(phases); k++)
			cell_plain(w, report_number(by, phases[k].key));
		row_end(w);
	}
	table_end(w, rows);
}
