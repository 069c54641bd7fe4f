/* The order of effects. The engine here is a script: each step logs what it was given and plays
 * the next prepared output, so that a whole conversation reads as one line of text. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "consensus/driver.h"

#define SCRIPT_MAX 64

struct engine {
	struct output script[SCRIPT_MAX];
	unsigned length, next;
};

static struct {
	char text[65536];
	size_t len;
	bool durable_at_once;
	struct driver *driver;
	void (*in_send)(const struct message *m);
	void (*in_persist)(uint64_t seq);
	void (*in_work)(const struct work *w);
} host;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(host.text + host.len, sizeof host.text - host.len, fmt, ap);
	va_end(ap);
	ck_assert_int_lt(n, (int)(sizeof host.text - host.len));
	host.len += (size_t)n;
}

static void expect_said(const char *text)
{
	ck_assert_str_eq(host.text, text);
	host.len = 0;
	host.text[0] = 0;
}

/* The engine's public calls, in place of src/consensus/engine.c. */
void engine_step(struct engine *e, const struct input *in, struct output *out)
{
	switch (in->kind) {
	case INPUT_TICK:
		say("tick ");
		break;
	case INPUT_MESSAGE:
		say("got(%u,%.*s) ", in->message.from, (int)in->message.bytes.len,
		    (const char *)in->message.bytes.ptr);
		break;
	case INPUT_SUBMIT:
		say("submit(%.*s) ", (int)in->submit.bytes.len,
		    (const char *)in->submit.bytes.ptr);
		break;
	case INPUT_RESIGN:
		say("resign ");
		break;
	case INPUT_MEMBER:
		say("member(%.*s) ", (int)in->member.len, (const char *)in->member.ptr);
		break;
	case INPUT_DURABLE:
		say("durable(%d) ", (int)in->durable);
		break;
	case INPUT_BUILT:
		say("built(%.*s", (int)in->built.body.len, (const char *)in->built.body.ptr);
		for (uint32_t i = 0; i < in->built.refused_count; i++)
			say(",%02x:%d", in->built.refused[i].b[31], in->built.refused_err[i]);
		say(") ");
		break;
	case INPUT_EXECUTED:
		say("executed(%d) ", in->executed.err);
		break;
	case INPUT_TXS_CHECKED:
		say("checked(");
		for (uint32_t i = 0; i < in->txs_checked.count; i++)
			say("%d,", in->txs_checked.err[i]);
		say(") ");
		break;
	case INPUT_BLOCKS_READ:
		say("read(");
		for (uint32_t i = 0; i < in->blocks_read.count; i++)
			say("%d,", (int)in->blocks_read.blocks[i]->sh.h.height);
		say("cert %d,tc %d) ",
		    in->blocks_read.cert ? (int)in->blocks_read.cert->ref.height : -1,
		    in->blocks_read.tc ? (int)in->blocks_read.tc->term : -1);
		break;
	}
	if (e->next < e->length)
		*out = e->script[e->next++];
}

void engine_free(struct engine *e)
{
	mem_free(e);
}

static bool on_persist(void *ctx, const struct write *writes, uint32_t count, uint64_t seq,
		       bool sync)
{
	say("persist(%d%s) ", (int)seq, sync ? "" : ",lazy");
	if (host.in_persist)
		host.in_persist(seq);
	return host.durable_at_once || !sync;
}

static void on_send(void *ctx, const struct message *m)
{
	say("send(%.*s) ", (int)m->bytes.len, (const char *)m->bytes.ptr);
	if (host.in_send)
		host.in_send(m);
}

static void on_final(void *ctx, const struct final_block *f)
{
	say("final(%d/%d) ", (int)f->block->sh.h.height, (int)f->cert->ref.height);
}

static void on_work(void *ctx, const struct work *w)
{
	say("work(%d) ", (int)w->id);
	if (host.in_work)
		host.in_work(w);
}

static void on_rejected(void *ctx, const struct rejected_tx *r)
{
	say("rejected(%d) ", r->err);
}

static void on_halted(void *ctx, const char *why)
{
	say("halted(%s) ", why);
}

static struct driver *start(const struct output *script, unsigned length)
{
	memset(&host, 0, sizeof host);
	struct engine *e = mem_zalloc(sizeof *e);
	ck_assert_uint_le(length, SCRIPT_MAX);
	memcpy(e->script, script, length * sizeof *script);
	e->length = length;
	host.driver = driver_new(e, &(struct driver_host){
					    .persist = on_persist,
					    .send = on_send,
					    .final = on_final,
					    .work = on_work,
					    .rejected = on_rejected,
					    .halted = on_halted,
				    });
	return host.driver;
}

static void tick(struct driver *d)
{
	driver_input(d, &(struct input){.kind = INPUT_TICK});
}

static void durable(struct driver *d, uint64_t seq)
{
	driver_durable(d, seq, 0, 0);
}

static struct block *block_at(uint64_t height)
{
	struct block *b = NULL;
	struct writer body = {0};
	body_begin(&body);
	body_end(&body, 0);
	struct signed_header sh = {
		.h = {.mode = MODE_FAST, .height = height, .body_size = (uint32_t)body.len}};
	merkle_root(&sh.h.tx_root, NULL, 0);
	ck_assert_int_eq(block_new(&b, &sh, writer_slice(&body)), ERR_NONE);
	writer_free(&body);
	return b;
}

static const struct write one_write[1] = {{.kind = WRITE_VOTES}};
#define WRITES(n) .writes = one_write, .write_count = 1, .write_seq = (n), .sync = true
#define SENDS(...)                                                                             \
	.messages = (const struct message[]){__VA_ARGS__},                                     \
	.message_count =                                                                       \
		sizeof((const struct message[]){__VA_ARGS__}) / sizeof(struct message)
#define TEXT(t)                                                                                \
	{                                                                                      \
		.bytes = {(const uint8_t *)(t), sizeof(t) - 1 }                                \
	}
#define EARLY(t)                                                                               \
	{                                                                                      \
		.bytes = {(const uint8_t *)(t), sizeof(t) - 1}, .before_durable = true         \
	}

START_TEST(no_message_leaves_before_its_writes_are_durable)
{
	const struct output script[] = {{WRITES(1), SENDS(TEXT("a"), TEXT("b"))}};
	struct driver *d = start(script, 1);
	tick(d);
	expect_said("tick persist(1) ");
	durable(d, 1);
	expect_said("send(a) send(b) durable(1) ");
	driver_free(d);
}
END_TEST

START_TEST(durable_at_once_sends_at_once_and_the_engine_hears_of_it_afterwards)
{
	const struct output script[] = {{WRITES(1), SENDS(TEXT("a"))}, {SENDS(TEXT("b"))}};
	struct driver *d = start(script, 2);
	host.durable_at_once = true;
	tick(d);
	expect_said("tick persist(1) send(a) durable(1) send(b) ");
	driver_free(d);
}
END_TEST

START_TEST(messages_without_writes_wait_for_earlier_outputs)
{
	const struct output script[] = {
		{WRITES(1), SENDS(TEXT("a"))},
		{SENDS(TEXT("b"))},
		{WRITES(2), SENDS(TEXT("c"))},
		{SENDS(TEXT("d"))},
	};
	struct driver *d = start(script, 4);
	for (int i = 0; i < 4; i++)
		tick(d);
	expect_said("tick persist(1) tick tick persist(2) tick ");
	durable(d, 1);
	expect_said("send(a) send(b) durable(1) ");
	durable(d, 2);
	expect_said("send(c) send(d) durable(2) ");
	tick(d);
	expect_said("tick ");
	driver_free(d);
}
END_TEST

START_TEST(one_report_of_durability_covers_all_before_it)
{
	const struct output script[] = {
		{WRITES(1), SENDS(TEXT("a"))},
		{WRITES(2), SENDS(TEXT("b"))},
		{WRITES(5), SENDS(TEXT("c"))},
	};
	struct driver *d = start(script, 3);
	for (int i = 0; i < 3; i++)
		tick(d);
	expect_said("tick persist(1) tick persist(2) tick persist(5) ");
	durable(d, 2);
	expect_said("send(a) send(b) durable(2) ");
	durable(d, 1); /* an older sync that ends later says nothing new */
	durable(d, 2);
	expect_said("");
	durable(d, 5);
	expect_said("send(c) durable(5) ");
	driver_free(d);
}
END_TEST

START_TEST(before_durable_overtakes_and_nothing_else_does)
{
	const struct output script[] = {
		{WRITES(1), SENDS(TEXT("a"), EARLY("B"), TEXT("c"))},
		{SENDS(EARLY("D"), TEXT("e"))},
		{SENDS(EARLY("F"))},
	};
	struct driver *d = start(script, 3);
	tick(d);
	expect_said("tick persist(1) send(B) ");
	tick(d);
	expect_said("tick send(D) ");
	tick(d);
	expect_said("tick send(F) ");
	durable(d, 1);
	expect_said("send(a) send(c) send(e) durable(1) ");
	driver_free(d);
}
END_TEST

/* Their certificates stand without this disk; but none overtakes one that waits. */
START_TEST(finals_do_not_wait_for_the_disk)
{
	struct block *b1 = block_at(1), *b2 = block_at(2), *b3 = block_at(3);
	struct cert *c = mem_zalloc(sizeof *c);
	c->ref.height = 9;
	const struct final_block f1 = {b1, c}, f2 = {b2, c}, f3 = {b3, c};
	const struct output script[] = {
		{WRITES(1), SENDS(TEXT("a")), .finals = &f1, .final_count = 1},
		{.finals = &f2, .final_count = 1, .finals_wait = true},
		{.finals = &f3, .final_count = 1},
	};
	struct driver *d = start(script, 3);
	tick(d);
	expect_said("tick persist(1) final(1/9) ");
	tick(d);
	expect_said("tick ");
	tick(d);
	expect_said("tick ");
	durable(d, 1);
	expect_said("send(a) final(2/9) final(3/9) durable(1) ");
	block_drop(b1);
	block_drop(b2);
	block_drop(b3);
	mem_free(c);
	driver_free(d);
}
END_TEST

START_TEST(finals_that_wait_follow_the_messages)
{
	struct block *b1 = block_at(1), *b2 = block_at(2), *b3 = block_at(3);
	struct cert *c2 = mem_zalloc(sizeof *c2), *c3 = mem_zalloc(sizeof *c3);
	c2->ref.height = 2;
	c3->ref.height = 3;
	const struct final_block finals[] = {{b1, c2}, {b2, c2}, {b3, c3}};
	const struct output script[] = {
		{WRITES(1), SENDS(TEXT("a")), .finals = finals, .final_count = 3,
		 .finals_wait = true},
		{.finals = finals, .final_count = 1},
	};
	struct driver *d = start(script, 2);
	tick(d);
	expect_said("tick persist(1) ");
	/* Outputs live until the next step only: what waits is a copy. */
	block_drop(b2);
	block_drop(b3);
	memset(c2, 0xee, sizeof *c2);
	mem_free(c3);
	durable(d, 1);
	expect_said("send(a) final(1/2) final(2/2) final(3/3) durable(1) final(1/-286331154) ");
	block_drop(b1);
	mem_free(c2);
	driver_free(d);
}
END_TEST

START_TEST(held_bytes_are_copies)
{
	char bytes[] = "before";
	struct message m = {.bytes = slice_of(bytes, 6)};
	const struct output script[] = {{WRITES(1), .messages = &m, .message_count = 1}};
	struct driver *d = start(script, 1);
	tick(d);
	memcpy(bytes, "after!", 6);
	durable(d, 1);
	expect_said("tick persist(1) send(before) durable(1) ");
	driver_free(d);
}
END_TEST

START_TEST(lazy_writes_hold_nothing_back_and_are_not_reported)
{
	const struct output script[] = {
		{.writes = one_write, .write_count = 1, .write_seq = 1, SENDS(TEXT("a"))},
		{WRITES(2), SENDS(TEXT("b"))},
		{.writes = one_write, .write_count = 1, .write_seq = 3, SENDS(TEXT("c"))},
	};
	struct driver *d = start(script, 3);
	tick(d);
	expect_said("tick persist(1,lazy) send(a) ");
	tick(d);
	tick(d);
	expect_said("tick persist(2) tick persist(3,lazy) ");
	durable(d, 2);
	expect_said("send(b) send(c) durable(2) ");
	driver_free(d);
}
END_TEST

static void answer_executed(const struct work *w)
{
	driver_input(host.driver,
		     &(struct input){.kind = INPUT_EXECUTED, .executed = {.err = (int)w->id}});
}

START_TEST(work_goes_at_once_and_its_answer_is_the_next_step)
{
	const struct work works[] = {{.kind = WORK_EXECUTE, .id = 1},
				     {.kind = WORK_EXECUTE, .id = 2}};
	const struct rejected_tx rejected[] = {{.err = -42}};
	const struct output script[] = {
		{WRITES(1), SENDS(TEXT("a")), .works = works, .work_count = 2,
		 .rejected = rejected, .rejected_count = 1},
	};
	struct driver *d = start(script, 1);
	host.in_work = answer_executed;
	tick(d);
	expect_said("tick persist(1) work(1) work(2) rejected(-42) executed(1) executed(2) ");
	durable(d, 1);
	expect_said("send(a) durable(1) ");
	driver_free(d);
}
END_TEST

/* Everything a host may hand in from inside a callback, from memory that is gone right after.
 */
static void answer_everything(const struct work *w)
{
	char bytes[16];
	struct input in = {.kind = INPUT_MESSAGE, .message = {.from = 3}};
	strcpy(bytes, "hello");
	in.message.bytes = slice_of(bytes, 5);
	driver_input(host.driver, &in);
	strcpy(bytes, "tx");
	in = (struct input){.kind = INPUT_SUBMIT, .submit = {.bytes = slice_of(bytes, 2)}};
	driver_input(host.driver, &in);
	struct hash ids[2] = {{.b = {[31] = 0x17}}, {.b = {[31] = 0x2a}}};
	int errs[3] = {-5, -6, -7};
	strcpy(bytes, "body!");
	in = (struct input){.kind = INPUT_BUILT,
			    .built = {.body = slice_of(bytes, 5),
				      .refused = ids,
				      .refused_err = errs,
				      .refused_count = 2}};
	driver_input(host.driver, &in);
	in = (struct input){.kind = INPUT_TXS_CHECKED,
			    .txs_checked = {.err = errs, .count = 3}};
	driver_input(host.driver, &in);
	struct block *blocks[2] = {block_at(8), block_at(9)};
	struct cert *cert = mem_zalloc(sizeof *cert);
	struct term_cert *tc = mem_zalloc(sizeof *tc);
	term_cert_init(tc);
	cert->ref.height = 9;
	tc->term = 4;
	in = (struct input){
		.kind = INPUT_BLOCKS_READ,
		.blocks_read = {.blocks = blocks, .count = 2, .cert = cert, .tc = tc}};
	driver_input(host.driver, &in);
	in.blocks_read.cert = NULL;
	in.blocks_read.tc = NULL;
	in.blocks_read.count = 0;
	driver_input(host.driver, &in);
	tick(host.driver);
	memset(bytes, 'x', sizeof bytes);
	memset(ids, 0, sizeof ids);
	memset(errs, 0, sizeof errs);
	block_drop(blocks[0]);
	block_drop(blocks[1]);
	mem_free(cert);
	term_cert_free(tc);
	mem_free(tc);
	say("queued ");
}

START_TEST(inputs_from_inside_a_callback_are_deep_copied)
{
	const struct work work = {.id = 7};
	const struct output script[] = {{.works = &work, .work_count = 1}};
	for (int round = 0; round < 2; round++) {
		struct driver *d = start(script, 1);
		host.in_work = answer_everything;
		tick(d);
		expect_said("tick work(7) queued got(3,hello) submit(tx) "
			    "built(body!,17:-5,2a:-6) checked(-5,-6,-7,) "
			    "read(8,9,cert 9,tc 4) read(cert -1,tc -1) tick ");
		driver_free(d);
	}
}
END_TEST

static void durable_inside_persist(uint64_t seq)
{
	durable(host.driver, seq);
}

START_TEST(durability_may_be_reported_from_inside_persist)
{
	const struct output script[] = {{WRITES(1), SENDS(TEXT("a"))},
					{WRITES(2), SENDS(TEXT("b"))}};
	struct driver *d = start(script, 2);
	host.in_persist = durable_inside_persist;
	tick(d);
	expect_said("tick persist(1) send(a) durable(1) persist(2) send(b) durable(2) ");
	driver_free(d);
}
END_TEST

static void tick_inside_send(const struct message *m)
{
	tick(host.driver);
}

START_TEST(an_input_from_inside_send_waits_for_the_whole_output)
{
	const struct output script[] = {{SENDS(TEXT("a"), TEXT("b"))}};
	struct driver *d = start(script, 1);
	host.in_send = tick_inside_send;
	tick(d);
	expect_said("tick send(a) send(b) tick tick ");
	driver_free(d);
}
END_TEST

START_TEST(a_halt_keeps_the_writes_and_stops_all_else)
{
	const struct work work = {.id = 7};
	const struct output script[] = {
		{WRITES(1), SENDS(TEXT("a"))},
		{WRITES(2), SENDS(EARLY("b"), TEXT("c")), .works = &work, .work_count = 1,
		 .halt = "diverged"},
		{SENDS(TEXT("never"))},
	};
	struct driver *d = start(script, 3);
	tick(d);
	ck_assert(!driver_halted(d));
	tick(d);
	expect_said("tick persist(1) tick persist(2) halted(diverged) ");
	ck_assert(driver_halted(d));
	durable(d, 2);
	tick(d);
	driver_halt(d, "again");
	expect_said("");
	ck_assert_uint_eq(driver_wake_at(d), UINT64_MAX);
	driver_free(d);
}
END_TEST

static void halt_inside_send(const struct message *m)
{
	tick(host.driver);
	driver_halt(host.driver, "host");
}

START_TEST(a_halt_by_the_host_stops_in_the_middle)
{
	const struct work work = {.id = 7};
	const struct output script[] = {
		{SENDS(TEXT("a"), TEXT("b")), .works = &work, .work_count = 1},
	};
	struct driver *d = start(script, 1);
	host.in_send = halt_inside_send;
	tick(d);
	expect_said("tick send(a) halted(host) ");
	driver_free(d);
}
END_TEST

START_TEST(wake_at_is_that_of_the_last_step)
{
	const struct output script[] = {
		{.wake_at = 500}, {.wake_at = 300}, {.wake_at = UINT64_MAX}};
	struct driver *d = start(script, 3);
	tick(d);
	ck_assert_uint_eq(driver_wake_at(d), 500);
	tick(d);
	ck_assert_uint_eq(driver_wake_at(d), 300);
	tick(d);
	ck_assert_uint_eq(driver_wake_at(d), UINT64_MAX);
	driver_free(d);
}
END_TEST

/* Random scripts against the rule itself: when "m<k>" leaves, every synced write up to k's
 * output is durable, and those that wait leave in the order in which they were made. */
static struct {
	unsigned needs[SCRIPT_MAX]; /* write_seq that output i's message waits for */
	uint64_t durable;
	int last;
	unsigned sent;
} rule;

static void check_rule(const struct message *m)
{
	int i = atoi((const char *)m->bytes.ptr);
	ck_assert_uint_lt((unsigned)i, SCRIPT_MAX);
	rule.sent++;
	if (m->before_durable)
		return;
	ck_assert_int_gt(i, rule.last);
	ck_assert_uint_le(rule.needs[i], rule.durable);
	rule.last = i;
}

START_TEST(random_scripts_keep_the_rule)
{
	static char names[SCRIPT_MAX][8];
	struct message messages[SCRIPT_MAX];
	struct output script[SCRIPT_MAX];
	struct random r;
	random_seed(&r, (uint64_t)_i);
	unsigned seq = 0, durable_seq = 0;
	memset(&rule, 0, sizeof rule);
	rule.last = -1;
	for (unsigned i = 0; i < SCRIPT_MAX; i++) {
		script[i] = (struct output){0};
		if (random_chance(&r, 1, 2)) {
			script[i] = (struct output){WRITES(++seq)};
			script[i].sync = random_chance(&r, 3, 4);
		}
		rule.needs[i] = script[i].sync ? seq : i ? rule.needs[i - 1] : 0;
		snprintf(names[i], sizeof names[i], "%u ", i);
		messages[i] = (struct message){.bytes = slice_str(names[i]),
					       .before_durable = random_chance(&r, 1, 8)};
		script[i].messages = &messages[i];
		script[i].message_count = 1;
	}
	struct driver *d = start(script, SCRIPT_MAX);
	host.in_send = check_rule;
	for (unsigned i = 0; i < SCRIPT_MAX; i++) {
		/* The steps that durability causes take from the script as well. */
		struct engine *e = driver_engine(d);
		if (e->next == e->length)
			break;
		tick(d);
		unsigned handed = e->next ? rule.needs[e->next - 1] : 0;
		if (random_chance(&r, 1, 3) && handed > durable_seq) {
			durable_seq = (unsigned)random_between(&r, durable_seq + 1, handed);
			rule.durable = durable_seq;
			durable(d, durable_seq);
		}
		host.len = 0;
	}
	struct engine *e = driver_engine(d);
	while (rule.durable < rule.needs[e->next - 1]) {
		rule.durable = rule.needs[e->next - 1];
		durable(d, rule.durable);
	}
	ck_assert_uint_eq(rule.sent, e->next);
	ck_assert_uint_gt(rule.sent, SCRIPT_MAX / 2);
	driver_free(d);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("driver");
	TCase *t = tcase_create("order of effects");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, no_message_leaves_before_its_writes_are_durable);
	tcase_add_test(t, durable_at_once_sends_at_once_and_the_engine_hears_of_it_afterwards);
	tcase_add_test(t, messages_without_writes_wait_for_earlier_outputs);
	tcase_add_test(t, one_report_of_durability_covers_all_before_it);
	tcase_add_test(t, before_durable_overtakes_and_nothing_else_does);
	tcase_add_test(t, finals_do_not_wait_for_the_disk);
	tcase_add_test(t, finals_that_wait_follow_the_messages);
	tcase_add_test(t, held_bytes_are_copies);
	tcase_add_test(t, lazy_writes_hold_nothing_back_and_are_not_reported);
	tcase_add_test(t, work_goes_at_once_and_its_answer_is_the_next_step);
	tcase_add_test(t, inputs_from_inside_a_callback_are_deep_copied);
	tcase_add_test(t, durability_may_be_reported_from_inside_persist);
	tcase_add_test(t, an_input_from_inside_send_waits_for_the_whole_output);
	tcase_add_test(t, a_halt_keeps_the_writes_and_stops_all_else);
	tcase_add_test(t, a_halt_by_the_host_stops_in_the_middle);
	tcase_add_test(t, wake_at_is_that_of_the_last_step);
	tcase_add_loop_test(t, random_scripts_keep_the_rule, 0, 200);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
