/* The ledger's record in STORE_META, and the cache of verified signatures. */
#include "ledger/private.h"

/* 1: values by state key, not by its hash. 2: only whole records of nodes, which are read as
 * ever; the next block makes it 3. */
#define META_VERSION 3
#define META_OLDEST  2
#define META_MAGIC   "ostrledg"
#define META_KEY     "ledger"

void meta_put(struct writer *scratch, struct store_batch *batch, const struct chain_ctx *ctx,
	      const struct ledger_meta *meta)
{
	writer_reset(scratch);
	writer_raw(scratch, META_MAGIC, sizeof(META_MAGIC) - 1);
	writer_u16(scratch, META_VERSION);
	writer_hash(scratch, &ctx->id);
	writer_u64(scratch, meta->height);
	writer_hash(scratch, &meta->block);
	writer_hash(scratch, &meta->root);
	writer_u64(scratch, meta->keys);
	writer_u64(scratch, meta->oldest);
	store_batch_put(batch, STORE_META, slice_str(META_KEY), writer_slice(scratch));
}

static int decode(struct slice record, const struct chain_ctx *ctx, struct ledger_meta *out,
		  struct errmsg *m)
{
	struct reader r;
	struct hash chain;
	char theirs[HASH_HEX_SIZE], ours[HASH_HEX_SIZE];

	reader_init(&r, record);
	struct slice magic = reader_take(&r, sizeof(META_MAGIC) - 1);
	uint16_t version = reader_u16(&r);
	if (r.err || !slice_equal(magic, slice_str(META_MAGIC)) || version == 0)
		return err_set(m, ERR_CORRUPT,
			       "this is not a ledger: its first record is something else's");
	if (version > META_VERSION)
		return err_set(m, ERR_VERSION,
			       "the ledger's format is version %u, this program knows up to "
			       "%u: use a newer program",
			       version, META_VERSION);
	if (version < META_OLDEST)
		return err_set(m, ERR_VERSION,
			       "the ledger's format is version %u, of an earlier program: "
			       "`ostrakon db repair` makes it anew from its blocks",
			       version);
	reader_hash(&r, &chain);
	if (!r.err && !hash_equal(&chain, &ctx->id))
		return err_set(m, ERR_WRONG_CHAIN,
			       "the ledger belongs to chain %s, the genesis file is of chain "
			       "%s: use that chain's genesis file, or another directory",
			       hash_hex(theirs, &chain), hash_hex(ours, &ctx->id));
	out->height = reader_u64(&r);
	reader_hash(&r, &out->block);
	reader_hash(&r, &out->root);
	out->keys = reader_u64(&r);
	out->oldest = reader_u64(&r);
	if (reader_finish(&r))
		return err_set(m, ERR_CORRUPT, "the ledger's first record is damaged");
	return ERR_NONE;
}

int meta_get(struct store *s, const struct chain_ctx *ctx, struct ledger_meta *out,
	     struct errmsg *m)
{
	struct writer record = {0};
	int err = store_get(s, STORE_META, slice_str(META_KEY), &record);
	if (!err)
		err = decode(writer_slice(&record), ctx, out, m);
	else if (err != ERR_NOT_FOUND)
		err_set(m, err, "cannot read the ledger's first record: %s", err_text(err));
	writer_free(&record);
	return err;
}

void verified_add(struct verified *v, const struct hash *id)
{
	if (map_get(&v->ids, id->b))
		return;
	if (v->next == v->cap && v->cap < LEDGER_VERIFIED_MAX) {
		v->cap = v->cap ? 2 * v->cap : 1024;
		v->ring = mem_realloc(v->ring, v->cap * sizeof(*v->ring));
	}
	if (v->next == v->cap) {
		v->next = 0;
		v->full = true;
	}
	if (v->full)
		map_remove(&v->ids, v->ring[v->next].b);
	v->ring[v->next++] = *id;
	map_put(&v->ids, id->b, v);
}

bool verified_has(const struct verified *v, const struct hash *id)
{
	return map_get(&v->ids, id->b) != NULL;
}

void verified_free(struct verified *v)
{
	map_free(&v->ids);
	mem_free(v->ring);
}
