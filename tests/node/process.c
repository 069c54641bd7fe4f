#include "process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

pid_t process_start(char *const argv[], const char *log)
{
	pid_t pid = fork();
	invariant(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 1);
		dup2(fd, 2);
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

int process_end(pid_t pid)
{
	int status;
	invariant(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

pid_t node_start(const char *home, const char *log)
{
	char *argv[] = {"src/node/ostrakond", "run", "--home", (char *)home, NULL};
	return process_start(argv, log);
}

unsigned node_port(const char *home)
{
	char url[320], *path = mem_printf("%s/api", home);
	FILE *f = fopen(path, "r");
	const char *colon = f && fgets(url, sizeof url, f) ? strrchr(url, ':') : NULL;
	if (f)
		fclose(f);
	mem_free(path);
	return colon && strchr(colon, '\n') ? (unsigned)atoi(colon + 1) : 0;
}
