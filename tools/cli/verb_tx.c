/* tx submit | status | wait | decode */
#include <string.h>

#include "base/mem.h"
#include "tools/cli/bulk.h"
#include "tools/cli/client.h"
#include "tools/cli/lines.h"
#include "tools/cli/verbs.h"
#include "tools/cli/write.h"

/* ---- reading a transaction file -------------------------------------------------------- */

/* Text files hold hex digits, or JSON with them as "bytes" or "tx". In place. */
static size_t unhex(uint8_t *buf, size_t len)
{
	size_t digits = 0;

	while (digits < len && ((buf[digits] >= '0' && buf[digits] <= '9') ||
				(buf[digits] >= 'a' && buf[digits] <= 'f') ||
				(buf[digits] >= 'A' && buf[digits] <= 'F')))
		digits++;
	for (size_t i = digits; i < len; i++)
		if (buf[i] != '\n' && buf[i] != '\r' && buf[i] != ' ')
			return len;
	if (digits == 0 || digits % 2 != 0)
		return len;
	for (size_t i = 0; i < digits / 2; i++) {
		char two[3] = {(char)buf[2 * i], (char)buf[2 * i + 1], 0};
		if (hex_decode(&buf[i], 1, two) != ERR_NONE)
			return len;
	}
	return digits / 2;
}

static const char transaction_hint[] = "It must hold a signed transaction: its bytes, as "
				       "`ostrakon put --save` writes them, their "
				       "hex digits, or what --no-send -o json prints.";

static size_t unwrap_json(uint8_t *buf, size_t len)
{
	struct json *doc;
	const char *hex;

	if (len == 0 || buf[0] != '{' || json_parse(&doc, slice_of(buf, len), NULL) != ERR_NONE)
		return len;
	if ((json_read_string(doc, "bytes", &hex) == ERR_NONE ||
	     json_read_string(doc, "tx", &hex) == ERR_NONE) &&
	    strlen(hex) <= len) {
		len = strlen(hex);
		memcpy(buf, hex, len);
	}
	json_free(doc);
	return len;
}

static int read_transaction(struct cli *c, uint8_t **out, size_t *len)
{
	struct errmsg m;
	int err = file_read(out, len, c->opt.arg[0], 4 * TX_SIZE_MAX, &m);

	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	*len = unwrap_json(*out, *len);
	*len = unhex(*out, *len);
	return EXIT_DONE;
}

/* ---- decode ---------------------------------------------------------------------------- */

static struct json *op_json(const struct op *op)
{
	static const char *const names[] = {[OP_PUT] = "put",
					    [OP_DELETE] = "del",
					    [OP_CAS] = "cas",
					    [OP_TRANSFER] = "transfer"};
	struct json *o = json_object();

	json_set(o, "op", json_string(names[op->kind]));
	switch (op->kind) {
	case OP_PUT:
		json_set_bytes(o, "key", op->key);
		json_set_bytes(o, "value", op->value);
		break;
	case OP_DELETE:
		json_set_bytes(o, "key", op->key);
		break;
	case OP_CAS:
		json_set_bytes(o, "key", op->key);
		if (op->expect_present)
			json_set_bytes(o, "expected", op->expected);
		else
			json_set(o, "expected", json_null());
		json_set_bytes(o, "value", op->value);
		break;
	case OP_TRANSFER:
		json_set(o, "to", json_hex(op->to.b, PUBKEY_SIZE));
		json_set(o, "amount", json_said(op->amount));
		break;
	}
	return o;
}

static struct json *tx_json(const struct tx *tx, const struct hash *chain, bool good)
{
	struct json *o = json_object(), *ops = json_array();
	struct reader r;
	struct hash id;
	struct op op;

	tx_id(&id, tx->bytes);
	json_set(o, "tx", json_hash(&id));
	json_set(o, "chain_id", json_hash(chain));
	json_set(o, "sender", json_hex(tx->sender.b, PUBKEY_SIZE));
	json_set(o, "nonce", json_said(tx->nonce));
	json_set(o, "expiry", json_said(tx->expiry));
	json_set(o, "size", json_u64(tx->bytes.len));
	reader_init(&r, tx->ops);
	while (tx_op_next(&r, &op))
		json_append(ops, op_json(&op));
	json_set(o, "operations", ops);
	json_set(o, "signature", json_hex(tx->sig.b, SIGNATURE_SIZE));
	json_set(o, "signature_valid", json_bool(good));
	return o;
}

/* Without a genesis: the chain is the one that the transaction names, the limits the widest. */
static void widest_chain(struct slice bytes, struct chain_ctx *ctx,
			 struct genesis_limits *limits)
{
	memset(ctx, 0, sizeof *ctx);
	ctx->scheme = SIG_ED25519;
	if (bytes.len >= 2 + HASH_SIZE)
		memcpy(ctx->id.b, bytes.ptr + 2, HASH_SIZE); /* after the version */
	*limits = (struct genesis_limits){.tx_size_max = TX_SIZE_MAX,
					  .key_size_max = STATE_KEY_MAX - 1,
					  .value_size_max = TX_SIZE_MAX,
					  .tx_ops_max = 4096};
}

static int decode_bytes(struct cli *c, struct slice bytes)
{
	const char *genesis = c->opt.value[OPT_GENESIS];
	char dir[PATH_SIZE], path[PATH_SIZE + 32];
	struct genesis_limits limits;
	struct chain_ctx ctx;
	struct genesis g;
	struct errmsg m;
	struct tx tx;
	bool good;
	int err;

	if (genesis == NULL && home_check(c) != EXIT_DONE)
		return EXIT_CONFIG;
	if (genesis == NULL && opt_given(&c->opt, OPT_HOME) && network_directory(c, dir)) {
		snprintf(path, sizeof path, "%s/genesis.json", dir);
		genesis = path;
	}
	if (genesis != NULL) {
		if (genesis_read(&g, genesis, &m) != ERR_NONE)
			return cli_fail(c, EXIT_CONFIG, "config", NULL, "genesis file %s: %s",
					genesis, m.text);
		genesis_ctx(&ctx, &g);
		limits = g.limits;
		ctx.before = NULL; /* it goes with g, and clients have no sets */
		genesis_free(&g);
	} else {
		widest_chain(bytes, &ctx, &limits);
	}
	err = tx_decode(&tx, bytes, &ctx, &limits);
	if (err != ERR_NONE)
		return cli_fail(c, err == ERR_WRONG_CHAIN ? EXIT_UNVERIFIED : EXIT_REFUSED,
				err_name(err), transaction_hint,
				"%s is no valid transaction: %s", c->opt.arg[0], err_text(err));
	good = tx_check_signature(&tx, &ctx) == ERR_NONE;
	out_object(c, tx_json(&tx, &ctx.id, good));
	if (!good) {
		fprintf(c->err, "ostrakon: the signature is false\n");
		return EXIT_UNVERIFIED;
	}
	return EXIT_DONE;
}

int verb_tx_decode(struct cli *c)
{
	uint8_t *buf;
	size_t len;
	int rc = read_transaction(c, &buf, &len);

	if (rc != EXIT_DONE)
		return rc;
	rc = decode_bytes(c, slice_of(buf, len));
	mem_free(buf);
	return rc;
}

/* ---- submit ---------------------------------------------------------------------------- */

int verb_tx_submit(struct cli *c)
{
	const char *wait = c->opt.value[OPT_WAIT];
	bool wait_committed = wait == NULL || strcmp(wait, "committed") == 0;
	struct target *t = mem_zalloc(sizeof *t);
	struct submission s = {0};
	uint8_t *buf = NULL;
	struct hash id;
	struct link l;
	struct tx tx;
	size_t len;
	int err, rc = target_open(c, t, true);

	if (rc == EXIT_DONE)
		rc = read_transaction(c, &buf, &len);
	if (rc == EXIT_DONE) {
		s.tx = slice_of(buf, len);
		err = tx_decode(&tx, s.tx, &t->ctx, &t->genesis.limits);
		if (err == ERR_NONE)
			err = tx_check_signature(&tx, &t->ctx);
		if (err != ERR_NONE)
			rc = cli_fail(c, EXIT_REFUSED, err_name(err),
				      err == ERR_BAD_SIGNATURE || err == ERR_WRONG_CHAIN
					      ? "Nothing was sent."
					      : transaction_hint,
				      "%s is no valid transaction of this chain: %s",
				      c->opt.arg[0], err_text(err));
	}
	if (rc == EXIT_DONE) {
		tx_id(&id, s.tx);
		cli_announce_tx(c, &id);
		link_open(&l, t, 0);
		submit(&l, &s, 1, c->deadline, wait_committed, false);
		rc = report_receipt(c, t, &s.r);
		link_close(&l);
	}
	mem_free(buf);
	target_close(t);
	mem_free(t);
	return rc;
}

/* ---- status, wait ---------------------------------------------------------------------- */

enum standing { STANDING_COMMITTED, STANDING_PENDING, STANDING_ABSENT, STANDING_FAILED };

static void show_standing(struct cli *c, struct link *l, const struct receipt *r)
{
	const struct json *proof = json_get(l->answer, "proof");
	struct json *o = receipt_json(l->t, &c->tx, r);
	char *text;

	if (!opt_given(&c->opt, OPT_PROVE)) {
		out_object(c, o);
		return;
	}
	json_set(o, "proof", json_copy(proof));
	target_add_handovers(l->t, o);
	struct json *offline = target_offline(l->t, proof);
	text = json_dump(offline, true);
	json_free(offline);
	out_text(c, text, o);
	mem_free(text);
}

/* Asks once: one node that answers, the next one at the next call, if that is a wait; else all.
 * COMMITTED: shown, *rc is the exit code; FAILED: that has been printed. quiet: no node there
 * counts as not yet. */
static enum standing ask_once(struct cli *c, struct link *l, const char *path, bool wait,
			      bool quiet, int *rc)
{
	struct proof_document doc;
	struct receipt r = {.fate = FATE_COMMITTED};
	const char *status = "";
	struct hash id;
	struct errmsg m;
	int err = wait ? link_get(l, path) : link_get_tx(l, path);

	if (err != ERR_NONE && quiet)
		return STANDING_PENDING;
	if (err != ERR_NONE) {
		*rc = link_unreachable(l, err);
		return STANDING_FAILED;
	}
	if (l->reply.status == 404)
		return STANDING_ABSENT;
	json_read_string(l->answer, "status", &status);
	if (l->reply.status == 200 &&
	    (strcmp(status, "pending") == 0 || strcmp(status, "accepted") == 0))
		return STANDING_PENDING;
	if (l->reply.status == 200 && strcmp(status, "committed") != 0) {
		if (link_pass_over(l, l->node, "its answer is not a node's"))
			return ask_once(c, l, path, wait, quiet, rc);
		*rc = cli_fail(c, EXIT_REFUSED, "syntax", "Ask another node with --node.",
			       "%s gives no status of a transaction", l->t->url[l->node]);
		return STANDING_FAILED;
	}
	if (l->reply.status != 200) {
		*rc = link_fail(l);
		return STANDING_FAILED;
	}
	err = target_proven_tx(l->t, json_get(l->answer, "proof"), &doc, &m);
	if (err == ERR_NONE) {
		tx_id(&id, doc.tx);
		if (!hash_equal(&id, &c->tx))
			err = err_set(&m, ERR_BAD_PROOF, "the proof is of another transaction");
	}
	if (err != ERR_NONE && !target_unproven_so_far(err) &&
	    link_pass_over(l, l->node, m.text)) {
		proof_document_free(&doc);
		return ask_once(c, l, path, wait, quiet, rc); /* once for each liar */
	}
	if (target_unproven_so_far(err)) {
		*rc = cli_fail(c, EXIT_UNKNOWN, err_name(err),
			       "What proves the validators of that block was not to be had in "
			       "time: try again, with a longer --timeout.",
			       "%s: %s", l->t->url[l->node], m.text);
	} else if (err != ERR_NONE) {
		*rc = cli_fail(c, EXIT_UNVERIFIED, err_name(err), "Do not trust this node.",
			       "%s says committed, but %s", l->t->url[l->node], m.text);
	} else {
		r.height = doc.ch.headers[0].h.height;
		r.term = doc.ch.headers[0].h.term;
		r.time_ms = doc.ch.headers[0].h.time_ms;
		r.index = doc.path.index;
		r.result = doc.result;
		r.grade = target_proves(l->t) ? doc.ch.cert.kind : CERT_CRASH;
		r.signers = doc.ch.cert.signers;
		show_standing(c, l, &r);
		*rc = EXIT_DONE;
	}
	proof_document_free(&doc);
	return err == ERR_NONE ? STANDING_COMMITTED : STANDING_FAILED;
}

static int stand(struct cli *c, bool wait)
{
	struct target *t = mem_zalloc(sizeof *t);
	char path[128], hint[160];
	enum standing s = STANDING_ABSENT;
	bool answered = false;
	struct link l;
	int rc = target_open(c, t, true);

	if (rc != EXIT_DONE)
		goto done;
	if (strlen(c->opt.arg[0]) != 2 * HASH_SIZE ||
	    hex_decode(c->tx.b, HASH_SIZE, c->opt.arg[0]) != ERR_NONE) {
		rc = cli_usage(c, "\"%s\" is no transaction id: 64 hex digits", c->opt.arg[0]);
		goto done;
	}
	c->has_tx = true;
	snprintf(path, sizeof path, "/v1/transactions/%s?prove=1", c->opt.arg[0]);
	link_open(&l, t, 0);
	for (;;) {
		s = ask_once(c, &l, path, wait, wait && cli_time_left(c) > 0, &rc);
		if (!wait || s == STANDING_COMMITTED || s == STANDING_FAILED ||
		    cli_time_left(c) == 0 || interrupted())
			break;
		answered = answered || s == STANDING_ABSENT || l.answer != NULL;
		link_next(&l);
		sleep_ms(cli_time_left(c) < 100 ? cli_time_left(c) : 100);
		if (answered && cli_time_left(c) == 0)
			break; /* it is not for want of a node */
	}
	link_close(&l);
	snprintf(hint, sizeof hint, "`ostrakon tx wait %.64s` waits for it.", c->opt.arg[0]);
	if (s == STANDING_COMMITTED || s == STANDING_FAILED)
		goto done;
	if (interrupted())
		rc = cli_fail(c, EXIT_INTERRUPTED, "interrupted", NULL, "interrupted");
	else if (wait)
		rc = cli_fail(c, EXIT_UNKNOWN, "timeout",
			      "Sending the same signed bytes again is safe.",
			      "not committed after %llu ms: outcome unknown",
			      (unsigned long long)c->timeout_ms);
	else if (s == STANDING_PENDING) {
		struct json *o = json_object();
		json_set(o, "tx", json_hash(&c->tx));
		json_set(o, "status", json_string("pending"));
		out_object(c, o);
		cli_hint(c, "%s", hint);
		rc = EXIT_DONE;
	} else
		rc = cli_fail(
			c, EXIT_NOT_FOUND, "not_found", hint,
			t->count > 1 ? "no node that answers has transaction %s; it may be on "
				       "its way to them"
				     : "this node has no transaction %s; it may be on its way "
				       "from another",
			c->opt.arg[0]);
done:
	target_close(t);
	mem_free(t);
	return rc;
}

int verb_tx_status(struct cli *c)
{
	if (opt_given(&c->opt, OPT_FROM))
		return c->opt.arg_count > 0
			       ? cli_usage(c, "`tx status` takes ID or --from FILE, not both")
			       : bulk_tx_status(c);
	if (c->opt.arg_count == 0)
		return cli_usage(c, "`tx status` needs ID, or --from FILE");
	return stand(c, false);
}

int verb_tx_wait(struct cli *c)
{
	return stand(c, true);
}
