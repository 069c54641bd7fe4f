/* `compare`: protocols by nodes by faults. `sweep`: a scenario by protocols, nodes and
 * networks. Both are grids (grid.h). */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/grid.h"
#include "tools/lab/pool.h"
#include "tools/lab/scenario_private.h"

#define LIST_MAX 64

struct range {
	uint64_t low, high;
	char text[32];
};
struct request {
	bool sweep;
	const char *name; /* sweep: the scenario */
	unsigned nodes[LIST_MAX], node_count;
	enum protocol protocols[LIST_MAX];
	unsigned protocol_count;
	char faults[LIST_MAX][SCENARIO_NAME_MAX];
	unsigned fault_count;
	uint32_t loss[LIST_MAX]; /* per mille */
	char loss_text[LIST_MAX][16];
	unsigned loss_count;
	struct range delay[LIST_MAX];
	unsigned delay_count;
	uint32_t clients[LIST_MAX];
	unsigned client_count;
	struct sim_cpu cpu;
	char cpu_text[48]; /* "": nothing takes time */
	struct grid grid;
	enum lab_format format;
	bool csv, help, live;
};

static bool fail(const char *text)
{
	fprintf(stderr, "ostrakon-lab: %s\n", text);
	return false;
}

/* ---- the command line -------------------------------------------------------------------- */

/* A number and nothing else. */
static bool add_nodes(struct request *q, char *word)
{
	uint64_t v;
	if (!lab_number(word, 1, VALIDATORS_MAX, &v))
		return lab_refuse("--nodes is a list of numbers from 1 to 64, such as 4,7,10",
				  word);
	q->nodes[q->node_count++] = (unsigned)v;
	return true;
}

static bool add_protocol(struct request *q, char *word)
{
	if (!protocol_by_name(&q->protocols[q->protocol_count++], word))
		return lab_refuse("--protocols is a list of multipaxos, raft, pbft, hybrid",
				  word);
	return true;
}

static bool add_fault(struct request *q, char *word)
{
	static const char *const all[] = {"none", "crash-leader", "leader-equivocation"};
	bool every = strcmp(word, "all") == 0;
	for (unsigned i = 0; every && i < MEM_COUNT(all) && q->fault_count < LIST_MAX; i++)
		strcpy(q->faults[q->fault_count++], all[i]);
	if (every)
		return true;
	if (strlen(word) >= SCENARIO_NAME_MAX)
		return lab_refuse("--faults is a list of none, all and names of scenarios",
				  word);
	strcpy(q->faults[q->fault_count++], word);
	return true;
}

static bool add_loss(struct request *q, char *word)
{
	struct errmsg m;
	struct words w = {.file = "--loss", .m = &m};
	unsigned i = q->loss_count++;
	if (strlen(word) >= sizeof q->loss_text[0])
		return lab_refuse("--loss is a list of shares such as 0%,1%,5%", word);
	strcpy(q->loss_text[i], word);
	if (strcmp(word, "0") != 0 && words_percent(&w, word, &q->loss[i]))
		return lab_refuse("--loss is a list of shares such as 0%,1%,5%", word);
	return true;
}

static bool add_clients(struct request *q, char *word)
{
	uint64_t v;
	if (!lab_number(word, 1, 10000, &v))
		return lab_refuse("--clients is a list of numbers such as 1,4,16,64", word);
	q->clients[q->client_count++] = (uint32_t)v;
	return true;
}

#define CPU_US_MAX 100000

static bool set_cpu(struct request *q, const char *text)
{
	uint64_t us[4];
	char words[sizeof q->cpu_text], *rest = words, *word;
	unsigned count = 0;
	bool good = (size_t)snprintf(words, sizeof words, "%s", text) < sizeof words;
	while (good && (word = strsep(&rest, ",")) != NULL)
		good = count < MEM_COUNT(us) && lab_number(word, 0, CPU_US_MAX, &us[count++]);
	if (!good || count != MEM_COUNT(us))
		return fail("--cpu is four numbers of microseconds, such as 41,14,25,40: to "
			    "check a signature, to make one, an input, a transaction");
	q->cpu = (struct sim_cpu){(uint32_t)us[0], (uint32_t)us[1], (uint32_t)us[2],
				  (uint32_t)us[3]};
	snprintf(q->cpu_text, sizeof q->cpu_text, "%s", text);
	return true;
}

static bool add_delay(struct request *q, char *word)
{
	struct errmsg m;
	struct words w = {.file = "--delay", .m = &m, .save = word};
	struct range *r = &q->delay[q->delay_count++];
	snprintf(r->text, sizeof r->text, "%s", word);
	if (scenario_range(&w, &r->low, &r->high))
		return lab_refuse("--delay is a list of times or ranges such as 1ms..5ms,20ms",
				  r->text);
	return true;
}

static bool each(struct request *q, char *list, unsigned *count,
		 bool (*add)(struct request *q, char *word))
{
	char *save = NULL;
	*count = 0;
	for (char *word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save))
		if (*count >= LIST_MAX - 3)
			return fail("a list is too long");
		else if (!add(q, word))
			return false;
	return *count > 0 || fail("a list is empty");
}

static bool limited(const char *text, unsigned high, unsigned *out, const char *what)
{
	uint64_t v;
	if (!lab_number(text, 1, high, &v)) {
		fprintf(stderr, "ostrakon-lab: %s is a number from 1 to %u, not \"%s\"\n", what,
			high, text);
		return false;
	}
	*out = (unsigned)v;
	return true;
}

static bool set_format(struct request *q, const char *text)
{
	static const char *const known[] = {"table", "json", "jsonl"};
	q->csv = strcmp(text, "csv") == 0;
	for (unsigned i = 0; i < MEM_COUNT(known); i++)
		if (strcmp(text, known[i]) == 0) {
			q->format = (enum lab_format)i;
			return true;
		}
	return q->csv || lab_refuse("-o is table, json, jsonl or csv", text);
}

static bool parse_one(struct request *q, int opt)
{
	switch (opt) {
	case 'n':
		return each(q, optarg, &q->node_count, add_nodes);
	case 'p':
		return each(q, optarg, &q->protocol_count, add_protocol);
	case 'f':
		return q->sweep ? fail("--faults is of compare")
				: each(q, optarg, &q->fault_count, add_fault);
	case 'l':
		return !q->sweep ? fail("--loss is of sweep")
				 : each(q, optarg, &q->loss_count, add_loss);
	case 'd':
		return !q->sweep ? fail("--delay is of sweep")
				 : each(q, optarg, &q->delay_count, add_delay);
	case 'c':
		return !q->sweep ? fail("--clients is of sweep")
				 : each(q, optarg, &q->client_count, add_clients);
	case 'C':
		return !q->sweep ? fail("--cpu is of sweep") : set_cpu(q, optarg);
	case 's':
		return lab_number(optarg, 0, UINT64_MAX >> 1, &q->grid.seed) ||
		       lab_refuse("--seed is a number", optarg);
	case 'k':
		return limited(optarg, GRID_SEEDS_MAX, &q->grid.seeds, "--seeds");
	case 'j':
		return limited(optarg, POOL_JOBS_MAX, &q->grid.jobs, "--jobs");
	case 'L':
		q->live = true;
		return !q->sweep || fail("--live is of compare");
	case 't':
		return limited(optarg, 3600, &q->grid.seconds, "--seconds");
	case 'P':
		q->grid.progress = true;
		return true;
	case 'o':
		return set_format(q, optarg);
	case 'h':
		q->help = true;
		return true;
	default:
		return false;
	}
}

static bool parse(struct request *q, int argc, char **argv)
{
	static const struct option known[] = {{"nodes", 1, 0, 'n'},    {"protocols", 1, 0, 'p'},
					      {"faults", 1, 0, 'f'},   {"loss", 1, 0, 'l'},
					      {"delay", 1, 0, 'd'},    {"seed", 1, 0, 's'},
					      {"seeds", 1, 0, 'k'},    {"jobs", 1, 0, 'j'},
					      {"progress", 0, 0, 'P'}, {"output", 1, 0, 'o'},
					      {"help", 0, 0, 'h'},     {"live", 0, 0, 'L'},
					      {"clients", 1, 0, 'c'},  {"seconds", 1, 0, 't'},
					      {"cpu", 1, 0, 'C'},      {0, 0, 0, 0}};
	optind = 1;
	for (int opt; (opt = getopt_long(argc, argv, "o:h", known, NULL)) != -1;)
		if (opt == '?' ? !lab_bad_option(argv, known) : !parse_one(q, opt))
			return false;
	if (q->help)
		return true;
	if (q->sweep && optind < argc)
		q->name = argv[optind++];
	if (q->sweep && !q->name)
		return fail("the name of a scenario is needed; `ostrakon-lab list`");
	return optind == argc || fail("one word too many");
}

static void fill_in(struct request *q)
{
	static const unsigned nodes[] = {4, 7, 10, 16};
	static const enum protocol protocols[] = {PROTOCOL_MULTIPAXOS, PROTOCOL_RAFT,
						  PROTOCOL_PBFT, PROTOCOL_HYBRID};
	if (!q->fault_count)
		strcpy(q->faults[q->fault_count++], "none");
	for (unsigned i = 0; !q->sweep && !q->protocol_count && i < 4; i++)
		q->protocols[i] = protocols[i];
	for (unsigned i = 0; !q->sweep && !q->node_count && i < 4; i++)
		q->nodes[i] = nodes[i];
	if (!q->sweep && !q->protocol_count)
		q->protocol_count = 4;
	if (!q->sweep && !q->node_count)
		q->node_count = 4;
}

/* ---- the rows ---------------------------------------------------------------------------- */

/* What a protocol that knows no modes, or no proofs, cannot be asked for. Where it tolerates no
 * liars and there are some, only that they struck. */
static bool applies(const struct expectation *e, enum protocol p, bool liars)
{
	bool crash = !protocol_is_byzantine(p);
	switch (e->kind) {
	case EXPECT_MODE_CHANGE:
	case EXPECT_NO_MODE_CHANGE:
	case EXPECT_RETURN:
		return p == PROTOCOL_HYBRID;
	case EXPECT_CONVICTED:
	case EXPECT_EVIDENCE:
	case EXPECT_CULPRITS:
		return !crash;
	case EXPECT_NO_CONFLICT:
	case EXPECT_PROGRESS:
	case EXPECT_AVAILABILITY:
	case EXPECT_FAILOVER:
	case EXPECT_ONE_TERM:
		return !crash || !liars;
	case EXPECT_CONFLICT:
	case EXPECT_INNOCENT:
	case EXPECT_STRUCK:
	case EXPECT_COUNTS:
	case EXPECT_KINDS:
		break;
	}
	return true;
}

static void adapt(struct scenario *s, enum protocol p, unsigned nodes)
{
	unsigned kept = 0;
	bool liars = scenario_corrupt(s, nodes) > 0;
	for (unsigned i = 0; i < s->expect_count; i++)
		if (applies(&s->expect[i], p, liars))
			s->expect[kept++] = s->expect[i];
	s->expect_count = kept;
}

static struct grid_row *add_row(struct request *q, const char *scenario, enum protocol p,
				unsigned nodes, const char *fault)
{
	struct scenario *s = mem_zalloc(sizeof *s);
	struct errmsg m;
	struct sim_options so;
	if (scenario_read(s, scenario, &m)) {
		fprintf(stderr, "ostrakon-lab: %s\n", m.text);
		mem_free(s);
		return NULL;
	}
	struct lab_options o = {.protocol = p,
				.nodes = nodes,
				.seed = q->grid.seed,
				.seeded = true,
				.format = q->format};
	adapt(s, p ? p : s->protocol, nodes ? nodes : s->nodes);
	lab_sim_options(&so, s, &o);
	if (so.corrupt > so.nodes || so.dead >= so.nodes) {
		fprintf(stderr,
			"ostrakon-lab: %s: too many of %u nodes are missing or malicious\n",
			s->name, so.nodes);
		mem_free(s);
		return NULL;
	}
	struct grid_row *row = grid_add(&q->grid, s, &so, fault);
	if (!row) {
		fail("so many combinations are too many");
		mem_free(s);
	}
	return row;
}

static void set_repeat(struct request *q, struct grid_row *row, const char *more)
{
	int at =
		snprintf(row->repeat, sizeof row->repeat,
			 "ostrakon-lab %s%s%s --protocols %s --nodes %u --seed %llu --seeds %u",
			 q->sweep ? "sweep" : "compare", q->sweep ? " " : "",
			 q->sweep ? q->name : "", protocol_name(row->so.protocol),
			 row->so.nodes, (unsigned long long)q->grid.seed, q->grid.seeds);
	if (at > 0 && (size_t)at < sizeof row->repeat)
		snprintf(row->repeat + at, sizeof row->repeat - (size_t)at, "%s", more);
}

/* Of an equivocating leader the baselines' own controls say what they are to show. */
static const char *scenario_of(const char *fault, enum protocol p, bool live)
{
	if (strcmp(fault, "none") == 0)
		return live ? "no-faults" : "steady-state";
	if (strcmp(fault, "leader-equivocation") == 0 && p == PROTOCOL_RAFT)
		return "equivocation-forks-raft";
	if (strcmp(fault, "leader-equivocation") == 0 && p == PROTOCOL_MULTIPAXOS)
		return "equivocation-forks-multipaxos";
	return fault;
}

static bool compare_rows(struct request *q)
{
	for (unsigned f = 0; f < q->fault_count; f++)
		for (unsigned p = 0; p < q->protocol_count; p++)
			for (unsigned n = 0; n < q->node_count; n++) {
				const char *fault = q->faults[f];
				enum protocol protocol = q->protocols[p];
				char more[SCENARIO_NAME_MAX + 48], seconds[LAB_SECONDS_TEXT];
				struct grid_row *row =
					add_row(q, scenario_of(fault, protocol, q->live),
						protocol, q->nodes[n], fault);
				if (!row)
					return false;
				snprintf(more, sizeof more, " --faults %s%s%s", fault,
					 q->live ? " --live" : "",
					 lab_seconds_text(seconds, q->live ? q->grid.seconds
									   : LAB_SECONDS));
				set_repeat(q, row, more);
				if (strcmp(fault, "none") != 0 || q->live)
					continue;
				row->lone = q->grid.count;
				row = add_row(q, "lone-block", protocol, q->nodes[n], fault);
				if (!row)
					return false;
				row->hidden = true;
			}
	return true;
}

static bool sweep_row(struct request *q, enum protocol p, unsigned nodes, unsigned loss,
		      unsigned delay, unsigned clients)
{
	char more[96] = "";
	size_t at = 0;
	struct grid_row *row = add_row(q, q->name, p, nodes, "none");
	if (!row)
		return false;
	snprintf(row->fault, sizeof row->fault, "%s", row->scenario->name);
	if (q->loss_count) {
		row->so.loss_per_mille = q->loss[loss];
		at += (size_t)snprintf(more, sizeof more, " --loss %s", q->loss_text[loss]);
	}
	if (q->delay_count) {
		row->so.delay_min_us = q->delay[delay].low;
		row->so.delay_max_us = q->delay[delay].high;
		snprintf(more + at, sizeof more - at, " --delay %s", q->delay[delay].text);
	}
	if (q->client_count) {
		row->so.clients = q->clients[clients];
		at = strlen(more);
		snprintf(more + at, sizeof more - at, " --clients %u", row->so.clients);
	}
	if (*q->cpu_text) {
		row->so.cpu = q->cpu;
		at = strlen(more);
		snprintf(more + at, sizeof more - at, " --cpu %s", q->cpu_text);
	}
	row->varied = (q->loss_count ? GRID_LOSS : 0) | (q->delay_count ? GRID_DELAY : 0) |
		      (q->client_count ? GRID_CLIENTS : 0);
	/* What is lost is sent again, and with fewer clients blocks may come alone: the counts
	 * are no longer those of theory. */
	if (row->so.loss_per_mille || q->client_count || *q->cpu_text) {
		unsigned kept = 0;
		for (unsigned i = 0; i < row->scenario->expect_count; i++)
			if (row->scenario->expect[i].kind != EXPECT_COUNTS)
				row->scenario->expect[kept++] = row->scenario->expect[i];
		row->scenario->expect_count = kept;
	}
	set_repeat(q, row, more);
	return true;
}

#define AT_LEAST_ONE(n) ((n) ? (n) : 1)

/* The last list changes first. */
static bool sweep_rows(struct request *q)
{
	unsigned p = AT_LEAST_ONE(q->protocol_count), n = AT_LEAST_ONE(q->node_count),
		 l = AT_LEAST_ONE(q->loss_count), d = AT_LEAST_ONE(q->delay_count),
		 c = AT_LEAST_ONE(q->client_count);
	for (uint64_t i = 0; i < (uint64_t)p * n * l * d * c; i++) {
		uint64_t at = i;
		unsigned clients = (unsigned)(at % c);
		unsigned delay = (unsigned)((at /= c) % d);
		unsigned loss = (unsigned)((at /= d) % l);
		unsigned nodes = q->node_count ? q->nodes[(at /= l) % n] : 0;
		enum protocol protocol =
			q->protocol_count ? q->protocols[i / c / d / l / n] : 0;
		if (!sweep_row(q, protocol, nodes, loss, delay, clients))
			return false;
	}
	return true;
}

/* ---- the command ------------------------------------------------------------------------- */

static int run(struct request *q)
{
	int code = q->live ? grid_run_live(&q->grid) : grid_run(&q->grid);
	struct json *rows = grid_json(&q->grid);
	if (q->csv || q->format == LAB_TABLE)
		grid_print(rows, q->csv ? GRID_CSV : GRID_TABLE);
	else
		lab_print(rows, q->format);
	json_free(rows);
	if (code == LAB_EXIT_INTERRUPTED)
		fputs("interrupted: what is shown is of the runs that were done\n", stderr);
	return code;
}

int lab_compare(int argc, char **argv)
{
	struct request *q = mem_zalloc(sizeof *q);
	q->sweep = strcmp(argv[0], "sweep") == 0;
	q->grid = (struct grid){
		.seed = 1, .seeds = q->sweep ? 5 : 1, .jobs = 1, .seconds = LAB_SECONDS};
	int code = LAB_EXIT_USAGE;
	if (!parse(q, argc, argv)) {
		fputs("Try `ostrakon-lab --help`.\n", stderr);
		mem_free(q);
		return code;
	}
	if (q->help) {
		mem_free(q);
		return LAB_SHOW_USAGE;
	}
	fill_in(q);
	code = LAB_EXIT_CONFIG;
	if (q->sweep ? sweep_rows(q) : compare_rows(q))
		code = run(q);
	grid_free(&q->grid);
	mem_free(q);
	return code;
}
