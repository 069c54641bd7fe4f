#include "tests/replica/governed.h" /* before its w is everybody's */

#include "tests/replica/mend-world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ledger/tree_private.h"
#include "replica/files.h"
#include "tests/replica/quiet.h"

#define QUEUE	1024
#define STEP_US 5000

/* One replica answers for the validators 0 to 2; validator 3 mends itself. */
struct letter {
	unsigned from, to;
	struct writer bytes;
};
struct world w;
static struct store *served;
struct store *own, *sound;
static struct replica *server;
struct replica *hurt;
static struct letter queue[QUEUE];
static unsigned queued, asked_of;
uint64_t now;
const char *halted;
void (*liar)(struct writer *bytes);
unsigned liars; /* peers */
struct damage list[LIST];
uint32_t listed;
unsigned mended, fetched, left, lied, over;
uint64_t liar_mask;
bool on_disk;
struct block *rival;	 /* of the newest block, as well signed */
static uint64_t history; /* of the one that is hurt */
uint64_t kept_blocks;
char home[64];

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

static void host_halted(void *ctx, const char *why)
{
	(void)ctx;
	halted = why;
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
		.blocks = self == SELF ? kept_blocks : 0,
		.host = {.send = self == SELF ? hurt_sends : server_sends,
			 .sync = quiet_sync,
			 .final = quiet_final,
			 .rejected = quiet_rejected,
			 .halted = host_halted,
			 .mend_note = host_mend,
			 .wall_ms = quiet_wall}};
	struct errmsg m = {{0}};
	struct replica *r;
	return replica_open(&r, &config, &m) == ERR_NONE ? r : NULL;
}

/* A replica beside, which nothing befalls. */
static struct replica *twin;

void open_twin(void)
{
	twin = open_one(sound, SELF);
	ck_assert_ptr_nonnull(twin);
}

void close_twin(void)
{
	replica_close(twin);
	twin = NULL;
}

static struct block *newest;
static struct cert newest_cert;

static void follows(struct replica *r, struct store *s)
{
	const struct final_block f = {.block = newest, .cert = &newest_cert};
	stored_block(s, &w, newest);
	ck_assert_int_eq(ledger_execute(r->ledger, newest, false), ERR_NONE);
	replica_driver_host.final(r, &f);
}

void others_go_on(void)
{
	struct slice txs[WORLD_CLIENTS];
	uint64_t h = w.tip->sh.h.height + 1;
	for (unsigned i = 0; i < WORLD_CLIENTS; i++) {
		char key[24];
		snprintf(key, sizeof key, "key-%u", (unsigned)(h * 7 + i * 31) % 150);
		txs[i] = world_put(&w, i, h, key, key);
	}
	newest = world_commit(&w, txs, WORLD_CLIENTS);
	world_cert(&w, newest, CERT_TWO_ROUND, 3, &newest_cert);
	follows(server, served);
	follows(twin, sound);
	world_free_txs(txs, WORLD_CLIENTS);
}

void go_on_with(struct slice *txs, uint32_t count)
{
	newest = world_commit(&w, txs, count);
	world_cert(&w, newest, CERT_TWO_ROUND, 3, &newest_cert);
	follows(server, served);
	follows(twin, sound);
	world_free_txs(txs, count);
	hurt_follows();
}

void hurt_follows(void)
{
	follows(hurt, own);
}

void go_on(void)
{
	others_go_on();
	hurt_follows();
}

bool open_hurt(void)
{
	hurt = open_one(own, SELF);
	return hurt != NULL;
}

static void make_chain(void)
{
	for (uint64_t h = 1; h <= HEIGHTS; h++) {
		struct slice txs[1 + WORLD_CLIENTS];
		uint32_t count = varied_txs(&w, h, txs);
		if (h == HEIGHTS)
			rival = world_build(&w, w.tip, 1, txs, 1, NULL);
		struct block *b = world_commit(&w, txs, count);
		stored_block(served, &w, b);
		stored_block(own, &w, b);
		world_free_txs(txs, count);
	}
}

static struct replica *open_one(struct store *s, unsigned self);

/* Epoch 0 ends at 12, by two fillers, epoch 1 at 24, by none: all is in the sight of epoch 2.
 */
static void make_epochs(void)
{
	static struct keypair fresh[2];
	rival = NULL;
	for (uint64_t h = 1; h <= HEIGHTS; h++) {
		unsigned epoch = h > 24 ? 2 : h > 12 ? 1 : 0;
		struct slice txs[WORLD_CLIENTS];
		if (h == 12 || h == 24) {
			struct handover handover;
			struct block *filler[2] = {NULL};
			unsigned place = 1 + epoch;
			fresh[epoch] = governed_key((uint8_t)epoch);
			struct block *end =
				governed_end(&w, 3 * epoch + 1, place, &fresh[epoch].pub);
			governed_handover(&w, h == 12 ? 2 : 0, filler, &handover);
			struct store *both[] = {served, own};
			for (unsigned i = 0; i < 2; i++) {
				stored_block(both[i], &w, end);
				for (unsigned k = 0; k < 2 && filler[k]; k++)
					stored_block(both[i], &w, filler[k]);
				replica_close(
					open_one(both[i], i ? SELF : 0)); /* steps over it */
			}
			for (unsigned k = 0; k < 2 && filler[k]; k++)
				block_drop(filler[k]);
			governed_step(&w, &handover, place, &fresh[epoch]);
			handover_free(&handover);
			continue;
		}
		for (unsigned i = 0; i < WORLD_CLIENTS; i++) {
			char key[24];
			snprintf(key, sizeof key, "key-%u", (unsigned)(h * 7 + i * 31) % 150);
			txs[i] = world_put(&w, i, h, key, key);
		}
		struct block *b = governed_commit(&w, 3 * epoch + 1, txs, WORLD_CLIENTS);
		stored_block(served, &w, b);
		stored_block(own, &w, b);
		world_free_txs(txs, WORLD_CLIENTS);
	}
}

void copy_store(struct store *from, struct store *to)
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

void begin(void)
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
	ck_assert(open_hurt());
	mended = fetched = left = lied = over = 0;
	liar_mask = 0;
	halted = NULL;
	liar = NULL;
	liars = 1;
}

static void set_up(uint64_t heights, bool epochs)
{
	crypto_init();
	history = heights;
	kept_blocks = 0;
	hurt = NULL;
	world_genesis(&w, 1000);
	w.genesis.checkpoint_interval = 2;
	w.genesis.limits.window = 4;
	if (epochs)
		governed_genesis(&w, 2);
	world_seal(&w);
	world_open(&w, NULL);
	served = store_open_memory();
	own = store_open_memory();
	sound = store_open_memory();
	ck_assert_int_eq(replica_first_votes(served), ERR_NONE);
	ck_assert_int_eq(replica_first_votes(own), ERR_NONE);
	now = 1000000;
	queued = 0;
	if (epochs)
		make_epochs();
	else
		make_chain();
	server = open_one(served, 0);
	ck_assert_ptr_nonnull(server);
	ck_assert(open_hurt());
	copy_store(own, sound);
	strcpy(home, "/tmp/check-mend-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(home));
	on_disk = false;
	begin();
}

struct store *server_store(void)
{
	return served;
}

void setup(void)
{
	set_up(LEDGER_HISTORY_MIN, false);
}

void setup_pruned(void)
{
	set_up(0, false);
}

void setup_epochs(void)
{
	set_up(LEDGER_HISTORY_MIN, true);
}

void teardown(void)
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

void step(void)
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

uint32_t scrub(void)
{
	const struct audit_options o = {
		.genesis = &w.genesis, .found = on_found, .step = on_step};
	struct audit_result result;
	struct errmsg m = {{0}};
	listed = 0;
	ck_assert_msg(replica_audit(own, &o, &result, &m) == ERR_NONE, "%s", m.text);
	return listed;
}

void mend(void)
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

bool mend_all(void)
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

void put(enum store_family f, struct slice key, struct slice value)
{
	struct store_batch *batch = store_batch_new();
	if (value.ptr)
		store_batch_put(batch, f, key, value);
	else
		store_batch_delete(batch, f, key);
	ck_assert_int_eq(store_write(own, batch, false), ERR_NONE);
	store_batch_free(batch);
}

/* The next value that a list names; false: there is none. */
static bool next_value(struct reader *r, struct slice *key)
{
	while (r->left > 0) {
		uint8_t family = reader_u8(r);
		*key = reader_var(r, STATE_KEY_MAX + 8);
		ck_assert(!r->err && (family == STORE_TREE || family == STORE_STATE));
		if (family == STORE_STATE)
			return true;
	}
	return false;
}

/* Which nodes a list names is for each node to say: it depends on the records that it has. */
static void check_list(struct slice have, struct slice was)
{
	struct reader r, s;
	struct slice a, b;
	reader_init(&r, have);
	for (reader_init(&s, was); next_value(&s, &b);)
		ck_assert(next_value(&r, &a) && slice_equal(a, b));
	ck_assert(!next_value(&r, &a));
}

/* Whether a node is one of a readable state, and not only what others rest on. */
static bool is_needed(struct mend_record *rec)
{
	uint64_t oldest = ledger_oldest(hurt->ledger);
	struct tree t;
	struct tree_node *root;
	struct hash hash;
	enum mend_look look;
	if (rec->version >= oldest)
		return true;
	tree_init(&t, sound, 0);
	ck_assert_int_eq(tree_load_root(&t, oldest, &root, &hash), ERR_NONE);
	tree_drop(&t, root);
	tree_close(&t);
	ck_assert_int_eq(mend_look(sound, rec, oldest, &hash, &look), ERR_NONE);
	return look != MEND_UNUSED;
}

static bool whole_node(struct store *s, const struct mend_record *rec, struct writer *out)
{
	struct tree t;
	struct tree_node *n;
	tree_init(&t, s, 0);
	int err = node_load(&t, rec->version, &rec->key, rec->depth, &n);
	if (!err) {
		struct slice whole = node_whole(&t, n, rec->version);
		writer_reset(out);
		writer_raw(out, whole.ptr, whole.len);
		tree_drop(&t, n);
	}
	tree_close(&t);
	return err == ERR_NONE;
}

bool same_node(struct slice key)
{
	struct writer have = {0}, was = {0};
	struct mend_record rec;
	bool same = mend_record_of(STORE_TREE, key, &rec) && !rec.list &&
		    whole_node(sound, &rec, &was) && whole_node(own, &rec, &have) &&
		    slice_equal(writer_slice(&have), writer_slice(&was));
	writer_free(&have);
	writer_free(&was);
	return same;
}

/* Nodes are what they were, in whatever kind of record. */
static void check_same_tree(void)
{
	static const struct slice none = {0};
	struct slice key, value;
	struct writer have = {0}, was = {0};
	struct store_iter *it = store_iter_new(sound, STORE_TREE, none, none, false);
	while (store_iter_next(it, &key, &value)) {
		struct mend_record rec;
		ck_assert(mend_record_of(STORE_TREE, key, &rec));
		if (rec.list) {
			ck_assert_int_eq(store_get(own, STORE_TREE, key, &have), ERR_NONE);
			check_list(writer_slice(&have), value);
		} else if (is_needed(&rec)) {
			ck_assert_msg(same_node(key), "a node is not what it was");
		}
	}
	store_iter_free(it);
	it = store_iter_new(own, STORE_TREE, none, none, false);
	while (store_iter_next(it, &key, &value))
		ck_assert_msg(store_get(sound, STORE_TREE, key, &was) == ERR_NONE,
			      "there was no such node");
	ck_assert_int_eq(store_iter_error(it), ERR_NONE);
	store_iter_free(it);
	writer_free(&have);
	writer_free(&was);
}

void check_same(bool votes_too)
{
	static const struct slice none = {0};
	struct slice key, value;
	struct writer have = {0};
	for (int f = 0; f < STORE_FAMILIES; f++) {
		uint64_t counts[2] = {0, 0};
		if ((f == STORE_VOTES && !votes_too) || f == STORE_TREE)
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
	check_same_tree();
	writer_free(&have);
}
