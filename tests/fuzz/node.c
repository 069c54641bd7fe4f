/* Records of nodes of the state tree from a disk that somebody has changed: a node is read as
 * what the record and its base say, or not at all. */
#include "ledger/tree_private.h"
#include "tests/fuzz/targets.h"

#define BASE	5
#define VERSION 9
#define KEYS	14

static const struct hash path = {{0x33}};
#define DEPTH 2

static struct store *store;
static struct tree tree;

static void put(uint64_t version, struct slice bytes)
{
	uint8_t key[NODE_KEY_MAX];
	struct store_batch *batch = store_batch_new();
	store_batch_put(batch, STORE_TREE, node_key(key, version, &path, DEPTH), bytes);
	invariant(store_write(store, batch, false) == ERR_NONE);
	store_batch_free(batch);
}

static void begin(void)
{
	if (store)
		return;
	store = store_open_memory();
	tree_init(&tree, store, SIZE_MAX);
}

/* {u32 length, record} of version 9, {u32 length, base} of version 5. */
static void node_one(struct slice in)
{
	struct reader r;
	struct writer whole = {0};
	struct tree_node *n, *again;
	struct hash hash, hash_again;
	begin();
	reader_init(&r, in);
	struct slice record = reader_var(&r, UINT32_MAX), base = reader_var(&r, UINT32_MAX);
	put(BASE, base);
	if (r.err || node_read(&tree, record, VERSION, &path, DEPTH, &n))
		return;
	const struct tree_slot *s = n->slot;
	invariant(n->age == 0 || n->age == VERSION - BASE);
	invariant((n->leaves & ~n->present) == 0);
	for (unsigned left = n->present; left; left &= left - 1, s++)
		invariant(s->version <= VERSION);
	struct slice bytes = node_whole(&tree, n, VERSION);
	writer_raw(&whole, bytes.ptr, bytes.len);
	if (n->age == 0)
		invariant(slice_equal(record, writer_slice(&whole)));
	invariant(node_read(&tree, writer_slice(&whole), VERSION, &path, DEPTH, &again) ==
		  ERR_NONE);
	tree_hash(&hash, n);
	tree_hash(&hash_again, again);
	invariant(hash_equal(&hash, &hash_again) && again->age == 0);
	tree_drop(&tree, n);
	tree_drop(&tree, again);
	writer_free(&whole);
}

static struct tree_node *update(struct tree *t, struct tree_node *root, uint64_t version,
				unsigned from, unsigned step, struct hash *hash)
{
	struct tree_change changes[KEYS];
	struct tree_node *next;
	struct store_batch *batch = store_batch_new();
	size_t count = 0;
	int64_t added;
	for (unsigned i = from; i < KEYS; i += step) {
		struct hash key = {{0x33, (uint8_t)(i << 4)}};
		uint8_t value = (uint8_t)(version + i);
		changes[count++] = (struct tree_change){
			.key = key,
			.leaf = version > BASE && i == from + step
					? NULL
					: tree_leaf_new(t, &key, slice_of(&value, 1))};
	}
	invariant(tree_update(t, root, version, changes, count, &next, hash, &added, NULL) ==
		  ERR_NONE);
	for (size_t i = 0; i < count; i++)
		if (changes[i].leaf)
			tree_leaf_drop(t, changes[i].leaf);
	tree_write(t, next, version, batch);
	invariant(store_write(t->store, batch, false) == ERR_NONE);
	store_batch_free(batch);
	tree_drop(t, root);
	return next;
}

/* A whole record, and some in part: leaves that are changed, and one that goes. */
static void node_seeds(struct fuzz_seeds *out)
{
	static const unsigned steps[] = {3, 5, 7, 14};
	for (unsigned i = 0; i < MEM_COUNT(steps); i++) {
		struct tree t;
		struct hash hash;
		struct writer seed = {0}, record = {0}, base = {0};
		struct store *s = store_open_memory();
		uint8_t key[NODE_KEY_MAX];
		tree_init(&t, s, SIZE_MAX);
		struct tree_node *root = tree_empty(&t);
		tree_hash(&hash, root);
		root = update(&t, root, BASE, 0, 1, &hash);
		root = update(&t, root, VERSION, i, steps[i], &hash);
		invariant(store_get(s, STORE_TREE, node_key(key, BASE, &path, DEPTH), &base) ==
			  ERR_NONE);
		invariant(store_get(s, STORE_TREE, node_key(key, VERSION, &path, DEPTH),
				    &record) == ERR_NONE);
		writer_var(&seed, writer_slice(i ? &record : &base));
		writer_var(&seed, writer_slice(&base));
		fuzz_seed(out, writer_slice(&seed));
		tree_drop(&t, root);
		tree_close(&t);
		store_close(s);
		writer_free(&seed);
		writer_free(&record);
		writer_free(&base);
	}
}

const struct fuzz_target fuzz_node = {.name = "node",
				      .shape = FUZZ_NESTED,
				      .size_max = 4096,
				      .runs = 100000,
				      .one = node_one,
				      .seeds = node_seeds};
