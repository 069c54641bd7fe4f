#include "node/committed.h"

/* The block at height from disk, with what makes it final. */
static int read_block(struct replica *r, uint64_t height, struct finality **out)
{
	struct certified_header ch;
	struct block *b;
	int err = replica_block(r, height, &b);
	if (err)
		return err;
	err = replica_certified_header(r, height, &ch);
	if (!err) {
		struct hash named;
		header_hash(&named, &ch.headers[0].h);
		if (hash_equal(&named, &b->hash))
			*out = finality_of(b, &ch);
		else
			err = ERR_CORRUPT; /* two records of one disk */
		certified_header_free(&ch);
	}
	block_drop(b);
	return err;
}

static struct finality *move_to_front(struct committed *c, unsigned i)
{
	uint64_t height = c->block[i].height;
	struct finality *f = c->block[i].finality;
	for (; i > 0; i--)
		c->block[i] = c->block[i - 1];
	c->block[0].height = height;
	c->block[0].finality = f;
	return f;
}

static int find_block(struct committed *c, struct replica *r, uint64_t height,
		      struct finality **out)
{
	unsigned last = COMMITTED_BLOCKS - 1;
	for (unsigned i = 0; i < COMMITTED_BLOCKS; i++)
		if (c->block[i].finality && c->block[i].height == height) {
			*out = move_to_front(c, i);
			return ERR_NONE;
		}
	int err = read_block(r, height, out);
	if (err)
		return err;
	finality_drop(c->block[last].finality);
	c->block[last].height = height;
	c->block[last].finality = *out;
	move_to_front(c, last);
	return ERR_NONE;
}

int committed_prove(struct committed *c, struct replica *r, const struct hash *id,
		    struct proof_document *out)
{
	struct finality *f = NULL;
	uint64_t height;
	uint32_t index;
	int err = ledger_find_tx(replica_ledger(r), id, &height, &index);
	if (!err)
		err = find_block(c, r, height, &f);
	if (!err && index >= finality_block(f, 0)->tx_count)
		err = ERR_CORRUPT;
	if (!err)
		finality_prove(f, 0, index, out);
	return err;
}

void committed_free(struct committed *c)
{
	for (unsigned i = 0; i < COMMITTED_BLOCKS; i++) {
		finality_drop(c->block[i].finality);
		c->block[i].finality = NULL;
	}
}
