/* ostrakon-lab forged-node: a home of a validator, run by a node that lies. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/lab/lab.h"

bool lab_find_program(char out[LAB_PATH_MAX], const char *name)
{
	static const char *const places[] = {"", "../src/node/", "../libexec/ostrakon/"};
	char self[LAB_PATH_MAX - 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return false;
	self[n] = 0;
	*strrchr(self, '/') = 0;
	for (unsigned i = 0; i < MEM_COUNT(places); i++) {
		snprintf(out, LAB_PATH_MAX, "%s/%s%s", self, places[i], name);
		if (access(out, X_OK) == 0)
			return true;
	}
	fprintf(stderr, "ostrakon-lab: the program %s is not beside this one\n", name);
	return false;
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: ostrakon-lab forged-node --home DIR --attack NAME[,NAME...]\n"
		"                   [--targets chance|half|one|MASK] [--from-height H]\n"
		"                   [--when-leading] [--moods] [--team HOME[:HOME...]]\n"
		"                   [--log-file FILE]\n"
		"Runs the validator of DIR as ostrakond would, with real keys and links, but "
		"lying.\n"
		"Attacks can be changed while it runs: write their names into DIR/orders.\n"
		"`ostrakon-lab attacks` lists them.\n");
	return to == stdout ? LAB_EXIT_OK : LAB_EXIT_USAGE;
}

static bool set_targets(const char *text)
{
	char number[32];
	char *end;
	uint64_t v = 0;
	if (strcmp(text, "half") == 0)
		v = TARGETS_HALF;
	else if (strcmp(text, "one") == 0)
		v = TARGETS_ONE_HONEST;
	else if (strcmp(text, "chance") != 0) {
		v = strtoull(text, &end, 0);
		if (end == text || *end)
			return false;
	}
	snprintf(number, sizeof number, "%llu", (unsigned long long)v);
	setenv("OSTRAKON_FORGE_TARGETS", number, 1);
	return true;
}

static bool check_attacks(const char *names)
{
	const char *known[ATTACKS];
	char copy[1024];
	for (unsigned a = 0; a < ATTACKS; a++)
		known[a] = attack_name((enum attack)a);
	snprintf(copy, sizeof copy, "%s", names);
	for (char *save, *name = strtok_r(copy, ",", &save); name;
	     name = strtok_r(NULL, ",", &save))
		if (attack_by_name(name) < 0)
			return lab_unknown("attack", name, known, ATTACKS,
					   "`ostrakon-lab attacks` lists them");
	return true;
}

int lab_forged(int argc, char **argv)
{
	static const struct option known[] = {
		{"home", 1, 0, 'h'},	{"attack", 1, 0, 'a'},
		{"targets", 1, 0, 't'}, {"from-height", 1, 0, 'f'},
		{"moods", 0, 0, 'm'},	{"when-leading", 0, 0, 'l'},
		{"team", 1, 0, 'T'},	{"log-file", 1, 0, 'g'},
		{"help", 0, 0, 'H'},	{0, 0, 0, 0}};
	const char *home = NULL, *attacks = NULL, *log = NULL;
	char program[LAB_PATH_MAX];
	optind = 1;
	for (int opt; (opt = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		switch (opt) {
		case 'h':
			home = optarg;
			break;
		case 'a':
			attacks = optarg;
			break;
		case 't':
			if (!set_targets(optarg))
				return usage(stderr);
			break;
		case 'f':
			setenv("OSTRAKON_FORGE_FROM", optarg, 1);
			break;
		case 'm':
			setenv("OSTRAKON_FORGE_MOODS", "1", 1);
			break;
		case 'l':
			setenv("OSTRAKON_FORGE_LEADING", "1", 1);
			break;
		case 'T':
			setenv("OSTRAKON_FORGE_TEAM", optarg, 1);
			break;
		case 'g':
			log = optarg;
			break;
		case 'H':
			return usage(stdout);
		default:
			lab_bad_option(argv, known);
			return usage(stderr);
		}
	}
	if (!home || !attacks || optind != argc)
		return usage(stderr);
	if (!check_attacks(attacks))
		return LAB_EXIT_USAGE;
	if (!lab_find_program(program, "ostrakond-forged"))
		return LAB_EXIT_UNREACHABLE;
	setenv("OSTRAKON_FORGE_ATTACKS", attacks, 1);
	if (log)
		execl(program, program, "run", "--home", home, "--log-file", log, (char *)NULL);
	else
		execl(program, program, "run", "--home", home, (char *)NULL);
	fprintf(stderr, "ostrakon-lab: %s: %s\n", program, strerror(errno));
	return LAB_EXIT_UNREACHABLE;
}
