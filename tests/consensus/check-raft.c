/* The Raft paper, sentence by sentence (after etcd's raft_paper_test): Ongaro, Ousterhout, "In
 * Search of an Understandable Consensus Algorithm (Extended Version)". Each case is named after
 * the section that it takes; thesis: Ongaro, "Consensus: Bridging Theory and Practice". */
#include <stdlib.h>

#include "raft-hand.h"

/* ---- 5.1 --------------------------------------------------------------------------------- */

/* "If one server's current term is smaller than the other's, then it updates its current term
 * to the larger value. If a candidate or leader discovers that its term is out of date, it
 * immediately reverts to follower state." */
START_TEST(s51_adopts_a_later_term)
{
	hand_begin(3);
	give_append(0, 1, 7, p.block0, 0, NULL, 0); /* a follower */
	ck_assert_uint_eq(paper_status(&p, 0).term, 7);
	paper_time_out(&p, 0); /* a candidate */
	give_append(0, 1, 9, p.block0, 0, NULL, 0);
	ck_assert_uint_eq(paper_status(&p, 0).term, 9);
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_FOLLOWER);
	hand_end();

	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_LEADER);
	give_appended(0, 1, 42, false, 1);
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_FOLLOWER);
	ck_assert_uint_eq(paper_status(&p, 0).term, 42);
	hand_end();
}
END_TEST

/* "If a server receives a request with a stale term number, it rejects the request." */
START_TEST(s51_rejects_a_stale_term)
{
	uint64_t index;
	struct chain c;
	hand_begin(3);
	make_chain(&c, (unsigned[]){1, 0});
	give_append(0, 1, 5, p.block0, 0, NULL, 0);
	paper_drop(&p, 0);
	give_append(0, 2, 4, p.block0, 0, &c.block[1], 1);
	ck_assert(!took(0, &index));
	ck_assert_uint_eq(paper_status(&p, 0).tip.height, 0);
	paper_pass(&p, 0, 300000); /* no current leader */
	give_vote_request(0, 2, 4, 10, 4);
	ck_assert(!voted(0));
	free_chain(&c);
	hand_end();
}
END_TEST

/* ---- 5.2 --------------------------------------------------------------------------------- */

/* "When servers start up, they begin as followers." */
START_TEST(s52_begins_as_a_follower)
{
	hand_begin(3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(paper_status(&p, i).role, ROLE_FOLLOWER);
	paper_elect(&p, 0, EVERYBODY);
	paper_crash(&p, 0);
	paper_start(&p, 0);
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_FOLLOWER);
	hand_end();
}
END_TEST

/* "Leaders send periodic heartbeats to all followers." */
START_TEST(s52_a_leader_sends_heartbeats)
{
	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	paper_drop(&p, 0);
	paper_pass(&p, 0, 50000);
	struct paper_sent s;
	ck_assert(paper_take(&p, 0, RAFT_HEARTBEAT, &s));
	ck_assert_uint_eq(s.to, 6);
	writer_free(&s.bytes);
	paper_drop(&p, 0);
	paper_pass(&p, 0, 20000); /* not yet */
	ck_assert_uint_eq(paper_sent_count(&p, 0, RAFT_HEARTBEAT), 0);
	hand_end();
}
END_TEST

/* "A server remains in follower state as long as it receives valid RPCs from a leader or
 * candidate." */
START_TEST(s52_heartbeats_hold_off_elections)
{
	hand_begin(3);
	for (unsigned k = 0; k < 20; k++) {
		give_append(0, 1, 1, p.block0, 0, NULL, 0);
		paper_pass(&p, 0, 290000);
	}
	ck_assert_uint_eq(paper_counter(&p, 0, COUNT_ELECTIONS_STARTED), 0);
	paper_time_out(&p, 0);
	ck_assert_uint_eq(paper_counter(&p, 0, COUNT_ELECTIONS_STARTED), 1);
	hand_end();
}
END_TEST

/* "To begin an election, a follower increments its current term and transitions to candidate
 * state. It then votes for itself and issues RequestVote RPCs in parallel to each of the other
 * servers." (After pre-votes: thesis 9.6.) */
START_TEST(s52_starts_an_election)
{
	struct raft_message m;
	struct paper_sent s;
	hand_begin(3);
	paper_time_out(&p, 0);
	ck_assert_uint_eq(paper_status(&p, 0).term, 0);
	give_vote(0, 1, RAFT_PRE_VOTE, 1, true);
	ck_assert_uint_eq(paper_status(&p, 0).term, 1);
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_CANDIDATE);
	ck_assert(paper_take(&p, 0, RAFT_VOTE_REQUEST, &s));
	ck_assert_uint_eq(s.to, 6);
	ck_assert_int_eq(raft_message_decode(&m, writer_slice(&s.bytes)), ERR_NONE);
	ck_assert_uint_eq(m.vote_request.term, 1);
	writer_free(&s.bytes);
	/* it voted for itself: for nobody else in this term */
	give_vote_request(0, 2, 1, 0, 0);
	ck_assert(!voted(0));
	hand_end();
}
END_TEST

/* "A candidate wins an election if it receives votes from a majority of the servers in the full
 * cluster for the same term." */
static const struct {
	unsigned n, granted, refused;
	enum engine_role role;
} outcomes[] = {
	{1, 0, 0, ROLE_LEADER},	   {2, 0, 0, ROLE_CANDIDATE}, {2, 1, 0, ROLE_LEADER},
	{3, 0, 0, ROLE_CANDIDATE}, {3, 1, 0, ROLE_LEADER},    {3, 0, 2, ROLE_CANDIDATE},
	{3, 1, 1, ROLE_LEADER},	   {4, 1, 0, ROLE_CANDIDATE}, {4, 2, 1, ROLE_LEADER},
	{5, 1, 3, ROLE_CANDIDATE}, {5, 2, 0, ROLE_LEADER},    {5, 4, 0, ROLE_LEADER},
	{7, 2, 4, ROLE_CANDIDATE}, {7, 3, 3, ROLE_LEADER},
};

START_TEST(s52_a_majority_elects)
{
	unsigned n = outcomes[_i].n, from = 1;
	hand_begin(n);
	paper_time_out(&p, 0);
	for (unsigned i = 1; i < n; i++)
		give_vote(0, i, RAFT_PRE_VOTE, 1, true);
	for (unsigned k = 0; k < outcomes[_i].granted; k++) {
		give_vote(0, from, RAFT_VOTE, 1, true);
		give_vote(0, from++, RAFT_VOTE, 1, true); /* twice is once */
	}
	for (unsigned k = 0; k < outcomes[_i].refused; k++)
		give_vote(0, from++, RAFT_VOTE, 1, false);
	ck_assert_int_eq(paper_status(&p, 0).role, outcomes[_i].role);
	hand_end();
}
END_TEST

/* "Each server will vote for at most one candidate in a given term, on a
 * first-come-first-served basis." And 5.1's "persistent state": after a crash as well. */
START_TEST(s52_one_vote_a_term)
{
	hand_begin(3);
	give_vote_request(0, 1, 1, 0, 0);
	ck_assert(voted(0));
	give_vote_request(0, 2, 1, 0, 0);
	ck_assert(!voted(0));
	give_vote_request(0, 1, 1, 0, 0); /* asked again */
	ck_assert(voted(0));
	paper_crash(&p, 0);
	paper_start(&p, 0);
	give_vote_request(0, 2, 1, 0, 0);
	ck_assert(!voted(0));
	give_vote_request(0, 1, 1, 0, 0);
	ck_assert(voted(0));
	give_vote_request(0, 2, 2, 0, 0); /* another term, another vote */
	ck_assert(voted(0));
	hand_end();
}
END_TEST

/* Figure 2: "Updated on stable storage before responding to RPCs". */
START_TEST(f2_durable_before_the_answer)
{
	struct chain c;
	uint64_t index;
	hand_begin(3);
	make_chain(&c, (unsigned[]){1, 0});
	p.node[0].slow_disk = true;
	give_vote_request(0, 1, 1, 0, 0);
	ck_assert(!voted(0));
	paper_sync(&p, 0);
	ck_assert(voted(0));
	give_append(0, 1, 1, p.block0, 0, &c.block[1], 1);
	ck_assert_uint_eq(paper_sent_count(&p, 0, RAFT_APPENDED), 0);
	paper_sync(&p, 0);
	ck_assert(took(0, &index));
	/* what was not durable was not answered, and is forgotten */
	give_vote_request(0, 2, 2, 1, 1);
	paper_crash(&p, 0);
	paper_start(&p, 0);
	ck_assert_uint_eq(paper_status(&p, 0).term, 1);
	ck_assert_uint_eq(paper_status(&p, 0).tip.height, 1);
	free_chain(&c);
	hand_end();
}
END_TEST

/* "While waiting for votes, a candidate may receive an AppendEntries RPC from another server
 * claiming to be leader. If the leader's term is at least as large as the candidate's current
 * term, then the candidate recognizes the leader as legitimate and returns to follower state.
 * If the term in the RPC is smaller, then the candidate rejects the RPC and continues." */
START_TEST(s52_a_candidate_gives_way)
{
	for (uint64_t term = 1; term <= 3; term++) {
		uint64_t index;
		hand_begin(3);
		give_append(0, 2, 1, p.block0, 0, NULL, 0);
		paper_time_out(&p, 0);
		give_vote(0, 1, RAFT_PRE_VOTE, 2, true);
		ck_assert_uint_eq(paper_status(&p, 0).term, 2);
		paper_drop(&p, 0);
		give_append(0, 1, term, p.block0, 0, NULL, 0);
		if (term < 2) {
			ck_assert_int_eq(paper_status(&p, 0).role, ROLE_CANDIDATE);
			ck_assert(!took(0, &index));
		} else {
			ck_assert_int_eq(paper_status(&p, 0).role, ROLE_FOLLOWER);
			ck_assert_uint_eq(paper_status(&p, 0).leader, 1);
		}
		hand_end();
	}
}
END_TEST

/* "If many followers become candidates at the same time, votes could be split... each candidate
 * will time out and start a new election by incrementing its term." */
START_TEST(s52_a_split_vote_is_tried_again)
{
	hand_begin(4);
	for (unsigned i = 0; i < 2; i++) {
		paper_time_out(&p, i);
		for (unsigned k = 0; k < 4; k++)
			if (k != i)
				give_vote(i, k, RAFT_PRE_VOTE, 1, true);
	}
	paper_deliver(&p, 0, 1 << 2); /* 2 votes for 0, 3 for 1 */
	paper_deliver(&p, 1, 1 << 3);
	paper_settle(&p, EVERYBODY);
	ck_assert_uint_eq(paper_leader(&p), 4);
	paper_elect(&p, 0, EVERYBODY);
	ck_assert_uint_eq(paper_leader(&p), 0);
	ck_assert_uint_eq(paper_status(&p, 0).term, 2);
	hand_end();
}
END_TEST

/* "Election timeouts are chosen randomly from a fixed interval." */
START_TEST(s52_timeouts_are_random)
{
	uint64_t seen[7], lowest = UINT64_MAX, highest = 0;
	hand_begin(7);
	for (unsigned i = 0; i < 7; i++) {
		for (seen[i] = 0; !paper_counter(&p, i, COUNT_ELECTIONS_STARTED);
		     seen[i] += 1000)
			paper_pass(&p, i, 1000);
		ck_assert_uint_ge(seen[i], 299000);
		ck_assert_uint_le(seen[i], 601000);
		lowest = seen[i] < lowest ? seen[i] : lowest;
		highest = seen[i] > highest ? seen[i] : highest;
	}
	ck_assert_uint_gt(highest - lowest, 50000);
	hand_end();
}
END_TEST

/* ---- 6, 8, thesis ------------------------------------------------------------------------ */

/* 6: "servers disregard RequestVote RPCs when they believe a current leader exists". */
START_TEST(s6_disregards_requests_while_a_leader_exists)
{
	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	paper_pass(&p, 0, 50000);
	paper_settle(&p, EVERYBODY);
	give_vote_request(1, 2, 9, 9, 9);
	ck_assert_uint_eq(paper_sent_count(&p, 1, RAFT_VOTE), 0);
	ck_assert_uint_eq(paper_status(&p, 1).term, 1);
	paper_pass(&p, 1, 300000);
	give_vote_request(1, 2, 9, 9, 9);
	ck_assert(voted(1));
	hand_end();
}
END_TEST

/* 8: "each leader commits a blank no-op entry into the log at the start of its term". */
START_TEST(s8_a_blank_entry_starts_the_term)
{
	hand_begin(3);
	paper_elect(&p, 2, EVERYBODY);
	ck_assert_uint_eq(p.node[2].final_height, 1);
	ck_assert_uint_eq(p.node[2].final[1]->tx_count, 0);
	ck_assert_uint_eq(p.node[2].final[1]->sh.h.leader, 2);
	hand_end();
}
END_TEST

/* 9.6: a server that is cut off does not raise its term, and comes back without disturbing. */
START_TEST(t96_pre_votes_keep_the_term)
{
	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	for (unsigned k = 0; k < 10; k++) {
		paper_time_out(&p, 2);
		paper_drop(&p, 2);
	}
	ck_assert_uint_eq(paper_status(&p, 2).term, 1);
	paper_time_out(&p, 2);
	paper_settle(&p, EVERYBODY); /* nobody grants */
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_LEADER);
	paper_pass(&p, 0, 50000);
	paper_settle(&p, EVERYBODY);
	ck_assert_uint_eq(paper_status(&p, 2).leader, 0);
	ck_assert_uint_eq(paper_status(&p, 2).term, 1);
	hand_end();
}
END_TEST

/* 6.2: a leader steps down if an election timeout passes without answers from a majority. */
START_TEST(t62_a_leader_that_nobody_answers_steps_down)
{
	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	paper_time_out(&p, 0);
	paper_drop(&p, 0);
	paper_time_out(&p, 0);
	ck_assert_int_ne(paper_status(&p, 0).role, ROLE_LEADER);
	hand_end();
}
END_TEST

/* ---- hostile bytes ------------------------------------------------------------------------
 */

static uint64_t bad_messages(void)
{
	return paper_counter(&p, 0, COUNT_BAD_MESSAGES);
}

/* Every truncation is refused; every flipped bit is refused or means something else, and never
 * more than a counter. */
START_TEST(bytes_that_make_no_sense)
{
	struct chain c;
	struct writer w = {0};
	hand_begin(3);
	make_chain(&c, (unsigned[]){1, 1, 0});
	struct raft_append *m = mem_zalloc(sizeof *m);
	*m = (struct raft_append){.term = 1, .blocks = {.count = 2}};
	m->blocks.block[0] = c.block[1];
	m->blocks.block[1] = c.block[2];
	raft_append_encode(&w, RAFT_APPEND, m);
	for (size_t len = 0; len < w.len; len++) {
		struct raft_message out;
		ck_assert_int_ne(raft_message_decode(&out, slice_of(w.buf, len)), ERR_NONE);
	}
	for (size_t bit = 0; bit < 8 * w.len; bit++) {
		struct raft_message out;
		struct writer again = {0};
		w.buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (raft_message_decode(&out, writer_slice(&w)) == ERR_NONE) {
			if (out.type == RAFT_APPEND) { /* canonical */
				raft_append_encode(&again, RAFT_APPEND, &out.append);
				ck_assert(slice_equal(writer_slice(&again), writer_slice(&w)));
			}
			raft_message_free(&out);
			paper_give(&p, 0, 1, &w);
			paper_drop(&p, 0);
		}
		writer_free(&again);
		w.buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	ck_assert(!p.node[0].halted);
	writer_free(&w);
	mem_free(m);
	free_chain(&c);
	hand_end();
}
END_TEST

/* What no Raft leader sends: two leaders in a term, entries that are no chain, a committed
 * entry replaced, terms at the end of numbers. */
START_TEST(what_no_leader_sends)
{
	struct chain c, other;
	uint64_t before;
	hand_begin(3);
	make_chain(&c, (unsigned[]){1, 1, 1, 0});
	make_chain(&other, (unsigned[]){2, 3, 0});
	give_append(0, 1, 3, c.block[0], 2, &c.block[1], 3);
	ck_assert_uint_eq(p.node[0].final_height, 2);
	before = bad_messages();
	give_append(0, 2, 3, c.block[3], 0, NULL, 0); /* another leader of term 3 */
	ck_assert_uint_eq(bad_messages(), before + 1);
	give_append(0, 1, 3, c.block[3], 0, &other.block[1], 1); /* a wrong index */
	ck_assert_uint_eq(bad_messages(), before + 2);
	give_append(0, 1, 3, c.block[0], 2, &other.block[1],
		    2); /* another past: kept as it is */
	ck_assert_uint_eq(p.node[0].final_height, 2);
	ck_assert(hash_equal(&p.node[0].final[1]->hash, &c.block[1]->hash));
	give_vote_request(0, 2, UINT64_MAX, UINT64_MAX, UINT64_MAX);
	give_vote(0, 2, RAFT_VOTE, UINT64_MAX, true);
	ck_assert_uint_le(paper_status(&p, 0).term, UINT64_C(1) << 62);
	free_chain(&c);
	free_chain(&other);
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
	Suite *s = suite_create("raft");
	TCase *t = tcase_create("paper");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, s51_adopts_a_later_term);
	tcase_add_test(t, s51_rejects_a_stale_term);
	tcase_add_test(t, s52_begins_as_a_follower);
	tcase_add_test(t, s52_a_leader_sends_heartbeats);
	tcase_add_test(t, s52_heartbeats_hold_off_elections);
	tcase_add_test(t, s52_starts_an_election);
	tcase_add_loop_test(t, s52_a_majority_elects, 0, MEM_COUNT(outcomes));
	tcase_add_test(t, s52_one_vote_a_term);
	tcase_add_test(t, f2_durable_before_the_answer);
	tcase_add_test(t, s52_a_candidate_gives_way);
	tcase_add_test(t, s52_a_split_vote_is_tried_again);
	tcase_add_test(t, s52_timeouts_are_random);
	tcase_add_test(t, s6_disregards_requests_while_a_leader_exists);
	tcase_add_test(t, s8_a_blank_entry_starts_the_term);
	tcase_add_test(t, t96_pre_votes_keep_the_term);
	tcase_add_test(t, t62_a_leader_that_nobody_answers_steps_down);
	tcase_add_test(t, bytes_that_make_no_sense);
	tcase_add_test(t, what_no_leader_sends);
	tcase_add_loop_test(t, noise_on_every_link, 0, 20);
	suite_add_tcase(s, t);
	suite_add_tcase(s, raft_log_case());
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
