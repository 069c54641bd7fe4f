#include "tools/cli/doctor_report.h"

#include <stdarg.h>
#include <string.h>

#include "base/mem.h"

void duration_text(char out[32], uint64_t ms)
{
	unsigned long long s = ms / 1000;

	if (ms < 1000)
		snprintf(out, 32, "%llu ms", (unsigned long long)ms);
	else if (s < 60)
		snprintf(out, 32, "%llu.%llu s", s, (unsigned long long)(ms % 1000 / 100));
	else if (s < 3600)
		snprintf(out, 32, "%llu min %llu s", s / 60, s % 60);
	else
		snprintf(out, 32, "%llu h %llu min", s / 3600, s % 3600 / 60);
}

void say(struct writer *w, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n > 0)
		writer_raw(w, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* "a", "a and b", "a, b and c" */
void say_names(struct writer *w, const struct analysis *a, uint64_t set)
{
	unsigned left = (unsigned)__builtin_popcountll(set);

	if (set == 0)
		say(w, "nobody");
	for (unsigned i = 0; i < a->v.count; i++) {
		if (!(set >> i & 1))
			continue;
		left--;
		say(w, "%s%s", a->v.node[i].name, left == 0 ? "" : left == 1 ? " and " : ", ");
	}
}

/* Ends a text: hands out its characters. */
struct json *take_text(struct writer *w)
{
	struct json *text = json_string_n((const char *)w->buf, w->len);

	writer_free(w);
	return text;
}

void report(struct analysis *a, struct finding *f)
{
	struct json *o = json_object(), *nodes = json_array();

	for (unsigned i = 0; i < a->v.count; i++)
		if (f->nodes >> i & 1)
			json_append(nodes, json_string(a->v.node[i].name));
	json_set(o, "cause", json_string(f->cause));
	json_set(o, "severity", json_string(f->error ? "error" : "warning"));
	json_set(o, "nodes", nodes);
	json_set(o, "since_ms",
		 f->has_since && f->since_ms <= INT64_MAX ? json_u64(f->since_ms)
							  : json_null());
	json_set(o, "text", take_text(&f->text));
	json_set(o, "what_to_do", take_text(&f->advice));
	json_append(f->error ? a->errors : a->warnings, o);
}

void since(struct finding *f, bool known, uint64_t ms)
{
	if (known && (!f->has_since || ms > f->since_ms)) {
		f->has_since = true;
		f->since_ms = ms;
	}
}

void since_silent(const struct analysis *a, struct finding *f, unsigned i)
{
	uint64_t ms = 0;
	bool known = doctor_silent_for(&a->v, i, &ms);

	since(f, known, ms);
}

/* "`ostrakon net VERB DIR NODE`", with a directory only if the nodes are local. */
void advise_net(struct writer *w, const struct analysis *a, const char *verb, const char *node)
{
	say(w, "`ostrakon net %s%s%s%s%s`", verb, a->v.dir[0] ? " " : "", a->v.dir,
	    node ? " " : "", node ? node : "");
}

bool text_contains(const char *text, const char *part)
{
	return strcasestr(text, part) != NULL;
}
