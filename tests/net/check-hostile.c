/* Strangers, forgers and a validator that breaks the rules, beside peers that must not
 * notice. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "crypto/channel.h"
#include "harness.h"
#include "net/frame.h"
#include "suites.h"

/* --- a client by hand --- */

struct client {
	int fd;
	struct channel *channel;
};

static void put_prefixed(int fd, struct slice bytes)
{
	struct writer w = {0};

	writer_var(&w, bytes);
	raw_send(fd, w.buf, w.len);
	writer_free(&w);
}

/* The next length-prefixed piece; false: closed. */
static bool get_prefixed(int fd, uint8_t *buf, size_t cap, size_t *len)
{
	uint8_t prefix[4];

	if (!raw_recv(fd, prefix, 4))
		return false;
	ck_assert_int_eq(frame_prefix(slice_of(prefix, 4), cap, len), 1);
	return raw_recv(fd, buf, *len);
}

/* Shakes hands as identity; false: refused, or not the expected one at the other end. */
static bool client_open(struct client *c, uint16_t port, const struct keypair *identity,
			const struct hash *on, const struct pubkey *expect)
{
	uint8_t buf[CHANNEL_HANDSHAKE_MAX];
	struct slice in = {0};
	int rc = 0;

	c->fd = raw_connect(port);
	c->channel = channel_new(CHANNEL_INITIATOR, identity, on, expect);
	for (;;) {
		struct writer out = {0};

		rc = channel_handshake(c->channel, in, &out);
		if (rc >= 0 && out.len > 0)
			put_prefixed(c->fd, writer_slice(&out));
		writer_free(&out);
		if (rc != 0)
			return rc == 1;
		if (!get_prefixed(c->fd, buf, sizeof(buf), &in.len))
			return false;
		in.ptr = buf;
	}
}

static void client_close(struct client *c)
{
	close(c->fd);
	channel_free(c->channel);
}

static void client_put(struct client *c, struct slice plain)
{
	struct writer w = {0};

	writer_u32(&w, (uint32_t)(plain.len + CHANNEL_OVERHEAD));
	channel_seal(c->channel, plain, &w);
	raw_send(c->fd, w.buf, w.len);
	writer_free(&w);
}

static void client_frame(struct client *c, const struct frame *f)
{
	struct writer w = {0};

	frame_encode(&w, f);
	client_put(c, writer_slice(&w));
	writer_free(&w);
}

static void client_get(struct client *c, struct frame *f)
{
	static uint8_t buf[4096];
	struct slice plain;
	size_t len;

	ck_assert(get_prefixed(c->fd, buf, sizeof(buf), &len));
	ck_assert_int_eq(channel_open(c->channel, buf, len, &plain), ERR_NONE);
	ck_assert_int_eq(frame_decode(f, plain), ERR_NONE);
}

/* --- fixtures --- */

/* Nodes 0 and 1 work. Node 0 dials node 1, which would dial nodes 2 and 3; they are not
 * there. */
static struct node n[4];
static uint16_t ports[4];

static void setup(void)
{
	memset(ports, 0, sizeof(ports));
	node_open(&n[1], 1, 4, ports, NULL);
	node_open(&n[0], 0, 4, ports, NULL);
}

static void teardown(void)
{
	node_close(&n[0]);
	node_close(&n[1]);
}

static bool pair_up(void *arg)
{
	return stats_of(&n[0], 1).up && stats_of(&n[1], 0).up;
}

static bool pair_level(void *arg)
{
	return n[0].next_in[1][NET_CONSENSUS] == n[1].next_out[0][NET_CONSENSUS] &&
	       n[1].next_in[0][NET_CONSENSUS] == n[0].next_out[1][NET_CONSENSUS];
}

/* The working pair is there and passes messages; nobody else has got one in. */
static void assert_pair_works(void)
{
	ck_assert(run_until(n, 2, pair_up, NULL));
	for (int i = 0; i < 20; i++) {
		ck_assert(node_send(&n[0], 1, NET_CONSENSUS, 200));
		ck_assert(node_send(&n[1], 0, NET_CONSENSUS, 200));
	}
	ck_assert(run_until(n, 2, pair_level, NULL));
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(n[i].disorder, 0);
		ck_assert_uint_eq(n[i].messages, n[i].next_in[1 - i][NET_CONSENSUS]);
		for (unsigned other = 2; other < 4; other++)
			ck_assert_uint_eq(n[i].next_in[other][NET_CONSENSUS], 0);
	}
}

struct refusals {
	const struct node *node;
	uint64_t at_least;
};

static bool refused_so_many(void *arg)
{
	struct refusals *r = arg;

	return refused(r->node) >= r->at_least;
}

static void assert_refused(unsigned node, uint64_t before)
{
	struct refusals r = {&n[node], before + 1};

	ck_assert(run_until(n, 2, refused_so_many, &r));
}

/* --- handshakes --- */

/* The loop variable says what is wrong. */
START_TEST(wrong_credentials)
{
	const struct hash other = {.b = {1}};
	const struct {
		const struct keypair *who;
		const struct hash *on;
	} wrong[] = {
		{&keys[2], &other},	    /* a validator of another chain */
		{&keys[NODES_MAX], &chain}, /* an unknown key */
		{&keys[3], &chain},	    /* should have waited to be dialed */
	};
	uint64_t before = refused(&n[1]);
	struct client c;

	client_open(&c, ports[1], wrong[_i].who, wrong[_i].on, &keys[1].pub);
	ck_assert(raw_closed(c.fd));
	client_close(&c);
	assert_refused(1, before);
	assert_pair_works();
	ck_assert_uint_eq(stats_of(&n[1], 0).connects, 1);
}
END_TEST

/* We dial a peer and somebody else answers. */
START_TEST(impostor_answers)
{
	struct node dialer;
	uint16_t to[4] = {0, ports[1], ports[1], 0}; /* node 1 listens where 2 should */
	struct net_config stranger = {.identity = &keys[NODES_MAX]};

	node_open(&dialer, 0, 3, to, &stranger);
	while (refused(&dialer) == 0) /* node 2's key is not proved */
		node_take(&dialer, 1);
	ck_assert(!stats_of(&dialer, 2).up);
	ck_assert_uint_eq(stats_of(&dialer, 2).connects, 0);
	ck_assert_uint_eq(stats_of(&dialer, 1).connects, 0); /* refused by node 1 */
	node_close(&dialer);
	assert_pair_works();
}
END_TEST

START_TEST(reflected_to_itself)
{
	struct node self;
	static struct proxy proxy; /* its thread survives a test that fails */
	uint16_t mine[3] = {0};

	/* node 2 expects node 3 where its own listener is */
	uint16_t reserve[3] = {0};
	struct node placeholder;
	node_open(&placeholder, 2, 3, reserve, NULL);
	mine[2] = reserve[2];
	node_close(&placeholder);
	proxy_start(&proxy, mine[2]);
	uint16_t four[4] = {0, 0, mine[2], proxy.port};
	node_open(&self, 2, 4, four, NULL);
	while (refused(&self) == 0)
		node_take(&self, 1);
	ck_assert(!stats_of(&self, 3).up);
	ck_assert_uint_eq(self.ups, 0);
	node_close(&self);
	proxy_stop(&proxy);
}
END_TEST

START_TEST(garbage)
{
	struct random r;
	uint8_t buf[2000];

	random_seed(&r, 3);
	for (int i = 0; i < 40; i++) {
		uint64_t before = refused(&n[1]);
		int fd = raw_connect(ports[1]);

		for (size_t k = 0; k < sizeof(buf); k++)
			buf[k] = (uint8_t)random_u64(&r);
		if (i % 2) { /* a possible length, then garbage */
			static const uint8_t possible[4] = {0, 0, 0, CHANNEL_HELLO_SIZE};

			memcpy(buf, possible, 4);
		}
		raw_send(fd, buf, sizeof(buf));
		ck_assert(raw_closed(fd));
		close(fd);
		assert_refused(1, before);
	}
	assert_pair_works();
}
END_TEST

START_TEST(lying_length_prefix)
{
	static const uint8_t prefix[][4] = {
		{0, 0, 0, 0},
		{0, 0, 2, 1}, /* CHANNEL_HANDSHAKE_MAX + 1 */
		{0, 0x80, 0, 0},
		{0xff, 0xff, 0xff, 0xff},
	};

	ck_assert_int_eq(CHANNEL_HANDSHAKE_MAX, 0x200);
	/* The older, idle connection meets its deadline first, if deadlines were the reason. */
	int idle = raw_connect(ports[1]);
	for (size_t i = 0; i < MEM_COUNT(prefix); i++) {
		uint64_t before = refused(&n[1]);
		int fd = raw_connect(ports[1]);

		raw_send(fd, prefix[i], 4);
		ck_assert(raw_closed(fd)); /* without waiting for more */
		ck_assert(raw_is_open(idle));
		close(fd);
		assert_refused(1, before);
	}
	close(idle);
	assert_pair_works();
}
END_TEST

/* Half a HELLO, then silence: closed at the deadline, not kept. */
START_TEST(half_a_handshake)
{
	static const uint8_t half[10] = {0, 0, 0, CHANNEL_HELLO_SIZE};
	uint64_t before = refused(&n[1]);
	int fd = raw_connect(ports[1]);

	raw_send(fd, half, sizeof(half));
	assert_pair_works();
	ck_assert(raw_closed(fd));
	close(fd);
	assert_refused(1, before);
	assert_pair_works();
}
END_TEST

/* Every prefix of a valid first message, then closed by the client. */
START_TEST(truncated_hellos)
{
	struct writer out = {0};
	struct channel *c = channel_new(CHANNEL_INITIATOR, &keys[2], &chain, &keys[1].pub);

	ck_assert_int_eq(channel_handshake(c, slice_of(NULL, 0), &out), 0);
	struct writer w = {0};
	writer_var(&w, writer_slice(&out));
	for (size_t len = 0; len <= w.len; len++) {
		int fd = raw_connect(ports[1]);

		raw_send(fd, w.buf, len);
		close(fd);
	}
	channel_free(c);
	writer_free(&out);
	writer_free(&w);
	assert_pair_works();
}
END_TEST

/* Idle connections take all slots; whoever comes next displaces the oldest of them. */
START_TEST(idle_connections_do_not_lock_out)
{
	enum { IDLE = 200 };
	int fds[IDLE];

	ck_assert(run_until(n, 2, pair_up, NULL));
	for (int i = 0; i < IDLE; i++)
		fds[i] = raw_connect(ports[1]);
	ck_assert(raw_closed(fds[0]));
	ck_assert(raw_is_open(fds[IDLE - 1]));
	/* the pair is cut and comes back, though all slots are taken */
	net_block(n[0].net, 1, true);
	net_block(n[0].net, 1, false);
	assert_pair_works();
	ck_assert_uint_ge(stats_of(&n[1], 0).connects, 2);
	ck_assert_uint_ge(refused(&n[1]), IDLE - NET_HANDSHAKES_MAX);
	/* and a validator that was never there gets in */
	struct client c;
	ck_assert(client_open(&c, ports[1], &keys[0], &chain, &keys[1].pub));
	client_close(&c);
	for (int i = 0; i < IDLE; i++)
		close(fds[i]);
	assert_pair_works();
}
END_TEST

/* Connections that do speak: valid first messages, again and again, never finished. */
START_TEST(hello_flood)
{
	enum { FLOOD = 150 };
	int fds[FLOOD];
	struct writer out = {0}, w = {0};
	struct channel *c =
		channel_new(CHANNEL_INITIATOR, &keys[NODES_MAX], &chain, &keys[1].pub);

	ck_assert_int_eq(channel_handshake(c, slice_of(NULL, 0), &out), 0);
	writer_var(&w, writer_slice(&out)); /* one HELLO repeated: it proves nothing */
	for (int i = 0; i < FLOOD; i++) {
		fds[i] = raw_connect(ports[1]);
		raw_send(fds[i], w.buf, w.len);
		if (i % 50 == 25) {
			net_block(n[0].net, 1, true);
			net_block(n[0].net, 1, false);
		}
	}
	assert_pair_works();
	for (int i = 0; i < FLOOD; i++)
		close(fds[i]);
	channel_free(c);
	writer_free(&out);
	writer_free(&w);
	assert_pair_works();
}
END_TEST

/* --- replay --- */

START_TEST(replayed_session)
{
	struct node a, b;
	static struct proxy proxy; /* its thread survives a test that fails */
	uint16_t direct[2] = {0}, through[2] = {0};

	node_open(&b, 1, 2, direct, NULL);
	proxy_start(&proxy, direct[1]);
	through[1] = proxy.port;
	node_open(&a, 0, 2, through, NULL);
	while (!stats_of(&a, 1).up || !stats_of(&b, 0).up)
		node_take(&b, 1);
	for (int i = 0; i < 30; i++)
		ck_assert(node_send(&a, 1, NET_CONSENSUS, 300));
	while (b.messages < 30)
		node_take(&b, 1);
	pthread_mutex_lock(&proxy.lock);
	size_t len = proxy.record_len;
	uint8_t *record = mem_dup(proxy.record, len);
	pthread_mutex_unlock(&proxy.lock);
	ck_assert_uint_gt(len, 30 * 300);

	for (int round = 0; round < 3; round++) {
		uint64_t before = refused(&b), ups = b.ups, downs = b.downs;
		int fd = raw_connect(direct[1]);

		raw_send(fd, record, len);
		ck_assert(raw_closed(fd));
		close(fd);
		while (refused(&b) == before)
			node_take(&b, 1);
		while (node_take(&b, 0))
			;
		ck_assert_uint_eq(b.messages, 30);
		ck_assert_uint_eq(b.ups, ups); /* the real link does not notice */
		ck_assert_uint_eq(b.downs, downs);
		ck_assert_uint_eq(stats_of(&b, 0).connects, 1);
		if (round == 1) { /* then with the real one away */
			node_close(&a);
			while (b.downs == 0)
				node_take(&b, 1);
		}
	}
	mem_free(record);
	node_close(&b);
	proxy_stop(&proxy);
}
END_TEST

/* --- a validator that breaks the rules --- */

/* A connection of validator 0 to a node 1 of its own. */
struct rogue {
	struct node node;
	struct client client;
	struct frame greet;
};

/* The node has patience: how long the rogue takes to get ready is not what is tested. */
static void rogue_open(struct rogue *r)
{
	uint16_t at[2] = {0};
	struct net_config patient = {.keepalive_ms = 1000000};

	node_open(&r->node, 1, 2, at, &patient);
	ck_assert(client_open(&r->client, at[1], &keys[0], &chain, &keys[1].pub));
	client_get(&r->client, &r->greet);
	ck_assert_int_eq(r->greet.kind, FRAME_GREET);
}

static void rogue_close(struct rogue *r)
{
	client_close(&r->client);
	node_close(&r->node);
}

static void assert_thrown_out(struct rogue *r, uint64_t messages)
{
	ck_assert(raw_closed(r->client.fd));
	while (node_take(&r->node, 0))
		;
	ck_assert_uint_eq(r->node.messages, messages);
	ck_assert_uint_eq(stats_of(&r->node, 0).refused_frames, 1);
	ck_assert(!stats_of(&r->node, 0).up);
	ck_assert_uint_eq(refused(&r->node), 0); /* it did prove its key */
}

static const struct frame greet_frame = {.kind = FRAME_GREET, .instance = 77};

static struct frame numbered(uint8_t msg[9], uint64_t number)
{
	msg[0] = NET_CONSENSUS;
	store_be64(msg + 1, number);
	return (struct frame){.kind = FRAME_DATA,
			      .class = NET_CONSENSUS,
			      .seq = number,
			      .payload = slice_of(msg, 9)};
}

START_TEST(broken_rules)
{
	struct rogue r;
	uint8_t msg[9];
	struct frame good = numbered(msg, 1);
	uint64_t messages = 1;

	rogue_open(&r);
	if (_i == 0) { /* before GREET */
		client_frame(&r.client, &good);
		assert_thrown_out(&r, 0);
		rogue_close(&r);
		return;
	}
	client_frame(&r.client, &greet_frame);
	client_frame(&r.client, &good);
	switch (_i) {
	case 1:
		client_frame(&r.client, &greet_frame); /* again */
		break;
	case 2: /* a gap */
		good.seq = 3;
		client_frame(&r.client, &good);
		break;
	case 3: /* has what was never sent */
		client_frame(&r.client, &(struct frame){.kind = FRAME_ACK, .acks = {0, 1, 0}});
		break;
	case 4:
		good = numbered(msg, 2);
		good.ack = UINT64_MAX;
		client_frame(&r.client, &good);
		break;
	case 5: /* answers what was not asked */
		client_frame(&r.client, &(struct frame){.kind = FRAME_PONG, .number = 9999});
		break;
	case 6: /* no such kind */
		client_put(&r.client, slice_of("\x09zzzz", 5));
		break;
	case 7: /* nothing at all */
		client_put(&r.client, slice_of(NULL, 0));
		break;
	case 8: { /* a record that does not open */
		static const uint8_t forged[4 + 40] = {0, 0, 0, 40};

		raw_send(r.client.fd, forged, sizeof(forged));
		break;
	}
	case 9: { /* longer than any record */
		uint8_t prefix[4] = {(uint8_t)((FRAME_RECORD_MAX + 1) >> 24),
				     (uint8_t)((FRAME_RECORD_MAX + 1) >> 16),
				     (uint8_t)((FRAME_RECORD_MAX + 1) >> 8),
				     (uint8_t)(FRAME_RECORD_MAX + 1)};

		raw_send(r.client.fd, prefix, 4);
		break;
	}
	case 10: /* shorter than any record */
		raw_send(r.client.fd,
			 "\0\0\0\x10"
			 "0123456789abcdef",
			 20);
		break;
	case 11: /* repeats are dropped, not an offence; then one is */
		client_frame(&r.client, &good);
		client_frame(&r.client, &good);
		good = numbered(msg, 2);
		client_frame(&r.client, &good);
		messages = 2;
		good.class = NET_URGENT;
		good.seq = 2;
		client_frame(&r.client, &good);
		break;
	case 12: /* a class that is not */
		client_put(&r.client, slice_of("\x02\x03\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 18));
		break;
	default:
		ck_abort();
	}
	assert_thrown_out(&r, messages);
	ck_assert_uint_eq(r.node.disorder, 0);
	ck_assert_uint_eq(stats_of(&r.node, 0).received_messages, messages);
	rogue_close(&r);
}
END_TEST
#define BROKEN_RULES 13

/* It reads nothing and sends nothing but empty messages and pings: bounded all the same. */
START_TEST(empty_messages_fill_the_inbox)
{
	struct rogue r;
	struct writer w = {0};

	rogue_open(&r);
	client_frame(&r.client, &greet_frame);
	/* More than fits by count: the node must stop reading, not grow. */
	for (uint64_t seq = 1; seq <= 1200000; seq++) {
		uint8_t plain[FRAME_DATA_HEADER] = {FRAME_DATA, NET_BULK};

		store_be64(plain + 2, seq);
		writer_u32(&w, sizeof(plain) + CHANNEL_OVERHEAD);
		channel_seal(r.client.channel, slice_of(plain, sizeof(plain)), &w);
	}
	size_t sent = 0;
	/* Until nothing more fits for half a second; a busy machine may let the node begin
	 * late. */
	for (int full = 0, tries = 0; sent < w.len && tries < 12000; tries++) {
		if (full >= 100 && stats_of(&r.node, 0).received_messages > 1000)
			break;
		ssize_t k = send(r.client.fd, w.buf + sent, w.len - sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k > 0) {
			sent += (size_t)k;
			full = 0;
		} else {
			full++;
			poll(NULL, 0, 5);
		}
	}
	ck_assert_uint_lt(sent, w.len);
	uint64_t got = stats_of(&r.node, 0).received_messages;
	ck_assert_uint_gt(got, 1000);
	ck_assert_uint_lt(got, NET_INBOX_BYTES_MAX / 64);
	ck_assert(stats_of(&r.node, 0).up);
	writer_free(&w);
	rogue_close(&r);
}
END_TEST

/* Two processes with one validator's key: each new one displaces the other, nothing breaks. */
START_TEST(one_key_twice)
{
	struct rogue r;
	struct client second;
	struct frame f, greet = greet_frame;
	uint8_t msg[9];

	rogue_open(&r);
	client_frame(&r.client, &greet);
	f = numbered(msg, 1);
	client_frame(&r.client, &f);
	while (r.node.messages < 1)
		node_take(&r.node, 1);
	ck_assert(client_open(&second, net_port(r.node.net), &keys[0], &chain, &keys[1].pub));
	ck_assert(raw_closed(r.client.fd));
	client_get(&second, &f);
	ck_assert_uint_eq(f.instance, r.greet.instance);
	ck_assert_uint_eq(f.knows, 77);
	ck_assert_uint_eq(f.acks[NET_CONSENSUS], 1);
	greet.instance = 78; /* another process: numbers from 1 again */
	client_frame(&second, &greet);
	f = numbered(msg, 1);
	client_frame(&second, &f);
	memset(r.node.next_in, 0, sizeof(r.node.next_in));
	while (r.node.messages < 2)
		node_take(&r.node, 1);
	ck_assert_uint_eq(r.node.disorder, 0);
	ck_assert_uint_eq(stats_of(&r.node, 0).refused_frames, 0);
	client_close(&second);
	rogue_close(&r);
}
END_TEST

Suite *hostile_suite(void)
{
	Suite *s = suite_create("net-hostile");
	TCase *t = tcase_create("beside a working pair");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, wrong_credentials, 0, 3);
	tcase_add_test(t, impostor_answers);
	tcase_add_test(t, garbage);
	tcase_add_test(t, lying_length_prefix);
	tcase_add_test(t, half_a_handshake);
	tcase_add_test(t, truncated_hellos);
	tcase_add_test(t, idle_connections_do_not_lock_out);
	tcase_add_test(t, hello_flood);
	suite_add_tcase(s, t);
	t = tcase_create("alone");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, reflected_to_itself);
	tcase_add_test(t, replayed_session);
	tcase_add_loop_test(t, broken_rules, 0, BROKEN_RULES);
	tcase_add_test(t, empty_messages_fill_the_inbox);
	tcase_add_test(t, one_key_twice);
	suite_add_tcase(s, t);
	return s;
}
