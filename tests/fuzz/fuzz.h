/* Fuzz targets: one table for two programs. check-fuzz (any compiler, in `make check`) replays
 * the seeds, tests/fuzz/corpus and tests/fuzz/crashes and then mutates by itself, the same way
 * each time; fuzz-libfuzzer (--enable-fuzzers) is guided by coverage. docs/testing.md has the
 * commands.
 *
 * A target aborts, by invariant() or a sanitizer, when something is wrong; it returns
 * otherwise. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/bytes.h"
#include "base/mem.h"
#include "base/random.h"

/* What the mutator knows of a target's inputs. */
enum fuzz_shape {
	FUZZ_BYTES,  /* nothing */
	FUZZ_NESTED, /* big-endian u32 lengths before what they count, however deep */
	FUZZ_OPS,    /* {u8 op, u16 length, bytes} repeated; the bytes are taken as NESTED */
	FUZZ_TEXT,   /* words from the target's dictionary */
};

struct fuzz_seeds {
	struct slice *input; /* owned */
	size_t count, cap;
};
void fuzz_seed(struct fuzz_seeds *out, struct slice bytes); /* copied */
void seeds_free(struct fuzz_seeds *s);

struct fuzz_target {
	const char *name;
	enum fuzz_shape shape;
	uint32_t size_max;
	uint32_t runs; /* of check-fuzz's own mutations */
	void (*one)(struct slice in);
	void (*seeds)(struct fuzz_seeds *out);
	const char *const *words; /* TEXT; ends with NULL */
};
extern const struct fuzz_target *const fuzz_targets[]; /* ends with NULL */
const struct fuzz_target *fuzz_find(const char *name); /* or NULL */

/* ---- ops --------------------------------------------------------------------------------- */

void fuzz_op(struct writer *w, uint8_t op, struct slice payload);
/* The next op; a length that goes beyond the end takes what is there. */
bool fuzz_next_op(struct reader *r, uint8_t *op, struct slice *payload);

/* ---- files (scratch.c) ------------------------------------------------------------------- */

const char *fuzz_scratch(void); /* a directory; it goes with the process */
/* Writes NAME there; the path, lent until the next call. */
const char *fuzz_scratch_file(const char *name, struct slice bytes);
void fuzz_scratch_clear(void); /* removes the files in it */

/* ---- mutation (mutate.c) ----------------------------------------------------------------- */

/* Mutates size bytes, of at most max, without knowledge of structure; returns the new size. */
typedef size_t fuzz_leaf(uint8_t *data, size_t size, size_t max);
size_t fuzz_mutate(const struct fuzz_target *t, uint8_t *data, size_t size, size_t max,
		   struct random *random, fuzz_leaf *leaf);
/* A mixture of two inputs. */
size_t fuzz_cross(const struct fuzz_target *t, struct slice a, struct slice b, uint8_t *out,
		  size_t max, struct random *random);
/* A leaf for where there is no libFuzzer. */
size_t fuzz_plain_leaf(struct random *random, uint8_t *data, size_t size, size_t max);

#endif
