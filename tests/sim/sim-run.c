/* Repeats simulator runs: by hand for one seed, by `make check` for thousands.
 *	sim-run --nodes 5 --seed 123 [--runs 100] [--decisions 200] [--jobs 4] [--trace]
 *[--real] */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "tools/lab/run_file.h"

struct totals {
	uint64_t runs, failures, decisions, transactions, crashes, partitions, restarts;
	uint64_t rewound, outdated;
	uint64_t virtual_us;
	uint64_t counters[COUNTERS];
	uint64_t strikes[ATTACKS];
	uint64_t epochs, replays;
	uint64_t jailed, corrupt; /* validators */
	uint64_t kills, kills_starting, acknowledged;
	uint64_t builds_refused_busy;
};

static bool stop_at_first;
static bool corrupt_f; /* as many as n allows */
static char attacks_text[256];
static const char *save_dir; /* NULL: failing runs are not written */
static bool save_all;

static void add(struct totals *t, const struct sim_result *r)
{
	t->runs++;
	t->failures += r->verdict != SIM_OK;
	t->decisions += r->decisions;
	t->transactions += r->transactions;
	t->crashes += r->crashes;
	t->rewound += r->rewound;
	t->outdated += r->outdated;
	t->partitions += r->partitions;
	t->restarts += r->restarts;
	t->kills += r->kills;
	t->kills_starting += r->kills_starting;
	t->acknowledged += r->acknowledged;
	t->builds_refused_busy += r->builds_refused_busy;
	t->virtual_us += r->virtual_us;
	for (unsigned c = 0; c < COUNTERS; c++)
		t->counters[c] += r->counters[c];
	for (unsigned a = 0; a < ATTACKS; a++)
		t->strikes[a] += r->strikes[a];
	t->jailed += (uint64_t)__builtin_popcountll(r->jailed_mask);
	t->epochs += r->epochs;
	t->replays += r->replays;
	t->corrupt += (uint64_t)__builtin_popcountll(r->corrupt_mask);
}

/* Comma-separated names. */
static bool parse_attacks(const char *text, uint64_t *out)
{
	char copy[sizeof attacks_text];
	snprintf(attacks_text, sizeof attacks_text, "%s", text);
	snprintf(copy, sizeof copy, "%s", text);
	for (char *save, *name = strtok_r(copy, ",", &save); name;
	     name = strtok_r(NULL, ",", &save)) {
		int a = attack_by_name(name);
		if (a < 0) {
			fprintf(stderr, "there is no attack '%s'; there are:", name);
			for (int i = 0; i < ATTACKS; i++)
				fprintf(stderr, " %s", attack_name((enum attack)i));
			fprintf(stderr, "\n");
			return false;
		}
		*out |= ATTACK_BIT(a);
	}
	return true;
}

static void print_again(const struct sim_options *o)
{
	printf("  again: tests/sim/sim-run --nodes %u --seed %llu --decisions %u%s", o->nodes,
	       (unsigned long long)o->seed, o->decisions,
	       o->scheme == SIG_ED25519 ? " --real" : "");
	if (o->protocol)
		printf(" --protocol %s", protocol_name(o->protocol));
	if (o->corrupt)
		printf(" --corrupt %u%s", o->corrupt, o->steady ? " --steady" : "");
	if (o->attacks)
		printf(" --attacks %s", attacks_text);
	if (o->wiped)
		printf(" --wiped %u", o->wiped);
	if (o->rewound)
		printf(" --rewound %u", o->rewound);
	if (o->members)
		printf(" --members %u", o->members);
	if (o->gentle)
		printf(" --gentle");
	if (o->calm)
		printf(" --calm");
	if (o->kill_points)
		printf(" --kill-points %u", o->kill_points);
#ifdef ENABLE_MUTANTS
	if (mutant_selected)
		printf(" --mutant %d", mutant_selected);
#endif
	printf("\n");
}

/* The run as a scenario, for ostrakon-lab replay and shrink. False: there are no words for it.
 */
static bool as_scenario(struct scenario *s, const struct sim_options *o)
{
	static const enum expectation_kind kinds[] = {EXPECT_NO_CONFLICT, EXPECT_PROGRESS,
						      EXPECT_INNOCENT, EXPECT_ONE_TERM};
	static const char *const texts[] = {"no-conflict", "progress", "innocent", "one-term"};
	bool primaries = o->corrupt && !o->steady && !o->attacks && o->seed % 16 == 15;
	*s = (struct scenario){.name = "sim-run",
			       .summary = "A run of tests/sim/sim-run",
			       .protocol = PROTOCOL_HYBRID,
			       .corrupt = (int)o->corrupt,
			       .who = o->steady ? WHO_ANY : WHO_MOODS,
			       .storm = !o->gentle,
			       .decisions = o->decisions,
			       .clients = o->clients,
			       .probation = o->probation ? o->probation : 2,
			       .strikes_optional = o->corrupt > 0,
			       .expect_count = MEM_COUNT(kinds) - !o->await_one_term};
	if (o->corrupt) /* the same choice as the simulator's */
		s->attacks = primaries ? ATTACK_BIT(ATTACK_TWO_VIEWS) |
						 ATTACK_BIT(ATTACK_EQUIVOCATE) |
						 ATTACK_BIT(ATTACK_SHOUT)
			     : o->attacks ? o->attacks
					  : ATTACK_BIT(ATTACKS) - 1;
	else
		s->who = WHO_ANY;
	for (unsigned i = 0; i < s->expect_count; i++) {
		s->expect[i].kind = kinds[i];
		snprintf(s->expect[i].text, sizeof s->expect[i].text, "%s", texts[i]);
	}
	return !o->calm && !o->kill_points && !o->wiped && !o->rewound && !o->members &&
	       o->scheme == SIG_SYMBOLIC;
}

static void save(const struct sim_options *o, const struct sim_result *r)
{
	struct scenario *s = mem_alloc(sizeof *s);
	struct run_file *f = mem_alloc(sizeof *f);
	struct sim_options so = *o;
	struct errmsg m;
	char path[1024];
	so.protocol = o->protocol ? o->protocol : PROTOCOL_HYBRID;
	if (!as_scenario(s, o)) {
		printf("  no run file: --calm, --real and --kill-points have no words there\n");
	} else {
		run_file_of(f, s, &so, r);
		if (run_file_save(f, save_dir, path, sizeof path, &m))
			printf("  not written: %s\n", m.text);
		else
			printf("  again: ostrakon-lab replay %s\n", path);
	}
	mem_free(s);
	mem_free(f);
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
			printf("%s: nodes %u, seed %llu: %s\n",
			       r.verdict == SIM_SAFETY ? "SAFETY" : "LIVENESS", o.nodes,
			       (unsigned long long)o.seed, r.text);
			print_again(&o);
			if (save_dir)
				save(&o, &r);
			fflush(stdout);
			if (stop_at_first)
				return;
		} else if (save_dir && save_all) {
			save(&o, &r);
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
	if (t->rewound)
		printf("%llu old copies put back, %llu noticed\n",
		       (unsigned long long)t->rewound, (unsigned long long)t->outdated);
	if (t->epochs)
		printf("%llu epochs ended, %llu messages replayed in later ones\n",
		       (unsigned long long)t->epochs, (unsigned long long)t->replays);
}

/* Coverage that a thousand seeds must reach; the table is printed in any case. */
static int print_coverage(const struct totals *t, uint64_t least, const struct sim_options *o)
{
	static const enum engine_counter needed[] = {
		COUNT_RULE_1,	 COUNT_RULE_2,	  COUNT_RULE_3,	    COUNT_QC_ADOPTED,
		COUNT_ONE_ROUND, COUNT_TWO_ROUND, COUNT_LOG_REPAIR, COUNT_PRE_VOTE_REFUSED,
		COUNT_RESIGNED,
	};
	static const enum engine_counter needed_byzantine[] = {
		COUNT_ESCALATED_E1,
		COUNT_ESCALATED_E2,
		COUNT_ESCALATED_E3,
		COUNT_ESCALATED_E4,
		COUNT_SELECT_QC,
		COUNT_SELECT_CHECKPOINT,
		COUNT_SELECT_TC,
		COUNT_SELECT_CONFLICT,
		COUNT_SELECT_WALKED,
		COUNT_SELECT_CULPRIT,
		COUNT_MODE_ESCALATED,
		COUNT_MODE_FAST,
		COUNT_MODE_FAST_REPEATED,
		COUNT_CONVICTIONS,
		COUNT_EVIDENCE_HEADERS,
		COUNT_EVIDENCE_TERM_HEADERS,
		COUNT_EVIDENCE_VOTES,
		COUNT_EVIDENCE_TERM_STATEMENTS,
		COUNT_EVIDENCE_NEW_VIEWS,
		COUNT_EVIDENCE_LOW_BASE,
		COUNT_EVIDENCE_HIDDEN_VOTE,
		COUNT_EVIDENCE_INVALID_BLOCK,
		COUNT_SUSPICIONS_SIGNATURE,
	};
	static const enum engine_counter needed_raft[] = {
		COUNT_ELECTIONS_WON,
		COUNT_LOG_REPAIR,
		COUNT_PRE_VOTE_REFUSED,
		COUNT_PRE_VOTE_IGNORED,
	};
	static const enum engine_counter needed_multipaxos[] = {
		COUNT_ELECTIONS_WON, COUNT_VALUES_ADOPTED, COUNT_GAPS_FILLED,
		COUNT_REBASED,	     COUNT_NACKS,	   COUNT_FETCHES,
	};
	bool byzantine = o->corrupt > 0, storm = !o->calm && !o->gentle;
	const enum engine_counter *wanted = byzantine ? needed_byzantine : needed;
	size_t wanted_count = byzantine ? sizeof needed_byzantine / sizeof *needed_byzantine
					: sizeof needed / sizeof *needed;
	if (o->protocol == PROTOCOL_RAFT) {
		wanted = needed_raft;
		wanted_count = sizeof needed_raft / sizeof *needed_raft;
	} else if (o->protocol == PROTOCOL_MULTIPAXOS) {
		wanted = needed_multipaxos;
		wanted_count = sizeof needed_multipaxos / sizeof *needed_multipaxos;
	}
	int missing = 0;
	for (unsigned c = 0; c < COUNTERS; c++) {
		bool must = false;
		for (unsigned i = 0; i < wanted_count; i++)
			must |= wanted[i] == c;
		bool low = must && t->counters[c] < least;
		missing += low;
		printf("  %-20s %12llu%s\n", engine_counter_name(c),
		       (unsigned long long)t->counters[c], low ? "  TOO FEW" : "");
	}
	bool low = storm && t->builds_refused_busy < least; /* else nobody gathers */
	printf("  %-20s %12llu%s\n", "builds_refused_busy",
	       (unsigned long long)t->builds_refused_busy, low ? "  TOO FEW" : "");
	return missing + low;
}

static void print_attacks(const struct totals *t)
{
	printf("malicious %llu, convicted %llu; strikes:", (unsigned long long)t->corrupt,
	       (unsigned long long)t->jailed);
	for (unsigned a = 0; a < ATTACKS; a++)
		printf(" %s %llu", attack_name((enum attack)a),
		       (unsigned long long)t->strikes[a]);
	printf("\n");
}

static void print_kills(const struct totals *t)
{
	printf("%llu kill points, %llu of them while starting; %llu acknowledged, %llu failures\n",
	       (unsigned long long)t->kills, (unsigned long long)t->kills_starting,
	       (unsigned long long)t->acknowledged, (unsigned long long)t->failures);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: sim-run [--nodes N[,N...]] [--seed S] [--runs M] [--decisions D]\n"
		"               [--clients C] [--jobs J] [--coverage LEAST] [--trace] "
		"[--real]\n"
		"               [--calm] [--dead K] [--resigns] [--protocol hybrid|pbft|raft|multipaxos] "
		"[--probation P]\n"
		"               [--corrupt f|K [--attacks NAME,...] [--steady] [--gentle]]\n"
		"               [--kill-points K (deaths at a write or sync)]\n"
		"               [--wiped K (may lose their disks)]\n"
		"               [--rewound K (may come back with old copies)] [--members K (get new keys)]\n"
		"               [--stop (at the first failure)]\n"
		"               [--save-dir DIR (failing runs, for ostrakon-lab replay) "
		"[--save-all]]\n");
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
		{"clients", 1, 0, 'l'},
		{"jobs", 1, 0, 'j'},
		{"coverage", 1, 0, 'v'},
		{"trace", 0, 0, 't'},
		{"real", 0, 0, 'R'},
		{"calm", 0, 0, 'C'},
		{"dead", 1, 0, 'D'},
		{"mutant", 1, 0, 'M'},
		{"protocol", 1, 0, 'P'},
		{"corrupt", 1, 0, 'c'},
		{"attacks", 1, 0, 'a'},
		{"steady", 0, 0, 'y'},
		{"gentle", 0, 0, 'g'},
		{"stop", 0, 0, 'S'},
		{"probation", 1, 0, 'B'},
		{"save-dir", 1, 0, 'f'},
		{"save-all", 0, 0, 'A'},
		{"kill-points", 1, 0, 'k'},
		{"wiped", 1, 0, 'W'},
		{"rewound", 1, 0, 'O'},
		{"resigns", 0, 0, 'e'},
		{"members", 1, 0, 'E'},
		{0, 0, 0, 0},
	};
	for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (opt) {
		case 'n':
			nodes = optarg;
			break;
		case 'c':
			corrupt_f = strcmp(optarg, "f") == 0;
			o.corrupt = corrupt_f ? 0 : (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'a':
			if (!parse_attacks(optarg, &o.attacks))
				return 2;
			break;
		case 'g':
			o.gentle = true;
			break;
		case 'f':
			save_dir = optarg;
			break;
		case 'A':
			save_all = true;
			break;
		case 'S':
			stop_at_first = true;
			break;
		case 'y':
			o.steady = true;
			break;
		case 'P':
			if (!protocol_by_name(&o.protocol, optarg))
				return usage();
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
		case 'l':
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
		case 'k':
			o.kill_points = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'C':
			o.calm = true;
			break;
		case 'E':
			o.members = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'e':
			o.resigns = true;
			break;
		case 'W':
			o.wiped = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'O':
			o.rewound = (unsigned)strtoul(optarg, NULL, 10);
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
	/* A view of its own that one replica asks for stays so in PBFT, until others follow. */
	o.await_one_term = !o.protocol || o.protocol == PROTOCOL_HYBRID;
	for (const char *at = nodes; *at;) {
		char *end;
		o.nodes = (unsigned)strtoul(at, &end, 10);
		if (end == at || o.nodes < 1 || o.nodes > VALIDATORS_MAX)
			return usage();
		at = *end == ',' ? end + 1 : end;
		if (corrupt_f)
			o.corrupt = quorum_of(o.nodes).f;
		struct totals t = {0};
		if (jobs == 1)
			run_share(&o, runs, 0, 1, &t);
		else
			bad |= run_jobs(&o, runs, jobs, &t);
		print_totals(o.nodes, &t);
		fflush(stdout);
		merge(&all, &t);
	}
	if (o.corrupt)
		print_attacks(&all);
	if (o.kill_points)
		print_kills(&all);
	int missing = print_coverage(&all, coverage, &o);
	return all.failures || bad || missing ? 1 : 0;
}
