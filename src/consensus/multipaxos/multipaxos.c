#include "consensus/multipaxos/multipaxos.h"

uint64_t paxos_owner(const struct multipaxos *p, uint64_t ballot)
{
	return ballot % p->c.n;
}

void paxos_timer_restart(struct multipaxos *p)
{
	p->timer_at = p->c.now + core_timeout(&p->c);
}

static void on_timeout(struct multipaxos *p)
{
	paxos_timer_restart(p);
	if (p->c.role != ROLE_LEADER)
		paxos_prepare(p);
	else if (!core_majority_heard(&p->c, p->answered))
		paxos_step_down(p);
}

/* ---- dispatch ---------------------------------------------------------------------------- */

static void on_message(struct multipaxos *p, unsigned from, struct slice bytes)
{
	struct paxos_message *m = p->in;
	if (from >= p->c.n || from == p->c.self)
		return;
	if (paxos_message_decode(m, bytes)) {
		p->c.counters[COUNT_BAD_MESSAGES]++;
		return;
	}
	p->c.heard[from] = p->c.now;
	switch (m->type) {
	case PAXOS_PREPARE:
		paxos_on_prepare(p, from, &m->prepare);
		break;
	case PAXOS_PROMISE:
		paxos_on_promise(p, from, &m->promise);
		break;
	case PAXOS_ACCEPT:
		paxos_on_accept(p, from, &m->accept);
		break;
	case PAXOS_ACCEPTED:
		paxos_on_accepted(p, from, &m->accepted);
		break;
	case PAXOS_COMMIT:
	case PAXOS_HEARTBEAT:
		paxos_on_news(p, from, m->type, &m->news);
		break;
	case PAXOS_HEARTBEAT_REPLY:
		paxos_on_heartbeat_reply(p, from, &m->news);
		break;
	case PAXOS_NACK:
		paxos_on_nack(p, from, &m->nack);
		break;
	case PAXOS_FETCH:
		paxos_on_fetch(p, from, m->fetch);
		break;
	case PAXOS_CHOSEN:
		paxos_on_chosen(p, from, &m->chosen);
		break;
	case CRASH_FORWARD:
		core_on_forward(&p->c, &m->txs);
		break;
	}
	paxos_message_free(m);
}

static void dispatch(struct multipaxos *p, const struct input *in)
{
	switch (in->kind) {
	case INPUT_TICK:
		break;
	case INPUT_MESSAGE:
		on_message(p, in->message.from, in->message.bytes);
		break;
	case INPUT_SUBMIT:
		core_submit(&p->c, &in->submit);
		break;
	case INPUT_DURABLE:
		paxos_proposer_durable(p);
		break;
	case INPUT_BUILT:
		if (p->rebasing)
			paxos_rebased(p, in);
		else
			paxos_on_built(p, in);
		break;
	case INPUT_EXECUTED:
		core_on_executed(&p->c, in);
		break;
	case INPUT_TXS_CHECKED:
		core_txs_checked(&p->c, in);
		break;
	case INPUT_BLOCKS_READ:
		paxos_on_blocks_read(p, in);
		break;
	case INPUT_MEMBER: /* its validators are the genesis file's for good */
	case INPUT_RESIGN: /* its followers time out, as in the paper */
		break;
	}
}

static uint64_t wake_at(const struct multipaxos *p)
{
	uint64_t at = p->timer_at, forward = core_forward_wake(&p->c);
	if (p->phase != PAXOS_IDLE && p->heartbeat_at < at)
		at = p->heartbeat_at;
	if (p->fetching && p->fetch_at < at)
		at = p->fetch_at;
	if (forward < at)
		at = forward;
	return at > p->c.now ? at : p->c.now + 1;
}

static void step(struct engine *e, const struct input *in, struct output *out)
{
	struct multipaxos *p = (struct multipaxos *)e;
	core_step_begin(&p->c, in);
	p->accept_sent = false;
	if (p->fetching && p->c.now >= p->fetch_at)
		p->fetching = false;
	dispatch(p, in);
	if (p->c.now >= p->timer_at)
		on_timeout(p);
	paxos_proposer_tick(p);
	core_forward_tick(&p->c);
	paxos_learn(p);
	paxos_proposer_end_of_step(p);
	core_forward_end(&p->c);
	paxos_flush(p);
	emit_finish(&p->c.out, out);
	out->wake_at = wake_at(p);
}

/* ---- life -------------------------------------------------------------------------------- */

static void engine_free_multipaxos(struct engine *e)
{
	struct multipaxos *p = (struct multipaxos *)e;
	for (unsigned i = 0; i < PAXOS_RING; i++) {
		block_drop(p->accepted[i].value);
		block_drop(p->adopted[i].value);
		block_drop(p->proposal[i].value);
	}
	block_drop(p->rebase_value);
	core_free(&p->c);
	mem_free(p->in);
	mem_free(p);
}

static void status(const struct engine *e, struct engine_status *out)
{
	const struct multipaxos *p = (const struct multipaxos *)e;
	core_status(&p->c, out);
	out->term = p->promised;
	/* What a majority has accepted may be chosen: whoever asks a quorum for its newest
	 * height must hear of it. */
	for (unsigned i = 0; i < PAXOS_RING; i++)
		if (p->accepted[i].slot > out->tip.height)
			out->tip = (struct block_ref){.term = p->accepted[i].ballot,
						      .height = p->accepted[i].slot,
						      .hash = p->accepted[i].value->hash};
	if (p->c.role == ROLE_LEADER)
		memcpy(out->match, p->match, sizeof out->match);
}

static const struct term_cert *term_cert(const struct engine *e)
{
	return &((const struct multipaxos *)e)->c.tc;
}

static const struct engine_ops multipaxos_ops = {step, engine_free_multipaxos, status,
						 term_cert, NULL, NULL};

int engine_new_multipaxos(struct engine **out, const struct engine_config *config,
			  const struct engine_recovery *recovery, struct errmsg *m)
{
	struct multipaxos *p = mem_zalloc(sizeof *p);
	core_init(&p->c, &multipaxos_ops, config, recovery);
	if (p->c.pipeline > PAXOS_WINDOW)
		p->c.pipeline = PAXOS_WINDOW;
	p->in = mem_zalloc(sizeof *p->in);
	int err = paxos_recover(p, recovery, m);
	if (err) {
		engine_free_multipaxos(&p->c.base);
		return err;
	}
	paxos_timer_restart(p);
	*out = &p->c.base;
	return ERR_NONE;
}
