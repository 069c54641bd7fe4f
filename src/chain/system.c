/* SYSTEM transactions, and what the mode entries and convictions of a chain add up to. */
#include "chain/system.h"

#include "chain/private.h"

bool system_tx_is(struct slice bytes)
{
	return bytes.len >= 2 && bytes.ptr[0] == 0xff && bytes.ptr[1] == 0xff;
}

void system_tx_encode(struct writer *w, const struct system_tx *tx, const struct chain_ctx *ctx)
{
	writer_u16(w, SYSTEM_TX_MARK);
	writer_u8(w, (uint8_t)tx->kind);
	writer_hash(w, &ctx->id);
	writer_u64(w, tx->height);
	switch (tx->kind) {
	case SYSTEM_ESCALATED:
		writer_u64(w, tx->term);
		writer_u8(w, (uint8_t)tx->reason);
		return;
	case SYSTEM_MODE_FAST:
		writer_u64(w, tx->term);
		return;
	case SYSTEM_CONVICTION:
		writer_var(w, tx->evidence);
		return;
	case SYSTEM_MEMBER:
		member_change_encode(w, &tx->member);
		return;
	}
	invariant(!"a SYSTEM transaction of no kind");
}

static uint64_t read_term(struct reader *r)
{
	uint64_t term = reader_u64(r);
	if (term == 0)
		reader_fail(r, ERR_RANGE);
	return term;
}

static void read_fields(struct reader *r, struct system_tx *out)
{
	struct reader inner;
	struct evidence evidence;
	uint8_t reason;
	switch (out->kind) {
	case SYSTEM_ESCALATED:
		out->term = read_term(r);
		reason = reader_u8(r);
		if (reason > REASON_JOIN)
			reader_fail(r, ERR_RANGE);
		out->reason = r->err ? REASON_NONE : (enum escalation_reason)reason;
		return;
	case SYSTEM_MODE_FAST:
		out->term = read_term(r);
		return;
	case SYSTEM_CONVICTION:
		out->evidence = reader_var(r, SYSTEM_TX_SIZE_MAX);
		reader_init(&inner, out->evidence);
		evidence_decode(&inner, &evidence);
		if (reader_finish(&inner))
			reader_fail(r, reader_finish(&inner));
		return;
	case SYSTEM_MEMBER:
		member_change_decode(r, &out->member);
		return;
	}
}

int system_tx_decode(struct system_tx *out, struct slice bytes, const struct chain_ctx *ctx)
{
	struct reader r;
	struct hash chain;

	*out = (struct system_tx){.kind = SYSTEM_ESCALATED};
	if (bytes.len > SYSTEM_TX_SIZE_MAX)
		return ERR_LIMIT;
	reader_init(&r, bytes);
	if (reader_u16(&r) != SYSTEM_TX_MARK)
		reader_fail(&r, ERR_RANGE);
	uint8_t kind = reader_u8(&r);
	if (kind < SYSTEM_ESCALATED || kind > SYSTEM_MEMBER)
		reader_fail(&r, ERR_RANGE);
	reader_hash(&r, &chain);
	if (!hash_equal(&chain, &ctx->id))
		reader_fail(&r, ERR_WRONG_CHAIN);
	out->height = reader_u64(&r);
	if (out->height == 0)
		reader_fail(&r, ERR_RANGE);
	if (r.err)
		return r.err;
	out->kind = (enum system_kind)kind;
	read_fields(&r, out);
	return reader_finish(&r);
}

/* ---- the state of modes ------------------------------------------------------------------ */

void mode_state_init(struct mode_state *m)
{
	*m = (struct mode_state){.mode = MODE_FAST};
}

void mode_state_encode(struct writer *w, const struct mode_state *m)
{
	writer_u8(w, (uint8_t)m->mode);
	writer_u64(w, m->changed);
	writer_u64(w, m->escalated);
	writer_u64(w, m->escalations);
	writer_u32(w, m->doublings);
	writer_u64(w, m->jailed);
	if (m->epoch)
		writer_u64(w, m->epoch);
}

/* Only what mode_state_apply() can lead to. */
static bool state_possible(const struct mode_state *m)
{
	if ((m->escalations == 0) != (m->escalated == 0) || m->escalations > m->escalated)
		return false;
	if (m->doublings > PROBATION_DOUBLINGS_MAX ||
	    (m->doublings && m->doublings >= m->escalations))
		return false;
	if (m->mode == MODE_PBFT)
		return m->escalated != 0 && m->changed == m->escalated;
	return m->escalated == 0 || m->changed > m->escalated;
}

void mode_state_decode(struct reader *r, struct mode_state *out)
{
	uint8_t mode = reader_u8(r);
	if (mode != MODE_FAST && mode != MODE_PBFT)
		reader_fail(r, ERR_RANGE);
	out->mode = mode == MODE_PBFT ? MODE_PBFT : MODE_FAST;
	out->changed = reader_u64(r);
	out->escalated = reader_u64(r);
	out->escalations = reader_u64(r);
	out->doublings = reader_u32(r);
	out->jailed = reader_u64(r);
	bool changed = r->left > 0; /* it is the last thing in its value */
	out->epoch = changed ? reader_u64(r) : 0;
	if (!r->err && (!state_possible(out) || (changed && out->epoch == 0)))
		reader_fail(r, ERR_NONCANONICAL);
	if (r->err)
		mode_state_init(out);
}

/* height + factor probations, at most UINT64_MAX. */
static uint64_t probations_after(uint64_t height, uint64_t factor, const struct genesis *g)
{
	uint64_t out;
	uint64_t plain = (uint64_t)g->probation * g->checkpoint_interval;
	if (__builtin_mul_overflow(plain, factor, &out) ||
	    __builtin_add_overflow(out, height, &out))
		return UINT64_MAX;
	return out;
}

uint64_t mode_fast_due(const struct mode_state *m, const struct genesis *g)
{
	if (m->mode == MODE_FAST)
		return UINT64_MAX;
	return probations_after(m->escalated, UINT64_C(1) << m->doublings, g);
}

static void escalate(struct mode_state *m, uint64_t height, const struct genesis *g)
{
	uint64_t last = UINT64_C(1) << m->doublings;
	if (m->escalations == 0 ||
	    height > probations_after(m->escalated, last + PROBATION_MEMORY, g))
		m->doublings = 0;
	else if (m->doublings < PROBATION_DOUBLINGS_MAX)
		m->doublings++;
	m->mode = MODE_PBFT;
	m->changed = m->escalated = height;
	m->escalations++;
}

static int convict(struct mode_state *m, const struct system_tx *tx)
{
	struct reader r;
	struct evidence e;
	reader_init(&r, tx->evidence);
	evidence_decode(&r, &e);
	int err = reader_finish(&r);
	if (err)
		return err;
	uint64_t bit = UINT64_C(1) << e.culprit; /* < VALIDATORS_MAX: it decoded */
	if (m->jailed & bit)
		return ERR_EXISTS;
	m->jailed |= bit;
	return ERR_NONE;
}

int mode_state_apply(struct mode_state *m, const struct system_tx *tx, uint64_t height,
		     const struct genesis *g)
{
	if (tx->height != height || height == 0)
		return ERR_RANGE;
	switch (tx->kind) {
	case SYSTEM_ESCALATED:
		if (m->mode == MODE_PBFT)
			return ERR_MODE;
		if (height <= m->changed)
			return ERR_RANGE;
		escalate(m, height, g);
		return ERR_NONE;
	case SYSTEM_MODE_FAST:
		if (m->mode == MODE_PBFT && height < mode_fast_due(m, g))
			return ERR_MODE;
		if (height <= m->changed)
			return ERR_RANGE;
		m->mode = MODE_FAST;
		m->changed = height;
		return ERR_NONE;
	case SYSTEM_CONVICTION:
		return convict(m, tx);
	case SYSTEM_MEMBER:
		if (m->mode != MODE_FAST || height % g->checkpoint_interval ||
		    tx->member.epoch != m->epoch)
			return ERR_MODE;
		m->epoch++;
		m->jailed &= ~(UINT64_C(1) << tx->member.place);
		return ERR_NONE;
	}
	return ERR_RANGE;
}

/* ---- in a block -------------------------------------------------------------------------- */

uint32_t system_tx_prefix(const struct block *b)
{
	uint32_t count = 0;
	while (count < b->tx_count && system_tx_is(block_tx_bytes(b, count)))
		count++;
	return count;
}

bool system_tx_fits(const struct system_tx *tx, const struct header *h, uint64_t index,
		    enum tx_result result)
{
	if (tx->height != h->height || result != TX_OK)
		return false;
	if (tx->kind == SYSTEM_MEMBER)
		return h->tx_count == 1 && index == 0 && h->mode == MODE_FAST;
	/* Mode entries belong to a term, and there is one at most: in front. */
	return tx->kind == SYSTEM_CONVICTION || (index == 0 && tx->term == h->term);
}

int system_tx_of_block(struct system_tx *out, const struct block *b, uint32_t index,
		       const struct chain_ctx *ctx)
{
	int err = system_tx_decode(out, block_tx_bytes(b, index), ctx);
	if (err)
		return err;
	return system_tx_fits(out, &b->sh.h, index, b->tx[index].result) ? ERR_NONE : ERR_RANGE;
}

int mode_state_apply_block(struct mode_state *m, const struct block *b,
			   const struct chain_ctx *ctx, const struct genesis *g)
{
	struct mode_state after = *m;
	uint32_t count = system_tx_prefix(b);
	for (uint32_t i = 0; i < count; i++) {
		struct system_tx tx;
		int err = system_tx_of_block(&tx, b, i, ctx);
		if (!err)
			err = mode_state_apply(&after, &tx, b->sh.h.height, g);
		if (err)
			return err;
	}
	*m = after;
	return ERR_NONE;
}
