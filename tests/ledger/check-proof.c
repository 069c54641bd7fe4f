/* State proofs and certified headers: what is true is accepted, and nothing else. */
#include "ledger/tree.h"
#include "tests/ledger/check-ledger.h"
#include "tests/share.h"

static struct world w;

static void setup(void)
{
	world_init(&w, 1000);
}

static void teardown(void)
{
	world_free(&w);
}

static void fill(unsigned keys)
{
	struct slice *txs = mem_array(keys, sizeof(*txs));
	char key[24], value[24];
	for (unsigned i = 0; i < keys; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		snprintf(value, sizeof(value), "value-%u", i);
		txs[i] = world_put(&w, i % WORLD_CLIENTS, i / WORLD_CLIENTS + 1, key, value);
	}
	ck_assert_uint_eq(world_commit(&w, txs, keys)->tx_count, keys);
	world_free_txs(txs, keys);
	mem_free(txs);
}

static int prove(const char *key, uint64_t height, struct writer *value, struct writer *proof)
{
	struct writer k = world_key(STATE_NS_USER, key, strlen(key));
	int err = ledger_get(w.ledger, writer_slice(&k), height, value, proof);
	writer_free(&k);
	return err;
}

static int check(struct slice proof, const struct hash *root, const char *key,
		 const char *value)
{
	struct writer k = world_key(STATE_NS_USER, key, strlen(key));
	struct slice v = value ? slice_str(value) : slice_of(NULL, 0);
	int err = state_proof_check(proof, root, writer_slice(&k), value ? &v : NULL);
	writer_free(&k);
	return err;
}

/* A true proof of key's value (NULL: absence); everything near it is refused. */
static void exercise(const char *key, const char *value, bool every_bit)
{
	struct writer out = {0}, proof = {0};
	const struct hash *root = ledger_root(w.ledger);
	int err = prove(key, UINT64_MAX, &out, &proof);
	struct slice p = writer_slice(&proof);

	ck_assert_int_eq(err, value ? ERR_NONE : ERR_NOT_FOUND);
	ck_assert_int_eq(check(p, root, key, value), ERR_NONE);
	ck_assert(state_proof_claims_value(p) == (value != NULL));
	ck_assert_uint_le(p.len, STATE_PROOF_SIZE_MAX);
	ck_assert_int_ne(check(p, root, key, value ? NULL : "value"), ERR_NONE);
	ck_assert_int_ne(check(p, root, key, "other"), ERR_NONE);
	if (value) /* an empty place proves the absence of all that would be there */
		ck_assert_int_ne(check(p, root, "other", value), ERR_NONE);
	struct hash wrong = *root;
	wrong.b[31] ^= 1;
	ck_assert_int_eq(check(p, &wrong, key, value), ERR_BAD_PROOF);
	for (size_t len = 0; every_bit && len < p.len; len++) {
		uint8_t *part = mem_dup(p.ptr, len);
		ck_assert_int_ne(check(slice_of(part, len), root, key, value), ERR_NONE);
		mem_free(part);
	}
	size_t step = share_step() | 1;
	for (size_t bit = 0; every_bit && bit < 8 * p.len; bit += step) {
		proof.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert_int_ne(check(p, root, key, value), ERR_NONE);
		ck_assert_int_ne(check(p, root, key, value ? NULL : "value"), ERR_NONE);
		proof.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	writer_u8(&proof, 0);
	ck_assert_int_eq(check(writer_slice(&proof), root, key, value), ERR_TRAILING);
	writer_free(&out);
	writer_free(&proof);
}

START_TEST(small_trees)
{
	static const unsigned sizes[] = {1, 2, 5, 20, 100};
	char key[24], value[24];
	for (unsigned s = 0; s < MEM_COUNT(sizes); s++) {
		teardown();
		setup();
		fill(sizes[s]);
		for (unsigned i = 0; i < sizes[s] && i < 12; i++) {
			snprintf(key, sizeof(key), "key-%u", i);
			snprintf(value, sizeof(value), "value-%u", i);
			exercise(key, value, true);
			snprintf(key, sizeof(key), "absent-%u", i);
			exercise(key, NULL, true);
		}
	}
}
END_TEST

/* Both ends of a proof of absence come up: an empty place, and another key's leaf. */
START_TEST(absence)
{
	unsigned empty = 0, other = 0;
	char key[16];
	fill(150);
	for (unsigned i = 0; i < 300; i++) {
		struct writer out = {0}, proof = {0};
		snprintf(key, sizeof(key), "absent-%u", i);
		ck_assert_int_eq(prove(key, UINT64_MAX, &out, &proof), ERR_NOT_FOUND);
		empty += proof.buf[1] == 2;
		other += proof.buf[1] == 3;
		writer_free(&out);
		writer_free(&proof);
		exercise(key, NULL, i < 20);
	}
	ck_assert_uint_gt(empty, 20);
	ck_assert_uint_gt(other, 20);
	ck_assert_uint_eq(empty + other, 300);
}
END_TEST

START_TEST(empty_tree)
{
	teardown();
	world_init(&w, 0);
	exercise("anything", NULL, true);
}
END_TEST

/* The leaf of another key proves absence only where this key's leaf would have to be. */
START_TEST(leaf_of_elsewhere)
{
	struct writer out = {0}, proof = {0};
	struct hash mine, theirs;
	char key[16];
	fill(400);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		prove(key, UINT64_MAX, &out, &proof);
		/* As if the leaf that is there were "another" one, for any other key. */
		proof.buf[1] = 3;
		struct writer k = world_key(STATE_NS_USER, key, strlen(key));
		tree_key(&theirs, writer_slice(&k));
		writer_free(&k);
		struct hash value_hash;
		tree_value_hash(&value_hash, writer_slice(&out));
		writer_hash(&proof, &theirs);
		writer_hash(&proof, &value_hash);
		/* for itself: no */
		ck_assert_int_eq(check(writer_slice(&proof), ledger_root(w.ledger), key, NULL),
				 ERR_BAD_PROOF);
		for (unsigned j = 0; j < 200; j++) {
			char absent[16];
			snprintf(absent, sizeof(absent), "key-%u", j);
			k = world_key(STATE_NS_USER, absent, strlen(absent));
			tree_key(&mine, writer_slice(&k));
			writer_free(&k);
			ck_assert_int_ne(check(writer_slice(&proof), ledger_root(w.ledger),
					       absent, NULL),
					 ERR_NONE);
		}
	}
	writer_free(&out);
	writer_free(&proof);
}
END_TEST

START_TEST(random_mutations)
{
	struct writer out = {0}, proof = {0};
	struct random r;
	fill(300);
	random_seed(&r, 51);
	ck_assert_int_eq(prove("key-7", UINT64_MAX, &out, &proof), ERR_NONE);
	for (unsigned round = 0; round < 40000; round++) {
		size_t len = 1 + random_below(&r, proof.len + 40);
		uint8_t *copy = mem_zalloc(len);
		memcpy(copy, proof.buf, len < proof.len ? len : proof.len);
		for (uint64_t n = random_between(&r, 1, 4); n > 0; n--)
			copy[random_chance(&r, 1, 2) ? random_below(&r, len < 5 ? len : 5)
						     : random_below(&r, len)] ^=
				(uint8_t)random_between(&r, 1, 255);
		struct slice p = slice_of(copy, len);
		if (!slice_equal(p, writer_slice(&proof))) {
			ck_assert_int_ne(check(p, ledger_root(w.ledger), "key-7", "value-7"),
					 ERR_NONE);
			ck_assert_int_ne(check(p, ledger_root(w.ledger), "key-7", NULL),
					 ERR_NONE);
		}
		mem_free(copy);
	}
	writer_free(&out);
	writer_free(&proof);
}
END_TEST

START_TEST(historic)
{
	char value[16];
	struct hash roots[31];
	roots[0] = *ledger_root(w.ledger);
	for (unsigned h = 1; h <= 30; h++) {
		snprintf(value, sizeof(value), "%u", h);
		struct slice tx = world_put(&w, 0, h, "k", value);
		world_commit(&w, &tx, 1);
		mem_free((void *)tx.ptr);
		roots[h] = *ledger_root(w.ledger);
	}
	for (unsigned h = 0; h <= 30; h++) {
		struct writer out = {0}, proof = {0};
		snprintf(value, sizeof(value), "%u", h);
		int err = prove("k", h, &out, &proof);
		ck_assert_int_eq(err, h ? ERR_NONE : ERR_NOT_FOUND);
		for (unsigned other = 0; other <= 30; other++)
			ck_assert((check(writer_slice(&proof), &roots[other], "k",
					 h ? value : NULL) == ERR_NONE) == (h == other));
		writer_free(&out);
		writer_free(&proof);
	}
}
END_TEST

/* ---- certified headers ------------------------------------------------------------------- */

static void certified(struct certified_header *c, struct block *blocks[], uint32_t count,
		      enum cert_kind kind, unsigned signers)
{
	*c = (struct certified_header){.count = count};
	c->headers = mem_array(count, sizeof(*c->headers));
	for (uint32_t i = 0; i < count; i++)
		c->headers[i] = blocks[i]->sh;
	world_cert(&w, blocks[count - 1], kind, signers, &c->cert);
}

START_TEST(certified_headers)
{
	struct block *blocks[4];
	struct certified_header c;
	const struct hash *genesis = &w.block0->hash;
	struct quorum q = w.ctx.quorum;

	for (unsigned i = 0; i < 4; i++)
		blocks[i] = block_hold(world_commit(&w, NULL, 0));
	for (uint32_t from = 0; from < 4; from++) {
		certified(&c, blocks + from, 4 - from, CERT_ONE_ROUND, q.qf);
		ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis), ERR_NONE);
		certified_header_free(&c);
		certified(&c, blocks + from, 4 - from, CERT_TWO_ROUND, q.q);
		ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis), ERR_NONE);
		certified_header_free(&c);
		certified(&c, blocks + from, 4 - from, CERT_ONE_ROUND, q.qf - 1);
		ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis), ERR_NO_QUORUM);
		certified_header_free(&c);
		certified(&c, blocks + from, 4 - from, CERT_QC_FAST, q.n);
		ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis), ERR_NO_QUORUM);
		certified_header_free(&c);
	}
	certified(&c, blocks, 4, CERT_ONE_ROUND, q.qf);
	for (uint32_t i = 0; i < 4; i++) {
		struct signed_header saved = c.headers[i];
		for (size_t bit = 0; bit < 8 * SIGNATURE_SIZE; bit++) {
			c.headers[i].sig.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
			ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis),
					 ERR_BAD_SIGNATURE);
			c.headers[i].sig.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		/* re-signed by its leader: the links still give it away */
		c.headers[i].h.state_root.b[0] ^= 1;
		signed_header_sign(&c.headers[i], &w.ctx, &w.validator[c.headers[i].h.leader]);
		ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis), ERR_BAD_LINK);
		c.headers[i] = saved;
	}
	for (unsigned i = 0; i < c.cert.count; i++) {
		c.cert.sig[i].b[3] ^= 1;
		ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis),
				 ERR_BAD_SIGNATURE);
		c.cert.sig[i].b[3] ^= 1;
	}
	c.cert.signers ^= 9; /* validator 3 for 0 */
	ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis), ERR_BAD_SIGNATURE);
	c.cert.signers ^= 9;
	c.cert.ref.term++;
	ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis), ERR_BAD_LINK);
	c.cert.ref.term--;
	c.count = 0;
	ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis), ERR_LIMIT);
	c.count = 4;
	certified_header_free(&c);
	for (unsigned i = 0; i < 4; i++)
		block_drop(blocks[i]);
}
END_TEST

START_TEST(genesis_header)
{
	struct certified_header c = {.count = 1, .headers = mem_array(1, sizeof(*c.headers))};
	c.headers[0] = w.block0->sh;
	const struct hash *genesis = &w.block0->hash;
	ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis), ERR_NONE);
	c.headers[0].sig.b[0] = 1;
	ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis), ERR_NONCANONICAL);
	c.headers[0].sig.b[0] = 0;
	c.headers[0].h.state_root.b[0] ^= 1;
	ck_assert_int_eq(certified_header_check(&c, &w.ctx, genesis), ERR_BAD_HASH);
	certified_header_free(&c);
}
END_TEST

Suite *proof_suite(void)
{
	Suite *s = suite_create("proof");
	TCase *t = tcase_create("proof");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, small_trees);
	tcase_add_test(t, absence);
	tcase_add_test(t, empty_tree);
	tcase_add_test(t, leaf_of_elsewhere);
	tcase_add_test(t, random_mutations);
	tcase_add_test(t, historic);
	tcase_add_test(t, certified_headers);
	tcase_add_test(t, genesis_header);
	suite_add_tcase(s, t);
	return s;
}
