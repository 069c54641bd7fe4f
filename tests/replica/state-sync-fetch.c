/* What is fetched, from whom it is taken, what a liar and a crash can do. */
#include "tests/replica/state-sync.h"

START_TEST(a_state_comes_whole)
{
	audit();
	begin();
	for (unsigned i = 0; i < STEPS && !is_home(); i++) {
		step();
		if (i % 7 == 0)
			audit(); /* nothing that is on the way is taken for damage */
	}
	check_home();
	ck_assert_uint_eq(late->sync.status.strikes, 0);
	ck_assert_uint_eq(late->sync.status.retries, 0);
	ck_assert_uint_eq(jumped, HEIGHTS);
	ck_assert_uint_eq(late->sync.status.completed, 1);
	ck_assert_ptr_null(replica_observes(late)); /* it has signed nothing, and knows so */
	/* It executes the next block like anybody, and starts again on what it has. */
	struct slice tx = world_put(&w, 0, HEIGHTS + 1, "next", "block");
	struct block *b = world_build(&w, w.tip, 1, &tx, 1, NULL);
	ck_assert_int_eq(ledger_execute(late->ledger, b, false), ERR_NONE);
	block_drop(b);
	mem_free((void *)tx.ptr);
	replica_close(late);
	late = open_one(own, LATE, 1);
	check_home();
}
END_TEST

/* An observer's slots go; it stays one. */
START_TEST(an_observer_stays_one)
{
	struct store_batch *batch = store_batch_new();
	replica_close(late);
	store_close(own);
	own = store_open_memory();
	late = open_one(own, LATE, 1);
	ck_assert_ptr_nonnull(replica_observes(late));
	begin();
	run_home();
	check_home();
	ck_assert_ptr_nonnull(replica_observes(late));
	for (uint8_t slot = 0; slot < VOTE_SLOTS; slot++)
		ck_assert_int_eq(
			store_get(own, STORE_VOTES, slice_of(&slot, 1), &late->scratch),
			ERR_NOT_FOUND);
	store_batch_free(batch);
}
END_TEST

/* A home that has voted, for the while under a key that has no place: what its own key has
 * signed is not forgotten, or that one signs no more. */
START_TEST(another_keys_votes_stay)
{
	struct store_batch *batch = store_batch_new();
	struct keypair mine = w.validator[LATE];
	uint8_t slot = 3, vote[2] = {1, 0};
	store_batch_put(batch, STORE_VOTES, slice_of(&slot, 1), slice_of(vote, sizeof vote));
	ck_assert_int_eq(store_write(own, batch, true), ERR_NONE);
	store_batch_free(batch);
	replica_close(late);
	w.validator[LATE] = governed_key(9);
	late = open_one(own, LATE, 1);
	ck_assert_ptr_nonnull(replica_observes(late));
	begin();
	run_home();
	check_home();
	ck_assert_ptr_nonnull(replica_observes(late));
	replica_close(late);
	w.validator[LATE] = mine;
	late = open_one(own, LATE, 1);
	bool forgot = store_get(own, STORE_VOTES, slice_of(&slot, 1), &late->scratch) != 0;
	ck_assert(replica_observes(late) || !forgot);
}
END_TEST

/* ---- liars ------------------------------------------------------------------------------- */

static bool says_gone(unsigned from, struct writer *bytes)
{
	(void)from;
	lies++;
	if (bytes->buf[0] == SYNC_RANGE)
		bytes->len = 1 + 8 + 2 * HASH_SIZE;
	else if (bytes->buf[0] == SYNC_BLOCKS)
		return false;
	bytes->buf[0] = SYNC_GONE;
	return true;
}

static bool says_nothing(unsigned from, struct writer *bytes)
{
	(void)from;
	lies++;
	return bytes->buf[0] == SYNC_OFFER;
}

START_TEST(a_bit_is_flipped)
{
	static const unsigned types[] = {SYNC_OFFER, SYNC_RANGE, SYNC_BLOCKS};
	unsigned struck = 0, runs = 0;
	for (unsigned t = 0; t < MEM_COUNT(types); t++)
		for (unsigned at = 8; at < 8 * 700; at += 97) {
			lies = 0;
			lie(flips, types[t], at);
			struck += late->sync.status.strikes > 0;
			runs += lies > 0;
		}
	ck_assert_uint_gt(runs, 120);
	/* What answers another question, or offers another height, is no proof of a lie. */
	ck_assert_uint_gt(struck, runs / 2);
}
END_TEST

START_TEST(answers_are_cut_or_missing)
{
	static const unsigned types[] = {SYNC_OFFER, SYNC_RANGE, SYNC_BLOCKS};
	for (unsigned t = 0; t < MEM_COUNT(types); t++)
		for (unsigned at = 0; at < 60; at += 7)
			lie(cuts, types[t], at);
	lies = 0;
	lie(says_gone, 0, 0);
	ck_assert_uint_eq(late->sync.status.strikes, 0);
	lie(says_nothing, 0, 0);
	ck_assert_uint_eq(late->sync.status.strikes, 0);
	ck_assert_uint_gt(late->sync.status.retries, 0);
	ck_assert_uint_gt(lies, 0);
}
END_TEST

/* Answers of the liar's that wait until it pleases to send them: one and then one more, each
 * soon enough. */
static struct letter held[64];
static unsigned held_count;
static uint64_t held_until;

static bool drips(unsigned from, struct writer *bytes)
{
	if (bytes->buf[0] != SYNC_RANGE)
		return true;
	ck_assert_uint_lt(held_count, MEM_COUNT(held));
	struct letter *l = &held[held_count++];
	*l = (struct letter){.from = from};
	writer_raw(&l->bytes, bytes->buf, bytes->len);
	return false;
}

static void let_drip(void)
{
	if (held_count == 0 || now < held_until)
		return;
	replica_message(late, now, held[0].from, writer_slice(&held[0].bytes));
	writer_free(&held[0].bytes);
	memmove(held, held + 1, --held_count * sizeof held[0]);
	held_until = now + SYNC_ASK_US - 50000;
}

/* It alone has the state at first, and takes its time: the others are asked again. */
START_TEST(one_peer_takes_its_time)
{
	uint64_t from = now;
	liar = drips;
	held_count = 0;
	held_until = 0;
	others_behind_until = now + 4000000;
	begin();
	for (unsigned i = 0; i < 2 * STEPS && !is_home(); i++) {
		step();
		let_drip();
	}
	while (held_count)
		writer_free(&held[--held_count].bytes);
	check_home();
	ck_assert_uint_lt(now - from, 30000000);
}
END_TEST

/* The blocks below the state's, and the stable checkpoint, without which a validator can show
 * no position: it is not one peer alone that says whether they can be had. */
static bool gives_least(unsigned from, struct writer *bytes)
{
	struct sync_msg m;
	(void)from;
	if (bytes->buf[0] != SYNC_OFFER && bytes->buf[0] != SYNC_BLOCKS)
		return true;
	ck_assert_int_eq(sync_decode(&m, writer_slice(bytes)), ERR_NONE);
	lies++;
	writer_reset(bytes);
	m.has_stable = false;
	if (m.type == SYNC_BLOCKS && m.height < HEIGHTS)
		m.type = SYNC_GONE;
	while (m.count > 1)
		block_drop(m.blocks[--m.count]);
	sync_encode(bytes, &m);
	sync_msg_free(&m);
	return true;
}

static void put_stable_at(struct store *s, uint64_t height)
{
	struct writer bytes = {0};
	struct block *b;
	struct cert cert;
	const uint8_t slot = 3;
	ck_assert_int_eq(replica_block(server, height, &b), ERR_NONE);
	world_cert(&w, b, CERT_CHECKPOINT, 3, &cert);
	writer_u8(&bytes, 1);
	writer_u8(&bytes, 1);
	cert_encode(&bytes, &cert);
	struct store_batch *batch = store_batch_new();
	store_batch_put(batch, STORE_VOTES, slice_of(&slot, 1), writer_slice(&bytes));
	ck_assert_int_eq(store_write(s, batch, true), ERR_NONE);
	store_batch_free(batch);
	writer_free(&bytes);
	block_drop(b);
}

START_TEST(one_peer_gives_the_least)
{
	struct cert stable;
	uint64_t below = 2 * 2 + 2 * 4 + 2; /* of setup_world()'s interval and window */
	put_stable_at(served, HEIGHTS);
	liar = gives_least;
	lies = 0;
	if (_i)
		others_behind_until = now + 3000000;
	begin();
	run_home();
	check_home();
	ck_assert_uint_gt(lies, 1);
	ck_assert_uint_eq(replica_blocks_from(late), HEIGHTS - below);
	ck_assert(serve_stable(late, &stable));
	ck_assert_uint_eq(stable.ref.height, HEIGHTS);
}
END_TEST

/* What nobody asked for is not even read. */
START_TEST(unasked_answers)
{
	static const uint8_t types[] = {SYNC_OFFER, SYNC_RANGE, SYNC_BLOCKS, SYNC_GONE};
	uint8_t bytes[200] = {0};
	for (unsigned i = 0; i < MEM_COUNT(types); i++) {
		bytes[0] = types[i];
		replica_message(late, now, 1, slice_of(bytes, sizeof bytes));
	}
	ck_assert_uint_eq(late->sync.status.stale, MEM_COUNT(types));
	ck_assert_uint_eq(late->sync.status.malformed, 0);
	replica_message(late, now, LATE, slice_of(bytes, sizeof bytes));
	replica_message(late, now, 9, slice_of(bytes, sizeof bytes));
	ck_assert_uint_eq(late->sync.status.stale, MEM_COUNT(types));
}
END_TEST

/* Giving up what was fetched fails on the disk when a block gets there: nobody is told of the
 * block, for it is not written. */
START_TEST(no_disk_when_a_block_comes)
{
	struct block *b;
	struct cert cert;
	begin();
	for (unsigned i = 0; i < STEPS && !late->sync.height; i++)
		step();
	ck_assert_uint_gt(late->sync.height, 0);
	ck_assert_int_eq(replica_block(server, late->sync.height, &b), ERR_NONE);
	world_cert(&w, b, CERT_TWO_ROUND, 3, &cert);
	const struct final_block f = {.block = b, .cert = &cert};
	uint64_t before = ledger_height(late->ledger);
	store_memory_fail_write(own, 1);
	replica_driver_host.final(late, &f);
	ck_assert_ptr_nonnull(halted);
	ck_assert_uint_eq(ledger_height(late->ledger), before);
	block_drop(b);
}
END_TEST

/* ---- crashes ----------------------------------------------------------------------------- */

static void killed(void *ctx)
{
	(void)ctx;
	died = true;
}

/* Dies at its nth write; a prefix of what was not synced is left. */
static bool dies_at(uint64_t nth, struct random *random)
{
	teardown();
	setup_again();
	store_memory_kill(own, nth, killed, NULL);
	begin();
	for (unsigned i = 0; i < STEPS && !died && !is_home(); i++)
		step();
	if (!died) {
		store_memory_kill(own, 0, NULL, NULL);
		return false;
	}
	replica_close(late);
	late = NULL;
	store_memory_crash(own, random);
	died = false;
	halted = NULL;
	late = open_one(own, LATE, 1);
	uint64_t height = ledger_height(late->ledger);
	ck_assert(height == 0 || height == HEIGHTS);
	audit();
	if (height == 0 && late->sync.phase == SYNC_IDLE) { /* nothing of it was left */
		begin();
	} else if (height) {
		jumped = height;
	}
	run_home();
	check();
	return true;
}

START_TEST(it_dies_at_each_write)
{
	struct random random;
	uint64_t nth = 1;
	random_seed(&random, 5);
	while (dies_at(nth, &random))
		nth += nth < 20 ? 1 : 3;
	ck_assert_uint_gt(nth, 256);
	printf("died at each third of %llu writes\n", (unsigned long long)nth);
}
END_TEST

void add_deaths(TCase *t)
{
	tcase_add_test(t, it_dies_at_each_write);
}

TCase *sync_fetch_case(void)
{
	TCase *t = sync_case("state-sync", setup);
	tcase_add_test(t, a_state_comes_whole);
	tcase_add_test(t, an_observer_stays_one);
	tcase_add_test(t, another_keys_votes_stay);
	tcase_add_test(t, a_bit_is_flipped);
	tcase_add_test(t, answers_are_cut_or_missing);
	tcase_add_test(t, one_peer_takes_its_time);
	tcase_add_loop_test(t, one_peer_gives_the_least, 0, 2);
	tcase_add_test(t, unasked_answers);
	tcase_add_test(t, no_disk_when_a_block_comes);
	add_deaths(t);
	return t;
}
