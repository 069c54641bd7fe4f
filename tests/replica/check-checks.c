/* Four replicas in one program whose hosts check signatures elsewhere, and answer whenever they
 * like: what they agree on is the same, each signature is checked in time, and what is false is
 * refused as before. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "consensus/hybrid/message.h"
#include "replica/private.h"
#include "tests/ledger/world.h"
#include "tests/replica/quiet.h"

#define N	     4
#define QUEUE_MAX    20000
#define HELD_MAX     64
#define STEP_US	     500
#define CLIENT_TXS   480
#define HEARTBEAT_US 50000 /* by default */

struct letter {
	unsigned from, to;
	uint8_t *bytes;
	size_t len;
};

static struct world w;
static struct random chance;
static uint64_t now;
static struct node {
	struct store *store;
	struct replica *replica;
	struct block *held[HELD_MAX];
	unsigned held_count, final_txs, forwards,
		told; /* transactions forwarded, of the last */
	struct hash final[4096];
	uint64_t height, certified;
	bool halted;
} node[N];
static struct letter queue[QUEUE_MAX];
static unsigned queue_count;
static unsigned checks, overheard;
static bool elsewhere, shares;

static void host_send(void *ctx, const struct message *m)
{
	struct node *n = ctx;
	if (m->type == MSG_FORWARD) {
		struct message_in *in = mem_zalloc(sizeof *in);
		n->forwards += (unsigned)__builtin_popcountll(m->to);
		ck_assert_int_eq(message_decode(in, m->bytes), ERR_NONE);
		n->told = in->txs.count;
		message_free(in);
		mem_free(in);
	}
	for (uint64_t to = m->to; to; to &= to - 1) {
		ck_assert_uint_lt(queue_count, QUEUE_MAX);
		queue[queue_count++] =
			(struct letter){.from = (unsigned)(n - node),
					.to = (unsigned)__builtin_ctzll(to),
					.bytes = mem_dup(m->bytes.ptr, m->bytes.len),
					.len = m->bytes.len};
	}
}

/* Told before the state is that of the block. */
static void host_certified(void *ctx, struct block *b, const struct cert *cert)
{
	struct node *n = ctx;
	ck_assert_int_eq(cert_check(cert, &w.ctx), ERR_NONE);
	ck_assert_uint_eq(b->sh.h.height, n->height + 1);
	ck_assert_uint_eq(ledger_height(n->replica->ledger), n->height);
	n->certified++;
}

static void host_final(void *ctx, struct block *b, const struct cert *cert)
{
	struct node *n = ctx;
	ck_assert_uint_eq(ledger_height(n->replica->ledger), b->sh.h.height);
	n->height = b->sh.h.height;
	ck_assert_uint_lt(n->height, MEM_COUNT(n->final));
	n->final[n->height] = b->hash;
	n->final_txs += b->tx_count;
}

static void host_halted(void *ctx, const char *why)
{
	((struct node *)ctx)->halted = true;
}

static bool host_check(void *ctx, struct block *b, const struct pool_tx *txs, uint32_t count)
{
	struct node *n = ctx;
	ck_assert_uint_gt(count, 0);
	if (!elsewhere || n->held_count == HELD_MAX || random_chance(&chance, 1, 10))
		return false;
	n->held[n->held_count++] = block_hold(b);
	checks++;
	return true;
}

static uint64_t host_wall(void *ctx)
{
	return 1 + now / 1000;
}

static void open_one(unsigned i)
{
	const struct replica_config config = {.genesis = &w.genesis,
					      .store = node[i].store,
					      .self = i,
					      .key = w.validator[i],
					      .seed = 7 + i,
					      .now = now,
					      .verify_txs = true,
					      .shares_checks = shares,
					      .host = {.ctx = &node[i],
						       .send = host_send,
						       .sync = quiet_sync,
						       .certified = host_certified,
						       .final = host_final,
						       .rejected = quiet_rejected,
						       .halted = host_halted,
						       .check = host_check,
						       .wall_ms = host_wall}};
	struct errmsg m = {{0}};
	ck_assert_msg(replica_open(&node[i].replica, &config, &m) == ERR_NONE, "%s", m.text);
}

static void open_all(uint64_t seed)
{
	random_seed(&chance, seed);
	world_genesis(&w, 1000);
	world_seal(&w);
	memset(node, 0, sizeof node);
	queue_count = checks = overheard = 0;
	now = 1;
	for (unsigned i = 0; i < N; i++) {
		node[i].store = store_open_memory();
		ck_assert_int_eq(replica_first_votes(node[i].store), ERR_NONE);
		open_one(i);
	}
}

static void close_all(void)
{
	for (unsigned i = 0; i < queue_count; i++)
		mem_free(queue[i].bytes);
	for (unsigned i = 0; i < N; i++) {
		for (unsigned k = 0; k < node[i].held_count; k++)
			block_drop(node[i].held[k]);
		replica_close(node[i].replica);
		store_close(node[i].store);
	}
	world_free(&w);
}

/* As the node's loop does; here on the spot. */
static void overhear(struct node *n, struct slice message)
{
	static struct pool_tx txs[FORWARD_TXS_MAX];
	struct brought others;
	struct tx tx;
	uint32_t count = replica_transactions(n->replica, now, message, txs, MEM_COUNT(txs),
					      &others);
	for (uint32_t i = 0; i < count; i++)
		if (!tx_decode(&tx, txs[i].bytes, &w.ctx, &w.genesis.limits) &&
		    !tx_check_signature(&tx, &w.ctx)) {
			replica_checked(n->replica, &txs[i].id);
			overheard++;
		}
}

static void answer_one(struct node *n)
{
	unsigned k = (unsigned)random_below(&chance, n->held_count);
	struct block *b = n->held[k];
	n->held[k] = n->held[--n->held_count];
	replica_execute(n->replica, now, b);
	replica_execute(n->replica, now, b); /* told twice: no effect */
	block_drop(b);
}

/* Half a millisecond: what is under way arrives, some checks are done, a turn ends. */
static void run_step(bool hears)
{
	unsigned count = queue_count;
	struct letter *mail = mem_array(count + 1, sizeof *mail);
	memcpy(mail, queue, count * sizeof *mail);
	queue_count = 0;
	now += STEP_US;
	for (unsigned i = 0; i < N; i++)
		replica_gather(node[i].replica);
	for (unsigned i = 0; i < count; i++) {
		struct slice bytes = slice_of(mail[i].bytes, mail[i].len);
		if (hears)
			overhear(&node[mail[i].to], bytes);
		replica_message(node[mail[i].to].replica, now, mail[i].from, bytes);
		mem_free(mail[i].bytes);
	}
	mem_free(mail);
	for (unsigned i = 0; i < N; i++) {
		struct node *n = &node[i];
		while (n->held_count && random_chance(&chance, 1, 3))
			answer_one(n);
		if (replica_wake_at(n->replica) <= now)
			replica_tick(n->replica, now);
		replica_propose(n->replica, now);
	}
}

static void run_until(unsigned txs, bool hears)
{
	for (unsigned step = 0; step < 40000; step++) {
		bool done = true;
		run_step(hears);
		for (unsigned i = 0; i < N; i++)
			done = done && node[i].final_txs >= txs;
		if (done)
			return;
	}
	ck_abort_msg("they do not get there");
}

static void elect(void)
{
	struct engine_status status = {.role = ROLE_FOLLOWER};
	for (unsigned step = 0; step < 20000; step++) {
		run_step(false);
		replica_status(node[0].replica, &status);
		if (status.final.height > 0)
			return;
	}
	ck_abort_msg("no leader");
}

/* Of one client, to the replicas in turn, ten at a time; or to followers alone. */
static void submit(unsigned client, unsigned count, bool to_leader, bool hears)
{
	unsigned at = 0;
	for (unsigned k = 0; k < count; k++) {
		struct engine_status status;
		struct hash id;
		struct slice tx = world_put(&w, client, k + 1, "key", "value");
		replica_status(node[at].replica, &status);
		if (!to_leader && status.role == ROLE_LEADER)
			at = (at + 1) % N;
		ck_assert_int_eq(replica_submit(node[at].replica, now, tx, false, &id),
				 ERR_NONE);
		mem_free((void *)tx.ptr);
		if (k % 10 == 9) {
			run_step(hears);
			at = (at + 1) % N;
		}
	}
}

static void all_agree(unsigned txs)
{
	for (unsigned i = 0; i < N; i++) {
		ck_assert(!node[i].halted);
		ck_assert_uint_eq(node[i].final_txs, txs);
		ck_assert_uint_eq(node[i].certified, node[i].height);
		for (uint64_t h = 1; h <= node[i].height && h <= node[0].height; h++)
			ck_assert(hash_equal(&node[i].final[h], &node[0].final[h]));
	}
}

START_TEST(answers_come_whenever)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		elsewhere = true;
		shares = seed % 2;
		open_all(seed);
		elect();
		submit(0, CLIENT_TXS, true, false);
		run_until(CLIENT_TXS, false);
		all_agree(CLIENT_TXS);
		ck_assert_uint_gt(checks, 10);
		close_all();
	}
}
END_TEST

/* With all told to all, followers have checked what peers brought before its block comes. (What
 * the leader's own clients bring may leave with a block at once.) */
START_TEST(what_is_overheard_is_not_checked_again)
{
	elsewhere = true;
	shares = false;
	open_all(1);
	elect();
	submit(1, CLIENT_TXS, false, true);
	run_until(CLIENT_TXS, true);
	unsigned without = checks, few = node[0].forwards;
	close_all();
	shares = true;
	open_all(1);
	elect();
	submit(1, CLIENT_TXS, false, true);
	run_until(CLIENT_TXS, true);
	all_agree(CLIENT_TXS);
	ck_assert_uint_gt(overheard, CLIENT_TXS);
	ck_assert_uint_gt(without, 10);
	ck_assert_uint_eq(checks, 0);
	ck_assert_uint_gt(node[0].forwards, few);
	close_all();
}
END_TEST

static struct node *the_leader(void)
{
	for (unsigned i = 0; i < N; i++) {
		struct engine_status status;
		replica_status(node[i].replica, &status);
		if (status.role == ROLE_LEADER)
			return &node[i];
	}
	ck_abort_msg("nobody leads");
}

/* What the leader's clients bring while a block is under way, too; few of them are not worth a
 * message, and what leaves with a block at once is told by that. */
START_TEST(the_leader_tells_its_own)
{
	static const unsigned later[] = {7, 8, 30};
	for (unsigned k = 0; k < MEM_COUNT(later); k++) {
		unsigned nonce = 1, total = 20 + later[k];
		elsewhere = shares = true;
		open_all(9);
		elect();
		struct node *n = the_leader();
		for (unsigned i = 0; i < total; i++, nonce++) {
			struct hash id;
			struct slice tx = world_put(&w, 0, nonce, "key", "value");
			if (i == 0 || i == 20)
				replica_gather(n->replica);
			ck_assert_int_eq(replica_submit(n->replica, now, tx, false, &id),
					 ERR_NONE);
			mem_free((void *)tx.ptr);
			if (i == 19) {
				replica_propose(n->replica, now);
				ck_assert_uint_eq(n->forwards, 0);
			}
		}
		replica_propose(n->replica, now);
		ck_assert_uint_eq(n->forwards, later[k] >= 8 ? N - 1 : 0);
		run_until(total, true);
		all_agree(total);
		ck_assert_uint_eq(overheard, later[k] >= 8 ? (N - 1) * later[k] : 0);
		ck_assert_uint_eq(n->forwards, later[k] >= 8 ? N - 1 : 0); /* once */
		close_all();
	}
}
END_TEST

/* Large ones go to the leader alone. */
START_TEST(large_ones_are_not_told)
{
	char *value = mem_zalloc(6001);
	memset(value, 'v', 6000);
	elsewhere = shares = true;
	open_all(11);
	elect();
	unsigned follower = 0;
	for (unsigned i = 0; i < N; i++) {
		struct engine_status status;
		replica_status(node[i].replica, &status);
		follower = status.role == ROLE_LEADER ? follower : i;
	}
	struct node *n = &node[follower];
	for (unsigned i = 0; i < 2; i++) {
		struct hash id;
		struct slice tx = world_put(&w, 0, i + 1, "key", i ? "small" : value);
		replica_gather(n->replica);
		ck_assert_int_eq(replica_submit(n->replica, now, tx, false, &id), ERR_NONE);
		mem_free((void *)tx.ptr);
		replica_propose(n->replica, now);
		ck_assert_uint_eq(n->forwards, i ? N : 1);
	}
	run_until(2, true);
	all_agree(2);
	close_all();
	mem_free(value);
}
END_TEST

/* What is final is worth nothing when it comes again, though its signature has been checked. */
START_TEST(what_is_final_is_worthless)
{
	struct pool_tx out[8];
	struct brought others;
	struct writer m = {0};
	elsewhere = shares = false;
	open_all(5);
	elect();
	submit(0, 10, true, false);
	run_until(10, false);
	struct slice tx[10];
	for (unsigned k = 0; k < 10; k++)
		tx[k] = world_put(&w, 0, k + 1, "key", "value");
	msg_txs_encode(&m, MSG_RELAY, tx, 10);
	for (unsigned i = 0; i < N; i++) {
		ck_assert_uint_eq(replica_transactions(node[i].replica, now, writer_slice(&m),
						       out, 8, &others),
				  0);
		ck_assert_uint_eq(others.known, 0);
		ck_assert_uint_eq(others.worthless, 10);
	}
	world_free_txs(tx, 10);
	writer_free(&m);
	close_all();
}
END_TEST

/* Only what is worth it: of this epoch, well-formed, admissible, not checked or waiting here.
 */
START_TEST(not_all_is_worth_checking)
{
	struct pool_tx out[8];
	struct brought others;
	struct writer m = {0};
	struct hash id;
	elsewhere = shares = false;
	open_all(3);
	run_step(false);
	struct slice tx[4] = {world_put(&w, 0, 1, "a", "b"), world_put(&w, 1, 1, "a", "b"),
			      world_put(&w, 2, UINT64_MAX, "a", "b"), /* beyond the window */
			      world_put(&w, 3, 1, "a", "b")};
	tx_id(&id, tx[0]);
	replica_checked(node[0].replica, &id);
	ck_assert_int_eq(replica_submit(node[0].replica, now, tx[1], false, &id), ERR_NONE);
	msg_txs_encode(&m, MSG_FORWARD, tx, 4);
	ck_assert_uint_eq(replica_transactions(node[0].replica, now, writer_slice(&m), out, 8,
					       &others),
			  1);
	ck_assert_uint_eq(others.known, 2);
	ck_assert_uint_eq(others.worthless, 1);
	tx_id(&id, tx[3]);
	ck_assert(hash_equal(&out[0].id, &id));
	ck_assert(slice_equal(out[0].bytes, tx[3]));
	ck_assert(out[0].bytes.ptr > m.buf && out[0].bytes.ptr < m.buf + m.len);
	ck_assert_uint_eq(replica_transactions(node[1].replica, now, writer_slice(&m), out, 2,
					       &others),
			  2); /* no more than there is room for */
	for (size_t len = 0; len < m.len; len++)
		ck_assert_uint_eq(replica_transactions(node[1].replica, now,
						       slice_of(m.buf, len), out, 8,
						       &others),
				  0);
	m.buf[0] = MSG_APPEND;
	ck_assert_uint_eq(replica_transactions(node[1].replica, now, writer_slice(&m), out, 8,
					       &others),
			  0);
	world_free_txs(tx, 4);
	writer_free(&m);
	close_all();
}
END_TEST

static unsigned leader_now(void)
{
	struct engine_status status = {.role = ROLE_FOLLOWER};
	unsigned i = 0;
	for (; i < N; i++) {
		replica_status(node[i].replica, &status);
		if (status.role == ROLE_LEADER)
			return i;
	}
	ck_abort_msg("no leader");
}

/* What a turn of the leader has not built yet is told to the others as it is, also when its
 * block before that is executed in the same turn, and is the largest so far. */
START_TEST(what_is_told_is_not_lost_meanwhile)
{
	enum { TOLD = 12 };
	elsewhere = false;
	shares = true;
	open_all(5);
	elect();
	struct node *n = &node[leader_now()];
	struct hash id;
	struct slice tx[TOLD];
	replica_gather(n->replica);
	for (unsigned i = 0; i < TOLD; i++) {
		tx[i] = world_put(&w, 0, 1 + i, "key", "value");
		ck_assert_int_eq(replica_submit(n->replica, now, tx[i], false, &id), ERR_NONE);
	}
	struct block *b;
	{
		enum tx_result results[TOLD] = {0};
		static const struct hash root;
		b = world_raw_block(&w, w.block0, tx, results, TOLD, &root);
	}
	checks_execute(n->replica, b); /* as of a leader before: it is refused */
	n->told = 0;
	checks_end_of_turn(n->replica);
	ck_assert_uint_eq(n->told, TOLD);
	block_drop(b);
	world_free_txs(tx, TOLD);
	close_all();
}
END_TEST

/* What a peer relays each has from that peer: whoever passes it on to the leader does not tell
 * it to all again, or one message of a malicious one would become as many as there are pairs.
 */
START_TEST(what_peers_bring_is_not_told_to_all)
{
	enum { RELAYED = 12 };
	elsewhere = false;
	shares = true;
	open_all(6);
	elect();
	for (unsigned step = 0; step < 20; step++)
		run_step(false);
	unsigned leader = leader_now(), f = (leader + 1) % N, other = (leader + 2) % N;
	struct writer m = {0};
	struct slice tx[RELAYED];
	struct hash id;
	for (unsigned i = 0; i < RELAYED; i++)
		tx[i] = world_put(&w, 0, 1 + i, "key", "value");
	msg_txs_encode(&m, MSG_RELAY, tx, RELAYED);
	replica_gather(node[f].replica);
	node[f].forwards = node[f].told = 0;
	replica_message(node[f].replica, now, other, writer_slice(&m));
	replica_propose(node[f].replica, now);
	ck_assert_uint_eq(node[f].told, RELAYED);
	ck_assert_uint_eq(node[f].forwards, 1);
	/* What its own clients bring is. */
	struct slice own = world_put(&w, 1, 1, "key", "value");
	replica_gather(node[f].replica);
	ck_assert_int_eq(replica_submit(node[f].replica, now, own, false, &id), ERR_NONE);
	replica_propose(node[f].replica, now);
	ck_assert_uint_eq(node[f].told, 1);
	ck_assert_uint_eq(node[f].forwards, N);
	mem_free((void *)own.ptr);
	world_free_txs(tx, RELAYED);
	writer_free(&m);
	close_all();
}
END_TEST

static void submit_to(struct node *n, unsigned *nonce, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct hash id;
		struct slice tx = world_put(&w, 0, ++*nonce, "key", "value");
		ck_assert_int_eq(replica_submit(n->replica, now, tx, false, &id), ERR_NONE);
		mem_free((void *)tx.ptr);
	}
}

/* Blocks that it has proposed and that are not final yet. */
static uint64_t under_way(const struct node *n)
{
	struct engine_status status;
	replica_status(n->replica, &status);
	return status.tip.height - status.final.height;
}

/* One block of so many transactions, final after this time or a little later; when it was
 * proposed. */
static uint64_t final_block(struct node *n, unsigned *nonce, unsigned txs, uint64_t takes)
{
	unsigned before = n->final_txs;
	uint64_t begun = now;
	replica_gather(n->replica);
	submit_to(n, nonce, txs);
	replica_propose(n->replica, now);
	ck_assert_uint_eq(under_way(n), 1);
	now += takes;
	while (n->final_txs < before + txs)
		run_step(false);
	ck_assert_uint_eq(under_way(n), 0);
	return begun;
}

/* [I22]: those who were answered are waited for as long as their block took, and a 32nd of a
 * heartbeat at most, to the microsecond, whether they come or not; and not at all if as many
 * are there. */
START_TEST(who_was_answered_is_waited_for)
{
	static const uint64_t takes[] = {0, 300, 1000, 20000};
	const uint64_t most = HEARTBEAT_US / 32;
	elsewhere = shares = false;
	for (unsigned k = 0; k < MEM_COUNT(takes); k++) {
		unsigned nonce = 0;
		open_all(9);
		elect();
		struct node *n = the_leader();
		uint64_t begun = final_block(n, &nonce, 8, takes[k]), took = now - begun;
		uint64_t until = now + (took < most ? took : most);
		submit_to(n, &nonce, 1);
		ck_assert_uint_eq(under_way(n), 0);
		ck_assert_uint_eq(replica_wake_at(n->replica), until);
		replica_tick(n->replica, until - 1);
		ck_assert_uint_eq(under_way(n), 0);
		replica_tick(n->replica, until);
		ck_assert_uint_eq(under_way(n), 1);
		now = until;
		run_until(9, false);

		final_block(n, &nonce, 8, takes[k]);
		submit_to(n, &nonce, 7);
		ck_assert_uint_eq(under_way(n), 0);
		submit_to(n, &nonce, 1);
		ck_assert_uint_eq(under_way(n), 1);
		run_until(25, false);
		all_agree(25);
		close_all();
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("checks");
	TCase *t = tcase_create("checks");
	tcase_set_timeout(t, 300);
	tcase_add_test(t, answers_come_whenever);
	tcase_add_test(t, what_is_overheard_is_not_checked_again);
	tcase_add_test(t, the_leader_tells_its_own);
	tcase_add_test(t, large_ones_are_not_told);
	tcase_add_test(t, not_all_is_worth_checking);
	tcase_add_test(t, what_is_final_is_worthless);
	tcase_add_test(t, what_is_told_is_not_lost_meanwhile);
	tcase_add_test(t, what_peers_bring_is_not_told_to_all);
	tcase_add_test(t, who_was_answered_is_waited_for);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
