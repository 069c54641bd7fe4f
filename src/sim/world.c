/* Event loop, network, disks and nodes of the simulated world. */
#include <stdarg.h>
#include <stdio.h>

#include "chain/epoch.h"
#include "consensus/crash/wire.h"
#include "consensus/hybrid/message.h"
#include "ledger/tree.h"
#include "sim/world.h"

void sim_violation(struct sim *s, enum sim_verdict verdict, const char *fmt, ...)
{
	if (s->result->verdict != SIM_OK)
		return;
	s->result->verdict = verdict;
	s->stopped = true;
	int at = snprintf(s->result->text, SIM_TEXT_MAX, "at %.3f s: ", (double)s->now / 1e6);
	va_list args;
	va_start(args, fmt);
	vsnprintf(s->result->text + at, SIM_TEXT_MAX - (size_t)at, fmt, args);
	va_end(args);
}

/* ---- network ----------------------------------------------------------------------------- */

static bool is_lost(struct sim *s, unsigned from, unsigned to, uint32_t number)
{
	struct sim_record *record = s->options.record;
	bool by_chance = random_below(&s->random, 1000) < s->loss_per_mille;
	if (by_chance && record && record->losses.count < LOSSES_MAX)
		record->losses.loss[record->losses.count++] =
			(struct loss){(uint8_t)from, (uint8_t)to, number};
	else if (by_chance && record)
		record->losses.more = true;
	return by_chance ||
	       (s->options.losses && losses_have(s->options.losses, from, to, number));
}

/* What the links of single nodes add; nothing is drawn where nothing is slow. */
static uint64_t later(struct sim *s, unsigned from, unsigned to, size_t len, uint64_t at)
{
	const unsigned end[2] = {from, to};
	uint64_t rate = 0, reset = 0;
	for (unsigned i = 0; i < 2; i++) {
		const struct sim_node *n = &s->node[end[i]];
		if (n->slow_max)
			at += random_between(&s->random, n->slow_min, n->slow_max);
		if (n->bytes_per_s && (!rate || n->bytes_per_s < rate))
			rate = n->bytes_per_s;
		reset = n->reset_until > reset ? n->reset_until : reset;
	}
	if (rate) {
		uint64_t *free_at = &s->line_free_at[from][to];
		*free_at = (*free_at > s->now ? *free_at : s->now) + len * 1000000 / rate;
		at += *free_at - s->now;
	}
	return at > reset ? at : reset; /* what was not acknowledged is sent again */
}

static void send_one(struct sim *s, unsigned from, unsigned to, struct packet *p)
{
	s->result->messages[p->type % ENGINE_MESSAGE_TYPES]++;
	s->result->bytes += p->len;
	uint32_t number = ++s->link_sent[from][to];
	if (s->measure)
		measure_sent(s, from, to, p);
	if (s->cut[from][to] || is_lost(s, from, to, number))
		return;
	bool twice = s->duplicate_per_mille &&
		     random_below(&s->random, 1000) < s->duplicate_per_mille;
	uint32_t copies = twice || (s->faults_on && random_chance(&s->random, 1, 100)) ? 2 : 1;
	while (copies-- > 0) {
		uint64_t at = s->now + cpu_spent(s) +
			      random_between(&s->random, s->delay_min, s->delay_max);
		at = later(s, from, to, p->len, at);
		if (!s->reorder && at < s->delivering_at[from][to])
			at = s->delivering_at[from][to];
		s->delivering_at[from][to] = at;
		p->refs++;
		sim_push(s, &(struct event){.at = at,
					    .kind = EVENT_DELIVER,
					    .node = to,
					    .from = from,
					    .packet = p});
	}
}

struct packet *packet_new(struct sim *s, uint8_t type, struct slice bytes)
{
	struct packet *p = freelist_alloc(&s->packets, sizeof *p + bytes.len);
	p->refs = 1;
	p->type = type;
	p->len = bytes.len;
	memcpy(p->bytes, bytes.ptr, bytes.len);
	return p;
}

void packet_drop(struct sim *s, struct packet *p)
{
	if (p && --p->refs == 0)
		freelist_free(&s->packets, p, sizeof *p + p->len);
}

void sim_send(struct sim *s, unsigned from, const struct message *m)
{
	const struct sim_options *o = &s->options;
	if (o->intercept && o->intercept(o->intercept_ctx, s, from, m))
		return;
	if (!o->unchecked)
		check_sent(s, from, m);
	sim_send_as(s, from, m);
}

uint64_t sim_now(const struct sim *s)
{
	return s->now;
}

void sim_send_as(struct sim *s, unsigned from, const struct message *m)
{
	struct packet *p = packet_new(s, m->type, m->bytes);
	if (s->measure)
		measure_packet(s, from, p);
	member_replays(s, from, p);
	for (unsigned to = 0; to < s->n; to++)
		if (m->to >> to & 1) {
			send_one(s, from, to, p);
			if (s->options.inject && s->log_len > 100 &&
			    (m->type == MSG_APPEND || m->type == RAFT_APPEND ||
			     m->type == PAXOS_ACCEPT)) {
				s->options.inject--;
				send_one(s, from, to, p);
			}
		}
	packet_drop(s, p);
}

/* ---- nodes ------------------------------------------------------------------------------- */

static void host_send(void *ctx, const struct message *m)
{
	struct sim_node *node = ctx;
	if (!node->dying)
		sim_send(node->sim, node->index, m);
}

static bool host_sync(void *ctx, uint64_t seq)
{
	struct sim_node *node = ctx;
	struct sim *s = node->sim;
	if (node->dying)
		return false;
	if (node->crash_at_sync) { /* it dies while the disk is at work */
		node->crash_at_sync = false;
		sim_push(s, &(struct event){.at = s->now + 1 +
						  random_below(&s->random, node->sync_us),
					    .kind = EVENT_CRASH,
					    .node = node->index,
					    .life = node->life});
	}
	node->sync_asked = seq;
	uint64_t at = s->now + cpu_spent(s) + node->sync_us +
		      random_below(&s->random, node->sync_us + 1);
	sim_push(s, &(struct event){.at = at,
				    .kind = EVENT_SYNCED,
				    .node = node->index,
				    .number = seq,
				    .life = node->life});
	return false;
}

static void collect_counters(struct sim *s, unsigned i);

static void host_final(void *ctx, struct block *b, const struct cert *c)
{
	struct sim_node *node = ctx;
	if (node->dying)
		return;
	node->final = b->sh.h.height - 1;
	if (node->sim->measure && !sim_is_corrupt(node->sim, node->index))
		measure_block(node->sim, node->index, b);
	if (!sim_is_corrupt(node->sim, node->index))
		check_final(node->sim, node->index, b, c);
	node->final = b->sh.h.height;
	struct member_change change;
	node->sim->step_txs += b->tx_count;
	if (epoch_end_of(b, &node->sim->ctx, &change)) /* its engine ends here */
		collect_counters(node->sim, node->index);
	if (sim_is_corrupt(node->sim, node->index))
		return;
	clients_on_final(node->sim, node->index, b);
}

static void host_epoch(void *ctx)
{
	struct sim_node *node = ctx;
	members_entered(node->sim, node->index);
}

static void host_rejected(void *ctx, const struct hash *id, int err)
{
	struct sim_node *node = ctx;
	if (!node->dying)
		check_refused(node->sim, node->index, id, err);
}

static void host_halted(void *ctx, const char *why)
{
	struct sim_node *node = ctx;
	if (sim_is_corrupt(node->sim, node->index) || node->dying)
		return;
	node->sim->result->halted++;
	if (node->disk_full) /* it says so, and does nothing more */
		return;
	if (node->sim->result->conflicts && node->sim->options.measure_conflicts)
		return; /* rightly so */
	sim_violation(node->sim, SIM_SAFETY, "replica %u halted: %s", node->index, why);
}

static void host_outdated(void *ctx, const char *why)
{
	struct sim_node *node = ctx;
	(void)why;
	rewind_noticed(node->sim, node->index);
}

static uint64_t host_wall_ms(void *ctx)
{
	struct sim_node *node = ctx;
	return node->sim->genesis.time_ms + node->sim->now / 1000 + (uint64_t)node->skew_ms;
}

void sim_look(struct sim *s, unsigned i)
{
	struct sim_node *node = &s->node[i];
	if (!node->replica || node->dying || sim_is_corrupt(s, i))
		return;
	if (!s->options.unchecked)
		check_term_cert(s, i);
	if (s->team)
		check_innocence(s, i);
}

static void after_step(struct sim *s, unsigned i)
{
	struct sim_node *node = &s->node[i];
	if (!node->replica || node->dying)
		return;
	sim_look(s, i);
	if (s->measure)
		measure_step(s, i);
	uint64_t at = replica_wake_at(node->replica);
	if (at == UINT64_MAX)
		return;
	if (at <= s->now)
		at = s->now + 1;
	if (node->wake_at && node->wake_at <= at)
		return;
	node->wake_at = at;
	sim_push(s,
		 &(struct event){.at = at, .kind = EVENT_WAKE, .node = i, .life = node->life});
}

bool sim_is_corrupt(const struct sim *s, unsigned node)
{
	return s->corrupt >> node & 1;
}

static struct engine *wrap_engine(void *ctx, struct engine *e)
{
	struct sim_node *node = ctx;
	return adversary_wrap(node->sim->team, node->index, e);
}

void sim_start_node(struct sim *s, unsigned i)
{
	struct sim_node *node = &s->node[i];
	struct errmsg m;
	struct replica_config config = {.genesis = &s->genesis,
					.store = node->store,
					.self = i,
					.key = node->key,
					.pipeline = s->options.pipeline,
					.history = s->options.history, /* 0: the newest */
					.blocks = s->options.blocks,
					.sync_gap = s->options.sync_gap,
					.seed = node->seed + node->life,
					.now = s->now,
					.verify_txs = s->options.scheme == SIG_ED25519 ||
						      s->cpu_counts,
					.asks_own_votes = rewind_asks(s),
					.host = {.ctx = node,
						 .send = host_send,
						 .sync = host_sync,
						 .final = host_final,
						 .rejected = host_rejected,
						 .halted = host_halted,
						 .epoch = host_epoch,
						 .outdated = host_outdated,
						 .wall_ms = host_wall_ms,
						 .sync_note = sim_sync_note,
						 .reopened = sim_sync_reopened}};
	rewind_note_start(s, i);
	if (s->cpu_counts)
		cpu_begin(s, true);
	if (sim_is_corrupt(s, i) && !node->reformed) {
		config.asks_own_votes = false; /* what it does not want to know */
		config.wrap = wrap_engine;
		config.lie = sim_sync_lie;
		config.wrap_ctx = node;
	}
	node->life++;
	node->sync_asked = node->sync_done = 0;
	node->wake_at = 0;
	node->tc_term = 0;
	node->in_turn = false;
	if (node->disk_full)
		store_memory_fail_write(node->store, 1);
	kill_at_start(s, i);
	if (replica_open(&node->replica, &config, &m)) {
		node->replica = NULL;
		if (!sim_is_corrupt(s, i) && !node->disk_full &&
		    !node->dying) /* a liar's disk may hold anything */
			sim_violation(s, SIM_SAFETY, "replica %u does not start: %s", i,
				      m.text);
		return;
	}
	node->final = ledger_height(replica_ledger(node->replica));
	members_entered(s, i);
	rewind_started(s, i);
	if (!sim_is_corrupt(s, i))
		check_recovered(s, i);
	uint64_t signatures = check_signed(s);
	check_silence(s, i, signatures); /* notes who signs nothing */
	gather_input(s, i);
	replica_tick(node->replica, s->now);
	if (s->cpu_counts)
		cpu_end(s, i);
	check_silence(s, i, signatures);
	after_step(s, i);
}

static void collect_counters(struct sim *s, unsigned i)
{
	struct engine_status status;
	replica_status(s->node[i].replica, &status);
	if (!s->options.intercept && !s->team)
		check_counters(s, i, &status);
	if (sim_is_corrupt(s, i))
		return;
	for (unsigned c = 0; c < COUNTERS; c++)
		s->result->counters[c] += status.counters[c];
}

void sim_crash_node(struct sim *s, unsigned i)
{
	struct sim_node *node = &s->node[i];
	collect_counters(s, i);
	if (s->measure)
		measure_down(s, i);
	replica_close(node->replica);
	node->replica = NULL;
	cpu_forget(s, i);
	store_memory_crash(node->store, &s->random);
	kill_disarm(s, i);
	s->result->crashes++;
}

/* ---- the loop ---------------------------------------------------------------------------- */

/* Not a cryptographic hash, for there is a delivery in every other event: each step is a
 * bijection of the state, so that runs which differ stay apart. */
static void trace_word(struct sim *s, uint64_t word)
{
	uint64_t *t = s->trace;
	t[0] = (t[0] ^ word) * 0x9e3779b97f4a7c15;
	t[0] ^= t[0] >> 32;
	t[1] = (t[1] + word) * 0xd1342543de82ef95;
	t[1] ^= t[1] >> 29;
}

static void trace(struct sim *s, const struct event *e)
{
	trace_word(s, s->now);
	trace_word(s, (uint64_t)e->packet->len << 32 | (uint64_t)e->packet->type << 16 |
			      e->node << 8 | e->from);
	if (s->options.trace && e->kind == EVENT_DELIVER)
		printf("%10.6f %u -> %u %s (%zu bytes)\n", (double)s->now / 1e6, e->from,
		       e->node, engine_message_name(e->packet->type), e->packet->len);
}

/* The process stands still, or its processor is at work; the world goes on. */
static bool has_to_wait(struct sim *s, struct event *e)
{
	struct sim_node *node = &s->node[e->node];
	if (!node->replica ||
	    (e->kind != EVENT_DELIVER && e->kind != EVENT_WAKE && e->kind != EVENT_SYNCED &&
	     e->kind != EVENT_TURN_ENDS && e->kind != EVENT_CPU))
		return false;
	if (s->now >= node->paused_until)
		return s->cpu_counts && e->kind != EVENT_CPU && cpu_queues(s, e);
	e->at = node->paused_until;
	if (e->kind == EVENT_WAKE && e->life == node->life)
		node->wake_at = e->at;
	sim_push(s, e);
	return true;
}

static void perform(struct sim *s, struct event *e)
{
	struct sim_node *node = &s->node[e->node];
	uint64_t signatures = check_signed(s);
	if (s->cpu_counts)
		cpu_begin(s, true);
	switch (e->kind) {
	case EVENT_CRASH:
		if (node->replica && e->life == node->life && !s->healed_at)
			faults_crash(s, e->node);
		return;
	case EVENT_DELIVER:
		if (node->replica) {
			trace(s, e);
			if (s->measure)
				measure_delivered(s, e->node, e->packet);
			check_modes_delivery(s, e->node, e->from);
			check_rounds_delivery(s, e->node, e->from, e->packet);
			bool told = rewind_is_told(s, e->node, e->from, e->packet);
			gather_input(s, e->node);
			replica_message(node->replica, s->now, e->from,
					slice_of(e->packet->bytes, e->packet->len));
			if (told)
				rewind_check_told(s, e->node);
		}
		packet_drop(s, e->packet);
		e->packet = NULL;
		break;
	case EVENT_WAKE:
		if (!node->replica || e->life != node->life)
			return;
		if (node->wake_at == e->at)
			node->wake_at = 0;
		gather_input(s, e->node);
		replica_tick(node->replica, s->now);
		break;
	case EVENT_SYNCED:
		if (!node->replica || e->life != node->life)
			return;
		if (e->number >
		    node->sync_done) /* one covers those before it, and may be quicker */
			node->sync_done = e->number;
		if (store_sync(node->store) == ERR_NONE) {
			gather_input(s, e->node);
			replica_durable(node->replica, s->now, e->number);
		}
		break;
	case EVENT_CLIENT:
		client_act(s, (unsigned)e->number);
		return;
	case EVENT_SUBMIT:
		client_submit(s, e->node, (unsigned)e->number);
		return;
	case EVENT_CPU: /* see handle() */
		return;
	case EVENT_FAULT:
		faults_next(s);
		return;
	case EVENT_RESTART:
		if (!node->replica) {
			s->result->restarts++;
			sim_start_node(s, e->node);
		}
		return;
	case EVENT_HEAL:
		faults_heal_event(s, e);
		return;
	case EVENT_SCRIPT:
		script_event(s, e->number);
		return;
	case EVENT_KILL:
		kill_next(s);
		return;
	case EVENT_MEMBER:
		member_next(s);
		return;
	case EVENT_TURN_ENDS:
		if (!node->replica || e->life != node->life)
			return;
		gather_end(s, e->node);
		break;
	case EVENT_RESIGN:
		e->node = resigns_next(s);
		if (e->node == s->n)
			return;
		break;
	}
	if (s->cpu_counts)
		cpu_end(s, e->node);
	check_silence(s, e->node, signatures);
	after_step(s, e->node);
}

static void handle(struct sim *s, struct event *e)
{
	unsigned i = e->node;
	if (s->now >= s->node[i].paused_until && !s->cpu_counts) {
		perform(s, e);
		return;
	}
	if (has_to_wait(s, e))
		return;
	bool waited = e->kind == EVENT_CPU;
	if (waited && !cpu_next(s, e))
		return;
	perform(s, e);
	if (waited && s->node[i].replica)
		cpu_goes_on(s, i);
}

/* With --trace: where everybody stands when a run fails. */
static void trace_status(struct sim *s)
{
	printf("final terms:");
	for (size_t i = s->log_len > 16 ? s->log_len - 16 : 0; i < s->log_len; i++)
		printf(" %zu:%llu", i, (unsigned long long)s->log[i].final_term);
	printf("\n");
	for (unsigned i = 0; i < s->n; i++) {
		struct engine_status e;
		if (!s->node[i].replica)
			continue;
		replica_status(s->node[i].replica, &e);
		printf("node %u: %s, term %llu, certificate of term %llu by %u, tip (%llu, "
		       "%llu), "
		       "final %llu, pool %u\n",
		       i, engine_role_name(e.role), (unsigned long long)e.term,
		       (unsigned long long)e.tc_term,
		       engine_term_cert(replica_engine(s->node[i].replica))->leader,
		       (unsigned long long)e.tip.term, (unsigned long long)e.tip.height,
		       (unsigned long long)e.final.height, e.pool_count);
	}
}

/* Nobody is left alone in a term of its own; but a malicious leader may leave one out. */
static bool in_one_term(const struct sim *s)
{
	uint64_t lowest = UINT64_MAX, highest = 0, newest = 0;
	unsigned leader = 0;
	for (unsigned i = s->options.dead; i < s->n; i++) {
		struct engine_status e;
		if (sim_is_corrupt(s, i) || !s->node[i].replica)
			continue;
		replica_status(s->node[i].replica, &e);
		if (e.tc_term >= newest) {
			newest = e.tc_term;
			leader = engine_term_cert(replica_engine(s->node[i].replica))->leader;
		}
		lowest = e.tc_term < lowest ? e.tc_term : lowest;
		highest = e.term > highest ? e.term : highest;
	}
	return lowest == highest || sim_is_corrupt(s, leader);
}

bool sim_level(const struct sim *s)
{
	if (s->options.await_one_term && !in_one_term(s))
		return false;
	for (unsigned i = s->options.dead; i < s->n; i++)
		if ((!sim_is_corrupt(s, i) ||
		     (s->node[i].wiped && s->options.peaceful)) && /* one that means well */
		    (!s->node[i].replica || s->node[i].final + 1 < s->log_len))
			return false;
	for (uint32_t c = 0; c < s->options.clients; c++)
		if (s->clients[c].waiting)
			return false;
	return true;
}

#define HEALED_DECISIONS 20
#define HEALED_LIMIT_US	 (120 * UINT64_C(1000000))
#define RUN_LIMIT_US	 (300 * UINT64_C(1000000)) /* of faults */
#define FORKED_US	 (2 * UINT64_C(1000000))   /* how long a fork is watched */

static bool finished(struct sim *s, uint64_t *goal, uint64_t *deadline)
{
	uint64_t decided = s->log_len - 1;
	if (s->result->conflicts && s->now > s->result->fork.at_us + FORKED_US)
		return true; /* beyond f nothing more is promised */
	if (s->measure && !measure_warm(s))
		return false;
	if (!s->healed_at) {
		bool acted = decided >= s->options.decisions + s->counted_from &&
			     s->now >= s->options.duration_us && script_is_over(s) &&
			     faults_have_struck(s) &&
			     s->result->kills >= s->options.kill_points && members_are_over(s);
		if (!acted && s->now < RUN_LIMIT_US)
			return false;
		faults_end(s);
		uint64_t wanted = s->options.decisions + s->counted_from;
		*goal = decided + (s->options.no_healing ? 0 : HEALED_DECISIONS);
		if (*goal < wanted) /* the faults left too little time */
			*goal = wanted;
		*deadline = s->now + HEALED_LIMIT_US;
		return false;
	}
	bool fast = !s->options.await_fast || !s->result->in_pbft;
	if (decided >= *goal && fast)
		s->draining = true; /* clients finish what they have and stop */
	if (s->draining && fast && members_are_over(s) && sim_level(s) &&
	    (!s->measure || measure_settled(s)))
		return true;
	if (s->now > *deadline)
		sim_violation(s, SIM_LIVENESS,
			      "no progress after healing: %llu of %llu blocks, %s",
			      (unsigned long long)decided, (unsigned long long)*goal,
			      s->draining ? "replicas or clients not level, or not in one term"
			      : decided >= *goal ? "not back in fast mode"
						 : "still waiting");
	return false;
}

/* Hundreds of times what a run takes. */
#define EVENTS_MAX	    10000000
#define EVENTS_PER_DECISION 20000

static void loop(struct sim *s)
{
	uint64_t goal = 0, deadline = 0;
	while (!s->stopped && s->queue.len && !finished(s, &goal, &deadline)) {
		struct event e = sim_pop(s);
		if (s->options.bare)
			bare_pop(s->options.bare);
		if (++s->result->events >
		    EVENTS_MAX + (uint64_t)s->options.decisions * EVENTS_PER_DECISION)
			sim_violation(s, SIM_LIVENESS, "events without end");
		s->now = e.at;
		handle(s, &e);
		if (s->dying)
			kill_reap(s);
		script_poll(s);
	}
}

static void make_genesis(struct sim *s)
{
	struct genesis *g = &s->genesis;
	genesis_defaults(g);
	snprintf(g->name, sizeof g->name, "sim");
	g->time_ms = 1700000000000;
	g->protocol = s->options.protocol ? s->options.protocol : PROTOCOL_HYBRID;
	g->scheme = s->options.scheme;
	g->n = s->n;
	g->open = true;
	g->checkpoint_interval = s->options.calm ? 32 : 8;
	if (s->options.checkpoint)
		g->checkpoint_interval = s->options.checkpoint;
	if (s->options.block_txs)
		g->limits.block_txs_max = s->options.block_txs;
	g->probation = s->options.probation ? s->options.probation : 2;
	for (unsigned i = 0; i < s->n; i++) {
		uint8_t seed[32] = {1, (uint8_t)i};
		keypair_from_seed(&s->node[i].key, seed);
		g->validator[i].key = s->node[i].key.pub;
		snprintf(g->validator[i].name, sizeof g->validator[i].name, "node%u", i + 1);
	}
	members_genesis(s);
	ledger_genesis_root(g, &g->state_root);
	genesis_ctx(&s->ctx, g);
}

static const uint64_t fault_gaps[] = {300000, 800000, 2000000};
static const uint64_t thinks[] = {80000, 20000, 4000};
static const uint64_t delays[] = {1000, 5000, 20000};
static const uint64_t syncs[] = {200, 2000, 20000};

static void draw_profile(struct sim *s)
{
	struct sim_profile *p = &s->profile;
	*p = (struct sim_profile){.fault_gap = fault_gaps[0],
				  .think = thinks[0],
				  .delay_max = delays[0],
				  .sync_us = syncs[0],
				  .down_max = s->n};
	p->delay_min = s->options.delay_min_us ? s->options.delay_min_us : 200;
	if (s->options.calm) {
		if (s->options.delay_max_us)
			p->delay_max = s->options.delay_max_us;
		return;
	}
	p->fault_gap = fault_gaps[random_below(&s->random, MEM_COUNT(fault_gaps))];
	p->think = thinks[random_below(&s->random, MEM_COUNT(thinks))];
	p->delay_max = delays[random_below(&s->random, MEM_COUNT(delays))];
	p->sync_us = syncs[random_below(&s->random, MEM_COUNT(syncs))];
	if (random_chance(&s->random, 3, 4))
		p->down_max = quorum_silent_max(&s->ctx.quorum);
	if (s->options.delay_max_us)
		p->delay_max = s->options.delay_max_us;
	if (s->options.think_us)
		p->think = s->options.think_us;
	if (p->delay_max < p->delay_min)
		p->delay_max = p->delay_min;
}

/* Every one there is means RESIGN too where leaders resign at all: other runs stay as they
 * were. */
static uint64_t attacks_of(const struct sim *s)
{
	uint64_t all = ATTACK_BIT(ATTACKS) - 1;
	uint64_t wanted = s->options.attacks ? s->options.attacks : all;
	return wanted == all && !resigns_happen(s) ? all & ~ATTACK_BIT(ATTACK_RESIGN) : wanted;
}

static void draw_team(struct sim *s)
{
	struct team_config c = {.ctx = &s->team_ctx,
				.genesis = &s->genesis,
				.attacks = s->options.peaceful ? 0 : attacks_of(s),
				.random = !s->options.steady && !s->options.when_leading &&
					  !s->options.when_following && !s->options.peaceful,
				.when_leading = s->options.when_leading,
				.when_following = s->options.when_following,
				.targets = s->options.targets,
				.seed = random_u64(&s->random),
				.only = s->options.only_strikes,
				.record = s->options.record};
	/* What takes a malicious primary happens rarely by itself: a seed in sixteen does
	 * little else. */
	const uint64_t primaries = ATTACK_BIT(ATTACK_TWO_VIEWS) |
				   ATTACK_BIT(ATTACK_EQUIVOCATE) | ATTACK_BIT(ATTACK_SHOUT);
	if (c.random && !s->options.attacks && s->options.seed % 16 == 15)
		c.attacks = primaries;
	for (unsigned left = s->options.corrupt; left > 0;) {
		unsigned i = (unsigned)random_below(&s->random, s->n);
		if (c.members >> i & 1)
			continue;
		c.members |= UINT64_C(1) << i;
		c.key[i] = s->node[i].key;
		left--;
	}
	s->corrupt = s->result->corrupt_mask = c.members;
	s->team = team_new(&c);
}

void sim_world_begin(struct sim *s, const struct sim_options *options,
		     struct sim_result *result)
{
	invariant(options->nodes >= 1 && options->nodes <= VALIDATORS_MAX);
	*result = (struct sim_result){0};
	s->options = *options;
	s->result = result;
	s->n = options->nodes;
	random_seed(&s->random, options->seed * 1000003 + options->nodes);
	cpu_world(s);
	make_genesis(s);
	draw_profile(s);
	struct block *genesis = genesis_block(&s->genesis, &s->ctx);
	s->measure = measure_new(options);
	members_begin(s);
	check_begin(s, genesis);
	block_drop(genesis);
	s->delay_min = s->profile.delay_min;
	s->delay_max = s->profile.delay_max;
	s->loss_per_mille = options->loss_per_mille;
	for (unsigned i = 0; i < s->n; i++) {
		s->node[i].sim = s;
		s->node[i].index = i;
		sim_new_disk(s, i);
		replica_first_votes(s->node[i].store);
		s->node[i].sync_us = s->profile.sync_us;
		s->node[i].seed = random_u64(&s->random);
	}
	if (options->corrupt)
		draw_team(s);
}

void sim_world_end(struct sim *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->node[i].replica)
			replica_close(s->node[i].replica);
	for (unsigned i = 0; i < s->n; i++) {
		store_close(s->node[i].store);
		if (s->node[i].old_copy)
			store_close(s->node[i].old_copy);
	}
	if (s->team)
		memcpy(s->result->strikes, team_strikes(s->team), sizeof s->result->strikes);
	team_free(s->team);
	cpu_world_end(s);
	sim_drop_events(s);
	measure_free(s->measure);
	clients_free(s);
	members_free(s);
	check_free(s);
	genesis_free(&s->genesis);
	freelist_drain(&s->packets);
	mem_free(s);
}

void sim_run(const struct sim_options *options, struct sim_result *result)
{
	struct sim *s = mem_zalloc(sizeof *s);
	struct hash_memo *memo = options->unshared ? NULL : hash_memo_new();
	struct hash_memo *before = hash_memo_use(memo);
	struct tree_heap *heap = options->unshared ? NULL : tree_heap_new();
	struct tree_heap *heap_before = tree_heap_use(heap);
	sim_world_begin(s, options, result);
	gather_begin(s);
	resigns_begin(s);
	for (unsigned i = options->dead; i < s->n - options->late; i++)
		sim_start_node(s, i);
	clients_begin(s);
	if (!options->calm && !options->gentle)
		faults_begin(s);
	else if (options->when_leading || options->when_following)
		faults_make_way(s);
	script_begin(s);
	kill_begin(s);
	s->signatures_before = sig_counts();
	loop(s);
	struct sig_counts after = sig_counts();
	result->signatures = (struct sig_counts){
		after.made - s->signatures_before.made - s->unpaid.made,
		after.checked - s->signatures_before.checked - s->unpaid.checked};
	if (!s->stopped && !result->conflicts)
		check_end(s);
	if (s->options.trace)
		trace_status(s);
	sha256(&result->trace_hash, s->trace, sizeof s->trace);
	result->virtual_us = s->now;
	result->decisions = s->log_len - 1 - s->counted_from;
	if (s->measure)
		measure_end(s);
	for (unsigned i = 0; i < s->n; i++)
		if (s->node[i].replica)
			collect_counters(s, i);
	sim_world_end(s);
	tree_heap_use(heap_before);
	tree_heap_free(heap);
	hash_memo_use(before);
	hash_memo_free(memo);
}
