/* Processes of a live run: nodes, watchers, clients. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/lab/live.h"

#define ARGS_MAX   24
#define OUTPUT_MAX (16u << 20)

uint64_t live_now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t live_us(const struct live *w)
{
	return live_now_us() - w->began_us;
}

/* In a child: it does not outlive us, who are its network. */
static void die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
}

/* ---- children ---------------------------------------------------------------------------- */

bool child_cli(struct live *w, struct child *c, const char *const *args)
{
	char program[LAB_PATH_MAX];
	const char *argv[ARGS_MAX] = {program};
	int fds[2];
	unsigned count = 1;
	char log[600];
	snprintf(log, sizeof log, "%s/cli.log", w->dir); /* not there before `net init` */
	c->len = 0;
	c->ended = false;
	c->code = 127;
	if (!lab_find_program(program, "ostrakon") || pipe2(fds, O_CLOEXEC))
		return false;
	for (; args[count - 1] && count < ARGS_MAX - 1; count++)
		argv[count] = args[count - 1];
	argv[count] = NULL;
	pid_t self = getpid();
	c->pid = fork();
	if (c->pid == 0) {
		die_with(self);
		int null = open("/dev/null", O_RDWR);
		int said = open(log, O_WRONLY | O_APPEND | O_CREAT, 0644);
		dup2(null, 0);
		dup2(fds[1], 1);
		dup2(said >= 0 ? said : null, 2);
		execv(program, (char *const *)argv);
		_exit(127);
	}
	close(fds[1]);
	c->fd = fds[0];
	if (c->pid > 0)
		return true;
	close(fds[0]);
	*c = (struct child){.fd = -1};
	return false;
}

void child_end(struct child *c)
{
	if (c->pid > 0 && !c->ended) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	if (c->pid > 0 && c->fd >= 0)
		close(c->fd);
	mem_free(c->text);
	*c = (struct child){.fd = -1};
}

static void take_lines(struct live *w, struct child *c)
{
	size_t begin = 0;
	for (size_t i = 0; i < c->len; i++) {
		if (c->text[i] != '\n')
			continue;
		c->text[i] = 0;
		c->line(w, c, c->text + begin);
		begin = i + 1;
	}
	memmove(c->text, c->text + begin, c->len - begin);
	c->len -= begin;
}

static void read_child(struct live *w, struct child *c)
{
	if (c->cap - c->len < 65536) {
		c->cap = c->len + 131072;
		c->text = mem_realloc(c->text, c->cap);
	}
	ssize_t n = read(c->fd, c->text + c->len, c->cap - c->len - 1);
	if (n < 0 && errno == EINTR)
		return;
	if (n > 0 && c->len + (size_t)n < OUTPUT_MAX) {
		c->len += (size_t)n;
		c->text[c->len] = 0;
		if (c->line)
			take_lines(w, c);
		return;
	}
	int status = 0;
	close(c->fd);
	c->fd = -1;
	if (n > 0)
		kill(c->pid, SIGKILL);
	c->code = waitpid(c->pid, &status, 0) == c->pid && WIFEXITED(status)
			  ? WEXITSTATUS(status)
			  : 127;
	c->ended = true;
}

void live_pump(struct live *w, unsigned ms)
{
	struct pollfd fds[VALIDATORS_MAX + LIVE_CLIENTS_MAX + 1];
	struct child *of[VALIDATORS_MAX + LIVE_CLIENTS_MAX + 1];
	unsigned count = 0;
	for (unsigned i = 0; i < w->n; i++)
		of[count++] = &w->watcher[i];
	for (unsigned i = 0; i < LIVE_CLIENTS_MAX; i++)
		of[count++] = &w->client[i].put;
	if (w->call)
		of[count++] = w->call;
	unsigned live = 0;
	for (unsigned i = 0; i < count; i++)
		if (of[i]->pid > 0 && !of[i]->ended) {
			of[live] = of[i];
			fds[live++] = (struct pollfd){.fd = of[i]->fd, .events = POLLIN};
		}
	if (poll(fds, live, (int)ms) <= 0)
		return;
	for (unsigned i = 0; i < live; i++)
		if (fds[i].revents)
			read_child(w, of[i]);
}

void live_wait(struct live *w, unsigned ms)
{
	uint64_t until = live_now_us() + (uint64_t)ms * 1000;
	for (uint64_t now; (now = live_now_us()) < until && !live_interrupted();)
		live_pump(w, (unsigned)((until - now) / 1000 + 1));
}

int live_cli(struct live *w, char **out, const char *const *args)
{
	struct child c = {.fd = -1};
	if (!child_cli(w, &c, args))
		return 127;
	w->call = &c;
	while (!c.ended && !live_interrupted())
		live_pump(w, 1000);
	w->call = NULL;
	int code = c.code;
	if (out)
		*out = mem_dup(c.len ? c.text : "", c.len + 1);
	child_end(&c);
	return code;
}

struct json *live_ask(struct live *w, unsigned node, const char *const *verb)
{
	struct errmsg m;
	const char *args[ARGS_MAX - 2];
	unsigned count = 0;
	for (; verb[count] && count < 8; count++)
		args[count] = verb[count];
	if (node < w->n) {
		args[count++] = "--node";
		args[count++] = w->url[node];
	}
	args[count++] = "--home";
	args[count++] = w->dir;
	args[count++] = "--timeout";
	args[count++] = "5s";
	args[count++] = "-o";
	args[count++] = "json";
	args[count] = NULL;
	char *text = NULL;
	struct json *doc = NULL;
	if (live_cli(w, &text, args) == 0 && json_parse(&doc, slice_str(text), &m))
		doc = NULL;
	mem_free(text);
	return doc;
}

/* ---- nodes ------------------------------------------------------------------------------- */

static void names_of(char *out, size_t size, uint64_t attacks)
{
	*out = 0;
	for (unsigned a = 0; a < ATTACKS; a++)
		if (attacks >> a & 1)
			snprintf(out + strlen(out), size - strlen(out), "%s%s", *out ? "," : "",
				 attack_name((enum attack)a));
}

static void set_orders(const struct live *w, unsigned self)
{
	char attacks[1024], targets[32], team[8192] = "";
	names_of(attacks, sizeof attacks, w->s->attacks);
	snprintf(targets, sizeof targets, "%llu",
		 (unsigned long long)scenario_targets(w->s, w->n));
	for (unsigned i = 0; i < w->n; i++)
		if (i != self && w->malicious >> i & 1)
			snprintf(team + strlen(team), sizeof team - strlen(team), "%s%s/node%u",
				 *team ? ":" : "", w->dir, i + 1);
	setenv("OSTRAKON_FORGE_ATTACKS", attacks, 1);
	setenv("OSTRAKON_FORGE_TARGETS", targets, 1);
	setenv("OSTRAKON_FORGE_TEAM", team, 1);
	setenv("OSTRAKON_FORGE_MOODS", w->s->who == WHO_MOODS ? "1" : "0", 1);
	setenv("OSTRAKON_FORGE_LEADING", w->s->who == WHO_LEADER ? "1" : "0", 1);
	setenv("OSTRAKON_FORGE_FOLLOWING", w->s->who == WHO_FOLLOWER ? "1" : "0", 1);
}

bool live_start_node(struct live *w, unsigned i)
{
	char program[LAB_PATH_MAX], home[600], log[640];
	bool forged = w->malicious >> i & 1;
	if (!lab_find_program(program, forged ? "ostrakond-forged" : "ostrakond"))
		return false;
	snprintf(home, sizeof home, "%s/node%u", w->dir, i + 1);
	snprintf(log, sizeof log, "%s/ostrakond.log", home);
	pid_t self = getpid(), pid = fork();
	if (pid == 0) {
		die_with(self);
		int null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		setenv("OSTRAKON_DEBUG_FAULTS_FILE", LIVE_FAULTS_FILE, 1);
		if (forged)
			set_orders(w, i);
		execl(program, program, "run", "--home", home, "--log-file", log, (char *)NULL);
		_exit(127);
	}
	w->node[i] = pid > 0 ? pid : 0;
	w->avoid_until[i] = live_us(w) + LIVE_SETTLE_US;
	return pid > 0;
}

void live_kill_node(struct live *w, unsigned i)
{
	if (!w->node[i])
		return;
	live_counts_look(w, i);
	kill(w->node[i], SIGKILL);
	waitpid(w->node[i], NULL, 0);
	w->node[i] = 0;
	w->paused &= ~(UINT64_C(1) << i);
	w->r.crashes++;
}

void live_pause_node(struct live *w, unsigned i, bool pause)
{
	uint64_t bit = UINT64_C(1) << i;
	if (!w->node[i] || pause == ((w->paused & bit) != 0))
		return;
	kill(w->node[i], pause ? SIGSTOP : SIGCONT);
	w->avoid_until[i] = live_us(w) + LIVE_SETTLE_US;
	w->paused ^= bit;
}

void live_stop(struct live *w)
{
	for (unsigned i = 0; i < w->n; i++)
		if (w->node[i]) {
			kill(w->node[i], SIGCONT);
			kill(w->node[i], live_interrupted() ? SIGKILL : SIGTERM);
		}
	for (unsigned i = 0; i < w->n; i++) {
		bool patient = !live_interrupted();
		for (unsigned tries = 0; w->node[i] && patient && tries < 200; tries++) {
			if (waitpid(w->node[i], NULL, WNOHANG) == w->node[i])
				w->node[i] = 0;
			else
				live_wait(w, 50);
		}
		if (w->node[i]) {
			kill(w->node[i], SIGKILL);
			waitpid(w->node[i], NULL, 0);
			w->node[i] = 0;
		}
	}
}

/* ---- forged ones ------------------------------------------------------------------------- */

void live_order(struct live *w, uint64_t attacks)
{
	char names[1024], path[640], fresh[660];
	names_of(names, sizeof names, attacks);
	for (unsigned i = 0; i < w->n; i++) {
		if (!(w->malicious >> i & 1))
			continue;
		snprintf(path, sizeof path, "%s/node%u/orders", w->dir, i + 1);
		snprintf(fresh, sizeof fresh, "%s.new", path);
		FILE *f = fopen(fresh, "w");
		if (!f)
			continue;
		fprintf(f, "%s\n", names);
		if (fclose(f) == 0)
			rename(fresh, path);
	}
}

void live_count_strikes(struct live *w)
{
	char path[640], name[64];
	unsigned long long count;
	memset(w->r.strikes, 0, sizeof w->r.strikes);
	for (unsigned i = 0; i < w->n; i++) {
		if (!(w->malicious >> i & 1))
			continue;
		snprintf(path, sizeof path, "%s/node%u/strikes", w->dir, i + 1);
		FILE *f = fopen(path, "r");
		while (f && fscanf(f, "%63s %llu", name, &count) == 2) {
			int a = attack_by_name(name);
			if (a >= 0)
				w->r.strikes[a] += count;
		}
		if (f)
			fclose(f);
	}
}
