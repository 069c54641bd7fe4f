/* Log replication and safety: sections 5.3 and 5.4, figures 2, 7 and 8. See check-raft.c. */
#include "base/random.h"
#include "raft-hand.h"

/* ---- 5.3 --------------------------------------------------------------------------------- */

/* "The leader appends the command to its log as a new entry, then issues AppendEntries RPCs in
 * parallel to each of the other servers"; figure 2: with the index and term of the entry
 * before. */
START_TEST(s53_replicates_a_command)
{
	struct raft_message m;
	struct paper_sent s;
	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	ck_assert_uint_eq(p.node[0].final_height, 1); /* the blank entry */
	paper_submit(&p, 0);
	ck_assert_uint_eq(paper_status(&p, 0).tip.height, 2);
	ck_assert(paper_take(&p, 0, RAFT_APPEND, &s));
	ck_assert_uint_eq(s.to, 6);
	ck_assert_int_eq(raft_message_decode(&m, writer_slice(&s.bytes)), ERR_NONE);
	ck_assert_uint_eq(m.append.prev_index, 1);
	ck_assert_uint_eq(m.append.prev_term, 1);
	ck_assert_uint_eq(m.append.commit, 1); /* of the entry before: the piggyback */
	ck_assert_uint_eq(m.append.blocks.count, 1);
	ck_assert_uint_eq(m.append.blocks.block[0]->tx_count, 1);
	raft_message_free(&m);
	writer_free(&s.bytes);
	hand_end();
}
END_TEST

/* "A log entry is committed once the leader that created the entry has replicated it on a
 * majority of the servers... this also commits all preceding entries." "Once a follower learns
 * that a log entry is committed, it applies the entry." */
START_TEST(s53_commits_at_a_majority)
{
	for (unsigned n = 3; n <= 7; n += 2) {
		hand_begin(n);
		paper_elect(&p, 0, EVERYBODY);
		paper_drop(&p, 0);
		paper_submit(&p, 0);
		paper_drop(&p, 0);
		for (unsigned i = 1; i < n; i++) {
			ck_assert_uint_eq(p.node[0].final_height, i <= n / 2 ? 1 : 2);
			give_appended(0, i, 1, true, 2);
		}
		ck_assert_uint_eq(p.node[0].final_height, 2);
		hand_end();
	}
	/* several at once, and the followers after the leader */
	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	for (unsigned k = 0; k < 5; k++)
		paper_submit(&p, 0);
	ck_assert_uint_eq(paper_status(&p, 0).tip.height, 6);
	paper_drop(&p, 0); /* lost; the heartbeat finds out */
	paper_pass(&p, 0, 50000);
	paper_settle(&p, EVERYBODY);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(p.node[i].final_height, 6);
	hand_end();
}
END_TEST

/* A leader's own copy counts once it is durable, like any other (thesis 10.2.1). */
START_TEST(t1021_own_copy_counts_when_durable)
{
	hand_begin(3);
	paper_elect(&p, 0, EVERYBODY);
	p.node[0].slow_disk = true;
	paper_submit(&p, 0);
	ck_assert_uint_eq(paper_sent_count(&p, 0, RAFT_APPEND), 1); /* it is sent meanwhile */
	paper_drop(&p, 0);
	give_appended(0, 1, 1, true, 2);
	ck_assert_uint_eq(p.node[0].final_height, 1);
	paper_sync(&p, 0);
	ck_assert_uint_eq(p.node[0].final_height, 2);
	hand_end();
}
END_TEST

/* Figure 2: "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last
 * new entry)". */
START_TEST(f2_commit_no_further_than_the_new_entries)
{
	struct chain c;
	hand_begin(3);
	make_chain(&c, (unsigned[]){1, 1, 1, 0});
	give_append(0, 1, 1, c.block[0], 0, &c.block[1], 3);
	give_append(0, 1, 1, c.block[0], 3, &c.block[1], 1); /* an old one, late */
	ck_assert_uint_eq(p.node[0].final_height, 1);
	give_append(0, 1, 1, c.block[2], 9, NULL, 0);
	ck_assert_uint_eq(p.node[0].final_height, 2);
	give_append(0, 1, 1, c.block[3], 9, NULL, 0);
	ck_assert_uint_eq(p.node[0].final_height, 3);
	free_chain(&c);
	hand_end();
}
END_TEST

/* "If the follower does not find an entry in its log with the same index and term, then it
 * refuses the new entries." */
START_TEST(s53_the_consistency_check)
{
	struct chain c, other;
	uint64_t index;
	hand_begin(3);
	make_chain(&c, (unsigned[]){1, 2, 0});
	make_chain(&other, (unsigned[]){1, 1, 1, 3, 0});
	give_chain(0, 1, 2, &c);
	give_append(0, 2, 3, other.block[3], 0, &other.block[4], 1); /* none at 3 */
	ck_assert(!took(0, &index));
	ck_assert_uint_eq(index, 3);
	give_append(0, 2, 3, other.block[2], 0, &other.block[3], 1); /* another term at 2 */
	ck_assert(!took(0, &index));
	ck_assert_uint_eq(index, 2);
	ck_assert_uint_eq(paper_status(&p, 0).tip.height, 2);
	ck_assert_uint_eq(paper_status(&p, 0).tip.term, 2);
	give_append(0, 2, 3, other.block[1], 0, &other.block[2], 1); /* the same at 1 */
	ck_assert(took(0, &index));
	ck_assert_uint_eq(paper_status(&p, 0).tip.term, 1);
	free_chain(&c);
	free_chain(&other);
	hand_end();
}
END_TEST

/* Figure 7: whatever a follower has, the leader brings its log to be its own: "conflicting
 * entries in follower logs will be overwritten with entries from the leader's log". */
static const unsigned figure7[][16] = {
	{1, 1, 1, 4, 4, 5, 5, 6, 6},	      /* a */
	{1, 1, 1, 4},			      /* b */
	{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6},    /* c */
	{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7}, /* d */
	{1, 1, 1, 4, 4, 4, 4},		      /* e */
	{1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3},    /* f */
	{0},				      /* nothing at all */
};

START_TEST(f7_follower_logs_are_brought_into_line)
{
	struct chain leader, follower;
	hand_begin(3);
	make_chain(&leader, (unsigned[]){1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 0});
	make_chain(&follower, figure7[_i]);
	give_chain(0, 2, 7, &leader);
	if (figure7[_i][0])
		give_chain(1, 2, 7, &follower);
	/* 0 leads term 8, with the votes of itself and 2 */
	give_append(2, 1, 7, p.block0, 0, NULL, 0);
	paper_drop(&p, 2);
	paper_elect(&p, 0, 5);
	ck_assert_uint_eq(paper_leader(&p), 0);
	ck_assert_uint_eq(paper_status(&p, 0).term, 8);
	struct block_ref before = paper_status(&p, 0).tip;
	paper_pass(&p, 0, 50000);
	paper_settle(&p, EVERYBODY);
	paper_pass(&p, 0, 50000);
	paper_settle(&p, EVERYBODY);
	struct block_ref mine = paper_status(&p, 0).tip, its = paper_status(&p, 1).tip;
	ck_assert(block_ref_equal(&mine, &before)); /* "never overwrites or deletes" its own */
	ck_assert(block_ref_equal(&mine, &its));
	ck_assert_uint_eq(p.node[1].final_height, 11);
	ck_assert(hash_equal(&p.node[1].final[10]->hash, &leader.block[10]->hash));
	free_chain(&leader);
	free_chain(&follower);
	hand_end();
}
END_TEST

/* 5.5: "Raft RPCs are idempotent... if a follower receives an AppendEntries request that
 * includes log entries already present in its log, it ignores those entries." A late one, which
 * ends earlier, does not cut the log. */
START_TEST(s55_again_is_harmless)
{
	struct chain c;
	uint64_t index;
	hand_begin(3);
	make_chain(&c, (unsigned[]){1, 1, 1, 0});
	give_chain(0, 1, 1, &c);
	give_append(0, 1, 1, c.block[0], 0, &c.block[1], 2);
	ck_assert(took(0, &index));
	ck_assert_uint_eq(index, 2);
	ck_assert_uint_eq(paper_status(&p, 0).tip.height, 3);
	free_chain(&c);
	hand_end();
}
END_TEST

/* The Log Matching Property, on logs that random leaders with random losses have made. */
START_TEST(s53_log_matching)
{
	struct random r;
	random_seed(&r, (uint64_t)_i);
	hand_begin(5);
	for (unsigned round = 0; round < 30; round++) {
		uint64_t side = random_below(&r, 32) | UINT64_C(1) << round % 5;
		paper_elect(&p, round % 5, side);
		unsigned leader = paper_leader(&p);
		if (leader < 5 && p.node[leader].driver)
			for (uint64_t k = random_below(&r, 4); k > 0; k--)
				paper_submit(&p, leader);
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
	/* healed: all logs become the same */
	paper_elect(&p, 0, EVERYBODY);
	for (unsigned i = 0; i < 5 && paper_leader(&p) == 5; i++)
		paper_elect(&p, i, EVERYBODY);
	unsigned leader = paper_leader(&p);
	for (unsigned k = 0; k < 4; k++) {
		paper_pass(&p, leader, 50000);
		paper_settle(&p, EVERYBODY);
	}
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(p.node[i].final_height, paper_status(&p, leader).tip.height);
	hand_end();
}
END_TEST

/* ---- 5.4 --------------------------------------------------------------------------------- */

/* "If the logs have last entries with different terms, then the log with the later term is more
 * up-to-date. If the logs end with the same term, then whichever log is longer." */
static const struct {
	unsigned terms[4];
	uint64_t last_index, last_term;
	bool granted;
} up_to_date[] = {
	{{1}, 1, 1, true},     {{1}, 2, 1, true},    {{1, 1}, 1, 1, false}, {{1}, 1, 2, true},
	{{1}, 2, 2, true},     {{1, 1}, 1, 2, true}, {{2}, 1, 1, false},    {{2}, 2, 1, false},
	{{2, 2}, 1, 1, false}, {{0}, 0, 0, true},
};

START_TEST(s541_votes_for_up_to_date_logs_only)
{
	struct chain c;
	hand_begin(3);
	make_chain(&c, up_to_date[_i].terms);
	if (c.length > 1)
		give_chain(0, 1, 2, &c);
	paper_pass(&p, 0, 300000);
	give_vote_request(0, 2, 3, up_to_date[_i].last_index, up_to_date[_i].last_term);
	ck_assert_int_eq(voted(0), up_to_date[_i].granted);
	free_chain(&c);
	hand_end();
}
END_TEST

/* "Only log entries from the leader's current term are committed by counting replicas." */
START_TEST(s542_counts_replicas_of_its_own_term_only)
{
	struct chain c;
	hand_begin(3);
	make_chain(&c, (unsigned[]){1, 2, 0});
	give_chain(0, 2, 2, &c);
	paper_time_out(&p, 0);
	give_vote(0, 1, RAFT_PRE_VOTE, 3, true);
	give_vote(0, 1, RAFT_VOTE, 3, true);
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_LEADER);
	give_appended(0, 1, 3, true, 2); /* a majority holds entry 2, of term 2 */
	ck_assert_uint_eq(p.node[0].final_height, 0);
	give_appended(0, 1, 3, true, 3); /* and 3, of this term */
	ck_assert_uint_eq(p.node[0].final_height, 3);
	free_chain(&c);
	hand_end();
}
END_TEST

/* Figure 8, with S1 to S5 as 0 to 4. (a) S1 leads term 2 and reaches S2 only. (b) S5 leads term
 * 3 by S3, S4 and itself. (c) S1 leads term 4 and brings its entry of term 2 to S3: it is on a
 * majority, and not committed. (d) S5 can still win and overwrite it; or (e) S1 replicates an
 * entry of term 4 on a majority first: then S5 cannot win. */
static void figure8_to_c(void)
{
	hand_begin(5);
	paper_elect(&p, 0, EVERYBODY); /* term 1, entry 1 everywhere */
	paper_pass(&p, 0, 50000);
	paper_settle(&p, EVERYBODY);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_uint_eq(p.node[i].final_height, 1);
		if (i)
			paper_pass(&p, i, 300000);
	}
	/* (a): elected by all, its entry reaches S2 only */
	paper_crash(&p, 0);
	paper_start(&p, 0);
	paper_time_out(&p, 0);
	paper_deliver(&p, 0, EVERYBODY);
	for (unsigned i = 1; i < 5; i++)
		paper_deliver(&p, i, 1);
	paper_deliver(&p, 0, EVERYBODY); /* RequestVote */
	for (unsigned i = 1; i < 5; i++)
		paper_deliver(&p, i, 1);
	ck_assert_uint_eq(paper_leader(&p), 0);
	ck_assert_uint_eq(paper_status(&p, 0).term, 2);
	paper_deliver(&p, 0, 1 << 1);
	ck_assert_uint_eq(paper_status(&p, 1).tip.height, 2);
	paper_drop(&p, 1);
	/* (b) */
	paper_crash(&p, 0);
	paper_pass(&p, 2, 300000);
	paper_pass(&p, 3, 300000);
	paper_time_out(&p, 4);
	paper_deliver(&p, 4, 12);
	paper_deliver(&p, 2, 16);
	paper_deliver(&p, 3, 16);
	paper_deliver(&p, 4, 12);
	paper_deliver(&p, 2, 16);
	paper_deliver(&p, 3, 16);
	ck_assert_uint_eq(paper_leader(&p), 4);
	ck_assert_uint_eq(paper_status(&p, 4).term, 3);
	ck_assert_uint_eq(paper_status(&p, 4).tip.height, 2);
	paper_crash(&p, 4); /* what it sent is lost; its entry is on its disk */
	/* (c): S1 knows terms up to 2, S3 and S4 are in 3, so it is refused once */
	paper_start(&p, 0);
	for (unsigned i = 1; i < 4; i++)
		paper_pass(&p, i, 300000);
	paper_time_out(&p, 0);
	paper_settle(&p, 15);
	if (paper_leader(&p) != 0)
		paper_elect(&p, 0, 15);
	/* its last messages to S4 never came */
	ck_assert_uint_eq(paper_leader(&p), 0);
	ck_assert_uint_ge(paper_status(&p, 0).term, 4);
}

START_TEST(f8_a_leader_s_entry_of_an_older_term)
{
	struct engine_status s;
	figure8_to_c();
	/* (e): S1's blank entry of term 4 has followed on S2, S3, S4: committed with it */
	s = paper_status(&p, 0);
	ck_assert_uint_eq(s.tip.height, 3);
	ck_assert_uint_eq(p.node[0].final_height, 3);
	ck_assert_uint_eq(p.node[0].final[2]->sh.h.term, 2);
	paper_crash(&p, 0);
	paper_start(&p, 4);
	paper_elect(&p, 4, 30); /* S5 asks S2, S3, S4 */
	paper_elect(&p, 4, 30);
	ck_assert_int_ne(paper_status(&p, 4).role, ROLE_LEADER);
	paper_elect(&p, 1, 30);
	paper_pass(&p, 1, 50000);
	paper_settle(&p, 30);
	ck_assert_uint_eq(p.node[4].final[2]->sh.h.term, 2); /* S5's own of term 3 is gone */
	hand_end();
}
END_TEST

/* (d): the same, but nothing of term 4 leaves S1. The entry of term 2 is on S1, S2 and S3, and
 * nobody has it committed; S5's overwrites it. */
START_TEST(f8_is_overwritten_although_on_a_majority)
{
	struct chain two, three;
	hand_begin(5);
	make_chain(&two, (unsigned[]){1, 2, 0});
	make_chain(&three, (unsigned[]){1, 3, 0});
	for (unsigned i = 1; i < 3; i++)
		give_chain(i, 0, 2, &two);
	give_chain(0, 1, 2, &two);
	give_chain(4, 3, 3, &three);
	/* S1 leads term 4, counts three replicas of entry 2 */
	give_append(0, 4, 3, p.block0, 0, NULL, 0);
	paper_time_out(&p, 0);
	give_vote(0, 1, RAFT_PRE_VOTE, 4, true);
	give_vote(0, 2, RAFT_PRE_VOTE, 4, true);
	give_vote(0, 1, RAFT_VOTE, 4, true);
	give_vote(0, 2, RAFT_VOTE, 4, true);
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_LEADER);
	give_appended(0, 1, 4, true, 2);
	give_appended(0, 2, 4, true, 2);
	ck_assert_uint_eq(p.node[0].final_height, 0); /* the point of figure 8 */
	paper_crash(&p, 0);
	/* S5 wins with S2, S3, S4 and replaces it */
	for (unsigned i = 1; i < 5; i++)
		give_append(i, 0, 4, p.block0, 0, NULL, 0);
	paper_elect(&p, 4, 30);
	ck_assert_uint_eq(paper_leader(&p), 4);
	paper_pass(&p, 4, 50000);
	paper_settle(&p, 30);
	for (unsigned i = 1; i < 5; i++) {
		ck_assert_uint_ge(p.node[i].final_height, 2);
		ck_assert_uint_eq(p.node[i].final[2]->sh.h.term, 3);
	}
	free_chain(&two);
	free_chain(&three);
	hand_end();
}
END_TEST

TCase *raft_log_case(void)
{
	TCase *t = tcase_create("log");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, s53_replicates_a_command);
	tcase_add_test(t, s53_commits_at_a_majority);
	tcase_add_test(t, t1021_own_copy_counts_when_durable);
	tcase_add_test(t, f2_commit_no_further_than_the_new_entries);
	tcase_add_test(t, s53_the_consistency_check);
	tcase_add_loop_test(t, f7_follower_logs_are_brought_into_line, 0, MEM_COUNT(figure7));
	tcase_add_test(t, s55_again_is_harmless);
	tcase_add_loop_test(t, s53_log_matching, 0, 20);
	tcase_add_loop_test(t, s541_votes_for_up_to_date_logs_only, 0, MEM_COUNT(up_to_date));
	tcase_add_test(t, s542_counts_replicas_of_its_own_term_only);
	tcase_add_test(t, f8_a_leader_s_entry_of_an_older_term);
	tcase_add_test(t, f8_is_overwritten_although_on_a_majority);
	return t;
}
