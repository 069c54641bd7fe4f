/* Ranges with proofs, and states made from them. */
#include <stdio.h>

#include "base/mem.h"
#include "ledger/audit.h"
#include "ledger/private.h"
#include "ledger/range.h"
#include "ledger/stage.h"
#include "tests/ledger/check-ledger.h"
#include "tests/ledger/world.h"

#define KEYS_MAX 700

/* A tree over keys made by number. */
struct forest {
	struct store *store;
	struct tree tree;
	struct tree_node *root;
	struct hash hash;
	uint64_t version;
	int64_t keys;
};

static struct slice key_of(unsigned i, char buf[24])
{
	return slice_of(buf, (size_t)snprintf(buf, 24, "kkey-%u", i));
}

/* Values of all lengths, empty ones too. */
static struct slice value_of(unsigned i, char buf[600])
{
	size_t len = i % 7 == 0 ? 0 : i % 11 == 0 ? 500 : i % 40;
	memset(buf, (int)('a' + i % 26), len);
	return slice_of(buf, len);
}

static int by_key(const void *a, const void *b)
{
	return memcmp(((const struct tree_change *)a)->key.b,
		      ((const struct tree_change *)b)->key.b, HASH_SIZE);
}

static void forest_init(struct forest *f)
{
	*f = (struct forest){.store = store_open_memory(), .version = 5};
	tree_init(&f->tree, f->store, TREE_CACHE_BYTES);
	f->root = tree_empty(&f->tree);
	tree_hash(&f->hash, f->root);
}

static void forest_free(struct forest *f)
{
	tree_drop(&f->tree, f->root);
	tree_close(&f->tree);
	store_close(f->store);
}

/* Keys first, first + step, ... below end. odd: another value for this one. */
static void forest_grow(struct forest *f, unsigned first, unsigned end, unsigned step,
			unsigned odd)
{
	struct tree_change *changes = mem_array(KEYS_MAX, sizeof *changes);
	struct store_batch *batch = store_batch_new();
	struct tree_node *next;
	int64_t added;
	size_t count = 0;
	char key[24], value[600];
	for (unsigned i = first; i < end; i += step) {
		struct slice k = key_of(i, key), v = value_of(i, value);
		if (i == odd)
			v = slice_str("another");
		tree_key(&changes[count].key, k);
		changes[count].leaf = tree_leaf_new(&f->tree, &changes[count].key, v);
		tree_write_value(&f->tree, &changes[count].key, k, f->version, v, batch);
		count++;
	}
	qsort(changes, count, sizeof *changes, by_key);
	ck_assert_int_eq(tree_update(&f->tree, f->root, f->version, changes, count, &next,
				     &f->hash, &added, NULL),
			 ERR_NONE);
	for (size_t i = 0; i < count; i++)
		tree_leaf_drop(&f->tree, changes[i].leaf);
	tree_drop(&f->tree, f->root);
	f->root = next;
	f->keys += added;
	tree_write(&f->tree, f->root, f->version, batch);
	ck_assert_int_eq(store_write(f->store, batch, false), ERR_NONE);
	store_batch_free(batch);
	mem_free(changes);
}

static const struct hash lowest = {{0}};

static struct hash highest(void)
{
	struct hash h;
	memset(h.b, 0xff, sizeof h.b);
	return h;
}

static struct writer make(struct forest *f, const struct hash *from, const struct hash *to,
			  size_t bytes)
{
	struct writer w = {0};
	ck_assert_int_eq(range_make(&f->tree, f->root, from, to, bytes, &w), ERR_NONE);
	return w;
}

static int check(const struct writer *w, const struct hash *root, const struct hash *from,
		 const struct hash *to)
{
	struct range r;
	int err = range_check(writer_slice(w), root, from, to, &r);
	range_free(&r);
	return err;
}

/* Goes through all of it in pieces; every leaf comes once, in order, with its value. */
static int64_t walk(struct forest *f, size_t bytes)
{
	struct hash from = lowest, to = highest(), last = lowest;
	int64_t seen = 0;
	for (bool more = true; more;) {
		struct writer w = make(f, &from, &to, bytes);
		struct range r;
		ck_assert_int_eq(range_check(writer_slice(&w), &f->hash, &from, &to, &r),
				 ERR_NONE);
		for (uint32_t i = 0; i < r.count; i++) {
			unsigned number;
			char key[24], value[600], text[32] = {0};
			ck_assert(!seen || memcmp(r.leaf[i].key.b, last.b, HASH_SIZE) > 0);
			last = r.leaf[i].key;
			memcpy(text, r.leaf[i].state_key.ptr, r.leaf[i].state_key.len);
			ck_assert_int_eq(sscanf(text, "kkey-%u", &number), 1);
			ck_assert(slice_equal(r.leaf[i].state_key, key_of(number, key)));
			ck_assert(slice_equal(r.leaf[i].value, value_of(number, value)));
			seen++;
		}
		ck_assert(r.whole || r.count > 0);
		from = r.end;
		more = !r.whole && range_next(&from);
		range_free(&r);
		writer_free(&w);
	}
	return seen;
}

START_TEST(all_of_it_in_pieces)
{
	static const unsigned sizes[] = {0, 1, 2, 3, 16, 17, 100, KEYS_MAX};
	for (unsigned i = 0; i < MEM_COUNT(sizes); i++) {
		struct forest f;
		forest_init(&f);
		if (sizes[i])
			forest_grow(&f, 0, sizes[i], 1, KEYS_MAX);
		ck_assert_int_eq(f.keys, sizes[i]);
		ck_assert_int_eq(walk(&f, 1), sizes[i]);
		ck_assert_int_eq(walk(&f, 200), sizes[i]);
		ck_assert_int_eq(walk(&f, 1u << 20), sizes[i]);
		forest_free(&f);
	}
}
END_TEST

START_TEST(bounds_at_every_edge)
{
	struct forest f;
	struct hash to = highest();
	forest_init(&f);
	forest_grow(&f, 0, 60, 1, KEYS_MAX);
	struct writer all = make(&f, &lowest, &to, 1u << 20);
	struct range r;
	ck_assert_int_eq(range_check(writer_slice(&all), &f.hash, &lowest, &to, &r), ERR_NONE);
	ck_assert_uint_eq(r.count, 60);
	for (uint32_t i = 0; i < r.count; i++)
		for (uint32_t j = 0; j < r.count; j++) {
			struct writer w = {0};
			struct range part;
			int err = range_make(&f.tree, f.root, &r.leaf[i].key, &r.leaf[j].key,
					     1u << 20, &w);
			ck_assert_int_eq(err, i <= j ? ERR_NONE : ERR_RANGE);
			if (!err) {
				ck_assert_int_eq(range_check(writer_slice(&w), &f.hash,
							     &r.leaf[i].key, &r.leaf[j].key,
							     &part),
						 ERR_NONE);
				ck_assert_uint_eq(part.count, j - i + 1);
				range_free(&part);
			}
			writer_free(&w);
		}
	/* Between two neighbours there is nothing, and that is proved. */
	for (uint32_t i = 0; i + 1 < r.count; i++) {
		struct hash from = r.leaf[i].key, below = r.leaf[i + 1].key;
		ck_assert(range_next(&from));
		for (unsigned b = HASH_SIZE; b-- > 0 && !below.b[b]--;)
			;
		struct writer w = make(&f, &from, &below, 1);
		struct range part;
		ck_assert_int_eq(range_check(writer_slice(&w), &f.hash, &from, &below, &part),
				 ERR_NONE);
		ck_assert_uint_eq(part.count, 0);
		ck_assert(part.whole);
		range_free(&part);
		writer_free(&w);
	}
	range_free(&r);
	writer_free(&all);
	ck_assert_int_eq(range_make(&f.tree, f.root, &to, &lowest, 1, &all), ERR_RANGE);
	ck_assert_int_eq(range_check(writer_slice(&all), &f.hash, &to, &lowest, &r), ERR_RANGE);
	forest_free(&f);
}
END_TEST

/* The last key hash there is has none above it. */
START_TEST(next_of_the_last)
{
	struct hash h = highest();
	ck_assert(!range_next(&h));
	h = lowest;
	ck_assert(range_next(&h));
	ck_assert_uint_eq(h.b[HASH_SIZE - 1], 1);
}
END_TEST

START_TEST(every_byte_counts)
{
	struct forest f;
	struct hash to = highest(), from = lowest;
	forest_init(&f);
	forest_grow(&f, 0, 90, 1, KEYS_MAX);
	from.b[0] = 0x31; /* edges on both sides */
	from.b[1] = 0x80;
	to.b[0] = 0xb7;
	for (unsigned round = 0; round < 2; round++) {
		struct writer w = make(&f, &from, &to, round ? 300 : 1u << 20);
		ck_assert_int_eq(check(&w, &f.hash, &from, &to), ERR_NONE);
		for (size_t len = 0; len < w.len; len++) {
			struct writer cut = {.buf = w.buf, .len = len};
			ck_assert_int_ne(check(&cut, &f.hash, &from, &to), ERR_NONE);
		}
		for (size_t bit = 0; bit < 8 * w.len; bit++) {
			w.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
			ck_assert_int_ne(check(&w, &f.hash, &from, &to), ERR_NONE);
			w.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		writer_u8(&w, 0);
		ck_assert_int_ne(check(&w, &f.hash, &from, &to), ERR_NONE);
		writer_free(&w);
	}
	forest_free(&f);
}
END_TEST

/* What a liar can make: ranges of another state, with a leaf less, one more, another value. */
START_TEST(of_another_state)
{
	struct forest truth, other;
	struct hash to = highest();
	forest_init(&truth);
	forest_grow(&truth, 0, 40, 1, KEYS_MAX);
	for (unsigned i = 0; i < 40; i++)
		for (unsigned what = 0; what < 3; what++) {
			forest_init(&other);
			if (what != 0 || i > 0)
				forest_grow(&other, 0, what == 0 ? i : 40, 1,
					    what == 2 ? i : KEYS_MAX);
			if (what == 0 && i + 1 < 40) /* all but this one */
				forest_grow(&other, i + 1, 40, 1, KEYS_MAX);
			if (what == 1)
				forest_grow(&other, 100 + i, 101 + i, 1, KEYS_MAX);
			struct writer w = make(&other, &lowest, &to, 1u << 20);
			ck_assert_int_eq(check(&w, &other.hash, &lowest, &to), ERR_NONE);
			ck_assert_int_ne(check(&w, &truth.hash, &lowest, &to), ERR_NONE);
			writer_free(&w);
			forest_free(&other);
		}
	forest_free(&truth);
}
END_TEST

/* A true range answers its own question only. */
START_TEST(other_bounds)
{
	struct forest f;
	struct hash to = highest(), from = lowest;
	forest_init(&f);
	forest_grow(&f, 0, 64, 1, KEYS_MAX);
	from.b[0] = 0x40;
	to.b[0] = 0x90;
	struct writer w = make(&f, &from, &to, 1u << 20);
	unsigned refused = 0;
	for (unsigned a = 0; a < 256; a += 4)
		for (unsigned b = a; b < 256; b += 4) {
			struct hash low = from, high = to;
			struct range r;
			low.b[0] = (uint8_t)a;
			high.b[0] = (uint8_t)b;
			int err = range_check(writer_slice(&w), &f.hash, &low, &high, &r);
			/* Whatever passes has all leaves of the bounds that were asked for. */
			struct writer own = make(&f, &low, &high, 1u << 20);
			struct range truth;
			ck_assert_int_eq(
				range_check(writer_slice(&own), &f.hash, &low, &high, &truth),
				ERR_NONE);
			if (!err)
				ck_assert_uint_eq(r.count, truth.count);
			refused += err != ERR_NONE;
			range_free(&r);
			range_free(&truth);
			writer_free(&own);
		}
	ck_assert_uint_gt(refused, 1500);
	writer_free(&w);
	forest_free(&f);
}
END_TEST

/* Leaves at places where a leaf of the range stands must not pass for leaves beside it, and the
 * other way round: both have the same hash. */
START_TEST(kinds_are_not_exchanged)
{
	struct forest f;
	struct hash to = highest(), own;
	char key[24], value[600];
	forest_init(&f);
	forest_grow(&f, 1, 2, 1, KEYS_MAX); /* the root and one leaf */
	tree_key(&own, key_of(1, key));
	struct writer w = {0};
	struct hash value_hash;
	tree_value_hash(&value_hash, value_of(1, value));
	writer_u8(&w, 1);
	writer_u8(&w, 1);
	writer_u16(&w, (uint16_t)(1u << tree_nibble(&own, 0)));
	writer_u8(&w, 3); /* hidden: as if it lay beside */
	writer_hash(&w, &own);
	writer_hash(&w, &value_hash);
	ck_assert_int_eq(check(&w, &f.hash, &lowest, &to), ERR_BAD_PROOF);
	struct hash from = own;
	ck_assert(range_next(&from));
	ck_assert_int_eq(check(&w, &f.hash, &from, &to), ERR_NONE); /* here it does */
	writer_free(&w);
	forest_free(&f);
}
END_TEST

/* ---- a state made of them ---------------------------------------------------------------- */

static struct store *stage_all(struct forest *f, uint64_t height, size_t bytes)
{
	struct store *s = store_open_memory();
	struct store_batch *batch = store_batch_new();
	struct tree scratch;
	struct hash from = lowest, to = highest();
	tree_init(&scratch, s, TREE_CACHE_BYTES);
	for (bool more = true; more;) {
		struct writer w = make(f, &from, &to, bytes);
		struct range r;
		ck_assert_int_eq(range_check(writer_slice(&w), &f->hash, &from, &to, &r),
				 ERR_NONE);
		for (uint32_t i = 0; i < r.count; i++)
			stage_put(&scratch, batch, &r.leaf[i], height);
		from = r.end;
		more = !r.whole && range_next(&from);
		range_free(&r);
		writer_free(&w);
	}
	ck_assert_int_eq(store_write(s, batch, false), ERR_NONE);
	store_batch_free(batch);
	tree_close(&scratch);
	return s;
}

static void build(struct store *s, uint64_t height, uint32_t records, struct hash *root,
		  uint64_t *keys)
{
	struct stage_build *b = stage_build_new(s, height);
	for (bool done = false; !done;)
		ck_assert_int_eq(stage_build_step(b, records, &done), ERR_NONE);
	*root = *stage_build_root(b);
	*keys = stage_build_keys(b);
	stage_build_free(b);
}

START_TEST(builds_the_same_tree)
{
	static const unsigned sizes[] = {0, 1, 2, 5, 33, 400, KEYS_MAX};
	for (unsigned i = 0; i < MEM_COUNT(sizes); i++)
		for (unsigned records = 1; records <= 1000; records *= 10) {
			struct forest f, copy;
			struct hash root;
			uint64_t keys;
			forest_init(&f);
			if (sizes[i])
				forest_grow(&f, 0, sizes[i], 1, KEYS_MAX);
			struct store *s = stage_all(&f, 77, 300);
			build(s, 77, records, &root, &keys);
			ck_assert(hash_equal(&root, &f.hash));
			ck_assert_uint_eq(keys, sizes[i]);
			/* Every node is there, and every value. */
			copy = (struct forest){.store = s, .keys = (int64_t)keys};
			tree_init(&copy.tree, s, TREE_CACHE_BYTES);
			ck_assert_int_eq(tree_load_root(&copy.tree, 77, &copy.root, &copy.hash),
					 ERR_NONE);
			ck_assert_int_eq(walk(&copy, 1000), sizes[i]);
			forest_free(&copy);
			forest_free(&f);
		}
}
END_TEST

START_TEST(a_staged_leaf_that_is_missing_changes_the_root)
{
	struct forest f;
	struct hash root;
	struct slice key, value, none = {0};
	uint64_t keys;
	forest_init(&f);
	forest_grow(&f, 0, 50, 1, KEYS_MAX);
	struct store *s = stage_all(&f, 77, 1u << 20);
	struct store_batch *batch = store_batch_new();
	struct store_iter *it = store_iter_new(s, STORE_STATE, none, none, false);
	for (unsigned i = 0; i < 20; i++)
		ck_assert(store_iter_next(it, &key, &value));
	store_batch_delete(batch, STORE_STATE, key);
	store_iter_free(it);
	ck_assert_int_eq(store_write(s, batch, false), ERR_NONE);
	build(s, 77, 7, &root, &keys);
	ck_assert(!hash_equal(&root, &f.hash));
	ck_assert_uint_eq(keys, 49);
	store_batch_clear(batch);
	store_batch_put(batch, STORE_STATE, slice_str("rubbish"), none);
	ck_assert_int_eq(store_write(s, batch, false), ERR_NONE);
	struct stage_build *b = stage_build_new(s, 77);
	bool done;
	ck_assert_int_eq(stage_build_step(b, 1000, &done), ERR_CORRUPT);
	stage_build_free(b);
	store_batch_free(batch);
	store_close(s);
	forest_free(&f);
}
END_TEST

static void on_found(void *arg, enum store_family f, struct slice key, uint64_t height, int err,
		     const char *what)
{
	(void)arg, (void)f, (void)key, (void)height;
	ck_abort_msg("%s: %s", what, err_text(err));
}

static bool on_pace(void *arg, size_t bytes)
{
	(void)arg, (void)bytes;
	return true;
}

static bool no_root(void *arg, uint64_t height, struct hash *out)
{
	(void)arg, (void)height, (void)out;
	return false;
}

/* From one ledger to another one, which had a state of its own; then both go on alike. */
START_TEST(a_ledger_moves)
{
	struct world w, late;
	struct hash to = highest(), from = lowest, root;
	char key[24], value[24];
	uint64_t keys;
	world_init(&w, 1000);
	world_init(&late, 1000);
	for (unsigned h = 1; h <= 40; h++) {
		snprintf(key, sizeof key, "key%u", h % 30);
		snprintf(value, sizeof value, "%u", h);
		struct slice tx = world_put(&w, h % WORLD_CLIENTS, h, key, value);
		world_commit(&w, &tx, 1);
		if (h <= 5) { /* the other one is behind */
			ck_assert_int_eq(ledger_execute(late.ledger, w.tip, false), ERR_NONE);
			world_finalize(&late, w.tip);
		}
		mem_free((void *)tx.ptr);
	}
	uint64_t height = ledger_height(w.ledger) - 3;
	struct store_batch *batch = store_batch_new();
	struct writer range = {0};
	ck_assert_int_eq(ledger_range(w.ledger, height + 4, &from, &to, &range), ERR_RANGE);
	ck_assert_int_eq(ledger_range(w.ledger, height, &from, &to, &range), ERR_NONE);
	struct tree_node *n;
	ck_assert_int_eq(tree_load_root(&w.ledger->tree, height, &n, &root), ERR_NONE);
	tree_drop(&w.ledger->tree, n);
	struct range r;
	ck_assert_int_eq(range_check(writer_slice(&range), &root, &from, &to, &r), ERR_NONE);
	ck_assert(r.whole);
	for (uint32_t i = 0; i < r.count; i++)
		stage_put(&late.ledger->tree, batch, &r.leaf[i], height);
	ck_assert_int_eq(store_write(late.store, batch, false), ERR_NONE);
	/* What is staged is not the ledger's yet. */
	char *before = world_get(&late, "key1", UINT64_MAX);
	ck_assert_str_eq(before, "1");
	mem_free(before);
	struct hash built;
	build(late.store, height, 10, &built, &keys);
	ck_assert(hash_equal(&built, &root));
	/* Given up, nothing of it is left, and the ledger reads as before. */
	struct stage_sweep sweep = {.height = height, .exact = true};
	for (bool done = false; !done;)
		ck_assert_int_eq(stage_sweep_step(late.store, &sweep, 3, &done), ERR_NONE);
	struct ledger_audit audit;
	struct errmsg m;
	const struct audit_host host = {.found = on_found, .pace = on_pace, .root_at = no_root};
	ck_assert_int_eq(ledger_audit(late.store, &late.ctx, &host, &audit, &m), ERR_NONE);
	/* Once more, and for good. */
	ck_assert_int_eq(store_write(late.store, batch, false), ERR_NONE);
	build(late.store, height, 10, &built, &keys);
	store_batch_clear(batch);
	ck_assert(hash_equal(&built, &root));
	stage_install(batch, &late.ctx, height, &w.tip->hash, &root, keys);
	ck_assert_int_eq(store_write(late.store, batch, false), ERR_NONE);
	ledger_close(late.ledger);
	ck_assert_int_eq(ledger_open(&late.ledger, late.store, &late.genesis, &late.ctx,
				     late.block0, &m),
			 ERR_NONE);
	ck_assert_uint_eq(ledger_height(late.ledger), height);
	ck_assert(hash_equal(ledger_root(late.ledger), &root));
	sweep = (struct stage_sweep){.height = height, .index_from = height};
	for (bool done = false; !done;)
		ck_assert_int_eq(stage_sweep_step(late.store, &sweep, 3, &done), ERR_NONE);
	ck_assert_int_eq(ledger_audit(late.store, &late.ctx, &host, &audit, &m), ERR_NONE);
	ck_assert_uint_eq(audit.keys, keys);
	ck_assert_uint_eq(audit.index_entries, 0);
	char *after = world_get(&late, "key1", UINT64_MAX);
	char *same = world_get(&w, "key1", height);
	ck_assert_str_eq(after, same);
	mem_free(after);
	mem_free(same);
	range_free(&r);
	writer_free(&range);
	store_batch_free(batch);
	world_free(&late);
	world_free(&w);
}
END_TEST

/* Pinned states stay, whatever the history; let go, they are caught up with. */
START_TEST(pinned)
{
	struct world w;
	struct hash to = highest(), from = lowest;
	struct writer range = {0};
	world_init(&w, 1000);
	ledger_set_history(w.ledger, 0);
	for (unsigned h = 1; h <= 60; h++) {
		char value[24];
		snprintf(value, sizeof value, "%u", h);
		struct slice tx = world_put(&w, 0, h, h & 1 ? "odd" : "even", value);
		world_commit(&w, &tx, 1);
		mem_free((void *)tx.ptr);
		if (h == 20)
			ledger_pin(w.ledger, 20);
		if (h == 40)
			ledger_pin(w.ledger, UINT64_MAX);
		writer_reset(&range);
		int err = ledger_range(w.ledger, 20, &from, &to, &range);
		if (h >= 20 && h <= 40)
			ck_assert_int_eq(err, ERR_NONE);
		else
			ck_assert_int_eq(err, h < 20 ? ERR_RANGE : ERR_STALE);
	}
	ck_assert_uint_ge(ledger_oldest(w.ledger), 59);
	writer_free(&range);
	world_free(&w);
}
END_TEST

Suite *range_suite(void)
{
	Suite *s = suite_create("range");
	TCase *t = tcase_create("range");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, all_of_it_in_pieces);
	tcase_add_test(t, bounds_at_every_edge);
	tcase_add_test(t, next_of_the_last);
	tcase_add_test(t, every_byte_counts);
	tcase_add_test(t, of_another_state);
	tcase_add_test(t, other_bounds);
	tcase_add_test(t, kinds_are_not_exchanged);
	tcase_add_test(t, builds_the_same_tree);
	tcase_add_test(t, a_staged_leaf_that_is_missing_changes_the_root);
	tcase_add_test(t, a_ledger_moves);
	tcase_add_test(t, pinned);
	suite_add_tcase(s, t);
	return s;
}
