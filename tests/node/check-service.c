/* ostrakond as a service: tokens, full disks, lost quorums, the service manager, its log and
 * its configuration. Run from the top of the build tree. */
#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "homes.h"
#include "http-client.h"
#include "ledger/tx.h"
#include "node/api.h"
#include "process.h"

enum { PATIENT_MS = 60000 };

static char dir[64], home[80];
static struct genesis genesis;
static struct chain_ctx ctx;
static struct keypair client;
static uint64_t nonce;

static char *file(const char *name)
{
	return mem_printf("%s/%s", home, name);
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	char *path = file(name), *new = mem_printf("%s.new", path);
	FILE *f = fopen(new, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
	ck_assert_int_eq(chmod(new, mode), 0);
	ck_assert_int_eq(rename(new, path), 0); /* never seen half written */
	mem_free(new);
	mem_free(path);
}

static bool file_has(const char *name, const char *text)
{
	static char buf[1 << 18];
	char *path = file(name);
	FILE *f = fopen(path, "r");
	size_t len = f ? fread(buf, 1, sizeof buf - 1, f) : 0;
	if (f)
		fclose(f);
	mem_free(path);
	buf[len] = 0;
	return strstr(buf, text) != NULL;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static uint64_t clock_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* What it prints is in "out", alone. */
static pid_t spawn(char *const argv[])
{
	char *out = file("out");
	unlink(out);
	pid_t pid = process_start(argv, out);
	mem_free(out);
	return pid;
}

static void homes(unsigned n, const char *limits)
{
	crypto_init();
	strcpy(dir, "/tmp/check-service-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(home, sizeof home, "%s/node1", dir);
	homes_make(dir, n, limits, &genesis, &client);
	genesis_ctx(&ctx, &genesis);
	nonce = 0;
}

static void clean(void)
{
	genesis_free(&genesis);
	char *remove = mem_printf("rm -r %s", dir);
	ck_assert_int_eq(system(remove), 0);
	mem_free(remove);
}

static pid_t start(unsigned *port)
{
	char *log = file("log");
	char *argv[] = {"src/node/ostrakond", "run", "--home", home, "--log-file", log, NULL};
	pid_t pid = spawn(argv);
	while (!(*port = node_port(home))) {
		ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
		pause_ms(5);
	}
	mem_free(log);
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGTERM);
	ck_assert_int_eq(process_end(pid), 0);
}

static void put(unsigned port, unsigned timeout_ms, struct answer *a)
{
	struct op op = {.kind = OP_PUT, .key = slice_str("city"), .value = slice_str("Athens")};
	struct writer tx, w;
	writer_init(&tx, 0);
	writer_init(&w, 0);
	tx_build(&tx, &ctx, &client, ++nonce, 1000, &op, 1);
	writer_var(&w, writer_slice(&tx));
	char *path = mem_printf("/v1/transactions?timeout=%u", timeout_ms);
	post(port, path, "application/octet-stream", writer_slice(&w), a);
	mem_free(path);
	writer_free(&tx);
	writer_free(&w);
}

static const char *text_of(const struct json *o, const char *name)
{
	const char *text = "";
	json_read_string(o, name, &text);
	return text;
}

static void wait_ready(unsigned port, int status)
{
	for (int found = 0; found != status; pause_ms(5)) {
		struct answer a;
		get(port, "/readyz", &a);
		found = a.status;
		answer_free(&a);
	}
}

/* True if `waiting` of /v1/consensus has it. */
static bool waits_for(const struct json *consensus, const char *what)
{
	const struct json *a = json_get(consensus, "waiting");
	for (size_t i = 0; i < json_len(a); i++)
		if (strcmp(text_of(json_at(a, i), "what"), what) == 0)
			return true;
	return false;
}

/* Not merely unready: that it may be for want of time as well. */
static void wait_full(unsigned port)
{
	for (bool full = false; !full; pause_ms(5)) {
		struct answer a;
		get(port, "/v1/consensus", &a);
		json_read_bool(json_get(a.json, "disk"), "full", &full);
		answer_free(&a);
	}
}

static int status_of(unsigned port, const char *path, const char *headers)
{
	struct answer a;
	char *head = mem_printf("GET %s HTTP/1.1\r\n%s\r\n", path, headers);
	int fd = http_connect(port);
	http_send(fd, head, strlen(head));
	http_read(fd, &a);
	close(fd);
	int status = a.status;
	if (status == 401)
		ck_assert_ptr_nonnull(strstr(a.head, "WWW-Authenticate: Bearer"));
	ck_assert_ptr_null(strcasestr(a.head, "Access-Control-"));
	answer_free(&a);
	mem_free(head);
	return status;
}

START_TEST(test_token)
{
	unsigned port;
	homes(1, "token_file = token\n");
	write_file("token", "correct-horse-battery\n", 0644);
	char *argv[] = {"src/node/ostrakond", "check-config", "--home", home, NULL};
	ck_assert_int_eq(process_end(spawn(argv)), 78); /* others may read it */
	write_file("token", "correct-horse-battery\n", 0600);
	ck_assert_int_eq(process_end(spawn(argv)), 0);
	pid_t node = start(&port);
	const char *host = "Host: localhost\r\n";
	const char *right =
		"Host: localhost\r\nAuthorization: Bearer correct-horse-battery\r\n";
	const char *wrong =
		"Host: localhost\r\nAuthorization: Bearer correct-horse-batterz\r\n";
	while (status_of(port, "/readyz", right) != 200)
		pause_ms(5);
	static const char *const paths[] = {"/v1/status", "/metrics", "/v1/events", "/readyz",
					    "/nowhere"};
	for (size_t i = 0; i < MEM_COUNT(paths); i++) {
		ck_assert_int_eq(status_of(port, paths[i], host), 401);
		ck_assert_int_eq(status_of(port, paths[i], wrong), 401);
	}
	ck_assert_int_eq(status_of(port, "/livez", host), 200);
	ck_assert_int_eq(status_of(port, "/v1/status", right), 200);
	ck_assert_int_eq(status_of(port, "/nowhere", right), 404);
	ck_assert_int_eq(status_of(port, "/v1/status",
				   "Host: evil.example\r\nAuthorization: "
				   "Bearer correct-horse-battery\r\n"),
			 403);
	struct answer a;
	put(port, PATIENT_MS, &a);
	ck_assert_int_eq(a.status, 401);
	answer_free(&a);
	stop(node);
	clean();
}
END_TEST

/* No room: writes are refused, reads are not, and it goes on by itself. */
START_TEST(test_disk_full)
{
	unsigned port;
	struct answer a;
	homes(1, "[debug]\ndisk_free_file = free\n");
	pid_t node = start(&port);
	wait_ready(port, 200);
	put(port, PATIENT_MS, &a);
	ck_assert_int_eq(a.status, 200);
	answer_free(&a);
	/* the first mark is a warning */
	write_file("free", "200000000\n", 0600);
	while (!file_has("log", "the disk is nearly full: 200000000 bytes"))
		pause_ms(5);
	put(port, PATIENT_MS, &a);
	ck_assert_int_eq(a.status, 200);
	answer_free(&a);
	for (int round = 0; round < 2; round++) {
		write_file("free", "1000\n", 0600);
		wait_full(port);
		put(port, PATIENT_MS, &a);
		ck_assert_int_eq(a.status, 503);
		ck_assert_str_eq(text_of(a.json, "code"), "disk_full");
		ck_assert_ptr_nonnull(strstr(a.head, "Retry-After: "));
		answer_free(&a);
		nonce--; /* it was not submitted */
		get(port, "/v1/state/city", &a);
		ck_assert_int_eq(a.status, 200);
		answer_free(&a);
		get(port, "/v1/consensus", &a);
		const struct json *disk = json_get(a.json, "disk");
		bool full = false;
		json_read_bool(disk, "full", &full);
		ck_assert(full && waits_for(a.json, "disk"));
		ck_assert_str_eq(text_of(disk, "free_bytes"), "1000");
		ck_assert_ptr_nonnull(strstr(text_of(a.json, "not_ready"), "disk is full"));
		answer_free(&a);
		ck_assert(file_has("log", "the disk is full: 1000 bytes"));
		write_file("free", "100000000000\n", 0600);
		wait_ready(port, 200);
		put(port, PATIENT_MS, &a);
		ck_assert_msg(a.status == 200, "%d %s", a.status, a.body);
		answer_free(&a);
	}
	stop(node);
	clean();
}
END_TEST

/* One of four: it says whom it misses, and after a while that it is no use to write. */
START_TEST(test_no_quorum)
{
	unsigned port;
	struct answer a;
	homes(4, "");
	pid_t node = start(&port);
	wait_ready(port, 503);
	for (int status = 0; status != 503; pause_ms(20)) {
		put(port, 100, &a);
		status = a.status;
		ck_assert_msg(status == 202 || status == 503, "%d %s", status, a.body);
		if (status == 503) {
			ck_assert_str_eq(text_of(a.json, "code"), "no_quorum");
			ck_assert_ptr_nonnull(strstr(a.head, "Retry-After: "));
		}
		answer_free(&a);
	}
	get(port, "/v1/consensus", &a);
	ck_assert(waits_for(a.json, "quorum") && waits_for(a.json, "leader"));
	ck_assert_ptr_nonnull(strstr(text_of(a.json, "read_only"), "no quorum"));
	const struct json *peers = json_get(a.json, "peers");
	ck_assert_uint_eq(json_len(peers), 3);
	for (size_t i = 0; i < 3; i++)
		ck_assert_ptr_nonnull(
			strstr(text_of(json_at(peers, i), "last_error"), "cannot connect"));
	answer_free(&a);
	get(port, "/v1/state/city", &a);
	ck_assert_int_eq(a.status, 404); /* a read, answered */
	answer_free(&a);
	while (!file_has("log", "waiting=\"quorum,leader\" who=\"node2,node3,node4\""))
		pause_ms(20);
	stop(node);
	clean();
}
END_TEST

/* Reads datagrams until one has the text. */
static void hear(int fd, const char *text)
{
	char buf[1024];
	do {
		ssize_t n = recv(fd, buf, sizeof buf - 1, 0);
		ck_assert_int_gt(n, 0);
		buf[n] = 0;
	} while (!strstr(buf, text));
}

START_TEST(test_notify)
{
	unsigned port;
	homes(1, "[timing]\ntimeout_min = 60\ntimeout_max = 90\n");
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	snprintf(at.sun_path, sizeof at.sun_path, "%s/notify", dir);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	setenv("WATCHDOG_USEC", "200000", 1);
	pid_t node = start(&port);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	hear(fd, "READY=1");
	for (int i = 0; i < 5; i++)
		hear(fd, "WATCHDOG=1");
	hear(fd, "STATUS=leader of term");
	/* a log that was moved away is begun anew */
	char *log = file("log"), *moved = file("log.1");
	ck_assert_int_eq(rename(log, moved), 0);
	kill(node, SIGHUP);
	while (!file_has("log", "SIGHUP"))
		pause_ms(5);
	kill(node, SIGTERM);
	hear(fd, "STOPPING=1");
	ck_assert_int_eq(process_end(node), 0);
	ck_assert(file_has("log", "stopped") && !file_has("log.1", "stopped"));
	mem_free(log);
	mem_free(moved);
	close(fd);
	clean();
}
END_TEST

/* Asks again and again, answered or not. The process is the caller's to end. */
static pid_t hammer(unsigned port)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	static const char ask[] =
		"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	for (;;) {
		char buf[1024];
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
		    send(fd, ask, sizeof ask - 1, MSG_NOSIGNAL) > 0)
			while (recv(fd, buf, sizeof buf, 0) > 0)
				;
		close(fd);
	}
}

/* Whatever its API's threads are about: SIGTERM is an orderly end. */
START_TEST(test_stop)
{
	homes(1, "[limits]\napi_threads = 4\n");
	for (int round = 0; round < 20; round++) {
		unsigned port;
		pid_t node = start(&port), client_pid = hammer(port);
		ck_assert_int_gt(client_pid, 0);
		pause_ms(20);
		stop(node);
		kill(client_pid, SIGKILL);
		waitpid(client_pid, NULL, 0);
	}
	clean();
}
END_TEST

/* ---- the memory of the API ------------------------------------------------------------- */

/* Longer than this program may run: what goes, goes because there is need. */
#define PATIENT_REQUESTS "[limits]\nrequest_timeout = 600000\n"

static void put_large(unsigned port)
{
	static uint8_t value[60000];
	struct writer w = {0};
	struct answer a;
	for (unsigned i = 0; i < 20; i++) {
		char key[16];
		snprintf(key, sizeof key, "large-%u", i);
		struct op op = {.kind = OP_PUT,
				.key = slice_str(key),
				.value = slice_of(value, sizeof value)};
		struct writer tx = {0};
		tx_build(&tx, &ctx, &client, ++nonce, 1000, &op, 1);
		writer_var(&w, writer_slice(&tx));
		writer_free(&tx);
	}
	post(port, "/v1/transactions", "application/octet-stream", writer_slice(&w), &a);
	ck_assert_int_eq(a.status, 200);
	answer_free(&a);
	writer_free(&w);
}

/* The height of the block that has most. */
static uint64_t largest_block(unsigned port)
{
	struct answer a;
	uint64_t most = 0, size, height = 0;
	get(port, "/v1/blocks", &a);
	const struct json *list = json_get(a.json, "blocks");
	for (size_t i = 0; i < json_len(list); i++)
		if (json_read_u64(json_at(list, i), "body_size", &size) == ERR_NONE &&
		    size > most) {
			most = size;
			height = strtoull(text_of(json_at(list, i), "height"), NULL, 10);
		}
	ck_assert_uint_gt(most, 60000);
	answer_free(&a);
	return height;
}

/* Asks and reads no more than the head's first bytes: the status; 0: closed. */
static int ask_and_leave(unsigned port, const char *path, int *fd)
{
	char head[13] = "";
	int small = 4096;
	*fd = http_connect(port);
	setsockopt(*fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	http_get(*fd, path);
	ssize_t n = recv(*fd, head, sizeof head - 1, MSG_PEEK | MSG_WAITALL);
	return n == sizeof head - 1 ? atoi(head + 9) : 0;
}

static bool is_reset(int fd)
{
	struct pollfd p = {.fd = fd};
	return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP));
}

static void expect_status(unsigned port, const char *path, int status)
{
	struct answer a;
	get(port, path, &a);
	ck_assert_msg(a.status == status, "%s: %d", path, a.status);
	answer_free(&a);
}

static void until_answered(unsigned port, const char *path)
{
	for (int status = 0; status != 200; pause_ms(5)) {
		struct answer a;
		get(port, path, &a);
		status = a.status;
		ck_assert_msg(status == 200 ||
				      (status == 429 && strcasestr(a.head, "Retry-After:")),
			      "%s: %d", path, status);
		answer_free(&a);
	}
}

/* Answers that nobody reads are not held beyond their limit; small ones come nevertheless, and
 * who does read gets a large one in the end. */
START_TEST(test_answers_unread)
{
	enum { MORE = 20, DEAF_MAX = 1000 };
	static int fd[DEAF_MAX];
	unsigned port;
	struct answer a;
	homes(1, PATIENT_REQUESTS);
	pid_t node = start(&port);
	wait_ready(port, 200);
	put_large(port);
	uint64_t height = largest_block(port);
	char *path = mem_printf("/v1/blocks/%llu?full=1", (unsigned long long)height);
	char *raw = mem_printf("/v1/raw-blocks/%llu", (unsigned long long)height);
	get(port, path, &a);
	ck_assert_int_eq(a.status, 200);
	size_t fit = API_ANSWER_BYTES_MAX / a.body_len, count = fit + MORE, held = count;
	ck_assert_uint_le(count, DEAF_MAX);
	answer_free(&a);
	for (size_t i = 0; i < count; i++)
		if (ask_and_leave(port, path, &fd[i]) != 200) {
			close(fd[i]);
			fd[i] = -1;
		}
	while (held > fit) { /* whoever made way is gone as soon as the node's thread sees it */
		held = 0;
		for (size_t i = 0; i < count; i++)
			held += fd[i] >= 0 && !is_reset(fd[i]);
		pause_ms(5);
	}
	expect_status(port, "/livez", 200);
	expect_status(port, "/readyz", 200);
	expect_status(port, "/metrics", 200);
	expect_status(port, "/v1/status", 200);
	expect_status(port, "/v1/validators", 200);
	until_answered(port, path);
	until_answered(port, raw);
	for (size_t i = 0; i < count; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	mem_free(path);
	mem_free(raw);
	stop(node);
	clean();
}
END_TEST

/* Bodies whose ends do not come shut out nobody: small ones always have room, and for large
 * ones there is some once the oldest have been cut. */
START_TEST(test_bodies_held)
{
	enum { HELD = 9 };
	int fd[HELD];
	unsigned port;
	struct answer a;
	size_t large = HTTP_BODY_MAX;
	homes(1, PATIENT_REQUESTS);
	pid_t node = start(&port);
	wait_ready(port, 200);
	uint8_t *zeros = mem_zalloc(large);
	char *head = mem_printf("POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\n"
				"Content-Type: application/octet-stream\r\n"
				"Content-Length: %zu\r\n\r\n",
				large);
	for (int i = 0; i < HELD; i++) {
		fd[i] = http_connect(port);
		http_send(fd[i], head, strlen(head));
		http_send(fd[i], zeros, large - 1);
	}
	for (int i = 0; i < 20; i++) {
		put(port, 10000, &a);
		ck_assert_int_eq(a.status, 200);
		answer_free(&a);
	}
	for (int status = 429; status == 429; pause_ms(5)) { /* what it says is wrong */
		post(port, "/v1/transactions", "application/octet-stream",
		     slice_of(zeros, large), &a);
		status = a.status;
		ck_assert_msg(status == 429 || status == 400, "%d", status);
		answer_free(&a);
	}
	for (int i = 0; i < HELD; i++)
		close(fd[i]);
	mem_free(zeros);
	mem_free(head);
	stop(node);
	clean();
}
END_TEST

/* Snapshots are had one after the other by whoever wants some, and not by a crowd that asks for
 * as many as it can get. */
START_TEST(test_snapshots_crowd)
{
	enum { CROWD = 64, IN_A_ROW = 4 };
	int fd[CROWD];
	unsigned port, made = 0, refused = 0;
	struct answer a;
	homes(1, "[limits]\napi_threads = 8\n");
	pid_t node = start(&port);
	wait_ready(port, 200);
	uint64_t begin = clock_us();
	for (int i = 0; i < IN_A_ROW; i++) {
		post(port, "/v1/snapshots", "application/json", slice_str(""), &a);
		ck_assert_int_eq(a.status, 200);
		answer_free(&a);
	}
	for (int i = 0; i < CROWD; i++) {
		fd[i] = http_connect(port);
		http_post(fd[i], "/v1/snapshots", "application/json", slice_str(""));
	}
	for (int i = 0; i < CROWD; i++) {
		http_read(fd[i], &a);
		made += a.status == 200;
		refused += a.status == 503 && strcasestr(a.head, "Retry-After:") &&
			   strcmp(text_of(a.json, "code"), "busy") == 0;
		answer_free(&a);
		close(fd[i]);
	}
	ck_assert_uint_eq(made + refused, CROWD);
	/* However slow this machine is: one for each that it took, besides those at once. */
	ck_assert_uint_le(IN_A_ROW + made,
			  API_SNAPSHOTS_BURST + (clock_us() - begin) / API_SNAPSHOT_US);
	int status = 0;
	for (; status != 200; pause_ms(5)) {
		post(port, "/v1/snapshots", "application/json", slice_str(""), &a);
		status = a.status;
		answer_free(&a);
	}
	stop(node);
	clean();
}
END_TEST

/* ---- descriptors ------------------------------------------------------------------------- */

/* In "out" is what it prints. */
static pid_t start_with_files(unsigned files)
{
	char *command = mem_printf("ulimit -n %u && exec src/node/ostrakond run --home %s",
				   files, home);
	char *argv[] = {"/bin/sh", "-c", command, NULL};
	pid_t pid = spawn(argv);
	mem_free(command);
	return pid;
}

enum { CROWDS = 4, OF_A_CROWD = 150 };
struct crowd {
	unsigned port;
	int fd[OF_A_CROWD];
};

static void *come_together(void *arg)
{
	struct crowd *c = arg;
	for (int i = 0; i < OF_A_CROWD; i++) {
		c->fd[i] = http_connect(c->port);
		(void)!send(c->fd[i], "G", 1, MSG_NOSIGNAL);
	}
	return NULL;
}

/* Crowds that come faster than the API's threads take them in, many more than there are places:
 * whoever comes then is answered, with the crowd there, and when it has gone. */
START_TEST(test_crowds)
{
	static struct crowd crowd[CROWDS];
	pthread_t thread[CROWDS];
	struct answer a;
	unsigned port;
	homes(1, "[limits]\napi_connections = 16\napi_threads = 2\n");
	pid_t node = start(&port);
	wait_ready(port, 200);
	for (int round = 0; round < 5; round++) {
		for (int k = 0; k < CROWDS; k++) {
			crowd[k].port = port;
			ck_assert_int_eq(
				pthread_create(&thread[k], NULL, come_together, &crowd[k]), 0);
		}
		for (int k = 0; k < CROWDS; k++)
			pthread_join(thread[k], NULL);
		int status = 0;
		for (int tries = 0; tries < 1000 && status != 200; tries++, pause_ms(10)) {
			get(port, "/livez", &a);
			status = a.status;
			answer_free(&a);
		}
		ck_assert_int_eq(status, 200);
		for (int k = 0; k < CROWDS; k++)
			for (int i = 0; i < OF_A_CROWD; i++)
				close(crowd[k].fd[i]);
	}
	stop(node);
	clean();
}
END_TEST

static unsigned open_files(pid_t pid)
{
	char path[64];
	unsigned count = 0;
	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	DIR *d = opendir(path);
	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		count++;
	closedir(d);
	return count - 2; /* . and .. */
}

/* However many connections are opened, the store finds descriptors for all its files. */
START_TEST(test_few_files)
{
	enum { FILES = 1000, CROWD = 700 };
	static int fd[CROWD];
	unsigned port;
	struct answer a;
	homes(1, "");
	pid_t node = start_with_files(FILES);
	while (!(port = node_port(home))) {
		ck_assert_int_eq(waitpid(node, NULL, WNOHANG), 0);
		pause_ms(5);
	}
	wait_ready(port, 200);
	ck_assert(file_has("out", "instead of 1024") && file_has("out", "1000 open files"));
	for (int i = 0; i < CROWD; i++) {
		fd[i] = http_connect(port);
		ck_assert_uint_le(open_files(node), FILES - STORE_OPEN_FILES_MAX);
	}
	/* Refused while those that made way are still being closed. */
	for (int status = 0; status != 200; pause_ms(5)) {
		put(port, 10000, &a);
		status = a.status;
		ck_assert(status == 200 || status == 0);
		answer_free(&a);
	}
	ck_assert_uint_le(open_files(node), FILES - 2 * STORE_OPEN_FILES_MAX);
	for (int i = 0; i < CROWD; i++)
		close(fd[i]);
	stop(node);
	/* So few that hardly anybody could ask it anything. */
	node = start_with_files(600);
	ck_assert_int_eq(process_end(node), 78);
	ck_assert(file_has("out", "600 open files"));
	clean();
}
END_TEST

static unsigned free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	close(fd);
	return ntohs(at.sin_port);
}

/* A start that fails when the API has been opened is an orderly end: whoever has asked already
 * is told. */
START_TEST(test_start_fails)
{
	unsigned port = free_port();
	struct answer a;
	homes(1, "[limits]\napi_threads = 1\n");
	char *url = file("api"), *new = file("api.new");
	char *listen = mem_printf("127.0.0.1:%u", port);
	char *argv[] = {"src/node/ostrakond", "run",  "--home", home,
			"--api-listen",	      listen, NULL};
	ck_assert_int_eq(mkdir(url, 0700), 0);	/* which nothing can be renamed to */
	ck_assert_int_eq(mkfifo(new, 0600), 0); /* opened for writing when somebody reads */
	pid_t node = spawn(argv);
	int asks = -1;
	for (; asks < 0; pause_ms(5)) {
		ck_assert_int_eq(waitpid(node, NULL, WNOHANG), 0);
		asks = http_connect(port);
	}
	http_get(asks, "/v1/status");
	for (int i = 0; i < 3; i++) { /* of the same thread: so that it has taken that one */
		get(port, "/livez", &a);
		ck_assert_int_ne(a.status, 0);
		answer_free(&a);
	}
	FILE *f = fopen(new, "r");
	ck_assert_ptr_nonnull(f);
	http_read(asks, &a);
	ck_assert_int_eq(a.status, 503);
	ck_assert_str_eq(text_of(a.json, "code"), "stopping");
	answer_free(&a);
	close(asks);
	ck_assert_int_eq(process_end(node), 1);
	fclose(f);
	mem_free(url);
	mem_free(new);
	mem_free(listen);
	clean();
}
END_TEST

START_TEST(test_show)
{
	homes(1, "hosts = a.example\n[limits]\nevent_streams = 5\n");
	char *argv[] = {"src/node/ostrakond",
			"check-config",
			"--home",
			home,
			"--show",
			"-o",
			"json",
			"--log",
			"debug",
			NULL};
	setenv("OSTRAKON_TIMING_HEARTBEAT", "20", 1);
	ck_assert_int_eq(process_end(spawn(argv)), 0);
	unsetenv("OSTRAKON_TIMING_HEARTBEAT");
	static const struct {
		const char *key, *value, *origin, *source;
	} wanted[] = {
		{"node.log", "\"debug\"", "flag", "--log"},
		{"timing.heartbeat", "20", "environment", "OSTRAKON_TIMING_HEARTBEAT"},
		{"api.hosts", "\"a.example\"", "file", "ostrakond.conf:5"},
		{"limits.event_streams", "5", "file", "ostrakond.conf:7"},
		{"limits.disk_reserve", "64", "default", NULL},
		{"debug.disk_free_file", "null", "default", NULL},
		{"debug.faults_file", "null", "default", NULL},
	};
	char *path = file("out");
	struct json *a;
	ck_assert_int_eq(json_parse_file(&a, path, 1 << 16, NULL), ERR_NONE);
	for (size_t w = 0; w < MEM_COUNT(wanted); w++) {
		size_t i = 0;
		while (i < json_len(a) &&
		       strcmp(text_of(json_at(a, i), "key"), wanted[w].key) != 0)
			i++;
		const struct json *o = json_at(a, i);
		ck_assert_msg(o != NULL, "%s", wanted[w].key);
		char *value = json_dump(json_get(o, "value"), false);
		ck_assert_str_eq(value, wanted[w].value);
		mem_free(value);
		ck_assert_str_eq(text_of(o, "origin"), wanted[w].origin);
		if (wanted[w].source)
			ck_assert_ptr_nonnull(strstr(text_of(o, "source"), wanted[w].source));
		else
			ck_assert(json_is_null(json_get(o, "source")));
	}
	json_free(a);
	mem_free(path);
	clean();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("service");
	TCase *t = tcase_create("process");
	tcase_set_timeout(t, 300);
	tcase_add_test(t, test_token);
	tcase_add_test(t, test_disk_full);
	tcase_add_test(t, test_no_quorum);
	tcase_add_test(t, test_notify);
	tcase_add_test(t, test_stop);
	tcase_add_test(t, test_answers_unread);
	tcase_add_test(t, test_bodies_held);
	tcase_add_test(t, test_snapshots_crowd);
	tcase_add_test(t, test_start_fails);
	tcase_add_test(t, test_show);
	suite_add_tcase(s, t);
	TCase *f = tcase_create("files");
	tcase_set_timeout(f, 280);
	tcase_add_test(f, test_few_files);
	tcase_add_test(f, test_crowds);
	suite_add_tcase(s, f);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
