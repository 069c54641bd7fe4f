/* What the tests of state sync have in common (state-sync.h). */
#include "tests/replica/state-sync.h"

#include "consensus/hybrid/message.h"
#include "replica/audit.h"
#include "tests/replica/quiet.h"

#define STEP_US 5000

struct world w;
struct store *served, *own;
struct replica *server, *late;
struct letter queue[QUEUE];
unsigned queued, asked_of;
uint64_t now, answers, jumped;
static uint64_t answer_bytes;
uint64_t history = LEDGER_HISTORY_MIN;
uint64_t block_answers, largest_answer;
const char *halted;
bool died;
unsigned budget;
void (*check)(void) = check_home, (*setup_again)(void) = setup;
bool (*liar)(unsigned from, struct writer *bytes);
uint64_t others_behind_until;
bool tell_once;
static bool told[LATE];
static unsigned lie_type, lie_at;
unsigned lies;

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
static void host_certified(void *ctx, struct block *b, const struct cert *cert)
{
	(void)ctx, (void)b, (void)cert;
	ck_assert_ptr_null(halted); /* what is told now is never written */
}
static void host_reopened(void *ctx, uint64_t height)
{
	(void)ctx;
	jumped = height;
}

struct replica *open_one(struct store *s, unsigned self, uint64_t gap)
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
			 .certified = host_certified,
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

void setup_world(void)
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

void setup(void)
{
	check = check_home;
	setup_again = setup;
	setup_world();
	make_chain();
	server = open_one(served, 0, 0);
	late = open_one(own, LATE, 1);
}

void teardown(void)
{
	while (queued > 0)
		writer_free(&queue[--queued].bytes);
	replica_close(server);
	replica_close(late);
	store_close(served);
	store_close(own);
	world_free(&w);
}

void begin(void)
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
		bool is_liar = liar && l->from == 0;
		if (!is_liar || liar(l->from, &l->bytes))
			replica_message(late, now, l->from, writer_slice(&l->bytes));
	} else if (!asks_in_vain(l)) {
		/* A server of its own for each: its pace and its queues are. */
		asked_of = l->to;
		memset(&server->serve.peer[LATE], 0, sizeof server->serve.peer[LATE]);
		replica_message(server, now, LATE, bytes);
	}
	writer_free(&l->bytes);
}

void step(void)
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

bool is_home(void)
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

void audit(void)
{
	const struct audit_options o = {.genesis = &w.genesis, .found = found, .step = on_step};
	struct audit_result result;
	struct errmsg m = {{0}};
	ck_assert_msg(replica_audit(own, &o, &result, &m) == ERR_NONE, "%s", m.text);
}

void check_home(void)
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

void run_home(void)
{
	for (unsigned i = 0; i < STEPS && !is_home(); i++)
		step();
	ck_assert(is_home());
}

bool flips(unsigned from, struct writer *bytes)
{
	(void)from;
	if (bytes->buf[0] != lie_type || lie_at >= 8 * bytes->len)
		return true;
	lies++;
	bytes->buf[lie_at / 8] ^= (uint8_t)(1u << lie_at % 8);
	return true;
}

bool cuts(unsigned from, struct writer *bytes)
{
	(void)from;
	if (bytes->buf[0] != lie_type || bytes->len < 20)
		return true;
	lies++;
	bytes->len = 10 + lie_at % (bytes->len - 10);
	return true;
}

void lie(bool (*how)(unsigned, struct writer *), unsigned type, unsigned at)
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

TCase *sync_case(const char *name, void (*begin_test)(void))
{
	TCase *t = tcase_create(name);
	tcase_add_checked_fixture(t, begin_test, teardown);
	tcase_set_timeout(t, 300);
	return t;
}
