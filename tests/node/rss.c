/* Resident memory of nodes under load, over time: puts to a fixed set of keys, so that what
 *grows is not the state; then puts to new keys, for the growth a million of them brings.
 *
 *	rss [--nodes 4] [--keys 200000] [--seconds 120] [--new 200000]
 *
 * Prints JSON: samples of {s, rss_kib: [a node each], transactions}; the slope of the second
 *half of them in KiB a minute and in percent of the mean over ten minutes; disk and memory for
 *a million new keys. By hand, from the top of the build tree. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "homes.h"
#include "http-client.h"
#include "ledger/tx.h"
#include "process.h"

#define BATCH	    500
#define SAMPLE_S    5.0
#define NODES_MAX   16
#define SAMPLES_MAX 20000

static char dir[64];
static struct chain_ctx ctx;
static struct keypair client;
static unsigned nodes = 4, port[NODES_MAX];
static pid_t node[NODES_MAX];
static uint64_t nonce;
static struct {
	double s, kib[NODES_MAX];
} taken[SAMPLES_MAX];
static size_t taken_count;
static unsigned long sent;

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void keep_answer(unsigned i, const char *path, const char *name)
{
	struct answer a = {0};
	char file[96];
	get(port[i], path, &a);
	snprintf(file, sizeof file, "%s/node%u/%s", dir, i + 1, name);
	FILE *f = fopen(file, "w");
	if (f) {
		fputs(a.body ? a.body : "no answer", f);
		fclose(f);
	}
	answer_free(&a);
}

/* What every node has to say of itself, kept beside its log before they are ended. */
static void show_nodes(void)
{
	for (unsigned i = 0; i < nodes && port[i] != 0; i++) {
		keep_answer(i, "/v1/status", "status");
		keep_answer(i, "/metrics", "metrics");
		fprintf(stderr, "rss: see log, status and metrics in %s/node%u\n", dir, i + 1);
	}
}

static void die(const char *what)
{
	fprintf(stderr, "rss: %s\n", what);
	show_nodes();
	for (unsigned i = 0; i < nodes; i++)
		if (node[i] > 0)
			kill(node[i], SIGKILL);
	exit(1);
}

static void start(unsigned i)
{
	char home[80], log[96];
	snprintf(home, sizeof home, "%s/node%u", dir, i + 1);
	snprintf(log, sizeof log, "%s/log", home);
	node[i] = node_start(home, log);
}

static void wait_ready(unsigned i)
{
	char home[80];
	snprintf(home, sizeof home, "%s/node%u", dir, i + 1);
	for (int status = 0; status != 200;) {
		port[i] = node_port(home);
		struct answer a = {0};
		if (port[i])
			get(port[i], "/readyz", &a);
		status = a.status;
		answer_free(&a);
		if (waitpid(node[i], NULL, WNOHANG) != 0)
			die("a node did not start");
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
}

static unsigned long rss_kib(unsigned i)
{
	char path[64], line[256];
	unsigned long kib = 0;
	snprintf(path, sizeof path, "/proc/%d/status", (int)node[i]);
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

static double sample(struct json *samples, double begin)
{
	struct json *o = json_object(), *rss = json_array();
	double at = now_s() - begin, sum = 0;
	for (unsigned i = 0; i < nodes; i++) {
		unsigned long kib = rss_kib(i);
		json_append(rss, json_int((int64_t)kib));
		sum += (double)kib;
		if (taken_count < SAMPLES_MAX)
			taken[taken_count].kib[i] = (double)kib;
	}
	if (taken_count < SAMPLES_MAX)
		taken[taken_count++].s = at;
	json_set(o, "s", json_real(at));
	json_set(o, "rss_kib", rss);
	json_set(o, "transactions", json_int((int64_t)sent));
	json_append(samples, o);
	return sum / nodes;
}

/* Least squares over the second half of the samples of node i. */
static struct json *slope(unsigned i)
{
	size_t from = taken_count / 2;
	double n = (double)(taken_count - from), x = 0, y = 0, xx = 0, xy = 0;
	for (size_t k = from; k < taken_count; k++) {
		x += taken[k].s;
		y += taken[k].kib[i];
		xx += taken[k].s * taken[k].s;
		xy += taken[k].s * taken[k].kib[i];
	}
	double under = n * xx - x * x, per_s = under > 0 ? (n * xy - x * y) / under : 0;
	struct json *o = json_object();
	json_set(o, "mean_kib", json_real(y / n));
	json_set(o, "kib_per_minute", json_real(per_s * 60));
	json_set(o, "percent_in_ten_minutes", json_real(per_s * 600 / (y / n) * 100));
	return o;
}

static double disk_kib(void)
{
	char *command = mem_printf("du -sk %s/node1/data", dir), line[64] = "";
	FILE *f = popen(command, "r");
	if (!f || !fgets(line, sizeof line, f))
		die("du failed");
	pclose(f);
	mem_free(command);
	return atof(line);
}

static void load_fixed(int fd, struct json *o, unsigned long keys, double seconds)
{
	struct json *fixed = json_array(), *slopes = json_array();
	for (unsigned long k = 0; k < keys; k += BATCH)
		put_batch(fd, "key", k, keys);
	double begin = now_s(), next = 0;
	for (unsigned long at = 0; now_s() < begin + seconds;) {
		put_batch(fd, "key", at += BATCH, keys);
		if (now_s() > next) {
			sample(fixed, begin);
			next = now_s() + SAMPLE_S;
		}
	}
	for (unsigned i = 0; i < nodes; i++)
		json_append(slopes, slope(i));
	json_set(o, "fixed_set", fixed);
	json_set(o, "second_half", slopes);
}

static void load_new(int fd, struct json *o, unsigned long fresh)
{
	struct json *grown = json_array();
	double begin = now_s(), disk = disk_kib(), before = sample(grown, begin), after;
	for (unsigned long k = 0; k < fresh; k += BATCH)
		put_batch(fd, "new", k, fresh);
	after = sample(grown, begin);
	json_set(o, "new_keys", json_int((int64_t)fresh));
	json_set(o, "around_new_keys", grown);
	json_set(o, "rss_kib_per_million_new_keys",
		 json_real((after - before) * 1e6 / (double)fresh));
	json_set(o, "disk_kib_per_million_new_keys",
		 json_real((disk_kib() - disk) * 1e6 / (double)fresh));
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
		else if (strcmp(argv[i], "--nodes") == 0)
			nodes = (unsigned)strtoul(argv[i + 1], NULL, 10);
	}
	crypto_init();
	signal(SIGPIPE, SIG_IGN);
	strcpy(dir, "/tmp/rss-XXXXXX");
	if (keys < BATCH || nodes < 1 || nodes > NODES_MAX || !mkdtemp(dir))
		die("no keys, no nodes, or no directory");
	struct genesis genesis;
	homes_make(dir, nodes, "", &genesis, &client);
	genesis_ctx(&ctx, &genesis);
	for (unsigned i = 0; i < nodes; i++)
		start(i);
	for (unsigned i = 0; i < nodes; i++)
		wait_ready(i);
	int fd = http_connect(port[0]);
	struct json *o = json_object();
	json_set(o, "nodes", json_int(nodes));
	json_set(o, "keys", json_int((int64_t)keys));
	load_fixed(fd, o, keys, seconds);
	load_new(fd, o, fresh);
	char *text = json_dump(o, true);
	printf("%s\n", text);
	mem_free(text);
	json_free(o);
	close(fd);
	for (unsigned i = 0; i < nodes; i++)
		kill(node[i], SIGTERM);
	for (unsigned i = 0; i < nodes; i++)
		waitpid(node[i], NULL, 0);
	genesis_free(&genesis);
	char *remove = mem_printf("rm -r %s", dir);
	int failed = system(remove);
	mem_free(remove);
	return failed != 0;
}
