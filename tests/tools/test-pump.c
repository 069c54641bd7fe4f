/* The load generator's connections against a server that answers as it is told to. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "suites.h"
#include "tools/cli/pump.h"

#define LONG_US 20000000 /* a hang, not a verdict */

struct server {
	int listener;
	char url[64];
	const char *const *parts; /* sent one by one, after a request; NULL ends */
	unsigned rounds;	  /* requests answered so before it closes */
	char seen[4096];	  /* the last request */
	pthread_t thread;
};

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->listener, NULL, NULL);
	size_t len = 0;

	for (unsigned i = 0; i < s->rounds; i++) {
		len = 0;
		do {
			ssize_t n = recv(fd, s->seen + len, sizeof s->seen - 1 - len, 0);
			if (n <= 0)
				goto done;
			len += (size_t)n;
			s->seen[len] = '\0';
		} while (strstr(s->seen, "END") == NULL); /* as every body here does */
		for (unsigned k = 0; s->parts[k] != NULL; k++) {
			send(fd, s->parts[k], strlen(s->parts[k]), MSG_NOSIGNAL);
			usleep(2000);
		}
	}
done:
	close(fd);
	return NULL;
}

static void server_start(struct server *s, const char *const *parts, unsigned rounds)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof at;

	*s = (struct server){.parts = parts, .rounds = rounds};
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(listen(s->listener, 4), 0);
	getsockname(s->listener, (struct sockaddr *)&at, &len);
	snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u", ntohs(at.sin_port));
	ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_end(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->listener);
}

static void next(struct pump *p, struct pump_event *e)
{
	for (int i = 0; i < 1000; i++)
		if (pump_next(p, LONG_US / 1000, e))
			return;
	ck_abort_msg("nothing comes");
}

START_TEST(answers)
{
	static const char *const parts[] = {"HTTP/1.1 200 OK\r\nContent-Type: x\r\nConte",
					    "nt-Length: 5\r\n\r", "\nhel", "lo", NULL};
	struct server s;
	struct pump_event e;
	struct pump *p = pump_new(1, -1);

	server_start(&s, parts, 3);
	ck_assert(pump_closed(p, 0));
	ck_assert_int_eq(pump_connect(p, 0, s.url), ERR_NONE);
	for (int i = 0; i < 3; i++) {
		ck_assert(pump_idle(p, 0));
		pump_post(p, 0, "/path?a=b", "X-One: 1\r\n", slice_str("body END"));
		ck_assert(!pump_idle(p, 0));
		next(p, &e);
		ck_assert_int_eq(e.kind, PUMP_REPLY);
		ck_assert_uint_eq(e.status, 200);
		ck_assert(slice_equal(e.body, slice_str("hello")));
		ck_assert_int_eq(strncmp(s.seen, "POST /path?a=b HTTP/1.1\r\n", 25), 0);
		ck_assert_ptr_nonnull(strstr(s.seen, "\r\nHost: 127.0.0.1:"));
		ck_assert_ptr_nonnull(
			strstr(s.seen, "\r\nContent-Length: 8\r\nX-One: 1\r\n\r\n"));
	}
	next(p, &e); /* it has closed */
	ck_assert_int_eq(e.kind, PUMP_BROKEN);
	ck_assert(!e.maybe_sent);
	ck_assert(pump_closed(p, 0));
	server_end(&s);
	pump_free(p);
}
END_TEST

START_TEST(last_answer)
{
	static const char *const parts[] = {
		"HTTP/1.1 503 No\r\nconnection: Close\r\ncontent-length: 2\r\n\r\nno", NULL};
	struct server s;
	struct pump_event e;
	struct pump *p = pump_new(1, -1);

	server_start(&s, parts, 1);
	ck_assert_int_eq(pump_connect(p, 0, s.url), ERR_NONE);
	pump_post(p, 0, "/", "", slice_str("END"));
	next(p, &e);
	ck_assert_int_eq(e.kind, PUMP_REPLY);
	ck_assert_uint_eq(e.status, 503);
	ck_assert(slice_equal(e.body, slice_str("no")));
	ck_assert(pump_closed(p, 0));
	server_end(&s);
	pump_free(p);
}
END_TEST

/* What is no answer breaks the connection, and the request may have been taken. */
START_TEST(no_answer)
{
	static const char *const bad[][3] = {
		{"rubbish\r\n\r\n", NULL},
		{"HTTP/1.1 200 OK\r\n\r\n", NULL},
		{"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", NULL},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", NULL},
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", NULL},
		{"HTTP/1.1 200 OK\r\n", "Content-Length: 3", NULL},
		{NULL},
	};
	struct server s;
	struct pump_event e;
	struct pump *p = pump_new(1, -1);

	server_start(&s, bad[_i], 1);
	ck_assert_int_eq(pump_connect(p, 0, s.url), ERR_NONE);
	pump_post(p, 0, "/", "", slice_str("END"));
	next(p, &e);
	ck_assert_int_eq(e.kind, PUMP_BROKEN);
	ck_assert(e.maybe_sent);
	ck_assert(pump_closed(p, 0));
	server_end(&s);
	pump_free(p);
}
END_TEST

START_TEST(nobody_there)
{
	static const char *const none[] = {NULL};
	struct server s;
	struct pump_event e;
	struct pump *p = pump_new(2, -1);

	server_start(&s, none, 0); /* to have a port that was free */
	ck_assert_int_eq(pump_connect(p, 1, s.url), ERR_NONE);
	next(p, &e); /* closes at once */
	ck_assert_uint_eq(e.connection, 1);
	server_end(&s);
	ck_assert_int_eq(pump_connect(p, 0, s.url), ERR_NONE);
	pump_post(p, 0, "/", "", slice_str("END"));
	next(p, &e);
	ck_assert_int_eq(e.kind, PUMP_BROKEN);
	ck_assert(!e.maybe_sent);
	ck_assert_int_eq(pump_connect(p, 0, "https://127.0.0.1:1"), ERR_SYNTAX);
	ck_assert_int_eq(pump_connect(p, 0, "http://"), ERR_SYNTAX);
	ck_assert_int_eq(pump_connect(p, 0, "http://127.0.0.1:1/path"), ERR_SYNTAX);
	ck_assert_int_eq(pump_connect(p, 0, "http://user@127.0.0.1:1"), ERR_SYNTAX);
	ck_assert(pump_closed(p, 0));
	pump_free(p);
}
END_TEST

/* What is given up makes no event, and the place can be used again. */
START_TEST(given_up)
{
	static const char *const silent[] = {NULL},
				 *const parts[] = {
					 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NULL};
	struct server s, t;
	struct pump_event e;
	struct pump *p = pump_new(1, -1);

	server_start(&s, silent, 2);
	server_start(&t, parts, 1);
	ck_assert_int_eq(pump_connect(p, 0, s.url), ERR_NONE);
	pump_post(p, 0, "/", "", slice_str("END"));
	ck_assert(!pump_next(p, 20000, &e));
	pump_close(p, 0);
	ck_assert_int_eq(pump_connect(p, 0, t.url), ERR_NONE);
	pump_post(p, 0, "/", "", slice_str("END"));
	next(p, &e);
	ck_assert_int_eq(e.kind, PUMP_REPLY);
	ck_assert_uint_eq(e.body.len, 0);
	pump_free(p);
	server_end(&s);
	server_end(&t);
}
END_TEST

Suite *pump_suite(void)
{
	Suite *s = suite_create("pump");
	TCase *t = tcase_create("connections");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, answers);
	tcase_add_test(t, last_answer);
	tcase_add_loop_test(t, no_answer, 0, 7);
	tcase_add_test(t, nobody_there);
	tcase_add_test(t, given_up);
	suite_add_tcase(s, t);
	return s;
}
