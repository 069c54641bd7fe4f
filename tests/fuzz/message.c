/* Messages of the hybrid protocol: what decodes has one encoding. */
#include "tests/fuzz/record.h"
#include "tests/fuzz/targets.h"

static void one(struct slice in)
{
	static struct message_in *m;
	static struct forge forge;
	struct writer again = {0}, mended = {0};
	if (!m) {
		m = mem_zalloc(sizeof *m);
		forge_init(&forge, forge_world(4, PROTOCOL_HYBRID, false));
	}
	if (!message_decode(m, in)) {
		message_encode(&again, m);
		invariant(slice_equal(writer_slice(&again), in));
		message_free(m);
	}
	if (forge_mend(&forge, in, FORGE_SIGN | FORGE_BLOCKS, &mended))
		if (!message_decode(m, writer_slice(&mended)))
			message_free(m);
	writer_free(&again);
	writer_free(&mended);
}

#define SEED_MAX 6000

struct sampler {
	struct fuzz_seeds *out;
	uint32_t taken[MESSAGE_TYPES];
	size_t sizes[MESSAGE_TYPES]; /* of the largest so far: only news are taken */
};

static void sample(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct sampler *p = ctx;
	if (m->type >= MESSAGE_TYPES || m->bytes.len > SEED_MAX)
		return;
	if (p->taken[m->type] >= 6 || m->bytes.len == p->sizes[m->type])
		return;
	p->taken[m->type]++;
	p->sizes[m->type] = m->bytes.len;
	fuzz_seed(p->out, m->bytes);
}

static void seeds(struct fuzz_seeds *out)
{
	for (unsigned i = 0; i < RECORDINGS; i++) {
		struct sampler p = {.out = out};
		struct recording r = {.message = sample, .ctx = &p};
		record(i, &r);
	}
}

const struct fuzz_target fuzz_message = {.name = "message",
					 .shape = FUZZ_NESTED,
					 .size_max = 16384,
					 .runs = 20000,
					 .one = one,
					 .seeds = seeds};
