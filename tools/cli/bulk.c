/* put --from, get --from, tx status --from. */
#include "tools/cli/bulk.h"

#include <string.h>

#include "base/mem.h"
#include "tools/cli/lines.h"
#include "tools/cli/write.h"

#define BULK_CLIENTS   8
#define BULK_BATCH     32
#define NONCE_ATTEMPTS 16

/* What all three count, under one lock, which also orders the output. */
struct bulk {
	struct cli *c;
	struct target *t;
	struct lines lines;
	pthread_mutex_t lock;
	uint64_t start;
	size_t done, failed, absent, different, unknown;
	uint64_t height_low, height_high;
	int rc; /* of the first failure */
	unsigned missed; /* first line that is absent, different or unknown; 0: none */
	/* put */
	struct keypair key;
	uint64_t expiry, next_nonce;
	size_t chunks, chunk_size, oldest;
	bool *chunk_done;
	pthread_cond_t moved;
	size_t window; /* chunks that may be under way at once */
};

static void bulk_init(struct bulk *b, struct cli *c, struct target *t)
{
	memset(b, 0, sizeof *b);
	b->c = c;
	b->t = t;
	b->height_low = UINT64_MAX;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->moved, NULL);
}

static void bulk_free(struct bulk *b)
{
	lines_free(&b->lines);
	mem_free(b->chunk_done);
	crypto_wipe(&b->key, sizeof b->key);
	pthread_cond_destroy(&b->moved);
	pthread_mutex_destroy(&b->lock);
}

static int bulk_lines(struct bulk *b)
{
	struct errmsg m;
	int err = lines_read(&b->lines, b->c->opt.value[OPT_FROM], &m);

	if (err != ERR_NONE)
		return cli_fail_err(b->c, err, &m, NULL);
	if (b->lines.count == 0)
		return cli_usage(b->c, "%s has no lines", b->c->opt.value[OPT_FROM]);
	b->start = now_us();
	return EXIT_DONE;
}

/* One line of -o jsonl; takes ownership. Call with the lock held. */
static void bulk_row(struct bulk *b, struct json *row)
{
	if (b->c->format == FORMAT_JSONL) {
		out_object(b->c, row);
		fflush(b->c->out); /* who reads along sees whole lines, at once */
	} else {
		json_free(row);
	}
}

static void bulk_progress(struct bulk *b)
{
	size_t seen = b->done + b->failed + b->absent + b->different + b->unknown;

	if (b->c->hints && b->c->format == FORMAT_TABLE &&
	    (seen % 100 == 0 || seen == b->lines.count))
		fprintf(b->c->err, "\r%zu of %zu%s", seen, b->lines.count,
			seen == b->lines.count ? "\n" : "");
}

static void bulk_saw_height(struct bulk *b, uint64_t height)
{
	b->height_low = height < b->height_low ? height : b->height_low;
	b->height_high = height > b->height_high ? height : b->height_high;
}

static struct json *bulk_summary(const struct bulk *b, const char *verb)
{
	double seconds = (double)(now_us() - b->start) / 1e6;
	struct json *o = json_object();

	json_set(o, "lines", json_u64(b->lines.count));
	json_set(o, verb, json_u64(b->done));
	json_set(o, "failed", json_u64(b->failed));
	json_set(o, "unknown", json_u64(b->unknown));
	if (b->height_low <= b->height_high) {
		json_set(o, "first_height", json_said(b->height_low));
		json_set(o, "last_height", json_said(b->height_high));
	}
	json_set(o, "seconds", json_real(seconds));
	json_set(o, "per_s", json_real(seconds > 0 ? (double)b->done / seconds : 0));
	return o;
}

/* ---- put ------------------------------------------------------------------------------- */

static void put_row(struct bulk *b, const struct line *line, const struct hash *id,
		    const struct submission *s)
{
	bool ok = s->r.fate == FATE_COMMITTED && s->r.result == TX_OK;
	struct json *row;

	pthread_mutex_lock(&b->lock);
	if (ok) {
		b->done++;
		bulk_saw_height(b, s->r.height);
		row = receipt_json(b->t, id, &s->r);
		json_set_bytes(row, "key", line->first);
		bulk_row(b, row);
	} else {
		if (s->r.fate == FATE_UNKNOWN || s->r.fate == FATE_INTERRUPTED)
			b->unknown++;
		else
			b->failed++;
		b->c->has_tx = true;
		b->c->tx = *id;
		if (b->rc == EXIT_DONE) {
			fprintf(b->c->err, "line %u, key %.*s:\n", line->number,
				(int)line->first.len, (const char *)line->first.ptr);
			b->rc = receipt_fail(b->c, &s->r, id);
		}
	}
	bulk_progress(b);
	pthread_mutex_unlock(&b->lock);
}

/* A new nonce for one line: those of the plan have been used by somebody else. */
static int sign_line(struct bulk *b, const struct line *line, uint64_t nonce, struct writer *w,
		     struct hash *id)
{
	struct op op = {.kind = OP_PUT, .key = line->first, .value = line->rest};

	return build_transaction(b->t, w, &b->key, nonce, b->expiry, &op, 1, id);
}

static uint64_t take_nonce(struct bulk *b)
{
	uint64_t nonce;

	pthread_mutex_lock(&b->lock);
	nonce = b->next_nonce++;
	pthread_mutex_unlock(&b->lock);
	return nonce;
}

static void put_chunk(struct bulk *b, struct link *l, size_t chunk)
{
	size_t first = chunk * b->chunk_size;
	size_t count =
		b->lines.count - first < b->chunk_size ? b->lines.count - first : b->chunk_size;
	struct submission *s = mem_array(count, sizeof *s);
	struct writer *w = mem_array(count, sizeof *w);
	struct hash *id = mem_array(count, sizeof *id);
	bool again = true;

	for (size_t i = 0; i < count; i++) {
		int err = sign_line(b, &b->lines.line[first + i], take_nonce(b), &w[i], &id[i]);
		s[i].tx = writer_slice(&w[i]);
		if (err == ERR_NONE)
			continue;
		s[i].decided = true;
		s[i].r.fate = FATE_REFUSED;
		snprintf(s[i].r.code, sizeof s[i].r.code, "%s", err_name(err));
		err_set(&s[i].r.m, err, "no valid transaction: %s", err_text(err));
	}
	for (unsigned attempt = 1; again; attempt++) {
		again = false;
		submit(l, s, count, now_ms() + b->c->timeout_ms, true, false);
		for (size_t i = 0; i < count && attempt < NONCE_ATTEMPTS; i++) {
			if (!receipt_wants_new_nonce(&s[i].r))
				continue;
			sign_line(b, &b->lines.line[first + i], take_nonce(b), &w[i], &id[i]);
			s[i] = (struct submission){.tx = writer_slice(&w[i])};
			again = true;
		}
	}
	for (size_t i = 0; i < count; i++) {
		put_row(b, &b->lines.line[first + i], &id[i], &s[i]);
		writer_free(&w[i]);
	}
	mem_free(s);
	mem_free(w);
	mem_free(id);
}

/* Chunks are begun in order and at most a window ahead of the oldest unfinished one, or its
 * nonces would fall out of the sender's window. */
static bool put_each(void *arg, struct link *l, size_t chunk)
{
	struct bulk *b = arg;
	bool go_on;

	pthread_mutex_lock(&b->lock);
	while (chunk >= b->oldest + b->window && b->rc == EXIT_DONE)
		pthread_cond_wait(&b->moved, &b->lock);
	pthread_mutex_unlock(&b->lock);
	put_chunk(b, l, chunk);
	pthread_mutex_lock(&b->lock);
	b->chunk_done[chunk] = true;
	while (b->oldest < b->chunks && b->chunk_done[b->oldest])
		b->oldest++;
	pthread_cond_broadcast(&b->moved);
	go_on = b->rc == EXIT_DONE;
	pthread_mutex_unlock(&b->lock);
	return go_on;
}

/* Prints what is too long; exit code. */
static int line_fits(struct bulk *b, const struct line *line, const struct op *op)
{
	struct errmsg m, where;
	int err = op_fits(op, &b->t->genesis.limits, &m);

	if (err == ERR_NONE)
		return EXIT_DONE;
	err_set(&where, err, "line %u: %.400s", line->number, m.text);
	return op_fail(b->c, err, &where);
}

static int put_all(struct bulk *b)
{
	unsigned clients = (unsigned)opt_u64(&b->c->opt, OPT_CLIENTS, BULK_CLIENTS);
	uint64_t expiry_max;
	struct link l;
	int rc;

	for (size_t i = 0; i < b->lines.count; i++) {
		const struct line *line = &b->lines.line[i];
		struct op op = {.kind = OP_PUT, .key = line->first, .value = line->rest};

		if (line->rest.ptr == NULL)
			return cli_usage(
				b->c,
				"line %u has a key and no value; a line is KEY, tab or "
				"blank, VALUE",
				line->number);
		rc = line_fits(b, line, &op);
		if (rc != EXIT_DONE)
			return rc;
	}
	link_open(&l, b->t, 0);
	rc = account_state(&l, &b->key.pub, &b->next_nonce, &expiry_max);
	link_close(&l);
	if (rc != EXIT_DONE)
		return rc;
	b->expiry = choose_expiry(b->t, expiry_max);
	b->chunk_size = (size_t)opt_u64(&b->c->opt, OPT_BATCH, BULK_BATCH);
	b->chunks = (b->lines.count + b->chunk_size - 1) / b->chunk_size;
	b->chunk_done = mem_array(b->chunks, sizeof *b->chunk_done);
	b->window = b->t->genesis.limits.nonce_window / 2 / b->chunk_size;
	if (b->window == 0)
		b->window = 1;
	b->start = now_us();
	each_in_parallel(b->t, b->chunks, clients, put_each, b);
	if (interrupted() && b->rc == EXIT_DONE)
		b->rc = cli_fail(b->c, EXIT_INTERRUPTED, "interrupted", NULL, "interrupted");
	if (b->c->format != FORMAT_JSONL && b->rc == EXIT_DONE)
		out_object(b->c, bulk_summary(b, "committed"));
	return b->rc;
}

static int bulk_run(struct cli *c, int (*run)(struct bulk *b))
{
	struct target *t = mem_zalloc(sizeof *t);
	struct bulk *b = mem_zalloc(sizeof *b);
	int rc = target_open(c, t, true);

	bulk_init(b, c, t);
	if (rc == EXIT_DONE)
		rc = bulk_lines(b);
	if (rc == EXIT_DONE)
		rc = run(b);
	bulk_free(b);
	target_close(t);
	mem_free(b);
	mem_free(t);
	return rc;
}

static int put_with_key(struct bulk *b)
{
	int rc = key_signer(b->c, &b->key);

	return rc == EXIT_DONE ? put_all(b) : rc;
}

int bulk_put(struct cli *c)
{
	return bulk_run(c, put_with_key);
}

/* ---- get ------------------------------------------------------------------------------- */

static void bulk_fail(struct bulk *b, int rc)
{
	b->failed++;
	if (b->rc == EXIT_DONE)
		b->rc = rc;
}

/* Before a message that does not say which of the lines it is about. With the lock held. */
static void bulk_name_line(const struct bulk *b, const struct line *line)
{
	char text[65];

	if (b->rc != EXIT_DONE)
		return;
	snprintf(text, sizeof text, "%.*s", (int)line->first.len,
		 (const char *)line->first.ptr);
	text_make_printable(text);
	fprintf(b->c->err, "line %u, %s:\n", line->number, text);
}

static void bulk_missed(struct bulk *b, const struct line *line)
{
	if (b->missed == 0 || line->number < b->missed)
		b->missed = line->number;
}

/* A value that the line names must be the one that is there. */
static void got(struct bulk *b, const struct line *line, const struct proof_document *doc)
{
	uint64_t height = doc->ch.headers[0].h.height;
	bool same =
		doc->present && (line->rest.ptr == NULL || slice_equal(line->rest, doc->value));
	struct json *row;

	bulk_saw_height(b, height);
	if (!doc->present)
		b->absent++;
	else if (!same)
		b->different++;
	else
		b->done++;
	if (!same)
		bulk_missed(b, line);
	row = json_object();
	json_set_bytes(row, "key", line->first);
	if (doc->present)
		json_set_bytes(row, "value", doc->value);
	else
		json_set(row, "value", json_null());
	json_set(row, "height", json_said(height));
	bulk_row(b, row);
}

/* The proof of the first node whose answer holds, or what the last one's lacks; doc:
 * initialised. Or link_get()'s error, or an answer of another kind: then *judged is false. */
static int get_proven(struct link *l, const char *path, struct slice state_key,
		      struct proof_document *doc, bool *judged, struct errmsg *m)
{
	for (;;) {
		int err = link_get(l, path);

		*judged = err == ERR_NONE && (l->reply.status == 200 || l->reply.status == 404);
		if (!*judged)
			return err;
		err = target_proven_state(l->t, json_get(l->answer, "proof"), state_key, doc,
					  m);
		if (err == ERR_NONE || target_unproven_so_far(err) ||
		    !link_pass_over(l, l->node, m->text))
			return err;
		proof_document_free(doc);
		proof_document_init(doc);
	}
}

static bool get_each(void *arg, struct link *l, size_t i)
{
	struct bulk *b = arg;
	const struct line *line = &b->lines.line[i];
	struct writer path = {0}, state_key = {0};
	struct proof_document doc;
	struct errmsg m;
	bool judged;
	int err, rc;

	proof_document_init(&doc); /* for the failures before it is read */
	writer_raw(&path, "/v1/state/", 10);
	http_escape(&path, line->first);
	writer_raw(&path, "?prove=1", 9); /* with the terminating zero */
	writer_u8(&state_key, STATE_NS_USER);
	writer_raw(&state_key, line->first.ptr, line->first.len);
	l->deadline = now_ms() + b->c->timeout_ms; /* for each, not for all */
	err = get_proven(l, (const char *)path.buf, writer_slice(&state_key), &doc, &judged,
			 &m);
	if (judged) {
		pthread_mutex_lock(&b->lock);
		if (err == ERR_NONE)
			got(b, line, &doc);
		else
			bulk_fail(b, cli_fail(b->c,
					      target_unproven_so_far(err) ? EXIT_UNKNOWN
									  : EXIT_UNVERIFIED,
					      err_name(err), NULL, "line %u: %s", line->number,
					      m.text));
	} else {
		pthread_mutex_lock(&b->lock);
		bulk_name_line(b, line);
		rc = b->rc != EXIT_DONE ? b->rc /* one has been told */
		     : err == ERR_NONE	? link_fail(l)
					: link_unreachable(l, err);
		bulk_fail(b, rc);
	}
	bulk_progress(b);
	rc = b->rc;
	pthread_mutex_unlock(&b->lock);
	proof_document_free(&doc);
	writer_free(&path);
	writer_free(&state_key);
	return rc == EXIT_DONE;
}

static int get_all(struct bulk *b)
{
	struct json *summary;

	for (size_t i = 0; i < b->lines.count; i++) {
		struct op op = {.kind = OP_DELETE, .key = b->lines.line[i].first};
		int rc = line_fits(b, &b->lines.line[i], &op);
		if (rc != EXIT_DONE)
			return rc;
	}
	each_in_parallel(b->t, b->lines.count,
			 (unsigned)opt_u64(&b->c->opt, OPT_CLIENTS, BULK_CLIENTS), get_each, b);
	if (b->rc != EXIT_DONE)
		return b->rc;
	if (b->absent > 0)
		return cli_fail(b->c, EXIT_NOT_FOUND, "not_found", NULL,
				"%zu of %zu keys are absent; the first without its value is "
				"in line %u",
				b->absent, b->lines.count, b->missed);
	if (b->different > 0)
		return cli_fail(b->c, EXIT_REFUSED, "different", NULL,
				"%zu of %zu keys have another value than the file says, the "
				"first in line %u",
				b->different, b->lines.count, b->missed);
	if (b->c->format != FORMAT_JSONL) {
		summary = bulk_summary(b, target_proves(b->t) ? "verified" : "read");
		out_object(b->c, summary);
	}
	return EXIT_DONE;
}

int bulk_get(struct cli *c)
{
	return bulk_run(c, get_all);
}

/* ---- tx status ------------------------------------------------------------------------- */

/* Checks that an answer proves this id; the bytes are the document's own. */
static int check_tx_answer(struct bulk *b, struct link *l, const struct hash *id,
			   uint64_t *height, struct errmsg *m)
{
	struct proof_document doc;
	struct hash shown;
	int err = target_proven_tx(b->t, json_get(l->answer, "proof"), &doc, m);

	if (err == ERR_NONE) {
		tx_id(&shown, doc.tx);
		*height = doc.ch.headers[0].h.height;
		if (!hash_equal(&shown, id))
			err = err_set(m, ERR_BAD_PROOF, "the proof is of another transaction");
	}
	proof_document_free(&doc);
	return err;
}

static bool status_each(void *arg, struct link *l, size_t i)
{
	struct bulk *b = arg;
	const struct line *line = &b->lines.line[i];
	char hex[HASH_HEX_SIZE] = "", path[128];
	uint64_t height = 0;
	struct errmsg m;
	struct hash id;
	int err, rc = EXIT_DONE;

	if (line->first.len == 2 * HASH_SIZE)
		memcpy(hex, line->first.ptr, 2 * HASH_SIZE);
	l->deadline = now_ms() + b->c->timeout_ms;
	if (hex_decode(id.b, HASH_SIZE, hex) != ERR_NONE) {
		pthread_mutex_lock(&b->lock);
		bulk_fail(b, cli_usage(b->c, "line %u is no transaction id: 64 hex digits",
				       line->number));
		pthread_mutex_unlock(&b->lock);
		return false;
	}
	snprintf(path, sizeof path, "/v1/transactions/%s?prove=1", hex);
	err = link_get_tx(l, path);
	pthread_mutex_lock(&b->lock);
	if (err != ERR_NONE) {
		bulk_name_line(b, line);
		bulk_fail(b, link_unreachable(l, err));
	} else if (l->reply.status == 404) {
		b->absent++;
		bulk_missed(b, line);
	} else if (l->reply.status != 200) {
		bulk_name_line(b, line);
		bulk_fail(b, link_fail(l));
	} else {
		const char *status = "";
		json_read_string(l->answer, "status", &status);
		if (strcmp(status, "committed") != 0) {
			b->unknown++;
			bulk_missed(b, line);
		} else if ((err = check_tx_answer(b, l, &id, &height, &m)) != ERR_NONE) {
			bool unproven = target_unproven_so_far(err);
			if (!unproven && link_pass_over(l, l->node, m.text)) {
				pthread_mutex_unlock(&b->lock);
				return status_each(arg, l, i); /* once for each liar */
			}
			bulk_fail(b, cli_fail(b->c, unproven ? EXIT_UNKNOWN : EXIT_UNVERIFIED,
					      err_name(err), NULL, "tx %s: %s", hex, m.text));
		} else {
			struct json *row = json_object();
			b->done++;
			bulk_saw_height(b, height);
			json_set(row, "tx", json_string(hex));
			json_set(row, "status", json_string("committed"));
			json_set(row, "height", json_said(height));
			bulk_row(b, row);
		}
	}
	bulk_progress(b);
	rc = b->rc;
	pthread_mutex_unlock(&b->lock);
	return rc == EXIT_DONE;
}

static int status_all(struct bulk *b)
{
	each_in_parallel(b->t, b->lines.count,
			 (unsigned)opt_u64(&b->c->opt, OPT_CLIENTS, BULK_CLIENTS), status_each,
			 b);
	if (b->rc != EXIT_DONE)
		return b->rc;
	if (b->absent + b->unknown > 0)
		return cli_fail(b->c, EXIT_NOT_FOUND, "not_found", NULL,
				"%zu of %zu transactions are not committed, the first in line "
				"%u",
				b->absent + b->unknown, b->lines.count, b->missed);
	if (b->c->format != FORMAT_JSONL)
		out_object(b->c, bulk_summary(b, "committed"));
	return EXIT_DONE;
}

int bulk_tx_status(struct cli *c)
{
	return bulk_run(c, status_all);
}
