/* Every object of src/chain: what decodes has one encoding; with everybody's keys the checks
 * behind the signatures are reached, and whatever they say they do not change what is encoded.
 */
#include "chain/epoch.h"
#include "chain/recovery.h"
#include "chain/select.h"
#include "chain/system.h"
#include "ledger/tx.h"
#include "tests/fuzz/record.h"
#include "tests/fuzz/targets.h"

enum kind {
	KIND_HEADER,
	KIND_BLOCK,
	KIND_VOTE,
	KIND_CERT,
	KIND_TERM_VOTE,
	KIND_TERM_CERT,
	KIND_TERM_CERT_REF,
	KIND_POSITION,
	KIND_VIEW_CLAIM,
	KIND_VIEW_CHANGE,
	KIND_NEW_VIEW_CLAIM,
	KIND_NEW_VIEW,
	KIND_EVIDENCE,
	KIND_GENESIS,
	KIND_SYSTEM_TX,
	KIND_MODE_STATE,
	KIND_MERKLE_PATH,
	KIND_MEMBER,
	KIND_HANDOVER,
	KIND_RECOVERY,
	KINDS
};
#define FLAG_SIGN 0x80 /* beside the kind, in the first byte */

static struct forge *forge;

/* What the checks ask: a fuzzer answers as the hashes fall, but always the same. */
static bool base_of(void *arg, uint64_t term, const struct hash *new_view,
		    struct block_ref *base)
{
	uint32_t count = forge->next < FORGE_KNOWN ? forge->next : FORGE_KNOWN;
	*base = forge->known[new_view->b[0] % count].ref;
	return new_view->b[1] & 1;
}
static bool parent_of(void *arg, const struct block_ref *block, struct block_ref *parent)
{
	for (uint32_t i = 0; i < FORGE_KNOWN && i < forge->next; i++) {
		if (!hash_equal(&forge->known[i].ref.hash, &block->hash))
			continue;
		const struct header *h = &forge->known[i].sh.h;
		*parent = (struct block_ref){
			.term = h->term, .height = h->height - 1, .hash = h->prev};
		return h->height > 0;
	}
	return false;
}
static const struct view_lookup lookup = {.base_of = base_of, .parent_of = parent_of};

static void same_bytes(struct writer *w, struct slice in)
{
	invariant(slice_equal(writer_slice(w), in));
	writer_reset(w);
}

/* ---- the kinds --------------------------------------------------------------------------- */

static void header_one(struct slice in, struct writer *w, bool sign)
{
	struct signed_header sh;
	struct reader r;
	reader_init(&r, in);
	signed_header_decode(&r, &sh);
	if (reader_finish(&r))
		return;
	signed_header_encode(w, &sh);
	same_bytes(w, in);
	if (sign)
		forge_sign_header(forge, &sh);
	signed_header_check(&sh, forge->ctx);
}

static void block_one(struct slice in, struct writer *w)
{
	struct reader r;
	struct block *b;
	reader_init(&r, in);
	if (block_decode(&r, &b))
		return;
	if (!reader_finish(&r)) {
		block_encode(w, b);
		same_bytes(w, in);
		struct hash *leaves = mem_array(b->tx_count + 1, sizeof *leaves);
		block_leaves(leaves, b);
		for (uint32_t i = 0; i < b->tx_count; i++)
			invariant(block_tx_bytes(b, i).len == b->tx[i].size);
		mem_free(leaves);
		struct mode_state m;
		mode_state_init(&m);
		mode_state_apply_block(&m, b, forge->ctx,
				       &forge_world(4, PROTOCOL_HYBRID, false)->genesis);
	}
	block_drop(b);
}

static void cert_one(struct slice in, struct writer *w, bool sign)
{
	static struct cert c;
	struct reader r;
	reader_init(&r, in);
	cert_decode(&r, &c);
	if (reader_finish(&r))
		return;
	cert_encode(w, &c);
	same_bytes(w, in);
	if (sign)
		forge_sign_cert(forge, &c);
	bool good = cert_check(&c, forge->ctx) == ERR_NONE;
	invariant(!good || c.count >= cert_quorum(c.kind, &forge->ctx->quorum));
}

static void vote_one(struct slice in, struct writer *w, bool sign)
{
	struct vote v;
	struct reader r;
	reader_init(&r, in);
	vote_decode(&r, &v);
	if (reader_finish(&r))
		return;
	vote_encode(w, &v);
	same_bytes(w, in);
	if (sign)
		forge_sign_vote(forge, &v);
	invariant(!sign || v.signer >= forge->ctx->vals.n || !vote_check(&v, forge->ctx));
}

static void term_vote_one(struct slice in, struct writer *w)
{
	struct term_vote v;
	struct reader r;
	reader_init(&r, in);
	term_vote_decode(&r, &v);
	if (reader_finish(&r))
		return;
	term_vote_encode(w, &v);
	same_bytes(w, in);
	term_vote_check(&v, forge->ctx);
}

static void term_cert_one(struct slice in, struct writer *w, bool sign, bool full)
{
	static struct term_cert tc, copy;
	struct missing missing;
	struct reader r;
	reader_init(&r, in);
	if (full)
		term_cert_decode(&r, &tc);
	else
		term_cert_decode_ref(&r, &tc);
	if (!reader_finish(&r)) {
		if (full)
			term_cert_encode(w, &tc);
		else
			term_cert_encode_ref(w, &tc);
		same_bytes(w, in);
		if (sign)
			forge_sign_tc(forge, &tc, FORGE_SIGN);
		term_cert_copy(&copy, &tc);
		if (tc.mode == MODE_FAST || full)
			term_cert_check(&copy, forge->ctx, &forge->genesis, &lookup, &missing);
		term_cert_free(&copy);
	}
	term_cert_free(&tc);
}

static void position_one(struct slice in, struct writer *w, bool sign)
{
	static struct position p;
	struct missing missing;
	struct reader r;
	reader_init(&r, in);
	position_init(&p);
	position_decode(&r, &p);
	if (!reader_finish(&r)) {
		position_encode(w, &p);
		same_bytes(w, in);
		if (sign)
			forge_sign_position(forge, &p, FORGE_SIGN);
		position_encode(w, &p);
		struct writer after = {0};
		if (!position_check(&p, p.tip.term + 1, forge->ctx, &forge->genesis, &lookup,
				    &missing)) {
			invariant(position_extends(&p, &p.tip));
			for (uint32_t i = 0; i < FORGE_KNOWN && i < forge->next; i++)
				position_extends(&p, &forge->known[i].ref);
			position_qc(&p);
		}
		position_encode(&after, &p);
		same_bytes(&after, writer_slice(w));
		writer_free(&after);
	}
	position_free(&p);
}

static void view_change_one(struct slice in, struct writer *w, bool sign)
{
	static struct view_change v, copy;
	struct missing missing;
	struct view_claim claim;
	struct reader r;
	reader_init(&r, in);
	view_change_decode(&r, &v);
	if (!reader_finish(&r)) {
		view_change_encode(w, &v);
		same_bytes(w, in);
		if (sign)
			forge_sign_view_change(forge, &v, FORGE_SIGN);
		view_change_claim(&claim, &v);
		invariant((view_claim_check(&claim, forge->ctx) == ERR_NONE) ==
			  (view_change_check_sig(&v, forge->ctx) == ERR_NONE));
		view_change_copy(&copy, &v);
		view_change_check(&copy, forge->ctx, &forge->genesis, &lookup, &missing);
		view_change_free(&copy);
	}
	view_change_free(&v);
}

static void new_view_one(struct slice in, struct writer *w, bool sign)
{
	struct new_view nv;
	struct selection s;
	struct missing missing;
	struct reader r;
	reader_init(&r, in);
	new_view_decode(&r, &nv);
	if (!reader_finish(&r)) {
		new_view_encode(w, &nv);
		same_bytes(w, in);
		if (sign)
			forge_sign_new_view(forge, &nv, FORGE_SIGN);
		new_view_check(&nv, forge->ctx, &forge->genesis, &lookup, &s, &missing);
	}
	new_view_free(&nv);
}

static void evidence_one(struct slice in, struct writer *w, bool sign)
{
	struct evidence e;
	struct reader r;
	struct writer forged = {0};
	if (sign)
		forge_sign_evidence(forge, in, &forged);
	else
		writer_raw(&forged, in.ptr, in.len);
	reader_init(&r, writer_slice(&forged));
	evidence_decode(&r, &e);
	if (!reader_finish(&r)) {
		evidence_encode(w, &e);
		same_bytes(w, writer_slice(&forged));
		int err = evidence_check(&e, forge->ctx, tx_never_valid);
		invariant(err == evidence_check(&e, forge->ctx, tx_never_valid));
		evidence_check(&e, forge->ctx, NULL);
	}
	writer_free(&forged);
}

static void genesis_one(struct slice in, struct writer *w)
{
	struct genesis g = {0}, again = {0};
	struct chain_ctx ctx;
	struct errmsg m;
	struct reader r;
	reader_init(&r, in);
	if (!genesis_decode(&r, &g) && !reader_finish(&r)) {
		genesis_encode(w, &g);
		same_bytes(w, in);
		if (!genesis_check(&g, true, &m)) {
			genesis_ctx(&ctx, &g);
			block_drop(genesis_block(&g, &ctx));
			char *json = genesis_json(&g);
			int err = genesis_parse(&again, slice_str(json), &m);
			invariant(!err || g.scheme == SIG_SYMBOLIC);
			genesis_free(&again);
			mem_free(json);
		}
	}
	genesis_free(&g);
}

/* On a chain with one recovery key, which signs whatever it says. */
static void recovery_one(struct slice in, struct writer *w)
{
	struct genesis g = forge_world(4, PROTOCOL_HYBRID, false)
				   ->genesis; /* lent, but for what follows */
	struct recovery *v = mem_zalloc(sizeof *v);
	struct keypair key;
	struct chain_ctx ctx;
	struct errmsg m;
	struct reader r;
	uint8_t seed[32] = {77};
	reader_init(&r, in);
	recovery_decode(&r, v);
	if (!reader_finish(&r)) {
		recovery_encode(w, v);
		same_bytes(w, in);
		keypair_from_seed(&key, seed);
		g.recovery = (struct genesis_keys){.k = 1, .m = 1, .key = {key.pub}};
		genesis_ctx(&ctx, &g);
		recovery_check(v, &g, &m);
		v->chain = ctx.id;
		v->number = 1;
		v->before = (struct hash){0};
		v->signers = 0;
		invariant(!recovery_sign(v, &g, &key));
		if (!genesis_add_recovery(&g, v, &m)) {
			genesis_ctx(&ctx, &g);
			invariant(ctx.before &&
				  !chain_ctx_at(&ctx, v->kept.term, v->kept.height + 1) ==
					  (v->kept.height != UINT64_MAX));
			mem_free(g.recoveries);
			mem_free(g.sets);
		}
	}
	mem_free(v);
}

static void system_tx_one(struct slice in, struct writer *w)
{
	struct system_tx tx;
	struct mode_state m;
	bool is = system_tx_is(in);
	if (system_tx_decode(&tx, in, forge->ctx))
		return;
	invariant(is);
	system_tx_encode(w, &tx, forge->ctx);
	same_bytes(w, in);
	mode_state_init(&m);
	for (int i = 0; i < 3; i++)
		mode_state_apply(&m, &tx, tx.height,
				 &forge_world(4, PROTOCOL_HYBRID, false)->genesis);
}

static void claims_one(enum kind kind, struct slice in, struct writer *w)
{
	struct reader r;
	reader_init(&r, in);
	if (kind == KIND_VIEW_CLAIM) {
		struct view_claim c;
		view_claim_decode(&r, &c);
		if (reader_finish(&r))
			return;
		view_claim_encode(w, &c);
		view_claim_check(&c, forge->ctx);
	} else {
		struct new_view_claim c;
		new_view_claim_decode(&r, &c);
		if (reader_finish(&r))
			return;
		new_view_claim_encode(w, &c);
		new_view_claim_check(&c, forge->ctx);
	}
	same_bytes(w, in);
}

static void mode_state_one(struct slice in, struct writer *w)
{
	struct mode_state m;
	struct reader r;
	reader_init(&r, in);
	mode_state_decode(&r, &m);
	if (reader_finish(&r))
		return;
	mode_state_encode(w, &m);
	same_bytes(w, in);
	mode_fast_due(&m, &forge_world(4, PROTOCOL_HYBRID, false)->genesis);
}

static void merkle_path_one(struct slice in, struct writer *w)
{
	struct merkle_path path;
	struct hash leaf = {{1}}, root = {{2}};
	struct reader r;
	reader_init(&r, in);
	merkle_path_decode(&r, &path);
	if (reader_finish(&r))
		return;
	merkle_path_encode(w, &path);
	same_bytes(w, in);
	merkle_verify(&path, &leaf, &root);
}

static void member_one(struct slice in, struct writer *w)
{
	struct member_change m;
	struct reader r;
	reader_init(&r, in);
	member_change_decode(&r, &m);
	if (reader_finish(&r))
		return;
	member_change_encode(w, &m);
	same_bytes(w, in);
	invariant(member_change_check(&m, forge->ctx) != ERR_NONE); /* nobody governs */
	struct chain_ctx next;
	const struct block_ref end = {.term = 3, .height = 8};
	if (epoch_next(&next, forge->ctx, &m, &end) == ERR_NONE)
		invariant(!hash_equal(&next.domain, &forge->ctx->domain));
}

static void handover_one(struct slice in, struct writer *w)
{
	struct handover h;
	struct chain_ctx next;
	struct reader r;
	reader_init(&r, in);
	if (handover_decode(&r, &h) == ERR_NONE && reader_finish(&r) == ERR_NONE) {
		handover_encode(w, &h);
		same_bytes(w, in);
		invariant(handover_check(&h, forge->ctx, &next) != ERR_NONE);
	}
	handover_free(&h);
}

static void begin(void)
{
	if (forge)
		return;
	forge = mem_zalloc(sizeof *forge);
	forge_init(forge, forge_world(4, PROTOCOL_HYBRID, false));
}

static void one(struct slice in)
{
	struct writer w = {0};
	begin();
	if (in.len == 0)
		return;
	bool sign = in.ptr[0] & FLAG_SIGN;
	enum kind kind = (in.ptr[0] & 0x7f) % KINDS;
	struct slice rest = slice_of(in.ptr + 1, in.len - 1);
	switch (kind) {
	case KIND_HEADER:
		header_one(rest, &w, sign);
		break;
	case KIND_BLOCK:
		block_one(rest, &w);
		break;
	case KIND_VOTE:
		vote_one(rest, &w, sign);
		break;
	case KIND_CERT:
		cert_one(rest, &w, sign);
		break;
	case KIND_TERM_VOTE:
		term_vote_one(rest, &w);
		break;
	case KIND_TERM_CERT:
	case KIND_TERM_CERT_REF:
		term_cert_one(rest, &w, sign, kind == KIND_TERM_CERT);
		break;
	case KIND_POSITION:
		position_one(rest, &w, sign);
		break;
	case KIND_VIEW_CHANGE:
		view_change_one(rest, &w, sign);
		break;
	case KIND_NEW_VIEW:
		new_view_one(rest, &w, sign);
		break;
	case KIND_VIEW_CLAIM:
	case KIND_NEW_VIEW_CLAIM:
		claims_one(kind, rest, &w);
		break;
	case KIND_EVIDENCE:
		evidence_one(rest, &w, sign);
		break;
	case KIND_GENESIS:
		genesis_one(rest, &w);
		break;
	case KIND_SYSTEM_TX:
		system_tx_one(rest, &w);
		break;
	case KIND_MODE_STATE:
		mode_state_one(rest, &w);
		break;
	case KIND_MERKLE_PATH:
		merkle_path_one(rest, &w);
		break;
	case KIND_MEMBER:
		member_one(rest, &w);
		break;
	case KIND_HANDOVER:
		handover_one(rest, &w);
		break;
	case KIND_RECOVERY:
		recovery_one(rest, &w);
		break;
	case KINDS:
		break;
	}
	writer_free(&w);
}

/* ---- seeds: the parts of real messages --------------------------------------------------- */

#define SEED_MAX     5000
#define SEEDS_A_KIND 8

struct collector {
	struct fuzz_seeds *out;
	struct message_in *in;
	uint32_t taken[KINDS];
};

static struct writer part;

static void take(struct collector *c, enum kind kind)
{
	struct writer seed = {0};
	if (part.len <= SEED_MAX && c->taken[kind]++ < SEEDS_A_KIND) {
		writer_u8(&seed, (uint8_t)kind | FLAG_SIGN);
		writer_raw(&seed, part.buf, part.len);
		fuzz_seed(c->out, writer_slice(&seed));
		writer_free(&seed);
	}
	writer_reset(&part);
}

static void take_position(struct collector *c, const struct position *p)
{
	position_encode(&part, p);
	take(c, KIND_POSITION);
	term_cert_encode_ref(&part, &p->tc);
	take(c, KIND_TERM_CERT_REF);
}

static void take_block(struct collector *c, const struct block *b)
{
	block_encode(&part, b);
	take(c, KIND_BLOCK);
	signed_header_encode(&part, &b->sh);
	take(c, KIND_HEADER);
	for (uint32_t i = 0; i < b->tx_count; i++) {
		struct slice tx = block_tx_bytes(b, i);
		if (!system_tx_is(tx))
			continue;
		writer_raw(&part, tx.ptr, tx.len);
		take(c, KIND_SYSTEM_TX);
	}
}

static void take_cert(struct collector *c, const struct cert *cert)
{
	cert_encode(&part, cert);
	take(c, KIND_CERT);
}

static void collect(void *ctx, struct sim *s, unsigned from, const struct message *message)
{
	struct collector *c = ctx;
	struct message_in *m = c->in;
	if (message_decode(m, message->bytes))
		return;
	switch (m->type) {
	case MSG_APPEND:
		for (uint32_t i = 0; i < m->append.count; i++)
			take_block(c, m->append.blocks[i]);
		if (m->append.has_final)
			take_cert(c, &m->append.final);
		if (m->append.has_qc)
			take_cert(c, &m->append.qc);
		break;
	case MSG_APPENDED:
		if (m->appended.has_prepare) {
			vote_encode(&part, &m->appended.prepare);
			take(c, KIND_VOTE);
		}
		break;
	case MSG_HEARTBEAT:
		if (m->heartbeat.has_stable)
			take_cert(c, &m->heartbeat.stable);
		break;
	case MSG_VOTE_REQUEST:
		take_position(c, &m->vote_request.position);
		break;
	case MSG_TERM_VOTE:
		term_vote_encode(&part, &m->term_vote);
		take(c, KIND_TERM_VOTE);
		break;
	case MSG_VIEW_CHANGE: {
		struct view_claim claim;
		take_position(c, &m->view_change.vc.position);
		view_change_encode(&part, &m->view_change.vc);
		take(c, KIND_VIEW_CHANGE);
		view_change_claim(&claim, &m->view_change.vc);
		view_claim_encode(&part, &claim);
		take(c, KIND_VIEW_CLAIM);
		break;
	}
	case MSG_NEW_VIEW:
		term_cert_encode(&part, &m->new_view.tc);
		take(c, KIND_TERM_CERT);
		if (m->new_view.tc.new_view) {
			struct new_view_claim claim;
			new_view_encode(&part, m->new_view.tc.new_view);
			take(c, KIND_NEW_VIEW);
			new_view_claim(&claim, m->new_view.tc.new_view);
			new_view_claim_encode(&part, &claim);
			take(c, KIND_NEW_VIEW_CLAIM);
		}
		break;
	case MSG_EVIDENCE:
		writer_raw(&part, m->evidence.ptr, m->evidence.len);
		take(c, KIND_EVIDENCE);
		break;
	default:
		break;
	}
	message_free(m);
}

static void epoch_seeds(struct collector *c)
{
	const struct sim *w = forge_world(4, PROTOCOL_HYBRID, false);
	struct block *b = genesis_block(&w->genesis, &w->ctx);
	struct member_change m;
	member_change_init(&m, &w->ctx, 1, &w->node[0].key.pub);
	m.signers = 5;
	member_change_encode(&part, &m);
	take(c, KIND_MEMBER);
	const struct system_tx tx = {.kind = SYSTEM_MEMBER, .height = 8, .member = m};
	system_tx_encode(&part, &tx, &w->ctx);
	take(c, KIND_SYSTEM_TX);
	struct signed_header filler = b->sh;
	struct handover h = {.end = b, .filler_count = 1, .fillers = &filler};
	h.cert = (struct cert){.kind = CERT_TWO_ROUND, .signers = 7, .count = 3};
	handover_encode(&part, &h);
	take(c, KIND_HANDOVER);
	block_drop(b);
}

static void seeds(struct fuzz_seeds *out)
{
	struct mode_state state;
	begin();
	for (unsigned i = 0; i < RECORDINGS; i++) {
		struct collector c = {.out = out, .in = mem_zalloc(sizeof(struct message_in))};
		struct recording r = {.message = collect, .ctx = &c};
		record(i, &r);
		mem_free(c.in);
	}
	struct collector c = {.out = out};
	genesis_encode(&part, &forge_world(4, PROTOCOL_HYBRID, false)->genesis);
	take(&c, KIND_GENESIS);
	mode_state_init(&state);
	mode_state_encode(&part, &state);
	take(&c, KIND_MODE_STATE);
	struct hash leaves[11] = {{{0}}};
	struct merkle_path path;
	merkle_prove(&path, leaves, 11, 5);
	merkle_path_encode(&part, &path);
	take(&c, KIND_MERKLE_PATH);
	epoch_seeds(&c);
	struct recovery recovery = {.number = 1, .n = 4, .kept = {3, 70, {{1}}}, .signers = 1};
	for (unsigned i = 0; i < 4; i++)
		recovery.key[i].b[0] = (uint8_t)(i + 1);
	recovery_encode(&part, &recovery);
	take(&c, KIND_RECOVERY);
	writer_free(&part);
}

const struct fuzz_target fuzz_chain = {.name = "chain",
				       .shape = FUZZ_NESTED,
				       .size_max = 8192,
				       .runs = 20000,
				       .one = one,
				       .seeds = seeds};
