/* The smallest scenario that fails as a run did. */
#include "tools/lab/shell.h"
#include "tools/lab/shrink.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "tools/lab/result.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static double seconds_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

bool shrink_stopped(void *shrink)
{
	const struct shrink *k = shrink;
	return interrupted || seconds_now() - k->began > k->seconds;
}

static void progress(const struct shrink *k)
{
	static double last;
	double now = seconds_now(), ran = now - k->began;
	if (!isatty(2) || now - last < 0.2)
		return;
	last = now;
	fprintf(stderr,
		"\r%llu runs, %.1f/s, %llu of %llu smaller ones fail; pass %u: %s; at most "
		"%.0f s "
		"more \033[K",
		(unsigned long long)k->runs, ran > 0 ? (double)k->runs / ran : 0,
		(unsigned long long)k->smaller, (unsigned long long)k->candidates, k->pass,
		k->step, (double)k->seconds > ran ? (double)k->seconds - ran : 0);
}

/* ---- the same failure -------------------------------------------------------------------- */

/* "at 1.2 s: [S4] fork: ..." is "[S4]"; "at 3.1 s: replica 2 halted: ..." is "replica #
 * halted".
 */
static void class_of(char out[SIM_TEXT_MAX], const char *text)
{
	const char *at = strstr(text, " s: ");
	bool died = strncmp(text, "died", 4) == 0;
	at = at && !died ? at + 4 : text;
	if (*at == '[' && strchr(at, ']')) {
		snprintf(out, SIM_TEXT_MAX, "%.*s", (int)(strchr(at, ']') - at) + 1, at);
		return;
	}
	size_t len = 0;
	for (; *at && (died || *at != ':'); at++) {
		bool digit = isdigit((unsigned char)*at);
		if (!digit || !len || out[len - 1] != '#')
			out[len++] = digit ? '#' : *at;
	}
	out[len] = 0;
}

static bool did_not_happen(enum expectation_kind kind)
{
	return kind == EXPECT_CONFLICT || kind == EXPECT_CONVICTED ||
	       kind == EXPECT_MODE_CHANGE || kind == EXPECT_EVIDENCE ||
	       kind == EXPECT_CULPRITS || kind == EXPECT_STRUCK;
}

/* False: nothing failed. */
static bool failure_of(struct failure *f, const struct scenario *s,
		       const struct shrink_run *run)
{
	const struct sim_result *r = &run->result;
	*f = (struct failure){.verdict = r->verdict};
	if (r->verdict != SIM_OK)
		class_of(f->violation, r->text);
	for (unsigned i = 0; i < s->expect_count; i++) {
		const struct expectation *e = &s->expect[i];
		if (!(run->broken >> i & 1))
			continue;
		memcpy(f->broken[f->broken_count++], e->text, sizeof e->text);
		f->vacuous |= r->verdict == SIM_OK && did_not_happen(e->kind);
	}
	return f->broken_count > 0;
}

static bool breaks(const struct failure *f, const char *expectation)
{
	for (unsigned i = 0; i < f->broken_count; i++)
		if (strcmp(f->broken[i], expectation) == 0)
			return true;
	return false;
}

static bool same_failure(const struct failure *was, const struct failure *is)
{
	if (was->verdict != is->verdict)
		return false;
	if (was->verdict != SIM_OK)
		return strcmp(was->violation, is->violation) == 0 && is->broken_count > 0;
	for (unsigned i = 0; i < was->broken_count; i++)
		if (!breaks(is, was->broken[i]))
			return false;
	return is->broken_count == was->broken_count;
}

/* ---- runs in processes of their own ------------------------------------------------------ */

/* The last line that the process wrote before it died. */
static void last_words(char *out, size_t size, int fd)
{
	char text[4096];
	ssize_t len = pread(fd, text, sizeof text - 1, 0);
	text[len > 0 ? len : 0] = 0;
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		text[--len] = 0;
	const char *line = strrchr(text, '\n');
	snprintf(out, size, "%.400s", line ? line + 1 : text);
}

static _Noreturn void child(struct shrink *k, const struct scenario *s,
			    const struct sim_options *so, int err)
{
	dup2(err, 2);
	sim_run(so, &k->run->result);
	k->run->broken = result_broken(s, so, &k->run->result);
	_exit(0);
}

/* A process that dies has violated something: what it said last. */
static void died(struct shrink *k, const struct scenario *s, int status, int fd)
{
	struct sim_result *r = &k->run->result;
	char words[420];
	*r = (struct sim_result){.verdict = SIM_SAFETY};
	last_words(words, sizeof words, fd);
	snprintf(r->text, sizeof r->text, "died of signal %d: %s",
		 WIFSIGNALED(status) ? WTERMSIG(status) : 0, words);
	k->run->broken = 0;
	for (unsigned i = 0; i < s->expect_count; i++)
		if (s->expect[i].kind == EXPECT_NO_CONFLICT ||
		    s->expect[i].kind == EXPECT_PROGRESS)
			k->run->broken |= UINT64_C(1) << i;
}

/* False: it does not fail. */
static bool run(struct shrink *k, const struct scenario *s, uint64_t seed, struct failure *f)
{
	struct sim_options so;
	int status = 0, fd = memfd_create("shrink", MFD_CLOEXEC);
	scenario_options(&so, s, s->protocol, s->nodes, seed);
	memset(&k->run->record, 0, sizeof k->run->record);
	so.record = &k->run->record;
	so.measure = &k->run->measures;
	fflush(stdout);
	pid_t pid = fd < 0 ? -1 : fork();
	if (pid == 0)
		child(k, s, &so, fd);
	invariant(pid > 0);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		died(k, s, status, fd);
	close(fd);
	k->runs++;
	progress(k);
	return failure_of(f, s, k->run);
}

bool shrink_fails(struct shrink *k, const struct scenario *s, uint64_t seed)
{
	struct failure f;
	return run(k, s, seed, &f) && same_failure(&k->failure, &f);
}

/* ---- one that may be smaller ------------------------------------------------------------- */

static uint64_t how_many(const struct occurrences *o)
{
	uint64_t all = 0;
	for (uint32_t i = 0; i < o->count; i++)
		all += o->range[i].last - o->range[i].first + UINT64_C(1);
	return all;
}

static void print_size(const char *title, const struct scenario *s)
{
	printf("%s n=%u", title, s->nodes);
	if (scenario_corrupt(s, s->nodes))
		printf(", %u malicious, %d attacks", scenario_corrupt(s, s->nodes),
		       __builtin_popcountll(s->attacks));
	if (s->part_of_strikes)
		printf(" at %llu moments", (unsigned long long)how_many(&s->strikes));
	if (s->script.count)
		printf(", %u actions", s->script.count);
	if (s->storm && s->part_of_storm)
		printf(", %llu faults of a storm", (unsigned long long)how_many(&s->faults));
	else if (s->storm)
		printf(", a storm");
	if (s->losses.count)
		printf(", %u lost messages", s->losses.count);
	printf(", %u clients, %u decisions, seed %llu\n", s->clients, s->decisions,
	       (unsigned long long)s->seed);
}

static uint64_t hash_of(const struct scenario *s)
{
	char *text = scenario_text(s);
	struct hash h;
	sha256(&h, text, strlen(text));
	mem_free(text);
	return load_be64(h.b);
}

/* Has this one, with its seed, been tried in vain? If not, it will have been. */
static bool seen(struct shrink *k, uint64_t hash)
{
	for (size_t i = 0; i < k->seen_count; i++)
		if (k->seen[i] == hash)
			return true;
	if (k->seen_count == k->seen_cap) {
		k->seen_cap = k->seen_cap ? 2 * k->seen_cap : 64;
		k->seen = mem_realloc(k->seen, k->seen_cap * sizeof *k->seen);
	}
	k->seen[k->seen_count++] = hash;
	return false;
}

bool shrink_try(struct shrink *k, unsigned seeds)
{
	struct scenario *s = k->next;
	uint64_t seed = k->best.seed;
	s->seed = seed;
	if (scenario_corrupt(s, s->nodes) > s->nodes || s->silent >= s->nodes ||
	    seen(k, hash_of(s)))
		return false;
	k->candidates++;
	for (unsigned i = 0; i <= seeds; i++) {
		if (shrink_stopped(k))
			return false;
		s->seed = i ? i : seed;
		if ((i && s->seed == seed) || !shrink_fails(k, s, s->seed))
			continue;
		k->smaller++;
		k->best = *s;
		if (isatty(2))
			fprintf(stderr, "\r\033[K");
		printf("%-12s", k->step);
		print_size("", s);
		fflush(stdout);
		return true;
	}
	return false;
}

/* ---- the verb ---------------------------------------------------------------------------- */

struct arguments {
	const char *name, *out;
	uint64_t seed;
	bool seeded, help;
	unsigned seconds, tries;
};

#define SECONDS 60
#define TRIES	8
#define SEARCH	100 /* seeds, for the first failing run of a scenario */

static bool parse(struct arguments *a, int argc, char **argv)
{
	static const struct option options[] = {{"seed", 1, 0, 's'},  {"seconds", 1, 0, 't'},
						{"tries", 1, 0, 'n'}, {"output", 1, 0, 'o'},
						{"help", 0, 0, 'h'},  {0, 0, 0, 0}};
	uint64_t v;
	bool good = true;
	*a = (struct arguments){.seconds = SECONDS, .tries = TRIES};
	for (int opt; (opt = getopt_long(argc, argv, "o:h", options, NULL)) != -1;) {
		switch (opt) {
		case 's':
			good &= a->seeded = lab_number(optarg, 0, INT64_MAX, &a->seed);
			break;
		case 't':
			good &= lab_number(optarg, 1, 1000000, &v);
			a->seconds = (unsigned)v;
			break;
		case 'n':
			good &= lab_number(optarg, 0, 10000, &v);
			a->tries = (unsigned)v;
			break;
		case 'o':
			a->out = optarg;
			break;
		case 'h':
			a->help = true;
			return true;
		default:
			return lab_bad_option(argv, options);
		}
	}
	a->name = optind + 1 == argc ? argv[optind] : NULL;
	return good && a->name;
}

/* A scenario, or a run file's with the run's own seed and planted bug. */
static int read_failing(struct shrink *k, struct arguments *a)
{
	struct errmsg m;
	struct run_file *was = mem_alloc(sizeof *was);
	int err = scenario_read(&k->best, a->name, &m);
	char *text = NULL;
	if (!err)
		err = scenario_load(&text, k->best.path, &m);
	if (!err && run_file_is(text)) {
		err = run_file_parse(was, k->best.path, text, &m);
		if (!err && !run_file_plant(was, &m))
			err = ERR_UNSUPPORTED;
		if (!err && was->live)
			err = err_set(
				&m, ERR_UNSUPPORTED,
				"%s is a live run: only what the simulator repeats can be "
				"made smaller",
				a->name);
	}
	if (err)
		fprintf(stderr, "ostrakon-lab: %s\n", m.text);
	mem_free(text);
	mem_free(was);
	return err;
}

/* A seed with which it fails; false: none was found. */
static bool find_failure(struct shrink *k, const struct arguments *a)
{
	struct scenario *s = &k->best;
	bool given = a->seeded || s->seeded;
	uint64_t first = a->seeded ? a->seed : s->seeded ? s->seed : 1;
	k->step = "a failing seed";
	s->seeded = true;
	for (s->seed = first; s->seed < first + (given ? 1 : SEARCH); s->seed++) {
		if (run(k, s, s->seed, &k->failure))
			return true;
		if (shrink_stopped(k))
			break;
	}
	fprintf(stderr,
		"ostrakon-lab: %s does not fail with %s %llu%s: there is nothing to shrink\n",
		s->name, given ? "seed" : "seeds from", (unsigned long long)first,
		given ? "" : " on");
	return false;
}

/* The text of a directive: '#' would begin a comment. */
static void say(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text);
	for (char *p = out; *p; p++)
		if (*p == '#' || iscntrl((unsigned char)*p))
			*p = ' ';
}

static void describe(struct shrink *k, const struct scenario *from, const char *path)
{
	struct scenario *s = &k->best;
	char text[SCENARIO_TEXT_MAX];
	size_t len = (size_t)snprintf(text, sizeof text, "Shrunk from %s (n=%u, seed %llu). ",
				      from->name, from->nodes, (unsigned long long)from->seed);
#ifdef ENABLE_MUTANTS
	if (mutant_selected)
		len += (size_t)snprintf(text + len, sizeof text - len, "With planted bug %d. ",
					mutant_selected);
#endif
	shrink_fails(k, s, s->seed);
	if (k->failure.verdict != SIM_OK)
		snprintf(text + len, sizeof text - len, "Violation %s", k->run->result.text);
	else
		for (unsigned i = 0; i < k->failure.broken_count; i++)
			len += (size_t)snprintf(text + len, sizeof text - len, "%sexpect %s",
						i ? "; " : "Fails: ", k->failure.broken[i]);
	say(s->text, sizeof s->text, text);
	snprintf(text, sizeof text, "%.180s, as small as it still fails", from->name);
	say(s->summary, sizeof s->summary, text);
	scenario_name(s, path);
}

/* What is written reads as the same scenario, and fails in the same way. */
static bool check(struct shrink *k, const char *path, const char *text)
{
	struct errmsg m;
	struct scenario *again = mem_alloc(sizeof *again);
	bool good =
		!scenario_parse(again, path, text, &m) && shrink_fails(k, again, again->seed);
	mem_free(again);
	return good;
}

static int finish(struct shrink *k, const struct scenario *from, const struct arguments *a)
{
	char path[1024];
	struct errmsg m;
	int code = LAB_EXIT_OK;
	if (a->out)
		snprintf(path, sizeof path, "%s", a->out);
	else
		snprintf(path, sizeof path, "%s-shrunk.scenario", from->name);
	describe(k, from, path);
	char *text = scenario_text(&k->best);
	int err = check(k, path, text) ? file_create(path, text, &m)
				       : err_set(&m, ERR_SYNTAX,
						 "as a file the scenario is not what it was");
	print_size("from:       ", from);
	print_size("to:         ", &k->best);
	printf("%llu runs in %.1f s%s\n", (unsigned long long)k->runs, seconds_now() - k->began,
	       interrupted	   ? ", interrupted: it may get smaller"
	       : shrink_stopped(k) ? ", all the time there was: it may get smaller (--seconds)"
				   : ", and nothing more can be left out");
	if (err) {
		fprintf(stderr, "ostrakon-lab: %s\n", m.text);
		printf("%s", text);
		code = LAB_EXIT_USAGE;
	} else {
		char *again = mem_printf("%s%s", strchr(path, '/') ? "" : "./", path);
		char *word = shell_word(again);
		printf("%s; again: ostrakon-lab sim %s\n", path, word);
		mem_free(word);
		mem_free(again);
	}
	mem_free(text);
	return interrupted && !err ? LAB_EXIT_INTERRUPTED : code;
}

static int shrink(struct shrink *k, struct arguments *a)
{
	if (read_failing(k, a))
		return LAB_EXIT_CONFIG;
	if (a->out && access(a->out, F_OK) == 0) {
		fprintf(stderr, "ostrakon-lab: %s exists, and is not overwritten\n", a->out);
		return LAB_EXIT_USAGE;
	}
	if (scenario_corrupt(&k->best, k->best.nodes) > k->best.nodes)
		return LAB_EXIT_USAGE;
	if (!find_failure(k, a))
		return interrupted ? LAB_EXIT_INTERRUPTED : LAB_EXIT_FAILED;
	struct scenario *from = mem_dup(&k->best, sizeof k->best);
	print_size("fails:      ", from);
	for (k->pass = 1; shrink_pass(k) && !shrink_stopped(k); k->pass++)
		;
	if (isatty(2))
		fprintf(stderr, "\r\033[K");
	int code = finish(k, from, a);
	mem_free(from);
	return code;
}

int lab_shrink(int argc, char **argv)
{
	struct arguments a;
	if (!parse(&a, argc, argv)) {
		fputs("usage: ostrakon-lab shrink NAME|FILE [--seed S] [-o FILE] [--seconds T] "
		      "[--tries N]\n",
		      stderr);
		return LAB_EXIT_USAGE;
	}
	if (a.help)
		return LAB_SHOW_USAGE;
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	struct shrink *k = mem_zalloc(sizeof *k);
	void *shared = mmap(NULL, sizeof *k->run, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	invariant(shared != MAP_FAILED);
	*k = (struct shrink){.run = shared,
			     .next = mem_zalloc(sizeof *k->next),
			     .tries = a.tries,
			     .seconds = a.seconds,
			     .began = seconds_now(),
			     .step = ""};
	int code = shrink(k, &a);
	munmap(k->run, sizeof *k->run);
	mem_free(k->next);
	mem_free(k->seen);
	mem_free(k);
	return code;
}
