#include "tools/cli/linear.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define ASK_MS 1500

struct asking {
	pthread_mutex_t lock;
	uint64_t height[VALIDATORS_MAX];
	unsigned answers;
	const char *unauthorized; /* URL of one that refused us, or NULL */
	uint64_t patience_ms;
	const struct chain_ctx *ctx;
};

static int descending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

bool linear_bound(const struct quorum *q, uint64_t *height, unsigned answers, uint64_t *out)
{
	if (answers < q->qv || q->q + answers <= q->n + q->f)
		return false;
	qsort(height, answers, sizeof *height, descending);
	*out = height[q->q + answers - q->n - q->f - 1];
	return true;
}

static bool ask(void *arg, struct link *l, size_t i)
{
	struct asking *a = arg;
	uint8_t chain[HASH_SIZE];
	uint64_t height;

	if (link_call(l, (unsigned)i, "GET", "/v1/status", NULL, slice_of(NULL, 0),
		      a->patience_ms) != ERR_NONE)
		return true;
	if (l->reply.status == 401) {
		pthread_mutex_lock(&a->lock);
		a->unauthorized = l->t->url[i];
		pthread_mutex_unlock(&a->lock);
	}
	if (l->reply.status != 200 || json_read_u64(l->answer, "height", &height) != ERR_NONE ||
	    json_read_hex(l->answer, "chain_id", chain, sizeof chain) != ERR_NONE ||
	    memcmp(chain, a->ctx->id.b, sizeof chain) != 0)
		return true;
	pthread_mutex_lock(&a->lock);
	a->height[a->answers++] = height;
	pthread_mutex_unlock(&a->lock);
	return true;
}

int linear_height(struct link *l, uint64_t *out)
{
	struct target *t = l->t;
	const struct quorum *q = &t->ctx.quorum;
	struct asking a = {.ctx = &t->ctx, .patience_ms = ASK_MS};

	if (t->count != q->n)
		return cli_usage(t->c,
				 "--linearizable asks a quorum: it needs --home DIR with the "
				 "addresses of all %u validators",
				 q->n);
	if (cli_time_left(t->c) < a.patience_ms)
		a.patience_ms = cli_time_left(t->c);
	pthread_mutex_init(&a.lock, NULL);
	each_in_parallel(t, t->count, t->count, ask, &a);
	pthread_mutex_destroy(&a.lock);
	if (interrupted())
		return cli_fail(t->c, EXIT_INTERRUPTED, "interrupted", NULL, "interrupted");
	if (linear_bound(q, a.height, a.answers, out))
		return EXIT_DONE;
	if (a.unauthorized != NULL)
		return unauthorized_fail(t->c, a.unauthorized);
	return cli_fail(t->c, EXIT_UNREACHABLE, "no_quorum",
			"Without --linearizable one node's answer does. `ostrakon doctor` "
			"says what is wrong.",
			"%u of %u validators answer, and %u are needed", a.answers, q->n,
			q->qv);
}
