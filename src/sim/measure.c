/* Counts at the transport, times, and the warm-up. What is seen of replicas is in
 * measure_states.c, the window for the space-time diagram in measure_window.c. */
#include "sim/measure.h"

#include "consensus/crash/wire.h"
#include "consensus/hybrid/message.h"
#include "sim/measure_private.h"

const char *measure_phase_name(enum measure_phase p)
{
	static const char *const names[PHASES] = {
		[PHASE_NORMAL] = "normal",
		[PHASE_CERTIFICATE] = "certificate",
		[PHASE_LEADER_CHANGE] = "leader_change",
		[PHASE_HEARTBEAT] = "heartbeat",
		[PHASE_CHECKPOINT] = "checkpoint",
		[PHASE_ESCALATION] = "escalation",
		[PHASE_REPAIR] = "repair",
		[PHASE_CLIENT] = "client",
	};
	return names[p];
}

enum measure_phase measure_phase_of(uint8_t type)
{
	switch (type) {
	case MSG_APPEND:
	case MSG_APPENDED:
	case MSG_PREPARE:
	case MSG_COMMIT:
	case RAFT_APPEND:
	case RAFT_APPENDED:
	case PAXOS_ACCEPT:
	case PAXOS_ACCEPTED:
		return PHASE_NORMAL;
	case PAXOS_COMMIT:
		return PHASE_CERTIFICATE;
	case MSG_HEARTBEAT:
	case MSG_HEARTBEAT_ACK:
	case MSG_ECHO:
	case RAFT_HEARTBEAT:
	case RAFT_HEARTBEAT_REPLY:
	case PAXOS_HEARTBEAT:
	case PAXOS_HEARTBEAT_REPLY:
		return PHASE_HEARTBEAT;
	case MSG_EVIDENCE:
	case MSG_SUSPICION:
		return PHASE_ESCALATION;
	case MSG_FETCH:
	case MSG_BLOCKS:
	case MSG_FETCH_VIEW:
	case MSG_FINAL:
	case PAXOS_FETCH:
	case PAXOS_CHOSEN:
		return PHASE_REPAIR;
	case MSG_FORWARD:
	case MSG_RELAY:
	case MSG_MEMBER:
	case MSG_ASK_VOTES:
	case MSG_VOTES:
	case CRASH_FORWARD:
		return PHASE_CLIENT;
	default: /* votes, requests for them, refusals, view changes */
		return PHASE_LEADER_CHANGE;
	}
}

struct measure *measure_new(const struct sim_options *options)
{
	if (!options->measure)
		return NULL;
	struct measure *m = mem_zalloc(sizeof *m);
	m->out = options->measure;
	*m->out = (struct sim_measures){
		.window_us = MEASURE_WINDOW_US,
		.failover = {MEASURE_NEVER, MEASURE_NEVER, MEASURE_NEVER, MEASURE_NEVER}};
	m->decoded = mem_zalloc(sizeof *m->decoded);
	m->warm = !options->warm_up;
	return m;
}

void measure_free(struct measure *m)
{
	if (!m)
		return;
	mem_free(m->decoded);
	mem_free(m);
}

/* ---- messages ---------------------------------------------------------------------------- */

void measure_sent(struct sim *s, unsigned from, unsigned to, struct packet *p)
{
	struct measure *m = s->measure;
	m->out->phase[p->phase]++;
	m->out->bytes_by_type[p->type % ENGINE_MESSAGE_TYPES] += p->len;
	if (p->phase == PHASE_CERTIFICATE && measure_phase_of(p->type) == PHASE_NORMAL)
		m->out->lone[p->type % ENGINE_MESSAGE_TYPES]++;
	if (p->phase == PHASE_LEADER_CHANGE && !sim_is_corrupt(s, from))
		measure_asked(s);
	window_sent(s, from, to, p);
}

/* ---- times ------------------------------------------------------------------------------- */

static void keep(struct measure_times *t, uint64_t us)
{
	t->us[t->count++ % MEASURE_TIMES_MAX] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* Who must have a block before everybody has it. */
static uint64_t everybody(const struct sim *s)
{
	uint64_t all = s->n == 64 ? UINT64_MAX : (UINT64_C(1) << s->n) - 1;
	for (unsigned i = 0; i < s->options.dead; i++)
		all &= ~(UINT64_C(1) << i);
	return all & ~s->corrupt;
}

static void count_window(struct sim *s)
{
	struct sim_measures *o = s->measure->out;
	while (s->now / o->window_us >= MEASURE_WINDOWS_MAX) {
		for (unsigned i = 0; i < MEASURE_WINDOWS_MAX / 2; i++)
			o->window[i] = o->window[2 * i] + o->window[2 * i + 1];
		memset(o->window + MEASURE_WINDOWS_MAX / 2, 0, sizeof o->window / 2);
		o->window_us *= 2;
	}
	o->window[s->now / o->window_us]++;
}

void measure_block(struct sim *s, unsigned node, const struct block *b)
{
	struct measure *m = s->measure;
	uint64_t height = b->sh.h.height;
	const struct known_header *k = map_get(&s->headers, b->hash.b);
	struct spread_block *x = &m->spread[height % MEASURE_SPREAD_MAX];
	if (height == s->log_len) { /* nobody had it */
		*x = (struct spread_block){.height = height};
		count_window(s);
		measure_committed(s, b);
		window_decided(s);
	}
	if (!k || x->height != height)
		return;
	if (b->sh.h.leader == node)
		keep(&m->out->leader, s->now - k->seen_at);
	uint64_t wanted = everybody(s), before = x->nodes;
	x->nodes |= UINT64_C(1) << node;
	if ((before & wanted) != wanted && (x->nodes & wanted) == wanted)
		keep(&m->out->all, s->now - k->seen_at);
}

void measure_answer(struct sim *s, uint64_t submitted_us)
{
	keep(&s->measure->out->client, s->now - submitted_us);
	measure_backlog(s, submitted_us);
}

/* ---- warm-up ----------------------------------------------------------------------------- */

/* Everything that was sent has arrived and been answered: heartbeats are what is left. */
#define SETTLE_US UINT64_C(30000)

static bool settled(struct sim *s)
{
	struct measure *m = s->measure;
	if (!m->level_at)
		m->level_at = s->now;
	return s->now >= m->level_at + SETTLE_US;
}

static void forget(struct sim *s)
{
	struct sim_result *r = s->result;
	struct sim_measures *o = s->measure->out;
	memset(r->messages, 0, sizeof r->messages);
	r->bytes = r->lone_certificates = r->transactions = r->acknowledged = 0;
	r->times = 0;
	memset(o->phase, 0, sizeof o->phase);
	memset(o->bytes_by_type, 0, sizeof o->bytes_by_type);
	memset(o->lone, 0, sizeof o->lone);
	o->leader.count = o->all.count = o->client.count = 0;
	s->signatures_before = sig_counts();
	s->signatures_before.made -= s->unpaid.made;
	s->signatures_before.checked -= s->unpaid.checked;
	s->counted_from = s->log_len - 1;
	s->measure->counted_from_us = s->now;
}

bool measure_warm(struct sim *s)
{
	struct measure *m = s->measure;
	if (m->warm || s->log_len <= s->options.warm_up)
		return m->warm;
	s->quiet = true;
	if (!sim_level(s) || !settled(s))
		return false;
	forget(s);
	m->level_at = 0;
	m->warm = true;
	clients_resume(s);
	return true;
}

bool measure_settled(struct sim *s)
{
	return !s->options.warm_up || settled(s);
}

void measure_end(struct sim *s)
{
	struct sim_measures *o = s->measure->out;
	uint64_t windows = s->now / o->window_us + 1;
	o->counted_us = s->now - s->measure->counted_from_us;
	o->windows = windows < MEASURE_WINDOWS_MAX ? (uint32_t)windows : MEASURE_WINDOWS_MAX;
	measure_failover_end(s);
	window_end(s);
}
