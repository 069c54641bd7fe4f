/* A live run as a whole: from the options to what is printed, or to its JSON. */
#include "tools/lab/live_run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sim/measure.h"
#include "tools/lab/calibrate.h"
#include "tools/lab/live.h"
#include "tools/lab/shell.h"

#define WINDOWS_MAX 600

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

bool live_interrupted(void)
{
	return interrupted != 0;
}

/* Whoever is interrupted leaves no directory behind. Waits are cut short: poll() returns. */
static void catch_signals(struct sigaction was[2])
{
	struct sigaction now = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
	interrupted = 0;
	sigaction(SIGINT, &now, &was[0]);
	sigaction(SIGTERM, &now, &was[1]);
}

static void release_signals(const struct sigaction was[2])
{
	sigaction(SIGINT, &was[0], NULL);
	sigaction(SIGTERM, &was[1], NULL);
}

/* An idle network has nothing to make final: its availability says nothing. Untimed: what the
 * machine has left for the nodes decides nothing either; there is to be progress, at some time.
 */
static void leave_out(struct scenario *s, bool idle, bool untimed)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < s->expect_count; i++) {
		struct expectation e = s->expect[i];
		if ((e.kind == EXPECT_AVAILABILITY && (idle || untimed)) ||
		    (e.kind == EXPECT_FAILOVER && untimed))
			continue;
		if (e.kind == EXPECT_PROGRESS && untimed)
			e.value = 0;
		s->expect[kept++] = e;
	}
	s->expect_count = kept;
}

static void print_live(const struct live *w)
{
	const struct relay_stats *s = &w->traffic;
	if (!live_beyond_f(w))
		printf("  live: %llu writes acknowledged and read back with proofs: %s\n",
		       (unsigned long long)w->acknowledged,
		       w->r.verdict == SIM_SAFETY ? "NO" : "yes");
	if (w->r.first_proof_us && w->r.first_pbft_us)
		printf("  from proof to first pbft block: %.0f ms\n",
		       (double)(w->r.first_pbft_us - w->r.first_proof_us) / 1000);
	if (w->r.first_conviction_us && w->r.fast_again_us)
		printf("  from conviction to fast mode: %.0f ms\n",
		       (double)(w->r.fast_again_us - w->r.first_conviction_us) / 1000);
	if (w->o->direct)
		return;
	printf("  relay: %llu connections, %llu pieces, %llu of them lost and sent again (TCP: "
	       "a stall of %u ms or more), %llu connections reset, at most %llu kB held of "
	       "one\n",
	       (unsigned long long)s->connections, (unsigned long long)s->pieces,
	       (unsigned long long)s->lost, RELAY_RTO_US / 1000, (unsigned long long)s->resets,
	       (unsigned long long)s->held_max / 1000);
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static struct json *client_json(struct live *w)
{
	static const struct {
		const char *name;
		unsigned percent;
	} at[] = {{"p50", 50}, {"p95", 95}, {"p99", 99}, {"max", 100}};
	struct json *o = json_object();
	qsort(w->latency, w->latencies, sizeof *w->latency, ascending);
	for (unsigned i = 0; i < MEM_COUNT(at); i++)
		json_set(o, at[i].name,
			 w->latencies ? json_real((double)w->latency[(w->latencies - 1) *
								     at[i].percent / 100] /
						  1000)
				      : json_null());
	return o;
}

/* At most WINDOWS_MAX, else each twice as long, and again. */
static void set_windows(struct json *x, const struct live *w)
{
	struct json *a = json_array();
	size_t each = 1;
	while (w->window_count / each > WINDOWS_MAX)
		each *= 2;
	for (size_t i = 0; i < w->window_count; i += each) {
		struct json *o = json_object();
		uint64_t sum = 0;
		for (size_t k = i; k < i + each && k < w->window_count; k++)
			sum += w->windows[k];
		json_set(o, "at_ms", json_u64(i * LIVE_WINDOW_US / 1000));
		json_set(o, "decisions", json_u64(sum));
		json_append(a, o);
	}
	json_set(x, "window_ms", json_u64(each * LIVE_WINDOW_US / 1000));
	json_set(x, "windows", a);
}

/* A certificate that went alone is in `normal`: no counter tells it apart. */
static struct json *phases_json(const struct live *w)
{
	struct json *o = json_object();
	for (unsigned p = 0; p < PHASES; p++) {
		uint64_t sum = 0;
		for (unsigned t = 0; t < ENGINE_MESSAGE_TYPES; t++)
			if (measure_phase_of((uint8_t)t) == (enum measure_phase)p)
				sum += w->r.messages[t];
		json_set(o, measure_phase_name((enum measure_phase)p),
			 json_real(w->r.decisions ? (double)sum / (double)w->r.decisions : 0));
	}
	return o;
}

static struct json *authenticators_json(const struct live *w)
{
	double decisions = w->r.decisions ? (double)w->r.decisions : 1;
	struct json *o = json_object();
	json_set(o, "signed", json_real((double)w->r.signatures.made / decisions));
	json_set(o, "verified", json_real((double)w->r.signatures.checked / decisions));
	return o;
}

static struct json *relay_json(const struct live *w)
{
	const struct relay_stats *s = &w->traffic;
	struct json *o = json_object();
	json_set(o, "bytes", json_u64(s->bytes));
	json_set(o, "pieces", json_u64(s->pieces));
	json_set(o, "lost", json_u64(s->lost));
	json_set(o, "connections", json_u64(s->connections));
	json_set(o, "resets", json_u64(s->resets));
	json_set(o, "held_max_bytes", json_u64(s->held_max));
	return o;
}

static struct json *span(uint64_t from, uint64_t to)
{
	return from && to >= from ? json_real((double)(to - from) / 1000) : json_null();
}

/* Detection is seen only where a candidate says so before somebody leads. */
static struct json *failover_json(const struct live_failover *f)
{
	struct json *o = json_object();
	uint64_t detected = f->detected ? f->detected : f->lost;
	json_set(o, "detection_ms", span(f->lost, f->detected));
	json_set(o, "election_ms", span(detected, f->elected));
	json_set(o, "first_commit_ms", span(f->elected ? f->elected : detected, f->committed));
	json_set(o, "backlog_ms", json_null());
	json_set(o, "total_ms", span(f->lost, f->committed));
	return o;
}

static struct json *transitions_json(const struct live *w)
{
	struct json *o = json_object();
	for (unsigned i = 0; i < w->transitions; i++)
		json_set(o, w->transition[i].name, json_u64(w->transition[i].count));
	return o;
}

const char *lab_seconds_text(char out[LAB_SECONDS_TEXT], unsigned seconds)
{
	*out = 0;
	if (seconds != LAB_SECONDS)
		snprintf(out, LAB_SECONDS_TEXT, " --seconds %u", seconds);
	return out;
}

static void set_repeat(struct json *x, const struct live *w)
{
	char seconds[LAB_SECONDS_TEXT];
	char *scenario = shell_word(scenario_argument(w->s));
	char *text =
		mem_printf("ostrakon-lab live %s --protocol %s --nodes %u --seed %llu%s%s%s%s",
			   scenario, protocol_name(live_protocol(w)), w->n,
			   (unsigned long long)w->o->seed,
			   lab_seconds_text(seconds, w->o->seconds), w->o->idle ? " --idle" : "",
			   w->o->untimed ? " --untimed" : "", w->o->direct ? " --direct" : "");
	json_set(x, "repeat", json_string(text));
	mem_free(text);
	mem_free(scenario);
}

/* What a live run knows besides what the simulator's result has. */
static void set_measures(struct json *x, struct live *w, const struct lab_total *t)
{
	struct json *bytes = json_object();
	struct calibration c;
	double s = (double)w->window_us / 1e6;
	(void)t;
	for (unsigned i = 0; i < ENGINE_MESSAGE_TYPES; i++)
		if (w->type_bytes[i])
			json_set(bytes, engine_message_name((uint8_t)i),
				 json_u64(w->type_bytes[i]));
	json_set(x, "bytes_by_type", bytes);
	json_set(x, "by_phase", phases_json(w));
	json_set(x, "authenticators", authenticators_json(w));
	json_set(x, "throughput_per_s",
		 json_real(s > 0 ? (double)w->window_acknowledged / s : 0));
	json_set(x, "window_s", json_real(s));
	set_windows(x, w);
	json_set(x, "client_ms", client_json(w));
	json_set(x, "gave_up", json_u64(w->gave_up));
	json_set(x, "failover", failover_json(&w->failover));
	json_set(x, "transitions", transitions_json(w));
	json_set(x, "space_time", json_null()); /* no node sees all messages */
	set_repeat(x, w);
	json_set(x, "relay", w->o->direct ? json_null() : relay_json(w));
	calibrate(w->dir, &c);
	json_set(x, "calibration", calibration_json(&c));
}

static struct json *live_json(struct live *w, const struct sim_options *so, struct lab_total *t,
			      bool passed)
{
	struct json *x = result_json(w->s, so, t);
	set_measures(x, w, t);
	json_set(x, "idle", json_bool(live_is_idle(w)));
	json_set(x, "passed", json_bool(passed));
	return x;
}

/* out: NULL, or where the JSON goes; else it is printed. An error: there was no run. */
static int perform(const struct lab_options *o, struct json **out, bool *passed,
		   struct errmsg *m)
{
	struct scenario *s = mem_zalloc(sizeof *s);
	struct lab_total *t = mem_zalloc(sizeof *t);
	struct live *w = NULL;
	struct sigaction was[2];
	catch_signals(was);
	int err = scenario_read(s, o->name, m);
	if (!err && !scenario_is_live(s, m))
		err = ERR_UNSUPPORTED;
	if (!err && !lab_may_save(o))
		err = err_set(m, ERR_UNSUPPORTED, "a run file needs a new name");
	if (!err && o->direct && scenario_needs_relay(s))
		err = err_set(m, ERR_UNSUPPORTED,
			      "%s does something to the network: not without the relay",
			      s->name);
	if (!err)
		leave_out(s, o->idle || s->clients == 0, o->untimed);
	if (!err && !(w = live_new(o, s, m)))
		err = ERR_IO;
	if (!err)
		err = live_play(w, m);
	*passed = false;
	if (!err) {
		struct sim_options so = {
			.nodes = w->n, .protocol = live_protocol(w), .live = true};
		result_add(t, s, &so, &w->r, (double)live_us(w) / 1e6);
		*passed = !t->failed && w->r.verdict == SIM_OK;
		if (!*passed || o->save)
			lab_save(o, s, &so, &w->r, !*passed);
		if (!out && o->format == LAB_TABLE) {
			result_print(s, &so, t);
			print_live(w);
		} else {
			struct json *x = live_json(w, &so, t, *passed);
			if (out) {
				*out = x;
			} else {
				lab_print(x, o->format);
				json_free(x);
			}
		}
	}
	if (w)
		live_free(w, o->keep || (!*passed && err != ERR_CLOSED));
	release_signals(was);
	mem_free(t->times);
	mem_free(t);
	mem_free(s);
	return err;
}

struct json *lab_live_run(const struct lab_options *o, struct errmsg *m)
{
	struct json *x = NULL;
	bool passed;
	return perform(o, &x, &passed, m) ? NULL : x;
}

int lab_live(const struct lab_options *o)
{
	struct errmsg m;
	bool passed;
	int err = perform(o, NULL, &passed, &m);
	if (!err)
		return passed ? LAB_EXIT_OK : LAB_EXIT_FAILED;
	fprintf(stderr, "ostrakon-lab: %s\n", m.text);
	return live_interrupted()			 ? LAB_EXIT_INTERRUPTED
	       : err == ERR_UNSUPPORTED			 ? LAB_EXIT_USAGE
	       : err == ERR_UNREACHABLE || err == ERR_IO ? LAB_EXIT_UNREACHABLE
							 : LAB_EXIT_CONFIG;
}
