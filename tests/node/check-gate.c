/* Who may use the API, its connections, and the ring of events: the parts without a server. */
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/connections.h"
#include "node/events.h"
#include "node/gate.h"

/* ---- gate ----------------------------------------------------------------------------------
 */

static struct gate gate_of(const char *listen, const char *hosts)
{
	struct node_config c = {0};
	struct gate g;
	struct errmsg m;
	strcpy(c.api.host, listen);
	strcpy(c.api_hosts, hosts);
	ck_assert_int_eq(gate_open(&g, &c, &m), ERR_NONE);
	return g;
}

START_TEST(test_hosts)
{
	static const char *const good[] = {
		"localhost", "localhost:80", "LOCALHOST:7100", "127.0.0.1",   "127.9.9.9:1",
		"[::1]",     "[::1]:7100",   "a.example",      "A.Example:1", "b"};
	static const char *const bad[] = {"",
					  ":80",
					  "evil.example",
					  "localhost.evil.example",
					  "127.0.0.1.x",
					  "10.0.0.1",
					  "localhost:80x",
					  "localhost:80:90",
					  "[::1",
					  "[::2]",
					  "::1",
					  "a.example.evil",
					  "example",
					  "localhost ",
					  " localhost",
					  "user@localhost",
					  "0.0.0.0",
					  "2130706433",
					  "a.example,b",
					  "a.example, b"};
	struct gate g = gate_of("127.0.0.1", "a.example, b");
	for (size_t i = 0; i < MEM_COUNT(good); i++)
		ck_assert_msg(gate_host(&g, good[i]), "%s", good[i]);
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		ck_assert_msg(!gate_host(&g, bad[i]), "%s", bad[i]);
	ck_assert(!gate_host(&g, NULL));
	char *text = mem_alloc(5000);
	memset(text, 'a', 4999);
	text[4999] = 0;
	ck_assert(!gate_host(&g, text));
	mem_free(text);
	g = gate_of("0.0.0.0", ""); /* every address is ours, no name is */
	ck_assert(gate_host(&g, "10.0.0.1:7100") && gate_host(&g, "[2001:db8::1]"));
	ck_assert(!gate_host(&g, "evil.example"));
}
END_TEST

START_TEST(test_origins)
{
	struct gate g = gate_of("127.0.0.1", "ui.example");
	ck_assert(gate_origin(&g, NULL, "localhost:7100"));
	ck_assert(gate_origin(&g, "http://localhost:7100", "localhost:7100"));
	ck_assert(gate_origin(&g, "https://ui.example", "localhost:7100"));
	static const char *const bad[] = {"null",
					  "",
					  "http://localhost:7101",
					  "http://localhost",
					  "http://evil.example",
					  "ftp://localhost:7100",
					  "localhost:7100",
					  "http://",
					  "https://ui.example.evil"};
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		ck_assert_msg(!gate_origin(&g, bad[i], "localhost:7100"), "%s", bad[i]);
}
END_TEST

static int token_file(struct gate *g, const char *text, mode_t mode)
{
	struct node_config c = {0};
	struct errmsg m;
	strcpy(c.api.host, "0.0.0.0");
	strcpy(c.home, "/tmp");
	snprintf(c.token_file, sizeof c.token_file, "check-gate-%d", (int)getpid());
	char *path = mem_printf("/tmp/%s", c.token_file);
	FILE *f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
	ck_assert_int_eq(chmod(path, mode), 0);
	int err = gate_open(g, &c, &m);
	unlink(path);
	mem_free(path);
	return err;
}

START_TEST(test_tokens)
{
	struct gate g;
	ck_assert_int_eq(token_file(&g, "0123456789abcdef\n", 0600), ERR_NONE);
	ck_assert(g.needs_token);
	ck_assert(gate_token(&g, "Bearer 0123456789abcdef"));
	ck_assert(gate_token(&g, "bearer  0123456789abcdef"));
	static const char *const bad[] = {"",
					  "Bearer",
					  "Bearer ",
					  "Bearer 0123456789abcde",
					  "Bearer 0123456789abcdef0",
					  "Basic 0123456789abcdef",
					  "0123456789abcdef",
					  "Bearer 0123456789abcdeF"};
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		ck_assert_msg(!gate_token(&g, bad[i]), "%s", bad[i]);
	ck_assert(!gate_token(&g, NULL));
	ck_assert_int_eq(token_file(&g, "0123456789abcdef", 0640), ERR_PERMISSION);
	ck_assert_int_eq(token_file(&g, "0123456789abcde", 0600), ERR_CONFIG);
	ck_assert_int_eq(token_file(&g, "", 0600), ERR_CONFIG);
	ck_assert_int_eq(token_file(&g, "0123456789 abcdef", 0600), ERR_CONFIG);
	ck_assert_int_eq(token_file(&g, "0123456789\x01\x02\x03\x04\x05\x06\x07", 0600),
			 ERR_CONFIG);
	struct node_config c = {.token_file = "nowhere", .home = "/nonexistent"};
	struct errmsg m;
	ck_assert_int_eq(gate_open(&g, &c, &m), ERR_CONFIG);
}
END_TEST

/* ---- connections
 * ------------------------------------------------------------------------------ */

static struct sockaddr *address(const char *text)
{
	static struct sockaddr_in in;
	in = (struct sockaddr_in){.sin_family = AF_INET};
	ck_assert_int_eq(inet_pton(AF_INET, text, &in.sin_addr), 1);
	return (struct sockaddr *)&in;
}

struct pair {
	int ours, theirs;
	struct connection *x;
};

static struct pair join(struct connections *c, const char *from)
{
	int fd[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	return (struct pair){fd[0], fd[1], connections_add(c, fd[0], address(from))};
}

static bool is_cut(const struct pair *p)
{
	return recv(p->theirs, (char[1]){0}, 1, MSG_DONTWAIT) == 0;
}

static void leave(struct pair *p)
{
	connections_remove(p->x);
	close(p->ours);
	close(p->theirs);
}

START_TEST(test_displacement)
{
	struct connections_config config = {.max = 4};
	struct connections *c = connections_new(&config);
	struct pair p[9];
	p[0] = join(c, "10.0.0.1"); /* the only one of its address */
	p[1] = join(c, "127.0.0.1");
	p[2] = join(c, "127.0.0.1");
	p[3] = join(c, "127.0.0.1");
	connection_enter(p[1].x, CONNECTION_WORKING);
	connection_enter(p[2].x, CONNECTION_IDLE);
	/* Of the crowd's the one that has sent no request goes, though it is the youngest. */
	p[4] = join(c, "10.0.0.2");
	ck_assert(is_cut(&p[3]) && !is_cut(&p[0]) && !is_cut(&p[1]) && !is_cut(&p[2]));
	p[5] = join(c, "10.0.0.3"); /* then the idle one */
	ck_assert(is_cut(&p[2]) && !is_cut(&p[1]) && !is_cut(&p[0]) && !is_cut(&p[4]));
	p[6] = join(c, "10.0.0.4"); /* never one that works: the oldest of the others */
	ck_assert(!is_cut(&p[1]) && is_cut(&p[0]) && !is_cut(&p[4]) && !is_cut(&p[5]));
	connection_enter(p[4].x, CONNECTION_STREAMING);
	connection_enter(p[5].x, CONNECTION_WORKING);
	connection_enter(p[6].x, CONNECTION_WORKING);
	p[7] = join(c, "10.0.0.5"); /* nobody can go but itself */
	ck_assert(is_cut(&p[7]) && !is_cut(&p[1]) && !is_cut(&p[4]));
	struct connections_stats s;
	connections_stats(c, &s);
	ck_assert_uint_eq(s.open, 8);
	ck_assert_uint_eq(s.displaced, 4);
	ck_assert_uint_eq(s.phase[CONNECTION_WORKING], 3);
	for (int i = 0; i < 8; i++)
		leave(&p[i]);
	connections_free(c);
}
END_TEST

START_TEST(test_per_address)
{
	struct connections_config config = {.max = 100, .per_address = 2};
	struct connections *c = connections_new(&config);
	struct pair p[6];
	for (int i = 0; i < 2; i++) {
		ck_assert(connections_admit(c, address("10.0.0.1")));
		p[i] = join(c, "10.0.0.1");
	}
	ck_assert(!connections_admit(c, address("10.0.0.1")));
	ck_assert(connections_admit(c, address("10.0.0.2")));
	for (int i = 2; i < 6; i++) { /* loopback is everybody */
		ck_assert(connections_admit(c, address("127.0.0.1")));
		p[i] = join(c, "127.0.0.1");
	}
	leave(&p[0]);
	ck_assert(connections_admit(c, address("10.0.0.1")));
	for (int i = 1; i < 6; i++)
		leave(&p[i]);
	connections_free(c);
}
END_TEST

/* Who sends nothing is closed; who works is not. */
START_TEST(test_deadline)
{
	struct connections_config config = {.max = 4, .request_ms = 1};
	struct connections *c = connections_new(&config);
	struct pair works = join(c, "127.0.0.1"), silent = join(c, "127.0.0.1");
	connection_enter(works.x, CONNECTION_WORKING);
	char byte;
	ck_assert_int_eq(recv(silent.theirs, &byte, 1, 0), 0); /* waits for it */
	ck_assert(!is_cut(&works));
	leave(&works);
	leave(&silent);
	connections_free(c);
}
END_TEST

/* What is held for all of them has a limit; a little for each is always there. */
START_TEST(test_held)
{
	const size_t MIB = 1 << 20;
	struct connections_config config = {
		.max = 100,
		.grace_ms = 3600000,
		.held_max = {[HOLDING_BODY] = 8 * MIB, [HOLDING_ANSWER] = 4 * MIB}};
	struct connections *c = connections_new(&config);
	struct connections_stats s;
	struct pair p[20];
	for (int i = 0; i < 20; i++)
		p[i] = join(c, "127.0.0.1");
	ck_assert(connection_hold(p[0].x, HOLDING_ANSWER, 9 * MIB)); /* alone */
	ck_assert(!connection_hold(p[1].x, HOLDING_ANSWER, CONNECTION_FREE_BYTES + 1));
	ck_assert(connection_hold(p[1].x, HOLDING_BODY, MIB)); /* the other one's limit */
	ck_assert(connection_hold(p[0].x, HOLDING_ANSWER, 3 * MIB));
	ck_assert(connection_hold(p[1].x, HOLDING_ANSWER, MIB));
	ck_assert(!connection_hold(p[1].x, HOLDING_ANSWER, MIB + 1)); /* it has its MiB still */
	for (int i = 2; i < 20; i++)
		ck_assert(connection_hold(p[i].x, HOLDING_ANSWER, CONNECTION_FREE_BYTES));
	connections_stats(c, &s);
	ck_assert_uint_eq(s.held[HOLDING_ANSWER], 4 * MIB);
	connection_must_hold(p[2].x, HOLDING_ANSWER, 2 * MIB);
	connections_stats(c, &s);
	ck_assert_uint_eq(s.held[HOLDING_ANSWER], 6 * MIB);
	ck_assert(!connection_hold(p[3].x, HOLDING_ANSWER, MIB));
	leave(&p[2]); /* with what it holds */
	connection_must_hold(p[0].x, HOLDING_ANSWER, 0);
	ck_assert(connection_hold(p[3].x, HOLDING_ANSWER, 3 * MIB));
	for (int i = 0; i < 20; i++)
		ck_assert(i == 2 || !is_cut(&p[i])); /* all have time left */
	for (int i = 0; i < 20; i++)
		if (i != 2)
			leave(&p[i]);
	connections_stats(c, &s);
	ck_assert_uint_eq(s.held[HOLDING_ANSWER] + s.held[HOLDING_BODY], 0);
	connections_free(c);
}
END_TEST

/* Asks for more again and again, until somebody has been cut for it. */
static void press(struct connections *c, struct pair *who, enum holding what, size_t bytes)
{
	struct connections_stats before, after;
	connections_stats(c, &before);
	do {
		connection_must_hold(who->x, what, 0);
		connection_must_hold(who->x, what, bytes);
		connections_stats(c, &after);
	} while (after.displaced == before.displaced);
}

/* Who has been sending a large body, or reading a large answer, for longest makes way. */
START_TEST(test_holders_go)
{
	const size_t MIB = 1 << 20;
	for (int what = 0; what < HOLDINGS; what++) {
		enum connection_phase phase =
			what == HOLDING_BODY ? CONNECTION_READING : CONNECTION_WRITING;
		struct connections_config config = {
			.max = 100, .grace_ms = 1, .held_max = {8 * MIB, 8 * MIB}};
		struct connections *c = connections_new(&config);
		struct pair p[6];
		for (int i = 0; i < 6; i++)
			p[i] = join(c, "127.0.0.1");
		connection_must_hold(p[0].x, what,
				     MIB / 2); /* older, with less than its share */
		connection_enter(p[0].x, phase);
		connection_must_hold(p[1].x, what, 2 * MIB); /* the node has it */
		connection_enter(p[1].x, CONNECTION_WORKING);
		connection_must_hold(p[2].x, what, 3 * MIB / 2);
		connection_enter(p[2].x, phase);
		usleep(2000);				     /* so that their ages differ */
		connection_must_hold(p[3].x, what, 2 * MIB); /* younger, with more */
		connection_enter(p[3].x, phase);
		connection_enter(p[4].x, phase); /* with next to nothing */
		press(c, &p[5], what, MIB);
		ck_assert(is_cut(&p[2]));
		for (int i = 0; i < 6; i++)
			ck_assert(i == 2 || !is_cut(&p[i]));
		/* What is leaving counts as gone: nobody else is cut for it. */
		connection_must_hold(p[5].x, what, 0);
		connection_must_hold(p[5].x, what, MIB);
		ck_assert(!is_cut(&p[3]));
		press(c, &p[5], what, 2 * MIB);
		ck_assert(is_cut(&p[3]) && !is_cut(&p[0]) && !is_cut(&p[4]));
		ck_assert(!is_cut(&p[1]) && !is_cut(&p[5]));
		for (int i = 0; i < 6; i++)
			leave(&p[i]);
		connections_free(c);
	}
}
END_TEST

/* ---- cursors and the ring
 * ---------------------------------------------------------------------- */

START_TEST(test_cursors)
{
	struct cursor c;
	char text[CURSOR_TEXT_SIZE];
	unsigned types;
	ck_assert_int_eq(cursor_parse(&c, "12.3"), ERR_NONE);
	ck_assert(c.height == 12 && c.index == 3);
	ck_assert_str_eq(cursor_text(text, c), "12.3");
	ck_assert_int_eq(cursor_parse(&c, "12"), ERR_NONE);
	ck_assert(c.height == 11 && c.index == UINT64_MAX);
	ck_assert_int_eq(cursor_parse(&c, cursor_text(text, c)), ERR_NONE);
	ck_assert(c.height == 11 && c.index == UINT64_MAX);
	ck_assert_int_eq(cursor_parse(&c, "0"), ERR_NONE);
	ck_assert(c.height == 0 && c.index == 0);
	static const char *const bad[] = {"",
					  ".",
					  "1.",
					  ".1",
					  "1.2.3",
					  "-1",
					  "1.-1",
					  "a",
					  "99999999999999999999999",
					  "18446744073709551616",
					  "1.18446744073709551616",
					  " 1",
					  "1 "};
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		ck_assert_msg(cursor_parse(&c, bad[i]) != ERR_NONE, "%s", bad[i]);
	ck_assert_int_ne(cursor_parse(&c, NULL), ERR_NONE);
	ck_assert_int_eq(event_types_parse(&types, "txs,blocks"), ERR_NONE);
	ck_assert_uint_eq(types, EVENTS_CHAIN);
	static const char *const bad_types[] = {
		"", ",", "blocks,", ",blocks", "block", "blockss", "blocks,,txs", "blocks txs"};
	for (size_t i = 0; i < MEM_COUNT(bad_types); i++)
		ck_assert_int_ne(event_types_parse(&types, bad_types[i]), ERR_NONE);
}
END_TEST

static unsigned suspended, resumed;

static void on_suspend(struct subscriber *s)
{
	suspended++;
}

static void on_resume(struct subscriber *s)
{
	resumed++;
}

static struct json *number(unsigned i)
{
	struct json *o = json_object();
	json_set(o, "i", json_int(i));
	return o;
}

START_TEST(test_ring)
{
	struct events *e = events_new(1);
	struct subscriber s = {.suspend = on_suspend, .resume = on_resume}, more = s;
	struct cursor at, head, behind;
	struct event_taken t;
	events_begin(e, 7, 2);
	ck_assert(events_subscribe(e, &s, &at));
	ck_assert(at.height == 7 && at.index == 2);
	ck_assert(!events_subscribe(e, &more, &head)); /* one is the limit */
	suspended = resumed = 0;
	events_flush(e, 1);
	while (events_take(&s, &at, EVENTS_ALL, &t) == EVENT_STEP_BEAT)
		;
	ck_assert_uint_eq(suspended, 1);
	events_json(e, EVENT_CONSENSUS, number(0));
	ck_assert_uint_eq(resumed, 0);
	events_flush(e, 2);
	events_flush(e, 3);
	ck_assert_uint_eq(resumed, 1);
	ck_assert_int_eq(events_take(&s, &at, EVENTS_ALL, &t), EVENT_STEP_JSON);
	ck_assert(t.last.height == 7 && t.last.index == 3);
	ck_assert_str_eq(t.text, "{\"i\":0}");
	mem_free(t.text);
	behind = at = t.last;
	/* what is not wanted is passed over */
	events_json(e, EVENT_CONSENSUS, number(1));
	ck_assert_int_eq(events_take(&s, &at, 1u << EVENT_EVIDENCE, &t), EVENT_STEP_WAIT);
	ck_assert_uint_eq(at.index, 4);
	/* a reader that is overtaken is told, and the ring stays bounded */
	for (unsigned i = 0; i < EVENTS_RING_MAX + 10; i++)
		events_json(e, EVENT_CONSENSUS, number(i));
	ck_assert_int_eq(events_take(&s, &behind, EVENTS_ALL, &t), EVENT_STEP_LOST);
	ck_assert(cursor_before(behind, t.last) && cursor_before(t.last, t.middle));
	behind = t.last;
	unsigned left = 0;
	while (events_take(&s, &behind, EVENTS_ALL, &t) == EVENT_STEP_JSON) {
		ck_assert_uint_eq(t.last.index, behind.index + 1);
		behind = t.last;
		mem_free(t.text);
		left++;
	}
	ck_assert_uint_eq(left, EVENTS_RING_MAX);
	/* so it does in bytes */
	for (unsigned i = 0; i < 40; i++) {
		struct json *o = json_object();
		char *long_text = mem_alloc((1 << 20) + 1);
		memset(long_text, 'x', 1 << 20);
		long_text[1 << 20] = 0;
		json_set(o, "x", json_string(long_text));
		mem_free(long_text);
		events_json(e, EVENT_EVIDENCE, o);
	}
	ck_assert_int_eq(events_take(&s, &behind, EVENTS_ALL, &t), EVENT_STEP_LOST);
	behind = t.last;
	for (left = 0; events_take(&s, &behind, EVENTS_ALL, &t) == EVENT_STEP_JSON; left++) {
		behind = t.last;
		mem_free(t.text);
	}
	ck_assert(left >= EVENTS_BYTES_MAX / (2u << 20) && left <= EVENTS_BYTES_MAX >> 20);
	events_close(e);
	ck_assert_int_eq(events_take(&s, &behind, EVENTS_ALL, &t), EVENT_STEP_END);
	events_unsubscribe(&s);
	ck_assert(!events_subscribe(e, &more, &head));
	events_free(e);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gate");
	TCase *t = tcase_create("parts");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_hosts);
	tcase_add_test(t, test_origins);
	tcase_add_test(t, test_tokens);
	tcase_add_test(t, test_displacement);
	tcase_add_test(t, test_per_address);
	tcase_add_test(t, test_deadline);
	tcase_add_test(t, test_held);
	tcase_add_test(t, test_holders_go);
	tcase_add_test(t, test_cursors);
	tcase_add_test(t, test_ring);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
