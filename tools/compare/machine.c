#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/sign.h"
#include "tools/compare/compare.h"

#define VERIFY_S 0.3
#define SIGN_S	 0.1
#define SYNCS	 101
#define TRIPS	 101
#define TRIP	 200 /* bytes there, and bytes back */

unsigned machine_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) != 0)
		return 1;
	return (unsigned)CPU_COUNT(&set);
}

static double clock_s(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double machine_now_s(void)
{
	return clock_s(CLOCK_MONOTONIC);
}

/* By this thread's own clock, so that others who want the core do not count. */
double machine_verify_per_s(void)
{
	static const struct hash chain;
	uint8_t bytes[300] = {1};
	struct keypair key;
	struct signature sig;
	double begin, now;
	unsigned count = 0;

	keypair_generate(&key);
	sig_make(SIG_ED25519, &sig, &key, SIG_TAG_TX, &chain, slice_of(bytes, sizeof bytes));
	begin = clock_s(CLOCK_THREAD_CPUTIME_ID);
	do {
		for (int i = 0; i < 64; i++, count++)
			if (sig_check(SIG_ED25519, &sig, &key.pub, SIG_TAG_TX, &chain,
				      slice_of(bytes, sizeof bytes)) != ERR_NONE)
				return 0;
		now = clock_s(CLOCK_THREAD_CPUTIME_ID);
	} while (now - begin < VERIFY_S);
	return count / (now - begin);
}

double machine_sign_per_s(void)
{
	static const struct hash chain;
	static const uint8_t vote[100];
	struct keypair key;
	struct signature sig;
	double begin, now;
	unsigned count = 0;

	keypair_generate(&key);
	begin = clock_s(CLOCK_THREAD_CPUTIME_ID);
	do {
		for (int i = 0; i < 64; i++, count++)
			sig_make(SIG_ED25519, &sig, &key, SIG_TAG_PREPARE_FAST, &chain,
				 slice_of(vote, sizeof vote));
		now = clock_s(CLOCK_THREAD_CPUTIME_ID);
	} while (now - begin < SIGN_S);
	return count / (now - begin);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

struct syncer {
	char *path;
	pthread_barrier_t *start;
	double ms[SYNCS];
	bool ok;
};

static void *append_and_sync(void *arg)
{
	static const uint8_t page[4096];
	struct syncer *s = arg;
	int fd = open(s->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	s->ok = fd >= 0;
	for (int i = 0; i < SYNCS; i++) {
		double begin;
		pthread_barrier_wait(s->start);
		begin = machine_now_s();
		s->ok = s->ok && write(fd, page, sizeof page) == sizeof page &&
			fdatasync(fd) == 0;
		s->ms[i] = (machine_now_s() - begin) * 1e3;
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

double machine_fdatasync_ms(const char *dir, unsigned files)
{
	struct syncer *s = mem_array(files, sizeof *s);
	pthread_t *thread = mem_array(files, sizeof *thread);
	double *ms = mem_array(files * SYNCS, sizeof *ms), median;
	pthread_barrier_t start;
	bool ok = true;

	invariant(files > 0);
	pthread_barrier_init(&start, NULL, files);
	for (unsigned f = 0; f < files; f++) {
		s[f].path = mem_printf("%s/sync-probe-%u", dir, f);
		s[f].start = &start;
		invariant(pthread_create(&thread[f], NULL, append_and_sync, &s[f]) == 0);
	}
	for (unsigned f = 0; f < files; f++) {
		pthread_join(thread[f], NULL);
		ok = ok && s[f].ok;
		memcpy(ms + (size_t)f * SYNCS, s[f].ms, sizeof s[f].ms);
		unlink(s[f].path);
		mem_free(s[f].path);
	}
	pthread_barrier_destroy(&start);
	qsort(ms, (size_t)files * SYNCS, sizeof ms[0], compare_doubles);
	median = ms[(size_t)files * SYNCS / 2];
	mem_free(ms);
	mem_free(thread);
	mem_free(s);
	return ok ? median : -1;
}

static int loopback_pair(int fd[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fd[1] = -1;
	if (listener >= 0 && fd[0] >= 0 &&
	    bind(listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(listener, 1) == 0 &&
	    getsockname(listener, (struct sockaddr *)&a, &len) == 0 &&
	    connect(fd[0], (struct sockaddr *)&a, sizeof a) == 0)
		fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (listener >= 0)
		close(listener);
	for (int i = 0; i < 2 && fd[1] >= 0; i++)
		setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd[1] >= 0 ? 0 : -1;
}

/* The CPU of this number of those that we may use, if there are as many. */
static void move_to_cpu(const cpu_set_t *allowed, int which)
{
	cpu_set_t one;

	for (int c = 0; c < CPU_SETSIZE; c++)
		if (CPU_ISSET(c, allowed) && which-- == 0) {
			CPU_ZERO(&one);
			CPU_SET(c, &one);
			sched_setaffinity(0, sizeof one, &one);
			return;
		}
}

struct echo {
	int fd;
	const cpu_set_t *allowed;
};

static void *echo(void *arg)
{
	const struct echo *e = arg;
	uint8_t bytes[TRIP];

	move_to_cpu(e->allowed, 1);
	while (recv(e->fd, bytes, sizeof bytes, MSG_WAITALL) == TRIP &&
	       send(e->fd, bytes, sizeof bytes, MSG_NOSIGNAL) == TRIP)
		;
	return NULL;
}

/* A millisecond apart, so that both sides have gone to sleep, as they have when one client
 * waits for its answer; and on different CPUs, as nodes are that have work of their own: on the
 * same one it is a fifth as long. */
double machine_round_trip_ms(void)
{
	uint8_t bytes[TRIP] = {0};
	double ms[TRIPS];
	cpu_set_t allowed;
	pthread_t thread;
	int fd[2];

	CPU_ZERO(&allowed);
	sched_getaffinity(0, sizeof allowed, &allowed);
	bool ok = loopback_pair(fd) == 0;
	struct echo other = {.fd = fd[1], .allowed = &allowed};
	bool started = ok && pthread_create(&thread, NULL, echo, &other) == 0;

	ok = started;
	move_to_cpu(&allowed, 0);
	for (int i = 0; ok && i < TRIPS; i++) {
		double begin;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		begin = machine_now_s();
		ok = send(fd[0], bytes, sizeof bytes, MSG_NOSIGNAL) == TRIP &&
		     recv(fd[0], bytes, sizeof bytes, MSG_WAITALL) == TRIP;
		ms[i] = (machine_now_s() - begin) * 1e3;
	}
	sched_setaffinity(0, sizeof allowed, &allowed);
	if (started) {
		shutdown(fd[0], SHUT_RDWR);
		pthread_join(thread, NULL);
	}
	for (int i = 0; i < 2; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	if (!ok)
		return -1;
	qsort(ms, TRIPS, sizeof ms[0], compare_doubles);
	return ms[TRIPS / 2];
}

/* CPU seconds that all CPUs worked since the start of the machine. */
static double machine_busy_s(void)
{
	unsigned long long user, nice, sys, idle, iowait, irq, softirq, steal;
	FILE *f = fopen("/proc/stat", "re");
	int n = 0;

	if (f != NULL) {
		n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &sys,
			   &idle, &iowait, &irq, &softirq, &steal);
		fclose(f);
	}
	if (n != 8)
		return 0;
	return (double)(user + nice + sys + irq + softirq + steal) /
	       (double)sysconf(_SC_CLK_TCK);
}

/* A number after "name:" in /proc/PID/file; 0 if there is none. */
static double proc_number(pid_t pid, const char *file, const char *name)
{
	char path[64], line[256];
	double v = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			v = strtod(line + strlen(name) + 1, NULL);
	if (f != NULL)
		fclose(f);
	return v;
}

/* Of the scheduler's own account in nanoseconds, not of clock ticks. */
static double cpu_of(pid_t pid)
{
	char path[320];
	double sum = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL) {
		unsigned long long ns;
		FILE *f;
		snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (f != NULL && fscanf(f, "%llu", &ns) == 1)
			sum += (double)ns / 1e9;
		if (f != NULL)
			fclose(f);
	}
	if (d != NULL)
		closedir(d);
	return sum;
}

static void usage_of(const pid_t *pid, unsigned count, struct usage *out)
{
	*out = (struct usage){0};
	for (unsigned i = 0; i < count; i++) {
		double rss = proc_number(pid[i], "status", "VmRSS") / 1024,
		       threads = proc_number(pid[i], "status", "Threads");
		out->cpu_s += cpu_of(pid[i]);
		out->disk_bytes += proc_number(pid[i], "io", "write_bytes");
		out->rss_mib = rss > out->rss_mib ? rss : out->rss_mib;
		out->threads = threads > out->threads ? threads : out->threads;
	}
}

/* CPU seconds of this program and of children that have ended: the load, with what it signs
 * before and reads again afterwards. */
static double own_cpu_s(void)
{
	static const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
	double sum = 0;

	for (size_t i = 0; i < MEM_COUNT(whose); i++) {
		struct rusage u;
		if (getrusage(whose[i], &u) == 0)
			sum += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
			       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
	}
	return sum;
}

void meter_start(struct meter *m, const pid_t *pid, unsigned count)
{
	m->pid = pid;
	m->count = count;
	usage_of(pid, count, &m->usage);
	m->own_s = own_cpu_s();
	m->busy_s = machine_busy_s();
	m->now_s = machine_now_s();
}

void meter_stop(const struct meter *m, double loader_cpu_s, double tx, struct sample *out)
{
	double busy = machine_busy_s() - m->busy_s, seconds = machine_now_s() - m->now_s;
	double own = own_cpu_s() - m->own_s, nodes, other;
	struct usage u;

	usage_of(m->pid, m->count, &u);
	nodes = u.cpu_s - m->usage.cpu_s;
	other = busy - nodes - own;
	out->other_share = other > 0 ? other / (seconds * machine_cores()) : 0;
	out->loader_share =
		nodes + loader_cpu_s > 0 ? loader_cpu_s / (nodes + loader_cpu_s) : 0;
	out->rss_mib = u.rss_mib;
	out->threads = u.threads;
	if (tx <= 0)
		return;
	out->node_cpu_us = nodes * 1e6 / tx;
	out->loader_cpu_us = loader_cpu_s * 1e6 / tx;
	out->disk_bytes = (u.disk_bytes - m->usage.disk_bytes) / tx / m->count;
}
