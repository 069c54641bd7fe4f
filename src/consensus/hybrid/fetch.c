/* Catching up: a replica that misses blocks asks one peer at a time, from its final height on;
 * certificates, not the peer, decide what is believed. */
#include "consensus/hybrid/hybrid.h"

static void ask(struct hybrid *h, unsigned peer, uint64_t from_height, uint64_t newest_tc)
{
	h->fetching = true;
	h->fetch_wanted &= ~(UINT64_C(1) << peer);
	h->fetch_peer = peer;
	h->fetch_at = h->now + 2 * h->timing.heartbeat + h->round_us;
	h->fetch[peer].asked = h->fetch[peer].block;
	h->fetch[peer].block = (struct hash){0};
	h->fetch[peer].from = from_height;
	h->fetch[peer].asked_at = h->now ? h->now : 1;
	h->counters[COUNT_FETCHES]++;
	struct msg_fetch m = {.from_height = from_height,
			      .newest_tc = newest_tc,
			      .wanted = h->fetch[peer].asked};
	msg_fetch_encode(emit_message(&h->out, UINT64_C(1) << peer, CLASS_BULK, MSG_FETCH), &m);
}

/* An answer that comes so late is still taken: two megabytes take their time. */
#define FETCH_LATE_HEARTBEATS 20

void fetch_from(struct hybrid *h, unsigned peer)
{
	if (peer == h->self || peer >= h->n)
		return;
	if (h->fetching) {
		h->fetch_wanted |= UINT64_C(1) << peer;
		return;
	}
	uint64_t low = h->log.final->sh.h.height + 1, next = h->fetch[peer].next;
	ask(h, peer, next > low ? next : low, h->tc.term);
}

void fetch_chain_from(struct hybrid *h, unsigned peer, const struct hash *block)
{
	if (peer >= h->n)
		return;
	h->fetch[peer].block = *block;
	fetch_from(h, peer);
}

static unsigned any_peer(struct hybrid *h)
{
	unsigned peer = (unsigned)random_below(&h->random, h->n - 1);
	return peer + (peer >= h->self);
}

void fetch_from_anybody(struct hybrid *h)
{
	if (h->n > 1 && !h->fetching)
		fetch_from(h, any_peer(h));
}

/* Those to be asked too take turns, from the last one asked on: a peer that has itself asked
 * for all the time, and answers nothing, delays the others but does not keep them out. */
static void fetch_next(struct hybrid *h)
{
	for (unsigned i = 1; i <= h->n && !h->fetching; i++) {
		unsigned peer = (h->fetch_peer + i) % h->n;
		if (h->fetch_wanted >> peer & 1)
			fetch_from(h, peer);
	}
}

/* The final block is above our tip, whose chain is cut off: the TC of its term lets it be the
 * tip. Whoever sends blocks of that term sends it along. */
static void fetch_tip_tc(struct hybrid *h)
{
	if (!h->tip_tc_wanted || h->fetching || h->n == 1 ||
	    h->now < h->tip_tc_asked + 2 * h->timing.heartbeat)
		return;
	h->tip_tc_asked = h->now;
	const struct header *final = &h->log.final->sh.h;
	if (final->mode == MODE_PBFT)
		fetch_view(h, any_peer(h), final->term, &final->new_view);
	else
		ask(h, any_peer(h), final->height, 0);
}

void fetch_tick(struct hybrid *h)
{
	fetch_tip_tc(h);
	if (!h->fetching || h->now < h->fetch_at)
		return;
	h->fetching = false;
	/* the answer, or the question, may be lost: the same again when its turn comes */
	unsigned late = h->fetch_peer;
	h->fetch[late].next = h->fetch[late].from;
	if (hash_is_zero(&h->fetch[late].block))
		h->fetch[late].block = h->fetch[late].asked;
	/* Whoever it was may send heartbeats and answer nothing: somebody else comes in
	 * between. */
	unsigned other = any_peer(h);
	if (other != late)
		fetch_from(h, other);
	fetch_next(h);
	if (h->has_pending_final)
		fetch_from_anybody(h);
}

/* An answer of FETCH_BYTES_MAX is worked off in a heartbeat. */
void pay_for_bytes(struct hybrid *h, uint64_t *paid, size_t bytes)
{
	uint64_t from = *paid > h->now ? *paid : h->now;
	*paid = from + h->timing.heartbeat * bytes / FETCH_BYTES_MAX;
}

static void send_blocks(struct hybrid *h, unsigned to, struct msg_blocks *m)
{
	m->final_height = h->log.final->sh.h.height;
	struct writer *w = emit_message(&h->out, UINT64_C(1) << to, CLASS_BULK, MSG_BLOCKS);
	msg_blocks_encode(w, m);
	pay_for_bytes(h, &h->serve_paid[to], w->len);
}

static struct log_entry *wanted_entry(const struct hybrid *h, const struct msg_fetch *f)
{
	struct log_entry *e = log_find(&h->log, &f->wanted);
	return e ? e : log_find(&h->log, &h->tip.hash);
}

/* Catching up over a fast link is never held up by this; a peer that only asks is. */
#define FETCH_BURST 4
static bool may_serve(struct hybrid *h, unsigned to)
{
	uint64_t spacing = h->timing.heartbeat / 4, *next = &h->serve_next[to];
	if (*next > h->now + FETCH_BURST * spacing - spacing ||
	    h->serve_paid[to] > h->now + (FETCH_BURST - 1) * h->timing.heartbeat)
		return false;
	*next = (*next > h->now ? *next : h->now) + spacing;
	return true;
}

/* Blocks of the wanted chain that are not final yet, from the height asked for on. */
static void serve_unfinal(struct hybrid *h, unsigned from, const struct msg_fetch *f)
{
	struct msg_blocks *m = h->blocks_scratch;
	m->has_cert = false;
	m->has_tc = h->tc.term > f->newest_tc;
	if (m->has_tc)
		m->tc = h->tc;
	struct log_entry *e = wanted_entry(h, f);
	uint64_t final = h->log.final->sh.h.height, low = f->from_height;
	uint64_t top = e ? e->block->sh.h.height : final;
	m->count = 0;
	if (top >= low) {
		m->count = top - low < FETCH_BLOCKS_MAX ? (uint32_t)(top - low + 1)
							: FETCH_BLOCKS_MAX;
		e = log_ancestor(e, low + m->count - 1);
		for (uint32_t i = m->count; i-- > 0; e = e->parent)
			m->blocks[i] = e->block;
	}
	size_t bytes = 0;
	for (uint32_t i = 0; i < m->count; i++) {
		bytes += m->blocks[i]->body_size + SIGNED_HEADER_SIZE;
		if (bytes > FETCH_BYTES_MAX && i > 0)
			m->count = i;
	}
	send_blocks(h, from, m);
}

void on_fetch(struct hybrid *h, unsigned from, const struct msg_fetch *f)
{
	if (h->reading[from] || !may_serve(h, from))
		return; /* one at a time for each peer */
	if (f->from_height > h->log.final->sh.h.height) {
		serve_unfinal(h, from, f);
		return;
	}
	if (f->from_height == 0)
		return;
	h->reading[from] = true;
	struct work *w = emit_work(&h->out, WORK_READ);
	w->id = from;
	w->height = f->from_height;
	w->max_blocks = FETCH_BLOCKS_MAX / 2;
	w->max_bytes = FETCH_BYTES_MAX;
}

void on_blocks_read(struct hybrid *h, const struct input *in)
{
	unsigned to = (unsigned)in->blocks_read.id;
	if (to >= h->n || !h->reading[to])
		return;
	h->reading[to] = false;
	struct msg_blocks *m = h->blocks_scratch;
	m->has_tc = in->blocks_read.tc != NULL;
	if (m->has_tc)
		m->tc = *in->blocks_read.tc;
	m->has_cert = in->blocks_read.cert != NULL;
	if (m->has_cert)
		m->cert = *in->blocks_read.cert;
	m->count = in->blocks_read.count < FETCH_BLOCKS_MAX ? in->blocks_read.count
							    : FETCH_BLOCKS_MAX;
	for (uint32_t i = 0; i < m->count; i++)
		m->blocks[i] = in->blocks_read.blocks[i];
	send_blocks(h, to, m);
}

/* The same peer has more: its final blocks go on, or its unfinal chain does, above top, up to
 * which we hold it now; 0: the batch did not fit. Whoever else is to be asked comes first:
 * made-up chains have no end. Execution of what came may be under way; then the next heartbeat
 * asks. */
static void fetch_on(struct hybrid *h, unsigned from, const struct msg_blocks *m,
		     uint64_t before, uint64_t top)
{
	uint64_t final = h->log.final->sh.h.height;
	bool more_final = m->final_height > final && final > before;
	/* Its final ones too, if the certificate that follows them did not fit. */
	bool climb = !m->has_cert && top > final && top >= h->fetch[from].from &&
		     top - final < LOG_BLOCKS_MAX / 2;
	if (!more_final && !climb)
		return;
	if (climb) {
		h->fetch[from].next = top + 1;
		h->fetch[from].block = h->fetch[from].asked;
	}
	h->fetch_wanted |= UINT64_C(1) << from;
}

/* So many blocks of the batch are final by its own certificate. It is looked at here only if
 * one of them is not what our certificate of its term says: take_cert() checks it in any case.
 */
static uint32_t count_final(const struct hybrid *h, const struct msg_blocks *m)
{
	bool misfit = false;
	for (uint32_t i = 0; i < m->count; i++)
		misfit |= m->blocks[i]->sh.h.term == h->tc.term &&
			  !tc_fits(&h->tc, &m->blocks[i]->sh.h);
	if (!misfit || !m->has_cert || !cert_is_final(m->cert.kind) ||
	    cert_check(&m->cert, h->ctx))
		return 0;
	uint32_t top = m->count;
	while (top > 0 && !hash_equal(&m->blocks[top - 1]->hash, &m->cert.ref.hash))
		top--;
	for (uint32_t i = top; i > 1; i--)
		if (!hash_equal(&m->blocks[i - 1]->sh.h.prev, &m->blocks[i - 2]->hash))
			return 0;
	return top;
}

void on_blocks(struct hybrid *h, unsigned from, struct msg_blocks *m)
{
	uint64_t asked_at = h->fetch[from].asked_at;
	if (!asked_at || h->now > asked_at + FETCH_LATE_HEARTBEATS * h->timing.heartbeat) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	h->fetch[from].asked_at = 0;
	if (h->fetch_peer == from)
		h->fetching = false;
	h->peer_final[from] = m->final_height;
	if (m->has_tc)
		learn_tc(h, from, &m->tc);
	uint64_t before = h->log.final->sh.h.height;
	bool gap = false;
	uint32_t vouched = count_final(h, m);
	/* An entry is good until the next block is taken only: that may prune the log. */
	for (uint32_t i = 0; i < m->count && !gap; i++)
		take_block(h, from, m->blocks[i], i < vouched, &gap);
	const struct log_entry *last =
		m->count ? log_find(&h->log, &m->blocks[m->count - 1]->hash) : NULL;
	struct block_ref top = last ? block_ref_of(last->block) : (struct block_ref){0};
	if (gap || !m->count)
		h->fetch[from].next = 0;
	if (m->has_cert)
		take_cert(h, &m->cert);
	if (top.height && top.term == h->term && in_accepted_term(h)) {
		h->append_tip = top.hash;
		h->has_append_tip = true;
	}
	try_finalize(h);
	try_vote(h);
	fetch_on(h, from, m, before, top.height);
	fetch_next(h);
}
