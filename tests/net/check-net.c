/* Real sockets on 127.0.0.1, several nodes in one process. */
#include <check.h>
#include <poll.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/random.h"
#include "harness.h"

struct goal {
	struct node *nodes;
	unsigned count;
	uint64_t messages;
};

static bool all_have(void *arg)
{
	struct goal *g = arg;

	for (unsigned i = 0; i < g->count; i++)
		if (g->nodes[i].messages < g->messages)
			return false;
	return true;
}

START_TEST(two_nodes)
{
	struct node n[2];
	uint16_t ports[2] = {0};

	cluster_open(n, 2, ports, NULL);
	ck_assert(all_up(n, 2));
	for (int i = 0; i < 1000; i++) {
		ck_assert(node_send(&n[0], 1, i % NET_CLASSES, 9 + (size_t)i));
		ck_assert(node_send(&n[1], 0, i % NET_CLASSES, 9 + (size_t)i * 7 % 300));
	}
	struct goal g = {n, 2, 1000};
	ck_assert(run_until(n, 2, all_have, &g));
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(n[i].messages, 1000);
		ck_assert_uint_eq(n[i].disorder, 0);
		ck_assert_uint_eq(n[i].ups, 1);
		ck_assert_uint_eq(n[i].downs, 0);
		struct net_peer_stats s = stats_of(&n[i], 1 - i);
		ck_assert_uint_eq(s.sent_messages, 1000);
		ck_assert_uint_eq(s.received_messages, 1000);
		ck_assert_uint_eq(s.resent_messages, 0);
		ck_assert_uint_eq(s.refused_frames, 0);
		ck_assert_uint_eq(s.connects, 1);
	}
	cluster_close(n, 2);
}
END_TEST

static Suite *net_suite(void)
{
	Suite *s = suite_create("net");
	TCase *t = tcase_create("loopback");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, two_nodes);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	harness_init();
	SRunner *r = srunner_create(net_suite());
	srunner_set_fork_status(r, CK_NOFORK); /* NNG panics after fork */
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
