/* Mending while a replica runs: damage of each kind in its store, peers that have what it lacks
 * and one that lies, and afterwards a store that reads back as it was. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replica/audit.h"
#include "replica/files.h"
#include "tests/replica/stored.h"

#define HEIGHTS 40
#define SELF	3
#define QUEUE	1024
#define STEP_US 5000
#define STEPS	40000
#define LIST	4096

/* One replica answers for the validators 0 to 2; validator 3 mends itself. */
struct letter {
	unsigned from, to;
	struct writer bytes;
};
static struct world w;
static struct store *served, *own, *sound; /* sound: own, as it was */
static struct replica *server, *hurt;
static struct letter queue[QUEUE];
static unsigned queued, asked_of;
static uint64_t now;
static const char *halted;
static void (*liar)(struct writer *bytes);
static unsigned liars; /* peers */
static struct damage list[LIST];
static uint32_t listed;
static unsigned mended, fetched, left, lied, over;
static uint64_t liar_mask;
static bool on_disk;
static struct block *rival; /* of the newest block, as well signed */
static uint64_t history;    /* of the one that is hurt */
static char home[64];

static void post(unsigned from, unsigned to, struct slice bytes)
{
	ck_assert_uint_lt(queued, QUEUE);
	struct letter *l = &queue[queued++];
	*l = (struct letter){.from = from, .to = to};
	writer_raw(&l->bytes, bytes.ptr, bytes.len);
}

static void server_sends(void *ctx, const struct message *m)
{
	(void)ctx;
	if (engine_message_is_sync(m->type))
		post(asked_of, SELF, m->bytes);
}

static void hurt_sends(void *ctx, const struct message *m)
{
	(void)ctx;
	for (unsigned i = 0; i < SELF && engine_message_is_sync(m->type); i++)
		if (m->to >> i & 1)
			post(SELF, i, m->bytes);
}

static bool host_sync(void *ctx, uint64_t seq)
{
	(void)ctx, (void)seq;
	return true;
}
static void host_final(void *ctx, struct block *b, const struct cert *cert)
{
	(void)ctx, (void)b, (void)cert;
}
static void host_rejected(void *ctx, const struct hash *id, int err)
{
	(void)ctx, (void)id, (void)err;
}
static void host_halted(void *ctx, const char *why)
{
	(void)ctx;
	halted = why;
}
static uint64_t host_wall(void *ctx)
{
	(void)ctx;
	return 1;
}

static void host_mend(void *ctx, enum replica_mend_note note, const struct damage *d,
		      unsigned peer, const char *why)
{
	(void)ctx;
	ck_assert(note == MEND_NOTE_OVER ? d == NULL : d != NULL);
	ck_assert(note != MEND_NOTE_LEFT || why != NULL);
	mended += note == MEND_NOTE_MENDED;
	fetched += note == MEND_NOTE_MENDED && peer != NO_VALIDATOR;
	left += note == MEND_NOTE_LEFT;
	over += note == MEND_NOTE_OVER;
	lied += note == MEND_NOTE_LIED;
	if (note == MEND_NOTE_LIED)
		liar_mask |= UINT64_C(1) << peer;
}

static struct replica *open_one(struct store *s, unsigned self)
{
	const struct replica_config config = {
		.genesis = &w.genesis,
		.store = s,
		.self = self,
		.key = w.validator[self],
		.seed = 1,
		.now = now,
		.history = self == SELF ? history : LEDGER_HISTORY_MIN,
		.host = {.send = self == SELF ? hurt_sends : server_sends,
			 .sync = host_sync,
			 .final = host_final,
			 .rejected = host_rejected,
			 .halted = host_halted,
			 .mend_note = host_mend,
			 .wall_ms = host_wall}};
	struct errmsg m = {{0}};
	struct replica *r;
	ck_assert_msg(replica_open(&r, &config, &m) == ERR_NONE, "%s", m.text);
	return r;
}

static void make_chain(void)
{
	for (uint64_t h = 1; h <= HEIGHTS; h++) {
		struct slice txs[1 + WORLD_CLIENTS];
		struct writer entry = {0};
		uint32_t count = 0;
		if (h == 2) {
			const struct system_tx tx = {.kind = SYSTEM_ESCALATED,
						     .height = h,
						     .term = 1,
						     .reason = REASON_PROOF};
			system_tx_encode(&entry, &tx, &w.ctx);
			size_t len;
			uint8_t *bytes = writer_take(&entry, &len);
			txs[count++] = slice_of(bytes, len);
		}
		for (unsigned i = 0; i < WORLD_CLIENTS; i++) {
			char key[24];
			snprintf(key, sizeof key, "key-%u", (unsigned)(h * 7 + i * 31) % 150);
			txs[count++] = world_put(&w, i, h, key, key);
		}
		if (h == HEIGHTS)
			rival = world_build(&w, w.tip, 1, txs, 1, NULL);
		struct block *b = world_commit(&w, txs, count);
		stored_block(served, &w, b);
		stored_block(own, &w, b);
		world_free_txs(txs, count);
	}
}

static void copy_store(struct store *from, struct store *to)
{
	static const struct slice none = {0};
	struct slice key, value;
	struct store_batch *batch = store_batch_new();
	for (int f = 0; f < STORE_FAMILIES; f++) {
		struct store_iter *it =
			store_iter_new(from, (enum store_family)f, none, none, false);
		while (store_iter_next(it, &key, &value))
			store_batch_put(batch, (enum store_family)f, key, value);
		store_iter_free(it);
	}
	ck_assert_int_eq(store_write(to, batch, true), ERR_NONE);
	store_batch_free(batch);
}

/* A fresh pair for the next damage: the chain stays. */
static void begin(void)
{
	struct errmsg m;
	if (hurt) {
		replica_close(hurt);
		store_close(own);
	}
	if (on_disk) {
		struct store_options options = {.create = true};
		char data[96];
		snprintf(data, sizeof data, "%s/data", home);
		files_remove(data, NULL);
		ck_assert_int_eq(store_open_rocksdb(&own, data, &options, &m), ERR_NONE);
	} else {
		own = store_open_memory();
	}
	copy_store(sound, own);
	hurt = open_one(own, SELF);
	mended = fetched = left = lied = over = 0;
	liar_mask = 0;
	halted = NULL;
	liar = NULL;
	liars = 1;
}

static void set_up(uint64_t heights)
{
	crypto_init();
	history = heights;
	hurt = NULL;
	world_genesis(&w, 1000);
	w.genesis.checkpoint_interval = 2;
	w.genesis.limits.window = 4;
	world_seal(&w);
	world_open(&w, NULL);
	served = store_open_memory();
	own = store_open_memory();
	sound = store_open_memory();
	ck_assert_int_eq(replica_first_votes(served), ERR_NONE);
	ck_assert_int_eq(replica_first_votes(own), ERR_NONE);
	now = 1000000;
	queued = 0;
	make_chain();
	server = open_one(served, 0);
	hurt = open_one(own, SELF);
	copy_store(own, sound);
	strcpy(home, "/tmp/check-mend-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(home));
	on_disk = false;
	begin();
}

static void setup(void)
{
	set_up(LEDGER_HISTORY_MIN);
}

/* The newest state alone can be read: no block can be executed again. */
static void setup_pruned(void)
{
	set_up(0);
}

static void teardown(void)
{
	while (queued > 0)
		writer_free(&queue[--queued].bytes);
	replica_close(server);
	replica_close(hurt);
	store_close(served);
	store_close(own);
	store_close(sound);
	block_drop(rival);
	world_free(&w);
	files_remove(home, NULL);
}

static void deliver(struct letter *l)
{
	if (l->to == SELF) {
		if (liar && l->from < liars)
			liar(&l->bytes);
		replica_message(hurt, now, l->from, writer_slice(&l->bytes));
	} else {
		asked_of = l->to;
		memset(&server->serve.peer[SELF], 0, sizeof server->serve.peer[SELF]);
		replica_message(server, now, SELF, writer_slice(&l->bytes));
	}
	writer_free(&l->bytes);
}

static void step(void)
{
	now += STEP_US;
	replica_tick(hurt, now);
	replica_tick(server, now);
	for (unsigned i = 0; i < queued; i++) {
		struct letter l = queue[i];
		queue[i].bytes = (struct writer){0};
		deliver(&l);
	}
	queued = 0;
}

static void on_found(void *arg, const struct finding *f)
{
	(void)arg;
	if (listed < LIST)
		finding_damage(f, &list[listed++]);
}

static bool on_step(void *arg, uint64_t height, uint64_t max, uint64_t bytes, uint64_t most)
{
	(void)arg, (void)height, (void)max, (void)bytes, (void)most;
	return true;
}

static uint32_t scrub(void)
{
	const struct audit_options o = {
		.genesis = &w.genesis, .found = on_found, .step = on_step};
	struct audit_result result;
	struct errmsg m = {{0}};
	listed = 0;
	ck_assert_msg(replica_audit(own, &o, &result, &m) == ERR_NONE, "%s", m.text);
	return listed;
}

/* One scrub, and what comes of it. */
static void mend(void)
{
	unsigned was = over;
	scrub();
	if (listed == 0)
		return;
	ck_assert(replica_mend(hurt, list, listed));
	ck_assert(!replica_mend(hurt, list, listed)); /* one lot at a time */
	for (unsigned i = 0; i < STEPS && over == was; i++)
		step();
	ck_assert_uint_eq(over, was + 1);
	ck_assert_ptr_null(halted);
}

/* As a node does: again as long as it is of use. False: damage is left. */
static bool mend_all(void)
{
	for (unsigned round = 0; round < 20; round++) {
		unsigned was = mended;
		mend();
		if (listed == 0)
			return true;
		if (mended == was)
			return false;
	}
	return false;
}

static void put(enum store_family f, struct slice key, struct slice value)
{
	struct store_batch *batch = store_batch_new();
	if (value.ptr)
		store_batch_put(batch, f, key, value);
	else
		store_batch_delete(batch, f, key);
	ck_assert_int_eq(store_write(own, batch, false), ERR_NONE);
	store_batch_free(batch);
}

/* Every record as it was: of these families, or of all. */
static void check_same(bool votes_too)
{
	static const struct slice none = {0};
	struct slice key, value;
	struct writer have = {0};
	for (int f = 0; f < STORE_FAMILIES; f++) {
		uint64_t counts[2] = {0, 0};
		if (f == STORE_VOTES && !votes_too)
			continue;
		struct store_iter *it =
			store_iter_new(sound, (enum store_family)f, none, none, false);
		while (store_iter_next(it, &key, &value)) {
			counts[0]++;
			ck_assert_msg(store_get(own, (enum store_family)f, key, &have) ==
						      ERR_NONE &&
					      slice_equal(writer_slice(&have), value),
				      "a record of family %s is not what it was",
				      store_family_name((enum store_family)f));
			writer_reset(&have);
		}
		store_iter_free(it);
		it = store_iter_new(own, (enum store_family)f, none, none, false);
		while (store_iter_next(it, &key, &value))
			counts[1]++;
		ck_assert_int_eq(store_iter_error(it), ERR_NONE);
		store_iter_free(it);
		ck_assert_uint_eq(counts[0], counts[1]);
	}
	writer_free(&have);
}

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
	each_record(7, 150);
}
END_TEST

START_TEST(each_record_of_the_newest_state)
{
	each_record(5, 120);
}
END_TEST

START_TEST(each_record_on_disk)
{
	on_disk = true;
	each_record(29, 40);
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
	for (uint64_t seed = 1; seed <= 12; seed++) {
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
	for (uint64_t seed = 1; seed <= 8; seed++) {
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
	const struct replica_config config = {.genesis = &w.genesis,
					      .store = own,
					      .self = SELF,
					      .key = w.validator[SELF],
					      .seed = 1,
					      .now = now,
					      .history = history,
					      .host = {.send = hurt_sends,
						       .sync = host_sync,
						       .final = host_final,
						       .rejected = host_rejected,
						       .halted = host_halted,
						       .mend_note = host_mend,
						       .wall_ms = host_wall}};
	if (replica_open(&hurt, &config, &m) == ERR_NONE)
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
			bool right = !err && slice_equal(writer_slice(&was), value);
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
	suite_add_tcase(s, t);
	t = tcase_create("mend-pruned");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup_pruned, teardown);
	tcase_add_test(t, each_record_of_the_newest_state);
	tcase_add_test(t, values_are_fetched);
	tcase_add_test(t, all_lie);
	tcase_add_test(t, nothing_is_wrong);
	tcase_add_test(t, any_key);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
