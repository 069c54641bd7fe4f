/* Damage done to a RocksDB store's files while it is closed. What is torn off the end of the
 * log may be lost if it was not synced; anything else is an error; wrong data is never read. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "check-store.h"

/* Each place opens a store. The sanitizer takes ten times as long, and looks for other things.
 */
#ifdef __SANITIZE_ADDRESS__
#define SPARSE 5
#else
#define SPARSE 1
#endif

/* A log of batches 1..BATCHES, each in all families; the last SYNCED.. are not synced. */
#define BATCHES 8
#define SYNCED	5

struct damage {
	struct fixture x;
	char copy[300]; /* where damage is done; x.path stays as it is */
	char log[64];	/* file name of the log that holds the batches */
	size_t log_len;
	size_t ends[BATCHES +
		    1]; /* of each batch in the log, with the mark that follows a sync */
	size_t mark;	/* its size */
};

#define RECORD_HEADER 7
#define MARK_REST     22 /* sequence, count, tag, length; the number that is said to be synced */

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* The last file in name order that begins and ends so. */
static bool find_file(const char *dir, const char *prefix, const char *suffix, char out[64])
{
	DIR *d = opendir(dir);
	const struct dirent *e;

	ck_assert_ptr_nonnull(d);
	out[0] = '\0';
	while ((e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 &&
		    has_suffix(e->d_name, suffix) && strlen(e->d_name) < 64 &&
		    strcmp(e->d_name, out) > 0)
			strcpy(out, e->d_name);
	}
	closedir(d);
	return out[0] != '\0';
}

static uint8_t *read_file(const char *dir, const char *name, size_t *len)
{
	char path[640];
	struct stat st;
	uint8_t *buf;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	*len = (size_t)st.st_size;
	buf = mem_alloc(*len + 1);
	ck_assert_int_eq(read(fd, buf, *len), (ssize_t)*len);
	close(fd);
	return buf;
}

static void write_file(const char *dir, const char *name, const uint8_t *buf, size_t len)
{
	char path[640];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, buf, len), (ssize_t)len);
	close(fd);
}

static size_t file_size(const char *dir, const char *name)
{
	char path[640];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	ck_assert_int_eq(stat(path, &st), 0);
	return (size_t)st.st_size;
}

static void copy_store(const char *from, const char *to)
{
	DIR *d;
	const struct dirent *e;

	remove_tree(to);
	ck_assert_int_eq(mkdir(to, 0700), 0);
	d = opendir(from);
	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL) {
		uint8_t *buf;
		size_t len;
		if (e->d_name[0] == '.')
			continue;
		buf = read_file(from, e->d_name, &len);
		write_file(to, e->d_name, buf, len);
		mem_free(buf);
	}
	closedir(d);
}

static void put_batch(struct store *s, int n, bool sync)
{
	struct store_batch *b = store_batch_new();
	char name[32];

	snprintf(name, sizeof(name), "batch %d", n);
	for (int f = 0; f < STORE_FAMILIES; f += 3)
		store_batch_put(b, (enum store_family)f, text(name), text("is here"));
	store_batch_put(b, STORE_META, text("last"), text(name));
	ck_assert_int_eq(store_write(s, b, sync), ERR_NONE);
	store_batch_free(b);
}

/* How many batches are there, and nothing but those, all of them whole. */
static int count_batches(struct store *s)
{
	struct writer w = {0};
	char name[32] = "";
	int n = 0;

	for (int i = 1; i <= BATCHES; i++) {
		snprintf(name, sizeof(name), "batch %d", i);
		if (store_get(s, STORE_META, text(name), &w) != ERR_NONE)
			break;
		n = i;
	}
	for (int i = 1; i <= BATCHES; i++) {
		snprintf(name, sizeof(name), "batch %d", i);
		for (int f = 0; f < STORE_FAMILIES; f += 3)
			expect_text(s, (enum store_family)f, name, i <= n ? "is here" : NULL);
	}
	snprintf(name, sizeof(name), "batch %d", n);
	expect_text(s, STORE_META, "last", n > 0 ? name : NULL);
	writer_free(&w);
	return n;
}

static void damage_setup(struct damage *d)
{
	fixture_open(&d->x, KIND_ROCKSDB);
	snprintf(d->copy, sizeof(d->copy), "%s/copy", d->x.dir);
	d->mark = RECORD_HEADER + MARK_REST + file_size(d->x.path, "IDENTITY");
	ck_assert(find_file(d->x.path, "", ".log", d->log));
	d->ends[0] = file_size(d->x.path, d->log);
	for (int i = 1; i <= BATCHES; i++) {
		put_batch(d->x.store, i, i <= SYNCED);
		d->ends[i] = file_size(d->x.path, d->log);
		ck_assert_uint_gt(d->ends[i], d->ends[i - 1]);
	}
	store_close(d->x.store);
	d->x.store = NULL;
	d->log_len = d->ends[BATCHES];
	ck_assert_uint_eq(file_size(d->x.path, d->log), d->log_len);
}

static void damage_end(struct damage *d)
{
	remove_tree(d->x.dir);
}

/* What is found by opening it to read only; the log, its torn end too, stays as it is. */
static int look_at_copy(struct damage *d)
{
	const struct store_options options = {.read_only = true};
	struct store_batch *b = store_batch_new();
	struct store *s;
	struct errmsg m;
	char found[64];
	bool has_log = find_file(d->copy, d->log, "", found);
	size_t before = 0, after;
	uint8_t *log = has_log ? read_file(d->copy, d->log, &before) : NULL, *same;
	int n = store_open_rocksdb(&s, d->copy, &options, &m);

	if (n == ERR_NONE) {
		n = count_batches(s);
		store_batch_put(b, STORE_META, text("next"), text("0"));
		ck_assert_int_eq(store_write(s, b, true), ERR_IO);
		store_close(s);
	}
	if (has_log) {
		same = read_file(d->copy, d->log, &after);
		ck_assert_uint_eq(after, before);
		ck_assert_int_eq(memcmp(log, same, after), 0);
		mem_free(same);
	}
	mem_free(log);
	store_batch_free(b);
	return n;
}

/* Opens the damaged copy; the number of batches found, or a negative error. */
static int open_copy(struct damage *d)
{
	struct store *s;
	int seen = look_at_copy(d);
	int err = try_open(d->copy, &s);
	int n;

	if (err != ERR_NONE) {
		ck_assert_int_eq(seen, err);
		return err;
	}
	n = count_batches(s);
	ck_assert_int_eq(seen, n);
	/* it can be gone on with, and what was found stays */
	put_text(s, STORE_META, "next", "1", true);
	store_close(s);
	s = open_path(d->copy);
	ck_assert_int_eq(count_batches(s), n);
	expect_text(s, STORE_META, "next", "1");
	store_close(s);
	return n;
}

static int whole_batches(const struct damage *d, size_t len)
{
	int n = 0;

	while (n < BATCHES && d->ends[n + 1] - (n < SYNCED ? d->mark : 0) <= len)
		n++;
	return n;
}

START_TEST(log_cut_short)
{
	struct damage d;
	uint8_t *log;
	size_t len;

	damage_setup(&d);
	log = read_file(d.x.path, d.log, &len);
	for (size_t cut = 0; cut <= len; cut += cut + 20 < len ? 23 * SPARSE : 1) {
		copy_store(d.x.path, d.copy);
		write_file(d.copy, d.log, log, cut);
		ck_assert_int_eq(open_copy(&d), whole_batches(&d, cut));
	}
	mem_free(log);
	damage_end(&d);
}
END_TEST

/* As after a power cut: the file has its length, but its last pages never came. */
START_TEST(log_ends_in_zeros)
{
	struct damage d;
	uint8_t *log;
	size_t len;

	damage_setup(&d);
	log = read_file(d.x.path, d.log, &len);
	log = mem_realloc(log, len + 100000);
	memset(log + len, 0, 100000);
	copy_store(d.x.path, d.copy);
	write_file(d.copy, d.log, log, len + 100000);
	ck_assert_int_eq(open_copy(&d), BATCHES);
	for (size_t from = d.ends[SYNCED]; from < len; from += 11 * SPARSE) {
		memset(log + from, 0, len - from);
		copy_store(d.x.path, d.copy);
		write_file(d.copy, d.log, log, len);
		ck_assert_int_ge(open_copy(&d), SYNCED);
		mem_free(log);
		log = read_file(d.x.path, d.log, &len);
	}
	mem_free(log);
	damage_end(&d);
}
END_TEST

/* Bytes all over the log flipped, in one of their bits. */
START_TEST(log_flipped)
{
	struct damage d;
	uint8_t *log;
	size_t len;
	struct random r;
	int refused = 0, cut = 0;

	random_seed(&r, 51);
	damage_setup(&d);
	log = read_file(d.x.path, d.log, &len);
	for (size_t at = 0; at < len; at += 5 * SPARSE) {
		uint8_t bit = (uint8_t)(1u << random_below(&r, 8));
		int whole = whole_batches(&d, at), got;

		copy_store(d.x.path, d.copy);
		log[at] ^= bit;
		write_file(d.copy, d.log, log, len);
		log[at] ^= bit;
		got = open_copy(&d);
		if (whole < SYNCED) {
			/* a mark says that it was synced: no torn tail */
			ck_assert_msg(got == ERR_CORRUPT, "byte %zu: %d", at, got);
			refused++;
		} else {
			ck_assert_msg(got == whole, "byte %zu: %d, want %d", at, got, whole);
			cut++;
		}
	}
	ck_assert_int_gt(refused, 50 / SPARSE);
	ck_assert_int_gt(cut, 50 / SPARSE);
	mem_free(log);
	damage_end(&d);
}
END_TEST

/* A power cut in the middle of a sync: pages have reached the disk in any order, later ones
 * without earlier ones. All that was not synced may be full of holes, nothing else may. */
START_TEST(log_with_holes)
{
	enum { HOLE = 64 };
	struct damage d;
	uint8_t *log, *holed;
	size_t len, synced;
	struct random r;
	int lost = 0;

	random_seed(&r, 52);
	damage_setup(&d);
	remove_tree(d.x.path);
	d.x.store = open_path(d.x.path);
	ck_assert(find_file(d.x.path, "", ".log", d.log));
	for (int i = 1; i <= BATCHES; i++) {
		put_batch(d.x.store, i, i == SYNCED);
		d.ends[i] = file_size(d.x.path, d.log);
	}
	ck_assert_int_eq(store_sync(d.x.store), ERR_NONE);
	store_close(d.x.store);
	log = read_file(d.x.path, d.log, &len);
	ck_assert_uint_eq(len, d.ends[BATCHES] + d.mark);
	synced = d.ends[SYNCED];
	for (int i = 0; i < 200 / SPARSE; i++) {
		size_t end = i % 2 ? len : d.ends[BATCHES]; /* the sync has ended; or has not */
		size_t from = i % 4 < 2 ? synced : d.ends[SYNCED - 1];
		size_t at = from + random_below(&r, d.ends[BATCHES] - from), to = at + HOLE;
		int got, whole = whole_batches(&d, at);
		if (to > d.ends[BATCHES])
			to = d.ends[BATCHES];
		holed = mem_alloc(len);
		memcpy(holed, log, len);
		memset(holed + at, 0, to - at);
		copy_store(d.x.path, d.copy);
		write_file(d.copy, d.log, holed, end);
		got = open_copy(&d);
		if (end == len || whole < SYNCED) {
			ck_assert_msg(got == ERR_CORRUPT ||
					      memcmp(holed + at, log + at, to - at) == 0 ||
					      (end != len && whole == SYNCED - 1 &&
					       to > synced - d.mark && got == whole),
				      "byte %zu of %zu: %d", at, end, got);
		} else {
			ck_assert_msg(got == whole, "byte %zu of %zu: %d, want %d", at, end,
				      got, whole);
			lost++;
		}
		mem_free(holed);
	}
	ck_assert_int_gt(lost, 30 / SPARSE);
	mem_free(log);
	damage_end(&d);
}
END_TEST

/* Where RocksDB itself takes damage for the end of the log: lengths and types of every record,
 * in all their bits. */
START_TEST(log_headers_flipped)
{
	struct damage d;
	uint8_t *log;
	size_t len;

	damage_setup(&d);
	log = read_file(d.x.path, d.log, &len);
	for (int i = 0; i < SYNCED; i++) {
		for (size_t bit = 0; bit < 24; bit++) {
			size_t at = d.ends[i] + 4 + bit / 8;
			copy_store(d.x.path, d.copy);
			log[at] ^= (uint8_t)(1u << bit % 8);
			write_file(d.copy, d.log, log, len);
			log[at] ^= (uint8_t)(1u << bit % 8);
			ck_assert_int_eq(open_copy(&d), ERR_CORRUPT);
		}
	}
	mem_free(log);
	damage_end(&d);
}
END_TEST

/* A client chooses its values: one that holds log records must not pass for them. */
START_TEST(log_within_a_value)
{
	struct damage d;
	struct store_batch *b = store_batch_new();
	struct store *s;
	uint8_t *log;
	size_t len, from;
	char name[64];

	damage_setup(&d);
	log = read_file(d.x.path, d.log, &len);
	snprintf(d.x.path, sizeof(d.x.path), "%s/other", d.x.dir);
	s = open_path(d.x.path);
	ck_assert(find_file(d.x.path, "", ".log", name));
	put_text(s, STORE_META, "a", "1", true);
	from = file_size(d.x.path, name);
	/* batches synced, but in another store */
	store_batch_put(b, STORE_STATE, text("b"), slice_of(log, len));
	ck_assert_int_eq(store_write(s, b, false), ERR_NONE);
	store_close(s);
	mem_free(log);

	log = read_file(d.x.path, name, &len);
	log[from] ^= 1;
	write_file(d.x.path, name, log, len);
	s = open_path(d.x.path);
	expect_text(s, STORE_META, "a", "1");
	expect_text(s, STORE_STATE, "b", NULL);
	store_close(s);
	mem_free(log);
	store_batch_free(b);
	damage_end(&d);
}
END_TEST

/* Batches larger than the log's blocks of 32 KiB, in a log of several. */
START_TEST(long_log)
{
	enum { BIG = 6 };
	struct fixture x;
	struct store_batch *b = store_batch_new();
	struct random r;
	char name[64], copy[300];
	size_t ends[BIG + 1] = {0}, len, mark;
	uint8_t *value = mem_alloc(60000), *log;
	struct store *s;

	random_seed(&r, 61);
	fixture_dir(&x);
	/* one family that is not filled: all stays in one log */
	ck_assert_int_eq(store_open_rocksdb(&x.store, x.path,
					    &(struct store_options){.create = true}, NULL),
			 ERR_NONE);
	ck_assert(find_file(x.path, "", ".log", name));
	mark = RECORD_HEADER + MARK_REST + file_size(x.path, "IDENTITY");
	for (int i = 1; i <= BIG; i++) {
		char key[2] = {(char)('0' + i), 0};
		for (size_t j = 0; j < 60000; j++)
			value[j] = (uint8_t)random_u64(&r);
		store_batch_clear(b);
		store_batch_put(b, STORE_BLOCKS, text(key),
				slice_of(value, 20000 + random_below(&r, 40000)));
		ck_assert_int_eq(store_write(x.store, b, i <= BIG / 2), ERR_NONE);
		ends[i] = file_size(x.path, name);
	}
	store_close(x.store);
	snprintf(copy, sizeof(copy), "%s/copy", x.dir);
	log = read_file(x.path, name, &len);
	for (int i = 0; i < 60; i++) {
		size_t at = random_below(&r, len);
		int whole = 0, err;

		while (whole < BIG && ends[whole + 1] - (whole < BIG / 2 ? mark : 0) <= at)
			whole++;
		copy_store(x.path, copy);
		log[at] ^= 0x10;
		write_file(copy, name, log, i % 3 == 0 ? at : len);
		log[at] ^= 0x10;
		err = try_open(copy, &s);
		if (i % 3 != 0 && whole < BIG / 2) {
			/* padding at the end of a block holds nothing */
			ck_assert(err == ERR_CORRUPT || (err == ERR_NONE && log[at] == 0));
		} else {
			ck_assert_int_eq(err, ERR_NONE);
		}
		if (err != ERR_NONE)
			continue;
		for (int k = 1; k <= BIG; k++) {
			char key[2] = {(char)('0' + k), 0};
			struct writer w = {0};
			int got = store_get(s, STORE_BLOCKS, text(key), &w);
			if (k <= whole)
				ck_assert_int_eq(got, ERR_NONE);
			else if (log[at] != 0)
				ck_assert_int_eq(got, ERR_NOT_FOUND);
			writer_free(&w);
		}
		store_close(s);
	}
	mem_free(log);
	mem_free(value);
	store_batch_free(b);
	remove_tree(x.dir);
}
END_TEST

/* Two logs: a family that is never full pins the first while another fills the second. */
START_TEST(older_log_damaged)
{
	struct damage d;
	struct store_batch *b = store_batch_new();
	uint8_t *log, *value = mem_zalloc(16 << 10);
	char newer[64];
	size_t len;

	damage_setup(&d);
	remove_tree(d.x.path);
	d.x.store = open_path(d.x.path);
	ck_assert(find_file(d.x.path, "", ".log", d.log));
	put_batch(d.x.store, 1, false);
	len = file_size(d.x.path, d.log);
	do {
		store_batch_clear(b);
		store_batch_put(b, STORE_BLOCKS, text("fill"), slice_of(value, 16 << 10));
		ck_assert_int_eq(store_write(d.x.store, b, false), ERR_NONE);
		ck_assert(find_file(d.x.path, "", ".log", newer));
	} while (strcmp(newer, d.log) == 0);
	put_batch(d.x.store, 2, true);
	store_close(d.x.store);
	ck_assert_uint_gt(file_size(d.x.path, d.log), len);

	log = read_file(d.x.path, d.log, &len);
	log[20] ^= 1;
	copy_store(d.x.path, d.copy);
	ck_assert_int_eq(open_copy(&d), 2);
	copy_store(d.x.path, d.copy);
	write_file(d.copy, d.log, log, len);
	ck_assert_int_eq(open_copy(&d), ERR_CORRUPT);
	/* refusing has changed nothing: repaired by hand, all is there */
	log[20] ^= 1;
	write_file(d.copy, d.log, log, len);
	ck_assert_int_eq(open_copy(&d), 2);
	mem_free(log);
	mem_free(value);
	store_batch_free(b);
	damage_end(&d);
}
END_TEST

/* Reads everything; false if that ends in an error. What is read must be right. */
static bool reads_right(const char *path, const struct model *m)
{
	struct store *s;
	bool ok = true;
	int err = try_open(path, &s);

	if (err != ERR_NONE) {
		ck_assert(err == ERR_CORRUPT || err == ERR_IO || err == ERR_VERSION);
		return false;
	}
	for (size_t i = 0; i < m->len; i++) {
		const struct model_item *item = &m->items[i];
		struct writer w = {0};
		err = store_get(s, item->family, slice_bytes(&item->key), &w);
		if (err == ERR_NONE) {
			ck_assert(slice_equal(writer_slice(&w), slice_bytes(&item->value)));
		} else {
			ck_assert_int_eq(err, ERR_CORRUPT);
			ok = false;
		}
		writer_free(&w);
	}
	for (int f = 0; f < STORE_FAMILIES; f++) {
		struct store_iter *it;
		struct slice key, value;
		it = store_iter_new(s, (enum store_family)f, text(""), text(""), f % 2 == 0);
		while (store_iter_next(it, &key, &value)) {
		}
		if (store_iter_error(it) != ERR_NONE)
			ok = false;
		store_iter_free(it);
	}
	if (ok)
		ck_assert(model_matches(m, s));
	store_close(s);
	return ok;
}

static void flip_files(const char *prefix, const char *suffix, int flips, int min_refused)
{
	struct damage d;
	struct random r;
	struct model *m = model_new();
	struct store_batch *b = store_batch_new();
	char name[64];
	uint8_t *file;
	size_t len;
	int refused = 0;

	random_seed(&r, 71);
	fixture_open(&d.x, KIND_ROCKSDB);
	snprintf(d.copy, sizeof(d.copy), "%s/copy", d.x.dir);
	for (int i = 0; i < 150; i++) {
		random_batch(&r, b, m, 10);
		ck_assert_int_eq(store_write(d.x.store, b, true), ERR_NONE);
		store_batch_clear(b);
	}
	fixture_reopen(&d.x); /* recovery puts the log into tables */
	store_close(d.x.store);
	ck_assert(find_file(d.x.path, prefix, suffix, name));
	file = read_file(d.x.path, name, &len);
	for (int i = 0; i < flips; i++) {
		size_t at = random_below(&r, len);
		uint8_t bit = (uint8_t)(1u << random_below(&r, 8));
		copy_store(d.x.path, d.copy);
		file[at] ^= bit;
		write_file(d.copy, name, file, len);
		file[at] ^= bit;
		if (!reads_right(d.copy, m))
			refused++;
	}
	ck_assert_int_ge(refused, min_refused);
	mem_free(file);
	store_batch_free(b);
	mem_free(m);
	remove_tree(d.x.dir);
}

START_TEST(table_flipped)
{
	flip_files("", ".sst", 100, 25);
}
END_TEST

START_TEST(manifest_flipped)
{
	flip_files("MANIFEST-", "", 200, 150);
}
END_TEST

/* Where RocksDB takes damage for the end of the manifest, and would forget tables or whole
 * families: lengths and types of its records. Only the last record may pass for torn. */
START_TEST(manifest_headers_flipped)
{
	struct damage d;
	struct store *s;
	uint8_t *file;
	char name[64];
	size_t len, next;
	int records = 0;

	damage_setup(&d);
	d.x.store = open_path(d.x.path); /* makes tables */
	store_close(d.x.store);
	ck_assert(find_file(d.x.path, "MANIFEST-", "", name));
	file = read_file(d.x.path, name, &len);
	ck_assert_uint_lt(len, 32768); /* one block: records follow one another */
	for (size_t at = 0; at + 7 <= len; at = next, records++) {
		next = at + 7 + file[at + 4] + 256u * file[at + 5];
		for (size_t bit = 0; bit < 24 && next < len; bit++) {
			copy_store(d.x.path, d.copy);
			file[at + 4 + bit / 8] ^= (uint8_t)(1u << bit % 8);
			write_file(d.copy, name, file, len);
			file[at + 4 + bit / 8] ^= (uint8_t)(1u << bit % 8);
			ck_assert_int_eq(try_open(d.copy, &s), ERR_CORRUPT);
		}
	}
	ck_assert_int_gt(records, STORE_FAMILIES);
	mem_free(file);
	damage_end(&d);
}
END_TEST

START_TEST(current_flipped)
{
	flip_files("CURRENT", "", 30, 25);
}
END_TEST

START_TEST(files_missing)
{
	const struct store_options options = {.create = true};
	struct errmsg m;
	struct damage d;
	struct store *s;
	char name[64], path[640];

	damage_setup(&d);
	d.x.store = open_path(d.x.path); /* makes tables */
	store_close(d.x.store);

	copy_store(d.x.path, d.copy);
	ck_assert(find_file(d.copy, "", ".sst", name));
	snprintf(path, sizeof(path), "%s/%s", d.copy, name);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_ne(try_open(d.copy, &s), ERR_NONE);

	/* must not be taken for a place where a new store is to be made */
	copy_store(d.x.path, d.copy);
	snprintf(path, sizeof(path), "%s/CURRENT", d.copy);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(store_open_rocksdb(&s, d.copy, &options, &m), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(m.text, "CURRENT is missing"));

	/* the identity is only the marks' key: without it any damage counts */
	copy_store(d.x.path, d.copy);
	snprintf(path, sizeof(path), "%s/IDENTITY", d.copy);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(open_copy(&d), BATCHES);
	damage_end(&d);
}
END_TEST

Suite *damage_suite(void)
{
	Suite *s = suite_create("store damaged");
	TCase *t = tcase_create("damage");

	tcase_set_timeout(t, 300);
	tcase_add_test(t, log_cut_short);
	tcase_add_test(t, log_ends_in_zeros);
	tcase_add_test(t, log_flipped);
	tcase_add_test(t, log_with_holes);
	tcase_add_test(t, log_headers_flipped);
	tcase_add_test(t, log_within_a_value);
	tcase_add_test(t, long_log);
	tcase_add_test(t, older_log_damaged);
	tcase_add_test(t, table_flipped);
	tcase_add_test(t, manifest_flipped);
	tcase_add_test(t, manifest_headers_flipped);
	tcase_add_test(t, current_flipped);
	tcase_add_test(t, files_missing);
	suite_add_tcase(s, t);
	return s;
}
