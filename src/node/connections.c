#include "node/connections.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "crypto/sign.h"
#include "node/node.h"

#define SWEEP_MS	  50
#define TRIM_CONNECTIONS  64
#define TRIM_MS		  5000
#define TRIMS		  12 /* after a crowd */
#define SEND_BUFFER_BYTES (128 << 10)

struct address {
	uint8_t key[32]; /* family and bytes, IPv6 cut to its /64 */
	bool local;
	unsigned count;
};

struct connection {
	struct connections *owner;
	struct address *from;
	int fd;
	bool cut; /* shut down, not yet removed */
	enum connection_phase phase;
	uint64_t since; /* in this phase, or the last progress of a stream */
	size_t held[HOLDINGS]; /* as it is counted; written by the one thread that serves it */
	TAILQ_ENTRY(connection) link;
};

struct connections {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t sweeper;
	bool stop;
	struct connections_config config;
	struct map addresses;
	TAILQ_HEAD(, connection) list; /* oldest first */
	struct connections_stats stats;
	unsigned cut; /* of the open ones */
	unsigned expected;
	uint64_t expected_at; /* the last of them */
	size_t leaving[HOLDINGS]; /* of what is held: by those that are cut */
	unsigned peak;
	unsigned trims; /* how often memory is still to be given back */
};

static const char *const phase_names[CONNECTION_PHASES] = {"reading", "idle", "writing",
							   "working", "streaming"};

const char *connection_phase_name(enum connection_phase p)
{
	return phase_names[p];
}

static void make_address(struct address *a, const struct sockaddr *from)
{
	memset(a, 0, sizeof *a);
	if (!from)
		return;
	a->key[0] = (uint8_t)from->sa_family;
	if (from->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)from;
		memcpy(a->key + 1, &in->sin_addr, 4);
		a->local = a->key[1] == 127;
	} else if (from->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;
		bool mapped = IN6_IS_ADDR_V4MAPPED(&in->sin6_addr);
		memcpy(a->key + 1, &in->sin6_addr, mapped ? 16 : 8);
		a->local = IN6_IS_ADDR_LOOPBACK(&in->sin6_addr) ||
			   (mapped && in->sin6_addr.s6_addr[12] == 127);
	}
}

static uint64_t allowed_us(const struct connections *c, enum connection_phase p)
{
	switch (p) {
	case CONNECTION_READING:
		return 1000ull * c->config.request_ms;
	case CONNECTION_IDLE:
		return 1000ull * CONNECTION_IDLE_MS;
	case CONNECTION_WRITING:
		return 2000ull * c->config.request_ms;
	case CONNECTION_STREAMING:
		return 1000ull * CONNECTION_STREAM_MS;
	case CONNECTION_WORKING:
	case CONNECTION_PHASES:
		break;
	}
	return UINT64_MAX;
}

/* The lock is held. The API's thread sees the end of the connection and removes it. */
static void cut(struct connection *x)
{
	/* What it has not read is thrown away, or the kernel would keep it for minutes. */
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	x->cut = true;
	x->owner->cut++;
	for (int i = 0; i < HOLDINGS; i++)
		x->owner->leaving[i] += x->held[i];
	if (x->phase == CONNECTION_WRITING || x->phase == CONNECTION_STREAMING)
		setsockopt(x->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	shutdown(x->fd, SHUT_RDWR);
}

/* The lock is held. */
static void sweep(struct connections *c, uint64_t now)
{
	struct connection *x;
	TAILQ_FOREACH(x, &c->list, link)
	if (!x->cut && now > x->since && now - x->since > allowed_us(c, x->phase)) {
		c->stats.late++;
		cut(x);
	}
}

void connections_cut_idle(struct connections *c)
{
	struct connection *x;
	pthread_mutex_lock(&c->lock);
	TAILQ_FOREACH(x, &c->list, link)
	if (!x->cut && (x->phase == CONNECTION_READING || x->phase == CONNECTION_IDLE))
		cut(x);
	pthread_mutex_unlock(&c->lock);
}

static void *sweeper_main(void *arg)
{
	struct connections *c = arg;
	uint64_t trim_due = 0;
	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		if (TAILQ_EMPTY(&c->list) && c->trims == 0) {
			pthread_cond_wait(&c->wake, &c->lock);
			continue;
		}
		uint64_t now = node_clock_us(), until = now + 1000 * SWEEP_MS;
		sweep(c, now);
		if (c->trims && now >= trim_due) {
			c->trims--;
			trim_due = now + 1000 * TRIM_MS;
			pthread_mutex_unlock(&c->lock);
			malloc_trim(0); /* here, as it takes milliseconds */
			pthread_mutex_lock(&c->lock);
		}
		struct timespec t = {.tv_sec = (time_t)(until / 1000000),
				     .tv_nsec = (long)(until % 1000000) * 1000};
		while (!c->stop && pthread_cond_timedwait(&c->wake, &c->lock, &t) == 0)
			;
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

struct connections *connections_new(const struct connections_config *config)
{
	struct connections *c = mem_zalloc(sizeof *c);
	pthread_condattr_t attr;
	uint64_t seed;
	c->config = *config;
	if (c->config.request_ms == 0)
		c->config.request_ms = CONFIG_REQUEST_TIMEOUT_MS;
	if (c->config.grace_ms == 0)
		c->config.grace_ms = CONNECTION_GRACE_MS;
	if (c->config.per_address == 0 || c->config.per_address > c->config.max)
		c->config.per_address = c->config.max;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	pthread_condattr_destroy(&attr);
	crypto_random(&seed, sizeof seed);
	map_init(&c->addresses, seed);
	TAILQ_INIT(&c->list);
	invariant(pthread_create(&c->sweeper, NULL, sweeper_main, c) == 0);
	return c;
}

void connections_free(struct connections *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->sweeper, NULL);
	invariant(TAILQ_EMPTY(&c->list) && map_len(&c->addresses) == 0);
	map_free(&c->addresses);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	mem_free(c);
}

bool connections_admit(struct connections *c, const struct sockaddr *from)
{
	struct address key;
	make_address(&key, from);
	pthread_mutex_lock(&c->lock);
	const struct address *a = map_get(&c->addresses, key.key);
	bool fits = !a || a->local || a->count < c->config.per_address;
	c->stats.refused += !fits;
	pthread_mutex_unlock(&c->lock);
	return fits;
}

bool connections_expect(struct connections *c)
{
	uint64_t now = node_clock_us();
	pthread_mutex_lock(&c->lock);
	if (c->expected > 0 && now - c->expected_at > 1000ull * CONNECTION_EXPECTED_MS)
		c->expected = 0;
	bool fits = c->expected < CONNECTION_EXPECTED_MAX &&
		    c->stats.open + c->expected < c->config.max + c->config.spare;
	if (fits) {
		c->expected++;
		c->expected_at = now;
	}
	pthread_mutex_unlock(&c->lock);
	return fits;
}

void connections_expect_less(struct connections *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->expected > 0)
		c->expected--;
	pthread_mutex_unlock(&c->lock);
}

/* The lock is held. The list is in order of age, so that the first of equals is the oldest. */
static struct connection *choose_victim(struct connections *c,
					const struct connection *newcomer)
{
	struct connection *victim = NULL, *x;
	TAILQ_FOREACH(x, &c->list, link)
	{
		if (x == newcomer || x->cut || x->phase >= CONNECTION_WORKING)
			continue;
		if (!victim || x->from->count > victim->from->count ||
		    (x->from->count == victim->from->count && x->phase < victim->phase))
			victim = x;
	}
	return victim;
}

struct connection *connections_add(struct connections *c, int fd, const struct sockaddr *from)
{
	struct connection *x = mem_zalloc(sizeof *x);
	struct address key;
	/* Who does not read must not make us render more than this ahead. */
	int ahead = SEND_BUFFER_BYTES;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &ahead, sizeof ahead);
	make_address(&key, from);
	pthread_mutex_lock(&c->lock);
	struct address *a = map_get(&c->addresses, key.key);
	if (!a) {
		a = mem_dup(&key, sizeof key);
		map_put(&c->addresses, a->key, a);
	}
	a->count++;
	*x = (struct connection){.owner = c, .from = a, .fd = fd, .since = node_clock_us()};
	if (TAILQ_EMPTY(&c->list))
		pthread_cond_signal(&c->wake);
	TAILQ_INSERT_TAIL(&c->list, x, link);
	if (c->expected > 0)
		c->expected--;
	c->stats.open++;
	if (c->stats.open > c->peak)
		c->peak = c->stats.open;
	c->stats.accepted++;
	c->stats.phase[x->phase]++;
	if (c->stats.open - c->cut > c->config.max) {
		struct connection *victim = choose_victim(c, x);
		c->stats.displaced++;
		cut(victim ? victim : x);
	}
	pthread_mutex_unlock(&c->lock);
	return x;
}

void connections_remove(struct connection *x)
{
	struct connections *c = x->owner;
	for (int i = 0; i < HOLDINGS; i++)
		connection_must_hold(x, (enum holding)i, 0);
	pthread_mutex_lock(&c->lock);
	TAILQ_REMOVE(&c->list, x, link);
	c->stats.open--;
	c->stats.phase[x->phase]--;
	c->cut -= x->cut;
	if (c->stats.open * 2 < c->peak && c->peak > TRIM_CONNECTIONS) {
		c->peak = c->stats.open;
		/* More than once: what others do next goes into the holes that it left, all
		 * over the heap. */
		c->trims = TRIMS;
	}
	if (--x->from->count == 0) {
		map_remove(&c->addresses, x->from->key);
		mem_free(x->from);
	}
	pthread_mutex_unlock(&c->lock);
	mem_free(x);
}

void connection_enter(struct connection *x, enum connection_phase p)
{
	struct connections *c = x->owner;
	pthread_mutex_lock(&c->lock);
	c->stats.phase[x->phase]--;
	c->stats.phase[p]++;
	x->phase = p;
	x->since = node_clock_us();
	pthread_mutex_unlock(&c->lock);
}

void connection_progress(struct connection *x)
{
	pthread_mutex_lock(&x->owner->lock);
	x->since = node_clock_us();
	pthread_mutex_unlock(&x->owner->lock);
}

/* ---- what is held ------------------------------------------------------------------------ */

static const enum connection_phase holds_in[HOLDINGS] = {CONNECTION_READING,
							 CONNECTION_WRITING};

static bool may_go(const struct connection *x, enum holding what)
{
	return !x->cut && x->phase == holds_in[what] && x->held[what] > 0;
}

/* The lock is held. Whoever has been at it longest, of those that hold no less than their
 * share: not the one that holds most, which may be about to finish. NULL: those have time left.
 */
static struct connection *choose_holder(struct connections *c, const struct connection *asks,
					enum holding what, uint64_t now)
{
	struct connection *victim = NULL, *x;
	size_t sum = 0, count = 0;
	TAILQ_FOREACH(x, &c->list, link)
	if (x != asks && may_go(x, what)) {
		sum += x->held[what];
		count++;
	}
	TAILQ_FOREACH(x, &c->list, link)
	if (x != asks && may_go(x, what) && x->held[what] >= sum / count &&
	    (!victim || x->since < victim->since))
		victim = x;
	bool late = victim && now > victim->since &&
		    now - victim->since > 1000ull * c->config.grace_ms;
	return late ? victim : NULL;
}

/* The lock is held. Before all room is taken, for it comes back only when the API's threads see
 * that they are cut. */
static void make_way(struct connections *c, const struct connection *asks, enum holding what,
		     size_t more)
{
	size_t enough = c->config.held_max[what] / 4 * 3;
	uint64_t now = node_clock_us();
	struct connection *victim;
	while (c->stats.held[what] - c->leaving[what] + more > enough &&
	       (victim = choose_holder(c, asks, what, now)) != NULL) {
		c->stats.displaced++;
		cut(victim);
	}
}

static bool hold(struct connection *x, enum holding what, size_t bytes, bool must)
{
	struct connections *c = x->owner;
	size_t before = x->held[what], after = bytes > CONNECTION_FREE_BYTES ? bytes : 0;
	if (after == before) /* nearly always: neither is counted */
		return true;
	pthread_mutex_lock(&c->lock);
	size_t max = c->config.held_max[what], others = c->stats.held[what] - before;
	bool grows = after > before && max > 0;
	bool fits = must || !grows || others == 0 || others + after <= max;
	if (fits) {
		x->held[what] = after;
		c->stats.held[what] = others + after;
		if (x->cut)
			c->leaving[what] += after - before;
	}
	if (grows)
		make_way(c, x, what, fits ? 0 : after - before);
	pthread_mutex_unlock(&c->lock);
	return fits;
}

bool connection_hold(struct connection *x, enum holding what, size_t bytes)
{
	return hold(x, what, bytes, false);
}

void connection_must_hold(struct connection *x, enum holding what, size_t bytes)
{
	hold(x, what, bytes, true);
}

void connections_stats(struct connections *c, struct connections_stats *out)
{
	pthread_mutex_lock(&c->lock);
	*out = c->stats;
	pthread_mutex_unlock(&c->lock);
}
