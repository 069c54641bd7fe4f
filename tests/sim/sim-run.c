/* Repeats simulator runs: by hand for one seed, by `make check` for thousands.
 *	sim-run --nodes 5 --seed 123 [--runs 100] [--decisions 200] [--jobs 4] [--trace]
 *[--real] */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/sim.h"

#ifdef ENABLE_MUTANTS
extern int mutant_selected; /* src/consensus/hybrid/hybrid.h */
#endif

struct totals {
	uint64_t runs, failures, decisions, transactions, crashes, partitions, restarts;
	uint64_t virtual_us;
	uint64_t counters[COUNTERS];
};

static void add(struct totals *t, const struct sim_result *r)
{
	t->runs++;
	t->failures += r->verdict != SIM_OK;
	t->decisions += r->decisions;
	t->transactions += r->transactions;
	t->crashes += r->crashes;
	t->partitions += r->partitions;
	t->restarts += r->restarts;
	t->virtual_us += r->virtual_us;
	for (unsigned c = 0; c < COUNTERS; c++)
		t->counters[c] += r->counters[c];
}

static void run_share(const struct sim_options *base, uint64_t runs, unsigned job,
		      unsigned jobs, struct totals *t)
{
	for (uint64_t i = job; i < runs; i += jobs) {
		struct sim_options o = *base;
		struct sim_result r;
		o.seed += i;
		sim_run(&o, &r);
		add(t, &r);
		if (r.verdict != SIM_OK) {
			printf("%s: nodes %u, seed %llu: %s\n  again: tests/sim/sim-run "
			       "--nodes %u "
			       "--seed %llu --decisions %u%s\n",
			       r.verdict == SIM_SAFETY ? "SAFETY" : "LIVENESS", o.nodes,
			       (unsigned long long)o.seed, r.text, o.nodes,
			       (unsigned long long)o.seed, o.decisions,
			       o.scheme == SIG_ED25519 ? " --real" : "");
			fflush(stdout);
		}
	}
}

static void merge(struct totals *t, const struct totals *x)
{
	const uint64_t *from = (const uint64_t *)x;
	uint64_t *to = (uint64_t *)t;
	for (size_t i = 0; i < sizeof *t / sizeof(uint64_t); i++)
		to[i] += from[i];
}

static int run_jobs(const struct sim_options *base, uint64_t runs, unsigned jobs,
		    struct totals *t)
{
	int fds[64][2];
	int bad = 0;
	for (unsigned j = 0; j < jobs; j++) {
		if (pipe(fds[j]))
			return 1;
		fflush(stdout);
		pid_t pid = fork();
		if (pid < 0)
			return 1;
		if (pid == 0) {
			struct totals mine = {0};
			run_share(base, runs, j, jobs, &mine);
			_exit(write(fds[j][1], &mine, sizeof mine) != (ssize_t)sizeof mine);
		}
		close(fds[j][1]);
	}
	for (unsigned j = 0; j < jobs; j++) {
		struct totals x;
		if (read(fds[j][0], &x, sizeof x) == (ssize_t)sizeof x)
			merge(t, &x);
		else
			bad++;
		close(fds[j][0]);
	}
	for (unsigned j = 0; j < jobs; j++) {
		int status;
		if (wait(&status) < 0 || status != 0)
			bad++;
	}
	if (bad)
		printf("%d jobs died\n", bad);
	return bad;
}

static void print_totals(unsigned nodes, const struct totals *t)
{
	printf("n=%u: %llu runs, %llu failures, %llu blocks, %llu transactions, %llu crashes, "
	       "%llu partitions, %.0f virtual s\n",
	       nodes, (unsigned long long)t->runs, (unsigned long long)t->failures,
	       (unsigned long long)t->decisions, (unsigned long long)t->transactions,
	       (unsigned long long)t->crashes, (unsigned long long)t->partitions,
	       (double)t->virtual_us / 1e6);
}

/* Coverage that a thousand seeds must reach; the table is printed in any case. */
static int print_coverage(const struct totals *t, uint64_t least)
{
	static const enum engine_counter needed[] = {
		COUNT_RULE_1,	 COUNT_RULE_2,	  COUNT_RULE_3,	    COUNT_QC_ADOPTED,
		COUNT_ONE_ROUND, COUNT_TWO_ROUND, COUNT_LOG_REPAIR, COUNT_PRE_VOTE_REFUSED,
	};
	int missing = 0;
	for (unsigned c = 0; c < COUNTERS; c++) {
		bool must = false;
		for (unsigned i = 0; i < sizeof needed / sizeof *needed; i++)
			must |= needed[i] == c;
		bool low = must && t->counters[c] < least;
		missing += low;
		printf("  %-20s %12llu%s\n", engine_counter_name(c),
		       (unsigned long long)t->counters[c], low ? "  TOO FEW" : "");
	}
	return missing;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: sim-run [--nodes N[,N...]] [--seed S] [--runs M] [--decisions D]\n"
		"               [--clients C] [--jobs J] [--coverage LEAST] [--trace] "
		"[--real]\n"
		"               [--calm] [--dead K]\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct sim_options o = {
		.seed = 1, .decisions = 200, .clients = 4, .scheme = SIG_SYMBOLIC};
	const char *nodes = "4";
	uint64_t runs = 1, coverage = 0;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned jobs = 1;
	static const struct option options[] = {
		{"nodes", 1, 0, 'n'},
		{"seed", 1, 0, 's'},
		{"runs", 1, 0, 'r'},
		{"decisions", 1, 0, 'd'},
		{"clients", 1, 0, 'c'},
		{"jobs", 1, 0, 'j'},
		{"coverage", 1, 0, 'v'},
		{"trace", 0, 0, 't'},
		{"real", 0, 0, 'R'},
		{"calm", 0, 0, 'C'},
		{"dead", 1, 0, 'D'},
		{"mutant", 1, 0, 'M'},
		{"protocol", 1, 0, 'P'},
		{"probation", 1, 0, 'B'},
		{0, 0, 0, 0},
	};
	for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (opt) {
		case 'n':
			nodes = optarg;
			break;
		case 'P':
			o.protocol = strcmp(optarg, "pbft") == 0 ? PROTOCOL_PBFT : PROTOCOL_HYBRID;
			break;
		case 'B':
			o.probation = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 's':
			o.seed = strtoull(optarg, NULL, 10);
			break;
		case 'r':
			runs = strtoull(optarg, NULL, 10);
			break;
		case 'd':
			o.decisions = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			o.clients = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'j':
			jobs = optarg[0] == 'n' ? (unsigned)cores
						: (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'v':
			coverage = strtoull(optarg, NULL, 10);
			break;
		case 't':
			o.trace = true;
			break;
		case 'R':
			o.scheme = SIG_ED25519;
			break;
		case 'C':
			o.calm = true;
			break;
		case 'D':
			o.dead = (unsigned)strtoul(optarg, NULL, 10);
			break;
#ifdef ENABLE_MUTANTS
		case 'M':
			mutant_selected = atoi(optarg);
			break;
#endif
		default:
			return usage();
		}
	}
	if (jobs < 1 || jobs > 64)
		return usage();
	const char *seeds = getenv("OSTRAKON_SEEDS"); /* fewer for sanitizer builds */
	if (seeds && runs > 1) {
		uint64_t wanted = strtoull(seeds, NULL, 10);
		coverage = wanted < runs ? 0 : coverage;
		runs = wanted < runs ? wanted : runs;
	}
	crypto_init();
	struct totals all = {0};
	int bad = 0;
	for (const char *at = nodes; *at;) {
		char *end;
		o.nodes = (unsigned)strtoul(at, &end, 10);
		if (end == at || o.nodes < 1 || o.nodes > VALIDATORS_MAX)
			return usage();
		at = *end == ',' ? end + 1 : end;
		struct totals t = {0};
		if (jobs == 1)
			run_share(&o, runs, 0, 1, &t);
		else
			bad |= run_jobs(&o, runs, jobs, &t);
		print_totals(o.nodes, &t);
		fflush(stdout);
		merge(&all, &t);
	}
	int missing = print_coverage(&all, coverage);
	return all.failures || bad || missing ? 1 : 0;
}
