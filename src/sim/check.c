/* The checkers: agreement, certificates, [S3], durability of what was acknowledged, at most
 * once, equal state roots. */
#include <stdio.h>

#include "consensus/hybrid/message.h"
#include "sim/world.h"

/* Nobody is Byzantine here: an honest leader signs one block at a place. */
void check_header(struct sim *s, const struct header *h, const struct hash *hash)
{
	if (map_get(&s->headers, hash->b))
		return;
	struct known_header *k = mem_alloc(sizeof *k);
	k->prev = h->prev;
	k->height = h->height;
	k->seen_at = s->now;
	map_put(&s->headers, hash->b, k);
	uint8_t place[32] = {0};
	store_be64(place, h->term);
	store_be64(place + 8, h->height);
	store_be64(place + 16, h->leader);
	memcpy(place + 24, h->valset.b, 8); /* terms go on, beside fillers of an old epoch */
	if (s->genesis.protocol == PROTOCOL_MULTIPAXOS)
		return; /* a value executed on another parent keeps its place: check_crash.c */
	if (map_put(&s->places, place, k) && !sim_may_forget(s, h->leader))
		sim_violation(s, SIM_SAFETY, "leader %u equivocates at term %llu, height %llu",
			      h->leader, (unsigned long long)h->term,
			      (unsigned long long)h->height);
}

/* Walks from (hash) down to the height: its ancestor there, or NULL if blocks are unknown. */
static const struct known_header *ancestor(const struct sim *s, struct hash *at,
					   uint64_t height)
{
	const struct known_header *k;
	while ((k = map_get(&s->headers, at->b)) != NULL && k->height > height)
		*at = k->prev;
	return k && k->height == height ? k : NULL;
}

/* final_term: of the certificate that made b final, itself or through a descendant. */
static void append_record(struct sim *s, const struct block *b, uint64_t final_term)
{
	if (s->log_len == s->log_cap) {
		s->log_cap = s->log_cap ? 2 * s->log_cap : 256;
		s->log = mem_realloc(s->log, s->log_cap * sizeof *s->log);
	}
	s->log[s->log_len++] =
		(struct log_record){b->hash, b->sh.h.state_root, final_term, NULL};
	writer_u64(&s->log_bytes, b->sh.h.term);
	writer_hash(&s->log_bytes, &b->sh.h.state_root);
}

void check_begin(struct sim *s, const struct block *genesis)
{
	map_init(&s->headers, 1);
	map_init(&s->places, 5);
	map_init(&s->views, 7);
	map_init(&s->bases, 6);
	s->decoded = mem_zalloc(sizeof *s->decoded);
	map_init(&s->used, 2);
	map_init(&s->acked, 3);
	map_init(&s->final_ids, 4);
	map_init(&s->refused, 5);
	mode_state_init(&s->modes.state);
	append_record(s, genesis, 0);
	check_header(s, &genesis->sh.h, &genesis->hash);
}

void check_free(struct sim *s)
{
	struct known_header *k;
	for (size_t i = 0; (k = map_next(&s->headers, &i, NULL)) != NULL;)
		mem_free(k);
	map_free(&s->headers);
	struct known_base *base;
	for (size_t i = 0; (base = map_next(&s->bases, &i, NULL)) != NULL;)
		mem_free(base);
	map_free(&s->bases);
	struct known_view *view;
	for (size_t i = 0; (view = map_next(&s->views, &i, NULL)) != NULL;)
		mem_free(view);
	map_free(&s->views);
	map_free(&s->places);
	mem_free(s->decoded);
	map_free(&s->used);
	map_free(&s->acked);
	map_free(&s->final_ids);
	map_free(&s->refused);
	writer_free(&s->log_bytes);
	for (size_t i = 0; i < s->log_len; i++)
		mem_free(s->log[i].cert);
	mem_free(s->log);
}

static void check_bases_contain(struct sim *s, size_t height);

static void note_mode(struct sim *s, const struct block *b, const struct system_tx *tx)
{
	struct sim_result *r = s->result;
	struct reader rd;
	struct evidence ev = {0};
	if (tx->kind == SYSTEM_CONVICTION) {
		reader_init(&rd, tx->evidence);
		evidence_decode(&rd, &ev);
		if (!r->first_conviction_us)
			r->first_conviction_us = s->now;
	}
	if (tx->kind == SYSTEM_MEMBER)
		ev.culprit = tx->member.place;
	else if (tx->kind != SYSTEM_CONVICTION)
		r->in_pbft = tx->kind == SYSTEM_ESCALATED;
	if (r->mode_count < SIM_MODES_MAX)
		r->modes[r->mode_count++] = (struct sim_mode){.at_us = s->now,
							      .height = b->sh.h.height,
							      .term = b->sh.h.term,
							      .kind = tx->kind,
							      .reason = tx->reason,
							      .culprit = ev.culprit,
							      .proof = ev.kind};
}

static void measure_final(struct sim *s, const struct block *b)
{
	struct sim_result *r = s->result;
	const struct known_header *k = map_get(&s->headers, b->hash.b);
	if (k)
		r->propose_to_final[r->times++ % SIM_TIMES_MAX] = s->now - k->seen_at;
	uint64_t gap = s->now - s->last_final_at;
	if (gap > r->longest_gap_us)
		r->longest_gap_us = gap;
	if (s->now / 100000 != s->last_final_at / 100000 || !r->windows_with_commit)
		r->windows_with_commit++;
	r->windows = s->now / 100000 + 1;
	s->last_final_at = s->now;
	if (r->first_proof_us && !r->first_pbft_us && b->sh.h.mode == MODE_PBFT)
		r->first_pbft_us = s->now;
	if (r->first_conviction_us && !r->fast_again_us && b->sh.h.mode == MODE_FAST)
		r->fast_again_us = s->now;
	if (s->healed_at && !r->progress_us)
		r->progress_us = s->now - s->healed_at;
	if (s->leader_lost_at && b->sh.h.term > s->leader_lost_term) {
		uint64_t took = s->now - s->leader_lost_at;
		r->failover_us = took > r->failover_us ? took : r->failover_us;
		s->leader_lost_at = 0;
	}
}

static void check_not_refused(struct sim *s, const struct hash *id)
{
	if (map_get(&s->refused, id->b))
		sim_violation(s, SIM_SAFETY,
			      "a transaction that was refused for good has taken effect");
}

/* once: the sender and its nonce. */
static void check_takes_effect(struct sim *s, const struct hash *id, const uint8_t once[40])
{
	struct hash key;
	sha256(&key, once, 40);
	if (map_put(&s->used, key.b, s))
		sim_violation(s, SIM_SAFETY, "nonce %llu took effect twice",
			      (unsigned long long)load_be64(once + 32));
	check_not_refused(s, id);
	map_put(&s->final_ids, id->b, s);
	map_remove(&s->acked, id->b);
}

static void new_final_block(struct sim *s, const struct block *b, uint64_t final_term)
{
	append_record(s, b, final_term);
	members_final(s, b);
	measure_final(s, b);
	check_modes_final(s, b);
	for (uint32_t i = 0; i < b->tx_count; i++) {
		struct tx tx;
		if (system_tx_is(block_tx_bytes(b, i))) {
			struct system_tx entry;
			map_put(&s->final_ids, b->tx[i].id.b, s);
			if (!system_tx_decode(&entry, block_tx_bytes(b, i), &s->ctx))
				note_mode(s, b, &entry);
			continue; /* checked by every replica's ledger */
		}
		if (tx_decode(&tx, block_tx_bytes(b, i), &s->ctx, &s->genesis.limits)) {
			sim_violation(s, SIM_SAFETY, "a malformed transaction is final");
			return;
		}
		uint8_t once[40];
		memcpy(once, tx.sender.b, 32);
		store_be64(once + 32, tx.nonce);
		if (!s->options.unchecked)
			check_takes_effect(s, &b->tx[i].id, once);
		writer_raw(&s->log_bytes, once, sizeof once);
		writer_u8(&s->log_bytes, (uint8_t)b->tx[i].result);
		s->result->transactions++;
	}
}

/* What checkers sign and check is nobody's cost. */
static void unpaid(struct sim *s, struct sig_counts before)
{
	struct sig_counts after = sig_counts();
	s->unpaid.made += after.made - before.made;
	s->unpaid.checked += after.checked - before.checked;
}

/* The baselines prove nothing; they note in which term they committed. */
static bool finality_holds(struct sim *s, const struct block *b, const struct cert *c)
{
	if (c->ref.height < b->sh.h.height)
		return false;
	if (!protocol_is_byzantine(s->genesis.protocol))
		return c->kind == CERT_CRASH && c->in_term >= b->sh.h.term;
	struct sig_counts before = sig_counts();
	bool good = cert_is_final(c->kind) &&
		    cert_check(c, sim_ctx_at(s, b->sh.h.height)) == ERR_NONE;
	unpaid(s, before);
	return good;
}

/* Who signed both sides of a fork. Votes of one kind for one place are evidence by themselves;
 * what else the two certificates show needs the headers between. */
static void name_culprits(struct sim *s, const struct cert *a, const struct cert *b)
{
	struct sim_result *r = s->result;
	struct sig_counts before = sig_counts();
	r->culprits |= a->signers & b->signers;
	if (a->kind != b->kind || a->ref.term != b->ref.term || a->ref.height != b->ref.height)
		return;
	for (unsigned i = 0; i < s->n; i++) {
		if (!(r->culprits >> i & 1))
			continue;
		uint64_t below = (UINT64_C(1) << i) - 1;
		struct vote x = {.kind = cert_vote_kind(a->kind),
				 .ref = a->ref,
				 .signer = (uint16_t)i,
				 .sig = a->sig[__builtin_popcountll(a->signers & below)]};
		struct vote y = x;
		y.ref = b->ref;
		y.sig = b->sig[__builtin_popcountll(b->signers & below)];
		struct writer bytes = {0};
		struct evidence ev;
		if (evidence_of_votes(&ev, &bytes, &x, &y) &&
		    evidence_check(&ev, &s->ctx, NULL) == ERR_NONE && ev.culprit == i)
			r->proven |= UINT64_C(1) << i;
		writer_free(&bytes);
	}
	unpaid(s, before);
}

static void note_fork(struct sim *s, uint64_t height, const struct hash *other,
		      const struct cert *a, const struct cert *b)
{
	if (!s->result->conflicts)
		s->result->fork = (struct sim_fork){.at_us = s->now,
						    .height = height,
						    .hash = {s->log[height].hash, *other},
						    .ref = {a->ref, b->ref},
						    .kind = {a->kind, b->kind}};
}

void check_final(struct sim *s, unsigned node, const struct block *b, const struct cert *c)
{
	uint64_t height = b->sh.h.height;
	if (!s->options.unchecked && !finality_holds(s, b, c)) {
		sim_violation(s, SIM_SAFETY, "replica %u: bad certificate for block %llu", node,
			      (unsigned long long)height);
		return;
	}
	if (!s->options.unchecked) {
		check_header(s, &b->sh.h, &b->hash);
		check_own_word(s, node, b, c);
	}
	if (height != s->node[node].final + 1) {
		sim_violation(s, SIM_SAFETY, "replica %u reports block %llu final after %llu",
			      node, (unsigned long long)height,
			      (unsigned long long)s->node[node].final);
		return;
	}
	if (height == s->log_len) {
		new_final_block(s, b, c->kind == CERT_CRASH ? c->in_term : c->ref.term);
		if (s->options.measure_conflicts)
			s->log[height].cert = mem_dup(c, sizeof *c);
		if (!s->options.unchecked)
			check_bases_contain(s, height);
		return;
	}
	if (height > s->log_len || !hash_equal(&s->log[height].hash, &b->hash)) {
		char mine[HASH_SHORT_SIZE], other[HASH_SHORT_SIZE] = "none";
		if (height < s->log_len)
			hash_short(other, &s->log[height].hash);
		if (height < s->log_len && s->log[height].cert) {
			name_culprits(s, s->log[height].cert, c);
			note_fork(s, height, &b->hash, s->log[height].cert, c);
		}
		s->result->conflicts++;
		if (!s->options.measure_conflicts)
			sim_violation(s, SIM_SAFETY,
				      "[S4] fork: replica %u finalises %s (term %llu) at "
				      "height %llu, "
				      "others %s",
				      node, hash_short(mine, &b->hash),
				      (unsigned long long)b->sh.h.term,
				      (unsigned long long)height, other);
	}
}

/* Blocks that a restarted replica finds final on its disk: a certificate may have been written
 * right before the crash that kept it from being reported. */
/* [I1] A vote that left was durable: who restarts remembers it, or one above it. */
static void check_remembers_vote(struct sim *s, unsigned node)
{
	const struct block_ref *vote = &s->node[node].vote;
	struct engine_status status;
	replica_status(s->node[node].replica, &status);
	if (!sim_may_forget(s, node) && !s->node[node].wiped &&
	    position_compare(vote, &status.tip) > 0)
		sim_violation(
			s, SIM_SAFETY,
			"[I1] replica %u restarts with its tip at term %llu, height %llu, but "
			"a vote for term %llu, height %llu has left it",
			node, (unsigned long long)status.tip.term,
			(unsigned long long)status.tip.height, (unsigned long long)vote->term,
			(unsigned long long)vote->height);
}

void check_recovered(struct sim *s, unsigned node)
{
	struct replica *r = s->node[node].replica;
	check_remembers_vote(s, node);
	uint64_t height = ledger_height(replica_ledger(r));
	if (height < s->log_len &&
	    !hash_equal(&s->log[height].hash, ledger_hash(replica_ledger(r))))
		sim_violation(s, SIM_SAFETY,
			      "[S4] fork: replica %u restarts with another block "
			      "at height %llu",
			      node, (unsigned long long)height);
	while (s->log_len <= height && !s->stopped) {
		struct block *b;
		if (replica_block(r, s->log_len, &b)) {
			sim_violation(s, SIM_SAFETY, "replica %u lost final block %zu", node,
				      s->log_len);
			return;
		}
		check_header(s, &b->sh.h, &b->hash);
		new_final_block(s, b, UINT64_MAX); /* in which term is not known here */
		block_drop(b);
	}
}

/* Blocks that were made durable, and shown, but never sent. */
static void check_position(struct sim *s, const struct position *p)
{
	for (uint32_t i = 0; i < p->header_count; i++) {
		struct hash hash;
		header_hash(&hash, &p->headers[i].h);
		check_header(s, &p->headers[i].h, &hash);
	}
}

/* With --trace: the chain of a base that lacks a final block, and the final blocks. */
static void explain_base(struct sim *s, const struct term_cert *tc, size_t top)
{
	char hex[HASH_SHORT_SIZE];
	struct hash at = tc->base.hash;
	const struct known_header *k;
	printf("term %llu is %s, led by %u, base (%llu, %llu)\n", (unsigned long long)tc->term,
	       mode_name(tc->mode), tc->leader, (unsigned long long)tc->base.term,
	       (unsigned long long)tc->base.height);
	while ((k = map_get(&s->headers, at.b)) && k->height + 3 > top) {
		printf("  base chain %llu %s\n", (unsigned long long)k->height,
		       hash_short(hex, &at));
		at = k->prev;
	}
	if (!k)
		printf("  nobody has shown %s\n", hash_short(hex, &at));
	for (size_t i = top > 2 ? top - 2 : 0; i < s->log_len; i++)
		printf("  final %zu %s by a certificate of term %llu\n", i,
		       hash_short(hex, &s->log[i].hash),
		       (unsigned long long)s->log[i].final_term);
	for (unsigned i = 0; tc->new_view && i < tc->new_view->count; i++) {
		const struct position *p = &tc->new_view->vc[i].position;
		printf("  view change of %u: tip (%llu, %llu) %s, %u headers, qc %llu, "
		       "checkpoint "
		       "%llu\n",
		       tc->new_view->vc[i].signer, (unsigned long long)p->tip.term,
		       (unsigned long long)p->tip.height, hash_short(hex, &p->tip.hash),
		       p->header_count, (unsigned long long)(p->has_qc ? p->qc.ref.height : 0),
		       (unsigned long long)(p->has_checkpoint ? p->checkpoint.ref.height : 0));
	}
}

/* [S2] A fast term has one certificate. [S3] Its base contains every block that became final in
 * a lower term. A block of an older term that became final through a descendant counts from
 * that term on. */
void check_base(struct sim *s, uint64_t epoch, const struct term_cert *tc)
{
	for (unsigned i = 0; tc->new_view && i < tc->new_view->count; i++)
		check_position(s, &tc->new_view->vc[i].position);
	/* A pbft term may have several bases: a primary may sign two NEW-VIEWs, or lose one
	 * that it never sent in a crash. Each must contain what is final. */
	uint8_t key[32] = {0};
	store_be64(key, tc->term | epoch << 48);
	if (tc->mode == MODE_PBFT)
		memcpy(key + 8, tc->base.hash.b, 24);
	struct known_base *known = map_get(&s->bases, key);
	if (!known) {
		known = mem_alloc(sizeof *known);
		*known = (struct known_base){epoch, tc->base, tc->leader};
		map_put(&s->bases, key, known);
	} else if (known->leader != tc->leader || !block_ref_equal(&known->base, &tc->base)) {
		sim_violation(s, SIM_SAFETY, "[S2] term %llu has two certificates",
			      (unsigned long long)tc->term);
		return;
	}
	size_t top = s->log_len - 1, low = 0;
	if (epoch < s->epoch_count)
		low = s->epochs[epoch].start_height;
	if (epoch + 1 < s->epoch_count)
		top = s->epochs[epoch + 1].start_height;
	while (top > low && s->log[top].final_term >= tc->term)
		top--;
	struct hash at = tc->base.hash;
	if (s->options.trace && (!ancestor(s, &at, top) || !hash_equal(&at, &s->log[top].hash)))
		explain_base(s, tc, top);
	at = tc->base.hash;
	if (s->options.measure_conflicts)
		return; /* the fork itself is what counts */
	if (!ancestor(s, &at, top) || !hash_equal(&at, &s->log[top].hash))
		sim_violation(s, SIM_SAFETY,
			      "[S3] the base of term %llu (height %llu) does not contain the "
			      "final block at height %zu",
			      (unsigned long long)tc->term, (unsigned long long)tc->base.height,
			      top);
}

void check_term_cert(struct sim *s, unsigned node)
{
	const struct term_cert *tc = engine_term_cert(replica_engine(s->node[node].replica));
	if (tc->term <= s->node[node].tc_term)
		return;
	/* A baseline's leader may begin with blocks that were durable and never sent: to be
	 * judged once they are. (The hybrid's candidates show theirs.) */
	struct hash at = tc->base.hash;
	if (!protocol_is_byzantine(s->genesis.protocol) && !ancestor(s, &at, 0))
		return;
	s->node[node].tc_term = tc->term;
	check_modes_view(s, tc);
	check_base(s, s->node[node].epoch, tc);
}

/* The other direction: a block that becomes final now is in the base of every higher term. */
static void check_bases_contain(struct sim *s, size_t height)
{
	if (s->options.measure_conflicts)
		return;
	const struct log_record *r = &s->log[height];
	const struct known_base *b;
	const uint8_t *key;
	uint64_t epoch = sim_ctx_at(s, height)->epoch;
	for (size_t i = 0; (b = map_next(&s->bases, &i, &key)) != NULL;) {
		struct hash at = b->base.hash;
		uint64_t term = load_be64(key) & ((UINT64_C(1) << 48) - 1);
		if (b->epoch != epoch || term <= r->final_term)
			continue;
		if (!ancestor(s, &at, height) || !hash_equal(&at, &r->hash))
			sim_violation(
				s, SIM_SAFETY,
				"[S3] block %zu becomes final in term %llu, but is not in the "
				"base of term %llu",
				height, (unsigned long long)r->final_term,
				(unsigned long long)term);
	}
}

/* Who signed for a higher term votes in no lower one any more: view changes were made on its
 * word. What it had said before may be said again. */
static void check_left(struct sim *s, unsigned from, const struct vote *v,
		       const struct block_ref *said)
{
	struct sim_node *node = &s->node[from];
	if (v->ref.term < node->statement && position_compare(&v->ref, said) > 0)
		sim_violation(
			s, SIM_SAFETY,
			"[S1] replica %u votes in term %llu (height %llu, %s), which it left "
			"with a statement for term %llu",
			from, (unsigned long long)v->ref.term,
			(unsigned long long)v->ref.height,
			v->kind == VOTE_COMMIT ? "COMMIT" : "PREPARE",
			(unsigned long long)node->statement);
}

/* [S1], and durable before sent: what a replica voted in one life binds the next. Stricter than
 * the rule, which lets a vote follow a QC: whoever votes there has seen the rival block first
 * and trusts that leader no more. */
void check_vote(struct sim *s, unsigned from, const struct vote *v)
{
	struct block_ref *last = &s->node[from].vote;
	rewind_note_vote(s, from);
	if (sim_may_forget(s, from)) {
		if (position_compare(&v->ref, last) > 0)
			*last = v->ref;
		return;
	}
	check_left(s, from, v, last);
	if (v->ref.term < last->term)
		return; /* on its way to a leader of old; it was checked when it was new */
	if (block_ref_equal(&v->ref, last))
		return; /* once more: of a block that was durable, and perhaps never sent */
	if (v->ref.term == last->term) {
		const struct block_ref *low = v->ref.height < last->height ? &v->ref : last;
		struct hash at = low == last ? v->ref.hash : last->hash;
		if (!ancestor(s, &at, low->height) || !hash_equal(&at, &low->hash)) {
			sim_violation(
				s, SIM_SAFETY,
				"[S1] replica %u votes in term %llu for blocks at heights "
				"%llu and %llu that are not on one chain",
				from, (unsigned long long)v->ref.term,
				(unsigned long long)last->height,
				(unsigned long long)v->ref.height);
			return;
		}
	}
	if (position_compare(&v->ref, last) > 0)
		*last = v->ref;
}

static void check_commit(struct sim *s, unsigned from, const struct vote *v)
{
	struct sim_node *node = &s->node[from];
	if (sim_may_forget(s, from))
		return;
	check_left(s, from, v, &node->commit);
	if (position_compare(&v->ref, &node->commit) > 0)
		node->commit = v->ref;
}

static void note_statement(struct sim *s, unsigned from, unsigned signer, uint64_t term)
{
	if (signer == from && term > s->node[from].statement)
		s->node[from].statement = term;
}

static void check_votes(struct sim *s, unsigned from, const struct message_in *in)
{
	const struct msg_appended *a = &in->appended;
	const struct msg_heartbeat_ack *ack = &in->heartbeat_ack;
	switch (in->type) {
	case MSG_APPENDED:
		if (a->has_prepare)
			check_vote(s, from, &a->prepare);
		if (a->has_commit)
			check_commit(s, from, &a->commit);
		break;
	case MSG_HEARTBEAT_ACK:
		if (ack->has_prepare)
			check_vote(s, from, &ack->prepare);
		if (ack->has_commit)
			check_commit(s, from, &ack->commit);
		break;
	case MSG_PREPARE:
		check_vote(s, from, &in->prepare);
		break;
	case MSG_COMMIT:
		check_commit(s, from, &in->commit.commit);
		break;
	case MSG_ASK_VOTES:
		rewind_note_ask(s, from, in->ask_votes);
		break;
	case MSG_TERM_VOTE:
		note_statement(s, from, in->term_vote.signer, in->term_vote.term);
		break;
	case MSG_VIEW_CHANGE:
		note_statement(s, from, in->view_change.vc.signer, in->view_change.vc.term);
		break;
	default:
		break;
	}
}

/* Whoever sends it and whatever they think of it: nothing proves anything about the honest. */
static void check_evidence(struct sim *s, unsigned from, struct slice bytes)
{
	struct evidence ev;
	struct reader r;
	struct sig_counts before = sig_counts();
	reader_init(&r, bytes);
	evidence_decode(&r, &ev);
	uint64_t epoch = s->node[from].epoch;
	bool honest = epoch < s->epoch_count && !s->options.intercept && ev.culprit < s->n &&
		      !sim_may_forget(s, ev.culprit);
	if (!reader_finish(&r) && honest &&
	    evidence_check(&ev, &s->epochs[epoch], tx_never_valid) == ERR_NONE)
		sim_violation(s, SIM_SAFETY, "replica %u shows %s evidence against honest %u",
			      from, evidence_kind_name(ev.kind), ev.culprit);
	unpaid(s, before);
}

static bool observes(const struct sim *s, unsigned node)
{
	return (s->node[node].wiped || !member_is_placed(s, node)) && !sim_is_corrupt(s, node);
}

uint64_t check_signed(const struct sim *s)
{
	return sig_counts().made - s->unpaid.made;
}

void check_silence(struct sim *s, unsigned node, uint64_t before)
{
	if (s->options.unchecked)
		return;
	uint64_t made = check_signed(s) - before;
	bool was = s->node[node].observed; /* else its place has been given away in this step */
	s->node[node].observed = observes(s, node);
	if (was && s->node[node].observed && made)
		sim_violation(s, SIM_SAFETY,
			      "[I15] replica %u has lost its vote state, and signs %llu times",
			      node, (unsigned long long)made);
}

/* [I20] It has not been told yet what it has signed. */
static bool asks(const struct sim *s, unsigned node)
{
	struct engine_status status;
	if (!rewind_asks(s) || sim_is_corrupt(s, node) || !s->node[node].replica)
		return false;
	replica_status(s->node[node].replica, &status);
	return status.asks;
}

/* Messages that have nothing in them which their sender signs. */
static void check_unsigned(struct sim *s, unsigned from, uint8_t type)
{
	const uint64_t kinds = UINT64_C(1) << MSG_FETCH | UINT64_C(1) << MSG_BLOCKS |
			       UINT64_C(1) << MSG_FORWARD | UINT64_C(1) << MSG_RELAY |
			       UINT64_C(1) << MSG_EVIDENCE | UINT64_C(1) << MSG_FETCH_VIEW |
			       UINT64_C(1) << MSG_NEW_VIEW | UINT64_C(1) << MSG_MEMBER |
			       UINT64_C(1) << MSG_FINAL | UINT64_C(1) << MSG_ASK_VOTES |
			       UINT64_C(1) << MSG_VOTES | UINT64_C(1) << MSG_ECHO;
	if (!(kinds >> type & 1) && engine_message_is_sync(type))
		return;
	if (!(kinds >> type & 1))
		sim_violation(s, SIM_SAFETY,
			      "[I15] [I20] replica %u does not know what it has signed, and "
			      "sends %s",
			      from, engine_message_name(type));
}

void check_sent(struct sim *s, unsigned from, const struct message *m)
{
	struct message_in *in = s->decoded;
	struct slice bytes;
	if (!check_epoch_sent(s, from, m, &bytes))
		return;
	if (observes(s, from) || asks(s, from))
		check_unsigned(s, from, m->type);
	if (!protocol_is_byzantine(s->genesis.protocol)) {
		check_sent_crash(s, from, m);
		return;
	}
	if (m->type != MSG_APPEND && m->type != MSG_APPENDED && m->type != MSG_HEARTBEAT_ACK &&
	    m->type != MSG_PREPARE && m->type != MSG_VIEW_CHANGE &&
	    m->type != MSG_VOTE_REQUEST && m->type != MSG_PRE_VOTE_REQUEST &&
	    m->type != MSG_BLOCKS && m->type != MSG_COMMIT && m->type != MSG_TERM_VOTE &&
	    m->type != MSG_EVIDENCE && m->type != MSG_ASK_VOTES)
		return;
	if (message_decode(in, bytes)) {
		if (sim_is_corrupt(s, from))
			return;
		sim_violation(s, SIM_SAFETY, "replica %u sends what does not decode", from);
		return;
	}
	check_votes(s, from, in);
	if (m->type == MSG_VIEW_CHANGE)
		check_position(s, &in->view_change.vc.position);
	if (m->type == MSG_VOTE_REQUEST || m->type == MSG_PRE_VOTE_REQUEST)
		check_position(s, &in->vote_request.position);
	if (m->type == MSG_EVIDENCE)
		check_evidence(s, from, in->evidence);
	if (m->type == MSG_BLOCKS)
		for (uint32_t i = 0; i < in->blocks.count; i++)
			check_header(s, &in->blocks.blocks[i]->sh.h,
				     &in->blocks.blocks[i]->hash);
	if (m->type == MSG_APPEND) {
		for (uint32_t i = 0; i < in->append.count; i++)
			check_header(s, &in->append.blocks[i]->sh.h,
				     &in->append.blocks[i]->hash);
		note_own_block(s, from, &in->append);
		if (!in->append.count)
			s->result->lone_certificates += (uint64_t)__builtin_popcountll(m->to);
	}
	message_free(in);
}

/* Among honest replicas nobody is accused and nothing is malformed. */
void check_counters(struct sim *s, unsigned node, const struct engine_status *status)
{
	static const enum engine_counter none[] = {COUNT_EQUIVOCATIONS, COUNT_BAD_MESSAGES,
						   COUNT_BLOCKS_REFUSED,
						   COUNT_POSITION_INVALID};
	for (unsigned i = 0; i < MEM_COUNT(none) && !s->result->rewound; i++)
		if (status->counters[none[i]])
			sim_violation(s, SIM_SAFETY,
				      "replica %u counts %llu %s among honest ones", node,
				      (unsigned long long)status->counters[none[i]],
				      engine_counter_name(none[i]));
}

void check_innocence(struct sim *s, unsigned node)
{
	struct engine_status status;
	replica_status(s->node[node].replica, &status);
	s->result->jailed_mask |= status.modes.jailed;
	uint64_t fresh = status.accused & ~s->result->accused_mask;
	s->result->accused_mask |= status.accused;
	check_modes_step(s, node, &status);
	check_rounds_step(s, node, &status);
	if (status.accused && !s->result->first_proof_us)
		s->result->first_proof_us = s->now;
	unsigned leader = fresh ? sim_leader(s) : s->n;
	if (leader < s->n && fresh >> leader & 1)
		failover_begins(s);
	uint64_t framed = (status.modes.jailed | status.accused) & ~s->corrupt;
	for (unsigned i = 0; i < s->n; i++)
		framed &= ~((uint64_t)sim_may_forget(s, i) << i);
	if (framed)
		sim_violation(s, SIM_SAFETY,
			      "replica %u holds proof against the honest (mask %llx)", node,
			      (unsigned long long)framed);
}

void check_refused(struct sim *s, unsigned node, const struct hash *id, int err)
{
	uint64_t height;
	uint32_t index;
	struct replica *r = s->node[node].replica;
	if (err == ERR_BUSY || sim_is_corrupt(s, node))
		return;
	/* Dropped because it is final is not refused: the retry learns it. */
	if (r && ledger_find_tx(replica_ledger(r), id, &height, &index) == ERR_NONE)
		return;
	/* Nor is it told from a rival of its nonce by who has no index so far back. */
	bool forgets = s->node[node].synced || s->options.blocks;
	if (forgets && (err == ERR_TX_NONCE_USED || err == ERR_TX_NONCE_WINDOW) &&
	    map_get(&s->final_ids, id->b))
		return;
	if (map_get(&s->final_ids, id->b))
		sim_violation(s, SIM_SAFETY,
			      "replica %u refuses a final transaction for good: %s", node,
			      err_text(err));
	map_put(&s->refused, id->b, s);
}

void check_acknowledged(struct sim *s, const struct hash *id)
{
	if (!s->options.unchecked && !map_get(&s->final_ids, id->b))
		map_put(&s->acked, id->b, s);
}

/* What was acknowledged anywhere is in every replica's own index, once all are level. */
static void check_acked_everywhere(struct sim *s, unsigned node)
{
	struct ledger *l = replica_ledger(s->node[node].replica);
	const uint8_t *id;
	for (size_t i = 0; map_next(&s->final_ids, &i, &id) != NULL && !s->stopped;) {
		uint64_t height;
		uint32_t index;
		struct hash h;
		memcpy(h.b, id, sizeof h.b);
		if (ledger_find_tx(l, &h, &height, &index))
			sim_violation(s, SIM_SAFETY, "replica %u lost a final transaction",
				      node);
	}
}

void check_end(struct sim *s)
{
	if (map_len(&s->acked))
		sim_violation(s, SIM_SAFETY, "%zu acknowledged transactions are lost",
			      map_len(&s->acked));
	for (unsigned i = s->options.dead; i < s->n; i++) {
		if (sim_is_corrupt(s, i))
			continue;
		struct ledger *l = replica_ledger(s->node[i].replica);
		uint64_t height = ledger_height(l);
		if (!hash_equal(ledger_root(l), &s->log[height].state_root))
			sim_violation(s, SIM_SAFETY, "replica %u: state root differs at %llu",
				      i, (unsigned long long)height);
		if (!s->node[i].synced && !s->options.blocks) /* else those kept are few */
			check_acked_everywhere(s, i);
	}
	sha256(&s->result->log_hash, s->log_bytes.buf, s->log_bytes.len);
}
