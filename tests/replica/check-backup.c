/* Backups: made, verified, restored; and whatever is altered in one is found, by the hashes if
 * it was an accident, by signatures, certificates and execution if it was somebody. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consensus/hybrid/message.h"
#include "replica/backup_private.h"
#include "replica/private.h"
#include "tests/ledger/world.h"
#include "tests/replica/governed.h"
#include "tests/replica/quiet.h"

#define BLOCKS 5
#define PART   2048

static struct world w;
static struct store *store;
static char dir[64], dest[96], copy[96], home[96];
static struct backup_summary made;

static void put(struct store_batch *batch, enum store_family f, struct slice key,
		struct writer *value)
{
	store_batch_put(batch, f, key, writer_slice(value));
	writer_reset(value);
}

/* What a replica leaves of a final block; certified: with a certificate of its own. */
static void store_block(struct block *b, bool certified)
{
	struct record_key k;
	struct writer bytes = {0};
	struct store_batch *batch = store_batch_new();
	uint64_t height = b->sh.h.height;
	block_encode(&bytes, b);
	put(batch, STORE_BLOCKS, key_block(&k, height, &b->hash), &bytes);
	writer_hash(&bytes, &b->hash);
	put(batch, STORE_BLOCKS, key_final(&k, height), &bytes);
	if (certified) {
		struct cert cert;
		world_cert(&w, b, CERT_TWO_ROUND, 3, &cert);
		cert_encode(&bytes, &cert);
		put(batch, STORE_CERTS, key_cert(&k, height), &bytes);
	}
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
	writer_free(&bytes);
}

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

static int create(const char *path, const struct backup_progress *p, struct errmsg *m)
{
	const struct backup_options o = {
		.genesis = &w.genesis, .made_ms = 1234, .part_bytes = PART, .progress = p};
	return backup_create(store, path, &o, &made, m);
}

static int verify(const char *path, const struct genesis *g)
{
	const struct backup_check o = {.genesis = g};
	struct backup_summary s;
	struct errmsg m;
	return backup_verify(path, &o, &s, &m);
}

static void setup_paths(void)
{
	crypto_init();
	strcpy(dir, "/tmp/check-backup-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(dest, sizeof dest, "%s/b", dir);
	snprintf(copy, sizeof copy, "%s/copy", dir);
	snprintf(home, sizeof home, "%s/home", dir);
	world_genesis(&w, 1000);
	w.genesis.scheme = SIG_ED25519;
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

static void teardown(void)
{
	store_close(store);
	world_free(&w);
	files_remove(dir, NULL);
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

/* ---- altered by somebody who makes all hashes right again ---------------------------------
 */

enum forgery { FORGE_FLIP, FORGE_DROP, FORGE_TWICE, FORGE_SWAP };

struct records {
	uint64_t count;
	uint16_t version;
	enum backup_record type[64];
	struct writer payload[64];
};

static void read_records(struct records *a)
{
	struct backup_reader in;
	struct errmsg m;
	struct slice payload;
	*a = (struct records){0};
	ck_assert_int_eq(backup_reader_open(&in, dest, &m), ERR_NONE);
	a->version = in.manifest.version;
	while (backup_read(&in, &a->type[a->count], &payload, &m) == ERR_NONE) {
		writer_raw(&a->payload[a->count++], payload.ptr, payload.len);
		ck_assert_uint_lt(a->count, 64);
	}
	backup_reader_free(&in);
}

static void write_records(const struct records *a, uint64_t victim, enum forgery how)
{
	struct backup_writer out;
	struct errmsg m = {{0}};
	files_remove(copy, NULL);
	ck_assert_int_eq(mkdir(copy, 0700), 0);
	backup_writer_init(&out, copy, &w.ctx.id, PART);
	out.manifest.version = a->version;
	for (uint64_t i = 0; i < a->count; i++) {
		uint64_t from = i;
		if (how == FORGE_SWAP && i == victim)
			from = i + 1;
		else if (how == FORGE_SWAP && i == victim + 1)
			from = i - 1;
		unsigned times = i != victim	      ? 1
				 : how == FORGE_DROP  ? 0
				 : how == FORGE_TWICE ? 2
						      : 1;
		while (times-- > 0)
			ck_assert_int_eq(backup_write(&out, a->type[from],
						      writer_slice(&a->payload[from]), &m),
					 ERR_NONE);
	}
	out.manifest.s.height = made.height;
	out.manifest.s.block = made.block;
	out.manifest.s.state_root = made.state_root;
	ck_assert_int_eq(backup_writer_finish(&out, &m), ERR_NONE);
	backup_writer_free(&out);
}

static void free_records(struct records *a)
{
	for (uint64_t i = 0; i < a->count; i++)
		writer_free(&a->payload[i]);
}

/* Of dest, each record in turn; how many were of that kind. */
static unsigned forge_each(enum backup_record counted)
{
	struct records a;
	struct random r;
	unsigned found = 0;
	random_seed(&r, 11);
	read_records(&a);
	write_records(&a, UINT64_MAX, FORGE_FLIP); /* nothing */
	ck_assert_int_eq(verify(copy, &w.genesis), ERR_NONE);
	for (uint64_t i = 0; i < a.count; i++) {
		struct writer *p = &a.payload[i];
		for (unsigned k = 0; k < 40; k++) {
			size_t at = random_below(&r, p->len);
			uint8_t bit = (uint8_t)(1u << random_below(&r, 8));
			p->buf[at] ^= bit;
			write_records(&a, i, FORGE_FLIP);
			int err = verify(copy, &w.genesis);
			ck_assert_msg(err && backup_altered(err),
				      "record %llu of kind %d, byte "
				      "%zu: %s",
				      (unsigned long long)i, a.type[i], at, err_text(err));
			p->buf[at] ^= bit;
		}
		/* A certificate in the middle may go: the next one covers its block. Final
		 * blocks need none of their term. */
		bool spare = (a.type[i] == RECORD_CERT && i + 3 < a.count) ||
			     a.type[i] == RECORD_CHECKPOINT || a.type[i] == RECORD_TC;
		found += a.type[i] == counted;
		write_records(&a, i, FORGE_DROP);
		ck_assert_int_eq(verify(copy, &w.genesis) == ERR_NONE, spare);
		write_records(&a, i, FORGE_TWICE);
		ck_assert_int_eq(verify(copy, &w.genesis) == ERR_NONE,
				 a.type[i] == RECORD_CERT || a.type[i] == RECORD_TC);
		if (i + 1 < a.count && a.type[i] != RECORD_TC && a.type[i + 1] != RECORD_TC) {
			write_records(&a, i, FORGE_SWAP);
			ck_assert(backup_altered(verify(copy, &w.genesis)));
		}
	}
	free_records(&a);
	return found;
}

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

/* ---- whole or not at all ------------------------------------------------------------------
 */

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

/* ---- restoring ----------------------------------------------------------------------------
 */

static unsigned sent;

static void host_send(void *ctx, const struct message *m)
{
	ck_assert_int_eq(m->type, MSG_FETCH); /* nothing that is signed */
	sent++;
}
static void host_halted(void *ctx, const char *why)
{
	ck_abort_msg("halted: %s", why);
}

static struct replica_config config_of(struct store *s, unsigned self,
				       const struct keypair *key)
{
	return (struct replica_config){.genesis = &w.genesis,
				       .store = s,
				       .self = self,
				       .key = *key,
				       .seed = 1,
				       .verify_txs = true,
				       .host = {.send = host_send,
						.sync = quiet_sync,
						.final = quiet_final,
						.rejected = quiet_rejected,
						.halted = host_halted,
						.wall_ms = quiet_wall}};
}

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

/* ---- epochs -------------------------------------------------------------------------------
 */

#define INTERVAL 3

/* Height 3 ends epoch 0 by a certificate of the second filler, height 6 epoch 1 by its own;
 * each gives a place a new key. */
static struct handover ends[2];
static struct keypair first_key;
static struct writer old_term; /* 4, by those of epoch 0 */

static void store_meta(uint64_t epoch, struct slice value)
{
	struct epoch_key k;
	struct store_batch *batch = store_batch_new();
	if (value.ptr)
		store_batch_put(batch, STORE_META, key_epoch(&k, epoch), value);
	else
		store_batch_delete(batch, STORE_META, key_epoch(&k, epoch));
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
}

static void commit_in(uint64_t term, uint64_t nonce, bool certified)
{
	struct slice txs[2];
	char value[32];
	snprintf(value, sizeof value, "value-%llu", (unsigned long long)nonce);
	txs[0] = world_put(&w, 0, nonce, "key", value);
	txs[1] = world_put(&w, 1, nonce, value, value);
	store_block(governed_commit(&w, term, txs, 2), certified);
	world_free_txs(txs, 2);
}

/* The tip is an end: what proves it, by so many fillers. */
static void begin_epoch(unsigned place, const struct keypair *key, uint32_t fillers,
			struct handover *h)
{
	governed_handover(&w, fillers, NULL, h);
	governed_step(&w, h, place, key);
	governed_record(store, w.ctx.epoch, h);
}

/* Of a fast term on the tip, by three. */
static struct writer term_bytes(uint64_t term)
{
	struct term_cert tc;
	struct writer bytes = {0};
	term_cert_init(&tc);
	tc.term = term;
	tc.leader = (uint16_t)(term % 4);
	tc.base = block_ref_of(w.tip);
	for (unsigned i = 0; i < 3; i++) {
		struct term_vote v = {.term = term,
				      .leader = tc.leader,
				      .base = tc.base,
				      .signer = (uint16_t)i};
		term_vote_sign(&v, &w.ctx, &w.validator[i]);
		tc.signers |= UINT64_C(1) << i;
		tc.sig[tc.count++] = v.sig;
	}
	term_cert_encode(&bytes, &tc);
	term_cert_free(&tc);
	return bytes;
}

static void store_term(uint64_t term)
{
	struct record_key k;
	struct store_batch *batch = store_batch_new();
	struct writer bytes = term_bytes(term);
	put(batch, STORE_CERTS, key_tc(&k, term), &bytes);
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
	writer_free(&bytes);
}

static void setup_governed(void)
{
	setup_paths();
	governed_genesis(&w, INTERVAL);
	world_seal(&w);
	world_open(&w, NULL);
	store = store_open_memory();
	commit_in(1, 1, true);
	store_term(2);
	commit_in(2, 2, false);
}

static void setup_epochs(void)
{
	struct errmsg m = {{0}};
	struct keypair second = governed_key(2);
	setup_governed();
	first_key = governed_key(1);
	store_block(governed_end(&w, 2, 0, &first_key.pub), false);
	old_term = term_bytes(4);
	begin_epoch(0, &first_key, 2, &ends[0]);
	store_term(4);
	commit_in(4, 3, false); /* a term that the fillers had too */
	commit_in(4, 4, true);
	store_block(governed_end(&w, 4, 1, &second.pub), true);
	begin_epoch(1, &second, 0, &ends[1]);
	commit_in(5, 5, false);
	store_term(7);
	commit_in(7, 6, true);
	ck_assert_msg(create(dest, NULL, &m) == ERR_NONE, "%s", m.text);
}

static void teardown_epochs(void)
{
	handover_free(&ends[0]);
	handover_free(&ends[1]);
	writer_free(&old_term);
	teardown();
}

START_TEST(epochs_verify)
{
	const struct backup_check o = {.genesis = &w.genesis};
	struct backup_summary s;
	struct errmsg m = {{0}};
	struct records a;
	ck_assert_msg(backup_verify(dest, &o, &s, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(s.height, 8);
	ck_assert_uint_eq(s.epoch, 2);
	ck_assert(hash_equal(&s.block, &w.tip->hash));
	ck_assert(hash_equal(&s.state_root, ledger_root(w.ledger)));
	ck_assert_uint_eq(s.transactions, 2 * 6 + 2);
	ck_assert_uint_eq(s.certificates, 4 + 2);
	read_records(&a);
	ck_assert_uint_eq(a.version, BACKUP_EPOCHS);
	/* a program that does not know the record says that it is too old, not that it is
	 * altered
	 */
	a.version = 1;
	write_records(&a, UINT64_MAX, FORGE_FLIP);
	ck_assert(backup_altered(verify(copy, &w.genesis)));
	free_records(&a);
}
END_TEST

START_TEST(forged_epochs_are_found)
{
	ck_assert_uint_eq(forge_each(RECORD_EPOCH), 2);
}
END_TEST

/* Instead of the handover of an epoch this one: what somebody makes who has keys. */
static int verify_with(unsigned which, const struct handover *h)
{
	struct records a;
	unsigned at = 0;
	read_records(&a);
	for (uint64_t i = 0; i < a.count; i++) {
		if (a.type[i] != RECORD_EPOCH || at++ != which)
			continue;
		writer_reset(&a.payload[i]);
		handover_encode(&a.payload[i], h);
	}
	write_records(&a, UINT64_MAX, FORGE_FLIP);
	free_records(&a);
	return verify(copy, &w.genesis);
}

START_TEST(handovers_by_others_are_found)
{
	struct handover h = ends[0];
	struct signed_header fillers[2];
	struct chain_ctx first;
	genesis_ctx(&first, &w.genesis);
	ck_assert_int_eq(verify_with(0, &ends[0]), ERR_NONE);
	ck_assert_int_eq(verify_with(0, &ends[1]), ERR_BAD_LINK);
	ck_assert_int_eq(verify_with(1, &ends[0]), ERR_BAD_LINK);
	/* two signatures; three, of which one is of the set that it makes */
	h.cert.count = 2;
	h.cert.signers = 3;
	ck_assert_int_eq(verify_with(0, &h), ERR_NO_QUORUM);
	h.cert = ends[0].cert;
	struct vote v = {.kind = cert_vote_kind(h.cert.kind), .ref = h.cert.ref, .signer = 0};
	vote_sign(&v, &w.ctx, &w.validator[0]);
	h.cert.sig[0] = v.sig;
	ck_assert_int_eq(verify_with(0, &h), ERR_BAD_SIGNATURE);
	vote_sign(&v, &first, &first_key);
	h.cert.sig[0] = v.sig;
	ck_assert_int_eq(verify_with(0, &h), ERR_BAD_SIGNATURE);
	/* a quorum has prepared it only */
	h.cert = ends[0].cert;
	h.cert.kind = CERT_QC_FAST;
	ck_assert_int_eq(verify_with(0, &h), ERR_NO_QUORUM);
	/* without its fillers, with one of them, with one that another leader has signed, or
	 * that has transactions */
	h.cert = ends[0].cert;
	h.filler_count = 0;
	ck_assert_int_eq(verify_with(0, &h), ERR_BAD_LINK);
	h.filler_count = 1;
	ck_assert_int_eq(verify_with(0, &h), ERR_BAD_LINK);
	h.fillers = fillers;
	h.filler_count = 2;
	memcpy(fillers, ends[0].fillers, sizeof fillers);
	signed_header_sign(&fillers[1], &first, &w.validator[3]);
	fillers[1].h.leader = 3;
	ck_assert_int_ne(verify_with(0, &h), ERR_NONE);
	memcpy(fillers, ends[0].fillers, sizeof fillers);
	fillers[1].h.tx_count = 1;
	signed_header_sign(&fillers[1], &first, &w.validator[fillers[1].h.leader]);
	ck_assert_int_eq(verify_with(0, &h), ERR_BAD_LINK);
}
END_TEST

static void insert(struct records *a, uint64_t at, enum backup_record type, struct slice bytes)
{
	ck_assert_uint_lt(a->count, 63);
	memmove(&a->type[at + 1], &a->type[at], (a->count - at) * sizeof a->type[0]);
	memmove(&a->payload[at + 1], &a->payload[at], (a->count - at) * sizeof a->payload[0]);
	a->count++;
	a->type[at] = type;
	a->payload[at] = (struct writer){0};
	writer_raw(&a->payload[at], bytes.ptr, bytes.len);
}

static uint64_t place_of(const struct records *a, enum backup_record type)
{
	uint64_t i = 0;
	while (a->type[i] != type)
		ck_assert_uint_lt(++i, a->count);
	return i;
}

static int verify_records(const struct records *a)
{
	write_records(a, UINT64_MAX, FORGE_FLIP);
	return verify(copy, &w.genesis);
}

/* The records before this one, and an end at that block. */
static int verify_cut(struct records *a, uint64_t at, const struct block *last)
{
	struct backup_summary whole = made;
	struct writer bytes = {0};
	while (a->count > at)
		writer_free(&a->payload[--a->count]);
	made.height = last->sh.h.height;
	made.block = last->hash;
	made.state_root = last->sh.h.state_root;
	writer_u64(&bytes, made.height);
	writer_hash(&bytes, &made.block);
	writer_hash(&bytes, &made.state_root);
	insert(a, at, RECORD_END, writer_slice(&bytes));
	int err = verify_records(a);
	made = whole;
	writer_free(&bytes);
	return err;
}

/* They have a certificate, and nothing in them that could not be executed. */
START_TEST(fillers_are_no_blocks)
{
	struct records a;
	struct writer bytes = {0};
	struct block *b = NULL;
	read_records(&a);
	uint64_t at = place_of(&a, RECORD_EPOCH);
	for (uint32_t i = 0; i < 2; i++) {
		static const uint8_t empty[4];
		block_drop(b);
		ck_assert_int_eq(block_new(&b, &ends[0].fillers[i], slice_of(empty, 4)),
				 ERR_NONE);
		writer_reset(&bytes);
		block_encode(&bytes, b);
		insert(&a, at++, RECORD_BLOCK, writer_slice(&bytes));
	}
	writer_reset(&bytes);
	cert_encode(&bytes, &ends[0].cert);
	insert(&a, at++, RECORD_CERT, writer_slice(&bytes));
	ck_assert_int_eq(verify_cut(&a, at, b), ERR_BAD_LINK);
	block_drop(b);
	writer_free(&bytes);
	free_records(&a);
}
END_TEST

/* It may end with an end, but not without what proves it, even if that has a certificate. */
START_TEST(an_end_with_nothing_behind_it)
{
	struct records a;
	read_records(&a);
	uint64_t at = place_of(&a, RECORD_EPOCH) + 1;
	while (a.type[at] != RECORD_EPOCH)
		at++;
	ck_assert_int_eq(a.type[at - 1], RECORD_CERT);
	ck_assert_int_eq(verify_cut(&a, at + 1, ends[1].end), ERR_NONE);
	ck_assert_int_eq(verify_cut(&a, at, ends[1].end), ERR_TRUNCATED);
	free_records(&a);
}
END_TEST

START_TEST(records_out_of_their_epoch)
{
	const struct backup_check o = {.genesis = &w.genesis};
	struct records a;
	struct writer bytes = {0};
	struct backup_summary s;
	struct errmsg m = {{0}};
	struct record_key k;
	struct cert cert;
	read_records(&a);
	uint64_t at = place_of(&a, RECORD_EPOCH);
	/* a term of the old set, between the end and what proves it */
	writer_u64(&bytes, 4);
	writer_raw(&bytes, old_term.buf, old_term.len);
	insert(&a, at, RECORD_TC, writer_slice(&bytes));
	ck_assert_int_eq(verify_records(&a), ERR_RANGE);
	free_records(&a);
	read_records(&a); /* behind it */
	ck_assert_int_eq(a.type[at + 1], RECORD_TC);
	insert(&a, at + 1, RECORD_TC, writer_slice(&bytes));
	ck_assert_int_eq(verify_records(&a), ERR_BAD_SIGNATURE);
	free_records(&a);
	read_records(&a); /* before the end, which is of an older term: nothing is left of it */
	insert(&a, at - 1, RECORD_TC, writer_slice(&bytes));
	writer_free(&a.payload[at + 2]); /* and that of the new set is left out */
	memmove(&a.type[at + 2], &a.type[at + 3], (a.count - at - 3) * sizeof a.type[0]);
	memmove(&a.payload[at + 2], &a.payload[at + 3],
		(a.count - at - 3) * sizeof a.payload[0]);
	a.count--;
	ck_assert_int_eq(verify_records(&a), ERR_NONE);
	ck_assert_msg(backup_restore(copy, home, &o, &s, &m) == ERR_NONE, "%s", m.text);
	struct store_options options = {.create = false};
	struct store *restored;
	char path[120];
	snprintf(path, sizeof path, "%s/data", home);
	ck_assert_int_eq(store_open_rocksdb(&restored, path, &options, &m), ERR_NONE);
	ck_assert_int_eq(store_get(restored, STORE_CERTS, key_tc(&k, 2), &bytes), ERR_NONE);
	ck_assert_int_eq(store_get(restored, STORE_CERTS, key_tc(&k, 4), &bytes),
			 ERR_NOT_FOUND);
	store_close(restored);
	free_records(&a);
	/* one of the term in which the new epoch begins: nobody signs that */
	struct term_cert tc;
	read_records(&a);
	term_cert_init(&tc);
	tc.term = 2;
	tc.base = block_ref_of(ends[0].end);
	writer_reset(&bytes);
	writer_u64(&bytes, 2);
	term_cert_encode(&bytes, &tc);
	insert(&a, at + 1, RECORD_TC, writer_slice(&bytes));
	ck_assert_int_eq(verify_records(&a), ERR_RANGE);
	free_records(&a);
	/* the new set's certificate for what its epoch begins with */
	struct chain_ctx now = w.ctx, next;
	struct keypair second = w.validator[1];
	uint8_t seed[32] = {2, 1};
	genesis_ctx(&w.ctx, &w.genesis);
	ck_assert_int_eq(handover_check(&ends[0], &w.ctx, &next), ERR_NONE);
	w.ctx = next;
	keypair_from_seed(&w.validator[1], seed);
	world_cert(&w, ends[0].end, CERT_TWO_ROUND, 4, &cert);
	w.validator[1] = second;
	w.ctx = now;
	ck_assert_int_eq(cert_check(&cert, &next), ERR_NONE);
	writer_reset(&bytes);
	cert_encode(&bytes, &cert);
	read_records(&a);
	insert(&a, at + 1, RECORD_CERT, writer_slice(&bytes));
	ck_assert_int_eq(verify_records(&a), ERR_RANGE);
	free_records(&a);
	writer_free(&bytes);
}
END_TEST

/* The next epoch's blocks, by the old set; its certificates too. */
START_TEST(blocks_of_the_old_set_are_found)
{
	struct records a;
	struct chain_ctx now = w.ctx;
	unsigned resigned = 0;
	read_records(&a);
	genesis_ctx(&w.ctx, &w.genesis);
	for (uint64_t i = 0; i < a.count; i++) {
		struct reader r;
		struct block *b;
		if (a.type[i] != RECORD_BLOCK)
			continue;
		reader_init(&r, writer_slice(&a.payload[i]));
		ck_assert_int_eq(block_decode(&r, &b), ERR_NONE);
		if (b->sh.h.height == 8) {
			struct cert cert;
			signed_header_sign(&b->sh, &w.ctx, &w.validator[b->sh.h.leader]);
			writer_reset(&a.payload[i]);
			block_encode(&a.payload[i], b);
			write_records(&a, UINT64_MAX, FORGE_FLIP);
			ck_assert_int_eq(verify(copy, &w.genesis), ERR_BAD_SIGNATURE);
			signed_header_sign(&b->sh, &now, &w.validator[b->sh.h.leader]);
			writer_reset(&a.payload[i]);
			block_encode(&a.payload[i], b);
			ck_assert_int_eq(a.type[i + 1], RECORD_CERT);
			world_cert(&w, b, CERT_TWO_ROUND, 4, &cert);
			writer_reset(&a.payload[i + 1]);
			cert_encode(&a.payload[i + 1], &cert);
			write_records(&a, UINT64_MAX, FORGE_FLIP);
			ck_assert_int_eq(verify(copy, &w.genesis), ERR_BAD_SIGNATURE);
			resigned++;
		}
		block_drop(b);
	}
	ck_assert_uint_eq(resigned, 1);
	w.ctx = now;
	free_records(&a);
}
END_TEST

/* The store as it is right before the next epoch begins: no record of it, blocks only up to the
 * end and its fillers. */
START_TEST(an_end_without_its_record)
{
	for (unsigned way = 0; way < 4; way++) {
		uint32_t fillers = way & 1;
		bool indexed = way & 2;
		struct keypair third = governed_key((uint8_t)(10 + way));
		struct block *filler[1] = {NULL};
		struct handover h;
		struct record_key k;
		struct errmsg m = {{0}};
		while (w.tip->sh.h.height % INTERVAL != INTERVAL - 1)
			commit_in(9 + way, w.tip->sh.h.height, true);
		struct block *end = governed_end(&w, 9 + way, 2, &third.pub);
		store_block(end, fillers == 0);
		governed_handover(&w, fillers, filler, &h);
		struct store_batch *batch = store_batch_new();
		if (fillers) {
			store_block(filler[0], true);
			store_batch_delete(batch, STORE_BLOCKS,
					   key_final(&k, end->sh.h.height + 1));
		}
		if (!indexed)
			store_batch_delete(batch, STORE_BLOCKS,
					   key_final(&k, end->sh.h.height));
		ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
		files_remove(copy, NULL);
		ck_assert_msg(create(copy, NULL, &m) == ERR_NONE, "way %u: %s", way, m.text);
		ck_assert_uint_eq(made.height, end->sh.h.height);
		ck_assert(hash_equal(&made.block, &end->hash));
		const struct backup_check o = {.genesis = &w.genesis};
		struct backup_summary s;
		ck_assert_msg(backup_verify(copy, &o, &s, &m) == ERR_NONE, "way %u: %s", way,
			      m.text);
		ck_assert_uint_eq(s.epoch, w.ctx.epoch + 1);
		/* and right after it has begun */
		store_batch_clear(batch);
		if (fillers) {
			store_batch_delete(
				batch, STORE_BLOCKS,
				key_block(&k, end->sh.h.height + 1, &filler[0]->hash));
			store_batch_delete(batch, STORE_CERTS,
					   key_cert(&k, end->sh.h.height + 1));
			block_drop(filler[0]);
		}
		struct writer bytes = {0};
		writer_hash(&bytes, &end->hash);
		put(batch, STORE_BLOCKS, key_final(&k, end->sh.h.height), &bytes);
		ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
		writer_free(&bytes);
		store_batch_free(batch);
		governed_step(&w, &h, 2, &third);
		governed_record(store, w.ctx.epoch, &h);
		files_remove(copy, NULL);
		ck_assert_msg(create(copy, NULL, &m) == ERR_NONE, "way %u: %s", way, m.text);
		ck_assert_uint_eq(made.height, w.tip->sh.h.height);
		ck_assert_int_eq(verify(copy, &w.genesis), ERR_NONE);
		handover_free(&h);
	}
}
END_TEST

START_TEST(damaged_records_of_epochs)
{
	struct errmsg m = {{0}};
	for (uint64_t epoch = 1; epoch <= 2; epoch++) {
		store_meta(epoch, (struct slice){0});
		ck_assert_int_eq(create(copy, NULL, &m), ERR_CORRUPT);
		store_meta(epoch, slice_str("x"));
		ck_assert_int_eq(create(copy, NULL, &m), ERR_CORRUPT);
		governed_record(store, epoch, &ends[2 - epoch]); /* the other one */
		ck_assert_int_eq(create(copy, NULL, &m), ERR_CORRUPT);
		ck_assert(!files_exist(copy));
		governed_record(store, epoch, &ends[epoch - 1]);
	}
	ck_assert_int_eq(create(copy, NULL, &m), ERR_NONE);
}
END_TEST

/* Whatever key it is given: that of its place in epoch 0, the one that it has now, one that was
 * never replaced. */
START_TEST(epochs_are_restored)
{
	const struct backup_check o = {.genesis = &w.genesis, .history = LEDGER_HISTORY_MIN};
	struct backup_summary s;
	struct errmsg m = {{0}};
	struct store *restored, *old = store;
	struct store_options options = {.create = false};
	struct replica *r;
	struct keypair genesis_key;
	char path[120];
	uint8_t seed[32] = {1, 1};
	keypair_from_seed(&genesis_key, seed);
	ck_assert_msg(backup_restore(dest, home, &o, &s, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(s.epoch, 2);
	snprintf(path, sizeof path, "%s/data", home);
	ck_assert_msg(store_open_rocksdb(&restored, path, &options, &m) == ERR_NONE, "%s",
		      m.text);
	const struct keypair *keys[] = {&genesis_key, &w.validator[0], &w.validator[3]};
	const unsigned places[] = {0, 0, 3};
	for (unsigned i = 0; i < MEM_COUNT(keys); i++) {
		const struct replica_config config = config_of(restored, places[i], keys[i]);
		ck_assert_msg(replica_open(&r, &config, &m) == ERR_NONE, "%s", m.text);
		ck_assert_ptr_nonnull(replica_observes(r));
		ck_assert_uint_eq(replica_ctx(r)->epoch, 2);
		ck_assert(hash_equal(&replica_ctx(r)->vals.hash, &w.ctx.vals.hash));
		ck_assert_uint_eq(ledger_height(replica_ledger(r)), 8);
		ck_assert(hash_equal(ledger_root(replica_ledger(r)), ledger_root(w.ledger)));
		for (uint64_t now = 1; now < 100; now++)
			replica_tick(r, now * 1000000);
		for (uint64_t h = 1; h <= 8; h++) { /* each under its own set */
			struct certified_header ch;
			struct hash block0 = w.block0->hash;
			ck_assert_int_eq(replica_certified_header(r, h, &ch), ERR_NONE);
			ck_assert_int_eq(
				certified_header_check(&ch, replica_ctx_at(r, h), &block0),
				ERR_NONE);
			certified_header_free(&ch);
		}
		for (uint64_t epoch = 1; epoch <= 2; epoch++) {
			struct proof_document d;
			struct handover h;
			ck_assert_int_eq(replica_handover(r, epoch, &d), ERR_NONE);
			ck_assert_int_eq(epoch_of_proof(&d, &h), ERR_NONE);
			ck_assert(block_ref_equal(&h.cert.ref, &ends[epoch - 1].cert.ref));
			handover_free(&h);
			proof_document_free(&d);
		}
		replica_close(r);
	}
	store = restored; /* it can be backed up in its turn, with the same bytes */
	struct backup_summary first = made;
	ck_assert_int_eq(create(copy, NULL, &m), ERR_NONE);
	ck_assert_uint_eq(made.bytes, first.bytes);
	ck_assert_int_eq(verify(copy, &w.genesis), ERR_NONE);
	store_close(restored);
	store = old;
}
END_TEST

/* That a leader has signed two blocks for one place, in ctx's epoch. */
static void store_evidence(const struct signed_header *one, const struct chain_ctx *ctx,
			   const struct keypair *key)
{
	struct signed_header a = *one, b = *one;
	struct writer bytes = {0}, scratch = {0};
	struct store_batch *batch = store_batch_new();
	struct evidence e;
	struct hash id;
	b.h.time_ms++;
	signed_header_sign(&a, ctx, key);
	signed_header_sign(&b, ctx, key);
	ck_assert(evidence_of_headers(&e, &scratch, &a, &b));
	evidence_encode(&bytes, &e);
	hash_tagged(&id, HASH_EVIDENCE, writer_slice(&bytes));
	put(batch, STORE_EVIDENCE, hash_slice(&id), &bytes);
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
	writer_free(&bytes);
	writer_free(&scratch);
}

START_TEST(evidence_of_all_epochs)
{
	struct errmsg m = {{0}};
	struct chain_ctx first;
	struct records a;
	unsigned count = 0;
	genesis_ctx(&first, &w.genesis);
	store_evidence(&ends[0].end->sh, &first, &w.validator[2]);
	store_evidence(&w.tip->sh, &w.ctx, &w.validator[3]);
	files_remove(dest, NULL);
	ck_assert_int_eq(create(dest, NULL, &m), ERR_NONE);
	ck_assert_int_eq(verify(dest, &w.genesis), ERR_NONE);
	read_records(&a);
	for (uint64_t i = 0; i < a.count; i++)
		count += a.type[i] == RECORD_EVIDENCE;
	ck_assert_uint_eq(count, 2);
	free_records(&a);
	store_evidence(&w.tip->sh, &first, &w.validator[3]); /* of no epoch at all */
	files_remove(dest, NULL);
	ck_assert_int_eq(create(dest, NULL, &m), ERR_NONE);
	int err = verify(dest, &w.genesis);
	ck_assert(err && backup_altered(err));
}
END_TEST

/* It begins anew with all keys, and what it would be recovered to knows nothing of epochs. */
START_TEST(no_recovery_of_epochs)
{
	const struct backup_check o = {.genesis = &w.genesis, .key_file = "/dev/null"};
	struct backup_summary s;
	struct errmsg m = {{0}};
	ck_assert_int_eq(backup_restore(dest, home, &o, &s, &m), ERR_PERMISSION);
	ck_assert(!files_exist(home));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("backup");
	TCase *t = tcase_create("backup");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup, teardown);
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
	suite_add_tcase(s, t);
	t = tcase_create("epochs");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup_epochs, teardown_epochs);
	tcase_add_test(t, epochs_verify);
	tcase_add_test(t, forged_epochs_are_found);
	tcase_add_test(t, handovers_by_others_are_found);
	tcase_add_test(t, fillers_are_no_blocks);
	tcase_add_test(t, an_end_with_nothing_behind_it);
	tcase_add_test(t, records_out_of_their_epoch);
	tcase_add_test(t, blocks_of_the_old_set_are_found);
	tcase_add_test(t, damaged_records_of_epochs);
	tcase_add_test(t, epochs_are_restored);
	tcase_add_test(t, evidence_of_all_epochs);
	tcase_add_test(t, no_recovery_of_epochs);
	suite_add_tcase(s, t);
	t = tcase_create("ends");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup_governed, teardown);
	tcase_add_test(t, an_end_without_its_record);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
