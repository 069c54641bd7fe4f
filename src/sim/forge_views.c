/* Lies in view changes and new views. */
#include "sim/adversary_private.h"

static void genesis_position(const struct adversary *a, struct position *p)
{
	struct block *g = genesis_block(a->team->config.genesis, adversary_ctx(a));
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
	view_change_sign(&m.vc, adversary_ctx(a), adversary_key(a));
	msg_view_change_encode(adversary_emit(a, to, CLASS_URGENT, MSG_VIEW_CHANGE), &m);
}

bool view_change_alter(struct adversary *a, const struct message *orig,
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
		adversary_bogus_cert(a, &p.tip, p.tc.mode, &p.qc);
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
bool new_view_alter(struct adversary *a, const struct message *orig, struct msg_new_view *m)
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
	for (unsigned i = 0; i < adversary_ctx(a)->vals.n; i++)
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
	new_view_sign(other.new_view, adversary_ctx(a), adversary_key(a));
	new_view_hash(&other.new_view_hash, other.new_view);
	struct view_lookup look = {.arg = t, .base_of = base_of};
	struct selection s;
	struct block *g = genesis_block(t->config.genesis, adversary_ctx(a));
	bool good = new_view_check(other.new_view, adversary_ctx(a), &g->hash, &look, &s,
				   NULL) == 0;
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
