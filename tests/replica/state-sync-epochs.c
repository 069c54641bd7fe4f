/* States fetched over ends of epochs: who votes then, handovers, liars and crashes. */
#include "tests/replica/state-sync.h"

static unsigned replaced[2] = {1, 2}; /* whose places get new keys, in epochs 1 and 2 */
static struct keypair fresh[2], former;

static void check_jumped(void)
{
	struct certified_header c;
	ck_assert_ptr_null(halted);
	ck_assert_uint_eq(replica_ctx(late)->epoch, 2);
	ck_assert(hash_equal(&replica_ctx(late)->vals.hash, &w.ctx.vals.hash));
	ck_assert_uint_eq(ledger_height(late->ledger), HEIGHTS);
	ck_assert(hash_equal(ledger_root(late->ledger), ledger_root(server->ledger)));
	ck_assert(hash_equal(ledger_hash(late->ledger), ledger_hash(server->ledger)));
	ck_assert_int_eq(replica_certified_header(late, HEIGHTS, &c), ERR_NONE);
	ck_assert_int_eq(certified_header_check(&c, &w.ctx, &w.block0->hash), ERR_NONE);
	certified_header_free(&c);
	for (uint64_t epoch = 1; epoch <= 2; epoch++) { /* and can prove how it came there */
		struct proof_document mine, theirs;
		ck_assert_int_eq(replica_handover(late, epoch, &mine), ERR_NONE);
		ck_assert_int_eq(replica_handover(server, epoch, &theirs), ERR_NONE);
		ck_assert(block_ref_equal(&mine.ch.cert.ref, &theirs.ch.cert.ref));
		proof_document_free(&mine);
		proof_document_free(&theirs);
	}
	audit();
}

/* Epoch 0 ends at 12, by a filler, epoch 1 at 24. */
static void setup_epochs(void)
{
	check = check_jumped;
	setup_again = setup_epochs;
	setup_world();
	former = w.validator[LATE];
	for (uint64_t h = 1; h <= HEIGHTS; h++) {
		unsigned epoch = h > 24 ? 2 : h > 12 ? 1 : 0;
		char key[24];
		snprintf(key, sizeof key, "key-%u", (unsigned)(h * 7) % 31);
		if (h == 12 || h == 24) {
			struct handover handover;
			struct block *filler[1] = {NULL};
			fresh[epoch] = governed_key((uint8_t)epoch);
			struct block *end = governed_end(&w, 3 * epoch + 1, replaced[epoch],
							 &fresh[epoch].pub);
			governed_handover(&w, h == 12, filler, &handover);
			stored_block(served, &w, end);
			if (filler[0]) {
				stored_block(served, &w, filler[0]);
				block_drop(filler[0]);
			}
			replica_close(open_one(served, 0, 0)); /* steps over it */
			governed_step(&w, &handover, replaced[epoch], &fresh[epoch]);
			handover_free(&handover);
			continue;
		}
		struct slice tx = world_put(&w, 0, h, key, key);
		stored_block(served, &w, governed_commit(&w, 3 * epoch + 1, &tx, 1));
		world_free_txs(&tx, 1);
	}
	server = open_one(served, 0, 0);
	ck_assert_uint_eq(replica_ctx(server)->epoch, 2);
	late = open_one(own, LATE, 1);
	ck_assert_uint_eq(replica_ctx(late)->epoch, 0);
}

/* Opens it again: what it is, it stays. */
static void check_again(bool votes)
{
	for (unsigned i = 0; i < 2; i++) {
		check_jumped();
		ck_assert_int_eq(replica_observes(late) == NULL, votes);
		replica_close(late);
		late = open_one(own, LATE, 1);
	}
}

START_TEST(a_voter_votes_on)
{
	ck_assert_ptr_null(replica_observes(late));
	begin();
	for (unsigned i = 0; i < STEPS && !is_home(); i++) {
		step();
		if (i % 7 == 0)
			audit();
	}
	ck_assert_uint_eq(late->sync.status.strikes, 0);
	ck_assert_uint_eq(jumped, HEIGHTS);
	check_again(true);
	uint8_t slot = 0; /* of what it signed in epoch 0, nothing */
	ck_assert_int_eq(store_get(own, STORE_VOTES, slice_of(&slot, 1), &late->scratch),
			 ERR_NOT_FOUND);
}
END_TEST

START_TEST(an_observer_stays_one_over_ends)
{
	replica_close(late);
	store_close(own);
	own = store_open_memory();
	late = open_one(own, LATE, 1);
	ck_assert_ptr_nonnull(replica_observes(late));
	begin();
	run_home();
	check_again(false);
}
END_TEST

/* It voted, and its place has another key now. */
START_TEST(who_lost_its_place)
{
	teardown();
	replaced[1] = LATE;
	setup_epochs();
	replaced[1] = 2;
	replica_close(late);
	struct keypair new = w.validator[LATE];
	w.validator[LATE] = former;
	late = open_one(own, LATE, 1);
	ck_assert_ptr_null(replica_observes(late));
	begin();
	run_home();
	check_again(false);
	w.validator[LATE] = new;
}
END_TEST

/* Its key is that of epoch 2, and was made for it. */
START_TEST(who_got_a_place)
{
	teardown();
	replaced[1] = LATE;
	setup_epochs();
	replaced[1] = 2;
	replica_close(late);
	store_close(own);
	own = store_open_memory();
	ck_assert_int_eq(replica_first_votes_of(own, &w.validator[LATE].pub), ERR_NONE);
	late = open_one(own, LATE, 1);
	ck_assert_ptr_nonnull(replica_observes(late)); /* it has none yet */
	begin();
	run_home();
	check_again(true);
}
END_TEST

/* Only the first of them, so that the others are asked again, sooner than they answer. */
static bool tells_less(unsigned from, struct writer *bytes)
{
	struct sync_msg m;
	(void)from;
	if (bytes->buf[0] != SYNC_HANDOVERS)
		return true;
	lies++;
	ck_assert_int_eq(sync_decode(&m, writer_slice(bytes)), ERR_NONE);
	ck_assert_uint_eq(m.handover_count, 2);
	handover_free(&m.handovers[--m.handover_count]);
	writer_reset(bytes);
	sync_encode(bytes, &m);
	sync_msg_free(&m);
	return true;
}

START_TEST(handovers_are_held_back)
{
	lies = 0;
	tell_once = true;
	lie(tells_less, 0, 0);
	tell_once = false;
	ck_assert_uint_eq(lies, 1);
	ck_assert_uint_eq(late->sync.status.strikes, 0);
	ck_assert_uint_lt(now, 1000000 + SYNC_AGAIN_US); /* in the first round */
}
END_TEST

START_TEST(handovers_are_lied_about)
{
	unsigned struck = 0, runs = 0;
	for (unsigned at = 8; at < 8 * 2000; at += 211) {
		lies = 0;
		lie(flips, SYNC_HANDOVERS, at);
		runs += lies > 0;
		struck += late->sync.status.strikes > 0;
	}
	ck_assert_uint_gt(runs, 60);
	ck_assert_uint_gt(struck, 0);
	for (unsigned at = 0; at < 60; at += 7)
		lie(cuts, SYNC_HANDOVERS, at);
	static const unsigned types[] = {SYNC_OFFER, SYNC_RANGE, SYNC_BLOCKS};
	for (unsigned t = 0; t < MEM_COUNT(types); t++) /* behind their envelope */
		for (unsigned at = 8 * 9; at < 8 * 700; at += 1009)
			lie(flips, 63, at);
}
END_TEST

static unsigned count_blocks(void)
{
	const struct slice none = {0};
	struct slice key, value;
	unsigned count = 0;
	struct store_iter *it = store_iter_new(own, STORE_BLOCKS, none, none, false);
	while (store_iter_next(it, &key, &value))
		count++;
	store_iter_free(it);
	return count;
}

/* What proved the later epochs is gone with the process: it begins anew, and its engine finds
 * no block that is not of its epoch. */
START_TEST(a_restart_gives_it_up)
{
	unsigned found[2] = {0};
	for (unsigned letters = 1; letters < 2000; letters += 6) {
		teardown();
		setup_epochs();
		begin();
		budget = letters;
		while (budget && !is_home())
			step();
		budget = 0;
		if (jumped)
			break;
		bool by_restart = letters / 6 % 2;
		found[by_restart] += count_blocks() > 0;
		if (by_restart) {
			replica_close(late);
			late = open_one(own, LATE, 1);
			ck_assert_int_eq(late->sync.phase, SYNC_IDLE);
		} else { /* or all that it asks have gone on meanwhile */
			struct sync *s = &late->sync;
			now += SYNC_LOST_US + SYNC_AGAIN_US;
			replica_tick(late, now);
			while (queued > 0)
				writer_free(&queue[--queued].bytes);
			if (s->phase == SYNC_BUILDING || jumped)
				continue; /* it had all */
			ck_assert_int_eq(s->phase, SYNC_IDLE);
		}
		ck_assert_uint_eq(count_blocks(), 0);
		ck_assert_uint_eq(replica_ctx(late)->epoch, 0);
		begin();
		run_home();
		check_jumped();
	}
	ck_assert_uint_gt(found[0], 0);
	ck_assert_uint_gt(found[1], 0);
}
END_TEST

/* What the epoch that it leaves had above its end has places that are another epoch's now. */
START_TEST(nothing_is_left_of_fillers)
{
	struct record_key k;
	struct writer bytes = {0};
	struct store_batch *batch = store_batch_new();
	struct chain_ctx now_ctx = w.ctx;
	struct block *at = block_hold(w.block0);
	uint64_t top = 0;
	genesis_ctx(&w.ctx, &w.genesis);
	for (unsigned i = 0; i < HEIGHTS + 5; i++) { /* nobody asks whose children they are */
		struct block *b = governed_filler(&w, at, 2 + i);
		block_drop(at);
		at = b;
		top = b->sh.h.height;
		writer_reset(&bytes);
		block_encode(&bytes, b);
		store_batch_put(batch, STORE_BLOCKS, key_block(&k, top, &b->hash),
				writer_slice(&bytes));
	}
	struct cert cert;
	world_cert(&w, at, CERT_TWO_ROUND, 3, &cert);
	writer_reset(&bytes);
	cert_encode(&bytes, &cert);
	store_batch_put(batch, STORE_CERTS, key_cert(&k, top), writer_slice(&bytes));
	store_batch_put(batch, STORE_CERTS, key_tc(&k, 9), slice_str("of a filler's term"));
	ck_assert_int_eq(store_write(own, batch, true), ERR_NONE);
	store_batch_free(batch);
	w.ctx = now_ctx;
	begin();
	run_home();
	check_again(true);
	ck_assert_int_eq(store_get(own, STORE_CERTS, key_tc(&k, 9), &bytes), ERR_NOT_FOUND);
	ck_assert_int_eq(store_get(own, STORE_CERTS, key_cert(&k, top), &bytes), ERR_NOT_FOUND);
	ck_assert_int_eq(store_get(own, STORE_BLOCKS, key_block(&k, top, &at->hash), &bytes),
			 ERR_NOT_FOUND);
	ck_assert_uint_le(count_blocks(), 2 * HEIGHTS); /* of each, the block and its index */
	block_drop(at);
	writer_free(&bytes);
}
END_TEST

/* Each part of the way asked of it 10000 times in a second. */
START_TEST(who_asks_for_handovers)
{
	const struct sync_msg m = {.type = SYNC_ASK};
	struct writer bytes = {0};
	sync_encode(&bytes, &m);
	asked_of = 0;
	for (unsigned i = 0; i < 10000; i++) {
		now += 100;
		replica_message(server, now, 1, writer_slice(&bytes));
		while (queued > 0)
			writer_free(&queue[--queued].bytes);
	}
	ck_assert_uint_gt(answers, 1);
	ck_assert_uint_le(answers, 1000000 / SERVE_ASKS_US + 1);
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		ck_assert_uint_eq(server->serve.pin[i].height, 0);
	writer_free(&bytes);
}
END_TEST

TCase *sync_epochs_case(void)
{
	TCase *t = sync_case("epochs", setup_epochs);
	tcase_add_test(t, a_voter_votes_on);
	tcase_add_test(t, an_observer_stays_one_over_ends);
	tcase_add_test(t, who_lost_its_place);
	tcase_add_test(t, who_got_a_place);
	tcase_add_test(t, handovers_are_held_back);
	tcase_add_test(t, handovers_are_lied_about);
	tcase_add_test(t, a_restart_gives_it_up);
	tcase_add_test(t, nothing_is_left_of_fillers);
	add_deaths(t);
	tcase_add_test(t, who_asks_for_handovers);
	return t;
}
