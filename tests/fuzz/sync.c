/* State sync: parts of a state from those who lie, messages, and a whole replica that fetches.
 */
#include "replica/private.h"
#include "tests/fuzz/record.h"
#include "tests/fuzz/targets.h"

#define NODES	4
#define LATE	3 /* who fetches */
#define KEPT	900
#define HEIGHTS 200

/* ---- a run in which somebody comes late -------------------------------------------------- */

static struct {
	const struct sim *world;
	struct kept {
		unsigned from, to;
		struct slice bytes;
	} kept[KEPT]; /* messages of state sync, as they were sent; honest */
	unsigned count;
	uint64_t height;  /* of the state that was fetched */
	struct hash root; /* its root */
	struct map truth; /* by key hash: a copy of the leaf */
} run;

static void keep(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	(void)ctx, (void)s;
	if (!engine_message_is_sync(m->type))
		return;
	for (unsigned to = 0; to < NODES && run.count < KEPT; to++)
		if (m->to >> to & 1)
			run.kept[run.count++] = (struct kept){
				from, to,
				slice_of(mem_dup(m->bytes.ptr, m->bytes.len), m->bytes.len)};
}

static bool listen(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	keep(ctx, s, from, m);
	return m->type == MSG_BLOCKS && run.count < 100; /* else it would need no state */
}

static void learn_truth(const struct sync_msg *m)
{
	struct range range;
	int err = range_check(m->range, &run.root, &m->from, &m->to, &range);
	invariant(!err);
	for (uint32_t i = 0; i < range.count; i++)
		map_put(&run.truth, range.leaf[i].key.b, &run);
	range_free(&range);
}

static void make_run(void)
{
	struct sync_msg m;
	if (run.count)
		return;
	struct sim_options o = {.nodes = NODES,
				.seed = 3,
				.decisions = HEIGHTS,
				.clients = 20,
				.scheme = SIG_SYMBOLIC,
				.calm = true,
				.late = true,
				.keys = 100,
				.history = LEDGER_HISTORY_MIN,
				.sync_gap = 64,
				.intercept = listen};
	struct sim_result result;
	map_init(&run.truth, 1);
	sim_run(&o, &result);
	invariant(result.verdict == SIM_OK && result.syncs == 1);
	run.world = forge_world(NODES, PROTOCOL_HYBRID, true);
	/* the state that ranges were sent of, its root, and what they hold */
	for (unsigned pass = 0; pass < 3; pass++)
		for (unsigned i = 0; i < run.count; i++) {
			int err = sync_decode(&m, run.kept[i].bytes);
			invariant(!err);
			if (pass == 0 && m.type == SYNC_RANGE)
				run.height = m.height;
			if (pass == 1 && m.type == SYNC_OFFER && m.height == run.height)
				run.root = m.header.headers[0].h.state_root;
			if (pass == 2 && m.type == SYNC_RANGE && m.height == run.height)
				learn_truth(&m);
			sync_msg_free(&m);
		}
	invariant(run.height && map_len(&run.truth) > 50);
}

/* ---- range ------------------------------------------------------------------------------- */

/* Bounds, then a range. What passes for them has the leaves that are there, and all of them. */
static void range_one(struct slice in)
{
	struct hash from, to;
	struct range range;
	const uint8_t *key;
	size_t within = 0;
	make_run();
	if (in.len < 2 * HASH_SIZE)
		return;
	memcpy(from.b, in.ptr, HASH_SIZE);
	memcpy(to.b, in.ptr + HASH_SIZE, HASH_SIZE);
	int err = range_check(slice_of(in.ptr + 2 * HASH_SIZE, in.len - 2 * HASH_SIZE),
			      &run.root, &from, &to, &range);
	if (!err) {
		for (uint32_t i = 0; i < range.count; i++)
			invariant(map_get(&run.truth, range.leaf[i].key.b) != NULL);
		for (size_t i = 0; map_next(&run.truth, &i, &key) != NULL;)
			within += memcmp(key, from.b, HASH_SIZE) >= 0 &&
				  memcmp(key, range.end.b, HASH_SIZE) <= 0;
		invariant(within == range.count);
	}
	range_free(&range);
}

static void range_seeds(struct fuzz_seeds *out)
{
	struct sync_msg m;
	struct writer w = {0};
	make_run();
	for (unsigned i = 0; i < run.count; i++) {
		if (sync_decode(&m, run.kept[i].bytes) == ERR_NONE && m.type == SYNC_RANGE &&
		    i % 8 == 0) {
			writer_reset(&w);
			writer_hash(&w, &m.from);
			writer_hash(&w, &m.to);
			writer_raw(&w, m.range.ptr, m.range.len);
			fuzz_seed(out, writer_slice(&w));
		}
		sync_msg_free(&m);
	}
	writer_free(&w);
}

const struct fuzz_target fuzz_range = {.name = "range",
				       .shape = FUZZ_NESTED,
				       .size_max = 16384,
				       .runs = 20000,
				       .one = range_one,
				       .seeds = range_seeds};

/* ---- messages ---------------------------------------------------------------------------- */

static void message_one(struct slice in)
{
	struct sync_msg m;
	struct writer w = {0};
	if (sync_decode(&m, in) == ERR_NONE) {
		sync_encode(&w, &m);
		invariant(slice_equal(writer_slice(&w), in));
	}
	sync_msg_free(&m);
	writer_free(&w);
}

static void message_seeds(struct fuzz_seeds *out)
{
	make_run();
	for (unsigned i = 0; i < run.count; i++)
		if (run.kept[i].bytes.ptr[0] != SYNC_RANGE || i % 16 == 0)
			fuzz_seed(out, run.kept[i].bytes);
}

const struct fuzz_target fuzz_sync_message = {.name = "sync-message",
					      .shape = FUZZ_NESTED,
					      .size_max = 65536,
					      .runs = 5000,
					      .one = message_one,
					      .seeds = message_seeds};

/* ---- a replica that fetches -------------------------------------------------------------- */

static void host_send(void *ctx, const struct message *m)
{
	(void)ctx, (void)m;
}
static bool host_sync(void *ctx, uint64_t seq)
{
	(void)seq;
	store_sync(ctx);
	return true;
}
static void host_final(void *ctx, struct block *b, const struct cert *c)
{
	(void)ctx, (void)b, (void)c;
}
static void host_rejected(void *ctx, const struct hash *id, int err)
{
	(void)ctx, (void)id, (void)err;
}
static void host_halted(void *ctx, const char *why)
{
	(void)ctx, (void)why;
}
static uint64_t host_wall_ms(void *ctx)
{
	(void)ctx;
	return 1700000000000;
}

static struct replica *open_late(struct store *store, uint64_t now)
{
	struct replica_config config = {.genesis = &run.world->genesis,
					.store = store,
					.self = LATE,
					.seed = 1,
					.now = now,
					.sync_gap = 64,
					.host = {.ctx = store,
						 .send = host_send,
						 .sync = host_sync,
						 .final = host_final,
						 .rejected = host_rejected,
						 .halted = host_halted,
						 .wall_ms = host_wall_ms}};
	struct replica *r;
	struct errmsg m;
	int err = replica_open(&r, &config, &m);
	invariant(!err); /* whatever peers have sent, it starts */
	return r;
}

static void nothing_false_is_staged(struct store *store)
{
	struct slice key, value, none = {0};
	struct store_iter *it = store_iter_new(store, STORE_STATE, none, none, false);
	while (store_iter_next(it, &key, &value))
		if (load_be64(key.ptr + HASH_SIZE) == run.height)
			invariant(map_get(&run.truth, key.ptr) != NULL);
	store_iter_free(it);
}

/* Ops: below 8 a message from that peer, in answer to what was asked or not; 8 time; 9 a
 * restart; 10 offers are asked for. What is asked is known: the honest answers to all of it are
 * there. */
static void sync_one(struct slice in)
{
	struct reader rd;
	struct slice payload;
	uint8_t op;
	uint64_t now = 1000000;
	make_run();
	struct store *store = store_open_memory();
	struct replica *r = open_late(store, now);
	reader_init(&rd, in);
	for (unsigned steps = 0; steps < 64 && fuzz_next_op(&rd, &op, &payload); steps++) {
		if (op < 8) {
			replica_message(r, now, op % NODES, payload);
		} else if (op == 8) {
			now += payload.len ? 100000 * (uint64_t)payload.ptr[0] : 1;
			replica_tick(r, now);
		} else if (op == 9) {
			replica_close(r);
			r = open_late(store, now);
		} else if (op == 10 && r->sync.phase == SYNC_IDLE) {
			sync_state_forget(&r->sync);
			r->sync.phase = SYNC_ASKING;
			r->sync.ask_until = now + SYNC_ASK_US;
			for (unsigned i = 0; i < NODES; i++)
				r->sync.peer[i].asked = i != LATE;
		}
	}
	nothing_false_is_staged(store);
	invariant(ledger_height(r->ledger) == 0 ||
		  (ledger_height(r->ledger) >= run.height && !replica_halted(r)));
	replica_close(r);
	store_close(store);
}

static void sync_seeds(struct fuzz_seeds *out)
{
	make_run();
	for (unsigned which = 0; which < 3; which++) {
		struct writer w = {0};
		unsigned ranges = 0;
		fuzz_op(&w, 10, (struct slice){0});
		for (unsigned i = 0; i < run.count; i++) {
			const struct kept *k = &run.kept[i];
			uint8_t type = k->bytes.ptr[0];
			if (k->to != LATE && type != SYNC_ASK && type != SYNC_GET)
				continue;
			if (type == SYNC_RANGE && (ranges++ + which) % 16)
				continue;
			if (w.len + k->bytes.len > 60000 || k->bytes.len > UINT16_MAX)
				continue;
			fuzz_op(&w, (uint8_t)k->from, k->bytes);
			if (i % 40 == which)
				fuzz_op(&w, i & 1 ? 8 : 9, slice_str("\x05"));
		}
		fuzz_seed(out, writer_slice(&w));
		writer_free(&w);
	}
}

const struct fuzz_target fuzz_sync = {.name = "sync",
				      .shape = FUZZ_OPS,
				      .size_max = 65536,
				      .runs = 10000,
				      .one = sync_one,
				      .seeds = sync_seeds};
