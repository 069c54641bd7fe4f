/* A lot is a message or a block. Its transactions are checked in parts, so that threads share a
 * large one. What is in a part of another lot already is not checked twice: it waits for that
 * part. */
#include "node/checker.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"
#include "ledger/tx.h"

#define PART_TXS 16
/* Microseconds in which its sender is not listened to. The first as in forward.c, the second is
 * some sixteen times what it costs to check one. */
#define FALSE_TX_PAID  5000
#define EXCESS_TX_PAID 1000

enum part_state { PART_WAITS, PART_TAKEN, PART_SKIPPED };

struct part {
	TAILQ_ENTRY(part) link;
	struct lot *lot;
	uint32_t first, count;
	/* under the lock */
	enum part_state state;
	bool wanted; /* others wait for it */
	bool urgent;
	/* the loop's */
	struct lot **waiting;
	uint32_t waiting_count, waiting_cap;
};
TAILQ_HEAD(part_list, part);

struct lot {
	TAILQ_ENTRY(lot) link;
	unsigned from;
	uint8_t *message; /* NULL: a block's */
	size_t message_len;
	struct block *block;
	struct pool_tx *txs;
	bool *good;
	uint32_t count;
	struct part *parts;
	uint32_t part_count;
	uint32_t needs; /* parts, its own and others', that are not done */
	bool spoiled;	/* a part of its own had false ones, or was skipped */
};
TAILQ_HEAD(lot_list, lot);

struct checker {
	const struct chain_ctx *ctx;
	const struct genesis_limits *limits;
	pthread_t *thread;
	unsigned threads;
	int fd;
	/* the loop's */
	struct map in_work; /* id -> part */
	struct lot_list lots;
	unsigned blocks;
	size_t bytes[VALIDATORS_MAX]; /* of each peer's messages */
	uint64_t paid[VALIDATORS_MAX];
	uint64_t excess_paid[VALIDATORS_MAX];
	uint64_t worthless_paid[VALIDATORS_MAX];
	/* shared */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct part_list urgent, done;
	struct part_list plain[VALIDATORS_MAX]; /* of each peer's messages: they take turns */
	uint64_t plain_peers;			/* those with any */
	unsigned turn;
	uint64_t shunned; /* peers who brought false ones: what nobody else wants is skipped */
	unsigned idle;
	bool stop;
};
_Static_assert(VALIDATORS_MAX <= 64, "a bit for each");

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

static bool is_skipped(const struct checker *c, const struct part *p)
{
	return p->lot->message && !p->wanted && c->shunned >> p->lot->from & 1;
}

static void add_plain(struct checker *c, struct part *p)
{
	TAILQ_INSERT_TAIL(&c->plain[p->lot->from], p, link);
	c->plain_peers |= UINT64_C(1) << p->lot->from;
}

static void remove_plain(struct checker *c, struct part *p)
{
	unsigned from = p->lot->from;
	TAILQ_REMOVE(&c->plain[from], p, link);
	if (TAILQ_EMPTY(&c->plain[from]))
		c->plain_peers &= ~(UINT64_C(1) << from);
}

/* Whoever brings much, good or false, holds up nobody else. NULL: there is nothing to do. */
static struct part *take_part(struct checker *c)
{
	struct part *p = TAILQ_FIRST(&c->urgent);
	if (p) {
		TAILQ_REMOVE(&c->urgent, p, link);
		return p;
	}
	if (!c->plain_peers)
		return NULL;
	uint64_t later = c->plain_peers & UINT64_MAX << c->turn;
	unsigned from = (unsigned)__builtin_ctzll(later ? later : c->plain_peers);
	c->turn = (from + 1) % 64;
	p = TAILQ_FIRST(&c->plain[from]);
	remove_plain(c, p);
	return p;
}

static void *run(void *arg)
{
	struct checker *c = arg;
	pthread_mutex_lock(&c->lock);
	for (;;) {
		struct part *p = NULL;
		while (!c->stop && !(p = take_part(c))) {
			c->idle++;
			pthread_cond_wait(&c->work, &c->lock);
			c->idle--;
		}
		if (c->stop) /* what was taken is its lot's still */
			break;
		p->state = is_skipped(c, p) ? PART_SKIPPED : PART_TAKEN;
		if (p->state == PART_TAKEN) {
			pthread_mutex_unlock(&c->lock);
			check_part(c, p);
			pthread_mutex_lock(&c->lock);
		}
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
	TAILQ_INIT(&c->lots);
	TAILQ_INIT(&c->urgent);
	TAILQ_INIT(&c->done);
	for (unsigned i = 0; i < VALIDATORS_MAX; i++)
		TAILQ_INIT(&c->plain[i]);
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

static void lot_free(struct checker *c, struct lot *l)
{
	TAILQ_REMOVE(&c->lots, l, link);
	block_drop(l->block);
	for (uint32_t i = 0; i < l->part_count; i++)
		mem_free(l->parts[i].waiting);
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
	for (struct lot *l; (l = TAILQ_FIRST(&c->lots)) != NULL;)
		lot_free(c, l);
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

static struct lot *lot_new(struct checker *c, uint32_t count)
{
	struct lot *l = mem_zalloc(sizeof *l);
	l->txs = mem_array(count, sizeof *l->txs);
	TAILQ_INSERT_TAIL(&c->lots, l, link);
	return l;
}

/* l comes back when p is done, too. */
static void wait_for(struct checker *c, struct lot *l, struct part *p)
{
	if (p->waiting_count && p->waiting[p->waiting_count - 1] == l)
		return; /* for the one before in the same part */
	if (p->waiting_count == p->waiting_cap) {
		p->waiting_cap = p->waiting_cap ? 2 * p->waiting_cap : 4;
		p->waiting = mem_realloc(p->waiting, p->waiting_cap * sizeof(struct lot *));
	}
	p->waiting[p->waiting_count++] = l;
	l->needs++;
	pthread_mutex_lock(&c->lock);
	p->wanted = true;
	if (l->block && !p->urgent && p->state == PART_WAITS) {
		p->urgent = true;
		remove_plain(c, p);
		TAILQ_INSERT_TAIL(&c->urgent, p, link);
	}
	pthread_mutex_unlock(&c->lock);
}

static void lot_begin(struct checker *c, struct lot *l)
{
	l->good = mem_array(l->count, sizeof *l->good);
	l->part_count = (l->count + PART_TXS - 1) / PART_TXS;
	l->parts = mem_array(l->part_count, sizeof *l->parts);
	l->needs += l->part_count;
	for (uint32_t i = 0; i < l->count; i++)
		map_put(&c->in_work, l->txs[i].id.b, &l->parts[i / PART_TXS]);
	pthread_mutex_lock(&c->lock);
	if (l->message) /* it has paid for what was false before */
		c->shunned &= ~(UINT64_C(1) << l->from);
	for (uint32_t i = 0; i < l->part_count; i++) {
		struct part *p = &l->parts[i];
		p->lot = l;
		p->first = i * PART_TXS;
		p->count = l->count - p->first < PART_TXS ? l->count - p->first : PART_TXS;
		p->urgent = l->block != NULL;
		if (p->urgent)
			TAILQ_INSERT_TAIL(&c->urgent, p, link);
		else
			add_plain(c, p);
	}
	unsigned wake = c->idle < l->part_count ? c->idle : l->part_count;
	for (unsigned i = 0; i < wake; i++)
		pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
}

bool checker_hears(const struct checker *c, uint64_t now, unsigned from)
{
	return from >= VALIDATORS_MAX ||
	       (c->paid[from] <= now && c->worthless_paid[from] <= now + CHECKER_CREDIT_US);
}

void checker_charge(struct checker *c, uint64_t now, unsigned from, uint32_t worthless)
{
	invariant(from < VALIDATORS_MAX);
	uint64_t *paid = &c->worthless_paid[from];
	*paid = (*paid > now ? *paid : now) + CHECKER_WORTHLESS_US * (uint64_t)worthless;
}

bool checker_has_some(const struct checker *c, const struct pool_tx *txs, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (map_get(&c->in_work, txs[i].id.b))
			return true;
	return false;
}

bool checker_message(struct checker *c, uint64_t now, unsigned from, struct slice message,
		     const struct pool_tx *txs, uint32_t count)
{
	invariant(from < VALIDATORS_MAX && count > 0);
	if (c->bytes[from] + message.len > CHECKER_BYTES_MAX) {
		bool dropped = c->excess_paid[from] > now;
		if (!dropped)
			c->excess_paid[from] = now + EXCESS_TX_PAID * (uint64_t)count;
		return dropped;
	}
	struct lot *l = lot_new(c, count);
	l->from = from;
	l->message = mem_dup(message.ptr, message.len);
	l->message_len = message.len;
	for (uint32_t i = 0; i < count; i++) {
		struct part *in_work = map_get(&c->in_work, txs[i].id.b);
		if (in_work) {
			wait_for(c, l, in_work);
			continue;
		}
		size_t at = (size_t)(txs[i].bytes.ptr - message.ptr);
		invariant(at + txs[i].bytes.len <= message.len);
		l->txs[l->count++] = (struct pool_tx){
			.id = txs[i].id, .bytes = slice_of(l->message + at, txs[i].bytes.len)};
	}
	c->bytes[from] += message.len;
	lot_begin(c, l);
	return true;
}

bool checker_block(struct checker *c, struct block *b, const struct pool_tx *txs,
		   uint32_t count)
{
	invariant(count > 0);
	if (c->blocks == CHECKER_BLOCKS_MAX)
		return false;
	c->blocks++;
	struct lot *l = lot_new(c, count);
	l->block = block_hold(b);
	for (uint32_t i = 0; i < count; i++) {
		struct part *in_work = map_get(&c->in_work, txs[i].id.b);
		if (in_work)
			wait_for(c, l, in_work);
		else
			l->txs[l->count++] = txs[i]; /* of the block's own bytes */
	}
	lot_begin(c, l);
	return true;
}

/* ---- what comes back --------------------------------------------------------------------- */

static void needs_less(struct checker *c, struct lot *l, const struct checker_host *host)
{
	if (--l->needs > 0)
		return;
	if (l->block) {
		c->blocks--;
		host->block(host->ctx, l->block);
	} else {
		c->bytes[l->from] -= l->message_len;
		host->message(host->ctx, l->from, slice_of(l->message, l->message_len),
			      l->spoiled);
	}
	lot_free(c, l);
}

static void was_false(struct checker *c, uint64_t now, unsigned from)
{
	uint64_t *paid = &c->paid[from];
	*paid = (*paid > now ? *paid : now) + FALSE_TX_PAID;
}

bool checker_now(struct checker *c, uint64_t now, unsigned from, const struct pool_tx *txs,
		 uint32_t count, const struct checker_host *host)
{
	invariant(from < VALIDATORS_MAX);
	for (uint32_t i = 0; i < count && c->paid[from] <= now; i++)
		if (is_good(c, txs[i].bytes))
			host->good(host->ctx, &txs[i].id);
		else
			was_false(c, now, from);
	return c->paid[from] <= now;
}

static void shun(struct checker *c, unsigned from)
{
	pthread_mutex_lock(&c->lock);
	c->shunned |= UINT64_C(1) << from;
	pthread_mutex_unlock(&c->lock);
}

static void part_done(struct checker *c, struct part *p, uint64_t now,
		      const struct checker_host *host)
{
	struct lot *l = p->lot;
	bool some_false = false;
	for (uint32_t i = p->first; i < p->first + p->count; i++) {
		if (map_get(&c->in_work, l->txs[i].id.b) == p)
			map_remove(&c->in_work, l->txs[i].id.b);
		if (l->good[i]) {
			host->good(host->ctx, &l->txs[i].id);
		} else if (l->message && p->state == PART_TAKEN) {
			was_false(c, now, l->from);
			some_false = true;
		}
	}
	l->spoiled |= some_false || p->state == PART_SKIPPED;
	if (some_false)
		shun(c, l->from);
	/* From here on nobody finds p; its lot, and p with it, may end with the last line. */
	for (uint32_t i = 0; i < p->waiting_count; i++)
		needs_less(c, p->waiting[i], host);
	needs_less(c, l, host);
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
	for (struct part *p; (p = TAILQ_FIRST(&list)) != NULL;) {
		TAILQ_REMOVE(&list, p, link);
		part_done(c, p, now, host);
	}
}
