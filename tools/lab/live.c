/* Scenarios with real processes: `ostrakon net init` makes the homes, ostrakond runs the
 * correct replicas, ostrakond-forged the malicious ones (the same main loop, the engine
 * wrapped), and `ostrakon put` is the client, whose acknowledged writes are read back with
 * proofs at the end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/lab/lab.h"

#define OUTPUT_MAX (4u << 20)

struct network {
	const struct lab_options *o;
	const struct scenario *s;
	unsigned n, forged; /* the last `forged` ones */
	char dir[560], bin[512];
	pid_t pid[VALIDATORS_MAX];
	uint64_t put, acknowledged;
};

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pause_ms(unsigned ms)
{
	struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
	nanosleep(&t, NULL);
}

/* ---- processes --------------------------------------------------------------------------- */

static bool beside(const struct network *w, char out[600], const char *name)
{
	static const char *const places[] = {"", "../src/node/", "../libexec/ostrakon/"};
	for (unsigned i = 0; i < MEM_COUNT(places); i++) {
		snprintf(out, 600, "%s/%s%s", w->bin, places[i], name);
		if (access(out, X_OK) == 0)
			return true;
	}
	fprintf(stderr, "ostrakon-lab: the program %s is not beside this one\n", name);
	return false;
}

/* Runs the CLI; its standard output goes to out (NULL: nowhere). Returns its exit code. */
static int cli(const struct network *w, char **out, const char *const *args)
{
	char program[600];
	const char *argv[32] = {program};
	int fds[2], status;
	unsigned count = 1;
	if (!beside(w, program, "ostrakon") || pipe(fds))
		return 127;
	for (; args[count - 1] && count < 30; count++)
		argv[count] = args[count - 1];
	argv[count] = NULL;
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(fds[1], 1);
		dup2(null, 2);
		close(fds[0]);
		execv(program, (char *const *)argv);
		_exit(127);
	}
	close(fds[1]);
	char *text = mem_alloc(OUTPUT_MAX);
	size_t len = 0;
	for (ssize_t got; len + 1 < OUTPUT_MAX &&
			  (got = read(fds[0], text + len, OUTPUT_MAX - 1 - len)) > 0;)
		len += (size_t)got;
	text[len] = 0;
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		status = 127 << 8;
	if (out)
		*out = text;
	else
		mem_free(text);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}

static struct json *ask(const struct network *w, unsigned node, const char *const *verb)
{
	char url[600], path[600];
	struct errmsg m;
	const char *args[16];
	unsigned count = 0;
	snprintf(path, sizeof path, "%s/node%u/api", w->dir, node + 1);
	FILE *f = fopen(path, "r");
	if (!f || !fgets(url, sizeof url, f)) {
		if (f)
			fclose(f);
		return NULL;
	}
	fclose(f);
	url[strcspn(url, "\r\n")] = 0;
	while (verb[count] && count < 8) {
		args[count] = verb[count];
		count++;
	}
	args[count++] = "--node";
	args[count++] = url;
	args[count++] = "--home";
	args[count++] = w->dir;
	args[count++] = "-o";
	args[count++] = "json";
	args[count] = NULL;
	char *text;
	struct json *doc = NULL;
	if (cli(w, &text, args) == 0 && json_parse(&doc, slice_str(text), &m))
		doc = NULL;
	mem_free(text);
	return doc;
}

static bool start_node(struct network *w, unsigned i, bool forged)
{
	char program[600], home[600], log[640], targets[32];
	if (!beside(w, program, forged ? "ostrakond-forged" : "ostrakond"))
		return false;
	snprintf(home, sizeof home, "%s/node%u", w->dir, i + 1);
	snprintf(log, sizeof log, "%s/ostrakond.log", home);
	char attacks[512] = "";
	for (unsigned a = 0; a < ATTACKS; a++)
		if (w->s->attacks >> a & 1)
			snprintf(attacks + strlen(attacks), sizeof attacks - strlen(attacks),
				 "%s%s", *attacks ? "," : "", attack_name((enum attack)a));
	snprintf(targets, sizeof targets, "%llu",
		 (unsigned long long)scenario_targets(w->s, w->n));
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		if (forged) {
			setenv("OSTRAKON_FORGE_ATTACKS", attacks, 1);
			setenv("OSTRAKON_FORGE_TARGETS", targets, 1);
			setenv("OSTRAKON_FORGE_MOODS", w->s->who == WHO_MOODS ? "1" : "0", 1);
			setenv("OSTRAKON_FORGE_LEADING", w->s->who == WHO_LEADER ? "1" : "0",
			       1);
		}
		execl(program, program, "run", "--home", home, "--log-file", log, (char *)NULL);
		_exit(127);
	}
	w->pid[i] = pid;
	return pid > 0;
}

static void stop_all(struct network *w)
{
	for (unsigned i = 0; i < w->n; i++)
		if (w->pid[i] > 0) {
			kill(w->pid[i], SIGCONT);
			kill(w->pid[i], SIGTERM);
		}
	for (unsigned i = 0; i < w->n; i++) {
		for (unsigned waited = 0; w->pid[i] > 0 && waited < 100; waited++) {
			if (waitpid(w->pid[i], NULL, WNOHANG) == w->pid[i])
				w->pid[i] = 0;
			else
				pause_ms(50);
		}
		if (w->pid[i] > 0) {
			kill(w->pid[i], SIGKILL);
			waitpid(w->pid[i], NULL, 0);
		}
	}
}

/* ---- the run ----------------------------------------------------------------------------- */

static int leader_of(const struct network *w)
{
	static const char *const verb[] = {"status", NULL};
	for (unsigned i = 0; i < w->n; i++) {
		struct json *doc = ask(w, i, verb);
		const char *role = "";
		bool leads = doc && json_read_string(doc, "role", &role) == ERR_NONE &&
			     strcmp(role, "leader") == 0;
		json_free(doc);
		if (leads)
			return (int)i;
	}
	return -1;
}

/* Honest leaders are stopped for a while until a forged node leads. */
static bool let_forged_lead(struct network *w)
{
	static const char *const verb[] = {"modes", NULL};
	for (unsigned tries = 0; tries < 60; tries++) {
		int leader = leader_of(w);
		struct json *modes =
			ask(w, 0, verb); /* it may have led, and be deposed already */
		bool changed = json_len(json_get(modes, "entries")) > 0;
		json_free(modes);
		if (changed)
			return true;
		if (leader >= (int)(w->n - w->forged))
			return true;
		if (leader >= 0) {
			kill(w->pid[leader], SIGSTOP);
			pause_ms(900);
			kill(w->pid[leader], SIGCONT);
		}
		pause_ms(200);
	}
	return false;
}

/* A batch of puts: from a file, each certificate verified by the CLI. */
static void put_some(struct network *w, unsigned count)
{
	char path[600];
	snprintf(path, sizeof path, "%s/batch", w->dir);
	FILE *f = fopen(path, "w");
	if (!f)
		return;
	for (unsigned i = 0; i < count; i++)
		fprintf(f, "lab-%llu value-%llu\n", (unsigned long long)(w->put + i),
			(unsigned long long)(w->put + i));
	fclose(f);
	const char *const args[] = {"put",  "--from",	 path,	"--home",
				    w->dir, "--timeout", "10s", NULL};
	if (cli(w, NULL, args) != 0)
		return; /* the outcome of some is not known: not acknowledged */
	char log[600];
	snprintf(log, sizeof log, "%s/acknowledged", w->dir);
	f = fopen(log, "a");
	for (unsigned i = 0; f && i < count; i++)
		fprintf(f, "lab-%llu value-%llu\n", (unsigned long long)(w->put + i),
			(unsigned long long)(w->put + i));
	if (f)
		fclose(f);
	w->put += count;
	w->acknowledged += count;
}

static bool all_there(const struct network *w)
{
	char log[600];
	snprintf(log, sizeof log, "%s/acknowledged", w->dir);
	const char *const args[] = {"get",  "--from",	 log,	"--home",
				    w->dir, "--timeout", "60s", NULL};
	return w->acknowledged == 0 || cli(w, NULL, args) == 0;
}

static struct json *wait_for_modes(struct network *w, double until, bool want_return)
{
	static const char *const verb[] = {"modes", "--verify", NULL};
	struct json *best = NULL;
	while (now_s() < until || !best) {
		struct json *doc = ask(w, 0, verb);
		if (doc) {
			json_free(best);
			best = doc;
			const char *mode = "";
			json_read_string(doc, "mode", &mode);
			if (json_len(json_get(doc, "entries")) > 0 && want_return &&
			    strcmp(mode, "fast") == 0)
				break;
		}
		if (now_s() >= until)
			break;
		put_some(w, 20);
		pause_ms(100);
	}
	return best;
}

static struct json *report(struct network *w, const struct json *modes, bool kept, double wall)
{
	struct json *o = json_object();
	json_set(o, "scenario", json_string(w->s->name));
	json_set(o, "live", json_bool(true));
	json_set(o, "nodes", json_int(w->n));
	json_set(o, "forged", json_int(w->forged));
	json_set(o, "acknowledged", json_int((int64_t)w->acknowledged));
	json_set(o, "all_acknowledged_there", json_bool(kept));
	struct json *copy = NULL;
	char *text = modes ? json_dump(modes, false) : NULL;
	if (!text || json_parse(&copy, slice_str(text), NULL))
		copy = json_null();
	mem_free(text);
	json_set(o, "modes", copy);
	json_set(o, "proofs_verified_offline", json_bool(modes != NULL));
	json_set(o, "wall_s", json_real(wall));
	json_set(o, "directory", json_string(w->dir));
	return o;
}

static bool has_entry(const struct json *modes, const char *kind, const char *reason)
{
	const struct json *list = json_get(modes, "entries");
	for (size_t i = 0; i < json_len(list); i++) {
		const char *k = "", *r = "";
		json_read_string(json_at(list, i), "kind", &k);
		json_read_string(json_at(list, i), "reason", &r);
		if (strcmp(k, kind) == 0 && (!reason || strcmp(r, reason) == 0))
			return true;
	}
	return false;
}

static bool check(const struct network *w, const struct json *modes, bool kept)
{
	const struct scenario *s = w->s;
	bool good = kept && w->acknowledged > 0;
	if (scenario_expects(s, EXPECT_CONVICTED))
		good &= has_entry(modes, "conviction", NULL);
	const struct expectation *change = scenario_expects(s, EXPECT_MODE_CHANGE);
	if (change)
		good &= has_entry(modes, "escalated",
				  change->value ? escalation_reason_name(
							  (enum escalation_reason)change->value)
						: NULL);
	if (scenario_expects(s, EXPECT_NO_MODE_CHANGE))
		good &= json_len(json_get(modes, "entries")) == 0;
	if (scenario_expects(s, EXPECT_RETURN)) {
		const char *mode = "";
		json_read_string(modes, "mode", &mode);
		good &= strcmp(mode, "fast") == 0;
	}
	return good;
}

static void show(const struct network *w, const struct json *modes, bool kept, bool good)
{
	const struct json *list = json_get(modes, "entries");
	printf("%s, live, n=%u, %u forged: %llu writes acknowledged, all there: %s\n",
	       w->s->name, w->n, w->forged, (unsigned long long)w->acknowledged,
	       kept ? "yes" : "NO");
	for (size_t i = 0; i < json_len(list); i++) {
		char *text = json_dump(json_at(list, i), false);
		printf("  %s\n", text);
		mem_free(text);
	}
	printf("expectations: %s\n", good ? "hold" : "DO NOT HOLD");
}

int lab_live(const struct lab_options *o)
{
	struct scenario s;
	struct errmsg m;
	struct network w = {.o = o, .s = &s};
	if (scenario_read(&s, o->name, &m)) {
		fprintf(stderr, "ostrakon-lab: %s\n", m.text);
		return LAB_EXIT_CONFIG;
	}
	ssize_t len = readlink("/proc/self/exe", w.bin, sizeof w.bin - 1);
	if (len <= 0)
		return LAB_EXIT_CONFIG;
	w.bin[len] = 0;
	*strrchr(w.bin, '/') = 0;
	w.n = o->nodes ? o->nodes : s.nodes;
	w.forged = scenario_corrupt(&s, w.n);
	const char *tmp = getenv("TMPDIR");
	snprintf(w.dir, sizeof w.dir, "%s/ostrakon-lab-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(w.dir)) {
		fprintf(stderr, "ostrakon-lab: %s: %s\n", w.dir, strerror(errno));
		return LAB_EXIT_CONFIG;
	}
	char nodes[16], network[568];
	snprintf(nodes, sizeof nodes, "%u", w.n);
	snprintf(network, sizeof network, "%s/net", w.dir);
	memcpy(w.dir, network, sizeof w.dir - 1);
	double started = now_s();
	const char *const init[] = {"net", "init",	  w.dir, "--nodes",
				    nodes, "--probation", "1",	 "--checkpoint-interval",
				    "32",  NULL};
	if (cli(&w, NULL, init) != 0) {
		fprintf(stderr, "ostrakon-lab: `ostrakon net init %s` failed\n", w.dir);
		return LAB_EXIT_UNREACHABLE;
	}
	bool up = true;
	for (unsigned i = 0; i < w.n && up; i++)
		up = start_node(&w, i, i >= w.n - w.forged);
	for (unsigned tries = 0; up && tries < 100 && leader_of(&w) < 0; tries++)
		pause_ms(100);
	int code = LAB_EXIT_UNREACHABLE;
	if (!up || leader_of(&w) < 0) {
		fprintf(stderr,
			"ostrakon-lab: the network in %s did not come up; see the logs there\n",
			w.dir);
	} else {
		put_some(&w, 20);
		bool leads = s.who != WHO_LEADER || w.forged == 0 || let_forged_lead(&w);
		if (!leads)
			fprintf(stderr, "ostrakon-lab: no forged node came to lead\n");
		put_some(&w, 20);
		struct json *modes = wait_for_modes(
			&w, now_s() + o->seconds, scenario_expects(&s, EXPECT_RETURN) != NULL);
		bool kept = all_there(&w);
		bool good = leads && modes && check(&w, modes, kept);
		if (o->format == LAB_TABLE) {
			show(&w, modes, kept, good);
		} else {
			struct json *x = report(&w, modes, kept, now_s() - started);
			json_set(x, "expectations_hold", json_bool(good));
			lab_print(x, o->format);
			json_free(x);
		}
		json_free(modes);
		code = good ? LAB_EXIT_OK : LAB_EXIT_FAILED;
	}
	stop_all(&w);
	if (o->keep || code == LAB_EXIT_UNREACHABLE)
		fprintf(stderr, "kept: %s\n", w.dir);
	return code;
}
