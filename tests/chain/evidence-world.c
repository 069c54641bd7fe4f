#include "tests/chain/evidence-world.h"

struct genesis genesis;
struct chain_ctx ctx;
struct keypair keys[N];
struct block_ref zero;

void world_setup(void)
{
	crypto_init();
	genesis_defaults(&genesis);
	genesis.scheme = SIG_SYMBOLIC;
	genesis.n = N;
	for (unsigned i = 0; i < N; i++) {
		uint8_t seed[32] = {(uint8_t)(i + 1)};
		keypair_from_seed(&keys[i], seed);
		genesis.validator[i].key = keys[i].pub;
		genesis.validator[i].name[0] = (char)('a' + i);
	}
	genesis_ctx(&ctx, &genesis);
	struct block *b = genesis_block(&genesis, &ctx);
	zero = block_ref_of(b);
	block_drop(b);
}

void world_teardown(void)
{
	genesis_free(&genesis);
}

struct signed_header make_header(uint64_t term, uint64_t height, unsigned leader,
				 const struct hash *prev, const struct block_ref *base,
				 unsigned mark)
{
	struct signed_header sh = {.h = {.chain = ctx.id,
					 .term = term,
					 .mode = MODE_FAST,
					 .height = height,
					 .prev = *prev,
					 .base_height = base->height,
					 .base = base->hash,
					 .state_root = {{(uint8_t)mark}},
					 .time_ms = 1000 * height,
					 .leader = (uint16_t)leader,
					 .valset = ctx.vals.hash}};
	sign_header(&sh);
	return sh;
}

void sign_header(struct signed_header *sh)
{
	signed_header_sign(sh, &ctx, &keys[sh->h.leader]);
}

struct block_ref ref_of(const struct header *h)
{
	struct block_ref ref = {.term = h->term, .height = h->height};
	header_hash(&ref.hash, h);
	return ref;
}

void make_chain(struct signed_header *headers, unsigned count, uint64_t term, unsigned leader,
		const struct block_ref *base, unsigned mark)
{
	struct hash prev = base->hash;
	for (unsigned i = 0; i < count; i++) {
		headers[i] = make_header(term, base->height + 1 + i, leader, &prev, base, mark);
		header_hash(&prev, &headers[i].h);
	}
}

struct vote make_vote(enum vote_kind kind, const struct block_ref *ref, unsigned signer)
{
	struct vote v = {.kind = kind, .ref = *ref, .signer = (uint16_t)signer};
	vote_sign(&v, &ctx, &keys[signer]);
	return v;
}

void make_cert(struct cert *out, enum cert_kind kind, const struct block_ref *ref)
{
	memset(out, 0, sizeof *out);
	out->kind = kind;
	out->ref = *ref;
	for (unsigned i = 0; i < ctx.quorum.q; i++) {
		struct vote v = make_vote(cert_vote_kind(kind), ref, i);
		out->signers |= UINT64_C(1) << i;
		out->sig[out->count++] = v.sig;
	}
}

struct term_vote make_term_vote(uint64_t term, unsigned leader, const struct block_ref *base,
				unsigned signer)
{
	struct term_vote v = {.term = term,
			      .leader = (uint16_t)leader,
			      .base = *base,
			      .signer = (uint16_t)signer};
	term_vote_sign(&v, &ctx, &keys[signer]);
	return v;
}

static void make_tc(struct term_cert *tc, uint64_t term, unsigned leader,
		    const struct block_ref *base)
{
	term_cert_init(tc);
	tc->term = term;
	tc->leader = (uint16_t)leader;
	tc->base = *base;
	for (unsigned i = 0; i < ctx.quorum.q; i++) {
		tc->signers |= UINT64_C(1) << i;
		tc->sig[tc->count++] = make_term_vote(term, leader, base, i).sig;
	}
}

struct view_change make_view_change(uint64_t term, unsigned signer,
				    const struct signed_header *headers, unsigned count,
				    const struct block_ref *base)
{
	struct view_change v;
	view_change_init(&v);
	v.term = term;
	v.reason = REASON_TIMEOUTS;
	v.signer = (uint16_t)signer;
	struct position *p = &v.position;
	p->tip = zero;
	p->tc.base = zero;
	if (count) {
		const struct header *tip = &headers[count - 1].h;
		p->tip = ref_of(tip);
		if (tip->mode == MODE_FAST) {
			make_tc(&p->tc, tip->term, tip->leader, base);
		} else {
			p->tc.mode = MODE_PBFT;
			p->tc.term = tip->term;
			p->tc.new_view_hash = tip->new_view;
		}
		p->headers = mem_array(count, sizeof *p->headers);
		for (unsigned i = 0; i < count; i++)
			p->headers[p->header_count++] = headers[count - 1 - i];
	}
	sign_view_change(&v);
	return v;
}

void sign_view_change(struct view_change *v)
{
	view_change_sign(v, &ctx, &keys[v->signer]);
}

struct new_view make_new_view(uint64_t term, struct view_change *vc, unsigned count)
{
	struct new_view nv = {.term = term, .count = count};
	nv.vc = mem_array(count, sizeof *nv.vc);
	memcpy(nv.vc, vc, count * sizeof *vc);
	sign_new_view(&nv, primary_of(term, N));
	return nv;
}

void sign_new_view(struct new_view *nv, unsigned signer)
{
	nv->signer = (uint16_t)signer;
	new_view_sign(nv, &ctx, &keys[signer]);
}

struct block *make_block(uint64_t term, uint64_t height, unsigned leader,
			 const struct slice *txs, const enum tx_result *results, uint32_t count)
{
	struct writer body = {0};
	struct hash leaves[16];
	struct block *b;
	ck_assert_uint_le(count, 16);
	body_begin(&body);
	for (uint32_t i = 0; i < count; i++) {
		enum tx_result result = results ? results[i] : TX_OK;
		body_add(&body, result, txs[i]);
		body_leaf(&leaves[i], result, txs[i]);
	}
	body_end(&body, count);
	struct signed_header sh = make_header(term, height, leader, &zero.hash, &zero, 0);
	sh.h.tx_count = count;
	sh.h.body_size = (uint32_t)body.len;
	merkle_root(&sh.h.tx_root, leaves, count);
	sign_header(&sh);
	ck_assert_int_eq(block_new(&b, &sh, writer_slice(&body)), ERR_NONE);
	writer_free(&body);
	return b;
}

bool tx_is_bad(const struct chain_ctx *c, struct slice tx)
{
	return slice_equal(tx, slice_str("bad"));
}

/* ---- judging ----------------------------------------------------------------------------- */

static int judge(const struct evidence *e)
{
	return evidence_check(e, &ctx, tx_is_bad);
}

void innocent(const struct evidence *e)
{
	char text[EVIDENCE_TEXT_SIZE];
	ck_assert_msg(judge(e) != ERR_NONE, "accused: %s", evidence_describe(text, e));
	/* nor the other way round, which is no proof of anything either */
	struct evidence turned = *e;
	turned.first = e->second;
	turned.second = e->first;
	ck_assert_int_ne(judge(&turned), ERR_NONE);
}

struct evidence against(unsigned culprit, enum evidence_kind kind, enum statement_kind a,
			const struct writer *wa, enum statement_kind b, const struct writer *wb)
{
	struct statement x = {a, writer_slice(wa)}, y = {b, writer_slice(wb)};
	bool in_order = slice_compare(x.bytes, y.bytes) < 0;
	return (struct evidence){.kind = kind,
				 .culprit = (uint16_t)culprit,
				 .first = in_order ? x : y,
				 .second = in_order ? y : x};
}

/* One statement cut short, made longer, with each bit turned. */
static void torture_bytes(const struct evidence *e, struct slice *bytes,
			  const struct evidence *changed)
{
	struct slice good = *bytes;
	uint8_t *copy = mem_alloc(good.len + 1);
	memcpy(copy, good.ptr, good.len);
	copy[good.len] = 0;
	for (size_t len = 0; len < good.len; len += 1 + len / 64) {
		*bytes = slice_of(copy, len);
		ck_assert_int_ne(judge(changed), ERR_NONE);
	}
	*bytes = slice_of(copy, good.len + 1);
	ck_assert_int_ne(judge(changed), ERR_NONE);
	*bytes = slice_of(copy, good.len);
	for (size_t bit = 0; bit < 8 * good.len; bit += 1 + good.len / 1024) {
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_msg(judge(changed) != ERR_NONE, "kind %d: bit %zu of %zu bytes",
			      e->kind, bit, good.len);
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	ck_assert_int_eq(judge(changed), ERR_NONE);
	*bytes = good;
	mem_free(copy);
}

static void forgeries(const struct evidence *e)
{
	struct evidence f = *e;
	for (unsigned i = 0; i < N + 1; i++) { /* another signer; one that there is not */
		f.culprit = (uint16_t)i;
		ck_assert_int_eq(judge(&f) == ERR_NONE, i == e->culprit);
	}
	f = *e;
	f.first = e->second;
	f.second = e->first;
	ck_assert_int_ne(judge(&f), ERR_NONE);
	f = *e;
	f.second = e->first;
	ck_assert_int_ne(judge(&f), ERR_NONE);
	f = *e;
	f.first = e->second;
	ck_assert_int_ne(judge(&f), ERR_NONE);
	f = *e;
	f.links = e->links.len ? slice_of(NULL, 0) : slice_of("\0\0\0", 4);
	ck_assert_int_ne(judge(&f), ERR_NONE);
	for (unsigned kind = 0; kind < 16; kind++) { /* as another offence */
		f = *e;
		f.kind = kind;
		if (kind != e->kind && kind != EVIDENCE_HEADERS &&
		    kind != EVIDENCE_TERM_HEADERS)
			ck_assert_int_ne(judge(&f), ERR_NONE);
		f = *e;
		f.first.kind = kind;
		ck_assert_int_eq(judge(&f) == ERR_NONE, kind == e->first.kind);
		f = *e;
		f.second.kind = kind;
		ck_assert_int_eq(judge(&f) == ERR_NONE, kind == e->second.kind);
	}
	f = *e;
	torture_bytes(e, &f.first.bytes, &f);
	if (f.second.bytes.len)
		torture_bytes(e, &f.second.bytes, &f);
	if (f.links.len)
		torture_bytes(e, &f.links, &f);
}

void proves(const struct evidence *e)
{
	char text[EVIDENCE_TEXT_SIZE], who[32];
	struct writer w = {0}, again = {0};
	struct reader r;
	struct evidence out;
	ck_assert_int_eq(judge(e), ERR_NONE);
	evidence_encode(&w, e);
	reader_init(&r, writer_slice(&w));
	evidence_decode(&r, &out);
	ck_assert_int_eq(reader_finish(&r), ERR_NONE);
	ck_assert_int_eq(judge(&out), ERR_NONE);
	evidence_encode(&again, &out);
	ck_assert(slice_equal(writer_slice(&w), writer_slice(&again)));
	for (size_t len = 0; len < w.len; len += 1 + len / 64) {
		reader_init(&r, slice_of(w.buf, len));
		evidence_decode(&r, &out);
		ck_assert_int_ne(reader_finish(&r), ERR_NONE);
	}
	snprintf(who, sizeof who, "validator %u ", e->culprit);
	evidence_describe(text, e);
	ck_assert_ptr_nonnull(strstr(text, who));
	ck_assert_ptr_null(strstr(text, "does not decode"));
	ck_assert_ptr_null(strchr(text, '\n'));
	forgeries(e);
	writer_free(&w);
	writer_free(&again);
}
