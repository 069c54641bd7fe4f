/* What a client sends to the API: bodies of /v1/transactions, percent-encoded paths,
 * parameters, the headers that decide who may ask. The framing of HTTP itself is
 * libmicrohttpd's. */
#include <string.h>

#include "node/gate.h"
#include "node/http.h"
#include "tests/fuzz/targets.h"
#include "tests/ledger/world.h"

enum { BODY_JSON, BODY_MANY, PATH, NUMBER, GATE, ADDRESS, PARTS };

static struct world w;
static bool made;

static void transaction(struct slice bytes)
{
	struct tx tx;
	int err = tx_decode(&tx, bytes, &w.ctx, &w.genesis.limits);
	if (err && err != ERR_WRONG_CHAIN)
		return;
	if (!err)
		tx_check_signature(&tx, &w.ctx);
}

static void body_json(struct slice in)
{
	struct errmsg m = {.text = ""};
	uint8_t *bytes = NULL;
	size_t len;
	int err = submission_json(&bytes, &len, in, &m);
	if (err) {
		struct problem p = {0};
		problem_of(&p, err, m.text);
		invariant(p.status >= 400 && p.status < 600);
		json_free(problem_json(&p));
		return;
	}
	transaction(slice_of(bytes, len));
	mem_free(bytes);
}

static void body_many(struct slice in)
{
	struct errmsg m = {.text = ""};
	struct slice *txs = NULL;
	struct writer again = {0};
	uint32_t count;
	if (submission_split(&txs, &count, in, 64, TX_SIZE_MAX, &m))
		return;
	invariant(count > 0 && count <= 64);
	for (uint32_t i = 0; i < count; i++) {
		writer_var(&again, txs[i]);
		transaction(txs[i]);
	}
	invariant(slice_equal(writer_slice(&again), in));
	writer_free(&again);
	mem_free(txs);
}

static char *text_of(struct slice in)
{
	char *text = mem_alloc(in.len + 1);
	if (in.len)
		memcpy(text, in.ptr, in.len);
	text[in.len] = 0;
	return text;
}

/* HOST \n ORIGIN \n AUTHORIZATION; a line that is missing is a header that is. */
static void gate(struct slice in)
{
	static const uint8_t token[] = "a token of some length";
	struct gate g = {
		.listen = "127.0.0.1", .hosts = "ledger.example,other", .needs_token = true};
	sha256(&g.token, token, sizeof token - 1);
	char *text = text_of(in), *save = NULL;
	char *host = strtok_r(text, "\n", &save), *origin = strtok_r(NULL, "\n", &save),
	     *authorization = strtok_r(NULL, "\n", &save);
	if (gate_host(&g, host))
		invariant(host && (strstr(host, "127.") || strcasestr(host, "localhost") ||
				   strcasestr(host, "ledger.example") ||
				   strcasestr(host, "other") || strstr(host, "::1")));
	gate_origin(&g, origin, host);
	gate_token(&g, authorization);
	g.wildcard = true;
	gate_host(&g, host);
	mem_free(text);
}

static void one(struct slice in)
{
	uint64_t number;
	bool flag;
	size_t len;
	struct node_peer_address address;
	if (!made) {
		world_genesis(&w, 0);
		world_seal(&w);
		made = true;
	}
	if (in.len == 0)
		return;
	unsigned part = in.ptr[0] % PARTS;
	in = slice_of(in.ptr + 1, in.len - 1);
	char *text = text_of(in);
	uint8_t *decoded = mem_alloc(in.len + 1);
	switch (part) {
	case BODY_JSON:
		body_json(in);
		break;
	case BODY_MANY:
		body_many(in);
		break;
	case PATH:
		if (!percent_decode(decoded, &len, text))
			invariant(len <= strlen(text));
		break;
	case NUMBER:
		if (!http_u64(text, &number))
			invariant(text[0] && strspn(text, "0123456789") == strlen(text));
		http_flag(text, &flag);
		break;
	case GATE:
		gate(in);
		break;
	default:
		if (!host_port_parse(&address, text))
			host_is_loopback(address.host);
	}
	mem_free(text);
	mem_free(decoded);
}

static void seed(struct fuzz_seeds *out, uint8_t part, struct slice bytes)
{
	struct writer s = {0};
	writer_u8(&s, part);
	writer_raw(&s, bytes.ptr, bytes.len);
	fuzz_seed(out, writer_slice(&s));
	writer_free(&s);
}

static void seeds(struct fuzz_seeds *out)
{
	static const char *const texts[] = {
		"\2key%20with%2Fslash",
		"\2%zz",
		"\3"
		"18446744073709551615",
		"\3true",
		"\4"
		"127.0.0.1:7100\nhttp://127.0.0.1:7100\nBearer a token",
		"\4[::1]:7100\nnull",
		"\4ledger.example",
		"\5[::1]:7001",
		"\5localhost:0"};
	struct writer many = {0};
	struct op ops[] = {op_put("key", "value"), op_cas("k", NULL, "v"), op_delete("k")};
	one(slice_of(NULL, 0));
	for (unsigned i = 0; i < MEM_COUNT(texts); i++)
		fuzz_seed(out, slice_str(texts[i]));
	for (uint32_t i = 1; i <= MEM_COUNT(ops); i++) {
		struct slice tx = world_tx(&w, &w.client[i], i, 50, ops, i);
		struct json *o = json_object();
		json_set(o, "tx", json_hex(tx.ptr, tx.len));
		char *text = json_dump(o, false);
		seed(out, BODY_JSON, slice_str(text));
		writer_var(&many, tx);
		seed(out, BODY_MANY, writer_slice(&many));
		json_free(o);
		mem_free(text);
		mem_free((void *)tx.ptr);
	}
	writer_free(&many);
}

const struct fuzz_target fuzz_http = {.name = "http",
				      .shape = FUZZ_NESTED,
				      .size_max = 4096,
				      .runs = 20000,
				      .one = one,
				      .seeds = seeds};
