#include "tools/lab/pool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

struct job {
	pid_t pid;
	int fd; /* -1: it has said its last */
};
struct report {
	bool last;
	size_t task;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
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

static bool write_all(int fd, const void *ptr, size_t len)
{
	for (const char *p = ptr; len;) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool read_all(int fd, void *ptr, size_t len)
{
	for (char *p = ptr; len;) {
		ssize_t n = read(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* next: of all children. */
static void child(const struct pool *p, size_t *next, int fd)
{
	void *result = mem_alloc(p->size);
	struct report r = {0};
	while ((r.task = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) < p->tasks) {
		memset(result, 0, p->size);
		p->work(p->ctx, r.task, result);
		if (!write_all(fd, &r, sizeof r) || !write_all(fd, result, p->size))
			_exit(1);
	}
	r.last = true;
	_exit(write_all(fd, &r, sizeof r) ? 0 : 1);
}

static bool start(const struct pool *p, struct job *jobs, unsigned j, size_t *next)
{
	int fd[2];
	fflush(NULL);
	if (pipe(fd) != 0)
		return false;
	jobs[j] = (struct job){fork(), fd[0]};
	if (jobs[j].pid == 0) {
		signal(SIGINT, SIG_IGN); /* the parent ends us */
		signal(SIGTERM, SIG_DFL);
		for (unsigned other = 0; other <= j; other++)
			close(jobs[other].fd);
		child(p, next, fd[1]);
	}
	close(fd[1]);
	if (jobs[j].pid < 0)
		close(fd[0]);
	return jobs[j].pid > 0;
}

#define TERMINAL_EVERY_S 0.2
#define LOG_EVERY_S	 10.0

static void show(const struct pool *p, size_t done, double began, bool end)
{
	static double shown;
	double now = seconds_now(), took = now - began;
	bool terminal = isatty(2);
	if (!terminal && !p->progress)
		return;
	if (!end && now - shown < (terminal ? TERMINAL_EVERY_S : LOG_EVERY_S))
		return;
	shown = now;
	size_t all = p->count ? p->count : p->tasks;
	double some = (double)all * (double)done / (double)p->tasks;
	double rate = took > 0 ? some / took : 0;
	char remark[64] = "";
	if (p->remark)
		p->remark(p->ctx, remark, sizeof remark);
	fprintf(stderr, "%s%.0f of %zu %s, %.1f/s, %.0f s left%s%s   %s", terminal ? "\r" : "",
		some, all, p->what, rate, rate > 0 ? ((double)all - some) / rate : 0.0,
		*remark ? ", " : "", remark, terminal && !end ? "" : "\n");
}

/* One report of each job that has one. False: a job died. */
static bool collect(const struct pool *p, struct job *jobs, unsigned count, void *result,
		    size_t *done, unsigned *open)
{
	struct pollfd fds[POOL_JOBS_MAX];
	bool whole = true;
	for (unsigned j = 0; j < count; j++)
		fds[j] = (struct pollfd){.fd = jobs[j].fd, .events = POLLIN};
	if (poll(fds, count, 200) <= 0)
		return true;
	for (unsigned j = 0; j < count; j++) {
		struct report r;
		if (fds[j].fd < 0 || !fds[j].revents)
			continue;
		bool good = read_all(fds[j].fd, &r, sizeof r);
		if (good && !r.last) {
			good = read_all(fds[j].fd, result, p->size);
			if (good) {
				p->done(p->ctx, r.task, result);
				++*done;
				continue;
			}
		}
		whole &= good;
		close(jobs[j].fd);
		jobs[j].fd = -1;
		--*open;
	}
	return whole;
}

enum pool_end pool_run(const struct pool *p)
{
	struct job jobs[POOL_JOBS_MAX];
	unsigned count = 0, open;
	size_t done = 0;
	double began = seconds_now();
	bool whole = true;
	size_t *next = mmap(NULL, sizeof *next, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (next == MAP_FAILED)
		return POOL_DIED;
	*next = 0;
	invariant(p->jobs >= 1 && p->jobs <= POOL_JOBS_MAX);
	struct sigaction now = {.sa_handler = on_interrupt}, was_int, was_term;
	interrupted = 0;
	sigaction(SIGINT, &now, &was_int);
	sigaction(SIGTERM, &now, &was_term);
	while (count < p->jobs && count < p->tasks && whole) {
		whole = start(p, jobs, count, next);
		count += whole;
	}
	void *result = mem_alloc(p->size);
	whole = count > 0; /* fewer processes are slower, no worse */
	for (open = count; open && !interrupted;) {
		whole &= collect(p, jobs, count, result, &done, &open);
		show(p, done, began, !open);
	}
	for (unsigned j = 0; j < count; j++) {
		if (jobs[j].fd >= 0) {
			kill(jobs[j].pid, SIGTERM);
			close(jobs[j].fd);
		}
		waitpid(jobs[j].pid, NULL, 0);
	}
	sigaction(SIGINT, &was_int, NULL);
	sigaction(SIGTERM, &was_term, NULL);
	mem_free(result);
	munmap(next, sizeof *next);
	return open && interrupted ? POOL_INTERRUPTED : whole ? POOL_DONE : POOL_DIED;
}
