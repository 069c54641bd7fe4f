/* New keys for validators: how a request of governance gets to a leader and into a block, and
 * how the log of this epoch ends with that block
 * (docs/decisions/0012-new-keys-for-validators.md). */
#include "chain/epoch.h"
#include "consensus/hybrid/hybrid.h"

/* ---- requests -----------------------------------------------------------------------------
 */

static void tell(struct hybrid *h, uint64_t to)
{
	h->member_told_at = h->now;
	msg_member_encode(emit_message(&h->out, to, CLASS_CONSENSUS, MSG_MEMBER),
			  slice_of(h->member_bytes, h->member_size));
}

/* One is kept, the first that holds; what governance has not signed costs its sender a timeout,
 * so that nobody can have us check signatures all the time. */
void on_member(struct hybrid *h, unsigned from, struct slice bytes)
{
	struct member_change m;
	struct reader r;
	if (h->member_bytes || h->pinned || h->ended)
		return;
	if (from != h->self && h->member_paid[from] > h->now) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	reader_init(&r, bytes);
	member_change_decode(&r, &m);
	if (reader_finish(&r) || member_change_check(&m, h->ctx)) {
		h->counters[COUNT_BAD_SIGNATURES] += from != h->self;
		h->member_paid[from] = h->now + h->timing.timeout_min;
		return;
	}
	h->member = m;
	h->member_bytes = mem_dup(bytes.ptr, bytes.len);
	h->member_size = bytes.len;
	tell(h, mask_all(h));
}

/* Who leads may have missed it, or lead since. */
void member_tick(struct hybrid *h)
{
	uint16_t leader = current_leader(h);
	if (!h->member_bytes || h->ended || leader == NO_VALIDATOR || leader == h->self ||
	    h->now < h->member_told_at + h->timing.timeout_min)
		return;
	tell(h, UINT64_C(1) << leader);
}

void member_free(struct hybrid *h)
{
	mem_free(h->member_bytes);
	h->member_bytes = NULL;
}

/* ---- blocks -------------------------------------------------------------------------------
 */

bool member_waits(const struct hybrid *h, const struct log_entry *parent)
{
	const struct mode_state *m = modes_after(h, parent);
	return h->member_bytes && !h->ended && h->tc.mode == MODE_FAST && !h->pinned &&
	       m->mode == MODE_FAST && !epoch_ended(h->ctx, m) && !conviction_is_due(h, parent);
}

bool member_entry(const struct hybrid *h, const struct log_entry *parent, uint64_t height,
		  struct system_tx *out)
{
	if (!member_waits(h, parent) || height % h->checkpoint_interval)
		return false;
	*out = (struct system_tx){.kind = SYSTEM_MEMBER, .height = height, .member = h->member};
	return true;
}

static const struct header *header_of(const struct hybrid *h, const struct log_entry *e)
{
	return e ? &e->block->sh.h : &h->log.final->sh.h;
}

bool after_end(const struct hybrid *h, const struct log_entry *parent)
{
	return epoch_ended(h->ctx, modes_after(h, parent)) && !MUTANT(MUTANT_EXTEND_END);
}

bool filler_is_due(const struct hybrid *h, const struct log_entry *parent)
{
	return !h->ended && header_of(h, parent)->term < h->term && !MUTANT(MUTANT_NO_FILLER);
}

bool follows_end(const struct hybrid *h, const struct log_entry *e)
{
	return epoch_is_filler(&e->block->sh.h, header_of(h, e->parent));
}

/* ---- finality -----------------------------------------------------------------------------
 */

/* e or its ancestor, above the final block, that ends the epoch. */
struct log_entry *end_of_epoch(const struct hybrid *h, struct log_entry *e)
{
	if (!epoch_ended(h->ctx, &e->modes) || MUTANT(MUTANT_APPLY_FILLER))
		return NULL;
	while (e->parent && epoch_ended(h->ctx, &e->parent->modes))
		e = e->parent;
	return e;
}

/* From who is further: it has left this epoch, and knows its end. */
void on_final(struct hybrid *h, unsigned from, const struct cert *c)
{
	if (!cert_is_final(c->kind) || take_cert(h, c))
		return;
	if (h->has_pending_final)
		fetch_from(h, from);
}
