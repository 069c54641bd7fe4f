/* Timeouts fit measured rounds [I21]: who asks, who answers, and who lies about how far away it
 * is. */
#include "tests/replica/hostile.h"

#define TIMEOUT	 300000u  /* as configured, the shortest; the longest is twice that */
#define CAP	 4000000u /* of its doubling */
#define NEAR	 5000u
#define FAR	 150000u
#define FACTOR	 4u /* rounds in a timeout */
#define QUESTION 1000000u
#define SPAN	 4u /* questions whose quickest answer counts */

static struct block *tip;

static struct engine_status status(void)
{
	struct engine_status s;
	replica_status(replica, &s);
	return s;
}

/* When the newest question to that one was asked, by the victim's clock. */
static uint64_t asked(unsigned who)
{
	static struct message_in in;
	const struct sent *s = newest(MSG_ECHO, who);
	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	ck_assert(!in.echo.is_answer);
	return in.echo.asked;
}

static void answer(unsigned from, uint64_t stamp, uint32_t sync_us)
{
	struct writer out = {0};
	struct msg_echo m = {.is_answer = true, .asked = stamp, .sync_us = sync_us};
	msg_echo_encode(&out, &m);
	deliver(from, &out);
}

static void question(unsigned from)
{
	struct writer out = {0};
	struct msg_echo m = {.asked = 7};
	msg_echo_encode(&out, &m);
	deliver(from, &out);
}

static void beat(void)
{
	heartbeat(LEADER, LEADER, NULL, tip, tip->sh.h.height);
}

/* The leader is there meanwhile. */
static void wait_for(uint64_t us)
{
	for (uint64_t done = 0; done < us; done += HEARTBEAT) {
		beat();
		pass(us - done < HEARTBEAT ? us - done : HEARTBEAT);
	}
}

static void begin(void)
{
	struct term_cert tc;
	tip = first_block(&tc);
	term_cert_free(&tc);
	wait_for(2 * CAP);
}

/* So far away they are for the victim, which asks anew; 0: silent. */
static void all_answer(const uint64_t us[4], uint32_t sync_us)
{
	forget_sent();
	wait_for(QUESTION + HEARTBEAT);
	for (unsigned i = 0; i < 4; i++)
		if (i != VICTIM && us[i])
			answer(i, now - us[i], sync_us);
}

START_TEST(timeouts_fit_the_quickest_quorum)
{
	static const struct {
		uint64_t us[4];
		uint32_t sync;
		uint64_t timeout;
	} cases[] = {
		{{NEAR, NEAR, 0, NEAR}, 0, TIMEOUT},
		{{FAR, FAR, 0, FAR}, 0, FACTOR *FAR},
		{{NEAR, FAR, 0, FAR}, 0, FACTOR *FAR},	/* with the leader, two others are a quorum */
		{{NEAR, NEAR, 0, FAR}, 0, TIMEOUT},
		{{0, FAR, 0, FAR}, 0, FACTOR *FAR},
		{{0, 0, 0, FAR}, 0, TIMEOUT}, /* no quorum: not known */
		{{NEAR, NEAR, 0, NEAR}, FAR, FACTOR *(NEAR + FAR)},
		{{2 * CAP, 2 * CAP, 0, 2 * CAP}, 0, TIMEOUT}, /* no answer any more */
		{{CAP - HEARTBEAT, CAP - HEARTBEAT, 0, 0}, 0, CAP / 2},
	};
	begin();
	all_answer(cases[_i].us, cases[_i].sync);
	ck_assert_uint_ge(status().timeout_us, cases[_i].timeout);
	ck_assert_uint_le(status().timeout_us, cases[_i].timeout + FACTOR); /* its own sync */
	block_drop(tip);
}
END_TEST

/* The stamp comes back as it was, whatever it is, not more often than twice a heartbeat. */
START_TEST(questions_are_answered)
{
	static struct message_in in;
	unsigned answers = 0;
	begin();
	forget_sent();
	for (unsigned i = 0; i < 1000; i++) {
		question(MALICE);
		pass(1000);
	}
	for (unsigned i = 0; i < sent_count; i++) {
		if (sent[i].type != MSG_ECHO || sent[i].to != UINT64_C(1) << MALICE)
			continue;
		ck_assert_int_eq(message_decode(&in, writer_slice(&sent[i].bytes)), ERR_NONE);
		ck_assert(in.echo.is_answer);
		ck_assert_uint_eq(in.echo.asked, 7);
		answers++;
	}
	ck_assert_uint_ge(answers, 1000000 / HEARTBEAT);
	ck_assert_uint_le(answers, 2 * 1000000 / HEARTBEAT + 1);
	block_drop(tip);
}
END_TEST

/* It asks often until it knows, then rarely. */
START_TEST(it_asks)
{
	unsigned before = 0, after = 0;
	const uint64_t near[4] = {NEAR, NEAR, 0, NEAR};
	begin();
	forget_sent();
	wait_for(QUESTION);
	for (unsigned i = 0; i < sent_count; i++)
		before += sent[i].type == MSG_ECHO;
	ck_assert_uint_ge(before, QUESTION / HEARTBEAT - 2);
	ck_assert_uint_gt(asked(LEADER), now - 2 * HEARTBEAT);
	all_answer(near, 0);
	forget_sent();
	wait_for(5 * QUESTION);
	for (unsigned i = 0; i < sent_count; i++)
		after += sent[i].type == MSG_ECHO;
	ck_assert_uint_ge(after, 4);
	ck_assert_uint_le(after, 6);
	block_drop(tip);
}
END_TEST

/* One of three says what it likes, whenever it likes: that it is here, or as far away as can be,
 * with a disk as slow as can be. Two are near. */
START_TEST(a_liar_alone_changes_nothing)
{
	const uint64_t near[4] = {NEAR, NEAR, 0, 0};
	begin();
	all_answer(near, 0);
	for (unsigned i = 0; i < 300; i++) {
		answer(MALICE, i % 3 == 0 ? now : i % 3 == 1 ? now - CAP + 1 : now - FAR,
		       i % 2 ? 0 : CAP - 1);
		if (i % 20 == 0)
			all_answer(near, 0);
		ck_assert_uint_eq(status().timeout_us, TIMEOUT);
		wait_for(HEARTBEAT);
	}
	block_drop(tip);
}
END_TEST

/* A stamp from the future, and one that is older than any timeout. */
START_TEST(stamps_that_cannot_be_are_not_taken)
{
	begin();
	wait_for(HEARTBEAT);
	uint64_t stale = status().counters[COUNT_STALE_MESSAGES];
	for (unsigned i = 0; i < 4; i++) {
		if (i == VICTIM)
			continue;
		answer(i, now + 1, 0);
		answer(i, UINT64_MAX, 0);
		answer(i, now - CAP - 1, 0);
		answer(i, 0, UINT32_MAX);
	}
	ck_assert_uint_eq(status().round_us, 0);
	ck_assert_uint_eq(status().timeout_us, TIMEOUT);
	ck_assert_uint_eq(status().counters[COUNT_STALE_MESSAGES], stale + 12);
	block_drop(tip);
}
END_TEST

/* Doubled in vain to the cap, and only then others answer, from far away: the cap holds. */
START_TEST(no_timer_exceeds_the_cap)
{
	struct term_cert tc;
	now += 2 * CAP;
	tip = first_block(&tc);
	pass(30 * CAP);
	ck_assert_uint_ge(status().timeouts, 6);
	uint64_t timeouts = status().timeouts, began = now;
	answer(0, now - 4 * FAR, 0);
	answer(LEADER, now - 4 * FAR, 0);
	ck_assert_uint_eq(status().timeout_us, CAP / 2);
	while (status().timeouts == timeouts && now - began < 10 * CAP)
		pass(HEARTBEAT);
	ck_assert_uint_le(now - began, CAP + HEARTBEAT);
	block_drop(tip);
}
END_TEST

/* A quick answer, a true one or a lie, makes the timer shorter; it does not end it. */
START_TEST(a_quick_answer_ends_no_timer)
{
	const uint64_t far[4] = {4 * FAR, NEAR, 0, 4 * FAR};
	begin();
	for (unsigned i = 0; i < 3 * SPAN; i++)
		all_answer((const uint64_t[4]){4 * FAR, 4 * FAR, 0, 4 * FAR}, 0);
	ck_assert_uint_eq(status().timeout_us, CAP / 2);
	pass(1000000); /* no heartbeat any more */
	uint64_t timeouts = status().timeouts;
	answer(LEADER, now - far[1], 0);
	answer(MALICE, now, 0);
	ck_assert_uint_eq(status().timeout_us, TIMEOUT);
	ck_assert_uint_eq(status().timeouts, timeouts);
	forget_sent();
	uint64_t began = now;
	while (!newest(MSG_PRE_VOTE_REQUEST, 0) && now - began < CAP)
		pass(HEARTBEAT);
	ck_assert_uint_le(now - began, TIMEOUT);
	block_drop(tip);
}
END_TEST

/* Of a burst, which comes oldest first, the newest is the quickest. */
START_TEST(of_a_burst_the_quickest_counts)
{
	begin();
	for (unsigned late = 10; late > 0; late--)
		for (unsigned i = 0; i < 4; i++)
			if (i != VICTIM)
				answer(i, now - late * NEAR, 0);
	ck_assert_uint_le(status().round_us, 2 * NEAR);
	block_drop(tip);
}
END_TEST

/* Nobody knows yet who lies: but once the second honest one has answered the timer that runs
 * is as short as it would have been. */
START_TEST(the_first_answer_is_a_lie)
{
	begin();
	answer(0, now - NEAR, 0);
	answer(MALICE, now - CAP, CAP);
	ck_assert_uint_eq(status().timeout_us, CAP / 2);
	answer(LEADER, now - NEAR, 0);
	ck_assert_uint_eq(status().timeout_us, TIMEOUT);
	forget_sent();
	uint64_t died = now;
	while (!newest(MSG_PRE_VOTE_REQUEST, 0) && now - died < 2 * CAP)
		pass(HEARTBEAT);
	ck_assert_uint_le(now - died, 2 * TIMEOUT + HEARTBEAT);
	block_drop(tip);
}
END_TEST

/* A quick one that is dead makes no quorum quick. */
START_TEST(who_answers_no_more_is_forgotten)
{
	const uint64_t all[4] = {NEAR, NEAR, 0, 2 * FAR}, left[4] = {0, NEAR, 0, 2 * FAR};
	begin();
	all_answer(all, 0);
	ck_assert_uint_eq(status().timeout_us, TIMEOUT);
	for (unsigned i = 0; i < 3 * SPAN; i++)
		all_answer(left, 0);
	ck_assert_uint_ge(status().round_us, 2 * FAR);
	ck_assert_uint_ge(status().timeout_us, FACTOR * 2 * FAR);
	block_drop(tip);
}
END_TEST

/* Nor is one convicted counted among those who make a quorum; here: accused with a proof. */
START_TEST(who_is_convicted_is_not_counted)
{
	const uint64_t us[4] = {2 * FAR, NEAR, 0, NEAR};
	begin();
	all_answer(us, 0);
	ck_assert_uint_eq(status().timeout_us, TIMEOUT);
	struct block *a = empty_block(tip, LEADER), *b = block_at(tip, LEADER, 77);
	append(LEADER, LEADER, NULL, a, NULL);
	append(LEADER, LEADER, NULL, b, NULL);
	ck_assert(status().accused >> LEADER & 1);
	for (unsigned i = 0; i < SPAN; i++)
		all_answer(us, 0);
	ck_assert_uint_ge(status().round_us, 2 * FAR);
	block_drop(a);
	block_drop(b);
	block_drop(tip);
}
END_TEST

/* The process stood still for as long as a timeout: all answers to what it asked before are
 * late at once, and so is its disk. */
START_TEST(a_pause_of_its_own_is_no_measure)
{
	const uint64_t near[4] = {NEAR, NEAR, 0, NEAR};
	begin();
	all_answer(near, 0);
	pass(QUESTION + HEARTBEAT);
	disk_is_slow = true;
	struct block *b = empty_block(tip, LEADER);
	append(LEADER, LEADER, NULL, b, NULL);
	uint64_t stamp = now;
	now += CAP * 3 / 4;
	replica_tick(replica, now);
	replica_durable(replica, now, sync_asked);
	for (unsigned i = 0; i < 4; i++)
		if (i != VICTIM)
			answer(i, stamp, 0);
	ck_assert_uint_eq(status().timeout_us, TIMEOUT);
	ck_assert_uint_lt(status().round_us, FAR);
	disk_is_slow = false;
	block_drop(b);
	block_drop(tip);
}
END_TEST

/* Down at once, for a slow answer has waited for something; up when none of a while is quick. */
START_TEST(the_quickest_of_a_while_counts)
{
	const uint64_t far[4] = {2 * FAR, 2 * FAR, 0, 2 * FAR};
	const uint64_t near[4] = {NEAR, NEAR, 0, NEAR};
	begin();
	all_answer(near, 0);
	all_answer(far, 0);
	ck_assert_uint_eq(status().timeout_us, TIMEOUT);
	for (unsigned i = 0; i < 3 * SPAN; i++)
		all_answer(far, 0);
	ck_assert_uint_ge(status().timeout_us, FACTOR * 2 * FAR);
	all_answer(near, 0);
	ck_assert_uint_eq(status().timeout_us, TIMEOUT);
	block_drop(tip);
}
END_TEST

/* Its own disk: the votes wait for it. */
START_TEST(a_slow_disk_counts)
{
	const uint64_t near[4] = {NEAR, NEAR, 0, NEAR};
	begin();
	all_answer(near, 0);
	disk_is_slow = true;
	for (unsigned i = 0; i < 4 * SPAN; i++) {
		struct block *b = empty_block(tip, LEADER);
		append(LEADER, LEADER, NULL, b, NULL);
		all_answer(near, 0);
		replica_durable(replica, now, sync_asked);
		block_drop(tip);
		tip = b;
	}
	all_answer(near, 0);
	ck_assert_uint_gt(status().round_us, 2 * FAR);
	ck_assert_uint_gt(status().timeout_us, FACTOR * 2 * FAR);
	disk_is_slow = false;
	for (unsigned i = 0; i < 60; i++) /* idle: what it was is over */
		all_answer(near, 0);
	ck_assert_uint_eq(status().timeout_us, TIMEOUT);
	block_drop(tip);
}
END_TEST

/* Who asks for pre-votes again waits for those that are on their way. */
START_TEST(pre_votes_on_their_way_are_not_asked_for_again)
{
	const uint64_t far[4] = {FAR, FAR, 0, FAR};
	unsigned asked = 0;
	begin();
	all_answer(far, 0);
	forget_sent();
	while (!newest(MSG_PRE_VOTE_REQUEST, 0))
		pass(1000);
	forget_sent();
	pass(FAR);
	ck_assert_ptr_null(newest(MSG_PRE_VOTE_REQUEST, 0));
	for (uint64_t end = now + 2 * FAR; now < end; pass(1000)) {
		asked += newest(MSG_PRE_VOTE_REQUEST, 0) != NULL;
		forget_sent();
	}
	ck_assert_uint_eq(asked, 1);
	block_drop(tip);
}
END_TEST

void hostile_round_trip(Suite *s)
{
	TCase *t = hostile_case(s, "round trips", setup, 60);
	tcase_add_loop_test(t, timeouts_fit_the_quickest_quorum, 0, 9);
	tcase_add_test(t, questions_are_answered);
	tcase_add_test(t, it_asks);
	tcase_add_test(t, a_liar_alone_changes_nothing);
	tcase_add_test(t, stamps_that_cannot_be_are_not_taken);
	tcase_add_test(t, no_timer_exceeds_the_cap);
	tcase_add_test(t, a_quick_answer_ends_no_timer);
	tcase_add_test(t, of_a_burst_the_quickest_counts);
	tcase_add_test(t, the_first_answer_is_a_lie);
	tcase_add_test(t, who_answers_no_more_is_forgotten);
	tcase_add_test(t, who_is_convicted_is_not_counted);
	tcase_add_test(t, a_pause_of_its_own_is_no_measure);
	tcase_add_test(t, the_quickest_of_a_while_counts);
	tcase_add_test(t, pre_votes_on_their_way_are_not_asked_for_again);
	tcase_add_test(t, a_slow_disk_counts);
}
