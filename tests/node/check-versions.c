/* What was made by a newer version, on the disk or at the other end of a link: refused in words
 * that say so, and nothing is changed. Run from the top of the build tree. */
#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "homes.h"
#include "http-client.h"
#include "ledger/store.h"
#include "node/config.h"
#include "process.h"
#include "replica/files.h"

enum { REFUSED_MARK = 0xff };

static char dir[64], home[80];
static struct genesis genesis;
static struct keypair client;

static void make(unsigned n)
{
	crypto_init();
	strcpy(dir, "/tmp/check-versions-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(home, sizeof home, "%s/node1", dir);
	homes_make(dir, n, "[timing]\ntimeout_min = 60\ntimeout_max = 90\n", &genesis, &client);
}

static void clean(void)
{
	genesis_free(&genesis);
	ck_assert_int_eq(files_remove(dir, NULL), ERR_NONE);
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* What the program says of the home, in `said`; its exit code. */
static char said[16384];

static int run(const char *program, const char *a, const char *b, const char *c, const char *d)
{
	char out[96];
	char *argv[] = {(char *)program, (char *)a, (char *)b, (char *)c, (char *)d, NULL};
	struct writer w = {0};
	snprintf(out, sizeof out, "%s/out", dir);
	unlink(out);
	int code = process_end(process_start(argv, out));
	ck_assert_int_eq(files_read(out, sizeof said - 1, &w, NULL), ERR_NONE);
	memcpy(said, w.buf, w.len);
	said[w.len] = 0;
	writer_free(&w);
	return code;
}

static void expect_words(const char *words)
{
	ck_assert_msg(strstr(said, words) != NULL, "no \"%s\" in: %s", words, said);
}

static pid_t start(unsigned *port)
{
	char log[96];
	snprintf(log, sizeof log, "%s/log", dir);
	pid_t pid = node_start(home, log);
	while (!(*port = node_port(home))) {
		ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
		pause_ms(5);
	}
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGTERM);
	ck_assert_int_eq(process_end(pid), 0);
}

static void wait_ready(unsigned port)
{
	for (int status = 0; status != 200; pause_ms(5)) {
		struct answer a;
		get(port, "/readyz", &a);
		status = a.status;
		answer_free(&a);
	}
}

/* In that file, at its one place, and back. */
static void replace(const char *path, const char *from, const char *to)
{
	struct writer w = {0};
	ck_assert_int_eq(files_read(path, 1 << 20, &w, NULL), ERR_NONE);
	char *at = memmem(w.buf, w.len, from, strlen(from));
	ck_assert_msg(at && strlen(from) == strlen(to), "%s in %s", from, path);
	memcpy(at, to, strlen(to));
	int fd = open(path, O_WRONLY | O_TRUNC);
	ck_assert_int_eq(write(fd, w.buf, w.len), (ssize_t)w.len);
	close(fd);
	writer_free(&w);
}

static void set_ledger_version(uint16_t version)
{
	static const size_t at = 8; /* behind "ostrledg" */
	char path[96];
	struct store_options options = {0};
	struct store *s;
	struct writer w = {0};
	snprintf(path, sizeof path, "%s/data", home);
	ck_assert_int_eq(store_open_rocksdb(&s, path, &options, NULL), ERR_NONE);
	ck_assert_int_eq(store_get(s, STORE_META, slice_str("ledger"), &w), ERR_NONE);
	ck_assert_uint_gt(w.len, at + 2);
	ck_assert_int_eq(memcmp(w.buf, "ostrledg", at), 0);
	w.buf[at] = (uint8_t)(version >> 8);
	w.buf[at + 1] = (uint8_t)version;
	struct store_batch *b = store_batch_new();
	store_batch_put(b, STORE_META, slice_str("ledger"), writer_slice(&w));
	ck_assert_int_eq(store_write(s, b, true), ERR_NONE);
	store_batch_free(b);
	writer_free(&w);
	store_close(s);
}

START_TEST(newer_store)
{
	char backup[96];
	unsigned port;
	make(1);
	snprintf(backup, sizeof backup, "%s/backup", dir);
	pid_t node = start(&port);
	wait_ready(port);
	stop(node);
	set_ledger_version(4);
	ck_assert_int_eq(run("src/node/ostrakond", "run", "--home", home, NULL), 78);
	expect_words("format is version 4, this program knows up to 3: use a newer program");
	ck_assert_int_eq(run("tools/ostrakon", "db", "check", "--home", home), 5);
	expect_words("use a newer program");
	ck_assert_int_eq(run("tools/ostrakon", "db", "repair", "--home", home), 5);
	expect_words("use a newer program");
	char *old = mem_printf("%s/data.damaged.1", home);
	ck_assert(!files_exist(old));
	mem_free(old);
	char *option = mem_printf("--home=%s", home);
	ck_assert_int_eq(run("tools/ostrakon", "backup", "create", backup, option), 5);
	expect_words("use a newer program");
	ck_assert(!files_exist(backup));
	set_ledger_version(3); /* nothing else has changed */
	ck_assert_int_eq(run("tools/ostrakon", "db", "check", "--home", home), 0);
	ck_assert_int_eq(run("tools/ostrakon", "backup", "create", backup, option), 0);
	char *manifest = mem_printf("%s/manifest", backup);
	replace(manifest, "ostrakon backup 1", "ostrakon backup 3");
	ck_assert_int_eq(run("tools/ostrakon", "backup", "verify", backup, NULL), 5);
	expect_words("has format version 3, this program knows up to 2: use a newer program");
	mem_free(manifest);
	mem_free(option);
	node = start(&port);
	wait_ready(port);
	stop(node);
	clean();
}
END_TEST

START_TEST(newer_files)
{
	make(1);
	char *path = mem_printf("%s/genesis.json", home);
	replace(path, "\"version\": 1", "\"version\": 2");
	ck_assert_int_eq(run("src/node/ostrakond", "run", "--home", home, NULL), 78);
	expect_words("'version' is 2: this program knows version 1 only");
	replace(path, "\"version\": 2", "\"version\": 1");
	mem_free(path);
	path = mem_printf("%s/validator.key", home);
	replace(path, "\"version\": 1", "\"version\": 7");
	ck_assert_int_eq(run("src/node/ostrakond", "run", "--home", home, NULL), 78);
	expect_words("key file version 7, this program knows 2");
	replace(path, "\"version\": 7", "\"version\": 1");
	mem_free(path);
	ck_assert_int_eq(run("src/node/ostrakond", "check-config", "--home", home, NULL), 0);
	clean();
}
END_TEST

static uint16_t peers_port(unsigned of)
{
	char path[96];
	struct node_config *c = mem_zalloc(sizeof *c);
	struct errmsg m;
	snprintf(path, sizeof path, "%s/node%u", dir, of);
	ck_assert_msg(node_config_read(c, path, &genesis, &m) == ERR_NONE, "%s", m.text);
	uint16_t port = c->listen.port;
	mem_free(c);
	return port;
}

/* Until the node says of its links what is wanted. */
static void wait_for_words(unsigned port, const char *words)
{
	for (bool there = false; !there; pause_ms(10)) {
		struct answer a;
		get(port, "/v1/consensus", &a);
		there = a.body && strstr(a.body, words);
		answer_free(&a);
	}
}

static bool read_all(int fd, void *out, size_t len)
{
	return recv(fd, out, len, MSG_WAITALL) == (ssize_t)len;
}

/* node2 has a validator with a higher number: it is dialed by node1, and answers strangers. */
START_TEST(newer_peer_dials)
{
	unsigned port;
	make(2);
	snprintf(home, sizeof home, "%s/node2", dir);
	pid_t node = start(&port);
	/* A HELLO of version 2, longer than ours. */
	uint8_t hello[4 + 120] = {0, 0, 0, 120, 0, 2}, word[7];
	int fd = http_connect(peers_port(2));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(send(fd, hello, sizeof hello, MSG_NOSIGNAL), sizeof hello);
	ck_assert(read_all(fd, word, sizeof word));
	ck_assert_int_eq(word[3], 3);
	ck_assert_int_eq(word[4], REFUSED_MARK);
	ck_assert_int_eq(-(word[5] << 8 | word[6]), ERR_VERSION);
	ck_assert_int_eq(recv(fd, word, 1, 0), 0);
	close(fd);
	wait_for_words(port, err_text(ERR_VERSION));
	stop(node);
	clean();
}
END_TEST

static int listen_on(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(listen(fd, 4), 0);
	return fd;
}

START_TEST(newer_peer_answers)
{
	unsigned port;
	make(2);
	int listener = listen_on(peers_port(2));
	pid_t node = start(&port);
	int fd = accept(listener, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	uint8_t prefix[4], hello[512];
	ck_assert(read_all(fd, prefix, 4) && prefix[2] < 2);
	ck_assert(read_all(fd, hello, (size_t)(prefix[2] << 8 | prefix[3])));
	ck_assert_int_eq(hello[0] << 8 | hello[1], 1); /* what we speak */
	uint8_t word[7] = {
		0, 0, 0, 3, REFUSED_MARK, (uint8_t)(-ERR_VERSION >> 8), (uint8_t)-ERR_VERSION};
	ck_assert_int_eq(send(fd, word, sizeof word, MSG_NOSIGNAL), sizeof word);
	wait_for_words(port, "it does not speak our version of the links' protocol");
	close(fd);
	close(listener);
	stop(node);
	clean();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("versions");
	TCase *t = tcase_create("newer");
	tcase_set_timeout(t, 300);
	tcase_add_test(t, newer_store);
	tcase_add_test(t, newer_files);
	tcase_add_test(t, newer_peer_dials);
	tcase_add_test(t, newer_peer_answers);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
