/* "Paxos Made Simple" (Lamport, 2001), sentence by sentence. Each case is named after the
 * section that it takes. A value is a block for its slot, a ballot the paper's proposal number.
 */
#include <stdlib.h>

#include "base/random.h"
#include "paxos-hand.h"

/* ---- 2.2 --------------------------------------------------------------------------------- */

/* P1: "An acceptor must accept the first proposal that it receives." */
START_TEST(s22_p1_accepts_the_first_proposal)
{
	struct values v;
	hand_begin(3);
	make_values(&v, (unsigned[]){4, 0});
	give_accept(0, 1, 4, 0, v.slot[1]);
	ck_assert(accepts(0, 4, 1));
	ck_assert_uint_eq(p.node[0].final_height,
			  0); /* by nobody's word chosen, and yet shown */
	ck_assert_uint_eq(paper_status(&p, 0).tip.height, 1);
	free_values(&v);
	hand_end();
}
END_TEST

/* P1a: "An acceptor can accept a proposal numbered n iff it has not responded to a prepare
 * request having a number greater than n." */
START_TEST(s22_p1a_keeps_its_promise)
{
	struct values v;
	struct paxos_message m;
	hand_begin(3);
	make_values(&v, (unsigned[]){4, 0});
	give_prepare(0, 2, 5, 1);
	ck_assert(promises(0, &m));
	give_accept(0, 1, 4, 0, v.slot[1]);
	ck_assert(!accepts(0, 4, 1));
	give_accept(0, 2, 5, 0, v.slot[1]); /* not greater than what it promised */
	ck_assert(accepts(0, 5, 1));
	give_accept(0, 1, 7, 0, v.slot[1]); /* a higher one needs no prepare here */
	ck_assert(accepts(0, 7, 1));
	give_accept(0, 2, 5, 0, v.slot[1]); /* by which the lower ones are out */
	ck_assert(!accepts(0, 5, 1));
	free_values(&v);
	hand_end();
}
END_TEST

/* "It receives a prepare request numbered n, but it has already responded to a prepare request
 * numbered greater than n... We therefore have the acceptor ignore such a prepare request"; 2.2
 * end: "it should probably inform the proposer, who should then abandon its proposal". */
START_TEST(s22_ignores_lower_prepares_and_says_so)
{
	struct paxos_message m;
	hand_begin(3);
	give_prepare(0, 2, 5, 1);
	ck_assert(promises(0, &m));
	give_prepare(0, 1, 4, 1);
	ck_assert(first_sent(0, PAXOS_NACK, &m));
	ck_assert_uint_eq(m.nack.ballot, 4);
	ck_assert_uint_eq(m.nack.promised, 5);
	ck_assert(!promises(0, &m));
	give_prepare(0, 2, 5, 1); /* sent again: answered again */
	ck_assert(promises(0, &m));
	hand_end();
}
END_TEST

/* Phase 1 (b): "it responds to the request with a promise not to accept any more proposals
 * numbered less than n and with the highest-numbered proposal (if any) that it has accepted."
 */
START_TEST(s22_a_promise_tells_what_was_accepted)
{
	struct values v, w;
	struct paxos_message m;
	hand_begin(3);
	make_values(&v, (unsigned[]){4, 4, 0});
	make_values(&w, (unsigned[]){5, 0});
	give_accept(0, 1, 4, 0, v.slot[1]);
	give_accept(0, 1, 4, 0, v.slot[2]);
	give_accept(0, 2, 5, 0, w.slot[1]);
	paper_pass(&p, 0, 300000); /* nobody leads */
	give_prepare(0, 1, 7, 1);
	paper_pass(&p, 0, 0);
	ck_assert(promises(0, &m));
	ck_assert_uint_eq(m.promise.ballot, 7);
	ck_assert_uint_eq(m.promise.total, 2);
	ck_assert(same(m.promise.values.block[0], w.slot[1]));
	ck_assert_uint_eq(m.promise.ballot_of[0], 5);
	ck_assert(same(m.promise.values.block[1], v.slot[2]));
	ck_assert_uint_eq(m.promise.ballot_of[1], 4);
	paxos_message_free(&m);
	free_values(&v);
	free_values(&w);
	hand_end();
}
END_TEST

/* P2c: "v is the value of the highest-numbered proposal among all proposals numbered less than
 * n accepted by the acceptors in S." */
START_TEST(s22_p2c_takes_the_highest_value)
{
	struct values v, w;
	struct block *b;
	hand_begin(5);
	make_values(&v, (unsigned[]){1, 0});
	make_values(&w, (unsigned[]){2, 0});
	uint64_t ballot = preparing(0);
	if (_i) {
		give_promise(0, 1, ballot, 0, &v.slot[1], (uint64_t[]){1}, 1);
		give_promise(0, 2, ballot, 0, &w.slot[1], (uint64_t[]){2}, 1);
	} else {
		give_promise(0, 2, ballot, 0, &w.slot[1], (uint64_t[]){2}, 1);
		give_promise(0, 1, ballot, 0, &v.slot[1], (uint64_t[]){1}, 1);
	}
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_LEADER);
	b = proposed(0, 1);
	ck_assert(same(b, w.slot[1]));
	block_drop(b);
	free_values(&v);
	free_values(&w);
	hand_end();
}
END_TEST

/* The same with the proposer's own acceptor, which is of S like the others. */
START_TEST(s22_p2c_its_own_acceptor_counts)
{
	struct values v, w;
	struct block *b;
	hand_begin(3);
	make_values(&v, (unsigned[]){1, 0});
	make_values(&w, (unsigned[]){2, 0});
	give_accept(0, 2, 2, 0, w.slot[1]);
	uint64_t ballot = preparing(0);
	give_promise(0, 1, ballot, 0, &v.slot[1], (uint64_t[]){1}, 1);
	b = proposed(0, 1);
	ck_assert(same(b, w.slot[1]));
	block_drop(b);
	free_values(&v);
	free_values(&w);
	hand_end();
}
END_TEST

/* Phase 2 (a): "If the proposer receives a response to its prepare requests from a majority of
 * acceptors". */
START_TEST(s22_phase_2_takes_a_majority)
{
	for (unsigned n = 2; n <= 7; n++) {
		hand_begin(n);
		uint64_t ballot = preparing(0);
		for (unsigned i = 1; i <= n / 2; i++) {
			ck_assert_int_eq(paper_status(&p, 0).role, ROLE_CANDIDATE);
			give_promise(0, i, ballot, 0, NULL, NULL, 0);
			give_promise(0, i, ballot, 0, NULL, NULL, 0); /* twice is once */
		}
		ck_assert_int_eq(paper_status(&p, 0).role, ROLE_LEADER);
		hand_end();
	}
}
END_TEST

/* "An acceptor needs to remember only the highest-numbered proposal that it has ever accepted
 * and the number of the highest-numbered prepare request to which it has responded... it must
 * remember this information even if it fails and then restarts." 2.5: in stable storage, before
 * the response. */
START_TEST(s25_an_acceptor_remembers)
{
	struct values v;
	struct paxos_message m;
	hand_begin(3);
	make_values(&v, (unsigned[]){4, 4, 0});
	p.node[0].slow_disk = true;
	give_accept(0, 1, 4, 0, v.slot[1]);
	ck_assert(!accepts(0, 4, 1));
	paper_sync(&p, 0);
	ck_assert(accepts(0, 4, 1));
	paper_pass(&p, 0, 300000);
	give_prepare(0, 2, 8, 1);
	ck_assert(!promises(0, &m));
	paper_sync(&p, 0);
	ck_assert(promises(0, &m));
	paxos_message_free(&m);
	give_accept(0, 2, 8, 0, v.slot[2]); /* not durable, never answered */
	paper_crash(&p, 0);
	p.node[0].slow_disk = false;
	paper_start(&p, 0);
	give_accept(0, 1, 4, 0, v.slot[2]);
	ck_assert(!accepts(0, 4, 2));
	give_prepare(0, 2, 11, 1);
	ck_assert(promises(0, &m));
	ck_assert_uint_eq(m.promise.total, 1);
	ck_assert(same(m.promise.values.block[0], v.slot[1]));
	ck_assert_uint_eq(m.promise.ballot_of[0], 4);
	paxos_message_free(&m);
	free_values(&v);
	hand_end();
}
END_TEST

/* 2.5: "Different proposers choose their numbers from disjoint sets... each proposer remembers
 * (in stable storage) the highest-numbered proposal it has tried to issue, and begins phase 1
 * with a higher proposal number than any it has already used." */
START_TEST(s25_numbers_are_used_once)
{
	uint64_t last[3] = {0};
	hand_begin(3);
	for (unsigned k = 0; k < 30; k++) {
		unsigned i = k % 3;
		uint64_t ballot = preparing(i);
		ck_assert_uint_gt(ballot, last[i]);
		ck_assert_uint_eq(ballot % 3, i);
		last[i] = ballot;
		if (k % 4 == 0) {
			paper_crash(&p, i);
			paper_start(&p, i);
		}
	}
	/* and above what others have used, as far as it has heard */
	give_prepare(0, 1, 301, 1);
	ck_assert_uint_gt(preparing(0), 301);
	hand_end();
}
END_TEST

/* 2.5: the number is on the disk before anybody hears of it. */
START_TEST(s25_a_number_is_durable_before_it_is_used)
{
	hand_begin(3);
	p.node[0].slow_disk = true;
	paper_time_out(&p, 0);
	ck_assert_uint_eq(paper_sent_count(&p, 0, PAXOS_PREPARE), 0);
	paper_sync(&p, 0);
	ck_assert_uint_eq(paper_sent_count(&p, 0, PAXOS_PREPARE), 1);
	hand_end();
}
END_TEST

/* "A proposer can make multiple proposals, so long as it follows the algorithm for each one. It
 * can abandon a proposal at any time": whoever is told of a higher number does. */
START_TEST(s22_a_proposer_gives_way)
{
	struct paxos_message m;
	hand_begin(3);
	uint64_t ballot = preparing(0);
	give_prepare(0, 1, ballot + 4, 1); /* a higher one, of 1 */
	ck_assert(promises(0, &m));
	give_promise(0, 2, ballot, 0, NULL, NULL, 0); /* too late */
	ck_assert_int_ne(paper_status(&p, 0).role, ROLE_LEADER);
	ck_assert_uint_eq(paper_sent_count(&p, 0, PAXOS_ACCEPT), 0);
	hand_end();
}
END_TEST

/* ---- 2.3, 2.4 ---------------------------------------------------------------------------- */

/* 2.3: "To learn that a value has been chosen, a learner must find out that a proposal has been
 * accepted by a majority of acceptors." */
START_TEST(s23_chosen_by_a_majority)
{
	for (unsigned n = 3; n <= 7; n += 2) {
		hand_begin(n);
		paper_elect(&p, 0, EVERYBODY);
		uint64_t ballot = paper_status(&p, 0).term;
		paper_submit(&p, 0);
		paper_drop(&p, 0);
		for (unsigned i = 1; i <= n / 2; i++) {
			ck_assert_uint_eq(p.node[0].final_height, 0);
			give_accepted(0, i, ballot, 1);
			give_accepted(0, i, ballot, 1);
		}
		ck_assert_uint_eq(p.node[0].final_height, 1);
		hand_end();
	}
}
END_TEST

/* The leader's own acceptance counts when it is durable. */
START_TEST(s25_own_acceptance_counts_when_durable)
{
	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	p.node[0].slow_disk = true;
	paper_submit(&p, 0);
	ck_assert_uint_eq(paper_sent_count(&p, 0, PAXOS_ACCEPT), 1);
	paper_drop(&p, 0);
	give_accepted(0, 1, paper_status(&p, 0).term, 1);
	ck_assert_uint_eq(p.node[0].final_height, 0);
	paper_sync(&p, 0);
	ck_assert_uint_eq(p.node[0].final_height, 1);
	hand_end();
}
END_TEST

/* A learner is told that slots are chosen, not what is: what it accepted in that very ballot
 * is, and what it accepted in an older one need not be. */
START_TEST(s23_learns_what_it_accepted_in_the_ballot)
{
	struct values v, w;
	hand_begin(3);
	make_values(&v, (unsigned[]){4, 4, 0});
	make_values(&w, (unsigned[]){5, 0});
	give_accept(0, 1, 4, 0, v.slot[1]);
	give_accept(0, 1, 4, 1, v.slot[2]);
	ck_assert_uint_eq(p.node[0].final_height, 1);
	ck_assert(same(p.node[0].final[1], v.slot[1]));
	give_news(0, 2, PAXOS_HEARTBEAT, 5, 2); /* ballot 5: slot 2 is chosen */
	ck_assert_uint_eq(p.node[0].final_height, 1);
	ck_assert_uint_eq(paper_sent_count(&p, 0, PAXOS_FETCH), 1);
	free_values(&v);
	free_values(&w);
	hand_end();
}
END_TEST

/* 2.4: two proposers that each answer the other's number with a higher one choose nothing; a
 * distinguished one does. */
START_TEST(s24_a_distinguished_proposer_makes_progress)
{
	hand_begin(3);
	for (unsigned k = 0; k < 6; k++) { /* each takes the other's majority before phase 2 */
		paper_time_out(&p, k % 2);
		paper_deliver(&p, k % 2, 4);
		paper_drop(&p, 2);
	}
	ck_assert_uint_eq(p.node[0].final_height + p.node[1].final_height, 0);
	ck_assert_uint_eq(paper_leader(&p), 3);
	for (unsigned k = 0; k < 3 && paper_leader(&p) != 0; k++)
		paper_elect(&p, 0, EVERYBODY);
	ck_assert_uint_eq(paper_leader(&p), 0);
	paper_submit(&p, 0);
	paper_settle(&p, EVERYBODY);
	ck_assert_uint_eq(p.node[0].final_height, 1);
	/* and while it is heard, it stays: requests of others are ignored (2.2: it "can ignore
	 * any request without compromising safety") */
	paper_pass(&p, 0, 50000);
	paper_settle(&p, EVERYBODY);
	give_prepare(1, 2, 1001, 1);
	ck_assert_uint_eq(paper_sent_count(&p, 1, PAXOS_PROMISE), 0);
	ck_assert_uint_eq(paper_status(&p, 1).leader, 0);
	hand_end();
}
END_TEST

/* Whoever was promised a higher number than the leader's is not lost: phase 1 again, above it.
 */
START_TEST(s22_a_leader_told_of_a_higher_number_begins_again)
{
	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	uint64_t ballot = paper_status(&p, 0).term;
	paper_time_out(&p, 2); /* alone; it reaches nobody but itself and, late, 1 */
	paper_drop(&p, 2);
	paper_pass(&p, 1, 300000);
	give_prepare(1, 2, ballot + 2 + 3 * 5, 1);
	paper_drop(&p, 1);
	for (unsigned k = 0; k < 4; k++) {
		paper_pass(&p, 0, 60000);
		paper_settle(&p, EVERYBODY);
	}
	ck_assert_uint_eq(paper_leader(&p), 0);
	ck_assert_uint_gt(paper_status(&p, 0).term, ballot + 17);
	ck_assert_uint_eq(paper_status(&p, 1).leader, 0);
	paper_submit(&p, 1);
	paper_settle(&p, EVERYBODY);
	ck_assert_uint_eq(p.node[0].final_height, 1);
	hand_end();
}
END_TEST

/* ---- 2.1 --------------------------------------------------------------------------------- */

/* Agreement, through random leaders, losses and crashes; and progress once all is well. */
START_TEST(s21_only_one_value_is_chosen)
{
	struct random r;
	random_seed(&r, (uint64_t)_i);
	hand_begin(5);
	for (unsigned round = 0; round < 30; round++) {
		uint64_t side = random_below(&r, 32) | UINT64_C(1) << round % 5;
		paper_elect(&p, round % 5, side);
		unsigned leader = paper_leader(&p);
		if (leader < 5)
			for (uint64_t k = random_below(&r, 4); k > 0; k--)
				paper_submit(&p, leader);
		for (unsigned i = 0; i < 5; i++)
			paper_deliver(&p, i, random_below(&r, 32));
		paper_settle(&p, random_below(&r, 32));
		for (unsigned i = 0; i < 5; i++)
			paper_drop(&p, i);
		if (random_chance(&r, 1, 4)) {
			unsigned victim = (unsigned)random_below(&r, 5);
			paper_crash(&p, victim);
			paper_start(&p, victim);
		}
		paper_agree(&p);
	}
	for (unsigned k = 0, calm = 0; calm < 10; k++) { /* one leads, undisturbed */
		ck_assert_uint_lt(k, 100);
		calm = paper_leader(&p) < 5 ? calm + 1 : 0;
		if (!calm)
			paper_elect(&p, k % 5, EVERYBODY);
		for (unsigned i = 0; i < 5; i++) {
			paper_pass(&p, i, 60000);
			paper_settle(&p, EVERYBODY);
		}
	}
	unsigned leader = paper_leader(&p);
	ck_assert_uint_lt(leader, 5);
	uint64_t before = p.node[leader].final_height;
	paper_submit(&p, leader);
	paper_settle(&p, EVERYBODY);
	for (unsigned k = 0; k < 20; k++) {
		paper_pass(&p, k % 5, 60000);
		paper_settle(&p, EVERYBODY);
	}
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_gt(p.node[i].final_height, before);
	hand_end();
}
END_TEST

/* ---- hostile bytes ------------------------------------------------------------------------
 */

/* Every truncation is refused; a flipped bit is refused or means something else. */
START_TEST(bytes_that_make_no_sense)
{
	struct values v;
	struct writer w[3] = {{0}};
	hand_begin(3);
	make_values(&v, (unsigned[]){1, 1, 0});
	struct paxos_promise *promise = mem_zalloc(sizeof *promise);
	struct paxos_accept *accept = mem_zalloc(sizeof *accept);
	struct paxos_chosen *chosen = mem_zalloc(sizeof *chosen);
	promise->total = promise->values.count = chosen->blocks.count = 2;
	accept->value.count = 1;
	for (unsigned i = 0; i < 2; i++) {
		promise->values.block[i] = chosen->blocks.block[i] = v.slot[1 + i];
		promise->ballot_of[i] = 1;
	}
	accept->value.block[0] = v.slot[1];
	accept->ballot = promise->ballot = 4;
	paxos_promise_encode(&w[0], promise);
	paxos_accept_encode(&w[1], accept);
	paxos_chosen_encode(&w[2], chosen);
	for (unsigned k = 0; k < 3; k++) {
		struct paxos_message out;
		for (size_t len = 0; len < w[k].len; len++)
			ck_assert_int_ne(paxos_message_decode(&out, slice_of(w[k].buf, len)),
					 ERR_NONE);
		for (size_t bit = 0; bit < 8 * w[k].len; bit++) {
			w[k].buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (paxos_message_decode(&out, writer_slice(&w[k])) == ERR_NONE) {
				paxos_message_free(&out);
				paper_give(&p, 0, 1, &w[k]);
				paper_drop(&p, 0);
			}
			w[k].buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		writer_free(&w[k]);
	}
	mem_free(promise);
	mem_free(accept);
	mem_free(chosen);
	free_values(&v);
	paper_end(&p);
}
END_TEST

/* What no correct replica sends: a ballot of somebody else, a slot far away, a value of a later
 * ballot, numbers at their end. */
START_TEST(what_nobody_sends)
{
	struct values v;
	hand_begin(3);
	make_values(&v, (unsigned[]){4, 5, 0});
	uint64_t before = paper_counter(&p, 0, COUNT_BAD_MESSAGES);
	give_accept(0, 2, 4, 0, v.slot[1]); /* 4 is of 1 */
	give_prepare(0, 1, 5, 1);	    /* 5 is of 2 */
	give_accept(0, 1, 4, 0, v.slot[2]); /* made in ballot 5 */
	give_prepare(0, 1, UINT64_MAX - 2, 1);
	ck_assert_uint_eq(paper_counter(&p, 0, COUNT_BAD_MESSAGES), before + 4);
	ck_assert_uint_eq(paper_status(&p, 0).term, 0);
	give_news(0, 1, PAXOS_HEARTBEAT, 4,
		  UINT64_MAX); /* chosen, all of it? nothing known here */
	ck_assert_uint_eq(p.node[0].final_height, 0);
	free_values(&v);
	hand_end();
}
END_TEST

/* Damaged copies of real messages, by the thousand. */
START_TEST(noise_on_every_link)
{
	hand_begin(3 + 2 * (_i % 2));
	paper_noise(&p, (uint64_t)_i, 400);
	paper_end(&p);
}
END_TEST

int main(void)
{
	crypto_init();
	Suite *s = suite_create("multipaxos");
	TCase *t = tcase_create("paper");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, s22_p1_accepts_the_first_proposal);
	tcase_add_test(t, s22_p1a_keeps_its_promise);
	tcase_add_test(t, s22_ignores_lower_prepares_and_says_so);
	tcase_add_test(t, s22_a_promise_tells_what_was_accepted);
	tcase_add_loop_test(t, s22_p2c_takes_the_highest_value, 0, 2);
	tcase_add_test(t, s22_p2c_its_own_acceptor_counts);
	tcase_add_test(t, s22_phase_2_takes_a_majority);
	tcase_add_test(t, s25_an_acceptor_remembers);
	tcase_add_test(t, s25_numbers_are_used_once);
	tcase_add_test(t, s25_a_number_is_durable_before_it_is_used);
	tcase_add_test(t, s22_a_proposer_gives_way);
	tcase_add_test(t, s23_chosen_by_a_majority);
	tcase_add_test(t, s25_own_acceptance_counts_when_durable);
	tcase_add_test(t, s23_learns_what_it_accepted_in_the_ballot);
	tcase_add_test(t, s24_a_distinguished_proposer_makes_progress);
	tcase_add_test(t, s22_a_leader_told_of_a_higher_number_begins_again);
	tcase_add_loop_test(t, s21_only_one_value_is_chosen, 0, 20);
	tcase_add_test(t, bytes_that_make_no_sense);
	tcase_add_test(t, what_nobody_sends);
	tcase_add_loop_test(t, noise_on_every_link, 0, 20);
	suite_add_tcase(s, t);
	suite_add_tcase(s, paxos_slots_case());
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
