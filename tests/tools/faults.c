/* Preloaded into a node: what a test must be able to break and cannot ask the kernel for
 *without being root.
 *
 *	FAULT_CLOCK_MS   is added to the wall clock
 *	FAULT_DISK       path of a file; while it exists, what would be written below a
 *directory named "data" fails: with ENOSPC if it is empty, else with EIO */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static void *next(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (p == NULL)
		abort();
	return p;
}

static long long clock_shift(void)
{
	const char *text = getenv("FAULT_CLOCK_MS");

	return text ? atoll(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	static int (*real)(clockid_t, struct timespec *);
	int rc;

	if (!real)
		real = next("clock_gettime");
	rc = real(id, ts);
	if (rc == 0 && id == CLOCK_REALTIME)
		ts->tv_sec += clock_shift() / 1000;
	return rc;
}

static bool disk_fails(int fd)
{
	const char *switch_file = getenv("FAULT_DISK");
	char link[64], path[4096];
	struct stat st;
	ssize_t n;

	if (switch_file == NULL || stat(switch_file, &st) != 0)
		return false;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	errno = st.st_size == 0 ? ENOSPC : EIO;
	return strstr(path, "/data/") != NULL;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	static ssize_t (*real)(int, const void *, size_t);

	if (!real)
		real = next("write");
	if (disk_fails(fd))
		return -1;
	return real(fd, bytes, len);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);

	if (!real)
		real = next("pwrite64");
	if (disk_fails(fd))
		return -1;
	return real(fd, bytes, len, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
	return pwrite64(fd, bytes, len, at);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
	static int (*real)(int, int, off_t, off_t);

	if (!real)
		real = next("fallocate");
	if (disk_fails(fd))
		return -1;
	return real(fd, mode, at, len);
}

int fallocate64(int fd, int mode, off_t at, off_t len)
{
	return fallocate(fd, mode, at, len);
}
