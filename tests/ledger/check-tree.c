/* The state tree against a plain list of keys and a root computed from nothing but that list.
 */
#include "ledger/tree.h"

#include "base/map.h"
#include "ledger/tree_private.h"
#include "tests/ledger/check-ledger.h"

#define KEYS 600

struct model {
	struct item {
		struct hash key;
		bool present;
		uint32_t value;
	} items[KEYS]; /* ascending by key */
	size_t count;
};

static int compare_items(const void *a, const void *b)
{
	return memcmp(((const struct item *)a)->key.b, ((const struct item *)b)->key.b, 32);
}

static void model_init(struct model *m, size_t count, struct random *r)
{
	*m = (struct model){.count = count};
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < HASH_SIZE; j++)
			m->items[i].key.b[j] = (uint8_t)random_u64(r);
	qsort(m->items, count, sizeof(*m->items), compare_items);
}

/* As docs/ledger-format.md says, and nothing from the code under test. */
static void naive_leaf(struct hash *out, const struct item *i)
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

static void naive_root(struct hash *out, const struct item *items, size_t count, unsigned depth)
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

struct fixture {
	struct store *store;
	struct tree tree;
	struct tree_node *root;
	struct hash hash;
	uint64_t version;
	int64_t leaves;
	struct writer *stale; /* NULL: nobody asks */
};

static void fixture_init(struct fixture *f, size_t limit)
{
	*f = (struct fixture){.store = store_open_memory()};
	tree_init(&f->tree, f->store, limit);
	f->root = tree_empty(&f->tree);
	tree_hash(&f->hash, f->root);
}

static void fixture_free(struct fixture *f)
{
	tree_drop(&f->tree, f->root);
	ck_assert_uint_eq(f->tree.own.bytes, 0);
	tree_close(&f->tree);
	store_close(f->store);
}

/* Makes the changes that turn the tree into the model for the items marked. Values are written
 * under the key hash as state key. */
static void apply(struct fixture *f, struct model *m, const bool *touched, bool write)
{
	struct tree_change changes[KEYS];
	struct tree_node *next;
	size_t count = 0;
	int64_t added;

	f->version++;
	for (size_t i = 0; i < m->count; i++) {
		struct item *item = &m->items[i];
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

static void assert_equal(struct fixture *f, struct tree_node *root, const struct model *m)
{
	int64_t present = 0;
	for (size_t i = 0; i < m->count; i++) {
		const struct item *item = &m->items[i];
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

static void assert_root(const struct fixture *f, const struct model *m)
{
	struct hash want;
	naive_root(&want, m->items, m->count, 0);
	ck_assert(hash_equal(&want, &f->hash));
}

static void mutate(struct model *m, struct random *r, bool *touched, uint64_t most)
{
	memset(touched, 0, KEYS);
	for (uint64_t n = random_below(r, most + 1); n > 0; n--) {
		size_t i = random_below(r, m->count);
		m->items[i].present = random_chance(r, 2, 3);
		m->items[i].value = (uint32_t)random_below(r, 4);
		touched[i] = true;
	}
}

START_TEST(empty)
{
	static const uint8_t preimage[] = {HASH_TREE_NODE, 0, 0};
	struct fixture f;
	struct hash want;
	fixture_init(&f, SIZE_MAX);
	sha256(&want, preimage, sizeof(preimage));
	ck_assert(hash_equal(&want, &f.hash));
	fixture_free(&f);
}
END_TEST

/* The limit of 0 throws away everything cached after every block, so all is read back. */
START_TEST(random_histories)
{
	static const size_t counts[] = {1, 2, 3, 17, 100, KEYS};
	bool touched[KEYS];
	for (size_t c = 0; c < MEM_COUNT(counts); c++) {
		for (unsigned trimming = 0; trimming < 2; trimming++) {
			struct model m;
			struct fixture f;
			struct random r;
			random_seed(&r, counts[c] * 2 + trimming);
			model_init(&m, counts[c], &r);
			fixture_init(&f, trimming ? 0 : SIZE_MAX);
			for (unsigned round = 0; round < 60; round++) {
				mutate(&m, &r, touched, round % 5 ? 8 : counts[c]);
				apply(&f, &m, touched, true);
				assert_root(&f, &m);
				tree_trim(&f.tree, f.root, f.version);
				assert_equal(&f, f.root, &m);
			}
			fixture_free(&f);
		}
	}
}
END_TEST

/* The same set of keys and values, by three histories. */
START_TEST(independent_of_history)
{
	struct random r;
	for (uint64_t seed = 0; seed < 30; seed++) {
		struct model m, part;
		struct fixture f[3];
		bool touched[KEYS];
		random_seed(&r, seed);
		model_init(&m, 1 + random_below(&r, 120), &r);
		mutate(&m, &r, touched, 300);
		for (unsigned h = 0; h < 3; h++)
			fixture_init(&f[h], SIZE_MAX);
		memset(touched, 1, sizeof(touched));
		apply(&f[0], &m, touched, false);
		/* one by one, from the end */
		for (size_t i = m.count; i-- > 0;) {
			memset(touched, 0, sizeof(touched));
			touched[i] = true;
			apply(&f[1], &m, touched, false);
		}
		/* everything present first, then the rest taken away in two halves */
		memset(touched, 1, sizeof(touched));
		part = m;
		for (size_t i = 0; i < m.count; i++)
			part.items[i].present = true;
		apply(&f[2], &part, touched, false);
		for (unsigned half = 0; half < 2; half++) {
			for (size_t i = 0; i < m.count; i++)
				touched[i] = i % 2 == half && !m.items[i].present;
			apply(&f[2], &m, touched, false);
		}
		assert_root(&f[0], &m);
		ck_assert(hash_equal(&f[0].hash, &f[1].hash));
		ck_assert(hash_equal(&f[0].hash, &f[2].hash));
		for (unsigned h = 0; h < 3; h++) {
			assert_equal(&f[h], f[h].root, &m);
			fixture_free(&f[h]);
		}
	}
}
END_TEST

START_TEST(changes_without_effect)
{
	struct model m;
	struct fixture f;
	struct random r;
	bool touched[KEYS];
	random_seed(&r, 3);
	model_init(&m, 100, &r);
	fixture_init(&f, SIZE_MAX);
	mutate(&m, &r, touched, 100);
	apply(&f, &m, touched, true);

	struct tree_node *before = tree_hold(f.root);
	memset(touched, 1, sizeof(touched)); /* what is there again, what is absent deleted */
	apply(&f, &m, touched, true);
	ck_assert_ptr_eq(before, f.root);
	tree_drop(&f.tree, before);
	assert_root(&f, &m);
	fixture_free(&f);
}
END_TEST

/* Keys that differ only in one late nibble: chains of nodes with one child, and their end. */
START_TEST(deep)
{
	struct model m = {.count = 4};
	struct fixture f;
	struct hash nothing;
	bool touched[KEYS] = {false};
	for (unsigned depth = 1; depth < TREE_DEPTH_MAX; depth++) {
		fixture_init(&f, 0);
		nothing = f.hash;
		for (unsigned i = 0; i < 4; i++) {
			unsigned nibble = i + 3;
			m.items[i] = (struct item){.present = true, .value = i};
			memset(m.items[i].key.b, 0x5a, HASH_SIZE);
			uint8_t *b = &m.items[i].key.b[depth / 2];
			*b = (uint8_t)(depth % 2 ? (*b & 0xf0) | nibble : nibble << 4 | 0xa);
		}
		memset(touched, 1, 4);
		apply(&f, &m, touched, true);
		for (unsigned i = 0; i < 5; i++) {
			tree_trim(&f.tree, f.root, f.version);
			assert_root(&f, &m);
			assert_equal(&f, f.root, &m);
			if (i == 4)
				break;
			memset(touched, 0, sizeof(touched));
			m.items[i].present = false;
			touched[i] = true;
			apply(&f, &m, touched, true);
		}
		ck_assert(hash_equal(&f.hash, &nothing));
		fixture_free(&f);
	}
}
END_TEST

START_TEST(old_versions)
{
	enum { VERSIONS = 40 };
	static struct model past[VERSIONS + 1];
	struct hash hashes[VERSIONS + 1], hash;
	struct model m;
	struct fixture f;
	struct random r;
	bool touched[KEYS];

	random_seed(&r, 11);
	model_init(&m, 200, &r);
	fixture_init(&f, 0);
	for (unsigned v = 1; v <= VERSIONS; v++) {
		mutate(&m, &r, touched, 30);
		apply(&f, &m, touched, true);
		past[v] = m;
		hashes[v] = f.hash;
		tree_trim(&f.tree, f.root, f.version);
	}
	for (unsigned v = 1; v <= VERSIONS; v++) {
		struct tree_node *root;
		ck_assert_int_eq(tree_load_root(&f.tree, v, &root, &hash), ERR_NONE);
		ck_assert(hash_equal(&hash, &hashes[v]));
		assert_equal(&f, root, &past[v]);
		tree_drop(&f.tree, root);
	}
	struct tree_node *root;
	ck_assert_int_eq(tree_load_root(&f.tree, VERSIONS + 1, &root, &hash), ERR_NOT_FOUND);
	fixture_free(&f);
}
END_TEST

/* States that branch: nothing of one shows in the other, nor in their parent. */
START_TEST(forks)
{
	struct model base, left, right;
	struct fixture f, g;
	struct random r;
	bool touched[KEYS];

	random_seed(&r, 12);
	model_init(&base, 150, &r);
	fixture_init(&f, SIZE_MAX);
	mutate(&base, &r, touched, 200);
	apply(&f, &base, touched, true);
	for (unsigned round = 0; round < 50; round++) {
		struct tree_node *parent = tree_hold(f.root);
		uint64_t version = f.version;
		int64_t leaves = f.leaves;
		struct hash hash = f.hash;
		left = right = base;
		mutate(&left, &r, touched, 20);
		apply(&f, &left, touched, false);
		assert_root(&f, &left);
		g = f; /* the left state, put aside */
		f.root = tree_hold(parent);
		f.version = version;
		f.leaves = leaves;
		f.hash = hash;
		mutate(&right, &r, touched, 20);
		apply(&f, &right, touched, true);
		assert_root(&f, &right);
		assert_equal(&f, parent, &base);
		assert_equal(&f, g.root, &left);
		assert_equal(&f, f.root, &right);
		tree_drop(&f.tree, g.root);
		tree_drop(&f.tree, parent);
		base = right;
	}
	fixture_free(&f);
}
END_TEST

/* Whether the state reads as the model with this record in place of its own: reported, else
 * right. */
static bool is_reported(struct fixture *f, const struct model *m, struct slice key,
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
		const struct item *item = &m->items[i];
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
static unsigned flip_all_bits(struct fixture *f, const struct model *m, unsigned *reported)
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
	struct model m;
	struct fixture f;
	struct random r;
	bool touched[KEYS];
	unsigned reported;

	random_seed(&r, 13);
	model_init(&m, 20, &r);
	fixture_init(&f, SIZE_MAX);
	memset(touched, 1, sizeof(touched));
	for (size_t i = 0; i < m.count; i++)
		m.items[i] = (struct item){
			.key = m.items[i].key, .present = true, .value = (uint32_t)i};
	apply(&f, &m, touched, true);
	ck_assert_uint_eq(flip_all_bits(&f, &m, &reported), 0); /* every bit is needed */
	ck_assert_uint_gt(reported, 5000);
	fixture_free(&f);
}
END_TEST

/* Nodes whose records rest on others: of those, what has changed since does not matter. */
START_TEST(damaged_changes)
{
	struct model m;
	struct fixture f;
	struct random r;
	bool touched[KEYS];
	unsigned reported;

	random_seed(&r, 16);
	model_init(&m, 30, &r);
	for (size_t i = 0; i < m.count; i++) {
		m.items[i].key.b[0] = 0x77; /* one node below two with a child each */
		m.items[i].key.b[1] = (uint8_t)(i << 4);
		m.items[i].present = i < 13;
		m.items[i].value = (uint32_t)i;
	}
	qsort(m.items, m.count = 13, sizeof(*m.items), compare_items);
	fixture_init(&f, SIZE_MAX);
	memset(touched, 1, sizeof(touched));
	apply(&f, &m, touched, true);
	for (unsigned round = 0; round < 4; round++) {
		memset(touched, 0, sizeof(touched));
		touched[3 * round] = true;
		m.items[3 * round].value = 100 + round;
		m.items[3 * round].present = round != 1;
		apply(&f, &m, touched, true);
	}
	struct tree_node *n = f.root->slot[0].node->slot[0].node;
	ck_assert_uint_eq(n->age, 4);
	/* Of the base four leaves, of older records all is spare. */
	unsigned spare = flip_all_bits(&f, &m, &reported);
	ck_assert_uint_gt(reported, 5000);
	ck_assert_uint_gt(spare, 4 * 8 * 64);
	fixture_free(&f);
}
END_TEST

/* ---- what is stale ------------------------------------------------------------------------
 */

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
	struct model m;
	struct random r;
	struct fixture f[2];
	bool touched[KEYS];
	struct tree_heap *heap = tree_heap_new();

	tree_heap_use(heap);
	random_seed(&r, 2);
	model_init(&m, 14, &r);
	for (unsigned i = 0; i < m.count; i++) {
		m.items[i].key.b[0] = 0x33;
		m.items[i].key.b[1] = (uint8_t)(i << 4);
		m.items[i].present = true;
	}
	memset(touched, 1, sizeof(touched));
	for (unsigned k = 0; k < 2; k++) {
		fixture_init(&f[k], SIZE_MAX);
		apply(&f[k], &m, touched, true);
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
			apply(&f[k], &m, touched, true);
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
		fixture_free(&f[k]);
	tree_heap_use(NULL);
	tree_heap_free(heap);
}
END_TEST

/* The writer makes none. */
START_TEST(a_root_in_part)
{
	struct model m;
	struct fixture f;
	struct random r;
	bool touched[KEYS];
	struct writer record = {0};
	struct tree_node *root;
	struct hash hash;
	static const struct hash no_path;
	uint8_t key[NODE_KEY_MAX];
	random_seed(&r, 3);
	model_init(&m, 40, &r);
	fixture_init(&f, SIZE_MAX);
	for (unsigned i = 0; i < m.count; i++)
		m.items[i].present = true;
	memset(touched, 1, sizeof(touched));
	apply(&f, &m, touched, true);
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
	fixture_free(&f);
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
	bool touched[KEYS];
	struct model m;
	struct fixture f;
	struct random r;
	uint64_t oldest = 0;
	random_seed(&r, seed);
	model_init(&m, keys, &r);
	fixture_init(&f, seed % 2 ? 0 : SIZE_MAX);
	for (uint64_t v = 1; v <= PRUNED_ROUNDS; v++) {
		mutate(&m, &r, touched, v % 50 == 1 ? keys : 4);
		f.stale = &lists[v];
		apply(&f, &m, touched, true);
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
	fixture_free(&f);
}

START_TEST(pruned_histories)
{
	static const unsigned windows[] = {0, 1, 7, 60};
	static const size_t keys[] = {3, 40, KEYS};
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
	bool touched[KEYS];
	struct model m;
	struct fixture f;
	struct random r;
	struct needed n = {.count = 0};
	random_seed(&r, 21);
	model_init(&m, 200, &r);
	fixture_init(&f, SIZE_MAX);
	memset(touched, 1, sizeof(touched));
	for (size_t i = 0; i < m.count; i++)
		m.items[i].present = true;
	apply(&f, &m, touched, true);
	for (unsigned round = 0; round < 100; round++) {
		struct writer kept = {0}, again = {0};
		struct tree_node *before = tree_hold(f.root), *next;
		mutate(&m, &r, touched, 3);
		f.stale = &kept;
		apply(&f, &m, touched, true);
		/* the same once more, as mending does it */
		struct tree_change changes[KEYS];
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
	fixture_free(&f);
}
END_TEST

START_TEST(trimming_bounds_memory)
{
	struct model m;
	struct fixture f;
	struct random r;
	bool touched[KEYS];
	size_t most = 0;

	random_seed(&r, 14);
	model_init(&m, KEYS, &r);
	fixture_init(&f, 30 * 1024);
	for (unsigned round = 0; round < 100; round++) {
		mutate(&m, &r, touched, 20);
		apply(&f, &m, touched, true);
		assert_equal(&f, f.root, &m); /* loads everything */
		most = f.tree.own.bytes > most ? f.tree.own.bytes : most;
		tree_trim(&f.tree, f.root, f.version);
		ck_assert_uint_le(f.tree.own.bytes, f.tree.limit);
	}
	ck_assert_uint_gt(most, 30 * 1024);
	/* What the store does not have yet stays, whatever the limit. */
	f.tree.limit = 0;
	mutate(&m, &r, touched, KEYS);
	apply(&f, &m, touched, false);
	tree_trim(&f.tree, f.root, f.version - 1);
	assert_equal(&f, f.root, &m);
	fixture_free(&f);
}
END_TEST

/* States that live and die in any order, and forget what the store has: what copies borrow from
 * their originals is there as long as any of them. */
#define TREES	3
#define ROUNDS	200
#define SLOWEST 2 /* of the trees; it falls behind by more than is kept */

/* Trees with a heap in common go through the same versions, one ahead of the other: they hold
 * the same nodes while none is too far behind, and what is right in any case. */
START_TEST(in_common)
{
	static struct model after[ROUNDS];
	static bool touched[ROUNDS][KEYS];
	struct tree_node *made[ROUNDS] = {0};
	struct random r;

	for (uint64_t seed = 0; seed < 6; seed++) {
		struct model m;
		struct fixture f[TREES];
		struct tree_heap *heap = tree_heap_new();
		ck_assert_ptr_null(tree_heap_use(heap));
		random_seed(&r, seed);
		model_init(&m, seed % 2 ? KEYS : 40, &r);
		for (unsigned i = 0; i < ROUNDS; i++) {
			mutate(&m, &r, touched[i], i % 7 ? 5 : 100);
			after[i] = m;
		}
		for (unsigned k = 0; k < TREES; k++)
			fixture_init(&f[k], 0); /* a limit that does not count */
		memset(made, 0, sizeof(made));
		for (uint64_t slowest = 0, fastest = 0; slowest < ROUNDS;) {
			unsigned k = (unsigned)random_below(&r, TREES);
			uint64_t at = f[k].version;
			bool halts = k == SLOWEST && at == ROUNDS / 2 &&
				     fastest < at + 4 * TREE_RECENT;
			if (at < ROUNDS && !halts &&
			    (at < slowest + TREE_RECENT - 1 || slowest >= ROUNDS / 2)) {
				apply(&f[k], &after[at], touched[at], true);
				assert_root(&f[k], &after[at]);
				assert_equal(&f[k], f[k].root, &after[at]);
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
			struct fixture again = {.store = f[k].store};
			tree_init(&again.tree, again.store, 0);
			ck_assert_int_eq(
				tree_load_root(&again.tree, ROUNDS, &again.root, &again.hash),
				ERR_NONE);
			ck_assert(hash_equal(&again.hash, &f[k].hash));
			again.leaves = f[k].leaves;
			assert_equal(&again, again.root, &after[ROUNDS - 1]);
			tree_drop(&again.tree, again.root);
			tree_close(&again.tree);
			fixture_free(&f[k]);
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
	struct model m;
	struct random r;
	struct fixture f[2];
	bool touched[KEYS] = {true, true};
	struct tree_heap *heap = tree_heap_new();

	tree_heap_use(heap);
	random_seed(&r, 1);
	model_init(&m, 3, &r);
	for (unsigned k = 0; k < 2; k++) {
		fixture_init(&f[k], SIZE_MAX);
		m.items[0] = (struct item){.key = m.items[0].key, .present = true};
		m.items[1] = (struct item){.key = m.items[1].key, .present = true};
		if (k == 1) { /* another value before */
			m.items[0].value = 1;
			apply(&f[k], &m, touched, true);
			m.items[0].value = 0;
			f[k].version = 1;
		}
		apply(&f[k], &m, touched, true);
	}
	ck_assert(hash_equal(&f[0].hash, &f[1].hash));
	ck_assert_ptr_ne(f[0].root, f[1].root);
	memset(touched, 0, sizeof(touched));
	touched[2] = m.items[2].present = true;
	for (unsigned k = 0; k < 2; k++) {
		f[k].version = 4;
		apply(&f[k], &m, touched, true);
		assert_root(&f[k], &m);
	}
	ck_assert_ptr_ne(f[0].root, f[1].root);
	for (unsigned k = 0; k < 2; k++)
		fixture_free(&f[k]);
	tree_heap_use(NULL);
	tree_heap_free(heap);
}
END_TEST

/* A child that goes at one version here and at another there leaves the same hashes, but
 * records that are of another age. */
START_TEST(gone_at_two_versions)
{
	struct model m;
	struct random r;
	struct fixture f[2];
	bool touched[KEYS];
	struct tree_heap *heap = tree_heap_new();

	tree_heap_use(heap);
	random_seed(&r, 1);
	model_init(&m, 14, &r);
	for (unsigned i = 0; i < m.count; i++) {
		m.items[i].key.b[0] = (uint8_t)(0x30 + i);
		m.items[i].present = true;
	}
	for (unsigned k = 0; k < 2; k++)
		fixture_init(&f[k], SIZE_MAX);
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
			apply(&f[k], &m, touched, true);
			assert_root(&f[k], &m);
		}
	}
	for (unsigned k = 0; k < 2; k++) {
		ck_assert_uint_eq(f[k].root->slot[0].node->age, 2 + k);
		struct fixture again = {.store = f[k].store, .leaves = f[k].leaves};
		tree_heap_use(NULL);
		tree_init(&again.tree, again.store, 0);
		ck_assert_int_eq(
			tree_load_root(&again.tree, f[k].version, &again.root, &again.hash),
			ERR_NONE);
		assert_equal(&again, again.root, &m);
		tree_drop(&again.tree, again.root);
		tree_close(&again.tree);
		fixture_free(&f[k]);
	}
	tree_heap_free(heap);
}
END_TEST

START_TEST(any_order_of_deaths)
{
	enum { LIVE = 7 };
	struct state {
		struct tree_node *root; /* NULL: none */
		struct hash hash;
		int64_t leaves;
		struct model model;
	} *states = mem_array(LIVE, sizeof(*states));
	struct fixture f;
	struct random r;
	bool touched[KEYS];

	random_seed(&r, 15);
	fixture_init(&f, SIZE_MAX);
	states[0].root = tree_hold(f.root);
	states[0].hash = f.hash;
	model_init(&states[0].model, 300, &r);
	for (unsigned round = 0; round < 600; round++) {
		struct state *from = &states[random_below(&r, LIVE)];
		struct state *to = &states[random_below(&r, LIVE)];
		if (!from->root)
			continue;
		struct model next = from->model;
		tree_drop(&f.tree, f.root);
		f.root = tree_hold(from->root);
		f.hash = from->hash;
		f.leaves = from->leaves;
		mutate(&next, &r, touched, (unsigned)random_below(&r, 40));
		apply(&f, &next, touched, true);
		assert_root(&f, &next);
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
			assert_equal(&f, seen->root, &seen->model);
		struct state *dead = &states[random_below(&r, LIVE)];
		if (dead->root && dead != to && random_below(&r, 2)) {
			tree_drop(&f.tree, dead->root);
			dead->root = NULL;
		}
	}
	for (unsigned i = 0; i < LIVE; i++)
		if (states[i].root) {
			assert_equal(&f, states[i].root, &states[i].model);
			tree_drop(&f.tree, states[i].root);
		}
	mem_free(states);
	fixture_free(&f);
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
	tcase_add_test(t, any_order_of_deaths);
	tcase_add_test(t, in_common);
	tcase_add_test(t, not_in_common);
	tcase_add_test(t, gone_at_two_versions);
	tcase_add_test(t, damaged_records);
	tcase_add_test(t, damaged_changes);
	tcase_add_test(t, pruned_histories);
	tcase_add_test(t, children_of_other_ages);
	tcase_add_test(t, a_root_in_part);
	tcase_add_test(t, lists_of_those_who_write_whole);
	tcase_add_test(t, trimming_bounds_memory);
	suite_add_tcase(s, t);
	return s;
}
