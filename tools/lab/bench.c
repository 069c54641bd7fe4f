/* How fast the simulator is: `ostrakon-lab sim bench`. See docs/lab.md. */
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/lab/calibrate.h"
#include "tools/lab/lab.h"

#define SLICES	      5 /* runs, at least */
#define SLICES_MAX    500
#define ROWS_MAX      64
#define SECONDS_MAX   3600
#define WARM_UP	      1000 /* decisions */
#define SLICE_MIN     200
#define SLICE_MAX     10000
#define CLIENTS	      16 /* twice the pipeline: there is always work */
#define KEYS	      1000
#define VALUE_BYTES   100
#define ROUND_TRIP_US 1000
#define IDLE_MAX_US   (250 * UINT64_C(1000000)) /* virtual; below the limit of a run */

struct bench {
	enum protocol protocols[4];
	unsigned protocol_count, nodes[ROWS_MAX], node_count;
	double seconds; /* a row, about */
	uint64_t seed;
	bool checked, unshared;
	enum lab_format format;
};

struct row {
	enum protocol protocol;
	unsigned nodes, slices;
	double rate[SLICES_MAX];   /* decisions a second */
	double sha256[SLICES_MAX]; /* blocks of it a second, after each run */
	uint64_t decisions, transactions, messages, events, bytes;
	double cpu_s, wall_s, load;
	double bare_events_per_s, bare_decisions_per_s;
	double real_time, real_time_idle; /* virtual seconds in one */
	char violation[SIM_TEXT_MAX];
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	interrupted = sig;
}

static double seconds_of(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_now(void)
{
	return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

/* ---- measuring --------------------------------------------------------------------------- */

static struct sim_options options_of(const struct bench *b, const struct row *r)
{
	return (struct sim_options){.nodes = r->nodes,
				    .protocol = r->protocol,
				    .seed = b->seed,
				    .clients = CLIENTS,
				    .scheme = SIG_SYMBOLIC,
				    .calm = true,
				    .keys = KEYS,
				    .value_size = VALUE_BYTES,
				    .block_txs = 1,
				    .to_leader = true,
				    .no_healing = true,
				    .unchecked = !b->checked,
				    .unshared = b->unshared};
}

/* CPU seconds that it took; negative: something is violated. */
static double timed(struct row *r, const struct sim_options *o, struct sim_result *out)
{
	double begin = cpu_now();
	sim_run(o, out);
	double took = cpu_now() - begin;
	if (out->verdict != SIM_OK) {
		memcpy(r->violation, out->text, sizeof r->violation);
		return -1;
	}
	return took > 1e-6 ? took : 1e-6;
}

static uint64_t messages_of(const struct sim_result *r)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < ENGINE_MESSAGE_TYPES; i++)
		sum += r->messages[i];
	return sum;
}

static void progress(const struct row *r, const char *what)
{
	if (isatty(2))
		fprintf(stderr, "\r%s, %u nodes: %s%*s", protocol_name(r->protocol), r->nodes,
			what, 30, "");
}

static uint32_t clamp(double v, uint32_t lo, uint32_t hi)
{
	return v < lo ? lo : v > hi ? hi : (uint32_t)v;
}

static bool measure_decisions(const struct bench *b, struct row *r, struct sim_result *res)
{
	struct sim_options o = options_of(b, r);
	char text[80];
	o.decisions = WARM_UP;
	double took = timed(r, &o, res);
	if (took < 0)
		return false;
	o.decisions = clamp((double)res->decisions / took * b->seconds / SLICES, SLICE_MIN,
			    SLICE_MAX);
	for (unsigned i = 0; i < SLICES_MAX && !interrupted; i++) {
		if (i >= SLICES && r->cpu_s >= b->seconds)
			break;
		if (r->cpu_s > 0) {
			snprintf(text, sizeof text, "%.1f of %.1f s, %.0f decisions/s",
				 r->cpu_s, b->seconds, (double)r->decisions / r->cpu_s);
			progress(r, text);
		}
		o.seed = b->seed + i;
		double wall = seconds_of(CLOCK_MONOTONIC);
		took = timed(r, &o, res);
		if (took < 0)
			return false;
		r->wall_s += seconds_of(CLOCK_MONOTONIC) - wall;
		r->cpu_s += took;
		r->sha256[r->slices] = calibrate_sha256();
		r->rate[r->slices++] = (double)res->decisions / took;
		r->decisions += res->decisions;
		r->transactions += res->transactions;
		r->messages += messages_of(res);
		r->events += res->events;
		r->bytes += res->bytes;
	}
	return r->slices > 0;
}

/* The loop of such a run without replicas, clients and random numbers. */
static bool measure_bare(const struct bench *b, struct row *r, struct sim_result *res)
{
	struct sim_options o = options_of(b, r);
	o.decisions = clamp((double)r->decisions / r->slices, SLICE_MIN, SLICE_MAX);
	o.bare = sim_bare_new();
	progress(r, "the bare event loop");
	bool good = timed(r, &o, res) >= 0;
	uint64_t events = 0, replays = 0;
	double begin = cpu_now(), took = 0;
	while (good && took < b->seconds / SLICES && !interrupted) {
		events += sim_bare_replay(o.bare);
		replays++;
		took = cpu_now() - begin;
	}
	sim_bare_free(o.bare);
	if (!good || !replays || took <= 0)
		return good;
	r->bare_events_per_s = (double)events / took;
	r->bare_decisions_per_s =
		r->bare_events_per_s * (double)r->decisions / (double)r->events;
	return true;
}

static bool measure_real_time(const struct bench *b, struct row *r, struct sim_result *res)
{
	struct sim_options o = options_of(b, r);
	o.clients = 1;
	o.delay_min_us = o.delay_max_us = ROUND_TRIP_US / 2;
	o.decisions = clamp((double)r->decisions / r->slices / 4, SLICE_MIN, SLICE_MAX);
	progress(r, "one client, 1 ms round trip");
	double took = timed(r, &o, res);
	if (took < 0)
		return false;
	r->real_time = (double)res->virtual_us / 1e6 / took;
	o.clients = 0;
	o.decisions = 0;
	o.duration_us = IDLE_MAX_US;
	progress(r, "idle");
	took = timed(r, &o, res);
	if (took < 0)
		return false;
	r->real_time_idle = (double)res->virtual_us / 1e6 / took;
	return true;
}

/* False: a violation. What was measured before an interruption is kept. */
static bool measure(const struct bench *b, struct row *r)
{
	if (getloadavg(&r->load, 1) != 1)
		r->load = 0;
	struct sim_result *res = mem_zalloc(sizeof *res);
	bool good = measure_decisions(b, r, res);
	good = good && (interrupted || measure_bare(b, r, res));
	good = good && (interrupted || measure_real_time(b, r, res));
	mem_free(res);
	if (isatty(2))
		fprintf(stderr, "\r%*s\r", 78, "");
	return good || (interrupted && !*r->violation);
}

/* ---- telling ----------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double per_decision(const struct row *r, uint64_t v)
{
	return (double)v / (double)r->decisions;
}

static void sort(struct row *r)
{
	qsort(r->rate, r->slices, sizeof r->rate[0], compare);
	qsort(r->sha256, r->slices, sizeof r->sha256[0], compare);
}

/* Sorted, both. */
static double median(const struct row *r)
{
	return r->rate[r->slices / 2];
}

static double sha256_median(const struct row *r)
{
	return r->sha256[r->slices / 2];
}

static double share_of_bare(const struct row *r)
{
	return r->bare_decisions_per_s > 0 ? median(r) / r->bare_decisions_per_s : 0;
}

static struct json *measured(double v)
{
	return v > 0 ? json_real(v) : json_null();
}

static struct json *row_json(const struct bench *b, const struct row *r)
{
	struct json *o = json_object(), *spread = json_object(), *rates = json_object();
	struct json *calibration = json_object();
	char again[160];
	double rate = median(r);
	snprintf(again, sizeof again,
		 "ostrakon-lab sim bench --protocol %s --nodes %u --seconds %g --seed %llu%s%s",
		 protocol_name(r->protocol), r->nodes, b->seconds, (unsigned long long)b->seed,
		 b->checked ? " --checked" : "", b->unshared ? " --unshared" : "");
	json_set(o, "protocol", json_string(protocol_name(r->protocol)));
	json_set(o, "nodes", json_int(r->nodes));
	json_set(o, "seed", json_u64(b->seed));
	json_set(o, "checked", json_bool(b->checked));
	json_set(o, "unshared", json_bool(b->unshared));
	json_set(o, "decisions", json_u64(r->decisions));
	json_set(o, "transactions", json_u64(r->transactions));
	json_set(o, "runs", json_int(r->slices));
	json_set(o, "value_bytes", json_int(VALUE_BYTES));
	json_set(o, "keys", json_int(KEYS));
	json_set(o, "decisions_per_s", json_real(rate));
	json_set(rates, "min", json_real(r->rate[0]));
	json_set(rates, "max", json_real(r->rate[r->slices - 1]));
	json_set(spread, "decisions_per_s", rates);
	json_set(o, "spread", spread);
	json_set(o, "us_per_decision", json_real(1e6 / rate));
	json_set(o, "messages_per_s", json_real(rate * per_decision(r, r->messages)));
	json_set(o, "events_per_s", json_real(rate * per_decision(r, r->events)));
	json_set(o, "messages_per_decision", json_real(per_decision(r, r->messages)));
	json_set(o, "events_per_decision", json_real(per_decision(r, r->events)));
	json_set(o, "bytes_per_decision", json_real(per_decision(r, r->bytes)));
	json_set(o, "bare_events_per_s", measured(r->bare_events_per_s));
	json_set(o, "bare_decisions_per_s", measured(r->bare_decisions_per_s));
	json_set(o, "share_of_bare", measured(share_of_bare(r)));
	json_set(o, "real_time_1ms", measured(r->real_time));
	json_set(o, "real_time_idle", measured(r->real_time_idle));
	json_set(calibration, "sha256_blocks_per_s", json_real(sha256_median(r)));
	json_set(calibration, "load", json_real(r->load));
	json_set(o, "calibration", calibration);
	json_set(o, "sha256_blocks_in_a_decision", json_real(sha256_median(r) / rate));
	json_set(o, "cpu_s", json_real(r->cpu_s));
	json_set(o, "wall_s", json_real(r->wall_s));
	json_set(o, "repeat", json_string(again));
	return o;
}

static void print_head(void)
{
	printf("%-11s %5s %12s %12s %13s %8s %10s %10s %10s %6s\n", "protocol", "nodes",
	       "decisions/s", "messages/s", "bare events/s", "share", "real time", "idle",
	       "SHA-256/s", "cost");
}

/* "-": an interrupt came before that was measured. */
static const char *cell(char out[32], double v, int decimals, const char *unit)
{
	if (v > 0)
		snprintf(out, 32, "%.*f%s", decimals, v, unit);
	else
		snprintf(out, 32, "-");
	return out;
}

static void print_row(const struct row *r)
{
	char bare[32], share[32], real[32], idle[32];
	printf("%-11s %5u %12.0f %12.0f %13s %8s %10s %10s %10.0f %6.0f\n",
	       protocol_name(r->protocol), r->nodes, median(r),
	       median(r) * per_decision(r, r->messages),
	       cell(bare, r->bare_events_per_s, 0, ""),
	       cell(share, 100 * share_of_bare(r), 2, "%"), cell(real, r->real_time, 0, "x"),
	       cell(idle, r->real_time_idle, 0, "x"), sha256_median(r),
	       sha256_median(r) / median(r));
	fflush(stdout);
}

/* ---- the verb ---------------------------------------------------------------------------- */

static int usage(FILE *to)
{
	fprintf(to,
		"usage: ostrakon-lab sim bench [--protocol P[,P]] [--nodes A[,B]] [--seconds "
		"T]\n"
		"                              [--seed S] [--checked] [--unshared] [-o "
		"table|json|jsonl]\n"
		"\n"
		"How many decisions a second one core simulates: symbolic signatures, no "
		"faults,\n"
		"in each block one transaction that writes %d bytes to one of %d keys, "
		"decoded\n"
		"and executed by every replica's ledger. T is in seconds for each protocol "
		"and\n"
		"size (default 5), in %d runs or more, of which the median is told. Time is "
		"CPU time.\n"
		"Default: hybrid and pbft, 4, 7 and 16 nodes.\n"
		"\n"
		"  bare events/s  the event loop alone: the same events, the same packets\n"
		"  share          of the decisions that the bare loop would carry\n"
		"  real time      virtual seconds in one, 1 ms round trip, one client\n"
		"  idle           the same without clients\n"
		"  SHA-256/s      this core's blocks of 64 bytes in a second, measured after "
		"each "
		"run:\n"
		"                 how fast the machine is at the moment\n"
		"  cost           of a decision, in such blocks\n"
		"  --checked      with the simulator's checkers, which decode every message "
		"and\n"
		"                 check every certificate again; else it looks at equal "
		"blocks\n"
		"                 and state roots only. Replicas check everything in any "
		"case.\n"
		"  --unshared     all replicas are in this process, hash the same bytes and "
		"store "
		"the\n"
		"                 same records: what one has just hashed or stored the others "
		"compare\n"
		"                 byte for byte, and have in common. With this each hashes and "
		"keeps all\n"
		"                 of it for itself. Results are the same.\n",
		VALUE_BYTES, KEYS, SLICES);
	return to == stdout ? LAB_EXIT_OK : LAB_EXIT_USAGE;
}

static bool parse_protocols(struct bench *b, char *text)
{
	b->protocol_count = 0;
	for (char *save, *name = strtok_r(text, ",", &save); name;
	     name = strtok_r(NULL, ",", &save)) {
		if (b->protocol_count == MEM_COUNT(b->protocols) ||
		    !protocol_by_name(&b->protocols[b->protocol_count], name)) {
			return lab_refuse("--protocol is of hybrid, pbft, raft, multipaxos",
					  name);
		}
		b->protocol_count++;
	}
	return b->protocol_count > 0;
}

static bool parse_nodes(struct bench *b, char *text)
{
	b->node_count = 0;
	for (char *save, *word = strtok_r(text, ",", &save); word;
	     word = strtok_r(NULL, ",", &save)) {
		char *end;
		unsigned long v = strtoul(word, &end, 10);
		if (b->node_count == ROWS_MAX / 4 || *end || v < 1 || v > VALIDATORS_MAX) {
			fprintf(stderr,
				"ostrakon-lab: --nodes is numbers from 1 to %d, "
				"at most %d of them\n",
				VALIDATORS_MAX, ROWS_MAX / 4);
			return false;
		}
		b->nodes[b->node_count++] = (unsigned)v;
	}
	return b->node_count > 0;
}

static bool parse_format(enum lab_format *out, const char *text)
{
	static const char *const names[] = {
		[LAB_TABLE] = "table", [LAB_JSON] = "json", [LAB_JSONL] = "jsonl"};
	for (unsigned i = 0; i < MEM_COUNT(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*out = (enum lab_format)i;
			return true;
		}
	return lab_refuse("-o is table, json or jsonl", text);
}

static bool parse_seconds(double *out, const char *text)
{
	char *end;
	*out = strtod(text, &end);
	if (end != text && !*end && *out > 0 && *out <= SECONDS_MAX)
		return true;
	fprintf(stderr, "ostrakon-lab: --seconds is above 0, and at most %d\n", SECONDS_MAX);
	return false;
}

/* Exit code, or -1: go on. */
static int parse(struct bench *b, int argc, char **argv)
{
	static const struct option known[] = {
		{"protocol", 1, 0, 'p'}, {"nodes", 1, 0, 'n'},	 {"seconds", 1, 0, 't'},
		{"seed", 1, 0, 's'},	 {"checked", 0, 0, 'c'}, {"unshared", 0, 0, 'u'},
		{"output", 1, 0, 'o'},	 {"help", 0, 0, 'h'},	 {0, 0, 0, 0}};
	optind = 1;
	for (int opt; (opt = getopt_long(argc, argv, "o:h", known, NULL)) != -1;) {
		bool good = true;
		char *end = "";
		switch (opt) {
		case 'p':
			good = parse_protocols(b, optarg);
			break;
		case 'n':
			good = parse_nodes(b, optarg);
			break;
		case 't':
			good = parse_seconds(&b->seconds, optarg);
			break;
		case 's':
			b->seed = strtoull(optarg, &end, 10);
			good = !*end && b->seed <= INT64_MAX;
			break;
		case 'c':
			b->checked = true;
			break;
		case 'u':
			b->unshared = true;
			break;
		case 'o':
			good = parse_format(&b->format, optarg);
			break;
		case 'h':
			return usage(stdout);
		default:
			good = lab_bad_option(argv, known);
		}
		if (!good)
			return usage(stderr);
	}
	return optind == argc ? -1 : usage(stderr);
}

static int run(const struct bench *b)
{
	struct json *all = json_array();
	unsigned rows = 0;
	int code = LAB_EXIT_OK;
	for (unsigned p = 0; p < b->protocol_count; p++)
		for (unsigned n = 0; n < b->node_count && !interrupted; n++) {
			struct row r = {.protocol = b->protocols[p], .nodes = b->nodes[n]};
			if (!measure(b, &r)) {
				fprintf(stderr, "ostrakon-lab: %s, %u nodes: %s\n",
					protocol_name(r.protocol), r.nodes, r.violation);
				code = LAB_EXIT_FAILED;
				continue;
			}
			if (!r.slices)
				continue;
			sort(&r);
			if (rows++ == 0 && b->format == LAB_TABLE)
				print_head();
			if (b->format == LAB_TABLE)
				print_row(&r);
			else
				json_append(all, row_json(b, &r));
		}
	if (b->format != LAB_TABLE)
		lab_print(all, b->format);
	json_free(all);
	if (interrupted)
		fprintf(stderr, "interrupted: %s\n",
			rows ? "of the last row there is what was measured by then"
			     : "nothing was measured");
	return interrupted ? LAB_EXIT_INTERRUPTED : code;
}

#define HEAP_ROOM ((size_t)768 << 20)

/* Memory that one run gives back is the next one's, not fresh pages from the kernel; and these
 * are large ones where there are any, so that finding a page takes no walk through tables. */
static void keep_memory(void)
{
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_TOP_PAD, 64 << 20);
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
#ifdef MADV_HUGEPAGE
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	char *room = malloc(HEAP_ROOM); /* of addresses: nothing touches it here */
	if (room) {
		char *from = room + (-(uintptr_t)room & (page - 1));
		madvise(from, (size_t)(room + HEAP_ROOM - from) & ~(page - 1), MADV_HUGEPAGE);
	}
	free(room);
#endif
}

int lab_bench(int argc, char **argv)
{
	struct bench b = {.protocols = {PROTOCOL_HYBRID, PROTOCOL_PBFT},
			  .protocol_count = 2,
			  .nodes = {4, 7, 16},
			  .node_count = 3,
			  .seconds = 5,
			  .seed = 1};
	int code = parse(&b, argc, argv);
	if (code >= 0)
		return code;
	keep_memory();
	struct sigaction act = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
	sigaction(SIGINT, &act, NULL);
	return run(&b);
}
