/* A directory of this process's own, for readers that take a path; in memory where there is
 * /dev/shm. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

static char directory[64];
static pid_t owner;

void fuzz_scratch_clear(void)
{
	DIR *d = opendir(directory);
	for (const struct dirent *e; d && (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.' || strlen(e->d_name) > 2)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

static void remove_directory(void)
{
	if (owner != getpid()) /* a child of ours ends */
		return;
	fuzz_scratch_clear();
	rmdir(directory);
}

const char *fuzz_scratch(void)
{
	if (owner == getpid())
		return directory;
	owner = getpid();
	snprintf(directory, sizeof directory, "%s/ostrakon-fuzz.XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	invariant(mkdtemp(directory) != NULL);
	atexit(remove_directory);
	return directory;
}

const char *fuzz_scratch_file(const char *name, struct slice bytes)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", fuzz_scratch(), name);
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	invariant(fd >= 0);
	invariant(bytes.len == 0 || write(fd, bytes.ptr, bytes.len) == (ssize_t)bytes.len);
	close(fd);
	return path;
}
