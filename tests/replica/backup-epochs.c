/* Backups of a chain of three epochs: made, also right at an end, verified, restored. */
#include "tests/replica/backup.h"

static void store_meta(uint64_t epoch, struct slice value)
{
	struct epoch_key k;
	struct store_batch *batch = store_batch_new();
	if (value.ptr)
		store_batch_put(batch, STORE_META, key_epoch(&k, epoch), value);
	else
		store_batch_delete(batch, STORE_META, key_epoch(&k, epoch));
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
}

START_TEST(epochs_verify)
{
	const struct backup_check o = {.genesis = &w.genesis};
	struct backup_summary s;
	struct errmsg m = {{0}};
	struct records a;
	ck_assert_msg(backup_verify(dest, &o, &s, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(s.height, 8);
	ck_assert_uint_eq(s.epoch, 2);
	ck_assert(hash_equal(&s.block, &w.tip->hash));
	ck_assert(hash_equal(&s.state_root, ledger_root(w.ledger)));
	ck_assert_uint_eq(s.transactions, 2 * 6 + 2);
	ck_assert_uint_eq(s.certificates, 4 + 2);
	read_records(&a);
	ck_assert_uint_eq(a.version, BACKUP_EPOCHS);
	/* a program that does not know the record says that it is too old, not that it is
	 * altered
	 */
	a.version = 1;
	write_records(&a, UINT64_MAX, FORGE_FLIP);
	ck_assert(backup_altered(verify(copy, &w.genesis)));
	free_records(&a);
}
END_TEST

/* The store as it is right before the next epoch begins: no record of it, blocks only up to the
 * end and its fillers. */
START_TEST(an_end_without_its_record)
{
	for (unsigned way = 0; way < 4; way++) {
		uint32_t fillers = way & 1;
		bool indexed = way & 2;
		struct keypair third = governed_key((uint8_t)(10 + way));
		struct block *filler[1] = {NULL};
		struct handover h;
		struct record_key k;
		struct errmsg m = {{0}};
		while (w.tip->sh.h.height % INTERVAL != INTERVAL - 1)
			commit_in(9 + way, w.tip->sh.h.height, true);
		struct block *end = governed_end(&w, 9 + way, 2, &third.pub);
		store_block(end, fillers == 0);
		governed_handover(&w, fillers, filler, &h);
		struct store_batch *batch = store_batch_new();
		if (fillers) {
			store_block(filler[0], true);
			store_batch_delete(batch, STORE_BLOCKS,
					   key_final(&k, end->sh.h.height + 1));
		}
		if (!indexed)
			store_batch_delete(batch, STORE_BLOCKS,
					   key_final(&k, end->sh.h.height));
		ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
		files_remove(copy, NULL);
		ck_assert_msg(create(copy, NULL, &m) == ERR_NONE, "way %u: %s", way, m.text);
		ck_assert_uint_eq(made.height, end->sh.h.height);
		ck_assert(hash_equal(&made.block, &end->hash));
		const struct backup_check o = {.genesis = &w.genesis};
		struct backup_summary s;
		ck_assert_msg(backup_verify(copy, &o, &s, &m) == ERR_NONE, "way %u: %s", way,
			      m.text);
		ck_assert_uint_eq(s.epoch, w.ctx.epoch + 1);
		/* and right after it has begun */
		store_batch_clear(batch);
		if (fillers) {
			store_batch_delete(
				batch, STORE_BLOCKS,
				key_block(&k, end->sh.h.height + 1, &filler[0]->hash));
			store_batch_delete(batch, STORE_CERTS,
					   key_cert(&k, end->sh.h.height + 1));
			block_drop(filler[0]);
		}
		struct writer bytes = {0};
		writer_hash(&bytes, &end->hash);
		put(batch, STORE_BLOCKS, key_final(&k, end->sh.h.height), &bytes);
		ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
		writer_free(&bytes);
		store_batch_free(batch);
		governed_step(&w, &h, 2, &third);
		governed_record(store, w.ctx.epoch, &h);
		files_remove(copy, NULL);
		ck_assert_msg(create(copy, NULL, &m) == ERR_NONE, "way %u: %s", way, m.text);
		ck_assert_uint_eq(made.height, w.tip->sh.h.height);
		ck_assert_int_eq(verify(copy, &w.genesis), ERR_NONE);
		handover_free(&h);
	}
}
END_TEST

START_TEST(damaged_records_of_epochs)
{
	struct errmsg m = {{0}};
	for (uint64_t epoch = 1; epoch <= 2; epoch++) {
		store_meta(epoch, (struct slice){0});
		ck_assert_int_eq(create(copy, NULL, &m), ERR_CORRUPT);
		store_meta(epoch, slice_str("x"));
		ck_assert_int_eq(create(copy, NULL, &m), ERR_CORRUPT);
		governed_record(store, epoch, &ends[2 - epoch]); /* the other one */
		ck_assert_int_eq(create(copy, NULL, &m), ERR_CORRUPT);
		ck_assert(!files_exist(copy));
		governed_record(store, epoch, &ends[epoch - 1]);
	}
	ck_assert_int_eq(create(copy, NULL, &m), ERR_NONE);
}
END_TEST

/* Whatever key it is given: that of its place in epoch 0, the one that it has now, one that was
 * never replaced. */
START_TEST(epochs_are_restored)
{
	const struct backup_check o = {.genesis = &w.genesis, .history = LEDGER_HISTORY_MIN};
	struct backup_summary s;
	struct errmsg m = {{0}};
	struct store *restored, *old = store;
	struct store_options options = {.create = false};
	struct replica *r;
	struct keypair genesis_key;
	char path[120];
	uint8_t seed[32] = {1, 1};
	keypair_from_seed(&genesis_key, seed);
	ck_assert_msg(backup_restore(dest, home, &o, &s, &m) == ERR_NONE, "%s", m.text);
	ck_assert_uint_eq(s.epoch, 2);
	snprintf(path, sizeof path, "%s/data", home);
	ck_assert_msg(store_open_rocksdb(&restored, path, &options, &m) == ERR_NONE, "%s",
		      m.text);
	const struct keypair *keys[] = {&genesis_key, &w.validator[0], &w.validator[3]};
	const unsigned places[] = {0, 0, 3};
	for (unsigned i = 0; i < MEM_COUNT(keys); i++) {
		const struct replica_config config = config_of(restored, places[i], keys[i]);
		ck_assert_msg(replica_open(&r, &config, &m) == ERR_NONE, "%s", m.text);
		ck_assert_ptr_nonnull(replica_observes(r));
		ck_assert_uint_eq(replica_ctx(r)->epoch, 2);
		ck_assert(hash_equal(&replica_ctx(r)->vals.hash, &w.ctx.vals.hash));
		ck_assert_uint_eq(ledger_height(replica_ledger(r)), 8);
		ck_assert(hash_equal(ledger_root(replica_ledger(r)), ledger_root(w.ledger)));
		for (uint64_t now = 1; now < 100; now++)
			replica_tick(r, now * 1000000);
		for (uint64_t h = 1; h <= 8; h++) { /* each under its own set */
			struct certified_header ch;
			struct hash block0 = w.block0->hash;
			ck_assert_int_eq(replica_certified_header(r, h, &ch), ERR_NONE);
			ck_assert_int_eq(
				certified_header_check(&ch, replica_ctx_at(r, h), &block0),
				ERR_NONE);
			certified_header_free(&ch);
		}
		for (uint64_t epoch = 1; epoch <= 2; epoch++) {
			struct proof_document d;
			struct handover h;
			ck_assert_int_eq(replica_handover(r, epoch, &d), ERR_NONE);
			ck_assert_int_eq(epoch_of_proof(&d, &h), ERR_NONE);
			ck_assert(block_ref_equal(&h.cert.ref, &ends[epoch - 1].cert.ref));
			handover_free(&h);
			proof_document_free(&d);
		}
		replica_close(r);
	}
	store = restored; /* it can be backed up in its turn, with the same bytes */
	struct backup_summary first = made;
	ck_assert_int_eq(create(copy, NULL, &m), ERR_NONE);
	ck_assert_uint_eq(made.bytes, first.bytes);
	ck_assert_int_eq(verify(copy, &w.genesis), ERR_NONE);
	store_close(restored);
	store = old;
}
END_TEST

/* That a leader has signed two blocks for one place, in ctx's epoch. */
static void store_evidence(const struct signed_header *one, const struct chain_ctx *ctx,
			   const struct keypair *key)
{
	struct signed_header a = *one, b = *one;
	struct writer bytes = {0}, scratch = {0};
	struct store_batch *batch = store_batch_new();
	struct evidence e;
	struct hash id;
	b.h.time_ms++;
	signed_header_sign(&a, ctx, key);
	signed_header_sign(&b, ctx, key);
	ck_assert(evidence_of_headers(&e, &scratch, &a, &b));
	evidence_encode(&bytes, &e);
	hash_tagged(&id, HASH_EVIDENCE, writer_slice(&bytes));
	put(batch, STORE_EVIDENCE, hash_slice(&id), &bytes);
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
	writer_free(&bytes);
	writer_free(&scratch);
}

START_TEST(evidence_of_all_epochs)
{
	struct errmsg m = {{0}};
	struct chain_ctx first;
	struct records a;
	unsigned count = 0;
	genesis_ctx(&first, &w.genesis);
	store_evidence(&ends[0].end->sh, &first, &w.validator[2]);
	store_evidence(&w.tip->sh, &w.ctx, &w.validator[3]);
	files_remove(dest, NULL);
	ck_assert_int_eq(create(dest, NULL, &m), ERR_NONE);
	ck_assert_int_eq(verify(dest, &w.genesis), ERR_NONE);
	read_records(&a);
	for (uint64_t i = 0; i < a.count; i++)
		count += a.type[i] == RECORD_EVIDENCE;
	ck_assert_uint_eq(count, 2);
	free_records(&a);
	store_evidence(&w.tip->sh, &first, &w.validator[3]); /* of no epoch at all */
	files_remove(dest, NULL);
	ck_assert_int_eq(create(dest, NULL, &m), ERR_NONE);
	int err = verify(dest, &w.genesis);
	ck_assert(err && backup_altered(err));
}
END_TEST

/* It begins anew with all keys, and what it would be recovered to knows nothing of epochs. */
START_TEST(no_recovery_of_epochs)
{
	const struct backup_check o = {.genesis = &w.genesis, .key_file = "/dev/null"};
	struct backup_summary s;
	struct errmsg m = {{0}};
	ck_assert_int_eq(backup_restore(dest, home, &o, &s, &m), ERR_PERMISSION);
	ck_assert(!files_exist(home));
}
END_TEST

TCase *backup_epochs_case(void)
{
	TCase *t = backup_case("epochs", setup_epochs, teardown_epochs);
	tcase_add_test(t, epochs_verify);
	tcase_add_test(t, damaged_records_of_epochs);
	tcase_add_test(t, epochs_are_restored);
	tcase_add_test(t, evidence_of_all_epochs);
	tcase_add_test(t, no_recovery_of_epochs);
	return t;
}

TCase *backup_ends_case(void)
{
	TCase *t = backup_case("ends", setup_governed, teardown);
	tcase_add_test(t, an_end_without_its_record);
	return t;
}
