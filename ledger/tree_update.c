/* All changes of a block in one pass: every node that changes is made and hashed once. */
#include "base/mem.h"
#include "ledger/tree_private.h"

enum child_kind { CHILD_NONE, CHILD_LEAF, CHILD_NODE };

/* A place in the tree. Results own a reference, inputs borrow. */
struct child {
	enum child_kind kind;
	struct tree_slot slot;
};

struct update {
	struct tree *tree;
	uint64_t version;
	int64_t added;
};

static void child_drop(struct tree *t, struct child *c)
{
	if (c->kind != CHILD_NONE)
		slot_drop(t, &c->slot, c->kind == CHILD_LEAF);
	c->kind = CHILD_NONE;
}

static struct child child_of(const struct tree_node *n, unsigned nibble)
{
	struct child c = {.kind = CHILD_NONE};
	if (!slot_present(n, nibble))
		return c;
	c.kind = slot_is_leaf(n, nibble) ? CHILD_LEAF : CHILD_NODE;
	c.slot = n->slot[tree_index(n->present, nibble)];
	return c;
}

static struct child child_hold(struct child c)
{
	if (c.kind != CHILD_NONE)
		slot_hold(&c.slot, c.kind == CHILD_LEAF);
	return c;
}

/* Leaves that would be under a place that has at most one now. */
static size_t survivors(const struct child *in, const struct tree_change *changes, size_t count)
{
	size_t left = in->kind == CHILD_LEAF;
	for (size_t i = 0; i < count; i++) {
		bool hit = in->kind == CHILD_LEAF &&
			   hash_equal(&in->slot.leaf->key, &changes[i].key);
		if (changes[i].leaf)
			left += !hit;
		else
			left -= hit;
	}
	return left;
}

/* At most one leaf survives: it is the result. Returns whether anything changed. */
static bool update_leaf(struct update *u, const struct child *in, struct tree_change *changes,
			size_t count, struct child *out)
{
	struct child result = *in; /* borrowed */
	bool changed = false;
	for (size_t i = 0; i < count; i++) {
		struct tree_change *c = &changes[i];
		bool hit = in->kind == CHILD_LEAF && hash_equal(&in->slot.leaf->key, &c->key);
		bool same = hit && c->leaf &&
			    hash_equal(&in->slot.leaf->value_hash, &c->leaf->value_hash);
		c->effective = c->leaf ? !same : hit;
		if (!c->effective)
			continue;
		changed = true;
		if (c->leaf) {
			result.kind = CHILD_LEAF;
			result.slot.leaf = c->leaf;
			result.slot.version = u->version;
			tree_leaf_hash(&result.slot.hash, &c->key, &c->leaf->value_hash);
		} else if (result.kind == CHILD_LEAF && result.slot.leaf == in->slot.leaf) {
			result.kind = CHILD_NONE;
		}
	}
	u->added += (int)(result.kind == CHILD_LEAF) - (int)(in->kind == CHILD_LEAF);
	*out = child_hold(result);
	return changed;
}

/* A node of the children, or what is higher than a node would be: a lone leaf, or nothing.
 * Takes over the references. */
static struct child assemble(struct update *u, struct child children[16], bool is_root)
{
	uint16_t present = 0, leaves = 0;
	for (unsigned i = 0; i < 16; i++) {
		present |= (uint16_t)((children[i].kind != CHILD_NONE) << i);
		leaves |= (uint16_t)((children[i].kind == CHILD_LEAF) << i);
	}
	if (!is_root && present == 0)
		return (struct child){.kind = CHILD_NONE};
	if (!is_root && present == leaves && (present & (present - 1)) == 0)
		return children[__builtin_ctz(present)];
	struct child out = {.kind = CHILD_NODE, .slot.version = u->version};
	struct tree_node *n = node_new(u->tree, present, leaves);
	struct tree_slot *s = n->slot;
	for (unsigned i = 0; i < 16; i++)
		if (children[i].kind != CHILD_NONE)
			*s++ = children[i].slot;
	tree_hash(&out.slot.hash, n);
	out.slot.node = n;
	return out;
}

static int update_place(struct update *u, const struct child *in, unsigned depth,
			struct tree_change *changes, size_t count, struct child *out,
			bool *changed);

/* Children of a place with the changes made, each owned; on an error none is. */
static int update_children(struct update *u, const struct child before[16], unsigned depth,
			   struct tree_change *changes, size_t count, struct child after[16],
			   bool *changed)
{
	size_t from = 0;
	*changed = false;
	for (unsigned nibble = 0; nibble < 16; nibble++) {
		size_t to = from;
		bool one = false;
		int err = ERR_NONE;
		while (to < count && tree_nibble(&changes[to].key, depth) == nibble)
			to++;
		if (to == from)
			after[nibble] = child_hold(before[nibble]);
		else
			err = update_place(u, &before[nibble], depth + 1, changes + from,
					   to - from, &after[nibble], &one);
		if (err) {
			while (nibble-- > 0)
				child_drop(u->tree, &after[nibble]);
			return err;
		}
		*changed |= one;
		from = to;
	}
	invariant(from == count);
	return ERR_NONE;
}

static int update_place(struct update *u, const struct child *in, unsigned depth,
			struct tree_change *changes, size_t count, struct child *out,
			bool *changed)
{
	struct child before[16], after[16];
	struct tree_node *node = in->kind == CHILD_NODE ? in->slot.node : NULL;

	if (!node && survivors(in, changes, count) <= 1) {
		*changed = update_leaf(u, in, changes, count, out);
		return ERR_NONE;
	}
	if (depth >= TREE_DEPTH_MAX)
		return ERR_CORRUPT;
	if (node) {
		for (unsigned i = 0; i < 16; i++)
			before[i] = child_of(node, i);
		/* Children are fetched through the shared node, so that it keeps them. */
		for (size_t i = 0; i < count; i++) {
			unsigned nibble = tree_nibble(&changes[i].key, depth);
			if (before[nibble].kind != CHILD_NODE || before[nibble].slot.node)
				continue;
			int err = node_child(u->tree, node, tree_index(node->present, nibble),
					     &changes[i].key, depth + 1,
					     &before[nibble].slot.node);
			if (err)
				return err;
		}
	} else {
		for (unsigned i = 0; i < 16; i++)
			before[i].kind = CHILD_NONE;
		if (in->kind == CHILD_LEAF)
			before[tree_nibble(&in->slot.leaf->key, depth)] = *in;
	}
	int err = update_children(u, before, depth, changes, count, after, changed);
	if (err)
		return err;
	if (node && !*changed) {
		for (unsigned i = 0; i < 16; i++)
			child_drop(u->tree, &after[i]);
		*out = child_hold(*in);
		return ERR_NONE;
	}
	*changed = true;
	*out = assemble(u, after, depth == 0);
	return ERR_NONE;
}

int tree_update(struct tree *t, struct tree_node *root, uint64_t version,
		struct tree_change *changes, size_t count, struct tree_node **out,
		struct hash *hash, int64_t *added)
{
	struct update u = {.tree = t, .version = version};
	struct child in = {.kind = CHILD_NODE, .slot.node = root}, result;
	bool changed;

	for (size_t i = 1; i < count; i++)
		invariant(memcmp(changes[i - 1].key.b, changes[i].key.b, HASH_SIZE) < 0);
	int err = update_place(&u, &in, 0, changes, count, &result, &changed);
	if (err)
		return err;
	invariant(result.kind == CHILD_NODE);
	*out = result.slot.node;
	if (changed)
		*hash = result.slot.hash;
	*added = u.added;
	return ERR_NONE;
}
