/* The size of a store on disk while blocks come in, on a fixed set of keys: with pruning it
 *must become flat, in bytes of files and not only in records. Prints it; exit code 1 if it
 *grows.
 *
 *	retention [BLOCKS [HISTORY]]
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replica/audit.h"
#include "replica/files.h"
#include "replica/private.h"
#include "tests/ledger/world.h"

#define KEYS	16
#define TXS	8 /* a block */
#define SAMPLES 20

static struct world w;
static char dir[64];
static uint64_t nonces[WORLD_CLIENTS];

/* Of files that end like this. The log is bounded by itself (64 MiB) and saws up and down. */
static uint64_t size_on_disk(const char *suffix)
{
	uint64_t sum = 0;
	struct dirent *e;
	DIR *d = opendir(dir);
	while ((e = readdir(d)) != NULL) {
		char path[400];
		struct stat st;
		const char *dot = strrchr(e->d_name, '.');
		if (!dot || strcmp(dot, suffix) != 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		if (stat(path, &st) == 0)
			sum += (uint64_t)st.st_blocks * 512;
	}
	closedir(d);
	return sum;
}

/* As host_persist() and host_final() of a replica do. */
static void commit(struct replica *r)
{
	struct slice txs[TXS];
	struct record_key k;
	struct cert cert;
	for (unsigned i = 0; i < TXS; i++) {
		unsigned client = i % WORLD_CLIENTS;
		char key[32], value[128];
		uint64_t n = ++nonces[client];
		snprintf(key, sizeof key, "key-%u-%llu", client, (unsigned long long)n % KEYS);
		memset(value, 'a' + (int)(n % 26), sizeof value - 1);
		snprintf(value, 24, "%020llu", (unsigned long long)(n * 2654435761u));
		value[20] = '-';
		value[sizeof value - 1] = 0;
		txs[i] = world_put(&w, client, n, key, value);
	}
	struct block *b = world_build(&w, w.tip, 1, txs, TXS, NULL);
	world_free_txs(txs, TXS);
	int err = ledger_execute(w.ledger, b, false);
	invariant(!err);
	store_batch_clear(r->batch);
	ledger_finalize(w.ledger, b, r->batch);
	records_settle(r, b);
	writer_reset(&r->scratch);
	block_encode(&r->scratch, b);
	store_batch_put(r->batch, STORE_BLOCKS, key_block(&k, b->sh.h.height, &b->hash),
			writer_slice(&r->scratch));
	world_cert(&w, b, CERT_TWO_ROUND, 3, &cert);
	writer_reset(&r->scratch);
	cert_encode(&r->scratch, &cert);
	store_batch_put(r->batch, STORE_CERTS, key_cert(&k, b->sh.h.height),
			writer_slice(&r->scratch));
	retention_prune(r, b->sh.h.height);
	err = store_write(w.store, r->batch, false);
	invariant(!err);
	block_drop(w.tip);
	w.tip = b;
}

static void on_found(void *arg, const struct finding *f)
{
	printf("%s at height %llu: %s\n", store_family_name(f->family),
	       (unsigned long long)f->height, f->what);
}

static bool on_step(void *arg, uint64_t height, uint64_t height_max, uint64_t bytes,
		    uint64_t bytes_max)
{
	return true;
}

/* What is left is whole. */
static bool is_sound(struct store *s)
{
	struct audit_result a;
	struct errmsg m = {{0}};
	const struct audit_options o = {
		.genesis = &w.genesis, .found = on_found, .step = on_step};
	int err = replica_audit(s, &o, &a, &m);
	printf("%s: blocks %llu to %llu, states from %llu, %llu nodes, %llu values\n",
	       err || a.findings ? "DAMAGED" : "sound", (unsigned long long)a.first_block,
	       (unsigned long long)a.ledger.height, (unsigned long long)a.ledger.oldest,
	       (unsigned long long)a.ledger.nodes, (unsigned long long)a.ledger.values);
	return !err && a.findings == 0;
}

static void no_send(void *ctx, const struct message *m)
{
}
static bool no_sync(void *ctx, uint64_t seq)
{
	return true;
}
static void no_final(void *ctx, struct block *b, const struct cert *cert)
{
}
static void no_rejected(void *ctx, const struct hash *id, int err)
{
}
static void on_halted(void *ctx, const char *why)
{
	printf("halted: %s\n", why);
}
static uint64_t no_wall(void *ctx)
{
	return 1;
}

/* A replica starts on it, proves what is left, and says of the rest that it was given up. */
static bool starts(struct store *s, uint64_t from)
{
	const struct replica_config config = {.genesis = &w.genesis,
					      .store = s,
					      .self = 3,
					      .key = w.validator[3],
					      .seed = 1,
					      .history = LEDGER_HISTORY_MIN,
					      .blocks = REPLICA_BLOCKS_MIN,
					      .host = {.send = no_send,
						       .sync = no_sync,
						       .final = no_final,
						       .rejected = no_rejected,
						       .halted = on_halted,
						       .wall_ms = no_wall}};
	struct replica *r;
	struct errmsg m = {{0}};
	struct certified_header ch;
	struct block *b;
	int err = replica_open(&r, &config, &m);
	if (err) {
		printf("%s: %s\n", err_text(err), m.text);
		return false;
	}
	bool ok = replica_blocks_from(r) == from &&
		  replica_block(r, from - 1, &b) == ERR_STALE &&
		  replica_certified_header(r, from - 1, &ch) != ERR_NONE;
	for (uint64_t h = from; h <= w.tip->sh.h.height && ok; h += 997) {
		ok = replica_certified_header(r, h, &ch) == ERR_NONE;
		certified_header_free(&ch);
	}
	replica_close(r);
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t blocks = argc > 1 ? strtoull(argv[1], NULL, 10) : 24000;
	uint64_t history = argc > 2 ? strtoull(argv[2], NULL, 10) : LEDGER_HISTORY_MIN;
	uint64_t half = 0, last = 0;
	struct store *s;
	struct replica r;
	struct errmsg m = {{0}};
	struct store_options options = {.create = true};
	strcpy(dir, "/tmp/retention-XXXXXX");
	if (!mkdtemp(dir) || store_open_rocksdb(&s, dir, &options, &m)) {
		fprintf(stderr, "%s: %s\n", dir, m.text);
		return 1;
	}
	world_genesis(&w, 1000);
	world_seal(&w);
	world_open(&w, s);
	records_view(&r, s, &w.genesis);
	r.config.blocks = history ? REPLICA_BLOCKS_MIN : 0;
	int err = retention_open(&r);
	invariant(!err);
	ledger_set_history(w.ledger, history ? history : LEDGER_HISTORY_ALL);
	printf("%10s %14s %12s %14s %12s\n", "blocks", "transactions", "blocks from",
	       "bytes of data", "of the log");
	for (uint64_t i = 1; i <= blocks; i++) {
		commit(&r);
		if (i % (blocks / SAMPLES))
			continue;
		store_sync(s);
		replica_compact(s, i);
		last = size_on_disk(".sst");
		if (i <= blocks / 2)
			half = last;
		printf("%10llu %14llu %12llu %14llu %12llu\n", (unsigned long long)i,
		       (unsigned long long)i * TXS, (unsigned long long)r.blocks_from,
		       (unsigned long long)last, (unsigned long long)size_on_disk(".log"));
		fflush(stdout);
	}
	struct block *b;
	bool gone = !history || replica_block(&r, 1, &b) == ERR_STALE;
	bool sound = gone && is_sound(s) && (!history || starts(s, r.blocks_from));
	records_view_free(&r);
	world_free(&w);
	files_remove(dir, NULL);
	bool flat = last <= half + half / 10;
	printf("%s: %llu bytes half way, %llu at the end\n", flat ? "flat" : "NOT FLAT",
	       (unsigned long long)half, (unsigned long long)last);
	return flat && sound ? 0 : 1;
}
