/* doctor: what keeps the network, or part of it, from working, and what to do. */
#include <string.h>

#include "base/mem.h"
#include "tools/cli/client.h"
#include "tools/cli/doctor.h"
#include "tools/cli/lines.h"
#include "tools/cli/verbs.h"

#define SECOND_LOOK_MS 1500 /* longer than an election */
#define ANSWERS_MAX    (64u << 20)

static const char *text_of(const struct json *o, const char *key)
{
	const char *text;

	return json_read_string(o, key, &text) == ERR_NONE ? text : "";
}

/* Words with line breaks before column 88. */
static void print_wrapped(FILE *out, const char *prefix, const char *text)
{
	size_t column = strlen(prefix);

	fputs(prefix, out);
	while (*text) {
		size_t n = strcspn(text, " ");
		if (column + n > 88 && column > strlen(prefix)) {
			fprintf(out, "\n%*s", (int)strlen(prefix), "");
			column = strlen(prefix);
		}
		if (column > strlen(prefix)) {
			fputc(' ', out);
			column++;
		}
		fprintf(out, "%.*s", (int)n, text);
		column += n;
		text += n + (text[n] == ' ');
	}
	fputc('\n', out);
}

static void print_finding(struct cli *c, const struct json *f)
{
	bool error = strcmp(text_of(f, "severity"), "error") == 0;
	const char *color = c->color ? (error ? "\033[31m" : "\033[33m") : "";
	char *nodes = cell_text(json_get(f, "nodes")), duration[32];
	uint64_t ms;

	fprintf(c->out, "\n%s%s%s %s: %s", color, text_of(f, "severity"),
		c->color ? "\033[0m" : "", text_of(f, "cause"), nodes);
	if (json_read_u64(f, "since_ms", &ms) == ERR_NONE) {
		duration_text(duration, ms);
		fprintf(c->out, ", for %s", duration);
	}
	fputc('\n', c->out);
	print_wrapped(c->out, "    ", text_of(f, "text"));
	print_wrapped(c->out, "    What to do: ", text_of(f, "what_to_do"));
	mem_free(nodes);
}

static void print_verdict(struct cli *c, struct json *verdict)
{
	static const struct column nodes[] = {{"NODE", "name"},
					      {"REACHED", "reach"},
					      {"CAUSE", "cause"},
					      {"ROLE", "role"},
					      {"MODE", "mode"},
					      {"TERM", "term"},
					      {"LEADER", "leader"},
					      {"FINAL", "final_height"},
					      {"CLOCK (ms)", "clock_offset_ms"}};
	static const struct column waiting[] = {{"NODE", "node"},
						{"WAITS FOR", "what"},
						{"OF", "who"},
						{"SINCE (ms)", "since_ms"}};
	const struct json *findings = json_get(verdict, "findings");

	fprintf(c->out, "%s\n", text_of(verdict, "summary"));
	for (size_t i = 0; i < json_len(findings); i++)
		print_finding(c, json_at(findings, i));
	fputc('\n', c->out);
	out_rows(c, nodes, MEM_COUNT(nodes), json_copy(json_get(verdict, "nodes")));
	if (json_len(json_get(verdict, "waiting")) > 0) {
		fputc('\n', c->out);
		out_rows(c, waiting, MEM_COUNT(waiting),
			 json_copy(json_get(verdict, "waiting")));
	}
	json_free(verdict);
}

/* Findings that an election under way, or load, explains. */
static bool may_pass(const struct json *verdict)
{
	static const char *const passing[] = {"no_leader", "stalled",	    "one_way_partition",
					      "link_down", "node_isolated", "partition"};
	const struct json *findings = json_get(verdict, "findings");

	for (size_t i = 0; i < json_len(findings); i++) {
		bool found = false;
		for (size_t k = 0; k < MEM_COUNT(passing); k++)
			found = found ||
				strcmp(text_of(json_at(findings, i), "cause"), passing[k]) == 0;
		if (!found)
			return false;
	}
	return json_len(findings) > 0;
}

struct json *doctor_answers_file(struct cli *c, int *rc)
{
	struct json *doc = NULL;
	struct errmsg m;
	uint8_t *text;
	size_t len;
	int err = file_read(&text, &len, c->opt.value[OPT_ANSWERS], ANSWERS_MAX, &m);

	if (err != ERR_NONE) {
		*rc = cli_fail_err(c, err, &m, NULL);
		return NULL;
	}
	err = json_parse(&doc, slice_of(text, len), NULL);
	mem_free(text);
	if (err != ERR_NONE)
		err_set(&m, err, "%s holds no answers of nodes, as --save writes them",
			c->opt.value[OPT_ANSWERS]);
	if (err == ERR_NONE && !json_is_array(json_get(doc, "nodes"))) {
		json_free(doc);
		doc = NULL;
		err = err_set(&m, ERR_SYNTAX, "%s holds no answers of nodes",
			      c->opt.value[OPT_ANSWERS]);
	}
	*rc = err == ERR_NONE ? EXIT_DONE : cli_usage(c, "%s", m.text);
	return doc;
}

static int save_answers(struct cli *c, const struct json *answers)
{
	struct errmsg m;
	char *text;
	int err;

	if (!opt_given(&c->opt, OPT_SAVE))
		return EXIT_DONE;
	text = json_dump(answers, true);
	err = file_write(c->opt.value[OPT_SAVE], slice_str(text), &m);
	mem_free(text);
	return err == ERR_NONE ? EXIT_DONE
			       : cli_fail(c, EXIT_REFUSED, "io", NULL, "%s", m.text);
}

int verb_doctor(struct cli *c)
{
	struct json *answers, *verdict;
	bool healthy = false;
	int rc;

	if (opt_given(&c->opt, OPT_ANSWERS))
		answers = doctor_answers_file(c, &rc);
	else
		answers = doctor_collect(c, &rc);
	if (answers == NULL)
		return rc;
	verdict = doctor_analyse(answers);
	if (!opt_given(&c->opt, OPT_ANSWERS) && may_pass(verdict)) {
		json_free(answers);
		json_free(verdict);
		sleep_ms(SECOND_LOOK_MS);
		answers = doctor_collect(c, &rc);
		if (answers == NULL)
			return rc;
		verdict = doctor_analyse(answers);
	}
	rc = save_answers(c, answers);
	json_free(answers);
	json_read_bool(verdict, "healthy", &healthy);
	if (rc != EXIT_DONE)
		json_free(verdict);
	else if (c->format == FORMAT_TABLE)
		print_verdict(c, verdict);
	else if (c->format == FORMAT_JSONL)
		out_rows(c, NULL, 0, json_copy(json_get(verdict, "findings"))),
			json_free(verdict);
	else
		out_object(c, verdict);
	return rc != EXIT_DONE ? rc : healthy ? EXIT_DONE : EXIT_REFUSED;
}
