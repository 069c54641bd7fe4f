/* Result files into runs. Everything that the report draws is checked here. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/report.h"

#define NUMBER_MAX 1e15

static const char *const paths[REPORT_FIELDS] = {
	[F_RUNS] = "runs",
	[F_DECISIONS] = "decisions",
	[F_TRANSACTIONS] = "transactions",
	[F_ACKNOWLEDGED] = "acknowledged",
	[F_CONFLICTS] = "safety.conflicts",
	[F_ACCUSED_INNOCENT] = "accused_innocent",
	[F_TIME_P50] = "consensus_time_ms.p50",
	[F_TIME_P95] = "consensus_time_ms.p95",
	[F_TIME_P99] = "consensus_time_ms.p99",
	[F_TIME_MAX] = "consensus_time_ms.max",
	[F_LEADER_P50] = "consensus_time_leader_ms.p50",
	[F_LEADER_P99] = "consensus_time_leader_ms.p99",
	[F_ALL_P50] = "consensus_time_all_ms.p50",
	[F_ALL_P99] = "consensus_time_all_ms.p99",
	[F_CLIENT_P50] = "client_ms.p50",
	[F_CLIENT_P95] = "client_ms.p95",
	[F_CLIENT_P99] = "client_ms.p99",
	[F_CLIENT_MAX] = "client_ms.max",
	[F_MESSAGES] = "messages_per_decision",
	[F_THEORY] = "theory_messages_per_decision",
	[F_LONE] = "lone.messages_per_decision",
	[F_LONE_THEORY] = "lone.theory_messages_per_decision",
	[F_BYTES] = "bytes_per_decision",
	[F_AUTHENTICATORS] = "authenticators_per_decision",
	[F_SIGNED] = "authenticators.signed",
	[F_VERIFIED] = "authenticators.verified",
	[F_THROUGHPUT] = "throughput_per_s",
	[F_DECISION_RATE] = "decisions_per_s",
	[F_AVAILABILITY] = "availability",
	[F_GAP] = "liveness.longest_gap_ms",
	[F_DETECTION] = "failover.detection_ms",
	[F_ELECTION] = "failover.election_ms",
	[F_FIRST_COMMIT] = "failover.first_commit_ms",
	[F_BACKLOG] = "failover.backlog_ms",
	[F_FAILOVER_TOTAL] = "failover.total_ms",
	[F_FAILOVER] = "failover_ms",
	[F_CHANGE_MESSAGES] = "failover.messages",
	[F_CHANGE_THEORY] = "theory.leader_change",
	[F_PROGRESS] = "progress_after_healing_ms",
	[F_PROOF_TO_PBFT] = "proof_to_pbft_commit_ms",
	[F_CONVICTION_TO_FAST] = "conviction_to_fast_ms",
	[F_WALL] = "wall_s",
	[F_VIRTUAL] = "virtual_s",
};

const char *report_field_path(enum report_field f)
{
	return paths[f];
}

bool measured(double v)
{
	return isfinite(v);
}

/* The member that a path with at most one dot names. */
static const struct json *at_path(const struct json *v, const char *path)
{
	char outer[REPORT_NAME_MAX];
	const char *dot = strchr(path, '.');
	if (!dot)
		return json_get(v, path);
	snprintf(outer, sizeof outer, "%.*s", (int)(dot - path), path);
	return json_get(json_get(v, outer), dot + 1);
}

static double number_of(const struct json *v)
{
	double out;
	if (!v || json_is_string(v) || json_as_real(v, &out) ||
	    !(out >= 0 && out <= NUMBER_MAX))
		return NAN;
	return out;
}

double report_number(const struct json *v, const char *path)
{
	return number_of(at_path(v, path));
}

const char *report_string(const struct json *v, const char *key)
{
	const char *text;
	return json_read_string(v, key, &text) ? "" : text;
}

/* ---- checks ------------------------------------------------------------------------------ */

/* Where we are, for messages. */
struct place {
	const char *file;
	size_t line; /* of JSONL; 0 */
	size_t run;  /* from 1 */
	struct errmsg *m;
};

static int refuse(const struct place *p, const char *field, const char *why)
{
	if (p->line)
		return err_set(p->m, ERR_SYNTAX, "%s:%zu: %s: %s", p->file, p->line, field,
			       why);
	return err_set(p->m, ERR_SYNTAX, "%s: run %zu: %s: %s", p->file, p->run, field, why);
}

static bool absent(const struct json *v)
{
	return !v || json_is_null(v);
}

static int check_number(const struct place *p, const char *field, const struct json *v)
{
	if (absent(v) || measured(number_of(v)))
		return ERR_NONE;
	return refuse(p, field, "a number from 0 to 1e15, or null, is needed");
}

static int check_text(const struct place *p, const char *field, const struct json *v,
		      size_t most)
{
	const char *text;
	if (absent(v))
		return ERR_NONE;
	if (json_as_string(v, &text))
		return refuse(p, field, "text is needed");
	return strlen(text) > most ? refuse(p, field, "too long") : ERR_NONE;
}

static int check_list(const struct place *p, const char *field, const struct json *v,
		      size_t most)
{
	if (absent(v))
		return ERR_NONE;
	if (!json_is_array(v))
		return refuse(p, field, "a list is needed");
	return json_len(v) > most ? refuse(p, field, "too many") : ERR_NONE;
}

static int check_index(const struct place *p, const char *field, const struct json *v,
		       unsigned below)
{
	double n = number_of(v);
	if (measured(n) && n < below && n == floor(n))
		return ERR_NONE;
	return refuse(p, field, "the number of a node is needed");
}

/* An object of numbers by name. */
static int check_counts(const struct place *p, const char *field, const struct json *v)
{
	if (absent(v))
		return ERR_NONE;
	if (!json_is_object(v))
		return refuse(p, field, "an object is needed");
	if (json_len(v) > REPORT_LIST_MAX)
		return refuse(p, field, "too many members");
	for (const char *key = json_key_next(v, NULL); key; key = json_key_next(v, key)) {
		if (strlen(key) > REPORT_NAME_MAX)
			return refuse(p, field, "too long a name");
		int err = check_number(p, field, json_get(v, key));
		if (err)
			return err;
	}
	return ERR_NONE;
}

static int check_windows(const struct place *p, const struct json *v)
{
	int err = check_list(p, "windows", v, REPORT_WINDOWS_MAX);
	double last = -1;
	for (size_t i = 0; !err && v && i < json_len(v); i++) {
		const struct json *at = json_at(v, i);
		double ms = report_number(at, "at_ms");
		if (!measured(ms) || ms <= last || !measured(report_number(at, "decisions")))
			err = refuse(p, "windows", "at_ms, rising, and decisions are needed");
		last = ms;
	}
	return err;
}

static int check_event(const struct place *p, const struct json *e, unsigned nodes)
{
	double sent = report_number(e, "sent_ms"), received = report_number(e, "received_ms");
	if (!measured(sent))
		return refuse(p, "space_time.events", "sent_ms is needed");
	int err = check_number(p, "space_time.events.received_ms", json_get(e, "received_ms"));
	if (!err && measured(received) && received < sent)
		err = refuse(p, "space_time.events", "received before it was sent");
	if (!err)
		err = check_index(p, "space_time.events.from", json_get(e, "from"), nodes);
	if (!err)
		err = check_index(p, "space_time.events.to", json_get(e, "to"), nodes);
	if (!err)
		err = check_text(p, "space_time.events.type", json_get(e, "type"),
				 REPORT_NAME_MAX);
	return err ? err : check_number(p, "space_time.events.height", json_get(e, "height"));
}

static int check_space_time(const struct place *p, const struct json *v)
{
	if (absent(v))
		return ERR_NONE;
	double from = report_number(v, "from_ms"), to = report_number(v, "to_ms"),
	       nodes = report_number(v, "nodes");
	if (!(to >= from) || !(nodes >= 1) || nodes > REPORT_NODES_MAX || nodes != floor(nodes))
		return refuse(p, "space_time",
			      "from_ms, to_ms not before it, and nodes (1 to "
			      "64) are needed");
	const struct json *events = json_get(v, "events"), *marks = json_get(v, "marks");
	int err = check_text(p, "space_time.why", json_get(v, "why"), REPORT_TEXT_MAX);
	if (!err)
		err = check_list(p, "space_time.events", events, REPORT_EVENTS_MAX);
	for (size_t i = 0; !err && i < json_len(events); i++)
		err = check_event(p, json_at(events, i), (unsigned)nodes);
	if (!err)
		err = check_list(p, "space_time.marks", marks, REPORT_MARKS_MAX);
	for (size_t i = 0; !err && i < json_len(marks); i++) {
		const struct json *mark = json_at(marks, i);
		if (!measured(report_number(mark, "at_ms")))
			return refuse(p, "space_time.marks", "at_ms is needed");
		if (!absent(json_get(mark, "node")))
			err = check_index(p, "space_time.marks.node", json_get(mark, "node"),
					  (unsigned)nodes);
		if (!err)
			err = check_text(p, "space_time.marks.text", json_get(mark, "text"),
					 REPORT_TEXT_MAX);
	}
	return err;
}

/* A list of objects whose members are numbers, truths or short texts. */
static int check_rows(const struct place *p, const char *field, const struct json *v)
{
	int err = check_list(p, field, v, REPORT_LIST_MAX);
	for (size_t i = 0; !err && v && i < json_len(v); i++) {
		const struct json *row = json_at(v, i);
		if (!json_is_object(row) || json_len(row) > 32)
			return refuse(p, field, "small objects are needed");
		for (const char *key = json_key_next(row, NULL); key && !err;
		     key = json_key_next(row, key)) {
			const struct json *x = json_get(row, key);
			bool truth;
			if (json_is_string(x))
				err = check_text(p, field, x, REPORT_TEXT_MAX);
			else if (json_as_bool(x, &truth))
				err = check_number(p, field, x);
		}
	}
	return err;
}

static int check_nodes(const struct place *p, const char *field, const struct json *v)
{
	int err = check_list(p, field, v, REPORT_NODES_MAX);
	for (size_t i = 0; !err && v && i < json_len(v); i++)
		err = check_index(p, field, json_at(v, i), REPORT_NODES_MAX);
	return err;
}

static int check_fork(const struct place *p, const struct json *v)
{
	if (absent(v))
		return ERR_NONE;
	if (!json_is_object(v))
		return refuse(p, "fork", "an object is needed");
	int err = check_number(p, "fork.at_ms", json_get(v, "at_ms"));
	if (!err)
		err = check_number(p, "fork.height", json_get(v, "height"));
	if (!err)
		err = check_nodes(p, "fork.culprits", json_get(v, "culprits"));
	if (!err)
		err = check_nodes(p, "fork.proven", json_get(v, "proven"));
	if (!err)
		err = check_rows(p, "fork.certificates", json_get(v, "certificates"));
	if (!err)
		err = check_text(p, "fork.provable", json_get(v, "provable"), REPORT_TEXT_MAX);
	const struct json *hashes = json_get(v, "hashes");
	if (!err)
		err = check_list(p, "fork.hashes", hashes, 2);
	for (size_t i = 0; !err && hashes && i < json_len(hashes); i++)
		err = check_text(p, "fork.hashes", json_at(hashes, i), REPORT_NAME_MAX);
	return err;
}

static int check_run(const struct place *p, const struct json *v)
{
	static const char *const counts[] = {"by_type",	      "other_by_type", "by_phase",
					     "bytes_by_type", "transitions",   "strikes",
					     "calibration"};
	static const char *const rows[] = {"mode_changes", "evidence", "expectations"};
	int err = ERR_NONE;
	if (!json_is_object(v))
		return refuse(p, "result", "an object is needed");
	if (!json_len(v))
		return refuse(p, "result", "it is empty");
	for (unsigned f = 0; !err && f < REPORT_FIELDS; f++)
		err = check_number(p, paths[f], at_path(v, paths[f]));
	double nodes = report_number(v, "nodes");
	if (!err && !absent(json_get(v, "nodes")) &&
	    (!(nodes >= 1) || nodes > REPORT_NODES_MAX || nodes != floor(nodes)))
		err = refuse(p, "nodes", "a number from 1 to 64 is needed");
	for (unsigned i = 0; !err && i < MEM_COUNT(counts); i++)
		err = check_counts(p, counts[i], json_get(v, counts[i]));
	for (unsigned i = 0; !err && i < MEM_COUNT(rows); i++)
		err = check_rows(p, rows[i], json_get(v, rows[i]));
	if (!err)
		err = check_text(p, "scenario", json_get(v, "scenario"), REPORT_NAME_MAX);
	if (!err)
		err = check_text(p, "protocol", json_get(v, "protocol"), REPORT_NAME_MAX);
	if (!err)
		err = check_text(p, "vary.fault", at_path(v, "vary.fault"), REPORT_NAME_MAX);
	if (!err)
		err = check_list(p, "vary.delay_ms", at_path(v, "vary.delay_ms"), 2);
	if (!err)
		err = check_text(p, "repeat", json_get(v, "repeat"), REPORT_TEXT_MAX);
	if (!err)
		err = check_text(p, "violation", json_get(v, "violation"), REPORT_TEXT_MAX);
	if (!err)
		err = check_nodes(p, "malicious", json_get(v, "malicious"));
	if (!err)
		err = check_nodes(p, "convicted", json_get(v, "convicted"));
	if (!err)
		err = check_number(p, "window_ms", json_get(v, "window_ms"));
	if (!err)
		err = check_windows(p, json_get(v, "windows"));
	if (!err)
		err = check_fork(p, json_get(v, "fork"));
	if (!err)
		err = check_space_time(p, json_get(v, "space_time"));
	/* All fields are optional, but any other JSON is not a run of which nothing is known.
	 */
	if (!err && (!*report_string(v, "scenario") || !*report_string(v, "protocol")))
		err = refuse(p, "result",
			     "scenario and protocol are missing: what sim, live, compare and "
			     "sweep print with -o json is expected");
	return err;
}

/* ---- runs -------------------------------------------------------------------------------- */

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* Spread stands beside the medians: spread{"consensus_time_ms.p50": {min, max}}, or nested as
 * the field itself is. */
static void take_spread(struct report_run *run, const struct json *v, unsigned f)
{
	const struct json *spread = json_get(v, "spread");
	const struct json *own = json_get(spread, paths[f]);
	if (!own)
		own = at_path(spread, paths[f]);
	double lo = report_number(own, "min"), hi = report_number(own, "max");
	bool both = measured(lo) && measured(hi) && lo <= hi;
	run->lo[f] = both ? lo : NAN;
	run->hi[f] = both ? hi : NAN;
}

/* sweep varies the network too: "none, loss 2 %, delay 1 to 20 ms". */
static const char *fault_label(struct report *r, const struct json *vary, const char *fault)
{
	double loss = report_number(vary, "loss_percent"),
	       low = number_of(json_at(json_get(vary, "delay_ms"), 0)),
	       high = number_of(json_at(json_get(vary, "delay_ms"), 1));
	char delay[80] = "", lost[40] = "";
	if (!measured(loss) && !measured(low))
		return fault;
	if (measured(loss))
		snprintf(lost, sizeof lost, ", loss %.4g %%", loss);
	if (measured(low) && measured(high))
		snprintf(delay, sizeof delay, ", delay %.4g to %.4g ms", low, high);
	r->label = mem_realloc(r->label, (r->label_count + 1) * sizeof(char *));
	return r->label[r->label_count++] =
		       mem_printf("%s%s%s", *fault ? fault : "none", lost, delay);
}

/* A run of the scenario lone-block says so in members of the same meaning. */
static void take_lone_block(struct report_run *run, const struct json *v)
{
	if (strcmp(run->fault, "lone-block") != 0 || measured(run->value[F_LONE]))
		return;
	run->value[F_LONE] = report_number(v, "lone_messages_per_decision");
	run->value[F_LONE_THEORY] = report_number(v, "theory.lone");
	run->value[F_MESSAGES] = NAN;
	run->value[F_THEORY] = NAN;
}

static bool expects(const struct json *v, const char *what)
{
	const struct json *list = json_get(v, "expectations");
	for (size_t i = 0; i < json_len(list); i++)
		if (strcmp(report_string(json_at(list, i), "expect"), what) == 0)
			return true;
	return false;
}

static int length_of(const struct json *list)
{
	return absent(list) ? -1 : (int)json_len(list);
}

static void fill(struct report *r, struct report_run *run, const struct json *v,
		 const char *source)
{
	*run = (struct report_run){.v = v, .source = source};
	run->scenario = report_string(v, "scenario");
	run->protocol = report_string(v, "protocol");
	run->repeat = report_string(v, "repeat");
	run->fault = report_string(json_get(v, "vary"), "fault");
	if (!*run->fault)
		run->fault = run->scenario;
	const char *plain = run->fault;
	run->fault = fault_label(r, json_get(v, "vary"), run->fault);
	run->varied = run->fault != plain;
	double nodes = report_number(v, "nodes");
	run->nodes = measured(nodes) ? (unsigned)nodes : 0;
	run->has_seed = json_read_u64(v, "seed", &run->seed) == ERR_NONE;
	run->has_passed = json_read_bool(v, "passed", &run->passed) == ERR_NONE;
	if (json_read_bool(v, "live", &run->live))
		run->live = false;
	run->malicious = length_of(json_get(v, "malicious"));
	run->convicted = length_of(json_get(v, "convicted"));
	static const char *const steady[] = {"none", "steady-state"}, *const calm[] = {
									      "none",
									      "steady-state",
									      "lone-block",
									      "no-faults",
									      REPORT_BASELINE};
	run->fault_free =
		run->malicious <= 0 && is_one_of(run->fault, steady, MEM_COUNT(steady));
	run->faulty = !run->varied && !is_one_of(plain, calm, MEM_COUNT(calm));
	run->beyond = expects(v, "conflict");
	run->equivocated = report_number(v, "strikes.equivocate") > 0;
	for (unsigned f = 0; f < REPORT_FIELDS; f++) {
		run->value[f] = report_number(v, paths[f]);
		take_spread(run, v, f);
	}
	take_lone_block(run, v);
}

static int add_run(struct report *r, const struct place *p, const struct json *v,
		   const char *source)
{
	int err = check_run(p, v);
	if (err)
		return err;
	if (r->count >= REPORT_RUNS_MAX)
		return err_set(p->m, ERR_LIMIT, "%s: more than %d runs", p->file,
			       REPORT_RUNS_MAX);
	if (r->count == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 64;
		r->run = mem_realloc(r->run, r->cap * sizeof *r->run);
	}
	fill(r, &r->run[r->count], v, source);
	r->count++;
	return ERR_NONE;
}

static void keep(struct report *r, struct json *v)
{
	r->parsed = mem_realloc(r->parsed, (r->parsed_count + 1) * sizeof(struct json *));
	r->parsed[r->parsed_count++] = v;
}

static int add_value(struct report *r, struct place *p, struct json *v, const char *source)
{
	int err = ERR_NONE;
	keep(r, v);
	if (!json_is_array(v))
		return add_run(r, p, v, source);
	for (size_t i = 0; !err && i < json_len(v); i++) {
		p->run++;
		err = add_run(r, p, json_at(v, i), source);
	}
	return err;
}

static struct slice next_line(struct slice *rest)
{
	const uint8_t *end = rest->len ? memchr(rest->ptr, '\n', rest->len) : NULL;
	size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
	struct slice line = slice_of(rest->ptr, len);
	*rest = slice_of(rest->ptr + len + (end != NULL), rest->len - len - (end != NULL));
	return line;
}

static bool blank(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!strchr(" \t\r", s.ptr[i]))
			return false;
	return true;
}

/* More lines than one, of which the first is a value by itself. */
static bool is_jsonl(struct slice text)
{
	struct json *v = NULL;
	struct slice line = next_line(&text);
	bool yes = !blank(text) && text.len && json_parse(&v, line, NULL) == ERR_NONE;
	json_free(v);
	return yes;
}

static int read_lines(struct report *r, struct place *p, struct slice text, const char *source)
{
	int err = ERR_NONE;
	while (!err && text.len) {
		struct slice line = next_line(&text);
		struct json *v;
		struct errmsg inner = {""};
		p->line++;
		p->run = p->line;
		if (blank(line))
			continue;
		err = json_parse(&v, line, &inner);
		if (err)
			return err_set(p->m, err, "%s:%zu: %s", p->file, p->line, inner.text);
		err = add_value(r, p, v, source);
	}
	return err;
}

int report_read_text(struct report *r, const char *name, struct slice text, struct errmsg *m)
{
	const char *slash = strrchr(name, '/');
	struct place p = {.file = name, .m = m};
	struct errmsg inner = {""};
	struct json *v;
	size_t before = r->count;
	if (text.len > REPORT_FILE_MAX || r->bytes + text.len > REPORT_TOTAL_MAX)
		return err_set(m, ERR_LIMIT, "%s: larger than %u MiB, or %u MiB together", name,
			       REPORT_FILE_MAX >> 20, REPORT_TOTAL_MAX >> 20);
	r->bytes += text.len;
	char *source = mem_strdup(slash ? slash + 1 : name);
	r->source = mem_realloc(r->source, (r->source_count + 1) * sizeof(char *));
	r->source[r->source_count++] = source;
	int err;
	if (blank(text)) {
		err = err_set(m, ERR_SYNTAX, "%s: it is empty", name);
	} else if (is_jsonl(text)) {
		err = read_lines(r, &p, text, source);
	} else {
		err = json_parse(&v, text, &inner);
		if (err)
			err_set(m, err, "%s: %s", name, inner.text);
		else if (!json_is_array(v))
			p.run = 1;
		if (!err)
			err = add_value(r, &p, v, source);
	}
	if (!err && r->count == before)
		err = err_set(m, ERR_SYNTAX, "%s: there are no runs in it", name);
	if (err)
		r->count = before;
	return err;
}

int report_read(struct report *r, const char *path, struct errmsg *m)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	if (!f)
		return err_set(m, ERR_IO, "cannot open %s: %s", path, strerror(errno));
	struct writer w;
	char chunk[16384];
	size_t n;
	int err = ERR_NONE;
	writer_init(&w, REPORT_FILE_MAX);
	while (!w.err && (n = fread(chunk, 1, sizeof chunk, f)) > 0)
		writer_raw(&w, chunk, n);
	if (ferror(f))
		err = err_set(m, ERR_IO, "cannot read %s: %s", path, strerror(errno));
	else if (w.err)
		err = err_set(m, ERR_LIMIT, "%s is larger than %u MiB", path,
			      REPORT_FILE_MAX >> 20);
	if (f != stdin)
		fclose(f);
	if (!err)
		err = report_read_text(r, f == stdin ? "standard input" : path,
				       writer_slice(&w), m);
	writer_free(&w);
	return err;
}

static int in_order(const void *a, const void *b)
{
	const struct report_run *x = a, *y = b;
	int order = (int)y->fault_free - (int)x->fault_free;
	if (!order)
		order = (int)x->faulty - (int)y->faulty;
	if (!order)
		order = strcmp(x->fault, y->fault);
	if (!order)
		order = (int)x->nodes - (int)y->nodes;
	if (!order)
		order = x->live - y->live;
	if (!order)
		order = (int)report_protocol(x) - (int)report_protocol(y);
	if (!order)
		order = strcmp(x->protocol, y->protocol);
	if (!order)
		order = x->seed < y->seed ? -1 : x->seed > y->seed;
	return order ? order : strcmp(x->source, y->source);
}

void report_sort(struct report *r)
{
	if (r->count)
		qsort(r->run, r->count, sizeof r->run[0], in_order);
}

void report_free(struct report *r)
{
	for (size_t i = 0; i < r->parsed_count; i++)
		json_free(r->parsed[i]);
	for (size_t i = 0; i < r->source_count; i++)
		mem_free(r->source[i]);
	for (size_t i = 0; i < r->label_count; i++)
		mem_free(r->label[i]);
	mem_free(r->label);
	mem_free(r->parsed);
	mem_free(r->source);
	mem_free(r->run);
	*r = (struct report){0};
}

/* ---- derived ----------------------------------------------------------------------------- */

double report_failover(const struct report_run *run)
{
	double first = run->value[F_FAILOVER];
	return measured(first) ? first : run->value[F_FAILOVER_TOTAL];
}

static const char *const protocols[REPORT_PROTOCOLS] = {"multipaxos", "raft", "pbft", "hybrid",
							"other"};

const char *report_protocol_name(unsigned protocol)
{
	return protocols[protocol];
}

unsigned report_protocol(const struct report_run *run)
{
	unsigned i = 0;
	while (i < REPORT_PROTOCOLS - 1 && strcmp(run->protocol, protocols[i]) != 0)
		i++;
	return i;
}

void report_name(char *out, size_t size, const struct report_run *run)
{
	char nodes[24] = "";
	if (run->nodes)
		snprintf(nodes, sizeof nodes, "n=%u, ", run->nodes);
	snprintf(out, size, "%s, %s%s%s", *run->protocol ? run->protocol : "protocol unknown",
		 nodes, *run->fault ? run->fault : "scenario unknown",
		 run->live ? ", live" : "");
}

double report_throughput_share(const struct report *r, const struct report_run *run)
{
	double own = run->value[F_THROUGHPUT];
	for (size_t i = 0; measured(own) && i < r->count; i++) {
		const struct report_run *base = &r->run[i];
		double peak = base->value[F_THROUGHPUT];
		if (strcmp(base->fault, REPORT_BASELINE) == 0 && base->nodes == run->nodes &&
		    base->live == run->live && strcmp(base->protocol, run->protocol) == 0 &&
		    measured(peak) && peak > 0)
			return own / peak;
	}
	return NAN;
}

double report_deviation(const struct report_run *run)
{
	double theory = run->value[F_THEORY], own = run->value[F_MESSAGES];
	return measured(own) && measured(theory) && theory > 0 ? own / theory - 1 : NAN;
}
