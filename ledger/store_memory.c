/* The store's model in memory: tables that can crash.
 *
 * A table is a hash table with linear probing, for almost all that a replica does is to get,
 * put and delete single keys. Iterators, which replicas use when they start, sort what is in
 * their range: O(n) for the table, O(m log m) for the range.
 *
 * Items never change and are counted, so a table, the undo list and iterators share them; and
 * so do stores that are opened beside one another. */
#include <stdlib.h>
#include <string.h>

#include "base/freelist.h"
#include "ledger/store_private.h"

#define TABLE_FIRST_CAP 64
#define CHUNK_SIZE	(64u << 10)
#define OPS_AHEAD	32  /* whose places in the tables are fetched at a time */
#define RECENT		512 /* items that stores beside one another look for; a power of two */

struct item {
	uint32_t refs;
	uint32_t key_len, value_len;
	uint32_t mark;	 /* of the key: part of its hash, never 0 */
	uint8_t bytes[]; /* key, value */
};

/* Of a place: part of its key's hash, 0 if it is empty; and in an array by itself, for most
 * lookups look no further, its item. */
struct table {
	uint32_t *marks;
	struct item **items;
	size_t len, cap; /* cap: 0 or a power of two, never full */
};

/* What takes one operation back. The item put in is absent for a delete, the item that it
 * replaced or removed is absent for a new key. */
struct undo {
	enum store_family family;
	struct item *inserted;
	struct item *replaced;
};

/* Of one store, or of several beside one another. Items are cut from chunks, and those that are
 * free kept by size, so that they lie close together and all go at once. Large ones stand by
 * themselves. */
struct items {
	unsigned stores;
	struct chunk {
		struct chunk *next;
		_Alignas(16) uint8_t bytes[CHUNK_SIZE];
	} * chunks;
	size_t chunk_used;
	struct free_items {
		void **items;
		size_t len, cap;
	} free_items[FREELIST_CLASSES];
	size_t apart; /* items that are not in chunks */
	/* By mark, while they live. NULL: there is one store only. */
	struct recent {
		uint32_t mark;
		struct item *item; /* or NULL */
	} * recent;
};

struct memory_store {
	struct store base;
	struct items *items;
	struct table tables[STORE_FAMILIES];
	/* unsynced batches: where each starts in undo */
	struct undo *undo;
	size_t undo_len, undo_cap;
	size_t *batches;
	size_t batches_len, batches_cap;
	uint64_t fail_in; /* the write to fail, counted down; 0: none */
	uint64_t kill_in; /* the write or sync to die at, likewise */
	void (*killed)(void *ctx);
	void *killed_ctx;
	struct store_batch *lost; /* the write that failed */
};

/* What is in its range when it is made, in its order; lent items are held to its end. */
struct memory_iter {
	struct store_iter base;
	struct item **items;
	size_t len, at;
};

static const struct store_ops memory_ops;

static struct memory_store *memory_of(struct store *s)
{
	invariant(s->ops == &memory_ops);
	return (struct memory_store *)s;
}

/* Items */

static struct slice item_key(const struct item *i)
{
	return slice_of(i->bytes, i->key_len);
}

static struct slice item_value(const struct item *i)
{
	return slice_of(i->bytes + i->key_len, i->value_len);
}

static size_t item_size(struct slice key, struct slice value)
{
	return sizeof(struct item) + key.len + value.len;
}

/* The address sanitizer sees every item. */
static bool stands_apart(size_t size)
{
	return FREELIST_PLAIN || freelist_class(size) >= FREELIST_CLASSES;
}

static void *item_alloc(struct items *all, size_t size)
{
	size_t c = freelist_class(size);
	if (stands_apart(size)) {
		all->apart++;
		return mem_alloc(size);
	}
	struct free_items *list = &all->free_items[c];
	if (list->len > 0)
		return list->items[--list->len];
	if (all->chunks == NULL || CHUNK_SIZE - all->chunk_used < c * FREELIST_STEP) {
		struct chunk *chunk = mem_alloc(sizeof(*chunk));
		chunk->next = all->chunks;
		all->chunks = chunk;
		all->chunk_used = 0;
	}
	uint8_t *item = all->chunks->bytes + all->chunk_used;
	all->chunk_used += c * FREELIST_STEP;
	return item;
}

static void item_free(struct items *all, struct item *i)
{
	struct recent *r = all->recent != NULL ? &all->recent[i->mark & (RECENT - 1)] : NULL;
	if (r != NULL && r->item == i)
		r->item = NULL;
	size_t size = item_size(item_key(i), item_value(i));
	if (stands_apart(size)) {
		all->apart--;
		mem_free(i);
		return;
	}
	struct free_items *list = &all->free_items[freelist_class(size)];
	if (list->len == list->cap) {
		list->cap = list->cap > 0 ? 2 * list->cap : 16;
		list->items = mem_realloc(list->items, list->cap * sizeof(list->items[0]));
	}
	list->items[list->len++] = i;
}

/* In a batch a key and its value lie one behind the other. */
static struct item *item_new(struct items *all, uint32_t mark, struct slice key,
			     size_t value_len)
{
	size_t len = key.len + value_len;
	struct item *i = item_alloc(all, sizeof(*i) + len);

	i->refs = 1;
	i->key_len = (uint32_t)key.len;
	i->value_len = (uint32_t)value_len;
	i->mark = mark;
	memcpy(i->bytes, key.ptr, len);
	return i;
}

static struct item *item_ref(struct item *i)
{
	i->refs++;
	return i;
}

static void item_unref(struct items *all, struct item *i)
{
	if (i != NULL && --i->refs == 0)
		item_free(all, i);
}

/* One that another store beside this one has made lately, if all its bytes are equal. */
static struct item *item_get(struct items *all, uint32_t mark, struct slice key,
			     size_t value_len)
{
	if (all->recent == NULL)
		return item_new(all, mark, key, value_len);
	struct recent *r = &all->recent[mark & (RECENT - 1)];
	struct item *i = r->mark == mark ? r->item : NULL;
	if (i != NULL && i->key_len == key.len && i->value_len == value_len &&
	    memcmp(i->bytes, key.ptr, key.len + value_len) == 0)
		return item_ref(i);
	r->mark = mark;
	r->item = item_new(all, mark, key, value_len);
	return r->item;
}

/* Tables */

static uint64_t fold(uint64_t a, uint64_t b)
{
	uint64_t h = (a ^ (b << 32 | b >> 32)) * 0xd1342543de82ef95;
	return h ^ h >> 29;
}

static uint64_t word_at(const uint8_t *p)
{
	uint64_t word;
	memcpy(&word, p, sizeof(word));
	return word;
}

/* Nobody who chooses keys gains by making the model slow. Never 0. */
static uint32_t key_mark(struct slice key)
{
	const uint8_t *p = key.ptr;
	uint64_t h = key.len * 0x9e3779b97f4a7c15, first = 0, last = 0;
	size_t left = key.len;

	for (; left > 16; p += 16, left -= 16)
		h = (h << 23 | h >> 41) + fold(word_at(p), word_at(p + 8) * 3);
	if (left >= 8) { /* the two overlap */
		first = word_at(p);
		last = word_at(p + left - 8);
	} else {
		for (size_t i = 0; i < left; i++)
			first = first << 8 | p[i];
	}
	h = fold(h ^ first, last * 3) * 0x9e3779b97f4a7c15;
	h ^= h >> 32;
	return (uint32_t)h ? (uint32_t)h : 1;
}

static inline bool is_of(const struct item *i, struct slice key)
{
	return i->key_len == key.len && memcmp(i->bytes, key.ptr, key.len) == 0;
}

/* The key's place, or the empty one where it belongs. The table has room. */
static inline size_t table_find(const struct table *t, uint32_t mark, struct slice key)
{
	size_t i = mark & (t->cap - 1);

	while (t->marks[i] != 0 && (t->marks[i] != mark || !is_of(t->items[i], key)))
		i = (i + 1) & (t->cap - 1);
	return i;
}

static struct item *table_get(const struct table *t, struct slice key)
{
	if (t->len == 0)
		return NULL;
	size_t i = table_find(t, key_mark(key), key);
	return t->marks[i] != 0 ? t->items[i] : NULL;
}

static void table_grow(struct table *t)
{
	struct table old = *t;

	t->cap = old.cap > 0 ? 2 * old.cap : TABLE_FIRST_CAP;
	t->marks = mem_array(t->cap, sizeof(t->marks[0]));
	t->items = mem_alloc(t->cap * sizeof(struct item *));
	for (size_t i = 0; i < old.cap; i++) {
		size_t at = old.marks[i] & (t->cap - 1);
		if (old.marks[i] == 0)
			continue;
		while (t->marks[at] != 0)
			at = (at + 1) & (t->cap - 1);
		t->marks[at] = old.marks[i];
		t->items[at] = old.items[i];
	}
	mem_free(old.marks);
	mem_free(old.items);
}

/* Takes over the reference; returns the one to the item replaced, or NULL. */
static struct item *table_put(struct table *t, struct item *item)
{
	struct slice key = item_key(item);

	if (t->len + 1 > t->cap / 3 * 2)
		table_grow(t);
	size_t at = table_find(t, item->mark, key);
	struct item *old = t->marks[at] != 0 ? t->items[at] : NULL;
	t->marks[at] = item->mark;
	t->items[at] = item;
	t->len += old == NULL;
	return old;
}

/* Returns the reference to the item removed, or NULL. */
static struct item *table_remove(struct table *t, uint32_t mark, struct slice key)
{
	if (t->len == 0)
		return NULL;
	size_t mask = t->cap - 1, hole = table_find(t, mark, key);
	if (t->marks[hole] == 0)
		return NULL;
	struct item *old = t->items[hole];
	/* Move later members of the run back, so that no probe meets a hole (Knuth 6.4 R). */
	for (size_t i = (hole + 1) & mask; t->marks[i] != 0; i = (i + 1) & mask) {
		size_t home = t->marks[i] & mask;
		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		t->marks[hole] = t->marks[i];
		t->items[hole] = t->items[i];
		hole = i;
	}
	t->marks[hole] = 0;
	t->len--;
	return old;
}

static void table_free(struct table *t, struct memory_store *m)
{
	for (size_t i = 0; m->items->apart > 0 && i < t->cap; i++)
		if (t->marks[i] != 0)
			item_unref(m->items, t->items[i]);
	mem_free(t->marks);
	mem_free(t->items);
}

/* Iterators */

static int compare_ascending(const void *a, const void *b)
{
	return slice_compare(item_key(*(struct item *const *)a),
			     item_key(*(struct item *const *)b));
}

static int compare_descending(const void *a, const void *b)
{
	return compare_ascending(b, a);
}

static struct store_iter *memory_iter_new(struct store *s, enum store_family f,
					  struct slice from, struct slice to, bool reverse)
{
	const struct table *t = &memory_of(s)->tables[f];
	struct memory_iter *it = mem_zalloc(sizeof(*it));

	it->items = mem_array(t->len, sizeof(it->items[0]));
	for (size_t i = 0; i < t->cap; i++) {
		struct item *item = t->marks[i] != 0 ? t->items[i] : NULL;
		if (item == NULL || slice_compare(item_key(item), from) < 0 ||
		    (to.len > 0 && slice_compare(item_key(item), to) >= 0))
			continue;
		it->items[it->len++] = item_ref(item);
	}
	qsort(it->items, it->len, sizeof(it->items[0]),
	      reverse ? compare_descending : compare_ascending);
	return &it->base;
}

static bool memory_iter_next(struct store_iter *base, struct slice *key, struct slice *value)
{
	struct memory_iter *it = (struct memory_iter *)base;

	if (it->at == it->len)
		return false;
	*key = item_key(it->items[it->at]);
	*value = item_value(it->items[it->at]);
	it->at++;
	return true;
}

static void memory_iter_free(struct store_iter *base)
{
	struct memory_iter *it = (struct memory_iter *)base;

	for (size_t i = 0; i < it->len; i++)
		item_unref(memory_of(base->store)->items, it->items[i]);
	mem_free(it->items);
	mem_free(it);
}

/* Writing, and taking it back */

/* By parts: a struct put together first and then copied waits for its parts to be written. */
static inline void undo_push(struct memory_store *m, enum store_family family,
			     struct item *inserted, struct item *replaced)
{
	if (m->undo_len == m->undo_cap) {
		m->undo_cap = m->undo_cap > 0 ? 2 * m->undo_cap : 64;
		m->undo = mem_realloc(m->undo, m->undo_cap * sizeof(m->undo[0]));
	}
	struct undo *u = &m->undo[m->undo_len++];
	u->family = family;
	u->inserted = inserted;
	u->replaced = replaced;
}

static void batch_push(struct memory_store *m)
{
	if (m->batches_len == m->batches_cap) {
		m->batches_cap = m->batches_cap > 0 ? 2 * m->batches_cap : 16;
		m->batches = mem_realloc(m->batches, m->batches_cap * sizeof(m->batches[0]));
	}
	m->batches[m->batches_len++] = m->undo_len;
}

/* An operation, its key and value being made into an item. */
struct ahead {
	struct slice key; /* in the batch, the value behind it */
	size_t value_len;
	bool is_delete;
	struct item *inserted; /* NULL: it is a delete */
	struct table *table;
	uint32_t mark;
	enum store_family family;
};

static inline void prefetch_item(const struct items *all, const struct ahead *a)
{
	const struct recent *r = &all->recent[a->mark & (RECENT - 1)];
	if (r->mark == a->mark && r->item != NULL)
		mem_prefetch(r->item, sizeof(*r->item) + a->key.len + a->value_len);
}

/* Most places in the tables are in no cache, nor what another store has put there lately: they
 * are asked for together, and come while the items are made. */
static size_t look_ahead(struct memory_store *m, const struct store_batch *b, size_t *offset,
			 struct ahead ahead[OPS_AHEAD])
{
	struct store_op op;
	size_t count = 0;

	while (count < OPS_AHEAD && store_batch_next(b, offset, &op)) {
		struct ahead *a = &ahead[count++];
		a->key = op.key;
		a->value_len = op.value.len;
		a->is_delete = op.is_delete;
		a->table = &m->tables[op.family];
		a->mark = key_mark(op.key);
		a->family = op.family;
		size_t at = a->mark & (a->table->cap - 1);
		if (a->table->cap > 0) {
			__builtin_prefetch(&a->table->marks[at], 1);
			__builtin_prefetch(&a->table->items[at], 1);
		}
		if (m->items->recent != NULL && !a->is_delete)
			prefetch_item(m->items, a);
	}
	for (struct ahead *a = ahead; a < ahead + count; a++)
		a->inserted =
			a->is_delete ? NULL : item_get(m->items, a->mark, a->key, a->value_len);
	return count;
}

static void apply(struct memory_store *m, const struct store_batch *b)
{
	struct ahead ahead[OPS_AHEAD];
	size_t offset = 0, count;

	while ((count = look_ahead(m, b, &offset, ahead)) > 0)
		for (const struct ahead *a = ahead; a < ahead + count; a++) {
			struct item *replaced;

			if (a->inserted == NULL) {
				replaced = table_remove(a->table, a->mark, a->key);
				if (replaced == NULL)
					continue;
			} else { /* it lives in the table */
				replaced = table_put(a->table, a->inserted);
			}
			undo_push(m, a->family, a->inserted, replaced);
		}
}

static void forget_undo(struct memory_store *m)
{
	for (size_t i = 0; i < m->undo_len; i++)
		item_unref(m->items, m->undo[i].replaced);
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
			out = table_remove(t, u.inserted->mark, item_key(u.inserted));
		invariant(out == u.inserted);
		item_unref(m->items, out);
	}
}

/* Whether it reaches the disk is seen when the crash comes. */
static int lose_write(struct memory_store *m, const struct store_batch *b)
{
	m->lost = store_batch_new();
	writer_raw(&m->lost->ops, b->ops.buf, b->ops.len);
	m->lost->count = b->count;
	return ERR_IO;
}

static int memory_write(struct store *s, const struct store_batch *b, bool sync)
{
	struct memory_store *m = memory_of(s);

	if (m->kill_in > 0 && --m->kill_in == 0) {
		m->killed(m->killed_ctx);
		return b->count > 0 ? lose_write(m, b) : ERR_IO;
	}
	/* store_sync() comes as an empty batch and is not counted as a write */
	if (b->count > 0 && m->fail_in > 0 && --m->fail_in == 0)
		return lose_write(m, b);
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
	m->fail_in = m->kill_in = 0;
	atomic_store(&s->failed, false);
}

void store_memory_kill(struct store *s, uint64_t nth, void (*killed)(void *ctx), void *ctx)
{
	struct memory_store *m = memory_of(s);

	m->kill_in = nth;
	m->killed = killed;
	m->killed_ctx = ctx;
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

static void items_free(struct items *all)
{
	if (--all->stores > 0)
		return;
	for (struct chunk *c = all->chunks, *next; c != NULL; c = next) {
		next = c->next;
		mem_free(c);
	}
	for (size_t i = 0; i < FREELIST_CLASSES; i++)
		mem_free(all->free_items[i].items);
	mem_free(all->recent);
	mem_free(all);
}

/* What a store has in chunks goes with them, when the last store beside it does. */
static void memory_close(struct store *s)
{
	struct memory_store *m = memory_of(s);

	forget_undo(m);
	for (int f = 0; f < STORE_FAMILIES; f++)
		table_free(&m->tables[f], m);
	items_free(m->items);
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

static struct store *open_with(struct items *all)
{
	struct memory_store *m = mem_zalloc(sizeof(*m));

	m->base.ops = &memory_ops;
	m->items = all;
	all->stores++;
	return &m->base;
}

struct store *store_open_memory(void)
{
	return open_with(mem_zalloc(sizeof(struct items)));
}

struct store *store_open_memory_beside(struct store *other)
{
	struct items *all = memory_of(other)->items;

	if (all->recent == NULL)
		all->recent = mem_array(RECENT, sizeof(struct recent));
	return open_with(all);
}
