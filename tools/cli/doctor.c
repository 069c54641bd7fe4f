/* The analysis: first what each node is, then the links between those that live, then what
 * follows for the whole. A cause found earlier explains what comes later, which then is not
 * reported a second time. */
#include "tools/cli/doctor.h"

#include <string.h>

#include "base/mem.h"
#include "tools/cli/doctor_report.h"

/* ---- the whole ------------------------------------------------------------------------- */

static void judge_quorum(struct analysis *a)
{
	struct finding f = {.cause = "quorum_lost", .error = true};
	uint64_t able = 0, since_ms = 0;
	bool read = false; /* somebody answers, and so reads */

	a->voters = a->v.n;
	for (unsigned i = 0; i < a->v.count; i++) {
		if (a->v.node[i].cause != NULL) {
			a->voters--;
			f.nodes |= bit(i);
		} else {
			able |= bit(i);
		}
	}
	a->quorum = a->voters >= a->v.q;
	if (a->quorum)
		return;
	for (unsigned i = 0; i < a->v.count; i++) {
		if (!(f.nodes >> i & 1))
			continue;
		/* the last one to go took the quorum along */
		if (cause_since(a, i, &since_ms) && (!f.has_since || since_ms < f.since_ms)) {
			f.has_since = true;
			f.since_ms = since_ms;
		}
	}
	say(&f.text, "%u of %u validators must vote for a block, and ", a->v.q, a->v.n);
	if (able != 0) {
		say(&f.text, "only %u can: ", a->voters);
		say_names(&f.text, a, able);
	} else {
		say(&f.text, "none can");
	}
	say(&f.text, able == 0 ? ". Missing are " : ". They wait for a vote from ");
	if (able != 0 && a->v.q - a->voters < (unsigned)__builtin_popcountll(f.nodes))
		say(&f.text, "one of ");
	for (unsigned i = 0, told = 0; i < a->v.count; i++)
		if (f.nodes >> i & 1)
			say(&f.text, "%s%s (%s)", told++ ? ", " : "", a->v.node[i].name,
			    cause_word(a->v.node[i].cause));
	for (unsigned i = 0; i < a->v.count; i++)
		read = read || (a->v.node[i].reach == REACH_ANSWERED &&
				!wrong_chain(&a->v, &a->v.node[i]));
	say(&f.text, ". %s; what was committed is on the disks of a quorum.",
	    read ? "Reads are still answered" : "No node answers, not even reads");
	say(&f.advice, "Bring back at least %u of them, as the other findings say.",
	    a->v.q - a->voters);
	report(a, &f);
}

static void judge_leader(struct analysis *a)
{
	struct finding f = {.cause = "no_leader", .error = true};
	uint64_t waited = 0;
	unsigned named = 0, led = 0;
	bool any = false;

	for (unsigned i = 0; i < a->v.count; i++) {
		const struct node_view *node = &a->v.node[i];
		int leader = doctor_view_find(&a->v, node->leader);
		if (!can_speak(node) || node->cause != NULL)
			continue;
		f.nodes |= bit(i);
		named += node->leader[0] != '\0';
		led += leader >= 0 && a->v.node[leader].cause == NULL;
		if (node->has_leader_heard && (!any || node->leader_heard_ms < waited)) {
			any = true;
			waited = node->leader_heard_ms;
		}
	}
	if (!a->quorum || !a->whole || f.nodes == 0 || led > 0)
		return;
	a->stuck = true;
	if (named > 0) /* a leader of which another finding tells */
		return;
	since(&f, any, waited);
	say(&f.text, "No node leads: ");
	say_names(&f.text, a, f.nodes);
	say(&f.text, " could, and elect one, or will do so at once");
	for (unsigned i = 0; i < a->v.count; i++)
		if ((f.nodes >> i & 1) && a->v.node[i].not_ready[0] != '\0') {
			say(&f.text, "; %s says: %s", a->v.node[i].name,
			    a->v.node[i].not_ready);
			break;
		}
	say(&f.text, ".");
	say(&f.advice, "An election takes about a second. If this stays, compare their logs "
		       "(log = info,consensus=debug).");
	report(a, &f);
}

static void judge_progress(struct analysis *a)
{
	struct finding f = {.cause = "stalled", .error = true};
	const char *why = NULL;
	unsigned content = 0; /* that can vote and miss nothing */

	for (unsigned i = 0; i < a->v.count; i++) {
		const struct node_view *node = &a->v.node[i];
		uint64_t waited;
		bool idle, waits = node->stall[0] != '\0';
		if (!can_speak(node) || node->cause != NULL)
			continue;
		for (size_t k = 0; k < json_len(node->waiting); k++)
			if (json_read_u64(json_at(node->waiting, k), "since_ms", &waited) ==
				    ERR_NONE &&
			    waited > PATIENCE_MS)
				waits = true;
		idle = node->pending == 0 && node->waiting == NULL;
		if (idle || !waits ||
		    (node->has_commit_age && node->commit_age_ms < PATIENCE_MS)) {
			content++;
			continue;
		}
		f.nodes |= bit(i);
		since(&f, node->has_commit_age, node->commit_age_ms);
		if (node->stall[0] != '\0' &&
		    (why == NULL || strcmp(node->role, "leader") == 0))
			why = node->stall;
	}
	if (f.nodes == 0 || !a->quorum || !a->whole || a->stuck || json_len(a->errors) > 0)
		return;
	/* A part that waits is explained by what was found out about it. */
	f.error = content < a->v.q;
	if (!f.error && json_len(a->warnings) > 0)
		return;
	a->stuck = f.error;
	say_names(&f.text, a, f.nodes);
	say(&f.text, " wait%s for what does not come%s%s.", single(f.nodes) ? "s" : "",
	    why ? ": " : "", why ? why : "");
	say(&f.advice,
	    "The list of who waits for whom names the votes that are missing; look at "
	    "those nodes' logs and load.");
	report(a, &f);
}

static void judge_state(struct analysis *a)
{
	uint64_t highest = 0;

	for (unsigned i = 0; i < a->v.count; i++)
		if (can_speak(&a->v.node[i]) && a->v.node[i].final > highest)
			highest = a->v.node[i].final;
	for (unsigned i = 0; i < a->v.count; i++) {
		const struct node_view *x = &a->v.node[i];
		struct finding low = {.cause = "disk_low", .nodes = bit(i)};
		struct finding far = {.cause = "node_behind", .nodes = bit(i)};
		for (unsigned j = i + 1; j < a->v.count; j++) {
			const struct node_view *y = &a->v.node[j];
			struct finding f = {
				.cause = "diverged", .error = true, .nodes = bit(i) | bit(j)};
			if (!x->has_final || !y->has_final || x->final != y->final ||
			    x->state_root[0] == '\0' || y->state_root[0] == '\0' ||
			    strcmp(x->state_root, y->state_root) == 0 ||
			    wrong_chain(&a->v, x) || wrong_chain(&a->v, y))
				continue;
			say(&f.text,
			    "%s and %s have different states at the same final height %llu.",
			    x->name, y->name, (unsigned long long)x->final);
			say(&f.advice,
			    "Stop both and keep their data: this must not happen with "
			    "at most the tolerated number of faulty validators. "
			    "`ostrakon evidence --verify` shows who signed twice.");
			report(a, &f);
		}
		if (x->reach == REACH_ANSWERED && x->cause == NULL && x->has_free &&
		    x->disk_low) {
			say(&low.text, "The disk of %s is nearly full: %llu MiB are free.",
			    x->name, (unsigned long long)(x->free_bytes >> 20));
			if (x->reserve_bytes > 0)
				say(&low.text,
				    " Below %llu MiB, its reserve, it takes no more part.",
				    (unsigned long long)(x->reserve_bytes >> 20));
			say(&low.advice, "Make room before it is full; a full disk stops the "
					 "node.");
			report(a, &low);
		}
		if (can_speak(x) && x->has_final && x->final + BEHIND_BLOCKS < highest) {
			say(&far.text,
			    "%s is %llu blocks behind: final height %llu, elsewhere "
			    "%llu.",
			    x->name, (unsigned long long)(highest - x->final),
			    (unsigned long long)x->final, (unsigned long long)highest);
			say(&far.advice,
			    "It fetches them by itself. If the distance grows, its "
			    "machine or disk is too slow.");
			report(a, &far);
		}
	}
}

/* ---- the answer ------------------------------------------------------------------------ */

static struct json *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static void add_waiting(struct json *rows, const char *node, struct json *what,
			struct json *who, bool has_since, uint64_t ms)
{
	struct json *row = json_object();

	json_set(row, "node", json_string(node));
	json_set(row, "what", what);
	json_set(row, "who", who);
	json_set(row, "since_ms", has_since && ms <= INT64_MAX ? json_u64(ms) : json_null());
	json_append(rows, row);
}

static struct json *copy_or_null(const struct json *v)
{
	return v ? json_copy(v) : json_null();
}

static void add_told(struct json *rows, const struct node_view *node)
{
	for (size_t k = 0; k < json_len(node->waiting); k++) {
		const struct json *w = json_at(node->waiting, k);
		uint64_t ms = 0;
		bool known = json_read_u64(w, "since_ms", &ms) == ERR_NONE;
		add_waiting(rows, node->name, copy_or_null(json_get(w, "what")),
			    copy_or_null(json_get(w, "who")), known, ms);
	}
}

/* Of a node that does not say: a leader waits for those whose newest vote is not above the
 * final block; without a quorum, everybody for those that cannot vote. */
static void add_derived(struct json *rows, const struct analysis *a, unsigned i)
{
	const struct node_view *node = &a->v.node[i];
	bool leads = strcmp(node->role, "leader") == 0 && node->pending > 0;

	for (unsigned k = 0; k < a->v.count; k++) {
		const struct peer_view *p = &node->peer[k];
		uint64_t ms = p->heard_ms;
		bool known = p->has_heard;
		char what[64];

		if (k == i || (leads ? !p->has_match || p->match > node->final
				     : a->quorum || a->v.node[k].cause == NULL))
			continue;
		if (leads)
			snprintf(what, sizeof what, "vote for block %llu",
				 (unsigned long long)node->final + 1);
		else
			snprintf(what, sizeof what, "vote in term %llu",
				 (unsigned long long)node->term);
		if (!known)
			known = doctor_silent_for(&a->v, k, &ms);
		add_waiting(rows, node->name, json_string(what), json_string(a->v.node[k].name),
			    known, ms);
	}
}

static struct json *waiting_list(const struct analysis *a)
{
	struct json *rows = json_array();

	for (unsigned i = 0; i < a->v.count; i++) {
		const struct node_view *node = &a->v.node[i];
		if (json_len(node->waiting) > 0)
			add_told(rows, node);
		else if (can_speak(node) && node->cause == NULL)
			add_derived(rows, a, i);
	}
	return rows;
}

static struct json *node_rows(const struct analysis *a)
{
	static const char *const reached[] = {[REACH_UNKNOWN] = "not asked",
					      [REACH_ANSWERED] = "answers",
					      [REACH_REFUSED] = "refused",
					      [REACH_TIMEOUT] = "no answer",
					      [REACH_BROKEN] = "broken"};
	struct json *rows = json_array();

	for (unsigned i = 0; i < a->v.count; i++) {
		const struct node_view *n = &a->v.node[i];
		struct json *o = json_object();
		json_set(o, "name", json_string(n->name));
		json_set(o, "api", text_or_null(n->api));
		json_set(o, "reach", json_string(reached[n->reach]));
		json_set(o, "cause", n->cause ? json_string(n->cause) : json_null());
		json_set(o, "role", text_or_null(n->role));
		json_set(o, "mode", text_or_null(n->mode));
		json_set(o, "term",
			 n->has_term && n->term <= INT64_MAX ? json_u64(n->term) : json_null());
		json_set(o, "leader", text_or_null(n->leader));
		json_set(o, "final_height",
			 n->has_final && n->final <= INT64_MAX ? json_u64(n->final)
							       : json_null());
		json_set(o, "clock_offset_ms",
			 n->has_offset ? json_int(n->offset_ms) : json_null());
		json_append(rows, o);
	}
	return rows;
}

static struct json *summary_of(const struct analysis *a, bool progress)
{
	uint64_t final = 0, term = 0;
	bool any = false;
	const char *leader = "";
	struct writer w = {0};

	for (unsigned i = 0; i < a->v.count; i++) {
		const struct node_view *n = &a->v.node[i];
		if (n->reach != REACH_ANSWERED || wrong_chain(&a->v, n))
			continue;
		any = any || n->has_final;
		final = n->final > final ? n->final : final;
		if (n->term >= term && n->leader[0] != '\0') {
			term = n->term;
			leader = n->leader;
		}
	}
	if (!progress)
		say(&w, "No progress: ");
	else if (json_len(a->errors) + json_len(a->warnings) > 0)
		say(&w, "Blocks can become final, but not all is well: ");
	else
		say(&w, "Healthy: ");
	say(&w, "%u of %u validators can vote, %u are needed", a->voters, a->v.n, a->v.q);
	if (progress && *leader)
		say(&w, "; %s leads term %llu", leader, (unsigned long long)term);
	if (any)
		say(&w, "; final height %llu.", (unsigned long long) final);
	else
		say(&w, "; no node says what is final.");
	return take_text(&w);
}

struct json *doctor_analyse(const struct json *answers)
{
	struct analysis *a = mem_zalloc(sizeof *a);
	struct json *o = json_object();
	bool progress;

	a->errors = json_array();
	a->warnings = json_array();
	doctor_view_read(&a->v, answers);
	if (a->v.q == 0 && a->v.n > 0)
		a->v.q = a->v.n / 2 + 1; /* no network commits with fewer */
	judge_nodes(a);
	judge_quorum(a);
	report_nodes(a);
	judge_links(a);
	judge_leader(a);
	judge_progress(a);
	judge_state(a);
	progress = a->quorum && a->whole && !a->stuck;
	json_set(o, "healthy", json_bool(json_len(a->errors) + json_len(a->warnings) == 0));
	json_set(o, "progress", json_bool(progress));
	json_set(o, "summary", summary_of(a, progress));
	for (size_t i = 0; i < json_len(a->warnings); i++)
		json_append(a->errors, json_copy(json_at(a->warnings, i)));
	json_set(o, "findings", a->errors);
	json_set(o, "waiting", waiting_list(a));
	json_set(o, "nodes", node_rows(a));
	json_free(a->warnings);
	mem_free(a);
	return o;
}
