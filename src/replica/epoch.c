/* From one set of validators to the next. */
#include "replica/epoch.h"

#include <stdio.h>

#include "base/mutant.h"
#include "consensus/hybrid/message.h"

#define RECORD_VERSION 1

struct slice key_epoch(struct epoch_key *k, uint64_t epoch)
{
	memcpy(k->bytes, EPOCH_KEY, sizeof EPOCH_KEY - 1);
	store_be64(k->bytes + sizeof EPOCH_KEY - 1, epoch);
	return slice_of(k->bytes, sizeof k->bytes);
}

int epoch_decode(struct slice record, struct handover *out)
{
	struct reader rd;
	*out = (struct handover){0};
	reader_init(&rd, record);
	if (reader_u16(&rd) != RECORD_VERSION)
		return ERR_VERSION;
	if (handover_decode(&rd, out) || reader_finish(&rd)) {
		handover_free(out);
		return ERR_CORRUPT;
	}
	return ERR_NONE;
}

int epoch_handover(struct replica *r, uint64_t epoch, struct handover *out)
{
	struct epoch_key k;
	*out = (struct handover){0};
	int err = store_get(r->store, STORE_META, key_epoch(&k, epoch), &r->scratch);
	return err ? err : epoch_decode(writer_slice(&r->scratch), out);
}

void epoch_enter(struct replica *r, const struct chain_ctx *ctx, struct block *start)
{
	if (r->epoch_count == r->epoch_cap) {
		r->epoch_cap = r->epoch_cap ? 2 * r->epoch_cap : 4;
		r->epochs = mem_realloc(r->epochs, r->epoch_cap * sizeof *r->epochs);
	}
	r->epochs[r->epoch_count++] = *ctx;
	r->ctx = *ctx;
	block_drop(r->start);
	r->start = block_hold(start);
}

int epochs_open(struct replica *r, struct errmsg *m)
{
	genesis_ctx(&r->ctx, r->config.genesis);
	r->epoch_count = 0;
	const struct chain_ctx first = r->ctx;
	epoch_enter(r, &first, r->genesis_block);
	if (!protocol_is_byzantine(r->config.genesis->protocol))
		return ERR_NONE;
	for (uint64_t epoch = 1;; epoch++) {
		struct handover h;
		struct chain_ctx next;
		int err = epoch_handover(r, epoch, &h);
		if (err == ERR_NOT_FOUND)
			return ERR_NONE;
		if (!err && first.before) {
			handover_free(&h);
			return err_set(m, ERR_UNSUPPORTED,
				       "the genesis file has a recovery, and in this data the "
				       "validators' keys have been replaced by governance: the "
				       "two are not combined yet");
		}
		if (!err)
			err = handover_check(&h, &r->ctx, &next);
		if (!err)
			epoch_enter(r, &next, h.end);
		handover_free(&h);
		if (err)
			return err_set(m, err == ERR_IO ? err : ERR_CORRUPT,
				       "what the data directory says of the validators of "
				       "epoch %llu proves nothing: %s. Restore it from a "
				       "backup or a peer",
				       (unsigned long long)epoch, err_text(err));
	}
}

void epochs_free(struct replica *r)
{
	block_drop(r->start);
	mem_free(r->epochs);
	writer_free(&r->envelope);
	r->start = NULL;
	r->epochs = NULL;
	r->epoch_count = r->epoch_cap = 0;
}

const struct chain_ctx *replica_ctx_at(const struct replica *r, uint64_t height)
{
	uint32_t e = r->epoch_count - 1;
	while (e > 0 && r->epochs[e].start_height >= height)
		e--;
	return &r->epochs[e];
}

const struct chain_ctx *replica_ctx_of_term(const struct replica *r, uint64_t term)
{
	uint32_t e = r->epoch_count - 1;
	while (e > 0 && r->epochs[e].start_term >= term)
		e--;
	return &r->epochs[e];
}

const struct chain_ctx *replica_epoch(const struct replica *r, uint64_t epoch)
{
	return epoch < r->epoch_count ? &r->epochs[epoch] : NULL;
}

/* ---- the end of one, the beginning of another ---------------------------------------------
 */

bool epoch_is_over(struct replica *r)
{
	struct mode_state m;
	return protocol_is_byzantine(r->config.genesis->protocol) &&
	       ledger_mode_state(r->ledger, &m) == ERR_NONE && epoch_ended(&r->ctx, &m) &&
	       !MUTANT(MUTANT_APPLY_FILLER);
}

/* The fillers from the certificate's block down to the end; they are on disk, unfinal. */
static int collect_fillers(struct replica *r, struct handover *h)
{
	uint64_t low = h->end->sh.h.height, high = h->cert.ref.height;
	struct hash want = h->cert.ref.hash;
	if (high < low || high - low > HANDOVER_FILLERS_MAX)
		return ERR_LIMIT;
	h->filler_count = (uint32_t)(high - low);
	h->fillers = h->filler_count ? mem_array(h->filler_count, sizeof *h->fillers) : NULL;
	for (uint32_t i = h->filler_count; i-- > 0;) {
		struct block *b;
		int err = records_block(r, low + 1 + i, &want, &b);
		if (err)
			return err;
		h->fillers[i] = b->sh;
		want = b->sh.h.prev;
		block_drop(b);
	}
	return hash_equal(&want, &h->end->hash) ? ERR_NONE : ERR_BAD_LINK;
}

static void delete_above(struct replica *r, enum store_family family, char kind,
			 uint64_t number)
{
	uint8_t from[9], end = (uint8_t)(kind + 1);
	struct slice key, value;
	from[0] = (uint8_t)kind;
	store_be64(from + 1, number + 1);
	struct store_iter *it = store_iter_new(r->store, family, slice_of(from, sizeof from),
					       slice_of(&end, 1), false);
	while (store_iter_next(it, &key, &value))
		store_batch_delete(r->batch, family, key);
	store_iter_free(it);
}

int epoch_prove(struct replica *r, struct block *end, const struct cert *cert,
		struct handover *out)
{
	*out = (struct handover){.end = block_hold(end)};
	cert_copy(&out->cert, cert);
	return collect_fillers(r, out);
}

/* And nothing is left above the end. */
static void put_record(struct replica *r, const struct handover *h)
{
	struct epoch_key k;
	writer_reset(&r->scratch);
	writer_u16(&r->scratch, RECORD_VERSION);
	handover_encode(&r->scratch, h);
	store_batch_put(r->batch, STORE_META, key_epoch(&k, r->ctx.epoch),
			writer_slice(&r->scratch));
}

static void batch_record(struct replica *r, const struct handover *h)
{
	store_batch_clear(r->batch);
	put_record(r, h);
	delete_above(r, STORE_BLOCKS, 'b', h->end->sh.h.height);
	delete_above(r, STORE_CERTS, 'c', h->end->sh.h.height);
	delete_above(r, STORE_CERTS, 't', h->end->sh.h.term);
}

static void batch_votes(struct replica *r, bool was_voter)
{
	for (uint8_t slot = 0; slot < VOTE_SLOTS && !MUTANT(MUTANT_OLD_SLOTS); slot++)
		store_batch_delete(r->batch, STORE_VOTES, slice_of(&slot, 1));
	observer_next_epoch(r, was_voter, r->batch);
}

/* One synced batch: the epoch's record, an empty vote state, and nothing above the end. */
static int write_epoch(struct replica *r, const struct handover *h, bool was_voter)
{
	batch_record(r, h);
	batch_votes(r, was_voter);
	r->unfinal_count = 0;
	return store_write(r->store, r->batch, true);
}

/* What it has executed and verified was in the sight of the old set. */
static int reopen_ledger(struct replica *r, struct errmsg *m)
{
	struct ledger *fresh;
	int err = replica_open_ledger(r, &fresh, m);
	if (err)
		return err;
	ledger_close(r->ledger);
	r->ledger = fresh;
	return ERR_NONE;
}

static int take(struct replica *r, const struct handover *h)
{
	struct chain_ctx next;
	int err = handover_check(h, &r->ctx, &next);
	if (!err)
		epoch_enter(r, &next, h->end);
	return err;
}

int epoch_step(struct replica *r, const struct handover *h, struct errmsg *m)
{
	int err = take(r, h);
	if (err)
		return err_set(m, err, "what proves the end of epoch %llu at height %llu: %s",
			       (unsigned long long)r->ctx.epoch,
			       (unsigned long long)ledger_height(r->ledger), err_text(err));
	batch_record(r, h);
	err = store_write(r->store, r->batch, true);
	if (err)
		return err_set(m, ERR_IO,
			       "writing what proves the end of an epoch failed: "
			       "check the disk (full?)");
	return reopen_ledger(r, m);
}

int epoch_begin(struct replica *r, const struct cert *cert, struct errmsg *m)
{
	struct handover h = {0};
	struct block *end = NULL;
	bool was_voter = !r->observes;
	int err = replica_block(r, ledger_height(r->ledger), &end);
	if (!err)
		err = epoch_prove(r, end, cert, &h);
	if (!err)
		err = take(r, &h);
	if (!err)
		err = write_epoch(r, &h, was_voter);
	block_drop(end);
	handover_free(&h);
	if (err)
		return err_set(m, err,
			       "the end of epoch %llu at height %llu: %s. Check the disk and "
			       "start this node again",
			       (unsigned long long)r->ctx.epoch,
			       (unsigned long long)ledger_height(r->ledger), err_text(err));
	err = reopen_ledger(r, m);
	if (!err)
		sync_end_epoch(r);
	return err;
}

/* Each step decides who votes as if the epoch had been lived in; nothing was signed in those
 * between. Certificates of fillers, and of their terms, have heights and numbers that are other
 * blocks' now. */
void epoch_jump(struct replica *r, const struct chain_ctx *ctx, const struct handover *h,
		uint32_t count)
{
	delete_above(r, STORE_CERTS, 'c', h[0].end->sh.h.height);
	delete_above(r, STORE_CERTS, 't', h[0].end->sh.h.term);
	for (uint32_t i = 0; i < count; i++) {
		bool was_voter = !r->observes;
		epoch_enter(r, &ctx[i], h[i].end);
		put_record(r, &h[i]);
		batch_votes(r, was_voter);
	}
	r->newer_epoch = 0;
	r->epoch_over = false;
}

/* Transactions that waited in the old engine. */
struct waiting {
	struct writer bytes;
	uint32_t count;
};

static void keep_waiting(void *arg, const struct pool_tx *tx)
{
	struct waiting *w = arg;
	writer_var(&w->bytes, tx->bytes);
	w->count++;
}

static void submit_again(struct replica *r, const struct waiting *w)
{
	struct reader rd;
	reader_init(&rd, writer_slice(&w->bytes));
	for (uint32_t i = 0; i < w->count && !r->halted; i++) {
		struct slice tx = reader_var(&rd, TX_SIZE_MAX);
		struct input in = {.kind = INPUT_SUBMIT, .now = r->now};
		in.wall_ms = r->config.host.wall_ms(r->config.host.ctx);
		tx_id(&in.submit.id, tx);
		in.submit.bytes = tx;
		driver_input(r->driver, &in);
	}
}

static void begin_envelope(struct writer *w, uint64_t epoch)
{
	writer_u8(w, EPOCH_ENVELOPE);
	writer_u64(w, epoch);
}

/* To whom it may concern: peers of the epoch that ended. */
static void tell_end(struct replica *r, uint64_t epoch, uint64_t to)
{
	struct handover h;
	if (!to || epoch + 1 >= r->epoch_count || epoch_handover(r, epoch + 1, &h))
		return;
	struct writer w = {0};
	if (epoch > 0)
		begin_envelope(&w, epoch);
	msg_final_encode(&w, &h.cert);
	const struct message m = {.to = to,
				  .class = CLASS_CONSENSUS,
				  .type = MSG_FINAL,
				  .bytes = writer_slice(&w)};
	r->config.host.send(r->config.host.ctx, &m);
	handover_free(&h);
	writer_free(&w);
}

void epoch_advance(struct replica *r)
{
	struct errmsg m = {0};
	if (!r->epoch_over || r->halted)
		return;
	r->epoch_over = false;
	struct waiting w = {0};
	engine_each_waiting(driver_engine(r->driver), keep_waiting, &w);
	struct driver *old = r->driver;
	r->seq_base = r->seq_last;
	r->held_build = 0;
	checks_forget(r, NULL);
	r->config.now = r->now;
	r->config.seed += 0x9e3779b97f4a7c15;
	int err = epoch_begin(r, &r->end_cert, &m);
	if (!err)
		err = replica_recover(r, &m);
	if (!err)
		driver_free(old);
	if (err) { /* the old engine is still there to be looked at */
		writer_free(&w.bytes);
		snprintf(r->why_halted, sizeof r->why_halted, "%s", m.text);
		replica_halt(r, r->why_halted);
		return;
	}
	if (r->config.host.epoch)
		r->config.host.epoch(r->config.host.ctx);
	tell_end(r, r->ctx.epoch - 1, mask_others(r->ctx.vals.n, r->config.self));
	struct input tick = {.kind = INPUT_TICK, .now = r->now};
	tick.wall_ms = r->config.host.wall_ms(r->config.host.ctx);
	driver_input(r->driver, &tick);
	submit_again(r, &w);
	writer_free(&w.bytes);
}

/* ---- messages -----------------------------------------------------------------------------
 */

void epoch_wrap(struct replica *r, uint64_t epoch, struct message *m)
{
	if (epoch == 0)
		return;
	writer_reset(&r->envelope);
	begin_envelope(&r->envelope, epoch);
	writer_raw(&r->envelope, m->bytes.ptr, m->bytes.len);
	m->bytes = writer_slice(&r->envelope);
}

static uint64_t heartbeat(const struct replica *r)
{
	return r->config.timing.heartbeat ? r->config.timing.heartbeat : 50000;
}

/* Fillers have no bodies: the empty one. */
static struct block *filler_block(const struct signed_header *sh)
{
	static const uint8_t empty[4];
	struct block *b;
	return block_new(&b, sh, slice_of(empty, sizeof empty)) ? NULL : b;
}

/* Final blocks of an epoch that is over, from a height on, up to a certificate of its own set:
 * the last one is that of its end. */
static void read_old(struct replica *r, uint64_t epoch, uint64_t from, struct msg_blocks *out)
{
	uint64_t end = r->epochs[epoch + 1].start_height;
	uint32_t certified = 0;
	size_t bytes = 0;
	for (uint64_t h = from; h <= end && out->count < FETCH_BLOCKS_MAX; h++) {
		struct cert cert;
		struct block *b;
		bool full = out->count >= FETCH_BLOCKS_MAX / 2 || bytes >= FETCH_BYTES_MAX;
		bool too_much = bytes >= 2 * (size_t)FETCH_BYTES_MAX;
		if ((full && certified) || too_much || replica_block(r, h, &b))
			break;
		out->blocks[out->count++] = b;
		bytes += b->body_size + SIGNED_HEADER_SIZE;
		if (records_cert(r, h, &cert) == ERR_NONE) {
			out->cert = cert;
			certified = out->count;
		}
	}
	struct handover h = {0};
	bool at_end = out->count && out->blocks[out->count - 1]->sh.h.height == end;
	if (at_end && certified < out->count && !epoch_handover(r, epoch + 1, &h) &&
	    h.filler_count <= FETCH_BLOCKS_MAX - out->count) { /* else it asks from there on */
		for (uint32_t i = 0; i < h.filler_count; i++) {
			struct block *b = filler_block(&h.fillers[i]);
			if (b)
				out->blocks[out->count++] = b;
		}
		cert_copy(&out->cert, &h.cert);
		certified = out->count;
	}
	handover_free(&h);
	while (certified && out->count > certified)
		block_drop(out->blocks[--out->count]);
	out->has_cert = certified > 0;
	out->final_height =
		out->has_cert && out->cert.ref.height > end ? out->cert.ref.height : end;
}

static void serve_old(struct replica *r, unsigned to, uint64_t epoch, uint64_t from)
{
	if (!r->old_blocks)
		r->old_blocks = mem_zalloc(sizeof *r->old_blocks);
	struct msg_blocks *out = r->old_blocks;
	term_cert_init(&out->tc);
	out->count = 0;
	out->has_tc = out->has_cert = false;
	read_old(r, epoch, from, out);
	/* the certificate of a filler's term is not kept: another epoch has that term */
	if (out->count &&
	    out->blocks[out->count - 1]->sh.h.height <= r->epochs[epoch + 1].start_height)
		out->has_tc = records_tc(r, out->blocks[out->count - 1]->sh.h.term, &out->tc) ==
			      ERR_NONE;
	struct writer w = {0};
	if (epoch > 0)
		begin_envelope(&w, epoch);
	msg_blocks_encode(&w, out);
	const struct message m = {.to = UINT64_C(1) << to,
				  .class = CLASS_BULK,
				  .type = MSG_BLOCKS,
				  .bytes = writer_slice(&w)};
	r->old_paid[to] = r->now + heartbeat(r) / 8 + heartbeat(r) * w.len / FETCH_BYTES_MAX;
	r->config.host.send(r->config.host.ctx, &m);
	writer_free(&w);
	term_cert_free(&out->tc);
	while (out->count)
		block_drop(out->blocks[--out->count]);
}

/* Of an epoch that is over here. What its sender wants is its end. */
static void on_old(struct replica *r, unsigned from, uint64_t epoch, struct slice bytes)
{
	struct reader rd;
	uint64_t height = 0, end = r->epochs[epoch + 1].start_height;
	r->stale_messages++;
	if (bytes.len && bytes.ptr[0] == SYNC_ASK) {
		serve_handovers(r, from, epoch);
		return;
	}
	reader_init(&rd, bytes);
	if (reader_u8(&rd) == MSG_FETCH)
		height = reader_u64(&rd);
	/* Above the end it has fillers, but perhaps not the ones. */
	if (!rd.err && height > 0) {
		if (r->old_paid[from] <= r->now)
			serve_old(r, from, epoch, height < end ? height : end);
		return;
	}
	if (bytes.len && bytes.ptr[0] == MSG_FINAL)
		return; /* it may have crossed ours */
	if (r->old_told[from] > r->now)
		return;
	r->old_told[from] = r->now + heartbeat(r);
	tell_end(r, epoch, UINT64_C(1) << from);
}

/* Of an epoch that we have not reached: a word of ours, and its sender tells us how. */
static void on_newer(struct replica *r, unsigned from)
{
	r->stale_messages++;
	r->newer_epoch |= UINT64_C(1) << from;
	if (r->old_told[from] > r->now)
		return;
	r->old_told[from] = r->now + heartbeat(r);
	struct writer w = {0};
	const struct msg_fetch nothing = {0};
	msg_fetch_encode(&w, &nothing);
	struct message m = {.to = UINT64_C(1) << from,
			    .class = CLASS_CONSENSUS,
			    .type = MSG_FETCH,
			    .bytes = writer_slice(&w)};
	epoch_wrap(r, r->ctx.epoch, &m);
	r->config.host.send(r->config.host.ctx, &m);
	writer_free(&w);
}

uint8_t replica_message_type(struct slice bytes)
{
	size_t at = bytes.len > EPOCH_HEAD && bytes.ptr[0] == EPOCH_ENVELOPE ? EPOCH_HEAD : 0;
	return bytes.len ? bytes.ptr[at] : UINT8_MAX;
}

uint64_t replica_message_epoch(struct slice bytes)
{
	bool has = bytes.len > EPOCH_HEAD && bytes.ptr[0] == EPOCH_ENVELOPE;
	return has ? load_be64(bytes.ptr + 1) : 0;
}

bool epoch_unwrap(struct replica *r, unsigned from, struct slice *bytes)
{
	uint64_t epoch = 0;
	if (from >= r->ctx.vals.n || from == r->config.self ||
	    !protocol_is_byzantine(r->config.genesis->protocol))
		return true; /* the engine drops it */
	if (bytes->len && bytes->ptr[0] == EPOCH_ENVELOPE) {
		struct reader rd;
		reader_init(&rd, *bytes);
		reader_u8(&rd);
		epoch = reader_u64(&rd);
		if (rd.err || epoch == 0 || rd.left == 0 || rd.ptr[0] == EPOCH_ENVELOPE) {
			r->stale_messages++;
			return false;
		}
		*bytes = slice_of(rd.ptr, rd.left);
	}
	if (sync_is_answer(*bytes) && epoch == sync_ctx(r)->epoch)
		return true;
	if (sync_is_answer(*bytes) && epoch >= r->ctx.epoch && epoch < sync_ctx(r)->epoch) {
		if (bytes->ptr[0] == SYNC_HANDOVERS)
			return true; /* perhaps farther than the first one led */
		r->stale_messages++;
		return false;
	}
	if (epoch == r->ctx.epoch)
		return true;
	if (epoch < r->ctx.epoch)
		on_old(r, from, epoch, *bytes);
	else
		on_newer(r, from);
	return false;
}

uint64_t replica_stale_messages(const struct replica *r)
{
	return r->stale_messages;
}

/* ---- requests of governance ----------------------------------------------------------------
 */

int replica_member(struct replica *r, uint64_t now, struct slice change)
{
	struct member_change m;
	struct reader rd;
	struct engine_status status;
	if (r->halted)
		return ERR_CLOSED;
	if (r->config.genesis->protocol != PROTOCOL_HYBRID)
		return ERR_UNSUPPORTED;
	reader_init(&rd, change);
	member_change_decode(&rd, &m);
	int err = reader_finish(&rd);
	if (!err)
		err = member_change_check(&m, &r->ctx);
	if (err)
		return err;
	replica_status(r, &status);
	struct input in = {.kind = INPUT_MEMBER, .member = change};
	replica_feed(r, now, &in);
	return status.member_waits ? ERR_EXISTS : ERR_NONE;
}

int replica_handover(struct replica *r, uint64_t epoch, struct proof_document *out)
{
	struct handover h;
	proof_document_init(out);
	int err = epoch_handover(r, epoch, &h);
	if (!err) {
		struct slice tx = block_tx_bytes(h.end, 0);
		out->kind = PROOF_TX;
		out->ch.headers = mem_array(1 + h.filler_count, sizeof *out->ch.headers);
		out->ch.headers[out->ch.count++] = h.end->sh;
		for (uint32_t i = 0; i < h.filler_count; i++)
			out->ch.headers[out->ch.count++] = h.fillers[i];
		cert_copy(&out->ch.cert, &h.cert);
		out->tx = slice_of(mem_dup(tx.ptr, tx.len), tx.len);
		out->result = TX_OK;
		out->path.count = 1;
	}
	handover_free(&h);
	return err;
}

int epoch_of_proof(const struct proof_document *d, struct handover *out)
{
	struct writer body = {0};
	*out = (struct handover){0};
	if (d->kind != PROOF_TX || d->ch.count == 0 || d->ch.count - 1 > HANDOVER_FILLERS_MAX)
		return ERR_BAD_PROOF;
	body_begin(&body);
	body_add(&body, d->result, d->tx);
	body_end(&body, 1);
	int err = block_new(&out->end, &d->ch.headers[0], writer_slice(&body));
	writer_free(&body);
	if (err)
		return err;
	out->filler_count = d->ch.count - 1;
	if (out->filler_count)
		out->fillers =
			mem_dup(d->ch.headers + 1, out->filler_count * sizeof *out->fillers);
	cert_copy(&out->cert, &d->ch.cert);
	return ERR_NONE;
}
