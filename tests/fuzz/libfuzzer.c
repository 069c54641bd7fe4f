/* Glue to libFuzzer. FUZZ_TARGET in the environment says which target. */
#include <stdio.h>
#include <stdlib.h>

#include "crypto/sign.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
				 uint8_t *out, size_t max, unsigned int seed);

static const struct fuzz_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *name = getenv("FUZZ_TARGET");
	target = name ? fuzz_find(name) : NULL;
	if (!target) {
		fprintf(stderr, "FUZZ_TARGET must name one of:");
		for (unsigned i = 0; fuzz_targets[i]; i++)
			fprintf(stderr, " %s", fuzz_targets[i]->name);
		fprintf(stderr, "\n");
		exit(2);
	}
	crypto_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size <= target->size_max)
		target->one(slice_of(data, size));
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	struct random random;
	random_seed(&random, seed);
	if (random_chance(&random, 1, 4))
		return LLVMFuzzerMutate(data, size, max);
	return fuzz_mutate(target, data, size, max, &random, LLVMFuzzerMutate);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
				 uint8_t *out, size_t max, unsigned int seed)
{
	struct random random;
	random_seed(&random, seed);
	return fuzz_cross(target, slice_of(a, a_len), slice_of(b, b_len), out, max, &random);
}
