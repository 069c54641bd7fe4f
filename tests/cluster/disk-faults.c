/* Preloaded into a live node: what happens to its data directory, up to the chosen moment, as if
 * the machine lost power there, or the disk filled up or failed.
 *
 * Below the data directory every write, sync, truncation, creation, renaming and removal is an
 * operation and is counted. The file named by DISK_FAULTS_ARM says what is to happen, may be
 * replaced (rename(2)) at any time and is looked at before each operation:
 *
 *   kill K HOW SEED   at the K-th operation from now the process dies (SIGKILL): before it, after
 *                     it, or half way through a write. HOW says what is left of what was not
 *                     synced: `process` all (the machine runs on), `lost` nothing, `torn` a random
 *                     prefix of each file, `holes` such a prefix with pages of 4 KiB missing
 *                     from it, as disks write pages in any order. In the last three the
 *                     directory, too, falls back to a random moment since it was synced.
 *   sync K            the K-th sync from now fails (EIO), and what it was to sync is lost
 *   full N            N more bytes may be written, then there is no room (ENOSPC)
 *   readonly          nothing may be written (EROFS); what was written before can still be
 *                     synced, as on ext4: it is written out as the file system becomes so
 *   write K           the K-th write from now fails (EIO)
 *
 * DISK_FAULTS_SYNC_US makes each sync take so much longer, so that there is something not synced.
 * What was done is appended to DISK_FAULTS_LOG. DISK_FAULTS_DATA is the directory,
 * DISK_FAULTS_KEEP another one on the same file system, where removed files wait for the next
 * sync of the directory. The kernel is called directly: nothing here may come back here. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT	  __attribute__((visibility("default")))
#define FDS_MAX	  65536
#define FILES_MAX 512
#define NAMES_MAX 2048
#define PAGE	  4096

enum what { WHAT_NOTHING, WHAT_KILL, WHAT_SYNC, WHAT_FULL, WHAT_READONLY, WHAT_WRITE };
enum how { HOW_PROCESS, HOW_LOST, HOW_TORN, HOW_HOLES, HOWS };
static const char *const how_names[HOWS] = {"process", "lost", "torn", "holes"};

/* One that has been written to: what of it is on the disk for certain. */
struct file {
	dev_t dev;
	ino_t ino;
	int fd; /* our own; -1: not used */
	uint64_t synced;
	char name[64];
};

/* What was done to the directory and not synced yet. */
struct change {
	enum { CREATED, RENAMED, REMOVED } kind;
	char *path, *from; /* from: before it was renamed */
	char *kept;	   /* what was there before; NULL: nothing */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char data[512], keep[512], arm_path[512], log_path[512];
static size_t data_len;
static uint64_t sync_us;
static short of_fd[FDS_MAX]; /* 0: not known, -1: none of ours, else file + 1 */
static struct file files[FILES_MAX];
static struct change changes[NAMES_MAX];
static unsigned change_count;
static uint64_t kept_number, random_state;
static struct stat arm_seen;
static enum what what;
static enum how how;
static uint64_t countdown, operations;

static _Thread_local sigset_t before;

/* A signal's handler may write, too, and must not meet its own thread in here. */
static void enter(void)
{
	sigset_t all, was;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	pthread_mutex_lock(&lock);
	before = was;
}

static void leave(void)
{
	sigset_t was = before;
	pthread_mutex_unlock(&lock);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
}

static uint64_t next_random(void)
{
	/* splitmix64 */
	uint64_t z = random_state += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t below(uint64_t n)
{
	return n ? next_random() % n : 0;
}

static void take_path(char out[512], const char *name)
{
	const char *v = getenv(name);
	snprintf(out, 512, "%s", v ? v : "");
}

__attribute__((constructor)) static void begin(void)
{
	take_path(data, "DISK_FAULTS_DATA");
	take_path(keep, "DISK_FAULTS_KEEP");
	take_path(arm_path, "DISK_FAULTS_ARM");
	take_path(log_path, "DISK_FAULTS_LOG");
	data_len = strlen(data);
	const char *us = getenv("DISK_FAULTS_SYNC_US");
	sync_us = us ? strtoull(us, NULL, 10) : 0;
	for (int i = 0; i < FILES_MAX; i++)
		files[i].fd = -1;
}

static void say(const char *fmt, ...)
{
	char line[512];
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(line, sizeof line, fmt, args);
	va_end(args);
	int fd = (int)syscall(SYS_openat, AT_FDCWD, log_path,
			      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	syscall(SYS_write, fd, line, (size_t)len);
	syscall(SYS_close, fd);
}

/* Below the lock, as all that follows. */
static void look_at_arm(void)
{
	struct stat st;
	char line[128] = "", word[32] = "", kind[32] = "";
	unsigned long long number = 0, seed = 0;
	if (stat(arm_path, &st) != 0)
		memset(&st, 0, sizeof st);
	if (st.st_ino == arm_seen.st_ino && st.st_mtim.tv_sec == arm_seen.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == arm_seen.st_mtim.tv_nsec)
		return;
	arm_seen = st;
	what = WHAT_NOTHING;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, arm_path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	long len = syscall(SYS_read, fd, line, sizeof line - 1);
	syscall(SYS_close, fd);
	line[len > 0 ? len : 0] = 0;
	sscanf(line, "%31s %llu %31s %llu", word, &number, kind, &seed);
	countdown = number;
	operations = 0;
	random_state = seed;
	if (strcmp(word, "kill") == 0)
		for (int h = 0; h < HOWS; h++)
			if (strcmp(kind, how_names[h]) == 0) {
				how = (enum how)h;
				what = WHAT_KILL;
			}
	if (strcmp(word, "sync") == 0)
		what = WHAT_SYNC;
	if (strcmp(word, "full") == 0)
		what = WHAT_FULL;
	if (strcmp(word, "readonly") == 0)
		what = WHAT_READONLY;
	if (strcmp(word, "write") == 0)
		what = WHAT_WRITE;
}

static bool is_inside(const char *path)
{
	return data_len > 0 && strncmp(path, data, data_len) == 0 &&
	       (path[data_len] == '/' || path[data_len] == 0);
}

static void path_of(int fd, char out[512])
{
	char link[64];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, out, 511);
	out[n > 0 ? n : 0] = 0;
}

static bool path_at(int dir, const char *name, char out[512])
{
	char base[512];
	if (name[0] == '/') {
		snprintf(out, 512, "%s", name);
	} else {
		if (dir == AT_FDCWD || data_len == 0)
			return false; /* a node knows its home by its full path */
		path_of(dir, base);
		if (strlen(base) + strlen(name) + 2 > 512)
			return false;
		snprintf(out, 512, "%.255s/%.255s", base, name);
	}
	return is_inside(out);
}

static struct file *known(const struct stat *st)
{
	for (int i = 0; i < FILES_MAX; i++)
		if (files[i].fd >= 0 && files[i].ino == st->st_ino &&
		    files[i].dev == st->st_dev)
			return &files[i];
	return NULL;
}

static struct file *track(const struct stat *st, const char *path)
{
	struct file *f = known(st);
	if (f)
		return f;
	for (f = files; f < files + FILES_MAX && f->fd >= 0; f++)
		;
	if (f == files + FILES_MAX) {
		say("too many files\n");
		abort();
	}
	f->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	f->dev = st->st_dev;
	f->ino = st->st_ino;
	f->synced = (uint64_t)st->st_size;
	snprintf(f->name, sizeof f->name, "%s", strrchr(path, '/') + 1);
	return f->fd >= 0 ? f : NULL;
}

static void forget(struct file *f)
{
	syscall(SYS_close, f->fd);
	f->fd = -1;
	for (int i = 0; i < FDS_MAX; i++)
		if (of_fd[i] == f - files + 1)
			of_fd[i] = 0;
}

static struct file *file_of(int fd)
{
	char path[512];
	struct stat st;
	if (fd < 0 || fd >= FDS_MAX || data_len == 0 || of_fd[fd] < 0)
		return NULL;
	if (of_fd[fd] > 0)
		return &files[of_fd[fd] - 1];
	of_fd[fd] = -1;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return NULL;
	path_of(fd, path);
	if (!is_inside(path))
		return NULL;
	struct file *f = track(&st, path);
	if (f)
		of_fd[fd] = (short)(f - files + 1);
	return f;
}

static bool is_data_directory(int fd)
{
	char path[512];
	struct stat st;
	if (data_len == 0 || fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode))
		return false;
	path_of(fd, path);
	return is_inside(path);
}

/* ---- the end ----------------------------------------------------------------------------- */

static uint64_t size_of(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static uint64_t punch(const struct file *f, uint64_t size)
{
	static const uint8_t zeros[PAGE];
	uint64_t gone = 0;
	for (uint64_t page = f->synced / PAGE; page * PAGE < size; page++) {
		uint64_t from = page * PAGE > f->synced ? page * PAGE : f->synced;
		uint64_t to = (page + 1) * PAGE < size ? (page + 1) * PAGE : size;
		if (below(4) > 0)
			continue;
		syscall(SYS_pwrite64, f->fd, zeros, to - from, from);
		gone += to - from;
	}
	return gone;
}

static uint64_t lose(struct file *f)
{
	uint64_t size = size_of(f->fd), left = f->synced;
	if (size <= f->synced)
		return 0;
	/* the end that there is, too, often enough */
	if (how != HOW_LOST)
		left = below(4) == 0 ? size : f->synced + below(size - f->synced + 1);
	syscall(SYS_ftruncate, f->fd, left);
	return size - left + (how == HOW_HOLES ? punch(f, left) : 0);
}

static void change_free(struct change *c)
{
	if (c->kept)
		syscall(SYS_unlink, c->kept);
	free(c->path);
	free(c->from);
	free(c->kept);
}

static void undo(struct change *c)
{
	if (c->kind == CREATED)
		syscall(SYS_unlink, c->path);
	if (c->kind == RENAMED)
		syscall(SYS_rename, c->path, c->from);
	if (c->kept)
		syscall(SYS_link, c->kept, c->path);
	change_free(c);
}

__attribute__((noreturn)) static void die(const char *operation, const char *name,
					  const char *moment)
{
	uint64_t bytes = 0;
	unsigned undone = 0;
	if (how != HOW_PROCESS) {
		for (int i = 0; i < FILES_MAX; i++)
			if (files[i].fd >= 0)
				bytes += lose(&files[i]);
		unsigned stays = how == HOW_LOST ? 0 : (unsigned)below(change_count + 1);
		for (; change_count > stays; undone++)
			undo(&changes[--change_count]);
	}
	for (unsigned i = 0; i < change_count; i++)
		change_free(&changes[i]);
	say("killed %s %s %s %s %llu %llu %u\n", operation, name, moment, how_names[how],
	    (unsigned long long)operations, (unsigned long long)bytes, undone);
	for (;;)
		syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

static bool strikes(void)
{
	look_at_arm();
	operations++;
	return what == WHAT_KILL && countdown > 0 && --countdown == 0;
}

/* ---- the directory ----------------------------------------------------------------------- */

static char *hold(const char *path)
{
	char to[600];
	struct stat st;
	if (stat(path, &st) != 0)
		return NULL;
	snprintf(to, sizeof to, "%s/%llu-%llu", keep, (unsigned long long)getpid(),
		 (unsigned long long)++kept_number);
	return syscall(SYS_link, path, to) == 0 ? strdup(to) : NULL;
}

static void changed(int kind, const char *path, const char *from, char *kept)
{
	if (change_count == NAMES_MAX) { /* the oldest has reached the disk by now */
		change_free(&changes[0]);
		memmove(changes, changes + 1, --change_count * sizeof changes[0]);
	}
	struct change *c = &changes[change_count++];
	c->kind = kind;
	c->path = strdup(path);
	c->from = from ? strdup(from) : NULL;
	c->kept = kept;
}

static void directory_synced(unsigned count)
{
	if (count > change_count)
		count = change_count;
	for (unsigned i = 0; i < count; i++)
		change_free(&changes[i]);
	change_count -= count;
	memmove(changes, changes + count, change_count * sizeof changes[0]);
}

static bool refused(void)
{
	if (what == WHAT_READONLY)
		errno = EROFS;
	return what == WHAT_READONLY;
}

static int open_at(int dir, const char *name, int flags, mode_t mode)
{
	char path[512];
	enter();
	bool ours = path_at(dir, name, path), made = false;
	int fd = -1;
	if (ours && (flags & (O_CREAT | O_WRONLY | O_RDWR))) {
		struct stat st;
		made = (flags & O_CREAT) && stat(path, &st) != 0;
		bool now = made && strikes();
		if (now && below(2))
			die("create", strrchr(path, '/') + 1, "before");
		look_at_arm();
		if (!refused())
			fd = (int)syscall(SYS_openat, dir, name, flags, mode);
		if (fd >= 0 && made)
			changed(CREATED, path, NULL, NULL);
		if (now)
			die("create", strrchr(path, '/') + 1, "after");
	} else {
		fd = (int)syscall(SYS_openat, dir, name, flags, mode);
	}
	if (fd >= 0 && fd < FDS_MAX)
		of_fd[fd] = 0;
	if (fd >= 0 && ours && (flags & O_TRUNC) && !made) {
		struct file *f = file_of(fd);
		if (f)
			f->synced = 0;
	}
	int saved = errno;
	leave();
	errno = saved;
	return fd;
}

#define OPEN(mode_)                                                                             \
	mode_t mode_ = 0;                                                                       \
	if (flags & (O_CREAT | O_TMPFILE)) {                                                    \
		va_list args;                                                                   \
		va_start(args, flags);                                                          \
		mode_ = (mode_t)va_arg(args, int);                                              \
		va_end(args);                                                                   \
	}

EXPORT int open(const char *path, int flags, ...)
{
	OPEN(mode);
	return open_at(AT_FDCWD, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
	OPEN(mode);
	return open_at(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
	OPEN(mode);
	return open_at(dir, path, flags, mode);
}

EXPORT int openat64(int dir, const char *path, int flags, ...)
{
	OPEN(mode);
	return open_at(dir, path, flags, mode);
}

EXPORT int close(int fd)
{
	enter();
	if (fd >= 0 && fd < FDS_MAX) {
		struct file *f = of_fd[fd] > 0 ? &files[of_fd[fd] - 1] : NULL;
		of_fd[fd] = 0;
		if (f && f->fd >= 0 && size_of(f->fd) <= f->synced)
			forget(f);
	}
	int r = (int)syscall(SYS_close, fd);
	int saved = errno;
	leave();
	errno = saved;
	return r;
}

EXPORT int rename(const char *from, const char *to)
{
	char path[512], old[512];
	enter();
	bool ours = path_at(AT_FDCWD, to, path) && path_at(AT_FDCWD, from, old);
	bool now = ours && strikes();
	if (now && below(2))
		die("rename", strrchr(path, '/') + 1, "before");
	char *kept = ours ? hold(path) : NULL;
	int r = ours && refused() ? -1 : (int)syscall(SYS_rename, from, to);
	int saved = errno;
	if (ours && r == 0)
		changed(RENAMED, path, old, kept);
	if (now)
		die("rename", strrchr(path, '/') + 1, "after");
	leave();
	errno = saved;
	return r;
}

EXPORT int unlink(const char *name)
{
	char path[512];
	struct stat st;
	enter();
	bool ours = path_at(AT_FDCWD, name, path), now = ours && strikes();
	if (now && below(2))
		die("unlink", strrchr(path, '/') + 1, "before");
	struct file *f = ours && stat(path, &st) == 0 ? known(&st) : NULL;
	char *kept = ours ? hold(path) : NULL;
	int r = ours && refused() ? -1 : (int)syscall(SYS_unlink, name);
	int saved = errno;
	if (ours && r == 0) {
		changed(REMOVED, path, NULL, kept);
		if (f && size_of(f->fd) <= f->synced)
			forget(f);
	}
	if (now)
		die("unlink", strrchr(path, '/') + 1, "after");
	leave();
	errno = saved;
	return r;
}

/* ---- contents ---------------------------------------------------------------------------- */

/* Bytes that may be written, or -1 with errno. */
static int64_t room_for(size_t len)
{
	if (refused())
		return -1;
	if (what == WHAT_WRITE && countdown > 0 && --countdown == 0) {
		say("write failed\n");
		errno = EIO;
		return -1;
	}
	if (what != WHAT_FULL)
		return (int64_t)len;
	if (countdown == 0) {
		errno = ENOSPC;
		return -1;
	}
	if (len > countdown)
		len = countdown;
	countdown -= len;
	if (countdown == 0)
		say("full\n");
	return (int64_t)len;
}

static ssize_t write_at(int fd, const void *buf, size_t len, off_t at, bool has_place)
{
	enter();
	struct file *f = file_of(fd);
	if (!f) { /* sockets, pipes: they may take their time */
		leave();
		return has_place ? syscall(SYS_pwrite64, fd, buf, len, at)
				 : syscall(SYS_write, fd, buf, len);
	}
	bool now = strikes();
	const char *moment = "after";
	int64_t room = (int64_t)len;
	if (now) {
		uint64_t third = below(3);
		moment = third == 0 ? "before" : third == 1 && len > 1 ? "within" : "after";
		if (third == 1 && len > 1)
			room = (int64_t)(1 + below(len - 1));
	} else {
		room = room_for(len);
	}
	ssize_t r = -1;
	if (now && strcmp(moment, "before") == 0)
		die("write", f->name, moment);
	if (room >= 0 && has_place)
		r = syscall(SYS_pwrite64, fd, buf, (size_t)room, at);
	else if (room >= 0)
		r = syscall(SYS_write, fd, buf, (size_t)room);
	if (has_place && (uint64_t)at < f->synced)
		f->synced = (uint64_t)at; /* as if it had been longer lost: the safe side */
	if (now)
		die("write", f->name, moment);
	int saved = errno;
	leave();
	errno = saved;
	return r;
}

EXPORT ssize_t write(int fd, const void *buf, size_t len)
{
	return write_at(fd, buf, len, 0, false);
}

EXPORT ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
	return write_at(fd, buf, len, at, true);
}

EXPORT ssize_t pwrite64(int fd, const void *buf, size_t len, off_t at)
{
	return write_at(fd, buf, len, at, true);
}

static int truncate_to(int fd, off_t size)
{
	enter();
	struct file *f = file_of(fd);
	bool now = f && strikes();
	if (now && below(2))
		die("truncate", f->name, "before");
	int r = f && refused() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
	if (f && r == 0 && (uint64_t)size < f->synced)
		f->synced = (uint64_t)size;
	if (now)
		die("truncate", f->name, "after");
	int saved = errno;
	leave();
	errno = saved;
	return r;
}

EXPORT int ftruncate(int fd, off_t size)
{
	return truncate_to(fd, size);
}

EXPORT int ftruncate64(int fd, off_t size)
{
	return truncate_to(fd, size);
}

static int allocate(int fd, int mode, off_t at, off_t len)
{
	enter();
	bool none = file_of(fd) && (refused() || (what == WHAT_FULL && countdown == 0));
	if (none && what == WHAT_FULL)
		errno = ENOSPC;
	int r = none ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, len);
	int saved = errno;
	leave();
	errno = saved;
	return r;
}

EXPORT int fallocate(int fd, int mode, off_t at, off_t len)
{
	return allocate(fd, mode, at, len);
}

EXPORT int fallocate64(int fd, int mode, off_t at, off_t len)
{
	return allocate(fd, mode, at, len);
}

/* What is in the file when it begins is on the disk when it ends; others write meanwhile. */
static int sync_file(int fd, long call)
{
	enter();
	struct file *f = file_of(fd);
	bool directory = !f && is_data_directory(fd);
	bool now = (f || directory) && strikes();
	const char *name = f ? f->name : "directory";
	unsigned count = change_count;
	uint64_t size = f ? size_of(f->fd) : 0;
	ino_t ino = f ? f->ino : 0;
	if (now && below(2))
		die("sync", name, "before");
	if ((f || directory) && what == WHAT_SYNC && countdown > 0 && --countdown == 0) {
		say("sync failed %s\n", name);
		/* as Linux does: what was to be written is forgotten, and called clean */
		if (f)
			syscall(SYS_ftruncate, f->fd, f->synced);
		leave();
		errno = EIO;
		return -1;
	}
	leave();
	if (f && sync_us)
		usleep((useconds_t)sync_us);
	int r = (int)syscall(call, fd);
	int saved = errno;
	enter();
	if (f && r == 0 && f->fd >= 0 && f->ino == ino && size > f->synced)
		f->synced = size;
	if (directory && r == 0)
		directory_synced(count);
	if (now)
		die("sync", name, "after");
	leave();
	errno = saved;
	return r;
}

EXPORT int fsync(int fd)
{
	return sync_file(fd, SYS_fsync);
}

EXPORT int fdatasync(int fd)
{
	return sync_file(fd, SYS_fdatasync);
}
