#include "ledger/stage.h"

#include "ledger/private.h"
#include "ledger/tree_private.h"

bool stage_leaf_modes(const struct range_leaf *leaf, struct mode_state *out, int *err)
{
	if (!slice_equal(leaf->state_key, state_key_modes()))
		return false;
	*err = modes_decode(leaf->value, out);
	return true;
}

void stage_put(struct tree *t, struct store_batch *batch, const struct range_leaf *leaf,
	       uint64_t height)
{
	tree_write_value(t, &leaf->key, leaf->state_key, height, leaf->value, batch);
}

/* ---- building the nodes ------------------------------------------------------------------ */

struct open_child {
	bool leaf;
	struct hash hash;	/* of a node; of a leaf's key */
	struct hash value_hash; /* of a leaf */
};
/* The node at a depth on the path of the newest leaf. */
struct open_node {
	uint16_t present, leaves;
	struct open_child child[16];
};
struct stage_build {
	struct store *store;
	struct store_batch *batch;
	struct writer scratch;
	uint64_t height;
	uint8_t from[TREE_VALUE_KEY_SIZE]; /* the next record to look at */
	bool ended;
	/* the newest leaf, which has no place yet: that depends on the next one */
	bool has_leaf;
	struct hash key, value_hash;
	unsigned shared; /* nibbles that it shares with the one before it */
	unsigned depth;	 /* of the deepest open node */
	struct open_node node[TREE_DEPTH_MAX];
	uint64_t keys;
	struct hash root;
};

struct stage_build *stage_build_new(struct store *s, uint64_t height)
{
	struct stage_build *b = mem_zalloc(sizeof(*b));
	b->store = s;
	b->height = height;
	b->batch = store_batch_new();
	return b;
}

void stage_build_free(struct stage_build *b)
{
	if (!b)
		return;
	store_batch_free(b->batch);
	writer_free(&b->scratch);
	mem_free(b);
}

const struct hash *stage_build_root(const struct stage_build *b)
{
	return &b->root;
}

uint64_t stage_build_keys(const struct stage_build *b)
{
	return b->keys;
}

/* The record, as tree_store.c has it, and the hash. */
static void put_node(struct stage_build *b, unsigned depth, struct hash *hash)
{
	const struct open_node *n = &b->node[depth];
	struct hash children[16];
	uint8_t key[NODE_KEY_MAX];
	struct writer *w = &b->scratch;
	unsigned count = 0;
	writer_reset(w);
	writer_u16(w, n->present);
	writer_u16(w, n->leaves);
	for (unsigned left = n->present; left; left &= left - 1) {
		const struct open_child *c = &n->child[tree_lowest(left)];
		writer_hash(w, &c->hash);
		if (c->leaf) {
			writer_hash(w, &c->value_hash);
			tree_leaf_hash(&children[count++], &c->hash, &c->value_hash);
		} else {
			children[count++] = c->hash;
		}
		writer_u64(w, b->height);
	}
	tree_node_hash(hash, n->present, children);
	store_batch_put(b->batch, STORE_TREE, node_key(key, b->height, &b->key, depth),
			writer_slice(w));
}

static void set_child(struct stage_build *b, unsigned depth, const struct open_child *c)
{
	struct open_node *n = &b->node[depth];
	unsigned nibble = tree_nibble(&b->key, depth);
	n->present |= (uint16_t)(1u << nibble);
	if (c->leaf)
		n->leaves |= (uint16_t)(1u << nibble);
	n->child[nibble] = *c;
}

/* Nodes deeper than this one have all their children. */
static void close_below(struct stage_build *b, unsigned depth)
{
	for (; b->depth > depth; b->depth--) {
		struct open_child c = {.leaf = false};
		put_node(b, b->depth, &c.hash);
		set_child(b, b->depth - 1, &c);
	}
}

/* The newest leaf gets its place, as high as it can be: below the nodes that it shares with its
 * neighbours. */
static void place_leaf(struct stage_build *b, unsigned shared_with_next)
{
	unsigned depth = b->shared > shared_with_next ? b->shared : shared_with_next;
	struct open_child c = {.leaf = true, .hash = b->key, .value_hash = b->value_hash};
	while (b->depth < depth) {
		struct open_node *n = &b->node[++b->depth];
		n->present = n->leaves = 0;
	}
	set_child(b, depth, &c);
	close_below(b, shared_with_next);
	b->has_leaf = false;
}

static unsigned shared_nibbles(const struct hash *a, const struct hash *b)
{
	unsigned d = 0;
	while (d < TREE_DEPTH_MAX && tree_nibble(a, d) == tree_nibble(b, d))
		d++;
	return d;
}

static int add_leaf(struct stage_build *b, const struct hash *key, struct slice record)
{
	struct slice state_key, value;
	if (!tree_record_read(record, &state_key, &value))
		return ERR_CORRUPT;
	unsigned shared = 0;
	if (b->has_leaf) {
		shared = shared_nibbles(&b->key, key);
		if (shared >= TREE_DEPTH_MAX)
			return ERR_CORRUPT;
		place_leaf(b, shared);
	}
	b->key = *key;
	b->shared = shared;
	tree_value_hash(&b->value_hash, value);
	b->has_leaf = true;
	b->keys++;
	return ERR_NONE;
}

static int finish(struct stage_build *b)
{
	if (b->has_leaf)
		place_leaf(b, 0);
	close_below(b, 0);
	put_node(b, 0, &b->root);
	return ERR_NONE;
}

static bool key_after(uint8_t key[TREE_VALUE_KEY_SIZE])
{
	for (unsigned i = TREE_VALUE_KEY_SIZE; i-- > 0;)
		if (++key[i])
			return true;
	return false;
}

int stage_build_step(struct stage_build *b, uint32_t records, bool *done)
{
	const struct slice none = {0};
	struct slice key, value;
	int err = ERR_NONE;
	*done = false;
	store_batch_clear(b->batch);
	struct store_iter *it = store_iter_new(b->store, STORE_STATE,
					       slice_of(b->from, sizeof(b->from)), none, false);
	for (; records > 0 && !err; records--) {
		if (!store_iter_next(it, &key, &value)) {
			err = store_iter_error(it);
			*done = err == ERR_NONE;
			break;
		}
		if (key.len != TREE_VALUE_KEY_SIZE) {
			err = ERR_CORRUPT;
			break;
		}
		struct hash key_hash;
		memcpy(key_hash.b, key.ptr, HASH_SIZE);
		if (load_be64(key.ptr + HASH_SIZE) == b->height)
			err = add_leaf(b, &key_hash, value);
		memcpy(b->from, key.ptr, sizeof(b->from));
		if (!key_after(b->from)) {
			*done = true;
			break;
		}
	}
	store_iter_free(it);
	if (!err && *done)
		err = finish(b);
	return err ? err : store_write(b->store, b->batch, false);
}

void stage_install(struct store_batch *batch, const struct chain_ctx *ctx, uint64_t height,
		   const struct hash *block, const struct hash *root, uint64_t keys)
{
	struct writer scratch = {0};
	const struct ledger_meta meta = {.height = height,
					 .block = *block,
					 .root = *root,
					 .keys = keys,
					 .oldest = height};
	meta_put(&scratch, batch, ctx, &meta);
	writer_free(&scratch);
}

/* ---- sweeping ---------------------------------------------------------------------------- */

static const enum store_family swept[] = {STORE_TREE, STORE_STATE, STORE_TXINDEX};

static bool is_rubbish(const struct stage_sweep *w, enum store_family f, struct slice key,
		       struct slice value)
{
	uint64_t version;
	if (f == STORE_TXINDEX) {
		uint64_t height = value.len >= 8 ? load_be64(value.ptr) : w->index_from;
		return w->exact ? height > w->index_from : height < w->index_from;
	}
	if (f == STORE_TREE && key.len >= 8)
		version = load_be64(key.ptr);
	else if (f == STORE_STATE && key.len == TREE_VALUE_KEY_SIZE)
		version = load_be64(key.ptr + HASH_SIZE);
	else
		return false;
	return w->exact ? version == w->height : version < w->height;
}

/* Node records lie in the order of their versions: the others need not be looked at. */
static void narrow(const struct stage_sweep *w, uint8_t low[8], uint8_t high[8],
		   struct slice *from, struct slice *to)
{
	if (w->exact && !from->len) {
		store_be64(low, w->height);
		*from = slice_of(low, 8);
	}
	store_be64(high, w->exact ? w->height + 1 : w->height);
	*to = slice_of(high, 8);
}

int stage_sweep_step(struct store *s, struct stage_sweep *w, uint32_t records, bool *done)
{
	uint8_t low[8], high[8];
	struct slice from = slice_of(w->from, w->from_len), to = {0}, key, value;
	*done = w->family >= MEM_COUNT(swept);
	if (*done)
		return ERR_NONE;
	enum store_family f = swept[w->family];
	if (f == STORE_TREE)
		narrow(w, low, high, &from, &to);
	struct store_batch *batch = store_batch_new();
	struct store_iter *it = store_iter_new(s, f, from, to, false);
	bool more = true;
	while (records-- > 0 && more) {
		more = store_iter_next(it, &key, &value);
		if (!more)
			break;
		if (is_rubbish(w, f, key, value))
			store_batch_delete(batch, f, key);
		w->from_len = key.len < sizeof(w->from) ? key.len : sizeof(w->from);
		memcpy(w->from, key.ptr, w->from_len);
	}
	int err = more ? ERR_NONE : store_iter_error(it);
	store_iter_free(it);
	if (!err && store_batch_count(batch))
		err = store_write(s, batch, false);
	store_batch_free(batch);
	if (!err && !more) {
		w->family++;
		w->from_len = 0;
		*done = w->family >= MEM_COUNT(swept);
	}
	return err;
}
