/* Submitting signed transactions until their fate is certain.
 *
 * A node's "committed" counts only with a proof. A node's "refused" ends it, since the chain's
 * nonces make it definite: a nonce that another transaction has used never comes back. All
 * else (no answer, busy, pending) leaves the outcome open, and the same bytes are sent again,
 * to the next node if this one does not answer. */
#include <string.h>

#include "base/mem.h"
#include "tools/cli/client.h"
#include "tools/cli/write.h"

#define TRY_MS	     4000 /* what a node is given to commit, before another is asked */
#define ANSWER_MS    500  /* and then to say that it has not */
#define PAUSE_MIN_MS 20
#define PAUSE_MAX_MS 1000

#define NONCE_DOUBTS   3 /* answers that a nonce is used up, before that is believed */
#define NONCE_DOUBT_MS 100

struct attempt {
	struct link *l;
	struct submission *s;
	size_t count;
	uint64_t start, deadline; /* microseconds; milliseconds */
	bool wait_committed, keep_proof;
	uint64_t pause;
	unsigned busy;	   /* answers in a row */
	bool refused_busy; /* of what the last answer told, some was */
	bool doubtful;	   /* the last answer refused a nonce */
	bool unproven;	   /* or was of validators that cannot be proven yet */
	unsigned asked;	   /* the node that gave it */
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

static void decide(struct attempt *a, struct submission *s, enum fate fate)
{
	s->decided = true;
	s->r.fate = fate;
	s->r.latency_us = now_us() - a->start;
	s->r.at_ms = wall_ms();
}

static void decide_all(struct attempt *a, enum fate fate)
{
	for (size_t i = 0; i < a->count; i++)
		if (!a->s[i].decided)
			decide(a, &a->s[i], fate);
}

/* Leaves s undecided as long as there is another node to ask. */
static void unverified(struct attempt *a, struct submission *s, int err, const char *why)
{
	bool unproven = target_unproven_so_far(err);

	snprintf(s->r.code, sizeof s->r.code, "%s", err_name(err));
	err_set(&s->r.m, err, "%s says committed, but %s", a->l->t->url[a->asked], why);
	if (unproven && a->l->t->count > 1)
		a->unproven = true;
	else if (unproven || !link_pass_over(a->l, a->asked, why))
		decide(a, s, unproven ? FATE_UNKNOWN : FATE_UNVERIFIED);
}

static void committed(struct attempt *a, struct submission *s, const struct json *object)
{
	const struct json *proof = json_get(object, "proof");
	struct target *t = a->l->t;
	struct proof_document doc;
	const struct header *header;
	const char *result;
	uint64_t height;
	struct errmsg m;
	int err;

	err = target_proven_tx(t, proof, &doc, &m);
	if (err == ERR_NONE && !slice_equal(doc.tx, s->tx))
		err = err_set(&m, ERR_BAD_PROOF, "the proof is of another transaction");
	if (err == ERR_NONE && a->keep_proof && target_proves(t))
		err = proof_document_check(&doc, &t->genesis, &m);
	if (err == ERR_NONE && (json_read_u64(object, "height", &height) != ERR_NONE ||
				height != doc.ch.headers[0].h.height ||
				json_read_string(object, "result", &result) != ERR_NONE ||
				strcmp(result, tx_result_name(doc.result)) != 0))
		err = err_set(&m, ERR_BAD_PROOF, "its proof says otherwise than its answer");
	if (err != ERR_NONE) {
		unverified(a, s, err, m.text);
	} else {
		header = &doc.ch.headers[0].h;
		s->r.height = header->height;
		s->r.term = header->term;
		s->r.time_ms = header->time_ms;
		s->r.index = doc.path.index;
		s->r.result = doc.result;
		s->r.grade = target_proves(t) ? doc.ch.cert.kind : CERT_CRASH;
		s->r.signers = doc.ch.cert.signers;
		if (a->keep_proof)
			s->r.proof = json_copy(proof);
		decide(a, s, FATE_COMMITTED);
	}
	proof_document_free(&doc);
}

static void copy_text(char *out, size_t size, const struct json *object, const char *key)
{
	const char *text;

	out[0] = '\0';
	if (json_read_string(object, key, &text) == ERR_NONE)
		snprintf(out, size, "%s", text);
}

static void set_problem(struct receipt *r, const struct json *problem)
{
	copy_text(r->code, sizeof r->code, problem, "code");
	copy_text(r->hint, sizeof r->hint, problem, "hint");
	copy_text(r->m.text, sizeof r->m.text, problem, "detail");
	if (r->m.text[0] == '\0')
		snprintf(r->m.text, sizeof r->m.text, "%s", r->code);
}

/* A refusal for its nonce may be about the transaction itself, in a block that is not final
 * yet, or come from a node that is behind: it is believed when it is repeated. */
static bool about_nonce(const struct receipt *r)
{
	return strcmp(r->code, "tx_nonce_used") == 0 || strcmp(r->code, "tx_nonce_window") == 0;
}

/* One transaction object of an answer. Leaves s undecided if it is to be sent again. */
static void judge(struct attempt *a, struct submission *s, const struct json *object)
{
	const char *status = "";

	json_read_string(object, "status", &status);
	if (strcmp(status, "committed") == 0) {
		s->maybe_sent = true;
		committed(a, s, object);
	} else if (strcmp(status, "accepted") == 0 || strcmp(status, "pending") == 0) {
		s->maybe_sent = true;
		if (!a->wait_committed)
			decide(a, s, FATE_ACCEPTED);
	} else if (strcmp(status, "busy") == 0) {
		a->refused_busy = true;
		set_problem(&s->r, json_get(object, "problem"));
	} else if (strcmp(status, "refused") == 0) {
		set_problem(&s->r, json_get(object, "problem"));
		if (!about_nonce(&s->r) || ++s->doubts == NONCE_DOUBTS)
			decide(a, s, FATE_REFUSED);
		else
			a->doubtful = true;
	} else {
		unverified(a, s, ERR_SYNTAX, "its answer is not a node's");
	}
}

/* A problem document about the whole request. */
static void judge_problem(struct attempt *a)
{
	struct link *l = a->l;
	bool ends = l->reply.status < 500;

	for (size_t i = 0; i < a->count; i++) {
		struct submission *s = &a->s[i];
		if (s->decided)
			continue;
		snprintf(s->r.code, sizeof s->r.code, "%s", l->error_code);
		snprintf(s->r.hint, sizeof s->r.hint, "%s", l->error_hint);
		s->r.m = l->m;
		if (l->reply.status >= 500 &&
		    (l->reply.status != 503 || strcmp(l->error_code, "timeout") == 0))
			s->maybe_sent = true;
		if (ends && l->reply.status >= 400) {
			decide(a, s, FATE_REFUSED);
		} else if (ends) {
			s->maybe_sent = true;
			err_set(&s->r.m, ERR_BAD_PROOF,
				"%s answers with status %u and no results", l->t->url[a->asked],
				l->reply.status);
			if (!link_pass_over(l, a->asked, "its answer is not a node's"))
				decide(a, s, FATE_UNVERIFIED);
		}
	}
	if (!ends) {
		link_next(a->l);
		pause_before_retry(a, 0);
	}
}

/* A node may be busy because it is far behind while the others are not: the next one is asked.
 * When all are, the pauses grow. */
static void on_busy(struct attempt *a)
{
	bool round_done = ++a->busy % a->l->t->count == 0;

	link_next(a->l);
	pause_before_retry(a, round_done ? a->l->reply.retry_after_ms / 4 : 0);
}

static void judge_answer(struct attempt *a, size_t sent)
{
	const struct json *results = json_get(a->l->answer, "results");
	unsigned status = a->l->reply.status;
	size_t at = 0;

	if (results == NULL || json_len(results) != sent) {
		if (status == 429) {
			on_busy(a);
			for (size_t i = 0; i < a->count; i++)
				if (!a->s[i].decided)
					snprintf(a->s[i].r.code, sizeof a->s[i].r.code, "busy");
		} else {
			judge_problem(a);
		}
		return;
	}
	for (size_t i = 0; i < a->count; i++)
		if (!a->s[i].decided)
			judge(a, &a->s[i], json_at(results, at++));
	if (!a->refused_busy && status != 429) {
		a->busy = 0;
		if (status == 202) { /* in vain; another may be further, and must not be hurried */
			link_next(a->l);
			pause_before_retry(a, PAUSE_MIN_MS);
		}
	}
	if (a->refused_busy || status == 429)
		on_busy(a);
	else if (a->doubtful)
		pause_before_retry(a, NONCE_DOUBT_MS);
	else if (a->unproven && status != 202) {
		link_next(a->l);
		pause_before_retry(a, PAUSE_MIN_MS);
	}
	a->doubtful = a->refused_busy = a->unproven = false;
}

/* Sends what is undecided. Returns how many those are in *sent, and link_call()'s error. */
static int send_once(struct attempt *a, struct writer *body, size_t *sent)
{
	uint64_t left = left_until(a->deadline), server_ms = left < TRY_MS ? left : TRY_MS;
	uint64_t answer_ms = ANSWER_MS;
	char path[128];

	if (a->l->t->count > 1) {
		server_ms = patience_of(left, TRY_MS);
		answer_ms = patience_of(left - server_ms, ANSWER_MS);
	}

	writer_reset(body);
	*sent = 0;
	for (size_t i = 0; i < a->count; i++) {
		if (a->s[i].decided)
			continue;
		writer_var(body, a->s[i].tx);
		++*sent;
	}
	snprintf(path, sizeof path, "/v1/transactions?wait=%s&timeout=%llu&prove=1",
		 a->wait_committed ? "committed" : "accepted", (unsigned long long)server_ms);
	return link_call(a->l, a->l->node, "POST", path, "application/octet-stream",
			 writer_slice(body), server_ms + answer_ms);
}

static void on_no_answer(struct attempt *a, int err)
{
	for (size_t i = 0; i < a->count; i++) {
		struct submission *s = &a->s[i];
		if (s->decided)
			continue;
		s->r.m = a->l->m;
		s->maybe_sent = s->maybe_sent || err != ERR_UNREACHABLE;
	}
	link_next(a->l);
}

/* unreachable: so many nodes in a row, up to the last one. */
static void decide_at_deadline(struct attempt *a, struct submission *s, unsigned unreachable)
{
	if (s->maybe_sent) {
		decide(a, s, FATE_UNKNOWN);
		return;
	}
	if (s->r.code[0] == '\0' && unreachable < a->l->t->count)
		s->r.m.text[0] = '\0'; /* it is not for want of a node */
	decide(a, s, strcmp(s->r.code, "busy") == 0 ? FATE_REFUSED : FATE_UNSENT);
}

static bool any_undecided(const struct attempt *a, bool *maybe_sent)
{
	bool any = false;

	*maybe_sent = false;
	for (size_t i = 0; i < a->count; i++) {
		any = any || !a->s[i].decided;
		*maybe_sent = *maybe_sent || (!a->s[i].decided && a->s[i].maybe_sent);
	}
	return any;
}

void submit(struct link *l, struct submission *s, size_t count, uint64_t deadline,
	    bool wait_committed, bool keep_proof)
{
	struct attempt a = {.l = l,
			    .s = s,
			    .count = count,
			    .start = now_us(),
			    .deadline = deadline,
			    .wait_committed = wait_committed,
			    .keep_proof = keep_proof,
			    .pause = PAUSE_MIN_MS};
	struct writer body = {0};
	unsigned unreachable = 0; /* in a row */
	bool maybe_sent;

	while (any_undecided(&a, &maybe_sent)) {
		size_t sent;
		int err;

		if (interrupted()) {
			decide_all(&a, FATE_INTERRUPTED);
			break;
		}
		if (left_until(deadline) == 0) {
			for (size_t i = 0; i < count; i++)
				if (!s[i].decided)
					decide_at_deadline(&a, &s[i], unreachable);
			break;
		}
		a.asked = l->node;
		err = send_once(&a, &body, &sent);
		if (err == ERR_NONE) {
			unreachable = 0;
			judge_answer(&a, sent);
			continue;
		}
		on_no_answer(&a, err);
		if (err == ERR_SYNTAX) {
			decide_all(&a, FATE_UNSENT);
		} else if (err == ERR_LIMIT) {
			if (!link_pass_over(l, a.asked, "its answer is too long"))
				decide_all(&a, FATE_UNVERIFIED);
		} else if (err != ERR_UNREACHABLE) {
			unreachable = 0;
		} else if (++unreachable >= l->t->count) {
			/* Nobody there and nothing ever sent: no use to wait for that. */
			if (!maybe_sent)
				decide_all(&a, FATE_UNSENT);
			else
				pause_before_retry(&a, 100);
		}
	}
	writer_free(&body);
}

bool receipt_wants_new_nonce(const struct receipt *r)
{
	return r->fate == FATE_REFUSED && about_nonce(r);
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
		json_set(o, "verified", json_bool(target_proves(t)));
	}
	/* When it became certain here: of another invocation's nobody knows. */
	if (r->at_ms != 0) {
		json_set(o, "at_ms", json_u64(r->at_ms));
		json_set(o, "latency_ms", json_real((double)r->latency_us / 1000));
	}
	return o;
}

static int fail_unknown(struct cli *c, const struct hash *id, bool was_interrupted)
{
	char hex[HASH_HEX_SIZE], hint[256];

	snprintf(hint, sizeof hint,
		 "It may still take effect. `ostrakon tx wait %s` tells; sending the same "
		 "signed "
		 "bytes again is safe.",
		 hash_hex(hex, id));
	if (was_interrupted)
		return cli_fail(c, EXIT_INTERRUPTED, "interrupted", hint,
				"interrupted: outcome unknown");
	return cli_fail(c, EXIT_UNKNOWN, "timeout", hint,
			"timed out after %llu ms: outcome unknown",
			(unsigned long long)c->timeout_ms);
}

int fail_unsent(struct cli *c)
{
	return cli_fail(c, EXIT_UNKNOWN, "timeout",
			"Nothing was sent: give a longer --timeout.",
			"timed out after %llu ms, before a node could be asked",
			(unsigned long long)c->timeout_ms);
}

static int fail_result(struct cli *c, const struct receipt *r)
{
	switch (r->result) {
	case TX_OK:
		break;
	case TX_FAILED_CAS:
		return cli_fail(
			c, EXIT_REFUSED, "failed_cas", "`ostrakon get` shows what is there.",
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

/* A node's hints are for whoever speaks to its API; people here have commands. */
static const char *hint_of(const struct receipt *r)
{
	static const struct {
		const char *code, *hint;
	} ours[] = {
		{"tx_nonce_used",
		 "Sign it again without --nonce: a free one is then asked for."},
		{"tx_nonce_window",
		 "Sign it again without --nonce: a free one is then asked for."},
		{"tx_expired",
		 "Sign it again without --expiry: a height that fits is then chosen."},
		{"tx_horizon",
		 "Sign it again without --expiry: a height that fits is then chosen."},
		{"wrong_chain", "Sign it for this chain: --genesis is its genesis file."},
	};

	for (size_t i = 0; i < MEM_COUNT(ours); i++)
		if (strcmp(r->code, ours[i].code) == 0)
			return ours[i].hint;
	return r->hint[0] ? r->hint : NULL;
}

int receipt_fail(struct cli *c, const struct receipt *r, const struct hash *id)
{
	switch (r->fate) {
	case FATE_COMMITTED:
		return fail_result(c, r);
	case FATE_ACCEPTED:
		break;
	case FATE_REFUSED:
		return cli_fail(c, EXIT_REFUSED, r->code, hint_of(r), "refused: %s", r->m.text);
	case FATE_UNSENT:
		if (r->m.text[0] == '\0') /* no node was even asked */
			return fail_unsent(c);
		return cli_fail(
			c, EXIT_UNREACHABLE, "unreachable",
			"Nothing was sent. `ostrakon net status` shows which nodes run.",
			"no node takes the transaction; the last: %s", r->m.text);
	case FATE_UNKNOWN:
		return fail_unknown(c, id, false);
	case FATE_INTERRUPTED:
		return fail_unknown(c, id, true);
	case FATE_UNVERIFIED:
		return cli_fail(c, EXIT_UNVERIFIED, r->code[0] ? r->code : "bad_proof",
				"Do not trust this node. Ask another with --node.", "%s",
				r->m.text);
	}
	invariant(!"a fate that failed");
}
