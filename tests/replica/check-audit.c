/* What `db check` finds and `db repair` mends: each record of a store deleted, altered, cut. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain/recovery.h"
#include "replica/audit.h"
#include "replica/files.h"
#include "replica/private.h"
#include "replica/repair.h"
#include "tests/ledger/world.h"
#include "tests/replica/governed.h"
#include "tests/replica/quiet.h"

#define BLOCKS 6

static struct world w;
static struct store *store;
static char home[64];
static struct keypair recoverer;

static void put(enum store_family f, struct slice key, struct slice value)
{
	struct store_batch *batch = store_batch_new();
	if (value.ptr)
		store_batch_put(batch, f, key, value);
	else
		store_batch_delete(batch, f, key);
	ck_assert_int_eq(store_write(store, batch, false), ERR_NONE);
	store_batch_free(batch);
}

static void put_block(const struct block *b)
{
	struct record_key k;
	struct writer bytes = {0};
	block_encode(&bytes, b);
	put(STORE_BLOCKS, key_block(&k, b->sh.h.height, &b->hash), writer_slice(&bytes));
	writer_free(&bytes);
}

static struct slice system_entry(uint64_t height)
{
	struct writer out = {0};
	const struct system_tx tx = {.kind = SYSTEM_ESCALATED,
				     .height = height,
				     .term = 1,
				     .reason = REASON_TIMEOUTS};
	size_t len;
	system_tx_encode(&out, &tx, &w.ctx);
	uint8_t *bytes = writer_take(&out, &len);
	return slice_of(bytes, len);
}

static void put_cert(const struct block *b)
{
	struct record_key k;
	struct cert cert;
	struct writer bytes = {0};
	world_cert(&w, b, CERT_TWO_ROUND, 3, &cert);
	cert_encode(&bytes, &cert);
	put(STORE_CERTS, key_cert(&k, b->sh.h.height), writer_slice(&bytes));
	writer_free(&bytes);
}

static void commit(uint64_t n)
{
	struct record_key k;
	struct slice txs[3];
	unsigned count = 0;
	char value[16];
	snprintf(value, sizeof value, "%llu", (unsigned long long)n);
	if (n == 3)
		txs[count++] = system_entry(n);
	txs[count++] = world_put(&w, 0, n, "key", value);
	txs[count++] = world_put(&w, 1, n, value, value);
	struct block *b = world_commit(&w, txs, count);
	world_free_txs(txs, count);
	put_block(b);
	put(STORE_BLOCKS, key_final(&k, n), hash_slice(&b->hash));
	if (n == 3)
		put(STORE_BLOCKS, key_system(&k, n), hash_slice(&b->hash));
	put_cert(b);
}

static void setup_home(void)
{
	struct errmsg m;
	char data[96];
	strcpy(home, "/tmp/check-audit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(home));
	snprintf(data, sizeof data, "%s/data", home);
	struct store *empty;
	struct store_options options = {.create = true};
	ck_assert_int_eq(store_open_rocksdb(&empty, data, &options, &m), ERR_NONE);
	store_close(empty);
}

static void setup(void)
{
	crypto_init();
	world_genesis(&w, 1000);
	w.genesis.scheme = SIG_ED25519;
	keypair_generate(&recoverer);
	w.genesis.recovery = (struct genesis_keys){.k = 1, .m = 1, .key = {recoverer.pub}};
	world_seal(&w);
	store = store_open_memory();
	world_open(&w, store); /* the ledger's records are among them */
	for (uint64_t n = 1; n <= BLOCKS; n++)
		commit(n);
	for (uint8_t slot = 0; slot < 2; slot++)
		put(STORE_VOTES, slice_of(&slot, 1), slice_str("a vote"));
	/* One that is not final yet. */
	struct slice tx = world_put(&w, 2, 1, "next", "one");
	struct block *b = world_build(&w, w.tip, 1, &tx, 1, NULL);
	world_free_txs(&tx, 1);
	put_block(b);
	block_drop(b);
	setup_home();
}

static void teardown(void)
{
	world_free(&w);
	files_remove(home, NULL);
}

static struct finding last;

static void on_found(void *arg, const struct finding *f)
{
	last = *f;
}
static bool on_step(void *arg, uint64_t height, uint64_t height_max, uint64_t bytes,
		    uint64_t bytes_max)
{
	return !arg || --*(int *)arg > 0;
}

static int audit(struct audit_result *r, int *steps)
{
	struct errmsg m;
	const struct audit_options o = {
		.genesis = &w.genesis, .arg = steps, .found = on_found, .step = on_step};
	return replica_audit(store, &o, r, &m);
}

START_TEST(sound)
{
	struct audit_result r;
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_msg(r.findings == 0, "%s: %s", store_family_name(last.family), last.what);
	ck_assert_uint_eq(r.blocks, BLOCKS);
	ck_assert_uint_eq(r.certificates, BLOCKS);
	ck_assert_uint_eq(r.transactions, 2 * BLOCKS + 1);
	ck_assert_uint_eq(r.ledger.index_entries, r.transactions);
	ck_assert_uint_eq(r.unfinal, 1);
	ck_assert_uint_eq(r.vote_slots, 2);
	ck_assert_uint_gt(r.ledger.nodes, BLOCKS);
	int steps = 20;
	ck_assert_int_eq(audit(&r, &steps), ERR_CLOSED);
}
END_TEST

/* Against one of the validators of before a recovery it still proves what it did. */
START_TEST(evidence_of_before_a_recovery)
{
	struct audit_result r;
	struct errmsg m;
	struct hash id;
	struct writer half[2] = {{0}}, bytes = {0};
	struct recovery v = {.chain = w.ctx.id,
			     .number = 1,
			     .kept = block_ref_of(w.tip),
			     .state_root = w.tip->sh.h.state_root,
			     .n = WORLD_VALIDATORS};
	for (unsigned i = 0; i < 2; i++) {
		struct signed_header sh = w.tip->sh;
		sh.h.time_ms += i;
		signed_header_sign(&sh, &w.ctx, &w.validator[sh.h.leader]);
		signed_header_encode(&half[i], &sh);
	}
	bool swap = slice_compare(writer_slice(&half[0]), writer_slice(&half[1])) > 0;
	const struct evidence e = {.kind = EVIDENCE_HEADERS,
				   .culprit = w.tip->sh.h.leader,
				   .first = {STATEMENT_HEADER, writer_slice(&half[swap])},
				   .second = {STATEMENT_HEADER, writer_slice(&half[!swap])}};
	evidence_encode(&bytes, &e);
	evidence_hash(&id, &e);
	put(STORE_EVIDENCE, hash_slice(&id), writer_slice(&bytes));
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_uint_eq(r.findings, 0);
	for (unsigned i = 0; i < v.n; i++) {
		struct keypair key;
		keypair_generate(&key);
		v.key[i] = key.pub;
	}
	ck_assert_int_eq(recovery_sign(&v, &w.genesis, &recoverer), ERR_NONE);
	ck_assert_msg(genesis_add_recovery(&w.genesis, &v, &m) == ERR_NONE, "%s", m.text);
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_uint_eq(r.evidence, 1);
	ck_assert_msg(r.findings == 0, "%s: %s", store_family_name(last.family), last.what);
	writer_free(&half[0]);
	writer_free(&half[1]);
	writer_free(&bytes);
}
END_TEST

/* Not damage by what is in a store: a missing certificate, for a later one serves; votes, whose
 * bytes belong to the engine (checksums on the disk cover them); the oldest height. */
static bool is_visible(enum store_family f, struct slice key, struct slice value, int how,
		       size_t at)
{
	if (f == STORE_VOTES || f == STORE_EVIDENCE)
		return false;
	if (f == STORE_CERTS && how == 0)
		return false;
	if (f == STORE_BLOCKS && how == 0 && key.ptr[0] == 'b' &&
	    load_be64(key.ptr + 1) > BLOCKS)
		return false;
	if (f == STORE_META && slice_equal(key, slice_str(VOTES_EPOCH_KEY)))
		return how == 5; /* an older one is that of who lost its place since */
	return f != STORE_META || how != 1 || at + 8 < value.len || key.ptr[0] == 'e';
}

static unsigned try_each(void)
{
	static const struct slice none = {0};
	struct random rnd;
	unsigned tried = 0;
	random_seed(&rnd, 3);
	for (int f = 0; f < STORE_FAMILIES; f++) {
		struct slice key, value;
		struct writer keys = {0};
		unsigned count = 0;
		struct store_iter *it =
			store_iter_new(store, (enum store_family)f, none, none, false);
		while (store_iter_next(it, &key, &value)) {
			writer_var(&keys, key);
			count++;
		}
		store_iter_free(it);
		struct reader r;
		reader_init(&r, writer_slice(&keys));
		while (count-- > 0) {
			struct writer old = {0}, now = {0};
			key = reader_var(&r, 4096);
			ck_assert_int_eq(store_get(store, (enum store_family)f, key, &old),
					 ERR_NONE);
			for (int how = 0; how < 6; how++) {
				size_t at = random_below(&rnd, old.len);
				writer_reset(&now);
				writer_raw(&now, old.buf, how == 5 ? old.len - 1 : old.len);
				if (how > 0 && how < 5)
					now.buf[at] ^= (uint8_t)(1u << random_below(&rnd, 8));
				if (!is_visible((enum store_family)f, key, writer_slice(&old),
						how > 0 && how < 5 ? 1 : how, at))
					continue;
				put((enum store_family)f, key,
				    how == 0 ? none : writer_slice(&now));
				struct audit_result result;
				int err = audit(&result, NULL);
				ck_assert_msg(err || result.findings,
					      "family %d, key '%c' of %zu, way %d, byte %zu", f,
					      key.ptr[0], key.len, how, at);
				tried++;
			}
			put((enum store_family)f, key, writer_slice(&old));
			writer_free(&old);
			writer_free(&now);
		}
		writer_free(&keys);
	}
	struct audit_result r;
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_uint_eq(r.findings, 0);
	return tried;
}

START_TEST(each_record)
{
	ck_assert_uint_gt(try_each(), 300);
}
END_TEST

/* The block is named by its height. */
START_TEST(damage_has_a_place)
{
	struct record_key k;
	struct audit_result r;
	struct block *b = w.tip;
	put(STORE_BLOCKS, key_block(&k, BLOCKS, &b->hash), slice_str("rubbish"));
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_uint_ge(r.findings, 1);
	ck_assert_int_eq(last.family, STORE_BLOCKS);
	ck_assert_uint_eq(last.height, BLOCKS);
	ck_assert_int_eq(last.err, ERR_CORRUPT);
}
END_TEST

/* ---- repair -------------------------------------------------------------------------------
 */

/* Another node: a copy of the store as it was. */
struct other {
	struct store *store;
	unsigned asked;
	bool lies;
	unsigned asked_handovers;
};

static int other_get(void *arg, uint64_t height, struct writer *block, struct writer *cert,
		     struct writer *term, struct errmsg *m)
{
	struct other *o = arg;
	o->asked++;
	int err = replica_stored_block(o->store, height, block, cert, term);
	if (!err && o->lies)
		block->buf[block->len - 1] ^= 1;
	return err;
}

static int other_handover(void *arg, uint64_t epoch, struct proof_document *out,
			  struct errmsg *m)
{
	struct other *o = arg;
	struct replica view;
	o->asked_handovers++;
	records_view(&view, o->store, &w.genesis);
	int err = replica_handover(&view, epoch, out);
	records_view_free(&view);
	if (err)
		return err_set(m, ERR_NOT_FOUND, "it is not in epoch %llu",
			       (unsigned long long)epoch);
	if (o->lies)
		out->ch.cert.sig[0].b[0] ^= 1;
	return ERR_NONE;
}

static void copy_store(struct other *o)
{
	static const struct slice none = {0};
	struct slice key, value;
	struct store_batch *batch = store_batch_new();
	*o = (struct other){.store = store_open_memory()};
	for (int f = 0; f < STORE_FAMILIES; f++) {
		struct store_iter *it =
			store_iter_new(store, (enum store_family)f, none, none, false);
		while (store_iter_next(it, &key, &value))
			store_batch_put(batch, (enum store_family)f, key, value);
		store_iter_free(it);
	}
	ck_assert_int_eq(store_write(o->store, batch, true), ERR_NONE);
	store_batch_free(batch);
}

static int repair(struct other *o, struct repair_result *r, struct errmsg *m)
{
	const struct repair_source source = {
		.arg = o, .get = other_get, .handover = other_handover};
	const struct repair_options options = {.genesis = &w.genesis,
					       .source = o ? &source : NULL,
					       .history = LEDGER_HISTORY_MIN};
	return replica_repair(store, home, &options, r, m);
}

static void damage(uint64_t height, bool index)
{
	struct record_key k;
	struct hash hash;
	struct writer bytes = {0};
	ck_assert_int_eq(store_get(store, STORE_BLOCKS, key_final(&k, height), &bytes),
			 ERR_NONE);
	memcpy(hash.b, bytes.buf, HASH_SIZE);
	if (index)
		put(STORE_BLOCKS, key_final(&k, height), (struct slice){0});
	else
		put(STORE_BLOCKS, key_block(&k, height, &hash), slice_str("x"));
	writer_free(&bytes);
}

START_TEST(repairs)
{
	struct other o;
	struct repair_result r;
	struct audit_result a;
	struct errmsg m = {{0}};
	struct store_options options = {.create = false};
	struct store *repaired, *old = store;
	struct record_key k;
	char data[96];
	copy_store(&o);
	damage(2, false);
	damage(4, true);
	put(STORE_CERTS, key_cert(&k, BLOCKS), slice_str("x"));
	ck_assert_msg(repair(&o, &r, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(r.height, BLOCKS);
	ck_assert(hash_equal(&r.state_root, ledger_root(w.ledger)));
	ck_assert_uint_eq(r.fetched, 2);
	ck_assert_uint_eq(r.first_fetched, 2);
	ck_assert_uint_eq(r.unfinal, 1);
	ck_assert_str_eq(r.aside, "data.damaged.1");
	snprintf(data, sizeof data, "%s/data", home);
	ck_assert_int_eq(store_open_rocksdb(&repaired, data, &options, &m), ERR_NONE);
	store = repaired;
	ck_assert_int_eq(audit(&a, NULL), ERR_NONE);
	ck_assert_msg(a.findings == 0, "%s: %s", store_family_name(last.family), last.what);
	ck_assert_uint_eq(a.vote_slots, 2);
	ck_assert_uint_eq(a.unfinal, 1);
	ck_assert_uint_eq(a.blocks, BLOCKS);
	ck_assert(hash_equal(&a.ledger.root, ledger_root(w.ledger)));
	store_close(repaired);
	store = old;
	store_close(o.store);
}
END_TEST

static void is_untouched(void)
{
	char path[96];
	snprintf(path, sizeof path, "%s/data/CURRENT", home);
	ck_assert(files_exist(path));
	snprintf(path, sizeof path, "%s/data.damaged.1", home);
	ck_assert(!files_exist(path));
	snprintf(path, sizeof path, "%s/data.repaired.partial", home);
	ck_assert(!files_exist(path));
}

START_TEST(refuses_without_votes)
{
	struct repair_result r;
	struct errmsg m = {{0}};
	for (uint8_t slot = 0; slot < 2; slot++)
		put(STORE_VOTES, slice_of(&slot, 1), (struct slice){0});
	ck_assert_int_eq(repair(NULL, &r, &m), ERR_STALE);
	ck_assert_ptr_nonnull(strstr(m.text, "never vote"));
	is_untouched();
	/* A restored home has none and never votes: it may be repaired, and stays what it is.
	 */
	put(STORE_META, slice_str(RESTORED_KEY), slice_str("x"));
	ck_assert_msg(repair(NULL, &r, &m) == ERR_NONE, "%s", m.text);
	struct audit_result a;
	struct store *repaired;
	struct store_options options = {.create = false};
	char data[96];
	snprintf(data, sizeof data, "%s/data", home);
	ck_assert_int_eq(store_open_rocksdb(&repaired, data, &options, &m), ERR_NONE);
	ck_assert_int_eq(replica_audit_head(repaired, &w.genesis, &a, &m), ERR_NONE);
	ck_assert(a.restored);
	store_close(repaired);
}
END_TEST

START_TEST(refuses_without_what_it_voted_for)
{
	static const struct hash low;
	static const struct slice none = {0};
	struct record_key k;
	struct slice key, value;
	struct repair_result r;
	struct errmsg m = {{0}};
	struct writer found = {0};
	struct store_iter *it = store_iter_new(store, STORE_BLOCKS,
					       key_block(&k, BLOCKS + 1, &low), none, false);
	ck_assert(store_iter_next(it, &key, &value));
	writer_raw(&found, key.ptr, key.len);
	store_iter_free(it);
	put(STORE_BLOCKS, writer_slice(&found), slice_str("x"));
	writer_free(&found);
	ck_assert_int_eq(repair(NULL, &r, &m), ERR_STALE);
	is_untouched();
}
END_TEST

START_TEST(refuses_without_a_source_or_from_a_liar)
{
	struct other o;
	struct repair_result r;
	struct errmsg m = {{0}};
	copy_store(&o);
	damage(3, false);
	ck_assert_int_eq(repair(NULL, &r, &m), ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(m.text, "block 3"));
	is_untouched();
	o.lies = true;
	ck_assert_int_ne(repair(&o, &r, &m), ERR_NONE);
	is_untouched();
	o.lies = false;
	ck_assert_int_eq(repair(&o, &r, &m), ERR_NONE);
	store_close(o.store);
}
END_TEST

/* ---- epochs -------------------------------------------------------------------------------
 */

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

int main(void)
{
	Suite *s = suite_create("audit");
	TCase *t = tcase_create("audit");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, sound);
	tcase_add_test(t, evidence_of_before_a_recovery);
	tcase_add_test(t, each_record);
	tcase_add_test(t, damage_has_a_place);
	tcase_add_test(t, repairs);
	tcase_add_test(t, refuses_without_votes);
	tcase_add_test(t, refuses_without_what_it_voted_for);
	tcase_add_test(t, refuses_without_a_source_or_from_a_liar);
	suite_add_tcase(s, t);
	t = tcase_create("epochs");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup_epochs, teardown_epochs);
	tcase_add_test(t, sound_epochs);
	tcase_add_test(t, each_record_of_epochs);
	tcase_add_test(t, damaged_records_of_epochs);
	tcase_add_test(t, repairs_epochs);
	tcase_add_test(t, repairs_as_far_as_its_votes);
	tcase_add_test(t, repairs_an_observer);
	tcase_add_test(t, refuses_handovers_of_a_liar);
	suite_add_tcase(s, t);
	t = tcase_create("end");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup_end, teardown_epochs);
	tcase_add_test(t, repairs_at_an_end);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
