/* Terms, leaders, clocks and convictions. */
#include "tests/replica/hostile.h"

/* ---- [H1] ---------------------------------------------------------------------------------
 * Blocks of terms that do not exist, each signed by replica 3 as their leader: siblings, so
 * that no two are of one term and nothing proves anything. They use up the ledger's overlays,
 * which only finality frees; then the honest leader's block is called invalid, for ever. */

START_TEST(made_up_terms_do_not_use_up_the_ledger)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	uint64_t term = 4003;
	for (unsigned round = 0; round < 8; round++) {
		struct block *fake[200];
		heartbeat(MALICE, 1000000, NULL, b1, 1);
		for (unsigned i = 0; i < 200; i++, term += 4)
			fake[i] = empty_block(b1, term);
		send_blocks(MALICE, fake, 200, NULL, 1);
		for (unsigned i = 0; i < 200; i++)
			block_drop(fake[i]);
		pass(2000);
		heartbeat(LEADER, LEADER, NULL, b1, 1);
	}
	forget_sent();
	struct block *b2 = empty_block(b1, LEADER);
	append(LEADER, LEADER, NULL, b2, NULL);
	struct cert c;
	world_cert(&w, b2, CERT_ONE_ROUND, 2, &c);
	ck_assert_msg(has_prepared(b2), "no vote for the honest leader's block");
	ck_assert_ptr_null(halted);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* The same, and the others make that block final: the victim believes that its state has
 * diverged. */
START_TEST(made_up_terms_do_not_halt_a_replica)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	uint64_t term = 4003;
	for (unsigned round = 0; round < 8; round++) {
		struct block *fake[200];
		heartbeat(MALICE, 1000000, NULL, b1, 1);
		for (unsigned i = 0; i < 200; i++, term += 4)
			fake[i] = empty_block(b1, term);
		send_blocks(MALICE, fake, 200, NULL, 1);
		for (unsigned i = 0; i < 200; i++)
			block_drop(fake[i]);
		pass(2000);
		heartbeat(LEADER, LEADER, NULL, b1, 1);
	}
	struct block *b2 = empty_block(b1, LEADER);
	struct cert c;
	world_cert(&w, b2, CERT_TWO_ROUND, 4, &c); /* the victim was slower than the others */
	append(LEADER, LEADER, NULL, b2, &c);
	ck_assert_msg(halted == NULL, "%s", halted);
	for (unsigned i = 0; i < 40; i++) {
		heartbeat(LEADER, LEADER, NULL, b2, 2);
		const struct sent *f = newest(MSG_FETCH, LEADER);
		if (f)
			send_blocks(LEADER, &b2, 1, &c, 2);
		pass(HEARTBEAT);
	}
	ck_assert_uint_eq(final_height(), 2);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [H7] ---------------------------------------------------------------------------------
 * A fast block with a mode entry gets no votes. But its leader stands for the next term with it
 * as base, and nobody looks at the entry again: the entry becomes final. */

START_TEST(no_mode_entry_in_a_fast_block)
{
	struct term_cert tc, tc3, tc7;
	struct block *b1 = first_block(&tc);
	struct writer out = {0};
	const struct system_tx entry = {
		.kind = SYSTEM_ESCALATED, .height = 2, .term = 3, .reason = REASON_PROOF};
	system_tx_encode(&out, &entry, &w.ctx);
	struct slice tx = writer_slice(&out);
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	struct block *bad = world_build(&w, b1, 3, &tx, 1, NULL);
	ck_assert_int_eq(ledger_execute(w.ledger, bad, false), ERR_NONE);

	make_tc(&tc3, 3, b1);
	heartbeat(MALICE, 3, &tc3, b1, 1);
	append(MALICE, 3, NULL, bad, NULL);
	ck_assert(!has_prepared(bad)); /* so far, so good */

	struct block *next = world_build(&w, bad, 7, NULL, 0, NULL);
	make_tc(&tc7, 7, bad); /* rule 1: its tip is of term 3 */
	heartbeat(MALICE, 7, &tc7, bad, 1);
	send_blocks(MALICE, &bad, 1, NULL, 1);
	append(MALICE, 7, NULL, next, NULL);
	pass(HEARTBEAT);
	heartbeat(MALICE, 7, NULL, next, 1);
	ck_assert_msg(!has_prepared(next),
		      "a vote for a chain that records an escalation which never was");
	block_drop(next);
	block_drop(bad);
	block_drop(b1);
	writer_free(&out);
}
END_TEST

/* ---- [R9] ---------------------------------------------------------------------------------
 * A leader asks for a new term, for a replica that is alone in a higher one. A refusal of its
 * own is nobody's need: it would give itself terms, and the patience of its followers anew. */

START_TEST(a_leader_does_not_rescue_itself)
{
	static const unsigned signers[] = {MALICE, LEADER};
	static struct msg_vote_request m;
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct writer out = {0};
	heartbeat(LEADER, LEADER, NULL, b1, 1);
	m = (struct msg_vote_request){
		.term = 2,
		.has_refusal = true,
		.refusal = {.term = 2, .for_term = 1, .signer = (uint16_t)signers[_i]}};
	entitlement_init(&m.entitlement);
	position_init(&m.position);
	m.position.tip = block_ref_of(b1);
	term_cert_copy_ref(&m.position.tc, &tc);
	m.position.headers = mem_array(1, sizeof *m.position.headers);
	m.position.headers[m.position.header_count++] = b1->sh;
	refusal_sign(&m.refusal, &w.ctx, &w.validator[signers[_i]]);
	msg_vote_request_encode(&out, MSG_PRE_VOTE_REQUEST, &m);
	deliver(LEADER, &out);
	ck_assert_int_eq(newest(MSG_PRE_VOTE, LEADER) != NULL, signers[_i] != LEADER);
	position_free(&m.position);
	block_drop(b1);
}
END_TEST

/* ---- [H8] ---------------------------------------------------------------------------------
 * The leader of term 1 commits nothing. The victim alone goes over to pbft mode; the others,
 * who have no work, stay. What a client gives it from then on, it tells nobody. */

START_TEST(a_stray_passes_transactions_on)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct engine_status s;
	struct hash id;
	struct slice first = world_put(&w, 0, 1, "a", "1"),
		     second = world_put(&w, 0, 2, "b", "2");
	ck_assert_int_eq(replica_submit(replica, now, first, false, &id), ERR_NONE);
	for (unsigned i = 0; i < 200; i++) {
		heartbeat(LEADER, LEADER, NULL, b1, 1);
		heartbeat(0, 0, NULL, b1, 1);
		heartbeat(MALICE, 0, NULL, b1, 1);
		pass(HEARTBEAT);
	}
	replica_status(replica, &s);
	ck_assert(s.escalated);
	ck_assert_uint_gt(s.term, 1);
	forget_sent();
	ck_assert_int_eq(replica_submit(replica, now, second, false, &id), ERR_NONE);
	static struct message_in in;
	bool told = false;
	for (unsigned i = 0; i < 1200 && !told; i++) { /* a minute */
		heartbeat(LEADER, LEADER, NULL, b1, 1);
		heartbeat(0, 0, NULL, b1, 1);
		pass(HEARTBEAT);
		for (unsigned k = 0; k < sent_count; k++) {
			if (sent[k].type != MSG_RELAY && sent[k].type != MSG_FORWARD)
				continue;
			ck_assert_int_eq(message_decode(&in, writer_slice(&sent[k].bytes)),
					 ERR_NONE);
			for (uint32_t x = 0; x < in.txs.count; x++)
				told |= slice_equal(in.txs.tx[x], second);
		}
		forget_sent();
	}
	ck_assert_msg(told, "the second transaction is told to nobody in 60 s");
	mem_free((void *)first.ptr);
	mem_free((void *)second.ptr);
	block_drop(b1);
}
END_TEST

/* ---- [H12] --------------------------------------------------------------------------------
 * 300 transactions come within 0.3 s; the leader, which is as fair as can be, orders one in 10
 * ms, the oldest first: blocks hold no more. Nobody has a reason to suspect it. */

START_TEST(load_is_no_censorship)
{
	struct term_cert tc;
	struct block *b = first_block(&tc);
	struct slice tx[300];
	struct hash id;
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	for (unsigned i = 0; i < 300; i++) {
		struct op op = op_put("a", "1");
		tx[i] = world_tx(&w, &w.client[0], i + 1, 5000, &op, 1);
		ck_assert_int_eq(replica_submit(replica, now, tx[i], false, &id), ERR_NONE);
		if (i % 50 == 0)
			heartbeat(LEADER, LEADER, NULL, b, 1);
		pass(1000);
	}
	for (unsigned i = 0; i < 300; i++) {
		struct block *next = world_build(&w, b, LEADER, &tx[i], 1, NULL);
		struct cert c;
		ck_assert_int_eq(ledger_execute(w.ledger, next, false), ERR_NONE);
		ck_assert_uint_eq(next->tx_count, 1);
		append(LEADER, LEADER, NULL, next, NULL);
		world_cert(&w, next, CERT_ONE_ROUND, 3, &c);
		append(LEADER, LEADER, NULL, NULL, &c);
		if (i % 5 == 0)
			heartbeat(LEADER, LEADER, NULL, next, next->sh.h.height);
		pass(10000);
		block_drop(b);
		b = next;
	}
	ck_assert_uint_eq(final_height(), 301);
	ck_assert_msg(newest(MSG_SUSPICION, LEADER) == NULL, "a fair leader is suspected");
	world_free_txs(tx, 300);
	block_drop(b);
}
END_TEST

/* ---- [H19] --------------------------------------------------------------------------------
 * A client (nobody of the validators) gives the leader one transaction of each nonce, and the
 * victim another of the same nonce a moment before. All that the victim holds is void soon, but
 * it never holds nothing, and nothing that it holds is committed. The leader is as good as can
 * be. */

START_TEST(void_transactions_are_no_reason_to_leave_a_leader)
{
	struct term_cert tc;
	struct block *b = first_block(&tc);
	struct engine_status s;
	struct hash id;
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	for (unsigned i = 0; i < 500; i++) { /* 10 s */
		struct op one = op_put("a", "1"), two = op_put("a", "2");
		struct slice good = world_tx(&w, &w.client[0], i + 1, 5000, &one, 1);
		struct slice lost = world_tx(&w, &w.client[0], i + 1, 5000, &two, 1);
		struct cert c;
		ck_assert_int_eq(replica_submit(replica, now, lost, false, &id), ERR_NONE);
		struct block *next = world_build(&w, b, LEADER, &good, 1, NULL);
		ck_assert_int_eq(ledger_execute(w.ledger, next, false), ERR_NONE);
		append(LEADER, LEADER, NULL, next, NULL);
		world_cert(&w, next, CERT_ONE_ROUND, 3, &c);
		append(LEADER, LEADER, NULL, NULL, &c);
		if (i % 3 == 0) {
			heartbeat(LEADER, LEADER, NULL, next, next->sh.h.height);
			heartbeat(0, 0, NULL, b, 1);
			heartbeat(MALICE, 0, NULL, b, 1);
		}
		pass(20000);
		forget_sent();
		block_drop(b);
		b = next;
		mem_free((void *)good.ptr);
		mem_free((void *)lost.ptr);
	}
	replica_status(replica, &s);
	ck_assert_msg(!s.escalated && s.counters[COUNT_VIEW_CHANGES] == 0,
		      "a client drives the victim into pbft mode; %llu elections begun",
		      (unsigned long long)s.counters[COUNT_ELECTIONS_STARTED]);
	ck_assert_uint_eq(s.final.height, 501);
	block_drop(b);
}
END_TEST

/* ---- one client that waits -------------------------------------------------------------------
 * The leader orders a transaction every 20 ms, as fast as any; but those of one client, which
 * the victim holds and the leader knows of, one at a time, each a moment before it would be
 * suspected of censorship. Nor do three timeouts in a row ever come. That is how it could go on
 * for ever (hBFT, where any commit resets the timer): what is left is that commits of others'
 * work are no progress for who holds some. */

START_TEST(who_lets_one_client_wait_is_left)
{
	enum { SLOW = 12, EVERY = 40 }; /* 800 ms: above a timeout, below three */
	struct term_cert tc;
	struct block *b = first_block(&tc);
	struct engine_status s;
	struct slice held[SLOW];
	struct hash id;
	struct op op = op_put("a", "1");
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	for (unsigned i = 0; i < SLOW; i++) {
		held[i] = world_tx(&w, &w.client[0], i + 1, 5000, &op, 1);
		ck_assert_int_eq(replica_submit(replica, now, held[i], false, &id), ERR_NONE);
	}
	bool asked = false;
	for (unsigned i = 0; i < SLOW * EVERY; i++) {
		bool due = i % EVERY == EVERY - 1;
		struct slice tx[2] = {world_tx(&w, &w.client[1], i + 1, 5000, &op, 1)};
		struct cert c;
		if (due)
			tx[1] = held[i / EVERY];
		struct block *next = world_build(&w, b, LEADER, tx, 1 + due, NULL);
		ck_assert_uint_eq(next->tx_count, 1 + due);
		ck_assert_int_eq(ledger_execute(w.ledger, next, false), ERR_NONE);
		append(LEADER, LEADER, NULL, next, NULL);
		cert_of_others(next, CERT_ONE_ROUND, &c);
		append(LEADER, LEADER, NULL, NULL, &c);
		heartbeat(LEADER, LEADER, NULL, next, next->sh.h.height);
		heartbeat(0, 0, NULL, b, 1);
		pass(20000);
		asked |= newest(MSG_PRE_VOTE_REQUEST, 0) != NULL;
		ck_assert_ptr_null(newest(MSG_SUSPICION, 0));
		forget_sent();
		block_drop(b);
		b = next;
		mem_free((void *)tx[0].ptr);
	}
	replica_status(replica, &s);
	ck_assert_uint_eq(s.final.height, 1 + SLOW * EVERY);
	ck_assert_uint_eq(s.pool_count, 0);
	ck_assert(!s.escalated);
	ck_assert_msg(asked, "ten seconds of it, and nobody is asked for another leader");
	world_free_txs(held, SLOW);
	block_drop(b);
}
END_TEST

/* ---- [H21] --------------------------------------------------------------------------------
 * The victim finds a proof against the leader while the others are out of reach: what it sends
 * is lost. Later they hear it again, but never of the proof: the leader goes on to lead them.
 */

START_TEST(a_pending_proof_is_told_again)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct writer bytes = {0}, encoded = {0}, out = {0};
	struct evidence ev;
	struct vote v[2];
	struct engine_status s;
	for (unsigned i = 0; i < 2; i++) {
		v[i] = (struct vote){.kind = VOTE_COMMIT,
				     .ref = {.term = 1, .height = 1, .hash = {{(uint8_t)i}}},
				     .signer = LEADER};
		vote_sign(&v[i], &w.ctx, &w.validator[LEADER]);
	}
	ck_assert(evidence_of_votes(&ev, &bytes, &v[0], &v[1]));
	evidence_encode(&encoded, &ev);
	msg_evidence_encode(&out, writer_slice(&encoded));
	deliver(MALICE, &out);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.accused, 1u << LEADER);
	ck_assert_ptr_nonnull(newest(MSG_EVIDENCE, 0));
	forget_sent(); /* lost */
	bool again = false;
	for (unsigned i = 0; i < 600 && !again; i++) { /* 30 s */
		heartbeat(LEADER, LEADER, NULL, b1, 1);
		heartbeat(0, 0, NULL, b1, 1);
		pass(HEARTBEAT);
		again = newest(MSG_EVIDENCE, 0) != NULL;
		forget_sent();
	}
	ck_assert_msg(again, "the proof is not told again in 30 s");
	writer_free(&bytes);
	writer_free(&encoded);
	block_drop(b1);
}
END_TEST

/* ---- [H22] --------------------------------------------------------------------------------
 * A checkpoint statement on nothing at all: of term 0, height 0, hash 0. */

START_TEST(a_checkpoint_of_nothing_is_no_vote)
{
	struct term_cert tc;
	struct block *b = first_block(&tc);
	while (b->sh.h.height < 20) { /* the first checkpoint is due, none is stable */
		struct block *next = empty_block(b, LEADER);
		struct cert c;
		append(LEADER, LEADER, NULL, next, NULL);
		world_cert(&w, next, CERT_ONE_ROUND, 3, &c);
		append(LEADER, LEADER, NULL, NULL, &c);
		block_drop(b);
		b = next;
	}
	ck_assert_uint_eq(final_height(), 20);
	for (unsigned kind = 0; kind < 2; kind++) {
		struct writer out = {0};
		struct msg_commit m = {
			.commit = {.kind = VOTE_COMMIT, .signer = MALICE},
			.has_checkpoint = true,
			.checkpoint = {.kind = VOTE_CHECKPOINT, .signer = MALICE}};
		m.checkpoint.ref.height = kind ? 64 : 0;
		vote_sign(&m.commit, &w.ctx, &w.validator[MALICE]);
		vote_sign(&m.checkpoint, &w.ctx, &w.validator[MALICE]);
		msg_commit_encode(&out, &m);
		deliver(MALICE, &out);
	}
	block_drop(b);
}
END_TEST

/* ---- [N2] ---------------------------------------------------------------------------------
 * Nobody leads. Replica 3 climbs by pre-votes, a term with each answer, in one instant; each
 * set of grants is good for one view change that drags everybody into the next term, whenever
 * it likes. */

static void make_grants(struct entitlement *e, uint64_t term)
{
	entitlement_init(e);
	e->kind = ENTITLED_GRANTS;
	e->term = term;
	e->candidate = MALICE;
	for (unsigned i = 0; i < 4; i++) {
		if (i == VICTIM)
			continue;
		struct grant *g = &e->grant[e->grant_count++];
		*g = (struct grant){.term = term, .candidate = MALICE, .signer = (uint16_t)i};
		grant_sign(g, &w.ctx, &w.validator[i]);
	}
}

START_TEST(hoarded_grants_abort_few_views)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct engine_status s;
	pass(1000000); /* the leader is gone */
	others_move_on(2, &tc, b1);
	replica_status(replica, &s);
	ck_assert_uint_ge(s.term, 2);
	uint64_t before = s.term;
	for (unsigned i = 0; i < 100; i++) { /* a second */
		struct writer out = {0};
		struct msg_view_change m;
		replica_status(replica, &s); /* one set for each term: none is wasted */
		view_change_at(&m.vc, s.term + 1, MALICE, &tc, b1);
		view_change_sign(&m.vc, &w.ctx, &w.validator[MALICE]);
		make_grants(&m.entitlement, s.term + 1);
		msg_view_change_encode(&out, &m);
		deliver(MALICE, &out);
		view_change_free(&m.vc);
		pass(10000);
	}
	replica_status(replica, &s);
	ck_assert_msg(s.term < before + 10, "%llu terms in a second by one replica's word",
		      (unsigned long long)(s.term - before));
	block_drop(b1);
}
END_TEST

/* ---- words of far terms ----------------------------------------------------------------------
 * The leader of term 1 is gone, and replica 3 says that it may be in a far term: by view
 * changes of fewer than f+1, by pre-votes of fewer than q, or by signatures that are not of
 * whom they are said to be of. Nobody follows it there; by what it says truly, everybody does.
 */

enum { FEW_CLAIMS, FALSE_CLAIMS, FEW_GRANTS, FALSE_GRANTS, TRUE_CLAIMS, TRUE_GRANTS, WORDS };
static const uint8_t tells[] = {MSG_VIEW_CHANGE, MSG_REFUSAL, MSG_PRE_VOTE_REQUEST,
				MSG_VOTE_REQUEST};
#define FAR_TERM 9u

static void make_claims(struct entitlement *e, uint64_t term, const struct term_cert *tc,
			const struct block *tip)
{
	static const unsigned who[] = {0, MALICE};
	entitlement_init(e);
	e->kind = ENTITLED_CLAIMS;
	e->term = term;
	for (unsigned i = 0; i < 2; i++) {
		struct view_change v;
		view_change_at(&v, term, who[i], tc, tip);
		view_change_sign(&v, &w.ctx, &w.validator[who[i]]);
		view_change_claim(&e->claim[e->claim_count++], &v);
		view_change_free(&v);
	}
}

static void make_words(struct entitlement *e, unsigned word, const struct term_cert *tc,
		       const struct block *tip)
{
	if (word == FEW_CLAIMS || word == FALSE_CLAIMS || word == TRUE_CLAIMS)
		make_claims(e, FAR_TERM, tc, tip);
	else
		make_grants(e, FAR_TERM);
	if (word == FEW_CLAIMS) { /* its own alone */
		e->claim[0] = e->claim[1];
		e->claim_count = 1;
	} else if (word == FALSE_CLAIMS) {
		e->claim[0].sig = e->claim[1].sig;
	} else if (word == FEW_GRANTS) {
		e->grant_count = 2;
	} else if (word == FALSE_GRANTS) {
		e->grant[0].sig = e->grant[2].sig;
	}
}

static void tell(uint8_t how, const struct entitlement *e, const struct term_cert *tc,
		 const struct block *tip)
{
	struct writer out = {0};
	struct view_change v;
	view_change_at(&v, FAR_TERM, MALICE, tc, tip);
	if (how == MSG_VIEW_CHANGE) {
		view_change_sign(&v, &w.ctx, &w.validator[MALICE]);
		struct msg_view_change m = {.vc = v, .entitlement = *e};
		msg_view_change_encode(&out, &m);
	} else if (how == MSG_REFUSAL) {
		struct msg_refusal m = {
			.proof = {.term = FAR_TERM, .for_term = 2, .signer = MALICE},
			.entitlement = *e,
			.final_height = 1};
		refusal_sign(&m.proof, &w.ctx, &w.validator[MALICE]);
		msg_refusal_encode(&out, &m);
	} else {
		struct msg_vote_request m = {.term = FAR_TERM + (how == MSG_PRE_VOTE_REQUEST),
					     .entitlement = *e,
					     .position = v.position};
		msg_vote_request_encode(&out, how, &m);
	}
	view_change_free(&v);
	deliver(MALICE, &out);
}

START_TEST(nobody_is_followed_on_its_word)
{
	uint8_t how = tells[_i / WORDS];
	unsigned word = (unsigned)_i % WORDS;
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct entitlement e;
	struct engine_status s;
	pass(1000000); /* the leader is gone */
	forget_sent();
	make_words(&e, word, &tc, b1);
	tell(how, &e, &tc, b1);
	replica_status(replica, &s);
	/* pre-votes alone ask for votes */
	bool is_true = word == TRUE_GRANTS || (word == TRUE_CLAIMS && how != MSG_VOTE_REQUEST);
	if (how == MSG_PRE_VOTE_REQUEST) {
		ck_assert_uint_eq(s.term, 1);
		ck_assert_msg((newest(MSG_PRE_VOTE, MALICE) != NULL) == is_true,
			      "a pre-vote for the term after %u, word %u", FAR_TERM, word);
	} else {
		ck_assert_msg(s.term == (is_true ? FAR_TERM : 1), "%s, word %u: term %llu",
			      message_type_name(how), word, (unsigned long long)s.term);
	}
	block_drop(b1);
}
END_TEST

/* ---- [H25] --------------------------------------------------------------------------------
 * A block from the far future, and a child that is no younger: only the child is compared with
 * its parent. 0: both come in one APPEND; 1: the first is the base of the next term, to which
 * headers alone elect. */

START_TEST(nobody_sets_the_clock_for_ages)
{
	struct term_cert tc, tc5;
	struct block *b1 = first_block(&tc);
	uint64_t ages = UINT64_C(1) << 62;
	struct block *b2 = block_at(b1, LEADER, ages);
	struct block *b3 = block_at(b2, _i == 0 ? LEADER : 5, ages);
	static struct msg_append m;
	struct writer out = {0};
	m = (struct msg_append){.term = LEADER, .count = _i == 0 ? 2 : 1};
	m.blocks[0] = b2;
	m.blocks[1] = b3;
	msg_append_encode(&out, &m);
	deliver(LEADER, &out);
	ck_assert(!has_prepared(b2));
	if (_i == 1) {
		make_tc(&tc5, 5, b2); /* 5 % 4: the same leader */
		heartbeat(LEADER, 5, &tc5, b3, 1);
		append(LEADER, 5, NULL, b3, NULL);
		pass(HEARTBEAT);
		heartbeat(LEADER, 5, NULL, b3, 1);
	}
	ck_assert_msg(!has_prepared(b3), "a vote for a block of the year 146 million");
	block_drop(b3);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [N6] ---------------------------------------------------------------------------------
 * No leader is alive, and replica 3 asks for votes all the time, with a thousand headers that
 * nobody has seen. */

START_TEST(vote_requests_are_rationed)
{
	enum { LENGTH = 1000 };
	struct term_cert tc;
	struct block *chain[LENGTH];
	struct engine_status s;
	chain[0] = first_block(&tc);
	for (unsigned i = 1; i < LENGTH; i++)
		chain[i] = empty_block(chain[i - 1], LEADER);
	pass(1000000); /* the leader is gone */
	struct msg_vote_request m = {.term = 2};
	m.position.tip = block_ref_of(chain[LENGTH - 1]);
	term_cert_copy_ref(&m.position.tc, &tc);
	m.position.headers = mem_array(LENGTH, sizeof *m.position.headers);
	m.position.header_count = LENGTH;
	for (unsigned i = 0; i < LENGTH; i++)
		m.position.headers[i] = chain[LENGTH - 1 - i]->sh;
	unsigned granted = 0;
	for (unsigned i = 0; i < 100; i++) { /* a second */
		struct writer out = {0};
		replica_status(replica, &s);
		m.term = s.term + 1;
		forget_sent();
		msg_vote_request_encode(&out, MSG_PRE_VOTE_REQUEST, &m);
		deliver(MALICE, &out);
		granted += newest(MSG_PRE_VOTE, MALICE) != NULL;
		pass(10000);
	}
	ck_assert_msg(granted >= 1 && granted <= 6,
		      "1000 headers were checked %u times in a second", granted);
	position_free(&m.position);
	for (unsigned i = 0; i < LENGTH; i++)
		block_drop(chain[i]);
}
END_TEST

/* ---- [L1] ---------------------------------------------------------------------------------
 * A block that is invalid in the victim's state, and a child of it, come in one message; then
 * the child is final. That is for a human to look at, and not to be kept quiet. */

START_TEST(diverged_below_a_final_block_is_said)
{
	static struct msg_append m;
	struct term_cert tc;
	struct block *b1 = first_block(&tc), *plain = empty_block(b1, LEADER), *b2, *b3;
	struct signed_header sh = plain->sh;
	struct writer out = {0};
	struct cert c;
	sh.h.state_root.b[0] ^= 1;
	signed_header_sign(&sh, &w.ctx, &w.validator[LEADER]);
	ck_assert_int_eq(block_new(&b2, &sh, slice_of(plain->body, plain->body_size)),
			 ERR_NONE);
	b3 = empty_block(b2, LEADER);
	m = (struct msg_append){.term = LEADER, .count = 2};
	m.blocks[0] = b2;
	m.blocks[1] = b3;
	msg_append_encode(&out, &m);
	deliver(LEADER, &out);
	ck_assert_ptr_null(halted);
	world_cert(&w, b3, CERT_TWO_ROUND, 3, &c);
	append(0, LEADER, NULL, NULL, &c);
	ck_assert_ptr_nonnull(halted);
	ck_assert_uint_eq(final_height(), 1);
	block_drop(plain);
	block_drop(b3);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [Q1] ---------------------------------------------------------------------------------
 * The victim hears its leader no more and asks for pre-votes; then the leader is there again.
 * Pre-votes that come now, held back by replica 3 and late from replica 0, elect nobody, and
 * who follows a leader is no candidate. */

/* _i 1, 2: a transaction waits, and it is a block that has it, not a heartbeat, that ends it; it
 * comes from the leader, or from replica 0 before the leader is there. */
START_TEST(a_pre_vote_ends_when_the_leader_is_there)
{
	struct term_cert tc;
	struct engine_status s;
	struct hash id;
	struct cert c;
	struct op op = op_put("k", "x");
	struct slice put[2];
	struct block *b1 = first_block(&tc);
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	for (unsigned i = 0; i < 2; i++)
		put[i] = world_tx(&w, &w.client[0], i + 1, 500, &op, 1);
	if (_i)
		ck_assert_int_eq(replica_submit(replica, now, put[0], false, &id), ERR_NONE);
	forget_sent();
	for (unsigned ms = 0; !newest(MSG_PRE_VOTE_REQUEST, 0); ms++) {
		ck_assert_uint_lt(ms, 2000);
		pass(1000);
	}
	replica_status(replica, &s);
	ck_assert_int_eq(s.role, ROLE_CANDIDATE);
	ck_assert_uint_eq(s.term, LEADER);
	struct block *b2 = world_build(&w, b1, LEADER, put, 1, NULL);
	world_cert(&w, b2, CERT_ONE_ROUND, 3, &c);
	if (_i == 1) {
		heartbeat(LEADER, LEADER, NULL, b1, 1);
		replica_status(replica, &s);
		ck_assert_int_eq(s.role, ROLE_CANDIDATE); /* it is there, and orders nothing */
		append(LEADER, LEADER, NULL, b2, NULL);
		append(LEADER, LEADER, NULL, NULL, &c);
	} else if (_i == 2) {
		ck_assert_int_eq(replica_submit(replica, now, put[1], false, &id), ERR_NONE);
		send_blocks(0, &b2, 1, &c, 2);
		ck_assert_uint_eq(final_height(), 2);
		replica_status(replica, &s);
		ck_assert_int_eq(s.role, ROLE_CANDIDATE); /* what it ordered is here, not it */
	}
	heartbeat(LEADER, LEADER, NULL, _i ? b2 : b1, _i ? 2 : 1);
	ck_assert_uint_eq(final_height(), _i ? 2 : 1);
	grant(MALICE, LEADER + 1, LEADER);
	grant(0, LEADER + 1, LEADER);
	ck_assert_msg(newest(MSG_VOTE_REQUEST, 0) == NULL, "it deposes the leader that it hears");
	replica_status(replica, &s);
	ck_assert_uint_eq(s.term, LEADER);
	ck_assert_int_eq(s.role, ROLE_FOLLOWER);
	/* It asks again when the leader is gone again. */
	forget_sent();
	pass(2000000);
	ck_assert_ptr_nonnull(newest(MSG_PRE_VOTE_REQUEST, 0));
	world_free_txs(put, 2);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [Q2] ---------------------------------------------------------------------------------
 * The others have heard the leader a moment later, and say nothing to the first request: the victim
 * asks again before its timer runs out. */

static unsigned pre_votes_asked_in(uint64_t us)
{
	unsigned asked = 0;
	for (uint64_t end = now + us; now < end; pass(1000)) {
		asked += newest(MSG_PRE_VOTE_REQUEST, 0) != NULL;
		forget_sent();
	}
	return asked;
}

/* A few times, and no more while its timer runs. */
START_TEST(pre_votes_are_asked_for_again)
{
	struct term_cert tc;
	struct engine_status s;
	struct block *b1 = first_block(&tc);
	heartbeat(LEADER, LEADER, NULL, b1, 1);
	forget_sent();
	while (!newest(MSG_PRE_VOTE_REQUEST, 0))
		pass(1000);
	replica_status(replica, &s);
	uint64_t elections = s.counters[COUNT_ELECTIONS_STARTED], term = s.term + 1;
	ck_assert_uint_eq(pre_votes_asked_in(2 * HEARTBEAT), 4);
	ck_assert_uint_eq(pre_votes_asked_in(3 * HEARTBEAT), 0);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.counters[COUNT_ELECTIONS_STARTED], elections);
	/* What is granted to any of them counts, and to the same one once. */
	grant(MALICE, term, LEADER);
	grant(MALICE, term, LEADER);
	ck_assert_ptr_null(newest(MSG_VOTE_REQUEST, 0));
	grant(0, term, LEADER);
	ck_assert_ptr_nonnull(newest(MSG_VOTE_REQUEST, 0));
	ck_assert_uint_eq(pre_votes_asked_in(2 * HEARTBEAT), 0);
	block_drop(b1);
}
END_TEST

/* Its pre-votes are asked for when the others escalate, and it goes over to pbft mode without a
 * view change of its own, for it has voted in that term: there it asks for none, and takes none. */
START_TEST(an_escalation_ends_an_election)
{
	struct term_cert tc;
	struct engine_status s;
	struct view_change v;
	struct block *b1 = first_block(&tc);
	uint64_t term = campaign_of_victim(0);
	forget_sent();
	while (!newest(MSG_PRE_VOTE_REQUEST, 0))
		pass(1000);
	for (unsigned i = 0; i < 2; i++) {
		view_change_at(&v, term, i, &tc, b1);
		view_change_sign(&v, &w.ctx, &w.validator[i]);
		send_view_change_of(&v);
	}
	replica_status(replica, &s);
	ck_assert_int_eq(s.mode, MODE_PBFT);
	ck_assert_uint_eq(s.term, term);
	forget_sent();
	ck_assert_uint_eq(pre_votes_asked_in(2 * HEARTBEAT), 0);
	grant(MALICE, term + 1, LEADER);
	grant(0, term + 1, LEADER);
	ck_assert_msg(newest(MSG_VOTE_REQUEST, 0) == NULL, "an election in pbft mode");
	replica_status(replica, &s);
	ck_assert_uint_eq(s.term, term);
	block_drop(b1);
}
END_TEST

/* But not of a leader that goes on sending and has resigned: its successor is to have them. */
START_TEST(a_pre_vote_goes_on_when_the_leader_has_resigned)
{
	struct term_cert tc;
	struct engine_status s;
	struct block *b1 = first_block(&tc);
	struct writer out = {0};
	struct msg_resign m = {.term = LEADER, .successor = VICTIM};
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	pass(1000000); /* nobody may resign in the first moments */
	heartbeat(LEADER, LEADER, NULL, b1, 1);
	replica_status(replica, &s);
	ck_assert_int_eq(s.role, ROLE_FOLLOWER);
	forget_sent();
	msg_resign_encode(&out, &m);
	deliver(LEADER, &out);
	pass(1000);
	heartbeat(LEADER, LEADER, NULL, b1, 1);
	ck_assert_ptr_nonnull(newest(MSG_PRE_VOTE_REQUEST, 0));
	grant(MALICE, LEADER + 1, LEADER);
	grant(0, LEADER + 1, LEADER);
	ck_assert_ptr_nonnull(newest(MSG_VOTE_REQUEST, 0));
	block_drop(b1);
}
END_TEST

/* As the leader it hears the others, and they vote for nothing; so it asks, too. */
static void others_append(uint64_t term, bool vote)
{
	static const unsigned others[] = {0, LEADER, MALICE};
	static struct msg_appended m;
	struct block_ref tip = tip_of_victim();
	for (unsigned i = 0; i < MEM_COUNT(others); i++) {
		struct writer out = {0};
		m = (struct msg_appended){.term = term, .has_prepare = vote};
		vote_begin(&m.prepare, VOTE_PREPARE_FAST, &tip, others[i]);
		vote_sign(&m.prepare, &w.ctx, &w.validator[others[i]]);
		msg_appended_encode(&out, &m);
		deliver(others[i], &out);
	}
}

START_TEST(a_leaders_pre_vote_ends_when_it_is_followed)
{
	struct term_cert tc;
	struct engine_status s;
	struct hash id;
	struct op op = op_put("k", "x");
	struct slice put = world_tx(&w, &w.client[0], 1, 500, &op, 1);
	struct block *b1 = first_block(&tc);
	uint64_t term = campaign_of_victim(2);
	ck_assert_int_eq(replica_submit(replica, now, put, false, &id), ERR_NONE);
	forget_sent();
	for (unsigned i = 0; !newest(MSG_PRE_VOTE_REQUEST, 0); i++) {
		ck_assert_uint_lt(i, 200);
		others_append(term, false);
		pass(HEARTBEAT / 2);
	}
	grant(0, term + 1, term); /* replica 3 keeps its own back */
	replica_status(replica, &s);
	ck_assert_int_eq(s.role, ROLE_LEADER);
	uint64_t before = final_height();
	for (unsigned i = 0; i < 20; i++) {
		others_append(term, true);
		pass(HEARTBEAT / 2);
	}
	ck_assert_uint_gt(final_height(), before);
	forget_sent();
	grant(MALICE, term + 1, term);
	grant(LEADER, term + 1, term);
	ck_assert_msg(newest(MSG_VOTE_REQUEST, 0) == NULL, "it deposes itself");
	replica_status(replica, &s);
	ck_assert_int_eq(s.role, ROLE_LEADER);
	ck_assert_uint_eq(s.term, term);
	world_free_txs(&put, 1);
	block_drop(b1);
}
END_TEST

void hostile_terms(Suite *s)
{
	TCase *t = hostile_case(s, "terms", setup, 120);
	tcase_add_test(t, made_up_terms_do_not_use_up_the_ledger);
	tcase_add_test(t, made_up_terms_do_not_halt_a_replica);
	tcase_add_test(t, no_mode_entry_in_a_fast_block);
	tcase_add_loop_test(t, a_leader_does_not_rescue_itself, 0, 2);
	tcase_add_test(t, a_stray_passes_transactions_on);
	tcase_add_test(t, void_transactions_are_no_reason_to_leave_a_leader);
	tcase_add_test(t, who_lets_one_client_wait_is_left);
	tcase_add_test(t, a_pending_proof_is_told_again);
	tcase_add_test(t, hoarded_grants_abort_few_views);
	tcase_add_loop_test(t, nobody_is_followed_on_its_word, 0,
			    (int)(MEM_COUNT(tells) * WORDS));
	tcase_add_loop_test(t, nobody_sets_the_clock_for_ages, 0, 2);
	tcase_add_test(t, diverged_below_a_final_block_is_said);
	tcase_add_test(t, vote_requests_are_rationed);
	tcase_add_loop_test(t, a_pre_vote_ends_when_the_leader_is_there, 0, 3);
	tcase_add_test(t, pre_votes_are_asked_for_again);
	tcase_add_test(t, an_escalation_ends_an_election);
	tcase_add_test(t, a_pre_vote_goes_on_when_the_leader_has_resigned);
	tcase_add_test(t, a_leaders_pre_vote_ends_when_it_is_followed);
	TCase *small = hostile_case(s, "terms, small blocks", setup_small, 120);
	tcase_add_test(small, load_is_no_censorship);
	tcase_add_test(small, a_checkpoint_of_nothing_is_no_vote);
}
