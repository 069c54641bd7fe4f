/* A whole replica - engine, driver, ledger, memory store - fed with messages of peers whose keys
 * the fuzzer holds, all of them, so that nothing is kept from it by a signature. Inputs are
 * sequences of ops; the seeds are runs of the simulator as one replica saw them.
 *
 * Checked besides crashes: final heights rise one by one, and the replica's own statements,
 * through any number of crashes, never make a proof against it (E1). */
#include <stdio.h>

#include "replica/replica.h"
#include "tests/fuzz/record.h"
#include "tests/fuzz/targets.h"

enum deed {
	DO_TICK,     /* u32 microseconds */
	DO_DURABLE,  /* syncs that wait end */
	DO_MESSAGE,  /* u8 from, u8 forge flags, bytes */
	DO_ANSWER,   /* u8 peer, u8 which of the newest messages, u8 variation */
	DO_SUBMIT,/* u8 client, u8 nonce, u8 kind */
	DO_RESTART,  /* u8: chooses what survives */
	DO_CERTIFY,  /* u8 kind, u8 which of the known blocks, u8 signers left out */
	DO_ELECT,    /* u8 leader, u8 terms ahead, u8 base, u8 blocks */
	DO_KINDS,
	DO_CONFIG = 15, /* first only: u8 size, u8 flags, u8 self, u64 seed */
};
enum config_flags { CONFIG_PBFT = 1, CONFIG_CALM = 2, CONFIG_SYNC_AT_ONCE = 4 };

#define STEPS_MAX     3000
#define WAKEUPS_MAX   100
#define SENT_KEPT     16
#define OWN_VOTES_MAX 512

struct sent {
	uint64_t to;
	struct writer bytes;
};
struct bench {
	struct sim *world;
	struct forge forge;
	struct store *store;
	struct replica *replica;
	unsigned n, self;
	bool sync_at_once;
	uint64_t seed, life, now, sync_seq, final;
	uint32_t steps;
	struct random random;
	struct sent sent[SENT_KEPT];
	uint32_t sent_next;
	struct writer scratch, mended;
	bool ended;
	/* own statements */
	struct vote votes[OWN_VOTES_MAX];
	struct term_vote term_votes[OWN_VOTES_MAX];
	uint32_t vote_count, term_vote_count;
	struct message_in *in;
};

static void deliver(struct bench *b, unsigned from, struct slice message)
{
	if (b->replica && !b->ended && b->steps++ < STEPS_MAX)
		replica_message(b->replica, b->now, from, message);
}

/* ---- the replica's own statements never prove anything against it ------------------------ */

static void own_vote(struct bench *b, const struct vote *v)
{
	struct writer bytes = {0};
	struct evidence e;
	if (v->signer != b->self || v->kind == VOTE_CHECKPOINT || v->kind == VOTE_COMMIT)
		return;
	for (uint32_t i = 0; i < b->vote_count; i++) {
		if (b->votes[i].ref.height != v->ref.height || b->votes[i].ref.term != v->ref.term)
			continue;
		writer_reset(&bytes);
		invariant(!evidence_of_votes(&e, &bytes, &b->votes[i], v));
		writer_free(&bytes);
		return;
	}
	for (uint32_t i = 0; i < b->term_vote_count; i++) {
		writer_reset(&bytes);
		invariant(!evidence_of_low_base(&e, &bytes, &b->term_votes[i], v));
	}
	writer_free(&bytes);
	if (b->vote_count < OWN_VOTES_MAX)
		b->votes[b->vote_count++] = *v;
}

static void own_term_vote(struct bench *b, const struct term_vote *v)
{
	struct writer bytes = {0};
	struct evidence e;
	if (v->signer != b->self)
		return;
	for (uint32_t i = 0; i < b->term_vote_count; i++) {
		writer_reset(&bytes);
		invariant(!evidence_of_term_votes(&e, &bytes, &b->term_votes[i], v));
	}
	for (uint32_t i = 0; i < b->vote_count; i++) {
		writer_reset(&bytes);
		invariant(!evidence_of_low_base(&e, &bytes, v, &b->votes[i]));
	}
	writer_free(&bytes);
	if (b->term_vote_count < OWN_VOTES_MAX)
		b->term_votes[b->term_vote_count++] = *v;
}

static void own_view_change(struct bench *b, const struct view_change *vc)
{
	struct writer bytes = {0};
	struct evidence e;
	for (uint32_t i = 0; i < b->term_vote_count && vc->signer == b->self; i++) {
		writer_reset(&bytes);
		invariant(!evidence_of_both(&e, &bytes, &b->term_votes[i], vc));
	}
	writer_free(&bytes);
}

/* What it sends decodes, and is what it was. */
static void watch(struct bench *b, struct slice bytes)
{
	struct message_in *m = b->in;
	invariant(message_decode(m, bytes) == ERR_NONE);
	switch (m->type) {
	case MSG_APPENDED:
		if (m->appended.has_prepare)
			own_vote(b, &m->appended.prepare);
		break;
	case MSG_APPEND:
		if (m->append.has_prepare)
			own_vote(b, &m->append.prepare);
		break;
	case MSG_PREPARE:
		own_vote(b, &m->prepare);
		break;
	case MSG_HEARTBEAT_ACK:
		if (m->heartbeat_ack.has_prepare)
			own_vote(b, &m->heartbeat_ack.prepare);
		break;
	case MSG_TERM_VOTE:
		own_term_vote(b, &m->term_vote);
		break;
	case MSG_VIEW_CHANGE:
		own_view_change(b, &m->view_change.vc);
		break;
	default:
		break;
	}
	message_free(m);
}

/* ---- host -------------------------------------------------------------------------------- */

static void host_send(void *ctx, const struct message *m)
{
	struct bench *b = ctx;
	invariant((m->to & UINT64_C(1) << b->self) == 0);
	invariant(b->n == 64 || m->to >> b->n == 0);
	invariant(m->bytes.len > 0 && m->bytes.ptr[0] == m->type);
	struct sent *s = &b->sent[b->sent_next++ % SENT_KEPT];
	s->to = m->to;
	writer_reset(&s->bytes);
	writer_raw(&s->bytes, m->bytes.ptr, m->bytes.len);
	watch(b, m->bytes);
	forge_listen(&b->forge, m->bytes);
}

static bool host_sync(void *ctx, uint64_t seq)
{
	struct bench *b = ctx;
	if (b->sync_at_once) {
		store_sync(b->store);
		return true;
	}
	b->sync_seq = seq;
	return false;
}

static void host_final(void *ctx, struct block *block, const struct cert *c)
{
	struct bench *b = ctx;
	invariant(block->sh.h.height == b->final + 1);
	invariant(cert_check(c, &b->world->ctx) == ERR_NONE && cert_is_final(c->kind));
	b->final = block->sh.h.height;
	forge_learn(&b->forge, block);
}

static void host_rejected(void *ctx, const struct hash *id, int err)
{
}

static void host_halted(void *ctx, const char *why)
{
	struct bench *b = ctx;
	b->ended = true;
}

static uint64_t host_wall_ms(void *ctx)
{
	struct bench *b = ctx;
	return b->world->genesis.time_ms + b->now / 1000;
}

static void start(struct bench *b)
{
	struct errmsg m;
	struct replica_config config = {.genesis = &b->world->genesis,
					.store = b->store,
					.self = b->self,
					.key = b->world->node[b->self].key,
					.seed = b->seed + b->life++,
					.now = b->now,
					.verify_txs = true,
					.host = {.ctx = b,
						 .send = host_send,
						 .sync = host_sync,
						 .final = host_final,
						 .rejected = host_rejected,
						 .halted = host_halted,
						 .wall_ms = host_wall_ms}};
	b->sync_seq = 0;
	int err = replica_open(&b->replica, &config, &m);
	if (err) /* what it wrote itself, it can read */
		fprintf(stderr, "replica_open: %s\n", m.text);
	invariant(err == ERR_NONE);
	b->final = ledger_height(replica_ledger(b->replica));
	replica_tick(b->replica, b->now);
}

/* ---- ops --------------------------------------------------------------------------------- */

static void op_durable(struct bench *b)
{
	if (!b->sync_seq || b->ended)
		return;
	uint64_t seq = b->sync_seq;
	b->sync_seq = 0;
	store_sync(b->store);
	replica_durable(b->replica, b->now, seq);
}

static void op_tick(struct bench *b, struct reader *r)
{
	uint64_t until = b->now + reader_u32(r) % 4000000;
	for (unsigned i = 0; i < WAKEUPS_MAX && !b->ended; i++) {
		uint64_t at = replica_wake_at(b->replica);
		if (at > until || b->steps++ > STEPS_MAX)
			break;
		if (at > b->now)
			b->now = at;
		replica_tick(b->replica, b->now);
	}
	b->now = until;
}

static void op_message(struct bench *b, struct reader *r)
{
	unsigned from = reader_u8(r) % b->n, flags = reader_u8(r);
	if (r->err || from == b->self)
		return;
	forge_mend(&b->forge, slice_of(r->ptr, r->left), flags & 7, &b->mended);
	deliver(b, from, writer_slice(&b->mended));
}

/* What an honest peer would say to m, were it of our opinion. */
static bool answer(struct bench *b, const struct message_in *m, unsigned peer, uint8_t how,
		   struct writer *w)
{
	const struct keypair *key = &b->world->node[peer].key;
	const struct chain_ctx *ctx = &b->world->ctx;
	switch (m->type) {
	case MSG_PRE_VOTE_REQUEST: {
		struct grant g = {.term = m->vote_request.term + (how >> 6),
				  .candidate = (uint16_t)b->self,
				  .newest_tc = m->vote_request.position.tc.term,
				  .signer = (uint16_t)peer};
		grant_sign(&g, ctx, key);
		msg_pre_vote_encode(w, &g);
		return true;
	}
	case MSG_VOTE_REQUEST: {
		struct term_vote v = {.term = m->vote_request.term,
				      .leader = (uint16_t)b->self,
				      .base = m->vote_request.position.tip,
				      .signer = (uint16_t)peer};
		term_vote_sign(&v, ctx, key);
		msg_term_vote_encode(w, &v);
		return true;
	}
	case MSG_APPEND: {
		if (m->append.count == 0)
			return false;
		struct block *block = m->append.blocks[m->append.count - 1];
		enum mode mode = block->sh.h.mode;
		struct vote v = {.kind = mode == MODE_FAST ? VOTE_PREPARE_FAST : VOTE_PREPARE_PBFT,
				 .ref = block_ref_of(block),
				 .signer = (uint16_t)peer};
		struct vote c = v;
		c.kind = VOTE_COMMIT;
		vote_sign(&v, ctx, key);
		vote_sign(&c, ctx, key);
		if (mode == MODE_FAST) {
			struct msg_appended a = {.term = m->append.term,
						 .has_prepare = !(how & 1),
						 .prepare = v,
						 .has_commit = how >> 1 & 1,
						 .commit = c};
			msg_appended_encode(w, &a);
		} else if (how & 1) {
			struct msg_commit a = {.commit = c};
			msg_commit_encode(w, &a);
		} else {
			msg_prepare_encode(w, &v);
		}
		return true;
	}
	case MSG_HEARTBEAT: {
		struct msg_heartbeat_ack a = {.term = m->heartbeat.term,
					      .counter = m->heartbeat.counter,
					      .final_height = m->heartbeat.final_height + how % 3};
		msg_heartbeat_ack_encode(w, &a);
		return true;
	}
	case MSG_VIEW_CHANGE: {
		struct msg_view_change v = m->view_change;
		v.vc.signer = (uint16_t)peer;
		v.vc.term += how >> 6;
		view_change_sign(&v.vc, ctx, key);
		msg_view_change_encode(w, &v);
		return true;
	}
	case MSG_SUSPICION: {
		struct suspicion s = m->suspicion;
		s.signer = (uint16_t)peer;
		suspicion_sign(&s, ctx, key);
		msg_suspicion_encode(w, &s);
		return true;
	}
	case MSG_PREPARE:
	case MSG_COMMIT: {
		struct vote v = m->type == MSG_PREPARE ? m->prepare : m->commit.commit;
		v.signer = (uint16_t)peer;
		vote_sign(&v, ctx, key);
		struct msg_commit c = {.commit = v};
		if (m->type == MSG_PREPARE)
			msg_prepare_encode(w, &v);
		else
			msg_commit_encode(w, &c);
		return true;
	}
	default:
		return false;
	}
}

static void op_answer(struct bench *b, struct reader *r)
{
	unsigned peer = reader_u8(r) % b->n;
	uint32_t back = reader_u8(r) % SENT_KEPT;
	uint8_t how = reader_u8(r);
	if (r->err || peer == b->self || back >= b->sent_next)
		return;
	const struct sent *s = &b->sent[(b->sent_next - 1 - back) % SENT_KEPT];
	if (!(s->to >> peer & 1) || message_decode(b->in, writer_slice(&s->bytes)))
		return;
	writer_reset(&b->scratch);
	bool any = answer(b, b->in, peer, how, &b->scratch);
	message_free(b->in);
	if (any)
		deliver(b, peer, writer_slice(&b->scratch));
}

static void op_submit(struct bench *b, struct reader *r)
{
	uint8_t client = reader_u8(r), nonce = reader_u8(r), kind = reader_u8(r);
	uint8_t seed[32] = {9, client % 4};
	struct keypair key;
	struct hash id;
	keypair_from_seed(&key, seed);
	struct op op = {.kind = kind & 1 ? OP_PUT : OP_DELETE,
			.key = slice_of(&kind, 1),
			.value = slice_of(&nonce, kind & 1)};
	writer_reset(&b->scratch);
	tx_build(&b->scratch, &b->world->ctx, &key, nonce, b->final + 50, &op, 1);
	if (!b->ended)
		replica_submit(b->replica, b->now, writer_slice(&b->scratch), false, &id);
}

static void op_restart(struct bench *b, struct reader *r)
{
	random_seed(&b->random, reader_u8(r));
	replica_close(b->replica);
	b->replica = NULL;
	store_memory_crash(b->store, &b->random);
	b->ended = false;
	start(b);
}

/* A certificate by all but a few on a known block, in a message of its leader. */
static void op_certify(struct bench *b, struct reader *r)
{
	static const enum cert_kind kinds[] = {CERT_QC_FAST, CERT_QC_PBFT, CERT_ONE_ROUND,
					       CERT_TWO_ROUND, CERT_CHECKPOINT};
	enum cert_kind kind = kinds[reader_u8(r) % MEM_COUNT(kinds)];
	uint32_t back = reader_u8(r);
	uint64_t without = reader_u8(r);
	struct forge *f = &b->forge;
	uint32_t count = f->next < FORGE_KNOWN ? f->next : FORGE_KNOWN;
	uint32_t at = (f->next - 1 - back % count) % FORGE_KNOWN;
	const struct header *h = &f->known[at].sh.h;
	struct msg_append *m = mem_zalloc(sizeof *m);
	struct cert *c = &m->final;
	unsigned from = h->leader % b->n;
	if (from == b->self)
		from = (from + 1) % b->n;
	c->kind = kind;
	c->ref = f->known[at].ref;
	c->state_root = kind == CERT_CHECKPOINT ? h->state_root : (struct hash){0};
	c->signers = ((UINT64_C(1) << b->n) - 1) & ~without;
	for (uint64_t left = c->signers; left; left &= left - 1)
		c->count++;
	if (c->count && b->n > 1) {
		forge_sign_cert(f, c);
		term_cert_init(&m->tc);
		m->term = h->term;
		writer_reset(&b->scratch);
		if (kind == CERT_CHECKPOINT) {
			struct msg_heartbeat *hb = mem_zalloc(sizeof *hb);
			term_cert_init(&hb->tc);
			hb->term = h->term;
			hb->has_stable = true;
			hb->stable = *c;
			msg_heartbeat_encode(&b->scratch, hb);
			mem_free(hb);
		} else if (kind == CERT_QC_FAST || kind == CERT_QC_PBFT) {
			m->has_qc = true;
			m->qc = *c;
			msg_append_encode(&b->scratch, m);
		} else {
			m->has_final = true;
			msg_append_encode(&b->scratch, m);
		}
		deliver(b, from, writer_slice(&b->scratch));
	}
	mem_free(m);
}

static struct block *empty_child(const struct bench *b, const struct header *parent,
				 const struct hash *parent_hash, uint64_t term, unsigned leader,
				 const struct block_ref *base)
{
	struct writer body = {0};
	struct block *block;
	struct signed_header sh = {.h = {.chain = b->world->ctx.id,
					 .term = term,
					 .mode = MODE_FAST,
					 .height = parent->height + 1,
					 .prev = *parent_hash,
					 .base_height = base->height,
					 .base = base->hash,
					 .state_root = parent->state_root,
					 .time_ms = parent->time_ms + 1,
					 .leader = (uint16_t)leader,
					 .valset = b->world->ctx.vals.hash}};
	body_begin(&body);
	body_end(&body, 0);
	merkle_root(&sh.h.tx_root, NULL, 0);
	sh.h.body_size = (uint32_t)body.len;
	forge_sign_header(&b->forge, &sh);
	invariant(block_new(&block, &sh, writer_slice(&body)) == ERR_NONE);
	writer_free(&body);
	return block;
}

/* Somebody is elected on a known block, by everybody, and appends empty blocks. */
static void op_elect(struct bench *b, struct reader *r)
{
	unsigned leader = reader_u8(r) % b->n;
	uint64_t ahead = reader_u8(r) % 8;
	uint32_t back = reader_u8(r), blocks = reader_u8(r) % 8;
	struct forge *f = &b->forge;
	struct engine_status status;
	if (r->err || leader == b->self || b->ended)
		return;
	replica_status(b->replica, &status);
	uint32_t count = f->next < FORGE_KNOWN ? f->next : FORGE_KNOWN;
	uint32_t at = (f->next - 1 - back % count) % FORGE_KNOWN;
	struct msg_append *m = mem_zalloc(sizeof *m);
	m->term = status.term + ahead;
	m->has_tc = true;
	term_cert_init(&m->tc);
	m->tc.term = m->term;
	m->tc.leader = (uint16_t)leader;
	m->tc.base = f->known[at].ref;
	m->tc.signers = (UINT64_C(1) << b->n) - 1;
	m->tc.count = b->n;
	if (m->term > 0) {
		forge_sign_tc(f, &m->tc, FORGE_SIGN);
		struct header parent = f->known[at].sh.h;
		struct hash hash = f->known[at].ref.hash;
		for (; m->count < blocks; m->count++) {
			struct block *child =
				empty_child(b, &parent, &hash, m->term, leader, &m->tc.base);
			m->blocks[m->count] = child;
			parent = child->sh.h;
			hash = child->hash;
			forge_learn(f, child);
		}
		writer_reset(&b->scratch);
		msg_append_encode(&b->scratch, m);
		deliver(b, leader, writer_slice(&b->scratch));
	}
	for (uint32_t i = 0; i < m->count; i++)
		block_drop(m->blocks[i]);
	mem_free(m);
}

/* ---- one input --------------------------------------------------------------------------- */

static void begin(struct bench *b, struct slice config)
{
	static const unsigned sizes[] = {4, 5, 7, 4, 1, 2, 3, 6};
	struct reader r;
	reader_init(&r, config);
	uint8_t size = reader_u8(&r), flags = reader_u8(&r), self = reader_u8(&r);
	b->seed = reader_u64(&r);
	b->n = sizes[size % MEM_COUNT(sizes)];
	b->self = self % b->n;
	b->sync_at_once = flags & CONFIG_SYNC_AT_ONCE;
	b->world = forge_world(b->n, flags & CONFIG_PBFT ? PROTOCOL_PBFT : PROTOCOL_HYBRID,
			       flags & CONFIG_CALM);
	forge_init(&b->forge, b->world);
	b->in = mem_zalloc(sizeof *b->in);
	b->store = store_open_memory();
	invariant(replica_first_votes(b->store) == ERR_NONE);
	b->now = 1000000;
	start(b);
}

static void run_op(struct bench *b, uint8_t op, struct slice payload)
{
	struct reader r;
	reader_init(&r, payload);
	switch ((enum deed)(op % DO_KINDS)) {
	case DO_TICK:
		op_tick(b, &r);
		break;
	case DO_DURABLE:
		op_durable(b);
		break;
	case DO_MESSAGE:
		op_message(b, &r);
		break;
	case DO_ANSWER:
		op_answer(b, &r);
		break;
	case DO_SUBMIT:
		op_submit(b, &r);
		break;
	case DO_RESTART:
		op_restart(b, &r);
		break;
	case DO_CERTIFY:
		op_certify(b, &r);
		break;
	case DO_ELECT:
		op_elect(b, &r);
		break;
	case DO_KINDS:
	case DO_CONFIG:
		break;
	}
}

static void one(struct slice in)
{
	struct bench *b = mem_zalloc(sizeof *b);
	struct reader r;
	struct slice payload = {0}, config = {0};
	uint8_t op;
	reader_init(&r, in);
	bool any = fuzz_next_op(&r, &op, &payload);
	if (any && op == DO_CONFIG) {
		config = payload;
		any = fuzz_next_op(&r, &op, &payload);
	}
	begin(b, config);
	for (; any && b->steps < STEPS_MAX; any = fuzz_next_op(&r, &op, &payload))
		run_op(b, op, payload);
	replica_close(b->replica);
	store_close(b->store);
	forge_free(&b->forge);
	for (unsigned i = 0; i < SENT_KEPT; i++)
		writer_free(&b->sent[i].bytes);
	writer_free(&b->scratch);
	writer_free(&b->mended);
	mem_free(b->in);
	mem_free(b);
}

/* ---- seeds: what one replica of a run was told ------------------------------------------- */

#define SEED_MAX 24000

struct tape {
	struct writer w;
	unsigned self, which;
	uint64_t now, skip; /* messages before the first that is kept */
	bool begun;
};

static void begin_tape(struct tape *t, const struct sim *s)
{
	struct writer config = {0};
	static const uint8_t size_code[] = {[4] = 0, [5] = 1, [7] = 2, [6] = 7};
	writer_u8(&config, size_code[s->n]);
	writer_u8(&config, (uint8_t)((s->options.protocol == PROTOCOL_PBFT ? CONFIG_PBFT : 0) |
				     (s->options.calm ? CONFIG_CALM : 0)));
	writer_u8(&config, (uint8_t)t->self);
	writer_u64(&config, s->node[t->self].seed);
	fuzz_op(&t->w, DO_CONFIG, writer_slice(&config));
	writer_free(&config);
	t->begun = true;
}

static void tape(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct tape *t = ctx;
	struct writer op = {0};
	if (!t->begun)
		begin_tape(t, s);
	if (!(m->to >> t->self & 1) || m->bytes.len > 8000 || t->skip > 0) {
		t->skip -= t->skip > 0 && (m->to >> t->self & 1);
		return;
	}
	if (t->w.len + m->bytes.len + 64 > SEED_MAX)
		return;
	if (s->now > t->now && t->now)
		writer_u32(&op, (uint32_t)(s->now - t->now));
	if (op.len)
		fuzz_op(&t->w, DO_TICK, writer_slice(&op));
	t->now = s->now;
	writer_reset(&op);
	writer_u8(&op, (uint8_t)from);
	writer_u8(&op, FORGE_SIGN | FORGE_REFS | FORGE_BLOCKS);
	writer_raw(&op, m->bytes.ptr, m->bytes.len);
	fuzz_op(&t->w, DO_MESSAGE, writer_slice(&op));
	fuzz_op(&t->w, DO_DURABLE, slice_of(NULL, 0));
	writer_free(&op);
}

static void op_bytes(struct writer *w, uint8_t op, const char *bytes, size_t len)
{
	fuzz_op(w, op, slice_of(bytes, len));
}

/* By hand: the replica is elected and leads; it follows a leader; it is restarted. */
static void handmade(struct fuzz_seeds *out)
{
	struct writer w = {0};
	op_bytes(&w, DO_TICK, "\0\x20\0\0", 4);
	op_bytes(&w, DO_DURABLE, "", 0);
	for (char p = 1; p < 4; p++) /* grants */
		fuzz_op(&w, DO_ANSWER, slice_of(((char[]){p, 0, 0}), 3));
	op_bytes(&w, DO_DURABLE, "", 0);
	for (char p = 1; p < 4; p++) /* votes */
		fuzz_op(&w, DO_ANSWER, slice_of(((char[]){p, 0, 0}), 3));
	op_bytes(&w, DO_DURABLE, "", 0);
	for (char i = 1; i < 6; i++) {
		fuzz_op(&w, DO_SUBMIT, slice_of(((char[]){0, i, 1}), 3));
		for (char p = 1; p < 4; p++)
			fuzz_op(&w, DO_ANSWER, slice_of(((char[]){p, 0, 0}), 3));
		op_bytes(&w, DO_DURABLE, "", 0);
		op_bytes(&w, DO_TICK, "\0\0\x80\0", 4);
	}
	fuzz_seed(out, writer_slice(&w));
	op_bytes(&w, DO_RESTART, "\1", 1);
	op_bytes(&w, DO_ELECT, "\2\2\0\3", 4);
	op_bytes(&w, DO_DURABLE, "", 0);
	op_bytes(&w, DO_CERTIFY, "\2\0\0", 3);
	op_bytes(&w, DO_CERTIFY, "\4\0\0", 3);
	op_bytes(&w, DO_ELECT, "\3\1\1\4", 4);
	op_bytes(&w, DO_CERTIFY, "\0\1\0", 3);
	op_bytes(&w, DO_DURABLE, "", 0);
	op_bytes(&w, DO_CERTIFY, "\3\0\0", 3);
	fuzz_seed(out, writer_slice(&w));
	writer_reset(&w);
	for (char i = 1; i < 12; i++) { /* elections nobody wins: E3 */
		fuzz_op(&w, DO_SUBMIT, slice_of(((char[]){1, i, 1}), 3));
		op_bytes(&w, DO_TICK, "\0\x30\0\0", 4);
		op_bytes(&w, DO_DURABLE, "", 0);
		for (char p = 1; p < 4; p++)
			fuzz_op(&w, DO_ANSWER, slice_of(((char[]){p, (char)(i % 3), 0}), 3));
	}
	fuzz_seed(out, writer_slice(&w));
	writer_free(&w);
}

static void seeds(struct fuzz_seeds *out)
{
	handmade(out);
	for (unsigned i = 0; i < RECORDINGS; i++)
		for (unsigned part = 0; part < 2; part++) {
			struct tape t = {.self = part + i % 3, .skip = part * 120};
			struct recording r = {.message = tape, .ctx = &t};
			record(i, &r);
			fuzz_seed(out, writer_slice(&t.w));
			writer_free(&t.w);
		}
}

const struct fuzz_target fuzz_engine = {.name = "engine",
					.shape = FUZZ_OPS,
					.size_max = 32768,
					.runs = 400,
					.one = one,
					.seeds = seeds};
