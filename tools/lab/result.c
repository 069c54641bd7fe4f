/* What came of a run, simulated or live: measures, and whether what the scenario expects holds.
 */
#include "tools/lab/result.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "consensus/crash/wire.h"
#include "consensus/hybrid/message.h"
#include "tools/lab/lab.h"

/* ---- expectations ------------------------------------------------------------------------ */

static bool mode_changed(const struct sim_result *r, enum escalation_reason reason)
{
	for (uint32_t i = 0; i < r->mode_count; i++)
		if (r->modes[i].kind == SYSTEM_ESCALATED &&
		    (reason == REASON_NONE || r->modes[i].reason == reason))
			return true;
	return false;
}

static bool evidence_shown(const struct sim_result *r, enum evidence_kind kind)
{
	for (uint32_t i = 0; i < r->mode_count; i++)
		if (r->modes[i].kind == SYSTEM_CONVICTION && r->modes[i].proof == kind)
			return true;
	return false;
}

static double availability(const struct sim_result *r)
{
	return r->windows ? (double)r->windows_with_commit / (double)r->windows : 0;
}

static unsigned innocent_accused(const struct sim_result *r)
{
	return (unsigned)__builtin_popcountll((r->jailed_mask | r->accused_mask) &
					      ~r->corrupt_mask);
}

static bool enough(uint64_t mask, uint64_t wanted, unsigned nodes)
{
	unsigned least =
		wanted == EXPECT_MORE_THAN_F ? quorum_of(nodes).f + 1 : (unsigned)wanted;
	return (unsigned)__builtin_popcountll(mask) >= least;
}

bool result_holds(const struct sim_result *r, const struct expectation *e, unsigned nodes)
{
	switch (e->kind) {
	case EXPECT_NO_CONFLICT:
		return r->conflicts == 0 && r->verdict != SIM_SAFETY;
	case EXPECT_CONFLICT:
		return r->conflicts > 0;
	case EXPECT_PROGRESS:
		return r->verdict != SIM_LIVENESS &&
		       (!e->value || (r->progress_us && r->progress_us <= e->value));
	case EXPECT_INNOCENT:
		return innocent_accused(r) == 0;
	case EXPECT_CONVICTED:
		return enough(r->jailed_mask, e->value, nodes);
	case EXPECT_NO_MODE_CHANGE:
		return r->mode_count == 0;
	case EXPECT_MODE_CHANGE:
		return mode_changed(r, (enum escalation_reason)e->value);
	case EXPECT_RETURN:
		return !r->in_pbft;
	case EXPECT_EVIDENCE:
		return evidence_shown(r, (enum evidence_kind)e->value);
	case EXPECT_CULPRITS:
		return enough(r->proven, e->value, nodes);
	case EXPECT_AVAILABILITY:
		return 100 * availability(r) >= (double)e->value;
	case EXPECT_FAILOVER:
		return r->failover_us <= e->value;
	case EXPECT_ONE_TERM: /* awaited */
		return r->verdict != SIM_LIVENESS;
	case EXPECT_STRUCK:
		for (unsigned a = 0; a < ATTACKS; a++)
			if (r->strikes[a])
				return true;
		break;
	case EXPECT_KINDS:
		break;
	}
	return false;
}

static unsigned broken(const struct scenario *s, const struct sim_result *r, unsigned nodes)
{
	unsigned bits = 0;
	for (unsigned i = 0; i < s->expect_count; i++)
		if (!result_holds(r, &s->expect[i], nodes))
			bits |= 1u << i;
	return bits;
}

/* ---- measures ---------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static struct json *milliseconds(uint64_t us)
{
	return json_real((double)us / 1000);
}

static struct json *times_json(uint64_t *us, size_t n)
{
	struct json *o = json_object();
	qsort(us, n, sizeof us[0], ascending);
	const struct {
		const char *name;
		unsigned percent;
	} at[] = {{"p50", 50}, {"p95", 95}, {"p99", 99}, {"max", 100}};
	for (unsigned i = 0; i < MEM_COUNT(at); i++)
		json_set(o, at[i].name,
			 n ? milliseconds(us[(n - 1) * at[i].percent / 100]) : json_null());
	return o;
}

static struct json *validators_json(uint64_t mask)
{
	struct json *a = json_array();
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		if (mask >> i & 1)
			json_append(a, json_int(i));
	return a;
}

static struct json *modes_json(const struct sim_result *r)
{
	struct json *a = json_array();
	for (uint32_t i = 0; i < r->mode_count; i++) {
		const struct sim_mode *m = &r->modes[i];
		if (m->kind == SYSTEM_CONVICTION)
			continue;
		struct json *o = json_object();
		json_set(o, "at_ms", milliseconds(m->at_us));
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
		json_set(o, "at_ms", milliseconds(m->at_us));
		json_set(o, "height", json_int((int64_t)m->height));
		json_set(o, "culprit", json_int(m->culprit));
		json_set(o, "kind", json_string(evidence_kind_name(m->proof)));
		json_append(a, o);
	}
	return a;
}

/* Types of the normal case, which theory counts: what orders blocks and makes them final. A
 * certificate that went alone, because its leader was idle, is no part of it. */
static bool is_normal_case(unsigned type)
{
	return type == MSG_APPEND || type == MSG_APPENDED || type == MSG_PREPARE ||
	       type == MSG_COMMIT || type == RAFT_APPEND || type == RAFT_APPENDED ||
	       type == PAXOS_ACCEPT || type == PAXOS_ACCEPTED;
}

static uint64_t counted(const struct sim_result *r, unsigned type)
{
	bool carries_blocks = type == MSG_APPEND || type == RAFT_APPEND;
	uint64_t sent = r->messages[type];
	return carries_blocks && sent ? sent - r->lone_certificates : sent;
}

static double normal_case(const struct sim_result *r)
{
	uint64_t sum = 0;
	for (unsigned t = 0; t < ENGINE_MESSAGE_TYPES; t++)
		sum += is_normal_case(t) ? counted(r, t) : 0;
	return r->decisions ? (double)sum / (double)r->decisions : 0;
}

static struct json *by_type_json(const struct sim_result *r, bool normal)
{
	struct json *o = json_object();
	for (unsigned t = 0; t < ENGINE_MESSAGE_TYPES; t++)
		if (is_normal_case(t) == normal && counted(r, t))
			json_set(o, engine_message_name((uint8_t)t),
				 json_int((int64_t)counted(r, t)));
	if (!normal && r->lone_certificates)
		json_set(o, "certificate", json_int((int64_t)r->lone_certificates));
	return o;
}

static double theory(enum protocol p, unsigned n)
{
	return p == PROTOCOL_PBFT ? 2.0 * n * (n - 1) : 2.0 * (n - 1);
}

static struct json *or_null(bool known, uint64_t us)
{
	return known ? milliseconds(us) : json_null();
}

static double per_decision(const struct sim_result *r, uint64_t sum)
{
	return r->decisions ? (double)sum / (double)r->decisions : 0;
}

static void keep_times(struct lab_total *t, const struct sim_result *r)
{
	size_t n = r->times < SIM_TIMES_MAX ? r->times : SIM_TIMES_MAX;
	if (t->time_count + n > t->time_cap) {
		t->time_cap = 2 * (t->time_count + n);
		t->times = mem_realloc(t->times, t->time_cap * sizeof *t->times);
	}
	if (n)
		memcpy(t->times + t->time_count, r->propose_to_final, n * sizeof *t->times);
	t->time_count += n;
}

void result_add(struct lab_total *t, const struct scenario *s, const struct sim_options *so,
		const struct sim_result *r, double wall)
{
	struct sim_result *sum = &t->r;
	unsigned bits = broken(s, r, so->nodes);
	keep_times(t, r);
	t->wall += wall;
	t->failed |= bits;
	if (bits && !t->bad_runs++)
		t->first_bad_seed = so->seed;
	if (t->runs++ == 0) {
		*sum = *r;
		return;
	}
	if (sum->verdict == SIM_OK && r->verdict != SIM_OK) {
		sum->verdict = r->verdict;
		memcpy(sum->text, r->text, sizeof sum->text);
	}
	sum->decisions += r->decisions;
	sum->transactions += r->transactions;
	sum->acknowledged += r->acknowledged;
	sum->virtual_us += r->virtual_us;
	for (unsigned i = 0; i < ENGINE_MESSAGE_TYPES; i++)
		sum->messages[i] += r->messages[i];
	for (unsigned i = 0; i < ATTACKS; i++)
		sum->strikes[i] += r->strikes[i];
	sum->bytes += r->bytes;
	sum->lone_certificates += r->lone_certificates;
	sum->signatures.made += r->signatures.made;
	sum->signatures.checked += r->signatures.checked;
	if (!sum->conflicts && r->conflicts) {
		sum->fork = r->fork;
		sum->culprits = r->culprits;
		sum->proven = r->proven;
	}
	sum->conflicts += r->conflicts;
	sum->windows += r->windows;
	sum->windows_with_commit += r->windows_with_commit;
	sum->corrupt_mask |= r->corrupt_mask;
	sum->jailed_mask |= r->jailed_mask;
	sum->accused_mask |= r->accused_mask & ~r->corrupt_mask ? r->accused_mask : 0;
	if (r->longest_gap_us > sum->longest_gap_us)
		sum->longest_gap_us = r->longest_gap_us;
	if (r->failover_us > sum->failover_us)
		sum->failover_us = r->failover_us;
	if (r->progress_us > sum->progress_us)
		sum->progress_us = r->progress_us;
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

/* What the two certificates of the first fork prove by themselves, and what would be needed. */
static const char *fork_text(const struct sim_result *r)
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
	struct json *o = json_object(), *certs = json_array();
	json_set(o, "height", json_u64(r->fork.height));
	json_set(o, "at_ms", milliseconds(r->fork.at_us));
	for (unsigned i = 0; i < 2; i++) {
		struct json *c = json_object();
		json_set(c, "kind", json_string(cert_kind_name(r->fork.kind[i])));
		json_set(c, "term", json_u64(r->fork.ref[i].term));
		json_set(c, "height", json_u64(r->fork.ref[i].height));
		json_append(certs, c);
	}
	json_set(o, "certificates", certs);
	json_set(o, "provable", json_string(fork_text(r)));
	return o;
}

/* What only the simulator sees. */
static void set_traffic(struct json *x, const struct sim_options *so, struct lab_total *t)
{
	const struct sim_result *r = &t->r;
	json_set(x, "consensus_time_ms", times_json(t->times, t->time_count));
	json_set(x, "messages_per_decision", json_real(normal_case(r)));
	json_set(x, "theory_messages_per_decision", json_real(theory(so->protocol, so->nodes)));
	json_set(x, "bytes_per_decision", json_real(per_decision(r, r->bytes)));
	json_set(x, "authenticators_per_decision",
		 json_real(per_decision(r, r->signatures.made + r->signatures.checked)));
	json_set(x, "signatures_made", json_u64(r->signatures.made));
	json_set(x, "signatures_checked", json_u64(r->signatures.checked));
	json_set(x, "by_type", by_type_json(r, true));
	json_set(x, "other_by_type", by_type_json(r, false));
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
	json_set(liveness, "longest_gap_ms", milliseconds(r->longest_gap_us));
	json_set(x, "liveness", liveness);
	if (!so->live || r->bytes)
		set_traffic(x, so, t);
	json_set(x, "mode_changes", modes_json(r));
	json_set(x, "evidence", evidence_json(r));
	json_set(x, "malicious", validators_json(r->corrupt_mask));
	json_set(x, "convicted", validators_json(r->jailed_mask));
	json_set(x, "accused_innocent", json_int(innocent_accused(r)));
	json_set(x, "strikes", strikes_json(r));
	if (r->conflicts) {
		json_set(x, "culprits", validators_json(r->culprits));
		json_set(x, "culprits_proven", validators_json(r->proven));
		json_set(x, "fork", fork_json(r));
	}
	json_set(x, "availability", json_real(availability(r)));
	set_times(x, r);
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
	return x;
}

static void print_modes(const struct sim_result *r)
{
	for (uint32_t i = 0; i < r->mode_count && i < 12; i++) {
		const struct sim_mode *m = &r->modes[i];
		printf("  %8.3f s, block %llu: ", (double)m->at_us / 1e6,
		       (unsigned long long)m->height);
		if (m->kind == SYSTEM_ESCALATED)
			printf("escalated to pbft, reason %s\n",
			       escalation_reason_name(m->reason));
		else if (m->kind == SYSTEM_MODE_FAST)
			printf("back to fast\n");
		else
			printf("node%u convicted, proof %s\n", m->culprit + 1u,
			       evidence_kind_name(m->proof));
	}
}

static void print_mask(const char *title, uint64_t mask)
{
	printf("  %s:", title);
	for (; mask; mask &= mask - 1)
		printf(" node%u", (unsigned)__builtin_ctzll(mask) + 1);
	printf("\n");
}

static void print_fork(const struct sim_result *r)
{
	const struct sim_fork *f = &r->fork;
	printf("  fork at height %llu, %.3f s: %s of (%llu, %llu) against %s of (%llu, %llu)\n",
	       (unsigned long long)f->height, (double)f->at_us / 1e6,
	       cert_kind_name(f->kind[0]), (unsigned long long)f->ref[0].term,
	       (unsigned long long)f->ref[0].height, cert_kind_name(f->kind[1]),
	       (unsigned long long)f->ref[1].term, (unsigned long long)f->ref[1].height);
	printf("  %s\n", fork_text(r));
	print_mask("signed both sides of the fork", r->culprits);
	print_mask("of these proven by evidence", r->proven);
}

void result_print(const struct scenario *s, const struct sim_options *so,
		  const struct lab_total *t)
{
	const struct sim_result *r = &t->r;
	if (so->live)
		printf("%s, live, n=%u: ", s->name, so->nodes);
	else
		printf("%s, n=%u, seed %llu", s->name, so->nodes, (unsigned long long)so->seed);
	if (t->runs > 1)
		printf(" and %u more", t->runs - 1);
	printf("%s%llu blocks in %.1f %ss, %llu conflicts, longest gap %.0f ms",
	       so->live ? "" : ": ", (unsigned long long)r->decisions,
	       (double)r->virtual_us / 1e6, so->live ? "" : "virtual ",
	       (unsigned long long)r->conflicts, (double)r->longest_gap_us / 1000);
	if (!so->live)
		printf(", %.1f messages a block (theory %.0f)", normal_case(r),
		       theory(so->protocol, so->nodes));
	printf("\n");
	print_modes(r);
	if (r->corrupt_mask)
		print_mask("malicious", r->corrupt_mask);
	if (r->conflicts)
		print_fork(r);
	for (unsigned i = 0; i < s->expect_count; i++)
		printf("  expected %-24s %s\n", s->expect[i].text,
		       t->failed >> i & 1 ? "NO" : "yes");
	if (t->bad_runs && !so->live)
		printf("  %u of %u runs failed; again: ostrakon-lab sim %s --nodes %u --seed "
		       "%llu\n",
		       t->bad_runs, t->runs, s->name, so->nodes,
		       (unsigned long long)t->first_bad_seed);
	if (r->verdict != SIM_OK)
		printf("  %s\n", r->text);
}
