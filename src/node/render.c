#include <stdio.h>

#include "base/mem.h"
#include "ledger/tx.h"
#include "node/render.h"

static const char *status_name(enum outcome_status s)
{
	switch (s) {
	case OUTCOME_NEW:
	case OUTCOME_WAITING:
		break;
	case OUTCOME_COMMITTED:
		return "committed";
	case OUTCOME_ACCEPTED:
		return "accepted";
	case OUTCOME_PENDING:
		return "pending";
	case OUTCOME_REFUSED:
		return "refused";
	case OUTCOME_BUSY:
		return "busy";
	}
	invariant(!"an outcome that never came");
	return NULL;
}

static struct json *name_of(const struct render *c, unsigned validator)
{
	return validator < c->genesis->n ? json_string(c->genesis->validator[validator].name)
					 : json_null();
}

static struct json *signers_json(const struct render *c, uint64_t signers)
{
	struct json *a = json_array();
	for (; signers; signers &= signers - 1)
		json_append(a, name_of(c, (unsigned)__builtin_ctzll(signers)));
	return a;
}

static void append_text(struct writer *w, const char *text)
{
	writer_raw(w, text, strlen(text));
}

/* Appends o, and as its last member `name` what is JSON text already (NULL: none). Frees both:
 * a proof document is long, and parsing it again only to print it would cost more than it. */
static void append_object(struct writer *w, struct json *o, const char *name, char *text)
{
	char *dump = json_dump(o, false);
	json_free(o);
	size_t len = strlen(dump);
	invariant(len > 2 && dump[len - 1] == '}');
	if (text) {
		writer_raw(w, dump, len - 1);
		append_text(w, ",\"");
		append_text(w, name);
		append_text(w, "\":");
		append_text(w, text);
		append_text(w, "}");
	} else {
		writer_raw(w, dump, len);
	}
	mem_free(dump);
	mem_free(text);
}

static char *take_text(struct writer *w)
{
	writer_u8(w, 0);
	size_t len;
	return (char *)writer_take(w, &len);
}

static void add_receipt(const struct render *c, const struct outcome *o, struct json *out)
{
	const struct header *h;
	const struct cert *cert;
	struct hash block;
	uint64_t index;
	enum tx_result result;
	if (o->finality) {
		const struct block *b = finality_block(o->finality, o->block);
		h = &b->sh.h;
		block = b->hash;
		index = o->index;
		result = b->tx[o->index].result;
		cert = finality_cert(o->finality);
	} else {
		h = &o->doc->ch.headers[0].h;
		header_hash(&block, h);
		index = o->doc->path.index;
		result = o->doc->result;
		cert = &o->doc->ch.cert;
	}
	json_set(out, "height", json_u64_string(h->height));
	json_set(out, "index", json_int((int64_t)index));
	json_set(out, "block", json_hex(block.b, HASH_SIZE));
	json_set(out, "term", json_u64_string(h->term));
	json_set(out, "time_ms", json_u64_string(h->time_ms));
	json_set(out, "result", json_string(tx_result_name(result)));
	json_set(out, "grade", json_string(cert_kind_name(cert->kind)));
	json_set(out, "signers", signers_json(c, cert->signers));
}

static void outcome_problem(struct problem *p, const struct outcome *o)
{
	problem_of(p, o->err, o->detail[0] ? o->detail : NULL);
	p->has_tx = o->has_id;
	p->tx = o->id;
}

static char *outcome_proof(const struct render *c, const struct outcome *o)
{
	if (o->doc)
		return proof_document_json(o->doc, c->ctx);
	struct proof_document doc;
	finality_prove(o->finality, o->block, o->index, &doc);
	char *text = proof_document_json(&doc, c->ctx);
	proof_document_free(&doc);
	return text;
}

static void append_outcome(const struct render *c, struct writer *w, const struct outcome *o,
			   bool prove)
{
	struct json *out = json_object();
	char *proof = NULL;
	json_set(out, "tx", o->has_id ? json_hex(o->id.b, HASH_SIZE) : json_null());
	json_set(out, "status", json_string(status_name(o->status)));
	if (o->status == OUTCOME_COMMITTED) {
		add_receipt(c, o, out);
		if (prove)
			proof = outcome_proof(c, o);
	} else if (o->status == OUTCOME_REFUSED || o->status == OUTCOME_BUSY) {
		struct problem p;
		outcome_problem(&p, o);
		struct json *problem = json_object();
		json_set(problem, "code", json_string(p.code));
		json_set(problem, "detail", json_string(p.detail[0] ? p.detail : p.title));
		if (p.hint)
			json_set(problem, "hint", json_string(p.hint));
		json_set(out, "problem", problem);
	}
	append_object(w, out, "proof", proof);
}

unsigned submission_status(const struct request *r)
{
	uint32_t count[OUTCOME_BUSY + 1] = {0};
	for (uint32_t i = 0; i < r->outcome_count; i++)
		count[r->outcomes[i].status]++;
	uint32_t moving = count[OUTCOME_ACCEPTED] + count[OUTCOME_PENDING];
	if (count[OUTCOME_BUSY] && !count[OUTCOME_COMMITTED] && !moving)
		return 429;
	if (count[OUTCOME_REFUSED] == r->outcome_count)
		return 422;
	return moving ? 202 : 200;
}

static char *render_outcomes(const struct render *c, struct request *r, unsigned *status,
			     bool *is_problem)
{
	struct writer w;
	writer_init(&w, 0);
	*status = submission_status(r);
	*is_problem = *status >= 400;
	append_text(&w, "{");
	if (*is_problem) {
		struct problem *p = &r->problem;
		if (*status == 429)
			problem_of(p, ERR_BUSY, "no transaction of this request was taken");
		else
			problem_set(p, 422, "refused", "no transaction can be accepted",
				    "every transaction of this request was refused", NULL);
		struct json *o = problem_json(p);
		char *text = json_dump(o, false);
		json_free(o);
		writer_raw(&w, text + 1, strlen(text) - 2); /* without its braces */
		mem_free(text);
		append_text(&w, ",");
	}
	append_text(&w, "\"results\":[");
	for (uint32_t i = 0; i < r->outcome_count; i++) {
		if (i)
			append_text(&w, ",");
		append_outcome(c, &w, &r->outcomes[i], r->prove);
	}
	append_text(&w, "]}");
	return take_text(&w);
}

static char *render_outcome(const struct render *c, struct request *r, unsigned *status,
			    bool *is_problem)
{
	const struct outcome *o = &r->outcomes[0];
	if (o->status == OUTCOME_REFUSED || o->status == OUTCOME_BUSY) {
		outcome_problem(&r->problem, o);
		*status = r->problem.status;
		*is_problem = true;
		return render_problem(c, r);
	}
	*status = o->status == OUTCOME_COMMITTED || r->kind == REQUEST_TX ? 200 : 202;
	*is_problem = false;
	struct writer w;
	writer_init(&w, 0);
	append_outcome(c, &w, o, r->prove);
	return take_text(&w);
}

/* What state answers share, also when the key is absent. */
static char *state_members(const struct render *c, const struct request *r, struct json *out)
{
	json_set(out, "height", json_u64_string(r->at_height));
	json_set(out, "age_ms", json_u64_string(r->age_ms));
	return r->doc ? proof_document_json(r->doc, c->ctx) : NULL;
}

static char *render_state(const struct render *c, struct request *r)
{
	struct json *out = json_object();
	json_set(out, "key", json_hex(r->key.ptr + 1, r->key.len - 1));
	json_set(out, "value", json_hex(r->value.buf, r->value.len));
	char *proof = state_members(c, r, out);
	struct writer w;
	writer_init(&w, 0);
	append_object(&w, out, "proof", proof);
	return take_text(&w);
}

static char *render_modes(const struct render *c, struct request *r)
{
	struct writer w;
	writer_init(&w, 0);
	append_object(&w, r->json, "proof",
		      r->doc ? proof_document_json(r->doc, c->ctx) : NULL);
	r->json = NULL;
	return take_text(&w);
}

static char *render_account(const struct render *c, struct request *r)
{
	struct json *out = json_object(), *nonce = json_object();
	json_set(out, "account", json_hex(r->account.b, PUBKEY_SIZE));
	json_set(out, "present", json_bool(r->present));
	json_set(out, "balance", json_u64_string(r->balance));
	json_set(nonce, "highest", json_u64_string(r->nonce_highest));
	json_set(nonce, "suggested", json_u64_string(r->nonce_suggested));
	json_set(out, "nonce", nonce);
	json_set(out, "expiry_max", json_u64_string(r->expiry_max));
	char *proof = state_members(c, r, out);
	struct writer w;
	writer_init(&w, 0);
	append_object(&w, out, "proof", proof);
	return take_text(&w);
}

char *render_problem(const struct render *c, struct request *r)
{
	struct json *out = problem_json(&r->problem);
	char *proof = NULL;
	if (r->kind == REQUEST_STATE && r->problem.status == 404 && r->key.len > 0) {
		json_set(out, "key", json_hex(r->key.ptr + 1, r->key.len - 1));
		proof = state_members(c, r, out);
	}
	struct writer w;
	writer_init(&w, 0);
	append_object(&w, out, "proof", proof);
	return take_text(&w);
}

struct json *render_block(const struct render *c, const struct block_view *v)
{
	const struct header *h = &v->block->sh.h;
	struct json *o = json_object();
	json_set(o, "height", json_u64_string(h->height));
	json_set(o, "hash", json_hex(v->block->hash.b, HASH_SIZE));
	json_set(o, "term", json_u64_string(h->term));
	json_set(o, "mode", json_string(mode_name(h->mode)));
	json_set(o, "leader", h->height ? name_of(c, h->leader) : json_null());
	json_set(o, "time_ms", json_u64_string(h->time_ms));
	json_set(o, "tx_count", json_int(h->tx_count));
	json_set(o, "body_size", json_int(h->body_size));
	json_set(o, "prev", json_hex(h->prev.b, HASH_SIZE));
	json_set(o, "base_height", json_u64_string(h->base_height));
	json_set(o, "base", json_hex(h->base.b, HASH_SIZE));
	json_set(o, "tx_root", json_hex(h->tx_root.b, HASH_SIZE));
	json_set(o, "state_root", json_hex(h->state_root.b, HASH_SIZE));
	json_set(o, "valset", json_hex(h->valset.b, HASH_SIZE));
	json_set(o, "grade",
		 v->certified ? json_string(cert_kind_name(v->grade)) : json_null());
	json_set(o, "signers", signers_json(c, v->signers));
	json_set(o, "certified_height", json_u64_string(v->certified_height));
	return o;
}

struct json *render_block_tx(const struct render *c, const struct block *b, uint32_t i,
			     bool full)
{
	struct slice bytes = block_tx_bytes(b, i);
	struct json *o = json_object();
	json_set(o, "tx", json_hex(b->tx[i].id.b, HASH_SIZE));
	json_set(o, "index", json_int(i));
	json_set(o, "result", json_string(tx_result_name(b->tx[i].result)));
	json_set(o, "size", json_int((int64_t)bytes.len));
	struct tx tx;
	if (tx_decode(&tx, bytes, c->ctx, &c->genesis->limits) == ERR_NONE) {
		json_set(o, "sender", json_hex(tx.sender.b, PUBKEY_SIZE));
		json_set(o, "nonce", json_u64_string(tx.nonce));
		json_set(o, "expiry", json_u64_string(tx.expiry));
		json_set(o, "op_count", json_int(tx.op_count));
	}
	if (full)
		json_set(o, "bytes", json_hex(bytes.ptr, bytes.len));
	return o;
}

static struct json *full_block(const struct render *c, const struct request *r)
{
	const struct block *b = r->blocks[0].block;
	struct json *o = render_block(c, &r->blocks[0]), *txs = json_array();
	for (uint32_t i = 0; i < b->tx_count; i++)
		json_append(txs, render_block_tx(c, b, i, r->full));
	json_set(o, "transactions", txs);
	if (r->full) {
		struct writer w;
		writer_init(&w, 0);
		signed_header_encode(&w, &b->sh);
		json_set(o, "header", json_hex(w.buf, w.len));
		writer_free(&w);
	}
	return o;
}

static struct json *block_list(const struct render *c, const struct request *r)
{
	struct json *o = json_object(), *a = json_array();
	for (uint32_t i = 0; i < r->block_count; i++)
		json_append(a, render_block(c, &r->blocks[i]));
	json_set(o, "blocks", a);
	json_set(o, "next", r->next_height ? json_u64_string(r->next_height) : json_null());
	return o;
}

struct json *render_evidence(const struct render *c, struct slice bytes, bool full)
{
	struct evidence e;
	struct hash id;
	struct reader reader;
	reader_init(&reader, bytes);
	evidence_decode(&reader, &e);
	if (reader_finish(&reader) != ERR_NONE)
		return NULL;
	evidence_hash(&id, &e);
	struct json *item = json_object();
	json_set(item, "id", json_hex(id.b, HASH_SIZE));
	json_set(item, "kind", json_string(evidence_kind_name(e.kind)));
	json_set(item, "culprit", name_of(c, e.culprit));
	json_set(item, "culprit_index", json_int(e.culprit));
	json_set(item, "size", json_int((int64_t)bytes.len));
	if (full)
		json_set(item, "bytes", json_hex(bytes.ptr, bytes.len));
	return item;
}

static struct json *evidence_json(const struct render *c, const struct request *r)
{
	struct json *o = json_object(), *a = json_array();
	for (uint32_t i = 0; i < r->evidence_count; i++) {
		struct json *item = render_evidence(c, r->evidence[i], r->full);
		if (item)
			json_append(a, item);
	}
	json_set(o, "evidence", a);
	return o;
}

struct json *render_validators(const struct render *c, const struct chain_ctx *now,
			       unsigned leader)
{
	const struct quorum *q = &c->ctx->quorum;
	struct json *o = json_object(), *a = json_array();
	json_set(o, "n", json_int(q->n));
	json_set(o, "f", json_int(q->f));
	json_set(o, "q", json_int(q->q));
	json_set(o, "qf", json_int(q->qf));
	json_set(o, "qv", json_int(q->qv));
	json_set(o, "faults_tolerated", json_int(quorum_silent_max(q)));
	json_set(o, "valset", json_hex(now->vals.hash.b, HASH_SIZE));
	json_set(o, "epoch", json_u64_string(now->epoch));
	json_set(o, "start_height", json_u64_string(now->start_height));
	for (unsigned i = 0; i < c->genesis->n; i++) {
		struct json *v = json_object();
		json_set(v, "index", json_int(i));
		json_set(v, "name", name_of(c, i));
		json_set(v, "key", json_hex(now->vals.key[i].b, PUBKEY_SIZE));
		json_set(v, "self", json_bool(i == c->self));
		json_set(v, "leader", json_bool(i == leader));
		json_append(a, v);
	}
	json_set(o, "validators", a);
	return o;
}

char *render_answer(const struct render *c, struct request *r, bool one, unsigned *status,
		    bool *is_problem)
{
	struct json *o = NULL;
	*status = 200;
	*is_problem = false;
	switch (r->kind) {
	case REQUEST_SUBMIT:
		return one ? render_outcome(c, r, status, is_problem)
			   : render_outcomes(c, r, status, is_problem);
	case REQUEST_TX:
		return render_outcome(c, r, status, is_problem);
	case REQUEST_STATE:
		return render_state(c, r);
	case REQUEST_ACCOUNT:
		return render_account(c, r);
	case REQUEST_BLOCKS:
		o = block_list(c, r);
		break;
	case REQUEST_BLOCK:
		o = full_block(c, r);
		break;
	case REQUEST_EVIDENCE:
		o = evidence_json(c, r);
		break;
	case REQUEST_MODES:
		return render_modes(c, r);
	case REQUEST_STATUS:
	case REQUEST_PEERS:
	case REQUEST_CONSENSUS:
	case REQUEST_MEMBERS:
	case REQUEST_MEMBER_CHANGE:
		return json_dump(r->json, false);
	}
	char *text = json_dump(o, false);
	json_free(o);
	return text;
}
