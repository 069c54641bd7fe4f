/* Answering those who fetch a state. Whoever asks is hostile: what one peer can make us do is
 * bounded by the spacing of the answers, a short queue, and two states kept for all of them. */
#include "replica/epoch.h"

static uint64_t later_of(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- pins -------------------------------------------------------------------------------- */

static void apply_pins(struct replica *r)
{
	uint64_t lowest = UINT64_MAX;
	for (unsigned i = 0; i < SERVE_PINS_MAX; i++)
		if (r->serve.pin[i].height && r->serve.pin[i].height < lowest)
			lowest = r->serve.pin[i].height;
	ledger_pin(r->ledger, lowest);
}

static void expire_pins(struct replica *r)
{
	bool any = false;
	for (unsigned i = 0; i < SERVE_PINS_MAX; i++) {
		struct serve_pin *p = &r->serve.pin[i];
		if (p->height && (r->now > p->used + SERVE_PIN_IDLE_US ||
				  r->now > p->begun + SERVE_PIN_LIFE_US)) {
			p->height = 0;
			any = true;
		}
	}
	if (any)
		apply_pins(r);
}

static struct serve_pin *pin_at(struct replica *r, uint64_t height)
{
	for (unsigned i = 0; i < SERVE_PINS_MAX; i++)
		if (r->serve.pin[i].height == height)
			return &r->serve.pin[i];
	return NULL;
}

/* Free, or not used for a while: who fetches comes back all the time. */
static struct serve_pin *spare_pin(struct replica *r)
{
	struct serve_pin *oldest = pin_at(r, 0);
	for (unsigned i = 0; i < SERVE_PINS_MAX && !oldest; i++)
		if (r->now > r->serve.pin[i].used + SERVE_PIN_BUSY_US)
			oldest = &r->serve.pin[i];
	return oldest;
}

/* It would be there without a pin, or was a moment ago. */
static bool is_recent(const struct replica *r, uint64_t height)
{
	uint64_t age = ledger_height(r->ledger) - height;
	return age <= 1 || age - 1 <= r->config.history;
}

/* A pin whose time is over is not begun anew: who asks again and again would have the state
 * kept for good, and with it all that has changed since. */
static bool pin(struct replica *r, uint64_t height)
{
	struct serve_pin *p = pin_at(r, height);
	if (!p) {
		p = is_recent(r, height) ? spare_pin(r) : NULL;
		if (!p)
			return false;
		*p = (struct serve_pin){.height = height, .begun = r->now};
	}
	p->used = r->now;
	apply_pins(r);
	return true;
}

/* ---- offers ------------------------------------------------------------------------------ */

static bool is_readable(const struct replica *r, uint64_t height)
{
	return height > r->ctx.start_height && height >= ledger_oldest(r->ledger) &&
	       height <= ledger_height(r->ledger);
}

/* The stable checkpoint: slot 3 of the vote state (docs/wire-format.md). */
bool serve_stable(struct replica *r, struct cert *out)
{
	uint8_t slot = 3;
	struct reader rd;
	if (store_get(r->store, STORE_VOTES, slice_of(&slot, 1), &r->scratch))
		return false;
	reader_init(&rd, writer_slice(&r->scratch));
	if (reader_u8(&rd) != 1 || !reader_bool(&rd))
		return false;
	cert_decode(&rd, out);
	return reader_finish(&rd) == ERR_NONE && out->kind == CERT_CHECKPOINT;
}

static void send_in(struct replica *r, unsigned to, uint64_t epoch, const struct sync_msg *m)
{
	writer_reset(&r->sync_out);
	sync_encode(&r->sync_out, m);
	if (r->config.lie)
		r->config.lie(r->config.wrap_ctx, (uint8_t)m->type, &r->sync_out);
	struct message out = {.to = UINT64_C(1) << to,
			      .class = CLASS_BULK,
			      .type = (uint8_t)m->type,
			      .bytes = writer_slice(&r->sync_out)};
	r->serve.bytes += out.bytes.len;
	epoch_wrap(r, epoch, &out);
	if (!r->halted)
		r->config.host.send(r->config.host.ctx, &out);
}

static void send(struct replica *r, unsigned to, const struct sync_msg *m)
{
	send_in(r, to, r->ctx.epoch, m);
}

void serve_handovers(struct replica *r, unsigned to, uint64_t epoch)
{
	struct serve_peer *p = &r->serve.peer[to];
	struct sync_msg m = {.type = SYNC_HANDOVERS, .height = epoch + 1};
	size_t bytes = 0;
	if (r->now < p->handed_at)
		return;
	p->handed_at = r->now + SERVE_ASKS_US;
	m.handovers = mem_array(SYNC_HANDOVERS_MAX, sizeof *m.handovers);
	for (uint64_t e = epoch + 1;
	     e < r->epoch_count && m.handover_count < SYNC_HANDOVERS_MAX; e++) {
		struct handover *h = &m.handovers[m.handover_count];
		if (bytes >= SYNC_BLOCKS_BYTES || epoch_handover(r, e, h))
			break;
		m.handover_count++;
		bytes += h->end->body_size + (1 + h->filler_count) * SIGNED_HEADER_SIZE;
	}
	if (m.handover_count)
		send_in(r, to, epoch, &m);
	sync_msg_free(&m);
}

static void send_gone(struct replica *r, unsigned to, uint64_t height, const struct hash *from,
		      const struct hash *until)
{
	struct sync_msg m = {.type = SYNC_GONE, .height = height, .from = *from, .to = *until};
	r->serve.refused++;
	send(r, to, &m);
}

/* Each header is a block that was read for it. */
static void space_offers(struct replica *r, unsigned to, uint32_t headers)
{
	r->serve.peer[to].offer_at =
		r->now + SERVE_ASKS_US * (1 + headers / SERVE_HEADERS_AT_ONCE);
}

/* For those who mend what they have: no state goes with it. */
static void offer_header(struct replica *r, unsigned to, uint64_t height)
{
	const struct hash zero = {0};
	struct sync_msg m = {
		.type = SYNC_OFFER, .height = height, .blocks_from = r->blocks_from};
	if (height == 0 || height > ledger_height(r->ledger) ||
	    replica_certified_header(r, height, &m.header) || m.header.count > SYNC_HEADERS_MAX)
		send_gone(r, to, height, &zero, &zero);
	else
		send(r, to, &m);
	space_offers(r, to, m.header.count);
	certified_header_free(&m.header);
}

static void offer(struct replica *r, unsigned to, uint64_t wanted, uint64_t above)
{
	struct serve_peer *p = &r->serve.peer[to];
	const struct hash zero = {0};
	if (r->now < p->offer_at)
		return;
	p->offer_at = r->now + SERVE_ASKS_US;
	if (wanted && above == SYNC_HEADER_ONLY) {
		offer_header(r, to, wanted);
		return;
	}
	struct sync_msg m = {.type = SYNC_OFFER, .blocks_from = r->blocks_from};
	m.has_stable = serve_stable(r, &m.stable);
	uint64_t height = wanted ? wanted : ledger_height(r->ledger);
	/* Others are likely to offer the same. */
	if (!wanted && m.has_stable && m.stable.ref.height > above &&
	    is_readable(r, m.stable.ref.height))
		height = m.stable.ref.height;
	if (!wanted && !pin_at(r, height) && !spare_pin(r)) /* both are taken: one of those */
		height = later_of(r->serve.pin[0].height, r->serve.pin[1].height);
	if (!is_readable(r, height) ||
	    certified_header_within(r, height, SYNC_HEADERS_MAX, &m.header)) {
		send_gone(r, to, height, &zero, &zero);
		return;
	}
	m.height = height;
	m.has_stable &= m.stable.ref.height < height + m.header.count;
	if (pin(r, height))
		send(r, to, &m);
	else
		send_gone(r, to, height, &zero, &zero);
	space_offers(r, to, m.header.count);
	certified_header_free(&m.header);
}

/* ---- answers ----------------------------------------------------------------------------- */

static void answer_range(struct replica *r, unsigned to, const struct serve_request *q)
{
	struct writer *w = &r->sync_range;
	writer_reset(w);
	struct serve_pin *p = pin_at(r, q->height);
	int err = q->height > r->ctx.start_height
			  ? ledger_range(r->ledger, q->height, &q->from, &q->to, w)
			  : ERR_RANGE;
	if (err) { /* damage here is our own affair: the scrub will find it */
		send_gone(r, to, q->height, &q->from, &q->to);
		return;
	}
	if (p)
		p->used = r->now;
	struct sync_msg m = {.type = SYNC_RANGE,
			     .height = q->height,
			     .from = q->from,
			     .to = q->to,
			     .range = writer_slice(w)};
	r->serve.ranges++;
	send(r, to, &m);
}

static void answer_blocks(struct replica *r, unsigned to, const struct serve_request *q)
{
	struct sync_msg m = {.type = SYNC_BLOCKS, .height = q->height, .from = q->from};
	const struct hash zero = {0};
	struct block *b;
	size_t bytes = 0;
	struct record_key k;
	/* Nothing is read for who does not know the first one. Of older epochs as well: their
	 * hash proves them. */
	bool known = q->height >= r->blocks_from &&
		     store_get(r->store, STORE_BLOCKS, key_final(&k, q->height), &r->scratch) ==
			     ERR_NONE &&
		     slice_equal(writer_slice(&r->scratch), hash_slice(&q->from));
	for (uint64_t h = known ? q->height : 0; h > 0 && m.count < SYNC_BLOCKS_MAX; h--) {
		if (bytes >= SYNC_BLOCKS_BYTES || replica_block(r, h, &b))
			break;
		bytes += b->body_size + SIGNED_HEADER_SIZE;
		m.blocks[m.count++] = b;
	}
	if (m.count && hash_equal(&m.blocks[0]->hash, &q->from)) {
		r->serve.blocks += m.count;
		send(r, to, &m);
	} else {
		send_gone(r, to, q->height, &q->from, &zero);
	}
	sync_msg_free(&m);
}

/* One answer to each peer whose turn it is. */
static void answer_some(struct replica *r)
{
	for (unsigned i = 0; i < r->ctx.vals.n && r->serve.waiting; i++) {
		struct serve_peer *p = &r->serve.peer[i];
		if (!p->count || p->next_at > r->now)
			continue;
		struct serve_request q = p->queue[0];
		p->count--;
		r->serve.waiting--;
		memmove(p->queue, p->queue + 1, p->count * sizeof p->queue[0]);
		if (q.blocks)
			answer_blocks(r, i, &q);
		else
			answer_range(r, i, &q);
		uint64_t parts = 1 + r->sync_out.len / RANGE_LEAF_BYTES;
		p->next_at = later_of(r->now, p->next_at) + parts * SERVE_SPACING_US;
	}
}

static void enqueue(struct replica *r, unsigned from, const struct sync_msg *m)
{
	struct serve_peer *p = &r->serve.peer[from];
	if (p->count == SERVE_QUEUE) {
		r->serve.refused++;
		return;
	}
	p->queue[p->count++] = (struct serve_request){.blocks = m->type == SYNC_GET_BLOCKS,
						      .height = m->height,
						      .from = m->from,
						      .to = m->to};
	r->serve.waiting++;
}

void serve_message(struct replica *r, unsigned from, const struct sync_msg *m)
{
	expire_pins(r);
	if (m->type == SYNC_ASK)
		offer(r, from, m->height, m->above);
	else
		enqueue(r, from, m);
	answer_some(r);
}

void serve_tick(struct replica *r)
{
	expire_pins(r);
	answer_some(r);
}

uint64_t serve_wake_at(const struct replica *r)
{
	uint64_t at = UINT64_MAX;
	for (unsigned i = 0; i < r->ctx.vals.n && r->serve.waiting; i++)
		if (r->serve.peer[i].count && r->serve.peer[i].next_at < at)
			at = r->serve.peer[i].next_at;
	return at;
}
