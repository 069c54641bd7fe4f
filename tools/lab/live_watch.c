/* What correct nodes say as it happens: blocks, evidence, leaders; and what the ledger says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/live.h"

#define HEIGHTS_MAX 1000000

static unsigned index_of(const struct live *w, const char *name)
{
	unsigned i = 0;
	if (!name || sscanf(name, "node%u", &i) != 1 || i < 1 || i > w->n)
		return w->n;
	return i - 1;
}

static const char *text_of(const struct json *o, const char *key)
{
	const char *text = "";
	json_read_string(o, key, &text);
	return text;
}

static uint64_t number_of(const struct json *o, const char *key)
{
	uint64_t v = 0;
	json_read_u64(o, key, &v);
	return v;
}

/* ---- events ------------------------------------------------------------------------------ */

void live_leader_lost(struct live *w)
{
	if (w->lost_at_us)
		return;
	w->lost_at_us = live_us(w);
	w->lost_term = w->leader_term;
	w->failing = (struct live_failover){.lost = w->lost_at_us};
}

static void measure(struct live *w, const struct seen_block *b)
{
	struct sim_result *r = &w->r;
	uint64_t now = b->at_us;
	if (w->windowed) { /* before and after nothing is asked of the network */
		if (w->first_at_us && now - w->last_at_us > r->longest_gap_us)
			r->longest_gap_us = now - w->last_at_us;
		if (!w->first_at_us)
			w->first_at_us = now;
		if (now / LIVE_WINDOW_US != w->last_at_us / LIVE_WINDOW_US)
			r->windows_with_commit++;
		r->windows = now / LIVE_WINDOW_US - w->first_at_us / LIVE_WINDOW_US + 1;
		w->last_at_us = now;
	}
	if (r->first_proof_us && !r->first_pbft_us && b->pbft)
		r->first_pbft_us = now;
	if (w->healed_at_us && !r->progress_us)
		r->progress_us = now - w->healed_at_us;
	if (w->lost_at_us && b->term > w->lost_term) {
		uint64_t took = now - w->lost_at_us;
		w->failing.committed = now;
		if (took >= r->failover_us) {
			r->failover_us = took;
			w->failover = w->failing;
		}
		w->lost_at_us = 0;
	}
}

static enum cert_kind grade_of(const char *name)
{
	static const enum cert_kind kinds[] = {CERT_ONE_ROUND, CERT_TWO_ROUND, CERT_CRASH};
	for (unsigned i = 0; i < MEM_COUNT(kinds); i++)
		if (strcmp(name, cert_kind_name(kinds[i])) == 0)
			return kinds[i];
	return CERT_TWO_ROUND;
}

static uint64_t signers_of(const struct live *w, const struct json *d)
{
	const struct json *list = json_get(d, "signers");
	uint64_t mask = 0;
	for (size_t i = 0; i < json_len(list); i++) {
		const char *name = NULL;
		json_as_string(json_at(list, i), &name);
		unsigned k = index_of(w, name);
		mask |= k < w->n ? UINT64_C(1) << k : 0;
	}
	return mask;
}

/* Two correct nodes have verified a certificate each. Of one term, height and kind, the votes
 * of those who signed both are evidence. */
static void on_fork(struct live *w, uint64_t height, const struct seen_block *a,
		    const struct seen_block *b)
{
	struct sim_result *r = &w->r;
	if (!r->conflicts++)
		r->fork = (struct sim_fork){.at_us = b->at_us,
					    .height = height,
					    .hash = {a->hash, b->hash},
					    .ref = {{a->term, a->certified, a->hash},
						    {b->term, b->certified, b->hash}},
					    .kind = {a->grade, b->grade}};
	r->culprits |= a->signers & b->signers;
	if (a->term == b->term && a->certified == b->certified && a->grade == b->grade)
		r->proven |= a->signers & b->signers;
}

static void count_decision(struct live *w, uint64_t txs)
{
	if (!w->windowed)
		return;
	size_t at = (live_us(w) - w->window_at_us) / LIVE_WINDOW_US;
	if (at >= w->window_count) {
		w->windows = mem_realloc(w->windows, (at + 1) * sizeof *w->windows);
		memset(w->windows + w->window_count, 0,
		       (at + 1 - w->window_count) * sizeof *w->windows);
		w->window_count = at + 1;
	}
	w->windows[at]++;
	w->r.transactions += txs;
}

static void on_block(struct live *w, const struct json *d)
{
	uint64_t height = number_of(d, "height");
	struct seen_block b = {.known = true,
			       .pbft = strcmp(text_of(d, "mode"), "pbft") == 0,
			       .at_us = live_us(w),
			       .term = number_of(d, "term"),
			       .certified = number_of(d, "certified_height"),
			       .signers = signers_of(w, d),
			       .grade = grade_of(text_of(d, "grade"))};
	if (!height || height > HEIGHTS_MAX || json_read_hex(d, "hash", b.hash.b, HASH_SIZE))
		return;
	if (height >= w->log_cap) {
		size_t cap = 2 * height + 64;
		w->log = mem_realloc(w->log, cap * sizeof *w->log);
		memset(w->log + w->log_cap, 0, (cap - w->log_cap) * sizeof *w->log);
		w->log_cap = cap;
	}
	struct seen_block *known = &w->log[height];
	if (known->known) {
		if (!hash_equal(&known->hash, &b.hash))
			on_fork(w, height, known, &b);
		return;
	}
	*known = b;
	count_decision(w, number_of(d, "tx_count"));
	if (height > w->top) { /* not one that was missed and is told late */
		w->top = height;
		measure(w, &b);
	}
}

static void on_evidence(struct live *w, const struct json *d)
{
	uint64_t culprit = number_of(d, "culprit_index");
	if (culprit >= w->n)
		return;
	if (!w->r.first_proof_us)
		w->r.first_proof_us = live_us(w);
	if (!(w->r.accused_mask >> culprit & 1) && culprit == w->leader)
		live_leader_lost(w);
	w->r.accused_mask |= UINT64_C(1) << culprit;
}

static void count_transition(struct live *w, const char *from, const char *to)
{
	char name[40];
	unsigned i = 0;
	snprintf(name, sizeof name, "%.15s->%.15s", from, to);
	while (i < w->transitions && strcmp(w->transition[i].name, name) != 0)
		i++;
	if (i == LIVE_TRANSITIONS_MAX)
		return;
	if (i == w->transitions)
		snprintf(w->transition[w->transitions++].name, sizeof name, "%s", name);
	w->transition[i].count++;
}

/* Of a correct node, as it tells it: what came and went between two of its looks is not seen.
 */
static void note_state(struct live *w, unsigned who, const struct json *d)
{
	const char *role = text_of(d, "role"), *mode = text_of(d, "mode");
	if (*role && w->role[who][0] && strcmp(role, w->role[who]) != 0)
		count_transition(w, w->role[who], role);
	if (*mode && w->mode[who][0] && strcmp(mode, w->mode[who]) != 0)
		count_transition(w, w->mode[who], mode);
	snprintf(w->role[who], sizeof w->role[who], "%.15s", role);
	snprintf(w->mode[who], sizeof w->mode[who], "%.15s", mode);
	if (!w->lost_at_us || w->failing.elected)
		return;
	if (!w->failing.detected && strcmp(role, "candidate") == 0)
		w->failing.detected = live_us(w);
	if (number_of(d, "term") > w->lost_term && index_of(w, text_of(d, "leader")) < w->n)
		w->failing.elected = live_us(w);
}

static void on_consensus(struct live *w, unsigned who, const struct json *d)
{
	uint64_t term = number_of(d, "term");
	unsigned leader = index_of(w, text_of(d, "leader"));
	if (strcmp(text_of(d, "change"), "halted") == 0)
		w->r.halted++;
	if (strcmp(text_of(d, "mode"), "pbft") == 0)
		w->changed_mode = true;
	if (leader < w->n && term >= w->leader_term) {
		w->leader_term = term;
		w->leader = leader;
		w->leaders |= UINT64_C(1) << leader;
	}
	note_state(w, who, d);
}

static void on_line(struct live *w, struct child *c, char *line)
{
	struct json *doc;
	if (json_parse(&doc, slice_str(line), NULL))
		return;
	const char *event = text_of(doc, "event");
	const struct json *data = json_get(doc, "data");
	if (strcmp(event, "blocks") == 0)
		on_block(w, data);
	else if (strcmp(event, "evidence") == 0)
		on_evidence(w, data);
	else if (strcmp(event, "consensus") == 0)
		on_consensus(w, c->who, data);
	json_free(doc);
}

void live_watch_begin(struct live *w)
{
	for (unsigned i = 0; i < w->n; i++) {
		/* from the first block on: what came before us is seen a little late */
		const char *const args[] = {"watch",	 "blocks,consensus,evidence",
					    "--from",	 "0",
					    "--node",	 w->url[i],
					    "--home",	 w->dir,
					    "--timeout", "1h",
					    "-o",	 "jsonl",
					    NULL};
		if (w->malicious >> i & 1)
			continue;
		w->watcher[i].line = on_line;
		w->watcher[i].who = i;
		child_cli(w, &w->watcher[i], args);
	}
}

void live_watch_end(struct live *w)
{
	for (unsigned i = 0; i < w->n; i++)
		child_end(&w->watcher[i]);
}

/* ---- the ledger's own record ------------------------------------------------------------- */

static enum escalation_reason reason_of(const char *name)
{
	for (int r = REASON_NONE; r <= REASON_TIMEOUTS; r++)
		if (strcmp(escalation_reason_name((enum escalation_reason)r), name) == 0)
			return (enum escalation_reason)r;
	return REASON_NONE;
}

static enum evidence_kind proof_of(const char *name)
{
	int k = EVIDENCE_HEADERS;
	while (k < EVIDENCE_INVALID_STATEMENT &&
	       strcmp(evidence_kind_name((enum evidence_kind)k), name) != 0)
		k++;
	return (enum evidence_kind)k;
}

/* The first fast block above a height. */
static uint64_t fast_after(const struct live *w, uint64_t height)
{
	for (uint64_t h = height + 1; h <= w->top; h++)
		if (w->log[h].known && !w->log[h].pbft)
			return w->log[h].at_us;
	return 0;
}

static void note_entry(struct live *w, const struct json *e)
{
	struct sim_result *r = &w->r;
	const char *kind = text_of(e, "kind");
	uint64_t height = number_of(e, "height");
	struct sim_mode m = {.height = height,
			     .term = number_of(e, "term"),
			     .kind = SYSTEM_MODE_FAST,
			     .at_us = height <= w->top ? w->log[height].at_us : 0};
	if (strcmp(kind, "escalated") == 0) {
		m.kind = SYSTEM_ESCALATED;
		m.reason = reason_of(text_of(e, "reason"));
	} else if (strcmp(kind, "conviction") == 0) {
		m.kind = SYSTEM_CONVICTION;
		m.culprit = index_of(w, text_of(e, "culprit"));
		m.proof = proof_of(text_of(e, "proof"));
		if (m.culprit < w->n)
			r->jailed_mask |= UINT64_C(1) << m.culprit;
		if (!r->first_conviction_us)
			r->first_conviction_us = m.at_us;
		if (!r->fast_again_us)
			r->fast_again_us = fast_after(w, height);
	}
	if (m.kind != SYSTEM_CONVICTION)
		r->in_pbft = m.kind == SYSTEM_ESCALATED;
	if (r->mode_count < SIM_MODES_MAX)
		r->modes[r->mode_count++] = m;
}

bool live_read_modes(struct live *w, bool verify)
{
	const char *const verb[] = {"modes", verify ? "--verify" : NULL, NULL};
	for (unsigned i = 0; i < w->n; i++) {
		if (w->malicious >> i & 1 || w->paused >> i & 1 || !w->node[i])
			continue;
		struct json *doc = live_ask(w, i, verb);
		if (!doc)
			continue;
		const struct json *list = json_get(doc, "entries");
		w->r.mode_count = 0;
		w->r.jailed_mask = 0;
		w->r.in_pbft = false;
		for (size_t k = 0; k < json_len(list); k++)
			note_entry(w, json_at(list, k));
		json_free(doc);
		return true;
	}
	return false;
}
