/* The JSON form of proofs (docs/ledger-format.md). What the document says twice, so that people
 * can read it, must agree: whatever of it is altered, parsing or checking refuses it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "ledger/proof.h"
#include "ledger/tree.h"

#define DOCUMENT_SIZE_MAX (16u << 20)

static const char *const state_members[] = {
	"kind",	      "chain_id", "height",	 "namespace", "key",
	"key_hex",    "key_hash", "value",	 "value_hex", "value_hash",
	"state_root", "headers",  "certificate", "proof",     NULL};
static const char *const tx_members[] = {"kind", "chain_id", "height",	    "id",
					 "tx",	 "result",   "index",	    "count",
					 "path", "headers",  "certificate", NULL};
static const char *const cert_members[] = {"grade",   "term",	    "height", "hash",
					   "signers", "signatures", NULL};

static const struct {
	uint8_t ns;
	const char *name;
} namespaces[] = {
	{STATE_NS_USER, "user"},
	{STATE_NS_ACCOUNT, "account"},
	{STATE_NS_NONCE, "nonce"},
	{STATE_NS_SYSTEM, "system"},
};

void proof_document_init(struct proof_document *d)
{
	*d = (struct proof_document){.kind = PROOF_STATE};
}

void proof_document_free(struct proof_document *d)
{
	certified_header_free(&d->ch);
	mem_free((void *)d->state_key.ptr);
	mem_free((void *)d->value.ptr);
	mem_free((void *)d->proof.ptr);
	mem_free((void *)d->tx.ptr);
	proof_document_init(d);
}

/* Length of the UTF-8 character at s (RFC 3629), 0 if there is none or it is a NUL. */
static size_t utf8_char(const uint8_t *s, size_t left)
{
	static const struct {
		uint8_t lo, hi, second_lo, second_hi, len;
	} forms[] = {{0x01, 0x7f, 0, 0, 1},	  {0xc2, 0xdf, 0x80, 0xbf, 2},
		     {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		     {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		     {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		     {0xf4, 0xf4, 0x80, 0x8f, 4}};
	for (size_t i = 0; i < MEM_COUNT(forms); i++) {
		if (s[0] < forms[i].lo || s[0] > forms[i].hi)
			continue;
		if (left < forms[i].len)
			return 0;
		for (size_t j = 1; j < forms[i].len; j++) {
			uint8_t lo = j == 1 ? forms[i].second_lo : 0x80;
			uint8_t hi = j == 1 ? forms[i].second_hi : 0xbf;
			if (s[j] < lo || s[j] > hi)
				return 0;
		}
		return forms[i].len;
	}
	return 0;
}

static bool is_text(struct slice s)
{
	for (size_t i = 0, len; i < s.len; i += len) {
		len = utf8_char(s.ptr + i, s.len - i);
		if (len == 0)
			return false;
	}
	return true;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* name as text if it can be, else name_hex. */
static void set_bytes(struct json *o, const char *name, struct slice s, bool hex_only)
{
	char hex_name[32];
	snprintf(hex_name, sizeof(hex_name), "%s_hex", name);
	if (!hex_only && is_text(s))
		json_set(o, name, json_string_n((const char *)s.ptr, s.len));
	else
		json_set(o, hex_name, json_hex(s.ptr, s.len));
}

static struct json *hash_json(const struct hash *h)
{
	return json_hex(h->b, HASH_SIZE);
}

static struct json *headers_json(const struct certified_header *ch)
{
	struct json *a = json_array();
	for (uint32_t i = 0; i < ch->count; i++) {
		struct writer w = {0};
		signed_header_encode(&w, &ch->headers[i]);
		json_append(a, json_hex(w.buf, w.len));
		writer_free(&w);
	}
	return a;
}

static struct json *cert_json(const struct cert *c)
{
	if (c->count == 0)
		return json_null();
	struct json *o = json_object(), *signers = json_array(), *signatures = json_array();
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		if (c->signers >> i & 1)
			json_append(signers, json_int(i));
	for (unsigned i = 0; i < c->count; i++)
		json_append(signatures, json_hex(c->sig[i].b, SIGNATURE_SIZE));
	json_set(o, "grade", json_string(cert_kind_name(c->kind)));
	json_set(o, "term", json_u64(c->ref.term));
	json_set(o, "height", json_u64(c->ref.height));
	json_set(o, "hash", hash_json(&c->ref.hash));
	json_set(o, "signers", signers);
	json_set(o, "signatures", signatures);
	return o;
}

static void state_json(struct json *o, const struct proof_document *d)
{
	struct slice key = slice_of(d->state_key.ptr + 1, d->state_key.len - 1);
	const char *ns = NULL;
	struct hash h;

	for (size_t i = 0; i < MEM_COUNT(namespaces); i++)
		if (namespaces[i].ns == d->state_key.ptr[0])
			ns = namespaces[i].name;
	invariant(ns != NULL);
	json_set(o, "namespace", json_string(ns));
	set_bytes(o, "key", key, false);
	tree_key(&h, d->state_key);
	json_set(o, "key_hash", hash_json(&h));
	if (d->present) {
		set_bytes(o, "value", d->value, d->state_key.ptr[0] != STATE_NS_USER);
		tree_value_hash(&h, d->value);
		json_set(o, "value_hash", hash_json(&h));
	} else {
		json_set(o, "value", json_null());
		json_set(o, "value_hash", json_null());
	}
	json_set(o, "state_root", hash_json(&d->ch.headers[0].h.state_root));
	json_set(o, "proof", json_hex(d->proof.ptr, d->proof.len));
}

static void tx_json(struct json *o, const struct proof_document *d)
{
	struct json *path = json_array();
	struct hash id;

	tx_id(&id, d->tx);
	json_set(o, "id", hash_json(&id));
	json_set(o, "tx", json_hex(d->tx.ptr, d->tx.len));
	json_set(o, "result", json_string(tx_result_name(d->result)));
	json_set(o, "index", json_u64(d->path.index));
	json_set(o, "count", json_u64(d->path.count));
	for (uint32_t i = 0; i < d->path.len; i++)
		json_append(path, hash_json(&d->path.sibling[i]));
	json_set(o, "path", path);
}

char *proof_document_json(const struct proof_document *d, const struct chain_ctx *ctx)
{
	struct json *o = json_object();
	invariant(d->ch.count >= 1);
	json_set(o, "kind", json_string(d->kind == PROOF_STATE ? "state" : "transaction"));
	json_set(o, "chain_id", hash_json(&ctx->id));
	json_set(o, "height", json_u64(d->ch.headers[0].h.height));
	switch (d->kind) {
	case PROOF_STATE:
		state_json(o, d);
		break;
	case PROOF_TX:
		tx_json(o, d);
		break;
	}
	json_set(o, "headers", headers_json(&d->ch));
	json_set(o, "certificate", cert_json(&d->ch.cert));
	char *text = json_dump(o, true);
	json_free(o);
	return text;
}

/* ---- parsing ----------------------------------------------------------------------------- */

/* m tells the member and what is wrong with it. */
static int bad(struct errmsg *m, const char *name, const char *what)
{
	return err_set(m, ERR_SYNTAX, "%s: %s", name, what);
}

static int only_members(const struct json *o, const char *const *allowed, struct errmsg *m)
{
	const char *key;
	for (size_t i = 0; (key = json_key_at(o, i)) != NULL; i++) {
		size_t j = 0;
		while (allowed[j] && strcmp(allowed[j], key) != 0)
			j++;
		if (!allowed[j])
			return err_set(m, ERR_SYNTAX, "unknown member \"%.64s\"", key);
	}
	return ERR_NONE;
}

/* Lower-case hex digits of any even number, up to max bytes; owned. One text, one meaning. */
static int hex_of(const struct json *v, const char *name, size_t max, struct slice *out,
		  struct errmsg *m)
{
	const char *text;
	if (json_as_string(v, &text))
		return bad(m, name, "must be a string of hex digits");
	size_t len = strlen(text);
	if (len % 2 || strspn(text, "0123456789abcdef") != len)
		return bad(m, name, "must be pairs of lower-case hex digits");
	if (len / 2 > max)
		return err_set(m, ERR_LIMIT, "%s: longer than %zu bytes", name, max);
	uint8_t *p = mem_alloc(len / 2);
	int err = hex_decode(p, len / 2, text);
	invariant(!err);
	*out = slice_of(p, len / 2);
	return ERR_NONE;
}

static int fixed_hex(const struct json *v, const char *name, void *out, size_t size,
		     struct errmsg *m)
{
	struct slice s;
	int err = hex_of(v, name, size, &s, m);
	if (err)
		return err;
	if (s.len == size)
		memcpy(out, s.ptr, size);
	else
		err = err_set(m, ERR_SYNTAX, "%s: must be %zu hex digits", name, 2 * size);
	mem_free((void *)s.ptr);
	return err;
}

static int hash_of(const struct json *o, const char *name, struct hash *out, struct errmsg *m)
{
	return fixed_hex(json_get(o, name), name, out->b, HASH_SIZE, m);
}

static int u64_of(const struct json *o, const char *name, uint64_t *out, struct errmsg *m)
{
	return json_read_u64(o, name, out) ? bad(m, name, "must be a number") : ERR_NONE;
}

/* name or name_hex: exactly one, and hex only for what is not text. *null: name is null. */
static int bytes_of(const struct json *o, const char *name, bool hex_only, size_t max,
		    struct slice *out, bool *null, struct errmsg *m)
{
	char hex_name[32];
	const char *text;
	snprintf(hex_name, sizeof(hex_name), "%s_hex", name);
	const struct json *v = json_get(o, name), *hex = json_get(o, hex_name);
	*null = false;
	if (!v == !hex)
		return err_set(m, ERR_SYNTAX, "there must be either %s or %s", name, hex_name);
	if (hex) {
		int err = hex_of(hex, hex_name, max, out, m);
		if (!err && !hex_only && is_text(*out))
			err = err_set(m, ERR_NONCANONICAL, "%s: is text, so it must be %s",
				      hex_name, name);
		return err;
	}
	*null = json_is_null(v);
	if (*null)
		return ERR_NONE;
	if (hex_only || json_as_string(v, &text))
		return bad(m, name, "must be a string");
	size_t len = strlen(text);
	if (len > max)
		return err_set(m, ERR_LIMIT, "%s: longer than %zu bytes", name, max);
	*out = slice_of(mem_dup(text, len), len);
	return ERR_NONE;
}

static int parse_headers(struct certified_header *ch, const struct json *a, struct errmsg *m)
{
	uint8_t bytes[SIGNED_HEADER_SIZE];
	size_t count = json_len(a);
	if (!json_is_array(a) || count == 0 || count > CERTIFIED_HEADERS_MAX)
		return err_set(m, ERR_SYNTAX, "headers: must be an array of 1 to %u headers",
			       CERTIFIED_HEADERS_MAX);
	ch->headers = mem_array(count, sizeof(*ch->headers));
	ch->count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		struct reader r;
		char name[32];
		snprintf(name, sizeof(name), "headers[%zu]", i);
		int err = fixed_hex(json_at(a, i), name, bytes, sizeof(bytes), m);
		if (err)
			return err;
		reader_init(&r, slice_of(bytes, sizeof(bytes)));
		signed_header_decode(&r, &ch->headers[i]);
		err = reader_finish(&r);
		if (err)
			return err_set(m, err, "%s: %s", name, err_text(err));
	}
	return ERR_NONE;
}

static int parse_signers(struct cert *c, const struct json *signers,
			 const struct json *signatures, struct errmsg *m)
{
	size_t count = json_len(signers);
	uint64_t last = 0;
	if (!json_is_array(signers) || count == 0 || count > VALIDATORS_MAX)
		return bad(m, "certificate.signers", "must be an array of validators' numbers");
	if (!json_is_array(signatures) || json_len(signatures) != count)
		return err_set(m, ERR_SYNTAX, "certificate: %zu signers, but %zu signatures",
			       count, json_len(signatures));
	for (size_t i = 0; i < count; i++) {
		uint64_t signer;
		if (json_as_u64(json_at(signers, i), &signer) || signer >= VALIDATORS_MAX)
			return bad(m, "certificate.signers", "must be validators' numbers");
		if (c->signers >> signer & 1)
			return err_set(m, ERR_DUPLICATE_SIGNER,
				       "certificate: validator %u signs twice",
				       (unsigned)signer);
		if (i && signer < last)
			return bad(m, "certificate.signers", "must ascend");
		last = signer;
		c->signers |= UINT64_C(1) << signer;
		int err = fixed_hex(json_at(signatures, i), "certificate.signatures",
				    c->sig[i].b, SIGNATURE_SIZE, m);
		if (err)
			return err;
		c->count++;
	}
	return ERR_NONE;
}

static int parse_cert(struct cert *c, const struct json *o, struct errmsg *m)
{
	const char *grade;
	if (!o)
		return bad(m, "certificate", "is missing");
	if (json_is_null(o))
		return ERR_NONE;
	if (!json_is_object(o))
		return bad(m, "certificate", "must be an object or null");
	int err = only_members(o, cert_members, m);
	if (err)
		return err;
	if (json_read_string(o, "grade", &grade))
		return bad(m, "certificate.grade", "must be a string");
	if (strcmp(grade, cert_kind_name(CERT_ONE_ROUND)) == 0)
		c->kind = CERT_ONE_ROUND;
	else if (strcmp(grade, cert_kind_name(CERT_TWO_ROUND)) == 0)
		c->kind = CERT_TWO_ROUND;
	else
		return bad(m, "certificate.grade", "must be one_round or two_round");
	err = u64_of(o, "term", &c->ref.term, m);
	if (!err)
		err = u64_of(o, "height", &c->ref.height, m);
	if (!err)
		err = hash_of(o, "hash", &c->ref.hash, m);
	if (!err)
		err = parse_signers(c, json_get(o, "signers"), json_get(o, "signatures"), m);
	return err;
}

/* A hash in the document that must be that of something else in it. */
static int same_hash(const struct json *o, const char *name, const struct hash *want,
		     const char *of, struct errmsg *m)
{
	struct hash h;
	int err = hash_of(o, name, &h, m);
	if (!err && !hash_equal(&h, want))
		err = err_set(m, ERR_BAD_HASH, "%s is not that of the %s", name, of);
	return err;
}

static int parse_key(struct proof_document *d, const struct json *o, struct errmsg *m)
{
	const char *ns;
	struct slice key = {0};
	struct writer w = {0};
	struct hash h;
	size_t i = 0, len;
	bool null;

	if (json_read_string(o, "namespace", &ns))
		return bad(m, "namespace", "must be a string");
	while (i < MEM_COUNT(namespaces) && strcmp(namespaces[i].name, ns) != 0)
		i++;
	if (i == MEM_COUNT(namespaces))
		return bad(m, "namespace", "must be user, account, nonce or system");
	int err = bytes_of(o, "key", false, STATE_KEY_MAX - 1, &key, &null, m);
	if (err) {
		mem_free((void *)key.ptr);
		return err;
	}
	if (null)
		return bad(m, "key", "must be a string");
	writer_u8(&w, namespaces[i].ns);
	writer_raw(&w, key.ptr, key.len);
	mem_free((void *)key.ptr);
	d->state_key.ptr = writer_take(&w, &len);
	d->state_key.len = len;
	tree_key(&h, d->state_key);
	return same_hash(o, "key_hash", &h, "key", m);
}

static int parse_value(struct proof_document *d, const struct json *o, struct errmsg *m)
{
	struct hash h;
	bool null;
	bool hex_only = d->state_key.ptr[0] != STATE_NS_USER;
	int err = bytes_of(o, "value", hex_only, STATE_VALUE_MAX, &d->value, &null, m);
	if (err)
		return err;
	d->present = !null;
	if (d->present) {
		tree_value_hash(&h, d->value);
		return same_hash(o, "value_hash", &h, "value", m);
	}
	const struct json *v = json_get(o, "value_hash");
	return v && json_is_null(v) ? ERR_NONE
				    : err_set(m, ERR_BAD_PROOF,
					      "value is null, but value_hash says that there "
					      "is one");
}

static int parse_state(struct proof_document *d, const struct json *o, struct errmsg *m)
{
	int err = only_members(o, state_members, m);
	if (!err)
		err = parse_key(d, o, m);
	if (!err)
		err = parse_value(d, o, m);
	if (!err)
		err = same_hash(o, "state_root", &d->ch.headers[0].h.state_root,
				"header at that height", m);
	if (!err)
		err = hex_of(json_get(o, "proof"), "proof", STATE_PROOF_SIZE_MAX, &d->proof, m);
	return err;
}

static int parse_result(enum tx_result *out, const struct json *o, struct errmsg *m)
{
	static const enum tx_result all[] = {TX_OK, TX_FAILED_CAS, TX_FAILED_FUNDS,
					     TX_FAILED_OVERFLOW, TX_FAILED_NOT_FOUND};
	const char *name;
	if (json_read_string(o, "result", &name))
		return bad(m, "result", "must be a string");
	for (size_t i = 0; i < MEM_COUNT(all); i++) {
		if (strcmp(tx_result_name(all[i]), name) != 0)
			continue;
		*out = all[i];
		return ERR_NONE;
	}
	return bad(m, "result", "is not a result of a transaction");
}

static int parse_tx(struct proof_document *d, const struct json *o, struct errmsg *m)
{
	const struct json *path = json_get(o, "path");
	struct hash id;
	int err = only_members(o, tx_members, m);
	if (!err)
		err = hex_of(json_get(o, "tx"), "tx", SYSTEM_TX_SIZE_MAX, &d->tx, m);
	if (err)
		return err;
	tx_id(&id, d->tx);
	err = same_hash(o, "id", &id, "transaction", m);
	if (!err)
		err = parse_result(&d->result, o, m);
	if (!err)
		err = u64_of(o, "index", &d->path.index, m);
	if (!err)
		err = u64_of(o, "count", &d->path.count, m);
	if (err)
		return err;
	if (!json_is_array(path) || json_len(path) > MERKLE_PATH_MAX)
		return err_set(m, ERR_SYNTAX, "path: must be an array of at most %d hashes",
			       MERKLE_PATH_MAX);
	for (; !err && d->path.len < json_len(path); d->path.len++)
		err = fixed_hex(json_at(path, d->path.len), "path",
				d->path.sibling[d->path.len].b, HASH_SIZE, m);
	return err;
}

/* chain_id and height are those of the headers. */
static int parse_common(struct proof_document *d, const struct json *o, struct errmsg *m)
{
	struct hash chain;
	uint64_t height;
	int err = parse_headers(&d->ch, json_get(o, "headers"), m);
	if (!err)
		err = parse_cert(&d->ch.cert, json_get(o, "certificate"), m);
	if (!err)
		err = hash_of(o, "chain_id", &chain, m);
	if (!err)
		err = u64_of(o, "height", &height, m);
	if (err)
		return err;
	const struct header *h = &d->ch.headers[0].h;
	if (!hash_equal(&chain, &h->chain))
		return err_set(m, ERR_WRONG_CHAIN,
			       "chain_id is not that of the header: one of them is another "
			       "chain's");
	if (height != h->height)
		return err_set(m, ERR_BAD_LINK, "height says %llu, its header says %llu",
			       (unsigned long long)height, (unsigned long long)h->height);
	return ERR_NONE;
}

static int parse_document(struct proof_document *d, const struct json *o, struct errmsg *m)
{
	const char *kind;
	if (!json_is_object(o) || json_read_string(o, "kind", &kind))
		return err_set(m, ERR_SYNTAX, "not a proof: there is no \"kind\"");
	bool is_state = strcmp(kind, "state") == 0;
	if (!is_state && strcmp(kind, "transaction") != 0)
		return bad(m, "kind", "must be state or transaction");
	d->kind = is_state ? PROOF_STATE : PROOF_TX;
	int err = parse_common(d, o, m);
	if (err)
		return err;
	return is_state ? parse_state(d, o, m) : parse_tx(d, o, m);
}

int proof_document_parse(struct proof_document *d, struct slice json, struct errmsg *m)
{
	struct json *o;
	proof_document_init(d);
	if (json.len > DOCUMENT_SIZE_MAX)
		return err_set(m, ERR_LIMIT, "longer than %u bytes", DOCUMENT_SIZE_MAX);
	int err = json_parse(&o, json, m);
	if (err)
		return err;
	err = parse_document(d, o, m);
	json_free(o);
	if (err)
		proof_document_free(d);
	return err;
}
