/* All changes of a block in one pass: every node that changes is made and hashed once. */
#include "base/mem.h"
#include "ledger/tree_private.h"

enum child_kind { CHILD_NONE, CHILD_LEAF, CHILD_NODE };

/* A place in the tree. Results own a reference, inputs borrow. */
struct child {
	struct tree_slot
		slot; /* first: copies of it and of the whole are made of the same words */
	enum child_kind kind;
};

struct update {
	struct tree *tree;
	uint64_t version;
	int64_t added;
	struct writer *stale;
};

/* In the form of docs/ledger-format.md: what the store deletes when this version's parent is
 * pruned. */
static void stale_add(struct update *u, uint64_t version, const struct hash *key,
		      unsigned depth)
{
	uint8_t buf[NODE_KEY_MAX];
	writer_u8(u->stale, STORE_TREE);
	writer_var(u->stale, node_key(buf, version, key, depth));
}

/* The records of the node that was here, unless what is here now rests on them. */
static void stale_node(struct update *u, const struct tree_slot *was, const struct child *is,
		       const struct hash *key, unsigned depth)
{
	uint32_t age = is->kind == CHILD_NODE ? is->slot.node->age : 0;
	uint64_t base = was->version - was->node->age;
	bool kept = u->tree->whole || (age && is->slot.version - age == base);
	if (was->node->age)
		stale_add(u, was->version, key, depth);
	if (!kept)
		stale_add(u, base, key, depth);
}

static void child_drop(struct tree *t, struct child *c)
{
	if (c->kind != CHILD_NONE)
		slot_drop(t, &c->slot, c->kind == CHILD_LEAF);
	c->kind = CHILD_NONE;
}

static void child_of(const struct tree_node *n, unsigned nibble, struct child *out)
{
	if (!slot_present(n, nibble)) {
		out->kind = CHILD_NONE;
		return;
	}
	out->kind = slot_is_leaf(n, nibble) ? CHILD_LEAF : CHILD_NODE;
	out->slot = n->slot[tree_index(n->present, nibble)];
}

static void child_hold(const struct child *c)
{
	if (c->kind != CHILD_NONE)
		slot_hold(&c->slot, c->kind == CHILD_LEAF);
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
	bool changed = false;
	*out = *in; /* borrowed */
	for (size_t i = 0; i < count; i++) {
		struct tree_change *c = &changes[i];
		bool hit = in->kind == CHILD_LEAF && hash_equal(&in->slot.leaf->key, &c->key);
		bool same = hit && c->leaf &&
			    hash_equal(&in->slot.leaf->value_hash, &c->leaf->value_hash);
		c->effective = c->leaf ? !same : hit;
		c->replaces = hit;
		c->old_version = hit ? in->slot.version : 0;
		if (!c->effective)
			continue;
		changed = true;
		if (c->leaf) {
			out->kind = CHILD_LEAF;
			out->slot.leaf = c->leaf;
			out->slot.version = u->version;
			tree_leaf_hash(&out->slot.hash, &c->key, &c->leaf->value_hash);
		} else if (out->kind == CHILD_LEAF && out->slot.leaf == in->slot.leaf) {
			out->kind = CHILD_NONE;
		}
	}
	u->added += (int)(out->kind == CHILD_LEAF) - (int)(in->kind == CHILD_LEAF);
	child_hold(out);
	return changed;
}

static int update_place(struct update *u, const struct child *in, unsigned depth,
			struct tree_change *changes, size_t count, struct child *out,
			bool *changed);

/* Children of a node after an update: those touched, owned, and the old ones. */
struct family {
	struct tree_node *old; /* NULL: there was no node */
	uint16_t touched, present, leaves;
	struct child child[16]; /* where touched */
};

static void family_set(struct family *f, unsigned nibble, enum child_kind kind)
{
	uint16_t bit = (uint16_t)(1u << nibble);
	f->touched |= bit;
	f->present = kind == CHILD_NONE ? f->present & (uint16_t)~bit : f->present | bit;
	f->leaves = kind == CHILD_LEAF ? f->leaves | bit : f->leaves & (uint16_t)~bit;
}

static void family_drop(struct tree *t, struct family *f)
{
	for (unsigned i = 0; i < 16; i++)
		if (f->touched >> i & 1)
			child_drop(t, &f->child[i]);
}

static void fill(struct tree_node *n, const struct family *f)
{
	struct tree_slot *s = n->slot;
	const struct tree_slot *old = f->old ? f->old->slot : NULL;
	unsigned were = f->old ? f->old->present : 0;
	for (unsigned left = were | f->touched; left; left &= left - 1) {
		unsigned i = tree_lowest(left);
		bool was = were >> i & 1;
		if (!(f->touched >> i & 1))
			*s++ = *old;
		else if (f->child[i].kind != CHILD_NONE)
			*s++ = f->child[i].slot;
		if (was)
			old++;
	}
}

/* As most are: children in the same places as before. */
static void fill_alike(struct tree_node *n, const struct family *f)
{
	/* In a loop: compilers make of memcpy() here what is good for large pieces only. */
	for (unsigned i = 0, count = tree_bits(f->present); i < count; i++)
		n->slot[i] = f->old->slot[i];
	for (unsigned left = f->touched & f->present; left; left &= left - 1) {
		unsigned i = tree_lowest(left);
		n->slot[tree_index(f->present, i)] = f->child[i].slot;
	}
}

static bool same_slots(const struct tree_slot *a, const struct tree_slot *b, bool is_leaf);

static bool same_nodes(const struct tree_node *a, const struct tree_node *b)
{
	if (a == b)
		return true;
	if (!a || !b || a->present != b->present || a->leaves != b->leaves || a->age != b->age)
		return false;
	const struct tree_slot *s = a->slot, *t = b->slot;
	for (unsigned left = a->present; left; left &= left - 1, s++, t++)
		if (!same_slots(s, t, slot_is_leaf(a, tree_lowest(left))))
			return false;
	return true;
}

/* With the versions and ages below them, of which hashes know nothing. */
static bool same_slots(const struct tree_slot *a, const struct tree_slot *b, bool is_leaf)
{
	return a->version == b->version && hash_equal(&a->hash, &b->hash) &&
	       (is_leaf || same_nodes(a->node, b->node));
}

/* A record that rests on an older one is made only where it saves a good part of a whole one,
 * and of a place that changes often: then the base is read together with it from a cache or not
 * at all, and what changes seldom stays one get. */
#define CHANGES_SHARE 2 /* at most this part of a whole record */

/* How many versions before this one the base of the family's record is; 0: it is whole. A child
 * that is not newer than the base must be what it is there: so one that came here from another
 * place, with the version that it had, makes the record whole. old_version: of what it was. */
static uint32_t age_of(const struct update *u, const struct family *f, uint64_t old_version,
		       unsigned depth)
{
	uint16_t newer = 0, touched = f->touched & f->present;
	const struct tree_slot *s;
	if (!f->old || depth == 0 || u->tree->whole)
		return 0;
	uint64_t base = old_version - f->old->age;
	if (base >= u->version || u->version - base > TREE_BASE_AGE_MAX ||
	    base < u->tree->bases_from)
		return 0;
	for (unsigned left = touched; left; left &= left - 1)
		if (f->child[tree_lowest(left)].slot.version != u->version)
			return 0;
	s = f->old->slot;
	for (unsigned left = f->old->present; left; left &= left - 1, s++)
		newer |= (uint16_t)((unsigned)(s->version > base) << tree_lowest(left));
	newer = (uint16_t)((newer & f->present) | touched);
	if (!newer ||
	    slots_size(newer, f->leaves) * CHANGES_SHARE > slots_size(f->present, f->leaves))
		return 0;
	return (uint32_t)(u->version - base);
}

/* What the family would become, if another tree has made it of the same node: then it has what
 * it has not borrowed from there in common with the family. Or NULL. The age tells versions
 * apart where nothing is left of what changed. */
static struct tree_node *made_already(const struct family *f, uint32_t age)
{
	struct tree_node *n = f->old ? f->old->copies : NULL;
	for (; n; n = n->sibling) {
		if (n->present != f->present || n->leaves != f->leaves || n->age != age ||
		    n->borrowed != (f->old->present & (uint16_t)~f->touched))
			continue;
		unsigned left = f->touched & f->present;
		for (; left; left &= left - 1) {
			unsigned i = tree_lowest(left);
			if (!same_slots(&n->slot[tree_index(n->present, i)], &f->child[i].slot,
					slot_is_leaf(n, i)))
				break;
		}
		if (!left)
			return n;
	}
	return NULL;
}

static struct tree_node *node_of(struct update *u, struct family *f, uint32_t age,
				 struct hash *hash)
{
	bool common = u->tree->heap->common;
	struct tree_node *n = common ? made_already(f, age) : NULL;
	if (n) {
		family_drop(u->tree, f);
		*hash = *node_kept_hash(n);
		return tree_hold(n);
	}
	n = node_new(u->tree, f->present, f->leaves);
	n->age = age;
	uint16_t borrowed = f->old ? f->old->present & (uint16_t)~f->touched : 0;
	if (borrowed || (f->old && common))
		node_borrow(n, f->old, borrowed);
	if (f->old && f->old->present == f->present)
		fill_alike(n, f);
	else
		fill(n, f);
	tree_hash(hash, n);
	if (common)
		*node_kept_hash(n) = *hash;
	return n;
}

/* A node of the children, or what is higher than a node would be: a lone leaf, or nothing.
 * Takes over what the family owns. */
static void assemble(struct update *u, struct family *f, uint64_t old_version, unsigned depth,
		     struct child *out)
{
	bool is_root = depth == 0;
	if (!is_root && f->present == 0) {
		out->kind = CHILD_NONE;
		return;
	}
	if (!is_root && f->present == f->leaves && (f->present & (f->present - 1)) == 0) {
		unsigned last = (unsigned)__builtin_ctz(f->present);
		if (f->touched >> last & 1) {
			*out = f->child[last];
			return;
		}
		child_of(f->old, last, out);
		child_hold(out);
		return;
	}
	out->slot.node = node_of(u, f, age_of(u, f, old_version, depth), &out->slot.hash);
	out->slot.version = u->version;
	out->kind = CHILD_NODE;
}

/* The place of a group of changes below n: fetched if it is a node that is not here yet. */
static int place_below(struct update *u, struct tree_node *n, unsigned nibble, unsigned depth,
		       const struct hash *key, struct child *out)
{
	struct tree_node *child;
	child_of(n, nibble, out);
	if (out->kind != CHILD_NODE || out->slot.node)
		return ERR_NONE;
	int err =
		node_child(u->tree, n, tree_index(n->present, nibble), key, depth + 1, &child);
	out->slot.node = child;
	return err;
}

#define FEW_CHANGES 16

/* The children that change, and room for what this node becomes: while one child is being made
 * anew, the others come into the caches. */
static void prefetch_below(struct update *u, const struct tree_node *n, unsigned depth,
			   const struct tree_change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned nibble = tree_nibble(&changes[i].key, depth);
		if (slot_present(n, nibble) && !slot_is_leaf(n, nibble))
			node_prefetch(n->slot[tree_index(n->present, nibble)].node);
	}
	freelist_prefetch(&u->tree->heap->free, node_room(u->tree, n->present));
}

/* Makes the changes below a place that is a node or becomes one. */
static int update_family(struct update *u, const struct child *in, unsigned depth,
			 struct tree_change *changes, size_t count, struct family *f,
			 bool *changed)
{
	struct tree_node *n = in->kind == CHILD_NODE ? in->slot.node : NULL;
	unsigned leaf_at =
		in->kind == CHILD_LEAF ? tree_nibble(&in->slot.leaf->key, depth) : 16;
	*changed = false;
	if (n && count <= FEW_CHANGES)
		prefetch_below(u, n, depth, changes, count);
	for (size_t from = 0, to; from < count; from = to) {
		unsigned nibble = tree_nibble(&changes[from].key, depth);
		struct child below;
		bool one = false;
		for (to = from + 1;
		     to < count && tree_nibble(&changes[to].key, depth) == nibble;)
			to++;
		int err = ERR_NONE;
		if (n) {
			err = place_below(u, n, nibble, depth, &changes[from].key, &below);
		} else if (leaf_at == nibble) {
			below = *in;
		} else {
			below.kind = CHILD_NONE;
		}
		if (!err)
			err = update_place(u, &below, depth + 1, changes + from, to - from,
					   &f->child[nibble], &one);
		if (err) {
			family_drop(u->tree, f);
			return err;
		}
		family_set(f, nibble, f->child[nibble].kind);
		*changed |= one;
	}
	if (leaf_at < 16 && !(f->touched >> leaf_at & 1)) {
		f->child[leaf_at] = *in;
		child_hold(in);
		family_set(f, leaf_at, CHILD_LEAF);
	}
	return ERR_NONE;
}

static int update_place(struct update *u, const struct child *in, unsigned depth,
			struct tree_change *changes, size_t count, struct child *out,
			bool *changed)
{
	struct tree_node *n = in->kind == CHILD_NODE ? in->slot.node : NULL;
	struct family f;

	if (!n && survivors(in, changes, count) <= 1) {
		*changed = update_leaf(u, in, changes, count, out);
		return ERR_NONE;
	}
	if (depth >= TREE_DEPTH_MAX)
		return ERR_CORRUPT;
	f.old = n;
	f.touched = 0;
	f.present = n ? n->present : 0;
	f.leaves = n ? n->leaves : 0;
	int err = update_family(u, in, depth, changes, count, &f, changed);
	if (err)
		return err;
	if (n && !*changed) {
		family_drop(u->tree, &f);
		*out = *in;
		child_hold(in);
		return ERR_NONE;
	}
	*changed = true;
	assemble(u, &f, in->slot.version, depth, out);
	if (n && depth > 0 && u->stale)
		stale_node(u, &in->slot, out, &changes[0].key, depth);
	return ERR_NONE;
}

/* While a tree is a few versions behind, the copies that it would make are still there. */
static void keep_recent(struct tree *t, struct tree_node *root)
{
	struct tree_heap *h = t->heap;
	for (unsigned i = 0; i < TREE_RECENT; i++)
		if (h->recent[i] == root)
			return;
	struct tree_node **oldest = &h->recent[h->next++ % TREE_RECENT];
	if (*oldest)
		tree_drop(t, *oldest);
	*oldest = tree_hold(root);
}

int tree_update(struct tree *t, struct tree_node *root, uint64_t version,
		struct tree_change *changes, size_t count, struct tree_node **out,
		struct hash *hash, int64_t *added, struct writer *stale)
{
	struct update u;
	struct child in = {.slot.node = root, .kind = CHILD_NODE}, result;
	bool changed;

	u.tree = t;
	u.version = version;
	u.stale = stale;
	u.added = 0;
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
	if (t->heap->common)
		keep_recent(t, *out);
	return ERR_NONE;
}
