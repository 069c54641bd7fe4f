/* Fuzz targets without libFuzzer.
 *
 *	check-fuzz				the test suite: seeds, corpus, crashes, a fixed
 *						number of mutations, all targets
 *	check-fuzz TARGET FILE...		replays files, or all of a directory's
 *	check-fuzz --seeds TARGET DIRECTORY	writes the seeds
 *	check-fuzz --runs N [--seed S] TARGET	so many mutations
 *	check-fuzz --list			the targets
 *	check-fuzz --size TARGET		the longest input it takes */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "crypto/sign.h"
#include "tests/fuzz/fuzz.h"
#include "tests/share.h"

/* ---- files ------------------------------------------------------------------------------- */

static bool read_file(const char *path, struct writer *out)
{
	FILE *f = fopen(path, "rb");
	uint8_t buffer[4096];
	size_t got;
	if (!f)
		return false;
	writer_reset(out);
	while ((got = fread(buffer, 1, sizeof buffer, f)) > 0)
		writer_raw(out, buffer, got);
	fclose(f);
	return true;
}

/* A file, or every file of a directory, in the order of names. Absent: none. */
static void read_inputs(const char *path, struct fuzz_seeds *out)
{
	struct writer bytes = {0};
	struct dirent **entries;
	struct stat st;
	if (stat(path, &st))
		return;
	int count = S_ISDIR(st.st_mode) ? scandir(path, &entries, NULL, alphasort) : 0;
	if (!S_ISDIR(st.st_mode) && read_file(path, &bytes))
		fuzz_seed(out, writer_slice(&bytes));
	for (int i = 0; i < count; i++) {
		char *file = mem_printf("%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && read_file(file, &bytes))
			fuzz_seed(out, writer_slice(&bytes));
		mem_free(file);
		free(entries[i]);
	}
	if (count > 0)
		free(entries);
	writer_free(&bytes);
}

static void all_inputs(const struct fuzz_target *t, struct fuzz_seeds *out)
{
	static const char *const folders[] = {"corpus", "crashes"};
	const char *srcdir = getenv("srcdir");
	t->seeds(out);
	for (unsigned i = 0; i < MEM_COUNT(folders); i++) {
		char *path = mem_printf("%s/tests/fuzz/%s/%s", srcdir ? srcdir : ".",
					folders[i], t->name);
		read_inputs(path, out);
		mem_free(path);
	}
}

/* ---- running ----------------------------------------------------------------------------- */

static struct random leaf_random;

static size_t leaf(uint8_t *data, size_t size, size_t max)
{
	return fuzz_plain_leaf(&leaf_random, data, size, max);
}

/* The input is a heap block of its very size, so that sanitizers see one byte too many. */
static void run_one(const struct fuzz_target *t, struct slice in)
{
	uint8_t *copy = in.len ? mem_dup(in.ptr, in.len) : mem_alloc(1);
	t->one(slice_of(copy, in.len));
	mem_free(copy);
}

/* Where the input under way is kept, for the one that crashes. */
static const char *last_input(void)
{
	return getenv("FUZZ_LAST_INPUT");
}

static void keep(struct slice in)
{
	FILE *f = last_input() ? fopen(last_input(), "wb") : NULL;
	if (!f)
		return;
	fwrite(in.ptr, 1, in.len, f);
	fclose(f);
}

static void run_mutations(const struct fuzz_target *t, const struct fuzz_seeds *inputs,
			  uint64_t runs, uint64_t seed)
{
	struct random random;
	random_seed(&random, seed);
	random_seed(&leaf_random, seed + 1);
	uint8_t *data = mem_alloc(t->size_max);
	for (uint64_t i = 0; i < runs; i++) {
		struct slice a = inputs->input[random_below(&random, inputs->count)];
		struct slice b = inputs->input[random_below(&random, inputs->count)];
		size_t size = a.len < t->size_max ? a.len : t->size_max;
		if (random_chance(&random, 1, 8))
			size = fuzz_cross(t, a, b, data, t->size_max, &random);
		else if (size)
			memcpy(data, a.ptr, size);
		for (uint64_t m = 1 + random_below(&random, 6); m > 0; m--)
			size = fuzz_mutate(t, data, size, t->size_max, &random, leaf);
		keep(slice_of(data, size));
		run_one(t, slice_of(data, size));
	}
	mem_free(data);
}

/* ---- the test suite ---------------------------------------------------------------------- */

START_TEST(target_holds)
{
	const struct fuzz_target *t = fuzz_targets[_i];
	struct fuzz_seeds inputs = {0};
	all_inputs(t, &inputs);
	ck_assert_uint_gt(inputs.count, 0);
	for (size_t i = 0; i < inputs.count; i++)
		run_one(t, inputs.input[i]);
	unsigned runs =
		share(2 * t->runs); /* sanitizers are for these: half a share is too few */
	runs = runs < t->runs ? runs : t->runs;
	run_mutations(t, &inputs, runs, 1);
	printf("%-12s %5zu inputs, %6u mutations\n", t->name, inputs.count, runs);
	fflush(stdout);
	seeds_free(&inputs);
}
END_TEST

static int suite(void)
{
	Suite *s = suite_create("fuzz");
	TCase *c = tcase_create("targets");
	int count = 0;
	while (fuzz_targets[count])
		count++;
	tcase_set_timeout(c, 600);
	tcase_add_loop_test(c, target_holds, 0, count);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- by hand ----------------------------------------------------------------------------- */

static int write_seeds(const struct fuzz_target *t, const char *directory)
{
	struct fuzz_seeds seeds = {0};
	if (mkdir(directory, 0777) && errno != EEXIST) {
		perror(directory);
		return EXIT_FAILURE;
	}
	t->seeds(&seeds);
	for (size_t i = 0; i < seeds.count; i++) {
		char *path = mem_printf("%s/seed-%04zu", directory, i);
		FILE *f = fopen(path, "wb");
		if (!f ||
		    fwrite(seeds.input[i].ptr, 1, seeds.input[i].len, f) !=
			    seeds.input[i].len ||
		    fclose(f)) {
			perror(path);
			return EXIT_FAILURE;
		}
		mem_free(path);
	}
	printf("%s: %zu seeds\n", t->name, seeds.count);
	seeds_free(&seeds);
	return EXIT_SUCCESS;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: check-fuzz [--list | --size TARGET | --seeds TARGET DIRECTORY |\n"
		"                   --runs N [--seed S] TARGET | TARGET FILE...]\n");
	return 2;
}

static int by_hand(int argc, char **argv)
{
	uint64_t runs = 0, seed = 1;
	bool seeds = false, size = false;
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--list") == 0) {
			for (unsigned t = 0; fuzz_targets[t]; t++)
				puts(fuzz_targets[t]->name);
			return EXIT_SUCCESS;
		}
		if (strcmp(argv[i], "--seeds") == 0)
			seeds = true;
		else if (strcmp(argv[i], "--size") == 0)
			size = true;
		else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
			runs = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 10);
		else
			return usage();
	}
	const struct fuzz_target *t = i < argc ? fuzz_find(argv[i++]) : NULL;
	if (!t || (seeds && i + 1 != argc))
		return usage();
	if (seeds)
		return write_seeds(t, argv[i]);
	if (size) {
		printf("%u\n", t->size_max);
		return EXIT_SUCCESS;
	}
	struct fuzz_seeds inputs = {0};
	if (runs) {
		all_inputs(t, &inputs);
		run_mutations(t, &inputs, runs, seed);
	}
	for (; i < argc; i++)
		read_inputs(argv[i], &inputs);
	for (size_t k = 0; k < inputs.count && !runs; k++)
		run_one(t, inputs.input[k]);
	printf("%s: %zu inputs, %llu mutations\n", t->name, inputs.count,
	       (unsigned long long)runs);
	seeds_free(&inputs);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	crypto_init();
	return argc > 1 ? by_hand(argc, argv) : suite();
}
