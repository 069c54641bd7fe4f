/* "Paxos Made Simple" (Lamport, 2001), sentence by sentence. Each case is named after the
 * section that it takes. A value is a block for its slot, a ballot the paper's proposal number.
 */
#include <check.h>
#include <stdlib.h>

#include "base/random.h"
#include "consensus/multipaxos/message.h"
#include "paper.h"

static struct paper p;

static void begin(unsigned n)
{
	paper_begin(&p, PROTOCOL_MULTIPAXOS, n);
}

static void end(void)
{
	paper_agree(&p);
	paper_end(&p);
}

/* ---- messages by hand -------------------------------------------------------------------- */

static void give_prepare(unsigned to, unsigned from, uint64_t ballot, uint64_t slot)
{
	struct writer w = {0};
	struct paxos_prepare m = {ballot, slot};
	paxos_prepare_encode(&w, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

static void give_accept(unsigned to, unsigned from, uint64_t ballot, uint64_t commit,
			struct block *value)
{
	struct writer w = {0};
	struct paxos_accept *m = mem_zalloc(sizeof *m);
	m->ballot = ballot;
	m->commit = commit;
	m->value.count = 1;
	m->value.block[0] = value;
	paxos_accept_encode(&w, m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
	mem_free(m);
}

static void give_promise(unsigned to, unsigned from, uint64_t ballot, uint64_t final,
			 struct block **values, const uint64_t *ballots, uint32_t count)
{
	struct writer w = {0};
	struct paxos_promise *m = mem_zalloc(sizeof *m);
	m->ballot = ballot;
	m->final = final;
	m->total = m->values.count = count;
	for (uint32_t i = 0; i < count; i++) {
		m->values.block[i] = values[i];
		m->ballot_of[i] = ballots[i];
	}
	paxos_promise_encode(&w, m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
	mem_free(m);
}

static void give_accepted(unsigned to, unsigned from, uint64_t ballot, uint64_t slot)
{
	struct writer w = {0};
	struct paxos_accepted m = {ballot, slot};
	paxos_accepted_encode(&w, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

static void give_news(unsigned to, unsigned from, uint8_t type, uint64_t ballot,
		      uint64_t commit)
{
	struct writer w = {0};
	struct paxos_news m = {ballot, commit};
	paxos_news_encode(&w, type, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

/* The first message of this type that i has sent. */
static bool first_sent(unsigned i, uint8_t type, struct paxos_message *out)
{
	struct paper_sent s;
	if (!paper_take(&p, i, type, &s))
		return false;
	ck_assert_int_eq(paxos_message_decode(out, writer_slice(&s.bytes)), ERR_NONE);
	writer_free(&s.bytes);
	return true;
}

static bool promises(unsigned i, struct paxos_message *out)
{
	bool any = first_sent(i, PAXOS_PROMISE, out);
	paper_drop(&p, i);
	return any;
}

static bool accepts(unsigned i, uint64_t ballot, uint64_t slot)
{
	struct paxos_message m;
	bool any = first_sent(i, PAXOS_ACCEPTED, &m);
	paper_drop(&p, i);
	return any && m.accepted.ballot == ballot && m.accepted.slot == slot;
}

/* The value for a slot that i proposes; the caller's reference. NULL: none. */
static struct block *proposed(unsigned i, uint64_t slot)
{
	struct paxos_message m;
	while (first_sent(i, PAXOS_ACCEPT, &m)) {
		struct block *b = block_hold(m.accept.value.block[0]);
		paxos_message_free(&m);
		if (b->sh.h.height == slot)
			return b;
		block_drop(b);
	}
	return NULL;
}

static bool same(const struct block *a, const struct block *b)
{
	return a && b && hash_equal(&a->hash, &b->hash);
}

/* Blocks for slots 1 to n in these ballots, on each other; [0] is block 0. */
struct values {
	struct block *slot[16];
	unsigned length;
};
static void make_values(struct values *v, const unsigned *ballots)
{
	v->slot[0] = block_hold(p.block0);
	for (v->length = 1; *ballots; ballots++, v->length++)
		v->slot[v->length] =
			paper_block(&p, v->slot[v->length - 1], *ballots, *ballots % p.n);
}
static void free_values(struct values *v)
{
	while (v->length)
		block_drop(v->slot[--v->length]);
}

/* Node i is out to lead, with this ballot. */
static uint64_t preparing(unsigned i)
{
	struct paxos_message m;
	paper_time_out(&p, i);
	ck_assert(first_sent(i, PAXOS_PREPARE, &m));
	paper_drop(&p, i);
	return m.prepare.ballot;
}

/* ---- 2.2 --------------------------------------------------------------------------------- */

/* P1: "An acceptor must accept the first proposal that it receives." */
START_TEST(s22_p1_accepts_the_first_proposal)
{
	struct values v;
	begin(3);
	make_values(&v, (unsigned[]){4, 0});
	give_accept(0, 1, 4, 0, v.slot[1]);
	ck_assert(accepts(0, 4, 1));
	ck_assert_uint_eq(p.node[0].final_height,
			  0); /* by nobody's word chosen, and yet shown */
	ck_assert_uint_eq(paper_status(&p, 0).tip.height, 1);
	free_values(&v);
	end();
}
END_TEST

/* P1a: "An acceptor can accept a proposal numbered n iff it has not responded to a prepare
 * request having a number greater than n." */
START_TEST(s22_p1a_keeps_its_promise)
{
	struct values v;
	struct paxos_message m;
	begin(3);
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
	end();
}
END_TEST

/* "It receives a prepare request numbered n, but it has already responded to a prepare request
 * numbered greater than n... We therefore have the acceptor ignore such a prepare request"; 2.2
 * end: "it should probably inform the proposer, who should then abandon its proposal". */
START_TEST(s22_ignores_lower_prepares_and_says_so)
{
	struct paxos_message m;
	begin(3);
	give_prepare(0, 2, 5, 1);
	ck_assert(promises(0, &m));
	give_prepare(0, 1, 4, 1);
	ck_assert(first_sent(0, PAXOS_NACK, &m));
	ck_assert_uint_eq(m.nack.ballot, 4);
	ck_assert_uint_eq(m.nack.promised, 5);
	ck_assert(!promises(0, &m));
	give_prepare(0, 2, 5, 1); /* sent again: answered again */
	ck_assert(promises(0, &m));
	end();
}
END_TEST

/* Phase 1 (b): "it responds to the request with a promise not to accept any more proposals
 * numbered less than n and with the highest-numbered proposal (if any) that it has accepted."
 */
START_TEST(s22_a_promise_tells_what_was_accepted)
{
	struct values v, w;
	struct paxos_message m;
	begin(3);
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
	end();
}
END_TEST

/* P2c: "v is the value of the highest-numbered proposal among all proposals numbered less than
 * n accepted by the acceptors in S." */
START_TEST(s22_p2c_takes_the_highest_value)
{
	struct values v, w;
	struct block *b;
	begin(5);
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
	end();
}
END_TEST

/* The same with the proposer's own acceptor, which is of S like the others. */
START_TEST(s22_p2c_its_own_acceptor_counts)
{
	struct values v, w;
	struct block *b;
	begin(3);
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
	end();
}
END_TEST

/* Phase 2 (a): "If the proposer receives a response to its prepare requests from a majority of
 * acceptors". */
START_TEST(s22_phase_2_takes_a_majority)
{
	for (unsigned n = 2; n <= 7; n++) {
		begin(n);
		uint64_t ballot = preparing(0);
		for (unsigned i = 1; i <= n / 2; i++) {
			ck_assert_int_eq(paper_status(&p, 0).role, ROLE_CANDIDATE);
			give_promise(0, i, ballot, 0, NULL, NULL, 0);
			give_promise(0, i, ballot, 0, NULL, NULL, 0); /* twice is once */
		}
		ck_assert_int_eq(paper_status(&p, 0).role, ROLE_LEADER);
		end();
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
	begin(3);
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
	end();
}
END_TEST

/* 2.5: "Different proposers choose their numbers from disjoint sets... each proposer remembers
 * (in stable storage) the highest-numbered proposal it has tried to issue, and begins phase 1
 * with a higher proposal number than any it has already used." */
START_TEST(s25_numbers_are_used_once)
{
	uint64_t last[3] = {0};
	begin(3);
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
	end();
}
END_TEST

/* 2.5: the number is on the disk before anybody hears of it. */
START_TEST(s25_a_number_is_durable_before_it_is_used)
{
	begin(3);
	p.node[0].slow_disk = true;
	paper_time_out(&p, 0);
	ck_assert_uint_eq(paper_sent_count(&p, 0, PAXOS_PREPARE), 0);
	paper_sync(&p, 0);
	ck_assert_uint_eq(paper_sent_count(&p, 0, PAXOS_PREPARE), 1);
	end();
}
END_TEST

/* "A proposer can make multiple proposals, so long as it follows the algorithm for each one. It
 * can abandon a proposal at any time": whoever is told of a higher number does. */
START_TEST(s22_a_proposer_gives_way)
{
	struct paxos_message m;
	begin(3);
	uint64_t ballot = preparing(0);
	give_prepare(0, 1, ballot + 4, 1); /* a higher one, of 1 */
	ck_assert(promises(0, &m));
	give_promise(0, 2, ballot, 0, NULL, NULL, 0); /* too late */
	ck_assert_int_ne(paper_status(&p, 0).role, ROLE_LEADER);
	ck_assert_uint_eq(paper_sent_count(&p, 0, PAXOS_ACCEPT), 0);
	end();
}
END_TEST

/* ---- 2.3, 2.4 ---------------------------------------------------------------------------- */

/* 2.3: "To learn that a value has been chosen, a learner must find out that a proposal has been
 * accepted by a majority of acceptors." */
START_TEST(s23_chosen_by_a_majority)
{
	for (unsigned n = 3; n <= 7; n += 2) {
		begin(n);
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
		end();
	}
}
END_TEST

/* The leader's own acceptance counts when it is durable. */
START_TEST(s25_own_acceptance_counts_when_durable)
{
	begin(3);
	paper_elect(&p, 0, EVERYBODY);
	p.node[0].slow_disk = true;
	paper_submit(&p, 0);
	ck_assert_uint_eq(paper_sent_count(&p, 0, PAXOS_ACCEPT), 1);
	paper_drop(&p, 0);
	give_accepted(0, 1, paper_status(&p, 0).term, 1);
	ck_assert_uint_eq(p.node[0].final_height, 0);
	paper_sync(&p, 0);
	ck_assert_uint_eq(p.node[0].final_height, 1);
	end();
}
END_TEST

/* A learner is told that slots are chosen, not what is: what it accepted in that very ballot
 * is, and what it accepted in an older one need not be. */
START_TEST(s23_learns_what_it_accepted_in_the_ballot)
{
	struct values v, w;
	begin(3);
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
	end();
}
END_TEST

/* 2.4: two proposers that each answer the other's number with a higher one choose nothing; a
 * distinguished one does. */
START_TEST(s24_a_distinguished_proposer_makes_progress)
{
	begin(3);
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
	end();
}
END_TEST

/* Whoever was promised a higher number than the leader's is not lost: phase 1 again, above it.
 */
START_TEST(s22_a_leader_told_of_a_higher_number_begins_again)
{
	begin(3);
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
	end();
}
END_TEST

/* ---- 3 ----------------------------------------------------------------------------------- */

/* "The leader... executes phase 1 for infinitely many instances": one request for all slots,
 * and none for the next commands. */
START_TEST(s3_phase_1_once_for_all_slots)
{
	begin(3);
	paper_elect(&p, 0, EVERYBODY);
	unsigned prepares = (unsigned)paper_counter(&p, 0, COUNT_ELECTIONS_STARTED);
	for (unsigned k = 0; k < 10; k++) {
		paper_submit(&p, 0);
		ck_assert_uint_eq(paper_sent_count(&p, 0, PAXOS_PREPARE), 0);
		paper_settle(&p, EVERYBODY);
	}
	ck_assert_uint_eq(p.node[0].final_height, 10);
	ck_assert_uint_eq(paper_counter(&p, 0, COUNT_ELECTIONS_STARTED), prepares);
	end();
}
END_TEST

/* "A leader can get α commands ahead": several slots in flight, chosen in any order, executed
 * in theirs. */
START_TEST(s3_slots_are_chosen_in_any_order)
{
	begin(3);
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
	end();
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
	begin(3);
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
	end();
}
END_TEST

/* All learners make the same block out of a value that was made on another past: "each server
 * executes the commands in order" of the slots, whatever it had seen before. */
START_TEST(s3_learners_execute_in_slot_order)
{
	struct values v;
	begin(3);
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
	end(); /* agreement is checked */
	free_values(&v);
}
END_TEST

/* "The newly chosen leader, being a learner in all instances, should know most of the commands
 * that have already been chosen": what an acceptor of the majority knows and the leader does
 * not, it fetches before it proposes anything. */
START_TEST(s3_a_new_leader_learns_first)
{
	begin(3);
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
	end();
}
END_TEST

/* Many values take several messages; a promise counts when all of them are in, in whatever
 * order they are lost and come again. */
START_TEST(a_long_promise_counts_when_it_is_complete)
{
	struct values v;
	struct writer w = {0};
	struct block *b;
	begin(3);
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
	end();
}
END_TEST

/* Agreement, through random leaders, losses and crashes; and progress once all is well. */
START_TEST(s21_only_one_value_is_chosen)
{
	struct random r;
	random_seed(&r, (uint64_t)_i);
	begin(5);
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
	end();
}
END_TEST

/* ---- hostile bytes ------------------------------------------------------------------------
 */

/* Every truncation is refused; a flipped bit is refused or means something else. */
START_TEST(bytes_that_make_no_sense)
{
	struct values v;
	struct writer w[3] = {{0}};
	begin(3);
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
	begin(3);
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
	tcase_add_test(t, s3_phase_1_once_for_all_slots);
	tcase_add_test(t, s3_slots_are_chosen_in_any_order);
	tcase_add_test(t, s3_gaps_are_filled_with_no_ops);
	tcase_add_test(t, s3_learners_execute_in_slot_order);
	tcase_add_test(t, s3_a_new_leader_learns_first);
	tcase_add_test(t, a_long_promise_counts_when_it_is_complete);
	tcase_add_loop_test(t, s21_only_one_value_is_chosen, 0, 20);
	tcase_add_test(t, bytes_that_make_no_sense);
	tcase_add_test(t, what_nobody_sends);
	tcase_add_loop_test(t, noise_on_every_link, 0, 20);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
