/* Proofs from a node that lies: whatever verifies is true. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "tests/fuzz/targets.h"
#include "tests/ledger/world.h"

#define HEIGHT 5

static struct world w;
static struct block *blocks[HEIGHT + 1]; /* by height */

static const char *const keys[] = {"name", "empty", "k3",  "k7",   "k12", "k25",
				   "k31",  "k50",   "k77", "none", "kk",  "gone"};

static void make_world(void)
{
	if (blocks[0])
		return;
	world_init(&w, 1000);
	blocks[0] = block_hold(w.block0);
	for (unsigned h = 1; h <= HEIGHT; h++) {
		struct slice txs[7];
		txs[0] = world_put(&w, 0, h, "name", h & 1 ? "odd" : "even");
		txs[1] = world_put(&w, 1, h, "empty", "");
		for (unsigned i = 2; i < 6; i++) {
			char key[5][16];
			struct op ops[5];
			for (unsigned k = 0; k < 5; k++) {
				snprintf(key[k], sizeof key[k], "k%u", h * 20 + i * 5 + k - 30);
				ops[k] = op_put(key[k], key[k]);
			}
			txs[i] = world_tx(&w, &w.client[i], h, 90, ops, 5);
		}
		struct op gone = h == HEIGHT ? op_delete("gone") : op_put("gone", "here");
		txs[6] = world_tx(&w, &w.client[6], h, 90, &gone, 1);
		blocks[h] = block_hold(world_commit(&w, txs, h == 1 ? 1 : 7));
		world_free_txs(txs, 7);
	}
}

/* ---- the tree's proofs ------------------------------------------------------------------- */

/* u8 key, u8 what is claimed: 0 the truth, 1 absence, 2 another value; then the proof. */
static void state_one(struct slice in)
{
	struct writer key, value = {0};
	struct slice truth, other = slice_str("another"), nothing = slice_str("");
	make_world();
	if (in.len < 2)
		return;
	const char *name = keys[in.ptr[0] % MEM_COUNT(keys)];
	struct slice proof = slice_of(in.ptr + 2, in.len - 2);
	key = world_key(STATE_NS_USER, name, strlen(name));
	bool present =
		ledger_get(w.ledger, writer_slice(&key), HEIGHT, &value, NULL) == ERR_NONE;
	truth = present && value.len ? writer_slice(&value) : nothing;
	const struct slice *claims[] = {present ? &truth : NULL, NULL, &other, &nothing};
	const struct slice *claim = claims[in.ptr[1] % MEM_COUNT(claims)];
	bool is_true = claim ? present && slice_equal(*claim, truth) : !present;
	int err = state_proof_check(proof, ledger_root(w.ledger), writer_slice(&key), claim);
	invariant(err || is_true);
	if (!err)
		invariant(state_proof_claims_value(proof) == (claim != NULL) || !claim);
	else
		state_proof_claims_value(proof);
	writer_free(&key);
	writer_free(&value);
}

static void state_seeds(struct fuzz_seeds *out)
{
	make_world();
	for (uint8_t i = 0; i < MEM_COUNT(keys); i++) {
		struct writer key = world_key(STATE_NS_USER, keys[i], strlen(keys[i]));
		struct writer value = {0}, proof = {0}, seed = {0};
		ledger_get(w.ledger, writer_slice(&key), HEIGHT, &value, &proof);
		writer_u8(&seed, i);
		writer_u8(&seed, 0);
		writer_raw(&seed, proof.buf, proof.len);
		fuzz_seed(out, writer_slice(&seed));
		writer_free(&key);
		writer_free(&value);
		writer_free(&proof);
		writer_free(&seed);
	}
}

const struct fuzz_target fuzz_state_proof = {.name = "state-proof",
					     .shape = FUZZ_NESTED,
					     .size_max = 4096,
					     .runs = 20000,
					     .one = state_one,
					     .seeds = state_seeds};

/* ---- documents --------------------------------------------------------------------------- */

static void certify(struct certified_header *c, unsigned height, unsigned cert_height)
{
	*c = (struct certified_header){.count = cert_height - height + 1};
	c->headers = mem_array(c->count, sizeof *c->headers);
	for (unsigned h = height; h <= cert_height; h++)
		c->headers[h - height] = blocks[h]->sh;
	if (height > 0)
		world_cert(&w, blocks[cert_height], CERT_ONE_ROUND, w.ctx.quorum.qf, &c->cert);
}

static struct slice taken(struct writer *from)
{
	size_t len;
	uint8_t *ptr = writer_take(from, &len);
	return slice_of(ptr, len);
}

static void document_seed(struct fuzz_seeds *out, struct proof_document *d)
{
	char *json = proof_document_json(d, &w.ctx);
	fuzz_seed(out, slice_str(json));
	mem_free(json);
	proof_document_free(d);
}

static void state_document(struct fuzz_seeds *out, const char *name, unsigned height)
{
	struct proof_document d;
	struct writer key = world_key(STATE_NS_USER, name, strlen(name)), value = {0},
		      proof = {0};
	proof_document_init(&d);
	d.kind = PROOF_STATE;
	d.present = !ledger_get(w.ledger, writer_slice(&key), height, &value, &proof);
	d.state_key = taken(&key);
	if (d.present)
		d.value = taken(&value);
	d.proof = taken(&proof);
	certify(&d.ch, height, height + (height < HEIGHT && height % 2));
	document_seed(out, &d);
	writer_free(&value);
}

static void tx_document(struct fuzz_seeds *out, unsigned height, uint32_t index)
{
	struct proof_document d;
	struct hash leaves[16];
	const struct block *b = blocks[height];
	struct slice tx = block_tx_bytes(b, index);
	proof_document_init(&d);
	d.kind = PROOF_TX;
	d.tx = slice_of(mem_dup(tx.ptr, tx.len), tx.len);
	d.result = b->tx[index].result;
	block_leaves(leaves, b);
	merkle_prove(&d.path, leaves, b->tx_count, index);
	certify(&d.ch, height, HEIGHT);
	document_seed(out, &d);
}

static void document_seeds(struct fuzz_seeds *out)
{
	make_world();
	for (unsigned i = 0; i < MEM_COUNT(keys); i++)
		state_document(out, keys[i], i % (HEIGHT + 1));
	for (unsigned h = 1; h <= HEIGHT; h++)
		tx_document(out, h, h == 1 ? 0 : h);
}

/* A verified document says what the ledger says. */
static void must_be_true(const struct proof_document *d)
{
	uint64_t height = d->ch.headers[0].h.height;
	struct hash hash;
	header_hash(&hash, &d->ch.headers[0].h);
	invariant(height <= HEIGHT && hash_equal(&hash, &blocks[height]->hash));
	if (d->kind == PROOF_STATE) {
		struct writer value = {0};
		bool present = !ledger_get(w.ledger, d->state_key, height, &value, NULL);
		invariant(present == d->present);
		invariant(!present || slice_equal(writer_slice(&value), d->value));
		writer_free(&value);
		return;
	}
	const struct block *b = blocks[height];
	invariant(d->path.index < b->tx_count);
	invariant(slice_equal(block_tx_bytes(b, (uint32_t)d->path.index), d->tx));
	invariant(b->tx[d->path.index].result == d->result);
}

static void document_one(struct slice in)
{
	struct proof_document d, again;
	struct errmsg m = {.text = ""};
	make_world();
	if (proof_document_parse(&d, in, &m)) {
		invariant(m.text[0]);
		return;
	}
	if (!proof_document_check(&d, &w.genesis, &m)) {
		must_be_true(&d);
		char *json = proof_document_json(&d, &w.ctx);
		invariant(!proof_document_parse(&again, slice_str(json), &m));
		char *twice = proof_document_json(&again, &w.ctx);
		invariant(strcmp(json, twice) == 0);
		mem_free(json);
		mem_free(twice);
		proof_document_free(&again);
	} else {
		invariant(m.text[0]);
	}
	proof_document_free(&d);
}

static const char *const words[] = {"kind",	   "state",
				    "transaction", "key",
				    "value",	   "null",
				    "height",	   "proof",
				    "tx",	   "result",
				    "ok",	   "failed_cas",
				    "path",	   "index",
				    "count",	   "term",
				    "hash",	   "certificate",
				    "signers",	   "signatures",
				    "headers",	   "header",
				    "text",	   "hex",
				    "base64",	   "\"",
				    "[]",	   "{}",
				    "0",	   "1",
				    "-1",	   "4294967296",
				    "true",	   ",",
				    "one_round",   "two_round",
				    "checkpoint",  "18446744073709551615",
				    NULL};

const struct fuzz_target fuzz_proof = {.name = "proof",
				       .shape = FUZZ_TEXT,
				       .size_max = 16384,
				       .runs = 5000,
				       .one = document_one,
				       .seeds = document_seeds,
				       .words = words};
