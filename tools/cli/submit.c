/* Submitting a signed transaction until its fate is certain.
 *
 * A node's "committed" counts only with a proof. A node's "refused" ends it, since the chain's
 * nonces make it definite: a nonce that another transaction has used never comes back. All
 * else (no answer, busy, pending) leaves the outcome open, and the same bytes are sent again,
 * to the next node if this one does not answer. */
#include <string.h>

#include "base/mem.h"
#include "tools/cli/client.h"

#define TRY_MS	     4000 /* what a node is given to commit, before another is asked */
#define PAUSE_MIN_MS 20
#define PAUSE_MAX_MS 1000

struct attempt {
	struct link *l;
	struct slice tx;
	uint64_t deadline;
	bool wait_committed, keep_proof;
	bool maybe_sent; /* some node may have taken it */
	uint64_t pause;
	struct receipt *r;
};

static uint64_t left_until(uint64_t deadline)
{
	uint64_t now = now_ms();

	return deadline > now ? deadline - now : 0;
}

/* Full jitter (exponential backoff): 0 to the doubling cap. */
static void pause_before_retry(struct attempt *a, uint64_t at_least)
{
	uint64_t left = left_until(a->deadline), ms;
	uint32_t r;

	crypto_random(&r, sizeof r);
	ms = at_least + r % (a->pause + 1);
	a->pause = a->pause * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : a->pause * 2;
	sleep_ms(ms < left ? ms : left);
}

static bool end_with(struct attempt *a, enum fate fate)
{
	a->r->fate = fate;
	return true;
}

static bool unverified(struct attempt *a, int err, const char *why)
{
	snprintf(a->r->code, sizeof a->r->code, "%s", err_name(err));
	err_set(&a->r->m, err, "%s says committed, but %s", a->l->t->url[a->l->node], why);
	return end_with(a, FATE_UNVERIFIED);
}

static bool committed(struct attempt *a, const struct json *answer)
{
	const struct json *proof = json_get(answer, "proof");
	struct target *t = a->l->t;
	struct receipt *r = a->r;
	struct proof_document doc;
	const char *result;
	uint64_t height;
	struct errmsg m;
	int err;

	proof_document_init(&doc);
	err = target_check_tx(t, proof, a->tx, &doc, &m);
	if (err == ERR_NONE && a->keep_proof)
		err = proof_document_check(&doc, &t->genesis, &m);
	if (err == ERR_NONE &&
	    (json_read_u64(answer, "height", &height) != ERR_NONE ||
	     height != doc.ch.headers[0].h.height ||
	     json_read_string(answer, "result", &result) != ERR_NONE ||
	     strcmp(result, tx_result_name(doc.result)) != 0))
		err = err_set(&m, ERR_BAD_PROOF, "its proof says otherwise than its answer");
	if (err != ERR_NONE) {
		proof_document_free(&doc);
		return unverified(a, err, m.text);
	}
	r->height = doc.ch.headers[0].h.height;
	r->term = doc.ch.headers[0].h.term;
	r->time_ms = doc.ch.headers[0].h.time_ms;
	r->index = doc.path.index;
	r->result = doc.result;
	r->grade = doc.ch.cert.kind;
	r->signers = doc.ch.cert.signers;
	if (a->keep_proof)
		r->proof = json_copy(proof);
	proof_document_free(&doc);
	return end_with(a, FATE_COMMITTED);
}

static bool refused(struct attempt *a)
{
	struct link *l = a->l;

	snprintf(a->r->code, sizeof a->r->code, "%s", l->error_code);
	snprintf(a->r->hint, sizeof a->r->hint, "%s", l->error_hint);
	a->r->m = l->m;
	/* Too far ahead of a node's window: it may be behind, and another may have taken it. */
	if (strcmp(l->error_code, "tx_nonce_window") == 0 && a->maybe_sent)
		return false;
	return end_with(a, FATE_REFUSED);
}

/* True when the fate is known. */
static bool judge_answer(struct attempt *a)
{
	struct link *l = a->l;
	const char *status = "";

	switch (l->reply.status) {
	case 200:
	case 202:
		a->maybe_sent = true;
		if (json_read_string(l->answer, "status", &status) != ERR_NONE)
			break;
		if (strcmp(status, "committed") == 0)
			return committed(a, l->answer);
		if (strcmp(status, "accepted") == 0 && !a->wait_committed)
			return end_with(a, FATE_ACCEPTED);
		return false; /* pending: ask again */
	case 429:
		snprintf(a->r->code, sizeof a->r->code, "busy");
		a->r->m = l->m;
		pause_before_retry(a, l->reply.retry_after_ms > 1000 ? 1000
								     : l->reply.retry_after_ms / 4);
		return false;
	case 503:
		a->r->m = l->m;
		if (strcmp(l->error_code, "timeout") == 0)
			a->maybe_sent = true;
		l->node = (l->node + 1) % l->t->count;
		pause_before_retry(a, 0);
		return false;
	default:
		if (l->reply.status >= 400 && l->reply.status < 500)
			return refused(a);
		if (l->reply.status >= 500) {
			a->maybe_sent = true;
			a->r->m = l->m;
			l->node = (l->node + 1) % l->t->count;
			pause_before_retry(a, 0);
			return false;
		}
		break;
	}
	err_set(&a->r->m, ERR_SYNTAX, "%s does not answer as a node would", l->t->url[l->node]);
	snprintf(a->r->code, sizeof a->r->code, "malformed_answer");
	return end_with(a, FATE_UNVERIFIED);
}

static int send_once(struct attempt *a, const char *body)
{
	uint64_t left = left_until(a->deadline), server_ms;
	char path[128];

	server_ms = left < TRY_MS ? left : TRY_MS;
	snprintf(path, sizeof path, "/v1/transactions?wait=%s&timeout=%llu%s",
		 a->wait_committed ? "committed" : "accepted", (unsigned long long)server_ms,
		 a->wait_committed ? "&prove=1" : "");
	return link_call(a->l, a->l->node, "POST", path, "application/json", slice_str(body),
			 server_ms + 500);
}

void submit(struct link *l, struct slice tx, uint64_t deadline, bool wait_committed,
	    bool keep_proof, struct receipt *r)
{
	struct attempt a = {.l = l,
			    .tx = tx,
			    .deadline = deadline,
			    .wait_committed = wait_committed,
			    .keep_proof = keep_proof,
			    .pause = PAUSE_MIN_MS,
			    .r = r};
	char *hex = mem_alloc(2 * tx.len + 1), *body;
	uint64_t start = now_us();
	unsigned unreachable = 0; /* in a row */

	memset(r, 0, sizeof *r);
	hex_encode(hex, tx.ptr, tx.len);
	body = mem_printf("{\"tx\":\"%s\"}", hex);
	mem_free(hex);
	for (;;) {
		int err;

		if (interrupted()) {
			r->fate = FATE_INTERRUPTED;
			break;
		}
		if (left_until(deadline) == 0) {
			r->fate = a.maybe_sent			  ? FATE_UNKNOWN
				  : strcmp(r->code, "busy") == 0 ? FATE_REFUSED
								 : FATE_UNSENT;
			break;
		}
		err = send_once(&a, body);
		if (err == ERR_NONE) {
			unreachable = 0;
			if (judge_answer(&a))
				break;
			continue;
		}
		r->m = l->m;
		if (err == ERR_SYNTAX || err == ERR_LIMIT) {
			r->fate = err == ERR_SYNTAX ? FATE_UNSENT : FATE_UNVERIFIED;
			break;
		}
		if (err != ERR_UNREACHABLE)
			a.maybe_sent = true;
		l->node = (l->node + 1) % l->t->count;
		if (++unreachable >= l->t->count) {
			/* Nobody there and nothing ever sent: no use to wait for that. */
			if (!a.maybe_sent) {
				r->fate = FATE_UNSENT;
				break;
			}
			pause_before_retry(&a, 100);
		}
	}
	mem_free(body);
	r->latency_us = now_us() - start;
}

bool receipt_wants_new_nonce(const struct receipt *r)
{
	return r->fate == FATE_REFUSED && (strcmp(r->code, "tx_nonce_used") == 0 ||
					   strcmp(r->code, "tx_nonce_window") == 0);
}

/* ---- telling --------------------------------------------------------------------------- */

struct json *receipt_json(const struct target *t, const struct hash *id,
			  const struct receipt *r)
{
	struct json *o = json_object(), *signers;

	json_set(o, "tx", json_hash(id));
	json_set(o, "status",
		 json_string(r->fate == FATE_COMMITTED ? "committed" : "accepted"));
	if (r->fate == FATE_COMMITTED) {
		json_set(o, "result", json_string(tx_result_name(r->result)));
		json_set(o, "height", json_u64(r->height));
		json_set(o, "index", json_u64(r->index));
		json_set(o, "term", json_u64(r->term));
		json_set(o, "time_ms", json_u64(r->time_ms));
		json_set(o, "grade", json_string(cert_kind_name(r->grade)));
		signers = json_array();
		for (unsigned i = 0; i < t->genesis.n; i++)
			if (r->signers >> i & 1)
				json_append(signers, json_string(t->genesis.validator[i].name));
		json_set(o, "signers", signers);
	}
	json_set(o, "latency_ms", json_real((double)r->latency_us / 1000));
	return o;
}

static int fail_unknown(struct cli *c, const struct hash *id, bool was_interrupted)
{
	char hex[HASH_HEX_SIZE], hint[256];

	snprintf(hint, sizeof hint,
		 "It may still take effect. `ostrakon tx wait %s` tells; sending the same signed "
		 "bytes again is safe.",
		 hash_hex(hex, id));
	if (was_interrupted)
		return cli_fail(c, EXIT_INTERRUPTED, "interrupted", hint,
				"interrupted: outcome unknown");
	return cli_fail(c, EXIT_UNKNOWN, "timeout", hint,
			"timed out after %llu ms: outcome unknown",
			(unsigned long long)c->timeout_ms);
}

static int fail_result(struct cli *c, const struct receipt *r)
{
	switch (r->result) {
	case TX_OK:
		break;
	case TX_FAILED_CAS:
		return cli_fail(c, EXIT_REFUSED, "failed_cas", "`ostrakon get` shows what is there.",
				"the key does not have the expected value; nothing was changed");
	case TX_FAILED_FUNDS:
		return cli_fail(c, EXIT_REFUSED, "failed_funds",
				"`ostrakon balance` shows what there is.",
				"the balance is too low; nothing was changed");
	case TX_FAILED_OVERFLOW:
		return cli_fail(c, EXIT_REFUSED, "failed_overflow", NULL,
				"the receiver's balance would overflow; nothing was changed");
	case TX_FAILED_NOT_FOUND:
		return cli_fail(c, EXIT_NOT_FOUND, "failed_not_found", NULL,
				"there is no such key; nothing was changed");
	}
	invariant(!"a result that failed");
}

int receipt_fail(struct cli *c, const struct receipt *r, const struct hash *id)
{
	switch (r->fate) {
	case FATE_COMMITTED:
		return fail_result(c, r);
	case FATE_ACCEPTED:
		break;
	case FATE_REFUSED:
		return cli_fail(c, EXIT_REFUSED, r->code, r->hint[0] ? r->hint : NULL,
				"refused: %s", r->m.text);
	case FATE_UNSENT:
		return cli_fail(c, EXIT_UNREACHABLE, "unreachable",
				"Nothing was sent. `ostrakon net status` shows which nodes run.",
				"no node takes the transaction; the last: %s", r->m.text);
	case FATE_UNKNOWN:
		return fail_unknown(c, id, false);
	case FATE_INTERRUPTED:
		return fail_unknown(c, id, true);
	case FATE_UNVERIFIED:
		return cli_fail(c, EXIT_UNVERIFIED, r->code[0] ? r->code : "bad_proof",
				"Do not trust this node. Ask another with --node.", "%s", r->m.text);
	}
	invariant(!"a fate that failed");
}
