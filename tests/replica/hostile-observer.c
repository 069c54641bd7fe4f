/* [I15] A validator without its vote state: whatever the others do, it signs nothing. */
#include "tests/replica/hostile.h"

/* As setup(), but its disk is an empty one, of which nobody says that it is a first. */
static void setup_forgetful(void)
{
	setup();
	replica_close(replica);
	store_close(store);
	forget_sent();
	store = store_open_memory();
	open_replica();
}

static void reopen(void)
{
	replica_close(replica);
	open_replica();
}

static void nothing_was_signed(void)
{
	static const uint8_t fine[] = {MSG_FETCH,    MSG_BLOCKS,     MSG_FORWARD, MSG_RELAY,
				       MSG_EVIDENCE, MSG_FETCH_VIEW, MSG_NEW_VIEW, MSG_ECHO};
	for (unsigned i = 0; i < sent_count; i++) {
		bool is_fine = false;
		for (size_t k = 0; k < sizeof fine; k++)
			is_fine |= sent[i].type == fine[k];
		ck_assert_msg(is_fine, "it sends %s", engine_message_name(sent[i].type));
	}
}

static struct engine_status status_of_victim(void)
{
	struct engine_status s;
	replica_status(replica, &s);
	return s;
}

/* A block of term 1 that the three others make final. */
static struct block *follow_first(struct term_cert *tc)
{
	struct cert c;
	make_tc(tc, LEADER, w.block0);
	struct block *b = empty_block(w.block0, LEADER);
	heartbeat(LEADER, LEADER, tc, w.block0, 0);
	append(LEADER, LEADER, tc, b, NULL);
	ck_assert_uint_eq(final_height(), 0);
	cert_of_others(b, CERT_ONE_ROUND, &c);
	append(LEADER, LEADER, NULL, NULL, &c);
	ck_assert_uint_eq(final_height(), 1);
	return b;
}

START_TEST(it_follows_and_signs_nothing)
{
	struct term_cert tc;
	ck_assert_ptr_nonnull(replica_observes(replica));
	ck_assert_ptr_nonnull(strstr(replica_observes(replica), "missing"));
	ck_assert(status_of_victim().observer);
	struct block *b = follow_first(&tc);
	pass(20000000); /* its leader falls silent: elections are long due */
	ck_assert_uint_eq(status_of_victim().term, LEADER);
	ck_assert_int_eq(status_of_victim().role, ROLE_FOLLOWER);
	ck_assert_ptr_nonnull(newest(MSG_FETCH, 0)); /* it asks what is new */
	nothing_was_signed();
	/* By now it has vote slots of its own: that makes no voter of it. */
	reopen();
	ck_assert_ptr_nonnull(replica_observes(replica));
	ck_assert_uint_eq(final_height(), 1);
	pass(20000000);
	ck_assert_uint_eq(status_of_victim().term, LEADER);
	nothing_was_signed();
	block_drop(b);
}
END_TEST

static void ask_for_vote(unsigned from, uint64_t term, const struct term_cert *tc,
			 const struct block *tip, bool pre)
{
	static struct msg_vote_request m;
	struct writer out = {0};
	struct signed_header header = tip->sh;
	enum message_type type = pre ? MSG_PRE_VOTE_REQUEST : MSG_VOTE_REQUEST;
	m = (struct msg_vote_request){.term = term};
	m.position = (struct position){
		.tip = block_ref_of(tip), .headers = &header, .header_count = 1};
	m.position.tc = *tc;
	m.entitlement = (struct entitlement){.kind = ENTITLED_TC, .term = tc->term, .tc = *tc};
	if (!pre) {
		m.entitlement = (struct entitlement){
			.kind = ENTITLED_GRANTS, .term = term, .candidate = (uint16_t)from};
		for (unsigned i = 0; i < 4; i++) {
			struct grant g = {.term = term,
					  .candidate = (uint16_t)from,
					  .newest_tc = tc->term,
					  .signer = (uint16_t)i};
			if (i == VICTIM)
				continue;
			grant_sign(&g, &w.ctx, &w.validator[i]);
			m.entitlement.grant[m.entitlement.grant_count++] = g;
		}
	}
	msg_vote_request_encode(&out, type, &m);
	deliver(from, &out);
}

START_TEST(it_grants_nothing)
{
	struct term_cert tc;
	struct block *b = follow_first(&tc);
	pass(2000000);
	ask_for_vote(0, 2, &tc, b, true);
	ask_for_vote(0, 2, &tc, b, false);
	ck_assert_uint_eq(status_of_victim().term, LEADER); /* a certificate shows, not words */
	heartbeat(MALICE, 0, NULL, b, 1);		    /* of a term of old: no refusal */
	nothing_was_signed();
	block_drop(b);
}
END_TEST

START_TEST(nothing_escalates_it)
{
	struct term_cert tc;
	struct block *b = follow_first(&tc);
	for (unsigned i = 0; i < 2; i++) { /* f+1 suspicions */
		struct writer out = {0};
		struct suspicion s = {.term = LEADER,
				      .leader = LEADER,
				      .reason = REASON_SLOW,
				      .signer = i ? MALICE : 0};
		suspicion_sign(&s, &w.ctx, &w.validator[s.signer]);
		msg_suspicion_encode(&out, &s);
		deliver(s.signer, &out);
	}
	for (unsigned i = 0; i < 2; i++) { /* f+1 view changes */
		struct view_change v;
		view_change_at(&v, 3, i, &tc, b);
		view_change_sign(&v, &w.ctx, &w.validator[i]);
		send_view_change_of(&v);
	}
	struct vote v[2];
	for (unsigned i = 0; i < 2; i++) { /* a proof */
		v[i] = (struct vote){.kind = VOTE_COMMIT,
				     .ref = block_ref_of(i ? b : w.block0),
				     .signer = MALICE};
		v[i].ref.term = LEADER;
		v[i].ref.height = 1;
		vote_sign(&v[i], &w.ctx, &w.validator[MALICE]);
	}
	struct evidence ev;
	struct writer bytes = {0}, out = {0}, message = {0};
	ck_assert(evidence_of_votes(&ev, &bytes, &v[0], &v[1]));
	evidence_encode(&out, &ev);
	msg_evidence_encode(&message, writer_slice(&out));
	deliver(0, &message);
	pass(20000000);
	ck_assert_ptr_nonnull(newest(MSG_EVIDENCE, 0)); /* passed on: others signed it */
	ck_assert(!status_of_victim().escalated);
	ck_assert_uint_eq(status_of_victim().term, LEADER);
	nothing_was_signed();
	writer_free(&bytes);
	writer_free(&out);
	block_drop(b);
}
END_TEST

/* It signed this NEW-VIEW before it lost its votes: a term that it leads no more. */
START_TEST(it_does_not_lead_what_it_led)
{
	struct term_cert tc, pbft;
	struct block *b = follow_first(&tc);
	make_new_view(&pbft, VICTIM, &tc, b, 0);
	send_new_view(0, &pbft);
	ck_assert_uint_eq(status_of_victim().tc_term, VICTIM);
	pass(20000000);
	ck_assert_int_eq(status_of_victim().role, ROLE_FOLLOWER);
	reopen();
	pass(20000000);
	ck_assert_int_eq(status_of_victim().role, ROLE_FOLLOWER);
	ck_assert_uint_eq(status_of_victim().term, VICTIM);
	nothing_was_signed();
	term_cert_free(&pbft);
	block_drop(b);
}
END_TEST

START_TEST(it_follows_in_pbft_mode)
{
	struct term_cert tc, pbft;
	struct block *b = follow_first(&tc);
	make_new_view(&pbft, MALICE, &tc, b, 0);
	send_new_view(MALICE, &pbft);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	struct block *p = first_pbft_block(&pbft, b);
	append(MALICE, MALICE, NULL, p, NULL);
	for (unsigned commit = 0; commit < 2; commit++)
		for (unsigned i = 0; i < 4; i++) {
			struct writer out = {0};
			struct msg_commit m = {
				.commit = {.kind = commit ? VOTE_COMMIT : VOTE_PREPARE_PBFT,
					   .ref = block_ref_of(p),
					   .signer = (uint16_t)i}};
			if (i == VICTIM)
				continue;
			vote_sign(&m.commit, &w.ctx, &w.validator[i]);
			if (commit)
				msg_commit_encode(&out, &m);
			else
				msg_prepare_encode(&out, &m.commit);
			deliver(i, &out);
		}
	ck_assert_uint_eq(final_height(), 2);
	pass(20000000);
	nothing_was_signed();
	term_cert_free(&pbft);
	block_drop(p);
	block_drop(b);
}
END_TEST

START_TEST(it_forwards_what_clients_send)
{
	struct term_cert tc;
	struct hash id;
	struct block *b = follow_first(&tc);
	struct slice tx = world_put(&w, 1, 1, "a", "b");
	ck_assert_int_eq(replica_submit(replica, now, tx, false, &id), ERR_NONE);
	ck_assert_ptr_nonnull(newest(MSG_FORWARD, LEADER));
	for (unsigned i = 0; i < 10; i++) {
		pass(HEARTBEAT);
		heartbeat(LEADER, LEADER, NULL, b, 1);
	}
	pass(2000000);
	ck_assert_ptr_nonnull(newest(MSG_RELAY, 0));
	nothing_was_signed();
	mem_free((void *)tx.ptr);
	block_drop(b);
}
END_TEST

/* ---- who is one ---------------------------------------------------------------------------
 */

static void forget_mark(void)
{
	struct store_batch *batch = store_batch_new();
	store_batch_delete(batch, STORE_META, slice_str(FIRST_VOTES_KEY));
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
}

/* A store of a time before the mark. */
START_TEST(vote_slots_are_a_vote_state)
{
	struct term_cert tc;
	ck_assert_ptr_null(replica_observes(replica));
	struct block *b = first_block(&tc);
	forget_mark();
	reopen();
	ck_assert_ptr_null(replica_observes(replica));
	ck_assert(!status_of_victim().observer);
	block_drop(b);
}
END_TEST

START_TEST(neither_mark_nor_slots_is_none)
{
	forget_mark();
	reopen();
	ck_assert_ptr_nonnull(replica_observes(replica));
	/* a mark that comes later is no cure */
	ck_assert_int_eq(replica_first_votes(store), ERR_NONE);
	reopen();
	ck_assert_ptr_nonnull(replica_observes(replica));
}
END_TEST

void hostile_observer(Suite *s)
{
	TCase *t = hostile_case(s, "observer", setup_forgetful, 120);
	tcase_add_test(t, it_follows_and_signs_nothing);
	tcase_add_test(t, it_grants_nothing);
	tcase_add_test(t, nothing_escalates_it);
	tcase_add_test(t, it_does_not_lead_what_it_led);
	tcase_add_test(t, it_follows_in_pbft_mode);
	tcase_add_test(t, it_forwards_what_clients_send);
	t = hostile_case(s, "vote state", setup, 120);
	tcase_add_test(t, vote_slots_are_a_vote_state);
	tcase_add_test(t, neither_mark_nor_slots_is_none);
}
