/* View changes, NEW-VIEWs, and what pbft mode allows. */
#include "tests/replica/hostile.h"

/* ---- [H9] ---------------------------------------------------------------------------------
 * The victim is primary of term 2. Replica 3's view change shows a QC of another term that
 * nobody signed: it counts as none, and the view change as valid. Whoever gets the NEW-VIEW can
 * have the victim convicted for it. */

START_TEST(an_honest_primary_is_not_convicted_for_what_it_may_take)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct view_change v;
	view_change_at(&v, 2, 0, &tc, b1);
	view_change_sign(&v, &w.ctx, &w.validator[0]);
	send_view_change_of(&v);
	view_change_at(&v, 2, MALICE, &tc, b1);
	v.position.has_qc = true;
	v.position.qc = (struct cert){.kind = CERT_QC_FAST,
				      .ref = {.term = 77, .height = 99},
				      .signers = 7,
				      .count = 3};
	view_change_sign(&v, &w.ctx, &w.validator[MALICE]);
	send_view_change_of(&v);
	pass(10 * HEARTBEAT);
	/* replica 1 is slow, but comes: without number 3 the set is complete as well */
	view_change_at(&v, 2, 1, &tc, b1);
	view_change_sign(&v, &w.ctx, &w.validator[1]);
	send_view_change_of(&v);
	pass(10 * HEARTBEAT);
	const struct sent *s = newest(MSG_NEW_VIEW, 0);
	ck_assert_ptr_nonnull(s);
	static struct message_in in;
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	ck_assert_uint_eq(in.new_view.tc.new_view->signer, VICTIM);
	struct evidence e;
	struct writer bytes = {0};
	ck_assert(evidence_of_new_view(&e, &bytes, in.new_view.tc.new_view));
	ck_assert_int_eq(e.culprit, VICTIM);
	ck_assert_msg(evidence_check(&e, &w.ctx, NULL) != ERR_NONE,
		      "the correct primary's own NEW-VIEW convicts it");
	message_free(&in);
	writer_free(&bytes);
	block_drop(b1);
}
END_TEST

/* ---- [H10] --------------------------------------------------------------------------------
 * A malicious primary signs fifty NEW-VIEWs of its term, all valid. Two prove it; the rest is
 * kept too. */

START_TEST(two_new_views_of_a_term_are_enough)
{
	struct term_cert tc, pbft;
	struct block *b1 = first_block(&tc);
	unsigned answered = 0;
	struct hash hash[50];
	for (unsigned i = 0; i < 50; i++) {
		struct writer out = {0};
		struct msg_new_view m = {0};
		term_cert_init(&pbft);
		pbft.mode = MODE_PBFT;
		pbft.term = 3;
		pbft.leader = MALICE;
		pbft.new_view = mem_zalloc(sizeof *pbft.new_view);
		*pbft.new_view = (struct new_view){.term = 3, .count = 3, .signer = MALICE};
		pbft.new_view->vc = mem_array(3, sizeof *pbft.new_view->vc);
		static const unsigned who[] = {0, 1, MALICE};
		for (unsigned k = 0; k < 3; k++) {
			struct view_change *v = &pbft.new_view->vc[k];
			view_change_at(v, 3, who[k], &tc, b1);
			v->last_mode_change = k == 2 ? i : 0;
			view_change_sign(v, &w.ctx, &w.validator[who[k]]);
		}
		new_view_sign(pbft.new_view, &w.ctx, &w.validator[MALICE]);
		new_view_hash(&hash[i], pbft.new_view);
		m.tc = pbft;
		msg_new_view_encode(&out, &m);
		deliver(MALICE, &out);
		term_cert_free(&pbft);
	}
	forget_sent();
	for (unsigned i = 0; i < 50; i++) {
		struct writer out = {0};
		struct msg_fetch_view m = {.term = 3, .hash = hash[i]};
		msg_fetch_view_encode(&out, &m);
		deliver(0, &out);
		answered += newest(MSG_NEW_VIEW, 0) != NULL;
		forget_sent();
	}
	ck_assert_msg(answered >= 1 && answered <= 3, "%u NEW-VIEWs of one term are kept",
		      answered);
	block_drop(b1);
}
END_TEST

/* ---- [H11] --------------------------------------------------------------------------------
 * How many headers are looked at (each costs a signature check, up to 4096 a view change)
 * before a NEW-VIEW of replica 3 is refused in which it alone has signed anything. */

static unsigned looked_at;
static bool count_looks(void *arg, const struct signed_header *sh, const struct hash *hash)
{
	looked_at++;
	return true;
}

START_TEST(forged_view_changes_cost_no_header_checks)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct new_view nv = {.term = 3, .count = 3, .signer = MALICE};
	struct view_lookup look = {.is_checked = count_looks};
	struct selection s;
	nv.vc = mem_array(3, sizeof *nv.vc);
	for (unsigned k = 0; k < 3; k++) { /* as if it had index 0: its own comes first */
		view_change_at(&nv.vc[k], 3, k, &tc, b1);
		view_change_sign(&nv.vc[k], &w.ctx, &w.validator[k == 0 ? 0 : 2]);
	}
	new_view_sign(&nv, &w.ctx, &w.validator[MALICE]);
	looked_at = 0;
	ck_assert_int_ne(new_view_check(&nv, &w.ctx, &w.block0->hash, &look, &s, NULL),
			 ERR_NONE);
	ck_assert_msg(looked_at == 0, "%u headers", looked_at);
	new_view_free(&nv);
	block_drop(b1);
}
END_TEST

/* The same for a position whose NEW-VIEW is not known: it is checked again every 12 ms. */
START_TEST(an_unknown_new_view_costs_no_header_checks)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct signed_header sh = {.h = b1->sh.h};
	struct view_lookup look = {.is_checked = count_looks};
	struct missing missing = {0};
	struct position p;
	sh.h.mode = MODE_PBFT;
	sh.h.term = 3;
	sh.h.leader = 3;
	sh.h.new_view = (struct hash){{9}};
	position_init(&p);
	p.tip = (struct block_ref){.term = 3, .height = 1};
	header_hash(&p.tip.hash, &sh.h);
	p.tc.mode = MODE_PBFT;
	p.tc.term = 3;
	p.tc.new_view_hash = sh.h.new_view;
	p.headers = mem_array(1, sizeof sh);
	p.headers[0] = sh;
	p.header_count = 1;
	looked_at = 0;
	ck_assert_int_eq(position_check(&p, 4, &w.ctx, &w.block0->hash, &look, &missing),
			 ERR_NOT_FOUND);
	ck_assert_msg(looked_at == 0, "%u headers", looked_at);
	position_free(&p);
	block_drop(b1);
}
END_TEST

/* ---- [H16] --------------------------------------------------------------------------------
 * The primary of term 3 signs two NEW-VIEWs. The victim has been out of touch; it fetches block
 * 2, which is final under the first one, and the certificate of term 3 that comes next is the
 * second. From then on the two do not fit each other in what the victim shows: no view change
 * of its is valid. */

static struct block_ref known_base;
static bool any_base(void *arg, uint64_t term, const struct hash *new_view,
		     struct block_ref *base)
{
	*base = known_base;
	return true;
}

START_TEST(what_is_shown_fits_together)
{
	struct term_cert tc, one, two;
	struct block *b1 = first_block(&tc);
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	known_base = block_ref_of(b1);
	make_new_view(&one, 3, &tc, b1, 0);
	make_new_view(&two, 3, &tc, b1, 1);
	struct block *b2 = first_pbft_block(&one, b1);
	struct cert c;
	world_cert(&w, b2, CERT_TWO_ROUND, 4, &c);
	others_move_on(5, &tc, b1);
	heartbeat(0, 1000000, NULL, b2, 2);
	ck_assert_ptr_nonnull(newest(MSG_FETCH, 0));
	send_blocks(0, &b2, 1, &c, 2);
	ck_assert_uint_eq(final_height(), 2);
	send_new_view(MALICE, _i == 0 ? &one : &two); /* one: all is well */
	send_new_view(0, &one);
	forget_sent();
	others_move_on(8, &tc, b1);
	const struct sent *s = newest(MSG_VIEW_CHANGE, 1);
	ck_assert_ptr_nonnull(s);
	static struct message_in in;
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	struct view_lookup look = {.base_of = any_base};
	struct missing missing = {0};
	int err =
		view_change_check(&in.view_change.vc, &w.ctx, &w.block0->hash, &look, &missing);
	ck_assert_msg(err == ERR_NONE,
		      "the victim's own view change of term %llu, tip (%llu, %llu): %s",
		      (unsigned long long)in.view_change.vc.term,
		      (unsigned long long)in.view_change.vc.position.tip.term,
		      (unsigned long long)in.view_change.vc.position.tip.height, err_text(err));
	message_free(&in);
	term_cert_free(&one);
	term_cert_free(&two);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [H17] --------------------------------------------------------------------------------
 * The victim has accepted the second NEW-VIEW; the others go on under the first, and their
 * blocks become final. Replica 0 has everything and answers whatever it is asked. */

START_TEST(final_blocks_under_the_other_new_view_are_taken)
{
	struct term_cert tc, one, two;
	struct block *b1 = first_block(&tc);
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	make_new_view(&one, 3, &tc, b1, 0);
	make_new_view(&two, 3, &tc, b1, 1);
	struct block *b2 = first_pbft_block(&one, b1);
	struct cert c;
	world_cert(&w, b2, CERT_TWO_ROUND, 4, &c);
	send_new_view(MALICE, _i == 0 ? &one : &two); /* one: all is well */
	for (unsigned i = 0; i < 100 && final_height() < 2; i++) {
		forget_sent();
		heartbeat(0, 1000000, NULL, b2, 2);
		heartbeat(MALICE, 3, NULL, b1, 1);
		if (newest(MSG_FETCH, 0))
			send_blocks(0, &b2, 1, &c, 2);
		if (newest(MSG_FETCH_VIEW, 0))
			send_new_view(0, &one);
		pass(HEARTBEAT);
	}
	ck_assert_msg(final_height() == 2, "a block that is final is not taken in 5 s");
	term_cert_free(&one);
	term_cert_free(&two);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- a pbft term that goes on after its end -------------------------------------------------
 * The primary goes on in its term after the block that ends it: that would be final in pbft
 * mode by the rules of a mode that the ledger has left. */

static bool has_sent_prepare(const struct block *b)
{
	static struct message_in in;
	bool found = false;
	for (unsigned i = 0; i < sent_count && !found; i++) {
		if (sent[i].type != MSG_PREPARE)
			continue;
		ck_assert_int_eq(message_decode(&in, writer_slice(&sent[i].bytes)), ERR_NONE);
		found = hash_equal(&in.prepare.ref.hash, &b->hash);
		message_free(&in);
	}
	return found;
}

START_TEST(nothing_extends_a_mode_fast_in_its_term)
{
	struct term_cert tc, view;
	struct block *b[64];
	unsigned count = 0;
	b[count++] = first_block(&tc);
	make_new_view(&view, 3, &tc, b[0], 0);
	send_new_view(MALICE, &view);
	enum system_kind kind = SYSTEM_ESCALATED;
	while (kind != SYSTEM_MODE_FAST) {
		ck_assert_uint_lt(count, 60);
		ck_assert_int_eq(ledger_execute(w.ledger, b[count - 1], false), ERR_NONE);
		if (count > 1)
			kind = b[count - 1]->sh.h.height + 1 >=
					       2 + w.genesis.checkpoint_interval *
							       w.genesis.probation
				       ? SYSTEM_MODE_FAST
				       : 0;
		b[count] = pbft_block(&view, b[count - 1], kind);
		append(MALICE, 3, NULL, b[count], NULL);
		ck_assert_msg(has_sent_prepare(b[count]), "block %u", count);
		count++;
	}
	ck_assert_int_eq(ledger_execute(w.ledger, b[count - 1], false), ERR_NONE);
	b[count] = pbft_block(&view, b[count - 1],
			      SYSTEM_MODE_FAST); /* as if for the first time */
	append(MALICE, 3, NULL, b[count], NULL);
	ck_assert(!has_sent_prepare(b[count]));
	count++;
	while (count)
		block_drop(b[--count]);
	term_cert_free(&view);
}
END_TEST

/* ---- who is ahead of all others -------------------------------------------------------------
 * Of all who are ahead of the victim in pbft mode, one may lie. What f+1 have signed for takes
 * it there at once, even if nobody shows why; what one has signed for does not. */

/* Only this; the victim is not given time for anything else. */
static void claim_alone(uint64_t term, unsigned signer, const struct term_cert *tc,
			const struct block *tip)
{
	struct view_change v;
	view_change_at(&v, term, signer, tc, tip);
	view_change_sign(&v, &w.ctx, &w.validator[signer]);
	send_view_change_of(&v);
}

/* The victim's newest view change; message_free(). */
static struct view_change *own_view_change(struct message_in *in)
{
	const struct sent *s = newest(MSG_VIEW_CHANGE, 0);
	ck_assert_msg(s != NULL, "no view change");
	ck_assert_int_eq(message_decode(in, writer_slice(&s->bytes)), ERR_NONE);
	ck_assert_uint_eq(in->view_change.vc.signer, VICTIM);
	return &in->view_change.vc;
}

START_TEST(claims_of_f_plus_1_are_followed)
{
	static struct message_in in;
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct engine_status s;
	pass(1000000); /* the leader is gone */
	others_move_on(2, &tc, b1);
	replica_status(replica, &s);
	ck_assert_int_eq(s.mode, MODE_PBFT);
	ck_assert_uint_eq(s.term, 2);
	forget_sent();
	claim_alone(1000, MALICE, &tc, b1);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.term, 2);
	claim_alone(9, 0, &tc, b1);
	replica_status(replica, &s);
	ck_assert_msg(s.term == 9,
		      "one correct replica is in term 9 or above; the victim in %llu",
		      (unsigned long long)s.term);
	ck_assert_uint_eq(own_view_change(&in)->term, 9);
	message_free(&in);
	block_drop(b1);
}
END_TEST

/* ---- a tip that finality cuts off ------------------------------------------------------------
 * The leader of term 1 equivocates. The victim has voted for the block that loses, and goes on
 * to show that in each view change, whatever else is final; after a restart, too (1). */

START_TEST(a_vote_that_finality_cut_off_is_shown)
{
	static struct message_in in;
	struct view_lookup none = {NULL};
	struct missing missing = {0};
	struct term_cert tc;
	struct block *b1 = first_block(&tc), *mine = empty_block(b1, LEADER),
		     *theirs = block_at(b1, LEADER, mine->sh.h.time_ms + 1);
	struct block_ref voted = block_ref_of(mine);
	struct cert c;
	append(LEADER, LEADER, NULL, mine, NULL);
	ck_assert(has_prepared(mine));
	cert_of_others(theirs, CERT_TWO_ROUND, &c);
	heartbeat(0, 1000000, NULL, theirs, 2); /* draws a fetch */
	send_blocks(0, &theirs, 1, &c, 2);
	ck_assert_uint_eq(final_height(), 2);
	if (_i == 1) {
		replica_close(replica);
		open_replica();
		ck_assert_uint_eq(final_height(), 2);
	}
	struct block_ref tip = tip_of_victim();
	ck_assert(block_ref_equal(&tip, &voted));
	for (uint64_t term = 7; term < 19; term += 4) { /* of replica 3 */
		forget_sent();
		claim_alone(term, 0, &tc, theirs);
		claim_alone(term, MALICE, &tc, theirs);
		pass(4 * HEARTBEAT);
		const struct view_change *v = own_view_change(&in);
		ck_assert_uint_eq(v->term, term);
		ck_assert_msg(block_ref_equal(&v->position.tip, &voted),
			      "its vote is hidden: tip (%llu, %llu)",
			      (unsigned long long)v->position.tip.term,
			      (unsigned long long)v->position.tip.height);
		ck_assert_int_eq(view_change_check(&in.view_change.vc, &w.ctx, &w.block0->hash,
						   &none, &missing),
				 ERR_NONE);
		message_free(&in);
	}
	block_drop(theirs);
	block_drop(mine);
	block_drop(b1);
}
END_TEST

/* ---- [N4] ---------------------------------------------------------------------------------
 * The primary of term 3 signs blocks that name NEW-VIEWs, and whoever asks gets each. Two are
 * proof enough. */

START_TEST(blocks_name_few_new_views)
{
	struct term_cert tc, pbft;
	struct block *b1 = first_block(&tc);
	unsigned asked = 0;
	make_new_view(&pbft, 3, &tc, b1, 0);
	send_new_view(MALICE, &pbft);
	term_cert_free(&pbft);
	for (unsigned i = 0; i < 30; i++) {
		make_new_view(&pbft, 3, &tc, b1, 0);
		pbft.new_view->vc[2].last_mode_change = 100 + i;
		view_change_sign(&pbft.new_view->vc[2], &w.ctx, &w.validator[MALICE]);
		new_view_sign(pbft.new_view, &w.ctx, &w.validator[MALICE]);
		new_view_hash(&pbft.new_view_hash, pbft.new_view);
		struct block *plain = empty_block(b1, 3), *named;
		struct signed_header sh = plain->sh;
		sh.h.mode = MODE_PBFT;
		sh.h.new_view = pbft.new_view_hash;
		signed_header_sign(&sh, &w.ctx, &w.validator[MALICE]);
		ck_assert_int_eq(
			block_new(&named, &sh, slice_of(plain->body, plain->body_size)),
			ERR_NONE);
		forget_sent();
		heartbeat(MALICE, 1000000, NULL, b1, 1); /* draws a fetch */
		send_blocks(MALICE, &named, 1, NULL, 1);
		asked += newest(MSG_FETCH_VIEW, MALICE) != NULL;
		if (newest(MSG_FETCH_VIEW, MALICE))
			send_new_view(MALICE, &pbft);
		pass(2 * HEARTBEAT);
		block_drop(named);
		block_drop(plain);
		term_cert_free(&pbft);
	}
	ck_assert_msg(asked >= 1 && asked <= 2, "asked for %u more NEW-VIEWs of one term",
		      asked);
	block_drop(b1);
}
END_TEST

/* ---- [N5] ---------------------------------------------------------------------------------
 * "Evidence" that convicts nobody: a large and correct VIEW-CHANGE of the sender. Each check
 * looks at all its headers; only the first is made. Then a true and small one comes from
 * somebody else, and counts. */

START_TEST(evidence_that_proves_nothing_is_rationed)
{
	enum { LENGTH = 1000 };
	struct term_cert tc;
	struct block *chain[LENGTH];
	struct view_change v;
	struct writer bytes = {0}, encoded = {0}, out = {0};
	struct evidence ev;
	struct engine_status s;
	chain[0] = first_block(&tc);
	for (unsigned i = 1; i < LENGTH; i++)
		chain[i] = empty_block(chain[i - 1], LEADER);
	view_change_at(&v, 2, MALICE, &tc, chain[LENGTH - 1]);
	mem_free(v.position.headers);
	v.position.headers = mem_array(LENGTH, sizeof *v.position.headers);
	v.position.header_count = LENGTH;
	for (unsigned i = 0; i < LENGTH; i++)
		v.position.headers[i] = chain[LENGTH - 1 - i]->sh;
	view_change_sign(&v, &w.ctx, &w.validator[MALICE]);
	ck_assert(evidence_of_view_change(&ev, &bytes, &v));
	evidence_encode(&encoded, &ev);
	ck_assert_int_ne(evidence_check(&ev, &w.ctx, NULL), ERR_NONE);
	replica_status(replica, &s);
	uint64_t before = s.counters[COUNT_STALE_MESSAGES];
	for (unsigned i = 0; i < 20; i++) {
		msg_evidence_encode(&out, writer_slice(&encoded));
		deliver(MALICE, &out);
		pass(10000);
	}
	replica_status(replica, &s);
	ck_assert_msg(s.counters[COUNT_STALE_MESSAGES] - before >= 19,
		      "checked again and again");
	ck_assert_uint_eq(s.accused, 0);
	struct vote pair[2];
	for (unsigned i = 0; i < 2; i++) {
		pair[i] = (struct vote){.kind = VOTE_COMMIT,
					.ref = {.term = 1, .height = 1, .hash = {{(uint8_t)i}}},
					.signer = MALICE};
		vote_sign(&pair[i], &w.ctx, &w.validator[MALICE]);
	}
	writer_reset(&bytes);
	writer_reset(&encoded);
	ck_assert(evidence_of_votes(&ev, &bytes, &pair[0], &pair[1]));
	evidence_encode(&encoded, &ev);
	msg_evidence_encode(&out, writer_slice(&encoded));
	deliver(0, &out);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.accused, 1u << MALICE);
	view_change_free(&v);
	writer_free(&bytes);
	writer_free(&encoded);
	for (unsigned i = 0; i < LENGTH; i++)
		block_drop(chain[i]);
}
END_TEST

void hostile_views(Suite *s)
{
	TCase *t = hostile_case(s, "views", setup, 120);
	tcase_add_test(t, an_honest_primary_is_not_convicted_for_what_it_may_take);
	tcase_add_test(t, two_new_views_of_a_term_are_enough);
	tcase_add_test(t, forged_view_changes_cost_no_header_checks);
	tcase_add_test(t, an_unknown_new_view_costs_no_header_checks);
	tcase_add_loop_test(t, what_is_shown_fits_together, 0, 2);
	tcase_add_loop_test(t, final_blocks_under_the_other_new_view_are_taken, 0, 2);
	tcase_add_test(t, claims_of_f_plus_1_are_followed);
	tcase_add_loop_test(t, a_vote_that_finality_cut_off_is_shown, 0, 2);
	tcase_add_test(t, blocks_name_few_new_views);
	tcase_add_test(t, evidence_that_proves_nothing_is_rationed);
	TCase *small = hostile_case(s, "views, small blocks", setup_small, 120);
	tcase_add_test(small, nothing_extends_a_mode_fast_in_its_term);
}
