/* What the tests of backups have in common (backup.h). */
#include "tests/replica/backup.h"

#include <sys/stat.h>
#include <unistd.h>

#include "consensus/hybrid/message.h"
#include "tests/replica/quiet.h"

#define PART 2048

struct world w;
struct store *store;
static char dir[64];
char dest[96], copy[96], home[96];
struct backup_summary made;
unsigned sent;
struct handover ends[2];
struct keypair first_key;
struct writer old_term;

void put(struct store_batch *batch, enum store_family f, struct slice key, struct writer *value)
{
	store_batch_put(batch, f, key, writer_slice(value));
	writer_reset(value);
}

void store_block(struct block *b, bool certified)
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

int create(const char *path, const struct backup_progress *p, struct errmsg *m)
{
	const struct backup_options o = {
		.genesis = &w.genesis, .made_ms = 1234, .part_bytes = PART, .progress = p};
	return backup_create(store, path, &o, &made, m);
}

int verify(const char *path, const struct genesis *g)
{
	const struct backup_check o = {.genesis = g};
	struct backup_summary s;
	struct errmsg m;
	return backup_verify(path, &o, &s, &m);
}

void setup_paths(void)
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

void teardown(void)
{
	store_close(store);
	world_free(&w);
	files_remove(dir, NULL);
}

/* ---- altered by somebody who makes all hashes right again ----------------------------- */

void read_records(struct records *a)
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

void write_records(const struct records *a, uint64_t victim, enum forgery how)
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

void free_records(struct records *a)
{
	for (uint64_t i = 0; i < a->count; i++)
		writer_free(&a->payload[i]);
}

unsigned forge_each(enum backup_record counted)
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

static void host_send(void *ctx, const struct message *m)
{
	ck_assert(m->type == MSG_FETCH || m->type == MSG_ECHO); /* nothing that is signed */
	sent++;
}
static void host_halted(void *ctx, const char *why)
{
	ck_abort_msg("halted: %s", why);
}

struct replica_config config_of(struct store *s, unsigned self, const struct keypair *key)
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

void commit_in(uint64_t term, uint64_t nonce, bool certified)
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

void setup_governed(void)
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

void setup_epochs(void)
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

void teardown_epochs(void)
{
	handover_free(&ends[0]);
	handover_free(&ends[1]);
	writer_free(&old_term);
	teardown();
}

TCase *backup_case(const char *name, void (*begin)(void), void (*end)(void))
{
	TCase *t = tcase_create(name);
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, begin, end);
	return t;
}
