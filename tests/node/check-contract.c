/* docs/openapi.json against four live nodes: every path, method, parameter, status and field
 * that it names, and no field that it does not. Run from the top of the build tree. */
#include <arpa/inet.h>
#include <check.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "chain/member.h"
#include "homes.h"
#include "http-client.h"
#include "ledger/tx.h"
#include "process.h"

#define NODES	     4
#define DOCUMENT_MAX (1u << 20)

static char dir[64], tx_id_text[80], account[PUBKEY_HEX_SIZE];
static struct genesis genesis;
static struct chain_ctx ctx;
static struct keypair client;
static pid_t node[NODES];
static unsigned port[NODES];
static struct json *api;

/* ---- the network ------------------------------------------------------------------------- */

static void start(unsigned i)
{
	char home[80], log[96];
	snprintf(home, sizeof home, "%s/node%u", dir, i + 1);
	snprintf(log, sizeof log, "%s/log%u", dir, i + 1);
	node[i] = node_start(home, log);
	while (!(port[i] = node_port(home))) {
		ck_assert_int_eq(waitpid(node[i], NULL, WNOHANG), 0);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
}

static void put(unsigned on, uint64_t nonce, struct answer *a, const char *query)
{
	struct op op = {.kind = OP_PUT, .key = slice_str("city"), .value = slice_str("Athens")};
	struct writer tx;
	writer_init(&tx, 0);
	tx_build(&tx, &ctx, &client, nonce, 1000, &op, 1);
	char *hex = mem_alloc(2 * tx.len + 1);
	hex_encode(hex, tx.buf, tx.len);
	char *body = mem_printf("{\"tx\":\"%s\"}", hex);
	char *path = mem_printf("/v1/transactions%s", query);
	post(port[on], path, "application/json", slice_str(body), a);
	mem_free(path);
	mem_free(body);
	mem_free(hex);
	writer_free(&tx);
}

static struct json *read_api(void)
{
	const char *source = getenv("srcdir");
	char *path = mem_printf("%s/docs/openapi.json", source ? source : "..");
	struct errmsg m = {.text = ""};
	struct json *o;
	ck_assert_msg(json_parse_file(&o, path, DOCUMENT_MAX, &m) == ERR_NONE, "%s", m.text);
	mem_free(path);
	return o;
}

static void make(void)
{
	crypto_init();
	strcpy(dir, "/tmp/check-contract-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	homes_make(dir, NODES, "", &genesis, &client);
	genesis_ctx(&ctx, &genesis);
	pubkey_hex(account, &client.pub);
	for (unsigned i = 0; i < NODES; i++)
		start(i);
	struct answer a = {0};
	for (unsigned i = 0; i < NODES; i++)
		for (bool ready = false; !ready; answer_free(&a)) {
			get(port[i], "/readyz", &a);
			ready = a.status == 200;
		}
	put(0, 1, &a, "?timeout=60000");
	ck_assert_msg(a.status == 200, "%d %s", a.status, a.body);
	const char *tx;
	json_read_string(a.json, "tx", &tx);
	snprintf(tx_id_text, sizeof tx_id_text, "%s", tx);
	answer_free(&a);
	api = read_api();
}

static void end(void)
{
	for (unsigned i = 0; i < NODES; i++)
		kill(node[i], SIGTERM);
	for (unsigned i = 0; i < NODES; i++) {
		int status;
		ck_assert_int_eq(waitpid(node[i], &status, 0), node[i]);
		ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	genesis_free(&genesis);
	json_free(api);
	char *remove = mem_printf("rm -r %s", dir);
	ck_assert_int_eq(system(remove), 0);
	mem_free(remove);
}

/* ---- what of JSON schema the document uses ------------------------------------------------
 */

static const struct json *follow(const struct json *o)
{
	const char *ref;
	while (o && json_read_string(o, "$ref", &ref) == ERR_NONE) {
		char part[64];
		o = api;
		ck_assert_int_eq(strncmp(ref, "#/", 2), 0);
		for (ref += 2; *ref; ref += *ref == '/') {
			size_t len = strcspn(ref, "/");
			ck_assert_uint_lt(len, sizeof part);
			memcpy(part, ref, len);
			part[len] = 0;
			o = json_get(o, part);
			ck_assert_msg(o != NULL, "no %s", part);
			ref += len;
		}
	}
	return o;
}

static bool fits(const struct json *v, const struct json *schema, char *why, size_t size);

static bool no(char *why, size_t size, const struct json *v, const char *what)
{
	char *text = json_dump(v, false);
	snprintf(why, size, "%s: %.300s", what, text);
	mem_free(text);
	return false;
}

static bool string_fits(const char *text, const struct json *schema)
{
	const struct json *allowed = json_get(schema, "enum");
	const char *pattern, *one;
	bool good = !allowed;
	for (size_t i = 0; i < json_len(allowed) && !good; i++)
		good = json_as_string(json_at(allowed, i), &one) == ERR_NONE &&
		       strcmp(one, text) == 0;
	if (good && json_read_string(schema, "pattern", &pattern) == ERR_NONE) {
		regex_t regex;
		ck_assert_int_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
		good = regexec(&regex, text, 0, NULL, 0) == 0;
		regfree(&regex);
	}
	return good;
}

static bool object_fits(const struct json *v, const struct json *schema, char *why, size_t size)
{
	const struct json *props = json_get(schema, "properties");
	const struct json *required = json_get(schema, "required");
	const struct json *more = json_get(schema, "additionalProperties");
	const char *name;
	bool any = false;
	json_as_bool(more, &any);
	for (size_t i = 0; i < json_len(required); i++) {
		json_as_string(json_at(required, i), &name);
		if (!json_get(v, name))
			return no(why, size, v, name);
	}
	for (const char *k = NULL; (k = json_key_next(v, k)) != NULL;) {
		const struct json *s = json_get(props, k);
		if (!s && json_is_object(more))
			s = more;
		if (!s && !any)
			return no(why, size, v, k);
		if (s && !fits(json_get(v, k), s, why, size)) {
			size_t len = strlen(why);
			snprintf(why + len, size - len, " in %s", k);
			return false;
		}
	}
	return true;
}

static bool fits(const struct json *v, const struct json *schema, char *why, size_t size)
{
	schema = follow(schema);
	const struct json *choice = json_get(schema, "oneOf");
	for (size_t i = 0; i < json_len(choice); i++)
		if (fits(v, json_at(choice, i), why, size))
			return true;
	if (choice)
		return no(why, size, v, "none of oneOf");
	bool nullable = false, flag;
	json_read_bool(schema, "nullable", &nullable);
	if (json_is_null(v))
		return nullable || no(why, size, v, "null");
	const char *type = "", *text;
	uint64_t number;
	double real;
	json_read_string(schema, "type", &type);
	if (strcmp(type, "string") == 0)
		return (json_as_string(v, &text) == ERR_NONE && string_fits(text, schema)) ||
		       no(why, size, v, "string");
	if (strcmp(type, "boolean") == 0)
		return json_as_bool(v, &flag) == ERR_NONE || no(why, size, v, "boolean");
	if (strcmp(type, "integer") == 0)
		return (!json_is_string(v) && (json_as_u64(v, &number) == ERR_NONE ||
					       json_as_real(v, &real) == ERR_NONE)) ||
		       no(why, size, v, "integer");
	if (strcmp(type, "array") == 0) {
		for (size_t i = 0; i < json_len(v); i++)
			if (!fits(json_at(v, i), json_get(schema, "items"), why, size))
				return false;
		return json_is_array(v) || no(why, size, v, "array");
	}
	ck_assert_str_eq(type, "object");
	return json_is_object(v) ? object_fits(v, schema, why, size)
				 : no(why, size, v, "object");
}

/* ---- the walk ------------------------------------------------------------------------------
 */

/* An answer is one that the document has for this operation. */
static void check_answer(const char *path, const struct json *operation, const struct answer *a)
{
	char status[8], why[1024] = "";
	snprintf(status, sizeof status, "%d", a->status);
	const struct json *responses = json_get(operation, "responses");
	const struct json *r = json_get(responses, status);
	if (!r && a->status >= 400)
		r = json_get(responses, "default");
	ck_assert_msg(r != NULL, "%s: status %d is not documented: %s", path, a->status,
		      a->body ? a->body : "");
	const struct json *content = json_get(follow(r), "content");
	const char *type = json_key_next(content, NULL);
	char *header = mem_printf("Content-Type: %s", type);
	ck_assert_msg(strcasestr(a->head, header) != NULL, "%s: no %s in %s", path, header,
		      a->head);
	mem_free(header);
	if (!strstr(type, "json"))
		return;
	ck_assert_msg(a->json != NULL, "%s: %s", path, a->body);
	ck_assert_msg(
		fits(a->json, json_get(json_get(content, type), "schema"), why, sizeof why),
		"%s, status %d: %s", path, a->status, why);
}

/* The path with its parameter filled in. */
static char *fill_in(const char *path, bool good)
{
	const char *brace = strchr(path, '{'), *value = "";
	if (!brace)
		return mem_strdup(path);
	if (strncmp(brace, "{id}", 4) == 0)
		value = good ? tx_id_text : "00";
	else if (strncmp(brace, "{key}", 5) == 0)
		value = good ? "city" : "nowhere";
	else if (strncmp(brace, "{pubkey}", 8) == 0)
		value = good ? account : "zz";
	else if (strncmp(brace, "{height}", 8) == 0)
		value = good ? "latest" : "99999999";
	else if (strncmp(brace, "{change}", 8) == 0)
		value = good ? "00" : "zz";
	else
		ck_abort_msg("no value for %s", brace);
	return mem_printf("%.*s%s", (int)(brace - path), path, value);
}

static const char *sample_of(const char *name)
{
	static const struct {
		const char *name, *value;
	} samples[] = {{"prove", "1"}, {"full", "1"},  {"height", "1"},
		       {"from", "1"},  {"limit", "2"}, {"types", "blocks,txs"}};
	for (size_t i = 0; i < MEM_COUNT(samples); i++)
		if (strcmp(samples[i].name, name) == 0)
			return samples[i].value;
	ck_abort_msg("no sample of parameter %s", name);
	return NULL;
}

static void ask(const char *path, const struct json *operation, int status)
{
	struct answer a;
	get(port[0], path, &a);
	ck_assert_msg(status == 0 || a.status == status, "%s: %d %s", path, a.status,
		      a.body ? a.body : "");
	check_answer(path, operation, &a);
	answer_free(&a);
}

static void walk_get(const char *path, const struct json *operation)
{
	char *good = fill_in(path, true), *bad = fill_in(path, false), *with;
	ask(good, operation, 200);
	if (strcmp(good, bad) != 0)
		ask(bad, operation, 0);
	with = mem_printf("%s?no_such_parameter=1", good);
	if (json_get(json_get(operation, "responses"), "default"))
		ask(with, operation, 400);
	mem_free(with);
	const struct json *parameters = json_get(operation, "parameters");
	for (size_t i = 0; i < json_len(parameters); i++) {
		const struct json *p = follow(json_at(parameters, i));
		const char *in = "", *name = "";
		json_read_string(p, "in", &in);
		json_read_string(p, "name", &name);
		if (strcmp(in, "query") != 0)
			continue;
		/* the block of height 1 may have another value, but it has an answer */
		with = mem_printf("%s?%s=%s", good, name, sample_of(name));
		ask(with, operation, 0);
		mem_free(with);
		with = mem_printf("%s?%s=%%21", good, name);
		ask(with, operation, 400);
		mem_free(with);
	}
	mem_free(good);
	mem_free(bad);
}

/* Every method but those documented is refused, and Allow names those. */
static void walk_other_methods(const char *path, const struct json *item)
{
	static const char *const methods[] = {"get",	"post",	 "put",
					      "delete", "patch", "options"};
	char *good = fill_in(path, true);
	for (size_t i = 0; i < MEM_COUNT(methods); i++) {
		if (json_get(item, methods[i]))
			continue;
		char upper[16] = "", *head;
		for (size_t c = 0; methods[i][c]; c++)
			upper[c] = (char)(methods[i][c] - 'a' + 'A');
		head = mem_printf(
			"%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", upper,
			good);
		struct answer a;
		int fd = http_connect(port[0]);
		http_send(fd, head, strlen(head));
		http_read(fd, &a);
		close(fd);
		ck_assert_msg(a.status == 405, "%s %s: %d", upper, good, a.status);
		ck_assert_ptr_nonnull(strstr(a.head, json_get(item, "get") ? "Allow: GET, HEAD"
									   : "Allow: POST"));
		ck_assert_ptr_nonnull(strstr(a.head, "application/problem+json"));
		answer_free(&a);
		mem_free(head);
	}
	mem_free(good);
}

START_TEST(test_paths)
{
	const struct json *paths = json_get(api, "paths");
	unsigned count = 0;
	for (const char *p = NULL; (p = json_key_next(paths, p)) != NULL; count++) {
		const struct json *item = json_get(paths, p);
		walk_other_methods(p, item);
		if (strcmp(p, "/v1/events") != 0 && json_get(item, "get"))
			walk_get(p, json_get(item, "get"));
	}
	ck_assert_uint_ge(count, 16);
}
END_TEST

START_TEST(test_submissions)
{
	const struct json *post_of =
		json_get(json_get(json_get(api, "paths"), "/v1/transactions"), "post");
	static const struct {
		uint64_t nonce;
		const char *query;
		int status;
	} cases[] = {
		{2, "", 200},
		{2, "?prove=1", 200}, /* again: the same receipt */
		{3, "?wait=accepted", 202},
		{4, "?timeout=0", 0}, /* committed already, or not yet */
		{1u << 30, "", 422},
		{5, "?timeout=x", 400},
		{5, "?wait=never", 400},
	};
	struct answer a;
	for (size_t i = 0; i < MEM_COUNT(cases); i++) {
		put(1, cases[i].nonce, &a, cases[i].query);
		ck_assert_msg(cases[i].status == 0 || a.status == cases[i].status, "%zu: %d %s",
			      i, a.status, a.body);
		check_answer("/v1/transactions", post_of, &a);
		answer_free(&a);
	}
	static const char *const types[] = {"application/json", "application/octet-stream",
					    "text/plain"};
	static const int statuses[] = {400, 400, 415};
	for (size_t i = 0; i < MEM_COUNT(types); i++) {
		post(port[1], "/v1/transactions", types[i], slice_str("{nonsense"), &a);
		ck_assert_int_eq(a.status, statuses[i]);
		check_answer("/v1/transactions", post_of, &a);
		answer_free(&a);
	}
}
END_TEST

static uint64_t raw_height(const struct json *o)
{
	const char *hex;
	struct block *b;
	struct reader r;
	ck_assert_int_eq(json_read_string(o, "block", &hex), ERR_NONE);
	size_t len = strlen(hex) / 2;
	uint8_t *bytes = mem_alloc(len + 1);
	ck_assert_int_eq(hex_decode(bytes, len, hex), ERR_NONE);
	reader_init(&r, slice_of(bytes, len));
	ck_assert_int_eq(block_decode(&r, &b), ERR_NONE);
	uint64_t height = b->sh.h.height;
	block_drop(b);
	mem_free(bytes);
	return height;
}

/* Whoever was told that a block is final finds it by its height, and it or a newer one as the
 * latest: at once. */
START_TEST(test_latest)
{
	for (uint64_t nonce = 50; nonce < 90; nonce++) {
		char path[64];
		struct answer a;
		uint64_t height, latest;
		put(0, nonce, &a, "");
		ck_assert_msg(a.status == 200, "%d %s", a.status, a.body);
		json_read_u64(a.json, "height", &height);
		answer_free(&a);
		get(port[0], "/v1/raw-blocks/latest", &a);
		ck_assert_msg(a.status == 200, "%d %s", a.status, a.body);
		ck_assert_uint_ge(raw_height(a.json), height);
		answer_free(&a);
		snprintf(path, sizeof path, "/v1/raw-blocks/%llu", (unsigned long long)height);
		get(port[0], path, &a);
		ck_assert_msg(a.status == 200, "%d %s", a.status, a.body);
		answer_free(&a);
		get(port[0], "/v1/blocks/latest", &a);
		json_read_u64(a.json, "height", &latest);
		ck_assert_uint_ge(latest, height);
		answer_free(&a);
		get(port[0], "/v1/status", &a);
		json_read_u64(a.json, "final_height", &latest);
		ck_assert_uint_ge(latest, height);
		answer_free(&a);
	}
}
END_TEST

/* Posts a member change: what comes back is in the contract, and not the node's fault. */
static void refuse_change(struct slice change, size_t digits, unsigned status, const char *code)
{
	const struct json *post_of =
		json_get(json_get(json_get(api, "paths"), "/v1/members/{change}"), "post");
	char *hex = mem_alloc(2 * change.len + 1), *path;
	const char *got = "";
	struct answer a;
	hex_encode(hex, change.ptr, change.len);
	path = mem_printf("/v1/members/%.*s", (int)digits, hex);
	post(port[1], path, "application/json", slice_str(""), &a);
	json_read_string(a.json, "code", &got);
	ck_assert_msg(a.status == (int)status && strcmp(got, code) == 0,
		      "not %u %s: %d %s", status, code, a.status, a.body ? a.body : "");
	check_answer("/v1/members/{change}", post_of, &a);
	answer_free(&a);
	mem_free(path);
	mem_free(hex);
}

static void refuse_whole(const struct member_change *m, unsigned status, const char *code)
{
	struct writer w = {0};
	member_change_encode(&w, m);
	refuse_change(writer_slice(&w), 2 * w.len, status, code);
	writer_free(&w);
}

/* What governance has not signed is refused. */
START_TEST(test_member_changes)
{
	struct keypair governance[2], new;
	struct member_change m, other;
	struct writer w = {0};
	homes_governance(governance);
	keypair_generate(&new);
	member_change_init(&m, &ctx, 1, &new.pub);
	refuse_whole(&m, 422, "few_signatures");
	ck_assert_int_eq(member_change_sign(&m, &ctx, &governance[0]), ERR_NONE);
	refuse_whole(&m, 422, "few_signatures");
	ck_assert_int_eq(member_change_sign(&m, &ctx, &governance[1]), ERR_NONE);
	other = m;
	other.sig[1].b[0] ^= 1;
	refuse_whole(&other, 422, "bad_signature");
	other = m;
	other.signers |= 4; /* of two */
	other.sig[2] = m.sig[0];
	refuse_whole(&other, 422, "unknown_signer");
	other = m;
	other.epoch++;
	refuse_whole(&other, 410, "stale");
	other = m;
	other.place = NODES;
	refuse_whole(&other, 400, "range");
	other = m;
	other.key = ctx.vals.key[0];
	refuse_whole(&other, 409, "exists");
	member_change_encode(&w, &m); /* which would do, but for its end */
	refuse_change(writer_slice(&w), 2 * w.len - 2, 400, "truncated");
	refuse_change(writer_slice(&w), 2 * w.len - 1, 400, "syntax");
	refuse_change(writer_slice(&w), 2, 400, "truncated");
	writer_free(&w);
}
END_TEST

/* ---- events ---------------------------------------------------------------------------------
 */

struct event {
	char type[32], id[64];
	char *data;
};

struct event_reader {
	int fd;
	struct writer in;
	size_t at;
};

/* One line, without its end; chunk sizes are lines of their own and skipped by the caller. */
static char *next_line(struct event_reader *r)
{
	for (;;) {
		char *begin = (char *)r->in.buf + r->at;
		char *nl = r->in.len > r->at ? memchr(begin, '\n', r->in.len - r->at) : NULL;
		if (nl) {
			r->at += (size_t)(nl + 1 - begin);
			*nl = 0;
			if (nl > begin && nl[-1] == '\r')
				nl[-1] = 0;
			return begin;
		}
		char buf[4096];
		ssize_t n = recv(r->fd, buf, sizeof buf, 0);
		ck_assert_int_gt(n, 0);
		writer_raw(&r->in, buf, (size_t)n);
	}
}

/* HTTP/1.0 has no chunks, so that the stream is bare. */
static void open_events(struct event_reader *r, unsigned on, const char *query,
			const char *last)
{
	char *head =
		mem_printf("GET /v1/events%s HTTP/1.0\r\nHost: localhost\r\n%s%s%s\r\n", query,
			   last ? "Last-Event-ID: " : "", last ? last : "", last ? "\r\n" : "");
	r->fd = http_connect(port[on]);
	writer_init(&r->in, 0);
	r->at = 0;
	http_send(r->fd, head, strlen(head));
	mem_free(head);
	ck_assert_ptr_nonnull(strstr(next_line(r), " 200 "));
	bool type = false;
	for (const char *line; *(line = next_line(r));)
		type |= strcasecmp(line, "Content-Type: text/event-stream") == 0;
	ck_assert(type);
}

static void close_events(struct event_reader *r)
{
	close(r->fd);
	writer_free(&r->in);
}

/* The next event with data, checked against its schema. Free data. */
static void next_event(struct event_reader *r, struct event *e)
{
	char why[1024] = "";
	*e = (struct event){.data = NULL};
	for (;;) {
		const char *line = next_line(r);
		if (!*line && e->data)
			break;
		if (strncmp(line, "event: ", 7) == 0)
			snprintf(e->type, sizeof e->type, "%s", line + 7);
		else if (strncmp(line, "id: ", 4) == 0)
			snprintf(e->id, sizeof e->id, "%s", line + 4);
		else if (strncmp(line, "data: ", 6) == 0)
			e->data = mem_strdup(line + 6);
		else
			ck_assert_msg(!*line || *line == ':' ||
					      strncmp(line, "retry: ", 7) == 0,
				      "%s", line);
	}
	const struct json *get_of =
		json_get(json_get(json_get(api, "paths"), "/v1/events"), "get");
	const struct json *schemas = json_get(
		json_get(json_get(json_get(json_get(get_of, "responses"), "200"), "content"),
			 "text/event-stream"),
		"x-events");
	const struct json *schema = json_get(schemas, e->type);
	ck_assert_msg(schema != NULL, "undocumented event %s", e->type);
	struct json *o;
	ck_assert_int_eq(json_parse(&o, slice_str(e->data), NULL), ERR_NONE);
	ck_assert_msg(fits(o, schema, why, sizeof why), "event %s: %s", e->type, why);
	json_free(o);
}

static uint64_t height_of(const struct event *e)
{
	return strtoull(e->id, NULL, 10);
}

/* From the beginning, with everything, until our transaction has come by. */
START_TEST(test_events)
{
	struct event_reader r;
	struct event e;
	unsigned seen[3] = {0};
	bool ours = false;
	open_events(&r, 0, "?from=0", NULL);
	while (!ours || !seen[0] || !seen[2]) {
		next_event(&r, &e);
		ours |= strcmp(e.type, "txs") == 0 && strstr(e.data, tx_id_text);
		seen[0] += strcmp(e.type, "blocks") == 0;
		seen[1] += strcmp(e.type, "txs") == 0;
		seen[2] += strcmp(e.type, "consensus") == 0;
		mem_free(e.data);
	}
	close_events(&r);
	struct answer a;
	get(port[0], "/v1/events?types=nothing", &a);
	ck_assert_int_eq(a.status, 400);
	answer_free(&a);
}
END_TEST

/* Blocks have the same cursors on every node, and a reader goes on where it was: nothing twice,
 * nothing missing, across nodes and across a restart that has emptied the ring. */
START_TEST(test_events_resume)
{
	struct event_reader r;
	struct event e;
	struct answer a;
	for (uint64_t i = 10; i < 40; i++) {
		put(2, i, &a, "");
		ck_assert_int_eq(a.status, 200);
		answer_free(&a);
	}
	char last[64] = "";
	uint64_t height = 0, top = 0;
	get(port[2], "/v1/blocks?limit=1", &a);
	json_read_u64(json_at(json_get(a.json, "blocks"), 0), "height", &top);
	answer_free(&a);
	ck_assert_uint_ge(top, 3);
	for (unsigned on = 0; on < 3; on++) {
		if (on == 2) { /* its ring begins now */
			char *path = mem_printf("%s/node3/api", dir);
			kill(node[2], SIGTERM);
			ck_assert_int_eq(waitpid(node[2], NULL, 0), node[2]);
			unlink(path);
			mem_free(path);
			start(2);
		}
		open_events(&r, on, on ? "?types=blocks" : "?types=blocks&from=1",
			    on ? last : NULL);
		uint64_t until = on == 2 ? top : top / 3 * (on + 1);
		while (height < until) {
			next_event(&r, &e);
			ck_assert_str_eq(e.type, "blocks");
			ck_assert_uint_eq(height_of(&e), height + 1);
			height++;
			strcpy(last, e.id);
			mem_free(e.data);
		}
		close_events(&r);
	}
}
END_TEST

/* A stream ends when the node stops, at once. */
START_TEST(test_events_stop)
{
	struct event_reader r;
	open_events(&r, 3, "", NULL);
	kill(node[3], SIGTERM);
	int status;
	ck_assert_int_eq(waitpid(node[3], &status, 0), node[3]);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	char buf[4096];
	ssize_t n;
	while ((n = recv(r.fd, buf, sizeof buf, 0)) > 0)
		;
	ck_assert_int_eq(n, 0);
	close_events(&r);
	char *path = mem_printf("%s/node4/api", dir);
	unlink(path);
	mem_free(path);
	start(3);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("contract");
	TCase *t = tcase_create("four nodes");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, make, end);
	tcase_add_test(t, test_paths);
	tcase_add_test(t, test_submissions);
	tcase_add_test(t, test_latest);
	tcase_add_test(t, test_member_changes);
	tcase_add_test(t, test_events);
	tcase_add_test(t, test_events_resume);
	tcase_add_test(t, test_events_stop);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
