/* New views: collecting valid view changes, making a NEW-VIEW as primary, checking and keeping
 * those of others. */
#include "consensus/hybrid/hybrid.h"

/* ---- what is known besides the bytes ------------------------------------------------------
 */

const struct term_cert *views_find(const struct hybrid *h, uint64_t term,
				   const struct hash *hash)
{
	for (unsigned i = 0; i < h->views_made; i++)
		if (h->views[i].new_view && h->views[i].term == term &&
		    hash_equal(&h->views[i].new_view_hash, hash))
			return &h->views[i];
	const struct term_cert *known[] = {&h->tc, &h->tip_tc, &h->spare_tc};
	for (unsigned i = 0; i < MEM_COUNT(known); i++)
		if (known[i]->new_view && known[i]->term == term &&
		    hash_equal(&known[i]->new_view_hash, hash))
			return known[i];
	return NULL;
}

static bool is_kept(const struct hybrid *h, const struct term_cert *tc)
{
	const struct term_cert *found = views_find(h, tc->term, &tc->new_view_hash);
	return found >= h->views && found < h->views + h->views_made;
}

/* What it takes in memory, about. */
static size_t view_bytes(const struct term_cert *tc)
{
	size_t bytes = 0;
	for (unsigned i = 0; tc->new_view && i < tc->new_view->count; i++)
		bytes +=
			sizeof tc->new_view->vc[i] + tc->new_view->vc[i].position.header_count *
							     sizeof(struct signed_header);
	return bytes;
}

/* Room for as much more: those of the lowest terms go, of equals the largest. */
static void views_trim(struct hybrid *h, size_t more)
{
	size_t total = more;
	for (unsigned i = 0; i < h->views_made; i++)
		total += view_bytes(&h->views[i]);
	while (total > VIEWS_BYTES_MAX) {
		struct term_cert *out = NULL;
		for (unsigned i = 0; i < h->views_made; i++) {
			struct term_cert *v = &h->views[i];
			if (!v->new_view || h->view_needed[i])
				continue;
			if (!out || v->term < out->term ||
			    (v->term == out->term && view_bytes(v) > view_bytes(out)))
				out = v;
		}
		if (!out)
			return;
		total -= view_bytes(out);
		term_cert_free(out);
		term_cert_init(out);
	}
}

unsigned views_of_term(const struct hybrid *h, uint64_t term)
{
	unsigned count = 0;
	for (unsigned i = 0; i < h->views_made; i++)
		count += h->views[i].new_view && h->views[i].term == term;
	return count;
}

void views_keep(struct hybrid *h, const struct term_cert *tc)
{
	if (!tc->new_view || is_kept(h, tc))
		return;
	views_trim(h, view_bytes(tc));
	struct term_cert *slot = NULL; /* a free one, or the oldest that is not needed */
	for (unsigned i = 0; i < h->views_made; i++) {
		struct term_cert *v = &h->views[i];
		if (!v->new_view) {
			slot = v;
			break;
		}
		if (!h->view_needed[i] && (!slot || v->term < slot->term))
			slot = v;
	}
	if ((!slot || slot->new_view) && h->views_made < VIEWS_KEPT) {
		slot = &h->views[h->views_made++];
		term_cert_init(slot);
	}
	if (!slot)
		return;
	struct term_cert copy;
	term_cert_copy(&copy, tc);
	term_cert_free(slot);
	*slot = copy;
}

/* Marks what checking this NEW-VIEW takes: those of the tips that show no certificate. */
static void mark_needed(struct hybrid *h, const struct term_cert *tc, bool *needed)
{
	if (!tc->new_view)
		return;
	for (unsigned i = 0; i < tc->new_view->count; i++) {
		const struct position *p = &tc->new_view->vc[i].position;
		if (p->tip.term == 0 || p->tc.mode != MODE_PBFT || p->has_checkpoint ||
		    position_qc(p))
			continue;
		for (unsigned k = 0; k < h->views_made; k++) {
			struct term_cert *v = &h->views[k];
			if (needed[k] || !v->new_view || v->term != p->tc.term ||
			    !hash_equal(&v->new_view_hash, &p->tc.new_view_hash))
				continue;
			needed[k] = true;
			mark_needed(h, v, needed); /* of a lower term: this ends */
		}
	}
}

/* Whoever shows a certificate can also show, after any crash, what checking it takes. */
void views_mark(struct hybrid *h)
{
	bool needed[VIEWS_KEPT] = {false};
	if (MUTANT(MUTANT_DROP_VIEWS))
		return;
	mark_needed(h, &h->tc, needed);
	mark_needed(h, &h->tip_tc, needed);
	bool news = false;
	for (unsigned i = 0; i < h->views_made; i++)
		news |= needed[i] && !h->view_needed[i];
	memcpy(h->view_needed, needed, sizeof needed);
	if (news)
		h->dirty[SLOT_VIEWS] = true;
}

static bool base_of(void *arg, uint64_t term, const struct hash *new_view,
		    struct block_ref *base)
{
	const struct term_cert *tc = views_find(arg, term, new_view);
	if (tc)
		*base = tc->base;
	return tc != NULL;
}

static bool parent_of(void *arg, const struct block_ref *block, struct block_ref *parent)
{
	struct hybrid *h = arg;
	const struct log_entry *e = log_find(&h->log, &block->hash);
	if (e) {
		*parent = e->parent ? block_ref_of(e->parent->block) : final_ref(h);
		return true;
	}
	if (block->height == 0 || log_is_final(&h->log, block) != 1)
		return false;
	const struct log_header *p = log_final_header(&h->log, block->height - 1);
	if (p)
		*parent = (struct block_ref){p->sh.h.term, p->sh.h.height, p->hash};
	return p != NULL;
}

static bool is_checked(void *arg, const struct signed_header *sh, const struct hash *hash)
{
	struct hybrid *h = arg;
	const struct log_entry *e = log_find(&h->log, hash);
	const struct log_header *f = e ? NULL : log_final_header(&h->log, sh->h.height);
	const struct signed_header *known = e ? &e->block->sh : f ? &f->sh : NULL;
	bool checked = known && (e || hash_equal(&f->hash, hash)) &&
		       memcmp(&known->sig, &sh->sig, sizeof sh->sig) == 0;
	h->header_checks += !checked;
	return checked;
}

const struct view_lookup *view_lookup_of(struct hybrid *h, struct view_lookup *out)
{
	*out = (struct view_lookup){
		.arg = h, .base_of = base_of, .parent_of = parent_of, .is_checked = is_checked};
	return out;
}

/* ---- fetching ---------------------------------------------------------------------------- */

/* Every peer that may have it is asked, each in its own slots: none can keep us from asking the
 * others by what it says or does not answer. */
void fetch_view(struct hybrid *h, unsigned peer, uint64_t term, const struct hash *hash)
{
	struct view_wanted *slots = h->wanted[peer], *slot = slots;
	for (unsigned i = 0; i < VIEWS_WANTED; i++) {
		if (slots[i].term == term && hash_equal(&slots[i].hash, hash)) {
			slot = &slots[i];
			if (h->now < slot->asked_at + h->timing.heartbeat)
				return;
			break;
		}
		if (slots[i].asked_at < slot->asked_at)
			slot = &slots[i];
	}
	*slot = (struct view_wanted){.term = term, .asked_at = h->now, .hash = *hash};
	struct msg_fetch_view m = {.term = term, .hash = *hash};
	msg_fetch_view_encode(
		emit_message(&h->out, UINT64_C(1) << peer, CLASS_CONSENSUS, MSG_FETCH_VIEW),
		&m);
}

static bool is_wanted(const struct hybrid *h, unsigned from, uint64_t term,
		      const struct hash *hash)
{
	for (unsigned i = 0; i < VIEWS_WANTED; i++)
		if (h->wanted[from][i].term == term &&
		    hash_equal(&h->wanted[from][i].hash, hash))
			return true;
	return false;
}

void need_missing(struct hybrid *h, unsigned peer, const struct missing *missing)
{
	if (peer == h->self)
		fetch_from_anybody(h);
	else if (missing->kind == MISSING_NEW_VIEW)
		fetch_view(h, peer, missing->term, &missing->hash);
	else
		fetch_chain_from(h, peer, &missing->hash);
}

static size_t send_tc(struct hybrid *h, unsigned to, const struct term_cert *tc)
{
	struct msg_new_view m = {.tc = *tc}; /* lent */
	m.has_final = h->final_cert.kind != 0;
	if (m.has_final)
		m.final = h->final_cert;
	struct writer *w =
		emit_message(&h->out, UINT64_C(1) << to, CLASS_CONSENSUS, MSG_NEW_VIEW);
	msg_new_view_encode(w, &m);
	return w->len;
}

void answer_with_tc(struct hybrid *h, unsigned to)
{
	if (h->tc.term > h->ctx->start_term)
		send_tc(h, to, &h->tc);
}

#define VIEW_SERVED_LEAST (64u << 10) /* looking for it costs too */
void on_fetch_view(struct hybrid *h, unsigned from, const struct msg_fetch_view *m)
{
	const struct term_cert *tc = views_find(h, m->term, &m->hash);
	if (!tc || h->view_paid[from] > h->now + h->timing.heartbeat)
		return; /* 41 bytes ask for up to 8 MiB */
	pay_for_bytes(h, &h->view_paid[from], send_tc(h, from, tc) + VIEW_SERVED_LEAST);
}

/* ---- checking those of others -------------------------------------------------------------
 */

static void count_selection(struct hybrid *h, const struct selection *s)
{
	switch (s->from) {
	case SELECT_FROM_QC:
		h->counters[COUNT_SELECT_QC]++;
		break;
	case SELECT_FROM_CHECKPOINT:
		h->counters[COUNT_SELECT_CHECKPOINT]++;
		break;
	case SELECT_GENESIS:
	case SELECT_FROM_TC:
		h->counters[COUNT_SELECT_TC]++;
		break;
	case SELECT_FROM_ANCESTOR:
		h->counters[COUNT_SELECT_ANCESTOR]++;
		break;
	}
	h->counters[COUNT_SELECT_CONFLICT] += s->conflict;
	h->counters[COUNT_SELECT_WALKED] += s->walked > 0;
}

static void accuse_of_new_view(struct hybrid *h, const struct new_view *nv)
{
	struct writer bytes = {0};
	struct evidence ev;
	if (nv->signer < h->n && !is_jailed(h, nv->signer) && !new_view_check_sig(nv, h->ctx) &&
	    evidence_of_new_view(&ev, &bytes, nv))
		take_proof(h, &ev); /* only what is invalid by its bytes is a proof */
	writer_free(&bytes);
}

/* Checks a NEW-VIEW in full form; remembers it. */
static bool check_new_view(struct hybrid *h, unsigned from, struct term_cert *tc)
{
	const struct term_cert *known = views_find(h, tc->term, &tc->new_view_hash);
	if (known) {
		tc->base = known->base;
		tc->leader = known->leader;
		return true;
	}
	struct view_lookup look;
	struct missing missing = {0};
	struct selection s = {0};
	int err = new_view_check(tc->new_view, h->ctx, &h->genesis_hash,
				 view_lookup_of(h, &look), &s, &missing);
	if (err == ERR_NOT_FOUND) {
		need_missing(h, from, &missing);
		return false;
	}
	if (err) {
		h->counters[COUNT_NEW_VIEW_INVALID]++;
		accuse_of_new_view(h, tc->new_view);
		return false;
	}
	tc->base = s.base;
	tc->leader = tc->new_view->signer;
	count_selection(h, &s);
	views_keep(h, tc);
	return true;
}

/* A primary may not sign two NEW-VIEWs of one term. */
static void accuse_primary(struct hybrid *h, const struct term_cert *tc)
{
	for (unsigned i = 0; i < h->views_made; i++) {
		const struct term_cert *other = &h->views[i];
		if (!other->new_view || other->term != tc->term ||
		    hash_equal(&other->new_view_hash, &tc->new_view_hash))
			continue;
		struct writer bytes = {0};
		struct evidence ev;
		if (evidence_of_new_views(&ev, &bytes, other->new_view, tc->new_view))
			take_proof(h, &ev);
		writer_free(&bytes);
		return;
	}
}

/* Two of one term are proof enough against their primary: no third one is kept. */
static bool is_second_view(const struct hybrid *h, const struct term_cert *tc)
{
	return tc->term == h->tc.term && views_of_term(h, tc->term) < 2;
}

void on_new_view(struct hybrid *h, unsigned from, struct msg_new_view *m)
{
	struct term_cert *tc = &m->tc;
	if (tc->mode == MODE_FAST) {
		learn_tc(h, from, tc);
	} else if (h->quorum.f && (tc->term > h->tc.term || is_second_view(h, tc) ||
				   is_wanted(h, from, tc->term, &tc->new_view_hash))) {
		if (check_new_view(h, from, tc)) {
			h->new_view_tried = false;
			accuse_primary(h, tc);
			take_tc(h, tc);
		}
	}
	if (m->has_final)
		take_cert(h, &m->final);
}

/* ---- collecting -------------------------------------------------------------------------- */

/* The shown chain is executed here; or final blocks of ours rule it out: then it will not be
 * selected [S3], and its bodies do not matter. */
static bool bodies_hold(struct hybrid *h, const struct view_change *vc)
{
	const struct position *p = &vc->position;
	uint64_t final = h->log.final->sh.h.height;
	if (p->tip.height <= final)
		return true;
	const struct log_entry *e = log_find(&h->log, &p->tip.hash);
	if (e)
		return e->executed;
	/* the shown header right above our final block has another parent? */
	uint64_t depth = p->tip.height - final;
	if (depth > p->header_count)
		return false;
	return !hash_equal(&p->headers[depth - 1].h.prev, &h->log.final->hash);
}

static void accuse_statement(struct hybrid *h, const struct view_change *vc)
{
	struct writer bytes = {0};
	struct evidence ev;
	if (evidence_of_view_change(&ev, &bytes, vc))
		take_proof(h, &ev); /* only what is invalid by its bytes is a proof */
	writer_free(&bytes);
}

/* Position, certificates, signatures. */
static void check_view(struct hybrid *h, unsigned i)
{
	struct view_slot *v = &h->view[i];
	if (v->checked_at && h->now < v->checked_at + h->timing.heartbeat / 4)
		return;
	v->checked_at = h->now;
	struct view_lookup look;
	struct missing missing = {0};
	int err = view_change_check(&v->vc, h->ctx, &h->genesis_hash, view_lookup_of(h, &look),
				    &missing);
	if (err == ERR_NOT_FOUND) {
		need_missing(h, i, &missing);
	} else if (err) {
		v->state = VIEW_INVALID;
		h->counters[COUNT_VIEW_CHANGE_INVALID]++;
		if (i != h->self)
			accuse_statement(h, &v->vc);
	} else {
		v->state = VIEW_CHECKED;
	}
}

/* Ahead of our clock by more than a primary lets pass, and under no QC. */
static bool is_from_the_future(const struct hybrid *h, const struct view_change *vc,
			       const struct log_entry *e)
{
	const struct cert *qc = position_qc(&vc->position);
	return e->block->sh.h.time_ms > h->wall_ms + SHOWN_TIME_AHEAD * BLOCK_TIME_AHEAD_MS &&
	       (!qc || qc->ref.height < e->block->sh.h.height);
}

/* Nobody votes for a block whose mode entries break its term's rules; but its leader could show
 * it as a tip, and then it would become final as an ancestor. What a QC covers, a quorum has
 * judged. */
static bool shown_rules_hold(struct hybrid *h, unsigned i, struct view_slot *v,
			     struct log_entry *e)
{
	const struct cert *qc = position_qc(&v->vc.position);
	struct log_entry *at;
	enum rules r = mode_rules(h, e, v->vc.position.tip.term, &at);
	if (r == RULES_HOLD || (qc && qc->ref.height >= at->block->sh.h.height))
		return true;
	if (r == RULES_BROKEN) {
		v->state = VIEW_INVALID;
		h->counters[COUNT_VIEW_CHANGE_INVALID]++;
	} else {
		fetch_view(h, i == h->self ? primary_of(at->block->sh.h.term, h->n) : i,
			   at->block->sh.h.term, &at->block->sh.h.new_view);
	}
	return false;
}

static void check_bodies(struct hybrid *h, unsigned i)
{
	struct view_slot *v = &h->view[i];
	struct log_entry *e = log_find(&h->log, &v->vc.position.tip.hash);
	if (e && e->invalid) {
		v->state = VIEW_INVALID; /* in our state: not valid here, not treason either */
		h->counters[COUNT_VIEW_CHANGE_INVALID]++;
	} else if (e && e->executed && i != h->self && is_from_the_future(h, &v->vc, e)) {
		return; /* no correct replica has voted for it, and none could for a child of it
			 */
	} else if (e && e->executed && !shown_rules_hold(h, i, v, e)) {
		return; /* invalid, or its NEW-VIEW is asked for */
	} else if (bodies_hold(h, &v->vc)) {
		v->state = VIEW_VALID;
		h->new_view_tried = false;
	} else if (!e) {
		if (i == h->self)
			fetch_from_anybody(h);
		else
			fetch_chain_from(h, i, &v->vc.position.tip.hash);
	}
}

/* Only who may need them: the primary of our term. */
void validate_views(struct hybrid *h)
{
	if (h->term <= h->tc.term || primary_of(h->term, h->n) != h->self)
		return;
	for (unsigned i = 0; i < h->n; i++) {
		if (h->view[i].state == VIEW_NONE || h->view[i].vc.term != h->term)
			continue;
		if (h->view[i].state == VIEW_WAITING)
			check_view(h, i);
		if (h->view[i].state == VIEW_CHECKED)
			check_bodies(h, i);
	}
}

/* ---- making ------------------------------------------------------------------------------ */

/* Exactly qv valid ones for our term, without those left out, ascending: the smallest ones, for
 * a NEW-VIEW has to fit in a message, and those of the honest are small. */
static unsigned choose(struct hybrid *h, uint64_t left_out, const struct view_change **set)
{
	unsigned wanted = h->quorum.qv - MUTANT(MUTANT_SMALL_VIEW), valid = 0, count = 0;
	uint64_t taken = 0;
	for (unsigned i = 0; i < h->n; i++)
		if (h->view[i].state == VIEW_VALID && h->view[i].vc.term == h->term &&
		    !(left_out >> i & 1)) {
			taken |= UINT64_C(1) << i;
			valid++;
		}
	for (; valid > wanted; valid--) {
		unsigned largest = VALIDATORS_MAX;
		for (unsigned i = 0; i < h->n; i++)
			if (taken >> i & 1 &&
			    (largest == VALIDATORS_MAX ||
			     h->view[i].vc.position.header_count >=
				     h->view[largest].vc.position.header_count))
				largest = i;
		taken &= ~(UINT64_C(1) << largest);
	}
	for (unsigned i = 0; i < h->n; i++)
		if (taken >> i & 1)
			set[count++] = &h->view[i].vc;
	return count;
}

static void lead_new_view(struct hybrid *h, const struct view_change **set, unsigned count,
			  const struct selection *s)
{
	struct term_cert tc;
	term_cert_init(&tc);
	tc.mode = MODE_PBFT;
	tc.term = h->term;
	tc.leader = (uint16_t)h->self;
	tc.base = s->base;
	tc.new_view = mem_zalloc(sizeof *tc.new_view);
	tc.new_view->term = h->term;
	tc.new_view->signer = (uint16_t)h->self;
	tc.new_view->count = count;
	tc.new_view->vc = mem_array(count, sizeof *tc.new_view->vc);
	for (unsigned i = 0; i < count; i++)
		view_change_copy(&tc.new_view->vc[i], set[i]);
	new_view_sign(tc.new_view, h->ctx, &h->key);
	new_view_hash(&tc.new_view_hash, tc.new_view);
	count_selection(h, s);
	h->counters[COUNT_NEW_VIEWS]++;
	views_keep(h, &tc);
	uint64_t led_before = h->led_before_restart;
	h->new_view_made = h->term;
	bool accepted = take_tc(h, &tc);
	invariant(accepted);
	h->led_before_restart = led_before;
	h->counters[COUNT_RESTARTED_LEADER]--; /* accept_tc() took it for an old one of ours */
	lead_begin(h);
	struct msg_new_view m = {.tc = tc, .has_final = h->final_cert.kind != 0};
	if (m.has_final)
		m.final = h->final_cert;
	msg_new_view_encode(emit_message(&h->out, mask_all(h), CLASS_URGENT, MSG_NEW_VIEW), &m);
	term_cert_free(&tc);
}

void try_new_view(struct hybrid *h)
{
	if (h->term <= h->tc.term || primary_of(h->term, h->n) != h->self ||
	    h->new_view_tried || h->observer)
		return;
	h->new_view_tried = true;
	uint64_t left_out = 0;
	for (unsigned exclusions = 0; exclusions <= h->quorum.f; exclusions++) {
		const struct view_change *set[VALIDATORS_MAX];
		unsigned count = choose(h, left_out, set);
		if (count < h->quorum.qv - MUTANT(MUTANT_SMALL_VIEW))
			return;
		struct view_lookup look;
		struct missing missing = {0};
		struct selection s = {0};
		int err =
			select_base(&s, set, count, h->ctx, view_lookup_of(h, &look), &missing);
		if (!err) {
			lead_new_view(h, set, count, &s);
			return;
		}
		if (err != ERR_CULPRIT) {
			h->new_view_tried = false;
			fetch_from_anybody(h);
			return;
		}
		h->counters[COUNT_SELECT_CULPRIT]++;
		left_out |= UINT64_C(1) << s.leader;
	}
}
