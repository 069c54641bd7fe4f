/* State sync between whole replicas, message by message: what is fetched, from whom it is
 * taken, what a liar and a crash can do, what a hostile asker gets. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/hybrid/message.h"
#include "replica/audit.h"
#include "tests/replica/governed.h"
#include "tests/replica/quiet.h"
#include "tests/replica/stored.h"

#define HEIGHTS 40
#define LATE	3
#define QUEUE	8192
#define STEP_US 5000
#define STEPS	20000

/* One replica answers for the validators 0 to 2; validator 3 fetches. */
struct letter {
	unsigned from, to;
	struct writer bytes;
};
static struct world w;
static struct store *served, *own;
static struct replica *server, *late;
static struct letter queue[QUEUE];
static unsigned queued, asked_of; /* whom a question was for */
static uint64_t now, answers, answer_bytes, jumped;
static uint64_t history = LEDGER_HISTORY_MIN;  /* of the server */
static uint64_t block_answers, largest_answer; /* of the one that was late: MSG_BLOCKS */
static const char *halted;
static bool died;
static unsigned budget; /* letters until a step is cut off; 0: all */
static void check_home(void), setup(void);
static void (*check)(void) = check_home, (*setup_again)(void) = setup;
/* Alters what this peer answers; false: it is not sent. The others are a little behind until
 * then, and have not got the state yet. */
static bool (*liar)(unsigned from, struct writer *bytes);
static uint64_t others_behind_until;

static void post(unsigned from, unsigned to, struct slice bytes)
{
	if (queued == QUEUE)
		return;
	struct letter *l = &queue[queued++];
	*l = (struct letter){.from = from, .to = to};
	writer_raw(&l->bytes, bytes.ptr, bytes.len);
}

static void server_sends(void *ctx, const struct message *m)
{
	(void)ctx;
	if (!engine_message_is_sync(m->type))
		return;
	answers++;
	answer_bytes += m->bytes.len;
	post(asked_of, LATE, m->bytes);
}

static void late_sends(void *ctx, const struct message *m)
{
	(void)ctx;
	if (m->type == MSG_BLOCKS) {
		block_answers++;
		largest_answer = m->bytes.len > largest_answer ? m->bytes.len : largest_answer;
	}
	if (!engine_message_is_sync(m->type))
		return;
	for (unsigned i = 0; i < LATE; i++)
		if (m->to >> i & 1)
			post(LATE, i, m->bytes);
}

static void host_halted(void *ctx, const char *why)
{
	(void)ctx;
	halted = why;
}
static void host_reopened(void *ctx, uint64_t height)
{
	(void)ctx;
	jumped = height;
}

static struct replica *open_one(struct store *s, unsigned self, uint64_t gap)
{
	const struct replica_config config = {
		.genesis = &w.genesis,
		.store = s,
		.self = self,
		.key = w.validator[self],
		.seed = 1,
		.now = now,
		.history = self == LATE ? LEDGER_HISTORY_MIN : history,
		.sync_gap = gap,
		.host = {.send = self == LATE ? late_sends : server_sends,
			 .sync = quiet_sync,
			 .final = quiet_final,
			 .rejected = quiet_rejected,
			 .halted = host_halted,
			 .wall_ms = quiet_wall,
			 .reopened = host_reopened}};
	struct errmsg m = {{0}};
	struct replica *r;
	ck_assert_msg(replica_open(&r, &config, &m) == ERR_NONE, "%s", m.text);
	return r;
}

/* A chain with a mode entry and a conviction's effects, on a few hundred keys. */
static void make_chain(void)
{
	for (uint64_t h = 1; h <= HEIGHTS; h++) {
		struct slice txs[1 + WORLD_CLIENTS];
		uint32_t count = varied_txs(&w, h, txs);
		stored_block(served, &w, world_commit(&w, txs, count));
		world_free_txs(txs, count);
	}
}

static void setup_world(void)
{
	world_genesis(&w, 1000);
	w.genesis.checkpoint_interval = 2;
	w.genesis.limits.window = 4;
	governed_genesis(&w, 2);
	world_seal(&w);
	world_open(&w, NULL);
	served = store_open_memory();
	own = store_open_memory();
	ck_assert_int_eq(replica_first_votes(served), ERR_NONE);
	ck_assert_int_eq(replica_first_votes(own), ERR_NONE);
	now = 1000000;
	queued = 0;
	answers = answer_bytes = jumped = 0;
	halted = NULL;
	died = false;
	liar = NULL;
	others_behind_until = 0;
}

static void setup(void)
{
	check = check_home;
	setup_again = setup;
	setup_world();
	make_chain();
	server = open_one(served, 0, 0);
	late = open_one(own, LATE, 1);
}

static void teardown(void)
{
	while (queued > 0)
		writer_free(&queue[--queued].bytes);
	replica_close(server);
	replica_close(late);
	store_close(served);
	store_close(own);
	world_free(&w);
}

static void step(void);

/* As look() does once it has heard of heights far above, and nothing is left to be swept. */
static void begin(void)
{
	struct sync *s = &late->sync;
	const struct sync_msg m = {.type = SYNC_ASK};
	struct writer bytes = {0};
	while (s->sweeping)
		step();
	sync_encode(&bytes, &m);
	for (unsigned i = 0; i < LATE; i++) {
		s->peer[i].asked = true;
		post(LATE, i, writer_slice(&bytes));
	}
	writer_free(&bytes);
	s->phase = SYNC_ASKING;
	s->ask_until = now + SYNC_ASK_US;
}

/* Each validator tells of later epochs once only, as it would in so short a time. */
static bool tell_once, told[LATE];

static bool asks_in_vain(const struct letter *l)
{
	const uint8_t *b = l->bytes.buf;
	bool epoch_0 = b[0] == SYNC_ASK;
	bool epoch_1 = b[0] == EPOCH_ENVELOPE && load_be64(b + 1) < 2 && b[9] == SYNC_ASK;
	if (!tell_once || (!epoch_0 && !epoch_1))
		return false;
	bool again = told[l->to];
	told[l->to] = true;
	return again;
}

static void deliver(struct letter *l)
{
	struct slice bytes = writer_slice(&l->bytes);
	if (l->to == LATE && l->from != 0 && now < others_behind_until) {
		l->bytes.len = 1 + 8 + 2 * HASH_SIZE;
		memset(l->bytes.buf + 9, 0, 2 * HASH_SIZE);
		l->bytes.buf[0] = SYNC_GONE;
		replica_message(late, now, l->from, writer_slice(&l->bytes));
	} else if (l->to == LATE) {
		bool lies = liar && l->from == 0;
		if (!lies || liar(l->from, &l->bytes))
			replica_message(late, now, l->from, writer_slice(&l->bytes));
	} else if (!asks_in_vain(l)) {
		/* A server of its own for each: its pace and its queues are. */
		asked_of = l->to;
		memset(&server->serve.peer[LATE], 0, sizeof server->serve.peer[LATE]);
		replica_message(server, now, LATE, bytes);
	}
	writer_free(&l->bytes);
}

static void step(void)
{
	now += STEP_US;
	replica_tick(late, now);
	replica_tick(server, now);
	for (unsigned i = 0; i < queued && i < QUEUE; i++) {
		struct letter l = queue[i];
		queue[i].bytes = (struct writer){0};
		deliver(&l);
		if (died || --budget == 0)
			break;
	}
	for (unsigned i = 0; i < queued; i++)
		writer_free(&queue[i].bytes);
	queued = 0;
}

static bool is_home(void)
{
	return jumped && !late->sync.sweeping && late->sync.phase == SYNC_IDLE;
}

static void found(void *arg, const struct finding *f)
{
	(void)arg;
	ck_abort_msg("%s: %s (%s) %s", store_family_name(f->family), f->what, err_text(f->err),
		     f->key);
}

static bool on_step(void *arg, uint64_t height, uint64_t max, uint64_t bytes, uint64_t most)
{
	(void)arg, (void)height, (void)max, (void)bytes, (void)most;
	return true;
}

static void audit(void)
{
	const struct audit_options o = {.genesis = &w.genesis, .found = found, .step = on_step};
	struct audit_result result;
	struct errmsg m = {{0}};
	ck_assert_msg(replica_audit(own, &o, &result, &m) == ERR_NONE, "%s", m.text);
}

static void check_home(void)
{
	struct mode_state mine, theirs;
	struct certified_header c;
	ck_assert_ptr_null(halted);
	ck_assert_uint_eq(ledger_height(late->ledger), HEIGHTS);
	ck_assert(hash_equal(ledger_root(late->ledger), ledger_root(server->ledger)));
	ck_assert(hash_equal(ledger_hash(late->ledger), ledger_hash(server->ledger)));
	ck_assert_int_eq(ledger_mode_state(late->ledger, &mine), ERR_NONE);
	ck_assert_int_eq(ledger_mode_state(server->ledger, &theirs), ERR_NONE);
	ck_assert_int_eq(mine.mode, MODE_PBFT);
	ck_assert_uint_eq(mine.changed, theirs.changed);
	struct ledger_stats a, b;
	ledger_stats(late->ledger, &a);
	ledger_stats(server->ledger, &b);
	ck_assert_uint_eq(a.keys, b.keys);
	ck_assert_uint_eq(a.senders, b.senders);
	ck_assert_uint_gt(replica_blocks_from(late), 1);
	ck_assert_int_eq(replica_certified_header(late, HEIGHTS, &c), ERR_NONE);
	ck_assert_int_eq(certified_header_check(&c, &w.ctx, &w.block0->hash), ERR_NONE);
	certified_header_free(&c);
	audit();
}

static void run_home(void)
{
	for (unsigned i = 0; i < STEPS && !is_home(); i++)
		step();
	ck_assert(is_home());
}

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

static unsigned lie_type, lie_at, lies;

static bool flips(unsigned from, struct writer *bytes)
{
	(void)from;
	if (bytes->buf[0] != lie_type || lie_at >= 8 * bytes->len)
		return true;
	lies++;
	bytes->buf[lie_at / 8] ^= (uint8_t)(1u << lie_at % 8);
	return true;
}

static bool cuts(unsigned from, struct writer *bytes)
{
	(void)from;
	if (bytes->buf[0] != lie_type || bytes->len < 20)
		return true;
	lies++;
	bytes->len = 10 + lie_at % (bytes->len - 10);
	return true;
}

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

static void lie(bool (*how)(unsigned, struct writer *), unsigned type, unsigned at)
{
	teardown();
	setup_again();
	liar = how;
	lie_type = type;
	lie_at = at;
	begin();
	run_home();
	check();
	ck_assert_uint_eq(late->sync.struck & ~1u, 0); /* the honest are never struck off */
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

/* ---- hostile askers ---------------------------------------------------------------------- */

START_TEST(who_asks_too_much)
{
	struct sync_msg m = {.type = SYNC_GET, .height = HEIGHTS};
	struct writer bytes = {0};
	memset(m.to.b, 0xff, HASH_SIZE);
	sync_encode(&bytes, &m);
	asked_of = 0;
	for (unsigned i = 0; i < 10000; i++) { /* in a second */
		now += 100;
		replica_message(server, now, 1, writer_slice(&bytes));
		while (queued > 0)
			writer_free(&queue[--queued].bytes);
	}
	ck_assert_uint_le(answers, 1000000 / SERVE_SPACING_US + 1);
	ck_assert_uint_gt(answers, 20);
	ck_assert_uint_gt(server->serve.refused, 9000);
	writer_free(&bytes);
}
END_TEST

START_TEST(who_asks_for_every_state)
{
	struct writer bytes = {0};
	asked_of = 0;
	for (uint64_t h = 1; h <= HEIGHTS + 3; h++) {
		const struct sync_msg m = {.type = SYNC_ASK, .height = h};
		writer_reset(&bytes);
		sync_encode(&bytes, &m);
		now += SERVE_ASKS_US;
		replica_message(server, now, 1, writer_slice(&bytes));
	}
	unsigned pins = 0;
	for (unsigned i = 0; i < SERVE_PINS_MAX; i++)
		pins += server->serve.pin[i].height > 0;
	ck_assert_uint_eq(pins, SERVE_PINS_MAX);
	/* Still there is an offer for who comes with good intentions. */
	begin();
	run_home();
	ck_assert_uint_gt(ledger_height(late->ledger), 0);
	now += SERVE_PIN_LIFE_US;
	replica_tick(server, now);
	for (unsigned i = 0; i < SERVE_PINS_MAX; i++)
		ck_assert_uint_eq(server->serve.pin[i].height, 0);
	writer_free(&bytes);
}
END_TEST

/* Blocks become final at the server. */
static void go_on(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct cert cert;
		struct slice tx = world_put(&w, 0, w.tip->sh.h.height + 1, "same", "other");
		struct block *b = world_commit(&w, &tx, 1);
		stored_block(served, &w, b);
		world_cert(&w, b, CERT_TWO_ROUND, 3, &cert);
		const struct final_block f = {.block = b, .cert = &cert};
		ck_assert_int_eq(ledger_execute(server->ledger, b, false), ERR_NONE);
		replica_driver_host.final(server, &f);
		world_free_txs(&tx, 1);
	}
}

/* Asked for without a pause, an old state is kept as long as it may be, and not again and
 * again: all that changes meanwhile is kept with it. */
START_TEST(who_asks_for_one_state_for_ever)
{
	const struct sync_msg m = {.type = SYNC_ASK, .height = HEIGHTS};
	struct writer bytes = {0};
	sync_encode(&bytes, &m);
	asked_of = 0;
	history = 0;
	replica_close(server);
	server = open_one(served, 0, 0);
	history = LEDGER_HISTORY_MIN;
	for (unsigned round = 0; round < 15000; round++) {
		now += SERVE_PIN_LIFE_US / 5000;
		replica_message(server, now, 1, writer_slice(&bytes));
		while (queued > 0)
			writer_free(&queue[--queued].bytes);
		if (round % 200 == 0)
			go_on(1);
		if (round == 4500)
			ck_assert_uint_eq(ledger_oldest(server->ledger), HEIGHTS);
	}
	ck_assert_uint_gt(ledger_height(server->ledger), HEIGHTS + 70);
	ck_assert_uint_ge(ledger_oldest(server->ledger) + 2, ledger_height(server->ledger));
	writer_free(&bytes);
}
END_TEST

START_TEST(questions_that_make_no_sense)
{
	struct sync_msg m = {.type = SYNC_GET, .height = HEIGHTS};
	struct writer bytes = {0};
	asked_of = 0;
	memset(m.from.b, 0xff, HASH_SIZE); /* bounds that cross */
	const uint64_t heights[] = {0, 1, HEIGHTS, HEIGHTS + 1, UINT64_MAX};
	const enum sync_type types[] = {SYNC_GET, SYNC_GET_BLOCKS, SYNC_ASK};
	for (unsigned t = 0; t < MEM_COUNT(types); t++)
		for (unsigned i = 0; i < MEM_COUNT(heights); i++) {
			m.type = types[t];
			m.height = heights[i];
			writer_reset(&bytes);
			sync_encode(&bytes, &m);
			for (size_t len = 0; len <= bytes.len; len++) {
				now += SERVE_ASKS_US;
				replica_message(server, now, 1, slice_of(bytes.buf, len));
				while (queued > 0)
					writer_free(&queue[--queued].bytes);
			}
		}
	ck_assert(!replica_halted(server));
	ck_assert_uint_eq(server->serve.ranges, 0);
	writer_free(&bytes);
}
END_TEST

/* What is read of blocks: the linker leads calls of store_get() here (Makefile.inc). */
int __real_store_get(struct store *s, enum store_family f, struct slice key,
		     struct writer *out);
int __wrap_store_get(struct store *s, enum store_family f, struct slice key,
		     struct writer *out);
static uint64_t blocks_read;

int __wrap_store_get(struct store *s, enum store_family f, struct slice key, struct writer *out)
{
	blocks_read += f == STORE_BLOCKS && key.ptr[0] == 'b';
	return __real_store_get(s, f, key, out);
}

static void ask_for_a_minute(struct replica *r, unsigned every_us, const struct sync_msg *m)
{
	struct writer bytes = {0};
	asked_of = 0;
	sync_encode(&bytes, m);
	for (uint64_t until = now + 60000000; now < until;) {
		now += every_us;
		replica_message(r, now, 1, writer_slice(&bytes));
		while (queued > 0)
			writer_free(&queue[--queued].bytes);
	}
	writer_free(&bytes);
}

/* A block is read for who knows its hash; and who reads much has to wait for it. */
START_TEST(questions_that_cost_much)
{
	struct sync_msg m = {.type = SYNC_GET_BLOCKS, .height = HEIGHTS};
	blocks_read = 0;
	ask_for_a_minute(server, 1000, &m);
	ck_assert_uint_eq(blocks_read, 0);
	/* Of blocks that came with a state only the last has a certificate. */
	begin();
	run_home();
	blocks_read = 0;
	m = (struct sync_msg){.type = SYNC_ASK,
			      .height = replica_blocks_from(late) + 1,
			      .above = SYNC_HEADER_ONLY};
	ask_for_a_minute(late, SERVE_ASKS_US, &m);
	ck_assert_uint_gt(blocks_read, 13);
	ck_assert_uint_lt(blocks_read, 60 * 5 * 13 / 3);
}
END_TEST

/* Who has fetched a state has no certificates of the blocks that came with it. They are handed
 * on all the same, in messages that can be sent. */
START_TEST(large_blocks_without_certificates)
{
	static char large[60001];
	struct writer bytes = {0};
	teardown();
	setup_world();
	check = check_home;
	memset(large, 'x', sizeof large - 1);
	for (uint64_t h = 1; h <= HEIGHTS; h++) {
		struct slice txs[WORLD_CLIENTS];
		for (unsigned i = 0; i < WORLD_CLIENTS; i++)
			txs[i] = world_put(&w, i, h, "large", h > 20 ? large : "small");
		stored_block(served, &w, world_commit(&w, txs, WORLD_CLIENTS));
		world_free_txs(txs, WORLD_CLIENTS);
	}
	server = open_one(served, 0, 0);
	late = open_one(own, LATE, 1);
	begin();
	run_home();
	ck_assert_uint_eq(ledger_height(late->ledger), HEIGHTS);
	block_answers = largest_answer = 0;
	const struct msg_fetch m = {.from_height = replica_blocks_from(late)};
	msg_fetch_encode(&bytes, &m);
	now += 1000000;
	replica_message(late, now, 1, writer_slice(&bytes));
	ck_assert_uint_eq(block_answers, 1);
	ck_assert_uint_gt(largest_answer, 1u << 20);
	ck_assert_uint_lt(largest_answer, 5u << 20);
	writer_free(&bytes);
}
END_TEST

/* ---- over ends of epochs -------------------------------------------------------------------
 */

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
	for (unsigned i = 0; i < SERVE_PINS_MAX; i++)
		ck_assert_uint_eq(server->serve.pin[i].height, 0);
	writer_free(&bytes);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("state-sync");
	TCase *t = tcase_create("state-sync");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 300);
	tcase_add_test(t, a_state_comes_whole);
	tcase_add_test(t, an_observer_stays_one);
	tcase_add_test(t, another_keys_votes_stay);
	tcase_add_test(t, a_bit_is_flipped);
	tcase_add_test(t, answers_are_cut_or_missing);
	tcase_add_test(t, one_peer_takes_its_time);
	tcase_add_loop_test(t, one_peer_gives_the_least, 0, 2);
	tcase_add_test(t, unasked_answers);
	tcase_add_test(t, it_dies_at_each_write);
	tcase_add_test(t, who_asks_too_much);
	tcase_add_test(t, who_asks_for_every_state);
	tcase_add_test(t, who_asks_for_one_state_for_ever);
	tcase_add_test(t, questions_that_make_no_sense);
	tcase_add_test(t, questions_that_cost_much);
	tcase_add_test(t, large_blocks_without_certificates);
	suite_add_tcase(s, t);
	t = tcase_create("epochs");
	tcase_add_checked_fixture(t, setup_epochs, teardown);
	tcase_set_timeout(t, 300);
	tcase_add_test(t, a_voter_votes_on);
	tcase_add_test(t, an_observer_stays_one_over_ends);
	tcase_add_test(t, who_lost_its_place);
	tcase_add_test(t, who_got_a_place);
	tcase_add_test(t, handovers_are_held_back);
	tcase_add_test(t, handovers_are_lied_about);
	tcase_add_test(t, a_restart_gives_it_up);
	tcase_add_test(t, nothing_is_left_of_fillers);
	tcase_add_test(t, it_dies_at_each_write);
	tcase_add_test(t, who_asks_for_handovers);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
