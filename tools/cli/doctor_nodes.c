/* What each node is: down, stopped, full, halted, on another chain, out of time. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/cli/doctor_report.h"

static bool says_full(const char *text)
{
	return text_contains(text, "no space left") || text_contains(text, "disk quota") ||
	       text_contains(text, "disk is full") || text_contains(text, "enospc");
}

/* The chain that most of those that answer, or the trusted file, stand for. */
static void settle_chain(struct doctor_view *v)
{
	unsigned best = 0;

	if (v->chain[0] != '\0')
		return;
	for (unsigned i = 0; i < v->count; i++) {
		unsigned same = 0;
		for (unsigned k = 0; k < v->count && v->node[i].chain[0] != '\0'; k++)
			same += strcmp(v->node[i].chain, v->node[k].chain) == 0;
		if (same > best) {
			best = same;
			snprintf(v->chain, sizeof v->chain, "%s", v->node[i].chain);
		}
	}
}

bool wrong_chain(const struct doctor_view *v, const struct node_view *node)
{
	if (v->chain[0] == '\0')
		return false;
	return (node->chain[0] != '\0' && strcmp(node->chain, v->chain) != 0) ||
	       (node->file_chain[0] != '\0' && strcmp(node->file_chain, v->chain) != 0);
}

/* Of a node that does not answer its log speaks, and what is free where its home is. */
static bool disk_full(const struct node_view *node)
{
	if (node->disk_full || says_full(node->disk_error) || says_full(node->halted))
		return true;
	return node->reach != REACH_ANSWERED &&
	       (says_full(node->log_error) ||
		(node->has_free && node->free_bytes < DISK_FULL_BYTES));
}

static bool disk_fails(const struct node_view *node)
{
	static const char halted[] = "writing to the data directory failed";

	return node->disk_error[0] != '\0' || text_contains(node->halted, halted) ||
	       (node->reach != REACH_ANSWERED && text_contains(node->log_error, halted));
}

/* Does a node that answers have a link to i? False also if none says. */
static bool anybody_linked(const struct doctor_view *v, unsigned i, bool *any_says)
{
	*any_says = false;
	for (unsigned k = 0; k < v->count; k++) {
		if (k == i || v->node[k].reach != REACH_ANSWERED || !v->node[k].peer[i].known)
			continue;
		*any_says = true;
		if (v->node[k].peer[i].connected)
			return true;
	}
	return false;
}

static uint64_t newest_epoch(const struct doctor_view *v)
{
	uint64_t newest = 0;
	for (unsigned i = 0; i < v->count; i++)
		if (v->node[i].epoch > newest)
			newest = v->node[i].epoch;
	return newest;
}

static const char *cause_of(const struct doctor_view *v, unsigned i)
{
	const struct node_view *node = &v->node[i];
	bool any_says;

	if (wrong_chain(v, node))
		return "wrong_genesis";
	if (node->config_error[0] != '\0')
		return "bad_config";
	if (disk_full(node))
		return "disk_full";
	if (disk_fails(node))
		return "disk_error";
	if (node->halted[0] != '\0')
		return "node_halted";
	if (node->observer[0] != '\0')
		return "node_observer";
	if (node->reach == REACH_ANSWERED && node->epoch < newest_epoch(v))
		return "epoch_behind";
	if (node->syncing)
		return "node_syncing";
	if (node->process == SEEN_PAUSED)
		return "node_stopped";
	if (node->process == SEEN_DOWN || node->reach == REACH_REFUSED)
		return "node_down";
	if (node->reach == REACH_TIMEOUT || node->reach == REACH_BROKEN)
		return "node_hangs";
	if (node->reach == REACH_UNKNOWN && !anybody_linked(v, i, &any_says) && any_says)
		return "node_unheard";
	return NULL;
}

static int compare_offsets(const void *x, const void *y)
{
	int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

	return (a > b) - (a < b);
}

/* Where a node's own answer gives no offset, what a peer measured serves. */
static void fill_offsets(struct doctor_view *v)
{
	for (unsigned i = 0; i < v->count; i++) {
		for (unsigned k = 0; k < v->count && !v->node[i].has_offset; k++) {
			const struct peer_view *p = &v->node[k].peer[i];
			if (v->node[k].reach != REACH_ANSWERED || !v->node[k].has_offset ||
			    !p->has_offset)
				continue;
			v->node[i].has_offset = true;
			v->node[i].offset_ms = v->node[k].offset_ms + p->offset_ms;
		}
	}
}

/* The time that most go by; the asker's own clock is one voice among them. */
static int64_t common_offset(const struct doctor_view *v)
{
	int64_t all[VALIDATORS_MAX + 1];
	unsigned count = 0;

	all[count++] = 0;
	for (unsigned i = 0; i < v->count; i++)
		if (v->node[i].has_offset)
			all[count++] = v->node[i].offset_ms;
	qsort(all, count, sizeof all[0], compare_offsets);
	return all[(count - 1) / 2];
}

static uint64_t distance(int64_t a, int64_t b)
{
	return a > b ? (uint64_t)(a - b) : (uint64_t)(b - a);
}

static void judge_clocks(struct analysis *a)
{
	int64_t common;

	fill_offsets(&a->v);
	common = common_offset(&a->v);
	for (unsigned i = 0; i < a->v.count; i++) {
		struct node_view *node = &a->v.node[i];
		if (node->has_offset)
			node->offset_ms -= common;
		if (node->has_offset && distance(node->offset_ms, 0) >= CLOCK_REFUSE_MS &&
		    node->cause == NULL)
			node->cause = "clock_off";
	}
}

static void report_clocks(struct analysis *a)
{
	for (unsigned i = 0; i < a->v.count; i++) {
		const struct node_view *node = &a->v.node[i];
		struct finding f = {.nodes = bit(i)};
		char text[32];
		uint64_t off = distance(node->offset_ms, 0);

		if (!node->has_offset || off < CLOCK_DRIFT_MS)
			continue;
		f.error = off >= CLOCK_REFUSE_MS;
		f.cause = f.error ? "clock_off" : "clock_drift";
		duration_text(text, off);
		say(&f.text, "The clock of %s is %s %s. ", node->name, text,
		    node->offset_ms > 0 ? "ahead" : "behind");
		if (!f.error)
			say(&f.text,
			    "It works, but with more than %d s blocks would be refused.",
			    CLOCK_REFUSE_MS / 1000);
		else if (node->offset_ms > 0)
			say(&f.text, "The others do not vote for its blocks, which come from "
				     "the future.");
		else
			say(&f.text,
			    "It does not vote for the others' blocks, which to it come "
			    "from the future.");
		say(&f.advice,
		    "Set that machine's clock and keep it set: `timedatectl set-ntp true`, or "
		    "chrony.");
		report(a, &f);
	}
}

const char *cause_word(const char *cause)
{
	static const char *const words[][2] = {
		{"wrong_genesis", "another chain"},
		{"bad_config", "bad configuration"},
		{"disk_full", "disk full"},
		{"disk_error", "disk fails"},
		{"node_halted", "halted"},
		{"node_observer", "observer"},
		{"node_syncing", "fetches a state"},
		{"node_stopped", "stopped"},
		{"node_down", "down"},
		{"node_hangs", "does not answer"},
		{"node_unheard", "not heard"},
		{"clock_off", "wrong clock"},
	};

	for (size_t i = 0; i < MEM_COUNT(words); i++)
		if (strcmp(words[i][0], cause) == 0)
			return words[i][1];
	return cause;
}

/* Whoever has one of these sends nothing to the others, or what they do not take. */
static bool is_silent(const struct node_view *node)
{
	return node->reach != REACH_ANSWERED || strcmp(node->cause, "wrong_genesis") == 0 ||
	       strcmp(node->cause, "node_halted") == 0;
}

bool cause_since(const struct analysis *a, unsigned i, uint64_t *ms)
{
	const struct node_view *node = &a->v.node[i];
	const char *what;

	if (is_silent(node))
		return doctor_silent_for(&a->v, i, ms);
	if (strcmp(node->cause, "disk_full") != 0 && strcmp(node->cause, "disk_error") != 0)
		return false;
	for (size_t k = 0; k < json_len(node->waiting); k++) {
		const struct json *w = json_at(node->waiting, k);
		if (json_read_string(w, "what", &what) == ERR_NONE &&
		    strcmp(what, "disk") == 0)
			return json_read_u64(w, "since_ms", ms) == ERR_NONE;
	}
	return false;
}

static void report_genesis(struct analysis *a, unsigned i, struct finding *f)
{
	const struct node_view *node = &a->v.node[i];
	const char *other = node->chain[0] != '\0' && strcmp(node->chain, a->v.chain) != 0
				    ? node->chain
				    : node->file_chain;

	f->error = true;
	say(&f->text,
	    "%s has another genesis file: its chain id is %.16s..., the network's %.16s.... "
	    "The others refuse its links, and it theirs.",
	    node->name, other, a->v.chain);
	say(&f->advice,
	    "Stop %s and give it the network's genesis.json. If its data directory was made "
	    "for "
	    "the other chain, and its key has never voted on this one, make its home anew with "
	    "`ostrakond init`; where the data is only removed it comes up as an observer.",
	    node->name);
}

static void report_disk(struct analysis *a, unsigned i, struct finding *f)
{
	const struct node_view *node = &a->v.node[i];
	const char *why = node->halted[0]		  ? node->halted
			  : node->disk_error[0]		  ? node->disk_error
			  : node->reach != REACH_ANSWERED ? node->log_error
							  : "";
	bool full = strcmp(f->cause, "disk_full") == 0, ended = *why != '\0';

	f->error = true;
	say(&f->text, "The disk of %s %s%s%s.", node->name,
	    full ? "is full" : "does not take its writes", ended ? ": " : "", why);
	if (node->has_free)
		say(&f->text, " %llu MiB are free",
		    (unsigned long long)(node->free_bytes >> 20));
	if (node->has_free && full && node->reserve_bytes > 0)
		say(&f->text,
		    ", less than the %llu MiB that it keeps in reserve (disk_reserve in its "
		    "configuration)",
		    (unsigned long long)(node->reserve_bytes >> 20));
	if (node->has_free)
		say(&f->text, ".");
	say(&f->text, " What it cannot write it must not vote for.");
	say(&f->advice, full ? "Make room on the disk that holds its home"
			     : "Look at that machine's disk and kernel log");
	if (ended && !text_contains(why, "goes on by itself")) {
		say(&f->advice, ", then ");
		advise_net(&f->advice, a, "restart", node->name);
		say(&f->advice, ".");
	} else {
		say(&f->advice, "; it then goes on by itself.");
	}
}

static void report_halted(struct analysis *a, unsigned i, struct finding *f)
{
	f->error = true;
	say(&f->text, "%s has halted itself: %s. It answers reads and votes no more.",
	    a->v.node[i].name, a->v.node[i].halted);
	say(&f->advice,
	    "Its log says what it found. Keep its data directory for the inquiry; do not let "
	    "it "
	    "start again from a copy of older data, which could make it vote twice.");
}

static void say_sync(const struct node_view *node, struct finding *f)
{
	say(&f->text, " It fetches the state of height %llu from the others, %llu %% so far.",
	    (unsigned long long)node->sync_height, (unsigned long long)node->sync_percent);
}

static void report_observer(struct analysis *a, unsigned i, struct finding *f)
{
	f->error = !a->quorum;
	say(&f->text,
	    "%s is an observer, which signs nothing: %s. It counts as one of the faults that "
	    "the network tolerates.",
	    a->v.node[i].name, a->v.node[i].observer);
	if (strstr(a->v.node[i].observer, "its key is not that of its place") != NULL) {
		say(&f->advice,
		    "If its key has been replaced, start the new key's home in its place. If it "
		    "is the new one, governance has yet to put it there: `ostrakon member "
		    "replace %s`.",
		    a->v.node[i].name);
		return;
	}
	if (a->v.node[i].syncing)
		say_sync(&a->v.node[i], f);
	say(&f->advice,
	    "If the data directory that it last ran with still exists, stop it and put that "
	    "very one back, no older copy: with votes forgotten its key could vote twice. "
	    "Else governance can give its place a new key, with which it votes: `ostrakon "
	    "member replace %s`.",
	    a->v.node[i].name);
}

/* It believes validators that the others have replaced. */
static void report_epoch(struct analysis *a, unsigned i, struct finding *f)
{
	say(&f->text,
	    "%s is in epoch %llu, others are in epoch %llu: it has not heard yet that a "
	    "validator has a new key, and takes the one before for one.",
	    a->v.node[i].name, (unsigned long long)a->v.node[i].epoch,
	    (unsigned long long)newest_epoch(&a->v));
	say(&f->advice, "It asks by itself; if this lasts, look at its links to the others.");
}

static void report_syncing(struct analysis *a, unsigned i, struct finding *f)
{
	say(&f->text, "%s is too far behind for blocks.", a->v.node[i].name);
	say_sync(&a->v.node[i], f);
	say(&f->advice,
	    "Wait: it goes on by itself, after a restart too. Its log has an estimate.");
}

static void report_config(struct analysis *a, unsigned i, struct finding *f)
{
	f->error = true;
	say(&f->text, "The configuration of %s is refused: %s", a->v.node[i].name,
	    a->v.node[i].config_error);
	say(&f->advice,
	    "Mend that file; `ostrakond check-config --home DIR` tells whether it is "
	    "right.");
}

/* These go together into one finding for all nodes of the same fate. */
static void report_gone(struct analysis *a, const char *cause)
{
	struct finding f = {.cause = cause, .error = !a->quorum};
	uint64_t ms = 0;
	char text[32];

	for (unsigned i = 0; i < a->v.count; i++) {
		if (a->v.node[i].cause == NULL || strcmp(a->v.node[i].cause, cause) != 0)
			continue;
		f.nodes |= bit(i);
		if (cause_since(a, i, &ms))
			since(&f, true, ms);
	}
	if (f.nodes == 0)
		return;
	say_names(&f.text, a, f.nodes);
	if (strcmp(cause, "node_down") == 0)
		say(&f.text, single(f.nodes) ? " is down: nothing listens at its address"
					     : " are down: nothing listens at their addresses");
	else if (strcmp(cause, "node_stopped") == 0)
		say(&f.text, single(f.nodes) ? " is stopped (SIGSTOP): its port accepts "
					       "connections, but nothing answers"
					     : " are stopped (SIGSTOP): their ports accept "
					       "connections, but nothing answers");
	else if (strcmp(cause, "node_hangs") == 0)
		say(&f.text, single(f.nodes)
				     ? " accepts connections but does not answer: it is "
				       "stopped (SIGSTOP), hangs, or its machine does"
				     : " accept connections but do not answer: they are "
				       "stopped (SIGSTOP), hang, or their machines do");
	else
		say(&f.text, single(f.nodes)
				     ? " was not asked, and no node has a link to it"
				     : " were not asked, and no node has a link to them");
	if (f.has_since) {
		duration_text(text, f.since_ms);
		say(&f.text, "; last heard %s ago", text);
	}
	say(&f.text, ".");
	for (unsigned i = 0; i < a->v.count; i++) {
		const struct node_view *node = &a->v.node[i];
		unsigned follow = 0;
		for (unsigned k = 0; k < a->v.count; k++)
			follow += a->v.node[k].cause == NULL &&
				  strcmp(a->v.node[k].leader, node->name) == 0;
		if ((f.nodes >> i & 1) && follow > 0)
			f.error = true;
		if ((f.nodes >> i & 1) && follow > 0)
			say(&f.text, " %s led: nothing commits until another is elected.",
			    node->name);
		if ((f.nodes >> i & 1) && node->log_error[0] != '\0' &&
		    strcmp(cause, "node_down") == 0)
			say(&f.text, " The log of %s ends with: %s", node->name,
			    node->log_error);
	}
	if (strcmp(cause, "node_stopped") == 0) {
		advise_net(&f.advice, a, "resume", NULL);
		say(&f.advice, " lets it go on (SIGCONT).");
	} else if (strcmp(cause, "node_hangs") == 0) {
		say(&f.advice, "Look at that machine: is the process stopped (`ps` says T), "
			       "swapping, or waiting for its disk? ");
		advise_net(&f.advice, a, "restart", NULL);
		say(&f.advice, " is safe.");
	} else {
		advise_net(&f.advice, a, "up", NULL);
		say(&f.advice, " starts what is down; ");
		advise_net(&f.advice, a, "logs", NULL);
		say(&f.advice, " says why it ended.");
	}
	report(a, &f);
}

void report_nodes(struct analysis *a)
{
	static const struct {
		const char *cause;
		void (*tell)(struct analysis *a, unsigned i, struct finding *f);
	} singles[] = {{"wrong_genesis", report_genesis}, {"bad_config", report_config},
		       {"disk_full", report_disk},	  {"disk_error", report_disk},
		       {"node_halted", report_halted},	  {"node_observer", report_observer},
		       {"epoch_behind", report_epoch},	  {"node_syncing", report_syncing}};
	static const char *const groups[] = {"node_down", "node_stopped", "node_hangs",
					     "node_unheard"};

	for (size_t k = 0; k < MEM_COUNT(groups); k++)
		report_gone(a, groups[k]);
	for (unsigned i = 0; i < a->v.count; i++) {
		for (size_t k = 0; k < MEM_COUNT(singles); k++) {
			struct finding f = {.cause = singles[k].cause, .nodes = bit(i)};
			uint64_t ms = 0;
			if (a->v.node[i].cause == NULL ||
			    strcmp(a->v.node[i].cause, singles[k].cause) != 0)
				continue;
			if (cause_since(a, i, &ms))
				since(&f, true, ms);
			singles[k].tell(a, i, &f);
			report(a, &f);
		}
	}
	report_clocks(a);
}

void judge_nodes(struct analysis *a)
{
	settle_chain(&a->v);
	for (unsigned i = 0; i < a->v.count; i++)
		a->v.node[i].cause = cause_of(&a->v, i);
	judge_clocks(a);
}
