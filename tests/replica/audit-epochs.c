/* What `db check` finds and `db repair` mends in a store of three epochs, and in one that
 * stopped at an end. */
#include "tests/replica/audit.h"
#include "tests/replica/quiet.h"

#define INTERVAL 3
static struct handover ends[2];
static struct keypair fresh[2];

static void commit_in(uint64_t term, uint64_t n, bool certified)
{
	struct record_key k;
	struct slice tx;
	char value[16];
	snprintf(value, sizeof value, "%llu", (unsigned long long)n);
	tx = world_put(&w, 0, n, "key", value);
	struct block *b = governed_commit(&w, term, &tx, 1);
	world_free_txs(&tx, 1);
	put_block(b);
	put(STORE_BLOCKS, key_final(&k, b->sh.h.height), hash_slice(&b->hash));
	if (certified)
		put_cert(b);
}

static struct block *commit_end(uint64_t term, unsigned place, bool certified)
{
	struct record_key k;
	struct block *b = governed_end(&w, term, place, &fresh[place].pub);
	put_block(b);
	put(STORE_BLOCKS, key_final(&k, b->sh.h.height), hash_slice(&b->hash));
	put(STORE_BLOCKS, key_system(&k, b->sh.h.height), hash_slice(&b->hash));
	if (certified)
		put_cert(b);
	return b;
}

static void votes_of(uint64_t epoch)
{
	struct writer bytes = {0};
	writer_u16(&bytes, 1);
	writer_u64(&bytes, epoch);
	put(STORE_META, slice_str(VOTES_EPOCH_KEY), writer_slice(&bytes));
	writer_free(&bytes);
	for (uint8_t slot = 0; slot < 2; slot++)
		put(STORE_VOTES, slice_of(&slot, 1), slice_str("a vote"));
}

/* Up to the end of epoch 1, which has no record yet: epoch 0 ended at 3, by a filler. */
static void setup_end(void)
{
	crypto_init();
	world_genesis(&w, 1000);
	w.genesis.scheme = SIG_ED25519;
	governed_genesis(&w, INTERVAL);
	world_seal(&w);
	store = store_open_memory();
	world_open(&w, store);
	for (uint8_t i = 0; i < 2; i++)
		fresh[i] = governed_key(i);
	commit_in(1, 1, true);
	commit_in(2, 2, false);
	commit_end(2, 0, false);
	governed_handover(&w, 1, NULL, &ends[0]);
	governed_step(&w, &ends[0], 0, &fresh[0]);
	governed_record(store, 1, &ends[0]);
	commit_in(4, 3, false);
	commit_in(4, 4, true);
	setup_home();
}

static void setup_epochs(void)
{
	setup_end();
	commit_end(4, 1, true);
	governed_handover(&w, 0, NULL, &ends[1]);
	governed_step(&w, &ends[1], 1, &fresh[1]);
	governed_record(store, 2, &ends[1]);
	commit_in(5, 5, true);
	commit_in(5, 6, true);
	votes_of(2);
}

static void teardown_epochs(void)
{
	handover_free(&ends[0]);
	handover_free(&ends[1]);
	teardown();
}

static void put_epoch(uint64_t epoch, struct slice value)
{
	struct epoch_key k;
	put(STORE_META, key_epoch(&k, epoch), value);
}

START_TEST(sound_epochs)
{
	struct audit_result r;
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_msg(r.findings == 0, "%s: %s", store_family_name(last.family), last.what);
	ck_assert_uint_eq(r.epochs, 2);
	ck_assert_uint_eq(r.blocks, 8);
}
END_TEST

START_TEST(each_record_of_epochs)
{
	ck_assert_uint_gt(try_each(), 300);
}
END_TEST

/* What is lost is named, and not all that comes after it. */
START_TEST(damaged_records_of_epochs)
{
	struct audit_result r;
	for (uint64_t epoch = 1; epoch <= 2; epoch++) {
		const struct slice how[] = {{0}, slice_str("x")};
		for (unsigned i = 0; i < 2; i++) {
			put_epoch(epoch, how[i]);
			ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
			ck_assert_uint_eq(r.findings, 1);
			ck_assert_int_eq(last.family, STORE_META);
			ck_assert_ptr_nonnull(strstr(last.what, "beginning"));
		}
		governed_record(store, epoch, &ends[2 - epoch]); /* the other one */
		ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
		ck_assert_uint_eq(r.findings, 1);
		governed_record(store, epoch, &ends[epoch - 1]);
	}
	governed_record(store, 3, &ends[1]);
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_uint_eq(r.findings, 1);
	put_epoch(3, (struct slice){0});
	votes_of(3);
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_uint_eq(r.findings, 1);
	votes_of(1); /* of who lost its place since */
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_uint_eq(r.findings, 0);
}
END_TEST

static struct store *open_repaired(void)
{
	struct store_options options = {.create = false};
	struct store *s;
	struct errmsg m;
	char data[96];
	snprintf(data, sizeof data, "%s/data", home);
	ck_assert_int_eq(store_open_rocksdb(&s, data, &options, &m), ERR_NONE);
	return s;
}

/* It is whole, has those votes, of that epoch, and the root. */
static void check_repaired(uint64_t votes_epoch)
{
	struct audit_result a;
	struct store *old = store;
	struct writer bytes = {0};
	store = open_repaired();
	ck_assert_int_eq(audit(&a, NULL), ERR_NONE);
	ck_assert_msg(a.findings == 0, "%s: %s", store_family_name(last.family), last.what);
	ck_assert_uint_eq(a.vote_slots, 2);
	ck_assert_uint_eq(a.ledger.height, w.tip->sh.h.height);
	ck_assert(hash_equal(&a.ledger.root, ledger_root(w.ledger)));
	ck_assert_int_eq(store_get(store, STORE_META, slice_str(VOTES_EPOCH_KEY), &bytes),
			 ERR_NONE);
	ck_assert_uint_eq(load_be64(bytes.buf + 2), votes_epoch);
	writer_free(&bytes);
	store_close(store);
	store = old;
}

static void new_home(void)
{
	files_remove(home, NULL);
	setup_home();
}

START_TEST(repairs_epochs)
{
	struct other o;
	struct repair_result r;
	struct errmsg m = {{0}};
	struct record_key k;
	copy_store(&o);
	ck_assert_msg(repair(NULL, &r, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(r.height, 8);
	ck_assert_uint_eq(r.epoch, 2);
	ck_assert_uint_eq(r.fetched_handovers, 0);
	check_repaired(2);
	/* records, blocks, ends, certificates, each of them lost or damaged */
	for (unsigned way = 0; way < 6; way++) {
		new_home();
		put_epoch(1 + way % 2, way & 2 ? slice_str("x") : (struct slice){0});
		damage(way < 4 ? 2 : 3, way & 1);
		damage(8, way & 2);
		put(STORE_CERTS, key_cert(&k, 7), slice_str("x"));
		memset(&m, 0, sizeof m);
		ck_assert_int_eq(repair(NULL, &r, &m), ERR_NOT_FOUND);
		is_untouched();
		ck_assert_msg(repair(&o, &r, &m) == ERR_NONE, "way %u: %s", way, m.text);
		ck_assert_uint_eq(r.epoch, 2);
		ck_assert_uint_eq(r.fetched_handovers, 1);
		ck_assert_uint_eq(r.fetched, 2);
		check_repaired(2);
		struct other again;
		struct store *damaged = store;
		store = o.store;
		copy_store(&again);
		store = again.store;
		w.store = store; /* closed by world_free() */
		ledger_close(w.ledger);
		ck_assert_int_eq(
			ledger_open(&w.ledger, store, &w.genesis, &w.ctx, w.block0, &m),
			ERR_NONE);
		store_close(damaged);
	}
	store_close(o.store);
}
END_TEST

/* Its index and certificates say that it ends before the newest epoch begins; its votes, and
 * the record of that, say otherwise. */
START_TEST(repairs_as_far_as_its_votes)
{
	struct other o;
	struct repair_result r;
	struct record_key k;
	struct errmsg m = {{0}};
	copy_store(&o);
	for (uint64_t h = 5; h <= 8; h++) {
		put(STORE_BLOCKS, key_final(&k, h), (struct slice){0});
		put(STORE_CERTS, key_cert(&k, h), (struct slice){0});
	}
	ck_assert_int_eq(repair(NULL, &r, &m), ERR_NOT_FOUND);
	is_untouched();
	ck_assert_msg(repair(&o, &r, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(r.epoch, 2);
	ck_assert_uint_eq(r.height, 6);
	ck_assert_uint_eq(r.fetched, 2);
	ck_assert_uint_eq(r.unfinal, 2);
	/* without the record: by the votes alone */
	new_home();
	put_epoch(2, (struct slice){0});
	ck_assert_msg(repair(&o, &r, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(r.epoch, 2);
	ck_assert_uint_eq(r.fetched_handovers, 1);
	store_close(o.store);
}
END_TEST

/* An observer's votes are of no epoch: its final blocks say in which one it is. */
START_TEST(repairs_an_observer)
{
	struct other o;
	struct repair_result r;
	struct errmsg m = {{0}};
	copy_store(&o);
	put_epoch(2, (struct slice){0});
	put(STORE_META, slice_str(VOTES_EPOCH_KEY), (struct slice){0});
	put(STORE_META, slice_str(OBSERVER_KEY), slice_str("x"));
	ck_assert_msg(repair(&o, &r, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(r.epoch, 2);
	ck_assert_uint_eq(r.height, 8);
	ck_assert_uint_eq(r.fetched_handovers, 1);
	store_close(o.store);
}
END_TEST

START_TEST(refuses_handovers_of_a_liar)
{
	struct other o;
	struct repair_result r;
	struct errmsg m = {{0}};
	copy_store(&o);
	put_epoch(1, slice_str("x"));
	ck_assert_int_eq(repair(NULL, &r, &m), ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(m.text, "epoch 1"));
	is_untouched();
	o.lies = true;
	ck_assert_int_eq(repair(&o, &r, &m), ERR_BAD_SIGNATURE);
	ck_assert_ptr_nonnull(strstr(m.text, "epoch 1"));
	is_untouched();
	ck_assert_uint_eq(o.asked_handovers, 1);
	/* one that is not there yet itself */
	o.lies = false;
	struct store *own = store;
	struct epoch_key k;
	store = o.store;
	put(STORE_META, key_epoch(&k, 1), (struct slice){0});
	store = own;
	ck_assert_int_eq(repair(&o, &r, &m), ERR_NOT_FOUND);
	is_untouched();
	store_close(o.store);
}
END_TEST

static unsigned halts;

static void host_send(void *ctx, const struct message *m)
{
}
static void host_halted(void *ctx, const char *why)
{
	halts++;
}

/* Stopped at the end of an epoch, before the next one began: so it stays, with the votes of the
 * old one and its fillers, and the next start steps over it. */
START_TEST(repairs_at_an_end)
{
	for (unsigned way = 0; way < 3;
	     way++) { /* its own certificate, a filler's, and that lost */
		struct other o;
		struct repair_result r;
		struct record_key k;
		struct block *filler = NULL;
		struct errmsg m = {{0}};
		struct replica *replica;
		if (way) {
			teardown();
			handover_free(&ends[0]);
			setup_end();
		}
		commit_end(4, 1, way == 0);
		governed_handover(&w, way ? 1 : 0, &filler, &ends[1]);
		if (way) {
			put_block(filler);
			put_cert(filler);
		}
		votes_of(1);
		copy_store(&o);
		if (way == 2) { /* the others are a step ahead */
			struct store *own = store;
			put(STORE_CERTS, key_cert(&k, 7), slice_str("x"));
			ck_assert_int_eq(repair(&o, &r, &m), ERR_NOT_FOUND);
			store = o.store;
			governed_record(store, 2, &ends[1]);
			store = own;
		}
		ck_assert_msg(repair(&o, &r, &m) == ERR_NONE, "way %u: %s", way, m.text);
		ck_assert_uint_eq(r.height, 6);
		ck_assert_uint_eq(r.epoch, 1);
		ck_assert_uint_eq(r.fetched_handovers, way == 2);
		ck_assert_uint_eq(r.unfinal, way ? 1 : 0);
		check_repaired(1);
		struct store *repaired = open_repaired();
		for (uint8_t slot = 0; slot < 2; slot++) {
			struct store_batch *batch = store_batch_new();
			store_batch_delete(batch, STORE_VOTES, slice_of(&slot, 1));
			ck_assert_int_eq(store_write(repaired, batch, true), ERR_NONE);
			store_batch_free(batch);
		}
		const struct replica_config config = {.genesis = &w.genesis,
						      .store = repaired,
						      .self = 2,
						      .key = w.validator[2],
						      .seed = 1,
						      .host = {.send = host_send,
							       .sync = quiet_sync,
							       .final = quiet_final,
							       .rejected = quiet_rejected,
							       .halted = host_halted,
							       .wall_ms = quiet_wall}};
		ck_assert_msg(replica_open(&replica, &config, &m) == ERR_NONE, "way %u: %s",
			      way, m.text);
		ck_assert_uint_eq(replica_ctx(replica)->epoch, 2);
		ck_assert_ptr_null(replica_observes(replica));
		ck_assert_uint_eq(halts, 0);
		replica_close(replica);
		store_close(repaired);
		store_close(o.store);
		if (filler)
			block_drop(filler);
		if (way < 2)
			handover_free(&ends[1]);
	}
}
END_TEST

TCase *audit_epochs_case(void)
{
	TCase *t = audit_case("epochs", setup_epochs, teardown_epochs);
	tcase_add_test(t, sound_epochs);
	tcase_add_test(t, each_record_of_epochs);
	tcase_add_test(t, damaged_records_of_epochs);
	tcase_add_test(t, repairs_epochs);
	tcase_add_test(t, repairs_as_far_as_its_votes);
	tcase_add_test(t, repairs_an_observer);
	tcase_add_test(t, refuses_handovers_of_a_liar);
	return t;
}

TCase *audit_end_case(void)
{
	TCase *t = audit_case("end", setup_end, teardown_epochs);
	tcase_add_test(t, repairs_at_an_end);
	return t;
}
