/* Traffic, times and the course of simulated runs, as JSON. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tools/lab/result_private.h"
#include "tools/lab/theory.h"

/* ---- helpers ----------------------------------------------------------------------------- */

struct json *result_ms(uint64_t us)
{
	return json_real((double)us / 1000);
}

struct json *result_validators(uint64_t mask)
{
	struct json *a = json_array();
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		if (mask >> i & 1)
			json_append(a, json_int(i));
	return a;
}

static struct json *ms_or_null(uint64_t us)
{
	return us == MEASURE_NEVER ? json_null() : result_ms(us);
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static struct json *times_json(uint64_t *us, size_t n)
{
	struct json *o = json_object();
	if (n)
		qsort(us, n, sizeof us[0], ascending);
	const struct {
		const char *name;
		unsigned percent;
	} at[] = {{"p50", 50}, {"p95", 95}, {"p99", 99}, {"max", 100}};
	for (unsigned i = 0; i < MEM_COUNT(at); i++)
		json_set(o, at[i].name,
			 n ? result_ms(us[(n - 1) * at[i].percent / 100]) : json_null());
	return o;
}

static double share(const struct sim_result *r, uint64_t sum)
{
	return r->decisions ? (double)sum / (double)r->decisions : 0;
}

/* ---- traffic ----------------------------------------------------------------------------- */

static const struct sim_measures *measures(const struct lab_total *t)
{
	return t->measured ? &t->m : NULL;
}

/* What of the normal case is not counted as such: certificates that went alone, and the answers
 * to them. */
static uint64_t alone(const struct lab_total *t)
{
	uint64_t sum = 0;
	for (unsigned type = 0; type < ENGINE_MESSAGE_TYPES; type++)
		sum += t->r.messages[type] - result_counted(&t->r, measures(t), type);
	return sum;
}

static struct json *by_type_json(const struct lab_total *t, bool normal)
{
	struct json *o = json_object();
	for (unsigned type = 0; type < ENGINE_MESSAGE_TYPES; type++) {
		uint64_t count = result_counted(&t->r, measures(t), type);
		if (count && (measure_phase_of((uint8_t)type) == PHASE_NORMAL) == normal)
			json_set(o, engine_message_name((uint8_t)type), json_u64(count));
	}
	if (!normal && alone(t))
		json_set(o, "certificate", json_u64(alone(t)));
	return o;
}

static struct json *bytes_json(const struct lab_total *t)
{
	struct json *o = json_object();
	for (unsigned type = 0; type < ENGINE_MESSAGE_TYPES; type++)
		if (t->m.bytes_by_type[type])
			json_set(o, engine_message_name((uint8_t)type),
				 json_u64(t->m.bytes_by_type[type]));
	return o;
}

static struct json *phases_json(const struct lab_total *t)
{
	struct json *o = json_object();
	for (unsigned p = 0; p < PHASES; p++)
		json_set(o, measure_phase_name((enum measure_phase)p),
			 json_real(share(&t->r, t->m.phase[p])));
	return o;
}

static struct json *theory_json(const struct sim_options *so)
{
	struct json *o = json_object();
	json_set(o, "pipelined",
		 json_real(theory_pipelined(so->protocol, so->nodes, so->dead)));
	json_set(o, "lone", json_real(theory_lone(so->protocol, so->nodes, so->dead)));
	json_set(o, "leader_change",
		 json_real(theory_leader_change(so->protocol, so->nodes, so->dead + 1)));
	return o;
}

static void set_measured_traffic(struct json *x, struct lab_total *t)
{
	struct json *signatures = json_object();
	const struct sim_result *r = &t->r;
	json_set(signatures, "signed", json_real(share(r, r->signatures.made)));
	json_set(signatures, "verified", json_real(share(r, r->signatures.checked)));
	json_set(x, "authenticators", signatures);
	json_set(x, "by_phase", phases_json(t));
	json_set(x, "bytes_by_type", bytes_json(t));
	json_set(x, "consensus_time_leader_ms", times_json(t->leader.us, t->leader.count));
	json_set(x, "consensus_time_all_ms", times_json(t->all.us, t->all.count));
	json_set(x, "client_ms", times_json(t->client.us, t->client.count));
	json_set(x, "throughput_per_s",
		 json_real(t->m.counted_us
				   ? (double)r->transactions * 1e6 / (double)t->m.counted_us
				   : 0));
	json_set(x, "decisions_per_s",
		 json_real(t->m.counted_us
				   ? (double)r->decisions * 1e6 / (double)t->m.counted_us
				   : 0));
}

void result_set_traffic(struct json *x, const struct sim_options *so, struct lab_total *t)
{
	const struct sim_result *r = &t->r;
	json_set(x, "consensus_time_ms", times_json(t->times, t->time_count));
	json_set(x, "messages_per_decision", json_real(result_normal_case(r, measures(t))));
	json_set(x, "theory_messages_per_decision",
		 json_real(theory_pipelined(so->protocol, so->nodes, so->dead)));
	json_set(x, "lone_messages_per_decision",
		 json_real(result_normal_case(r, measures(t)) +
			   (t->measured ? share(r, t->m.phase[PHASE_CERTIFICATE])
					: share(r, alone(t)))));
	json_set(x, "theory", theory_json(so));
	json_set(x, "bytes_per_decision", json_real(share(r, r->bytes)));
	json_set(x, "authenticators_per_decision",
		 json_real(share(r, r->signatures.made + r->signatures.checked)));
	json_set(x, "signatures_made", json_u64(r->signatures.made));
	json_set(x, "signatures_checked", json_u64(r->signatures.checked));
	json_set(x, "by_type", by_type_json(t, true));
	json_set(x, "other_by_type", by_type_json(t, false));
	if (t->measured)
		set_measured_traffic(x, t);
}

/* ---- the course of the run --------------------------------------------------------------- */

static struct json *windows_json(const struct sim_measures *m)
{
	struct json *a = json_array();
	for (uint32_t i = 0; i < m->windows; i++) {
		struct json *o = json_object();
		json_set(o, "at_ms", result_ms(i * m->window_us));
		json_set(o, "decisions", json_int(m->window[i]));
		json_append(a, o);
	}
	return a;
}

static struct json *failover_json(const struct sim_measures *m)
{
	const struct measure_failover *f = &m->failover;
	const uint64_t part[] = {f->detection, f->election, f->first_commit, f->backlog};
	struct json *o = json_object();
	uint64_t total = 0;
	bool any = false;
	for (unsigned i = 0; i < MEM_COUNT(part); i++)
		if (part[i] != MEASURE_NEVER) {
			total += part[i];
			any = true;
		}
	json_set(o, "detection_ms", ms_or_null(f->detection));
	json_set(o, "election_ms", ms_or_null(f->election));
	json_set(o, "first_commit_ms", ms_or_null(f->first_commit));
	json_set(o, "backlog_ms", ms_or_null(f->backlog));
	json_set(o, "total_ms", ms_or_null(any ? total : MEASURE_NEVER));
	json_set(o, "messages", any ? json_u64(m->failover_messages) : json_null());
	return o;
}

static struct json *transitions_json(const struct sim_measures *m)
{
	struct json *o = json_object();
	for (uint32_t i = 0; i < m->transition_count; i++)
		json_set(o, m->transition[i].name, json_u64(m->transition[i].count));
	return o;
}

static struct json *event_json(const struct measure_event *e)
{
	struct json *o = json_object();
	json_set(o, "sent_ms", result_ms(e->sent));
	json_set(o, "received_ms", ms_or_null(e->received));
	json_set(o, "from", json_int(e->from));
	json_set(o, "to", json_int(e->to));
	json_set(o, "type", json_string(engine_message_name(e->type)));
	json_set(o, "height", e->height ? json_u64(e->height) : json_null());
	return o;
}

static struct json *space_time_json(const struct sim_measures *m, unsigned nodes)
{
	struct json *o = json_object(), *events = json_array(), *marks = json_array();
	uint64_t low = UINT64_MAX, high = 0;
	for (uint32_t i = 0; i < m->event_count; i++) {
		const struct measure_event *e = &m->event[i];
		uint64_t end = e->received == MEASURE_NEVER ? e->sent : e->received;
		low = e->sent < low ? e->sent : low;
		high = end > high ? end : high;
		json_append(events, event_json(e));
	}
	for (uint32_t i = 0; i < m->mark_count; i++) {
		struct json *mark = json_object();
		json_set(mark, "at_ms", result_ms(m->mark[i].at));
		json_set(mark, "node", json_int(m->mark[i].node));
		json_set(mark, "text", json_string(m->mark[i].text));
		json_append(marks, mark);
	}
	json_set(o, "from_ms", result_ms(low));
	json_set(o, "to_ms", result_ms(high));
	json_set(o, "why", json_string(measure_moment_name(m->moment)));
	json_set(o, "nodes", json_int(nodes));
	json_set(o, "events", events);
	json_set(o, "marks", marks);
	return o;
}

void result_set_course(struct json *x, const struct sim_options *so, const struct lab_total *t)
{
	const struct sim_measures *m = &t->m;
	json_set(x, "window_ms", result_ms(m->window_us));
	json_set(x, "windows", windows_json(m));
	json_set(x, "failover", failover_json(m));
	json_set(x, "transitions", transitions_json(m));
	json_set(x, "space_time", m->event_count ? space_time_json(m, so->nodes) : json_null());
}
