/* The state tree against a plain list of keys: what it holds, what its root is, and what
 * becomes of damage. */
#include "tests/ledger/check-ledger.h"
#include "tests/ledger/tree-model.h"

START_TEST(empty)
{
	static const uint8_t preimage[] = {HASH_TREE_NODE, 0, 0};
	struct tree_fixture f;
	struct hash want;
	tree_fixture_init(&f, SIZE_MAX);
	sha256(&want, preimage, sizeof(preimage));
	ck_assert(hash_equal(&want, &f.hash));
	tree_fixture_free(&f);
}
END_TEST

/* The limit of 0 throws away everything cached after every block, so all is read back. */
START_TEST(random_histories)
{
	static const size_t counts[] = {1, 2, 3, 17, 100, TREE_KEYS};
	bool touched[TREE_KEYS];
	for (size_t c = 0; c < MEM_COUNT(counts); c++) {
		for (unsigned trimming = 0; trimming < 2; trimming++) {
			struct tree_model m;
			struct tree_fixture f;
			struct random r;
			random_seed(&r, counts[c] * 2 + trimming);
			tree_model_init(&m, counts[c], &r);
			tree_fixture_init(&f, trimming ? 0 : SIZE_MAX);
			for (unsigned round = 0; round < 60; round++) {
				tree_model_mutate(&m, &r, touched, round % 5 ? 8 : counts[c]);
				tree_fixture_apply(&f, &m, touched, true);
				assert_root_is(&f, &m);
				tree_trim(&f.tree, f.root, f.version);
				assert_tree_is(&f, f.root, &m);
			}
			tree_fixture_free(&f);
		}
	}
}
END_TEST

/* The same set of keys and values, by three histories. */
START_TEST(independent_of_history)
{
	struct random r;
	for (uint64_t seed = 0; seed < 30; seed++) {
		struct tree_model m, part;
		struct tree_fixture f[3];
		bool touched[TREE_KEYS];
		random_seed(&r, seed);
		tree_model_init(&m, 1 + random_below(&r, 120), &r);
		tree_model_mutate(&m, &r, touched, 300);
		for (unsigned h = 0; h < 3; h++)
			tree_fixture_init(&f[h], SIZE_MAX);
		memset(touched, 1, sizeof(touched));
		tree_fixture_apply(&f[0], &m, touched, false);
		/* one by one, from the end */
		for (size_t i = m.count; i-- > 0;) {
			memset(touched, 0, sizeof(touched));
			touched[i] = true;
			tree_fixture_apply(&f[1], &m, touched, false);
		}
		/* everything present first, then the rest taken away in two halves */
		memset(touched, 1, sizeof(touched));
		part = m;
		for (size_t i = 0; i < m.count; i++)
			part.items[i].present = true;
		tree_fixture_apply(&f[2], &part, touched, false);
		for (unsigned half = 0; half < 2; half++) {
			for (size_t i = 0; i < m.count; i++)
				touched[i] = i % 2 == half && !m.items[i].present;
			tree_fixture_apply(&f[2], &m, touched, false);
		}
		assert_root_is(&f[0], &m);
		ck_assert(hash_equal(&f[0].hash, &f[1].hash));
		ck_assert(hash_equal(&f[0].hash, &f[2].hash));
		for (unsigned h = 0; h < 3; h++) {
			assert_tree_is(&f[h], f[h].root, &m);
			tree_fixture_free(&f[h]);
		}
	}
}
END_TEST

START_TEST(changes_without_effect)
{
	struct tree_model m;
	struct tree_fixture f;
	struct random r;
	bool touched[TREE_KEYS];
	random_seed(&r, 3);
	tree_model_init(&m, 100, &r);
	tree_fixture_init(&f, SIZE_MAX);
	tree_model_mutate(&m, &r, touched, 100);
	tree_fixture_apply(&f, &m, touched, true);

	struct tree_node *before = tree_hold(f.root);
	memset(touched, 1, sizeof(touched)); /* what is there again, what is absent deleted */
	tree_fixture_apply(&f, &m, touched, true);
	ck_assert_ptr_eq(before, f.root);
	tree_drop(&f.tree, before);
	assert_root_is(&f, &m);
	tree_fixture_free(&f);
}
END_TEST

/* Keys that differ only in one late nibble: chains of nodes with one child, and their end. */
START_TEST(deep)
{
	struct tree_model m = {.count = 4};
	struct tree_fixture f;
	struct hash nothing;
	bool touched[TREE_KEYS] = {false};
	for (unsigned depth = 1; depth < TREE_DEPTH_MAX; depth++) {
		tree_fixture_init(&f, 0);
		nothing = f.hash;
		for (unsigned i = 0; i < 4; i++) {
			unsigned nibble = i + 3;
			m.items[i] = (struct tree_item){.present = true, .value = i};
			memset(m.items[i].key.b, 0x5a, HASH_SIZE);
			uint8_t *b = &m.items[i].key.b[depth / 2];
			*b = (uint8_t)(depth % 2 ? (*b & 0xf0) | nibble : nibble << 4 | 0xa);
		}
		memset(touched, 1, 4);
		tree_fixture_apply(&f, &m, touched, true);
		for (unsigned i = 0; i < 5; i++) {
			tree_trim(&f.tree, f.root, f.version);
			assert_root_is(&f, &m);
			assert_tree_is(&f, f.root, &m);
			if (i == 4)
				break;
			memset(touched, 0, sizeof(touched));
			m.items[i].present = false;
			touched[i] = true;
			tree_fixture_apply(&f, &m, touched, true);
		}
		ck_assert(hash_equal(&f.hash, &nothing));
		tree_fixture_free(&f);
	}
}
END_TEST

START_TEST(old_versions)
{
	enum { VERSIONS = 40 };
	static struct tree_model past[VERSIONS + 1];
	struct hash hashes[VERSIONS + 1], hash;
	struct tree_model m;
	struct tree_fixture f;
	struct random r;
	bool touched[TREE_KEYS];

	random_seed(&r, 11);
	tree_model_init(&m, 200, &r);
	tree_fixture_init(&f, 0);
	for (unsigned v = 1; v <= VERSIONS; v++) {
		tree_model_mutate(&m, &r, touched, 30);
		tree_fixture_apply(&f, &m, touched, true);
		past[v] = m;
		hashes[v] = f.hash;
		tree_trim(&f.tree, f.root, f.version);
	}
	for (unsigned v = 1; v <= VERSIONS; v++) {
		struct tree_node *root;
		ck_assert_int_eq(tree_load_root(&f.tree, v, &root, &hash), ERR_NONE);
		ck_assert(hash_equal(&hash, &hashes[v]));
		assert_tree_is(&f, root, &past[v]);
		tree_drop(&f.tree, root);
	}
	struct tree_node *root;
	ck_assert_int_eq(tree_load_root(&f.tree, VERSIONS + 1, &root, &hash), ERR_NOT_FOUND);
	tree_fixture_free(&f);
}
END_TEST

/* States that branch: nothing of one shows in the other, nor in their parent. */
START_TEST(forks)
{
	struct tree_model base, left, right;
	struct tree_fixture f, g;
	struct random r;
	bool touched[TREE_KEYS];

	random_seed(&r, 12);
	tree_model_init(&base, 150, &r);
	tree_fixture_init(&f, SIZE_MAX);
	tree_model_mutate(&base, &r, touched, 200);
	tree_fixture_apply(&f, &base, touched, true);
	for (unsigned round = 0; round < 50; round++) {
		struct tree_node *parent = tree_hold(f.root);
		uint64_t version = f.version;
		int64_t leaves = f.leaves;
		struct hash hash = f.hash;
		left = right = base;
		tree_model_mutate(&left, &r, touched, 20);
		tree_fixture_apply(&f, &left, touched, false);
		assert_root_is(&f, &left);
		g = f; /* the left state, put aside */
		f.root = tree_hold(parent);
		f.version = version;
		f.leaves = leaves;
		f.hash = hash;
		tree_model_mutate(&right, &r, touched, 20);
		tree_fixture_apply(&f, &right, touched, true);
		assert_root_is(&f, &right);
		assert_tree_is(&f, parent, &base);
		assert_tree_is(&f, g.root, &left);
		assert_tree_is(&f, f.root, &right);
		tree_drop(&f.tree, g.root);
		tree_drop(&f.tree, parent);
		base = right;
	}
	tree_fixture_free(&f);
}
END_TEST

/* Whether the state reads as the model with this record in place of its own: reported, else
 * right. */
static bool is_reported(struct tree_fixture *f, const struct tree_model *m, struct slice key,
			struct slice value)
{
	struct tree_node *root;
	struct hash hash;
	bool any = false;
	struct store_batch *batch = store_batch_new();
	store_batch_put(batch, STORE_TREE, key, value);
	ck_assert_int_eq(store_write(f->store, batch, false), ERR_NONE);
	store_batch_free(batch);
	int err = tree_load_root(&f->tree, f->version, &root, &hash);
	if (err)
		return true;
	if (!hash_equal(&hash, &f->hash)) {
		tree_drop(&f->tree, root);
		return true;
	}
	for (size_t i = 0; i < m->count; i++) {
		const struct tree_item *item = &m->items[i];
		struct tree_leaf *leaf;
		struct slice got;
		uint64_t version;
		err = tree_find(&f->tree, root, &item->key, &leaf, &version);
		if (!err)
			ck_assert_int_eq(leaf != NULL, item->present);
		if (!err && leaf)
			err = tree_value(&f->tree, leaf, version, hash_slice(&item->key), &got);
		if (err)
			ck_assert_int_eq(err, ERR_CORRUPT);
		else if (leaf)
			ck_assert(slice_equal(got, slice_of(&item->value, 4)));
		any |= err != ERR_NONE;
	}
	tree_drop(&f->tree, root);
	return any;
}

/* Every bit of every record of the newest state, or of all states: damage is reported, or does
 * not matter; never a wrong answer. Returns how many did not matter. */
static unsigned flip_all_bits(struct tree_fixture *f, const struct tree_model *m,
			      unsigned *reported)
{
	struct writer key = {0}, value = {0};
	struct slice k, v;
	unsigned spare = 0;
	*reported = 0;
	struct store_iter *it = store_iter_new(f->store, STORE_TREE, slice_of(NULL, 0),
					       slice_of(NULL, 0), false);
	while (store_iter_next(it, &k, &v)) {
		writer_reset(&key);
		writer_reset(&value);
		writer_raw(&key, k.ptr, k.len);
		writer_raw(&value, v.ptr, v.len);
		for (size_t bit = 0; bit < 8 * value.len; bit++) {
			value.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
			bool any = is_reported(f, m, writer_slice(&key), writer_slice(&value));
			value.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
			*reported += any;
			spare += !any;
		}
		/* and every length */
		for (size_t len = 0; len < value.len; len++)
			*reported +=
				is_reported(f, m, writer_slice(&key), slice_of(value.buf, len));
		ck_assert(!is_reported(f, m, writer_slice(&key), writer_slice(&value)));
	}
	store_iter_free(it);
	writer_free(&key);
	writer_free(&value);
	return spare;
}

START_TEST(damaged_records)
{
	struct tree_model m;
	struct tree_fixture f;
	struct random r;
	bool touched[TREE_KEYS];
	unsigned reported;

	random_seed(&r, 13);
	tree_model_init(&m, 20, &r);
	tree_fixture_init(&f, SIZE_MAX);
	memset(touched, 1, sizeof(touched));
	for (size_t i = 0; i < m.count; i++)
		m.items[i] = (struct tree_item){
			.key = m.items[i].key, .present = true, .value = (uint32_t)i};
	tree_fixture_apply(&f, &m, touched, true);
	ck_assert_uint_eq(flip_all_bits(&f, &m, &reported), 0); /* every bit is needed */
	ck_assert_uint_gt(reported, 5000);
	tree_fixture_free(&f);
}
END_TEST

/* Nodes whose records rest on others: of those, what has changed since does not matter. */
START_TEST(damaged_changes)
{
	struct tree_model m;
	struct tree_fixture f;
	struct random r;
	bool touched[TREE_KEYS];
	unsigned reported;

	random_seed(&r, 16);
	tree_model_init(&m, 30, &r);
	for (size_t i = 0; i < m.count; i++) {
		m.items[i].key.b[0] = 0x77; /* one node below two with a child each */
		m.items[i].key.b[1] = (uint8_t)(i << 4);
		m.items[i].present = i < 13;
		m.items[i].value = (uint32_t)i;
	}
	m.count = 13;
	tree_model_sort(&m);
	tree_fixture_init(&f, SIZE_MAX);
	memset(touched, 1, sizeof(touched));
	tree_fixture_apply(&f, &m, touched, true);
	for (unsigned round = 0; round < 4; round++) {
		memset(touched, 0, sizeof(touched));
		touched[3 * round] = true;
		m.items[3 * round].value = 100 + round;
		m.items[3 * round].present = round != 1;
		tree_fixture_apply(&f, &m, touched, true);
	}
	struct tree_node *n = f.root->slot[0].node->slot[0].node;
	ck_assert_uint_eq(n->age, 4);
	/* Of the base four leaves, of older records all is spare. */
	unsigned spare = flip_all_bits(&f, &m, &reported);
	ck_assert_uint_gt(reported, 5000);
	ck_assert_uint_gt(spare, 4 * 8 * 64);
	tree_fixture_free(&f);
}
END_TEST

START_TEST(trimming_bounds_memory)
{
	struct tree_model m;
	struct tree_fixture f;
	struct random r;
	bool touched[TREE_KEYS];
	size_t most = 0;

	random_seed(&r, 14);
	tree_model_init(&m, TREE_KEYS, &r);
	tree_fixture_init(&f, 30 * 1024);
	for (unsigned round = 0; round < 100; round++) {
		tree_model_mutate(&m, &r, touched, 20);
		tree_fixture_apply(&f, &m, touched, true);
		assert_tree_is(&f, f.root, &m); /* loads everything */
		most = f.tree.own.bytes > most ? f.tree.own.bytes : most;
		tree_trim(&f.tree, f.root, f.version);
		ck_assert_uint_le(f.tree.own.bytes, f.tree.limit);
	}
	ck_assert_uint_gt(most, 30 * 1024);
	/* What the store does not have yet stays, whatever the limit. */
	f.tree.limit = 0;
	tree_model_mutate(&m, &r, touched, TREE_KEYS);
	tree_fixture_apply(&f, &m, touched, false);
	tree_trim(&f.tree, f.root, f.version - 1);
	assert_tree_is(&f, f.root, &m);
	tree_fixture_free(&f);
}
END_TEST

Suite *tree_suite(void)
{
	Suite *s = suite_create("tree");
	TCase *t = tcase_create("tree");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, empty);
	tcase_add_test(t, random_histories);
	tcase_add_test(t, independent_of_history);
	tcase_add_test(t, changes_without_effect);
	tcase_add_test(t, deep);
	tcase_add_test(t, old_versions);
	tcase_add_test(t, forks);
	tcase_add_test(t, damaged_records);
	tcase_add_test(t, damaged_changes);
	tcase_add_test(t, trimming_bounds_memory);
	suite_add_tcase(s, t);
	return s;
}
