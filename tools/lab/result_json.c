/* A run, or several, as JSON (docs/lab.md, "Fields"). */
#include <stdio.h>

#include "base/mem.h"
#include "tools/lab/result_private.h"
#include "tools/lab/shell.h"

static struct json *modes_json(const struct sim_result *r)
{
	struct json *a = json_array();
	for (uint32_t i = 0; i < r->mode_count; i++) {
		const struct sim_mode *m = &r->modes[i];
		if (m->kind == SYSTEM_CONVICTION || m->kind == SYSTEM_MEMBER)
			continue;
		struct json *o = json_object();
		json_set(o, "at_ms", result_ms(m->at_us));
		json_set(o, "height", json_int((int64_t)m->height));
		json_set(o, "term", json_int((int64_t)m->term));
		json_set(o, "to", json_string(m->kind == SYSTEM_ESCALATED ? "pbft" : "fast"));
		if (m->kind == SYSTEM_ESCALATED)
			json_set(o, "reason", json_string(escalation_reason_name(m->reason)));
		json_append(a, o);
	}
	return a;
}

static struct json *evidence_json(const struct sim_result *r)
{
	struct json *a = json_array();
	for (uint32_t i = 0; i < r->mode_count; i++) {
		const struct sim_mode *m = &r->modes[i];
		if (m->kind != SYSTEM_CONVICTION)
			continue;
		struct json *o = json_object();
		json_set(o, "at_ms", result_ms(m->at_us));
		json_set(o, "height", json_int((int64_t)m->height));
		json_set(o, "culprit", json_int(m->culprit));
		json_set(o, "kind", json_string(evidence_kind_name(m->proof)));
		json_append(a, o);
	}
	return a;
}

static struct json *or_null(bool known, uint64_t us)
{
	return known ? result_ms(us) : json_null();
}

static struct json *expectations_json(const struct scenario *s, uint64_t failed)
{
	struct json *a = json_array();
	for (unsigned i = 0; i < s->expect_count; i++) {
		struct json *o = json_object();
		json_set(o, "expect", json_string(s->expect[i].text));
		json_set(o, "holds", json_bool(!(failed >> i & 1)));
		json_append(a, o);
	}
	return a;
}

static struct json *strikes_json(const struct sim_result *r)
{
	struct json *o = json_object();
	for (unsigned a = 0; a < ATTACKS; a++)
		if (r->strikes[a])
			json_set(o, attack_name((enum attack)a), json_u64(r->strikes[a]));
	return o;
}

static void set_times(struct json *x, const struct sim_result *r)
{
	json_set(x, "failover_ms", or_null(r->failover_us, r->failover_us));
	json_set(x, "progress_after_healing_ms", or_null(r->progress_us, r->progress_us));
	json_set(x, "proof_to_pbft_commit_ms",
		 or_null(r->first_proof_us && r->first_pbft_us,
			 r->first_pbft_us - r->first_proof_us));
	json_set(x, "conviction_to_fast_ms",
		 or_null(r->first_conviction_us && r->fast_again_us,
			 r->fast_again_us - r->first_conviction_us));
}

const char *result_fork_text(const struct sim_result *r)
{
	const struct sim_fork *f = &r->fork;
	if (f->kind[0] == CERT_CRASH)
		return "nobody signs what this protocol commits: both sides took the leader's "
		       "word, and nothing proves who it was";
	if (f->ref[0].term != f->ref[1].term)
		return "the certificates are of different terms, and signing in both is no "
		       "offence: what is provable are term votes or view changes of a term "
		       "between that show less than their signers had voted for (low_base, "
		       "hidden_vote), by whoever kept them";
	if (f->kind[0] != f->kind[1] || f->ref[0].height != f->ref[1].height)
		return "the first two certificates are of one term, but not of one height and "
		       "kind: votes of later ones, which are, prove who signed both";
	return "both certificates are of one term, height and kind: two votes of each who "
	       "signed both are a proof";
}

static struct json *fork_json(const struct sim_result *r)
{
	struct json *o = json_object(), *certs = json_array(), *hashes = json_array();
	json_set(o, "height", json_u64(r->fork.height));
	json_set(o, "at_ms", result_ms(r->fork.at_us));
	for (unsigned i = 0; i < 2; i++) {
		struct json *c = json_object();
		json_append(hashes, json_hex(r->fork.hash[i].b, sizeof r->fork.hash[i].b));
		json_set(c, "kind", json_string(cert_kind_name(r->fork.kind[i])));
		json_set(c, "term", json_u64(r->fork.ref[i].term));
		json_set(c, "height", json_u64(r->fork.ref[i].height));
		json_append(certs, c);
	}
	json_set(o, "hashes", hashes);
	json_set(o, "culprits", result_validators(r->culprits));
	json_set(o, "proven", result_validators(r->proven));
	json_set(o, "certificates", certs);
	json_set(o, "provable", json_string(result_fork_text(r)));
	return o;
}

/* The command line that repeats these runs. */
static void set_repeat(struct json *x, const struct scenario *s, const struct sim_options *so,
		       const struct lab_total *t)
{
	char *scenario = shell_word(scenario_argument(s)), more[32] = "";
	if (t->runs > 1)
		snprintf(more, sizeof more, " --runs %u", t->runs);
	char *text = mem_printf("ostrakon-lab sim %s --protocol %s --nodes %u --seed %llu%s",
				scenario, protocol_name(so->protocol), so->nodes,
				(unsigned long long)so->seed, more);
	json_set(x, "repeat", json_string(text));
	mem_free(text);
	mem_free(scenario);
}

struct json *result_json(const struct scenario *s, const struct sim_options *so,
			 struct lab_total *t)
{
	struct json *x = json_object(), *safety = json_object(), *liveness = json_object();
	struct sim_result *r = &t->r;
	json_set(x, "scenario", json_string(s->name));
	json_set(x, "protocol", json_string(protocol_name(so->protocol)));
	json_set(x, "nodes", json_int(so->nodes));
	json_set(x, "live", json_bool(so->live));
	if (!so->live)
		json_set(x, "seed", json_u64(so->seed));
	json_set(x, "runs", json_int(t->runs));
	json_set(x, "decisions", json_u64(r->decisions));
	json_set(x, "transactions", json_u64(r->transactions));
	json_set(x, "acknowledged", json_u64(r->acknowledged));
	json_set(safety, "conflicts", json_u64(r->conflicts));
	json_set(x, "safety", safety);
	json_set(liveness, "longest_gap_ms", result_ms(r->longest_gap_us));
	json_set(x, "liveness", liveness);
	if (!so->live || r->bytes)
		result_set_traffic(x, so, t);
	json_set(x, "mode_changes", modes_json(r));
	json_set(x, "evidence", evidence_json(r));
	json_set(x, "malicious", result_validators(r->corrupt_mask));
	json_set(x, "convicted", result_validators(r->jailed_mask));
	json_set(x, "accused_innocent", json_int(result_innocent_accused(r)));
	json_set(x, "strikes", strikes_json(r));
	if (r->conflicts) {
		json_set(x, "culprits", result_validators(r->culprits));
		json_set(x, "culprits_proven", result_validators(r->proven));
	}
	json_set(x, "fork", r->conflicts ? fork_json(r) : json_null());
	json_set(x, "availability", json_real(result_availability(r)));
	set_times(x, r);
	if (t->measured)
		result_set_course(x, so, t);
	json_set(x, "wall_s", json_real(t->wall));
	json_set(x, "virtual_s", json_real((double)r->virtual_us / 1e6));
	json_set(x, "expectations", expectations_json(s, t->failed));
	json_set(x, "passed", json_bool(!t->failed));
	if (t->bad_runs) {
		json_set(x, "failed_runs", json_int(t->bad_runs));
		json_set(x, "first_failed_seed", json_u64(t->first_bad_seed));
	}
	if (r->verdict != SIM_OK)
		json_set(x, "violation", json_string(r->text));
	if (!so->live)
		set_repeat(x, s, so, t);
	return x;
}
