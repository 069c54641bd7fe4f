#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "ledger/tx.h"
#include "node/api.h"
#include "node/connections.h"
#include "node/gate.h"
#include "node/render.h"
#include "node/snapshots.h"
#include "node/stream.h"
#include "replica/repair.h"

#define RAW_BLOCKS_MAX 2

struct api {
	struct node *node;
	struct MHD_Daemon *daemon;
	struct render render;
	struct chain_ctx ctx;
	char *genesis; /* JSON text */
	struct gate gate;
	struct connections *connections;
	atomic_uint exchanges;
	atomic_size_t body_bytes; /* of all bodies held at present */
	atomic_uint raw_blocks;	  /* being answered */
};

enum route_kind {
	ROUTE_SUBMIT,
	ROUTE_TX,
	ROUTE_STATE,
	ROUTE_ACCOUNT,
	ROUTE_STATUS,
	ROUTE_BLOCKS,
	ROUTE_BLOCK,
	ROUTE_VALIDATORS,
	ROUTE_PEERS,
	ROUTE_EVIDENCE,
	ROUTE_MODES,
	ROUTE_CONSENSUS,
	ROUTE_GENESIS,
	ROUTE_LIVE,
	ROUTE_READY,
	ROUTE_METRICS,
	ROUTE_EVENTS,
	ROUTE_SNAPSHOT,
	ROUTE_RAW_BLOCK,
};
enum parameter {
	PARAM_PROVE,
	PARAM_FULL,
	PARAM_HEIGHT,
	PARAM_FROM,
	PARAM_LIMIT,
	PARAM_WAIT,
	PARAM_TIMEOUT,
	PARAM_TYPES
};
static const char *const parameter_names[] = {"prove", "full", "height",  "from",
					      "limit", "wait", "timeout", "types"};
#define P(name) (1u << PARAM_##name)

static const struct route {
	const char *path; /* with a / at its end: one more segment follows */
	enum route_kind kind;
	enum request_kind request; /* if it goes to the loop */
	unsigned parameters;
} routes[] = {
	{"/v1/transactions", ROUTE_SUBMIT, REQUEST_SUBMIT, P(PROVE) | P(WAIT) | P(TIMEOUT)},
	{"/v1/transactions/", ROUTE_TX, REQUEST_TX, P(PROVE)},
	{"/v1/state/", ROUTE_STATE, REQUEST_STATE, P(PROVE) | P(HEIGHT)},
	{"/v1/accounts/", ROUTE_ACCOUNT, REQUEST_ACCOUNT, P(PROVE) | P(HEIGHT)},
	{"/v1/status", ROUTE_STATUS, REQUEST_STATUS, 0},
	{"/v1/blocks", ROUTE_BLOCKS, REQUEST_BLOCKS, P(FROM) | P(LIMIT)},
	{"/v1/blocks/", ROUTE_BLOCK, REQUEST_BLOCK, P(FULL)},
	{"/v1/validators", ROUTE_VALIDATORS, REQUEST_STATUS, 0},
	{"/v1/peers", ROUTE_PEERS, REQUEST_PEERS, 0},
	{"/v1/evidence", ROUTE_EVIDENCE, REQUEST_EVIDENCE, P(FULL)},
	{"/v1/modes", ROUTE_MODES, REQUEST_MODES, P(FROM) | P(LIMIT)},
	{"/v1/consensus", ROUTE_CONSENSUS, REQUEST_CONSENSUS, 0},
	{"/v1/genesis", ROUTE_GENESIS, REQUEST_STATUS, 0},
	{"/livez", ROUTE_LIVE, REQUEST_STATUS, 0},
	{"/readyz", ROUTE_READY, REQUEST_STATUS, 0},
	{"/metrics", ROUTE_METRICS, REQUEST_STATUS, 0},
	{"/v1/events", ROUTE_EVENTS, REQUEST_STATUS, P(FROM) | P(TYPES)},
	{"/v1/snapshots", ROUTE_SNAPSHOT, REQUEST_STATUS, 0},
	{"/v1/raw-blocks/", ROUTE_RAW_BLOCK, REQUEST_STATUS, 0},
};

bool api_path(unsigned i, char out[64])
{
	if (i >= MEM_COUNT(routes))
		return false;
	size_t len = strlen(routes[i].path);
	snprintf(out, 64, "%s%s", routes[i].path, routes[i].path[len - 1] == '/' ? "{}" : "");
	return true;
}

/* One request and its answer. */
struct exchange {
	struct request r;
	struct api *api;
	struct MHD_Connection *connection;
	const struct route *route; /* NULL: r has a problem */
	const char *rest;	   /* of the path, into MHD's memory */
	const char *allow;	   /* of a 405 */
	struct writer body;
	size_t body_bytes; /* counted in api */
	size_t swallowed;
	uint8_t *tx;   /* of a JSON submission */
	bool one;      /* a JSON submission */
	bool receipts; /* a submission that wants its answer as bytes */
	bool pushed;   /* the loop has it, or has answered it */
	struct connection *tcp;
	struct stream *stream;
	unsigned event_types;
	struct cursor event_from;
	bool event_resumes;
};

/* ---- answering -------------------------------------------------------------------------- */

static enum MHD_Result respond_bytes(struct exchange *x, unsigned status, const char *type,
				     void *bytes, size_t len)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer_with_free_callback(len, bytes, mem_free);
	invariant(response != NULL);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (x->allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, x->allow);
	if (x->r.problem.retry_after) {
		char seconds[16];
		snprintf(seconds, sizeof seconds, "%u", x->r.problem.retry_after);
		MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	}
	if (status == MHD_HTTP_UNAUTHORIZED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
					"Bearer realm=\"ostrakon\"");
	connection_enter(x->tcp, CONNECTION_WRITING);
	enum MHD_Result result = MHD_queue_response(x->connection, status, response);
	MHD_destroy_response(response);
	metric_add(&x->api->node->metrics.http[status], 1);
	log_write(LOG_API, LOG_DEBUG, "%u %s", status, x->route ? x->route->path : "?");
	return result;
}

static enum MHD_Result respond(struct exchange *x, unsigned status, const char *type,
			       char *text)
{
	return respond_bytes(x, status, type, text, strlen(text));
}

static enum MHD_Result respond_problem(struct exchange *x)
{
	return respond(x, x->r.problem.status, "application/problem+json",
		       render_problem(&x->api->render, &x->r));
}

static enum MHD_Result respond_request(struct exchange *x)
{
	if (x->r.problem.status)
		return respond_problem(x);
	unsigned status;
	bool is_problem;
	if (x->receipts) {
		struct writer w = {0};
		size_t len;
		render_receipts(&w, &x->r, &status);
		uint8_t *bytes = writer_take(&w, &len);
		return respond_bytes(x, status, "application/octet-stream", bytes, len);
	}
	char *text = render_answer(&x->api->render, &x->r, x->one, &status, &is_problem);
	return respond(x, status, is_problem ? "application/problem+json" : "application/json",
		       text);
}

static enum MHD_Result respond_json(struct exchange *x, struct json *o)
{
	char *text = json_dump(o, false);
	json_free(o);
	return respond(x, 200, "application/json", text);
}

static struct json *flag_object(const char *name)
{
	struct json *o = json_object();
	json_set(o, name, json_bool(true));
	return o;
}

static enum MHD_Result respond_metrics(struct exchange *x, const struct snapshot *s)
{
	struct writer w;
	writer_init(&w, 0);
	struct connections_stats c;
	connections_stats(x->api->connections, &c);
	metrics_render(&w, &x->api->node->metrics, s, &c);
	writer_u8(&w, 0);
	size_t len;
	return respond(x, 200, "text/plain; version=0.0.4; charset=utf-8",
		       (char *)writer_take(&w, &len));
}

/* What needs no turn of the loop, so that it is answered while the loop hangs. */
static enum MHD_Result respond_from_snapshot(struct exchange *x)
{
	struct snapshot *s = mem_alloc(sizeof *s);
	snapshot_copy(x->api->node, s);
	enum MHD_Result result;
	uint64_t now = node_clock_us();
	bool dead = now > s->now && now - s->now > API_DEAD_LOOP_US;
	if (dead && x->route->kind != ROUTE_METRICS && x->route->kind != ROUTE_VALIDATORS) {
		problem_set(&x->r.problem, 503, "stalled", "the event loop does not turn",
			    "no turn for over 10 s", "look at the disk and the log");
		result = respond_problem(x);
	} else if (x->route->kind == ROUTE_LIVE) {
		result = respond_json(x, flag_object("live"));
	} else if (x->route->kind == ROUTE_READY && s->not_ready[0]) {
		problem_set(&x->r.problem, 503, "not_ready", "this node cannot serve now",
			    s->not_ready, "use another node, or wait");
		result = respond_problem(x);
	} else if (x->route->kind == ROUTE_READY) {
		result = respond_json(x, flag_object("ready"));
	} else if (x->route->kind == ROUTE_METRICS) {
		result = respond_metrics(x, s);
	} else {
		result = respond_json(x, render_validators(&x->api->render, s->status.leader));
	}
	mem_free(s);
	return result;
}

/* ---- reading the request ------------------------------------------------------------------
 */

static void bad(struct exchange *x, int err, const char *detail)
{
	problem_of(&x->r.problem, err, detail);
}

static const char *header_of(struct exchange *x, const char *name)
{
	return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

/* Host, Origin and token, before anything else is looked at. */
static void check_gate(struct exchange *x, const char *url)
{
	const struct gate *g = &x->api->gate;
	const char *host = header_of(x, MHD_HTTP_HEADER_HOST);
	if (!gate_host(g, host))
		problem_set(&x->r.problem, 403, "host_refused",
			    "the request is not for this node",
			    "its Host header names neither a loopback address nor one of [api] "
			    "hosts",
			    "ask for http://127.0.0.1:PORT, or add the name to [api] hosts");
	else if (!gate_origin(g, header_of(x, MHD_HTTP_HEADER_ORIGIN), host))
		problem_set(&x->r.problem, 403, "origin_refused",
			    "a page of another origin sent the request",
			    "this API serves no pages but its own", NULL);
	else if (strcmp(url, "/livez") != 0 &&
		 !gate_token(g, header_of(x, MHD_HTTP_HEADER_AUTHORIZATION)))
		problem_set(&x->r.problem, 401, "unauthorized",
			    "the access token is missing or wrong",
			    "this node wants its access token",
			    "send Authorization: Bearer with the token of [api] token_file");
}

static void find_route(struct exchange *x, const char *url)
{
	for (size_t i = 0; i < MEM_COUNT(routes); i++) {
		size_t len = strlen(routes[i].path);
		bool prefix = routes[i].path[len - 1] == '/';
		if (prefix ? strncmp(url, routes[i].path, len) != 0 || !url[len] ||
				     (strchr(url + len, '/') && routes[i].kind != ROUTE_STATE)
			   : strcmp(url, routes[i].path) != 0)
			continue;
		x->route = &routes[i];
		x->rest = url + len;
		x->r.kind = routes[i].request;
		return;
	}
	problem_set(&x->r.problem, 404, "not_found", err_text(ERR_NOT_FOUND),
		    "there is no such path in this API", "docs/api.md lists them");
}

static void check_method(struct exchange *x, const char *method)
{
	bool post = strcmp(method, MHD_HTTP_METHOD_POST) == 0;
	bool get = strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
		   strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
	bool wants_post = x->route->kind == ROUTE_SUBMIT || x->route->kind == ROUTE_SNAPSHOT;
	if (wants_post ? post : get)
		return;
	x->allow = wants_post ? "POST" : "GET, HEAD";
	problem_set(&x->r.problem, 405, "method_not_allowed", "the method is not allowed here",
		    wants_post ? "this path takes POST" : "this path takes GET", NULL);
}

struct parameters {
	struct exchange *x;
	uint64_t timeout_ms;
};

static uint32_t most_of(const struct route *route)
{
	return route->kind == ROUTE_MODES ? MODES_PER_REQUEST : BLOCKS_PER_REQUEST;
}

static int read_parameter(struct parameters *p, enum parameter which, const char *value)
{
	struct request *r = &p->x->r;
	uint64_t v;
	int err;
	switch (which) {
	case PARAM_PROVE:
		return http_flag(value, &r->prove);
	case PARAM_FULL:
		return http_flag(value, &r->full);
	case PARAM_TYPES:
		return event_types_parse(&p->x->event_types, value);
	case PARAM_FROM:
		if (p->x->route->kind == ROUTE_EVENTS) {
			p->x->event_resumes = true;
			return cursor_parse(&p->x->event_from, value);
		}
		r->has_height = true;
		return http_u64(value, &r->height);
	case PARAM_HEIGHT:
		r->has_height = true;
		return http_u64(value, &r->height);
	case PARAM_LIMIT:
		err = http_u64(value, &v);
		if (err == ERR_NONE && (v < 1 || v > most_of(p->x->route)))
			err = ERR_RANGE;
		r->limit = (uint32_t)v;
		return err;
	case PARAM_WAIT:
		r->wait_committed = value && strcmp(value, "committed") == 0;
		return r->wait_committed || (value && strcmp(value, "accepted") == 0)
			       ? ERR_NONE
			       : ERR_SYNTAX;
	case PARAM_TIMEOUT:
		err = http_u64(value, &p->timeout_ms);
		return err == ERR_NONE && p->timeout_ms > HTTP_TIMEOUT_MAX_MS ? ERR_RANGE : err;
	}
	return ERR_SYNTAX;
}

static enum MHD_Result on_parameter(void *cls, enum MHD_ValueKind kind, const char *name,
				    const char *value)
{
	struct parameters *p = cls;
	char detail[160];
	size_t i = 0;
	while (i < MEM_COUNT(parameter_names) && strcmp(name, parameter_names[i]) != 0)
		i++;
	if (i == MEM_COUNT(parameter_names) || !(p->x->route->parameters & 1u << i)) {
		snprintf(detail, sizeof detail, "unknown parameter \"%.64s\"", name);
		bad(p->x, ERR_SYNTAX, detail);
		return MHD_NO;
	}
	int err = read_parameter(p, (enum parameter)i, value);
	if (err == ERR_NONE)
		return MHD_YES;
	snprintf(detail, sizeof detail, "parameter %s has a value that it cannot have", name);
	bad(p->x, err, detail);
	return MHD_NO;
}

static void read_parameters(struct exchange *x)
{
	struct parameters p = {.x = x, .timeout_ms = HTTP_TIMEOUT_DEFAULT_MS};
	x->r.wait_committed = true;
	x->r.limit = x->route->kind == ROUTE_MODES ? MODES_PER_REQUEST : BLOCKS_DEFAULT;
	x->event_types = EVENTS_ALL;
	MHD_get_connection_values(x->connection, MHD_GET_ARGUMENT_KIND, on_parameter, &p);
	bool submit = x->route->kind == ROUTE_SUBMIT;
	x->r.deadline = node_clock_us() + (submit ? p.timeout_ms * 1000 : API_READ_DEADLINE_US);
}

static void read_state_key(struct exchange *x)
{
	size_t len = strlen(x->rest);
	uint8_t *key = mem_alloc(len + 1);
	key[0] = STATE_NS_USER;
	int err = percent_decode(key + 1, &len, x->rest);
	if (err == ERR_NONE && len > x->api->node->genesis.limits.key_size_max)
		err = ERR_LIMIT;
	if (err != ERR_NONE) {
		mem_free(key);
		bad(x, err,
		    err == ERR_LIMIT ? "the key is longer than this chain allows"
				     : "a % that two hex digits do not follow");
		return;
	}
	x->r.key = slice_of(key, len + 1);
}

static void read_account(struct exchange *x)
{
	if (hex_decode(x->r.account.b, PUBKEY_SIZE, x->rest) != ERR_NONE) {
		bad(x, ERR_SYNTAX, "an account is a public key: 64 hex digits");
		return;
	}
	uint8_t *key = mem_alloc(1 + PUBKEY_SIZE);
	key[0] = STATE_NS_ACCOUNT;
	memcpy(key + 1, x->r.account.b, PUBKEY_SIZE);
	x->r.key = slice_of(key, 1 + PUBKEY_SIZE);
}

static void read_tx_id(struct exchange *x)
{
	x->r.outcomes = mem_array(1, sizeof *x->r.outcomes);
	x->r.outcome_count = 1;
	struct outcome *o = &x->r.outcomes[0];
	o->request = &x->r;
	o->has_id = true;
	if (hex_decode(o->id.b, HASH_SIZE, x->rest) != ERR_NONE)
		bad(x, ERR_SYNTAX, "a transaction id has 64 hex digits");
	x->r.id = o->id;
}

static void read_height(struct exchange *x)
{
	x->r.has_height = strcmp(x->rest, "latest") != 0;
	if (x->r.has_height && http_u64(x->rest, &x->r.height) != ERR_NONE)
		bad(x, ERR_SYNTAX, "a height is a decimal number, or latest");
}

/* ---- submissions --------------------------------------------------------------------------
 */

static bool content_type_is(struct exchange *x, const char *type)
{
	const char *value = header_of(x, MHD_HTTP_HEADER_CONTENT_TYPE);
	size_t len = strlen(type);
	return value && strncasecmp(value, type, len) == 0 &&
	       (value[len] == 0 || value[len] == ';' || value[len] == ' ');
}

static void too_large(struct exchange *x)
{
	problem_set(&x->r.problem, 413, "too_large", "the body is too large",
		    "a request may have 8 MiB and 4096 transactions; without Content-Length, "
		    "512 KiB",
		    "send several requests");
}

/* Form and signature, here and not on the loop thread: this is most of the work. True: good. */
static bool check_outcome(struct exchange *x, struct outcome *o)
{
	struct tx tx;
	o->request = &x->r;
	o->err = tx_decode(&tx, o->bytes, &x->api->ctx, &x->api->node->genesis.limits);
	if (o->err == ERR_NONE || o->err == ERR_WRONG_CHAIN) {
		tx_id(&o->id, o->bytes);
		o->has_id = true;
	}
	if (o->err == ERR_NONE)
		o->err = tx_check_signature(&tx, &x->api->ctx);
	if (o->err != ERR_NONE) {
		o->status = OUTCOME_REFUSED;
		metric_add(&x->api->node->metrics.refused, 1);
	}
	return o->err == ERR_NONE;
}

/* True: something is left for the loop. */
static bool read_submission(struct exchange *x)
{
	struct errmsg m = {.text = ""};
	struct slice body = writer_slice(&x->body), one, *txs = &one;
	uint32_t count = 1;
	int err;
	if (x->one) {
		size_t len;
		err = submission_json(&x->tx, &len, body, &m);
		one = slice_of(x->tx, len);
	} else {
		err = submission_split(&txs, &count, body, HTTP_SUBMISSIONS_MAX, TX_SIZE_MAX,
				       &m);
	}
	if (err != ERR_NONE) {
		bad(x, err, m.text);
		if (err == ERR_LIMIT && !x->one && body.len > HTTP_SUBMISSIONS_MAX)
			too_large(x);
		return false;
	}
	x->r.outcomes = mem_array(count, sizeof *x->r.outcomes);
	x->r.outcome_count = count;
	x->r.bytes = body.len;
	uint32_t good = 0;
	for (uint32_t i = 0; i < count; i++) {
		x->r.outcomes[i].bytes = txs[i];
		good += check_outcome(x, &x->r.outcomes[i]);
	}
	if (!x->one)
		mem_free(txs);
	return good > 0;
}

static bool read_busy(struct exchange *x)
{
	if (!inbox_full(x->api->node->inbox))
		return false;
	bad(x, ERR_BUSY, "too many requests wait for this node's event loop");
	return true;
}

/* ---- the life of an exchange ---------------------------------------------------------------
 */

static void on_done(struct request *r)
{
	struct exchange *x = (struct exchange *)((char *)r - offsetof(struct exchange, r));
	MHD_resume_connection(x->connection);
}

static enum MHD_Result push(struct exchange *x)
{
	x->r.done = on_done;
	x->pushed = true;
	connection_enter(x->tcp, CONNECTION_WORKING);
	MHD_suspend_connection(x->connection); /* first: the loop may answer at once */
	if (inbox_push(x->api->node->inbox, &x->r))
		return MHD_YES;
	if (inbox_closed(x->api->node->inbox))
		problem_set(&x->r.problem, 503, "stopping", "the node is shutting down", NULL,
			    "use another node, or try again when it is back");
	else
		bad(x, ERR_BUSY, "too many requests wait for this node's event loop");
	MHD_resume_connection(x->connection);
	return MHD_YES;
}

/* A browser that comes back names the last id it saw, which is newer than what the URL says. */
static enum MHD_Result begin_stream(struct exchange *x)
{
	const char *last = header_of(x, "Last-Event-ID");
	if (last) {
		x->event_resumes = true;
		if (cursor_parse(&x->event_from, last) != ERR_NONE) {
			bad(x, ERR_SYNTAX, "Last-Event-ID is not HEIGHT.INDEX");
			return respond_problem(x);
		}
	}
	struct stream_config config = {.events = x->api->node->events,
				       .inbox = x->api->node->inbox,
				       .render = &x->api->render,
				       .connection = x->tcp,
				       .types = x->event_types,
				       .resumes = x->event_resumes,
				       .from = x->event_from};
	connection_enter(x->tcp, CONNECTION_STREAMING);
	x->stream = stream_start(x->connection, &config);
	if (x->stream) {
		metric_add(&x->api->node->metrics.http[200], 1);
		return MHD_YES;
	}
	bad(x, ERR_BUSY, "there are as many event streams as this node serves");
	return respond_problem(x);
}

/* On this thread: the loop goes on meanwhile. */
static enum MHD_Result make_snapshot(struct exchange *x)
{
	char path[CONFIG_PATH_MAX + 64];
	struct errmsg m;
	int err = ERR_NONE;
	if (!x->r.problem.status) {
		err = snapshots_make(x->api->node, path, sizeof path, &m);
		if (err != ERR_NONE)
			problem_set(&x->r.problem, err == ERR_BUSY ? 503 : 500, err_name(err),
				    "there is no snapshot", m.text, NULL);
	}
	if (x->r.problem.status)
		return respond_problem(x);
	struct json *o = json_object();
	json_set(o, "path", json_string(path));
	return respond_json(x, o);
}

static struct json *hex_or_null(const struct writer *w)
{
	return w->len ? json_hex(w->buf, w->len) : json_null();
}

static uint64_t newest_final(struct node *n)
{
	struct snapshot *s = mem_alloc(sizeof *s);
	snapshot_copy(n, s);
	uint64_t height = s->status.final.height;
	mem_free(s);
	return height;
}

/* As stored, for a node that repairs itself; what it gets it checks. On this thread, for the
 * store may be read from any; few at a time, for they are large. */
static enum MHD_Result raw_block(struct exchange *x)
{
	struct writer block = {0}, cert = {0}, term = {0};
	struct json *o = NULL;
	if (!x->r.problem.status)
		read_height(x);
	uint64_t height = x->r.has_height ? x->r.height : newest_final(x->api->node);
	bool enter = atomic_fetch_add(&x->api->raw_blocks, 1) < RAW_BLOCKS_MAX;
	if (!x->r.problem.status) {
		int err = ERR_BUSY;
		if (enter)
			err = replica_stored_block(x->api->node->store, height, &block, &cert,
						   &term);
		if (err != ERR_NONE)
			bad(x, err, "there is no such final block, or it cannot be read now");
		else
			o = json_object();
	}
	if (o) {
		json_set(o, "block", hex_or_null(&block));
		json_set(o, "certificate", hex_or_null(&cert));
		json_set(o, "term_certificate", hex_or_null(&term));
	}
	enum MHD_Result result = o ? respond_json(x, o) : respond_problem(x);
	atomic_fetch_sub(&x->api->raw_blocks, 1);
	writer_free(&block);
	writer_free(&cert);
	writer_free(&term);
	return result;
}

/* The request is here whole. */
static enum MHD_Result begin(struct exchange *x)
{
	switch (x->route->kind) {
	case ROUTE_SUBMIT:
		if (!x->r.problem.status && !read_busy(x) && !read_submission(x) &&
		    !x->r.problem.status)
			return respond_request(x);
		break;
	case ROUTE_TX:
		read_tx_id(x);
		break;
	case ROUTE_STATE:
		read_state_key(x);
		break;
	case ROUTE_ACCOUNT:
		read_account(x);
		break;
	case ROUTE_BLOCK:
		read_height(x);
		break;
	case ROUTE_STATUS:
	case ROUTE_BLOCKS:
	case ROUTE_PEERS:
	case ROUTE_EVIDENCE:
	case ROUTE_MODES:
	case ROUTE_CONSENSUS:
		break;
	case ROUTE_EVENTS:
		return begin_stream(x);
	case ROUTE_SNAPSHOT:
		return make_snapshot(x);
	case ROUTE_RAW_BLOCK:
		return raw_block(x);
	case ROUTE_GENESIS:
		return respond(x, 200, "application/json", mem_strdup(x->api->genesis));
	case ROUTE_VALIDATORS:
	case ROUTE_LIVE:
	case ROUTE_READY:
	case ROUTE_METRICS:
		return respond_from_snapshot(x);
	}
	return x->r.problem.status ? respond_problem(x) : push(x);
}

/* Route, method, parameters, announced length. */
static void open_exchange(struct exchange *x, const char *url, const char *method)
{
	check_gate(x, url);
	if (!x->r.problem.status)
		find_route(x, url);
	if (x->route)
		check_method(x, method);
	if (!x->r.problem.status)
		read_parameters(x);
	if (x->r.problem.status || x->route->kind != ROUTE_SUBMIT)
		return;
	x->one = content_type_is(x, "application/json");
	if (!x->one && !content_type_is(x, "application/octet-stream")) {
		problem_set(&x->r.problem, 415, "unsupported_media_type",
			    "the body's type is not supported",
			    "Content-Type must be application/json or application/octet-stream",
			    NULL);
		return;
	}
	const char *accept = header_of(x, MHD_HTTP_HEADER_ACCEPT);
	x->receipts = !x->one && accept && strcmp(accept, "application/octet-stream") == 0;
	const char *length = header_of(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t bytes;
	if (length && (http_u64(length, &bytes) != ERR_NONE || bytes > HTTP_BODY_MAX))
		too_large(x);
	/* Who does not say how much comes gets less. */
	writer_init(&x->body, length ? HTTP_BODY_MAX : HTTP_JSON_BODY_MAX);
}

/* What is not wanted, too long or too much for now is swallowed and then refused: MHD takes no
 * answer in the middle of a body. False: that was enough, the connection is to be closed. */
static bool take_body(struct exchange *x, const char *bytes, size_t len)
{
	if (x->r.problem.status || x->route->kind != ROUTE_SUBMIT) {
		x->swallowed += len;
		return x->swallowed <= HTTP_BODY_MAX;
	}
	if (atomic_fetch_add(&x->api->body_bytes, len) + len > API_BODY_BYTES_MAX) {
		atomic_fetch_sub(&x->api->body_bytes, len);
		bad(x, ERR_BUSY, "too many bytes of requests are held by this node");
		return true;
	}
	x->body_bytes += len;
	writer_raw(&x->body, bytes, len);
	if (x->body.err != ERR_NONE)
		too_large(x);
	return true;
}

static struct connection *connection_of(struct MHD_Connection *c)
{
	return MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_size, void **con_cls)
{
	struct api *a = cls;
	struct exchange *x = *con_cls;
	if (!x) {
		x = *con_cls = mem_zalloc(sizeof *x);
		atomic_fetch_add(&a->exchanges, 1);
		request_init(&x->r, REQUEST_STATUS);
		x->api = a;
		x->connection = connection;
		x->tcp = connection_of(connection);
		connection_enter(x->tcp, CONNECTION_READING);
		open_exchange(x, url, method);
		/* An answer before the body closes the connection: only for one too large. */
		return x->r.problem.status == 413 ? respond_problem(x) : MHD_YES;
	}
	if (x->pushed)
		return respond_request(x);
	if (*upload_size > 0) {
		size_t len = *upload_size;
		*upload_size = 0;
		return take_body(x, upload, len) ? MHD_YES : MHD_NO;
	}
	x->rest = x->route ? url + strlen(x->route->path) : NULL;
	return x->r.problem.status ? respond_problem(x) : begin(x);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
			 enum MHD_RequestTerminationCode why)
{
	struct exchange *x = *con_cls;
	if (!x)
		return;
	*con_cls = NULL;
	connection_enter(x->tcp, CONNECTION_IDLE);
	stream_free(x->stream);
	request_free(&x->r);
	writer_free(&x->body);
	atomic_fetch_sub(&x->api->body_bytes, x->body_bytes);
	mem_free(x->tx);
	atomic_fetch_sub(&x->api->exchanges, 1);
	mem_free(x);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct api *a = cls;
	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		connections_remove(*context);
		return;
	}
	int fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	*context = connections_add(
		a->connections, fd,
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
}

static enum MHD_Result on_accept(void *cls, const struct sockaddr *address, socklen_t len)
{
	struct api *a = cls;
	return connections_admit(a->connections, address) ? MHD_YES : MHD_NO;
}

/* Keys are bytes, zero included: percent-encoding is undone in one place, with a length. */
static size_t keep_escapes(void *cls, struct MHD_Connection *connection, char *text)
{
	return strlen(text);
}

static void on_mhd_log(void *cls, const char *fmt, va_list ap)
{
	char text[256];
	vsnprintf(text, sizeof text, fmt, ap);
	size_t len = strlen(text);
	if (len > 0 && text[len - 1] == '\n')
		text[len - 1] = 0;
	log_write(LOG_API, LOG_DEBUG, "%s", text);
}

/* ---- starting and stopping ------------------------------------------------------------------
 */

static unsigned threads_of(const struct node_config *c)
{
	return c->verify_threads ? c->verify_threads : CONFIG_API_THREADS;
}

static unsigned connections_max(const struct node_config *c)
{
	unsigned limit = c->api_connections ? c->api_connections : CONFIG_API_CONNECTIONS;
	return limit < threads_of(c) ? threads_of(c) : limit;
}

static struct MHD_Daemon *start_daemon(struct api *a, int fd)
{
	const struct node_config *c = &a->node->config;
	unsigned threads = threads_of(c);
	unsigned limit = connections_max(c);
	struct MHD_OptionItem options[] = {
		{MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_mhd_log, NULL},
		{MHD_OPTION_LISTEN_SOCKET, fd, NULL},
		{MHD_OPTION_CONNECTION_LIMIT, limit + CONNECTION_SPARE * threads, NULL},
		{MHD_OPTION_CONNECTION_TIMEOUT, API_IDLE_S, NULL},
		{MHD_OPTION_CONNECTION_MEMORY_LIMIT, API_MEMORY_PER_CONNECTION, NULL},
		{MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, a},
		{MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, NULL},
		{MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, NULL},
		{MHD_OPTION_THREAD_POOL_SIZE, threads, NULL},
		{MHD_OPTION_END, 0, NULL},
	};
	if (threads == 1) /* MHD wants a pool of two at least */
		options[8] = options[9];
	return MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
		on_accept, a, on_request, a, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

static void api_free(struct api *a)
{
	connections_free(a->connections);
	mem_free(a->genesis);
	crypto_wipe(&a->gate, sizeof a->gate);
	mem_free(a);
}

int api_start(struct api **out, struct node *n, char url[300], struct errmsg *m)
{
	int fd = -1;
	uint16_t port = 0;
	struct gate gate;
	int err = gate_open(&gate, &n->config, m);
	if (err == ERR_NONE)
		err = api_listen(&n->config.api, &fd, &port, m);
	if (err != ERR_NONE)
		return err;
	struct api *a = mem_zalloc(sizeof *a);
	a->node = n;
	a->gate = gate;
	atomic_init(&a->exchanges, 0);
	atomic_init(&a->body_bytes, 0);
	atomic_init(&a->raw_blocks, 0);
	genesis_ctx(&a->ctx, &n->genesis);
	a->render = (struct render){.genesis = &n->genesis, .ctx = &a->ctx, .self = n->self};
	a->genesis = genesis_json(&n->genesis);
	struct connections_config config = {.max = connections_max(&n->config),
					    .per_address = n->config.api_per_address,
					    .request_ms = n->config.request_timeout_ms};
	a->connections = connections_new(&config);
	bool v6 = strchr(n->config.api.host, ':') != NULL;
	snprintf(url, 300, v6 ? "http://[%s]:%u" : "http://%s:%u", n->config.api.host, port);
	a->daemon = start_daemon(a, fd);
	if (!a->daemon) {
		close(fd);
		api_free(a);
		return err_set(m, ERR_IO, "the HTTP server does not start on %s", url);
	}
	*out = a;
	return ERR_NONE;
}

void api_stop(struct api *a)
{
	if (!a)
		return;
	int fd = MHD_quiesce_daemon(a->daemon);
	events_close(a->node->events);
	uint64_t until = node_clock_us() + API_DRAIN_US;
	while (atomic_load(&a->exchanges) > 0 && node_clock_us() < until)
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	MHD_stop_daemon(a->daemon);
	if (fd >= 0)
		close(fd);
	api_free(a);
}
