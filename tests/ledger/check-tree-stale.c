/* Which records the state tree calls stale: those that no wanted state needs, all of them, and
 * no others. */
#include "base/map.h"
#include "ledger/tree_private.h"
#include "tests/ledger/check-ledger.h"
#include "tests/ledger/tree-model.h"

/* Records that a state needs, by their ids. */
struct needed {
	struct map ids;
	uint64_t count, on_bases, deepest_age;
};

static void need(struct needed *n, uint64_t version, const struct hash *path, unsigned depth)
{
	uint8_t buf[NODE_KEY_MAX];
	struct hash id;
	struct slice key = node_key(buf, version, path, depth);
	sha256(&id, key.ptr, key.len);
	if (map_get(&n->ids, id.b))
		return;
	map_put(&n->ids, id.b, n);
	n->count++;
}

/* By loading each of its nodes from the store, with its base. */
static void need_below(struct needed *n, struct tree *t, uint64_t version, struct hash path,
		       unsigned depth, const struct hash *want)
{
	struct tree_node *node;
	struct hash hash;
	ck_assert_int_eq(node_load(t, version, &path, depth, &node), ERR_NONE);
	tree_hash(&hash, node);
	ck_assert(hash_equal(&hash, want));
	need(n, version, &path, depth);
	if (node->age) {
		need(n, version - node->age, &path, depth);
		n->on_bases++;
		if (node->age > n->deepest_age)
			n->deepest_age = node->age;
	}
	for (unsigned i = 0, at = 0; i < 16; i++) {
		if (!slot_present(node, i))
			continue;
		const struct tree_slot *s = &node->slot[at++];
		uint8_t *b = &path.b[depth / 2];
		*b = (uint8_t)(depth % 2 ? (*b & 0xf0) | i : i << 4);
		if (!slot_is_leaf(node, i))
			need_below(n, t, s->version, path, depth + 1, &s->hash);
	}
	tree_drop(t, node);
}

/* As ledger/prune.c does it. */
static void carry_out(struct store *s, struct slice list)
{
	struct reader r;
	struct store_batch *batch = store_batch_new();
	reader_init(&r, list);
	while (r.left > 0) {
		enum store_family family = (enum store_family)reader_u8(&r);
		store_batch_delete(batch, family, reader_var(&r, STATE_KEY_MAX + 8));
		ck_assert_int_eq(r.err, ERR_NONE);
	}
	ck_assert_int_eq(store_write(s, batch, false), ERR_NONE);
	store_batch_free(batch);
}

/* Two trees of one heap come to the same state by other changes, of which one has no effect:
 * its nodes have records of another age, and its list says so. */
START_TEST(children_of_other_ages)
{
	static const struct hash no_path;
	struct tree_model m;
	struct random r;
	struct tree_fixture f[2];
	bool touched[TREE_KEYS];
	struct tree_heap *heap = tree_heap_new();

	tree_heap_use(heap);
	random_seed(&r, 2);
	tree_model_init(&m, 14, &r);
	for (unsigned i = 0; i < m.count; i++) {
		m.items[i].key.b[0] = 0x33;
		m.items[i].key.b[1] = (uint8_t)(i << 4);
		m.items[i].present = true;
	}
	memset(touched, 1, sizeof(touched));
	for (unsigned k = 0; k < 2; k++) {
		tree_fixture_init(&f[k], SIZE_MAX);
		tree_fixture_apply(&f[k], &m, touched, true);
	}
	m.items[1].value = 7;
	for (unsigned order = 0; order < 2; order++) {
		m.items[1].value++;
		for (unsigned i = 0; i < 2; i++) {
			unsigned k = i ^ order;
			struct writer list = {0};
			struct needed n = {.count = 0};
			memset(touched, 0, sizeof(touched));
			touched[1] = true;
			touched[2] = k == 1; /* is what it was */
			f[k].stale = &list;
			tree_fixture_apply(&f[k], &m, touched, true);
			tree_stale_root(&list, f[k].version - 1);
			carry_out(f[k].store, writer_slice(&list));
			tree_heap_use(NULL);
			struct tree t;
			tree_init(&t, f[k].store, 0);
			map_init(&n.ids, 1);
			need_below(&n, &t, f[k].version, no_path, 0, &f[k].hash);
			ck_assert_uint_eq(count_records(f[k].store, STORE_TREE), n.count);
			map_free(&n.ids);
			tree_close(&t);
			tree_heap_use(heap);
			writer_free(&list);
		}
	}
	for (unsigned k = 0; k < 2; k++)
		tree_fixture_free(&f[k]);
	tree_heap_use(NULL);
	tree_heap_free(heap);
}
END_TEST

/* The writer makes none. */
START_TEST(a_root_in_part)
{
	struct tree_model m;
	struct tree_fixture f;
	struct random r;
	bool touched[TREE_KEYS];
	struct writer record = {0};
	struct tree_node *root;
	struct hash hash;
	static const struct hash no_path;
	uint8_t key[NODE_KEY_MAX];
	random_seed(&r, 3);
	tree_model_init(&m, 40, &r);
	tree_fixture_init(&f, SIZE_MAX);
	for (unsigned i = 0; i < m.count; i++)
		m.items[i].present = true;
	memset(touched, 1, sizeof(touched));
	tree_fixture_apply(&f, &m, touched, true);
	const struct tree_slot *s = &f.root->slot[0];
	ck_assert(!slot_is_leaf(f.root, tree_lowest(f.root->present)));
	writer_u16(&record, 0);
	writer_u16(&record, f.root->present & (uint16_t)-f.root->present);
	writer_u32(&record, 1);
	writer_u16(&record, f.root->present);
	writer_u16(&record, f.root->leaves);
	writer_hash(&record, &s->hash);
	writer_u64(&record, 2);
	struct store_batch *batch = store_batch_new();
	store_batch_put(batch, STORE_TREE, node_key(key, 2, &no_path, 0),
			writer_slice(&record));
	ck_assert_int_eq(store_write(f.store, batch, false), ERR_NONE);
	ck_assert_int_eq(tree_load_root(&f.tree, 2, &root, &hash), ERR_CORRUPT);
	store_batch_free(batch);
	writer_free(&record);
	tree_fixture_free(&f);
}
END_TEST

#define PRUNED_ROUNDS 400

/* The states of a window stay whole while lists are carried out, and what is left at the end is
 * what they need and nothing else: so no list names the base of a record that is in use, and
 * each base is named once nothing rests on it. Now and then no base is trusted any more, or all
 * is read back from the store. */
static void prune_history(uint64_t seed, unsigned window, size_t keys, uint64_t *on_bases)
{
	static const struct hash no_path;
	static struct hash roots[PRUNED_ROUNDS + 1];
	struct writer lists[PRUNED_ROUNDS + 1] = {0};
	bool touched[TREE_KEYS];
	struct tree_model m;
	struct tree_fixture f;
	struct random r;
	uint64_t oldest = 0;
	random_seed(&r, seed);
	tree_model_init(&m, keys, &r);
	tree_fixture_init(&f, seed % 2 ? 0 : SIZE_MAX);
	for (uint64_t v = 1; v <= PRUNED_ROUNDS; v++) {
		tree_model_mutate(&m, &r, touched, v % 50 == 1 ? keys : 4);
		f.stale = &lists[v];
		tree_fixture_apply(&f, &m, touched, true);
		tree_stale_root(&lists[v], v - 1);
		roots[v] = f.hash;
		if (random_chance(&r, 1, 60))
			f.tree.bases_from = v + 1;
		while (oldest + window < v)
			carry_out(f.store, writer_slice(&lists[++oldest]));
		tree_trim(&f.tree, f.root, v);
		if (v % 40 && v != PRUNED_ROUNDS)
			continue;
		struct needed n = {.count = 0};
		map_init(&n.ids, seed);
		for (uint64_t h = oldest ? oldest : 1; h <= v; h++)
			need_below(&n, &f.tree, h, no_path, 0, &roots[h]);
		ck_assert_uint_eq(count_records(f.store, STORE_TREE), n.count);
		*on_bases += n.on_bases;
		map_free(&n.ids);
	}
	for (unsigned v = 0; v <= PRUNED_ROUNDS; v++)
		writer_free(&lists[v]);
	tree_fixture_free(&f);
}

START_TEST(pruned_histories)
{
	static const unsigned windows[] = {0, 1, 7, 60};
	static const size_t keys[] = {3, 40, TREE_KEYS};
	uint64_t on_bases = 0;
	for (uint64_t seed = 0; seed < 4; seed++)
		for (unsigned w = 0; w < MEM_COUNT(windows); w++)
			for (unsigned k = 0; k < MEM_COUNT(keys); k++)
				prune_history(seed, windows[w], keys[k], &on_bases);
	ck_assert_uint_gt(on_bases, 1000);
}
END_TEST

/* Whole records only, and lists that name none on which another may rest: what is left is
 * enough for the states above, however the records there were made. */
START_TEST(lists_of_those_who_write_whole)
{
	static const struct hash no_path;
	bool touched[TREE_KEYS];
	struct tree_model m;
	struct tree_fixture f;
	struct random r;
	struct needed n = {.count = 0};
	random_seed(&r, 21);
	tree_model_init(&m, 200, &r);
	tree_fixture_init(&f, SIZE_MAX);
	memset(touched, 1, sizeof(touched));
	for (size_t i = 0; i < m.count; i++)
		m.items[i].present = true;
	tree_fixture_apply(&f, &m, touched, true);
	for (unsigned round = 0; round < 100; round++) {
		struct writer kept = {0}, again = {0};
		struct tree_node *before = tree_hold(f.root), *next;
		tree_model_mutate(&m, &r, touched, 3);
		f.stale = &kept;
		tree_fixture_apply(&f, &m, touched, true);
		/* the same once more, as mending does it */
		struct tree_change changes[TREE_KEYS];
		struct hash hash = f.hash;
		size_t count = 0;
		int64_t added;
		for (size_t i = 0; i < m.count; i++)
			if (touched[i])
				changes[count++] = (struct tree_change){
					.key = m.items[i].key,
					.leaf = m.items[i].present
							? tree_leaf_new(
								  &f.tree, &m.items[i].key,
								  slice_of(&m.items[i].value,
									   4))
							: NULL};
		f.tree.whole = true;
		ck_assert_int_eq(tree_update(&f.tree, before, f.version, changes, count, &next,
					     &hash, &added, &again),
				 ERR_NONE);
		ck_assert(hash_equal(&hash, &f.hash));
		if (round % 3 == 0) {
			struct store_batch *batch = store_batch_new();
			tree_write(&f.tree, next, f.version, batch);
			ck_assert_int_eq(store_write(f.store, batch, false), ERR_NONE);
			store_batch_free(batch);
		}
		f.tree.whole = false;
		for (size_t i = 0; i < count; i++)
			if (changes[i].leaf)
				tree_leaf_drop(&f.tree, changes[i].leaf);
		tree_drop(&f.tree, next);
		tree_drop(&f.tree, before);
		carry_out(f.store, writer_slice(&again));
		map_init(&n.ids, 1);
		need_below(&n, &f.tree, f.version, no_path, 0, &f.hash);
		map_free(&n.ids);
		writer_free(&kept);
		writer_free(&again);
		f.stale = NULL;
	}
	ck_assert_uint_gt(n.on_bases, 100);
	tree_fixture_free(&f);
}
END_TEST

Suite *tree_stale_suite(void)
{
	Suite *s = suite_create("tree-stale");
	TCase *t = tcase_create("tree-stale");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, children_of_other_ages);
	tcase_add_test(t, a_root_in_part);
	tcase_add_test(t, pruned_histories);
	tcase_add_test(t, lists_of_those_who_write_whole);
	suite_add_tcase(s, t);
	return s;
}
