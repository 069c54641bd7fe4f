/* Errors are values: 0 is success, every failure is a negative enum err with a text.
 * A number is never reused, because they appear in logs and in HTTP problem documents. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err {
	ERR_NONE = 0,
	ERR_TRUNCATED = -1,	 /* input ends before the encoding does */
	ERR_TRAILING = -2,	 /* input goes on after the encoding */
	ERR_NONCANONICAL = -3,	 /* decodes, but would not re-encode to the same bytes */
	ERR_LIMIT = -4,		 /* a named limit is exceeded */
	ERR_RANGE = -5,		 /* a field has a value outside its domain */
	ERR_VERSION = -6,	 /* made by a newer format version */
	ERR_WRONG_CHAIN = -7,	 /* belongs to another chain id */
	ERR_BAD_SIGNATURE = -8,
	ERR_BAD_HASH = -9,	 /* bytes do not have the hash they claim */
	ERR_BAD_LINK = -10,	 /* previous hash, height, term or base do not fit */
	ERR_UNKNOWN_SIGNER = -11,
	ERR_DUPLICATE_SIGNER = -12,
	ERR_NO_QUORUM = -13,	 /* too few signatures */
	ERR_BAD_PROOF = -14,	 /* a Merkle or state proof does not lead to its root */
	ERR_BAD_STATE_ROOT = -15,
	ERR_NOT_FOUND = -16,
	ERR_EXISTS = -17,
	ERR_IO = -18,
	ERR_CORRUPT = -19,	 /* stored bytes fail their check */
	ERR_LOCKED = -20,
	ERR_BUSY = -21,		 /* a queue is full: try again later */
	ERR_TIMEOUT = -22,
	ERR_CLOSED = -23,
	ERR_PERMISSION = -24,
	ERR_PASSPHRASE = -25,
	ERR_CONFIG = -26,
	ERR_SYNTAX = -27,	 /* text that does not parse */
	ERR_UNSUPPORTED = -28,
	ERR_UNREACHABLE = -29,
	ERR_STALE = -30,	 /* refers to something already superseded */
	ERR_CULPRIT = -31,	 /* a set that must not hold this validator does */
	ERR_MODE = -32,		 /* does not fit the mode of the ledger */
	/* why a transaction cannot enter a block (the block is invalid if it does) */
	ERR_TX_NONCE_USED = -40,
	ERR_TX_NONCE_WINDOW = -41, /* nonce too far ahead of, or below, the sender's window */
	ERR_TX_EXPIRED = -42,
	ERR_TX_SENDER = -43,	   /* the genesis submission policy refuses this sender */
	ERR_TX_EMPTY = -44,
	ERR_TX_HORIZON = -45,	   /* expires further ahead than the genesis allows */
};

/* A static, lower-case English phrase without a full stop; never NULL. */
const char *err_text(int code);

/* A stable snake_case name such as "bad_signature" for machine-readable output; never NULL. */
const char *err_name(int code);

/* What happened, why and what to do, for errors that a person will read. */
struct errmsg {
	char text[512];
};

/* Formats into m (m may be NULL) and returns code, so that callers write
 *	return err_set(m, ERR_CONFIG, "...", ...);  */
int err_set(struct errmsg *m, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
