#include "base/mutant.h"
#include "chain/epoch.h"
#include "ledger/private.h"
#include "ledger/range.h"

#define BLOCK_OPS_MAX 65536 /* in one block; in docs/ledger-format.md, part of validity */

static size_t bucket_of(const struct hash *block)
{
	uint64_t k;
	memcpy(&k, block->b, sizeof(k));
	return k % LEDGER_BUCKETS;
}

static struct overlay *overlay_of(const struct ledger *l, const struct hash *block)
{
	struct overlay *o = l->overlays[bucket_of(block)];
	while (o && !hash_equal(&o->block, block))
		o = o->chained;
	return o;
}

static void overlay_add(struct ledger *l, struct overlay *o)
{
	struct overlay **bucket = &l->overlays[bucket_of(&o->block)];
	o->chained = *bucket;
	*bucket = o;
	l->overlay_count++;
}

static void overlay_remove(struct ledger *l, struct overlay *o)
{
	struct overlay **link = &l->overlays[bucket_of(&o->block)];
	while (*link != o)
		link = &(*link)->chained;
	*link = o->chained;
	l->overlay_count--;
}

void ledger_genesis_root(const struct genesis *g, struct hash *out)
{
	struct tree t;
	struct execution x;
	struct overlay *o;

	tree_init(&t, NULL, SIZE_MAX);
	execution_init(&x, &t, g);
	int err = genesis_state(&x, g, &o);
	invariant(!err); /* nothing is read from a store */
	*out = o->root_hash;
	overlay_free(&t, o);
	execution_free(&x);
	tree_close(&t);
}

/* ---- opening ----------------------------------------------------------------------------- */

static void put_state(struct ledger *l, struct overlay *o, struct store_batch *batch)
{
	const struct ledger_meta meta = {
		.height = o->height,
		.block = o->block,
		.root = o->root_hash,
		.keys = o->keys,
		.oldest = l->oldest,
	};
	for (uint32_t i = 0; i < o->change_count; i++) {
		const struct change *c = &o->changes[i];
		tree_write_value(&l->tree, &c->leaf->key,
				 slice_of(o->key_bytes + c->key_offset, c->key_len), o->height,
				 slice_of(c->leaf->value, c->leaf->value_len), batch);
	}
	tree_write(&l->tree, o->root, o->height, batch);
	meta_put(&l->scratch, batch, l->ctx, &meta);
}

static bool family_empty(struct store *s, enum store_family f)
{
	struct slice key, value;
	struct store_iter *it =
		store_iter_new(s, f, slice_of(NULL, 0), slice_of(NULL, 0), false);
	bool empty = !store_iter_next(it, &key, &value) && !store_iter_error(it);
	store_iter_free(it);
	return empty;
}

static int open_empty(struct ledger *l, const struct block *genesis_block, struct errmsg *m)
{
	char want[HASH_HEX_SIZE], got[HASH_HEX_SIZE];

	if (!family_empty(l->store, STORE_TREE) || !family_empty(l->store, STORE_STATE))
		return err_set(m, ERR_CORRUPT,
			       "there is state without the record that says whose it is: "
			       "restore a backup, or start with an empty directory");
	int err = genesis_state(&l->execution, l->genesis, &l->final);
	if (err)
		return err_set(m, err, "cannot make the genesis state: %s", err_text(err));
	if (!hash_equal(&l->final->root_hash, &l->genesis->state_root) ||
	    !hash_equal(&l->final->root_hash, &genesis_block->sh.h.state_root))
		return err_set(m, ERR_BAD_STATE_ROOT,
			       "the genesis file says state root %s, its balances give %s",
			       hash_hex(want, &l->genesis->state_root),
			       hash_hex(got, &l->final->root_hash));
	l->final->block = genesis_block->hash;
	struct store_batch *batch = store_batch_new();
	put_state(l, l->final, batch);
	err = store_write(l->store, batch, false);
	store_batch_free(batch);
	return err ? err_set(m, err, "cannot write the genesis state: %s", err_text(err))
		   : ERR_NONE;
}

/* A number of the ledger's own in the final state; 0 if absent. */
static int read_final(struct ledger *l, struct slice state_key, struct slice *out)
{
	struct hash key;
	struct tree_leaf *leaf;
	uint64_t version;
	*out = slice_of(NULL, 0);
	tree_key(&key, state_key);
	int err = tree_find(&l->tree, l->final->root, &key, &leaf, &version);
	if (err || !leaf)
		return err;
	return tree_value(&l->tree, leaf, version, state_key, out);
}

static int open_existing(struct ledger *l, const struct ledger_meta *meta, struct errmsg *m)
{
	struct overlay *o = overlay_new(&l->tree, 0, 0, 0);
	struct slice senders, modes;

	o->height = meta->height;
	o->block = meta->block;
	o->keys = meta->keys;
	l->oldest = meta->oldest;
	int err = tree_load_root(&l->tree, meta->height, &o->root, &o->root_hash);
	if (err) {
		freelist_free(&l->tree.heap->free, o, o->size);
		return err_set(m, err == ERR_NOT_FOUND ? ERR_CORRUPT : err,
			       "cannot read the state tree at height %llu: %s",
			       (unsigned long long)meta->height, err_text(err));
	}
	l->final = o;
	if (!hash_equal(&o->root_hash, &meta->root))
		return err_set(m, ERR_CORRUPT,
			       "the state tree at height %llu is damaged: restore a backup",
			       (unsigned long long)meta->height);
	err = read_final(l, state_key_senders(), &senders);
	if (!err && senders.len != 0 && senders.len != 8)
		err = ERR_CORRUPT;
	if (err)
		return err_set(m, err, "cannot read the number of senders: %s", err_text(err));
	o->senders = senders.len ? load_be64(senders.ptr) : 0;
	err = read_final(l, state_key_modes(), &modes);
	if (!err)
		err = modes_decode(modes, &o->modes);
	return err ? err_set(m, err, "cannot read the state of modes: %s", err_text(err))
		   : ERR_NONE;
}

int ledger_open(struct ledger **out, struct store *s, const struct genesis *g,
		const struct chain_ctx *ctx, const struct block *genesis_block,
		struct errmsg *m)
{
	struct ledger *l = mem_zalloc(sizeof(*l));
	struct ledger_meta meta;
	uint64_t seed = load_be64(ctx->id.b);

	*out = NULL;
	l->store = s;
	l->genesis = g;
	l->ctx = ctx;
	l->history = LEDGER_HISTORY_ALL;
	l->pinned = UINT64_MAX;
	tree_init(&l->tree, s, TREE_CACHE_BYTES);
	execution_init(&l->execution, &l->tree, g);
	map_init(&l->verified.ids, seed);
	int err = meta_get(s, ctx, &meta, m);
	if (err == ERR_NOT_FOUND)
		err = open_empty(l, genesis_block, m);
	else if (!err)
		err = open_existing(l, &meta, m);
	if (err) {
		if (l->final)
			overlay_free(&l->tree, l->final);
		l->final = NULL;
		ledger_close(l);
		return err;
	}
	overlay_add(l, l->final);
	*out = l;
	return ERR_NONE;
}

void ledger_set_history(struct ledger *l, uint64_t heights)
{
	invariant(l->overlay_count == 1);
	if (heights != 0 && heights < LEDGER_HISTORY_MIN)
		heights = LEDGER_HISTORY_MIN;
	l->history = heights;
	l->execution.prune = heights != LEDGER_HISTORY_ALL;
}

void ledger_set_cache(struct ledger *l, size_t bytes)
{
	l->tree.limit = bytes ? bytes : TREE_CACHE_BYTES;
}

static void drop_built(struct ledger *l, struct built *b)
{
	if (b->overlay)
		overlay_free(&l->tree, b->overlay);
	b->overlay = NULL;
}

/* o and all that was executed on top of it. */
static void drop_overlays(struct ledger *l, struct overlay *o)
{
	while (o->children) {
		struct overlay *child = o->children;
		o->children = child->sibling;
		drop_overlays(l, child);
	}
	overlay_remove(l, o);
	overlay_free(&l->tree, o);
}

void ledger_drop(struct ledger *l, const struct hash *block)
{
	struct overlay *o = overlay_of(l, block);
	if (!o || o == l->final)
		return;
	struct overlay **at = &o->parent->children;
	while (*at != o)
		at = &(*at)->sibling;
	*at = o->sibling;
	drop_overlays(l, o);
}

void ledger_close(struct ledger *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < LEDGER_BUILT_MAX; i++)
		drop_built(l, &l->built[i]);
	if (l->final)
		drop_overlays(l, l->final);
	execution_free(&l->execution);
	verified_free(&l->verified);
	mem_free(l->txs);
	writer_free(&l->scratch);
	tree_close(&l->tree);
	mem_free(l);
}

uint64_t ledger_height(const struct ledger *l)
{
	return l->final->height;
}

const struct hash *ledger_hash(const struct ledger *l)
{
	return &l->final->block;
}

const struct hash *ledger_root(const struct ledger *l)
{
	return &l->final->root_hash;
}

/* ---- executing --------------------------------------------------------------------------- */

bool ledger_executed(const struct ledger *l, const struct hash *block)
{
	return overlay_of(l, block) != NULL;
}

bool ledger_error_is_by_bytes(int err)
{
	switch (err) {
	case ERR_TRUNCATED:
	case ERR_TRAILING:
	case ERR_NONCANONICAL:
	case ERR_LIMIT:
	case ERR_RANGE:
	case ERR_VERSION:
	case ERR_WRONG_CHAIN:
	case ERR_BAD_SIGNATURE:
	case ERR_UNKNOWN_SIGNER:
	case ERR_BAD_PROOF:
	case ERR_TX_EMPTY:
		return true;
	default: /* an int, not one of our enum */
		return false;
	}
}

bool ledger_error_is_of_store(int err)
{
	return err == ERR_IO || err == ERR_CORRUPT;
}

static void install(struct ledger *l, struct overlay *parent, struct overlay *o,
		    const struct hash *block)
{
	o->block = *block;
	o->parent = parent;
	o->sibling = parent->children;
	parent->children = o;
	overlay_add(l, o);
}

/* What a header of o, on parent, says of the state: behind the end of an epoch nothing. */
static const struct hash *root_of(const struct ledger *l, const struct overlay *parent,
				  const struct overlay *o)
{
	static const struct hash none;
	return epoch_ended(l->ctx, &parent->modes) && !MUTANT(MUTANT_EXTEND_END)
		       ? &none
		       : &o->root_hash;
}

/* What ledger_build() made for this very block, or NULL. */
static struct overlay *claim_built(struct ledger *l, const struct overlay *parent,
				   const struct header *h)
{
	for (unsigned i = 0; i < LEDGER_BUILT_MAX; i++) {
		struct built *b = &l->built[i];
		struct overlay *o = b->overlay;
		if (!o || o->height != h->height || !hash_equal(&b->parent, &h->prev) ||
		    !hash_equal(&b->tx_root, &h->tx_root) ||
		    !hash_equal(root_of(l, parent, o), &h->state_root))
			continue;
		b->overlay = NULL;
		return o;
	}
	return NULL;
}

/* Everything that shows from the bytes alone comes first, whatever the state: an error of this
 * kind is a proof against the leader. */
static int decode_block(struct ledger *l, const struct block *b, uint32_t system, bool verify)
{
	const struct genesis_limits *limits = &l->genesis->limits;
	uint64_t ops = 0;

	if (b->tx_count - system > limits->block_txs_max ||
	    b->body_size - system_bytes(b, system) > limits->block_body_max)
		return ERR_LIMIT;
	if (l->txs_cap < b->tx_count) {
		l->txs_cap = b->tx_count;
		l->txs = mem_realloc(l->txs, l->txs_cap * sizeof(*l->txs));
	}
	for (uint32_t i = system; i < b->tx_count; i++) {
		struct tx *tx = &l->txs[i];
		int err = tx_decode(tx, block_tx_bytes(b, i), l->ctx, limits);
		if (!err && verify && !verified_has(&l->verified, &b->tx[i].id)) {
			err = tx_check_signature(tx, l->ctx);
			if (!err)
				verified_add(&l->verified, &b->tx[i].id);
		}
		if (err)
			return err;
		ops += tx->op_count;
	}
	return ops > BLOCK_OPS_MAX ? ERR_LIMIT : ERR_NONE;
}

static int run_block(struct ledger *l, struct overlay *parent, const struct block *b,
		     uint32_t system, struct overlay **out)
{
	struct execution *x = &l->execution;
	execution_begin(x, parent, b->sh.h.height);
	for (uint32_t i = 0; i < system; i++) {
		struct system_tx tx;
		int err = system_tx_decode(&tx, block_tx_bytes(b, i), l->ctx);
		if (!err)
			err = execution_system(x, &tx);
		if (err)
			return err;
	}
	for (uint32_t i = system; i < b->tx_count; i++) {
		enum tx_result result;
		struct entry *sender;
		int err = execution_check(x, &l->txs[i], &sender);
		if (!err)
			err = execution_run(x, &l->txs[i], sender, &result);
		if (err)
			return err;
		if (result != b->tx[i].result)
			return ERR_BAD_STATE_ROOT;
	}
	int err = execution_end(x, out);
	if (!err && !hash_equal(root_of(l, parent, *out), &b->sh.h.state_root)) {
		overlay_free(&l->tree, *out);
		err = ERR_BAD_STATE_ROOT;
	}
	return err;
}

int ledger_execute(struct ledger *l, const struct block *b, bool verify)
{
	const struct header *h = &b->sh.h;
	struct overlay *o;

	if (ledger_executed(l, &b->hash))
		return ERR_NONE;
	struct overlay *parent = overlay_of(l, &h->prev);
	if (!parent)
		return ERR_NOT_FOUND;
	if (h->height == 0 || h->height - 1 != parent->height)
		return ERR_BAD_LINK;
	if (l->overlay_count > LEDGER_OVERLAYS_MAX)
		return ERR_BUSY;
	/* Even if it is as we built it: we may have done so for another term. */
	uint32_t system;
	int err = system_decode(l, b, &system);
	if (!err && b->tx_count && epoch_ended(l->ctx, &parent->modes) &&
	    !MUTANT(MUTANT_EXTEND_END))
		err = ERR_MODE; /* what follows the end of an epoch is nobody's history */
	if (err)
		return err;
	o = claim_built(l, parent, h);
	if (!o) {
		err = decode_block(l, b, system, verify);
		if (!err)
			err = run_block(l, parent, b, system, &o);
		if (err)
			return err;
		l->executed++;
	}
	install(l, parent, o, &b->hash);
	return ERR_NONE;
}

/* ---- building ---------------------------------------------------------------------------- */

static void build_add(struct ledger_candidate *c, enum tx_result result, struct writer *body,
		      struct hash *leaf)
{
	body_add(body, result, c->tx);
	body_leaf(leaf, result, c->tx);
	c->fate = CANDIDATE_INCLUDED;
}

/* The leading SYSTEM transactions: all of them, or an error. */
static int build_system(struct ledger *l, struct ledger_candidate *candidates, uint32_t count,
			struct writer *body, struct hash *leaves, uint32_t *included)
{
	struct execution *x = &l->execution;
	for (uint32_t i = 0; i < count && system_tx_is(candidates[i].tx); i++) {
		struct system_tx tx;
		int err = system_tx_decode(&tx, candidates[i].tx, l->ctx);
		if (!err)
			err = system_evidence_check(&tx, l->ctx, tx_never_valid);
		if (!err && i > 0 && tx.kind != SYSTEM_CONVICTION)
			err = ERR_RANGE;
		if (!err && i >= SYSTEM_TXS_MAX)
			err = ERR_LIMIT;
		if (!err)
			err = execution_system(x, &tx);
		if (err) {
			candidates[i].fate = CANDIDATE_REFUSED;
			candidates[i].err = err;
			return err;
		}
		build_add(&candidates[i], TX_OK, body, &leaves[i]);
		verified_add(&l->verified, &candidates[i].id);
		++*included;
	}
	return ERR_NONE;
}

/* Executes one candidate into the body if there is room. False: the block is full. */
static bool build_one(struct ledger *l, struct ledger_candidate *c, bool full, size_t body_max,
		      struct writer *body, struct hash *leaf, int *fatal)
{
	const struct genesis_limits *limits = &l->genesis->limits;
	struct execution *x = &l->execution;
	struct tx tx;
	struct entry *sender;
	enum tx_result result;

	int err = tx_decode(&tx, c->tx, l->ctx, limits);
	if (!err && BODY_HEAD_SIZE + BODY_TX_SIZE + c->tx.len > limits->block_body_max)
		err = ERR_LIMIT;
	if (!err)
		err = execution_check(x, &tx, &sender);
	if (ledger_error_is_of_store(err))
		goto failed;
	if (err) {
		c->fate = CANDIDATE_REFUSED;
		c->err = err;
		return true;
	}
	if (full || x->ops + tx.op_count > BLOCK_OPS_MAX ||
	    body->len + BODY_TX_SIZE + c->tx.len > body_max)
		return false;
	err = execution_run(x, &tx, sender, &result);
	if (err)
		goto failed;
	build_add(c, result, body, leaf);
	return true;
failed:
	*fatal = err;
	return false;
}

static void keep_built(struct ledger *l, const struct hash *parent, const struct hash *tx_root,
		       struct overlay *o)
{
	struct built *b = &l->built[l->built_next++ % LEDGER_BUILT_MAX];
	drop_built(l, b);
	*b = (struct built){.overlay = o, .parent = *parent, .tx_root = *tx_root};
}

int ledger_build(struct ledger *l, const struct hash *parent_hash, uint64_t height,
		 uint64_t time_ms, struct ledger_candidate *candidates, uint32_t count,
		 struct ledger_built *out)
{
	struct overlay *parent = overlay_of(l, parent_hash), *o;
	struct writer body = {0};
	uint32_t included = 0;
	int err = ERR_NONE;

	*out = (struct ledger_built){0};
	if (!parent)
		return ERR_NOT_FOUND;
	invariant(height == parent->height + 1);
	for (uint32_t i = 0; i < count; i++) {
		candidates[i].fate = CANDIDATE_LEFT;
		candidates[i].err = ERR_NONE;
	}
	struct hash *leaves = count ? mem_alloc(count * sizeof(*leaves)) : NULL;
	execution_begin(&l->execution, parent, height);
	body_begin(&body);
	err = build_system(l, candidates, count, &body, leaves, &included);
	/* What the genesis allows is for clients' transactions, what fits in a body for all. */
	size_t body_max = body.len - BODY_HEAD_SIZE + l->genesis->limits.block_body_max;
	if (body_max > BLOCK_BODY_MAX)
		body_max = BLOCK_BODY_MAX;
	uint32_t txs_max = included + l->genesis->limits.block_txs_max;
	if (txs_max > BLOCK_TXS_MAX)
		txs_max = BLOCK_TXS_MAX;
	for (uint32_t i = included; i < count && !err; i++) {
		if (!build_one(l, &candidates[i], included >= txs_max, body_max, &body,
			       &leaves[included], &err))
			break;
		included += candidates[i].fate == CANDIDATE_INCLUDED;
	}
	if (!err)
		err = execution_end(&l->execution, &o);
	if (!err) {
		body_end(&body, included);
		merkle_root(&out->tx_root, leaves, included);
		out->tx_count = included;
		out->state_root = *root_of(l, parent, o);
		out->body = writer_take(&body, &out->body_size);
		keep_built(l, parent_hash, &out->tx_root, o);
		l->executed++;
	}
	mem_free(leaves);
	writer_free(&body);
	return err;
}

/* ---- finality ---------------------------------------------------------------------------- */

static void index_txs(const struct block *b, struct store_batch *batch)
{
	uint8_t value[12];
	store_be64(value, b->sh.h.height);
	for (uint32_t i = 0; i < b->tx_count; i++) {
		for (unsigned j = 0; j < 4; j++)
			value[8 + j] = (uint8_t)(i >> (24 - 8 * j));
		store_batch_put(batch, STORE_TXINDEX, hash_slice(&b->tx[i].id),
				slice_of(value, sizeof(value)));
	}
}

/* Cached parts may go only once the store has them, and batches are written by the caller. */
static void trim(struct ledger *l)
{
	struct ledger_meta meta;
	if (tree_over_limit(&l->tree) && !meta_get(l->store, l->ctx, &meta, NULL))
		tree_trim(&l->tree, l->final->root, meta.height);
}

/* Users' values are most of a state's bytes, and executing a block needs few of them: what the
 * last final block wrote is read from the store from here on. Accounts and nonces stay. */
static void forget_values(struct ledger *l, struct overlay *old)
{
	struct ledger_meta meta;
	if (!old->change_count || !tree_forgets(&l->tree) ||
	    meta_get(l->store, l->ctx, &meta, NULL) || meta.height < old->height)
		return;
	for (uint32_t i = 0; i < old->change_count; i++) {
		const struct change *c = &old->changes[i];
		if (c->key_len && old->key_bytes[c->key_offset] == STATE_NS_USER)
			tree_forget_value(&l->tree, c->leaf);
	}
}

void ledger_finalize(struct ledger *l, const struct block *b, struct store_batch *batch)
{
	struct overlay *old = l->final, *o = overlay_of(l, &b->hash);
	struct overlay **link = &old->children;

	invariant(o != NULL && o != old && hash_equal(&b->sh.h.prev, &old->block));
	while (*link != o)
		link = &(*link)->sibling;
	*link = o->sibling;
	o->sibling = NULL;
	prune(l, old, o, batch);
	forget_values(l, old);
	drop_overlays(l, old);
	l->final = o;
	put_state(l, o, batch);
	index_txs(b, batch);
	for (unsigned i = 0; i < LEDGER_BUILT_MAX; i++)
		if (l->built[i].overlay && !overlay_of(l, &l->built[i].parent))
			drop_built(l, &l->built[i]);
	trim(l);
}

/* ---- reading ----------------------------------------------------------------------------- */

int ledger_admit(struct ledger *l, const struct tx *tx, const struct hash *id)
{
	const struct genesis_limits *limits = &l->genesis->limits;
	uint8_t key[STATE_ACCOUNT_KEY_SIZE];
	struct slice window;
	uint64_t height;
	uint32_t index;

	state_key_of(key, STATE_NS_NONCE, &tx->sender);
	int err = read_final(l, slice_of(key, sizeof(key)), &window);
	if (!err && window.len != 0 && window.len != nonce_window_size(limits))
		err = ERR_CORRUPT;
	if (err)
		return err;
	err = nonce_check(window, tx->nonce, limits->nonce_window);
	/* Final already means that its nonce is used, or was before the window moved on. */
	if (err) {
		int found = ledger_find_tx(l, id, &height, &index);
		if (found != ERR_NOT_FOUND)
			return found ? found : ERR_EXISTS;
	}
	if (!sender_allowed(l->genesis, &tx->sender) ||
	    (l->genesis->open && window.len == 0 && l->final->senders >= limits->senders_max))
		return ERR_TX_SENDER;
	if (!err)
		err = expiry_check(tx->expiry, l->final->height + 1, limits);
	trim(l);
	return err;
}

void ledger_mark_verified(struct ledger *l, const struct hash *id)
{
	verified_add(&l->verified, id);
}

bool ledger_verified(const struct ledger *l, const struct hash *id)
{
	return verified_has(&l->verified, id);
}

static int get_at(struct ledger *l, struct tree_node *root, struct slice state_key,
		  struct writer *out, struct writer *proof)
{
	struct hash key;
	struct tree_leaf *leaf;
	struct slice value;
	uint64_t version;

	tree_key(&key, state_key);
	int err = proof ? tree_prove(&l->tree, root, &key, proof) : ERR_NONE;
	if (!err)
		err = tree_find(&l->tree, root, &key, &leaf, &version);
	if (err)
		return err;
	if (!leaf)
		return ERR_NOT_FOUND;
	err = tree_value(&l->tree, leaf, version, state_key, &value);
	if (err)
		return err;
	writer_raw(out, value.ptr, value.len);
	return out->err;
}

int ledger_get(struct ledger *l, struct slice state_key, uint64_t height, struct writer *out,
	       struct writer *proof)
{
	struct tree_node *root;
	struct hash hash;

	writer_reset(out);
	if (proof)
		writer_reset(proof);
	if (state_key.len > STATE_KEY_MAX)
		return ERR_LIMIT;
	if (height == UINT64_MAX)
		height = l->final->height;
	if (height > l->final->height)
		return ERR_RANGE;
	if (height < l->oldest)
		return ERR_STALE;
	if (height == l->final->height) {
		root = tree_hold(l->final->root);
	} else {
		int err = tree_load_root(&l->tree, height, &root, &hash);
		if (err)
			return err == ERR_NOT_FOUND ? ERR_STALE : err;
	}
	int err = get_at(l, root, state_key, out, proof);
	tree_drop(&l->tree, root);
	trim(l);
	return err;
}

uint64_t ledger_oldest(const struct ledger *l)
{
	return l->oldest;
}

void ledger_pin(struct ledger *l, uint64_t height)
{
	l->pinned = height;
}

void ledger_rebase(struct ledger *l)
{
	l->tree.bases_from = l->final->height + 1;
}

/* The state is read anew for each range, and forgotten after it: nodes that one reader asks for
 * must not drive out those that execution needs. */
int ledger_range(struct ledger *l, uint64_t height, const struct hash *from,
		 const struct hash *to, struct writer *out)
{
	struct tree_node *root;
	struct hash hash;
	if (height > l->final->height)
		return ERR_RANGE;
	if (height < l->oldest)
		return ERR_STALE;
	int err = tree_load_root(&l->tree, height, &root, &hash);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_STALE : err;
	err = range_make(&l->tree, root, from, to, RANGE_LEAF_BYTES, out);
	tree_drop(&l->tree, root);
	return err;
}

int ledger_find_tx(struct ledger *l, const struct hash *id, uint64_t *height, uint32_t *index)
{
	struct reader r;
	int err = store_get(l->store, STORE_TXINDEX, hash_slice(id), &l->scratch);
	if (err)
		return err;
	reader_init(&r, writer_slice(&l->scratch));
	*height = reader_u64(&r);
	*index = reader_u32(&r);
	return reader_finish(&r) ? ERR_CORRUPT : ERR_NONE;
}

int ledger_nonce(struct ledger *l, const struct pubkey *sender, uint64_t *highest,
		 uint64_t *suggested)
{
	const struct genesis_limits *limits = &l->genesis->limits;
	uint8_t key[STATE_ACCOUNT_KEY_SIZE];
	struct slice window;

	state_key_of(key, STATE_NS_NONCE, sender);
	int err = read_final(l, slice_of(key, sizeof(key)), &window);
	if (!err && window.len != 0 && window.len != nonce_window_size(limits))
		err = ERR_CORRUPT;
	if (err)
		return err;
	*highest = window.len ? load_be64(window.ptr) : 0;
	*suggested = nonce_suggest(window, limits->nonce_window);
	trim(l);
	return ERR_NONE;
}

void ledger_stats(const struct ledger *l, struct ledger_stats *out)
{
	*out = (struct ledger_stats){
		.overlays = l->overlay_count - 1,
		.keys = l->final->keys,
		.senders = l->final->senders,
		.executed = l->executed,
		.tree_reads = l->tree.reads,
		.tree_writes = l->tree.writes,
		.tree_bytes = l->tree.heap->bytes,
	};
}
