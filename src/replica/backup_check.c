/* Verifying a backup, and restoring one: the same reading, into another store. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "chain/recovery.h"
#include "replica/backup_private.h"
#include "replica/replay.h"

#define STEP_RECORDS 256

struct check {
	struct backup_reader in;
	struct replay replay;
	const struct backup_check *o;
	struct store *store;
	bool begun, ended, keep_blocks;
	uint64_t history;
	bool has_stable;
	struct cert stable;
	struct errmsg *m;
};

bool backup_altered(int err)
{
	switch (err) {
	case ERR_NONE:
	case ERR_NOT_FOUND:
	case ERR_EXISTS:
	case ERR_IO:
	case ERR_LOCKED:
	case ERR_CLOSED:
	case ERR_PERMISSION:
		return false;
	default: /* an int, not one of our enum */
		return true;
	}
}

static int begin(struct check *c, struct slice bytes)
{
	struct reader r;
	char theirs[HASH_HEX_SIZE], ours[HASH_HEX_SIZE];
	struct chain_ctx ctx;
	struct genesis *g = mem_zalloc(sizeof *g);
	reader_init(&r, bytes);
	int err = genesis_decode(&r, g);
	if (!err)
		err = reader_finish(&r);
	if (err)
		err_set(c->m, err, "the genesis in the backup: %s", err_text(err));
	else
		err = genesis_check(g, false, c->m);
	if (err) {
		genesis_free(g);
		mem_free(g);
		return ERR_BAD_HASH;
	}
	c->begun = true;
	err = replay_begin(&c->replay, c->store, g, c->history, c->m);
	c->replay.keep_blocks = c->keep_blocks;
	if (err)
		return err;
	ctx = c->replay.view.ctx;
	if (!hash_equal(&ctx.id, &c->in.manifest.s.chain))
		return err_set(c->m, ERR_WRONG_CHAIN,
			       "the backup's manifest says chain %s, its genesis is of %s",
			       hash_hex(theirs, &c->in.manifest.s.chain),
			       hash_hex(ours, &ctx.id));
	return ERR_NONE;
}

static int take_recovery(struct check *c, struct slice payload)
{
	struct reader r;
	struct errmsg why = {.text = "it does not decode"};
	struct recovery *v = mem_zalloc(sizeof *v);
	reader_init(&r, payload);
	recovery_decode(&r, v);
	int err = reader_finish(&r);
	if (!err && c->replay.last->sh.h.height > 0)
		err = ERR_RANGE; /* out of place */
	if (!err)
		err = genesis_add_recovery(c->replay.genesis, v, &why);
	if (!err)
		replay_recovered(&c->replay);
	mem_free(v);
	return err ? err_set(c->m, err, "a recovery in the backup: %s", why.text) : ERR_NONE;
}

static int take_checkpoint(struct check *c, struct slice payload)
{
	struct reader r;
	reader_init(&r, payload);
	cert_decode(&r, &c->stable);
	int err = reader_finish(&r);
	if (!err && (c->has_stable || c->stable.kind != CERT_CHECKPOINT || !c->replay.proven ||
		     c->stable.ref.term != c->replay.last->sh.h.term ||
		     c->stable.ref.height > c->replay.last->sh.h.height))
		err = ERR_RANGE;
	if (!err)
		err = cert_check(&c->stable, &c->replay.view.ctx);
	c->has_stable = !err;
	return err ? err_set(c->m, err, "the stable checkpoint: %s", err_text(err)) : ERR_NONE;
}

static int end(struct check *c, struct slice payload)
{
	struct reader r;
	struct hash hash, root;
	const struct backup_summary *s = &c->in.manifest.s;
	reader_init(&r, payload);
	uint64_t height = reader_u64(&r);
	reader_hash(&r, &hash);
	reader_hash(&r, &root);
	const struct block *last = c->replay.last;
	if (reader_finish(&r) || height != last->sh.h.height ||
	    !hash_equal(&hash, &last->hash) || !hash_equal(&root, &last->sh.h.state_root) ||
	    s->height != height || !hash_equal(&s->block, &hash) ||
	    !hash_equal(&s->state_root, &root))
		return err_set(c->m, ERR_BAD_HASH,
			       "the backup ends at height %" PRIu64
			       ", which is not the end that it says it has",
			       last->sh.h.height);
	if (c->replay.over)
		return err_set(c->m, ERR_TRUNCATED,
			       "the backup's last block ends an epoch, and what proves that is "
			       "missing");
	c->ended = true;
	return replay_end(&c->replay);
}

static int take(struct check *c, enum backup_record type, struct slice payload)
{
	struct reader r;
	if (c->ended || (type == RECORD_GENESIS) == c->begun ||
	    (c->has_stable && type != RECORD_END))
		return err_set(c->m, ERR_RANGE, "record %" PRIu64 " is out of place",
			       c->in.records);
	switch (type) {
	case RECORD_GENESIS:
		return begin(c, payload);
	case RECORD_BLOCK:
		return replay_block(&c->replay, payload);
	case RECORD_CERT:
		return replay_cert(&c->replay, payload);
	case RECORD_TC:
		reader_init(&r, payload);
		uint64_t term = reader_u64(&r);
		return replay_term(&c->replay, term, reader_take(&r, r.left));
	case RECORD_EVIDENCE:
		return replay_evidence(&c->replay, payload);
	case RECORD_RECOVERY:
		return take_recovery(c, payload);
	case RECORD_CHECKPOINT:
		return take_checkpoint(c, payload);
	case RECORD_EPOCH:
		if (c->in.manifest.version < BACKUP_EPOCHS)
			break;
		return replay_epoch(&c->replay, payload);
	case RECORD_END:
		return end(c, payload);
	}
	return err_set(c->m, ERR_RANGE, "record %" PRIu64 " is of an unknown kind %d",
		       c->in.records, (int)type);
}

static bool step(struct check *c)
{
	const struct backup_progress *p = c->o->progress;
	if (!p || (c->in.records % STEP_RECORDS != 0 && !c->ended))
		return true;
	return p->step(p->arg, c->replay.last ? c->replay.last->sh.h.height : 0,
		       c->in.manifest.s.height, c->in.bytes, c->in.manifest.s.bytes);
}

static int read_all(struct check *c)
{
	enum backup_record type;
	struct slice payload;
	int err;
	while (!(err = backup_read(&c->in, &type, &payload, c->m))) {
		err = take(c, type, payload);
		if (err)
			return err;
		if (!step(c))
			return err_set(c->m, ERR_CLOSED,
				       "interrupted after %" PRIu64 " records", c->in.records);
	}
	if (err != ERR_NOT_FOUND)
		return err;
	return c->ended ? ERR_NONE
			: err_set(c->m, ERR_TRUNCATED, "the backup has no end record");
}

static int open_input(struct check *c, const char *dest)
{
	char theirs[HASH_HEX_SIZE], ours[HASH_HEX_SIZE];
	struct chain_ctx ctx;
	int err = backup_reader_open(&c->in, dest, c->m);
	if (err || !c->o->genesis)
		return err;
	genesis_ctx(&ctx, c->o->genesis);
	if (hash_equal(&ctx.id, &c->in.manifest.s.chain))
		return ERR_NONE;
	return err_set(c->m, ERR_WRONG_CHAIN,
		       "the backup is of chain %s, the genesis file of chain %s",
		       hash_hex(theirs, &c->in.manifest.s.chain), hash_hex(ours, &ctx.id));
}

static void summarize(const struct check *c, struct backup_summary *out)
{
	*out = c->in.manifest.s;
	out->transactions = c->replay.transactions;
	out->certificates = c->replay.certificates;
	out->proven = c->replay.proven;
	out->epoch = c->replay.view.ctx.epoch;
	out->term = c->replay.last ? c->replay.last->sh.h.term : 0;
}

/* What the ledger finds wrong in the store that it is writing itself is of this machine. */
static int of_scratch(struct check *c, int err)
{
	if (err != ERR_CORRUPT || !c->begun)
		return err;
	return err_set(c->m, ERR_IO,
		       "the state that was just written cannot be read: check "
		       "this machine's disk");
}

int backup_verify(const char *dest, const struct backup_check *o, struct backup_summary *out,
		  struct errmsg *m)
{
	struct check *c = mem_zalloc(sizeof *c);
	c->o = o;
	c->m = m;
	int err = open_input(c, dest);
	if (!err && o->scratch) {
		struct store_options options = {.create = true};
		err = store_open_rocksdb(&c->store, o->scratch, &options, m);
	} else if (!err) {
		c->store = store_open_memory();
	}
	if (!err)
		err = of_scratch(c, read_all(c));
	summarize(c, out);
	replay_free(&c->replay);
	if (c->store)
		store_close(c->store);
	if (o->scratch)
		files_remove(o->scratch, NULL);
	backup_reader_free(&c->in);
	mem_free(c);
	return err;
}

/* ---- restoring --------------------------------------------------------------------------- */

static const char restored_text[] =
	"This home was made by `ostrakon backup restore`. It has the chain as it was when the\n"
	"backup was made, and neither a key nor a vote state.\n"
	"\n"
	"No validator may vote from here: nobody knows any more what its key has signed "
	"since,\n"
	"and two votes that contradict each other convict it. The data says so itself: a node\n"
	"that is given a key and started here is an observer, which follows the chain, "
	"answers\n"
	"reads, and signs nothing. To start it so, put the node's validator.key here and its\n"
	"[peers] into ostrakond.conf. `ostrakon db inspect` and `ostrakon db check` need "
	"neither.\n";
static const char restored_conf[] = "# Made by `ostrakon backup restore`; see RESTORED.\n"
				    "[node]\nlog = info\n";

static int mark_restored(struct store *s, const struct backup_summary *b, struct errmsg *m)
{
	struct writer w = {0};
	struct store_batch *batch = store_batch_new();
	writer_u16(&w, RESTORED_VERSION);
	writer_u64(&w, b->height);
	writer_hash(&w, &b->block);
	writer_u64(&w, b->made_ms);
	store_batch_put(batch, STORE_META, slice_str(RESTORED_KEY), writer_slice(&w));
	int err = store_write(s, batch, true);
	store_batch_free(batch);
	writer_free(&w);
	return err ? err_set(m, ERR_IO, "cannot write the restored store: %s", err_text(err))
		   : ERR_NONE;
}

static int validator_files(struct check *c, const char *home)
{
	static const char conf[] = "# Made by `ostrakon recovery start`: the addresses of all "
				   "validators are missing,\n"
				   "# lines NAME = HOST:PORT under [peers].\n"
				   "[node]\nlog = info\n";
	char path[FILES_PATH_MAX + 32];
	struct writer key = {0};
	char *text = genesis_json(c->o->genesis);
	snprintf(path, sizeof path, "%s/genesis.json", home);
	int err = files_write(path, slice_str(text), c->m);
	snprintf(path, sizeof path, "%s/ostrakond.conf", home);
	if (!err)
		err = files_write(path, slice_str(conf), c->m);
	if (!err)
		err = files_read(c->o->key_file, 1 << 16, &key, c->m);
	snprintf(path, sizeof path, "%s/validator.key", home);
	mode_t mask = umask(077);
	if (!err)
		err = files_write(path, writer_slice(&key), c->m);
	umask(mask);
	crypto_wipe(key.buf, key.len);
	writer_free(&key);
	mem_free(text);
	return err;
}

static int home_files(struct check *c, const char *home)
{
	char path[FILES_PATH_MAX + 32];
	char *text = genesis_json(c->replay.genesis);
	const struct {
		const char *name, *text;
	} files[] = {{"genesis.json", text},
		     {"ostrakond.conf", restored_conf},
		     {"RESTORED", restored_text}};
	int err = ERR_NONE;
	for (size_t i = 0; i < MEM_COUNT(files) && !err; i++) {
		snprintf(path, sizeof path, "%s/%s", home, files[i].name);
		err = files_write(path, slice_str(files[i].text), c->m);
	}
	mem_free(text);
	return err;
}

static int restore_into(struct check *c, const char *home)
{
	char path[FILES_PATH_MAX + 32];
	struct store_options options = {.create = true};
	snprintf(path, sizeof path, "%s/data", home);
	int err = store_open_rocksdb(&c->store, path, &options, c->m);
	if (!err) /* before anything else, so that no half of it ever votes */
		err = mark_restored(c->store, &c->in.manifest.s, c->m);
	if (!err)
		err = of_scratch(c, read_all(c));
	if (!err && c->o->key_file && c->replay.view.ctx.epoch > 0)
		err = err_set(c->m, ERR_PERMISSION,
			      "in this backup governance has replaced a validator's key: a "
			      "recovery of such a chain is not built");
	if (!err && c->o->key_file)
		err = replica_begin_anew(c->store, c->o->genesis,
					 c->has_stable ? &c->stable : NULL, c->m);
	if (!err)
		err = c->o->key_file ? validator_files(c, home) : home_files(c, home);
	if (!err)
		err = files_sync_dir(path, c->m);
	return err;
}

int backup_restore(const char *dest, const char *home, const struct backup_check *o,
		   struct backup_summary *out, struct errmsg *m)
{
	struct check *c = mem_zalloc(sizeof *c);
	struct files_new_dir dir = {.lock = -1};
	c->o = o;
	c->m = m;
	c->keep_blocks = true;
	c->history = o->history;
	int err = open_input(c, dest);
	if (!err)
		err = files_begin_dir(&dir, home, m);
	if (!err)
		err = restore_into(c, dir.partial);
	summarize(c, out);
	replay_free(&c->replay);
	if (c->store)
		store_close(c->store);
	if (!err)
		err = files_finish_dir(&dir, m);
	files_abandon_dir(&dir);
	backup_reader_free(&c->in);
	mem_free(c);
	return err;
}
