/* Node records: what of the tree is on disk. A whole record has all children of a node. One
 * that rests on a base, an older whole record of the same place, has those that are newer than
 * that; all others are as the base has them, except for those that are gone. So a node is one
 * get or two, and a block that changes one child of sixteen writes little more than that. */
#include "base/mem.h"
#include "ledger/tree_private.h"

#define WHOLE_HEAD_SIZE	  4
#define CHANGES_HEAD_SIZE 12

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

static inline uint8_t *slot_encode(uint8_t *p, const struct tree_slot *s, bool is_leaf)
{
	if (is_leaf) {
		memcpy(p, s->leaf->key.b, HASH_SIZE);
		memcpy(p + HASH_SIZE, s->leaf->value_hash.b, HASH_SIZE);
		p += LEAF_SLOT_SIZE;
	} else {
		memcpy(p, s->hash.b, HASH_SIZE);
		p += NODE_SLOT_SIZE;
	}
	store_be64(p - sizeof(s->version), s->version);
	return p;
}

static unsigned mixed_encode(uint8_t *p, const struct tree_node *n, uint64_t version)
{
	const struct tree_slot *s = n->slot;
	unsigned of_version = 0;

	for (unsigned left = n->present; left; left &= left - 1, s++) {
		unsigned i = tree_lowest(left);
		p = slot_encode(p, s, slot_is_leaf(n, i));
		of_version |= (unsigned)(s->version == version) << i;
	}
	return of_version;
}

static void put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* The hottest encoding of all: filled in by hand. */
static unsigned whole_encode(uint8_t *p, const struct tree_node *n, uint64_t version)
{
	put_u16(p, n->present);
	put_u16(p + 2, n->leaves);
	p += WHOLE_HEAD_SIZE;
	return n->leaves ? mixed_encode(p, n, version) : children_encode(p, n, version);
}

static size_t whole_size(const struct tree_node *n)
{
	return WHOLE_HEAD_SIZE + slots_size(n->present, n->leaves);
}

struct slice node_whole(struct tree *t, const struct tree_node *n, uint64_t version)
{
	size_t size = whole_size(n);
	writer_reset(&t->scratch);
	whole_encode(writer_extend(&t->scratch, size), n, version);
	return writer_slice(&t->scratch);
}

static uint16_t newer_than(const struct tree_node *n, uint64_t base)
{
	const struct tree_slot *s = n->slot;
	unsigned newer = 0;
	for (unsigned left = n->present; left; left &= left - 1, s++)
		newer |= (unsigned)(s->version > base) << tree_lowest(left);
	return (uint16_t)newer;
}

/* First what no whole record begins with, a leaf where there is no child; then what has changed. */
static unsigned changes_encode(uint8_t *p, const struct tree_node *n, uint16_t changed,
			       uint64_t version)
{
	unsigned of_version = 0;
	put_u16(p, 0);
	put_u16(p + 2, changed);
	put_u16(p + 4, (uint16_t)(n->age >> 16));
	put_u16(p + 6, (uint16_t)n->age);
	put_u16(p + 8, n->present);
	put_u16(p + 10, n->leaves);
	p += CHANGES_HEAD_SIZE;
	for (unsigned left = changed; left; left &= left - 1) {
		unsigned i = tree_lowest(left);
		const struct tree_slot *s = &n->slot[tree_index(n->present, i)];
		p = slot_encode(p, s, slot_is_leaf(n, i));
		of_version |= (unsigned)(s->version == version) << i;
	}
	return of_version;
}

/* Puts n's record; returns which children are of its version. */
static unsigned put_node(struct tree *t, const struct tree_node *n, struct slice key,
			 uint64_t version, struct store_batch *batch)
{
	if (!n->age || t->whole || version - n->age < t->bases_from)
		return whole_encode(store_batch_put_room(batch, STORE_TREE, key, whole_size(n)),
				    n, version);
	uint16_t changed = newer_than(n, version - n->age);
	return changes_encode(
		store_batch_put_room(batch, STORE_TREE, key,
				     CHANGES_HEAD_SIZE + slots_size(changed, n->leaves)),
		n, changed, version);
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

/* A record that is being read. */
struct record {
	struct reader r; /* at the next one of its slots */
	uint16_t present, leaves;
	uint16_t stored; /* children whose slots it has */
	uint32_t age;	 /* 0: it is whole */
};

static bool record_open(struct record *rec, struct slice bytes)
{
	struct reader *r = &rec->r;
	reader_init(r, bytes);
	rec->present = reader_u16(r);
	rec->leaves = reader_u16(r);
	rec->stored = rec->present;
	rec->age = 0;
	if (rec->present == 0 && rec->leaves != 0) {
		rec->stored = rec->leaves;
		rec->age = reader_u32(r);
		rec->present = reader_u16(r);
		rec->leaves = reader_u16(r);
		if (rec->age == 0)
			return false;
	}
	return !r->err && !((rec->leaves | rec->stored) & ~rec->present);
}

static void slot_skip(struct record *rec, unsigned i)
{
	if (rec->stored >> i & 1)
		reader_take(&rec->r, rec->leaves >> i & 1 ? LEAF_SLOT_SIZE : NODE_SLOT_SIZE);
}

/* Slot i of the node, from the record if that has it, else from the base. */
static void slot_read(struct tree *t, struct record *rec, struct record *base,
		      uint64_t base_version, unsigned i, struct tree_slot *s)
{
	bool is_leaf = rec->leaves >> i & 1, own = rec->stored >> i & 1;
	if (own && base)
		slot_skip(base, i);
	if (!own && (!(base->present >> i & 1) || (base->leaves >> i & 1) != is_leaf))
		reader_fail(&rec->r, ERR_CORRUPT);
	slot_decode(t, own ? &rec->r : &base->r, s, is_leaf);
	if (base && own == (s->version <= base_version))
		reader_fail(&rec->r, ERR_CORRUPT);
}

static int node_decode(struct tree *t, struct record *rec, struct record *base,
		       uint64_t version, struct tree_node **out)
{
	struct tree_node *n = node_new(t, rec->present, rec->leaves);
	struct tree_slot *s = n->slot;
	for (unsigned i = 0; i < 16; i++) {
		if (!slot_present(n, i)) {
			if (base)
				slot_skip(base, i);
			continue;
		}
		slot_read(t, rec, base, version - rec->age, i, s);
		if (s->version > version)
			reader_fail(&rec->r, ERR_CORRUPT);
		s++;
	}
	n->age = rec->age;
	if (reader_finish(&rec->r) || (base && reader_finish(&base->r))) {
		tree_drop(t, n);
		return ERR_CORRUPT;
	}
	*out = n;
	return ERR_NONE;
}

int node_read(struct tree *t, struct slice bytes, uint64_t version, const struct hash *path,
	      unsigned depth, struct tree_node **out)
{
	uint8_t buf[NODE_KEY_MAX];
	struct record rec, base;
	if (!record_open(&rec, bytes) || rec.age > version)
		return ERR_CORRUPT;
	if (!rec.age)
		return node_decode(t, &rec, NULL, version, out);
	if (depth == 0) /* it is written again at heights that do not change it */
		return ERR_CORRUPT;
	int err = store_get(t->store, STORE_TREE, node_key(buf, version - rec.age, path, depth),
			    &t->base);
	t->reads++;
	if (err)
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	if (!record_open(&base, writer_slice(&t->base)) || base.age)
		return ERR_CORRUPT;
	return node_decode(t, &rec, &base, version, out);
}

int node_load(struct tree *t, uint64_t version, const struct hash *path, unsigned depth,
	      struct tree_node **out)
{
	uint8_t buf[NODE_KEY_MAX];
	struct slice key = node_key(buf, version, path, depth);
	int err = store_get(t->store, STORE_TREE, key, &t->scratch);
	t->reads++;
	return err ? err : node_read(t, writer_slice(&t->scratch), version, path, depth, out);
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
	unsigned changed =
		put_node(t, n, node_key(buf, version, &u->path, depth), version, batch);
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
