/* calibrate DIRECTORY: what this machine can do at the moment, as a JSON object on one line:
 * figures of a run mean little without them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "crypto/sign.h"

#define SYNCS 101

static double now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Median of appending 4 KiB and fdatasync. */
static double sync_ms(const char *directory)
{
	static char page[4096];
	double took[SYNCS];
	char *path = mem_printf("%s/calibrate-%ld", directory, (long)getpid());
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	if (fd < 0) {
		perror(path);
		exit(1);
	}
	unlink(path);
	for (int i = 0; i < SYNCS; i++) {
		double start = now_ms();
		if (write(fd, page, sizeof page) != sizeof page || fdatasync(fd) != 0) {
			perror(path);
			exit(1);
		}
		took[i] = now_ms() - start;
	}
	close(fd);
	mem_free(path);
	qsort(took, SYNCS, sizeof *took, compare);
	return took[SYNCS / 2];
}

static double verifications_per_s(void)
{
	struct keypair key;
	struct signature sig;
	struct hash chain = {{1}};
	uint8_t seed[32] = {1}, message[128] = {0};
	struct slice m = slice_of(message, sizeof message);
	unsigned done = 0;
	keypair_from_seed(&key, seed);
	sig_make(SIG_ED25519, &sig, &key, SIG_TAG_TX, &chain, m);
	double start = now_ms(), took;
	do {
		for (int i = 0; i < 100; i++, done++)
			invariant(sig_check(SIG_ED25519, &sig, &key.pub, SIG_TAG_TX, &chain,
					    m) == ERR_NONE);
		took = now_ms() - start;
	} while (took < 300);
	return done / took * 1e3;
}

int main(int argc, char **argv)
{
	double load = 0;
	if (argc != 2)
		return 2;
	crypto_init();
	getloadavg(&load, 1);
	printf("{\"cores\":%ld,\"load\":%.2f,\"fdatasync_ms\":%.3f,\"verify_per_s_core\":%.0f}"
	       "\n",
	       sysconf(_SC_NPROCESSORS_ONLN), load, sync_ms(argv[1]), verifications_per_s());
	return 0;
}
