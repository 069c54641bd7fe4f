#include "ledger/private.h"

#include <stdlib.h>

#define ARENA_CHUNK (16u << 10)
#define BUCKETS_MIN 256
#define FEW_CHANGES 16
/* Nodes above this are in a cache all the time. */
#define PREFETCH_DEPTH 1

struct arena_chunk {
	struct arena_chunk *next;
	size_t size;
	_Alignas(16) uint8_t bytes[];
};

void *arena_alloc(struct arena *a, size_t size)
{
	size = (size + 15) & ~(size_t)15;
	if (!a->chunks || a->chunks->size - a->used < size) {
		size_t room = size > ARENA_CHUNK ? size : ARENA_CHUNK;
		struct arena_chunk *c = mem_alloc(sizeof(*c) + room);
		c->next = a->chunks;
		c->size = room;
		a->chunks = c;
		a->used = 0;
	}
	void *p = a->chunks->bytes + a->used;
	a->used += size;
	return p;
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *keep = NULL;
	for (struct arena_chunk *c = a->chunks, *next; c; c = next) {
		next = c->next;
		if (!keep && c->size == ARENA_CHUNK)
			keep = c;
		else
			mem_free(c);
	}
	if (keep)
		keep->next = NULL;
	a->chunks = keep;
	a->used = 0;
}

void arena_free(struct arena *a)
{
	arena_reset(a);
	mem_free(a->chunks);
	a->chunks = NULL;
}

static struct slice arena_copy(struct arena *a, struct slice s)
{
	uint8_t *p = arena_alloc(a, s.len);
	if (s.len)
		memcpy(p, s.ptr, s.len);
	return slice_of(p, s.len);
}

struct overlay *overlay_new(struct tree *t, uint32_t changes, size_t key_bytes, size_t stale)
{
	struct overlay *o;
	size_t size = sizeof(*o) + changes * sizeof(*o->changes) + key_bytes + stale;
	o = freelist_alloc(&t->heap->free, size);
	*o = (struct overlay){.size = size, .changes = (struct change *)(o + 1)};
	o->key_bytes = (uint8_t *)(o->changes + changes);
	o->stale = o->key_bytes + key_bytes;
	o->stale_len = stale;
	return o;
}

void overlay_free(struct tree *t, struct overlay *o)
{
	for (uint32_t i = 0; i < o->change_count; i++)
		tree_leaf_drop(t, o->changes[i].leaf);
	tree_drop(t, o->root);
	freelist_free(&t->heap->free, o, o->size);
}

void execution_init(struct execution *x, struct tree *t, const struct genesis *g)
{
	*x = (struct execution){.tree = t, .genesis = g};
	/* Keys are chosen by clients, who must not know the seed. It reaches no result. */
	crypto_random(&x->seed, sizeof(x->seed));
	x->bucket_count = BUCKETS_MIN;
	x->buckets = mem_array(x->bucket_count, sizeof(*x->buckets));
}

void execution_free(struct execution *x)
{
	mem_free(x->buckets);
	arena_free(&x->arena);
	mem_free(x->undo);
	writer_free(&x->stale);
}

static struct entry **bucket_of(struct execution *x, const struct hash *key)
{
	uint64_t k;
	memcpy(&k, key->b, sizeof(k)); /* whatever the byte order: it stays in here */
	k = (k ^ x->seed) * UINT64_C(0x9e3779b97f4a7c15);
	return &x->buckets[(k ^ k >> 32) & (x->bucket_count - 1)];
}

void execution_begin(struct execution *x, const struct overlay *parent, uint64_t height)
{
	for (struct entry *e = x->first; e; e = e->next)
		*bucket_of(x, &e->key) = NULL;
	arena_reset(&x->arena);
	x->parent = parent;
	x->height = height;
	x->ops = 0;
	x->senders = parent->senders;
	x->modes = parent->modes;
	x->first = NULL;
	x->last = &x->first;
	x->entry_count = 0;
	x->undo_len = 0;
}

/* ---- entries ----------------------------------------------------------------------------- */

static void grow_buckets(struct execution *x)
{
	mem_free(x->buckets);
	x->bucket_count *= 4;
	x->buckets = mem_array(x->bucket_count, sizeof(*x->buckets));
	for (struct entry *e = x->first; e; e = e->next) {
		struct entry **b = bucket_of(x, &e->key);
		e->chained = *b;
		*b = e;
	}
}

/* state_key is copied if it is new. */
static struct entry *entry_of(struct execution *x, struct slice state_key)
{
	struct hash key;
	tree_key(&key, state_key);
	for (struct entry *e = *bucket_of(x, &key); e; e = e->chained)
		if (hash_equal(&e->key, &key))
			return e;
	if (x->entry_count >= x->bucket_count)
		grow_buckets(x);
	struct entry *e = arena_alloc(&x->arena, sizeof(*e));
	struct entry **bucket = bucket_of(x, &key);
	e->next = NULL;
	e->chained = *bucket;
	e->key = key;
	e->state_key = arena_copy(&x->arena, state_key);
	e->loaded = e->dirty = e->present = e->has_value = false;
	e->value = slice_of(NULL, 0);
	e->base = NULL;
	e->base_version = 0;
	*bucket = e;
	*x->last = e;
	x->last = &e->next;
	x->entry_count++;
	return e;
}

static struct entry *user_entry(struct execution *x, struct slice key)
{
	uint8_t buf[STATE_KEY_MAX];
	invariant(key.len < sizeof(buf));
	buf[0] = STATE_NS_USER;
	memcpy(buf + 1, key.ptr, key.len);
	return entry_of(x, slice_of(buf, 1 + key.len));
}

static struct entry *pubkey_entry(struct execution *x, char ns, const struct pubkey *key)
{
	uint8_t buf[STATE_ACCOUNT_KEY_SIZE];
	state_key_of(buf, ns, key);
	return entry_of(x, slice_of(buf, sizeof(buf)));
}

/* Makes `present` known. */
static int entry_load(struct execution *x, struct entry *e)
{
	if (e->loaded || e->dirty)
		return ERR_NONE;
	int err = tree_find(x->tree, x->parent->root, &e->key, &e->base, &e->base_version);
	if (err)
		return err;
	e->loaded = true;
	e->present = e->base != NULL;
	return ERR_NONE;
}

/* Its value, empty if absent. Lent until the entry is written. */
static int entry_value(struct execution *x, struct entry *e, struct slice *out)
{
	*out = slice_of(NULL, 0);
	int err = entry_load(x, e);
	if (err || !e->present)
		return err;
	if (!e->has_value) {
		err = tree_value(x->tree, e->base, e->base_version, e->state_key, &e->value);
		if (err)
			return err;
		e->has_value = true;
	}
	*out = e->value;
	return ERR_NONE;
}

/* Does e hold this very value? Hashes tell without fetching the value. */
static bool entry_equals(const struct entry *e, struct slice value)
{
	struct hash h;
	if (!e->present)
		return false;
	if (e->has_value)
		return slice_equal(e->value, value);
	tree_value_hash(&h, value);
	return hash_equal(&h, &e->base->value_hash);
}

static void undo_push(struct execution *x, struct entry *e)
{
	if (x->undo_len == x->undo_cap) {
		x->undo_cap = x->undo_cap ? 2 * x->undo_cap : 16;
		x->undo = mem_realloc(x->undo, x->undo_cap * sizeof(*x->undo));
	}
	x->undo[x->undo_len++] = (struct undo){.entry = e,
					       .dirty = e->dirty,
					       .present = e->present,
					       .has_value = e->has_value,
					       .value = e->value};
}

static void undo_all(struct execution *x)
{
	while (x->undo_len > 0) {
		const struct undo *u = &x->undo[--x->undo_len];
		u->entry->dirty = u->dirty;
		u->entry->present = u->present;
		u->entry->has_value = u->has_value;
		u->entry->value = u->value;
	}
}

/* value stays put until the end of the execution. */
static void entry_put(struct execution *x, struct entry *e, struct slice value)
{
	undo_push(x, e);
	e->dirty = e->present = e->has_value = true;
	e->value = value;
}

static void entry_delete(struct execution *x, struct entry *e)
{
	undo_push(x, e);
	e->dirty = true;
	e->present = e->has_value = false;
	e->value = slice_of(NULL, 0);
}

static int entry_u64(struct execution *x, struct entry *e, uint64_t *out)
{
	struct slice v;
	int err = entry_value(x, e, &v);
	*out = 0;
	if (err || !e->present)
		return err;
	if (v.len != 8)
		return ERR_CORRUPT;
	*out = load_be64(v.ptr);
	return ERR_NONE;
}

/* Nothing is the absence of an entry: an emptied account leaves nothing behind. */
static void entry_put_u64(struct execution *x, struct entry *e, uint64_t v)
{
	if (v == 0) {
		entry_delete(x, e);
		return;
	}
	uint8_t *p = arena_alloc(&x->arena, 8);
	store_be64(p, v);
	entry_put(x, e, slice_of(p, 8));
}

/* ---- transactions ------------------------------------------------------------------------ */

/* The sender's window; empty if it has none. */
static int sender_window(struct execution *x, struct entry *e, struct slice *value)
{
	int err = entry_value(x, e, value);
	if (!err && e->present && value->len != nonce_window_size(&x->genesis->limits))
		err = ERR_CORRUPT;
	return err;
}

int execution_check(struct execution *x, const struct tx *tx, struct entry **sender)
{
	const struct genesis_limits *limits = &x->genesis->limits;
	struct slice window;
	int err = expiry_check(tx->expiry, x->height, limits);
	if (err)
		return err;
	if (!sender_allowed(x->genesis, &tx->sender))
		return ERR_TX_SENDER;
	*sender = pubkey_entry(x, STATE_NS_NONCE, &tx->sender);
	err = sender_window(x, *sender, &window);
	if (err)
		return err;
	if (!(*sender)->present && x->genesis->open && x->senders >= limits->senders_max)
		return ERR_TX_SENDER;
	return nonce_check(window, tx->nonce, limits->nonce_window);
}

static int use_nonce(struct execution *x, const struct tx *tx, struct entry *e)
{
	size_t size = nonce_window_size(&x->genesis->limits);
	struct slice old;
	int err = sender_window(x, e, &old);
	if (err)
		return err;
	if (!e->present)
		entry_put_u64(x, entry_of(x, state_key_senders()), ++x->senders);
	/* In place if an earlier transaction of the block made the copy. */
	uint8_t *value = (uint8_t *)old.ptr;
	if (!e->dirty) {
		value = arena_alloc(&x->arena, size);
		memset(value, 0, size);
		if (old.len)
			memcpy(value, old.ptr, size);
		entry_put(x, e, slice_of(value, size));
	}
	nonce_use(value, tx->nonce, x->genesis->limits.nonce_window);
	x->undo_len = 0;
	return ERR_NONE;
}

static int run_transfer(struct execution *x, const struct tx *tx, const struct op *op,
			enum tx_result *result)
{
	struct entry *from = pubkey_entry(x, STATE_NS_ACCOUNT, &tx->sender);
	struct entry *to = pubkey_entry(x, STATE_NS_ACCOUNT, &op->to);
	uint64_t have, had;
	int err = entry_u64(x, from, &have);
	if (!err)
		err = entry_u64(x, to, &had);
	if (err)
		return err;
	if (have < op->amount) {
		*result = TX_FAILED_FUNDS;
	} else if (from == to) {
		*result = TX_OK;
	} else if (had > UINT64_MAX - op->amount) {
		*result = TX_FAILED_OVERFLOW;
	} else {
		entry_put_u64(x, from, have - op->amount);
		entry_put_u64(x, to, had + op->amount);
	}
	return ERR_NONE;
}

static int run_op(struct execution *x, const struct tx *tx, const struct op *op,
		  enum tx_result *result)
{
	struct entry *e;
	int err = ERR_NONE;
	switch (op->kind) {
	case OP_PUT:
		e = user_entry(x, op->key);
		tree_prefetch(x->parent->root, &e->key, PREFETCH_DEPTH);
		entry_put(x, e, op->value);
		return ERR_NONE;
	case OP_DELETE:
		e = user_entry(x, op->key);
		err = entry_load(x, e);
		if (err)
			return err;
		if (e->present)
			entry_delete(x, e);
		else
			*result = TX_FAILED_NOT_FOUND;
		return ERR_NONE;
	case OP_CAS:
		e = user_entry(x, op->key);
		err = entry_load(x, e);
		if (err)
			return err;
		if (op->expect_present ? entry_equals(e, op->expected) : !e->present)
			entry_put(x, e, op->value);
		else
			*result = TX_FAILED_CAS;
		return ERR_NONE;
	case OP_TRANSFER:
		return run_transfer(x, tx, op, result);
	}
	invariant(!"operation kind");
	return ERR_RANGE;
}

int execution_run(struct execution *x, const struct tx *tx, struct entry *sender,
		  enum tx_result *result)
{
	struct reader r;
	struct op op;
	*result = TX_OK;
	x->undo_len = 0;
	x->ops += tx->op_count;
	reader_init(&r, tx->ops);
	while (*result == TX_OK && tx_op_next(&r, &op)) {
		int err = run_op(x, tx, &op, result);
		if (err)
			return err;
	}
	if (*result != TX_OK)
		undo_all(x);
	return use_nonce(x, tx, sender);
}

int execution_system(struct execution *x, const struct system_tx *tx)
{
	struct writer w = {0};
	int err = mode_state_apply(&x->modes, tx, x->height, x->genesis);
	if (err)
		return err;
	mode_state_encode(&w, &x->modes);
	entry_put(x, entry_of(x, state_key_modes()), arena_copy(&x->arena, writer_slice(&w)));
	writer_free(&w);
	x->undo_len = 0;
	return ERR_NONE;
}

/* ---- the end of the block ---------------------------------------------------------------- */

static int compare_changes(const void *a, const void *b)
{
	const struct tree_change *x = a, *y = b;
	return memcmp(x->key.b, y->key.b, HASH_SIZE);
}

/* Most blocks of an idle chain change a handful of keys, for which qsort() is slow. */
static void sort(struct tree_change *changes, size_t count)
{
	if (count > FEW_CHANGES) {
		qsort(changes, count, sizeof(*changes), compare_changes);
		return;
	}
	for (size_t i = 1; i < count; i++) {
		struct tree_change c = changes[i];
		size_t j = i;
		for (; j > 0 && compare_changes(&c, &changes[j - 1]) < 0; j--)
			changes[j] = changes[j - 1];
		changes[j] = c;
	}
}

/* Changes of all entries written, ascending; the caller drops their leaves. */
static size_t collect(struct execution *x, struct tree_change *changes)
{
	size_t count = 0;
	for (struct entry *e = x->first; e; e = e->next) {
		if (!e->dirty)
			continue;
		struct tree_change *c = &changes[count++];
		c->key = e->key;
		c->leaf = e->present ? tree_leaf_new(x->tree, &e->key, e->value) : NULL;
		c->effective = false;
		c->tag = e;
		if (!e->loaded)
			tree_prefetch(x->parent->root, &e->key, PREFETCH_DEPTH + 1);
	}
	sort(changes, count);
	return count;
}

/* Values that the block replaces or deletes. */
static void list_stale_values(struct execution *x, const struct tree_change *changes,
			      size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (changes[i].effective && changes[i].replaces)
			tree_stale_value(&x->stale, &changes[i].key, changes[i].old_version);
	}
}

static bool is_kept(const struct tree_change *c)
{
	return c->effective && c->leaf;
}

/* With what finalising writes: leaves and state keys of the values that changed. */
static struct overlay *make_overlay(struct execution *x, const struct tree_change *changes,
				    size_t count)
{
	size_t bytes = 0;
	uint32_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		const struct entry *e = changes[i].tag;
		if (!is_kept(&changes[i]))
			continue;
		bytes += e->state_key.len;
		kept++;
	}
	struct overlay *o = overlay_new(x->tree, kept, bytes, x->stale.len);
	if (x->stale.len)
		memcpy(o->stale, x->stale.buf, x->stale.len);
	bytes = 0;
	for (size_t i = 0; i < count; i++) {
		const struct entry *e = changes[i].tag;
		if (!is_kept(&changes[i]))
			continue;
		memcpy(o->key_bytes + bytes, e->state_key.ptr, e->state_key.len);
		o->changes[o->change_count++] = (struct change){
			.leaf = changes[i].leaf,
			.key_offset = (uint32_t)bytes,
			.key_len = (uint32_t)e->state_key.len,
		};
		changes[i].leaf->refs++;
		bytes += e->state_key.len;
	}
	return o;
}

int execution_end(struct execution *x, struct overlay **out)
{
	const struct overlay *parent = x->parent;
	struct tree_change few[FEW_CHANGES], *changes = few;
	struct tree_node *root;
	struct hash root_hash = parent->root_hash;
	int64_t added = 0;

	*out = NULL;
	if (x->entry_count > MEM_COUNT(few))
		changes = mem_array(x->entry_count, sizeof(*changes));
	size_t count = collect(x, changes);
	writer_reset(&x->stale);
	int err = tree_update(x->tree, parent->root, x->height, changes, count, &root,
			      &root_hash, &added, x->prune ? &x->stale : NULL);
	if (!err) {
		if (x->prune)
			list_stale_values(x, changes, count);
		struct overlay *o = make_overlay(x, changes, count);
		o->height = x->height;
		o->root = root;
		o->root_hash = root_hash;
		o->keys = parent->keys + (uint64_t)added;
		o->senders = x->senders;
		o->modes = x->modes;
		*out = o;
	}
	for (size_t i = 0; i < count; i++)
		if (changes[i].leaf)
			tree_leaf_drop(x->tree, changes[i].leaf);
	if (changes != few)
		mem_free(changes);
	return err;
}

int genesis_state(struct execution *x, const struct genesis *g, struct overlay **out)
{
	struct overlay before = {.root = tree_empty(x->tree)};
	mode_state_init(&before.modes);
	tree_hash(&before.root_hash, before.root);
	execution_begin(x, &before, 0);
	for (uint32_t i = 0; i < g->balance_count; i++)
		if (g->balances[i].amount)
			entry_put_u64(
				x, pubkey_entry(x, STATE_NS_ACCOUNT, &g->balances[i].account),
				g->balances[i].amount);
	int err = execution_end(x, out);
	x->parent = NULL;
	tree_drop(x->tree, before.root);
	return err;
}
