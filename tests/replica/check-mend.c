/* Mending while a replica runs: damage of each kind in its store, peers that have what it lacks
 * and some that lie, and afterwards a store that reads back as it was. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger/private.h"
#include "ledger/store_private.h"
#include "ledger/tree_private.h"
#include "tests/replica/mend-world.h"
#include "tests/share.h"

/* ---- one record ----------------------------------------------------------------------------
 */

/* What no scrub can miss, or no replica can mend, by itself. */
static bool is_mendable(enum store_family f, struct slice key, int how)
{
	if (f == STORE_VOTES || f == STORE_META || f == STORE_EVIDENCE)
		return false;
	if (f == STORE_TREE && key.len == 9 && key.ptr[8] == 0xff)
		return how == 1; /* a list of what is to be pruned: it has to parse */
	return f != STORE_CERTS || (key.ptr[0] == 'c' && how > 0);
}

/* What a node says wrongly of the version of an older leaf shows when that is read, if the
 * newest state does not have it: no hash knows it, and a scrub does not look for each leaf's
 * value again in each version of a node. */
static bool hides(struct slice key)
{
	struct mend_record rec;
	struct tree t[2];
	struct tree_node *n[2] = {NULL, NULL};
	enum mend_look look;
	bool hidden = false;
	if (!mend_record_of(STORE_TREE, key, &rec) || rec.list)
		return false;
	for (unsigned i = 0; i < 2; i++) {
		tree_init(&t[i], i ? own : sound, 0);
		if (node_load(&t[i], rec.version, &rec.key, rec.depth, &n[i]))
			n[i] = NULL;
	}
	ck_assert_int_eq(mend_look(sound, &rec, ledger_height(hurt->ledger),
				   ledger_root(hurt->ledger), &look),
			 ERR_NONE);
	if (look != MEND_UNUSED && n[1]) {
		tree_drop(&t[1], n[1]);
		n[1] = NULL;
	}
	if (n[1] && n[0]->present == n[1]->present && n[0]->leaves == n[1]->leaves) {
		const struct tree_slot *a = n[0]->slot, *b = n[1]->slot;
		for (unsigned on = n[0]->present; on; on &= on - 1, a++, b++)
			hidden |= slot_is_leaf(n[0], tree_lowest(on)) &&
				  a->version < rec.version && a->version != b->version;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (n[i])
			tree_drop(&t[i], n[i]);
		tree_close(&t[i]);
	}
	return hidden;
}

static void each_record(unsigned every, unsigned least)
{
	static const struct slice none = {0};
	struct random rnd;
	unsigned tried = 0, found = 0, at = 0;
	random_seed(&rnd, 5);
	for (int f = 0; f < STORE_FAMILIES; f++) {
		struct slice key, value;
		struct store_iter *it =
			store_iter_new(sound, (enum store_family)f, none, none, false);
		while (store_iter_next(it, &key, &value)) {
			struct writer bad = {0};
			int how = (int)random_below(&rnd, 3);
			if (at++ % every || !is_mendable((enum store_family)f, key, how))
				continue;
			writer_raw(&bad, value.ptr, how == 1 ? value.len - 1 : value.len);
			if (how == 2)
				bad.buf[random_below(&rnd, bad.len)] ^=
					(uint8_t)(1u << random_below(&rnd, 8));
			begin();
			put((enum store_family)f, key, how ? writer_slice(&bad) : none);
			writer_free(&bad);
			if (f == STORE_TREE && how == 2 && hides(key))
				continue;
			/* Versions in nodes are in no hash: what one says wrongly shows
			 * elsewhere. */
			bool whole = mend_all();
			ck_assert_msg(whole, "family %s, key '%c' of %zu, way %d",
				      store_family_name((enum store_family)f), key.ptr[0],
				      key.len, how);
			found += mended > 0;
			tried++;
			check_same(true);
		}
		store_iter_free(it);
	}
	ck_assert_uint_ge(tried, least);
	ck_assert_uint_gt(found, tried - tried / 20);
}

START_TEST(each_record_in_memory)
{
	each_record(7 * share_step(), 150 / share_step());
}
END_TEST

START_TEST(each_record_of_the_newest_state)
{
	each_record(5 * share_step(), 120 / share_step());
}
END_TEST

START_TEST(each_record_on_disk)
{
	on_disk = true;
	each_record(29, 40);
}
END_TEST

/* What is left of certificates below an end is that of a filler behind it, which the record of
 * the next epoch has. */
START_TEST(a_fillers_certificate_is_enough)
{
	struct record_key k;
	struct store_batch *batch = store_batch_new();
	begin();
	for (uint64_t h = 9; h <= 12; h++) {
		store_batch_delete(batch, STORE_CERTS, key_cert(&k, h));
		put(STORE_CERTS, key_cert(&k, h), slice_str("rubbish"));
	}
	ck_assert_int_eq(store_write(server_store(), batch, true), ERR_NONE);
	store_batch_free(batch);
	ck_assert_uint_gt(scrub(), 3);
	ck_assert(mend_all());
	ck_assert_uint_eq(left, 0);
	for (uint64_t h = 9; h <= 12; h++) {
		struct certified_header c;
		ck_assert_int_eq(replica_certified_header(hurt, h, &c), ERR_NONE);
		ck_assert_uint_gt(c.cert.ref.height, 12);
		certified_header_free(&c);
	}
}
END_TEST

START_TEST(each_record_over_ends)
{
	each_record(3, 120);
}
END_TEST

/* ---- many at once --------------------------------------------------------------------------
 */

/* Each record with this chance, of these families. */
static unsigned ruin(const char *families, unsigned percent, uint64_t seed)
{
	static const struct slice none = {0};
	struct random rnd;
	unsigned count = 0;
	random_seed(&rnd, seed);
	for (int f = 0; f < STORE_FAMILIES; f++) {
		struct slice key, value;
		if (!strstr(families, store_family_name((enum store_family)f)))
			continue;
		struct store_iter *it =
			store_iter_new(sound, (enum store_family)f, none, none, false);
		while (store_iter_next(it, &key, &value)) {
			if (random_below(&rnd, 100) >= percent ||
			    !is_mendable((enum store_family)f, key, 1))
				continue;
			bool pruning = f == STORE_TREE && key.len == 9 && key.ptr[8] == 0xff;
			put((enum store_family)f, key,
			    f == STORE_CERTS || pruning || random_below(&rnd, 2)
				    ? slice_str("rubbish")
				    : none);
			count++;
		}
		store_iter_free(it);
	}
	return count;
}

START_TEST(much_is_damaged)
{
	for (uint64_t seed = 1; seed <= share(12); seed++) {
		begin();
		ck_assert_uint_gt(ruin("blocks certificates txindex state tree", 12, seed), 60);
		ck_assert(mend_all());
		ck_assert_uint_eq(left, 0);
		ck_assert_uint_gt(fetched, 3);
		check_same(true);
	}
}
END_TEST

START_TEST(values_are_fetched)
{
	for (uint64_t seed = 1; seed <= share(8); seed++) {
		begin();
		ck_assert_uint_gt(ruin("blocks certificates state", 15, seed), 20);
		ck_assert(mend_all());
		ck_assert_uint_gt(fetched, 15);
		check_same(true);
		begin();
		ck_assert_uint_gt(ruin("tree", 30, seed), 3);
		ck_assert(mend_all());
		ck_assert_uint_eq(fetched, 0);
		check_same(true);
	}
}
END_TEST

START_TEST(all_of_a_kind_is_gone)
{
	static const char *const families[] = {"blocks", "certificates", "txindex"};
	for (unsigned i = 0; i < MEM_COUNT(families); i++) {
		begin();
		ck_assert_uint_gt(ruin(families[i], 100, 1), 30);
		/* The newest ones are named by the newest state, the others by these. */
		bool whole = mend_all();
		ck_assert_msg(whole, "%s", families[i]);
		check_same(true);
	}
}
END_TEST

/* ---- pages of files ------------------------------------------------------------------------
 */

static char table[16][400];
static unsigned tables;

static void list_tables(void)
{
	char data[96];
	struct dirent *e;
	snprintf(data, sizeof data, "%s/data", home);
	DIR *dir = opendir(data);
	ck_assert_ptr_nonnull(dir);
	tables = 0;
	while ((e = readdir(dir)) != NULL && tables < MEM_COUNT(table))
		if (strstr(e->d_name, ".sst"))
			snprintf(table[tables++], sizeof table[0], "%s/%s", data, e->d_name);
	closedir(dir);
}

static void flip_byte(const char *path, uint64_t per_mille)
{
	struct stat st;
	uint8_t b;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert(fd >= 0 && fstat(fd, &st) == 0);
	off_t at = (off_t)((uint64_t)st.st_size * per_mille / 1000);
	ck_assert_int_eq(pread(fd, &b, 1, at), 1);
	b ^= 0x40;
	ck_assert_int_eq(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

/* The store in files of the last level; false: it does not open, and nothing can be mended. */
static bool begin_flipped(unsigned which, uint64_t per_mille)
{
	const struct slice none = {0};
	struct store_options options = {.create = true};
	struct errmsg m;
	char data[96];
	begin();
	for (int f = 0; f < STORE_FAMILIES; f++)
		store_compact(own, (enum store_family)f, none, none);
	replica_close(hurt);
	store_close(own);
	hurt = NULL;
	list_tables();
	ck_assert_uint_gt(tables, 5);
	flip_byte(table[which % tables], per_mille);
	snprintf(data, sizeof data, "%s/data", home);
	if (store_open_rocksdb(&own, data, &options, &m))
		return false;
	if (open_hurt())
		return true;
	store_close(own);
	hurt = NULL;
	return false;
}

/* What no scrub misses: lists of what is to be pruned, and certificates below others. */
static void forgive(void)
{
	static const struct slice none = {0};
	struct slice key, value;
	struct writer have = {0};
	for (int f = STORE_CERTS; f <= STORE_TREE; f++) {
		struct store_iter *it =
			store_iter_new(sound, (enum store_family)f, none, none, false);
		while (store_iter_next(it, &key, &value))
			if ((f == STORE_CERTS ||
			     (f == STORE_TREE && key.len == 9 && key.ptr[8] == 0xff)) &&
			    store_get(own, (enum store_family)f, key, &have) == ERR_NOT_FOUND)
				put((enum store_family)f, key, value);
		store_iter_free(it);
	}
	writer_free(&have);
}

START_TEST(a_page_cannot_be_read)
{
	unsigned whole = 0, stays = 0, refused = 0;
	on_disk = true;
	for (unsigned which = 0; which < 9; which++)
		for (uint64_t at = 30; at < 1000; at += 240) {
			if (!begin_flipped(which, at)) {
				refused++;
				continue;
			}
			if (mend_all()) {
				whole++;
				forgive();
				check_same(true);
			} else {
				ck_assert_uint_gt(left, 0);
				stays++;
			}
			ck_assert_uint_eq(lied, 0);
		}
	printf("pages: %u stores mended, %u not, %u do not open\n", whole, stays, refused);
	ck_assert_uint_gt(whole, 8);
}
END_TEST

/* ---- liars ---------------------------------------------------------------------------------
 */

static unsigned lie_at;

static void flips(struct writer *bytes)
{
	if (bytes->buf[0] >= SYNC_ASK && bytes->buf[0] <= SYNC_GONE)
		bytes->buf[lie_at / 8 % bytes->len] ^= (uint8_t)(1u << lie_at % 8);
}
static void cuts(struct writer *bytes)
{
	if (bytes->len > 20)
		bytes->len = 10 + lie_at % (bytes->len - 10);
}
static void says_gone(struct writer *bytes)
{
	size_t len = 1 + 8 + 2 * HASH_SIZE;
	if (bytes->buf[0] != SYNC_RANGE && bytes->buf[0] != SYNC_BLOCKS &&
	    bytes->buf[0] != SYNC_OFFER)
		return;
	if (bytes->buf[0] == SYNC_OFFER)
		memset(bytes->buf + 9, 0, len - 9);
	ck_assert_uint_ge(bytes->len, len);
	bytes->len = len;
	bytes->buf[0] = SYNC_GONE;
}

/* Another block, of its height, by the same leader. */
static void sends_rival(struct writer *bytes)
{
	struct writer out = {0};
	if (bytes->buf[0] != SYNC_BLOCKS)
		return;
	writer_raw(&out, bytes->buf, 1 + 8 + HASH_SIZE);
	writer_u32(&out, 1);
	block_encode(&out, rival);
	writer_free(bytes);
	*bytes = out;
}

static void with_liars(void (*how)(struct writer *), unsigned at, unsigned count)
{
	begin();
	liar = how;
	liars = count;
	lie_at = at;
	ruin("blocks certificates state", 6, at + 1);
}

START_TEST(a_liar_costs_a_retry)
{
	unsigned lies = 0;
	for (unsigned at = 8; at < 8 * 600; at += 211) {
		with_liars(flips, at, 2);
		ck_assert(mend_all());
		check_same(true);
		ck_assert_uint_eq(liar_mask & ~3u, 0);
		lies += lied;
		with_liars(cuts, at, 2);
		ck_assert(mend_all());
		check_same(true);
		ck_assert_uint_eq(liar_mask & ~3u, 0);
	}
	ck_assert_uint_gt(lies, 20);
	with_liars(says_gone, 0, 2);
	ck_assert(mend_all());
	check_same(true);
	ck_assert_uint_eq(lied, 0);
}
END_TEST

/* Each record as it was before the damage, or as damaged as it was before the mending. */
static void check_nothing_false(struct store *ruined)
{
	static const struct slice none = {0};
	struct slice key, value;
	struct writer was = {0}, bad = {0};
	for (int f = 0; f < STORE_FAMILIES; f++) {
		struct store_iter *it =
			store_iter_new(own, (enum store_family)f, none, none, false);
		while (store_iter_next(it, &key, &value)) {
			int err = store_get(sound, (enum store_family)f, key, &was);
			bool right = !err && (slice_equal(writer_slice(&was), value) ||
					      (f == STORE_TREE && same_node(key)));
			err = store_get(ruined, (enum store_family)f, key, &bad);
			ck_assert_msg(right || (!err && slice_equal(writer_slice(&bad), value)),
				      "what is false was written: %s",
				      store_family_name((enum store_family)f));
		}
		store_iter_free(it);
	}
	writer_free(&was);
	writer_free(&bad);
}

/* Nothing that is not proven is written: what stays damaged is what was damaged. */
START_TEST(all_lie)
{
	for (unsigned at = 8; at < 8 * 2400; at += 433) {
		struct store *ruined = store_open_memory();
		with_liars(flips, at, SELF);
		copy_store(own, ruined);
		mend_all();
		ck_assert_uint_eq(mended > 0 || left > 0, 1);
		check_nothing_false(ruined);
		store_close(ruined);
		liar = NULL;
		ck_assert(mend_all());
		check_same(true);
	}
}
END_TEST

START_TEST(a_rival_is_no_block)
{
	struct record_key k;
	for (unsigned count = 1; count <= SELF; count++) {
		begin();
		liar = sends_rival;
		liars = count;
		ck_assert_int_eq(signed_header_check(&rival->sh, &w.ctx), ERR_NONE);
		put(STORE_BLOCKS, key_block(&k, HEIGHTS, &w.tip->hash), slice_str("rubbish"));
		ck_assert_int_eq(mend_all(), count < SELF);
		ck_assert_uint_eq(mended, count < SELF);
		ck_assert_uint_ge(lied, count == SELF ? SELF : 0);
		ck_assert_int_eq(store_get(own, STORE_BLOCKS,
					   key_block(&k, HEIGHTS, &rival->hash),
					   &hurt->scratch),
				 ERR_NOT_FOUND);
	}
}
END_TEST

/* Records that read well, and that nobody has written. */
START_TEST(rubbish_goes)
{
	static const struct slice none = {0};
	struct slice key, value;
	struct writer record = {0}, node = {0};
	struct hash h;
	uint8_t name[TREE_VALUE_KEY_SIZE];
	begin();
	tree_key(&h, slice_str("nobody's"));
	tree_value_key(name, &h, 7);
	writer_var(&record, slice_str("nobody's"));
	writer_raw(&record, "value", 5);
	put(STORE_STATE, slice_of(name, sizeof name), writer_slice(&record));
	struct store_iter *it = store_iter_new(own, STORE_TREE, none, none, false);
	while (store_iter_next(it, &key, &value) && node.len == 0)
		if (load_be64(key.ptr) == 9 && key.len == 9 && key.ptr[8] == 0)
			writer_raw(&node, value.ptr, value.len);
	store_iter_free(it);
	ck_assert_uint_gt(node.len, 0);
	memcpy(name, "\0\0\0\0\0\0\0\x09\x04\x12\x34", 11);
	put(STORE_TREE, slice_of(name, 11), writer_slice(&node));
	writer_free(&record);
	writer_free(&node);
	ck_assert_uint_gt(scrub(), 1);
	ck_assert(mend_all());
	check_same(true);
}
END_TEST

START_TEST(nobody_answers)
{
	struct record_key k;
	struct hash hash;
	struct writer bytes = {0};
	begin();
	ck_assert_int_eq(store_get(own, STORE_BLOCKS, key_final(&k, 9), &bytes), ERR_NONE);
	memcpy(hash.b, bytes.buf, HASH_SIZE);
	writer_free(&bytes);
	put(STORE_BLOCKS, key_block(&k, 9, &hash), (struct slice){0});
	liar = cuts;
	liars = SELF;
	lie_at = 3;
	ck_assert(!mend_all());
	ck_assert_uint_gt(left, 0);
	ck_assert_uint_eq(mended, 0);
	struct replica_mend_status s;
	replica_mend_status(hurt, &s);
	ck_assert(!s.active);
	ck_assert_uint_eq(s.left, left);
}
END_TEST

/* ---- what else goes on meanwhile -----------------------------------------------------------
 */

static void died(void *ctx)
{
	*(bool *)ctx = true;
}

/* Some damage lets no start succeed, mended or not. */
static bool opens_again(void)
{
	struct store *mine = own;
	struct replica *running = hurt;
	own = store_open_memory();
	copy_store(mine, own);
	bool opens = open_hurt();
	if (opens)
		replica_close(hurt);
	store_close(own);
	own = mine;
	hurt = running;
	return opens;
}

/* Killed at each of its writes, of which a crash may undo what was not synced. */
START_TEST(it_dies_at_each_write)
{
	struct random rnd;
	bool dead = true;
	unsigned deaths = 0;
	random_seed(&rnd, 17);
	for (uint64_t nth = 1; dead; nth += 2) {
		begin();
		ruin("blocks certificates txindex state tree", 6, nth);
		ck_assert_int_eq(store_sync(own), ERR_NONE);
		if (scrub() == 0 || !opens_again())
			continue;
		dead = false;
		store_memory_kill(own, nth, died, &dead);
		ck_assert(replica_mend(hurt, list, listed));
		for (unsigned i = 0; i < STEPS && !over && !dead; i++)
			step();
		if (!dead) {
			store_memory_kill(own, 0, NULL, NULL);
			break;
		}
		replica_close(hurt);
		hurt = NULL;
		store_memory_crash(own, &rnd);
		halted = NULL;
		ck_assert(open_hurt());
		deaths++;
		ck_assert(mend_all());
		check_same(true);
	}
	ck_assert_uint_gt(deaths, 10);
}
END_TEST

/* Blocks become final, and old ones are given up, while it mends. */
START_TEST(blocks_go_on_meanwhile)
{
	kept_blocks = _i ? 1 : 0;
	begin();
	open_twin();
	ck_assert_uint_gt(ruin("blocks certificates txindex", 25, 3), 60);
	scrub();
	ck_assert(replica_mend(hurt, list, listed));
	for (unsigned i = 0; i < STEPS && !over; i++) {
		step();
		if (i % 40 == 0)
			go_on();
	}
	for (unsigned i = 0; i < 30; i++)
		go_on();
	ck_assert(mend_all());
	close_twin();
	check_same(true);
}
END_TEST

/* Who has just begun is behind those whom it asks, and the next certificate that they have is
 * of a block which it does not have yet. It waits for that one (_i 0), not for ever (1). */
START_TEST(the_others_are_ahead)
{
	struct record_key k;
	struct certified_header c;
	uint64_t top = w.tip->sh.h.height;
	struct store_batch *batch = store_batch_new();
	begin();
	open_twin();
	others_go_on();
	store_batch_delete(batch, STORE_CERTS, key_cert(&k, top));
	ck_assert_int_eq(store_write(server_store(), batch, true), ERR_NONE);
	store_batch_free(batch);
	put(STORE_CERTS, key_cert(&k, top), slice_str("rubbish"));
	ck_assert_uint_eq(scrub(), 1);
	ck_assert(replica_mend(hurt, list, listed));
	for (unsigned i = 0; i < 2000; i++)
		step();
	ck_assert_uint_eq(over, 0);
	ck_assert_uint_eq(left, 0);
	if (_i == 0)
		hurt_follows();
	for (unsigned i = 0; i < STEPS && !over; i++)
		step();
	ck_assert_uint_eq(over, 1);
	ck_assert_uint_eq(left, _i);
	ck_assert_uint_eq(lied, 0);
	if (_i == 0) {
		ck_assert_int_eq(replica_certified_header(hurt, top, &c), ERR_NONE);
		ck_assert_uint_eq(c.cert.ref.height, top + 1);
		certified_header_free(&c);
	}
	close_twin();
}
END_TEST

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

/* ---- what is left --------------------------------------------------------------------------
 */

START_TEST(votes_and_own_records_stay)
{
	begin();
	put(STORE_VOTES, slice_str("\x77rubbish"), slice_str("x"));
	mend();
	ck_assert_uint_eq(listed, 1);
	ck_assert_uint_eq(left, 1);
	ck_assert_uint_eq(mended, 0);
	struct damage d = {.family = STORE_META, .height = UINT64_MAX, .key_len = 6};
	memcpy(d.key, "ledger", 6);
	ck_assert(replica_mend(hurt, &d, 1));
	for (unsigned i = 0; i < 10; i++)
		step();
	ck_assert_uint_eq(left, 2);
	d = (struct damage){.family = STORE_STATE, .height = UINT64_MAX, .unreadable = true};
	ck_assert(replica_mend(hurt, &d, 1));
	for (unsigned i = 0; i < 10; i++)
		step();
	ck_assert_uint_eq(left, 3);
	put(STORE_VOTES, slice_str("\x77rubbish"), (struct slice){0});
	check_same(true);
}
END_TEST

/* It is told of damage that is not there, in all its forms: nothing changes. */
START_TEST(nothing_is_wrong)
{
	static const struct slice none = {0};
	struct random rnd;
	begin();
	random_seed(&rnd, 9);
	listed = 0;
	for (int f = 0; f < STORE_FAMILIES; f++) {
		struct slice key, value;
		struct store_iter *it =
			store_iter_new(sound, (enum store_family)f, none, none, false);
		while (store_iter_next(it, &key, &value) && listed < LIST) {
			if (f != STORE_BLOCKS && random_below(&rnd, 8))
				continue;
			struct damage *d = &list[listed++];
			*d = (struct damage){.family = (enum store_family)f,
					     .height = f == STORE_BLOCKS
							       ? load_be64(key.ptr + 1)
							       : UINT64_MAX,
					     .key_len = (uint8_t)(key.len < DAMAGE_KEY_MAX
									  ? key.len
									  : DAMAGE_KEY_MAX)};
			memcpy(d->key, key.ptr, d->key_len);
		}
		store_iter_free(it);
	}
	ck_assert_uint_gt(listed, 100);
	ck_assert(replica_mend(hurt, list, listed));
	for (unsigned i = 0; i < STEPS && !over; i++)
		step();
	ck_assert_uint_eq(over, 1);
	ck_assert_uint_eq(mended, 0);
	check_same(true);
}
END_TEST

/* Keys of any form, of nothing: nothing that is sound goes. */
START_TEST(any_key)
{
	struct random rnd;
	begin();
	random_seed(&rnd, 11);
	for (listed = 0; listed < 600; listed++) {
		struct damage *d = &list[listed];
		*d = (struct damage){.family = (enum store_family)random_below(&rnd, 8),
				     .height = random_below(&rnd, 3) ? random_below(&rnd, 60)
								     : UINT64_MAX,
				     .key_len = (uint8_t)random_below(&rnd, DAMAGE_KEY_MAX)};
		for (unsigned i = 0; i < d->key_len; i++)
			d->key[i] = (uint8_t)random_below(&rnd, i < 8 ? 40 : 256);
	}
	ck_assert(replica_mend(hurt, list, listed));
	for (unsigned i = 0; i < 20 * STEPS && !over; i++)
		step();
	ck_assert_uint_eq(over, 1);
	ck_assert_ptr_null(halted);
	check_same(true);
	ck_assert_uint_eq(scrub(), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mend");
	TCase *t = tcase_create("mend");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, each_record_in_memory);
	tcase_add_test(t, each_record_on_disk);
	tcase_add_test(t, much_is_damaged);
	tcase_add_test(t, all_of_a_kind_is_gone);
	tcase_add_test(t, a_page_cannot_be_read);
	tcase_add_test(t, a_liar_costs_a_retry);
	tcase_add_test(t, all_lie);
	tcase_add_test(t, a_rival_is_no_block);
	tcase_add_test(t, rubbish_goes);
	tcase_add_test(t, nobody_answers);
	tcase_add_test(t, votes_and_own_records_stay);
	tcase_add_test(t, nothing_is_wrong);
	tcase_add_test(t, any_key);
	tcase_add_test(t, it_dies_at_each_write);
	tcase_add_test(t, a_whole_tree_is_missing);
	tcase_add_loop_test(t, blocks_go_on_meanwhile, 0, 2);
	tcase_add_loop_test(t, the_others_are_ahead, 0, 2);
	tcase_add_test(t, what_is_made_again_is_whole);
	suite_add_tcase(s, t);
	t = tcase_create("mend-pruned");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup_pruned, teardown);
	tcase_add_test(t, each_record_of_the_newest_state);
	tcase_add_test(t, bases_are_not_trusted);
	tcase_add_loop_test(t, a_base_is_not_the_node, 0, 2);
	tcase_add_test(t, a_base_that_reads_in_part);
	tcase_add_test(t, values_are_fetched);
	tcase_add_test(t, all_lie);
	tcase_add_test(t, nothing_is_wrong);
	tcase_add_test(t, any_key);
	suite_add_tcase(s, t);
	t = tcase_create("mend-epochs");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup_epochs, teardown);
	tcase_add_test(t, each_record_over_ends);
	tcase_add_test(t, a_fillers_certificate_is_enough);
	tcase_add_test(t, all_of_a_kind_is_gone);
	tcase_add_test(t, much_is_damaged);
	tcase_add_test(t, nothing_is_wrong);
	tcase_add_test(t, it_dies_at_each_write);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
