/* SYSTEM transactions in the ledger: mode entries and convictions, and the state that they add
 * up to, kept under one key of the state tree. */
#include "ledger/private.h"

struct slice state_key_modes(void)
{
	static const uint8_t key[] = {STATE_NS_SYSTEM, 'm', 'o', 'd', 'e'};
	return slice_of(key, sizeof(key));
}

int modes_decode(struct slice value, struct mode_state *out)
{
	struct reader r;
	mode_state_init(out);
	if (value.len == 0)
		return ERR_NONE; /* nothing was recorded yet */
	reader_init(&r, value);
	mode_state_decode(&r, out);
	return reader_finish(&r) ? ERR_CORRUPT : ERR_NONE;
}

int system_decode(struct ledger *l, const struct block *b, uint32_t *count)
{
	*count = system_tx_prefix(b);
	if (*count > SYSTEM_TXS_MAX)
		return ERR_LIMIT;
	for (uint32_t i = 0; i < *count; i++) {
		struct system_tx tx;
		int err = system_tx_of_block(&tx, b, i, l->ctx);
		/* The id stands for the bytes, which are all that a proof depends on. */
		if (!err && !verified_has(&l->verified, &b->tx[i].id)) {
			err = system_evidence_check(&tx, l->ctx, tx_never_valid);
			if (!err)
				verified_add(&l->verified, &b->tx[i].id);
		}
		if (err)
			return err;
	}
	for (uint32_t i = *count; i < b->tx_count; i++)
		if (system_tx_is(block_tx_bytes(b, i)))
			return ERR_RANGE;
	return ERR_NONE;
}

/* Convictions ought not to be kept out by what the genesis allows to clients. All that a block
 * may hold of them leave room, and what clients may fill is left to them. */
_Static_assert(BODY_HEAD_SIZE + SYSTEM_TXS_MAX * (BODY_TX_SIZE + SYSTEM_TX_SIZE_MAX) <=
		       BLOCK_BODY_MAX,
	       "the SYSTEM transactions of a block fit into a body");

size_t system_bytes(const struct block *b, uint32_t count)
{
	size_t bytes = 0;
	for (uint32_t i = 0; i < count; i++)
		bytes += BODY_TX_SIZE + b->tx[i].size;
	return bytes;
}

int ledger_mode_state(struct ledger *l, struct mode_state *out)
{
	*out = l->final->modes;
	return ERR_NONE;
}
