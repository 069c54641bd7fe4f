#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "node/api.h"
#include "node/connections.h"
#include "node/debug.h"
#include "node/node.h"

/* ---- text and bytes ------------------------------------------------------------------------
 */

START_TEST(test_percent)
{
	uint8_t out[64];
	size_t len;
	ck_assert_int_eq(percent_decode(out, &len, "a%00b%2F%2f+%ff"), ERR_NONE);
	ck_assert_uint_eq(len, 7);
	ck_assert_mem_eq(out, "a\0b//+\xff", 7);
	ck_assert_int_eq(percent_decode(out, &len, ""), ERR_NONE);
	ck_assert_uint_eq(len, 0);
	static const char *const bad[] = {"%", "a%", "%1", "%g0", "%0g", "%%41", "% 41", "%-1"};
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		ck_assert_msg(percent_decode(out, &len, bad[i]) == ERR_SYNTAX, "%s", bad[i]);
	/* every byte survives */
	for (unsigned b = 0; b < 256; b++) {
		char text[8];
		snprintf(text, sizeof text, "%%%02X", b);
		ck_assert_int_eq(percent_decode(out, &len, text), ERR_NONE);
		ck_assert_uint_eq(len, 1);
		ck_assert_uint_eq(out[0], b);
	}
}
END_TEST

START_TEST(test_split)
{
	struct writer w;
	writer_init(&w, 0);
	for (unsigned i = 1; i <= 5; i++)
		writer_var(&w, slice_of("abcde", i));
	struct slice *txs;
	uint32_t count;
	struct errmsg m;
	ck_assert_int_eq(submission_split(&txs, &count, writer_slice(&w), 5, 5, &m), ERR_NONE);
	ck_assert_uint_eq(count, 5);
	for (unsigned i = 0; i < 5; i++)
		ck_assert(slice_equal(txs[i], slice_of("abcde", i + 1)));
	mem_free(txs);
	/* every truncation: refused unless it ends between two transactions */
	for (size_t len = 0; len < w.len; len++) {
		int err = submission_split(&txs, &count, slice_of(w.buf, len), 5, 5, &m);
		bool whole = len == 5 || len == 11 || len == 18 || len == 26;
		ck_assert_int_eq(err, whole ? ERR_NONE : len == 0 ? ERR_RANGE : ERR_TRUNCATED);
		if (err != ERR_NONE)
			ck_assert_ptr_null(txs);
		mem_free(txs);
	}
	ck_assert_int_eq(submission_split(&txs, &count, writer_slice(&w), 4, 5, &m), ERR_LIMIT);
	ck_assert_int_eq(submission_split(&txs, &count, writer_slice(&w), 5, 4, &m), ERR_LIMIT);
	/* an empty transaction; a length that claims four gigabytes */
	ck_assert_int_eq(submission_split(&txs, &count, slice_of("\0\0\0\0", 4), 5, 5, &m),
			 ERR_RANGE);
	ck_assert_int_eq(submission_split(&txs, &count, slice_of("\xff\xff\xff\xff", 4), 5,
					  UINT32_MAX, &m),
			 ERR_TRUNCATED);
	writer_free(&w);
}
END_TEST

START_TEST(test_split_random)
{
	struct random r;
	random_seed(&r, 7);
	uint8_t bytes[64];
	for (int round = 0; round < 20000; round++) {
		size_t len = random_below(&r, sizeof bytes);
		for (size_t i = 0; i < len; i++)
			bytes[i] = random_chance(&r, 3, 4) ? 0 : (uint8_t)random_below(&r, 12);
		struct slice *txs;
		uint32_t count;
		int err = submission_split(&txs, &count, slice_of(bytes, len), 8, 40, NULL);
		struct writer w;
		writer_init(&w, 0);
		for (uint32_t i = 0; i < count && err == ERR_NONE; i++)
			writer_var(&w, txs[i]);
		if (err == ERR_NONE) /* whatever is accepted is exactly the body */
			ck_assert(slice_equal(writer_slice(&w), slice_of(bytes, len)));
		writer_free(&w);
		mem_free(txs);
	}
}
END_TEST

static int json_tx(const char *text)
{
	uint8_t *bytes;
	size_t len;
	struct errmsg m;
	int err = submission_json(&bytes, &len, slice_str(text), &m);
	ck_assert((err == ERR_NONE) == (bytes != NULL));
	mem_free(bytes);
	return err;
}

START_TEST(test_json_submission)
{
	uint8_t *bytes;
	size_t len;
	ck_assert_int_eq(
		submission_json(&bytes, &len, slice_str(" {\"tx\": \"00fFa1\"}"), NULL),
		ERR_NONE);
	ck_assert_uint_eq(len, 3);
	ck_assert_mem_eq(bytes, "\x00\xff\xa1", 3);
	mem_free(bytes);
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"{}",
		"\"00\"",
		"{\"tx\":\"\"}",
		"{\"tx\":\"0\"}",
		"{\"tx\":\"000\"}",
		"{\"tx\":\"zz\"}",
		"{\"tx\":12}",
		"{\"tx\":null}",
		"{\"tx\":\"00\",\"x\":1}",
		"{\"tx\":\"00\",\"tx\":\"00\"}",
		"{\"tx\":\"00\"} x",
		"{\"TX\":\"00\"}",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
	};
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		ck_assert_msg(json_tx(bad[i]) != ERR_NONE, "%s", bad[i]);
	char *big = mem_alloc(HTTP_JSON_BODY_MAX + 2);
	memset(big, ' ', HTTP_JSON_BODY_MAX + 1);
	big[HTTP_JSON_BODY_MAX + 1] = 0;
	ck_assert_int_eq(json_tx(big), ERR_LIMIT);
	mem_free(big);
	/* one byte over the largest transaction */
	char *hex = mem_alloc(2 * TX_SIZE_MAX + 32);
	for (unsigned over = 0; over < 2; over++) {
		strcpy(hex, "{\"tx\":\"");
		memset(hex + 7, '0', 2 * (TX_SIZE_MAX + over));
		strcpy(hex + 7 + 2 * (TX_SIZE_MAX + over), "\"}");
		ck_assert_int_eq(json_tx(hex), over ? ERR_SYNTAX : ERR_NONE);
	}
	mem_free(hex);
}
END_TEST

START_TEST(test_values)
{
	uint64_t v;
	bool flag;
	ck_assert_int_eq(http_u64("18446744073709551615", &v), ERR_NONE);
	ck_assert_uint_eq(v, UINT64_MAX);
	ck_assert_int_eq(http_u64("18446744073709551616", &v), ERR_RANGE);
	ck_assert_int_eq(http_u64("99999999999999999999999", &v), ERR_RANGE);
	ck_assert_int_eq(http_u64("0", &v), ERR_NONE);
	ck_assert_uint_eq(v, 0);
	static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x1", "1e3", "1.0", "a"};
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		ck_assert_int_eq(http_u64(bad[i], &v), ERR_SYNTAX);
	ck_assert_int_eq(http_u64(NULL, &v), ERR_SYNTAX);
	ck_assert_int_eq(http_flag(NULL, &flag), ERR_NONE);
	ck_assert(flag);
	ck_assert_int_eq(http_flag("0", &flag), ERR_NONE);
	ck_assert(!flag);
	ck_assert_int_eq(http_flag("true", &flag), ERR_NONE);
	ck_assert(flag);
	ck_assert_int_eq(http_flag("yes", &flag), ERR_SYNTAX);
}
END_TEST

START_TEST(test_problems)
{
	/* every error has a status that is an error, a code and a whole document */
	for (int err = -1; err >= -60; err--) {
		struct problem p;
		problem_of(&p, err, NULL);
		ck_assert_uint_ge(p.status, 400);
		ck_assert_uint_lt(p.status, 600);
		ck_assert_str_eq(p.code, err_name(err));
		ck_assert_int_eq(p.retry_after > 0, p.status == 429 || p.status == 503);
		struct json *o = problem_json(&p);
		uint64_t status;
		const char *text;
		ck_assert_int_eq(json_read_u64(o, "status", &status), ERR_NONE);
		ck_assert_uint_eq(status, p.status);
		ck_assert_int_eq(json_read_string(o, "detail", &text), ERR_NONE);
		ck_assert_uint_gt(strlen(text), 0);
		ck_assert_int_eq(json_read_string(o, "title", &text), ERR_NONE);
		ck_assert_int_eq(json_read_string(o, "type", &text), ERR_NONE);
		ck_assert_ptr_nonnull(strstr(text, p.code));
		ck_assert_ptr_null(json_get(o, "tx_id"));
		json_free(o);
	}
	static const struct {
		int err;
		unsigned status;
	} expected[] = {{ERR_TRUNCATED, 400},	  {ERR_NONCANONICAL, 400},
			{ERR_NOT_FOUND, 404},	  {ERR_STALE, 410},
			{ERR_BAD_SIGNATURE, 422}, {ERR_WRONG_CHAIN, 422},
			{ERR_TX_NONCE_USED, 422}, {ERR_TX_EXPIRED, 422},
			{ERR_BUSY, 429},	  {ERR_IO, 500},
			{ERR_CORRUPT, 500},	  {ERR_TIMEOUT, 503}};
	for (size_t i = 0; i < MEM_COUNT(expected); i++) {
		struct problem p;
		problem_of(&p, expected[i].err, "because");
		ck_assert_uint_eq(p.status, expected[i].status);
		ck_assert_str_eq(p.detail, "because");
	}
	/* a detail that is too long is cut, not overrun */
	char *text = mem_alloc(2000);
	memset(text, 'x', 1999);
	text[1999] = 0;
	struct problem p;
	problem_of(&p, ERR_IO, text);
	ck_assert_uint_eq(strlen(p.detail), sizeof p.detail - 1);
	mem_free(text);
}
END_TEST

/* ---- receipts -------------------------------------------------------------------------------
 */

static struct block *make_block(uint32_t count, uint64_t height)
{
	struct writer body;
	writer_init(&body, 0);
	body_begin(&body);
	struct hash *leaves = mem_array(count + 1, sizeof *leaves);
	for (uint32_t i = 0; i < count; i++) {
		struct slice tx = slice_of(&i, sizeof i);
		enum tx_result result = i % 3 ? TX_OK : TX_FAILED_CAS;
		body_add(&body, result, tx);
		body_leaf(&leaves[i], result, tx);
	}
	body_end(&body, count);
	struct signed_header sh = {.h = {.term = 1,
					 .mode = MODE_FAST,
					 .height = height,
					 .tx_count = count,
					 .body_size = (uint32_t)body.len}};
	merkle_root(&sh.h.tx_root, leaves, count);
	struct block *b;
	ck_assert_int_eq(block_new(&b, &sh, writer_slice(&body)), ERR_NONE);
	writer_free(&body);
	mem_free(leaves);
	return b;
}

START_TEST(test_receipts)
{
	for (uint32_t count = 1; count < 70; count++) {
		struct block *blocks[2] = {make_block(count, 1), make_block(count % 5, 2)};
		struct cert cert = {.kind = CERT_ONE_ROUND, .ref = block_ref_of(blocks[1])};
		struct finality *f = finality_new(blocks, 2, &cert);
		for (uint32_t i = 0; i < count; i++) {
			struct proof_document d;
			struct hash leaf;
			finality_prove(f, 0, i, &d);
			ck_assert_uint_eq(d.ch.count, 2);
			ck_assert_uint_eq(d.ch.headers[0].h.height, 1);
			ck_assert_uint_eq(d.ch.headers[1].h.height, 2);
			ck_assert(slice_equal(d.tx, block_tx_bytes(blocks[0], i)));
			ck_assert_int_eq(d.result, blocks[0]->tx[i].result);
			body_leaf(&leaf, d.result, d.tx);
			ck_assert_int_eq(
				merkle_verify(&d.path, &leaf, &blocks[0]->sh.h.tx_root),
				ERR_NONE);
			leaf.b[0] ^= 1;
			ck_assert_int_eq(
				merkle_verify(&d.path, &leaf, &blocks[0]->sh.h.tx_root),
				ERR_BAD_PROOF);
			proof_document_free(&d);
		}
		block_drop(blocks[0]);
		block_drop(blocks[1]);
		finality_drop(finality_hold(f));
		finality_drop(f);
	}
}
END_TEST

/* ---- inbox
 * ------------------------------------------------------------------------------------ */

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return poll(&p, 1, 0) == 1;
}

START_TEST(test_inbox)
{
	struct inbox *q = inbox_new();
	struct request *r = mem_array(INBOX_REQUESTS_MAX + 1, sizeof *r);
	ck_assert(!readable(inbox_fd(q)));
	for (uint32_t i = 0; i < INBOX_REQUESTS_MAX; i++) {
		ck_assert(!inbox_full(q));
		ck_assert(inbox_push(q, &r[i]));
	}
	ck_assert(inbox_full(q));
	ck_assert(!inbox_push(q, &r[INBOX_REQUESTS_MAX]));
	ck_assert(readable(inbox_fd(q)));
	struct request_list list = TAILQ_HEAD_INITIALIZER(list);
	inbox_take(q, &list);
	ck_assert(!readable(inbox_fd(q)));
	uint32_t count = 0;
	struct request *at;
	TAILQ_FOREACH(at, &list, link)
	ck_assert_ptr_eq(at, &r[count++]);
	ck_assert_uint_eq(count, INBOX_REQUESTS_MAX);
	/* bytes are a limit too */
	r[0].bytes = INBOX_BYTES_MAX;
	r[1].bytes = 1;
	ck_assert(inbox_push(q, &r[0]));
	ck_assert(!inbox_push(q, &r[1]));
	TAILQ_INIT(&list);
	inbox_take(q, &list);
	inbox_close(q);
	ck_assert(inbox_closed(q));
	ck_assert(!inbox_push(q, &r[1]));
	inbox_free(q);
	mem_free(r);
}
END_TEST

/* "/v1/blocks/{height}" as "/v1/blocks/{}" */
static void without_name(char out[64], const char *path)
{
	size_t brace = strcspn(path, "{");
	snprintf(out, 64, "%.*s%s", (int)brace, path, path[brace] ? "{}" : "");
}

/* docs/openapi.json has the paths of the API and no others; tests/node/check-contract asks
 * each. */
START_TEST(test_paths_documented)
{
	const char *source = getenv("srcdir");
	char *path = mem_printf("%s/docs/openapi.json", source ? source : ".."), served[64],
	     said[64];
	struct json *doc;
	struct errmsg m = {.text = ""};
	ck_assert_msg(json_parse_file(&doc, path, 1 << 20, &m) == ERR_NONE, "%s", m.text);
	const struct json *paths = json_get(doc, "paths");
	unsigned count = 0, documented = 0;
	for (; api_path(count, served); count++) {
		bool found = false;
		for (const char *k = NULL; (k = json_key_next(paths, k)) != NULL && !found;) {
			without_name(said, k);
			found = strcmp(said, served) == 0;
		}
		ck_assert_msg(found, "%s is not in docs/openapi.json", served);
	}
	for (const char *k = NULL; (k = json_key_next(paths, k)) != NULL;)
		documented++;
	ck_assert_uint_eq(documented, count);
	json_free(doc);
	mem_free(path);
}
END_TEST

START_TEST(test_metrics_text)
{
	struct metrics *m = mem_zalloc(sizeof *m);
	struct snapshot *s = mem_zalloc(sizeof *s);
	histogram_add(&m->sync, 0);
	histogram_add(&m->sync, 100);
	histogram_add(&m->sync, 101);
	histogram_add(&m->sync, UINT32_MAX);
	metric_add(&m->http[429], 3);
	s->peer_count = 2;
	s->status.counters[COUNT_RULE_3] = 17;
	struct connections_stats connections = {.open = 3, .accepted = 9};
	struct writer w;
	writer_init(&w, 0);
	metrics_render(&w, m, s, &connections);
	writer_u8(&w, 0);
	const char *text = (const char *)w.buf;
	ck_assert_ptr_nonnull(strstr(text, "ostrakon_sync_seconds_bucket{le=\"0.0001\"} 2\n"));
	ck_assert_ptr_nonnull(strstr(text, "ostrakon_sync_seconds_bucket{le=\"0.00025\"} 3\n"));
	ck_assert_ptr_nonnull(strstr(text, "ostrakon_sync_seconds_bucket{le=\"10\"} 3\n"));
	ck_assert_ptr_nonnull(strstr(text, "ostrakon_sync_seconds_bucket{le=\"+Inf\"} 4\n"));
	ck_assert_ptr_nonnull(strstr(text, "ostrakon_sync_seconds_count 4\n"));
	ck_assert_ptr_nonnull(strstr(text, "ostrakon_http_requests_total{status=\"429\"} 3\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "ostrakon_engine_events_total{event=\"rule_3\"} 17\n"));
	/* every line is a comment or name[{labels}] value */
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		ck_assert_msg(strncmp(line, "# ", 2) == 0 || strncmp(line, "ostrakon_", 9) == 0,
			      "%s", line);
	writer_free(&w);
	mem_free(m);
	mem_free(s);
}
END_TEST

/* ---- faults on purpose ---------------------------------------------------------------------
 */

static void write_faults(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(test_faults_file)
{
	static struct node_config config;
	char dir[] = "/tmp/faults-XXXXXX", path[64];
	uint64_t now = 1000000, begin;
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/faults", dir);
	snprintf(config.home, sizeof config.home, "%s", dir);
	snprintf(config.faults_file, sizeof config.faults_file, "faults");
	debug_watch(&config);
	ck_assert_int_eq(debug_clock_ms(), 0);
	write_faults(path, "clock_ms 20000\nsync_us 30000\nnonsense\nother 7\n");
	debug_poll(now += 1000000);
	ck_assert_int_eq(debug_clock_ms(), 20000);
	begin = node_clock_us();
	debug_before_sync();
	ck_assert_uint_ge(node_clock_us() - begin, 30000);
	write_faults(path, "clock_ms -5000\nsync_us 99999999999\n");
	debug_poll(now); /* too soon to look again */
	ck_assert_int_eq(debug_clock_ms(), 20000);
	uint64_t ahead = node_wall_ms();
	debug_poll(now += 1000000);
	ck_assert_int_eq(debug_clock_ms(), -5000); /* and a sync that would never end is none */
	ck_assert_uint_lt(node_wall_ms(), ahead);
	debug_before_sync();
	write_faults(path, "clock_ms x\n");
	debug_poll(now += 1000000);
	ck_assert_int_eq(debug_clock_ms(), 0);
	write_faults(path, "clock_ms 1\n");
	debug_poll(now += 1000000);
	ck_assert_int_eq(debug_clock_ms(), 1);
	unlink(path);
	debug_poll(now += 1000000);
	ck_assert_int_eq(debug_clock_ms(), 0);
	rmdir(dir);
}
END_TEST

int main(void)
{
	crypto_init();
	Suite *s = suite_create("api");
	TCase *t = tcase_create("units");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_percent);
	tcase_add_test(t, test_split);
	tcase_add_test(t, test_split_random);
	tcase_add_test(t, test_json_submission);
	tcase_add_test(t, test_values);
	tcase_add_test(t, test_problems);
	tcase_add_test(t, test_receipts);
	tcase_add_test(t, test_inbox);
	tcase_add_test(t, test_paths_documented);
	tcase_add_test(t, test_metrics_text);
	tcase_add_test(t, test_faults_file);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
