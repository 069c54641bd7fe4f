/* Twins words by the million: shares for processes, a rate, what was reached, what failed. */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "sim/twins.h"
#include "tools/lab/lab.h"
#include "tools/lab/pool.h"

#define FAILURES_KEPT 8
#define SHARE	      100 /* words that a process takes at a time */

struct failure {
	uint64_t word;
	struct twins_result result;
};
/* What words came to; sums only, so that shares add up. */
struct sums {
	uint64_t words, unsafe, stuck, healed;
	uint64_t two_blocks, pbft, convicted, no_final, deliveries;
	uint64_t finals[8];	      /* words by heights final, the last: or more */
	uint64_t forks, forks_proven; /* proven: f+1 or more named with evidence */
	uint64_t counters[COUNTERS];
};
struct share {
	struct sums tally;
	struct failure failure[FAILURES_KEPT];
	unsigned failures;
};
struct run {
	struct twins_language language;
	uint64_t from, to;   /* canonical words by number; to: exclusive */
	unsigned heal_every; /* 0: never */
	unsigned jobs;
	unsigned every; /* of these, each every-th */
	bool json, progress, interrupted;
	uint64_t all, wanted;
	uint64_t next, passed; /* in a child: the next word; canonical ones before it */
	double cpu_s;	       /* of all jobs */
	struct sums total;
	struct failure failure[FAILURES_KEPT];
	unsigned failures;
};

static uint64_t clock_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- one share --------------------------------------------------------------------------- */

static void add(struct sums *t, const struct twins_result *r, unsigned f, bool healed)
{
	t->words++;
	t->unsafe += r->verdict == TWINS_SAFETY;
	t->stuck += r->verdict == TWINS_LIVENESS;
	t->healed += healed;
	t->two_blocks += r->two_blocks;
	t->pbft += r->pbft;
	t->convicted += r->convicted != 0;
	t->deliveries += r->deliveries;
	t->finals[r->finals < 7 ? r->finals : 7]++;
	if (r->culprits) {
		t->forks++;
		t->forks_proven += (unsigned)__builtin_popcountll(r->proven) > f;
	}
	for (unsigned c = 0; c < COUNTERS; c++)
		t->counters[c] += r->counters[c];
}

/* The canonical word of this number. In one process they are asked for in ascending order. */
static uint64_t canonical(struct run *run, uint64_t number)
{
	while (run->passed <= number)
		run->passed += twins_is_canonical(&run->language, run->next++);
	return run->next - 1;
}

static void work(void *ctx, size_t task, void *result)
{
	struct run *run = ctx;
	struct share *s = result;
	struct twins_language *l = &run->language;
	unsigned f = quorum_of(l->options.nodes).f;
	uint64_t end = (task + 1) * SHARE < run->wanted ? (task + 1) * SHARE : run->wanted;
	for (uint64_t i = task * SHARE; i < end; i++) {
		struct failure x = {.word = canonical(run, run->from + i * run->every)};
		l->options.heal = run->heal_every && i % run->heal_every == 0;
		twins_run(l, x.word, &x.result);
		add(&s->tally, &x.result, f, l->options.heal);
		if (x.result.verdict != TWINS_OK && s->failures < FAILURES_KEPT)
			s->failure[s->failures++] = x;
	}
}

/* ---- all shares -------------------------------------------------------------------------- */

static void done(void *ctx, size_t task, const void *result)
{
	struct run *run = ctx;
	const struct share *s = result;
	const uint64_t *from = (const uint64_t *)&s->tally;
	uint64_t *to = (uint64_t *)&run->total;
	(void)task;
	for (size_t i = 0; i < sizeof s->tally / sizeof *from; i++)
		to[i] += from[i];
	for (unsigned i = 0; i < s->failures && run->failures < FAILURES_KEPT; i++)
		run->failure[run->failures++] = s->failure[i];
}

static void remark(const void *ctx, char *out, size_t size)
{
	const struct sums *t = &((const struct run *)ctx)->total;
	snprintf(out, size, "%llu violations", (unsigned long long)(t->unsafe + t->stuck));
}

static enum pool_end run_shares(struct run *run)
{
	struct pool p = {.jobs = run->jobs,
			 .tasks = (run->wanted + SHARE - 1) / SHARE,
			 .size = sizeof(struct share),
			 .ctx = run,
			 .work = work,
			 .done = done,
			 .progress = run->progress,
			 .what = "words",
			 .count = run->wanted,
			 .remark = remark};
	/* engines are large and live for half a millisecond */
	mallopt(M_MMAP_THRESHOLD, 256 << 20);
	mallopt(M_TRIM_THRESHOLD, 512 << 20);
	enum pool_end end = pool_run(&p);
	struct rusage used;
	if (getrusage(RUSAGE_CHILDREN, &used) == 0)
		run->cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
			     (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	return end;
}

/* ---- what came of it --------------------------------------------------------------------- */

static void again(const struct run *run, const struct failure *x, char *out, size_t size)
{
	const struct twins_options *o = &run->language.options;
	snprintf(out, size,
		 "ostrakon-lab twins --nodes %u --twins %u --rounds %u --word %llu --trace%s",
		 o->nodes, o->twins, o->rounds, (unsigned long long)x->word,
		 x->result.verdict == TWINS_LIVENESS ? " --heal" : "");
}

static struct json *mask_json(uint64_t mask)
{
	struct json *a = json_array();
	char name[16];
	for (; mask; mask &= mask - 1) {
		snprintf(name, sizeof name, "node%u", (unsigned)__builtin_ctzll(mask) + 1);
		json_append(a, json_string(name));
	}
	return a;
}

static void print_json(const struct run *run, double seconds)
{
	const struct sums *t = &run->total;
	const struct twins_options *o = &run->language.options;
	struct json *doc = json_object(), *failures = json_array(), *counters = json_object();
	json_set(doc, "nodes", json_int(o->nodes));
	json_set(doc, "twins", json_int(o->twins));
	json_set(doc, "rounds", json_int(o->rounds));
	json_set(doc, "canonical_words", json_u64(run->all));
	json_set(doc, "words_wanted", json_u64(run->wanted));
	json_set(doc, "words", json_u64(t->words));
	json_set(doc, "safety_violations", json_u64(t->unsafe));
	json_set(doc, "healed_words", json_u64(t->healed));
	json_set(doc, "liveness_violations", json_u64(t->stuck));
	json_set(doc, "forks", json_u64(t->forks));
	json_set(doc, "forks_proven", json_u64(t->forks_proven));
	json_set(doc, "two_blocks", json_u64(t->two_blocks));
	json_set(doc, "pbft", json_u64(t->pbft));
	json_set(doc, "convicted", json_u64(t->convicted));
	json_set(doc, "deliveries", json_u64(t->deliveries));
	json_set(doc, "words_per_s", json_real((double)t->words / seconds));
	json_set(doc, "jobs", json_int(run->jobs));
	json_set(doc, "words_per_s_core", json_real((double)t->words / seconds / run->jobs));
	json_set(doc, "words_per_cpu_s", json_real((double)t->words / run->cpu_s));
	json_set(doc, "interrupted", json_bool(run->interrupted));
	json_set(doc, "wall_s", json_real(seconds));
	for (unsigned c = 0; c < COUNTERS; c++)
		json_set(counters, engine_counter_name((enum engine_counter)c),
			 json_u64(t->counters[c]));
	json_set(doc, "counters", counters);
	for (unsigned i = 0; i < run->failures; i++) {
		const struct failure *x = &run->failure[i];
		char text[TWINS_TEXT_MAX];
		struct json *o_ = json_object();
		json_set(o_, "word", json_u64(x->word));
		json_set(o_, "text",
			 json_string(twins_word_text(&run->language, x->word, text)));
		json_set(o_, "violation", json_string(x->result.text));
		json_set(o_, "culprits", mask_json(x->result.culprits));
		json_set(o_, "proven", mask_json(x->result.proven));
		again(run, x, text, sizeof text);
		json_set(o_, "again", json_string(text));
		json_append(failures, o_);
	}
	json_set(doc, "violations", failures);
	char *text = json_dump(doc, isatty(1));
	puts(text);
	mem_free(text);
	json_free(doc);
}

static void print_names(const char *title, uint64_t mask)
{
	printf("    %s:", title);
	for (; mask; mask &= mask - 1)
		printf(" node%u", (unsigned)__builtin_ctzll(mask) + 1);
	printf("\n");
}

static void print_text(const struct run *run, double seconds)
{
	const struct sums *t = &run->total;
	const struct twins_options *o = &run->language.options;
	printf("n=%u, %u of them twins, %u rounds: %llu words of %llu canonical ones (%llu in "
	       "all)\n",
	       o->nodes, o->twins, o->rounds, (unsigned long long)t->words,
	       (unsigned long long)run->all, (unsigned long long)run->language.words);
	if (run->interrupted)
		printf("interrupted: what follows is of the words that were run\n");
	printf("%llu violations of safety; %llu of %llu words that were healed did not "
	       "progress\n",
	       (unsigned long long)t->unsafe, (unsigned long long)t->stuck,
	       (unsigned long long)t->healed);
	printf("%.0f s, %.0f words a second on %u jobs; %.0f a second of a core's time; %.0f "
	       "messages a word\n",
	       seconds, (double)t->words / seconds, run->jobs,
	       (double)t->words / (run->cpu_s > 0 ? run->cpu_s : seconds),
	       (double)t->deliveries / (double)(t->words ? t->words : 1));
	printf("reached: two blocks at one place %llu, pbft mode %llu, convictions %llu; "
	       "heights "
	       "final:",
	       (unsigned long long)t->two_blocks, (unsigned long long)t->pbft,
	       (unsigned long long)t->convicted);
	for (unsigned i = 0; i < 8; i++)
		printf(" %u%s: %llu", i, i == 7 ? "+" : "", (unsigned long long)t->finals[i]);
	printf("\n");
	if (t->forks)
		printf("forks: %llu; f+1 or more named with evidence that anybody can check: "
		       "%llu\n",
		       (unsigned long long)t->forks, (unsigned long long)t->forks_proven);
	for (unsigned c = 0; c < COUNTERS; c++)
		if (t->counters[c])
			printf("  %-26s %12llu\n", engine_counter_name((enum engine_counter)c),
			       (unsigned long long)t->counters[c]);
	for (unsigned i = 0; i < run->failures; i++) {
		const struct failure *x = &run->failure[i];
		char text[TWINS_TEXT_MAX];
		printf("word %llu (%s): %s\n", (unsigned long long)x->word,
		       twins_word_text(&run->language, x->word, text), x->result.text);
		if (x->result.culprits) {
			print_names("signed for both sides", x->result.culprits);
			print_names("of these by evidence", x->result.proven);
		}
		again(run, x, text, sizeof text);
		printf("    again: %s\n", text);
	}
}

/* ---- the command ------------------------------------------------------------------------- */

static int usage(FILE *to)
{
	fprintf(to,
		"usage: ostrakon-lab twins [--words all|COUNT|A-B] [--every K] [--jobs N]\n"
		"                          [--nodes N] [--twins K] [--rounds R] [--heal-every "
		"K]\n"
		"                          [--progress] [-o json] [--word W [--trace] "
		"[--heal]]\n"
		"Runs canonical words of the Twins language, n=4 with one twin, four rounds "
		"and two\n"
		"partitions unless told otherwise; every word, or the first COUNT, or those "
		"numbered\n"
		"A to B; with --every K each K-th of them. With --heal-every K each K-th word "
		"must also make progress once "
		"healed.\n"
		"With more twins than f it is a control: forks are shown, and who made "
		"them.\n");
	return to == stdout ? LAB_EXIT_OK : LAB_EXIT_USAGE;
}

static bool number(const char *text, uint64_t *out, const char **rest)
{
	char *end;
	errno = 0;
	*out = strtoull(text, &end, 10);
	*rest = end;
	return end != text && !errno && *text != '-';
}

static bool parse_words(struct run *run, const char *text)
{
	const char *rest;
	run->from = 0;
	run->to = UINT64_MAX;
	if (strcmp(text, "all") == 0)
		return true;
	if (!number(text, &run->to, &rest))
		return false;
	if (*rest == '-') {
		run->from = run->to;
		if (!number(rest + 1, &run->to, &rest))
			return false;
		run->to++;
	}
	return *rest == 0 && run->from < run->to;
}

static int one_word(struct run *run, uint64_t word)
{
	struct twins_language *l = &run->language;
	struct twins_result r;
	char text[TWINS_TEXT_MAX];
	if (word >= l->words) {
		fprintf(stderr, "there are %llu words\n", (unsigned long long)l->words);
		return 2;
	}
	printf("%s%s\n", twins_word_text(l, word, text),
	       twins_is_canonical(l, word) ? "" : " (not canonical)");
	twins_run(l, word, &r);
	printf("%llu heights final, %llu messages%s%s\n", (unsigned long long)r.finals,
	       (unsigned long long)r.deliveries, r.verdict ? ": " : "", r.text);
	if (r.culprits) {
		print_names("signed for both sides", r.culprits);
		print_names("of these by evidence", r.proven);
	}
	return r.verdict == TWINS_OK ? 0 : 1;
}

static uint64_t count_canonical(const struct run *run)
{
	uint64_t count = 0;
	for (uint64_t word = 0; word < run->language.words && count < run->to; word++)
		count += twins_is_canonical(&run->language, word);
	return count;
}

static int run_words(struct run *run)
{
	uint64_t all = count_canonical(run);
	if (run->to > all)
		run->to = all;
	if (run->from >= run->to) {
		fprintf(stderr, "there are %llu canonical words\n", (unsigned long long)all);
		return 2;
	}
	run->all = all;
	run->wanted = (run->to - run->from + run->every - 1) / run->every;
	uint64_t begin = clock_us();
	enum pool_end end = run_shares(run);
	double seconds = (double)(clock_us() - begin) / 1e6;
	run->interrupted = end == POOL_INTERRUPTED;
	if (run->json)
		print_json(run, seconds);
	else
		print_text(run, seconds);
	if (run->interrupted)
		return LAB_EXIT_INTERRUPTED;
	if (end == POOL_DIED)
		fprintf(stderr, "a job died: the count is not complete\n");
	/* beyond f the fork must be seen; up to f there must be none */
	bool control = run->language.options.twins > quorum_of(run->language.options.nodes).f;
	bool good = control ? run->total.forks > 0 : !run->total.unsafe && !run->total.stuck;
	return end == POOL_DONE && good ? 0 : 1;
}

int lab_twins(int argc, char **argv)
{
	struct run run = {.to = UINT64_MAX, .jobs = 1, .every = 1};
	struct twins_options o = {.nodes = 4, .twins = 1, .rounds = 4};
	const char *words = "all", *word = NULL, *rest;
	uint64_t v = 0;
	static const struct option known[] = {{"words", 1, 0, 'w'},  {"jobs", 1, 0, 'j'},
					      {"nodes", 1, 0, 'n'},  {"twins", 1, 0, 't'},
					      {"rounds", 1, 0, 'r'}, {"heal-every", 1, 0, 'e'},
					      {"every", 1, 0, 'E'},  {"progress", 0, 0, 'p'},
					      {"word", 1, 0, 'W'},   {"trace", 0, 0, 'T'},
					      {"heal", 0, 0, 'H'},   {"output", 1, 0, 'o'},
					      {"help", 0, 0, 'h'},   {0, 0, 0, 0}};
	optind = 1;
	for (int opt; (opt = getopt_long(argc, argv, "o:h", known, NULL)) != -1;) {
		if (strchr("jntreE", opt) &&
		    (!number(optarg, &v, &rest) || *rest || v > 1000000))
			return usage(stderr);
		switch (opt) {
		case 'w':
			words = optarg;
			break;
		case 'j':
			run.jobs = (unsigned)v;
			break;
		case 'n':
			o.nodes = (unsigned)v;
			break;
		case 't':
			o.twins = (unsigned)v;
			break;
		case 'r':
			o.rounds = (unsigned)v;
			break;
		case 'e':
			run.heal_every = (unsigned)v;
			break;
		case 'E':
			run.every = (unsigned)v;
			break;
		case 'p':
			run.progress = true;
			break;
		case 'W':
			word = optarg;
			break;
		case 'T':
			o.trace = true;
			break;
		case 'H':
			o.heal = true;
			break;
		case 'o':
			run.json = strcmp(optarg, "json") == 0 || strcmp(optarg, "jsonl") == 0;
			break;
		case 'h':
			return usage(stdout);
		default:
			lab_bad_option(argv, known);
			return usage(stderr);
		}
	}
	struct errmsg m;
	if (optind != argc || run.jobs < 1 || run.jobs > POOL_JOBS_MAX || run.every < 1 ||
	    !parse_words(&run, words))
		return usage(stderr);
	if (twins_language_init(&run.language, &o, &m)) {
		fprintf(stderr, "%s\n", m.text);
		return 2;
	}
	int rc;
	if (word)
		rc = number(word, &v, &rest) && !*rest ? one_word(&run, v) : usage(stderr);
	else
		rc = run_words(&run);
	twins_language_free(&run.language);
	return rc;
}
