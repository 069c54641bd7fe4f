/* Resident memory of a node under load, over time: puts to a fixed set of keys, so that what
 *grows is not the state; then puts to new keys, for the growth a million of them brings.
 *
 *	rss [--keys 200000] [--seconds 120] [--new 200000]
 *
 * Prints JSON: samples of {s, rss_kib, transactions}, and rss_kib_per_million_new_keys. By
 *hand, from the top of the build tree. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "homes.h"
#include "http-client.h"
#include "ledger/tx.h"

#define BATCH	 500
#define SAMPLE_S 5.0

static char dir[64];
static struct chain_ctx ctx;
static struct keypair client;
static unsigned port;
static pid_t node;
static uint64_t nonce;
static unsigned long sent;

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "rss: %s\n", what);
	if (node > 0)
		kill(node, SIGKILL);
	exit(1);
}

static void start(void)
{
	char home[80], path[96], url[320];
	snprintf(home, sizeof home, "%s/node1", dir);
	snprintf(path, sizeof path, "%s/api", home);
	node = fork();
	if (node == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		int fd = open("/dev/null", O_WRONLY);
		dup2(fd, 2);
		execl("src/node/ostrakond", "ostrakond", "run", "--home", home, NULL);
		_exit(127);
	}
	for (int status = 0; status != 200;) {
		FILE *f = fopen(path, "r");
		bool ok = f && fgets(url, sizeof url, f) &&
			  sscanf(url, "http://127.0.0.1:%u", &port) == 1;
		if (f)
			fclose(f);
		struct answer a = {0};
		if (ok)
			get(port, "/readyz", &a);
		status = a.status;
		answer_free(&a);
		if (waitpid(node, NULL, WNOHANG) != 0)
			die("the node did not start");
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
}

static unsigned long rss_kib(void)
{
	char path[64], line[256];
	unsigned long kib = 0;
	snprintf(path, sizeof path, "/proc/%d/status", (int)node);
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "VmRSS: %lu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

/* One request of BATCH puts to key-<first>, key-<first + 1>, ... */
static void put_batch(int fd, const char *set, unsigned long first, unsigned long modulus)
{
	struct writer body, tx;
	struct answer a;
	writer_init(&body, 0);
	for (unsigned long i = 0; i < BATCH; i++) {
		char key[48], value[64];
		snprintf(key, sizeof key, "%s-%lu", set, (first + i) % modulus);
		snprintf(value, sizeof value, "value-%lu-%lu", first, i);
		struct op op = {
			.kind = OP_PUT, .key = slice_str(key), .value = slice_str(value)};
		writer_init(&tx, 0);
		tx_build(&tx, &ctx, &client, ++nonce, 90000, &op, 1);
		writer_var(&body, writer_slice(&tx));
		writer_free(&tx);
	}
	http_post(fd, "/v1/transactions?timeout=60000", "application/octet-stream",
		  writer_slice(&body));
	http_read(fd, &a);
	if (a.status != 200) {
		fprintf(stderr, "rss: status %d: %.300s\n", a.status, a.body ? a.body : "");
		die("a request failed");
	}
	sent += BATCH;
	answer_free(&a);
	writer_free(&body);
}

static void sample(struct json *samples, double begin)
{
	struct json *o = json_object();
	json_set(o, "s", json_real(now_s() - begin));
	json_set(o, "rss_kib", json_int((int64_t)rss_kib()));
	json_set(o, "transactions", json_int((int64_t)sent));
	json_append(samples, o);
}

int main(int argc, char **argv)
{
	unsigned long keys = 200000, fresh = 200000;
	double seconds = 120;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--keys") == 0)
			keys = strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--seconds") == 0)
			seconds = atof(argv[i + 1]);
		else if (strcmp(argv[i], "--new") == 0)
			fresh = strtoul(argv[i + 1], NULL, 10);
	}
	crypto_init();
	signal(SIGPIPE, SIG_IGN);
	strcpy(dir, "/tmp/rss-XXXXXX");
	if (keys < BATCH || !mkdtemp(dir))
		die("no keys, or no directory");
	struct genesis genesis;
	homes_make(dir, 1, 1, "", &genesis, &client);
	genesis_ctx(&ctx, &genesis);
	start();
	int fd = http_connect(port);
	struct json *o = json_object(), *fixed = json_array(), *grown = json_array();
	for (unsigned long k = 0; k < keys; k += BATCH)
		put_batch(fd, "key", k, keys);
	double begin = now_s(), next = 0;
	unsigned long at = 0;
	while (now_s() < begin + seconds) {
		put_batch(fd, "key", at += BATCH, keys);
		if (now_s() > next) {
			sample(fixed, begin);
			next = now_s() + SAMPLE_S;
		}
	}
	unsigned long before = rss_kib();
	for (unsigned long k = 0; k < fresh; k += BATCH)
		put_batch(fd, "new", k, fresh);
	sample(grown, begin);
	unsigned long after = rss_kib();
	json_set(o, "keys", json_int((int64_t)keys));
	json_set(o, "fixed_set", fixed);
	json_set(o, "after_new_keys", grown);
	json_set(o, "new_keys", json_int((int64_t)fresh));
	json_set(o, "rss_kib_per_million_new_keys",
		 json_real(((double)after - (double)before) * 1e6 / (double)fresh));
	char *text = json_dump(o, true);
	printf("%s\n", text);
	mem_free(text);
	json_free(o);
	close(fd);
	kill(node, SIGTERM);
	waitpid(node, NULL, 0);
	genesis_free(&genesis);
	char *remove = mem_printf("rm -r %s", dir);
	int failed = system(remove);
	mem_free(remove);
	return failed != 0;
}
