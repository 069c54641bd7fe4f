/* Requests as they come in: who may ask, route, method, parameters, submissions. */
#include "node/api_private.h"

#include <stdio.h>
#include <strings.h>

#include "base/mem.h"
#include "ledger/tx.h"

static const char *const parameter_names[] = {"prove", "full", "height",  "from",
					      "limit", "wait", "timeout", "types"};
#define P(name) (1u << PARAM_##name)

static const struct route routes[] = {
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
	{"/v1/modes", ROUTE_MODES, REQUEST_MODES, P(PROVE) | P(FROM) | P(LIMIT)},
	{"/v1/consensus", ROUTE_CONSENSUS, REQUEST_CONSENSUS, 0},
	{"/v1/genesis", ROUTE_GENESIS, REQUEST_STATUS, 0},
	{"/livez", ROUTE_LIVE, REQUEST_STATUS, 0},
	{"/readyz", ROUTE_READY, REQUEST_STATUS, 0},
	{"/metrics", ROUTE_METRICS, REQUEST_STATUS, 0},
	{"/v1/events", ROUTE_EVENTS, REQUEST_STATUS, P(FROM) | P(TYPES)},
	{"/v1/snapshots", ROUTE_SNAPSHOT, REQUEST_STATUS, 0},
	{"/v1/members", ROUTE_MEMBERS, REQUEST_MEMBERS, P(FROM) | P(LIMIT)},
	{"/v1/members/", ROUTE_MEMBER_CHANGE, REQUEST_MEMBER_CHANGE, 0},
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

/* ---- reading the request ------------------------------------------------------------------
 */

void exchange_bad(struct exchange *x, int err, const char *detail)
{
	problem_of(&x->r.problem, err, detail);
}

const char *exchange_header_of(struct exchange *x, const char *name)
{
	return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

/* Host, Origin and token, before anything else is looked at. */
void exchange_check_gate(struct exchange *x, const char *url)
{
	const struct gate *g = &x->api->gate;
	const char *host = exchange_header_of(x, MHD_HTTP_HEADER_HOST);
	if (!gate_host(g, host))
		problem_set(&x->r.problem, 403, "host_refused",
			    "the request is not for this node",
			    "its Host header names neither a loopback address nor one of [api] "
			    "hosts",
			    "ask for http://127.0.0.1:PORT, or add the name to [api] hosts");
	else if (!gate_origin(g, exchange_header_of(x, MHD_HTTP_HEADER_ORIGIN), host))
		problem_set(&x->r.problem, 403, "origin_refused",
			    "a page of another origin sent the request",
			    "this API serves no pages but its own", NULL);
	else if (strcmp(url, "/livez") != 0 &&
		 !gate_token(g, exchange_header_of(x, MHD_HTTP_HEADER_AUTHORIZATION)))
		problem_set(&x->r.problem, 401, "unauthorized",
			    "the access token is missing or wrong",
			    "this node wants its access token",
			    "send Authorization: Bearer with the token of [api] token_file");
}

void exchange_find_route(struct exchange *x, const char *url)
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

void exchange_check_method(struct exchange *x, const char *method)
{
	bool post = strcmp(method, MHD_HTTP_METHOD_POST) == 0;
	bool get = strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
		   strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
	bool wants_post = x->route->kind == ROUTE_SUBMIT || x->route->kind == ROUTE_SNAPSHOT ||
			  x->route->kind == ROUTE_MEMBER_CHANGE;
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
		exchange_bad(p->x, ERR_SYNTAX, detail);
		return MHD_NO;
	}
	int err = read_parameter(p, (enum parameter)i, value);
	if (err == ERR_NONE)
		return MHD_YES;
	snprintf(detail, sizeof detail, "parameter %s has a value that it cannot have", name);
	exchange_bad(p->x, err, detail);
	return MHD_NO;
}

void exchange_read_parameters(struct exchange *x)
{
	struct parameters p = {.x = x, .timeout_ms = HTTP_TIMEOUT_DEFAULT_MS};
	x->r.wait_committed = true;
	x->r.limit = x->route->kind == ROUTE_MODES ? MODES_PER_REQUEST : BLOCKS_DEFAULT;
	x->event_types = EVENTS_ALL;
	MHD_get_connection_values(x->connection, MHD_GET_ARGUMENT_KIND, on_parameter, &p);
	bool submit = x->route->kind == ROUTE_SUBMIT;
	x->r.deadline = node_clock_us() + (submit ? p.timeout_ms * 1000 : API_READ_DEADLINE_US);
}

void exchange_read_state_key(struct exchange *x)
{
	size_t len = strlen(x->rest);
	uint8_t *key = mem_alloc(len + 1);
	key[0] = STATE_NS_USER;
	int err = percent_decode(key + 1, &len, x->rest);
	if (err == ERR_NONE && len > x->api->node->genesis.limits.key_size_max)
		err = ERR_LIMIT;
	if (err != ERR_NONE) {
		mem_free(key);
		exchange_bad(x, err,
			     err == ERR_LIMIT ? "the key is longer than this chain allows"
					      : "a % that two hex digits do not follow");
		return;
	}
	x->r.key = slice_of(key, len + 1);
}

void exchange_read_account(struct exchange *x)
{
	if (hex_decode(x->r.account.b, PUBKEY_SIZE, x->rest) != ERR_NONE) {
		exchange_bad(x, ERR_SYNTAX, "an account is a public key: 64 hex digits");
		return;
	}
	uint8_t *key = mem_alloc(1 + PUBKEY_SIZE);
	key[0] = STATE_NS_ACCOUNT;
	memcpy(key + 1, x->r.account.b, PUBKEY_SIZE);
	x->r.key = slice_of(key, 1 + PUBKEY_SIZE);
}

void exchange_read_change(struct exchange *x)
{
	size_t len = strlen(x->rest) / 2;
	uint8_t *bytes = mem_alloc(len + 1);
	if (len > MEMBER_CHANGE_SIZE_MAX || strlen(x->rest) % 2 ||
	    hex_decode(bytes, len, x->rest) != ERR_NONE) {
		mem_free(bytes);
		exchange_bad(x, ERR_SYNTAX,
			     "a member change is hex, as `ostrakon member replace` "
			     "makes it");
		return;
	}
	x->r.key = slice_of(bytes, len);
}

void exchange_read_tx_id(struct exchange *x)
{
	x->r.outcomes = mem_array(1, sizeof *x->r.outcomes);
	x->r.outcome_count = 1;
	struct outcome *o = &x->r.outcomes[0];
	o->request = &x->r;
	o->has_id = true;
	if (hex_decode(o->id.b, HASH_SIZE, x->rest) != ERR_NONE)
		exchange_bad(x, ERR_SYNTAX, "a transaction id has 64 hex digits");
	x->r.id = o->id;
}

void exchange_read_height(struct exchange *x)
{
	x->r.has_height = strcmp(x->rest, "latest") != 0;
	if (x->r.has_height && http_u64(x->rest, &x->r.height) != ERR_NONE)
		exchange_bad(x, ERR_SYNTAX, "a height is a decimal number, or latest");
}

/* ---- submissions --------------------------------------------------------------------------
 */

bool exchange_content_type_is(struct exchange *x, const char *type)
{
	const char *value = exchange_header_of(x, MHD_HTTP_HEADER_CONTENT_TYPE);
	size_t len = strlen(type);
	return value && strncasecmp(value, type, len) == 0 &&
	       (value[len] == 0 || value[len] == ';' || value[len] == ' ');
}

void exchange_too_large(struct exchange *x)
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
bool exchange_read_submission(struct exchange *x)
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
		exchange_bad(x, err, m.text);
		if (err == ERR_LIMIT && !x->one && body.len > HTTP_SUBMISSIONS_MAX)
			exchange_too_large(x);
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

bool exchange_read_busy(struct exchange *x)
{
	if (!inbox_full(x->api->node->inbox))
		return false;
	exchange_bad(x, ERR_BUSY, "too many requests wait for this node's event loop");
	return true;
}
