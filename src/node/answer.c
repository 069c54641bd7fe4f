/* Reads of final state, executed on the loop thread, which owns replica and ledger. */
#include <config.h>
#include <stdio.h>

#include "base/mem.h"
#include "node/node.h"

static struct json *ref_json(const struct block_ref *ref)
{
	struct json *o = json_object();
	json_set(o, "term", json_u64_string(ref->term));
	json_set(o, "height", json_u64_string(ref->height));
	json_set(o, "hash", json_hex(ref->hash.b, HASH_SIZE));
	return o;
}

static struct json *name_json(const struct node *n, unsigned validator)
{
	return validator < n->genesis.n ? json_string(n->genesis.validator[validator].name)
					: json_null();
}

static struct json *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static struct json *heard_json(const struct engine_status *s, unsigned validator, uint64_t now)
{
	uint64_t heard = s->heard[validator];
	if (heard == 0 || heard > now)
		return heard == 0 ? json_null() : json_u64_string(0);
	return json_u64_string((now - heard) / 1000);
}

/* How old what was final at `time_ms` is, by this node's clock. */
static uint64_t age_of(uint64_t time_ms)
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
	int err = replica_prove_tx(n->replica, &o->id, o->doc);
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

static struct json *peers_json(struct node *n, const struct engine_status *s, uint64_t now)
{
	struct json *a = json_array();
	for (unsigned p = 0; p < n->peer_count; p++) {
		unsigned v = n->validator_of[p];
		struct net_peer_stats stats;
		net_peer_stats(n->net, p, &stats);
		struct json *o = json_object();
		json_set(o, "name", name_json(n, v));
		json_set(o, "index", json_int(v));
		json_set(o, "connected", json_bool(stats.up));
		json_set(o, "rtt_us", json_u64_string(stats.rtt_us));
		json_set(o, "heard_ms", heard_json(s, v, now));
		json_set(o, "match",
			 s->role == ROLE_LEADER ? json_u64_string(s->match[v]) : json_null());
		json_append(a, o);
	}
	return a;
}

static void answer_status(struct node *n, struct request *r, uint64_t now)
{
	struct engine_status s;
	replica_status(n->replica, &s);
	struct ledger *l = replica_ledger(n->replica);
	char not_ready[256];
	health_not_ready(n, &s, now, not_ready, sizeof not_ready);
	struct json *o = json_object();
	json_set(o, "node", name_json(n, n->self));
	json_set(o, "version", json_string(PACKAGE_VERSION));
	json_set(o, "chain", json_string(n->genesis.name));
	json_set(o, "chain_id", json_hex(replica_ctx(n->replica)->id.b, HASH_SIZE));
	json_set(o, "protocol", json_string(protocol_name(n->genesis.protocol)));
	json_set(o, "role", json_string(engine_role_name(s.role)));
	json_set(o, "mode", json_string(mode_name(s.mode)));
	json_set(o, "term", json_u64_string(s.term));
	json_set(o, "leader", name_json(n, s.leader));
	json_set(o, "height", json_u64_string(s.tip.height));
	json_set(o, "final_height", json_u64_string(ledger_height(l)));
	json_set(o, "final_hash", json_hex(ledger_hash(l)->b, HASH_SIZE));
	json_set(o, "state_root", json_hex(ledger_root(l)->b, HASH_SIZE));
	json_set(o, "final_time_ms", json_u64_string(n->final_time_ms));
	json_set(o, "age_ms", json_u64_string(age_of(n->final_time_ms)));
	json_set(o, "n", json_int(n->genesis.n));
	json_set(o, "faults_tolerated", json_int(quorum_faults_tolerated(n->genesis.n)));
	json_set(o, "pending", json_int(s.pool_count));
	json_set(o, "pending_bytes", json_u64_string(s.pool_bytes));
	json_set(o, "peers", peers_json(n, &s, now));
	json_set(o, "ready", json_bool(!not_ready[0]));
	json_set(o, "not_ready", text_or_null(not_ready));
	json_set(o, "halted", text_or_null(n->halted ? n->halted_why : ""));
	json_set(o, "uptime_ms", json_u64_string((now - n->started) / 1000));
	json_set(o, "time_ms", json_u64_string(node_wall_ms()));
	r->json = o;
}

static void answer_consensus(struct node *n, struct request *r, uint64_t now)
{
	struct engine_status s;
	replica_status(n->replica, &s);
	char stall[256];
	health_stall(n, &s, now, stall, sizeof stall);
	struct json *o = json_object();
	json_set(o, "role", json_string(engine_role_name(s.role)));
	json_set(o, "mode", json_string(mode_name(s.mode)));
	json_set(o, "term", json_u64_string(s.term));
	json_set(o, "leader", name_json(n, s.leader));
	json_set(o, "tip", ref_json(&s.tip));
	json_set(o, "final", ref_json(&s.final));
	json_set(o, "stable", ref_json(&s.stable));
	json_set(o, "base", ref_json(&s.base));
	json_set(o, "tc_term", json_u64_string(s.tc_term));
	json_set(o, "pool_count", json_int(s.pool_count));
	json_set(o, "pool_bytes", json_u64_string(s.pool_bytes));
	struct json *counters = json_object();
	for (int c = 0; c < COUNTERS; c++)
		json_set(counters, engine_counter_name((enum engine_counter)c),
			 json_u64_string(s.counters[c]));
	json_set(o, "counters", counters);
	json_set(o, "stall", text_or_null(stall));
	r->json = o;
}

static struct json *peer_json(struct node *n, unsigned p, const struct engine_status *s,
			      uint64_t now)
{
	unsigned v = n->validator_of[p];
	struct net_peer_stats stats;
	net_peer_stats(n->net, p, &stats);
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{"rtt_us", stats.rtt_us},
		{"connects", stats.connects},
		{"sent_messages", stats.sent_messages},
		{"sent_bytes", stats.sent_bytes},
		{"received_messages", stats.received_messages},
		{"received_bytes", stats.received_bytes},
		{"resent_messages", stats.resent_messages},
		{"dropped_messages", stats.dropped_messages},
		{"refused_frames", stats.refused_frames},
		{"queued_messages", stats.queued_messages},
		{"queued_bytes", stats.queued_bytes},
	};
	struct json *o = json_object();
	json_set(o, "name", name_json(n, v));
	json_set(o, "index", json_int(v));
	json_set(o, "key", json_hex(n->genesis.validator[v].key.b, PUBKEY_SIZE));
	char address[CONFIG_TEXT_MAX + 16];
	snprintf(address, sizeof address, "%s:%u", n->config.peer[v].host,
		 n->config.peer[v].port);
	json_set(o, "address", json_string(address));
	json_set(o, "remote", text_or_null(stats.address));
	json_set(o, "connected", json_bool(stats.up));
	for (size_t i = 0; i < MEM_COUNT(counts); i++)
		json_set(o, counts[i].name, json_u64_string(counts[i].value));
	json_set(o, "heard_ms", heard_json(s, v, now));
	return o;
}

static void answer_peers(struct node *n, struct request *r, uint64_t now)
{
	struct engine_status s;
	replica_status(n->replica, &s);
	struct json *a = json_array();
	for (unsigned p = 0; p < n->peer_count; p++)
		json_append(a, peer_json(n, p, &s, now));
	struct net_stats stats = {0};
	if (n->net)
		net_stats(n->net, &stats);
	r->json = json_object();
	json_set(r->json, "peers", a);
	json_set(r->json, "handshakes_refused", json_u64_string(stats.handshakes_refused));
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

static void answer_blocks(struct node *n, struct request *r)
{
	uint64_t final = ledger_height(replica_ledger(n->replica));
	uint64_t from = final + 1 > r->limit ? final + 1 - r->limit : 0;
	if (r->has_height)
		from = r->height;
	r->blocks = mem_array(r->limit, sizeof *r->blocks);
	for (uint64_t h = from; h <= final && r->block_count < r->limit; h++) {
		int err = view_block(n, h, &r->blocks[r->block_count]);
		if (r->blocks[r->block_count].block)
			r->block_count++;
		if (err != ERR_NONE) {
			fail(r, err, NULL);
			return;
		}
		r->next_height = h < final ? h + 1 : 0;
	}
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

struct modes_list {
	struct node *node;
	struct json *entries;
	uint32_t limit;
};

static void set_conviction(struct json *o, const struct node *n, const struct system_tx *tx)
{
	struct reader r;
	struct evidence ev;
	struct hash id;
	reader_init(&r, tx->evidence);
	evidence_decode(&r, &ev);
	if (reader_finish(&r) || ev.culprit >= n->genesis.n)
		return;
	evidence_hash(&id, &ev);
	json_set(o, "culprit", json_string(n->genesis.validator[ev.culprit].name));
	json_set(o, "proof", json_string(evidence_kind_name(ev.kind)));
	json_set(o, "evidence", json_hex(id.b, HASH_SIZE));
}

static bool add_mode(void *ctx, const struct system_entry *e)
{
	struct modes_list *list = ctx;
	if (json_len(list->entries) >= list->limit)
		return false;
	struct json *o = json_object();
	const struct header *h = &e->block->sh.h;
	json_set(o, "height", json_u64_string(h->height));
	json_set(o, "time_ms", json_u64_string(h->time_ms));
	json_set(o, "kind",
		 json_string(e->tx.kind == SYSTEM_ESCALATED   ? "escalated"
			     : e->tx.kind == SYSTEM_MODE_FAST ? "fast"
							      : "conviction"));
	json_set(o, "term", json_u64_string(h->term));
	if (e->tx.kind == SYSTEM_ESCALATED)
		json_set(o, "reason", json_string(escalation_reason_name(e->tx.reason)));
	if (e->tx.kind == SYSTEM_CONVICTION)
		set_conviction(o, list->node, &e->tx);
	json_set(o, "tx", json_hex(e->block->tx[e->index].id.b, HASH_SIZE));
	json_append(list->entries, o);
	return true;
}

/* The ledger's own record of what consensus did: each entry is a transaction with a proof. */
static void answer_modes(struct node *n, struct request *r)
{
	struct engine_status s;
	replica_status(n->replica, &s);
	struct modes_list list = {
		.node = n,
		.entries = json_array(),
		.limit = r->limit && r->limit < MODES_PER_REQUEST ? r->limit : MODES_PER_REQUEST};
	replica_each_system(n->replica, r->has_height ? r->height : 0, add_mode, &list);
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
	json_set(r->json, "entries", list.entries);
}

void answer_request(struct node *n, struct request *r, uint64_t now)
{
	if (r->kind == REQUEST_SUBMIT) {
		submit_request(n, r, now);
		return;
	}
	if (now > r->deadline) {
		fail(r, ERR_TIMEOUT, "the node had no time for this read before its deadline");
		r->done(r);
		return;
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
		answer_status(n, r, now);
		break;
	case REQUEST_BLOCKS:
		answer_blocks(n, r);
		break;
	case REQUEST_BLOCK:
		answer_block(n, r);
		break;
	case REQUEST_PEERS:
		answer_peers(n, r, now);
		break;
	case REQUEST_EVIDENCE:
		answer_evidence(n, r);
		break;
	case REQUEST_MODES:
		answer_modes(n, r);
		break;
	case REQUEST_CONSENSUS:
		answer_consensus(n, r, now);
		break;
	}
	r->done(r);
}
