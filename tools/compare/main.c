/* bench-compare: our network and etcd with the same nodes, payload, durability, clients and
 * disk, in turn, several rounds; medians with their spread, ratios, and shares of what the
 * signatures allow. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/sign.h"
#include "tools/cli/cli.h"
#include "tools/cli/http.h"
#include "tools/compare/compare.h"

enum system { OURS, ETCD, SYSTEMS };
static const char *const system_names[SYSTEMS] = {"ostrakon", "etcd"};

struct round {
	double verify_per_s, sign_per_s, round_trip_ms;
	double fdatasync_ms, syncs_at_once_ms; /* of one file; of one for each node */
	struct sample sample[SYSTEMS][LEVELS_MAX];
	struct sample half; /* of ours: half of what the last level came to, open loop */
};

static struct settings settings = {.nodes = 4,
				   .rounds = 3,
				   .levels = 4,
				   .level = {1, 16, 64, 256},
				   .connections = 16,
				   .seconds = 5,
				   .warmup_s = 1,
				   .value_size = 256};

static const char usage_text[] =
	"Usage: bench-compare [OPTION]...\n"
	"Measure a local network and etcd in turn, under the same load on the same disk; the\n"
	"network also under half of what the last number of clients came to.\n\n"
	"  --nodes N          validators, and members of etcd (default 4)\n"
	"  --clients N,N,...  clients that work side by side (default 1,16,64,256)\n"
	"  --connections N    which they share, at most (default 16)\n"
	"  --value-size B     bytes of a value (default 256)\n"
	"  --seconds S        of each measurement (default 5)\n"
	"  --warmup S         before it (default 1)\n"
	"  --rounds N         default 3\n"
	"  --dir DIR          on the disk to measure (default .)\n"
	"  --ostrakon FILE    the program (default: beside this one, else as PATH has it)\n"
	"  --etcd FILE|none   the program (default: as PATH has it)\n"
	"  -o table|json      default table\n"
	"  --help, --version\n";

/* ---- figures --------------------------------------------------------------------------- */

struct series {
	double v[ROUNDS_MAX];
	unsigned count;
};

static void add(struct series *s, double v)
{
	s->v[s->count++] = v;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The median under its name, and the ends beside it under spread. */
static void put(struct json *o, struct json *spread, const char *name, struct series *s)
{
	struct json *ends = json_object();

	if (s->count == 0) {
		json_set(o, name, json_null());
		json_free(ends);
		return;
	}
	qsort(s->v, s->count, sizeof s->v[0], compare_doubles);
	double median = s->v[s->count / 2];
	if (s->count % 2 == 0)
		median = (median + s->v[s->count / 2 - 1]) / 2;
	json_set(o, name, json_real(median));
	json_set(ends, "min", json_real(s->v[0]));
	json_set(ends, "max", json_real(s->v[s->count - 1]));
	json_set(spread, name, ends);
}

static const struct {
	const char *name;
	size_t offset;
} fields[] = {
	{"tx_per_s", offsetof(struct sample, tx_per_s)},
	{"errors", offsetof(struct sample, errors)},
	{"acknowledged_found_share", offsetof(struct sample, found)},
	{"cpu_us_per_tx_all_nodes", offsetof(struct sample, node_cpu_us)},
	{"loader_cpu_us_per_tx", offsetof(struct sample, loader_cpu_us)},
	{"loader_cpu_share", offsetof(struct sample, loader_share)},
	{"disk_bytes_per_tx_and_node", offsetof(struct sample, disk_bytes)},
	{"rss_mib", offsetof(struct sample, rss_mib)},
	{"threads", offsetof(struct sample, threads)},
	{"other_cpu_share", offsetof(struct sample, other_share)},
};
static const struct {
	const char *name;
	size_t offset;
} latencies[] = {{"p50", offsetof(struct sample, p50)},
		 {"p90", offsetof(struct sample, p90)},
		 {"p99", offsetof(struct sample, p99)},
		 {"p999", offsetof(struct sample, p999)},
		 {"max", offsetof(struct sample, max)}};

static double field(const struct sample *s, size_t offset)
{
	return *(const double *)((const char *)s + offset);
}

static double bound_share(const struct round *r, const struct sample *s)
{
	return settings.nodes * s->tx_per_s / (machine_cores() * r->verify_per_s);
}

/* What etcd would come to at most if each of its nodes checked a signature of each put as well,
 * with every core busy all the time that others leave: by CPU times. */
static double etcd_checking(const struct round *r, const struct sample *etcd)
{
	double us = etcd->node_cpu_us + etcd->loader_cpu_us +
		    settings.nodes * 1e6 / r->verify_per_s;
	double most = machine_cores() * (1 - etcd->other_share) * 1e6 / us;

	return most < etcd->tx_per_s ? most : etcd->tx_per_s;
}

/* What the transaction of a lone client, sent to the leader, must wait for, one behind the
 * other: its way to the leader and the block's to the followers, both there and back; one sync,
 * alone, as if each node had a disk of its own, or at the same moment as the other nodes'; and
 * signatures. Checked are the transaction's by the leader, and then by a follower, beside the
 * header's; the votes, but the leader's own, by the leader; header and certificate by the client.
 * Signed are header and vote. */
static double parts_ms(const struct round *r, double sync_ms)
{
	unsigned quorum = settings.nodes - (settings.nodes - 1) / 3;
	unsigned checked = 1 + 2 + (quorum - 1) + (1 + quorum);

	return 2 * r->round_trip_ms + sync_ms + checked * 1e3 / r->verify_per_s +
	       2 * 1e3 / r->sign_per_s;
}

/* Of a lone client only. */
static void put_to_parts(struct json *o, struct json *spread, const struct round *rounds,
			 unsigned level)
{
	struct series own = {.count = 0}, shared = {.count = 0};

	for (unsigned i = 0; i < settings.rounds && settings.level[level] == 1; i++) {
		const struct round *r = &rounds[i];
		const struct sample *s = &r->sample[OURS][level];
		if (!s->valid)
			continue;
		add(&own, s->p50 / parts_ms(r, r->fdatasync_ms));
		add(&shared, s->p50 / parts_ms(r, r->syncs_at_once_ms));
	}
	put(o, spread, "p50_to_parts", &own);
	put(o, spread, "p50_to_parts_one_disk", &shared);
}

static void put_to_etcd(struct json *o, struct json *spread, const struct round *rounds,
			unsigned level)
{
	struct series as_it_is = {.count = 0}, checking = {.count = 0};

	for (unsigned i = 0; i < settings.rounds; i++) {
		const struct sample *ours = &rounds[i].sample[OURS][level],
				    *etcd = &rounds[i].sample[ETCD][level];
		if (!ours->valid || !etcd->valid)
			continue;
		add(&as_it_is, ours->tx_per_s / etcd->tx_per_s);
		add(&checking, ours->tx_per_s / etcd_checking(&rounds[i], etcd));
	}
	put(o, spread, "ratio_to_etcd", &as_it_is);
	put(o, spread, "ratio_to_etcd_checking", &checking);
}

/* The sample of one run in each round that has it. */
struct samples {
	const struct sample *of[ROUNDS_MAX];
	unsigned count;
};

static void put_latencies(struct json *o, struct json *spread, const struct samples *all)
{
	struct json *ms = json_object(), *ms_spread = json_object();

	for (size_t f = 0; f < MEM_COUNT(latencies); f++) {
		struct series s = {.count = 0};
		for (unsigned r = 0; r < all->count; r++)
			add(&s, field(all->of[r], latencies[f].offset));
		put(ms, ms_spread, latencies[f].name, &s);
	}
	json_set(o, "latency_ms", ms);
	json_set(spread, "latency_ms", ms_spread);
}

/* Null if no round has it, as with an interrupt. */
static struct json *half_json(const struct round *rounds)
{
	struct samples all = {.count = 0};
	struct series rate = {.count = 0}, ratio = {.count = 0}, errors = {.count = 0},
		      found = {.count = 0}, others = {.count = 0};

	for (unsigned r = 0; r < settings.rounds; r++)
		if (rounds[r].half.valid)
			all.of[all.count++] = &rounds[r].half;
	if (all.count == 0)
		return json_null();
	struct json *o = json_object(), *spread = json_object();
	for (unsigned r = 0; r < all.count; r++) {
		add(&rate, all.of[r]->tx_per_s);
		add(&ratio, all.of[r]->p99 / all.of[r]->p50);
		add(&errors, all.of[r]->errors);
		add(&found, all.of[r]->found);
		add(&others, all.of[r]->other_share);
	}
	put(o, spread, "tx_per_s", &rate);
	put(o, spread, "p99_to_p50", &ratio);
	put(o, spread, "errors", &errors);
	put(o, spread, "acknowledged_found_share", &found);
	put(o, spread, "other_cpu_share", &others);
	put_latencies(o, spread, &all);
	json_set(o, "spread", spread);
	return o;
}

static struct json *system_json(const struct round *rounds, enum system which, unsigned level)
{
	struct json *o = json_object(), *spread = json_object();
	struct samples all = {.count = 0};
	struct series s;

	for (unsigned r = 0; r < settings.rounds; r++)
		if (rounds[r].sample[which][level].valid)
			all.of[all.count++] = &rounds[r].sample[which][level];

	for (size_t f = 0; f < MEM_COUNT(fields); f++) {
		s.count = 0;
		for (unsigned r = 0; r < all.count; r++)
			add(&s, field(all.of[r], fields[f].offset));
		put(o, spread, fields[f].name, &s);
	}
	put_latencies(o, spread, &all);
	if (which == OURS) {
		s.count = 0;
		for (unsigned r = 0; r < settings.rounds; r++)
			if (rounds[r].sample[which][level].valid)
				add(&s,
				    bound_share(&rounds[r], &rounds[r].sample[which][level]));
		put(o, spread, "share_of_verification_bound", &s);
		put_to_etcd(o, spread, rounds, level);
		put_to_parts(o, spread, rounds, level);
	}
	json_set(o, "spread", spread);
	return o;
}

static struct json *rounds_json(const struct round *rounds)
{
	struct json *list = json_array();

	for (unsigned r = 0; r < settings.rounds; r++) {
		struct json *o = json_object();
		double worst = rounds[r].half.other_share;
		json_set(o, "verify_per_s_core", json_real(rounds[r].verify_per_s));
		json_set(o, "fdatasync_ms", json_real(rounds[r].fdatasync_ms));
		for (int which = 0; which < SYSTEMS; which++) {
			struct json *rates = json_array();
			for (unsigned k = 0; k < settings.levels; k++) {
				const struct sample *s = &rounds[r].sample[which][k];
				json_append(rates,
					    s->valid ? json_real(s->tx_per_s) : json_null());
				worst = s->other_share > worst ? s->other_share : worst;
			}
			json_set(o, system_names[which], rates);
		}
		json_set(o, "other_cpu_share", json_real(worst));
		json_set(o, "noisy", json_bool(worst > NOISY_SHARE));
		json_append(list, o);
	}
	return list;
}

/* The fields of the highest level stand at the top; levels[] has all. */
static struct json *document(const struct round *rounds)
{
	struct json *o = NULL, *levels = json_array(), *spread;
	struct series s = {.count = 0};

	for (unsigned k = 0; k < settings.levels; k++) {
		struct json *level = system_json(rounds, OURS, k);
		json_set(level, "clients", json_u64(settings.level[k]));
		json_set(level, "connections",
			 json_u64(settings.connections < settings.level[k]
					  ? settings.connections
					  : settings.level[k]));
		if (k + 1 == settings.levels)
			o = json_copy(level);
		json_set(level, "etcd",
			 settings.etcd[0] ? system_json(rounds, ETCD, k) : json_null());
		json_append(levels, level);
	}
	spread = json_copy(json_get(o, "spread"));
	for (unsigned r = 0; r < settings.rounds; r++)
		add(&s, rounds[r].verify_per_s);
	put(o, spread, "verify_per_s_core", &s);
	s.count = 0;
	for (unsigned r = 0; r < settings.rounds; r++)
		add(&s, rounds[r].fdatasync_ms);
	put(o, spread, "fdatasync_ms", &s);
	s.count = 0;
	for (unsigned r = 0; r < settings.rounds; r++)
		add(&s, rounds[r].syncs_at_once_ms);
	put(o, spread, "fdatasync_at_once_ms", &s);
	s.count = 0;
	for (unsigned r = 0; r < settings.rounds; r++)
		add(&s, rounds[r].round_trip_ms);
	put(o, spread, "round_trip_ms", &s);
	s.count = 0;
	for (unsigned r = 0; r < settings.rounds; r++)
		add(&s, parts_ms(&rounds[r], rounds[r].fdatasync_ms));
	put(o, spread, "lone_parts_ms", &s);
	json_set(o, "spread", spread);
	json_set(o, "cores", json_u64(machine_cores()));
	json_set(o, "nodes", json_u64(settings.nodes));
	json_set(o, "value_size", json_u64(settings.value_size));
	json_set(o, "seconds", json_u64(settings.seconds));
	json_set(o, "half_load", half_json(rounds));
	json_set(o, "levels", levels);
	json_set(o, "rounds", rounds_json(rounds));
	return o;
}

/* ---- the table ------------------------------------------------------------------------- */

static double number(const struct json *o, const char *key)
{
	double v = 0;

	json_as_real(json_get(o, key), &v);
	return v;
}

static void print_row(const char *name, const struct json *o, uint64_t clients)
{
	const struct json *ms = json_get(o, "latency_ms"),
			  *ends = json_get(json_get(o, "spread"), "tx_per_s");

	printf("%-9s %7llu %8.0f %8.0f-%-8.0f %8.2f %8.2f %8.2f %9.0f %9.0f %7.0f%%", name,
	       (unsigned long long)clients, number(o, "tx_per_s"), number(ends, "min"),
	       number(ends, "max"), number(ms, "p50"), number(ms, "p99"), number(ms, "max"),
	       number(o, "cpu_us_per_tx_all_nodes"), number(o, "loader_cpu_us_per_tx"),
	       100 * number(o, "other_cpu_share"));
}

static void print_half(const struct json *o)
{
	const struct json *ms = json_get(o, "latency_ms"),
			  *ends = json_get(json_get(o, "spread"), "p99_to_p50");

	if (json_is_null(o)) {
		printf("\nhalf of that, open loop: not measured\n");
		return;
	}
	printf("\nhalf of that, open loop: %.0f tx/s, p50 %.2f ms, p99 %.2f, max %.2f; p99 is "
	       "%.1f times p50 (%.1f to %.1f)\n",
	       number(o, "tx_per_s"), number(ms, "p50"), number(ms, "p99"), number(ms, "max"),
	       number(o, "p99_to_p50"), number(ends, "min"), number(ends, "max"));
}

static void print_table(const struct json *doc)
{
	const struct json *levels = json_get(doc, "levels"), *rounds = json_get(doc, "rounds");
	unsigned noisy = 0;
	bool flag;

	printf("%-9s %7s %8s %-17s %8s %8s %8s %9s %9s %8s\n", "SYSTEM", "CLIENTS", "TX/S",
	       "     SPREAD", "P50 MS", "P99 MS", "MAX MS", "NODES US", "LOADER US", "OTHERS");
	for (size_t k = 0; k < json_len(levels); k++) {
		const struct json *o = json_at(levels, k), *etcd = json_get(o, "etcd");
		uint64_t clients = 0;
		json_read_u64(o, "clients", &clients);
		print_row(system_names[OURS], o, clients);
		printf("  %.0f%% of the verification bound",
		       100 * number(o, "share_of_verification_bound"));
		if (!json_is_null(json_get(o, "ratio_to_etcd")))
			printf(", %.2f times etcd (%.2f if it checked signatures, too)",
			       number(o, "ratio_to_etcd"),
			       number(o, "ratio_to_etcd_checking"));
		if (!json_is_null(json_get(o, "p50_to_parts")))
			printf(", p50 %.2f times its parts (%.2f with all nodes' syncs "
			       "at once)",
			       number(o, "p50_to_parts"), number(o, "p50_to_parts_one_disk"));
		printf("\n");
		if (!json_is_null(etcd)) {
			print_row(system_names[ETCD], etcd, clients);
			printf("\n");
		}
	}
	print_half(json_get(doc, "half_load"));
	for (size_t r = 0; r < json_len(rounds); r++)
		noisy += json_as_bool(json_get(json_at(rounds, r), "noisy"), &flag) ==
				 ERR_NONE &&
			 flag;
	printf("\n%.0f signatures verified a second a core, %.0f cores, fdatasync %.3f ms "
	       "(all nodes' at once %.3f),\nround trip %.3f ms; parts of a lone transaction "
	       "%.3f ms\n",
	       number(doc, "verify_per_s_core"), number(doc, "cores"),
	       number(doc, "fdatasync_ms"), number(doc, "fdatasync_at_once_ms"),
	       number(doc, "round_trip_ms"), number(doc, "lone_parts_ms"));
	printf("%u of %zu rounds are noisy: others took over %.0f %% of the CPUs\n", noisy,
	       json_len(rounds), 100 * NOISY_SHARE);
}

/* ---- running --------------------------------------------------------------------------- */

static void tell(const char *text)
{
	if (isatty(2))
		fprintf(stderr, "%s\n", text);
}

/* Ours under half of what the last level has come to, as by clients that do not wait. */
static void measure_half(struct round *r)
{
	unsigned last = settings.levels - 1;
	char line[96];

	if (interrupted() || r->sample[OURS][last].tx_per_s < 2)
		return;
	ours_measure(&settings, settings.level[last], r->sample[OURS][last].tx_per_s / 2,
		     &r->half);
	if (!r->half.valid && !interrupted())
		fprintf(stderr, "bench-compare: half load was not measured in this round: "
				"`ostrakon bench run` says why\n");
	snprintf(line, sizeof line, "%s, open loop: %.0f tx/s, p50 %.2f ms, p99 %.2f ms",
		 system_names[OURS], r->half.tx_per_s, r->half.p50, r->half.p99);
	tell(line);
}

static bool measure_system(enum system which, struct round *r)
{
	bool started = which == OURS ? ours_start(&settings) : etcd_start(&settings);

	for (unsigned k = 0; started && k < settings.levels && !interrupted(); k++) {
		char line[96];
		struct sample *s = &r->sample[which][k];
		if (which == OURS)
			ours_measure(&settings, settings.level[k], 0, s);
		else
			etcd_measure(&settings, settings.level[k], s);
		snprintf(line, sizeof line, "%s, %u clients: %.0f tx/s, p50 %.2f ms",
			 system_names[which], settings.level[k], s->tx_per_s, s->p50);
		tell(line);
		started = s->valid;
	}
	if (started && which == OURS)
		measure_half(r);
	if (which == OURS)
		ours_stop(&settings);
	else
		etcd_stop(&settings);
	return started;
}

/* Who goes first changes with each round. */
static int measure(struct round *rounds)
{
	for (unsigned r = 0; r < settings.rounds; r++) {
		rounds[r].verify_per_s = machine_verify_per_s();
		rounds[r].sign_per_s = machine_sign_per_s();
		rounds[r].round_trip_ms = machine_round_trip_ms();
		rounds[r].fdatasync_ms = machine_fdatasync_ms(settings.dir, 1);
		rounds[r].syncs_at_once_ms = machine_fdatasync_ms(settings.dir, settings.nodes);
		if (rounds[r].round_trip_ms < 0) {
			fprintf(stderr, "bench-compare: no connection over 127.0.0.1\n");
			return EXIT_REFUSED;
		}
		if (rounds[r].fdatasync_ms < 0 || rounds[r].syncs_at_once_ms < 0) {
			fprintf(stderr, "bench-compare: cannot write in %s\n", settings.dir);
			return EXIT_REFUSED;
		}
		for (unsigned k = 0; k < SYSTEMS; k++) {
			enum system which = (enum system)((k + r) % SYSTEMS);
			if (which == ETCD && settings.etcd[0] == '\0')
				continue;
			if (!measure_system(which, &rounds[r])) {
				if (interrupted())
					return EXIT_INTERRUPTED;
				fprintf(stderr, "bench-compare: %s does not run\n",
					system_names[which]);
				return EXIT_REFUSED;
			}
		}
	}
	return EXIT_DONE;
}

static bool find_program(const char *name, char out[512])
{
	const char *path = getenv("PATH");

	for (const char *p = path; p != NULL && *p != '\0';) {
		size_t n = strcspn(p, ":");
		snprintf(out, 512, "%.*s/%s", (int)(n < 400 ? n : 0), p, name);
		if (n > 0 && access(out, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	out[0] = '\0';
	return false;
}

static bool find_ostrakon(void)
{
	char self[400];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	self[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(self, '/');
	if (slash != NULL) {
		*slash = '\0';
		snprintf(settings.ostrakon, sizeof settings.ostrakon, "%s/ostrakon", self);
		if (access(settings.ostrakon, X_OK) == 0)
			return true;
	}
	return find_program("ostrakon", settings.ostrakon);
}

static unsigned number_option(const char *name, const char *text, unsigned min, unsigned max)
{
	uint64_t v;

	if (parse_u64(&v, text, min, max) != ERR_NONE) {
		fprintf(stderr, "bench-compare: --%s takes %u to %u, not \"%s\"\n", name, min,
			max, text);
		exit(EXIT_USAGE);
	}
	return (unsigned)v;
}

static void levels_option(const char *text)
{
	char *copy = mem_strdup(text), *rest = copy, *word;

	settings.levels = 0;
	while ((word = strsep(&rest, ",")) != NULL && settings.levels < LEVELS_MAX)
		settings.level[settings.levels++] = number_option("clients", word, 1, 512);
	mem_free(copy);
	if (word != NULL) {
		fprintf(stderr, "bench-compare: --clients takes at most %d numbers\n",
			LEVELS_MAX);
		exit(EXIT_USAGE);
	}
}

enum { CLIENTS = 256, DIRECTORY, OURS_PATH, ETCD_PATH, HELP, SHOW_VERSION, NUMBERS };
static const struct {
	const char *name;
	unsigned *value, min, max;
} numbers[] = {{"nodes", &settings.nodes, 1, NODES_MAX},
	       {"connections", &settings.connections, 1, 512},
	       {"value-size", &settings.value_size, 1, 32768},
	       {"seconds", &settings.seconds, 1, 3600},
	       {"warmup", &settings.warmup_s, 1, 600},
	       {"rounds", &settings.rounds, 1, ROUNDS_MAX}};

struct paths {
	const char *dir, *ours, *etcd;
};

static void take_option(int c, struct paths *paths)
{
	switch (c) {
	case CLIENTS:
		levels_option(optarg);
		return;
	case DIRECTORY:
		paths->dir = optarg;
		return;
	case OURS_PATH:
		paths->ours = optarg;
		return;
	case ETCD_PATH:
		paths->etcd = optarg;
		return;
	case 'o':
		settings.json = strcmp(optarg, "json") == 0;
		if (settings.json || strcmp(optarg, "table") == 0)
			return;
		fprintf(stderr, "bench-compare: -o takes table or json\n");
		exit(EXIT_USAGE);
	case HELP:
		fputs(usage_text, stdout);
		exit(EXIT_DONE);
	case SHOW_VERSION:
		printf("bench-compare %s\n", PACKAGE_VERSION);
		exit(EXIT_DONE);
	}
	if (c < NUMBERS) {
		fputs(usage_text, stderr);
		exit(EXIT_USAGE);
	}
	c -= NUMBERS;
	*numbers[c].value =
		number_option(numbers[c].name, optarg, numbers[c].min, numbers[c].max);
}

static void find_programs(const struct paths *paths)
{
	char full[400];

	if (realpath(paths->dir, full) == NULL) {
		fprintf(stderr, "bench-compare: %s: %s\n", paths->dir, strerror(errno));
		exit(EXIT_USAGE);
	}
	snprintf(settings.dir, sizeof settings.dir, "%s/bench-compare.%d", full, (int)getpid());
	if (paths->ours != NULL) {
		snprintf(settings.ostrakon, sizeof settings.ostrakon, "%s", paths->ours);
	} else if (!find_ostrakon()) {
		fprintf(stderr,
			"bench-compare: there is no program ostrakon; give --ostrakon\n");
		exit(EXIT_USAGE);
	}
	if (paths->etcd != NULL)
		snprintf(settings.etcd, sizeof settings.etcd, "%s",
			 strcmp(paths->etcd, "none") == 0 ? "" : paths->etcd);
	else if (!find_program("etcd", settings.etcd))
		fprintf(stderr,
			"bench-compare: etcd is not installed (apt install etcd-server; "
			"the service need not run), so only ours is measured\n");
}

static void read_options(int argc, char **argv)
{
	struct option longs[7 + MEM_COUNT(numbers) + 1] = {
		{"clients", 1, NULL, CLIENTS},	   {"dir", 1, NULL, DIRECTORY},
		{"ostrakon", 1, NULL, OURS_PATH},  {"etcd", 1, NULL, ETCD_PATH},
		{"output", 1, NULL, 'o'},	   {"help", 0, NULL, HELP},
		{"version", 0, NULL, SHOW_VERSION}};
	struct paths paths = {.dir = "."};
	int c;

	for (size_t i = 0; i < MEM_COUNT(numbers); i++)
		longs[7 + i] = (struct option){numbers[i].name, 1, NULL, NUMBERS + (int)i};
	while ((c = getopt_long(argc, argv, "o:", longs, NULL)) != -1)
		take_option(c, &paths);
	if (optind < argc) {
		fprintf(stderr, "bench-compare: unexpected argument \"%s\"\n", argv[optind]);
		exit(EXIT_USAGE);
	}
	find_programs(&paths);
}

int main(int argc, char **argv)
{
	crypto_init();
	interrupt_install();
	read_options(argc, argv);
	struct round *rounds = mem_zalloc(settings.rounds * sizeof *rounds);
	if (mkdir(settings.dir, 0700) != 0) {
		fprintf(stderr, "bench-compare: %s: %s\n", settings.dir, strerror(errno));
		mem_free(rounds);
		return EXIT_REFUSED;
	}
	int rc = measure(rounds);
	remove_tree(settings.dir);
	if (rc == EXIT_DONE) {
		struct json *doc = document(rounds);
		if (settings.json) {
			char *text = json_dump(doc, false);
			puts(text);
			mem_free(text);
		} else {
			print_table(doc);
		}
		json_free(doc);
	}
	mem_free(rounds);
	return rc;
}
