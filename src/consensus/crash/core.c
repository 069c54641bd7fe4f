#include "consensus/crash/core.h"

static void default_timing(struct engine_timing *t)
{
	if (!t->heartbeat)
		t->heartbeat = 50000;
	if (!t->timeout_min)
		t->timeout_min = TIMEOUT_MIN_DEFAULT_US;
	if (!t->timeout_max)
		t->timeout_max = 2 * t->timeout_min;
}

void core_init(struct core *c, const struct engine_ops *ops, const struct engine_config *config,
	       const struct engine_recovery *recovery)
{
	invariant(config->self < config->ctx->vals.n);
	c->base.ops = ops;
	c->ctx = config->ctx;
	c->genesis = config->genesis;
	c->self = c->out.self = config->self;
	c->n = c->out.n = config->ctx->vals.n;
	c->majority = config->ctx->quorum.q;
	if (MUTANT(MUTANT_CRASH_MINORITY) && c->n > 1)
		c->majority = c->n / 2;
	c->timing = config->timing;
	default_timing(&c->timing);
	c->pipeline = config->pipeline ? config->pipeline : 8;
	random_seed(&c->random, config->seed);
	c->now = config->now;
	c->leader = NO_VALIDATOR;
	c->candidates = mem_array(config->genesis->limits.block_txs_max, sizeof *c->candidates);
	c->check_request = mem_array(CRASH_FORWARD_TXS_MAX, sizeof *c->check_request);
	pool_init(&c->pool, config->seed);

	uint32_t below = recovery->header_count ? recovery->header_count - 1 : 0;
	block_log_init(&c->log, recovery->final, recovery->headers, below, config->seed);
	c->tip = core_final_ref(c);
	c->marked = c->tip.hash;
	if (recovery->final_cert)
		c->mark = *recovery->final_cert;
	c->modes = recovery->modes;
	term_cert_init(&c->tc);
	c->tc.leader = NO_VALIDATOR;
	c->tc.base = block_ref_of(config->genesis_block);
}

void core_free(struct core *c)
{
	core_txs_free(c);
	core_build_stop(c);
	emit_free(&c->out);
	block_log_free(&c->log);
	mem_free(c->candidates);
	mem_free(c->check_request);
}

void core_step_begin(struct core *c, const struct input *in)
{
	emit_begin(&c->out);
	if (in->now > c->now)
		c->now = in->now;
	c->wall_ms = in->wall_ms;
	if (in->kind == INPUT_DURABLE && in->durable > c->durable_seq)
		c->durable_seq = in->durable;
}

uint64_t core_timeout(struct core *c)
{
	return random_between(&c->random, c->timing.timeout_min, c->timing.timeout_max);
}

bool core_leader_alive(const struct core *c)
{
	return c->leader != NO_VALIDATOR && c->leader != c->self && c->leader_heard &&
	       c->now - c->leader_heard < c->timing.timeout_min;
}

bool core_majority_heard(const struct core *c, const uint64_t *since)
{
	unsigned heard = 1; /* ourselves */
	for (unsigned i = 0; i < c->n; i++)
		if (i != c->self && since[i] && c->now - since[i] < c->timing.timeout_max)
			heard++;
	return heard >= c->majority;
}

uint64_t core_final_height(const struct core *c)
{
	return c->log.final->sh.h.height;
}

struct block_ref core_final_ref(const struct core *c)
{
	return block_ref_of(c->log.final);
}

void core_set_term_cert(struct core *c, uint64_t term, uint16_t leader,
			const struct block_ref *base)
{
	if (term <= c->tc.term)
		return;
	c->tc.term = term;
	c->tc.leader = leader;
	c->tc.base = *base;
}

static bool catching_up(const struct core *c)
{
	if (c->n == 1 || c->role == ROLE_LEADER)
		return false;
	return c->leader == NO_VALIDATOR || !c->leader_heard ||
	       c->peer_final > core_final_height(c) + 2 * c->pipeline;
}

void core_status(const struct core *c, struct engine_status *out)
{
	*out = (struct engine_status){.role = c->role,
				      .timeout_us = c->timing.timeout_min,
				      .mode = MODE_FAST,
				      .leader = c->leader,
				      .tip = c->tip,
				      .final = core_final_ref(c),
				      .base = c->tc.base,
				      .tc_term = c->tc.term,
				      .pool_count = pool_count(&c->pool),
				      .pool_bytes = c->pool.bytes,
				      .catching_up = catching_up(c),
				      .modes = c->modes};
	const struct pool_entry *oldest = pool_oldest(&c->pool);
	out->pool_oldest = oldest ? oldest->arrived : 0;
	memcpy(out->heard, c->heard, sizeof out->heard);
	memcpy(out->counters, c->counters, sizeof out->counters);
}
