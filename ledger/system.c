/* SYSTEM transactions: what consensus records in the ledger (chain/system.h). The mode state is
 * one entry of the state tree, absent until the first mode entry or conviction. */
#include "ledger/private.h"

struct slice state_key_modes(void)
{
	static const uint8_t key[] = {STATE_NS_SYSTEM, 'm', 'o', 'd', 'e', 's'};
	return slice_of(key, sizeof key);
}

bool system_never_valid(const struct chain_ctx *ctx, struct slice bytes)
{
	struct system_tx tx;
	return system_check(&tx, bytes, ctx) != ERR_NONE;
}

int system_check(struct system_tx *out, struct slice bytes, const struct chain_ctx *ctx)
{
	int err = system_tx_decode(out, bytes, ctx);
	if (err || out->kind != SYSTEM_CONVICTION)
		return err;
	struct reader r;
	struct evidence ev;
	reader_init(&r, out->evidence);
	evidence_decode(&r, &ev);
	err = reader_finish(&r);
	if (!err && evidence_check(&ev, ctx, tx_never_valid))
		err = ERR_BAD_PROOF;
	return err;
}

int mode_state_parse(struct slice value, struct mode_state *out)
{
	struct reader r;
	mode_state_init(out);
	if (!value.len)
		return ERR_NONE;
	reader_init(&r, value);
	mode_state_decode(&r, out);
	return reader_finish(&r) ? ERR_CORRUPT : ERR_NONE;
}

int execution_system(struct execution *x, const struct system_tx *tx)
{
	struct slice value;
	struct mode_state m;
	struct entry *e;
	int err = execution_value(x, state_key_modes(), &e, &value);
	if (!err)
		err = mode_state_parse(value, &m);
	if (err)
		return err;
	if (mode_state_apply(&m, tx, x->height, x->genesis))
		return ERR_MODE;
	struct writer w = {0};
	mode_state_encode(&w, &m);
	execution_put(x, e, writer_slice(&w));
	writer_free(&w);
	return ERR_NONE;
}

int ledger_mode_state(struct ledger *l, struct mode_state *out)
{
	struct writer value = {0};
	int err = ledger_get(l, state_key_modes(), UINT64_MAX, &value, NULL);
	if (err == ERR_NOT_FOUND)
		err = ERR_NONE;
	if (!err)
		err = mode_state_parse(writer_slice(&value), out);
	writer_free(&value);
	return err;
}
