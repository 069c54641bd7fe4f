/* What the parts of a transaction cost, each beside what limits it: a hash beside the rate of a
 * long hash, a signature beside one over no bytes, an encoding beside a copy of its bytes. CPU
 * time of the thread, so that others on the machine count little; medians.
 *
 *	bench-micro [-o json] */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "ledger/tree.h"
#include "tests/bench/bench.h"

#define TX_BYTES   300
#define BLOCK_TXS  500
#define TREE_KEYS  100000
#define BULK	   (1u << 20)
#define THREADS	   64
#define BATCH	   64  /* signatures of a batch for the pool */
#define NODE_LEVEL 4.2 /* log16(TREE_KEYS) */

static struct json *rows;
static bool as_json;
static double hash_us_per_byte, copy_us_per_byte;

static double clock_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

double cpu_us(void)
{
	return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

double wall_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double measure(void (*fn)(void *ctx), void *ctx, unsigned calls)
{
	double us[ROUNDS];

	fn(ctx);
	for (int r = 0; r < ROUNDS; r++) {
		double begin = cpu_us();
		for (unsigned i = 0; i < calls; i++)
			fn(ctx);
		us[r] = (cpu_us() - begin) / calls;
	}
	qsort(us, ROUNDS, sizeof us[0], compare_doubles);
	return us[ROUNDS / 2];
}

void report(const char *name, double us, double limit_us, const char *what)
{
	if (as_json) {
		struct json *o = json_object();
		json_set(o, "name", json_string(name));
		json_set(o, "us", json_real(us));
		json_set(o, "per_s", json_real(1e6 / us));
		json_set(o, "limit_us", limit_us < 0 ? json_null() : json_real(limit_us));
		json_set(o, "limit", limit_us < 0 ? json_null() : json_string(what));
		json_set(o, "share_of_limit",
			 limit_us < 0 ? json_null() : json_real(limit_us / us));
		json_append(rows, o);
		return;
	}
	printf("%-34s %10.3f %12.0f", name, us, 1e6 / us);
	if (limit_us >= 0)
		printf(" %10.3f %5.0f%%  %s", limit_us, 100 * limit_us / us, what);
	printf("\n");
	fflush(stdout);
}

/* ---- hashes and copies ----------------------------------------------------------------- */

struct bytes {
	const uint8_t *ptr;
	uint8_t *to;
	size_t len;
	struct hash hash;
};

static void hash_bytes(void *ctx)
{
	struct bytes *b = ctx;

	sha256(&b->hash, b->ptr, b->len);
}

static void hash_node(void *ctx)
{
	struct bytes *b = ctx;

	hash_tagged2(&b->hash, HASH_MERKLE_NODE, slice_of(b->ptr, 32),
		     slice_of(b->ptr + 32, 32));
}

static void copy_bytes(void *ctx)
{
	struct bytes *b = ctx;

	memcpy(b->to, b->ptr, b->len);
	__asm__ volatile("" : : "r"(b->to) : "memory");
}

static void bench_hash(void)
{
	uint8_t *from = mem_zalloc(BULK), *to = mem_zalloc(BULK);
	struct bytes bulk = {.ptr = from, .to = to, .len = BULK},
		     tx = {.ptr = from, .to = to, .len = TX_BYTES};
	double us = measure(hash_bytes, &bulk, 4);

	hash_us_per_byte = us / BULK;
	copy_us_per_byte = measure(copy_bytes, &bulk, 64) / BULK;
	report("copy of 1 MiB", copy_us_per_byte * BULK, -1, NULL);
	report("hash of 1 MiB", us, copy_us_per_byte * BULK, "a copy of it");
	/* SHA-256 works on 64 bytes at a time, with nine more of padding at least */
	report("hash of 300 bytes", measure(hash_bytes, &tx, 20000), hash_us_per_byte * 320,
	       "5 of SHA-256's blocks at the rate of 1 MiB");
	report("hash of two hashes", measure(hash_node, &tx, 20000), hash_us_per_byte * 128,
	       "2 of SHA-256's blocks at the rate of 1 MiB");
	mem_free(from);
	mem_free(to);
}

/* ---- signatures ------------------------------------------------------------------------ */

struct signing {
	struct keypair key;
	struct hash chain;
	struct signature sig;
	uint8_t bytes[TX_BYTES];
	size_t len;
};

static void sign(void *ctx)
{
	struct signing *s = ctx;

	sig_make(SIG_ED25519, &s->sig, &s->key, SIG_TAG_TX, &s->chain,
		 slice_of(s->bytes, s->len));
}

static void verify(void *ctx)
{
	struct signing *s = ctx;

	invariant(sig_check(SIG_ED25519, &s->sig, &s->key.pub, SIG_TAG_TX, &s->chain,
			    slice_of(s->bytes, s->len)) == ERR_NONE);
}

static void *verify_batch(void *ctx)
{
	for (unsigned i = 0; i < BATCH; i++)
		verify(ctx);
	return NULL;
}

/* As a bounded pool would: a share for each core. By the wall clock, since it is about cores.
 */
static void bench_pool(struct signing *s, double one_us)
{
	pthread_t thread[THREADS];
	cpu_set_t set;
	unsigned cores;
	double best = 0;

	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof set, &set);
	cores = (unsigned)CPU_COUNT(&set) < THREADS ? (unsigned)CPU_COUNT(&set) : THREADS;
	for (int r = 0; r < ROUNDS; r++) {
		double begin = wall_us();
		for (unsigned i = 0; i < cores; i++)
			invariant(pthread_create(&thread[i], NULL, verify_batch, s) == 0);
		for (unsigned i = 0; i < cores; i++)
			pthread_join(thread[i], NULL);
		begin = wall_us() - begin;
		best = best == 0 || begin < best ? begin : best;
	}
	report("verify, 64 a core at once", best / (BATCH * cores), one_us / cores,
	       "one core's rate times the cores");
}

static void bench_sign(void)
{
	struct signing s = {.len = 0};
	double sign_us, verify_us, us;

	keypair_generate(&s.key);
	sign_us = measure(sign, &s, 200);
	verify_us = measure(verify, &s, 200);
	s.len = TX_BYTES;
	report("sign 300 bytes", measure(sign, &s, 200), sign_us, "libsodium, over no bytes");
	us = measure(verify, &s, 200);
	report("verify 300 bytes", us, verify_us, "libsodium, over no bytes");
	bench_pool(&s, us);
}

/* ---- blocks ---------------------------------------------------------------------------- */

struct blocks {
	struct world w;
	struct slice tx[BLOCK_TXS];
	struct block *b;
	struct writer encoded;
};

static void encode_block(void *ctx)
{
	struct blocks *x = ctx;

	writer_reset(&x->encoded);
	block_encode(&x->encoded, x->b);
}

static void decode_block(void *ctx)
{
	struct blocks *x = ctx;
	struct reader r;
	struct block *b;

	reader_init(&r, writer_slice(&x->encoded));
	invariant(block_decode(&r, &b) == ERR_NONE);
	block_drop(b);
}

static void decode_tx(void *ctx)
{
	struct blocks *x = ctx;
	struct tx tx;

	invariant(tx_decode(&tx, x->tx[0], &x->w.ctx, &x->w.genesis.limits) == ERR_NONE);
}

static void execute_block(void *ctx)
{
	struct blocks *x = ctx;

	ledger_drop(x->w.ledger, &x->b->hash);
	invariant(ledger_execute(x->w.ledger, x->b, false) == ERR_NONE);
}

static void bench_blocks(void)
{
	struct blocks *x = mem_zalloc(sizeof *x);
	char key[32], value[129];
	double bytes, limit;

	world_init(&x->w, 1000);
	memset(value, 'v', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	for (unsigned i = 0; i < BLOCK_TXS; i++) {
		snprintf(key, sizeof key, "key-%u", i * 7919 % BLOCK_TXS);
		x->tx[i] =
			world_put(&x->w, i % WORLD_CLIENTS, i / WORLD_CLIENTS + 1, key, value);
	}
	x->b = world_build(&x->w, x->w.tip, 1, x->tx, BLOCK_TXS, NULL);
	invariant(x->b->tx_count == BLOCK_TXS);
	encode_block(x);
	bytes = (double)x->encoded.len;
	struct bytes copy = {.ptr = x->encoded.buf, .len = x->encoded.len};
	copy.to = mem_alloc(copy.len);
	limit = measure(copy_bytes, &copy, 20);
	mem_free(copy.to);
	report("encode a block, a transaction", measure(encode_block, x, 20) / BLOCK_TXS,
	       limit / BLOCK_TXS, "a copy of its bytes");
	/* id and Merkle leaf of each, and a node of the tree */
	report("decode a block, a transaction", measure(decode_block, x, 10) / BLOCK_TXS,
	       hash_us_per_byte * (2 * (bytes / BLOCK_TXS + 32) + 128),
	       "its hashes at the rate of 1 MiB");
	report("decode a transaction", measure(decode_tx, x, 20000),
	       copy_us_per_byte * (double)x->tx[0].len, "a copy of its bytes");
	/* key, value, leaf, and about one node of sixteen for each */
	report("execute a block, a transaction", measure(execute_block, x, 5) / BLOCK_TXS,
	       hash_us_per_byte * (64 + 192 + 128 + 576), "its hashes at the rate of 1 MiB");
	block_drop(x->b);
	world_free_txs(x->tx, BLOCK_TXS);
	writer_free(&x->encoded);
	world_free(&x->w);
	mem_free(x);
}

/* ---- the state tree -------------------------------------------------------------------- */

struct forest {
	struct tree tree;
	struct tree_node *root;
	struct hash hash;
	struct tree_change *changes;
	uint64_t version;
};

static int by_key(const void *a, const void *b)
{
	return memcmp(((const struct tree_change *)a)->key.b,
		      ((const struct tree_change *)b)->key.b, HASH_SIZE);
}

static void make_changes(struct forest *f, size_t count, uint64_t from, uint64_t step)
{
	uint8_t value[64] = {0};

	store_be64(value + 8, f->version);
	for (size_t i = 0; i < count; i++) {
		store_be64(value, from + i * step);
		f->changes[i] = (struct tree_change){.leaf = NULL};
		tree_key(&f->changes[i].key, slice_of(value, 8));
		f->changes[i].leaf = tree_leaf_new(&f->tree, &f->changes[i].key,
						   slice_of(value, sizeof value));
	}
	qsort(f->changes, count, sizeof f->changes[0], by_key);
}

static struct tree_node *update(struct forest *f, size_t count, struct hash *hash)
{
	struct tree_node *root;
	int64_t added = 0;

	invariant(tree_update(&f->tree, f->root, f->version, f->changes, count, &root, hash,
			      &added, NULL) == ERR_NONE);
	return root;
}

static void drop_changes(struct forest *f, size_t count)
{
	for (size_t i = 0; i < count; i++)
		tree_leaf_drop(&f->tree, f->changes[i].leaf);
}

static void update_and_drop(void *ctx)
{
	struct forest *f = ctx;
	struct hash hash = f->hash;

	tree_drop(&f->tree, update(f, BLOCK_TXS, &hash));
}

static void bench_tree(void)
{
	struct forest f = {.version = 1};
	struct store *s = store_open_memory();
	struct tree_node *old;

	tree_init(&f.tree, s, SIZE_MAX);
	f.changes = mem_array(TREE_KEYS, sizeof *f.changes);
	f.root = tree_empty(&f.tree);
	tree_hash(&f.hash, f.root);
	make_changes(&f, TREE_KEYS, 0, 1);
	old = f.root;
	f.root = update(&f, TREE_KEYS, &f.hash);
	tree_drop(&f.tree, old);
	drop_changes(&f, TREE_KEYS);
	f.version = 2;
	make_changes(&f, BLOCK_TXS, 0, TREE_KEYS / BLOCK_TXS);
	/* The two upper levels are shared by a block's 500 keys; the others are each one's own.
	 */
	report("tree update, a key of 100,000", measure(update_and_drop, &f, 5) / BLOCK_TXS,
	       hash_us_per_byte * 576 * (NODE_LEVEL - 2),
	       "its nodes' hashes at the rate of 1 MiB");
	drop_changes(&f, BLOCK_TXS);
	tree_drop(&f.tree, f.root);
	tree_close(&f.tree);
	store_close(s);
	mem_free(f.changes);
}

int main(int argc, char **argv)
{
	as_json = argc == 3 && strcmp(argv[1], "-o") == 0 && strcmp(argv[2], "json") == 0;
	if (argc > 1 && !as_json) {
		fprintf(stderr, "usage: %s [-o json]\n", argv[0]);
		return 2;
	}
	crypto_init();
	rows = json_array();
	if (!as_json)
		printf("%-34s %10s %12s %10s %6s  %s\n", "PART", "US", "A SECOND", "LIMIT US",
		       "SHARE", "LIMIT");
	bench_hash();
	bench_sign();
	bench_blocks();
	bench_tree();
	bench_engine();
	bench_link();
	if (as_json) {
		char *text = json_dump(rows, false);
		puts(text);
		mem_free(text);
	}
	json_free(rows);
	return 0;
}
