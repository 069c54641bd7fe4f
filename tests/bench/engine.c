/* The engine beside the bare minimum of a step, and a replica that is alone: all that a
 * transaction costs one replica but network, disk and signature of the client. */
#include <stdio.h>
#include <string.h>

#include "consensus/engine.h"
#include "replica/replica.h"
#include "tests/bench/bench.h"

#define SUBMITS 20000

static uint64_t seq;

static void host_send(void *ctx, const struct message *m)
{
	(void)ctx, (void)m;
}
static bool host_sync(void *ctx, uint64_t s)
{
	(void)ctx, (void)s;
	return true; /* a disk that costs nothing */
}
static void host_final(void *ctx, struct block *b, const struct cert *cert)
{
	(void)ctx, (void)cert;
	seq += b->tx_count;
}
static void host_rejected(void *ctx, const struct hash *id, int err)
{
	(void)ctx, (void)id, (void)err;
}
static void host_halted(void *ctx, const char *why)
{
	(void)ctx;
	fprintf(stderr, "halted: %s\n", why);
}
static uint64_t host_wall(void *ctx)
{
	(void)ctx;
	return 1800000000000;
}

struct ticking {
	struct engine *engine;
	uint64_t now;
};

static void tick(void *ctx)
{
	struct ticking *t = ctx;
	struct input in = {.kind = INPUT_TICK, .now = t->now, .wall_ms = 1};
	struct output out = {.wake_at = UINT64_MAX};

	engine_step(t->engine, &in, &out);
}

static struct replica *open_replica(struct world *w, struct store *s)
{
	struct replica_config config = {.genesis = &w->genesis,
					.store = s,
					.self = 0,
					.key = w->validator[0],
					.seed = 1,
					.now = 1,
					.host = {.send = host_send,
						 .sync = host_sync,
						 .final = host_final,
						 .rejected = host_rejected,
						 .halted = host_halted,
						 .wall_ms = host_wall}};
	struct replica *r;
	struct errmsg m;

	invariant(replica_open(&r, &config, &m) == ERR_NONE);
	return r;
}

/* A follower that knows no leader takes transactions into its pool. */
void bench_engine(void)
{
	struct world w;
	struct store *s = store_open_memory();
	struct ticking t = {.now = 2};
	struct slice *tx = mem_array(SUBMITS, sizeof *tx);
	struct replica *r;
	struct hash id;
	double floor_us, begin;
	char key[32];

	world_init(&w, 1000);
	invariant(replica_first_votes(s) == ERR_NONE);
	r = open_replica(&w, s);
	t.engine = replica_engine(r);
	floor_us = measure(tick, &t, 20000);
	report("engine step, a tick", floor_us, -1, NULL);
	for (unsigned i = 0; i < SUBMITS; i++) {
		snprintf(key, sizeof key, "key-%u", i);
		tx[i] = world_put(&w, i % WORLD_CLIENTS, i / WORLD_CLIENTS + 1, key, "value");
	}
	unsigned taken = 0;
	begin = cpu_us();
	for (unsigned i = 0; i < SUBMITS; i++)
		taken += replica_submit(r, 3, tx[i], true, &id) == ERR_NONE;
	invariant(taken > 0);
	report("admission and engine step, submit", (cpu_us() - begin) / SUBMITS, floor_us,
	       "a step that does nothing");
	replica_close(r);
	store_close(s);
	world_free_txs(tx, SUBMITS);
	mem_free(tx);
	world_free(&w);
}
