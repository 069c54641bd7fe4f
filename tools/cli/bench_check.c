/* After the run: is all that was acknowledged in the chain, at the place that was said? Reads
 * the blocks again, each from the next node in turn, so that all of them are asked. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/cli/bench.h"
#include "tools/cli/cli.h"

#define CHECK_THREADS 4
#define CATCH_UP_MS   5000 /* a node that is behind is waited for */

struct check {
	struct bench *b;
	size_t *order; /* of the acknowledged, by height */
	size_t count;
	size_t *first; /* into order: of each block; count + 1 of them at most */
	size_t blocks;
	pthread_mutex_t lock;
	bool waited; /* for a block, in vain: the others are asked for once, of each node */
};

static const struct bench *sorted; /* qsort() has no argument for it */

static int by_height(const void *a, const void *b)
{
	const struct bench_tx *x = &sorted->tx[*(const size_t *)a],
			      *y = &sorted->tx[*(const size_t *)b];

	return x->height < y->height ? -1 : x->height > y->height;
}

static bool holds(const struct json *txs, const struct bench_tx *tx)
{
	char hex[HASH_HEX_SIZE];
	const char *text;

	return tx->index < json_len(txs) &&
	       json_read_string(json_at(txs, tx->index), "tx", &text) == ERR_NONE &&
	       strcmp(text, hash_hex(hex, &tx->id)) == 0;
}

/* The block with its transactions, from a node that has it; NULL: nobody gave it, and maybe nobody
 * even answered. */
static const struct json *fetch(struct link *l, uint64_t height, bool waits, bool *answered)
{
	uint64_t until = waits ? now_ms() + CATCH_UP_MS : 0;
	const struct json *txs;
	char path[64];

	*answered = false;
	snprintf(path, sizeof path, "/v1/blocks/%llu", (unsigned long long)height);
	for (unsigned asked = 1;; asked++) {
		l->deadline = now_ms() + CATCH_UP_MS;
		if (link_get(l, path) == ERR_NONE) {
			*answered = true;
			txs = l->reply.status == 200 ? json_get(l->answer, "transactions")
						     : NULL;
			if (txs != NULL)
				return txs;
		}
		if (interrupted() || (asked >= l->t->count && now_ms() > until))
			return NULL;
		l->node = (l->node + 1) % l->t->count;
		sleep_ms(50);
	}
}

static bool check_block(void *arg, struct link *l, size_t i)
{
	struct check *c = arg;
	struct bench *b = c->b;
	size_t from = c->first[i], to = c->first[i + 1], missing = 0;
	const struct json *txs;
	bool waits, answered;

	pthread_mutex_lock(&c->lock);
	waits = !c->waited;
	pthread_mutex_unlock(&c->lock);
	l->node = (unsigned)(i % l->t->count);
	txs = fetch(l, b->tx[c->order[from]].height, waits, &answered);
	for (size_t k = from; txs != NULL && k < to; k++)
		missing += !holds(txs, &b->tx[c->order[k]]);
	pthread_mutex_lock(&c->lock);
	if (txs == NULL)
		c->waited = true;
	else
		b->checked += to - from;
	b->missing += missing;
	pthread_mutex_unlock(&c->lock);
	return answered; /* nobody there: nor for the rest */
}

void bench_check(struct bench *b)
{
	struct check c = {.b = b};

	c.order = mem_array(b->count + 1, sizeof *c.order);
	for (size_t i = 0; i < b->next; i++)
		if (b->tx[i].height > 0)
			c.order[c.count++] = i;
	sorted = b;
	qsort(c.order, c.count, sizeof *c.order, by_height);
	c.first = mem_array(c.count + 1, sizeof *c.first);
	for (size_t i = 0; i < c.count; i++)
		if (i == 0 || b->tx[c.order[i]].height != b->tx[c.order[i - 1]].height)
			c.first[c.blocks++] = i;
	c.first[c.blocks] = c.count;
	pthread_mutex_init(&c.lock, NULL);
	each_in_parallel(b->t, c.blocks, CHECK_THREADS, check_block, &c);
	b->unchecked = c.count - b->checked;
	pthread_mutex_destroy(&c.lock);
	mem_free(c.first);
	mem_free(c.order);
}
