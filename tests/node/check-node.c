/* ostrakond as a process, alone in its network, over HTTP. Run from the top of the build tree.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "homes.h"
#include "http-client.h"
#include "ledger/receipts.h"
#include "ledger/tx.h"
#include "process.h"

#define OCTETS	    "application/octet-stream"
#define CONNECTIONS 256

static char dir[64], home[80];
static struct genesis genesis;
static struct chain_ctx ctx;
static struct keypair client;
static pid_t node;
static unsigned port;

/* ---- the process
 * ------------------------------------------------------------------------------ */

static int command(const char *a, const char *b, const char *c)
{
	char *argv[] = {"src/node/ostrakond", (char *)a, (char *)b, (char *)c, NULL};
	char log[96];
	snprintf(log, sizeof log, "%s/log", dir);
	return process_end(process_start(argv, log));
}

static char *read_file(const char *name, char *out, size_t size)
{
	char path[160];
	snprintf(path, sizeof path, "%s/%s", home, name);
	FILE *f = fopen(path, "r");
	if (!f)
		return NULL;
	size_t len = fread(out, 1, size - 1, f);
	out[len] = 0;
	fclose(f);
	return out;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000},
		  NULL);
}

static int ready_status(void)
{
	struct answer a;
	get(port, "/readyz", &a);
	int status = a.status;
	answer_free(&a);
	return status;
}

static void start(void)
{
	char log[96];
	snprintf(log, sizeof log, "%s/log", dir);
	node = node_start(home, log);
	while (!(port = node_port(home))) {
		ck_assert_int_eq(waitpid(node, NULL, WNOHANG), 0); /* still runs */
		pause_ms(5);
	}
	while (ready_status() != 200)
		pause_ms(5);
}

static void make(void)
{
	crypto_init();
	strcpy(dir, "/tmp/check-node-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(home, sizeof home, "%s/node1", dir);
	homes_make(dir, 1, "[timing]\ntimeout_min = 60\ntimeout_max = 90\n", &genesis, &client);
	genesis_ctx(&ctx, &genesis);
	start();
}

static void end(void)
{
	kill(node, SIGKILL);
	process_end(node);
	genesis_free(&genesis);
	char remove[128];
	snprintf(remove, sizeof remove, "rm -r %s", dir);
	ck_assert_int_eq(system(remove), 0);
}

/* ---- transactions
 * ------------------------------------------------------------------------------- */

static void add_put(struct writer *w, const struct keypair *sender, uint64_t nonce,
		    struct slice key, const char *value)
{
	struct op op = {.kind = OP_PUT, .key = key, .value = slice_str(value)};
	struct writer tx;
	writer_init(&tx, 0);
	tx_build(&tx, &ctx, sender, nonce, 1000, &op, 1);
	writer_var(w, writer_slice(&tx));
	writer_free(&tx);
}

static void put_text(struct writer *w, uint64_t nonce, const char *key, const char *value)
{
	writer_init(w, 0);
	add_put(w, &client, nonce, slice_str(key), value);
}

static const char *text_of(const struct json *o, const char *name)
{
	const char *text = NULL;
	ck_assert_msg(json_read_string(o, name, &text) == ERR_NONE, "no \"%s\"", name);
	return text;
}

static const struct json *result(const struct answer *a, size_t i)
{
	const struct json *o = json_at(json_get(a->json, "results"), i);
	ck_assert_msg(o != NULL, "status %d: %s", a->status, a->body);
	return o;
}

static void check_proof(const struct json *o)
{
	struct proof_document d;
	struct errmsg m = {.text = ""};
	ck_assert_ptr_nonnull(json_get(o, "proof"));
	char *text = json_dump(json_get(o, "proof"), false);
	ck_assert_int_eq(proof_document_parse(&d, slice_str(text), &m), ERR_NONE);
	ck_assert_msg(proof_document_check(&d, &genesis, &m) == ERR_NONE, "%s", m.text);
	proof_document_free(&d);
	mem_free(text);
}

START_TEST(test_put_and_read)
{
	struct writer w;
	struct answer a, b;
	put_text(&w, 1, "city", "Athens");
	post(port, "/v1/transactions?prove=1", OCTETS, writer_slice(&w), &a);
	ck_assert_msg(a.status == 200, "%d %s", a.status, a.body);
	const struct json *o = result(&a, 0);
	ck_assert_str_eq(text_of(o, "status"), "committed");
	ck_assert_str_eq(text_of(o, "result"), "ok");
	ck_assert_str_eq(text_of(o, "grade"), "one_round");
	ck_assert_uint_eq(json_len(json_get(o, "signers")), 1);
	check_proof(o);
	/* again: the same receipt */
	post(port, "/v1/transactions", OCTETS, writer_slice(&w), &b);
	ck_assert_int_eq(b.status, 200);
	ck_assert_str_eq(text_of(result(&b, 0), "height"), text_of(o, "height"));
	ck_assert_str_eq(text_of(result(&b, 0), "block"), text_of(o, "block"));
	ck_assert_ptr_null(json_get(result(&b, 0), "proof"));
	answer_free(&b);
	char path[160];
	snprintf(path, sizeof path, "/v1/transactions/%s?prove=1", text_of(o, "tx"));
	get(port, path, &b);
	ck_assert_int_eq(b.status, 200);
	ck_assert_str_eq(text_of(b.json, "block"), text_of(o, "block"));
	check_proof(b.json);
	answer_free(&b);
	get(port, "/v1/state/city?prove=1", &b);
	ck_assert_int_eq(b.status, 200);
	ck_assert_str_eq(text_of(b.json, "key"), "63697479");
	ck_assert_str_eq(text_of(b.json, "value"), "417468656e73");
	check_proof(b.json);
	answer_free(&b);
	/* before that block it was absent, provably */
	snprintf(path, sizeof path, "/v1/state/city?prove=1&height=%d",
		 atoi(text_of(o, "height")) - 1);
	get(port, path, &b);
	ck_assert_msg(b.status == 404, "%d %s", b.status, b.body);
	ck_assert_str_eq(text_of(b.json, "code"), "not_found");
	check_proof(b.json);
	answer_free(&b);
	answer_free(&a);
	writer_free(&w);
}
END_TEST

/* A large batch sent again, each transaction twice: all of them are final, in few blocks, and each is
 * answered with a proof. Then with a deadline at once: nothing is refused. */
START_TEST(test_sent_again)
{
	enum { COUNT = 700 };
	struct writer once, twice;
	struct answer a;
	char key[16];
	writer_init(&once, 0);
	writer_init(&twice, 0);
	for (uint64_t i = 0; i < COUNT; i++) {
		snprintf(key, sizeof key, "again/%u", (unsigned)i);
		size_t at = once.len;
		add_put(&once, &client, 1 + i, slice_str(key), "x");
		writer_raw(&twice, once.buf + at, once.len - at);
		writer_raw(&twice, once.buf + at, once.len - at);
	}
	post(port, "/v1/transactions?prove=1", OCTETS, writer_slice(&once), &a);
	ck_assert_msg(a.status == 200, "%d", a.status);
	answer_free(&a);
	post(port, "/v1/transactions?prove=1", OCTETS, writer_slice(&twice), &a);
	ck_assert_msg(a.status == 200, "%d", a.status);
	for (size_t i = 0; i < 2 * COUNT; i++) {
		ck_assert_str_eq(text_of(result(&a, i), "status"), "committed");
		check_proof(result(&a, i));
	}
	answer_free(&a);
	post(port, "/v1/transactions?timeout=1", OCTETS, writer_slice(&twice), &a);
	ck_assert_msg(a.status == 200 || a.status == 202, "%d", a.status);
	for (size_t i = 0; i < 2 * COUNT; i++) {
		const char *status = text_of(result(&a, i), "status");
		ck_assert_msg(strcmp(status, "committed") == 0 || strcmp(status, "pending") == 0,
			      "%s", status);
	}
	answer_free(&a);
	writer_free(&once);
	writer_free(&twice);
}
END_TEST

#define OCTETS_BACK OCTETS "\r\nAccept: " OCTETS

static void open_receipts(const struct answer *a, struct receipts *out)
{
	ck_assert_ptr_nonnull(strstr(a->head, "Content-Type: " OCTETS));
	ck_assert_int_eq(receipts_open(out, slice_of(a->body, a->body_len)), ERR_NONE);
}

/* The same as in JSON: proven, once for a block, and again from disk; and what is refused. */
START_TEST(test_receipts_in_bytes)
{
	struct writer w;
	struct answer a;
	struct receipts r;
	struct receipt_entry e[3];
	struct certified_header ch;
	struct block *block0 = genesis_block(&genesis, &ctx);
	writer_init(&w, 0);
	add_put(&w, &client, 1, slice_str("a"), "1");
	add_put(&w, &client, 2, slice_str("b"), "2");
	for (int again = 0; again < 2; again++) {
		post(port, "/v1/transactions?prove=1", OCTETS_BACK, writer_slice(&w), &a);
		ck_assert_int_eq(a.status, 200);
		open_receipts(&a, &r);
		struct reader txs;
		reader_init(&txs, writer_slice(&w));
		for (unsigned i = 0; i < 2; i++) {
			struct hash id, leaf;
			struct slice tx = reader_var(&txs, TX_SIZE_MAX);
			tx_id(&id, tx);
			ck_assert_int_eq(receipts_next(&r, &e[i]), ERR_NONE);
			ck_assert_int_eq(e[i].status, RECEIPT_COMMITTED);
			ck_assert(hash_equal(&e[i].id, &id));
			ck_assert_int_eq(certified_header_decode(r.chains[e[i].chain], &ch),
					 ERR_NONE);
			ck_assert_int_eq(certified_header_check(&ch, &ctx, &block0->hash),
					 ERR_NONE);
			body_leaf(&leaf, e[i].result, tx);
			ck_assert_int_eq(
				merkle_verify(&e[i].path, &leaf, &ch.headers[0].h.tx_root),
				ERR_NONE);
			certified_header_free(&ch);
		}
		ck_assert_int_eq(receipts_next(&r, &e[2]), ERR_NOT_FOUND);
		if (!again && r.chain_count == 1) /* one block: named once */
			ck_assert_uint_eq(e[0].chain, e[1].chain);
		receipts_close(&r);
		answer_free(&a);
	}
	post(port, "/v1/transactions", OCTETS_BACK, writer_slice(&w), &a);
	open_receipts(&a, &r);
	ck_assert_uint_eq(r.chain_count, 0);
	ck_assert_int_eq(receipts_next(&r, &e[0]), ERR_NONE);
	ck_assert_uint_eq(e[0].chain, RECEIPTS_NO_CHAIN);
	ck_assert_uint_ge(e[0].height, 1);
	receipts_close(&r);
	answer_free(&a);
	writer_reset(&w);
	add_put(&w, &client, 1, slice_str("a"), "another");
	post(port, "/v1/transactions", OCTETS_BACK, writer_slice(&w), &a);
	ck_assert_int_eq(a.status, 422);
	open_receipts(&a, &r);
	ck_assert_int_eq(receipts_next(&r, &e[0]), ERR_NONE);
	ck_assert_int_eq(e[0].status, RECEIPT_REFUSED);
	ck_assert(slice_equal(e[0].code, slice_str("tx_nonce_used")));
	receipts_close(&r);
	answer_free(&a);
	/* what is wrong with the request as a whole is told in JSON */
	post(port, "/v1/transactions", OCTETS_BACK, slice_str("\1"), &a);
	ck_assert_int_eq(a.status, 400);
	ck_assert_ptr_nonnull(a.json);
	answer_free(&a);
	block_drop(block0);
	writer_free(&w);
}
END_TEST

START_TEST(test_bytes_in_keys)
{
	struct writer w;
	struct answer a;
	writer_init(&w, 0);
	add_put(&w, &client, 1, slice_of("\0/%\xff+ ?", 7), "odd");
	post(port, "/v1/transactions", OCTETS, writer_slice(&w), &a);
	ck_assert_int_eq(a.status, 200);
	answer_free(&a);
	get(port, "/v1/state/%00/%25%ff+%20%3F", &a);
	ck_assert_msg(a.status == 200, "%d %s", a.status, a.body);
	ck_assert_str_eq(text_of(a.json, "key"), "002f25ff2b203f");
	answer_free(&a);
	get(port, "/v1/state/%00", &a);
	ck_assert_int_eq(a.status, 404);
	answer_free(&a);
	writer_free(&w);
}
END_TEST

START_TEST(test_json_and_account)
{
	struct op op = {.kind = OP_TRANSFER, .amount = 400};
	struct keypair other;
	keypair_generate(&other);
	op.to = other.pub;
	struct writer tx;
	writer_init(&tx, 0);
	tx_build(&tx, &ctx, &client, 5, 1000, &op, 1);
	char *hex = mem_alloc(2 * tx.len + 1), key[PUBKEY_HEX_SIZE], path[160];
	hex_encode(hex, tx.buf, tx.len);
	char *body = mem_printf("{\"tx\":\"%s\"}", hex);
	struct answer a;
	post(port, "/v1/transactions?prove=1", "application/json; charset=utf-8",
	     slice_str(body), &a);
	ck_assert_msg(a.status == 200, "%d %s", a.status, a.body);
	ck_assert_str_eq(text_of(a.json, "status"), "committed");
	check_proof(a.json);
	answer_free(&a);
	snprintf(path, sizeof path, "/v1/accounts/%s?prove=1", pubkey_hex(key, &other.pub));
	get(port, path, &a);
	ck_assert_int_eq(a.status, 200);
	ck_assert_str_eq(text_of(a.json, "balance"), "400");
	check_proof(a.json);
	answer_free(&a);
	snprintf(path, sizeof path, "/v1/accounts/%s", pubkey_hex(key, &client.pub));
	get(port, path, &a);
	ck_assert_str_eq(text_of(a.json, "balance"), "999600");
	ck_assert_str_eq(text_of(json_get(a.json, "nonce"), "highest"), "5");
	answer_free(&a);
	keypair_generate(&other);
	snprintf(path, sizeof path, "/v1/accounts/%s?prove=1", pubkey_hex(key, &other.pub));
	get(port, path, &a);
	ck_assert_int_eq(a.status, 200);
	ck_assert_str_eq(text_of(a.json, "balance"), "0");
	check_proof(a.json);
	answer_free(&a);
	writer_free(&tx);
	mem_free(hex);
	mem_free(body);
}
END_TEST

START_TEST(test_accepted_and_timeout)
{
	struct writer w;
	struct answer a;
	put_text(&w, 1, "k", "1");
	post(port, "/v1/transactions?wait=accepted", OCTETS, writer_slice(&w), &a);
	ck_assert_int_eq(a.status, 202);
	ck_assert_str_eq(text_of(result(&a, 0), "status"), "accepted");
	char id[80], path[160];
	snprintf(id, sizeof id, "%s", text_of(result(&a, 0), "tx"));
	answer_free(&a);
	writer_free(&w);
	/* nobody waits: it is committed all the same */
	snprintf(path, sizeof path, "/v1/transactions/%s", id);
	for (;;) {
		get(port, path, &a);
		ck_assert_int_eq(a.status, 200);
		bool committed = strcmp(text_of(a.json, "status"), "committed") == 0;
		answer_free(&a);
		if (committed)
			break;
		pause_ms(1);
	}
	/* no time at all: pending or already committed, and never anything else */
	put_text(&w, 2, "k", "2");
	post(port, "/v1/transactions?timeout=0", OCTETS, writer_slice(&w), &a);
	const char *status = text_of(result(&a, 0), "status");
	ck_assert_int_eq(a.status, strcmp(status, "committed") == 0 ? 200 : 202);
	ck_assert(a.status == 200 || strcmp(status, "pending") == 0);
	answer_free(&a);
	writer_free(&w);
}
END_TEST

static void refused(struct slice body, int status, const char *code)
{
	struct answer a;
	post(port, "/v1/transactions", OCTETS, body, &a);
	ck_assert_msg(a.status == status, "%d, not %d: %s", a.status, status, a.body);
	const char *found = text_of(a.json, "code");
	if (status == 422) {
		ck_assert_str_eq(found, "refused");
		found = text_of(json_get(result(&a, 0), "problem"), "code");
	}
	ck_assert_str_eq(found, code);
	ck_assert_ptr_nonnull(strcasestr(a.head, "application/problem+json"));
	answer_free(&a);
}

START_TEST(test_refusals)
{
	struct writer w;
	put_text(&w, 1, "a", "b");
	w.buf[w.len - 1] ^= 1;
	refused(writer_slice(&w), 422, "bad_signature");
	writer_free(&w);
	struct chain_ctx right = ctx;
	ctx.id.b[0] ^= 1;
	put_text(&w, 1, "a", "b");
	ctx = right;
	refused(writer_slice(&w), 422, "wrong_chain");
	writer_free(&w);
	put_text(&w, 1, "a", "b");
	writer_reset(&w);
	writer_var(&w, slice_of("\xff\xff" "whatever", 10)); /* the mark of a system transaction */
	refused(writer_slice(&w), 422, "permission");
	writer_free(&w);
	put_text(&w, 1u << 20, "a", "b");
	refused(writer_slice(&w), 422, "tx_nonce_window");
	writer_free(&w);
	put_text(&w, 7, "a", "b");
	struct answer a;
	post(port, "/v1/transactions", OCTETS, writer_slice(&w), &a);
	ck_assert_int_eq(a.status, 200);
	answer_free(&a);
	writer_free(&w);
	put_text(&w, 7, "a", "another with that nonce");
	refused(writer_slice(&w), 422, "tx_nonce_used");
	refused(slice_of(w.buf, w.len - 1), 400, "truncated");
	refused(slice_of("", 0), 400, "range");
	refused(slice_of("\0\0\0\1x", 5), 422, "truncated");
	writer_free(&w);
	char hex[] = "{\"tx\":\"00\"}";
	post(port, "/v1/transactions", "application/json", slice_str(hex), &a);
	ck_assert_int_eq(a.status, 400);
	answer_free(&a);
}
END_TEST

START_TEST(test_many_in_one)
{
	struct writer w;
	struct answer a;
	writer_init(&w, 0);
	for (uint64_t i = 1; i <= 500; i++) {
		char key[32];
		snprintf(key, sizeof key, "many-%llu", (unsigned long long)i);
		add_put(&w, &client, i, slice_str(key), "x");
		if (i == 250) /* a broken one in the middle keeps its place */
			w.buf[w.len - 1] ^= 1;
	}
	add_put(&w, &client, 1, slice_str("many-1"), "x"); /* the first one again */
	post(port, "/v1/transactions?prove=1", OCTETS, writer_slice(&w), &a);
	ck_assert_int_eq(a.status, 200);
	ck_assert_uint_eq(json_len(json_get(a.json, "results")), 501);
	for (size_t i = 0; i < 501; i++) {
		const struct json *o = result(&a, i);
		ck_assert_str_eq(text_of(o, "status"), i == 249 ? "refused" : "committed");
		if (i != 249)
			check_proof(o);
	}
	ck_assert_str_eq(text_of(result(&a, 0), "tx"), text_of(result(&a, 500), "tx"));
	answer_free(&a);
	writer_free(&w);
}
END_TEST

START_TEST(test_http_refusals)
{
	static const struct {
		const char *path;
		int status;
	} gets[] = {
		{"/", 404},
		{"/v1", 404},
		{"/v1/state/", 404},
		{"/v1/nothing", 404},
		{"/v1/status/", 404},
		{"/v1/status?x=1", 400},
		{"/v1/blocks?limit=0", 400},
		{"/v1/blocks?limit=101", 400},
		{"/v1/blocks?from=-1", 400},
		{"/v1/blocks/x", 400},
		{"/v1/blocks/99999999", 404},
		{"/v1/blocks/18446744073709551615", 404},
		{"/v1/state/a%", 400},
		{"/v1/state/a?height=99999999", 400},
		{"/v1/state/a?prove=yes", 400},
		{"/v1/state/a?full=1", 400},
		{"/v1/transactions", 405},
		{"/v1/transactions/00", 400},
		{"/v1/transactions/"
		 "0000000000000000000000000000000000000000000000000000000000000000",
		 404},
		{"/v1/accounts/00", 400},
		{"/v1/blocks", 200},
		{"/v1/blocks/0?full=1", 200},
		{"/v1/blocks/latest", 200},
		{"/v1/blocks?from=99999", 200},
		{"/v1/status", 200},
		{"/v1/validators", 200},
		{"/v1/peers", 200},
		{"/v1/evidence?full=1", 200},
		{"/v1/consensus", 200},
		{"/v1/genesis", 200},
		{"/livez", 200},
		{"/readyz", 200},
		{"/metrics", 200},
	};
	struct answer a;
	int fd = http_connect(port); /* one connection for all: errors do not close it */
	for (size_t i = 0; i < MEM_COUNT(gets); i++) {
		http_get(fd, gets[i].path);
		http_read(fd, &a);
		ck_assert_msg(a.status == gets[i].status, "%s: %d %s", gets[i].path, a.status,
			      a.body ? a.body : "");
		ck_assert(strcmp(gets[i].path, "/metrics") == 0 || a.json != NULL);
		if (a.status == 405)
			ck_assert_ptr_nonnull(strstr(a.head, "Allow: POST"));
		answer_free(&a);
	}
	close(fd);
	post(port, "/v1/status", OCTETS, slice_str("x"), &a);
	ck_assert_int_eq(a.status, 405);
	answer_free(&a);
	post(port, "/v1/transactions", "text/plain", slice_str("x"), &a);
	ck_assert_int_eq(a.status, 415);
	answer_free(&a);
	post(port, "/v1/transactions?timeout=120001", OCTETS, slice_str("x"), &a);
	ck_assert_int_eq(a.status, 400);
	answer_free(&a);
}
END_TEST

START_TEST(test_large_bodies)
{
	struct answer a;
	size_t size = (8u << 20) + 1;
	uint8_t *zeros = mem_zalloc(size);
	post(port, "/v1/transactions", OCTETS, slice_of(zeros, size), &a);
	ck_assert_int_eq(a.status, 413);
	answer_free(&a);
	/* without a length it shows only on the way */
	int fd = http_connect(port);
	const char *head =
		"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: " OCTETS
		"\r\nTransfer-Encoding: chunked\r\n\r\n800001\r\n";
	http_send(fd, head, strlen(head));
	http_send(fd, zeros, size);
	http_send(fd, "\r\n0\r\n\r\n", 7);
	http_read(fd, &a);
	ck_assert_int_eq(a.status, 413);
	answer_free(&a);
	close(fd);
	/* too many transactions: 4097 of one byte */
	for (size_t i = 0; i < 4097; i++)
		zeros[5 * i + 3] = 1;
	post(port, "/v1/transactions", OCTETS, slice_of(zeros, 5 * 4097), &a);
	ck_assert_int_eq(a.status, 413);
	answer_free(&a);
	mem_free(zeros);
	/* a header without end, and a body for a GET */
	fd = http_connect(port);
	char junk[70000];
	memset(junk, 'h', sizeof junk);
	memcpy(junk, "GET /livez HTTP/1.1\r\nX: ", 24);
	http_send(fd, junk, sizeof junk);
	http_read(fd, &a);
	ck_assert_int_ne(a.status, 200);
	answer_free(&a);
	close(fd);
	fd = http_connect(port);
	head = "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
	http_send(fd, head, strlen(head));
	http_read(fd, &a);
	ck_assert_int_eq(a.status, 200);
	answer_free(&a);
	close(fd);
	ck_assert_int_eq(ready_status(), 200);
}
END_TEST

/* More waiting connections than MHD has threads by far, one of them half a request. */
START_TEST(test_256_connections)
{
	static int fd[CONNECTIONS];
	static struct keypair sender[CONNECTIONS];
	struct answer a;
	int slow = http_connect(port);
	http_send(slow, "POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\n", 49);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		keypair_generate(&sender[i]);
		fd[i] = http_connect(port);
		ck_assert_int_ge(fd[i], 0);
	}
	for (uint64_t round = 1; round <= 5; round++) {
		for (unsigned i = 0; i < CONNECTIONS; i++) {
			struct writer w;
			writer_init(&w, 0);
			add_put(&w, &sender[i], round, slice_str("shared"), "x");
			http_post(fd[i], "/v1/transactions?prove=1&timeout=60000", OCTETS,
				  writer_slice(&w));
			writer_free(&w);
		}
		for (unsigned i = 0; i < CONNECTIONS; i++) {
			http_read(fd[i], &a);
			ck_assert_msg(a.status == 200, "connection %u: %d %s", i, a.status,
				      a.body);
			if (i % 32 == 0)
				check_proof(result(&a, 0));
			answer_free(&a);
		}
	}
	for (unsigned i = 0; i < CONNECTIONS; i++)
		close(fd[i]);
	close(slow);
}
END_TEST

START_TEST(test_restarts)
{
	char text[320];
	struct writer w;
	struct answer a;
	ck_assert_int_eq(command("run", "--home", home), 7); /* the home is in use */
	ck_assert_int_eq(atoi(read_file("ostrakond.pid", text, sizeof text)), node);
	for (uint64_t round = 1; round <= 4; round++) {
		char key[32], path[64];
		snprintf(key, sizeof key, "round-%llu", (unsigned long long)round);
		put_text(&w, round, key, "kept");
		post(port, "/v1/transactions", OCTETS, writer_slice(&w), &a);
		ck_assert_int_eq(a.status, 200);
		answer_free(&a);
		writer_free(&w);
		bool hard = round % 2;
		kill(node, hard ? SIGKILL : SIGTERM);
		ck_assert_int_eq(process_end(node), hard ? 1000 + SIGKILL : 0);
		ck_assert(hard || !read_file("ostrakond.pid", text, sizeof text));
		if (hard)
			unlink(strcat(strcpy(text, home),
				      "/api")); /* start() waits for a new one */
		ck_assert_ptr_null(read_file("api", text, sizeof text));
		start();
		for (uint64_t r = 1; r <= round; r++) {
			snprintf(path, sizeof path, "/v1/state/round-%llu?prove=1",
				 (unsigned long long)r);
			get(port, path, &a);
			ck_assert_msg(a.status == 200, "%s: %d", path, a.status);
			check_proof(a.json);
			answer_free(&a);
		}
	}
}
END_TEST

/* Everybody who waits when the node stops gets an answer. */
START_TEST(test_stop_answers)
{
	static int fd[64];
	struct answer a;
	for (unsigned i = 0; i < MEM_COUNT(fd); i++) {
		struct writer w;
		struct keypair sender;
		keypair_generate(&sender);
		writer_init(&w, 0);
		add_put(&w, &sender, 1, slice_str("k"), "v");
		fd[i] = http_connect(port);
		http_post(fd[i], "/v1/transactions?timeout=60000", OCTETS, writer_slice(&w));
		writer_free(&w);
	}
	kill(node, SIGTERM);
	for (unsigned i = 0; i < MEM_COUNT(fd); i++) {
		http_read(fd[i], &a);
		/* 0: not even read yet when the node went; then it is not submitted either */
		ck_assert_msg(a.status == 200 || a.status == 202 || a.status == 503 ||
				      a.status == 0,
			      "%d", a.status);
		answer_free(&a);
		close(fd[i]);
	}
	ck_assert_int_eq(process_end(node), 0);
	start();
}
END_TEST

START_TEST(test_commands)
{
	char path[160];
	ck_assert_int_eq(command("--help", NULL, NULL), 0);
	ck_assert_int_eq(command("run", "--help", NULL), 0);
	ck_assert_int_eq(command("version", NULL, NULL), 0);
	ck_assert_int_eq(command("", NULL, NULL), 2);
	ck_assert_int_eq(command("dance", NULL, NULL), 2);
	ck_assert_int_eq(command("run", "--hme", home), 2);
	ck_assert_int_eq(command("check-config", "--home", home), 0);
	ck_assert_int_eq(command("check-config", "--home", "/nonexistent"), 78);
	snprintf(path, sizeof path, "%s/ostrakond.conf", home);
	FILE *f = fopen(path, "a");
	fputs("[api]\nlisten = 127.0.0.1:80\nlisten = 127.0.0.1:81\n", f);
	fclose(f);
	ck_assert_int_eq(command("check-config", "--home", home), 78);
	snprintf(path, sizeof path, "%s/validator.key", home);
	ck_assert_int_eq(chmod(path, 0644), 0);
	ck_assert_int_eq(command("check-config", "--home", home), 78);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("node");
	TCase *t = tcase_create("alone");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, make, end);
	tcase_add_test(t, test_put_and_read);
	tcase_add_test(t, test_sent_again);
	tcase_add_test(t, test_receipts_in_bytes);
	tcase_add_test(t, test_bytes_in_keys);
	tcase_add_test(t, test_json_and_account);
	tcase_add_test(t, test_accepted_and_timeout);
	tcase_add_test(t, test_refusals);
	tcase_add_test(t, test_many_in_one);
	tcase_add_test(t, test_http_refusals);
	tcase_add_test(t, test_large_bodies);
	tcase_add_test(t, test_256_connections);
	tcase_add_test(t, test_restarts);
	tcase_add_test(t, test_stop_answers);
	tcase_add_test(t, test_commands);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
