/* Reads of final state, executed on the loop thread, which owns replica and ledger. */
#include <stdio.h>

#include "base/mem.h"
#include "node/node.h"

uint64_t age_of(uint64_t time_ms)
{
	uint64_t wall = node_wall_ms();
	return wall > time_ms ? wall - time_ms : 0;
}

static void fail(struct request *r, int err, const char *detail)
{
	problem_of(&r->problem, err, detail);
}

static void answer_tx(struct node *n, struct request *r)
{
	struct outcome *o = &r->outcomes[0];
	o->doc = mem_zalloc(sizeof *o->doc);
	proof_document_init(o->doc);
	int err = committed_prove(&n->committed, n->replica, &o->id, o->doc);
	if (err == ERR_NONE) {
		o->status = OUTCOME_COMMITTED;
		return;
	}
	proof_document_free(o->doc);
	mem_free(o->doc);
	o->doc = NULL;
	if (err == ERR_NOT_FOUND && replica_tx_pending(n->replica, &o->id)) {
		o->status = OUTCOME_PENDING;
		return;
	}
	fail(r, err,
	     err == ERR_NOT_FOUND
		     ? "no such transaction is final or waiting here; it may still be on "
		       "its way from another node"
		     : NULL);
	r->problem.has_tx = true;
	r->problem.tx = o->id;
}

/* Sets at_height and age_ms. */
static int place_in_time(struct node *n, struct request *r)
{
	uint64_t final = ledger_height(replica_ledger(n->replica));
	r->at_height = r->has_height ? r->height : final;
	if (r->at_height > final) {
		char detail[96];
		snprintf(detail, sizeof detail, "the final height is %llu",
			 (unsigned long long) final);
		fail(r, ERR_RANGE, detail);
		return ERR_RANGE;
	}
	if (r->at_height == n->final_height) {
		r->age_ms = age_of(n->final_time_ms);
		return ERR_NONE;
	}
	struct block *b;
	int err = replica_block(n->replica, r->at_height, &b);
	if (err != ERR_NONE) {
		fail(r, err, NULL);
		return err;
	}
	r->age_ms = age_of(b->sh.h.time_ms);
	block_drop(b);
	return ERR_NONE;
}

/* The value under r->key, with its document if asked for. */
static int read_state(struct node *n, struct request *r)
{
	int err = place_in_time(n, r);
	if (err != ERR_NONE)
		return err;
	if (r->prove) {
		r->doc = mem_zalloc(sizeof *r->doc);
		proof_document_init(r->doc);
		err = replica_prove_state(n->replica, r->key, r->at_height, r->doc);
		r->present = r->doc->present;
		if (err == ERR_NONE && r->present)
			writer_raw(&r->value, r->doc->value.ptr, r->doc->value.len);
	} else {
		err = ledger_get(replica_ledger(n->replica), r->key, r->at_height, &r->value,
				 NULL);
		r->present = err == ERR_NONE;
		if (err == ERR_NOT_FOUND)
			err = ERR_NONE;
	}
	if (err != ERR_NONE)
		fail(r, err, NULL);
	return err;
}

static void answer_state(struct node *n, struct request *r)
{
	if (read_state(n, r) == ERR_NONE && !r->present)
		fail(r, ERR_NOT_FOUND, "the key has no value at that height");
}

static void answer_account(struct node *n, struct request *r)
{
	if (read_state(n, r) != ERR_NONE)
		return;
	if (r->present && r->value.len != 8) {
		fail(r, ERR_CORRUPT, "the stored balance is not eight bytes");
		return;
	}
	r->balance = r->present ? load_be64(r->value.buf) : 0;
	struct ledger *l = replica_ledger(n->replica);
	int err = ledger_nonce(l, &r->account, &r->nonce_highest, &r->nonce_suggested);
	if (err != ERR_NONE)
		fail(r, err, NULL);
	r->expiry_max = ledger_height(l) + n->genesis.limits.expiry_horizon;
}

static int view_block(struct node *n, uint64_t height, struct block_view *out)
{
	int err = replica_block(n->replica, height, &out->block);
	if (err != ERR_NONE) {
		out->block = NULL;
		return err;
	}
	if (height == 0)
		return ERR_NONE;
	struct certified_header ch = {0};
	err = replica_certified_header(n->replica, height, &ch);
	if (err == ERR_NONE) {
		out->certified = true;
		out->grade = ch.cert.kind;
		out->signers = ch.cert.signers;
		out->certified_height = ch.cert.ref.height;
		certified_header_free(&ch);
	}
	return err;
}

/* One block a call, so that the turn's budget decides how many. True: there are more. */
static bool answer_blocks(struct node *n, struct request *r)
{
	uint64_t final = ledger_height(replica_ledger(n->replica));
	if (!r->blocks) {
		r->blocks = mem_array(r->limit, sizeof *r->blocks);
		r->next_height = final + 1 > r->limit ? final + 1 - r->limit : 0;
		if (r->has_height)
			r->next_height = r->height;
	}
	uint64_t h = r->next_height;
	r->next_height = 0;
	if (h > final)
		return false;
	int err = view_block(n, h, &r->blocks[r->block_count]);
	if (r->blocks[r->block_count].block)
		r->block_count++;
	if (err != ERR_NONE) {
		fail(r, err, NULL);
		return false;
	}
	r->next_height = h < final ? h + 1 : 0;
	return r->next_height && r->block_count < r->limit;
}

static void answer_block(struct node *n, struct request *r)
{
	uint64_t final = ledger_height(replica_ledger(n->replica));
	r->blocks = mem_array(1, sizeof *r->blocks);
	int err = ERR_NOT_FOUND;
	if (!r->has_height || r->height <= final)
		err = view_block(n, r->has_height ? r->height : final, &r->blocks[0]);
	r->block_count = r->blocks[0].block ? 1 : 0;
	char detail[96];
	snprintf(detail, sizeof detail, "the final height is %llu", (unsigned long long) final);
	if (err != ERR_NONE)
		fail(r, err, err == ERR_NOT_FOUND ? detail : NULL);
}

struct evidence_list {
	struct request *r;
	size_t bytes;
};

static void add_evidence(void *ctx, struct slice bytes)
{
	struct evidence_list *list = ctx;
	struct request *r = list->r;
	if (r->evidence_count == EVIDENCE_PER_REQUEST ||
	    list->bytes + bytes.len > EVIDENCE_BYTES_PER_REQUEST)
		return;
	list->bytes += bytes.len;
	r->evidence[r->evidence_count++] = slice_of(mem_dup(bytes.ptr, bytes.len), bytes.len);
}

static void answer_evidence(struct node *n, struct request *r)
{
	r->evidence = mem_array(EVIDENCE_PER_REQUEST, sizeof *r->evidence);
	struct evidence_list list = {.r = r};
	replica_each_evidence(n->replica, add_evidence, &list);
}

static struct json *mode_json(const struct node *n, const struct mode_record *e)
{
	struct json *o = json_object();
	json_set(o, "height", json_u64_string(e->height));
	json_set(o, "time_ms", json_u64_string(e->time_ms));
	json_set(o, "kind",
		 json_string(e->kind == SYSTEM_ESCALATED   ? "escalated"
			     : e->kind == SYSTEM_MODE_FAST ? "fast"
			     : e->kind == SYSTEM_MEMBER	   ? "member"
							   : "conviction"));
	json_set(o, "term", json_u64_string(e->term));
	if (e->kind == SYSTEM_ESCALATED)
		json_set(o, "reason", json_string(escalation_reason_name(e->reason)));
	if (e->kind == SYSTEM_CONVICTION) {
		json_set(o, "culprit", json_string(n->genesis.validator[e->culprit].name));
		json_set(o, "proof", json_string(evidence_kind_name(e->evidence_kind)));
		json_set(o, "evidence", json_hex(e->evidence.b, HASH_SIZE));
	}
	json_set(o, "tx", json_hex(e->id.b, HASH_SIZE));
	return o;
}

/* The ledger's own record of what consensus did: each entry is a transaction with a proof, and
 * what they add up to is in the state. */
static void answer_modes(struct node *n, struct request *r)
{
	struct engine_status s;
	replica_status(n->replica, &s);
	uint32_t count = 0, limit = r->limit;
	struct mode_record *record = mem_array(limit, sizeof *record);
	int err = replica_modes(n->replica, r->has_height ? r->height : 0, 0, record, limit,
				&count);
	if (err) {
		fail(r, err, "the list of modes cannot be read");
		mem_free(record);
		return;
	}
	if (r->prove) {
		r->doc = mem_zalloc(sizeof *r->doc);
		proof_document_init(r->doc);
		err = replica_prove_state(n->replica, state_key_modes(),
					  ledger_height(replica_ledger(n->replica)), r->doc);
		if (err) {
			fail(r, err, NULL);
			mem_free(record);
			return;
		}
	}
	struct json *entries = json_array();
	for (uint32_t i = 0; i < count; i++)
		json_append(entries, mode_json(n, &record[i]));
	mem_free(record);
	struct json *jailed = json_array();
	for (unsigned i = 0; i < n->genesis.n; i++)
		if (s.modes.jailed >> i & 1)
			json_append(jailed, json_string(n->genesis.validator[i].name));
	r->json = json_object();
	json_set(r->json, "mode", json_string(mode_name(s.modes.mode)));
	json_set(r->json, "replica_mode", json_string(mode_name(s.mode)));
	json_set(r->json, "escalations", json_u64_string(s.modes.escalations));
	uint64_t due = mode_fast_due(&s.modes, &n->genesis);
	json_set(r->json, "fast_due_height",
		 due == UINT64_MAX ? json_null() : json_u64_string(due));
	json_set(r->json, "jailed", jailed);
	json_set(r->json, "entries", entries);
}

bool answer_request(struct node *n, struct request *r, uint64_t now)
{
	invariant(r->kind != REQUEST_SUBMIT); /* submit.c */
	if (now > r->deadline) {
		fail(r, ERR_TIMEOUT, "the node had no time for this read before its deadline");
		r->done(r);
		return true;
	}
	switch (r->kind) {
	case REQUEST_SUBMIT:
		break;
	case REQUEST_TX:
		answer_tx(n, r);
		break;
	case REQUEST_STATE:
		answer_state(n, r);
		break;
	case REQUEST_ACCOUNT:
		answer_account(n, r);
		break;
	case REQUEST_STATUS:
		report_status(n, r, now);
		break;
	case REQUEST_BLOCKS:
		if (answer_blocks(n, r))
			return false;
		break;
	case REQUEST_BLOCK:
		answer_block(n, r);
		break;
	case REQUEST_PEERS:
		report_peers(n, r, now);
		break;
	case REQUEST_EVIDENCE:
		answer_evidence(n, r);
		break;
	case REQUEST_MODES:
		answer_modes(n, r);
		break;
	case REQUEST_CONSENSUS:
		report_consensus(n, r, now);
		break;
	case REQUEST_MEMBERS:
		answer_members(n, r);
		break;
	case REQUEST_MEMBER_CHANGE:
		answer_member_change(n, r, now);
		break;
	}
	r->done(r);
	return true;
}
