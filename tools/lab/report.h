/* The report of runs: results of sim, live, compare and sweep in; one HTML page, CSV and JSON
 * out. Result files are hostile input: report_read() checks every type, range and length that
 * the rest relies on, so that the rest need not. Whatever a run does not have is not measured.
 */
#ifndef TOOLS_LAB_REPORT_H
#define TOOLS_LAB_REPORT_H

#include "base/json.h"
#include "tools/lab/svg.h"

#define REPORT_FILE_MAX	   (32u << 20)
#define REPORT_TOTAL_MAX   (64u << 20)
#define REPORT_RUNS_MAX	   2000
#define REPORT_NODES_MAX   64
#define REPORT_WINDOWS_MAX 600
#define REPORT_EVENTS_MAX  300
#define REPORT_MARKS_MAX   200
#define REPORT_LIST_MAX	   4096 /* members of any other array or object */
/* The scenario whose throughput is the whole of which others have a share. */
#define REPORT_BASELINE	 "baseline"
#define REPORT_NAME_MAX	 200  /* bytes of names */
#define REPORT_LABEL_MAX 1000 /* of report_name() */
#define REPORT_TEXT_MAX	 8000 /* bytes of sentences and commands */

enum report_field {
	F_RUNS,
	F_DECISIONS,
	F_TRANSACTIONS,
	F_ACKNOWLEDGED,
	F_CONFLICTS,
	F_ACCUSED_INNOCENT,
	F_TIME_P50,
	F_TIME_P95,
	F_TIME_P99,
	F_TIME_MAX,
	F_LEADER_P50,
	F_LEADER_P99,
	F_ALL_P50,
	F_ALL_P99,
	F_CLIENT_P50,
	F_CLIENT_P95,
	F_CLIENT_P99,
	F_CLIENT_MAX,
	F_MESSAGES,
	F_THEORY,
	F_LONE,
	F_LONE_THEORY,
	F_BYTES,
	F_AUTHENTICATORS,
	F_SIGNED,
	F_VERIFIED,
	F_THROUGHPUT,
	F_DECISION_RATE,
	F_AVAILABILITY,
	F_GAP,
	F_DETECTION,
	F_ELECTION,
	F_FIRST_COMMIT,
	F_BACKLOG,
	F_FAILOVER_TOTAL,
	F_FAILOVER,
	F_CHANGE_MESSAGES,
	F_CHANGE_THEORY,
	F_PROGRESS,
	F_PROOF_TO_PBFT,
	F_CONVICTION_TO_FAST,
	F_WALL,
	F_VIRTUAL,
	REPORT_FIELDS
};
/* Where a field stands in a result: "safety.conflicts". It is its name in the CSV too. */
const char *report_field_path(enum report_field f);

struct report_run {
	const struct json *v; /* lent by the report */
	const char *source;   /* the file's name without its folder */
	const char *scenario; /* "" if it has none; as the next */
	const char *protocol;
	const char *fault;  /* what was varied, else the scenario */
	const char *repeat; /* "" */
	unsigned nodes;	    /* 0: not said */
	uint64_t seed;
	bool has_seed, live, has_passed, passed;
	bool fault_free;  /* the steady state, nobody malicious, no fault */
	bool faulty;	  /* neither that, nor a lone block, nor another without faults */
	bool varied;	  /* its network was, by sweep */
	bool beyond;	  /* a control that is expected to fork */
	bool equivocated; /* a leader did */
	int malicious, convicted; /* -1: not said; of several seeds together */
	/* NaN: not measured. lo and hi are the spread over seeds. */
	double value[REPORT_FIELDS], lo[REPORT_FIELDS], hi[REPORT_FIELDS];
};

struct report {
	struct report_run *run;
	size_t count, cap;
	struct json **parsed; /* what the runs lend from */
	size_t parsed_count;
	char **source;
	size_t source_count;
	char **label; /* of faults that are put together of several members */
	size_t label_count;
	size_t bytes; /* read so far */
};

/* Adds the runs of a file, JSON or JSONL. On an error m names the file, and r is as before but
 * for memory. */
int report_read(struct report *r, const char *path, struct errmsg *m);
/* The same of text; name stands for the file. */
int report_read_text(struct report *r, const char *name, struct slice text, struct errmsg *m);
/* Without faults first, then by fault, size, protocol and seed. */
void report_sort(struct report *r);
void report_free(struct report *r);

bool measured(double v);
/* The field or NaN of a member object, as value[] holds them: "safety.conflicts". */
double report_number(const struct json *v, const char *path);
const char *report_string(const struct json *v, const char *key); /* "" if there is none */
/* To the first final block of another leader; NaN if none was lost. */
double report_failover(const struct report_run *run);
/* The run's colour and shape on every plot: 0..3 the known protocols, 4 any other. */
unsigned report_protocol(const struct report_run *run);
#define REPORT_PROTOCOLS 5
const char *report_protocol_name(unsigned protocol);
/* "hybrid, n=4, crash-leader"; the same run in the same words everywhere. */
void report_name(char *out, size_t size, const struct report_run *run);
/* Throughput as a share of that of REPORT_BASELINE, same protocol and size, or NaN. The
 * steady state is no measure of it: its load is another one. */
double report_throughput_share(const struct report *r, const struct report_run *run);
/* Of measured over theory, minus one; NaN if either is missing. */
double report_deviation(const struct report_run *run);

/* The page and what stands beside it; the caller frees the writers. */
void report_html(struct writer *w, const struct report *r, const char *made);
void report_csv(struct writer *w, const struct report *r);
void report_json(struct writer *w, const struct report *r);

/* Parts of the page. Of what was not measured they write nothing, and the bool is false. */
void report_summary(struct writer *w, const struct report *r);
void report_table_runs(struct writer *w, const struct report *r);
void report_table_time(struct writer *w, const struct report *r);
void report_table_messages(struct writer *w, const struct report *r);
void report_table_lone(struct writer *w, const struct report *r);
void report_table_changes(struct writer *w, const struct report *r);
void report_table_phases(struct writer *w, const struct report *r);
void report_table_failover(struct writer *w, const struct report *r);
void report_table_recovery(struct writer *w, const struct report *r);
bool report_plot_time(struct writer *w, const struct report *r);
bool report_plot_messages(struct writer *w, const struct report *r);
bool report_plot_cost(struct writer *w, const struct report *r);
bool report_plot_throughput(struct writer *w, const struct report *r);
bool report_plot_availability(struct writer *w, const struct report *r);
bool report_plot_failover(struct writer *w, const struct report *r);
bool report_plot_recovery(struct writer *w, const struct report *r);
bool report_plot_networks(struct writer *w, const struct report *r);
bool report_transitions(struct writer *w, const struct report *r);
bool report_forks(struct writer *w, const struct report *r);
bool report_space_times(struct writer *w, const struct report *r);

#endif
