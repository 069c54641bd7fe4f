#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/cli/cli.h"
#include "tools/compare/compare.h"

#define STOP_MS 5000

static pid_t start(const char *const argv[], int out, int err)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	dup2(out, 1);
	dup2(err, 2);
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

int child_run(const char *const argv[], char **text)
{
	struct writer w = {0};
	char part[4096];
	int fd[2], status;
	ssize_t n;
	size_t len;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) != 0)
		return -1;
	pid = start(argv, fd[1], 2);
	close(fd[1]);
	while ((n = read(fd[0], part, sizeof part)) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			writer_raw(&w, part, (size_t)n);
	close(fd[0]);
	writer_u8(&w, 0);
	*text = (char *)writer_take(&w, &len);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

pid_t child_start(const char *const argv[], const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	pid_t pid = fd < 0 ? -1 : start(argv, fd, fd);

	if (fd >= 0)
		close(fd);
	return pid;
}

bool child_runs(pid_t pid)
{
	return pid > 0 && waitpid(pid, NULL, WNOHANG) == 0;
}

void child_stop(pid_t pid)
{
	uint64_t until = now_ms() + STOP_MS;

	if (pid <= 0)
		return;
	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (now_ms() > until)
			kill(pid, SIGKILL);
		usleep(10000);
	}
}

unsigned free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0)
		getsockname(fd, (struct sockaddr *)&at, &len);
	if (fd >= 0)
		close(fd);
	return ntohs(at.sin_port);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
	(void)s, (void)type, (void)f;
	remove(path);
	return 0;
}

void remove_tree(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
