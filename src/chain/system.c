#include "chain/system.h"

#include "chain/private.h"

#define LONG_WINDOW_PROBATIONS 64

bool system_tx_is(struct slice bytes)
{
	return bytes.len >= 2 && bytes.ptr[0] == SYSTEM_TX_MARK >> 8 &&
	       bytes.ptr[1] == (SYSTEM_TX_MARK & 0xff);
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
		break;
	case SYSTEM_MODE_FAST:
		writer_u64(w, tx->term);
		break;
	case SYSTEM_CONVICTION:
		writer_var(w, tx->evidence);
		break;
	}
}

static void check_form(struct reader *r, const struct slice evidence)
{
	struct reader inner;
	struct evidence ev;
	reader_init(&inner, evidence);
	evidence_decode(&inner, &ev);
	int err = reader_finish(&inner);
	if (err)
		reader_fail(r, err);
}

int system_tx_decode(struct system_tx *out, struct slice bytes, const struct chain_ctx *ctx)
{
	struct reader r;
	struct hash chain;
	*out = (struct system_tx){0};
	reader_init(&r, bytes);
	if (reader_u16(&r) != SYSTEM_TX_MARK)
		reader_fail(&r, ERR_RANGE);
	uint8_t kind = reader_u8(&r);
	reader_hash(&r, &chain);
	out->height = reader_u64(&r);
	if (!r.err && !hash_equal(&chain, &ctx->id))
		return ERR_WRONG_CHAIN;
	switch (kind) {
	case SYSTEM_ESCALATED: {
		out->term = reader_u64(&r);
		uint8_t reason = reader_u8(&r);
		if (reason > REASON_JOIN)
			reader_fail(&r, ERR_RANGE);
		out->reason = r.err ? REASON_NONE : reason;
		break;
	}
	case SYSTEM_MODE_FAST:
		out->term = reader_u64(&r);
		break;
	case SYSTEM_CONVICTION:
		out->evidence = reader_var(&r, EVIDENCE_SIZE_MAX);
		if (!r.err)
			check_form(&r, out->evidence);
		break;
	default:
		reader_fail(&r, ERR_RANGE);
	}
	out->kind = (enum system_kind)kind;
	return reader_finish(&r);
}

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
}

void mode_state_decode(struct reader *r, struct mode_state *out)
{
	mode_state_init(out);
	uint8_t mode = reader_u8(r);
	if (mode != MODE_FAST && mode != MODE_PBFT)
		reader_fail(r, ERR_RANGE);
	out->mode = r->err ? MODE_FAST : mode;
	out->changed = reader_u64(r);
	out->escalated = reader_u64(r);
	out->escalations = reader_u64(r);
	out->doublings = reader_u32(r);
	if (out->doublings > PROBATION_DOUBLINGS_MAX)
		reader_fail(r, ERR_RANGE);
	out->jailed = reader_u64(r);
}

static uint64_t plain_probation(const struct genesis *g)
{
	return (uint64_t)g->probation * g->checkpoint_interval;
}

uint64_t mode_fast_due(const struct mode_state *m, const struct genesis *g)
{
	if (m->mode != MODE_PBFT)
		return UINT64_MAX;
	return m->escalated + (plain_probation(g) << m->doublings);
}

static void escalation_recorded(struct mode_state *m, uint64_t height, const struct genesis *g)
{
	bool soon = m->escalations > 0 &&
		    height - m->escalated <= LONG_WINDOW_PROBATIONS * plain_probation(g);
	if (!soon)
		m->doublings = 0;
	else if (m->doublings < PROBATION_DOUBLINGS_MAX)
		m->doublings++;
	m->mode = MODE_PBFT;
	m->escalated = m->changed = height;
	m->escalations++;
}

int mode_state_apply(struct mode_state *m, const struct system_tx *tx, uint64_t height,
		     const struct genesis *g)
{
	if (tx->height != height)
		return ERR_RANGE;
	switch (tx->kind) {
	case SYSTEM_ESCALATED:
		if (m->mode == MODE_PBFT)
			return ERR_MODE;
		escalation_recorded(m, height, g);
		return ERR_NONE;
	case SYSTEM_MODE_FAST:
		if (m->mode == MODE_PBFT && height < mode_fast_due(m, g))
			return ERR_MODE;
		m->mode = MODE_FAST;
		m->changed = height;
		return ERR_NONE;
	case SYSTEM_CONVICTION: {
		struct reader r;
		struct evidence ev;
		reader_init(&r, tx->evidence);
		evidence_decode(&r, &ev);
		int err = reader_finish(&r);
		if (err)
			return err;
		if (m->jailed >> ev.culprit & 1)
			return ERR_EXISTS;
		m->jailed |= UINT64_C(1) << ev.culprit;
		return ERR_NONE;
	}
	}
	return ERR_RANGE;
}

int mode_state_apply_block(struct mode_state *m, const struct block *b,
			   const struct chain_ctx *ctx, const struct genesis *g)
{
	for (uint32_t i = 0; i < b->tx_count; i++) {
		struct slice bytes = block_tx_bytes(b, i);
		if (!system_tx_is(bytes))
			return ERR_NONE;
		struct system_tx tx;
		int err = system_tx_decode(&tx, bytes, ctx);
		if (!err && i > 0 && tx.kind != SYSTEM_CONVICTION)
			err = ERR_MODE; /* a mode entry comes first, and alone */
		if (!err)
			err = mode_state_apply(m, &tx, b->sh.h.height, g);
		if (err)
			return err;
	}
	return ERR_NONE;
}
