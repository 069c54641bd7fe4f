#include "tests/ledger/tree-model.h"

#include "tests/ledger/check-ledger.h"

static int compare_items(const void *a, const void *b)
{
	return memcmp(((const struct tree_item *)a)->key.b,
		      ((const struct tree_item *)b)->key.b, 32);
}

void tree_model_sort(struct tree_model *m)
{
	qsort(m->items, m->count, sizeof(*m->items), compare_items);
}

void tree_model_init(struct tree_model *m, size_t count, struct random *r)
{
	*m = (struct tree_model){.count = count};
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < HASH_SIZE; j++)
			m->items[i].key.b[j] = (uint8_t)random_u64(r);
	tree_model_sort(m);
}

/* As docs/ledger-format.md says, and nothing from the code under test. */
static void naive_leaf(struct hash *out, const struct tree_item *i)
{
	uint8_t leaf[64];
	struct hash value_hash;
	hash_tagged(&value_hash, HASH_TREE_VALUE, slice_of(&i->value, sizeof(i->value)));
	memcpy(leaf, i->key.b, 32);
	memcpy(leaf + 32, value_hash.b, 32);
	hash_tagged(out, HASH_TREE_LEAF, slice_of(leaf, 64));
}

static unsigned nibble_of(const struct hash *key, unsigned depth)
{
	return depth % 2 ? key->b[depth / 2] % 16 : key->b[depth / 2] / 16;
}

void naive_root(struct hash *out, const struct tree_item *items, size_t count, unsigned depth)
{
	size_t present = 0, last = 0;
	for (size_t i = 0; i < count; i++) {
		present += items[i].present;
		last = items[i].present ? i : last;
	}
	if (depth > 0 && present == 1) {
		naive_leaf(out, &items[last]);
		return;
	}
	uint8_t node[2 + 16 * 32] = {0};
	size_t len = 2;
	for (unsigned n = 0; n < 16; n++) {
		size_t from = 0, to;
		while (from < count && nibble_of(&items[from].key, depth) != n)
			from++;
		bool any = false;
		for (to = from; to < count && nibble_of(&items[to].key, depth) == n; to++)
			any |= items[to].present;
		if (!any)
			continue;
		node[n < 8] |= (uint8_t)(1u << n % 8);
		naive_root((struct hash *)(node + len), items + from, to - from, depth + 1);
		len += 32;
	}
	hash_tagged(out, HASH_TREE_NODE, slice_of(node, len));
}

void tree_fixture_init(struct tree_fixture *f, size_t limit)
{
	*f = (struct tree_fixture){.store = store_open_memory()};
	tree_init(&f->tree, f->store, limit);
	f->root = tree_empty(&f->tree);
	tree_hash(&f->hash, f->root);
}

void tree_fixture_free(struct tree_fixture *f)
{
	tree_drop(&f->tree, f->root);
	ck_assert_uint_eq(f->tree.own.bytes, 0);
	tree_close(&f->tree);
	store_close(f->store);
}

void tree_fixture_apply(struct tree_fixture *f, struct tree_model *m, const bool *touched,
			bool write)
{
	struct tree_change changes[TREE_KEYS];
	struct tree_node *next;
	size_t count = 0;
	int64_t added;

	f->version++;
	for (size_t i = 0; i < m->count; i++) {
		struct tree_item *item = &m->items[i];
		if (!touched[i])
			continue;
		struct slice value = slice_of(&item->value, sizeof(item->value));
		changes[count++] = (struct tree_change){
			.key = item->key,
			.leaf = item->present ? tree_leaf_new(&f->tree, &item->key, value)
					      : NULL};
	}
	int err = tree_update(&f->tree, f->root, f->version, changes, count, &next, &f->hash,
			      &added, f->stale);
	ck_assert_int_eq(err, ERR_NONE);
	struct store_batch *batch = store_batch_new();
	for (size_t i = 0; i < count; i++) {
		struct tree_leaf *l = changes[i].leaf;
		if (l && changes[i].effective && write)
			tree_write_value(&f->tree, &l->key, hash_slice(&l->key), f->version,
					 slice_of(l->value, l->value_len), batch);
		if (l)
			tree_leaf_drop(&f->tree, l);
	}
	if (write) {
		tree_write(&f->tree, next, f->version, batch);
		ck_assert_int_eq(store_write(f->store, batch, false), ERR_NONE);
	}
	store_batch_free(batch);
	tree_drop(&f->tree, f->root);
	f->root = next;
	f->leaves += added;
}

void assert_tree_is(struct tree_fixture *f, struct tree_node *root, const struct tree_model *m)
{
	int64_t present = 0;
	for (size_t i = 0; i < m->count; i++) {
		const struct tree_item *item = &m->items[i];
		struct tree_leaf *leaf;
		struct slice value;
		uint64_t version;
		ck_assert_int_eq(tree_find(&f->tree, root, &item->key, &leaf, &version),
				 ERR_NONE);
		ck_assert_int_eq(leaf != NULL, item->present);
		if (!leaf)
			continue;
		present++;
		ck_assert_int_eq(
			tree_value(&f->tree, leaf, version, hash_slice(&item->key), &value),
			ERR_NONE);
		ck_assert(slice_equal(value, slice_of(&item->value, sizeof(item->value))));
	}
	if (root == f->root)
		ck_assert_int_eq(present, f->leaves);
}

void assert_root_is(const struct tree_fixture *f, const struct tree_model *m)
{
	struct hash want;
	naive_root(&want, m->items, m->count, 0);
	ck_assert(hash_equal(&want, &f->hash));
}

void tree_model_mutate(struct tree_model *m, struct random *r, bool *touched, uint64_t most)
{
	memset(touched, 0, TREE_KEYS);
	for (uint64_t n = random_below(r, most + 1); n > 0; n--) {
		size_t i = random_below(r, m->count);
		m->items[i].present = random_chance(r, 2, 3);
		m->items[i].value = (uint32_t)random_below(r, 4);
		touched[i] = true;
	}
}
