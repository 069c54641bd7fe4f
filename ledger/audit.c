#include "ledger/audit.h"

#include <inttypes.h>

#include "ledger/private.h"
#include "ledger/tree_private.h"

#define AUDIT_CACHE_BYTES (16u << 20)
#define LIST_MARK	  0xff /* prune.c */

struct audit {
	struct store *store;
	const struct audit_host *host;
	struct ledger_audit *out;
	struct tree tree;
	struct tree_node *newest; /* root of the newest state; NULL: it cannot be read */
	struct tree_node *other;  /* that of another version, looked at last */
	uint64_t other_version;
	uint64_t roots; /* records of readable states */
	uint64_t live;	/* values that the newest state has */
	/* Values that readable states have, by the tree and on disk. A value of a version from
	 * the oldest on is named once by the nodes of that version; older ones by the oldest
	 * state. */
	uint64_t expected, seen;
	struct map seen_ids;
	bool collect; /* a value is missing: which? Ids of those seen are kept */
	bool name;    /* those expected and not seen are found() */
	struct writer last;
};

static int closed(struct errmsg *m)
{
	return err_set(m, ERR_CLOSED, "interrupted");
}

const char audit_unreadable[] = "the records after this one cannot be read";

void audit_iter_end(const struct audit_host *host, const struct store_iter *it,
		    enum store_family f, const struct writer *after)
{
	int err = store_iter_error(it);
	if (err)
		host->found(host->arg, f, writer_slice(after), store_iter_file(it), err,
			    audit_unreadable);
}

static void remember(struct writer *last, struct slice key)
{
	writer_reset(last);
	writer_raw(last, key.ptr, key.len);
}

/* ---- the tree ---------------------------------------------------------------------------- */

static void set_nibble(struct hash *path, unsigned depth, unsigned i)
{
	uint8_t *b = &path->b[depth / 2];
	*b = (uint8_t)(depth & 1 ? (*b & 0xf0) | i : i << 4);
}

/* The node, at this path, to which a slot leads, even if it is another one than it should be:
 * then ERR_BAD_HASH; or NULL. */
static int load_child(struct audit *a, const struct tree_slot *s, const struct hash *path,
		      unsigned depth, struct tree_node **out)
{
	struct hash h;
	*out = NULL;
	int err = node_load(&a->tree, s->version, path, depth, out);
	if (err)
		return err;
	tree_hash(&h, *out);
	return hash_equal(&h, &s->hash) ? ERR_NONE : ERR_BAD_HASH;
}

static void found_child(struct audit *a, const struct tree_slot *s, const struct hash *path,
			unsigned depth, int err)
{
	uint8_t buf[NODE_KEY_MAX];
	a->host->found(a->host->arg, STORE_TREE, node_key(buf, s->version, path, depth),
		       s->version, err,
		       "the node, to which another leads, is missing or damaged");
}

static void check_child(struct audit *a, struct slice key, uint64_t version,
			const struct tree_slot *s, struct hash path, unsigned depth, unsigned i)
{
	struct tree_node *child;
	if (depth + 1 >= TREE_DEPTH_MAX) {
		a->host->found(a->host->arg, STORE_TREE, key, version, ERR_CORRUPT,
			       "a node lies deeper than the tree is");
		return;
	}
	set_nibble(&path, depth, i);
	int err = load_child(a, s, &path, depth + 1, &child);
	if (child)
		tree_drop(&a->tree, child);
	if (err)
		found_child(a, s, &path, depth + 1, err);
}

static void check_root(struct audit *a, struct slice key, uint64_t version,
		       const struct tree_node *n)
{
	struct hash want, have;
	if (version < a->out->oldest || version > a->out->height)
		return;
	a->roots++;
	tree_hash(&have, n);
	if (a->host->root_at(a->host->arg, version, &want) && !hash_equal(&want, &have))
		a->host->found(a->host->arg, STORE_TREE, key, version, ERR_BAD_STATE_ROOT,
			       "the state's root is not the one in the block");
}

static void value_id(struct hash *out, const struct hash *key, uint64_t version)
{
	uint8_t buf[HASH_SIZE + 8];
	memcpy(buf, key->b, HASH_SIZE);
	store_be64(buf + HASH_SIZE, version);
	sha256(out, buf, sizeof buf);
}

static void expect_value(struct audit *a, const struct tree_slot *s)
{
	struct hash id;
	a->expected++;
	if (!a->name)
		return;
	value_id(&id, &s->leaf->key, s->version);
	if (!map_get(&a->seen_ids, id.b)) {
		uint8_t key[TREE_VALUE_KEY_SIZE];
		tree_value_key(key, &s->leaf->key, s->version);
		a->host->found(a->host->arg, STORE_STATE, slice_of(key, sizeof key), s->version,
			       ERR_NOT_FOUND, "the value is missing");
	}
}

/* Not the ledger's yet, or any more. */
static bool is_apart(const struct audit *a, uint64_t version)
{
	return (a->host->staged && version == a->host->staged) ||
	       version < a->host->swept_below;
}

/* Where a node lies; false: this is no node's key. */
static bool key_read(struct slice key, struct hash *path, unsigned *depth)
{
	*path = (struct hash){0};
	*depth = key.ptr[8];
	if (*depth >= TREE_DEPTH_MAX || key.len != 9 + (*depth + 1) / 2)
		return false;
	memcpy(path->b, key.ptr + 9, key.len - 9);
	return true;
}

/* bytes: what was read for it in all. Of nodes below the oldest state only those that are part
 * of it have all that they lead to: check_oldest() comes to them. Others are bases of newer
 * records, or are to be pruned. */
static void check_node(struct audit *a, struct slice key, struct slice value, size_t *bytes)
{
	uint64_t version = load_be64(key.ptr);
	unsigned depth;
	struct hash path;
	struct tree_node *n;
	if (!key_read(key, &path, &depth)) {
		a->host->found(a->host->arg, STORE_TREE, key, version, ERR_CORRUPT,
			       "this is no node's key");
		return;
	}
	int err = node_read(&a->tree, value, version, &path, depth, &n);
	if (err) {
		a->host->found(a->host->arg, STORE_TREE, key, version, err,
			       "the node is damaged, or the older one that it rests on");
		return;
	}
	a->out->nodes++;
	if (n->age)
		*bytes += a->tree.base.len;
	if (depth == 0)
		check_root(a, key, version, n);
	const struct tree_slot *s = n->slot;
	for (unsigned i = 0; i < 16 && version >= a->out->oldest; i++) {
		if (!slot_present(n, i))
			continue;
		if (!slot_is_leaf(n, i))
			check_child(a, key, version, s, path, depth, i);
		else if (s->version == version)
			expect_value(a, s);
		s++;
	}
	tree_drop(&a->tree, n);
}

static void check_list(struct audit *a, struct slice key, struct slice list)
{
	if (!ledger_list_reads(list))
		a->host->found(a->host->arg, STORE_TREE, key, load_be64(key.ptr), ERR_CORRUPT,
			       "the list of what is to be pruned is damaged");
}

static int check_tree(struct audit *a, struct errmsg *m)
{
	static const struct hash no_path;
	const struct slice none = {0};
	struct slice key, value;
	int err = ERR_NONE;
	struct store_iter *it = store_iter_new(a->store, STORE_TREE, none, none, false);
	while (!err && store_iter_next(it, &key, &value)) {
		size_t bytes = key.len + value.len;
		remember(&a->last, key);
		if (key.len < 9)
			a->host->found(a->host->arg, STORE_TREE, key, UINT64_MAX, ERR_CORRUPT,
				       "this is no node's key");
		else if (is_apart(a, load_be64(key.ptr)))
			; /* nothing leads to it */
		else if (key.ptr[8] == LIST_MARK && key.len == 9)
			check_list(a, key, value);
		else
			check_node(a, key, value, &bytes);
		if (!a->host->pace(a->host->arg, bytes))
			err = closed(m);
	}
	audit_iter_end(a->host, it, STORE_TREE, &a->last);
	store_iter_free(it);
	if (err || a->roots == a->out->height - a->out->oldest + 1)
		return err;
	for (uint64_t v = a->out->oldest; v <= a->out->height; v++) {
		uint8_t buf[NODE_KEY_MAX];
		struct tree_node *n;
		err = node_load(&a->tree, v, &no_path, 0, &n);
		if (!err)
			tree_drop(&a->tree, n);
		else
			a->host->found(a->host->arg, STORE_TREE, node_key(buf, v, &no_path, 0),
				       v, err, "the state's root is missing or damaged");
	}
	return ERR_NONE;
}

/* ---- values ------------------------------------------------------------------------------ */

static struct tree_node *root_of(struct audit *a, uint64_t version)
{
	struct hash hash;
	if (version == a->out->height)
		return a->newest;
	if (a->other && a->other_version == version)
		return a->other;
	if (a->other)
		tree_drop(&a->tree, a->other);
	a->other = NULL;
	if (tree_load_root(&a->tree, version, &a->other, &hash))
		a->other = NULL; /* found already */
	a->other_version = version;
	return a->other;
}

/* Whether this state has this very value under this key. ERR_NOT_FOUND: it has not. */
static int has_value(struct audit *a, struct tree_node *root, const struct hash *key,
		     uint64_t version, const struct hash *value_hash)
{
	struct tree_leaf *leaf;
	uint64_t at;
	int err = tree_find(&a->tree, root, key, &leaf, &at);
	if (err)
		return err;
	if (!leaf || at != version)
		return ERR_NOT_FOUND;
	return hash_equal(&leaf->value_hash, value_hash) ? ERR_NONE : ERR_BAD_HASH;
}

static void check_value(struct audit *a, struct slice record_key, struct slice record)
{
	struct slice value;
	struct hash key, value_hash;
	struct slice state_key;
	if (record_key.len != TREE_VALUE_KEY_SIZE) {
		a->host->found(a->host->arg, STORE_STATE, record_key, UINT64_MAX, ERR_CORRUPT,
			       "this is no value's key");
		return;
	}
	uint64_t version = load_be64(record_key.ptr + HASH_SIZE);
	uint64_t first = version < a->out->oldest ? a->out->oldest : version;
	if (is_apart(a, version))
		return;
	bool reads = tree_record_read(record, &state_key, &value);
	if (reads) {
		tree_key(&key, state_key);
		tree_value_hash(&value_hash, value);
	}
	if (!reads || memcmp(key.b, record_key.ptr, HASH_SIZE) != 0) {
		if (!a->collect)
			a->host->found(a->host->arg, STORE_STATE, record_key, version,
				       ERR_CORRUPT, "the value's record is damaged");
		return;
	}
	a->out->values++;
	struct tree_node *root = first <= a->out->height ? root_of(a, first) : NULL;
	int err = root ? has_value(a, root, &key, version, &value_hash) : ERR_NOT_FOUND;
	if (!err) {
		struct hash id;
		value_id(&id, &key, version);
		a->seen++;
		if (a->collect)
			map_put(&a->seen_ids, id.b, a);
	} else if (!a->collect) {
		a->host->found(a->host->arg, STORE_STATE, record_key, version, err,
			       "the value is not the one that the state has");
	}
	if (a->newest && !has_value(a, a->newest, &key, version, &value_hash))
		a->live++;
}

static int check_values(struct audit *a, struct errmsg *m)
{
	const struct slice none = {0};
	struct slice key, value;
	int err = ERR_NONE;
	struct store_iter *it = store_iter_new(a->store, STORE_STATE, none, none, false);
	a->live = a->seen = 0;
	while (!err && store_iter_next(it, &key, &value)) {
		remember(&a->last, key);
		check_value(a, key, value);
		if (tree_over_limit(&a->tree)) {
			if (a->newest)
				tree_trim(&a->tree, a->newest, UINT64_MAX);
			if (a->other)
				tree_drop(&a->tree, a->other);
			a->other = NULL;
		}
		if (!a->host->pace(a->host->arg, key.len + value.len))
			err = closed(m);
	}
	if (!a->collect)
		audit_iter_end(a->host, it, STORE_STATE, &a->last);
	store_iter_free(it);
	return err;
}

/* What the oldest state has from before: its nodes lead to the right ones, and its leaves are
 * expected. Recursion is at most TREE_DEPTH_MAX deep. */
static int check_old(struct audit *a, struct tree_node *n, uint64_t version, struct hash path,
		     unsigned depth)
{
	for (unsigned nibble = 0, i = 0; nibble < 16; nibble++) {
		if (!slot_present(n, nibble))
			continue;
		const struct tree_slot *s = &n->slot[i++];
		struct tree_node *child;
		if (slot_is_leaf(n, nibble)) {
			if (s->version < a->out->oldest)
				expect_value(a, s);
			continue;
		}
		if (depth + 1 >= TREE_DEPTH_MAX)
			continue;
		set_nibble(&path, depth, nibble);
		int err = load_child(a, s, &path, depth + 1, &child);
		if (err && version < a->out->oldest && !a->name)
			found_child(a, s, &path, depth + 1, err);
		if (!child)
			continue;
		bool on =
			a->host->pace(a->host->arg, slots_size(child->present, child->leaves));
		err = on ? check_old(a, child, s->version, path, depth + 1) : ERR_CLOSED;
		tree_drop(&a->tree, child);
		if (err)
			return err;
	}
	return ERR_NONE;
}

static int check_oldest(struct audit *a, struct errmsg *m)
{
	static const struct hash no_path;
	struct tree_node *n;
	if (a->out->oldest == 0 || node_load(&a->tree, a->out->oldest, &no_path, 0, &n))
		return ERR_NONE;
	int err = check_old(a, n, a->out->oldest, no_path, 0);
	tree_drop(&a->tree, n);
	return err ? closed(m) : ERR_NONE;
}

/* Fewer values are on disk than the states have: a second look says which. */
static int find_missing(struct audit *a, struct errmsg *m)
{
	const struct slice none = {0};
	struct slice key, value;
	uint64_t values = a->out->values, nodes = a->out->nodes;
	a->collect = true;
	int err = check_values(a, m);
	a->name = true;
	struct store_iter *it = store_iter_new(a->store, STORE_TREE, none, none, false);
	while (!err && store_iter_next(it, &key, &value)) {
		struct tree_node *n;
		struct hash path;
		unsigned depth;
		uint64_t version = key.len >= 9 ? load_be64(key.ptr) : 0;
		if (key.len < 9 || version < a->out->oldest || !key_read(key, &path, &depth) ||
		    node_read(&a->tree, value, version, &path, depth, &n))
			continue;
		const struct tree_slot *s = n->slot;
		for (unsigned i = 0; i < 16; i++) {
			if (!slot_present(n, i) || is_apart(a, version))
				continue;
			if (slot_is_leaf(n, i) && s->version == version)
				expect_value(a, s);
			s++;
		}
		tree_drop(&a->tree, n);
		if (!a->host->pace(a->host->arg, key.len + value.len))
			err = closed(m);
	}
	store_iter_free(it);
	if (!err)
		err = check_oldest(a, m);
	a->out->values = values;
	a->out->nodes = nodes;
	return err;
}

/* ---- the transaction index --------------------------------------------------------------- */

static int check_index(struct audit *a, struct errmsg *m)
{
	const struct slice none = {0};
	struct slice key, value;
	int err = ERR_NONE;
	struct store_iter *it = store_iter_new(a->store, STORE_TXINDEX, none, none, false);
	while (!err && store_iter_next(it, &key, &value)) {
		remember(&a->last, key);
		if (key.len != HASH_SIZE || value.len != 12 ||
		    (load_be64(value.ptr) > a->out->height && !a->host->staged))
			a->host->found(a->host->arg, STORE_TXINDEX, key, UINT64_MAX,
				       ERR_CORRUPT,
				       "the entry of the transaction index is damaged");
		else
			a->out->index_entries++;
		if (!a->host->pace(a->host->arg, key.len + value.len))
			err = closed(m);
	}
	audit_iter_end(a->host, it, STORE_TXINDEX, &a->last);
	store_iter_free(it);
	return err;
}

int ledger_audit_head(struct store *s, const struct chain_ctx *ctx, struct ledger_audit *out,
		      struct errmsg *m)
{
	struct ledger_meta meta;
	*out = (struct ledger_audit){0};
	int err = meta_get(s, ctx, &meta, m);
	if (err)
		return err;
	*out = (struct ledger_audit){.height = meta.height,
				     .oldest = meta.oldest,
				     .block = meta.block,
				     .root = meta.root,
				     .keys = meta.keys};
	if (meta.oldest > meta.height)
		return err_set(m, ERR_CORRUPT, "the ledger's first record is damaged");
	return ERR_NONE;
}

int ledger_audit(struct store *s, const struct chain_ctx *ctx, const struct audit_host *host,
		 struct ledger_audit *out, struct errmsg *m)
{
	struct hash hash;
	int err = ledger_audit_head(s, ctx, out, m);
	if (err)
		return err;
	struct audit *a = mem_zalloc(sizeof *a);
	a->store = s;
	a->host = host;
	a->out = out;
	map_init(&a->seen_ids, load_be64(ctx->id.b));
	tree_init(&a->tree, s, AUDIT_CACHE_BYTES);
	if (tree_load_root(&a->tree, out->height, &a->newest, &hash))
		a->newest = NULL; /* check_tree() says so */
	else if (!hash_equal(&hash, &out->root))
		host->found(host->arg, STORE_META, slice_str("ledger"), out->height,
			    ERR_BAD_STATE_ROOT, "the newest state's root is another");
	err = check_tree(a, m);
	if (!err)
		err = check_values(a, m);
	if (!err)
		err = check_oldest(a, m);
	if (!err && a->seen < a->expected)
		err = find_missing(a, m);
	else if (!err && a->newest && a->live != out->keys)
		host->found(host->arg, STORE_META, slice_str("ledger"), out->height,
			    ERR_CORRUPT,
			    "the number of keys is not the one that the state has");
	if (!err)
		err = check_index(a, m);
	if (a->newest)
		tree_drop(&a->tree, a->newest);
	if (a->other)
		tree_drop(&a->tree, a->other);
	tree_close(&a->tree);
	map_free(&a->seen_ids);
	writer_free(&a->last);
	mem_free(a);
	return err;
}
