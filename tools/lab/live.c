/* Scenarios with real processes: `ostrakon net init` makes the homes, ostrakond runs the
 * correct replicas, ostrakond-forged the malicious ones (the same main loop, the engine
 * wrapped); `ostrakon put` is the client, `ostrakon watch` tells what becomes final where. At
 * the end what was acknowledged is read back with proofs, and every entry and proof of the
 * ledger is rechecked from the genesis file. */
#include "tools/lab/live.h"
#include "tools/lab/shell.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define WARM_UP		  5  /* writes before anything happens */
#define LEADER_TRIES	  60 /* honest leaders stopped, until a forged one leads */
#define MODES_EVERY_US	  500000
#define NUDGE_EVERY_US	  300000  /* idle: a write now and then, until the attack has struck */
#define LEAD_AGAIN_US	  5000000 /* after an attack that came to nothing */
#define LIVE_DECISIONS_US 8000000
#define LIVE_LEAST_US	  5000000 /* how long what shall not happen is waited for */
#define PROGRESS_MS	  30000
#define RETURN_US	  60000000 /* from the last escalation back to fast, after healing */
#define ONE_TERM_US	  20000000
#define ABSENT_UNTIL_US	  90000000 /* the longest that a run may be asked to last */

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

static bool start(struct live *w, struct errmsg *m)
{
	char nodes[16];
	snprintf(nodes, sizeof nodes, "%u", w->n);
	const char *const init[] = {"net",
				    "init",
				    w->dir,
				    "--nodes",
				    nodes,
				    "--probation",
				    "1",
				    "--checkpoint-interval",
				    "32",
				    "--protocol",
				    protocol_name(live_protocol(w)),
				    NULL};
	if (live_cli(w, NULL, init) != 0 || !live_net_begin(w, m) || !live_keys(w, m))
		return false;
	for (unsigned i = 0; i < w->n; i++)
		if (!live_start_node(w, i))
			return false;
	bool all = false;
	for (unsigned tries = 0; tries < 200 && !(all && find_leader(w)) && !live_interrupted();
	     tries++) {
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
	while (w->acknowledged < before + count && live_us(w) < until && !live_interrupted()) {
		if (!live_putting(w))
			live_put(w, 0, count);
		live_pump(w, 50);
	}
	return w->acknowledged >= before + count;
}

static bool struck(struct live *w)
{
	live_count_strikes(w);
	for (unsigned a = 0; a < ATTACKS; a++)
		if (w->r.strikes[a])
			return true;
	return false;
}

/* Leaders stand still for a while until a forged node leads, or has; or, if it shall follow,
 * until an honest one does. */
static bool make_way(struct live *w)
{
	bool follower = w->s->who == WHO_FOLLOWER;
	for (unsigned tries = 0; tries < LEADER_TRIES && !live_interrupted(); tries++) {
		unsigned leader = w->leader;
		bool lies = leader < w->n && w->malicious >> leader & 1;
		if (follower ? leader < w->n && !lies : (w->leaders & w->malicious) != 0)
			return true;
		if (struck(w)) /* it led before we looked, and may have been convicted since */
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
		live_node_faults(w, i);
	}
	if (a->kind == SCRIPT_PARTITION || a->kind == SCRIPT_ISOLATE ||
	    a->kind == SCRIPT_DEAFEN || a->kind == SCRIPT_MUTE)
		w->r.partitions++;
	if (a->kind == SCRIPT_RESET)
		live_net_reset(w, mask);
	if (a->kind == SCRIPT_HEAL)
		live_net_heal(w);
	live_net_apply(w);
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
		live_node_faults(w, i);
	}
	live_net_apply(w);
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
	live_storm_end(w);
	w->healed_at_us = live_us(w);
	live_net_apply(w);
	for (unsigned i = 0; i < w->n; i++) {
		live_pause_node(w, i, false);
		if (!w->node[i]) {
			w->r.restarts++;
			live_start_node(w, i);
		}
		live_node_faults(w, i);
	}
	w->healed_at_us = live_us(w);
}

/* ---- the run ----------------------------------------------------------------------------- */

/* Has what the attacks are to bring about come? A strike alone may come to nothing: its leader
 * is replaced before two honest nodes have compared what they got. */
static bool brought_about(struct live *w)
{
	for (unsigned i = 0; i < w->s->expect_count; i++) {
		const struct expectation *e = &w->s->expect[i];
		switch (e->kind) {
		case EXPECT_CONVICTED:
		case EXPECT_MODE_CHANGE:
		case EXPECT_EVIDENCE:
		case EXPECT_STRUCK:
		case EXPECT_CULPRITS:
		case EXPECT_CONFLICT:
			if (!result_holds(&w->r, e, w->n))
				return false;
			break;
		case EXPECT_RETURN:
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
	return true;
}

/* Blocks are wanted, as in the simulator, but not for ever; not of a fork. */
static bool has_decided(const struct live *w, uint64_t elapsed)
{
	return live_is_idle(w) || elapsed >= LIVE_DECISIONS_US ||
	       scenario_expects(w->s, EXPECT_CONFLICT) ||
	       w->top >= w->window_from + w->s->decisions;
}

/* What shall never happen takes its time. */
static bool fulfilled(struct live *w, uint64_t elapsed)
{
	bool waits = scenario_expects(w->s, EXPECT_NO_MODE_CHANGE) != NULL;
	if (scenario_expects(w->s, EXPECT_RETURN) && w->r.in_pbft)
		return false;
	return brought_about(w) && has_decided(w, elapsed) &&
	       elapsed >= (waits ? LIVE_LEAST_US : 0);
}

/* An attack that takes a leader and has come to nothing: the way is made again. led_at: when a
 * forged node was last seen to lead. */
static void lead_again(struct live *w, uint64_t now, uint64_t *led_at)
{
	unsigned leader = w->leader;
	bool lies = leader < w->n && w->malicious >> leader & 1;
	if (w->s->who != WHO_LEADER || !w->malicious || lies)
		*led_at = now;
	if (now < *led_at + LEAD_AGAIN_US || leader >= w->n || w->paused >> leader & 1)
		return;
	*led_at = now - LEAD_AGAIN_US + 1000000;
	live_pause_node(w, leader, true);
	live_wait(w, 900);
	live_pause_node(w, leader, false);
}

static void act(struct live *w)
{
	uint64_t begin = live_us(w), modes_at = 0, nudged_at = 0, led_at = 0;
	uint64_t longest = (uint64_t)w->o->seconds * 1000000;
	bool idle = live_is_idle(w), over = false;
	while (!over && !live_interrupted()) {
		uint64_t now = live_us(w) - begin;
		bool more = run_script(w, now);
		if (w->s->storm)
			live_storm(w, now);
		live_count_strikes(w);
		bool wanting = scenario_expects(w->s, EXPECT_STRUCK) && !brought_about(w);
		if (wanting)
			lead_again(w, now, &led_at);
		live_patience(w);
		if (!idle) {
			live_load(w);
		} else if (wanting && !live_putting(w) && now >= nudged_at + NUDGE_EVERY_US) {
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

enum protocol live_protocol(const struct live *w)
{
	return w->o->protocol ? w->o->protocol : w->s->protocol;
}

bool live_is_idle(const struct live *w)
{
	return w->o->idle || w->s->clients == 0;
}

bool live_beyond_f(const struct live *w)
{
	unsigned tolerated = protocol_is_byzantine(live_protocol(w)) ? quorum_of(w->n).f : 0;
	return (unsigned)__builtin_popcountll(w->malicious) > tolerated;
}

/* Every correct node has, after a while, what any has acknowledged. */
static void read_back(struct live *w)
{
	unsigned behind = 0, all = 0;
	for (unsigned i = 0; i < w->n; i++) {
		if (w->malicious >> i & 1)
			continue;
		bool there = live_all_there(w, i);
		for (unsigned tries = 0; tries < 5 && !there && !live_interrupted(); tries++) {
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
	while (live_read_modes(w, false) && w->r.in_pbft && live_us(w) < until &&
	       !live_interrupted())
		live_wait(w, 500);
}

/* Do all correct nodes follow one leader, in one term? */
static bool in_one_term(struct live *w)
{
	static const char *const verb[] = {"status", NULL};
	uint64_t one = 0;
	for (unsigned i = 0; i < w->n; i++) {
		struct json *doc = w->malicious >> i & 1 ? NULL : live_ask(w, i, verb);
		const char *leader = NULL;
		uint64_t term = 0;
		json_read_u64(doc, "term", &term);
		json_read_string(doc, "leader", &leader);
		bool follows = leader && term && (!one || term == one);
		json_free(doc);
		if (!follows && !(w->malicious >> i & 1))
			return false;
		one = term ? term : one;
	}
	return true;
}

static void await_one_term(struct live *w)
{
	uint64_t until = live_us(w) + ONE_TERM_US;
	if (!scenario_expects(w->s, EXPECT_ONE_TERM))
		return;
	while (!live_interrupted() && !in_one_term(w)) {
		if (live_us(w) >= until) {
			say(w, SIM_LIVENESS, "a correct node is in a term of its own");
			return;
		}
		live_wait(w, 300);
	}
}

static void finish(struct live *w)
{
	const char *const proofs[] = {"evidence", "--verify", "--home", w->dir,
				      "--node",	  "node1",    NULL};
	heal(w);
	if (live_beyond_f(w)) { /* nothing is promised */
		live_count_strikes(w);
		w->r.acknowledged = w->acknowledged;
		w->r.virtual_us = live_us(w);
		return;
	}
	live_order(w, 0); /* a liar that leads again would change the end while it is judged */
	if (!write_some(w, WARM_UP, PROGRESS_MS))
		say(w, SIM_LIVENESS, "writes are not acknowledged after healing");
	await_fast(w);
	await_one_term(w);
	w->quiet = true;
	for (uint64_t until = live_us(w) + 12000000;
	     live_putting(w) && live_us(w) < until && !live_interrupted();)
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

struct live *live_new(const struct lab_options *o, const struct scenario *s, struct errmsg *m)
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
		err_set(m, ERR_IO, "%s: %s", base, strerror(errno));
		mem_free(w);
		return NULL;
	}
	snprintf(w->dir, sizeof w->dir, "%s/net", base);
	return w;
}

/* Once interrupted, whatever waits stops waiting: what comes after it is soon done. */
static void play(struct live *w)
{
	bool leads = true;
	live_watch_begin(w);
	if (!write_some(w, WARM_UP, PROGRESS_MS))
		say(w, SIM_LIVENESS, "the first writes are not acknowledged");
	if ((w->s->who == WHO_LEADER || w->s->who == WHO_FOLLOWER) && w->malicious)
		leads = make_way(w);
	if (!leads)
		say(w, SIM_LIVENESS, "no forged node came to lead, or none to follow");
	live_window_begin(w);
	act(w);
	live_window_end(w);
	if (w->relay)
		relay_stats(w->relay, &w->traffic);
	finish(w);
}

int live_play(struct live *w, struct errmsg *m)
{
	m->text[0] = 0;
	bool up = start(w, m);
	if (up)
		play(w);
	if (live_interrupted())
		return err_set(m, ERR_CLOSED, "interrupted");
	return up ? ERR_NONE
		  : err_set(m, ERR_UNREACHABLE,
			    "the network in %s did not come up; see the logs there%s%s", w->dir,
			    m->text[0] ? ": " : "", m->text);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void live_free(struct live *w, bool keep)
{
	for (unsigned i = 0; i < LIVE_CLIENTS_MAX; i++)
		child_end(&w->client[i].put);
	live_watch_end(w);
	live_stop(w);
	bool whole = live_net_end(w, keep) && w->leader_term > 0;
	*strrchr(w->dir, '/') = 0;
	if (keep) {
		char *net = mem_printf("%s/net", w->dir), *word = shell_word(net);
		fprintf(stderr, "kept: %s%s%s\n", w->dir,
			whole ? "; its network comes up again with: ostrakon net up " : "",
			whole ? word : "");
		mem_free(word);
		mem_free(net);
	} else {
		nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	}
	mem_free(w->log);
	mem_free(w->latency);
	mem_free(w->windows);
	mem_free(w);
}
