/* The lies: what malicious replicas do to each kind of message, and what they make up. */
#include "sim/adversary_private.h"

static uint64_t everybody(const struct adversary *a)
{
	unsigned n = adversary_ctx(a)->vals.n;
	return n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

/* ---- blocks ------------------------------------------------------------------------------ */

static struct block *resigned(const struct adversary *a, const struct block *b,
			      const struct header *h)
{
	struct signed_header sh = {.h = *h};
	struct block *out;
	signed_header_sign(&sh, adversary_ctx(a), adversary_key(a));
	return block_new(&out, &sh, slice_of(b->body, b->body_size)) ? NULL : out;
}

static const struct twin *twin_of(const struct adversary *a, const struct hash *hash)
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
	const struct twin *parent = twin_of(a, &h.prev);
	bool known = twin_of(a, &b->hash) != NULL;
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
	if (!known && h.height % 7 == 0 && team <= adversary_ctx(a)->quorum.f)
		h.base.b[0] ^= 1;
	a->diverged = true;
	a->diverged_term = h.term;
	struct block *other = resigned(a, b, &h);
	if (other && !known) {
		struct twin *t = &a->twins[a->twins_next++ % TWINS_MAX];
		t->ref = block_ref_of(b);
		t->other = block_ref_of(other);
		team_saw_block(a->team, &t->ref);
		team_saw_block(a->team, &t->other);
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
	signed_header_sign(&sh, adversary_ctx(a), adversary_key(a));
	struct block *out;
	int err = block_new(&out, &sh, writer_slice(&body));
	writer_free(&body);
	mem_free(leaves);
	return err ? NULL : out;
}

static void resign_prepare(struct adversary *a, struct msg_append *m, const struct block *b)
{
	if (!m->has_prepare)
		return;
	m->prepare.ref = block_ref_of(b);
	vote_sign(&m->prepare, adversary_ctx(a), adversary_key(a));
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
	const struct twin *parent = twin_of(a, &m->blocks[0]->sh.h.prev);
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
	uint64_t side = a->targets & everybody(a) & ~(UINT64_C(1) << a->self);
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
		adversary_bogus_cert(a, &ref, b->sh.h.mode, &bogus.qc);
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
	vote_sign(v, adversary_ctx(a), adversary_key(a));
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
	vote_sign(v, adversary_ctx(a), adversary_key(a));
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
		team_saw_view_change(a->team, &in->view_change.vc);
		done = view_change_alter(a, m, &in->view_change);
		break;
	case MSG_NEW_VIEW:
		done = new_view_alter(a, m, &in->new_view);
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
	uint64_t honest = everybody(a) & ~a->team->config.members;
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
	suspicion_sign(&x, adversary_ctx(a), adversary_key(a));
	msg_suspicion_encode(adversary_emit(a, everybody(a), CLASS_URGENT, MSG_SUSPICION), &x);
	adversary_struck(a, ATTACK_SHOUT);
}

/* Naming an accomplice, or anybody, also itself, and validators that there are not; to all or
 * to some. */
static void resign_in_vain(struct adversary *a)
{
	struct engine_status s;
	unsigned n = adversary_ctx(a)->vals.n;
	engine_status(a->honest, &s);
	if (s.leader != a->self || !random_chance(&a->random, 1, 4))
		return;
	unsigned successor = (unsigned)random_below(&a->random, n + 1);
	if (random_chance(&a->random, 1, 2))
		do
			successor = (successor + 1) % n;
		while (!(a->team->config.members >> successor & 1));
	uint64_t to = everybody(a);
	if (random_chance(&a->random, 1, 2))
		to &= a->targets;
	struct msg_resign m = {.term = s.term, .successor = (uint16_t)successor};
	msg_resign_encode(adversary_emit(a, to, CLASS_CONSENSUS, MSG_RESIGN), &m);
	adversary_struck(a, ATTACK_RESIGN);
}

static void false_evidence(struct adversary *a)
{
	struct team *t = a->team;
	if (t->evidence.len && random_chance(&a->random, 1, 2)) {
		msg_evidence_encode(adversary_emit(a, everybody(a), CLASS_URGENT, MSG_EVIDENCE),
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
		msg_evidence_encode(adversary_emit(a, everybody(a), CLASS_URGENT, MSG_EVIDENCE),
				    writer_slice(&encoded));
		adversary_struck(a, ATTACK_EVIDENCE);
	}
	writer_free(&bytes);
	writer_free(&encoded);
}

static void garbage(struct adversary *a)
{
	size_t len = random_chance(&a->random, 1, 8) ? 60000 : random_below(&a->random, 400);
	uint8_t type = (uint8_t)random_below(&a->random, MSG_FINAL + 1);
	if (type > MSG_FETCH_VIEW)
		type = (uint8_t)(type + 40); /* of none, as ever */
	struct writer *w = adversary_emit(a, everybody(a), CLASS_CONSENSUS, type);
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
	struct writer *w = adversary_emit(a, everybody(a), h->class, h->type);
	writer_raw(w, h->bytes.buf, h->bytes.len);
	adversary_struck(a, ATTACK_REPLAY);
}

void adversary_add(struct adversary *a)
{
	if (!a->attacks || adversary_does(a, ATTACK_SILENT))
		return;
	fork_add(a);
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
	if (adversary_does(a, ATTACK_RESIGN))
		resign_in_vain(a);
}
