/* watch blocks|txs|consensus|evidence */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/cli/events.h"
#include "tools/cli/verbs.h"

struct watch {
	struct cli *c;
	uint64_t left; /* events still wanted; UINT64_MAX: all */
};

static const char *text_of(const struct json *o, const char *key)
{
	const char *text;

	return json_read_string(o, key, &text) == ERR_NONE ? text : "-";
}

static unsigned long long number_of(const struct json *o, const char *key)
{
	uint64_t v = 0;

	json_read_u64(o, key, &v);
	return v;
}

/* A JSON text without line breaks and control characters is fit for a terminal. */
static void print_other(struct watch *w, const struct sse_event *e, const struct json *data)
{
	char *text = json_dump(data, false);

	fprintf(w->c->out, "%s %s %s\n", e->id, e->type, text);
	mem_free(text);
}

static void print_line(struct watch *w, const struct sse_event *e, const struct json *d)
{
	FILE *out = w->c->out;

	if (strcmp(e->type, "blocks") == 0)
		fprintf(out, "%-12s block   term %llu %s, leader %s, %llu txs, %s, %.16s\n",
			e->id, number_of(d, "term"), text_of(d, "mode"), text_of(d, "leader"),
			number_of(d, "tx_count"), text_of(d, "grade"), text_of(d, "hash"));
	else if (strcmp(e->type, "txs") == 0)
		fprintf(out, "%-12s tx      %s %s\n", e->id, text_of(d, "tx"),
			text_of(d, "result"));
	else if (strcmp(e->type, "consensus") == 0)
		fprintf(out, "%-12s %s: %s %s, term %llu %s, leader %s\n", e->id,
			text_of(d, "change"), text_of(d, "node"), text_of(d, "role"),
			number_of(d, "term"), text_of(d, "mode"), text_of(d, "leader"));
	else if (strcmp(e->type, "evidence") == 0)
		fprintf(out, "%-12s evidence against %s: %s, %.16s\n", e->id,
			text_of(d, "culprit"), text_of(d, "kind"), text_of(d, "id"));
	else if (strcmp(e->type, "gap") == 0)
		fprintf(out, "%-12s GAP     events after %s up to %s are missing\n", e->id,
			text_of(d, "from"), text_of(d, "to"));
	else
		print_other(w, e, d);
}

static bool on_event(void *arg, const struct sse_event *e)
{
	struct watch *w = arg;
	struct json *data = NULL, *plain, *o;

	if (json_parse(&data, slice_str(e->data), NULL) != ERR_NONE)
		data = json_string(e->data);
	plain = plain_numbers(data, "");
	json_free(data);
	if (w->c->format == FORMAT_TABLE) {
		print_line(w, e, plain);
		json_free(plain);
	} else {
		o = json_object();
		json_set(o, "event", json_string(e->type));
		json_set(o, "cursor", json_string(e->id));
		json_set(o, "data", plain);
		out_object(w->c, o);
	}
	fflush(w->c->out);
	if (ferror(w->c->out))
		return false;
	if (w->left != UINT64_MAX)
		w->left--;
	return w->left > 0;
}

static void on_resume(void *arg, const char *url, const char *cursor)
{
	struct watch *w = arg;

	cli_hint(w->c, "the connection was lost; going on after %s with %s",
		 *cursor ? cursor : "now", url);
}

static bool types_ok(const char *types)
{
	static const char *const known[] = {"blocks", "txs", "consensus", "evidence"};

	for (const char *p = types; *p; p++) {
		size_t n = strcspn(p, ","), k = 0;
		while (k < MEM_COUNT(known) &&
		       (strlen(known[k]) != n || memcmp(known[k], p, n) != 0))
			k++;
		if (k == MEM_COUNT(known))
			return false;
		p += n;
		if (*p == '\0')
			return true;
	}
	return false;
}

static bool cursor_ok(const char *text)
{
	const char *dot = strchr(text, '.');
	char height[24];
	uint64_t v;

	if (dot != NULL && parse_u64(&v, dot + 1, 0, UINT64_MAX) != ERR_NONE)
		return false;
	if (dot != NULL && dot - text >= (ptrdiff_t)sizeof height)
		return false;
	snprintf(height, sizeof height, "%.*s", (int)(dot ? dot - text : 23), text);
	return parse_u64(&v, height, 0, UINT64_MAX) == ERR_NONE;
}

#define ASK_MS 2000 /* for what is only told by the way */

/* Who gives a height that is far away waits for long, and ought to know. */
static void tell_distance(struct cli *c, struct target *t, const char *from)
{
	uint64_t final = 0, wanted = strtoull(from, NULL, 10);
	struct link l;

	link_open(&l, t, 0);
	l.deadline = now_ms() + ASK_MS;
	if (link_get(&l, "/v1/status") == ERR_NONE && l.reply.status == 200 &&
	    json_read_u64(l.answer, "final_height", &final) == ERR_NONE && final < UINT64_MAX &&
	    wanted > final + 1)
		fprintf(c->err,
			"ostrakon: height %llu is not final yet, %llu is: waiting for it\n",
			(unsigned long long)wanted, (unsigned long long) final);
	link_close(&l);
}

int verb_watch(struct cli *c)
{
	static const char *const words[] = {"blocks", "txs", "consensus", "evidence"};
	struct watch w = {.c = c, .left = opt_u64(&c->opt, OPT_COUNT, UINT64_MAX)};
	const char *from = c->opt.value[OPT_FROM], *near;
	struct target *t;
	int rc;

	if (!types_ok(c->opt.arg[0])) {
		near = meant_word(c->opt.arg[0], words, MEM_COUNT(words));
		return cli_usage(c, "cannot watch \"%s\"; %s%s%s", c->opt.arg[0],
				 near ? "did you mean \"" : "",
				 near ? near
				      : "there are blocks, txs, consensus and evidence, or "
					"several with commas between",
				 near ? "\"?" : "");
	}
	if (from != NULL && !cursor_ok(from))
		return cli_usage(c, "--from takes HEIGHT or HEIGHT.INDEX, not \"%s\"", from);
	t = mem_zalloc(sizeof *t);
	rc = target_open(c, t, false);
	if (rc == EXIT_DONE) {
		struct subscription s = {.t = t,
					 .types = c->opt.arg[0],
					 .from = from,
					 .patience_ms = c->timeout_ms,
					 .on_event = on_event,
					 .on_resume = on_resume,
					 .arg = &w};
		if (from != NULL)
			tell_distance(c, t, from);
		rc = subscribe(c, &s);
	}
	target_close(t);
	mem_free(t);
	return rc;
}
