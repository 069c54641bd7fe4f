/* [I15] A replica without its vote state signs nothing: what its key has signed is known to
 * others, not to it. Which it is, is decided here, once a start. */
#include "replica/epoch.h"

#include <unistd.h>

#include "base/mutant.h"
#include "replica/files.h"

#define MARK_VERSION	 1
#define MARK_VERSION_KEY 2
#define MARK_VERSION_OLD 2 /* of OBSERVER_KEY: there was a vote state, an old copy */

static void batch_mark_as(struct store_batch *batch, const char *key, uint16_t version)
{
	struct writer w = {0};
	writer_u16(&w, version);
	store_batch_put(batch, STORE_META, slice_str(key), writer_slice(&w));
	writer_free(&w);
}

static void batch_mark(struct store_batch *batch, const char *key)
{
	batch_mark_as(batch, key, MARK_VERSION);
}

static int put_mark(struct store *s, const char *key)
{
	struct store_batch *batch = store_batch_new();
	batch_mark(batch, key);
	int err = store_write(s, batch, true);
	store_batch_free(batch);
	return err;
}

/* Keys that were new once and have voted from here, one behind the other. */
static int read_voted(struct store *s, struct writer *keys)
{
	struct writer w = {0};
	struct reader r;
	int err = store_get(s, STORE_META, slice_str(VOTED_KEYS_KEY), &w);
	writer_reset(keys);
	if (!err) {
		reader_init(&r, writer_slice(&w));
		bool known = reader_u16(&r) == MARK_VERSION;
		uint32_t count = reader_count(&r, UINT16_MAX, PUBKEY_SIZE);
		struct slice all = reader_take(&r, (size_t)count * PUBKEY_SIZE);
		if (reader_finish(&r) || !known)
			err = ERR_CORRUPT;
		else
			writer_raw(keys, all.ptr, all.len);
	}
	writer_free(&w);
	return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

static int has_voted(struct store *s, const struct pubkey *key, bool *voted)
{
	struct writer keys = {0};
	int err = read_voted(s, &keys);
	*voted = false;
	for (size_t at = 0; at < keys.len; at += PUBKEY_SIZE)
		*voted |= memcmp(keys.buf + at, key->b, PUBKEY_SIZE) == 0;
	writer_free(&keys);
	return err;
}

static void batch_voted(struct replica *r, struct store_batch *batch)
{
	struct writer keys = {0}, w = {0};
	bool voted;
	if (has_voted(r->store, &r->config.key.pub, &voted) == ERR_NONE && !voted &&
	    read_voted(r->store, &keys) == ERR_NONE) {
		writer_pubkey(&keys, &r->config.key.pub);
		writer_u16(&w, MARK_VERSION);
		writer_u32(&w, (uint32_t)(keys.len / PUBKEY_SIZE));
		writer_raw(&w, keys.buf, keys.len);
		store_batch_put(batch, STORE_META, slice_str(VOTED_KEYS_KEY), writer_slice(&w));
	}
	writer_free(&keys);
	writer_free(&w);
}

/* Of either version; of the second it speaks of one key alone. */
static int has_first(struct store *s, const struct pubkey *own, bool *first, bool *fresh)
{
	struct writer w = {0};
	struct reader r;
	struct pubkey key;
	bool voted = false;
	*first = *fresh = false;
	int err = store_get(s, STORE_META, slice_str(FIRST_VOTES_KEY), &w);
	if (!err) {
		reader_init(&r, writer_slice(&w));
		uint16_t version = reader_u16(&r);
		*first = version == MARK_VERSION && !reader_finish(&r);
		if (version == MARK_VERSION_KEY) {
			reader_pubkey(&r, &key);
			*fresh = !reader_finish(&r) && pubkey_equal(&key, own);
		}
	}
	writer_free(&w);
	if (err == ERR_NOT_FOUND)
		err = ERR_NONE;
	if (*fresh && !err)
		err = has_voted(s, own, &voted);
	*fresh &= !err && !voted;
	return err;
}

/* Of which the vote state is; UINT64_MAX: what says so is damaged. */
static uint64_t votes_epoch(struct replica *r)
{
	struct reader rd;
	uint64_t epoch;
	int err = store_get(r->store, STORE_META, slice_str(VOTES_EPOCH_KEY), &r->scratch);
	if (err)
		return err == ERR_NOT_FOUND ? 0 : UINT64_MAX;
	reader_init(&rd, writer_slice(&r->scratch));
	bool known = reader_u16(&rd) == MARK_VERSION;
	epoch = reader_u64(&rd);
	return known && !reader_finish(&rd) ? epoch : UINT64_MAX;
}

static void batch_votes_epoch(struct replica *r, struct store_batch *batch)
{
	struct writer w = {0};
	writer_u16(&w, MARK_VERSION);
	writer_u64(&w, r->ctx.epoch);
	store_batch_put(batch, STORE_META, slice_str(VOTES_EPOCH_KEY), writer_slice(&w));
	writer_free(&w);
}

/* This place's key in the epoch of r->ctx is ours. */
static bool is_placed(const struct replica *r)
{
	return pubkey_equal(&r->ctx.vals.key[r->config.self], &r->config.key.pub);
}

/* From here on the vote state is that of a key that has signed nothing. */
static void batch_fresh(struct replica *r, struct store_batch *batch)
{
	for (uint8_t slot = 0; slot < VOTE_SLOTS; slot++)
		store_batch_delete(batch, STORE_VOTES, slice_of(&slot, 1));
	store_batch_delete(batch, STORE_META, slice_str(OBSERVER_KEY));
	store_batch_delete(batch, STORE_META, slice_str(RESTORED_KEY));
	if (r->ctx.epoch)
		store_batch_delete(batch, STORE_META, slice_str(FIRST_VOTES_KEY));
	else
		batch_mark(batch, FIRST_VOTES_KEY);
	batch_votes_epoch(r, batch);
	batch_voted(r, batch);
}

static int has_mark(struct store *s, const char *key, bool *there)
{
	struct writer w = {0};
	int err = store_get(s, STORE_META, slice_str(key), &w);
	writer_free(&w);
	*there = err == ERR_NONE;
	return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

bool observer_is_marked(struct store *s)
{
	bool restored = false, observer = false;
	return (has_mark(s, RESTORED_KEY, &restored) == ERR_NONE && restored) ||
	       (has_mark(s, OBSERVER_KEY, &observer) == ERR_NONE && observer);
}

static int has_votes(struct store *s, bool *there)
{
	struct writer w = {0};
	int err = ERR_NOT_FOUND;
	for (uint8_t slot = 0; slot < VOTE_SLOTS && err == ERR_NOT_FOUND; slot++)
		err = store_get(s, STORE_VOTES, slice_of(&slot, 1), &w);
	writer_free(&w);
	*there = err == ERR_NONE;
	return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

int replica_first_votes(struct store *s)
{
	return put_mark(s, FIRST_VOTES_KEY);
}

int replica_first_votes_of(struct store *s, const struct pubkey *key)
{
	struct store_batch *batch = store_batch_new();
	struct writer w = {0};
	bool voted;
	writer_u16(&w, MARK_VERSION_KEY);
	writer_pubkey(&w, key);
	store_batch_put(batch, STORE_META, slice_str(FIRST_VOTES_KEY), writer_slice(&w));
	int err = has_voted(s, key, &voted);
	if (!err)
		err = voted ? ERR_EXISTS : store_write(s, batch, true);
	writer_free(&w);
	store_batch_free(batch);
	return err;
}

bool replica_is_first_of(struct store *s, const struct pubkey *key)
{
	bool first, fresh;
	return has_first(s, key, &first, &fresh) == ERR_NONE && fresh;
}

int replica_first_data(const char *path, const struct pubkey *fresh, struct errmsg *m)
{
	struct store_options options = {.create = true};
	struct store *s;
	if (access(path, F_OK) == 0)
		return err_set(m, ERR_EXISTS,
			       "%s is there already: only a new validator begins with an empty "
			       "vote state",
			       path);
	int err = store_open_rocksdb(&s, path, &options, m);
	if (err)
		return err;
	err = fresh ? replica_first_votes_of(s, fresh) : replica_first_votes(s);
	store_close(s);
	char *home = mem_printf("%s", path), *slash = strrchr(home, '/');
	if (slash && slash != home)
		*slash = 0;
	if (!err)
		err = files_sync_dir(slash && slash != home ? home : slash ? "/" : ".", NULL);
	mem_free(home);
	return err ? err_set(m, err, "writing the first vote state into %s: %s", path,
			     err_text(err))
		   : ERR_NONE;
}

static const char restored_why[] =
	"this home was restored from a backup, without vote state: its key may have signed "
	"since what it does not know of. It follows the chain and serves reads and proofs";
static const char missing_why[] =
	"the vote state of this validator is missing: its data directory was emptied, lost or "
	"replaced, and what its key has signed is not known here. It follows the chain and "
	"serves reads and proofs";

static const char outdated_why[] =
	"its data directory is an old copy: its peers hold votes of its key that are newer "
	"than "
	"its vote state, so what else that key has signed is not known here. It follows the "
	"chain and serves reads and proofs";
static const char unplaced_why[] = "its key is not that of its place among the validators: it "
				   "is new, and governance has not "
				   "put it there yet, or has been replaced. It follows the "
				   "chain and serves reads and proofs";

void observer_outdated(struct replica *r)
{
	batch_mark_as(r->batch, OBSERVER_KEY, MARK_VERSION_OLD);
	r->observes = outdated_why;
	if (r->config.host.outdated)
		r->config.host.outdated(r->config.host.ctx, outdated_why);
}

/* The mark of an observer; *old: that of observer_outdated(). */
static int has_observer(struct store *s, bool *there, bool *old)
{
	struct writer w = {0};
	struct reader r;
	int err = store_get(s, STORE_META, slice_str(OBSERVER_KEY), &w);
	*there = err == ERR_NONE;
	reader_init(&r, writer_slice(&w));
	*old = *there && reader_u16(&r) == MARK_VERSION_OLD;
	writer_free(&w);
	return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

bool observer_is_unplaced(const struct replica *r)
{
	return r->observes == unplaced_why;
}

static int begin_fresh(struct replica *r, struct errmsg *m)
{
	store_batch_clear(r->batch);
	batch_fresh(r, r->batch);
	int err = store_write(r->store, r->batch, true);
	return err ? err_set(m, err, "writing the first vote state of a new key: %s",
			     err_text(err))
		   : ERR_NONE;
}

int observer_open(struct replica *r, struct errmsg *m)
{
	bool restored = false, observer = false, first = false, fresh = false, votes = false;
	bool old = false;
	bool byzantine = protocol_is_byzantine(r->config.genesis->protocol);
	int err = has_mark(r->store, RESTORED_KEY, &restored);
	if (!err)
		err = has_observer(r->store, &observer, &old);
	if (!err)
		err = has_first(r->store, &r->config.key.pub, &first, &fresh);
	if (!err)
		err = has_votes(r->store, &votes);
	if (err)
		return err_set(m, err, "reading whether there is a vote state: %s",
			       err_text(err));
	if (MUTANT(MUTANT_AMNESIA))
		return ERR_NONE;
	/* Stepped over once more, that epoch's votes would be forgotten. */
	uint64_t of = votes_epoch(r);
	if (byzantine && of > r->ctx.epoch && of < UINT64_MAX)
		return err_set(m, ERR_CORRUPT,
			       "the vote state is of epoch %llu, and what says that this epoch "
			       "has begun is missing: stop this node and run `ostrakon db "
			       "repair` while the others run",
			       (unsigned long long)of);
	if (byzantine && !is_placed(r)) {
		r->observes = unplaced_why;
		return ERR_NONE;
	}
	if (fresh)
		return begin_fresh(r, m);
	bool remembers = of == r->ctx.epoch && (of > 0 || first || votes);
	if (restored || observer || !remembers)
		r->observes = restored ? restored_why : old ? outdated_why : missing_why;
	if (r->observes && !restored && !byzantine)
		return err_set(
			m, ERR_UNSUPPORTED,
			"the vote state of this replica is missing, so it must not vote; "
			"and %s has no observers. Put back the data directory that it "
			"last ran with",
			protocol_name(r->config.genesis->protocol));
	/* It will write vote slots of its own, as it follows: they must not be taken for those
	 * of one that remembers. */
	if (r->observes && !restored && !observer)
		err = put_mark(r->store, OBSERVER_KEY);
	return err ? err_set(m, err, "writing that the vote state is missing: %s",
			     err_text(err))
		   : ERR_NONE;
}

/* Nothing of the new epoch can have been signed by a key that has voted here up to its
 * beginning, nor by one that was made for it and put nowhere else. */
void observer_next_epoch(struct replica *r, bool was_voter, struct store_batch *batch)
{
	bool first, fresh = false;
	bool placed = is_placed(r);
	if (has_first(r->store, &r->config.key.pub, &first, &fresh))
		fresh = false;
	r->observes = !placed ? unplaced_why : missing_why;
	if (placed && fresh)
		batch_fresh(r, batch);
	else if (placed && (was_voter || MUTANT(MUTANT_OBSERVER_RETURNS)))
		batch_votes_epoch(r, batch);
	else if (placed)
		batch_mark(batch, OBSERVER_KEY);
	if (placed && (fresh || was_voter || MUTANT(MUTANT_OBSERVER_RETURNS)))
		r->observes = NULL;
}

const char *replica_observes(const struct replica *r)
{
	return r->observes;
}
