#include "tests/replica/hostile.h"

struct world w;
struct store *store;
struct replica *replica;
const char *halted;
uint64_t now;
bool verify_txs;
bool asks_own_votes;
bool disk_is_slow;
uint64_t sync_asked;

struct sent sent[65536];
unsigned sent_count;

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
	sync_asked = seq;
	return !disk_is_slow;
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

void forget_sent(void)
{
	while (sent_count)
		writer_free(&sent[--sent_count].bytes);
}

void open_replica(void)
{
	const struct replica_config config = {.genesis = &w.genesis,
					      .store = store,
					      .self = VICTIM,
					      .key = w.validator[VICTIM],
					      .seed = 1,
					      .now = now,
					      .verify_txs = verify_txs,
					      .asks_own_votes = asks_own_votes,
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

void begin_genesis(void)
{
	world_genesis(&w, 0);
	w.genesis.time_ms = 1600000000000;
}

void open_world(void)
{
	world_seal(&w);
	world_open(&w, NULL);
	store = store_open_memory();
	ck_assert_int_eq(replica_first_votes(store), ERR_NONE);
	halted = NULL;
	disk_is_slow = false;
	asks_own_votes = false;
	now = 1000000;
	sent_count = 0;
	open_replica();
}

void setup(void)
{
	begin_genesis();
	open_world();
}

void setup_small(void)
{
	begin_genesis();
	w.genesis.limits.block_txs_max = 1;
	w.genesis.checkpoint_interval = 8;
	w.genesis.probation = 1;
	open_world();
}

void setup_large(void)
{
	begin_genesis();
	w.genesis.limits.block_body_max = 4u << 20;
	open_world();
}

void setup_wide(void)
{
	begin_genesis();
	w.genesis.limits.block_body_max = 4u << 20;
	w.genesis.limits.window = WIDE;
	open_world();
}

void teardown(void)
{
	replica_close(replica);
	store_close(store);
	forget_sent();
	world_free(&w);
}

void deliver(unsigned from, struct writer *bytes)
{
	replica_message(replica, now, from, writer_slice(bytes));
	writer_free(bytes);
}

/* Time passes in small steps. */
void pass(uint64_t us)
{
	uint64_t end = now + us;
	while (now < end) {
		now += 1000;
		if (replica_wake_at(replica) <= now)
			replica_tick(replica, now);
	}
}

const struct sent *newest(uint8_t type, unsigned to)
{
	for (unsigned i = sent_count; i-- > 0;)
		if (sent[i].type == type && sent[i].to >> to & 1)
			return &sent[i];
	return NULL;
}

/* TC of a fast term of leader term % 4, by everybody but the victim. */
void make_tc(struct term_cert *tc, uint64_t term, const struct block *base)
{
	term_cert_init(tc);
	tc->term = term;
	tc->leader = (uint16_t)(term % 4);
	tc->base = block_ref_of(base);
	for (unsigned i = 0; i < 4; i++) {
		if (i == VICTIM)
			continue;
		struct term_vote v = {.term = term,
				      .leader = tc->leader,
				      .base = tc->base,
				      .signer = (uint16_t)i};
		term_vote_sign(&v, &w.ctx, &w.validator[i]);
		tc->signers |= UINT64_C(1) << i;
		tc->sig[tc->count++] = v.sig;
	}
}

void heartbeat(unsigned from, uint64_t term, const struct term_cert *tc,
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

void append(unsigned from, uint64_t term, const struct term_cert *tc, struct block *b,
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

void send_blocks(unsigned from, struct block *const *blocks, uint32_t count,
		 const struct cert *cert, uint64_t final)
{
	static struct msg_blocks m;
	struct writer out = {0};
	m = (struct msg_blocks){
		.has_cert = cert != NULL, .final_height = final, .count = count};
	if (cert)
		m.cert = *cert;
	for (uint32_t i = 0; i < count; i++)
		m.blocks[i] = blocks[i];
	msg_blocks_encode(&out, &m);
	deliver(from, &out);
}

/* The newest PREPARE that the victim has sent to its leader, of any kind of message. */
bool has_prepared(const struct block *b)
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

struct block *empty_block(const struct block *parent, uint64_t term)
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

struct block *block_at(const struct block *parent, uint64_t term, uint64_t time_ms)
{
	struct block *plain = empty_block(parent, term), *out;
	struct signed_header sh = plain->sh;
	sh.h.time_ms = time_ms;
	signed_header_sign(&sh, &w.ctx, &w.validator[sh.h.leader]);
	ck_assert_int_eq(block_new(&out, &sh, slice_of(plain->body, plain->body_size)),
			 ERR_NONE);
	block_drop(plain);
	return out;
}

void cert_of_others(const struct block *b, enum cert_kind kind, struct cert *out)
{
	*out = (struct cert){.kind = kind, .ref = block_ref_of(b)};
	for (unsigned i = 0; i < 4; i++) {
		struct vote v = {
			.kind = cert_vote_kind(kind), .ref = out->ref, .signer = (uint16_t)i};
		if (i == VICTIM)
			continue;
		vote_sign(&v, &w.ctx, &w.validator[i]);
		out->signers |= UINT64_C(1) << i;
		out->sig[out->count++] = v.sig;
	}
}

uint64_t final_height(void)
{
	struct engine_status s;
	replica_status(replica, &s);
	return s.final.height;
}

/* Term 1 by its leader, one block in it, final. */
struct block *first_block(struct term_cert *tc)
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

void view_change_at(struct view_change *v, uint64_t term, unsigned signer,
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

void send_view_change_of(struct view_change *v)
{
	struct writer out = {0};
	struct msg_view_change m = {.vc = *v};
	entitlement_init(&m.entitlement);
	msg_view_change_encode(&out, &m);
	deliver(v->signer, &out);
	view_change_free(v);
}

void make_new_view(struct term_cert *pbft, uint64_t term, const struct term_cert *tc,
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

void send_new_view(unsigned from, const struct term_cert *pbft)
{
	struct writer out = {0};
	struct msg_new_view m = {.tc = *pbft};
	msg_new_view_encode(&out, &m);
	deliver(from, &out);
}

/* A block of a pbft term, made by its primary; with an entry of this kind, or empty. */
struct block *pbft_block(const struct term_cert *tc, const struct block *parent,
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

struct block *first_pbft_block(const struct term_cert *tc, const struct block *parent)
{
	return pbft_block(tc, parent, SYSTEM_ESCALATED);
}

/* Two others have signed for this term: the victim follows them. */
void others_move_on(uint64_t term, const struct term_cert *tc, const struct block *tip)
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

struct block *big_block_of(const struct block *parent, uint64_t term, uint64_t client,
			   uint64_t *nonce)
{
	static uint8_t big[60000];
	struct slice tx[60];
	for (unsigned i = 0; i < 60; i++) {
		struct op op = {.kind = OP_PUT,
				.key = slice_str("a"),
				.value = slice_of(big, sizeof big)};
		tx[i] = world_tx(&w, &w.client[client % 8], ++*nonce, 5000, &op, 1);
	}
	struct block *b = world_build(&w, parent, term, tx, 60, NULL);
	ck_assert_uint_eq(b->tx_count, 60);
	ck_assert_int_eq(ledger_execute(w.ledger, b, false), ERR_NONE);
	world_free_txs(tx, 60);
	return b;
}

struct block *big_block(const struct block *parent, uint64_t term, uint64_t *nonce)
{
	return big_block_of(parent, term, term, nonce);
}

struct block_ref tip_of_victim(void)
{
	struct engine_status s;
	replica_status(replica, &s);
	return s.tip;
}

TCase *hostile_case(Suite *s, const char *name, void (*fixture)(void), unsigned seconds)
{
	TCase *t = tcase_create(name);
	tcase_add_checked_fixture(t, fixture, teardown);
	tcase_set_timeout(t, seconds);
	suite_add_tcase(s, t);
	return t;
}

void grant(unsigned from, uint64_t term, uint64_t newest_tc)
{
	struct writer out = {0};
	struct grant g = {.term = term,
			  .candidate = VICTIM,
			  .newest_tc = newest_tc,
			  .signer = (uint16_t)from};
	grant_sign(&g, &w.ctx, &w.validator[from]);
	msg_pre_vote_encode(&out, &g);
	deliver(from, &out);
}

uint64_t campaign_of_victim(unsigned voters)
{
	static struct message_in asked;
	struct engine_status s;
	forget_sent();
	for (unsigned i = 0; i < 1000 && !newest(MSG_PRE_VOTE_REQUEST, 0); i++)
		pass(HEARTBEAT / 5);
	const struct sent *request = newest(MSG_PRE_VOTE_REQUEST, 0);
	ck_assert_ptr_nonnull(request);
	ck_assert_int_eq(message_decode(&asked, writer_slice(&request->bytes)), ERR_NONE);
	uint64_t term = asked.vote_request.term;
	message_free(&asked);
	replica_status(replica, &s);
	for (unsigned i = 0; i < 2; i++)
		grant(i, term, s.tc_term);
	for (unsigned i = 0; i < voters; i++) {
		struct writer out = {0};
		struct term_vote v = {.term = term,
				      .leader = VICTIM,
				      .base = tip_of_victim(),
				      .signer = (uint16_t)i};
		term_vote_sign(&v, &w.ctx, &w.validator[i]);
		msg_term_vote_encode(&out, &v);
		deliver(i, &out);
	}
	replica_status(replica, &s);
	ck_assert_int_eq(s.role == ROLE_LEADER, voters == 2);
	return term;
}
