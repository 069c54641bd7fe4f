/* RocksDB alone: opening, locking, kill -9, a disk that is full. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "check-store.h"

enum { HELPER_OPENED = 10, HELPER_LOCKED = 11, HELPER_ERROR = 12 };

#define SYNC_EVERY 7

static const struct store_options small = {.create = true, .write_buffer_size = 128 << 10};

/* Runs this program as another process; a fork alone would share RocksDB's locks but not its
 * threads. out gets the reading end of its standard output, if not NULL. */
static pid_t spawn(const char *what, const char *path, int *out)
{
	int fds[2] = {-1, -1};
	pid_t pid;

	if (out != NULL)
		ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (out != NULL) {
			dup2(fds[1], STDOUT_FILENO);
			close(fds[0]);
			close(fds[1]);
		}
		execl("/proc/self/exe", "check-store", what, path, (char *)NULL);
		_exit(HELPER_ERROR);
	}
	if (out != NULL) {
		close(fds[1]);
		*out = fds[0];
	}
	return pid;
}

static int wait_exit(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void put_counter(struct store_batch *b, uint64_t n)
{
	uint8_t value[8];

	store_be64(value, n);
	for (int f = 0; f < STORE_FAMILIES; f++)
		store_batch_put(b, (enum store_family)f, text("counter"), slice_of(value, 8));
}

/* 0 if there is none; used in the helpers too, where nothing can be asserted. */
static uint64_t get_counter(struct store *s, enum store_family f)
{
	struct writer w = {0};
	uint64_t n = 0;

	if (store_get(s, f, text("counter"), &w) == ERR_NONE && w.len == 8)
		n = load_be64(w.buf);
	writer_free(&w);
	return n;
}

/* Counts on for ever from what it finds; says every counter that was synced. */
static int helper_count(const char *path)
{
	struct store *s;
	struct store_batch *b = store_batch_new();
	uint64_t n;

	if (store_open_rocksdb(&s, path, &small, NULL) != ERR_NONE)
		return HELPER_ERROR;
	for (n = get_counter(s, STORE_META) + 1;; n++) {
		bool sync = n % SYNC_EVERY == 0;
		store_batch_clear(b);
		put_counter(b, n);
		if (store_write(s, b, sync) != ERR_NONE)
			return HELPER_ERROR;
		if (sync && write(STDOUT_FILENO, &n, sizeof(n)) != sizeof(n))
			return HELPER_ERROR;
	}
}

int helper_main(int argc, char **argv)
{
	struct store *s;
	int err;

	if (argc != 3)
		return HELPER_ERROR;
	if (strcmp(argv[1], "count") == 0)
		return helper_count(argv[2]);
	if (strcmp(argv[1], "open") != 0)
		return HELPER_ERROR;
	err = store_open_rocksdb(&s, argv[2], &small, NULL);
	if (err == ERR_LOCKED)
		return HELPER_LOCKED;
	if (err != ERR_NONE)
		return HELPER_ERROR;
	store_close(s);
	return HELPER_OPENED;
}

START_TEST(open_and_create)
{
	struct store_options options = {.create = false};
	struct errmsg m = {.text = ""};
	struct fixture x = {.kind = KIND_ROCKSDB};
	struct stat st;
	char none[320];

	fixture_dir(&x);
	ck_assert_int_eq(store_open_rocksdb(&x.store, x.path, &options, &m), ERR_NOT_FOUND);
	ck_assert_ptr_null(x.store);
	ck_assert_ptr_nonnull(strstr(m.text, x.path));
	ck_assert_int_ne(stat(x.path, &st), 0);
	/* a directory, but no store in it: nothing may be created there */
	ck_assert_int_eq(mkdir(x.path, 0700), 0);
	ck_assert_int_eq(store_open_rocksdb(&x.store, x.path, &options, NULL), ERR_NOT_FOUND);
	ck_assert_int_eq(rmdir(x.path), 0);

	umask(0);
	options.create = true;
	ck_assert_int_eq(store_open_rocksdb(&x.store, x.path, &options, &m), ERR_NONE);
	ck_assert_int_eq(stat(x.path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	put_text(x.store, STORE_META, "k", "v", true);
	store_close(x.store);
	options.create = false;
	ck_assert_int_eq(store_open_rocksdb(&x.store, x.path, &options, &m), ERR_NONE);
	expect_text(x.store, STORE_META, "k", "v");
	fixture_end(&x);

	snprintf(none, sizeof(none), "%s/no/such", x.path);
	options.create = true;
	ck_assert_int_eq(store_open_rocksdb(&x.store, none, &options, &m), ERR_IO);
	store_close(NULL);
}
END_TEST

/* Closing syncs nothing, but what the process has written outlives the process. */
START_TEST(reopen)
{
	struct fixture x;
	struct random r;
	struct model *m = model_new();
	struct store_batch *b = store_batch_new();

	random_seed(&r, 21);
	fixture_open(&x, KIND_ROCKSDB);
	for (int i = 0; i < 25; i++) {
		for (int j = 0; j < 40; j++) {
			store_batch_clear(b);
			random_batch(&r, b, m, 10);
			ck_assert_int_eq(store_write(x.store, b, j % 10 == 0), ERR_NONE);
		}
		fixture_reopen(&x);
		ck_assert(model_matches(m, x.store));
	}
	store_batch_free(b);
	mem_free(m);
	fixture_end(&x);
}
END_TEST

START_TEST(locked)
{
	const struct store_options options = {.create = true};
	struct fixture x;
	struct store *second;
	struct errmsg m;

	fixture_open(&x, KIND_ROCKSDB);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(store_open_rocksdb(&second, x.path, &options, &m), ERR_LOCKED);
		ck_assert_ptr_nonnull(strstr(m.text, "stop"));
		/* having tried, in this process, must not have lifted the lock */
		ck_assert_int_eq(wait_exit(spawn("open", x.path, NULL)), HELPER_LOCKED);
	}
	put_text(x.store, STORE_META, "k", "v", true);
	store_close(x.store);
	ck_assert_int_eq(wait_exit(spawn("open", x.path, NULL)), HELPER_OPENED);
	x.store = open_path(x.path);
	expect_text(x.store, STORE_META, "k", "v");
	fixture_end(&x);
}
END_TEST

START_TEST(killed)
{
	struct fixture x = {.kind = KIND_ROCKSDB};
	struct random r;
	uint64_t highest = 0;

	random_seed(&r, 31);
	fixture_dir(&x);
	for (int round = 0; round < 12; round++) {
		uint64_t said = 0, n, found;
		uint64_t until = random_between(&r, 1, 60);
		int out;
		pid_t pid = spawn("count", x.path, &out);

		for (uint64_t i = 0; i < until; i++)
			ck_assert_int_eq(read(out, &said, sizeof(said)), sizeof(said));
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		ck_assert_int_eq(wait_exit(pid), -1);
		while (read(out, &n, sizeof(n)) == sizeof(n))
			said = n;
		close(out);

		x.store = open_path(x.path);
		found = get_counter(x.store, STORE_META);
		ck_assert_uint_ge(found, said);
		ck_assert_uint_ge(found, highest);
		for (int f = 0; f < STORE_FAMILIES; f++)
			ck_assert_uint_eq(get_counter(x.store, (enum store_family)f), found);
		highest = found;
		store_close(x.store);
	}
	ck_assert_uint_ge(highest, 12 * SYNC_EVERY);
	remove_tree(x.dir);
}
END_TEST

/* A file that may not grow is the nearest to a full disk that needs no privileges. */
START_TEST(write_error_sticks)
{
	const struct store_options options = {.create = true};
	struct rlimit limit, saved;
	struct fixture x = {.kind = KIND_ROCKSDB};
	struct store_batch *b = store_batch_new();
	uint8_t *value = mem_zalloc(64 << 10);
	int err = ERR_NONE;

	fixture_dir(&x);
	/* buffers of 8 MiB: the log grows and is not begun anew */
	ck_assert_int_eq(store_open_rocksdb(&x.store, x.path, &options, NULL), ERR_NONE);
	put_text(x.store, STORE_VOTES, "before", "1", true);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &saved), 0);
	limit = saved;
	limit.rlim_cur = 256 << 10;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	store_batch_put(b, STORE_VOTES, text("after"), text("2"));
	store_batch_put(b, STORE_BLOCKS, text("after"), slice_of(value, 64 << 10));
	for (int i = 0; i < 100 && err == ERR_NONE; i++)
		err = store_write(x.store, b, true);
	ck_assert_int_eq(err, ERR_IO);
	/* there is room again, but what is on the disk is not known */
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &saved), 0);
	store_batch_clear(b);
	store_batch_put(b, STORE_VOTES, text("later"), text("3"));
	ck_assert_int_eq(store_write(x.store, b, true), ERR_IO);
	ck_assert_int_eq(store_write(x.store, b, false), ERR_IO);
	ck_assert_int_eq(store_sync(x.store), ERR_IO);
	ck_assert_int_eq(store_failure(x.store), STORE_FAILS);
	expect_text(x.store, STORE_VOTES, "before", "1");
	expect_text(x.store, STORE_VOTES, "later", NULL);

	fixture_reopen(&x);
	ck_assert_int_eq(store_failure(x.store), STORE_WORKS);
	expect_text(x.store, STORE_VOTES, "before", "1");
	expect_text(x.store, STORE_VOTES, "after", "2");
	expect_text(x.store, STORE_VOTES, "later", NULL);
	put_text(x.store, STORE_VOTES, "later", "4", true);
	fixture_reopen(&x);
	expect_text(x.store, STORE_VOTES, "later", "4");
	store_batch_free(b);
	mem_free(value);
	fixture_end(&x);
}
END_TEST

/* The number of the newest log: a full memtable is followed by a new one. */
static unsigned newest_log(const char *path)
{
	unsigned newest = 0;
	DIR *dir = opendir(path);
	struct dirent *e;

	ck_assert_ptr_nonnull(dir);
	while ((e = readdir(dir)) != NULL) {
		unsigned number = (unsigned)strtoul(e->d_name, NULL, 10);
		if (strstr(e->d_name, ".log") != NULL && number > newest)
			newest = number;
	}
	closedir(dir);
	return newest;
}

/* How many batches it takes until the first memtable of this family is full. */
static unsigned batches_to_fill(unsigned turn, enum store_family f)
{
	const struct store_options options = {.create = true, .turn = turn};
	struct fixture x = {.kind = KIND_ROCKSDB};
	struct store_batch *b = store_batch_new();
	uint8_t value[4000] = {0}, key[8];
	unsigned count = 0, begun;

	fixture_dir(&x);
	ck_assert_int_eq(store_open_rocksdb(&x.store, x.path, &options, NULL), ERR_NONE);
	begun = newest_log(x.path);
	do {
		store_be64(key, count++);
		store_batch_clear(b);
		store_batch_put(b, f, slice_of(key, sizeof(key)),
				slice_of(value, sizeof(value)));
		ck_assert_int_eq(store_write(x.store, b, false), ERR_NONE);
		ck_assert_uint_lt(count, 10000);
	} while (newest_log(x.path) == begun);
	store_batch_free(b);
	fixture_end(&x);
	return count;
}

/* The same batches, and no two of eight stores are full at once; of four, none within a
 * twentieth of another. */
START_TEST(full_in_turn)
{
	static const enum store_family families[] = {STORE_TREE, STORE_STATE};
	unsigned filled[8];

	for (size_t f = 0; f < 2; f++) {
		for (unsigned turn = 0; turn < 8; turn++) {
			filled[turn] = batches_to_fill(turn, families[f]);
			for (unsigned other = 0; other < turn; other++) {
				unsigned apart = filled[turn] > filled[other]
							 ? filled[turn] - filled[other]
							 : filled[other] - filled[turn];
				ck_assert_uint_ge(apart,
						  turn < 4 ? filled[0] / 20 : filled[0] / 50);
			}
		}
		ck_assert_uint_ge(filled[7], filled[0] * 3 / 4);
	}
}
END_TEST

Suite *rocksdb_suite(void)
{
	Suite *s = suite_create("store on disk");
	TCase *t = tcase_create("rocksdb");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, open_and_create);
	tcase_add_test(t, reopen);
	tcase_add_test(t, locked);
	tcase_add_test(t, killed);
	tcase_add_test(t, write_error_sticks);
	tcase_add_test(t, full_in_turn);
	suite_add_tcase(s, t);
	return s;
}
