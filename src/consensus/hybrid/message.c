#include "consensus/hybrid/message.h"

#include "base/mem.h"
#include "base/mutant.h"

const char *message_type_name(uint8_t type)
{
	static const char *const names[MESSAGE_TYPES] = {
		[MSG_APPEND] = "append",
		[MSG_APPENDED] = "appended",
		[MSG_HEARTBEAT] = "heartbeat",
		[MSG_HEARTBEAT_ACK] = "heartbeat_ack",
		[MSG_PRE_VOTE_REQUEST] = "pre_vote_request",
		[MSG_PRE_VOTE] = "pre_vote",
		[MSG_VOTE_REQUEST] = "vote_request",
		[MSG_TERM_VOTE] = "term_vote",
		[MSG_REFUSAL] = "refusal",
		[MSG_FETCH] = "fetch",
		[MSG_BLOCKS] = "blocks",
		[MSG_FORWARD] = "forward",
		[MSG_RELAY] = "relay",
		[MSG_EVIDENCE] = "evidence",
		[MSG_SUSPICION] = "suspicion",
		[MSG_VIEW_CHANGE] = "view_change",
		[MSG_NEW_VIEW] = "new_view",
		[MSG_PREPARE] = "prepare",
		[MSG_COMMIT] = "commit",
		[MSG_FETCH_VIEW] = "fetch_view",
		[MSG_MEMBER] = "member",
		[MSG_FINAL] = "final",
		[MSG_RESIGN] = "resign",
		[MSG_ASK_VOTES] = "ask_votes",
		[MSG_VOTES] = "votes",
		[MSG_ECHO] = "echo",
	};
	return type < MESSAGE_TYPES && names[type] ? names[type] : "unknown";
}

bool message_is_for_voters(uint8_t type)
{
	static const uint8_t unsigned_ones[] = {
		MSG_FETCH,	MSG_BLOCKS,   MSG_FORWARD, MSG_RELAY,	  MSG_EVIDENCE,
		MSG_FETCH_VIEW, MSG_NEW_VIEW, MSG_MEMBER,  MSG_ASK_VOTES, MSG_VOTES,
		MSG_ECHO};
	for (size_t i = 0; i < MEM_COUNT(unsigned_ones); i++)
		if (unsigned_ones[i] == type)
			return false;
	return true;
}

/* ---- grants and entitlements ------------------------------------------------------------- */

#define GRANT_BODY_SIZE (8 + 2 + 8 + 2)

static void grant_body(struct writer *w, const struct grant *g)
{
	writer_u64(w, g->term);
	writer_u16(w, g->candidate);
	writer_u64(w, g->newest_tc);
	writer_u16(w, g->signer);
}

static struct slice grant_signed_bytes(uint8_t buf[GRANT_BODY_SIZE], const struct grant *g)
{
	store_be64(buf, g->term);
	buf[8] = (uint8_t)(g->candidate >> 8);
	buf[9] = (uint8_t)g->candidate;
	store_be64(buf + 10, g->newest_tc);
	buf[18] = (uint8_t)(g->signer >> 8);
	buf[19] = (uint8_t)g->signer;
	return slice_of(buf, GRANT_BODY_SIZE);
}

void grant_sign(struct grant *g, const struct chain_ctx *ctx, const struct keypair *key)
{
	uint8_t buf[GRANT_BODY_SIZE];
	sig_make(ctx->scheme, &g->sig, key, SIG_TAG_PRE_VOTE, &ctx->domain,
		 grant_signed_bytes(buf, g));
}

int grant_check(const struct grant *g, const struct chain_ctx *ctx)
{
	uint8_t buf[GRANT_BODY_SIZE];
	if (g->candidate >= ctx->vals.n)
		return ERR_UNKNOWN_SIGNER;
	return chain_check_sig(ctx, g->signer, SIG_TAG_PRE_VOTE, grant_signed_bytes(buf, g),
			       &g->sig);
}

static void grant_encode(struct writer *w, const struct grant *g)
{
	grant_body(w, g);
	writer_signature(w, &g->sig);
}

static void grant_decode(struct reader *r, struct grant *out)
{
	out->term = reader_u64(r);
	out->candidate = reader_u16(r);
	out->newest_tc = reader_u64(r);
	out->signer = reader_u16(r);
	reader_signature(r, &out->sig);
}

void entitlement_init(struct entitlement *e)
{
	e->kind = ENTITLED_NONE;
	e->term = 0;
	e->candidate = NO_VALIDATOR;
	e->grant_count = 0;
	e->claim_count = 0;
	term_cert_init(&e->tc);
}

void entitlement_free(struct entitlement *e)
{
	if (e->kind == ENTITLED_TC)
		term_cert_free(&e->tc);
	entitlement_init(e);
}

void entitlement_copy(struct entitlement *out, const struct entitlement *e)
{
	entitlement_init(out);
	out->kind = e->kind;
	out->term = e->term;
	if (e->kind == ENTITLED_TC)
		term_cert_copy(&out->tc, &e->tc);
	out->candidate = e->candidate;
	out->grant_count = e->grant_count;
	memcpy(out->grant, e->grant, e->grant_count * sizeof e->grant[0]);
	out->claim_count = e->claim_count;
	memcpy(out->claim, e->claim, e->claim_count * sizeof e->claim[0]);
}

void entitlement_encode(struct writer *w, const struct entitlement *e)
{
	writer_u8(w, (uint8_t)e->kind);
	writer_u64(w, e->term);
	switch (e->kind) {
	case ENTITLED_NONE:
		break;
	case ENTITLED_TC:
		term_cert_encode_ref(w, &e->tc);
		break;
	case ENTITLED_CLAIMS:
		writer_u8(w, (uint8_t)e->claim_count);
		for (uint32_t i = 0; i < e->claim_count; i++)
			view_claim_encode(w, &e->claim[i]);
		break;
	case ENTITLED_GRANTS:
		writer_u16(w, e->candidate);
		writer_u8(w, (uint8_t)e->grant_count);
		for (uint32_t i = 0; i < e->grant_count; i++) {
			writer_u64(w, e->grant[i].newest_tc);
			writer_u16(w, e->grant[i].signer);
			writer_signature(w, &e->grant[i].sig);
		}
		break;
	}
}

static void grants_decode(struct reader *r, struct entitlement *out)
{
	out->candidate = reader_u16(r);
	uint32_t count = reader_u8(r);
	if (count < 1 || count > VALIDATORS_MAX)
		reader_fail(r, ERR_LIMIT);
	for (uint32_t i = 0; i < count && !r->err; i++) {
		struct grant *g = &out->grant[i];
		g->term = out->term;
		g->candidate = out->candidate;
		g->newest_tc = reader_u64(r);
		g->signer = reader_u16(r);
		reader_signature(r, &g->sig);
		if (i > 0 && g->signer <= out->grant[i - 1].signer)
			reader_fail(r, ERR_NONCANONICAL);
	}
	out->grant_count = r->err ? 0 : count;
}

static void claims_decode(struct reader *r, struct entitlement *out)
{
	uint32_t count = reader_u8(r);
	if (count < 1 || count > VALIDATORS_MAX)
		reader_fail(r, ERR_LIMIT);
	for (uint32_t i = 0; i < count && !r->err; i++) {
		struct view_claim *c = &out->claim[i];
		view_claim_decode(r, c);
		if (c->term < out->term || (i > 0 && c->signer <= out->claim[i - 1].signer))
			reader_fail(r, ERR_NONCANONICAL);
	}
	out->claim_count = r->err ? 0 : count;
}

void entitlement_decode(struct reader *r, struct entitlement *out)
{
	entitlement_init(out);
	uint8_t kind = reader_u8(r);
	out->term = reader_u64(r);
	switch (kind) {
	case ENTITLED_NONE:
		if (out->term != 0)
			reader_fail(r, ERR_NONCANONICAL);
		break;
	case ENTITLED_TC:
		out->kind = ENTITLED_TC;
		term_cert_decode_ref(r, &out->tc);
		if (!r->err && out->tc.term != out->term)
			reader_fail(r, ERR_NONCANONICAL);
		break;
	case ENTITLED_GRANTS:
		out->kind = ENTITLED_GRANTS;
		grants_decode(r, out);
		break;
	case ENTITLED_CLAIMS:
		out->kind = ENTITLED_CLAIMS;
		claims_decode(r, out);
		break;
	default:
		reader_fail(r, ERR_RANGE);
	}
}

int entitlement_check(const struct entitlement *e, const struct chain_ctx *ctx,
		      uint64_t newest_tc)
{
	if (MUTANT(MUTANT_ANY_ENTITLEMENT))
		return ERR_NONE;
	switch (e->kind) {
	case ENTITLED_NONE:
		return e->term == 0 ? ERR_NONE : ERR_NO_QUORUM;
	case ENTITLED_TC:
		if (e->tc.mode != MODE_FAST)
			return ERR_UNSUPPORTED;
		return fast_cert_check(&e->tc, ctx);
	case ENTITLED_CLAIMS:
		if (e->claim_count < ctx->quorum.f + 1)
			return ERR_NO_QUORUM;
		for (uint32_t i = 0; i < e->claim_count; i++) {
			int err = view_claim_check(&e->claim[i], ctx);
			if (err)
				return err;
		}
		return ERR_NONE;
	case ENTITLED_GRANTS:
		if (e->grant_count < ctx->quorum.q)
			return ERR_NO_QUORUM;
		for (uint32_t i = 0; i < e->grant_count; i++) {
			if (e->grant[i].newest_tc < newest_tc)
				return ERR_STALE;
			int err = grant_check(&e->grant[i], ctx);
			if (err)
				return err;
		}
		return ERR_NONE;
	}
	return ERR_RANGE;
}

/* ---- refusals ---------------------------------------------------------------------------- */

void refusal_sign(struct refusal_proof *p, const struct chain_ctx *ctx,
		  const struct keypair *key)
{
	uint8_t buf[16];
	store_be64(buf, p->term);
	store_be64(buf + 8, p->for_term);
	sig_make(ctx->scheme, &p->sig, key, SIG_TAG_REFUSAL, &ctx->domain,
		 slice_of(buf, sizeof buf));
}

int refusal_check(const struct refusal_proof *p, const struct chain_ctx *ctx)
{
	uint8_t buf[16];
	store_be64(buf, p->term);
	store_be64(buf + 8, p->for_term);
	return chain_check_sig(ctx, p->signer, SIG_TAG_REFUSAL, slice_of(buf, sizeof buf),
			       &p->sig);
}

static void refusal_proof_encode(struct writer *w, const struct refusal_proof *p)
{
	writer_u64(w, p->term);
	writer_u64(w, p->for_term);
	writer_u16(w, p->signer);
	writer_signature(w, &p->sig);
}

static void refusal_proof_decode(struct reader *r, struct refusal_proof *out)
{
	out->term = reader_u64(r);
	out->for_term = reader_u64(r);
	out->signer = reader_u16(r);
	reader_signature(r, &out->sig);
}

/* ---- flags: one byte, unknown bits refused ----------------------------------------------- */

static void flags_encode(struct writer *w, bool a, bool b, bool c)
{
	writer_u8(w, (uint8_t)(a | b << 1 | c << 2));
}

static void flags_decode(struct reader *r, bool *a, bool *b, bool *c)
{
	uint8_t v = reader_u8(r);
	*a = v & 1;
	*b = v >> 1 & 1;
	if (c)
		*c = v >> 2 & 1;
	if (v >> (c ? 3 : 2))
		reader_fail(r, ERR_NONCANONICAL);
}

static void blocks_encode(struct writer *w, struct block *const *blocks, uint32_t count)
{
	writer_u32(w, count);
	for (uint32_t i = 0; i < count; i++)
		block_encode(w, blocks[i]);
}

static uint32_t blocks_decode(struct reader *r, struct block **blocks, uint32_t max)
{
	uint32_t want = reader_count(r, max, SIGNED_HEADER_SIZE + 4);
	uint32_t count = 0;
	while (count < want && !r->err) {
		int err = block_decode(r, &blocks[count]);
		if (err) {
			reader_fail(r, err);
			break;
		}
		count++;
	}
	return count;
}

static void vote_decode_kind(struct reader *r, struct vote *out, enum vote_kind kind)
{
	vote_decode(r, out);
	if (!r->err && out->kind != kind)
		reader_fail(r, ERR_RANGE);
}

/* ---- messages ---------------------------------------------------------------------------- */

void msg_append_encode(struct writer *w, const struct msg_append *m)
{
	writer_u8(w, MSG_APPEND);
	writer_u64(w, m->term);
	flags_encode(w, m->has_tc, m->has_final, m->has_qc);
	if (m->has_tc)
		term_cert_encode_ref(w, &m->tc);
	if (m->has_final)
		cert_encode(w, &m->final);
	if (m->has_qc)
		cert_encode(w, &m->qc);
	writer_u8(w, m->has_prepare);
	if (m->has_prepare)
		vote_encode(w, &m->prepare);
	blocks_encode(w, m->blocks, m->count);
}

static void append_decode(struct reader *r, struct msg_append *m)
{
	m->count = 0;
	m->term = reader_u64(r);
	flags_decode(r, &m->has_tc, &m->has_final, &m->has_qc);
	term_cert_init(&m->tc);
	if (m->has_tc)
		term_cert_decode_ref(r, &m->tc);
	if (m->has_final)
		cert_decode(r, &m->final);
	if (m->has_qc)
		cert_decode(r, &m->qc);
	m->has_prepare = reader_bool(r);
	if (m->has_prepare)
		vote_decode_kind(r, &m->prepare, VOTE_PREPARE_PBFT);
	m->count = blocks_decode(r, m->blocks, APPEND_BLOCKS_MAX);
}

static void votes_encode(struct writer *w, bool has_prepare, const struct vote *prepare,
			 bool has_commit, const struct vote *commit, bool has_checkpoint,
			 const struct vote *checkpoint)
{
	flags_encode(w, has_prepare, has_commit, has_checkpoint);
	if (has_prepare)
		vote_encode(w, prepare);
	if (has_commit)
		vote_encode(w, commit);
	if (has_checkpoint)
		vote_encode(w, checkpoint);
}

static void votes_decode(struct reader *r, bool *has_prepare, struct vote *prepare,
			 bool *has_commit, struct vote *commit, bool *has_checkpoint,
			 struct vote *checkpoint)
{
	flags_decode(r, has_prepare, has_commit, has_checkpoint);
	if (*has_prepare)
		vote_decode_kind(r, prepare, VOTE_PREPARE_FAST);
	if (*has_commit)
		vote_decode_kind(r, commit, VOTE_COMMIT);
	if (*has_checkpoint)
		vote_decode_kind(r, checkpoint, VOTE_CHECKPOINT);
}

void msg_appended_encode(struct writer *w, const struct msg_appended *m)
{
	writer_u8(w, MSG_APPENDED);
	writer_u64(w, m->term);
	votes_encode(w, m->has_prepare, &m->prepare, m->has_commit, &m->commit,
		     m->has_checkpoint, &m->checkpoint);
}

void msg_heartbeat_encode(struct writer *w, const struct msg_heartbeat *m)
{
	writer_u8(w, MSG_HEARTBEAT);
	writer_u64(w, m->term);
	writer_u64(w, m->counter);
	writer_u64(w, m->tip_height);
	writer_hash(w, &m->tip);
	writer_u64(w, m->final_height);
	flags_encode(w, m->has_tc, m->has_stable, false);
	if (m->has_tc)
		term_cert_encode_ref(w, &m->tc);
	if (m->has_stable)
		cert_encode(w, &m->stable);
}

static void heartbeat_decode(struct reader *r, struct msg_heartbeat *m)
{
	m->term = reader_u64(r);
	m->counter = reader_u64(r);
	m->tip_height = reader_u64(r);
	reader_hash(r, &m->tip);
	m->final_height = reader_u64(r);
	flags_decode(r, &m->has_tc, &m->has_stable, NULL);
	term_cert_init(&m->tc);
	if (m->has_tc)
		term_cert_decode_ref(r, &m->tc);
	if (m->has_stable)
		cert_decode(r, &m->stable);
}

void msg_heartbeat_ack_encode(struct writer *w, const struct msg_heartbeat_ack *m)
{
	writer_u8(w, MSG_HEARTBEAT_ACK);
	writer_u64(w, m->term);
	writer_u64(w, m->counter);
	writer_u64(w, m->final_height);
	votes_encode(w, m->has_prepare, &m->prepare, m->has_commit, &m->commit,
		     m->has_checkpoint, &m->checkpoint);
}

void msg_vote_request_encode(struct writer *w, enum message_type type,
			     const struct msg_vote_request *m)
{
	writer_u8(w, (uint8_t)type);
	writer_u64(w, m->term);
	entitlement_encode(w, &m->entitlement);
	position_encode(w, &m->position);
	writer_u8(w, m->has_refusal);
	if (m->has_refusal)
		refusal_proof_encode(w, &m->refusal);
	writer_u8(w, m->has_final);
	if (m->has_final)
		cert_encode(w, &m->final);
}

static void vote_request_decode(struct reader *r, struct msg_vote_request *m)
{
	m->term = reader_u64(r);
	entitlement_decode(r, &m->entitlement);
	position_init(&m->position);
	position_decode(r, &m->position);
	m->has_refusal = reader_bool(r);
	if (m->has_refusal)
		refusal_proof_decode(r, &m->refusal);
	m->has_final = reader_bool(r);
	if (m->has_final)
		cert_decode(r, &m->final);
}

void msg_pre_vote_encode(struct writer *w, const struct grant *g)
{
	writer_u8(w, MSG_PRE_VOTE);
	grant_encode(w, g);
}

void msg_term_vote_encode(struct writer *w, const struct term_vote *v)
{
	writer_u8(w, MSG_TERM_VOTE);
	term_vote_encode(w, v);
}

void msg_refusal_encode(struct writer *w, const struct msg_refusal *m)
{
	writer_u8(w, MSG_REFUSAL);
	refusal_proof_encode(w, &m->proof);
	entitlement_encode(w, &m->entitlement);
	writer_u64(w, m->final_height);
}

void msg_fetch_encode(struct writer *w, const struct msg_fetch *m)
{
	writer_u8(w, MSG_FETCH);
	writer_u64(w, m->from_height);
	writer_u64(w, m->newest_tc);
	writer_hash(w, &m->wanted);
}

void msg_blocks_encode(struct writer *w, const struct msg_blocks *m)
{
	writer_u8(w, MSG_BLOCKS);
	flags_encode(w, m->has_tc, m->has_cert, false);
	if (m->has_tc)
		term_cert_encode_ref(w, &m->tc);
	if (m->has_cert)
		cert_encode(w, &m->cert);
	writer_u64(w, m->final_height);
	blocks_encode(w, m->blocks, m->count);
}

static void msg_blocks_decode(struct reader *r, struct msg_blocks *m)
{
	m->count = 0;
	flags_decode(r, &m->has_tc, &m->has_cert, NULL);
	term_cert_init(&m->tc);
	if (m->has_tc)
		term_cert_decode_ref(r, &m->tc);
	if (m->has_cert)
		cert_decode(r, &m->cert);
	m->final_height = reader_u64(r);
	m->count = blocks_decode(r, m->blocks, FETCH_BLOCKS_MAX);
}

void msg_txs_encode(struct writer *w, enum message_type type, const struct slice *tx,
		    uint32_t count)
{
	writer_u8(w, (uint8_t)type);
	writer_u32(w, count);
	for (uint32_t i = 0; i < count; i++)
		writer_var(w, tx[i]);
}

static void txs_decode(struct reader *r, struct msg_txs *m)
{
	m->count = reader_count(r, FORWARD_TXS_MAX, 5);
	for (uint32_t i = 0; i < m->count && !r->err; i++)
		m->tx[i] = reader_var(r, TX_SIZE_MAX);
	if (m->count == 0)
		reader_fail(r, ERR_RANGE);
}

void msg_evidence_encode(struct writer *w, struct slice evidence)
{
	writer_u8(w, MSG_EVIDENCE);
	writer_raw(w, evidence.ptr, evidence.len);
}

/* ---- pbft mode --------------------------------------------------------------------------- */

static struct slice suspicion_bytes(uint8_t buf[13], const struct suspicion *s)
{
	store_be64(buf, s->term);
	buf[8] = (uint8_t)(s->leader >> 8);
	buf[9] = (uint8_t)s->leader;
	buf[10] = (uint8_t)s->reason;
	buf[11] = (uint8_t)(s->signer >> 8);
	buf[12] = (uint8_t)s->signer;
	return slice_of(buf, 13);
}

void suspicion_sign(struct suspicion *s, const struct chain_ctx *ctx, const struct keypair *key)
{
	uint8_t buf[13];
	sig_make(ctx->scheme, &s->sig, key, SIG_TAG_SUSPICION, &ctx->domain,
		 suspicion_bytes(buf, s));
}

int suspicion_check(const struct suspicion *s, const struct chain_ctx *ctx)
{
	uint8_t buf[13];
	return chain_check_sig(ctx, s->signer, SIG_TAG_SUSPICION, suspicion_bytes(buf, s),
			       &s->sig);
}

void msg_suspicion_encode(struct writer *w, const struct suspicion *s)
{
	uint8_t buf[13];
	struct slice body = suspicion_bytes(buf, s);
	writer_u8(w, MSG_SUSPICION);
	writer_raw(w, body.ptr, body.len);
	writer_signature(w, &s->sig);
}

static void suspicion_decode(struct reader *r, struct suspicion *s)
{
	s->term = reader_u64(r);
	s->leader = reader_u16(r);
	uint8_t reason = reader_u8(r);
	if (reason != REASON_SIGNATURE && reason != REASON_CENSORSHIP && reason != REASON_SLOW)
		reader_fail(r, ERR_RANGE);
	s->reason = r->err ? REASON_NONE : reason;
	s->signer = reader_u16(r);
	reader_signature(r, &s->sig);
}

void msg_view_change_encode(struct writer *w, const struct msg_view_change *m)
{
	writer_u8(w, MSG_VIEW_CHANGE);
	view_change_encode(w, &m->vc);
	entitlement_encode(w, &m->entitlement);
}

void msg_new_view_encode(struct writer *w, const struct msg_new_view *m)
{
	writer_u8(w, MSG_NEW_VIEW);
	term_cert_encode(w, &m->tc);
	writer_u8(w, m->has_final);
	if (m->has_final)
		cert_encode(w, &m->final);
}

static void msg_new_view_decode(struct reader *r, struct msg_new_view *m)
{
	term_cert_init(&m->tc);
	term_cert_decode(r, &m->tc);
	m->has_final = reader_bool(r);
	if (m->has_final)
		cert_decode(r, &m->final);
}

void msg_prepare_encode(struct writer *w, const struct vote *v)
{
	writer_u8(w, MSG_PREPARE);
	vote_encode(w, v);
}

void msg_commit_encode(struct writer *w, const struct msg_commit *m)
{
	writer_u8(w, MSG_COMMIT);
	vote_encode(w, &m->commit);
	writer_u8(w, m->has_checkpoint);
	if (m->has_checkpoint)
		vote_encode(w, &m->checkpoint);
}

static void msg_commit_decode(struct reader *r, struct msg_commit *m)
{
	vote_decode_kind(r, &m->commit, VOTE_COMMIT);
	m->has_checkpoint = reader_bool(r);
	if (m->has_checkpoint)
		vote_decode_kind(r, &m->checkpoint, VOTE_CHECKPOINT);
}

void msg_fetch_view_encode(struct writer *w, const struct msg_fetch_view *m)
{
	writer_u8(w, MSG_FETCH_VIEW);
	writer_u64(w, m->term);
	writer_hash(w, &m->hash);
}

void msg_member_encode(struct writer *w, struct slice member)
{
	writer_u8(w, MSG_MEMBER);
	writer_raw(w, member.ptr, member.len);
}

void msg_final_encode(struct writer *w, const struct cert *c)
{
	writer_u8(w, MSG_FINAL);
	cert_encode(w, c);
}

void msg_resign_encode(struct writer *w, const struct msg_resign *m)
{
	writer_u8(w, MSG_RESIGN);
	writer_u64(w, m->term);
	writer_u16(w, m->successor);
}

void msg_ask_votes_encode(struct writer *w, uint64_t nonce)
{
	writer_u8(w, MSG_ASK_VOTES);
	writer_u64(w, nonce);
}

void msg_votes_encode(struct writer *w, const struct msg_votes *m)
{
	writer_u8(w, MSG_VOTES);
	writer_u64(w, m->nonce);
	writer_u64(w, m->final_height);
	writer_u8(w, m->vote.kind != 0);
	if (m->vote.kind)
		vote_encode(w, &m->vote);
	writer_u8(w, m->term_vote.term != 0);
	if (m->term_vote.term)
		term_vote_encode(w, &m->term_vote);
	writer_u8(w, m->claim.term != 0);
	if (m->claim.term)
		view_claim_encode(w, &m->claim);
}

void msg_echo_encode(struct writer *w, const struct msg_echo *m)
{
	writer_u8(w, MSG_ECHO);
	writer_u8(w, m->is_answer);
	writer_u64(w, m->asked);
	if (m->is_answer)
		writer_u32(w, m->sync_us);
}

/* What is said to be there is of a term: 0 stands for what is not. */
static void msg_votes_decode(struct reader *r, struct msg_votes *m)
{
	*m = (struct msg_votes){.nonce = reader_u64(r)};
	m->final_height = reader_u64(r);
	if (reader_bool(r)) {
		vote_decode(r, &m->vote);
		if (m->vote.kind == VOTE_CHECKPOINT)
			reader_fail(r, ERR_RANGE);
	}
	if (reader_bool(r)) {
		term_vote_decode(r, &m->term_vote);
		if (!m->term_vote.term)
			reader_fail(r, ERR_RANGE);
	}
	if (reader_bool(r)) {
		view_claim_decode(r, &m->claim);
		if (!m->claim.term)
			reader_fail(r, ERR_RANGE);
	}
}

int message_decode(struct message_in *m, struct slice bytes)
{
	struct reader r;
	reader_init(&r, bytes);
	m->type = reader_u8(&r);
	switch (m->type) {
	case MSG_APPEND:
		append_decode(&r, &m->append);
		break;
	case MSG_APPENDED:
		m->appended.term = reader_u64(&r);
		votes_decode(&r, &m->appended.has_prepare, &m->appended.prepare,
			     &m->appended.has_commit, &m->appended.commit,
			     &m->appended.has_checkpoint, &m->appended.checkpoint);
		break;
	case MSG_HEARTBEAT:
		heartbeat_decode(&r, &m->heartbeat);
		break;
	case MSG_HEARTBEAT_ACK:
		m->heartbeat_ack.term = reader_u64(&r);
		m->heartbeat_ack.counter = reader_u64(&r);
		m->heartbeat_ack.final_height = reader_u64(&r);
		votes_decode(&r, &m->heartbeat_ack.has_prepare, &m->heartbeat_ack.prepare,
			     &m->heartbeat_ack.has_commit, &m->heartbeat_ack.commit,
			     &m->heartbeat_ack.has_checkpoint, &m->heartbeat_ack.checkpoint);
		break;
	case MSG_PRE_VOTE_REQUEST:
	case MSG_VOTE_REQUEST:
		vote_request_decode(&r, &m->vote_request);
		break;
	case MSG_PRE_VOTE:
		grant_decode(&r, &m->pre_vote);
		break;
	case MSG_TERM_VOTE:
		term_vote_decode(&r, &m->term_vote);
		break;
	case MSG_REFUSAL:
		refusal_proof_decode(&r, &m->refusal.proof);
		entitlement_decode(&r, &m->refusal.entitlement);
		m->refusal.final_height = reader_u64(&r);
		break;
	case MSG_FETCH:
		m->fetch.from_height = reader_u64(&r);
		m->fetch.newest_tc = reader_u64(&r);
		reader_hash(&r, &m->fetch.wanted);
		break;
	case MSG_BLOCKS:
		msg_blocks_decode(&r, &m->blocks);
		break;
	case MSG_FORWARD:
	case MSG_RELAY:
		txs_decode(&r, &m->txs);
		break;
	case MSG_EVIDENCE:
		m->evidence = reader_take(&r, r.left);
		break;
	case MSG_SUSPICION:
		suspicion_decode(&r, &m->suspicion);
		break;
	case MSG_VIEW_CHANGE:
		view_change_init(&m->view_change.vc);
		entitlement_init(&m->view_change.entitlement);
		view_change_decode(&r, &m->view_change.vc);
		entitlement_decode(&r, &m->view_change.entitlement);
		break;
	case MSG_NEW_VIEW:
		msg_new_view_decode(&r, &m->new_view);
		break;
	case MSG_PREPARE:
		vote_decode_kind(&r, &m->prepare, VOTE_PREPARE_PBFT);
		break;
	case MSG_COMMIT:
		msg_commit_decode(&r, &m->commit);
		break;
	case MSG_FETCH_VIEW:
		m->fetch_view.term = reader_u64(&r);
		reader_hash(&r, &m->fetch_view.hash);
		break;
	case MSG_MEMBER:
		m->member = reader_take(&r, r.left);
		break;
	case MSG_FINAL:
		cert_decode(&r, &m->final);
		break;
	case MSG_RESIGN:
		m->resign.term = reader_u64(&r);
		m->resign.successor = reader_u16(&r);
		break;
	case MSG_ASK_VOTES:
		m->ask_votes = reader_u64(&r);
		break;
	case MSG_VOTES:
		msg_votes_decode(&r, &m->votes);
		break;
	case MSG_ECHO:
		m->echo.is_answer = reader_bool(&r);
		m->echo.asked = reader_u64(&r);
		m->echo.sync_us = m->echo.is_answer ? reader_u32(&r) : 0;
		break;
	default:
		m->type = 0;
		return ERR_UNSUPPORTED;
	}
	int err = reader_finish(&r);
	if (err) {
		message_free(m);
		m->type = 0;
	}
	return err;
}

void message_free(struct message_in *m)
{
	switch (m->type) {
	case MSG_APPEND:
		for (uint32_t i = 0; i < m->append.count; i++)
			block_drop(m->append.blocks[i]);
		term_cert_free(&m->append.tc);
		break;
	case MSG_HEARTBEAT:
		term_cert_free(&m->heartbeat.tc);
		break;
	case MSG_PRE_VOTE_REQUEST:
	case MSG_VOTE_REQUEST:
		entitlement_free(&m->vote_request.entitlement);
		position_free(&m->vote_request.position);
		break;
	case MSG_REFUSAL:
		entitlement_free(&m->refusal.entitlement);
		break;
	case MSG_BLOCKS:
		for (uint32_t i = 0; i < m->blocks.count; i++)
			block_drop(m->blocks.blocks[i]);
		term_cert_free(&m->blocks.tc);
		break;
	case MSG_VIEW_CHANGE:
		view_change_free(&m->view_change.vc);
		entitlement_free(&m->view_change.entitlement);
		break;
	case MSG_NEW_VIEW:
		term_cert_free(&m->new_view.tc);
		break;
	default:
		break;
	}
	m->type = 0;
}
