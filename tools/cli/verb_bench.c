/* bench run: a closed loop. Each client sends a transaction, waits until its commitment has
 * been verified, and sends the next.
 *
 * Transactions are signed before the clock starts, in the order of their nonces, and each
 * client takes the next one, so that what is under way always lies close together in the
 * sender's window of nonces. A block's certificate is verified once; each transaction's place
 * in its block is verified for itself. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "tools/cli/verbs.h"
#include "tools/cli/write.h"

#define SIGN_AHEAD_PER_S 10000 /* for a run by time: more than it can use */
#define SIGN_AHEAD_MAX	 1000000

struct bench {
	struct cli *c;
	struct target *t;
	struct keypair key;
	uint64_t first_nonce, expiry;
	size_t value_size, batch;
	uint64_t tag; /* of this run's keys */
	size_t count;
	struct slice *tx; /* owned bytes */
	size_t sign_next, send_next;
	pthread_mutex_t lock;
	uint64_t begin, end; /* microseconds; end: 0 if by count */
	uint32_t *latency;   /* microseconds, of those committed */
	size_t committed, refused, unknown, unverified;
	uint64_t height_low, height_high, one_round;
	struct errmsg m; /* of the first that failed */
};

/* ---- signing ahead --------------------------------------------------------------------- */

static void sign_one(struct bench *b, size_t i, struct writer *w)
{
	char key[64];
	uint8_t *value = mem_alloc(b->value_size);
	struct random r;
	struct hash id;
	struct op op = {.kind = OP_PUT};
	int err;

	random_seed(&r, b->tag + i);
	for (size_t k = 0; k < b->value_size; k++)
		value[k] = (uint8_t)('a' + random_below(&r, 26));
	snprintf(key, sizeof key, "bench/%016llx/%zu", (unsigned long long)b->tag, i);
	op.key = slice_str(key);
	op.value = slice_of(value, b->value_size);
	err = build_transaction(b->t, w, &b->key, b->first_nonce + i, b->expiry, &op, 1, &id);
	invariant(err == ERR_NONE); /* the first was tried before */
	b->tx[i] = slice_of(mem_dup(w->buf, w->len), w->len);
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

/* ---- the loop -------------------------------------------------------------------------- */

static size_t take(struct bench *b, size_t *first)
{
	size_t n = 0;

	pthread_mutex_lock(&b->lock);
	if (b->send_next < b->count && (b->end == 0 || now_us() < b->end)) {
		*first = b->send_next;
		n = b->count - b->send_next < b->batch ? b->count - b->send_next : b->batch;
		b->send_next += n;
	}
	pthread_mutex_unlock(&b->lock);
	return n;
}

static void count_receipt(struct bench *b, const struct receipt *r)
{
	switch (r->fate) {
	case FATE_COMMITTED:
		if (r->result != TX_OK) {
			b->refused++;
			return;
		}
		b->latency[b->committed++] =
			r->latency_us > UINT32_MAX ? UINT32_MAX : (uint32_t)r->latency_us;
		b->height_low = r->height < b->height_low ? r->height : b->height_low;
		b->height_high = r->height > b->height_high ? r->height : b->height_high;
		b->one_round += r->grade == CERT_ONE_ROUND;
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

/* One client: until there is nothing left to send, or time is up. */
static bool client(void *arg, struct link *l, size_t i)
{
	struct bench *b = arg;
	struct submission *s = mem_array(b->batch, sizeof *s);
	size_t first = 0, n;

	while (!interrupted() && (n = take(b, &first)) > 0) {
		memset(s, 0, n * sizeof *s);
		for (size_t k = 0; k < n; k++)
			s[k].tx = b->tx[first + k];
		submit(l, s, n, now_ms() + b->c->timeout_ms, true, false);
		pthread_mutex_lock(&b->lock);
		for (size_t k = 0; k < n; k++)
			count_receipt(b, &s[k].r);
		pthread_mutex_unlock(&b->lock);
	}
	mem_free(s);
	return true;
}

/* ---- figures --------------------------------------------------------------------------- */

static int compare_latency(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double quantile_ms(const struct bench *b, double q)
{
	size_t at;

	if (b->committed == 0)
		return 0;
	at = (size_t)(q * (double)b->committed); /* nearest rank, counted from 0 */
	if (at >= b->committed)
		at = b->committed - 1;
	return (double)b->latency[at] / 1000;
}

/* Counts by powers of two of a millisecond: {le_ms, count}. */
static struct json *histogram(const struct bench *b)
{
	struct json *rows = json_array();
	double le = 0.25;
	size_t i = 0;

	while (i < b->committed) {
		size_t from = i;
		while (i < b->committed && (double)b->latency[i] <= le * 1000)
			i++;
		if (i > from) {
			struct json *row = json_object();
			json_set(row, "le_ms", json_real(le));
			json_set(row, "count", json_u64(i - from));
			json_append(rows, row);
		}
		le *= 2;
	}
	return rows;
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

static void show_figures(struct bench *b, double seconds, unsigned clients)
{
	struct json *o = json_object(), *latency = json_object(), *rows;
	double sum = 0;

	qsort(b->latency, b->committed, sizeof *b->latency, compare_latency);
	for (size_t i = 0; i < b->committed; i++)
		sum += b->latency[i];
	rows = histogram(b);
	json_set(o, "clients", json_u64(clients));
	json_set(o, "batch", json_u64(b->batch));
	json_set(o, "value_size", json_u64(b->value_size));
	json_set(o, "seconds", json_real(seconds));
	json_set(o, "committed", json_u64(b->committed));
	json_set(o, "refused", json_u64(b->refused));
	json_set(o, "unknown", json_u64(b->unknown));
	json_set(o, "unverified", json_u64(b->unverified));
	json_set(o, "tx_per_s", json_real(seconds > 0 ? (double)b->committed / seconds : 0));
	json_set(o, "blocks", json_u64(b->committed ? b->height_high - b->height_low + 1 : 0));
	json_set(o, "one_round", json_u64(b->one_round));
	json_set(latency, "mean",
		 json_real(b->committed ? sum / (double)b->committed / 1000 : 0));
	json_set(latency, "p50", json_real(quantile_ms(b, 0.50)));
	json_set(latency, "p95", json_real(quantile_ms(b, 0.95)));
	json_set(latency, "p99", json_real(quantile_ms(b, 0.99)));
	json_set(latency, "max", json_real(quantile_ms(b, 1.0)));
	if (b->c->format == FORMAT_TABLE) {
		static const char *const names[] = {"mean", "p50", "p95", "p99", "max"};
		for (size_t i = 0; i < MEM_COUNT(names); i++) {
			char *key = mem_printf("latency_ms_%s", names[i]);
			json_set(o, key, json_copy(json_get(latency, names[i])));
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

static int prepare(struct bench *b)
{
	struct cli *c = b->c;
	struct writer w = {0};
	uint64_t expiry_max, seconds = opt_u64(&c->opt, OPT_SECONDS, 10);
	struct op op = {.kind = OP_PUT, .key = slice_str("bench/0123456789abcdef/12345678")};
	uint8_t *value;
	struct hash id;
	struct link l;
	int err, rc;

	link_open(&l, b->t, 0);
	rc = account_state(&l, &b->key.pub, &b->first_nonce, &expiry_max);
	link_close(&l);
	if (rc != EXIT_DONE)
		return rc;
	b->expiry = choose_expiry(b->t, expiry_max);
	if (opt_given(&c->opt, OPT_COUNT))
		b->count = (size_t)opt_u64(&c->opt, OPT_COUNT, 0);
	else
		b->count = (size_t)(seconds * SIGN_AHEAD_PER_S);
	if (b->count > SIGN_AHEAD_MAX)
		b->count = SIGN_AHEAD_MAX;
	value = mem_zalloc(b->value_size);
	op.value = slice_of(value, b->value_size);
	err = build_transaction(b->t, &w, &b->key, b->first_nonce, b->expiry, &op, 1, &id);
	mem_free(value);
	writer_free(&w);
	if (err != ERR_NONE)
		return cli_fail(c, EXIT_REFUSED, err_name(err), NULL,
				"this chain takes no such transaction: %s", err_text(err));
	b->tx = mem_array(b->count, sizeof *b->tx);
	b->latency = mem_array(b->count, sizeof *b->latency);
	cli_hint(c, "signing %zu transactions ahead", b->count);
	each_in_parallel(b->t, (b->count + 255) / 256, 4, sign_each, b);
	return EXIT_DONE;
}

static int run(struct bench *b)
{
	unsigned clients = (unsigned)opt_u64(&b->c->opt, OPT_CLIENTS, 16);
	uint64_t window = b->t->genesis.limits.nonce_window;
	double seconds;

	if (clients * b->batch > window / 2)
		return cli_usage(
			b->c,
			"%u clients with %zu transactions each would leave the window of "
			"%llu nonces; at most %llu may be under way",
			clients, b->batch, (unsigned long long)window,
			(unsigned long long)window / 2);
	if (opt_given(&b->c->opt, OPT_SECONDS) || !opt_given(&b->c->opt, OPT_COUNT))
		b->end = 1;
	b->begin = now_us();
	if (b->end != 0)
		b->end = b->begin + opt_u64(&b->c->opt, OPT_SECONDS, 10) * 1000000;
	each_in_parallel(b->t, clients, clients, client, b);
	seconds = (double)(now_us() - b->begin) / 1e6;
	show_figures(b, seconds, clients);
	if (interrupted())
		return EXIT_INTERRUPTED;
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
	return EXIT_DONE;
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
	b->batch = (size_t)opt_u64(&c->opt, OPT_BATCH, 1);
	crypto_random(&b->tag, sizeof b->tag);
	pthread_mutex_init(&b->lock, NULL);
	if (rc == EXIT_DONE)
		rc = prepare(b);
	if (rc == EXIT_DONE)
		rc = run(b);
	for (size_t i = 0; b->tx != NULL && i < b->count; i++)
		mem_free((void *)b->tx[i].ptr);
	mem_free(b->tx);
	mem_free(b->latency);
	pthread_mutex_destroy(&b->lock);
	crypto_wipe(&b->key, sizeof b->key);
	target_close(t);
	mem_free(b);
	mem_free(t);
	return rc;
}
