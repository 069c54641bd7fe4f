#include <ctype.h>
#include <stdio.h>

#include "base/mem.h"
#include "chain/block.h"
#include "node/http.h"

static unsigned status_of(int err)
{
	switch ((enum err)err) {
	case ERR_TRUNCATED:
	case ERR_TRAILING:
	case ERR_NONCANONICAL:
	case ERR_LIMIT:
	case ERR_RANGE:
	case ERR_VERSION:
	case ERR_SYNTAX:
	case ERR_UNSUPPORTED:
		return 400;
	case ERR_NOT_FOUND:
		return 404;
	case ERR_STALE:
		return 410;
	case ERR_WRONG_CHAIN:
	case ERR_BAD_SIGNATURE:
	case ERR_TX_NONCE_USED:
	case ERR_TX_NONCE_WINDOW:
	case ERR_TX_EXPIRED:
	case ERR_TX_SENDER:
	case ERR_TX_EMPTY:
	case ERR_TX_HORIZON:
	case ERR_PERMISSION:	 /* a transaction with the mark of system transactions */
	case ERR_UNKNOWN_SIGNER: /* of a member change */
	case ERR_NO_QUORUM:
		return 422;
	case ERR_EXISTS:
		return 409;
	case ERR_BUSY:
		return 429;
	case ERR_TIMEOUT:
	case ERR_CLOSED:
		return 503;
	case ERR_NONE:
	case ERR_BAD_HASH:
	case ERR_BAD_LINK:
	case ERR_DUPLICATE_SIGNER:
	case ERR_CULPRIT:
	case ERR_MODE:
	case ERR_BAD_PROOF:
	case ERR_BAD_STATE_ROOT:
	case ERR_IO:
	case ERR_CORRUPT:
	case ERR_LOCKED:
	case ERR_PASSPHRASE:
	case ERR_CONFIG:
	case ERR_UNREACHABLE:
		break;
	}
	return 500;
}

static const char *hint_of(int err)
{
	switch (err) {
	case ERR_BUSY:
		return "send it again after a second; repeating a transaction is harmless";
	case ERR_TX_NONCE_USED:
	case ERR_TX_NONCE_WINDOW:
		return "ask /v1/accounts/{sender} for a free nonce and sign again";
	case ERR_TX_EXPIRED:
	case ERR_TX_HORIZON:
		return "sign again with an expiry above the height and at most expiry_max of "
		       "/v1/accounts/{sender}";
	case ERR_TX_SENDER:
		return "the genesis file says who may submit; use one of those keys";
	case ERR_WRONG_CHAIN:
		return "sign for the chain id that /v1/status names";
	case ERR_STALE:
		return "ask for a newer height, or a node that keeps more";
	case ERR_IO:
	case ERR_CORRUPT:
		return "look at the node's log and its disk; `ostrakon db check` examines the "
		       "store";
	case ERR_TIMEOUT:
		return "the node is busy or its disk slow; try again";
	default:
		return NULL;
	}
}

void problem_set(struct problem *p, unsigned status, const char *code, const char *title,
		 const char *detail, const char *hint)
{
	*p = (struct problem){.status = status, .code = code, .title = title, .hint = hint};
	if (detail)
		snprintf(p->detail, sizeof p->detail, "%s", detail);
	if (status == 429 || status == 503)
		p->retry_after = 1;
}

void problem_of(struct problem *p, int err, const char *detail)
{
	problem_set(p, status_of(err), err_name(err), err_text(err), detail, hint_of(err));
}

struct json *problem_json(const struct problem *p)
{
	struct json *o = json_object();
	char type[96];
	snprintf(type, sizeof type, "urn:ostrakon:error:%s", p->code);
	json_set(o, "type", json_string(type));
	json_set(o, "title", json_string(p->title));
	json_set(o, "status", json_int(p->status));
	json_set(o, "code", json_string(p->code));
	json_set(o, "detail", json_string(p->detail[0] ? p->detail : p->title));
	if (p->hint)
		json_set(o, "hint", json_string(p->hint));
	if (p->has_tx)
		json_set(o, "tx_id", json_hex(p->tx.b, HASH_SIZE));
	return o;
}

int percent_decode(uint8_t *out, size_t *len, const char *text)
{
	size_t n = 0;
	for (; *text; text++) {
		if (*text != '%') {
			out[n++] = (uint8_t)*text;
			continue;
		}
		if (!isxdigit((unsigned char)text[1]) || !isxdigit((unsigned char)text[2]))
			return ERR_SYNTAX;
		char digits[3] = {text[1], text[2], 0};
		int err = hex_decode(&out[n++], 1, digits);
		if (err != ERR_NONE)
			return err;
		text += 2;
	}
	*len = n;
	return ERR_NONE;
}

int submission_split(struct slice **txs, uint32_t *count, struct slice body, uint32_t max,
		     uint32_t size_max, struct errmsg *m)
{
	*txs = NULL;
	*count = 0;
	struct reader r;
	reader_init(&r, body);
	uint32_t n = 0;
	while (r.left > 0 && r.err == ERR_NONE) {
		struct slice s = reader_var(&r, size_max);
		if (r.err == ERR_LIMIT)
			return err_set(m, ERR_LIMIT, "transaction %u is longer than %u bytes",
				       n, size_max);
		if (r.err == ERR_NONE && s.len == 0)
			return err_set(m, ERR_RANGE, "transaction %u has no bytes", n);
		if (r.err == ERR_NONE && ++n > max)
			return err_set(m, ERR_LIMIT, "over %u transactions in one request",
				       max);
	}
	if (r.err != ERR_NONE)
		return err_set(m, r.err, "the body ends inside transaction %u", n);
	if (n == 0)
		return err_set(m, ERR_RANGE, "the body is empty");
	*txs = mem_array(n, sizeof **txs);
	*count = n;
	reader_init(&r, body);
	for (uint32_t i = 0; i < n; i++)
		(*txs)[i] = reader_var(&r, size_max);
	invariant(reader_finish(&r) == ERR_NONE);
	return ERR_NONE;
}

int submission_json(uint8_t **bytes, size_t *len, struct slice body, struct errmsg *m)
{
	*bytes = NULL;
	*len = 0;
	if (body.len > HTTP_JSON_BODY_MAX)
		return err_set(m, ERR_LIMIT, "a JSON body may have %u bytes",
			       HTTP_JSON_BODY_MAX);
	struct json *doc = NULL;
	int err = json_parse(&doc, body, m);
	if (err != ERR_NONE)
		return err;
	const char *hex;
	if (!json_is_object(doc) || json_read_string(doc, "tx", &hex) != ERR_NONE ||
	    json_len(doc) != 1) {
		json_free(doc);
		return err_set(m, ERR_SYNTAX,
			       "the body must be {\"tx\": \"<hex>\"} and no more");
	}
	size_t n = strlen(hex) / 2;
	uint8_t *out = mem_alloc(n + 1);
	if (n == 0 || n > TX_SIZE_MAX || strlen(hex) != 2 * n ||
	    hex_decode(out, n, hex) != ERR_NONE)
		err = err_set(m, ERR_SYNTAX, "\"tx\" must be 1 to %u bytes in hex",
			      TX_SIZE_MAX);
	json_free(doc);
	if (err != ERR_NONE) {
		mem_free(out);
		return err;
	}
	*bytes = out;
	*len = n;
	return ERR_NONE;
}

int http_u64(const char *text, uint64_t *out)
{
	if (!text || !*text)
		return ERR_SYNTAX;
	uint64_t v = 0;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return ERR_SYNTAX;
		unsigned digit = (unsigned)(*text - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return ERR_RANGE;
		v = v * 10 + digit;
	}
	*out = v;
	return ERR_NONE;
}

int http_flag(const char *text, bool *out)
{
	if (!text || !*text || strcmp(text, "1") == 0 || strcmp(text, "true") == 0)
		*out = true;
	else if (strcmp(text, "0") == 0 || strcmp(text, "false") == 0)
		*out = false;
	else
		return ERR_SYNTAX;
	return ERR_NONE;
}
