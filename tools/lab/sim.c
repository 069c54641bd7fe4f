/* Scenarios in the simulator: runs, measures, expectations. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "consensus/crash/wire.h"
#include "consensus/hybrid/message.h"
#include "tools/lab/lab.h"

static const char *const expectation_names[] = {"no-conflict",	  "conflict",	 "progress",
						"innocent",	  "convicted",	 "no-mode-change",
						"mode-change",	  "return-to-fast"};

struct json *lab_describe(const struct scenario *s)
{
	struct json *o = json_object(), *attacks = json_array(), *expect = json_array();
	json_set(o, "name", json_string(s->name));
	json_set(o, "summary", json_string(s->summary));
	json_set(o, "description", json_string(s->text));
	json_set(o, "nodes", json_int(s->nodes));
	json_set(o, "corrupt", json_int(scenario_corrupt(s, s->nodes)));
	for (unsigned a = 0; a < ATTACKS; a++)
		if (s->attacks >> a & 1)
			json_append(attacks, json_string(attack_name((enum attack)a)));
	for (unsigned i = 0; i < MEM_COUNT(expectation_names); i++)
		if (s->expect >> i & 1)
			json_append(expect, json_string(expectation_names[i]));
	json_set(o, "attacks", attacks);
	json_set(o, "expect", expect);
	return o;
}

void lab_print(const struct json *v, enum lab_format format)
{
	if (format == LAB_JSONL && json_is_array(v)) {
		for (size_t i = 0; i < json_len(v); i++) {
			char *text = json_dump(json_at(v, i), false);
			printf("%s\n", text);
			mem_free(text);
		}
		return;
	}
	char *text = json_dump(v, format == LAB_JSON);
	printf("%s\n", text);
	mem_free(text);
}

/* ---- expectations ------------------------------------------------------------------------ */

static bool mode_changed(const struct sim_result *r, enum escalation_reason reason)
{
	for (uint32_t i = 0; i < r->mode_count; i++)
		if (r->modes[i].kind == SYSTEM_ESCALATED &&
		    (reason == REASON_NONE || r->modes[i].reason == reason))
			return true;
	return false;
}

static bool holds(const struct scenario *s, const struct sim_result *r, enum expectation e)
{
	switch (e) {
	case EXPECT_NO_CONFLICT:
		return r->conflicts == 0 && r->verdict != SIM_SAFETY;
	case EXPECT_CONFLICT:
		return r->conflicts > 0;
	case EXPECT_PROGRESS:
		return r->verdict != SIM_LIVENESS;
	case EXPECT_INNOCENT:
		return !((r->jailed_mask | r->accused_mask) & ~r->corrupt_mask);
	case EXPECT_CONVICTED:
		return r->jailed_mask != 0;
	case EXPECT_NO_MODE_CHANGE:
		return r->mode_count == 0;
	case EXPECT_MODE_CHANGE:
		return mode_changed(r, s->expected_reason);
	case EXPECT_RETURN:
		return r->fast_again_us > 0 || r->mode_count == 0 ||
		       r->modes[r->mode_count - 1].kind == SYSTEM_MODE_FAST ||
		       r->mode_count == SIM_MODES_MAX;
	}
	return false;
}

static unsigned broken(const struct scenario *s, const struct sim_result *r)
{
	unsigned bits = 0;
	for (unsigned i = 0; i < MEM_COUNT(expectation_names); i++)
		if (s->expect >> i & 1 && !holds(s, r, (enum expectation)(1 << i)))
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

static struct json *times_json(struct sim_result *r)
{
	uint32_t n = r->times < SIM_TIMES_MAX ? r->times : SIM_TIMES_MAX;
	struct json *o = json_object();
	qsort(r->propose_to_final, n, sizeof r->propose_to_final[0], ascending);
	const struct {
		const char *name;
		unsigned percent;
	} at[] = {{"p50", 50}, {"p95", 95}, {"p99", 99}, {"max", 100}};
	for (unsigned i = 0; i < MEM_COUNT(at); i++)
		json_set(o, at[i].name,
			 n ? milliseconds(r->propose_to_final[(n - 1) * at[i].percent / 100])
			   : json_null());
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

/* Messages of the normal case a decision, as theory counts them. */
static double normal_case(const struct sim_result *r)
{
	uint64_t sum = r->messages[MSG_APPEND] + r->messages[MSG_APPENDED] +
		       r->messages[MSG_PREPARE] + r->messages[MSG_COMMIT] +
		       r->messages[RAFT_APPEND] + r->messages[RAFT_APPENDED] +
		       r->messages[PAXOS_ACCEPT] + r->messages[PAXOS_ACCEPTED];
	return r->decisions ? (double)sum / (double)r->decisions : 0;
}

static struct json *by_type_json(const struct sim_result *r)
{
	struct json *o = json_object();
	for (unsigned t = 0; t < ENGINE_MESSAGE_TYPES; t++)
		if (r->messages[t])
			json_set(o, engine_message_name((uint8_t)t),
				 json_int((int64_t)r->messages[t]));
	return o;
}

static double theory(enum protocol p, unsigned n)
{
	return p == PROTOCOL_PBFT ? 2.0 * n * (n - 1) : 2.0 * (n - 1);
}

static struct json *run_json(const struct lab_options *o, const struct scenario *s,
			     const struct sim_options *so, struct sim_result *r, double wall)
{
	struct json *x = json_object(), *safety = json_object(), *liveness = json_object();
	struct json *failed = json_array();
	unsigned bits = broken(s, r);
	json_set(x, "scenario", json_string(s->name));
	json_set(x, "protocol", json_string(protocol_name(o->protocol)));
	json_set(x, "nodes", json_int(so->nodes));
	json_set(x, "seed", json_int((int64_t)so->seed));
	json_set(x, "decisions", json_int((int64_t)r->decisions));
	json_set(x, "transactions", json_int((int64_t)r->transactions));
	json_set(safety, "conflicts", json_int((int64_t)r->conflicts));
	json_set(x, "safety", safety);
	json_set(liveness, "longest_gap_ms", milliseconds(r->longest_gap_us));
	json_set(x, "liveness", liveness);
	json_set(x, "consensus_time_ms", times_json(r));
	json_set(x, "messages_per_decision", json_real(normal_case(r)));
	json_set(x, "theory_messages_per_decision", json_real(theory(o->protocol, so->nodes)));
	json_set(x, "bytes_per_decision",
		 json_real(r->decisions ? (double)r->bytes / (double)r->decisions : 0));
	json_set(x, "by_type", by_type_json(r));
	json_set(x, "mode_changes", modes_json(r));
	json_set(x, "evidence", evidence_json(r));
	json_set(x, "malicious", validators_json(r->corrupt_mask));
	json_set(x, "convicted", validators_json(r->jailed_mask));
	json_set(x, "accused_innocent",
		 validators_json((r->jailed_mask | r->accused_mask) & ~r->corrupt_mask));
	json_set(x, "availability",
		 json_real(r->windows ? (double)r->windows_with_commit / (double)r->windows : 0));
	json_set(x, "proof_to_pbft_commit_ms",
		 r->first_proof_us && r->first_pbft_us
			 ? milliseconds(r->first_pbft_us - r->first_proof_us)
			 : json_null());
	json_set(x, "conviction_to_fast_ms",
		 r->first_conviction_us && r->fast_again_us
			 ? milliseconds(r->fast_again_us - r->first_conviction_us)
			 : json_null());
	json_set(x, "wall_s", json_real(wall));
	json_set(x, "virtual_s", json_real((double)r->virtual_us / 1e6));
	for (unsigned i = 0; i < MEM_COUNT(expectation_names); i++)
		if (bits >> i & 1)
			json_append(failed, json_string(expectation_names[i]));
	json_set(x, "failed_expectations", failed);
	if (r->verdict != SIM_OK)
		json_set(x, "violation", json_string(r->text));
	return x;
}

static void print_run(const struct scenario *s, const struct sim_options *so,
		      struct sim_result *r)
{
	unsigned bits = broken(s, r);
	printf("%s, n=%u, seed %llu: %llu blocks in %.1f virtual s, %llu conflicts, longest gap %.0f "
	       "ms, %.1f messages a block\n",
	       s->name, so->nodes, (unsigned long long)so->seed, (unsigned long long)r->decisions,
	       (double)r->virtual_us / 1e6, (unsigned long long)r->conflicts,
	       (double)r->longest_gap_us / 1000, normal_case(r));
	for (uint32_t i = 0; i < r->mode_count && i < 12; i++) {
		const struct sim_mode *m = &r->modes[i];
		printf("  %8.3f s, block %llu: ", (double)m->at_us / 1e6,
		       (unsigned long long)m->height);
		if (m->kind == SYSTEM_ESCALATED)
			printf("escalated to pbft, reason %s\n", escalation_reason_name(m->reason));
		else if (m->kind == SYSTEM_MODE_FAST)
			printf("back to fast\n");
		else
			printf("validator %u convicted, proof %s\n", m->culprit,
			       evidence_kind_name(m->proof));
	}
	for (unsigned i = 0; i < MEM_COUNT(expectation_names); i++)
		if (s->expect >> i & 1)
			printf("  expected %-16s %s\n", expectation_names[i],
			       bits >> i & 1 ? "NO" : "yes");
	if (r->verdict != SIM_OK)
		printf("  %s\n", r->text);
}

int lab_sim(const struct lab_options *o)
{
	struct scenario s;
	struct errmsg m;
	if (scenario_read(&s, o->name, &m)) {
		fprintf(stderr, "ostrakon-lab: %s\n", m.text);
		return LAB_EXIT_CONFIG;
	}
	struct sim_options so = {.nodes = o->nodes ? o->nodes : s.nodes,
				 .decisions = s.decisions,
				 .clients = 4,
				 .scheme = SIG_SYMBOLIC,
				 .protocol = o->protocol,
				 .probation = 1,
				 .attacks = s.attacks,
				 .steady = s.who == WHO_ANY,
				 .when_leading = s.who == WHO_LEADER,
				 .gentle = !s.storm,
				 .measure_conflicts = true};
	so.corrupt = scenario_corrupt(&s, so.nodes);
	so.targets = scenario_targets(&s, so.nodes);
	struct json *all = json_array();
	struct sim_result *r = mem_zalloc(sizeof *r);
	bool good = true;
	for (unsigned i = 0; i < o->runs; i++) {
		struct timespec a, b;
		so.seed = o->seed + i;
		clock_gettime(CLOCK_MONOTONIC, &a);
		sim_run(&so, r);
		clock_gettime(CLOCK_MONOTONIC, &b);
		double wall = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
		good &= broken(&s, r) == 0;
		if (o->format == LAB_TABLE)
			print_run(&s, &so, r);
		else
			json_append(all, run_json(o, &s, &so, r, wall));
	}
	if (o->format != LAB_TABLE)
		lab_print(o->runs == 1 ? json_at(all, 0) : all, o->format);
	json_free(all);
	mem_free(r);
	return good ? LAB_EXIT_OK : LAB_EXIT_FAILED;
}
