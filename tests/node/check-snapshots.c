/* Snapshots for tools on this machine: whoever reads one has it; what the killed leave goes
 * when there is need of room, and a snapshot that is being read never. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/snapshots.h"
#include "replica/files.h"

#define AT_ONCE 4

static char home[64];
static struct store *store;

static void make(void)
{
	char path[96];
	struct store_options options = {.create = true};
	strcpy(home, "/tmp/check-snapshots-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(home));
	snprintf(path, sizeof path, "%s/data", home);
	ck_assert_int_eq(store_open_rocksdb(&store, path, &options, NULL), ERR_NONE);
	struct store_batch *b = store_batch_new();
	store_batch_put(b, STORE_META, slice_str("key"), slice_str("value"));
	ck_assert_int_eq(store_write(store, b, true), ERR_NONE);
	store_batch_free(b);
}

static void end(void)
{
	store_close(store);
	ck_assert_int_eq(files_remove(home, NULL), ERR_NONE);
}

static int ask(char *path, size_t size)
{
	struct errmsg m;
	return snapshots_make(store, home, path, size, &m);
}

static struct store *take(char *path, size_t size)
{
	struct store_options options = {.read_only = true};
	struct store *s;
	ck_assert_int_eq(ask(path, size), ERR_NONE);
	ck_assert_int_eq(store_open_rocksdb(&s, path, &options, NULL), ERR_NONE);
	files_take(path);
	return s;
}

static void expect_value(struct store *s)
{
	struct writer w = {0};
	ck_assert_int_eq(store_get(s, STORE_META, slice_str("key"), &w), ERR_NONE);
	ck_assert_int_eq(w.len, 5);
	writer_free(&w);
}

static unsigned count(void)
{
	char path[96];
	unsigned n = 0;
	struct dirent *e;
	snprintf(path, sizeof path, "%s/snapshots", home);
	DIR *d = opendir(path);
	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* Twenty who ask and die before they can lock what they get: none of them stands in the way,
 * and no two get the same. */
START_TEST(killed_before_the_lock)
{
	char path[20][160], kept[160];
	struct store *s = take(kept, sizeof kept);
	for (unsigned i = 0; i < MEM_COUNT(path); i++) {
		ck_assert_int_eq(ask(path[i], sizeof path[i]), ERR_NONE);
		for (unsigned j = 0; j < i; j++)
			ck_assert_str_ne(path[i], path[j]);
		ck_assert_uint_le(count(), AT_ONCE);
	}
	/* The newest are there still: those who live had the most time. */
	for (unsigned i = MEM_COUNT(path) - (AT_ONCE - 1); i < MEM_COUNT(path); i++)
		ck_assert(files_exist(path[i]));
	ck_assert(!files_exist(path[0]));
	ck_assert(files_exist(kept));
	expect_value(s);
	store_close(s);
}
END_TEST

/* Killed while they read: then it is nobody's, however new it is, before any that was not taken
 * yet. */
START_TEST(killed_while_reading)
{
	char path[160], waiting[160], next[160];
	for (unsigned i = 0; i < 3 * AT_ONCE; i++) {
		int to[2];
		ck_assert_int_eq(pipe(to), 0);
		ck_assert_int_eq(ask(path, sizeof path), ERR_NONE);
		pid_t child = fork();
		if (child == 0) {
			struct store_options options = {.read_only = true};
			struct store *s;
			bool good = store_open_rocksdb(&s, path, &options, NULL) == ERR_NONE;
			files_take(path);
			_exit(good && write(to[1], "", 1) == 1 ? 0
							       : 1); /* without closing it */
		}
		char byte;
		ck_assert_int_eq(read(to[0], &byte, 1), 1);
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
		close(to[0]);
		close(to[1]);
		if (i == 0)
			ck_assert_int_eq(ask(waiting, sizeof waiting), ERR_NONE);
	}
	ck_assert(files_exist(waiting));
	ck_assert_int_eq(ask(next, sizeof next), ERR_NONE);
	ck_assert(!files_exist(path)); /* of the last one that was killed */
	ck_assert_uint_eq(count(), 2);
}
END_TEST

START_TEST(all_are_being_read)
{
	char path[AT_ONCE][160], more[160];
	struct store *s[AT_ONCE];
	for (unsigned i = 0; i < AT_ONCE; i++)
		s[i] = take(path[i], sizeof path[i]);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(ask(more, sizeof more), ERR_BUSY);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		ck_assert(files_exist(path[i]));
		expect_value(s[i]);
	}
	store_close(s[2]); /* it is over, and he has not removed it yet */
	ck_assert_int_eq(ask(more, sizeof more), ERR_NONE);
	ck_assert(!files_exist(path[2]));
	ck_assert_int_eq(files_remove(path[2], NULL), ERR_NONE); /* now he does */
	ck_assert(files_exist(more));
	for (unsigned i = 0; i < AT_ONCE; i++)
		if (i != 2)
			store_close(s[i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snapshots");
	TCase *t = tcase_create("snapshots");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, make, end);
	tcase_add_test(t, killed_before_the_lock);
	tcase_add_test(t, killed_while_reading);
	tcase_add_test(t, all_are_being_read);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
