#include "node/snapshots.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "replica/files.h"

#define SNAPSHOTS_MAX 4
#define GRACE_S	      30 /* for whoever asked for it to lock it */

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_name; /* no two of a process, nor of one after the other, have the same */

struct survey {
	unsigned used;
	char oldest[32]; /* of those that nobody has locked yet; empty: there is none */
	struct timespec made;
};

/* One snapshot: removed if nobody reads it and nobody will, else counted. The lock is held
 * meanwhile, so that nobody takes up what is being removed. */
static void look_at(struct survey *v, const char *home, const char *name, bool evict)
{
	char path[PATH_MAX];
	struct stat st;
	snprintf(path, sizeof path, "%s/%s", home, name);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return;
	if (fstat(fd, &st) != 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
		v->used++;
	} else if (evict || files_are_taken(path) || time(NULL) - st.st_mtime > GRACE_S) {
		files_remove(path, NULL);
	} else {
		v->used++;
		if (!v->oldest[0] || st.st_mtim.tv_sec < v->made.tv_sec ||
		    (st.st_mtim.tv_sec == v->made.tv_sec &&
		     st.st_mtim.tv_nsec < v->made.tv_nsec)) {
			v->made = st.st_mtim;
			snprintf(v->oldest, sizeof v->oldest, "%s", name);
		}
	}
	close(fd);
}

static void survey(struct survey *v, const char *home)
{
	*v = (struct survey){0};
	DIR *d = opendir(home);
	struct dirent *e;
	while (d && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && strlen(e->d_name) < sizeof v->oldest)
			look_at(v, home, e->d_name, false);
	if (d)
		closedir(d);
}

/* Whoever was killed before he could lock his has it for a while. Where that leaves no room the
 * oldest of them goes: should its asker still live, he finds it gone and asks again. */
static int make_room(const char *home)
{
	struct survey v;
	survey(&v, home);
	if (v.used >= SNAPSHOTS_MAX && v.oldest[0]) {
		struct survey after = {0};
		look_at(&after, home, v.oldest, true);
		v.used -= after.used == 0;
	}
	return v.used < SNAPSHOTS_MAX ? ERR_NONE : ERR_BUSY;
}

static int make(struct store *s, const char *node_home, char *path, size_t size,
		struct errmsg *m)
{
	char home[CONFIG_PATH_MAX + 32], *real;
	snprintf(home, sizeof home, "%s/snapshots", node_home);
	if (mkdir(home, 0700) != 0 && errno != EEXIST)
		return err_set(m, ERR_IO, "%s: %s", home, strerror(errno));
	real = realpath(home, NULL);
	if (!real)
		return err_set(m, ERR_IO, "%s: %s", home, strerror(errno));
	int err = make_room(real);
	uint64_t name = node_wall_ms() * 1000;
	last_name = name > last_name ? name : last_name + 1;
	snprintf(path, size, "%s/%llu", real, (unsigned long long)last_name);
	if (err == ERR_NONE)
		err = store_snapshot(s, path, m);
	else
		err_set(m, err, "%d snapshots are being read", SNAPSHOTS_MAX);
	free(real);
	return err;
}

int snapshots_make(struct store *s, const char *home, char *path, size_t size, struct errmsg *m)
{
	pthread_mutex_lock(&one_at_a_time);
	uint64_t begin = node_clock_us();
	int err = make(s, home, path, size, m);
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
