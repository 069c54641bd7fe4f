/* The leader. In either mode: proposes. In fast mode: counts votes, makes certificates.
 * Steady state: APPEND out, APPENDED back, 2(n-1) messages a block (docs/consensus.md, "Fast
 * mode"). */
#include "consensus/hybrid/hybrid.h"

#define GATHER_TXS_MIN	 32 /* so many fill a block well enough */
#define GATHER_BYTES_MIN (32u << 10)
#define GATHER_DIVISOR	 4  /* that part of a heartbeat, at most */
#define RETURN_DIVISOR	 32 /* likewise */

static struct block_tally *tally_at(struct hybrid *h, uint64_t height)
{
	struct block_tally **t = &h->tallies[height % h->tally_cap];
	if (!*t) { /* most of it is room for signatures, which needs no value */
		*t = mem_alloc(sizeof **t);
		memset(*t, 0, offsetof(struct block_tally, prepare));
		memset(&(*t)->prepare, 0, offsetof(struct tally, sig));
		memset(&(*t)->commit, 0, offsetof(struct tally, sig));
	}
	return *t;
}

void lead_free(struct hybrid *h)
{
	for (uint32_t i = 0; i < h->tally_cap; i++)
		mem_free(h->tallies[i]);
	mem_free(h->tallies);
}

/* For the block that its place is of now. */
static void give_up_tally(struct hybrid *h, struct block_tally *t)
{
	if (!t->ref.term)
		return;
	keep_votes_of_tally(h, &t->prepare);
	keep_votes_of_tally(h, &t->commit);
	t->ref.term = 0;
}

void lead_begin(struct hybrid *h)
{
	h->role = ROLE_LEADER;
	for (uint32_t i = 0; i < h->tally_cap; i++)
		if (h->tallies[i])
			give_up_tally(h, h->tallies[i]);
	memset(h->match, 0, sizeof h->match);
	h->tc_acked = 0;
	h->building = false;
	h->lead_first = true;
	h->block_at = h->now;
	h->returning = 0;
	h->cert_news = false;
	h->heartbeat_at = h->now + h->timing.heartbeat;
	for (unsigned i = 0; i < h->n; i++)
		h->stray[i].since = 0;
}

void lead_stop(struct hybrid *h)
{
	h->building = false;
	h->lead_first = false;
	h->cert_news = false;
	h->resigning = false;
}

/* How many, ourselves among them, have answered in this term within `us`. */
static unsigned heard_within(const struct hybrid *h, uint64_t us)
{
	unsigned heard = 1;
	for (unsigned i = 0; i < h->n; i++)
		if (i != h->self && h->heard_in_term[i] && h->now - h->heard_in_term[i] < us)
			heard++;
	return heard;
}

bool quorum_heard(const struct hybrid *h)
{
	return heard_within(h, h->timing.timeout_min) >= h->quorum.q;
}

/* Do enough followers answer for one round? If not, a lone QC need not wait for more votes. */
static bool one_round_likely(const struct hybrid *h)
{
	return heard_within(h, 3 * h->timing.heartbeat) >= one_round_quorum(h);
}

void lead_newest_vote(const struct hybrid *h, unsigned of, struct vote *newest)
{
	for (uint32_t i = 0; i < h->tally_cap; i++) {
		const struct block_tally *t = h->tallies[i];
		if (!t || !t->ref.term)
			continue;
		const struct tally *counted[] = {&t->prepare, &t->commit};
		for (unsigned k = 0; k < MEM_COUNT(counted); k++) {
			struct vote v;
			if (!(counted[k]->signers >> of & 1))
				continue;
			vote_begin(&v, counted[k]->kind, &t->ref, of);
			v.sig = counted[k]->sig[of];
			newer_vote(newest, &v);
		}
	}
	if (h->odd_vote[of].kind)
		newer_vote(newest, &h->odd_vote[of]);
}

/* ---- proposing --------------------------------------------------------------------------- */

/* The block that the next one extends, or NULL while it is not executed. */
static struct block *parent_to_build_on(struct hybrid *h)
{
	/* a pbft term's first block extends what select_base() chose, whatever our own tip is */
	const struct block_ref *on = h->tip.term == h->term ? &h->tip : &h->tc.base;
	if (hash_equal(&on->hash, &h->log.final->hash))
		return h->log.final;
	struct log_entry *e = log_find(&h->log, &on->hash);
	if (!e && h->tc.mode == MODE_PBFT)
		fetch_from_anybody(h);
	return e && e->executed ? e->block : NULL;
}

/* The newest block of the term, or its base, that is final. */
static uint64_t settled_height(const struct hybrid *h)
{
	uint64_t final = h->log.final->sh.h.height;
	return final > h->tc.base.height ? final : h->tc.base.height;
}

static bool may_propose(const struct hybrid *h)
{
	if (h->role != ROLE_LEADER || h->building || !in_accepted_term(h) || h->ended ||
	    h->resigning || h->now < h->build_after)
		return false;
	if (h->led_before_restart == h->term && !MUTANT(MUTANT_RELEAD_AFTER_RESTART))
		return false;
	uint64_t base = h->tc.base.height;
	uint64_t anchor = base;
	if (h->has_qc && h->qc.ref.term == h->term && h->qc.ref.height > anchor)
		anchor = h->qc.ref.height;
	uint64_t tip = h->tip.term == h->term ? h->tip.height : base;
	if (tip >= anchor + h->window || tip >= unfinal_max(h) ||
	    (tip > base && carries_too_much(h, log_find(&h->log, &h->tip.hash))))
		return false;
	return tip < settled_height(h) + h->pipeline;
}

/* During a probation the primary makes at most one empty block a heartbeat interval, so that
 * idle networks return to fast mode too. */
static bool empty_block_due(const struct hybrid *h)
{
	return h->tc.mode == MODE_PBFT && !h->pinned && in_pbft_mode(h) && !h->lead_first &&
	       h->now >= h->block_at + h->timing.heartbeat;
}

void lead_answered(struct hybrid *h, uint32_t txs)
{
	h->block_took = h->now - h->block_at;
	h->returning = txs + h->pool.free.count;
}

/* Nothing is under way. Whoever was answered just now comes back with the next transaction. If
 * those who have waited meanwhile left without them, the two halves would wait for each other's
 * blocks from then on, each of which costs what one for all does. So they wait, for as long as
 * they would wait for that other block, but not for clients who think first. */
static uint64_t awaits_return(const struct hybrid *h)
{
	uint64_t most = h->timing.heartbeat / RETURN_DIVISOR, took = h->block_took;
	if (h->pool.free.count >= h->returning ||
	    h->pool.free.count >= h->genesis->limits.block_txs_max)
		return 0;
	if (MUTANT(MUTANT_AWAITS_ALL))
		return UINT64_MAX;
	return h->final_at + (took < most ? took : most);
}

/* What a block costs whatever is in it is that of some eight transactions on every replica. So
 * while blocks are under way, the next one waits for as many transactions as they hold, and once
 * the last of them is final, for whoever it has answered; later than that a lone transaction
 * leaves at once. This is when to propose, within what may_propose() allows, never for long. */
static uint64_t gathers_until(const struct hybrid *h)
{
	uint64_t settled = settled_height(h);
	uint32_t enough = h->pool.proposed.count, most = h->genesis->limits.block_txs_max;
	uint32_t all = pool_count(&h->pool);
	if (enough < GATHER_TXS_MIN)
		enough = GATHER_TXS_MIN;
	if (enough > most)
		enough = most;
	if (h->tc.mode != MODE_FAST || h->tip.term != h->term)
		return 0;
	if (h->tip.height <= settled)
		return awaits_return(h);
	if (h->pool.free.count >= enough)
		return 0;
	if (all && h->pool.bytes / all * h->pool.free.count >= GATHER_BYTES_MIN)
		return 0;
	return h->block_at + h->timing.heartbeat / GATHER_DIVISOR;
}

uint64_t lead_wake_at(const struct hybrid *h)
{
	uint64_t until = h->pool.free.count && may_propose(h) ? gathers_until(h) : 0;
	return until > h->now ? until : UINT64_MAX;
}

void maybe_build(struct hybrid *h)
{
	if (!may_propose(h))
		return;
	const struct log_entry *tip = log_find(&h->log, &h->tip.hash);
	bool empty = h->lead_first || empty_block_due(h) || member_waits(h, tip);
	if (!empty && !h->pool.free.count && !conviction_is_due(h, tip))
		return;
	if (!empty && h->now < gathers_until(h) && !conviction_is_due(h, tip))
		return;
	struct block *parent = parent_to_build_on(h);
	if (!parent)
		return;
	uint32_t max = h->genesis->limits.block_txs_max, count = 0;
	uint64_t bytes = 0;
	bool alone;
	if (!system_candidates(h, log_find(&h->log, &parent->hash), parent->sh.h.height + 1,
			       &count, &alone))
		return;
	if (alone)
		max = count;
	uint32_t systems = count;
	for (uint32_t i = 0; i < systems; i++)
		bytes += h->candidates[i].bytes.len + 5;
	for (struct pool_entry *e = h->pool.free.head; e && count < max; e = e->next) {
		bytes += e->size + 5;
		if (bytes > h->genesis->limits.block_body_max - 4 && count > 0)
			break;
		h->candidates[count].id = e->id;
		h->candidates[count].bytes = slice_of(e->bytes, e->size);
		count++;
	}
	h->building = true;
	h->build_empty = empty;
	h->build_id = ++h->next_work_id;
	h->build_parent = parent->hash;
	struct work *w = emit_work(&h->out, WORK_BUILD);
	w->id = h->build_id;
	w->block = parent;
	w->time_ms = h->wall_ms > parent->sh.h.time_ms ? h->wall_ms : parent->sh.h.time_ms;
	h->build_time = w->time_ms;
	w->txs = h->candidates;
	w->tx_count = count;
	w->system_count = systems;
	h->build_height = parent->sh.h.height + 1;
	emit_hold(&h->out, parent);
}

static void send_append(struct hybrid *h, struct block *b)
{
	struct msg_append *m = h->append_scratch;
	m->term = h->term;
	m->count = b ? 1 : 0;
	m->blocks[0] = b;
	bool fast = h->tc.mode == MODE_FAST;
	/* in pbft mode everybody makes its own certificates */
	m->has_final = fast && h->final_cert.kind && h->final_cert.ref.term == h->term;
	if (m->has_final)
		cert_copy(&m->final, &h->final_cert);
	m->has_prepare = !fast && b && tip_vote(h, &m->prepare);
	if (m->has_prepare)
		vote_sign(&m->prepare, h->ctx, &h->key);
	m->has_qc = fast && h->has_qc && h->qc.ref.term == h->term &&
		    h->qc.ref.height > h->log.final->sh.h.height;
	if (m->has_qc)
		cert_copy(&m->qc, &h->qc);
	uint64_t fresh = mask_all(h) & ~h->tc_acked;
	m->has_tc = false;
	msg_append_encode(
		emit_message(&h->out, mask_all(h) & h->tc_acked, CLASS_CONSENSUS, MSG_APPEND),
		m);
	/* [I1]'s one exception: the leader's block, and certificates, which prove
	 * themselves, need not wait for our own sync. */
	if (fast)
		emit_at_once(&h->out);
	if (fresh) {
		m->has_tc = true;
		m->tc = h->tc;
		msg_append_encode(emit_message(&h->out, fresh, CLASS_CONSENSUS, MSG_APPEND), m);
		if (fast)
			emit_at_once(&h->out);
	}
	h->cert_news = false;
	h->append_sent = true;
}

static struct block *make_block(struct hybrid *h, const struct input *in)
{
	struct signed_header sh = {.h = {.chain = h->ctx->id,
					 .term = h->term,
					 .mode = h->tc.mode,
					 .height = h->build_height,
					 .prev = h->build_parent,
					 .base_height = h->tc.base.height,
					 .base = h->tc.base.hash,
					 .tx_root = in->built.tx_root,
					 .state_root = in->built.state_root,
					 .time_ms = h->build_time,
					 .leader = (uint16_t)h->self,
					 .valset = h->ctx->vals.hash,
					 .new_view = h->tc.new_view_hash,
					 .tx_count = in->built.tx_count,
					 .body_size = (uint32_t)in->built.body.len}};
	signed_header_sign(&sh, h->ctx, &h->key);
	struct block *b;
	int err = block_new(&b, &sh, in->built.body);
	invariant(err == ERR_NONE); /* our own ledger built it */
	return b;
}

static void propose(struct hybrid *h, struct block *b)
{
	struct log_entry *e;
	if (log_add(&h->log, b, &e) != ERR_NONE) {
		prune_log(h);
		if (add_to_full_log(h, b, &e) !=
		    ERR_NONE) { /* or it would be built again at once */
			h->build_after = h->now + h->timing.heartbeat;
			return;
		}
	}
	modes_enter(h, e);
	invariant(!e->invalid);
	h->counters[COUNT_FILLERS] += after_end(h, e->parent);
	request_execution(h, e);
	store_chain(h, e);
	struct block_ref ref = block_ref_of(b);
	set_tip(h, e, true);
	h->lead_first = false;
	h->block_at = h->now;
	if (h->tc.mode == MODE_PBFT) {
		send_append(h, b);
		h->prepare_sent = (struct block_ref){0}; /* it rode on the APPEND */
		h->prepare_news = true;
		return;
	}
	struct block_tally *t = tally_at(h, ref.height);
	give_up_tally(h, t);
	t->ref = ref;
	t->own_seq = emit_seq(&h->out);
	h->want_sync = true; /* our own PREPARE counts once this is durable: lead_durable() */
	struct hash none = {0};
	tally_init(&t->prepare, VOTE_PREPARE_FAST, &ref, &none);
	tally_init(&t->commit, VOTE_COMMIT, &ref, &none);
	send_append(h, b);
}

/* After a restart the primary still leads its term: all its blocks again, before a new one.
 * They were durable before anybody saw them. */
void pbft_resume_leading(struct hybrid *h)
{
	if (!in_accepted_term(h) || h->tc.mode != MODE_PBFT || h->tc.leader != h->self ||
	    !in_pbft_mode(h) || h->observer || h->led_before_restart == h->term)
		return;
	lead_begin(h);
	h->lead_first = h->tip.term != h->term;
	h->resend_all = !h->lead_first;
}

static void resend_blocks(struct hybrid *h)
{
	struct log_entry *tip = log_find(&h->log, &h->tip.hash);
	uint32_t depth = log_depth(tip);
	for (uint32_t i = depth; i-- > 0;) {
		const struct log_entry *e = tip;
		for (uint32_t down = 0; down < i; down++)
			e = e->parent;
		if (e->block->sh.h.term == h->term)
			send_append(h, e->block);
	}
}

void on_built(struct hybrid *h, const struct input *in)
{
	if (!h->building || in->built.id != h->build_id)
		return;
	h->building = false;
	/* What a build refuses is not refused for good: on blocks that are not final, or not
	 * yet in the ledger, its nonce may be used by the transaction itself, or by one that
	 * will never be final. Who sends it again is answered from the final state. */
	for (uint32_t i = 0; i < in->built.refused_count; i++)
		if (in->built.err)
			system_refused(h, &in->built.refused[i]);
		else if (pool_remove(&h->pool, &in->built.refused[i]))
			emit_rejected(&h->out, &in->built.refused[i],
				      MUTANT(MUTANT_REFUSE_UNFINAL) ? in->built.refused_err[i]
								    : ERR_BUSY);
	const struct block_ref *on = h->tip.term == h->term ? &h->tip : &h->tc.base;
	if (in->built.err || !hash_equal(&h->build_parent, &on->hash) || !may_propose(h))
		return; /* tried again, or in the new term not at all */
	if (in->built.tx_count == 0 && !h->build_empty)
		return;
	struct block *b = make_block(h, in);
	propose(h, b);
	block_drop(b);
}

/* ---- counting ---------------------------------------------------------------------------- */

static void count_prepares(struct hybrid *h, struct block_tally *t)
{
	struct cert cert;
	if (t->prepare.count >= one_round_quorum(h)) {
		tally_cert(&t->prepare, CERT_ONE_ROUND, &cert);
		if (!h->has_qc || position_compare(&h->qc.ref, &t->ref) < 0)
			set_qc(h, &cert);
		take_final_cert(h, &cert);
		if (h->log.final->sh.h.height < t->ref.height) { /* [I1] as below */
			t->own_seq = emit_seq(&h->out);
			h->want_sync = true;
		}
	} else if (t->prepare.count >= certificate_quorum(h) &&
		   (!h->has_qc || position_compare(&h->qc.ref, &t->ref) < 0)) {
		tally_cert(&t->prepare, CERT_QC_FAST, &cert);
		h->counters[COUNT_QC_FORMED]++;
		set_qc(h, &cert);
		/* our own COMMIT counts once this is durable: lead_durable() */
		t->own_seq = emit_seq(&h->out);
		h->cert_news = true;
		h->cert_news_at = one_round_likely(h)
					  ? h->now + h->timing.heartbeat / CERT_WAIT_DIVISOR
					  : h->now;
		h->want_sync = true;
	}
}

static void count_commits(struct hybrid *h, struct block_tally *t)
{
	if (t->commit.count < certificate_quorum(h))
		return;
	struct cert cert;
	tally_cert(&t->commit, CERT_TWO_ROUND, &cert);
	take_final_cert(h, &cert);
}

/* A vote of our term at a height where our block is another: alone it proves nothing (any block
 * can be voted for), beside one for our block it is a double vote. */
static void note_odd_vote(struct hybrid *h, unsigned from, const struct vote *v)
{
	const struct block_tally *t = tally_at(h, v->ref.height);
	struct vote *odd = &h->odd_vote[from];
	bool same_place = t->ref.term == v->ref.term && t->ref.height == v->ref.height;
	if (v->signer != from || v->ref.term != h->term || !same_place || is_jailed(h, from) ||
	    hash_equal(&t->ref.hash, &v->ref.hash) ||
	    (odd->kind == v->kind && block_ref_equal(&odd->ref, &v->ref)))
		return;
	if (vote_check(v, h->ctx)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return;
	}
	*odd = *v;
}

static void compare_votes(struct hybrid *h, unsigned from, const struct tally *ours)
{
	const struct vote *odd = &h->odd_vote[from];
	if (odd->kind != ours->kind || odd->ref.term != ours->ref.term ||
	    odd->ref.height != ours->ref.height || !(ours->signers >> from & 1))
		return;
	struct vote v = {.kind = ours->kind,
			 .ref = ours->ref,
			 .signer = (uint16_t)from,
			 .sig = ours->sig[from]};
	double_vote(h, odd, &v);
}

/* A vote of a follower for one of our blocks above the final one; NULL if it is not. */
static struct block_tally *tally_for(struct hybrid *h, unsigned from, const struct vote *v)
{
	if (v->signer != from || v->ref.term != h->term) {
		h->counters[COUNT_STALE_MESSAGES]++;
		keep_late_vote(h, from, v);
		return NULL;
	}
	if (v->ref.height > h->match[from] && v->ref.height <= h->tip.height)
		h->match[from] = v->ref.height;
	if (v->ref.height <= h->log.final->sh.h.height) {
		keep_late_vote(h, from, v);
		return NULL;
	}
	struct block_tally *t = tally_at(h, v->ref.height);
	return t->ref.term == h->term && block_ref_equal(&t->ref, &v->ref) ? t : NULL;
}

static void take_votes(struct hybrid *h, unsigned from, const struct vote *prepare,
		       const struct vote *commit, const struct vote *checkpoint)
{
	if (prepare)
		note_odd_vote(h, from, prepare);
	if (commit)
		note_odd_vote(h, from, commit);
	struct block_tally *t = prepare ? tally_for(h, from, prepare) : NULL;
	if (t && !(t->prepare.signers >> from & 1)) {
		if (vote_check(prepare, h->ctx))
			h->counters[COUNT_BAD_SIGNATURES]++;
		else if (tally_add(&t->prepare, prepare))
			count_prepares(h, t);
	}
	t = commit ? tally_for(h, from, commit) : NULL;
	if (t && !(t->commit.signers >> from & 1)) {
		if (vote_check(commit, h->ctx))
			h->counters[COUNT_BAD_SIGNATURES]++;
		else if (tally_add(&t->commit, commit))
			count_commits(h, t);
	}
	if (h->odd_vote[from].kind) {
		const struct block_tally *at = tally_at(h, h->odd_vote[from].ref.height);
		compare_votes(h, from,
			      h->odd_vote[from].kind == VOTE_COMMIT ? &at->commit
								    : &at->prepare);
	}
	if (checkpoint)
		take_checkpoint_vote(h, from, checkpoint);
}

static bool answers_us(struct hybrid *h, unsigned from, uint64_t term)
{
	if (h->role != ROLE_LEADER || term != h->term) {
		h->counters[COUNT_STALE_MESSAGES]++;
		return false;
	}
	h->heard_in_term[from] = h->now;
	h->tc_acked |= UINT64_C(1) << from;
	h->stray[from].since = 0;
	return true;
}

/* To whoever led when they were cast. */
static void keep_late_votes(struct hybrid *h, unsigned from, const struct vote *prepare,
			    const struct vote *commit)
{
	if (prepare)
		keep_late_vote(h, from, prepare);
	if (commit)
		keep_late_vote(h, from, commit);
}

void on_appended(struct hybrid *h, unsigned from, const struct msg_appended *m)
{
	const struct vote *prepare = m->has_prepare ? &m->prepare : NULL;
	const struct vote *commit = m->has_commit ? &m->commit : NULL;
	if (h->tc.mode == MODE_FAST && answers_us(h, from, m->term))
		take_votes(h, from, prepare, commit, m->has_checkpoint ? &m->checkpoint : NULL);
	else
		keep_late_votes(h, from, prepare, commit);
}

void on_heartbeat_ack(struct hybrid *h, unsigned from, const struct msg_heartbeat_ack *m)
{
	const struct vote *prepare = m->has_prepare ? &m->prepare : NULL;
	const struct vote *commit = m->has_commit ? &m->commit : NULL;
	h->peer_final[from] = m->final_height;
	if (answers_us(h, from, m->term))
		take_votes(h, from, prepare, commit, m->has_checkpoint ? &m->checkpoint : NULL);
	else
		keep_late_votes(h, from, prepare, commit);
}

/* Our own votes exist once what they claim is durable. */
void lead_durable(struct hybrid *h)
{
	if (h->role != ROLE_LEADER || h->led_before_restart == h->term ||
	    h->tc.mode != MODE_FAST)
		return;
	for (uint64_t height = h->log.final->sh.h.height + 1; height <= h->tip.height;
	     height++) {
		struct block_tally *t = tally_at(h, height);
		if (t->ref.term != h->term || t->ref.height != height ||
		    (h->durable_seq < t->own_seq && !MUTANT(MUTANT_OWN_PREPARE_EARLY)))
			continue;
		struct vote v;
		vote_begin(&v, VOTE_PREPARE_FAST, &t->ref, h->self);
		if (!(t->prepare.signers >> h->self & 1)) {
			vote_sign(&v, h->ctx, &h->key);
			tally_add(&t->prepare, &v);
			count_prepares(h, t);
		}
		if (h->role == ROLE_LEADER && commit_due(h, &v) &&
		    block_ref_equal(&v.ref, &t->ref) && !(t->commit.signers >> h->self & 1) &&
		    h->durable_seq >= t->own_seq) {
			vote_sign(&v, h->ctx, &h->key);
			tally_add(&t->commit, &v);
			count_commits(h, t);
		}
	}
}

/* ---- heartbeats -------------------------------------------------------------------------- */

void send_heartbeat(struct hybrid *h)
{
	struct msg_heartbeat m = {.term = h->term,
				  .counter = ++h->heartbeat_counter,
				  .tip_height = h->tip.height,
				  .tip = h->tip.hash,
				  .final_height = h->log.final->sh.h.height,
				  .has_stable = h->has_stable};
	if (h->has_stable)
		m.stable = h->stable;
	uint64_t fresh = mask_all(h) & ~h->tc_acked;
	msg_heartbeat_encode(
		emit_message(&h->out, mask_all(h) & h->tc_acked, CLASS_URGENT, MSG_HEARTBEAT),
		&m);
	if (fresh) {
		m.has_tc = true;
		m.tc = h->tc;
		msg_heartbeat_encode(emit_message(&h->out, fresh, CLASS_URGENT, MSG_HEARTBEAT),
				     &m);
	}
}

void lead_tick(struct hybrid *h)
{
	if (h->role != ROLE_LEADER || h->now < h->heartbeat_at || h->resigned == h->term)
		return; /* who has resigned is silent: a successor that is not there must not be
			 * waited for */
	h->heartbeat_at = h->now + h->timing.heartbeat;
	if (h->resend_all)
		resend_blocks(h);
	h->resend_all = false;
	send_heartbeat(h);
	if (quorum_heard(h))
		timer_on_heartbeat(h);
	if (h->tc.mode == MODE_PBFT)
		pbft_on_heartbeat(h);
	else
		rescue_strays(h);
}

/* A certificate that no block carries: an idle leader sends it at once; while blocks are in
 * flight above it, the next APPEND or a later certificate does. */
void lead_end_of_step(struct hybrid *h)
{
	if (h->role != ROLE_LEADER)
		return;
	if (!h->resend_all)
		maybe_build(h);
	if (h->tc.mode != MODE_FAST || !h->cert_news || h->append_sent || h->building ||
	    h->now < h->cert_news_at)
		return;
	uint64_t newest = h->log.final->sh.h.height;
	if (h->has_qc && h->qc.ref.height > newest)
		newest = h->qc.ref.height;
	if (newest >= h->tip.height)
		send_append(h, NULL);
}
