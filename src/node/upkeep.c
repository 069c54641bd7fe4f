#include "node/upkeep.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "node/snapshots.h"
#include "replica/audit.h"
#include "replica/files.h"

#define SCRUB_BUFFER	(128u << 10) /* of the store that reads the snapshot */
#define SCRUB_CACHE	(1u << 20)
#define COMPACT_S	5     /* between two looks at what was pruned */
#define COMPACT_HEIGHTS 16384 /* pruned since, before it is worth the work */
#define COMPACT_TURNS	8     /* not all nodes of a network at once */
#define NAP_US		10000
#define SNAPSHOT_TRIES	3
#define DAMAGE_MAX	4096 /* mended after one scrub; the next one finds the rest */
#define MEND_LOOK_US	1000000

struct upkeep {
	struct node *node;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	struct scrub_stats stats;
	/* What is to be mended: until the loop takes it, and until that is done. */
	struct damage *found;
	uint32_t found_count;
	bool mending, again;
	/* of the run under way, by the thread alone */
	uint64_t begun, read, damaged;
	struct damage *list;
	uint32_t listed;
	char first[256];
	uint64_t compact_at; /* final height at which the store is compacted next */
};

/* False: to be stopped. */
static bool nap(struct upkeep *u, uint64_t us)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	uint64_t ns = (uint64_t)t.tv_nsec + us % 1000000 * 1000;
	t.tv_sec += (time_t)(us / 1000000 + ns / 1000000000);
	t.tv_nsec = (long)(ns % 1000000000);
	pthread_mutex_lock(&u->lock);
	while (!u->stop && pthread_cond_timedwait(&u->wake, &u->lock, &t) != ETIMEDOUT)
		;
	bool go_on = !u->stop;
	pthread_mutex_unlock(&u->lock);
	return go_on;
}

static bool stopping(struct upkeep *u)
{
	pthread_mutex_lock(&u->lock);
	bool stop = u->stop;
	pthread_mutex_unlock(&u->lock);
	return stop;
}

/* ---- scrubbing --------------------------------------------------------------------------- */

static void on_found(void *arg, const struct finding *f)
{
	struct upkeep *u = arg;
	char height[40] = "";
	if (f->height != UINT64_MAX)
		snprintf(height, sizeof height, " at height %llu",
			 (unsigned long long)f->height);
	if (u->listed < DAMAGE_MAX)
		finding_damage(f, &u->list[u->listed++]);
	if (u->damaged++ == 0)
		snprintf(u->first, sizeof u->first, "%s%s: %s (%s)",
			 store_family_name(f->family), height, f->what, err_text(f->err));
	log_limited(LOG_NODE, LOG_ERROR, "scrub: %s%s, key %s: %s (%s)",
		    store_family_name(f->family), height, f->key, f->what, err_text(f->err));
}

static bool on_step(void *arg, uint64_t height, uint64_t height_max, uint64_t bytes,
		    uint64_t bytes_max)
{
	struct upkeep *u = arg;
	uint64_t rate =
		1024ull * (u->node->config.scrub_rate_kib ? u->node->config.scrub_rate_kib
							  : CONFIG_SCRUB_RATE);
	uint64_t due = bytes * 1000000 / rate, spent = node_clock_us() - u->begun;
	(void)height;
	(void)height_max;
	(void)bytes_max;
	u->read = bytes;
	if (due > spent + NAP_US)
		return nap(u, due - spent);
	return !stopping(u);
}

static int read_snapshot(struct upkeep *u, const char *path, struct errmsg *m)
{
	struct store *s;
	struct audit_result r;
	struct store_options options = {.read_only = true,
					.write_buffer_size = SCRUB_BUFFER,
					.cache_size = SCRUB_CACHE};
	const struct audit_options o = {
		.genesis = &u->node->genesis, .arg = u, .found = on_found, .step = on_step};
	int err = store_open_rocksdb(&s, path, &options, m);
	if (err != ERR_NONE)
		return err;
	files_take(path);
	err = replica_audit(s, &o, &r, m);
	store_close(s);
	return err;
}

static void finish(struct upkeep *u, int err, const struct errmsg *m)
{
	if (err != ERR_NONE)
		snprintf(u->first, sizeof u->first, "%.200s", m->text);
	if (err != ERR_NONE)
		log_write(LOG_NODE, LOG_ERROR,
			  "scrub: not all could be read: %s. Look at the disk; stop this node "
			  "and run `ostrakon db repair` while the others run",
			  m->text);
	else if (u->damaged)
		log_write(LOG_NODE, LOG_ERROR,
			  "scrub: %llu records are damaged or missing, the first: %s. What can "
			  "be mended is mended now",
			  (unsigned long long)u->damaged, u->first);
	else
		log_write(LOG_NODE, LOG_INFO, "scrub: all data is sound, %llu bytes in %llu s",
			  (unsigned long long)u->read,
			  (unsigned long long)(node_clock_us() - u->begun) / 1000000);
	pthread_mutex_lock(&u->lock);
	u->stats.runs++;
	u->stats.bytes += u->read;
	u->stats.damaged = u->damaged;
	u->stats.failed = err != ERR_NONE;
	u->stats.finished_ms = node_wall_ms();
	snprintf(u->stats.what, sizeof u->stats.what, "%s", u->first);
	if (u->listed) {
		u->found = u->list;
		u->found_count = u->listed;
		u->list = NULL;
		u->mending = true;
	}
	pthread_mutex_unlock(&u->lock);
}

struct damage *upkeep_take(struct upkeep *u, uint32_t *count)
{
	if (!u)
		return NULL;
	pthread_mutex_lock(&u->lock);
	struct damage *list = u->found;
	*count = u->found_count;
	u->found = NULL;
	u->found_count = 0;
	pthread_mutex_unlock(&u->lock);
	return list;
}

void upkeep_mended(struct upkeep *u, bool any)
{
	if (!u)
		return;
	pthread_mutex_lock(&u->lock);
	u->mending = false;
	u->again = any;
	pthread_mutex_unlock(&u->lock);
}

/* Whether the loop still mends; *again: it has mended something. */
static bool is_mending(struct upkeep *u, bool *again)
{
	pthread_mutex_lock(&u->lock);
	bool mending = u->mending;
	*again = u->again;
	u->again = false;
	pthread_mutex_unlock(&u->lock);
	return mending;
}

static void scrub(struct upkeep *u)
{
	char path[CONFIG_PATH_MAX + 64];
	struct errmsg m = {.text = ""};
	u->begun = node_clock_us();
	u->read = u->damaged = 0;
	u->listed = 0;
	u->list = mem_array(DAMAGE_MAX, sizeof *u->list);
	u->first[0] = 0;
	int err = ERR_NOT_FOUND;
	/* Until it is opened it may go to make room for others. */
	for (unsigned i = 0; i < SNAPSHOT_TRIES && err == ERR_NOT_FOUND; i++) {
		err = snapshots_make(u->node->store, u->node->config.home, path, sizeof path,
				     &m);
		if (err != ERR_NONE)
			break;
		u->listed = 0;
		err = read_snapshot(u, path, &m);
		if (err != ERR_NONE && !files_exist(path))
			err = ERR_NOT_FOUND;
		files_remove(path, NULL);
	}
	if (err != ERR_CLOSED)
		finish(u, err, &m);
	mem_free(u->list);
	u->list = NULL;
}

/* ---- pruned data ------------------------------------------------------------------------- */

static void compact(struct upkeep *u)
{
	struct snapshot *s = mem_alloc(sizeof *s);
	snapshot_copy(u->node, s);
	uint64_t final = s->status.final.height;
	mem_free(s);
	if (final < u->compact_at)
		return;
	uint64_t begin = node_clock_us();
	replica_compact(u->node->store, final);
	if (stopping(u))
		return;
	u->compact_at += (final - u->compact_at) / COMPACT_HEIGHTS * COMPACT_HEIGHTS +
			 COMPACT_HEIGHTS; /* in its turn, however late this one was */
	log_write(LOG_NODE, LOG_INFO, "what was pruned is off the disk; that took %llu ms",
		  (unsigned long long)(node_clock_us() - begin) / 1000);
}

/* ---- the thread -------------------------------------------------------------------------- */

static void *run(void *arg)
{
	struct upkeep *u = arg;
	uint64_t every = 1000000ull * (u->node->config.scrub_interval_s
					       ? u->node->config.scrub_interval_s
					       : CONFIG_SCRUB_INTERVAL);
	uint64_t scrub_due = node_clock_us() + every;
	uint64_t look_due = node_clock_us() + COMPACT_S * 1000000ull;
	for (;;) {
		uint64_t now = node_clock_us();
		uint64_t due = scrub_due < look_due ? scrub_due : look_due;
		bool again, mending = is_mending(u, &again);
		if (again)
			due = scrub_due = now;
		else if (mending)
			due = now + MEND_LOOK_US;
		if (!nap(u, due > now ? due - now : 0))
			return NULL;
		if (!mending && node_clock_us() >= scrub_due) {
			scrub(u);
			scrub_due = node_clock_us() + every;
		}
		if (node_clock_us() >= look_due) {
			compact(u);
			look_due = node_clock_us() + COMPACT_S * 1000000ull;
		}
	}
}

struct upkeep *upkeep_start(struct node *n)
{
	struct upkeep *u = mem_zalloc(sizeof *u);
	pthread_condattr_t attr;
	u->node = n;
	uint64_t turn = COMPACT_HEIGHTS / COMPACT_TURNS * (n->self % COMPACT_TURNS);
	u->compact_at = n->final_height - n->final_height % COMPACT_HEIGHTS + turn;
	while (u->compact_at < n->final_height + COMPACT_HEIGHTS / 2)
		u->compact_at += COMPACT_HEIGHTS;
	pthread_mutex_init(&u->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&u->wake, &attr);
	pthread_condattr_destroy(&attr);
	invariant(pthread_create(&u->thread, NULL, run, u) == 0);
	return u;
}

void upkeep_stop(struct upkeep *u)
{
	if (!u)
		return;
	pthread_mutex_lock(&u->lock);
	u->stop = true;
	pthread_cond_signal(&u->wake);
	pthread_mutex_unlock(&u->lock);
	store_compact_stop(u->node->store);
	pthread_join(u->thread, NULL);
	pthread_cond_destroy(&u->wake);
	pthread_mutex_destroy(&u->lock);
	mem_free(u->found);
	mem_free(u);
}

void upkeep_stats(struct upkeep *u, struct scrub_stats *out)
{
	*out = (struct scrub_stats){0};
	if (!u)
		return;
	pthread_mutex_lock(&u->lock);
	*out = u->stats;
	pthread_mutex_unlock(&u->lock);
}
