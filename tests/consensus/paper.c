#include "paper.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/random.h"

#define TIMEOUT_MIN 300000
#define TIMEOUT_MAX 600000
#define WALL_MS	    1700000000000

/* ---- execution --------------------------------------------------------------------------- */

static void root_after(struct hash *out, const struct hash *parent, const struct hash *tx_root)
{
	uint8_t both[2 * HASH_SIZE];
	memcpy(both, parent->b, HASH_SIZE);
	memcpy(both + HASH_SIZE, tx_root->b, HASH_SIZE);
	sha256(out, both, sizeof both);
}

static void answer_build(struct paper_node *node, const struct work *w)
{
	struct writer body = {0};
	struct hash *leaves = mem_array(w->tx_count + 1, sizeof *leaves);
	struct input in = {.kind = INPUT_BUILT, .now = node->now, .wall_ms = WALL_MS};
	body_begin(&body);
	for (uint32_t i = 0; i < w->tx_count; i++) {
		body_add(&body, TX_OK, w->txs[i].bytes);
		body_leaf(&leaves[i], TX_OK, w->txs[i].bytes);
	}
	body_end(&body, w->tx_count);
	in.built.id = w->id;
	in.built.body = writer_slice(&body);
	in.built.tx_count = w->tx_count;
	merkle_root(&in.built.tx_root, leaves, w->tx_count);
	root_after(&in.built.state_root, &w->block->sh.h.state_root, &in.built.tx_root);
	driver_input(node->driver, &in);
	writer_free(&body);
	mem_free(leaves);
}

static struct block *find_block(const struct paper_node *node, const struct hash *hash)
{
	if (hash_equal(hash, &node->p->block0->hash))
		return node->p->block0;
	for (unsigned i = 0; i < node->block_count; i++)
		if (hash_equal(&node->blocks[i]->hash, hash))
			return node->blocks[i];
	for (unsigned i = 0; i < node->executed_count; i++)
		if (hash_equal(&node->executed[i]->hash, hash))
			return node->executed[i];
	for (unsigned i = 0; i < node->pending_count; i++)
		if (node->pending[i].block && hash_equal(&node->pending[i].block->hash, hash))
			return node->pending[i].block;
	return NULL;
}

static void answer_execute(struct paper_node *node, const struct work *w)
{
	struct input in = {.kind = INPUT_EXECUTED, .now = node->now, .wall_ms = WALL_MS};
	const struct header *h = &w->block->sh.h;
	const struct block *parent = find_block(node, &h->prev);
	struct hash root;
	for (uint64_t i = 0; !parent && i <= node->final_height; i++)
		if (node->final[i] && hash_equal(&node->final[i]->hash, &h->prev))
			parent = node->final[i];
	ck_assert_msg(parent != NULL, "a block is to be executed before its parent");
	root_after(&root, &parent->sh.h.state_root, &h->tx_root);
	in.executed.block = w->block->hash;
	in.executed.err = hash_equal(&root, &h->state_root) ? ERR_NONE : ERR_BAD_STATE_ROOT;
	if (!in.executed.err && node->executed_count < PAPER_BLOCKS)
		node->executed[node->executed_count++] = block_hold(w->block);
	driver_input(node->driver, &in);
}

static void answer_check(struct paper_node *node, const struct work *w)
{
	int *errs = mem_array(w->tx_count, sizeof *errs);
	struct input in = {.kind = INPUT_TXS_CHECKED, .now = node->now, .wall_ms = WALL_MS};
	in.txs_checked.id = w->id;
	in.txs_checked.err = errs;
	in.txs_checked.count = w->tx_count;
	driver_input(node->driver, &in);
	mem_free(errs);
}

static void answer_read(struct paper_node *node, const struct work *w)
{
	struct block *blocks[PAPER_BLOCKS];
	struct input in = {.kind = INPUT_BLOCKS_READ, .now = node->now, .wall_ms = WALL_MS};
	uint32_t count = 0;
	for (uint64_t h = w->height; h <= node->final_height && count < w->max_blocks; h++)
		blocks[count++] = h ? node->final[h] : node->p->block0;
	in.blocks_read.id = w->id;
	in.blocks_read.blocks = blocks;
	in.blocks_read.count = count;
	driver_input(node->driver, &in);
}

/* ---- the host ---------------------------------------------------------------------------- */

static void apply_write(struct paper_node *node, struct paper_write *w)
{
	if (w->kind == WRITE_VOTES) {
		writer_free(&node->slot[w->slot]);
		node->slot[w->slot] = w->bytes;
	} else if (w->kind == WRITE_BLOCK) {
		ck_assert_uint_lt(node->block_count, PAPER_BLOCKS);
		node->blocks[node->block_count++] = w->block;
	} else if (w->kind == WRITE_CERT) {
		node->mark = w->cert;
	}
}

static bool host_persist(void *ctx, const struct write *writes, uint32_t count, uint64_t seq,
			 bool sync)
{
	struct paper_node *node = ctx;
	for (uint32_t i = 0; i < count; i++) {
		struct paper_write w = {.seq = seq,
					.sync = sync,
					.kind = writes[i].kind,
					.slot = writes[i].slot};
		ck_assert(w.kind != WRITE_TC && w.kind != WRITE_EVIDENCE);
		if (w.kind == WRITE_VOTES)
			writer_raw(&w.bytes, writes[i].bytes.ptr, writes[i].bytes.len);
		if (w.kind == WRITE_BLOCK)
			w.block = block_hold(writes[i].block);
		if (w.kind == WRITE_CERT)
			w.cert = *writes[i].cert;
		if (node->slow_disk) {
			node->pending = mem_realloc(node->pending,
						    (node->pending_count + 1) * sizeof w);
			node->pending[node->pending_count++] = w;
		} else {
			apply_write(node, &w);
		}
	}
	return !sync || !node->slow_disk;
}

static void host_send(void *ctx, const struct message *m)
{
	struct paper_node *node = ctx;
	if (node->sent_count == node->sent_cap) {
		node->sent_cap = node->sent_cap ? 2 * node->sent_cap : 64;
		node->sent = mem_realloc(node->sent, node->sent_cap * sizeof *node->sent);
	}
	struct paper_sent *s = &node->sent[node->sent_count++];
	*s = (struct paper_sent){.to = m->to, .type = m->type};
	writer_raw(&s->bytes, m->bytes.ptr, m->bytes.len);
}

static void host_final(void *ctx, const struct final_block *f)
{
	struct paper_node *node = ctx;
	uint64_t height = f->block->sh.h.height;
	ck_assert_int_eq(f->cert->kind, CERT_CRASH);
	ck_assert_uint_lt(height, PAPER_BLOCKS);
	if (node->final[height]) /* reported again after a restart */
		ck_assert(hash_equal(&node->final[height]->hash, &f->block->hash));
	else
		node->final[height] = block_hold(f->block);
	if (height > node->final_height)
		node->final_height = height;
}

static void host_work(void *ctx, const struct work *w)
{
	struct paper_node *node = ctx;
	switch (w->kind) {
	case WORK_BUILD:
		answer_build(node, w);
		break;
	case WORK_EXECUTE:
		answer_execute(node, w);
		break;
	case WORK_CHECK_TXS:
		answer_check(node, w);
		break;
	case WORK_READ:
		answer_read(node, w);
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
	struct paper_node *node = ctx;
	(void)why;
	node->halted = true;
}

/* ---- life -------------------------------------------------------------------------------- */

void paper_begin(struct paper *p, enum protocol protocol, unsigned n)
{
	*p = (struct paper){.n = n};
	genesis_defaults(&p->genesis);
	snprintf(p->genesis.name, sizeof p->genesis.name, "paper");
	p->genesis.protocol = protocol;
	p->genesis.scheme = SIG_SYMBOLIC;
	p->genesis.n = n;
	for (unsigned i = 0; i < n; i++) {
		struct keypair key;
		uint8_t seed[32] = {1, (uint8_t)i};
		keypair_from_seed(&key, seed);
		p->genesis.validator[i].key = key.pub;
		snprintf(p->genesis.validator[i].name, sizeof p->genesis.validator[i].name,
			 "node%u", i + 1);
	}
	genesis_ctx(&p->ctx, &p->genesis);
	p->block0 = genesis_block(&p->genesis, &p->ctx);
	for (unsigned i = 0; i < n; i++) {
		p->node[i].p = p;
		p->node[i].index = i;
		p->node[i].now = 1000000;
		paper_start(p, i);
	}
}

void paper_start(struct paper *p, unsigned i)
{
	struct paper_node *node = &p->node[i];
	struct engine_recovery rec = {.final = p->block0};
	struct engine_config config = {.ctx = &p->ctx,
				       .genesis = &p->genesis,
				       .genesis_block = p->block0,
				       .self = i,
				       .timing = {.heartbeat = 50000,
						  .timeout_min = TIMEOUT_MIN,
						  .timeout_max = TIMEOUT_MAX},
				       .seed = i + 1,
				       .now = node->now};
	struct signed_header headers[PAPER_BLOCKS];
	struct block *above[PAPER_BLOCKS];
	struct errmsg m;
	struct engine *engine;
	mode_state_init(&rec.modes);
	for (unsigned k = 0; k < VOTE_SLOTS; k++)
		rec.votes[k] = writer_slice(&node->slot[k]);
	if (node->mark.kind) {
		rec.final = find_block(node, &node->mark.ref.hash);
		rec.final_cert = &node->mark;
		ck_assert(rec.final != NULL);
	}
	uint64_t height = rec.final->sh.h.height;
	const struct block *b = rec.final;
	for (uint64_t h = height + 1; h-- > 0; b = h ? find_block(node, &b->sh.h.prev) : NULL)
		headers[h] = b->sh;
	rec.headers = headers;
	rec.header_count = (uint32_t)height + 1;
	for (unsigned k = 0; k < node->block_count; k++)
		if (node->blocks[k]->sh.h.height > height)
			above[rec.block_count++] = node->blocks[k];
	rec.blocks = above;
	int err = engine_new(&engine, &config, &rec, &m);
	ck_assert_msg(err == ERR_NONE, "%s", m.text);
	struct driver_host host = {.ctx = node,
				   .persist = host_persist,
				   .send = host_send,
				   .final = host_final,
				   .work = host_work,
				   .rejected = host_rejected,
				   .halted = host_halted};
	node->driver = driver_new(engine, &host);
	node->halted = false;
	paper_pass(p, i, 0);
}

static void drop_pending(struct paper_node *node)
{
	for (unsigned k = 0; k < node->pending_count; k++) {
		writer_free(&node->pending[k].bytes);
		block_drop(node->pending[k].block);
	}
	mem_free(node->pending);
	node->pending = NULL;
	node->pending_count = 0;
}

void paper_crash(struct paper *p, unsigned i)
{
	struct paper_node *node = &p->node[i];
	driver_free(node->driver);
	node->driver = NULL;
	while (node->executed_count)
		block_drop(node->executed[--node->executed_count]);
	drop_pending(node);
	paper_drop(p, i);
}

void paper_sync(struct paper *p, unsigned i)
{
	struct paper_node *node = &p->node[i];
	while (node->pending_count) {
		struct paper_write *was = node->pending;
		unsigned count = node->pending_count;
		uint64_t seq = 0;
		node->pending = NULL;
		node->pending_count = 0;
		for (unsigned k = 0; k < count; k++) {
			seq = was[k].sync ? was[k].seq : seq;
			apply_write(node, &was[k]);
		}
		mem_free(was);
		if (seq)
			driver_durable(node->driver, seq, node->now, WALL_MS);
	}
}

void paper_end(struct paper *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		struct paper_node *node = &p->node[i];
		if (node->driver)
			paper_crash(p, i);
		paper_drop(p, i);
		mem_free(node->sent);
		for (unsigned k = 0; k < VOTE_SLOTS; k++)
			writer_free(&node->slot[k]);
		for (unsigned k = 0; k < node->block_count; k++)
			block_drop(node->blocks[k]);
		for (unsigned k = 0; k < PAPER_BLOCKS; k++)
			block_drop(node->final[k]);
	}
	block_drop(p->block0);
	genesis_free(&p->genesis);
}

struct engine_status paper_status(struct paper *p, unsigned i)
{
	struct engine_status s;
	engine_status(driver_engine(p->node[i].driver), &s);
	return s;
}

uint64_t paper_counter(struct paper *p, unsigned i, enum engine_counter c)
{
	return paper_status(p, i).counters[c];
}

/* ---- time, clients ----------------------------------------------------------------------- */

void paper_pass(struct paper *p, unsigned i, uint64_t us)
{
	struct paper_node *node = &p->node[i];
	node->now += us;
	driver_input(node->driver,
		     &(struct input){.kind = INPUT_TICK, .now = node->now, .wall_ms = WALL_MS});
}

void paper_time_out(struct paper *p, unsigned i)
{
	paper_pass(p, i, TIMEOUT_MAX + 1);
}

void paper_submit(struct paper *p, unsigned i)
{
	char text[32];
	struct input in = {.kind = INPUT_SUBMIT, .now = p->node[i].now, .wall_ms = WALL_MS};
	snprintf(text, sizeof text, "transaction %u", ++p->txs);
	in.submit.bytes = slice_str(text);
	tx_id(&in.submit.id, in.submit.bytes);
	driver_input(p->node[i].driver, &in);
}

/* ---- messages ---------------------------------------------------------------------------- */

void paper_give(struct paper *p, unsigned to, unsigned from, const struct writer *bytes)
{
	struct input in = {.kind = INPUT_MESSAGE, .now = p->node[to].now, .wall_ms = WALL_MS};
	in.message.from = from;
	in.message.bytes = writer_slice(bytes);
	driver_input(p->node[to].driver, &in);
}

static void take_at(struct paper_node *node, unsigned k, struct paper_sent *out)
{
	*out = node->sent[k];
	memmove(node->sent + k, node->sent + k + 1,
		(--node->sent_count - k) * sizeof *node->sent);
}

bool paper_take(struct paper *p, unsigned i, uint8_t type, struct paper_sent *out)
{
	struct paper_node *node = &p->node[i];
	for (unsigned k = 0; k < node->sent_count; k++)
		if (node->sent[k].type == type) {
			take_at(node, k, out);
			return true;
		}
	return false;
}

unsigned paper_sent_count(const struct paper *p, unsigned i, uint8_t type)
{
	unsigned count = 0;
	for (unsigned k = 0; k < p->node[i].sent_count; k++)
		count += p->node[i].sent[k].type == type;
	return count;
}

void paper_drop(struct paper *p, unsigned i)
{
	struct paper_node *node = &p->node[i];
	while (node->sent_count)
		writer_free(&node->sent[--node->sent_count].bytes);
}

void paper_deliver(struct paper *p, unsigned i, uint64_t mask)
{
	for (unsigned count = p->node[i].sent_count; count > 0; count--) {
		struct paper_sent s;
		take_at(&p->node[i], 0, &s);
		for (unsigned to = 0; to < p->n; to++)
			if (s.to >> to & 1 && mask >> to & 1 && p->node[to].driver)
				paper_give(p, to, i, &s.bytes);
		writer_free(&s.bytes);
	}
}

void paper_settle(struct paper *p, uint64_t mask)
{
	for (unsigned rounds = 0; rounds < 1000; rounds++) {
		bool quiet = true;
		for (unsigned i = 0; i < p->n; i++)
			if (mask >> i & 1 && p->node[i].driver && p->node[i].sent_count) {
				paper_deliver(p, i, mask);
				quiet = false;
			}
		if (quiet)
			return;
	}
	ck_abort_msg("messages without end");
}

void paper_elect(struct paper *p, unsigned i, uint64_t mask)
{
	for (unsigned k = 0; k < p->n; k++)
		if (k != i && mask >> k & 1 && p->node[k].driver)
			paper_pass(p, k, TIMEOUT_MIN);
	paper_time_out(p, i);
	paper_settle(p, mask);
}

unsigned paper_leader(struct paper *p)
{
	unsigned leader = p->n;
	uint64_t term = 0;
	for (unsigned i = 0; i < p->n; i++) {
		if (!p->node[i].driver)
			continue;
		struct engine_status s = paper_status(p, i);
		if (s.role == ROLE_LEADER && s.term > term) {
			leader = i;
			term = s.term;
		}
	}
	return leader;
}

/* ---- noise ------------------------------------------------------------------------------- */

static void damage(struct writer *w, struct random *r)
{
	static const uint64_t numbers[] = {0,	      1, 2, 255, UINT32_MAX, UINT64_C(1) << 62,
					   UINT64_MAX};
	uint8_t number[8];
	for (uint64_t k = random_between(r, 1, 3); k > 0 && w->len > 1; k--) {
		/* more often in front, where the numbers are */
		uint64_t span = random_chance(r, 1, 2) && w->len > 48 ? 48 : w->len;
		uint64_t at = random_below(r, span);
		switch (random_below(r, 4)) {
		case 0:
			w->buf[at] ^= (uint8_t)(1 << random_below(r, 8));
			break;
		case 1:
			w->buf[at] = (uint8_t)random_u64(r);
			break;
		case 2:
			store_be64(number, numbers[random_below(r, MEM_COUNT(numbers))]);
			for (unsigned i = 0; i < 8 && at + i < w->len; i++)
				w->buf[at + i] = number[i];
			break;
		default:
			if (random_chance(r, 1, 4))
				w->len = at + 1;
			break;
		}
	}
}

static void make_noise(struct paper *p, struct random *r)
{
	for (unsigned i = 0; i < p->n; i++)
		for (unsigned k = 0; k < p->node[i].sent_count && k < 32; k++) {
			struct writer copy = {0};
			unsigned to = (unsigned)random_below(r, p->n);
			const struct writer *w = &p->node[i].sent[k].bytes;
			writer_raw(&copy, w->buf, w->len);
			damage(&copy, r);
			if (p->node[to].driver)
				paper_give(p, to, (unsigned)random_below(r, p->n + 1), &copy);
			writer_free(&copy);
		}
}

void paper_noise(struct paper *p, uint64_t seed, unsigned rounds)
{
	struct random r;
	random_seed(&r, seed);
	for (unsigned k = 0; k < rounds; k++) {
		unsigned i = (unsigned)random_below(&r, p->n);
		if (random_chance(&r, 1, 20))
			paper_time_out(p, i);
		else
			paper_pass(p, i, random_below(&r, 60000));
		if (p->node[i].final_height < PAPER_BLOCKS / 4)
			paper_submit(p, i);
		make_noise(p, &r);
		for (unsigned from = 0; from < p->n; from++)
			paper_deliver(p, from, random_u64(&r) | random_u64(&r));
	}
	for (unsigned i = 0; i < p->n; i++)
		paper_drop(p, i);
}

/* ---- blocks ------------------------------------------------------------------------------ */

struct block *paper_block(struct paper *p, const struct block *parent, uint64_t term,
			  unsigned leader)
{
	const struct header *h = &parent->sh.h;
	bool same = h->term == term;
	uint8_t body[4] = {0};
	struct signed_header sh = {.h = {.chain = p->ctx.id,
					 .term = term,
					 .mode = MODE_FAST,
					 .height = h->height + 1,
					 .prev = parent->hash,
					 .base_height = same ? h->base_height : h->height,
					 .base = same ? h->base : parent->hash,
					 .time_ms = h->time_ms + 1,
					 .leader = (uint16_t)(same ? h->leader : leader),
					 .valset = p->ctx.vals.hash,
					 .body_size = sizeof body}};
	struct block *b;
	merkle_root(&sh.h.tx_root, NULL, 0);
	root_after(&sh.h.state_root, &h->state_root, &sh.h.tx_root);
	int err = block_new(&b, &sh, slice_of(body, sizeof body));
	ck_assert_int_eq(err, ERR_NONE);
	return b;
}

void paper_agree(const struct paper *p)
{
	for (uint64_t h = 1; h < PAPER_BLOCKS; h++) {
		const struct block *first = NULL;
		for (unsigned i = 0; i < p->n; i++) {
			const struct block *b = p->node[i].final[h];
			if (b && first)
				ck_assert_msg(hash_equal(&b->hash, &first->hash),
					      "two final blocks at height %llu",
					      (unsigned long long)h);
			first = b ? b : first;
		}
	}
}
