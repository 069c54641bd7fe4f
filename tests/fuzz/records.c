/* A data directory whose records somebody has changed: a replica refuses to start, or runs. */
#include "replica/private.h"
#include "tests/fuzz/record.h"
#include "tests/fuzz/targets.h"

/* Each op changes one record: u8 family, u8 which (0..: in order; 255: a new one, of the same
 * key but for its first byte), u8 how, bytes. 0 the bytes are the value; 1 XOR at the u16 that
 * leads them; 2 cut there; 3 delete; 4 the value goes to the key that the bytes are */

struct image { /* of a store: owned */
	struct record {
		enum store_family family;
		struct slice key, value;
	} * records;
	uint32_t count;
	const struct sim *world;
	unsigned self;
	uint64_t height;
};
#define IMAGES	    3
#define RECORDS_MAX 1024

static struct image images[IMAGES];

static struct slice keep(struct slice s)
{
	return slice_of(s.len ? mem_dup(s.ptr, s.len) : NULL, s.len);
}

static void copy_store(struct image *image, struct store *store)
{
	struct slice key, value;
	image->records = mem_array(RECORDS_MAX, sizeof *image->records);
	for (unsigned f = 0; f < STORE_FAMILIES; f++) {
		struct store_iter *it =
			store_iter_new(store, f, slice_of(NULL, 0), slice_of(NULL, 0), false);
		while (image->count < RECORDS_MAX && store_iter_next(it, &key, &value))
			image->records[image->count++] =
				(struct record){f, keep(key), keep(value)};
		store_iter_free(it);
	}
	invariant(image->count < RECORDS_MAX);
}

static void snap(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct image *image = ctx;
	if (image->count || s->log_len < 10 || !s->node[image->self].replica)
		return;
	image->height = s->node[image->self].final;
	copy_store(image, s->node[image->self].store);
}

static void make_images(void)
{
	static const unsigned runs[IMAGES] = {1, 5, 8};
	for (unsigned i = 0; i < IMAGES; i++) {
		struct image *image = &images[i];
		image->self = i + 1;
		struct recording r = {.message = snap, .ctx = image};
		record(runs[i], &r);
		invariant(image->count > 0);
		image->world = forge_world(r.options.nodes, r.options.protocol, r.options.calm);
	}
}

/* ---- the host of a replica that nobody hears --------------------------------------------- */

static void host_send(void *ctx, const struct message *m)
{
}
static bool host_sync(void *ctx, uint64_t seq)
{
	store_sync(ctx);
	return true;
}
static void host_final(void *ctx, struct block *b, const struct cert *c)
{
}
static void host_rejected(void *ctx, const struct hash *id, int err)
{
}
static void host_halted(void *ctx, const char *why)
{
}
static uint64_t host_wall_ms(void *ctx)
{
	return 1700000000000;
}
static void each_evidence(void *ctx, struct slice bytes)
{
	*(uint64_t *)ctx += bytes.len;
}

static void read_all(struct replica *r, const struct image *image)
{
	struct block *b;
	struct proof_document d;
	struct certified_header ch;
	uint64_t bytes = 0;
	struct slice key = slice_str("k"
				     "key");
	for (uint64_t h = 0; h <= image->height + 2; h++) {
		if (!replica_block(r, h, &b)) {
			for (uint32_t i = 0; i < b->tx_count && i < 2; i++) {
				proof_document_init(&d);
				if (!replica_prove_tx(r, &b->tx[i].id, &d))
					mem_free(proof_document_json(&d, replica_ctx(r)));
				proof_document_free(&d);
			}
			block_drop(b);
		}
		if (!replica_certified_header(r, h, &ch))
			certified_header_free(&ch);
		proof_document_init(&d);
		replica_prove_state(r, key, h, &d);
		proof_document_free(&d);
	}
	replica_each_evidence(r, each_evidence, &bytes);
}

static void run(struct store *store, const struct image *image)
{
	struct errmsg m;
	struct replica *r;
	struct replica_config config = {.genesis = &image->world->genesis,
					.store = store,
					.self = image->self,
					.key = image->world->node[image->self].key,
					.seed = 1,
					.now = 1000000,
					.verify_txs = true,
					.host = {.ctx = store,
						 .send = host_send,
						 .sync = host_sync,
						 .final = host_final,
						 .rejected = host_rejected,
						 .halted = host_halted,
						 .wall_ms = host_wall_ms}};
	if (replica_open(&r, &config, &m))
		return;
	for (uint64_t now = 1000000; now < 3000000; now += 250000)
		replica_tick(r, now);
	/* somebody catches up from us */
	struct writer w = {0};
	for (uint64_t h = 0; h < image->height; h += 4) {
		struct msg_fetch fetch = {.from_height = h};
		writer_reset(&w);
		msg_fetch_encode(&w, &fetch);
		replica_message(r, 3000000 + h, image->self ? 0 : 1, writer_slice(&w));
	}
	writer_free(&w);
	read_all(r, image);
	replica_close(r);
}

/* ---- changes ----------------------------------------------------------------------------- */

static const struct record *pick(const struct image *image, unsigned family, unsigned which)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < image->count; i++)
		count += image->records[i].family == family;
	if (!count)
		return NULL;
	which %= count;
	for (uint32_t i = 0;; i++)
		if (image->records[i].family == family && which-- == 0)
			return &image->records[i];
}

static void change(const struct image *image, struct store_batch *batch, struct slice payload)
{
	struct reader r;
	reader_init(&r, payload);
	unsigned family = reader_u8(&r) % STORE_FAMILIES, which = reader_u8(&r);
	uint8_t how = reader_u8(&r);
	const struct record *record = pick(image, family, which);
	if (!record || r.err)
		return;
	struct slice rest = slice_of(r.ptr, r.left);
	size_t at = rest.len >= 2 ? (size_t)rest.ptr[0] << 8 | rest.ptr[1] : 0;
	uint8_t *value = mem_alloc(record->value.len + 1);
	if (record->value.len)
		memcpy(value, record->value.ptr, record->value.len);
	switch (how % 5) {
	case 0:
		store_batch_put(batch, family, record->key, rest);
		break;
	case 1:
		for (size_t i = 2; i < rest.len && record->value.len; i++)
			value[(at + i - 2) % record->value.len] ^= rest.ptr[i];
		store_batch_put(batch, family, record->key, slice_of(value, record->value.len));
		break;
	case 2:
		store_batch_put(batch, family, record->key,
				slice_of(value, at % (record->value.len + 1)));
		break;
	case 3:
		store_batch_delete(batch, family, record->key);
		break;
	default:
		store_batch_put(batch, family, rest, record->value);
	}
	mem_free(value);
}

static void one(struct slice in)
{
	struct reader r;
	struct slice payload;
	uint8_t op;
	if (!images[0].count)
		make_images();
	reader_init(&r, in);
	const struct image *image = &images[in.len ? in.ptr[0] % IMAGES : 0];
	struct store *store = store_open_memory();
	invariant(replica_first_votes(store) == ERR_NONE);
	struct store_batch *batch = store_batch_new();
	for (uint32_t i = 0; i < image->count; i++)
		store_batch_put(batch, image->records[i].family, image->records[i].key,
				image->records[i].value);
	while (fuzz_next_op(&r, &op, &payload))
		change(image, batch, payload);
	invariant(store_write(store, batch, true) == ERR_NONE);
	store_batch_free(batch);
	run(store, image);
	store_close(store);
}

static void seeds(struct fuzz_seeds *out)
{
	if (!images[0].count)
		make_images();
	for (uint8_t i = 0; i < IMAGES; i++) {
		uint8_t seen[STORE_FAMILIES] = {0};
		for (uint32_t k = 0; k < images[i].count; k++) {
			const struct record *record = &images[i].records[k];
			uint8_t which = seen[record->family]++;
			if (which > 40 || which % 3 != i || record->value.len > 8000)
				continue;
			struct writer payload = {0}, w = {0};
			writer_u8(&payload, (uint8_t)record->family);
			writer_u8(&payload, which);
			writer_u8(&payload, 0);
			writer_raw(&payload, record->value.ptr, record->value.len);
			fuzz_op(&w, i, writer_slice(&payload));
			for (uint8_t how = 1; how < 5 && which < 6; how++) {
				uint8_t small[] = {
					(uint8_t)record->family, which, how, 0, 9, 1, 2};
				struct writer other = {0};
				fuzz_op(&other, i, slice_of(small, sizeof small));
				fuzz_seed(out, writer_slice(&other));
				writer_free(&other);
			}
			fuzz_seed(out, writer_slice(&w));
			writer_free(&payload);
			writer_free(&w);
		}
	}
}

const struct fuzz_target fuzz_records = {.name = "records",
					 .shape = FUZZ_OPS,
					 .size_max = 16384,
					 .runs = 1500,
					 .one = one,
					 .seeds = seeds};
