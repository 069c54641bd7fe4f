/* [I20] Whoever begins asks for the newest of its own votes: as the one who asks, and as one
 * who is asked. */
#include "chain/recovery.h"
#include "tests/replica/hostile.h"

static struct message_in in;

static struct engine_status status(void)
{
	struct engine_status s;
	replica_status(replica, &s);
	return s;
}

static uint64_t counter(enum engine_counter c)
{
	return status().counters[c];
}

static struct cert cert_by(const struct block_ref *ref, enum cert_kind kind, uint64_t signers)
{
	struct cert c = {.kind = kind, .ref = *ref};
	for (unsigned i = 0; i < 4; i++) {
		struct vote v;
		if (!(signers >> i & 1))
			continue;
		vote_begin(&v, cert_vote_kind(kind), ref, i);
		vote_sign(&v, &w.ctx, &w.validator[i]);
		c.signers |= UINT64_C(1) << i;
		c.sig[c.count++] = v.sig;
	}
	return c;
}

static struct term_cert tc_by(uint64_t term, const struct block *base, uint64_t signers)
{
	struct term_cert tc;
	term_cert_init(&tc);
	tc.term = term;
	tc.leader = (uint16_t)(term % 4);
	tc.base = block_ref_of(base);
	for (unsigned i = 0; i < 4; i++) {
		struct term_vote v = {.term = term,
				      .leader = tc.leader,
				      .base = tc.base,
				      .signer = (uint16_t)i};
		if (!(signers >> i & 1))
			continue;
		term_vote_sign(&v, &w.ctx, &w.validator[i]);
		tc.signers |= UINT64_C(1) << i;
		tc.sig[tc.count++] = v.sig;
	}
	return tc;
}

static void append_all(struct block *b, const struct cert *qc, const struct cert *final)
{
	static struct msg_append m;
	struct writer out = {0};
	m = (struct msg_append){
		.term = LEADER, .has_qc = qc != NULL, .has_final = final != NULL};
	if (qc)
		m.qc = *qc;
	if (final)
		m.final = *final;
	m.count = b ? 1 : 0;
	m.blocks[0] = b;
	msg_append_encode(&out, &m);
	deliver(LEADER, &out);
}

/* ---- who asks -----------------------------------------------------------------------------
 */

static void start_again(void)
{
	replica_close(replica);
	forget_sent();
	asks_own_votes = true;
	open_replica();
}

/* Of its newest life. */
static uint64_t nonce_asked(void)
{
	static const struct replica *of;
	static uint64_t nonce;
	const struct sent *s = newest(MSG_ASK_VOTES, 0);
	ck_assert(s || of == replica);
	if (!s)
		return nonce;
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	nonce = in.ask_votes;
	of = replica;
	message_free(&in);
	return nonce;
}

static void answer(unsigned from, const struct msg_votes *shown)
{
	struct writer out = {0};
	struct msg_votes m = shown ? *shown : (struct msg_votes){0};
	m.nonce += nonce_asked();
	msg_votes_encode(&out, &m);
	deliver(from, &out);
}

static bool is_outdated(void)
{
	struct engine_status s = status();
	ck_assert_int_eq(s.outdated, replica_observes(replica) != NULL);
	ck_assert_int_eq(s.outdated, s.counters[COUNT_OUTDATED] != 0);
	return s.outdated;
}

/* Its leader falls silent: who takes part asks for votes. */
static bool stands_for_election(void)
{
	forget_sent();
	pass(5000000);
	return newest(MSG_PRE_VOTE_REQUEST, 0) != NULL;
}

static void signs_nothing(void)
{
	static const uint8_t fine[] = {MSG_FETCH,    MSG_BLOCKS,    MSG_FORWARD,
				       MSG_RELAY,    MSG_EVIDENCE,  MSG_FETCH_VIEW,
				       MSG_NEW_VIEW, MSG_ASK_VOTES, MSG_VOTES,
				       MSG_ECHO};
	for (unsigned i = 0; i < sent_count; i++) {
		bool is_fine = false;
		for (size_t k = 0; k < sizeof fine; k++)
			is_fine |= sent[i].type == fine[k];
		ck_assert_msg(is_fine, "it sends %s", engine_message_name(sent[i].type));
	}
}

static struct vote vote_of(unsigned who, enum vote_kind kind, uint64_t term, uint64_t height)
{
	struct vote v;
	const struct block_ref ref = {term, height, {{7}}};
	vote_begin(&v, kind, &ref, who);
	vote_sign(&v, &w.ctx, &w.validator[who]);
	return v;
}

static struct term_vote term_vote_of(unsigned who, uint64_t term)
{
	struct term_vote v = {.term = term,
			      .leader = (uint16_t)(term % 4),
			      .base = block_ref_of(w.block0),
			      .signer = (uint16_t)who};
	term_vote_sign(&v, &w.ctx, &w.validator[who]);
	return v;
}

static struct view_claim claim_of(unsigned who, uint64_t term)
{
	struct view_change v;
	struct view_claim c;
	view_change_init(&v);
	v.term = term;
	v.reason = REASON_TIMEOUTS;
	v.signer = (uint16_t)who;
	v.position.tip = block_ref_of(w.block0);
	make_tc(&v.position.tc, 0, w.block0);
	view_change_sign(&v, &w.ctx, &w.validator[who]);
	view_change_claim(&c, &v);
	view_change_free(&v);
	return c;
}

/* Two others answer, in vain if they are asked again and again; then the third one has a
 * minimum timeout more, if it does not answer either. */
START_TEST(a_quorum_is_waited_for)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	start_again();
	struct block *b2 = empty_block(b1, LEADER);
	append(LEADER, LEADER, NULL, b2, NULL);
	ck_assert(!stands_for_election());
	signs_nothing();
	ck_assert_uint_eq(status().asks_peers, 2);
	answer(0, NULL);
	ck_assert_uint_eq(status().asks_peers, 1);
	answer(0, NULL);
	ck_assert_uint_eq(status().asks_peers, 1);
	ck_assert(!stands_for_election());
	signs_nothing();
	answer(MALICE, NULL);
	ck_assert_uint_eq(status().asks_peers, 0);
	ck_assert(status().asks);
	signs_nothing();
	if (_i) {
		answer(LEADER, NULL);
		ck_assert(has_prepared(b2));
	} else {
		pass(TIMEOUT_MIN_DEFAULT_US / 2);
		signs_nothing();
		pass(TIMEOUT_MIN_DEFAULT_US);
		ck_assert(has_prepared(b2));
	}
	ck_assert(!is_outdated());
	ck_assert(stands_for_election());
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* One of each kind, above the tip (1, 1) and the term 0 that it knows of. */
static struct msg_votes shown(unsigned kind, unsigned who)
{
	struct msg_votes m = {0};
	if (kind == 0)
		m.vote = vote_of(who, VOTE_PREPARE_FAST, 1, 2);
	else if (kind == 1)
		m.vote = vote_of(who, VOTE_PREPARE_PBFT, 2, 1);
	else if (kind == 2)
		m.vote = vote_of(who, VOTE_COMMIT, 1, 2);
	else if (kind == 3)
		m.term_vote = term_vote_of(who, 1);
	else
		m.claim = claim_of(who, 1);
	return m;
}

static void break_signature(struct msg_votes *m)
{
	m->vote.sig.b[3] ^= 1;
	m->term_vote.sig.b[3] ^= 1;
	m->claim.sig.b[3] ^= 1;
}

/* From the first who answers, or from the last. Never again, with whatever it is told later. */
START_TEST(each_kind_of_news_is_one)
{
	struct term_cert tc;
	struct block *b = first_block(&tc);
	start_again();
	struct msg_votes m = shown((unsigned)_i / 2, VICTIM);
	if (_i % 2)
		answer(0, NULL);
	answer(MALICE, &m);
	ck_assert(is_outdated());
	ck_assert(status().observer);
	answer(LEADER, NULL);
	answer(0, NULL);
	ck_assert(!stands_for_election());
	signs_nothing();
	replica_close(replica);
	asks_own_votes = false;
	open_replica();
	ck_assert_ptr_nonnull(replica_observes(replica));
	ck_assert_ptr_nonnull(strstr(replica_observes(replica), "old copy"));
	ck_assert(!stands_for_election());
	signs_nothing();
	block_drop(b);
}
END_TEST

/* What others have signed, nobody has signed, or it has been told of in an earlier life. */
START_TEST(what_proves_nothing_is_no_news)
{
	struct term_cert tc;
	struct block *b = first_block(&tc);
	unsigned kind = (unsigned)_i % 5, why = (unsigned)_i / 5;
	start_again();
	struct msg_votes m = shown(kind, why == 0 ? LEADER : VICTIM);
	if (why == 1)
		break_signature(&m);
	if (why == 2)
		m.nonce = 1;
	if (why == 3)
		answer(MALICE, NULL);
	answer(MALICE, &m);
	ck_assert(!is_outdated());
	ck_assert_uint_eq(counter(COUNT_BAD_SIGNATURES), why == 1);
	ck_assert_uint_eq(status().asks_peers, why == 2 ? 2 : 1);
	answer(0, NULL);
	answer(LEADER, NULL);
	answer(MALICE, NULL);
	ck_assert(!is_outdated());
	ck_assert(stands_for_election());
	block_drop(b);
}
END_TEST

/* All that it has signed itself; and what has the domain of another epoch. */
START_TEST(what_it_knows_of_is_no_news)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc), *b2 = empty_block(b1, LEADER);
	append(LEADER, LEADER, NULL, b2, NULL);
	ck_assert(has_prepared(b2));
	struct block_ref ref = block_ref_of(b2);
	struct cert qc = cert_by(&ref, CERT_QC_FAST, 0xb);
	append_all(NULL, &qc, NULL);
	others_move_on(5, &tc, b1);
	uint64_t term = status().term;
	start_again();
	struct msg_votes m = {.vote = vote_of(VICTIM, _i % 2 ? VOTE_PREPARE_FAST : VOTE_COMMIT,
					      1, _i % 2 ? 1 : 2),
			      .term_vote = term_vote_of(VICTIM, term),
			      .claim = claim_of(VICTIM, term)};
	if (_i == 2) {
		struct chain_ctx next = w.ctx;
		next.domain.b[0] ^= 1;
		m.vote = vote_of(VICTIM, VOTE_COMMIT, 9, 9);
		vote_sign(&m.vote, &next, &w.validator[VICTIM]);
		m.claim = (struct view_claim){0};
		m.term_vote = term_vote_of(VICTIM, 9);
		term_vote_sign(&m.term_vote, &next, &w.validator[VICTIM]);
	}
	answer(0, &m);
	answer(1, &m);
	answer(MALICE, &m);
	ck_assert(!is_outdated());
	forget_sent();
	pass(4 * HEARTBEAT);
	ck_assert_ptr_nonnull(newest(MSG_VIEW_CHANGE, 0)); /* it resends what it has signed */
	block_drop(b2);
	block_drop(b1);
}
END_TEST

START_TEST(a_checkpoint_vote_is_no_answer)
{
	struct writer out = {0};
	start_again();
	struct msg_votes m = {.nonce = nonce_asked(),
			      .vote = vote_of(VICTIM, VOTE_CHECKPOINT, 1, 8)};
	msg_votes_encode(&out, &m);
	deliver(MALICE, &out);
	ck_assert_uint_eq(counter(COUNT_BAD_MESSAGES), 1);
	ck_assert_uint_eq(status().asks_peers, 2);
	ck_assert(!is_outdated());
}
END_TEST

/* The copy has its vote, and was made before the QC came that it has committed since. 1: it is
 * not, and has the QC; 2: or that block is final. */
START_TEST(a_commit_without_its_qc_is_news)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc), *b2 = empty_block(b1, LEADER);
	append(LEADER, LEADER, NULL, b2, NULL);
	struct block_ref ref = block_ref_of(b2);
	struct cert qc = cert_by(&ref, CERT_QC_FAST, 0xb),
		    final = cert_by(&ref, CERT_TWO_ROUND, 0xb);
	if (_i)
		append_all(NULL, _i == 1 ? &qc : NULL, _i == 2 ? &final : NULL);
	start_again();
	struct msg_votes m = {0};
	vote_begin(&m.vote, VOTE_COMMIT, &ref, VICTIM);
	vote_sign(&m.vote, &w.ctx, &w.validator[VICTIM]);
	answer(0, &m);
	ck_assert_int_eq(is_outdated(), _i == 0);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* A NEW-VIEW with its own signature, of a term that its disk knows nothing of: whoever has it,
 * it shows more than a vote, and that term has blocks of its own. 0: while it asks; 1: after
 * that; 2: it does not ask. */
START_TEST(it_does_not_lead_a_term_that_it_has_led)
{
	struct term_cert tc, pbft;
	struct block *b = first_block(&tc);
	make_new_view(&pbft, VICTIM, &tc, b, 0);
	if (_i < 2)
		start_again();
	for (unsigned i = 0; i < 4 && _i == 1; i++)
		if (i != VICTIM)
			answer(i, NULL);
	if (_i == 0)
		answer(MALICE, NULL);
	send_new_view(MALICE, &pbft);
	ck_assert_uint_eq(status().tc_term, VICTIM);
	if (_i == 0) {
		answer(0, NULL);
		answer(LEADER, NULL);
		ck_assert(is_outdated());
	}
	pass(4 * HEARTBEAT);
	ck_assert_int_ne(status().role, ROLE_LEADER);
	ck_assert_ptr_null(newest(MSG_APPEND, 0));
	ck_assert_ptr_null(newest(MSG_PREPARE, 0));
	/* nor after one more start, with that NEW-VIEW on its disk */
	if (_i < 2)
		start_again();
	pass(4 * HEARTBEAT);
	ck_assert_int_ne(status().role, ROLE_LEADER);
	ck_assert_ptr_null(newest(MSG_APPEND, 0));
	term_cert_free(&pbft);
	block_drop(b);
}
END_TEST

/* A liar hurries to show it what others have made final with its vote, before they say so: by
 * then it is no news any more, and its copy not a bit newer. */
START_TEST(what_it_follows_makes_no_copy_newer)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc), *b2 = empty_block(b1, LEADER);
	const struct block_ref ref = block_ref_of(b2);
	struct cert final = cert_by(&ref, CERT_ONE_ROUND, 0xf);
	start_again();
	append_all(b2, NULL, &final);
	ck_assert_uint_eq(final_height(), 2);
	ck_assert_uint_eq(tip_of_victim().height, 2);
	struct msg_votes m = {0};
	vote_begin(&m.vote, VOTE_PREPARE_FAST, &ref, VICTIM);
	vote_sign(&m.vote, &w.ctx, &w.validator[VICTIM]);
	answer(0, &m);
	ck_assert(is_outdated());
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* The third one's answer comes when the asker takes part, and leads, already. What it has
 * signed since is no news; what it has not is. */
START_TEST(a_late_answer_counts)
{
	struct term_cert tc;
	struct block *b = first_block(&tc);
	start_again();
	(void)nonce_asked();
	answer(0, NULL);
	answer(LEADER, NULL);
	uint64_t term = campaign_of_victim(2);
	pass(HEARTBEAT);
	ck_assert_uint_eq(tip_of_victim().term, term);
	struct msg_votes m = {.vote = vote_of(VICTIM, VOTE_PREPARE_FAST, term, _i ? 3 : 2),
			      .term_vote = term_vote_of(VICTIM, term)};
	answer(MALICE, &m);
	ck_assert_int_eq(is_outdated(), _i);
	ck_assert_int_eq(status().role == ROLE_LEADER, !_i);
	forget_sent();
	pass(5000000);
	if (_i)
		signs_nothing();
	else
		ck_assert_ptr_nonnull(newest(MSG_HEARTBEAT, 0));
	block_drop(b);
}
END_TEST

/* Its vote still waits for the disk when that answer comes: it never leaves. */
START_TEST(a_late_answer_takes_back_what_waits)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc), *b2 = empty_block(b1, LEADER);
	start_again();
	answer(0, NULL);
	answer(LEADER, NULL);
	pass(TIMEOUT_MIN_DEFAULT_US + HEARTBEAT);
	ck_assert(!status().asks);
	disk_is_slow = true;
	append(LEADER, LEADER, NULL, b2, NULL);
	ck_assert(!has_prepared(b2));
	ck_assert_uint_eq(tip_of_victim().height, 2);
	struct msg_votes m = shown(4, VICTIM);
	if (_i)
		answer(MALICE, &m);
	ck_assert_int_eq(is_outdated(), _i);
	replica_durable(replica, now, sync_asked);
	ck_assert_int_eq(has_prepared(b2), !_i);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- after a recovery: other keys have signed the past ------------------------------------
 */

static struct keypair recovery_key;

static void setup_recoverable(void)
{
	uint8_t seed[32] = {90};
	begin_genesis();
	keypair_from_seed(&recovery_key, seed);
	w.genesis.recovery = (struct genesis_keys){.k = 1, .m = 1};
	w.genesis.recovery.key[0] = recovery_key.pub;
	open_world();
}

static void recover(const struct block *kept)
{
	static struct recovery doc;
	struct errmsg m = {{0}};
	doc = (struct recovery){.chain = w.ctx.id,
				.number = 1,
				.kept = block_ref_of(kept),
				.state_root = kept->sh.h.state_root,
				.n = 4};
	for (uint8_t i = 0; i < 4; i++) {
		uint8_t seed[32] = {91, i};
		keypair_from_seed(&w.validator[i], seed);
		doc.key[i] = w.validator[i].pub;
	}
	ck_assert_int_eq(recovery_sign(&doc, &w.genesis, &recovery_key), ERR_NONE);
	ck_assert_msg(genesis_add_recovery(&w.genesis, &doc, &m) == ERR_NONE, "%s", m.text);
	genesis_ctx(&w.ctx, &w.genesis);
}

/* The old keys of its number have signed the kept block, and its term; others hold that still.
 * 1: it begins with nothing. */
START_TEST(what_old_keys_have_signed_is_no_news)
{
	struct errmsg m = {{0}};
	struct term_cert tc = tc_by(LEADER, w.block0, 0xe);
	struct block *b = empty_block(w.block0, LEADER);
	struct msg_votes shown = {0};
	heartbeat(LEADER, LEADER, &tc, w.block0, 0);
	struct cert final;
	world_cert(&w, b, CERT_ONE_ROUND, 3, &final);
	append(LEADER, LEADER, NULL, b, &final);
	ck_assert_uint_eq(final_height(), 1);
	const struct block_ref ref = block_ref_of(b);
	vote_begin(&shown.vote, VOTE_PREPARE_FAST, &ref, VICTIM);
	vote_sign(&shown.vote, &w.ctx, &w.validator[VICTIM]);
	shown.term_vote = term_vote_of(VICTIM, LEADER);
	shown.claim = claim_of(VICTIM, LEADER);
	replica_close(replica);
	recover(b);
	if (_i) {
		store_close(store);
		store = store_open_memory();
		ck_assert_int_eq(replica_first_votes(store), ERR_NONE);
	} else {
		ck_assert_msg(replica_begin_anew(store, &w.genesis, NULL, &m) == ERR_NONE, "%s",
			      m.text);
	}
	forget_sent();
	asks_own_votes = true;
	open_replica();
	ck_assert_uint_eq(final_height(), _i ? 0 : 1);
	append(LEADER, LEADER, &tc, b, &final); /* as blocks that are fetched bring them */
	ck_assert_uint_eq(final_height(), 1);
	ck_assert(!is_outdated());
	answer(0, &shown);
	answer(LEADER, &shown);
	answer(MALICE, &shown);
	ck_assert(!is_outdated());
	ck_assert(stands_for_election());
	/* its own key's are */
	start_again();
	struct msg_votes own = {.vote = vote_of(VICTIM, VOTE_COMMIT, LEADER + 1, 2)};
	answer(0, &own);
	ck_assert(is_outdated());
	block_drop(b);
}
END_TEST

/* ---- who is asked -------------------------------------------------------------------------
 */

static const struct msg_votes *told(unsigned to)
{
	static struct msg_votes m;
	static uint64_t nonce;
	struct writer out = {0};
	pass(HEARTBEAT);
	forget_sent();
	msg_ask_votes_encode(&out, ++nonce);
	deliver(to, &out);
	const struct sent *s = newest(MSG_VOTES, to);
	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->to, UINT64_C(1) << to);
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	m = in.votes;
	message_free(&in);
	ck_assert_uint_eq(m.nonce, nonce);
	ck_assert_uint_eq(m.final_height, final_height());
	ck_assert(!m.vote.kind || (m.vote.signer == to && !vote_check(&m.vote, &w.ctx)));
	ck_assert(!m.term_vote.term ||
		  (m.term_vote.signer == to && !term_vote_check(&m.term_vote, &w.ctx)));
	ck_assert(!m.claim.term ||
		  (m.claim.signer == to && !view_claim_check(&m.claim, &w.ctx)));
	return &m;
}

static void knows_vote(unsigned of, enum vote_kind kind, uint64_t term, uint64_t height)
{
	const struct vote *v = &told(of)->vote;
	ck_assert_msg(v->kind == kind && v->ref.term == term && v->ref.height == height,
		      "of kind %d at (%llu, %llu)", v->kind, (unsigned long long)v->ref.term,
		      (unsigned long long)v->ref.height);
}

START_TEST(it_knows_nothing_at_first)
{
	const struct msg_votes *m = told(0);
	ck_assert(!m->vote.kind);
	ck_assert_uint_eq(m->term_vote.term, 0);
	ck_assert_uint_eq(m->claim.term, 0);
	/* and answers each one once in half a heartbeat */
	struct writer out = {0};
	forget_sent();
	msg_ask_votes_encode(&out, 77);
	deliver(0, &out);
	ck_assert_ptr_null(newest(MSG_VOTES, 0));
	ck_assert_ptr_nonnull(told(1));
}
END_TEST

/* However often it is asked; the others do not wait for it. */
START_TEST(answers_are_rationed)
{
	unsigned answers = 0;
	struct writer out = {0};
	for (unsigned ms = 0; ms < 1000; ms++) {
		msg_ask_votes_encode(&out, ms);
		deliver(MALICE, &out);
		pass(1000);
	}
	for (unsigned i = 0; i < sent_count; i++)
		answers += sent[i].type == MSG_VOTES;
	ck_assert_uint_ge(answers, 30);
	ck_assert_uint_le(answers, 2 * 1000000 / HEARTBEAT + 1);
	ck_assert_ptr_nonnull(told(0));
}
END_TEST

START_TEST(votes_in_final_certificates)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc), *b2 = empty_block(b1, LEADER);
	knows_vote(0, VOTE_PREPARE_FAST, 1, 1);
	ck_assert(!told(MALICE)->vote.kind);
	struct block_ref ref = block_ref_of(b2);
	struct cert final = cert_by(&ref, CERT_TWO_ROUND, 0xe);
	append_all(b2, NULL, &final);
	ck_assert_uint_eq(final_height(), 2);
	knows_vote(MALICE, VOTE_COMMIT, 1, 2);
	knows_vote(0, VOTE_PREPARE_FAST, 1, 1); /* gone out of it */
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* One without a block yet; and the next one, without that signer. */
START_TEST(votes_in_certificates_that_wait)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	const struct block_ref five = {1, 5, {{5}}}, six = {1, 6, {{6}}};
	enum cert_kind kind = _i ? CERT_QC_FAST : CERT_TWO_ROUND;
	struct cert c = cert_by(&five, kind, 0xb), next = cert_by(&six, kind, 0xe);
	append_all(NULL, _i ? &c : NULL, _i ? NULL : &c);
	knows_vote(0, cert_vote_kind(kind), 1, 5);
	append_all(NULL, _i ? &next : NULL, _i ? NULL : &next);
	knows_vote(LEADER, cert_vote_kind(kind), 1, 6);
	knows_vote(0, cert_vote_kind(kind), 1, 5);
	block_drop(b1);
}
END_TEST

/* 0: a higher QC takes its place; 1: a final certificate does. */
START_TEST(votes_in_qcs)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc), *b2 = empty_block(b1, LEADER),
		     *b3 = empty_block(b2, LEADER);
	struct block_ref two = block_ref_of(b2), three = block_ref_of(b3);
	struct cert qc = cert_by(&two, CERT_QC_FAST, 0xb),
		    next = cert_by(&three, _i ? CERT_TWO_ROUND : CERT_QC_FAST, 0xe);
	append_all(b2, &qc, NULL);
	append_all(b3, NULL, NULL);
	knows_vote(0, VOTE_PREPARE_FAST, 1, 2);
	append_all(NULL, _i ? NULL : &next, _i ? &next : NULL);
	knows_vote(LEADER, cert_vote_kind(next.kind), 1, 3);
	knows_vote(0, VOTE_PREPARE_FAST, 1, 2);
	block_drop(b3);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* Its newest block gets this vote. */
static void appended(unsigned from, enum vote_kind kind, bool another)
{
	static struct msg_appended m;
	struct writer out = {0};
	struct block_ref ref = tip_of_victim();
	if (another)
		ref.hash.b[0] ^= 1;
	m = (struct msg_appended){.term = ref.term,
				  .has_prepare = kind == VOTE_PREPARE_FAST,
				  .has_commit = kind == VOTE_COMMIT};
	vote_begin(&m.prepare, kind, &ref, from);
	vote_sign(&m.prepare, &w.ctx, &w.validator[from]);
	m.commit = m.prepare;
	msg_appended_encode(&out, &m);
	deliver(from, &out);
}

/* The leader's: _i % 3 is of a PREPARE, a COMMIT, or a PREPARE for another block; 3 and up: and
 * it leads once more. */
START_TEST(votes_that_the_leader_counts)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	enum vote_kind kind = _i % 3 == 1 ? VOTE_COMMIT : VOTE_PREPARE_FAST;
	uint64_t term = campaign_of_victim(2);
	ck_assert_uint_eq(tip_of_victim().term, term);
	appended(0, kind, _i % 3 == 2);
	knows_vote(0, kind, term, 2);
	if (_i >= 3) {
		ck_assert_uint_gt(campaign_of_victim(2), term);
		knows_vote(0, kind, term, 2);
	}
	block_drop(b1);
}
END_TEST

START_TEST(votes_for_terms)
{
	struct block *b1 = empty_block(w.block0, 1);
	struct term_cert one = tc_by(1, w.block0, 0xb), five = tc_by(5, w.block0, 0xe);
	heartbeat(LEADER, 1, &one, w.block0, 0);
	ck_assert_uint_eq(told(0)->term_vote.term, 1);
	ck_assert_uint_eq(told(0)->term_vote.leader, LEADER);
	heartbeat(LEADER, 5, &five, w.block0, 0);
	ck_assert_uint_eq(told(LEADER)->term_vote.term, 5);
	ck_assert_uint_eq(told(0)->term_vote.term, 1);
	block_drop(b1);
}
END_TEST

/* Of candidates that do not make it only they themselves have votes. */
START_TEST(votes_for_a_candidate)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	uint64_t term = campaign_of_victim(1);
	ck_assert_uint_eq(told(0)->term_vote.term, term);
	ck_assert_uint_eq(told(0)->term_vote.leader, VICTIM);
	campaign_of_victim(_i ? 0 : 2);
	if (_i)
		ck_assert_uint_eq(told(0)->term_vote.term, term);
	else
		ck_assert_uint_gt(told(0)->term_vote.term, term);
	block_drop(b1);
}
END_TEST

static void pbft_vote(unsigned from, enum vote_kind kind, const struct block *b)
{
	struct writer out = {0};
	struct msg_commit m = {0};
	const struct block_ref ref = block_ref_of(b);
	vote_begin(&m.commit, kind, &ref, from);
	vote_sign(&m.commit, &w.ctx, &w.validator[from]);
	if (kind == VOTE_COMMIT)
		msg_commit_encode(&out, &m);
	else
		msg_prepare_encode(&out, &m.commit);
	deliver(from, &out);
}

/* 2 and 3: that term is over. */
START_TEST(votes_of_a_pbft_term)
{
	struct term_cert tc, pbft, next;
	struct block *b1 = first_block(&tc);
	enum vote_kind kind = _i % 2 ? VOTE_COMMIT : VOTE_PREPARE_PBFT;
	make_new_view(&pbft, MALICE, &tc, b1, 0);
	send_new_view(MALICE, &pbft);
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	struct block *b2 = first_pbft_block(&pbft, b1);
	append(MALICE, MALICE, NULL, b2, NULL);
	pbft_vote(0, kind, b2);
	knows_vote(0, kind, MALICE, 2);
	if (_i >= 2) {
		make_new_view(&next, MALICE + 1, &tc, b1, 0);
		send_new_view(0, &next);
		ck_assert_uint_eq(status().tc_term, MALICE + 1);
		knows_vote(0, kind, MALICE, 2);
		term_cert_free(&next);
	}
	term_cert_free(&pbft);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* 0: sent by itself; 1: in a NEW-VIEW alone; 2: in one whose term is over. */
START_TEST(claims_of_view_changes)
{
	struct term_cert tc, pbft, fast;
	struct block *b1 = first_block(&tc);
	if (_i == 0) {
		struct view_change v;
		view_change_at(&v, 7, 0, &tc, b1);
		view_change_sign(&v, &w.ctx, &w.validator[0]);
		send_view_change_of(&v);
		ck_assert_uint_eq(told(0)->claim.term, 7);
	} else {
		make_new_view(&pbft, MALICE, &tc, b1, 0);
		send_new_view(MALICE, &pbft);
		ck_assert_uint_eq(told(0)->claim.term, MALICE);
		term_cert_free(&pbft);
	}
	if (_i == 2) {
		fast = tc_by(5, b1, 0xe);
		heartbeat(LEADER, 5, &fast, b1, 1);
		ck_assert_uint_eq(status().tc_term, 5);
		ck_assert_uint_eq(told(0)->claim.term, MALICE);
		term_cert_free(&fast);
	}
	block_drop(b1);
}
END_TEST

void hostile_own_votes(Suite *s)
{
	TCase *t = hostile_case(s, "who asks for its votes", setup, 120);
	tcase_add_loop_test(t, a_quorum_is_waited_for, 0, 2);
	tcase_add_loop_test(t, each_kind_of_news_is_one, 0, 10);
	tcase_add_loop_test(t, what_proves_nothing_is_no_news, 0, 20);
	tcase_add_loop_test(t, what_it_knows_of_is_no_news, 0, 3);
	tcase_add_test(t, a_checkpoint_vote_is_no_answer);
	tcase_add_loop_test(t, a_commit_without_its_qc_is_news, 0, 3);
	tcase_add_loop_test(t, it_does_not_lead_a_term_that_it_has_led, 0, 3);
	tcase_add_test(t, what_it_follows_makes_no_copy_newer);
	tcase_add_loop_test(t, a_late_answer_counts, 0, 2);
	tcase_add_loop_test(t, a_late_answer_takes_back_what_waits, 0, 2);
	t = hostile_case(s, "recovered, asks for its votes", setup_recoverable, 120);
	tcase_add_loop_test(t, what_old_keys_have_signed_is_no_news, 0, 2);
	t = hostile_case(s, "who is asked for votes", setup, 120);
	tcase_add_test(t, it_knows_nothing_at_first);
	tcase_add_test(t, answers_are_rationed);
	tcase_add_test(t, votes_in_final_certificates);
	tcase_add_loop_test(t, votes_in_certificates_that_wait, 0, 2);
	tcase_add_loop_test(t, votes_in_qcs, 0, 2);
	tcase_add_loop_test(t, votes_that_the_leader_counts, 0, 6);
	tcase_add_test(t, votes_for_terms);
	tcase_add_loop_test(t, votes_for_a_candidate, 0, 2);
	tcase_add_loop_test(t, votes_of_a_pbft_term, 0, 4);
	tcase_add_loop_test(t, claims_of_view_changes, 0, 3);
}
