/* Backups of a chain of three epochs that were altered by somebody who makes all hashes right
 * again, and has keys of a former set. */
#include "tests/replica/backup.h"

START_TEST(forged_epochs_are_found)
{
	ck_assert_uint_eq(forge_each(RECORD_EPOCH), 2);
}
END_TEST

/* Instead of the handover of an epoch this one: what somebody makes who has keys. */
static int verify_with(unsigned which, const struct handover *h)
{
	struct records a;
	unsigned at = 0;
	read_records(&a);
	for (uint64_t i = 0; i < a.count; i++) {
		if (a.type[i] != RECORD_EPOCH || at++ != which)
			continue;
		writer_reset(&a.payload[i]);
		handover_encode(&a.payload[i], h);
	}
	write_records(&a, UINT64_MAX, FORGE_FLIP);
	free_records(&a);
	return verify(copy, &w.genesis);
}

START_TEST(handovers_by_others_are_found)
{
	struct handover h = ends[0];
	struct signed_header fillers[2];
	struct chain_ctx first;
	genesis_ctx(&first, &w.genesis);
	ck_assert_int_eq(verify_with(0, &ends[0]), ERR_NONE);
	ck_assert_int_eq(verify_with(0, &ends[1]), ERR_BAD_LINK);
	ck_assert_int_eq(verify_with(1, &ends[0]), ERR_BAD_LINK);
	/* two signatures; three, of which one is of the set that it makes */
	h.cert.count = 2;
	h.cert.signers = 3;
	ck_assert_int_eq(verify_with(0, &h), ERR_NO_QUORUM);
	h.cert = ends[0].cert;
	struct vote v = {.kind = cert_vote_kind(h.cert.kind), .ref = h.cert.ref, .signer = 0};
	vote_sign(&v, &w.ctx, &w.validator[0]);
	h.cert.sig[0] = v.sig;
	ck_assert_int_eq(verify_with(0, &h), ERR_BAD_SIGNATURE);
	vote_sign(&v, &first, &first_key);
	h.cert.sig[0] = v.sig;
	ck_assert_int_eq(verify_with(0, &h), ERR_BAD_SIGNATURE);
	/* a quorum has prepared it only */
	h.cert = ends[0].cert;
	h.cert.kind = CERT_QC_FAST;
	ck_assert_int_eq(verify_with(0, &h), ERR_NO_QUORUM);
	/* without its fillers, with one of them, with one that another leader has signed, or
	 * that has transactions */
	h.cert = ends[0].cert;
	h.filler_count = 0;
	ck_assert_int_eq(verify_with(0, &h), ERR_BAD_LINK);
	h.filler_count = 1;
	ck_assert_int_eq(verify_with(0, &h), ERR_BAD_LINK);
	h.fillers = fillers;
	h.filler_count = 2;
	memcpy(fillers, ends[0].fillers, sizeof fillers);
	signed_header_sign(&fillers[1], &first, &w.validator[3]);
	fillers[1].h.leader = 3;
	ck_assert_int_ne(verify_with(0, &h), ERR_NONE);
	memcpy(fillers, ends[0].fillers, sizeof fillers);
	fillers[1].h.tx_count = 1;
	signed_header_sign(&fillers[1], &first, &w.validator[fillers[1].h.leader]);
	ck_assert_int_eq(verify_with(0, &h), ERR_BAD_LINK);
}
END_TEST

static void insert(struct records *a, uint64_t at, enum backup_record type, struct slice bytes)
{
	ck_assert_uint_lt(a->count, 63);
	memmove(&a->type[at + 1], &a->type[at], (a->count - at) * sizeof a->type[0]);
	memmove(&a->payload[at + 1], &a->payload[at], (a->count - at) * sizeof a->payload[0]);
	a->count++;
	a->type[at] = type;
	a->payload[at] = (struct writer){0};
	writer_raw(&a->payload[at], bytes.ptr, bytes.len);
}

static uint64_t place_of(const struct records *a, enum backup_record type)
{
	uint64_t i = 0;
	while (a->type[i] != type)
		ck_assert_uint_lt(++i, a->count);
	return i;
}

static int verify_records(const struct records *a)
{
	write_records(a, UINT64_MAX, FORGE_FLIP);
	return verify(copy, &w.genesis);
}

/* The records before this one, and an end at that block. */
static int verify_cut(struct records *a, uint64_t at, const struct block *last)
{
	struct backup_summary whole = made;
	struct writer bytes = {0};
	while (a->count > at)
		writer_free(&a->payload[--a->count]);
	made.height = last->sh.h.height;
	made.block = last->hash;
	made.state_root = last->sh.h.state_root;
	writer_u64(&bytes, made.height);
	writer_hash(&bytes, &made.block);
	writer_hash(&bytes, &made.state_root);
	insert(a, at, RECORD_END, writer_slice(&bytes));
	int err = verify_records(a);
	made = whole;
	writer_free(&bytes);
	return err;
}

/* They have a certificate, and nothing in them that could not be executed. */
START_TEST(fillers_are_no_blocks)
{
	struct records a;
	struct writer bytes = {0};
	struct block *b = NULL;
	read_records(&a);
	uint64_t at = place_of(&a, RECORD_EPOCH);
	for (uint32_t i = 0; i < 2; i++) {
		static const uint8_t empty[4];
		block_drop(b);
		ck_assert_int_eq(block_new(&b, &ends[0].fillers[i], slice_of(empty, 4)),
				 ERR_NONE);
		writer_reset(&bytes);
		block_encode(&bytes, b);
		insert(&a, at++, RECORD_BLOCK, writer_slice(&bytes));
	}
	writer_reset(&bytes);
	cert_encode(&bytes, &ends[0].cert);
	insert(&a, at++, RECORD_CERT, writer_slice(&bytes));
	ck_assert_int_eq(verify_cut(&a, at, b), ERR_BAD_LINK);
	block_drop(b);
	writer_free(&bytes);
	free_records(&a);
}
END_TEST

/* It may end with an end, but not without what proves it, even if that has a certificate. */
START_TEST(an_end_with_nothing_behind_it)
{
	struct records a;
	read_records(&a);
	uint64_t at = place_of(&a, RECORD_EPOCH) + 1;
	while (a.type[at] != RECORD_EPOCH)
		at++;
	ck_assert_int_eq(a.type[at - 1], RECORD_CERT);
	ck_assert_int_eq(verify_cut(&a, at + 1, ends[1].end), ERR_NONE);
	ck_assert_int_eq(verify_cut(&a, at, ends[1].end), ERR_TRUNCATED);
	free_records(&a);
}
END_TEST

START_TEST(records_out_of_their_epoch)
{
	const struct backup_check o = {.genesis = &w.genesis};
	struct records a;
	struct writer bytes = {0};
	struct backup_summary s;
	struct errmsg m = {{0}};
	struct record_key k;
	struct cert cert;
	read_records(&a);
	uint64_t at = place_of(&a, RECORD_EPOCH);
	/* a term of the old set, between the end and what proves it */
	writer_u64(&bytes, 4);
	writer_raw(&bytes, old_term.buf, old_term.len);
	insert(&a, at, RECORD_TC, writer_slice(&bytes));
	ck_assert_int_eq(verify_records(&a), ERR_RANGE);
	free_records(&a);
	read_records(&a); /* behind it */
	ck_assert_int_eq(a.type[at + 1], RECORD_TC);
	insert(&a, at + 1, RECORD_TC, writer_slice(&bytes));
	ck_assert_int_eq(verify_records(&a), ERR_BAD_SIGNATURE);
	free_records(&a);
	read_records(&a); /* before the end, which is of an older term: nothing is left of it */
	insert(&a, at - 1, RECORD_TC, writer_slice(&bytes));
	writer_free(&a.payload[at + 2]); /* and that of the new set is left out */
	memmove(&a.type[at + 2], &a.type[at + 3], (a.count - at - 3) * sizeof a.type[0]);
	memmove(&a.payload[at + 2], &a.payload[at + 3],
		(a.count - at - 3) * sizeof a.payload[0]);
	a.count--;
	ck_assert_int_eq(verify_records(&a), ERR_NONE);
	ck_assert_msg(backup_restore(copy, home, &o, &s, &m) == ERR_NONE, "%s", m.text);
	struct store_options options = {.create = false};
	struct store *restored;
	char path[120];
	snprintf(path, sizeof path, "%s/data", home);
	ck_assert_int_eq(store_open_rocksdb(&restored, path, &options, &m), ERR_NONE);
	ck_assert_int_eq(store_get(restored, STORE_CERTS, key_tc(&k, 2), &bytes), ERR_NONE);
	ck_assert_int_eq(store_get(restored, STORE_CERTS, key_tc(&k, 4), &bytes),
			 ERR_NOT_FOUND);
	store_close(restored);
	free_records(&a);
	/* one of the term in which the new epoch begins: nobody signs that */
	struct term_cert tc;
	read_records(&a);
	term_cert_init(&tc);
	tc.term = 2;
	tc.base = block_ref_of(ends[0].end);
	writer_reset(&bytes);
	writer_u64(&bytes, 2);
	term_cert_encode(&bytes, &tc);
	insert(&a, at + 1, RECORD_TC, writer_slice(&bytes));
	ck_assert_int_eq(verify_records(&a), ERR_RANGE);
	free_records(&a);
	/* the new set's certificate for what its epoch begins with */
	struct chain_ctx now = w.ctx, next;
	struct keypair second = w.validator[1];
	uint8_t seed[32] = {2, 1};
	genesis_ctx(&w.ctx, &w.genesis);
	ck_assert_int_eq(handover_check(&ends[0], &w.ctx, &next), ERR_NONE);
	w.ctx = next;
	keypair_from_seed(&w.validator[1], seed);
	world_cert(&w, ends[0].end, CERT_TWO_ROUND, 4, &cert);
	w.validator[1] = second;
	w.ctx = now;
	ck_assert_int_eq(cert_check(&cert, &next), ERR_NONE);
	writer_reset(&bytes);
	cert_encode(&bytes, &cert);
	read_records(&a);
	insert(&a, at + 1, RECORD_CERT, writer_slice(&bytes));
	ck_assert_int_eq(verify_records(&a), ERR_RANGE);
	free_records(&a);
	writer_free(&bytes);
}
END_TEST

/* The next epoch's blocks, by the old set; its certificates too. */
START_TEST(blocks_of_the_old_set_are_found)
{
	struct records a;
	struct chain_ctx now = w.ctx;
	unsigned resigned = 0;
	read_records(&a);
	genesis_ctx(&w.ctx, &w.genesis);
	for (uint64_t i = 0; i < a.count; i++) {
		struct reader r;
		struct block *b;
		if (a.type[i] != RECORD_BLOCK)
			continue;
		reader_init(&r, writer_slice(&a.payload[i]));
		ck_assert_int_eq(block_decode(&r, &b), ERR_NONE);
		if (b->sh.h.height == 8) {
			struct cert cert;
			signed_header_sign(&b->sh, &w.ctx, &w.validator[b->sh.h.leader]);
			writer_reset(&a.payload[i]);
			block_encode(&a.payload[i], b);
			write_records(&a, UINT64_MAX, FORGE_FLIP);
			ck_assert_int_eq(verify(copy, &w.genesis), ERR_BAD_SIGNATURE);
			signed_header_sign(&b->sh, &now, &w.validator[b->sh.h.leader]);
			writer_reset(&a.payload[i]);
			block_encode(&a.payload[i], b);
			ck_assert_int_eq(a.type[i + 1], RECORD_CERT);
			world_cert(&w, b, CERT_TWO_ROUND, 4, &cert);
			writer_reset(&a.payload[i + 1]);
			cert_encode(&a.payload[i + 1], &cert);
			write_records(&a, UINT64_MAX, FORGE_FLIP);
			ck_assert_int_eq(verify(copy, &w.genesis), ERR_BAD_SIGNATURE);
			resigned++;
		}
		block_drop(b);
	}
	ck_assert_uint_eq(resigned, 1);
	w.ctx = now;
	free_records(&a);
}
END_TEST

TCase *backup_forged_case(void)
{
	TCase *t = backup_case("epochs, forged", setup_epochs, teardown_epochs);
	tcase_add_test(t, forged_epochs_are_found);
	tcase_add_test(t, handovers_by_others_are_found);
	tcase_add_test(t, fillers_are_no_blocks);
	tcase_add_test(t, an_end_with_nothing_behind_it);
	tcase_add_test(t, records_out_of_their_epoch);
	tcase_add_test(t, blocks_of_the_old_set_are_found);
	return t;
}
