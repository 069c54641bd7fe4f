/* Connections are handed to all of the API's threads, whatever opens them; without room for
 * another one it waits until there is some. */
#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/acceptor.h"
#include "node/api.h"
#include "node/config.h"

#define THREADS	    4
#define CONNECTIONS 8
#define FILES_MAX   256

static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct server {
	struct MHD_Daemon *daemon;
	struct acceptor *acceptor;
	struct sockaddr_in address;
	pthread_mutex_t lock;
	pthread_t served[2 * CONNECTIONS]; /* by whom, a request */
	unsigned requests;
};

static enum MHD_Result answer(void *cls, struct MHD_Connection *c, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *size, void **context)
{
	struct server *s = cls;
	if (!*context) { /* who answers before the request is here whole ends the connection */
		*context = s;
		return MHD_YES;
	}
	pthread_mutex_lock(&s->lock);
	ck_assert_uint_lt(s->requests, MEM_COUNT(s->served));
	s->served[s->requests++] = pthread_self();
	pthread_mutex_unlock(&s->lock);
	struct MHD_Response *r =
		MHD_create_response_from_buffer(2, (char *)"ok", MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result = MHD_queue_response(c, 200, r);
	MHD_destroy_response(r);
	return result;
}

static bool yes(void *ctx)
{
	return true;
}

static void nothing(void *ctx)
{
}

static const struct acceptor_host roomy = {NULL, yes, nothing};

static void start(struct server *s)
{
	struct node_peer_address at = {.port = 0};
	struct errmsg m;
	uint16_t port;
	int fd;

	*s = (struct server){0};
	pthread_mutex_init(&s->lock, NULL);
	strcpy(at.host, "127.0.0.1");
	ck_assert_int_eq(api_listen(&at, &fd, &port, &m), ERR_NONE);
	s->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	s->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
					     MHD_USE_NO_LISTEN_SOCKET,
				     0, NULL, NULL, answer, s, MHD_OPTION_THREAD_POOL_SIZE,
				     THREADS, MHD_OPTION_END);
	ck_assert_ptr_nonnull(s->daemon);
	s->acceptor = acceptor_start(s->daemon, fd, &roomy);
	ck_assert_ptr_nonnull(s->acceptor);
}

static void stop(struct server *s)
{
	MHD_stop_daemon(s->daemon);
	pthread_mutex_destroy(&s->lock);
}

static int new_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static bool dial(const struct server *s, int fd)
{
	return connect(fd, (const struct sockaddr *)&s->address, sizeof s->address) == 0;
}

static void ask(int fd)
{
	ck_assert_int_eq(write(fd, request, sizeof request - 1), sizeof request - 1);
}

static void expect_answer(int fd)
{
	char text[512];
	ck_assert_int_gt(read(fd, text, sizeof text), 0);
	ck_assert_int_eq(strncmp(text, "HTTP/1.1 200", 12), 0);
}

START_TEST(all_threads_serve)
{
	struct server s;
	int fd[CONNECTIONS];
	unsigned of_each[CONNECTIONS] = {0}, threads = 0;

	start(&s);
	/* Ours first, for it is by the numbers of its own that the server deals them out. */
	for (int i = 0; i < CONNECTIONS; i++)
		fd[i] = new_socket();
	for (int i = 0; i < CONNECTIONS; i++)
		ck_assert(dial(&s, fd[i]));
	for (int i = 0; i < CONNECTIONS; i++) {
		ask(fd[i]);
		expect_answer(fd[i]);
	}
	ck_assert_uint_eq(s.requests, CONNECTIONS);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		unsigned first = 0;
		while (!pthread_equal(s.served[first], s.served[i]))
			first++;
		threads += of_each[first]++ == 0;
	}
	ck_assert_uint_eq(threads, THREADS);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		ck_assert_uint_le(of_each[i], CONNECTIONS / THREADS + 1);
	for (int i = 0; i < CONNECTIONS; i++)
		close(fd[i]);
	acceptor_stop(s.acceptor);
	fd[0] = new_socket();
	ck_assert(!dial(&s, fd[0])); /* nobody listens any more */
	close(fd[0]);
	stop(&s);
}
END_TEST

/* A child of Check's own, so its limits are its own, too. */
START_TEST(waits_for_room)
{
	struct server s;
	struct rlimit limit = {FILES_MAX, FILES_MAX};
	int held[FILES_MAX], count = 0;

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	start(&s);
	int first = new_socket(), second = new_socket();
	ck_assert(dial(&s, first));
	ask(first);
	expect_answer(first);
	while ((held[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		count++;
	/* The kernel takes the connection; for a descriptor there is no room. */
	ck_assert(dial(&s, second));
	ask(second);
	struct pollfd wait = {.fd = second, .events = POLLIN};
	ck_assert_int_eq(poll(&wait, 1, 200), 0);
	ask(first); /* who is there already is served */
	expect_answer(first);
	while (count > 0)
		close(held[--count]);
	expect_answer(second);
	close(first);
	close(second);
	acceptor_stop(s.acceptor);
	stop(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("acceptor");
	TCase *tc = tcase_create("acceptor");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, all_threads_serve);
	tcase_add_test(tc, waits_for_room);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
