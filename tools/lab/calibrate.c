#include "tools/lab/calibrate.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/hash.h"
#include "crypto/sign.h"

#define SYNCS	  31
#define TRIPS	  101
#define BATCH	  16
#define SIGN_MS	  60
#define VERIFY_MS 100
#define HASHES	  1000
#define HASHED	  4096

static double ms_of(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double now_ms(void)
{
	return ms_of(CLOCK_MONOTONIC);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *of, unsigned count)
{
	qsort(of, count, sizeof *of, ascending);
	return count ? of[count / 2] : 0;
}

/* ---- signatures -------------------------------------------------------------------------- */

struct signing {
	struct keypair key;
	struct signature sig;
	struct hash chain;
	uint8_t message[128];
};

static bool sign_once(struct signing *s)
{
	sig_make(SIG_ED25519, &s->sig, &s->key, SIG_TAG_TX, &s->chain,
		 slice_of(s->message, sizeof s->message));
	return true;
}

static bool verify_once(struct signing *s)
{
	return sig_check(SIG_ED25519, &s->sig, &s->key.pub, SIG_TAG_TX, &s->chain,
			 slice_of(s->message, sizeof s->message)) == ERR_NONE;
}

static double per_second(struct signing *s, bool (*once)(struct signing *), double ms)
{
	double begin = now_ms(), took;
	unsigned done = 0;
	do {
		for (unsigned i = 0; i < BATCH; i++, done++)
			invariant(once(s));
		took = now_ms() - begin;
	} while (took < ms);
	return done / took * 1e3;
}

double calibrate_sha256(void)
{
	uint8_t message[HASHED] = {0};
	double begin = ms_of(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned i = 0; i < HASHES; i++) {
		struct hash h;
		sha256(&h, message, sizeof message);
		memcpy(message, h.b, HASH_SIZE); /* each waits for the one before */
	}
	double took = ms_of(CLOCK_THREAD_CPUTIME_ID) - begin;
	return (double)HASHES * (HASHED / 64 + 1) / took * 1e3; /* and one of padding */
}

/* ---- disk -------------------------------------------------------------------------------- */

static double sync_ms(const char *directory)
{
	static const char page[4096];
	double took[SYNCS];
	unsigned done = 0;
	char *path = mem_printf("%s/calibrate-%ld", directory, (long)getpid());
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	unlink(path);
	mem_free(path);
	for (; fd >= 0 && done < SYNCS; done++) {
		double begin = now_ms();
		if (write(fd, page, sizeof page) != sizeof page || fdatasync(fd) != 0)
			break;
		took[done] = now_ms() - begin;
	}
	if (fd >= 0)
		close(fd);
	return median(took, done);
}

/* ---- loopback ---------------------------------------------------------------------------- */

static void *echo(void *arg)
{
	int fd = *(int *)arg;
	char byte;
	while (recv(fd, &byte, 1, 0) == 1 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1)
		;
	return NULL;
}

/* Two ends of a TCP connection on 127.0.0.1. */
static bool connected(int fd[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fd[1] = -1;
	if (listener >= 0 && bind(listener, (struct sockaddr *)&a, sizeof a) == 0 &&
	    listen(listener, 1) == 0 &&
	    getsockname(listener, (struct sockaddr *)&a, &size) == 0 &&
	    connect(fd[0], (struct sockaddr *)&a, sizeof a) == 0)
		fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	for (unsigned i = 0; i < 2 && fd[1] >= 0; i++)
		setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (listener >= 0)
		close(listener);
	return fd[1] >= 0;
}

static double rtt_ms(void)
{
	double took[TRIPS];
	unsigned done = 0;
	pthread_t thread;
	int fd[2];
	bool there = connected(fd);
	if (there && pthread_create(&thread, NULL, echo, &fd[1]) == 0) {
		for (char byte = 0; done < TRIPS; done++) {
			double begin = now_ms();
			if (send(fd[0], &byte, 1, MSG_NOSIGNAL) != 1 ||
			    recv(fd[0], &byte, 1, 0) != 1)
				break;
			took[done] = now_ms() - begin;
		}
		shutdown(fd[0], SHUT_RDWR);
		pthread_join(thread, NULL);
	}
	for (unsigned i = 0; i < 2; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	return median(took, done);
}

void calibrate(const char *directory, struct calibration *out)
{
	struct signing s = {.chain = {{1}}};
	uint8_t seed[32] = {1};
	keypair_from_seed(&s.key, seed);
	*out = (struct calibration){0};
	if (getloadavg(&out->load, 1) != 1)
		out->load = 0;
	out->sign_per_s = per_second(&s, sign_once, SIGN_MS);
	out->verify_per_s = per_second(&s, verify_once, VERIFY_MS);
	out->fdatasync_ms = sync_ms(directory);
	out->loopback_rtt_ms = rtt_ms();
}

struct json *calibration_json(const struct calibration *c)
{
	const struct {
		const char *name;
		double value;
	} members[] = {{"sign_per_s", c->sign_per_s},
		       {"verify_per_s", c->verify_per_s},
		       {"fdatasync_ms", c->fdatasync_ms},
		       {"loopback_rtt_ms", c->loopback_rtt_ms}};
	struct json *o = json_object();
	for (unsigned i = 0; i < MEM_COUNT(members); i++)
		json_set(o, members[i].name,
			 members[i].value > 0 ? json_real(members[i].value) : json_null());
	json_set(o, "load", json_real(c->load));
	return o;
}
