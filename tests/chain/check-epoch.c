/* New keys for validators: what governance signs, the end of an epoch, chains of handovers from
 * the genesis file, each from both sides. */
#include <check.h>
#include <stdlib.h>

#include "base/mem.h"
#include "chain/epoch.h"
#include "chain/term.h"

#define N      4
#define K      10 /* checkpoint interval */
#define M      3  /* governance keys, 2 of them needed */
#define EPOCHS 4

static struct genesis genesis;
static struct chain_ctx ctx; /* of epoch 0 */
static struct keypair keys[N], fresh[EPOCHS + 1], govern[M + 1];

static void key_of(struct keypair *out, uint8_t kind, uint8_t i)
{
	uint8_t seed[32] = {kind, (uint8_t)(i + 1)};
	keypair_from_seed(out, seed);
}

static void setup(void)
{
	crypto_init();
	genesis_defaults(&genesis);
	genesis.scheme = SIG_ED25519;
	genesis.checkpoint_interval = K;
	genesis.n = N;
	for (uint8_t i = 0; i < N; i++) {
		key_of(&keys[i], 1, i);
		genesis.validator[i].key = keys[i].pub;
		genesis.validator[i].name[0] = (char)('a' + i);
	}
	for (uint8_t i = 0; i <= EPOCHS; i++)
		key_of(&fresh[i], 2, i);
	for (uint8_t i = 0; i <= M; i++)
		key_of(&govern[i], 3, i);
	genesis.governance = (struct genesis_keys){.k = 2, .m = M};
	for (unsigned i = 0; i < M; i++)
		genesis.governance.key[i] = govern[i].pub;
	genesis_ctx(&ctx, &genesis);
}

static void teardown(void)
{
	genesis_free(&genesis);
}

static struct member_change signed_by(const struct chain_ctx *c, unsigned place,
				      const struct pubkey *key, unsigned mask)
{
	struct member_change m;
	member_change_init(&m, c, place, key);
	for (unsigned i = M; i-- > 0;) /* whatever the order */
		if (mask >> i & 1)
			ck_assert_int_eq(member_change_sign(&m, c, &govern[i]), ERR_NONE);
	return m;
}

static struct system_tx entry(const struct member_change *m, uint64_t height)
{
	return (struct system_tx){.kind = SYSTEM_MEMBER, .height = height, .member = *m};
}

/* ---- what governance signs --------------------------------------------------------------- */

START_TEST(k_of_m)
{
	for (unsigned mask = 0; mask < 1u << M; mask++) {
		struct member_change m = signed_by(&ctx, 1, &fresh[0].pub, mask);
		int want = __builtin_popcount(mask) >= 2 ? ERR_NONE : ERR_NO_QUORUM;
		ck_assert_int_eq(member_change_check(&m, &ctx), want);
		/* once more by the same key is not one more */
		if (mask & 1)
			ck_assert_int_eq(member_change_sign(&m, &ctx, &govern[0]), ERR_NONE);
		ck_assert_int_eq(member_change_check(&m, &ctx), want);
		ck_assert_int_eq(member_change_sign(&m, &ctx, &govern[M]), ERR_UNKNOWN_SIGNER);
	}
}
END_TEST

START_TEST(one_signature_is_not_two)
{
	struct member_change m = signed_by(&ctx, 1, &fresh[0].pub, 1);
	m.signers = 3; /* the same signature under two names */
	m.sig[1] = m.sig[0];
	ck_assert_int_eq(member_change_check(&m, &ctx), ERR_BAD_SIGNATURE);
	m = signed_by(&ctx, 1, &fresh[0].pub, 3);
	struct signature s = m.sig[0];
	m.sig[0] = m.sig[1];
	m.sig[1] = s;
	ck_assert_int_eq(member_change_check(&m, &ctx), ERR_BAD_SIGNATURE);
	m = signed_by(&ctx, 1, &fresh[0].pub, 3);
	m.signers = 1 | 1 << M; /* a key that there is not */
	ck_assert_int_eq(member_change_check(&m, &ctx), ERR_UNKNOWN_SIGNER);
}
END_TEST

START_TEST(what_it_names)
{
	struct member_change good = signed_by(&ctx, 1, &fresh[0].pub, 3), m = good;
	ck_assert_int_eq(member_change_check(&m, &ctx), ERR_NONE);
	m.epoch = 1;
	ck_assert_int_eq(member_change_check(&m, &ctx), ERR_STALE);
	m = good;
	m.valset.b[0] ^= 1;
	ck_assert_int_eq(member_change_check(&m, &ctx), ERR_STALE);
	m = good;
	m.place = 2;
	ck_assert_int_eq(member_change_check(&m, &ctx), ERR_BAD_SIGNATURE);
	m.place = N;
	ck_assert_int_eq(member_change_check(&m, &ctx), ERR_RANGE);
	m = signed_by(&ctx, 1, &keys[1].pub, 3); /* its own, or another's */
	ck_assert_int_eq(member_change_check(&m, &ctx), ERR_EXISTS);
	m = signed_by(&ctx, 1, &keys[2].pub, 3);
	ck_assert_int_eq(member_change_check(&m, &ctx), ERR_EXISTS);
	m = signed_by(&ctx, 1, &govern[0].pub, 3);
	ck_assert_int_eq(member_change_check(&m, &ctx), ERR_EXISTS);
	struct chain_ctx none = ctx, other = ctx;
	none.governance.m = none.governance.k = 0;
	ck_assert_int_eq(member_change_check(&good, &none), ERR_UNSUPPORTED);
	other.id.b[5] ^= 1; /* of another chain */
	ck_assert_int_eq(member_change_check(&good, &other), ERR_BAD_SIGNATURE);
}
END_TEST

START_TEST(altered_bits)
{
	struct member_change m = signed_by(&ctx, 1, &fresh[0].pub, 5), out;
	struct system_tx tx = entry(&m, K), back;
	struct writer w = {0}, again = {0};
	struct reader r;
	member_change_encode(&w, &m);
	for (size_t len = 0; len < w.len; len++) {
		reader_init(&r, slice_of(w.buf, len));
		member_change_decode(&r, &out);
		ck_assert_int_ne(reader_finish(&r), ERR_NONE);
	}
	for (size_t bit = 0; bit < 8 * w.len; bit++) {
		w.buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		reader_init(&r, writer_slice(&w));
		member_change_decode(&r, &out);
		if (reader_finish(&r) == ERR_NONE) {
			ck_assert_int_ne(member_change_check(&out, &ctx), ERR_NONE);
			writer_reset(&again);
			member_change_encode(&again, &out);
			ck_assert(slice_equal(writer_slice(&w), writer_slice(&again)));
		}
		w.buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	writer_reset(&w);
	system_tx_encode(&w, &tx, &ctx);
	ck_assert_uint_le(w.len, SYSTEM_TX_SIZE_MAX);
	ck_assert_int_eq(system_tx_decode(&back, writer_slice(&w), &ctx), ERR_NONE);
	ck_assert_int_eq(back.kind, SYSTEM_MEMBER);
	ck_assert_int_eq(member_change_check(&back.member, &ctx), ERR_NONE);
	for (size_t len = 0; len < w.len; len++)
		ck_assert_int_ne(system_tx_decode(&back, slice_of(w.buf, len), &ctx), ERR_NONE);
	writer_u8(&w, 0);
	ck_assert_int_ne(system_tx_decode(&back, writer_slice(&w), &ctx), ERR_NONE);
	writer_free(&w);
	writer_free(&again);
}
END_TEST

/* ---- what it does to the ledger -----------------------------------------------------------
 */

START_TEST(effect_on_the_ledger)
{
	struct member_change m = signed_by(&ctx, 1, &fresh[0].pub, 3);
	struct mode_state s;
	mode_state_init(&s);
	s.jailed = 7;
	struct system_tx tx = entry(&m, K + 1);
	ck_assert_int_eq(mode_state_apply(&s, &tx, K + 1, &genesis), ERR_MODE);
	tx.height = 2 * K;
	ck_assert_int_eq(mode_state_apply(&s, &tx, 3 * K, &genesis), ERR_RANGE);
	struct mode_state pbft = s;
	const struct system_tx escalated = {.kind = SYSTEM_ESCALATED, .height = 5, .term = 2};
	ck_assert_int_eq(mode_state_apply(&pbft, &escalated, 5, &genesis), ERR_NONE);
	ck_assert_int_eq(mode_state_apply(&pbft, &tx, 2 * K, &genesis), ERR_MODE);
	ck_assert(!epoch_ended(&ctx, &s));
	ck_assert_int_eq(mode_state_apply(&s, &tx, 2 * K, &genesis), ERR_NONE);
	ck_assert(epoch_ended(&ctx, &s));
	ck_assert_uint_eq(s.epoch, 1);
	ck_assert_uint_eq(s.jailed, 5); /* a new key is not in jail */
	tx.height = 3 * K;
	ck_assert_int_eq(mode_state_apply(&s, &tx, 3 * K, &genesis), ERR_MODE); /* replayed */
	struct writer w = {0};
	struct reader r;
	struct mode_state out;
	mode_state_encode(&w, &s);
	reader_init(&r, writer_slice(&w));
	mode_state_decode(&r, &out);
	ck_assert_int_eq(reader_finish(&r), ERR_NONE);
	ck_assert_uint_eq(out.epoch, 1);
	memset(w.buf + w.len - 8, 0, 8); /* an epoch 0 is not written */
	reader_init(&r, writer_slice(&w));
	mode_state_decode(&r, &out);
	ck_assert_int_eq(reader_finish(&r), ERR_NONCANONICAL);
	writer_free(&w);
}
END_TEST

/* ---- ends and handovers -------------------------------------------------------------------
 */

static struct block *make_block(const struct chain_ctx *c, const struct keypair *k,
				const struct header *like, const struct system_tx *tx)
{
	struct writer w = {0}, bytes = {0};
	struct signed_header sh = {.h = *like};
	struct hash leaf;
	body_begin(&w);
	if (tx) {
		system_tx_encode(&bytes, tx, c);
		body_add(&w, TX_OK, writer_slice(&bytes));
		body_leaf(&leaf, TX_OK, writer_slice(&bytes));
	}
	body_end(&w, tx ? 1 : 0);
	merkle_root(&sh.h.tx_root, &leaf, tx ? 1 : 0);
	sh.h.tx_count = tx ? 1 : 0;
	sh.h.body_size = (uint32_t)w.len;
	sh.h.chain = c->id;
	sh.h.valset = c->vals.hash;
	signed_header_sign(&sh, c, &k[sh.h.leader]);
	struct block *b;
	ck_assert_int_eq(block_new(&b, &sh, writer_slice(&w)), ERR_NONE);
	writer_free(&w);
	writer_free(&bytes);
	return b;
}

static void certify(struct cert *out, const struct chain_ctx *c, const struct keypair *k,
		    const struct block_ref *ref, unsigned votes)
{
	struct tally t;
	const struct hash none = {0};
	tally_init(&t, VOTE_COMMIT, ref, &none);
	for (unsigned i = 0; i < votes; i++) {
		struct vote v = {.kind = VOTE_COMMIT, .ref = *ref, .signer = (uint16_t)i};
		vote_sign(&v, c, &k[i]);
		tally_add(&t, &v);
	}
	tally_cert(&t, CERT_TWO_ROUND, out);
}

/* The end of c's epoch at (term, height), with so many fillers behind it. */
static void make_handover(struct handover *out, const struct chain_ctx *c,
			  const struct keypair *k, const struct member_change *m, uint64_t term,
			  uint64_t height, uint32_t fillers, unsigned votes)
{
	const struct system_tx tx = entry(m, height);
	struct header like = {.term = term,
			      .mode = MODE_FAST,
			      .height = height,
			      .base_height = height - 1,
			      .leader = (uint16_t)(term % N)};
	*out = (struct handover){.end = make_block(c, k, &like, &tx)};
	out->fillers = mem_array(fillers + 1, sizeof *out->fillers);
	struct block_ref last = block_ref_of(out->end);
	for (uint32_t i = 0; i < fillers; i++) {
		like.term += 2;
		like.base_height = like.height++;
		like.prev = like.base = last.hash;
		like.leader = (uint16_t)(like.term % N);
		struct block *b = make_block(c, k, &like, NULL);
		out->fillers[out->filler_count++] = b->sh;
		last = block_ref_of(b);
		block_drop(b);
	}
	certify(&out->cert, c, k, &last, votes);
}

START_TEST(signatures_of_epochs_differ)
{
	struct member_change m = signed_by(&ctx, 3, &fresh[0].pub, 3);
	const struct block_ref end = {.term = 4, .height = K, .hash = {{9}}};
	struct chain_ctx next, twice;
	ck_assert_int_eq(epoch_next(&next, &ctx, &m, &end), ERR_NONE);
	ck_assert(hash_equal(&ctx.domain, &ctx.id));
	ck_assert(hash_equal(&next.id, &ctx.id));
	ck_assert(!hash_equal(&next.domain, &ctx.domain));
	ck_assert(!hash_equal(&next.vals.hash, &ctx.vals.hash));
	ck_assert_uint_eq(next.epoch, 1);
	/* the set that there was before, in a later epoch: other signatures all the same */
	struct member_change home = signed_by(&next, 3, &keys[3].pub, 3);
	const struct block_ref later = {.term = 5, .height = 2 * K, .hash = {{10}}};
	ck_assert_int_eq(member_change_check(&home, &next), ERR_NONE);
	ck_assert_int_eq(epoch_next(&twice, &next, &home, &later), ERR_NONE);
	ck_assert(hash_equal(&twice.vals.hash, &ctx.vals.hash));
	ck_assert(!hash_equal(&twice.domain, &ctx.domain));
	struct vote v = {
		.kind = VOTE_COMMIT, .ref = {.term = 6, .height = 2 * K + 1}, .signer = 1};
	vote_sign(&v, &ctx, &keys[1]);
	ck_assert_int_eq(vote_check(&v, &ctx), ERR_NONE);
	ck_assert_int_eq(vote_check(&v, &next), ERR_BAD_SIGNATURE);
	ck_assert_int_eq(vote_check(&v, &twice), ERR_BAD_SIGNATURE);
	struct term_vote t = {.term = 6, .leader = 2, .base = later, .signer = 1};
	term_vote_sign(&t, &next, &keys[1]);
	ck_assert_int_eq(term_vote_check(&t, &next), ERR_NONE);
	ck_assert_int_eq(term_vote_check(&t, &ctx), ERR_BAD_SIGNATURE);
	ck_assert_int_eq(term_vote_check(&t, &twice), ERR_BAD_SIGNATURE);
	t.base.height = K - 1; /* below what the epoch begins with */
	term_vote_sign(&t, &next, &keys[1]);
	ck_assert_int_eq(term_vote_check(&t, &next), ERR_RANGE);
}
END_TEST

/* What an epoch begins with needs no certificate, and nothing else does without one. */
START_TEST(first_term_of_an_epoch)
{
	struct member_change m = signed_by(&ctx, 3, &fresh[0].pub, 3);
	const struct block_ref end = {.term = 4, .height = K, .hash = {{9}}};
	struct chain_ctx next;
	struct position p;
	ck_assert_int_eq(epoch_next(&next, &ctx, &m, &end), ERR_NONE);
	position_init(&p);
	p.tip = p.tc.base = end;
	p.tc.term = 4;
	ck_assert_int_eq(position_check(&p, 5, &next, &end.hash, NULL, NULL), ERR_NONE);
	ck_assert_int_ne(position_check(&p, 5, &ctx, &end.hash, NULL, NULL), ERR_NONE);
	ck_assert_int_eq(position_check(&p, 4, &next, &end.hash, NULL, NULL), ERR_RANGE);
	p.tip.hash.b[0] = p.tc.base.hash.b[0] = 1;
	ck_assert_int_eq(position_check(&p, 5, &next, &end.hash, NULL, NULL), ERR_BAD_LINK);
	p.tip = p.tc.base = end;
	p.tc.leader = 1;
	ck_assert_int_ne(position_check(&p, 5, &next, &end.hash, NULL, NULL), ERR_NONE);
	p.tc.leader = 0;
	p.tip.term = p.tc.term = 0;
	p.tip.height = p.tc.base.term = p.tc.base.height = 0;
	ck_assert_int_ne(position_check(&p, 5, &next, &end.hash, NULL, NULL), ERR_NONE);
	position_free(&p);
	struct header h = {.chain = ctx.id,
			   .term = 4,
			   .mode = MODE_FAST,
			   .height = K + 1,
			   .base_height = K,
			   .valset = next.vals.hash};
	ck_assert_int_eq(header_check_form(&h, &next), ERR_RANGE);
	h.term = 5;
	ck_assert_int_eq(header_check_form(&h, &next), ERR_NONE);
	ck_assert_int_eq(header_check_form(&h, &ctx), ERR_BAD_HASH);
	h.height = K;
	h.base_height = K - 1;
	ck_assert_int_eq(header_check_form(&h, &next), ERR_RANGE);
}
END_TEST

/* From the genesis file alone, over several epochs, with and without fillers. */
START_TEST(a_chain_of_handovers)
{
	struct chain_ctx c = ctx, next;
	struct keypair now[N];
	memcpy(now, keys, sizeof now);
	struct handover first;
	for (unsigned e = 0; e < EPOCHS; e++) {
		struct member_change m = signed_by(&c, e % N, &fresh[e].pub, 6);
		struct handover h, back;
		struct writer w = {0};
		struct reader r;
		make_handover(&h, &c, now, &m, 3 + 20 * e, K * (1 + e), e, c.quorum.q);
		ck_assert_int_eq(handover_check(&h, &c, &next), ERR_NONE);
		handover_encode(&w, &h);
		for (size_t len = 0; len < w.len; len += len < 700 ? 1 : 7) {
			reader_init(&r, slice_of(w.buf, len));
			ck_assert_int_ne(handover_decode(&r, &back), ERR_NONE);
			handover_free(&back);
		}
		reader_init(&r, writer_slice(&w));
		ck_assert_int_eq(handover_decode(&r, &back), ERR_NONE);
		ck_assert_int_eq(reader_finish(&r), ERR_NONE);
		ck_assert_int_eq(handover_check(&back, &c, &next), ERR_NONE);
		if (e > 0)
			ck_assert_int_ne(handover_check(&back, &ctx, &next), ERR_NONE);
		if (e > 0) /* replayed */
			ck_assert_int_ne(handover_check(&first, &c, &next), ERR_NONE);
		ck_assert_int_eq(handover_check(&back, &c, &next), ERR_NONE);
		ck_assert_uint_eq(next.epoch, e + 1);
		ck_assert_uint_eq(next.start_height, K * (1 + e));
		ck_assert(pubkey_equal(&next.vals.key[e % N], &fresh[e].pub));
		now[e % N] = fresh[e];
		c = next;
		if (e == 0)
			first = back;
		else
			handover_free(&back);
		handover_free(&h);
		writer_free(&w);
	}
	handover_free(&first);
}
END_TEST

START_TEST(handovers_that_prove_nothing)
{
	struct chain_ctx next;
	struct handover h;
	struct member_change good = signed_by(&ctx, 1, &fresh[0].pub, 3), m;
	/* a signature too few: of governance, of the validators */
	m = signed_by(&ctx, 1, &fresh[0].pub, 1);
	make_handover(&h, &ctx, keys, &m, 3, K, 0, 3);
	ck_assert_int_eq(handover_check(&h, &ctx, &next), ERR_NO_QUORUM);
	handover_free(&h);
	make_handover(&h, &ctx, keys, &good, 3, K, 0, 2);
	ck_assert_int_eq(handover_check(&h, &ctx, &next), ERR_NO_QUORUM);
	handover_free(&h);
	/* not of this block; not one that makes anything final */
	make_handover(&h, &ctx, keys, &good, 3, K, 2, 3);
	struct cert was = h.cert;
	h.cert.ref = block_ref_of(h.end);
	ck_assert_int_eq(handover_check(&h, &ctx, &next), ERR_BAD_LINK);
	h.cert = was;
	h.cert.kind = CERT_QC_FAST;
	ck_assert_int_eq(handover_check(&h, &ctx, &next), ERR_NO_QUORUM);
	h.cert = was;
	h.filler_count = 1;
	ck_assert_int_eq(handover_check(&h, &ctx, &next), ERR_BAD_LINK);
	h.filler_count = 2;
	struct signed_header f = h.fillers[0];
	h.fillers[0] = h.fillers[1];
	h.fillers[1] = f;
	ck_assert_int_eq(handover_check(&h, &ctx, &next), ERR_BAD_LINK);
	h.fillers[1] = h.fillers[0];
	h.fillers[0] = f;
	ck_assert_int_eq(handover_check(&h, &ctx, &next), ERR_NONE);
	h.fillers[1].sig.b[3] ^= 1;
	ck_assert_int_eq(handover_check(&h, &ctx, &next), ERR_BAD_SIGNATURE);
	h.fillers[1].sig.b[3] ^= 1;
	h.end->sh.sig.b[3] ^= 1;
	ck_assert_int_eq(handover_check(&h, &ctx, &next), ERR_BAD_SIGNATURE);
	handover_free(&h);
	/* a block with transactions is no filler, nor is the second block of a term, nor one
	 * that speaks of a state */
	make_handover(&h, &ctx, keys, &good, 3, K, 1, 3);
	for (unsigned i = 0; i < 3; i++) {
		bool second = i == 1;
		struct header like = h.end->sh.h;
		struct signed_header *x = &h.fillers[0];
		like.height = K + 1;
		like.prev = h.end->hash;
		if (!second) {
			like.term = 5;
			like.base_height = K;
			like.base = h.end->hash;
			like.leader = 1;
		}
		like.tx_count = i == 0;
		like.state_root = (struct hash){.b = {i == 2}};
		x->h = like;
		signed_header_sign(x, &ctx, &keys[like.leader]);
		struct block_ref ref = {.term = like.term, .height = K + 1};
		header_hash(&ref.hash, &like);
		certify(&h.cert, &ctx, keys, &ref, 4);
		ck_assert_int_eq(handover_check(&h, &ctx, &next), ERR_BAD_LINK);
	}
	handover_free(&h);
}
END_TEST

/* One bit anywhere: refused, or not the same end, which the certificate then is not for. */
START_TEST(an_altered_handover)
{
	struct chain_ctx next;
	struct handover h, back;
	struct writer w = {0};
	struct reader r;
	struct member_change m = signed_by(&ctx, 1, &fresh[0].pub, 3);
	genesis.scheme = SIG_SYMBOLIC; /* many checks */
	genesis_ctx(&ctx, &genesis);
	m = signed_by(&ctx, 1, &fresh[0].pub, 3);
	make_handover(&h, &ctx, keys, &m, 3, K, 1, 3);
	handover_encode(&w, &h);
	for (size_t bit = 0; bit < 8 * w.len; bit++) {
		w.buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		reader_init(&r, writer_slice(&w));
		if (handover_decode(&r, &back) == ERR_NONE && reader_finish(&r) == ERR_NONE)
			ck_assert_int_ne(handover_check(&back, &ctx, &next), ERR_NONE);
		handover_free(&back);
		w.buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	handover_free(&h);
	writer_free(&w);
}
END_TEST

/* An end has its entry and nothing else, and is of a fast term. */
START_TEST(form_of_an_end)
{
	struct member_change m = signed_by(&ctx, 1, &fresh[0].pub, 3), out;
	struct system_tx tx = entry(&m, K);
	struct header like = {.term = 3, .mode = MODE_FAST, .height = K, .leader = 3};
	struct block *b = make_block(&ctx, keys, &like, &tx);
	ck_assert(epoch_end_of(b, &ctx, &out));
	ck_assert(pubkey_equal(&out.key, &fresh[0].pub));
	ck_assert(system_tx_fits(&tx, &b->sh.h, 0, TX_OK));
	ck_assert(!system_tx_fits(&tx, &b->sh.h, 1, TX_OK));
	ck_assert(!system_tx_fits(&tx, &b->sh.h, 0, TX_FAILED_CAS));
	struct header two = b->sh.h;
	two.tx_count = 2;
	ck_assert(!system_tx_fits(&tx, &two, 0, TX_OK));
	block_drop(b);
	like.mode = MODE_PBFT;
	like.new_view.b[0] = 1;
	b = make_block(&ctx, keys, &like, &tx);
	ck_assert(!epoch_end_of(b, &ctx, &out));
	block_drop(b);
	like.mode = MODE_FAST;
	like.new_view.b[0] = 0;
	like.height = K + 1; /* not what the entry says */
	b = make_block(&ctx, keys, &like, &tx);
	ck_assert(!epoch_end_of(b, &ctx, &out));
	block_drop(b);
	b = make_block(&ctx, keys, &like, NULL);
	ck_assert(!epoch_end_of(b, &ctx, &out));
	block_drop(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("epoch");
	TCase *t = tcase_create("epoch");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, k_of_m);
	tcase_add_test(t, one_signature_is_not_two);
	tcase_add_test(t, what_it_names);
	tcase_add_test(t, altered_bits);
	tcase_add_test(t, effect_on_the_ledger);
	tcase_add_test(t, signatures_of_epochs_differ);
	tcase_add_test(t, first_term_of_an_epoch);
	tcase_add_test(t, a_chain_of_handovers);
	tcase_add_test(t, handovers_that_prove_nothing);
	tcase_add_test(t, an_altered_handover);
	tcase_add_test(t, form_of_an_end);
	suite_add_tcase(s, t);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
