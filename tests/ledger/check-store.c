/* The conformance suite: every test runs over both stores. Also main() and what is shared. */
#include "check-store.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/* Shared */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int try_open(const char *path, struct store **out)
{
	/* small buffers: flushes and compactions happen in the tests, too */
	const struct store_options options = {.create = true, .write_buffer_size = 128 << 10};
	struct errmsg m = {.text = ""};
	int err = store_open_rocksdb(out, path, &options, &m);

	ck_assert_int_eq(err != ERR_NONE, *out == NULL);
	ck_assert_int_eq(err != ERR_NONE, m.text[0] != '\0');
	return err;
}

struct store *open_path(const char *path)
{
	const struct store_options options = {.create = true, .write_buffer_size = 128 << 10};
	struct errmsg m = {.text = ""};
	struct store *s;
	int err = store_open_rocksdb(&s, path, &options, &m);

	ck_assert_msg(err == ERR_NONE, "open: %s: %s", err_text(err), m.text);
	return s;
}

void fixture_dir(struct fixture *x)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(x->dir, sizeof(x->dir), "%s/check-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(x->dir));
	snprintf(x->path, sizeof(x->path), "%s/db", x->dir);
}

void fixture_open(struct fixture *x, enum store_kind kind)
{
	*x = (struct fixture){.kind = kind};
	if (kind == KIND_MEMORY) {
		x->store = store_open_memory();
		return;
	}
	fixture_dir(x);
	x->store = open_path(x->path);
}

void fixture_reopen(struct fixture *x)
{
	if (x->kind == KIND_MEMORY)
		return;
	store_close(x->store);
	x->store = open_path(x->path);
}

void fixture_end(struct fixture *x)
{
	store_close(x->store);
	if (x->dir[0] != '\0')
		remove_tree(x->dir);
}

struct slice text(const char *s)
{
	return slice_of(s, strlen(s));
}

void put_text(struct store *s, enum store_family f, const char *key, const char *value,
	      bool sync)
{
	struct store_batch *b = store_batch_new();

	store_batch_put(b, f, text(key), text(value));
	ck_assert_int_eq(store_write(s, b, sync), ERR_NONE);
	store_batch_free(b);
}

void expect_text(struct store *s, enum store_family f, const char *key, const char *value)
{
	struct writer w = {0};
	int err = store_get(s, f, text(key), &w);

	if (value == NULL) {
		ck_assert_int_eq(err, ERR_NOT_FOUND);
	} else {
		ck_assert_int_eq(err, ERR_NONE);
		ck_assert(slice_equal(writer_slice(&w), text(value)));
	}
	writer_free(&w);
}

struct slice slice_bytes(const struct bytes *b)
{
	return slice_of(b->data, b->len);
}

struct bytes random_key(struct random *r)
{
	static const uint8_t alphabet[] = {0x00, 0x01, 'a', 0xfe, 0xff};
	struct bytes b = {.len = 0};

	/* half of them share their first 8 or 9 bytes */
	if (random_chance(r, 1, 2)) {
		b.len = 8 + random_below(r, 2);
		memset(b.data, random_chance(r, 1, 2) ? 0xff : 'p', b.len);
	}
	for (uint64_t n = random_below(r, 4); n > 0; n--)
		b.data[b.len++] = alphabet[random_below(r, sizeof(alphabet))];
	return b;
}

struct bytes random_value(struct random *r)
{
	struct bytes b = {.len = random_below(r, sizeof(b.data) + 1)};

	for (size_t i = 0; i < b.len; i++)
		b.data[i] = (uint8_t)random_u64(r);
	return b;
}

struct model *model_new(void)
{
	return mem_zalloc(sizeof(struct model) + MODEL_MAX * sizeof(struct model_item));
}

void model_copy(struct model *to, const struct model *from)
{
	to->len = from->len;
	memcpy(to->items, from->items, from->len * sizeof(from->items[0]));
}

static struct model_item *model_find(struct model *m, enum store_family f, struct slice key)
{
	for (size_t i = 0; i < m->len; i++) {
		if (m->items[i].family == f && slice_equal(slice_bytes(&m->items[i].key), key))
			return &m->items[i];
	}
	return NULL;
}

void model_put(struct model *m, enum store_family f, struct bytes key, struct bytes value)
{
	struct model_item *i = model_find(m, f, slice_bytes(&key));

	if (i == NULL) {
		ck_assert_uint_lt(m->len, MODEL_MAX);
		i = &m->items[m->len++];
	}
	*i = (struct model_item){.family = f, .key = key, .value = value};
}

void model_delete(struct model *m, enum store_family f, struct bytes key)
{
	struct model_item *i = model_find(m, f, slice_bytes(&key));

	if (i != NULL)
		*i = m->items[--m->len];
}

void random_batch(struct random *r, struct store_batch *b, struct model *m, int max_ops)
{
	for (uint64_t n = random_below(r, (uint64_t)max_ops + 1); n > 0; n--) {
		/* two families get most, so that they fill up */
		enum store_family f = (enum store_family)random_below(
			r, random_chance(r, 3, 4) ? 2 : STORE_FAMILIES);
		struct bytes key = random_key(r);

		if (random_chance(r, 1, 3)) {
			store_batch_delete(b, f, slice_bytes(&key));
			model_delete(m, f, key);
		} else {
			struct bytes value = random_value(r);
			store_batch_put(b, f, slice_bytes(&key), slice_bytes(&value));
			model_put(m, f, key, value);
		}
	}
}

static int compare_items(const void *a, const void *b)
{
	const struct model_item *x = a, *y = b;

	return slice_compare(slice_bytes(&x->key), slice_bytes(&y->key));
}

/* The items of m that an iterator should give, in its order. */
static struct model *model_range(const struct model *m, enum store_family f, struct slice from,
				 struct slice to, bool reverse)
{
	struct model *out = mem_alloc(sizeof(*out) + m->len * sizeof(out->items[0]));

	out->len = 0;
	for (size_t i = 0; i < m->len; i++) {
		struct slice key = slice_bytes(&m->items[i].key);
		if (m->items[i].family == f && slice_compare(key, from) >= 0 &&
		    (to.len == 0 || slice_compare(key, to) < 0))
			out->items[out->len++] = m->items[i];
	}
	qsort(out->items, out->len, sizeof(out->items[0]), compare_items);
	for (size_t i = 0; reverse && i < out->len / 2; i++) {
		struct model_item swap = out->items[i];
		out->items[i] = out->items[out->len - 1 - i];
		out->items[out->len - 1 - i] = swap;
	}
	return out;
}

/* Takes `take` items, or all if SIZE_MAX, and compares them with want from *at on. */
static bool iter_matches(struct store_iter *it, const struct model *want, size_t *at,
			 size_t take)
{
	struct slice key, value;

	for (size_t i = 0; i < take && *at < want->len; i++, (*at)++) {
		if (!store_iter_next(it, &key, &value) ||
		    !slice_equal(key, slice_bytes(&want->items[*at].key)) ||
		    !slice_equal(value, slice_bytes(&want->items[*at].value)))
			return false;
	}
	if (*at < want->len)
		return true;
	return !store_iter_next(it, &key, &value) && !store_iter_next(it, &key, &value) &&
	       store_iter_error(it) == ERR_NONE;
}

static bool range_matches(const struct model *m, struct store *s, enum store_family f,
			  struct slice from, struct slice to, bool reverse)
{
	struct model *want = model_range(m, f, from, to, reverse);
	struct store_iter *it = store_iter_new(s, f, from, to, reverse);
	size_t at = 0;
	bool ok = iter_matches(it, want, &at, SIZE_MAX);

	store_iter_free(it);
	mem_free(want);
	return ok;
}

bool model_matches(const struct model *m, struct store *s)
{
	const struct slice none = {0};

	for (int f = 0; f < STORE_FAMILIES; f++) {
		if (!range_matches(m, s, (enum store_family)f, none, none, f % 2 == 0))
			return false;
	}
	return true;
}

/* Tests */

START_TEST(basics)
{
	struct fixture x;
	struct writer w = {0};
	struct store_stats stats;

	fixture_open(&x, (enum store_kind)_i);
	expect_text(x.store, STORE_STATE, "k", NULL);
	put_text(x.store, STORE_STATE, "k", "one", false);
	expect_text(x.store, STORE_STATE, "k", "one");
	put_text(x.store, STORE_STATE, "k", "two", true);
	expect_text(x.store, STORE_STATE, "k", "two");
	put_text(x.store, STORE_STATE, "k", "", false);
	expect_text(x.store, STORE_STATE, "k", "");
	expect_text(x.store, STORE_STATE, "kk", NULL);
	expect_text(x.store, STORE_STATE, "", NULL);
	put_text(x.store, STORE_STATE, "", "empty key", false);
	expect_text(x.store, STORE_STATE, "", "empty key");
	ck_assert_int_eq(store_sync(x.store), ERR_NONE);

	/* out is reset, also when there is nothing to find */
	writer_raw(&w, "old", 3);
	ck_assert_int_eq(store_get(x.store, STORE_STATE, text("none"), &w), ERR_NOT_FOUND);
	ck_assert_uint_eq(w.len, 0);
	writer_free(&w);
	writer_init(&w, 4);
	ck_assert_int_eq(store_get(x.store, STORE_STATE, text(""), &w), ERR_LIMIT);
	writer_free(&w);

	store_stats(x.store, &stats);
	ck_assert_uint_eq(stats.writes, 4);
	ck_assert_uint_eq(stats.keys_written, 4);
	ck_assert_uint_eq(stats.syncs, 2);
	ck_assert_uint_ge(stats.bytes_written, 3 + 3 + 9 + 3);
	fixture_end(&x);
}
END_TEST

START_TEST(batch_counts)
{
	struct fixture x;
	struct store_batch *b = store_batch_new();

	fixture_open(&x, (enum store_kind)_i);
	ck_assert_uint_eq(store_batch_count(b), 0);
	ck_assert_uint_eq(store_batch_bytes(b), 0);
	ck_assert_int_eq(store_write(x.store, b, false), ERR_NONE);
	ck_assert_int_eq(store_write(x.store, b, true), ERR_NONE);
	store_batch_put(b, STORE_META, text("a"), text("1"));
	store_batch_delete(b, STORE_META, text("b"));
	ck_assert_uint_eq(store_batch_count(b), 2);
	ck_assert_uint_ge(store_batch_bytes(b), 3);
	store_batch_clear(b);
	ck_assert_uint_eq(store_batch_count(b), 0);
	ck_assert_int_eq(store_write(x.store, b, true), ERR_NONE);
	expect_text(x.store, STORE_META, "a", NULL);

	/* a batch is not used up by writing it, and goes on from there */
	store_batch_put(b, STORE_META, text("a"), text("2"));
	ck_assert_int_eq(store_write(x.store, b, false), ERR_NONE);
	expect_text(x.store, STORE_META, "a", "2");
	put_text(x.store, STORE_META, "a", "3", false);
	store_batch_put(b, STORE_META, text("c"), text("4"));
	ck_assert_int_eq(store_write(x.store, b, false), ERR_NONE);
	expect_text(x.store, STORE_META, "a", "2");
	expect_text(x.store, STORE_META, "c", "4");
	store_batch_free(b);
	store_batch_free(NULL);
	fixture_end(&x);
}
END_TEST

START_TEST(order_within_batch)
{
	struct fixture x;
	struct store_batch *b = store_batch_new();

	fixture_open(&x, (enum store_kind)_i);
	store_batch_put(b, STORE_VOTES, text("p"), text("1"));
	store_batch_delete(b, STORE_VOTES, text("p"));
	store_batch_put(b, STORE_VOTES, text("p"), text("2"));
	store_batch_delete(b, STORE_VOTES, text("d"));
	store_batch_put(b, STORE_VOTES, text("d"), text("1"));
	store_batch_delete(b, STORE_VOTES, text("d"));
	store_batch_put(b, STORE_VOTES, text("o"), text("1"));
	store_batch_put(b, STORE_VOTES, text("o"), text("2"));
	for (int again = 0; again < 2; again++) {
		ck_assert_int_eq(store_write(x.store, b, again == 0), ERR_NONE);
		expect_text(x.store, STORE_VOTES, "p", "2");
		expect_text(x.store, STORE_VOTES, "d", NULL);
		expect_text(x.store, STORE_VOTES, "o", "2");
	}
	fixture_reopen(&x);
	expect_text(x.store, STORE_VOTES, "p", "2");
	expect_text(x.store, STORE_VOTES, "d", NULL);
	expect_text(x.store, STORE_VOTES, "o", "2");
	store_batch_free(b);
	fixture_end(&x);
}
END_TEST

START_TEST(families_are_apart)
{
	struct fixture x;
	char value[2] = "0";

	fixture_open(&x, (enum store_kind)_i);
	for (int f = 0; f < STORE_FAMILIES; f++) {
		value[0] = (char)('0' + f);
		put_text(x.store, (enum store_family)f, "same", value, false);
	}
	for (int again = 0; again < 2; again++) {
		for (int f = 0; f < STORE_FAMILIES; f++) {
			value[0] = (char)('0' + f);
			expect_text(x.store, (enum store_family)f, "same", value);
		}
		fixture_reopen(&x);
	}
	fixture_end(&x);
}
END_TEST

START_TEST(ranges)
{
	/* ascending */
	static const struct bytes keys[] = {
		{.data = {0}, .len = 0},
		{.data = {0}, .len = 1},
		{.data = {0, 0}, .len = 2},
		{.data = {0, 0xff}, .len = 2},
		{.data = {1}, .len = 1},
		{.data = {'p', 'p', 'p', 'p', 'p', 'p', 'p'}, .len = 7},
		{.data = {'p', 'p', 'p', 'p', 'p', 'p', 'p', 0}, .len = 8},
		{.data = {'p', 'p', 'p', 'p', 'p', 'p', 'p', 0, 0}, .len = 9},
		{.data = {'p', 'p', 'p', 'p', 'p', 'p', 'p', 'p'}, .len = 8},
		{.data = {0xff}, .len = 1},
		{.data = {0xff, 0}, .len = 2},
		{.data = {0xff, 0xff}, .len = 2},
		{.data = {0xff, 0xff, 0xff}, .len = 3},
	};
	struct fixture x;
	struct model *m = model_new();
	struct store_batch *b = store_batch_new();

	fixture_open(&x, (enum store_kind)_i);
	for (size_t half = 0; half < 2; half++) {
		for (size_t i = half; i < MEM_COUNT(keys); i += 2) {
			store_batch_put(b, STORE_TREE, slice_bytes(&keys[i]), text("v"));
			model_put(m, STORE_TREE, keys[i], (struct bytes){{'v'}, 1});
		}
		ck_assert_int_eq(store_write(x.store, b, false), ERR_NONE);
		/* every pair as a range, present or not, empty and upside down ones too */
		for (size_t i = 0; i < MEM_COUNT(keys); i++) {
			for (size_t j = 0; j < MEM_COUNT(keys); j++) {
				struct slice from = slice_bytes(&keys[i]);
				struct slice to = slice_bytes(&keys[j]);
				ck_assert(
					range_matches(m, x.store, STORE_TREE, from, to, false));
				ck_assert(
					range_matches(m, x.store, STORE_TREE, from, to, true));
			}
		}
		fixture_reopen(&x);
	}
	ck_assert(range_matches(m, x.store, STORE_STATE, text(""), text(""), false));
	ck_assert(range_matches(m, x.store, STORE_STATE, text(""), text(""), true));
	store_batch_free(b);
	mem_free(m);
	fixture_end(&x);
}
END_TEST

START_TEST(random_against_model)
{
	struct fixture x;
	struct random r;
	struct model *m = model_new();
	struct store_batch *b = store_batch_new();
	struct writer w = {0};
	int steps = _i == KIND_MEMORY ? 6000 : 1500;

	random_seed(&r, 20240601);
	fixture_open(&x, (enum store_kind)_i);
	for (int i = 0; i < steps; i++) {
		struct bytes key = random_key(&r), from = random_key(&r), to = random_key(&r);
		enum store_family f = (enum store_family)random_below(&r, 3);
		struct model_item *want;
		int err;

		store_batch_clear(b);
		random_batch(&r, b, m, 20);
		ck_assert_int_eq(store_write(x.store, b, random_chance(&r, 1, 8)), ERR_NONE);

		want = model_find(m, f, slice_bytes(&key));
		err = store_get(x.store, f, slice_bytes(&key), &w);
		ck_assert_int_eq(err, want != NULL ? ERR_NONE : ERR_NOT_FOUND);
		if (want != NULL)
			ck_assert(slice_equal(writer_slice(&w), slice_bytes(&want->value)));
		ck_assert(range_matches(m, x.store, f, slice_bytes(&from), slice_bytes(&to),
					random_chance(&r, 1, 2)));
		if (i % 100 == 0)
			ck_assert(model_matches(m, x.store));
		if (i % 300 == 299)
			fixture_reopen(&x);
	}
	ck_assert(model_matches(m, x.store));
	writer_free(&w);
	store_batch_free(b);
	mem_free(m);
	fixture_end(&x);
}
END_TEST

#define LIVE_ITERS 5

/* Iterators begun at different times each go on seeing the store as it was then. */
START_TEST(snapshots)
{
	struct fixture x;
	struct random r;
	struct model *m = model_new();
	struct store_batch *b = store_batch_new();
	struct store_iter *iters[LIVE_ITERS] = {NULL};
	struct model *wants[LIVE_ITERS] = {NULL};
	size_t ats[LIVE_ITERS] = {0};
	int steps = _i == KIND_MEMORY ? 8000 : 2000;

	random_seed(&r, 7);
	fixture_open(&x, (enum store_kind)_i);
	for (int i = 0; i < steps; i++) {
		size_t slot = random_below(&r, LIVE_ITERS);
		struct bytes from = random_key(&r), to = random_key(&r);
		enum store_family f = (enum store_family)random_below(&r, 2);
		bool reverse = random_chance(&r, 1, 2);

		if (iters[slot] == NULL) {
			if (random_chance(&r, 1, 2))
				from.len = to.len = 0;
			wants[slot] = model_range(m, f, slice_bytes(&from), slice_bytes(&to),
						  reverse);
			iters[slot] = store_iter_new(x.store, f, slice_bytes(&from),
						     slice_bytes(&to), reverse);
			ats[slot] = 0;
		} else if (random_chance(&r, 1, 6)) {
			store_iter_free(iters[slot]);
			mem_free(wants[slot]);
			iters[slot] = NULL;
		} else {
			ck_assert(iter_matches(iters[slot], wants[slot], &ats[slot],
					       random_below(&r, 6)));
		}
		store_batch_clear(b);
		if (random_chance(&r, 1, 2))
			random_batch(&r, b, m, 4);
		ck_assert_int_eq(store_write(x.store, b, false), ERR_NONE);
	}
	for (size_t slot = 0; slot < LIVE_ITERS; slot++) {
		if (iters[slot] == NULL)
			continue;
		ck_assert(iter_matches(iters[slot], wants[slot], &ats[slot], SIZE_MAX));
		store_iter_free(iters[slot]);
		mem_free(wants[slot]);
	}
	store_iter_free(NULL);
	store_batch_free(b);
	mem_free(m);
	fixture_end(&x);
}
END_TEST

/* What is lent stays until the next call of the iterator, whatever is written meanwhile. */
START_TEST(lent_over_a_write)
{
	struct fixture x;
	struct store_batch *b = store_batch_new();
	struct store_iter *it;
	struct slice key, value;

	fixture_open(&x, (enum store_kind)_i);
	put_text(x.store, STORE_STATE, "a", "1", false);
	put_text(x.store, STORE_STATE, "b", "2", false);
	it = store_iter_new(x.store, STORE_STATE, text(""), text(""), false);
	ck_assert(store_iter_next(it, &key, &value));
	store_batch_delete(b, STORE_STATE, key);
	store_batch_delete(b, STORE_STATE, text("b"));
	ck_assert_int_eq(store_write(x.store, b, true), ERR_NONE);
	ck_assert(slice_equal(key, text("a")));
	ck_assert(slice_equal(value, text("1")));
	expect_text(x.store, STORE_STATE, "a", NULL);
	ck_assert(store_iter_next(it, &key, &value));
	ck_assert(slice_equal(key, text("b")));
	ck_assert(slice_equal(value, text("2")));
	ck_assert(!store_iter_next(it, &key, &value));
	store_iter_free(it);
	store_batch_free(b);
	fixture_end(&x);
}
END_TEST

/* Heights in ascending, descending and scattered order; then most of them away again. */
START_TEST(many_keys)
{
	enum { KEYS = 30011, STEPS = 3 }; /* a prime: every step visits all */
	static const uint64_t steps[STEPS] = {1, KEYS - 1, 7919};
	struct fixture x;
	struct store_batch *b = store_batch_new();
	struct slice key, value;
	uint8_t name[8];
	uint64_t n;

	fixture_open(&x, (enum store_kind)_i);
	for (int k = 0; k < STEPS; k++) {
		enum store_family f = (enum store_family)k;
		struct store_iter *it;

		for (uint64_t i = 0; i < KEYS; i++) {
			store_be64(name, i * steps[k] % KEYS);
			store_batch_put(b, f, slice_of(name, 8), slice_of(name, 8));
			if (i % 100 == 99 || i == KEYS - 1) {
				ck_assert_int_eq(store_write(x.store, b, false), ERR_NONE);
				store_batch_clear(b);
			}
		}
		it = store_iter_new(x.store, f, text(""), text(""), k == 1);
		for (n = 0; store_iter_next(it, &key, &value); n++) {
			ck_assert_uint_eq(key.len, 8);
			ck_assert_uint_eq(load_be64(key.ptr), k == 1 ? KEYS - 1 - n : n);
			ck_assert(slice_equal(key, value));
		}
		ck_assert_uint_eq(n, KEYS);
		store_iter_free(it);

		for (uint64_t i = 0; i < KEYS; i++) {
			uint64_t at = i * 7919 % KEYS;
			store_be64(name, at);
			if (at % 1000 != 0)
				store_batch_delete(b, f, slice_of(name, 8));
		}
		ck_assert_int_eq(store_write(x.store, b, true), ERR_NONE);
		store_batch_clear(b);
		it = store_iter_new(x.store, f, text(""), text(""), false);
		for (n = 0; store_iter_next(it, &key, &value); n++)
			ck_assert_uint_eq(load_be64(key.ptr), n * 1000);
		ck_assert_uint_eq(n, KEYS / 1000 + 1);
		store_iter_free(it);
	}
	store_batch_free(b);
	fixture_end(&x);
}
END_TEST

START_TEST(big_values)
{
	struct fixture x;
	struct random r;
	struct store_batch *b = store_batch_new();
	struct writer w = {0};
	size_t size = 5 << 20;
	uint8_t *value = mem_alloc(size);

	random_seed(&r, 3);
	for (size_t i = 0; i < size; i++)
		value[i] = (uint8_t)random_u64(&r);
	fixture_open(&x, (enum store_kind)_i);
	store_batch_put(b, STORE_BLOCKS, text("big"), slice_of(value, size));
	ck_assert_int_eq(store_write(x.store, b, true), ERR_NONE);
	for (int again = 0; again < 2; again++) {
		ck_assert_int_eq(store_get(x.store, STORE_BLOCKS, text("big"), &w), ERR_NONE);
		ck_assert(slice_equal(writer_slice(&w), slice_of(value, size)));
		fixture_reopen(&x);
	}
	writer_free(&w);
	mem_free(value);
	store_batch_free(b);
	fixture_end(&x);
}
END_TEST

/* store_batch_new() takes no store: one batch, written to both kinds. */
START_TEST(batch_for_both)
{
	struct fixture memory, rocks;
	struct random r;
	struct model *m = model_new();
	struct store_batch *b = store_batch_new();

	random_seed(&r, 11);
	fixture_open(&memory, KIND_MEMORY);
	fixture_open(&rocks, KIND_ROCKSDB);
	for (int i = 0; i < 50; i++) {
		store_batch_clear(b);
		random_batch(&r, b, m, 10);
		ck_assert_int_eq(store_write(memory.store, b, false), ERR_NONE);
		ck_assert_int_eq(store_write(rocks.store, b, false), ERR_NONE);
	}
	ck_assert(model_matches(m, memory.store));
	ck_assert(model_matches(m, rocks.store));
	store_batch_free(b);
	mem_free(m);
	fixture_end(&memory);
	fixture_end(&rocks);
}
END_TEST

static Suite *conformance_suite(void)
{
	Suite *s = suite_create("store conformance");
	TCase *t = tcase_create("both");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, basics, 0, KINDS);
	tcase_add_loop_test(t, batch_counts, 0, KINDS);
	tcase_add_loop_test(t, order_within_batch, 0, KINDS);
	tcase_add_loop_test(t, families_are_apart, 0, KINDS);
	tcase_add_loop_test(t, ranges, 0, KINDS);
	tcase_add_loop_test(t, random_against_model, 0, KINDS);
	tcase_add_loop_test(t, snapshots, 0, KINDS);
	tcase_add_loop_test(t, lent_over_a_write, 0, KINDS);
	tcase_add_loop_test(t, many_keys, 0, KINDS);
	tcase_add_loop_test(t, big_values, 0, KINDS);
	tcase_add_test(t, batch_for_both);
	suite_add_tcase(s, t);
	return s;
}

int main(int argc, char **argv)
{
	SRunner *sr;
	int failed;

	if (argc > 1)
		return helper_main(argc, argv);
	sr = srunner_create(conformance_suite());
	srunner_add_suite(sr, memory_suite());
	srunner_add_suite(sr, rocksdb_suite());
	srunner_add_suite(sr, damage_suite());
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
