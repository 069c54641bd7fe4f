/* What an honest replica comes to sign in hard situations is no evidence against it, however it
 * is held up. Each test tells the situation first. */
#include "tests/chain/evidence-world.h"

static struct writer w1, w2;

static void setup(void)
{
	world_setup();
	w1 = w2 = (struct writer){0};
}

static void teardown(void)
{
	writer_free(&w1);
	writer_free(&w2);
	world_teardown();
}

static const struct writer *of_header(struct writer *w, const struct signed_header *sh)
{
	writer_reset(w);
	signed_header_encode(w, sh);
	return w;
}

static const struct writer *of_vote(struct writer *w, const struct vote *v)
{
	writer_reset(w);
	vote_encode(w, v);
	return w;
}

static const struct writer *of_term_vote(struct writer *w, const struct term_vote *v)
{
	writer_reset(w);
	term_vote_encode(w, v);
	return w;
}

static const struct writer *of_claim(struct writer *w, const struct view_change *v)
{
	struct view_claim c;
	writer_reset(w);
	view_change_claim(&c, v);
	view_claim_encode(w, &c);
	return w;
}

static const struct writer *of_view_change(struct writer *w, const struct view_change *v)
{
	writer_reset(w);
	view_change_encode(w, v);
	return w;
}

/* Two headers of 1, as both kinds, with links of every ancestor given. */
static void headers(const struct signed_header *a, const struct signed_header *b,
		    const struct header *links, uint32_t count)
{
	struct evidence e;
	of_header(&w1, a);
	of_header(&w2, b);
	e = against(1, EVIDENCE_HEADERS, STATEMENT_HEADER, &w1, STATEMENT_HEADER, &w2);
	innocent(&e);
	e.kind = EVIDENCE_TERM_HEADERS;
	innocent(&e);
	for (uint32_t i = 1; i <= count; i++) {
		struct writer w = {0};
		if (evidence_of_ancestor(&e, &w, a, links, i, b))
			innocent(&e);
		writer_free(&w);
	}
}

static void votes(const struct vote *a, const struct vote *b)
{
	struct evidence e = against(a->signer, EVIDENCE_VOTES, STATEMENT_VOTE, of_vote(&w1, a),
				    STATEMENT_VOTE, of_vote(&w2, b));
	innocent(&e);
}

static void vote_and_view_change(enum vote_kind kind, const struct block_ref *ref,
				 const struct view_change *vc)
{
	struct vote v = make_vote(kind, ref, vc->signer);
	struct evidence e =
		against(vc->signer, EVIDENCE_HIDDEN_VOTE, STATEMENT_VOTE, of_vote(&w1, &v),
			STATEMENT_VIEW_CHANGE, of_view_change(&w2, vc));
	innocent(&e);
}

static void term_vote_and_vote(const struct term_vote *t, const struct vote *v)
{
	struct evidence e = against(t->signer, EVIDENCE_LOW_BASE, STATEMENT_TERM_VOTE,
				    of_term_vote(&w1, t), STATEMENT_VOTE, of_vote(&w2, v));
	innocent(&e);
}

/* ---- leaders ----------------------------------------------------------------------------- */

/* A leader makes one block after the other, and leads again in a later term. */
START_TEST(a_leader_at_work)
{
	struct signed_header a[4], b[2];
	struct header links[6];
	make_chain(a, 4, 1, 1, &zero, 1);
	struct block_ref base = ref_of(&a[3].h);
	make_chain(b, 2, 5, 1, &base, 2);
	for (unsigned i = 0; i < 3; i++)
		headers(&a[i], &a[3], NULL, 0);
	for (unsigned i = 0; i < 3; i++)
		links[i] = a[2 - i].h;
	headers(&a[3], &a[1], links, 3);
	headers(&a[3], &a[3], links, 3);
	/* down into the term that it led before: whatever it signed there that came to nothing,
	 * for it crashed, stands beside what its own chain holds now */
	struct signed_header lost = make_header(1, 4, 1, &a[2].h.prev, &zero, 9);
	links[0] = b[0].h;
	for (unsigned i = 0; i < 4; i++)
		links[1 + i] = a[3 - i].h;
	headers(&b[1], &lost, links, 5);
	headers(&b[1], &a[0], links, 5);
}
END_TEST

/* Restarted: everything that was signed is sent again as it was. */
START_TEST(a_restart)
{
	struct signed_header h = make_header(1, 1, 1, &zero.hash, &zero, 1), again = h;
	struct block_ref ref = ref_of(&h.h);
	struct vote v = make_vote(VOTE_PREPARE_FAST, &ref, 1), v2 = v;
	struct term_vote t = make_term_vote(3, 2, &zero, 1), t2 = t;
	struct view_change vc = make_view_change(4, 1, &h, 1, &zero), vc2;
	struct evidence e;
	sign_header(&again);
	headers(&h, &again, NULL, 0);
	vote_sign(&v2, &ctx, &keys[1]);
	votes(&v, &v2);
	term_vote_sign(&t2, &ctx, &keys[1]);
	e = against(1, EVIDENCE_TERM_STATEMENTS, STATEMENT_TERM_VOTE, of_term_vote(&w1, &t),
		    STATEMENT_TERM_VOTE, of_term_vote(&w2, &t2));
	innocent(&e);
	view_change_copy(&vc2, &vc);
	sign_view_change(&vc2);
	e = against(1, EVIDENCE_TERM_STATEMENTS, STATEMENT_VIEW_CLAIM, of_claim(&w1, &vc),
		    STATEMENT_VIEW_CLAIM, of_claim(&w2, &vc2));
	innocent(&e);
	/* a signature that is another one over the same words is no second statement */
	vc2.sig.b[0] ^= 1;
	e = against(1, EVIDENCE_TERM_STATEMENTS, STATEMENT_VIEW_CLAIM, of_claim(&w1, &vc),
		    STATEMENT_VIEW_CLAIM, of_claim(&w2, &vc2));
	innocent(&e);
	/* in the next terms it speaks again */
	vc2.term = 5;
	sign_view_change(&vc2);
	e = against(1, EVIDENCE_TERM_STATEMENTS, STATEMENT_VIEW_CLAIM, of_claim(&w1, &vc),
		    STATEMENT_VIEW_CLAIM, of_claim(&w2, &vc2));
	innocent(&e);
	e = against(1, EVIDENCE_TERM_STATEMENTS, STATEMENT_TERM_VOTE, of_term_vote(&w1, &t),
		    STATEMENT_VIEW_CLAIM, of_claim(&w2, &vc));
	innocent(&e);
	vote_and_view_change(VOTE_PREPARE_FAST, &ref, &vc);
	vote_and_view_change(VOTE_COMMIT, &ref, &vc2);
	view_change_free(&vc);
	view_change_free(&vc2);
}
END_TEST

/* A primary sends its one NEW-VIEW again, and that of a later term of its own. */
START_TEST(a_primary_sends_again)
{
	struct view_change vc[2][3];
	for (unsigned k = 0; k < 2; k++)
		for (unsigned i = 0; i < 3; i++)
			vc[k][i] = make_view_change(5 + 4 * k, i, NULL, 0, NULL);
	struct new_view a = make_new_view(5, vc[0], 3), b = make_new_view(9, vc[1], 3);
	struct new_view_claim ca, cb;
	new_view_claim(&ca, &a);
	new_view_claim(&cb, &b);
	new_view_claim_encode(&w1, &ca);
	new_view_claim_encode(&w2, &ca);
	struct evidence e = against(1, EVIDENCE_NEW_VIEWS, STATEMENT_NEW_VIEW, &w1,
				    STATEMENT_NEW_VIEW, &w2);
	innocent(&e);
	writer_reset(&w2);
	new_view_claim_encode(&w2, &cb);
	e = against(1, EVIDENCE_NEW_VIEWS, STATEMENT_NEW_VIEW, &w1, STATEMENT_NEW_VIEW, &w2);
	innocent(&e);
	new_view_free(&a);
	new_view_free(&b);
}
END_TEST

/* ---- followers --------------------------------------------------------------------------- */

/* A leader equivocates. We voted for one branch; a QC for the other, higher up, moves our tip
 * without a PREPARE; we COMMIT there, which makes a COMMIT beside our PREPARE, and go on. */
START_TEST(a_qc_moves_the_tip)
{
	struct signed_header a[5], b[7];
	make_chain(a, 5, 2, 1, &zero, 1);
	make_chain(b, 7, 2, 1, &zero, 2);
	struct block_ref ours = ref_of(&a[4].h), theirs = ref_of(&b[4].h),
			 high = ref_of(&b[5].h), next = ref_of(&b[6].h);
	struct vote first = make_vote(VOTE_PREPARE_FAST, &ours, 3),
		    commit = make_vote(VOTE_COMMIT, &theirs, 3),
		    commit_high = make_vote(VOTE_COMMIT, &high, 3),
		    prepare = make_vote(VOTE_PREPARE_FAST, &next, 3);
	votes(&first, &commit);
	votes(&first, &commit_high);
	votes(&first, &prepare);
	votes(&commit, &commit_high);
	for (unsigned tip = 6; tip <= 7; tip++) {
		struct view_change vc = make_view_change(4, 3, b, tip, &zero);
		vc.position.has_qc = true;
		make_cert(&vc.position.qc, CERT_QC_FAST, &high);
		sign_view_change(&vc);
		for (unsigned i = 0; i < 5; i++) {
			struct block_ref on_a = ref_of(&a[i].h);
			vote_and_view_change(VOTE_PREPARE_FAST, &on_a, &vc);
		}
		vote_and_view_change(VOTE_COMMIT, &theirs, &vc);
		vote_and_view_change(VOTE_COMMIT, &high, &vc);
		view_change_free(&vc);
	}
}
END_TEST

/* The QC that moved the tip was at the very height of our vote's child, and the certificate
 * shown by now is one of two rounds. */
START_TEST(a_commit_certificate_moves_the_tip)
{
	struct signed_header a[3], b[3];
	make_chain(a, 3, 2, 1, &zero, 1);
	make_chain(b, 3, 2, 1, &zero, 2);
	struct block_ref vote = ref_of(&a[2].h), other = ref_of(&b[2].h);
	struct view_change vc = make_view_change(4, 3, b, 3, &zero);
	vc.position.has_qc = true;
	make_cert(&vc.position.qc, CERT_TWO_ROUND, &other);
	sign_view_change(&vc);
	vote_and_view_change(VOTE_PREPARE_FAST, &vote, &vc);
	view_change_free(&vc);
}
END_TEST

/* We voted, finality cut our branch off, and our view changes still show it down to the base,
 * with a QC of lower height or none. */
START_TEST(a_tip_that_was_cut_off)
{
	struct signed_header a[5];
	make_chain(a, 5, 2, 1, &zero, 1);
	struct view_change vc = make_view_change(4, 3, a, 5, &zero);
	for (unsigned i = 0; i < 5; i++) {
		struct block_ref ref = ref_of(&a[i].h);
		vote_and_view_change(VOTE_PREPARE_FAST, &ref, &vc);
		vote_and_view_change(VOTE_COMMIT, &ref, &vc);
	}
	view_change_free(&vc);
}
END_TEST

/* The chain shown begins at a stable checkpoint. Our votes below it are not seen, some were for
 * another branch. The same with the checkpoint shown only as the newest stable one. */
START_TEST(a_checkpoint_cuts_the_chain)
{
	struct signed_header a[8], b[3];
	make_chain(a, 8, 2, 1, &zero, 1);
	make_chain(b, 3, 2, 1, &zero, 2);
	struct block_ref stable = ref_of(&a[3].h);
	struct view_change vc = make_view_change(4, 3, a + 4, 4, &zero);
	struct cert checkpoint;
	make_cert(&checkpoint, CERT_CHECKPOINT, &stable);
	for (unsigned i = 0; i < 2; i++) {
		vc.position.has_checkpoint = i == 0;
		vc.has_stable = i == 1;
		vc.position.checkpoint = vc.stable = checkpoint;
		sign_view_change(&vc);
		for (unsigned k = 0; k < 4; k++) {
			struct block_ref on_a = ref_of(&a[k].h);
			vote_and_view_change(VOTE_PREPARE_FAST, &on_a, &vc);
			vote_and_view_change(VOTE_COMMIT, &on_a, &vc);
		}
		for (unsigned k = 0; k < 3; k++) {
			struct block_ref on_b = ref_of(&b[k].h);
			vote_and_view_change(VOTE_PREPARE_FAST, &on_b, &vc);
		}
		for (unsigned k = 4; k < 8; k++) {
			struct block_ref above = ref_of(&a[k].h);
			vote_and_view_change(VOTE_PREPARE_FAST, &above, &vc);
		}
	}
	view_change_free(&vc);
}
END_TEST

/* Votes of older terms arrive late, for blocks that were repaired away since: longer chains of
 * lower terms count for less. And votes of the term itself and later ones: after its view
 * change a replica enters what others have made, and votes there. */
START_TEST(messages_arrive_late)
{
	struct signed_header a[3];
	struct block_ref base = {.term = 2, .height = 4, .hash = {{1}}},
			 old = {.term = 2, .height = 90, .hash = {{2}}},
			 same = {.term = 6, .height = 8, .hash = {{3}}},
			 later = {.term = 7, .height = 5, .hash = {{4}}};
	make_chain(a, 3, 3, 1, &base, 1);
	struct view_change vc = make_view_change(6, 3, a, 3, &base);
	vote_and_view_change(VOTE_PREPARE_FAST, &old, &vc);
	vote_and_view_change(VOTE_COMMIT, &old, &vc);
	vote_and_view_change(VOTE_PREPARE_PBFT, &same, &vc);
	vote_and_view_change(VOTE_PREPARE_FAST, &later, &vc);
	vote_and_view_change(VOTE_COMMIT, &later, &vc);
	/* a checkpoint statement is no vote for a block on one's own chain */
	vote_and_view_change(VOTE_CHECKPOINT, &old, &vc);
	struct block_ref above = {.term = 3, .height = 99, .hash = {{5}}};
	vote_and_view_change(VOTE_CHECKPOINT, &above, &vc);
	view_change_free(&vc);
}
END_TEST

/* A Byzantine primary signs two NEW-VIEWs of one term. We vote under the first; a QC under the
 * second, whose base is above our vote, moves our tip, and we vote under that. */
START_TEST(two_new_views_of_a_primary)
{
	struct signed_header a[1], b[3];
	struct block_ref low = {.term = 2, .height = 4, .hash = {{1}}},
			 high = {.term = 2, .height = 8, .hash = {{2}}};
	make_chain(a, 1, 5, 1, &low, 1);
	make_chain(b, 3, 5, 1, &high, 2);
	for (unsigned i = 0; i < 3; i++) {
		b[i].h.mode = MODE_PBFT;
		b[i].h.new_view = (struct hash){{2}};
		b[i].h.prev = i ? ref_of(&b[i - 1].h).hash : high.hash;
		sign_header(&b[i]);
	}
	a[0].h.mode = MODE_PBFT;
	a[0].h.new_view = (struct hash){{1}};
	sign_header(&a[0]);
	struct block_ref first = ref_of(&a[0].h), certified = ref_of(&b[1].h),
			 tip = ref_of(&b[2].h);
	struct vote x = make_vote(VOTE_PREPARE_PBFT, &first, 3),
		    y = make_vote(VOTE_PREPARE_PBFT, &tip, 3),
		    z = make_vote(VOTE_COMMIT, &certified, 3);
	votes(&x, &y);
	votes(&x, &z);
	struct view_change vc = make_view_change(6, 3, b, 3, &high);
	vc.position.has_qc = true;
	make_cert(&vc.position.qc, CERT_QC_PBFT, &certified);
	sign_view_change(&vc);
	vote_and_view_change(VOTE_PREPARE_PBFT, &first, &vc);
	vote_and_view_change(VOTE_PREPARE_PBFT, &tip, &vc);
	vote_and_view_change(VOTE_COMMIT, &certified, &vc);
	/* whose NEW-VIEW is not at hand: not by the bytes alone */
	writer_reset(&w1);
	view_change_encode(&w1, &vc);
	innocent(&(struct evidence){.kind = EVIDENCE_INVALID_STATEMENT,
				    .culprit = 3,
				    .first = {STATEMENT_VIEW_CHANGE, writer_slice(&w1)},
				    .second = {.kind = STATEMENT_VIEW_CHANGE}});
	view_change_free(&vc);
}
END_TEST

/* Term votes by rules 1 to 3: the base is never of a lower term than the voter's tip. */
START_TEST(term_votes_by_the_rules)
{
	struct block_ref at = {.term = 4, .height = 9, .hash = {{1}}},
			 same = {.term = 4, .height = 3, .hash = {{2}}},
			 above = {.term = 5, .height = 1, .hash = {{3}}},
			 low = {.term = 3, .height = 50, .hash = {{4}}};
	struct vote v = make_vote(VOTE_PREPARE_FAST, &at, 1),
		    commit = make_vote(VOTE_COMMIT, &at, 1);
	struct term_vote t = make_term_vote(6, 2, &same, 1);
	term_vote_and_vote(&t, &v); /* rule 3: lower down, with a QC of the term */
	t = make_term_vote(6, 2, &above, 1);
	term_vote_and_vote(&t, &v);
	t = make_term_vote(6, 2, &at, 1);
	term_vote_and_vote(&t, &v);
	/* it voted for term 4 on a base of term 3, and then in term 4 */
	t = make_term_vote(4, 2, &low, 1);
	term_vote_and_vote(&t, &v);
	/* a COMMIT is of a term in which it PREPAREd, or followed a QC: not what the rule says
	 */
	t = make_term_vote(6, 2, &low, 1);
	term_vote_and_vote(&t, &commit);
}
END_TEST

/* ---- blocks ------------------------------------------------------------------------------ */

static void block_is_fine(const struct slice *txs, const enum tx_result *results,
			  uint32_t count)
{
	struct block *b = make_block(2, 5, 1, txs, results, count);
	struct evidence e;
	struct writer w = {0};
	if (evidence_of_block(&e, &w, b, &ctx, tx_is_bad))
		innocent(&e);
	writer_reset(&w);
	if (evidence_of_header(&e, &w, &b->sh, NULL, 0))
		innocent(&e);
	block_drop(b);
	writer_free(&w);
}

/* Diverged state: what needs a state to judge is refused, and accuses nobody. */
START_TEST(blocks_that_only_a_state_can_judge)
{
	static const enum tx_result failed[] = {TX_FAILED_CAS, TX_FAILED_NOT_FOUND};
	const struct system_tx tx = {.kind = SYSTEM_ESCALATED, .height = 5, .term = 2};
	struct writer up = {0};
	system_tx_encode(&up, &tx, &ctx);
	struct slice txs[] = {writer_slice(&up), slice_str("fine")};
	block_is_fine(NULL, NULL, 0);
	block_is_fine(txs, NULL, 2);
	block_is_fine(txs + 1, failed, 1);
	writer_free(&up);
}
END_TEST

/* Somebody else's words are put beside an honest header. */
START_TEST(another_body_is_held_up)
{
	const struct slice txs[] = {slice_str("one"), slice_str("two"), slice_str("bad")};
	struct block *good = make_block(2, 5, 1, txs, NULL, 2),
		     *bad = make_block(2, 5, 1, txs, NULL, 3);
	struct hash leaves[3];
	struct merkle_path path;
	writer_reset(&w1);
	signed_header_encode(&w1, &good->sh);
	writer_var(&w1, slice_of(bad->body, bad->body_size));
	struct evidence e = {.kind = EVIDENCE_INVALID_BLOCK,
			     .culprit = 1,
			     .first = {STATEMENT_BLOCK, writer_slice(&w1)},
			     .second = {.kind = STATEMENT_BLOCK}};
	innocent(&e);
	block_leaves(leaves, bad);
	merkle_prove(&path, leaves, 3, 2);
	for (unsigned lie = 0; lie < 3; lie++) {
		writer_reset(&w1);
		signed_header_encode(&w1, &good->sh);
		writer_u8(&w1, TX_OK);
		writer_var(&w1, lie == 2 ? txs[1] : txs[2]);
		if (lie == 1)
			path.count = 2, path.index = 1;
		merkle_path_encode(&w1, &path);
		e.first = (struct statement){STATEMENT_BLOCK_TX, writer_slice(&w1)};
		e.second.kind = STATEMENT_BLOCK_TX;
		innocent(&e);
	}
	/* a mode entry that stands first is said to stand elsewhere */
	const struct system_tx tx = {.kind = SYSTEM_ESCALATED, .height = 5, .term = 2};
	struct writer up = {0};
	system_tx_encode(&up, &tx, &ctx);
	struct slice with[] = {writer_slice(&up), txs[0]};
	struct block *b = make_block(2, 5, 1, with, NULL, 2);
	block_leaves(leaves, b);
	merkle_prove(&path, leaves, 2, 0);
	for (uint64_t index = 0; index < 3; index++)
		for (uint64_t count = 1; count < 5; count++) {
			writer_reset(&w1);
			signed_header_encode(&w1, &b->sh);
			writer_u8(&w1, TX_OK);
			writer_var(&w1, with[0]);
			path.index = index;
			path.count = count;
			merkle_path_encode(&w1, &path);
			e.first.bytes = writer_slice(&w1);
			innocent(&e);
		}
	writer_free(&up);
	block_drop(b);
	block_drop(good);
	block_drop(bad);
}
END_TEST

/* A leader builds on blocks of others, of lower terms, across view changes. */
START_TEST(links_of_honest_chains)
{
	struct signed_header a[3], b[3];
	struct header links[6];
	make_chain(a, 3, 1, 3, &zero, 1);
	struct block_ref base = ref_of(&a[2].h);
	make_chain(b, 3, 4, 1, &base, 2);
	for (unsigned i = 0; i < 2; i++)
		links[i] = b[1 - i].h;
	for (unsigned i = 0; i < 3; i++)
		links[2 + i] = a[2 - i].h;
	for (uint32_t count = 0; count <= 5; count++) {
		struct writer w = {0};
		struct evidence e;
		ck_assert(evidence_of_header(&e, &w, &b[2], links, count));
		innocent(&e);
		/* a stranger at the end is no ancestor */
		struct header last = links[count ? count - 1 : 0];
		links[count ? count - 1 : 0].time_ms += 100000;
		writer_reset(&w);
		ck_assert(evidence_of_header(&e, &w, &b[2], links, count));
		innocent(&e);
		links[count ? count - 1 : 0] = last;
		writer_free(&w);
	}
}
END_TEST

/* A primary passes on what liars have signed, as long as it is valid by its bytes. */
START_TEST(a_primary_with_liars)
{
	struct signed_header a[3], b[3];
	struct block_ref nowhere = {.term = 2, .height = 1, .hash = {{7}}};
	make_chain(a, 3, 2, 1, &zero, 1);
	make_chain(b, 3, 2, 1, &zero, 2);
	struct view_change vc[3] = {make_view_change(6, 0, a, 3, &zero),
				    make_view_change(6, 1, b, 3, &zero), /* the equivocator's */
				    make_view_change(6, 3, NULL, 0, NULL)};
	vc[1].position.has_qc = true; /* off the chain shown */
	make_cert(&vc[1].position.qc, CERT_QC_FAST, &nowhere);
	sign_view_change(&vc[1]);
	struct new_view nv = make_new_view(6, vc, 3);
	struct writer w = {0};
	struct evidence e;
	ck_assert(evidence_of_new_view(&e, &w, &nv));
	innocent(&e);
	writer_free(&w);
	new_view_free(&nv);
}
END_TEST

/* One's own words under another's name, and another's under one's own. */
START_TEST(words_of_two_replicas)
{
	struct block_ref a = {.term = 1, .height = 1, .hash = {{1}}}, b = a;
	b.hash.b[0]++;
	struct vote x = make_vote(VOTE_COMMIT, &a, 1), y = make_vote(VOTE_COMMIT, &b, 2);
	votes(&x, &y);
	votes(&y, &x);
	y.signer = 1; /* with 2's signature */
	votes(&x, &y);
	struct term_vote t = make_term_vote(3, 1, &zero, 1), u = make_term_vote(3, 2, &zero, 2);
	struct evidence e =
		against(1, EVIDENCE_TERM_STATEMENTS, STATEMENT_TERM_VOTE, of_term_vote(&w1, &t),
			STATEMENT_TERM_VOTE, of_term_vote(&w2, &u));
	innocent(&e);
	e.culprit = 2;
	innocent(&e);
	/* of another chain: the signature says so */
	struct chain_ctx other = ctx;
	other.domain.b[0]++;
	struct vote z = {.kind = VOTE_COMMIT, .ref = b, .signer = 1};
	vote_sign(&z, &other, &keys[1]);
	votes(&x, &z);
}
END_TEST

Suite *innocence_suite(void)
{
	Suite *s = suite_create("innocence");
	TCase *t = tcase_create("innocence");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_leader_at_work);
	tcase_add_test(t, a_restart);
	tcase_add_test(t, a_primary_sends_again);
	tcase_add_test(t, a_qc_moves_the_tip);
	tcase_add_test(t, a_commit_certificate_moves_the_tip);
	tcase_add_test(t, a_tip_that_was_cut_off);
	tcase_add_test(t, a_checkpoint_cuts_the_chain);
	tcase_add_test(t, messages_arrive_late);
	tcase_add_test(t, two_new_views_of_a_primary);
	tcase_add_test(t, term_votes_by_the_rules);
	tcase_add_test(t, blocks_that_only_a_state_can_judge);
	tcase_add_test(t, another_body_is_held_up);
	tcase_add_test(t, links_of_honest_chains);
	tcase_add_test(t, a_primary_with_liars);
	tcase_add_test(t, words_of_two_replicas);
	suite_add_tcase(s, t);
	return s;
}
