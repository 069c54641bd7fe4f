/* The hybrid engine: creation, dispatch, timers. */
#include "consensus/hybrid/hybrid.h"

/* ---- timers ------------------------------------------------------------------------------ */

bool holds_work(const struct hybrid *h)
{
	return pool_count(&h->pool) > 0;
}

/* Random in [min, max], doubled every second time in vain, to the cap. */
void timer_restart(struct hybrid *h)
{
	uint64_t t = random_between(&h->random, h->timing.timeout_min, h->timing.timeout_max);
	unsigned doublings = h->timeouts / 2 < 8 ? h->timeouts / 2 : 8;
	t <<= doublings;
	if (t > h->timing.timeout_cap)
		t = h->timing.timeout_cap - random_below(&h->random, h->timing.timeout_min);
	timer_set(h, h->now + t);
}

/* Nothing is held against the leader any more. */
static void leader_is_fine(struct hybrid *h)
{
	h->timeouts = 0;
	h->timed_out_on_work = false;
	timer_restart(h);
}

/* A heartbeat is not progress: it resets the timer of the idle only. */
void timer_on_heartbeat(struct hybrid *h)
{
	if (holds_work(h) && !MUTANT(MUTANT_HEARTBEAT_PROGRESS))
		return;
	leader_is_fine(h);
}

void timer_on_commit(struct hybrid *h, bool of_held)
{
	if (of_held || !holds_work(h) || MUTANT(MUTANT_ANY_COMMIT_PROGRESS))
		leader_is_fine(h);
}

bool leader_is_heard(const struct hybrid *h)
{
	if (h->role == ROLE_LEADER)
		return quorum_heard(h);
	return in_accepted_term(h) && h->tc.leader != h->self &&
	       (h->tc.mode == MODE_FAST || in_pbft_mode(h)) && h->distrusted_term != h->term &&
	       h->leader_heard && h->now - h->leader_heard < h->timing.timeout_min;
}

bool leader_is_alive(const struct hybrid *h)
{
	return leader_is_heard(h) && !has_resigned(h);
}

/* A timeout that counts: the leader has had the time and the work. */
void timeout_counts(struct hybrid *h)
{
	h->timeout_pending = false;
	if (h->observer) { /* it has no say in who leads; perhaps it is merely behind */
		timer_restart(h);
		fetch_from_anybody(h);
		return;
	}
	if (h->timeouts < 1000)
		h->timeouts++;
	if (holds_work(h))
		h->timed_out_on_work = true;
	timer_restart(h);
	if (h->role != ROLE_LEADER)
		fetch_from_anybody(h); /* merely behind? */
	if (!in_pbft_mode(h))
		count_timeout(h); /* may escalate */
	else
		view_timeout(h);
	if (!in_pbft_mode(h))
		campaign(h);
}

static void on_timeout(struct hybrid *h)
{
	resume_execution(h);
	timer_restart(h);
	/* Is what it is about still valid? What is, is told to all. recheck_ends() goes on. */
	bool rechecks = holds_work(h) && recheck_oldest(h);
	if (view_waits(h)) /* for claims; our own is sent again meanwhile */
		fetch_from_anybody(h);
	else if (rechecks)
		h->timeout_pending = true;
	else
		timeout_counts(h);
}

static void run_timers(struct hybrid *h)
{
	own_votes_tick(h);
	round_trip_tick(h);
	fetch_tick(h);
	forward_tick(h);
	lead_tick(h);
	view_tick(h);
	suspect_tick(h);
	member_tick(h);
	if (h->now >= h->timer_at) {
		h->succeed_at = 0;
		on_timeout(h);
	}
	resign_tick(h);
	election_tick(h);
}

static uint64_t wake_at(const struct hybrid *h)
{
	uint64_t at = h->timer_at;
	if (h->role == ROLE_LEADER) {
		if (h->heartbeat_at < at && h->resigned != h->term)
			at = h->heartbeat_at;
		if (h->cert_news && h->cert_news_at > h->now && h->cert_news_at < at)
			at = h->cert_news_at;
		if (lead_wake_at(h) < at)
			at = lead_wake_at(h);
	} else if (holds_work(h) && h->reforward_at > h->now && h->reforward_at < at) {
		at = h->reforward_at;
	}
	if (h->asking && h->ask_at < at)
		at = h->ask_at;
	if (h->asking && h->answers_by && h->answers_by < at)
		at = h->answers_by;
	if (h->fetching && h->fetch_at < at)
		at = h->fetch_at;
	if (h->succeed_at && h->succeed_at < at)
		at = h->succeed_at;
	if (election_wake_at(h) < at)
		at = election_wake_at(h);
	if (view_resend_at(h) < at)
		at = view_resend_at(h);
	if (h->role != ROLE_LEADER && holds_work(h) && in_accepted_term(h) && h->quorum.f &&
	    h->now + h->timing.timeout_min / 2 < at)
		at = h->now + h->timing.timeout_min / 2; /* watching the leader */
	return at > h->now ? at : h->now + 1;
}

/* ---- dispatch ---------------------------------------------------------------------------- */

static void on_message(struct hybrid *h, unsigned from, struct slice bytes)
{
	if (from >= h->n || from == h->self)
		return;
	struct message_in *m = h->in;
	if (message_decode(m, bytes)) {
		h->counters[COUNT_BAD_MESSAGES]++;
		return;
	}
	h->heard[from] = h->now;
	switch (m->type) {
	case MSG_APPEND:
		on_append(h, from, &m->append);
		break;
	case MSG_APPENDED:
		on_appended(h, from, &m->appended);
		break;
	case MSG_HEARTBEAT:
		on_heartbeat(h, from, &m->heartbeat);
		break;
	case MSG_HEARTBEAT_ACK:
		on_heartbeat_ack(h, from, &m->heartbeat_ack);
		break;
	case MSG_PRE_VOTE_REQUEST:
		on_vote_request(h, from, &m->vote_request, true);
		break;
	case MSG_PRE_VOTE:
		on_pre_vote(h, from, &m->pre_vote);
		break;
	case MSG_VOTE_REQUEST:
		on_vote_request(h, from, &m->vote_request, false);
		break;
	case MSG_TERM_VOTE:
		on_term_vote(h, from, &m->term_vote);
		break;
	case MSG_REFUSAL:
		on_refusal(h, from, &m->refusal);
		break;
	case MSG_FETCH:
		on_fetch(h, from, &m->fetch);
		break;
	case MSG_BLOCKS:
		on_blocks(h, from, &m->blocks);
		break;
	case MSG_FORWARD:
		on_txs(h, from, &m->txs, false);
		break;
	case MSG_RELAY:
		on_txs(h, from, &m->txs, true);
		break;
	case MSG_EVIDENCE:
		on_evidence(h, from, m->evidence);
		break;
	case MSG_SUSPICION:
		on_suspicion(h, from, &m->suspicion);
		break;
	case MSG_VIEW_CHANGE:
		on_view_change(h, from, &m->view_change);
		break;
	case MSG_NEW_VIEW:
		on_new_view(h, from, &m->new_view);
		break;
	case MSG_PREPARE:
		on_prepare(h, from, &m->prepare);
		break;
	case MSG_COMMIT:
		on_commit(h, from, &m->commit);
		break;
	case MSG_FETCH_VIEW:
		on_fetch_view(h, from, &m->fetch_view);
		break;
	case MSG_MEMBER:
		on_member(h, from, m->member);
		break;
	case MSG_FINAL:
		on_final(h, from, &m->final);
		break;
	case MSG_RESIGN:
		on_resign(h, from, &m->resign);
		break;
	case MSG_ASK_VOTES:
		on_ask_votes(h, from, m->ask_votes);
		break;
	case MSG_VOTES:
		on_votes(h, from, &m->votes);
		break;
	case MSG_ECHO:
		on_echo(h, from, &m->echo);
		break;
	default:
		h->counters[COUNT_STALE_MESSAGES]++;
		break;
	}
	message_free(m);
}

static void dispatch(struct hybrid *h, const struct input *in)
{
	switch (in->kind) {
	case INPUT_TICK:
		break;
	case INPUT_MESSAGE:
		on_message(h, in->message.from, in->message.bytes);
		break;
	case INPUT_SUBMIT:
		on_submit(h, &in->submit);
		break;
	case INPUT_DURABLE:
		if (in->durable > h->durable_seq)
			h->durable_seq = in->durable;
		round_trip_synced(h);
		election_durable(h);
		lead_durable(h);
		resume_execution(h); /* what is applied is no overlay any more */
		break;
	case INPUT_BUILT:
		on_built(h, in);
		break;
	case INPUT_EXECUTED:
		on_executed(h, in);
		break;
	case INPUT_TXS_CHECKED:
		on_txs_checked(h, in);
		break;
	case INPUT_BLOCKS_READ:
		on_blocks_read(h, in);
		break;
	case INPUT_MEMBER:
		on_member(h, h->self, in->member);
		break;
	case INPUT_RESIGN:
		resign(h);
		break;
	}
}

static void step(struct engine *e, const struct input *in, struct output *out)
{
	struct hybrid *h = (struct hybrid *)e;
	emit_begin(&h->out);
	h->append_sent = false;
	h->want_sync = false;
	if (in->now > h->now)
		h->now = in->now;
	h->wall_ms = in->wall_ms;
	if (h->ended) { /* it may wait for the disk: what clients bring goes over with it */
		if (in->kind == INPUT_SUBMIT)
			on_submit(h, &in->submit);
		emit_finish(&h->out, out);
		out->wake_at = UINT64_MAX;
		return;
	}
	round_trip_begin_of_step(h, h->wakes_at);
	if (!h->resumed)
		hybrid_resume(h);
	uint64_t final = h->log.final->sh.h.height;
	dispatch(h, in);
	if (h->log.final->sh.h.height > final)
		try_vote(h); /* what was too far above it */
	run_timers(h);
	election_end_of_step(h);
	view_end_of_step(h);
	forward_end_of_step(h, in->more);
	lead_end_of_step(h);
	resign_end_of_step(h);
	follow_end_of_step(h);
	pbft_end_of_step(h);
	/* [I1] Nobody learns of a state that a crash could undo; and a tip that finality moves
	 * is written with the certificate that did, so that a crash undoes both or neither. */
	if (emit_waits(&h->out) || h->want_sync)
		flush_state(h);
	else if (h->out.final_count && !MUTANT(MUTANT_FINAL_WITHOUT_TIP))
		write_slots(h);
	emit_finish(&h->out, out);
	round_trip_end_of_step(h, out);
	out->wake_at = h->wakes_at = wake_at(h);
}

/* ---- creation ---------------------------------------------------------------------------- */

static void engine_free_hybrid(struct engine *e)
{
	struct hybrid *h = (struct hybrid *)e;
	forward_free(h);
	member_free(h);
	emit_free(&h->out);
	if (h->log.final)
		block_log_free(&h->log);
	entitlement_free(&h->entitlement);
	entitlement_free(&h->election.grants);
	for (unsigned i = 0; i < h->n; i++)
		entitlement_free(&h->stray[i].entitlement);
	mem_free(h->stray);
	mem_free(h->seen);
	term_cert_free(&h->tc);
	term_cert_free(&h->tip_tc);
	pbft_free(h);
	view_free(h);
	proofs_free(h);
	lead_free(h);
	mem_free(h->candidates);
	mem_free(h->check_request);
	mem_free(h->in);
	mem_free(h->append_scratch);
	mem_free(h->blocks_scratch);
	crypto_wipe(&h->key, sizeof h->key);
	mem_free(h);
}

/* So say more than f of the others, one of whom is right. */
static bool is_far_behind(const struct hybrid *h, uint64_t near)
{
	unsigned claims = 0;
	for (unsigned i = 0; i < h->n; i++)
		claims += h->peer_final[i] > near;
	return claims > h->quorum.f;
}

static bool catching_up(const struct hybrid *h)
{
	uint16_t leader = current_leader(h);
	uint64_t near = h->log.final->sh.h.height + 2 * h->pipeline;
	if (h->n == 1 || h->role == ROLE_LEADER)
		return false;
	return leader == NO_VALIDATOR || !h->leader_heard || h->peer_final[leader] > near ||
	       is_far_behind(h, near) || (h->asking && own_votes_missing(h));
}

static void status(const struct engine *e, struct engine_status *out)
{
	const struct hybrid *h = (const struct hybrid *)e;
	*out = (struct engine_status){.role = h->role,
				      .mode = in_pbft_mode(h) ? MODE_PBFT : MODE_FAST,
				      .term = h->term,
				      .leader = current_leader(h),
				      .tip = h->tip,
				      .final = final_ref(h),
				      .base = h->tc.base,
				      .tc_term = h->tc.term,
				      .pool_count = pool_count(&h->pool),
				      .pool_bytes = h->pool.bytes};
	const struct pool_entry *oldest = pool_oldest(&h->pool);
	out->pool_oldest = oldest ? oldest->arrived : 0;
	if (h->has_stable)
		out->stable = h->stable.ref;
	out->catching_up = catching_up(h);
	out->observer = h->observer && !h->asking;
	out->outdated = h->outdated;
	out->asks = h->asking;
	out->asks_peers = own_votes_missing(h);
	out->resigning = h->resigning;
	out->ended = h->ended;
	out->member_waits = h->member_bytes != NULL;
	out->escalated = h->escalated;
	out->reason = h->reason;
	out->modes = h->modes;
	out->timeouts = h->timeouts;
	out->round_us = h->round_us;
	out->sync_us = own_sync_us(h);
	out->timeout_us = h->timing.timeout_min;
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		out->accused |= (uint64_t)(h->proof[i].bytes != NULL) << i;
	out->known_final = h->has_pending_final ? h->pending_final.ref.height : 0;
	for (unsigned i = 0; i < h->n; i++)
		if (h->peer_final[i] > out->known_final)
			out->known_final = h->peer_final[i];
	memcpy(out->heard, h->heard, sizeof out->heard);
	if (h->role == ROLE_LEADER)
		memcpy(out->match, h->match, sizeof out->match);
	memcpy(out->counters, h->counters, sizeof out->counters);
}

static struct engine_pool pool(const struct engine *e)
{
	const struct pool *p = &((const struct hybrid *)e)->pool;
	return (struct engine_pool){.count = pool_count(p), .bytes = p->bytes};
}

static const struct term_cert *accepted_term_cert(const struct engine *e)
{
	return &((const struct hybrid *)e)->tc;
}

static void each_waiting(const struct engine *e,
			 void (*fn)(void *arg, const struct pool_tx *tx), void *arg)
{
	const struct hybrid *h = (const struct hybrid *)e;
	const struct pool_entry *lists[] = {h->pool.proposed.head, h->pool.free.head};
	for (unsigned i = 0; i < MEM_COUNT(lists); i++)
		for (const struct pool_entry *p = lists[i]; p; p = p->next)
			fn(arg, &(struct pool_tx){.id = p->id,
						  .bytes = slice_of(p->bytes, p->size)});
}

static const struct engine_ops hybrid_ops = {
	step, engine_free_hybrid, status, accepted_term_cert, each_waiting, pool};

static void default_timing(struct engine_timing *t)
{
	if (!t->heartbeat)
		t->heartbeat = 50000;
	if (!t->timeout_min)
		t->timeout_min = TIMEOUT_MIN_DEFAULT_US;
	if (!t->timeout_max)
		t->timeout_max = 2 * t->timeout_min;
	if (!t->timeout_cap)
		t->timeout_cap = 4000000;
}

/* The state before anything happened: the term and block that the epoch begins with. */
static void genesis_state(struct hybrid *h, const struct engine_config *c)
{
	entitlement_init(&h->entitlement);
	entitlement_init(&h->election.grants);
	for (unsigned i = 0; i < h->n; i++)
		entitlement_init(&h->stray[i].entitlement);
	h->genesis_hash = c->genesis_block->hash;
	h->tip = block_ref_of(c->genesis_block);
	h->term = h->tip.term;
	term_cert_init(&h->tc);
	h->tc.mode = MODE_FAST;
	h->tc.term = h->tip.term;
	h->tc.base = h->tip;
	term_cert_copy(&h->tip_tc, &h->tc);
	term_cert_init(&h->spare_tc);
	mode_state_init(&h->modes);
	view_change_init(&h->signed_vc);
	position_init(&h->cut);
	for (unsigned i = 0; i < h->n; i++)
		view_change_init(&h->view[i].vc);
}

/* [I15] What has no signature of the sender in it, and what others have signed, goes on being
 * sent. All else is not made in the first place; should a rule of another file miss that, it is
 * signed with no key and sent to nobody. */
void observer_begins(struct hybrid *h)
{
	h->out.withheld = 0;
	for (uint8_t type = 0; type < 64; type++)
		h->out.withheld |= (uint64_t)message_is_for_voters(type) << type;
}

int engine_new_hybrid(struct engine **out, const struct engine_config *c,
		      const struct engine_recovery *recovery, struct errmsg *m)
{
	invariant(c->self < c->ctx->vals.n);
	struct hybrid *h = mem_zalloc(sizeof *h);
	h->base.ops = &hybrid_ops;
	h->ctx = c->ctx;
	h->genesis = c->genesis;
	h->quorum = c->ctx->quorum;
	h->self = h->out.self = c->self;
	h->n = h->out.n = c->ctx->vals.n;
	h->observer = c->observer;
	if (h->observer)
		observer_begins(h);
	else
		h->key = c->key;
	h->stray = mem_array(h->n, sizeof *h->stray);
	h->view = mem_array(h->n, sizeof *h->view);
	h->seen = mem_array(h->n, sizeof *h->seen);
	h->views = mem_alloc(VIEWS_KEPT * sizeof *h->views); /* not touched before it is used */
	h->timing = c->timing;
	default_timing(&h->timing);
	h->configured = h->timing;
	h->timer_fits = h->timing.timeout_min;
	h->window = c->genesis->limits.window;
	h->pipeline = c->pipeline ? c->pipeline : 8;
	if (h->pipeline > h->window)
		h->pipeline = h->window;
	h->checkpoint_interval = c->genesis->checkpoint_interval;
	h->checkpoint_spacing = h->checkpoint_interval;
	while (h->checkpoint_spacing < CHECKPOINT_SPACING_MIN)
		h->checkpoint_spacing += h->checkpoint_interval;
	random_seed(&h->random, c->seed);
	h->now = c->now;
	h->tally_cap = 2 * h->window;
	h->tallies = mem_array(h->tally_cap, sizeof *h->tallies);
	h->votes_cap = 2 * h->window;
	h->votes = mem_array(h->votes_cap, sizeof *h->votes);
	h->tx_invalid = c->tx_invalid;
	h->pinned = c->genesis->protocol == PROTOCOL_PBFT;
	h->candidates = mem_array(c->genesis->limits.block_txs_max + 1 + CONVICTIONS_MAX,
				  sizeof *h->candidates);
	h->check_request = mem_array(FORWARD_TXS_MAX, sizeof *h->check_request);
	h->in = mem_zalloc(sizeof *h->in);
	h->append_scratch = mem_zalloc(sizeof *h->append_scratch);
	h->blocks_scratch = mem_zalloc(sizeof *h->blocks_scratch);
	pool_init(&h->pool, c->seed);
	genesis_state(h, c);
	int err = hybrid_recover(h, recovery, m);
	if (err) {
		engine_free_hybrid(&h->base);
		return err;
	}
	h->marked = h->log.final->hash;
	timer_restart(h);
	if (c->asks_own_votes)
		own_votes_begin(h);
	*out = &h->base;
	return ERR_NONE;
}
