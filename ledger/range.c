#include "ledger/range.h"

#include "base/mem.h"
#include "ledger/tree_private.h"

#define RANGE_VERSION 1

/* What stands at a place inside the bounds. On the wire: never reuse a number. */
enum range_child {
	RANGE_NODE = 1,	 /* a node follows */
	RANGE_LEAF = 2,	 /* a leaf of the range: state key, value */
	RANGE_OTHER = 3, /* a leaf beside it: key hash, value hash */
};

struct bounds {
	struct hash from, to;
};

static int compare(const struct hash *a, const struct hash *b)
{
	return memcmp(a->b, b->b, HASH_SIZE);
}

static void set_nibble(struct hash *path, unsigned depth, unsigned nibble)
{
	uint8_t *b = &path->b[depth / 2];
	*b = (uint8_t)(depth & 1 ? (*b & 0xf0) | nibble : (*b & 0x0f) | nibble << 4);
}

/* Whether keys that begin with the first `depth` nibbles of path, whose others are zero, can be
 * within the bounds. */
static bool reaches(const struct bounds *b, const struct hash *path, unsigned depth)
{
	struct hash high = *path;
	for (unsigned d = depth; d < TREE_DEPTH_MAX; d++)
		set_nibble(&high, d, 15);
	return compare(path, &b->to) <= 0 && compare(&high, &b->from) >= 0;
}

static bool within(const struct bounds *b, const struct hash *key)
{
	return compare(key, &b->from) >= 0 && compare(key, &b->to) <= 0;
}

static bool begins_with(const struct hash *key, const struct hash *path, unsigned depth)
{
	for (unsigned d = 0; d < depth; d++)
		if (tree_nibble(key, d) != tree_nibble(path, d))
			return false;
	return true;
}

bool range_next(struct hash *key)
{
	for (unsigned i = HASH_SIZE; i-- > 0;)
		if (++key->b[i])
			return true;
	return false;
}

/* ---- making ------------------------------------------------------------------------------ */

struct making {
	struct tree *tree;
	struct bounds bounds;
	size_t limit;
	struct writer leaves; /* as they are encoded, one behind the other */
	size_t next;	      /* of leaves that is not written yet */
	struct hash end;
	bool full;
};

static int gather_leaf(struct making *m, const struct tree_slot *s)
{
	struct slice state_key, value;
	struct hash h;
	int err = tree_record(m->tree, &s->leaf->key, s->version, &state_key, &value);
	if (err)
		return err;
	tree_value_hash(&h, value);
	if (!hash_equal(&h, &s->leaf->value_hash))
		return ERR_CORRUPT;
	tree_key(&h, state_key);
	if (!hash_equal(&h, &s->leaf->key))
		return ERR_CORRUPT;
	writer_var(&m->leaves, state_key);
	writer_var(&m->leaves, value);
	m->end = s->leaf->key;
	m->full = m->leaves.len >= m->limit;
	return m->leaves.err;
}

/* The leaves within the bounds, until there are enough. */
static int gather(struct making *m, struct tree_node *n, struct hash path, unsigned depth)
{
	for (unsigned left = n->present, i = 0; left && !m->full; left &= left - 1, i++) {
		unsigned nibble = tree_lowest(left);
		int err = ERR_NONE;
		set_nibble(&path, depth, nibble);
		if (!reaches(&m->bounds, &path, depth + 1))
			continue;
		if (slot_is_leaf(n, nibble)) {
			if (within(&m->bounds, &n->slot[i].leaf->key))
				err = gather_leaf(m, &n->slot[i]);
		} else if (depth + 1 < TREE_DEPTH_MAX) {
			struct tree_node *child;
			err = node_child(m->tree, n, i, &path, depth + 1, &child);
			if (!err)
				err = gather(m, child, path, depth + 1);
		} else {
			err = ERR_CORRUPT;
		}
		if (err)
			return err;
	}
	return ERR_NONE;
}

static void put_gathered(struct making *m, struct writer *out)
{
	struct reader r;
	reader_init(&r, slice_of(m->leaves.buf + m->next, m->leaves.len - m->next));
	struct slice state_key = reader_var(&r, STATE_KEY_MAX);
	struct slice value = reader_var(&r, STATE_VALUE_MAX);
	writer_u8(out, RANGE_LEAF);
	writer_var(out, state_key);
	writer_var(out, value);
	m->next = m->leaves.len - r.left;
}

/* What gather() has loaded is here; so is every node on the way to a bound. */
static int put_node(struct making *m, struct tree_node *n, struct hash path, unsigned depth,
		    struct writer *out)
{
	writer_u16(out, n->present);
	for (unsigned left = n->present, i = 0; left; left &= left - 1, i++) {
		const struct tree_slot *s = &n->slot[i];
		unsigned nibble = tree_lowest(left);
		set_nibble(&path, depth, nibble);
		if (!reaches(&m->bounds, &path, depth + 1)) {
			writer_hash(out, &s->hash);
		} else if (!slot_is_leaf(n, nibble)) {
			struct tree_node *child;
			int err = node_child(m->tree, n, i, &path, depth + 1, &child);
			if (err)
				return err;
			writer_u8(out, RANGE_NODE);
			err = put_node(m, child, path, depth + 1, out);
			if (err)
				return err;
		} else if (within(&m->bounds, &s->leaf->key)) {
			put_gathered(m, out);
		} else {
			writer_u8(out, RANGE_OTHER);
			writer_hash(out, &s->leaf->key);
			writer_hash(out, &s->leaf->value_hash);
		}
	}
	return out->err;
}

int range_make(struct tree *t, struct tree_node *root, const struct hash *from,
	       const struct hash *to, size_t leaf_bytes, struct writer *out)
{
	struct making m = {.tree = t, .bounds = {*from, *to}, .limit = leaf_bytes};
	const struct hash zero = {0};
	if (compare(from, to) > 0)
		return ERR_RANGE;
	int err = gather(&m, root, zero, 0);
	if (!err) {
		size_t begin = out->len;
		bool whole = !m.full || hash_equal(&m.end, to);
		if (!whole)
			m.bounds.to = m.end;
		writer_u8(out, RANGE_VERSION);
		writer_u8(out, whole);
		if (!whole)
			writer_hash(out, &m.end);
		err = put_node(&m, root, zero, 0, out);
		if (!err && out->len - begin > RANGE_BYTES_MAX)
			err = ERR_LIMIT;
	}
	writer_free(&m.leaves);
	return err;
}

/* ---- checking ---------------------------------------------------------------------------- */

struct checking {
	struct reader reader;
	struct bounds bounds;
	struct range *range;
	uint32_t cap;
};

static void take_leaf(struct checking *c, const struct hash *key, struct slice state_key,
		      struct slice value)
{
	struct range *r = c->range;
	if (r->count == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 64;
		r->leaf = mem_realloc(r->leaf, c->cap * sizeof(*r->leaf));
	}
	r->leaf[r->count++] =
		(struct range_leaf){.key = *key, .state_key = state_key, .value = value};
}

/* A leaf at the place with this path: inside the range, or beside it. */
static void read_leaf(struct checking *c, enum range_child kind, const struct hash *path,
		      unsigned depth, struct hash *out)
{
	struct hash key, value_hash;
	struct slice state_key = {0}, value = {0};
	if (kind == RANGE_LEAF) {
		state_key = reader_var(&c->reader, STATE_KEY_MAX);
		value = reader_var(&c->reader, STATE_VALUE_MAX);
		if (c->reader.err)
			return;
		tree_key(&key, state_key);
		tree_value_hash(&value_hash, value);
	} else {
		reader_hash(&c->reader, &key);
		reader_hash(&c->reader, &value_hash);
		if (c->reader.err)
			return;
	}
	if (!begins_with(&key, path, depth) ||
	    within(&c->bounds, &key) != (kind == RANGE_LEAF)) {
		reader_fail(&c->reader, ERR_BAD_PROOF);
		return;
	}
	if (kind == RANGE_LEAF)
		take_leaf(c, &key, state_key, value);
	tree_leaf_hash(out, &key, &value_hash);
}

/* Recursion is at most TREE_DEPTH_MAX deep. */
static void read_node(struct checking *c, struct hash path, unsigned depth, struct hash *out)
{
	struct hash children[16];
	unsigned count = 0;
	uint16_t bitmap = reader_u16(&c->reader);
	if (bitmap == 0 && depth > 0)
		reader_fail(&c->reader, ERR_BAD_PROOF);
	for (unsigned left = bitmap; left && !c->reader.err; left &= left - 1, count++) {
		set_nibble(&path, depth, tree_lowest(left));
		if (!reaches(&c->bounds, &path, depth + 1)) {
			reader_hash(&c->reader, &children[count]);
			continue;
		}
		uint8_t kind = reader_u8(&c->reader);
		if (kind == RANGE_NODE && depth + 1 < TREE_DEPTH_MAX)
			read_node(c, path, depth + 1, &children[count]);
		else if (kind == RANGE_LEAF || kind == RANGE_OTHER)
			read_leaf(c, (enum range_child)kind, &path, depth + 1,
				  &children[count]);
		else
			reader_fail(&c->reader, ERR_RANGE);
	}
	if (!c->reader.err)
		tree_node_hash(out, bitmap, children);
}

int range_check(struct slice bytes, const struct hash *root, const struct hash *from,
		const struct hash *to, struct range *out)
{
	struct checking c = {.bounds = {*from, *to}, .range = out};
	const struct hash zero = {0};
	struct hash h;
	*out = (struct range){.end = *to};
	if (bytes.len > RANGE_BYTES_MAX)
		return ERR_LIMIT;
	if (compare(from, to) > 0)
		return ERR_RANGE;
	reader_init(&c.reader, bytes);
	uint8_t version = reader_u8(&c.reader);
	if (!c.reader.err && version != RANGE_VERSION)
		return version > RANGE_VERSION ? ERR_VERSION : ERR_RANGE;
	out->whole = reader_bool(&c.reader);
	if (!out->whole) {
		reader_hash(&c.reader, &out->end);
		/* The bound itself would be said twice over. */
		if (!c.reader.err &&
		    (compare(&out->end, from) < 0 || compare(&out->end, to) >= 0))
			reader_fail(&c.reader, ERR_NONCANONICAL);
		c.bounds.to = out->end;
	}
	read_node(&c, zero, 0, &h);
	int err = reader_finish(&c.reader);
	if (!err && !out->whole &&
	    (out->count == 0 || !hash_equal(&out->leaf[out->count - 1].key, &out->end)))
		err = ERR_NONCANONICAL;
	if (!err && !hash_equal(&h, root))
		err = ERR_BAD_PROOF;
	return err;
}

void range_free(struct range *r)
{
	mem_free(r->leaf);
	*r = (struct range){0};
}
