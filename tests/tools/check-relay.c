/* The relay of live runs: what goes in comes out, late, held back or not at all, and in order.
 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "tools/lab/relay.h"

#define A 3
#define B 5

static struct relay *r;
static int listener, a, b; /* a: who dials, through the relay; b: the other end */
static uint16_t port;
static struct errmsg m;

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int listen_anywhere(uint16_t *at)
{
	struct sockaddr_in x = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof x;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&x, sizeof x), 0);
	ck_assert_int_eq(listen(fd, 64), 0);
	getsockname(fd, (struct sockaddr *)&x, &size);
	*at = ntohs(x.sin_port);
	return fd;
}

static int dial(void)
{
	struct sockaddr_in x = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&x, sizeof x), 0);
	return fd;
}

static void set(unsigned from, unsigned to, struct relay_way way)
{
	relay_set(r, from, to, &way);
}

static void setup(void)
{
	uint16_t target;
	ck_assert_int_eq(relay_open(&r, 7, &m), ERR_NONE);
	listener = listen_anywhere(&target);
	ck_assert_int_eq(relay_link(r, A, B, target, &port, &m), ERR_NONE);
	a = dial();
	b = accept(listener, NULL, NULL);
	ck_assert_int_ge(b, 0);
}

static void teardown(void)
{
	relay_close(r);
	close(a);
	close(b);
	close(listener);
}

static bool readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return poll(&p, 1, ms) == 1;
}

static void put(int fd, const void *bytes, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = send(fd, (const char *)bytes + done, len - done, MSG_NOSIGNAL);
		ck_assert_int_gt(n, 0);
		done += (size_t)n;
	}
}

static void expect(int fd, const void *bytes, size_t len)
{
	char *got = malloc(len);
	for (size_t done = 0; done < len;) {
		ssize_t n = recv(fd, got + done, len - done, 0);
		ck_assert_int_gt(n, 0);
		done += (size_t)n;
	}
	ck_assert(memcmp(got, bytes, len) == 0);
	free(got);
}

static unsigned char *noise(size_t len)
{
	struct random random;
	unsigned char *bytes = malloc(len);
	random_seed(&random, len);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)random_u64(&random);
	return bytes;
}

START_TEST(test_passes_both_ways)
{
	const size_t len = 700001;
	unsigned char *bytes = noise(len);
	struct relay_stats stats;
	pid_t child = fork();
	if (child == 0) { /* the other end, at its own pace */
		for (size_t done = 0; done < len;) {
			char echo[7777];
			ssize_t n = recv(b, echo, sizeof echo, 0);
			if (n <= 0 || send(b, echo, (size_t)n, 0) != n)
				_exit(1);
			done += (size_t)n;
		}
		_exit(0);
	}
	for (size_t done = 0; done < len;) {
		size_t n = len - done < 30000 ? len - done : 30000;
		put(a, bytes + done, n);
		expect(a, bytes + done, n);
		done += n;
	}
	relay_stats(r, &stats);
	ck_assert_uint_eq(stats.bytes, 2 * len);
	ck_assert_uint_eq(stats.held, 0);
	ck_assert_uint_eq(stats.connections, 1);
	ck_assert_uint_eq(stats.lost, 0);
	free(bytes);
}
END_TEST

START_TEST(test_delays_and_keeps_the_order)
{
	set(A, B, (struct relay_way){.delay_min_us = 60000, .delay_max_us = 60000});
	double begin = now_ms();
	put(b, "back", 4);
	expect(a, "back", 4);
	put(a, "there", 5);
	expect(b, "there", 5);
	ck_assert(now_ms() - begin >= 60);
	set(A, B, (struct relay_way){.delay_min_us = 0, .delay_max_us = 30000});
	unsigned char *bytes = noise(200);
	for (unsigned i = 0; i < 40; i++) {
		put(a, bytes + 5 * i, 5);
		usleep(300);
	}
	expect(b, bytes, 200);
	free(bytes);
}
END_TEST

START_TEST(test_cuts_one_way)
{
	set(A, B, (struct relay_way){.cut = true});
	put(a, "held", 4);
	put(b, "through", 7);
	expect(a, "through", 7);
	ck_assert(!readable(b, 200));
	set(A, B, (struct relay_way){0});
	expect(b, "held", 4);
}
END_TEST

START_TEST(test_the_end_is_cut_too)
{
	set(A, B, (struct relay_way){.cut = true});
	put(a, "last words", 10);
	close(a);
	ck_assert(!readable(b, 200));
	set(A, B, (struct relay_way){.delay_min_us = 30000, .delay_max_us = 30000});
	expect(b, "last words", 10);
	char c;
	ck_assert_int_eq(recv(b, &c, 1, 0), 0);
	a = dup(listener);
}
END_TEST

START_TEST(test_the_end_comes_behind_the_last_byte)
{
	set(A, B, (struct relay_way){.delay_min_us = 100000, .delay_max_us = 100000});
	put(a, "bye", 3);
	close(a);
	expect(b, "bye", 3);
	char c;
	ck_assert_int_eq(recv(b, &c, 1, 0), 0);
	a = dup(listener);
}
END_TEST

START_TEST(test_no_connection_through_a_cut)
{
	set(B, A, (struct relay_way){.cut = true});
	int late = dial(), given_up = dial();
	put(late, "hello", 5);
	ck_assert(!readable(listener, 200));
	close(given_up);
	usleep(50000);
	set(B, A, (struct relay_way){0});
	int fd = accept(listener, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	expect(fd, "hello", 5);
	ck_assert(!readable(listener, 200)); /* nobody dials for who has given up */
	close(fd);
	close(late);
}
END_TEST

/* A writer that is not read is held up, with no more memory than the limit. */
static void fill(size_t most)
{
	struct relay_stats stats;
	unsigned char *bytes = noise(1 << 20);
	size_t sent = 0;
	fcntl(a, F_SETFL, O_NONBLOCK);
	for (unsigned quiet = 0; quiet < 20;) {
		ssize_t n = send(a, bytes + sent % 65536, 65536 - sent % 65536, MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t)n;
		quiet = n > 0 ? 0 : quiet + 1;
		if (n <= 0)
			usleep(10000);
		ck_assert_uint_lt(sent, 64u << 20);
	}
	relay_stats(r, &stats);
	ck_assert_uint_gt(sent, 0);
	ck_assert_uint_le(stats.held_max, most);
	set(A, B, (struct relay_way){0});
	fcntl(a, F_SETFL, 0);
	for (size_t done = 0; done < sent;) {
		size_t n = 65536 - done % 65536;
		n = n < sent - done ? n : sent - done;
		expect(b, bytes + done % 65536, n);
		done += n;
	}
	relay_stats(r, &stats);
	ck_assert_uint_eq(stats.held, 0);
	free(bytes);
}

START_TEST(test_what_is_held_is_bounded)
{
	set(A, B, (struct relay_way){.cut = true});
	fill(RELAY_HOLD_MAX + RELAY_PIECE + 64);
}
END_TEST

START_TEST(test_a_slow_reader_is_bounded)
{
	fill(RELAY_HOLD_MAX + RELAY_PIECE + 64);
}
END_TEST

START_TEST(test_throttles)
{
	struct relay_stats stats;
	unsigned char *bytes = noise(100000);
	set(A, B, (struct relay_way){.bytes_per_s = 200000});
	double begin = now_ms();
	put(a, bytes, 100000);
	expect(b, bytes, 100000);
	ck_assert(now_ms() - begin >= 499);
	relay_stats(r, &stats);
	ck_assert_uint_le(stats.held_max, 200000 / 4 + RELAY_PIECE + 64);
	free(bytes);
}
END_TEST

START_TEST(test_losses_are_delays)
{
	struct relay_stats stats = {0};
	unsigned char *bytes = noise(20);
	double took = 0;
	set(A, B, (struct relay_way){.loss_per_mille = 300});
	for (unsigned i = 0; i < 1000 && !stats.lost; i++) {
		double begin = now_ms();
		put(a, bytes, 20);
		expect(b, bytes, 20);
		took = now_ms() - begin;
		relay_stats(r, &stats);
	}
	ck_assert_uint_eq(stats.lost, 1);
	ck_assert(took >= RELAY_RTO_US / 1000);
	free(bytes);
}
END_TEST

START_TEST(test_resets_both_ends)
{
	struct relay_stats stats;
	char c;
	relay_reset(r, A, 1);
	relay_reset(r, 2, B);
	put(a, "x", 1);
	expect(b, "x", 1);
	relay_reset(r, B, A);
	ck_assert_int_eq(recv(a, &c, 1, 0), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	ck_assert_int_eq(recv(b, &c, 1, 0), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	relay_stats(r, &stats);
	ck_assert_uint_eq(stats.resets, 1);
	int fd = dial(), other = accept(listener, NULL, NULL); /* and the link goes on */
	put(fd, "again", 5);
	expect(other, "again", 5);
	close(fd);
	close(other);
}
END_TEST

START_TEST(test_an_end_that_is_gone)
{
	char c;
	close(b);
	ck_assert_int_le(recv(a, &c, 1, 0), 0);
	close(listener);
	int fd = dial(); /* the relay takes it, and finds nobody */
	ck_assert_int_le(recv(fd, &c, 1, 0), 0);
	close(fd);
	b = dup(a);
	listener = dup(a);
}
END_TEST

START_TEST(test_connections_are_bounded)
{
	enum { MANY = RELAY_CONNECTIONS_MAX + 6 };
	int fd[MANY], other[MANY];
	close(a);
	set(A, B, (struct relay_way){.cut = true});
	for (unsigned i = 0; i < MANY; i++)
		fd[i] = dial();
	set(A, B, (struct relay_way){0});
	for (unsigned i = 0; i < MANY; i++) {
		other[i] = accept(listener, NULL, NULL); /* waits for room */
		ck_assert_int_ge(other[i], 0);
		if (i >= 6)
			continue;
		close(fd[i]);
		fd[i] = -1;
	}
	for (unsigned i = 0; i < MANY; i++) {
		close(other[i]);
		if (fd[i] >= 0)
			close(fd[i]);
	}
	a = dup(b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("relay");
	TCase *t = tcase_create("relay");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_passes_both_ways);
	tcase_add_test(t, test_delays_and_keeps_the_order);
	tcase_add_test(t, test_cuts_one_way);
	tcase_add_test(t, test_the_end_is_cut_too);
	tcase_add_test(t, test_the_end_comes_behind_the_last_byte);
	tcase_add_test(t, test_no_connection_through_a_cut);
	tcase_add_test(t, test_what_is_held_is_bounded);
	tcase_add_test(t, test_a_slow_reader_is_bounded);
	tcase_add_test(t, test_throttles);
	tcase_add_test(t, test_losses_are_delays);
	tcase_add_test(t, test_resets_both_ends);
	tcase_add_test(t, test_an_end_that_is_gone);
	tcase_add_test(t, test_connections_are_bounded);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
