#include "tools/cli/monitor.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/cli/doctor_view.h"
#include "tools/cli/verbs.h"

#define RATE_WINDOW_MS	   10000
#define BEHIND_MS	   1000 /* final blocks older than the newest node's by so much */
#define MODE_CHANGES_SHOWN 5

static bool number_of(const struct json *o, const char *key, uint64_t *out)
{
	return json_read_u64(o, key, out) == ERR_NONE;
}

static const char *state_of(const struct node_view *n)
{
	if (n->reach == REACH_ANSWERED)
		return n->halted[0]	? "halted"
		       : n->observer[0] ? "observer"
		       : n->disk_full	? "read-only"
		       : n->ready	? "up"
					: "not ready";
	if (n->process == SEEN_PAUSED)
		return "paused";
	if (n->process == SEEN_DOWN || n->reach == REACH_REFUSED)
		return "down";
	return n->reach == REACH_UNKNOWN ? "not asked" : "silent";
}

/* What the network as a whole is at: of the node that is furthest. */
struct whole {
	const struct node_view *newest; /* by term, then role, then final height; NULL: none */
	uint64_t term, tip, final, age_ms, pending;
	bool has_age;
	unsigned reached;
	const char *leader, *mode; /* NULL: unknown */
};

static bool is_newer(const struct node_view *a, const struct node_view *b)
{
	bool a_leads = strcmp(a->role, "leader") == 0, b_leads = strcmp(b->role, "leader") == 0;

	if (a->term != b->term)
		return a->term > b->term;
	if (a_leads != b_leads)
		return a_leads;
	return a->final > b->final;
}

static void look_at_whole(const struct doctor_view *v, struct whole *w)
{
	memset(w, 0, sizeof *w);
	for (unsigned i = 0; i < v->count; i++) {
		const struct node_view *n = &v->node[i];
		if (n->reach != REACH_ANSWERED)
			continue;
		w->reached++;
		if (w->newest == NULL || is_newer(n, w->newest))
			w->newest = n;
		if (n->height > w->tip)
			w->tip = n->height;
		if (n->final > w->final)
			w->final = n->final;
		if (n->pending > w->pending)
			w->pending = n->pending;
		if (n->has_commit_age && (!w->has_age || n->commit_age_ms < w->age_ms)) {
			w->has_age = true;
			w->age_ms = n->commit_age_ms;
		}
	}
	if (w->newest == NULL)
		return;
	w->term = w->newest->term;
	w->mode = w->newest->mode[0] ? w->newest->mode : NULL;
	w->leader = strcmp(w->newest->role, "leader") == 0 ? w->newest->name
		    : w->newest->leader[0]		   ? w->newest->leader
							   : NULL;
}

static struct json *text_or_null(const char *text)
{
	return text != NULL && *text ? json_string(text) : json_null();
}

static bool is_behind(const struct node_view *n, const struct whole *w)
{
	return n->reach == REACH_ANSWERED && n->final < w->final && w->has_age &&
	       n->has_commit_age && n->commit_age_ms > w->age_ms + BEHIND_MS;
}

static struct json *node_row(const struct doctor_view *v, unsigned i, const struct whole *w)
{
	const struct node_view *n = &v->node[i];
	bool answered = n->reach == REACH_ANSWERED;
	struct json *o = json_object();
	unsigned up = 0;

	for (unsigned k = 0; k < v->count; k++)
		up += n->peer[k].known && n->peer[k].connected;
	json_set(o, "name", json_string(n->name));
	json_set(o, "state", json_string(state_of(n)));
	json_set(o, "role", answered ? text_or_null(n->role) : json_null());
	json_set(o, "mode", answered ? text_or_null(n->mode) : json_null());
	json_set(o, "term", answered && n->has_term ? json_u64(n->term) : json_null());
	json_set(o, "leader", answered ? text_or_null(n->leader) : json_null());
	json_set(o, "tip", answered ? json_u64(n->height) : json_null());
	json_set(o, "final_height",
		 answered && n->has_final ? json_u64(n->final) : json_null());
	json_set(o, "behind",
		 answered && n->has_final ? json_u64(w->final - n->final) : json_null());
	json_set(o, "age_ms",
		 answered && n->has_commit_age ? json_u64(n->commit_age_ms) : json_null());
	json_set(o, "pending", answered ? json_u64(n->pending) : json_null());
	json_set(o, "links", answered ? json_int(up) : json_null());
	json_set(o, "clock_offset_ms",
		 answered && n->has_offset ? json_int(n->offset_ms) : json_null());
	return o;
}

static struct json *behind_list(const struct doctor_view *v, const struct whole *w)
{
	struct json *list = json_array();

	for (unsigned i = 0; i < v->count; i++) {
		const struct node_view *n = &v->node[i];
		bool away = n->reach != REACH_ANSWERED && n->reach != REACH_UNKNOWN;
		struct json *o;
		if (!away && !is_behind(n, w))
			continue;
		o = json_object();
		json_set(o, "node", json_string(n->name));
		json_set(o, "blocks", away ? json_null() : json_u64(w->final - n->final));
		json_set(o, "why", json_string(away ? state_of(n) : "behind"));
		json_append(list, o);
	}
	return list;
}

/* Transactions and blocks a second, from the blocks' own times and the clock of the node that
 * told of them: over the last ten seconds, or as far as its list of blocks goes. */
static bool rates(const struct json *answers, double *tx, double *blocks)
{
	const struct json *list = json_get(json_get(answers, "blocks"), "blocks");
	const struct json *nodes = json_get(answers, "nodes");
	const char *asked, *name;
	uint64_t now = 0, oldest = UINT64_MAX, from, time, count;
	double txs = 0, n = 0;

	if (!json_is_array(list) || json_read_string(answers, "asked", &asked) != ERR_NONE)
		return false;
	for (size_t i = 0; json_is_array(nodes) && i < json_len(nodes); i++)
		if (json_read_string(json_at(nodes, i), "name", &name) == ERR_NONE &&
		    strcmp(name, asked) == 0)
			number_of(json_get(json_at(nodes, i), "status"), "time_ms", &now);
	for (size_t i = 0; i < json_len(list); i++) {
		if (!number_of(json_at(list, i), "time_ms", &time))
			return false;
		now = time > now ? time : now; /* blocks that came after the status */
		oldest = time < oldest ? time : oldest;
	}
	if (json_len(list) == 0 || now == 0)
		return false;
	from = now > RATE_WINDOW_MS ? now - RATE_WINDOW_MS : 0;
	if (oldest > from && number_of(json_at(list, 0), "height", &count) && count > 1)
		from = oldest;
	for (size_t i = 0; i < json_len(list); i++) {
		if (!number_of(json_at(list, i), "time_ms", &time) || time <= from ||
		    !number_of(json_at(list, i), "tx_count", &count))
			continue;
		txs += (double)count;
		n++;
	}
	if (now == from)
		return false;
	*tx = txs * 1e3 / (double)(now - from);
	*blocks = n * 1e3 / (double)(now - from);
	return true;
}

/* The newest ones, newest first. */
static struct json *mode_changes(const struct json *answers)
{
	const struct json *entries = json_get(json_get(answers, "modes"), "entries");
	struct json *list = json_array();

	if (!json_is_array(entries))
		return list;
	for (size_t i = json_len(entries); i > 0 && json_len(list) < MODE_CHANGES_SHOWN; i--)
		if (json_is_object(json_at(entries, i - 1)))
			json_append(list, plain_numbers(json_at(entries, i - 1), ""));
	return list;
}

static struct json *take(const struct json *verdict, const char *key)
{
	const struct json *v = json_get(verdict, key);

	return v != NULL ? json_copy(v) : json_null();
}

struct json *monitor_frame(const struct json *answers)
{
	struct doctor_view *v = mem_zalloc(sizeof *v);
	struct json *frame = json_object(), *nodes = json_array(),
		    *verdict = doctor_analyse(answers);
	struct whole w;
	double tx = 0, blocks = 0;
	bool rated = rates(answers, &tx, &blocks);

	doctor_view_read(v, answers);
	look_at_whole(v, &w);
	for (unsigned i = 0; i < v->count; i++)
		json_append(nodes, node_row(v, i, &w));
	json_set(frame, "summary", take(verdict, "summary"));
	json_set(frame, "healthy", take(verdict, "healthy"));
	json_set(frame, "reached", json_int(w.reached));
	json_set(frame, "n", json_int(v->n));
	json_set(frame, "quorum", v->q ? json_int(v->q) : json_null());
	json_set(frame, "mode", text_or_null(w.mode));
	json_set(frame, "term", w.newest ? json_u64(w.term) : json_null());
	json_set(frame, "leader", text_or_null(w.leader));
	json_set(frame, "tip", w.newest ? json_u64(w.tip) : json_null());
	json_set(frame, "final_height", w.newest ? json_u64(w.final) : json_null());
	json_set(frame, "age_ms", w.has_age ? json_u64(w.age_ms) : json_null());
	json_set(frame, "pending", w.newest ? json_u64(w.pending) : json_null());
	json_set(frame, "tx_per_s", rated ? json_real(tx) : json_null());
	json_set(frame, "blocks_per_s", rated ? json_real(blocks) : json_null());
	json_set(frame, "behind", behind_list(v, &w));
	json_set(frame, "nodes", nodes);
	json_set(frame, "findings", take(verdict, "findings"));
	json_set(frame, "mode_changes", mode_changes(answers));
	json_free(verdict);
	mem_free(v);
	return frame;
}

/* ---- as text ----------------------------------------------------------------------------- */

static void print_value(struct cli *c, const struct json *frame, const char *label,
			const char *key, const char *unit)
{
	char *text = cell_text(json_get(frame, key));

	fprintf(c->out, "%s%s%s %s%s  ", c->color ? "\033[1m" : "", label,
		c->color ? "\033[0m" : "", text, unit);
	mem_free(text);
}

static void print_text(struct cli *c, const struct json *o, const char *key, const char *after)
{
	char *text = cell_text(json_get(o, key));

	fprintf(c->out, "%s%s", text, after);
	mem_free(text);
}

static void print_behind(struct cli *c, const struct json *list)
{
	if (json_len(list) == 0)
		return;
	fprintf(c->out, "\nBehind: ");
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json *o = json_at(list, i);
		uint64_t blocks;
		fputs(i ? ", " : "", c->out);
		print_text(c, o, "node", " (");
		if (number_of(o, "blocks", &blocks))
			fprintf(c->out, "%llu blocks)", (unsigned long long)blocks);
		else
			print_text(c, o, "why", ")");
	}
	fputc('\n', c->out);
}

static void print_findings(struct cli *c, const struct json *findings)
{
	for (size_t i = 0; i < json_len(findings); i++) {
		const struct json *f = json_at(findings, i);
		const char *severity = "";
		json_read_string(f, "severity", &severity);
		fprintf(c->out, "%s", i == 0 ? "\n" : "");
		if (c->color)
			fputs(strcmp(severity, "error") == 0 ? "\033[31m" : "\033[33m", c->out);
		print_text(c, f, "severity", c->color ? "\033[0m " : " ");
		print_text(c, f, "cause", ": ");
		print_text(c, f, "text", "\n");
	}
}

void monitor_print(struct cli *c, const struct json *frame)
{
	static const struct column nodes[] = {
		{"NODE", "name"},     {"STATE", "state"},
		{"ROLE", "role"},     {"MODE", "mode"},
		{"TERM", "term"},     {"LEADER", "leader"},
		{"TIP", "tip"},	      {"FINAL", "final_height"},
		{"BEHIND", "behind"}, {"PENDING", "pending"},
		{"LINKS", "links"},   {"CLOCK (ms)", "clock_offset_ms"}};
	static const struct column modes[] = {{"HEIGHT", "height"},   {"CHANGE", "kind"},
					      {"TERM", "term"},	      {"REASON", "reason"},
					      {"CULPRIT", "culprit"}, {"PROOF", "proof"}};
	enum output_format format = c->format;

	c->format = FORMAT_TABLE;
	print_text(c, frame, "summary", "\n\n");
	print_value(c, frame, "mode", "mode", "");
	print_value(c, frame, "term", "term", "");
	print_value(c, frame, "leader", "leader", "");
	print_value(c, frame, "tip", "tip", "");
	print_value(c, frame, "final", "final_height", "");
	print_value(c, frame, "pending", "pending", "");
	fputc('\n', c->out);
	print_value(c, frame, "tx/s", "tx_per_s", "");
	print_value(c, frame, "blocks/s", "blocks_per_s", "");
	print_value(c, frame, "last final block", "age_ms", " ms ago");
	fputs("\n\n", c->out);
	out_rows(c, nodes, MEM_COUNT(nodes), json_copy(json_get(frame, "nodes")));
	print_behind(c, json_get(frame, "behind"));
	print_findings(c, json_get(frame, "findings"));
	if (json_len(json_get(frame, "mode_changes")) > 0) {
		fprintf(c->out, "\nLast changes of mode:\n");
		out_rows(c, modes, MEM_COUNT(modes),
			 json_copy(json_get(frame, "mode_changes")));
	}
	c->format = format;
}

/* Characters of text, at most columns of them wide, and the escape sequences between. */
static size_t cut(const char *text, size_t len, unsigned columns)
{
	unsigned used = 0;
	size_t i = 0;

	while (i < len) {
		if (text[i] == '\033') {
			while (i < len && text[i] != 'm')
				i++;
			i += i < len;
			continue;
		}
		if ((text[i] & 0xc0) != 0x80 && used++ == columns)
			break;
		i++;
	}
	return i;
}

void monitor_paint(FILE *out, const char *text, unsigned rows, unsigned columns)
{
	fputs("\033[H", out);
	for (unsigned row = 0; *text && row < rows; row++) {
		size_t n = strcspn(text, "\n");
		fprintf(out, "%s%.*s\033[0m\033[K", row ? "\r\n" : "",
			(int)cut(text, n, columns), text);
		text += n + (text[n] == '\n');
	}
	fputs("\033[J", out);
}
