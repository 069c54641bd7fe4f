/* The store's model in memory: tables that can crash.
 *
 * A table is a hash table with linear probing, for almost all that a replica does is to get,
 * put and delete single keys. Iterators, which replicas use when they start, sort what is in
 * their range: O(n) for the table, O(m log m) for the range.
 *
 * Keys and values of items never change, and items are counted, so a table, the undo list and
 * iterators share them. Stores that are opened beside one another have their tables in common:
 * an item knows who holds it, and a key has as many items as it has values in these stores. */
#include <stdlib.h>
#include <string.h>

#include "base/freelist.h"
#include "ledger/store_private.h"

#define TABLE_FIRST_CAP 64
#define CHUNK_SIZE	(64u << 10)
#define OPS_AHEAD	32 /* whose places in the tables are fetched at a time */

struct item {
	uint64_t holders; /* the stores in whose table it is, a bit each */
	uint32_t refs;	  /* the table's, while there are holders; undo lists', iterators' */
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
	uint64_t given, gone; /* bits of stores; gone: closed, items may still have them */
	struct table common[STORE_FAMILIES];
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
};

struct memory_store {
	struct store base;
	struct items *items;
	uint64_t bit; /* its own */
	struct table own[STORE_FAMILIES];
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

/* In a batch a key and its value lie one behind the other. Of a table that has it from now on. */
static struct item *item_new(struct items *all, uint64_t holder, uint32_t mark,
			     struct slice key, size_t value_len)
{
	size_t len = key.len + value_len;
	struct item *i = item_alloc(all, sizeof(*i) + len);

	i->holders = holder;
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

/* Slots of votes and the store's own numbers have the same keys in all stores and another value
 * in each: looked for among all of them they would take O(n). */
static bool is_common(enum store_family f)
{
	return f != STORE_VOTES && f != STORE_META;
}

static struct table *table_of(struct memory_store *m, enum store_family f)
{
	return is_common(f) ? &m->items->common[f] : &m->own[f];
}

static struct item *table_get(const struct table *t, uint64_t holder, struct slice key)
{
	if (t->len == 0)
		return NULL;
	uint32_t mark = key_mark(key);
	for (size_t i = mark & (t->cap - 1); t->marks[i] != 0; i = (i + 1) & (t->cap - 1))
		if (t->marks[i] == mark && (t->items[i]->holders & holder) &&
		    is_of(t->items[i], key))
			return t->items[i];
	return NULL;
}

/* There is room. */
static void table_place(struct table *t, uint32_t mark, struct item *item)
{
	size_t at = mark & (t->cap - 1);

	while (t->marks[at] != 0)
		at = (at + 1) & (t->cap - 1);
	t->marks[at] = mark;
	t->items[at] = item;
	t->len++;
}

/* A new one of cap places, with what does not come to an end because of those who are gone. */
static void table_rebuild(struct items *all, struct table *t, size_t cap)
{
	struct table old = *t;

	t->len = 0;
	t->cap = cap;
	t->marks = mem_array(t->cap, sizeof(t->marks[0]));
	t->items = mem_alloc(t->cap * sizeof(struct item *));
	for (size_t i = 0; i < old.cap; i++) {
		if (old.marks[i] == 0)
			continue;
		struct item *item = old.items[i];
		item->holders &= ~all->gone;
		if (item->holders != 0)
			table_place(t, old.marks[i], item);
		else
			item_unref(all, item);
	}
	mem_free(old.marks);
	mem_free(old.items);
}

static inline void table_make_room(struct items *all, struct table *t)
{
	if (t->len + 1 > t->cap / 3 * 2)
		table_rebuild(all, t, t->cap > 0 ? 2 * t->cap : TABLE_FIRST_CAP);
}

/* Takes over the reference of an item that no store has now, or gives it up. */
static void table_enter(struct items *all, struct table *t, uint64_t holder, struct item *item)
{
	if (item->holders == 0) {
		table_make_room(all, t);
		table_place(t, item->mark, item);
	} else {
		item->refs--;
	}
	item->holders |= holder;
}

/* The store does not have the item at this place any more. */
static void table_leave(struct items *all, struct table *t, uint64_t holder, size_t at)
{
	struct item *item = t->items[at];
	size_t mask = t->cap - 1, hole = at;

	item->holders &= ~holder;
	if (item->holders != 0)
		return;
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
	item_unref(all, item);
}

static void table_free(struct items *all, struct table *t)
{
	for (size_t i = 0; all->apart > 0 && i < t->cap; i++)
		if (t->marks[i] != 0)
			item_unref(all, t->items[i]);
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
	struct memory_store *m = memory_of(s);
	const struct table *t = table_of(m, f);
	struct memory_iter *it = mem_zalloc(sizeof(*it));

	it->items = mem_array(t->len, sizeof(it->items[0]));
	for (size_t i = 0; i < t->cap; i++) {
		struct item *item = t->marks[i] != 0 ? t->items[i] : NULL;
		if (item == NULL || !(item->holders & m->bit) ||
		    slice_compare(item_key(item), from) < 0 ||
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

struct ahead {
	struct slice key; /* in the batch, the value behind it */
	size_t value_len;
	bool is_delete;
	struct table *table;
	uint32_t mark;
	enum store_family family;
};

/* Most places in the tables are in no cache: they are asked for together. */
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
		a->table = table_of(m, op.family);
		a->mark = key_mark(op.key);
		a->family = op.family;
		size_t at = a->mark & (a->table->cap - 1);
		if (a->table->cap > 0) {
			__builtin_prefetch(&a->table->marks[at], 1);
			__builtin_prefetch(&a->table->items[at], 1);
		}
	}
	return count;
}

static void apply_delete(struct memory_store *m, const struct ahead *a)
{
	struct table *t = a->table;
	if (t->len == 0)
		return;
	size_t at = a->mark & (t->cap - 1);

	for (; t->marks[at] != 0; at = (at + 1) & (t->cap - 1)) {
		struct item *i = t->items[at];
		if (t->marks[at] != a->mark || !(i->holders & m->bit) || !is_of(i, a->key))
			continue;
		undo_push(m, a->family, NULL, item_ref(i));
		table_leave(m->items, t, m->bit, at);
		return;
	}
}

/* The item with this value, if another store has put it, or this one; else a new one. */
static void apply_put(struct memory_store *m, const struct ahead *a)
{
	struct table *t = a->table;
	struct item *same = NULL, *old = NULL;

	table_make_room(m->items, t);
	size_t at = a->mark & (t->cap - 1), old_at = 0;
	for (; t->marks[at] != 0; at = (at + 1) & (t->cap - 1)) {
		struct item *i = t->items[at];
		if (t->marks[at] != a->mark || !is_of(i, a->key))
			continue;
		if (i->holders & m->bit) {
			old = i;
			old_at = at;
		}
		if (i->value_len == a->value_len &&
		    memcmp(i->bytes + i->key_len, a->key.ptr + a->key.len, a->value_len) == 0)
			same = i;
	}
	if (same == NULL && old != NULL && old->holders == m->bit) { /* in its place */
		t->items[old_at] = item_new(m->items, m->bit, a->mark, a->key, a->value_len);
		old->holders = 0;
		undo_push(m, a->family, t->items[old_at], old);
		return;
	}
	if (same == NULL) {
		same = item_new(m->items, m->bit, a->mark, a->key, a->value_len);
		t->marks[at] = a->mark;
		t->items[at] = same;
		t->len++;
	}
	same->holders |= m->bit;
	undo_push(m, a->family, same, old != NULL ? item_ref(old) : NULL);
	if (old != NULL && old != same)
		table_leave(m->items, t, m->bit, old_at);
}

static void apply(struct memory_store *m, const struct store_batch *b)
{
	struct ahead ahead[OPS_AHEAD];
	size_t offset = 0, count;

	while ((count = look_ahead(m, b, &offset, ahead)) > 0)
		for (const struct ahead *a = ahead; a < ahead + count; a++) {
			if (a->is_delete)
				apply_delete(m, a);
			else
				apply_put(m, a);
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
		struct table *t = table_of(m, u.family);

		if (u.inserted != NULL && u.inserted != u.replaced) {
			size_t at = u.inserted->mark & (t->cap - 1);
			invariant(u.inserted->holders & m->bit);
			while (t->items[at] != u.inserted) /* an empty place's item is old */
				at = (at + 1) & (t->cap - 1);
			table_leave(m->items, t, m->bit, at);
		}
		if (u.replaced != NULL)
			table_enter(m->items, t, m->bit, u.replaced);
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
	struct memory_store *m = memory_of(s);
	const struct item *item = table_get(table_of(m, f), m->bit, key);

	if (item == NULL)
		return ERR_NOT_FOUND;
	writer_raw(out, item_value(item).ptr, item->value_len);
	return ERR_NONE;
}

static void items_free(struct items *all)
{
	if (--all->stores > 0)
		return;
	for (int f = 0; f < STORE_FAMILIES; f++)
		table_free(all, &all->common[f]);
	for (struct chunk *c = all->chunks, *next; c != NULL; c = next) {
		next = c->next;
		mem_free(c);
	}
	for (size_t i = 0; i < FREELIST_CLASSES; i++)
		mem_free(all->free_items[i].items);
	mem_free(all);
}

/* What a store has in chunks goes with them, when the last store beside it does; what it has in
 * common tables when their next walk comes. */
static void memory_close(struct store *s)
{
	struct memory_store *m = memory_of(s);

	forget_undo(m);
	for (int f = 0; f < STORE_FAMILIES; f++)
		table_free(m->items, &m->own[f]);
	m->items->gone |= m->bit;
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

/* 0: as many are open as there are bits. */
static uint64_t bit_for_one_more(struct items *all)
{
	if (all->given == UINT64_MAX) {
		for (int f = 0; f < STORE_FAMILIES; f++)
			if (all->common[f].cap > 0)
				table_rebuild(all, &all->common[f], all->common[f].cap);
		all->given &= ~all->gone;
		all->gone = 0;
	}
	return ~all->given & (all->given + 1);
}

static struct store *open_with(struct items *all, uint64_t bit)
{
	struct memory_store *m = mem_zalloc(sizeof(*m));

	m->base.ops = &memory_ops;
	m->items = all;
	m->bit = bit;
	all->given |= bit;
	all->stores++;
	return &m->base;
}

struct store *store_open_memory(void)
{
	return open_with(mem_zalloc(sizeof(struct items)), 1);
}

struct store *store_open_memory_beside(struct store *other)
{
	struct items *all = memory_of(other)->items;
	uint64_t bit = bit_for_one_more(all);

	return bit != 0 ? open_with(all, bit) : store_open_memory();
}
