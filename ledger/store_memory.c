/* The store's model in memory: sorted tables that can crash.
 *
 * A table is a sorted array of leaves, each a sorted array of up to LEAF_CAP entries: a search
 * is two binary searches, O(log n); an insertion moves at most one leaf, and once in LEAF_CAP/2
 * times the array of leaves, O(LEAF_CAP + n / LEAF_CAP^2). For the up to some hundred thousand
 * keys of a simulated replica nothing is faster, and nothing is simpler.
 *
 * Items never change and are counted, so a table, the undo list and iterators share them. */
#include <string.h>

#include "base/mem.h"
#include "ledger/store_private.h"

#define LEAF_CAP 64

struct item {
	uint32_t refs;
	uint32_t key_len;
	size_t value_len;
	uint8_t bytes[]; /* key, value */
};

/* The first eight bytes of the key beside the pointer settle most comparisons. */
struct entry {
	uint64_t prefix;
	struct item *item;
};

struct leaf {
	size_t len; /* 1..LEAF_CAP */
	struct entry entries[LEAF_CAP];
};

struct table {
	struct leaf **leaves;
	size_t len, cap;
};

/* Normal form: at < leaves[leaf]->len, or leaf == len and at == 0 (the end). */
struct position {
	size_t leaf, at;
};

/* What takes one operation back. The item put in is absent for a delete, the item that it
 * replaced or removed is absent for a new key. */
struct undo {
	enum store_family family;
	struct item *inserted;
	struct item *replaced;
};

struct memory_store {
	struct store base;
	struct table tables[STORE_FAMILIES];
	/* unsynced batches: where each starts in undo */
	struct undo *undo;
	size_t undo_len, undo_cap;
	size_t *batches;
	size_t batches_len, batches_cap;
	uint64_t fail_in;	  /* the write to fail, counted down; 0: none */
	struct store_batch *lost; /* the write that failed */
	struct memory_iter *live;
};

struct memory_iter {
	struct store_iter base;
	struct memory_iter *prev, *next;
	enum store_family family;
	bool reverse;
	struct position begin, end; /* what is left, while the table stands still */
	bool detached;		    /* a write came: what is left was taken out before it */
	struct item **items;
	size_t items_len, items_at;
	struct item *lent;
};

static const struct store_ops memory_ops;

static struct memory_store *memory_of(struct store *s)
{
	invariant(s->ops == &memory_ops);
	return (struct memory_store *)s;
}

/* Items */

static struct item *item_new(struct slice key, struct slice value)
{
	struct item *i = mem_alloc(sizeof(*i) + key.len + value.len);

	i->refs = 1;
	i->key_len = (uint32_t)key.len;
	i->value_len = value.len;
	if (key.len > 0)
		memcpy(i->bytes, key.ptr, key.len);
	if (value.len > 0)
		memcpy(i->bytes + key.len, value.ptr, value.len);
	return i;
}

static struct item *item_ref(struct item *i)
{
	i->refs++;
	return i;
}

static void item_unref(struct item *i)
{
	if (i != NULL && --i->refs == 0)
		mem_free(i);
}

static struct slice item_key(const struct item *i)
{
	return slice_of(i->bytes, i->key_len);
}

static struct slice item_value(const struct item *i)
{
	return slice_of(i->bytes + i->key_len, i->value_len);
}

/* Tables */

/* Zero-padded: if prefixes differ, keys are in the order of their prefixes. */
static uint64_t key_prefix(struct slice key)
{
	uint8_t head[8] = {0};

	if (key.len > 0)
		memcpy(head, key.ptr, key.len < 8 ? key.len : 8);
	return load_be64(head);
}

static int entry_compare(const struct entry *e, uint64_t prefix, struct slice key)
{
	if (e->prefix != prefix)
		return e->prefix < prefix ? -1 : 1;
	return slice_compare(item_key(e->item), key);
}

/* The last leaf whose first key is not above key, or the first one; t is not empty. */
static size_t table_leaf(const struct table *t, uint64_t prefix, struct slice key)
{
	size_t lo = 0, hi = t->len;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (entry_compare(&t->leaves[mid]->entries[0], prefix, key) <= 0)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* The first entry of l that is not below key, or l->len. */
static size_t leaf_lower_bound(const struct leaf *l, uint64_t prefix, struct slice key,
			       bool *equal)
{
	size_t lo = 0, hi = l->len;

	*equal = false;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = entry_compare(&l->entries[mid], prefix, key);
		if (c == 0) {
			*equal = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Not in normal form: at may be the leaf's len, which is where to insert. */
static struct position table_find(const struct table *t, uint64_t prefix, struct slice key,
				  bool *equal)
{
	struct position p = {0};

	*equal = false;
	if (t->len == 0)
		return p;
	p.leaf = table_leaf(t, prefix, key);
	p.at = leaf_lower_bound(t->leaves[p.leaf], prefix, key, equal);
	return p;
}

static struct position table_lower_bound(const struct table *t, struct slice key)
{
	bool equal;
	struct position p = table_find(t, key_prefix(key), key, &equal);

	if (p.leaf < t->len && p.at == t->leaves[p.leaf]->len)
		p = (struct position){.leaf = p.leaf + 1};
	return p;
}

static struct item *table_get(const struct table *t, struct slice key)
{
	bool equal;
	struct position p = table_find(t, key_prefix(key), key, &equal);

	return equal ? t->leaves[p.leaf]->entries[p.at].item : NULL;
}

static struct leaf *table_add_leaf(struct table *t, size_t index)
{
	if (t->len == t->cap) {
		t->cap = t->cap > 0 ? 2 * t->cap : 4;
		t->leaves = mem_realloc(t->leaves, t->cap * sizeof(t->leaves[0]));
	}
	memmove(&t->leaves[index + 1], &t->leaves[index],
		(t->len - index) * sizeof(t->leaves[0]));
	t->leaves[index] = mem_alloc(sizeof(struct leaf));
	t->leaves[index]->len = 0;
	t->len++;
	return t->leaves[index];
}

static void table_drop_leaf(struct table *t, size_t index)
{
	mem_free(t->leaves[index]);
	t->len--;
	memmove(&t->leaves[index], &t->leaves[index + 1],
		(t->len - index) * sizeof(t->leaves[0]));
}

/* Makes room at p, in a full leaf. Ascending keys (heights) leave full leaves behind. */
static struct position table_split(struct table *t, struct position p)
{
	struct leaf *full = t->leaves[p.leaf];
	bool append = p.leaf + 1 == t->len && p.at == LEAF_CAP;
	size_t keep = append ? LEAF_CAP : LEAF_CAP / 2;
	struct leaf *right = table_add_leaf(t, p.leaf + 1);

	right->len = LEAF_CAP - keep;
	memcpy(right->entries, &full->entries[keep], right->len * sizeof(right->entries[0]));
	full->len = keep;
	if (append || p.at > keep)
		p = (struct position){.leaf = p.leaf + 1, .at = p.at - keep};
	return p;
}

/* Takes over the reference; returns the one to the item replaced, or NULL. */
static struct item *table_put(struct table *t, struct item *item)
{
	struct slice key = item_key(item);
	uint64_t prefix = key_prefix(key);
	bool equal;
	struct position p = table_find(t, prefix, key, &equal);
	struct leaf *l;

	if (equal) {
		struct entry *e = &t->leaves[p.leaf]->entries[p.at];
		struct item *old = e->item;
		e->item = item;
		return old;
	}
	if (t->len == 0)
		table_add_leaf(t, 0);
	if (t->leaves[p.leaf]->len == LEAF_CAP)
		p = table_split(t, p);
	l = t->leaves[p.leaf];
	memmove(&l->entries[p.at + 1], &l->entries[p.at],
		(l->len - p.at) * sizeof(l->entries[0]));
	l->entries[p.at] = (struct entry){.prefix = prefix, .item = item};
	l->len++;
	return NULL;
}

/* Returns the reference to the item removed, or NULL. */
static struct item *table_remove(struct table *t, struct slice key)
{
	bool equal;
	struct position p = table_find(t, key_prefix(key), key, &equal);
	struct leaf *l, *right;
	struct item *old;

	if (!equal)
		return NULL;
	l = t->leaves[p.leaf];
	old = l->entries[p.at].item;
	l->len--;
	memmove(&l->entries[p.at], &l->entries[p.at + 1],
		(l->len - p.at) * sizeof(l->entries[0]));
	if (l->len == 0) {
		table_drop_leaf(t, p.leaf);
	} else if (p.leaf + 1 < t->len) {
		right = t->leaves[p.leaf + 1];
		if (l->len + right->len <= LEAF_CAP / 2) {
			memcpy(&l->entries[l->len], right->entries,
			       right->len * sizeof(l->entries[0]));
			l->len += right->len;
			table_drop_leaf(t, p.leaf + 1);
		}
	}
	return old;
}

static void table_free(struct table *t)
{
	for (size_t i = 0; i < t->len; i++) {
		for (size_t j = 0; j < t->leaves[i]->len; j++)
			item_unref(t->leaves[i]->entries[j].item);
		mem_free(t->leaves[i]);
	}
	mem_free(t->leaves);
}

/* Iterators */

static bool position_equal(struct position a, struct position b)
{
	return a.leaf == b.leaf && a.at == b.at;
}

/* The next item of what is left in the table; lent, NULL at the end. */
static struct item *iter_step(struct memory_iter *it, const struct table *t)
{
	struct position p;

	if (position_equal(it->begin, it->end))
		return NULL;
	if (it->reverse) {
		if (it->end.at == 0) {
			it->end.leaf--;
			it->end.at = t->leaves[it->end.leaf]->len;
		}
		it->end.at--;
		p = it->end;
	} else {
		p = it->begin;
		it->begin.at++;
		if (it->begin.at == t->leaves[p.leaf]->len)
			it->begin = (struct position){.leaf = p.leaf + 1};
	}
	return t->leaves[p.leaf]->entries[p.at].item;
}

/* Before a write to its table: takes what is left of the snapshot out of it. */
static void iter_detach(struct memory_iter *it, const struct table *t)
{
	struct item *item;
	size_t cap = 0;

	while ((item = iter_step(it, t)) != NULL) {
		if (it->items_len == cap) {
			cap = cap > 0 ? 2 * cap : 16;
			it->items = mem_realloc(it->items, cap * sizeof(it->items[0]));
		}
		it->items[it->items_len++] = item_ref(item);
	}
	it->detached = true;
}

static void detach_iters(struct memory_store *m, enum store_family f)
{
	for (struct memory_iter *it = m->live; it != NULL; it = it->next) {
		if (it->family == f && !it->detached)
			iter_detach(it, &m->tables[f]);
	}
}

static struct store_iter *memory_iter_new(struct store *s, enum store_family f,
					  struct slice from, struct slice to, bool reverse)
{
	struct memory_store *m = memory_of(s);
	struct memory_iter *it = mem_zalloc(sizeof(*it));
	const struct table *t = &m->tables[f];

	it->family = f;
	it->reverse = reverse;
	it->begin = table_lower_bound(t, from);
	it->end = to.len > 0 ? table_lower_bound(t, to) : (struct position){.leaf = t->len};
	it->next = m->live;
	if (m->live != NULL)
		m->live->prev = it;
	m->live = it;
	return &it->base;
}

static bool memory_iter_next(struct store_iter *base, struct slice *key, struct slice *value)
{
	struct memory_iter *it = (struct memory_iter *)base;
	struct item *item;

	item_unref(it->lent);
	it->lent = NULL;
	if (it->detached) {
		if (it->items_at == it->items_len)
			return false;
		it->lent = it->items[it->items_at++];
	} else {
		item = iter_step(it, &memory_of(base->store)->tables[it->family]);
		if (item == NULL)
			return false;
		it->lent = item_ref(item);
	}
	*key = item_key(it->lent);
	*value = item_value(it->lent);
	return true;
}

static void memory_iter_free(struct store_iter *base)
{
	struct memory_iter *it = (struct memory_iter *)base;

	if (it->prev != NULL)
		it->prev->next = it->next;
	else
		memory_of(base->store)->live = it->next;
	if (it->next != NULL)
		it->next->prev = it->prev;
	item_unref(it->lent);
	while (it->items_at < it->items_len)
		item_unref(it->items[it->items_at++]);
	mem_free(it->items);
	mem_free(it);
}

/* Writing, and taking it back */

static void undo_push(struct memory_store *m, struct undo u)
{
	if (m->undo_len == m->undo_cap) {
		m->undo_cap = m->undo_cap > 0 ? 2 * m->undo_cap : 64;
		m->undo = mem_realloc(m->undo, m->undo_cap * sizeof(m->undo[0]));
	}
	m->undo[m->undo_len++] = u;
}

static void batch_push(struct memory_store *m)
{
	if (m->batches_len == m->batches_cap) {
		m->batches_cap = m->batches_cap > 0 ? 2 * m->batches_cap : 16;
		m->batches = mem_realloc(m->batches, m->batches_cap * sizeof(m->batches[0]));
	}
	m->batches[m->batches_len++] = m->undo_len;
}

static void apply(struct memory_store *m, const struct store_batch *b)
{
	struct store_op op;
	size_t offset = 0;

	while (store_batch_next(b, &offset, &op)) {
		struct table *t = &m->tables[op.family];
		struct undo u = {.family = op.family};

		detach_iters(m, op.family);
		if (op.is_delete) {
			u.replaced = table_remove(t, op.key);
			if (u.replaced == NULL)
				continue;
		} else {
			u.inserted = item_new(op.key, op.value); /* lives in the table */
			u.replaced = table_put(t, u.inserted);
		}
		undo_push(m, u);
	}
}

static void forget_undo(struct memory_store *m)
{
	for (size_t i = 0; i < m->undo_len; i++)
		item_unref(m->undo[i].replaced);
	m->undo_len = 0;
	m->batches_len = 0;
}

static void roll_back(struct memory_store *m, size_t undo_len)
{
	while (m->undo_len > undo_len) {
		struct undo u = m->undo[--m->undo_len];
		struct table *t = &m->tables[u.family];
		struct item *out = NULL;

		if (u.replaced != NULL)
			out = table_put(t, u.replaced);
		else
			out = table_remove(t, item_key(u.inserted));
		invariant(out == u.inserted);
		item_unref(out);
	}
}

static int memory_write(struct store *s, const struct store_batch *b, bool sync)
{
	struct memory_store *m = memory_of(s);

	/* store_sync() comes as an empty batch and is not counted as a write */
	if (b->count > 0 && m->fail_in > 0 && --m->fail_in == 0) {
		m->lost = store_batch_new();
		writer_raw(&m->lost->ops, b->ops.buf, b->ops.len);
		m->lost->count = b->count;
		return ERR_IO;
	}
	if (sync) {
		apply(m, b);
		forget_undo(m);
	} else if (b->count > 0) {
		batch_push(m);
		apply(m, b);
	}
	return ERR_NONE;
}

void store_memory_crash(struct store *s, struct random *r)
{
	struct memory_store *m = memory_of(s);
	size_t count = m->batches_len + (m->lost != NULL ? 1 : 0);
	size_t keep = (size_t)random_below(r, (uint64_t)count + 1);

	invariant(atomic_load(&s->iters) == 0);
	if (keep < m->batches_len)
		roll_back(m, m->batches[keep]);
	/* A write that failed may have reached the disk all the same. */
	if (m->lost != NULL && keep == count)
		apply(m, m->lost);
	store_batch_free(m->lost);
	m->lost = NULL;
	forget_undo(m);
	m->fail_in = 0;
	atomic_store(&s->failed, false);
}

void store_memory_fail_write(struct store *s, uint64_t nth)
{
	memory_of(s)->fail_in = nth;
}

static int memory_get(struct store *s, enum store_family f, struct slice key,
		      struct writer *out)
{
	const struct item *item = table_get(&memory_of(s)->tables[f], key);

	if (item == NULL)
		return ERR_NOT_FOUND;
	writer_raw(out, item_value(item).ptr, item->value_len);
	return ERR_NONE;
}

static void memory_close(struct store *s)
{
	struct memory_store *m = memory_of(s);

	forget_undo(m);
	for (int f = 0; f < STORE_FAMILIES; f++)
		table_free(&m->tables[f]);
	store_batch_free(m->lost);
	mem_free(m->undo);
	mem_free(m->batches);
	mem_free(m);
}

static const struct store_ops memory_ops = {
	.close = memory_close,
	.write = memory_write,
	.get = memory_get,
	.iter_new = memory_iter_new,
	.iter_next = memory_iter_next,
	.iter_free = memory_iter_free,
};

struct store *store_open_memory(void)
{
	struct memory_store *m = mem_zalloc(sizeof(*m));

	m->base.ops = &memory_ops;
	return &m->base;
}
