/* What threads share in a node, shared by threads: for ThreadSanitizer, without suppressions,
 * and for counting that nothing is lost, doubled or out of order. */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "node/connections.h"
#include "node/events.h"
#include "node/finality.h"
#include "node/syncer.h"

#define THREADS 4

static void start(pthread_t *t, void *(*run)(void *), void *arg)
{
	ck_assert_int_eq(pthread_create(t, NULL, run, arg), 0);
}

/* ck_assert() is not for threads other than the test's own. */
#define expect(condition) invariant(condition)

static void wait_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	expect(poll(&p, 1, 60000) == 1);
}

/* ---- the inbox: many API threads to one loop ----------------------------------------------
 */

#define REQUESTS_EACH 20000

struct producer {
	pthread_t thread;
	struct inbox *inbox;
	struct request *requests;
	unsigned pushed;
};

static void *produce(void *arg)
{
	struct producer *p = arg;
	while (p->pushed < REQUESTS_EACH) {
		struct request *r = &p->requests[p->pushed];
		r->height = p->pushed;
		r->limit = (uint32_t)(p->pushed % 3);
		r->bytes = p->pushed % 2048;
		if (inbox_push(p->inbox, r))
			p->pushed++;
		else if (inbox_closed(p->inbox))
			break;
		else
			sched_yield();
	}
	return NULL;
}

/* Takes until all that was pushed has come; closes after `close_after`. */
static void run_inbox(unsigned close_after)
{
	struct inbox *q = inbox_new();
	struct producer p[THREADS] = {0};
	unsigned taken[THREADS] = {0}, all = 0;
	bool closed = false;
	for (unsigned i = 0; i < THREADS; i++) {
		p[i].inbox = q;
		p[i].requests = mem_array(REQUESTS_EACH, sizeof *p[i].requests);
		memset(p[i].requests, 0, REQUESTS_EACH * sizeof *p[i].requests);
		start(&p[i].thread, produce, &p[i]);
	}
	while (all < THREADS * REQUESTS_EACH && !closed) {
		struct request_list list = TAILQ_HEAD_INITIALIZER(list);
		struct request *r;
		wait_readable(inbox_fd(q));
		if (all >= close_after) {
			inbox_close(q);
			closed = true;
			for (unsigned i = 0; i < THREADS; i++)
				pthread_join(p[i].thread, NULL);
		}
		inbox_take(q, &list);
		TAILQ_FOREACH(r, &list, link)
		{
			unsigned i = 0;
			while (r < p[i].requests || r >= p[i].requests + REQUESTS_EACH)
				i++;
			ck_assert_uint_eq(r->height, taken[i]);
			ck_assert_uint_eq(r->limit, taken[i] % 3);
			taken[i]++;
			all++;
		}
	}
	for (unsigned i = 0; i < THREADS; i++) {
		if (!closed)
			pthread_join(p[i].thread, NULL);
		ck_assert_uint_eq(taken[i], p[i].pushed);
		ck_assert(closed || p[i].pushed == REQUESTS_EACH);
		mem_free(p[i].requests);
	}
	inbox_free(q);
}

START_TEST(inbox_of_many)
{
	run_inbox(UINT32_MAX);
	run_inbox(5000);
	run_inbox(0);
}
END_TEST

/* ---- the ring of events: one loop, many readers --------------------------------------------
 */

#define EVENTS_TOLD 30000

struct watcher {
	struct subscriber s; /* first */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool awake;
	unsigned slow; /* turns away after so many events; 0: never */
	struct cursor at;
	unsigned long seen, gaps, last;
};

static void on_suspend(struct subscriber *s)
{
	struct watcher *r = (struct watcher *)s;
	pthread_mutex_lock(&r->lock);
	r->awake = false;
	pthread_mutex_unlock(&r->lock);
}

static void on_resume(struct subscriber *s)
{
	struct watcher *r = (struct watcher *)s;
	pthread_mutex_lock(&r->lock);
	r->awake = true;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

static void read_event(struct watcher *r, struct event_taken *t)
{
	unsigned long number = strtoul(t->text + 5, NULL, 10); /* {"i":... */
	expect(cursor_before(r->at, t->last) && t->last.height == 9 && t->last.index == number);
	expect(r->seen + r->gaps == 0 || number == r->last + 1);
	r->last = number;
	r->at = t->last;
	r->seen++;
	mem_free(t->text);
	if (r->slow && r->seen % r->slow == 0)
		for (int i = 0; i < 2000; i++)
			sched_yield();
}

static void *read_events(void *arg)
{
	struct watcher *r = arg;
	for (;;) {
		struct event_taken t;
		switch (events_take(&r->s, &r->at, EVENTS_ALL, &t)) {
		case EVENT_STEP_WAIT:
			pthread_mutex_lock(&r->lock);
			while (!r->awake)
				pthread_cond_wait(&r->wake, &r->lock);
			pthread_mutex_unlock(&r->lock);
			break;
		case EVENT_STEP_BEAT:
			break;
		case EVENT_STEP_JSON:
			read_event(r, &t);
			break;
		case EVENT_STEP_LOST:
			expect(cursor_before(r->at, t.last));
			r->at = t.last;
			r->last = t.last.index;
			r->gaps++;
			break;
		case EVENT_STEP_BLOCK:
			expect(!"there are no blocks");
			break;
		case EVENT_STEP_END:
			events_unsubscribe(&r->s);
			return NULL;
		}
	}
}

START_TEST(events_of_many)
{
	struct events *e = events_new(THREADS);
	static struct watcher r[THREADS];
	memset(r, 0, sizeof r);
	events_begin(e, 9, 0);
	for (unsigned i = 0; i < THREADS; i++) {
		r[i].s = (struct subscriber){.suspend = on_suspend, .resume = on_resume};
		r[i].slow = i % 2 ? 100 : 0;
		pthread_mutex_init(&r[i].lock, NULL);
		pthread_cond_init(&r[i].wake, NULL);
		ck_assert(events_subscribe(e, &r[i].s, &r[i].at));
		start(&r[i].thread, read_events, &r[i]);
	}
	for (uint64_t i = 1; i <= EVENTS_TOLD; i++) {
		struct json *o = json_object();
		json_set(o, "i", json_u64(i));
		events_json(e, i % 2 ? EVENT_CONSENSUS : EVENT_EVIDENCE, o);
		if (i % 7 == 0)
			events_flush(e, i);
	}
	events_flush(e, EVENTS_TOLD + 1);
	events_close(e);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(r[i].thread, NULL);
		ck_assert_uint_le(r[i].seen, EVENTS_TOLD);
		pthread_cond_destroy(&r[i].wake);
		pthread_mutex_destroy(&r[i].lock);
	}
	ck_assert_uint_eq(events_subscribers(e), 0);
	events_free(e);
}
END_TEST

/* ---- the table of connections
 * ---------------------------------------------------------------- */

struct user {
	pthread_t thread;
	struct connections *c;
	unsigned seed;
	atomic_ulong *added;
};

static void *use_connections(void *arg)
{
	struct user *u = arg;
	struct random r;
	struct connection *mine[8] = {NULL};
	int fd[8][2];
	struct sockaddr_storage from = {.ss_family = AF_UNIX};
	random_seed(&r, u->seed);
	for (unsigned i = 0; i < 4000; i++) {
		unsigned k = (unsigned)random_below(&r, 8);
		struct connections_stats stats;
		if (mine[k]) {
			connection_enter(mine[k], (enum connection_phase)random_below(
							  &r, CONNECTION_PHASES));
			connection_progress(mine[k]);
			if (random_chance(&r, 1, 3)) {
				connections_remove(mine[k]);
				close(fd[k][0]);
				close(fd[k][1]);
				mine[k] = NULL;
			}
		} else if (connections_admit(u->c, (struct sockaddr *)&from)) {
			expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd[k]) == 0);
			mine[k] = connections_add(u->c, fd[k][0], (struct sockaddr *)&from);
			atomic_fetch_add(u->added, mine[k] != NULL);
			if (!mine[k]) {
				close(fd[k][0]);
				close(fd[k][1]);
			}
		}
		if (i % 16 == 0) {
			connections_stats(u->c, &stats);
			expect(stats.open <= 16 + CONNECTION_SPARE);
		}
	}
	for (unsigned k = 0; k < 8; k++)
		if (mine[k]) {
			connections_remove(mine[k]);
			close(fd[k][0]);
			close(fd[k][1]);
		}
	return NULL;
}

START_TEST(connections_of_many)
{
	struct connections_config config = {.max = 16, .request_ms = 1};
	struct connections *c = connections_new(&config);
	struct user u[THREADS];
	atomic_ulong added = 0;
	struct connections_stats stats;
	for (unsigned i = 0; i < THREADS; i++) {
		u[i] = (struct user){.c = c, .seed = i, .added = &added};
		start(&u[i].thread, use_connections, &u[i]);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(u[i].thread, NULL);
	connections_stats(c, &stats);
	ck_assert_uint_eq(stats.open, 0);
	ck_assert_uint_eq(stats.accepted, atomic_load(&added));
	connections_free(c);
}
END_TEST

/* ---- the syncer
 * --------------------------------------------------------------------------------- */

/* The store of the simulator is for one thread: here only the syncer's. */
START_TEST(syncer_and_loop)
{
	struct store *store = store_open_memory();
	static struct histogram latency;
	struct syncer *s = syncer_start(store, &latency);
	uint64_t done = 0, wanted = 0;
	int err = ERR_NONE;
	for (wanted = 1; wanted <= 3000; wanted++) {
		syncer_request(s, wanted);
		if (wanted % 5 == 0) {
			uint64_t now = syncer_done(s, &err);
			ck_assert(now >= done && now <= wanted && err == ERR_NONE);
			done = now;
		}
	}
	for (wanted--; done < wanted; done = syncer_done(s, &err))
		wait_readable(syncer_fd(s));
	ck_assert_int_eq(err, ERR_NONE);
	syncer_request(s, wanted + 1);
	syncer_stop(s); /* finishes that one */
	store_close(store);
}
END_TEST

/* ---- receipts: one tree for a thousand answers
 * ------------------------------------------------------ */

#define TXS 257

struct prover {
	pthread_t thread;
	struct finality *f;
	uint32_t first;
};

static struct block *make_block(uint32_t count)
{
	struct writer body;
	struct block *b;
	struct signed_header sh;
	struct hash *leaves = mem_array(count, sizeof *leaves);
	memset(&sh, 0, sizeof sh);
	writer_init(&body, 0);
	body_begin(&body);
	for (uint32_t i = 0; i < count; i++) {
		struct slice tx = slice_of(&i, sizeof i);
		body_add(&body, TX_OK, tx);
		body_leaf(&leaves[i], TX_OK, tx);
	}
	body_end(&body, count);
	sh.h = (struct header){.term = 1,
			       .mode = MODE_FAST,
			       .height = 1,
			       .tx_count = count,
			       .body_size = (uint32_t)body.len};
	merkle_root(&sh.h.tx_root, leaves, count);
	ck_assert_int_eq(block_new(&b, &sh, writer_slice(&body)), ERR_NONE);
	writer_free(&body);
	mem_free(leaves);
	return b;
}

static void *prove(void *arg)
{
	struct prover *p = arg;
	for (uint32_t i = 0; i < TXS; i++) {
		struct proof_document d;
		struct hash leaf;
		struct finality *f = finality_hold(p->f);
		const struct block *b = finality_block(f, 0);
		finality_prove(f, 0, (p->first + i) % TXS, &d);
		body_leaf(&leaf, d.result, d.tx);
		expect(merkle_verify(&d.path, &leaf, &b->sh.h.tx_root) == ERR_NONE);
		proof_document_free(&d);
		finality_drop(f);
	}
	finality_drop(p->f);
	return NULL;
}

START_TEST(receipts_of_many)
{
	for (unsigned run = 0; run < 20; run++) {
		struct block *b = make_block(TXS);
		struct cert cert = {.kind = CERT_ONE_ROUND, .ref = block_ref_of(b)};
		struct finality *f = finality_new(&b, 1, &cert);
		struct prover p[THREADS];
		block_drop(b);
		for (unsigned i = 0; i < THREADS; i++) {
			p[i] = (struct prover){.f = finality_hold(f), .first = i * 64};
			start(&p[i].thread, prove, &p[i]);
		}
		finality_drop(f); /* the last of them frees it */
		for (unsigned i = 0; i < THREADS; i++)
			pthread_join(p[i].thread, NULL);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("threads");
	TCase *t = tcase_create("queues");
	tcase_set_timeout(t, 300);
	tcase_add_test(t, inbox_of_many);
	tcase_add_test(t, events_of_many);
	tcase_add_test(t, connections_of_many);
	tcase_add_test(t, syncer_and_loop);
	tcase_add_test(t, receipts_of_many);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
