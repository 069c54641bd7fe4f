/* [I21] What makes timeouts longer than configured is what honest replicas have answered. */
#include "consensus/hybrid/message.h"
#include "replica/epoch.h"
#include "sim/world.h"

#define ROUNDS	 4	 /* in a timeout */
#define FRESH_US 3000000 /* an answer counts for longer than that */
#define CAP_US	 4000000 /* and not at all if it took longer */

static struct rounds_node *rounds_of(struct sim *s, unsigned node)
{
	struct sim_node *n = &s->node[node];
	struct rounds_node *r = &n->rounds;
	if (r->life != n->life || r->epoch != n->epoch)
		*r = (struct rounds_node){
			.life = n->life, .epoch = n->epoch, .since = s->now};
	if (n->paused_until > r->since && n->paused_until <= s->now)
		r->since = n->paused_until;
	return r;
}

/* Before the step that it leads to. */
void check_rounds_delivery(struct sim *s, unsigned node, unsigned from, const struct packet *p)
{
	struct message_in *in = s->decoded;
	struct slice bytes = slice_of(p->bytes, p->len);
	if (p->type != MSG_ECHO || s->options.unchecked || sim_is_corrupt(s, from))
		return;
	uint64_t epoch = 0;
	if (bytes.len > 9 && bytes.ptr[0] == EPOCH_ENVELOPE) {
		epoch = load_be64(bytes.ptr + 1);
		bytes = slice_of(bytes.ptr + 9, bytes.len - 9);
	}
	if (epoch != s->node[node].epoch)
		return; /* the engine is not asked */
	if (message_decode(in, bytes) || in->type != MSG_ECHO || !in->echo.is_answer ||
	    in->echo.asked > s->now)
		return;
	struct rounds_node *r = rounds_of(s, node);
	uint64_t us = s->now - in->echo.asked + in->echo.sync_us;
	if (us > r->slowest && s->now - in->echo.asked <= CAP_US)
		r->slowest = us;
	if (in->echo.asked >= r->since) /* not by the engine before it, nor before a pause */
		r->answered_at[from] = s->now;
}

void check_rounds_step(struct sim *s, unsigned node, const struct engine_status *status)
{
	struct rounds_node *r = rounds_of(s, node);
	unsigned fresh = 0;
	uint64_t out = status->accused | status->modes.jailed;
	for (unsigned i = 0; i < s->n; i++)
		fresh += !(out >> i & 1) && r->answered_at[i] &&
			 s->now - r->answered_at[i] < FRESH_US;
	if (status->sync_us > r->slowest_sync)
		r->slowest_sync = status->sync_us; /* its own: nobody else's word */
	uint64_t most = ROUNDS * (r->slowest + r->slowest_sync);
	if (fresh + 1 >= s->ctx.quorum.q && status->timeout_us > TIMEOUT_MIN_DEFAULT_US &&
	    status->timeout_us > most)
		sim_violation(s, SIM_SAFETY,
			      "[I21] replica %u waits for %llu us, where honest rounds take %llu",
			      node, (unsigned long long)status->timeout_us,
			      (unsigned long long)(r->slowest + r->slowest_sync));
}
