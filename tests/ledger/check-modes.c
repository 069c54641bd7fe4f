/* SYSTEM transactions in the ledger: what a block may hold, what it leaves in the state. */
#include "ledger/tree.h"
#include "tests/ledger/check-ledger.h"

static struct world w;

static void setup(void)
{
	world_genesis(&w, 1000);
	w.genesis.checkpoint_interval = 2;
	w.genesis.probation = 1; /* 2 heights */
	world_seal(&w);
	world_open(&w, NULL);
}

static void teardown(void)
{
	world_free(&w);
}

/* ---- making things ----------------------------------------------------------------------- */

static struct slice taken(struct writer *out)
{
	size_t len;
	uint8_t *bytes = writer_take(out, &len);
	return slice_of(bytes, len);
}

static struct slice system_bytes_of(const struct system_tx *tx)
{
	struct writer out = {0};
	system_tx_encode(&out, tx, &w.ctx);
	return taken(&out);
}

static struct slice mode_entry(enum system_kind kind, uint64_t height)
{
	const struct system_tx tx = {
		.kind = kind, .height = height, .term = 1, .reason = REASON_PROOF};
	return system_bytes_of(&tx);
}

static struct slice signed_vote(unsigned signer, uint8_t mark)
{
	struct writer out = {0};
	struct vote v = {.kind = VOTE_COMMIT,
			 .ref = {.term = 1, .height = 1, .hash = {{mark}}},
			 .signer = (uint16_t)signer};
	vote_sign(&v, &w.ctx, &w.validator[signer]);
	vote_encode(&out, &v);
	return taken(&out);
}

/* Two COMMITs of validator `of`, held against culprit: true if they are the same. */
static struct slice conviction(unsigned of, unsigned culprit, uint64_t height)
{
	struct slice a = signed_vote(of, 1), b = signed_vote(of, 2);
	struct evidence e = {.kind = EVIDENCE_VOTES,
			     .culprit = (uint16_t)culprit,
			     .first = {STATEMENT_VOTE, a},
			     .second = {STATEMENT_VOTE, b}};
	struct writer out = {0};
	evidence_encode(&out, &e);
	const struct system_tx tx = {
		.kind = SYSTEM_CONVICTION, .height = height, .evidence = writer_slice(&out)};
	struct slice bytes = system_bytes_of(&tx);
	writer_free(&out);
	mem_free((void *)a.ptr);
	mem_free((void *)b.ptr);
	return bytes;
}

static int execute_raw(const struct slice *txs, const enum tx_result *results, uint32_t count)
{
	struct block *b =
		world_raw_block(&w, w.tip, txs, results, count, ledger_root(w.ledger));
	int err = ledger_execute(w.ledger, b, true);
	block_drop(b);
	return err;
}

static struct mode_state modes(void)
{
	struct mode_state m;
	ck_assert_int_eq(ledger_mode_state(w.ledger, &m), ERR_NONE);
	return m;
}

static void commit_one(struct slice tx)
{
	world_commit(&w, &tx, 1);
	mem_free((void *)tx.ptr);
}

/* ---- what a block leaves ----------------------------------------------------------------- */

static int get_modes(uint64_t height, struct writer *value, struct writer *proof)
{
	return ledger_get(w.ledger, slice_str("smode"), height, value, proof);
}

START_TEST(modes_follow_the_chain)
{
	struct writer value = {0}, proof = {0}, want = {0};
	struct hash root = *ledger_root(w.ledger);
	ck_assert_int_eq(modes().mode, MODE_FAST);
	ck_assert_int_eq(get_modes(UINT64_MAX, &value, NULL), ERR_NOT_FOUND);
	world_commit(&w, NULL, 0);
	ck_assert(
		hash_equal(ledger_root(w.ledger), &root)); /* nothing recorded, nothing kept */

	struct slice txs[] = {mode_entry(SYSTEM_ESCALATED, 2), conviction(3, 3, 2),
			      world_put(&w, 0, 1, "k", "v")};
	struct block *b = world_commit(&w, txs, 3);
	ck_assert_uint_eq(b->tx_count, 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(b->tx[i].result, TX_OK);
	ck_assert_int_eq(modes().mode, MODE_PBFT);
	ck_assert_uint_eq(modes().escalated, 2);
	ck_assert_uint_eq(modes().jailed, 8);

	/* in the tree, with a proof */
	ck_assert_int_eq(get_modes(2, &value, &proof), ERR_NONE);
	struct mode_state now = modes();
	mode_state_encode(&want, &now);
	ck_assert(slice_equal(writer_slice(&value), writer_slice(&want)));
	struct slice v = writer_slice(&value);
	ck_assert_int_eq(state_proof_check(writer_slice(&proof), ledger_root(w.ledger),
					   slice_str("smode"), &v),
			 ERR_NONE);
	root = *ledger_root(w.ledger);
	world_commit(&w, NULL, 0);
	ck_assert(hash_equal(ledger_root(w.ledger), &root));

	commit_one(mode_entry(SYSTEM_MODE_FAST, 4));
	ck_assert_int_eq(modes().mode, MODE_FAST);
	ck_assert_uint_eq(modes().changed, 4);
	ck_assert_uint_eq(modes().jailed, 8);
	/* older states are read as they were */
	ck_assert_int_eq(get_modes(2, &value, NULL), ERR_NONE);
	ck_assert(slice_equal(writer_slice(&value), writer_slice(&want)));
	ck_assert_int_eq(get_modes(1, &value, NULL), ERR_NOT_FOUND);

	uint64_t height;
	uint32_t index;
	struct hash id;
	tx_id(&id, txs[1]);
	ck_assert_int_eq(ledger_find_tx(w.ledger, &id, &height, &index), ERR_NONE);
	ck_assert_uint_eq(height, 2);
	ck_assert_uint_eq(index, 1);
	world_free_txs(txs, 3);
	writer_free(&value);
	writer_free(&proof);
	writer_free(&want);
}
END_TEST

START_TEST(modes_survive_a_restart)
{
	struct errmsg m;
	commit_one(mode_entry(SYSTEM_ESCALATED, 1));
	commit_one(conviction(2, 2, 2));
	struct mode_state before = modes();
	ledger_close(w.ledger);
	ck_assert_int_eq(ledger_open(&w.ledger, w.store, &w.genesis, &w.ctx, w.block0, &m),
			 ERR_NONE);
	struct mode_state after = modes();
	ck_assert(memcmp(&before, &after, sizeof before) == 0);
	commit_one(mode_entry(SYSTEM_MODE_FAST, 3));
	ck_assert_uint_eq(modes().jailed, 4);
}
END_TEST

/* Overlays have their own: what is built on one branch is nothing to another. */
START_TEST(branches_do_not_mix)
{
	struct slice up = mode_entry(SYSTEM_ESCALATED, 1), jail = conviction(1, 1, 1);
	struct block *a = world_build(&w, w.tip, 1, &up, 1, NULL);
	struct block *b = world_build(&w, w.tip, 1, &jail, 1, NULL);
	ck_assert_int_eq(ledger_execute(w.ledger, a, true), ERR_NONE);
	ck_assert_int_eq(ledger_execute(w.ledger, b, true), ERR_NONE);
	struct slice again = conviction(1, 1, 2);
	struct block *a2 = world_build(&w, a, 1, &again, 1, NULL);
	ck_assert_uint_eq(a2->tx_count, 1);
	ck_assert_int_eq(ledger_execute(w.ledger, a2, true), ERR_NONE);
	ck_assert_int_eq(modes().mode, MODE_FAST);
	ck_assert_uint_eq(modes().jailed, 0);
	world_finalize(&w, b);
	ck_assert_int_eq(modes().mode, MODE_FAST);
	ck_assert_uint_eq(modes().jailed, 2);
	block_drop(a2);
	block_drop(a);
	block_drop(b);
	struct slice txs[] = {up, jail, again};
	world_free_txs(txs, 3);
}
END_TEST

/* ---- what a block may hold --------------------------------------------------------------- */

START_TEST(false_blocks_are_told_apart)
{
	struct slice up = mode_entry(SYSTEM_ESCALATED, 1),
		     fast = mode_entry(SYSTEM_MODE_FAST, 1),
		     late = mode_entry(SYSTEM_ESCALATED, 2), jail = conviction(2, 2, 1),
		     jail2 = conviction(3, 3, 1), framed = conviction(2, 1, 1),
		     put = world_put(&w, 0, 1, "k", "v"), cut = up;
	cut.len--;
	const enum tx_result failed[] = {TX_FAILED_CAS};
	const struct {
		struct slice txs[3];
		uint32_t count;
		int err;
	} by_bytes[] = {
		{{put, up}, 2, ERR_RANGE},	 /* not in front */
		{{up, put, jail}, 3, ERR_RANGE}, /* likewise */
		{{jail, up}, 2, ERR_RANGE},	 /* mode entry first */
		{{up, fast}, 2, ERR_RANGE},	 /* one at most */
		{{up, up}, 2, ERR_RANGE},	    {{late}, 1, ERR_RANGE},
		{{cut}, 1, ERR_TRUNCATED},	    {{framed}, 1, ERR_BAD_PROOF},
		{{jail, framed}, 2, ERR_BAD_PROOF},
	};
	for (size_t i = 0; i < MEM_COUNT(by_bytes); i++) {
		int err = execute_raw(by_bytes[i].txs, NULL, by_bytes[i].count);
		ck_assert_int_eq(err, by_bytes[i].err);
		ck_assert(ledger_error_is_by_bytes(err));
		ck_assert(!ledger_error_is_of_store(err));
	}
	ck_assert_int_eq(execute_raw(&up, failed, 1), ERR_RANGE);

	/* what is right except for the state: here only the root is not */
	const struct {
		struct slice txs[3];
		uint32_t count;
		int err;
	} by_state[] = {
		{{up, jail, jail2}, 3, ERR_BAD_STATE_ROOT},
		{{fast}, 1, ERR_BAD_STATE_ROOT}, /* a repeat moves a height */
		{{jail, jail}, 2, ERR_EXISTS},
	};
	for (size_t i = 0; i < MEM_COUNT(by_state); i++) {
		int err = execute_raw(by_state[i].txs, NULL, by_state[i].count);
		ck_assert_int_eq(err, by_state[i].err);
		ck_assert(!ledger_error_is_by_bytes(err));
		ck_assert(!ledger_error_is_of_store(err));
	}
	/* one by one, of any height: evidence rests on it */
	ck_assert(!tx_never_valid(&w.ctx, up));
	ck_assert(!tx_never_valid(&w.ctx, late));
	ck_assert(!tx_never_valid(&w.ctx, jail));
	ck_assert(!tx_never_valid(&w.ctx, put));
	ck_assert(tx_never_valid(&w.ctx, cut));
	ck_assert(tx_never_valid(&w.ctx, framed));
	struct slice all[] = {up, fast, late, jail, jail2, framed, put};
	world_free_txs(all, MEM_COUNT(all));
}
END_TEST

START_TEST(modes_are_judged_by_the_chain)
{
	commit_one(mode_entry(SYSTEM_ESCALATED, 1));
	commit_one(conviction(2, 2, 2));
	struct slice early = mode_entry(SYSTEM_MODE_FAST, 3),
		     up = mode_entry(SYSTEM_ESCALATED, 3), jail = conviction(2, 2, 3);
	/* escalated at 1, due from 3 on */
	ck_assert_int_eq(execute_raw(&early, NULL, 1), ERR_BAD_STATE_ROOT);
	ck_assert_int_eq(execute_raw(&up, NULL, 1), ERR_MODE);
	ck_assert_int_eq(execute_raw(&jail, NULL, 1), ERR_EXISTS);
	ck_assert(!ledger_error_is_by_bytes(ERR_MODE));
	ck_assert(!ledger_error_is_by_bytes(ERR_EXISTS));
	struct slice txs[] = {early, up, jail};
	world_free_txs(txs, 3);
}
END_TEST

START_TEST(mode_fast_is_not_early)
{
	commit_one(mode_entry(SYSTEM_ESCALATED, 1));
	struct slice early = mode_entry(SYSTEM_MODE_FAST, 2);
	ck_assert_int_eq(execute_raw(&early, NULL, 1), ERR_MODE);
	mem_free((void *)early.ptr);
}
END_TEST

/* A block that we built for our own term is not valid in somebody else's. */
START_TEST(a_built_block_is_judged_too)
{
	struct slice up = mode_entry(SYSTEM_ESCALATED, 1);
	struct block *b = world_build(&w, w.tip, 2, &up, 1, NULL);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_RANGE);
	block_drop(b);
	b = world_build(&w, w.tip, 1, &up, 1, NULL);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	block_drop(b);
	mem_free((void *)up.ptr);
}
END_TEST

/* ---- building ---------------------------------------------------------------------------- */

static int build(const struct slice *txs, uint32_t count, struct ledger_candidate *c,
		 struct ledger_built *built)
{
	for (uint32_t i = 0; i < count; i++) {
		c[i] = (struct ledger_candidate){.tx = txs[i]};
		tx_id(&c[i].id, txs[i]);
	}
	return ledger_build(w.ledger, &w.tip->hash, w.tip->sh.h.height + 1, 1, c, count, built);
}

START_TEST(all_of_them_or_nothing)
{
	struct slice up = mode_entry(SYSTEM_ESCALATED, 1),
		     late = mode_entry(SYSTEM_ESCALATED, 2), jail = conviction(2, 2, 1),
		     framed = conviction(2, 1, 1), put = world_put(&w, 0, 1, "k", "v");
	const struct {
		struct slice txs[3];
		uint32_t count, culprit;
		int err;
	} bad[] = {
		{{up, framed, put}, 3, 1, ERR_BAD_PROOF},
		{{up, up, put}, 3, 1, ERR_RANGE},
		{{late, jail, put}, 3, 0, ERR_RANGE},
		{{jail, jail}, 2, 1, ERR_EXISTS},
		{{jail, up}, 2, 1, ERR_RANGE},
	};
	struct ledger_candidate c[3];
	struct ledger_built built;
	for (size_t i = 0; i < MEM_COUNT(bad); i++) {
		ck_assert_int_eq(build(bad[i].txs, bad[i].count, c, &built), bad[i].err);
		ck_assert_ptr_null(built.body);
		ck_assert_int_eq(c[bad[i].culprit].fate, CANDIDATE_REFUSED);
		ck_assert_int_eq(c[bad[i].culprit].err, bad[i].err);
	}
	/* out of place it is what clients may not send */
	ck_assert_int_eq(build((struct slice[]){up, put, jail}, 3, c, &built), ERR_NONE);
	ck_assert_uint_eq(built.tx_count, 2);
	ck_assert_int_eq(c[2].fate, CANDIDATE_REFUSED);
	ck_assert_int_eq(c[2].err, ERR_PERMISSION);
	mem_free(built.body);
	struct slice all[] = {up, late, jail, framed, put};
	world_free_txs(all, MEM_COUNT(all));
}
END_TEST

/* The genesis limits clients' transactions; a proof gets in beside them, and they beside it. */
START_TEST(proofs_do_not_crowd_out)
{
	world_free(&w);
	world_genesis(&w, 1000);
	w.genesis.limits.block_txs_max = 1;
	w.genesis.limits.block_body_max = 280;
	w.genesis.limits.tx_size_max = 270;
	world_seal(&w);
	world_open(&w, NULL);
	struct slice txs[] = {conviction(2, 2, 1), conviction(3, 3, 1),
			      world_put(&w, 0, 1, "k", "v"), world_put(&w, 0, 2, "k", "v")};
	ck_assert_uint_gt(txs[0].len, 280);
	ck_assert_uint_gt(txs[2].len, 150);
	struct ledger_candidate c[4];
	struct ledger_built built;
	ck_assert_int_eq(build(txs, 4, c, &built), ERR_NONE);
	ck_assert_uint_eq(built.tx_count, 3);
	ck_assert_int_eq(c[2].fate, CANDIDATE_INCLUDED);
	ck_assert_int_eq(c[3].fate, CANDIDATE_LEFT);
	mem_free(built.body);
	struct block *b = world_build(&w, w.tip, 1, txs, 3, NULL);
	ck_assert_int_eq(ledger_execute(w.ledger, b, true), ERR_NONE);
	ck_assert_int_eq(execute_raw(txs, NULL, 4), ERR_LIMIT);
	ck_assert_int_eq(execute_raw(txs + 2, NULL, 2), ERR_LIMIT);
	w.genesis.limits.block_txs_max = 2; /* two of more than 280 bytes together */
	ck_assert_int_eq(execute_raw(txs, NULL, 4), ERR_LIMIT);
	block_drop(b);
	world_free_txs(txs, 4);
}
END_TEST

START_TEST(few_of_them_in_a_block)
{
	struct slice txs[SYSTEM_TXS_MAX + 1];
	struct ledger_candidate c[SYSTEM_TXS_MAX + 1];
	struct ledger_built built;
	txs[0] = mode_entry(SYSTEM_ESCALATED, 1);
	for (unsigned i = 1; i <= SYSTEM_TXS_MAX; i++)
		txs[i] = conviction(i % 4, i % 4, 1);
	/* the fourth culprit comes twice, long before there are too many */
	ck_assert_int_eq(build(txs, SYSTEM_TXS_MAX + 1, c, &built), ERR_EXISTS);
	ck_assert_int_eq(execute_raw(txs, NULL, SYSTEM_TXS_MAX), ERR_EXISTS);
	ck_assert_int_eq(execute_raw(txs, NULL, SYSTEM_TXS_MAX + 1), ERR_LIMIT);
	ck_assert_int_eq(build(txs, 5, c, &built), ERR_NONE);
	ck_assert_uint_eq(built.tx_count, 5);
	mem_free(built.body);
	world_free_txs(txs, SYSTEM_TXS_MAX + 1);
}
END_TEST

START_TEST(clients_may_not_send_them)
{
	struct slice up = mode_entry(SYSTEM_ESCALATED, 1);
	struct tx tx;
	ck_assert_int_eq(tx_decode(&tx, up, &w.ctx, &w.genesis.limits), ERR_PERMISSION);
	ck_assert_int_eq(tx_decode(&tx, slice_of(up.ptr, 2), &w.ctx, &w.genesis.limits),
			 ERR_PERMISSION);
	mem_free((void *)up.ptr);
}
END_TEST

/* ---- the store's errors ------------------------------------------------------------------ */

START_TEST(a_damaged_record_of_modes_is_found)
{
	commit_one(mode_entry(SYSTEM_ESCALATED, 1));
	uint8_t key[TREE_VALUE_KEY_SIZE];
	struct hash key_hash;
	tree_key(&key_hash, slice_str("smode"));
	tree_value_key(key, &key_hash, 1);
	struct store_batch *batch = store_batch_new();
	store_batch_put(batch, STORE_STATE, slice_of(key, sizeof key), slice_str("rubbish"));
	ck_assert_int_eq(store_write(w.store, batch, false), ERR_NONE);
	store_batch_free(batch);
	struct ledger *l;
	struct errmsg m;
	ck_assert_int_eq(ledger_open(&l, w.store, &w.genesis, &w.ctx, w.block0, &m),
			 ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(m.text, "modes"));
}
END_TEST

/* ---- proof documents --------------------------------------------------------------------- */

static void prove(struct proof_document *d, const struct block *b, uint32_t index)
{
	proof_document_init(d);
	d->kind = PROOF_TX;
	d->ch.count = 1;
	d->ch.headers = mem_array(1, sizeof(*d->ch.headers));
	d->ch.headers[0] = b->sh;
	world_cert(&w, b, CERT_TWO_ROUND, 3, &d->ch.cert);
	struct hash leaves[8];
	block_leaves(leaves, b);
	merkle_prove(&d->path, leaves, b->tx_count, index);
	struct slice tx = block_tx_bytes(b, index);
	d->tx = slice_of(mem_dup(tx.ptr, tx.len), tx.len);
	d->result = b->tx[index].result;
}

/* To JSON and back, against the genesis alone. */
static int verify(const struct proof_document *d, struct errmsg *m)
{
	struct proof_document parsed;
	char *json = proof_document_json(d, &w.ctx);
	int err = proof_document_parse(&parsed, slice_str(json), m);
	if (!err)
		err = proof_document_check(&parsed, &w.genesis, m);
	if (!err)
		ck_assert(slice_equal(parsed.tx, d->tx));
	proof_document_free(&parsed);
	mem_free(json);
	return err;
}

START_TEST(proof_documents_of_system_transactions)
{
	struct slice good[] = {mode_entry(SYSTEM_ESCALATED, 1), conviction(2, 2, 1),
			       world_put(&w, 0, 1, "k", "v")};
	struct slice bad[] = {mode_entry(SYSTEM_ESCALATED, 2), conviction(2, 1, 1)};
	struct block *b = world_commit(&w, good, 3);
	struct proof_document d;
	struct errmsg m;
	for (unsigned i = 0; i < 3; i++) {
		prove(&d, b, i);
		ck_assert_msg(verify(&d, &m) == ERR_NONE, "%s", m.text);
		d.result = TX_FAILED_CAS;
		ck_assert_int_ne(verify(&d, &m), ERR_NONE);
		d.result = TX_OK;
		((uint8_t *)d.tx.ptr)[d.tx.len - 1] ^= 1;
		ck_assert_int_ne(verify(&d, &m), ERR_NONE);
		proof_document_free(&d);
	}
	/* a certified block that no honest validator would have voted for */
	b = world_raw_block(&w, w.block0, bad, NULL, 2, ledger_root(w.ledger));
	prove(&d, b, 0);
	ck_assert_int_eq(verify(&d, &m), ERR_RANGE);
	proof_document_free(&d);
	prove(&d, b, 1);
	ck_assert_int_eq(verify(&d, &m), ERR_BAD_PROOF);
	proof_document_free(&d);
	block_drop(b);
	world_free_txs(good, 3);
	world_free_txs(bad, 2);
}
END_TEST

Suite *modes_suite(void)
{
	Suite *s = suite_create("modes");
	TCase *t = tcase_create("modes");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, modes_follow_the_chain);
	tcase_add_test(t, modes_survive_a_restart);
	tcase_add_test(t, branches_do_not_mix);
	tcase_add_test(t, false_blocks_are_told_apart);
	tcase_add_test(t, modes_are_judged_by_the_chain);
	tcase_add_test(t, mode_fast_is_not_early);
	tcase_add_test(t, a_built_block_is_judged_too);
	tcase_add_test(t, all_of_them_or_nothing);
	tcase_add_test(t, proofs_do_not_crowd_out);
	tcase_add_test(t, few_of_them_in_a_block);
	tcase_add_test(t, clients_may_not_send_them);
	tcase_add_test(t, a_damaged_record_of_modes_is_found);
	tcase_add_test(t, proof_documents_of_system_transactions);
	suite_add_tcase(s, t);
	return s;
}
