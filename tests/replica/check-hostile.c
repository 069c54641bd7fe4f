/* One correct replica, number 2 of four, against a world in which everything else is written by hand.
 * Replica 3 is malicious, 1 leads term 1, 0 is correct. Each test here shows a hole: it fails as
 * long as the hole is there (tests/HOLES). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/hybrid/message.h"
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

int main(void)
{
	crypto_init();
	Suite *s = suite_create("hostile");
	TCase *t = tcase_create("hostile");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, made_up_terms_do_not_use_up_the_ledger);
	tcase_add_test(t, made_up_terms_do_not_halt_a_replica);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
