/* The world of one Twins word: copies, the cut between them, rounds, and what must hold. */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "consensus/driver.h"
#include "consensus/hybrid/message.h"
#include "sim/twins.h"

#define COPIES_MAX     14
#define HEIGHTS_MAX    256
#define HEADERS_KEPT   1024
#define QUEUE_MAX      8192
#define ROUND_MESSAGES 4000 /* a round that does not come to rest is cut short */
#define TERMS_KEPT     64

#define HEARTBEAT_US   UINT64_C(50000)
#define TIMEOUT_MIN_US TIMEOUT_MIN_DEFAULT_US
#define TIMEOUT_MAX_US UINT64_C(20000000)
/* Longer than any timer: whoever ticks so much later times out. */
#define TIMES_OUT_US (TIMEOUT_MAX_US + 1000000)
#define HEAL_US	     UINT64_C(600000000)

struct packet {
	uint32_t refs;
	unsigned from; /* validator */
	uint8_t type;
	size_t len;
	uint8_t bytes[];
};
struct delivery {
	struct packet *packet;
	unsigned to; /* copy */
};
struct copy {
	struct world *w;
	unsigned index, validator;
	struct driver *driver;
	uint64_t now;	  /* its own clock: a word directs who times out */
	uint64_t tc_term; /* newest that was checked */
	struct block *final[HEIGHTS_MAX];
	struct cert *cert[HEIGHTS_MAX]; /* owned */
	uint64_t final_height;
	struct term_cert *tc[TERMS_KEPT]; /* owned */
	unsigned tc_next;
};
struct known { /* a header that anybody stored */
	struct hash hash, prev;
	uint64_t term, height;
	uint16_t leader;
};
struct log_entry_final {
	struct hash hash;
	uint64_t final_term;
	const struct cert *cert; /* of the copy that was first */
};
struct known_base {
	uint64_t term;
	struct block_ref base;
};
struct world {
	const struct twins_language *l;
	struct twins_result *result;
	struct genesis genesis;
	struct chain_ctx ctx;
	struct block *genesis_block;
	struct keypair key[VALIDATORS_MAX];
	unsigned n, copies;
	uint64_t side; /* copies on copy 0's side of the cut */
	unsigned head, len, known_len, base_len;
	uint64_t wall_ms, log_len;
	/* large, and not cleared for each word: what is beyond its count is not read */
	struct copy copy[COPIES_MAX];
	struct delivery queue[QUEUE_MAX];
	struct known known[HEADERS_KEPT];
	struct log_entry_final log[HEIGHTS_MAX];
	struct known_base base[TERMS_KEPT];
};

static bool is_twin(const struct world *w, unsigned validator)
{
	return validator < w->l->options.twins;
}

static bool stopped(const struct world *w)
{
	return w->result->verdict != TWINS_OK;
}

__attribute__((format(printf, 3, 4))) static void
fail(struct world *w, enum twins_verdict verdict, const char *fmt, ...)
{
	if (stopped(w))
		return;
	w->result->verdict = verdict;
	va_list args;
	va_start(args, fmt);
	vsnprintf(w->result->text, sizeof w->result->text, fmt, args);
	va_end(args);
}

static const char *copy_name(const struct copy *c, char buf[8])
{
	snprintf(buf, 8, "%u%s", c->validator + 1, c->index < c->w->n ? "" : "'");
	return buf;
}

/* ---- what must hold ---------------------------------------------------------------------- */

static const struct known *find_known(const struct world *w, const struct hash *hash)
{
	for (unsigned i = w->known_len; i-- > 0;)
		if (hash_equal(&w->known[i].hash, hash))
			return &w->known[i];
	return NULL;
}

static void know(struct world *w, const struct block *b)
{
	const struct header *h = &b->sh.h;
	if (find_known(w, &b->hash) || w->known_len == HEADERS_KEPT)
		return;
	for (unsigned i = 0; i < w->known_len; i++)
		if (w->known[i].term == h->term && w->known[i].height == h->height &&
		    w->known[i].leader == h->leader && h->height) {
			w->result->two_blocks = true;
			if (!is_twin(w, h->leader))
				fail(w, TWINS_SAFETY, "honest %u makes two blocks of term %llu",
				     h->leader + 1, (unsigned long long)h->term);
		}
	w->known[w->known_len++] = (struct known){.hash = b->hash,
						  .prev = h->prev,
						  .term = h->term,
						  .height = h->height,
						  .leader = h->leader};
}

/* True, or not known: does the chain of `of` hold `hash` at `height`? */
static bool contains(const struct world *w, struct hash of, uint64_t height,
		     const struct hash *hash)
{
	const struct known *k;
	while ((k = find_known(w, &of)) && k->height > height)
		of = k->prev;
	return !k || (k->height == height && hash_equal(&k->hash, hash));
}

/* [S3] */
static void check_base(struct world *w, const struct known_base *b)
{
	for (uint64_t h = 1; h < w->log_len; h++)
		if (w->log[h].final_term < b->term &&
		    (b->base.height < h || !contains(w, b->base.hash, h, &w->log[h].hash))) {
			fail(w, TWINS_SAFETY,
			     "[S3] the base of term %llu lacks the final block at height %llu",
			     (unsigned long long)b->term, (unsigned long long)h);
			return;
		}
}

static void check_term_cert(struct copy *c)
{
	struct world *w = c->w;
	const struct term_cert *tc = engine_term_cert(driver_engine(c->driver));
	if (is_twin(w, c->validator) || tc->term <= c->tc_term)
		return;
	c->tc_term = tc->term;
	struct known_base b = {.term = tc->term, .base = tc->base};
	if (w->base_len < TERMS_KEPT)
		w->base[w->base_len++] = b;
	check_base(w, &b);
}

/* The votes of both certificates, of those who signed both: evidence, if they are for one
 * place.
 */
static void name_culprits(struct world *w, const struct cert *a, const struct cert *b)
{
	w->result->culprits = a->signers & b->signers;
	if (a->kind != b->kind || a->ref.term != b->ref.term || a->ref.height != b->ref.height)
		return;
	for (unsigned i = 0; i < w->n; i++) {
		if (!(w->result->culprits >> i & 1))
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
		    evidence_check(&ev, &w->ctx, NULL) == ERR_NONE && ev.culprit == i)
			w->result->proven |= UINT64_C(1) << i;
		writer_free(&bytes);
	}
}

static void check_final(struct copy *c, const struct block *b, const struct cert *cert)
{
	struct world *w = c->w;
	uint64_t height = b->sh.h.height;
	char name[8], mine[HASH_SHORT_SIZE], other[HASH_SHORT_SIZE];
	if (is_twin(w, c->validator))
		return;
	if (!cert_is_final(cert->kind) || cert->ref.height < height ||
	    cert_check(cert, &w->ctx))
		fail(w, TWINS_SAFETY, "%s has a bad certificate for height %llu",
		     copy_name(c, name), (unsigned long long)height);
	if (height < w->log_len) {
		if (hash_equal(&w->log[height].hash, &b->hash))
			return;
		name_culprits(w, w->log[height].cert, cert);
		fail(w, TWINS_SAFETY, "[S4] fork at height %llu: %s finalises %s, others %s",
		     (unsigned long long)height, copy_name(c, name), hash_short(mine, &b->hash),
		     hash_short(other, &w->log[height].hash));
		return;
	}
	w->log[w->log_len++] = (struct log_entry_final){
		.hash = b->hash, .final_term = cert->ref.term, .cert = c->cert[height]};
	for (unsigned i = 0; i < w->base_len; i++)
		check_base(w, &w->base[i]);
}

/* ---- a copy's host ----------------------------------------------------------------------- */

static bool host_persist(void *ctx, const struct write *writes, uint32_t count, uint64_t seq,
			 bool sync)
{
	struct copy *c = ctx;
	for (uint32_t i = 0; i < count; i++) {
		if (writes[i].kind == WRITE_BLOCK)
			know(c->w, writes[i].block);
		if (writes[i].kind != WRITE_TC)
			continue;
		struct reader r;
		reader_init(&r, writes[i].bytes);
		if (c->tc_next == TERMS_KEPT)
			continue;
		c->tc[c->tc_next] = mem_alloc(sizeof *c->tc[0]);
		term_cert_decode(&r, c->tc[c->tc_next++]);
	}
	(void)seq, (void)sync;
	return true;
}

static void packet_drop(struct packet *p)
{
	if (--p->refs == 0)
		mem_free(p);
}

static bool same_side(const struct world *w, unsigned a, unsigned b)
{
	return (w->side >> a & 1) == (w->side >> b & 1);
}

static void host_send(void *ctx, const struct message *m)
{
	struct copy *c = ctx;
	struct world *w = c->w;
	struct packet *p = NULL;
	for (unsigned to = 0; to < w->copies; to++) {
		if (!(m->to >> w->copy[to].validator & 1) || !same_side(w, c->index, to) ||
		    w->len == QUEUE_MAX)
			continue;
		if (!p) {
			p = mem_alloc(sizeof *p + m->bytes.len);
			*p = (struct packet){
				.from = c->validator, .type = m->type, .len = m->bytes.len};
			memcpy(p->bytes, m->bytes.ptr, m->bytes.len);
		}
		p->refs++;
		w->queue[(w->head + w->len++) % QUEUE_MAX] = (struct delivery){p, to};
	}
}

static void host_final(void *ctx, const struct final_block *f)
{
	struct copy *c = ctx;
	uint64_t height = f->block->sh.h.height;
	if (height >= HEIGHTS_MAX || height != c->final_height + 1) {
		fail(c->w, TWINS_SAFETY, "height %llu is final after %llu",
		     (unsigned long long)height, (unsigned long long)c->final_height);
		return;
	}
	c->final_height = height;
	c->final[height] = block_hold(f->block);
	c->cert[height] = mem_dup(f->cert, sizeof *f->cert);
	if (c->w->l->options.trace) {
		char name[8], hex[HASH_SHORT_SIZE];
		printf("    %s: height %llu is final, %s of term %llu, %s\n",
		       copy_name(c, name), (unsigned long long)height,
		       hash_short(hex, &f->block->hash), (unsigned long long)f->cert->ref.term,
		       cert_kind_name(f->cert->kind));
	}
	know(c->w, f->block);
	check_final(c, f->block, f->cert);
}

static struct input input_of(const struct copy *c, enum input_kind kind)
{
	/* clocks on the wall differ a little, so that the copies of a twin make different
	 * blocks */
	return (struct input){.kind = kind, .now = c->now, .wall_ms = c->w->wall_ms + c->index};
}

static void work_build(struct copy *c, const struct work *work)
{
	struct writer body = {0};
	struct hash *leaves = mem_array(work->tx_count + 1, sizeof *leaves);
	body_begin(&body);
	for (uint32_t i = 0; i < work->tx_count; i++) {
		body_add(&body, TX_OK, work->txs[i].bytes);
		body_leaf(&leaves[i], TX_OK, work->txs[i].bytes);
	}
	body_end(&body, work->tx_count);
	struct input in = input_of(c, INPUT_BUILT);
	in.built.id = work->id;
	in.built.body = writer_slice(&body);
	in.built.tx_count = work->tx_count;
	merkle_root(&in.built.tx_root, leaves, work->tx_count);
	in.built.state_root = c->w->genesis.state_root;
	driver_input(c->driver, &in);
	writer_free(&body);
	mem_free(leaves);
}

static void work_read(struct copy *c, const struct work *work)
{
	struct block *blocks[HEIGHTS_MAX];
	struct input in = input_of(c, INPUT_BLOCKS_READ);
	uint32_t count = 0;
	in.blocks_read.id = work->id;
	in.blocks_read.blocks = blocks;
	for (uint64_t h = work->height; h <= c->final_height && count < work->max_blocks; h++) {
		blocks[count++] = h ? c->final[h] : c->w->genesis_block;
		if (c->cert[h] && c->cert[h]->ref.height == h) {
			in.blocks_read.cert = c->cert[h];
			in.blocks_read.count = count;
		}
	}
	for (unsigned i = 0; i < c->tc_next && in.blocks_read.count; i++)
		if (c->tc[i]->term == in.blocks_read.cert->ref.term)
			in.blocks_read.tc = c->tc[i];
	driver_input(c->driver, &in);
}

static void host_work(void *ctx, const struct work *work)
{
	struct copy *c = ctx;
	struct input in;
	int *fine;
	switch (work->kind) {
	case WORK_BUILD:
		work_build(c, work);
		break;
	case WORK_EXECUTE:
		in = input_of(c, INPUT_EXECUTED);
		in.executed.block = work->block->hash;
		driver_input(c->driver, &in);
		break;
	case WORK_CHECK_TXS:
		in = input_of(c, INPUT_TXS_CHECKED);
		fine = mem_array(work->tx_count, sizeof *fine);
		in.txs_checked.id = work->id;
		in.txs_checked.err = fine;
		in.txs_checked.count = work->tx_count;
		driver_input(c->driver, &in);
		mem_free(fine);
		break;
	case WORK_READ:
		work_read(c, work);
		break;
	case WORK_DROP:
		break; /* nothing is executed here */
	}
}

static void host_rejected(void *ctx, const struct rejected_tx *r)
{
	(void)ctx, (void)r;
}

static void host_halted(void *ctx, const char *why)
{
	struct copy *c = ctx;
	char name[8];
	if (!is_twin(c->w, c->validator))
		fail(c->w, TWINS_SAFETY, "%s halts: %s", copy_name(c, name), why);
}

/* ---- time and messages ------------------------------------------------------------------- */

static void tick(struct copy *c, uint64_t later)
{
	c->now += later;
	struct input in = input_of(c, INPUT_TICK);
	driver_input(c->driver, &in);
	check_term_cert(c);
}

static void deliver(struct world *w)
{
	struct delivery d = w->queue[w->head];
	struct copy *c = &w->copy[d.to];
	w->head = (w->head + 1) % QUEUE_MAX;
	w->len--;
	w->result->deliveries++;
	struct input in = input_of(c, INPUT_MESSAGE);
	in.message.from = d.packet->from;
	in.message.bytes = slice_of(d.packet->bytes, d.packet->len);
	if (w->l->options.trace) {
		char name[8];
		printf("    %u -> %s %s\n", d.packet->from + 1, copy_name(c, name),
		       message_type_name(d.packet->type));
	}
	driver_input(c->driver, &in);
	packet_drop(d.packet);
	check_term_cert(c);
}

static void settle(struct world *w)
{
	if (!w->len)
		w->head = 0;
	for (unsigned i = 0; w->len && i < ROUND_MESSAGES && !stopped(w); i++)
		deliver(w);
}

static void lose_what_is_under_way(struct world *w)
{
	for (; w->len; w->len--) {
		packet_drop(w->queue[w->head].packet);
		w->head = (w->head + 1) % QUEUE_MAX;
	}
}

static void submit(struct copy *c, unsigned round)
{
	uint8_t bytes[3] = {1, (uint8_t)round, (uint8_t)c->index}; /* no SYSTEM_TX_MARK */
	struct input in = input_of(c, INPUT_SUBMIT);
	tx_id(&in.submit.id, slice_of(bytes, sizeof bytes));
	in.submit.bytes = slice_of(bytes, sizeof bytes);
	driver_input(c->driver, &in);
}

static bool in_pbft(const struct copy *c)
{
	struct engine_status s;
	engine_status(driver_engine(c->driver), &s);
	return s.mode == MODE_PBFT;
}

static void run_round(struct world *w, unsigned round, unsigned leader, uint64_t side)
{
	w->side = side;
	w->wall_ms += 1000;
	for (unsigned i = 0; i < w->copies; i++) /* nobody has heard its leader for a while */
		w->copy[i].now += TIMEOUT_MIN_US + 1;
	for (unsigned i = 0; i < w->copies && !stopped(w); i++)
		if (w->copy[i].validator == leader || in_pbft(&w->copy[i]))
			tick(&w->copy[i], TIMES_OUT_US);
	settle(w);
	for (unsigned i = 0; i < w->copies && !stopped(w); i++)
		if (w->copy[i].validator == leader)
			submit(&w->copy[i], round);
	settle(w);
	for (unsigned beat = 0; beat < 2; beat++) {
		for (unsigned i = 0; i < w->copies && !stopped(w); i++)
			tick(&w->copy[i], HEARTBEAT_US);
		settle(w);
	}
	lose_what_is_under_way(w);
}

/* ---- healing ----------------------------------------------------------------------------- */

static bool all_have(const struct world *w, uint64_t height)
{
	for (unsigned i = w->l->options.twins; i < w->n; i++)
		if (w->copy[i].final_height < height)
			return false;
	return true;
}

/* One clock for all, messages without delay, and two more blocks wanted. */
static void heal(struct world *w)
{
	uint64_t now = 0, goal = w->log_len + 1;
	w->side = UINT64_MAX;
	for (unsigned i = 0; i < w->copies; i++)
		now = w->copy[i].now > now ? w->copy[i].now : now;
	for (unsigned i = 0; i < w->copies; i++)
		w->copy[i].now = now;
	uint64_t begin = now;
	for (unsigned i = w->l->options.twins; i < w->n; i++)
		submit(&w->copy[i], 100);
	bool more = false;
	while (!stopped(w) && !all_have(w, goal)) {
		settle(w);
		uint64_t next = UINT64_MAX;
		for (unsigned i = 0; i < w->copies; i++)
			if (driver_wake_at(w->copy[i].driver) < next)
				next = driver_wake_at(w->copy[i].driver);
		now = next > now ? next : now + 1;
		if (now - begin > HEAL_US) {
			fail(w, TWINS_LIVENESS, "no progress in %.0f s after healing",
			     (double)HEAL_US / 1e6);
			return;
		}
		w->wall_ms = w->genesis.time_ms + 100000 + (now - begin) / 1000;
		for (unsigned i = 0; i < w->copies; i++) {
			w->copy[i].now = now;
			if (driver_wake_at(w->copy[i].driver) <= now)
				tick(&w->copy[i], 0);
		}
		if (!more && all_have(w, goal - 1)) {
			more = true;
			for (unsigned i = w->l->options.twins; i < w->n; i++)
				submit(&w->copy[i], 101);
		}
	}
	w->result->healed_us = now - begin;
}

/* ---- a word ------------------------------------------------------------------------------ */

static void make_chain(struct world *w)
{
	struct genesis *g = &w->genesis;
	genesis_defaults(g);
	snprintf(g->name, sizeof g->name, "twins");
	g->time_ms = 1700000000000;
	g->protocol = PROTOCOL_HYBRID;
	g->scheme = SIG_SYMBOLIC;
	g->n = w->n;
	g->open = true;
	g->checkpoint_interval = 4;
	g->probation = 1;
	g->limits.window = 16;
	for (unsigned i = 0; i < w->n; i++) {
		uint8_t seed[32] = {3, (uint8_t)i};
		keypair_from_seed(&w->key[i], seed);
		g->validator[i].key = w->key[i].pub;
		snprintf(g->validator[i].name, sizeof g->validator[i].name, "node%u", i + 1);
	}
	memset(&g->state_root, 0x5a, sizeof g->state_root);
	genesis_ctx(&w->ctx, g);
	w->genesis_block = genesis_block(g, &w->ctx);
}

static const struct driver_host host = {.persist = host_persist,
					.send = host_send,
					.final = host_final,
					.work = host_work,
					.rejected = host_rejected,
					.halted = host_halted};

static void start_copy(struct world *w, unsigned i)
{
	struct copy *c = &w->copy[i];
	struct engine_recovery nothing = {.final = w->genesis_block};
	struct signed_header genesis = w->genesis_block->sh;
	struct engine *e;
	struct errmsg m;
	*c = (struct copy){
		.w = w, .index = i, .validator = i < w->n ? i : i - w->n, .now = 1000000};
	nothing.headers = &genesis;
	nothing.header_count = 1;
	mode_state_init(&nothing.modes);
	struct engine_config config = {.ctx = &w->ctx,
				       .genesis = &w->genesis,
				       .genesis_block = w->genesis_block,
				       .self = c->validator,
				       .key = w->key[c->validator],
				       .timing = {.heartbeat = HEARTBEAT_US,
						  .timeout_min = TIMEOUT_MIN_US,
						  .timeout_max = TIMEOUT_MAX_US,
						  .timeout_cap = TIMEOUT_MAX_US},
				       .seed = i + 1,
				       .now = c->now};
	int err = engine_new_hybrid(&e, &config, &nothing, &m);
	invariant(err == ERR_NONE);
	struct driver_host mine = host;
	mine.ctx = c;
	c->driver = driver_new(e, &mine);
}

static void collect(struct world *w)
{
	struct twins_result *r = w->result;
	for (unsigned i = w->l->options.twins; i < w->n; i++) {
		struct engine_status s;
		engine_status(driver_engine(w->copy[i].driver), &s);
		r->pbft |= s.counters[COUNT_VIEW_CHANGES] > 0;
		r->accused |= s.accused;
		r->convicted |= s.modes.jailed;
		for (unsigned c = 0; c < COUNTERS; c++)
			r->counters[c] += s.counters[c];
	}
	uint64_t framed = (r->accused | r->convicted) >> w->l->options.twins;
	if (framed)
		fail(w, TWINS_SAFETY, "an honest validator is accused (mask %llx)",
		     (unsigned long long)(r->accused | r->convicted));
}

static void end(struct world *w)
{
	lose_what_is_under_way(w);
	for (unsigned i = 0; i < w->copies; i++) {
		struct copy *c = &w->copy[i];
		driver_free(c->driver);
		for (uint64_t h = 1; h <= c->final_height; h++) {
			block_drop(c->final[h]);
			mem_free(c->cert[h]);
		}
		for (unsigned k = 0; k < c->tc_next; k++) {
			term_cert_free(c->tc[k]);
			mem_free(c->tc[k]);
		}
	}
	block_drop(w->genesis_block);
	genesis_free(&w->genesis);
	mem_free(w);
}

void twins_run(const struct twins_language *l, uint64_t word, struct twins_result *out)
{
	struct world *w = mem_alloc(sizeof *w);
	memset(w, 0, offsetof(struct world, copy));
	*out = (struct twins_result){0};
	w->l = l;
	w->result = out;
	w->n = l->options.nodes;
	w->copies = l->copies;
	make_chain(w);
	w->wall_ms = w->genesis.time_ms + 1000;
	w->log_len = 1;
	w->log[0].hash = w->genesis_block->hash;
	know(w, w->genesis_block);
	for (unsigned i = 0; i < w->copies; i++)
		start_copy(w, i);
	for (unsigned r = 0; r < l->options.rounds && !stopped(w); r++) {
		unsigned letter = (unsigned)(word % l->letters);
		uint64_t side = ((uint64_t)(letter % l->cuts) << 1) | 1;
		if (l->options.trace)
			printf("  round %u: leader %u\n", r + 1, letter / l->cuts + 1);
		run_round(w, r, letter / l->cuts, side);
		word /= l->letters;
	}
	out->finals = w->log_len - 1;
	if (l->options.heal && !stopped(w))
		heal(w);
	collect(w);
	end(w);
}
