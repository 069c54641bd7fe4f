/* Fetching a state: when, from whom, and what becomes of each answer. What reaches the disk is
 * in sync_state.c. */
#include "consensus/hybrid/message.h"
#include "replica/epoch.h"

static unsigned peers(const struct replica *r)
{
	return r->ctx.vals.n;
}

const struct chain_ctx *sync_ctx(const struct replica *r)
{
	const struct sync *s = &r->sync;
	return s->ahead_count ? &s->ahead[s->ahead_count - 1] : &r->ctx;
}

static bool is_struck(const struct sync *s, unsigned peer)
{
	return s->struck >> peer & 1;
}

bool sync_is_on(const struct replica *r)
{
	return r->config.sync_gap > 0 && r->ctx.vals.n > 1 &&
	       protocol_is_byzantine(r->config.genesis->protocol);
}

static void note(struct replica *r, enum replica_sync_note what, unsigned peer)
{
	if (r->config.host.sync_note)
		r->config.host.sync_note(r->config.host.ctx, what, peer, &r->sync.status);
}

static void send_to(struct replica *r, uint64_t to, const struct sync_msg *m)
{
	writer_reset(&r->sync_out);
	sync_encode(&r->sync_out, m);
	struct message out = {.to = to & ~(UINT64_C(1) << r->config.self),
			      .class = CLASS_BULK,
			      .type = (uint8_t)m->type,
			      .bytes = writer_slice(&r->sync_out)};
	epoch_wrap(r, sync_ctx(r)->epoch, &out);
	if (!r->halted && out.to)
		r->config.host.send(r->config.host.ctx, &out);
}

static void progress(struct replica *r)
{
	r->sync.progress_at = r->now;
}

/* Whoever has the state may be one who gives it as slowly as can be. */
static bool has_few(const struct replica *r)
{
	unsigned has = 0;
	for (unsigned i = 0; i < peers(r); i++)
		has += r->sync.peer[i].has && !(r->sync.struck >> i & 1);
	return has <= r->ctx.quorum.f;
}

static bool is_fetching(const struct sync *s)
{
	return s->phase == SYNC_FETCHING || s->phase == SYNC_BUILDING;
}

/* ---- whom to ask ------------------------------------------------------------------------- */

static void drop_slot(struct sync *s, struct sync_slot *q)
{
	q->used = false;
	s->peer[q->peer].in_flight--;
	if (q->blocks)
		s->blocks_busy = false;
	else
		s->busy[q->item] = false;
}

static void drop_slots_of(struct sync *s, unsigned peer)
{
	for (unsigned i = 0; i < SYNC_SLOTS; i++)
		if (s->slot[i].used && s->slot[i].peer == peer)
			drop_slot(s, &s->slot[i]);
}

/* It has sent what cannot be true: not asked again for this state. */
static void strike(struct replica *r, unsigned peer)
{
	struct sync *s = &r->sync;
	s->struck |= UINT64_C(1) << peer;
	s->status.strikes++;
	s->status.struck = s->struck;
	drop_slots_of(s, peer);
	s->peer[peer].has = false;
	note(r, SYNC_NOTE_STRUCK, peer);
}

static struct sync_slot *free_slot(struct sync *s)
{
	for (unsigned i = 0; i < SYNC_SLOTS; i++)
		if (!s->slot[i].used)
			return &s->slot[i];
	return NULL;
}

static bool can_ask(const struct replica *r, unsigned peer)
{
	const struct sync_peer *p = &r->sync.peer[peer];
	return peer != r->config.self && p->has && !is_struck(&r->sync, peer) &&
	       p->in_flight < SYNC_PEER_WINDOW && p->slow_until <= r->now;
}

static void take_slot(struct replica *r, struct sync_slot *q, unsigned peer)
{
	q->used = true;
	q->peer = peer;
	q->sent_at = r->now;
	r->sync.peer[peer].in_flight++;
}

static void end_of_item(unsigned item, struct hash *out)
{
	memset(out->b, 0xff, sizeof out->b);
	out->b[0] = (uint8_t)item;
}

static bool ask_range(struct replica *r, unsigned peer)
{
	struct sync *s = &r->sync;
	struct sync_slot *q = free_slot(s);
	for (unsigned i = 0; q && i < SYNC_ITEMS; i++) {
		unsigned item = (s->next_item + i) % SYNC_ITEMS;
		if (s->done[item] || s->busy[item])
			continue;
		s->next_item = (item + 1) % SYNC_ITEMS;
		s->busy[item] = true;
		*q = (struct sync_slot){
			.item = item, .from = s->cursor[item], .height = s->height};
		end_of_item(item, &q->to);
		take_slot(r, q, peer);
		struct sync_msg m = {
			.type = SYNC_GET, .height = s->height, .from = q->from, .to = q->to};
		send_to(r, UINT64_C(1) << peer, &m);
		return true;
	}
	return false;
}

static bool ask_blocks(struct replica *r, unsigned peer)
{
	struct sync *s = &r->sync;
	struct sync_slot *q = free_slot(s);
	if (!q || s->blocks_busy || s->next_block < s->low || s->peer[peer].no_blocks)
		return false;
	s->blocks_busy = true;
	*q = (struct sync_slot){.blocks = true,
				.from = s->hashes[s->next_block - s->low],
				.height = s->next_block};
	take_slot(r, q, peer);
	struct sync_msg m = {.type = SYNC_GET_BLOCKS, .height = q->height, .from = q->from};
	send_to(r, UINT64_C(1) << peer, &m);
	return true;
}

/* Nobody has the older ones: what there is down to the state's own block is enough. One of more
 * than f who say so means well; fewer are believed if nobody else comes for a while. */
static void settle_for_fewer_blocks(struct replica *r)
{
	struct sync *s = &r->sync;
	if (s->next_block < s->low || s->next_block >= s->height || s->blocks_busy)
		return;
	unsigned asked = 0;
	for (unsigned i = 0; i < peers(r); i++) {
		asked += s->peer[i].has && !is_struck(s, i);
		if (s->peer[i].has && !is_struck(s, i) && !s->peer[i].no_blocks)
			return;
	}
	if (asked == 0 || (asked <= r->ctx.quorum.f && r->now < s->block_at + SYNC_QUIET_US))
		return;
	s->hashes = mem_realloc(memmove(s->hashes, s->hashes + (s->next_block + 1 - s->low),
					(s->top - s->next_block) * sizeof *s->hashes),
				(s->top - s->next_block) * sizeof *s->hashes);
	s->low = s->next_block + 1;
}

static void pump(struct replica *r)
{
	struct sync *s = &r->sync;
	bool more = true;
	settle_for_fewer_blocks(r);
	while (more) {
		more = false;
		for (unsigned i = 0; i < peers(r); i++) {
			unsigned peer = (s->next_peer + i) % peers(r);
			if (can_ask(r, peer))
				more |= ask_blocks(r, peer) || ask_range(r, peer);
		}
		s->next_peer = (s->next_peer + 1) % peers(r);
	}
	if (s->left == 0 && s->next_block < s->low) {
		s->phase = SYNC_BUILDING;
		s->status.phase = "building";
		s->build = stage_build_new(r->store, s->height);
		note(r, SYNC_NOTE_BUILDING, NO_VALIDATOR);
	}
}

/* ---- beginning and ending ---------------------------------------------------------------- */

static void ask_all(struct replica *r, uint64_t height)
{
	struct sync *s = &r->sync;
	const struct sync_msg m = {.type = SYNC_ASK,
				   .height = height,
				   .above = ledger_height(r->ledger) + r->config.sync_gap};
	for (unsigned i = 0; i < peers(r); i++) {
		s->peer[i].asked = true;
		s->peer[i].offered = false;
	}
	s->ask_until = r->now + SYNC_ASK_US;
	send_to(r, (UINT64_C(1) << (peers(r) - 1) << 1) - 1, &m);
}

static void be_idle(struct replica *r)
{
	struct sync *s = &r->sync;
	s->phase = SYNC_IDLE;
	s->status.active = false;
	s->status.phase = "idle";
	s->again_at = r->now + SYNC_AGAIN_US;
	s->moved_at = r->now;
}

static void give_up(struct replica *r)
{
	if (sync_state_abandon(r, false))
		note(r, SYNC_NOTE_GIVEN_UP, NO_VALIDATOR);
	r->sync.struck = r->sync.status.struck = 0;
	be_idle(r);
}

static void begin(struct replica *r)
{
	struct sync *s = &r->sync;
	if (!sync_state_begin(r))
		return;
	s->phase = SYNC_FETCHING;
	s->status.active = true;
	s->status.phase = "fetching";
	s->status.height = s->height;
	s->status.began_at = r->now;
	s->status.bytes = s->status.ranges = s->status.blocks = s->status.retries = 0;
	progress(r);
	s->block_at = r->now;
	note(r, SYNC_NOTE_STARTED, NO_VALIDATOR);
	ask_all(r, s->height); /* who else has it? */
	pump(r);
}

/* Behind further than blocks are for; or stuck, and more than f peers say that they have not
 * got the next one any more: one of them means well. */
static bool is_due(const struct replica *r, uint64_t final)
{
	const struct sync *s = &r->sync;
	unsigned pruned = 0;
	if (!s->target.count || s->target.headers[0].h.height <= final)
		return false;
	for (unsigned i = 0; i < peers(r); i++)
		pruned += s->peer[i].offered && s->peer[i].pruned;
	return s->target.headers[0].h.height > final + r->config.sync_gap ||
	       pruned > r->ctx.quorum.f;
}

static void look(struct replica *r)
{
	struct sync *s = &r->sync;
	struct engine_status status;
	replica_status(r, &status);
	uint64_t final = status.final.height;
	s->look_at = r->now + SYNC_LOOK_US;
	if (final != s->last_final || status.known_final <= final)
		s->moved_at = r->now;
	s->last_final = final;
	if (s->sweeping || status.known_final <= final || r->now < s->again_at)
		return;
	if (status.known_final <= final + r->config.sync_gap &&
	    r->now < s->moved_at + SYNC_STUCK_US)
		return;
	sync_state_forget(s);
	s->struck = s->status.struck = 0;
	s->phase = SYNC_ASKING;
	ask_all(r, 0);
}

static bool all_have_answered(const struct replica *r)
{
	for (unsigned i = 0; i < peers(r); i++)
		if (i != r->config.self && r->sync.peer[i].asked)
			return false;
	return true;
}

/* Who is in a later epoch has no state for one of this: blocks lead to its end, and what comes
 * after it may be fetched as a state again. */
static void ended_elsewhere(struct replica *r)
{
	struct sync *s = &r->sync;
	s->again_at = r->now + SYNC_LOST_US;
	if (!s->epoch_noted)
		note(r, SYNC_NOTE_EPOCH, NO_VALIDATOR);
	s->epoch_noted = true;
}

static void asking(struct replica *r)
{
	struct engine_status status;
	if (r->now < r->sync.ask_until && !all_have_answered(r))
		return;
	replica_status(r, &status);
	if (is_due(r, status.final.height)) {
		begin(r);
	} else {
		sync_state_forget(&r->sync);
		be_idle(r);
		/* One voice alone must not keep us from asking again. */
		if ((unsigned)__builtin_popcountll(r->newer_epoch) > r->ctx.quorum.f)
			ended_elsewhere(r);
	}
}

/* ---- answers ----------------------------------------------------------------------------- */

static bool is_target(const struct sync *s, const struct certified_header *c)
{
	struct hash a, b;
	header_hash(&a, &c->headers[0].h);
	header_hash(&b, &s->target.headers[0].h);
	return hash_equal(&a, &b);
}

/* Who offers the same state may have a checkpoint that goes with it, or a newer one. */
static bool take_stable(struct replica *r, const struct sync_msg *m)
{
	struct sync *s = &r->sync;
	uint64_t top = s->target.headers[0].h.height + s->target.count - 1;
	if (!m->has_stable || !is_target(s, &m->header) || m->stable.ref.height > top ||
	    (s->has_stable && m->stable.ref.height <= s->stable.ref.height))
		return true;
	s->has_stable = true;
	cert_copy(&s->stable, &m->stable);
	return !is_fetching(s) || sync_state_stable(r);
}

static void on_offer(struct replica *r, unsigned from, struct sync_msg *m)
{
	struct sync *s = &r->sync;
	struct sync_peer *p = &s->peer[from];
	if (!p->asked || s->phase == SYNC_IDLE || is_struck(s, from))
		return;
	p->asked = false;
	if (certified_header_check(&m->header, sync_ctx(r), &r->genesis_block->hash) ||
	    (m->has_stable &&
	     (m->stable.kind != CERT_CHECKPOINT || cert_check(&m->stable, sync_ctx(r))))) {
		strike(r, from);
		return;
	}
	p->offered = true;
	p->pruned = m->blocks_from > ledger_height(r->ledger) + 1;
	if (is_fetching(s)) {
		p->has |= is_target(s, &m->header);
		p->no_blocks &= !p->has;
		if (!take_stable(r, m))
			return;
	} else if (!s->target.count || m->height > s->target.headers[0].h.height) {
		certified_header_free(&s->target);
		s->target = m->header;
		m->header = (struct certified_header){0};
		s->has_stable = m->has_stable;
		if (s->has_stable)
			cert_copy(&s->stable, &m->stable);
		for (unsigned i = 0; i < peers(r); i++)
			s->peer[i].has = i == from;
	} else {
		p->has = is_target(s, &m->header);
		take_stable(r, m);
	}
	if (s->phase == SYNC_ASKING && all_have_answered(r))
		asking(r);
}

static void take_handover(struct sync *s, const struct chain_ctx *next, struct handover *h)
{
	uint32_t count = s->ahead_count + 1;
	s->ahead = mem_realloc(s->ahead, count * sizeof *s->ahead);
	s->handovers = mem_realloc(s->handovers, count * sizeof *s->handovers);
	s->ahead[s->ahead_count] = *next;
	s->handovers[s->ahead_count++] = *h;
	*h = (struct handover){0};
}

/* The epoch that was asked of is over. What is fetched of it nobody offers any more; else the
 * same question again, in the newest epoch that these lead to. */
static void on_handovers(struct replica *r, unsigned from, struct sync_msg *m)
{
	struct sync *s = &r->sync;
	uint32_t before = s->ahead_count;
	if (!s->peer[from].asked || is_struck(s, from) ||
	    (s->phase != SYNC_ASKING && s->phase != SYNC_FETCHING))
		return;
	for (uint32_t i = 0; i < m->handover_count; i++) {
		struct chain_ctx next;
		if (m->height + i <= sync_ctx(r)->epoch)
			continue; /* another one told */
		if (m->height + i > sync_ctx(r)->epoch + 1)
			break;
		if (handover_check(&m->handovers[i], sync_ctx(r), &next)) {
			strike(r, from);
			break;
		}
		if (s->phase == SYNC_FETCHING) {
			give_up(r);
			return;
		}
		take_handover(s, &next, &m->handovers[i]);
	}
	if (s->ahead_count == before)
		return;
	certified_header_free(&s->target);
	s->has_stable = false;
	ask_all(r, 0);
}

static struct sync_slot *slot_of(struct sync *s, unsigned from, const struct sync_msg *m)
{
	bool blocks = m->type == SYNC_BLOCKS;
	for (unsigned i = 0; i < SYNC_SLOTS; i++) {
		struct sync_slot *q = &s->slot[i];
		if (q->used && q->peer == from && q->height == m->height &&
		    hash_equal(&q->from, &m->from) &&
		    (m->type == SYNC_GONE || q->blocks == blocks) &&
		    (q->blocks || hash_equal(&q->to, &m->to)))
			return q;
	}
	return NULL;
}

/* The state is that of the epoch's end, or of a filler behind it. Nobody who means well offers
 * it, and the step to the next epoch is not made from a state. */
static bool is_over(const struct replica *r, const struct range *range)
{
	struct mode_state modes;
	int err;
	for (uint32_t i = 0; i < range->count; i++)
		if (stage_leaf_modes(&range->leaf[i], &modes, &err))
			return err || modes.epoch != sync_ctx(r)->epoch;
	return false;
}

static void on_range(struct replica *r, unsigned from, const struct sync_msg *m)
{
	struct sync *s = &r->sync;
	struct sync_slot *q = slot_of(s, from, m);
	struct range range;
	if (!q)
		return;
	struct sync_slot asked = *q;
	drop_slot(s, q);
	int err = range_check(m->range, &s->target.headers[0].h.state_root, &asked.from,
			      &asked.to, &range);
	if (err) {
		s->status.retries++;
		strike(r, from);
	} else if (is_over(r, &range)) {
		give_up(r);
		ended_elsewhere(r);
	} else if (sync_state_range(r, asked.item, &range)) {
		s->status.ranges++;
		s->status.bytes += m->range.len;
		s->status.per_mille = 1000 * (SYNC_ITEMS - s->left) / SYNC_ITEMS;
		progress(r);
	}
	range_free(&range);
}

static void on_blocks(struct replica *r, unsigned from, const struct sync_msg *m)
{
	struct sync *s = &r->sync;
	struct sync_slot *q = slot_of(s, from, m);
	if (!q)
		return;
	drop_slot(s, q);
	for (uint32_t i = 0; i < m->count && s->next_block >= s->low; i++) {
		struct block *b = m->blocks[i];
		const struct hash *want = &s->hashes[s->next_block - s->low];
		if (b->sh.h.height != s->next_block || !hash_equal(&b->hash, want) ||
		    signed_header_check(&b->sh, sync_ctx(r))) {
			s->status.retries++;
			strike(r, from);
			return;
		}
		if (!sync_state_block(r, b))
			return;
		s->status.blocks++;
		s->status.bytes += b->body_size + SIGNED_HEADER_SIZE;
		s->block_at = r->now;
		progress(r);
	}
	for (unsigned i = 0; i < peers(r); i++)
		s->peer[i].no_blocks = false;
}

static void on_gone(struct replica *r, unsigned from, const struct sync_msg *m)
{
	struct sync *s = &r->sync;
	struct sync_peer *p = &s->peer[from];
	struct sync_slot *q = is_fetching(s) ? slot_of(s, from, m) : NULL;
	if (!q) { /* no offer, then */
		p->asked = false;
		return;
	}
	bool blocks = q->blocks;
	drop_slot(s, q);
	s->status.retries++;
	if (blocks)
		p->no_blocks = true;
	else
		p->has = false;
}

/* Only who has been asked is listened to: answers are large, and reading them is work. */
static bool is_expected(const struct replica *r, unsigned from, uint8_t type)
{
	const struct sync *s = &r->sync;
	if (type == SYNC_ASK || type == SYNC_GET || type == SYNC_GET_BLOCKS)
		return true;
	if (!sync_is_on(r) || is_struck(s, from))
		return false;
	return s->peer[from].asked || s->peer[from].in_flight > 0;
}

void sync_message(struct replica *r, unsigned from, struct slice bytes)
{
	if (from >= peers(r) || from == r->config.self ||
	    !protocol_is_byzantine(r->config.genesis->protocol))
		return; /* without certificates there is nothing to check a state against */
	if (mend_message(r, from, bytes))
		return;
	if (!is_expected(r, from, bytes.ptr[0])) {
		r->sync.status.stale++;
		return;
	}
	struct sync_msg *m = mem_alloc(sizeof *m);
	int err = sync_decode(m, bytes);
	if (err) {
		r->sync.status.malformed++;
		if (bytes.ptr[0] != SYNC_ASK && is_fetching(&r->sync) &&
		    r->sync.peer[from].in_flight)
			strike(r, from);
	} else {
		switch (m->type) {
		case SYNC_ASK:
		case SYNC_GET:
		case SYNC_GET_BLOCKS:
			serve_message(r, from, m);
			break;
		case SYNC_OFFER:
			on_offer(r, from, m);
			break;
		case SYNC_RANGE:
			if (r->sync.phase == SYNC_FETCHING)
				on_range(r, from, m);
			break;
		case SYNC_BLOCKS:
			if (r->sync.phase == SYNC_FETCHING)
				on_blocks(r, from, m);
			break;
		case SYNC_GONE:
			on_gone(r, from, m);
			break;
		case SYNC_HANDOVERS:
			on_handovers(r, from, m);
			break;
		}
	}
	sync_msg_free(m);
	mem_free(m);
	if (r->sync.phase == SYNC_FETCHING && !r->halted)
		pump(r);
}

/* ---- time -------------------------------------------------------------------------------- */

static void expire_slots(struct replica *r)
{
	struct sync *s = &r->sync;
	for (unsigned i = 0; i < SYNC_SLOTS; i++) {
		struct sync_slot *q = &s->slot[i];
		if (!q->used || r->now < q->sent_at + SYNC_ANSWER_US)
			continue;
		s->peer[q->peer].slow_until = r->now + SYNC_AGAIN_US;
		s->status.retries++;
		drop_slot(s, q);
	}
}

static bool anybody_left(const struct replica *r)
{
	for (unsigned i = 0; i < peers(r); i++)
		if (i != r->config.self && !is_struck(&r->sync, i))
			return true;
	return false;
}

static void fetching(struct replica *r)
{
	struct sync *s = &r->sync;
	expire_slots(r);
	if (!anybody_left(r) || r->now > s->progress_at + SYNC_LOST_US) {
		give_up(r);
		return;
	}
	if (s->ask_until == 0 || /* begun in an earlier life */
	    (r->now >= s->ask_until + SYNC_AGAIN_US &&
	     (has_few(r) || r->now >= s->progress_at + SYNC_ASK_US))) /* who has it now? */
		ask_all(r, s->height);
	pump(r);
}

static void building(struct replica *r)
{
	struct sync *s = &r->sync;
	bool done;
	int err = stage_build_step(s->build, SYNC_BUILD_STEP, &done);
	if (err == ERR_IO) {
		replica_halt(r,
			     "writing a state that was fetched failed. Check the disk (full? "
			     "read-only?) and start this node again");
		return;
	}
	progress(r);
	if (!err && !done)
		return;
	bool right = !err &&
		     hash_equal(stage_build_root(s->build), &s->target.headers[0].h.state_root);
	struct hash root = *stage_build_root(s->build);
	uint64_t keys = stage_build_keys(s->build);
	stage_build_free(s->build);
	s->build = NULL;
	if (!right) { /* each range was: then it is the disk, or an earlier attempt's rubbish */
		give_up(r);
		return;
	}
	uint64_t epoch = r->ctx.epoch;
	if (!sync_state_install(r, &root, keys))
		return;
	s->status.completed++;
	s->status.took_us = r->now - s->status.began_at;
	be_idle(r);
	note(r, SYNC_NOTE_DONE, NO_VALIDATOR);
	replica_reopen(r, epoch);
}

void sync_tick(struct replica *r)
{
	struct sync *s = &r->sync;
	if (s->sweeping && !sync_state_sweep(r))
		return;
	if (!sync_is_on(r))
		return;
	switch (s->phase) {
	case SYNC_IDLE:
		if (r->now >= s->look_at)
			look(r);
		break;
	case SYNC_ASKING:
		asking(r);
		break;
	case SYNC_FETCHING:
		fetching(r);
		break;
	case SYNC_BUILDING:
		building(r);
		break;
	}
}

uint64_t sync_wake_at(const struct replica *r)
{
	const struct sync *s = &r->sync;
	uint64_t at = serve_wake_at(r);
	uint64_t own = UINT64_MAX;
	if (s->sweeping)
		return r->now + 1;
	if (sync_is_on(r)) {
		switch (s->phase) {
		case SYNC_IDLE:
			own = s->look_at;
			break;
		case SYNC_ASKING:
			own = s->ask_until;
			break;
		case SYNC_FETCHING:
			own = r->now + SYNC_LOOK_US;
			break;
		case SYNC_BUILDING:
			own = r->now + 1;
			break;
		}
	}
	return own < at ? own : at;
}

/* Behind so far that a state is asked for before blocks are. A peer that lies about how far
 * that is holds blocks back for a second, and has to wait five until it can again. */
static bool asks_first(const struct replica *r)
{
	struct engine_status status;
	if (!sync_is_on(r) || r->sync.sweeping || r->now < r->sync.again_at)
		return false;
	replica_status(r, &status);
	return status.known_final > status.final.height + r->config.sync_gap;
}

bool sync_holds_back(struct replica *r, uint8_t type)
{
	struct sync *s = &r->sync;
	if (type != MSG_FETCH && type != MSG_BLOCKS)
		return false;
	if (is_fetching(s))
		return r->now < s->progress_at + SYNC_QUIET_US;
	if (s->phase == SYNC_IDLE && asks_first(r))
		s->look_at = r->now;
	else if (s->phase == SYNC_IDLE)
		return false;
	return true;
}

void sync_before_final(struct replica *r, uint64_t height)
{
	struct sync *s = &r->sync;
	while (s->sweeping && s->sweep.exact && height >= s->sweep.height && !r->halted)
		sync_state_sweep(r);
	if (s->height == 0 || height < s->height)
		return;
	sync_state_abandon(r, true);
	if (is_fetching(s)) {
		note(r, SYNC_NOTE_GIVEN_UP, NO_VALIDATOR);
		be_idle(r);
	}
}

void sync_end_epoch(struct replica *r)
{
	struct sync *s = &r->sync;
	memset(&r->serve, 0, sizeof r->serve);
	r->newer_epoch = 0;
	s->epoch_noted = false;
	if (s->height && sync_state_abandon(r, false) && is_fetching(s))
		note(r, SYNC_NOTE_GIVEN_UP, NO_VALIDATOR);
	else
		sync_state_forget(s);
	s->struck = s->status.struck = 0;
	be_idle(r);
}

int sync_open(struct replica *r, struct errmsg *m)
{
	struct sync *s = &r->sync;
	s->status.phase = "idle";
	tree_init(&s->scratch, r->store, 0);
	s->look_at = s->moved_at = r->now;
	int err = sync_state_read(r);
	if (err)
		return err_set(m, err, "reading what was fetched of a state: %s",
			       err_text(err));
	if (s->height && !sync_is_on(r))
		sync_state_abandon(r, true);
	if (s->height) {
		s->phase = SYNC_FETCHING;
		s->status.active = true;
		s->status.phase = "fetching";
		s->status.height = s->height;
		s->status.began_at = r->now;
		s->status.per_mille = 1000 * (SYNC_ITEMS - s->left) / SYNC_ITEMS;
		s->block_at = r->now;
		progress(r);
	}
	return ERR_NONE;
}

void sync_close(struct replica *r)
{
	sync_state_forget(&r->sync);
	tree_close(&r->sync.scratch);
}

void replica_sync_status(const struct replica *r, struct replica_sync_status *out)
{
	*out = r->sync.status;
	out->served_ranges = r->serve.ranges;
	out->served_bytes = r->serve.bytes;
	out->refused = r->serve.refused;
	out->sweeping = r->sync.sweeping;
}
