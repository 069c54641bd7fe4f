/* Evidence: what each kind proves, and that what is near a proof is none. */
#include "tests/chain/evidence-world.h"

/* ---- pairs ------------------------------------------------------------------------------- */

START_TEST(two_headers)
{
	struct signed_header a = make_header(1, 1, 2, &zero.hash, &zero, 1);
	struct signed_header b = make_header(1, 1, 2, &zero.hash, &zero, 2);
	struct writer w = {0};
	struct evidence e;
	ck_assert(evidence_of_headers(&e, &w, &a, &b));
	ck_assert_int_eq(e.kind, EVIDENCE_HEADERS);
	proves(&e);
	/* the same offence has one hash */
	struct hash h1, h2;
	evidence_hash(&h1, &e);
	struct writer w2 = {0};
	ck_assert(evidence_of_headers(&e, &w2, &b, &a));
	evidence_hash(&h2, &e);
	ck_assert(hash_equal(&h1, &h2));
	writer_reset(&w);
	ck_assert(!evidence_of_headers(&e, &w, &a, &a));
	writer_free(&w);
	writer_free(&w2);
}
END_TEST

/* Who signs a header vouches for its ancestors. */
START_TEST(a_header_and_an_ancestor)
{
	struct signed_header a[5], b[5];
	make_chain(a, 5, 1, 2, &zero, 1);
	make_chain(b, 5, 1, 2, &zero, 2);
	for (unsigned high = 1; high < 5; high++) {
		struct header links[5];
		struct writer w = {0};
		struct evidence e;
		for (unsigned i = 0; i < high; i++)
			links[i] = a[high - 1 - i].h;
		ck_assert(evidence_of_ancestor(&e, &w, &a[high], links, high, &b[0]));
		proves(&e);
		writer_reset(&w);
		/* one link more, one less, from the side */
		ck_assert(evidence_of_ancestor(&e, &w, &a[high], links, high, &b[1]));
		ck_assert_int_ne(evidence_check(&e, &ctx, NULL), ERR_NONE);
		writer_reset(&w);
		links[0] = b[high - 1].h;
		ck_assert(evidence_of_ancestor(&e, &w, &a[high], links, high, &b[0]));
		ck_assert_int_ne(evidence_check(&e, &ctx, NULL), ERR_NONE);
		writer_free(&w);
	}
}
END_TEST

static void term_headers(const struct signed_header *a, const struct signed_header *b)
{
	struct writer w = {0};
	struct evidence e;
	ck_assert(evidence_of_headers(&e, &w, a, b));
	ck_assert_int_eq(e.kind, EVIDENCE_TERM_HEADERS);
	proves(&e);
	writer_free(&w);
}

START_TEST(headers_of_one_term)
{
	struct block_ref other = {.term = 1, .height = 3, .hash = {{9}}};
	struct signed_header a = make_header(2, 5, 2, &zero.hash, &zero, 1);
	struct signed_header b = make_header(2, 6, 2, &zero.hash, &other, 1);
	term_headers(&a, &b); /* bases */
	b = make_header(2, 7, 2, &zero.hash, &zero, 1);
	b.h.mode = MODE_PBFT;
	b.h.new_view = other.hash;
	sign_header(&b);
	term_headers(&a, &b); /* modes: 2 is the primary of term 2 */
	a = b;
	a.h.new_view.b[0]++;
	sign_header(&a);
	term_headers(&a, &b); /* NEW-VIEWs */
}
END_TEST

START_TEST(two_votes)
{
	struct block_ref a = {.term = 3, .height = 5, .hash = {{1}}}, b = a;
	static const enum vote_kind kinds[][2] = {{VOTE_PREPARE_FAST, VOTE_PREPARE_FAST},
						  {VOTE_PREPARE_PBFT, VOTE_PREPARE_PBFT},
						  {VOTE_PREPARE_FAST, VOTE_PREPARE_PBFT},
						  {VOTE_COMMIT, VOTE_COMMIT}};
	b.hash.b[0]++;
	for (size_t i = 0; i < MEM_COUNT(kinds); i++) {
		struct vote x = make_vote(kinds[i][0], &a, 3),
			    y = make_vote(kinds[i][1], &b, 3);
		struct writer w = {0};
		struct evidence e;
		ck_assert(evidence_of_votes(&e, &w, &x, &y));
		proves(&e);
		writer_free(&w);
	}
}
END_TEST

START_TEST(two_words_in_a_term)
{
	struct block_ref other = {.term = 1, .height = 1, .hash = {{1}}};
	struct term_vote a = make_term_vote(6, 2, &zero, 1), b = make_term_vote(6, 3, &zero, 1),
			 c = make_term_vote(6, 2, &other, 1);
	struct view_change v = make_view_change(6, 1, NULL, 0, NULL),
			   u = make_view_change(6, 1, NULL, 0, NULL);
	struct writer w = {0};
	struct evidence e;
	u.reason = REASON_PROOF;
	sign_view_change(&u);
	ck_assert(evidence_of_term_votes(&e, &w, &a, &b));
	proves(&e);
	writer_reset(&w);
	ck_assert(evidence_of_term_votes(&e, &w, &a, &c));
	proves(&e);
	writer_reset(&w);
	ck_assert(evidence_of_view_changes(&e, &w, &u, &v));
	proves(&e);
	writer_reset(&w);
	ck_assert(evidence_of_both(&e, &w, &a, &v));
	proves(&e);
	/* what it shows counts too, not only what it claims */
	struct signed_header h = make_header(1, 1, 2, &zero.hash, &zero, 1);
	view_change_free(&u);
	u = make_view_change(6, 1, &h, 1, &zero);
	writer_reset(&w);
	ck_assert(evidence_of_view_changes(&e, &w, &u, &v));
	proves(&e);
	writer_free(&w);
	view_change_free(&u);
	view_change_free(&v);
}
END_TEST

static struct new_view some_new_view(uint64_t term, unsigned without)
{
	struct view_change vc[N];
	unsigned count = 0;
	for (unsigned i = 0; i < N; i++)
		if (i != without)
			vc[count++] = make_view_change(term, i, NULL, 0, NULL);
	return make_new_view(term, vc, count);
}

START_TEST(two_new_views)
{
	struct new_view a = some_new_view(6, 0), b = some_new_view(6, 3);
	struct writer w = {0};
	struct evidence e;
	ck_assert(evidence_of_new_views(&e, &w, &a, &b));
	ck_assert_uint_eq(e.culprit, 2);
	proves(&e);
	writer_free(&w);
	new_view_free(&a);
	new_view_free(&b);
}
END_TEST

START_TEST(a_term_vote_below_ones_own_prepare)
{
	struct block_ref at = {.term = 4, .height = 9, .hash = {{1}}},
			 low = {.term = 3, .height = 20, .hash = {{2}}};
	struct term_vote t = make_term_vote(6, 2, &low, 1);
	for (unsigned pbft = 0; pbft < 2; pbft++) {
		struct vote v = make_vote(pbft ? VOTE_PREPARE_PBFT : VOTE_PREPARE_FAST, &at, 1);
		struct writer w = {0};
		struct evidence e;
		ck_assert(evidence_of_low_base(&e, &w, &t, &v));
		proves(&e);
		writer_free(&w);
	}
}
END_TEST

/* ---- hidden votes ------------------------------------------------------------------------ */

static void hidden(const struct view_change *vc, enum vote_kind kind,
		   const struct block_ref *ref)
{
	struct vote v = make_vote(kind, ref, vc->signer);
	struct writer w = {0};
	struct evidence e;
	ck_assert(evidence_of_hidden_vote(&e, &w, vc, &v));
	proves(&e);
	writer_free(&w);
}

START_TEST(a_vote_above_the_tip)
{
	struct signed_header a[4];
	make_chain(a, 4, 2, 1, &zero, 1);
	struct block_ref next = ref_of(&a[3].h),
			 later = {.term = 3, .height = 1, .hash = {{1}}};
	struct view_change vc = make_view_change(4, 1, a, 3, &zero);
	hidden(&vc, VOTE_PREPARE_FAST, &next);
	hidden(&vc, VOTE_COMMIT, &next);
	hidden(&vc, VOTE_PREPARE_PBFT, &later); /* of a higher term, lower down */
	/* a QC does not excuse what is above the tip */
	vc.position.has_qc = true;
	struct block_ref tip = ref_of(&a[2].h);
	make_cert(&vc.position.qc, CERT_QC_FAST, &tip);
	sign_view_change(&vc);
	hidden(&vc, VOTE_PREPARE_FAST, &next);
	view_change_free(&vc);
	vc = make_view_change(4, 1, NULL, 0, NULL); /* "I have nothing" */
	hidden(&vc, VOTE_PREPARE_FAST, &tip);
	view_change_free(&vc);
}
END_TEST

START_TEST(a_vote_off_the_chain_shown)
{
	struct signed_header a[6], b[6];
	make_chain(a, 6, 2, 1, &zero, 1);
	make_chain(b, 6, 2, 1, &zero, 2);
	struct view_change vc = make_view_change(4, 1, a, 6, &zero);
	for (unsigned i = 0; i < 6; i++) {
		struct block_ref off = ref_of(&b[i].h);
		hidden(&vc, i & 1 ? VOTE_COMMIT : VOTE_PREPARE_FAST, &off);
	}
	/* certificates below the vote do not excuse it, nor those of other terms */
	struct block_ref off = ref_of(&b[4].h), low = ref_of(&a[3].h),
			 old = {.term = 1, .height = 50, .hash = {{1}}};
	vc.position.has_qc = true;
	make_cert(&vc.position.qc, CERT_QC_FAST, &low);
	vc.has_stable = true;
	make_cert(&vc.stable, CERT_CHECKPOINT, &old);
	sign_view_change(&vc);
	hidden(&vc, VOTE_PREPARE_FAST, &off);
	view_change_free(&vc);
	/* a chain that starts above the vote, without a checkpoint */
	struct block_ref base = {.term = 1, .height = 8, .hash = {{1}}};
	make_chain(a, 3, 2, 1, &base, 1);
	vc = make_view_change(4, 1, a, 3, &base);
	hidden(&vc, VOTE_PREPARE_FAST, &off);
	view_change_free(&vc);
}
END_TEST

/* ---- invalid blocks ---------------------------------------------------------------------- */

static void bad_header(const struct signed_header *sh, const struct header *links,
		       uint32_t count)
{
	struct writer w = {0};
	struct evidence e;
	ck_assert(evidence_of_header(&e, &w, sh, links, count));
	proves(&e);
	writer_free(&w);
}

START_TEST(headers_that_nobody_may_sign)
{
	struct signed_header good = make_header(2, 5, 1, &zero.hash, &zero, 1), bad = good;
	bad.h.new_view.b[0] = 1; /* fast, with a NEW-VIEW */
	sign_header(&bad);
	bad_header(&bad, NULL, 0);
	bad = good;
	bad.h.mode = MODE_PBFT; /* and without one */
	sign_header(&bad);
	bad_header(&bad, NULL, 0);
	bad.h.new_view.b[0] = 1; /* by another than the primary */
	sign_header(&bad);
	bad_header(&bad, NULL, 0);
	bad = good;
	bad.h.base_height = 5;
	sign_header(&bad);
	bad_header(&bad, NULL, 0);
	bad = good;
	bad.h.valset.b[0]++;
	sign_header(&bad);
	bad_header(&bad, NULL, 0);
}
END_TEST

START_TEST(links_that_do_not_fit)
{
	struct signed_header a[4];
	make_chain(a, 4, 2, 1, &zero, 1);
	struct hash prev = ref_of(&a[3].h).hash;
	struct signed_header child = make_header(2, 5, 1, &prev, &zero, 1), bad;
	/* the signed header and its parent */
	bad = child;
	bad.h.time_ms = a[3].h.time_ms - 1;
	sign_header(&bad);
	bad_header(&bad, &a[3].h, 1);
	bad = child;
	bad.h.height = 6;
	sign_header(&bad);
	bad_header(&bad, &a[3].h, 1);
	bad = child;
	bad.h.base.b[0]++;
	sign_header(&bad);
	bad_header(&bad, &a[3].h, 1);
	/* two ancestors further down */
	prev = ref_of(&a[1].h).hash;
	struct signed_header broken = make_header(1, 3, 3, &prev, &zero, 1);
	prev = ref_of(&broken.h).hash;
	struct signed_header above = make_header(2, 4, 1, &prev, &zero, 1);
	above.h.base = ref_of(&broken.h).hash;
	above.h.base_height = 3;
	sign_header(&above);
	struct header links[] = {broken.h, a[1].h}; /* a term that falls */
	bad_header(&above, links, 2);
}
END_TEST

static void bad_block(struct block *b, enum statement_kind how)
{
	struct writer w = {0};
	struct evidence e;
	ck_assert(evidence_of_block(&e, &w, b, &ctx, tx_is_bad));
	ck_assert_int_eq(e.first.kind, how);
	proves(&e);
	writer_free(&w);
	block_drop(b);
}

static struct slice system_tx(enum system_kind kind, uint64_t height, uint64_t term)
{
	struct writer w = {0};
	size_t len;
	const struct system_tx tx = {.kind = kind, .height = height, .term = term};
	system_tx_encode(&w, &tx, &ctx);
	uint8_t *bytes = writer_take(&w, &len);
	return slice_of(bytes, len);
}

START_TEST(blocks_with_a_bad_transaction)
{
	const struct slice ok = slice_str("fine"), bad = slice_str("bad");
	struct slice up = system_tx(SYSTEM_ESCALATED, 5, 2), cut = up,
		     late = system_tx(SYSTEM_MODE_FAST, 6, 2),
		     other = system_tx(SYSTEM_MODE_FAST, 5, 3);
	cut.len--;
	static const enum tx_result failed[] = {TX_FAILED_CAS};
	bad_block(make_block(2, 5, 1, &bad, NULL, 1), STATEMENT_BLOCK_TX);
	bad_block(make_block(2, 5, 1, (struct slice[]){ok, ok, bad, ok}, NULL, 4),
		  STATEMENT_BLOCK_TX);
	bad_block(make_block(2, 5, 1, &cut, NULL, 1), STATEMENT_BLOCK_TX);
	bad_block(make_block(2, 5, 1, &late, NULL, 1), STATEMENT_BLOCK_TX);
	bad_block(make_block(2, 5, 1, &other, NULL, 1), STATEMENT_BLOCK_TX);
	bad_block(make_block(2, 5, 1, &up, failed, 1), STATEMENT_BLOCK_TX);
	bad_block(make_block(2, 5, 1, (struct slice[]){ok, up}, NULL, 2), STATEMENT_BLOCK_TX);
	mem_free((void *)up.ptr);
	mem_free((void *)late.ptr);
	mem_free((void *)other.ptr);
}
END_TEST

/* Each transaction is fine where it stands; all of them together are not. */
START_TEST(blocks_that_are_bad_as_a_whole)
{
	struct writer ev = {0}, tx = {0};
	const struct evidence e = {.kind = EVIDENCE_VOTES,
				   .first = {STATEMENT_VOTE, slice_str("a")},
				   .second = {STATEMENT_VOTE, slice_str("b")}};
	evidence_encode(&ev, &e);
	const struct system_tx s = {
		.kind = SYSTEM_CONVICTION, .height = 5, .evidence = writer_slice(&ev)};
	system_tx_encode(&tx, &s, &ctx);
	struct slice txs[SYSTEM_TXS_MAX + 1];
	txs[0] = slice_str("fine");
	txs[1] = writer_slice(&tx);
	bad_block(make_block(2, 5, 1, txs, NULL, 2), STATEMENT_BLOCK); /* after a client's */
	for (unsigned i = 0; i <= SYSTEM_TXS_MAX; i++)
		txs[i] = writer_slice(&tx);
	bad_block(make_block(2, 5, 1, txs, NULL, SYSTEM_TXS_MAX + 1), STATEMENT_BLOCK);
	writer_free(&ev);
	writer_free(&tx);
}
END_TEST

/* What no block_new() reads: header and body disagree, and the root says whose fault it is. */
START_TEST(headers_that_miscount_their_body)
{
	const struct slice txs[] = {slice_str("one"), slice_str("two")};
	struct block *b = make_block(2, 5, 1, txs, NULL, 2);
	for (unsigned field = 0; field < 3; field++) {
		struct signed_header sh = b->sh;
		if (field == 0)
			sh.h.tx_count++;
		else if (field == 1)
			sh.h.body_size--;
		sign_header(&sh);
		struct writer w = {0};
		signed_header_encode(&w, &sh);
		writer_var(&w, slice_of(b->body, b->body_size));
		struct evidence e = {.kind = EVIDENCE_INVALID_BLOCK,
				     .culprit = 1,
				     .first = {STATEMENT_BLOCK, writer_slice(&w)},
				     .second = {.kind = STATEMENT_BLOCK}};
		if (field < 2)
			proves(&e);
		else
			innocent(&e);
		writer_free(&w);
	}
	block_drop(b);
	/* a result that there is not */
	struct writer body = {0}, w = {0};
	struct hash leaf;
	writer_u32(&body, 1);
	writer_u8(&body, 200);
	writer_var(&body, txs[0]);
	struct signed_header sh = make_header(2, 5, 1, &zero.hash, &zero, 0);
	sh.h.tx_count = 1;
	sh.h.body_size = (uint32_t)body.len;
	body_leaf(&leaf, 200, txs[0]);
	merkle_root(&sh.h.tx_root, &leaf, 1);
	sign_header(&sh);
	signed_header_encode(&w, &sh);
	writer_var(&w, writer_slice(&body));
	proves(&(struct evidence){.kind = EVIDENCE_INVALID_BLOCK,
				  .culprit = 1,
				  .first = {STATEMENT_BLOCK, writer_slice(&w)},
				  .second = {.kind = STATEMENT_BLOCK}});
	writer_free(&body);
	writer_free(&w);
}
END_TEST

/* A client's transaction is bounded; a SYSTEM one may be larger. */
START_TEST(a_transaction_that_is_too_large)
{
	for (unsigned over = 0; over < 2; over++) {
		struct writer body = {0}, w = {0};
		struct hash leaf;
		uint8_t *big = mem_zalloc(TX_SIZE_MAX + over);
		struct slice tx = slice_of(big, TX_SIZE_MAX + over);
		body_begin(&body);
		body_add(&body, TX_OK, tx);
		body_end(&body, 1);
		body_leaf(&leaf, TX_OK, tx);
		struct signed_header sh = make_header(2, 5, 1, &zero.hash, &zero, 0);
		sh.h.tx_count = 1;
		sh.h.body_size = (uint32_t)body.len;
		merkle_root(&sh.h.tx_root, &leaf, 1);
		sign_header(&sh);
		signed_header_encode(&w, &sh);
		writer_var(&w, writer_slice(&body));
		struct evidence e = {.kind = EVIDENCE_INVALID_BLOCK,
				     .culprit = 1,
				     .first = {STATEMENT_BLOCK, writer_slice(&w)},
				     .second = {.kind = STATEMENT_BLOCK}};
		ck_assert_int_eq(evidence_check(&e, &ctx, tx_is_bad) == ERR_NONE, over);
		writer_free(&body);
		writer_free(&w);
		mem_free(big);
	}
}
END_TEST

/* A block that is too large for evidence convicts by one transaction; a full body of fine ones
 * cannot be held against anybody. */
START_TEST(large_blocks)
{
	uint8_t *big = mem_zalloc(TX_SIZE_MAX);
	struct slice txs[6];
	for (unsigned i = 0; i < 6; i++)
		txs[i] = slice_of(big, TX_SIZE_MAX);
	struct block *b = make_block(2, 5, 1, txs, NULL, 6);
	struct writer w = {0};
	struct evidence e;
	ck_assert_uint_gt(b->body_size, EVIDENCE_SIZE_MAX);
	ck_assert(!evidence_of_block(&e, &w, b, &ctx, tx_is_bad));
	block_drop(b);
	txs[5] = slice_str("bad");
	bad_block(make_block(2, 5, 1, txs, NULL, 6), STATEMENT_BLOCK_TX);
	writer_free(&w);
	mem_free(big);
}
END_TEST

/* ---- statements with false contents ------------------------------------------------------ */

static void false_view_change(struct view_change *vc)
{
	struct writer w = {0};
	struct evidence e;
	sign_view_change(vc);
	ck_assert(evidence_of_view_change(&e, &w, vc));
	proves(&e);
	writer_free(&w);
}

static struct view_change full_view_change(uint64_t term, unsigned signer)
{
	struct signed_header a[3];
	make_chain(a, 3, 2, 1, &zero, 1);
	struct view_change vc = make_view_change(term, signer, a, 3, &zero);
	struct block_ref tip = ref_of(&a[2].h), old = {.term = 1, .height = 1, .hash = {{1}}};
	vc.position.has_qc = true;
	make_cert(&vc.position.qc, CERT_QC_FAST, &tip);
	vc.position.has_checkpoint = true;
	make_cert(&vc.position.checkpoint, CERT_CHECKPOINT, &old);
	vc.has_stable = true;
	make_cert(&vc.stable, CERT_CHECKPOINT, &old);
	sign_view_change(&vc);
	return vc;
}

static void one_short(struct cert *c)
{
	c->signers &= c->signers - 1;
	memmove(c->sig, c->sig + 1, --c->count * sizeof c->sig[0]);
}

START_TEST(view_changes_with_false_contents)
{
	for (unsigned i = 0; i < 9; i++) {
		struct view_change vc = full_view_change(4, 3);
		struct position *p = &vc.position;
		struct writer w = {0};
		struct evidence e;
		ck_assert(evidence_of_view_change(&e, &w, &vc));
		innocent(&e);
		writer_free(&w);
		switch (i) {
		case 0:
			p->qc.sig[1].b[5] ^= 1;
			break;
		case 1:
			one_short(&p->qc);
			break;
		case 2:
			p->checkpoint.sig[0].b[5] ^= 1;
			break;
		case 3:
			vc.stable.sig[2].b[5] ^= 1;
			break;
		case 4:
			vc.stable.kind = CERT_QC_FAST;
			break;
		case 5:
			p->tc.sig[0].b[0] ^= 1;
			break;
		case 6:
			p->headers[1].sig.b[0] ^= 1;
			break;
		case 7:
			p->headers[0].h.new_view.b[0] ^= 1;
			break;
		case 8:
			p->qc.signers = 7u << 2; /* a fifth validator */
			break;
		}
		false_view_change(&vc);
		view_change_free(&vc);
	}
}
END_TEST

static void false_new_view(struct new_view *nv, unsigned signer)
{
	struct writer w = {0};
	struct evidence e;
	sign_new_view(nv, signer);
	ck_assert(evidence_of_new_view(&e, &w, nv));
	proves(&e);
	writer_free(&w);
	new_view_free(nv);
}

START_TEST(new_views_with_false_contents)
{
	struct new_view nv = some_new_view(6, 0);
	struct writer w = {0};
	struct evidence e;
	ck_assert(evidence_of_new_view(&e, &w, &nv));
	innocent(&e);
	writer_free(&w);
	false_new_view(&nv, 1); /* not the primary */

	nv = some_new_view(6, 0);
	view_change_free(&nv.vc[--nv.count]);
	false_new_view(&nv, 2);

	nv = some_new_view(6, N); /* all four */
	false_new_view(&nv, 2);

	nv = some_new_view(6, 0);
	struct view_change swap = nv.vc[0];
	nv.vc[0] = nv.vc[1];
	nv.vc[1] = swap;
	false_new_view(&nv, 2);

	nv = some_new_view(6, 0);
	view_change_free(&nv.vc[1]);
	view_change_copy(&nv.vc[1], &nv.vc[0]); /* one twice */
	false_new_view(&nv, 2);

	nv = some_new_view(6, 0);
	nv.vc[1].term = 5;
	sign_view_change(&nv.vc[1]);
	false_new_view(&nv, 2);

	nv = some_new_view(6, 0);
	nv.vc[2].sig.b[0] ^= 1;
	false_new_view(&nv, 2);

	nv = some_new_view(6, 0);
	view_change_free(&nv.vc[2]);
	nv.vc[2] = full_view_change(6, 3);
	nv.vc[2].position.qc.sig[1].b[5] ^= 1;
	sign_view_change(&nv.vc[2]);
	false_new_view(&nv, 2);
}
END_TEST

/* ---- bounds ------------------------------------------------------------------------------ */

START_TEST(size_is_bounded)
{
	size_t room = EVIDENCE_SIZE_MAX - (1 + 2 + 5 + 5 + 4);
	uint8_t *big = mem_zalloc(room + 1);
	for (unsigned over = 0; over < 2; over++) {
		struct writer w = {0};
		struct reader r;
		struct evidence e = {
			.kind = EVIDENCE_VOTES,
			.first = {STATEMENT_VOTE, slice_of(big, room / 2)},
			.second = {STATEMENT_VOTE, slice_of(big, room - room / 2 + over)}};
		evidence_encode(&w, &e);
		reader_init(&r, writer_slice(&w));
		evidence_decode(&r, &e);
		ck_assert_int_eq(reader_finish(&r), over ? ERR_LIMIT : ERR_NONE);
		writer_free(&w);
	}
	mem_free(big);
}
END_TEST

START_TEST(rubbish_is_described_all_the_same)
{
	char text[EVIDENCE_TEXT_SIZE];
	for (unsigned kind = 0; kind < 12; kind++)
		for (unsigned s = 0; s < 12; s++) {
			const struct evidence e = {.kind = kind,
						   .culprit = 3,
						   .first = {s, slice_str("abc")},
						   .second = {s, slice_of(NULL, 0)}};
			evidence_describe(text, &e);
			ck_assert_ptr_nonnull(strstr(text, "validator 3"));
			ck_assert_uint_lt(strlen(text), EVIDENCE_TEXT_SIZE);
			ck_assert_int_ne(evidence_check(&e, &ctx, tx_is_bad), ERR_NONE);
		}
}
END_TEST

Suite *proofs_suite(void)
{
	Suite *s = suite_create("proofs");
	TCase *t = tcase_create("proofs");
	tcase_add_checked_fixture(t, world_setup, world_teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, two_headers);
	tcase_add_test(t, a_header_and_an_ancestor);
	tcase_add_test(t, headers_of_one_term);
	tcase_add_test(t, two_votes);
	tcase_add_test(t, two_words_in_a_term);
	tcase_add_test(t, two_new_views);
	tcase_add_test(t, a_term_vote_below_ones_own_prepare);
	tcase_add_test(t, a_vote_above_the_tip);
	tcase_add_test(t, a_vote_off_the_chain_shown);
	tcase_add_test(t, headers_that_nobody_may_sign);
	tcase_add_test(t, links_that_do_not_fit);
	tcase_add_test(t, blocks_with_a_bad_transaction);
	tcase_add_test(t, blocks_that_are_bad_as_a_whole);
	tcase_add_test(t, headers_that_miscount_their_body);
	tcase_add_test(t, a_transaction_that_is_too_large);
	tcase_add_test(t, large_blocks);
	tcase_add_test(t, view_changes_with_false_contents);
	tcase_add_test(t, new_views_with_false_contents);
	tcase_add_test(t, size_is_bounded);
	tcase_add_test(t, rubbish_is_described_all_the_same);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(proofs_suite());
	srunner_add_suite(runner, innocence_suite());
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
