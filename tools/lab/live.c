/* Scenarios with real processes: `ostrakon net init` makes the homes, ostrakond runs the
 * correct replicas, ostrakond-forged the malicious ones (the same main loop, the engine
 * wrapped); `ostrakon put` is the client, `ostrakon watch` tells what becomes final where. At
 * the end what was acknowledged is read back with proofs, and every entry and proof of the
 * ledger is rechecked from the genesis file. */
#include "tools/lab/live.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define WARM_UP		5  /* writes before anything happens */
#define LEADER_TRIES	60 /* honest leaders stopped, until a forged one leads */
#define MODES_EVERY_US	500000
#define NUDGE_EVERY_US	300000	/* idle: a write now and then, until the attack has struck */
#define LIVE_LEAST_US	5000000 /* how long what shall not happen is waited for */
#define PROGRESS_MS	30000
#define RETURN_US	60000000 /* from the last escalation back to fast, after healing */
#define ABSENT_UNTIL_US 90000000 /* the longest that a run may be asked to last */

static bool say(struct live *w, enum sim_verdict verdict, const char *text)
{
	if (w->r.verdict == SIM_OK) {
		w->r.verdict = verdict;
		snprintf(w->r.text, sizeof w->r.text, "%s", text);
	}
	return false;
}

/* ---- beginning --------------------------------------------------------------------------- */

static bool read_url(struct live *w, unsigned i)
{
	char path[600];
	snprintf(path, sizeof path, "%s/node%u/api", w->dir, i + 1);
	FILE *f = fopen(path, "r");
	bool there = f && fgets(w->url[i], LIVE_URL_MAX, f);
	if (f)
		fclose(f);
	w->url[i][strcspn(w->url[i], "\r\n")] = 0;
	return there && w->url[i][0];
}

static bool find_leader(struct live *w)
{
	static const char *const verb[] = {"status", NULL};
	for (unsigned i = 0; i < w->n; i++) {
		struct json *doc = read_url(w, i) ? live_ask(w, i, verb) : NULL;
		const char *role = "";
		uint64_t term = 0;
		json_read_string(doc, "role", &role);
		json_read_u64(doc, "term", &term);
		if (strcmp(role, "leader") == 0 && term >= w->leader_term) {
			w->leader = i;
			w->leader_term = term;
			w->leaders |= UINT64_C(1) << i;
		}
		json_free(doc);
	}
	return w->leader < w->n;
}

static bool start(struct live *w)
{
	char nodes[16];
	snprintf(nodes, sizeof nodes, "%u", w->n);
	const char *const init[] = {"net", "init",	  w->dir, "--nodes",
				    nodes, "--probation", "1",	  "--checkpoint-interval",
				    "32",  NULL};
	if (live_cli(w, NULL, init) != 0)
		return false;
	for (unsigned i = 0; i < w->n; i++)
		if (!live_start_node(w, i))
			return false;
	bool all = false;
	for (unsigned tries = 0; tries < 200 && !(all && find_leader(w)); tries++) {
		live_wait(w, 100);
		all = true;
		for (unsigned i = 0; i < w->n; i++)
			all &= read_url(w, i);
	}
	return all && w->leader < w->n;
}

/* Writes that must be acknowledged. */
static bool write_some(struct live *w, unsigned count, unsigned ms)
{
	uint64_t before = w->acknowledged, until = live_us(w) + (uint64_t)ms * 1000;
	while (w->acknowledged < before + count && live_us(w) < until) {
		if (!live_putting(w))
			live_put(w, 0, count);
		live_pump(w, 50);
	}
	return w->acknowledged >= before + count;
}

/* Leaders stand still for a while until a forged node leads, or has; or, if it shall follow,
 * until an honest one does. */
static bool make_way(struct live *w)
{
	bool follower = w->s->who == WHO_FOLLOWER;
	for (unsigned tries = 0; tries < LEADER_TRIES; tries++) {
		unsigned leader = w->leader;
		bool lies = leader < w->n && w->malicious >> leader & 1;
		if (follower ? leader < w->n && !lies : (w->leaders & w->malicious) != 0)
			return true;
		if (leader < w->n && lies == follower) {
			live_pause_node(w, leader, true);
			live_wait(w, 900);
			live_pause_node(w, leader, false);
		}
		live_wait(w, 300);
	}
	return false;
}

/* ---- the script -------------------------------------------------------------------------- */

static void perform(struct live *w, const struct script_action *a, uint64_t mask)
{
	for (unsigned i = 0; i < w->n; i++) {
		if (!(mask >> i & 1))
			continue;
		if (a->kind == SCRIPT_CRASH)
			live_kill_node(w, i);
		if (a->kind == SCRIPT_RESTART && !w->node[i]) {
			w->r.restarts++;
			live_start_node(w, i);
		}
		if (a->kind == SCRIPT_PAUSE)
			live_pause_node(w, i, true);
	}
	if (a->kind == SCRIPT_ATTACK)
		live_order(w, a->attacks);
	if (a->kind == SCRIPT_PEACE)
		live_order(w, 0);
	if (a->kind == SCRIPT_QUIET)
		w->quiet = true;
	if (a->kind == SCRIPT_LOAD)
		w->quiet = false;
}

static void undo(struct live *w, const struct script_action *a, uint64_t mask)
{
	for (unsigned i = 0; i < w->n; i++) {
		if (!(mask >> i & 1))
			continue;
		if (a->kind == SCRIPT_CRASH && !w->node[i]) {
			w->r.restarts++;
			live_start_node(w, i);
		}
		if (a->kind == SCRIPT_PAUSE)
			live_pause_node(w, i, false);
	}
	if (a->kind == SCRIPT_ATTACK)
		live_order(w, 0);
	if (a->kind == SCRIPT_QUIET)
		w->quiet = false;
}

static bool due(const struct live *w, const struct script_action *a, uint64_t now)
{
	switch (a->trigger) {
	case TRIGGER_TIME:
		return now >= a->at;
	case TRIGGER_HEIGHT:
		return w->top >= a->at;
	case TRIGGER_LEADS:
		return w->leader < w->n && w->malicious >> w->leader & 1;
	}
	return false;
}

/* now: since the script began. False: nothing is left to do by time. */
static bool run_script(struct live *w, uint64_t now)
{
	const struct script *script = &w->s->script;
	bool more = false;
	for (unsigned i = 0; i < script->count; i++) {
		const struct script_action *a = &script->action[i];
		if (!w->fired[i] && due(w, a, now)) {
			w->fired[i] = true;
			w->fired_at_us[i] = now;
			w->mask[i] = script_mask(a, w->n, w->leader, w->malicious);
			if (script_hits_leader(a, w->mask[i], w->leader))
				live_leader_lost(w);
			perform(w, a, w->mask[i]);
		}
		if (w->fired[i] && !w->undone[i] && a->for_us &&
		    now >= w->fired_at_us[i] + a->for_us) {
			w->undone[i] = true;
			undo(w, a, w->mask[i]);
		}
		more |= !w->fired[i] && a->trigger == TRIGGER_TIME;
		more |= w->fired[i] && a->for_us && !w->undone[i];
	}
	return more;
}

static void heal(struct live *w)
{
	for (unsigned i = 0; i < w->n; i++) {
		live_pause_node(w, i, false);
		if (!w->node[i]) {
			w->r.restarts++;
			live_start_node(w, i);
		}
	}
	w->healed_at_us = live_us(w);
}

/* ---- the run ----------------------------------------------------------------------------- */

static bool struck(struct live *w)
{
	live_count_strikes(w);
	for (unsigned a = 0; a < ATTACKS; a++)
		if (w->r.strikes[a])
			return true;
	return false;
}

/* Does all that is to happen some time hold by now? What shall never happen takes its time. */
static bool fulfilled(struct live *w, uint64_t elapsed)
{
	const struct scenario *s = w->s;
	bool waits = false;
	for (unsigned i = 0; i < s->expect_count; i++) {
		const struct expectation *e = &s->expect[i];
		switch (e->kind) {
		case EXPECT_CONVICTED:
		case EXPECT_MODE_CHANGE:
		case EXPECT_EVIDENCE:
		case EXPECT_RETURN:
		case EXPECT_STRUCK:
		case EXPECT_CULPRITS:
		case EXPECT_CONFLICT:
			if (!result_holds(&w->r, e, w->n))
				return false;
			break;
		case EXPECT_NO_CONFLICT:
		case EXPECT_PROGRESS:
		case EXPECT_INNOCENT:
		case EXPECT_NO_MODE_CHANGE:
		case EXPECT_AVAILABILITY:
		case EXPECT_FAILOVER:
		case EXPECT_ONE_TERM:
		case EXPECT_COUNTS:
		case EXPECT_KINDS:
			break;
		}
	}
	waits = scenario_expects(s, EXPECT_NO_MODE_CHANGE) != NULL;
	return elapsed >= (waits ? LIVE_LEAST_US : 0);
}

static void act(struct live *w)
{
	uint64_t begin = live_us(w), modes_at = 0, nudged_at = 0;
	uint64_t longest = (uint64_t)w->o->seconds * 1000000;
	bool idle = w->o->idle || w->s->clients == 0, over = false;
	while (!over) {
		uint64_t now = live_us(w) - begin;
		bool more = run_script(w, now), attacked = struck(w);
		if (!idle)
			live_load(w);
		else if (scenario_expects(w->s, EXPECT_STRUCK) && !attacked &&
			 !live_putting(w) && now >= nudged_at + NUDGE_EVERY_US) {
			nudged_at = now;
			live_put(w, 0, 1);
		}
		live_pump(w, 20);
		if (now >= modes_at + MODES_EVERY_US) {
			modes_at = now;
			if (w->changed_mode)
				live_read_modes(w, false);
			over = !more && now >= w->s->duration_us && fulfilled(w, now);
		}
		over |= now >= longest && !more;
		over |= now >= ABSENT_UNTIL_US;
	}
}

static bool beyond_f(const struct live *w)
{
	return (unsigned)__builtin_popcountll(w->malicious) > quorum_of(w->n).f;
}

/* Every correct node has, after a while, what any has acknowledged. */
static void read_back(struct live *w)
{
	unsigned behind = 0, all = 0;
	for (unsigned i = 0; i < w->n; i++) {
		if (w->malicious >> i & 1)
			continue;
		bool there = live_all_there(w, i);
		for (unsigned tries = 0; tries < 5 && !there; tries++) {
			live_wait(w, 1000);
			there = live_all_there(w, i);
		}
		all++;
		behind += !there;
	}
	if (all && behind == all)
		say(w, SIM_SAFETY, "what was acknowledged is not there");
	else if (behind)
		say(w, SIM_LIVENESS, "a correct node does not get what was acknowledged");
}

/* The return takes its probation, with or without load. */
static void await_fast(struct live *w)
{
	uint64_t until = live_us(w) + RETURN_US;
	if (!scenario_expects(w->s, EXPECT_RETURN))
		return;
	while (live_read_modes(w, false) && w->r.in_pbft && live_us(w) < until)
		live_wait(w, 500);
}

static void finish(struct live *w)
{
	const char *const proofs[] = {"evidence", "--verify", "--home", w->dir,
				      "--node",	  "node1",    NULL};
	heal(w);
	if (beyond_f(w)) { /* nothing is promised */
		live_count_strikes(w);
		w->r.acknowledged = w->acknowledged;
		w->r.virtual_us = live_us(w);
		return;
	}
	live_order(w, 0); /* a liar that leads again would change the end while it is judged */
	if (!write_some(w, WARM_UP, PROGRESS_MS))
		say(w, SIM_LIVENESS, "writes are not acknowledged after healing");
	await_fast(w);
	w->quiet = true;
	for (uint64_t until = live_us(w) + 12000000; live_putting(w) && live_us(w) < until;)
		live_pump(w, 50);
	if (!live_read_modes(w, true))
		say(w, SIM_SAFETY, "an entry of the ledger, or its proof, does not verify");
	if (live_cli(w, NULL, proofs) != 0)
		say(w, SIM_SAFETY, "a proof that a node holds does not verify");
	live_count_strikes(w);
	if (w->r.conflicts)
		say(w, SIM_SAFETY, "correct nodes report different blocks at one height");
	read_back(w);
	w->r.acknowledged = w->acknowledged;
	w->r.virtual_us = live_us(w);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void end(struct live *w)
{
	for (unsigned i = 0; i < LIVE_CLIENTS_MAX; i++)
		child_end(&w->client[i].put);
	live_watch_end(w);
	live_stop(w);
	mem_free(w->log);
}

static struct live *make(const struct lab_options *o, const struct scenario *s)
{
	struct live *w = mem_zalloc(sizeof *w);
	char base[500];
	const char *tmp = getenv("TMPDIR");
	w->o = o;
	w->s = s;
	w->n = w->leader = o->nodes ? o->nodes : s->nodes;
	w->leader = w->n;
	unsigned forged = scenario_corrupt(s, w->n);
	w->malicious = forged ? (UINT64_MAX >> (64 - forged)) << (w->n - forged) : 0;
	w->r.corrupt_mask = w->malicious;
	w->began_us = live_now_us();
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		w->watcher[i].fd = -1;
	for (unsigned i = 0; i < LIVE_CLIENTS_MAX; i++)
		w->client[i].put.fd = -1;
	snprintf(base, sizeof base, "%s/ostrakon-lab-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(base)) {
		fprintf(stderr, "ostrakon-lab: %s: %s\n", base, strerror(errno));
		mem_free(w);
		return NULL;
	}
	snprintf(w->dir, sizeof w->dir, "%s/net", base);
	return w;
}

static void print_live(const struct live *w)
{
	if (!beyond_f(w))
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

static bool report(struct live *w)
{
	struct sim_options so = {.nodes = w->n, .protocol = w->s->protocol, .live = true};
	struct lab_total *t = mem_zalloc(sizeof *t);
	result_add(t, w->s, &so, &w->r, (double)live_us(w) / 1e6);
	bool good = !t->failed && w->r.verdict == SIM_OK;
	if (w->o->format == LAB_TABLE) {
		result_print(w->s, &so, t);
		print_live(w);
	} else {
		struct json *x = result_json(w->s, &so, t);
		json_set(x, "idle", json_bool(w->o->idle || w->s->clients == 0));
		json_set(x, "passed", json_bool(good));
		lab_print(x, w->o->format);
		json_free(x);
	}
	result_free(t);
	mem_free(t);
	return good;
}

static int run(struct live *w)
{
	bool leads = true;
	if (!start(w)) {
		fprintf(stderr,
			"ostrakon-lab: the network in %s did not come up; see the logs there\n",
			w->dir);
		return LAB_EXIT_UNREACHABLE;
	}
	live_watch_begin(w);
	if (!write_some(w, WARM_UP, PROGRESS_MS))
		say(w, SIM_LIVENESS, "the first writes are not acknowledged");
	if ((w->s->who == WHO_LEADER || w->s->who == WHO_FOLLOWER) && w->malicious)
		leads = make_way(w);
	if (!leads)
		say(w, SIM_LIVENESS, "no forged node came to lead, or none to follow");
	act(w);
	finish(w);
	return report(w) ? LAB_EXIT_OK : LAB_EXIT_FAILED;
}

/* An idle network has nothing to make final: its availability says nothing. */
static void expect_of_idle(struct scenario *s)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < s->expect_count; i++)
		if (s->expect[i].kind != EXPECT_AVAILABILITY)
			s->expect[kept++] = s->expect[i];
	s->expect_count = kept;
}

int lab_live(const struct lab_options *o)
{
	struct scenario *s = mem_zalloc(sizeof *s);
	struct errmsg m;
	int code = LAB_EXIT_CONFIG;
	if (scenario_read(s, o->name, &m)) {
		fprintf(stderr, "ostrakon-lab: %s\n", m.text);
	} else if (!scenario_is_live(s, &m)) {
		fprintf(stderr, "ostrakon-lab: %s\n", m.text);
		code = LAB_EXIT_USAGE;
	} else {
		if (o->idle || s->clients == 0)
			expect_of_idle(s);
		struct live *w = make(o, s);
		if (w) {
			code = run(w);
			end(w);
			*strrchr(w->dir, '/') = 0;
			if (o->keep || code != LAB_EXIT_OK)
				fprintf(stderr, "kept: %s\n", w->dir);
			else
				nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
			mem_free(w);
		}
	}
	mem_free(s);
	return code;
}
