/* pbft mode, normal case: the primary's APPEND is the PRE-PREPARE and carries its
 * PREPARE; PREPARE all to all; q of them are a QC; COMMIT all to all; q of those make the block
 * final. The one-round rule is not used. Castro, Liskov, "Practical Byzantine Fault
 * Tolerance", OSDI 1999. */
#include "consensus/hybrid/hybrid.h"

static struct vote cast_vote_at(const struct hybrid *h, const struct height_votes *v,
				unsigned i, bool commit)
{
	const struct cast_vote *c = commit ? &v->commit[i] : &v->prepare[i];
	return (struct vote){.kind = commit ? VOTE_COMMIT : VOTE_PREPARE_PBFT,
			     .ref = {h->tc.term, v->height, c->hash},
			     .signer = (uint16_t)i,
			     .sig = c->sig};
}

/* Its PREPAREs: last_prepare has the newest. */
static void give_up_votes(struct hybrid *h, const struct height_votes *v)
{
	for (uint64_t who = v->height ? v->committed : 0; who; who &= who - 1) {
		unsigned i = (unsigned)__builtin_ctzll(who);
		struct vote commit = cast_vote_at(h, v, i, true);
		newer_vote(&h->seen[i].vote, &commit);
	}
}

void pbft_keep_votes(struct hybrid *h)
{
	for (uint32_t i = 0; i < h->votes_cap; i++)
		give_up_votes(h, &h->votes[i]);
}

void pbft_reset_votes(struct hybrid *h)
{
	for (uint32_t i = 0; i < h->votes_cap; i++)
		h->votes[i].height = 0;
}

void pbft_free(struct hybrid *h)
{
	for (uint32_t i = 0; i < h->votes_cap; i++) {
		mem_free(h->votes[i].prepare);
		mem_free(h->votes[i].commit);
	}
	mem_free(h->votes);
	for (unsigned i = 0; i < MEM_COUNT(h->system); i++)
		writer_free(&h->system[i]);
}

static bool in_pbft_term(const struct hybrid *h)
{
	return in_accepted_term(h) && h->tc.mode == MODE_PBFT;
}

/* Watermarks: heights that can still get votes here; NULL outside of them. Votes are for blocks
 * of our own term, above its base: that may lie any number of unfinal blocks above the final
 * one, after many terms that ended too soon. */
static struct height_votes *votes_at(struct hybrid *h, uint64_t height)
{
	uint64_t low = h->log.final->sh.h.height;
	if (low < h->tc.base.height && !MUTANT(MUTANT_VOTES_ABOVE_FINAL))
		low = h->tc.base.height;
	if (height <= low || height > low + h->votes_cap)
		return NULL;
	struct height_votes *v = &h->votes[height % h->votes_cap];
	if (v->height != height) {
		give_up_votes(h, v);
		v->height = height;
		v->prepared = v->committed = 0;
		if (!v->prepare) {
			v->prepare = mem_array(h->n, sizeof *v->prepare);
			v->commit = mem_array(h->n, sizeof *v->commit);
		}
	}
	return v;
}

/* Who cast this hash. */
static unsigned supporters(const struct hybrid *h, const struct height_votes *v,
			   const struct hash *hash, bool commit, uint64_t *signers)
{
	uint64_t cast = commit ? v->committed : v->prepared;
	const struct cast_vote *c = commit ? v->commit : v->prepare;
	unsigned count = 0;
	*signers = 0;
	for (unsigned i = 0; i < h->n; i++)
		if (cast >> i & 1 &&
		    (hash_equal(&c[i].hash, hash) || MUTANT(MUTANT_MIXED_QC))) {
			*signers |= UINT64_C(1) << i;
			count++;
		}
	return count;
}

static void make_cert(const struct hybrid *h, const struct height_votes *v,
		      const struct hash *hash, bool commit, uint64_t signers, struct cert *out)
{
	memset(out, 0, offsetof(struct cert, sig));
	out->kind = commit ? CERT_TWO_ROUND : CERT_QC_PBFT;
	out->ref = (struct block_ref){h->tc.term, v->height, *hash};
	out->signers = signers;
	for (unsigned i = 0; i < h->n; i++)
		if (signers >> i & 1)
			out->sig[out->count++] = commit ? v->commit[i].sig : v->prepare[i].sig;
}

static void count_votes(struct hybrid *h, const struct height_votes *v, const struct hash *hash,
			bool commit)
{
	uint64_t signers;
	unsigned count = supporters(h, v, hash, commit, &signers);
	if (count < certificate_quorum(h))
		return;
	struct cert cert;
	make_cert(h, v, hash, commit, signers, &cert);
	if (commit) {
		take_final_cert(h, &cert);
		return;
	}
	if (MUTANT(MUTANT_ONE_ROUND_IN_PBFT) && count >= h->quorum.qf) {
		cert.kind = CERT_TWO_ROUND;
		take_final_cert(h, &cert);
		return;
	}
	if (!h->has_qc || position_compare(&h->qc.ref, &cert.ref) < 0) {
		h->counters[COUNT_QC_FORMED]++;
		take_qc(h, &cert);
	}
}

/* Two different votes of one replica at one (term, height): the proof says it all. */
void double_vote(struct hybrid *h, const struct vote *a, const struct vote *b)
{
	struct writer bytes = {0};
	struct evidence ev;
	if (evidence_of_votes(&ev, &bytes, a, b))
		take_proof(h, &ev);
	writer_free(&bytes);
}

void note_prepare(struct hybrid *h, const struct vote *v)
{
	struct vote *last = &h->last_prepare[v->signer];
	if (!last->kind || position_compare(&last->ref, &v->ref) < 0)
		*last = *v;
}

static void take_vote(struct hybrid *h, unsigned from, const struct vote *v)
{
	bool commit = v->kind == VOTE_COMMIT;
	if (v->signer != from || !in_pbft_term(h) || v->ref.term != h->term) {
		h->counters[COUNT_STALE_MESSAGES]++;
		keep_late_vote(h, from, v);
		return;
	}
	struct height_votes *at = votes_at(h, v->ref.height);
	if (!at) {
		keep_late_vote(h, from, v);
		return;
	}
	uint64_t *cast = commit ? &at->committed : &at->prepared;
	struct cast_vote *slot = commit ? &at->commit[from] : &at->prepare[from];
	bool again = *cast >> from & 1;
	if (again && hash_equal(&slot->hash, &v->ref.hash))
		return;
	if (from != h->self && !MUTANT(MUTANT_UNCHECKED_VOTES) && vote_check(v, h->ctx)) {
		h->counters[COUNT_BAD_SIGNATURES]++;
		return;
	}
	if (again) {
		struct vote first = cast_vote_at(h, at, from, commit);
		double_vote(h, &first, v);
		return;
	}
	*cast |= UINT64_C(1) << from;
	slot->hash = v->ref.hash;
	slot->sig = v->sig;
	if (!commit && from != h->self)
		note_prepare(h, v);
	count_votes(h, at, &v->ref.hash, commit);
}

void on_prepare(struct hybrid *h, unsigned from, const struct vote *v)
{
	take_vote(h, from, v);
}

void on_commit(struct hybrid *h, unsigned from, const struct msg_commit *m)
{
	take_vote(h, from, &m->commit);
	if (m->has_checkpoint)
		take_checkpoint_vote(h, from, &m->checkpoint);
}

void pbft_newest_vote(const struct hybrid *h, unsigned of, struct vote *newest)
{
	for (uint32_t i = 0; i < h->votes_cap && h->tc.mode == MODE_PBFT; i++) {
		const struct height_votes *at = &h->votes[i];
		if (at->height && at->committed >> of & 1) {
			struct vote v = cast_vote_at(h, at, of, true);
			newer_vote(newest, &v);
		}
	}
	if (h->last_prepare[of].kind)
		newer_vote(newest, &h->last_prepare[of]);
}

/* ---- own votes --------------------------------------------------------------------------- */

static void cast_prepare(struct hybrid *h)
{
	h->prepare_news = false;
	struct vote v;
	if (!tip_vote(h, &v))
		return;
	vote_sign(&v, h->ctx, &h->key);
	/* The primary's rides on its APPEND; repeated, it goes like everybody's. */
	if (h->role != ROLE_LEADER || block_ref_equal(&h->prepare_sent, &v.ref))
		msg_prepare_encode(
			emit_message(&h->out, mask_all(h), CLASS_CONSENSUS, MSG_PREPARE), &v);
	h->prepare_sent = v.ref;
	take_vote(h, h->self, &v);
}

static void cast_commit(struct hybrid *h)
{
	h->commit_news = false;
	struct msg_commit m = {0};
	if (!commit_due(h, &m.commit))
		return;
	vote_sign(&m.commit, h->ctx, &h->key);
	m.has_checkpoint = checkpoint_vote_due(h);
	if (m.has_checkpoint)
		m.checkpoint = h->checkpoint_vote;
	msg_commit_encode(emit_message(&h->out, mask_all(h), CLASS_CONSENSUS, MSG_COMMIT), &m);
	take_vote(h, h->self, &m.commit);
}

/* Own votes count at once: nothing that shows them leaves before this step's writes are
 * durable, and finality waits for them too [I1]. */
void pbft_end_of_step(struct hybrid *h)
{
	if (!in_pbft_term(h)) {
		h->prepare_news = h->commit_news = false;
		return;
	}
	while (h->prepare_news || h->commit_news) {
		if (h->prepare_news)
			cast_prepare(h);
		if (h->commit_news)
			cast_commit(h);
	}
}

/* What has brought nothing since the last heartbeat may have been lost: once more. */
void pbft_on_heartbeat(struct hybrid *h)
{
	uint64_t final = h->log.final->sh.h.height;
	bool stuck = block_ref_equal(&h->seen_tip, &h->tip) && h->tip.height > final;
	bool commit_stuck = h->has_qc && block_ref_equal(&h->seen_qc, &h->qc.ref) &&
			    h->qc.ref.height > final;
	h->seen_tip = h->tip;
	if (h->has_qc)
		h->seen_qc = h->qc.ref;
	h->prepare_news |= stuck;
	h->commit_news |= commit_stuck;
}
