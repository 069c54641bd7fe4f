/* A node under abuse: one working client, and beside it connections that do everything wrong.
 *
 *	abuse [--connections 1000] [--seconds 20] [--crowds 1] [--only KIND]
 *
 * Prints JSON: the client's p50 and p99 before, during and after each crowd, the node's
 * resident memory likewise, and what became of each kind of abuse. Several crowds one after
 * another tell memory that is lost from memory that the next one uses again; without
 * connections the client is alone, as a control. Fails if the client is refused anything, if
 * an answer is neither a success nor a problem document, or if a connection that asked for
 * nothing reasonable is neither answered nor closed. Judges no time: figures are for people.
 * Run from the top of the build tree. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "homes.h"
#include "http-client.h"
#include "ledger/tx.h"
#include "process.h"

#define CONNECTIONS_MAX 4000
#define SAMPLES_MAX	200000
#define PAUSE_S		1.0 /* between two tries of one abuser: 1,000 of them, not a flood */
#define HANG_S		120.0
#define CHUNK		(64 << 10)
#define LIFE		50000 /* blocks that a transaction has */

#define POST_HEAD                                                                              \
	"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "                  \
	"application/octet-stream\r\n"

enum ending {
	END_ANSWER,	      /* a problem document */
	END_CLOSED,	      /* no answer: closed */
	END_ANSWER_OR_CLOSED, /* the HTTP library's own refusal, or closed */
};
static const struct kind {
	const char *name, *text;
	enum ending ending;
	int status;  /* of the answer; 0: any */
	bool drips;  /* a byte a second */
	bool floods; /* endless zeros follow */
	bool deaf;   /* reads nothing */
} kinds[] = {
	{"silent", "", END_CLOSED, 0, false, false, false},
	{"half_header", "GET /v1/status HTTP/1.1\r\nHost: loc", END_CLOSED, 0, false, false,
	 false},
	{"dripped_header", "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: ", END_CLOSED, 0,
	 true, false, false},
	{"half_body", POST_HEAD "Content-Length: 1000\r\n\r\nabc", END_CLOSED, 0, false, false,
	 false},
	{"dripped_body", POST_HEAD "Content-Length: 100000\r\n\r\n", END_CLOSED, 0, true, false,
	 false},
	{"huge_header", "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: ",
	 END_ANSWER_OR_CLOSED, 0, false, true, false},
	{"huge_body", POST_HEAD "Content-Length: 1000000000\r\n\r\n", END_ANSWER, 413, false,
	 false, false},
	{"endless_chunks", POST_HEAD "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n",
	 END_ANSWER_OR_CLOSED, 0, false, true, false},
	{"bad_chunks", POST_HEAD "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
	 END_ANSWER_OR_CLOSED, 0, false, false, false},
	{"body_for_get",
	 "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
	 END_CLOSED, 0, true, false, false},
	{"bad_json",
	 "POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
	 "application/json\r\n"
	 "Content-Length: 3\r\n\r\n{{{",
	 END_ANSWER, 400, false, false, false},
	{"bad_signature", NULL, END_ANSWER, 422, false, false, false},
	{"wrong_method", "DELETE /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n", END_ANSWER,
	 405, false, false, false},
	{"unknown_path", "GET /wp-login.php HTTP/1.1\r\nHost: localhost\r\n\r\n", END_ANSWER,
	 404, false, false, false},
	{"foreign_host", "GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n", END_ANSWER,
	 403, false, false, false},
	{"foreign_origin",
	 "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n",
	 END_ANSWER, 403, false, false, false},
	{"garbage", "\x16\x03\x01\x02\x01\x01\r\n\r\n\r\n", END_ANSWER_OR_CLOSED, 0, false,
	 false, false},
	{"deaf", NULL, END_CLOSED, 0, false, false, true},
};
#define KINDS MEM_COUNT(kinds)

struct abuser {
	int fd;
	const struct kind *kind;
	double since, next; /* opened; next drip or try */
	bool answered;
	size_t len;
	char in[2048];
};

static struct result {
	unsigned long tries, answers, closed, wrong, hung;
} results[KINDS];

static char dir[64], *deaf_text;
static struct slice bad_signature;
static struct chain_ctx ctx;
static unsigned port;
static pid_t node;
static struct abuser abusers[CONNECTIONS_MAX];
static struct pollfd fds[CONNECTIONS_MAX];

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "abuse: %s\n", what);
	if (node > 0)
		kill(node, SIGKILL);
	exit(1);
}

/* ---- the node ---- */

static void start(void)
{
	char home[80], log[96];
	snprintf(home, sizeof home, "%s/node1", dir);
	snprintf(log, sizeof log, "%s/log", dir);
	node = node_start(home, log);
	for (;;) {
		port = node_port(home);
		struct answer a = {0};
		if (port) {
			get(port, "/readyz", &a);
			answer_free(&a);
			if (a.status == 200)
				return;
		}
		if (waitpid(node, NULL, WNOHANG) != 0)
			die("the node did not start; see its log");
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
}

static unsigned long rss_kib(void)
{
	char path[64], line[256];
	unsigned long kib = 0;
	snprintf(path, sizeof path, "/proc/%d/status", (int)node);
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "VmRSS: %lu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

static uint64_t metric(const char *text, const char *name)
{
	const char *at = strstr(text, name);
	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* Resident, and what of it is allocated or kept by the allocator. */
static void set_memory(struct json *o)
{
	struct answer a;
	json_set(o, "rss_kib", json_int((int64_t)rss_kib()));
	get(port, "/metrics", &a);
	if (a.status != 200 || !strstr(a.body, "ostrakon_heap_bytes{")) {
		fprintf(stderr, "/metrics: status %d\n", a.status);
		die("no heap_bytes there");
	}
	json_set(o, "heap_used_kib",
		 json_int((int64_t)(metric(a.body, "ostrakon_heap_bytes{state=\"used\"} ") >>
				    10)));
	json_set(o, "heap_free_kib",
		 json_int((int64_t)(metric(a.body, "ostrakon_heap_bytes{state=\"free\"} ") >>
				    10)));
	answer_free(&a);
}

/* ---- the working client ---- */

struct client {
	pthread_t thread;
	struct keypair key;
	uint64_t nonce, requests; /* a request is a block, or less */
	atomic_bool stop;
	double *ms;
	size_t count;
	unsigned long failures;
};

static void *client_main(void *arg)
{
	struct client *c = arg;
	int fd = http_connect(port);
	while (!atomic_load(&c->stop) && c->count < SAMPLES_MAX) {
		struct op op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("v")};
		struct writer tx, body;
		struct answer a;
		writer_init(&tx, 0);
		writer_init(&body, 0);
		tx_build(&tx, &ctx, &c->key, ++c->nonce, ++c->requests + LIFE, &op, 1);
		writer_var(&body, writer_slice(&tx));
		double begin = now_s();
		http_post(fd, "/v1/transactions", "application/octet-stream",
			  writer_slice(&body));
		http_read(fd, &a);
		c->ms[c->count++] = (now_s() - begin) * 1e3;
		if (a.status != 200) {
			c->failures++;
			fprintf(stderr, "client: status %d %s\n", a.status,
				a.body ? a.body : "");
			close(fd);
			fd = http_connect(port);
		}
		answer_free(&a);
		writer_free(&tx);
		writer_free(&body);
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	close(fd);
	return NULL;
}

/* So that memory is what it is under load, before abuse adds to it. */
static void warm_up(struct client *c, unsigned requests)
{
	int fd = http_connect(port);
	for (unsigned i = 0; i < requests; i++) {
		struct writer body, tx;
		struct answer a;
		writer_init(&body, 0);
		for (unsigned k = 0; k < 200; k++) {
			char key[32];
			snprintf(key, sizeof key, "warm-%u-%u", i, k);
			struct op op = {
				.kind = OP_PUT, .key = slice_str(key), .value = slice_str("v")};
			writer_init(&tx, 0);
			tx_build(&tx, &ctx, &c->key, ++c->nonce, c->requests + LIFE, &op, 1);
			writer_var(&body, writer_slice(&tx));
			writer_free(&tx);
		}
		c->requests++;
		http_post(fd, "/v1/transactions", "application/octet-stream",
			  writer_slice(&body));
		http_read(fd, &a);
		c->failures += a.status != 200;
		answer_free(&a);
		writer_free(&body);
	}
	close(fd);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void client_start(struct client *c)
{
	atomic_store(&c->stop, false);
	c->count = 0;
	c->ms = mem_array(SAMPLES_MAX, sizeof *c->ms);
	if (pthread_create(&c->thread, NULL, client_main, c) != 0)
		die("no thread");
}

static struct json *client_end(struct client *c)
{
	atomic_store(&c->stop, true);
	pthread_join(c->thread, NULL);
	qsort(c->ms, c->count, sizeof *c->ms, compare);
	struct json *o = json_object();
	json_set(o, "requests", json_int((int64_t)c->count));
	json_set(o, "p50_ms", json_real(c->ms[c->count / 2]));
	json_set(o, "p99_ms", json_real(c->ms[c->count * 99 / 100]));
	set_memory(o);
	mem_free(c->ms);
	return o;
}

/* ---- the abusers ---- */

static void make_texts(const struct keypair *key)
{
	struct op op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("v")};
	struct writer tx, w;
	writer_init(&tx, 0);
	tx_build(&tx, &ctx, key, 1, 50000, &op, 1);
	tx.buf[tx.len - 1] ^= 1;
	char *head = mem_printf(POST_HEAD "Content-Length: %zu\r\n\r\n", tx.len + 4);
	writer_init(&w, 0);
	writer_raw(&w, head, strlen(head));
	writer_var(&w, writer_slice(&tx));
	mem_free(head);
	writer_free(&tx);
	size_t len;
	uint8_t *bytes = writer_take(&w, &len);
	bad_signature = slice_of(bytes, len);
	/* More answers than all buffers on the way hold. */
	const char *one = "GET /v1/blocks?limit=100 HTTP/1.1\r\nHost: localhost\r\n\r\n";
	deaf_text = mem_alloc(200 * strlen(one) + 1);
	deaf_text[0] = 0;
	for (size_t i = 0; i < 200; i++)
		strcpy(deaf_text + i * strlen(one), one);
}

static void open_abuser(struct abuser *a, double now)
{
	a->fd = http_connect(port);
	a->since = now;
	a->next = now + PAUSE_S;
	a->len = 0;
	a->answered = false;
	if (a->fd < 0)
		return;
	results[a->kind - kinds].tries++;
	int small = 4096;
	if (a->kind->deaf)
		setsockopt(a->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	fcntl(a->fd, F_SETFL, O_NONBLOCK);
	struct slice text = a->kind->text   ? slice_of(a->kind->text, strlen(a->kind->text))
			    : a->kind->deaf ? slice_str(deaf_text)
					    : bad_signature;
	if (send(a->fd, text.ptr, text.len, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
		a->next = now;
}

static void close_abuser(struct abuser *a, double now)
{
	close(a->fd);
	a->fd = -1;
	a->next = now + PAUSE_S;
}

/* The head of an answer is here: is it what this kind deserves? */
static void judge(struct abuser *a)
{
	struct result *r = &results[a->kind - kinds];
	int status = atoi(a->in + 9);
	bool problem = strcasestr(a->in, "application/problem+json") != NULL;
	bool fits = a->kind->ending == END_ANSWER
			    ? problem && status == a->kind->status
			    : a->kind->ending == END_ANSWER_OR_CLOSED && status >= 400;
	if (a->kind->status == 405)
		fits = fits && strstr(a->in, "Allow: ") != NULL;
	a->answered = true;
	r->answers++;
	if (!fits) {
		r->wrong++;
		fprintf(stderr, "%s: %.200s\n", a->kind->name, a->in);
	}
}

static void read_abuser(struct abuser *a, double now)
{
	char waste[CHUNK];
	bool room = a->len < sizeof a->in - 1;
	ssize_t n = room ? recv(a->fd, a->in + a->len, sizeof a->in - 1 - a->len, 0)
			 : recv(a->fd, waste, sizeof waste, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	struct result *r = &results[a->kind - kinds];
	if (n <= 0) {
		r->closed += !a->answered;
		if (!a->answered && a->kind->ending == END_ANSWER && !a->kind->floods)
			r->wrong++;
		close_abuser(a, now);
		return;
	}
	if (!room)
		return;
	a->len += (size_t)n;
	a->in[a->len] = 0;
	if (!a->answered && strstr(a->in, "\r\n\r\n")) {
		judge(a);
		close_abuser(a, now);
	}
}

static void pester(struct abuser *a, double now)
{
	static const char zeros[CHUNK];
	if (a->kind->floods && a->fd >= 0)
		send(a->fd, zeros, sizeof zeros, MSG_NOSIGNAL);
	if (now < a->next)
		return;
	a->next = now + PAUSE_S;
	if (a->kind->drips)
		send(a->fd, "x", 1, MSG_NOSIGNAL);
	if (a->kind->deaf && recv(a->fd, (char[1]){0}, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		read_abuser(a, now);
}

/* Runs the abusers until `until`; then, without opening new ones, until each has its end. */
static void run(unsigned count, double until, unsigned long *rss)
{
	double sample = 0;
	for (;;) {
		double now = now_s();
		unsigned left = 0;
		for (unsigned i = 0; i < count; i++) {
			struct abuser *a = &abusers[i];
			if (a->fd < 0 && now < until && now >= a->next)
				open_abuser(a, now);
			else if (a->fd >= 0)
				pester(a, now);
			left += a->fd >= 0;
			/* who reads nothing sees no end but a reset */
			short events = a->kind->deaf ? 0 : POLLIN;
			fds[i] = (struct pollfd){.fd = a->fd, .events = events};
			if (a->fd >= 0 && now > until && now - a->since > HANG_S) {
				results[a->kind - kinds].hung++;
				close_abuser(a, now);
			}
		}
		if (now >= until && left == 0)
			return;
		if (poll(fds, count, 20) < 0)
			die("poll");
		for (unsigned i = 0; i < count; i++)
			if (fds[i].fd >= 0 && fds[i].revents) {
				if (abusers[i].kind->deaf)
					abusers[i].len = sizeof abusers[i].in - 1;
				read_abuser(&abusers[i], now);
			}
		if (now > sample) {
			sample = now + 0.25;
			unsigned long kib = rss_kib();
			*rss = kib > *rss ? kib : *rss;
		}
		if (waitpid(node, NULL, WNOHANG) != 0)
			die("the node ended");
	}
}

/* ---- all of it ---- */

static void pause_s(double s)
{
	nanosleep(&(struct timespec){.tv_sec = (time_t)s,
				     .tv_nsec = (long)((s - (double)(time_t)s) * 1e9)},
		  NULL);
}

static struct json *kinds_json(bool *bad)
{
	struct json *o = json_object();
	for (size_t k = 0; k < KINDS; k++) {
		struct json *x = json_object();
		json_set(x, "tries", json_int((int64_t)results[k].tries));
		json_set(x, "answers", json_int((int64_t)results[k].answers));
		json_set(x, "closed", json_int((int64_t)results[k].closed));
		json_set(x, "wrong", json_int((int64_t)results[k].wrong));
		json_set(x, "hung", json_int((int64_t)results[k].hung));
		json_set(o, kinds[k].name, x);
		*bad = *bad || results[k].wrong || results[k].hung;
	}
	return o;
}

int main(int argc, char **argv)
{
	unsigned count = 72, crowds = 1;
	double seconds = 2;
	const char *only = NULL; /* all are of this kind */
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--connections") == 0)
			count = (unsigned)atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--seconds") == 0)
			seconds = atof(argv[i + 1]);
		else if (strcmp(argv[i], "--crowds") == 0)
			crowds = (unsigned)atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--only") == 0)
			only = argv[i + 1];
	}
	if ((count && count < (only ? 1 : KINDS)) || count > CONNECTIONS_MAX)
		die("too few or too many connections");
	size_t one = 0;
	while (only && strcmp(kinds[one].name, only) != 0)
		if (++one == KINDS)
			die("--only: no such kind");
	crypto_init();
	signal(SIGPIPE, SIG_IGN);
	strcpy(dir, "/tmp/abuse-XXXXXX");
	if (!mkdtemp(dir))
		die("no directory");
	struct genesis genesis;
	struct client client = {0};
	homes_make(dir, 1, "[limits]\nrequest_timeout = 4000\n", &genesis, &client.key);
	genesis_ctx(&ctx, &genesis);
	make_texts(&client.key);
	start();

	struct json *o = json_object();
	json_set(o, "connections", json_int(count));
	json_set(o, "seconds", json_real(seconds));
	warm_up(&client, (unsigned)(seconds * 20));
	client_start(&client);
	pause_s(seconds);
	json_set(o, "before", client_end(&client));
	struct json *list = json_array();
	for (unsigned n = 0; n < crowds; n++) {
		struct json *crowd = json_object();
		unsigned long rss = 0;
		for (unsigned i = 0; i < count; i++)
			abusers[i] = (struct abuser){.fd = -1,
						     .kind = &kinds[only ? one : i % KINDS]};
		client_start(&client);
		run(count, now_s() + seconds, &rss);
		struct json *during = client_end(&client);
		json_set(during, "rss_kib_max", json_int((int64_t)rss));
		json_set(crowd, "during", during);
		client_start(&client);
		pause_s(seconds);
		json_set(crowd, "after", client_end(&client));
		json_append(list, crowd);
	}
	json_set(o, "crowds", list);
	bool bad = client.failures > 0;
	for (size_t k = 0; k < KINDS; k++)
		bad = bad || (count && results[k].tries == 0 && (!only || k == one));
	json_set(o, "kinds", kinds_json(&bad));
	json_set(o, "client_failures", json_int((int64_t)client.failures));
	kill(node, SIGTERM);
	int status;
	waitpid(node, &status, 0);
	json_set(o, "node_exit", json_int(WIFEXITED(status) ? WEXITSTATUS(status) : -1));
	bad = bad || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	char *text = json_dump(o, true);
	printf("%s\n", text);
	mem_free(text);
	json_free(o);
	mem_free((void *)bad_signature.ptr);
	mem_free(deaf_text);
	genesis_free(&genesis);
	char *remove = mem_printf("rm -r %s", dir);
	if (system(remove) != 0)
		bad = true;
	mem_free(remove);
	return bad;
}
