/* New keys for validators, as one replica meets them: the end of its epoch, what may follow it,
 * what a new epoch takes over, and what peers of other epochs can make it do. */
#include "chain/epoch.h"
#include "consensus/hybrid/hybrid.h"
#include "replica/epoch.h"
#include "tests/replica/hostile.h"

#define PLACE 0u /* whose key is replaced */
static struct keypair govern[3], fresh;

static void setup_governed(void)
{
	begin_genesis();
	w.genesis.checkpoint_interval = 1; /* any height may end an epoch */
	w.genesis.governance = (struct genesis_keys){.k = 2, .m = 3};
	for (uint8_t i = 0; i < 3; i++) {
		uint8_t seed[32] = {77, i};
		keypair_from_seed(&govern[i], seed);
		w.genesis.governance.key[i] = govern[i].pub;
	}
	uint8_t seed[32] = {78};
	keypair_from_seed(&fresh, seed);
	open_world();
}

static struct member_change change_of(unsigned place, const struct pubkey *key,
				      unsigned signers)
{
	struct member_change m;
	member_change_init(&m, &w.ctx, place, key);
	for (unsigned i = 0; i < 3; i++)
		if (signers >> i & 1)
			ck_assert_int_eq(member_change_sign(&m, &w.ctx, &govern[i]), ERR_NONE);
	return m;
}

/* The end of the epoch, on parent. */
static struct block *end_block(const struct block *parent, uint64_t term,
			       const struct member_change *m)
{
	const struct system_tx tx = {
		.kind = SYSTEM_MEMBER, .height = parent->sh.h.height + 1, .member = *m};
	struct writer bytes = {0};
	system_tx_encode(&bytes, &tx, &w.ctx);
	const struct slice one = writer_slice(&bytes);
	struct block *b = world_build(&w, parent, term, &one, 1, NULL);
	ck_assert_ptr_nonnull(b);
	writer_free(&bytes);
	return b;
}

/* Term 1 begins, with the end as its first block. */
static struct block *propose_end(struct term_cert *tc, unsigned place, const struct pubkey *key)
{
	struct member_change m = change_of(place, key, 3);
	make_tc(tc, LEADER, w.block0);
	struct block *b = end_block(w.block0, LEADER, &m);
	heartbeat(LEADER, LEADER, tc, w.block0, 0);
	append(LEADER, LEADER, tc, b, NULL);
	return b;
}

static void finalize_by(const struct block *b)
{
	struct cert c;
	cert_of_others(b, CERT_ONE_ROUND, &c);
	append(LEADER, LEADER, NULL, NULL, &c);
}

/* Behind an end there is no state. */
static struct block *filler_block(const struct block *parent, uint64_t term)
{
	struct block *plain = empty_block(parent, term), *out;
	struct signed_header sh = plain->sh;
	sh.h.state_root = (struct hash){0};
	signed_header_sign(&sh, &w.ctx, &w.validator[sh.h.leader]);
	ck_assert_int_eq(block_new(&out, &sh, slice_of(plain->body, plain->body_size)),
			 ERR_NONE);
	block_drop(plain);
	return out;
}

static uint64_t epoch(void)
{
	return replica_ctx(replica)->epoch;
}

static uint64_t counter(enum engine_counter c)
{
	struct engine_status s;
	replica_status(replica, &s);
	return s.counters[c];
}

static void reopen(void)
{
	replica_close(replica);
	open_replica();
}

static bool has_slots(void)
{
	struct writer bytes = {0};
	bool any = false;
	for (uint8_t slot = 0; slot < VOTE_SLOTS; slot++)
		any |= store_get(store, STORE_VOTES, slice_of(&slot, 1), &bytes) == ERR_NONE;
	writer_free(&bytes);
	return any;
}

START_TEST(an_end_ends_its_epoch)
{
	struct term_cert tc;
	struct block *end = propose_end(&tc, PLACE, &fresh.pub);
	ck_assert(has_prepared(end));
	ck_assert(has_slots());
	finalize_by(end);
	ck_assert_uint_eq(epoch(), 1);
	ck_assert_uint_eq(final_height(), 1);
	ck_assert(pubkey_equal(&replica_ctx(replica)->vals.key[PLACE], &fresh.pub));
	ck_assert(!has_slots()); /* an empty vote state, which is one */
	ck_assert_ptr_null(replica_observes(replica));
	ck_assert_ptr_nonnull(newest(MSG_FINAL, 0)); /* the others hear of it */
	for (unsigned i = 0; i < 2; i++) {
		reopen();
		ck_assert_uint_eq(epoch(), 1);
		ck_assert_uint_eq(final_height(), 1);
		ck_assert_ptr_null(replica_observes(replica));
		ck_assert_ptr_null(halted);
	}
	struct proof_document d;
	struct errmsg m;
	struct chain_ctx ctx;
	genesis_ctx(&ctx, &w.genesis);
	ck_assert_int_eq(replica_handover(replica, 1, &d), ERR_NONE);
	ck_assert_int_eq(proof_handover_check(&d, &w.genesis, &ctx, &m), ERR_NONE);
	ck_assert_uint_eq(ctx.epoch, 1);
	ck_assert_int_ne(proof_handover_check(&d, &w.genesis, &ctx, &m), ERR_NONE); /* again */
	proof_document_free(&d);
	ck_assert_int_eq(replica_handover(replica, 2, &d), ERR_NOT_FOUND);
	block_drop(end);
}
END_TEST

/* Nothing extends it in its term, nor with transactions; a filler makes it final, and is
 * nothing. */
START_TEST(only_fillers_extend_an_end)
{
	struct term_cert tc;
	struct block *end = propose_end(&tc, PLACE, &fresh.pub);
	struct block *more = empty_block(end, LEADER);
	append(LEADER, LEADER, NULL, more, NULL);
	ck_assert(!has_prepared(more));
	make_tc(&tc, 5, end);
	struct slice put = world_put(&w, 0, 1, "k", "v");
	ck_assert_int_eq(ledger_execute(w.ledger, end, false), ERR_NONE);
	struct hash root = end->sh.h.state_root;
	const enum tx_result ok = TX_OK;
	struct block *full = world_raw_block(&w, end, &put, &ok, 1, &root);
	struct signed_header sh = full->sh;
	sh.h.term = 5;
	sh.h.leader = 1;
	sh.h.base_height = 1;
	sh.h.base = end->hash;
	signed_header_sign(&sh, &w.ctx, &w.validator[1]);
	struct block *bad;
	ck_assert_int_eq(block_new(&bad, &sh, slice_of(full->body, full->body_size)), ERR_NONE);
	heartbeat(LEADER, 5, &tc, end, 0);
	append(LEADER, 5, &tc, bad, NULL);
	ck_assert(!has_prepared(bad));
	ck_assert_uint_eq(final_height(), 0);
	/* in a term whose leader has done nothing wrong */
	make_tc(&tc, 9, end);
	struct block *stateful = empty_block(end, 9); /* says what the state is */
	struct block *filler = filler_block(end, 9);
	heartbeat(LEADER, 9, &tc, end, 0);
	append(LEADER, 9, &tc, stateful, NULL);
	ck_assert(!has_prepared(stateful));
	make_tc(&tc, 13, end);
	block_drop(filler);
	filler = filler_block(end, 13);
	heartbeat(LEADER, 13, &tc, end, 0);
	append(LEADER, 13, &tc, filler, NULL);
	ck_assert(has_prepared(filler));
	ck_assert_uint_eq(epoch(), 0);
	struct cert c;
	cert_of_others(filler, CERT_ONE_ROUND, &c);
	append(LEADER, 13, NULL, NULL, &c);
	ck_assert_uint_eq(epoch(), 1);
	ck_assert_uint_eq(final_height(), 1);
	ck_assert_uint_eq(ledger_height(replica_ledger(replica)), 1);
	struct handover h;
	ck_assert_int_eq(epoch_handover(replica, 1, &h), ERR_NONE);
	ck_assert_uint_eq(h.filler_count, 1);
	handover_free(&h);
	reopen();
	ck_assert_uint_eq(epoch(), 1);
	ck_assert_uint_eq(final_height(), 1);
	world_free_txs(&put, 1);
	block_drop(end);
	block_drop(more);
	block_drop(full);
	block_drop(bad);
	block_drop(stateful);
	block_drop(filler);
}
END_TEST

/* A PREPARE or COMMIT of each of the others but MALICE. */
static void votes_of_two(const struct block *b, enum vote_kind kind)
{
	for (unsigned i = 0; i < 2; i++) {
		struct writer out = {0};
		struct msg_commit m = {.commit = {.kind = kind,
						  .ref = block_ref_of(b),
						  .signer = (uint16_t)i}};
		vote_sign(&m.commit, &w.ctx, &w.validator[i]);
		if (kind == VOTE_COMMIT)
			msg_commit_encode(&out, &m);
		else
			msg_prepare_encode(&out, &m.commit);
		deliver(i, &out);
	}
}

/* [I1] The end is final by a COMMIT of its own for a filler of a pbft term: it must be durable
 * first, or a crash would take it back from who has acted on it. What clients bring meanwhile
 * is the next epoch's. */
START_TEST(an_end_waits_for_its_own_word)
{
	struct term_cert tc, pbft;
	struct hash id;
	struct block *end = propose_end(&tc, PLACE, &fresh.pub);
	ck_assert(has_prepared(end));
	others_move_on(5, &tc, end);
	make_new_view(&pbft, 5, &tc, end, 0);
	send_new_view(1, &pbft);
	ck_assert_int_eq(ledger_execute(w.ledger, end, false), ERR_NONE);
	struct block *filler = pbft_block(&pbft, end, 0);
	append(1, 5, NULL, filler, NULL);
	ck_assert_ptr_nonnull(newest(MSG_PREPARE, 1));
	disk_is_slow = _i == 1;
	votes_of_two(filler, VOTE_PREPARE_PBFT);
	votes_of_two(filler, VOTE_COMMIT);
	if (_i == 0) { /* each of its writes was durable at once */
		ck_assert_uint_eq(epoch(), 1);
	} else {
		ck_assert_uint_eq(epoch(), 0);
		ck_assert_ptr_null(newest(MSG_COMMIT, 1));
		ck_assert_ptr_null(newest(MSG_FINAL, 1));
		struct slice put = world_put(&w, 0, 1, "k", "v");
		ck_assert_int_eq(replica_submit(replica, now, put, false, &id), ERR_NONE);
		disk_is_slow = false;
		replica_durable(replica, now, sync_asked);
		ck_assert_ptr_nonnull(newest(MSG_COMMIT, 1));
		ck_assert_uint_eq(epoch(), 1);
		ck_assert_uint_eq(engine_pool(replica_engine(replica)).count, 1);
		world_free_txs(&put, 1);
	}
	ck_assert_ptr_nonnull(newest(MSG_FINAL, 1));
	ck_assert_uint_eq(final_height(), 1);
	term_cert_free(&pbft);
	block_drop(filler);
	block_drop(end);
}
END_TEST

/* It hears the end's certificate from who is further, without the blocks. */
START_TEST(a_laggard_is_told)
{
	struct term_cert tc;
	struct cert c;
	struct writer out = {0};
	struct block *end = propose_end(&tc, PLACE, &fresh.pub);
	cert_of_others(end, CERT_QC_FAST, &c);
	msg_final_encode(&out, &c);
	deliver(0, &out);
	ck_assert_uint_eq(epoch(), 0); /* a QC makes nothing final */
	cert_of_others(end, CERT_TWO_ROUND, &c);
	c.sig[1].b[0] ^= 1;
	out = (struct writer){0};
	msg_final_encode(&out, &c);
	deliver(MALICE, &out);
	ck_assert_uint_eq(epoch(), 0);
	c.sig[1].b[0] ^= 1;
	out = (struct writer){0};
	msg_final_encode(&out, &c);
	deliver(0, &out);
	ck_assert_uint_eq(epoch(), 1);
	block_drop(end);
}
END_TEST

static void fetch(unsigned from, uint64_t of_epoch, uint64_t height)
{
	struct writer out = {0};
	const struct msg_fetch m = {.from_height = height};
	if (of_epoch) {
		writer_u8(&out, EPOCH_ENVELOPE);
		writer_u64(&out, of_epoch);
	}
	msg_fetch_encode(&out, &m);
	deliver(from, &out);
}

/* Votes of the old epoch are nothing; what is asked of it is answered, so often and no more. */
START_TEST(messages_of_other_epochs)
{
	struct term_cert tc;
	struct block *end = propose_end(&tc, PLACE, &fresh.pub);
	finalize_by(end);
	ck_assert_uint_eq(epoch(), 1);
	pass(200000);
	forget_sent();
	uint64_t bad = counter(COUNT_BAD_SIGNATURES) + counter(COUNT_BAD_MESSAGES);
	struct sig_counts before = sig_counts();
	for (unsigned i = 0; i < 1000; i++) {
		heartbeat(MALICE, LEADER, &tc, end, 1);
		fetch(MALICE, 0, 1);
		fetch(MALICE, 7, 1);
	}
	unsigned told = 0, blocks = 0, asked = 0;
	for (unsigned i = 0; i < sent_count; i++) {
		told += sent[i].type == MSG_FINAL;
		blocks += sent[i].type == MSG_BLOCKS;
		asked += sent[i].type == MSG_FETCH;
	}
	ck_assert_uint_eq(blocks, 1);
	ck_assert_uint_eq(told, 1);
	ck_assert_uint_le(asked, 1);
	ck_assert_uint_eq(sig_counts().made, before.made);
	ck_assert_uint_eq(sig_counts().checked, before.checked);
	ck_assert_uint_eq(counter(COUNT_BAD_SIGNATURES) + counter(COUNT_BAD_MESSAGES), bad);
	ck_assert_uint_ge(replica_stale_messages(replica), 3000);
	/* what it says of the old epoch is that epoch's, and bears no envelope */
	static struct message_in in;
	const struct sent *s = newest(MSG_BLOCKS, MALICE);
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	ck_assert_uint_eq(in.blocks.count, 1);
	ck_assert(in.blocks.has_cert);
	ck_assert_int_eq(cert_check(&in.blocks.cert, &w.ctx), ERR_NONE);
	message_free(&in);
	/* and what it says of its own has one */
	pass(5000000);
	s = newest(MSG_PRE_VOTE_REQUEST, 0);
	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->bytes.buf[0], EPOCH_ENVELOPE);
	ck_assert_uint_eq(load_be64(s->bytes.buf + 1), 1);
	block_drop(end);
}
END_TEST

/* So many blocks as are final by the certificate of the end alone. */
START_TEST(a_laggard_gets_a_long_tail)
{
	static struct message_in in;
	struct term_cert tc;
	struct member_change m = change_of(PLACE, &fresh.pub, 3);
	struct block *b = block_hold(w.block0);
	make_tc(&tc, LEADER, b);
	heartbeat(LEADER, LEADER, &tc, b, 0);
	for (unsigned i = 0; i < 200; i++) {
		struct block *next = empty_block(b, LEADER);
		append(LEADER, LEADER, NULL, next, NULL);
		ck_assert_int_eq(ledger_execute(w.ledger, next, false), ERR_NONE);
		block_drop(b);
		b = next;
	}
	struct block *end = end_block(b, LEADER, &m);
	append(LEADER, LEADER, NULL, end, NULL);
	finalize_by(end);
	ck_assert_uint_eq(epoch(), 1);
	ck_assert_uint_eq(final_height(), 201);
	pass(200000);
	fetch(0, 0, 1);
	const struct sent *s = newest(MSG_BLOCKS, 0);
	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
	ck_assert(in.blocks.has_cert);
	ck_assert_uint_eq(in.blocks.count, 201);
	message_free(&in);
	block_drop(b);
	block_drop(end);
}
END_TEST

/* A filler is nobody's history: with its quorum's certificate it shows no client that it, or
 * the state of the end, is final at its height, where the next epoch has another block. [S4] */
START_TEST(a_filler_proves_nothing)
{
	struct term_cert tc;
	struct handover h;
	struct cert c;
	struct errmsg m;
	struct block *end = propose_end(&tc, PLACE, &fresh.pub);
	make_tc(&tc, 9, end);
	struct block *filler = filler_block(end, 9);
	heartbeat(LEADER, 9, &tc, end, 0);
	append(LEADER, 9, &tc, filler, NULL);
	cert_of_others(filler, CERT_ONE_ROUND, &c);
	append(LEADER, 9, NULL, NULL, &c);
	ck_assert_uint_eq(epoch(), 1);
	ck_assert_int_eq(epoch_handover(replica, 1, &h), ERR_NONE);
	struct signed_header both[2] = {h.end->sh, h.fillers[0]};
	struct certified_header ch = {.count = 2, .headers = both, .cert = h.cert};
	ck_assert_int_eq(certified_header_check(&ch, &w.ctx, &w.block0->hash), ERR_NONE);
	ch = (struct certified_header){.count = 1, .headers = both + 1, .cert = h.cert};
	ck_assert_int_eq(certified_header_check(&ch, &w.ctx, &w.block0->hash), ERR_BAD_PROOF);
	/* nor a state */
	struct proof_document d;
	struct writer proof = {0}, value = {0};
	proof_document_init(&d);
	const struct slice key = slice_str("\x01nothing");
	ck_assert_int_eq(ledger_get(replica_ledger(replica), key, 1, &value, &proof),
			 ERR_NOT_FOUND);
	d.ch = ch;
	d.state_key = key;
	d.proof = writer_slice(&proof);
	ck_assert_int_eq(proof_document_check_in(&d, &w.genesis, &w.ctx, &m), ERR_BAD_PROOF);
	ck_assert_ptr_nonnull(strstr(m.text, "filler"));
	d.ch = (struct certified_header){.count = 2, .headers = both, .cert = h.cert};
	ck_assert_int_eq(proof_document_check_in(&d, &w.genesis, &w.ctx, &m), ERR_NONE);
	writer_free(&proof);
	writer_free(&value);
	handover_free(&h);
	block_drop(end);
	block_drop(filler);
}
END_TEST

/* A laggard may ask for what comes behind the fillers that it has, which are not the ones of
 * the certificate: it gets the end and those that are. */
START_TEST(a_laggard_asks_above_the_end)
{
	static struct message_in in;
	struct term_cert tc;
	struct cert c;
	struct block *end = propose_end(&tc, PLACE, &fresh.pub);
	make_tc(&tc, 9, end);
	struct block *filler = filler_block(end, 9);
	heartbeat(LEADER, 9, &tc, end, 0);
	append(LEADER, 9, &tc, filler, NULL);
	cert_of_others(filler, CERT_ONE_ROUND, &c);
	append(LEADER, 9, NULL, NULL, &c);
	ck_assert_uint_eq(epoch(), 1);
	for (uint64_t height = 1; height < 5; height++) {
		forget_sent();
		pass(200000);
		fetch(0, 0, height);
		const struct sent *s = newest(MSG_BLOCKS, 0);
		ck_assert_ptr_nonnull(s);
		ck_assert_int_eq(message_decode(&in, writer_slice(&s->bytes)), ERR_NONE);
		ck_assert_uint_eq(in.blocks.count, 2);
		ck_assert(hash_equal(&in.blocks.blocks[1]->hash, &filler->hash));
		ck_assert(in.blocks.has_cert);
		ck_assert(block_ref_equal(&in.blocks.cert.ref, &c.ref));
		message_free(&in);
	}
	block_drop(end);
	block_drop(filler);
}
END_TEST

/* Who escalates before it has heard of a leader has nothing to show: in any epoch that entitles
 * it to the term after the one that all begin in, jailed primaries left out. [I14] */
START_TEST(the_first_term_is_given)
{
	struct term_cert tc;
	struct block *end = propose_end(&tc, PLACE, &fresh.pub);
	finalize_by(end);
	ck_assert_uint_eq(epoch(), 1);
	struct hybrid *h = (struct hybrid *)replica_engine(replica);
	uint64_t start = h->ctx->start_term;
	ck_assert_uint_eq(start, LEADER);
	ck_assert(term_follows(h, 0, start + 1));
	ck_assert(!term_follows(h, 0, start + 2));
	h->modes.jailed = UINT64_C(1) << primary_of(start + 1, 4);
	ck_assert(term_follows(h, 0, start + 2));
	ck_assert(!term_follows(h, 0, start + 3));
	block_drop(end);
}
END_TEST

/* What metrics count a message as. */
START_TEST(types_show_through_envelopes)
{
	static const uint8_t plain[] = {MSG_FETCH, 1, 2}, head[] = {EPOCH_ENVELOPE, 1};
	uint8_t bytes[EPOCH_HEAD + 1] = {EPOCH_ENVELOPE};
	store_be64(bytes + 1, 1);
	bytes[EPOCH_HEAD] = MSG_APPEND;
	ck_assert_uint_eq(replica_message_type(slice_of(plain, sizeof plain)), MSG_FETCH);
	ck_assert_uint_eq(replica_message_type(slice_of(bytes, sizeof bytes)), MSG_APPEND);
	ck_assert_uint_eq(replica_message_type(slice_of(bytes, EPOCH_HEAD)), EPOCH_ENVELOPE);
	ck_assert_uint_eq(replica_message_type(slice_of(head, sizeof head)), EPOCH_ENVELOPE);
	ck_assert_uint_eq(replica_message_type(slice_of(NULL, 0)), UINT8_MAX);
	ck_assert_uint_eq(replica_message_epoch(slice_of(plain, sizeof plain)), 0);
	ck_assert_uint_eq(replica_message_epoch(slice_of(bytes, sizeof bytes)), 1);
	ck_assert_uint_eq(replica_message_epoch(slice_of(bytes, EPOCH_HEAD)), 0);
	ck_assert_uint_eq(replica_message_epoch(slice_of(head, sizeof head)), 0);
}
END_TEST

START_TEST(envelopes_are_canonical)
{
	struct term_cert tc;
	struct block *end = propose_end(&tc, PLACE, &fresh.pub);
	finalize_by(end);
	static const uint64_t epochs[] = {0, 1, 1};
	for (unsigned kind = 0; kind < 3; kind++)
		for (unsigned len = 1; len < 12; len++) {
			uint8_t bytes[12] = {EPOCH_ENVELOPE};
			store_be64(bytes + 1, epochs[kind]);
			bytes[9] = kind == 2 ? EPOCH_ENVELOPE : 0xee;
			struct writer out = {0};
			writer_raw(&out, bytes, len);
			deliver(MALICE, &out);
			ck_assert_ptr_null(halted);
			ck_assert_uint_eq(epoch(), 1);
		}
	block_drop(end);
}
END_TEST

/* ---- requests -----------------------------------------------------------------------------
 */

static void request(unsigned from, const struct member_change *m)
{
	struct writer bytes = {0}, out = {0};
	member_change_encode(&bytes, m);
	msg_member_encode(&out, writer_slice(&bytes));
	writer_free(&bytes);
	deliver(from, &out);
}

START_TEST(governance_is_not_bothered)
{
	struct member_change bad = change_of(PLACE, &fresh.pub, 3), good = bad;
	bad.sig[1].b[7] ^= 1;
	struct sig_counts before = sig_counts();
	for (unsigned i = 0; i < 1000; i++)
		request(MALICE, &bad);
	ck_assert_uint_le(sig_counts().checked - before.checked, 3);
	struct engine_status s;
	replica_status(replica, &s);
	ck_assert(!s.member_waits);
	ck_assert_ptr_null(newest(MSG_MEMBER, 0));
	request(0, &good); /* others are heard meanwhile */
	replica_status(replica, &s);
	ck_assert(s.member_waits);
	ck_assert_ptr_nonnull(newest(MSG_MEMBER, LEADER));
	forget_sent();
	before = sig_counts();
	struct keypair other;
	uint8_t seed[32] = {79};
	keypair_from_seed(&other, seed);
	struct member_change second = change_of(1, &other.pub, 6);
	uint64_t made = sig_counts().made;
	for (unsigned i = 0; i < 100; i++) {
		request(0, &good);
		request(MALICE, &second); /* one at a time, the first */
	}
	ck_assert_uint_eq(sig_counts().checked, before.checked);
	ck_assert_uint_eq(sig_counts().made, made);
	ck_assert_ptr_null(newest(MSG_MEMBER, 0));
}
END_TEST

START_TEST(what_clients_bring)
{
	struct writer bytes = {0};
	struct member_change m = change_of(PLACE, &fresh.pub, 1);
	member_change_encode(&bytes, &m);
	ck_assert_int_eq(replica_member(replica, now, writer_slice(&bytes)), ERR_NO_QUORUM);
	writer_reset(&bytes);
	m = change_of(PLACE, &fresh.pub, 5);
	m.epoch = 1;
	member_change_encode(&bytes, &m);
	ck_assert_int_eq(replica_member(replica, now, writer_slice(&bytes)), ERR_STALE);
	writer_reset(&bytes);
	m = change_of(PLACE, &fresh.pub, 5);
	member_change_encode(&bytes, &m);
	ck_assert_int_ne(replica_member(replica, now, slice_of(bytes.buf, bytes.len - 1)),
			 ERR_NONE);
	ck_assert_int_eq(replica_member(replica, now, writer_slice(&bytes)), ERR_NONE);
	ck_assert_int_eq(replica_member(replica, now, writer_slice(&bytes)), ERR_EXISTS);
	ck_assert_ptr_nonnull(newest(MSG_MEMBER, 0));
	writer_free(&bytes);
}
END_TEST

/* An end that governance has not signed gets no vote, and its leader is shown to be a liar. */
START_TEST(an_end_without_governance)
{
	struct term_cert tc;
	struct member_change m = change_of(PLACE, &fresh.pub, 3);
	struct block *good = end_block(w.block0, LEADER, &m);
	m.sig[0].b[1] ^= 1;
	const struct system_tx tx = {.kind = SYSTEM_MEMBER, .height = 1, .member = m};
	struct writer bytes = {0};
	system_tx_encode(&bytes, &tx, &w.ctx);
	const struct slice one = writer_slice(&bytes);
	const enum tx_result ok = TX_OK;
	struct block *bad = world_raw_block(&w, w.block0, &one, &ok, 1, &good->sh.h.state_root);
	struct signed_header sh = bad->sh;
	sh.h.term = LEADER;
	sh.h.leader = LEADER;
	signed_header_sign(&sh, &w.ctx, &w.validator[LEADER]);
	struct block *b;
	ck_assert_int_eq(block_new(&b, &sh, slice_of(bad->body, bad->body_size)), ERR_NONE);
	make_tc(&tc, LEADER, w.block0);
	heartbeat(LEADER, LEADER, &tc, w.block0, 0);
	append(LEADER, LEADER, &tc, b, NULL);
	ck_assert(!has_prepared(b));
	ck_assert_uint_eq(counter(COUNT_EVIDENCE_INVALID_BLOCK), 1);
	writer_free(&bytes);
	block_drop(good);
	block_drop(bad);
	block_drop(b);
}
END_TEST

/* ---- who votes in the next epoch -----------------------------------------------------------
 */

static void forget_marks(void)
{
	struct store_batch *batch = store_batch_new();
	store_batch_delete(batch, STORE_META, slice_str(FIRST_VOTES_KEY));
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
}

/* Who has lost its vote state is an observer in the next epoch too. */
START_TEST(an_observer_stays_one)
{
	struct term_cert tc;
	replica_close(replica);
	forget_marks();
	open_replica();
	ck_assert_ptr_nonnull(replica_observes(replica));
	struct block *end = propose_end(&tc, PLACE, &fresh.pub);
	finalize_by(end);
	ck_assert_uint_eq(epoch(), 1);
	ck_assert_ptr_nonnull(replica_observes(replica));
	reopen();
	ck_assert_ptr_nonnull(replica_observes(replica));
	block_drop(end);
}
END_TEST

/* Whose key has been replaced is none of the validators any more. */
START_TEST(a_replaced_key_signs_nothing)
{
	struct term_cert tc;
	struct block *end = propose_end(&tc, VICTIM, &fresh.pub);
	ck_assert(has_prepared(end));
	finalize_by(end);
	ck_assert_uint_eq(epoch(), 1);
	ck_assert_ptr_nonnull(replica_observes(replica));
	uint64_t made = sig_counts().made;
	pass(20000000);
	reopen();
	ck_assert_ptr_nonnull(replica_observes(replica));
	pass(20000000);
	ck_assert_uint_eq(sig_counts().made, made);
	block_drop(end);
}
END_TEST

/* A key that was made for the place votes from its epoch on, with whatever disk: before, and if
 * its mark comes to the disk only after the end. Once; a disk that is lost later is lost. */
START_TEST(a_new_key_votes)
{
	struct term_cert tc;
	struct block *end;
	bool early = _i == 0;
	struct keypair old = w.validator[VICTIM];
	replica_close(replica);
	forget_marks(); /* it has lost its vote state */
	open_replica();
	ck_assert_ptr_nonnull(replica_observes(replica));
	if (early) {
		replica_close(replica);
		ck_assert_int_eq(replica_first_votes_of(store, &fresh.pub), ERR_NONE);
		w.validator[VICTIM] = fresh;
		open_replica();
		ck_assert_ptr_nonnull(replica_observes(replica)); /* not yet */
	}
	end = propose_end(&tc, VICTIM, &fresh.pub);
	finalize_by(end);
	ck_assert_uint_eq(epoch(), 1);
	if (!early) {
		ck_assert_ptr_nonnull(replica_observes(replica));
		replica_close(replica);
		ck_assert_int_eq(replica_first_votes_of(store, &old.pub),
				 ERR_NONE); /* not its */
		w.validator[VICTIM] = fresh;
		open_replica();
		ck_assert_ptr_nonnull(replica_observes(replica));
		replica_close(replica);
		ck_assert_int_eq(replica_first_votes_of(store, &fresh.pub), ERR_NONE);
		open_replica();
	}
	ck_assert_ptr_null(replica_observes(replica));
	uint64_t made = sig_counts().made;
	pass(20000000);
	ck_assert_uint_gt(sig_counts().made, made);
	reopen();
	ck_assert_ptr_null(replica_observes(replica));
	struct writer mark = {0};
	ck_assert_int_eq(store_get(store, STORE_META, slice_str(FIRST_VOTES_KEY), &mark),
			 ERR_NOT_FOUND); /* it is used up */
	writer_free(&mark);
	w.validator[VICTIM] = old;
	block_drop(end);
}
END_TEST

/* All slots, one behind the other. */
static void read_slots(struct writer *out)
{
	struct writer bytes = {0};
	writer_reset(out);
	for (uint8_t slot = 0; slot < VOTE_SLOTS; slot++) {
		int err = store_get(store, STORE_VOTES, slice_of(&slot, 1), &bytes);
		writer_u8(out, err == ERR_NONE);
		if (!err)
			writer_var(out, writer_slice(&bytes));
	}
	writer_free(&bytes);
}

/* A home gets another key, which has no place yet, and follows with it; then it gets back the
 * one that it had. What that one has signed is known, or it signs no more: nothing that was
 * written meanwhile passes for its votes. */
START_TEST(a_key_comes_back)
{
	struct term_cert tc, later;
	struct writer before = {0}, after = {0};
	struct keypair old = w.validator[VICTIM];
	bool lost = _i == 1; /* its votes, before */
	make_tc(&tc, LEADER, w.block0);
	heartbeat(LEADER, LEADER, &tc, w.block0, 0);
	struct block *b = empty_block(w.block0, LEADER);
	struct block *rival = block_at(w.block0, LEADER, 1600000000005);
	ck_assert(!hash_equal(&b->hash, &rival->hash));
	append(LEADER, LEADER, &tc, b, NULL);
	ck_assert(has_prepared(b));
	replica_close(replica);
	if (lost) {
		store_close(store);
		store = store_open_memory();
	}
	read_slots(&before);
	w.validator[VICTIM] = fresh;
	open_replica();
	ck_assert_ptr_nonnull(replica_observes(replica));
	append(LEADER, LEADER, &tc, rival, NULL);
	make_tc(&later, 3, w.block0);
	struct block *other = empty_block(w.block0, 3);
	heartbeat(MALICE, 3, &later, w.block0, 0);
	append(MALICE, 3, &later, other, NULL);
	pass(20000000);
	read_slots(&after);
	ck_assert(slice_equal(writer_slice(&before), writer_slice(&after)));
	replica_close(replica);
	forget_sent();
	w.validator[VICTIM] = old;
	open_replica();
	ck_assert_int_eq(replica_observes(replica) != NULL, lost);
	heartbeat(LEADER, LEADER, &tc, w.block0, 0);
	append(LEADER, LEADER, &tc, rival, NULL);
	pass(200000);
	ck_assert(!has_prepared(rival));
	block_drop(b);
	block_drop(rival);
	block_drop(other);
	writer_free(&before);
	writer_free(&after);
}
END_TEST

/* A key that was new once and has voted from here is never new again. */
START_TEST(a_key_is_new_once)
{
	struct term_cert tc;
	struct keypair old = w.validator[VICTIM];
	struct block *end = propose_end(&tc, VICTIM, &fresh.pub);
	finalize_by(end);
	ck_assert_uint_eq(epoch(), 1);
	replica_close(replica);
	ck_assert_int_eq(replica_first_votes_of(store, &fresh.pub), ERR_NONE);
	w.validator[VICTIM] = fresh;
	open_replica();
	ck_assert_ptr_null(replica_observes(replica));
	replica_close(replica);
	const uint8_t slot = 3, vote[] = {1, 0};
	struct store_batch *batch = store_batch_new();
	store_batch_put(batch, STORE_VOTES, slice_of(&slot, 1), slice_of(vote, sizeof vote));
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
	/* its operator takes a third one, and then thinks better of it */
	ck_assert_int_eq(replica_first_votes_of(store, &old.pub), ERR_NONE);
	w.validator[VICTIM] = old;
	open_replica();
	ck_assert_ptr_nonnull(replica_observes(replica));
	replica_close(replica);
	ck_assert_int_eq(replica_first_votes_of(store, &fresh.pub), ERR_EXISTS);
	w.validator[VICTIM] = fresh;
	open_replica();
	ck_assert(has_slots() || replica_observes(replica));
	w.validator[VICTIM] = old;
	block_drop(end);
}
END_TEST

/* What says that an epoch has begun is lost, and the votes are of that epoch: they are no votes
 * of the one before, and not forgotten either. Nothing is written, for a repair brings it back.
 */
START_TEST(the_record_of_an_epoch_is_lost)
{
	struct term_cert tc;
	struct epoch_key k;
	struct writer record = {0}, mark = {0};
	struct store_batch *batch = store_batch_new();
	struct block *end = propose_end(&tc, PLACE, &fresh.pub);
	finalize_by(end);
	ck_assert_uint_eq(epoch(), 1);
	ck_assert_ptr_null(replica_observes(replica));
	replica_close(replica);
	const uint8_t slot = 3, vote[] = {1, 0};
	ck_assert_int_eq(store_get(store, STORE_META, key_epoch(&k, 1), &record), ERR_NONE);
	store_batch_put(batch, STORE_VOTES, slice_of(&slot, 1), slice_of(vote, sizeof vote));
	store_batch_delete(batch, STORE_META, key_epoch(&k, 1));
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	const struct replica_config config = {.genesis = &w.genesis,
					      .store = store,
					      .self = VICTIM,
					      .key = w.validator[VICTIM]};
	struct errmsg m = {{0}};
	ck_assert_int_eq(replica_open(&replica, &config, &m), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(m.text, "repair"));
	ck_assert(has_slots());
	ck_assert_int_eq(store_get(store, STORE_META, slice_str(OBSERVER_KEY), &mark),
			 ERR_NOT_FOUND);
	store_batch_clear(batch);
	store_batch_put(batch, STORE_META, key_epoch(&k, 1), writer_slice(&record));
	ck_assert_int_eq(store_write(store, batch, true), ERR_NONE);
	store_batch_free(batch);
	writer_free(&record);
	writer_free(&mark);
	open_replica();
	ck_assert_ptr_null(replica_observes(replica));
	block_drop(end);
}
END_TEST

void hostile_epoch(Suite *s)
{
	TCase *t = hostile_case(s, "epoch", setup_governed, 120);
	tcase_add_test(t, an_end_ends_its_epoch);
	tcase_add_test(t, only_fillers_extend_an_end);
	tcase_add_loop_test(t, an_end_waits_for_its_own_word, 0, 2);
	tcase_add_test(t, a_laggard_is_told);
	tcase_add_test(t, a_laggard_asks_above_the_end);
	tcase_add_test(t, a_laggard_gets_a_long_tail);
	tcase_add_test(t, a_filler_proves_nothing);
	tcase_add_test(t, the_first_term_is_given);
	tcase_add_test(t, types_show_through_envelopes);
	tcase_add_test(t, messages_of_other_epochs);
	tcase_add_test(t, envelopes_are_canonical);
	tcase_add_test(t, governance_is_not_bothered);
	tcase_add_test(t, what_clients_bring);
	tcase_add_test(t, an_end_without_governance);
	t = hostile_case(s, "votes of a new epoch", setup_governed, 120);
	tcase_add_test(t, an_observer_stays_one);
	tcase_add_test(t, a_replaced_key_signs_nothing);
	tcase_add_loop_test(t, a_new_key_votes, 0, 2);
	tcase_add_loop_test(t, a_key_comes_back, 0, 2);
	tcase_add_test(t, a_key_is_new_once);
	tcase_add_test(t, the_record_of_an_epoch_is_lost);
}
