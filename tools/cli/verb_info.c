/* status, health, blocks, block, validators, peers: what a node says about itself.
 *
 * 64-bit numbers are strings on the wire; this program prints them as numbers. */
#include <string.h>

#include "base/mem.h"
#include "tools/cli/client.h"
#include "tools/cli/verbs.h"

#define HEALTH_MS 3000 /* for one answer */

static bool is_digits(const char *text)
{
	size_t len = strlen(text);

	return len >= 1 && len <= 20 && strspn(text, "0123456789") == len &&
	       (len == 1 || text[0] != '0');
}

/* Members whose strings of digits are names or bytes, not numbers. */
static bool stays_text(const char *key)
{
	static const char *const names[] = {"name", "node",    "leader", "chain", "version",
					    "key",  "address", "remote", "value"};

	for (size_t i = 0; i < MEM_COUNT(names); i++)
		if (strcmp(key, names[i]) == 0)
			return true;
	return false;
}

struct json *plain_numbers(const struct json *v, const char *key)
{
	const char *text;
	uint64_t number;
	struct json *out;

	if (json_is_array(v)) {
		out = json_array();
		for (size_t i = 0; i < json_len(v); i++)
			json_append(out, plain_numbers(json_at(v, i), key));
		return out;
	}
	if (json_is_object(v)) {
		out = json_object();
		for (const char *k = json_key_next(v, NULL); k != NULL; k = json_key_next(v, k))
			json_set(out, k, plain_numbers(json_get(v, k), k));
		return out;
	}
	if (json_is_string(v) && !stays_text(key) && json_as_string(v, &text) == ERR_NONE &&
	    is_digits(text) && parse_u64(&number, text, 0, INT64_MAX) == ERR_NONE)
		return json_u64(number);
	return json_copy(v);
}

/* Asks for path; hands the answer, with numbers, to show, which says the exit code. */
static int ask_and_show(struct cli *c, const char *path,
			int (*show)(struct cli *c, struct json *doc))
{
	struct target *t = mem_zalloc(sizeof *t);
	struct link l;
	int rc = target_open(c, t, false);

	if (rc == EXIT_DONE) {
		link_open(&l, t, 0);
		rc = link_get_or_fail(&l, path);
		if (rc == EXIT_DONE)
			rc = show(c, plain_numbers(l.answer, ""));
		link_close(&l);
	}
	target_close(t);
	mem_free(t);
	return rc;
}

static int show_status(struct cli *c, struct json *doc)
{
	static const struct column columns[] = {{"PEER", "name"},
						{"CONNECTED", "connected"},
						{"RTT (us)", "rtt_us"},
						{"HEARD (ms)", "heard_ms"},
						{"MATCH", "match"}};
	static const char *const shown[] = {"node",
					    "role",
					    "mode",
					    "term",
					    "leader",
					    "height",
					    "final_height",
					    "state_root",
					    "age_ms",
					    "n",
					    "faults_tolerated",
					    "pending",
					    "ready",
					    "not_ready",
					    "halted",
					    "observer"};
	struct json *brief;

	if (c->format != FORMAT_TABLE) {
		out_object(c, doc);
		return EXIT_DONE;
	}
	brief = json_object();
	for (size_t i = 0; i < MEM_COUNT(shown); i++) {
		const struct json *v = json_get(doc, shown[i]);
		if (v != NULL && !(json_is_null(v) && i >= 13))
			json_set(brief, shown[i], json_copy(v));
	}
	out_object(c, brief);
	fputc('\n', c->out);
	out_document(c, columns, MEM_COUNT(columns), doc, "peers");
	return EXIT_DONE;
}

int verb_status(struct cli *c)
{
	return ask_and_show(c, "/v1/status", show_status);
}

/* A node that hangs leaves time to ask the others. */
static int ask_health(struct link *l, unsigned i, const char *path)
{
	uint64_t left = cli_time_left(l->t->c);
	bool last = i + 1 == l->t->count;

	return link_call(l, i, "GET", path, NULL, slice_of(NULL, 0),
			 last && left < HEALTH_MS ? left : patience_of(left, HEALTH_MS));
}

/* One node's health, as a row: {node, live, ready, why}; counts it as reached if anything
 * answered there. */
static struct json *health_row(struct link *l, unsigned i, bool *ready, unsigned *reached)
{
	struct json *row = json_object();
	int err = ask_health(l, i, "/livez");
	bool live = err == ERR_NONE && l->reply.status == 200;

	*ready = false;
	*reached += err == ERR_NONE;
	json_set(row, "node", json_string(l->t->url[i]));
	json_set(row, "live", json_bool(live));
	if (live) {
		err = ask_health(l, i, "/readyz");
		*ready = err == ERR_NONE && l->reply.status == 200;
	}
	json_set(row, "ready", json_bool(*ready));
	json_set(row, "why", *ready ? json_null() : json_string(l->m.text));
	return row;
}

int verb_health(struct cli *c)
{
	static const struct column columns[] = {
		{"NODE", "node"}, {"LIVE", "live"}, {"READY", "ready"}, {"WHY", "why"}};
	struct target *t = mem_zalloc(sizeof *t);
	struct json *rows = json_array();
	unsigned ready_count = 0, reached = 0, needed;
	int unauthorized = -1;
	struct link l;
	int rc = target_open(c, t, false);

	if (rc == EXIT_DONE) {
		link_open(&l, t, 0);
		for (unsigned i = 0; i < t->count; i++) {
			bool ready;
			json_append(rows, health_row(&l, i, &ready, &reached));
			ready_count += ready;
			if (!ready && l.reply.status == 401)
				unauthorized = (int)i;
		}
		link_close(&l);
		/* Of a network as many must be ready as it takes to commit. */
		needed = t->has_genesis && t->count == t->ctx.quorum.n ? t->ctx.quorum.q : 1;
		if (ready_count < needed)
			rc = reached > 0 ? EXIT_REFUSED : EXIT_UNREACHABLE;
		out_rows(c, columns, MEM_COUNT(columns), rows);
		rows = NULL;
		if (rc != EXIT_DONE && unauthorized < 0)
			fprintf(c->err, "ostrakon: %u of %u nodes are ready, %u needed\n",
				ready_count, t->count, needed);
		if (rc != EXIT_DONE && unauthorized >= 0)
			rc = unauthorized_fail(c, t->url[unauthorized]);
	}
	json_free(rows);
	target_close(t);
	mem_free(t);
	return rc;
}

static int show_blocks(struct cli *c, struct json *doc)
{
	static const struct column columns[] = {{"HEIGHT", "height"},	{"TERM", "term"},
						{"MODE", "mode"},	{"LEADER", "leader"},
						{"TXS", "tx_count"},	{"GRADE", "grade"},
						{"SIGNERS", "signers"}, {"HASH", "hash"}};

	/* From a height on that is not final yet: as of one block there, and of a value. */
	if (opt_given(&c->opt, OPT_HEIGHT) && json_len(json_get(doc, "blocks")) == 0) {
		json_free(doc);
		return cli_fail(c, EXIT_NOT_FOUND, "not_found",
				"`ostrakon blocks` lists the newest.",
				"there is no block at height %s yet", c->opt.value[OPT_HEIGHT]);
	}
	out_list(c, columns, MEM_COUNT(columns), doc, "blocks");
	return EXIT_DONE;
}

int verb_blocks(struct cli *c)
{
	char path[128];
	uint64_t limit = opt_u64(&c->opt, OPT_LIMIT, 20);

	if (limit > 100)
		limit = 100;
	if (opt_given(&c->opt, OPT_HEIGHT))
		snprintf(path, sizeof path, "/v1/blocks?from=%s&limit=%llu",
			 c->opt.value[OPT_HEIGHT], (unsigned long long)limit);
	else
		snprintf(path, sizeof path, "/v1/blocks?limit=%llu", (unsigned long long)limit);
	return ask_and_show(c, path, show_blocks);
}

/* A line for each member but the list that has a table of its own. */
static void show_all_but(struct cli *c, const struct json *doc, const char *list)
{
	struct json *brief = json_object();

	for (const char *k = json_key_next(doc, NULL); k != NULL; k = json_key_next(doc, k))
		if (strcmp(k, list) != 0)
			json_set(brief, k, json_copy(json_get(doc, k)));
	out_object(c, brief);
}

static int show_block(struct cli *c, struct json *doc)
{
	static const struct column columns[] = {{"INDEX", "index"},   {"TX", "tx"},
						{"RESULT", "result"}, {"OPS", "op_count"},
						{"SIZE", "size"},     {"NONCE", "nonce"}};

	if (c->format != FORMAT_TABLE) {
		out_object(c, doc);
		return EXIT_DONE;
	}
	show_all_but(c, doc, "transactions");
	if (json_len(json_get(doc, "transactions")) > 0) {
		fputc('\n', c->out);
		out_document(c, columns, MEM_COUNT(columns), doc, "transactions");
	} else {
		json_free(doc);
	}
	return EXIT_DONE;
}

int verb_block(struct cli *c)
{
	char path[64];
	uint64_t height;

	if (strcmp(c->opt.arg[0], "latest") != 0 &&
	    parse_u64(&height, c->opt.arg[0], 0, UINT64_MAX) != ERR_NONE)
		return cli_usage(c, "\"%s\" is no height: a number or \"latest\"",
				 c->opt.arg[0]);
	snprintf(path, sizeof path, "/v1/blocks/%s", c->opt.arg[0]);
	return ask_and_show(c, path, show_block);
}

static int show_validators(struct cli *c, struct json *doc)
{
	static const struct column columns[] = {
		{"INDEX", "index"}, {"NAME", "name"}, {"KEY", "key"}, {"LEADER", "leader"}};

	if (c->format == FORMAT_TABLE) {
		show_all_but(c, doc, "validators");
		fputc('\n', c->out);
	}
	out_list(c, columns, MEM_COUNT(columns), doc, "validators");
	return EXIT_DONE;
}

int verb_validators(struct cli *c)
{
	return ask_and_show(c, "/v1/validators", show_validators);
}

static int show_peers(struct cli *c, struct json *doc)
{
	static const struct column columns[] = {{"NAME", "name"},
						{"ADDRESS", "address"},
						{"CONNECTED", "connected"},
						{"RTT (us)", "rtt_us"},
						{"SENT", "sent_messages"},
						{"RECEIVED", "received_messages"},
						{"RESENT", "resent_messages"},
						{"QUEUED", "queued_messages"}};

	out_list(c, columns, MEM_COUNT(columns), doc, "peers");
	return EXIT_DONE;
}

int verb_peers(struct cli *c)
{
	return ask_and_show(c, "/v1/peers", show_peers);
}
