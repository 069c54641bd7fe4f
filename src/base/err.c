#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

static const struct {
	int code;
	const char *name;
	const char *text;
} table[] = {
	{ERR_NONE, "ok", "success"},
	{ERR_TRUNCATED, "truncated", "input ends too early"},
	{ERR_TRAILING, "trailing", "input goes on after its end"},
	{ERR_NONCANONICAL, "noncanonical", "encoding is not canonical"},
	{ERR_LIMIT, "limit", "a limit is exceeded"},
	{ERR_RANGE, "range", "a field is out of range"},
	{ERR_VERSION, "version", "format version is not supported"},
	{ERR_WRONG_CHAIN, "wrong_chain", "belongs to another chain"},
	{ERR_BAD_SIGNATURE, "bad_signature", "signature does not verify"},
	{ERR_BAD_HASH, "bad_hash", "content does not have the hash that it claims"},
	{ERR_BAD_LINK, "bad_link", "block does not fit onto its chain"},
	{ERR_UNKNOWN_SIGNER, "unknown_signer", "signer is not known"},
	{ERR_DUPLICATE_SIGNER, "duplicate_signer", "signer appears twice"},
	{ERR_NO_QUORUM, "no_quorum", "too few signatures for a quorum"},
	{ERR_BAD_PROOF, "bad_proof", "proof does not lead to its root"},
	{ERR_BAD_STATE_ROOT, "bad_state_root", "state root differs"},
	{ERR_NOT_FOUND, "not_found", "not found"},
	{ERR_EXISTS, "exists", "exists already"},
	{ERR_IO, "io", "input or output failed"},
	{ERR_CORRUPT, "corrupt", "stored data is damaged"},
	{ERR_LOCKED, "locked", "in use by another process"},
	{ERR_BUSY, "busy", "too busy, try again later"},
	{ERR_TIMEOUT, "timeout", "timed out"},
	{ERR_CLOSED, "closed", "connection is closed"},
	{ERR_PERMISSION, "permission", "permission denied"},
	{ERR_PASSPHRASE, "passphrase", "passphrase is missing or wrong"},
	{ERR_CONFIG, "config", "configuration is not valid"},
	{ERR_SYNTAX, "syntax", "text does not parse"},
	{ERR_UNSUPPORTED, "unsupported", "not supported"},
	{ERR_UNREACHABLE, "unreachable", "cannot be reached"},
	{ERR_STALE, "stale", "superseded by something newer"},
	{ERR_CULPRIT, "culprit", "the set holds a validator that it must leave out"},
	{ERR_MODE, "mode", "does not fit the mode of the ledger"},
	{ERR_TX_NONCE_USED, "tx_nonce_used", "nonce was used before"},
	{ERR_TX_NONCE_WINDOW, "tx_nonce_window", "nonce is outside the sender's window"},
	{ERR_TX_EXPIRED, "tx_expired", "transaction has expired"},
	{ERR_TX_SENDER, "tx_sender", "sender may not submit to this chain"},
	{ERR_TX_EMPTY, "tx_empty", "transaction has no operations"},
	{ERR_TX_HORIZON, "tx_horizon", "transaction expires too far ahead"},
};

const char *err_text(int code)
{
	for (size_t i = 0; i < MEM_COUNT(table); i++)
		if (table[i].code == code)
			return table[i].text;
	return "unknown error";
}

const char *err_name(int code)
{
	for (size_t i = 0; i < MEM_COUNT(table); i++)
		if (table[i].code == code)
			return table[i].name;
	return "unknown";
}

int err_set(struct errmsg *m, int code, const char *fmt, ...)
{
	if (m) {
		va_list ap;
		va_start(ap, fmt);
		vsnprintf(m->text, sizeof(m->text), fmt, ap);
		va_end(ap);
	}
	return code;
}
