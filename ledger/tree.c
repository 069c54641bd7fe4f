#include "ledger/tree.h"

#include "base/mem.h"
#include "ledger/proof.h"
#include "ledger/tree_private.h"

/* Trimming goes down to this share of the limit, so that it is not due again at once. */
#define TRIM_NUM	7
#define TRIM_DEN	8
/* Longer values are allocated apart, and can be forgotten; in a common heap, where nothing is,
 * most are within. */
#define LEAF_INLINE_MAX	       64
#define LEAF_INLINE_COMMON_MAX 256
#define TRIM_PREFIXES	256 /* subtrees at depth 2 */

static _Thread_local struct tree_heap *common_heap;

void tree_init(struct tree *t, struct store *s, size_t limit)
{
	*t = (struct tree){.store = s, .limit = limit};
	t->heap = common_heap ? common_heap : &t->own;
}

static void heap_close(struct tree_heap *h)
{
	invariant(h->bytes == 0);
	freelist_drain(&h->free);
}

void tree_close(struct tree *t)
{
	heap_close(&t->own);
	writer_free(&t->scratch);
	writer_free(&t->base);
}

struct tree_heap *tree_heap_new(void)
{
	struct tree_heap *h = mem_zalloc(sizeof(*h));
	h->common = true;
	return h;
}

void tree_heap_free(struct tree_heap *h)
{
	if (!h)
		return;
	invariant(h != common_heap);
	struct tree t = {.heap = h};
	for (unsigned i = 0; i < TREE_RECENT; i++)
		if (h->recent[i])
			tree_drop(&t, h->recent[i]);
	if (h->empty)
		tree_drop(&t, h->empty);
	heap_close(h);
	mem_free(h);
}

struct tree_heap *tree_heap_use(struct tree_heap *h)
{
	struct tree_heap *before = common_heap;
	common_heap = h;
	return before;
}

/* ---- hashes ------------------------------------------------------------------------------ */

void tree_key(struct hash *out, struct slice state_key)
{
	hash_tagged(out, HASH_TREE_KEY, state_key);
}

void tree_value_hash(struct hash *out, struct slice value)
{
	hash_tagged(out, HASH_TREE_VALUE, value);
}

void tree_leaf_hash(struct hash *out, const struct hash *key, const struct hash *value_hash)
{
	hash_tagged2(out, HASH_TREE_LEAF, hash_slice(key), hash_slice(value_hash));
}

#define NODE_PREIMAGE_HEAD 3

/* In one piece, which libcrypto hashes where it stands. */
static uint8_t *preimage_head(uint8_t *buf, uint16_t bitmap)
{
	buf[0] = HASH_TREE_NODE;
	buf[1] = (uint8_t)(bitmap >> 8);
	buf[2] = (uint8_t)bitmap;
	return buf + NODE_PREIMAGE_HEAD;
}

void tree_node_hash(struct hash *out, uint16_t bitmap, const struct hash *children)
{
	uint8_t buf[NODE_PREIMAGE_HEAD + 16 * HASH_SIZE + HASH_ROOM];
	size_t size = tree_bits(bitmap) * sizeof(*children);
	memcpy(preimage_head(buf, bitmap), children, size);
	hash_in_place(out, buf, NODE_PREIMAGE_HEAD + size);
}

void tree_hash(struct hash *out, const struct tree_node *n)
{
	uint8_t buf[NODE_PREIMAGE_HEAD + 16 * HASH_SIZE + HASH_ROOM];
	uint8_t *p = preimage_head(buf, n->present);
	const struct tree_slot *s = n->slot, *end = s + tree_bits(n->present);
	for (; s < end; s++, p += HASH_SIZE)
		memcpy(p, s->hash.b, HASH_SIZE);
	hash_in_place(out, buf, (size_t)(p - buf));
}

/* ---- nodes and leaves -------------------------------------------------------------------- */

struct tree_node *node_new(struct tree *t, uint16_t present, uint16_t leaves)
{
	size_t size = node_room(t, present);
	struct tree_node *n = freelist_alloc(&t->heap->free, size);
	t->heap->bytes += size;
	n->refs = 1;
	n->present = present;
	n->leaves = leaves;
	n->borrowed = 0;
	n->age = 0;
	n->original = n->copies = n->sibling = NULL;
	return n;
}

struct tree_node *tree_empty(struct tree *t)
{
	struct tree_heap *h = t->heap;
	if (!h->common)
		return node_new(t, 0, 0);
	if (!h->empty)
		h->empty = node_new(t, 0, 0);
	return tree_hold(h->empty);
}

struct tree_node *tree_hold(struct tree_node *n)
{
	n->refs++;
	return n;
}

void slot_hold(const struct tree_slot *s, bool is_leaf)
{
	if (is_leaf)
		s->leaf->refs++;
	else if (s->node)
		s->node->refs++;
}

void slot_drop(struct tree *t, struct tree_slot *s, bool is_leaf)
{
	if (is_leaf)
		tree_leaf_drop(t, s->leaf);
	else if (s->node)
		tree_drop(t, s->node);
}

static struct tree_slot *slot_at(struct tree_node *n, unsigned nibble)
{
	return &n->slot[tree_index(n->present, nibble)];
}

void node_borrow(struct tree_node *n, struct tree_node *original, uint16_t mask)
{
	n->borrowed = mask;
	n->original = original;
	n->sibling = original->copies;
	original->copies = n;
}

/* The next copy of n is no copy any more. */
static struct tree_node *release_copy(struct tree_node *n)
{
	struct tree_node *copy = n->copies;
	n->copies = copy->sibling;
	copy->original = copy->sibling = NULL;
	copy->borrowed = 0;
	return copy;
}

/* Copies of n count what they have borrowed. */
static void settle_copies(struct tree_node *n)
{
	while (n->copies) {
		unsigned left = n->copies->borrowed;
		struct tree_node *copy = release_copy(n);
		for (; left; left &= left - 1) {
			unsigned i = tree_lowest(left);
			slot_hold(slot_at(copy, i), slot_is_leaf(copy, i));
		}
	}
}

/* n, which goes, leaves to one of its copies what that has borrowed. */
static uint16_t bequeath(struct tree_node *n)
{
	struct tree_node *heir = n->copies;
	uint16_t mask = heir->borrowed;
	release_copy(n);
	settle_copies(n);
	return mask;
}

static void leave_original(struct tree_node *n)
{
	struct tree_node **link = &n->original->copies;
	while (*link != n)
		link = &(*link)->sibling;
	*link = n->sibling;
}

void node_set_child(struct tree_node *n, unsigned i, struct tree_node *child)
{
	unsigned left = n->present;
	for (unsigned skip = i; skip > 0; skip--)
		left &= left - 1;
	unsigned nibble = tree_lowest(left);
	settle_copies(n); /* none of them has the child */
	n->borrowed &= (uint16_t) ~(1u << nibble);
	n->slot[i].node = child;
}

/* Recursion is at most TREE_DEPTH_MAX deep. */
void tree_drop(struct tree *t, struct tree_node *n)
{
	invariant(n->refs > 0);
	if (--n->refs)
		return;
	unsigned left = n->present & (uint16_t)~n->borrowed;
	if (n->original) {
		settle_copies(n);
		leave_original(n);
	} else if (n->copies) {
		left &= (uint16_t)~bequeath(n);
	}
	for (; left; left &= left - 1) {
		unsigned i = tree_lowest(left);
		slot_drop(t, slot_at(n, i), slot_is_leaf(n, i));
	}
	size_t size = node_room(t, n->present);
	t->heap->bytes -= size;
	freelist_free(&t->heap->free, n, size);
}

static struct tree_leaf *leaf_alloc(struct tree *t, const struct hash *key,
				    const struct hash *value_hash, uint32_t inline_len)
{
	struct tree_leaf *l = freelist_alloc(&t->heap->free, sizeof(*l) + inline_len);
	l->refs = 1;
	l->loaded = false;
	l->key = *key;
	l->value_hash = *value_hash;
	l->value = NULL;
	l->value_len = 0;
	l->inline_len = inline_len;
	t->heap->bytes += sizeof(*l) + inline_len;
	return l;
}

struct tree_leaf *leaf_new(struct tree *t, const struct hash *key,
			   const struct hash *value_hash)
{
	return leaf_alloc(t, key, value_hash, 0);
}

static void leaf_load(struct tree *t, struct tree_leaf *l, struct slice value)
{
	l->value = mem_dup(value.ptr, value.len);
	l->value_len = (uint32_t)value.len;
	l->loaded = true;
	t->heap->bytes += value.len;
}

static void leaf_unload(struct tree *t, struct tree_leaf *l)
{
	if (!l->loaded || l->value == l->inline_value)
		return;
	t->heap->bytes -= l->value_len;
	mem_free(l->value);
	l->value = NULL;
	l->loaded = false;
}

struct tree_leaf *tree_leaf_new(struct tree *t, const struct hash *key, struct slice value)
{
	struct hash value_hash;
	size_t inline_max = t->heap->common ? LEAF_INLINE_COMMON_MAX : LEAF_INLINE_MAX;
	invariant(value.len <= UINT32_MAX);
	tree_value_hash(&value_hash, value);
	if (value.len > inline_max) {
		struct tree_leaf *l = leaf_new(t, key, &value_hash);
		leaf_load(t, l, value);
		return l;
	}
	struct tree_leaf *l = leaf_alloc(t, key, &value_hash, (uint32_t)value.len);
	l->value = l->inline_value;
	l->value_len = (uint32_t)value.len;
	l->loaded = true;
	if (value.len)
		memcpy(l->inline_value, value.ptr, value.len);
	return l;
}

void tree_leaf_drop(struct tree *t, struct tree_leaf *l)
{
	invariant(l->refs > 0);
	if (--l->refs)
		return;
	leaf_unload(t, l);
	size_t size = sizeof(*l) + l->inline_len;
	t->heap->bytes -= size;
	freelist_free(&t->heap->free, l, size);
}

bool tree_forgets(const struct tree *t)
{
	return !t->heap->common;
}

void tree_forget_value(struct tree *t, struct tree_leaf *l)
{
	if (tree_forgets(t))
		leaf_unload(t, l);
}

/* ---- reading ----------------------------------------------------------------------------- */

int tree_find(struct tree *t, struct tree_node *root, const struct hash *key,
	      struct tree_leaf **leaf, uint64_t *version)
{
	struct tree_node *n = root;
	*leaf = NULL;
	for (unsigned depth = 0; depth < TREE_DEPTH_MAX; depth++) {
		unsigned nibble = tree_nibble(key, depth);
		if (!slot_present(n, nibble))
			return ERR_NONE;
		unsigned i = tree_index(n->present, nibble);
		if (slot_is_leaf(n, nibble)) {
			struct tree_slot *s = &n->slot[i];
			if (hash_equal(&s->leaf->key, key)) {
				*leaf = s->leaf;
				*version = s->version;
			}
			return ERR_NONE;
		}
		int err = node_child(t, n, i, key, depth + 1, &n);
		if (err)
			return err;
	}
	return ERR_CORRUPT; /* a node below the last nibble: only a damaged store has one */
}

void tree_prefetch(const struct tree_node *n, const struct hash *key, unsigned depth)
{
	for (unsigned at = 0; at < TREE_DEPTH_MAX; at++) {
		unsigned nibble = tree_nibble(key, at);
		if (!slot_present(n, nibble))
			return;
		const struct tree_slot *s = &n->slot[tree_index(n->present, nibble)];
		if (slot_is_leaf(n, nibble)) {
			mem_prefetch(s->leaf, sizeof(*s->leaf));
			return;
		}
		if (!s->node)
			return;
		if (at == depth) {
			node_prefetch(s->node);
			return;
		}
		n = s->node;
	}
}

void tree_value_key(uint8_t out[TREE_VALUE_KEY_SIZE], const struct hash *key, uint64_t version)
{
	memcpy(out, key->b, HASH_SIZE);
	store_be64(out + HASH_SIZE, version);
}

bool tree_record_read(struct slice record, struct slice *state_key, struct slice *value)
{
	struct reader r;
	reader_init(&r, record);
	*state_key = reader_var(&r, STATE_KEY_MAX);
	*value = reader_take(&r, r.left);
	return !r.err;
}

int tree_record(struct tree *t, const struct hash *key, uint64_t version,
		struct slice *state_key, struct slice *value)
{
	uint8_t buf[TREE_VALUE_KEY_SIZE];
	tree_value_key(buf, key, version);
	int err = store_get(t->store, STORE_STATE, slice_of(buf, sizeof(buf)), &t->scratch);
	t->reads++;
	if (err)
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	return tree_record_read(writer_slice(&t->scratch), state_key, value) ? ERR_NONE
									     : ERR_CORRUPT;
}

int tree_value(struct tree *t, struct tree_leaf *l, uint64_t version, struct slice state_key,
	       struct slice *out)
{
	if (!l->loaded) {
		struct slice own, value;
		struct hash h;
		int err = tree_record(t, &l->key, version, &own, &value);
		if (err)
			return err;
		tree_value_hash(&h, value);
		if (!slice_equal(own, state_key) || !hash_equal(&h, &l->value_hash))
			return ERR_CORRUPT;
		leaf_load(t, l, value);
	}
	*out = slice_of(l->value, l->value_len);
	return ERR_NONE;
}

void tree_write_value(struct tree *t, const struct hash *key, struct slice state_key,
		      uint64_t version, struct slice value, struct store_batch *batch)
{
	uint8_t buf[TREE_VALUE_KEY_SIZE];
	tree_value_key(buf, key, version);
	uint8_t *p = store_batch_put_room(batch, STORE_STATE, slice_of(buf, sizeof(buf)),
					  4 + state_key.len + value.len);
	uint32_t len = htobe32((uint32_t)state_key.len);
	memcpy(p, &len, sizeof(len));
	if (state_key.len)
		memcpy(p + 4, state_key.ptr, state_key.len);
	if (value.len)
		memcpy(p + 4 + state_key.len, value.ptr, value.len);
	t->writes++;
}

/* ---- bounding memory --------------------------------------------------------------------- */

bool tree_over_limit(const struct tree *t)
{
	return !t->heap->common && t->heap->bytes > t->limit;
}

/* Forgets what hangs below n: child nodes, and values of its own leaves. Versions of children
 * are never newer than their parent's. */
static void forget_children(struct tree *t, struct tree_node *n, uint64_t written,
			    bool values_only)
{
	struct tree_slot *s = n->slot;
	if (!values_only)
		settle_copies(n);
	for (unsigned i = 0; i < 16; i++) {
		if (!slot_present(n, i))
			continue;
		if (s->version <= written) {
			if (slot_is_leaf(n, i)) {
				leaf_unload(t, s->leaf);
			} else if (!values_only && s->node) {
				if (!(n->borrowed >> i & 1))
					tree_drop(t, s->node);
				n->borrowed &= (uint16_t) ~(1u << i);
				s->node = NULL;
			}
		}
		s++;
	}
}

/* The loaded child node at a nibble, or NULL. */
static struct tree_node *loaded_child(struct tree_node *n, unsigned nibble)
{
	if (!slot_present(n, nibble) || slot_is_leaf(n, nibble))
		return NULL;
	return n->slot[tree_index(n->present, nibble)].node;
}

/* Takes the subtrees at depth 2 in turn: each step is short, and what is hot is soon back. Only
 * if that is not enough the nodes at depth 2 go as well. */
void tree_trim(struct tree *t, struct tree_node *root, uint64_t written)
{
	size_t target = t->limit / TRIM_DEN * TRIM_NUM;
	if (!tree_over_limit(t))
		return;
	forget_children(t, root, written, true);
	for (unsigned i = 0; i < TRIM_PREFIXES && t->heap->bytes > target; i++) {
		unsigned prefix = t->cursor++ % TRIM_PREFIXES;
		struct tree_node *n = loaded_child(root, prefix >> 4);
		if (!n)
			continue;
		if ((prefix & 15) == 0)
			forget_children(t, n, written, true);
		n = loaded_child(n, prefix & 15);
		if (n)
			forget_children(t, n, written, false);
	}
	for (unsigned i = 0; i < 16 && tree_over_limit(t); i++) {
		struct tree_node *n = loaded_child(root, i);
		if (n)
			forget_children(t, n, written, false);
	}
}
