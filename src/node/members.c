/* Who the validators are, since when, and what proves it; requests of governance to change
 * that. Loop thread. */
#include "base/mem.h"
#include "node/node.h"

static struct json *document_json(struct node *n, const struct proof_document *d)
{
	char *text = proof_document_json(d, replica_ctx(n->replica));
	struct json *o;
	struct errmsg m;
	if (json_parse(&o, slice_str(text), &m))
		o = json_null();
	mem_free(text);
	return o;
}

static struct json *handovers_json(struct node *n, uint64_t from, uint32_t limit)
{
	struct json *a = json_array();
	uint64_t newest = replica_ctx(n->replica)->epoch;
	for (uint64_t e = from ? from : 1; e <= newest && limit > 0; e++, limit--) {
		struct proof_document d;
		if (replica_handover(n->replica, e, &d))
			break;
		json_append(a, document_json(n, &d));
		proof_document_free(&d);
	}
	return a;
}

static struct json *governance_json(const struct chain_ctx *c)
{
	struct json *o = json_object(), *keys = json_array();
	json_set(o, "k", json_int(c->governance.k));
	for (unsigned i = 0; i < c->governance.m; i++)
		json_append(keys, json_hex(c->governance.key[i].b, PUBKEY_SIZE));
	json_set(o, "keys", keys);
	return o;
}

/* from, limit: of the handovers; the first one ends epoch 0. */
void answer_members(struct node *n, struct request *r)
{
	const struct chain_ctx *c = replica_ctx(n->replica);
	struct engine_status s;
	replica_status(n->replica, &s);
	struct json *o = json_object(), *a = json_array();
	json_set(o, "epoch", json_u64_string(c->epoch));
	json_set(o, "start_height", json_u64_string(c->start_height));
	json_set(o, "valset", json_hex(c->vals.hash.b, HASH_SIZE));
	json_set(o, "change_waits", json_bool(s.member_waits));
	for (unsigned i = 0; i < c->vals.n; i++) {
		struct json *v = json_object();
		json_set(v, "index", json_int(i));
		json_set(v, "name", json_string(node_validator_name(n, i)));
		json_set(v, "key", json_hex(c->vals.key[i].b, PUBKEY_SIZE));
		json_set(v, "replaced",
			 json_bool(
				 !pubkey_equal(&c->vals.key[i], &n->genesis.validator[i].key)));
		json_set(v, "jailed", json_bool(s.modes.jailed >> i & 1));
		json_append(a, v);
	}
	json_set(o, "validators", a);
	json_set(o, "governance", governance_json(c));
	json_set(o, "handovers", handovers_json(n, r->has_height ? r->height : 1, r->limit));
	r->json = o;
}

void answer_member_change(struct node *n, struct request *r, uint64_t now)
{
	int err = replica_member(n->replica, now, r->key);
	if (err == ERR_NO_QUORUM) { /* a code of its own: writes have no_quorum for another thing */
		problem_of(&r->problem, err, "too few governance keys have signed it");
		r->problem.code = "few_signatures";
		return;
	}
	if (err && err != ERR_EXISTS) {
		problem_of(&r->problem, err,
			   err == ERR_STALE
				   ? "it is for another epoch, or another set of validators"
			   : err == ERR_UNSUPPORTED && n->genesis.recovery_count
				   ? "this chain has been recovered: after that no key is "
				     "replaced by governance"
			   : err == ERR_UNSUPPORTED ? "this chain has no governance keys, or "
						      "not the hybrid protocol"
						    : "it does not hold");
		return;
	}
	struct engine_status s;
	replica_status(n->replica, &s);
	/* A key that is a validator's already is ERR_EXISTS too. */
	if (err && !s.member_waits) {
		problem_of(&r->problem, err,
			   "the key is a validator's or governance's already");
		return;
	}
	r->json = json_object();
	json_set(r->json, "status", json_string("waits"));
	json_set(r->json, "epoch", json_u64_string(replica_ctx(n->replica)->epoch));
}
