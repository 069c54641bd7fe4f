/* What the tests of `db check` and `db repair` have in common (audit.h). */
#include "tests/replica/audit.h"

#include <unistd.h>

struct world w;
struct store *store;
char home[64];
struct keypair recoverer;
struct finding last;

void put(enum store_family f, struct slice key, struct slice value)
{
	struct store_batch *batch = store_batch_new();
	if (value.ptr)
		store_batch_put(batch, f, key, value);
	else
		store_batch_delete(batch, f, key);
	ck_assert_int_eq(store_write(store, batch, false), ERR_NONE);
	store_batch_free(batch);
}

void put_block(const struct block *b)
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

void put_cert(const struct block *b)
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

void setup_home(void)
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

void setup(void)
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

void teardown(void)
{
	world_free(&w);
	files_remove(home, NULL);
}

static void on_found(void *arg, const struct finding *f)
{
	last = *f;
}
static bool on_step(void *arg, uint64_t height, uint64_t height_max, uint64_t bytes,
		    uint64_t bytes_max)
{
	return !arg || --*(int *)arg > 0;
}

int audit(struct audit_result *r, int *steps)
{
	struct errmsg m;
	const struct audit_options o = {
		.genesis = &w.genesis, .arg = steps, .found = on_found, .step = on_step};
	return replica_audit(store, &o, r, &m);
}

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

unsigned try_each(void)
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

void copy_store(struct other *o)
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

int repair(struct other *o, struct repair_result *r, struct errmsg *m)
{
	const struct repair_source source = {
		.arg = o, .get = other_get, .handover = other_handover};
	const struct repair_options options = {.genesis = &w.genesis,
					       .source = o ? &source : NULL,
					       .history = LEDGER_HISTORY_MIN};
	return replica_repair(store, home, &options, r, m);
}

void damage(uint64_t height, bool index)
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

void is_untouched(void)
{
	char path[96];
	snprintf(path, sizeof path, "%s/data/CURRENT", home);
	ck_assert(files_exist(path));
	snprintf(path, sizeof path, "%s/data.damaged.1", home);
	ck_assert(!files_exist(path));
	snprintf(path, sizeof path, "%s/data.repaired.partial", home);
	ck_assert(!files_exist(path));
}

TCase *audit_case(const char *name, void (*begin)(void), void (*end)(void))
{
	TCase *t = tcase_create(name);
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, begin, end);
	return t;
}
