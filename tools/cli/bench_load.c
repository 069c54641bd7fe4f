/* One thread that keeps the network busy. Transactions are taken in the order of their nonces:
 * in a closed loop as clients become free, in an open one as they become due. What is taken
 * waits in a queue for a connection, and leaves with up to b->batch others in one request.
 *
 * Here only what goes as usual is decided: committed, with a proof. All else goes to
 * bench_patient.c, which has the patience. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "tools/cli/bench.h"
#include "tools/cli/cli.h"
#include "tools/cli/pump.h"
#include "tools/cli/receipts.h"

#define TRY_MS	     4000 /* what a node is given to commit */
#define ANSWER_MS    500  /* and then to say so */
#define HEADERS_SIZE 1280
#define SCAN_US	     20000
#define RECONNECT_US 50000 /* after a round in which nobody answered */

struct request_state {
	size_t *index; /* of its transactions: b->batch places */
	size_t count;
	uint64_t deadline; /* microseconds: no answer will come any more */
	unsigned node;
	unsigned failures; /* in a row */
	uint64_t retry_at; /* closed: not before */
};

struct load {
	struct bench *b;
	struct pump *pump;
	struct patient *patient;
	struct receipt_checker *checker;
	struct request_state *r; /* of each connection */
	unsigned connections;
	size_t sent_next; /* taken, but not sent: sent_next ... b->next - 1 */
	size_t limit;	  /* of a closed loop: so many may be under way */
	size_t under_way;
	size_t oldest; /* all before it are decided */
	uint64_t next_scan;
	char (*headers)[HEADERS_SIZE]; /* for each node: its token is its own */
	struct writer body;
};

static uint64_t deadline_ms(const struct bench *b)
{
	uint64_t own = now_ms() + b->c->timeout_ms, last = b->end / 1000 + b->drain_ms;

	return b->end != 0 && last < own ? last : own;
}

/* ---- taking ---------------------------------------------------------------------------- */

/* All are of one sender: while one of them is held up, a closed loop must not use up the window
 * of nonces that it is in. A part of it is left for nodes that are behind. */
static bool leaves_window(const struct load *l)
{
	uint64_t window = l->b->t->genesis.limits.nonce_window;

	return l->b->next - l->oldest >= window - window / 8;
}

static bool may_take(const struct load *l, uint64_t now)
{
	const struct bench *b = l->b;

	if (b->next >= b->count || interrupted())
		return false;
	if (b->rate > 0)
		return bench_due(b, b->next) <= now;
	return l->under_way < l->limit && (b->end == 0 || now < b->end) && !leaves_window(l);
}

static void take(struct load *l, uint64_t now)
{
	struct bench *b = l->b;

	while (may_take(l, now)) {
		b->tx[b->next].from = b->rate > 0 ? bench_due(b, b->next) : now;
		b->next++;
		l->under_way++;
	}
}

/* Nothing more will be taken. */
static bool over(const struct load *l, uint64_t now)
{
	const struct bench *b = l->b;

	return b->next >= b->count || interrupted() ||
	       (b->rate == 0 && b->end != 0 && now >= b->end);
}

static void decide(struct load *l, size_t i, const struct receipt *r, uint64_t now)
{
	l->under_way--;
	l->b->tx[i].decided = true;
	while (l->oldest < l->b->next && l->b->tx[l->oldest].decided)
		l->oldest++;
	bench_count(l->b, i, r, now);
}

static void decide_as(struct load *l, size_t i, enum fate fate, const char *why, uint64_t now)
{
	struct receipt r = {.fate = fate};

	snprintf(r.code, sizeof r.code, "%s", why);
	decide(l, i, &r, now);
}

/* ---- sending --------------------------------------------------------------------------- */

static void send_some(struct load *l, unsigned i, uint64_t now)
{
	struct bench *b = l->b;
	struct request_state *r = &l->r[i];
	uint64_t left, deadline = deadline_ms(b), wall = now / 1000;
	char path[96];

	left = deadline > wall ? deadline - wall : 0;
	left = left < TRY_MS ? left : TRY_MS;
	writer_reset(&l->body);
	r->count = 0;
	while (l->sent_next < b->next && r->count < b->batch) {
		const struct bench_tx *tx = &b->tx[l->sent_next];
		if (b->rate > 0 && now - tx->from > b->latest_send)
			b->latest_send = now - tx->from;
		writer_var(&l->body, tx->bytes);
		r->index[r->count++] = l->sent_next++;
	}
	r->deadline = now + (left + ANSWER_MS) * 1000;
	snprintf(path, sizeof path, "/v1/transactions?timeout=%llu&prove=1",
		 (unsigned long long)left);
	b->requests++;
	pump_post(l->pump, i, path, l->headers[r->node], writer_slice(&l->body));
}

static void dispatch(struct load *l, uint64_t now)
{
	for (unsigned i = 0; i < l->connections && l->sent_next < l->b->next; i++)
		if (pump_idle(l->pump, i))
			send_some(l, i, now);
}

/* Without a connection (no node can be asked this way) all goes the patient way. */
static void give_queue(struct load *l)
{
	struct bench *b = l->b;
	size_t index[256], count;

	while (l->sent_next < b->next) {
		for (count = 0;
		     l->sent_next < b->next && count < b->batch && count < MEM_COUNT(index);)
			index[count++] = l->sent_next++;
		patient_give(l->patient, b, index, count, false, deadline_ms(b));
	}
}

static void give_request(struct load *l, struct request_state *r, bool maybe_sent)
{
	if (r->count > 0)
		patient_give(l->patient, l->b, r->index, r->count, maybe_sent,
			     deadline_ms(l->b));
	l->b->patient += r->count;
	r->count = 0;
}

static void connect_one(struct load *l, unsigned i, uint64_t now)
{
	struct request_state *r = &l->r[i];

	if (pump_connect(l->pump, i, l->b->t->url[r->node]) != ERR_NONE)
		r->retry_at = now + RECONNECT_US;
}

/* The i-th connection's next one: those that all were at the leader part. */
static unsigned node_after(const struct bench *b, unsigned node, unsigned i)
{
	unsigned others = b->t->count - 1;

	if (b->at_leader && node == b->first && others > 0)
		node += i % others;
	return (node + 1) % b->t->count;
}

/* The connection is gone: its request goes the patient way, the next one to another node. */
static void on_broken(struct load *l, unsigned i, bool maybe_sent, uint64_t now)
{
	struct request_state *r = &l->r[i];

	give_request(l, r, maybe_sent);
	r->node = node_after(l->b, r->node, i);
	r->retry_at = ++r->failures % l->b->t->count == 0 ? now + RECONNECT_US : now;
}

/* ---- answers --------------------------------------------------------------------------- */

static void judge(struct load *l, struct request_state *r, const struct receipts *a,
		  const struct receipt_entry *e, size_t i, uint64_t now, size_t *again)
{
	struct bench *b = l->b;
	struct receipt receipt;
	struct errmsg m;
	int err;

	if (e->status != RECEIPT_COMMITTED || !hash_equal(&e->id, &b->tx[i].id)) {
		r->index[(*again)++] = i;
		return;
	}
	err = receipt_check(l->checker, a, e, b->tx[i].bytes, &receipt, &m);
	if (err != ERR_NONE) {
		receipt = (struct receipt){.fate = FATE_UNVERIFIED};
		snprintf(receipt.code, sizeof receipt.code, "%s", err_name(err));
		err_set(&receipt.m, err, "%s says committed, but %s", b->t->url[r->node],
			m.text);
	}
	decide(l, i, &receipt, now);
}

static void on_reply(struct load *l, const struct pump_event *e, uint64_t now)
{
	struct request_state *r = &l->r[e->connection];
	struct receipts a;
	struct receipt_entry entry;
	size_t again = 0, k = 0, count = r->count;

	r->failures = 0;
	if (receipts_open(&a, e->body) != ERR_NONE) { /* a problem document, most likely */
		give_request(l, r, true);
		return;
	}
	for (; k < count && receipts_next(&a, &entry) == ERR_NONE; k++)
		judge(l, r, &a, &entry, r->index[k], now, &again);
	for (; k < count; k++) /* the answer is too short */
		r->index[again++] = r->index[k];
	receipts_close(&a);
	r->count = again;
	give_request(l, r, true);
}

static void take_patient(struct load *l)
{
	struct patient_job *j;

	while ((j = patient_take(l->patient)) != NULL) {
		for (size_t k = 0; k < j->count; k++)
			decide(l, j->index[k], &j->s[k].r, j->begun + j->s[k].r.latency_us);
		patient_job_free(j);
	}
}

/* ---- the loop -------------------------------------------------------------------------- */

static void scan(struct load *l, uint64_t now)
{
	if (now < l->next_scan)
		return;
	l->next_scan = now + SCAN_US;
	for (unsigned i = 0; i < l->connections; i++) {
		struct request_state *r = &l->r[i];
		if (r->count > 0 && now > r->deadline) {
			pump_close(l->pump, i);
			on_broken(l, i, true, now);
		}
		if (pump_closed(l->pump, i) && now >= r->retry_at)
			connect_one(l, i, now);
	}
}

static uint64_t patience(const struct load *l, uint64_t now)
{
	const struct bench *b = l->b;
	uint64_t until = l->next_scan, due;

	if (b->rate > 0 && b->next < b->count) {
		due = bench_due(b, b->next);
		until = due < until ? due : until;
	}
	return until > now ? until - now : 0;
}

static void give_up(struct load *l, uint64_t now)
{
	for (unsigned i = 0; i < l->connections; i++) {
		for (size_t k = 0; k < l->r[i].count; k++)
			decide_as(l, l->r[i].index[k],
				  interrupted() ? FATE_INTERRUPTED : FATE_UNKNOWN, "", now);
		l->r[i].count = 0;
	}
	for (; l->sent_next < l->b->next; l->sent_next++)
		decide_as(l, l->sent_next, FATE_UNSENT, "", now);
}

static void turn(struct load *l)
{
	struct pump_event e;
	uint64_t now = now_us();

	scan(l, now);
	take(l, now);
	if (l->connections > 0)
		dispatch(l, now);
	else
		give_queue(l);
	while (pump_next(l->pump, patience(l, now), &e)) {
		now = now_us();
		if (e.kind == PUMP_REPLY)
			on_reply(l, &e, now);
		else
			on_broken(l, e.connection, e.maybe_sent, now);
		take(l, now);
		if (pump_idle(l->pump, e.connection) && l->sent_next < l->b->next)
			send_some(l, e.connection, now);
		dispatch(l, now);
		if (now >= l->next_scan)
			break;
	}
	take_patient(l);
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

void bench_load(struct bench *b)
{
	struct load l = {.b = b, .connections = b->connections};
	bool plain = true;
	uint64_t now, last;

	for (unsigned i = 0; i < b->t->count; i++)
		plain = plain && strncmp(b->t->url[i], "http://", 7) == 0;
	if (!plain)
		l.connections = 0;
	l.limit = (size_t)b->clients * (b->connections < b->clients ? 1 : b->batch);
	l.patient = patient_new(b->t, PUMP_CONNECTIONS_MAX);
	l.pump = pump_new(l.connections, patient_fd(l.patient));
	l.checker = receipt_checker_new(b->t);
	l.r = mem_zalloc((l.connections + 1) * sizeof *l.r);
	l.headers = mem_array(b->t->count, sizeof *l.headers);
	for (unsigned i = 0; i < b->t->count; i++) {
		const char *bearer = http_token_header(b->t->url[i]);
		snprintf(l.headers[i], sizeof l.headers[i],
			 "Content-Type: application/octet-stream\r\nAccept: "
			 "application/octet-stream\r\n%s%s",
			 bearer, bearer[0] != '\0' ? "\r\n" : "");
	}
	now = now_us();
	for (unsigned i = 0; i < l.connections; i++) {
		l.r[i].index = mem_array(b->batch, sizeof *l.r[i].index);
		l.r[i].node = (b->first + (b->at_leader ? 0 : i)) % b->t->count;
		connect_one(&l, i, now);
	}
	b->cpu_s = cpu_seconds();
	last = b->end == 0 ? UINT64_MAX : b->end + b->drain_ms * 1000 + ANSWER_MS * 1000;
	while ((!over(&l, now_us()) || l.under_way > 0) && !interrupted() && now_us() < last)
		turn(&l);
	b->cpu_s = cpu_seconds() - b->cpu_s;
	if (interrupted() && now_us() < b->end)
		b->end = now_us(); /* rates are of the time that it had */
	give_up(&l, now_us());
	while (l.under_way > 0) { /* the patient end by themselves, by their deadlines */
		sleep_ms(5);
		take_patient(&l);
	}
	b->ran_out = b->rate == 0 && b->end != 0 && b->next == b->count &&
		     b->last_done + 100000 < b->end;
	b->certificates = receipt_checker_certificates(l.checker);
	for (unsigned i = 0; i < l.connections; i++)
		mem_free(l.r[i].index);
	mem_free(l.r);
	mem_free(l.headers);
	receipt_checker_free(l.checker);
	pump_free(l.pump);
	patient_free(l.patient);
	writer_free(&l.body);
}
