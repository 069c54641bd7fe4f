/* Framing: everything that honest replicas have signed, taken two by two, as evidence against
 * them. evidence_check() must find nothing in it. If it does, the victim is accused before all.
 */
#include "sim/adversary_private.h"

struct keepsakes {
	struct vote vote[SIGNED_MAX];
	struct term_vote term_vote[SIGNED_MAX];
	struct signed_header header[SIGNED_MAX];
	struct view_change vc[SIGNED_MAX];
	struct new_view nv[SIGNED_MAX];
	unsigned votes, term_votes, headers, vcs, nvs; /* ever kept */
};

void frame_free(struct team *t)
{
	struct keepsakes *k = t->keepsakes;
	for (unsigned i = 0; k && i < SIGNED_MAX; i++) {
		if (i < k->vcs)
			view_change_free(&k->vc[i]);
		if (i < k->nvs)
			new_view_free(&k->nv[i]);
	}
	mem_free(k);
}

static void keep_vote(struct keepsakes *k, bool has, const struct vote *v)
{
	if (has)
		k->vote[k->votes++ % SIGNED_MAX] = *v;
}

static void keep_header(struct keepsakes *k, const struct signed_header *sh)
{
	k->header[k->headers++ % SIGNED_MAX] = *sh;
}

static void keep_view_change(struct keepsakes *k, const struct view_change *vc)
{
	struct view_change *slot = &k->vc[k->vcs % SIGNED_MAX];
	if (k->vcs >= SIGNED_MAX)
		view_change_free(slot);
	view_change_copy(slot, vc);
	k->vcs++;
	for (uint32_t i = 0; i < vc->position.header_count && i < 4; i++)
		keep_header(k, &vc->position.headers[i]);
}

static void keep_new_view(struct keepsakes *k, const struct new_view *nv)
{
	struct new_view *slot = &k->nv[k->nvs % SIGNED_MAX];
	if (k->nvs >= SIGNED_MAX)
		new_view_free(slot);
	new_view_copy(slot, nv);
	k->nvs++;
	for (unsigned i = 0; i < nv->count; i++)
		keep_view_change(k, &nv->vc[i]);
}

void frame_keep(struct team *t, const struct message_in *m)
{
	if (!t->keepsakes)
		t->keepsakes = mem_zalloc(sizeof *t->keepsakes);
	struct keepsakes *k = t->keepsakes;
	switch (m->type) {
	case MSG_APPEND:
		for (uint32_t i = 0; i < m->append.count; i++)
			keep_header(k, &m->append.blocks[i]->sh);
		keep_vote(k, m->append.has_prepare, &m->append.prepare);
		break;
	case MSG_BLOCKS:
		for (uint32_t i = 0; i < m->blocks.count && i < 8; i++)
			keep_header(k, &m->blocks.blocks[i]->sh);
		break;
	case MSG_APPENDED:
		keep_vote(k, m->appended.has_prepare, &m->appended.prepare);
		keep_vote(k, m->appended.has_commit, &m->appended.commit);
		break;
	case MSG_HEARTBEAT_ACK:
		keep_vote(k, m->heartbeat_ack.has_prepare, &m->heartbeat_ack.prepare);
		keep_vote(k, m->heartbeat_ack.has_commit, &m->heartbeat_ack.commit);
		break;
	case MSG_PREPARE:
		keep_vote(k, true, &m->prepare);
		break;
	case MSG_COMMIT:
		keep_vote(k, true, &m->commit.commit);
		break;
	case MSG_TERM_VOTE:
		k->term_vote[k->term_votes++ % SIGNED_MAX] = m->term_vote;
		break;
	case MSG_VIEW_CHANGE:
		keep_view_change(k, &m->view_change.vc);
		break;
	case MSG_NEW_VIEW:
		if (m->new_view.tc.new_view)
			keep_new_view(k, m->new_view.tc.new_view);
		break;
	default:
		break;
	}
}

/* One of those kept, by chance; NULL if there are none. */
#define PICK(a, array, count)                                                                  \
	((count) ? &(array)[random_below(&(a)->random,                                         \
					 (count) < SIGNED_MAX ? (count) : SIGNED_MAX)]         \
		 : NULL)

static bool pair_up(struct adversary *a, struct evidence *ev, struct writer *bytes)
{
	struct keepsakes *k = a->team->keepsakes;
	const struct vote *v = PICK(a, k->vote, k->votes), *w = PICK(a, k->vote, k->votes);
	const struct term_vote *t = PICK(a, k->term_vote, k->term_votes),
			       *u = PICK(a, k->term_vote, k->term_votes);
	const struct signed_header *h = PICK(a, k->header, k->headers),
				   *i = PICK(a, k->header, k->headers);
	const struct view_change *c = PICK(a, k->vc, k->vcs), *d = PICK(a, k->vc, k->vcs);
	const struct new_view *n = PICK(a, k->nv, k->nvs), *m = PICK(a, k->nv, k->nvs);
	switch (random_below(&a->random, 9)) {
	case 0:
		return v && evidence_of_votes(ev, bytes, v, w);
	case 1:
		return h && evidence_of_headers(ev, bytes, h, i);
	case 2:
		return t && evidence_of_term_votes(ev, bytes, t, u);
	case 3:
		return c && evidence_of_view_changes(ev, bytes, c, d);
	case 4:
		return t && c && evidence_of_both(ev, bytes, t, c);
	case 5:
		return n && evidence_of_new_views(ev, bytes, n, m);
	case 6:
		return t && v && evidence_of_low_base(ev, bytes, t, v);
	case 7:
		return c && evidence_of_view_change(ev, bytes, c);
	default:
		return c && v && evidence_of_hidden_vote(ev, bytes, c, v);
	}
}

#define TRIES 12

void frame_try(struct adversary *a)
{
	struct team *t = a->team;
	if (!t->keepsakes)
		return;
	for (unsigned i = 0; i < TRIES; i++) {
		struct writer bytes = {0}, encoded = {0};
		struct evidence ev;
		adversary_struck(a, ATTACK_FRAME);
		/* against its own kind it would be no framing */
		if (pair_up(a, &ev, &bytes) && ev.culprit < VALIDATORS_MAX &&
		    !(t->config.members >> ev.culprit & 1) &&
		    evidence_check(&ev, t->config.ctx, NULL) == ERR_NONE) {
			evidence_encode(&encoded, &ev);
			msg_evidence_encode(
				adversary_emit(a, UINT64_MAX >> (64 - t->config.ctx->vals.n),
					       CLASS_URGENT, MSG_EVIDENCE),
				writer_slice(&encoded));
		}
		writer_free(&bytes);
		writer_free(&encoded);
	}
}
