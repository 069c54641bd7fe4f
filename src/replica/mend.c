/* Mending: whom to ask, and when. What is right for each record is in mend_records.c. */
#include "replica/epoch.h"

static void note(struct replica *r, enum replica_mend_note what, const struct damage *d,
		 unsigned peer, const char *why)
{
	if (r->config.host.mend_note)
		r->config.host.mend_note(r->config.host.ctx, what, d, peer, why);
}

static void forget_blocks(struct mend *m)
{
	while (m->block_count)
		block_drop(m->blocks[--m->block_count]);
}

void mend_close(struct replica *r)
{
	struct mend *m = &r->mend;
	forget_blocks(m);
	mend_table_end(m);
	writer_free(&m->sweep.at);
	m->sweep.any = false;
	mem_free(m->items);
	m->items = NULL;
	m->count = m->next = 0;
	m->asked.waits = false;
	m->status.active = false;
}

bool replica_mend(struct replica *r, const struct damage *d, uint32_t count)
{
	struct mend *m = &r->mend;
	if (m->items || r->halted)
		return false;
	if (count == 0)
		return true;
	ledger_rebase(r->ledger);
	m->items = mem_array(count, sizeof *m->items);
	memcpy(m->items, d, count * sizeof *m->items);
	m->next = 0;
	m->any_mended = m->any_rewritten = m->block_left = m->begun = false;
	m->tried = 0;
	m->ahead = 0;
	m->again_at = r->now;
	m->status.active = true;
	m->count = mend_sort(m->items, count, ledger_oldest(r->ledger));
	return true;
}

void replica_mend_status(const struct replica *r, struct replica_mend_status *out)
{
	*out = r->mend.status;
}

/* ---- one record after the other -----------------------------------------------------------
 */

static void next_item(struct replica *r)
{
	struct mend *m = &r->mend;
	m->tried = 0;
	m->ahead = 0;
	m->begun = m->asked.waits = false;
	m->again_at = r->now + MEND_PAUSE_US;
	if (++m->next < m->count)
		return;
	mend_close(r);
	note(r, MEND_NOTE_OVER, NULL, NO_VALIDATOR, NULL);
}

static void leave(struct replica *r, const char *why)
{
	struct mend *m = &r->mend;
	const struct damage *d = &m->items[m->next];
	m->status.left++;
	m->block_left |= d->family == STORE_BLOCKS;
	note(r, MEND_NOTE_LEFT, d, NO_VALIDATOR, why);
	next_item(r);
}

/* Another peer each time; false: all have been asked. */
static bool ask(struct replica *r)
{
	struct mend *m = &r->mend;
	struct mend_question *q = &m->asked;
	unsigned n = r->ctx.vals.n;
	for (unsigned i = 0; i < n; i++) {
		unsigned peer = (m->next_peer + i) % n;
		if (peer == r->config.self || m->tried >> peer & 1)
			continue;
		struct sync_msg out = {.type = q->type,
				       .height = q->height,
				       .above = SYNC_HEADER_ONLY,
				       .from = q->from,
				       .to = q->to};
		m->next_peer = (peer + 1) % n;
		m->tried |= UINT64_C(1) << peer;
		q->peer = peer;
		q->sent_at = r->now;
		q->waits = m->begun = true;
		writer_reset(&r->sync_out);
		sync_encode(&r->sync_out, &out);
		struct message wire = {.to = UINT64_C(1) << peer,
				       .class = CLASS_BULK,
				       .type = (uint8_t)out.type,
				       .bytes = writer_slice(&r->sync_out)};
		epoch_wrap(r, r->ctx.epoch, &wire);
		r->config.host.send(r->config.host.ctx, &wire);
		return true;
	}
	return false;
}

static void done(struct replica *r, enum mend_step step)
{
	struct mend *m = &r->mend;
	const struct damage *d = &m->items[m->next];
	switch (step) {
	case MEND_STEP_MENDED:
		m->any_mended = true;
		m->status.mended++;
		m->status.fetched += m->source != NO_VALIDATOR;
		note(r, MEND_NOTE_MENDED, d, m->source, NULL);
		next_item(r);
		break;
	case MEND_STEP_SOUND:
		note(r, MEND_NOTE_SOUND, d, NO_VALIDATOR, NULL);
		next_item(r);
		break;
	case MEND_STEP_MORE:
		m->again_at = r->now + MEND_PAUSE_US;
		break;
	case MEND_STEP_ASK:
		if (!ask(r))
			leave(r, m->begun ? "no peer has sent what it needs"
					  : "there is no peer to ask");
		break;
	case MEND_STEP_LEFT:
		leave(r, m->why);
		break;
	case MEND_STEP_FAILED:
		mend_close(r);
		replica_halt(r, "writing what was mended to the data directory failed. Check "
				"the disk (full? read-only?) and start this node again");
		break;
	}
}

/* A state that is being fetched, or cleared away, has records of its own beside the ledger's.
 */
static bool is_held_up(const struct replica *r)
{
	return r->sync.phase != SYNC_IDLE || r->sync.sweeping;
}

void mend_tick(struct replica *r)
{
	struct mend *m = &r->mend;
	enum mend_step step;
	if (!m->items || is_held_up(r) || r->now < m->again_at)
		return;
	if (m->asked.waits) {
		if (r->now < m->asked.sent_at + MEND_ANSWER_US)
			return;
		m->asked.waits = false;
	}
	m->source = NO_VALIDATOR;
	mend_record(r, &m->items[m->next], NULL, &step);
	done(r, step);
}

uint64_t mend_wake_at(const struct replica *r)
{
	const struct mend *m = &r->mend;
	if (!m->items)
		return UINT64_MAX;
	if (is_held_up(r))
		return r->now + MEND_SPACING_US;
	return m->asked.waits ? m->asked.sent_at + MEND_ANSWER_US : m->again_at;
}

/* ---- answers ------------------------------------------------------------------------------
 */

static bool is_answer(const struct mend_question *q, const struct sync_msg *m)
{
	const struct hash zero = {0};
	if (m->height != q->height)
		return false;
	switch (m->type) {
	case SYNC_OFFER:
		return q->type == SYNC_ASK;
	case SYNC_RANGE:
		return q->type == SYNC_GET && hash_equal(&m->from, &q->from) &&
		       hash_equal(&m->to, &q->to);
	case SYNC_BLOCKS:
		return q->type == SYNC_GET_BLOCKS && hash_equal(&m->from, &q->from);
	case SYNC_GONE:
		return q->type == SYNC_ASK ? hash_equal(&m->from, &zero)
					   : hash_equal(&m->from, &q->from);
	default:
		return false;
	}
}

/* Below the first one, which was asked for, each proves the next. */
static void keep_blocks(struct mend *m, struct sync_msg *in, unsigned from)
{
	forget_blocks(m);
	m->blocks_of = from;
	for (uint32_t i = 1; i < in->count; i++) {
		if (!hash_equal(&in->blocks[i]->hash, &in->blocks[i - 1]->sh.h.prev))
			return;
		m->blocks[m->block_count++] = block_hold(in->blocks[i]);
	}
}

static void take(struct replica *r, unsigned from, struct sync_msg *in)
{
	struct mend *m = &r->mend;
	enum mend_step step = MEND_STEP_ASK;
	m->asked.waits = false;
	m->again_at = r->now + MEND_SPACING_US;
	if (in->type == SYNC_GONE || is_held_up(r))
		return; /* the next tick asks another one */
	m->source = from;
	int err = mend_record(r, &m->items[m->next], in, &step);
	if (err) {
		m->status.lies++;
		note(r, MEND_NOTE_LIED, &m->items[m->next], from, err_text(err));
		return;
	}
	if (step == MEND_STEP_MENDED && in->type == SYNC_BLOCKS)
		keep_blocks(m, in, from);
	if (step == MEND_STEP_ASK)
		return; /* what it needs is another one by now */
	done(r, step);
}

bool mend_message(struct replica *r, unsigned from, struct slice bytes)
{
	struct mend *m = &r->mend;
	if (!m->asked.waits || m->asked.peer != from || bytes.ptr[0] == SYNC_ASK ||
	    bytes.ptr[0] == SYNC_GET || bytes.ptr[0] == SYNC_GET_BLOCKS || is_held_up(r))
		return false;
	struct sync_msg *in = mem_alloc(sizeof *in);
	int err = sync_decode(in, bytes);
	bool ours = !err && is_answer(&m->asked, in);
	if (ours)
		take(r, from, in);
	if (err) {
		m->asked.waits = false;
		m->again_at = r->now + MEND_SPACING_US;
		m->status.lies++;
		note(r, MEND_NOTE_LIED, &m->items[m->next], from, err_text(err));
	}
	sync_msg_free(in);
	mem_free(in);
	return ours || err;
}
