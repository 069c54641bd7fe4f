#include "node/snapshots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "replica/files.h"

#define SNAPSHOTS_MAX 4
#define GRACE_S	      30 /* for whoever asked for it to lock it */

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* Nobody reads it, or will. */
static bool is_free(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return true;
	bool unused = fstat(fd, &st) == 0 && time(NULL) - st.st_mtime > GRACE_S &&
		      flock(fd, LOCK_EX | LOCK_NB) == 0;
	close(fd);
	return unused;
}

static int make(struct node *n, char *path, size_t size, struct errmsg *m)
{
	char home[CONFIG_PATH_MAX + 32], *real;
	snprintf(home, sizeof home, "%s/snapshots", n->config.home);
	if (mkdir(home, 0700) != 0 && errno != EEXIST)
		return err_set(m, ERR_IO, "%s: %s", home, strerror(errno));
	real = realpath(home, NULL);
	if (!real)
		return err_set(m, ERR_IO, "%s: %s", home, strerror(errno));
	int err = ERR_BUSY;
	for (unsigned i = 0; i < SNAPSHOTS_MAX && err == ERR_BUSY; i++) {
		snprintf(path, size, "%s/%u", real, i);
		if (!is_free(path))
			continue;
		err = files_remove(path, m);
		if (err == ERR_NONE)
			err = store_snapshot(n->store, path, m);
	}
	free(real);
	if (err == ERR_BUSY)
		return err_set(m, err, "%d snapshots are in use, or were made just now",
			       SNAPSHOTS_MAX);
	return err;
}

int snapshots_make(struct node *n, char *path, size_t size, struct errmsg *m)
{
	pthread_mutex_lock(&one_at_a_time);
	uint64_t begin = node_clock_us();
	int err = make(n, path, size, m);
	pthread_mutex_unlock(&one_at_a_time);
	if (err == ERR_NONE)
		log_write(LOG_NODE, LOG_INFO, "snapshot %s, made in %llu us", path,
			  (unsigned long long)(node_clock_us() - begin));
	else
		log_write(LOG_NODE, LOG_WARN, "no snapshot: %s", m->text);
	return err;
}

void snapshots_forget(struct node *n)
{
	char home[CONFIG_PATH_MAX + 32];
	struct errmsg m;
	snprintf(home, sizeof home, "%s/snapshots", n->config.home);
	if (files_remove(home, &m) != ERR_NONE)
		log_write(LOG_NODE, LOG_WARN, "%s", m.text);
}
