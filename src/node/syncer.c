#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/debug.h"
#include "node/node.h"
#include "node/syncer.h"

struct syncer {
	struct store *store;
	struct histogram *latency;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	uint64_t wanted, done;
	int err;
	bool stop;
	int fd;
};

static void *run(void *arg)
{
	struct syncer *s = arg;
	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!s->stop && (s->wanted == s->done || s->err != ERR_NONE))
			pthread_cond_wait(&s->work, &s->lock);
		if (s->wanted == s->done || s->err != ERR_NONE)
			break; /* only reached to stop */
		uint64_t target = s->wanted;
		pthread_mutex_unlock(&s->lock);
		uint64_t begin = node_clock_us();
		debug_before_sync();
		int err = store_sync(s->store);
		histogram_add(s->latency, node_clock_us() - begin);
		pthread_mutex_lock(&s->lock);
		if (err == ERR_NONE)
			s->done = target;
		else
			s->err = err;
		uint64_t one = 1;
		ssize_t n = write(s->fd, &one, sizeof one);
		(void)n; /* a counter that is full is readable already */
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

struct syncer *syncer_start(struct store *store, struct histogram *latency)
{
	struct syncer *s = mem_zalloc(sizeof *s);
	s->store = store;
	s->latency = latency;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->work, NULL);
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	invariant(s->fd >= 0);
	invariant(pthread_create(&s->thread, NULL, run, s) == 0);
	return s;
}

void syncer_stop(struct syncer *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	close(s->fd);
	pthread_cond_destroy(&s->work);
	pthread_mutex_destroy(&s->lock);
	mem_free(s);
}

void syncer_request(struct syncer *s, uint64_t seq)
{
	pthread_mutex_lock(&s->lock);
	invariant(seq >= s->wanted);
	s->wanted = seq;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
}

int syncer_fd(const struct syncer *s)
{
	return s->fd;
}

uint64_t syncer_done(struct syncer *s, int *err)
{
	uint64_t drained;
	ssize_t n = read(s->fd, &drained, sizeof drained);
	(void)n;
	pthread_mutex_lock(&s->lock);
	uint64_t done = s->done;
	*err = s->err;
	pthread_mutex_unlock(&s->lock);
	return done;
}
