/* links TARGET-PORT...
 *
 * Relays TCP on 127.0.0.1, one link for each target. Prints the ports it listens on, one a
 *line, in the order of the targets, then obeys lines on standard input, LINK counted from 0:
 *
 *	pass LINK	everything goes through at once, also what was held back
 *	cut LINK	connections are closed, new ones too
 *	stall LINK	nothing goes through, nothing is lost
 *	half LINK	the same for what comes from the side that connects
 *	slow LINK MS	each way takes so much longer
 *
 * Answers each with "ok". Ends when standard input does, so it never outlives who started it.
*/
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINKS_MAX  128
#define PAIRS_MAX  16 /* of a link, at a time */
#define CHUNK	   16384
#define CHUNKS_MAX 64 /* held of a direction; beyond, the sender waits */

struct chunk {
	uint64_t due; /* milliseconds */
	size_t at, len;
	char bytes[CHUNK];
};
struct direction { /* a ring */
	struct chunk *chunk[CHUNKS_MAX];
	unsigned first, count;
};
struct pair {
	int fd[2]; /* who connected; the target. -1: none */
	struct direction from[2];
};
enum mode { PASS, CUT, STALL, HALF };
struct link {
	int listener;
	uint16_t target;
	enum mode mode;
	unsigned delay;
	struct pair pair[PAIRS_MAX];
};

static struct link link_of[LINKS_MAX];
static unsigned link_count;

static uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static bool link_open(struct link *l, uint16_t target)
{
	struct sockaddr_in a = loopback(0);
	socklen_t size = sizeof a;
	l->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	l->target = target;
	for (unsigned i = 0; i < PAIRS_MAX; i++)
		l->pair[i].fd[0] = l->pair[i].fd[1] = -1;
	if (bind(l->listener, (struct sockaddr *)&a, sizeof a) != 0 ||
	    listen(l->listener, 16) != 0)
		return false;
	getsockname(l->listener, (struct sockaddr *)&a, &size);
	printf("%u\n", (unsigned)ntohs(a.sin_port));
	return true;
}

static void pair_close(struct pair *p)
{
	for (int side = 0; side < 2; side++) {
		struct direction *d = &p->from[side];
		close(p->fd[side]);
		p->fd[side] = -1;
		while (d->count > 0) {
			free(d->chunk[d->first]);
			d->first = (d->first + 1) % CHUNKS_MAX;
			d->count--;
		}
	}
}

static void accept_one(struct link *l)
{
	struct sockaddr_in to = loopback(l->target);
	int in = accept4(l->listener, NULL, NULL, SOCK_CLOEXEC), on = 1, out;
	unsigned i = 0;
	if (in < 0)
		return;
	out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	while (i < PAIRS_MAX && l->pair[i].fd[0] >= 0)
		i++;
	/* Loopback: it is taken or refused at once. */
	if (i == PAIRS_MAX || l->mode == CUT || out < 0 ||
	    connect(out, (struct sockaddr *)&to, sizeof to) != 0) {
		close(in);
		close(out);
		return;
	}
	l->pair[i].fd[0] = in;
	l->pair[i].fd[1] = out;
	for (int side = 0; side < 2; side++) {
		fcntl(l->pair[i].fd[side], F_SETFL, O_NONBLOCK);
		setsockopt(l->pair[i].fd[side], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	}
}

static bool held_back(const struct link *l, int side)
{
	return l->mode == STALL || (l->mode == HALF && side == 0);
}

/* False: the connection has ended. */
static bool take_in(struct link *l, struct pair *p, int side)
{
	struct direction *d = &p->from[side];
	struct chunk *c;
	if (d->count == CHUNKS_MAX)
		return true;
	c = malloc(sizeof *c);
	if (c == NULL)
		die("malloc");
	ssize_t n = read(p->fd[side], c->bytes, CHUNK);
	if (n <= 0) {
		free(c);
		return n < 0 && errno == EAGAIN;
	}
	c->due = now_ms() + l->delay;
	c->at = 0;
	c->len = (size_t)n;
	d->chunk[(d->first + d->count++) % CHUNKS_MAX] = c;
	return true;
}

/* Sends on what is due. *wait: milliseconds until more is, if less than it was. */
static bool send_on(struct link *l, struct pair *p, int side, int *wait)
{
	struct direction *d = &p->from[side];
	while (d->count > 0 && !held_back(l, side)) {
		struct chunk *c = d->chunk[d->first];
		uint64_t now = now_ms();
		if (c->due > now) {
			if (*wait < 0 || (uint64_t)*wait > c->due - now)
				*wait = (int)(c->due - now);
			return true;
		}
		ssize_t n = send(p->fd[1 - side], c->bytes + c->at, c->len, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		c->at += (size_t)n;
		c->len -= (size_t)n;
		if (c->len > 0)
			return true;
		free(c);
		d->first = (d->first + 1) % CHUNKS_MAX;
		d->count--;
	}
	return true;
}

static void each_pair(int *wait)
{
	for (unsigned i = 0; i < link_count; i++)
		for (unsigned k = 0; k < PAIRS_MAX; k++) {
			struct link *l = &link_of[i];
			struct pair *p = &l->pair[k];
			if (p->fd[0] < 0)
				continue;
			bool ok = l->mode != CUT;
			for (int side = 0; side < 2 && ok; side++)
				ok = take_in(l, p, side) && send_on(l, p, side, wait);
			if (!ok)
				pair_close(p);
		}
}

static void obey(char *line)
{
	static const char *const modes[] = {"pass", "cut", "stall", "half"};
	char word[16];
	unsigned number, ms = 0;
	int fields = sscanf(line, "%15s %u %u", word, &number, &ms);
	if (fields < 2 || number >= link_count) {
		fprintf(stderr, "links: not a command: %s\n", line);
		exit(2);
	}
	struct link *l = &link_of[number];
	l->delay = strcmp(word, "slow") == 0 ? ms : 0;
	l->mode = PASS;
	for (unsigned m = 0; m < sizeof modes / sizeof *modes; m++)
		if (strcmp(word, modes[m]) == 0)
			l->mode = (enum mode)m;
	puts("ok");
	fflush(stdout);
}

/* False at the end. Lines are short and come whole, from a script. */
static bool commands(void)
{
	char text[1024], *save = NULL;
	ssize_t n = read(STDIN_FILENO, text, sizeof text - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		obey(line);
	return true;
}

static void watch(struct pollfd *p, unsigned *count, int fd, int events)
{
	p[(*count)++] = (struct pollfd){.fd = fd, .events = (short)events};
}

int main(int argc, char **argv)
{
	static struct pollfd polled[1 + LINKS_MAX * (1 + 2 * PAIRS_MAX)];
	if (argc < 2 || argc - 1 > LINKS_MAX)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++)
		if (!link_open(&link_of[link_count++], (uint16_t)atoi(argv[i])))
			die("links");
	fflush(stdout);
	for (;;) {
		unsigned count = 0;
		int wait = -1;
		each_pair(&wait);
		watch(polled, &count, STDIN_FILENO, POLLIN);
		for (unsigned i = 0; i < link_count; i++) {
			struct link *l = &link_of[i];
			watch(polled, &count, l->listener, POLLIN);
			for (unsigned k = 0; k < PAIRS_MAX; k++)
				for (int side = 0; side < 2 && l->pair[k].fd[0] >= 0; side++) {
					struct direction *in = &l->pair[k].from[side],
							 *out = &l->pair[k].from[1 - side];
					bool ready = out->count > 0 &&
						     !held_back(l, 1 - side) &&
						     out->chunk[out->first]->due <= now_ms();
					watch(polled, &count, l->pair[k].fd[side],
					      (in->count < CHUNKS_MAX ? POLLIN : 0) |
						      (ready ? POLLOUT : 0));
				}
		}
		if (poll(polled, count, wait) < 0 && errno != EINTR)
			die("poll");
		if (polled[0].revents && !commands())
			return 0;
		unsigned at = 1;
		for (unsigned i = 0; i < link_count; i++) {
			while (polled[at].fd != link_of[i].listener)
				at++;
			if (polled[at].revents)
				accept_one(&link_of[i]);
		}
	}
}
