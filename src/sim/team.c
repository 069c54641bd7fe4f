/* What malicious replicas have in common: their orders, what they hear, and certificates. */
#include "sim/adversary_private.h"

struct team *team_new(const struct team_config *config)
{
	struct team *t = mem_zalloc(sizeof *t);
	t->config = *config;
	t->active = true;
	if (config->targets == TARGETS_HALF) {
		t->config.targets = 0;
		for (unsigned i = 0, k = 0; i < config->ctx->vals.n; i++)
			if (!(config->members >> i & 1) && k++ % 2 == 0)
				t->config.targets |= UINT64_C(1) << i;
	}
	if (config->targets == TARGETS_ONE_HONEST) {
		uint64_t honest = ~config->members;
		t->config.targets = honest & -honest;
	}
	random_seed(&t->random, config->seed ^ UINT64_C(0xadebee));
	random_seed(&t->lies, config->seed ^ UINT64_C(0x5c11e));
	t->in = mem_zalloc(sizeof *t->in);
	return t;
}

void team_free(struct team *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		view_change_free(&t->vc[i]);
	writer_free(&t->evidence);
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		for (unsigned slot = 0; slot < VOTE_SLOTS; slot++)
			writer_free(&t->slot[i][slot]);
	frame_free(t);
	mem_free(t->in);
	mem_free(t);
}

const uint64_t *team_strikes(const struct team *t)
{
	return t->strikes;
}

void team_set_attacks(struct team *t, uint64_t attacks)
{
	t->config.attacks = attacks;
	t->config.random = false;
	t->config.from_height = 0;
	t->active = attacks != 0;
	t->orders++;
}

/* ---- what they hear ---------------------------------------------------------------------- */

void team_saw_block(struct team *t, const struct block_ref *ref)
{
	for (unsigned i = 0; i < SEEN_MAX; i++)
		if (block_ref_equal(&t->seen[i], ref))
			return;
	t->seen[t->seen_next++ % SEEN_MAX] = *ref;
}

static void saw_vote(struct team *t, const struct vote *v)
{
	team_saw_block(t, &v->ref);
	for (unsigned i = 0; i < SEEN_MAX; i++)
		if (t->votes[i].kind == v->kind && t->votes[i].signer == v->signer &&
		    block_ref_equal(&t->votes[i].ref, &v->ref))
			return;
	t->votes[t->votes_next++ % SEEN_MAX] = *v;
}

void team_saw_view_change(struct team *t, const struct view_change *vc)
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
	term_vote_sign(&v, adversary_ctx(a), adversary_key(a));
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
			team_saw_block(t, &ref);
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
		team_saw_view_change(t, &m->view_change.vc);
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

/* ---- certificates ------------------------------------------------------------------------ */

bool adversary_gather(struct adversary *a, enum cert_kind kind, const struct block_ref *ref,
		      struct cert *out)
{
	struct team *t = a->team;
	struct tally tally;
	struct hash none = {0};
	tally_init(&tally, cert_vote_kind(kind), ref, &none);
	for (unsigned i = 0; i < adversary_ctx(a)->vals.n; i++) {
		if (!(t->config.members >> i & 1))
			continue;
		struct vote v = {.kind = tally.kind, .ref = *ref, .signer = (uint16_t)i};
		vote_sign(&v, adversary_ctx(a), &t->config.key[i]);
		tally_add(&tally, &v);
	}
	for (unsigned i = 0; i < SEEN_MAX; i++)
		if (t->votes[i].kind == tally.kind && block_ref_equal(&t->votes[i].ref, ref) &&
		    vote_check(&t->votes[i], adversary_ctx(a)) == ERR_NONE)
			tally_add(&tally, &t->votes[i]);
	if (tally.count < cert_quorum(kind, &adversary_ctx(a)->quorum))
		return false;
	tally_cert(&tally, kind, out);
	return true;
}

void adversary_bogus_cert(struct adversary *a, const struct block_ref *ref, enum mode mode,
			  struct cert *out)
{
	*out = (struct cert){.kind = mode == MODE_FAST ? CERT_QC_FAST : CERT_QC_PBFT,
			     .ref = *ref};
	for (unsigned i = 0; i < adversary_ctx(a)->quorum.q; i++) {
		out->signers |= UINT64_C(1) << i;
		memset(&out->sig[out->count++], (int)random_below(&a->random, 256),
		       sizeof out->sig[0]);
	}
}
