/* The HTTP server: answers, the life of an exchange, starting and stopping. */
#include "node/api_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/snapshots.h"
#include "replica/repair.h"

#define RAW_BLOCKS_MAX 2

/* What a request takes of API_ANSWER_BYTES_MAX before its answer is known: the loop makes
 * copies for it. Then what the answer has, about. */
#define ANSWER_BLOCK_BYTES    (1u << 20)
#define ANSWER_BLOCKS_BYTES   (16u << 10) /* of a list, each */
#define ANSWER_EVIDENCE_BYTES (4u << 20)
#define ANSWER_OUTCOME_BYTES  320 /* of a transaction without its proof */
#define ANSWER_PROOF_BYTES    3000
#define ANSWER_RECEIPT_BYTES  700
#define ANSWER_BLOCK_TX_BYTES 480 /* of a transaction of a block, without its bytes */

/* ---- answering -------------------------------------------------------------------------- */

static void too_many_answers(struct exchange *x)
{
	exchange_bad(x, ERR_BUSY, "too many answers of this node have not been read yet");
}

/* With the answer there, what it was made of is memory that a slow reader would hold. */
static void drop_request(struct exchange *x)
{
	enum request_kind kind = x->r.kind;
	request_free(&x->r);
	request_init(&x->r, kind);
	writer_free(&x->body);
	mem_free(x->tx);
	x->tx = NULL;
	connection_must_hold(x->tcp, HOLDING_BODY, 0);
}

static enum MHD_Result respond_bytes(struct exchange *x, unsigned status, const char *type,
				     void *bytes, size_t len)
{
	if (x->promised) {
		connection_must_hold(x->tcp, HOLDING_ANSWER, len);
	} else if (!connection_hold(x->tcp, HOLDING_ANSWER, len)) {
		mem_free(bytes);
		too_many_answers(x);
		status = x->r.problem.status;
		type = "application/problem+json";
		bytes = render_problem(&x->api->render, &x->r);
		len = strlen(bytes);
		connection_must_hold(x->tcp, HOLDING_ANSWER, len);
	}
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
	drop_request(x);
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

/* What the loop is about to copy for this request. Proofs of single keys and transactions are
 * small. */
static size_t answer_guess(const struct exchange *x)
{
	switch (x->r.kind) {
	case REQUEST_BLOCK:
		return ANSWER_BLOCK_BYTES;
	case REQUEST_BLOCKS:
		return (size_t)x->r.limit * ANSWER_BLOCKS_BYTES;
	case REQUEST_EVIDENCE:
		return ANSWER_EVIDENCE_BYTES;
	case REQUEST_SUBMIT:
		return x->r.outcome_count *
		       (x->receipts  ? (size_t)ANSWER_RECEIPT_BYTES
			: x->r.prove ? (size_t)ANSWER_OUTCOME_BYTES + ANSWER_PROOF_BYTES
				     : (size_t)ANSWER_OUTCOME_BYTES);
	default:
		return 0;
	}
}

/* Of what the loop has answered. */
static size_t answer_size(const struct exchange *x)
{
	size_t size = 0;
	if (x->r.kind == REQUEST_BLOCK && x->r.block_count > 0) {
		const struct block *b = x->r.blocks[0].block;
		size = (size_t)b->tx_count * ANSWER_BLOCK_TX_BYTES +
		       (x->r.full ? 2 * (size_t)b->sh.h.body_size : 0);
	}
	for (uint32_t i = 0; i < x->r.evidence_count && x->r.full; i++)
		size += 2 * x->r.evidence[i].len;
	return size;
}

static enum MHD_Result respond_request(struct exchange *x)
{
	/* What was taken is told, whatever it needs: it cannot be refused any more. */
	x->promised = x->r.kind == REQUEST_SUBMIT;
	if (!x->r.problem.status && !x->promised &&
	    !connection_hold(x->tcp, HOLDING_ANSWER, answer_size(x)))
		too_many_answers(x);
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
		struct json *o = flag_object("ready");
		if (s->observes)
			json_set(o, "observer", json_string(s->observes));
		result = respond_json(x, o);
	} else if (x->route->kind == ROUTE_METRICS) {
		result = respond_metrics(x, s);
	} else {
		result = respond_json(
			x, render_validators(&x->api->render, &s->ctx, s->status.leader));
	}
	mem_free(s);
	return result;
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
	if (!connection_hold(x->tcp, HOLDING_ANSWER, answer_guess(x))) {
		too_many_answers(x);
		return respond_problem(x);
	}
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
		exchange_bad(x, ERR_BUSY, "too many requests wait for this node's event loop");
	MHD_resume_connection(x->connection);
	return MHD_YES;
}

/* A browser that comes back names the last id it saw, which is newer than what the URL says. */
static enum MHD_Result begin_stream(struct exchange *x)
{
	const char *last = exchange_header_of(x, "Last-Event-ID");
	if (last) {
		x->event_resumes = true;
		if (cursor_parse(&x->event_from, last) != ERR_NONE) {
			exchange_bad(x, ERR_SYNTAX, "Last-Event-ID is not HEIGHT.INDEX");
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
	exchange_bad(x, ERR_BUSY, "there are as many event streams as this node serves");
	return respond_problem(x);
}

static const char too_slow[] =
	"the newest final block has not been written yet: the disk is slow";

/* A snapshot flushes the store's memory, keeps a thread of the API and takes the place of one
 * that nobody has taken yet. One is made at a time; a few may wait, so that commands that
 * happen to run together, or one after the other, all get theirs. In the long run one a second.
 */
static bool turn_take(struct turns *t, uint64_t now)
{
	pthread_mutex_lock(&t->lock);
	uint64_t more = now > t->counted ? (now - t->counted) / API_SNAPSHOT_US : 0;
	if (more >= API_SNAPSHOTS_BURST - t->left) {
		t->left = API_SNAPSHOTS_BURST;
		t->counted = now;
	} else {
		t->left += (unsigned)more;
		t->counted += more * API_SNAPSHOT_US;
	}
	bool mine = t->left > 0 && t->asking < API_SNAPSHOTS_ASKING;
	t->left -= mine;
	t->asking += mine;
	pthread_mutex_unlock(&t->lock);
	return mine;
}

static void turn_end(struct turns *t)
{
	pthread_mutex_lock(&t->lock);
	t->asking--;
	pthread_mutex_unlock(&t->lock);
}

/* On this thread: the loop goes on meanwhile. */
static enum MHD_Result make_snapshot(struct exchange *x)
{
	char path[CONFIG_PATH_MAX + 64];
	struct errmsg m;
	int err = ERR_NONE;
	if (!x->r.problem.status) {
		bool mine = turn_take(&x->api->snapshots, node_clock_us());
		if (!mine)
			err = err_set(&m, ERR_BUSY, "others are being made, or have just been");
		else if (node_await_told(x->api->node))
			err = snapshots_make(x->api->node->store, x->api->node->config.home,
					     path, sizeof path, &m);
		else
			err = err_set(&m, ERR_BUSY, "%s", too_slow);
		if (mine)
			turn_end(&x->api->snapshots);
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

/* As stored, for a node that repairs itself; what it gets it checks. On this thread, for the
 * store may be read from any; few at a time, for they are large, and with the JSON they are
 * made of larger still. Once rendered they are answers like others: were they counted until
 * they have been read, two who read slowly would keep all from repairing. Only who asks for the
 * newest one, or for one above, waits for what clients were told. */
static enum MHD_Result raw_block(struct exchange *x)
{
	struct node *n = x->api->node;
	struct writer block = {0}, cert = {0}, term = {0};
	struct json *o = NULL;
	if (!x->r.problem.status)
		exchange_read_height(x);
	bool enter = atomic_fetch_add(&x->api->raw_blocks, 1) < RAW_BLOCKS_MAX;
	if (!x->r.problem.status) {
		int err = ERR_BUSY;
		bool newest = !x->r.has_height || x->r.height > atomic_load(&n->final_height);
		enter = enter && connection_hold(x->tcp, HOLDING_ANSWER, ANSWER_BLOCK_BYTES);
		if (enter && (!newest || node_await_told(n)))
			err = replica_stored_block(
				n->store,
				x->r.has_height ? x->r.height : atomic_load(&n->final_height),
				&block, &cert, &term);
		if (err != ERR_NONE)
			exchange_bad(x, err,
				     "there is no such final block, or it cannot be read now");
		else if (!connection_hold(x->tcp, HOLDING_ANSWER,
					  2 * (block.len + cert.len + term.len)))
			too_many_answers(x);
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
		if (!x->r.problem.status && !exchange_read_busy(x) &&
		    !exchange_read_submission(x) && !x->r.problem.status)
			return respond_request(x);
		break;
	case ROUTE_TX:
		exchange_read_tx_id(x);
		break;
	case ROUTE_STATE:
		exchange_read_state_key(x);
		break;
	case ROUTE_ACCOUNT:
		exchange_read_account(x);
		break;
	case ROUTE_BLOCK:
		exchange_read_height(x);
		break;
	case ROUTE_STATUS:
	case ROUTE_BLOCKS:
	case ROUTE_PEERS:
	case ROUTE_EVIDENCE:
	case ROUTE_MODES:
	case ROUTE_CONSENSUS:
	case ROUTE_MEMBERS:
		break;
	case ROUTE_MEMBER_CHANGE:
		exchange_read_change(x);
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
	exchange_check_gate(x, url);
	if (!x->r.problem.status)
		exchange_find_route(x, url);
	if (x->route)
		exchange_check_method(x, method);
	if (!x->r.problem.status)
		exchange_read_parameters(x);
	if (x->r.problem.status || x->route->kind != ROUTE_SUBMIT)
		return;
	x->one = exchange_content_type_is(x, "application/json");
	if (!x->one && !exchange_content_type_is(x, "application/octet-stream")) {
		problem_set(&x->r.problem, 415, "unsupported_media_type",
			    "the body's type is not supported",
			    "Content-Type must be application/json or application/octet-stream",
			    NULL);
		return;
	}
	const char *accept = exchange_header_of(x, MHD_HTTP_HEADER_ACCEPT);
	x->receipts = !x->one && accept && strcmp(accept, "application/octet-stream") == 0;
	const char *length = exchange_header_of(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t bytes;
	if (length && (http_u64(length, &bytes) != ERR_NONE || bytes > HTTP_BODY_MAX))
		exchange_too_large(x);
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
	if (!connection_hold(x->tcp, HOLDING_BODY, x->body.len + len)) {
		exchange_bad(x, ERR_BUSY, "too many bytes of requests are held by this node");
		writer_free(&x->body);
		connection_must_hold(x->tcp, HOLDING_BODY, 0);
		return true;
	}
	writer_raw(&x->body, bytes, len);
	if (x->body.err != ERR_NONE)
		exchange_too_large(x);
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
	mem_free(x->tx);
	for (int i = 0; i < HOLDINGS; i++)
		connection_must_hold(x->tcp, (enum holding)i, 0);
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

/* How many connections there may be. */
struct room {
	unsigned connections;
	unsigned spare; /* on top: see CONNECTION_SPARE */
};

/* What else wants descriptors: the store, once more while a snapshot of it is read; links, of
 * which a peer may have a new one beside the old; strangers, and as many that are being freed;
 * the API's threads. */
static uint64_t files_of_others(const struct node *n)
{
	return 2 * STORE_OPEN_FILES_MAX + 2 * n->genesis.n + 2 * NET_HANDSHAKES_MAX +
	       API_FILES_OF_THREAD * config_api_threads(&n->config) + API_FILES_RESERVE;
}

/* A store that finds no descriptor halts the node for good, so that connections, of which
 * anybody may open as many as he likes, leave enough. */
static int find_room(struct room *r, const struct node *n, struct errmsg *m)
{
	const struct node_config *c = &n->config;
	unsigned threads = config_api_threads(c);
	unsigned want = c->api_connections ? c->api_connections : CONFIG_API_CONNECTIONS;
	struct rlimit files;
	if (want < threads)
		want = threads;
	*r = (struct room){want, CONNECTION_SPARE};
	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return ERR_NONE;
	uint64_t others = files_of_others(n), most = files.rlim_cur;
	uint64_t left = most > others ? most - others : 0;
	uint64_t least = API_SOCKETS_MIN + 4 * (uint64_t)threads;
	if (left >= want + (uint64_t)CONNECTION_SPARE)
		return ERR_NONE;
	if (left < least)
		return err_set(m, ERR_CONFIG,
			       "a process may have %llu open files (ulimit -n); the node needs "
			       "%llu at least",
			       (unsigned long long)most, (unsigned long long)(others + least));
	if (left / 4 * 3 < want)
		r->connections = (unsigned)(left / 4 * 3);
	r->spare = (unsigned)(left - r->connections);
	if (r->spare > CONNECTION_SPARE)
		r->spare = CONNECTION_SPARE;
	if (r->connections < want)
		log_write(LOG_API, LOG_WARN,
			  "%u connections to the API instead of %u: a process may have %llu "
			  "open files (ulimit -n), and %llu are for the store and the peers",
			  r->connections, want, (unsigned long long)most,
			  (unsigned long long)others);
	return ERR_NONE;
}

static bool has_room(void *ctx)
{
	struct api *a = ctx;
	return connections_expect(a->connections);
}

static void on_refused(void *ctx)
{
	struct api *a = ctx;
	connections_expect_less(a->connections);
}

static struct MHD_Daemon *start_daemon(struct api *a)
{
	const struct node_config *c = &a->node->config;
	unsigned threads = config_api_threads(c);
	struct MHD_OptionItem options[] = {
		{MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_mhd_log, NULL},
		{MHD_OPTION_CONNECTION_LIMIT, API_NEVER_REACHED, NULL},
		{MHD_OPTION_CONNECTION_TIMEOUT, API_IDLE_S, NULL},
		{MHD_OPTION_CONNECTION_MEMORY_LIMIT, API_MEMORY_PER_CONNECTION, NULL},
		{MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, a},
		{MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, NULL},
		{MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, NULL},
		{MHD_OPTION_THREAD_POOL_SIZE, threads, NULL},
		{MHD_OPTION_END, 0, NULL},
	};
	if (threads == 1) /* MHD wants a pool of two at least */
		options[7] = options[8];
	return MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
			MHD_USE_NO_LISTEN_SOCKET,
		0, on_accept, a, on_request, a, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

static void api_free(struct api *a)
{
	connections_free(a->connections);
	pthread_mutex_destroy(&a->snapshots.lock);
	mem_free(a->genesis);
	crypto_wipe(&a->gate, sizeof a->gate);
	mem_free(a);
}

int api_start(struct api **out, struct node *n, char url[300], struct errmsg *m)
{
	int fd = -1;
	uint16_t port = 0;
	struct gate gate;
	struct room room;
	int err = gate_open(&gate, &n->config, m);
	if (err == ERR_NONE)
		err = find_room(&room, n, m);
	if (err == ERR_NONE)
		err = api_listen(&n->config.api, &fd, &port, m);
	if (err != ERR_NONE)
		return err;
	struct api *a = mem_zalloc(sizeof *a);
	a->node = n;
	a->gate = gate;
	atomic_init(&a->exchanges, 0);
	atomic_init(&a->raw_blocks, 0);
	pthread_mutex_init(&a->snapshots.lock, NULL);
	a->snapshots.left = API_SNAPSHOTS_BURST;
	a->snapshots.counted = node_clock_us();
	genesis_ctx(&a->ctx, &n->genesis);
	a->render = (struct render){.genesis = &n->genesis, .ctx = &a->ctx, .self = n->self};
	a->genesis = genesis_json(&n->genesis);
	struct connections_config config = {
		.max = room.connections,
		.spare = room.spare,
		.per_address = n->config.api_per_address,
		.request_ms = n->config.request_timeout_ms,
		.held_max = {[HOLDING_BODY] = API_BODY_BYTES_MAX,
			     [HOLDING_ANSWER] = API_ANSWER_BYTES_MAX}};
	a->connections = connections_new(&config);
	bool v6 = strchr(n->config.api.host, ':') != NULL;
	snprintf(url, 300, v6 ? "http://[%s]:%u" : "http://%s:%u", n->config.api.host, port);
	a->daemon = start_daemon(a);
	const struct acceptor_host host = {a, has_room, on_refused};
	a->acceptor = a->daemon ? acceptor_start(a->daemon, fd, &host) : NULL;
	if (!a->acceptor) {
		if (a->daemon)
			MHD_stop_daemon(a->daemon);
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
	acceptor_stop(a->acceptor);
	events_close(a->node->events);
	connections_cut_idle(a->connections); /* or half a request would be waited for */
	uint64_t until = node_clock_us() + API_DRAIN_US;
	while (atomic_load(&a->exchanges) > 0 && node_clock_us() < until)
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	MHD_stop_daemon(a->daemon);
	api_free(a);
}
