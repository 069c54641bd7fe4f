/* [I15] A replica without its vote state signs nothing: what its key has signed is known to
 * others, not to it. Which it is, is decided here, once a start. */
#include "replica/private.h"

#include <unistd.h>

#include "base/mutant.h"
#include "replica/files.h"

#define MARK_VERSION 1

static int put_mark(struct store *s, const char *key)
{
	struct store_batch *batch = store_batch_new();
	struct writer w = {0};
	writer_u16(&w, MARK_VERSION);
	store_batch_put(batch, STORE_META, slice_str(key), writer_slice(&w));
	int err = store_write(s, batch, true);
	writer_free(&w);
	store_batch_free(batch);
	return err;
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

int replica_first_data(const char *path, struct errmsg *m)
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
	err = replica_first_votes(s);
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

int observer_open(struct replica *r, struct errmsg *m)
{
	bool restored = false, observer = false, first = false, votes = false;
	int err = has_mark(r->store, RESTORED_KEY, &restored);
	if (!err)
		err = has_mark(r->store, OBSERVER_KEY, &observer);
	if (!err)
		err = has_mark(r->store, FIRST_VOTES_KEY, &first);
	if (!err)
		err = has_votes(r->store, &votes);
	if (err)
		return err_set(m, err, "reading whether there is a vote state: %s",
			       err_text(err));
	if (MUTANT(MUTANT_AMNESIA))
		return ERR_NONE;
	if (restored || observer || !(first || votes))
		r->observes = restored ? restored_why : missing_why;
	if (r->observes && !restored && !protocol_is_byzantine(r->config.genesis->protocol))
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

const char *replica_observes(const struct replica *r)
{
	return r->observes;
}
