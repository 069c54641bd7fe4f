/* Backups of a chain of one epoch: made whole or not at all, each byte and each record altered,
 * restored. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/replica/backup.h"

#define BLOCKS 5

static void commit(uint64_t nonce, bool certified)
{
	char value[32];
	struct slice txs[2];
	snprintf(value, sizeof value, "value-%llu", (unsigned long long)nonce);
	txs[0] = world_put(&w, 0, nonce, "key", value);
	txs[1] = world_put(&w, 1, nonce, value, value);
	store_block(world_commit(&w, txs, 2), certified);
	world_free_txs(txs, 2);
}

/* In the vote state, as the engine leaves it: version, "there is one", certificate. */
static void store_checkpoint(const struct block *b)
{
	struct cert cert;
	struct writer bytes = {0};
	uint8_t slot = 3;
	struct store_batch *batch = store_batch_new();
	world_cert(&w, b, CERT_CHECKPOINT, 3, &cert);
	writer_u8(&bytes, 1);
	writer_u8(&bytes, 1);
	cert_encode(&bytes, &cert);
	put(batch, STORE_VOTES, slice_of(&slot, 1), &bytes);
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
	writer_free(&bytes);
}

static void setup(void)
{
	struct errmsg m = {{0}};
	setup_paths();
	world_seal(&w);
	world_open(&w, NULL);
	store = store_open_memory();
	for (uint64_t i = 1; i <= BLOCKS; i++)
		commit(i, i % 2 == 1);
	store_checkpoint(w.tip);
	ck_assert_msg(create(dest, NULL, &m) == ERR_NONE, "%s", m.text);
}

static void path_of(char out[160], const char *backup, int part)
{
	if (part < 0)
		snprintf(out, 160, "%s/manifest", backup);
	else
		snprintf(out, 160, "%s/part-%06d", backup, part);
}

static void read_file(const char *path, struct writer *out)
{
	struct errmsg m;
	ck_assert_int_eq(files_read(path, 1 << 24, out, &m), ERR_NONE);
}

static void write_file(const char *path, struct slice bytes)
{
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes.ptr, 1, bytes.len, f), bytes.len);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(verifies)
{
	const struct backup_check o = {.genesis = &w.genesis};
	struct backup_summary s;
	struct errmsg m = {{0}};
	ck_assert_msg(backup_verify(dest, &o, &s, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(s.height, BLOCKS);
	ck_assert(hash_equal(&s.block, &w.tip->hash));
	ck_assert(hash_equal(&s.state_root, ledger_root(w.ledger)));
	ck_assert_uint_eq(s.transactions, 2 * BLOCKS);
	ck_assert_uint_eq(s.certificates, 3);
	ck_assert(s.proven);
	ck_assert_uint_gt(s.parts, 2);
	ck_assert_uint_eq(s.made_ms, 1234);
	ck_assert_int_eq(verify(dest, NULL), ERR_NONE);
	ck_assert_int_eq(create(dest, NULL, &m), ERR_EXISTS);
}
END_TEST

/* Blocks that are final by a certificate but were not indexed when the node was killed. */
START_TEST(takes_what_the_index_lacks)
{
	struct record_key k;
	struct errmsg m = {{0}};
	struct store_batch *batch = store_batch_new();
	for (uint64_t h = BLOCKS - 2; h <= BLOCKS; h++)
		store_batch_delete(batch, STORE_BLOCKS, key_final(&k, h));
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
	ck_assert_msg(create(copy, NULL, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(made.height, BLOCKS);
	ck_assert_int_eq(verify(copy, &w.genesis), ERR_NONE);
}
END_TEST

START_TEST(genesis_alone)
{
	struct errmsg m = {{0}};
	struct store *old = store;
	store = store_open_memory();
	ck_assert_msg(create(copy, NULL, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(made.height, 0);
	ck_assert_int_eq(verify(copy, &w.genesis), ERR_NONE);
	store_close(store);
	store = old;
}
END_TEST

/* Of every file every byte, one bit each time. */
START_TEST(flipped_bytes_are_found)
{
	char path[160];
	struct random r;
	size_t tried = 0;
	random_seed(&r, 7);
	for (int part = -1; part < (int)made.parts; part++) {
		struct writer bytes = {0};
		path_of(path, dest, part);
		read_file(path, &bytes);
		for (size_t i = 0; i < bytes.len; i++, tried++) {
			uint8_t bit = (uint8_t)(1u << random_below(&r, 8));
			bytes.buf[i] ^= bit;
			write_file(path, writer_slice(&bytes));
			int err = verify(dest, &w.genesis);
			ck_assert_msg(err && backup_altered(err), "%s, byte %zu: %s", path, i,
				      err_text(err));
			bytes.buf[i] ^= bit;
		}
		write_file(path, writer_slice(&bytes));
		writer_free(&bytes);
	}
	ck_assert_uint_gt(tried, 5000);
	ck_assert_int_eq(verify(dest, &w.genesis), ERR_NONE);
}
END_TEST

START_TEST(truncations_are_found)
{
	char path[160];
	for (int part = -1; part < (int)made.parts; part++) {
		struct writer bytes = {0};
		path_of(path, dest, part);
		read_file(path, &bytes);
		for (size_t len = 0; len < bytes.len; len += 1 + len % 13) {
			write_file(path, slice_of(bytes.buf, len));
			int err = verify(dest, NULL);
			ck_assert_msg(err && backup_altered(err), "%s, %zu: %s", path, len,
				      err_text(err));
		}
		writer_u8(&bytes, 0); /* and one too many */
		write_file(path, writer_slice(&bytes));
		ck_assert(backup_altered(verify(dest, NULL)));
		bytes.len--;
		if (part >= 0) { /* without a manifest it is no backup at all */
			ck_assert_int_eq(unlink(path), 0);
			ck_assert(backup_altered(verify(dest, NULL)));
		}
		write_file(path, writer_slice(&bytes));
		writer_free(&bytes);
	}
	ck_assert_int_eq(verify(dest, NULL), ERR_NONE);
}
END_TEST

START_TEST(forgeries_are_found)
{
	ck_assert_uint_eq(forge_each(RECORD_CHECKPOINT), 1);
}
END_TEST

START_TEST(too_few_signatures)
{
	struct record_key k;
	struct cert cert;
	struct writer bytes = {0};
	struct errmsg m = {{0}};
	struct store_batch *batch = store_batch_new();
	world_cert(&w, w.tip, CERT_TWO_ROUND, 2, &cert);
	cert_encode(&bytes, &cert);
	put(batch, STORE_CERTS, key_cert(&k, BLOCKS), &bytes);
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
	writer_free(&bytes);
	ck_assert_int_eq(create(copy, NULL, &m), ERR_NONE);
	ck_assert_int_eq(verify(copy, &w.genesis), ERR_NO_QUORUM);
}
END_TEST

START_TEST(another_chain)
{
	struct world other;
	world_genesis(&other, 1001);
	other.genesis.scheme = SIG_ED25519;
	world_seal(&other);
	world_open(&other, NULL);
	ck_assert_int_eq(verify(dest, &other.genesis), ERR_WRONG_CHAIN);
	ck_assert(backup_altered(ERR_WRONG_CHAIN));
	world_free(&other);
}
END_TEST

START_TEST(damaged_source)
{
	struct record_key k;
	struct errmsg m = {{0}};
	struct store_batch *batch = store_batch_new();
	store_batch_put(batch, STORE_BLOCKS, key_block(&k, BLOCKS, &w.tip->hash),
			slice_str("x"));
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	ck_assert_int_eq(create(copy, NULL, &m), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(m.text, "height 5"));
	ck_assert(!files_exist(copy));
	store_batch_clear(batch);
	store_batch_delete(batch, STORE_BLOCKS, key_final(&k, 1)); /* pruned */
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	ck_assert_int_eq(create(copy, NULL, &m), ERR_STALE);
	store_batch_free(batch);
}
END_TEST

/* ---- whole or not at all -------------------------------------------------------------- */

static bool stop_at_once(void *arg, uint64_t height, uint64_t height_max, uint64_t bytes,
			 uint64_t bytes_max)
{
	++*(int *)arg;
	return false;
}

START_TEST(interrupted_leaves_nothing)
{
	int calls = 0;
	struct errmsg m;
	const struct backup_progress p = {.arg = &calls, .step = stop_at_once};
	const struct backup_check o = {.progress = &p};
	struct backup_summary s;
	char partial[120];
	ck_assert_int_eq(create(copy, &p, &m), ERR_CLOSED);
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(backup_restore(dest, home, &o, &s, &m), ERR_CLOSED);
	snprintf(partial, sizeof partial, "%s.partial", copy);
	ck_assert(!files_exist(copy) && !files_exist(partial) && !files_exist(home));
}
END_TEST

START_TEST(leftovers_and_locks)
{
	char partial[120], inside[140];
	struct errmsg m = {{0}};
	snprintf(partial, sizeof partial, "%s.partial", copy);
	snprintf(inside, sizeof inside, "%s/part-000000", partial);
	ck_assert_int_eq(mkdir(partial, 0700), 0);
	write_file(inside, slice_str("half"));
	int fd = open(partial, O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	ck_assert_int_eq(create(copy, NULL, &m), ERR_LOCKED);
	ck_assert(files_exist(inside));
	close(fd); /* as if its process had been killed */
	ck_assert_msg(create(copy, NULL, &m) == ERR_NONE, "%s", m.text);
	ck_assert(!files_exist(partial));
	ck_assert_int_eq(verify(copy, NULL), ERR_NONE);
}
END_TEST

/* ---- restoring ------------------------------------------------------------------------ */

START_TEST(restored_observes_and_never_votes)
{
	const struct backup_check o = {.genesis = &w.genesis, .history = LEDGER_HISTORY_MIN};
	struct backup_summary s;
	struct errmsg m = {{0}};
	char path[120];
	struct store *restored;
	struct replica *r;
	struct store_options options = {.create = false};
	ck_assert_msg(backup_restore(dest, home, &o, &s, &m) == ERR_NONE, "%s", m.text);
	ck_assert_int_eq(backup_restore(dest, home, &o, &s, &m), ERR_EXISTS);
	snprintf(path, sizeof path, "%s/validator.key", home);
	ck_assert(!files_exist(path));
	snprintf(path, sizeof path, "%s/data", home);
	ck_assert_msg(store_open_rocksdb(&restored, path, &options, &m) == ERR_NONE, "%s",
		      m.text);
	const struct replica_config config = config_of(restored, 0, &w.validator[0]);
	for (unsigned starts = 0; starts < 2; starts++) {
		ck_assert_msg(replica_open(&r, &config, &m) == ERR_NONE, "%s", m.text);
		ck_assert(!replica_halted(r));
		ck_assert_ptr_nonnull(strstr(replica_observes(r), "restored"));
		ck_assert_uint_eq(ledger_height(replica_ledger(r)), BLOCKS);
		ck_assert(hash_equal(ledger_root(replica_ledger(r)), ledger_root(w.ledger)));
		for (uint64_t now = 1; now < 100; now++) /* elections are long due */
			replica_tick(r, now * 1000000);
		struct slice tx = world_put(&w, 2, 1, "a", "b");
		struct hash id;
		ck_assert_int_eq(replica_submit(r, 100000000, tx, false, &id), ERR_NONE);
		mem_free((void *)tx.ptr);
		for (uint64_t h = 1; h <= BLOCKS; h++) {
			struct certified_header ch;
			ck_assert_int_eq(replica_certified_header(r, h, &ch), ERR_NONE);
			certified_header_free(&ch);
		}
		replica_close(r);
	}
	ck_assert_uint_gt(sent, 0); /* it asks for what it lacks */
	/* A restored home can be backed up in its turn. */
	struct store *old = store;
	store = restored;
	ck_assert_int_eq(create(copy, NULL, &m), ERR_NONE);
	ck_assert_int_eq(verify(copy, &w.genesis), ERR_NONE);
	store_close(restored);
	store = old;
}
END_TEST

START_TEST(nothing_is_restored_from_an_altered_one)
{
	char path[160];
	const struct backup_check o = {0};
	struct backup_summary s;
	struct errmsg m;
	struct writer bytes = {0};
	path_of(path, dest, (int)made.parts - 1);
	read_file(path, &bytes);
	bytes.buf[bytes.len / 2] ^= 1;
	write_file(path, writer_slice(&bytes));
	writer_free(&bytes);
	ck_assert(backup_altered(backup_restore(dest, home, &o, &s, &m)));
	ck_assert(!files_exist(home));
}
END_TEST

TCase *backup_chain_case(void)
{
	TCase *t = backup_case("backup", setup, teardown);
	tcase_add_test(t, verifies);
	tcase_add_test(t, takes_what_the_index_lacks);
	tcase_add_test(t, genesis_alone);
	tcase_add_test(t, flipped_bytes_are_found);
	tcase_add_test(t, truncations_are_found);
	tcase_add_test(t, forgeries_are_found);
	tcase_add_test(t, too_few_signatures);
	tcase_add_test(t, another_chain);
	tcase_add_test(t, damaged_source);
	tcase_add_test(t, interrupted_leaves_nothing);
	tcase_add_test(t, leftovers_and_locks);
	tcase_add_test(t, restored_observes_and_never_votes);
	tcase_add_test(t, nothing_is_restored_from_an_altered_one);
	return t;
}
