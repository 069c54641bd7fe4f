/* Node records: what of the tree is on disk. */
#include "base/mem.h"
#include "ledger/tree_private.h"

#define LEAF_SLOT_SIZE (2 * HASH_SIZE + 8)
#define NODE_SLOT_SIZE (HASH_SIZE + 8)
#define NODE_HEAD_SIZE 4

struct slice node_key(uint8_t buf[NODE_KEY_MAX], uint64_t version, const struct hash *path,
		      unsigned depth)
{
	size_t len = (depth + 1) / 2;
	store_be64(buf, version);
	buf[8] = (uint8_t)depth;
	memcpy(buf + 9, path->b, HASH_SIZE); /* of known length it is no call */
	if (depth & 1)
		buf[9 + len - 1] &= 0xf0;
	return slice_of(buf, 9 + len);
}

void tree_stale_root(struct writer *stale, uint64_t version)
{
	static const struct hash no_path;
	uint8_t buf[NODE_KEY_MAX];
	writer_u8(stale, STORE_TREE);
	writer_var(stale, node_key(buf, version, &no_path, 0));
}

void tree_stale_value(struct writer *stale, const struct hash *key, uint64_t version)
{
	uint8_t buf[TREE_VALUE_KEY_SIZE];
	tree_value_key(buf, key, version);
	writer_u8(stale, STORE_STATE);
	writer_var(stale, slice_of(buf, sizeof(buf)));
}

static size_t node_record_size(const struct tree_node *n)
{
	size_t all = tree_bits(n->present), leaves = tree_bits(n->leaves);
	return NODE_HEAD_SIZE + leaves * LEAF_SLOT_SIZE + (all - leaves) * NODE_SLOT_SIZE;
}

/* Both return which children are of this version; the first for nodes above all leaves, as most
 * of those are that change with every block. */
static unsigned children_encode(uint8_t *p, const struct tree_node *n, uint64_t version)
{
	const struct tree_slot *s = n->slot;
	unsigned count = tree_bits(n->present), places = 0, of_version = 0;

	for (unsigned i = 0; i < count; i++, s++, p += NODE_SLOT_SIZE) {
		memcpy(p, s->hash.b, HASH_SIZE);
		store_be64(p + HASH_SIZE, s->version);
		places |= (unsigned)(s->version == version) << i;
	}
	if (count == 16)
		return places;
	for (unsigned left = n->present; left; left &= left - 1, places >>= 1)
		of_version |= (places & 1) << tree_lowest(left);
	return of_version;
}

static unsigned mixed_encode(uint8_t *p, const struct tree_node *n, uint64_t version)
{
	const struct tree_slot *s = n->slot;
	unsigned of_version = 0;

	for (unsigned left = n->present; left; left &= left - 1, s++) {
		unsigned i = tree_lowest(left);
		if (slot_is_leaf(n, i)) {
			memcpy(p, s->leaf->key.b, HASH_SIZE);
			memcpy(p + HASH_SIZE, s->leaf->value_hash.b, HASH_SIZE);
			p += LEAF_SLOT_SIZE;
		} else {
			memcpy(p, s->hash.b, HASH_SIZE);
			p += NODE_SLOT_SIZE;
		}
		store_be64(p - sizeof(s->version), s->version);
		of_version |= (unsigned)(s->version == version) << i;
	}
	return of_version;
}

/* The hottest encoding of all: filled in by hand. */
static unsigned node_encode(uint8_t *p, const struct tree_node *n, uint64_t version)
{
	p[0] = (uint8_t)(n->present >> 8);
	p[1] = (uint8_t)n->present;
	p[2] = (uint8_t)(n->leaves >> 8);
	p[3] = (uint8_t)n->leaves;
	p += NODE_HEAD_SIZE;
	return n->leaves ? mixed_encode(p, n, version) : children_encode(p, n, version);
}

static void slot_decode(struct tree *t, struct reader *r, struct tree_slot *s, bool is_leaf)
{
	struct hash key, value_hash;
	s->node = NULL;
	if (is_leaf) {
		reader_hash(r, &key);
		reader_hash(r, &value_hash);
		tree_leaf_hash(&s->hash, &key, &value_hash);
		s->leaf = leaf_new(t, &key, &value_hash);
	} else {
		reader_hash(r, &s->hash);
	}
	s->version = reader_u64(r);
}

int node_decode(struct tree *t, struct slice record, uint64_t version, struct tree_node **out)
{
	struct reader r;
	reader_init(&r, record);
	uint16_t present = reader_u16(&r), leaves = reader_u16(&r);
	if (r.err || (leaves & ~present) != 0)
		return ERR_CORRUPT;
	struct tree_node *n = node_new(t, present, leaves);
	struct tree_slot *s = n->slot;
	for (unsigned i = 0; i < 16; i++) {
		if (!slot_present(n, i))
			continue;
		slot_decode(t, &r, s, slot_is_leaf(n, i));
		if (s->version > version)
			reader_fail(&r, ERR_CORRUPT);
		s++;
	}
	if (reader_finish(&r)) {
		tree_drop(t, n);
		return ERR_CORRUPT;
	}
	*out = n;
	return ERR_NONE;
}

int node_load(struct tree *t, uint64_t version, const struct hash *path, unsigned depth,
	      struct tree_node **out)
{
	uint8_t buf[NODE_KEY_MAX];
	struct slice key = node_key(buf, version, path, depth);
	int err = store_get(t->store, STORE_TREE, key, &t->scratch);
	t->reads++;
	return err ? err : node_decode(t, writer_slice(&t->scratch), version, out);
}

int node_child(struct tree *t, struct tree_node *n, unsigned i, const struct hash *key,
	       unsigned depth, struct tree_node **out)
{
	struct tree_slot *s = &n->slot[i];
	struct tree_node *child;
	struct hash h;
	if (s->node) {
		*out = s->node;
		return ERR_NONE;
	}
	int err = node_load(t, s->version, key, depth, &child);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	tree_hash(&h, child);
	if (!hash_equal(&h, &s->hash)) {
		tree_drop(t, child);
		return ERR_CORRUPT;
	}
	node_set_child(n, i, child);
	*out = child;
	return ERR_NONE;
}

int tree_load_root(struct tree *t, uint64_t version, struct tree_node **out, struct hash *hash)
{
	static const struct hash no_path;
	int err = node_load(t, version, &no_path, 0, out);
	if (!err)
		tree_hash(hash, *out);
	return err;
}

/* A node whose record is still to be written, and where it lies. */
struct unwritten {
	const struct tree_node *node;
	struct hash path;
};

static void set_nibble(struct hash *path, unsigned depth, unsigned i)
{
	uint8_t *b = &path->b[depth / 2];
	*b = (uint8_t)(depth & 1 ? (*b & 0xf0) | i : i << 4);
}

/* Its record; its children of this version behind the count that there are. */
static uint32_t write_node(struct tree *t, const struct unwritten *u, uint64_t version,
			   unsigned depth, struct store_batch *batch, struct unwritten *below)
{
	const struct tree_node *n = u->node;
	uint8_t buf[NODE_KEY_MAX];
	uint32_t count = 0;
	unsigned changed = node_encode(
		store_batch_put_room(batch, STORE_TREE, node_key(buf, version, &u->path, depth),
				     node_record_size(n)),
		n, version);
	changed &= (unsigned)(n->present & ~n->leaves);
	t->writes++;
	for (unsigned left = changed; left; left &= left - 1) {
		unsigned i = tree_lowest(left);
		below[count].node = n->slot[tree_index(n->present, i)].node;
		below[count].path = u->path;
		set_nibble(&below[count].path, depth, i);
		node_prefetch(below[count++].node);
	}
	return count;
}

/* Level by level, which is the order of their keys: the store finds the place of a key that
 * follows the one before it at once, and has to search for that of any other. */
void tree_write(struct tree *t, const struct tree_node *root, uint64_t version,
		struct store_batch *batch)
{
	uint32_t count = 1, cap = 0, below_cap = 0;
	struct unwritten *level = NULL, *below = NULL;
	struct unwritten first = {.node = root};
	for (unsigned depth = 0; count > 0; depth++) {
		const struct unwritten *now = depth ? level : &first;
		uint32_t found = 0;
		if (below_cap < 16 * count) {
			below_cap = 16 * count;
			below = mem_realloc(below, below_cap * sizeof(*below));
		}
		for (uint32_t i = 0; i < count; i++)
			found += write_node(t, &now[i], version, depth, batch, below + found);
		struct unwritten *spare = level;
		uint32_t spare_cap = cap;
		level = below;
		cap = below_cap;
		below = spare;
		below_cap = spare_cap;
		count = found;
	}
	mem_free(level);
	mem_free(below);
}
