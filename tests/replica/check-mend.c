/* Mending while a replica runs: damage of each kind in its store, peers that have what it lacks
 * and some that lie, and afterwards a store that reads back as it was. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
	tcase_add_loop_test(t, blocks_go_on_meanwhile, 0, 2);
	tcase_add_loop_test(t, the_others_are_ahead, 0, 2);
	mend_nodes_of(t);
	suite_add_tcase(s, t);
	t = tcase_create("mend-pruned");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup_pruned, teardown);
	tcase_add_test(t, each_record_of_the_newest_state);
	mend_bases_of(t);
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
