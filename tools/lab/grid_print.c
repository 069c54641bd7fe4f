/* Rows of compare and sweep for people, and as CSV. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tools/lab/grid.h"

/* a.b.c; NULL: not there. */
static const struct json *at(const struct json *v, const char *path)
{
	char name[64];
	while (v && *path) {
		size_t len = strcspn(path, ".");
		snprintf(name, sizeof name, "%.*s", (int)len, path);
		v = json_is_array(v) ? json_at(v, strtoul(name, NULL, 10)) : json_get(v, name);
		path += len + (path[len] == '.');
	}
	return v;
}

static const char *text_of(const struct json *row, const char *path, const char *none)
{
	const char *s = none;
	json_as_string(at(row, path), &s);
	return s;
}

static bool truth(const struct json *row, const char *path)
{
	bool b = false;
	json_as_bool(at(row, path), &b);
	return b;
}

/* ---- CSV --------------------------------------------------------------------------------- */

static const char *const columns[] = {
	"vary.protocol",
	"vary.nodes",
	"vary.fault",
	"vary.seeds",
	"vary.loss_percent",
	"vary.delay_ms.0",
	"vary.delay_ms.1",
	"vary.clients",
	"scenario",
	"live",
	"decisions",
	"messages_per_decision",
	"theory_messages_per_decision",
	"lone.messages_per_decision",
	"lone.theory_messages_per_decision",
	"bytes_per_decision",
	"authenticators.signed",
	"authenticators.verified",
	"consensus_time_ms.p50",
	"consensus_time_ms.p95",
	"consensus_time_ms.p99",
	"consensus_time_ms.max",
	"client_ms.p50",
	"client_ms.p99",
	"throughput_per_s",
	"decisions_per_s",
	"availability",
	"liveness.longest_gap_ms",
	"failover.detection_ms",
	"failover.election_ms",
	"failover.first_commit_ms",
	"failover.backlog_ms",
	"failover.total_ms",
	"failover.messages",
	"theory.leader_change",
	"safety.conflicts",
	"fork.height",
	"accused_innocent",
	"passed",
};

static void csv_value(const struct json *v)
{
	const char *s;
	double d;
	bool b;
	if (json_as_string(v, &s) == ERR_NONE)
		printf("%s", s); /* names: no commas, no quotes */
	else if (json_as_real(v, &d) == ERR_NONE)
		printf("%.10g", d);
	else if (json_as_bool(v, &b) == ERR_NONE)
		printf("%s", b ? "true" : "false");
}

static void print_csv(const struct json *rows)
{
	for (size_t c = 0; c < MEM_COUNT(columns); c++) {
		const char *name = columns[c];
		printf("%s%s", c ? "," : "", strncmp(name, "vary.", 5) == 0 ? name + 5 : name);
	}
	printf("\n");
	for (size_t i = 0; i < json_len(rows); i++)
		for (size_t c = 0; c < MEM_COUNT(columns); c++) {
			csv_value(at(json_at(rows, i), columns[c]));
			printf("%s", c + 1 < MEM_COUNT(columns) ? "," : "\n");
		}
}

/* ---- tables ------------------------------------------------------------------------------ */

/* A blank and the number, or a dash. */
static void cell(const struct json *row, const char *path, int width, int digits)
{
	double v;
	if (json_as_real(at(row, path), &v) == ERR_NONE)
		printf(" %*.*f", width, digits, v);
	else
		printf(" %*s", width, "-");
}

static void print_who(const struct json *row)
{
	double low, high;
	printf("%-10s", text_of(row, "vary.protocol", "?"));
	cell(row, "vary.nodes", 3, 0);
	if (at(row, "vary.loss_percent")) {
		cell(row, "vary.loss_percent", 4, 1);
		printf("%%");
	}
	if (json_as_real(at(row, "vary.delay_ms.0"), &low) == ERR_NONE &&
	    json_as_real(at(row, "vary.delay_ms.1"), &high) == ERR_NONE)
		printf(" %5.1f..%-6.1f", low, high);
	if (at(row, "vary.clients"))
		cell(row, "vary.clients", 7, 0);
}

static void print_head(const struct json *row, const char *rest)
{
	printf("%-10s %3s%s%s%s %s\n", "protocol", "n",
	       at(row, "vary.loss_percent") ? "  loss" : "",
	       at(row, "vary.delay_ms") ? "   delay ms   " : "",
	       at(row, "vary.clients") ? " clients" : "", rest);
}

/* What it costs. */
static void print_cost(const struct json *row)
{
	print_who(row);
	cell(row, "messages_per_decision", 8, 2);
	cell(row, "theory_messages_per_decision", 7, 0);
	cell(row, "lone.messages_per_decision", 7, 1);
	cell(row, "lone.theory_messages_per_decision", 6, 0);
	cell(row, "consensus_time_ms.p50", 7, 2);
	cell(row, "consensus_time_ms.p95", 7, 2);
	cell(row, "consensus_time_ms.p99", 7, 2);
	cell(row, "consensus_time_ms.max", 8, 2);
	cell(row, "throughput_per_s", 7, 0);
	cell(row, "bytes_per_decision", 8, 0);
	cell(row, "authenticators.signed", 6, 1);
	cell(row, "authenticators.verified", 8, 1);
	printf(" %s\n", truth(row, "passed") ? "yes" : "NO");
}

/* Of those who were malicious in any of the runs. */
static const char *convicted(const struct json *row)
{
	size_t guilty = json_len(at(row, "convicted")), liars = json_len(at(row, "malicious"));
	return !liars ? "-" : !guilty ? "none" : guilty == liars ? "all" : "some";
}

/* What it goes through. */
static void print_course(const struct json *row)
{
	print_who(row);
	cell(row, "failover.detection_ms", 9, 1);
	cell(row, "failover.election_ms", 8, 1);
	cell(row, "failover.first_commit_ms", 7, 1);
	cell(row, "failover.backlog_ms", 8, 1);
	cell(row, "failover.total_ms", 8, 1);
	cell(row, "failover.messages", 6, 0);
	cell(row, "theory.leader_change", 6, 0);
	cell(row, "availability", 6, 3);
	cell(row, "throughput_per_s", 7, 0);
	cell(row, "messages_per_decision", 8, 2);
	cell(row, "safety.conflicts", 5, 0);
	printf(" %9s", convicted(row));
	printf(" %s\n", truth(row, "passed") ? "yes" : "NO");
}

static void print_forks(const struct json *rows, const char *fault)
{
	for (size_t i = 0; i < json_len(rows); i++) {
		const struct json *row = json_at(rows, i), *fork = json_get(row, "fork");
		const char *a = "", *b = "";
		double height = 0, ms = 0, nodes = 0;
		if (!json_is_object(fork) || strcmp(text_of(row, "vary.fault", ""), fault) != 0)
			continue;
		json_as_real(json_get(fork, "height"), &height);
		json_as_real(json_get(fork, "at_ms"), &ms);
		json_as_string(json_at(json_get(fork, "hashes"), 0), &a);
		json_as_string(json_at(json_get(fork, "hashes"), 1), &b);
		json_as_real(at(row, "vary.nodes"), &nodes);
		printf("  %s n=%.0f forked at height %.0f, %.3f s: %.16s against %.16s\n",
		       text_of(row, "vary.protocol", "?"), nodes, height, ms / 1000, a, b);
	}
}

/* Nobody lied and no leader was lost: what it costs is of interest, else what it goes through.
 */
static bool is_harmless(const struct json *rows, const char *fault)
{
	double ms;
	for (size_t i = 0; i < json_len(rows); i++) {
		const struct json *row = json_at(rows, i);
		if (strcmp(text_of(row, "vary.fault", ""), fault) != 0)
			continue;
		if (json_len(at(row, "malicious")) ||
		    json_as_real(at(row, "failover_ms"), &ms) == ERR_NONE)
			return false;
	}
	return true;
}

static void print_fault(const struct json *rows, size_t first)
{
	const char *fault = text_of(json_at(rows, first), "vary.fault", "");
	bool none = is_harmless(rows, fault);
	printf("%s%s\n", first ? "\n" : "",
	       strcmp(fault, "none") == 0
		       ? "nothing is wrong (messages a decision: pipelined, theory; of a lone "
			 "block, "
			 "theory)"
		       : fault);
	print_head(json_at(rows, first),
		   none ? "messages  theory    lone theory     p50     p95     p99   max ms    "
			  "tx/s    bytes signed verified ok"
			: "detection election  commit  backlog total ms change theory avail.   "
			  " tx/s "
			  "messages forks convicted ok");
	for (size_t i = first; i < json_len(rows); i++) {
		const struct json *row = json_at(rows, i);
		if (strcmp(text_of(row, "vary.fault", ""), fault) != 0)
			continue;
		if (none)
			print_cost(row);
		else
			print_course(row);
	}
	print_forks(rows, fault);
}

/* A table for each fault. */
static void print_tables(const struct json *rows)
{
	for (size_t i = 0; i < json_len(rows); i++) {
		const char *fault = text_of(json_at(rows, i), "vary.fault", "");
		bool seen = false;
		for (size_t k = 0; k < i; k++)
			seen |= strcmp(text_of(json_at(rows, k), "vary.fault", ""), fault) == 0;
		if (!seen)
			print_fault(rows, i);
	}
	for (size_t i = 0; i < json_len(rows); i++) {
		const struct json *row = json_at(rows, i);
		if (!truth(row, "passed"))
			printf("failed: %s\n", text_of(row, "repeat", "?"));
	}
}

void grid_print(const struct json *rows, enum grid_format format)
{
	if (format == GRID_CSV)
		print_csv(rows);
	else
		print_tables(rows);
}
