/* A live run as a whole: from the options to what is printed, or to its JSON. */
#include "tools/lab/live_run.h"

#include <stdio.h>

#include "base/mem.h"
#include "tools/lab/live.h"

/* An idle network has nothing to make final: its availability says nothing. */
static void expect_of_idle(struct scenario *s)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < s->expect_count; i++)
		if (s->expect[i].kind != EXPECT_AVAILABILITY)
			s->expect[kept++] = s->expect[i];
	s->expect_count = kept;
}

static void print_live(const struct live *w)
{
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
}

static struct json *live_json(struct live *w, const struct sim_options *so, struct lab_total *t,
			      bool passed)
{
	struct json *x = result_json(w->s, so, t);
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
	int err = scenario_read(s, o->name, m);
	if (!err && !scenario_is_live(s, m))
		err = ERR_UNSUPPORTED;
	if (!err && (o->idle || s->clients == 0))
		expect_of_idle(s);
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
		live_free(w, o->keep || !*passed);
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
	return err == ERR_UNSUPPORTED			 ? LAB_EXIT_USAGE
	       : err == ERR_UNREACHABLE || err == ERR_IO ? LAB_EXIT_UNREACHABLE
							 : LAB_EXIT_CONFIG;
}
