/* A lot is a message or a block. Its transactions are checked in parts, so that threads share a
 * large one. A block waits for its own parts, and for the lots in which others of its
 * transactions are being checked already. */
#include "node/checker.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"
#include "ledger/tx.h"

#define PART_TXS      16
#define FALSE_TX_PAID 5000 /* microseconds in which its sender is not listened to: forward.c   \
			    */

enum part_state { PART_WAITS, PART_TAKEN };

struct part {
	TAILQ_ENTRY(part) link;
	struct lot *lot;
	uint32_t first, count;
	enum part_state state;
};
TAILQ_HEAD(part_list, part);

struct lot {
	unsigned from;
	uint8_t *message; /* NULL: a block's */
	size_t message_len;
	struct block *block;
	struct pool_tx *txs;
	bool *good;
	uint32_t count;
	struct part *parts;
	uint32_t part_count, left; /* parts that are not done */
	bool urgent;
	uint64_t wanted_by; /* bit i: blocks[i] waits for it */
	unsigned needs;	    /* other lots that this one, a block's, waits for */
};

struct checker {
	const struct chain_ctx *ctx;
	const struct genesis_limits *limits;
	pthread_t *thread;
	unsigned threads;
	int fd;
	/* the loop's */
	struct map in_work; /* id -> lot */
	struct lot *blocks[CHECKER_BLOCKS_MAX];
	size_t bytes[VALIDATORS_MAX]; /* of each peer's messages */
	uint64_t paid[VALIDATORS_MAX];
	/* shared */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct part_list urgent, plain, done;
	unsigned idle;
	bool stop;
};

/* ---- the threads ------------------------------------------------------------------------- */

static bool is_good(const struct checker *c, struct slice bytes)
{
	struct tx tx;
	return !tx_decode(&tx, bytes, c->ctx, c->limits) && !tx_check_signature(&tx, c->ctx);
}

static void check_part(const struct checker *c, const struct part *p)
{
	for (uint32_t i = p->first; i < p->first + p->count; i++)
		p->lot->good[i] = is_good(c, p->lot->txs[i].bytes);
}

static void *run(void *arg)
{
	struct checker *c = arg;
	pthread_mutex_lock(&c->lock);
	for (;;) {
		while (!c->stop && TAILQ_EMPTY(&c->urgent) && TAILQ_EMPTY(&c->plain)) {
			c->idle++;
			pthread_cond_wait(&c->work, &c->lock);
			c->idle--;
		}
		if (c->stop)
			break;
		struct part_list *from = TAILQ_EMPTY(&c->urgent) ? &c->plain : &c->urgent;
		struct part *p = TAILQ_FIRST(from);
		TAILQ_REMOVE(from, p, link);
		p->state = PART_TAKEN;
		pthread_mutex_unlock(&c->lock);
		check_part(c, p);
		pthread_mutex_lock(&c->lock);
		bool first = TAILQ_EMPTY(&c->done);
		TAILQ_INSERT_TAIL(&c->done, p, link);
		if (first) { /* who takes, takes all */
			uint64_t one = 1;
			ssize_t n = write(c->fd, &one, sizeof one);
			(void)n; /* a counter that is full is readable already */
		}
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

struct checker *checker_start(unsigned threads, const struct chain_ctx *ctx,
			      const struct genesis_limits *limits)
{
	struct checker *c = mem_zalloc(sizeof *c);
	uint64_t seed;
	crypto_random(&seed, sizeof seed);
	c->ctx = ctx;
	c->limits = limits;
	map_init(&c->in_work, seed);
	TAILQ_INIT(&c->urgent);
	TAILQ_INIT(&c->plain);
	TAILQ_INIT(&c->done);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->work, NULL);
	c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	invariant(c->fd >= 0);
	c->threads = threads;
	c->thread = mem_array(threads, sizeof *c->thread);
	for (unsigned i = 0; i < threads; i++)
		invariant(pthread_create(&c->thread[i], NULL, run, c) == 0);
	return c;
}

static void lot_free(struct lot *l)
{
	block_drop(l->block);
	mem_free(l->message);
	mem_free(l->txs);
	mem_free(l->good);
	mem_free(l->parts);
	mem_free(l);
}

void checker_stop(struct checker *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_broadcast(&c->work);
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < c->threads; i++)
		pthread_join(c->thread[i], NULL);
	struct part_list all = TAILQ_HEAD_INITIALIZER(all);
	TAILQ_CONCAT(&all, &c->urgent, link);
	TAILQ_CONCAT(&all, &c->plain, link);
	TAILQ_CONCAT(&all, &c->done, link);
	/* Every part that its lot still counts is in one of them. Blocks may have none left. */
	for (struct part *p; (p = TAILQ_FIRST(&all)) != NULL;) {
		TAILQ_REMOVE(&all, p, link);
		if (--p->lot->left == 0 && p->lot->message)
			lot_free(p->lot);
	}
	for (unsigned i = 0; i < CHECKER_BLOCKS_MAX; i++)
		if (c->blocks[i])
			lot_free(c->blocks[i]);
	map_free(&c->in_work);
	close(c->fd);
	pthread_cond_destroy(&c->work);
	pthread_mutex_destroy(&c->lock);
	mem_free(c->thread);
	mem_free(c);
}

int checker_fd(const struct checker *c)
{
	return c->fd;
}

/* ---- lots -------------------------------------------------------------------------------- */

static void lot_begin(struct checker *c, struct lot *l)
{
	l->good = mem_array(l->count + 1, sizeof *l->good);
	l->left = l->part_count = (l->count + PART_TXS - 1) / PART_TXS;
	l->parts = mem_array(l->part_count + 1, sizeof *l->parts);
	for (uint32_t i = 0; i < l->count; i++)
		map_put(&c->in_work, l->txs[i].id.b, l);
	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 0; i < l->part_count; i++) {
		struct part *p = &l->parts[i];
		p->lot = l;
		p->first = i * PART_TXS;
		p->count = l->count - p->first < PART_TXS ? l->count - p->first : PART_TXS;
		if (l->urgent)
			TAILQ_INSERT_TAIL(&c->urgent, p, link);
		else
			TAILQ_INSERT_TAIL(&c->plain, p, link);
	}
	unsigned wake = c->idle < l->part_count ? c->idle : l->part_count;
	for (unsigned i = 0; i < wake; i++)
		pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
}

static void make_urgent(struct checker *c, struct lot *l)
{
	if (l->urgent)
		return;
	l->urgent = true;
	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 0; i < l->part_count; i++) {
		if (l->parts[i].state != PART_WAITS)
			continue;
		TAILQ_REMOVE(&c->plain, &l->parts[i], link);
		TAILQ_INSERT_TAIL(&c->urgent, &l->parts[i], link);
	}
	pthread_mutex_unlock(&c->lock);
}

bool checker_message(struct checker *c, uint64_t now, unsigned from, struct slice message,
		     const struct pool_tx *txs, uint32_t count)
{
	invariant(from < VALIDATORS_MAX && count > 0);
	if (c->paid[from] > now || c->bytes[from] + message.len > CHECKER_BYTES_MAX)
		return false;
	struct lot *l = mem_zalloc(sizeof *l);
	l->from = from;
	l->message = mem_dup(message.ptr, message.len);
	l->message_len = message.len;
	l->txs = mem_array(count, sizeof *l->txs);
	for (uint32_t i = 0; i < count; i++) {
		if (map_get(&c->in_work, txs[i].id.b))
			continue;
		size_t at = (size_t)(txs[i].bytes.ptr - message.ptr);
		invariant(at + txs[i].bytes.len <= message.len);
		l->txs[l->count++] = (struct pool_tx){
			.id = txs[i].id, .bytes = slice_of(l->message + at, txs[i].bytes.len)};
	}
	if (l->count == 0) { /* all are being checked: the second message finds them so */
		lot_free(l);
		return false;
	}
	c->bytes[from] += message.len;
	lot_begin(c, l);
	return true;
}

bool checker_block(struct checker *c, struct block *b, const struct pool_tx *txs,
		   uint32_t count)
{
	unsigned slot = 0;
	while (slot < CHECKER_BLOCKS_MAX && c->blocks[slot])
		slot++;
	if (slot == CHECKER_BLOCKS_MAX)
		return false;
	struct lot *l = mem_zalloc(sizeof *l);
	l->block = block_hold(b);
	l->urgent = true;
	l->txs = mem_array(count + 1, sizeof *l->txs);
	c->blocks[slot] = l;
	for (uint32_t i = 0; i < count; i++) {
		struct lot *other = map_get(&c->in_work, txs[i].id.b);
		if (!other) {
			l->txs[l->count++] = txs[i]; /* of the block's own bytes */
			continue;
		}
		l->needs += !(other->wanted_by >> slot & 1);
		other->wanted_by |= UINT64_C(1) << slot;
		make_urgent(c, other);
	}
	lot_begin(c, l);
	return true;
}

/* ---- what comes back --------------------------------------------------------------------- */

static void block_done(struct checker *c, unsigned slot, const struct checker_host *host)
{
	struct lot *l = c->blocks[slot];
	if (l->left > 0 || l->needs > 0)
		return;
	c->blocks[slot] = NULL;
	host->block(host->ctx, l->block);
	lot_free(l);
}

static void lot_done(struct checker *c, struct lot *l, const struct checker_host *host)
{
	for (uint64_t w = l->wanted_by; w; w &= w - 1) {
		unsigned slot = (unsigned)__builtin_ctzll(w);
		c->blocks[slot]->needs--;
		block_done(c, slot, host);
	}
	if (l->message) {
		c->bytes[l->from] -= l->message_len;
		host->message(host->ctx, l->from, slice_of(l->message, l->message_len));
		lot_free(l);
		return;
	}
	for (unsigned i = 0; i < CHECKER_BLOCKS_MAX; i++)
		if (c->blocks[i] == l) {
			block_done(c, i, host);
			return;
		}
}

static void was_false(struct checker *c, uint64_t now, unsigned from)
{
	uint64_t *paid = &c->paid[from];
	*paid = (*paid > now ? *paid : now) + FALSE_TX_PAID;
}

void checker_now(struct checker *c, uint64_t now, unsigned from, const struct pool_tx *txs,
		 uint32_t count, const struct checker_host *host)
{
	invariant(from < VALIDATORS_MAX);
	for (uint32_t i = 0; i < count && c->paid[from] <= now; i++)
		if (map_get(&c->in_work, txs[i].id.b))
			continue;
		else if (is_good(c, txs[i].bytes))
			host->good(host->ctx, &txs[i].id);
		else
			was_false(c, now, from);
}

static void part_done(struct checker *c, const struct part *p, uint64_t now,
		      const struct checker_host *host)
{
	struct lot *l = p->lot;
	for (uint32_t i = p->first; i < p->first + p->count; i++) {
		map_remove(&c->in_work, l->txs[i].id.b);
		if (l->good[i])
			host->good(host->ctx, &l->txs[i].id);
		else if (l->message)
			was_false(c, now, l->from);
	}
	if (--l->left == 0)
		lot_done(c, l, host);
}

void checker_take(struct checker *c, uint64_t now, const struct checker_host *host)
{
	struct part_list list = TAILQ_HEAD_INITIALIZER(list);
	uint64_t drained;
	ssize_t n = read(c->fd, &drained, sizeof drained);
	(void)n; /* before the list is taken, so that no wake-up is lost */
	pthread_mutex_lock(&c->lock);
	TAILQ_CONCAT(&list, &c->done, link);
	pthread_mutex_unlock(&c->lock);
	struct part *p;
	while ((p = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, p, link);
		part_done(c, p, now, host);
	}
}
