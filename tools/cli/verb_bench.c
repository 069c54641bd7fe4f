/* bench run: signed transactions against a network, and how long each takes to be committed.
 *
 * Closed loop (default): each client sends, waits until the commitment has been verified, and
 * sends the next; so a slow network is asked less. Open loop (--rate): transactions are due at
 * fixed times, whatever comes back, and each one's latency counts from the time at which it was
 * due, not from when it could be sent: a stall is paid for by all that were due in it (no
 * "coordinated omission").
 *
 * Transactions are signed before the clock starts, in the order of their nonces, and clients
 * take the next ones, so that what is under way always lies close together in the sender's
 * window of nonces. A block's certificate is verified once; each transaction's place in its
 * block is verified for itself. Afterwards the blocks are read again: what was acknowledged
 * must be in them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "tools/cli/bench.h"
#include "tools/cli/verbs.h"
#include "tools/cli/write.h"

#define SIGN_AHEAD_PER_S 20000 /* closed loop by time: more than it can use */
#define SIGN_AHEAD_MAX	 1000000
#define LOOK_MS		 1000 /* for a node to say whether it leads */
#define DRAIN_MS	 5000 /* after the end, for what is under way, unless --timeout says else */
#define OPEN_BATCH	 32

/* ---- signing ahead --------------------------------------------------------------------- */

static void sign_one(struct bench *b, size_t i, struct writer *w)
{
	char key[64];
	uint8_t *value = mem_alloc(b->value_size);
	struct random r;
	struct op op = {.kind = OP_PUT};
	int err;

	random_seed(&r, b->tag + i);
	for (size_t k = 0; k < b->value_size; k++)
		value[k] = (uint8_t)('a' + random_below(&r, 26));
	if (b->keys > 0)
		snprintf(key, sizeof key, "bench/%llu",
			 (unsigned long long)((b->first_nonce + i) % b->keys));
	else
		snprintf(key, sizeof key, "bench/%016llx/%zu", (unsigned long long)b->tag, i);
	op.key = slice_str(key);
	op.value = slice_of(value, b->value_size);
	err = build_transaction(b->t, w, &b->key, b->first_nonce + i, b->expiry, &op, 1,
				&b->tx[i].id);
	invariant(err == ERR_NONE); /* the first was tried before */
	b->tx[i].bytes = slice_of(mem_dup(w->buf, w->len), w->len);
	mem_free(value);
}

static bool sign_each(void *arg, struct link *l, size_t block)
{
	struct bench *b = arg;
	struct writer w = {0};

	for (size_t i = block * 256; i < b->count && i < (block + 1) * 256; i++)
		sign_one(b, i, &w);
	writer_free(&w);
	return true;
}

/* ---- counting -------------------------------------------------------------------------- */

/* What became of it, as soon as it is known: who reads along, or reads after a crash, sees
 * whole lines. */
static void save_receipt(struct bench *b, size_t i, const struct receipt *r)
{
	static const char *const fates[] = {
		[FATE_COMMITTED] = "committed",	   [FATE_ACCEPTED] = "accepted",
		[FATE_REFUSED] = "refused",	   [FATE_UNSENT] = "unsent",
		[FATE_UNKNOWN] = "unknown",	   [FATE_UNVERIFIED] = "unverified",
		[FATE_INTERRUPTED] = "interrupted"};
	char hex[HASH_HEX_SIZE];

	fprintf(b->save, "%s %s", hash_hex(hex, &b->tx[i].id), fates[r->fate]);
	if (r->fate == FATE_COMMITTED)
		fprintf(b->save, " %llu", (unsigned long long)r->height);
	else if (r->code[0] != '\0')
		fprintf(b->save, " %s", r->code);
	fputc('\n', b->save);
	if (fflush(b->save) != 0)
		b->save_failed = true;
}

static void count_committed(struct bench *b, size_t i, const struct receipt *r, uint64_t done)
{
	if (r->result != TX_OK) {
		b->refused++;
		return;
	}
	b->committed++;
	b->in_time += b->end == 0 || done <= b->end;
	hdr_add(&b->latency, done - b->tx[i].from);
	b->height_low = r->height < b->height_low ? r->height : b->height_low;
	b->height_high = r->height > b->height_high ? r->height : b->height_high;
	b->one_round += r->grade == CERT_ONE_ROUND;
}

void bench_count(struct bench *b, size_t i, const struct receipt *r, uint64_t done)
{
	if (b->save != NULL)
		save_receipt(b, i, r);
	if (r->fate == FATE_COMMITTED) {
		b->tx[i].height = r->height;
		b->tx[i].index = (uint32_t)r->index;
	}
	if (b->tx[i].from < b->measured)
		return;
	b->sent++;
	b->last_done = done > b->last_done ? done : b->last_done;
	switch (r->fate) {
	case FATE_COMMITTED:
		count_committed(b, i, r, done);
		return;
	case FATE_UNVERIFIED:
		b->unverified++;
		break;
	case FATE_REFUSED:
	case FATE_UNSENT:
		b->refused++;
		break;
	case FATE_UNKNOWN:
	case FATE_INTERRUPTED:
	case FATE_ACCEPTED:
		b->unknown++;
		break;
	}
	if (b->m.text[0] == '\0')
		err_set(&b->m, ERR_NONE, "%s%s%s", r->code, r->code[0] ? ": " : "",
			r->m.text[0] ? r->m.text : "timed out");
}

/* ---- figures --------------------------------------------------------------------------- */

static double quantile_ms(const struct bench *b, double q)
{
	return (double)hdr_quantile(&b->latency, q) / 1000;
}

static void print_histogram(struct cli *c, const struct json *rows)
{
	uint64_t most = 1, count;
	double le;

	for (size_t i = 0; i < json_len(rows); i++)
		if (json_read_u64(json_at(rows, i), "count", &count) == ERR_NONE &&
		    count > most)
			most = count;
	fprintf(c->out, "\nlatency\n");
	for (size_t i = 0; i < json_len(rows); i++) {
		json_as_real(json_get(json_at(rows, i), "le_ms"), &le);
		json_read_u64(json_at(rows, i), "count", &count);
		fprintf(c->out, "  <= %8.2f ms  %8llu  %.*s\n", le, (unsigned long long)count,
			(int)((count * 50 + most - 1) / most),
			"##################################################");
	}
}

static struct json *latency_json(const struct bench *b)
{
	static const struct {
		const char *name;
		double q;
	} quantiles[] = {{"p50", 0.5},	{"p90", 0.9},	 {"p95", 0.95},
			 {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
	struct json *o = json_object();

	json_set(o, "mean",
		 json_real(b->latency.total ? b->latency.sum / (double)b->latency.total / 1000
					    : 0));
	json_set(o, "min", json_real(b->latency.total ? (double)b->latency.min / 1000 : 0));
	for (size_t i = 0; i < MEM_COUNT(quantiles); i++)
		json_set(o, quantiles[i].name, json_real(quantile_ms(b, quantiles[i].q)));
	return o;
}

static void show_figures(struct bench *b)
{
	struct json *o = json_object(), *latency = latency_json(b),
		    *rows = hdr_rows(&b->latency);
	uint64_t done = b->last_done > b->measured ? b->last_done : b->measured;
	uint64_t until = b->end ? b->end : done;
	double seconds = until > b->measured ? (double)(until - b->measured) / 1e6 : 0;

	json_set(o, "loop", json_string(b->rate > 0 ? "open" : "closed"));
	json_set(o, "rate", b->rate > 0 ? json_u64(b->rate) : json_null());
	json_set(o, "clients", json_u64(b->clients));
	json_set(o, "connections", json_u64(b->connections));
	json_set(o, "at_leader", json_bool(b->at_leader));
	json_set(o, "batch", json_u64(b->batch));
	json_set(o, "value_size", json_u64(b->value_size));
	json_set(o, "keys", b->keys > 0 ? json_u64(b->keys) : json_null());
	json_set(o, "warmup_s", json_real((double)(b->measured - b->begin) / 1e6));
	json_set(o, "seconds", json_real(seconds));
	json_set(o, "drain_s",
		 json_real(b->end && done > b->end ? (double)(done - b->end) / 1e6 : 0));
	json_set(o, "sent", json_u64(b->sent));
	json_set(o, "committed", json_u64(b->committed));
	json_set(o, "refused", json_u64(b->refused));
	json_set(o, "unknown", json_u64(b->unknown));
	json_set(o, "unverified", json_u64(b->unverified));
	json_set(o, "verified", json_bool(target_proves(b->t))); /* else by the nodes' word */
	json_set(
		o, "tx_per_s",
		json_real(seconds > 0 ? (double)b->in_time / seconds : 0)); /* before the end */
	if (b->rate > 0)
		json_set(o, "latest_send_ms", json_real((double)b->latest_send / 1000));
	json_set(o, "blocks", json_u64(b->committed ? b->height_high - b->height_low + 1 : 0));
	json_set(o, "one_round", json_u64(b->one_round));
	json_set(o, "requests", json_u64(b->requests));
	json_set(o, "resent", json_u64(b->patient));
	json_set(o, "certificates_verified", json_u64(b->certificates));
	json_set(o, "acknowledged_found", json_u64(b->checked - b->missing));
	json_set(o, "acknowledged_missing", json_u64(b->missing));
	json_set(o, "acknowledged_unchecked", json_u64(b->unchecked));
	json_set(o, "ran_out_of_signed", json_bool(b->ran_out));
	json_set(o, "loader_cpu_s", json_real(b->cpu_s));
	json_set(o, "loader_cpu_us_per_tx",
		 json_real(b->next ? b->cpu_s * 1e6 / (double)b->next : 0));
	if (b->c->format == FORMAT_TABLE) {
		for (const char *k = json_key_next(latency, NULL); k != NULL;
		     k = json_key_next(latency, k)) {
			char *key = mem_printf("latency_ms_%s", k);
			json_set(o, key, json_copy(json_get(latency, k)));
			mem_free(key);
		}
		out_object(b->c, o);
		print_histogram(b->c, rows);
		json_free(latency);
		json_free(rows);
		return;
	}
	json_set(o, "latency_ms", latency);
	json_set(o, "histogram", rows);
	out_object(b->c, o);
}

/* How many to sign. */
static int plan(struct bench *b)
{
	struct cli *c = b->c;
	bool timed = opt_given(&c->opt, OPT_SECONDS) || !opt_given(&c->opt, OPT_COUNT);
	uint64_t ms = opt_u64(&c->opt, OPT_SECONDS, 10) * 1000 + opt_ms(&c->opt, OPT_WARMUP, 0);
	uint64_t count = opt_u64(&c->opt, OPT_COUNT, UINT64_MAX);
	uint64_t fits = b->rate > 0 ? ms * b->rate / 1000 : ms * SIGN_AHEAD_PER_S / 1000;

	if (timed && fits < count)
		count = fits;
	if (b->rate > 0 && count > SIGN_AHEAD_MAX)
		return cli_usage(c,
				 "an open loop signs everything ahead, at most %d transactions",
				 SIGN_AHEAD_MAX);
	b->count = count > SIGN_AHEAD_MAX ? SIGN_AHEAD_MAX : (size_t)count;
	b->end = timed ? 1 : 0;
	return EXIT_DONE;
}

static int open_save(struct bench *b)
{
	const char *path = b->c->opt.value[OPT_SAVE];

	if (!opt_given(&b->c->opt, OPT_SAVE))
		return EXIT_DONE;
	b->save = fopen(path, "ae");
	if (b->save == NULL)
		return cli_fail(b->c, EXIT_REFUSED, "io", "Nothing was sent.", "%s: %s", path,
				strerror(errno));
	return EXIT_DONE;
}

static int prepare(struct bench *b)
{
	struct cli *c = b->c;
	struct writer w = {0};
	uint64_t expiry_max;
	struct op op = {.kind = OP_PUT, .key = slice_str("bench/0123456789abcdef/12345678")};
	uint8_t *value;
	struct hash id;
	struct link l;
	int err, rc;

	link_open(&l, b->t, 0);
	rc = account_state_newest(&l, &b->key.pub, &b->first_nonce, &expiry_max);
	link_close(&l);
	if (rc != EXIT_DONE)
		return rc;
	b->expiry = choose_expiry(b->t, expiry_max);
	rc = plan(b);
	if (rc != EXIT_DONE)
		return rc;
	value = mem_zalloc(b->value_size);
	op.value = slice_of(value, b->value_size);
	err = build_transaction(b->t, &w, &b->key, b->first_nonce, b->expiry, &op, 1, &id);
	mem_free(value);
	writer_free(&w);
	if (err != ERR_NONE)
		return cli_fail(c, EXIT_REFUSED, err_name(err), NULL,
				"this chain takes no such transaction: %s", err_text(err));
	b->tx = mem_zalloc((b->count + 1) * sizeof *b->tx);
	cli_hint(c, "signing %zu transactions ahead", b->count);
	each_in_parallel(b->t, (b->count + 255) / 256, 4, sign_each, b);
	return EXIT_DONE;
}

/* By the nodes' own word, which decides no more than who is asked first: a node that does not lead
 * sends a transaction on, and waits for the leader's certificate, two messages more. */
static unsigned leader_of(const struct bench *b)
{
	unsigned found = 0;
	uint64_t best = 0;
	struct link l;

	link_open(&l, b->t, 0);
	for (unsigned i = 0; i < b->t->count; i++) {
		const char *role = "";
		uint64_t term = 0;
		if (link_call(&l, i, "GET", "/v1/status", NULL, slice_of(NULL, 0), LOOK_MS) ==
			    ERR_NONE &&
		    json_read_string(l.answer, "role", &role) == ERR_NONE &&
		    strcmp(role, "leader") == 0 &&
		    json_read_u64(l.answer, "term", &term) == ERR_NONE && term >= best) {
			found = i;
			best = term;
		}
	}
	link_close(&l);
	return found;
}

static int verdict(struct bench *b)
{
	if (b->save != NULL && fclose(b->save) != 0)
		b->save_failed = true;
	b->save = NULL;
	if (b->save_failed)
		return cli_fail(b->c, EXIT_REFUSED, "io", NULL, "cannot write %s",
				b->c->opt.value[OPT_SAVE]);
	if (interrupted())
		return EXIT_INTERRUPTED;
	if (b->unchecked > 0)
		fprintf(b->c->err,
			"ostrakon: of what was acknowledged %zu could not be looked for again: no "
			"node gave their blocks\n",
			b->unchecked);
	if (b->missing > 0) {
		fprintf(b->c->err,
			"ostrakon: of what was acknowledged %zu are not where the nodes said\n",
			b->missing);
		return EXIT_UNVERIFIED;
	}
	if (b->unverified > 0) {
		fprintf(b->c->err, "ostrakon: %zu commitments could not be verified: %s\n",
			b->unverified, b->m.text);
		return EXIT_UNVERIFIED;
	}
	if (b->refused + b->unknown > 0) {
		fprintf(b->c->err,
			"ostrakon: %zu transactions were refused, of %zu the outcome is "
			"unknown; the first: %s\n",
			b->refused, b->unknown, b->m.text);
		return b->committed == 0 && b->unknown > 0 ? EXIT_UNKNOWN : EXIT_REFUSED;
	}
	return b->unchecked > 0 ? EXIT_UNKNOWN : EXIT_DONE;
}

static void choose_shape(struct bench *b)
{
	const struct options *o = &b->c->opt;
	bool open = b->rate > 0;

	b->clients = (unsigned)opt_u64(o, OPT_CLIENTS, open ? 8 : 16);
	b->connections = (unsigned)opt_u64(o, OPT_CONNECTIONS, b->clients);
	if (b->connections > b->clients)
		b->connections = b->clients;
	b->batch = (b->clients + b->connections - 1) / b->connections;
	if (open) { /* as many as may be under way, run() */
		uint64_t most = b->t->genesis.limits.nonce_window / 2 / b->connections;
		b->batch = most > OPEN_BATCH ? OPEN_BATCH : most > 0 ? most : 1;
	}
	b->batch = (size_t)opt_u64(o, OPT_BATCH, b->batch);
}

static int run(struct bench *b)
{
	uint64_t window = b->t->genesis.limits.nonce_window, under_way = b->clients;

	if (b->rate > 0 || b->connections == b->clients)
		under_way = b->connections * b->batch;
	if (under_way > window / 2)
		return cli_usage(
			b->c,
			"%u clients with %zu transactions each would leave the window of "
			"%llu nonces; at most %llu may be under way",
			b->clients, b->batch, (unsigned long long)window,
			(unsigned long long)window / 2);
	b->first = leader_of(b);
	b->at_leader = opt_given(&b->c->opt, OPT_LEADER);
	b->begin = now_us();
	b->measured = b->begin + opt_ms(&b->c->opt, OPT_WARMUP, 0) * 1000;
	if (b->end != 0)
		b->end = b->measured + opt_u64(&b->c->opt, OPT_SECONDS, 10) * 1000000;
	bench_load(b);
	if (!interrupted())
		bench_check(b);
	show_figures(b);
	return verdict(b);
}

int verb_bench_run(struct cli *c)
{
	struct target *t = mem_zalloc(sizeof *t);
	struct bench *b = mem_zalloc(sizeof *b);
	int rc = key_signer(c, &b->key);

	if (rc != EXIT_DONE) {
		mem_free(t);
		mem_free(b);
		return rc;
	}
	rc = target_open(c, t, true);
	b->c = c;
	b->t = t;
	b->height_low = UINT64_MAX;
	b->value_size = (size_t)opt_u64(&c->opt, OPT_VALUE_SIZE, 64);
	b->keys = opt_u64(&c->opt, OPT_KEYS, 0);
	b->rate = opt_u64(&c->opt, OPT_RATE, 0);
	choose_shape(b);
	b->drain_ms = opt_given(&c->opt, OPT_TIMEOUT) ? c->timeout_ms : DRAIN_MS;
	hdr_init(&b->latency);
	crypto_random(&b->tag, sizeof b->tag);
	if (rc == EXIT_DONE)
		rc = open_save(b);
	if (rc == EXIT_DONE)
		rc = prepare(b);
	if (rc == EXIT_DONE)
		rc = run(b);
	if (b->save != NULL)
		fclose(b->save);
	for (size_t i = 0; b->tx != NULL && i < b->count; i++)
		mem_free((void *)b->tx[i].bytes.ptr);
	mem_free(b->tx);
	crypto_wipe(&b->key, sizeof b->key);
	target_close(t);
	mem_free(b);
	mem_free(t);
	return rc;
}
