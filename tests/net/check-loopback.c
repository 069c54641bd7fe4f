/* Nodes that behave, over connections that need not. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/random.h"
#include "harness.h"
#include "suites.h"

/* Every message sent between the nodes has arrived. */
static bool all_arrived(void *arg)
{
	struct all_nodes *a = arg;

	for (unsigned i = 0; i < a->count; i++)
		for (unsigned j = 0; j < a->count; j++)
			for (int c = 0; c < NET_CLASSES; c++)
				if (a->nodes[i].next_in[j][c] != a->nodes[j].next_out[i][c])
					return false;
	return true;
}

static void assert_all_arrive(struct node *nodes, unsigned count)
{
	struct all_nodes a = {nodes, count};

	ck_assert(run_until(nodes, count, all_arrived, &a));
	for (unsigned i = 0; i < count; i++)
		ck_assert_uint_eq(nodes[i].disorder, 0);
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
	assert_all_arrive(n, 2);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(n[i].messages, 1000);
		ck_assert_uint_eq(n[i].ups, 1);
		ck_assert_uint_eq(n[i].downs, 0);
		struct net_peer_stats s = stats_of(&n[i], 1 - i);
		ck_assert(s.up);
		ck_assert_uint_eq(s.sent_messages, 1000);
		ck_assert_uint_eq(s.received_messages, 1000);
		ck_assert_uint_eq(s.sent_bytes, stats_of(&n[1 - i], i).received_bytes);
		ck_assert_uint_eq(s.resent_messages, 0);
		ck_assert_uint_eq(s.refused_frames, 0);
		ck_assert_uint_eq(s.dropped_messages, 0);
		ck_assert_uint_eq(s.connects, 1);
		ck_assert_int_eq(strncmp(s.address, "127.0.0.1:", 10), 0);
		ck_assert_uint_eq(refused(&n[i]), 0);
	}
	cluster_close(n, 2);
}
END_TEST

/* What is held leaves when it is flushed at the latest, whole and in order; and what is sent
 * after the release leaves at once. */
START_TEST(held_back)
{
	struct node n[2];
	uint16_t ports[2] = {0};

	cluster_open(n, 2, ports, NULL);
	ck_assert(all_up(n, 2));
	net_hold(n[0].net);
	for (int i = 0; i < 100; i++)
		ck_assert(node_send(&n[0], 1, i % NET_CLASSES, 9 + (size_t)i));
	net_flush(n[0].net);
	assert_all_arrive(n, 2);
	ck_assert_uint_eq(n[1].messages, 100);
	ck_assert(node_send(&n[0], 1, NET_CONSENSUS, 100000));
	net_release(n[0].net);
	assert_all_arrive(n, 2);
	ck_assert(node_send(&n[0], 1, NET_CONSENSUS, 100));
	assert_all_arrive(n, 2);
	net_flush(n[0].net); /* nothing held: no effect */
	net_hold(n[0].net);
	net_block(n[0].net, 1, true); /* without a link it waits for the next one */
	ck_assert(node_send(&n[0], 1, NET_CONSENSUS, 100));
	net_release(n[0].net);
	net_block(n[0].net, 1, false);
	assert_all_arrive(n, 2);
	cluster_close(n, 2);
}
END_TEST

static bool acknowledged(void *arg)
{
	struct node *n = arg;
	struct net_peer_stats s = stats_of(n, 1);

	return s.queued_messages == 0 && s.queued_bytes == 0 && s.rtt_us != 0;
}

/* Acknowledgements and keepalives come without messages to ride on, and are not counted. */
START_TEST(quiet_link)
{
	struct node n[2];
	uint16_t ports[2] = {0};
	struct net_config quick = {.keepalive_ms = 50};

	cluster_open(n, 2, ports, &quick);
	ck_assert(all_up(n, 2));
	for (int i = 0; i < 10; i++)
		ck_assert(node_send(&n[0], 1, NET_CONSENSUS, 100));
	ck_assert(run_until(n, 2, acknowledged, &n[0]));
	while (node_take(&n[1], 0)) /* acknowledged is delivered, not taken */
		;
	ck_assert_uint_eq(n[1].messages, 10);
	ck_assert_uint_eq(stats_of(&n[1], 0).sent_messages, 0);
	ck_assert_uint_eq(stats_of(&n[0], 1).received_messages, 0);
	/* nothing waits, and the descriptor says so */
	struct pollfd p = {.fd = net_fd(n[1].net), .events = POLLIN};
	struct net_event e;
	ck_assert(!net_next(n[1].net, &e));
	ck_assert_int_eq(poll(&p, 1, 0), 0);
	cluster_close(n, 2);
}
END_TEST

/* Which of the two sides is wrong is nobody's to say; both must be told. */
static bool both_told(void *arg)
{
	struct node *nodes = arg;
	struct net_stats stats;

	net_stats(nodes[1].net, &stats);
	return stats.refusal_count > 0 && stats.refusal[0].count > 2 &&
	       strstr(stats_of(&nodes[0], 1).error, "refuses us") != NULL;
}

START_TEST(wrong_chain_is_named)
{
	struct node two[2];
	uint16_t at[NODES_MAX] = {0};
	struct net_stats stats;

	node_open(&two[1], 1, 2, at, NULL);
	chain.b[0] ^= 1;
	node_open(&two[0], 0, 2, at, NULL);
	chain.b[0] ^= 1;
	ck_assert(run_until(two, 2, both_told, two));
	net_stats(two[1].net, &stats);
	ck_assert_uint_eq(stats.refusal_count, 1);
	ck_assert_int_eq(stats.refusal[0].err, ERR_WRONG_CHAIN);
	ck_assert_str_eq(stats.refusal[0].address, "127.0.0.1");
	struct net_peer_stats s = stats_of(&two[0], 1);
	ck_assert_ptr_nonnull(strstr(s.error, err_text(ERR_WRONG_CHAIN)));
	ck_assert(s.dials && !s.up && !s.heard && s.failures > 0);
	ck_assert(!stats_of(&two[1], 0).dials);
	cluster_close(two, 2);
}
END_TEST

static bool clocks_known(void *arg)
{
	struct node *nodes = arg;

	return stats_of(&nodes[0], 1).clock_known && stats_of(&nodes[1], 0).clock_known;
}

START_TEST(clock_offset)
{
	struct node two[2];
	uint16_t at[NODES_MAX] = {0};
	struct net_config like = {.keepalive_ms = 50};

	cluster_open(two, 2, at, &like);
	ck_assert(run_until(two, 2, clocks_known, two));
	for (unsigned i = 0; i < 2; i++) { /* one machine, one clock */
		int64_t offset = stats_of(&two[i], 1 - i).clock_offset_ms;

		ck_assert_msg(offset > -3600000 && offset < 3600000, "%lld ms",
			      (long long)offset);
	}
	cluster_close(two, 2);
}
END_TEST

START_TEST(limits)
{
	struct node n[2];
	uint16_t ports[2] = {0};

	cluster_open(n, 2, ports, NULL);
	uint8_t *big = mem_zalloc(NET_MESSAGE_MAX + 1);
	ck_assert_int_eq(net_send(n[0].net, 1, NET_BULK, slice_of(big, NET_MESSAGE_MAX + 1)),
			 ERR_LIMIT);
	mem_free(big);
	ck_assert_int_eq(net_send(n[0].net, 0, NET_BULK, slice_of("x", 1)), ERR_UNREACHABLE);
	ck_assert(node_send(&n[0], 1, NET_BULK, NET_MESSAGE_MAX));
	ck_assert(node_send(&n[0], 1, NET_BULK, 9));
	ck_assert(node_send(&n[1], 0, NET_URGENT, NET_MESSAGE_MAX));
	assert_all_arrive(n, 2);
	ck_assert_int_eq(net_send(n[0].net, 1, NET_BULK, slice_of(NULL, 0)), ERR_NONE);
	cluster_close(n, 2);
}
END_TEST

START_TEST(bad_configurations)
{
	struct net_peer_config peers[2] = {{.key = keys[1].pub}, {.key = keys[1].pub}};
	struct net_config c = {.identity = &keys[0], .peer_count = 2, .peers = peers};
	struct errmsg m;
	struct net *net;

	ck_assert_int_eq(net_open(&net, &c, &m), ERR_CONFIG); /* one key twice */
	ck_assert_ptr_null(net);
	peers[1].key = keys[2].pub;
	peers[1].dial = true;
	ck_assert_int_eq(net_open(&net, &c, &m), ERR_CONFIG); /* dial whom? */
	c.peer_count = NET_PEERS_MAX + 1;
	ck_assert_int_eq(net_open(&net, &c, &m), ERR_LIMIT);
	c.peer_count = 1;
	ck_assert_int_eq(net_open(&net, &c, &m), ERR_NONE); /* does not listen: allowed */
	net_close(net);
	c.listen_host = "127.0.0.1";
	ck_assert_int_eq(net_open(&net, &c, &m), ERR_NONE);
	c.listen_port = net_port(net);
	ck_assert_uint_ne(c.listen_port, 0);
	struct net *second;
	ck_assert_int_eq(net_open(&second, &c, &m), ERR_EXISTS);
	ck_assert_ptr_null(second);
	ck_assert_ptr_nonnull(strstr(m.text, "in use"));
	net_close(net);
	net_close(NULL);
}
END_TEST

/* What was queued for a peer that is away reaches it, up to the queue's limit. */
START_TEST(peer_away)
{
	struct node n[2];
	uint16_t ports[2] = {0};

	cluster_open(n, 2, ports, NULL);
	node_close(&n[1]);
	unsigned sent = 0;
	while (node_send(&n[0], 1, NET_CONSENSUS, 50))
		sent++;
	ck_assert_uint_eq(sent, NET_QUEUE_MESSAGES_MAX);
	ck_assert(node_send(&n[0], 1, NET_URGENT, 50));
	struct net_peer_stats s = stats_of(&n[0], 1);
	ck_assert_uint_eq(s.dropped_messages, 1);
	ck_assert_uint_eq(s.queued_messages, NET_QUEUE_MESSAGES_MAX + 1);
	node_open(&n[1], 1, 2, ports, NULL);
	assert_all_arrive(n, 2);
	cluster_close(n, 2);
}
END_TEST

/* A restarted peer starts a new numbering; what it had acknowledged does not come again. */
START_TEST(peer_restarts)
{
	struct node n[2];
	uint16_t ports[2] = {0};

	cluster_open(n, 2, ports, NULL);
	for (unsigned life = 0; life < 4; life++) {
		unsigned who = life % 2; /* that starts again */

		ck_assert(all_up(n, 2));
		for (int i = 0; i < 100; i++) {
			ck_assert(node_send(&n[0], 1, i % NET_CLASSES, 20));
			ck_assert(node_send(&n[1], 0, i % NET_CLASSES, 20));
		}
		assert_all_arrive(n, 2);
		while (stats_of(&n[1 - who], who).queued_messages > 0)
			poll(NULL, 0, 1);
		node_close(&n[who]);
		node_open(&n[who], who, 2, ports, NULL);
		memset(n[1 - who].next_in, 0, sizeof(n[0].next_in));
		memset(n[1 - who].next_out, 0, sizeof(n[0].next_out));
	}
	cluster_close(n, 2);
}
END_TEST

/* Five nodes, all sending to all, while links between them are blocked and healed. */
START_TEST(blocked_links_heal)
{
	enum { N = 5, ROUNDS = 300 };
	struct node n[N];
	uint16_t ports[N] = {0};
	bool blocked[N][N] = {{0}};
	struct net_config quick = {.reconnect_min_ms = 2, .reconnect_max_ms = 10};
	struct random r;
	uint64_t downs = 0, connects = 0;

	random_seed(&r, 5);
	cluster_open(n, N, ports, &quick);
	ck_assert(all_up(n, N));
	for (int round = 0; round < ROUNDS; round++) {
		for (int k = 0; k < 40; k++) {
			unsigned from = (unsigned)random_below(&r, N);
			unsigned to = (from + 1 + (unsigned)random_below(&r, N - 1)) % N;

			node_send(
				&n[from], to, (enum net_class)random_below(&r, NET_CLASSES),
				9 + random_below(&r, random_chance(&r, 1, 50) ? 200000 : 400));
		}
		unsigned i = (unsigned)random_below(&r, N);
		unsigned j = (i + 1 + (unsigned)random_below(&r, N - 1)) % N;
		blocked[i][j] = !blocked[i][j] && random_chance(&r, 1, 2);
		net_block(n[i].net, j, blocked[i][j]);
		for (unsigned k = 0; k < N; k++)
			node_take(&n[k], k == 0);
	}
	for (unsigned i = 0; i < N; i++)
		for (unsigned j = 0; j < N; j++)
			if (blocked[i][j])
				net_block(n[i].net, j, false);
	assert_all_arrive(n, N);
	ck_assert(all_up(n, N));
	for (unsigned i = 0; i < N; i++) {
		downs += n[i].downs;
		for (unsigned j = 0; j < N; j++) {
			struct net_peer_stats s = stats_of(&n[i], j);

			connects += s.connects;
			ck_assert_uint_eq(s.refused_frames, 0);
		}
		ck_assert_uint_eq(refused(&n[i]), 0);
	}
	ck_assert_uint_gt(downs, 10);
	ck_assert_uint_gt(connects, N * (N - 1));
	cluster_close(n, N);
}
END_TEST

static bool none_up(void *arg)
{
	struct node *n = arg;

	return !stats_of(&n[0], 1).up && !stats_of(&n[1], 0).up;
}

START_TEST(blocked_stays_down)
{
	struct node n[2];
	uint16_t ports[2] = {0};
	struct net_config quick = {.reconnect_min_ms = 1, .reconnect_max_ms = 2};

	cluster_open(n, 2, ports, &quick);
	for (unsigned i = 0; i < 2; i++) { /* the dialing side blocks, then the other one */
		ck_assert(all_up(n, 2));
		uint64_t connects = stats_of(&n[0], 1).connects;

		net_block(n[i].net, 1 - i, true);
		ck_assert(run_until(n, 2, none_up, n));
		ck_assert(node_send(&n[0], 1, NET_CONSENSUS, 30));
		ck_assert(node_send(&n[1], 0, NET_CONSENSUS, 30));
		for (int k = 0; k < 100; k++) {
			node_take(&n[0], 1);
			node_take(&n[1], 0);
		}
		ck_assert(none_up(n));
		ck_assert_uint_eq(stats_of(&n[0], 1).connects, connects);
		ck_assert_uint_eq(n[0].next_in[1][NET_CONSENSUS], i);
		net_block(n[i].net, 1 - i, false);
		assert_all_arrive(n, 2);
	}
	cluster_close(n, 2);
}
END_TEST

static bool has_broken(struct node *n, struct proxy *proxy)
{
	return atomic_load(&proxy->connections) > 10 &&
	       stats_of(&n[0], 1).refused_frames + stats_of(&n[1], 0).refused_frames +
			       refused(&n[0]) + refused(&n[1]) >
		       0;
}

/* The proxy breaks connections in the middle of everything. */
START_TEST(connections_break)
{
	struct node n[2];
	static struct proxy proxy; /* its thread survives a test that fails */
	uint16_t ports[2] = {0}, through[2] = {0};
	struct net_config quick = {.reconnect_min_ms = 2, .reconnect_max_ms = 10};
	struct random r;

	random_seed(&r, 9);
	node_open(&n[1], 1, 2, ports, &quick);
	proxy_start(&proxy, ports[1]);
	through[1] = proxy.port;
	node_open(&n[0], 0, 2, through, &quick);
	/* on a busy machine the proxy comes late: until it has broken enough of them */
	for (int round = 0; round < 300 || (!has_broken(n, &proxy) && round < 1000000);
	     round++) {
		for (int k = 0; k < 20; k++) {
			node_send(&n[0], 1, (enum net_class)random_below(&r, NET_CLASSES),
				  9 + random_below(&r, 3000));
			node_send(&n[1], 0, (enum net_class)random_below(&r, NET_CLASSES),
				  9 + random_below(&r, 3000));
		}
		node_take(&n[0], 1);
		node_take(&n[1], 0);
		if (random_chance(&r, 1, 6))
			atomic_store(&proxy.cut, true);
		if (random_chance(&r, 1, 10)) /* an attacker on the path changes a bit */
			atomic_store(&proxy.flip_after, (long long)random_below(&r, 60000));
	}
	assert_all_arrive(n, 2);
	ck_assert(has_broken(n, &proxy));
	cluster_close(n, 2);
	proxy_stop(&proxy);
}
END_TEST

/* A peer that hangs up whenever it has shaken hands is not dialed faster than one that is away:
 * each delay is at least half of twice the one before. (That it is not longer is not judged.)
 */
START_TEST(flapping_peer)
{
	enum { CUTS = 7 };
	static const unsigned least_ms[CUTS] = {10, 20, 40, 80, 160, 320, 640};
	struct node n[2];
	static struct proxy proxy; /* its thread survives a test that fails */
	uint16_t ports[2] = {0}, through[2] = {0};
	struct net_config like = {.reconnect_min_ms = 20, .reconnect_max_ms = 3600000};

	node_open(&n[1], 1, 2, ports, &like);
	proxy_start(&proxy, ports[1]);
	through[1] = proxy.port;
	node_open(&n[0], 0, 2, through, &like);
	ck_assert(all_up(n, 2));
	for (unsigned i = 0; i < CUTS; i++) {
		struct timespec before, after;
		unsigned connections = atomic_load(&proxy.connections);
		clock_gettime(CLOCK_MONOTONIC, &before);
		atomic_store(&proxy.cut, true);
		while (atomic_load(&proxy.connections) == connections) {
			node_take(&n[0], 1);
			node_take(&n[1], 0);
		}
		clock_gettime(CLOCK_MONOTONIC, &after);
		double ms = (double)(after.tv_sec - before.tv_sec) * 1e3 +
			    (double)(after.tv_nsec - before.tv_nsec) / 1e6;
		ck_assert_msg(ms >= least_ms[i], "dialed again after %.1f ms, attempt %u", ms,
			      i);
		ck_assert(all_up(n, 2));
	}
	assert_all_arrive(n, 2);
	cluster_close(n, 2);
	proxy_stop(&proxy);
}
END_TEST

struct wait {
	struct node *nodes;
	uint64_t downs;
};

static bool both_down(void *arg)
{
	struct wait *w = arg;

	return w->nodes[0].downs >= w->downs && w->nodes[1].downs >= w->downs;
}

/* A connection that is dead but never closed is noticed by its silence, on both sides. */
START_TEST(half_open_connection)
{
	struct node n[2];
	static struct proxy proxy; /* its thread survives a test that fails */
	uint16_t ports[2] = {0}, through[2] = {0};
	struct net_config quick = {.keepalive_ms = 100};

	node_open(&n[1], 1, 2, ports, &quick);
	proxy_start(&proxy, ports[1]);
	through[1] = proxy.port;
	node_open(&n[0], 0, 2, through, &quick);
	ck_assert(all_up(n, 2));
	atomic_store(&proxy.mute, true);
	for (int i = 0; i < 10; i++) {
		ck_assert(node_send(&n[0], 1, NET_CONSENSUS, 20));
		ck_assert(node_send(&n[1], 0, NET_CONSENSUS, 20));
	}
	struct wait w = {n, 1};
	ck_assert(run_until(n, 2, both_down, &w));
	ck_assert_uint_eq(n[0].messages + n[1].messages, 0);
	atomic_store(&proxy.mute, false);
	assert_all_arrive(n, 2);
	ck_assert_uint_gt(stats_of(&n[0], 1).resent_messages, 0);
	cluster_close(n, 2);
	proxy_stop(&proxy);
}
END_TEST

/* The dialing side gives up a connection that the other still takes for good. */
START_TEST(newest_connection_wins)
{
	struct node n[2];
	static struct proxy proxy; /* its thread survives a test that fails */
	uint16_t ports[2] = {0}, through[2] = {0};
	struct net_config quick = {.keepalive_ms = 400}, patient = {.keepalive_ms = 1000000};

	node_open(&n[1], 1, 2, ports, &patient);
	proxy_start(&proxy, ports[1]);
	through[1] = proxy.port;
	node_open(&n[0], 0, 2, through, &quick);
	ck_assert(all_up(n, 2));
	atomic_store(&proxy.mute, true);
	ck_assert(node_send(&n[0], 1, NET_CONSENSUS, 20));
	ck_assert(node_send(&n[1], 0, NET_CONSENSUS, 20));
	while (n[0].downs == 0)
		node_take(&n[0], 1);
	ck_assert(stats_of(&n[1], 0).up);
	ck_assert_uint_eq(stats_of(&n[1], 0).connects, 1);
	atomic_store(&proxy.mute, false);
	assert_all_arrive(n, 2);
	ck_assert(all_up(n, 2));
	ck_assert_uint_eq(stats_of(&n[1], 0).connects, 2);
	ck_assert_uint_eq(n[1].downs, 1);
	cluster_close(n, 2);
	proxy_stop(&proxy);
}
END_TEST

/* A peer that does not take its messages holds up the sender, and nothing is lost. */
START_TEST(slow_reader)
{
	struct node n[2];
	uint16_t ports[2] = {0};
	struct net_config quick = {.keepalive_ms = 400}; /* three are 1.2 s, the stall is 4 s */
	size_t accepted = 0;

	cluster_open(n, 2, ports, &quick);
	ck_assert(all_up(n, 2));
	/* Until the sender's queue stays full: then inbox and sockets are full too. */
	for (int full = 0; full < 800;) {
		if (node_send(&n[0], 1, NET_BULK, 50000)) {
			accepted += 50000;
			full = 0;
		} else {
			full++;
			poll(NULL, 0, 5);
		}
		ck_assert_uint_lt(accepted, (size_t)NET_QUEUE_BYTES_MAX + NET_INBOX_BYTES_MAX +
						    (64u << 20));
	}
	ck_assert_uint_ge(accepted, (size_t)NET_QUEUE_BYTES_MAX + NET_INBOX_BYTES_MAX / 2);
	struct net_peer_stats s = stats_of(&n[1], 0);
	ck_assert_uint_le(s.received_bytes, NET_INBOX_BYTES_MAX);
	ck_assert_uint_eq(s.connects, 1); /* alive all the time, on both sides */
	ck_assert_uint_eq(stats_of(&n[0], 1).connects, 1);
	/* the other direction passes meanwhile */
	for (int i = 0; i < 50; i++)
		ck_assert(node_send(&n[1], 0, NET_CONSENSUS, 100));
	while (n[0].messages < 50)
		node_take(&n[0], 1);
	assert_all_arrive(n, 2);
	ck_assert_uint_eq(stats_of(&n[0], 1).resent_messages, 0);
	ck_assert_uint_eq(n[1].downs, 0);
	cluster_close(n, 2);
}
END_TEST

/* The link is lost while the receiver is stalled with frames in hand. */
START_TEST(stalled_link_breaks)
{
	struct node n[2];
	uint16_t ports[2] = {0};

	cluster_open(n, 2, ports, NULL);
	for (int round = 0; round < 3; round++) {
		ck_assert(all_up(n, 2));
		for (int full = 0; full < 50;) {
			if (node_send(&n[0], 1, NET_BULK, 50000)) {
				full = 0;
			} else {
				full++;
				poll(NULL, 0, 2);
			}
		}
		net_block(n[round % 2].net, 1 - round % 2, true);
		net_block(n[round % 2].net, 1 - round % 2, false);
		assert_all_arrive(n, 2);
	}
	cluster_close(n, 2);
}
END_TEST

/* Closing while everything is under way: no callback may touch what is gone (sanitizers). */
START_TEST(close_at_any_moment)
{
	struct random r;
	struct net_config quick = {.reconnect_min_ms = 1, .reconnect_max_ms = 3};

	random_seed(&r, 11);
	for (int round = 0; round < 60; round++) {
		struct node n[3];
		uint16_t ports[3] = {0};

		cluster_open(n, 3, ports, &quick);
		for (uint64_t k = random_below(&r, 200); k > 0; k--) {
			unsigned i = (unsigned)random_below(&r, 3);
			unsigned j = (i + 1 + (unsigned)random_below(&r, 2)) % 3;

			node_send(&n[i], j, NET_CONSENSUS, 9 + random_below(&r, 20000));
			if (random_chance(&r, 1, 10))
				net_block(n[i].net, j, random_chance(&r, 1, 2));
			if (random_chance(&r, 1, 10))
				node_take(&n[i], 1);
		}
		cluster_close(n, 3);
	}
}
END_TEST

static bool is_refused(void *arg)
{
	struct node *n = arg;

	return !n->up[1 - n->self] && stats_of(n, 1 - n->self).failures + refused(n) >= 2;
}

/* Node 1 - who gets a new key: the other one closes the link with the old one, takes nobody for
 * it who has that, and then the holder of the new one. */
START_TEST(new_key_of_a_peer)
{
	unsigned who = (unsigned)_i, other = 1 - who;
	struct keypair old = keys[other];
	struct node n[2];
	uint16_t ports[2] = {0};

	cluster_open(n, 2, ports, NULL);
	ck_assert(all_up(n, 2));
	ck_assert_int_eq(net_set_key(n[who].net, other, &old.pub), ERR_NONE); /* no change */
	ck_assert(stats_of(&n[who], other).up);
	ck_assert_int_eq(net_set_key(n[who].net, other, &keys[who].pub), ERR_EXISTS);
	ck_assert(stats_of(&n[who], other).up);
	ck_assert_int_eq(net_set_key(n[who].net, other, &keys[NODES_MAX].pub), ERR_NONE);
	ck_assert(run_until(n, 2, is_refused, &n[who]));
	ck_assert(!stats_of(&n[who], other).up);
	node_close(&n[other]);
	keys[other] = keys[NODES_MAX];
	node_open(&n[other], other, 2, ports, NULL);
	memset(n[who].next_in, 0, sizeof n[who].next_in); /* it is another one */
	memset(n[who].next_out, 0, sizeof n[who].next_out);
	ck_assert(all_up(n, 2));
	for (int i = 0; i < 100; i++) {
		ck_assert(node_send(&n[0], 1, i % NET_CLASSES, 100));
		ck_assert(node_send(&n[1], 0, i % NET_CLASSES, 100));
	}
	assert_all_arrive(n, 2);
	keys[other] = old;
	cluster_close(n, 2);
}
END_TEST

Suite *loopback_suite(void)
{
	Suite *s = suite_create("net-loopback");
	TCase *t = tcase_create("loopback");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, two_nodes);
	tcase_add_test(t, held_back);
	tcase_add_test(t, quiet_link);
	tcase_add_test(t, wrong_chain_is_named);
	tcase_add_test(t, clock_offset);
	tcase_add_test(t, limits);
	tcase_add_test(t, bad_configurations);
	tcase_add_test(t, peer_away);
	tcase_add_test(t, peer_restarts);
	tcase_add_loop_test(t, new_key_of_a_peer, 0, 2);
	tcase_add_test(t, blocked_links_heal);
	tcase_add_test(t, blocked_stays_down);
	tcase_add_test(t, connections_break);
	tcase_add_test(t, flapping_peer);
	tcase_add_test(t, half_open_connection);
	tcase_add_test(t, newest_connection_wins);
	tcase_add_test(t, slow_reader);
	tcase_add_test(t, stalled_link_breaks);
	tcase_add_test(t, close_at_any_moment);
	suite_add_tcase(s, t);
	return s;
}
