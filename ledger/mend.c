#include "ledger/mend.h"

#include "ledger/private.h"
#include "ledger/store_private.h"
#include "ledger/tree_private.h"

#define LIST_MARK	 0xff /* prune.c */
#define MEND_CACHE_BYTES (16u << 20)

bool mend_record_of(enum store_family f, struct slice key, struct mend_record *out)
{
	*out = (struct mend_record){.family = f};
	if (f == STORE_STATE) {
		if (key.len != TREE_VALUE_KEY_SIZE)
			return false;
		memcpy(out->key.b, key.ptr, HASH_SIZE);
		out->version = load_be64(key.ptr + HASH_SIZE);
		return true;
	}
	if (f != STORE_TREE || key.len < 9)
		return false;
	out->version = load_be64(key.ptr);
	out->depth = key.ptr[8];
	out->list = out->depth == LIST_MARK;
	if (out->list)
		return key.len == 9;
	if (out->depth >= TREE_DEPTH_MAX || key.len != 9 + (out->depth + 1) / 2)
		return false;
	memcpy(out->key.b, key.ptr + 9, key.len - 9);
	return !(out->depth & 1) || (key.ptr[key.len - 1] & 15) == 0;
}

struct hash mend_path(const struct hash *key, unsigned depth)
{
	struct hash path = {0};
	memcpy(path.b, key->b, (depth + 1) / 2);
	if (depth & 1)
		path.b[depth / 2] &= 0xf0;
	return path;
}

struct slice mend_key(const struct mend_record *rec, uint8_t buf[MEND_KEY_MAX])
{
	invariant(!rec->list);
	if (rec->family == STORE_TREE)
		return node_key(buf, rec->version, &rec->key, rec->depth);
	tree_value_key(buf, &rec->key, rec->version);
	return slice_of(buf, TREE_VALUE_KEY_SIZE);
}

/* ---- looking ----------------------------------------------------------------------------- */

static int load_state(struct tree *t, uint64_t at, const struct hash *root,
		      struct tree_node **out)
{
	struct hash hash;
	int err = tree_load_root(t, at, out, &hash);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	if (hash_equal(&hash, root))
		return ERR_NONE;
	tree_drop(t, *out);
	return ERR_CORRUPT;
}

static void note_holder(struct mend_record *rec, uint64_t version, unsigned depth)
{
	rec->holder = version;
	rec->holder_depth = depth;
}

/* The slot at which the path of the record's key ends, at a leaf or at `depth`; NULL: there is
 * none. version: of root. */
static int find_slot(struct tree *t, struct tree_node *root, uint64_t version, unsigned depth,
		     struct mend_record *rec, const struct tree_slot **out, bool *is_leaf)
{
	struct tree_node *n = root;
	*out = NULL;
	for (unsigned d = 0; d < depth; d++) {
		unsigned nibble = tree_nibble(&rec->key, d);
		note_holder(rec, version, d);
		if (!slot_present(n, nibble))
			return ERR_NONE;
		unsigned i = tree_index(n->present, nibble);
		*is_leaf = slot_is_leaf(n, nibble);
		if (*is_leaf || d + 1 == depth) {
			*out = &n->slot[i];
			return ERR_NONE;
		}
		version = n->slot[i].version;
		int err = node_child(t, n, i, &rec->key, d + 1, &n);
		if (err)
			return err;
	}
	return ERR_NONE;
}

static int look_at_value(struct tree *t, struct tree_node *root, uint64_t at,
			 struct mend_record *rec, enum mend_look *out)
{
	const struct tree_slot *slot;
	struct slice state_key, value;
	struct hash key, value_hash;
	bool is_leaf;
	int err = find_slot(t, root, at, TREE_DEPTH_MAX, rec, &slot, &is_leaf);
	if (err)
		return err;
	if (!slot || !is_leaf || !hash_equal(&slot->leaf->key, &rec->key) ||
	    slot->version != rec->version) {
		*out = MEND_UNUSED;
		return ERR_NONE;
	}
	rec->want = slot->leaf->value_hash;
	*out = MEND_DAMAGED;
	err = tree_record(t, &rec->key, rec->version, &state_key, &value);
	if (err)
		return err == ERR_IO ? err : ERR_NONE;
	tree_key(&key, state_key);
	tree_value_hash(&value_hash, value);
	if (hash_equal(&key, &rec->key) && hash_equal(&value_hash, &rec->want))
		*out = MEND_SOUND;
	return ERR_NONE;
}

/* Whether the record of a node reads, and is the one that is wanted. */
static int look_at_record(struct tree *t, const struct mend_record *rec, enum mend_look *out)
{
	struct tree_node *n;
	struct hash hash;
	*out = MEND_DAMAGED;
	int err = node_load(t, rec->version, &rec->key, rec->depth, &n);
	if (err)
		return err == ERR_IO ? err : ERR_NONE;
	tree_hash(&hash, n);
	tree_drop(t, n);
	if (hash_equal(&hash, &rec->want))
		*out = MEND_SOUND;
	return ERR_NONE;
}

static int look_at_node(struct tree *t, struct tree_node *root, uint64_t at,
			struct mend_record *rec, enum mend_look *out)
{
	const struct tree_slot *slot;
	bool is_leaf;
	int err = find_slot(t, root, at, rec->depth, rec, &slot, &is_leaf);
	*out = MEND_UNUSED;
	if (err || !slot || is_leaf || slot->version != rec->version)
		return err;
	rec->want = slot->hash;
	return look_at_record(t, rec, out);
}

int mend_look(struct store *s, struct mend_record *rec, uint64_t at, const struct hash *root,
	      enum mend_look *out)
{
	struct tree t;
	struct tree_node *n;
	invariant(!rec->list);
	tree_init(&t, s, MEND_CACHE_BYTES);
	int err;
	if (rec->family == STORE_TREE && rec->depth == 0) {
		rec->want = *root;
		note_holder(rec, at, 0);
		*out = MEND_UNUSED;
		err = at == rec->version ? look_at_record(&t, rec, out) : ERR_NONE;
	} else {
		err = load_state(&t, at, root, &n);
		if (!err) {
			err = rec->family == STORE_STATE ? look_at_value(&t, n, at, rec, out)
							 : look_at_node(&t, n, at, rec, out);
			tree_drop(&t, n);
		}
	}
	tree_close(&t);
	return err;
}

/* ---- values, and whole blocks -------------------------------------------------------------
 */

int mend_value(struct store *s, const struct mend_record *rec, struct slice state_key,
	       struct slice value, struct store_batch *batch)
{
	struct tree t;
	struct hash key, value_hash;
	tree_key(&key, state_key);
	tree_value_hash(&value_hash, value);
	if (!hash_equal(&key, &rec->key) || !hash_equal(&value_hash, &rec->want))
		return ERR_BAD_HASH;
	tree_init(&t, s, 0);
	tree_write_value(&t, &rec->key, state_key, rec->version, value, batch);
	tree_close(&t);
	return ERR_NONE;
}

static void put_records(struct tree *t, const struct overlay *o, struct store_batch *batch)
{
	for (uint32_t i = 0; i < o->change_count; i++) {
		const struct change *c = &o->changes[i];
		tree_write_value(t, &c->leaf->key,
				 slice_of(o->key_bytes + c->key_offset, c->key_len), o->height,
				 slice_of(c->leaf->value, c->leaf->value_len), batch);
	}
	tree_write(t, o->root, o->height, batch);
}

/* As prune() keeps it. */
static void put_list(const struct overlay *o, struct store_batch *batch)
{
	uint8_t key[9];
	struct writer list = {0};
	store_be64(key, o->height);
	key[8] = LIST_MARK;
	writer_raw(&list, o->stale, o->stale_len);
	tree_stale_root(&list, o->height - 1);
	store_batch_put(batch, STORE_TREE, slice_of(key, sizeof key), writer_slice(&list));
	writer_free(&list);
}

/* A value of the ledger's own; empty: there is none. Lent until the tree is changed. */
static int own_value(struct tree *t, struct tree_node *root, struct slice state_key,
		     struct slice *out)
{
	struct hash key;
	struct tree_leaf *leaf;
	uint64_t version;
	*out = (struct slice){0};
	tree_key(&key, state_key);
	int err = tree_find(t, root, &key, &leaf, &version);
	return err || !leaf ? err : tree_value(t, leaf, version, state_key, out);
}

static int open_below(struct tree *t, uint64_t height, const struct hash *root,
		      struct overlay *out)
{
	struct slice value;
	*out = (struct overlay){.height = height, .root_hash = *root};
	int err = load_state(t, height, root, &out->root);
	if (err)
		return err;
	err = own_value(t, out->root, state_key_senders(), &value);
	if (!err && value.len != 0 && value.len != 8)
		err = ERR_CORRUPT;
	if (!err) {
		out->senders = value.len ? load_be64(value.ptr) : 0;
		err = own_value(t, out->root, state_key_modes(), &value);
	}
	if (!err)
		err = modes_decode(value, &out->modes);
	if (err)
		tree_drop(t, out->root);
	return err;
}

static int run_one(struct execution *x, const struct block *b, uint32_t i, bool system,
		   const struct chain_ctx *ctx, struct tx *tx)
{
	enum tx_result result;
	struct entry *sender;
	if (system) {
		struct system_tx s;
		int err = system_tx_decode(&s, block_tx_bytes(b, i), ctx);
		return err ? err : execution_system(x, &s);
	}
	int err = tx_decode(tx, block_tx_bytes(b, i), ctx, &x->genesis->limits);
	if (!err)
		err = execution_check(x, tx, &sender);
	if (!err)
		err = execution_run(x, tx, sender, &result);
	return !err && result != b->tx[i].result ? ERR_BAD_STATE_ROOT : err;
}

int mend_execute(struct store *s, const struct genesis *g, const struct chain_ctx *ctx,
		 const struct block *b, const struct hash *before, bool list,
		 struct store_batch *batch)
{
	struct tree t;
	struct execution x;
	struct overlay below, *o = NULL;
	invariant(b->sh.h.height > 0);
	tree_init(&t, s, MEND_CACHE_BYTES);
	t.whole = true;
	int err = open_below(&t, b->sh.h.height - 1, before, &below);
	if (err) {
		tree_close(&t);
		return err;
	}
	execution_init(&x, &t, g);
	x.prune = list;
	execution_begin(&x, &below, b->sh.h.height);
	struct tx *txs = mem_array(b->tx_count + 1, sizeof *txs); /* as long as the run */
	uint32_t system = system_tx_prefix(b);
	for (uint32_t i = 0; i < b->tx_count && !err; i++)
		err = run_one(&x, b, i, i < system, ctx, &txs[i]);
	if (!err)
		err = execution_end(&x, &o);
	if (!err && !hash_equal(&o->root_hash, &b->sh.h.state_root))
		err = ERR_BAD_STATE_ROOT;
	if (!err) {
		put_records(&t, o, batch);
		if (list)
			put_list(o, batch);
	}
	if (o)
		overlay_free(&t, o);
	tree_drop(&t, below.root);
	mem_free(txs);
	execution_free(&x);
	tree_close(&t);
	return err;
}

int mend_genesis(const struct genesis *g, struct store_batch *batch)
{
	struct tree t;
	struct execution x;
	struct overlay *o = NULL;
	tree_init(&t, NULL, SIZE_MAX);
	execution_init(&x, &t, g);
	int err = genesis_state(&x, g, &o);
	if (!err) {
		put_records(&t, o, batch);
		overlay_free(&t, o);
	}
	execution_free(&x);
	tree_close(&t);
	return err;
}

/* ---- a node out of its leaves ---------------------------------------------------------------
 */

struct under {
	struct hash key, value_hash;
	uint64_t version;
};
struct rebuild {
	struct tree tree;
	struct under *leaf; /* ascending by key */
	uint32_t count, cap;
	uint32_t tries; /* left: versions of children that are looked for, for all of them */
};

static void add_under(struct rebuild *b, const struct hash *key, uint64_t version,
		      const struct hash *value_hash)
{
	/* Versions of a key ascend: the newest one that the node may have counts. */
	if (b->count && hash_equal(&b->leaf[b->count - 1].key, key))
		b->count--;
	if (b->count == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 64;
		b->leaf = mem_realloc(b->leaf, b->cap * sizeof *b->leaf);
	}
	b->leaf[b->count++] =
		(struct under){.key = *key, .value_hash = *value_hash, .version = version};
}

static bool begins_with(const uint8_t *key, const struct mend_record *rec)
{
	struct hash h;
	memcpy(h.b, key, HASH_SIZE);
	for (unsigned d = 0; d < rec->depth; d++)
		if (tree_nibble(&h, d) != tree_nibble(&rec->key, d))
			return false;
	return true;
}

static int gather_under(struct rebuild *b, struct store *s, const struct mend_record *rec)
{
	uint8_t from[TREE_VALUE_KEY_SIZE];
	struct slice key, record, state_key, value;
	int err = ERR_NONE;
	tree_value_key(from, &rec->key, 0);
	struct store_iter *it = store_iter_new(s, STORE_STATE, slice_of(from, sizeof from),
					       (struct slice){0}, false);
	while (!err && store_iter_next(it, &key, &record)) {
		struct hash key_hash, value_hash;
		if (key.len != TREE_VALUE_KEY_SIZE || !begins_with(key.ptr, rec))
			break;
		uint64_t version = load_be64(key.ptr + HASH_SIZE);
		if (version > rec->version)
			continue;
		if (!tree_record_read(record, &state_key, &value)) {
			err = ERR_NOT_FOUND;
			break;
		}
		memcpy(key_hash.b, key.ptr, HASH_SIZE);
		tree_value_hash(&value_hash, value);
		add_under(b, &key_hash, version, &value_hash);
		if (b->count > MEND_LEAVES_MAX)
			err = ERR_LIMIT;
	}
	if (!err)
		err = store_iter_error(it);
	store_iter_free(it);
	return err;
}

/* One place in the tree and all leaves there are below it. */
static void hash_under(const struct under *leaf, uint32_t count, unsigned depth,
		       struct hash *out);

static uint32_t group_of(const struct under *leaf, uint32_t count, unsigned depth)
{
	uint32_t n = 1;
	while (n < count && tree_nibble(&leaf[n].key, depth) == tree_nibble(&leaf->key, depth))
		n++;
	return n;
}

static void hash_place(const struct under *leaf, uint32_t count, unsigned depth,
		       struct hash *out)
{
	if (count == 1)
		tree_leaf_hash(out, &leaf->key, &leaf->value_hash);
	else
		hash_under(leaf, count, depth, out);
}

/* Recursion is at most TREE_DEPTH_MAX deep: no two keys are the same. */
static void hash_under(const struct under *leaf, uint32_t count, unsigned depth,
		       struct hash *out)
{
	struct hash children[16];
	uint16_t present = 0;
	unsigned n = 0;
	while (count > 0) {
		uint32_t group = group_of(leaf, count, depth);
		present |= (uint16_t)(1u << tree_nibble(&leaf->key, depth));
		hash_place(leaf, group, depth + 1, &children[n++]);
		leaf += group;
		count -= group;
	}
	tree_node_hash(out, present, children);
}

/* Whether the record is there, reads, and is the one that is wanted. */
static int child_at(struct rebuild *b, uint64_t version, const struct hash *path,
		    unsigned depth, const struct hash *want)
{
	struct tree_node *n;
	struct hash hash;
	int err = node_load(&b->tree, version, path, depth, &n);
	if (err)
		return err;
	tree_hash(&hash, n);
	tree_drop(&b->tree, n);
	return hash_equal(&hash, want) ? ERR_NONE : ERR_BAD_HASH;
}

#define VERSIONS_TRIED	      4096
#define VERSIONS_TRIED_IN_ALL (4 * VERSIONS_TRIED) /* then the likeliest one has to do */

/* The version of a child's record: that of its newest leaf, or one at which a leaf went. A
 * record on which others rest may hash to the same as a later one, which leads to what is there
 * today: so the newest one counts, unless it reads and is another. False: it is damaged as
 * well; then the version is the likeliest. */
static bool find_child(struct rebuild *b, const struct under *leaf, uint32_t count,
		       unsigned depth, uint64_t highest, const struct hash *want, uint64_t *out)
{
	uint64_t low = 0, last = highest;
	bool any = false, right = false;
	for (uint32_t i = 0; i < count; i++)
		low = leaf[i].version > low ? leaf[i].version : low;
	*out = low;
	for (uint64_t v = low; v <= last; v++) {
		if (!right && v - low == VERSIONS_TRIED && v < highest)
			v = highest;
		int err = child_at(b, v, &leaf->key, depth, want);
		if (err == ERR_NONE || err == ERR_CORRUPT || (err == ERR_BAD_HASH && !any)) {
			*out = v;
			any = true;
		}
		if (err == ERR_NONE || err == ERR_CORRUPT) {
			right = err == ERR_NONE;
			if (highest - v > TREE_BASE_AGE_MAX)
				last = v + TREE_BASE_AGE_MAX;
		}
		if (b->tries == 0)
			break;
		b->tries--;
	}
	return right;
}

/* The record, whole, as tree_store.c has it, and those of damaged nodes below it. Recursion is
 * at most TREE_DEPTH_MAX deep. */
static void put_rebuilt(struct rebuild *b, const struct under *leaf, uint32_t count,
			unsigned depth, uint64_t version, struct store_batch *batch)
{
	struct writer w = {0};
	uint8_t key[NODE_KEY_MAX];
	uint16_t present = 0, leaves = 0;
	const struct hash *path = &leaf->key;
	writer_u32(&w, 0);
	while (count > 0) {
		uint32_t group = group_of(leaf, count, depth);
		uint16_t bit = (uint16_t)(1u << tree_nibble(&leaf->key, depth));
		uint64_t child = leaf->version;
		struct hash hash;
		present |= bit;
		if (group == 1) {
			leaves |= bit;
			writer_hash(&w, &leaf->key);
			writer_hash(&w, &leaf->value_hash);
		} else {
			hash_under(leaf, group, depth + 1, &hash);
			writer_hash(&w, &hash);
			if (!find_child(b, leaf, group, depth + 1, version, &hash, &child))
				put_rebuilt(b, leaf, group, depth + 1, child, batch);
		}
		writer_u64(&w, child);
		leaf += group;
		count -= group;
	}
	w.buf[0] = (uint8_t)(present >> 8);
	w.buf[1] = (uint8_t)present;
	w.buf[2] = (uint8_t)(leaves >> 8);
	w.buf[3] = (uint8_t)leaves;
	store_batch_put(batch, STORE_TREE, node_key(key, version, path, depth),
			writer_slice(&w));
	writer_free(&w);
}

int mend_node(struct store *s, const struct mend_record *rec, struct store_batch *batch)
{
	struct rebuild b = {.tries = VERSIONS_TRIED_IN_ALL};
	struct hash hash;
	invariant(rec->family == STORE_TREE && !rec->list);
	tree_init(&b.tree, s, 0);
	int err = gather_under(&b, s, rec);
	if (!err) {
		hash_under(b.leaf, b.count, rec->depth, &hash);
		err = b.count && hash_equal(&hash, &rec->want) ? ERR_NONE : ERR_NOT_FOUND;
	}
	if (!err)
		put_rebuilt(&b, b.leaf, b.count, rec->depth, rec->version, batch);
	mem_free(b.leaf);
	tree_close(&b.tree);
	return err;
}

int mend_newest(struct store *s, const struct hash *key, uint64_t at, uint64_t *version)
{
	uint8_t from[TREE_VALUE_KEY_SIZE], to[TREE_VALUE_KEY_SIZE];
	struct slice found, value;
	tree_value_key(from, key, 0);
	tree_value_key(to, key, at == UINT64_MAX ? at : at + 1);
	struct store_iter *it = store_iter_new(s, STORE_STATE, slice_of(from, sizeof from),
					       slice_of(to, sizeof to), true);
	int err = ERR_NONE;
	if (store_iter_next(it, &found, &value) && found.len == TREE_VALUE_KEY_SIZE)
		*version = load_be64(found.ptr + HASH_SIZE);
	else
		err = store_iter_error(it) ? store_iter_error(it) : ERR_NOT_FOUND;
	store_iter_free(it);
	return err;
}

/* Whether a node is there as it is to be, in whatever kind of record. */
static bool same_node(struct tree *t, const struct store_op *op)
{
	struct mend_record rec;
	struct tree_node *n;
	if (op->family != STORE_TREE || !mend_record_of(op->family, op->key, &rec) ||
	    rec.list || node_load(t, rec.version, &rec.key, rec.depth, &n))
		return false;
	bool same = slice_equal(node_whole(t, n, rec.version), op->value);
	tree_drop(t, n);
	return same;
}

bool mend_differs(struct store *s, const struct store_batch *batch)
{
	struct tree t;
	struct writer have = {0};
	struct store_op op;
	size_t offset = 0;
	bool differs = false;
	tree_init(&t, s, 0);
	while (!differs && store_batch_next(batch, &offset, &op)) {
		int err = store_get(s, op.family, op.key, &have);
		if (op.is_delete)
			differs = err != ERR_NOT_FOUND;
		else if (err || !slice_equal(writer_slice(&have), op.value))
			differs = err || !same_node(&t, &op);
	}
	writer_free(&have);
	tree_close(&t);
	return differs;
}

/* Whether the record is there and cannot be made sense of: not only now, but by what it holds.
 */
static bool is_rubbish(struct tree *t, const struct mend_record *rec)
{
	uint8_t buf[MEND_KEY_MAX];
	struct tree_node *n;
	if (store_get(t->store, STORE_TREE, mend_key(rec, buf), &t->scratch))
		return false;
	int err = node_read(t, writer_slice(&t->scratch), rec->version, &rec->key, rec->depth,
			    &n);
	if (!err)
		tree_drop(t, n);
	return err == ERR_CORRUPT;
}

bool mend_base(struct store *s, const struct mend_record *rec, struct store_batch *batch)
{
	struct tree t;
	uint8_t buf[MEND_KEY_MAX];
	invariant(rec->family == STORE_TREE && !rec->list);
	tree_init(&t, s, 0);
	bool rubbish = is_rubbish(&t, rec);
	for (uint64_t age = 1; age <= TREE_BASE_AGE_MAX && rubbish; age++) {
		struct mend_record newer = *rec;
		struct tree_node *n;
		newer.version += age;
		int err = node_load(&t, newer.version, &rec->key, rec->depth, &n);
		if (err)
			rubbish = err == ERR_NOT_FOUND || err == ERR_CORRUPT;
		else if (n->age == age)
			store_batch_put(batch, STORE_TREE, mend_key(&newer, buf),
					node_whole(&t, n, newer.version));
		if (!err)
			tree_drop(&t, n);
	}
	if (rubbish)
		store_batch_delete(batch, STORE_TREE, mend_key(rec, buf));
	else
		store_batch_clear(batch);
	tree_close(&t);
	return rubbish;
}

bool mend_puts(const struct store_batch *batch, enum store_family f, struct slice key)
{
	struct store_op op;
	size_t offset = 0;
	while (store_batch_next(batch, &offset, &op))
		if (!op.is_delete && op.family == f && slice_equal(op.key, key))
			return true;
	return false;
}
