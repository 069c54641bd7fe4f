/* Files and texts: the genesis file, a node's configuration, key files, the lab's scenarios,
 * what nodes answer to the command line (JSON, server-sent events), and RocksDB's log as it is
 * checked before RocksDB reads it. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "chain/genesis.h"
#include "crypto/keyfile.h"
#include "ledger/store_private.h"
#include "node/config.h"
#include "tests/fuzz/targets.h"
#include "tests/ledger/world.h"
#include "tools/cli/doctor.h"
#include "tools/cli/events.h"
#include "tools/lab/scenario.h"

static const struct genesis *real_genesis(void)
{
	static struct world w;
	if (!w.block0) {
		world_genesis(&w, 1000);
		w.genesis.scheme = SIG_ED25519;
		world_seal(&w);
	}
	return &w.genesis;
}

static void seed_text(struct fuzz_seeds *out, const char *text)
{
	fuzz_seed(out, slice_str(text));
}

/* Files of the source tree whose names end so. */
static void seed_files(struct fuzz_seeds *out, const char *folder, const char *suffix,
		       size_t max)
{
	const char *srcdir = getenv("srcdir");
	char *path = mem_printf("%s/%s", srcdir ? srcdir : ".", folder);
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);
	uint8_t *bytes = mem_alloc(max);
	for (int i = 0; i < count; i++) {
		size_t len = strlen(entries[i]->d_name), end = strlen(suffix);
		char *file = mem_printf("%s/%s", path, entries[i]->d_name);
		FILE *f = len > end && !strcmp(entries[i]->d_name + len - end, suffix)
				  ? fopen(file, "rb")
				  : NULL;
		if (f) {
			fuzz_seed(out, slice_of(bytes, fread(bytes, 1, max, f)));
			fclose(f);
		}
		mem_free(file);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	mem_free(bytes);
	mem_free(path);
}

/* ---- JSON -------------------------------------------------------------------------------- */

static void walk(const struct json *v)
{
	uint64_t number;
	double real;
	bool flag;
	const char *text, *key = NULL;
	json_as_u64(v, &number);
	json_as_real(v, &real);
	json_as_bool(v, &flag);
	json_as_string(v, &text);
	for (size_t i = 0; json_is_array(v) && i < json_len(v); i++)
		walk(json_at(v, i));
	while (json_is_object(v) && (key = json_key_next(v, key)) != NULL)
		walk(json_get(v, key));
}

static void json_one(struct slice in)
{
	struct json *v, *again;
	struct errmsg m = {.text = ""};
	if (json_parse(&v, in, &m)) {
		invariant(m.text[0]);
		return;
	}
	walk(v);
	char *once = json_dump(v, in.len & 1);
	invariant(!json_parse(&again, slice_str(once), &m));
	char *twice = json_dump(again, in.len & 1);
	invariant(strcmp(once, twice) == 0);
	mem_free(once);
	mem_free(twice);
	json_free(v);
	json_free(again);
}

static void json_seeds(struct fuzz_seeds *out)
{
	seed_text(
		out,
		"{\"a\": [1, -2, 3.5e3, true, null, \"\\u00e9\\ud83d\\ude00\\n\"], \"b\": {}}");
	seed_text(out, "[[[[[[[[]]]]]]]]");
	seed_text(out, "{\"n\": \"18446744073709551615\", \"m\": 9223372036854775807}");
	seed_files(out, "tests/tools/answers", "healthy.json", 8192);
}

static const char *const json_words[] = {"{",
					 "}",
					 "[",
					 "]",
					 "\"",
					 ":",
					 ",",
					 "true",
					 "false",
					 "null",
					 "1e999",
					 "-0",
					 "0.1",
					 "1e-5",
					 "\\u0000",
					 "\\ud800",
					 "\\u00e9",
					 "\\\\",
					 "\xef\xbb\xbf",
					 "9223372036854775808",
					 "\"a\":",
					 NULL};

const struct fuzz_target fuzz_json = {.name = "json",
				      .shape = FUZZ_TEXT,
				      .size_max = 8192,
				      .runs = 20000,
				      .one = json_one,
				      .seeds = json_seeds,
				      .words = json_words};

/* ---- genesis.json ------------------------------------------------------------------------ */

static void genesis_one(struct slice in)
{
	struct genesis g, again;
	struct errmsg m = {.text = ""};
	struct writer one = {0}, two = {0};
	if (genesis_parse(&g, in, &m)) {
		invariant(m.text[0]);
		return;
	}
	if (!genesis_check(&g, false, &m)) {
		struct chain_ctx ctx;
		genesis_ctx(&ctx, &g);
		block_drop(genesis_block(&g, &ctx));
		char *json = genesis_json(&g);
		invariant(!genesis_parse(&again, slice_str(json), &m));
		genesis_encode(&one, &g);
		genesis_encode(&two, &again);
		invariant(slice_equal(writer_slice(&one), writer_slice(&two)));
		writer_free(&one);
		writer_free(&two);
		genesis_free(&again);
		mem_free(json);
	} else {
		invariant(m.text[0]);
	}
	genesis_free(&g);
}

static void genesis_seeds(struct fuzz_seeds *out)
{
	char *json = genesis_json(real_genesis());
	seed_text(out, json);
	mem_free(json);
}

static const char *const genesis_words[] = {"validators",
					    "name",
					    "key",
					    "governance",
					    "recovery",
					    "balances",
					    "account",
					    "amount",
					    "senders",
					    "open",
					    "true",
					    "false",
					    "limits",
					    "checkpoint_interval",
					    "probation",
					    "protocol",
					    "hybrid",
					    "pbft",
					    "window",
					    "nonce_window",
					    "expiry_horizon",
					    "block_txs_max",
					    "0",
					    "1",
					    "4294967296",
					    "18446744073709551615",
					    "\"",
					    "[]",
					    "{}",
					    ",",
					    NULL};

const struct fuzz_target fuzz_genesis = {.name = "genesis",
					 .shape = FUZZ_TEXT,
					 .size_max = 16384,
					 .runs = 5000,
					 .one = genesis_one,
					 .seeds = genesis_seeds,
					 .words = genesis_words};

/* ---- ostrakond.conf ---------------------------------------------------------------------- */

static void config_one(struct slice in)
{
	static struct node_config c, again;
	struct errmsg m = {.text = ""};
	const struct genesis *g = real_genesis();
	fuzz_scratch_file("ostrakond.conf", in);
	int err = node_config_read(&c, fuzz_scratch(), g, &m);
	invariant(!err || m.text[0]);
	if (err)
		return;
	invariant(c.token_file[0] || host_is_loopback(c.api.host));
	json_free(node_config_json(&c, g));
	invariant(!node_config_read(&again, fuzz_scratch(), g, &m));
	invariant(memcmp(&c, &again, sizeof c) == 0);
}

static void config_seeds(struct fuzz_seeds *out)
{
	seed_text(
		out,
		"# a comment\n[node]\nname = a\nlog = info,consensus=debug\nlog_format = json\n"
		"[peers]\nlisten = 127.0.0.1:7001\na = 127.0.0.1:7001\nb = [::1]:7002\n"
		"c = localhost:7003\nd = 10.0.0.1:7004\n[api]\nlisten = 127.0.0.1:0\n");
	seed_text(
		out,
		"[peers]\nlisten=:7001\nb=h:1\nc=h:2\nd=h:3\na=h:4\n[timing]\nheartbeat = 10\n"
		"timeout_min = 100\ntimeout_max = 200\ntimeout_cap = 1000\n[limits]\n"
		"api_connections = 8\nhistory = 1024\ndisk_reserve = 1\n[debug]\n"
		"disk_free_file = /x\n");
	seed_text(out, "[api]\nlisten = 0.0.0.0:80\ntoken_file = token\nhosts = a,b\n");
}

static const char *const config_words[] = {"[node]",
					   "[peers]",
					   "[api]",
					   "[timing]",
					   "[limits]",
					   "[debug]",
					   "name",
					   "log",
					   "log_format",
					   "listen",
					   "hosts",
					   "token_file",
					   "heartbeat",
					   "timeout_min",
					   "timeout_max",
					   "timeout_cap",
					   "api_threads",
					   "verify_threads",
					   "api_connections",
					   "api_per_address",
					   "request_timeout",
					   "event_streams",
					   "pipeline",
					   "history",
					   "disk_reserve",
					   "disk_free_file",
					   "faults_file",
					   " = ",
					   "\n",
					   ";",
					   "#",
					   "[",
					   "]",
					   "127.0.0.1:1",
					   "[::1]:65535",
					   "0",
					   "4294967296",
					   "info",
					   NULL};

const struct fuzz_target fuzz_config = {.name = "config",
					.shape = FUZZ_TEXT,
					.size_max = 4096,
					.runs = 10000,
					.one = config_one,
					.seeds = config_seeds,
					.words = config_words};

/* ---- key files --------------------------------------------------------------------------- */

static void keyfile_one(struct slice in)
{
	struct keyfile_info info;
	struct keypair key;
	struct errmsg m = {.text = ""};
	const char *path = fuzz_scratch_file("validator.key", in);
	int known = keyfile_info(path, &info, &m);
	invariant(!known || m.text[0]);
	int err = keyfile_read(path, &key, NULL, &m);
	invariant(!err || m.text[0]);
	invariant(err || (!known && !info.encrypted && pubkey_equal(&key.pub, &info.pub)));
	invariant(known || !info.encrypted || err);
}

static void keyfile_seeds(struct fuzz_seeds *out)
{
	struct keypair key;
	struct errmsg m;
	uint8_t seed[32] = {1}, bytes[4096];
	keypair_from_seed(&key, seed);
	for (int i = 0; i < 2; i++) {
		char *path = mem_printf("%s/a.key", fuzz_scratch());
		invariant(!keyfile_write(path, &key, "label", i ? "passphrase" : NULL, &m));
		FILE *f = fopen(path, "rb");
		invariant(f);
		fuzz_seed(out, slice_of(bytes, fread(bytes, 1, sizeof bytes, f)));
		fclose(f);
		unlink(path);
		mem_free(path);
	}
}

static const char *const keyfile_words[] = {"public_key",
					    "label",
					    "encrypted",
					    "secret",
					    "kdf",
					    "argon2id",
					    "passes",
					    "memory_bytes",
					    "salt",
					    "nonce",
					    "ciphertext",
					    "none",
					    "true",
					    "false",
					    "0",
					    "1",
					    "18446744073709551615",
					    "\"",
					    ",",
					    "{}",
					    NULL};

const struct fuzz_target fuzz_keyfile = {.name = "keyfile",
					 .shape = FUZZ_TEXT,
					 .size_max = 4096,
					 .runs = 10000,
					 .one = keyfile_one,
					 .seeds = keyfile_seeds,
					 .words = keyfile_words};

/* ---- scenarios --------------------------------------------------------------------------- */

static void scenario_one(struct slice in)
{
	static struct scenario s;
	struct errmsg m = {.text = ""};
	int err = scenario_read(&s, fuzz_scratch_file("a.scenario", in), &m);
	invariant(!err || m.text[0]);
	if (err)
		return;
	invariant(s.nodes >= 1 && s.nodes <= VALIDATORS_MAX && s.summary[0]);
	invariant(s.decisions >= 1 && s.corrupt <= (int)VALIDATORS_MAX);
	invariant(s.expect_count <= SCENARIO_EXPECT_MAX && s.path[0]);
	invariant(scenario_is_live(&s, &m) || m.text[0]);
	for (int kind = 0; kind < EXPECT_KINDS; kind++)
		scenario_expects(&s, (enum expectation_kind)kind);
	for (unsigned n = 1; n <= VALIDATORS_MAX; n++) {
		invariant(scenario_corrupt(&s, n) <= VALIDATORS_MAX);
		scenario_targets(&s, n);
	}
}

static void scenario_seeds(struct fuzz_seeds *out)
{
	seed_text(out,
		  "summary a\nnodes 7\ncorrupt f+1\nwho leader\ntargets half\nfaults storm\n"
		  "decisions 20\nexpect mode-change proof\nexpect progress\n");
	seed_files(out, "tests/scenarios", ".scenario", 4096);
}

static const char *const scenario_words[] = {"summary ",
					     "describe ",
					     "nodes ",
					     "corrupt ",
					     "attacks ",
					     "who ",
					     "targets ",
					     "faults ",
					     "decisions ",
					     "expect ",
					     "f+1",
					     "f",
					     "all",
					     "equivocate",
					     "leader",
					     "moods",
					     "half",
					     "one",
					     "at 1s pause leader for 900ms\n",
					     "at ",
					     "cut ",
					     "heal",
					     "crash ",
					     "kill ",
					     "restart ",
					     "protocol ",
					     "pbft",
					     "duration ",
					     "clients ",
					     "think ",
					     "delay ",
					     "loss ",
					     "availability ",
					     "failover ",
					     "evidence ",
					     "culprits ",
					     "1ms",
					     "6s",
					     "18446744073709551615s",
					     "50%",
					     "storm",
					     "none",
					     "no-conflict",
					     "mode-change",
					     "timeouts",
					     "\n",
					     "#",
					     "64",
					     "-1",
					     "1000000",
					     NULL};

const struct fuzz_target fuzz_scenario = {.name = "scenario",
					  .shape = FUZZ_TEXT,
					  .size_max = 4096,
					  .runs = 10000,
					  .one = scenario_one,
					  .seeds = scenario_seeds,
					  .words = scenario_words};

/* ---- server-sent events ------------------------------------------------------------------ */

static bool note(void *arg, const struct sse_event *e)
{
	struct writer *w = arg;
	const char *const parts[] = {e->type, e->id, e->data};
	for (unsigned i = 0; i < MEM_COUNT(parts); i++)
		writer_var(w, slice_str(parts[i]));
	return w->len < 4000;
}

/* u8: how it is cut into pieces; then the stream. However it comes, it says the same. */
static void sse_one(struct slice in)
{
	struct writer whole = {0}, pieces = {0};
	struct sse_parser a, b;
	if (in.len == 0)
		return;
	size_t step = 1 + in.ptr[0] % 16;
	in = slice_of(in.ptr + 1, in.len - 1);
	sse_init(&a, note, &whole);
	sse_init(&b, note, &pieces);
	int err = sse_feed(&a, in), piece = ERR_NONE;
	for (size_t at = 0; at < in.len && !piece; at += step)
		piece = sse_feed(
			&b, slice_of(in.ptr + at, in.len - at < step ? in.len - at : step));
	invariant(err == piece && slice_equal(writer_slice(&whole), writer_slice(&pieces)));
	invariant(strcmp(a.id, b.id) == 0 && a.retry_ms == b.retry_ms);
	sse_reset(&a);
	sse_feed(&a, in);
	sse_free(&a);
	sse_free(&b);
	writer_free(&whole);
	writer_free(&pieces);
}

static void sse_seeds(struct fuzz_seeds *out)
{
	seed_text(out, "\3event: txs\nid: 3.1\ndata: {\"a\": 1}\n\n: alive\n\nretry: 1000\n"
		       "event: blocks\r\nid: 4.0\r\ndata: a\r\ndata: b\r\n\r\n");
	seed_text(out, "\1\xef\xbb\xbf"
		       "data\n\nid\ndata: x\r\rid: 7\n\nevent: x\n\n");
}

static const char *const sse_words[] = {
	"data: ", "event: ", "id: ", "retry: ", "\n",		"\r\n",
	"\r",	  "\n\n",    ":",    "gap",	"\xef\xbb\xbf", "18446744073709551616",
	NULL};

const struct fuzz_target fuzz_sse = {.name = "sse",
				     .shape = FUZZ_TEXT,
				     .size_max = 8192,
				     .runs = 20000,
				     .one = sse_one,
				     .seeds = sse_seeds,
				     .words = sse_words};

/* ---- doctor: answers of nodes, merged ---------------------------------------------------- */

static void doctor_one(struct slice in)
{
	struct json *answers;
	struct errmsg m;
	if (json_parse(&answers, in, &m))
		return;
	struct json *verdict = doctor_analyse(answers);
	invariant(verdict && json_is_array(json_get(verdict, "findings")));
	char *text = json_dump(verdict, true);
	mem_free(text);
	json_free(verdict);
	json_free(answers);
}

static void doctor_seeds(struct fuzz_seeds *out)
{
	seed_text(
		out,
		"{\"n\": 4, \"q\": 3, \"nodes\": [{\"name\": \"a\", \"reach\": \"refused\"}]}");
	seed_files(out, "tests/tools/answers", ".json", 65536);
}

static const char *const doctor_words[] = {"\"running\"",
					   "\"paused\"",
					   "\"down\"",
					   "\"refused\"",
					   "\"timeout\"",
					   "\"broken\"",
					   "\"answered\"",
					   "null",
					   "true",
					   "false",
					   "0",
					   "1",
					   "18446744073709551615",
					   "-9223372036854775808",
					   "\"node1\"",
					   "\"\"",
					   "[]",
					   "{}",
					   "64",
					   "65",
					   "\"leader\"",
					   "\"votes\"",
					   "\"pbft\"",
					   NULL};

const struct fuzz_target fuzz_doctor = {.name = "doctor",
					.shape = FUZZ_TEXT,
					.size_max = 65536,
					.runs = 3000,
					.one = doctor_one,
					.seeds = doctor_seeds,
					.words = doctor_words};

/* ---- RocksDB's log ----------------------------------------------------------------------- */

#define WAL_MARK "mark of this store"

static void put_le(struct writer *w, uint64_t v, unsigned bytes)
{
	for (; bytes > 0; bytes--, v >>= 8)
		writer_u8(w, (uint8_t)v);
}

/* Castagnoli, reflected, masked as RocksDB does. */
static uint32_t masked_crc(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xffffffff;
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	crc = ~crc;
	return (crc >> 15 | crc << 17) + 0xa282ead8;
}

/* Ops: {u8 type of record, u8 flags, payload}; flags: 1 a false checksum, 2 the length is one
 * more, 4 the payload alone: no record; 8 it begins like a synced batch. */
static void wal_record(struct writer *log, uint8_t type, struct slice op)
{
	struct writer r = {0}, body = {0};
	uint8_t flags = op.len ? op.ptr[0] : 0;
	struct slice rest = op.len ? slice_of(op.ptr + 1, op.len - 1) : op;
	if (flags & 4) {
		writer_raw(log, rest.ptr, rest.len);
		return;
	}
	if (flags & 8) {
		put_le(&body, 7, 8);
		put_le(&body, 1, 4);
		writer_u8(&body, 3);
		writer_u8(&body, sizeof WAL_MARK - 1);
		writer_raw(&body, WAL_MARK, sizeof WAL_MARK - 1);
	}
	writer_raw(&body, rest.ptr, rest.len);
	writer_u8(&r, type);
	writer_raw(&r, body.buf, body.len);
	put_le(log, masked_crc(r.buf, r.len) ^ (flags & 1), 4);
	put_le(log, body.len + (flags >> 1 & 1), 2);
	writer_raw(log, r.buf, r.len);
	writer_free(&r);
	writer_free(&body);
}

static void wal_one(struct slice in)
{
	struct reader r;
	struct slice op;
	uint8_t kind;
	struct writer log[3] = {{0}};
	struct errmsg m = {.text = ""}, again = {.text = ""};
	static const char *const names[] = {"000004.log", "000007.log", "MANIFEST-000003"};
	reader_init(&r, in);
	while (fuzz_next_op(&r, &kind, &op))
		wal_record(&log[kind / 16 % 3], kind % 16, op);
	for (unsigned i = 0; i < 3; i++) {
		fuzz_scratch_file(names[i], writer_slice(&log[i]));
		writer_free(&log[i]);
	}
	int dir = open(fuzz_scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	invariant(dir >= 0);
	struct slice mark = in.len & 1 ? slice_str(WAL_MARK) : slice_of(NULL, 0);
	bool torn;
	int err = store_wal_check(dir, fuzz_scratch(), mark, false, &torn, &m);
	invariant(!err || m.text[0]);
	/* a tail that was cut stays cut; what is damaged stays refused */
	invariant(store_wal_check(dir, fuzz_scratch(), mark, false, &torn, &again) == err);
	close(dir);
	fuzz_scratch_clear();
}

static void wal_seeds(struct fuzz_seeds *out)
{
	struct writer w = {0};
	fuzz_op(&w, 1, slice_of("\10some operations", 16));
	fuzz_op(&w, 2, slice_of("\10first", 6));
	fuzz_op(&w, 3, slice_of("\0middle", 7));
	fuzz_op(&w, 4, slice_of("\0last", 5));
	fuzz_seed(out, writer_slice(&w));
	fuzz_op(&w, 17, slice_of("\10of the newer log", 17));
	fuzz_op(&w, 33, slice_of("\0of the manifest", 16));
	fuzz_seed(out, writer_slice(&w));
	fuzz_op(&w, 1, slice_of("\11torn", 5));
	fuzz_seed(out, writer_slice(&w));
	fuzz_op(&w, 1, slice_of("\10and marked behind it", 21));
	fuzz_seed(out, writer_slice(&w));
	writer_reset(&w);
	fuzz_op(&w, 1, slice_of("\12longer", 7));
	fuzz_op(&w, 0, slice_of("\4\0\0\0\0\0\0\0", 8));
	fuzz_seed(out, writer_slice(&w));
	writer_free(&w);
}

const struct fuzz_target fuzz_wal = {.name = "wal",
				     .shape = FUZZ_OPS,
				     .size_max = 4096,
				     .runs = 5000,
				     .one = wal_one,
				     .seeds = wal_seeds};
