/* One replica: the driver's host is the ledger and the store. */
#include "base/mutant.h"
#include "consensus/hybrid/message.h"
#include "replica/epoch.h"

void replica_halt(struct replica *r, const char *why)
{
	if (r->halted)
		return;
	r->halted = true;
	r->config.host.halted(r->config.host.ctx, why);
}

uint64_t replica_wall_ms(struct replica *r)
{
	return r->config.host.wall_ms(r->config.host.ctx);
}

/* ---- the driver's host ------------------------------------------------------------------- */

static bool host_persist(void *ctx, const struct write *writes, uint32_t count, uint64_t seq,
			 bool sync)
{
	struct replica *r = ctx;
	store_batch_clear(r->batch);
	for (uint32_t i = 0; i < count; i++)
		records_put_write(r, &writes[i]);
	if (store_write(r->store, r->batch, false)) {
		replica_halt(r,
			     "writing to the data directory failed; this replica cannot vote. "
			     "Check the disk (full? read-only?) and start it again");
		return false;
	}
	r->seq_last = r->seq_base + seq;
	return sync ? r->config.host.sync(r->config.host.ctx, r->seq_last) : true;
}

static void host_send(void *ctx, const struct message *m)
{
	struct replica *r = ctx;
	if (r->halted || sync_holds_back(r, m->type))
		return;
	if (r->observes && message_is_for_voters(m->type))
		return; /* signed before it knew [I20], and held up by the disk since */
	struct message wrapped = *m;
	checks_share(r, &wrapped);
	epoch_wrap(r, r->ctx.epoch, &wrapped);
	r->config.host.send(r->config.host.ctx, &wrapped);
}

static void host_final(void *ctx, const struct final_block *f)
{
	struct replica *r = ctx;
	if (r->halted) /* by this output's writes: the store takes no more, reads stay as they
			  are */
		return;
	sync_before_final(r, f->block->sh.h.height);
	if (r->halted) /* by that: what is told now would never be written */
		return;
	if (r->config.host.certified)
		r->config.host.certified(r->config.host.ctx, f->block, f->cert);
	store_batch_clear(r->batch);
	ledger_finalize(r->ledger, f->block, r->batch);
	records_settle(r, f->block);
	retention_prune(r, f->block->sh.h.height);
	if (store_write(r->store, r->batch, false)) {
		replica_halt(r, "writing a final block to the data directory failed. Check the "
				"disk (full? read-only?) and start this node again");
		return;
	}
	for (uint32_t i = 0; i < f->block->tx_count; i++)
		map_remove(&r->pending, f->block->tx[i].id.b);
	r->config.host.final(r->config.host.ctx, f->block, f->cert);
	if (system_tx_prefix(f->block) && epoch_is_over(r)) {
		r->epoch_over = true;
		cert_copy(&r->end_cert, f->cert);
	}
}

static void host_rejected(void *ctx, const struct rejected_tx *x)
{
	struct replica *r = ctx;
	map_remove(&r->pending, x->id.b);
	r->config.host.rejected(r->config.host.ctx, &x->id, x->err);
}

static void host_halted(void *ctx, const char *why)
{
	replica_halt(ctx, why);
}

/* Says nothing about any block: whoever cannot read his state has no vote. */
bool replica_store_failed(struct replica *r, int err)
{
	if (!ledger_error_is_of_store(err))
		return false;
	replica_halt(
		r, err == ERR_IO
			   ? "reading the state from the data directory failed; this replica "
			     "cannot vote. Check the disk and start it again"
			   : "the state in the data directory is damaged; this replica cannot "
			     "vote. Check the disk and restore the directory. Never start "
			     "this key on an empty one: it would have forgotten its votes");
	return true;
}

static void reserve_candidates(struct replica *r, uint32_t count)
{
	if (count <= r->candidates_cap)
		return;
	mem_free(r->candidates);
	mem_free(r->refused);
	mem_free(r->refused_err);
	r->candidates = mem_array(count, sizeof *r->candidates);
	r->refused = mem_array(count, sizeof *r->refused);
	r->refused_err = mem_array(count, sizeof *r->refused_err);
	r->candidates_cap = count;
}

static bool leading_system(const struct work *w)
{
	for (uint32_t i = 0; i < w->tx_count; i++)
		if (system_tx_is(w->txs[i].bytes) != (i < w->system_count))
			return false;
	return w->system_count <= w->tx_count;
}

static void work_build(struct replica *r, const struct work *w)
{
	if (r->gathering) {
		r->held_build = w->id;
		return;
	}
	reserve_candidates(r, w->tx_count);
	for (uint32_t i = 0; i < w->tx_count; i++)
		r->candidates[i] =
			(struct ledger_candidate){.tx = w->txs[i].bytes, .id = w->txs[i].id};
	struct ledger_built built = {0};
	struct input in = {.kind = INPUT_BUILT, .now = r->now, .wall_ms = replica_wall_ms(r)};
	in.built.id = w->id;
	in.built.err = ERR_RANGE;
	if (leading_system(w)) /* the pool holds what tx_decode() let in, and they are none */
		in.built.err =
			ledger_build(r->ledger, &w->block->hash, w->block->sh.h.height + 1,
				     w->time_ms, r->candidates, w->tx_count, &built);
	if (replica_store_failed(r, in.built.err))
		return;
	in.built.body = slice_of(built.body, built.body_size);
	in.built.tx_count = built.tx_count;
	in.built.tx_root = built.tx_root;
	in.built.state_root = built.state_root;
	in.built.refused = r->refused;
	in.built.refused_err = r->refused_err;
	for (uint32_t i = 0; i < w->tx_count; i++) {
		if (r->candidates[i].fate != CANDIDATE_REFUSED)
			continue;
		r->refused[in.built.refused_count] = r->candidates[i].id;
		r->refused_err[in.built.refused_count++] = r->candidates[i].err;
	}
	if (in.built.err == ERR_NONE && built.tx_count)
		checks_built(r);
	driver_input(r->driver, &in);
	mem_free(built.body);
}

static int check_tx(struct replica *r, struct slice bytes, const struct hash *id, bool verified)
{
	struct tx tx;
	int err = tx_decode(&tx, bytes, &r->ctx, &r->config.genesis->limits);
	if (!err)
		err = ledger_admit(r->ledger, &tx, id);
	if (err || !r->config.verify_txs)
		return err;
	if (!verified && !ledger_verified(r->ledger, id))
		err = tx_check_signature(&tx, &r->ctx);
	if (!err)
		ledger_mark_verified(r->ledger, id);
	return err;
}

static void work_check(struct replica *r, const struct work *w)
{
	int *errs = mem_array(w->tx_count, sizeof *errs);
	for (uint32_t i = 0; i < w->tx_count; i++) {
		bool waiting = map_get(&r->pending, w->txs[i].id.b) != NULL;
		errs[i] = check_tx(r, w->txs[i].bytes, &w->txs[i].id, waiting);
	}
	struct input in = {
		.kind = INPUT_TXS_CHECKED, .now = r->now, .wall_ms = replica_wall_ms(r)};
	in.txs_checked.id = w->id;
	in.txs_checked.err = errs;
	in.txs_checked.count = w->tx_count;
	driver_input(r->driver, &in);
	mem_free(errs);
}

static void host_work(void *ctx, const struct work *w)
{
	struct replica *r = ctx;
	switch (w->kind) {
	case WORK_BUILD:
		work_build(r, w);
		break;
	case WORK_EXECUTE:
		checks_execute(r, w->block);
		break;
	case WORK_CHECK_TXS:
		work_check(r, w);
		break;
	case WORK_READ:
		records_read(r, w);
		break;
	case WORK_DROP:
		checks_forget(r, &w->hash);
		ledger_drop(r->ledger, &w->hash);
		break;
	}
}

const struct driver_host replica_driver_host = {
	.persist = host_persist,
	.send = host_send,
	.final = host_final,
	.work = host_work,
	.rejected = host_rejected,
	.halted = host_halted,
};

/* ---- life -------------------------------------------------------------------------------- */

int replica_open_ledger(struct replica *r, struct ledger **out, struct errmsg *m)
{
	int err = ledger_open(out, r->store, r->config.genesis, &r->ctx, r->genesis_block, m);
	if (err)
		return err;
	ledger_set_history(*out, r->config.history);
	ledger_set_cache(*out, r->config.tree_cache);
	return ERR_NONE;
}

int replica_open(struct replica **out, const struct replica_config *config, struct errmsg *m)
{
	struct replica *r = mem_zalloc(sizeof *r);
	r->config = *config;
	r->now = config->now;
	r->store = config->store;
	genesis_ctx(&r->ctx, config->genesis);
	r->genesis_block = genesis_block(config->genesis, &r->ctx);
	int err = epochs_open(r, m);
	r->batch = store_batch_new();
	reserve_candidates(r, config->genesis->limits.block_txs_max + BUILD_SYSTEM_MAX);
	map_init(&r->pending, config->seed);
	if (!err)
		err = replica_open_ledger(r, &r->ledger, m);
	if (!err) {
		err = retention_open(r);
		if (err)
			err_set(m, err, "reading which blocks are kept: %s", err_text(err));
	}
	if (!err && config->genesis->recovery_count)
		err = recovered_check(r, m);
	if (!err)
		err = observer_open(r, m);
	if (!err)
		err = sync_open(r, m);
	if (!err)
		err = replica_recover(r, m);
	/* The baselines have no observers: what was restored can be read, no more. */
	if (!err && r->observes && !protocol_is_byzantine(config->genesis->protocol))
		replica_halt(r, r->observes);
	if (err) {
		replica_close(r);
		return err;
	}
	*out = r;
	return ERR_NONE;
}

void replica_close(struct replica *r)
{
	if (!r)
		return;
	driver_free(r->driver);
	sync_close(r);
	mend_close(r);
	if (r->ledger)
		ledger_close(r->ledger);
	epochs_free(r);
	mem_free(r->old_blocks);
	writer_free(&r->sync_out);
	writer_free(&r->sync_range);
	block_drop(r->genesis_block);
	store_batch_free(r->batch);
	writer_free(&r->scratch);
	map_free(&r->pending);
	checks_free(r);
	mem_free(r->unfinal);
	mem_free(r->candidates);
	mem_free(r->refused);
	mem_free(r->refused_err);
	crypto_wipe(&r->config.key, sizeof r->config.key);
	mem_free(r);
}

void replica_feed(struct replica *r, uint64_t now, struct input *in)
{
	if (r->halted)
		return;
	r->now = now;
	in->now = now;
	in->wall_ms = replica_wall_ms(r);
	in->more = r->gathering;
	r->more_told |= in->more;
	driver_input(r->driver, in);
	epoch_advance(r);
}

void replica_tick(struct replica *r, uint64_t now)
{
	struct input in;
	if (r->halted)
		return;
	r->now = now;
	serve_tick(r);
	sync_tick(r);
	mend_tick(r);
	in.kind = INPUT_TICK;
	replica_feed(r, now, &in);
}

uint64_t replica_wake_at(const struct replica *r)
{
	if (r->halted)
		return UINT64_MAX;
	uint64_t at = driver_wake_at(r->driver), sync = sync_wake_at(r), mend = mend_wake_at(r);
	at = sync < at ? sync : at;
	return mend < at ? mend : at;
}

void replica_message(struct replica *r, uint64_t now, unsigned from, struct slice bytes)
{
	struct input in;
	if (r->halted)
		return;
	r->now = now;
	if (!epoch_unwrap(r, from, &bytes))
		return;
	if (sync_is_message(bytes)) {
		sync_message(r, from, bytes);
		return;
	}
	if (bytes.len && sync_holds_back(r, bytes.ptr[0]))
		return;
	in.kind = INPUT_MESSAGE;
	in.message.from = from;
	in.message.bytes = bytes;
	replica_feed(r, now, &in);
}

void replica_durable(struct replica *r, uint64_t now, uint64_t seq)
{
	if (r->halted)
		return;
	r->now = now;
	if (seq > r->seq_base) /* else of an engine that is no more */
		driver_durable(r->driver, seq - r->seq_base, now, replica_wall_ms(r));
	epoch_advance(r);
}

void replica_resign(struct replica *r, uint64_t now)
{
	struct input in = {.kind = INPUT_RESIGN};
	if (!r->halted)
		replica_feed(r, now, &in);
}

int replica_submit(struct replica *r, uint64_t now, struct slice tx, bool verified,
		   struct hash *id)
{
	if (r->halted)
		return ERR_CLOSED;
	tx_id(id, tx);
	if (map_get(&r->pending, id->b))
		return MUTANT(MUTANT_DROP_ACKED) ? ERR_EXISTS : ERR_NONE;
	int err = check_tx(r, tx, id, verified);
	if (err == ERR_TX_NONCE_WINDOW || err == ERR_TX_HORIZON) {
		struct engine_status status;
		engine_status(driver_engine(r->driver), &status);
		if (status.catching_up)
			return ERR_BUSY; /* ahead of our old state, perhaps not of the newest */
	}
	if (err)
		return err;
	struct engine_pool pool = engine_pool(driver_engine(r->driver));
	if (pool.count >= POOL_TXS_MAX || pool.bytes + tx.len > POOL_BYTES_MAX)
		return ERR_BUSY;
	map_put(&r->pending, id->b, r);
	checks_submitted(r, tx);
	struct input in = {.kind = INPUT_SUBMIT};
	in.submit.id = *id;
	in.submit.bytes = tx;
	replica_feed(r, now, &in);
	if (!r->gathering)
		r->brought = false; /* it has been forwarded, where there is a leader */
	return ERR_NONE;
}

/* What waits here knows nothing of the blocks that were left out: its clients may try again. */
static void reject_pending(struct replica *r)
{
	size_t count = 0, i = 0;
	const uint8_t *key;
	struct hash *ids = mem_array(map_len(&r->pending) + 1, sizeof *ids);
	while (map_next(&r->pending, &i, &key))
		memcpy(ids[count++].b, key, HASH_SIZE);
	map_free(&r->pending);
	map_init(&r->pending, r->config.seed);
	for (i = 0; i < count; i++)
		r->config.host.rejected(r->config.host.ctx, &ids[i], ERR_BUSY);
	mem_free(ids);
}

void replica_reopen(struct replica *r, uint64_t epoch)
{
	struct ledger *ledger = r->ledger;
	struct driver *driver = r->driver;
	struct errmsg m;
	r->unfinal_count = 0;
	int err = replica_open_ledger(r, &r->ledger, &m);
	if (!err)
		err = retention_open(r);
	if (!err)
		err = replica_recover(r, &m);
	if (err) { /* for those who look; nothing is written any more */
		if (r->ledger)
			ledger_close(r->ledger);
		r->ledger = ledger;
		r->driver = driver;
		replica_halt(r, "the state that was fetched cannot be opened. Start this node "
				"again; if that fails, empty its data directory");
		return;
	}
	driver_free(driver);
	ledger_close(ledger);
	memset(&r->serve, 0, sizeof r->serve);
	r->seq_base = r->seq_last;
	r->held_build = 0;
	checks_forget(r, NULL);
	reject_pending(r);
	/* It is of a later epoch, or the blocks above the state have brought its end. */
	if (r->ctx.epoch != epoch && r->config.host.epoch)
		r->config.host.epoch(r->config.host.ctx);
	if (r->config.host.reopened)
		r->config.host.reopened(r->config.host.ctx, ledger_height(r->ledger));
}

void replica_gather(struct replica *r)
{
	r->gathering = true;
}

/* The candidates of the build that waits are those of the moment at which the engine asked. It
 * is told that nothing came of it, and asks again, with all that there are now. */
bool replica_propose(struct replica *r, uint64_t now)
{
	struct input in = {.kind = INPUT_BUILT};
	uint64_t held = r->held_build;
	r->gathering = MUTANT(MUTANT_GATHERS_ON);
	if (held) {
		in.built.id = held;
		in.built.err = ERR_BUSY;
	} else {
		in.kind = INPUT_TICK; /* nothing more comes of this turn */
	}
	r->held_build = 0;
	if (held || r->more_told)
		replica_feed(r, now, &in);
	r->more_told = false;
	checks_end_of_turn(r);
	return held != 0;
}

const struct chain_ctx *replica_ctx(const struct replica *r)
{
	return &r->ctx;
}

struct ledger *replica_ledger(struct replica *r)
{
	return r->ledger;
}

void replica_status(const struct replica *r, struct engine_status *out)
{
	engine_status(driver_engine(r->driver), out);
}

struct engine *replica_engine(struct replica *r)
{
	return driver_engine(r->driver);
}

bool replica_halted(const struct replica *r)
{
	return r->halted;
}

bool replica_tx_pending(const struct replica *r, const struct hash *id)
{
	return map_get(&r->pending, id->b) != NULL;
}
