/* The Raft paper, sentence by sentence (after etcd's raft_paper_test): Ongaro, Ousterhout, "In
 * Search of an Understandable Consensus Algorithm (Extended Version)". Each case is named after
 * the section that it takes; thesis: Ongaro, "Consensus: Bridging Theory and Practice". */
#include <check.h>
#include <stdlib.h>

#include "base/random.h"
#include "consensus/raft/message.h"
#include "paper.h"

static struct paper p;

static void begin(unsigned n)
{
	paper_begin(&p, PROTOCOL_RAFT, n);
}

static void end(void)
{
	paper_agree(&p);
	paper_end(&p);
}

/* ---- messages by hand -------------------------------------------------------------------- */

static void give_vote_request(unsigned to, unsigned from, uint64_t term, uint64_t last_index,
			      uint64_t last_term)
{
	struct writer w = {0};
	struct raft_vote_request m = {term, last_index, last_term};
	raft_vote_request_encode(&w, RAFT_VOTE_REQUEST, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

static void give_vote(unsigned to, unsigned from, uint8_t type, uint64_t term, bool granted)
{
	struct writer w = {0};
	struct raft_vote m = {term, granted};
	raft_vote_encode(&w, type, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

static void give_append(unsigned to, unsigned from, uint64_t term, const struct block *prev,
			uint64_t commit, struct block **blocks, uint32_t count)
{
	struct writer w = {0};
	struct raft_append *m = mem_zalloc(sizeof *m);
	m->term = term;
	m->prev_index = prev->sh.h.height;
	m->prev_term = prev->sh.h.term;
	m->commit = commit;
	m->blocks.count = count;
	for (uint32_t i = 0; i < count; i++)
		m->blocks.block[i] = blocks[i];
	raft_append_encode(&w, count ? RAFT_APPEND : RAFT_HEARTBEAT, m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
	mem_free(m);
}

static void give_appended(unsigned to, unsigned from, uint64_t term, bool success,
			  uint64_t index)
{
	struct writer w = {0};
	struct raft_appended m = {term, success, index};
	raft_appended_encode(&w, RAFT_APPENDED, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

/* The newest message of this type that i has sent, decoded; all it sent is dropped. */
static bool last_sent(unsigned i, uint8_t type, struct raft_message *out)
{
	struct paper_sent s;
	bool any = false;
	while (paper_take(&p, i, type, &s)) {
		if (any)
			raft_message_free(out);
		ck_assert_int_eq(raft_message_decode(out, writer_slice(&s.bytes)), ERR_NONE);
		writer_free(&s.bytes);
		any = true;
	}
	paper_drop(&p, i);
	return any;
}

static bool voted(unsigned i)
{
	struct raft_message m;
	return last_sent(i, RAFT_VOTE, &m) && m.vote.granted;
}

static bool took(unsigned i, uint64_t *index)
{
	struct raft_message m;
	uint8_t type =
		paper_sent_count(&p, i, RAFT_APPENDED) ? RAFT_APPENDED : RAFT_HEARTBEAT_REPLY;
	ck_assert(last_sent(i, type, &m));
	*index = m.appended.index;
	return m.appended.success;
}

/* Blocks 1..n of these terms on block 0; terms end with 0. chain[0] is block 0. */
struct chain {
	struct block *block[32];
	unsigned length;
};
static void make_chain(struct chain *c, const unsigned *terms)
{
	c->block[0] = block_hold(p.block0);
	for (c->length = 1; *terms; terms++, c->length++)
		c->block[c->length] =
			paper_block(&p, c->block[c->length - 1], *terms, *terms % p.n);
}
static void free_chain(struct chain *c)
{
	while (c->length)
		block_drop(c->block[--c->length]);
}
/* Follower i holds the chain, given by `from` in this term, nothing committed. */
static void give_chain(unsigned i, unsigned from, uint64_t term, struct chain *c)
{
	uint64_t index;
	give_append(i, from, term, c->block[0], 0, &c->block[1], c->length - 1);
	ck_assert(took(i, &index));
	ck_assert_uint_eq(index, c->length - 1);
}

/* ---- 5.1 --------------------------------------------------------------------------------- */

/* "If one server's current term is smaller than the other's, then it updates its current term
 * to the larger value. If a candidate or leader discovers that its term is out of date, it
 * immediately reverts to follower state." */
START_TEST(s51_adopts_a_later_term)
{
	begin(3);
	give_append(0, 1, 7, p.block0, 0, NULL, 0); /* a follower */
	ck_assert_uint_eq(paper_status(&p, 0).term, 7);
	paper_time_out(&p, 0); /* a candidate */
	give_append(0, 1, 9, p.block0, 0, NULL, 0);
	ck_assert_uint_eq(paper_status(&p, 0).term, 9);
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_FOLLOWER);
	end();

	begin(3);
	paper_elect(&p, 0, EVERYBODY);
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_LEADER);
	give_appended(0, 1, 42, false, 1);
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_FOLLOWER);
	ck_assert_uint_eq(paper_status(&p, 0).term, 42);
	end();
}
END_TEST

/* "If a server receives a request with a stale term number, it rejects the request." */
START_TEST(s51_rejects_a_stale_term)
{
	uint64_t index;
	struct chain c;
	begin(3);
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
	end();
}
END_TEST

/* ---- 5.2 --------------------------------------------------------------------------------- */

/* "When servers start up, they begin as followers." */
START_TEST(s52_begins_as_a_follower)
{
	begin(3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(paper_status(&p, i).role, ROLE_FOLLOWER);
	paper_elect(&p, 0, EVERYBODY);
	paper_crash(&p, 0);
	paper_start(&p, 0);
	ck_assert_int_eq(paper_status(&p, 0).role, ROLE_FOLLOWER);
	end();
}
END_TEST

/* "Leaders send periodic heartbeats to all followers." */
START_TEST(s52_a_leader_sends_heartbeats)
{
	begin(3);
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
	end();
}
END_TEST

/* "A server remains in follower state as long as it receives valid RPCs from a leader or
 * candidate." */
START_TEST(s52_heartbeats_hold_off_elections)
{
	begin(3);
	for (unsigned k = 0; k < 20; k++) {
		give_append(0, 1, 1, p.block0, 0, NULL, 0);
		paper_pass(&p, 0, 290000);
	}
	ck_assert_uint_eq(paper_counter(&p, 0, COUNT_ELECTIONS_STARTED), 0);
	paper_time_out(&p, 0);
	ck_assert_uint_eq(paper_counter(&p, 0, COUNT_ELECTIONS_STARTED), 1);
	end();
}
END_TEST

/* "To begin an election, a follower increments its current term and transitions to candidate
 * state. It then votes for itself and issues RequestVote RPCs in parallel to each of the other
 * servers." (After pre-votes: thesis 9.6.) */
START_TEST(s52_starts_an_election)
{
	struct raft_message m;
	struct paper_sent s;
	begin(3);
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
	end();
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
	begin(n);
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
	end();
}
END_TEST

/* "Each server will vote for at most one candidate in a given term, on a
 * first-come-first-served basis." And 5.1's "persistent state": after a crash as well. */
START_TEST(s52_one_vote_a_term)
{
	begin(3);
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
	end();
}
END_TEST

/* Figure 2: "Updated on stable storage before responding to RPCs". */
START_TEST(f2_durable_before_the_answer)
{
	struct chain c;
	uint64_t index;
	begin(3);
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
	end();
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
		begin(3);
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
		end();
	}
}
END_TEST

/* "If many followers become candidates at the same time, votes could be split... each candidate
 * will time out and start a new election by incrementing its term." */
START_TEST(s52_a_split_vote_is_tried_again)
{
	begin(4);
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
	end();
}
END_TEST

/* "Election timeouts are chosen randomly from a fixed interval." */
START_TEST(s52_timeouts_are_random)
{
	uint64_t seen[7], lowest = UINT64_MAX, highest = 0;
	begin(7);
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
	end();
}
END_TEST

/* ---- 5.3 --------------------------------------------------------------------------------- */

/* "The leader appends the command to its log as a new entry, then issues AppendEntries RPCs in
 * parallel to each of the other servers"; figure 2: with the index and term of the entry
 * before. */
START_TEST(s53_replicates_a_command)
{
	struct raft_message m;
	struct paper_sent s;
	begin(3);
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
	end();
}
END_TEST

/* "A log entry is committed once the leader that created the entry has replicated it on a
 * majority of the servers... this also commits all preceding entries." "Once a follower learns
 * that a log entry is committed, it applies the entry." */
START_TEST(s53_commits_at_a_majority)
{
	for (unsigned n = 3; n <= 7; n += 2) {
		begin(n);
		paper_elect(&p, 0, EVERYBODY);
		paper_drop(&p, 0);
		paper_submit(&p, 0);
		paper_drop(&p, 0);
		for (unsigned i = 1; i < n; i++) {
			ck_assert_uint_eq(p.node[0].final_height, i <= n / 2 ? 1 : 2);
			give_appended(0, i, 1, true, 2);
		}
		ck_assert_uint_eq(p.node[0].final_height, 2);
		end();
	}
	/* several at once, and the followers after the leader */
	begin(3);
	paper_elect(&p, 0, EVERYBODY);
	for (unsigned k = 0; k < 5; k++)
		paper_submit(&p, 0);
	ck_assert_uint_eq(paper_status(&p, 0).tip.height, 6);
	paper_drop(&p, 0); /* lost; the heartbeat finds out */
	paper_pass(&p, 0, 50000);
	paper_settle(&p, EVERYBODY);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(p.node[i].final_height, 6);
	end();
}
END_TEST

/* A leader's own copy counts once it is durable, like any other (thesis 10.2.1). */
START_TEST(t1021_own_copy_counts_when_durable)
{
	begin(3);
	paper_elect(&p, 0, EVERYBODY);
	p.node[0].slow_disk = true;
	paper_submit(&p, 0);
	ck_assert_uint_eq(paper_sent_count(&p, 0, RAFT_APPEND), 1); /* it is sent meanwhile */
	paper_drop(&p, 0);
	give_appended(0, 1, 1, true, 2);
	ck_assert_uint_eq(p.node[0].final_height, 1);
	paper_sync(&p, 0);
	ck_assert_uint_eq(p.node[0].final_height, 2);
	end();
}
END_TEST

/* Figure 2: "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last
 * new entry)". */
START_TEST(f2_commit_no_further_than_the_new_entries)
{
	struct chain c;
	begin(3);
	make_chain(&c, (unsigned[]){1, 1, 1, 0});
	give_append(0, 1, 1, c.block[0], 0, &c.block[1], 3);
	give_append(0, 1, 1, c.block[0], 3, &c.block[1], 1); /* an old one, late */
	ck_assert_uint_eq(p.node[0].final_height, 1);
	give_append(0, 1, 1, c.block[2], 9, NULL, 0);
	ck_assert_uint_eq(p.node[0].final_height, 2);
	give_append(0, 1, 1, c.block[3], 9, NULL, 0);
	ck_assert_uint_eq(p.node[0].final_height, 3);
	free_chain(&c);
	end();
}
END_TEST

/* "If the follower does not find an entry in its log with the same index and term, then it
 * refuses the new entries." */
START_TEST(s53_the_consistency_check)
{
	struct chain c, other;
	uint64_t index;
	begin(3);
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
	end();
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
	begin(3);
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
	end();
}
END_TEST

/* 5.5: "Raft RPCs are idempotent... if a follower receives an AppendEntries request that
 * includes log entries already present in its log, it ignores those entries." A late one, which
 * ends earlier, does not cut the log. */
START_TEST(s55_again_is_harmless)
{
	struct chain c;
	uint64_t index;
	begin(3);
	make_chain(&c, (unsigned[]){1, 1, 1, 0});
	give_chain(0, 1, 1, &c);
	give_append(0, 1, 1, c.block[0], 0, &c.block[1], 2);
	ck_assert(took(0, &index));
	ck_assert_uint_eq(index, 2);
	ck_assert_uint_eq(paper_status(&p, 0).tip.height, 3);
	free_chain(&c);
	end();
}
END_TEST

/* The Log Matching Property, on logs that random leaders with random losses have made. */
START_TEST(s53_log_matching)
{
	struct random r;
	random_seed(&r, (uint64_t)_i);
	begin(5);
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
	end();
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
	begin(3);
	make_chain(&c, up_to_date[_i].terms);
	if (c.length > 1)
		give_chain(0, 1, 2, &c);
	paper_pass(&p, 0, 300000);
	give_vote_request(0, 2, 3, up_to_date[_i].last_index, up_to_date[_i].last_term);
	ck_assert_int_eq(voted(0), up_to_date[_i].granted);
	free_chain(&c);
	end();
}
END_TEST

/* "Only log entries from the leader's current term are committed by counting replicas." */
START_TEST(s542_counts_replicas_of_its_own_term_only)
{
	struct chain c;
	begin(3);
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
	end();
}
END_TEST

/* Figure 8, with S1 to S5 as 0 to 4. (a) S1 leads term 2 and reaches S2 only. (b) S5 leads term
 * 3 by S3, S4 and itself. (c) S1 leads term 4 and brings its entry of term 2 to S3: it is on a
 * majority, and not committed. (d) S5 can still win and overwrite it; or (e) S1 replicates an
 * entry of term 4 on a majority first: then S5 cannot win. */
static void figure8_to_c(void)
{
	begin(5);
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
	end();
}
END_TEST

/* (d): the same, but nothing of term 4 leaves S1. The entry of term 2 is on S1, S2 and S3, and
 * nobody has it committed; S5's overwrites it. */
START_TEST(f8_is_overwritten_although_on_a_majority)
{
	struct chain two, three;
	begin(5);
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
	end();
}
END_TEST

/* ---- 6, 8, thesis ------------------------------------------------------------------------ */

/* 6: "servers disregard RequestVote RPCs when they believe a current leader exists". */
START_TEST(s6_disregards_requests_while_a_leader_exists)
{
	begin(3);
	paper_elect(&p, 0, EVERYBODY);
	paper_pass(&p, 0, 50000);
	paper_settle(&p, EVERYBODY);
	give_vote_request(1, 2, 9, 9, 9);
	ck_assert_uint_eq(paper_sent_count(&p, 1, RAFT_VOTE), 0);
	ck_assert_uint_eq(paper_status(&p, 1).term, 1);
	paper_pass(&p, 1, 300000);
	give_vote_request(1, 2, 9, 9, 9);
	ck_assert(voted(1));
	end();
}
END_TEST

/* 8: "each leader commits a blank no-op entry into the log at the start of its term". */
START_TEST(s8_a_blank_entry_starts_the_term)
{
	begin(3);
	paper_elect(&p, 2, EVERYBODY);
	ck_assert_uint_eq(p.node[2].final_height, 1);
	ck_assert_uint_eq(p.node[2].final[1]->tx_count, 0);
	ck_assert_uint_eq(p.node[2].final[1]->sh.h.leader, 2);
	end();
}
END_TEST

/* 9.6: a server that is cut off does not raise its term, and comes back without disturbing. */
START_TEST(t96_pre_votes_keep_the_term)
{
	begin(3);
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
	end();
}
END_TEST

/* 6.2: a leader steps down if an election timeout passes without answers from a majority. */
START_TEST(t62_a_leader_that_nobody_answers_steps_down)
{
	begin(3);
	paper_elect(&p, 0, EVERYBODY);
	paper_time_out(&p, 0);
	paper_drop(&p, 0);
	paper_time_out(&p, 0);
	ck_assert_int_ne(paper_status(&p, 0).role, ROLE_LEADER);
	end();
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
	begin(3);
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
	end();
}
END_TEST

/* What no Raft leader sends: two leaders in a term, entries that are no chain, a committed
 * entry replaced, terms at the end of numbers. */
START_TEST(what_no_leader_sends)
{
	struct chain c, other;
	uint64_t before;
	begin(3);
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
	end();
}
END_TEST

/* Damaged copies of real messages, by the thousand. */
START_TEST(noise_on_every_link)
{
	begin(3 + 2 * (_i % 2));
	paper_noise(&p, (uint64_t)_i, 400);
	paper_end(&p);
}
END_TEST

int main(void)
{
	crypto_init();
	paper_mutant();
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
	tcase_add_test(t, s6_disregards_requests_while_a_leader_exists);
	tcase_add_test(t, s8_a_blank_entry_starts_the_term);
	tcase_add_test(t, t96_pre_votes_keep_the_term);
	tcase_add_test(t, t62_a_leader_that_nobody_answers_steps_down);
	tcase_add_test(t, bytes_that_make_no_sense);
	tcase_add_test(t, what_no_leader_sends);
	tcase_add_loop_test(t, noise_on_every_link, 0, 20);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
