/* A replica that starts on blocks that are final: what it finds of modes, convictions and
 * evidence; and that it stops when its state cannot be read. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/replica/stored.h"
#include "tests/replica/quiet.h"

static struct world w;
static struct store *store;
static struct replica *replica;
static const char *halted;

static void host_send(void *ctx, const struct message *m)
{
}
static void host_halted(void *ctx, const char *why)
{
	halted = why;
}

static void setup(void)
{
	world_genesis(&w, 1000);
	w.genesis.checkpoint_interval = 2;
	w.genesis.probation = 1;
	world_seal(&w);
	world_open(&w, NULL);
	store = store_open_memory();
	ck_assert_int_eq(replica_first_votes(store), ERR_NONE);
	replica = NULL;
	halted = NULL;
}

static void teardown(void)
{
	replica_close(replica);
	store_close(store);
	world_free(&w);
}

static void commit(const struct slice *txs, uint32_t count)
{
	stored_block(store, &w, world_commit(&w, txs, count));
}

static void open_replica(uint64_t history)
{
	const struct replica_config config = {.genesis = &w.genesis,
					      .store = store,
					      .self = 3,
					      .key = w.validator[3],
					      .seed = 1,
					      .verify_txs = true,
					      .history = history,
					      .host = {.send = host_send,
						       .sync = quiet_sync,
						       .final = quiet_final,
						       .rejected = quiet_rejected,
						       .halted = host_halted,
						       .wall_ms = quiet_wall}};
	struct errmsg m = {{0}};
	replica_close(replica);
	replica = NULL;
	ck_assert_msg(replica_open(&replica, &config, &m) == ERR_NONE, "%s", m.text);
}

static struct slice taken(struct writer *out)
{
	size_t len;
	uint8_t *bytes = writer_take(out, &len);
	return slice_of(bytes, len);
}

static struct slice mode_entry(enum system_kind kind, uint64_t height)
{
	struct writer out = {0};
	const struct system_tx tx = {
		.kind = kind, .height = height, .term = 1, .reason = REASON_PROOF};
	system_tx_encode(&out, &tx, &w.ctx);
	return taken(&out);
}

static struct slice evidence_against(unsigned culprit)
{
	struct writer out[2] = {{0}}, bytes = {0};
	for (unsigned i = 0; i < 2; i++) {
		struct vote v = {.kind = VOTE_COMMIT,
				 .ref = {.term = 1, .height = 1, .hash = {{(uint8_t)i}}},
				 .signer = (uint16_t)culprit};
		vote_sign(&v, &w.ctx, &w.validator[culprit]);
		vote_encode(&out[i], &v);
	}
	const struct evidence e = {.kind = EVIDENCE_VOTES,
				   .culprit = (uint16_t)culprit,
				   .first = {STATEMENT_VOTE, writer_slice(&out[0])},
				   .second = {STATEMENT_VOTE, writer_slice(&out[1])}};
	evidence_encode(&bytes, &e);
	writer_free(&out[0]);
	writer_free(&out[1]);
	return taken(&bytes);
}

static struct slice conviction(unsigned culprit, uint64_t height)
{
	struct writer out = {0};
	struct slice evidence = evidence_against(culprit);
	const struct system_tx tx = {
		.kind = SYSTEM_CONVICTION, .height = height, .evidence = evidence};
	system_tx_encode(&out, &tx, &w.ctx);
	mem_free((void *)evidence.ptr);
	return taken(&out);
}

/* Heights 1 to 7: 2 escalates and convicts 1 and 2, 5 returns, 6 convicts 0. */
static void make_chain(void)
{
	for (uint64_t h = 1; h <= 7; h++) {
		struct slice txs[4];
		uint32_t count = 0;
		if (h == 2) {
			txs[count++] = mode_entry(SYSTEM_ESCALATED, h);
			txs[count++] = conviction(1, h);
			txs[count++] = conviction(2, h);
		}
		if (h == 5)
			txs[count++] = mode_entry(SYSTEM_MODE_FAST, h);
		if (h == 6)
			txs[count++] = conviction(0, h);
		txs[count++] = world_put(&w, 0, h, "k", "v");
		commit(txs, count);
		world_free_txs(txs, count);
	}
}

static void check_modes(void)
{
	static const struct {
		uint64_t height;
		uint32_t index;
		enum system_kind kind;
		uint16_t culprit;
	} want[] = {{2, 0, SYSTEM_ESCALATED, 0},
		    {2, 1, SYSTEM_CONVICTION, 1},
		    {2, 2, SYSTEM_CONVICTION, 2},
		    {5, 0, SYSTEM_MODE_FAST, 0},
		    {6, 0, SYSTEM_CONVICTION, 0}};
	struct mode_record got[8];
	uint32_t count;
	ck_assert_int_eq(replica_modes(replica, 0, 0, got, 8, &count), ERR_NONE);
	ck_assert_uint_eq(count, MEM_COUNT(want));
	for (uint32_t i = 0; i < count; i++) {
		ck_assert_uint_eq(got[i].height, want[i].height);
		ck_assert_uint_eq(got[i].index, want[i].index);
		ck_assert_int_eq(got[i].kind, want[i].kind);
		ck_assert_uint_eq(got[i].culprit, want[i].culprit);
		ck_assert_uint_eq(got[i].term, 1);
		if (want[i].kind == SYSTEM_ESCALATED)
			ck_assert_int_eq(got[i].reason, REASON_PROOF);
		if (want[i].kind == SYSTEM_CONVICTION)
			ck_assert_int_eq(got[i].evidence_kind, EVIDENCE_VOTES);
	}
	/* in pages of two, which end inside a block */
	uint64_t height = 0;
	uint32_t index = 0, seen = 0;
	do {
		ck_assert_int_eq(replica_modes(replica, height, index, got, 2, &count),
				 ERR_NONE);
		for (uint32_t i = 0; i < count; i++, seen++) {
			ck_assert_uint_eq(got[i].height, want[seen].height);
			ck_assert_uint_eq(got[i].index, want[seen].index);
			height = got[i].height;
			index = got[i].index + 1;
		}
	} while (count);
	ck_assert_uint_eq(seen, MEM_COUNT(want));
	ck_assert_int_eq(replica_modes(replica, 7, 0, got, 8, &count), ERR_NONE);
	ck_assert_uint_eq(count, 0);
}

/* The ledger on disk lags: the replay brings index, evidence and state of modes with it. */
START_TEST(modes_are_listed_after_a_replay)
{
	struct mode_state modes, want;
	make_chain();
	for (unsigned start = 0; start < 2; start++) {
		open_replica(0);
		ck_assert_uint_eq(ledger_height(replica_ledger(replica)), 7);
		ck_assert_int_eq(ledger_mode_state(replica_ledger(replica), &modes), ERR_NONE);
		ck_assert_int_eq(ledger_mode_state(w.ledger, &want), ERR_NONE);
		ck_assert(memcmp(&modes, &want, sizeof want) == 0);
		ck_assert_int_eq(modes.mode, MODE_FAST);
		ck_assert_uint_eq(modes.jailed, 7);
		check_modes();
	}
}
END_TEST

START_TEST(no_modes_without_entries)
{
	struct mode_record got;
	struct hash id;
	struct writer bytes = {0};
	uint32_t count;
	struct slice put = world_put(&w, 0, 1, "k", "v");
	commit(&put, 1);
	open_replica(0);
	ck_assert_int_eq(replica_modes(replica, 0, 0, &got, 1, &count), ERR_NONE);
	ck_assert_uint_eq(count, 0);
	ck_assert_int_eq(replica_evidence_next(replica, NULL, &id, &bytes), ERR_NOT_FOUND);
	mem_free((void *)put.ptr);
	writer_free(&bytes);
}
END_TEST

START_TEST(evidence_of_convictions_is_kept)
{
	struct hash id, hash, last, *after = NULL;
	struct writer bytes = {0};
	uint64_t culprits = 0;
	unsigned count = 0;
	make_chain();
	open_replica(0);
	while (replica_evidence_next(replica, after, &id, &bytes) == ERR_NONE) {
		struct reader r;
		struct evidence e;
		reader_init(&r, writer_slice(&bytes));
		evidence_decode(&r, &e);
		ck_assert_int_eq(reader_finish(&r), ERR_NONE);
		ck_assert_int_eq(evidence_check(&e, &w.ctx, tx_never_valid), ERR_NONE);
		evidence_hash(&hash, &e);
		ck_assert(hash_equal(&hash, &id));
		if (after)
			ck_assert_int_lt(memcmp(after->b, id.b, HASH_SIZE), 0);
		culprits |= UINT64_C(1) << e.culprit;
		last = id;
		after = &last;
		count++;
	}
	ck_assert_uint_eq(count, 3);
	ck_assert_uint_eq(culprits, 7);
	writer_free(&bytes);
}
END_TEST

START_TEST(system_transactions_are_proved_to_others)
{
	struct mode_record got[8];
	struct proof_document d, parsed;
	struct errmsg m;
	uint32_t count;
	make_chain();
	open_replica(0);
	ck_assert_int_eq(replica_modes(replica, 0, 0, got, 8, &count), ERR_NONE);
	for (uint32_t i = 0; i < count; i++) {
		ck_assert_int_eq(replica_prove_tx(replica, &got[i].id, &d), ERR_NONE);
		char *json = proof_document_json(&d, &w.ctx);
		ck_assert_int_eq(proof_document_parse(&parsed, slice_str(json), &m), ERR_NONE);
		ck_assert_msg(proof_document_check(&parsed, &w.genesis, &m) == ERR_NONE, "%s",
			      m.text);
		struct system_tx tx;
		ck_assert_int_eq(system_tx_decode(&tx, parsed.tx, &w.ctx), ERR_NONE);
		ck_assert_int_eq(tx.kind, got[i].kind);
		proof_document_free(&parsed);
		proof_document_free(&d);
		mem_free(json);
	}
}
END_TEST

START_TEST(history_is_as_configured)
{
	static const uint64_t histories[] = {LEDGER_HISTORY_MIN, 0}; /* a longer one first */
	struct writer value = {0};
	for (unsigned i = 0; i < 2; i++) {
		if (i == 0)
			make_chain();
		open_replica(histories[i]);
		if (i == 1) { /* applied with the next final blocks */
			struct slice put = world_put(&w, 0, 8, "k", "v");
			commit(&put, 1);
			mem_free((void *)put.ptr);
			open_replica(histories[i]);
		}
		struct ledger *l = replica_ledger(replica);
		ck_assert_int_eq(ledger_get(l, slice_str("kk"), 7 + i, &value, NULL), ERR_NONE);
		ck_assert_int_eq(ledger_get(l, slice_str("kk"), 3, &value, NULL),
				 i ? ERR_STALE : ERR_NONE);
	}
	writer_free(&value);
}
END_TEST

/* ---- a state that cannot be read --------------------------------------------------------- */

static void lose_the_tree(void)
{
	struct store_batch *batch = store_batch_new();
	struct slice k, v, none = {0};
	struct store_iter *it = store_iter_new(store, STORE_STATE, none, none, false);
	while (store_iter_next(it, &k, &v))
		if (v.len > 4 && v.ptr[4] == STATE_NS_NONCE) /* the state key's first byte */
			store_batch_put(batch, STORE_STATE, k, slice_of(v.ptr, v.len - 1));
	store_iter_free(it);
	ck_assert_uint_gt(store_batch_count(batch), 0);
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
}

static void work(struct work *in)
{
	replica_driver_host.work(replica, in);
}

START_TEST(an_unreadable_state_halts)
{
	make_chain();
	struct slice put = world_put(&w, 0, 8, "k", "v");
	struct block *b = world_build(&w, w.tip, 1, &put, 1, NULL);
	for (unsigned build = 0; build < 2; build++) {
		open_replica(0);
		lose_the_tree();
		open_replica(0); /* nothing cached */
		halted = NULL;
		struct pool_tx tx = {.bytes = put};
		tx_id(&tx.id, put);
		struct work in = {.kind = WORK_EXECUTE, .block = b};
		if (build)
			in = (struct work){
				.kind = WORK_BUILD, .block = w.tip, .txs = &tx, .tx_count = 1};
		work(&in);
		ck_assert_ptr_nonnull(halted);
		ck_assert_ptr_nonnull(strstr(halted, "data directory"));
		ck_assert(replica_halted(replica));
	}
	block_drop(b);
	mem_free((void *)put.ptr);
}
END_TEST

/* An invalid block is not the disk's fault: the replica goes on. */
START_TEST(an_invalid_block_does_not_halt)
{
	make_chain();
	open_replica(0);
	struct slice bad = conviction(0, 8), put = world_put(&w, 0, 8, "k", "v");
	struct block *b = world_raw_block(&w, w.tip, &bad, NULL, 1, ledger_root(w.ledger));
	work(&(struct work){.kind = WORK_EXECUTE, .block = b});
	ck_assert_ptr_null(halted);
	/* jailed already, a client's in the place of a SYSTEM one, and the other way round */
	struct pool_tx txs[2] = {{.bytes = bad}, {.bytes = put}};
	for (uint32_t system = 0; system < 3; system++)
		work(&(struct work){.kind = WORK_BUILD,
				    .block = w.tip,
				    .txs = txs,
				    .tx_count = 2,
				    .system_count = system});
	ck_assert_ptr_null(halted);
	block_drop(b);
	mem_free((void *)bad.ptr);
	mem_free((void *)put.ptr);
}
END_TEST

START_TEST(clients_cannot_submit_them)
{
	struct hash id;
	open_replica(0);
	struct slice up = mode_entry(SYSTEM_ESCALATED, 1);
	ck_assert_int_eq(replica_submit(replica, 1, up, false, &id), ERR_PERMISSION);
	ck_assert(!replica_tx_pending(replica, &id));
	mem_free((void *)up.ptr);
}
END_TEST

START_TEST(term_certificates_are_found)
{
	struct term_cert tc, got;
	struct writer bytes = {0};
	struct record_key k;
	open_replica(0);
	ck_assert_int_eq(replica_term_cert(replica, 1, &got), ERR_NOT_FOUND);
	term_cert_init(&tc);
	tc.term = 1;
	tc.base = block_ref_of(w.block0);
	tc.signers = 7;
	tc.count = 3;
	memset(tc.sig, 1, sizeof tc.sig);
	term_cert_encode(&bytes, &tc);
	struct store_batch *batch = store_batch_new();
	store_batch_put(batch, STORE_CERTS, key_tc(&k, 1), writer_slice(&bytes));
	store_batch_put(batch, STORE_CERTS, key_tc(&k, 2), slice_str("rubbish"));
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
	ck_assert_int_eq(replica_term_cert(replica, 1, &got), ERR_NONE);
	ck_assert_uint_eq(got.signers, 7);
	term_cert_free(&got);
	ck_assert_int_eq(replica_term_cert(replica, 2, &got), ERR_CORRUPT);
	writer_free(&bytes);
}
END_TEST

static uint32_t final_txs[8];
static unsigned final_count;

static void note_final(void *ctx, struct block *b, const struct cert *cert)
{
	if (b->tx_count > 0 && final_count < MEM_COUNT(final_txs))
		final_txs[final_count++] = b->tx_count;
}

/* Alone in its network, so that each block is final at once. */
static void lead_alone(struct world *one)
{
	world_genesis(one, 1000);
	one->genesis.n = 1;
	world_seal(one);
	world_open(one, NULL);
	const struct replica_config config = {.genesis = &one->genesis,
					      .store = store,
					      .self = 0,
					      .key = one->validator[0],
					      .seed = 1,
					      .now = 1,
					      .verify_txs = true,
					      .host = {.send = host_send,
						       .sync = quiet_sync,
						       .final = note_final,
						       .rejected = quiet_rejected,
						       .halted = host_halted,
						       .wall_ms = quiet_wall}};
	struct errmsg m = {{0}};
	struct engine_status status;
	ck_assert_msg(replica_open(&replica, &config, &m) == ERR_NONE, "%s", m.text);
	for (uint64_t now = 2; now < 10000000; now += 10000) {
		replica_tick(replica, now);
		replica_status(replica, &status);
		if (status.role == ROLE_LEADER && status.final.height > 0)
			return;
	}
	ck_abort_msg("no leader");
}

static void submit_some(struct world *one, unsigned client, unsigned count)
{
	struct hash id;
	for (unsigned i = 0; i < count; i++) {
		struct slice tx = world_put(one, client, i + 1, "key", "value");
		ck_assert_int_eq(replica_submit(replica, 20000000, tx, false, &id), ERR_NONE);
		mem_free((void *)tx.ptr);
	}
}

/* Between gather and propose nothing is proposed; then all of it goes into one block. */
START_TEST(what_is_gathered_is_one_block)
{
	struct world one;
	final_count = 0;
	lead_alone(&one);
	submit_some(&one, 0, 3);
	ck_assert_uint_eq(final_count, 3); /* one by one */
	final_count = 0;
	replica_gather(replica);
	submit_some(&one, 1, 5);
	replica_tick(replica, 20000001);
	ck_assert_uint_eq(final_count, 0);
	replica_propose(replica, 20000002);
	ck_assert_uint_eq(final_count, 1);
	ck_assert_uint_eq(final_txs[0], 5);
	replica_propose(replica, 20000003); /* nothing waits: no effect */
	replica_gather(replica);
	replica_propose(replica, 20000004);
	ck_assert_uint_eq(final_count, 1);
	submit_some(&one, 2, 2); /* and proposing goes on as before */
	ck_assert_uint_eq(final_count, 3);
	replica_close(replica);
	replica = NULL;
	world_free(&one);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("replica");
	TCase *t = tcase_create("modes");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, modes_are_listed_after_a_replay);
	tcase_add_test(t, no_modes_without_entries);
	tcase_add_test(t, evidence_of_convictions_is_kept);
	tcase_add_test(t, system_transactions_are_proved_to_others);
	tcase_add_test(t, history_is_as_configured);
	tcase_add_test(t, an_unreadable_state_halts);
	tcase_add_test(t, an_invalid_block_does_not_halt);
	tcase_add_test(t, clients_cannot_submit_them);
	tcase_add_test(t, term_certificates_are_found);
	tcase_add_test(t, what_is_gathered_is_one_block);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
