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

static void commit(uint64_t n)
{
	struct record_key k;
	struct cert cert;
	struct writer bytes = {0};
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
	world_cert(&w, b, CERT_TWO_ROUND, 3, &cert);
	cert_encode(&bytes, &cert);
	put(STORE_CERTS, key_cert(&k, n), writer_slice(&bytes));
	writer_free(&bytes);
}

static void setup(void)
{
	struct errmsg m;
	char data[96];
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
	strcpy(home, "/tmp/check-audit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(home));
	snprintf(data, sizeof data, "%s/data", home);
	struct store *empty;
	struct store_options options = {.create = true};
	ck_assert_int_eq(store_open_rocksdb(&empty, data, &options, &m), ERR_NONE);
	store_close(empty);
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
	return f != STORE_META || how != 1 || at + 8 < value.len;
}

START_TEST(each_record)
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
	ck_assert_uint_gt(tried, 300);
	struct audit_result r;
	ck_assert_int_eq(audit(&r, NULL), ERR_NONE);
	ck_assert_uint_eq(r.findings, 0);
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
	const struct repair_source source = {.arg = o, .get = other_get};
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
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
