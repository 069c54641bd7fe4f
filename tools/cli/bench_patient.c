/* What the fast way could not settle: submit() with all its patience, in threads, which are
 * started as they are needed. */
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/cli/bench.h"
#include "tools/cli/cli.h"

struct patient {
	struct target *t;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct patient_job *todo, **todo_end, *done;
	unsigned threads, threads_max, idle, waiting;
	pthread_t *thread;
	bool stop;
	int fd;
};

struct patient *patient_new(struct target *t, unsigned threads_max)
{
	struct patient *p = mem_zalloc(sizeof *p);

	p->t = t;
	p->threads_max = threads_max;
	p->thread = mem_array(threads_max, sizeof *p->thread);
	p->todo_end = &p->todo;
	p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	invariant(p->fd >= 0);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	return p;
}

void patient_free(struct patient *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->threads; i++)
		pthread_join(p->thread[i], NULL);
	invariant(p->todo == NULL && p->done == NULL);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	close(p->fd);
	mem_free(p->thread);
	mem_free(p);
}

int patient_fd(const struct patient *p)
{
	return p->fd;
}

static void *run(void *arg)
{
	struct patient *p = arg;
	struct patient_job *j;
	uint64_t one = 1;
	struct link l;

	pthread_mutex_lock(&p->lock);
	link_open(&l, p->t, p->threads);
	while (!p->stop || p->todo != NULL) {
		j = p->todo;
		if (j == NULL) {
			p->idle++;
			pthread_cond_wait(&p->work, &p->lock);
			p->idle--;
			continue;
		}
		p->waiting--;
		p->todo = j->next;
		if (p->todo == NULL)
			p->todo_end = &p->todo;
		pthread_mutex_unlock(&p->lock);
		submit(&l, j->s, j->count, j->deadline, true, false);
		pthread_mutex_lock(&p->lock);
		j->next = p->done;
		p->done = j;
		if (write(p->fd, &one, sizeof one) < 0)
			continue; /* a counter that is full is readable already */
	}
	pthread_mutex_unlock(&p->lock);
	link_close(&l);
	return NULL;
}

void patient_give(struct patient *p, const struct bench *b, const size_t *index, size_t count,
		  bool maybe_sent, uint64_t deadline)
{
	struct patient_job *j = mem_zalloc(sizeof *j);

	j->count = count;
	j->index = mem_dup(index, count * sizeof *index);
	j->s = mem_zalloc(count * sizeof *j->s);
	for (size_t k = 0; k < count; k++) {
		j->s[k].tx = b->tx[index[k]].bytes;
		j->s[k].maybe_sent = maybe_sent;
	}
	j->begun = now_us();
	j->deadline = deadline;
	pthread_mutex_lock(&p->lock);
	*p->todo_end = j;
	p->todo_end = &j->next;
	if (++p->waiting > p->idle && p->threads < p->threads_max &&
	    pthread_create(&p->thread[p->threads], NULL, run, p) == 0)
		p->threads++;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	invariant(p->threads > 0); /* without one thread there is no going on */
}

struct patient_job *patient_take(struct patient *p)
{
	struct patient_job *j;
	uint64_t drained;

	pthread_mutex_lock(&p->lock);
	j = p->done;
	if (j != NULL)
		p->done = j->next;
	else if (read(p->fd, &drained, sizeof drained) < 0)
		j = NULL; /* it was empty */
	pthread_mutex_unlock(&p->lock);
	return j;
}

void patient_job_free(struct patient_job *j)
{
	mem_free(j->index);
	mem_free(j->s);
	mem_free(j);
}
