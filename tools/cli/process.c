/* Node processes: which one holds a home, signals to it and to no other, starting it. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/cli/network.h"

#define PID_FILE       "ostrakond.pid"
#define LOG_FILE       "ostrakond.log"
#define LOG_TAIL_BYTES (256 << 10)

/* From /proc/PID/stat: state letter and start time. False if there is no such process. */
static bool process_stat(pid_t pid, char *state, uint64_t *start)
{
	char path[64], text[1024], *p;
	unsigned long long ticks;
	long threads = 0;
	FILE *f;
	size_t n;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	p = strrchr(text, ')'); /* the name before may hold anything */
	if (p == NULL || sscanf(p + 1, " %c", state) != 1)
		return false;
	/* proc(5): state is field 3, num_threads field 20, starttime field 22 */
	for (int field = 3; field < 20 && p != NULL; field++)
		p = strchr(p + 2, ' ');
	if (p == NULL || sscanf(p, " %ld %*d %llu", &threads, &ticks) != 2)
		return false;
	/* Its first thread has died of the signal, others not yet: they hold files and locks. */
	if (*state == 'Z' && threads > 1)
		*state = 'R';
	*start = ticks;
	return true;
}

/* Did a process with this start time start before the file was written? A recycled number
 * belongs to a process that is younger than the file. */
static bool started_before(uint64_t start_ticks, const struct stat *file)
{
	struct timespec wall, boot;
	double started, written;

	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	started = (double)wall.tv_sec - (double)boot.tv_sec +
		  (double)(wall.tv_nsec - boot.tv_nsec) / 1e9 +
		  (double)start_ticks / (double)sysconf(_SC_CLK_TCK);
	written = (double)file->st_mtim.tv_sec + (double)file->st_mtim.tv_nsec / 1e9;
	return started < written + 0.5; /* ticks are a hundredth of a second */
}

static bool is_ostrakond(pid_t pid)
{
	char path[64], name[32] = "";
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	if (fgets(name, sizeof name, f) == NULL)
		name[0] = '\0';
	fclose(f);
	return strstr(name, "ostrakond") != NULL;
}

void process_find(const char *home, struct process *out)
{
	char path[PATH_SIZE + 32], text[32] = "", state;
	struct stat st;
	uint64_t pid;
	int fd;
	ssize_t n;

	memset(out, 0, sizeof *out);
	snprintf(path, sizeof path, "%s/" PID_FILE, home);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof text - 1);
	if (fstat(fd, &st) != 0)
		n = -1;
	close(fd);
	if (n <= 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	if (parse_u64(&pid, text, 2, INT32_MAX) != ERR_NONE ||
	    !process_stat((pid_t)pid, &state, &out->start) || state == 'Z' || state == 'X' ||
	    !is_ostrakond((pid_t)pid) || !started_before(out->start, &st))
		return;
	out->pid = (pid_t)pid;
	out->state = state == 'T' ? PROCESS_PAUSED : PROCESS_RUNNING;
}

bool process_alive(const struct process *p)
{
	uint64_t start;
	char state;

	return p->pid > 0 && process_stat(p->pid, &state, &start) && start == p->start &&
	       state != 'Z' && state != 'X';
}

int process_signal(const struct process *p, int signal_number)
{
	int fd, rc;

	invariant(p->pid > 1);
	/* The descriptor pins the process: if it is still the right one now, the signal cannot
	 * reach another that got its number in between. */
	fd = pidfd_open(p->pid, 0);
	if (!process_alive(p)) {
		if (fd >= 0)
			close(fd);
		return ERR_NOT_FOUND;
	}
	rc = fd >= 0 ? pidfd_send_signal(fd, signal_number, NULL, 0)
		     : kill(p->pid, signal_number);
	if (fd >= 0)
		close(fd);
	if (rc == 0)
		return ERR_NONE;
	return errno == ESRCH ? ERR_NOT_FOUND : ERR_PERMISSION;
}

/* ---- starting -------------------------------------------------------------------------- */

static bool beside_this_program(char out[PATH_SIZE])
{
	/* installed; in a build directory */
	static const char *const places[] = {"ostrakond", "../src/node/ostrakond"};
	char self[PATH_SIZE], *dir;
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n <= 0)
		return false;
	self[n] = '\0';
	dir = dirname(self);
	for (size_t i = 0; i < MEM_COUNT(places); i++)
		if (snprintf(out, PATH_SIZE, "%s/%s", dir, places[i]) < PATH_SIZE &&
		    access(out, X_OK) == 0)
			return true;
	return false;
}

int ostrakond_find(char out[PATH_SIZE], struct errmsg *m)
{
	const char *given = getenv("OSTRAKOND"), *path = getenv("PATH");

	if (given != NULL && *given) {
		if (strlen(given) < PATH_SIZE && access(given, X_OK) == 0) {
			snprintf(out, PATH_SIZE, "%s", given);
			return ERR_NONE;
		}
		return err_set(m, ERR_NOT_FOUND, "OSTRAKOND is %s, which cannot be run: %s",
			       given, strerror(errno));
	}
	if (beside_this_program(out))
		return ERR_NONE;
	while (path != NULL && *path) {
		int n = (int)strcspn(path, ":");
		if (n > 0 && snprintf(out, PATH_SIZE, "%.*s/ostrakond", n, path) < PATH_SIZE &&
		    access(out, X_OK) == 0)
			return ERR_NONE;
		path += n + (path[n] == ':');
	}
	return err_set(m, ERR_NOT_FOUND,
		       "the program ostrakond is neither beside this one nor in "
		       "PATH; OSTRAKOND may name it");
}

/* Only after fork(). */
static _Noreturn void become_node(char *const argv[], int log_fd, int report_fd)
{
	static const int defaults[] = {SIGINT, SIGTERM, SIGPIPE, SIGHUP};
	int null_fd, saved;

	setsid();
	/* What is meant for this program must not move every node to one address. */
	unsetenv("OSTRAKON_API_LISTEN");
	unsetenv("OSTRAKON_PEERS_LISTEN");
	/* glibc asks for its heap in large pages, where the kernel has them for who asks: 1 to 6 %
	 * less CPU time (docs/performance-live.md), 5 to 10 MiB more memory. Whoever has set
	 * tunables of his own keeps those. */
	setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 0);
	for (size_t i = 0; i < MEM_COUNT(defaults); i++)
		signal(defaults[i], SIG_DFL);
	null_fd = open("/dev/null", O_RDONLY);
	if (null_fd >= 0 && dup2(null_fd, 0) == 0 && dup2(log_fd, 1) == 1 &&
	    dup2(log_fd, 2) == 2)
		execv(argv[0], argv);
	saved = errno;
	(void)!write(report_fd, &saved, sizeof saved);
	_exit(127);
}

int process_start(const char *program, const char *home, pid_t *pid, struct errmsg *m)
{
	char log_path[PATH_SIZE + 32], api_path[PATH_SIZE + 32], absolute[PATH_SIZE];
	char *argv[] = {(char *)program, "run", "--home", absolute, NULL};
	int log_fd, report[2], failed = 0;

	if (realpath(home, absolute) == NULL)
		return err_set(m, ERR_IO, "%s: %s", home, strerror(errno));
	snprintf(log_path, sizeof log_path, "%s/" LOG_FILE, home);
	/* A killed node leaves the address that it had; it may get another now. */
	snprintf(api_path, sizeof api_path, "%s/api", home);
	unlink(api_path);
	log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (log_fd < 0)
		return err_set(m, ERR_IO, "cannot write %s: %s", log_path, strerror(errno));
	if (pipe2(report, O_CLOEXEC) != 0) {
		close(log_fd);
		return err_set(m, ERR_IO, "no pipe: %s", strerror(errno));
	}
	*pid = fork();
	if (*pid == 0)
		become_node(argv, log_fd, report[1]);
	close(report[1]);
	close(log_fd);
	/* exec closes the pipe; a failure writes into it */
	if (*pid < 0 || read(report[0], &failed, sizeof failed) != (ssize_t)sizeof failed)
		failed = *pid < 0 ? errno : 0;
	close(report[0]);
	if (failed != 0) {
		if (*pid > 0)
			waitpid(*pid, NULL, 0);
		return err_set(m, ERR_IO, "cannot start %s: %s", program, strerror(failed));
	}
	return ERR_NONE;
}

char *log_tail(const char *home, unsigned lines)
{
	char path[PATH_SIZE + 32], *text, *p;
	unsigned seen = 0;
	struct stat st;
	off_t from;
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "%s/" LOG_FILE, home);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		if (fd >= 0)
			close(fd);
		return mem_strdup("");
	}
	from = st.st_size > LOG_TAIL_BYTES ? st.st_size - LOG_TAIL_BYTES : 0;
	text = mem_zalloc(LOG_TAIL_BYTES + 1);
	n = pread(fd, text, LOG_TAIL_BYTES, from);
	close(fd);
	if (n <= 0)
		n = 0;
	text[n] = '\0';
	p = text + strlen(text);
	if (p > text && p[-1] == '\n')
		p--;
	while (p > text && seen < lines)
		if (*--p == '\n' && ++seen == lines)
			p++;
	p = mem_strdup(p);
	mem_free(text);
	return p;
}
