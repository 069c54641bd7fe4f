/* Run by hand: bench-store [DIRECTORY]. What a store costs: a synced batch as a decision makes
 * it, unsynced writes, point look-ups, scans; and the resident memory after it all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "ledger/store.h"

#define SYNCED_BATCHES 2000
#define PUTS	       10
#define UNSYNCED       50000
#define KEYS	       ((uint64_t)UNSYNCED * PUTS)
#define GETS	       200000
#define VALUE_SIZE     100
#define BLOCK_SIZE     4096

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void check(int err)
{
	if (err == ERR_NONE)
		return;
	fprintf(stderr, "bench-store: %s\n", err_text(err));
	exit(1);
}

/* Sixteen bytes, as scattered as hashes are. */
static struct slice scattered_key(uint8_t key[16], uint64_t i)
{
	struct random r;

	random_seed(&r, i);
	store_be64(key, random_u64(&r));
	store_be64(key + 8, random_u64(&r));
	return slice_of(key, 16);
}

static void bench_synced(struct store *s)
{
	struct store_batch *b = store_batch_new();
	static double took[SYNCED_BATCHES];
	uint8_t key[16], value[BLOCK_SIZE];
	struct random r;

	random_seed(&r, 1);
	for (uint64_t i = 0; i < SYNCED_BATCHES; i++) {
		for (size_t j = 0; j < sizeof(value); j++)
			value[j] = (uint8_t)random_u64(&r);
		double start = now_us();
		store_batch_clear(b);
		store_batch_put(b, STORE_BLOCKS, scattered_key(key, i),
				slice_of(value, sizeof(value)));
		store_be64(key, i);
		store_batch_put(b, STORE_BLOCKS, slice_of(key, 8), slice_of(value, 32));
		store_batch_put(b, STORE_CERTS, slice_of(key, 8), slice_of(value, 400));
		store_batch_put(b, STORE_VOTES, slice_of("vote", 4), slice_of(value, 200));
		check(store_write(s, b, true));
		took[i] = now_us() - start;
	}
	qsort(took, SYNCED_BATCHES, sizeof(took[0]), compare_doubles);
	printf("  synced batch, 4 puts, 4.7 kB    median %8.1f us   p99 %8.1f us\n",
	       took[SYNCED_BATCHES / 2], took[SYNCED_BATCHES * 99 / 100]);
	store_batch_free(b);
}

static void bench_unsynced(struct store *s)
{
	struct store_batch *b = store_batch_new();
	uint8_t key[16], value[VALUE_SIZE] = {0};
	double start = now_us(), building = 0;

	for (uint64_t i = 0; i < UNSYNCED; i++) {
		double from = now_us();
		store_batch_clear(b);
		for (uint64_t j = 0; j < PUTS; j++)
			store_batch_put(b, STORE_STATE, scattered_key(key, i * PUTS + j),
					slice_of(value, sizeof(value)));
		building += now_us() - from;
		check(store_write(s, b, false));
	}
	printf("  unsynced put, batches of %d      mean   %8.2f us   of it building %.2f us\n",
	       PUTS, (now_us() - start) / (double)KEYS, building / (double)KEYS);
	check(store_sync(s));
	store_batch_free(b);
}

static void bench_get(struct store *s)
{
	struct writer w = {0};
	struct random r;
	struct store_iter *it;
	struct slice key, value;
	uint8_t buf[16];
	uint64_t n;
	double start = now_us();

	random_seed(&r, 3);
	for (int i = 0; i < GETS; i++)
		check(store_get(s, STORE_STATE, scattered_key(buf, random_below(&r, KEYS)),
				&w));
	printf("  get, present                    mean   %8.2f us\n",
	       (now_us() - start) / GETS);
	start = now_us();
	for (uint64_t i = 0; i < GETS; i++) {
		if (store_get(s, STORE_STATE, scattered_key(buf, KEYS + i), &w) !=
		    ERR_NOT_FOUND)
			exit(1);
	}
	printf("  get, absent                     mean   %8.2f us\n",
	       (now_us() - start) / GETS);
	start = now_us();
	it = store_iter_new(s, STORE_STATE, slice_of(NULL, 0), slice_of(NULL, 0), false);
	for (n = 0; store_iter_next(it, &key, &value); n++) {
	}
	store_iter_free(it);
	printf("  iterate                         mean   %8.2f us   %llu keys\n",
	       (now_us() - start) / (double)n, (unsigned long long)n);
	writer_free(&w);
}

static void bench_batch(void)
{
	struct store_batch *b = store_batch_new();
	uint8_t key[16] = {0}, value[VALUE_SIZE] = {0};
	double start = now_us();

	for (int i = 0; i < 1000000; i++) {
		if (i % PUTS == 0)
			store_batch_clear(b);
		store_batch_put(b, STORE_STATE, slice_of(key, 16), slice_of(value, VALUE_SIZE));
	}
	printf("batch: a put costs %.3f us\n", (now_us() - start) / 1e6);
	store_batch_free(b);
}

static void bench_open_memory(void)
{
	double start = now_us();
	struct store_batch *b = store_batch_new();

	store_batch_put(b, STORE_META, slice_of("a", 1), slice_of("b", 1));
	for (int i = 0; i < 10000; i++) {
		struct store *s = store_open_memory();
		check(store_write(s, b, true));
		store_close(s);
	}
	printf("memory: open, one write, close %.2f us\n", (now_us() - start) / 1e4);
	store_batch_free(b);
}

static void print_resident(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[128];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "VmRSS", 5) == 0 || strncmp(line, "VmHWM", 5) == 0)
			printf("  %s", line);
	}
	if (f != NULL)
		fclose(f);
}

int main(int argc, char **argv)
{
	const struct store_options options = {.create = true};
	struct errmsg m;
	struct store *s;
	char path[256];
	double start;

	snprintf(path, sizeof(path), "%s/bench-store-XXXXXX", argc > 1 ? argv[1] : ".");
	if (mkdtemp(path) == NULL) {
		perror(path);
		return 1;
	}
	start = now_us();
	if (store_open_rocksdb(&s, path, &options, &m) != ERR_NONE) {
		fprintf(stderr, "bench-store: %s\n", m.text);
		return 1;
	}
	printf("rocksdb in %s (remove it yourself): created in %.1f ms\n", path,
	       (now_us() - start) / 1e3);
	bench_synced(s);
	bench_unsynced(s);
	bench_get(s);
	print_resident();
	store_close(s);
	start = now_us();
	if (store_open_rocksdb(&s, path, &options, &m) != ERR_NONE)
		return 1;
	printf("  opened again in %.1f ms\n", (now_us() - start) / 1e3);
	store_close(s);

	bench_batch();
	bench_open_memory();
	s = store_open_memory();
	printf("memory:\n");
	bench_synced(s);
	bench_unsynced(s);
	bench_get(s);
	store_close(s);
	return 0;
}
