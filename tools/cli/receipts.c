#include "tools/cli/receipts.h"

#include "base/mem.h"

#define KNOWN_BLOCKS 1024 /* what falls out is verified again when it comes up again */

struct known {
	bool used;
	struct hash hash;
	struct header header;
	enum cert_kind grade;
	uint64_t signers;
};

struct receipt_checker {
	struct target *t;
	uint64_t certificates;
	struct known known[KNOWN_BLOCKS];
};

struct receipt_checker *receipt_checker_new(struct target *t)
{
	struct receipt_checker *k = mem_zalloc(sizeof *k);

	k->t = t;
	return k;
}

void receipt_checker_free(struct receipt_checker *k)
{
	mem_free(k);
}

uint64_t receipt_checker_certificates(const struct receipt_checker *k)
{
	return k->certificates;
}

static int learn(struct receipt_checker *k, struct slice chain, struct known *out)
{
	struct target *t = k->t;
	struct certified_header ch;
	int err = certified_header_decode(chain, &ch);

	if (err != ERR_NONE)
		return err;
	out->used = false;
	err = target_check_header(t, &ch);
	if (err == ERR_NONE) {
		k->certificates++;
		*out = (struct known){.used = true,
				      .header = ch.headers[0].h,
				      .grade = target_proves(t) ? ch.cert.kind : CERT_CRASH,
				      .signers = ch.cert.signers};
		header_hash(&out->hash, &out->header);
	}
	certified_header_free(&ch);
	return err;
}

/* The block at the head of a chain, known to be final. */
static int block_of(struct receipt_checker *k, struct slice chain, const struct known **out)
{
	struct signed_header sh;
	struct reader r;
	struct hash h;
	uint64_t slot;
	int err;

	reader_init(&r, chain);
	reader_u32(&r);
	signed_header_decode(&r, &sh);
	if (r.err)
		return r.err;
	header_hash(&h, &sh.h);
	slot = load_be64(h.b) % KNOWN_BLOCKS;
	*out = &k->known[slot];
	if ((*out)->used && hash_equal(&(*out)->hash, &h))
		return ERR_NONE;
	err = learn(k, chain, &k->known[slot]);
	return err;
}

int receipt_check(struct receipt_checker *k, const struct receipts *a,
		  const struct receipt_entry *e, struct slice tx, struct receipt *out,
		  struct errmsg *m)
{
	const struct known *block;
	struct hash leaf;
	int err;

	if (e->chain == RECEIPTS_NO_CHAIN)
		return err_set(m, ERR_BAD_PROOF, "there is no proof in the answer");
	err = block_of(k, a->chains[e->chain], &block);
	if (err != ERR_NONE)
		return err_set(m, err, "the block is not proven final: %s", err_text(err));
	body_leaf(&leaf, e->result, tx);
	if (e->path.count != block->header.tx_count ||
	    merkle_verify(&e->path, &leaf, &block->header.tx_root) != ERR_NONE)
		return err_set(m, ERR_BAD_PROOF, "the transaction is not in the block");
	*out = (struct receipt){.fate = FATE_COMMITTED,
				.height = block->header.height,
				.term = block->header.term,
				.time_ms = block->header.time_ms,
				.index = e->path.index,
				.result = e->result,
				.grade = block->grade,
				.signers = block->signers};
	return ERR_NONE;
}
