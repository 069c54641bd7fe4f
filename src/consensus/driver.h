/* The order of effects, in one place: durable, then sent, then new work; final when certified.
 *
 * The driver owns an engine and carries out its outputs through a host. Messages wait until the
 * writes of their output (and of all outputs before it) are durable, except those marked
 * before_durable (docs/consensus.md, [I1]). Finals wait in the same way, if the engine says
 * that they must. */
#ifndef CONSENSUS_DRIVER_H
#define CONSENSUS_DRIVER_H

#include "consensus/engine.h"

struct driver; /* opaque */

struct driver_host {
	void *ctx;
	/* Hands writes over in order; seq counts from 1. True: they are durable already. False:
	 * the host calls driver_durable(seq) later. sync false: no hurry, a later sync covers
	 * them; the host returns true at once and no call is due. */
	bool (*persist)(void *ctx, const struct write *writes, uint32_t count, uint64_t seq,
			bool sync);
	void (*send)(void *ctx, const struct message *m); /* m is lent */
	void (*final)(void *ctx, const struct final_block *f);
	/* Does the work now and calls driver_input() with the answer before returning, or keeps
	 * it (copying what it needs, holding the block) and answers later. */
	void (*work)(void *ctx, const struct work *w);
	void (*rejected)(void *ctx, const struct rejected_tx *r);
	void (*halted)(void *ctx, const char *why);
};

struct driver *driver_new(struct engine *engine,
			  const struct driver_host *host); /* owns engine */
void driver_free(struct driver *d);

/* Steps the engine until nothing is left to do at once. Called from inside a host callback it
 * queues a deep copy and returns. After a halt inputs are ignored. */
void driver_input(struct driver *d, const struct input *in);
void driver_durable(struct driver *d, uint64_t seq, uint64_t now, uint64_t wall_ms);
/* Stops for the host's own reasons, such as a store that fails: nothing leaves any more. The
 * text goes to halted(). What an output that halts wants written is still handed over, nothing
 * of it is sent. */
void driver_halt(struct driver *d, const char *why);
uint64_t driver_wake_at(const struct driver *d);
bool driver_halted(const struct driver *d);
struct engine *driver_engine(struct driver *d);

#endif
