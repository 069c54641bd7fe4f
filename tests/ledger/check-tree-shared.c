/* Nodes that several states, or several trees, have in common. */
#include "tests/ledger/check-ledger.h"
#include "tests/ledger/tree-model.h"

#define TREES	3
#define ROUNDS	200
#define SLOWEST 2 /* of the trees; it falls behind by more than is kept */

/* Trees with a heap in common go through the same versions, one ahead of the other: they hold
 * the same nodes while none is too far behind, and what is right in any case. */
START_TEST(in_common)
{
	static struct tree_model after[ROUNDS];
	static bool touched[ROUNDS][TREE_KEYS];
	struct tree_node *made[ROUNDS] = {0};
	struct random r;

	for (uint64_t seed = 0; seed < 6; seed++) {
		struct tree_model m;
		struct tree_fixture f[TREES];
		struct tree_heap *heap = tree_heap_new();
		ck_assert_ptr_null(tree_heap_use(heap));
		random_seed(&r, seed);
		tree_model_init(&m, seed % 2 ? TREE_KEYS : 40, &r);
		for (unsigned i = 0; i < ROUNDS; i++) {
			tree_model_mutate(&m, &r, touched[i], i % 7 ? 5 : 100);
			after[i] = m;
		}
		for (unsigned k = 0; k < TREES; k++)
			tree_fixture_init(&f[k], 0); /* a limit that does not count */
		memset(made, 0, sizeof(made));
		for (uint64_t slowest = 0, fastest = 0; slowest < ROUNDS;) {
			unsigned k = (unsigned)random_below(&r, TREES);
			uint64_t at = f[k].version;
			bool halts = k == SLOWEST && at == ROUNDS / 2 &&
				     fastest < at + 4 * TREE_RECENT;
			if (at < ROUNDS && !halts &&
			    (at < slowest + TREE_RECENT - 1 || slowest >= ROUNDS / 2)) {
				tree_fixture_apply(&f[k], &after[at], touched[at], true);
				assert_root_is(&f[k], &after[at]);
				assert_tree_is(&f[k], f[k].root, &after[at]);
				tree_trim(&f[k].tree, f[k].root, at);
				if (made[at] && at < ROUNDS / 2)
					ck_assert_ptr_eq(made[at], f[k].root);
				made[at] = f[k].root;
			}
			slowest = ROUNDS;
			for (unsigned i = 0; i < TREES; i++) {
				slowest = f[i].version < slowest ? f[i].version : slowest;
				fastest = f[i].version > fastest ? f[i].version : fastest;
			}
		}
		/* What each has written is all there, whoever made it. */
		for (unsigned k = 0; k < TREES; k++) {
			struct tree_fixture again = {.store = f[k].store};
			tree_init(&again.tree, again.store, 0);
			ck_assert_int_eq(
				tree_load_root(&again.tree, ROUNDS, &again.root, &again.hash),
				ERR_NONE);
			ck_assert(hash_equal(&again.hash, &f[k].hash));
			again.leaves = f[k].leaves;
			assert_tree_is(&again, again.root, &after[ROUNDS - 1]);
			tree_drop(&again.tree, again.root);
			tree_close(&again.tree);
			tree_fixture_free(&f[k]);
		}
		ck_assert_ptr_eq(tree_heap_use(NULL), heap);
		tree_heap_free(heap); /* nothing is left in it */
	}
}
END_TEST

/* Two states of the same hash, one of which has its leaf from a later version: records have
 * the versions, so they are not one. */
START_TEST(not_in_common)
{
	struct tree_model m;
	struct random r;
	struct tree_fixture f[2];
	bool touched[TREE_KEYS] = {true, true};
	struct tree_heap *heap = tree_heap_new();

	tree_heap_use(heap);
	random_seed(&r, 1);
	tree_model_init(&m, 3, &r);
	for (unsigned k = 0; k < 2; k++) {
		tree_fixture_init(&f[k], SIZE_MAX);
		m.items[0] = (struct tree_item){.key = m.items[0].key, .present = true};
		m.items[1] = (struct tree_item){.key = m.items[1].key, .present = true};
		if (k == 1) { /* another value before */
			m.items[0].value = 1;
			tree_fixture_apply(&f[k], &m, touched, true);
			m.items[0].value = 0;
			f[k].version = 1;
		}
		tree_fixture_apply(&f[k], &m, touched, true);
	}
	ck_assert(hash_equal(&f[0].hash, &f[1].hash));
	ck_assert_ptr_ne(f[0].root, f[1].root);
	memset(touched, 0, sizeof(touched));
	touched[2] = m.items[2].present = true;
	for (unsigned k = 0; k < 2; k++) {
		f[k].version = 4;
		tree_fixture_apply(&f[k], &m, touched, true);
		assert_root_is(&f[k], &m);
	}
	ck_assert_ptr_ne(f[0].root, f[1].root);
	for (unsigned k = 0; k < 2; k++)
		tree_fixture_free(&f[k]);
	tree_heap_use(NULL);
	tree_heap_free(heap);
}
END_TEST

/* A child that goes at one version here and at another there leaves the same hashes, but
 * records that are of another age. */
START_TEST(gone_at_two_versions)
{
	struct tree_model m;
	struct random r;
	struct tree_fixture f[2];
	bool touched[TREE_KEYS];
	struct tree_heap *heap = tree_heap_new();

	tree_heap_use(heap);
	random_seed(&r, 1);
	tree_model_init(&m, 14, &r);
	for (unsigned i = 0; i < m.count; i++) {
		m.items[i].key.b[0] = (uint8_t)(0x30 + i);
		m.items[i].present = true;
	}
	for (unsigned k = 0; k < 2; k++)
		tree_fixture_init(&f[k], SIZE_MAX);
	for (unsigned round = 0; round < 3; round++) {
		memset(touched, round == 0, sizeof(touched));
		touched[1] = touched[round] = true;
		m.items[1].value = round;
		m.items[2].present = round < 2;
		if (round == 2)
			touched[1] = false; /* nothing but the one that goes */
		for (unsigned k = 0; k < 2; k++) {
			if (round == 2)
				f[k].version += k; /* a block without changes */
			if (round == 2)
				m.items[1].value = 1;
			tree_fixture_apply(&f[k], &m, touched, true);
			assert_root_is(&f[k], &m);
		}
	}
	for (unsigned k = 0; k < 2; k++) {
		ck_assert_uint_eq(f[k].root->slot[0].node->age, 2 + k);
		struct tree_fixture again = {.store = f[k].store, .leaves = f[k].leaves};
		tree_heap_use(NULL);
		tree_init(&again.tree, again.store, 0);
		ck_assert_int_eq(
			tree_load_root(&again.tree, f[k].version, &again.root, &again.hash),
			ERR_NONE);
		assert_tree_is(&again, again.root, &m);
		tree_drop(&again.tree, again.root);
		tree_close(&again.tree);
		tree_fixture_free(&f[k]);
	}
	tree_heap_free(heap);
}
END_TEST

/* States that live and die in any order, and forget what the store has: what copies borrow from
 * their originals is there as long as any of them. */
START_TEST(any_order_of_deaths)
{
	enum { LIVE = 7 };
	struct state {
		struct tree_node *root; /* NULL: none */
		struct hash hash;
		int64_t leaves;
		struct tree_model model;
	} *states = mem_array(LIVE, sizeof(*states));
	struct tree_fixture f;
	struct random r;
	bool touched[TREE_KEYS];

	random_seed(&r, 15);
	tree_fixture_init(&f, SIZE_MAX);
	states[0].root = tree_hold(f.root);
	states[0].hash = f.hash;
	tree_model_init(&states[0].model, 300, &r);
	for (unsigned round = 0; round < 600; round++) {
		struct state *from = &states[random_below(&r, LIVE)];
		struct state *to = &states[random_below(&r, LIVE)];
		if (!from->root)
			continue;
		struct tree_model next = from->model;
		tree_drop(&f.tree, f.root);
		f.root = tree_hold(from->root);
		f.hash = from->hash;
		f.leaves = from->leaves;
		tree_model_mutate(&next, &r, touched, (unsigned)random_below(&r, 40));
		tree_fixture_apply(&f, &next, touched, true);
		assert_root_is(&f, &next);
		if (to->root)
			tree_drop(&f.tree, to->root);
		to->root = tree_hold(f.root);
		naive_root(&to->hash, next.items, next.count, 0);
		to->leaves = f.leaves;
		to->model = next;
		struct state *trimmed = &states[random_below(&r, LIVE)];
		if (trimmed->root && random_below(&r, 3) == 0) {
			f.tree.limit = (size_t)random_below(&r, 60 * 1024);
			tree_trim(&f.tree, trimmed->root, f.version);
			f.tree.limit = SIZE_MAX;
		}
		struct state *seen = &states[random_below(&r, LIVE)];
		if (seen->root)
			assert_tree_is(&f, seen->root, &seen->model);
		struct state *dead = &states[random_below(&r, LIVE)];
		if (dead->root && dead != to && random_below(&r, 2)) {
			tree_drop(&f.tree, dead->root);
			dead->root = NULL;
		}
	}
	for (unsigned i = 0; i < LIVE; i++)
		if (states[i].root) {
			assert_tree_is(&f, states[i].root, &states[i].model);
			tree_drop(&f.tree, states[i].root);
		}
	mem_free(states);
	tree_fixture_free(&f);
}
END_TEST

Suite *tree_shared_suite(void)
{
	Suite *s = suite_create("tree-shared");
	TCase *t = tcase_create("tree-shared");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, in_common);
	tcase_add_test(t, not_in_common);
	tcase_add_test(t, gone_at_two_versions);
	tcase_add_test(t, any_order_of_deaths);
	suite_add_tcase(s, t);
	return s;
}
