/* ostrakon-lab: attacks and faults, simulated and live, and what they cost. */
#include <config.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/lab.h"

static const char usage[] =
	"usage: ostrakon-lab VERB [OPTIONS]\n"
	"\n"
	"  list                      the scenarios that there are\n"
	"  describe NAME             what a scenario does, and what it expects\n"
	"  sim NAME [options]        run it in the simulator\n"
	"  sim bench [options]       how fast the simulator is; `sim bench --help`\n"
	"  live NAME [options]       run it with real processes, the malicious ones forged\n"
	"  replay FILE [options]     run again what a run file holds: is it the same?\n"
	"  shrink NAME [options]     the smallest scenario that fails as this one, or as this "
	"run\n"
	"  compare [options]         protocols by nodes by faults, side by side (sim)\n"
	"  sweep NAME [options]      a scenario by protocols, nodes and networks (sim)\n"
	"  twins [options]           one key, two honest copies: every word of leaders and "
	"cuts\n"
	"  forged-node [options]     a node that lies, with the home of a validator\n"
	"  attacks                   the attacks that scenarios can name\n"
	"  report RUN.json... [--out DIR]\n"
	"                            one page with plots of results, CSV, JSON\n"
	"  version\n"
	"\n"
	"options:\n"
	"  --protocol hybrid|pbft|raft|multipaxos   default: the scenario's, or hybrid\n"
	"  --nodes N                 default: the scenario's, or 4\n"
	"  --seed S                  default 1; --runs M  so many seeds from there (sim)\n"
	"  --progress                how many runs are done, anywhere (sim)\n"
	"  --trace                   every message and action (sim, replay)\n"
	"  --save FILE               write the run to this file, which must be new (sim, "
	"live);\n"
	"  --save-dir DIR            failed runs are always written: to this directory, or "
	"here\n"
	"  --seconds T               how long at most what is expected may take (live; default "
	"30)\n"
	"  --idle                    no load but what makes the attack strike (live)\n"
	"  --untimed                 how fast or how steady it was is told, not judged (live)\n"
	"  --direct                  links do not go through the lab, for measurements (live)\n"
	"  --keep                    keep the network's directory (live)\n"
	"  -o table|json|jsonl\n"
	"\n"
	"of shrink:\n"
	"  --seed S                  which run of a scenario; default: the first that fails\n"
	"  -o FILE                   default NAME-shrunk.scenario; must be new\n"
	"  --seconds T               how long at most; default 60\n"
	"  --tries N                 seeds for each smaller scenario; default 8\n"
	"\n"
	"of compare and sweep:\n"
	"  --protocols LIST          multipaxos,raft,pbft,hybrid; default all (sweep: the "
	"scenario's)\n"
	"  --nodes LIST              default 4,7,10,16 (sweep: the scenario's)\n"
	"  --seeds K                 runs of each, from --seed on; default 1 (sweep: 5)\n"
	"  --faults LIST             none (default), all, or names of scenarios (compare)\n"
	"  --live                    with real processes, one network after the other "
	"(compare)\n"
	"  --loss LIST               0%,1%,5%; --delay LIST  1ms..5ms,20ms (sweep)\n"
	"  --clients LIST            1,4,16,64: throughput against latency (sweep)\n"
	"  --cpu V,S,I,T             a processor for each replica: microseconds to check a\n"
	"                            signature, to make one, for an input, for a transaction "
	"(sweep)\n"
	"  --jobs N                  processes; --progress  says how far it is, anywhere\n"
	"  -o table|json|jsonl|csv\n"
	"\n"
	"of sim bench:\n"
	"  --checked                 the simulator's own checks too; lists for --protocol and "
	"--nodes\n"
	"  --unshared                replicas hash and keep for themselves what is equal\n"
	"\n"
	"of twins:\n"
	"  --words all|COUNT|A-B     which canonical words; --every K  each K-th of them\n"
	"  --twins K, --rounds R     default 1 and 4\n"
	"  --jobs N                  processes; --progress  says how far it is, anywhere\n"
	"  --heal-every K            each K-th must make progress once healed\n"
	"  --word W                  one word; with --trace, --heal\n"
	"\n"
	"of forged-node:\n"
	"  --home DIR                of the validator; --attack NAME[,NAME...]\n"
	"  --targets chance|half|one|MASK, --from-height H, --when-leading, --moods\n"
	"  --team HOME[:HOME...]     colluders; --log-file FILE\n"
	"\n"
	"NAME may be a file, a run's too. Scenarios are found in OSTRAKON_SCENARIOS, or where\n"
	"they were installed. Exit codes: 0 every expectation holds, or the replay is the "
	"same;\n"
	"1 one does not, it is not, or nothing fails to shrink; 2 usage; 3 a live network did\n"
	"not come up; 78 a file is wrong; 130 interrupted.\n";

static int fail(int code, const char *text)
{
	fprintf(stderr, "ostrakon-lab: %s\n", text);
	return code;
}

static int list(const struct lab_options *o)
{
	char names[SCENARIO_FILES_MAX][SCENARIO_NAME_MAX];
	unsigned count = scenario_list(names);
	struct json *all = json_array();
	size_t width = 0;
	for (unsigned i = 0; i < count; i++)
		if (strlen(names[i]) > width)
			width = strlen(names[i]);
	if (!count)
		return fail(LAB_EXIT_CONFIG,
			    "no scenarios found; set OSTRAKON_SCENARIOS to their directory");
	for (unsigned i = 0; i < count; i++) {
		struct scenario s;
		struct errmsg m;
		if (scenario_read(&s, names[i], &m))
			return fail(LAB_EXIT_CONFIG, m.text);
		if (o->format == LAB_TABLE)
			printf("%-*s  %s\n", (int)width, s.name, s.summary);
		struct json *row = json_object();
		json_set(row, "name", json_string(s.name));
		json_set(row, "summary", json_string(s.summary));
		json_set(row, "nodes", json_int(s.nodes));
		json_set(row, "corrupt", json_int(scenario_corrupt(&s, s.nodes)));
		json_set(row, "live", json_bool(scenario_is_live(&s, &m)));
		json_append(all, row);
	}
	if (o->format != LAB_TABLE)
		lab_print(all, o->format);
	json_free(all);
	return LAB_EXIT_OK;
}

static int describe(const struct lab_options *o)
{
	struct scenario s;
	struct errmsg m;
	if (scenario_read(&s, o->name, &m))
		return fail(LAB_EXIT_CONFIG, m.text);
	struct json *x = lab_describe(&s);
	if (o->format != LAB_TABLE) {
		lab_print(x, o->format);
	} else {
		printf("%s: %s\n\n%s\n\nnodes %u, malicious %u, attacks:", s.name, s.summary,
		       s.text, s.nodes, scenario_corrupt(&s, s.nodes));
		for (unsigned a = 0; a < ATTACKS; a++)
			if (s.attacks >> a & 1)
				printf(" %s", attack_name((enum attack)a));
		printf("\n");
		for (unsigned i = 0; i < s.expect_count; i++)
			printf("expected %s\n", s.expect[i].text);
		printf("\n%s\n", s.path);
	}
	json_free(x);
	return LAB_EXIT_OK;
}

static bool parse(struct lab_options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{"protocol", 1, 0, 'p'}, {"nodes", 1, 0, 'n'},
		{"seed", 1, 0, 's'},	 {"runs", 1, 0, 'r'},
		{"seconds", 1, 0, 't'},	 {"keep", 0, 0, 'k'},
		{"save", 1, 0, 'S'},	 {"save-dir", 1, 0, 'V'},
		{"output", 1, 0, 'o'},	 {"help", 0, 0, 'h'},
		{"trace", 0, 0, 'T'},	 {"idle", 0, 0, 'i'},
		{"progress", 0, 0, 'P'}, {"direct", 0, 0, 'D'},
		{"untimed", 0, 0, 'U'},	 {0, 0, 0, 0}};
	uint64_t v;
	for (int opt; (opt = getopt_long(argc, argv, "o:h", options, NULL)) != -1;) {
		switch (opt) {
		case 'p':
			if (!protocol_by_name(&o->protocol, optarg))
				return lab_refuse(
					"--protocol is hybrid, pbft, raft or multipaxos",
					optarg);
			break;
		case 'n':
			if (!lab_number(optarg, 1, VALIDATORS_MAX, &v))
				return lab_refuse("--nodes is a number from 1 to 64", optarg);
			o->nodes = (unsigned)v;
			break;
		case 's':
			o->seeded = true;
			if (!lab_number(optarg, 0, INT64_MAX, &o->seed))
				return lab_refuse("--seed is a number below 2^63", optarg);
			break;
		case 'r':
			if (!lab_number(optarg, 1, UINT32_MAX, &v))
				return lab_refuse("--runs is a number from 1", optarg);
			o->runs = (unsigned)v;
			break;
		case 't':
			if (!lab_number(optarg, 1, 86400, &v))
				return lab_refuse("--seconds is a number from 1 to 86400",
						  optarg);
			o->seconds = (unsigned)v;
			break;
		case 'k':
			o->keep = true;
			break;
		case 'S':
			o->save = optarg;
			break;
		case 'V':
			o->save_dir = optarg;
			break;
		case 'o':
			if (strcmp(optarg, "table") == 0)
				o->format = LAB_TABLE;
			else if (strcmp(optarg, "json") == 0)
				o->format = LAB_JSON;
			else if (strcmp(optarg, "jsonl") == 0)
				o->format = LAB_JSONL;
			else
				return lab_refuse("-o is table, json or jsonl", optarg);
			break;
		case 'h':
			o->help = true;
			break;
		case 'T':
			o->trace = true;
			break;
		case 'P':
			o->progress = true;
			break;
		case 'i':
			o->idle = true;
			break;
		case 'U':
			o->untimed = true;
			break;
		case 'D':
			o->direct = true;
			break;
		default:
			return lab_bad_option(argv, options);
		}
	}
	o->name = optind < argc ? argv[optind++] : NULL;
	return optind == argc || lab_refuse("one name is wanted", argv[optind]);
}

static const char *const verbs[] = {"list",    "describe", "sim",     "live",  "replay",
				    "shrink",  "compare",  "sweep",   "twins", "forged-node",
				    "attacks", "report",   "version", "help"};

static bool is_verb(const char *word)
{
	for (unsigned i = 0; i < MEM_COUNT(verbs); i++)
		if (strcmp(word, verbs[i]) == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	struct lab_options o = {.seed = 1, .runs = 1, .seconds = LAB_SECONDS};
	const char *verb = argc > 1 ? argv[1] : "";
	if (!*verb || strcmp(verb, "--help") == 0 || strcmp(verb, "help") == 0) {
		fputs(usage, *verb ? stdout : stderr);
		return *verb ? LAB_EXIT_OK : LAB_EXIT_USAGE;
	}
	if (strcmp(verb, "version") == 0 || strcmp(verb, "--version") == 0) {
		printf("ostrakon-lab %s\n", PACKAGE_VERSION);
		return LAB_EXIT_OK;
	}
	if (!is_verb(verb)) {
		lab_unknown("verb", verb, verbs, MEM_COUNT(verbs), "`ostrakon-lab --help`");
		return LAB_EXIT_USAGE;
	}
	opterr = 0; /* lab_bad_option() says it */
	if (strcmp(verb, "sim") == 0 && argc > 2 && strcmp(argv[2], "bench") == 0) {
		crypto_init();
		return lab_bench(argc - 2, argv + 2);
	}
	static const struct {
		const char *verb;
		int (*run)(int argc, char **argv);
	} own_options[] = {{"twins", lab_twins},   {"forged-node", lab_forged},
			   {"shrink", lab_shrink}, {"compare", lab_compare},
			   {"sweep", lab_compare}, {"report", lab_report}};
	for (unsigned i = 0; i < MEM_COUNT(own_options); i++)
		if (strcmp(verb, own_options[i].verb) == 0) {
			crypto_init();
			int code = own_options[i].run(argc - 1, argv + 1);
			if (code == LAB_SHOW_USAGE)
				fputs(usage, stdout);
			return code == LAB_SHOW_USAGE ? LAB_EXIT_OK : code;
		}
	if (!parse(&o, argc - 1, argv + 1)) {
		fputs("Try `ostrakon-lab --help`.\n", stderr);
		return LAB_EXIT_USAGE;
	}
	if (o.help) {
		fputs(usage, stdout);
		return LAB_EXIT_OK;
	}
	bool alone = strcmp(verb, "list") == 0 || strcmp(verb, "attacks") == 0;
	if (alone && o.name) {
		lab_refuse("no name is wanted", o.name);
		return LAB_EXIT_USAGE;
	}
	crypto_init();
	if (strcmp(verb, "list") == 0)
		return list(&o);
	if (strcmp(verb, "attacks") == 0) {
		for (unsigned a = 0; a < ATTACKS; a++)
			printf("%s\n", attack_name((enum attack)a));
		return LAB_EXIT_OK;
	}
	static const struct {
		const char *verb;
		int (*run)(const struct lab_options *o);
	} of_scenarios[] = {{"sim", lab_sim},
			    {"live", lab_live},
			    {"replay", lab_replay},
			    {"describe", describe}};
	for (unsigned i = 0; i < MEM_COUNT(of_scenarios); i++)
		if (strcmp(verb, of_scenarios[i].verb) == 0)
			return o.name ? of_scenarios[i].run(&o)
				      : fail(LAB_EXIT_USAGE,
					     "the name of a scenario is needed; "
					     "`ostrakon-lab list`");
	return LAB_EXIT_USAGE; /* not reached: is_verb() */
}
