#include "replica/files.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define DESCRIPTORS 16

static int fail(struct errmsg *m, const char *path)
{
	int err = errno == ENOENT ? ERR_NOT_FOUND : errno == EEXIST ? ERR_EXISTS : ERR_IO;
	return err_set(m, err, "%s: %s", path, strerror(errno));
}

bool files_exist(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

int files_read(const char *path, size_t max, struct writer *out, struct errmsg *m)
{
	writer_reset(out);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(m, path);
	uint8_t buf[65536];
	ssize_t len;
	int err = ERR_NONE;
	while (!err && (len = read(fd, buf, sizeof buf)) != 0) {
		if (len < 0)
			err = fail(m, path);
		else if (out->len + (size_t)len > max)
			err = err_set(m, ERR_LIMIT, "%s has more than %zu bytes", path, max);
		else
			writer_raw(out, buf, (size_t)len);
	}
	close(fd);
	return err;
}

int files_write(const char *path, struct slice bytes, struct errmsg *m)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail(m, path);
	int err = ERR_NONE;
	for (size_t at = 0; at < bytes.len && !err;) {
		ssize_t len = write(fd, bytes.ptr + at, bytes.len - at);
		if (len < 0)
			err = fail(m, path);
		else
			at += (size_t)len;
	}
	if (!err && fsync(fd) != 0)
		err = fail(m, path);
	if (close(fd) != 0 && !err)
		err = fail(m, path);
	return err;
}

int files_sync_dir(const char *path, struct errmsg *m)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail(m, path);
	int err = fsync(fd) == 0 ? ERR_NONE : fail(m, path);
	close(fd);
	return err;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) == 0 || errno == ENOENT ? 0 : -1; /* another one removes it too */
}

int files_remove(const char *path, struct errmsg *m)
{
	if (!files_exist(path))
		return ERR_NONE;
	return nftw(path, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS) == 0 ? ERR_NONE
									      : fail(m, path);
}

#define TAKEN "taken" /* no name that RocksDB gives to a file */

void files_take(const char *path)
{
	char mark[FILES_PATH_MAX + 16];
	snprintf(mark, sizeof mark, "%s/" TAKEN, path);
	int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
}

bool files_are_taken(const char *path)
{
	char mark[FILES_PATH_MAX + 16];
	snprintf(mark, sizeof mark, "%s/" TAKEN, path);
	return files_exist(mark);
}

/* ---- directories in the making ----------------------------------------------------------- */

static int sync_parent(const char *path, struct errmsg *m)
{
	char parent[FILES_PATH_MAX + 1];
	snprintf(parent, sizeof parent, "%s", path);
	char *slash = strrchr(parent, '/');
	if (!slash)
		strcpy(parent, ".");
	else
		slash[slash == parent] = 0;
	return files_sync_dir(parent, m);
}

int files_begin_dir(struct files_new_dir *d, const char *path, struct errmsg *m)
{
	d->lock = -1;
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (len == 0 || len + sizeof ".partial" > sizeof d->partial)
		return err_set(m, ERR_LIMIT, "the path of the new directory is %s",
			       len ? "too long" : "empty");
	memcpy(d->path, path, len);
	d->path[len] = 0;
	snprintf(d->partial, sizeof d->partial, "%.*s.partial", (int)len, path);
	if (rmdir(d->path) != 0 && errno != ENOENT)
		return err_set(m, ERR_EXISTS, "%s exists; nothing is written over", d->path);
	if (mkdir(d->partial, 0700) != 0 && errno != EEXIST)
		return fail(m, d->partial);
	d->lock = open(d->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (d->lock < 0)
		return fail(m, d->partial);
	if (flock(d->lock, LOCK_EX | LOCK_NB) != 0) {
		close(d->lock);
		d->lock = -1;
		return err_set(m, ERR_LOCKED, "%s: another process makes it now", d->partial);
	}
	/* Left by one that was killed. The lock is on the directory: it goes with it. */
	char old[sizeof d->partial + 8];
	snprintf(old, sizeof old, "%s.old", d->partial);
	int err = files_remove(old, m);
	if (!err && rename(d->partial, old) != 0)
		err = fail(m, d->partial);
	if (!err)
		err = files_remove(old, m);
	if (!err && mkdir(d->partial, 0700) != 0)
		err = fail(m, d->partial);
	close(d->lock);
	d->lock = err ? -1 : open(d->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (!err && (d->lock < 0 || flock(d->lock, LOCK_EX | LOCK_NB) != 0))
		err = err_set(m, ERR_LOCKED, "%s: another process makes it now", d->partial);
	return err;
}

int files_finish_dir(struct files_new_dir *d, struct errmsg *m)
{
	invariant(d->lock >= 0);
	int err = files_sync_dir(d->partial, m);
	if (!err && rename(d->partial, d->path) != 0)
		err = fail(m, d->path);
	if (!err)
		err = sync_parent(d->path, m);
	if (!err) {
		close(d->lock);
		d->lock = -1;
	}
	return err;
}

void files_abandon_dir(struct files_new_dir *d)
{
	if (d->lock < 0)
		return;
	files_remove(d->partial, NULL);
	close(d->lock);
	d->lock = -1;
}
