/* Section 3, many instances: a leader's slots, gaps, what it learns and tells. See
 * check-multipaxos.c. */
#include "paxos-hand.h"

/* "The leader... executes phase 1 for infinitely many instances": one request for all slots,
 * and none for the next commands. */
START_TEST(s3_phase_1_once_for_all_slots)
{
	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	unsigned prepares = (unsigned)paper_counter(&p, 0, COUNT_ELECTIONS_STARTED);
	for (unsigned k = 0; k < 10; k++) {
		paper_submit(&p, 0);
		ck_assert_uint_eq(paper_sent_count(&p, 0, PAXOS_PREPARE), 0);
		paper_settle(&p, EVERYBODY);
	}
	ck_assert_uint_eq(p.node[0].final_height, 10);
	ck_assert_uint_eq(paper_counter(&p, 0, COUNT_ELECTIONS_STARTED), prepares);
	hand_end();
}
END_TEST

/* "A leader can get α commands ahead": several slots in flight, chosen in any order, executed
 * in theirs. */
START_TEST(s3_slots_are_chosen_in_any_order)
{
	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	uint64_t ballot = paper_status(&p, 0).term;
	for (unsigned k = 0; k < 20; k++)
		paper_submit(&p, 0);
	ck_assert_uint_eq(paper_status(&p, 0).tip.height, 8); /* α: the pipeline */
	paper_drop(&p, 0);
	for (uint64_t slot = 8; slot >= 2; slot--)
		give_accepted(0, 1, ballot, slot);
	ck_assert_uint_eq(p.node[0].final_height, 0);
	give_accepted(0, 1, ballot, 1);
	ck_assert_uint_eq(p.node[0].final_height, 8);
	hand_end();
}
END_TEST

/* The example of section 3, its instances 134 to 141 being 1 to 8 here: 1 is known. Phase 1
 * finds values in 2 and 7 and, by another acceptor, 5 and 6; nothing in 3 and 4. The leader
 * proposes those again, and "special no-op commands that leave the state unchanged" in 3 and 4;
 * new commands go to 8. */
START_TEST(s3_gaps_are_filled_with_no_ops)
{
	struct values v;
	struct block *b;
	hand_begin(3);
	make_values(&v, (unsigned[]){4, 4, 4, 4, 4, 4, 4, 0});
	give_accept(0, 1, 4, 1, v.slot[1]); /* known: chosen */
	ck_assert_uint_eq(p.node[0].final_height, 1);
	give_accept(0, 1, 4, 1, v.slot[2]);
	give_accept(0, 1, 4, 1, v.slot[7]);
	uint64_t ballot = preparing(0);
	paper_submit(&p, 0); /* waits */
	give_promise(0, 2, ballot, 1, &v.slot[5], (uint64_t[]){4, 4}, 2);
	for (uint64_t slot = 2; slot <= 7; slot++) {
		b = proposed(0, slot);
		ck_assert(b != NULL);
		if (slot == 3 || slot == 4)
			ck_assert(b->tx_count == 0 && !same(b, v.slot[slot]));
		else
			ck_assert(same(b, v.slot[slot]));
		block_drop(b);
	}
	ck_assert(!proposed(0, 8));
	ck_assert_uint_eq(paper_counter(&p, 0, COUNT_GAPS_FILLED), 2);
	ck_assert_uint_eq(paper_counter(&p, 0, COUNT_VALUES_ADOPTED), 4);
	for (uint64_t slot = 2; slot <= 7; slot++)
		give_accepted(0, 1, ballot, slot);
	ck_assert_uint_eq(p.node[0].final_height, 7);
	/* 2 was made on 1: executed as it is. 5 was made on another 4: its commands on this one
	 */
	ck_assert(same(p.node[0].final[2], v.slot[2]));
	ck_assert(!same(p.node[0].final[5], v.slot[5]));
	ck_assert_uint_eq(p.node[0].final[5]->tx_count, v.slot[5]->tx_count);
	b = proposed(0, 8);
	ck_assert(b != NULL);
	ck_assert_uint_eq(b->tx_count, 1);
	block_drop(b);
	free_values(&v);
	hand_end();
}
END_TEST

/* All learners make the same block out of a value that was made on another past: "each server
 * executes the commands in order" of the slots, whatever it had seen before. */
START_TEST(s3_learners_execute_in_slot_order)
{
	struct values v;
	hand_begin(3);
	make_values(&v, (unsigned[]){4, 4, 4, 0});
	for (unsigned i = 0; i < 2; i++) { /* slot 2 came to nobody */
		give_accept(i, 1 + i, 4 + i, 0, v.slot[1]);
		give_accept(i, 1 + i, 4 + i, 0, v.slot[3]);
		paper_drop(&p, i);
	}
	paper_elect(&p, 2, EVERYBODY);
	for (unsigned k = 0; k < 3 && paper_leader(&p) != 2; k++)
		paper_elect(&p, 2, EVERYBODY);
	paper_pass(&p, 2, 50000);
	paper_settle(&p, EVERYBODY);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(p.node[i].final_height, 3);
		ck_assert(same(p.node[i].final[1], v.slot[1]));
	}
	ck_assert(!same(p.node[0].final[3], v.slot[3]));
	ck_assert_uint_eq(paper_counter(&p, 2, COUNT_GAPS_FILLED), 1);
	hand_end(); /* agreement is checked */
	free_values(&v);
}
END_TEST

/* "The newly chosen leader, being a learner in all instances, should know most of the commands
 * that have already been chosen": what an acceptor of the majority knows and the leader does
 * not, it fetches before it proposes anything. */
START_TEST(s3_a_new_leader_learns_first)
{
	hand_begin(3);
	paper_elect(&p, 0, 3); /* 2 misses everything */
	for (unsigned k = 0; k < 5; k++) {
		paper_submit(&p, 0);
		paper_settle(&p, 3);
	}
	paper_pass(&p, 0, 50000);
	paper_settle(&p, 3);
	ck_assert_uint_eq(p.node[1].final_height, 5);
	paper_crash(&p, 0);
	paper_pass(&p, 1, 300000);
	paper_time_out(&p, 2);
	for (unsigned k = 0; k < 60 && p.node[2].final_height < 5; k++) {
		paper_settle(&p, 6);
		paper_pass(&p, 2, 30000);
	}
	ck_assert_uint_eq(paper_leader(&p), 2);
	ck_assert_uint_eq(p.node[2].final_height, 5);
	paper_submit(&p, 2);
	paper_settle(&p, 6);
	ck_assert_uint_eq(p.node[2].final_height, 6);
	hand_end();
}
END_TEST

/* Many values take several messages; a promise counts when all of them are in, in whatever
 * order they are lost and come again. */
START_TEST(a_long_promise_counts_when_it_is_complete)
{
	struct values v;
	struct writer w = {0};
	struct block *b;
	hand_begin(3);
	make_values(&v, (unsigned[]){1, 1, 0});
	uint64_t ballot = preparing(0);
	struct paxos_promise *m = mem_zalloc(sizeof *m);
	*m = (struct paxos_promise){.ballot = ballot, .total = 2, .first = 1};
	m->values.count = 1;
	m->values.block[0] = v.slot[2];
	m->ballot_of[0] = 1;
	for (unsigned k = 0; k < 3; k++) { /* second, first, second */
		ck_assert_int_eq(paper_status(&p, 0).role, ROLE_CANDIDATE);
		m->first = k != 1;
		m->values.block[0] = v.slot[1 + m->first];
		writer_reset(&w);
		paxos_promise_encode(&w, m);
		paper_give(&p, 0, 1, &w);
	}
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_LEADER);
	for (uint64_t slot = 1; slot <= 2; slot++) {
		b = proposed(0, slot);
		ck_assert(same(b, v.slot[slot]));
		block_drop(b);
	}
	writer_free(&w);
	mem_free(m);
	free_values(&v);
	hand_end();
}
END_TEST

TCase *paxos_slots_case(void)
{
	TCase *t = tcase_create("3");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, s3_phase_1_once_for_all_slots);
	tcase_add_test(t, s3_slots_are_chosen_in_any_order);
	tcase_add_test(t, s3_gaps_are_filled_with_no_ops);
	tcase_add_test(t, s3_learners_execute_in_slot_order);
	tcase_add_test(t, s3_a_new_leader_learns_first);
	tcase_add_test(t, a_long_promise_counts_when_it_is_complete);
	return t;
}
