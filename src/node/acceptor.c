#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/acceptor.h"

#define NO_ROOM_MS    20 /* until the next try */
#define NO_ROOM_TRIES 10 /* in a row are worth a word */

struct acceptor {
	struct MHD_Daemon *daemon;
	pthread_t thread;
	int listening, stop;
	struct acceptor_host host;
};

/* False: the connection that came stays in the queue, there is no room for it. */
static bool accept_one(struct acceptor *a)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	int fd;

	if (!a->host.room(a->host.ctx))
		return false;
	fd = accept4(a->listening, (struct sockaddr *)&from, &len,
		     SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		a->host.refused(a->host.ctx);
		return errno != EMFILE && errno != ENFILE && errno != ENOBUFS &&
		       errno != ENOMEM;
	}
	/* It takes the thread from the number of the descriptor, which is the lowest that is
	 * free; and it closes what it refuses. */
	if (MHD_add_connection(a->daemon, fd, (struct sockaddr *)&from, len) != MHD_YES) {
		a->host.refused(a->host.ctx);
		log_limited(LOG_API, LOG_DEBUG, "a connection was refused");
	}
	return true;
}

static void *run(void *arg)
{
	struct acceptor *a = arg;
	bool room = true;
	unsigned tries = 0;

	for (;;) {
		struct pollfd fds[] = {{.fd = a->stop, .events = POLLIN},
				       {.fd = room ? a->listening : -1, .events = POLLIN}};
		int ready = poll(fds, MEM_COUNT(fds), room ? -1 : NO_ROOM_MS);
		invariant(ready >= 0 || errno == EINTR);
		if (ready > 0 && fds[0].revents)
			return NULL;
		tries = room ? 0 : tries + 1;
		if (tries >= NO_ROOM_TRIES)
			log_limited(LOG_API, LOG_WARN,
				    "no room for another connection to the API: those that "
				    "are there, files or memory are at their limit");
		room = accept_one(a);
	}
}

struct acceptor *acceptor_start(struct MHD_Daemon *daemon, int fd,
				const struct acceptor_host *host)
{
	struct acceptor *a = mem_zalloc(sizeof *a);

	a->daemon = daemon;
	a->listening = fd;
	a->host = *host;
	a->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	invariant(a->stop >= 0);
	if (pthread_create(&a->thread, NULL, run, a) == 0)
		return a;
	close(a->stop);
	mem_free(a);
	return NULL;
}

void acceptor_stop(struct acceptor *a)
{
	const uint64_t one = 1;
	ssize_t n = write(a->stop, &one, sizeof one);

	invariant(n == sizeof one);
	pthread_join(a->thread, NULL);
	close(a->listening);
	close(a->stop);
	mem_free(a);
}
