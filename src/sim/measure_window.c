/* A bounded ring of messages, out of which the most interesting moment is cut for a space-time
 * diagram. */
#include <stdio.h>

#include "consensus/hybrid/message.h"
#include "consensus/multipaxos/message.h"
#include "consensus/raft/message.h"
#include "replica/epoch.h"
#include "sim/measure_private.h"

#define STEADY_AFTER 40 /* decisions */
#define STEADY_LONG  2

const char *measure_moment_name(enum measure_moment m)
{
	static const char *const names[MOMENTS] = {
		[MOMENT_NONE] = "",
		[MOMENT_STEADY] = "two decisions of the steady state",
		[MOMENT_LEADER_LOST] = "leader lost",
		[MOMENT_PROOF] = "first proof",
		[MOMENT_FORK] = "fork",
	};
	return names[m];
}

/* ---- what a message is about ------------------------------------------------------------- */

static uint64_t newest(const struct crash_blocks *b)
{
	return b->count ? b->block[b->count - 1]->sh.h.height : 0;
}

static uint64_t look_raft(struct packet *p, struct slice bytes)
{
	struct raft_message in;
	uint64_t height = 0;
	if (raft_message_decode(&in, bytes))
		return 0;
	if (in.type == RAFT_APPEND) {
		height = newest(&in.append.blocks);
		if (!height) {
			p->phase = PHASE_CERTIFICATE;
			height = in.append.commit;
		}
	} else if (in.type == RAFT_APPENDED) {
		height = in.appended.index;
	}
	raft_message_free(&in);
	return height;
}

static uint64_t look_paxos(struct slice bytes)
{
	struct paxos_message in;
	uint64_t height = 0;
	if (paxos_message_decode(&in, bytes))
		return 0;
	if (in.type == PAXOS_ACCEPT)
		height = newest(&in.accept.value);
	else if (in.type == PAXOS_ACCEPTED)
		height = in.accepted.slot;
	else if (in.type == PAXOS_COMMIT)
		height = in.news.commit;
	else if (in.type == PAXOS_CHOSEN)
		height = newest(&in.chosen.blocks);
	paxos_message_free(&in);
	return height;
}

static uint64_t look_append(struct packet *p, const struct msg_append *a)
{
	if (a->count)
		return a->blocks[a->count - 1]->sh.h.height;
	p->phase = PHASE_CERTIFICATE;
	return a->has_qc ? a->qc.ref.height : a->has_final ? a->final.ref.height : 0;
}

/* An answer to a certificate that came alone has a new COMMIT and no new PREPARE. */
static uint64_t look_appended(struct seen_node *from, struct packet *p,
			      const struct msg_appended *a)
{
	bool prepares = a->has_prepare && position_compare(&a->prepare.ref, &from->prepare) > 0;
	bool commits = a->has_commit && position_compare(&a->commit.ref, &from->commit) > 0;
	if (prepares)
		from->prepare = a->prepare.ref;
	else if (commits)
		p->phase = PHASE_CERTIFICATE;
	if (commits)
		from->commit = a->commit.ref;
	return a->has_prepare  ? a->prepare.ref.height
	       : a->has_commit ? a->commit.ref.height
			       : 0;
}

static uint64_t look_hybrid(struct measure *m, unsigned from, struct packet *p,
			    struct slice bytes)
{
	struct message_in *in = m->decoded;
	uint64_t height = 0;
	if (message_decode(in, bytes))
		return 0;
	switch (in->type) {
	case MSG_APPEND:
		height = look_append(p, &in->append);
		break;
	case MSG_APPENDED:
		height = look_appended(&m->node[from], p, &in->appended);
		break;
	case MSG_PREPARE:
		height = in->prepare.ref.height;
		break;
	case MSG_COMMIT:
		height = in->commit.commit.ref.height;
		break;
	case MSG_BLOCKS:
		if (in->blocks.count)
			height = in->blocks.blocks[in->blocks.count - 1]->sh.h.height;
		break;
	default:
		break;
	}
	message_free(in);
	return height;
}

/* Types whose phase does not show from the type, or that name a block. */
static bool has_height(uint8_t type)
{
	return measure_phase_of(type) == PHASE_NORMAL || type == PAXOS_COMMIT ||
	       type == PAXOS_CHOSEN || type == MSG_BLOCKS;
}

void measure_packet(struct sim *s, unsigned from, struct packet *p)
{
	struct slice bytes = slice_of(p->bytes, p->len);
	if (p->len > EPOCH_HEAD && p->bytes[0] == EPOCH_ENVELOPE)
		bytes = slice_of(p->bytes + EPOCH_HEAD, p->len - EPOCH_HEAD);
	p->phase = (uint8_t)measure_phase_of(p->type);
	p->height = 0;
	p->ticket = s->measure->sent;
	if (!has_height(p->type))
		return;
	if (p->type < CRASH_FORWARD)
		p->height = look_hybrid(s->measure, from, p, bytes);
	else if (s->genesis.protocol == PROTOCOL_RAFT)
		p->height = look_raft(p, bytes);
	else
		p->height = look_paxos(bytes);
}

/* ---- the ring ---------------------------------------------------------------------------- */

void window_sent(struct sim *s, unsigned from, unsigned to, struct packet *p)
{
	struct measure *m = s->measure;
	if (p->phase == PHASE_NORMAL && p->height > m->newest)
		m->newest = p->height;
	m->ring[m->sent++ % MEASURE_RING_MAX] =
		(struct measure_event){.sent = s->now,
				       .received = MEASURE_NEVER,
				       .from = (uint16_t)from,
				       .to = (uint16_t)to,
				       .type = p->type,
				       .height = p->height};
}

/* The entries of one packet stand together, from its ticket on. */
void measure_delivered(struct sim *s, unsigned to, const struct packet *p)
{
	struct measure *m = s->measure;
	uint64_t end = p->ticket + 2 * s->n; /* an injected one makes two of a receiver's */
	if (p->ticket + MEASURE_RING_MAX <= m->sent)
		return;
	for (uint64_t i = p->ticket; i < end && i < m->sent; i++) {
		struct measure_event *e = &m->ring[i % MEASURE_RING_MAX];
		if (e->to != to || e->received != MEASURE_NEVER)
			continue;
		e->received = s->now;
		return;
	}
}

void window_mark(struct sim *s, unsigned node, const char *text)
{
	struct measure *m = s->measure;
	struct measure_mark *mark = &m->marks[m->marked++ % MARKS_KEPT];
	mark->at = s->now;
	mark->node = (uint16_t)node;
	snprintf(mark->text, sizeof mark->text, "%s", text);
}

/* ---- the window -------------------------------------------------------------------------- */

static const struct {
	unsigned before, after; /* messages */
} reach[MOMENTS] = {[MOMENT_STEADY] = {0, 300},
		    [MOMENT_LEADER_LOST] = {60, 240},
		    [MOMENT_PROOF] = {150, 150},
		    [MOMENT_FORK] = {220, 80}};

/* Copies the open window, if it is greater than the one that is there. */
static void close_window(struct sim *s)
{
	struct measure *m = s->measure;
	struct sim_measures *o = m->out;
	if (m->moment == MOMENT_NONE || o->moment >= m->moment)
		return;
	uint64_t to = m->to < m->sent ? m->to : m->sent;
	uint64_t from = m->from;
	if (from + MEASURE_RING_MAX < m->sent)
		from = m->sent - MEASURE_RING_MAX;
	o->moment = m->moment;
	o->event_count = o->mark_count = 0;
	for (uint64_t i = from; i < to && o->event_count < MEASURE_EVENTS_MAX; i++)
		o->event[o->event_count++] = m->ring[i % MEASURE_RING_MAX];
	if (!o->event_count)
		return;
	uint64_t low = o->event[0].sent, high = o->event[o->event_count - 1].sent;
	for (uint32_t i = 0; i < o->event_count; i++)
		if (o->event[i].received != MEASURE_NEVER && o->event[i].received > high)
			high = o->event[i].received;
	uint64_t first = m->marked > MARKS_KEPT ? m->marked - MARKS_KEPT : 0;
	for (uint64_t i = first; i < m->marked; i++) {
		const struct measure_mark *mark = &m->marks[i % MARKS_KEPT];
		bool room = o->mark_count < MEASURE_MARKS_MAX;
		if (room && mark->at >= low && mark->at <= high)
			o->mark[o->mark_count++] = *mark;
	}
}

/* Closed only when what was sent in it has had time to arrive, and before the ring has gone
 * round. */
static void close_if_past(struct sim *s)
{
	struct measure *m = s->measure;
	if (m->moment != MOMENT_NONE && m->out->moment < m->moment &&
	    m->sent >= m->to + MEASURE_RING_MAX / 2)
		close_window(s);
}

void window_moment(struct sim *s, enum measure_moment moment)
{
	struct measure *m = s->measure;
	if (moment <= m->moment)
		return;
	m->moment = moment;
	m->from = m->sent > reach[moment].before ? m->sent - reach[moment].before : 0;
	m->to = m->sent + reach[moment].after;
	unsigned leader = sim_leader(s);
	window_mark(s, leader < s->n ? leader : 0, measure_moment_name(moment));
}

void window_decided(struct sim *s)
{
	struct measure *m = s->measure;
	char text[MEASURE_TEXT_MAX];
	snprintf(text, sizeof text, "final %zu", s->log_len);
	if (m->moment != MOMENT_NONE && m->sent < m->to)
		window_mark(s, sim_leader(s) % s->n, text);
	m->decided++;
	if (m->decided == STEADY_AFTER && m->warm) {
		m->steady_until = m->newest + STEADY_LONG; /* not proposed yet */
		window_moment(s, MOMENT_STEADY);
	}
	if (m->moment == MOMENT_STEADY && s->log_len > m->steady_until && m->to > m->sent)
		m->to = m->sent;
	if (!m->warm)
		m->decided = 0;
	close_if_past(s);
}

void window_end(struct sim *s)
{
	close_window(s);
}
