#include "tests/fuzz/forge.h"

/* ---- worlds ------------------------------------------------------------------------------ */

struct sim *forge_world(unsigned n, enum protocol protocol, bool calm)
{
	static struct sim *made[VALIDATORS_MAX + 1][2][2];
	static struct sim_result result;
	struct sim **at = &made[n][protocol == PROTOCOL_PBFT][calm];
	if (!*at) {
		struct sim_options o = {.nodes = n,
					.seed = 1,
					.scheme = SIG_SYMBOLIC,
					.protocol = protocol,
					.calm = calm};
		*at = mem_zalloc(sizeof **at);
		sim_world_begin(*at, &o, &result);
	}
	return *at;
}

void forge_init(struct forge *f, const struct sim *world)
{
	memset(f, 0, sizeof *f);
	f->ctx = &world->ctx;
	f->nodes = world->node;
	f->in = mem_zalloc(sizeof *f->in);
	struct block *genesis = genesis_block(&world->genesis, f->ctx);
	f->genesis = genesis->hash;
	forge_learn(f, genesis);
	block_drop(genesis);
}

void forge_free(struct forge *f)
{
	mem_free(f->in);
}

static void learn(struct forge *f, const struct signed_header *sh, const struct hash *hash)
{
	for (uint32_t i = 0; i < FORGE_KNOWN && i < f->next; i++)
		if (hash_equal(&f->known[i].ref.hash, hash))
			return;
	uint32_t at = f->next++ % FORGE_KNOWN;
	f->known[at].sh = *sh;
	f->known[at].ref =
		(struct block_ref){.term = sh->h.term, .height = sh->h.height, .hash = *hash};
}

void forge_learn(struct forge *f, const struct block *b)
{
	learn(f, &b->sh, &b->hash);
}

void forge_listen(struct forge *f, struct slice message)
{
	struct message_in *m = f->in;
	if (message.len == 0 || (message.ptr[0] != MSG_APPEND && message.ptr[0] != MSG_BLOCKS) ||
	    message_decode(m, message))
		return;
	if (m->type == MSG_APPEND)
		for (uint32_t i = 0; i < m->append.count; i++)
			forge_learn(f, m->append.blocks[i]);
	else
		for (uint32_t i = 0; i < m->blocks.count; i++)
			forge_learn(f, m->blocks.blocks[i]);
	message_free(m);
}

/* ---- references and signatures ----------------------------------------------------------- */

static bool known_hash(const struct forge *f, const struct hash *hash)
{
	for (uint32_t i = 0; i < FORGE_KNOWN && i < f->next; i++)
		if (hash_equal(&f->known[i].ref.hash, hash))
			return true;
	return false;
}

/* The newest known block of this height. */
static bool known_at(const struct forge *f, uint64_t height, struct block_ref *out)
{
	for (uint32_t back = 0; back < FORGE_KNOWN && back < f->next; back++) {
		uint32_t at = (f->next - 1 - back) % FORGE_KNOWN;
		if (f->known[at].ref.height != height)
			continue;
		*out = f->known[at].ref;
		return true;
	}
	return false;
}

static void mend_ref(const struct forge *f, struct block_ref *ref, unsigned flags)
{
	struct block_ref other;
	if (flags & FORGE_REFS && !known_hash(f, &ref->hash) && known_at(f, ref->height, &other))
		*ref = other;
}

static const struct keypair *key_of(const struct forge *f, unsigned signer)
{
	return signer < f->ctx->vals.n ? &f->nodes[signer].key : NULL;
}

void forge_sign_header(const struct forge *f, struct signed_header *sh)
{
	if (key_of(f, sh->h.leader))
		signed_header_sign(sh, f->ctx, key_of(f, sh->h.leader));
}

void forge_sign_vote(const struct forge *f, struct vote *v)
{
	if (key_of(f, v->signer))
		vote_sign(v, f->ctx, key_of(f, v->signer));
}

void forge_sign_cert(const struct forge *f, struct cert *c)
{
	unsigned at = 0;
	for (unsigned i = 0; i < VALIDATORS_MAX && at < c->count; i++) {
		if (!(c->signers >> i & 1))
			continue;
		struct vote v = {.kind = cert_vote_kind(c->kind),
				 .ref = c->ref,
				 .state_root = c->state_root,
				 .signer = (uint16_t)i,
				 .sig = c->sig[at]};
		forge_sign_vote(f, &v);
		c->sig[at++] = v.sig;
	}
}

static void mend_vote(const struct forge *f, struct vote *v, unsigned flags)
{
	mend_ref(f, &v->ref, flags);
	if (flags & FORGE_SIGN)
		forge_sign_vote(f, v);
}

static void mend_cert(const struct forge *f, struct cert *c, unsigned flags)
{
	mend_ref(f, &c->ref, flags);
	if (flags & FORGE_SIGN)
		forge_sign_cert(f, c);
}

static void mend_term_vote(const struct forge *f, struct term_vote *v, unsigned flags)
{
	mend_ref(f, &v->base, flags);
	if (flags & FORGE_SIGN && key_of(f, v->signer))
		term_vote_sign(v, f->ctx, key_of(f, v->signer));
}

static void mend_claim(const struct forge *f, struct view_claim *c)
{
	/* the same signature as that of a view change with this digest, which only chain/ can
	 * make: the fields in their order, all but the signature */
	struct writer w = {0};
	if (!key_of(f, c->signer))
		return;
	view_claim_encode(&w, c);
	sig_make(f->ctx->scheme, &c->sig, key_of(f, c->signer), SIG_TAG_VIEW_CHANGE, &f->ctx->id,
		 slice_of(w.buf, w.len - SIGNATURE_SIZE));
	writer_free(&w);
}

void forge_sign_tc(const struct forge *f, struct term_cert *tc, unsigned flags)
{
	if (tc->mode == MODE_PBFT) {
		if (tc->new_view) {
			forge_sign_new_view((struct forge *)f, tc->new_view, flags);
			new_view_hash(&tc->new_view_hash, tc->new_view);
		}
		return;
	}
	mend_ref(f, &tc->base, flags);
	unsigned at = 0;
	for (unsigned i = 0; i < VALIDATORS_MAX && at < tc->count && flags & FORGE_SIGN; i++) {
		if (!(tc->signers >> i & 1))
			continue;
		struct term_vote v = {.term = tc->term,
				      .leader = tc->leader,
				      .base = tc->base,
				      .signer = (uint16_t)i,
				      .sig = tc->sig[at]};
		mend_term_vote(f, &v, FORGE_SIGN);
		tc->sig[at++] = v.sig;
	}
}

void forge_sign_position(struct forge *f, struct position *p, unsigned flags)
{
	mend_ref(f, &p->tip, flags);
	forge_sign_tc(f, &p->tc, flags);
	if (p->has_checkpoint)
		mend_cert(f, &p->checkpoint, flags);
	if (p->has_qc)
		mend_cert(f, &p->qc, flags);
	for (uint32_t i = 0; i < p->header_count && flags & FORGE_SIGN; i++)
		forge_sign_header(f, &p->headers[i]);
}

void forge_sign_view_change(struct forge *f, struct view_change *v, unsigned flags)
{
	forge_sign_position(f, &v->position, flags);
	if (v->has_stable)
		mend_cert(f, &v->stable, flags);
	if (flags & FORGE_SIGN && key_of(f, v->signer))
		view_change_sign(v, f->ctx, key_of(f, v->signer));
}

void forge_sign_new_view(struct forge *f, struct new_view *nv, unsigned flags)
{
	for (unsigned i = 0; i < nv->count; i++)
		forge_sign_view_change(f, &nv->vc[i], flags);
	if (flags & FORGE_SIGN && key_of(f, nv->signer))
		new_view_sign(nv, f->ctx, key_of(f, nv->signer));
}

static void mend_entitlement(struct forge *f, struct entitlement *e, unsigned flags)
{
	if (e->kind == ENTITLED_TC)
		forge_sign_tc(f, &e->tc, flags);
	for (uint32_t i = 0; i < e->grant_count && flags & FORGE_SIGN; i++)
		if (key_of(f, e->grant[i].signer))
			grant_sign(&e->grant[i], f->ctx, key_of(f, e->grant[i].signer));
	for (uint32_t i = 0; i < e->claim_count && flags & FORGE_SIGN; i++)
		mend_claim(f, &e->claim[i]);
}

/* ---- evidence ---------------------------------------------------------------------------- */

/* One statement decoded, signed and encoded; as it was if it does not decode. */
static void sign_statement(struct forge *f, const struct statement *s, struct writer *out)
{
	struct reader r;
	reader_init(&r, s->bytes);
	writer_reset(out);
	switch (s->kind) {
	case STATEMENT_HEADER: {
		struct signed_header sh;
		signed_header_decode(&r, &sh);
		if (!reader_finish(&r)) {
			forge_sign_header(f, &sh);
			signed_header_encode(out, &sh);
		}
		break;
	}
	case STATEMENT_VOTE: {
		struct vote v;
		vote_decode(&r, &v);
		if (!reader_finish(&r)) {
			forge_sign_vote(f, &v);
			vote_encode(out, &v);
		}
		break;
	}
	case STATEMENT_TERM_VOTE: {
		struct term_vote v;
		term_vote_decode(&r, &v);
		if (!reader_finish(&r)) {
			mend_term_vote(f, &v, FORGE_SIGN);
			term_vote_encode(out, &v);
		}
		break;
	}
	case STATEMENT_VIEW_CHANGE: {
		struct view_change v;
		view_change_decode(&r, &v);
		if (!reader_finish(&r)) {
			forge_sign_view_change(f, &v, FORGE_SIGN);
			view_change_encode(out, &v);
		}
		view_change_free(&v);
		break;
	}
	case STATEMENT_VIEW_CLAIM: {
		struct view_claim c;
		view_claim_decode(&r, &c);
		if (!reader_finish(&r)) {
			mend_claim(f, &c);
			view_claim_encode(out, &c);
		}
		break;
	}
	case STATEMENT_WHOLE_NEW_VIEW:
	case STATEMENT_BLOCK_TX:
		break; /* as it came */
	case STATEMENT_NEW_VIEW: {
		struct new_view_claim c;
		new_view_claim_decode(&r, &c);
		if (!reader_finish(&r) && key_of(f, c.signer)) {
			new_view_claim_encode(out, &c);
			sig_make(f->ctx->scheme, &c.sig, key_of(f, c.signer), SIG_TAG_NEW_VIEW,
				 &f->ctx->id, slice_of(out->buf, out->len - SIGNATURE_SIZE));
			writer_reset(out);
			new_view_claim_encode(out, &c);
		}
		break;
	}
	case STATEMENT_BLOCK: {
		struct signed_header sh;
		signed_header_decode(&r, &sh);
		if (!r.err) {
			forge_sign_header(f, &sh);
			signed_header_encode(out, &sh);
			writer_raw(out, r.ptr, r.left);
		}
		break;
	}
	}
	if (out->len == 0)
		writer_raw(out, s->bytes.ptr, s->bytes.len);
}

void forge_sign_evidence(struct forge *f, struct slice bytes, struct writer *out)
{
	struct evidence e;
	struct reader r;
	reader_init(&r, bytes);
	evidence_decode(&r, &e);
	if (reader_finish(&r)) {
		writer_raw(out, bytes.ptr, bytes.len);
		return;
	}
	struct writer first = {0}, second = {0};
	sign_statement(f, &e.first, &first);
	sign_statement(f, &e.second, &second);
	e.first.bytes = writer_slice(&first);
	e.second.bytes = writer_slice(&second);
	if (e.second.bytes.len && slice_compare(e.second.bytes, e.first.bytes) < 0 &&
	    e.first.kind == e.second.kind) {
		struct statement s = e.first;
		e.first = e.second;
		e.second = s;
	}
	evidence_encode(out, &e);
	writer_free(&first);
	writer_free(&second);
}

/* ---- blocks in messages ------------------------------------------------------------------ */

/* Where the count of blocks stands; 0: there are none in such a message. */
static size_t blocks_offset(struct slice message, struct message_in *scratch)
{
	struct reader r;
	reader_init(&r, message);
	uint8_t type = reader_u8(&r);
	if (type != MSG_APPEND && type != MSG_BLOCKS)
		return 0;
	if (type == MSG_APPEND)
		reader_u64(&r);
	uint8_t flags = reader_u8(&r);
	if (flags & 1) {
		term_cert_decode_ref(&r, &scratch->append.tc);
		term_cert_free(&scratch->append.tc);
	}
	if (flags & 2)
		cert_decode(&r, &scratch->append.final);
	if (flags & 4 && type == MSG_APPEND)
		cert_decode(&r, &scratch->append.qc);
	if (type == MSG_BLOCKS)
		reader_u64(&r);
	else if (reader_bool(&r))
		vote_decode(&r, &scratch->append.prepare);
	return r.err ? 0 : message.len - r.left;
}

/* As many transactions as there are, in a canonical body; its figures go into the header. */
static void mend_body(struct slice body, struct header *h, struct writer *out)
{
	struct hash leaves[64];
	struct reader r;
	uint32_t count = 0;
	reader_init(&r, body);
	reader_u32(&r);
	writer_reset(out);
	body_begin(out);
	while (r.left >= 5 && count < MEM_COUNT(leaves)) {
		uint8_t result = reader_u8(&r) % 6;
		uint32_t len = reader_u32(&r);
		struct slice tx = reader_take(&r, len < r.left ? len : r.left);
		if (tx.len == 0)
			break;
		body_add(out, result, tx);
		body_leaf(&leaves[count++], result, tx);
	}
	body_end(out, count);
	h->tx_count = count;
	h->body_size = (uint32_t)out->len;
	merkle_root(&h->tx_root, leaves, count);
}

static void mend_links(struct forge *f, struct header *h)
{
	struct block_ref parent;
	if (h->height > 0 && !known_hash(f, &h->prev) && known_at(f, h->height - 1, &parent))
		h->prev = parent.hash;
	if (!known_hash(f, &h->base) && known_at(f, h->base_height, &parent))
		h->base = parent.hash;
}

static void mend_blocks(struct forge *f, struct reader *r, unsigned flags, struct writer *out)
{
	uint32_t want = reader_u32(r), count = 0;
	size_t count_at = writer_skip(out, 4);
	struct writer body = {0};
	while (count < want && r->left >= SIGNED_HEADER_SIZE + 4) {
		struct signed_header sh;
		signed_header_decode(r, &sh);
		if (r->err)
			break;
		uint32_t len = reader_u32(r);
		mend_body(reader_take(r, len < r->left ? len : r->left), &sh.h, &body);
		if (flags & FORGE_REFS)
			mend_links(f, &sh.h);
		if (flags & FORGE_SIGN)
			forge_sign_header(f, &sh);
		signed_header_encode(out, &sh);
		writer_var(out, writer_slice(&body));
		struct hash hash;
		header_hash(&hash, &sh.h);
		learn(f, &sh, &hash);
		count++;
	}
	writer_patch_u32(out, count_at, count);
	writer_free(&body);
}

/* ---- messages ---------------------------------------------------------------------------- */

static void mend_votes(struct forge *f, bool prepare, struct vote *p, bool commit,
		       struct vote *c, bool checkpoint, struct vote *k, unsigned flags)
{
	if (prepare)
		mend_vote(f, p, flags);
	if (commit)
		mend_vote(f, c, flags);
	if (checkpoint)
		mend_vote(f, k, flags);
}

static void mend_pbft(struct forge *f, struct message_in *m, unsigned flags)
{
	switch (m->type) {
	case MSG_SUSPICION:
		if (flags & FORGE_SIGN && key_of(f, m->suspicion.signer))
			suspicion_sign(&m->suspicion, f->ctx, key_of(f, m->suspicion.signer));
		break;
	case MSG_VIEW_CHANGE:
		forge_sign_view_change(f, &m->view_change.vc, flags);
		mend_entitlement(f, &m->view_change.entitlement, flags);
		break;
	case MSG_NEW_VIEW:
		forge_sign_tc(f, &m->new_view.tc, flags);
		if (m->new_view.has_final)
			mend_cert(f, &m->new_view.final, flags);
		break;
	case MSG_PREPARE:
		mend_vote(f, &m->prepare, flags);
		break;
	case MSG_COMMIT:
		mend_votes(f, false, NULL, true, &m->commit.commit, m->commit.has_checkpoint,
			   &m->commit.checkpoint, flags);
		break;
	default:
		break;
	}
}

static void mend_vote_request(struct forge *f, struct msg_vote_request *m, unsigned flags)
{
	mend_entitlement(f, &m->entitlement, flags);
	forge_sign_position(f, &m->position, flags);
	if (m->has_refusal && flags & FORGE_SIGN && key_of(f, m->refusal.signer))
		refusal_sign(&m->refusal, f->ctx, key_of(f, m->refusal.signer));
	if (m->has_final)
		mend_cert(f, &m->final, flags);
}

static void mend_decoded(struct forge *f, struct message_in *m, unsigned flags)
{
	switch (m->type) {
	case MSG_APPEND:
		forge_sign_tc(f, &m->append.tc, flags);
		if (m->append.has_final)
			mend_cert(f, &m->append.final, flags);
		if (m->append.has_qc)
			mend_cert(f, &m->append.qc, flags);
		if (m->append.has_prepare)
			mend_vote(f, &m->append.prepare, flags);
		break;
	case MSG_APPENDED:
		mend_votes(f, m->appended.has_prepare, &m->appended.prepare,
			   m->appended.has_commit, &m->appended.commit,
			   m->appended.has_checkpoint, &m->appended.checkpoint, flags);
		break;
	case MSG_HEARTBEAT:
		forge_sign_tc(f, &m->heartbeat.tc, flags);
		if (m->heartbeat.has_stable)
			mend_cert(f, &m->heartbeat.stable, flags);
		break;
	case MSG_HEARTBEAT_ACK:
		mend_votes(f, m->heartbeat_ack.has_prepare, &m->heartbeat_ack.prepare,
			   m->heartbeat_ack.has_commit, &m->heartbeat_ack.commit,
			   m->heartbeat_ack.has_checkpoint, &m->heartbeat_ack.checkpoint, flags);
		break;
	case MSG_PRE_VOTE_REQUEST:
	case MSG_VOTE_REQUEST:
		mend_vote_request(f, &m->vote_request, flags);
		break;
	case MSG_PRE_VOTE:
		if (flags & FORGE_SIGN && key_of(f, m->pre_vote.signer))
			grant_sign(&m->pre_vote, f->ctx, key_of(f, m->pre_vote.signer));
		break;
	case MSG_TERM_VOTE:
		mend_term_vote(f, &m->term_vote, flags);
		break;
	case MSG_REFUSAL:
		if (flags & FORGE_SIGN && key_of(f, m->refusal.proof.signer))
			refusal_sign(&m->refusal.proof, f->ctx,
				     key_of(f, m->refusal.proof.signer));
		mend_entitlement(f, &m->refusal.entitlement, flags);
		break;
	case MSG_BLOCKS:
		forge_sign_tc(f, &m->blocks.tc, flags);
		if (m->blocks.has_cert)
			mend_cert(f, &m->blocks.cert, flags);
		break;
	default:
		mend_pbft(f, m, flags);
	}
}

bool forge_mend(struct forge *f, struct slice message, unsigned flags, struct writer *out)
{
	struct writer mended = {0};
	bool ok = true;
	writer_reset(out);
	size_t at = flags & FORGE_BLOCKS ? blocks_offset(message, f->in) : 0;
	if (at) {
		struct reader r;
		reader_init(&r, slice_of(message.ptr + at, message.len - at));
		writer_raw(&mended, message.ptr, at);
		mend_blocks(f, &r, flags, &mended);
		message = writer_slice(&mended);
	}
	if (message.len && message.ptr[0] == MSG_EVIDENCE && flags & FORGE_SIGN) {
		writer_u8(out, MSG_EVIDENCE);
		forge_sign_evidence(f, slice_of(message.ptr + 1, message.len - 1), out);
	} else if (flags == 0 || message_decode(f->in, message)) {
		ok = flags == 0;
		writer_raw(out, message.ptr, message.len);
	} else {
		mend_decoded(f, f->in, flags);
		message_encode(out, f->in);
		message_free(f->in);
	}
	writer_free(&mended);
	return ok;
}

void message_encode(struct writer *w, const struct message_in *m)
{
	switch ((enum message_type)m->type) {
	case MSG_APPEND:
		msg_append_encode(w, &m->append);
		break;
	case MSG_APPENDED:
		msg_appended_encode(w, &m->appended);
		break;
	case MSG_HEARTBEAT:
		msg_heartbeat_encode(w, &m->heartbeat);
		break;
	case MSG_HEARTBEAT_ACK:
		msg_heartbeat_ack_encode(w, &m->heartbeat_ack);
		break;
	case MSG_PRE_VOTE_REQUEST:
	case MSG_VOTE_REQUEST:
		msg_vote_request_encode(w, m->type, &m->vote_request);
		break;
	case MSG_PRE_VOTE:
		msg_pre_vote_encode(w, &m->pre_vote);
		break;
	case MSG_TERM_VOTE:
		msg_term_vote_encode(w, &m->term_vote);
		break;
	case MSG_REFUSAL:
		msg_refusal_encode(w, &m->refusal);
		break;
	case MSG_FETCH:
		msg_fetch_encode(w, &m->fetch);
		break;
	case MSG_BLOCKS:
		msg_blocks_encode(w, &m->blocks);
		break;
	case MSG_FORWARD:
	case MSG_RELAY:
		msg_txs_encode(w, m->type, m->txs.tx, m->txs.count);
		break;
	case MSG_EVIDENCE:
		msg_evidence_encode(w, m->evidence);
		break;
	case MSG_SUSPICION:
		msg_suspicion_encode(w, &m->suspicion);
		break;
	case MSG_VIEW_CHANGE:
		msg_view_change_encode(w, &m->view_change);
		break;
	case MSG_NEW_VIEW:
		msg_new_view_encode(w, &m->new_view);
		break;
	case MSG_PREPARE:
		msg_prepare_encode(w, &m->prepare);
		break;
	case MSG_COMMIT:
		msg_commit_encode(w, &m->commit);
		break;
	case MSG_FETCH_VIEW:
		msg_fetch_view_encode(w, &m->fetch_view);
		break;
	case MSG_MEMBER:
		msg_member_encode(w, m->member);
		break;
	case MSG_FINAL:
		msg_final_encode(w, &m->final);
		break;
	case MSG_RESIGN:
		msg_resign_encode(w, &m->resign);
		break;
	case MSG_ASK_VOTES:
		msg_ask_votes_encode(w, m->ask_votes);
		break;
	case MSG_VOTES:
		msg_votes_encode(w, &m->votes);
		break;
	case MSG_ECHO:
		msg_echo_encode(w, &m->echo);
		break;
	case MESSAGE_TYPES:
		break;
	}
}
