#include "node/debug.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"

#define LOOK_EVERY_US  20000
#define CLOCK_MAX_MS   86400000
#define SYNC_MAX_US    10000000
#define LINE_MAX_BYTES 64

static char path[2 * CONFIG_PATH_MAX + 2]; /* empty: there is none */
static struct stat seen;
static uint64_t look_at;
static atomic_llong clock_ms, sync_us;

void debug_watch(const struct node_config *c)
{
	path[0] = 0;
	if (c->faults_file[0] == '/')
		snprintf(path, sizeof path, "%s", c->faults_file);
	else if (c->faults_file[0])
		snprintf(path, sizeof path, "%s/%s", c->home, c->faults_file);
	debug_poll(0);
}

static void read_faults(FILE *f, long long *clock, long long *sync)
{
	char line[LINE_MAX_BYTES], word[LINE_MAX_BYTES];
	long long v;
	while (fgets(line, sizeof line, f)) {
		if (sscanf(line, "%63s %lld", word, &v) != 2)
			continue;
		if (strcmp(word, "clock_ms") == 0 && v >= -CLOCK_MAX_MS && v <= CLOCK_MAX_MS)
			*clock = v;
		if (strcmp(word, "sync_us") == 0 && v >= 0 && v <= SYNC_MAX_US)
			*sync = v;
	}
}

void debug_poll(uint64_t now)
{
	struct stat st = {0};
	long long clock = 0, sync = 0;
	if (!path[0] || now < look_at)
		return;
	look_at = now + LOOK_EVERY_US;
	if (stat(path, &st) != 0)
		memset(&st, 0, sizeof st);
	if (st.st_ino == seen.st_ino && st.st_size == seen.st_size &&
	    st.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
		return;
	seen = st;
	FILE *f = fopen(path, "r");
	if (f) {
		read_faults(f, &clock, &sync);
		fclose(f);
	}
	atomic_store(&clock_ms, clock);
	atomic_store(&sync_us, sync);
	log_write(LOG_NODE, LOG_WARN,
		  "faults on purpose: clock %+lld ms, syncs %lld us longer (%s)", clock, sync,
		  path);
}

int64_t debug_clock_ms(void)
{
	return atomic_load_explicit(&clock_ms, memory_order_relaxed);
}

void debug_before_sync(void)
{
	long long us = atomic_load_explicit(&sync_us, memory_order_relaxed);
	struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
	if (us)
		nanosleep(&t, NULL);
}
