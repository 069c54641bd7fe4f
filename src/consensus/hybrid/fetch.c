/* Catching up: a replica that misses blocks asks one peer at a time, from its final height on;
 * certificates, not the peer, decide what is believed. */
#include "consensus/hybrid/hybrid.h"

void fetch_from(struct hybrid *h, unsigned peer)
{
	if (peer == h->self || peer >= h->n)
		return;
	if (h->fetching) {
		h->fetch_wanted = true;
		h->fetch_wanted_peer = peer;
		return;
	}
	h->fetching = true;
	h->fetch_wanted = false;
	h->fetch_peer = peer;
	h->fetch_from = h->log.final->sh.h.height + 1;
	h->fetch_at = h->now + 2 * h->timing.heartbeat;
	h->counters[COUNT_FETCHES]++;
	struct msg_fetch m = {.from_height = h->fetch_from, .newest_tc = h->tc.term};
	msg_fetch_encode(out_message(h, UINT64_C(1) << peer, CLASS_BULK, MSG_FETCH), &m);
}

void fetch_from_anybody(struct hybrid *h)
{
	if (h->n == 1 || h->fetching)
		return;
	unsigned peer = (unsigned)random_below(&h->random, h->n - 1);
	fetch_from(h, peer + (peer >= h->self));
}

/* The final block is above our tip, whose chain is cut off: the TC of its term lets it be the tip.
 * Whoever sends blocks of that term sends it along. */
static void fetch_tip_tc(struct hybrid *h)
{
	if (!h->tip_tc_wanted || h->fetching || h->n == 1 ||
	    h->now < h->tip_tc_asked + 2 * h->timing.heartbeat)
		return;
	h->tip_tc_asked = h->now;
	unsigned peer = (unsigned)random_below(&h->random, h->n - 1);
	peer += peer >= h->self;
	struct msg_fetch m = {.from_height = h->log.final->sh.h.height, .newest_tc = 0};
	h->fetching = true;
	h->fetch_peer = peer;
	h->fetch_from = m.from_height;
	h->fetch_at = h->now + 2 * h->timing.heartbeat;
	msg_fetch_encode(out_message(h, UINT64_C(1) << peer, CLASS_BULK, MSG_FETCH), &m);
}

void fetch_tick(struct hybrid *h)
{
	fetch_tip_tc(h);
	if (!h->fetching || h->now < h->fetch_at)
		return;
	h->fetching = false;
	bool again = h->fetch_wanted || h->has_pending_final;
	h->fetch_wanted = false;
	if (again)
		fetch_from_anybody(h);
}

static void send_blocks(struct hybrid *h, unsigned to, struct msg_blocks *m)
{
	m->final_height = h->log.final->sh.h.height;
	msg_blocks_encode(out_message(h, UINT64_C(1) << to, CLASS_BULK, MSG_BLOCKS), m);
}

/* Blocks of our tip's chain that are not final yet, from the lowest. */
static void serve_unfinal(struct hybrid *h, unsigned from, const struct msg_fetch *f)
{
	struct msg_blocks *m = h->blocks_scratch;
	m->has_cert = false;
	m->has_tc = h->tc.term > f->newest_tc;
	if (m->has_tc)
		m->tc = h->tc;
	struct log_entry *tip = log_find(&h->log, &h->tip.hash);
	uint32_t depth = log_depth(tip);
	m->count = depth < FETCH_BLOCKS_MAX ? depth : FETCH_BLOCKS_MAX;
	struct log_entry *e = tip;
	for (uint32_t skip = depth - m->count; skip > 0; skip--)
		e = e->parent;
	for (uint32_t i = m->count; i-- > 0; e = e->parent)
		m->blocks[i] = e->block;
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
	if (h->reading[from])
		return; /* one at a time for each peer */
	if (f->from_height > h->log.final->sh.h.height) {
		serve_unfinal(h, from, f);
		return;
	}
	if (f->from_height == 0)
		return;
	h->reading[from] = true;
	struct work *w = out_work(h, WORK_READ);
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

void on_blocks(struct hybrid *h, unsigned from, struct msg_blocks *m)
{
	if (!h->fetching || h->fetch_peer != from) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	h->fetching = false;
	h->peer_final[from] = m->final_height;
	if (m->has_tc)
		learn_tc(h, from, &m->tc);
	uint64_t before = h->log.final->sh.h.height;
	bool gap = false;
	struct log_entry *last = NULL;
	for (uint32_t i = 0; i < m->count && !gap; i++) {
		struct log_entry *e = take_block(h, m->blocks[i], &gap);
		if (e)
			last = e;
	}
	if (m->has_cert)
		take_cert(h, &m->cert);
	if (last && log_find(&h->log, &m->blocks[m->count - 1]->hash) == last &&
	    last->block->sh.h.term == h->term && in_accepted_term(h)) {
		h->append_tip = last->block->hash;
		h->has_append_tip = true;
	}
	try_finalize(h);
	try_vote(h);
	/* Execution of what came may be under way: the next batch is asked for by the
	 * heartbeat, or at once if this one brought us on. */
	bool more = m->final_height > h->log.final->sh.h.height &&
		    (h->log.final->sh.h.height > before || m->has_cert);
	if (more || h->fetch_wanted) {
		unsigned next = h->fetch_wanted ? h->fetch_wanted_peer : from;
		bool progress = h->log.final->sh.h.height > before;
		if (progress)
			fetch_from(h, next);
	}
	h->fetch_wanted = false;
}
