#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/request.h"

void request_init(struct request *r, enum request_kind kind)
{
	*r = (struct request){.kind = kind};
	writer_init(&r->value, 0);
}

void request_free(struct request *r)
{
	mem_free((void *)r->key.ptr);
	for (uint32_t i = 0; i < r->outcome_count; i++) {
		finality_drop(r->outcomes[i].finality);
		if (r->outcomes[i].doc)
			proof_document_free(r->outcomes[i].doc);
		mem_free(r->outcomes[i].doc);
	}
	mem_free(r->outcomes);
	json_free(r->json);
	for (uint32_t i = 0; i < r->block_count; i++)
		block_drop(r->blocks[i].block);
	mem_free(r->blocks);
	writer_free(&r->value);
	if (r->doc)
		proof_document_free(r->doc);
	mem_free(r->doc);
	for (uint32_t i = 0; i < r->evidence_count; i++)
		mem_free((void *)r->evidence[i].ptr);
	mem_free(r->evidence);
}

struct inbox {
	pthread_mutex_t lock;
	struct request_list list;
	uint32_t count;
	size_t bytes;
	bool closed;
	int fd;
};

struct inbox *inbox_new(void)
{
	struct inbox *q = mem_zalloc(sizeof *q);
	pthread_mutex_init(&q->lock, NULL);
	TAILQ_INIT(&q->list);
	q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	invariant(q->fd >= 0);
	return q;
}

void inbox_free(struct inbox *q)
{
	if (!q)
		return;
	invariant(TAILQ_EMPTY(&q->list));
	close(q->fd);
	pthread_mutex_destroy(&q->lock);
	mem_free(q);
}

int inbox_fd(const struct inbox *q)
{
	return q->fd;
}

bool inbox_push(struct inbox *q, struct request *r)
{
	pthread_mutex_lock(&q->lock);
	bool fits = !q->closed && q->count < INBOX_REQUESTS_MAX &&
		    q->bytes + r->bytes <= INBOX_BYTES_MAX;
	bool first = fits && TAILQ_EMPTY(&q->list);
	if (fits) {
		TAILQ_INSERT_TAIL(&q->list, r, link);
		q->count++;
		q->bytes += r->bytes;
	}
	pthread_mutex_unlock(&q->lock);
	if (first) { /* who takes, takes all: one wake-up is enough */
		uint64_t one = 1;
		ssize_t n = write(q->fd, &one, sizeof one);
		(void)n; /* a counter that is full is readable already */
	}
	return fits;
}

bool inbox_full(struct inbox *q)
{
	pthread_mutex_lock(&q->lock);
	bool full = q->count >= INBOX_REQUESTS_MAX || q->bytes >= INBOX_BYTES_MAX;
	pthread_mutex_unlock(&q->lock);
	return full;
}

bool inbox_closed(struct inbox *q)
{
	pthread_mutex_lock(&q->lock);
	bool closed = q->closed;
	pthread_mutex_unlock(&q->lock);
	return closed;
}

void inbox_take(struct inbox *q, struct request_list *list)
{
	uint64_t drained;
	ssize_t n = read(q->fd, &drained, sizeof drained);
	(void)n; /* before the list is taken, so that no wake-up is lost */
	pthread_mutex_lock(&q->lock);
	TAILQ_CONCAT(list, &q->list, link);
	q->count = 0;
	q->bytes = 0;
	pthread_mutex_unlock(&q->lock);
}

void inbox_close(struct inbox *q)
{
	pthread_mutex_lock(&q->lock);
	q->closed = true;
	pthread_mutex_unlock(&q->lock);
}
