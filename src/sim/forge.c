/* The lies: what malicious replicas do to each kind of message, and what they make up. */
#include "sim/adversary_private.h"

static const struct keypair *own_key(const struct adversary *a)
{
	return &a->team->config.key[a->self];
}

static const struct chain_ctx *ctx_of(const struct adversary *a)
{
	return a->team->config.ctx;
}

uint64_t adversary_everybody(const struct adversary *a)
{
	unsigned n = ctx_of(a)->vals.n;
	return n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

/* ---- what the team knows ----------------------------------------------------------------- */

static void saw_block(struct team *t, const struct block_ref *ref)
{
	for (unsigned i = 0; i < SEEN_MAX; i++)
		if (block_ref_equal(&t->seen[i], ref))
			return;
	t->seen[t->seen_next++ % SEEN_MAX] = *ref;
}

static void saw_vote(struct team *t, const struct vote *v)
{
	saw_block(t, &v->ref);
	for (unsigned i = 0; i < SEEN_MAX; i++)
		if (t->votes[i].kind == v->kind && t->votes[i].signer == v->signer &&
		    block_ref_equal(&t->votes[i].ref, &v->ref))
			return;
	t->votes[t->votes_next++ % SEEN_MAX] = *v;
}

static void saw_view_change(struct team *t, const struct view_change *vc)
{
	if (vc->signer >= VALIDATORS_MAX)
		return;
	view_change_free(&t->vc[vc->signer]);
	view_change_copy(&t->vc[vc->signer], vc);
	t->has_vc[vc->signer] = true;
}

static void vote_for_candidate(struct adversary *a, unsigned from,
			       const struct msg_vote_request *m)
{
	struct term_vote v = {.term = m->term,
			      .leader = (uint16_t)from,
			      .base = m->position.tip,
			      .signer = (uint16_t)a->self};
	if (adversary_does(a, ATTACK_LOW_BASE) && random_chance(&a->random, 1, 2))
		v.base = (struct block_ref){0};
	term_vote_sign(&v, ctx_of(a), own_key(a));
	msg_term_vote_encode(
		adversary_emit(a, UINT64_C(1) << from, CLASS_URGENT, MSG_TERM_VOTE), &v);
	adversary_struck(a, ATTACK_TERM_VOTES);
}

static void hear(struct adversary *a, unsigned from, struct message_in *m)
{
	struct team *t = a->team;
	switch (m->type) {
	case MSG_APPEND:
		for (uint32_t i = 0; i < m->append.count; i++) {
			struct block_ref ref = block_ref_of(m->append.blocks[i]);
			saw_block(t, &ref);
		}
		break;
	case MSG_APPENDED:
		if (m->appended.has_prepare)
			saw_vote(t, &m->appended.prepare);
		if (m->appended.has_commit)
			saw_vote(t, &m->appended.commit);
		break;
	case MSG_PREPARE:
		saw_vote(t, &m->prepare);
		break;
	case MSG_COMMIT:
		saw_vote(t, &m->commit.commit);
		break;
	case MSG_VIEW_CHANGE:
		saw_view_change(t, &m->view_change.vc);
		break;
	case MSG_EVIDENCE:
		writer_reset(&t->evidence);
		writer_raw(&t->evidence, m->evidence.ptr, m->evidence.len);
		break;
	case MSG_VOTE_REQUEST:
		if (adversary_does(a, ATTACK_TERM_VOTES) || adversary_does(a, ATTACK_LOW_BASE))
			vote_for_candidate(a, from, &m->vote_request);
		break;
	default:
		break;
	}
}

/* Whose transactions are left out: every fourth, whoever brings it. */
static bool is_censored(const struct adversary *a, struct slice tx)
{
	struct hash id;
	tx_id(&id, tx);
	return ((id.b[0] ^ a->targets) & 3) == 0;
}

/* The others are ordered: a leader who took none would have everybody's timers against it. */
static void censor(struct adversary *a, const struct msg_txs *m, uint8_t type,
		   struct slice *bytes)
{
	struct slice left[FORWARD_TXS_MAX];
	uint32_t count = 0;
	for (uint32_t i = 0; i < m->count; i++)
		if (!is_censored(a, m->tx[i]))
			left[count++] = m->tx[i];
	if (count == m->count)
		return;
	adversary_struck(a, ATTACK_CENSOR);
	writer_reset(&a->heard);
	if (count)
		msg_txs_encode(&a->heard, (enum message_type)type, left, count);
	*bytes = writer_slice(&a->heard);
}

void adversary_listen(struct adversary *a, unsigned from, struct slice *bytes)
{
	struct message_in *m = a->team->in;
	if (bytes->len && bytes->ptr[0] == CRASH_FORWARD && adversary_does(a, ATTACK_CENSOR)) {
		adversary_struck(a, ATTACK_CENSOR);
		bytes->len = 0;
		return;
	}
	if (message_decode(m, *bytes))
		return;
	uint8_t type = m->type;
	hear(a, from, m);
	if (adversary_does(a, ATTACK_FRAME))
		frame_keep(a->team, m);
	if ((type == MSG_FORWARD || type == MSG_RELAY) && adversary_does(a, ATTACK_CENSOR))
		censor(a, &m->txs, type, bytes);
	message_free(m);
	if (fork_hides(a, from, type))
		bytes->len = 0;
}

/* The bases of NEW-VIEWs, as our honest engines found them. */
void adversary_learn(struct adversary *a)
{
	const struct term_cert *tc = engine_term_cert(a->honest);
	struct team *t = a->team;
	if (tc->mode != MODE_PBFT)
		return;
	for (unsigned i = 0; i < VIEWS_MAX; i++)
		if (t->views[i].term == tc->term &&
		    hash_equal(&t->views[i].hash, &tc->new_view_hash))
			return;
	unsigned at = t->views_next++ % VIEWS_MAX;
	t->views[at].term = tc->term;
	t->views[at].hash = tc->new_view_hash;
	t->views[at].base = tc->base;
}

/* ---- blocks ------------------------------------------------------------------------------ */

static struct block *resigned(const struct adversary *a, const struct block *b,
			      const struct header *h)
{
	struct signed_header sh = {.h = *h};
	struct block *out;
	signed_header_sign(&sh, ctx_of(a), own_key(a));
	return block_new(&out, &sh, slice_of(b->body, b->body_size)) ? NULL : out;
}

const struct twin *adversary_twin(const struct adversary *a, const struct hash *hash)
{
	for (unsigned i = 0; i < TWINS_MAX; i++)
		if (hash_equal(&a->twins[i].ref.hash, hash))
			return &a->twins[i];
	return NULL;
}

/* On top of its version of the parent. */
struct block *adversary_second_version(struct adversary *a, const struct block *b)
{
	struct header h = b->sh.h;
	const struct twin *parent = adversary_twin(a, &h.prev);
	bool known = adversary_twin(a, &b->hash) != NULL;
	if (parent)
		h.prev = parent->other.hash;
	else if (a->diverged && a->diverged_term == h.term && !known)
		return NULL;
	if (a->second_view_term == h.term)
		h.new_view = a->second_view;
	h.time_ms++;
	/* A term with two bases: clumsy, and proof by itself. Who can fork without it does not.
	 */
	unsigned team = (unsigned)__builtin_popcountll(a->team->config.members);
	if (!known && h.height % 7 == 0 && team <= ctx_of(a)->quorum.f)
		h.base.b[0] ^= 1;
	a->diverged = true;
	a->diverged_term = h.term;
	struct block *other = resigned(a, b, &h);
	if (other && !known) {
		struct twin *t = &a->twins[a->twins_next++ % TWINS_MAX];
		t->ref = block_ref_of(b);
		t->other = block_ref_of(other);
		saw_block(a->team, &t->ref);
		saw_block(a->team, &t->other);
	}
	return other;
}

static struct block *with_garbage(const struct adversary *a, const struct block *b)
{
	struct writer body = {0};
	struct hash *leaves = mem_array(b->tx_count + 1, sizeof *leaves);
	struct slice garbage = slice_str("this is no transaction");
	block_leaves(leaves, b);
	body_begin(&body);
	for (uint32_t i = 0; i < b->tx_count; i++)
		body_add(&body, b->tx[i].result, block_tx_bytes(b, i));
	body_add(&body, TX_OK, garbage);
	body_leaf(&leaves[b->tx_count], TX_OK, garbage);
	body_end(&body, b->tx_count + 1);
	struct signed_header sh = {.h = b->sh.h};
	merkle_root(&sh.h.tx_root, leaves, b->tx_count + 1);
	sh.h.tx_count = b->tx_count + 1;
	sh.h.body_size = (uint32_t)body.len;
	signed_header_sign(&sh, ctx_of(a), own_key(a));
	struct block *out;
	int err = block_new(&out, &sh, writer_slice(&body));
	writer_free(&body);
	mem_free(leaves);
	return err ? NULL : out;
}

bool adversary_gather(struct adversary *a, enum cert_kind kind, const struct block_ref *ref,
		      struct cert *out)
{
	struct team *t = a->team;
	struct tally tally;
	struct hash none = {0};
	tally_init(&tally, cert_vote_kind(kind), ref, &none);
	for (unsigned i = 0; i < ctx_of(a)->vals.n; i++) {
		if (!(t->config.members >> i & 1))
			continue;
		struct vote v = {.kind = tally.kind, .ref = *ref, .signer = (uint16_t)i};
		vote_sign(&v, ctx_of(a), &t->config.key[i]);
		tally_add(&tally, &v);
	}
	for (unsigned i = 0; i < SEEN_MAX; i++)
		if (t->votes[i].kind == tally.kind && block_ref_equal(&t->votes[i].ref, ref) &&
		    vote_check(&t->votes[i], ctx_of(a)) == ERR_NONE)
			tally_add(&tally, &t->votes[i]);
	if (tally.count < cert_quorum(kind, &ctx_of(a)->quorum))
		return false;
	tally_cert(&tally, kind, out);
	return true;
}

static void bogus_cert(struct adversary *a, const struct block_ref *ref, enum mode mode,
		       struct cert *out)
{
	*out = (struct cert){.kind = mode == MODE_FAST ? CERT_QC_FAST : CERT_QC_PBFT,
			     .ref = *ref};
	for (unsigned i = 0; i < ctx_of(a)->quorum.q; i++) {
		out->signers |= UINT64_C(1) << i;
		memset(&out->sig[out->count++], (int)random_below(&a->random, 256),
		       sizeof out->sig[0]);
	}
}

static void resign_prepare(struct adversary *a, struct msg_append *m, const struct block *b)
{
	if (!m->has_prepare)
		return;
	m->prepare.ref = block_ref_of(b);
	vote_sign(&m->prepare, ctx_of(a), own_key(a));
}

/* Sends m with b instead of its block. */
static void send_instead(struct adversary *a, const struct message *orig, struct msg_append *m,
			 struct block *b, uint64_t to)
{
	struct block *was = m->blocks[0];
	struct vote prepare = m->prepare;
	m->blocks[0] = b;
	resign_prepare(a, m, b);
	msg_append_encode(adversary_emit(a, to & orig->to, orig->class, MSG_APPEND), m);
	m->blocks[0] = was;
	m->prepare = prepare;
}

static void equivocate(struct adversary *a, const struct message *orig, struct msg_append *m)
{
	struct block *other = adversary_second_version(a, m->blocks[0]);
	uint64_t side = a->targets & orig->to;
	adversary_pass(a, orig, orig->to & ~side);
	if (!other)
		return;
	struct msg_append lie = *m;
	lie.has_final = lie.has_qc = false;
	/* what the other side needs to believe in its chain, if it can be had */
	const struct twin *parent = adversary_twin(a, &m->blocks[0]->sh.h.prev);
	if (parent && m->blocks[0]->sh.h.mode == MODE_FAST) {
		lie.has_final = adversary_gather(a, CERT_ONE_ROUND, &parent->other, &lie.final);
		lie.has_qc = !lie.has_final &&
			     adversary_gather(a, CERT_QC_FAST, &parent->other, &lie.qc);
	}
	send_instead(a, orig, &lie, other, side);
	block_drop(other);
	adversary_struck(a, ATTACK_EQUIVOCATE);
}

/* All of it must get the first of its blocks: one that misses it has no use for the rest. */
static bool to_the_other_side(const struct adversary *a, const struct message *orig)
{
	uint64_t side = a->targets & adversary_everybody(a) & ~(UINT64_C(1) << a->self);
	return side && (orig->to & side) == side;
}

static bool alter_append(struct adversary *a, const struct message *orig, struct msg_append *m)
{
	if (m->count != 1 || m->blocks[0]->sh.h.leader != a->self) {
		if (adversary_does(a, ATTACK_EQUIVOCATE) && a->diverged &&
		    a->diverged_term == m->term) {
			adversary_pass(a, orig, orig->to & ~a->targets);
			return true;
		}
		return false;
	}
	struct block *b = m->blocks[0];
	if (adversary_does(a, ATTACK_EQUIVOCATE) &&
	    (a->diverged_term == m->term ||
	     (to_the_other_side(a, orig) && random_chance(&a->random, 1, 3)))) {
		equivocate(a, orig, m);
		return true;
	}
	struct block *lie = NULL;
	if (adversary_does(a, ATTACK_STATE_ROOT)) {
		struct header h = b->sh.h;
		h.state_root.b[0] ^= 1;
		lie = resigned(a, b, &h);
		adversary_struck(a, ATTACK_STATE_ROOT);
	} else if (adversary_does(a, ATTACK_CORRUPT_BODY)) {
		lie = with_garbage(a, b);
		adversary_struck(a, ATTACK_CORRUPT_BODY);
	} else if (adversary_does(a, ATTACK_BAD_SIGNATURES)) {
		struct signed_header sh = b->sh;
		sh.sig.b[7] ^= 1;
		if (block_new(&lie, &sh, slice_of(b->body, b->body_size)))
			lie = NULL;
		adversary_struck(a, ATTACK_BAD_SIGNATURES);
	} else if (adversary_does(a, ATTACK_BOGUS_CERT)) {
		struct block_ref ref = block_ref_of(b);
		struct msg_append bogus = *m;
		bogus.has_qc = true;
		bogus_cert(a, &ref, b->sh.h.mode, &bogus.qc);
		adversary_pass(a, orig, orig->to & ~a->targets);
		msg_append_encode(
			adversary_emit(a, orig->to & a->targets, orig->class, MSG_APPEND),
			&bogus);
		adversary_struck(a, ATTACK_BOGUS_CERT);
		return true;
	}
	if (!lie)
		return false;
	adversary_pass(a, orig, orig->to & ~a->targets);
	send_instead(a, orig, m, lie, a->targets);
	block_drop(lie);
	return true;
}

/* ---- votes ------------------------------------------------------------------------------- */

static void other_vote(struct adversary *a, struct vote *v)
{
	struct team *t = a->team;
	v->ref.hash.b[3] ^= 0x55; /* what does not exist */
	for (unsigned i = 0; i < SEEN_MAX; i++) {
		struct block_ref was = v->ref;
		was.hash.b[3] ^= 0x55;
		if (t->seen[i].term == v->ref.term && t->seen[i].height == v->ref.height &&
		    !hash_equal(&t->seen[i].hash, &was.hash))
			v->ref = t->seen[i];
	}
	vote_sign(v, ctx_of(a), own_key(a));
}

static bool spoil(struct adversary *a, struct vote *v)
{
	if (adversary_does(a, ATTACK_DOUBLE_VOTE) && random_chance(&a->random, 1, 2)) {
		other_vote(a, v);
		adversary_struck(a, ATTACK_DOUBLE_VOTE);
		return true;
	}
	if (adversary_does(a, ATTACK_BAD_SIGNATURES)) {
		v->sig.b[5] ^= 1;
		adversary_struck(a, ATTACK_BAD_SIGNATURES);
		return true;
	}
	return false;
}

static bool spoil_checkpoint(struct adversary *a, bool has, struct vote *v)
{
	if (!has || !adversary_does(a, ATTACK_CHECKPOINT))
		return false;
	v->state_root.b[0] ^= 1;
	vote_sign(v, ctx_of(a), own_key(a));
	adversary_struck(a, ATTACK_CHECKPOINT);
	return true;
}

static bool alter_votes(struct adversary *a, const struct message *orig, struct message_in *m)
{
	uint64_t side = orig->to & (a->targets | (orig->to & (orig->to - 1) ? 0 : orig->to));
	if (adversary_does(a, ATTACK_WITHHOLD)) {
		adversary_struck(a, ATTACK_WITHHOLD);
		return true;
	}
	if (m->type == MSG_APPENDED) {
		struct msg_appended *x = &m->appended;
		bool lies = spoil_checkpoint(a, x->has_checkpoint, &x->checkpoint);
		lies |= x->has_prepare && spoil(a, &x->prepare);
		lies |= x->has_commit && spoil(a, &x->commit);
		if (!lies)
			return false;
		if (random_chance(&a->random, 1, 2))
			adversary_pass(a, orig, orig->to); /* both, to the same one */
		msg_appended_encode(adversary_emit(a, orig->to, orig->class, orig->type), x);
		return true;
	}
	/* now and then both go to the same ones */
	uint64_t both = random_chance(&a->random, 1, 4) ? orig->to : orig->to & ~side;
	if (m->type == MSG_PREPARE) {
		if (!spoil(a, &m->prepare))
			return false;
		adversary_pass(a, orig, both);
		msg_prepare_encode(adversary_emit(a, side, orig->class, orig->type),
				   &m->prepare);
		return true;
	}
	bool lies = spoil_checkpoint(a, m->commit.has_checkpoint, &m->commit.checkpoint);
	if (!spoil(a, &m->commit.commit) && !lies)
		return false;
	adversary_pass(a, orig, both);
	msg_commit_encode(adversary_emit(a, side, orig->class, orig->type), &m->commit);
	return true;
}

/* Where nothing is proposed, a checkpoint statement rides on this. */
static bool alter_ack(struct adversary *a, const struct message *orig,
		      struct msg_heartbeat_ack *x)
{
	if (!spoil_checkpoint(a, x->has_checkpoint, &x->checkpoint))
		return false;
	msg_heartbeat_ack_encode(adversary_emit(a, orig->to, orig->class, orig->type), x);
	return true;
}

/* ---- view changes ------------------------------------------------------------------------ */

static void genesis_position(const struct adversary *a, struct position *p)
{
	struct block *g = genesis_block(a->team->config.genesis, ctx_of(a));
	position_init(p);
	p->tip = block_ref_of(g);
	p->tc.mode = MODE_FAST;
	p->tc.base = p->tip;
	block_drop(g);
}

static void send_view_change(struct adversary *a, uint64_t to, const struct view_change *like,
			     uint64_t term, const struct position *p,
			     const struct entitlement *why)
{
	struct msg_view_change m = {.vc = *like, .entitlement = *why}; /* lent */
	m.vc.term = term;
	m.vc.signer = (uint16_t)a->self;
	if (p)
		m.vc.position = *p;
	view_change_sign(&m.vc, ctx_of(a), own_key(a));
	msg_view_change_encode(adversary_emit(a, to, CLASS_URGENT, MSG_VIEW_CHANGE), &m);
}

static bool alter_view_change(struct adversary *a, const struct message *orig,
			      struct msg_view_change *m)
{
	bool lied = false;
	if (adversary_does(a, ATTACK_HIDDEN_VOTE)) {
		struct position none;
		genesis_position(a, &none);
		const struct position *p =
			a->has_old_position && random_chance(&a->random, 2, 3)
				? &a->old_position
				: &none;
		adversary_pass(a, orig, orig->to & ~a->targets);
		if (p->tip.term < m->vc.term)
			send_view_change(a, orig->to & a->targets, &m->vc, m->vc.term, p,
					 &m->entitlement);
		position_free(&none);
		adversary_struck(a, ATTACK_HIDDEN_VOTE);
		lied = true;
	}
	if (adversary_does(a, ATTACK_BOGUS_CERT) && m->vc.position.tip.term > 0) {
		struct position p = m->vc.position; /* lent */
		p.has_qc = true;
		bogus_cert(a, &p.tip, p.tc.mode, &p.qc);
		adversary_pass(a, orig, orig->to & ~a->targets);
		send_view_change(a, orig->to & a->targets, &m->vc, m->vc.term, &p,
				 &m->entitlement);
		adversary_struck(a, ATTACK_BOGUS_CERT);
		lied = true;
	}
	if (!a->has_old_position || random_chance(&a->random, 1, 16)) {
		struct view_change copy;
		view_change_copy(&copy, &m->vc);
		position_free(&a->old_position);
		a->old_position = copy.position;
		a->has_old_position = true;
	}
	if (adversary_does(a, ATTACK_FLOOD) || adversary_does(a, ATTACK_INFLATE)) {
		enum attack what =
			adversary_does(a, ATTACK_FLOOD) ? ATTACK_FLOOD : ATTACK_INFLATE;
		uint64_t far = what == ATTACK_FLOOD ? 1 + random_below(&a->random, 5)
						    : random_u64(&a->random) >> 8;
		send_view_change(a, orig->to, &m->vc, m->vc.term + far, NULL, &m->entitlement);
		adversary_struck(a, what);
	}
	return lied;
}

static bool base_of(void *arg, uint64_t term, const struct hash *hash, struct block_ref *base)
{
	const struct team *t = arg;
	for (unsigned i = 0; i < VIEWS_MAX; i++)
		if (t->views[i].term == term && hash_equal(&t->views[i].hash, hash)) {
			*base = t->views[i].base;
			return true;
		}
	return false;
}

/* Another NEW-VIEW of our term with another set, if the team has seen enough view changes. */
static bool alter_new_view(struct adversary *a, const struct message *orig,
			   struct msg_new_view *m)
{
	struct team *t = a->team;
	if (m->tc.mode != MODE_PBFT || m->tc.leader != a->self || !m->tc.new_view ||
	    !adversary_does(a, ATTACK_TWO_VIEWS))
		return false;
	const struct new_view *first = m->tc.new_view;
	uint64_t in = 0;
	int spare = -1;
	for (unsigned i = 0; i < first->count; i++)
		in |= UINT64_C(1) << first->vc[i].signer;
	for (unsigned i = 0; i < ctx_of(a)->vals.n; i++)
		if (!(in >> i & 1) && t->has_vc[i] && t->vc[i].term == first->term)
			spare = (int)i;
	if (spare < 0)
		return false;
	struct term_cert other;
	term_cert_copy(&other, &m->tc);
	unsigned victim = (unsigned)random_below(&a->random, other.new_view->count);
	view_change_free(&other.new_view->vc[victim]);
	view_change_copy(&other.new_view->vc[victim], &t->vc[spare]);
	for (unsigned i = 1; i < other.new_view->count; i++)
		for (unsigned k = i;
		     k > 0 && other.new_view->vc[k].signer < other.new_view->vc[k - 1].signer;
		     k--) {
			struct view_change swap = other.new_view->vc[k];
			other.new_view->vc[k] = other.new_view->vc[k - 1];
			other.new_view->vc[k - 1] = swap;
		}
	new_view_sign(other.new_view, ctx_of(a), own_key(a));
	new_view_hash(&other.new_view_hash, other.new_view);
	struct view_lookup look = {.arg = t, .base_of = base_of};
	struct selection s;
	struct block *g = genesis_block(t->config.genesis, ctx_of(a));
	bool good = new_view_check(other.new_view, ctx_of(a), &g->hash, &look, &s, NULL) == 0;
	block_drop(g);
	const struct term_cert *mine = engine_term_cert(a->honest);
	if (good && mine->term == other.term && block_ref_equal(&s.base, &mine->base)) {
		a->second_view = other.new_view_hash;
		a->second_view_term = other.term;
		a->attacks |= ATTACK_BIT(ATTACK_EQUIVOCATE); /* each side gets its blocks */
	}
	struct msg_new_view lie = {.tc = other, .has_final = m->has_final, .final = m->final};
	adversary_pass(a, orig, orig->to & ~a->targets);
	msg_new_view_encode(adversary_emit(a, orig->to & a->targets, orig->class, MSG_NEW_VIEW),
			    &lie);
	if (random_chance(&a->random, 1, 4)) /* and shows both to all */
		msg_new_view_encode(adversary_emit(a, orig->to, orig->class, MSG_NEW_VIEW),
				    &lie);
	term_cert_free(&other);
	adversary_struck(a, ATTACK_TWO_VIEWS);
	return true;
}

/* ---- the rest ---------------------------------------------------------------------------- */

static bool alter_blocks(struct adversary *a, const struct message *orig, struct msg_blocks *m)
{
	if (!adversary_does(a, ATTACK_LIE_FETCH))
		return false;
	m->final_height += random_below(&a->random, 1000);
	if (m->count > 1 && random_chance(&a->random, 1, 2)) { /* a hole */
		block_drop(m->blocks[m->count / 2]);
		memmove(&m->blocks[m->count / 2], &m->blocks[m->count / 2 + 1],
			(m->count - m->count / 2 - 1) * sizeof m->blocks[0]);
		m->count--;
	} else if (m->has_cert) {
		m->cert.ref.height++;
	}
	msg_blocks_encode(adversary_emit(a, orig->to, orig->class, MSG_BLOCKS), m);
	adversary_struck(a, ATTACK_LIE_FETCH);
	return true;
}

static bool alter_heartbeat(struct adversary *a, const struct message *orig,
			    struct msg_heartbeat *m)
{
	if (!adversary_does(a, ATTACK_INFLATE))
		return false;
	adversary_pass(a, orig, orig->to & ~a->targets);
	m->term += random_chance(&a->random, 1, 2) ? random_below(&a->random, 1000) : 1;
	m->final_height += random_below(&a->random, 100);
	msg_heartbeat_encode(
		adversary_emit(a, orig->to & a->targets, orig->class, MSG_HEARTBEAT), m);
	adversary_struck(a, ATTACK_INFLATE);
	return true;
}

/* True: dealt with; nothing of the original is to be sent any more. */
static bool rewrite(struct adversary *a, const struct message *m)
{
	struct message_in *in = a->team->in;
	if (m->type >= CRASH_FORWARD)
		return crash_rewrite(a, m);
	if (message_decode(in, m->bytes))
		return false;
	bool done = false;
	if (adversary_does(a, ATTACK_EQUIVOCATE) && a->diverged &&
	    (in->type == MSG_BLOCKS || in->type == MSG_HEARTBEAT) && m->to & a->targets) {
		/* what would show the other side the first one's chain */
		adversary_pass(a, m, m->to & ~a->targets);
		message_free(in);
		return true;
	}
	if (fork_alter(a, m, in)) {
		message_free(in);
		return true;
	}
	switch (in->type) {
	case MSG_APPEND:
		done = alter_append(a, m, &in->append);
		break;
	case MSG_HEARTBEAT_ACK:
		done = alter_ack(a, m, &in->heartbeat_ack);
		break;
	case MSG_APPENDED:
	case MSG_PREPARE:
	case MSG_COMMIT:
		done = alter_votes(a, m, in);
		break;
	case MSG_VIEW_CHANGE:
		saw_view_change(a->team, &in->view_change.vc);
		done = alter_view_change(a, m, &in->view_change);
		break;
	case MSG_NEW_VIEW:
		done = alter_new_view(a, m, &in->new_view);
		break;
	case MSG_BLOCKS:
		done = alter_blocks(a, m, &in->blocks);
		break;
	case MSG_HEARTBEAT:
		done = alter_heartbeat(a, m, &in->heartbeat);
		break;
	default:
		break;
	}
	message_free(in);
	return done;
}

/* The first of the targets that is honest, or of all. */
static uint64_t victim_of(const struct adversary *a)
{
	uint64_t honest = adversary_everybody(a) & ~a->team->config.members;
	uint64_t among = honest & a->targets ? honest & a->targets : honest;
	return among & -among;
}

void adversary_alter(struct adversary *a, const struct message *m)
{
	if (adversary_does(a, ATTACK_SILENT)) {
		adversary_struck(a, ATTACK_SILENT);
		return;
	}
	if (adversary_does(a, ATTACK_SELECTIVE) && m->to & ~a->targets) {
		adversary_struck(a, ATTACK_SELECTIVE);
		adversary_pass(a, m, a->targets);
		return;
	}
	if (adversary_does(a, ATTACK_ECLIPSE) && m->to & victim_of(a) &&
	    m->type != MSG_HEARTBEAT && m->type != MSG_HEARTBEAT_ACK &&
	    m->type != RAFT_HEARTBEAT && m->type != PAXOS_HEARTBEAT) {
		adversary_struck(a, ATTACK_ECLIPSE);
		adversary_pass(a, m, m->to & ~victim_of(a));
		return;
	}
	if (adversary_does(a, ATTACK_DRIP) &&
	    (m->type == MSG_APPEND || m->type == RAFT_APPEND || m->type == PAXOS_ACCEPT)) {
		adversary_struck(a, ATTACK_DRIP);
		adversary_hold(a, m, random_between(&a->random, 150000, 280000));
		return;
	}
	if (adversary_does(a, ATTACK_RACE) && m->type == MSG_PRE_VOTE_REQUEST)
		adversary_struck(a, ATTACK_RACE);
	bool late = adversary_does(a, ATTACK_SLOW) ||
		    (adversary_does(a, ATTACK_HOARD) &&
		     (m->type == MSG_PRE_VOTE || m->type == MSG_REFUSAL ||
		      m->type == MSG_TERM_VOTE));
	if (late) {
		adversary_struck(a,
				 adversary_does(a, ATTACK_SLOW) ? ATTACK_SLOW : ATTACK_HOARD);
		adversary_hold(
			a, m,
			random_between(&a->random, 1000,
				       adversary_does(a, ATTACK_SLOW) ? 400000 : 5000000));
		return;
	}
	if ((a->attacks || a->team->fork_side) && rewrite(a, m))
		return;
	adversary_pass(a, m, m->to);
}

static void shout(struct adversary *a)
{
	struct engine_status s;
	engine_status(a->honest, &s);
	if (s.leader == NO_VALIDATOR || s.leader == a->self)
		return;
	struct suspicion x = {.term = s.term,
			      .leader = s.leader,
			      .reason = REASON_SIGNATURE +
					(enum escalation_reason)random_below(&a->random, 3),
			      .signer = (uint16_t)a->self};
	suspicion_sign(&x, ctx_of(a), own_key(a));
	msg_suspicion_encode(
		adversary_emit(a, adversary_everybody(a), CLASS_URGENT, MSG_SUSPICION), &x);
	adversary_struck(a, ATTACK_SHOUT);
}

static void false_evidence(struct adversary *a)
{
	struct team *t = a->team;
	if (t->evidence.len && random_chance(&a->random, 1, 2)) {
		msg_evidence_encode(
			adversary_emit(a, adversary_everybody(a), CLASS_URGENT, MSG_EVIDENCE),
			writer_slice(&t->evidence));
		adversary_struck(a, ATTACK_EVIDENCE);
		return;
	}
	/* two honest votes that are no contradiction, and one that nobody signed */
	struct vote *x = &t->votes[random_below(&a->random, SEEN_MAX)];
	if (!x->kind)
		return;
	struct vote y = *x;
	y.ref.hash.b[0] ^= 1;
	struct writer bytes = {0}, encoded = {0};
	struct evidence ev;
	if (evidence_of_votes(&ev, &bytes, x, &y)) {
		evidence_encode(&encoded, &ev);
		msg_evidence_encode(
			adversary_emit(a, adversary_everybody(a), CLASS_URGENT, MSG_EVIDENCE),
			writer_slice(&encoded));
		adversary_struck(a, ATTACK_EVIDENCE);
	}
	writer_free(&bytes);
	writer_free(&encoded);
}

static void garbage(struct adversary *a)
{
	size_t len = random_chance(&a->random, 1, 8) ? 60000 : random_below(&a->random, 400);
	uint8_t type = (uint8_t)random_below(&a->random, MESSAGE_TYPES + 2);
	struct writer *w = adversary_emit(a, adversary_everybody(a), CLASS_CONSENSUS, type);
	writer_u8(w, type);
	for (size_t i = 0; i < len; i++)
		writer_u8(w, (uint8_t)random_u64(&a->random));
	adversary_struck(a, ATTACK_GARBAGE);
}

static void replay(struct adversary *a)
{
	const struct held *h = &a->old[random_below(&a->random, OLD_MAX)];
	if (!h->due)
		return;
	struct writer *w = adversary_emit(a, adversary_everybody(a), h->class, h->type);
	writer_raw(w, h->bytes.buf, h->bytes.len);
	adversary_struck(a, ATTACK_REPLAY);
}

void adversary_add(struct adversary *a, bool tick)
{
	if (!a->attacks || adversary_does(a, ATTACK_SILENT))
		return;
	fork_add(a);
	(void)tick;
	if (a->now < a->shouted_at)
		return;
	a->shouted_at = a->now + 5000 + random_below(&a->random, 50000);
	if (adversary_does(a, ATTACK_SHOUT))
		shout(a);
	if (adversary_does(a, ATTACK_EVIDENCE))
		false_evidence(a);
	if (adversary_does(a, ATTACK_GARBAGE))
		garbage(a);
	if (adversary_does(a, ATTACK_REPLAY))
		replay(a);
	if (adversary_does(a, ATTACK_FRAME))
		frame_try(a);
}
