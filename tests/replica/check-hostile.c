/* One correct replica, number 2 of four, against a world in which everything else is written by hand.
 * Replica 3 is malicious, 1 leads term 1, 0 is correct. Each test here shows a hole: it fails as
 * long as the hole is there (tests/HOLES). */
#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/hybrid/message.h"
#include "consensus/log.h"
#include "replica/private.h"
#include "tests/ledger/world.h"

#define VICTIM	 2u
#define LEADER	 1u
#define MALICE	 3u
#define HEARTBEAT 50000u

static struct world w;
static struct store *store;
static struct replica *replica;
static const char *halted;
static uint64_t now;
static bool verify_txs;

struct sent {
	uint64_t to;
	uint8_t type;
	struct writer bytes;
};
static struct sent sent[65536];
static unsigned sent_count;

static void host_send(void *ctx, const struct message *m)
{
	struct sent *s = &sent[sent_count++];
	ck_assert_uint_lt(sent_count, 65536);
	s->to = m->to;
	s->type = m->type;
	writer_raw(&s->bytes, m->bytes.ptr, m->bytes.len);
}
static bool host_sync(void *ctx, uint64_t seq)
{
	return true;
}
static void host_final(void *ctx, struct block *b, const struct cert *cert)
{
}
static void host_rejected(void *ctx, const struct hash *id, int err)
{
}
static void host_halted(void *ctx, const char *why)
{
	halted = why;
}
static uint64_t host_wall(void *ctx)
{
	return 1700000000000 + now / 1000;
}

static void forget_sent(void)
{
	while (sent_count)
		writer_free(&sent[--sent_count].bytes);
}

static void open_replica(void)
{
	const struct replica_config config = {.genesis = &w.genesis,
					      .store = store,
					      .self = VICTIM,
					      .key = w.validator[VICTIM],
					      .seed = 1,
					      .now = now,
					      .verify_txs = verify_txs,
					      .host = {.send = host_send,
						       .sync = host_sync,
						       .final = host_final,
						       .rejected = host_rejected,
						       .halted = host_halted,
						       .wall_ms = host_wall}};
	struct errmsg m = {{0}};
	ck_assert_msg(replica_open(&replica, &config, &m) == ERR_NONE, "%s", m.text);
	replica_tick(replica, now);
}

static void setup(void)
{
	world_genesis(&w, 0);
	w.genesis.time_ms = 1600000000000;
	world_seal(&w);
	world_open(&w, NULL);
	store = store_open_memory();
	halted = NULL;
	now = 1000000;
	sent_count = 0;
	open_replica();
}

static void teardown(void)
{
	replica_close(replica);
	store_close(store);
	forget_sent();
	world_free(&w);
}

static void deliver(unsigned from, struct writer *bytes)
{
	replica_message(replica, now, from, writer_slice(bytes));
	writer_free(bytes);
}

/* Time passes in small steps. */
static void pass(uint64_t us)
{
	uint64_t end = now + us;
	while (now < end) {
		now += 1000;
		if (replica_wake_at(replica) <= now)
			replica_tick(replica, now);
	}
}

static const struct sent *newest(uint8_t type, unsigned to)
{
	for (unsigned i = sent_count; i-- > 0;)
		if (sent[i].type == type && sent[i].to >> to & 1)
			return &sent[i];
	return NULL;
}

/* TC of a fast term of leader term % 4, by everybody but the victim. */
static void make_tc(struct term_cert *tc, uint64_t term, const struct block *base)
{
	term_cert_init(tc);
	tc->term = term;
	tc->leader = (uint16_t)(term % 4);
	tc->base = block_ref_of(base);
	for (unsigned i = 0; i < 4; i++) {
		if (i == VICTIM)
			continue;
		struct term_vote v = {
			.term = term, .leader = tc->leader, .base = tc->base, .signer = (uint16_t)i};
		term_vote_sign(&v, &w.ctx, &w.validator[i]);
		tc->signers |= UINT64_C(1) << i;
		tc->sig[tc->count++] = v.sig;
	}
}

static void heartbeat(unsigned from, uint64_t term, const struct term_cert *tc,
		      const struct block *tip, uint64_t final)
{
	struct writer out = {0};
	struct msg_heartbeat m = {.term = term,
				  .tip_height = tip->sh.h.height,
				  .tip = tip->hash,
				  .final_height = final,
				  .has_tc = tc != NULL};
	if (tc)
		m.tc = *tc;
	msg_heartbeat_encode(&out, &m);
	deliver(from, &out);
}

static void append(unsigned from, uint64_t term, const struct term_cert *tc, struct block *b,
		   const struct cert *final)
{
	static struct msg_append m;
	struct writer out = {0};
	m = (struct msg_append){.term = term, .has_tc = tc != NULL, .has_final = final != NULL};
	if (tc)
		m.tc = *tc;
	if (final)
		m.final = *final;
	m.count = b ? 1 : 0;
	m.blocks[0] = b;
	msg_append_encode(&out, &m);
	deliver(from, &out);
}

static void send_blocks(unsigned from, struct block *const *blocks, uint32_t count,
			const struct cert *cert, uint64_t final)
{
	static struct msg_blocks m;
	struct writer out = {0};
	m = (struct msg_blocks){.has_cert = cert != NULL, .final_height = final, .count = count};
	if (cert)
		m.cert = *cert;
	for (uint32_t i = 0; i < count; i++)
		m.blocks[i] = blocks[i];
	msg_blocks_encode(&out, &m);
	deliver(from, &out);
}

/* The newest PREPARE that the victim has sent to its leader, of any kind of message. */
static bool has_prepared(const struct block *b)
{
	static struct message_in in;
	bool found = false;
	for (unsigned i = 0; i < sent_count && !found; i++) {
		if (sent[i].type != MSG_APPENDED && sent[i].type != MSG_HEARTBEAT_ACK)
			continue;
		ck_assert_int_eq(message_decode(&in, writer_slice(&sent[i].bytes)), ERR_NONE);
		const struct vote *v = NULL;
		if (in.type == MSG_APPENDED && in.appended.has_prepare)
			v = &in.appended.prepare;
		if (in.type == MSG_HEARTBEAT_ACK && in.heartbeat_ack.has_prepare)
			v = &in.heartbeat_ack.prepare;
		found = v && hash_equal(&v->ref.hash, &b->hash);
		message_free(&in);
	}
	return found;
}

static struct block *empty_block(const struct block *parent, uint64_t term)
{
	struct writer body = {0};
	struct hash root;
	body_begin(&body);
	body_end(&body, 0);
	merkle_root(&root, NULL, 0);
	struct block *b = world_seal_block(&w, parent, term, writer_slice(&body), &root,
					   &parent->sh.h.state_root, 0);
	writer_free(&body);
	return b;
}

static uint64_t final_height(void)
{
	struct engine_status s;
	replica_status(replica, &s);
	return s.final.height;
}

/* Term 1 by its leader, one block in it, final. */
static struct block *first_block(struct term_cert *tc)
{
	make_tc(tc, LEADER, w.block0);
	struct block *b = empty_block(w.block0, LEADER);
	heartbeat(LEADER, LEADER, tc, w.block0, 0);
	append(LEADER, LEADER, tc, b, NULL);
	ck_assert(has_prepared(b));
	struct cert c;
	world_cert(&w, b, CERT_ONE_ROUND, 3, &c);
	append(LEADER, LEADER, NULL, NULL, &c);
	ck_assert_uint_eq(final_height(), 1);
	return b;
}

/* ---- [H1] ---------------------------------------------------------------------------------
 * Blocks of terms that do not exist, each signed by replica 3 as their leader: siblings, so that no
 * two are of one term and nothing proves anything. They use up the ledger's overlays, which only
 * finality frees; then the honest leader's block is called invalid, for ever. */

START_TEST(made_up_terms_do_not_use_up_the_ledger)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	uint64_t term = 4003;
	for (unsigned round = 0; round < 8; round++) {
		struct block *fake[200];
		heartbeat(MALICE, 1000000, NULL, b1, 1);
		for (unsigned i = 0; i < 200; i++, term += 4)
			fake[i] = empty_block(b1, term);
		send_blocks(MALICE, fake, 200, NULL, 1);
		for (unsigned i = 0; i < 200; i++)
			block_drop(fake[i]);
		pass(2000);
		heartbeat(LEADER, LEADER, NULL, b1, 1);
	}
	forget_sent();
	struct block *b2 = empty_block(b1, LEADER);
	append(LEADER, LEADER, NULL, b2, NULL);
	struct cert c;
	world_cert(&w, b2, CERT_ONE_ROUND, 2, &c);
	ck_assert_msg(has_prepared(b2), "no vote for the honest leader's block");
	ck_assert_ptr_null(halted);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* The same, and the others make that block final: the victim believes that its state has diverged. */
START_TEST(made_up_terms_do_not_halt_a_replica)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	uint64_t term = 4003;
	for (unsigned round = 0; round < 8; round++) {
		struct block *fake[200];
		heartbeat(MALICE, 1000000, NULL, b1, 1);
		for (unsigned i = 0; i < 200; i++, term += 4)
			fake[i] = empty_block(b1, term);
		send_blocks(MALICE, fake, 200, NULL, 1);
		for (unsigned i = 0; i < 200; i++)
			block_drop(fake[i]);
		pass(2000);
		heartbeat(LEADER, LEADER, NULL, b1, 1);
	}
	struct block *b2 = empty_block(b1, LEADER);
	struct cert c;
	world_cert(&w, b2, CERT_TWO_ROUND, 4, &c); /* the victim was slower than the others */
	append(LEADER, LEADER, NULL, b2, &c);
	ck_assert_msg(halted == NULL, "%s", halted);
	for (unsigned i = 0; i < 40; i++) {
		heartbeat(LEADER, LEADER, NULL, b2, 2);
		const struct sent *f = newest(MSG_FETCH, LEADER);
		if (f)
			send_blocks(LEADER, &b2, 1, &c, 2);
		pass(HEARTBEAT);
	}
	ck_assert_uint_eq(final_height(), 2);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [H5] ---------------------------------------------------------------------------------
 * Block 2 was lost, block 3 is here: the leader has it, and says so with every heartbeat. Replica 3
 * keeps the victim's one fetch to itself: a heartbeat of a higher term draws it, an answer without
 * blocks just before the time limit ends it, the next heartbeat draws the next. */

START_TEST(one_peer_does_not_keep_all_fetches)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct block *b2 = empty_block(b1, LEADER), *b3 = empty_block(b2, LEADER);
	heartbeat(MALICE, 1000000, NULL, b1, 1);
	ck_assert_ptr_nonnull(newest(MSG_FETCH, MALICE));
	forget_sent();
	append(LEADER, LEADER, NULL, b3, NULL);
	bool asked = false;
	for (unsigned ms = 1; ms < 10000 && !asked; ms++) {
		if (ms % 90 == 0) {
			struct block *fake = empty_block(b1, 4003 + 4 * ms); /* of no term */
			if (_i == 1)
				send_blocks(MALICE, NULL, 0, NULL, 1);
			if (_i == 2)
				send_blocks(MALICE, &fake, 1, NULL, 1);
			block_drop(fake);
			heartbeat(MALICE, 1000000, NULL, b1, 1);
		}
		if (ms % 50 == 0)
			heartbeat(LEADER, LEADER, NULL, b3, 1);
		pass(1000);
		asked = newest(MSG_FETCH, LEADER) != NULL || newest(MSG_FETCH, 0) != NULL;
	}
	ck_assert_msg(asked, "nobody but the liar is asked for block 2 in 10 s");
	block_drop(b3);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* The leader of pbft term 5 (1) and replica 0 name its NEW-VIEW by hash; so does replica 3, sooner,
 * and never answers. */
START_TEST(one_peer_does_not_keep_a_new_view_away)
{
	struct term_cert tc, ref;
	struct block *b1 = first_block(&tc);
	term_cert_init(&ref);
	ref.mode = MODE_PBFT;
	ref.term = 5;
	ref.new_view_hash = (struct hash){{7}};
	bool asked = false;
	for (unsigned ms = 1; ms < 10000 && !asked; ms++) {
		heartbeat(MALICE, 5, &ref, b1, 1);
		if (ms % 50 == 0) {
			heartbeat(LEADER, 5, &ref, b1, 1);
			heartbeat(0, 5, &ref, b1, 1);
		}
		pass(1000);
		asked = newest(MSG_FETCH_VIEW, LEADER) || newest(MSG_FETCH_VIEW, 0);
		if (sent_count > 1000 && !asked)
			forget_sent();
	}
	ck_assert_msg(asked, "nobody but the liar is asked for the NEW-VIEW in 10 s");
	block_drop(b1);
}
END_TEST

/* ---- [H7] ---------------------------------------------------------------------------------
 * A fast block with a mode entry gets no votes. But its leader stands for the next term with it as
 * base, and nobody looks at the entry again: the entry becomes final. */

START_TEST(no_mode_entry_in_a_fast_block)
{
	struct term_cert tc, tc3, tc7;
	struct block *b1 = first_block(&tc);
	struct writer out = {0};
	const struct system_tx entry = {
		.kind = SYSTEM_ESCALATED, .height = 2, .term = 3, .reason = REASON_PROOF};
	system_tx_encode(&out, &entry, &w.ctx);
	struct slice tx = writer_slice(&out);
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	struct block *bad = world_build(&w, b1, 3, &tx, 1, NULL);
	ck_assert_int_eq(ledger_execute(w.ledger, bad, false), ERR_NONE);

	make_tc(&tc3, 3, b1);
	heartbeat(MALICE, 3, &tc3, b1, 1);
	append(MALICE, 3, NULL, bad, NULL);
	ck_assert(!has_prepared(bad)); /* so far, so good */

	struct block *next = world_build(&w, bad, 7, NULL, 0, NULL);
	make_tc(&tc7, 7, bad); /* rule 1: its tip is of term 3 */
	heartbeat(MALICE, 7, &tc7, bad, 1);
	send_blocks(MALICE, &bad, 1, NULL, 1);
	append(MALICE, 7, NULL, next, NULL);
	pass(HEARTBEAT);
	heartbeat(MALICE, 7, NULL, next, 1);
	ck_assert_msg(!has_prepared(next),
		      "a vote for a chain that records an escalation which never was");
	block_drop(next);
	block_drop(bad);
	block_drop(b1);
	writer_free(&out);
}
END_TEST

/* ---- [H8] ---------------------------------------------------------------------------------
 * The leader of term 1 commits nothing. The victim alone goes over to pbft mode; the others, who have no
 * work, stay. What a client gives it from then on, it tells nobody. */

START_TEST(a_stray_passes_transactions_on)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct engine_status s;
	struct hash id;
	struct slice first = world_put(&w, 0, 1, "a", "1"), second = world_put(&w, 0, 2, "b", "2");
	ck_assert_int_eq(replica_submit(replica, now, first, false, &id), ERR_NONE);
	for (unsigned i = 0; i < 200; i++) {
		heartbeat(LEADER, LEADER, NULL, b1, 1);
		heartbeat(0, 0, NULL, b1, 1);
		heartbeat(MALICE, 0, NULL, b1, 1);
		pass(HEARTBEAT);
	}
	replica_status(replica, &s);
	ck_assert(s.escalated);
	ck_assert_uint_gt(s.term, 1);
	forget_sent();
	ck_assert_int_eq(replica_submit(replica, now, second, false, &id), ERR_NONE);
	static struct message_in in;
	bool told = false;
	for (unsigned i = 0; i < 1200 && !told; i++) { /* a minute */
		heartbeat(LEADER, LEADER, NULL, b1, 1);
		heartbeat(0, 0, NULL, b1, 1);
		pass(HEARTBEAT);
		for (unsigned k = 0; k < sent_count; k++) {
			if (sent[k].type != MSG_RELAY && sent[k].type != MSG_FORWARD)
				continue;
			ck_assert_int_eq(message_decode(&in, writer_slice(&sent[k].bytes)), ERR_NONE);
			for (uint32_t x = 0; x < in.txs.count; x++)
				told |= slice_equal(in.txs.tx[x], second);
		}
		forget_sent();
	}
	ck_assert_msg(told, "the second transaction is told to nobody in 60 s");
	mem_free((void *)first.ptr);
	mem_free((void *)second.ptr);
	block_drop(b1);
}
END_TEST

/* ---- [H9] ---------------------------------------------------------------------------------
 * The victim is primary of term 2. Replica 3's view change shows a QC of another term that nobody signed:
 * it counts as none, and the view change as valid. Whoever gets the NEW-VIEW can have the victim
 * convicted for it. */

static void view_change_at(struct view_change *v, uint64_t term, unsigned signer,
			   const struct term_cert *tc, const struct block *tip)
{
	view_change_init(v);
	v->term = term;
	v->signer = (uint16_t)signer;
	v->reason = REASON_TIMEOUTS;
	v->position.tip = block_ref_of(tip);
	term_cert_copy_ref(&v->position.tc, tc);
	v->position.headers = mem_array(1, sizeof *v->position.headers);
	v->position.headers[0] = tip->sh;
	v->position.header_count = 1;
}

static void send_view_change_of(struct view_change *v)
{
	struct writer out = {0};
	struct msg_view_change m = {.vc = *v};
	entitlement_init(&m.entitlement);
	msg_view_change_encode(&out, &m);
	deliver(v->signer, &out);
	view_change_free(v);
}

START_TEST(an_honest_primary_is_not_convicted_for_what_it_may_take)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct view_change v;
	view_change_at(&v, 2, 0, &tc, b1);
	view_change_sign(&v, &w.ctx, &w.validator[0]);
	send_view_change_of(&v);
	view_change_at(&v, 2, MALICE, &tc, b1);
	v.position.has_qc = true;
	v.position.qc = (struct cert){.kind = CERT_QC_FAST,
				      .ref = {.term = 77, .height = 99},
				      .signers = 7,
				      .count = 3};
	view_change_sign(&v, &w.ctx, &w.validator[MALICE]);
	send_view_change_of(&v);
	pass(10 * HEARTBEAT);
	/* replica 1 is slow, but comes: without number 3 the set is complete as well */
	view_change_at(&v, 2, 1, &tc, b1);
	view_change_sign(&v, &w.ctx, &w.validator[1]);
	send_view_change_of(&v);
	pass(10 * HEARTBEAT);
	const struct sent *s = newest(MSG_NEW_VIEW, 0);
	ck_assert_ptr_nonnull(s);
	static struct message_in in;
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	ck_assert_uint_eq(in.new_view.tc.new_view->signer, VICTIM);
	struct evidence e;
	struct writer bytes = {0};
	ck_assert(evidence_of_new_view(&e, &bytes, in.new_view.tc.new_view));
	ck_assert_int_eq(e.culprit, VICTIM);
	ck_assert_msg(evidence_check(&e, &w.ctx, NULL) != ERR_NONE,
		      "the correct primary's own NEW-VIEW convicts it");
	message_free(&in);
	writer_free(&bytes);
	block_drop(b1);
}
END_TEST

/* ---- [H5c] --------------------------------------------------------------------------------
 * The victim is primary of term 6 and misses the bodies behind two view changes. Replica 0, which led
 * term 4, answers no fetch; replica 1 would. */

START_TEST(bodies_are_asked_of_everybody_who_shows_some)
{
	struct term_cert tc, tc4;
	struct block *b1 = first_block(&tc);
	struct block *b2 = empty_block(b1, 4), *b3 = empty_block(b2, 4);
	struct view_change v;
	make_tc(&tc4, 4, b1);
	view_change_at(&v, 6, 1, &tc4, b2);
	view_change_sign(&v, &w.ctx, &w.validator[1]);
	struct view_change of_holder = v;
	view_change_at(&v, 6, 0, &tc4, b3);
	mem_free(v.position.headers);
	v.position.headers = mem_array(2, sizeof *v.position.headers);
	v.position.headers[0] = b3->sh;
	v.position.headers[1] = b2->sh;
	v.position.header_count = 2;
	view_change_sign(&v, &w.ctx, &w.validator[0]);
	send_view_change_of(&v);
	send_view_change_of(&of_holder);
	bool asked = false;
	for (unsigned i = 0; i < 200 && !asked; i++) {
		pass(HEARTBEAT);
		asked = newest(MSG_FETCH, 1) != NULL;
	}
	ck_assert_ptr_nonnull(newest(MSG_FETCH, 0));
	ck_assert_msg(asked, "replica 1 is not asked for what it shows in 10 s");
	block_drop(b3);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [H10] --------------------------------------------------------------------------------
 * A malicious primary signs fifty NEW-VIEWs of its term, all valid. Two prove it; the rest is kept too. */

START_TEST(two_new_views_of_a_term_are_enough)
{
	struct term_cert tc, pbft;
	struct block *b1 = first_block(&tc);
	unsigned answered = 0;
	struct hash hash[50];
	for (unsigned i = 0; i < 50; i++) {
		struct writer out = {0};
		struct msg_new_view m = {0};
		term_cert_init(&pbft);
		pbft.mode = MODE_PBFT;
		pbft.term = 3;
		pbft.leader = MALICE;
		pbft.new_view = mem_zalloc(sizeof *pbft.new_view);
		*pbft.new_view = (struct new_view){.term = 3, .count = 3, .signer = MALICE};
		pbft.new_view->vc = mem_array(3, sizeof *pbft.new_view->vc);
		static const unsigned who[] = {0, 1, MALICE};
		for (unsigned k = 0; k < 3; k++) {
			struct view_change *v = &pbft.new_view->vc[k];
			view_change_at(v, 3, who[k], &tc, b1);
			v->last_mode_change = k == 2 ? i : 0;
			view_change_sign(v, &w.ctx, &w.validator[who[k]]);
		}
		new_view_sign(pbft.new_view, &w.ctx, &w.validator[MALICE]);
		new_view_hash(&hash[i], pbft.new_view);
		m.tc = pbft;
		msg_new_view_encode(&out, &m);
		deliver(MALICE, &out);
		term_cert_free(&pbft);
	}
	forget_sent();
	for (unsigned i = 0; i < 50; i++) {
		struct writer out = {0};
		struct msg_fetch_view m = {.term = 3, .hash = hash[i]};
		msg_fetch_view_encode(&out, &m);
		deliver(0, &out);
		answered += newest(MSG_NEW_VIEW, 0) != NULL;
		forget_sent();
	}
	ck_assert_msg(answered >= 1 && answered <= 3, "%u NEW-VIEWs of one term are kept", answered);
	block_drop(b1);
}
END_TEST

/* ---- [H11] --------------------------------------------------------------------------------
 * How many headers are looked at (each costs a signature check, up to 4096 a view change) before a
 * NEW-VIEW of replica 3 is refused in which it alone has signed anything. */

static unsigned looked_at;
static bool count_looks(void *arg, const struct signed_header *sh, const struct hash *hash)
{
	looked_at++;
	return true;
}

START_TEST(forged_view_changes_cost_no_header_checks)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct new_view nv = {.term = 3, .count = 3, .signer = MALICE};
	struct view_lookup look = {.is_checked = count_looks};
	struct selection s;
	nv.vc = mem_array(3, sizeof *nv.vc);
	for (unsigned k = 0; k < 3; k++) { /* as if it had index 0: its own comes first */
		view_change_at(&nv.vc[k], 3, k, &tc, b1);
		view_change_sign(&nv.vc[k], &w.ctx, &w.validator[k == 0 ? 0 : 2]);
	}
	new_view_sign(&nv, &w.ctx, &w.validator[MALICE]);
	looked_at = 0;
	ck_assert_int_ne(new_view_check(&nv, &w.ctx, &w.block0->hash, &look, &s, NULL), ERR_NONE);
	ck_assert_msg(looked_at == 0, "%u headers", looked_at);
	new_view_free(&nv);
	block_drop(b1);
}
END_TEST

/* The same for a position whose NEW-VIEW is not known: it is checked again every 12 ms. */
START_TEST(an_unknown_new_view_costs_no_header_checks)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct signed_header sh = {.h = b1->sh.h};
	struct view_lookup look = {.is_checked = count_looks};
	struct missing missing = {0};
	struct position p;
	sh.h.mode = MODE_PBFT;
	sh.h.term = 3;
	sh.h.leader = 3;
	sh.h.new_view = (struct hash){{9}};
	position_init(&p);
	p.tip = (struct block_ref){.term = 3, .height = 1};
	header_hash(&p.tip.hash, &sh.h);
	p.tc.mode = MODE_PBFT;
	p.tc.term = 3;
	p.tc.new_view_hash = sh.h.new_view;
	p.headers = mem_array(1, sizeof sh);
	p.headers[0] = sh;
	p.header_count = 1;
	looked_at = 0;
	ck_assert_int_eq(position_check(&p, 4, &w.ctx, &w.block0->hash, &look, &missing),
			 ERR_NOT_FOUND);
	ck_assert_msg(looked_at == 0, "%u headers", looked_at);
	position_free(&p);
	block_drop(b1);
}
END_TEST

/* ---- [H12] --------------------------------------------------------------------------------
 * 300 transactions come within 0.3 s; the leader, which is as fair as can be, orders one in 10 ms, the
 * oldest first: blocks hold no more. Nobody has a reason to suspect it. */

static void setup_small(void)
{
	world_genesis(&w, 0);
	w.genesis.time_ms = 1600000000000;
	w.genesis.limits.block_txs_max = 1;
	w.genesis.checkpoint_interval = 8;
	w.genesis.probation = 1;
	world_seal(&w);
	world_open(&w, NULL);
	store = store_open_memory();
	halted = NULL;
	now = 1000000;
	sent_count = 0;
	open_replica();
}

START_TEST(load_is_no_censorship)
{
	struct term_cert tc;
	struct block *b = first_block(&tc);
	struct slice tx[300];
	struct hash id;
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	for (unsigned i = 0; i < 300; i++) {
		struct op op = op_put("a", "1");
		tx[i] = world_tx(&w, &w.client[0], i + 1, 5000, &op, 1);
		ck_assert_int_eq(replica_submit(replica, now, tx[i], false, &id), ERR_NONE);
		if (i % 50 == 0)
			heartbeat(LEADER, LEADER, NULL, b, 1);
		pass(1000);
	}
	for (unsigned i = 0; i < 300; i++) {
		struct block *next = world_build(&w, b, LEADER, &tx[i], 1, NULL);
		struct cert c;
		ck_assert_int_eq(ledger_execute(w.ledger, next, false), ERR_NONE);
		ck_assert_uint_eq(next->tx_count, 1);
		append(LEADER, LEADER, NULL, next, NULL);
		world_cert(&w, next, CERT_ONE_ROUND, 3, &c);
		append(LEADER, LEADER, NULL, NULL, &c);
		if (i % 5 == 0)
			heartbeat(LEADER, LEADER, NULL, next, next->sh.h.height);
		pass(10000);
		block_drop(b);
		b = next;
	}
	ck_assert_uint_eq(final_height(), 301);
	ck_assert_msg(newest(MSG_SUSPICION, LEADER) == NULL, "a fair leader is suspected");
	world_free_txs(tx, 300);
	block_drop(b);
}
END_TEST

/* ---- [H15] --------------------------------------------------------------------------------
 * FETCH has 17 bytes, its answer up to 2 MiB and 9 ms of the only thread. Fifty in one instant. */

START_TEST(fetches_of_one_peer_are_limited)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	unsigned answers = 0;
	forget_sent();
	for (unsigned i = 0; i < 50; i++) {
		struct writer out = {0};
		struct msg_fetch m = {.from_height = (uint64_t)_i + 1, .newest_tc = 0};
		msg_fetch_encode(&out, &m);
		deliver(MALICE, &out);
	}
	for (unsigned i = 0; i < sent_count; i++)
		answers += sent[i].type == MSG_BLOCKS;
	ck_assert_msg(answers >= 1 && answers <= 4, "%u answers", answers);
	block_drop(b1);
}
END_TEST

/* ---- [H16] --------------------------------------------------------------------------------
 * The primary of term 3 signs two NEW-VIEWs. The victim has been out of touch; it fetches block 2, which
 * is final under the first one, and the certificate of term 3 that comes next is the second. From then on
 * the two do not fit each other in what the victim shows: no view change of its is valid. */

static void make_new_view(struct term_cert *pbft, uint64_t term, const struct term_cert *tc,
			  const struct block *tip, unsigned mark)
{
	static const unsigned who[] = {0, 1, MALICE};
	term_cert_init(pbft);
	pbft->mode = MODE_PBFT;
	pbft->term = term;
	pbft->leader = (uint16_t)(term % 4);
	pbft->base = block_ref_of(tip);
	pbft->new_view = mem_zalloc(sizeof *pbft->new_view);
	*pbft->new_view = (struct new_view){.term = term, .count = 3, .signer = pbft->leader};
	pbft->new_view->vc = mem_array(3, sizeof *pbft->new_view->vc);
	for (unsigned k = 0; k < 3; k++) {
		struct view_change *v = &pbft->new_view->vc[k];
		view_change_at(v, term, who[k], tc, tip);
		v->reason = k == 2 && mark ? REASON_JOIN : REASON_TIMEOUTS;
		view_change_sign(v, &w.ctx, &w.validator[who[k]]);
	}
	new_view_sign(pbft->new_view, &w.ctx, &w.validator[pbft->leader]);
	new_view_hash(&pbft->new_view_hash, pbft->new_view);
}

static void send_new_view(unsigned from, const struct term_cert *pbft)
{
	struct writer out = {0};
	struct msg_new_view m = {.tc = *pbft};
	msg_new_view_encode(&out, &m);
	deliver(from, &out);
}

/* A block of a pbft term, made by its primary; with an entry of this kind, or empty. */
static struct block *pbft_block(const struct term_cert *tc, const struct block *parent,
				enum system_kind kind)
{
	struct writer out = {0};
	struct ledger_built built;
	struct block *b;
	const struct system_tx entry = {.kind = kind,
					.height = parent->sh.h.height + 1,
					.term = tc->term,
					.reason = kind == SYSTEM_ESCALATED ? REASON_TIMEOUTS
									   : REASON_NONE};
	struct ledger_candidate c = {.tx = {0}};
	if (kind) {
		system_tx_encode(&out, &entry, &w.ctx);
		c.tx = writer_slice(&out);
		tx_id(&c.id, c.tx);
	}
	ck_assert_int_eq(ledger_build(w.ledger, &parent->hash, parent->sh.h.height + 1,
				      parent->sh.h.time_ms + 1, &c, kind ? 1 : 0, &built),
			 ERR_NONE);
	struct signed_header sh = {.h = {.chain = w.ctx.id,
					 .term = tc->term,
					 .mode = MODE_PBFT,
					 .height = parent->sh.h.height + 1,
					 .prev = parent->hash,
					 .base_height = tc->base.height,
					 .base = tc->base.hash,
					 .tx_root = built.tx_root,
					 .state_root = built.state_root,
					 .time_ms = parent->sh.h.time_ms + 1,
					 .leader = tc->leader,
					 .valset = w.ctx.vals.hash,
					 .new_view = tc->new_view_hash,
					 .tx_count = built.tx_count,
					 .body_size = (uint32_t)built.body_size}};
	signed_header_sign(&sh, &w.ctx, &w.validator[tc->leader]);
	ck_assert_int_eq(block_new(&b, &sh, slice_of(built.body, built.body_size)), ERR_NONE);
	mem_free(built.body);
	writer_free(&out);
	return b;
}

static struct block *first_pbft_block(const struct term_cert *tc, const struct block *parent)
{
	return pbft_block(tc, parent, SYSTEM_ESCALATED);
}

static struct block_ref known_base;
static bool any_base(void *arg, uint64_t term, const struct hash *new_view, struct block_ref *base)
{
	*base = known_base;
	return true;
}

/* Two others have signed for this term: the victim follows them. */
static void others_move_on(uint64_t term, const struct term_cert *tc, const struct block *tip)
{
	for (unsigned i = 0; i < 2; i++) {
		struct view_change v;
		view_change_at(&v, term, i, tc, tip);
		view_change_sign(&v, &w.ctx, &w.validator[i]);
		send_view_change_of(&v);
	}
	pass(4 * HEARTBEAT);
	ck_assert_ptr_nonnull(newest(MSG_VIEW_CHANGE, 1));
}

START_TEST(what_is_shown_fits_together)
{
	struct term_cert tc, one, two;
	struct block *b1 = first_block(&tc);
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	known_base = block_ref_of(b1);
	make_new_view(&one, 3, &tc, b1, 0);
	make_new_view(&two, 3, &tc, b1, 1);
	struct block *b2 = first_pbft_block(&one, b1);
	struct cert c;
	world_cert(&w, b2, CERT_TWO_ROUND, 4, &c);
	others_move_on(5, &tc, b1);
	heartbeat(0, 1000000, NULL, b2, 2);
	ck_assert_ptr_nonnull(newest(MSG_FETCH, 0));
	send_blocks(0, &b2, 1, &c, 2);
	ck_assert_uint_eq(final_height(), 2);
	send_new_view(MALICE, _i == 0 ? &one : &two); /* one: all is well */
	send_new_view(0, &one);
	forget_sent();
	others_move_on(8, &tc, b1);
	const struct sent *s = newest(MSG_VIEW_CHANGE, 1);
	ck_assert_ptr_nonnull(s);
	static struct message_in in;
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	struct view_lookup look = {.base_of = any_base};
	struct missing missing = {0};
	int err = view_change_check(&in.view_change.vc, &w.ctx, &w.block0->hash, &look, &missing);
	if (getenv("SHOW"))
		fprintf(stderr, "%d: term %llu, tip term %llu\n", _i, (unsigned long long)in.view_change.vc.term, (unsigned long long)in.view_change.vc.position.tip.term);
	ck_assert_msg(err == ERR_NONE, "the victim's own view change of term %llu, tip (%llu, %llu): %s",
		      (unsigned long long)in.view_change.vc.term,
		      (unsigned long long)in.view_change.vc.position.tip.term,
		      (unsigned long long)in.view_change.vc.position.tip.height, err_text(err));
	message_free(&in);
	term_cert_free(&one);
	term_cert_free(&two);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [H17] --------------------------------------------------------------------------------
 * The victim has accepted the second NEW-VIEW; the others go on under the first, and their blocks become
 * final. Replica 0 has everything and answers whatever it is asked. */

START_TEST(final_blocks_under_the_other_new_view_are_taken)
{
	struct term_cert tc, one, two;
	struct block *b1 = first_block(&tc);
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	make_new_view(&one, 3, &tc, b1, 0);
	make_new_view(&two, 3, &tc, b1, 1);
	struct block *b2 = first_pbft_block(&one, b1);
	struct cert c;
	world_cert(&w, b2, CERT_TWO_ROUND, 4, &c);
	send_new_view(MALICE, _i == 0 ? &one : &two); /* one: all is well */
	for (unsigned i = 0; i < 100 && final_height() < 2; i++) {
		forget_sent();
		heartbeat(0, 1000000, NULL, b2, 2);
		heartbeat(MALICE, 3, NULL, b1, 1);
		if (newest(MSG_FETCH, 0))
			send_blocks(0, &b2, 1, &c, 2);
		if (newest(MSG_FETCH_VIEW, 0))
			send_new_view(0, &one);
		pass(HEARTBEAT);
	}
	ck_assert_msg(final_height() == 2, "a block that is final is not taken in 5 s");
	term_cert_free(&one);
	term_cert_free(&two);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- trap 12 ------------------------------------------------------------------------------
 * The primary goes on in its term after the block that ends it: that would be final in pbft mode by the
 * rules of a mode that the ledger has left. */

static bool has_sent_prepare(const struct block *b)
{
	static struct message_in in;
	bool found = false;
	for (unsigned i = 0; i < sent_count && !found; i++) {
		if (sent[i].type != MSG_PREPARE)
			continue;
		ck_assert_int_eq(message_decode(&in, writer_slice(&sent[i].bytes)), ERR_NONE);
		found = hash_equal(&in.prepare.ref.hash, &b->hash);
		message_free(&in);
	}
	return found;
}

START_TEST(nothing_extends_a_mode_fast_in_its_term)
{
	struct term_cert tc, view;
	struct block *b[64];
	unsigned count = 0;
	b[count++] = first_block(&tc);
	make_new_view(&view, 3, &tc, b[0], 0);
	send_new_view(MALICE, &view);
	enum system_kind kind = SYSTEM_ESCALATED;
	while (kind != SYSTEM_MODE_FAST) {
		ck_assert_uint_lt(count, 60);
		ck_assert_int_eq(ledger_execute(w.ledger, b[count - 1], false), ERR_NONE);
		if (count > 1)
			kind = b[count - 1]->sh.h.height + 1 >= 2 + w.genesis.checkpoint_interval *
									 w.genesis.probation
				       ? SYSTEM_MODE_FAST
				       : 0;
		b[count] = pbft_block(&view, b[count - 1], kind);
		append(MALICE, 3, NULL, b[count], NULL);
		ck_assert_msg(has_sent_prepare(b[count]), "block %u", count);
		count++;
	}
	ck_assert_int_eq(ledger_execute(w.ledger, b[count - 1], false), ERR_NONE);
	b[count] = pbft_block(&view, b[count - 1], SYSTEM_MODE_FAST); /* as if for the first time */
	append(MALICE, 3, NULL, b[count], NULL);
	ck_assert(!has_sent_prepare(b[count]));
	count++;
	while (count)
		block_drop(b[--count]);
	term_cert_free(&view);
}
END_TEST

/* ---- [H18] --------------------------------------------------------------------------------
 * The log is bounded by 1024 blocks, of up to 4 MB each: replica 3 sends blocks of terms that do not exist,
 * wrong in this state (so: no proof), and all of them are kept, 300 here of 1 MB. */

START_TEST(what_a_peer_sends_is_bounded_in_bytes)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	static char big[60000];
	struct writer body = {0};
	struct hash leaves[16], root, wrong = {{1}};
	memset(big, 'x', sizeof big - 1);
	body_begin(&body);
	for (unsigned i = 0; i < 16; i++) {
		struct op op = op_put("a", big);
		struct slice tx = world_tx(&w, &w.client[0], i + 1, 5000, &op, 1);
		body_add(&body, TX_OK, tx);
		body_leaf(&leaves[i], TX_OK, tx);
		mem_free((void *)tx.ptr);
	}
	body_end(&body, 16);
	merkle_root(&root, leaves, 16);
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
	uint64_t term = 4003;
	for (unsigned i = 0; i < 300; i++, term += 4) {
		struct block *fake = world_seal_block(&w, b1, term, writer_slice(&body), &root,
						      &wrong, 16);
		heartbeat(MALICE, 1000000, NULL, b1, 1);
		send_blocks(MALICE, &fake, 1, NULL, 1);
		block_drop(fake);
		if (i % 10 == 0)
			heartbeat(LEADER, LEADER, NULL, b1, 1);
		pass(1000);
		forget_sent();
	}
	size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
	ck_assert_msg(after < before + (UINT64_C(160) << 20), "%zu MB kept", (after - before) >> 20);
	writer_free(&body);
	block_drop(b1);
}
END_TEST

/* ---- [H19] --------------------------------------------------------------------------------
 * A client (nobody of the validators) gives the leader one transaction of each nonce, and the victim another of
 * the same nonce a moment before. All that the victim holds is void soon, but it never holds nothing, and
 * nothing that it holds is committed. The leader is as good as can be. */

START_TEST(void_transactions_are_no_reason_to_leave_a_leader)
{
	struct term_cert tc;
	struct block *b = first_block(&tc);
	struct engine_status s;
	struct hash id;
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	for (unsigned i = 0; i < 500; i++) { /* 10 s */
		struct op one = op_put("a", "1"), two = op_put("a", "2");
		struct slice good = world_tx(&w, &w.client[0], i + 1, 5000, &one, 1);
		struct slice lost = world_tx(&w, &w.client[0], i + 1, 5000, &two, 1);
		struct cert c;
		ck_assert_int_eq(replica_submit(replica, now, lost, false, &id), ERR_NONE);
		struct block *next = world_build(&w, b, LEADER, &good, 1, NULL);
		ck_assert_int_eq(ledger_execute(w.ledger, next, false), ERR_NONE);
		append(LEADER, LEADER, NULL, next, NULL);
		world_cert(&w, next, CERT_ONE_ROUND, 3, &c);
		append(LEADER, LEADER, NULL, NULL, &c);
		if (i % 3 == 0) {
			heartbeat(LEADER, LEADER, NULL, next, next->sh.h.height);
			heartbeat(0, 0, NULL, b, 1);
			heartbeat(MALICE, 0, NULL, b, 1);
		}
		pass(20000);
		forget_sent();
		block_drop(b);
		b = next;
		mem_free((void *)good.ptr);
		mem_free((void *)lost.ptr);
	}
	replica_status(replica, &s);
	ck_assert_msg(!s.escalated && s.counters[COUNT_VIEW_CHANGES] == 0,
		      "a client drives the victim into pbft mode; %llu elections begun",
		      (unsigned long long)s.counters[COUNT_ELECTIONS_STARTED]);
	ck_assert_uint_eq(s.final.height, 501);
	block_drop(b);
}
END_TEST

/* ---- [H20] --------------------------------------------------------------------------------
 * The log is full of made-up blocks. One answer holds one of them and its child: making room for the child
 * throws the parent out, to which on_blocks() still points. */

START_TEST(a_full_log_forgets_nothing_in_use)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct block *fake[1024], *two[2];
	mallopt(M_PERTURB, 0x5a); /* what is freed is not what it was */
	for (unsigned i = 0; i < 1024; i++)
		fake[i] = empty_block(b1, 4003 + 4 * i);
	for (unsigned i = 0; i < 1024; i += 128) {
		heartbeat(MALICE, 1000000, NULL, b1, 1);
		send_blocks(MALICE, fake + i, 128, NULL, 1);
		pass(2000);
		heartbeat(LEADER, LEADER, NULL, b1, 1);
	}
	two[0] = fake[_i];
	two[1] = empty_block(fake[_i], 4003 + 4 * (unsigned)_i);
	heartbeat(MALICE, 1000000, NULL, b1, 1);
	send_blocks(MALICE, two, 2, NULL, 1);
	pass(2000);
	ck_assert_uint_eq(final_height(), 1);
	block_drop(two[1]);
	for (unsigned i = 0; i < 1024; i++)
		block_drop(fake[i]);
	block_drop(b1);
}
END_TEST

/* A storm of made-up trees while the leader goes on; nothing is to be lost, read after it is gone, or
 * refused. */
START_TEST(storm_of_made_up_trees)
{
	struct term_cert tc;
	struct block *tip = first_block(&tc);
	struct block **pool = mem_array(12000, sizeof *pool), *sent_now[200];
	unsigned made = 1, base = 0;
	struct random rnd;
	uint64_t term = 4003;
	pool[0] = tip;
	random_seed(&rnd, (uint64_t)_i);
	mallopt(M_PERTURB, 0x5a);
	for (unsigned round = 0; round < 150; round++) {
		unsigned count = 1 + (unsigned)random_below(&rnd, 60);
		for (unsigned i = 0; i < count; i++) {
			unsigned old = base + (unsigned)random_below(&rnd, made - base);
			if (random_chance(&rnd, 3, 4))
				pool[made++] = empty_block(pool[old], term += 4);
			else
				old = base + (unsigned)random_below(&rnd, made - base);
			sent_now[i] = random_chance(&rnd, 1, 3) ? pool[old] : pool[made - 1];
		}
		heartbeat(MALICE, 1000000, NULL, tip, 1);
		send_blocks(MALICE, sent_now, count, NULL, random_below(&rnd, 3));
		pass(1000 + random_below(&rnd, 120000));
		heartbeat(LEADER, LEADER, NULL, tip, tip->sh.h.height);
		if (random_chance(&rnd, 1, 15)) {
			struct block *next = empty_block(tip, LEADER);
			struct cert c;
			append(LEADER, LEADER, NULL, next, NULL);
			ck_assert(has_prepared(next));
			world_cert(&w, next, CERT_ONE_ROUND, 3, &c);
			append(LEADER, LEADER, NULL, NULL, &c);
			ck_assert_uint_eq(final_height(), next->sh.h.height);
			pool[made++] = next;
			tip = next;
			if (random_chance(&rnd, 1, 2))
				base = made - 1;
		}
		forget_sent();
	}
	ck_assert_msg(halted == NULL, "%s", halted);
	for (unsigned i = 0; i < made; i++)
		block_drop(pool[i]);
	mem_free(pool);
}
END_TEST

/* ---- [H21] --------------------------------------------------------------------------------
 * The victim finds a proof against the leader while the others are out of reach: what it sends is lost. Later they
 * hear it again, but never of the proof: the leader goes on to lead them. */

START_TEST(a_pending_proof_is_told_again)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct writer bytes = {0}, encoded = {0}, out = {0};
	struct evidence ev;
	struct vote v[2];
	struct engine_status s;
	for (unsigned i = 0; i < 2; i++) {
		v[i] = (struct vote){.kind = VOTE_COMMIT,
				     .ref = {.term = 1, .height = 1, .hash = {{(uint8_t)i}}},
				     .signer = LEADER};
		vote_sign(&v[i], &w.ctx, &w.validator[LEADER]);
	}
	ck_assert(evidence_of_votes(&ev, &bytes, &v[0], &v[1]));
	evidence_encode(&encoded, &ev);
	msg_evidence_encode(&out, writer_slice(&encoded));
	deliver(MALICE, &out);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.accused, 1u << LEADER);
	ck_assert_ptr_nonnull(newest(MSG_EVIDENCE, 0));
	forget_sent(); /* lost */
	bool again = false;
	for (unsigned i = 0; i < 600 && !again; i++) { /* 30 s */
		heartbeat(LEADER, LEADER, NULL, b1, 1);
		heartbeat(0, 0, NULL, b1, 1);
		pass(HEARTBEAT);
		again = newest(MSG_EVIDENCE, 0) != NULL;
		forget_sent();
	}
	ck_assert_msg(again, "the proof is not told again in 30 s");
	writer_free(&bytes);
	writer_free(&encoded);
	block_drop(b1);
}
END_TEST

/* ---- [H22] --------------------------------------------------------------------------------
 * A checkpoint statement on nothing at all: of term 0, height 0, hash 0. */

START_TEST(a_checkpoint_of_nothing_is_no_vote)
{
	struct term_cert tc;
	struct block *b = first_block(&tc);
	while (b->sh.h.height < 20) { /* the first checkpoint is due, none is stable */
		struct block *next = empty_block(b, LEADER);
		struct cert c;
		append(LEADER, LEADER, NULL, next, NULL);
		world_cert(&w, next, CERT_ONE_ROUND, 3, &c);
		append(LEADER, LEADER, NULL, NULL, &c);
		block_drop(b);
		b = next;
	}
	ck_assert_uint_eq(final_height(), 20);
	for (unsigned kind = 0; kind < 2; kind++) {
		struct writer out = {0};
		struct msg_commit m = {.commit = {.kind = VOTE_COMMIT, .signer = MALICE},
				       .has_checkpoint = true,
				       .checkpoint = {.kind = VOTE_CHECKPOINT, .signer = MALICE}};
		m.checkpoint.ref.height = kind ? 64 : 0;
		vote_sign(&m.commit, &w.ctx, &w.validator[MALICE]);
		vote_sign(&m.checkpoint, &w.ctx, &w.validator[MALICE]);
		msg_commit_encode(&out, &m);
		deliver(MALICE, &out);
	}
	block_drop(b);
}
END_TEST

/* ---- [N2] ---------------------------------------------------------------------------------
 * Nobody leads. Replica 3 climbs by pre-votes, a term with each answer, in one instant; each set of grants is good for
 * one view change that drags everybody into the next term, whenever it likes. */

static void make_grants(struct entitlement *e, uint64_t term)
{
	entitlement_init(e);
	e->kind = ENTITLED_GRANTS;
	e->term = term;
	e->candidate = MALICE;
	for (unsigned i = 0; i < 4; i++) {
		if (i == VICTIM)
			continue;
		struct grant *g = &e->grant[e->grant_count++];
		*g = (struct grant){.term = term, .candidate = MALICE, .signer = (uint16_t)i};
		grant_sign(g, &w.ctx, &w.validator[i]);
	}
}

START_TEST(hoarded_grants_abort_few_views)
{
	struct term_cert tc;
	struct block *b1 = first_block(&tc);
	struct engine_status s;
	pass(1000000); /* the leader is gone */
	others_move_on(2, &tc, b1);
	replica_status(replica, &s);
	ck_assert_uint_ge(s.term, 2);
	uint64_t before = s.term;
	for (unsigned i = 0; i < 100; i++) { /* a second */
		struct writer out = {0};
		struct msg_view_change m;
		replica_status(replica, &s); /* one set for each term: none is wasted */
		view_change_at(&m.vc, s.term + 1, MALICE, &tc, b1);
		view_change_sign(&m.vc, &w.ctx, &w.validator[MALICE]);
		make_grants(&m.entitlement, s.term + 1);
		msg_view_change_encode(&out, &m);
		deliver(MALICE, &out);
		view_change_free(&m.vc);
		pass(10000);
	}
	replica_status(replica, &s);
	ck_assert_msg(s.term < before + 10, "%llu terms in a second by one replica's word",
		      (unsigned long long)(s.term - before));
	block_drop(b1);
}
END_TEST

/* ---- [H24] --------------------------------------------------------------------------------
 * The leader's blocks fill the log to the last byte; the victim has voted for all of them, nobody else has
 * seen them. The next leader's first block holds nothing, and would make them final. */

static void setup_large(void)
{
	world_genesis(&w, 0);
	w.genesis.time_ms = 1600000000000;
	w.genesis.limits.block_body_max = 4u << 20;
	world_seal(&w);
	world_open(&w, NULL);
	store = store_open_memory();
	halted = NULL;
	now = 1000000;
	sent_count = 0;
	open_replica();
}

START_TEST(what_we_voted_for_leaves_room_for_more)
{
	struct term_cert tc, tc4;
	struct block *b = first_block(&tc);
	static uint8_t big[65536];
	uint64_t nonce = 0, left = LOG_BYTES_MAX - (uint64_t)_i; /* so much stays free */
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	while (left > 0) {
		struct slice tx[65];
		uint32_t count = 0;
		uint64_t room = left < 8000000 ? left / (left > 4000000 ? 2 : 1) : 3900000;
		room -= 4;
		while (room > 0) {
			size_t size = room > 130000 ? 60000 : room > 64000 ? room / 2 : room;
			struct op op = {.kind = OP_PUT, .key = slice_str("a"), .value = slice_of(big, 1)};
			struct slice small = world_tx(&w, &w.client[0], nonce + 1, 5000, &op, 1);
			op.value.len = size - 5 - (small.len - 1);
			mem_free((void *)small.ptr);
			tx[count] = world_tx(&w, &w.client[0], ++nonce, 5000, &op, 1);
			room -= tx[count++].len + 5;
		}
		struct block *next = world_build(&w, b, LEADER, tx, count, NULL);
		ck_assert_uint_eq(next->tx_count, count);
		left -= next->body_size;
		ck_assert_int_eq(ledger_execute(w.ledger, next, false), ERR_NONE);
		append(LEADER, LEADER, NULL, next, NULL);
		world_free_txs(tx, count);
		bool voted = has_prepared(next);
		forget_sent();
		if (!voted) { /* enough is enough */
			block_drop(next);
			break;
		}
		block_drop(b);
		b = next;
	}
	ck_assert_uint_gt(b->sh.h.height, 3);
	make_tc(&tc4, 4, b);
	struct block *first = empty_block(b, 4);
	heartbeat(0, 4, &tc4, b, 1);
	append(0, 4, NULL, first, NULL);
	ck_assert_msg(has_prepared(first), "no room for 4 bytes above what we voted for");
	block_drop(first);
	block_drop(b);
}
END_TEST

/* ---- [H25] --------------------------------------------------------------------------------
 * A block from the far future, and a child that is no younger: only the child is compared with its parent. 0: both
 * come in one APPEND; 1: the first is the base of the next term, to which headers alone elect. */

static struct block *block_at(const struct block *parent, uint64_t term, uint64_t time_ms)
{
	struct block *plain = empty_block(parent, term), *out;
	struct signed_header sh = plain->sh;
	sh.h.time_ms = time_ms;
	signed_header_sign(&sh, &w.ctx, &w.validator[sh.h.leader]);
	ck_assert_int_eq(block_new(&out, &sh, slice_of(plain->body, plain->body_size)), ERR_NONE);
	block_drop(plain);
	return out;
}

START_TEST(nobody_sets_the_clock_for_ages)
{
	struct term_cert tc, tc5;
	struct block *b1 = first_block(&tc);
	uint64_t ages = UINT64_C(1) << 62;
	struct block *b2 = block_at(b1, LEADER, ages);
	struct block *b3 = block_at(b2, _i == 0 ? LEADER : 5, ages);
	static struct msg_append m;
	struct writer out = {0};
	m = (struct msg_append){.term = LEADER, .count = _i == 0 ? 2 : 1};
	m.blocks[0] = b2;
	m.blocks[1] = b3;
	msg_append_encode(&out, &m);
	deliver(LEADER, &out);
	ck_assert(!has_prepared(b2));
	if (_i == 1) {
		make_tc(&tc5, 5, b2); /* 5 % 4: the same leader */
		heartbeat(LEADER, 5, &tc5, b3, 1);
		append(LEADER, 5, NULL, b3, NULL);
		pass(HEARTBEAT);
		heartbeat(LEADER, 5, NULL, b3, 1);
	}
	ck_assert_msg(!has_prepared(b3), "a vote for a block of the year 146 million");
	block_drop(b3);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [H26] --------------------------------------------------------------------------------
 * Two forks above the final block, both voted for in their terms, are on disk, together more than the log
 * holds. After a restart the newer one, which is the tip's, is the one that counts. */

static struct block *big_block_of(const struct block *parent, uint64_t term, uint64_t client,
				  uint64_t *nonce)
{
	static uint8_t big[60000];
	struct slice tx[60];
	for (unsigned i = 0; i < 60; i++) {
		struct op op = {.kind = OP_PUT, .key = slice_str("a"), .value = slice_of(big, sizeof big)};
		tx[i] = world_tx(&w, &w.client[client % 8], ++*nonce, 5000, &op, 1);
	}
	struct block *b = world_build(&w, parent, term, tx, 60, NULL);
	ck_assert_uint_eq(b->tx_count, 60);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	world_free_txs(tx, 60);
	return b;
}

static struct block *big_block(const struct block *parent, uint64_t term, uint64_t *nonce)
{
	return big_block_of(parent, term, term, nonce);
}

START_TEST(the_tip_comes_first_at_a_restart)
{
	struct term_cert tc, tc5;
	struct block *b1 = first_block(&tc), *b = block_hold(b1);
	uint64_t nonce = 0;
	unsigned length = _i == 0 ? 5 : 25; /* 5: all is well */
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	for (unsigned fork = 0; fork < 2; fork++) {
		uint64_t term = fork ? 5 : LEADER;
		if (fork) {
			make_tc(&tc5, 5, b1);
			heartbeat(LEADER, 5, &tc5, b1, 1);
			block_drop(b);
			b = block_hold(b1);
			nonce = 0;
		}
		for (unsigned i = 0; i < length; i++) {
			struct block *next = big_block(b, term, &nonce);
			append(LEADER, term, NULL, next, NULL);
			bool voted = has_prepared(next);
			forget_sent();
			ck_assert(voted || i >= 4);
			block_drop(voted ? b : next);
			b = voted ? next : b;
			if (!voted)
				break;
		}
	}
	length = (unsigned)b->sh.h.height - 1;
	replica_close(replica);
	open_replica();
	forget_sent();
	others_move_on(8, &tc, b1);
	static struct message_in in;
	const struct sent *s = newest(MSG_VIEW_CHANGE, 1);
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	ck_assert_uint_eq(in.view_change.vc.position.tip.height, 1 + length);
	ck_assert_int_eq(position_check(&in.view_change.vc.position, 8, &w.ctx, &w.block0->hash, NULL,
					NULL),
			 ERR_NONE);
	message_free(&in);
	block_drop(b);
	block_drop(b1);
}
END_TEST

/* ---- [H27] --------------------------------------------------------------------------------
 * The leader shows QCs, but no final certificate: without work to wait for, nobody minds. Each block is
 * voted for and executed, until the ledger has no room for one more, in whatever term. 1: and with a restart
 * in between, after which the whole chain is judged at once. */

static void append_with_qc(struct block *b, const struct cert *qc)
{
	static struct msg_append m;
	struct writer out = {0};
	m = (struct msg_append){.term = LEADER, .has_qc = qc != NULL, .count = 1};
	if (qc)
		m.qc = *qc;
	m.blocks[0] = b;
	msg_append_encode(&out, &m);
	deliver(LEADER, &out);
}

static struct block_ref tip_of_victim(void)
{
	struct engine_status s;
	replica_status(replica, &s);
	return s.tip;
}

START_TEST(hidden_finality_leaves_room_for_more)
{
	enum { LENGTH = 1200 };
	struct term_cert tc, tc4;
	struct block *chain[LENGTH + 1];
	chain[0] = first_block(&tc);
	struct cert qc;
	for (unsigned i = 1; i <= LENGTH; i++) {
		chain[i] = empty_block(chain[i - 1], LEADER);
		append_with_qc(chain[i], i > 1 ? &qc : NULL);
		world_cert(&w, chain[i], CERT_QC_FAST, 3, &qc);
		forget_sent();
	}
	ck_assert_uint_eq(final_height(), 1);
	struct block_ref tip = tip_of_victim();
	struct block *top = chain[tip.height - 1];
	ck_assert(hash_equal(&top->hash, &tip.hash));
	if (_i == 1) {
		replica_close(replica);
		open_replica();
		pass(2000);
	}
	make_tc(&tc4, 4, top);
	struct block *first = empty_block(top, 4);
	heartbeat(0, 4, &tc4, top, 1);
	append(0, 4, NULL, first, NULL);
	ck_assert_msg(has_prepared(first), "no room above %llu blocks that are not final",
		      (unsigned long long)tip.height - 1);
	struct cert c;
	world_cert(&w, first, CERT_ONE_ROUND, 3, &c);
	append(0, 4, NULL, NULL, &c);
	ck_assert_uint_eq(final_height(), first->sh.h.height);
	ck_assert_ptr_null(halted);
	block_drop(first);
	for (unsigned i = 0; i <= LENGTH; i++)
		block_drop(chain[i]);
}
END_TEST

/* ---- [N3] ---------------------------------------------------------------------------------
 * A second of FETCH for a block of 2 MB, as fast as they are answered: each costs 9 ms of the only thread. Small
 * answers are cheap: 1. */

START_TEST(large_answers_are_rationed)
{
	struct term_cert tc;
	uint64_t nonce = 0;
	struct block *b1 = first_block(&tc), *b2;
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	b2 = _i == 0 ? big_block(b1, LEADER, &nonce) : empty_block(b1, LEADER);
	append(LEADER, LEADER, NULL, b2, NULL);
	ck_assert(has_prepared(b2));
	unsigned answers = 0;
	for (unsigned i = 0; i < 1000; i++) {
		struct writer out = {0};
		struct msg_fetch m = {.from_height = 2};
		forget_sent();
		msg_fetch_encode(&out, &m);
		deliver(MALICE, &out);
		answers += newest(MSG_BLOCKS, MALICE) != NULL;
		pass(1000);
	}
	if (_i == 0)
		ck_assert_msg(answers <= 24 && answers >= 5, "%u answers of 3.6 MB", answers);
	else
		ck_assert_msg(answers > 60, "%u answers of 1 KB", answers);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

START_TEST(new_views_are_rationed)
{
	struct term_cert tc, pbft;
	struct block *b1 = first_block(&tc);
	unsigned answers = 0;
	make_new_view(&pbft, 3, &tc, b1, 0);
	send_new_view(MALICE, &pbft);
	for (unsigned i = 0; i < 1000; i++) {
		struct writer out = {0};
		struct msg_fetch_view m = {.term = 3, .hash = pbft.new_view_hash};
		forget_sent();
		msg_fetch_view_encode(&out, &m);
		deliver(0, &out);
		answers += newest(MSG_NEW_VIEW, 0) != NULL;
	}
	ck_assert_msg(answers >= 4 && answers <= 40, "%u NEW-VIEWs in no time", answers);
	term_cert_free(&pbft);
	block_drop(b1);
}
END_TEST

/* ---- [N4] ---------------------------------------------------------------------------------
 * The primary of term 3 signs blocks that name NEW-VIEWs, and whoever asks gets each. Two are proof enough. */

START_TEST(blocks_name_few_new_views)
{
	struct term_cert tc, pbft;
	struct block *b1 = first_block(&tc);
	unsigned asked = 0;
	make_new_view(&pbft, 3, &tc, b1, 0);
	send_new_view(MALICE, &pbft);
	term_cert_free(&pbft);
	for (unsigned i = 0; i < 30; i++) {
		make_new_view(&pbft, 3, &tc, b1, 0);
		pbft.new_view->vc[2].last_mode_change = 100 + i;
		view_change_sign(&pbft.new_view->vc[2], &w.ctx, &w.validator[MALICE]);
		new_view_sign(pbft.new_view, &w.ctx, &w.validator[MALICE]);
		new_view_hash(&pbft.new_view_hash, pbft.new_view);
		struct block *plain = empty_block(b1, 3), *named;
		struct signed_header sh = plain->sh;
		sh.h.mode = MODE_PBFT;
		sh.h.new_view = pbft.new_view_hash;
		signed_header_sign(&sh, &w.ctx, &w.validator[MALICE]);
		ck_assert_int_eq(block_new(&named, &sh, slice_of(plain->body, plain->body_size)),
				 ERR_NONE);
		forget_sent();
		heartbeat(MALICE, 1000000, NULL, b1, 1); /* draws a fetch */
		send_blocks(MALICE, &named, 1, NULL, 1);
		asked += newest(MSG_FETCH_VIEW, MALICE) != NULL;
		if (newest(MSG_FETCH_VIEW, MALICE))
			send_new_view(MALICE, &pbft);
		pass(2 * HEARTBEAT);
		block_drop(named);
		block_drop(plain);
		term_cert_free(&pbft);
	}
	ck_assert_msg(asked >= 1 && asked <= 2, "asked for %u more NEW-VIEWs of one term", asked);
	block_drop(b1);
}
END_TEST

/* ---- [N5] ---------------------------------------------------------------------------------
 * "Evidence" that convicts nobody: a large and correct VIEW-CHANGE of the sender. Each check looks at all its
 * headers; only the first is made. Then a true and small one comes from somebody else, and counts. */

START_TEST(evidence_that_proves_nothing_is_rationed)
{
	enum { LENGTH = 1000 };
	struct term_cert tc;
	struct block *chain[LENGTH];
	struct view_change v;
	struct writer bytes = {0}, encoded = {0}, out = {0};
	struct evidence ev;
	struct engine_status s;
	chain[0] = first_block(&tc);
	for (unsigned i = 1; i < LENGTH; i++)
		chain[i] = empty_block(chain[i - 1], LEADER);
	view_change_at(&v, 2, MALICE, &tc, chain[LENGTH - 1]);
	mem_free(v.position.headers);
	v.position.headers = mem_array(LENGTH, sizeof *v.position.headers);
	v.position.header_count = LENGTH;
	for (unsigned i = 0; i < LENGTH; i++)
		v.position.headers[i] = chain[LENGTH - 1 - i]->sh;
	view_change_sign(&v, &w.ctx, &w.validator[MALICE]);
	ck_assert(evidence_of_view_change(&ev, &bytes, &v));
	evidence_encode(&encoded, &ev);
	ck_assert_int_ne(evidence_check(&ev, &w.ctx, NULL), ERR_NONE);
	replica_status(replica, &s);
	uint64_t before = s.counters[COUNT_STALE_MESSAGES];
	for (unsigned i = 0; i < 20; i++) {
		msg_evidence_encode(&out, writer_slice(&encoded));
		deliver(MALICE, &out);
		pass(10000);
	}
	replica_status(replica, &s);
	ck_assert_msg(s.counters[COUNT_STALE_MESSAGES] - before >= 19, "checked again and again");
	ck_assert_uint_eq(s.accused, 0);
	struct vote pair[2];
	for (unsigned i = 0; i < 2; i++) {
		pair[i] = (struct vote){.kind = VOTE_COMMIT,
					.ref = {.term = 1, .height = 1, .hash = {{(uint8_t)i}}},
					.signer = MALICE};
		vote_sign(&pair[i], &w.ctx, &w.validator[MALICE]);
	}
	writer_reset(&bytes);
	writer_reset(&encoded);
	ck_assert(evidence_of_votes(&ev, &bytes, &pair[0], &pair[1]));
	evidence_encode(&encoded, &ev);
	msg_evidence_encode(&out, writer_slice(&encoded));
	deliver(0, &out);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.accused, 1u << MALICE);
	view_change_free(&v);
	writer_free(&bytes);
	writer_free(&encoded);
	for (unsigned i = 0; i < LENGTH; i++)
		block_drop(chain[i]);
}
END_TEST

/* ---- [H29] --------------------------------------------------------------------------------
 * The leader of term 1 has shown each of the others a chain of its own, as long as got their votes. The victim is
 * primary of term 2, and has to hold what the other two show. The leader is silent. */

#define WIDE 16

static void setup_wide(void)
{
	world_genesis(&w, 0);
	w.genesis.time_ms = 1600000000000;
	w.genesis.limits.block_body_max = 4u << 20;
	w.genesis.limits.window = WIDE;
	world_seal(&w);
	world_open(&w, NULL);
	store = store_open_memory();
	halted = NULL;
	now = 1000000;
	sent_count = 0;
	open_replica();
}


/* What got a vote of `signer`, as far as the victim would have voted for as much. */
static void show_chain(unsigned signer, const struct term_cert *tc, const struct block *b1,
		       struct block *const *chain, unsigned length)
{
	struct view_change v;
	view_change_at(&v, 2, signer, tc, chain[length - 1]);
	mem_free(v.position.headers);
	v.position.headers = mem_array(length + 1, sizeof *v.position.headers);
	v.position.header_count = length + 1;
	for (unsigned i = 0; i < length; i++)
		v.position.headers[i] = chain[length - 1 - i]->sh;
	v.position.headers[length] = b1->sh;
	view_change_sign(&v, &w.ctx, &w.validator[signer]);
	send_view_change_of(&v);
}

static void answer_fetch(unsigned peer, struct block *const *chain, unsigned length)
{
	static struct message_in in;
	const struct sent *s = newest(MSG_FETCH, peer);
	if (!s)
		return;
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	uint64_t from = in.fetch.from_height;
	message_free(&in);
	forget_sent();
	unsigned at = from > chain[0]->sh.h.height ? (unsigned)(from - chain[0]->sh.h.height) : 0;
	send_blocks(peer, chain + at, at < length ? 1 : 0, NULL, 1);
}

START_TEST(what_all_have_voted_for_has_room)
{
	struct term_cert tc;
	uint64_t nonce = 0;
	struct block *b1 = first_block(&tc), *chain[2][WIDE];
	ck_assert_int_eq(ledger_execute(w.ledger, b1, false), ERR_NONE);
	struct block *b = block_hold(b1);
	for (unsigned k = 0; k < 2; k++) {
		const struct block *on = b1;
		nonce = 0;
		for (unsigned i = 0; i < WIDE; i++)
			on = chain[k][i] = big_block_of(on, LEADER, 1 + k, &nonce);
	}
	nonce = 0;
	for (unsigned i = 0; i < (_i == 0 ? 5 : WIDE); i++) { /* 5: all is well */
		struct block *next = big_block_of(b, LEADER, 3, &nonce);
		append(LEADER, LEADER, NULL, next, NULL);
		forget_sent();
		block_drop(b);
		b = next;
	}
	unsigned voted = (unsigned)tip_of_victim().height - 1;
	ck_assert_uint_ge(voted, 1);
	show_chain(0, &tc, b1, chain[0], voted);
	show_chain(MALICE, &tc, b1, chain[1], voted); /* here it is correct: the leader is not */
	bool made = false;
	for (unsigned i = 0; i < 400 && !made; i++) {
		answer_fetch(i % 2 ? MALICE : 0, chain[i % 2], voted);
		pass(HEARTBEAT / 5);
		made = newest(MSG_NEW_VIEW, 0) != NULL;
	}
	ck_assert_msg(made, "no NEW-VIEW: 3 chains of %u blocks", voted);
	for (unsigned k = 0; k < 2; k++)
		for (unsigned i = 0; i < WIDE; i++)
			block_drop(chain[k][i]);
	block_drop(b);
	block_drop(b1);
}
END_TEST

/* ---- [N6] ---------------------------------------------------------------------------------
 * No leader is alive, and replica 3 asks for votes all the time, with a thousand headers that nobody has seen. */

START_TEST(vote_requests_are_rationed)
{
	enum { LENGTH = 1000 };
	struct term_cert tc;
	struct block *chain[LENGTH];
	struct engine_status s;
	chain[0] = first_block(&tc);
	for (unsigned i = 1; i < LENGTH; i++)
		chain[i] = empty_block(chain[i - 1], LEADER);
	pass(1000000); /* the leader is gone */
	struct msg_vote_request m = {.term = 2};
	m.position.tip = block_ref_of(chain[LENGTH - 1]);
	term_cert_copy_ref(&m.position.tc, &tc);
	m.position.headers = mem_array(LENGTH, sizeof *m.position.headers);
	m.position.header_count = LENGTH;
	for (unsigned i = 0; i < LENGTH; i++)
		m.position.headers[i] = chain[LENGTH - 1 - i]->sh;
	unsigned granted = 0;
	for (unsigned i = 0; i < 100; i++) { /* a second */
		struct writer out = {0};
		replica_status(replica, &s);
		m.term = s.term + 1;
		forget_sent();
		msg_vote_request_encode(&out, MSG_PRE_VOTE_REQUEST, &m);
		deliver(MALICE, &out);
		granted += newest(MSG_PRE_VOTE, MALICE) != NULL;
		pass(10000);
	}
	ck_assert_msg(granted >= 1 && granted <= 6, "1000 headers were checked %u times in a second",
		      granted);
	position_free(&m.position);
	for (unsigned i = 0; i < LENGTH; i++)
		block_drop(chain[i]);
}
END_TEST

/* ---- [L1] ---------------------------------------------------------------------------------
 * A block that is invalid in the victim's state, and a child of it, come in one message; then the child is final.
 * That is for a human to look at, and not to be kept quiet. */

START_TEST(diverged_below_a_final_block_is_said)
{
	static struct msg_append m;
	struct term_cert tc;
	struct block *b1 = first_block(&tc), *plain = empty_block(b1, LEADER), *b2, *b3;
	struct signed_header sh = plain->sh;
	struct writer out = {0};
	struct cert c;
	sh.h.state_root.b[0] ^= 1;
	signed_header_sign(&sh, &w.ctx, &w.validator[LEADER]);
	ck_assert_int_eq(block_new(&b2, &sh, slice_of(plain->body, plain->body_size)), ERR_NONE);
	b3 = empty_block(b2, LEADER);
	m = (struct msg_append){.term = LEADER, .count = 2};
	m.blocks[0] = b2;
	m.blocks[1] = b3;
	msg_append_encode(&out, &m);
	deliver(LEADER, &out);
	ck_assert_ptr_null(halted);
	world_cert(&w, b3, CERT_TWO_ROUND, 3, &c);
	append(0, LEADER, NULL, NULL, &c);
	ck_assert_ptr_nonnull(halted);
	ck_assert_uint_eq(final_height(), 1);
	block_drop(plain);
	block_drop(b3);
	block_drop(b2);
	block_drop(b1);
}
END_TEST

/* ---- [N7] ---------------------------------------------------------------------------------
 * Relayed transactions with false signatures: each message costs 60 ms of the only thread. What others pass on
 * meanwhile comes through. */

static void relay_one(unsigned from, struct slice tx)
{
	struct writer out = {0};
	msg_txs_encode(&out, MSG_RELAY, &tx, 1);
	deliver(from, &out);
}

START_TEST(false_transactions_are_rationed)
{
	struct term_cert tc;
	struct engine_status s;
	verify_txs = true;
	replica_close(replica);
	open_replica();
	verify_txs = false;
	struct block *b1 = first_block(&tc);
	struct slice bad[100], good;
	struct op op = op_put("a", "1");
	for (unsigned i = 0; i < 100; i++) {
		bad[i] = world_tx(&w, &w.client[0], i + 1, 5000, &op, 1);
		((uint8_t *)bad[i].ptr)[bad[i].len - 1] ^= 1;
	}
	good = world_tx(&w, &w.client[1], 1, 5000, &op, 1);
	replica_status(replica, &s);
	uint64_t before = s.counters[COUNT_STALE_MESSAGES];
	struct writer out = {0};
	msg_txs_encode(&out, MSG_RELAY, bad, 50);
	deliver(MALICE, &out);
	for (unsigned i = 50; i < 100; i++)
		relay_one(MALICE, bad[i]);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.counters[COUNT_STALE_MESSAGES] - before, 50);
	ck_assert_uint_eq(s.pool_count, 0);
	relay_one(0, good);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.pool_count, 1);
	pass(300000); /* not for ever */
	world_free_txs(&good, 1);
	good = world_tx(&w, &w.client[2], 1, 5000, &op, 1);
	relay_one(MALICE, good);
	replica_status(replica, &s);
	ck_assert_uint_eq(s.pool_count, 2);
	world_free_txs(&good, 1);
	world_free_txs(bad, 100);
	block_drop(b1);
}
END_TEST

int main(void)
{
	crypto_init();
	Suite *s = suite_create("hostile");
	TCase *t = tcase_create("hostile");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, made_up_terms_do_not_use_up_the_ledger);
	tcase_add_test(t, made_up_terms_do_not_halt_a_replica);
	tcase_add_loop_test(t, one_peer_does_not_keep_all_fetches, 0, 3);
	tcase_add_test(t, one_peer_does_not_keep_a_new_view_away);
	tcase_add_test(t, no_mode_entry_in_a_fast_block);
	tcase_add_test(t, a_stray_passes_transactions_on);
	tcase_add_test(t, an_honest_primary_is_not_convicted_for_what_it_may_take);
	tcase_add_test(t, bodies_are_asked_of_everybody_who_shows_some);
	tcase_add_test(t, two_new_views_of_a_term_are_enough);
	tcase_add_test(t, forged_view_changes_cost_no_header_checks);
	tcase_add_test(t, an_unknown_new_view_costs_no_header_checks);
	tcase_add_loop_test(t, fetches_of_one_peer_are_limited, 0, 2);
	tcase_add_loop_test(t, what_is_shown_fits_together, 0, 2);
	tcase_add_loop_test(t, final_blocks_under_the_other_new_view_are_taken, 0, 2);
	tcase_add_test(t, what_a_peer_sends_is_bounded_in_bytes);
	tcase_add_test(t, void_transactions_are_no_reason_to_leave_a_leader);
	tcase_add_loop_test(t, a_full_log_forgets_nothing_in_use, 0, 4);
	tcase_add_loop_test(t, storm_of_made_up_trees, 0, 12);
	tcase_add_test(t, a_pending_proof_is_told_again);
	tcase_add_test(t, hoarded_grants_abort_few_views);
	tcase_add_loop_test(t, nobody_sets_the_clock_for_ages, 0, 2);
	tcase_add_loop_test(t, hidden_finality_leaves_room_for_more, 0, 2);
	tcase_add_test(t, diverged_below_a_final_block_is_said);
	tcase_add_test(t, false_transactions_are_rationed);
	tcase_add_test(t, vote_requests_are_rationed);
	tcase_add_test(t, new_views_are_rationed);
	tcase_add_test(t, blocks_name_few_new_views);
	tcase_add_test(t, evidence_that_proves_nothing_is_rationed);
	suite_add_tcase(s, t);
	TCase *small = tcase_create("small blocks");
	tcase_add_test(small, nothing_extends_a_mode_fast_in_its_term);
	tcase_add_checked_fixture(small, setup_small, teardown);
	tcase_set_timeout(small, 120);
	tcase_add_test(small, load_is_no_censorship);
	tcase_add_test(small, a_checkpoint_of_nothing_is_no_vote);
	suite_add_tcase(s, small);
	TCase *large = tcase_create("large blocks");
	tcase_add_checked_fixture(large, setup_large, teardown);
	tcase_set_timeout(large, 300);
	tcase_add_loop_test(large, what_we_voted_for_leaves_room_for_more, 0, 1);
	tcase_add_loop_test(large, what_we_voted_for_leaves_room_for_more, 1000, 1001);
	tcase_add_loop_test(large, the_tip_comes_first_at_a_restart, 0, 2);
	tcase_add_loop_test(large, large_answers_are_rationed, 0, 2);
	suite_add_tcase(s, large);
	TCase *wide = tcase_create("wide forks");
	tcase_add_checked_fixture(wide, setup_wide, teardown);
	tcase_set_timeout(wide, 300);
	tcase_add_loop_test(wide, what_all_have_voted_for_has_room, 0, 2);
	suite_add_tcase(s, wide);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
