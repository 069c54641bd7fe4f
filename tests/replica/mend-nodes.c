/* Mending nodes of the state tree: those in part, the bases that they rest on, and all of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger/private.h"
#include "ledger/store_private.h"
#include "ledger/tree_private.h"
#include "tests/replica/mend-world.h"

static bool is_whole(struct slice record)
{
	return record.len == 4 || record.ptr[0] || record.ptr[1];
}

/* Ruins every record that no state has and newer ones rest on. */
static unsigned ruin_bases(void)
{
	static const struct slice none = {0};
	struct slice key, value;
	unsigned count = 0;
	struct store_iter *it = store_iter_new(own, STORE_TREE, none, none, false);
	while (store_iter_next(it, &key, &value)) {
		struct mend_record rec;
		enum mend_look look;
		ck_assert(mend_record_of(STORE_TREE, key, &rec));
		if (rec.list)
			continue;
		ck_assert_int_eq(mend_look(sound, &rec, ledger_height(hurt->ledger),
					   ledger_root(hurt->ledger), &look),
				 ERR_NONE);
		if (look != MEND_UNUSED)
			continue;
		ck_assert(is_whole(value));
		put(STORE_TREE, key, slice_str("rubbish"));
		count++;
	}
	store_iter_free(it);
	return count;
}

/* What is in memory rests on records that are gone: what is written next does not. */
START_TEST(bases_are_not_trusted)
{
	begin();
	open_twin();
	for (unsigned i = 0; i < 20; i++)
		go_on();
	ck_assert_uint_gt(ruin_bases(), 3);
	ck_assert(mend_all());
	ck_assert_uint_eq(left, 0);
	ck_assert_uint_gt(mended, 6); /* those that rested on them, too */
	ck_assert_uint_eq(scrub(), 0);
	for (unsigned i = 0; i < 20; i++) {
		go_on();
		ck_assert_uint_eq(scrub(), 0);
	}
	check_same(true);
	close_twin();
	replica_close(hurt);
	ck_assert(open_hurt());
	ck_assert_uint_eq(scrub(), 0);
}
END_TEST

/* Keys that the newest state cannot give, read past memory. */
static unsigned unreadable(void)
{
	struct tree t;
	struct tree_node *root;
	struct hash hash;
	unsigned bad = 0;
	tree_init(&t, own, 0);
	ck_assert_int_eq(tree_load_root(&t, ledger_height(hurt->ledger), &root, &hash),
			 ERR_NONE);
	for (unsigned i = 0; i < 150; i++) {
		char key[24];
		struct tree_leaf *leaf;
		uint64_t version;
		snprintf(key, sizeof key, "kkey-%u", i);
		tree_key(&hash, slice_str(key));
		bad += tree_find(&t, root, &hash, &leaf, &version) != ERR_NONE;
	}
	tree_drop(&t, root);
	tree_close(&t);
	return bad;
}

static void go_on_with_op(struct op op)
{
	uint64_t height = w.tip->sh.h.height + 1;
	struct slice tx = world_tx(&w, &w.client[0], height, height + 50, &op, 1);
	go_on_with(&tx, 1);
}

/* A key is made and deleted again below a node whose record then rests on one that hashes to
 * the same, but leads to nodes that are gone. The path of that node. */
static struct hash make_and_delete(void)
{
	for (unsigned i = 0; i < 400; i++) {
		char key[24];
		struct hash h;
		struct tree *t = &hurt->ledger->tree;
		struct tree_node *n = hurt->ledger->final->root;
		unsigned depth = 0;
		snprintf(key, sizeof key, "ktemp-%u", i);
		tree_key(&h, slice_str(key));
		for (; depth < 2; depth++) {
			unsigned nibble = tree_nibble(&h, depth);
			if (!slot_present(n, nibble) || slot_is_leaf(n, nibble) ||
			    node_child(t, n, tree_index(n->present, nibble), &h, depth + 1, &n))
				break;
		}
		if (depth < 2)
			continue;
		go_on_with_op(op_put(key + 1, "v"));
		go_on_with_op(op_delete(key + 1));
		n = hurt->ledger->final->root;
		const struct tree_slot *s =
			&n->slot[tree_index(n->present, tree_nibble(&h, 0))];
		struct tree_node *base;
		struct hash hash;
		if (!s->node || !s->node->age ||
		    node_load(t, s->version - s->node->age, &h, 1, &base))
			continue;
		tree_hash(&hash, base);
		tree_drop(t, base);
		if (hash_equal(&hash, &s->hash))
			return mend_path(&h, 1);
	}
	ck_abort_msg("no such node came about");
	return (struct hash){0};
}

/* 0: the root is damaged, and made of what lies under it. 1: a record that nobody needs leads
 * to the root's being looked at, which is sound. */
START_TEST(a_base_is_not_the_node)
{
	uint8_t buf[NODE_KEY_MAX];
	struct hash path = {0};
	begin();
	open_twin();
	path = make_and_delete();
	ck_assert_uint_eq(scrub(), 0);
	ck_assert_uint_eq(unreadable(), 0);
	if (_i == 0) {
		static const struct hash root;
		put(STORE_TREE, node_key(buf, ledger_height(hurt->ledger), &root, 0),
		    slice_str("rubbish"));
	} else {
		path.b[0] ^= 0x10;
		put(STORE_TREE, node_key(buf, 3, &path, 1), slice_str("rubbish"));
	}
	ck_assert_uint_gt(scrub(), 0);
	mend();
	ck_assert_uint_eq(mended, 1);
	ck_assert_uint_eq(left, 0);
	ck_assert_uint_eq(unreadable(), 0);
	ck_assert_uint_eq(scrub(), 0);
	close_twin();
}
END_TEST

/* One bit of a base is wrong, in the version of a child that what rests on it has anew. */
static bool hurt_a_base(void)
{
	static const struct slice none = {0};
	struct slice key, value;
	struct store_iter *it = store_iter_new(sound, STORE_TREE, none, none, false);
	bool hit = false;
	while (!hit && store_iter_next(it, &key, &value)) {
		struct mend_record rec;
		enum mend_look look;
		struct writer bad = {0};
		ck_assert(mend_record_of(STORE_TREE, key, &rec));
		if (rec.list ||
		    mend_look(sound, &rec, ledger_height(hurt->ledger),
			      ledger_root(hurt->ledger), &look) != ERR_NONE ||
		    look != MEND_UNUSED)
			continue;
		writer_raw(&bad, value.ptr, value.len);
		/* the last child's version */
		bad.buf[bad.len - 8] ^= 0x40;
		put(STORE_TREE, key, writer_slice(&bad));
		writer_free(&bad);
		hit = unreadable() == 0 && scrub() == 1;
		if (!hit)
			put(STORE_TREE, key, value);
	}
	store_iter_free(it);
	return hit;
}

START_TEST(a_base_that_reads_in_part)
{
	unsigned tries = 0;
	begin();
	open_twin();
	while (!hurt_a_base()) {
		ck_assert_uint_lt(tries++, 60);
		go_on();
	}
	mend();
	ck_assert_uint_eq(mended, 1);
	ck_assert_uint_eq(left, 0);
	ck_assert_uint_eq(unreadable(), 0);
	ck_assert_uint_eq(scrub(), 0);
	close_twin();
}
END_TEST

/* What is written anew rests on nothing, and a list that is names nothing on which the records
 * that are there may rest. */
START_TEST(what_is_made_again_is_whole)
{
	unsigned nodes = 0, rests = 0;
	struct store_batch *batch = store_batch_new();
	struct writer record = {0};
	begin();
	for (uint64_t h = 1; h <= HEIGHTS; h++) {
		struct block *b, *below;
		struct store_op op;
		size_t offset = 0;
		ck_assert_int_eq(replica_block(hurt, h, &b), ERR_NONE);
		ck_assert_int_eq(replica_block(hurt, h - 1, &below), ERR_NONE);
		store_batch_clear(batch);
		ck_assert_int_eq(mend_execute(own, &w.genesis, &w.ctx, b,
					      &below->sh.h.state_root, true, batch),
				 ERR_NONE);
		while (store_batch_next(batch, &offset, &op)) {
			struct mend_record rec;
			struct reader r;
			if (op.family != STORE_TREE)
				continue;
			ck_assert(mend_record_of(STORE_TREE, op.key, &rec));
			if (!rec.list) {
				ck_assert(is_whole(op.value));
				ck_assert_int_eq(store_get(own, STORE_TREE, op.key, &record),
						 ERR_NONE);
				rests += !is_whole(writer_slice(&record));
				nodes++;
				continue;
			}
			for (reader_init(&r, op.value); r.left > 0;) {
				uint8_t family = reader_u8(&r);
				struct slice key = reader_var(&r, STATE_KEY_MAX + 8);
				if (family != STORE_TREE || key.ptr[8] == 0)
					continue;
				ck_assert_int_eq(store_get(own, STORE_TREE, key, &record),
						 ERR_NONE);
				ck_assert(!is_whole(writer_slice(&record)));
			}
		}
		block_drop(b);
		block_drop(below);
	}
	ck_assert_uint_gt(nodes, 100);
	ck_assert_uint_gt(rests, 20);
	writer_free(&record);
	store_batch_free(batch);
}
END_TEST

/* Looked up in stores: the linker leads calls of store_get() here (Makefile.inc). */
int __real_store_get(struct store *s, enum store_family f, struct slice key,
		     struct writer *out);
int __wrap_store_get(struct store *s, enum store_family f, struct slice key,
		     struct writer *out);
static uint64_t looked_up;

int __wrap_store_get(struct store *s, enum store_family f, struct slice key, struct writer *out)
{
	looked_up++;
	return __real_store_get(s, f, key, out);
}

#define KEYS 600

static int compare_changes(const void *a, const void *b)
{
	return memcmp(((const struct tree_change *)a)->key.b,
		      ((const struct tree_change *)b)->key.b, HASH_SIZE);
}

/* Written with these values as of a version, on top of root; the new root. */
static struct tree_node *grow(struct store *s, struct tree *t, struct tree_node *root,
			      uint64_t version, unsigned count, struct hash *hash)
{
	struct tree_change changes[KEYS];
	struct tree_node *next;
	struct store_batch *batch = store_batch_new();
	int64_t added;
	for (unsigned i = 0; i < count; i++) {
		char key[24];
		snprintf(key, sizeof key, "key-%u", i);
		changes[i] = (struct tree_change){0};
		tree_key(&changes[i].key, slice_str(key));
		changes[i].leaf =
			tree_leaf_new(t, &changes[i].key, slice_of(&version, sizeof version));
		tree_write_value(t, &changes[i].key, slice_str(key), version,
				 slice_of(&version, sizeof version), batch);
	}
	qsort(changes, count, sizeof *changes, compare_changes);
	ck_assert_int_eq(
		tree_update(t, root, version, changes, count, &next, hash, &added, NULL),
		ERR_NONE);
	tree_write(t, next, version, batch);
	for (unsigned i = 0; i < count; i++)
		tree_leaf_drop(t, changes[i].leaf);
	ck_assert_int_eq(store_write(s, batch, false), ERR_NONE);
	store_batch_free(batch);
	return next;
}

/* All nodes of a state whose values are far apart in age: which versions they had is looked
 * for, and not for ever, as it is the thread of consensus that looks. */
START_TEST(a_whole_tree_is_missing)
{
	static const struct slice none = {0};
	struct slice key, value;
	struct store *s = store_open_memory();
	struct store_batch *batch = store_batch_new();
	struct mend_record rec = {.family = STORE_TREE, .version = 200000};
	struct hash hash;
	struct tree t;
	tree_init(&t, s, 0);
	struct tree_node *empty = tree_empty(&t);
	tree_hash(&hash, empty);
	struct tree_node *first = grow(s, &t, empty, 1, KEYS, &hash);
	struct tree_node *root = grow(s, &t, first, rec.version, 1, &hash);
	tree_drop(&t, empty);
	tree_drop(&t, first);
	tree_drop(&t, root);
	struct store_iter *it = store_iter_new(s, STORE_TREE, none, none, false);
	while (store_iter_next(it, &key, &value))
		store_batch_delete(batch, STORE_TREE, key);
	store_iter_free(it);
	ck_assert_uint_gt(store_batch_count(batch), 100);
	ck_assert_int_eq(store_write(s, batch, false), ERR_NONE);
	store_batch_clear(batch);
	rec.want = hash;
	looked_up = 0;
	ck_assert_int_eq(mend_node(s, &rec, batch), ERR_NONE);
	ck_assert_uint_lt(looked_up, 50000);
	ck_assert_int_eq(store_write(s, batch, false), ERR_NONE);
	ck_assert_int_eq(tree_load_root(&t, rec.version, &root, &hash), ERR_NONE);
	ck_assert(hash_equal(&hash, &rec.want));
	for (unsigned i = 0; i < KEYS; i++) {
		char name[24];
		struct hash h;
		struct tree_leaf *leaf;
		uint64_t version;
		snprintf(name, sizeof name, "key-%u", i);
		tree_key(&h, slice_str(name));
		ck_assert_int_eq(tree_find(&t, root, &h, &leaf, &version), ERR_NONE);
		ck_assert_ptr_nonnull(leaf);
		ck_assert_uint_eq(version, i ? 1 : rec.version);
	}
	tree_drop(&t, root);
	tree_close(&t);
	store_batch_free(batch);
	store_close(s);
}
END_TEST

void mend_nodes_of(TCase *t)
{
	tcase_add_test(t, what_is_made_again_is_whole);
	tcase_add_test(t, a_whole_tree_is_missing);
}

void mend_bases_of(TCase *pruned)
{
	tcase_add_test(pruned, bases_are_not_trusted);
	tcase_add_loop_test(pruned, a_base_is_not_the_node, 0, 2);
	tcase_add_test(pruned, a_base_that_reads_in_part);
}
